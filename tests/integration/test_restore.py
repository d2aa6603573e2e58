# SPDX-License-Identifier: Apache-2.0
"""Export, stage and commit on the wire: all or nothing, whoever does what meanwhile."""

import os
import signal
import threading
import time
import unittest

import mgwire
from daemon import Daemon, wait_for
from mgwire import pb
from strangers import NOBODY

MANY = 20000


class RestoreTest(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--socket-mode", "0666")
        self.addCleanup(self.daemon.end)
        self.client = self.connect()

    def connect(self):
        client = mgwire.Client(self.daemon.path)
        self.addCleanup(client.close)
        return client

    def stage_request(self, client, name, value, owner=0, **fields):
        data_key = os.urandom(32)
        fields.setdefault("version", 1)
        request = client.request(stage=pb.Stage(record=pb.Record(
            owner=owner, data_key=data_key,
            info=pb.Info(name=name, size=len(value), **fields))))
        return request, mgwire.seal_value(value, data_key)

    def stage(self, client, name, value, **fields):
        request, chunks = self.stage_request(client, name, value, **fields)
        client.send_value(request, chunks)
        return client.answer(request)[0]

    def stage_many(self, client, prefix, count):
        """Several a frame, and several frames before an answer is read."""
        for base in range(0, count, 48):
            sent, frame = [], []
            for i in range(base, min(count, base + 48)):
                request, chunks = self.stage_request(client, prefix + b"%d" % i, b"restored")
                request.chunks.CopyFrom(mgwire.announce(0, chunks, True))
                sent.append(request)
                frame.append((request, chunks[0]))
                if len(frame) == 4 or i + 1 == min(count, base + 48):
                    client.send(*(one for one, _ in frame), chunks=b"".join(c for _, c in frame))
                    frame = []
            for request in sent:
                client.answer(request)

    def commit_request(self, client, count, number=None):
        return client.change(number=number, commit=pb.Commit(secrets=count))

    def commit(self, client, count, number=None):
        return client.ask(self.commit_request(client, count, number)).restored.secrets

    def names(self, prefix=b""):
        return [info.name for info in self.client.list(prefix)]

    def refused(self, code, call, *arguments, **fields):
        with self.assertRaises(mgwire.Refused) as caught:
            call(*arguments, **fields)
        self.assertEqual(caught.exception.code, code)
        return caught.exception.reply


class Staging(RestoreTest):
    def test_what_is_staged_is_seen_by_nobody_until_it_is_committed(self):
        self.client.set(b"b", b"before")
        self.stage(self.client, b"a", b"one")
        self.stage(self.client, b"b", b"two" * 30000)
        self.refused(mgwire.NOT_FOUND, self.client.get, b"a")
        self.assertEqual(self.client.get(b"b"), b"before")
        self.assertEqual(self.names(), [b"b"])
        self.assertEqual(self.client.status().secrets, 1)
        self.assertEqual(self.commit(self.client, 2), 2)
        self.assertEqual(self.client.get(b"a"), b"one")
        self.assertEqual(self.client.get(b"b"), b"two" * 30000)
        self.assertEqual(self.client.stat(b"b").version, 2)
        self.assertEqual(self.client.status().secrets, 2)

    def test_it_ends_with_its_connection(self):
        other = self.connect()
        self.stage(other, b"a", b"one" * 30000)
        request, chunks = self.stage_request(other, b"b", bytes(100000))
        request.chunks.CopyFrom(mgwire.announce(0, chunks[:4], False))
        other.send(request, chunks=b"".join(chunks[:4]))
        self.assertTrue(wait_for(lambda: self.client.status().ledger > 90000 + 65600))
        other.close()
        self.assertTrue(wait_for(lambda: self.client.status().ledger == 0))
        self.assertEqual(self.names(), [])
        self.refused(mgwire.NOT_FOUND, self.commit, self.client, 1)

    def test_it_belongs_to_one_connection(self):
        self.stage(self.client, b"a", b"one")
        self.refused(mgwire.NOT_FOUND, self.commit, self.connect(), 1)
        self.assertEqual(self.commit(self.client, 1), 1)

    def test_another_number_of_secrets_drops_all(self):
        self.stage(self.client, b"a", b"one")
        self.refused(mgwire.INTEGRITY, self.commit, self.client, 2)
        self.refused(mgwire.NOT_FOUND, self.commit, self.client, 1)
        self.assertEqual(self.client.status().ledger, 0)

    def test_a_chunk_is_checked_before_it_is_staged(self):
        request, chunks = self.stage_request(self.client, b"a", b"one")
        self.client.send_value(request, [chunks[0][:-1] + bytes([chunks[0][-1] ^ 1])])
        self.refused(mgwire.INTEGRITY, self.client.answer, request)
        request, chunks = self.stage_request(self.client, b"a", b"one")
        request.stage.record.info.size = 4
        self.client.send_value(request, chunks)
        self.refused(mgwire.INTEGRITY, self.client.answer, request)
        self.refused(mgwire.INTEGRITY, self.commit, self.client, 1)

    def test_a_name_is_staged_once(self):
        self.stage(self.client, b"a", b"one")
        self.refused(mgwire.CONFLICT, self.stage, self.client, b"a", b"two")
        self.assertEqual(self.commit(self.client, 1), 1)
        self.assertEqual(self.client.get(b"a"), b"one")

    def test_a_purge_takes_what_is_staged_too(self):
        self.stage(self.client, b"a", b"one")
        self.client.ask(self.client.change(purge=pb.Purge(all=True)))
        self.refused(mgwire.GONE, self.stage, self.client, b"b", b"two")
        self.refused(mgwire.INTEGRITY, self.commit, self.client, 1)
        self.stage(self.client, b"c", b"three")
        self.assertEqual(self.commit(self.client, 1), 1)

    def test_a_life_begins_when_it_is_staged(self):
        self.stage(self.client, b"a", b"one", left=pb.Lifetime(ttl_ms=100))
        self.stage(self.client, b"b", b"two", left=pb.Lifetime(ttl_ms=60000, idle_ms=50000))
        time.sleep(0.3)
        self.assertEqual(self.commit(self.client, 2), 2)
        self.assertEqual(self.names(), [b"b"])
        self.refused(mgwire.NOT_FOUND, self.client.get, b"a")
        info = self.client.stat(b"b")
        self.assertEqual(info.left.idle_ms, 50000)
        self.assertTrue(0 < info.left.ttl_ms < 60000)

    def test_a_fetched_up_name_can_be_restored(self):
        self.client.set(b"a", b"once", lifetime={"reads": 1})
        self.client.get(b"a")
        self.refused(mgwire.GONE, self.client.get, b"a")
        self.stage(self.client, b"a", b"one")
        self.assertEqual(self.commit(self.client, 1), 1)
        self.assertEqual(self.client.get(b"a"), b"one")

    def test_who_waits_for_a_name_gets_it(self):
        other = self.connect()
        request = other.request(get=pb.Get(name=b"a", wait_ms=10000))
        other.send(request)
        self.stage(self.client, b"a", b"one")
        self.commit(self.client, 1)
        self.assertEqual(other.take_value(request), b"one")

    @unittest.skipIf(os.environ.get("SANITIZED"), "the sanitizers take address space of their own")
    def test_memory_that_is_used_up_is_told_and_changes_nothing(self):
        with Daemon(wrap=["prlimit", "--as=300000000"]) as small:
            client = mgwire.Client(small.path)
            client.set(b"kept", b"kept")
            with self.assertRaises(mgwire.Refused) as caught:
                for i in range(400):
                    self.stage(client, b"%d" % i, bytes(1 << 20))
            self.assertEqual(caught.exception.code, mgwire.LIMIT)
            client.close()
            with mgwire.Client(small.path) as other:
                self.assertTrue(wait_for(lambda: other.status().ledger < 4096))
                self.assertEqual([info.name for info in other.list()], [b"kept"])
                other.set(b"room", bytes(1 << 20))


class Numbers(RestoreTest):
    def test_a_repeated_commit_gets_its_first_answer(self):
        number = os.urandom(16)
        self.stage(self.client, b"a", b"one")
        self.assertEqual(self.commit(self.client, 1, number), 1)
        self.client.set(b"a", b"since")
        self.assertEqual(self.commit(self.connect(), 1, number), 1)
        self.assertEqual(self.client.get(b"a"), b"since")
        self.refused(mgwire.CONFLICT, self.commit, self.client, 2, number)

    def test_a_refusal_is_repeated_too(self):
        number = os.urandom(16)
        self.client.set(b"a", b"before", freeze=True)
        before = self.client.status().ledger
        self.stage(self.client, b"a", b"one")
        reply = self.refused(mgwire.FROZEN, self.commit, self.client, 1, number)
        self.assertEqual(reply.restored.name, b"a")
        self.assertTrue(wait_for(lambda: self.client.status().ledger == before))
        self.client.melt(b"a")
        self.refused(mgwire.FROZEN, self.commit, self.client, 1, number)

    def test_a_commit_goes_on_without_its_connection(self):
        """Whatever moment the connection breaks at: all or nothing, and the number tells which."""
        for pause in (0, 0.001, 0.003, 0.01, 0.03):
            prefix = b"%d/" % int(pause * 1000)
            number = os.urandom(16)
            other = self.connect()
            self.stage_many(other, prefix, 2000)
            other.send(self.commit_request(other, 2000, number))
            time.sleep(pause)
            other.close()
            again = self.connect()
            done = True
            try:
                self.assertEqual(self.commit(again, 2000, number), 2000)
            except mgwire.Refused as refused:
                self.assertEqual(refused.code, mgwire.NOT_FOUND)
                done = False
            # By name it is there at once; a listing has it soon.
            if done:
                self.assertEqual(again.get(prefix + b"1999"), b"restored")
            self.assertTrue(wait_for(
                lambda: len(self.names(prefix)) == (2000 if done else 0)))  # noqa: B023


class Meanwhile(RestoreTest):
    def test_others_have_their_turns_during_a_large_one(self):
        self.stage_many(self.client, b"many/", MANY)
        other = self.connect()
        slowest, stop = [0.0], threading.Event()

        def ping():
            while not stop.is_set():
                began = time.monotonic()
                other.ping()
                slowest[0] = max(slowest[0], time.monotonic() - began)

        thread = threading.Thread(target=ping)
        thread.start()
        began = time.monotonic()
        self.assertEqual(self.commit(self.client, MANY), MANY)
        took = time.monotonic() - began
        stop.set()
        thread.join()
        print("# commit of %d: %.3f s, slowest ping %.1f ms" % (MANY, took, slowest[0] * 1000),
              flush=True)
        self.assertEqual(len(self.names(b"many/")), MANY)
        if not os.environ.get("SANITIZED"):
            self.assertLess(slowest[0], max(took / 2, 0.05))

    def test_by_name_nobody_sees_half_of_it(self):
        """Readers of the last name and of the first: once one is new, so is the other."""
        self.client.set(b"many/0", b"before")
        self.client.set(b"many/%d" % (MANY - 1), b"before")
        self.stage_many(self.client, b"many/", MANY)
        other = self.connect()
        request = self.commit_request(self.client, MANY)
        self.client.send(request)
        seen = set()
        while (b"restored", b"restored") not in seen:
            seen.add((other.get(b"many/%d" % (MANY - 1)), other.get(b"many/0")))
        self.client.answer(request)
        self.assertLessEqual(seen, {(b"before", b"before"), (b"before", b"restored"),
                                    (b"restored", b"restored")})

    def test_what_is_frozen_meanwhile_is_not_overwritten(self):
        for attempt in range(10):
            prefix = b"%d/" % attempt
            self.client.set(prefix + b"0", b"before")
            other = self.connect()
            self.stage_many(other, prefix, 2000)
            request = self.commit_request(other, 2000)
            other.send(request)
            time.sleep(attempt / 2000)
            version = self.client.freeze(prefix + b"0")
            try:
                other.answer(request)
                done = True
            except mgwire.Refused as refused:
                self.assertEqual(refused.code, mgwire.FROZEN)
                done = False
            info = self.client.stat(prefix + b"0")
            self.assertTrue(info.frozen)
            self.assertEqual(info.version, version)
            self.assertEqual(self.client.get(prefix + b"0"), b"restored" if done else b"before")
            self.assertEqual(len(self.names(prefix)), 2000 if done else 1)

    def test_a_purge_in_the_midst_leaves_nothing(self):
        for pause in (0, 0.002, 0.01):
            other = self.connect()
            self.stage_many(other, b"many/", 5000)
            other.send(self.commit_request(other, 5000))
            time.sleep(pause)
            self.client.ask(self.client.change(purge=pb.Purge(all=True)))
            self.assertEqual(self.names(), [])
            self.assertEqual(self.client.status().ledger, 0)
            other.receive()
            self.client.set(b"a", b"one")
            self.client.remove(b"a")

    def test_a_commit_can_be_cancelled_or_is_done(self):
        self.stage_many(self.client, b"many/", 5000)
        request = self.commit_request(self.client, 5000)
        cancel = self.client.request(cancel=pb.Cancel(id=request.id))
        self.client.send(request, cancel)
        reply = self.client.receive()[0]
        self.assertEqual((reply.id, reply.code), (request.id, mgwire.TIMEOUT))
        self.assertEqual(self.client.receive()[0].code, mgwire.OK)
        self.assertTrue(wait_for(lambda: len(self.names()) in (0, 5000)))


class Exporting(RestoreTest):
    def export(self, client, **fields):
        request = client.request(export=pb.Export(**fields))
        client.send(request)
        reply, chunks = client.answer(request)
        while reply.HasField("record") and sum(map(len, chunks)) < reply.record.info.size:
            chunks = chunks + client.answer(request)[1]
        return reply, chunks

    def test_it_goes_through_all_names_in_order(self):
        values = {b"%s%d" % (letter, i): os.urandom(1 + 20000 * i)
                  for letter in (b"a", b"b") for i in range(5)}
        for name, value in values.items():
            self.client.set(name, value)
        found, after = {}, b""
        while True:
            reply, chunks = self.export(self.client, prefix=b"b", after=after)
            if not reply.HasField("record"):
                break
            after = reply.record.info.name
            found[after] = b"".join(
                mgwire.open_chunk(chunk, i, i + 1 == len(chunks), reply.record.data_key)
                for i, chunk in enumerate(chunks))
        self.assertFalse(reply.listing.more)
        self.assertEqual(list(found), sorted(found))
        self.assertEqual(found, {n: v for n, v in values.items() if n.startswith(b"b")})

    def test_what_it_passes_over_does_not_hold_up_the_others(self):
        for i in range(600):
            self.client.set(b"%03d" % i, b"x", lifetime={"reads": 1})
        self.client.set(b"last", b"x")
        asked, after = 0, b""
        while True:
            reply, _ = self.export(self.client, after=after)
            asked += 1
            if reply.HasField("record"):
                break
            self.assertTrue(reply.listing.more)
            after = reply.listing.next
        self.assertEqual(reply.record.info.name, b"last")
        self.assertGreater(asked, 2)

    def test_it_counts_no_fetch(self):
        self.client.set(b"a", b"x", lifetime={"idle_ms": 3000})
        for _ in range(4):
            time.sleep(0.5)
            self.export(self.client)
        self.assertTrue(wait_for(lambda: not self.names(), 5))

    def test_bad_requests_are_refused(self):
        for fields in ({"prefix": b"/"}, {"prefix": b"~x"}, {"after": b"../"}):
            self.refused(mgwire.INVALID, self.export, self.client, **fields)

    def test_the_daemon_outlives_one_that_is_killed_in_its_midst(self):
        self.client.set(b"a", bytes(1 << 20))
        pid = os.fork()
        if pid == 0:
            client = mgwire.Client(self.daemon.path)
            client.send(client.request(export=pb.Export()))
            client.read(1000)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        self.assertEqual(self.client.get(b"a"), bytes(1 << 20))


@unittest.skipUnless(os.geteuid() == 0, "needs root, to be somebody else")
class Strangers(RestoreTest):
    def as_nobody(self, work):
        """Runs in a child, who ends with 0 when all is as it should be."""
        self.daemon.folder.chmod(0o755)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
                work(mgwire.Client(self.daemon.path))
                status = 0
            finally:
                os._exit(status)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)

    def test_a_stranger_stages_in_its_own_space_alone(self):
        def work(client):
            self.refused(mgwire.DENIED, self.stage, client, b"shared", b"x")
            self.refused(mgwire.DENIED, self.stage, client, b"~0/x", b"x")
            self.stage(client, b"~/x", b"mine", owner=4711)
            self.assertEqual(self.commit(client, 1), 1)
        self.as_nobody(work)
        self.assertEqual(self.names(), [b"~%d/x" % NOBODY])
        reply = self.client.ask(self.client.request(export=pb.Export()))
        self.assertEqual(reply.record.owner, NOBODY)

    def test_a_stranger_exports_its_own_space_alone(self):
        self.client.set(b"shared", b"x")
        self.client.set(b"~%d/x" % NOBODY, b"x")

        def work(client):
            reply = client.ask(client.request(export=pb.Export()))
            self.assertEqual(reply.record.info.name, b"~/x")
            reply = client.ask(client.request(export=pb.Export(after=b"~/x")))
            self.assertFalse(reply.listing.more)
            reply = client.ask(client.request(export=pb.Export(prefix=b"sh")))
            self.assertFalse(reply.listing.more)
        self.as_nobody(work)
