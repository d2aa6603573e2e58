# SPDX-License-Identifier: Apache-2.0
"""Cases in which leakscan looks at a keeper and its worker together: at work, when a worker was
killed in the midst of it and the next one has taken over, and at rest; and with leaks planted in
either. Whatever else the state passes through is looked at by the same functions: they take a
daemon that tells its processes (pids), and a load."""

import platform
import time

from house import Daemon, Load, Skip
from scans import MEMORY, REMASK_PAUSE, Cases, Scan, at_work, take_core

LARGE = 1 << 20
KILL_PAUSE = 0.15  # seconds of a load before its worker is killed

KEEPER, WORKER, BOTH, NEITHER = (True, False), (False, True), (True, True), (False, False)

# As the table in scans.py, and in which of the two it is: the route sees it there, and there alone.
CONTROLS = [
    ("keeper", "split-key", MEMORY, KEEPER),
    ("keeper-value", "value", MEMORY, KEEPER),
    ("keeper-stack", "value", MEMORY + ("stack",), KEEPER),
    ("keeper-register", "data-key", ("ptrace", "registers"), KEEPER),
    ("adopted", "split-key", MEMORY, WORKER),
    ("value", "value", MEMORY, WORKER),
    ("descriptor", "split-key", ("fd", "machine"), BOTH),
    ("handed-out", "split-key", ("machine",), BOTH),
]


class Kept(Cases):
    """The cases, in the order in which they are run."""

    def look(self, phase, daemon, load, *options, fallback=False, thorough=False):
        """Every process of the daemon, by every route."""
        if fallback:
            phase += ", mlock"
            options += ("--values-only", "--no-secret")
        return self.judge(phase, Scan(self.settings, daemon, load, *options, thorough=thorough))

    def kill_in_the_midst(self, daemon, large):
        """Loads whose worker is killed, each while it works."""
        for _ in range(10 if self.settings.full else 3):
            with Load(self.settings, daemon, large) as load:
                load.begin()
                time.sleep(KILL_PAUSE)
                daemon.next_worker()
                load.lost()

    def served(self, fallback):
        """Keys may be in the fallback's memory; values never. One look tries every byte: when
        somebody has just adopted."""
        seconds = str(self.settings.loop_seconds)
        with Daemon(self.settings, fallback=fallback, keep=True) as daemon:
            with Load(self.settings, daemon, LARGE) as load:
                load.rounds(5)
                load.begin()
                faults = self.look("kept, at work", daemon, load, "--for", seconds,
                                   *at_work(daemon), fallback=fallback)
                load.end()
            self.kill_in_the_midst(daemon, LARGE)
            with Load(self.settings, daemon, LARGE) as load:
                faults += self.look("kept, adopted", daemon, load, fallback=fallback,
                                    thorough=not fallback)
                if self.settings.full:
                    load.begin()
                    faults += self.look("kept, at work again", daemon, load, "--for", seconds,
                                        *at_work(daemon), fallback=fallback)
                    load.end()
                load.rounds(1)
                time.sleep(REMASK_PAUSE)
                faults += self.look("kept, at rest", daemon, load, fallback=fallback)
        return faults

    def cored(self):
        """Each of the two, once a worker has adopted; the process behind it tells what to try."""
        faults = []
        with Daemon(self.settings, keep=True) as daemon:
            self.kill_in_the_midst(daemon, 1 << 16)
            with Load(self.settings, daemon, 1 << 16) as load:
                load.rounds(2)
                time.sleep(REMASK_PAUSE)
                for who, pid in zip(("keeper", "worker"), daemon.pids()):
                    core = take_core(daemon, "core-" + who, pid)
                    faults += self.judge("gcore, " + who, self.scan_core(daemon, load, core))
        return faults

    # -- planted leaks

    def scan_adopted(self, leak, fallback=False):
        """At rest, when another worker has adopted. Returns whom it has looked at, too."""
        with Daemon(self.settings, self.settings.planted, leak, fallback, keep=True) as daemon:
            with Load(self.settings, daemon, 1 << 16) as load:
                load.rounds(1)
                daemon.next_worker()
            with Load(self.settings, daemon, 1 << 16) as load:
                load.rounds(1)
                options = ("--values-only", "--no-secret") if fallback else ()
                return Scan(self.settings, daemon, load, *options, thorough=False), daemon.pids()

    def unplanted(self):
        """The program with the leaks in it is clean as long as none of them is asked for."""
        return self.judge("kept, planted: nothing", self.scan_adopted(None)[0])

    def planted(self, leak, find, routes, where):
        if leak == "keeper-register":
            if platform.machine() != "x86_64":
                raise Skip("how to hold a value in registers is not known for " +
                           platform.machine())
            self.settings.need_tracing()
        scan, pids = self.scan_adopted(leak)
        return self.expect_red("kept, " + leak, scan, routes, find) + \
            self.expect_there(scan, routes, find, pids, where)

    def planted_in_fallback(self):
        scan, _ = self.scan_adopted("keeper-value", fallback=True)
        return self.expect_red("kept, keeper-value, mlock", scan, MEMORY, "value")

    def no_secret_memory(self):
        """The eyes for memfd_secret on both, without it."""
        with Daemon(self.settings, fallback=True, keep=True) as daemon, \
                Load(self.settings, daemon, 1 << 16) as load:
            scan = Scan(self.settings, daemon, load, "--routes", "mem", thorough=False)
        return self.expect_red("kept, no secret memory", scan, ["mem"],
                               "there is no secret memory") + \
            self.expect_red("kept, keys under mlock", scan, ["mem"], "split-key")
