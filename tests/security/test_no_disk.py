# SPDX-License-Identifier: Apache-2.0
"""Nothing is on any disk: a daemon with a keeper stores, overwrites, removes and reads while its
workers are killed, under strace, and no call of any of its processes writes to a file but to the
log, which has no value and no name in it. The controls: a daemon that does write, and every call
with which one could."""

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

from daemon import Daemon, wait_for
from mgwire import Client, Closed, Refused

TOOLS = pathlib.Path(os.environ["SECURITY_TOOLS"])
PLANTED = str(TOOLS / "memguardd-planted")
SECONDS = 120  # for what takes a few
CLIENTS = 4
NAMES = 4
KILLS = 30
WINDOW = 8  # bytes of a value
NOT_FOUND, GONE = 3, 12

# -- what a trace says ---------------------------------------------------------------------------

# A call as it begins; what another one interrupted ends in a line of its own.
CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
TARGET = re.compile(r"\b\d+<([^>]*)>")
ANNOTATION = re.compile(r"<[^>]*>")
BOUND = re.compile(r'sun_path="([^"]*)"')

# No files, or files that are in no file system.
HARMLESS = re.compile(r"socket:\[|pipe:\[|anon_inode:|/memfd:memguardd-ledger$|"
                      r"/memfd:memguardd-ledger \(deleted\)$|/secretmem$|"
                      r"/secretmem \(deleted\)$|/dev/null$")
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

    def __init__(self, path, log, socket):
        self.log, self.socket = str(log), str(socket)
        self.pids, self.seen, self.faults = set(), {}, []
        for line in pathlib.Path(path).read_text(errors="replace").splitlines():
            match = CALL.match(line)
            if match:
                self.take(int(match.group(1)), match.group(2), match.group(3), line)

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
        self.seen[what] = self.seen.get(what, 0) + 1

    def writes(self, name, rest):
        targets = TARGET.findall(TEXT.sub("", rest))
        for target in targets:
            self.note("log" if target == self.log else target.partition(":")[0])
        return bool(targets) and all(
            HARMLESS.match(target) or (target == self.log and name == "write")
            for target in targets)

    def opens(self, name, rest):
        if name != "creat" and not TO_WRITE.search(ANNOTATION.sub("", TEXT.sub("", rest))):
            return True
        lock = TEXT.findall(rest)[:1] == [self.socket + ".lock"]
        if lock:
            self.note("lock")
        return lock

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

    def trace(self, log, path):
        return Trace(self.path, log, path)


class Disk(Traced):
    def start(self, **more):
        """The tracer is a process of its own: who is started is the keeper."""
        home = dict.fromkeys(("HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"),
                             str(self.empty))
        strace = ("strace", "-D", "-f", "-y", "-e", "signal=none", "-o", str(self.path))
        program = {"program": PLANTED} if more else {}
        # What libuv hands to the kernel by a ring is in no trace: it has to do without.
        daemon = Daemon("--keep", wrap=strace, cwd=self.empty, **program,
                        env={**os.environ, **home, "UV_USE_IO_URING": "0", **more})
        self.addCleanup(daemon.end)
        return daemon

    def worker(self, daemon):
        children = pathlib.Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text()
        return int(children.split()[0]) if children else 0

    def kill(self, daemon, times):
        killed = set()
        while len(killed) < times:
            time.sleep(random.uniform(0.02, 0.2))
            worker = self.worker(daemon)
            if worker and worker not in killed:
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)
        return killed

    def live(self, daemon, kills):
        """A life. Returns who visited, and the numbers of the workers that were killed."""
        over = threading.Event()
        visitors = [Visitor(daemon.path, number, over) for number in range(CLIENTS)]
        for visitor in visitors:
            visitor.start()
        try:
            killed = self.kill(daemon, kills)
            before = [visitor.done for visitor in visitors]
            self.assertTrue(wait_for(lambda: all(
                visitor.fault or visitor.done > count + 10
                for visitor, count in zip(visitors, before)), SECONDS))
        finally:
            over.set()
            for visitor in visitors:
                visitor.join(SECONDS)
        self.assertEqual([visitor.fault for visitor in visitors], [None] * CLIENTS)
        return visitors, killed

    def end(self, daemon):
        """Ends it. Returns what it logged and the whole trace."""
        lock = daemon.folder / "socket.lock"
        self.assertEqual((lock.stat().st_size, sorted(os.listdir(daemon.folder))),
                         (0, ["log", "socket", "socket.lock"]))
        daemon.process.terminate()
        self.assertEqual(daemon.process.wait(SECONDS), 0)
        self.assertTrue(wait_for(lambda: re.search(
            rf"^{daemon.pid} +\+\+\+ exited", self.path.read_text(errors="replace"), re.M)))
        self.assertEqual(os.listdir(daemon.folder), ["log"])
        return daemon.log_path.read_bytes(), self.trace(daemon.log_path, daemon.path)

    def test_a_life_with_many_deaths(self):
        daemon = self.start()
        visitors, killed = self.live(daemon, KILLS)
        last = self.worker(daemon)
        log, trace = self.end(daemon)
        self.assertEqual(trace.faults, [])
        self.assertEqual(os.listdir(self.empty), [])
        names = [name for visitor in visitors for name in visitor.values] + [b"unheard-of"]
        values = [value for visitor in visitors for value in visitor.all_values()]
        self.assertEqual(found_in(log, values, names), [])
        # All of it was seen: every process, the lock, the ledger, the log, every answer.
        self.assertLessEqual(killed | {daemon.pid, last}, trace.pids)
        self.assertEqual(trace.seen["lock"], 1)
        self.assertGreater(sum(count for what, count in trace.seen.items()
                               if "memguardd-ledger" in what), KILLS)
        self.assertGreater(trace.seen["log"], KILLS)
        self.assertGreater(trace.seen["socket"], sum(visitor.done for visitor in visitors))

    def plant(self, leak):
        daemon = self.start(LEAK=leak, LEAK_FILE=str(self.empty / "leak"))
        value = os.urandom(200)
        with Client(daemon.path, timeout=SECONDS) as client:
            client.set(b"a", value)
            self.assertEqual(client.get(b"a"), value)
        return (value, *self.end(daemon))

    def test_a_daemon_that_writes_a_value_to_a_file(self):
        value, log, trace = self.plant("disk")
        self.assertEqual(found_in((self.empty / "leak").read_bytes(), [value], []), [b"a value"])
        self.assertTrue([line for line in trace.faults if " write(" in line])
        self.assertTrue([line for line in trace.faults if " openat(" in line])
        self.assertEqual(found_in(log, [value], []), [])

    def test_a_daemon_that_logs_a_value(self):
        value, log, trace = self.plant("log")
        self.assertEqual(found_in(log, [value], [b"unheard-of"]), [b"a value"])
        self.assertEqual(trace.faults, [])

    def test_a_name_in_a_log(self):
        self.assertEqual(found_in(b"memguardd: unheard-of", [os.urandom(16)], [b"unheard-of"]),
                         [b"unheard-of"])


# -- every call with which it could --------------------------------------------------------------

# `file` and `other` are open to be written and read, `full` has bytes in it, `end` is a pipe's.
WAYS = {
    "openat": "os.close(os.open('new', os.O_WRONLY | os.O_CREAT))",
    "openat O_RDWR": "os.close(os.open('other', os.O_RDWR))",
    "openat O_TMPFILE": "os.close(os.open('.', os.O_WRONLY | os.O_TMPFILE))",
    "write": "os.write(file, b'x')",
    "writev": "os.writev(file, [b'x'])",
    "pwrite64": "os.pwrite(file, b'x', 0)",
    "pwritev": "os.pwritev(file, [b'x'], 0)",
    "sendfile": "os.sendfile(file, full, 0, 1)",
    "copy_file_range": "os.copy_file_range(full, file, 1, 0, 0)",
    "splice": "os.splice(pipe, file, 1)",
    "ftruncate": "os.ftruncate(file, 1)",
    "fallocate": "os.posix_fallocate(file, 0, 1)",
    "mmap": "mmap.mmap(full, 1, mmap.MAP_SHARED)",
    "link": "os.link('full', 'linked')",
    "rename": "os.rename('linked', 'renamed')",
    "symlink": "os.symlink('full', 'symbol')",
    "mkdir": "os.mkdir('folder')",
    "mknod": "os.mkfifo('node')",
    "truncate": "os.truncate('other', 1)",
    "bind": "socket.socket(socket.AF_UNIX).bind('bound')",
    "io_uring_setup": "libc.syscall(425, 0, None)",
    "io_uring_enter": "libc.syscall(426, -1, 0, 0, 0, None, 0)",
}

SCRIPT = """
import ctypes, mmap, os, socket, sys
libc = ctypes.CDLL(None)
file = os.open('file', os.O_RDWR | os.O_CREAT)
open('other', 'w').close()
with open('full', 'wb') as made:
    made.write(b'bytes')
full = os.open('full', os.O_RDWR)
pipe, end = os.pipe()
os.write(end, b'bytes')
os.kill(os.getpid(), 0)
for way in sys.argv[1:]:
    try:
        exec(way)
    except OSError:
        pass  # a file system may not have it: the call was made
    os.kill(os.getpid(), 0)
"""


class Ways(Traced):
    """Each by itself, between two calls of kill."""

    def test_each_is_found(self):
        subprocess.run(["strace", "-f", "-y", "-o", str(self.path), "/usr/bin/env", "python3",
                        "-c", SCRIPT, *WAYS.values()], cwd=self.empty, check=True,
                       stdin=subprocess.DEVNULL, timeout=SECONDS)
        pieces = re.split(r"^.*\bkill\(.*$", self.path.read_text(errors="replace"), flags=re.M)
        self.assertEqual(len(pieces), len(WAYS) + 2)
        for way, piece in zip(WAYS, pieces[1:]):
            with self.subTest(way=way):
                self.path.write_text(piece)
                trace = self.trace("/d/log", "/d/socket")
                self.assertTrue([line for line in trace.faults
                                 if re.search(r"\b%s\w*\(" % way.split()[0], line)], piece)

    def test_what_is_harmless_is_not(self):
        lines = [
            '1 write(2</d/log>, "x", 1) = 1',
            '1 write(7<pipe:[1]>, "*", 1 <unfinished ...>',
            '1 <... write resumed>) = 1',
            '1 sendmsg(7<socket:[1]>, {msg_name=NULL}, 0) = 1',
            '1 ftruncate(3</memfd:memguardd-ledger>(deleted), 4096) = 0',
            '1 mmap(NULL, 1, PROT_READ, MAP_SHARED, 3</memfd:memguardd-ledger>(deleted), 0) = 1',
            '1 mmap(NULL, 1, PROT_READ, MAP_PRIVATE, 3</lib/libc.so.6>, 0) = 1',
            '1 mmap(NULL, 1, PROT_READ, MAP_SHARED|MAP_ANONYMOUS, -1, 0) = 1',
            '1 openat(AT_FDCWD</d>, "/lib/O_RDWR", O_RDONLY|O_CLOEXEC) = 3</lib/O_RDWR>',
            '1 openat(AT_FDCWD</d>, "/d/socket.lock", O_RDWR|O_CREAT, 0600) = 3',
            '1 bind(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/d/socket"}, 12) = 0',
        ]
        self.path.write_text("\n".join(lines))
        trace = self.trace("/d/log", "/d/socket")
        self.assertEqual((trace.faults, trace.seen["lock"]), ([], 1))
