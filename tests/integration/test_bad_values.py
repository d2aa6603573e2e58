# SPDX-License-Identifier: Apache-2.0
"""Values, names and conditions that are wrong: an answer that says so, nothing stored, and the
session goes on."""

import os

import mgwire
from bystander import BystanderTest
from daemon import Daemon
from mgwire import Broken, pb

BLOCK = mgwire.CHUNK_PLAIN


class Sealed:
    """A value that a test spoils before it is sent."""

    def __init__(self, client, name, length, **fields):
        self.client = client
        self.value = os.urandom(length)
        self.key = os.urandom(32)
        self.chunks = mgwire.seal_value(self.value, self.key)
        self.request = client.set_request(name, self.value, self.key, **fields)

    def send(self, first, chunks, final, **fields):
        """One frame; the first of them carries the verb."""
        self.request.chunks.CopyFrom(mgwire.announce(first, chunks, final, **fields))
        self.client.send(self.request, chunks=b"".join(chunks))
        self.request = pb.Request(id=self.request.id)

    def send_all(self):
        self.client.send_value(self.request, self.chunks)

    def answer(self):
        return self.client.answer(self.request)


class Chunks(BystanderTest):
    """A set whose chunks are not what was sealed answers 11 and stores nothing."""

    def setUp(self):
        super().setUp()
        self.sender = self.client()
        self.sender.set(self.name, b"before")

    def sealed(self, length, **fields):
        return Sealed(self.sender, self.name, length, **fields)

    def assertSpoilt(self, sealed, code=mgwire.INTEGRITY):
        self.assertRefused(code, sealed.answer)
        self.assertStored(b"before")
        self.sender.ping()

    def test_a_wrong_tag(self):
        for size in (1, 5 * BLOCK + 1):
            for which in (0, -1):
                for place in (0, 15, 16, -1):
                    sealed = self.sealed(size)
                    chunk = bytearray(sealed.chunks[which])
                    chunk[place] ^= 1
                    sealed.chunks[which] = bytes(chunk)
                    sealed.send_all()
                    self.assertSpoilt(sealed)

    def test_a_missing_chunk(self):
        sealed = self.sealed(3 * BLOCK)
        sealed.send(0, sealed.chunks[:1], False)
        sealed.send(2, sealed.chunks[2:], True)
        self.assertSpoilt(sealed)

    def test_a_missing_chunk_that_nobody_counts(self):
        sealed = self.sealed(3 * BLOCK)
        sealed.send(0, [sealed.chunks[0], sealed.chunks[2]], True)
        self.assertSpoilt(sealed)

    def test_an_end_too_early(self):
        sealed = self.sealed(3 * BLOCK)
        sealed.send(0, sealed.chunks[:2], True)
        self.assertSpoilt(sealed)

    def test_an_end_before_what_was_announced(self):
        sealed = self.sealed(2 * BLOCK, size=3 * BLOCK)
        sealed.send_all()
        self.assertSpoilt(sealed)

    def test_a_surplus_chunk(self):
        sealed = self.sealed(2 * BLOCK + 5, size=2 * BLOCK)
        sealed.send_all()
        self.assertSpoilt(sealed)

    def test_a_surplus_chunk_behind_the_end(self):
        sealed = self.sealed(2 * BLOCK)
        sealed.send(0, sealed.chunks, True)
        self.assertEqual(sealed.answer()[0].stored.version, 2)
        sealed.send(2, sealed.chunks[1:], True)
        self.assertClosed(self.sender)
        self.assertStored(sealed.value)

    def test_chunks_out_of_order(self):
        sealed = self.sealed(3 * BLOCK)
        sealed.send(0, [sealed.chunks[1], sealed.chunks[0], sealed.chunks[2]], True)
        self.assertSpoilt(sealed)

    def test_a_first_number_that_is_not_0(self):
        for first in (1, 1 << 63, (1 << 64) - 1):
            sealed = self.sealed(10)
            sealed.send(first, sealed.chunks, True)
            self.assertSpoilt(sealed)

    def test_a_short_chunk_in_the_midst(self):
        sealed = self.sealed(10)
        chunks = [mgwire.seal_chunk(b"short", 0, False, sealed.key),
                  mgwire.seal_chunk(b"rest!", 1, True, sealed.key)]
        sealed.send(0, chunks[:1], False)
        sealed.send(1, chunks[1:], True)
        self.assertSpoilt(sealed)

    def test_a_final_chunk_that_was_not_sealed_as_one(self):
        sealed = self.sealed(10)
        sealed.send(0, [mgwire.seal_chunk(sealed.value, 0, False, sealed.key)], True)
        self.assertSpoilt(sealed)

    def test_another_key(self):
        sealed = self.sealed(10)
        sealed.request.set.data_key = os.urandom(32)
        sealed.send(0, sealed.chunks, True)
        self.assertSpoilt(sealed)

    def test_a_set_that_was_cut_before_its_final_chunk(self):
        sealed = self.sealed(9 * BLOCK)
        sealed.send(0, sealed.chunks[:4], False)
        sealed.send(4, sealed.chunks[4:8], False)
        self.sender.ping()
        self.sender.close()
        self.assertStored(b"before")

    def test_a_set_that_is_given_up(self):
        sealed = self.sealed(9 * BLOCK)
        sealed.send(0, sealed.chunks[:4], False)
        sealed.send(4, [], False, abort=True)
        self.assertSpoilt(sealed, mgwire.TIMEOUT)

    def test_a_set_that_is_cancelled(self):
        sealed = self.sealed(9 * BLOCK)
        sealed.send(0, sealed.chunks[:4], False)
        cancel = self.sender.request(cancel=pb.Cancel(id=sealed.request.id))
        self.sender.send(cancel)
        codes = {}
        for _ in range(2):
            reply, _ = self.sender.receive()
            codes[reply.id] = reply.code
        self.assertEqual(codes, {sealed.request.id: mgwire.TIMEOUT, cancel.id: mgwire.OK})
        self.assertStored(b"before")

    def test_chunks_behind_a_cancel_are_of_no_set(self):
        sealed = self.sealed(5 * BLOCK)
        sealed.send(0, sealed.chunks[:4], False)
        self.sender.send(self.sender.request(cancel=pb.Cancel(id=sealed.request.id)))
        self.sender.receive(), self.sender.receive()
        sealed.send(4, sealed.chunks[4:], True)
        self.assertClosed(self.sender)
        self.assertStored(b"before")

    def test_a_cancel_of_a_set_that_has_failed_is_its_end_and_no_second_answer(self):
        sealed = self.sealed(5 * BLOCK)
        sealed.send(0, [bytes(mgwire.CHUNK_SIZE)], False)
        self.assertRefused(mgwire.INTEGRITY, sealed.answer)
        cancel = self.sender.request(cancel=pb.Cancel(id=sealed.request.id))
        self.sender.send(cancel)
        self.assertEqual(self.sender.receive()[0], pb.Reply(id=cancel.id))
        again = pb.Request(id=sealed.request.id, ping=pb.Ping())
        self.assertEqual(self.sender.ask(again).id, again.id)
        self.assertStored(b"before")

    def test_a_refused_set_drops_what_still_comes(self):
        sealed = self.sealed(9 * BLOCK, create_only=False)
        sealed.request.set.name = b"a//b"
        sealed.send_all()
        self.assertRefused(mgwire.INVALID, sealed.answer)
        self.sender.ping()

    def test_a_set_may_bring_all_its_chunks_later(self):
        sealed = self.sealed(5 * BLOCK)
        self.sender.send(sealed.request)
        self.sender.ping()
        sealed.request = pb.Request(id=sealed.request.id)
        sealed.send(0, sealed.chunks[:4], False)
        sealed.send(4, sealed.chunks[4:], True)
        sealed.answer()
        self.assertStored(sealed.value)

    def test_two_sets_at_once_do_not_mix(self):
        one, two = self.sealed(6 * BLOCK), Sealed(self.sender, self.name + b"2", 6 * BLOCK)
        one.send(0, one.chunks[:3], False)
        two.send(0, two.chunks[:3], False)
        one.send(3, one.chunks[3:], True)
        two.send(3, two.chunks[3:], True)
        self.sender.receive(), self.sender.receive()
        self.assertStored(one.value)
        self.assertStored(two.value, self.name + b"2")

    def test_chunks_of_one_set_are_none_of_another(self):
        one, two = self.sealed(BLOCK), Sealed(self.sender, self.name + b"2", BLOCK)
        one.chunks = two.chunks
        one.send_all()
        self.assertSpoilt(one)


class Reading(BystanderTest):
    """What a reader would notice if the daemon, or somebody between, gave it other chunks."""

    def fetch(self, name):
        client = self.client()
        client.send(client.request(get=pb.Get(name=name)))
        reply, chunks = client.receive()
        while not reply.chunks.final:
            more, some = client.receive()
            reply.chunks.final = more.chunks.final
            chunks += some
        return reply.value.data_key, chunks

    def opened(self, key, chunks):
        return b"".join(mgwire.open_chunk(chunk, number, number + 1 == len(chunks), key)
                        for number, chunk in enumerate(chunks))

    def test_chunks_of_two_gets_that_are_swapped(self):
        value = os.urandom(3 * BLOCK)
        self.healthy.set(self.name, value)
        self.healthy.set(self.name + b"2", value)
        one, two = self.fetch(self.name), self.fetch(self.name + b"2")
        self.assertEqual(self.opened(*one), value)
        one[1][1], two[1][1] = two[1][1], one[1][1]
        for key, chunks in (one, two):
            with self.assertRaises(Broken):
                self.opened(key, chunks)

    def test_a_chunk_of_an_older_version(self):
        value = os.urandom(3 * BLOCK)
        self.healthy.set(self.name, value)
        old = self.fetch(self.name)
        self.healthy.set(self.name, value)
        new = self.fetch(self.name)
        self.assertEqual(self.opened(*new), value)
        new[1][2] = old[1][2]
        with self.assertRaises(Broken):
            self.opened(*new)

    def test_all_chunks_of_a_get_are_of_one_version(self):
        values = [os.urandom(1 << 20) for _ in range(2)]
        self.healthy.set(self.name, values[0])
        client = self.client()
        request = client.request(get=pb.Get(name=self.name))
        client.send(request)
        client.waiting = client.read_replies()  # the rest has not left yet
        self.healthy.set(self.name, values[1])
        self.assertEqual(client.take_value(request), values[0])
        self.assertStored(values[1])


class Repeats(BystanderTest):
    """A number stands for one change, whoever repeats it and on whichever connection."""

    def repeat(self, number, value=b"value", key=bytes(32), name=None, **conditions):
        with mgwire.Client(self.daemon.path) as client:
            request = client.set_request(
                name or self.name, value, key, number=number, **conditions)
            client.send_value(request, mgwire.seal_value(value, key))
            return client.answer(request)[0].stored.version

    def test_the_same_set_is_stored_once(self):
        number = os.urandom(16)
        self.assertEqual([self.repeat(number) for _ in range(3)], [1, 1, 1])
        self.assertEqual(self.healthy.set(self.name, b"new"), 2)
        self.assertEqual(self.repeat(number), 1)
        self.assertStored(b"new")

    def test_other_bytes_under_the_same_number(self):
        number = os.urandom(16)
        self.repeat(number)
        self.assertRefused(mgwire.CONFLICT, self.repeat, number, value=b"other")
        self.assertRefused(mgwire.CONFLICT, self.repeat, number, name=self.name + b"2")
        self.assertRefused(mgwire.CONFLICT, self.repeat, number, create_only=True)
        self.assertStored(b"value")
        self.assertAbsent(self.name + b"2")

    def test_other_chunks_of_the_same_bytes(self):
        number = os.urandom(16)
        self.repeat(number)
        self.assertRefused(mgwire.CONFLICT, self.repeat, number, key=bytes(31) + b"1")

    def test_the_same_remove_and_generate(self):
        client = self.client()
        client.set(self.name, b"v")
        remove = client.change(remove=pb.Remove(name=self.name))
        self.assertEqual([client.ask(remove).code for _ in range(2)], [0, 0])
        generate = client.change(generate=pb.Generate(name=self.name, size=20))
        self.assertEqual([client.ask(generate).stored.version for _ in range(2)], [1, 1])
        generate.generate.size = 21
        self.assertRefused(mgwire.CONFLICT, client.ask, generate)

    def test_no_number_or_a_short_one(self):
        client = self.client()
        for number in (b"", b"short", bytes(17)):
            request = client.request(remove=pb.Remove(name=self.name), number=number)
            self.assertRefused(mgwire.INVALID, client.ask, request)
            sealed = Sealed(client, self.name, 5)
            sealed.request.number = number
            sealed.send_all()
            self.assertRefused(mgwire.INVALID, sealed.answer)
        self.assertAbsent()


class Names(BystanderTest):
    BAD = [b"", b"n" * 256, b"~/" + b"n" * 254, b"a\0b", b"..", b".", b"a/../b", b"a/.", b"a//b",
           b"/a", b"a/", b"\xff", b"a\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\x1b[2J",
           b"a\x7f", b"a\xc2\x85", b"a\nb", b"~", b"~/", b"~x/y", b"~01/y", b"~4294967295/y"]
    GOOD = [b"n", b"n" * 255, b"~/" + b"n" * 253, b"a/b/c", b"a..b", b"...", b"a b", b"a/~x",
            "schl\u00fcssel/\u9375/\U0001f511".encode(), b"~0/y", b"~4294967294/" + b"n" * 253]

    def test_a_bad_name_is_refused_by_every_verb(self):
        client = self.client()
        for name in self.BAD:
            with self.subTest(name=name):
                for call in (client.get, client.stat, client.remove):
                    self.assertRefused(mgwire.INVALID, call, name)
                self.assertRefused(mgwire.INVALID, client.set, name, b"v")
                self.assertRefused(mgwire.INVALID, client.generate, name, 5)

    def test_a_good_name_is_kept_as_it_is(self):
        own = b"~%d/" % os.geteuid()
        for name in self.GOOD:
            with self.subTest(name=name):
                self.healthy.set(name, name)
                self.assertEqual(self.healthy.get(name), name)
                said = name.replace(own, b"~/") if name.startswith(own) else name
                self.assertEqual(self.healthy.list(name)[0].name, said)

    def test_a_bad_prefix_is_refused(self):
        client = self.client()
        for prefix in (b"/", b"a//", b"\xff", b"a\0", b"../a", b"n" * 256):
            with self.subTest(prefix=prefix):
                self.assertRefused(mgwire.INVALID, client.list, prefix)

    def test_bad_tags_are_refused(self):
        client = self.client()
        for tags in ([(b"", b"v")], [(b"k" * 65, b"v")], [(b"k", b"v" * 257)], [(b"a=b", b"v")],
                     [(b"k", b"\0")], [(b"\xff", b"v")], [(b"k", b"1"), (b"k", b"2")],
                     [(b"k%d" % number, b"v") for number in range(17)]):
            with self.subTest(tags=tags):
                self.assertRefused(mgwire.INVALID, client.set, self.name, b"v", tags=tags)
        self.assertAbsent()
        client.set(self.name, b"v", tags=[(b"k%d" % number, b"v" * 256) for number in range(16)])

    def test_a_key_of_another_length(self):
        client = self.client()
        for size in (0, 31, 33):
            sealed = Sealed(client, self.name, 5)
            sealed.request.set.data_key = bytes(size)
            sealed.send_all()
            self.assertRefused(mgwire.INVALID, sealed.answer)
        self.assertAbsent()

    def test_an_empty_value(self):
        client = self.client()
        self.assertRefused(mgwire.INVALID, client.generate, self.name, 0)
        self.assertAbsent()

    def test_an_empty_value_cannot_be_said(self):
        empty = mgwire.seal_chunk(b"", 0, True, bytes(32))
        self.assertEqual(len(empty), 16)
        for chunks, announced in ((b"", pb.Chunks()), (b"", pb.Chunks(final=True)),
                                  (empty, pb.Chunks(count=1, last=16, final=True))):
            with self.subTest(announced=announced):
                client = self.client()
                request = client.set_request(self.name, b"", bytes(32))
                request.chunks.CopyFrom(announced)
                client.send(request, chunks=chunks)
                self.assertClosed(client)
        self.assertAbsent()

    def test_a_value_over_the_limit(self):
        client = self.client()
        client.set(self.name, b"before")
        for size in ((1 << 20) + 1, 5 << 20):
            self.assertRefused(mgwire.LIMIT, client.set, self.name, bytes(size))
            self.assertRefused(mgwire.LIMIT, client.set, self.name, bytes(size), size=0)
        self.assertStored(b"before")

    def test_a_generate_over_its_limit(self):
        client = self.client()
        client.generate(self.name, 4096, pb.HEX)
        value = client.get(self.name)
        self.assertEqual(len(value), 4096)
        for size in (4097, 1 << 20, (1 << 20) + 1, 1 << 63, (1 << 64) - 1):
            self.assertRefused(mgwire.LIMIT, client.generate, self.name, size)
        self.assertStored(value)


class Limit(BystanderTest):
    """The limit is the one that was configured, to the byte."""

    limit = 7 * BLOCK + 3
    arguments = ("--max-value", str(limit))

    def test_the_limit_is_told(self):
        self.assertEqual(self.healthy.status().max_value, self.limit)

    def test_a_value_of_the_limit_fits_and_one_byte_more_does_not(self):
        client = self.client()
        value = os.urandom(self.limit)
        for announced in (None, 0):
            client.set(self.name, value, size=announced)
            self.assertRefused(mgwire.LIMIT, client.set, self.name, value + b"x", size=announced)
            self.assertStored(value)

    def test_a_generate_is_held_to_a_lower_limit(self):
        with Daemon("--max-value", "100") as daemon, mgwire.Client(daemon.path) as client:
            client.generate(self.name, 100)
            self.assertRefused(mgwire.LIMIT, client.generate, self.name, 101)

    def test_what_is_announced_too_large_is_refused_before_its_end(self):
        client = self.client()
        sealed = Sealed(client, self.name, 5 * BLOCK, size=self.limit + 1)
        sealed.send(0, sealed.chunks[:1], False)
        self.assertRefused(mgwire.LIMIT, sealed.answer)
        sealed.send(1, [], False, abort=True)
        client.ping()
        self.assertAbsent()
