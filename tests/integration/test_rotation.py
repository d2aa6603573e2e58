# SPDX-License-Identifier: Apache-2.0
"""Rotations and moves on the wire, by the client that knows the protocol alone."""

import os

import mgwire
from bystander import BystanderTest
from mgwire import pb

HOUR_MS = 3600000


class Rotations(BystanderTest):
    def get(self, version, name=None):
        return self.healthy.get(name or self.name, version=version)

    def test_every_version_has_a_grace_of_its_own(self):
        client = self.client()
        values = [b"1", os.urandom(200000), b"3"]
        client.set(self.name, values[0], tags=[(b"team", b"web")], lifetime={"reads": 9})
        self.assertEqual(client.set(self.name, values[1], rotation=HOUR_MS), 2)
        self.assertEqual(client.set(self.name, values[2], rotation=2 * HOUR_MS), 3)
        for version, value in enumerate(values, 1):
            self.assertEqual(self.get(version), value)
        self.assertEqual(client.generate(self.name, 40, rotation=0), 4)
        self.assertEqual(self.get(2), values[1])
        self.assertRefused(mgwire.NOT_FOUND, self.get, 3)
        info = client.stat(self.name)
        self.assertEqual((info.version, info.size, info.tags[0].value), (4, 40, b"web"))
        self.assertEqual(info.left.reads, 8)  # version 3 was fetched once, as the current one
        self.assertEqual(len(client.list(self.name)), 1)

    def test_what_is_kept_is_not_asked_for_as_well(self):
        client = self.client()
        client.set(self.name, b"1")
        for fields in ({"tags": [(b"k", b"v")]}, {"lifetime": {"ttl_ms": 5}}, {"freeze": True},
                       {"create_only": True}):
            self.assertRefused(mgwire.INVALID, client.set, self.name, b"x", rotation=0, **fields)
        self.assertRefused(mgwire.INVALID, client.set, self.name, b"x", rotation=1 << 63)
        self.assertStored(b"1")

    def test_there_must_be_something_to_rotate(self):
        client = self.client()
        for value in (b"x", os.urandom(200000)):
            self.assertRefused(mgwire.NOT_FOUND, client.set, self.name, value, rotation=0)
        self.assertRefused(mgwire.NOT_FOUND, client.generate, self.name, 5, rotation=0)
        client.set(self.name, b"1", lifetime={"reads": 1})
        client.get(self.name)
        self.assertRefused(mgwire.GONE, client.set, self.name, b"x", rotation=0)

    def test_a_repeat_gets_its_first_answer(self):
        number, key, value = os.urandom(16), bytes(32), b"2"
        self.healthy.set(self.name, b"1")
        for _ in range(3):
            client = self.client()
            request = client.set_request(self.name, value, key, number=number, rotation=HOUR_MS)
            client.send_value(request, mgwire.seal_value(value, key))
            self.assertEqual(client.answer(request)[0].stored.version, 2)
        self.assertEqual(self.get(1), b"1")
        number = os.urandom(16)
        for _ in range(2):
            self.assertEqual(
                self.client().generate(self.name, 9, number=number, rotation=HOUR_MS), 3)
        for other in (HOUR_MS + 1, None):
            self.assertRefused(
                mgwire.CONFLICT, client.generate, self.name, 9, number=number, rotation=other)


class Moves(BystanderTest):
    def test_a_repeat_gets_its_first_answer(self):
        number, to = os.urandom(16), self.name + b"/to"
        self.healthy.set(self.name, b"1")
        for _ in range(3):
            self.assertEqual(self.client().move(self.name, to, number=number), 1)
        self.healthy.set(self.name, b"another")
        self.assertEqual(self.client().move(self.name, to, number=number), 1)
        self.assertStored(b"another")
        self.assertStored(b"1", to)
        self.assertRefused(
            mgwire.CONFLICT, self.client().move, self.name, self.name + b"/2", number=number)

    def test_a_conflict_tells_a_version_or_none(self):
        client, to = self.client(), self.name + b"/to"
        client.set(self.name, b"1")
        client.set(self.name, b"2")
        client.set(to, b"3")
        for there, fields, version in ((to, {}, 0), (self.name, {}, 0),
                                       (self.name + b"/free", {"compare": True, "version": 1}, 2)):
            with self.assertRaises(mgwire.Refused) as caught:
                client.move(self.name, there, **fields)
            self.assertEqual(caught.exception.code, mgwire.CONFLICT)
            self.assertEqual(caught.exception.reply.stored.version, version)
        self.assertStored(b"2")
        self.assertStored(b"3", to)

    def test_both_names_are_looked_at(self):
        client = self.client()
        client.set(self.name, b"1")
        for bad in (b"", b"a//b", b"a/..", b"\xff", b"n" * 256):
            self.assertRefused(mgwire.INVALID, client.move, self.name, bad)
            self.assertRefused(mgwire.INVALID, client.move, bad, self.name + b"/to")
        request = client.request(move=pb.Move(name=self.name, to=self.name + b"/to"))
        self.assertRefused(mgwire.INVALID, client.ask, request)  # it has no number
        self.assertStored(b"1")
