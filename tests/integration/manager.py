# SPDX-License-Identifier: Apache-2.0
"""A service manager's part, as systemd.service(5) and sd_notify(3) tell it: it hears what its
service says, keeps the descriptors that it is given, and passes them to the next one it starts."""

import array
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from daemon import MEMGUARDD, accepts, wait_for

# Becomes the program of its arguments with so many descriptors from 3 on and their names.
START = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[2].split(",") if fd]
for number, fd in enumerate(fds, 3):
    os.dup2(fd, number)
os.closerange(3 + len(fds), 256)
if fds:
    os.environ.update(
        LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=sys.argv[1])
os.execv(sys.argv[3], sys.argv[3:])
"""


class Manager:
    """Starts one service at a time. What it heard is in `heard`, what it keeps in `store`."""

    def __init__(self, *arguments, program=MEMGUARDD, wrap=(), keep=True):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.path = self.folder / "socket"
        self.log_path = self.folder / "log"
        self.arguments = ["--socket", str(self.path), *["--keep"] * keep, *arguments]
        self.program, self.wrap = str(program), list(wrap)
        self.store = []  # name, descriptor
        self.heard = []
        self.main = 0
        self.process = None
        self.seen = lambda message: None  # called for each, before a barrier is let go
        self.settled = threading.Event()
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.door.bind(str(self.folder / "notify"))
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    # -- what the service says --

    def listen(self):
        while True:
            data, control, _, _ = self.door.recvmsg(4096, socket.CMSG_SPACE(64))
            fds = array.array("i")
            for level, kind, bytes_ in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(bytes_)
            if data == b"X=END":
                return
            if data == b"X=SETTLED":
                self.settled.set()
                continue
            self.take(dict(line.split("=", 1) for line in data.decode().splitlines()), list(fds))

    def take(self, message, fds):
        name = message.get("FDNAME", "stored")
        if "FDSTORE" in message:
            self.store += [(name, fd) for fd in fds]
            fds = []
        if "FDSTOREREMOVE" in message:
            for entry in [entry for entry in self.store if entry[0] == name]:
                self.store.remove(entry)
                os.close(entry[1])
        if "MAINPID" in message:
            self.main = int(message["MAINPID"])
        self.heard.append(message)
        self.seen(message)
        for fd in fds:
            os.close(fd)

    def hears(self, key, value="1"):
        return any(message.get(key) == value for message in self.heard)

    def say(self, data):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
            mouth.sendto(data, str(self.folder / "notify"))

    def settle(self):
        """Whatever was said before is dealt with, as systemd does before it looks at an end."""
        self.settled.clear()
        self.say(b"X=SETTLED")
        self.settled.wait(10)

    # -- what it does --

    def start(self, **environment):
        """The next service, with all that is in the store. Waits until it is ready."""
        self.settle()
        self.heard.clear()
        names = ":".join(name for name, _ in self.store)
        fds = [fd for _, fd in self.store]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, names, ",".join(map(str, fds)), *self.wrap,
                 self.program, *self.arguments],
                pass_fds=fds, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify"), **environment})
        self.main = self.process.pid
        if not wait_for(lambda: self.hears("READY") or self.process.poll() is not None, 60):
            raise RuntimeError("the daemon is not ready: %s" % self.log())
        if self.process.poll() is not None:
            raise RuntimeError("the daemon does not come up: %s" % self.log())

    def send(self, number):
        os.kill(self.main, number)

    def gone(self, seconds=30):
        """Waits until the service that was started has ended. Returns its status."""
        status = self.process.wait(seconds)
        self.settle()
        return status

    def stop(self, number=signal.SIGTERM):
        self.send(number)
        return self.gone() if self.main == self.process.pid else self.main_gone()

    def main_gone(self, seconds=30):
        """The main process may be nobody's child of ours."""
        ended = wait_for(lambda: not pathlib.Path(f"/proc/{self.main}").exists(), seconds)
        self.settle()
        return ended

    def drop_store(self):
        while self.store:
            os.close(self.store.pop()[1])

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def serves(self):
        return accepts(self.path)

    def end(self):
        for pid in {self.main, self.process.pid if self.process else 0} - {0}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process:
            self.process.wait()
        self.say(b"X=END")
        self.thread.join(10)
        self.door.close()
        self.drop_store()
        shutil.rmtree(self.folder, ignore_errors=True)
