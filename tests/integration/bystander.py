# SPDX-License-Identifier: Apache-2.0
"""Tests of what a bad client does: beside it a healthy one is connected all the time, and after each
test it must be served on, and what was stored must still be there."""

import os
import unittest

from daemon import Daemon, wait_for
from mgwire import Client, Closed, Refused, Wire

KEPT = b"kept/value"


class BystanderTest(unittest.TestCase):
    arguments = ()
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(*cls.arguments, **cls.options)
        cls.addClassCleanup(cls.daemon.end)
        cls.healthy = Client(cls.daemon.path)
        cls.addClassCleanup(cls.healthy.close)
        cls.kept = os.urandom(100000)
        cls.healthy.set(KEPT, cls.kept)

    def setUp(self):
        self.name = ("test/" + self.id().rsplit(".", 1)[1]).encode()
        self.lines = len(self.daemon.closings())
        self.addCleanup(self.check_bystander)

    def check_bystander(self):
        self.assertIsNone(self.daemon.process.poll(), self.daemon.log())
        self.assertEqual(self.healthy.get(KEPT), self.kept)

    def wire(self, **options):
        wire = Wire(self.daemon.path, **options)
        self.addCleanup(wire.close)
        return wire

    def client(self):
        client = Client(self.daemon.path)
        self.addCleanup(client.close)
        return client

    def assertClosed(self, wire, lines=1):
        """That one session ends, with one line in the log."""
        self.assertTrue(wire.is_closed(), "the daemon goes on")
        self.assertTrue(
            wait_for(lambda: len(self.daemon.closings()) >= self.lines + lines), self.daemon.log())
        self.assertEqual(len(self.daemon.closings()), self.lines + lines, self.daemon.log())
        self.lines += lines

    def assertAlone(self):
        """Nobody but the healthy client is connected any more."""
        self.assertTrue(wait_for(lambda: self.healthy.status().sessions == 1),
                        "a session goes on without its client")

    def assertRefused(self, code, call, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **fields)
        self.assertEqual(caught.exception.code, code, caught.exception)
        self.assertTrue(caught.exception.reply.detail, "a refusal says why")

    def assertStored(self, value, name=None):
        self.assertEqual(self.healthy.get(name or self.name), value)

    def assertAbsent(self, name=None):
        with self.assertRaises(Refused) as caught:
            self.healthy.get(name or self.name)
        self.assertEqual(caught.exception.code, 3)

    def write_all(self, wire, data):
        """Writes as far as the other side goes along."""
        try:
            wire.write(data)
        except Closed:
            pass
