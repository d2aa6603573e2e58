# SPDX-License-Identifier: Apache-2.0
"""Policies in files: at the start, at a reload, and for other users."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import mgwire
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
            # It may list, but not stat.
            self.assertEqual(stranger("ls", "-l").stdout.split()[-1], b"web/db-1")
            self.assertNotIn(b"20", stranger("ls", "-l").stdout)
            self.assertEqual(json.loads(stranger("--json", "ls", "-l").stdout),
                             {"schema": 1, "name": "web/db-1"})
            # What policy says of itself, and of nobody else.
            for name, code in (("web/db-1", OK), ("web/db-2", OK), ("web/other", DENIED),
                               ("web/absent", DENIED)):
                self.assertEqual(stranger("policy", "explain", "get", name).returncode, code)
            result = stranger("policy", "explain", "get", "web/db-1", "--as", "uid:0")
            self.assertEqual((result.returncode, result.stdout), (DENIED, b""))


class Check(PolicyTest):
    """Nobody has to serve."""

    def check(self, *arguments):
        return subprocess.run(
            [MGCTL, "policy", "check", *map(str, arguments)], stdin=subprocess.DEVNULL,
            env={**os.environ, "MEMGUARD_SOCKET": "unix:/nowhere", "MGCTL_MEMGUARDD": MEMGUARDD},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)

    def assertFault(self, words, *arguments):
        result = self.check(*arguments)
        self.assertEqual((result.returncode, result.stdout, result.stderr.decode()),
                         (REFUSED, b"", f"mgctl: {words}\n"))

    def test_what_is_right_is_told_with_its_rules(self):
        file = self.say("[namespace web]\nallow = get * uid:1\ndeny = rm * anybody\n")
        self.say("[namespace other]\nallow = get * uid:2\n", "other.conf")
        result = self.check(self.folder)
        self.assertEqual((result.returncode, result.stdout.decode(), result.stderr),
                         (OK, f"{self.folder}: 3 rules\n", b""))
        self.assertEqual(self.check(file).stdout.decode(), f"{file}: 2 rules\n")
        self.assertEqual(json.loads(self.check("--json", file).stdout),
                         {"schema": 1, "path": str(file), "rules": 2})

    def test_a_fault_is_named_with_file_and_line(self):
        file = self.say("[namespace web]\n\nallow = get\n", "draft")
        words = f"{file}:3: allow: nothing says where: OPERATIONS GLOB SELECTOR..."
        self.assertFault(words, file)
        result = self.check("--json", file)
        self.assertEqual((result.returncode, json.loads(result.stderr)),
                         (REFUSED, {"error": "no", "code": 1, "message": words}))
        # One of another name does not count in the folder.
        self.assertEqual(self.check(self.folder).returncode, OK)
        file.rename(self.folder / "web.conf")
        self.assertFault(words.replace("draft", "web.conf"), self.folder)

    def test_files_that_contradict_each_other_are_a_fault(self):
        self.say("[namespace web]\nowner = uid:1\n", "a.conf")
        self.say("[namespace web]\nowner = uid:2\n", "b.conf")
        self.assertFault(f"{self.folder}/b.conf:2: 'owner' of [namespace web] is set a second "
                         f"time (first in {self.folder}/a.conf:2)", self.folder)

    def test_who_may_write_to_it_counts(self):
        file = self.say("[namespace web]\n")
        file.chmod(0o666)
        self.assertFault(f"{file}: others may write to it; let only root or the daemon's user",
                         file)

    def test_what_is_not_there_is_a_fault(self):
        self.assertFault("/nowhere/policy: No such file or directory", "/nowhere/policy")

    def test_the_daemon_alone_does_the_same(self):
        file = self.say("[namespace web]\n")
        result = self.run_once("--check-policy")
        self.assertEqual((result.returncode, result.stdout.decode()),
                         (OK, f"{self.folder}: 0 rules\n"))
        file.write_text("nonsense\n")
        result = self.run_once("--check-policy")
        self.assertEqual(result.returncode, CONFIGURATION)
        self.assertIn(f"memguardd: {file}:1: ", result.stderr.decode())

    def test_without_the_program_it_says_so(self):
        result = subprocess.run(
            [MGCTL, "policy", "check"], env={**os.environ, "MGCTL_MEMGUARDD": "/nowhere/memguardd"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual((result.returncode, result.stderr.decode()),
                         (70, "mgctl: /nowhere/memguardd: No such file or directory\n"))


class Explain(PolicyTest):
    def setUp(self):
        super().setUp()
        self.file = self.say("[namespace web]\nallow = get db-* uid:4444\n"
                             "deny = get db-secret anybody\nallow = stat ** group:root\n")
        self.daemon = Daemon(f"--policy-dir={self.folder}")
        self.addCleanup(self.daemon.end)

    def explain(self, *arguments):
        return subprocess.run(
            [MGCTL, "--socket", f"unix:{self.daemon.path}", "policy", "explain", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)

    def test_the_line_that_decides_is_told(self):
        result = self.explain("get", "web/db-1", "--as", "uid:4444")
        self.assertEqual((result.returncode, result.stderr), (OK, b""))
        self.assertIn(f"{self.file}:2", result.stdout.decode())
        result = self.explain("get", "web/db-secret")
        self.assertEqual((result.returncode, result.stderr), (DENIED, b""))
        self.assertIn(f"{self.file}:3", result.stdout.decode())

    def test_the_line_that_is_missing_is_one(self):
        result = self.explain("--json", "set", "web/db-1", "--as", "uid:4444 unit:a.service")
        answer = json.loads(result.stdout)
        self.assertEqual((result.returncode, answer), (DENIED, {
            "schema": 1, "operation": "set", "name": "web/db-1", "allowed": False,
            "cause": "nothing", "section": "[namespace web]",
            "rule": "allow = set db-1 uid:4444 unit:a.service"}))
        self.say(f"{answer['section']}\n{answer['rule']}\n", "more.conf")
        with mgwire.Client(self.daemon.path) as client:
            client.ask(client.request(reload=mgwire.pb.Reload()))
        result = self.explain("set", "web/db-1", "--as", "uid:4444", "--as", "unit:a.service")
        self.assertEqual(result.returncode, OK)
        self.assertEqual(self.explain("set", "web/db-1", "--as", "uid:4444").returncode, DENIED)

    def test_what_takes_a_reason_is_not_allowed_without(self):
        file = self.say("[namespace vault]\nrequire-reason = get\nallow = get * uid:4444\n",
                        "vault.conf")
        with mgwire.Client(self.daemon.path) as client:
            client.ask(client.request(reload=mgwire.pb.Reload()))
        for arguments in ((), ("--as", "uid:4444")):
            result = self.explain("--json", "get", "vault/x", *arguments)
            answer = json.loads(result.stdout)
            self.assertEqual(
                (result.returncode, answer["allowed"], answer["cause"], answer["file"],
                 answer["line"]), (DENIED, False, "no_reason", str(file), 2))
            result = self.explain("get", "vault/x", *arguments)
            self.assertIn("(--reason)", result.stdout.decode())
            result = self.explain("--reason", "on call", "get", "vault/x", *arguments)
            self.assertEqual(result.returncode, OK)

    def test_an_account_has_its_groups(self):
        self.assertEqual(self.explain("stat", "web/x", "--as", "group:root").returncode, OK)
        self.assertEqual(self.explain("stat", "web/x", "--as", "gid:4444").returncode, DENIED)
        self.assertEqual(self.explain("stat", "web/x", "--as", "user:root").returncode, OK)

    def test_what_makes_no_sense_is_told(self):
        for arguments, words in (
                (("fetch", "x"), "no such operation: get, set"),
                (("get", "x", "--as", "user:no-such-user"), "there is no user 'no-such-user'"),
                (("get", "x", "--as", "group:no-such-group"), "there is no group"),
                (("get", "x", "--as", "colour:blue"), "'colour:blue' is no selector"),
                (("get", "x", "--as", "label:\x1b[2J"), "a selector is UTF-8 without control"),
                (("g\x1bet", "x"), "an operation is UTF-8 without control"),
                (("get", "x", "--as", " "), "says nobody"),
                (("get", "../x"), "segment"),
                (("get",), "takes an operation and a name")):
            with self.subTest(arguments):
                result = self.explain(*arguments)
                self.assertEqual((result.returncode, result.stdout), (2, b""))
                self.assertIn(words, result.stderr.decode())

    def test_the_wire_says_the_same(self):
        with mgwire.Client(self.daemon.path) as client:
            verdict = client.explain(b"get", b"web/db-secret")
            self.assertEqual((verdict.allowed, verdict.cause, verdict.line), (False, 1, 3))
            self.assertEqual(verdict.file.decode(), str(self.file))
            self.assertEqual(client.explain(b"get", b"web/x").cause, 3)
            self.assertEqual(client.explain(b"get", b"~/x", b"uid:7").cause, 6)
            with self.assertRaises(mgwire.Refused) as caught:
                client.explain(b"get", b"x", *[b"gid:%d" % i for i in range(33)])
            self.assertEqual(caught.exception.code, 2)
            self.assertEqual(client.explain(
                b"get", b"x", *[b"gid:%d" % i for i in range(32)]).cause, 0)


if __name__ == "__main__":
    unittest.main()
