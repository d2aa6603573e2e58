# SPDX-License-Identifier: Apache-2.0
"""Nothing is on any disk: a daemon with a keeper stores, overwrites, removes and reads while its
workers are killed, under strace, and no call of any of its processes writes to a file but to the
log, which has no value and no name in it. The controls: a daemon that does write, and every call
with which one could."""

import os
import re
import shlex
import subprocess
import unittest

from daemon import Daemon, wait_for
from disk_case import BOUND, PLANTED, SECONDS, Traced, found_in
from mgwire import Client

KILLS = 30
ENDED = re.compile(r"exited with 0 \+\+\+\n\Z")


class Disk(Traced):
    def start(self, *options, **more):
        program = {"program": PLANTED} if more else {}
        daemon = Daemon("--keep", *options, wrap=self.around(**more), **program)
        self.addCleanup(daemon.end)
        return daemon

    def end(self, daemon, audit=None):
        """Ends it. Returns what it logged and the whole trace."""
        lock = daemon.folder / "socket.lock"
        self.assertEqual((lock.stat().st_size, sorted(os.listdir(daemon.folder))),
                         (0, ["log", "socket", "socket.lock"]))
        daemon.process.terminate()
        self.assertEqual(daemon.process.wait(SECONDS), 0)
        self.wait_for_end(daemon.pid)
        self.assertEqual(os.listdir(daemon.folder), ["log"])
        return (daemon.log_path.read_bytes(),
                self.trace(daemon.log_path, daemon.path, audit))

    def test_a_life_with_many_deaths(self):
        daemon = self.start()
        with self.visitors(daemon.path) as visitors:
            killed = self.kill(daemon.pid, KILLS)
        last = self.worker(daemon.pid)
        log, trace = self.end(daemon)
        self.judge(trace, log, visitors)
        # All of it was seen: every process, the lock, the ledger, the log, every answer.
        self.assertLessEqual(killed | {daemon.pid, last}, trace.pids)
        self.assertEqual(trace.seen["lock"], 1)
        self.assertGreater(trace.seen["mapping of /memfd:memguardd-ledger"],
                           log.count(b"serves again"))
        self.assertGreater(trace.seen["log"], KILLS)
        self.assertGreater(trace.seen["socket"], sum(visitor.done for visitor in visitors))

    def test_the_kills_of_every_moment(self):
        """The test of the keeper, all of it, with a daemon that is traced."""
        program = self.folder / "memguardd"
        program.write_text("#!/bin/sh\nexec %s \"$@\"\n" % shlex.join(
            self.around() + [os.environ["MEMGUARDD"]]))
        program.chmod(0o755)
        done = subprocess.run([os.environ["KEEPER_TEST"]], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True, check=False,
                              env={**os.environ, "MEMGUARDD": str(program)}, timeout=SECONDS * 3)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertTrue(wait_for(lambda: ENDED.search(self.path.read_text(errors="replace"))))
        told = self.path.read_text(errors="replace")
        sockets = set(BOUND.findall(told))
        self.assertEqual(len(sockets), 1)
        trace = self.trace("/memfd:log", sockets.pop())
        self.assertEqual((trace.faults, os.listdir(self.empty)), ([], []))
        deaths = told.count('"memguardd: the worker died')
        self.assertGreaterEqual(deaths, 100 if os.environ["SANITIZED"] else 1000)
        # Who was killed before it called anything is in no trace.
        self.assertGreater(len(trace.pids), deaths * 9 // 10)

    def test_an_audit_log_has_names_and_no_value(self):
        audit = self.folder / "audit"
        daemon = self.start("--audit", "all", "--audit-file", str(audit))
        with self.visitors(daemon.path) as visitors:
            self.kill(daemon.pid, 3)
        log, trace = self.end(daemon, audit)
        self.judge(trace, log, visitors)
        self.assertGreater(trace.seen["audit"], 10)
        told = audit.read_bytes()
        values = [value for visitor in visitors for value in visitor.all_values()]
        self.assertEqual(found_in(told, values, []), [])
        self.assertIn(b'"op":"set"', told)

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

# `file` and `other` are open to be written and read, `full` has bytes in it, `end` is a pipe's,
# `left` and `right` are those of a socket.
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
    "sendmsg": "socket.send_fds(left, [b'x'], [pipe, file])",
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
left, right = socket.socketpair()
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
            '1 sendmsg(7<socket:[1]>, {msg_iov=[{iov_base="\\21", iov_len=1}], msg_control=[{'
            'cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[5</secretmem>(deleted), '
            '6<socket:[2]>, 8</memfd:memguard>(deleted), 9</d/socket.lock>]}]}, 0) = 1',
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
