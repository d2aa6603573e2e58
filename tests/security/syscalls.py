# SPDX-License-Identifier: Apache-2.0
"""Cases in which strace shows every system call."""

import os
import re
import shutil
import signal
import subprocess

from house import PATIENCE, Daemon, Load, Skip

WINDOW = 8  # bytes
STRING = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"')
CALL = re.compile(rb"^(\d+) +(?:[\d.]+ )?(?:<\.\.\. )?(\w+)(?: resumed>)?[(,]?\s*(\d*)")


def windows_of(data):
    return {data[i:i + WINDOW] for i in range(len(data) - WINDOW + 1)}


class Trace:
    """What strace wrote: every string of every call, whole, in hexadecimal."""

    def __init__(self, path):
        self.calls = 0
        self.pids = set()
        self.bytes = 0
        self.lines = []
        with open(path, "rb") as trace:
            for line in trace:
                self.take(line)

    def take(self, line):
        match = CALL.match(line)
        if not match:
            return
        self.calls += 1
        self.pids.add(int(match.group(1)))
        data = [bytes.fromhex(text.replace(b"\\x", b"").decode())
                for text in STRING.findall(line)]
        self.bytes += sum(len(piece) for piece in data)
        if data:
            self.lines.append((match.group(2).decode(), match.group(3).decode(), data))

    def hits(self, windows, allowed=()):
        """Calls with a window in them: those that are allowed to, and the others."""
        fine, wrong = 0, []
        for name, first, data in self.lines:
            if not any(piece[i:i + WINDOW] in windows
                       for piece in data for i in range(len(piece) - WINDOW + 1)):
                continue
            if (name, first) in allowed:
                fine += 1
            else:
                wrong.append("%s(%s, ...) has plaintext in it" % (name, first))
        return fine, wrong


class Strace:
    """strace on running processes, and on those that they fork, for as long as the block lasts."""

    OPTIONS = ["-f", "-v", "-xx", "-s", "4194304", "-e", "signal=none"]

    def __init__(self, pids, path):
        self.pids = pids
        self.process = subprocess.Popen(
            ["strace"] + self.OPTIONS + ["-o", path, "-p", ",".join(str(pid) for pid in pids)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def __enter__(self):
        for _ in self.pids:
            line = self.process.stderr.readline().decode(errors="replace")
            if "attached" not in line:
                self.__exit__()
                raise Skip("strace: " + line.strip())
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)
        self.process.stderr.close()


class Traced:
    """Cases in which every system call is looked at."""

    SIZES = [64, 4096, 16384, 100000]

    def __init__(self, settings, report):
        self.settings = settings
        self.report = report

    def need_strace(self):
        if not shutil.which("strace"):
            raise Skip("no strace here")

    def judge(self, what, trace, windows, allowed, wants):
        fine, wrong = trace.hits(windows, allowed)
        self.report.row("  strace, " + what,
                        "%.1f MB in %d calls" % (trace.bytes / 1e6, trace.calls),
                        "%d allowed with plaintext" % fine, str(len(wrong)),
                        "LEAK" if wrong else "clean")
        if not wrong and fine < wants:
            return ["%s: plaintext in %d allowed calls, expected %d at least: the trace is blind"
                    % (what, fine, wants)]
        return sorted(set(what + ": " + line for line in wrong))

    def mgctl(self, daemon, trace, *arguments, value=None):
        # strace itself cannot read memfd_secret: mgctl has to do without, or the trace is blind.
        command = ["strace"] + Strace.OPTIONS + [
            "-o", trace, self.settings.deny, "memfd_secret", "--", self.settings.mgctl,
            "--socket", "unix:" + daemon.socket] + list(arguments)
        done = subprocess.run(command, input=value, stdin=None if value else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError("mgctl ends with %d: %s" % (
                done.returncode, done.stderr.decode(errors="replace").strip()))
        return done.stdout

    def of_mgctl(self):
        self.need_strace()
        faults = []
        with Daemon(self.settings) as daemon:
            path = daemon.path("daemon.trace")
            values = [os.urandom(size) for size in self.SIZES]
            windows = set().union(*(windows_of(value) for value in values))
            with Strace(daemon.pids(), path):
                for value in values:
                    faults += self.one_value(daemon, value, windows)
            faults += self.judge("daemon", Trace(path), windows, (), 0)
            if not Trace(path).calls:
                faults.append("the daemon's trace is empty")
        return faults

    def one_value(self, daemon, value, windows):
        path = daemon.path("mgctl.trace")
        name = "scan/strace-%d" % len(value)
        self.mgctl(daemon, path, "set", name, value=value)
        faults = self.judge("mgctl set of %d" % len(value), Trace(path), windows,
                            [("read", "0")], 1)
        if self.mgctl(daemon, path, "get", name) != value:
            faults.append("mgctl get of %d gives other bytes" % len(value))
        return faults + self.judge("mgctl get of %d" % len(value), Trace(path), windows,
                                   [("write", "1")], 1)

    def of_daemon(self):
        self.need_strace()
        with Daemon(self.settings) as daemon, Load(self.settings, daemon, 1 << 16) as load:
            path = daemon.path("daemon.trace")
            with Strace(daemon.pids(), path):
                load.rounds(2)
            return self.judge_load(daemon, load, path)

    def of_kept(self):
        """Keeper and worker, and the worker that takes over in the midst of it."""
        self.need_strace()
        with Daemon(self.settings, keep=True) as daemon:
            path = daemon.path("daemon.trace")
            with Load(self.settings, daemon, 1 << 16) as load:
                with Strace(daemon.pids(), path):
                    load.rounds(1)
                    pids = daemon.pids()
                    daemon.next_worker()
                    with Load(self.settings, daemon, 1 << 16) as again:
                        again.rounds(2)
                    pids += daemon.pids()[1:]
                faults = self.judge_load(daemon, load, path)
            if not Trace(path).pids.issuperset(pids):
                faults.append("a process of the daemon is not in the trace")
        return faults

    def judge_load(self, daemon, load, path):
        """What the client knows must be in no call; its ciphertext, all of it, in some."""
        secrets, size = facts_of(load.facts)
        trace = Trace(path)
        faults = self.judge("daemon with a keeper" if daemon.keep else "daemon under load", trace,
                            secrets, (), 0)
        if trace.bytes < size:
            faults.append("less than the load is in the trace: it is blind")
        return faults

    def of_leaking_daemon(self):
        self.need_strace()
        with Daemon(self.settings, self.settings.planted, "system-call") as daemon, \
                Load(self.settings, daemon, 1 << 16) as load:
            path = daemon.path("daemon.trace")
            with Strace(daemon.pids(), path):
                load.rounds(1)
            hits = len(Trace(path).hits(facts_of(load.facts)[0])[1])
        self.report.row("  planted: system call", "by strace", "", str(hits),
                        "found" if hits else "MISSED")
        return [] if hits else ["not found in the trace"]


def facts_of(path):
    """Windows of what must be in no call, values and keys; and how many bytes the values are."""
    secrets, size = set(), 0
    with open(path, encoding="ascii") as facts:
        for line in facts:
            kind, _, *rest = line.split()
            data = [bytes.fromhex(text) for text in rest]
            if kind in ("anchor", "value"):
                size += len(data[1])
            if kind != "frame":
                secrets = secrets.union(*(windows_of(piece) for piece in data))
    return secrets, size
