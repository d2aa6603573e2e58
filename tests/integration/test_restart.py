# SPDX-License-Identifier: Apache-2.0
"""A restart by a service manager that keeps descriptors: what the next daemon finds, and who else
could have had it meanwhile."""

import os
import pathlib
import signal
import time
import unittest

from daemon import count_bytes, descriptors, is_secret, wait_for
from manager import Manager
from mgwire import Client, Closed, Refused, pb

NOT_FOUND = 3
ROOT = os.geteuid() == 0
OTHER_FORMAT = os.environ["OTHER_FORMAT"]


class RestartTest(unittest.TestCase):
    arguments = []

    def setUp(self):
        if not ROOT:
            self.skipTest("only a service manager of root's is trusted with the keys")
        self.manager = self.begin(*self.arguments)

    def begin(self, *arguments, **options):
        manager = Manager(*arguments, **options)
        self.addCleanup(manager.end)
        manager.start()
        return manager

    def client(self):
        client = Client(self.manager.path)
        self.addCleanup(client.close)
        return client

    def restart(self, **environment):
        self.assertEqual(self.manager.stop(), 0, self.manager.log())
        self.manager.start(**environment)


class Restart(RestartTest):
    def test_everything_is_there_again(self):
        client = self.client()
        names = (b"a", b"b", b"c/d")
        for name in names:
            client.set(name, name * 100)
        client.set(b"gone", b"x")
        client.remove(b"gone")
        for _ in range(3):
            self.restart()
        client = self.client()
        for name in names:
            self.assertEqual(client.get(name), name * 100)
        with self.assertRaises(Refused) as caught:
            client.get(b"gone")
        self.assertEqual(caught.exception.code, NOT_FOUND)
        self.assertIn("serves again, with 3 secrets", self.manager.log())

    def test_a_program_of_another_format_begins_with_nothing_and_says_so(self):
        self.client().set(b"a", b"value")
        self.manager.stop()
        before = len(self.manager.log())
        self.manager.program = OTHER_FORMAT
        self.manager.start()
        self.assertEqual(self.manager.store, [])
        self.assertEqual(self.client().list(), [])
        self.assertEqual(self.manager.log()[before:].count("of another version"), 1)
        self.client().set(b"a", b"anew")

    def test_the_store_is_empty_once_the_next_one_serves(self):
        self.client().set(b"a", b"value")
        self.manager.stop()
        names = [name for name, _ in self.manager.store]
        for part in ("keys", "ledger", "listener", "lock"):
            self.assertEqual(
                len([name for name in names if name.startswith(f"memguardd-{part}-")]), 1, names)
        self.manager.start()
        self.assertEqual(self.manager.store, [])

    def test_what_was_pushed_holds_nothing_once_it_was_taken(self):
        """Whoever had a copy of the descriptor finds zeros; before that he found the keys."""
        self.client().set(b"a", b"value")
        self.manager.stop()
        fd = next(os.dup(fd) for name, fd in self.manager.store if "-keys-" in name)
        self.addCleanup(os.close, fd)
        self.assertGreater(count_bytes(fd), 4000)
        self.manager.start()
        self.assertEqual(count_bytes(fd), 0)
        self.assertEqual(self.client().get(b"a"), b"value")

    def test_clients_wait_at_the_same_door(self):
        self.client().set(b"a", b"value")
        before = os.stat(self.manager.path).st_ino
        self.manager.stop()
        self.assertTrue(self.manager.serves())
        self.manager.start()
        self.assertEqual(os.stat(self.manager.path).st_ino, before)

    def test_a_door_that_was_taken_away_is_made_anew(self):
        self.client().set(b"a", b"value")
        self.manager.stop()
        self.manager.path.unlink()
        self.manager.start()
        self.assertEqual(self.client().get(b"a"), b"value")

    def test_no_descriptor_of_the_keys_is_left_anywhere(self):
        self.client().set(b"a", b"value")
        self.restart()
        for pid in [self.manager.main, *children(self.manager.main)]:
            self.assertEqual([link for link in descriptors(pid) if is_secret(link)], [])

    def test_an_older_generation_is_dropped(self):
        self.client().set(b"a", b"old")
        self.manager.stop()
        old = [(name, os.dup(fd)) for name, fd in self.manager.store]
        self.manager.start()
        self.client().set(b"a", b"new")
        self.manager.stop()
        # In front, as systemd gives them.
        self.manager.store[:0] = old
        self.manager.start()
        self.assertEqual(self.client().get(b"a"), b"new")
        self.assertEqual(self.manager.store, [])

    def test_half_of_it_is_nothing(self):
        for part in ("keys", "ledger"):
            self.client().set(b"a", b"value")
            self.manager.stop()
            for entry in [e for e in self.manager.store if f"-{part}-" in e[0]]:
                self.manager.store.remove(entry)
                os.close(entry[1])
            self.manager.start()
            self.assertEqual(self.client().list(), [])
            self.assertEqual(self.manager.store, [])

    def test_what_cannot_be_read_is_said_and_dropped(self):
        self.client().set(b"a", b"value")
        self.manager.stop()
        ledger = next(fd for name, fd in self.manager.store if "-ledger-" in name)
        os.pwrite(ledger, b"\x63\0\0\0\x9c\x39\xc6\x5f", 8)
        self.manager.start()
        self.assertIn("is of another version, or was overwritten", self.manager.log())
        self.assertEqual(self.client().list(), [])
        self.client().set(b"b", b"works")

    def test_keep_off_drops_it_and_says_so(self):
        self.client().set(b"a", b"value")
        self.manager.stop()
        self.manager.arguments.remove("--keep")
        self.manager.start()
        self.assertIn("is dropped: the setting `keep` is off", self.manager.log())
        self.assertEqual(self.client().list(), [])
        self.assertEqual(self.manager.store, [])

    def test_a_stop_under_load_loses_nothing_that_was_acknowledged(self):
        client = self.client()
        done = 0
        self.manager.send(signal.SIGTERM)
        try:
            for i in range(100000):
                client.set(b"n%d" % i, b"%d" % i)
                done = i + 1
        except (Closed, OSError):
            pass
        self.manager.gone()
        self.manager.start()
        client = self.client()
        for i in range(done):
            self.assertEqual(client.get(b"n%d" % i), b"%d" % i)


class Ends(RestartTest):
    """What leaves nothing."""

    def test_other_signals_and_a_shutdown(self):
        for end in (signal.SIGINT, signal.SIGQUIT, "shutdown"):
            with self.subTest(end=end):
                client = self.client()
                client.set(b"a", b"value")
                if end == "shutdown":
                    client.ask(client.request(shutdown=pb.Shutdown()))
                    self.manager.gone()
                else:
                    self.manager.stop(end)
                self.assertEqual(self.manager.store, [])
                self.assertFalse(self.manager.path.exists())
                self.manager.start()
                self.assertEqual(self.client().list(), [])

    def test_a_purge_on_the_way_out_is_one(self):
        client = self.client()
        client.set(b"a", b"value")
        os.kill(self.manager.main, signal.SIGSTOP)
        self.manager.send(signal.SIGTERM)
        self.manager.send(signal.SIGUSR2)
        self.manager.send(signal.SIGCONT)
        self.manager.gone()
        self.manager.start()
        self.assertEqual(self.client().list(), [])

    def test_a_second_term_does_not_wait(self):
        self.client().set(b"a", b"value")
        worker = children(self.manager.main)[0]
        os.kill(worker, signal.SIGSTOP)
        self.manager.send(signal.SIGTERM)
        time.sleep(0.3)
        self.assertIsNone(self.manager.process.poll())
        self.assertEqual(self.manager.stop(), 0)
        self.manager.start()
        self.assertEqual(self.client().get(b"a"), b"value")

    def test_a_worker_that_does_not_leave_is_ended(self):
        self.client().set(b"a", b"value")
        os.kill(children(self.manager.main)[0], signal.SIGSTOP)
        self.assertEqual(self.manager.stop(), 0)
        self.manager.start()
        self.assertEqual(self.client().get(b"a"), b"value")

    def test_a_killed_keeper_leaves_nothing(self):
        self.client().set(b"a", b"value")
        self.manager.stop(signal.SIGKILL)
        self.assertEqual(self.manager.store, [])
        self.manager.start()
        self.assertEqual(self.client().list(), [])


class Strangers(unittest.TestCase):
    """A manager that is not root's: its store is open to every process of our uid."""

    def test_nothing_is_pushed(self):
        manager = Manager()
        self.addCleanup(manager.end)
        if ROOT:
            os.chown(manager.folder / "notify", 65534, 65534)
        manager.start()
        client = Client(manager.path)
        client.set(b"a", b"value")
        client.close()
        self.assertEqual(manager.stop(), 0)
        self.assertEqual(manager.store, [])
        self.assertFalse(any("FDSTORE" in message for message in manager.heard))


def children(pid):
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(number) for number in text.split()]


if __name__ == "__main__":
    unittest.main()
