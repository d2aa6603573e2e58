# SPDX-License-Identifier: Apache-2.0
"""The commands that rule over the daemon as a whole: purge, reload (test_reload.py),
upgrade, shutdown."""

import json
import os
import subprocess

from mgctl_case import (DENIED, GONE, MEMGUARDD, MGCTL, NO, NOT_FOUND, OK, USAGE, MgctlTest,
                        StrangerTest)


class Purge(MgctlTest):
    def test_all_is_gone_and_new_secrets_work(self):
        self.store(b"old")
        self.assertEqual(self.ok("purge", "--all"), b"")
        self.fails(NOT_FOUND, "get", self.name)
        self.assertEqual(self.ok("ls"), b"")
        self.store(b"new")
        self.assertEqual(self.ok("get", self.name), b"new")

    def test_the_count_is_told_in_json_and_when_asked(self):
        self.ok("purge", "--all")
        self.store(b"1")
        self.assertEqual(self.json("purge"), [{"schema": 1, "purged": 1}])
        self.assertEqual(self.json("purge", "--mine"), [{"schema": 1, "purged": 0}])
        words = self.run_mgctl("-v", "purge", "--all").stderr
        self.assertIn(b"destroyed 0 secrets", words)
        self.store(b"1")
        words = self.run_mgctl("-v", "purge", "--all").stderr
        self.assertIn(b"destroyed 1 secret\n", words)

    def test_both_at_once_are_refused(self):
        self.store(b"kept")
        self.assertIn("--mine and --all", self.fails(USAGE, "purge", "--mine", "--all"))
        self.fails(USAGE, "purge", "everything")
        self.assertEqual(self.ok("get", self.name), b"kept")

    def test_a_get_under_way_ends_with_12(self):
        value = os.urandom(1 << 20)
        self.store(value)
        # The pipe takes 64 KiB and nobody reads on: the rest of the chunks is still to come.
        reader = subprocess.Popen([MGCTL, "get", self.name], env=self.environment,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self.assertEqual(reader.stdout.read(1000), value[:1000])
        self.ok("purge", "--all")
        rest, words = reader.communicate(timeout=60)
        # What had left the daemon before may be the whole value; else it ends as said.
        if reader.returncode == OK:
            self.assertEqual(rest, value[1000:])
        else:
            self.assertEqual(reader.returncode, GONE, words)
            self.assertTrue(value[1000:].startswith(rest))


class Upgrade(MgctlTest):
    """Without a keeper; what it makes of one is in test_mgctl_upgrade.py."""

    def test_it_is_refused_and_all_is_as_it_was(self):
        self.store(b"kept")
        before, = self.json("status")
        words = self.fails(NO, "upgrade")
        self.assertIn("no keeper", words)
        self.assertIn("keep", words)
        error = json.loads(self.fails(NO, "--json", "upgrade"))
        self.assertEqual((error["error"], error["code"]), ("no", NO))
        self.fails(USAGE, "upgrade", "now")
        after, = self.json("status")
        self.assertEqual([after[key] for key in ("pid", "keeper", "failed_upgrades", "upgrading")],
                         [before["pid"], 0, 0, False])
        self.assertEqual(self.ok("get", self.name), b"kept")


class Strangers(StrangerTest):
    def test_nobody_else_rules(self):
        self.store(b"kept")
        for arguments in (["purge", "--all"], ["reload"], ["upgrade"], ["shutdown"]):
            self.assertEqual(self.as_nobody(*arguments).returncode, DENIED)
        self.assertEqual(self.ok("get", self.name), b"kept")

    def test_everybody_purges_its_own(self):
        self.store(b"kept")
        self.ok("set", "~65534/from-root", stdin=b"1")
        self.assertEqual(self.as_nobody("set", "~/own", input=b"1").returncode, OK)
        result = self.as_nobody("purge", "--json")
        self.assertEqual(json.loads(result.stdout)["purged"], 2)
        self.assertEqual(self.as_nobody("ls").stdout, b"")
        self.assertEqual(self.ok("get", self.name), b"kept")


class Shutdown(MgctlTest):
    def test_it_ends_the_daemon_and_waits_for_that(self):
        place = self.folder / "other"
        other = subprocess.Popen([MEMGUARDD, "--socket", str(place)], stderr=subprocess.PIPE)
        self.addCleanup(other.stderr.close)
        self.ok("ping", "--wait-ready", "10s", "--socket", str(place))
        self.ok("set", "a", "--socket", str(place), stdin=b"1")
        self.assertEqual(self.json("shutdown", "--socket", str(place)),
                         [{"schema": 1, "endpoint": f"unix:{place}"}])
        self.assertEqual(other.wait(60), 0)
        self.assertFalse(place.exists())
        self.assertIn(b"ending, as uid %d asks" % os.geteuid(), other.stderr.read())
        self.ok("ping")
