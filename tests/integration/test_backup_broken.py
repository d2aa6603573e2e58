# SPDX-License-Identifier: Apache-2.0
"""mgctl backup and restore over a connection that breaks: all or nothing, at whatever byte."""

import os
import socket
import threading

import mgwire
import nacl.bindings as sodium
from mgbundle import Reader, Writer
from mgctl_case import OK, UNREACHABLE, MgctlTest

# How far apart the places are where a connection breaks; with the sanitizers each takes long.
STEP = 110 if os.environ.get("SANITIZED") else 11
UP, DOWN = 0, 1  # to the daemon, from it


class Proxy:
    """Stands between; breaks its first connection after some bytes of one direction."""

    def __init__(self, path, target, direction=None, after=None):
        self.target = str(target)
        self.direction, self.after = direction, after
        self.passed = [0, 0]
        self.lock = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(8)
        self.path = path
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()
        os.unlink(self.path)

    def accept(self):
        number = 0
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            for direction, ends in ((UP, (client, server)), (DOWN, (server, client))):
                threading.Thread(target=self.carry, args=(number, direction, *ends),
                                 daemon=True).start()
            number += 1

    def allowed(self, number, direction, data):
        """What of it passes; None: the connection is over."""
        with self.lock:
            left = None
            if number == 0 and direction == self.direction:
                left = self.after - self.passed[direction]
                data = data[:max(left, 0)]
            if number == 0:
                self.passed[direction] += len(data)
        return data, left is not None and len(data) == max(left, 0)

    def carry(self, number, direction, source, sink):
        over = False
        while not over:
            try:
                data = source.recv(65536)
                if not data:
                    break
                data, over = self.allowed(number, direction, data)
                sink.sendall(data)
            except OSError:
                break
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class BrokenTest(MgctlTest):
    values = {b"a": b"one", b"b": bytes(range(250)) * 280, b"c": b"three"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.private_key = os.urandom(32)
        cls.recipient = sodium.crypto_scalarmult_base(cls.private_key)
        cls.key_file = cls.folder / "key"
        cls.key_file.write_bytes(cls.private_key)
        cls.key_file.chmod(0o600)
        cls.bundle = cls.folder / "bundle"

    def through(self, *words, direction=None, after=None):
        """Runs mgctl through a proxy. Gives its status, and the bytes that passed."""
        proxy = Proxy(self.folder / "proxy", self.path, direction, after)
        try:
            result = self.run_mgctl("--socket", f"unix:{proxy.path}", *words)
        finally:
            proxy.close()
        return result.returncode, proxy.passed

    def places(self, total):
        """Every few bytes at both ends, and some in between."""
        edge = min(total, 600)
        places = sorted({*range(0, edge, STEP), *range(total - edge, total, STEP),
                         *range(0, total, max(1, total // 20)), max(0, total - 1)})
        print("# breaks at %d of %d bytes" % (len(places), total), flush=True)
        return places


class Restores(BrokenTest):
    def restore(self, **where):
        return self.through("restore", "--key", str(self.key_file), str(self.bundle), **where)

    def look(self, client):
        """What is there now; takes it away."""
        found = {info.name: client.get(info.name) for info in client.list()}
        for name in found:
            client.remove(name)
        return found

    def test_a_restore_is_made_or_not(self):
        writer = Writer(recipient=self.recipient)
        for name, value in self.values.items():
            writer.secret(name, value)
        self.bundle.write_bytes(writer.end())
        made = 0
        with mgwire.Client(self.path) as client:
            status, passed = self.restore()
            self.assertEqual(status, OK)
            self.assertEqual(self.look(client), self.values)
            for direction in (UP, DOWN):
                for after in self.places(passed[direction]):
                    with self.subTest(direction=direction, after=after):
                        status, _ = self.restore(direction=direction, after=after)
                        self.assertIn(status, (OK, UNREACHABLE))
                        self.assertEqual(
                            self.look(client), self.values if status == OK else {})
                        made += status == OK
            self.assertEqual(client.status().ledger, 0)
        # The answer to the commit was lost, and asked for again.
        self.assertGreater(made, 0)


class Backups(BrokenTest):
    def test_a_backup_is_whole_or_there_is_none(self):
        words = ["backup", "--recipient", self.recipient.hex(), str(self.bundle)]
        made = 0
        with mgwire.Client(self.path) as client:
            for name, value in self.values.items():
                client.set(name, value)
        status, passed = self.through(*words)
        self.assertEqual(status, OK)
        for direction in (UP, DOWN):
            for after in self.places(passed[direction]):
                self.bundle.unlink(missing_ok=True)
                with self.subTest(direction=direction, after=after):
                    status, _ = self.through(*words, direction=direction, after=after)
                    self.assertIn(status, (OK, UNREACHABLE))
                    self.assertEqual(self.bundle.exists(), status == OK)
                    if status == OK:
                        made += 1
                        reader = Reader(self.bundle.read_bytes(), private_key=self.private_key)
                        self.assertEqual(reader.values(), self.values)
        self.assertGreater(made, 0)
