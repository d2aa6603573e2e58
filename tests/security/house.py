# SPDX-License-Identifier: Apache-2.0
"""What every case needs: the size of the run, a daemon in a folder of its own, and a client that
keeps it busy."""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PATIENCE = 60  # seconds for anything that should take less than one
TRACING = ("ptrace", "registers")
ROUTES = ("ptrace", "mem", "vm", "stack", "registers", "fd", "machine")


class Skip(Exception):
    """Why something cannot be looked at here."""


def numbers(text):
    """The pairs of a report's line: name=number."""
    return {key: int(value) for key, value in re.findall(r"(\S+)=(\d+)", text)}


class Settings:
    """The size of the run and the programs it needs."""

    def __init__(self, parts):
        parser = argparse.ArgumentParser(add_help=True)
        parser.add_argument("--quick", action="store_true")
        parser.add_argument("--full", action="store_true")
        parser.add_argument("--part", choices=list(parts))
        parser.add_argument("--looks", action="store_true")
        parser.add_argument("--build", default=os.environ.get("BUILD", os.path.join(ROOT, "build")))
        parser.add_argument("--only", default="")
        given = parser.parse_args()
        self.full = given.full
        self.only = given.only
        self.parts = [given.part] if given.part else list(parts)
        self.looks = given.looks
        self.build = given.build
        self.tools = os.environ.get("SECURITY_TOOLS") or self.built("tests", "security")
        self.daemon = os.environ.get("MEMGUARDD") or self.built("daemon", "memguardd")
        self.mgctl = os.environ.get("MGCTL") or self.built("client", "cli", "mgctl")
        self.mgclient = self.built("client", "lib", "libmgclient.so")
        self.deny = os.environ.get("DENY") or self.built("tests", "deny")
        self.planted = self.tool("memguardd-planted")
        self.stopping = os.environ.get("FAILPOINTS") or self.built(
            "tests", "integration", "memguardd-failpoints")
        self.loop_seconds = 30 if self.full else 2
        self.scan = ["--thorough"] if self.full else []
        self.untraceable = self.ask_whether_traceable()
        self.routes = [
            route for route in ROUTES if route not in TRACING or not self.untraceable]

    def ask_whether_traceable(self):
        """Why nothing may be traced here, or the empty string."""
        try:
            done = subprocess.run([self.tool("lookfor"), "--may-trace"], stdout=subprocess.PIPE,
                                  text=True, timeout=PATIENCE, check=False)
        except OSError as error:
            return str(error)
        return "" if done.returncode == 0 else done.stdout.strip() or "lookfor fails"

    def need_tracing(self):
        if self.untraceable:
            raise Skip("no process may be traced here: " + self.untraceable)

    def built(self, *path):
        return os.path.join(self.build, *path)

    def tool(self, name):
        return os.path.join(self.tools, name)


class Daemon:
    """A daemon in a folder of its own; with a keeper, two processes. `more` is its environment."""

    def __init__(self, settings, program=None, leak=None, fallback=False, keep=False, options=(),
                 credentials=None, **more):
        self.keep = keep
        self.folder = tempfile.mkdtemp(prefix="memguardd-scan.")
        self.socket = os.path.join(self.folder, "socket")
        self.log = open(os.path.join(self.folder, "log"), "w+b")
        config = os.path.join(self.folder, "config")
        with open(config, "w", encoding="ascii"):
            pass  # all defaults, whatever the machine's own file says
        command = [program or settings.daemon, "--config", config, "--socket", self.socket]
        command += ["--keep"] if keep else []
        command += options
        if fallback:
            command = [settings.deny, "memfd_secret", "--"] + command
        environment = dict(os.environ, **more)
        environment.pop("LEAK", None)
        if leak:
            environment["LEAK"] = leak
        if credentials:
            environment["CREDENTIALS_DIRECTORY"] = credentials
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            cwd="/")
        self.pid = self.process.pid

    def __enter__(self):
        end = time.monotonic() + PATIENCE
        while not self.accepts():
            if self.process.poll() is not None or time.monotonic() > end:
                words = self.words()
                self.__exit__()
                raise RuntimeError("the daemon does not serve: " + words)
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def accepts(self):
        with socket.socket(socket.AF_UNIX) as end:
            try:
                end.connect(self.socket)
            except OSError:
                return False
        return True

    def words(self):
        with open(self.log.name, "rb") as log:
            return log.read().decode(errors="replace").strip()

    def mgctl(self, settings, command, line):
        """A command that takes one line."""
        subprocess.run(
            [settings.mgctl, "--socket", "unix:" + self.socket, command],
            input=line.encode(), timeout=PATIENCE, check=True)

    def has_ended(self):
        return self.process.poll() is not None

    def worker(self):
        """The process that serves behind a keeper; 0 between two of them."""
        with open("/proc/%d/task/%d/children" % (self.pid, self.pid), encoding="ascii") as file:
            children = file.read().split()
        return int(children[0]) if children else 0

    def pids(self):
        """What is looked at: the process that is started, and who serves behind it."""
        return [self.pid, self.worker()] if self.keep else [self.pid]

    def next_worker(self, number=signal.SIGKILL):
        """Ends the worker, whatever it does; the next one serves when this returns."""
        before, served = self.worker(), self.words().count("serves again")
        os.kill(before, number)
        end = time.monotonic() + PATIENCE
        while self.worker() in (0, before) or self.words().count("serves again") == served:
            if self.has_ended() or time.monotonic() > end:
                raise RuntimeError("no other worker serves: " + self.words())
            time.sleep(0.01)

    def path(self, name):
        return os.path.join(self.folder, name)


class Load:
    """The client that keeps the daemon busy, and tells the scan what it stored. A second one of
    the same daemon goes on with what the first one has stored."""

    def __init__(self, settings, daemon, large):
        self.facts = daemon.path("facts")
        self.daemon = daemon
        self.process = subprocess.Popen(
            [settings.tool("load"), daemon.socket, self.facts, str(large)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=daemon.log, text=True,
            bufsize=1)

    def __enter__(self):
        self.expect("ready")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def expect(self, word):
        line = self.process.stdout.readline().strip()
        if line != word:
            raise RuntimeError("the load ended early: " + self.daemon.words())

    def say(self, line):
        self.process.stdin.write(line + "\n")

    def rounds(self, count):
        self.say("rounds %d" % count)
        self.expect("done")

    def begin(self):
        self.say("loop")

    def lost(self):
        """Who served it was killed, and it ends."""
        if self.process.wait(PATIENCE) == 0:
            raise RuntimeError("the load has not noticed that it is not served any more")

    def end(self):
        """Whatever comes next ends the loop."""
        self.say("rounds 0")
        self.expect("done")
        self.expect("done")
