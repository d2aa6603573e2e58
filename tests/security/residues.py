# SPDX-License-Identifier: Apache-2.0
"""Cases in which a program stops at the moment when it should have forgotten: right behind a crypto
wrapper, when a service has given its value back, when mgctl waits, and just before it ends."""

import array
import contextlib
import fcntl
import os
import platform
import subprocess
import termios
import time

from house import PATIENCE, Daemon, Skip, numbers

SIZES = (64, 100000)  # bytes of a value: on a page that is shared, and on its own
LARGE = 200000  # more than a pipe takes
PIPE_FULL = 65536
PLANTED = "planted-"

# What must leave something where nobody cleans up, or the look is blind. What else does is told.
ORDINARY = ("coffer-view", "enclave-open-chunk")
BARE = ("coffer-view", "channel-open")

# What a service does with a value, and where what it keeps is found. With memfd_secret an open
# secret cannot be read; without it can.
WAYS = ("get", "get-each", "set", "verify", "enclave", "copy", "stream", "pass-on")
KEEPING = (
    ("keep-copy", "memory", False),
    ("keep-copy", "memory", True),
    ("keep-in-register", "registers", False),
    ("keep-open", "memory", True),
)


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=PATIENCE, check=False, **options)


class Residue:
    """What the test program residue tells of one way to do all things."""

    def __init__(self, settings, subject, way, bind_now=False):
        settings.need_tracing()
        environment = dict(os.environ)
        environment.pop("LD_BIND_NOW", None)
        if bind_now:
            environment["LD_BIND_NOW"] = "1"
        done = run([settings.tool("residue"), settings.tool(subject), way], env=environment,
                   text=True)
        self.things = {}
        self.finds = []
        for line in done.stdout.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "skip":
                raise Skip(rest)
            if kind == "thing":
                name, _, rest = rest.partition(" ")
                self.things[name] = numbers(rest)
            else:
                self.finds.append(rest)
        if done.returncode != 0 or not self.things:
            raise RuntimeError("residue ends with %d: %s" % (
                done.returncode, "; ".join(self.finds[:3]) + done.stderr.strip()))

    def hits(self, name):
        return self.things[name]["memory"] + self.things[name]["registers"]

    def wrappers(self):
        return [name for name in self.things if not name.startswith(PLANTED)]

    def leaking(self):
        return [name for name in self.wrappers() if self.hits(name)]

    def seen(self):
        return "%.1f MB in %d looks" % (
            sum(thing["bytes"] for thing in self.things.values()) / 1e6, len(self.wrappers()))

    def told(self):
        """Memory and registers apart."""
        return "%d in memory, %d in registers, of %d wrappers" % (
            sum(self.things[name]["memory"] for name in self.wrappers()),
            sum(self.things[name]["registers"] for name in self.wrappers()), len(self.leaking()))


class Wrappers:
    """Each crypto wrapper of the product, with what stops right behind it."""

    def __init__(self, settings, report):
        self.settings = settings
        self.report = report

    def clean(self, what, subject, bind_now=False):
        residue = Residue(self.settings, subject, "locked", bind_now)
        leaking = residue.leaking()
        self.report.row("  residue, " + what, residue.seen(), "%d wrappers" % len(
            residue.wrappers()), str(sum(map(residue.hits, leaking))),
            "LEAK" if leaking else "clean")
        faults = ["%s: %s" % (what, find) for find in residue.finds if leaking and
                  find.split()[0] in leaking]
        faults += ["%s leaves something" % name for name in leaking]
        faults += ["%s leaves %d bytes on the locked stack" % (name, thing["dirty"])
                   for name, thing in residue.things.items() if thing["dirty"]]
        return residue, faults

    def bound_now(self):
        """As it ships; the plants in the same program show that it is not blind."""
        residue, faults = self.clean("bound at the start", "subject-now")
        if residue.hits(PLANTED + "nothing"):
            faults.append("nothing was planted, and something found")
        for name in residue.things:
            if name.startswith(PLANTED) and name != PLANTED + "nothing":
                self.report.row("  planted: " + name[len(PLANTED):], "by residue", "",
                                str(residue.hits(name)),
                                "found" if residue.hits(name) else "MISSED")
                if not residue.hits(name):
                    faults.append("not found: " + name)
        return faults

    def bound_by_environment(self):
        return self.clean("lazy, LD_BIND_NOW=1", "subject-lazy", True)[1]

    def planted(self, what, residue, wanted):
        missed = [name for name in wanted if not residue.hits(name)]
        self.report.row("  planted: " + what, residue.seen(), residue.told(),
                        str(sum(map(residue.hits, residue.wrappers()))),
                        "MISSED" if missed else "found")
        return ["%s: nothing is found of %s" % (what, name) for name in missed]

    def ordinary_stack(self):
        return self.planted("work on the ordinary stack",
                            Residue(self.settings, "subject-now", "ordinary"), ORDINARY)

    def no_scrub(self):
        residue = Residue(self.settings, "subject-now", "bare")
        in_memory = [name for name in residue.wrappers() if residue.things[name]["memory"]]
        return self.planted("no scrub of registers", residue, BARE) + [
            "%s leaves something in memory, though its stack is secret" % name
            for name in in_memory] + [
            "%s: the locked stack is empty, though nobody wiped it" % name
            for name in BARE if not residue.things[name]["dirty"]]

    def bound_lazily(self):
        """Which call is the first to be looked up hangs on the compiler and the C library."""
        residue = Residue(self.settings, "subject-lazy", "locked")
        if not residue.leaking():
            self.report.row("  planted: bound lazily", residue.seen(), residue.told(), "0", "-")
            raise Skip("lazy binding leaves nothing on the stack on this machine")
        return self.planted("bound lazily", residue, ())

    def shipped(self):
        """What ships is bound at its start, all of it."""
        faults = []
        for program in (self.settings.daemon, self.settings.mgctl, self.settings.mgclient):
            done = run(["readelf", "-dW", program], text=True)
            if done.returncode != 0:
                raise Skip("readelf does not read " + program)
            now = "BIND_NOW" in done.stdout
            self.report.row("  " + os.path.basename(program), "by readelf", "", "",
                            "bound now" if now else "LAZY")
            if not now:
                faults.append(program + " is bound lazily")
        return faults


class Look:
    """One run of lookfor, taken apart."""

    def __init__(self, settings, folder, value, arguments, given=None):
        value_path = os.path.join(folder, "value")
        report = os.path.join(folder, "report")
        with open(value_path, "wb") as file:
            file.write(value)
        done = run([settings.tool("lookfor"), "--value", value_path, "--report", report] +
                   arguments, input=given)
        self.output = done.stdout
        self.looks = {}
        self.finds = []
        with open(report, encoding="utf-8") as file:
            for line in file:
                kind, _, rest = line.strip().partition(" ")
                name, _, words = rest.partition(" ")
                if kind == "look":
                    self.looks[name] = numbers(words)
                else:
                    self.finds.append(rest)
        if done.returncode != 0 or not self.looks:
            raise RuntimeError("lookfor ends with %d: %s" % (
                done.returncode, done.stderr.decode(errors="replace").strip()))

    def hits(self):
        return sum(look["memory"] + look["registers"] for look in self.looks.values())

    def seen(self):
        return "%.1f MB in %d looks" % (
            sum(look["bytes"] for look in self.looks.values()) / 1e6, len(self.looks))


class Tally:
    """Looks of a kind, in one row."""

    def __init__(self, report, what):
        self.report = report
        self.what = what
        self.bytes = 0
        self.looks = 0
        self.hits = 0
        self.faults = []

    def take(self, name, look, wants):
        """`wants` names the stops or routes at which there must have been a look."""
        self.bytes += sum(found["bytes"] for found in look.looks.values())
        self.looks += len(look.looks)
        self.hits += look.hits()
        self.faults += ["%s: %s" % (name, find) for find in look.finds]
        self.faults += ["%s: there was no look %s" % (name, want)
                        for want in wants if want not in look.looks]

    def row(self, tried):
        self.report.row("  " + self.what, "%.1f MB in %d looks" % (self.bytes / 1e6, self.looks),
                        tried, str(self.hits), "LEAK" if self.faults else "clean")
        return self.faults


def waiting_bytes(fd):
    """Bytes in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("waited in vain: " + what)
        time.sleep(0.01)


class Users:
    """Programs that use a value: a service of libmgclient, and mgctl."""

    MODES = (("memfd_secret", False), ("mlock", True))

    def __init__(self, settings, report):
        self.settings = settings
        self.report = report

    def denied(self, fallback):
        return [self.settings.deny, "memfd_secret", "--"] if fallback else []

    def mgctl_command(self, daemon, fallback, *arguments):
        return self.denied(fallback) + [
            self.settings.mgctl, "--socket", "unix:" + daemon.socket] + list(arguments)

    def store(self, daemon, name, value):
        done = run(self.mgctl_command(daemon, False, "set", name), input=value)
        if done.returncode != 0:
            raise RuntimeError("mgctl set: " + done.stderr.decode(errors="replace").strip())

    # -- services

    def serve(self, daemon, value, way, fallback):
        self.settings.need_tracing()
        name = "user/" + way
        self.store(daemon, name, value)
        return Look(self.settings, daemon.folder, value, self.denied(fallback) + [
            self.settings.tool("security-service"), "unix:" + daemon.socket, name, way],
            given=value)

    def services(self, mode, fallback):
        """Stopped as soon as the value is given back, and once more at the end."""
        tally = Tally(self.report, "service, %s" % mode)
        with Daemon(self.settings) as daemon:
            for size in SIZES:
                for way in WAYS:
                    value = os.urandom(size)
                    tally.take("%s of %d" % (way, size), self.serve(daemon, value, way, fallback),
                               ("stopped", "leaving"))
        return tally.row("%d ways" % (len(SIZES) * len(WAYS)))

    def keeping_services(self):
        faults = []
        with Daemon(self.settings) as daemon:
            for way, where, fallback in KEEPING:
                if way == "keep-in-register" and platform.machine() != "x86_64":
                    continue
                look = self.serve(daemon, os.urandom(SIZES[0]), way, fallback)
                hits = look.looks["stopped"][where]
                what = "service, %s%s" % (way, ", mlock" if fallback else "")
                self.report.row("  planted: " + what, look.seen(), "in " + where, str(hits),
                                "found" if hits else "MISSED")
                faults += [] if hits else ["not found: " + what]
        return faults

    # -- mgctl

    def mgctl_ends(self, mode, fallback):
        """mgctl just before it ends, after a set and after a get."""
        self.settings.need_tracing()
        tally = Tally(self.report, "mgctl before its end, %s" % mode)
        with Daemon(self.settings) as daemon:
            for size in SIZES:
                value = os.urandom(size)
                tally.take("set of %d" % size, Look(
                    self.settings, daemon.folder, value,
                    self.mgctl_command(daemon, fallback, "set", "user/mgctl"), given=value),
                    ("leaving",))
                look = Look(self.settings, daemon.folder, value,
                            self.mgctl_command(daemon, fallback, "get", "user/mgctl"))
                tally.take("get of %d" % size, look, ("leaving",))
                if look.output != value:
                    tally.faults.append("get of %d gives other bytes" % size)
        return tally.row("%d commands" % (2 * len(SIZES)))

    def look_at_waiting(self, daemon, value, process):
        return Look(self.settings, daemon.folder, value, ["--pid", str(process.pid)])

    @contextlib.contextmanager
    def stuck_get(self, daemon, name, fallback):
        """Nobody reads: mgctl waits with the rest of the value in its hands."""
        process = subprocess.Popen(self.mgctl_command(daemon, fallback, "get", name),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            wait_until(lambda: waiting_bytes(process.stdout.fileno()) >= PIPE_FULL, "a full pipe")
            yield process
        finally:
            process.stdout.close()
            end_process(process)

    def waiting_get(self, daemon, value, fallback):
        self.settings.need_tracing()
        self.store(daemon, "user/waiting", value)
        with self.stuck_get(daemon, "user/waiting", fallback) as process:
            look = self.look_at_waiting(daemon, value, process)
            if process.stdout.read() != value or process.wait(PATIENCE) != 0:
                raise RuntimeError("mgctl get gives other bytes")
        return look

    def waiting_set(self, daemon, value, fallback, begun=50000):
        """The end of the value does not come: mgctl waits with its beginning in its hands."""
        self.settings.need_tracing()
        process = subprocess.Popen(
            self.mgctl_command(daemon, fallback, "set", "user/waiting"), stdin=subprocess.PIPE)
        try:
            process.stdin.write(value[:begun])
            process.stdin.flush()
            wait_until(lambda: waiting_bytes(process.stdin.fileno()) == 0, "an empty pipe")
            time.sleep(0.1)
            look = self.look_at_waiting(daemon, value, process)
            process.stdin.write(value[begun:])
            process.stdin.close()
            if process.wait(PATIENCE) != 0:
                raise RuntimeError("mgctl set fails")
        finally:
            end_process(process)
        return look

    def waiting_for_most(self, daemon, value, fallback):
        """So few bytes that all of them have room in registers."""
        return self.waiting_set(daemon, value, fallback, 100)

    def mgctl_waits(self):
        tally = Tally(self.report, "mgctl that waits, memfd_secret")
        value = os.urandom(LARGE)
        waits = (("get", self.waiting_get), ("set", self.waiting_set),
                 ("set, few bytes", self.waiting_for_most))
        with Daemon(self.settings) as daemon:
            for name, wait in waits:
                look = wait(daemon, value, False)
                tally.take(name, look, ("mem", "vm", "ptrace"))
                if not look.looks["mem"]["secret-pages"]:
                    tally.faults.append(name + ": mgctl has no secret memory")
        return tally.row("%d times" % len(waits))

    def mgctl_waits_under_mlock(self):
        """What it has in its hands can be read then: each route must see it."""
        faults = []
        value = os.urandom(LARGE)
        with Daemon(self.settings) as daemon:
            for name, wait in (("get", self.waiting_get), ("set", self.waiting_set)):
                look = wait(daemon, value, True)
                missed = [route for route in ("mem", "vm", "ptrace")
                          if not look.looks[route]["memory"]]
                self.report.row("  planted: mgctl %s waits, mlock" % name, look.seen(),
                                "by mem, vm, ptrace", str(look.hits()),
                                "MISSED" if missed else "found")
                faults += ["mgctl %s: not found by %s" % (name, route) for route in missed]
        return faults


def end_process(process):
    if process.poll() is None:
        process.kill()
        process.wait()
