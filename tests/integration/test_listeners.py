# SPDX-License-Identifier: Apache-2.0
"""Listeners beside the daemon's own: who comes in by one of them is known by that, whatever process
it is; and they are there as long as the daemon's own."""

import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import unittest

from daemon import MEMGUARDD, Daemon, accepts, wait_for
from mgwire import DENIED, NOT_FOUND, Client, Refused
from upgrade_case import MGCTL, UpgradeTest, children

CONFIGURATION, TAKEN = 78, 69
RULES = """
[namespace all]
deny = get denied listener:ci
deny = get only/** listener:other
"""


class Settings:
    """A folder with a configuration, its listeners and its policy."""

    def make_settings(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.rules = self.home / "policy.d"
        self.rules.mkdir(mode=0o755)
        self.ci, self.other = self.home / "ci", self.home / "other"
        self.say(f"[listener ci]\npath = {self.ci}\nmode = 0660\n"
                 f"[listener other]\npath = {self.other}\n")
        self.rule(RULES)

    def say(self, text):
        self.file = self.home / "memguardd.conf"
        self.file.write_text(text)
        self.file.chmod(0o644)
        return text

    def rule(self, text):
        rules = self.rules / "rules.conf"
        rules.write_text(text)
        rules.chmod(0o644)

    def options(self):
        return [f"--config={self.file}", f"--policy-dir={self.rules}"]

    def gets(self, path, name):
        with Client(path) as client:
            try:
                return client.get(name)
            except Refused as refused:
                return refused.code

    def told(self, path):
        with Client(path) as client:
            return client.whoami().listener


class Listeners(Settings, unittest.TestCase):
    def setUp(self):
        self.make_settings()

    def test_who_comes_in_by_one_is_known_by_that(self):
        with Daemon(*self.options()) as daemon:
            paths = (daemon.path, self.ci, self.other)
            self.assertEqual([self.told(path) for path in paths], [b"", b"ci", b"other"])
            whoami = [MGCTL, "--socket", f"unix:{self.ci}", "whoami"]
            self.assertEqual(json.loads(subprocess.check_output([*whoami, "--json"]))["listener"],
                             "ci")
            self.assertRegex(subprocess.check_output(whoami), rb"(?m)^listener +ci$")
            for name in (b"all/denied", b"all/only/x", b"all/free"):
                with Client(self.ci) as client:
                    client.set(name, name)
            self.assertEqual([self.gets(path, b"all/denied") for path in paths],
                             [b"all/denied", DENIED, b"all/denied"])
            self.assertEqual([self.gets(path, b"all/only/x") for path in paths],
                             [b"all/only/x", b"all/only/x", DENIED])
            self.assertEqual([self.gets(path, b"all/free") for path in paths], [b"all/free"] * 3)

    def test_each_has_its_rights_and_goes_with_the_daemon(self):
        with Daemon(*self.options()) as daemon:
            self.assertEqual(stat.S_IMODE(self.ci.stat().st_mode), 0o660)
            self.assertEqual(stat.S_IMODE(self.other.stat().st_mode), 0o600)
            self.assertEqual(daemon.end(), 0)
        for path in (self.ci, self.other, self.home / "ci.lock", self.home / "other.lock"):
            self.assertFalse(path.exists())

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to give a socket to another group")
    def test_a_group_is_found_by_name_or_number(self):
        self.say(f"[listener ci]\npath = {self.ci}\ngroup = daemon\n"
                 f"[listener other]\npath = {self.other}\ngroup = 4242\n")
        with Daemon(*self.options()):
            self.assertEqual(self.ci.stat().st_gid, 1)
            self.assertEqual(self.other.stat().st_gid, 4242)

    def test_a_worker_after_another_has_them(self):
        with Daemon("--keep", *self.options()) as daemon:
            with Client(self.ci) as client:
                client.set(b"all/denied", b"value")
            os.kill(children(daemon.pid)[0], signal.SIGKILL)
            self.assertEqual(self.gets(self.ci, b"all/denied"), DENIED)
            self.assertEqual(self.gets(self.other, b"all/denied"), b"value")
            self.assertEqual(daemon.end(), 0)
        self.assertFalse(self.ci.exists())

    def test_a_command_has_none(self):
        done = subprocess.run([MEMGUARDD, *self.options(), "--", "ls", str(self.ci)],
                              capture_output=True, timeout=60, check=False)
        self.assertNotEqual(done.returncode, 0)

    def test_others_take_a_restart(self):
        with Daemon(*self.options()) as daemon:
            self.say(f"[listener ci]\npath = {self.ci}\nmode = 0666\n")
            done = subprocess.run([MGCTL, "--socket", f"unix:{daemon.path}", "reload"],
                                  capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{self.file}: other sections [listener NAME] take a restart",
                          done.stderr)
            self.assertEqual(self.told(self.other), b"other")

    def fails(self, text, words, status=CONFIGURATION):
        self.say(text)
        done = subprocess.run([MEMGUARDD, f"--socket={self.home}/socket", *self.options()],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (status, f"memguardd: {words}\n"))
        self.assertEqual(sorted(path.name for path in self.home.iterdir()),
                         ["memguardd.conf", "policy.d"])

    def test_what_is_wrong_is_named(self):
        name = f"{self.file}:2: [listener ci]"
        self.fails("[listener ci]\npath = /ci\ngroup = no-such-group\n",
                   f"{self.file}:3: group: there is no group 'no-such-group'")
        self.fails(f"[daemon]\n[listener ci]\npath = {self.home}/socket\n",
                   f"{name} has the path of the daemon's own socket")
        self.fails("\n[listener ci]\nmode = 0666\n", f"{name} has no path")
        self.fails(f"[listener ci]\npath = {self.home}/none/ci\n",
                   f"{self.home}/none: the socket's folder: No such file or directory")

    def test_one_place_under_two_names_is_one_place(self):
        (self.home / "link").symlink_to(self.home)
        self.say(f"[listener ci]\npath = {self.ci}\n[listener other]\npath = {self.home}/link/ci\n")
        done = subprocess.run([MEMGUARDD, f"--socket={self.home}/socket", *self.options()],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, TAKEN)
        self.assertIn(f"another memguardd serves unix:{self.home}/link/ci", done.stderr)
        self.assertFalse(self.ci.exists())

    def test_one_of_the_service_managers_is_known_by_its_place(self):
        """And the daemon's own may come from there, too."""
        own = self.home / "own"
        sockets = []
        for path in (own, self.other):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen()
            sockets.append(listener)
        script = ('exec 3<&"$0" 4<&"$1"; shift; LISTEN_PID=$$ LISTEN_FDS=2 exec "$@"')
        numbers = [listener.fileno() for listener in sockets]
        process = subprocess.Popen(
            ["sh", "-c", script, *map(str, numbers), MEMGUARDD, *self.options()],
            pass_fds=numbers, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        for listener in sockets:
            listener.close()
        self.assertTrue(wait_for(lambda: accepts(self.ci)))
        self.assertEqual([self.told(path) for path in (own, self.ci, self.other)],
                         [b"", b"ci", b"other"])
        process.terminate()
        self.assertEqual(process.wait(60), 0)
        self.assertTrue(self.other.exists())
        self.assertFalse(self.ci.exists())


class Upgrade(Settings, UpgradeTest):
    def setUp(self):
        self.make_settings()
        self.arguments = self.options()
        super().setUp()

    def upgrade(self):
        return subprocess.run([MGCTL, "--socket", f"unix:{self.manager.path}", "upgrade"],
                              capture_output=True, text=True, timeout=60, check=False)

    def test_the_next_program_has_them(self):
        before = self.ci.stat().st_ino
        with Client(self.ci) as client:
            client.set(b"all/denied", b"value")
        done = self.upgrade()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(wait_for(lambda: self.manager.main != self.keeper))
        self.assertEqual(self.gets(self.ci, b"all/denied"), DENIED)
        self.assertEqual(self.gets(self.other, b"all/denied"), b"value")
        self.assertEqual(self.ci.stat().st_ino, before)

    def test_others_are_refused_and_nothing_is_lost(self):
        self.say(f"[listener ci]\npath = {self.ci}\nmode = 0660\n")
        done = self.upgrade()
        self.assertEqual(done.returncode, 1)
        self.assertIn("the sections [listener NAME] are others now: that takes a restart",
                      done.stderr)
        self.assertEqual(self.told(self.other), b"other")
        self.assertEqual(self.gets(self.ci, b"all/x"), NOT_FOUND)

    @unittest.skipUnless(os.geteuid() == 0, "only root's service manager keeps what is restarted")
    def test_a_restart_makes_them_anew(self):
        with Client(self.ci) as client:
            client.set(b"all/denied", b"value")
        self.manager.stop()
        self.manager.start()
        self.assertEqual(self.gets(self.ci, b"all/denied"), DENIED)
        self.assertEqual(self.gets(self.other, b"all/denied"), b"value")


if __name__ == "__main__":
    unittest.main()
