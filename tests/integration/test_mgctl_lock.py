# SPDX-License-Identifier: Apache-2.0
"""mgctl lock and unlock: where the passphrase comes from, what is told, and what the audit log says
of the time in between."""

import json
import os
import signal
import time

from daemon import wait_for
from mgbundle import key_from_passphrase
from mgctl_case import (DENIED, INTEGRITY, LIMIT, MgctlTest, NOT_FOUND, OK, StrangerTest, TIMEOUT,
                        UNREACHABLE, USAGE)
from mgwire import Client, Refused
from test_audit import AuditTest
from test_mgctl_terminal import TerminalTest, has_echo

LOCKED = 5


class LockTest(MgctlTest):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.open_again)

    def open_again(self):
        if self.json("status")[0]["vault_locked"]:
            self.ok("purge", "--all")


class Lock(LockTest):
    def test_all_is_5_until_it_is_unlocked(self):
        self.store(b"value")
        self.assertEqual(self.ok("lock", stdin=b"passphrase\n"), b"")
        for command in (("get", self.name), ("ls",), ("rm", self.name), ("stat", self.name),
                        ("mv", self.name, "x"), ("touch", "--ttl", "5s", self.name),
                        ("freeze", self.name), ("purge",), ("whoami",),
                        ("policy", "explain", "get", self.name), ("stream", "size", self.name)):
            self.assertIn("locked", self.fails(LOCKED, *command))
        self.fails(LOCKED, "set", self.name, stdin=b"another")
        self.fails(LOCKED, "verify", self.name, stdin=b"value")
        self.fails(LOCKED, "get", "--wait", "60s", self.name)
        self.fails(LOCKED, "stream", "read", self.name)
        self.ok("ping")
        self.ok("reload")
        self.ok("unlock", stdin=b"passphrase\n")
        self.assertEqual(self.ok("get", self.name), b"value")

    def test_a_backup_and_a_restore_are_5_too(self):
        bundle = self.folder / "bundle"
        (self.folder / "pass").write_bytes(b"of the bundle\n")
        def with_passphrase(command):
            with open(self.folder / "pass", "rb") as file:
                os.set_inheritable(file.fileno(), True)
                return self.run_mgctl(command, "--passphrase-fd", str(file.fileno()), str(bundle),
                                      pass_fds=[file.fileno()]).returncode
        self.store(b"value")
        self.assertEqual(with_passphrase("backup"), OK)
        self.ok("lock", stdin=b"p")
        self.assertEqual(with_passphrase("restore"), LOCKED)
        bundle.unlink()
        self.assertEqual(with_passphrase("backup"), LOCKED)
        self.assertFalse(bundle.exists())
        self.ok("unlock", stdin=b"p")
        self.assertEqual(self.ok("get", self.name), b"value")

    def test_the_passphrase_is_one_line_wherever_it_comes_from(self):
        path = self.folder / "line"
        path.write_bytes(b"correct horse\nbattery\n")
        self.ok("lock", "--file", str(path))
        self.ok("unlock", stdin=b"correct horse")
        with open(path, "rb") as file:
            self.ok("lock", "--fd", str(file.fileno()), pass_fds=[file.fileno()])
        self.ok("unlock", "--file", "-", stdin=b"correct horse\nanything")
        self.ok("lock", stdin=b"\x00\xff bytes \x01\n")
        self.ok("unlock", stdin=b"\x00\xff bytes \x01")

    def test_no_passphrase_locks_nothing(self):
        for stdin in (b"", b"\n", b"\nsecond line\n"):
            self.assertIn("empty", self.fails(USAGE, "lock", stdin=stdin))
        self.fails(USAGE, "lock", stdin=b"x" * 5000)
        self.fails(USAGE, "lock", "--file", "/does/not/exist")
        self.fails(USAGE, "lock", "surplus", stdin=b"p")
        self.assertFalse(self.json("status")[0]["vault_locked"])

    def test_twice_is_told(self):
        self.ok("lock", stdin=b"p")
        self.assertIn("already", self.fails(LOCKED, "lock", stdin=b"another"))
        self.ok("unlock", stdin=b"p")
        result = self.run_mgctl("unlock", stdin=b"another")
        self.assertEqual((result.returncode, result.stdout), (OK, b""))
        self.assertIn(b"not locked", result.stderr)

    def test_programs_are_told(self):
        state, = self.json("status")
        self.assertIs(state["vault_locked"], False)
        self.assertIn("secrets", state)
        self.assertEqual(self.json("lock", stdin=b"p"), [{"schema": 1, "vault_locked": True}])
        state, = self.json("status")
        self.assertIs(state["vault_locked"], True)
        self.assertNotIn("secrets", state)
        self.assertIn(b"locked", self.ok("status"))
        line = json.loads(self.fails(LOCKED, "--json", "get", self.name))
        self.assertEqual((line["error"], line["code"]), ("locked", LOCKED))
        line = json.loads(self.fails(INTEGRITY, "--json", "unlock", stdin=b"q"))
        self.assertEqual((line["error"], line["code"]), ("integrity", INTEGRITY))
        self.assertEqual(self.json("unlock", stdin=b"p"), [{"schema": 1, "vault_locked": False}])

    def test_purge_all_is_the_way_out_without_it(self):
        self.store(b"value")
        self.ok("lock", stdin=b"forgotten")
        self.ok("purge", "--all")
        self.fails(NOT_FOUND, "get", self.name)
        self.store(b"new")
        self.assertEqual(self.ok("get", self.name), b"new")

    def test_nobody_there(self):
        nowhere = {"MEMGUARD_SOCKET": "unix:/nowhere"}
        self.fails(UNREACHABLE, "lock", stdin=b"p", env=nowhere)
        self.fails(UNREACHABLE, "unlock", stdin=b"p", env=nowhere)


class Guesses(LockTest):
    """A daemon of its own: what is held against a user is forgotten slowly."""

    def test_another_passphrase_is_11_and_the_next_one_waits(self):
        self.store(b"value")
        self.ok("lock", stdin=b"right")
        for wrong in (b"wrong", b"right ", b"Right"):
            self.assertIn("another one", self.fails(INTEGRITY, "unlock", stdin=wrong))
        # The next wait is longer than it takes to make a key.
        with Client(self.path) as client:
            for _ in range(4):
                self.assertRaises(Refused, client.unlock, bytes(32))
        self.fails(TIMEOUT, "--timeout", "200ms", "unlock", stdin=b"right")
        self.fails(LOCKED, "get", self.name)
        self.ok("--timeout", "60s", "unlock", stdin=b"right")
        self.assertEqual(self.ok("get", self.name), b"value")


class Costs(LockTest):
    """What a daemon takes mgctl unlocks."""

    def test_the_cheapest_key_and_one_of_many_passes(self):
        self.store(b"value")
        for passes in (3, 16):
            key = key_from_passphrase(b"right", b"salt" * 4, passes, 256 << 10)
            with Client(self.path) as client:
                client.lock(key, salt=b"salt" * 4, opslimit=passes, memlimit=256 << 20)
            self.ok("--timeout", "60s", "unlock", stdin=b"right")
            self.assertEqual(self.ok("get", self.name), b"value")


class Strangers(StrangerTest):
    def test_they_neither_lock_nor_unlock(self):
        self.assertEqual(self.as_nobody("lock", input=b"p").returncode, DENIED)
        self.ok("lock", stdin=b"p")
        self.assertEqual(self.as_nobody("unlock", input=b"p").returncode, DENIED)
        self.assertEqual(self.as_nobody("get", "~/a").returncode, LOCKED)
        self.assertEqual(self.as_nobody("get", "a").returncode, DENIED)
        state = json.loads(self.as_nobody("--json", "status").stdout)
        self.assertIs(state["vault_locked"], True)
        self.ok("unlock", stdin=b"p")


class Prompt(TerminalTest):
    def test_it_asks_twice_to_lock_and_once_to_unlock(self):
        terminal = self.terminal("lock")
        terminal.expect(b"passphrase: ")
        self.assertFalse(has_echo(terminal.fd))
        terminal.type(b"hunter2\n")
        terminal.expect(b"once more: ")
        terminal.type(b"hunter2\n")
        self.assertEqual(terminal.end(), OK)
        self.assertNotIn(b"hunter2", terminal.shown)
        terminal = self.terminal("unlock")
        terminal.expect(b"passphrase: ")
        terminal.type(b"hunter2\n")
        self.assertEqual(terminal.end(), OK)
        self.assertNotIn(b"once more", terminal.shown)
        # Nobody is asked for what is not needed.
        terminal = self.terminal("unlock")
        terminal.expect(b"not locked")
        self.assertEqual(terminal.end(), OK)

    def test_a_slip_of_the_finger_locks_nothing(self):
        terminal = self.terminal("lock")
        terminal.expect(b"passphrase: ")
        terminal.type(b"hunter2\n")
        terminal.expect(b"once more: ")
        terminal.type(b"hunter3\n")
        self.assertEqual(terminal.end(), USAGE)
        self.assertIn(b"differ", terminal.shown)
        self.assertFalse(self.json("status")[0]["vault_locked"])
        terminal = self.terminal("--no-input", "lock")
        self.assertEqual(terminal.end(), USAGE)
        terminal = self.terminal("lock", "--once")
        terminal.expect(b"passphrase: ")
        terminal.type(b"hunter2\n")
        self.assertEqual(terminal.end(), OK)
        self.ok("unlock", stdin=b"hunter2")


class Audit(AuditTest):
    """What is decided while it is locked is written, and signed when it is unlocked."""

    options = ("--keep",)

    def client(self):
        client = Client(self.daemon.path)
        self.addCleanup(client.close)
        return client

    def work(self):
        """Somebody asks while it is locked."""
        self.assertEqual(self.mgctl("get", "a").returncode, LOCKED)

    def test_the_tail_is_signed_at_unlock(self):
        self.ok("set", "a", stdin=b"v")
        self.ok("lock", stdin=b"p")
        operations = [record.get("op") for record in self.records()]
        self.assertEqual(operations[-2:], ["lock", None])
        self.assertEqual(self.records()[-1]["type"], "checkpoint")
        signed = self.verify()["signed"]
        self.work()
        # More than the second in which it is signed otherwise.
        time.sleep(1.3)
        found = self.verify()
        self.assertEqual(found["signed"], signed)
        self.assertGreater(found["last"], signed)
        self.ok("unlock", stdin=b"p")
        found = self.verify()
        self.assertEqual(found["signed"], found["last"])
        self.assertEqual(found["notes"], [])
        self.assertEqual([record["op"] for record in self.records() if "op" in record],
                         ["set", "lock", "get", "unlock", "unlock"])

    def tries(self):
        """What is told of them: the decision, and by what."""
        return [(record["decision"], record["by"]) for record in self.records()
                if record.get("op") == "unlock"]

    def test_a_wrong_passphrase_is_told_from_the_right_one(self):
        may, wrong, right = ("allow", "privilege"), ("deny", "passphrase"), ("allow", "passphrase")
        self.ok("lock", stdin=b"p")
        self.assertEqual(self.mgctl("unlock", stdin=b"P").returncode, INTEGRITY)
        self.assertEqual(self.tries(), [may, wrong])
        self.assertIn("has tried to unlock with another passphrase", self.daemon.log())
        self.ok("unlock", stdin=b"p")
        self.assertEqual(self.tries(), [may, wrong, may, right])
        # Nothing is decided of what is not locked but whether one may ask.
        with Client(self.daemon.path) as client:
            client.unlock(bytes(32))
        self.assertEqual(self.tries()[4:], [may])
        self.assertEqual(self.verify()["notes"], [])
        shown = self.ok("audit", "show", "--denied", str(self.log)).splitlines()
        self.assertEqual(len(shown), 1)
        self.assertRegex(shown[0], r"DENIED  uid \d+, pid \d+  unlock  by passphrase$")

    def test_a_worker_that_begins_meanwhile_goes_on_with_the_chain(self):
        self.ok("set", "a", stdin=b"v")
        self.ok("lock", stdin=b"p")
        worker = self.client().status().pid
        os.kill(worker, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: "is locked" in self.daemon.log()))
        self.work()
        self.ok("unlock", stdin=b"p")
        found = self.verify()
        self.assertEqual(found["signed"], found["last"])
        self.assertEqual([note["event"] for note in found["notes"]], [])
        self.assertEqual(len({record["key"] for record in self.records() if "key" in record}), 1)

    def test_a_purge_breaks_it_and_the_break_shows(self):
        self.ok("set", "a", stdin=b"v")
        self.ok("lock", stdin=b"p")
        self.work()
        self.ok("purge", "--all")
        found = self.verify()
        self.assertEqual(found["signed"], found["last"])
        self.assertEqual([note["event"] for note in found["notes"]], ["new_key"])

    def test_a_file_that_is_moved_away_meanwhile_ends_unsigned(self):
        self.ok("set", "a", stdin=b"v")
        self.ok("lock", stdin=b"p")
        self.work()
        older = self.log.with_name("audit.log.1")
        self.log.rename(older)
        self.ok("reload")
        self.work()
        self.ok("unlock", stdin=b"p")
        self.assertEqual(self.records()[0]["type"], "go-on")
        self.assertNotEqual(self.records(older)[-1]["type"], "end")
        found = json.loads(self.ok("--json", "audit", "verify", str(older), str(self.log)))
        self.assertEqual((found["signed"], found["notes"]), (found["last"], []))
