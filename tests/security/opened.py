# SPDX-License-Identifier: Apache-2.0
"""Cases in which a daemon has opened a bundle at its start: neither a value nor the private key is
in its memory or in its keeper's then, also where memory is only locked."""

import os
import shutil
import subprocess
import tempfile

from house import PATIENCE, Daemon
from residues import Look, Tally

SIZES = (64, 100000)
ROUTES = ("mem", "vm", "ptrace")
NAME = "opened/%d"


class Opened:
    """One bundle of mgctl's own, opened by one daemon after another."""

    MODES = (("memfd_secret", False), ("mlock", True))

    def __init__(self, settings, report):
        self.settings = settings
        self.report = report
        self.values = [os.urandom(size) for size in SIZES]

    def mgctl(self, daemon, *arguments, given=None):
        done = subprocess.run(
            [self.settings.mgctl, "--socket", "unix:" + daemon.socket, *arguments], input=given,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
        if done.returncode != 0:
            raise RuntimeError("mgctl %s: %s" % (arguments[0], done.stderr.decode()))
        return done.stdout

    def make(self, folder):
        """Returns the options that open the bundle, and the private key."""
        bundle, key = os.path.join(folder, "bundle"), os.path.join(folder, "key")
        with Daemon(self.settings) as source:
            for value in self.values:
                self.mgctl(source, "set", NAME % len(value), given=value)
            recipient = self.mgctl(source, "backup", "--new-key", key).decode().strip()
            self.mgctl(source, "backup", "--recipient", recipient, bundle)
        with open(key, "rb") as file:
            return ["--bundle", bundle + " credential:key"], file.read()

    def look(self, daemon, tally, wanted):
        for pid in daemon.pids():
            tally.take("a bundle", Look(
                self.settings, daemon.folder, wanted, ["--pid", str(pid)]), ROUTES)

    def open(self, tally, choose, leak=None, **how):
        """Looks for what is chosen of the private key and the values: in a daemon that nobody has
        asked for anything yet, but for a leak of what is fetched."""
        self.settings.need_tracing()
        folder = tempfile.mkdtemp(prefix="memguardd-opened.")
        try:
            options, key = self.make(folder)
            with Daemon(self.settings, program=self.settings.planted if leak else None,
                        options=options, credentials=folder, leak=leak, **how) as daemon:
                # The first answer comes behind the last secret.
                self.mgctl(daemon, "ping")
                if leak == "value":
                    self.mgctl(daemon, "get", NAME % SIZES[0])
                self.look(daemon, tally, choose(key, self.values))
                for value in self.values:
                    if self.mgctl(daemon, "get", NAME % len(value)) != value:
                        tally.faults.append("get of %d gives other bytes" % len(value))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def served(self, mode, fallback):
        tally = Tally(self.report, "opened a bundle, %s" % mode)
        for keep in False, True:
            self.open(tally, lambda key, values: key + b"".join(values), fallback=fallback,
                      keep=keep)
        return tally.row("2 daemons")

    def planted(self, leak, choose):
        tally = Tally(self.report, "")
        self.open(tally, choose, leak)
        self.report.row("  planted: opened a bundle, " + leak, "%.1f MB in %d looks" % (
            tally.bytes / 1e6, tally.looks), "", str(tally.hits),
            "found" if tally.hits else "MISSED")
        return [] if tally.hits else ["not found: " + leak]


CONTROLS = [
    ("bundle-key", lambda key, values: key),
    ("value", lambda key, values: values[0]),
]
