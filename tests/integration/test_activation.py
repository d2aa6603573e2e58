# SPDX-License-Identifier: Apache-2.0
"""The units as they are shipped, without a service manager: what memguardd.socket makes and hands
over, what memguardd.service starts, who may connect, and what the manager is told."""

import configparser
import json
import os
import pathlib
import resource
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

from strangers import NOBODY, programs_for_all

MEMGUARDD = os.environ["MEMGUARDD"]
MGCTL = os.environ["MGCTL"]
DENY = os.environ.get("DENY", "")
SANITIZED = bool(os.environ.get("SANITIZED"))
ROOT = os.geteuid() == 0
# Neither root nor the one who connects; it need not be in the list of users.
SERVICE = NOBODY - 1
PACKAGING = pathlib.Path(__file__).parents[2] / "packaging"
KILO = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# Becomes the program of its arguments with one descriptor handed over and one limit set.
HAND_OVER = """
import os, resource, sys
listener, limit = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
os.dup2(listener, 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[3], sys.argv[3:])
"""


def unit(name):
    """A unit's settings by section. None of those that matter here stands twice."""
    parser = configparser.ConfigParser(
        strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str
    parser.read_string((PACKAGING / "systemd" / name).read_text())
    return parser


def bytes_of(size):
    return int(size[:-1]) * KILO[size[-1]] if size[-1] in KILO else int(size)


def as_user(uid):
    """How subprocess starts somebody else's program; nobody is somebody else unless root asks."""
    return {"user": uid, "group": uid, "extra_groups": []} if ROOT else {}


class Units(unittest.TestCase):
    """What the parts say about each other."""

    def setUp(self):
        self.socket = unit("memguardd.socket")["Socket"]
        self.service = unit("memguardd.service.in")["Service"]

    def test_the_socket_is_where_clients_look(self):
        words = subprocess.run([MEMGUARDD, "--help"], stdout=subprocess.PIPE, text=True).stdout
        self.assertIn(f"root: {self.socket['ListenStream']};", words)

    def test_the_service_is_not_root_and_its_account_is_made(self):
        accounts = [line.split()[:2] for line in
                    (PACKAGING / "sysusers.d" / "memguardd.conf").read_text().splitlines()]
        self.assertIn(["u", self.service["User"]], accounts)
        self.assertNotIn(self.service["User"], ("root", "0"))

    def test_the_folder_of_the_socket_stays_roots(self):
        """Whoever owns the folder can put another socket there; who stops the service would take
        it away."""
        self.assertNotIn("RuntimeDirectory", self.service)
        for owner in ("SocketUser", "SocketGroup"):
            self.assertNotIn(owner, self.socket)
        self.assertEqual(int(self.socket["DirectoryMode"], 8) & 0o022, 0)

    def test_what_is_left_for_the_next_start_has_room_and_does_not_outlive_a_stop(self):
        """Four descriptors, and four more of one that could not be dropped."""
        self.assertGreaterEqual(int(self.service["FileDescriptorStoreMax"]), 8)
        self.assertNotIn("FileDescriptorStorePreserve", self.service)

    def test_the_keeper_alone_is_asked_to_end_and_speaks_to_the_manager(self):
        """With SIGTERM, which means a restart to it; to a worker it means the end of all."""
        self.assertEqual(self.service["KillMode"], "mixed")
        for signal in ("KillSignal", "RestartKillSignal", "SendSIGHUP", "ExecStop"):
            self.assertNotIn(signal, self.service)
        self.assertEqual(self.service["NotifyAccess"], "main")


class Activated(unittest.TestCase):
    """A manager's part is played: folder, socket, account, limits, readiness."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.program, self.client = MEMGUARDD, MGCTL
        if ROOT:
            self.program, self.client = programs_for_all(self.folder)
        self.service = unit("memguardd.service.in")["Service"]
        self.make_socket(unit("memguardd.socket")["Socket"])
        self.make_manager()

    def make_socket(self, settings):
        """In a folder of its own, with the rights that the unit says."""
        place = self.folder / "run"
        place.mkdir()
        place.chmod(int(settings["DirectoryMode"], 8))
        self.path = place / "socket"
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(str(self.path))
        self.path.chmod(int(settings["SocketMode"], 8))
        self.listener.listen()

    def make_manager(self):
        path = self.folder / "notify"
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(str(path))
        path.chmod(0o666)
        self.manager.settimeout(10)
        self.manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # A service's account has no home, and no place of its own for a socket.
        self.environment = {name: value for name, value in os.environ.items()
                            if name not in ("HOME", "XDG_RUNTIME_DIR", "MEMGUARD_SOCKET")}
        self.environment["NOTIFY_SOCKET"] = str(path)

    def told(self):
        """The next words to the manager, and the process that said them."""
        data, controls, _, _ = self.manager.recvmsg(4096, socket.CMSG_SPACE(12))
        pid = next(struct.unpack("iii", control)[0] for level, kind, control in controls
                   if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS))
        return data.decode().splitlines(), pid

    def limit(self):
        """LimitMEMLOCK=, unless this machine's own limit is lower: only root could raise that."""
        hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        wanted = bytes_of(self.service["LimitMEMLOCK"])
        return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)

    def start(self, *arguments, wrap=(), ready=True):
        """As the service's account."""
        process = subprocess.Popen(
            [sys.executable, "-c", HAND_OVER, str(self.listener.fileno()), str(self.limit()),
             *wrap, self.program, *arguments],
            pass_fds=[self.listener.fileno()], stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, env=self.environment, cwd="/", **as_user(SERVICE))
        self.addCleanup(self.stop, process)
        if ready:
            words, pid = self.told()
            self.assertIn("READY=1", words)
            self.assertEqual(pid, process.pid)
        return process

    def stop(self, process):
        """Returns the exit status. Its last words to the manager stay unread."""
        if process.poll() is None:
            process.terminate()
        try:
            return process.wait(60)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stderr.close()

    def command(self, *arguments):
        return [self.client, "--socket", f"unix:{self.path}", *arguments]

    def mgctl(self, *arguments, uid=NOBODY, stdin=b""):
        return subprocess.run(
            self.command(*arguments), input=stdin, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=60, env=self.environment, cwd="/", **as_user(uid))

    def assertAnswer(self, status, *arguments, **options):
        result = self.mgctl(*arguments, **options)
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stdout


class Manager(Activated):
    """What the service manager is told, and what it keeps."""

    def test_who_connects_before_the_daemon_is_there_is_served(self):
        early = subprocess.Popen(
            self.command("--timeout", "20s", "whoami", "--json"), stdout=subprocess.PIPE,
            env=self.environment, cwd="/", **as_user(NOBODY))
        self.addCleanup(early.stdout.close)
        # As the manager waits: until somebody is in the queue.
        self.assertTrue(select.select([self.listener], [], [], 10)[0], "nobody has come")
        self.assertIsNone(early.poll())
        self.start()
        self.assertEqual(early.wait(60), 0)
        self.assertEqual(json.loads(early.stdout.read())["pid"], early.pid)

    def test_readiness_means_that_it_serves_and_the_end_is_told(self):
        process = self.start()
        self.assertAnswer(0, "--timeout", "5s", "ping")
        process.terminate()
        words, pid = self.told()
        self.assertIn("STOPPING=1", words)
        self.assertEqual(pid, process.pid)
        self.assertEqual(process.wait(60), 0)

    def test_a_daemon_that_cannot_serve_is_never_ready(self):
        if not DENY or SANITIZED:
            self.skipTest("needs a world without memfd_secret")
        deny = shutil.copy(DENY, self.folder / "deny") if ROOT else DENY
        process = self.start("--memory", "require-secretmem",
                             wrap=[str(deny), "memfd_secret", "--"], ready=False)
        self.assertEqual(process.wait(60), 78)
        self.assertEqual(len(process.stderr.read().splitlines()), 1)
        self.manager.setblocking(False)
        self.assertRaises(BlockingIOError, self.manager.recv, 4096)

    def test_the_next_daemon_takes_the_same_listener(self):
        inode = self.path.stat().st_ino
        first = self.start()
        self.assertAnswer(0, "set", "~/a", stdin=b"x")
        self.assertEqual(self.stop(first), 0)
        self.assertIn("STOPPING=1", self.told()[0])
        self.start()
        self.assertEqual(self.path.stat().st_ino, inode)
        # The same door, and nothing of what was behind it.
        self.assertAnswer(3, "get", "~/a")

    def test_what_the_file_says_about_a_socket_is_not_made(self):
        place = self.folder / "run" / "other"
        config = self.folder / "memguardd.conf"
        config.write_text(f"[daemon]\nsocket = unix:{place}\nsocket-mode = 0600\n")
        config.chmod(0o644)
        self.start("--config", str(config))
        self.assertFalse(place.exists())
        self.assertAnswer(0, "set", "~/a", stdin=b"x")

    def reload(self):
        """What the unit says, at this socket."""
        name, *words = self.service["ExecReload"].split()
        self.assertEqual(name, "@bindir@/mgctl")
        where = unit("memguardd.socket")["Socket"]["ListenStream"]
        return subprocess.run(
            [self.client, *(word.replace(where, str(self.path)) for word in words)],
            stderr=subprocess.PIPE, timeout=60, env=self.environment, cwd="/", text=True,
            **as_user(SERVICE))

    def assertReloadTold(self):
        words = self.told()[0]
        self.assertEqual(words[0], "RELOADING=1")
        self.assertRegex(words[1], "^MONOTONIC_USEC=[0-9]+$")
        self.assertIn("READY=1", self.told()[0])

    def test_a_reload_is_waited_for_and_told_and_fails_when_the_file_is_wrong(self):
        config = self.folder / "memguardd.conf"
        config.write_text("[daemon]\nmax-value = 100\n")
        config.chmod(0o644)
        self.start("--config", str(config))
        config.write_text("[daemon]\nmax-value = 200\n")
        self.assertEqual(self.reload().returncode, 0)
        self.assertReloadTold()
        self.assertEqual(json.loads(self.assertAnswer(0, "status", "--json"))["max_value"], 200)
        config.write_text("[daemon]\nmax-value = 0\n")
        result = self.reload()
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"{config}:2: max-value", result.stderr)
        self.assertReloadTold()
        self.assertEqual(json.loads(self.assertAnswer(0, "status", "--json"))["max_value"], 200)

    @unittest.skipIf(SANITIZED, "the sanitizers need memory of their own")
    def test_the_units_limits_are_enough(self):
        self.start("--memory", "require-lock")
        status = json.loads(self.assertAnswer(0, "status", "--json"))
        self.assertEqual(status["locked"], 65536)
        self.assertEqual((status["dumpable"], status["core_limit"]), (False, 0))


@unittest.skipUnless(ROOT, "needs root, to be three users")
class Callers(Activated):
    """Root's listener, the service's account behind it, and a third user in front of it."""

    def setUp(self):
        super().setUp()
        self.process = self.start()

    def test_the_daemon_has_nothing_of_roots(self):
        facts = dict(line.split(":", 1) for line in
                     pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        self.assertEqual(facts["Uid"].split(), [str(SERVICE)] * 4)
        self.assertEqual(facts["Gid"].split(), [str(SERVICE)] * 4)
        self.assertEqual((facts["Groups"].split(), int(facts["CapEff"], 16)), ([], 0))

    def test_a_third_user_trusts_it_and_has_a_space_of_its_own(self):
        self.assertAnswer(0, "set", "~/a", stdin=b"mine")
        self.assertEqual(self.assertAnswer(0, "get", "~/a"), b"mine")
        self.assertEqual(json.loads(self.assertAnswer(0, "whoami", "--json"))["uid"], NOBODY)
        self.assertEqual(self.assertAnswer(0, "ls"), b"~/a\n")

    def test_a_third_user_has_nothing_else(self):
        self.assertAnswer(0, "set", "shared", uid=SERVICE, stdin=b"x")
        for name in ("shared", "absent", f"~{SERVICE}/a", "~0/a"):
            self.assertAnswer(4, "get", name)
            self.assertAnswer(4, "set", name, stdin=b"x")
        self.assertEqual(self.assertAnswer(0, "ls"), b"")

    def test_root_and_the_services_account_may_do_everything(self):
        self.assertAnswer(0, "set", "~/a", stdin=b"mine")
        self.assertAnswer(0, "set", "shared", uid=0, stdin=b"x")
        for uid in (0, SERVICE):
            self.assertEqual(self.assertAnswer(0, "get", f"~{NOBODY}/a", uid=uid), b"mine")
            self.assertEqual(self.assertAnswer(0, "get", "shared", uid=uid), b"x")

    def test_a_third_user_cannot_take_the_sockets_place(self):
        script = f"rm -f {self.path}; mv {self.path} {self.path}2; touch {self.path.parent}/x"
        subprocess.run(["sh", "-c", script], stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                       cwd="/", **as_user(NOBODY))
        self.assertEqual([entry.name for entry in self.path.parent.iterdir()], ["socket"])
        self.assertAnswer(0, "ping")

    def test_it_passes_for_roots_and_for_nobody_elses(self):
        """Clients see who called listen, not who answers."""
        self.assertAnswer(0, "--daemon-uid", "0", "ping")
        self.assertAnswer(6, "--daemon-uid", str(SERVICE), "ping")


if __name__ == "__main__":
    unittest.main()
