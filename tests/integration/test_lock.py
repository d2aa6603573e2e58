# SPDX-License-Identifier: Apache-2.0
"""A daemon that is locked: what it answers, what goes on, what outlives what; and that everything is
as it was once it is unlocked."""

import os
import signal
import threading
import time
import unittest

from bystander import BystanderTest
from daemon import wait_for
from mgwire import LIMIT as CODE_LIMIT
from mgwire import Client, Refused, pb, seal_value
from strangers import NOBODY
from test_keeper import KeeperTest
from test_quota import as_uid, has, try_set
from test_restart import RestartTest
from test_upgrade_steps import KILL, StepsTest
from upgrade_case import UpgradeTest, children

NO, NOT_FOUND, LOCKED, CONFLICT, TIMEOUT, INTEGRITY, GONE = 1, 3, 5, 7, 9, 11, 12
KEY, OTHER = bytes(range(32)), bytes(32)


def secrets_of(client, count=20):
    """Stores some of all sizes, and tells which."""
    values = {b"all/%d" % i: os.urandom(1 + i * i * 2000) for i in range(count)}
    for name, value in values.items():
        client.set(name, value)
    return values


class LockCase:
    """What the cases below have in common."""

    def assertRefused(self, code, call, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **fields)
        self.assertEqual(caught.exception.code, code, caught.exception)
        return caught.exception

    def assertLocked(self, client):
        self.assertTrue(client.status().vault_locked)
        self.assertRefused(LOCKED, client.get, b"kept/1")

    def assertAll(self, client, values):
        self.assertFalse(client.status().vault_locked)
        for name, value in values.items():
            self.assertEqual(client.get(name), value)
        self.assertEqual(sorted(info.name for info in client.list(b"all/")), sorted(values))
        self.assertEqual(client.status().broken, 0)


class Locked(LockCase, BystanderTest):
    """A daemon without a keeper."""

    def check_bystander(self):
        if self.healthy.status().vault_locked:
            time.sleep(0.3)
            self.healthy.unlock(KEY)
        super().check_bystander()

    def test_all_that_needs_a_secret_is_refused(self):
        client, name = self.client(), self.name
        client.lock(KEY)
        requests = [
            client.change(remove=pb.Remove(name=name)),
            client.change(touch=pb.Touch(name=name, ttl_ms=1)),
            client.change(freeze=pb.Freeze(name=name)),
            client.change(melt=pb.Melt(name=name)),
            client.change(move=pb.Move(name=name, to=b"x")),
            client.change(generate=pb.Generate(name=name, size=3)),
            client.change(purge=pb.Purge()),
            client.change(commit=pb.Commit(secrets=1)),
            client.change(lock=pb.Lock(key=OTHER, salt=bytes(16), opslimit=3, memlimit=1 << 28)),
            client.request(get=pb.Get(name=name)),
            client.request(get=pb.Get(name=name, wait_ms=60000)),
            client.request(stat=pb.Stat(name=name)),
            client.request(whoami=pb.Whoami()),
            client.request(export=pb.Export()),
            client.request(stream_read=pb.StreamRead(name=name, wait_ms=60000)),
            client.request(explain=pb.Explain(operation=b"get", name=name)),
            client.request(**{"list": pb.List()}),
        ]
        for request in requests:
            refused = self.assertRefused(LOCKED, client.ask, request)
            self.assertIn(b"locked", refused.reply.detail)
        self.assertRefused(LOCKED, client.set, name, b"v")
        self.assertRefused(LOCKED, client.set, name, bytes(100000))
        self.assertRefused(LOCKED, client.write_segment, name, b"v")
        client.ping()
        self.assertTrue(client.status().vault_locked)
        client.ask(client.request(reload=pb.Reload()))
        client.ask(client.request(cancel=pb.Cancel(id=99)))
        self.assertRefused(NO, client.ask, client.request(upgrade=pb.Upgrade()))
        client.unlock(KEY)
        client.set(name, b"v")

    def test_everything_is_bit_for_bit_as_it_was(self):
        client = self.client()
        values = secrets_of(client)
        for _ in range(3):
            before = [client.stat(name) for name in values]
            client.lock(KEY)
            self.assertLocked(self.client())
            client.unlock(KEY)
            self.assertAll(self.client(), values)
            self.assertEqual([client.stat(name) for name in values], before)
        for name in values:
            client.remove(name)

    def test_what_waits_is_answered_at_once(self):
        waiting, reading, writing = self.client(), self.client(), self.client()
        get = waiting.request(get=pb.Get(name=self.name, wait_ms=60000))
        waiting.send(get)
        read = reading.request(stream_read=pb.StreamRead(name=self.name + b"/s", wait_ms=60000))
        reading.send(read)
        key = os.urandom(32)
        chunks = seal_value(bytes(50000), key)
        put = writing.set_request(self.name, bytes(50000), key)
        put.chunks.CopyFrom(pb.Chunks(count=1, last=len(chunks[0])))
        writing.send(put, chunks=chunks[0])
        writing.ping()
        begin = time.monotonic()
        self.healthy.lock(KEY)
        for client, request in (waiting, get), (reading, read), (writing, put):
            self.assertRefused(LOCKED, client.answer, request)
        self.assertLess(time.monotonic() - begin, 10)
        # What still comes of it is dropped, and the connection is as good as before.
        writing.send(pb.Request(id=put.id, chunks=pb.Chunks(
            first=1, count=3, last=len(chunks[3]), final=True)), chunks=b"".join(chunks[1:]))
        writing.ping()
        self.healthy.unlock(KEY)
        self.assertAbsent()
        writing.set(self.name, b"again")

    def test_a_get_under_way_comes_to_its_end(self):
        value = os.urandom(1 << 20)
        client, reader = self.client(), self.client()
        client.set(self.name, value, lifetime={"reads": 1})
        request = reader.request(get=pb.Get(name=self.name))
        reader.send(request)
        time.sleep(0.1)
        client.lock(KEY)
        self.assertEqual(reader.take_value(request), value)
        client.unlock(KEY)
        self.assertRefused(GONE, client.get, self.name)

    def test_a_stream_goes_on_behind_it(self):
        client = self.client()
        value = os.urandom(100000)
        key, number = os.urandom(32), os.urandom(16)
        chunks = seal_value(value, key)
        client.write_chunks(self.name, number, key, 0, chunks[:2], False)
        client.lock(KEY)
        self.assertRefused(
            LOCKED, client.write_chunks, self.name, number, key, 2, chunks[2:4], False)
        client.unlock(KEY)
        client.write_chunks(self.name, number, key, 2, chunks[2:5], False)
        client.write_chunks(self.name, number, key, 5, chunks[5:], True)
        self.assertEqual(self.client().read_segment(self.name), value)

    def test_a_watch_ends_and_goes_on_where_it_was(self):
        client, watcher = self.client(), self.client()
        request, _ = watcher.watch(self.name)
        client.set(self.name, b"v", lifetime={"ttl_ms": 300})
        number = watcher.told(request).number
        client.lock(KEY)
        self.assertRefused(LOCKED, watcher.answer, request)
        self.assertRefused(LOCKED, watcher.watch, self.name, since=number)
        time.sleep(0.4)
        client.unlock(KEY)
        request, mark = watcher.watch(self.name, since=number)
        self.assertFalse(mark.lost)
        event = watcher.told(request)
        self.assertEqual((event.name, event.change), (self.name, pb.CHANGE_EXPIRE))

    def test_lives_go_on(self):
        client, other = self.client(), self.client()
        client.set(self.name + b"/ttl", b"v", lifetime={"ttl_ms": 300})
        client.set(self.name + b"/long", b"v", lifetime={"ttl_ms": 600000})
        client.set(self.name + b"/session", b"v", lifetime={"session": True})
        other.set(self.name + b"/other", b"v", lifetime={"session": True})
        client.lock(KEY)
        other.close()
        time.sleep(0.4)
        client.unlock(KEY)
        names = [info.name.rsplit(b"/", 1)[1] for info in client.list(self.name + b"/")]
        self.assertEqual(names, [b"long", b"session"])
        self.assertRefused(NOT_FOUND, client.get, self.name + b"/ttl")
        self.assertRefused(NOT_FOUND, client.get, self.name + b"/other")

    def test_who_guesses_waits_and_nobody_else_does(self):
        client = self.client()
        client.lock(KEY)
        times = []
        for _ in range(3):
            begin = time.monotonic()
            self.assertRefused(INTEGRITY, client.unlock, OTHER)
            times.append(time.monotonic() - begin)
        self.assertGreaterEqual(times[1], 0.09)
        self.assertGreaterEqual(times[2], 0.19)
        # One that waits can be called off, and the connection serves on meanwhile.
        request = client.change(unlock=pb.Unlock(key=KEY))
        client.send(request)
        begin = time.monotonic()
        self.healthy.ping()
        self.assertLess(time.monotonic() - begin, 0.3)
        client.send(client.request(cancel=pb.Cancel(id=request.id)))
        self.assertRefused(TIMEOUT, client.answer, request)
        client.receive()
        self.assertTrue(client.status().vault_locked)
        time.sleep(0.5)
        client.unlock(KEY)

    def test_numbers(self):
        client = self.client()
        number = os.urandom(16)
        client.lock(KEY, number=number)
        client.lock(KEY, number=number)
        self.assertRefused(CONFLICT, client.lock, KEY, number=number, salt=b"x" * 16)
        self.assertRefused(LOCKED, client.lock, KEY)
        client.unlock(KEY, number=number[::-1])
        client.unlock(KEY, number=number[::-1])
        # It is not locked: nothing is compared.
        client.unlock(OTHER)

    def test_a_bad_lock_is_none(self):
        client = self.client()
        for fields in ({"salt": b"short"}, {"opslimit": 2}, {"memlimit": (1 << 28) - 1}):
            self.assertRefused(2, client.lock, KEY, **fields)
        # What mgctl would not unlock.
        for fields in ({"opslimit": 17}, {"memlimit": (1 << 30) + 1}, {"opslimit": 1 << 40}):
            refused = self.assertRefused(2, client.lock, KEY, **fields)
            self.assertIn(b"at most", refused.reply.detail)
        self.assertRefused(2, client.lock, KEY[1:])
        self.assertRefused(2, client.ask, client.request(unlock=pb.Unlock(key=KEY)))
        self.assertFalse(client.status().vault_locked)

    def test_status_tells_how_the_key_was_made(self):
        client = self.client()
        client.lock(KEY, salt=b"salt" * 4, opslimit=7, memlimit=323456789)
        state = client.status()
        self.assertEqual((state.lock_salt, state.lock_opslimit, state.lock_memlimit),
                         (b"salt" * 4, 7, 323456789))
        client.unlock(KEY)
        self.assertEqual(client.status().lock_salt, b"")


class Purged(LockCase, BystanderTest):
    def check_bystander(self):
        self.assertIsNone(self.daemon.process.poll(), self.daemon.log())

    def test_it_is_empty_and_open_again(self):
        client = self.client()
        secrets_of(client, 3)
        client.lock(KEY)
        client.ask(client.change(purge=pb.Purge(all=True)))
        self.assertFalse(client.status().vault_locked)
        self.assertEqual(client.list(), [])
        client.set(b"new", b"v")
        self.assertEqual(client.get(b"new"), b"v")
        # The key before opens nothing any more.
        client.lock(OTHER)
        self.assertRefused(INTEGRITY, client.unlock, KEY)
        time.sleep(0.2)
        client.unlock(OTHER)
        self.assertEqual(client.get(b"new"), b"v")

    def test_usr2_does_the_same(self):
        client = self.client()
        client.set(b"old", b"v")
        client.lock(KEY)
        self.daemon.process.send_signal(signal.SIGUSR2)
        self.assertTrue(wait_for(lambda: not client.status().vault_locked))
        self.assertRefused(NOT_FOUND, client.get, b"old")


class Workers(LockCase, KeeperTest):
    """One that dies while it is locked leaves it so."""

    def test_everything_is_there_whoever_dies(self):
        values = secrets_of(self.client())
        self.client().lock(KEY)
        for number in signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT:
            self.next_worker(number)
            self.assertLocked(self.client())
        self.assertIn("serves again, and is locked", self.daemon.log())
        self.assertRefused(INTEGRITY, self.client().unlock, OTHER)
        time.sleep(0.2)
        self.client().unlock(KEY)
        self.assertAll(self.client(), values)
        self.next_worker()
        self.assertAll(self.client(), values)

    @unittest.skipUnless(os.getuid() == 0, "needs root, to be somebody else")
    def test_a_user_has_what_was_stored_and_its_quota(self):
        daemon = self.start("--socket-mode=0666", "--quota-count=2", "--quota-bytes=1000")
        daemon.folder.chmod(0o755)

        def act():
            with Client(daemon.path) as client:
                return [try_set(client, b"~/a", 500), has(client)]

        self.assertEqual(as_uid(NOBODY, act), [[0, ""], [1, 764, 2, 1000]])
        self.client(daemon).lock(KEY)
        self.next_worker(daemon=daemon)
        self.client(daemon).unlock(KEY)

        def go_on():
            with Client(daemon.path) as client:
                return [has(client), try_set(client, b"~/b", 500)[0]]

        self.assertEqual(as_uid(NOBODY, go_on), [[1, 764, 2, 1000], CODE_LIMIT])

    def test_a_repeated_lock_gets_its_first_answer(self):
        number = os.urandom(16)
        self.client().lock(KEY, number=number)
        self.next_worker()
        self.client().lock(KEY, number=number)
        self.assertRefused(LOCKED, self.client().lock, KEY)

    def test_answers_lives_and_streams_are_as_if_it_had_not_been(self):
        client = self.client()
        value = os.urandom(100000)
        client.write_segment(b"stream", value)
        client.set(b"kept/1", b"v")
        client.set(b"reads", b"v", lifetime={"reads": 2})
        client.set(b"session", b"v", lifetime={"session": True})
        client.set(b"ttl", b"v", lifetime={"ttl_ms": 200})
        client.set(b"bound", b"v", lifetime={"pid": os.getpid()})
        client.get(b"reads")
        removal = client.change(remove=pb.Remove(name=b"kept/1"))
        client.ask(removal)
        client.set(b"kept/1", b"another")
        client.lock(KEY)
        self.next_worker()
        time.sleep(0.3)
        client = self.client()
        client.unlock(KEY)
        removal.id = client.request().id
        client.ask(removal)
        self.assertEqual(client.get(b"kept/1"), b"another")
        self.assertEqual(client.get(b"reads"), b"v")
        self.assertRefused(GONE, client.get, b"reads")
        self.assertRefused(NOT_FOUND, client.get, b"session")
        self.assertRefused(NOT_FOUND, client.get, b"ttl")
        self.assertEqual(client.get(b"bound"), b"v")
        self.assertEqual(client.read_segment(b"stream"), value)

    def test_a_watch_goes_on_where_it_was(self):
        client, watcher = self.client(), self.client()
        request, _ = watcher.watch()
        client.set(b"a", b"v", lifetime={"ttl_ms": 300})
        client.set(b"b", b"v")
        number = watcher.told(request).number
        client.lock(KEY)
        self.next_worker()
        time.sleep(0.4)
        client, watcher = self.client(), self.client()
        client.unlock(KEY)
        request, mark = watcher.watch(since=number)
        self.assertFalse(mark.lost)
        client.set(b"c", b"v")
        told = [watcher.told(request) for _ in range(3)]
        self.assertEqual([(event.name, event.change) for event in told], [
            (b"b", pb.CHANGE_SET), (b"a", pb.CHANGE_EXPIRE), (b"c", pb.CHANGE_SET)])

    def test_a_purge_by_the_next_worker_leaves_nothing(self):
        secrets_of(self.client(), 3)
        self.client().lock(KEY)
        self.next_worker()
        client = self.client()
        client.ask(client.change(purge=pb.Purge(all=True)))
        self.assertEqual(client.list(), [])
        client.set(b"new", b"v")
        self.next_worker()
        client = self.client()
        self.assertEqual([info.name for info in client.list()], [b"new"])
        self.assertEqual(client.status().broken, 0)

    def test_nobody_is_served_less_while_it_is_unlocked(self):
        """Many unlock at once: one does, and to the others it is not locked any more."""
        values = secrets_of(self.client())
        self.client().lock(KEY)
        self.next_worker()
        clients = [self.client() for _ in range(20)]
        threads = [threading.Thread(target=client.unlock, args=(KEY,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertAll(clients[0], values)
        self.assertEqual(self.daemon.log().count("unlocked"), 1)


class Upgraded(LockCase, UpgradeTest):
    def test_it_passes_on_what_is_locked(self):
        values = secrets_of(self.client())
        self.client().lock(KEY)
        for _ in range(2):
            self.replace()
            self.upgrade()
            self.assertLocked(self.client())
        self.client().unlock(KEY)
        self.assertAll(self.client(), values)
        self.replace()
        self.upgrade()
        self.assertAll(self.client(), values)

    def test_mgctl_upgrades_and_a_worker_dies_on_top(self):
        values = secrets_of(self.client(), 5)
        self.client().lock(KEY)
        self.replace()
        self.upgrade()
        worker = children(self.keeper)[0]
        os.kill(worker, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: children(self.keeper) not in ([], [worker])))
        self.assertLocked(self.client())
        self.client().unlock(KEY)
        self.assertAll(self.client(), values)


class Restarted(LockCase, RestartTest):
    def test_it_is_locked_again(self):
        values = secrets_of(self.client())
        self.client().lock(KEY)
        self.restart()
        self.assertLocked(self.client())
        self.client().unlock(KEY)
        self.assertAll(self.client(), values)


class Steps(LockCase, StepsTest):
    """The worker is killed in the midst of it: it is locked, or it is not."""

    def begin_at(self, place):
        os.environ["FAILPOINT"] = f"{place}:{KILL}"
        UpgradeTest.setUp(self)
        os.environ.pop("FAILPOINT")

    def dies(self, call, *arguments):
        worker = children(self.keeper)[0]
        with self.assertRaises(OSError):
            try:
                call(*arguments)
            except Exception as error:
                raise OSError from error
        self.assertTrue(wait_for(lambda: children(self.keeper) not in ([], [worker])))

    def test_while_it_locks(self):
        for place, locked in ("locking", False), ("locked", True):
            with self.subTest(place=place):
                self.begin_at(place)
                values = secrets_of(self.client())
                self.dies(self.client().lock, KEY)
                self.assertEqual(self.client().status().vault_locked, locked)
                if locked:
                    self.client().unlock(KEY)
                self.assertAll(self.client(), values)

    def test_while_it_unlocks(self):
        for place, locked in ("unlocking", True), ("unlocked", False):
            with self.subTest(place=place):
                self.begin_at(place)
                values = secrets_of(self.client())
                self.client().lock(KEY)
                self.dies(self.client().unlock, KEY)
                self.assertEqual(self.client().status().vault_locked, locked)
                if not locked:
                    self.assertAll(self.client(), values)
