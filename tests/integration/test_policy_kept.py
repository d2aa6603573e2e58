# SPDX-License-Identifier: Apache-2.0
"""The policy that was in force last stays in force, whatever the files say when a worker dies."""

import os
import pathlib
import shutil
import signal
import tempfile
import unittest

import mgwire
from daemon import wait_for
from mgctl_case import ROOT
from mgwire import pb
from test_keeper import KeeperTest
from upgrade_case import UpgradeTest

FAILPOINTS = os.environ["FAILPOINTS"]
DENIED, NOT_FOUND = 4, 3
DENY = "[namespace web]\ndeny = get ** anybody\n"


class Files:
    """A folder of policies and a configuration, outside the daemon's own."""

    def make_files(self):
        place = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, place, ignore_errors=True)
        self.config = place / "memguardd.conf"
        self.folder = place / "policy.d"
        self.folder.mkdir(mode=0o755)
        self.say(self.config, "[daemon]\nmax-value = 64k\n")
        self.say(self.folder / "web.conf", "[namespace web]\n")

    def say(self, file, text):
        file.write_text(text)
        file.chmod(0o644)

    def reload(self, client):
        client.ask(client.request(reload=pb.Reload()))

    def assertAnswer(self, code, client, name):
        with self.assertRaises(mgwire.Refused) as caught:
            client.get(name)
        self.assertEqual(caught.exception.code, code)


class Workers(Files, KeeperTest):
    def setUp(self):
        self.make_files()
        self.daemon = self.start("--config", str(self.config), f"--policy-dir={self.folder}")
        self.assertAnswer(NOT_FOUND, self.client(), b"web/x")

    def test_what_was_reloaded_holds_though_all_files_are_broken(self):
        self.say(self.folder / "web.conf", DENY)
        self.say(self.config, "[daemon]\nmax-value = 32k\n")
        self.reload(self.client())
        self.say(self.folder / "web.conf", "[namespace web]\nallow = fetch\n")
        self.say(self.config, "nonsense")
        for _ in range(2):
            self.next_worker()
            client = self.client()
            self.assertAnswer(DENIED, client, b"web/x")
            self.assertAnswer(NOT_FOUND, client, b"other")
            self.assertEqual(client.status().max_value, 32768)
        with self.assertRaises(mgwire.Refused) as caught:
            self.reload(client)
        self.assertEqual(caught.exception.code, 1)
        self.assertAnswer(DENIED, client, b"web/x")

    def test_a_death_is_no_reload(self):
        self.say(self.folder / "web.conf", DENY)
        self.reload(self.client())
        self.say(self.folder / "web.conf", "[namespace web]\n")
        self.say(self.config, "[daemon]\nmax-value = 1k\n")
        self.next_worker()
        self.assertAnswer(DENIED, self.client(), b"web/x")
        self.assertEqual(self.client().status().max_value, 65536)
        self.reload(self.client())
        self.assertAnswer(NOT_FOUND, self.client(), b"web/x")
        self.assertEqual(self.client().status().max_value, 1024)
        self.next_worker()
        self.assertAnswer(NOT_FOUND, self.client(), b"web/x")

    def test_nor_is_one_before_any_reload(self):
        self.say(self.folder / "web.conf", "nonsense")
        self.next_worker()
        self.assertAnswer(NOT_FOUND, self.client(), b"web/x")

    def test_a_reload_that_was_refused_changes_nothing_for_the_next_one(self):
        self.say(self.folder / "web.conf", DENY)
        self.reload(self.client())
        self.say(self.folder / "web.conf", "nonsense")
        with self.assertRaises(mgwire.Refused):
            self.reload(self.client())
        self.next_worker()
        self.assertAnswer(DENIED, self.client(), b"web/x")

    def test_a_folder_that_was_given_up_stays_given_up(self):
        self.say(self.config, f"[daemon]\npolicy-dir = {self.folder}\n")
        self.say(self.folder / "web.conf", DENY)
        daemon = self.start("--config", str(self.config))
        self.assertAnswer(DENIED, self.client(daemon), b"web/x")
        self.say(self.config, "[daemon]\n")
        self.reload(self.client(daemon))
        self.assertAnswer(NOT_FOUND, self.client(daemon), b"web/x")
        self.say(self.config, f"[daemon]\npolicy-dir = {self.folder}\n")
        self.next_worker(daemon=daemon)
        self.assertAnswer(NOT_FOUND, self.client(daemon), b"web/x")

    def test_a_signal_that_finds_no_worker_is_the_next_ones(self):
        self.say(self.folder / "web.conf", DENY)
        os.kill(self.daemon.pid, signal.SIGSTOP)
        os.kill(self.worker(), signal.SIGKILL)
        os.kill(self.daemon.pid, signal.SIGHUP)
        os.kill(self.daemon.pid, signal.SIGCONT)
        self.assertTrue(wait_for(lambda: "took the configuration anew" in self.daemon.log()))
        self.assertAnswer(DENIED, self.client(), b"web/x")

    def test_many_reloads_leave_the_keeper_no_descriptors(self):
        if not ROOT:
            self.skipTest("needs root, to look into a process that is not dumpable")
        self.reload(self.client())
        self.next_worker()  # behind which the keeper has what was read
        before = len(os.listdir(f"/proc/{self.daemon.pid}/fd"))
        client = self.client()
        for i in range(50):
            self.say(self.folder / "web.conf", "nonsense" if i % 2 else DENY)
            try:
                self.reload(client)
            except mgwire.Refused:
                self.assertEqual(i % 2, 1)
        self.next_worker()
        self.assertAnswer(DENIED, self.client(), b"web/x")
        self.assertEqual(len(os.listdir(f"/proc/{self.daemon.pid}/fd")), before)


class Upgrades(Files, UpgradeTest):
    """The new program stands still once it has read the files, while the old one serves on."""

    origin = FAILPOINTS

    def setUp(self):
        self.make_files()
        self.arguments = [f"--policy-dir={self.folder}"]
        os.environ["FAILPOINT"] = f"accepting:{int(signal.SIGSTOP)}"
        self.addCleanup(os.environ.pop, "FAILPOINT", None)
        super().setUp()
        self.replace()

    def begin(self):
        client = self.client()
        client.ask(client.request(upgrade=pb.Upgrade()))
        self.assertTrue(wait_for(lambda: self.stopped() is not None))
        return self.stopped()

    def stopped(self):
        path = os.fsencode(self.manager.path)
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and path in (entry / "cmdline").read_bytes().split(b"\0") \
                        and (entry / "stat").read_text().rpartition(")")[2].split()[0] == "T":
                    return int(entry.name)
            except OSError:
                pass
        return None

    def attempt(self, text, outcome):
        """Reloads while the new program stands still, has the files say `text`, and lets it go on
        until there is an `outcome`. It has seconds to answer: on a busy machine once more."""
        for _ in range(5):
            late = self.manager.log().count("did not answer")
            pid = self.begin()
            self.say(self.folder / "web.conf", DENY)
            self.reload(self.client())
            self.assertAnswer(DENIED, self.client(), b"web/x")
            self.say(self.folder / "web.conf", text)
            os.kill(pid, signal.SIGCONT)
            self.assertTrue(wait_for(
                lambda: outcome() or self.manager.log().count("did not answer") > late))
            if outcome():
                return
        self.fail(self.manager.log())

    def test_what_was_reloaded_meanwhile_is_in_force(self):
        self.attempt(DENY, lambda: self.manager.main != self.keeper)
        self.assertAnswer(DENIED, self.client(), b"web/x")

    def test_where_the_files_are_broken_by_then_the_old_one_goes_on(self):
        self.attempt("nonsense", lambda: "nobody is served: " in self.manager.log())
        self.assertTrue(wait_for(lambda: "came to nothing" in self.manager.log()))
        self.assertAnswer(DENIED, self.client(), b"web/x")
        self.assertEqual(self.manager.main, self.keeper)


if __name__ == "__main__":
    unittest.main()
