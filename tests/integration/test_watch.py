# SPDX-License-Identifier: Apache-2.0
"""Watches: what changes is told, in order, over crashes and upgrades, to whom it may be told, and
nobody is waited for."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from daemon import Daemon, wait_for
from mgctl_case import ROOT, UNREACHABLE
from mgwire import Client, Closed, Refused, pb, seal_value
from strangers import as_nobody, programs_for_all
from test_keeper import KeeperTest
from upgrade_case import UpgradeTest

EVENTS = 16384  # that are remembered
SET, REMOVE, EXPIRE, PURGE = 1, 2, 3, 4
TIMEOUT = 9


class Watcher(threading.Thread):
    """Watches as a client should: it comes back with the number that it was told last."""

    def __init__(self, path, prefix=b""):
        super().__init__(daemon=True)
        self.path, self.prefix = path, prefix
        self.events, self.lost, self.returns = [], 0, 0
        self.number, self.ready, self.over = 0, threading.Event(), False
        self.wrong = None
        self.start()
        if not self.ready.wait(60):
            raise RuntimeError("the watch does not begin")

    def hear(self, said):
        if said.number <= self.number and not isinstance(said, pb.Mark):
            self.wrong = "number %d after %d" % (said.number, self.number)
        self.number = max(self.number, said.number)
        if isinstance(said, pb.Event):
            self.events.append((said.change, said.name, said.version))
        else:
            self.lost += said.lost

    def listen(self):
        with Client(self.path, timeout=5) as client:
            request, mark = client.watch(self.prefix, self.number)
            self.hear(mark)
            self.ready.set()
            while True:
                self.hear(client.told(request))

    def run(self):
        while not self.over:
            try:
                self.listen()
            except (OSError, Closed):
                self.returns += 1
                time.sleep(0.005)

    def sees(self, *event):
        return wait_for(lambda: event in self.events)


class Writer(threading.Thread):
    """Stores on and on, and notes what was acknowledged."""

    def __init__(self, path, name):
        super().__init__(daemon=True)
        self.path, self.secret, self.acknowledged, self.over = path, name, [], False
        self.start()

    def store(self):
        with Client(self.path, timeout=5) as client:
            while not self.over:
                reply = client.ask(client.change(generate=pb.Generate(
                    name=self.secret, size=1)))
                self.acknowledged.append((SET, self.secret, reply.stored.version))

    def run(self):
        while not self.over:
            try:
                self.store()
            except (OSError, Closed):
                time.sleep(0.005)


class Told(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.end)
        self.client = Client(self.daemon.path)
        self.addCleanup(self.client.close)

    def other(self):
        client = Client(self.daemon.path)
        self.addCleanup(client.close)
        return client

    def test_events_of_every_kind_in_order(self):
        watcher = self.other()
        request, mark = watcher.watch()
        self.assertFalse(mark.lost)
        self.client.set(b"a", b"1")
        self.client.set(b"a", b"2")
        self.client.generate(b"g", 5)
        self.client.move(b"a", b"b")
        self.client.set(b"r", b"1", lifetime={"reads": 1})
        self.client.get(b"r")
        self.client.remove(b"g")
        self.client.set(b"t", b"1", lifetime={"ttl_ms": 20})
        time.sleep(0.1)
        with self.other() as session:
            session.set(b"s", b"1", lifetime={"session": True})
        expected = [(SET, b"a", 1), (SET, b"a", 2), (SET, b"g", 1), (REMOVE, b"a", 2),
                    (SET, b"b", 2), (SET, b"r", 1), (EXPIRE, b"r", 1), (REMOVE, b"g", 1),
                    (SET, b"t", 1), (EXPIRE, b"t", 1), (SET, b"s", 1), (EXPIRE, b"s", 1),
                    (PURGE, b"", 0)]
        numbers = [mark.number]
        for event in expected:
            if event[0] == PURGE:
                self.client.ask(self.client.change(purge=pb.Purge(all=True)))
            told = watcher.told(request)
            self.assertEqual((told.change, told.name, told.version), event)
            numbers.append(told.number)
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_a_restore_is_told_name_by_name(self):
        self.client.set(b"y", b"1")
        watcher = Watcher(self.daemon.path)
        for name in b"x", b"y", b"z":
            data_key = os.urandom(32)
            request = self.client.request(stage=pb.Stage(record=pb.Record(
                data_key=data_key, info=pb.Info(name=name, size=1, version=1))))
            self.client.send_value(request, seal_value(b"2", data_key))
            self.client.answer(request)
        self.client.set(b"w", b"1")
        self.client.ask(self.client.change(commit=pb.Commit(secrets=3)))
        self.assertTrue(watcher.sees(SET, b"z", 1))
        self.assertEqual(watcher.events, [
            (SET, b"w", 1), (SET, b"x", 1), (SET, b"y", 2), (SET, b"z", 1)])

    def test_who_comes_back_with_its_number_misses_nothing(self):
        with self.other() as watcher:
            _, mark = watcher.watch(b"n/")
        self.client.set(b"n/a", b"1")
        self.client.set(b"m", b"1")
        self.client.remove(b"n/a")
        watcher = self.other()
        request, again = watcher.watch(b"n/", mark.number)
        self.assertEqual((again.number, again.lost), (mark.number, False))
        self.assertEqual(watcher.told(request).change, SET)
        self.assertEqual(watcher.told(request).change, REMOVE)

    def test_one_that_is_cancelled_is_over(self):
        watcher = self.other()
        request, _ = watcher.watch()
        cancel = watcher.request(cancel=pb.Cancel(id=request.id))
        watcher.send(cancel)
        self.assertEqual(watcher.receive()[0].code, TIMEOUT)
        self.assertEqual(watcher.receive()[0].id, cancel.id)
        self.client.set(b"a", b"1")
        watcher.ping()

    def test_a_prefix_that_is_none_is_refused(self):
        with self.assertRaises(Refused) as caught:
            self.client.watch(b"a//")
        self.assertEqual(caught.exception.code, 2)

    def generate(self, client, count):
        """Many changes in little time: 64 requests in a frame."""
        for _ in range(0, count, 64):
            client.send(*[client.change(generate=pb.Generate(name=b"storm", size=1))
                          for _ in range(64)])
            for _ in range(64):
                self.assertEqual(client.receive()[0].code, 0)

    def test_who_does_not_read_blocks_nobody_and_is_told(self):
        slow, quick = self.other(), Watcher(self.daemon.path)
        request, _ = slow.watch()
        others, slowest = self.other(), 0
        for _ in range(24):
            self.generate(self.client, 1024)
            begin = time.monotonic()
            others.ping()
            slowest = max(slowest, time.monotonic() - begin)
        self.assertLess(slowest, 5)
        # One that reads meanwhile has all of it, unless this machine is very slow.
        if not quick.lost:
            self.assertTrue(quick.sees(SET, b"storm", 24 * 1024))
            self.assertEqual(len(quick.events), 24 * 1024)
        told, count = slow.told(request), 0
        while not (isinstance(told, pb.Mark) and told.lost):
            count += isinstance(told, pb.Event)
            self.assertEqual(told.version, count)
            told = slow.told(request)
        self.assertLess(count, 24 * 1024)
        # And from there on all is told.
        self.client.set(b"after", b"1")
        told = slow.told(request)
        self.assertEqual((told.change, told.name), (SET, b"after"))

    def test_who_asks_for_what_is_forgotten_is_told_so(self):
        with self.other() as watcher:
            _, mark = watcher.watch()
        self.generate(self.client, EVENTS + 64)
        _, again = self.other().watch(b"", mark.number)
        self.assertTrue(again.lost)
        self.assertGreater(again.number, mark.number)


    def test_a_watch_of_mgctl_ends_when_the_daemon_does_not_come_back(self):
        path = f"unix:{self.daemon.path}"
        watch = subprocess.Popen(
            [os.environ["MGCTL"], "--socket", path, "--timeout", "1s", "-v", "watch"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        self.addCleanup(watch.stderr.close)
        while "watching from" not in watch.stderr.readline():
            pass
        self.daemon.end()
        self.assertEqual(watch.wait(60), 6)

    def test_a_reload_ends_what_may_be_told(self):
        folder = self.daemon.folder / "policy.d"
        folder.mkdir(mode=0o700)
        with open(folder / "a.conf", "w") as rules:
            rules.write("[namespace web]\ndeny = watch secret/** anybody\n")
        daemon = Daemon("--policy-dir", str(folder))
        self.addCleanup(daemon.end)
        with Client(daemon.path) as client, Client(daemon.path) as watcher:
            request, _ = watcher.watch(b"web/")
            client.set(b"web/secret/a", b"1")
            client.set(b"web/a", b"1")
            self.assertEqual(watcher.told(request).name, b"web/a")
            with open(folder / "a.conf", "w") as rules:
                rules.write("[namespace web]\ndeny = watch a anybody\n")
            client.ask(client.request(reload=pb.Reload()))
            client.set(b"web/a", b"2")
            client.set(b"web/secret/a", b"2")
            told = watcher.told(request)
            self.assertEqual((told.name, told.version), (b"web/secret/a", 2))


class Kept(KeeperTest):
    def watching(self, daemon, *options, program=(os.environ["MGCTL"],)):
        """A watch of mgctl, once it is on."""
        watch = subprocess.Popen(
            [*program, "--socket", f"unix:{daemon.path}", "-v", *options, "watch"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        self.addCleanup(watch.stdout.close)
        self.addCleanup(watch.stderr.close)
        line = "begin"
        while line and "watching from" not in line:
            line = watch.stderr.readline()
        self.assertIn("watching from", line)
        return watch

    def assertTold(self, watch, words):
        """The next line of a watch, which is the only one so far."""
        line = watch.stdout.readline()
        self.assertEqual(line.split()[::2], words, line or watch.stderr.read())

    def test_a_watch_of_mgctl_comes_back_though_it_breaks_again_and_again(self):
        watch = self.watching(self.daemon)
        # Some of them die before they have answered.
        deaths, end = 0, time.monotonic() + 1.5
        while time.monotonic() < end:
            worker = self.worker()
            # It may be one that has just died.
            with contextlib.suppress(ProcessLookupError):
                if worker:
                    os.kill(worker, signal.SIGKILL)
                    deaths += 1
            time.sleep(0.004)
        self.assertGreater(deaths, 20)
        self.client().set(b"after", b"1")
        self.assertTold(watch, ["set", "1"])

    def test_a_daemon_that_does_not_answer_has_not_come_back(self):
        watch = self.watching(self.daemon, "--timeout", "1s")
        # The door is there, and behind it nobody.
        os.kill(self.daemon.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, self.daemon.pid, signal.SIGCONT)
        os.kill(self.worker(), signal.SIGKILL)
        # Not the status of a watch that heard of no change.
        self.assertEqual(watch.wait(60), UNREACHABLE)

    @unittest.skipUnless(ROOT, "needs root, to be somebody else")
    def test_more_watches_of_a_user_come_back_than_the_daemon_greets_at_once(self):
        daemon = self.start("--socket-mode=0666", "--quota-handshakes=2")
        daemon.folder.chmod(0o755)
        _, program = programs_for_all(tempfile.mkdtemp(dir=daemon.folder))
        watches = []
        for _ in range(5):
            time.sleep(0.5)
            watches.append(self.watching(daemon, program=as_nobody(program)))
        self.next_worker(daemon=daemon)
        client = self.client(daemon)
        wait_for(lambda: client.status().sessions > 5, 5)
        client.set(b"~65534/after", b"1")
        for watch in watches:
            self.assertTold(watch, ["set", "1"])

    def test_every_acknowledged_change_is_told_over_crashes(self):
        watchers = [Watcher(self.daemon.path, b"k/") for _ in range(3)]
        writers = [Writer(self.daemon.path, b"k/%d" % i) for i in range(3)]
        for _ in range(4):
            time.sleep(0.2)
            self.next_worker(signal.SIGKILL)
        time.sleep(0.2)
        for writer in writers:
            writer.over = True
            writer.join(60)
        acknowledged = [event for writer in writers for event in writer.acknowledged]
        self.assertGreater(len(acknowledged), 100)
        for watcher in watchers:
            for writer in writers:
                self.assertTrue(watcher.lost or watcher.sees(*writer.acknowledged[-1]))
            self.assertGreater(watcher.returns, 0)
            self.assertIsNone(watcher.wrong)
            self.assertEqual(watcher.lost, 0)
            self.assertEqual(set(acknowledged) - set(watcher.events), set())
            # Each version is told once, and in order.
            for writer in writers:
                versions = [v for _, name, v in watcher.events if name == writer.secret]
                self.assertEqual(versions, list(range(1, len(versions) + 1)))

    def test_what_ends_with_its_connection_is_told_after_a_crash(self):
        watcher = Watcher(self.daemon.path)
        client = self.client()
        client.set(b"s", b"1", lifetime={"session": True})
        client.set(b"stays", b"1")
        self.next_worker()
        self.assertTrue(watcher.sees(EXPIRE, b"s", 1))
        self.assertEqual(watcher.lost, 0)


class Upgraded(UpgradeTest):
    def test_a_watch_of_mgctl_goes_on_over_upgrades_and_crashes(self):
        watch = subprocess.Popen(
            [os.environ["MGCTL"], "--socket", f"unix:{self.manager.path}", "-v", "watch", "u/"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        self.addCleanup(watch.stdout.close)
        self.addCleanup(watch.stderr.close)
        while "watching from" not in watch.stderr.readline():
            pass
        for i in range(3):
            self.client().set(b"u/%d" % i, b"1")
            self.replace()
            self.upgrade()
            self.client().remove(b"u/%d" % i)
            os.kill(self.client().status().pid, signal.SIGKILL)
        self.assertEqual(self.mgctl("set", "--generate", "u/end").returncode, 0)
        lines = [watch.stdout.readline().split() for _ in range(7)]
        self.assertEqual([(line[0], *line[2:]) for line in lines],
                         [(word, "1", f"u/{i}") for i in range(3) for word in ("set", "rm")] +
                         [("set", "1", "u/end")])
        numbers = [int(line[1]) for line in lines]
        self.assertEqual(numbers, sorted(set(numbers)))
