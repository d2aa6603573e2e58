# SPDX-License-Identifier: Apache-2.0
"""proto/PROTOCOL.md is enough to write a client: mgwire.py was, and it stores, fetches, lists and
is refused; and the page's own vectors hold."""

import os
import pathlib
import re
import unittest

import mgwire
from daemon import Daemon, wait_for
from mgwire import Client, Refused, pb

PAGE = pathlib.Path(__file__).parents[2] / "proto" / "PROTOCOL.md"


class Vectors(unittest.TestCase):
    """What the page says comes out of what goes in."""

    @classmethod
    def setUpClass(cls):
        lines = re.findall(r"^([a-z][a-z ]+?) +([0-9a-f]{12,})$", PAGE.read_text(), re.M)
        cls.vector = {name: bytes.fromhex(digits) for name, digits in lines}

    def test_key_pairs(self):
        for side, first in (("client", 0x00), ("daemon", 0x20)):
            public, secret = mgwire.sodium.crypto_kx_seed_keypair(bytes(range(first, first + 32)))
            self.assertEqual(secret, self.vector[side + " secret"])
            self.assertEqual(public, self.vector[side + " public"])

    def test_hellos(self):
        for side in ("client", "daemon"):
            self.assertEqual(
                mgwire.hello(self.vector[side + " public"]), self.vector[side + " hello"])

    def keys(self):
        return mgwire.frame_keys(self.vector["client public"], self.vector["client secret"],
                                 self.vector["client hello"], self.vector["daemon hello"])

    def test_frame_keys(self):
        self.assertEqual(
            self.keys(), (self.vector["daemon to client"], self.vector["client to daemon"]))

    def test_ping(self):
        plain = mgwire.pack([pb.Request(id=1, ping=pb.Ping())])
        self.assertEqual(plain, self.vector["ping plaintext"])
        self.assertEqual(
            mgwire.seal_frame(plain, 0, 0, self.keys()[1]), self.vector["ping frame"])

    def test_chunk(self):
        chunk = mgwire.seal_chunk(b"yellow submarine", 0, True, self.vector["data key"])
        self.assertEqual(chunk, self.vector["chunk"])
        self.assertEqual(
            mgwire.open_chunk(chunk, 0, True, self.vector["data key"]), b"yellow submarine")

    def test_set(self):
        request = pb.Request(
            id=2, number=bytes(range(0x40, 0x50)),
            chunks=pb.Chunks(count=1, last=32, final=True),
            set=pb.Set(name=b"web/db", data_key=self.vector["data key"], size=16,
                       conditions=pb.Conditions()))
        self.assertEqual(mgwire.pack([request]), self.vector["set plaintext"])
        self.assertEqual(mgwire.seal_frame(self.vector["set plaintext"], 32, 1, self.keys()[1]),
                         self.vector["set frame"])

    def test_stored(self):
        plain = mgwire.pack([pb.Reply(id=2, stored=pb.Stored(version=1))])
        self.assertEqual(plain, self.vector["stored plaintext"])
        self.assertEqual(
            mgwire.seal_frame(plain, 0, 0, self.keys()[0]), self.vector["stored frame"])


class ProtocolTest(unittest.TestCase):
    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(*cls.arguments)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.end()

    def setUp(self):
        self.client = Client(self.daemon.path)
        self.addCleanup(self.client.close)
        self.name = ("test/" + self.id().rsplit(".", 1)[1]).encode()

    def assertRefused(self, code, call, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **fields)
        self.assertEqual(caught.exception.code, code)
        return caught.exception.reply


class Values(ProtocolTest):
    """Stored and fetched, bit for bit."""

    def test_every_size_comes_back(self):
        for size in (1, 2, 16383, 16384, 16385, 65535, 65536, 65537, 200000, 1 << 20):
            value = os.urandom(size)
            self.client.set(self.name, value)
            self.assertEqual(self.client.get(self.name), value)

    def test_bytes_are_kept_as_they_are(self):
        for value in (b"\0\0", b"text\n", b"\n", bytes(range(256)), os.urandom(4096)):
            self.client.set(self.name, value)
            self.assertEqual(self.client.get(self.name), value)

    def test_a_size_need_not_be_announced(self):
        value = os.urandom(100000)
        self.client.set(self.name, value, size=0)
        self.assertEqual(self.client.get(self.name), value)
        self.assertEqual(self.client.stat(self.name).size, len(value))

    def test_versions_count(self):
        self.assertEqual([self.client.set(self.name, b"v") for _ in range(3)], [1, 2, 3])
        self.assertEqual(self.client.get(self.name, version=3), b"v")
        self.assertRefused(mgwire.NOT_FOUND, self.client.get, self.name, version=2)

    def test_conditions(self):
        self.client.set(self.name, b"1", create_only=True)
        reply = self.assertRefused(
            mgwire.CONFLICT, self.client.set, self.name, b"2", create_only=True)
        self.assertEqual(reply.stored.version, 1)
        self.client.set(self.name, b"2", compare=True, version=1)
        self.assertRefused(
            mgwire.CONFLICT, self.client.set, self.name, b"3", compare=True, version=1)
        self.assertRefused(
            mgwire.CONFLICT, self.client.remove, self.name, compare=True, version=1)
        self.client.remove(self.name, compare=True, version=2)
        self.assertRefused(mgwire.NOT_FOUND, self.client.get, self.name)
        self.assertRefused(
            mgwire.CONFLICT, self.client.set, self.name, b"3", compare=True, version=1)

    def test_a_value_is_drawn(self):
        alphabets = {pb.ALNUM: rb"[A-Za-z0-9]{40}", pb.HEX: rb"[0-9a-f]{40}",
                     pb.BASE64: rb"[A-Za-z0-9+/]{40}", pb.BYTES: rb"(?s:.){40}"}
        for charset, alphabet in alphabets.items():
            self.client.generate(self.name, 40, charset)
            self.assertRegex(self.client.get(self.name), rb"\A" + alphabet + rb"\Z")

    def test_a_get_waits(self):
        self.assertRefused(mgwire.TIMEOUT, self.client.get, self.name, wait_ms=50)
        request = self.client.request(get=pb.Get(name=self.name, wait_ms=20000))
        self.client.send(request)
        with Client(self.daemon.path) as other:
            other.set(self.name, b"now")
        self.assertEqual(self.client.take_value(request), b"now")

    def test_as_many_gets_wait_as_may_be_under_way(self):
        value = os.urandom(40000)
        waits = [self.client.request(get=pb.Get(name=self.name, wait_ms=20000))
                 for _ in range(64)]
        self.client.send(*waits)
        self.client.socket.settimeout(20)
        with Client(self.daemon.path) as other:
            other.ping()
            other.set(self.name, value)
        came = {}
        while len(came) < 64:
            reply, _ = self.client.receive()
            if reply.HasField("value") or reply.code:
                came[reply.id] = reply.code
        self.assertEqual(set(came.values()), {0})

    def test_a_wait_is_cancelled(self):
        waiting = self.client.request(get=pb.Get(name=self.name, wait_ms=20000))
        cancel = self.client.request(cancel=pb.Cancel(id=waiting.id))
        self.client.send(waiting, cancel)
        codes = {}
        for _ in range(2):
            reply, _ = self.client.receive()
            codes[reply.id] = reply.code
        self.assertEqual(codes, {waiting.id: mgwire.TIMEOUT, cancel.id: mgwire.OK})

    def test_what_is_too_large_is_refused(self):
        self.client.set(self.name, b"kept")
        self.assertRefused(mgwire.LIMIT, self.client.set, self.name, bytes((1 << 20) + 1))
        self.assertRefused(mgwire.LIMIT, self.client.set, self.name, bytes((1 << 20) + 1), size=0)
        self.assertRefused(mgwire.LIMIT, self.client.generate, self.name, (1 << 20) + 1)
        self.assertEqual(self.client.get(self.name), b"kept")


class Outside(ProtocolTest):
    """What is told about secrets, the daemon and the caller."""

    def test_a_stat_tells_all_but_the_value(self):
        tags = [(b"env", b"prod"), (b"empty", b"")]
        self.client.set(self.name, b"x" * 20000, tags=tags)
        info = self.client.stat(self.name)
        self.assertEqual((info.name, info.version, info.size), (self.name, 1, 20000))
        self.assertEqual(sorted((tag.key, tag.value) for tag in info.tags), sorted(tags))
        self.assertGreater(info.created_ms, 1 << 40)
        self.assertGreaterEqual(info.changed_ms, info.created_ms)

    def test_a_list_is_whole_and_sorted(self):
        names = [b"list/%03d-%s" % (number, b"n" * 100) for number in range(300)]
        for number, name in enumerate(names):
            self.client.set(name, b"v", tags=[(b"odd", b"%d" % (number % 2))])
        for limit in (0, 1, 7):
            listed = [info.name for info in self.client.list(b"list/", limit=limit)]
            self.assertEqual(listed, names)
        odd = self.client.list(b"list/", tags=[pb.Tag(key=b"odd", value=b"1")], details=True)
        self.assertEqual([info.name for info in odd], names[1::2])
        self.assertEqual({info.size for info in odd}, {1})
        self.assertEqual(self.client.list(b"nothing/"), [])

    def test_the_callers_own_space(self):
        uid = os.geteuid()
        self.client.set(b"~/own", b"v")
        self.assertEqual(self.client.get(b"~%d/own" % uid), b"v")
        self.assertEqual([info.name for info in self.client.list(b"~/")], [b"~/own"])

    def test_what_is_not_there_is_3(self):
        for call in (self.client.get, self.client.stat, self.client.remove):
            self.assertRefused(mgwire.NOT_FOUND, call, b"no/such")

    def test_status_and_whoami(self):
        state = self.client.status()
        self.assertEqual((state.pid, state.max_value, state.core_limit, state.dumpable),
                         (self.daemon.pid, 1 << 20, 0, False))
        caller = self.client.whoami()
        self.assertEqual((caller.uid, caller.gid, caller.pid),
                         (os.geteuid(), os.getegid(), os.getpid()))

    def test_several_requests_share_a_frame(self):
        requests = [self.client.request(ping=pb.Ping()) for _ in range(64)]
        self.client.send(*requests)
        self.assertEqual({self.client.receive()[0].id for _ in requests},
                         {request.id for request in requests})


class Lifetimes(ProtocolTest):
    """Secrets that end by themselves, and frozen ones, as the page says."""

    def test_fetches_are_counted_before_they_are_answered(self):
        value = os.urandom(100000)
        self.client.set(self.name, value, lifetime={"reads": 2})
        self.assertEqual(self.client.stat(self.name).left.reads, 2)
        self.assertEqual(self.client.get(self.name), value)
        self.assertEqual(self.client.stat(self.name).left.reads, 1)
        # Whoever hangs up in the midst has had its fetch.
        with Client(self.daemon.path) as other:
            request = other.request(get=pb.Get(name=self.name))
            other.send(request)
            other.answer(request)
        for call in (self.client.get, self.client.stat, self.client.remove):
            self.assertRefused(mgwire.GONE, call, self.name)
        self.assertEqual(self.client.set(self.name, b"again", create_only=True), 1)

    def test_a_session_takes_its_own_with_it(self):
        with Client(self.daemon.path) as other:
            other.set(self.name, b"mine", lifetime={"session": True})
            self.assertEqual(self.client.get(self.name), b"mine")
            self.assertTrue(self.client.stat(self.name).left.session)
            self.client.set(self.name + b"/kept", b"kept")
        self.assertTrue(wait_for(lambda: len(self.client.list(self.name)) == 1))
        self.assertRefused(mgwire.NOT_FOUND, self.client.get, self.name)
        self.assertEqual(self.client.get(self.name + b"/kept"), b"kept")

    def test_a_repeat_brings_nothing_back(self):
        value, key, number = b"mine", os.urandom(32), os.urandom(16)
        with Client(self.daemon.path) as other:
            request = other.set_request(
                self.name, value, key, number=number, lifetime={"session": True})
            other.send_value(request, mgwire.seal_value(value, key))
            other.answer(request)
        self.assertTrue(wait_for(lambda: not self.client.list(self.name)))
        request = self.client.set_request(
            self.name, value, key, number=number, lifetime={"session": True})
        self.client.send_value(request, mgwire.seal_value(value, key))
        self.assertEqual(self.client.answer(request)[0].stored.version, 1)
        self.assertRefused(mgwire.NOT_FOUND, self.client.get, self.name)

    def test_times(self):
        self.client.set(self.name, b"v", lifetime={"ttl_ms": 3600000, "idle_ms": 60000})
        info = self.client.stat(self.name)
        self.assertEqual(info.left.idle_ms, 60000)
        self.assertTrue(0 < info.left.ttl_ms <= 3600000 and 0 < info.idle_left_ms <= 60000)
        self.assertEqual(self.client.touch(self.name, 7200000), 1)
        self.assertGreater(self.client.stat(self.name).left.ttl_ms, 3600000)
        self.client.touch(self.name, 1, compare=True, version=1)
        self.assertTrue(wait_for(lambda: not self.client.list(self.name)))
        self.assertRefused(mgwire.NOT_FOUND, self.client.touch, self.name, 1)
        most = 3_153_600_000_000
        self.client.set(self.name, b"v", lifetime={"ttl_ms": most, "idle_ms": most})
        for wrong in ({"ttl_ms": most + 1}, {"idle_ms": 1 << 63}, {"pid": 1 << 31}):
            self.assertRefused(mgwire.INVALID, self.client.set, self.name, b"w", lifetime=wrong)
        self.assertRefused(mgwire.INVALID, self.client.touch, self.name, 0)
        self.assertEqual(self.client.get(self.name), b"v")

    def test_frozen(self):
        self.client.set(self.name, b"v", freeze=True)
        self.assertTrue(self.client.stat(self.name).frozen)
        for call in ((self.client.set, b"w"), (self.client.remove,), (self.client.touch, 5),
                     (self.client.generate, 32)):
            self.assertRefused(mgwire.FROZEN, call[0], self.name, *call[1:])
        self.assertEqual(self.client.freeze(self.name), 1)
        self.assertRefused(mgwire.CONFLICT, self.client.melt, self.name, compare=True, version=2)
        self.assertEqual(self.client.melt(self.name, compare=True, version=1), 1)
        self.assertEqual(self.client.set(self.name, b"w"), 2)
        self.assertFalse(self.client.stat(self.name).frozen)


class Strangers(ProtocolTest):
    """Callers who are neither root nor the daemon's user have their own space and no other."""

    arguments = ("--socket-mode", "0666")

    def test_others_are_refused_the_same_whether_it_exists_or_not(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to be somebody else")
        self.client.set(b"shared", b"v")
        self.client.set(b"~/root", b"v")
        self.daemon.folder.chmod(0o755)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                status = self.stranger()
            finally:
                os._exit(status)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)

    def stranger(self):
        """In another user's process: 0 when all is as it should be."""
        with Client(self.daemon.path) as client:
            words = set()
            for name in (b"shared", b"absent", b"~0/root", b"~0/absent"):
                words.add(self.assertRefused(mgwire.DENIED, client.get, name).detail)
                words.add(self.assertRefused(mgwire.DENIED, client.set, name, b"x").detail)
                words.add(self.assertRefused(mgwire.DENIED, client.remove, name).detail)
            client.set(b"~/mine", b"m")
            right = [info.name for info in client.list()] == [b"~/mine"]
            return 0 if right and len(words) == 1 and client.get(b"~65534/mine") == b"m" else 1
