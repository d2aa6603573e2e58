# SPDX-License-Identifier: Apache-2.0
"""A Debian with systemd in a container that has the daemon and its units installed: to be booted,
to have commands run in it, and to be thrown away with all that was changed in it."""

import atexit
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).parent
BUILD = os.environ["BUILD_ROOT"]
PATIENCE = 60  # seconds for anything that should take less than ten
SOCKET = "/run/memguardd/socket"
SERVICE, LISTENER = "memguardd.service", "memguardd.socket"
NOT_INSTALLED = 3  # an exit status of launch
# mgctl's exit statuses.
NOT_FOUND, DENIED, UNREACHABLE = 3, 4, 6
# What systemd-nspawn would refuse, and a machine has.
OFFERED = ("memfd_secret", "mseal", "landlock_create_ruleset", "landlock_add_rule",
           "landlock_restrict_self")
ENVIRONMENT = ("env", "-i", "LANG=C.UTF-8", "SYSTEMD_COLORS=0",
               "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")


def on_signal(number, _):
    """unittest lets nothing but this through; what was begun is ended at the exit."""
    raise KeyboardInterrupt(signal.Signals(number).name)


for ending in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(ending, on_signal)


def find_root():
    """The folder of the Debian to boot. Skips where nothing can be booted."""
    done = subprocess.run([HERE / "root", "--find"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
    words = done.stdout.strip()
    if done.returncode == 77:
        raise unittest.SkipTest(words.removeprefix("SKIP: root: "))
    if done.returncode != 0:
        raise RuntimeError(f"root --find ends with {done.returncode}")
    return words


@functools.cache
def try_containers(root):
    """Skips where the kernel, or a container around this one, lets nobody make any."""
    with tempfile.TemporaryDirectory(prefix="memguardd-boot.") as folder:
        container = Container(root, folder, "memguardd-try", ["/bin/true"])
        try:
            status = container.wait()
            words = container.words().strip()
        finally:
            container.finish()
        if status == NOT_INSTALLED:
            raise RuntimeError(words)
        if status != 0:
            raise unittest.SkipTest("no container can be started here: "
                                    + words.rpartition("\n")[2].strip())


def wait_for(condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def name_of(pid):
    """What the kernel calls a process; empty when it has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def children(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


class ControlGroup:
    """Of its own for a container: systemd-nspawn makes groups in the one where it is, and leaves
    them behind. Where systemd runs it is asked for one, and clears it away itself."""

    def __init__(self, name):
        self.folders = []
        self.wrap = ()
        if os.path.isdir("/run/systemd/system"):
            self.wrap = ("systemd-run", "--scope", "--quiet", "--collect",
                         "--property=Delegate=yes")
            return
        mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
        for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            kind = {"": " - cgroup2 ", "name=systemd": "name=systemd"}.get(controllers)
            places = [mount.split()[4] for mount in mounts if kind and kind in mount]
            if places:
                self.folders.append(pathlib.Path(places[0] + path, f"{name}.{os.getpid()}"))
        for folder in self.folders:
            self.sweep(folder.parent)

    @classmethod
    def sweep(cls, parent):
        """What is left of those who were killed before they could."""
        for folder in parent.glob("memguardd-*.*"):
            if not name_of(folder.suffix[1:]):
                cls.removed(folder)

    def enter(self):
        """For the child that becomes the container."""
        for folder in self.folders:
            folder.mkdir()
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self):
        """As soon as nothing of the container is left in it."""
        if not wait_for(lambda: all(map(self.removed, self.folders)), 10):
            raise RuntimeError(f"control groups stay behind: {self.folders}")

    @staticmethod
    def removed(top):
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                return False
        return True


class Container:
    """systemd-nspawn and what runs in it. They live in a space of processes that ends with this
    one, however it ends, and what they mount ends with them."""

    def __init__(self, root, folder, name, options):
        self.folder = pathlib.Path(folder)
        (self.folder / "machine").mkdir()
        self.said = open(self.folder / "log", "w+b")
        self.group = ControlGroup(name)
        self.process = subprocess.Popen(
            [*self.group.wrap, "setpriv", "--pdeathsig", "KILL",
             "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
             "--mount-proc", HERE / "launch", root, BUILD, self.folder / "machine", name, *options],
            stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said,
            preexec_fn=self.group.enter)

    def first(self):
        """The number of the container's first process, or None."""
        pid = str(self.process.pid)
        for name in ("systemd-nspawn", "systemd"):
            pid = next((child for child in children(pid) if name_of(child) == name), None)
            if pid is None:
                return None
        return pid

    def wait(self, seconds=PATIENCE):
        return self.process.wait(seconds)

    def words(self):
        self.said.seek(0)
        return self.said.read().decode(errors="replace")

    def finish(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.said.close()
        self.group.remove()


class Machine:
    """One boot."""

    def __init__(self, offered=OFFERED):
        root = find_root()
        try_containers(root)
        self.folder = tempfile.mkdtemp(prefix="memguardd-boot.")
        # Kept outside, where it can be read when the machine is off.
        self.log = pathlib.Path(self.folder, "journal")
        self.log.mkdir()
        begin = time.monotonic()
        self.container = Container(
            root, self.folder, "memguardd-boot",
            ["--boot", f"--bind={self.log}:/var/log/journal",
             "--system-call-filter=" + " ".join(offered)])
        atexit.register(self.finish)
        self.state = self.come_up()
        self.took = time.monotonic() - begin

    def come_up(self):
        """Waits until systemd has started all that it starts, and gives its word for that."""
        if not wait_for(lambda: self.ended() or self.settled()) or self.ended():
            words = self.container.words()
            self.finish()
            raise RuntimeError("the machine does not come up:\n" + words)
        return self.settled()

    def ended(self):
        return self.container.process.poll() is not None

    def settled(self):
        if not self.container.first():
            return ""
        state = self.run("systemctl", "is-system-running").stdout.decode().strip()
        return state if state in ("running", "degraded", "maintenance") else ""

    def finish(self):
        atexit.unregister(self.finish)
        self.container.finish()
        shutil.rmtree(self.folder, ignore_errors=True)

    def last_journal(self):
        """Of a machine that is off."""
        command = ["journalctl", f"--directory={self.log}", "--output=cat", "--all"]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PATIENCE,
                              check=True).stdout

    def command(self, *command, user=None):
        """What runs this in there: as root, or as somebody else."""
        person = ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups") if user else ()
        home = (f"HOME=/home/{user}" if user else "HOME=/root",)
        return ["nsenter", "--target", self.container.first() or "0", "--all", *ENVIRONMENT, *home,
                *person, *command]

    def run(self, *command, user=None, stdin=b"", seconds=PATIENCE):
        return subprocess.run(self.command(*command, user=user), input=stdin, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds)


class MachineTest(unittest.TestCase):
    """One boot a class; each case begins with the service at rest and its socket open."""

    offered = OFFERED

    @classmethod
    def setUpClass(cls):
        cls.machine = Machine(cls.offered)
        print(f"# {cls.__name__}: {cls.machine.state} after {cls.machine.took:.1f} s")

    @classmethod
    def tearDownClass(cls):
        cls.machine.finish()

    def setUp(self):
        self.ok("systemctl", "stop", SERVICE)
        self.ok("systemctl", "reset-failed")
        self.ok("systemctl", "start", LISTENER)

    def ok(self, *command, status=0, **options):
        """Runs what has to end with this status, and gives what it printed."""
        done = self.machine.run(*command, **options)
        self.assertEqual(done.returncode, status, (command, done.stdout, done.stderr))
        return done.stdout.decode()

    def begin(self, *command, user=None):
        """Does not wait for its end."""
        process = subprocess.Popen(self.machine.command(*command, user=user),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        """What it started in there may go on until the machine ends, and holds the pipes."""
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()

    def mgctl(self, *arguments, **options):
        return self.ok("mgctl", *arguments, **options)

    def status(self):
        return json.loads(self.mgctl("status", "--json"))

    def property(self, unit, name):
        return self.ok("systemctl", "show", "--property", name, "--value", unit).strip()

    def main_pid(self):
        """The service's main process, by its number in there; 0 when there is none."""
        return int(self.property(SERVICE, "MainPID"))

    def worker(self):
        """What serves: the one child of the main process, which keeps. 0 when there is none."""
        main = self.main_pid()
        return int(self.ok("cat", f"/proc/{main}/task/{main}/children").strip() or 0)

    def journal(self, *options):
        self.ok("journalctl", "--sync")
        return self.ok("journalctl", "--output=cat", "--all", *options)

    def drop_in(self, *lines):
        """Other settings of the service, for this case."""
        self.write(f"/run/systemd/system/{SERVICE}.d/test.conf", "[Service]", *lines)
        self.ok("systemctl", "daemon-reload")

    def write(self, path, *lines):
        """A file of root's, for this case."""
        text = "".join(line + "\n" for line in lines)
        self.ok("install", "-D", "-m", "0644", "/dev/stdin", path, stdin=text.encode())
        self.addCleanup(self.forget, path)

    def forget(self, path):
        self.ok("rm", "-f", path)
        self.ok("systemctl", "daemon-reload")

    def facts(self, pid):
        """/proc/PID/status as a table."""
        text = self.ok("cat", f"/proc/{pid}/status")
        return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE))
