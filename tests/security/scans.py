# SPDX-License-Identifier: Apache-2.0
"""Cases in which leakscan looks at a daemon at work, at rest, in a core file, and with a leak."""

import os
import platform
import re
import shutil
import subprocess
import time

from house import PATIENCE, Daemon, Load, Skip, numbers

REMASK_PAUSE = 0.7  # seconds: a re-mask has come, every view is wiped
STACK_TRIES = 10

# What is planted, which find proves that it was seen, and the routes that see it: these, no others.
MEMORY = ("mem", "vm", "ptrace")
CONTROLS = [
    ("value", "value", MEMORY),
    ("inverted", "value", MEMORY),
    ("reversed", "value", MEMORY),
    ("hidden", "value", ("mem", "ptrace")),
    ("data-key", "data-key", MEMORY),
    ("channel-key", "frame-key", MEMORY),
    ("wrapping-key", "wrapping-key", MEMORY),
    ("vault-master", "vault-master", MEMORY),
    ("channel-master", "channel-master", MEMORY),
    ("ledger-key", "ledger-key", MEMORY),
    ("halves", "split-key", MEMORY),
    ("register", "data-key", ("ptrace", "registers")),
    ("descriptor", "split-key", ("fd", "machine")),
    ("handed-out", "split-key", ("machine",)),
    ("file", "value", ("fd",)),
    ("socket", "value", ("fd",)),
    ("pipe", "value", ("fd",)),
]


def take_core(daemon, name, pid=None):
    """A core file of the running daemon, or of one of its processes, by gdb."""
    if not shutil.which("gdb"):
        raise Skip("no gdb here")
    path = daemon.path(name)
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-p", str(pid or daemon.pid),
         "-ex", "gcore " + path],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=dict(os.environ, DEBUGINFOD_URLS=""), timeout=PATIENCE, check=False)
    if not os.path.exists(path):
        words = [line for line in done.stdout.splitlines() if "ptrace" in line or "gcore" in line]
        raise Skip("no core file: " + (words[0] if words else "gdb said nothing"))
    return path


def at_work(daemon):
    """Who serves has keys in its registers; a keeper never has."""
    return ["--live", str(daemon.pids()[-1])]


class Scan:
    """One run of leakscan, taken apart."""

    def __init__(self, settings, daemon, load, *options, thorough=True):
        command = [settings.tool("leakscan"), "--facts", load.facts]
        for pid in daemon.pids():
            command += ["--pid", str(pid)]
        command += ["--routes", ",".join(settings.routes)]
        command += (settings.scan if thorough else []) + list(options)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        self.status = done.returncode
        self.text = done.stdout
        self.routes = {}
        self.tried = {}
        self.leaks = []
        self.excused = []
        self.blind = []
        for line in done.stdout.splitlines():
            self.take(line)

    def take(self, line):
        kind, _, rest = line.partition(" ")
        if kind == "route":
            name, _, rest = rest.partition(" ")
            self.routes[name] = numbers(rest)
        elif kind == "tried":
            self.tried = numbers(rest)
        elif kind in ("leak", "excused", "blind"):
            getattr(self, {"leak": "leaks"}.get(kind, kind)).append(rest)

    def leaked_by(self, route, what):
        """Whether this route has found it: a kind of find, anything, or what a line says."""
        found = self.routes.get(route, {})
        if what is None:
            return found.get("leaks", 0) > 0
        if what in found:
            return found["leaks"] > 0 and found[what] > 0
        return any(leak.startswith(route + " " + what) for leak in self.leaks)

    def leaked_in(self, route, pid):
        """Whether it was found in this process."""
        return self.routes.get(route, {}).get("leaks-in-%d" % pid, 0) > 0


class Cases:
    """The cases, in the order in which they are run."""

    def __init__(self, settings, report):
        self.settings = settings
        self.report = report

    def judge(self, phase, scan):
        """Nothing may be found, and the scan must have seen what it must see."""
        self.report.scan(phase, scan)
        if scan.status == 0:
            return []
        return ["%s: leakscan ends with %d" % (phase, scan.status)] + scan.leaks + scan.blind

    # -- the daemon as it ships

    def traced(self):
        """Said once, and not of every scan."""
        self.settings.need_tracing()

    def served(self, fallback):
        """Under load and after it. Keys may be in the fallback's memory; values never."""
        options = ["--values-only", "--no-secret"] if fallback else []
        name = "mlock" if fallback else "memfd_secret"
        with Daemon(self.settings, fallback=fallback) as daemon, \
                Load(self.settings, daemon, 1 << 20) as load:
            load.rounds(20)
            load.begin()
            faults = self.judge(name + ", at work", Scan(
                self.settings, daemon, load, "--for", str(self.settings.loop_seconds),
                *at_work(daemon), *options))
            load.end()
            time.sleep(REMASK_PAUSE)
            faults += self.judge(name + ", at rest", Scan(self.settings, daemon, load, *options))
        return faults

    def cored(self, fallback):
        """Core files: memory must be clean at any time, registers once the work is done."""
        options = ["--values-only", "--no-secret"] if fallback else []
        faults = []
        with Daemon(self.settings, fallback=fallback) as daemon, \
                Load(self.settings, daemon, 1 << 20) as load:
            load.rounds(2)
            load.begin()
            for number in range(5 if self.settings.full else 1):
                core = take_core(daemon, "core-at-work-%d" % number)
                faults += self.judge("gcore at work", self.scan_core(
                    daemon, load, core, *at_work(daemon), *options))
            load.end()
            time.sleep(REMASK_PAUSE)
            core = take_core(daemon, "core-at-rest")
            faults += self.judge("gcore at rest", self.scan_core(daemon, load, core, *options))
        return faults

    def scan_core(self, daemon, load, core, *options):
        """The core file leaves the ledger out: what keys are tried on comes from the process."""
        return Scan(self.settings, daemon, load, "--routes", "mem", "--core", core, *options)

    # -- a daemon that is locked

    def locked(self, keep):
        """As it ships: nothing is found, as ever."""
        with Daemon(self.settings, keep=keep) as daemon, Load(self.settings, daemon, 1 << 16) as load:
            load.rounds(2)
            daemon.mgctl(self.settings, "lock", "passphrase")
            time.sleep(REMASK_PAUSE)
            return self.judge("locked", Scan(self.settings, daemon, load))

    def locked_for_all_to_see(self, keep):
        """Where keys can be seen, in memory that is only locked, all but the vault's are; before it
        is locked, and once it is unlocked, that is as well."""
        faults = []
        with Daemon(self.settings, fallback=True, keep=keep) as daemon, \
                Load(self.settings, daemon, 1 << 16) as load:
            load.rounds(2)
            for command, there in ((None, True), ("lock", False), ("unlock", True)):
                if command:
                    daemon.mgctl(self.settings, command, "passphrase")
                time.sleep(REMASK_PAUSE)
                scan = Scan(self.settings, daemon, load, "--no-secret", "--routes", ",".join(
                    route for route in self.settings.routes if route in MEMORY))
                found = {master: [leak for leak in scan.leaks if "the %s's" % master in leak]
                         for master in ("vault", "channel")}
                keys = [leak for leak in scan.leaks if re.search("vault-master|ledger-key", leak)]
                self.report.row("  locked, mlock: " + (command or "before"), "by memory", "",
                                str(len(found["vault"])), ("found" if found["vault"] else "MISSED")
                                if there else "LEAK" if found["vault"] else "clean")
                if bool(found["vault"]) != there:
                    faults += ["%s: the vault's master is %sthere" % (
                        command, "not " if there else "")] + found["vault"]
                if not found["channel"] or keys:
                    faults += ["%s: the scan is not what it should be" % command] + keys
        return faults

    # -- planted leaks

    def scan_planted(self, leak, *options, fallback=False, core=False):
        """At rest: what lies on the stack for microseconds is not looked for again and again."""
        with Daemon(self.settings, self.settings.planted, leak, fallback) as daemon, \
                Load(self.settings, daemon, 1 << 16) as load:
            load.rounds(2)
            options += ("--routes", ",".join(
                route for route in self.settings.routes if route != "stack"))
            if core:
                options += ("--core", take_core(daemon, "core"))
            return Scan(self.settings, daemon, load, *options, thorough=False)

    def expect_red(self, what, scan, routes, find):
        routes = [route for route in routes if route in self.settings.routes + ["core"]]
        missed = [route for route in routes if not scan.leaked_by(route, find)]
        hits = sum(found["leaks"] for found in scan.routes.values())
        self.report.row("  planted: " + what, "by " + ", ".join(routes), "", str(hits),
                        "MISSED" if missed or scan.status != 1 else "found")
        if scan.status != 1:
            return ["leakscan ends with %d" % scan.status] + scan.text.splitlines()
        return ["not found by %s" % route for route in missed]

    def expect_there(self, scan, routes, find, pids, where):
        """These routes see it in those processes alone, and no other route sees anything."""
        faults = []
        for route in scan.routes:
            if route not in routes:
                # What lies on a stack for microseconds may be met in passing.
                wrong = route != "stack" and scan.leaked_by(route, None)
                faults += ["%s sees it too: the control is not what it says" % route] * wrong
            elif scan.leaked_by(route, find):
                found = tuple(scan.leaked_in(route, pid) for pid in pids)
                faults += ["%s finds it elsewhere: %s" % (route, scan.text)] * (found != where)
        return faults

    def unplanted(self):
        """The program with the leaks in it is clean as long as none of them is asked for."""
        return self.judge("planted: nothing", self.scan_planted(None))

    def scan_busy(self, leak):
        """What lies on a stack is there while the work is done."""
        with Daemon(self.settings, self.settings.planted, leak) as daemon, \
                Load(self.settings, daemon, 1 << 16) as load:
            load.begin()
            scan = Scan(self.settings, daemon, load, "--for", "1", thorough=False)
            load.end()
            return scan

    def planted_stack(self):
        """Whether a look meets the work is luck, and a busy machine takes few looks a second."""
        for _ in range(STACK_TRIES):
            scan = self.scan_busy("stack")
            if scan.leaked_by("stack", None):
                break
        return self.expect_red("stack, at work", scan, ["stack"], None)

    def planted(self, leak, find, routes):
        if leak == "register" and platform.machine() != "x86_64":
            raise Skip("how to hold a value in registers is not known for " + platform.machine())
        if leak == "register":
            self.settings.need_tracing()
        scan = self.scan_planted(leak)
        others = [route for route in scan.routes if route not in routes]
        return self.expect_red(leak, scan, routes, find) + [
            "%s sees it too: the control is not what it says" % route
            for route in others if scan.leaked_by(route, None)]

    def planted_and_cored(self):
        scan = self.scan_planted("value", core=True)
        return self.expect_red("value, gcore", scan, ["core"], "value")

    def planted_in_fallback(self):
        scan = self.scan_planted("value", "--values-only", "--no-secret", fallback=True)
        return self.expect_red("value, mlock", scan, MEMORY, "value")

    def no_secret_memory(self):
        """The fallback seen with the eyes for memfd_secret: keys, and no secret mapping."""
        scan = self.scan_planted(None, fallback=True)
        return self.expect_red("no secret memory", scan, ["mem"], "there is no secret memory") + \
            self.expect_red("keys under mlock", scan, ["mem"], "split-key")
