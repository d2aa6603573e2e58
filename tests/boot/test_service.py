# SPDX-License-Identifier: Apache-2.0
"""What the service does for its users and its administrator."""

import json
import secrets

from machine import DENIED, LISTENER, NOT_FOUND, SERVICE, UNREACHABLE, MachineTest

CONFIGURATION = "/etc/memguardd/memguardd.conf"
WRONG_CONFIGURATION = "78"


class ConfiguredTest(MachineTest):
    """Cases with a configuration of their own."""

    def configure(self, *lines):
        self.write(CONFIGURATION, "[daemon]", *lines)

    def refuses_to_start(self, reason):
        """With a line that says why, in the journal and for whoever asks systemctl."""
        self.ok("systemctl", "start", SERVICE, status=1)
        self.assertEqual(self.property(SERVICE, "ExecMainStatus"), WRONG_CONFIGURATION)
        self.assertEqual(self.property(SERVICE, "NRestarts"), "0")
        self.assertIn(reason, self.journal("--identifier=memguardd").splitlines())
        # Of a process that ends at once journald may not find out in time whose it was.
        for _ in range(4):
            words = self.ok("systemctl", "status", SERVICE, status=3)
            self.assertIn(f"status={WRONG_CONFIGURATION}", words)
            if "]: " + reason in words:
                break
            self.ok("systemctl", "start", SERVICE, status=1)
            self.journal()
        self.assertIn("]: " + reason, words)


class Service(MachineTest):
    """Root, two users, and what is written down about them."""

    def test_root_gets_what_it_has_set(self):
        self.mgctl("set", "web/a", stdin=b"hello")
        self.assertEqual(self.mgctl("get", "web/a"), "hello")

    def test_a_user_has_a_space_of_its_own_and_nobody_else_sees_it(self):
        self.mgctl("set", "~/a", user="alice", stdin=b"hers")
        self.assertEqual(self.mgctl("get", "~/a", user="alice"), "hers")
        uid = self.ok("id", "-u", "alice").strip()
        self.mgctl("get", "~/a", user="bob", status=NOT_FOUND)
        self.mgctl("get", f"~{uid}/a", user="bob", status=DENIED)
        self.mgctl("set", f"~{uid}/a", user="bob", stdin=b"his", status=DENIED)
        self.assertEqual(self.mgctl("ls", user="bob"), "")
        self.assertEqual(self.mgctl("get", f"~{uid}/a"), "hers")

    def test_memory_is_what_the_status_says(self):
        status = self.status()
        self.assertEqual((status["memory"], status["advice"]), ("memfd_secret", ""))
        self.assertEqual((status["dumpable"], status["core_limit"]), (False, 0))
        locked = 0
        for pid in self.main_pid(), self.worker():
            self.assertIn(" /secretmem", self.ok("cat", f"/proc/{pid}/maps"))
            locked += int(self.facts(pid)["VmLck"].split()[0]) * 1024
        # The pages of the keys are the keeper's, and count once.
        self.assertEqual(locked, status["locked"])

    def test_no_value_is_in_the_journal_and_a_name_in_the_audit_alone(self):
        value, name, planted = (secrets.token_hex(16) for _ in range(3))
        for user in (None, "alice"):
            self.mgctl("set", f"~/{name}", user=user, stdin=value.encode())
            self.assertEqual(self.mgctl("get", f"~/{name}", user=user), value)
            self.mgctl("verify", f"~/{name}", user=user, stdin=value.encode())
        self.mgctl("get", f"~0/{name}", user="bob", status=DENIED)
        self.ok("systemctl", "kill", "--signal=SEGV", SERVICE)
        self.mgctl("get", f"~/{name}", status=NOT_FOUND)
        self.ok("systemd-cat", "echo", planted)
        written = self.journal("--output=export")
        self.assertTrue(planted in written)
        self.assertFalse(value in written)
        named = [line for line in written.splitlines() if name in line]
        self.assertGreaterEqual(len(named), 3)  # two sets and a get that was denied
        for line in named:
            self.assertIn('"type":"decision"', line)

    def test_without_its_socket_there_is_no_service(self):
        self.mgctl("ping")
        self.ok("systemctl", "stop", LISTENER)
        self.assertEqual(self.property(SERVICE, "ActiveState"), "inactive")
        self.mgctl("ping", status=UNREACHABLE)
        self.ok("systemctl", "start", SERVICE)
        self.assertEqual(self.property(LISTENER, "ActiveState"), "active")
        self.mgctl("ping")


class Trouble(ConfiguredTest):
    """A configuration that cannot be used."""

    REASON = CONFIGURATION + ":2: unknown key 'max-valu'"

    def test_a_wrong_configuration_is_told_and_not_tried_again(self):
        self.configure("max-valu = 3")
        self.refuses_to_start(self.REASON)

    def test_callers_of_a_daemon_that_cannot_start_are_told_so(self):
        self.configure("max-valu = 3")
        for _ in range(3):
            self.mgctl("ping", status=UNREACHABLE)
        self.assertEqual(self.property(LISTENER, "ActiveState"), "failed")
        # As memguardd(8) has it.
        self.configure("max-value = 3")
        self.ok("systemctl", "reset-failed", SERVICE)
        self.ok("systemctl", "start", LISTENER)
        self.assertEqual(self.status()["max_value"], 3)

    def test_less_memory_protection_than_demanded_is_told(self):
        self.configure("memory = require-lock")
        self.drop_in("SystemCallFilter=~@memlock memfd_secret", "SystemCallErrorNumber=EPERM")
        self.refuses_to_start(
            "memory is not as strong as the setting `memory` requires: memory is not locked: mlock "
            "is refused; allow it in the container's or service's system call filter")


class Reload(ConfiguredTest):
    """The unit's own way to take the configuration anew."""

    def setUp(self):
        super().setUp()
        self.mgctl("set", "web/a", stdin=b"roots")
        self.before = self.main_pid(), self.worker()

    def look(self, max_value):
        self.assertEqual(self.status()["max_value"], max_value)
        self.assertEqual((self.main_pid(), self.worker()), self.before)
        self.assertEqual(self.mgctl("get", "web/a"), "roots")
        self.assertEqual(self.property(SERVICE, "ActiveState"), "active")

    def test_it_is_in_force_and_nothing_is_lost(self):
        self.configure("max-value = 5k")
        self.ok("systemctl", "reload", SERVICE)
        self.look(5120)

    def test_a_broken_file_fails_with_its_line_and_changes_nothing(self):
        before = self.status()["max_value"]
        self.configure("max-valu = 5k")
        self.ok("systemctl", "reload", SERVICE, status=1)
        self.assertIn(f"{CONFIGURATION}:2: unknown key 'max-valu'",
                      self.journal(f"--unit={SERVICE}"))
        self.look(before)


class Bundle(ConfiguredTest):
    """Opened with a key that systemd hands over."""

    BUNDLE = "/etc/memguardd/all.bundle"
    KEY = "/root/bundle-key"

    def test_a_new_daemon_opens_it_and_one_that_takes_over_does_not(self):
        self.addCleanup(self.ok, "rm", "-f", self.BUNDLE, self.KEY)
        recipient = self.mgctl("backup", "--new-key", self.KEY).strip()
        self.mgctl("set", "web/a", stdin=b"roots")
        self.mgctl("backup", self.BUNDLE, "--recipient", recipient)
        self.ok("chgrp", "memguardd", self.BUNDLE)
        self.ok("chmod", "0640", self.BUNDLE)
        self.configure(f"bundle = {self.BUNDLE} credential:bundle-key")
        self.drop_in("LoadCredential=bundle-key:" + self.KEY)
        self.ok("systemctl", "stop", SERVICE)
        self.assertEqual(self.mgctl("get", "web/a"), "roots")
        self.mgctl("rm", "web/a")
        self.ok("systemctl", "restart", SERVICE)
        self.mgctl("get", "web/a", status=NOT_FOUND)
        self.ok("systemctl", "stop", SERVICE)
        self.ok("rm", self.KEY)
        self.ok("sh", "-c", f"head -c 32 /dev/urandom >{self.KEY}")
        self.ok("systemctl", "start", SERVICE, status=1)
        self.assertEqual(self.property(SERVICE, "ExecMainStatus"), WRONG_CONFIGURATION)


class NoSecretMemory(ConfiguredTest):
    """A container whose filter has memfd_secret(2) refused, as systemd-nspawn does by itself."""

    offered = ("@memlock",)
    ADVICE = ("memfd_secret is refused: root can read this memory; allow it in the container's or "
              "service's system call filter")

    def test_memory_is_locked_and_all_are_told_what_that_means(self):
        self.mgctl("set", "~/a", user="alice", stdin=b"hers")
        self.assertEqual(self.mgctl("get", "~/a", user="alice"), "hers")
        status = self.status()
        self.assertEqual((status["memory"], status["advice"]), ("mlock", self.ADVICE))
        for pid in self.main_pid(), self.worker():
            self.assertNotIn("/secretmem", self.ok("cat", f"/proc/{pid}/maps"))
        self.assertIn(self.ADVICE, self.journal("--identifier=memguardd", "--priority=warning"))

    def test_who_demands_it_gets_no_daemon(self):
        self.configure("memory = require-secretmem")
        self.refuses_to_start(
            "memory is not as strong as the setting `memory` requires: " + self.ADVICE)


class NoLockedMemory(MachineTest):
    """A container as systemd-nspawn makes it: mlock(2) is refused, too."""

    offered = ()

    def test_the_daemon_serves_and_says_how_it_stands(self):
        self.mgctl("set", "~/a", user="alice", stdin=b"hers")
        status = json.loads(self.mgctl("status", "--json", user="alice"))
        self.assertEqual((status["memory"], status["locked"]), ("not locked", 0))
        self.assertIn("mlock is refused", status["advice"])
        self.assertIn(status["advice"],
                      self.journal("--identifier=memguardd", "--priority=warning"))
