# SPDX-License-Identifier: Apache-2.0
"""Streams: what is written comes out in order, once, and whole; whoever breaks off is found out."""

import os
import pathlib
import signal
import socket
import threading
import time
import unittest

from daemon import Daemon, wait_for
from mgwire import CHUNK_SIZE, FRAME_CHUNKS, Client, Closed, Refused, announce, pb, seal_value

INVALID, NOT_FOUND, CONFLICT, LIMIT, TIMEOUT, INTEGRITY, GONE = 2, 3, 7, 8, 9, 11, 12
PLAIN = CHUNK_SIZE - 16
NAME = b"~/queue"


class StreamTest(unittest.TestCase):
    options = ()

    def setUp(self):
        self.house = Daemon(*self.options)
        self.addCleanup(self.house.end)

    def client(self):
        client = Client(self.house.path)
        self.addCleanup(client.close)
        return client

    def refused(self, code, call, *arguments, **options):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **options)
        self.assertEqual(caught.exception.code, code, caught.exception)
        return caught.exception

    def segment(self, chunks, short=0):
        """A number, a key, and the sealed chunks of a value of that many."""
        number, key = os.urandom(16), os.urandom(32)
        value = os.urandom(chunks * PLAIN - short)
        return value, number, key, seal_value(value, key)

    def parked(self, client, *requests):
        """Sends requests that have to wait, and sees to it that the daemon has them."""
        for request, chunks in requests:
            client.send(request, chunks=b"".join(chunks))
        with Client(self.house.path) as probe:
            probe.ping()
            time.sleep(0.05)
            probe.ping()
        return [request for request, _ in requests]


class Order(StreamTest):
    def test_segments_come_out_as_they_went_in_and_the_name_ends_with_the_last(self):
        writer, reader = self.client(), self.client()
        values = [os.urandom(size) for size in (1, PLAIN, PLAIN + 1, 9 * PLAIN + 5)]
        for value in values:
            writer.write_segment(NAME, value)
        info = reader.stat(NAME)
        self.assertTrue(info.stream)
        self.assertEqual((info.size, info.version), (sum(map(len, values)), 0))
        for value in values:
            self.assertEqual(reader.read_segment(NAME), value)
        self.refused(NOT_FOUND, reader.stat, NAME)
        self.refused(NOT_FOUND, reader.read_part, NAME)
        self.assertEqual(reader.list(b"~/"), [])

    def test_a_reader_waits_for_the_first_writer_and_for_each_chunk(self):
        writer, reader = self.client(), self.client()
        value, number, key, chunks = self.segment(3)
        request, = self.parked(reader, (reader.read_request(NAME, wait_ms=60000), ()))
        writer.write_chunks(NAME, number, key, 0, chunks[:1], False)
        pieces, place, final = reader.take_part(request)
        self.assertEqual((pieces, final), ([value[:PLAIN]], False))
        request, = self.parked(reader, (reader.read_request(NAME, place, wait_ms=60000), ()))
        writer.write_chunks(NAME, number, key, 1, chunks[1:], True)
        pieces, place, final = reader.take_part(request)
        self.assertEqual((b"".join(pieces), final), (value[PLAIN:], True))

    def test_in_vain_is_told_after_the_time_that_was_given(self):
        reader = self.client()
        self.refused(NOT_FOUND, reader.read_part, NAME)
        self.refused(TIMEOUT, reader.read_part, NAME, wait_ms=50)
        writer = self.client()
        _, number, key, chunks = self.segment(2)
        writer.write_chunks(NAME, number, key, 0, chunks[:1], False)
        _, place, _ = reader.read_part(NAME)
        self.refused(TIMEOUT, reader.read_part, NAME, place)
        self.refused(TIMEOUT, reader.read_part, NAME, place, wait_ms=50)

    def test_reads_that_wait_are_answered_in_their_order(self):
        writer, reader = self.client(), self.client()
        value, number, key, chunks = self.segment(3)
        requests = self.parked(
            reader, *((reader.read_request(NAME, wait_ms=60000), ()) for _ in range(3)))
        for i, chunk in enumerate(chunks):
            writer.write_chunks(NAME, number, key, i, [chunk], i == 2)
        got = b"".join(b"".join(reader.take_part(request)[0]) for request in requests)
        self.assertEqual(got, value)

    def test_many_streams_side_by_side_keep_apart(self):
        writer, reader = self.client(), self.client()
        values = {b"~/s/%d" % i: os.urandom(1 + 7000 * i) for i in range(40)}
        for name, value in values.items():
            writer.write_segment(name, value)
        self.assertEqual(len(reader.list(b"~/s/")), 40)
        for name, value in values.items():
            self.assertEqual(reader.read_segment(name), value)
        self.assertEqual(reader.list(b"~/s/"), [])

    def test_the_vault_is_as_empty_as_before(self):
        client = self.client()
        before = client.status()
        for _ in range(5):
            client.write_segment(NAME, os.urandom(200000))
            client.read_segment(NAME)
        after = client.status()
        self.assertEqual((after.secrets, after.ledger), (before.secrets, before.ledger))


class Acknowledged(StreamTest):
    def test_what_was_not_acknowledged_is_there_for_the_next_reader(self):
        writer, first = self.client(), self.client()
        value, number, key, chunks = self.segment(6)
        writer.write_chunks(NAME, number, key, 0, chunks[:4], False)
        writer.write_chunks(NAME, number, key, 4, chunks[4:], True)
        pieces, place, _ = first.read_part(NAME)
        self.assertEqual(b"".join(pieces), value[:4 * PLAIN])
        # Of the four chunks it has taken care of one.
        first.acknowledge(NAME, (*place[:2], 1))
        first.close()
        second = self.client()
        self.assertEqual(second.read_segment(NAME), value[PLAIN:])

    def test_one_reader_at_a_time(self):
        writer, first, second = self.client(), self.client(), self.client()
        writer.write_segment(NAME, b"1")
        writer.write_segment(NAME, b"2")
        _, place, _ = first.read_part(NAME)
        self.refused(CONFLICT, second.read_part, NAME, wait_ms=1000)
        self.refused(CONFLICT, second.acknowledge, NAME, place)
        first.acknowledge(NAME, place)
        self.assertEqual(second.read_segment(NAME), b"2")

    def test_a_place_in_another_stream_acknowledges_nothing(self):
        client = self.client()
        client.write_segment(NAME, b"old")
        _, place, _ = client.read_part(NAME)
        client.acknowledge(NAME, place)
        client.write_segment(NAME, b"new")
        client.acknowledge(NAME, place)
        client.acknowledge(NAME, (place[0] + 1000, 2, 0))
        client.acknowledge(b"~/absent", place)
        self.assertEqual(client.read_segment(NAME), b"new")

    def test_more_than_there_is_may_be_acknowledged_and_what_comes_then_stays(self):
        writer, reader = self.client(), self.client()
        value, number, key, chunks = self.segment(2)
        writer.write_chunks(NAME, number, key, 0, chunks[:1], False)
        _, place, _ = reader.read_part(NAME)
        reader.acknowledge(NAME, (place[0], 1 << 40, 0))
        writer.write_chunks(NAME, number, key, 1, chunks[1:], True)
        self.assertEqual(reader.read_segment(NAME), value[PLAIN:])


class Writers(StreamTest):
    def test_one_writer_at_a_time(self):
        first, second = self.client(), self.client()
        value, number, key, chunks = self.segment(2)
        first.write_chunks(NAME, number, key, 0, chunks[:1], False)
        self.refused(CONFLICT, second.write_segment, NAME, b"other")
        self.refused(CONFLICT, first.write_segment, NAME, b"other")
        first.write_chunks(NAME, number, key, 1, chunks[1:], True)
        second.write_segment(NAME, b"other")
        self.assertEqual(second.read_segment(NAME), value)
        self.assertEqual(second.read_segment(NAME), b"other")

    def test_a_writer_that_dies_leaves_it_incomplete(self):
        writer, reader = self.client(), self.client()
        value, number, key, chunks = self.segment(3)
        writer.write_chunks(NAME, number, key, 0, chunks[:2], False)
        pieces, place, _ = reader.read_part(NAME)
        request, = self.parked(reader, (reader.read_request(NAME, place, wait_ms=60000), ()))
        writer.close()
        began = time.monotonic()
        told = self.refused(INTEGRITY, reader.take_part, request)
        self.assertGreater(time.monotonic() - began, 1)
        self.assertIn(b"incomplete", told.reply.detail)
        self.assertEqual(b"".join(pieces), value[:2 * PLAIN])
        # Until that is acknowledged, whoever comes is told the same.
        reader.close()
        second = self.client()
        self.refused(INTEGRITY, second.read_part, NAME)
        second.write_segment(NAME, b"whole")
        second.acknowledge(NAME, (told.reply.part.stream, told.reply.part.segment + 1, 0))
        self.assertEqual(second.read_segment(NAME), b"whole")

    def test_one_that_gives_up_says_so_at_once(self):
        writer, reader = self.client(), self.client()
        _, number, key, chunks = self.segment(2)
        writer.write_chunks(NAME, number, key, 0, chunks[:1], False)
        request = writer.request(number=number, chunks=pb.Chunks(first=1, abort=True),
                                 stream_write=pb.StreamWrite(name=NAME))
        self.refused(TIMEOUT, writer.ask, request)
        _, place, _ = reader.read_part(NAME)
        self.refused(INTEGRITY, reader.read_part, NAME, place, wait_ms=60000)

    def test_one_that_comes_back_goes_on_where_it_was(self):
        first, reader = self.client(), self.client()
        value, number, key, chunks = self.segment(7)
        first.write_chunks(NAME, number, key, 0, chunks[:3], False)
        first.close()
        second = self.client()
        # It does not know whether the last one arrived.
        due = second.write_chunks(NAME, number, key, 1, chunks[1:5], False)
        self.assertEqual(due, 5)
        second.write_chunks(NAME, number, key, 5, chunks[5:], True)
        self.assertEqual(reader.read_segment(NAME), value)

    def test_the_end_is_answered_again_also_when_all_of_it_was_read(self):
        writer, reader = self.client(), self.client()
        value, number, key, chunks = self.segment(2)
        writer.write_chunks(NAME, number, key, 0, chunks, True)
        self.assertEqual(writer.write_chunks(NAME, number, key, 0, chunks, True), 2)
        self.assertEqual(reader.read_segment(NAME), value)
        again = self.client()
        self.assertEqual(again.write_chunks(NAME, number, key, 0, chunks, True), 2)
        self.refused(NOT_FOUND, reader.stat, NAME)
        # The number is this stream's.
        self.refused(CONFLICT, again.write_chunks, b"~/other", number, key, 0, chunks, True)

    def test_one_that_was_away_for_too_long_is_told(self):
        first = self.client()
        _, number, key, chunks = self.segment(3)
        first.write_chunks(NAME, number, key, 0, chunks[:1], False)
        first.close()
        time.sleep(2.5)
        # Nor can it begin again: what was there has not gone.
        for first in (1, 0):
            self.refused(GONE, self.client().write_chunks, NAME, number, key, first,
                         chunks[first:2], False)
        reader = self.client()
        _, place, _ = reader.read_part(NAME)
        self.refused(INTEGRITY, reader.read_part, NAME, place)


class Idle(StreamTest):
    """The daemon does nothing while nothing can be done."""

    def turns(self, seconds=1):
        """How often the daemon went to sleep meanwhile, and the seconds that it was awake."""
        def look():
            process = pathlib.Path("/proc/%d" % self.house.pid)
            lines = (process / "status").read_text().splitlines()
            fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
            slept = [line for line in lines if line.startswith("voluntary")]
            return (int(slept[0].split()[1]),
                    (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
        before = look()
        time.sleep(seconds)
        return [after - first for first, after in zip(before, look())]

    def test_when_a_read_was_cancelled_that_had_to_wait_for_its_turn(self):
        writer, reader = self.client(), self.client()
        writer.write_segment(NAME, os.urandom(12 * PLAIN))
        reads = [reader.read_request(NAME, wait_ms=60000) for _ in range(3)]
        # Two frames of chunks are a turn.
        reader.send(*reads, reader.request(cancel=pb.Cancel(id=reads[2].id)))
        codes = {reply.id: reply.code for reply, _ in (reader.receive() for _ in range(4))}
        self.assertEqual(codes[reads[2].id], TIMEOUT)
        self.assertLess(self.turns()[1], 0.3)
        self.assertEqual(len(reader.read_part(NAME)[0]), 4)

    def test_while_reads_wait_each_for_its_own_time(self):
        reader = self.client()
        reads = [reader.read_request(NAME, wait_ms=wait) for wait in (60000, 50, 0, 100)]
        for request in reads:
            reader.send(request)
        told = [(reply.id, reply.code) for reply, _ in (reader.receive() for _ in range(3))]
        self.assertEqual(told, [(reads[2].id, NOT_FOUND), (reads[1].id, TIMEOUT),
                                (reads[3].id, TIMEOUT)])
        self.assertLess(self.turns()[0], 100)
        self.client().write_segment(NAME, b"came")
        self.assertEqual(reader.take_part(reads[0])[0], [b"came"])


class Full(StreamTest):
    options = ("--max-value", "65536")

    def test_a_write_waits_for_room_and_reading_makes_it(self):
        writer, reader = self.client(), self.client()
        value, number, key, chunks = self.segment(12)
        requests = [(writer.write_request(NAME, number, key, i, chunks[i:i + 4], i == 8),
                     chunks[i:i + 4]) for i in (0, 4, 8)]
        waiting = self.parked(writer, *requests)
        self.assertEqual(writer.answer(waiting[0])[0].taken.next, 4)
        self.assertLessEqual(reader.stat(NAME).size, 4 * PLAIN)
        self.assertEqual(reader.read_segment(NAME, wait_ms=60000), value)
        self.assertEqual(writer.answer(waiting[1])[0].taken.next, 8)
        self.assertEqual(writer.answer(waiting[2])[0].taken.next, 12)

    def test_one_that_leaves_while_it_waits_takes_what_waited_along(self):
        writer, reader = self.client(), self.client()
        writer.write_segment(NAME, b"a" * 4 * PLAIN)
        _, number, key, chunks = self.segment(1)
        self.parked(writer, (writer.write_request(NAME, number, key, 0, chunks, True), chunks))
        self.assertEqual(len(reader.read_part(NAME)[0]), 4)
        writer.close()
        self.assertTrue(wait_for(lambda: reader.status().sessions == 1))
        self.assertEqual(reader.stat(NAME).size, 4 * PLAIN)

    def test_one_that_waits_can_be_cancelled(self):
        writer = self.client()
        writer.write_segment(NAME, b"a" * 4 * PLAIN)
        _, number, key, chunks = self.segment(1)
        waiting, = self.parked(
            writer, (writer.write_request(NAME, number, key, 0, chunks, True), chunks))
        cancel = writer.request(cancel=pb.Cancel(id=waiting.id))
        writer.send(cancel)
        self.refused(TIMEOUT, writer.answer, waiting)
        writer.answer(cancel)
        self.assertEqual(writer.read_segment(NAME), b"a" * 4 * PLAIN)

    def test_small_segments_count_with_what_they_take(self):
        client, written = self.client(), 0
        client.socket.settimeout(0.5)
        with self.assertRaises(TimeoutError):
            while written < 1000:
                client.write_segment(NAME, b"x")
                written += 1
        self.assertTrue(10 < written < 300, written)

    def test_no_uid_has_more_than_1024_streams(self):
        client = self.client()
        for i in range(1024):
            client.write_segment(b"~/many/%d" % i, b"x")
        self.refused(LIMIT, client.write_segment, b"~/many/one-more", b"x")
        client.read_segment(b"~/many/0")
        client.write_segment(b"~/many/one-more", b"x")


class Bad(StreamTest):
    def test_a_chunk_that_is_not_what_was_sealed_ends_the_segment(self):
        for spoil in ("tag", "order", "short", "final"):
            with self.subTest(spoil):
                name = b"~/bad/" + spoil.encode()
                writer, reader = self.client(), self.client()
                value, number, key, chunks = self.segment(3)
                writer.write_chunks(name, number, key, 0, chunks[:1], False)
                bad, final = [chunks[1]], False
                if spoil == "tag":
                    bad = [bytes([chunks[1][0] ^ 1]) + chunks[1][1:]]
                elif spoil == "order":
                    bad = [chunks[2]]
                elif spoil == "short":
                    bad = [chunks[1][:-1]]
                else:
                    final = True
                self.refused(INTEGRITY, writer.write_chunks, name, number, key, 1, bad, final)
                pieces, place, _ = reader.read_part(name)
                self.assertEqual(pieces, [value[:PLAIN]])
                self.refused(INTEGRITY, reader.read_part, name, place)

    def test_when_the_first_chunk_is_none_there_is_no_stream(self):
        client = self.client()
        _, number, key, chunks = self.segment(1)
        self.refused(INTEGRITY, client.write_chunks, NAME, number, key, 0, [chunks[0][1:]], True)
        self.assertEqual(client.list(b"~/"), [])
        self.refused(NOT_FOUND, client.stat, NAME)
        client.set(NAME, b"a secret")

    def test_a_gap_is_found(self):
        writer = self.client()
        _, number, key, chunks = self.segment(3)
        writer.write_chunks(NAME, number, key, 0, chunks[:1], False)
        self.refused(INTEGRITY, writer.write_chunks, NAME, number, key, 2, chunks[2:], True)

    def test_what_makes_no_sense_is_refused(self):
        client = self.client()
        _, number, key, chunks = self.segment(1)
        self.refused(GONE, client.write_chunks, NAME, number, key, 1, chunks, True)
        self.refused(INVALID, client.write_chunks, NAME, number, b"", 0, chunks, True)
        self.refused(INVALID, client.write_chunks, NAME, number, b"short", 0, chunks, True)
        self.refused(INVALID, client.write_chunks, b"~/../x", number, key, 0, chunks, True)
        self.refused(INVALID, client.ask, client.request(
            number=number, stream_write=pb.StreamWrite(name=NAME, data_key=key)))
        for request in (client.request(stream_write=pb.StreamWrite(name=NAME, data_key=key),
                                       chunks=announce(0, chunks, True)),):
            client.send(request, chunks=chunks[0])
            self.refused(INVALID, client.answer, request)
        self.refused(NOT_FOUND, client.stat, NAME)

    def test_a_read_with_chunks_is_no_request(self):
        client = self.client()
        request = client.read_request(NAME)
        request.chunks.CopyFrom(announce(0, [b"x" * 17], True))
        client.send(request, chunks=b"x" * 17)
        with self.assertRaises(Closed):
            client.answer(request)

    def test_a_name_is_a_secret_s_or_a_stream_s(self):
        client = self.client()
        client.set(b"~/secret", b"value")
        client.write_segment(NAME, b"stream")
        _, number, key, chunks = self.segment(1)
        self.refused(INVALID, client.write_chunks, b"~/secret", number, key, 0, chunks, True)
        self.refused(INVALID, client.read_part, b"~/secret", wait_ms=1000)
        for call, *arguments in ((client.set, NAME, b"x"), (client.get, NAME),
                                 (client.generate, NAME, 5), (client.freeze, NAME),
                                 (client.touch, NAME, 1000)):
            told = self.refused(INVALID, call, *arguments)
            self.assertEqual(told.reply.detail, b"the name is a stream's")
        self.assertEqual(client.read_segment(NAME), b"stream")
        self.assertEqual(client.get(b"~/secret"), b"value")
        client.set(NAME, b"now a secret")

    def test_a_consumed_name_can_be_a_stream_s(self):
        client = self.client()
        client.set(NAME, b"once", lifetime={"reads": 1})
        client.get(NAME)
        client.write_segment(NAME, b"stream")
        self.assertEqual(client.read_segment(NAME), b"stream")


class Ended(StreamTest):
    def end(self, how, client):
        if how == "remove":
            client.remove(NAME)
        else:
            client.ask(client.change(purge=pb.Purge(all=how == "purge all")))

    def test_removing_and_purging_end_it_for_everybody(self):
        for how in ("remove", "purge mine", "purge all"):
            with self.subTest(how):
                writer, reader, other = self.client(), self.client(), self.client()
                _, number, key, chunks = self.segment(3)
                writer.write_chunks(NAME, number, key, 0, chunks[:1], False)
                _, place, _ = reader.read_part(NAME)
                request, = self.parked(
                    reader, (reader.read_request(NAME, place, wait_ms=60000), ()))
                self.end(how, other)
                self.refused(GONE, reader.take_part, request)
                self.refused(GONE, writer.write_chunks, NAME, number, key, 1, chunks[1:], True)
                self.refused(NOT_FOUND, other.stat, NAME)
                # What comes now is another one.
                writer.write_segment(NAME, b"next")
                self.assertEqual(reader.read_segment(NAME), b"next")

    def test_a_write_that_waits_for_room_is_told_too(self):
        writer, other = self.client(), self.client()
        writer.write_segment(NAME, b"a" * (1 << 20))
        _, number, key, chunks = self.segment(1)
        request, = self.parked(
            writer, (writer.write_request(NAME, number, key, 0, chunks, True), chunks))
        self.end("purge all", other)
        self.refused(GONE, writer.answer, request)

    def test_purges_in_the_midst_give_right_bytes_or_a_refusal(self):
        stop = time.monotonic() + 3
        wrong = []

        def write():
            client = Client(self.house.path)
            while time.monotonic() < stop:
                try:
                    client.write_segment(NAME, b"x" * 100000)
                except Refused as refused:
                    if refused.code not in (GONE, CONFLICT):
                        wrong.append(refused)

        def read():
            client = Client(self.house.path)
            while time.monotonic() < stop:
                try:
                    value = client.read_segment(NAME, wait_ms=100)
                    if value.strip(b"x"):
                        wrong.append(value[:20])
                except Refused as refused:
                    if refused.code not in (GONE, TIMEOUT, NOT_FOUND, INTEGRITY):
                        wrong.append(refused)

        threads = [threading.Thread(target=write), threading.Thread(target=read)]
        for thread in threads:
            thread.start()
        while time.monotonic() < stop:
            self.end("purge all", self.client())
            time.sleep(0.01)
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


class Slow(StreamTest):
    def test_a_reader_that_does_not_read_its_answers_holds_up_nobody(self):
        writer, reader, other = self.client(), self.client(), self.client()
        for _ in range(2):
            writer.write_segment(NAME, os.urandom(FRAME_CHUNKS * PLAIN))
        for _ in range(60):
            reader.send(reader.read_request(NAME, wait_ms=1000))
        for _ in range(100):
            other.ping()

    def pair(self, i):
        """Two clients, each of which waits for room in a stream that the other one reads."""
        clients, names = (self.client(), self.client()), (b"~/a%d" % i, b"~/b%d" % i)
        _, number, key, chunks = self.segment(1)
        for client, name in zip(clients, names):
            client.write_segment(name, b"a" * (1 << 20))
            client.send(client.write_request(name, number, key, 0, chunks, True), chunks=chunks[0])
            number = os.urandom(16)
        places = [client.read_part(name)[1] for client, name in zip(clients, names[::-1])]
        return list(zip(clients, names[::-1], places))

    def test_those_who_call_one_another_hold_up_nobody(self):
        other, rows = self.client(), [row for i in range(10) for row in self.pair(i)]
        frames = []
        for client, name, place in rows:
            # They acknowledge nothing, and call whoever waits to write, each time.
            frames.append(b"".join(client.frame(
                [client.read_request(name, (place[0], 1, 0), acknowledge=True)
                 for _ in range(64)]) for _ in range(100)))

        def answered():
            return sum(len(client.socket.recv(1 << 20, socket.MSG_PEEK | socket.MSG_DONTWAIT))
                       for client, _, _ in rows)

        os.kill(self.house.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, self.house.pid, signal.SIGCONT)
        for (client, _, _), some in zip(rows, frames):
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            client.write(some)
        os.kill(self.house.pid, signal.SIGCONT)
        time.sleep(0.02)
        other.ping()
        os.kill(self.house.pid, signal.SIGSTOP)
        before = answered()
        os.kill(self.house.pid, signal.SIGCONT)
        self.assertTrue(wait_for(lambda: answered() > 1.5 * before))
