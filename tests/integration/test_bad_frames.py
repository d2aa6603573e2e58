# SPDX-License-Identifier: Apache-2.0
"""Hellos, frames and messages that are not what PROTOCOL.md allows: that one session ends with one
line in the log, and every other goes on."""

import os
import struct

import mgwire
from bystander import BystanderTest
from mgwire import Client, Wire, pb

KEY = mgwire.sodium.crypto_kx_keypair()[0]

# The points of small order of Curve25519, as far as their encodings are canonical, and some others.
LOW_ORDER = [bytes.fromhex(point) for point in (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")]


class Hellos(BystanderTest):
    def refused(self, data):
        wire = self.wire(shake=False)
        self.write_all(wire, data)
        self.assertClosed(wire)

    def test_garbage_instead_of_a_hello(self):
        self.refused(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(100))
        self.refused(os.urandom(1).replace(b"M", b"N") + os.urandom(200))

    def test_a_size_out_of_range(self):
        for size in (0, 47, 129, 65535):
            with self.subTest(size=size):
                self.refused(mgwire.hello(KEY, size=size) + bytes(128))

    def test_a_key_of_low_order(self):
        for point in LOW_ORDER:
            with self.subTest(point=point.hex()):
                wire = self.wire(shake=False)
                self.write_all(wire, mgwire.hello(point))
                self.assertClosed(wire)

    def disagreed(self, **fields):
        """The daemon's own Hello, when there is nothing in common."""
        wire = self.wire(shake=False)
        wire.write(mgwire.hello(KEY, **fields))
        theirs = wire.read_hello()
        self.assertEqual(theirs[16:48], bytes(32))
        self.assertEqual(struct.unpack("<BBI", theirs[6:12]), (1, 1, 1))
        self.assertClosed(wire)

    def test_an_unknown_version_is_told_what_there_is(self):
        self.disagreed(low=2, high=3)
        self.disagreed(low=0, high=0)

    def test_an_unknown_cipher_is_told_what_there_is(self):
        self.disagreed(ciphers=2)

    def test_what_a_later_version_adds_is_ignored(self):
        wire = self.wire(shake=False)
        public_key, secret_key = mgwire.sodium.crypto_kx_keypair()
        ours = mgwire.hello(public_key, high=9, ciphers=0xffffffff, size=56, reserved=7) + b"12345678"
        wire.write(ours)
        theirs = wire.read_hello()
        wire.receive_key, wire.send_key = mgwire.frame_keys(public_key, secret_key, ours, theirs)
        wire.send(pb.Request(id=1, ping=pb.Ping()))
        self.assertEqual(wire.receive()[0].code, 0)


class Frames(BystanderTest):
    def ping(self, number=1):
        return pb.Request(id=number, ping=pb.Ping())

    def refused(self, data):
        wire = self.wire()
        self.write_all(wire, data)
        self.assertClosed(wire)

    def test_a_length_that_is_not_allowed(self):
        for sealed, chunks in ((0, 0), (18, 0), (8193, 0), (0xffffffff, 0), (100, 65601),
                               (100, 0xffffffff), (0, 100)):
            with self.subTest(sealed=sealed, chunks=chunks):
                self.refused(struct.pack("<II", sealed, chunks) + bytes(200))

    def test_garbage_in_a_frame(self):
        self.refused(struct.pack("<II", 100, 0) + os.urandom(100))

    def test_a_truncated_frame_loses_nobody_anything(self):
        for missing in (1, 16, 17, 30):
            with Wire(self.daemon.path) as wire:
                wire.write(wire.frame([self.ping()])[:-missing])
        self.assertAlone()
        self.assertEqual(len(self.daemon.closings()), self.lines, "it closed by its own wish")

    def test_a_replayed_frame(self):
        wire = self.wire()
        frame = wire.frame([self.ping()])
        wire.write(frame)
        self.assertEqual(wire.receive()[0].code, 0)
        wire.write(frame)
        self.assertClosed(wire)

    def test_reordered_frames(self):
        wire = self.wire()
        first, second = wire.frame([self.ping(1)]), wire.frame([self.ping(2)])
        self.write_all(wire, second + first)
        self.assertClosed(wire)

    def test_a_frame_left_out(self):
        wire = self.wire()
        wire.frame([self.ping()])
        wire.send(self.ping(2))
        self.assertClosed(wire)

    def test_a_flipped_bit_anywhere(self):
        size = len(self.wire().frame([self.ping()]))
        for place in (8, 10, size - 17, size - 16, size - 1):
            with self.subTest(place=place):
                wire = self.wire()
                frame = bytearray(wire.frame([self.ping()]))
                frame[place] ^= 0x10
                wire.write(bytes(frame))
                self.assertClosed(wire)

    def test_the_lengths_are_authenticated(self):
        wire = self.wire()
        frame = bytearray(wire.frame([self.ping()]))
        frame[4] = 32
        wire.write(bytes(frame) + bytes(32))
        self.assertClosed(wire)

    def test_a_frame_of_another_session(self):
        other = self.wire()
        self.refused(other.frame([self.ping()]))


class Messages(BystanderTest):
    def refused(self, *messages, chunks=b""):
        wire = self.wire()
        wire.send(*messages, chunks=chunks)
        self.assertClosed(wire)

    def raw(self, plain, chunks=b""):
        wire = self.wire()
        wire.write(mgwire.seal_frame(plain, len(chunks), 0, wire.send_key) + chunks)
        self.assertClosed(wire)

    def test_bytes_that_are_no_message(self):
        self.refused(b"\xff\xff\xff\xff")
        self.refused(os.urandom(100).replace(b"\x08", b"\xff") + b"\xff")

    def test_a_size_past_the_end(self):
        self.raw(b"\xff\x00\x08\x01")
        self.raw(struct.pack("<H", 5) + b"\x08\x01\x82\x01")
        self.raw(mgwire.pack([pb.Request(id=1, ping=pb.Ping())]) + b"\x01")

    def test_an_id_of_0(self):
        self.refused(pb.Request(ping=pb.Ping()))

    def test_more_than_64_requests(self):
        self.refused(*(pb.Request(id=number, ping=pb.Ping()) for number in range(1, 66)))

    def test_more_than_64_under_way_are_told_so(self):
        client = self.client()
        waits = [client.request(get=pb.Get(name=self.name, wait_ms=60000)) for _ in range(65)]
        client.send(*waits[:64])
        client.send(waits[64], client.request(ping=pb.Ping()))
        codes = [client.receive()[0] for _ in range(2)]
        self.assertEqual([(reply.id, reply.code) for reply in codes],
                         [(65, mgwire.LIMIT), (66, mgwire.OK)])
        self.healthy.set(self.name, b"came")
        came = {client.receive()[0].id for _ in waits[:64]}
        self.assertEqual(came, {request.id for request in waits[:64]})

    def test_sets_that_are_refused_and_never_ended(self):
        client = self.client()
        chunk = bytes(16400)
        with self.assertRaises(mgwire.Closed):
            for _ in range(200):
                request = client.change(chunks=mgwire.announce(0, [chunk], False), set=pb.Set(
                    name=b"a//b", data_key=bytes(32)))
                client.send(request, chunks=chunk)
                self.assertRefused(mgwire.INVALID, client.answer, request)
        self.assertGreater(client.last_id, 64)
        self.assertClosed(client)

    def test_an_id_that_is_still_unanswered(self):
        waiting = pb.Request(id=7, get=pb.Get(name=self.name, wait_ms=60000))
        self.refused(waiting, pb.Request(id=7, ping=pb.Ping()))

    def test_chunks_that_are_not_there(self):
        chunk = bytes(100)
        self.refused(pb.Request(id=1, chunks=mgwire.announce(0, [chunk], True),
                                set=pb.Set(name=b"x", data_key=bytes(32))))

    def test_chunks_that_nobody_claims(self):
        self.refused(pb.Request(id=1, ping=pb.Ping()), chunks=bytes(100))

    def test_chunks_of_no_set(self):
        chunk = bytes(100)
        self.refused(pb.Request(id=1, chunks=mgwire.announce(0, [chunk], True)), chunks=chunk)

    def test_chunks_with_another_verb(self):
        chunk = bytes(100)
        self.refused(pb.Request(id=1, chunks=mgwire.announce(0, [chunk], True), ping=pb.Ping()),
                     chunks=chunk)

    def test_more_chunks_than_a_frame_holds(self):
        self.refused(pb.Request(
            id=1, chunks=pb.Chunks(count=5, last=17, final=True),
            set=pb.Set(name=b"x", data_key=bytes(32))), chunks=bytes(4 * 16400))

    def test_a_chunk_that_is_empty_or_too_long(self):
        for last in (0, 16, 16401):
            with self.subTest(last=last):
                self.refused(pb.Request(
                    id=1, number=bytes(16), chunks=pb.Chunks(count=1, last=last, final=True),
                    set=pb.Set(name=b"x", data_key=bytes(32))), chunks=bytes(last))

    def test_an_unknown_field_is_ignored(self):
        client = self.client()
        unknown = b"\xc2\x3e\x03abc" + b"\xc8\x3e\x05"  # 1000: three bytes; 1001: the number 5
        client.send(pb.Request(id=1, ping=pb.Ping()).SerializeToString() + unknown)
        self.assertEqual(client.receive()[0].code, 0)

    def test_an_unknown_field_does_not_change_what_is_stored(self):
        client = self.client()
        key = bytes(32)
        chunk = mgwire.seal_chunk(b"value", 0, True, key)
        request = client.set_request(self.name, b"value", key)
        request.chunks.CopyFrom(mgwire.announce(0, [chunk], True))
        client.send(request.SerializeToString() + b"\xc2\x3e\x03abc", chunks=chunk)
        client.answer(request)
        self.assertStored(b"value")

    def test_an_unknown_verb_is_answered(self):
        client = self.client()
        client.send(b"\x08\x01" + b"\xfa\x06\x02ab")  # id 1, field 111
        reply, _ = client.receive()
        self.assertEqual((reply.id, reply.code), (1, mgwire.PROTOCOL))
        client.ping()

    def test_no_verb_is_an_unknown_one(self):
        client = self.client()
        self.assertRefused(mgwire.PROTOCOL, client.ask, client.request())
        client.ping()

    def test_a_feature_level_too_high_is_answered(self):
        client = self.client()
        request = client.request(ping=pb.Ping(), level=4)
        self.assertRefused(mgwire.PROTOCOL, client.ask, request)
        client.ping()

    def test_a_message_of_the_largest_size(self):
        client = self.client()
        request = pb.Request(id=1, ping=pb.Ping()).SerializeToString()
        pad = 8192 - 16 - 2 - len(request) - 4
        client.send(request + b"\xc2\x3e" + bytes([pad & 0x7f | 0x80, pad >> 7]) + bytes(pad))
        self.assertEqual(client.receive()[0].code, 0)

    def test_a_session_that_ends_takes_its_waits_with_it(self):
        for _ in range(10):
            wire = self.wire()
            wire.send(*(pb.Request(id=number, get=pb.Get(name=self.name, wait_ms=60000))
                        for number in range(1, 60)))
            wire.close()
        with Client(self.daemon.path) as client:
            client.set(self.name, b"came")
