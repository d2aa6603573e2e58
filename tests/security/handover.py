# SPDX-License-Identifier: Apache-2.0
"""Cases in which everybody who takes part in a hand-over is looked at, at each place where one of
them can stand still: the old keeper and its worker, the new ones, and, in a restart, who keeps the
descriptors between two of them. And who on the machine has the pages of the keys (walk.py)."""

import mmap
import os
import time

from house import Load
from scans import MEMORY, REMASK_PAUSE, Cases, Scan
from succession import Stored, Succession
from walk import Walk, openable, take_descriptor

LARGE = 1 << 16

# Those who stand still need no second look.
ROUTES = ("ptrace", "mem", "vm", "fd", "machine")
DESCRIPTORS = ("fd", "machine")

# Each place, and who maps the keys there. Descriptors are in `shared` alone, and in the old one.
MAPPED_BY = {
    "before": {"old", "old worker"},
    "offered": {"old", "old worker"},
    "accepted": {"old", "old worker"},
    "leaving": {"old", "old worker"},
    "left": {"old", "old worker"},
    "shared": {"old"},
    "handed": {"old"},
    "mapped": {"old", "new"},
    "opening": {"old", "new", "new worker"},
    "serving": {"old", "new", "new worker"},
    "told": {"old", "new", "new worker"},
    "done": {"new", "new worker"},
    # When the new program has died, and when a worker has.
    "fallen": {"old"},
    "died": {"old"},
    "reopening": {"old", "old worker"},
    "resumed": {"old", "old worker"},
}

TAKEN_OVER = ("serving", "told", "done")
AFTER = TAKEN_OVER + ("resumed",)

# Where memory is read that is only locked: there is much to be tried in it.
READ_UNDER_MLOCK = ("before", "accepted", "left", "shared", "mapped", "opening", "done", "fallen",
                    "died", "reopening", "resumed")

# The worker is in the midst of requests: it has keys in its registers, and in locked memory.
AT_WORK = ("offered", "accepted")

# What is in no memory of anybody's while nobody uses it, also where the memory is only locked.
JOINED = ("known-key", "data-key", "frame-key", "wrapping-key", "vault-master", "channel-master",
          "ledger-key")

# What is planted, which find proves that it was seen, by which routes, and in whom once the new
# program has taken over: in the new keeper, in its worker.
KEEPER, WORKER, BOTH = (True, False), (False, True), (True, True)
CONTROLS = [
    ("keeper", "split-key", MEMORY, KEEPER),
    ("keeper-value", "value", MEMORY, KEEPER),
    ("adopted", "split-key", MEMORY, WORKER),
    ("value", "value", MEMORY, WORKER),
    ("taken-descriptor", "split-key", DESCRIPTORS, BOTH),
]


class Handed(Cases):
    """The cases, in the order in which they are run."""

    def scan(self, daemon, load, *options, fallback=False):
        routes = [route for route in ROUTES if route in self.settings.routes]
        if fallback:
            options += ("--values-only", "--no-secret")
        return Scan(self.settings, daemon, load, "--routes", ",".join(routes), *options,
                    thorough=False)

    def tell(self, phase, scan):
        """One row a scan, for there are many."""
        looked = sum(route["bytes"] for route in scan.routes.values())
        hits = sum(route["leaks"] for route in scan.routes.values())
        self.report.row("  hand-over, " + phase, "%.1f MB by %d routes" % (
            looked / 1e6, len(scan.routes)), "%d tries" % scan.tried.get("tries", 0),
            "%d" % hits, "clean" if scan.status == 0 else "LEAK")

    def judge(self, phase, scan):
        self.tell(phase, scan)
        return [] if scan.status == 0 else [
            "%s: leakscan ends with %d" % (phase, scan.status)] + scan.leaks + scan.blind

    def judge_parted(self, phase, scan):
        """Where locked memory can be read: only the parts may lie there."""
        return ["%s: %s by %s: %s" % (phase, what, name, scan.excused)
                for name, route in scan.routes.items() for what in JOINED if route[what] > 0]

    def judge_descriptor(self, phase, scan, *routes):
        """The one that is meant to be there is seen by these routes, and nothing else."""
        missed = [name for name in routes if scan.routes[name]["split-key"] == 0]
        self.report.row("  the keys' descriptor, " + phase, "by " + ", ".join(routes), "",
                        "%d" % sum(scan.routes[name]["split-key"] for name in routes),
                        "MISSED" if missed else "found")
        meant = tuple(name + what for name in routes for what in (" split-key", " secret memory"))
        return scan.blind + [
            "%s: %s does not see the keys behind the descriptor" % (phase, name)
            for name in missed] + [
            "%s: %s" % (phase, leak) for leak in scan.leaks if not leak.startswith(meant)]

    def walk(self, phase, involved, files, holders, mappers):
        """Exactly those who are to have the keys have them."""
        walk = Walk(involved, files)
        faults = self.compare(phase, walk, holders, mappers) + [
            "%s: %s of %d can be opened" % (phase, place, pid)
            for pid in involved for place in openable(pid)]
        self.report.row("  walk, " + phase, "%d descriptors, %d processes closed to us" % (
            walk.seen, walk.closed), "", str(len(faults)), "LEAK" if faults else "clean")
        return faults

    def compare(self, phase, walk, holders, mappers):
        faults = []
        if {pid: len(numbers) for pid, numbers in walk.holders.items()} != holders:
            faults.append("%s: descriptors are in %s, not in %s" % (phase, walk.holders, holders))
        if walk.mappers != mappers:
            faults.append("%s: mapped by %s, not by %s" % (phase, walk.mappers, mappers))
        return faults

    # -- an upgrade

    def walk_at(self, phase, place, daemon, files):
        holders = {daemon.members["old"]: 1} if place == "shared" else {}
        mappers = {daemon.members[who] for who in MAPPED_BY[place]}
        return self.walk(phase, daemon.pids(), files, holders, mappers)

    def scan_at(self, phase, place, daemon, load, fallback):
        """What is wrapped is remembered: sessions end, and between workers nobody maps the ledger."""
        options = ["--wrapped", daemon.path("wrapped")] if place not in AFTER else []
        if place in AT_WORK:
            options += ["--live", str(daemon.members["old worker"])]
        if MAPPED_BY[place] != {who for who, pid in daemon.members.items() if pid in daemon.pids()}:
            options += ["--no-secret"]
        scan = self.scan(daemon, load, *options, fallback=fallback)
        if place == "shared":
            # Of memory that is only locked the route `machine` knows nothing; the walk does.
            faults = self.judge_descriptor(phase, scan, *DESCRIPTORS[:1 if fallback else 2])
        else:
            faults = self.judge(phase, scan)
        if fallback and place not in AT_WORK:
            faults += self.judge_parted(phase, scan)
        return faults

    def look(self, place, daemon, load, files, fallback, what=""):
        phase = what + place + ", mlock" * fallback
        faults = self.walk_at(phase, place, daemon, files)
        if not fallback or place in READ_UNDER_MLOCK:
            faults += self.scan_at(phase, place, daemon, load, fallback)
        return faults

    def steal(self, daemon, files):
        """The control of the walk: somebody takes the descriptor, and maps it."""
        old, us = daemon.members["old"], os.getpid()
        fd = take_descriptor(old, Walk([old], files).holders.get(old, [-1])[0])
        try:
            faults = self.compare("stolen", Walk([old], files), {old: 1, us: 1}, {old})
            # Python keeps a descriptor of its own with a mapping.
            with mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ):
                faults += self.compare("stolen and mapped", Walk([old], files), {old: 1, us: 2},
                                       {old, us})
        finally:
            os.close(fd)
        self.report.row("  planted: a descriptor that was taken away", "by the walk", "", "2",
                        "MISSED" if faults else "found")
        return faults

    def upgraded(self, fallback):
        """From a daemon at work to the one that has taken over from it."""
        files = set()
        with Succession(self.settings, self.settings.stopping, fallback=fallback) as daemon:
            steps = daemon.upgrade()
            with Load(self.settings, daemon, LARGE) as load:
                load.rounds(2)
                time.sleep(REMASK_PAUSE)
                faults = self.look("before", daemon, load, files, fallback)
                load.begin()
                for place in steps:
                    faults += self.look(place, daemon, load, files, fallback)
                    if place == "shared":
                        faults += self.steal(daemon, files)
                    if place == "opening":
                        break
                load.lost()
            next(steps)
            with Load(self.settings, daemon, LARGE) as load:
                load.rounds(1)
                time.sleep(REMASK_PAUSE)
                for place in TAKEN_OVER:
                    faults += self.look(place, daemon, load, files, fallback)
                    next(steps, None)
        return faults

    # -- an upgrade that fails, and a death

    def interrupted(self, begin, fallback):
        """Until the worker that comes then is at rest. Only `begin` knows what has happened."""
        files = set()
        what = begin.__name__.replace("_", " ") + ", "
        with Succession(self.settings, self.settings.stopping, fallback=fallback) as daemon:
            with Load(self.settings, daemon, LARGE) as load:
                load.rounds(2)
                time.sleep(REMASK_PAUSE)
                faults = self.look("before", daemon, load, files, fallback, what)
                load.begin()
                for place in begin(daemon):
                    if place == "resumed":
                        break
                    faults += self.look(place, daemon, load, files, fallback, what)
                load.lost()
            with Load(self.settings, daemon, LARGE) as load:
                load.rounds(1)
                time.sleep(REMASK_PAUSE)
                faults += self.look("resumed", daemon, load, files, fallback, what)
        return faults

    # -- a restart

    def look_at_restart(self, place, daemon, load, files, holders, mappers, fallback):
        """The store is this process: when nobody else is there, it is looked at itself."""
        phase = place + ", mlock" * fallback
        options = ["--wrapped", daemon.path("wrapped")] if place != "restarted" else []
        options += ["--no-secret"] if place == "stored" else []
        faults = self.walk(phase, mappers, files, holders, set(mappers))
        scan = self.scan(daemon, load, *options, fallback=fallback)
        if place == "stored":
            faults += self.judge_descriptor(phase, scan, "fd")
        elif place == "pushed" and not fallback:
            faults += self.judge_descriptor(phase, scan, "machine")
        else:
            faults += self.judge(phase, scan)
        return faults + (self.judge_parted(phase, scan) if fallback else [])

    def restarted(self, fallback):
        """In between nothing but what was pushed has any part of the keys."""
        files = set()
        us = os.getpid()
        with Stored(self.settings, fallback) as daemon:
            with Load(self.settings, daemon, LARGE) as load:
                load.rounds(2)
                time.sleep(REMASK_PAUSE)
                pids = daemon.pids()
                faults = self.look_at_restart("running", daemon, load, files, {}, pids, fallback)
                daemon.push()
                faults += self.look_at_restart(
                    "pushed", daemon, load, files, {us: 1}, pids[:1], fallback)
                daemon.end()
                faults += self.look_at_restart("stored", daemon, load, files, {us: 1}, [], fallback)
            daemon.start()
            with Load(self.settings, daemon, LARGE) as load:
                load.rounds(1)
                time.sleep(REMASK_PAUSE)
                faults += self.look_at_restart(
                    "restarted", daemon, load, files, {}, daemon.pids(), fallback)
        return faults

    # -- planted leaks

    def scan_planted(self, leak, fallback=False):
        """Once the new program has taken over, and in a keeper once another worker has."""
        with Succession(self.settings, self.settings.planted, leak, fallback) as daemon:
            with Load(self.settings, daemon, LARGE) as load:
                load.rounds(1)
            for _ in daemon.upgrade():
                pass
            if leak and leak.startswith("keeper"):
                with Load(self.settings, daemon, LARGE) as load:
                    load.rounds(1)
                daemon.next_worker()
            with Load(self.settings, daemon, LARGE) as load:
                load.rounds(1)
                time.sleep(REMASK_PAUSE)
                return self.scan(daemon, load, fallback=fallback), daemon.pids()

    def unplanted(self):
        return self.judge("planted: nothing", self.scan_planted(None)[0])

    def planted(self, leak, find, routes, where):
        scan, pids = self.scan_planted(leak)
        return self.expect_red("handed over, " + leak, scan, routes, find) + \
            self.expect_there(scan, routes, find, pids, where)

    def planted_in_fallback(self):
        """A master in one piece, under the eyes for its parts."""
        scan, _ = self.scan_planted("vault-master", fallback=True)
        self.report.row("  planted: handed over, vault-master, mlock", "by " + ", ".join(MEMORY),
                        "", "%d" % len(scan.excused),
                        "found" if self.judge_parted("", scan) else "MISSED")
        return ["not found by %s" % route for route in MEMORY
                if route in self.settings.routes and scan.routes[route]["vault-master"] == 0]

    def stopped_at(self, place, daemon):
        """There, with what was wrapped before it in a file."""
        with Load(self.settings, daemon, LARGE) as load:
            load.rounds(1)
            self.scan(daemon, load, "--wrapped", daemon.path("wrapped"))
        for at in daemon.upgrade():
            if at == place:
                return load

    def planted_midway(self):
        """A copy that a new keeper makes when it maps the keys, long before it has a worker."""
        with Succession(self.settings, self.settings.planted, "taken") as daemon:
            load = self.stopped_at("mapped", daemon)
            scan = self.scan(daemon, load, "--wrapped", daemon.path("wrapped"))
            return self.expect_red("mapped, taken", scan, MEMORY, "split-key") + \
                self.expect_there(scan, MEMORY, "split-key", daemon.pids(), (False, False, True))

    def planted_descriptor(self):
        """One that an old keeper keeps when it has sent the other away."""
        with Succession(self.settings, self.settings.planted, "shared-descriptor") as daemon:
            self.stopped_at("handed", daemon)
            old = daemon.members["old"]
            found = Walk([old], set()).holders
        missed = list(found) != [old]
        self.report.row("  planted: handed, shared-descriptor", "by the walk", "",
                        "%d" % len(found), "MISSED" if missed else "found")
        return ["the walk finds descriptors in %s" % found] * missed
