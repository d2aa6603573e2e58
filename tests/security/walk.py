# SPDX-License-Identifier: Apache-2.0
"""Who on the machine has the pages of the keys: by a descriptor, or mapped."""

import ctypes
import glob
import os
import re

SECRET = "/secretmem (deleted)"
SHARED = "/memfd:memguard (deleted)"  # without memfd_secret, once it was handed over
ANONYMOUS = "/dev/zero (deleted)"  # the same, before that
PIDFD_GETFD = 438  # the C library may not know it

MAPPING = re.compile(r"(\S+) \S+ \S+ ([0-9a-f]+):([0-9a-f]+) (\d+) +(/.*)")

libc = ctypes.CDLL(None, use_errno=True)


def take_descriptor(pid, number):
    """A descriptor of another process, as our own."""
    process = os.pidfd_open(pid)
    try:
        fd = libc.syscall(PIDFD_GETFD, process, number, 0)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "descriptor %d of %d" % (number, pid))
        return fd
    finally:
        os.close(process)


def secret_mappings(pid):
    """Where a process maps such pages, what they are called, and the file that they are of."""
    found = []
    with open("/proc/%d/maps" % pid, encoding="utf-8", errors="replace") as maps:
        for line in maps:
            match = MAPPING.match(line)
            if match and match[5] in (SECRET, SHARED, ANONYMOUS):
                device = os.makedev(int(match[2], 16), int(match[3], 16))
                found.append((match[1], match[5], (device, int(match[4]))))
    return found


def descriptors(pid):
    """Every descriptor of every thread: its path, what it is called, and the file that it is of."""
    for path in glob.iglob("/proc/%d/task/*/fd/*" % pid):
        try:
            status = os.stat(path)
            yield path, os.readlink(path), (status.st_dev, status.st_ino)
        except (FileNotFoundError, ProcessLookupError):
            pass


class Walk:
    """One walk over all processes. `files` are those that were the keys' at any time; what those
    have mapped who take part is added. Of them every descriptor of such memory counts, also one
    whose file was never seen."""

    def __init__(self, involved, files):
        self.holders = {}  # process: numbers of its descriptors
        self.mappers = set()
        self.closed = 0  # processes that have more rights than this root
        self.seen = 0
        for pid in involved:
            files.update(file for _, _, file in secret_mappings(pid))
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                self.look_at(int(name), involved, files)
            except (FileNotFoundError, ProcessLookupError):
                pass
            except PermissionError:
                self.closed += 1

    def look_at(self, pid, involved, files):
        if any(file in files for _, _, file in secret_mappings(pid)):
            self.mappers.add(pid)
        numbers = set()
        os.listdir("/proc/%d/fd" % pid)  # glob keeps still where it may not look
        for path, link, file in descriptors(pid):
            self.seen += 1
            if file in files or (pid in involved and link in (SECRET, SHARED)):
                numbers.add(int(os.path.basename(path)))
        if numbers:
            self.holders[pid] = sorted(numbers)


def openable(pid):
    """The mappings of secret memory that root can open as a file: there must be none."""
    opened = []
    for place, name, _ in secret_mappings(pid):
        if name != SECRET:
            continue
        try:
            fd = os.open("/proc/%d/map_files/%s" % (pid, place), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        os.close(fd)
        opened.append(place)
    return opened
