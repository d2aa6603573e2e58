# SPDX-License-Identifier: Apache-2.0
"""Comparing a secret with a value: through mgctl, and on the wire."""

import json
import os
import subprocess
import threading
import time
import unittest

import mgwire
from daemon import Daemon
from mgctl_case import (GONE, MGCTL, NOT_FOUND, OK, TIMEOUT, USAGE, MgctlTest,
                        StrangerTest)
from mgwire import Client, pb

NO = 1
PATIENCE = ["--timeout", "60s"]


class Verify(MgctlTest):
    def setUp(self):
        # What is held against a caller lasts for minutes.
        super().setUp()
        self.tearDownClass()
        self.setUpClass()

    def verify(self, candidate, *options):
        return self.run_mgctl("verify", *PATIENCE, *options, self.name, stdin=candidate)

    def test_right_and_wrong_are_told(self):
        for size in (1, 16384, 16385, 1 << 20):
            value = os.urandom(size)
            self.store(value)
            self.assertEqual(self.verify(value).returncode, OK)
            wrong = value[:-1] + bytes([value[-1] ^ 1])
            result = self.verify(wrong)
            self.assertEqual(result.returncode, NO)
            self.assertIn(b"another one", result.stderr)
            self.assertEqual(result.stdout, b"")
            if size < 1 << 20:
                self.assertEqual(self.verify(value + b"x").returncode, NO)

    def test_json_tells_it_on_stdout(self):
        self.store(b"right")
        for candidate, status in ((b"right", OK), (b"wrong", NO)):
            result = self.verify(candidate, "--json")
            self.assertEqual(result.returncode, status)
            self.assertEqual(json.loads(result.stdout), {
                "schema": 1, "name": self.name, "equal": status == OK})
            self.assertEqual(result.stderr, b"")

    def test_the_candidate_comes_as_a_value_does(self):
        self.store(b"text")
        place = self.folder / "candidate"
        place.write_bytes(b"text\n")
        self.assertEqual(self.verify(b"", "--trim", "--file", str(place)).returncode, OK)
        self.assertEqual(self.verify(b"", "--file", str(place)).returncode, NO)
        self.assertIn("| mgctl verify NAME", self.fails(USAGE, "verify", self.name, "text"))
        self.assertNotIn("text", self.fails(USAGE, "verify", self.name, "text"))
        self.fails(USAGE, "verify", self.name, stdin=b"")

    def test_what_is_not_there_is_3_and_what_was_consumed_12(self):
        self.fails(NOT_FOUND, "verify", self.name, stdin=b"x")
        self.store(b"once", "--max-reads", "1")
        self.assertEqual(self.verify(b"once").returncode, OK)
        self.ok("get", self.name)
        self.fails(GONE, "verify", self.name, stdin=b"once")

    def test_wrong_answers_cost_more_each_time(self):
        self.store(b"right")
        begin = time.monotonic()
        for _ in range(5):
            self.assertEqual(self.verify(b"wrong").returncode, NO)
        self.verify(b"right")
        # At least 100, 200, 400, 800 and 1,600 ms.
        self.assertGreater(time.monotonic() - begin, 3.0)
        # Who does not wait so long is told that.
        self.verify(b"wrong")
        self.fails(TIMEOUT, "verify", "--timeout", "500ms", self.name, stdin=b"right")


class Others(StrangerTest):
    def test_nobody_else_waits_and_nobody_else_learns(self):
        self.store(b"right")
        theirs = self.as_nobody("set", "~/theirs", input=b"theirs")
        self.assertEqual(theirs.returncode, OK, theirs.stderr)
        for _ in range(6):
            self.run_mgctl("verify", *PATIENCE, self.name, stdin=b"wrong")
        waiting = subprocess.Popen([MGCTL, "verify", *PATIENCE, self.name], stdin=subprocess.PIPE,
                                   env=self.environment)
        waiting.stdin.write(b"right")
        waiting.stdin.close()
        theirs = self.as_nobody("verify", "~/theirs", input=b"theirs")
        self.assertEqual(theirs.returncode, OK, theirs.stderr)
        self.assertIsNone(waiting.poll())
        for name in (self.name, "not/there"):
            result = self.as_nobody("verify", name, input=b"right")
            self.assertEqual(result.returncode, 4, result.stderr)
        self.assertEqual(waiting.wait(60), OK)


class Wire(unittest.TestCase):
    """What the page says, and what a client may do that mgctl does not. A daemon each: what is held
    against a caller lasts for minutes."""

    def setUp(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.end)
        self.name = b"test/" + self.id().rsplit(".", 1)[1].encode()

    def client(self):
        client = Client(self.daemon.path)
        self.addCleanup(client.close)
        return client

    def request(self, client, candidate, key, size=None):
        return client.request(verify=pb.Verify(
            name=self.name, data_key=key, size=len(candidate) if size is None else size))

    def verify(self, client, candidate, **fields):
        key = os.urandom(32)
        request = self.request(client, candidate, key, **fields)
        client.send_value(request, mgwire.seal_value(candidate, key))
        return request

    def frames(self, client, request, chunks, *behind):
        """A candidate's frames, to be sent at once; the last one with what comes behind it."""
        frames = b""
        for at in range(0, len(chunks), mgwire.FRAME_CHUNKS):
            some = chunks[at:at + mgwire.FRAME_CHUNKS]
            final = at + len(some) == len(chunks)
            request.chunks.CopyFrom(mgwire.announce(at, some, final))
            frames += client.frame([request, *(behind if final else ())], b"".join(some))
            request = pb.Request(id=request.id)
        return frames

    def test_code_1_is_no(self):
        client = self.client()
        client.set(self.name, b"right" * 10000)
        self.assertEqual(client.answer(self.verify(client, b"right" * 10000))[0].code, 0)
        with self.assertRaises(mgwire.Refused) as caught:
            client.answer(self.verify(client, b"right" * 9999 + b"wrong", size=0))
        self.assertEqual(caught.exception.code, NO)

    def test_other_answers_come_while_one_waits(self):
        client = self.client()
        client.set(self.name, b"right")
        for _ in range(4):
            with self.assertRaises(mgwire.Refused):
                client.answer(self.verify(client, b"wrong"))
        parked = self.verify(client, b"right")
        client.ping()
        client.set(self.name + b"/2", b"x")
        self.assertEqual(client.answer(parked)[0].code, 0)

    def test_who_does_not_read_holds_up_nobody(self):
        client = self.client()
        large, small = os.urandom(1 << 20), self.name + b"/2"
        client.set(self.name, large)
        client.set(small, b"small")
        for _ in range(3):
            # The answers to the gets fill the socket while the comparison is made.
            lazy, key = self.client(), os.urandom(32)
            request = self.request(lazy, large, key)
            gets = [lazy.request(get=pb.Get(name=self.name)) for _ in range(8)]
            lazy.write(self.frames(lazy, request, mgwire.seal_value(large, key), *gets))
            time.sleep(0.1)
            key, begin = os.urandom(32), time.monotonic()
            request = client.request(verify=pb.Verify(name=small, data_key=key))
            client.send_value(request, mgwire.seal_value(b"small", key))
            self.assertEqual(client.answer(request)[0].code, 0)
            # Who does not read has 30 seconds.
            self.assertLess(time.monotonic() - begin, 25)

    def test_small_ones_behind_a_large_one_are_answered(self):
        client = self.client()
        large, small = (self.name, os.urandom(1 << 20)), (self.name + b"/2", b"small")
        client.set(*large)
        client.set(*small)
        for _ in range(5):
            frames, asked = b"", set()
            for name, candidate in (large, small, small, small):
                key = os.urandom(32)
                request = client.request(verify=pb.Verify(name=name, data_key=key))
                asked.add(request.id)
                frames += self.frames(client, request, mgwire.seal_value(candidate, key))
            # All of it is at hand before the large one is judged.
            client.write(frames)
            answered = {client.receive()[0].id for _ in asked}
            self.assertEqual(answered, asked)

    def test_a_purge_ends_one_that_waits(self):
        client = self.client()
        client.set(self.name, b"right")
        for _ in range(4):
            with self.assertRaises(mgwire.Refused):
                client.answer(self.verify(client, b"wrong"))
        parked = self.verify(client, b"right")
        purge = client.change(purge=pb.Purge(all=True))
        client.send(purge)
        answers = {}
        while len(answers) < 2:
            reply, _ = client.receive()
            answers[reply.id] = reply.code
        self.assertEqual(answers[purge.id], 0)
        self.assertIn(answers[parked.id], (mgwire.GONE, mgwire.NOT_FOUND))

    def test_a_broken_candidate_is_no_answer(self):
        client = self.client()
        client.set(self.name, b"right")
        key = os.urandom(32)
        chunk = bytearray(mgwire.seal_value(b"right", key)[0])
        chunk[-1] ^= 1
        request = self.request(client, b"right", key)
        client.send_value(request, [bytes(chunk)])
        with self.assertRaises(mgwire.Refused) as caught:
            client.answer(request)
        self.assertEqual(caught.exception.code, mgwire.INTEGRITY)

    def test_guesses_from_many_connections_are_judged_one_by_one(self):
        first = self.client()
        first.set(self.name, b"right")
        ends = []

        def guess(client):
            try:
                client.answer(self.verify(client, b"wrong"))
            except mgwire.Refused as refused:
                ends.append((refused.code, time.monotonic()))

        begin = time.monotonic()
        threads = [threading.Thread(target=guess, args=(self.client(),)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual([code for code, _ in ends], [NO] * 5)
        # 100 + 200 + 400 + 800 ms, however they came.
        self.assertGreater(max(when for _, when in ends) - begin, 1.4)
