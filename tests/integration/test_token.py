# SPDX-License-Identifier: Apache-2.0
"""Tokens: what one user lets others do, through mgctl and on the wire."""

import base64
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import tempfile
import time
import unittest

from daemon import Daemon, wait_for
from mgctl_case import (CONFLICT, DENIED, GONE, MGCTL, NOT_FOUND, OK, ROOT, TIMEOUT, USAGE,
                        MgctlTest, StrangerTest)
from mgwire import Client, Refused
from strangers import NOBODY, as_nobody, programs_for_all
from upgrade_case import UpgradeTest

FORM = re.compile(rb"mgt_[A-Za-z0-9_-]{43}")


def pipe_of(text):
    """A descriptor from which the text can be read."""
    end, other = os.pipe()
    os.write(other, text)
    os.close(other)
    return end


class TokenTest(MgctlTest):
    """A daemon each: what is held against a caller lasts for minutes."""

    def setUp(self):
        super().setUp()
        self.tearDownClass()
        self.setUpClass()

    def issue(self, name, *options, allow="get:ci/*"):
        return self.ok("token", "issue", name, "--allow", allow, *options)

    def shows(self, token, *arguments, **options):
        """mgctl with a token to show."""
        fd = pipe_of(token)
        try:
            return self.run_mgctl("--token-fd", str(fd), *arguments, pass_fds=(fd,), **options)
        finally:
            os.close(fd)


class Issue(TokenTest):
    def test_a_token_is_told_once_and_has_its_form(self):
        token = self.issue("~/a")
        self.assertTrue(FORM.fullmatch(token), token)
        self.assertNotEqual(self.issue("~/b"), token)
        self.assertEqual(self.ok("token", "ls"), b"~/a\n~/b\n")
        self.assertNotIn(token[4:], self.ok("token", "ls", "-l") + self.ok("token", "ls", "--json"))

    def test_json_has_it_as_value_b64(self):
        answer, = self.json("token", "issue", "~/a", "--allow", "*:**")
        self.assertEqual(answer["name"], "~/a")
        self.assertTrue(FORM.fullmatch(base64.b64decode(answer["value_b64"])))

    def test_out_makes_a_file_for_its_owner_alone(self):
        place = self.folder / "token"
        self.assertEqual(self.issue("~/a", "--out", str(place)), b"")
        self.assertEqual(stat.S_IMODE(place.stat().st_mode), 0o600)
        self.assertTrue(FORM.fullmatch(place.read_bytes()))
        # One that nobody gets is none.
        self.run_mgctl("token", "issue", "~/b", "--allow", "get:a", "--out", "/proc/none/x")
        self.assertEqual(self.ok("token", "ls"), b"~/a\n")

    def test_ls_tells_all_but_the_token(self):
        self.issue("~/a", "--ttl", "1h", "--uses", "3", "--bind-uid", "33", "--bind-unit",
                   "nginx.service", "--allow", "set,rotate:**")
        answer, = self.json("token", "ls")
        self.assertEqual(answer["allow"], ["get:ci/*", "set,rotate:**"])
        self.assertEqual((answer["uses"], answer["left"], answer["bind_uid"], answer["bind_unit"],
                          answer["issuer"]), (3, 3, 33, "nginx.service", os.geteuid()))
        self.assertTrue(3500000 < answer["ttl_ms"] <= 3600000)
        self.issue("~/b")
        self.assertNotIn("ttl_ms", self.json("token", "ls")[1])
        line = self.ok("token", "ls", "--long").splitlines()[0]
        for words in (b"~/a", b"3 of 3 uses", b"nginx.service", b"set,rotate:**", b"uid 33"):
            self.assertIn(words, line)

    def test_what_is_not_said_right_is_2(self):
        self.assertIn("--allow", self.fails(USAGE, "token", "issue", "~/a"))
        for allow in ("get", ":a", "get:", "fetch:a", "get:a***", "get:/a", "get:~33x/a"):
            self.fails(USAGE, "token", "issue", "~/a", "--allow", allow)
        self.assertIn("fetch:a", self.fails(USAGE, "token", "issue", "~/a", "--allow", "fetch:a"))
        self.fails(USAGE, "token", "issue", "--allow", "get:a")
        self.fails(USAGE, "token", "ls", "--uses", "1")
        self.fails(USAGE, "token", "ls", "~/a")
        self.fails(USAGE, "token", "issue", "~/a", "--allow", "get:a", "--uses", "0")
        self.fails(USAGE, "token", "burn", "~/a")
        words = self.fails(USAGE, "token", "revoke", "~/a", "mgt_secret")
        self.assertNotIn("mgt_secret", words)
        self.assertEqual(self.ok("token", "ls"), b"")

    def test_a_name_is_taken_until_it_is_revoked(self):
        self.issue("~/a")
        self.fails(CONFLICT, "token", "issue", "~/a", "--allow", "get:a")
        self.ok("token", "revoke", "~/a")
        self.fails(NOT_FOUND, "token", "revoke", "~/a")
        self.issue("~/a")

    def test_a_command_has_not_the_token_that_is_shown(self):
        place = self.folder / "token"
        place.write_bytes(self.issue("~/a", allow="watch:**"))
        script = 'echo "${MEMGUARD_TOKEN_FD-none}"; cat /proc/self/fd/%d | wc -c'
        watch = ("watch", "--once", "--since", "1", "--", "sh", "-c")
        with place.open("rb") as file:
            fd = file.fileno()
            # Without being told what it is for, it is handed down as any.
            result = self.run_mgctl(*watch, script % fd, pass_fds=(fd,))
            self.assertEqual(result.stdout.split(), [b"none", b"47"])
            result = self.run_mgctl(*watch, script % fd, pass_fds=(fd,),
                                    env={"MEMGUARD_TOKEN_FD": str(fd)})
            self.assertEqual(result.stdout.split(), [b"none", b"0"])

    def test_whoever_shows_it_is_told_which_it_is(self):
        token = self.issue("~/a")
        self.assertEqual(json.loads(self.shows(token, "--json", "whoami").stdout)["token"], "~/a")
        self.assertIn(b"~/a", self.shows(token + b"\n", "whoami").stdout)
        self.assertEqual(self.json("whoami")[0]["token"], "")
        fd = pipe_of(token)
        result = self.run_mgctl("--json", "whoami", pass_fds=(fd,),
                                env={"MEMGUARD_TOKEN_FD": str(fd)})
        os.close(fd)
        self.assertEqual(json.loads(result.stdout)["token"], "~/a")

    def test_what_is_no_token_is_2_and_a_wrong_one_4(self):
        token = self.issue("~/a")
        for text in (b"", b"\n", b"mgt_", token[:-1], token + b"x", b"x" + token[1:],
                     token[:-1] + b"+"):
            self.assertEqual(self.shows(text, "whoami").returncode, USAGE, text)
        self.assertEqual(self.run_mgctl("whoami", env={"MEMGUARD_TOKEN_FD": "x"}).returncode, USAGE)
        self.assertEqual(self.run_mgctl("--token-fd", "77", "whoami").returncode, USAGE)
        wrong = token[:4] + (b"B" if token[4:5] == b"A" else b"A") + token[5:]
        result = self.shows(wrong, "whoami")
        self.assertEqual(result.returncode, DENIED)
        self.assertNotIn(wrong, result.stderr)

    def test_why_a_token_lets_nobody_do_it_is_explained(self):
        def explain(*arguments):
            result = self.run_mgctl("--json", "policy", "explain", "get", *arguments)
            answer = json.loads(result.stdout)
            self.assertEqual(result.returncode, OK if answer["allowed"] else DENIED)
            return [answer["allowed"], answer.get("token_fault"), "rule" in answer]

        said = ("--as", "uid:4444 token:ci")
        self.assertEqual(explain("ci/key", *said), [False, "unknown", False])
        token = self.issue("ci", "--bind-uid", "4444", "--uses", "1")
        self.assertEqual(explain("ci/key", *said), [True, None, False])
        self.assertEqual(explain("other", *said), [False, "no_grant", False])
        self.assertEqual(explain("ci/key", "--as", "uid:4445 token:ci"),
                         [False, "other_uid", False])
        result = self.run_mgctl("policy", "explain", "get", "ci/key", "--as", "uid:1 token:ci")
        self.assertIn(b"it is for another user", result.stdout)
        self.assertNotIn(token, result.stdout)
        self.ok("token", "revoke", "ci")
        self.assertEqual(explain("ci/key", *said), [False, "revoked", False])

    def test_one_that_is_revoked_meanwhile_is_told_as_such(self):
        token = self.issue("~/a")
        with Client(self.path) as client:
            client.show_token(base64.urlsafe_b64decode(token[4:] + b"="))
            self.assertEqual(client.whoami().token_fault, 0)
            self.ok("token", "revoke", "~/a")
            caller = client.whoami()
            self.assertEqual((caller.token, caller.token_fault), (b"~/a", 2))

    def test_a_revoked_one_is_12(self):
        token = self.issue("~/a")
        self.ok("token", "revoke", "~/a")
        self.assertEqual(self.shows(token, "whoami").returncode, GONE)

    def test_wrong_ones_cost_more_each_time(self):
        token = self.issue("~/a")
        wrong = token[:10] + b"AAAA" + token[14:]
        begin = time.monotonic()
        for _ in range(4):
            result = self.shows(wrong, "--timeout", "60s", "whoami")
            self.assertEqual(result.returncode, DENIED, result.stderr)
        # A right one comes after those, too: 100, 200, 400 and 800 ms.
        self.assertEqual(self.shows(token, "--timeout", "60s", "whoami").returncode, OK)
        self.assertGreater(time.monotonic() - begin, 1.5)
        self.shows(wrong, "--timeout", "60s", "whoami")
        self.assertEqual(self.shows(token, "--timeout", "300ms", "whoami").returncode, TIMEOUT)

    def test_purge_of_everything_ends_them(self):
        token = self.issue("~/a")
        self.ok("purge", "--all")
        self.assertEqual(self.ok("token", "ls"), b"")
        self.assertEqual(self.shows(token, "whoami").returncode, DENIED)

    def test_status_counts_them(self):
        self.issue("~/a")
        status, = self.json("status")
        self.assertEqual((status["tokens"], status["broken_tokens"]), (1, 0))
        self.assertIn(b"tokens", self.ok("status"))


class Bearers(StrangerTest):
    """Root issues, and somebody else shows."""

    daemon_options = ["--socket-mode", "0666", "--audit", "all"]

    @classmethod
    def setUpClass(cls):
        cls.log = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-")) / "audit"
        cls.daemon_options = [*Bearers.daemon_options[:4], "--audit-file", str(cls.log)]
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.tearDownClass()
        self.setUpClass()
        self.folder.chmod(0o755)
        place = tempfile.mkdtemp(dir=self.folder)
        _, self.program = programs_for_all(place)
        self.ok("set", "ci/key", stdin=b"value")

    def issue(self, name, *options, allow="get:ci/*"):
        return self.ok("token", "issue", name, "--allow", allow, *options)

    def start(self, token, *arguments):
        fd = pipe_of(token)
        process = subprocess.Popen(
            self.nobody("--timeout", "60s", "--token-fd", str(fd), *arguments), pass_fds=(fd,),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=self.environment)
        os.close(fd)
        return process

    def shows(self, token, *arguments):
        process = self.start(token, *arguments)
        output, words = process.communicate(timeout=60)
        return process.returncode, output, words

    def test_a_stranger_may_what_it_allows_and_no_more(self):
        self.ok("set", "other/key", stdin=b"value")
        token = self.issue("ci")
        self.assertEqual(self.as_nobody("get", "ci/key").returncode, DENIED)
        self.assertEqual(self.shows(token, "get", "ci/key")[:2], (OK, b"value"))
        self.assertEqual(self.shows(token, "get", "ci/none")[0], NOT_FOUND)
        self.assertEqual(self.shows(token, "get", "other/key")[0], DENIED)
        self.assertEqual(self.shows(token, "rm", "ci/key")[0], DENIED)
        self.assertEqual(self.shows(token, "purge", "--all")[0], DENIED)
        self.assertEqual(self.as_nobody("get", "ci/key").returncode, DENIED)
        self.ok("token", "revoke", "ci")
        self.assertEqual(self.shows(token, "get", "ci/key")[0], GONE)

    def test_it_is_told_why_it_may(self):
        token = self.issue("ci")
        self.assertIn(b"token", self.shows(token, "policy", "explain", "get", "ci/key")[1])
        self.assertEqual(json.loads(self.shows(
            token, "--json", "policy", "explain", "get", "ci/key")[1])["cause"], "token")
        self.assertEqual(self.shows(token, "policy", "explain", "set", "ci/key")[0], DENIED)

    def test_uses_run_out(self):
        token = self.issue("ci", "--uses", "2")
        self.assertEqual(self.shows(token, "get", "ci/key")[0], OK)
        # What needs no token is no use of it.
        self.assertEqual(self.shows(token, "ls", "~/")[0], OK)
        self.assertEqual(self.json("token", "ls")[0]["left"], 1)
        self.assertEqual(self.shows(token, "get", "ci/key")[0], OK)
        self.assertEqual(self.shows(token, "get", "ci/key")[0], GONE)
        self.assertEqual(self.ok("token", "ls"), b"")

    def test_one_use_by_many_at_once_is_one(self):
        token = self.issue("once", "--uses", "1")
        processes = [self.start(token, "get", "ci/key") for _ in range(12)]
        results = []
        for process in processes:
            output, _ = process.communicate(timeout=60)
            results.append((process.returncode, output))
        self.assertEqual(results.count((OK, b"value")), 1, results)
        for code, output in results:
            self.assertIn((code, output), ((OK, b"value"), (DENIED, b""), (GONE, b"")))

    def test_its_time_ends_it(self):
        token = self.issue("short", "--ttl", "1s")
        self.assertEqual(self.shows(token, "get", "ci/key")[0], OK)
        time.sleep(1.1)
        self.assertEqual(self.shows(token, "get", "ci/key")[0], DENIED)
        self.assertEqual(self.ok("token", "ls"), b"")

    def test_a_bound_one_is_for_its_uid_alone(self):
        theirs = self.issue("theirs", "--bind-uid", str(NOBODY))
        others = self.issue("others", "--bind-uid", "1")
        self.assertEqual(self.shows(theirs, "get", "ci/key")[0], OK)
        self.assertEqual(self.shows(others, "get", "ci/key")[0], DENIED)

    def test_one_bound_to_a_unit_is_not_for_a_process_outside_of_it(self):
        token = self.issue("unit", "--bind-unit", "memguardd-test-none.service")
        self.assertEqual(self.shows(token, "get", "ci/key")[0], DENIED)

    def test_a_stranger_gives_away_no_more_than_its_own(self):
        self.assertEqual(self.as_nobody("set", "~/mine", input=b"mine").returncode, OK)
        result = self.as_nobody("token", "issue", "~/all", "--allow", "*:**",
                                "--allow", "get:~/*")
        self.assertEqual(result.returncode, OK, result.stderr)
        self.assertEqual(self.as_nobody("token", "issue", "all", "--allow", "*:**").returncode,
                         DENIED)
        self.assertEqual(self.shows(result.stdout, "get", "ci/key")[0], DENIED)
        self.assertEqual(self.shows(result.stdout, "get", "~/mine")[0], OK)
        self.assertEqual(self.ok("token", "ls"), b"~%d/all\n" % NOBODY)
        self.assertEqual(self.as_nobody("token", "ls").stdout, b"~/all\n")

    def test_the_audit_log_names_it_and_holds_none_of_it(self):
        token = self.issue("ci")
        self.shows(token, "get", "ci/key")
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        got = [line for line in lines if line.get("op") == "get" and line["uid"] == NOBODY]
        self.assertEqual([(line["by"], line["token"]) for line in got], [("token", "ci")])
        self.assertIn(("token-issue", "ci"), [(line.get("op"), line.get("name")) for line in lines])
        self.assertNotIn(token[4:].decode(), self.log.read_text())
        self.assertIn(b"token ci", self.ok("audit", "show", str(self.log)))
        self.ok("audit", "verify", str(self.log))


class Rules(unittest.TestCase):
    """A policy that names a token."""

    def setUp(self):
        if not ROOT:
            self.skipTest("needs root, to be somebody else")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.folder.chmod(0o755)
        policies = self.folder / "policy.d"
        policies.mkdir(mode=0o755)
        self.policy = policies / "a.conf"
        self.policy.write_text("")
        self.policy.chmod(0o644)
        self.daemon = Daemon("--socket-mode", "0666", "--policy-dir", str(policies))
        self.addCleanup(self.daemon.end)
        _, self.program = programs_for_all(tempfile.mkdtemp(dir=self.folder))
        self.daemon.folder.chmod(0o755)
        self.root = Client(self.daemon.path)
        self.addCleanup(self.root.close)
        self.root.set(b"web/a", b"value")
        self.root.set(b"web/b", b"value")

    def say(self, text):
        self.policy.write_text(text)
        subprocess.run([MGCTL, "--socket", f"unix:{self.daemon.path}", "reload"], check=True,
                       timeout=60)

    def get(self, token, name):
        fd = pipe_of(b"mgt_" + base64.urlsafe_b64encode(token).rstrip(b"="))
        result = subprocess.run(
            as_nobody(self.program, "--socket", f"unix:{self.daemon.path}", "--token-fd", str(fd),
                      "get", name), pass_fds=(fd,), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=60)
        os.close(fd)
        return result.returncode

    def test_deny_wins_and_rules_can_name_it(self):
        token = self.root.issue_token(b"ci", (b"get", b"web/*"))
        self.assertEqual(self.get(token, "web/a"), OK)
        self.say(f"[namespace web]\ndeny = get a uid:{NOBODY}\n")
        self.assertEqual(self.get(token, "web/a"), DENIED)
        self.assertEqual(self.get(token, "web/b"), OK)
        self.say("[namespace web]\ndeny = get b token:ci\n")
        self.assertEqual(self.get(token, "web/a"), OK)
        self.assertEqual(self.get(token, "web/b"), DENIED)
        # What its issuer may not, its bearer may not; what a rule says to the token is another's.
        self.say("[namespace web]\ndeny = get * uid:0\n")
        self.assertEqual(self.get(token, "web/a"), DENIED)
        self.say("[namespace web]\ndeny = get * uid:0\nallow = * * token:ci\n")
        self.assertEqual(self.get(token, "web/a"), OK)


class Kept(unittest.TestCase):
    """Workers come and go."""

    def setUp(self):
        self.daemon = Daemon("--keep", "--socket-mode", "0666")
        self.addCleanup(self.daemon.end)

    def client(self):
        client = Client(self.daemon.path)
        self.addCleanup(client.close)
        return client

    def next_worker(self):
        before = self.client().status().pid
        served = self.daemon.log().count("serves again")
        os.kill(before, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: self.daemon.log().count("serves again") > served))

    def test_a_token_outlives_a_worker_and_so_does_its_end(self):
        first = self.client()
        token = first.issue_token(b"~/a", (b"get", b"~/*"), ttl_ms=600000, uses=5)
        gone = first.issue_token(b"~/b", (b"get", b"~/*"))
        first.revoke_token(b"~/b")
        self.next_worker()
        client = self.client()
        told, = client.list_tokens()
        self.assertEqual((told.name, told.uses, told.left), (b"~/a", 5, 5))
        self.assertTrue(500000 < told.ttl_ms <= 600000)
        client.show_token(token)
        self.assertEqual(client.whoami().token, b"~/a")
        with self.assertRaises(Refused) as caught:
            self.client().show_token(gone)
        self.assertEqual(caught.exception.code, GONE)
        client.show_token(b"")
        self.assertEqual(client.whoami().token, b"")
        self.assertEqual(client.status().broken_tokens, 0)

    def test_uses_are_counted_over_deaths(self):
        if not ROOT:
            self.skipTest("needs root, to be somebody else")
        place = tempfile.mkdtemp(dir=self.daemon.folder)
        self.daemon.folder.chmod(0o755)
        _, program = programs_for_all(place)
        client = self.client()
        client.set(b"a", b"value")
        token = client.issue_token(b"ci", (b"get", b"a"), uses=3)
        codes = []
        for _ in range(4):
            fd = pipe_of(b"mgt_" + base64.urlsafe_b64encode(token).rstrip(b"="))
            codes.append(subprocess.run(
                as_nobody(program, "--socket", f"unix:{self.daemon.path}", "--token-fd", str(fd),
                          "get", "a"), pass_fds=(fd,), stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, timeout=60).returncode)
            os.close(fd)
            self.next_worker()
        self.assertEqual(codes, [OK, OK, OK, GONE])


def memory_of(pid):
    """All that whoever may read a process's memory finds in it."""
    found = []
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            begin, end = (int(number, 16) for number in line.split()[0].split("-"))
            # What is only reserved is no memory, and nor is a sanitizer's.
            if line.split()[1][0] != "r" or end - begin > 1 << 30:
                continue
            try:
                memory.seek(begin)
                found.append(memory.read(end - begin))
            except (OSError, OverflowError, ValueError):
                pass
    return b"\0".join(found)


class Memory(unittest.TestCase):
    def test_the_daemons_memory_holds_none(self):
        with Daemon() as daemon, Client(daemon.path) as client:
            token = client.issue_token(b"look-for-this-name", (b"get", b"look-for-this-glob"))
            client.set(b"a", b"value")
            wrap = client.wrap(b"a", uses=2)
            client.show_token(token)
            self.assertEqual(client.unwrap(wrap), b"value")
            try:
                memory = memory_of(daemon.pid)
            except PermissionError:
                self.skipTest("this user may not read the daemon's memory")
            # What is there is found.
            for known in b"look-for-this-name", b"look-for-this-glob":
                self.assertIn(known, memory)
            for bytes_ in token, wrap:
                for at in range(0, 32, 8):
                    self.assertNotIn(bytes_[at:at + 8], memory)


class Upgraded(UpgradeTest):
    def test_a_token_goes_along_with_an_upgrade(self):
        client = self.client()
        token = client.issue_token(b"~/a", (b"get,stat", b"~/x/**"), (b"*", b"~/y"), uses=7)
        gone = client.issue_token(b"~/b", (b"get", b"~/*"))
        client.revoke_token(b"~/b")
        before = [told.SerializeToString() for told in client.list_tokens()]
        self.upgrade()
        client = self.client()
        self.assertEqual([told.SerializeToString() for told in client.list_tokens()], before)
        client.show_token(token)
        self.assertEqual(client.whoami().token, b"~/a")
        with self.assertRaises(Refused) as caught:
            client.show_token(gone)
        self.assertEqual(caught.exception.code, GONE)


if __name__ == "__main__":
    unittest.main()
