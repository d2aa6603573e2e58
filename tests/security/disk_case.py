# SPDX-License-Identifier: Apache-2.0
"""What the tests that nothing gets to a disk have in common: what a trace of strace says, clients that
give a daemon something to write, and the daemon's world."""

import collections
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from daemon import wait_for
from mgwire import Client, Closed, Refused

PLANTED = str(pathlib.Path(os.environ["SECURITY_TOOLS"]) / "memguardd-planted")
SECONDS = 120  # for what takes a few
CLIENTS = 4
NAMES = 4
WINDOW = 8  # bytes of a value
NOT_FOUND, GONE = 3, 12

# -- what a trace says ---------------------------------------------------------------------------

# A call as it begins; what another one interrupted ends in a line of its own.
CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
TARGET = re.compile(r"\b\d+<([^>]*)>")
ANNOTATION = re.compile(r"<[^>]*>")
BOUND = re.compile(r'sun_path="([^"]*)"')
PASSED = re.compile(r"cmsg_type=SCM_RIGHTS, "
                    r"cmsg_data=\[((?:\d+<[^>]*>(?:\(deleted\))?(?:, )?)*)\]")
BORN = re.compile(r"^(\d+) +(?:<\.\.\. )?(?:clone3?|v?fork)\b.* = (\d+)$")

# No files, or files that are in no file system.
HARMLESS = re.compile(r"socket:\[|pipe:\[|anon_inode:|/dev/null$|"
                      r"(/memfd:memguardd-(ledger|settings)|/memfd:memguard|/secretmem)( \(deleted\))?$")
TO_WRITE = re.compile(r"\bO_(WRONLY|RDWR|CREAT|TMPFILE|TRUNC|APPEND)\b")

WRITERS = {"write", "writev", "pwrite64", "pwritev", "pwritev2", "sendfile", "copy_file_range",
           "splice", "tee", "vmsplice", "sendto", "sendmsg", "sendmmsg", "ftruncate", "fallocate",
           "fsetxattr"}
OPENERS = {"open", "openat", "openat2", "creat"}
# With a path, or past all the others: none of them has any business here.
NEVER = {"link", "linkat", "rename", "renameat", "renameat2", "symlink", "symlinkat", "mkdir",
         "mkdirat", "mknod", "mknodat", "truncate", "setxattr", "lsetxattr", "io_setup",
         "io_submit", "io_uring_setup", "io_uring_enter", "io_uring_register", "swapon", "mount",
         "acct", "open_by_handle_at"}


class Trace:
    """What strace has written: which processes there were, and which calls are no good."""

    def __init__(self, path, log, socket, audit=None):
        self.log, self.socket, self.audit = str(log), str(socket), str(audit)
        self.pids, self.parents, self.faults = set(), {}, []
        self.seen = collections.Counter()
        for line in pathlib.Path(path).read_text(errors="replace").splitlines():
            match = CALL.match(line)
            if match:
                self.take(int(match.group(1)), match.group(2), match.group(3), line)
            match = BORN.match(line)
            if match:
                self.parents[int(match.group(2))] = int(match.group(1))

    def take(self, pid, name, rest, line):
        self.pids.add(pid)
        if name in WRITERS:
            good = self.writes(name, rest)
        elif name in OPENERS:
            good = self.opens(name, rest)
        elif name == "mmap":
            good = self.maps(rest)
        elif name == "bind":
            good = all(path == self.socket for path in BOUND.findall(rest))
        else:
            good = name not in NEVER
        if not good:
            self.faults.append(line)

    def note(self, what):
        self.seen[what.removesuffix(" (deleted)")] += 1

    def writes(self, name, rest):
        rest = TEXT.sub("", rest)
        targets = TARGET.findall(PASSED.sub("", rest))
        for target in targets:
            self.note({self.log: "log", self.audit: "audit"}.get(
                target, target.partition(":")[0]))
        return self.passes(rest) and bool(targets) and all(
            HARMLESS.match(target) or (target in (self.log, self.audit) and name == "write")
            for target in targets)

    def passes(self, rest):
        """Descriptors to somebody else, who could write with them; the lock is one, and empty."""
        passed = [target for group in PASSED.findall(rest) for target in TARGET.findall(group)]
        for target in passed:
            self.note("passing of " + target)
        return all(HARMLESS.match(target) or target == self.socket + ".lock" for target in passed)

    def opens(self, name, rest):
        if name != "creat" and not TO_WRITE.search(ANNOTATION.sub("", TEXT.sub("", rest))):
            return True
        lock = TEXT.findall(rest)[:1] == [self.socket + ".lock"]
        if lock:
            self.note("lock")
        return lock or TEXT.findall(rest)[:1] == [self.audit]

    def maps(self, rest):
        """Shared with a file, whatever may be done with it: who maps it may be given more."""
        targets = TARGET.findall(rest)
        if not targets or "MAP_SHARED" not in rest:
            return True
        self.note("mapping of " + targets[0])
        return bool(HARMLESS.match(targets[0]))


def windows_of(data):
    return {data[at:at + WINDOW] for at in range(len(data) - WINDOW + 1)}


def found_in(text, values, names):
    """Names, and whether there is anything of a value."""
    here = windows_of(text)
    return [name for name in names if name in text] + [
        b"a value" for value in values if not here.isdisjoint(windows_of(value))]


# -- a daemon under strace -----------------------------------------------------------------------

def may_trace():
    if not shutil.which("strace"):
        return "no strace here"
    if os.geteuid() != 0:
        return "only root is told what the descriptors of a process like ours are"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=SECONDS)
    return "" if done.returncode == 0 else "strace: " + done.stderr.strip()


class Visitor(threading.Thread):
    """A client that does what clients do, whoever serves it."""

    def __init__(self, path, number, over):
        super().__init__()
        self.path, self.number, self.over = path, number, over
        self.random = random.Random()
        self.values = {self.name_of(i): [] for i in range(NAMES)}
        self.once = []
        self.done = 0
        self.fault = None
        self.client = None

    def name_of(self, i):
        return b"disk-%d/unheard-of-%d" % (self.number, i)

    def draw(self):
        return os.urandom(self.random.choice((16, 200, 16385, 60000)))

    def run(self):
        try:
            while not self.over.is_set() and self.fault is None:
                self.step()
        except Exception as error:  # told by the test: a thread's own words go nowhere
            self.fault = repr(error)
        if self.client:
            self.client.close()

    def step(self):
        try:
            if self.client is None:
                self.client = Client(self.path, timeout=SECONDS)
            self.act()
            self.done += 1
        except (Closed, ConnectionError):
            if self.client:
                self.client.close()
            self.client = None

    def act(self):
        name = self.name_of(self.random.randrange(NAMES))
        what = self.random.randrange(10)
        try:
            if what < 4:
                self.look(name)
            elif what < 7:
                self.values[name].append(self.draw())
                self.client.set(name, self.values[name][-1])
            elif what < 9:
                self.client.remove(name)
            else:
                self.read_once()
        except Refused as refused:
            if refused.code not in (NOT_FOUND, GONE):
                raise

    def look(self, name):
        if self.client.get(name) not in self.values[name]:
            self.fault = "%s has another value" % name

    def read_once(self):
        name = b"disk-%d/unheard-of-once" % self.number
        self.once.append(self.draw())
        self.client.set(name, self.once[-1], lifetime={"reads": 1})
        self.client.get(name)
        try:
            self.client.get(name)
            self.fault = "%s was read twice" % name
        except Refused as refused:
            if refused.code != GONE:
                raise

    def all_values(self):
        return self.once + [value for values in self.values.values() for value in values]


class Traced(unittest.TestCase):
    def setUp(self):
        reason = may_trace()
        if reason:
            self.skipTest(reason)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.empty = self.folder / "empty"
        self.empty.mkdir()
        self.path = self.folder / "trace"

    def around(self, **more):
        """What goes before a program's name. The tracer is a process of its own: who is started is
        the keeper. What another one has written before is added to."""
        home = dict.fromkeys(("HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"), self.empty)
        # What libuv hands to the kernel by a ring is in no trace: it has to do without.
        world = {**home, "UV_USE_IO_URING": "0", **more}
        return [shutil.which("env"), "-C", str(self.empty),
                *("%s=%s" % variable for variable in world.items()),
                "strace", "-D", "-A", "-f", "-y", "-e", "signal=none", "-o", str(self.path)]

    def trace(self, log, path, audit=None):
        return Trace(self.path, log, path, audit)

    def worker(self, keeper):
        children = pathlib.Path(f"/proc/{keeper}/task/{keeper}/children").read_text()
        return int(children.split()[0]) if children else 0

    def kill(self, keeper, times):
        """Workers. Returns their numbers. Who has a session of its own is known to the tracer."""
        killed = set()
        while len(killed) < times:
            time.sleep(random.uniform(0.02, 0.2))
            worker = self.worker(keeper)
            if worker and worker not in killed and os.getsid(worker) == worker:
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)
        return killed

    @contextlib.contextmanager
    def visitors(self, path):
        """Who visits while the block lasts, and is served to its end."""
        over = threading.Event()
        visitors = [Visitor(path, number, over) for number in range(CLIENTS)]
        for visitor in visitors:
            visitor.start()
        try:
            yield visitors
            self.are_served(visitors)
        finally:
            over.set()
            for visitor in visitors:
                visitor.join(SECONDS)
        self.assertEqual([visitor.fault for visitor in visitors], [None] * CLIENTS)

    def are_served(self, visitors):
        before = [visitor.done for visitor in visitors]
        self.assertTrue(wait_for(lambda: all(
            visitor.fault or visitor.done > count + 10
            for visitor, count in zip(visitors, before)), SECONDS))

    def wait_for_end(self, pid):
        """Of a keeper, in the trace; in order."""
        self.assertTrue(wait_for(lambda: re.search(
            rf"^{pid} +\+\+\+ exited with 0", self.path.read_text(errors="replace"), re.M)))

    def judge(self, trace, log, visitors):
        """No call wrote to a disk, no file is left, and the log has nothing that it must not."""
        self.assertEqual(trace.faults, [])
        self.assertEqual(os.listdir(self.empty), [])
        names = [name for visitor in visitors for name in visitor.values] + [b"unheard-of"]
        values = [value for visitor in visitors for value in visitor.all_values()]
        self.assertEqual(found_in(log, values, names), [])
