# SPDX-License-Identifier: Apache-2.0
"""A world of our own for tests that run as root: cgroups as a service manager has them, with a root
that they begin at and a process 1 that keeps itself in /init.scope; and processes in them."""

import contextlib
import ctypes
import os
import pathlib
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest

from daemon import wait_for
from mgwire import Client, Closed, Refused, pb

CLONE_NEWCGROUP, CLONE_NEWUSER, CLONE_NEWPID = 0x02000000, 0x10000000, 0x20000000
INSIDE = "MEMGUARDD_TEST_WORLD"
USER = 1000
SYS_EXIT = {"x86_64": 60}.get(platform.machine(), 93)  # of a thread alone
libc = ctypes.CDLL(None, use_errno=True)


def mounted():
    """Where the unified hierarchy is, or None."""
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return pathlib.Path(place)
    return None


def remove_tree(folder):
    """Cgroups go one by one, once the processes in them have ended."""
    for place, _, _ in os.walk(folder, topdown=False):
        wait_for(lambda: not remove(place), 10)


def remove(place):
    try:
        os.rmdir(place)
    except OSError:
        return True
    return False


def join(procs):
    procs.write_text(str(os.getpid()))


def begin_world():
    """From outside. Runs this program again below process 1 of the world, which waits for whoever
    is left without a parent; ends with it."""
    root = mounted()
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root, to make cgroups and namespaces")
    if not root:
        raise unittest.SkipTest("there is no unified hierarchy of cgroups")
    try:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-", dir=root))
    except OSError as reason:
        raise unittest.SkipTest("no cgroup can be made: %s" % reason) from None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left of it
    unshare = ["unshare", "--mount", "--pid", "--cgroup", "--fork", "--kill-child", "--mount-proc"]
    try:
        folder.chmod(0o755)
        if subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            raise unittest.SkipTest("nobody can make namespaces here")
        done = subprocess.run(
            [*unshare, "sh", "-c", '"$@"; exit $?', "sh", sys.executable, *sys.argv], env={**os.environ, INSIDE: str(folder)},
            preexec_fn=lambda: join(folder / "cgroup.procs"), check=False)
    finally:
        remove_tree(folder)
    sys.stdout.flush()
    sys.exit(done.returncode)


def settle():
    """From inside: its hierarchy is seen, and process 1 is where a service manager's is."""
    folder = pathlib.Path(os.environ[INSIDE])
    root = folder.parent
    subprocess.run(["mount", "--bind", str(folder), str(root)], check=True)
    (root / "init.scope").mkdir()
    (root / "init.scope/cgroup.procs").write_text("1")
    return root


def enter():
    """The root of the world's cgroups; returns inside alone."""
    if INSIDE not in os.environ:
        begin_world()
    return settle()


class Cgroups:
    """Cgroups by their names below the root; made when they are first named."""

    def __init__(self, root):
        self.root = root

    def procs(self, name):
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "cgroup.procs"

    def move(self, pid, name):
        self.procs(name).write_text(str(pid))


def next_pid(number):
    """The next process of our pid namespace gets this number, if nobody has it."""
    pathlib.Path("/proc/sys/kernel/ns_last_pid").write_text(str(number - 1))


class Line:
    """Orders to a process, an answer to each."""

    def __init__(self, end, timeout=None):
        end.settimeout(timeout)
        self.file = end.makefile("rw")
        end.close()

    def tell(self, *words):
        self.file.write(" ".join(map(str, words)) + "\n")
        self.file.flush()

    def hear(self):
        return self.file.readline().strip()

    def do(self, *words):
        try:
            self.tell(*words)
        except BrokenPipeError:
            return ""
        return self.hear()


class Acts:
    """What a visitor, or its child, does; in it."""

    def __init__(self, line, second, client):
        self.line, self.second, self.client = line, second, client

    def get(self, name):
        try:
            self.client.get(name.encode())
            return "yes"
        except Refused as refused:
            return "no" if refused.code == 4 else "code %d" % refused.code
        except (Closed, ConnectionError):
            return "closed"

    def show(self, token):
        """The token in hexadecimal digits: "yes", or the code."""
        try:
            self.client.show_token(bytes.fromhex(token))
            return "yes"
        except Refused as refused:
            return str(refused.code)

    def watch(self, prefix):
        self.client.watch(prefix.encode())

    def told(self):
        """The names that were told since; "nothing"."""
        names = []
        for _ in range(2):
            ping = self.client.request(ping=pb.Ping())
            self.client.send(ping)
            while (reply := self.client.receive()[0]).id != ping.id:
                names.append(reply.event.name.decode())
            time.sleep(0.05)
        return " ".join(names) or "nothing"

    def where(self):
        caller = self.client.whoami()
        return "%s %s %s %s" % (caller.unit.decode(), caller.slice.decode(),
                                caller.userunit.decode(), caller.placed)

    def number(self):
        return os.getpid()

    def seteuid(self, uid):
        os.seteuid(int(uid))

    def fork(self):
        """A child that has the connection, too, and its keys."""
        child = os.fork()
        if child == 0:
            Acts(self.second, None, self.client).obey()
        return child

    def become(self, *program):
        """Another program, which closes nothing that is the child's as well."""
        os.execv(program[0], program)

    def lose_thread(self):
        """Goes on in another thread, while the first one ends."""
        threading.Thread(target=self.obey, args=("done",)).start()
        libc.syscall(SYS_EXIT, 0)

    def obey(self, first=None):
        try:
            if first:
                self.line.tell(first)
            while words := self.line.hear().split():
                answer = getattr(self, words[0])(*words[1:])
                self.line.tell("done" if answer is None else answer)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)


class Visitor:
    """A process that connects as `uid`, from a cgroup, and does what it is told to: the names of
    Acts. `before` is called in it as root, `after` as whom it becomes. A daemon's place is `path`."""

    def __init__(self, path, procs, uid=USER, before=None, after=None):
        ours, theirs = zip(socket.socketpair(), socket.socketpair())
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for end in ours:
                    end.close()
                join(procs)
                if before:
                    before()
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                if after:
                    after()
                line, second = map(Line, theirs)
                Acts(line, second, Client(path)).obey("here")
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        for end in theirs:
            end.close()
        self.line, self.child = (Line(end, 60) for end in ours)
        self.ended = False
        if self.line.hear() != "here":
            self.end()
            raise RuntimeError("the visitor did not come")

    def do(self, *words):
        return self.line.do(*words)

    def get(self, name):
        """'yes', 'no', or 'closed'."""
        return self.line.do("get", name)

    def end(self):
        if not self.ended:
            self.ended = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
