# SPDX-License-Identifier: Apache-2.0
"""A private daemon for a test: its folder, its socket, its process, what it logs."""

import ctypes
import mmap
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

MEMGUARDD = os.environ["MEMGUARDD"]


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def accepts(path):
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def has_secretmem():
    """Whether this kernel gives memfd_secret(2) to anybody."""
    fd = ctypes.CDLL(None).syscall(ctypes.c_long(447), 0)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def descriptors(pid):
    """What the descriptors of a process refer to; one that is closed meanwhile is left out."""
    links = []
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except FileNotFoundError:
            pass
    return links


def is_secret(link):
    """Whether a descriptor's link is that of pages for keys."""
    return "secretmem" in link or "memfd:memguard " in link


def take_descriptor(pid, wanted):
    """Another process's descriptor with such a link, as our own."""
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        if wanted(os.readlink(entry)):
            process = os.pidfd_open(pid)
            fd = ctypes.CDLL(None).syscall(ctypes.c_long(438), process, int(entry.name), 0)
            os.close(process)
            return fd
    return -1


def count_bytes(fd):
    """Bytes that are not 0, as whoever maps the descriptor sees them."""
    with mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ) as pages:
        return sum(byte != 0 for byte in pages[:])


class Daemon:
    """Runs while the block does. `wrap` goes before the program's name."""

    def __init__(self, *arguments, wrap=(), program=MEMGUARDD, stderr=None, **options):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.path = self.folder / "socket"
        self.log_path = self.folder / "log"
        with open(stderr or self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*wrap, program, "--socket", str(self.path), *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, **options)
        self.pid = self.process.pid
        if not wait_for(lambda: accepts(self.path)):
            words = self.log()
            self.end()
            raise RuntimeError("the daemon does not come up: %s" % words)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def closings(self):
        """The lines about connections that it closed."""
        return [line for line in self.log().splitlines() if "closed the connection" in line]

    def end(self):
        """Ends it by its process id. Returns its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(60)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
