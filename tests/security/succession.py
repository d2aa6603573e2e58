# SPDX-License-Identifier: Apache-2.0
"""Daemons that a hand-over goes through: step by step, everybody standing still at each."""

import os
import signal
import subprocess
import sys
import time

from house import PATIENCE, ROOT, Daemon

STOP = ":%d" % signal.SIGSTOP

# Where they stop (daemon/failpoint.h).
PLACES = ("offered", "accepting", "accepted", "leaving", "left", "shared", "handed", "mapped",
          "opening", "serving", "told")


def state(pid):
    """One letter, as proc(5) has it; Z also for a process that is not there any more."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as file:
        return [int(number) for number in file.read().split()]


def wait_until(condition, what, words):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("%s: %s" % (what, words()))
        time.sleep(0.005)


class Succession(Daemon):
    """A daemon whose upgrade is gone through by steps. No limit of time runs meanwhile: the old
    keeper, which has them all, stands still whenever somebody else does."""

    def __init__(self, settings, program, leak=None, fallback=False):
        super().__init__(settings, program, leak, fallback, keep=True,
                         FAILPOINT=",".join(place + STOP for place in PLACES))
        self.settings = settings
        self.members = {"old": self.pid}  # who takes part, by their parts
        self.asking = None

    def __enter__(self):
        try:
            super().__enter__()
            wait_until(self.worker, "there is no worker", self.words)
            self.members["old worker"] = self.worker()
            self.pass_place(self.worker())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """Those who stand still would not hear of a mild end."""
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # with the one before it
        if self.asking:
            self.asking.kill()
            self.asking.wait()
        super().__exit__()

    def has_ended(self):
        return state(self.pid) == "Z"

    def pids(self):
        """Those who live."""
        if self.pid == self.members.get("new") and not self.has_ended():
            self.members["new worker"] = self.worker()
        return [pid for pid in self.members.values() if pid and state(pid) not in "ZX"]

    # -- one of them

    def wait_for(self, pid, letter):
        wait_until(lambda: state(pid) == letter, "%d does not come to %s" % (pid, letter),
                   self.words)

    def stands(self, pid):
        self.wait_for(pid, "T")

    def go_on(self, pid):
        os.kill(pid, signal.SIGCONT)

    def pass_place(self, pid):
        self.stands(pid)
        self.go_on(pid)

    def lead(self, pid):
        """From one place to its next one."""
        self.pass_place(pid)
        self.stands(pid)

    def hold(self, pid):
        """Where it waits for somebody else."""
        self.wait_for(pid, "S")
        os.kill(pid, signal.SIGSTOP)
        self.stands(pid)

    # -- the steps

    def ask(self):
        self.asking = subprocess.Popen(
            [self.settings.mgctl, "--socket", "unix:" + self.socket, "upgrade"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def upgrade(self):
        """Gives the name of each place where all stand still, or wait for somebody who does."""
        old, worker = self.members["old"], self.members["old worker"]
        self.ask()
        self.stands(old)
        between = self.members["between"] = next(pid for pid in children(old) if pid != worker)
        new = self.members["new"] = children(between)[0]
        self.stands(new)
        yield "offered"

        self.go_on(new)
        self.wait_for(new, "S")
        self.lead(old)
        yield "accepted"

        self.go_on(old)
        self.hold(old)
        self.stands(worker)
        yield "leaving"

        self.lead(worker)
        yield "left"

        self.go_on(worker)
        self.wait_for(worker, "Z")
        self.hold(new)
        self.lead(old)
        yield "shared"

        self.lead(old)
        yield "handed"

        self.lead(new)
        yield "mapped"

        served = self.words().count("serves again")
        self.go_on(new)
        wait_until(lambda: children(new), "there is no new worker", self.words)
        successor = self.members["new worker"] = children(new)[0]
        self.stands(successor)
        yield "opening"

        self.go_on(successor)
        wait_until(lambda: self.words().count("serves again") > served,
                   "the new one does not serve", self.words)
        self.lead(old)
        yield "serving"

        self.lead(old)
        yield "told"

        self.go_on(old)
        self.wait_for(old, "Z")
        self.pid = new
        yield "done"

    def upgrade_that_fails(self):
        """The new program dies when it has the keys. What is upgrade's is gone through as there."""
        for place in self.upgrade():
            if place == "mapped":
                break
        old, new = self.members["old"], self.members["new"]
        os.kill(new, signal.SIGKILL)
        self.wait_for(self.members["between"], "Z")
        yield "fallen"

        yield from self.resume()

    def death(self):
        """Of a worker; who forks the next one stands still when it has died."""
        old, worker = self.members["old"], self.members["old worker"]
        self.hold(old)
        os.kill(worker, signal.SIGKILL)
        self.wait_for(worker, "Z")
        yield "died"

        yield from self.resume()

    def resume(self):
        """The old keeper finds somebody dead."""
        old = self.members["old"]
        dead = set(children(old))
        served = self.words().count("serves again")
        self.go_on(old)
        wait_until(lambda: set(children(old)) - dead, "there is no other worker", self.words)
        worker = self.members["old worker"] = (set(children(old)) - dead).pop()
        self.stands(worker)
        yield "reopening"

        self.go_on(worker)
        wait_until(lambda: self.words().count("serves again") > served, "no other worker serves",
                   self.words)
        yield "resumed"

    def next_worker(self, number=signal.SIGKILL):
        """The next one stops where every worker does."""
        before = self.worker()
        served = self.words().count("serves again")
        os.kill(before, number)
        wait_until(lambda: self.worker() not in (0, before), "no other worker is there", self.words)
        self.pass_place(self.worker())
        wait_until(lambda: self.words().count("serves again") > served, "no other worker serves",
                   self.words)


class Stored:
    """A daemon that a service manager restarts. The manager, which keeps the descriptors meanwhile,
    is this process."""

    def __init__(self, settings, fallback=False):
        os.environ.setdefault("MEMGUARDD", settings.daemon)
        sys.path.append(os.path.join(ROOT, "tests", "integration"))
        from manager import Manager
        self.manager = Manager(program=settings.stopping, wrap=[
            settings.deny, "memfd_secret", "--"] if fallback else [])
        self.socket = str(self.manager.path)
        self.log = open(self.path("load-log"), "w+b")
        with open(self.path("config"), "w", encoding="ascii"):
            pass  # all defaults, whatever the machine's own file says
        self.manager.arguments += ["--config", self.path("config")]

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.manager.end()
        self.log.close()

    def path(self, name):
        return str(self.manager.folder / name)

    def words(self):
        return self.manager.log()

    def keys(self):
        """Descriptors of the keys that are in the store."""
        return [fd for name, fd in list(self.manager.store) if "-keys-" in name]

    def pids(self):
        """Who keeps the keys, or who maps them."""
        main = self.manager.main
        if state(main) == "Z":
            return [os.getpid()]
        return [main, *children(main)]

    def start(self):
        self.manager.start(FAILPOINT="pushed" + STOP)

    def push(self):
        """The keeper stands still when everything is in the store."""
        self.manager.send(signal.SIGTERM)
        wait_until(lambda: state(self.manager.main) == "T" and self.keys(),
                   "nothing is pushed", self.words)

    def end(self):
        self.manager.send(signal.SIGCONT)
        if self.manager.gone(PATIENCE) != 0:
            raise RuntimeError("it does not end well: " + self.words())
