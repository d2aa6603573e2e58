# SPDX-License-Identifier: Apache-2.0
"""A daemon in which one byte too many is written behind a key on the workbench: the session whose
request it was ends, and everybody else is served on."""

import os
import pathlib
import unittest

from daemon import Daemon, wait_for
from mgwire import Client, Closed, announce, pb, seal_value

PLANTED = pathlib.Path(os.environ["SECURITY_TOOLS"]) / "memguardd-planted"
MAGIC = 666  # bytes of a value whose fetch overruns; planted.c knows it


class Overrun(unittest.TestCase):
    def start(self, **environment):
        house = Daemon(program=str(PLANTED), env={**os.environ, **environment})
        self.addCleanup(house.end)
        return house

    def client(self, house):
        client = Client(house.path)
        self.addCleanup(client.close)
        return client

    def test_that_session_ends_and_the_others_go_on(self):
        house = self.start(LEAK="overrun")
        healthy, magic, other = self.client(house), os.urandom(MAGIC), os.urandom(100000)
        healthy.set(b"magic", magic)
        healthy.set(b"other", other)
        for _ in range(3):
            with Client(house.path) as victim:
                self.assertEqual(victim.get(b"other"), other)
                with self.assertRaises(Closed):
                    victim.get(b"magic")
            self.assertEqual(healthy.get(b"other"), other)
            healthy.set(b"new", b"value")
            self.assertEqual(healthy.get(b"new"), b"value")
        self.assertTrue(wait_for(lambda: "canary" in house.log()))
        self.assertIsNone(house.process.poll())

    def test_what_the_others_have_under_way_is_not_disturbed(self):
        house = self.start(LEAK="overrun")
        healthy, waiter = self.client(house), self.client(house)
        magic, value, key = os.urandom(MAGIC), os.urandom(100000), os.urandom(32)
        healthy.set(b"magic", magic)
        wait = waiter.request(get=pb.Get(name=b"awaited", wait_ms=20000))
        waiter.send(wait)
        chunks = seal_value(value, key)
        half = healthy.set_request(b"half", value, key)
        half.chunks.CopyFrom(announce(0, chunks[:3], False))
        healthy.send(half, chunks=b"".join(chunks[:3]))
        with Client(house.path) as victim:
            with self.assertRaises(Closed):
                victim.get(b"magic")
        rest = pb.Request(id=half.id, chunks=announce(3, chunks[3:], True))
        healthy.send(rest, chunks=b"".join(chunks[3:]))
        healthy.answer(half)
        self.assertEqual(healthy.get(b"half"), value)
        healthy.set(b"awaited", value)
        self.assertEqual(waiter.take_value(wait), value)
        self.assertEqual(len(house.closings()), 1)
        self.assertIn("canary", house.closings()[0])

    def test_without_the_plant_it_is_a_fetch_like_any_other(self):
        house = self.start()
        client, magic = self.client(house), os.urandom(MAGIC)
        client.set(b"magic", magic)
        self.assertEqual(client.get(b"magic"), magic)
