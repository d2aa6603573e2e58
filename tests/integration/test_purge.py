# SPDX-License-Identifier: Apache-2.0
"""What a purge does to what is on its way: no chunk leaves any more, and a reader that does not take
what had left already does not keep it for long."""

import os
import signal
import time

import mgwire
from bystander import BystanderTest
from mgwire import pb

GONE = 12
READER_SECONDS = 30  # PROTOCOL.md: what a reader has that nothing was purged of
LARGE = 8 << 20


class Readers(BystanderTest):
    arguments = ("--max-value", "16m")

    def check_bystander(self):
        """Nothing is kept through a purge but the healthy client's connection."""
        self.assertIsNone(self.daemon.process.poll(), self.daemon.log())
        self.healthy.set(b"kept/value", self.kept)
        self.assertEqual(self.healthy.get(b"kept/value"), self.kept)

    def purge(self):
        return self.healthy.ask(self.healthy.change(purge=pb.Purge(all=True))).purged.secrets

    def begin(self):
        """A get of a large value, of which one frame has been read."""
        value = os.urandom(LARGE)
        self.healthy.set(self.name, value)
        reader = self.client()
        request = reader.request(get=pb.Get(name=self.name))
        reader.send(request)
        reply, chunks = reader.answer(request)
        return reader, request, reply, value

    def test_a_reader_gets_the_right_chunks_and_then_12(self):
        reader, request, reply, value = self.begin()
        self.assertEqual(self.purge(), 2)
        key, due, opened = reply.value.data_key, 0, b""
        with self.assertRaises(mgwire.Refused) as caught:
            while True:
                reply, chunks = reader.answer(request)
                for chunk in chunks:
                    opened += mgwire.open_chunk(chunk, due, False, key)
                    due += 1
        self.assertEqual(caught.exception.code, GONE)
        self.assertLess(len(opened), LARGE // 2)
        self.assertTrue(value.startswith(opened))
        reader.ping()

    def test_a_reader_that_does_not_read_is_closed_within_a_second(self):
        reader, *_ = self.begin()
        time.sleep(0.2)
        begin = time.monotonic()
        self.purge()
        self.assertAlone()
        self.assertLess(time.monotonic() - begin, READER_SECONDS - 5)
        self.assertIn("does not read", self.daemon.closings()[-1])

    def test_a_reader_that_reads_slowly_has_no_longer(self):
        reader, *_ = self.begin()
        time.sleep(0.2)
        self.purge()
        begin = time.monotonic()
        while self.healthy.status().sessions > 1:
            self.assertLess(time.monotonic() - begin, READER_SECONDS - 5, "what was purged waits on")
            self.assertTrue(reader.socket.recv(100))
            time.sleep(0.05)

    def test_usr2_does_the_same(self):
        reader, request, *_ = self.begin()
        self.daemon.process.send_signal(signal.SIGUSR2)
        with self.assertRaises(mgwire.Refused) as caught:
            while True:
                reader.answer(request)
        self.assertEqual(caught.exception.code, GONE)

    def test_a_set_under_way_answers_12(self):
        value = os.urandom(200000)
        sender = self.client()
        chunks = mgwire.seal_value(value, bytes(32))
        request = sender.set_request(self.name, value, bytes(32))
        request.chunks.CopyFrom(mgwire.announce(0, chunks[:4], False))
        sender.send(request, chunks=b"".join(chunks[:4]))
        sender.ping()
        self.purge()
        again = pb.Request(id=request.id, chunks=mgwire.announce(4, chunks[4:8], False))
        sender.send(again, chunks=b"".join(chunks[4:8]))
        self.assertRefused(GONE, sender.answer, request)
        self.assertAbsent()

    def test_a_repeat_on_a_new_connection_gets_the_first_count(self):
        self.purge()
        for i in range(3):
            self.healthy.set(b"n/%d" % i, b"x")
        number = os.urandom(16)
        counts = []
        for _ in range(2):
            client = self.client()
            counts.append(client.ask(client.change(
                number=number, purge=pb.Purge(all=True))).purged.secrets)
            self.healthy.set(b"n/later", b"x")
        self.assertEqual(counts, [3, 3])
        self.assertEqual(self.healthy.get(b"n/later"), b"x")


class Sweep(BystanderTest):
    def test_others_are_served_while_much_is_purged(self):
        """What is one caller's own goes in steps; the connection may end in their midst."""
        client = self.client()
        for i in range(3000):
            client.set(b"own/%d" % i, b"x")
        begun = client.change(purge=pb.Purge())
        ping = client.request(ping=pb.Ping())
        # One frame, and the answer to what is asked second comes first: a purge is many steps.
        client.send(begun, ping)
        ids = [client.receive()[0].id for _ in range(2)]
        self.assertEqual(ids, [ping.id, begun.id])
        self.healthy.set(b"kept/value", self.kept)

    def test_a_caller_that_leaves_leaves_no_trace(self):
        client = self.client()
        for i in range(2000):
            client.set(b"own/%d" % i, b"x")
        client.send(client.change(purge=pb.Purge()))
        client.close()
        self.assertAlone()
        self.healthy.set(b"kept/value", self.kept)
