# SPDX-License-Identifier: Apache-2.0
"""Nothing takes or gives memory, writes or purges while it uses the masters in one piece: the daemon
and a service with a watch on every view (views.c), through all that makes them use one."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from daemon import Daemon
from mgwire import Client, Closed, Refused, pb

MGCTL = os.environ["MGCTL"]
TOOLS = pathlib.Path(os.environ["SECURITY_TOOLS"])
NOT_FOUND, LOCKED, LIMIT = 3, 5, 8


class Views(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.report = self.folder / "report"

    def watched(self, **more):
        return {**os.environ, "VIEWS_REPORT": str(self.report), **more}

    def start(self, **options):
        house = Daemon(**options)
        self.addCleanup(house.end)
        return house

    def counts(self):
        return tuple(map(int, self.report.read_text().split()))

    def work(self, house):
        """Every verb, values of one chunk and of many, and a name that is not there."""
        with Client(house.path) as client:
            for size in (1, 16385, 400000):
                value = os.urandom(size)
                client.set(b"a/value", value, tags=[(b"k", b"v")])
                self.assertEqual(client.get(b"a/value"), value)
                self.assertEqual(self.verify(house, "a/value", value), 0)
            client.set(b"read/once", b"value", lifetime={"reads": 1})
            client.get(b"read/once")
            client.generate(b"drawn", 4096)
            client.touch(b"drawn", 100000)
            client.freeze(b"drawn")
            client.melt(b"drawn")
            client.stat(b"drawn")
            self.assertEqual(len(client.list(details=True)), 2)
            with self.assertRaises(Refused):
                client.get(b"absent")
            client.lock(bytes(32))
            with self.assertRaises(Refused):
                client.unlock(b"k" * 32)
            client.unlock(bytes(32))
            client.remove(b"drawn")
            client.ask(client.change(purge=pb.Purge(all=True)))
            client.set(b"new", b"value")
        self.assertEqual(house.end(), 0)

    def verify(self, house, name, value):
        return subprocess.run(
            [MGCTL, "verify", name], input=value, timeout=60, check=False,
            env={**os.environ, "MEMGUARD_SOCKET": f"unix:{house.path}"}).returncode

    def daemon_counts(self, **more):
        self.work(self.start(program=str(TOOLS / "memguardd-watched"), env=self.watched(**more)))
        return self.counts()

    def test_the_daemon_does_nothing_of_it_during_a_use(self):
        uses, during_use, *_ = self.daemon_counts()
        self.assertGreater(uses, 60)
        self.assertEqual(during_use, 0)

    def test_an_allocation_in_the_daemon_is_seen(self):
        uses, during_use, *_ = self.daemon_counts(VIEWS_PLANT="yes")
        self.assertGreaterEqual(during_use, uses)

    def attempt(self, house, call, other=LIMIT):
        """Whether it was done; a refusal for want of memory is allowed, and so is an end of the
        connection."""
        try:
            with Client(house.path) as client:
                call(client)
        except Closed:
            return False
        except Refused as refusal:
            self.assertIn(refusal.code, (LIMIT, other))
            return False
        return True

    def insist(self, house, call):
        """What failed for want of memory once is done when it is asked for again."""
        self.assertTrue(self.attempt(house, call) or self.attempt(house, call))

    def holds(self, client, name, values):
        """One of the values, or nothing, which is None."""
        try:
            value = client.get(name)
        except Refused as refusal:
            if refusal.code != NOT_FOUND:
                raise
            value = None
        self.assertIn(value, values)

    def work_without_memory(self, house):
        first, second = os.urandom(40000), os.urandom(70000)
        stored = self.attempt(house, lambda client: client.set(b"a", first, tags=[(b"k", b"v")]))
        again = self.attempt(house, lambda client: client.set(b"a", second))
        self.attempt(house, lambda client: client.generate(b"b", 4096))
        self.attempt(house, lambda client: client.touch(b"b", 100000), NOT_FOUND)
        self.attempt(house, lambda client: client.set(b"c", b"c", lifetime={"reads": 2}))
        self.attempt(house, lambda client: client.get(b"c"), NOT_FOUND)
        self.attempt(house, lambda client: client.list(details=True))
        self.attempt(house, lambda client: client.lock(bytes(32)), LOCKED)
        self.insist(house, lambda client: client.unlock(bytes(32)))
        allowed = [second] if again else [first, second] if stored else [first, second, None]
        self.insist(house, lambda client: self.holds(client, b"a", allowed))
        self.insist(house, lambda client: client.set(b"new", b"value"))
        self.insist(house, lambda client: self.holds(client, b"new", [b"value"]))
        self.assertEqual(house.end(), 0)

    def test_an_allocation_that_fails_while_they_are_joined_harms_nobody(self):
        """The first, the second, ... and every one there is when none fails."""
        most = number = 0
        while number <= most:
            house = self.start(program=str(TOOLS / "memguardd-watched"),
                               env=self.watched(VIEWS_REFUSE=str(number)))
            with self.subTest(number=number):
                self.work_without_memory(house)
            most = self.counts()[3] if number == 0 else most
            number += 1
        self.assertGreater(most, 4)

    def service_counts(self, **more):
        house = self.start()
        with Client(house.path) as client:
            client.set(b"wrong", b"other")
        environment = self.watched(MEMGUARD_SOCKET=f"unix:{house.path}", **more)
        subprocess.run([str(TOOLS / "household-watched"), "value", "wrong"], env=environment,
                       input=os.urandom(100000), check=True, timeout=60)
        return self.counts()

    def test_a_service_does_nothing_of_it_until_they_are_parted(self):
        uses, during_use, while_joined, _ = self.service_counts()
        self.assertGreater(uses, 30)
        self.assertEqual((during_use, while_joined), (0, 0))

    def test_an_allocation_in_a_service_is_seen(self):
        uses, during_use, while_joined, _ = self.service_counts(VIEWS_PLANT="yes")
        self.assertGreaterEqual(during_use, uses)
        self.assertGreaterEqual(while_joined, uses)
