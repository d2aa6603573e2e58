# SPDX-License-Identifier: Apache-2.0
"""Policies in files: at the start, at a reload, and for other users."""

import os
import pathlib
import subprocess
import tempfile
import unittest

from daemon import Daemon
from mgctl_case import DENIED, MEMGUARDD, MGCTL, NOT_FOUND, OK, ROOT
from strangers import NOBODY, as_nobody, programs_for_all

REFUSED = 1
CONFIGURATION = 78


class PolicyTest(unittest.TestCase):
    """One daemon a case, with a folder of policies."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="memguardd-")
        self.addCleanup(holder.cleanup)
        pathlib.Path(holder.name).chmod(0o755)
        self.folder = pathlib.Path(holder.name) / "policy.d"
        self.folder.mkdir(mode=0o755)

    def say(self, text, name="web.conf"):
        file = self.folder / name
        file.write_text(text)
        file.chmod(0o644)
        return file


    def run_once(self, *options):
        return subprocess.run([MEMGUARDD, f"--policy-dir={self.folder}", *options],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60)

    def assertNoStart(self, words):
        with tempfile.TemporaryDirectory(prefix="memguardd-") as place:
            result = self.run_once(f"--socket={place}/socket")
        self.assertEqual((result.returncode, result.stderr.decode()),
                         (CONFIGURATION, f"memguardd: {words}\n"))


class Start(PolicyTest):
    def test_a_fault_is_named_with_file_and_line(self):
        file = self.say("[namespace web]\n\nallow = fetch * uid:1\n")
        with tempfile.TemporaryDirectory(prefix="memguardd-") as place:
            result = self.run_once(f"--socket={place}/socket")
        self.assertEqual(result.returncode, CONFIGURATION)
        self.assertIn(f"{file}:3: allow: 'fetch' is no operation", result.stderr.decode())

    def test_a_user_that_is_not_there_is_a_fault(self):
        file = self.say("[namespace web]\nallow = get * user:no-such-user\n")
        self.assertNoStart(f"{file}:2: allow: 'user:no-such-user' is no user here")

    def test_a_file_that_others_may_write_to_is_refused(self):
        file = self.say("[namespace web]\n")
        file.chmod(0o664)
        self.assertNoStart(f"{file}: others may write to it; let only root or the daemon's user")

    def test_a_folder_that_others_may_write_to_is_refused(self):
        self.folder.chmod(0o777)
        self.assertNoStart(f"policy-dir: {self.folder}: others may write to it; let only root "
                           "or the daemon's user")

    def test_a_folder_that_is_named_and_not_there_is_a_fault(self):
        self.folder.rmdir()
        self.assertNoStart(f"policy-dir: {self.folder}: No such file or directory")
        self.folder.mkdir()

    def test_files_of_other_names_are_not_read(self):
        for name in ("web.conf~", ".web.conf", "README", "conf"):
            self.say("nonsense", name)
        with Daemon(f"--policy-dir={self.folder}"):
            pass


class InForce(PolicyTest):
    def mgctl(self, *arguments, stdin=b""):
        environment = {**os.environ, "MEMGUARD_SOCKET": f"unix:{self.daemon.path}"}
        return subprocess.run([MGCTL, *arguments], input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=environment, timeout=60)

    def test_a_reload_takes_all_files_or_none(self):
        self.say("[namespace web]\ndeny = get a anybody\n")
        with Daemon(f"--policy-dir={self.folder}") as self.daemon:
            self.assertEqual(self.mgctl("set", "web/a", stdin=b"x").returncode, OK)
            self.assertEqual(self.mgctl("get", "web/a").returncode, DENIED)
            file = self.say("[namespace web]\nallow = get\n", "z.conf")
            self.say("[namespace web]\n")
            result = self.mgctl("reload")
            self.assertEqual(result.returncode, REFUSED)
            self.assertIn(f"{file}:2: allow: nothing says where", result.stderr.decode())
            self.assertEqual(self.mgctl("get", "web/a").returncode, DENIED)
            file.unlink()
            self.assertEqual(self.mgctl("reload").returncode, OK)
            self.assertEqual(self.mgctl("get", "web/a").stdout, b"x")

    def test_the_next_worker_has_the_same_policy(self):
        self.say("[namespace web]\ndeny = get ** anybody\n")
        with Daemon(f"--policy-dir={self.folder}", "--keep") as self.daemon:
            self.assertEqual(self.mgctl("get", "web/absent").returncode, DENIED)
            self.assertEqual(self.mgctl("get", "other").returncode, NOT_FOUND)
            os.kill(int(subprocess.check_output(
                ["ps", "-o", "pid=", "--ppid", str(self.daemon.process.pid)])), 9)
            self.assertEqual(self.mgctl("get", "web/absent").returncode, DENIED)
            self.assertEqual(self.mgctl("get", "other").returncode, NOT_FOUND)

    def test_another_user_has_what_a_rule_lets_it_have_and_sees_no_more(self):
        if not ROOT:
            self.skipTest("needs root, to be another user")
        self.say(f"[namespace web]\nallow = get,ls db-* uid:{NOBODY}\n")
        with tempfile.TemporaryDirectory(prefix="memguardd-") as programs, \
                Daemon(f"--policy-dir={self.folder}", "--socket-mode=0666") as self.daemon:
            _, mgctl = programs_for_all(programs)
            self.daemon.folder.chmod(0o755)
            for name in ("web/db-1", "web/other", "top"):
                self.assertEqual(self.mgctl("set", name, stdin=b"x").returncode, OK)

            def stranger(*arguments):
                return subprocess.run(
                    as_nobody(mgctl, f"--socket=unix:{self.daemon.path}", *arguments),
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    timeout=60)

            self.assertEqual(stranger("ls").stdout, b"web/db-1\n")
            self.assertEqual(stranger("get", "web/db-1").stdout, b"x")
            self.assertEqual(stranger("get", "web/db-2").returncode, NOT_FOUND)
            for name in ("web/other", "web/absent", "top"):
                self.assertEqual(stranger("get", name).returncode, DENIED)
            self.assertEqual(stranger("rm", "web/db-1").returncode, DENIED)


if __name__ == "__main__":
    unittest.main()
