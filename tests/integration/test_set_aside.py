# SPDX-License-Identifier: Apache-2.0
"""What was overwritten in the ledger is set aside by the next worker: it is counted by its kind,
told in the log and by status, and nobody is served from it."""

import json
import mmap
import os
import struct
import subprocess
import unittest

import test_keeper
from daemon import take_descriptor

MGCTL = os.environ["MGCTL"]
INTEGRITY, GONE, NOT_FOUND, DENIED = 11, 12, 3, 4

# Blocks as they lie in the ledger: a tag, then the kind; of a record some fields (vault_inside.h).
UNIT = 16
RECORD, SEGMENT, CHUNK, ANSWER, TOKEN = 0xe1c9, 0xe2ca, 0xe3cb, 0xe5cd, 0xe8d0
PLACE, NAME_SIZE, FLAGS, LIFETIME_SIZE, HEADER = 118, 126, 130, 131, 136
FORMER, CONSUMED = 16, 2

# Where each kind has a number of 48 bits that is small: in ciphertext that looks like one it is not.
NUMBERS = {RECORD: 82, SEGMENT: 104, CHUNK: 24, ANSWER: 60, TOKEN: 50}


class Ledger:
    """The ledger that a keeper holds, to be written to as nobody may."""

    def __init__(self, pid):
        try:
            fd = take_descriptor(pid, lambda link: "memfd:memguardd-ledger" in link)
        except PermissionError:
            fd = -1
        if fd < 0:
            raise unittest.SkipTest("this user may not take the ledger from its keeper")
        self.bytes = mmap.mmap(fd, os.fstat(fd).st_size)
        os.close(fd)

    def close(self):
        self.bytes.close()

    def blocks(self, kind):
        size = len(self.bytes)
        return [at for at in range(UNIT, size - HEADER, UNIT)
                if struct.unpack_from("<H", self.bytes, at + UNIT)[0] == kind
                and not any(self.bytes[at + NUMBERS[kind] + 3:at + NUMBERS[kind] + 6])]

    def record(self, name, flags):
        """Where the record of a filed name is that has these flags alone."""
        for at in self.blocks(RECORD):
            begin = at + HEADER + self.bytes[at + LIFETIME_SIZE]
            size, = struct.unpack_from("<H", self.bytes, at + NAME_SIZE)
            if self.bytes[begin:begin + size] == name and self.bytes[at + FLAGS] == flags:
                return at
        raise AssertionError(f"there is no record of {name}")

    def chunk(self, name):
        """Where a value of one chunk lies."""
        return struct.unpack_from("<I", self.bytes, self.record(name, 0) + PLACE)[0] * UNIT

    def flip(self, at):
        self.bytes[at] ^= 1


class SetAside(test_keeper.KeeperTest):
    def setUp(self):
        super().setUp()
        self.ledger = Ledger(self.daemon.pid)
        self.addCleanup(self.ledger.close)

    def mgctl(self, *arguments):
        return subprocess.run([MGCTL, "--socket", str(self.daemon.path), *arguments],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60)

    def broken(self):
        answer = json.loads(self.mgctl("status", "--json").stdout)
        return [answer[key] for key in ("broken", "broken_formers", "broken_consumed",
                                        "broken_streams", "broken_answers", "broken_tokens")]

    def test_each_kind_is_counted_and_told(self):
        client = self.client()
        for name in b"kept", b"lost", b"rotated":
            client.set(name, b"1")
        client.set(b"rotated", b"2", rotation=3600000)
        client.set(b"once", b"1", lifetime={"reads": 1})
        self.assertEqual(client.get(b"once"), b"1")
        client.write_segment(b"stream", b"1")
        self.ledger.flip(self.ledger.record(b"lost", 0) + HEADER)
        self.ledger.flip(self.ledger.record(b"rotated", FORMER) + FLAGS + 2)
        self.ledger.flip(self.ledger.record(b"once", CONSUMED))
        token = client.issue_token(b"ci", (b"get", b"kept"))
        for kind in SEGMENT, ANSWER, TOKEN:
            self.ledger.flip(self.ledger.blocks(kind)[0] + UNIT)
        self.assertEqual(self.broken(), [0] * 6)
        self.next_worker()
        client = self.client()
        self.assertEqual(self.broken(), [1] * 6)
        words = self.mgctl("status").stdout.decode()
        self.assertRegex(words, r"(?m)^broken +1 secret, which is lost\n"
                         r" +1 version in its grace, which is lost\n"
                         r" +1 consumed name, which is as if never stored\n"
                         r" +1 part of a stream, which is lost\n"
                         r" +1 remembered answer: a repeat is made anew\n"
                         r" +1 token, which is lost$")
        log = self.daemon.log()
        for kind in ("secrets", "versions in their grace", "consumed names", "parts of streams",
                     "remembered answers", "tokens"):
            self.assertEqual(log.count(f"1 of the {kind} were not what was written"), 1, log)
        self.assertEqual(client.get(b"kept"), b"1")
        self.assertEqual(client.get(b"rotated"), b"2")
        self.assertRefused(NOT_FOUND, client.get, b"lost")
        self.assertRefused(NOT_FOUND, client.get, b"once")
        self.assertRefused(DENIED, client.show_token, token)
        self.assertEqual(client.list_tokens(), [])
        self.assertEqual(self.mgctl("get", "--version", "1", "rotated").returncode, NOT_FOUND)
        # It was wiped: who comes next finds nothing that is broken.
        self.next_worker()
        self.assertEqual(self.broken(), [0] * 6)
        self.assertEqual(self.client().get(b"kept"), b"1")

    def test_a_value_that_is_not_what_was_written_is_refused(self):
        client = self.client()
        client.set(b"a", b"1" * 100)
        client.set(b"b", b"2" * 100)
        self.ledger.flip(self.ledger.chunk(b"a") + 50)
        for _ in range(2):
            done = self.mgctl("get", "a")
            self.assertEqual((done.returncode, done.stdout), (INTEGRITY, b""))
            self.assertEqual(self.mgctl("get", "b").stdout.strip(), b"2" * 100)
            self.next_worker()
        self.assertEqual(self.broken(), [0] * 6)

    def test_a_stream_that_lacks_a_part_is_read_as_incomplete(self):
        value = os.urandom(3 * 16384 - 100)
        for lost in range(3):
            name = b"stream/%d" % lost
            before = set(self.ledger.blocks(CHUNK))
            self.client().write_segment(name, value)
            chunks = [at for at in self.ledger.blocks(CHUNK) if at not in before]
            self.assertEqual(len(chunks), 3)
            # Its number among the chunks is behind the numbers of stream and segment.
            self.ledger.flip(next(at for at in chunks if self.ledger.bytes[at + 30] == lost) + 36)
            self.next_worker()
            self.assertEqual(self.broken(), [0, 0, 0, 1, 0, 0])
            done = self.mgctl("stream", "read", name.decode())
            self.assertEqual(done.returncode, INTEGRITY, done.stderr)
            # Without its beginning it is what another reader would have left of it.
            self.assertIn(done.stdout, value)
            self.assertLess(len(done.stdout), len(value))
