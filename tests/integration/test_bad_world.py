# SPDX-License-Identifier: Apache-2.0
"""Clients that are slow, silent or many, and a machine that has run out of something: whoever is at
fault is cut off or told, and everybody else is served on."""

import os
import resource
import signal
import socket
import threading
import time
import unittest

import mgwire
from bystander import KEPT, BystanderTest
from daemon import Daemon, wait_for
from mgwire import Client, Closed, Refused, Wire, pb

SANITIZED = bool(os.environ.get("SANITIZED"))

HELLO_SECONDS, FRAME_SECONDS, READER_SECONDS = 5, 10, 30  # PROTOCOL.md


class Slow(BystanderTest):
    """Deadlines, all at the same time: each class of slowness has a thread of its own."""

    def drip(self, wire, data):
        """A byte a second. Returns the seconds until the daemon had enough."""
        begin = time.monotonic()
        wire.socket.settimeout(1)
        for at in range(len(data)):
            try:
                wire.write(data[at:at + 1])
                if wire.socket.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except (Closed, ConnectionResetError):
                break
        else:
            return None
        return time.monotonic() - begin

    def silence(self, wire):
        begin = time.monotonic()
        return time.monotonic() - begin if wire.is_closed(READER_SECONDS + 20) else None

    def deaf(self):
        """Two who ask for much and read nothing of it; one of them waits for a name besides, much
        longer than it may."""
        much = [pb.Request(id=number, get=pb.Get(name=b"large")) for number in range(1, 33)]
        wait = pb.Request(id=99, get=pb.Get(name=b"never", wait_ms=3600000))
        with Wire(self.daemon.path) as plain, Wire(self.daemon.path) as waiting:
            plain.send(*much)
            waiting.send(wait, *much)
            begin = time.monotonic()
            closed = wait_for(lambda: sum("it does not read its answers" in line
                                          for line in self.daemon.closings()) == 2,
                              READER_SECONDS + 20)
            return time.monotonic() - begin if closed else None

    def dripped_hello(self):
        with Wire(self.daemon.path, shake=False) as wire:
            return self.drip(wire, mgwire.hello(mgwire.sodium.crypto_kx_keypair()[0]))

    def no_hello(self):
        with Wire(self.daemon.path, shake=False) as wire:
            return self.silence(wire)

    def half_a_hello(self):
        with Wire(self.daemon.path, shake=False) as wire:
            wire.write(b"MGRD\x30\0")
            return self.silence(wire)

    def dripped_frame(self):
        with Wire(self.daemon.path) as wire:
            return self.drip(wire, wire.frame([pb.Request(id=1, ping=pb.Ping())]))

    def half_a_frame(self):
        with Wire(self.daemon.path) as wire:
            wire.write(wire.frame([pb.Request(id=1, ping=pb.Ping())])[:20])
            return self.silence(wire)

    def half_a_set(self):
        """A set between two frames has ten minutes: its writer may be a person. It is served on."""
        with Client(self.daemon.path) as client:
            key = bytes(32)
            value = os.urandom(5 * mgwire.CHUNK_PLAIN)
            chunks = mgwire.seal_value(value, key)
            request = client.set_request(b"slowly", value, key)
            request.chunks.CopyFrom(mgwire.announce(0, chunks[:4], False))
            client.send(request, chunks=b"".join(chunks[:4]))
            time.sleep(FRAME_SECONDS + 2)
            request = pb.Request(id=request.id, chunks=mgwire.announce(4, chunks[4:], True))
            client.send(request, chunks=chunks[4])
            client.answer(request)
            return 0 if client.get(b"slowly") == value else None

    def late_reader(self):
        """Many whole frames at once, whose answers it reads when a frame's deadline is over: it is
        the reader's deadline that counts. The daemon has taken in more than it can answer yet."""
        many = 600
        with Client(self.daemon.path) as client:
            client.write(b"".join(client.frame([client.request(list=pb.List(prefix=b"late/"))])
                                  for _ in range(many)))
            time.sleep(FRAME_SECONDS + 3)
            try:
                answered = 0
                while answered < many:
                    answered += client.receive()[0].HasField("listing")
            except Closed:
                return None
            return 0

    def test_whoever_is_slow_is_cut_off_and_nobody_else_waits(self):
        self.healthy.set(b"large", os.urandom(1 << 20))
        for number in range(25):
            self.healthy.set(b"late/%02d" % number + b"n" * 200, b"v")
        cases = {self.no_hello: HELLO_SECONDS, self.half_a_hello: HELLO_SECONDS,
                 self.dripped_hello: HELLO_SECONDS, self.half_a_frame: FRAME_SECONDS,
                 self.dripped_frame: FRAME_SECONDS, self.half_a_set: 0, self.late_reader: 0,
                 self.deaf: READER_SECONDS}
        spent = {}
        threads = [threading.Thread(target=lambda case=case: spent.update({case: case()}))
                   for case in cases]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.healthy.ping()
            time.sleep(0.1)
        for case, seconds in cases.items():
            with self.subTest(case=case.__name__):
                self.assertIsNotNone(spent.get(case), self.daemon.log())
                self.assertGreaterEqual(spent[case], seconds - 1.5)
        lines = len(self.daemon.closings()) - self.lines
        # One line each, and one more of the second who is deaf.
        self.assertEqual(
            lines, sum(seconds > 0 for seconds in cases.values()) + 1, self.daemon.log())


class Gone(BystanderTest):
    """Clients that leave in the midst, and many of them."""

    def test_clients_that_leave_in_the_midst_of_a_get(self):
        self.healthy.set(self.name, os.urandom(1 << 20))
        for _ in range(20):
            wire = Wire(self.daemon.path)
            wire.send(*(pb.Request(id=number, get=pb.Get(name=self.name))
                        for number in range(1, 9)))
            wire.read(100)
            wire.close()
        self.assertAlone()

    def test_clients_that_leave_in_the_midst_of_a_set(self):
        ledger = lambda: self.healthy.status().ledger
        before = ledger()
        for number in range(20):
            client = Client(self.daemon.path)
            key = os.urandom(32)
            value = os.urandom(200000)
            chunks = mgwire.seal_value(value, key)
            request = client.set_request(self.name, value, key)
            request.chunks.CopyFrom(mgwire.announce(0, chunks[:4], False))
            frame = client.frame([request], b"".join(chunks[:4]))
            client.write(frame[:len(frame) - number * 1000])
            if number == 0:
                self.assertTrue(wait_for(lambda: ledger() > before), "nothing was taken in")
            client.close()
        self.assertAbsent()
        self.assertTrue(wait_for(lambda: ledger() == before), "chunks of nobody are left")
        self.assertAlone()

    def test_a_thousand_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        many = 1000
        if hard != resource.RLIM_INFINITY and hard < many + 100:
            self.skipTest("the limit of descriptors is %d here" % hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, many + 100), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        crowd = [self.wire() for _ in range(many)]
        self.assertGreater(self.healthy.status().sessions, many)
        for wire in crowd[::100]:
            wire.send(pb.Request(id=1, ping=pb.Ping()))
            self.assertEqual(wire.receive()[0].code, 0)


class Greedy(BystanderTest):
    """Clients that ask for more at once than the daemon does in a moment."""

    def flood(self, frames):
        """Frames of the dearest requests there are, each of which makes a version of one secret."""
        client = self.client()
        generate = pb.Generate(name=self.name, size=4096)
        data = b"".join(client.frame([client.change(generate=generate) for _ in range(64)])
                        for _ in range(frames))
        writer = threading.Thread(target=self.write_all, args=(client, data), daemon=True)
        writer.start()
        self.addCleanup(writer.join)
        return client

    def test_others_are_served_before_a_flood_is(self):
        frames = 100
        other = self.client()
        flood = self.flood(frames)
        flood.receive()
        # The flood is being served; whoever comes now must not wait until it is over.
        os.kill(self.daemon.pid, signal.SIGSTOP)
        try:
            other.send(request := other.request(stat=pb.Stat(name=self.name)))
        finally:
            os.kill(self.daemon.pid, signal.SIGCONT)
        self.assertLess(other.answer(request)[0].info.version, frames * 64)
        # Nothing of it is lost either.
        answered = 1
        while answered < frames * 64:
            self.assertEqual(flood.receive()[0].stored.version, answered + 1)
            answered += 1
        self.assertEqual(other.stat(self.name).version, frames * 64)

    def test_a_client_that_leaves_in_the_midst_of_its_flood(self):
        flood = self.flood(100)
        flood.receive()
        flood.socket.shutdown(socket.SHUT_RDWR)
        self.assertTrue(wait_for(lambda: self.healthy.status().sessions == 1))
        self.assertLess(self.healthy.stat(self.name).version, 6400)


class Foreign(BystanderTest):
    """A daemon whose socket is its owner's alone, and somebody who found the way open."""

    @unittest.skipIf(os.geteuid() != 0, "needs root, to be somebody else")
    def test_a_foreign_uid_is_closed_on_unheard(self):
        self.daemon.folder.chmod(0o755)
        self.daemon.path.chmod(0o666)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                with Wire(self.daemon.path, shake=False) as wire:
                    self.write_all(wire, mgwire.hello(mgwire.sodium.crypto_kx_keypair()[0]))
                    status = 0 if wire.is_closed() else 2
            finally:
                os._exit(status)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        lines = [line for line in self.daemon.log().splitlines() if "uid 65534" in line]
        self.assertEqual(len(lines), 1, self.daemon.log())
        self.assertIn("its owner's alone", lines[0])


def limited(which, value):
    def limit():
        hard = resource.getrlimit(which)[1]
        resource.setrlimit(which, (value, value if hard == resource.RLIM_INFINITY else
                                   min(value, hard)))
    return limit


class Rights(BystanderTest):
    """A get that waits is answered to the process that asked, with the rights it had, or not."""

    def waiting(self, then):
        """In a child: asks for a name that is not there yet, does `then`, and tells what came."""
        told, tell = os.pipe()
        ready, go = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                client = Client(self.daemon.path)
                request = client.request(get=pb.Get(name=self.name, wait_ms=20000))
                client.send(request, client.request(ping=pb.Ping()))
                client.receive()
                then()
                os.write(go, b"1")
                os.write(tell, b"got " + client.take_value(request))
            except BaseException as reason:
                os.write(tell, type(reason).__name__.encode())
            finally:
                os._exit(0)
        os.read(ready, 1)
        self.healthy.set(self.name, b"top secret")
        heard = os.read(told, 100)
        os.waitpid(child, 0)
        return heard

    def test_a_process_that_kept_its_rights_gets_it(self):
        self.assertEqual(self.waiting(lambda: None), b"got top secret")

    def test_a_process_that_lost_its_rights_gets_nothing(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to lose it")
        if not self.healthy.status().pidfd:
            self.skipTest("this kernel cannot be asked who a pidfd is")
        self.assertEqual(self.waiting(lambda: os.setresuid(65534, 65534, 65534)), b"Closed")

    def test_a_child_of_the_process_that_asked_gets_nothing(self):
        if not self.healthy.status().pidfd:
            self.skipTest("this kernel cannot be asked who a pidfd is")

        def leave_it_to_a_child():
            parent = os.getpid()
            if os.fork() != 0:
                os._exit(0)
            wait_for(lambda: os.getppid() != parent)

        self.assertEqual(self.waiting(leave_it_to_a_child), b"Closed")


class Log(unittest.TestCase):
    def garbage(self, daemon, count):
        while count:
            try:
                with Wire(daemon.path, shake=False) as wire:
                    wire.write(b"x")
                count -= 1
            except BlockingIOError:  # the queue of the listener is full
                time.sleep(0.01)

    def test_a_log_that_nobody_reads_holds_nobody_up(self):
        unread, log = os.pipe()
        with Daemon(stderr=f"/dev/fd/{log}", pass_fds=[log]) as daemon, \
                Client(daemon.path) as client:
            self.garbage(daemon, 2000)
            client.ping()
        os.close(unread)
        os.close(log)

    def test_strangers_write_only_so_many_lines(self):
        with Daemon() as daemon, Client(daemon.path) as client:
            self.garbage(daemon, 3000)
            client.ping()
            self.assertTrue(wait_for(lambda: client.status().sessions == 1))
            self.assertLess(len(daemon.closings()), 1000)
            self.assertGreater(len(daemon.closings()), 50)


class Descriptors(BystanderTest):
    options = {"preexec_fn": limited(resource.RLIMIT_NOFILE, 64)}

    def test_without_descriptors_others_wait_and_nobody_is_dropped(self):
        crowd = [Wire(self.daemon.path, shake=False) for _ in range(100)]
        self.assertTrue(wait_for(lambda: "have to wait" in self.daemon.log()))
        self.check_bystander()
        late = crowd.pop()
        for wire in crowd:
            wire.close()
        late.shake_hands()
        late.send(pb.Request(id=1, ping=pb.Ping()))
        self.assertEqual(late.receive()[0].code, 0)
        late.close()
        self.assertEqual(self.daemon.log().count("have to wait"), 1)


@unittest.skipIf(SANITIZED, "the sanitizers need address space of their own")
class Memory(unittest.TestCase):
    def test_without_memory_a_set_is_refused_and_nothing_is_lost(self):
        with Daemon("--max-value", "16m",
                    preexec_fn=limited(resource.RLIMIT_AS, 400 << 20)) as daemon, \
                Client(daemon.path) as client, Client(daemon.path) as other:
            kept = os.urandom(100000)
            other.set(KEPT, kept)
            stored = {}
            with self.assertRaises(Refused) as caught:
                for number in range(100):
                    value = os.urandom(8 << 20)
                    client.set(b"fill/%d" % number, value)
                    stored[number] = value[:1000]
            self.assertEqual(caught.exception.code, mgwire.LIMIT)
            self.assertGreater(len(stored), 3)
            self.assertEqual(other.get(KEPT), kept)
            for number, begin in stored.items():
                self.assertEqual(other.get(b"fill/%d" % number)[:1000], begin)
                other.remove(b"fill/%d" % number)
            client.set(b"again", os.urandom(8 << 20))
            self.assertEqual(other.get(KEPT), kept)


class FullDisk(unittest.TestCase):
    def test_a_log_that_cannot_be_written_stops_nothing(self):
        with Daemon(stderr="/dev/full") as daemon, Client(daemon.path) as client:
            client.set(KEPT, b"v")
            for _ in range(3):
                with Wire(daemon.path, shake=False) as wire:
                    wire.write(b"garbage " * 10)
                    self.assertTrue(wire.is_closed())
            self.assertEqual(client.get(KEPT), b"v")
            self.assertEqual(daemon.process.poll(), None)
