# SPDX-License-Identifier: Apache-2.0
"""Core files that the kernel writes when a signal ends the process."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time

from house import PATIENCE, Daemon, Load, Skip
from residues import LARGE, Users
from scans import REMASK_PAUSE, Scan

CORE_PATTERN = "/proc/sys/kernel/core_pattern"
CORE_PATTERN_MAX = 127  # bytes; the kernel cuts off the rest
LOCK = "\0memguardd-core-pattern"  # an abstract address: the same in every folder and chroot
FIRST_NAMESPACE = "pid:[4026531836]"  # the kernel's own number for the first one
GRACE = 0.3  # seconds in which a core file that should not be would have come
SIGNALS = (signal.SIGABRT, signal.SIGSEGV)


# Puts the pattern back when its input ends: whatever becomes of the program that changed it, also
# when it is killed. It keeps the lock until then.
KEEPER = """
trap '' HUP INT QUIT TERM PIPE
cat >/dev/null
printf '%s' "$1" >"$2"
"""

# What the kernel starts for a core file that goes to a pipe. The name appears when all is there.
HELPER = """#!/bin/sh
/bin/cat >"{folder}/part.$1" && /bin/mv "{folder}/part.$1" "{folder}/core.$1"
"""


def lock_pattern():
    """The pattern is the whole machine's: one run at a time changes it."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            lock.bind(LOCK)
            return lock
        except OSError:
            if time.monotonic() > end:
                lock.close()
                raise Skip("another run has the machine's core_pattern") from None
            time.sleep(0.1)


def read_pattern():
    with open(CORE_PATTERN, encoding="utf-8") as file:
        return file.read().rstrip("\n")


def write_pattern(pattern):
    try:
        with open(CORE_PATTERN, "w", encoding="utf-8") as file:
            file.write(pattern)
    except OSError as error:
        raise Skip("%s cannot be written: %s" % (CORE_PATTERN, error.strerror)) from None


@contextlib.contextmanager
def core_pattern(pattern):
    """Core files go there for as long as the block lasts."""
    if len(pattern.encode()) > CORE_PATTERN_MAX:
        raise Skip("a folder with a shorter name is needed: TMPDIR")
    lock = lock_pattern()
    try:
        before = read_pattern()
        write_pattern(before)  # or there is nothing to put back later
        keeper = subprocess.Popen(["/bin/sh", "-c", KEEPER, "keeper", before, CORE_PATTERN],
                                  stdin=subprocess.PIPE, pass_fds=[lock.fileno()],
                                  start_new_session=True)
    finally:
        lock.close()
    try:
        write_pattern(pattern)
        yield
    finally:
        keeper.stdin.close()
        if keeper.wait(PATIENCE) != 0:
            raise RuntimeError("%s was not put back to %s" % (CORE_PATTERN, before))


def is_mounted(place):
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return any(line.split()[4] == place for line in mounts)


class KernelCores:
    """Cases in which a signal ends the daemon or mgctl, and the kernel would write a core file."""

    def __init__(self, settings, report):
        self.settings = settings
        self.report = report

    def pattern(self, kind, folder):
        if kind == "file":
            return os.path.join(folder, "core.%p")
        if os.readlink("/proc/self/ns/pid") != FIRST_NAMESPACE:
            raise Skip("in a container: the kernel would start its helper outside")
        if not is_mounted("/"):
            raise Skip("in a chroot: the kernel would look for its helper outside")
        helper = os.path.join(folder, "helper")
        with open(helper, "w", encoding="utf-8") as file:
            file.write(HELPER.format(folder=folder))
        os.chmod(helper, 0o700)
        return "|%s %%p" % helper

    def lift_limit(self, pid):
        """From outside, as far as it goes: what keeps the daemon from a core file is not this."""
        hard = resource.prlimit(pid, resource.RLIMIT_CORE)[1]
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
            return True
        resource.prlimit(pid, resource.RLIMIT_CORE, (hard, hard))
        return hard != 0

    def end(self, process, number, folder):
        """Ends a process with a signal. Returns the path of its core file, or None."""
        os.kill(process.pid, number)
        status = process.wait(PATIENCE)
        if status != -number:
            raise RuntimeError("signal %d, and it ends with %d" % (number, status))
        return self.core_of(process.pid, folder)

    def core_of(self, pid, folder):
        """Of a process that has ended."""
        path = os.path.join(folder, "core.%d" % pid)
        part = os.path.join(folder, "part.%d" % pid)
        end = time.monotonic() + GRACE
        while time.monotonic() < end or os.path.exists(part):
            if os.path.exists(path):
                return path
            time.sleep(0.01)
        return None

    def words(self, path, lifted):
        words = "a core file of %.1f MB" % (os.path.getsize(path) / 1e6) if path else "no core"
        return words + ("" if lifted else ", its limit could not be lifted")

    def end_daemon(self, number, leak, folder):
        """A daemon at rest. Returns what there is to say, and the scan of its core if one came."""
        program = self.settings.planted if leak else self.settings.daemon
        with Daemon(self.settings, program, leak) as daemon, \
                Load(self.settings, daemon, 1 << 16) as load:
            load.rounds(2)
            time.sleep(0 if leak else REMASK_PAUSE)
            lifted = self.lift_limit(daemon.pid)
            path = self.end(daemon.process, number, folder)
            scan = Scan(self.settings, daemon, load, "--routes", "none", "--core", path) \
                if path else None
            return self.words(path, lifted), scan

    def end_kept(self, number, folder):
        """A worker, and, when the next one serves, the keeper: who, what to say, its core file."""
        with Daemon(self.settings, keep=True) as daemon:
            with Load(self.settings, daemon, 1 << 16) as load:
                load.rounds(1)
                worker = daemon.worker()
                lifted = self.lift_limit(worker)
                daemon.next_worker(number)
                path = self.core_of(worker, folder)
                yield "worker", self.words(path, lifted), path
            lifted = self.lift_limit(daemon.pid)
            path = self.end(daemon.process, number, folder)
            yield "keeper", self.words(path, lifted), path

    def end_mgctl(self, number, folder):
        """With the rest of a value in its hands that nobody takes."""
        with Daemon(self.settings) as daemon:
            users = Users(self.settings, self.report)
            users.store(daemon, "core/mgctl", os.urandom(LARGE))
            with users.stuck_get(daemon, "core/mgctl", False) as process:
                lifted = self.lift_limit(process.pid)
                path = self.end(process, number, folder)
        return self.words(path, lifted), path

    def clean(self, name, words, core):
        self.report.row("  " + name, words, "", "1" if core else "0",
                        "A CORE" if core else "clean")
        return ["%s: there is one" % name] if core else []

    def found(self, name, words, scan):
        hits = scan.routes["core"]["leaks"] if scan else 0
        found = scan is not None and scan.leaked_by("core", "value")
        self.report.row("  planted: " + name, words, "", str(hits), "found" if found else "MISSED")
        return [] if found else ["%s: the control was not found" % name]

    def each(self, kind, number, folder):
        """First what must leave none, then what may: after it, any core has come."""
        name = "core by %s, %s" % (signal.Signals(number).name, kind)
        faults = self.clean(name, *self.end_daemon(number, None, folder))
        faults += self.clean(name + ", mgctl", *self.end_mgctl(number, folder))
        for who, words, core in self.end_kept(number, folder):
            faults += self.clean(name + ", " + who, words, core)
        faults += self.found(name, *self.end_daemon(number, "dumpable", folder))
        cores = [entry for entry in os.listdir(folder) if entry.startswith("core.")]
        if len(cores) > 1 and not faults:
            faults.append("%s: one came late" % name)
        return faults

    def by_signal(self, kind):
        faults = []
        for number in SIGNALS:
            with tempfile.TemporaryDirectory(prefix="mgcore.") as folder:
                with core_pattern(self.pattern(kind, folder)):
                    faults += self.each(kind, number, folder)
        return faults
