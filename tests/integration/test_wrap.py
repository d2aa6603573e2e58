# SPDX-License-Identifier: Apache-2.0
"""A secret on its way to somebody, once: through mgctl and on the wire."""

import base64
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import unittest

from daemon import Daemon, wait_for
from mgctl_case import DENIED, GONE, NOT_FOUND, OK, USAGE, MgctlTest, StrangerTest
from mgwire import Client, Refused
from strangers import NOBODY
from upgrade_case import UpgradeTest

FORM = re.compile(rb"mgw_[A-Za-z0-9_-]{43}")


class WrapTest(MgctlTest):
    """A daemon each: what is held against a caller lasts for minutes."""

    def setUp(self):
        super().setUp()
        self.tearDownClass()
        self.setUpClass()


class Wrap(WrapTest):
    def test_a_wrap_has_its_form_and_comes_back_as_the_value(self):
        for size in (1, 16384, 16385, 1 << 20):
            value = os.urandom(size)
            self.store(value)
            wrap = self.ok("wrap", self.name)
            self.assertTrue(FORM.fullmatch(wrap), wrap)
            self.assertEqual(self.ok("unwrap", stdin=wrap), value)
            self.assertIn("unwrapped before", self.fails(GONE, "unwrap", stdin=wrap))

    def test_it_goes_where_a_value_goes(self):
        self.store(b"value")
        place = self.folder / "wrap"
        self.assertEqual(self.ok("wrap", "--uses", "4", "--out", str(place), self.name), b"")
        self.assertEqual(stat.S_IMODE(place.stat().st_mode), 0o600)
        wrap = place.read_bytes()
        self.assertEqual(self.ok("unwrap", stdin=wrap + b"\n"), b"value")
        self.assertEqual(self.ok("unwrap", "--encode", "hex", stdin=wrap), b"value".hex().encode())
        answer, = self.json("unwrap", stdin=wrap)
        self.assertEqual(answer, {"schema": 1, "version": 1, "size": 5,
                                  "value_b64": base64.b64encode(b"value").decode()})
        out = self.folder / "out"
        self.ok("unwrap", "--out", str(out), stdin=wrap)
        self.assertEqual(out.read_bytes(), b"value")
        self.fails(GONE, "unwrap", "--out", str(self.folder / "none"), stdin=wrap)
        self.assertFalse((self.folder / "none").exists())
        answer, = self.json("wrap", self.name)
        self.assertTrue(FORM.fullmatch(base64.b64decode(answer["value_b64"])))

    def test_lookup_tells_and_uses_nothing(self):
        self.store(b"value")
        wrap = self.ok("wrap", "--ttl", "10m", "--uses", "2", self.name)
        answer, = self.json("unwrap", "--lookup", stdin=wrap)
        self.assertEqual((answer["name"], answer["issuer"], answer["uses"], answer["left"]),
                         (self.name, os.geteuid(), 2, 2))
        self.assertTrue(590000 < answer["ttl_ms"] <= 600000)
        self.assertLess(abs(answer["created_ms"] - time.time() * 1000), 10000)
        words = self.ok("unwrap", "--lookup", stdin=wrap)
        self.assertIn(b"2 of 2", words)
        self.assertNotIn(b"value", words)
        self.ok("unwrap", stdin=wrap)
        self.assertIn(b"1 of 2", self.ok("unwrap", "--lookup", stdin=wrap))
        self.ok("unwrap", stdin=wrap)
        self.fails(GONE, "unwrap", "--lookup", stdin=wrap)
        # An hour, when nothing is said.
        answer, = self.json("unwrap", "--lookup", stdin=self.ok("wrap", self.name))
        self.assertTrue(3590000 < answer["ttl_ms"] <= 3600000)
        self.assertEqual(answer["uses"], 1)

    def test_its_time_ends_it(self):
        self.store(b"value")
        wrap = self.ok("wrap", "--ttl", "300ms", self.name)
        time.sleep(0.4)
        self.fails(DENIED, "unwrap", stdin=wrap)

    def test_what_was_changed_since_is_12(self):
        self.store(b"value")
        wraps = [self.ok("wrap", self.name) for _ in range(2)]
        self.store(b"another")
        self.assertIn("changed", self.fails(GONE, "unwrap", stdin=wraps[0]))
        wrap = self.ok("wrap", self.name)
        self.ok("rm", self.name)
        self.fails(GONE, "unwrap", stdin=wrap)
        self.store(b"value")
        self.fails(GONE, "unwrap", stdin=wraps[1])

    def test_what_is_not_said_right_is_2(self):
        self.store(b"value")
        for text in (b"", b"mgw_", b"mgt_" + b"A" * 43, b"mgw_" + b"+" * 43, b"mgw_" + b"A" * 44):
            self.fails(USAGE, "unwrap", stdin=text)
        words = self.fails(USAGE, "unwrap", "mgw_secret", stdin=b"")
        self.assertNotIn("mgw_secret", words)
        self.fails(USAGE, "wrap", "--uses", "0", self.name)
        self.fails(NOT_FOUND, "wrap", "absent")
        self.fails(DENIED, "unwrap", stdin=b"mgw_" + b"A" * 43)


class Others(StrangerTest):
    """Root wraps, and somebody else unwraps; or somebody else still."""

    @classmethod
    def setUpClass(cls):
        cls.log = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-")) / "audit"
        cls.daemon_options = ["--socket-mode", "0666", "--audit", "denies", "--audit-file",
                              str(cls.log)]
        super().setUpClass()

    def test_a_second_one_is_12_and_an_alarm(self):
        self.store(b"value")
        wrap = self.ok("wrap", self.name)
        self.assertEqual(self.as_nobody("get", self.name).returncode, DENIED)
        first = self.as_nobody("unwrap", input=wrap)
        self.assertEqual((first.returncode, first.stdout), (OK, b"value"), first.stderr)
        self.assertEqual(self.as_nobody("unwrap", "--lookup", input=wrap).returncode, GONE)
        second = self.as_nobody("unwrap", input=wrap)
        self.assertEqual((second.returncode, second.stdout), (GONE, b""))
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        alarms = [line for line in lines if "alarm" in line]
        self.assertEqual([(line["alarm"], line["op"], line["name"], line["uid"], line["decision"])
                          for line in alarms],
                         [("unwrapped_again", "unwrap", self.name, NOBODY, "deny")])
        self.assertNotIn(wrap[4:].decode(), self.log.read_text())
        self.assertIn(b"ALARM: unwrapped_again", self.ok("audit", "show", str(self.log)))

    def test_of_many_at_once_one_has_it(self):
        self.store(b"value")
        wrap = self.ok("wrap", self.name)
        processes = []
        for _ in range(10):
            process = subprocess.Popen(self.nobody("unwrap"), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       env=self.environment)
            process.stdin.write(wrap)
            process.stdin.close()
            processes.append(process)
        results = []
        for process in processes:
            output = process.stdout.read()
            process.stdout.close()
            results.append((process.wait(60), output))
        self.assertEqual(sorted(results), [(OK, b"value")] + [(GONE, b"")] * 9)

    def test_a_stranger_wraps_its_own_and_nothing_else(self):
        self.store(b"value")
        self.assertEqual(self.as_nobody("wrap", self.name).returncode, DENIED)
        self.as_nobody("set", "~/mine", input=b"mine")
        wrap = self.as_nobody("wrap", "~/mine").stdout
        self.assertEqual(self.json("unwrap", "--lookup", stdin=wrap)[0]["name"],
                         f"~{NOBODY}/mine")
        self.assertEqual(self.ok("unwrap", stdin=wrap), b"mine")


class Logged(unittest.TestCase):
    def test_the_daemons_log_has_the_alarm(self):
        with Daemon() as daemon, Client(daemon.path) as client:
            client.set(b"a", b"value")
            wrap = client.wrap(b"a")
            self.assertEqual(client.unwrap(wrap), b"value")
            self.assertNotIn("ALARM", daemon.log())
            with self.assertRaises(Refused) as caught:
                client.unwrap(wrap)
            self.assertEqual(caught.exception.code, GONE)
            self.assertTrue(wait_for(lambda: "ALARM" in daemon.log()))
            self.assertIn(f"uid {os.geteuid()}", daemon.log())

    def test_a_flood_of_them_is_a_few_lines_there_and_all_in_the_audit_log(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, folder)
        tries = 400

        def lines():
            return [line for line in daemon.log().splitlines() if "ALARM" in line]

        def left_out():
            return sum(int(line.split("; ")[1].split()[0]) for line in lines() if "; " in line)

        def again(count):
            for _ in range(count):
                with self.assertRaises(Refused) as caught:
                    client.unwrap(wrap)
                self.assertEqual(caught.exception.code, GONE)

        with Daemon("--audit=denies", "--audit-file", str(folder / "audit")) as daemon, \
                Client(daemon.path) as client:
            client.set(b"a", b"value")
            wrap = client.wrap(b"a")
            client.unwrap(wrap)
            before = time.monotonic()
            again(1)
            self.assertTrue(wait_for(lambda: len(lines()) == 1))
            again(tries - 1)
            time.sleep(1.1)
            again(1)
            most = 10 + time.monotonic() - before
            self.assertTrue(wait_for(lambda: len(lines()) + left_out() == tries + 1))
            self.assertGreaterEqual(len(lines()), 11)
            self.assertLessEqual(len(lines()), most)
            records = [json.loads(line) for line in (folder / "audit").read_text().splitlines()]
            self.assertEqual(sum("alarm" in record for record in records), tries + 1)


class Kept(unittest.TestCase):
    def test_who_asks_again_behind_a_worker_has_the_same(self):
        numbers = [os.urandom(16) for _ in range(3)]
        grant = (b"get", b"**")
        with Daemon("--keep") as daemon:
            with Client(daemon.path) as client:
                client.set(b"a", b"value")
                wrap = client.wrap(b"a", number=numbers[0])
                token = client.issue_token(b"~/t", grant, number=numbers[1])
                client.issue_token(b"~/gone", grant)
                client.revoke_token(b"~/gone", number=numbers[2])
                os.kill(client.status().pid, signal.SIGKILL)
            self.assertTrue(wait_for(lambda: "serves again" in daemon.log()))
            with Client(daemon.path) as client:
                self.assertEqual(client.wrap(b"a", number=numbers[0]), wrap)
                self.assertEqual(client.issue_token(b"~/t", grant, number=numbers[1]), token)
                client.revoke_token(b"~/gone", number=numbers[2])
                self.assertEqual([entry.name for entry in client.list_tokens()], [b"~/t"])
                self.assertEqual(client.unwrap(wrap), b"value")
                self.assertEqual(client.wrap(b"a", number=numbers[0]), wrap)
                for call, code in (
                        (lambda: client.wrap(b"a", number=numbers[0], uses=2), 7),
                        (lambda: client.issue_token(b"~/u", grant, number=numbers[1]), 7),
                        (lambda: client.revoke_token(b"~/t", number=numbers[2]), 7),
                        (lambda: client.revoke_token(b"~/gone"), NOT_FOUND),
                        (lambda: client.unwrap(wrap), GONE)):
                    with self.assertRaises(Refused) as caught:
                        call()
                    self.assertEqual(caught.exception.code, code)

    def test_a_wrap_outlives_a_worker_and_its_use_does(self):
        with Daemon("--keep") as daemon:
            value = os.urandom(100000)
            with Client(daemon.path) as client:
                client.set(b"a", value)
                wraps = [client.wrap(b"a", ttl_ms=600000) for _ in range(2)]
                self.assertEqual(client.unwrap(wraps[0]), value)
                os.kill(client.status().pid, signal.SIGKILL)
            self.assertTrue(wait_for(lambda: "serves again" in daemon.log()))
            with Client(daemon.path) as client:
                with self.assertRaises(Refused) as caught:
                    client.unwrap(wraps[0])
                self.assertEqual(caught.exception.code, GONE)
                self.assertEqual(client.look_up_wrap(wraps[1]).left, 1)
                self.assertEqual(client.unwrap(wraps[1]), value)


class Upgraded(UpgradeTest):
    def test_a_wrap_goes_along_with_an_upgrade(self):
        client = self.client()
        client.set(b"a", b"value")
        wrap = client.wrap(b"a", uses=2)
        self.assertEqual(client.unwrap(wrap), b"value")
        self.upgrade()
        client = self.client()
        self.assertEqual(client.look_up_wrap(wrap).left, 1)
        self.assertEqual(client.unwrap(wrap), b"value")
        with self.assertRaises(Refused) as caught:
            client.unwrap(wrap)
        self.assertEqual(caught.exception.code, GONE)


if __name__ == "__main__":
    unittest.main()
