# SPDX-License-Identifier: Apache-2.0
"""Streams as a person uses them: pipe in, pipe out."""

import hashlib
import os
import pathlib
import random
import select
import signal
import socket
import subprocess
import threading
import time

from daemon import wait_for
from mgctl_case import (CONFLICT, GONE, INTEGRITY, MGCTL, NOT_FOUND, OK, TIMEOUT, USAGE, MgctlTest)

SANITIZED = bool(os.environ.get("SANITIZED"))
# What passes through in one go; with the sanitizers it takes ten times as long.
MUCH = (1 << 30) if not SANITIZED else (1 << 26)
BLOCK = bytes(range(256)) * 4096


class Pipes(MgctlTest):
    def write(self, value, *options):
        self.ok("stream", "write", *options, self.name, stdin=value)

    def start(self, *arguments, path=None, **options):
        process = subprocess.Popen(
            [MGCTL, *arguments], env={**os.environ, "MEMGUARD_SOCKET": f"unix:{path or self.path}"},
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
               **options})

        def end():
            if process.poll() is None:
                process.kill()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
            process.wait()

        self.addCleanup(end)
        return process

    def size(self):
        return int(self.ok("stream", "size", self.name))

    def has(self, size):
        def look():
            result = self.run_mgctl("stream", "size", self.name)
            return result.returncode == OK and int(result.stdout) >= size

        self.assertTrue(wait_for(look))

    def test_what_goes_in_comes_out(self):
        for value in (b"\0\0", b"line\n", os.urandom(16384), os.urandom(16385), os.urandom(300000)):
            self.write(value)
            self.assertEqual(self.size(), len(value))
            self.assertEqual(self.ok("stream", "read", self.name), value)
            self.fails(NOT_FOUND, "stream", "size", self.name)

    def test_first_in_first_out(self):
        for value in (b"1", b"2", b"3"):
            self.write(value)
        self.assertEqual([self.ok("stream", "read", self.name) for _ in range(3)],
                         [b"1", b"2", b"3"])

    def test_a_reader_may_come_first(self):
        reader = self.start("--timeout", "30s", "stream", "read", self.name)
        time.sleep(0.2)
        self.write(b"late")
        self.assertEqual(reader.communicate(timeout=60)[0], b"late")
        self.assertEqual(reader.returncode, OK)

    def test_pieces_arrive_while_the_writer_goes_on(self):
        writer = self.start("stream", "write", self.name, stdin=subprocess.PIPE)
        reader = self.start("--timeout", "30s", "stream", "read", self.name)
        writer.stdin.write(b"a" * 5 * 16384)
        writer.stdin.flush()
        # All but what may be the last piece.
        self.assertEqual(len(reader.stdout.read(4 * 16384)), 4 * 16384)
        writer.stdin.close()
        self.assertEqual(reader.stdout.read(), b"a" * 16384)
        self.assertEqual((writer.wait(60), reader.wait(60)), (OK, OK))

    def test_a_writer_that_dies_is_told_to_the_reader(self):
        for number in (signal.SIGKILL, signal.SIGTERM):
            writer = self.start("stream", "write", self.name, stdin=subprocess.PIPE)
            writer.stdin.write(b"a" * 100000)
            writer.stdin.flush()
            self.has(4 * 16384)
            writer.send_signal(number)
            writer.wait(60)
            result = self.run_mgctl("stream", "read", self.name)
            self.assertEqual(result.returncode, INTEGRITY)
            self.assertEqual(result.stdout, b"a" * 4 * 16384)
            self.assertIn(b"incomplete", result.stderr)
            self.fails(NOT_FOUND, "stream", "size", self.name)

    def test_a_writer_whose_input_fails_is_told_at_once(self):
        folder = os.open("/", os.O_RDONLY)
        self.addCleanup(os.close, folder)
        began = time.monotonic()
        result = self.run_mgctl(
            "stream", "write", "--fd", str(folder), self.name, pass_fds=(folder,))
        self.assertNotEqual(result.returncode, OK)
        self.fails(NOT_FOUND, "stream", "size", self.name)
        self.assertLess(time.monotonic() - began, 60)

    def test_a_reader_that_cannot_print_loses_nothing(self):
        for size in (3, 5000, 200000):
            for options in ((), ("--encode", "hex"), ("--encode", "base64"), ("--json",)):
                value = os.urandom(size)
                self.write(value)
                with open("/dev/full", "wb") as full:
                    result = self.run_mgctl("stream", "read", *options, self.name, stdout=full)
                self.assertNotEqual(result.returncode, OK)
                self.assertEqual(self.ok("stream", "read", self.name), value)

    def test_a_reader_that_is_killed_loses_no_more_than_it_printed(self):
        value = os.urandom(40 * 16384)
        self.write(value)
        reader = self.start("stream", "read", self.name)
        first = reader.stdout.read(3 * 16384)
        reader.kill()
        first += reader.stdout.read()
        reader.wait()
        self.assertTrue(wait_for(
            lambda: self.run_mgctl("stat", self.name).returncode == OK))
        result = self.run_mgctl("stream", "read", self.name)
        rest = result.stdout
        # Whoever reads on is told that it is not all of it.
        self.assertEqual(result.returncode, OK if rest == value else INTEGRITY, result.stderr)
        # What was printed and not yet acknowledged comes again.
        self.assertTrue(value.endswith(rest))
        self.assertGreaterEqual(len(first) + len(rest), len(value))
        self.assertEqual(first, value[:len(first)])

    def test_nobody_to_read_ends_the_writer_in_time(self):
        result = self.run_mgctl(
            "--timeout", "500ms", "stream", "write", self.name, stdin=b"a" * (3 << 20))
        self.assertEqual(result.returncode, TIMEOUT)
        self.assertIn(b"nobody receives", result.stderr)
        self.assertLess(self.size(), 2 << 20)

    def test_nobody_to_write_ends_the_reader_in_time(self):
        self.fails(TIMEOUT, "--timeout", "300ms", "stream", "read", self.name)

    def test_one_writer_and_one_reader_at_a_time(self):
        writer = self.start("stream", "write", self.name, stdin=subprocess.PIPE)
        writer.stdin.write(b"a" * 100000)
        writer.stdin.flush()
        self.has(4 * 16384)
        result = self.run_mgctl("stream", "write", self.name, stdin=b"x")
        self.assertEqual(result.returncode, CONFLICT)
        reader = self.start("--timeout", "30s", "stream", "read", self.name)
        reader.stdout.read(4 * 16384)
        self.fails(CONFLICT, "stream", "read", self.name)
        writer.stdin.close()
        reader.stdout.read()
        self.assertEqual((writer.wait(60), reader.wait(60)), (OK, OK))

    def test_removing_it_ends_both(self):
        reader = self.start("--timeout", "30s", "stream", "read", self.name)
        writer = self.start("stream", "write", self.name, stdin=subprocess.PIPE)
        writer.stdin.write(b"a" * 100000)
        writer.stdin.flush()
        reader.stdout.read(4 * 16384)
        self.ok("rm", self.name)
        reader.communicate(timeout=60)
        writer.communicate(timeout=60)
        self.assertEqual((writer.returncode, reader.returncode), (GONE, GONE))

    def test_it_is_told_from_a_secret(self):
        self.write(b"value")
        self.assertTrue(self.json("stat", self.name)[0]["stream"])
        self.assertIn(b"stream", self.ok("stat", self.name))
        for words in (("get",), ("touch", "--ttl", "1h"), ("freeze",)):
            self.fails(USAGE, *words, self.name)
        self.fails(USAGE, "set", self.name, stdin=b"x")
        self.ok("rm", self.name)
        self.store(b"secret")
        self.fails(USAGE, "stream", "write", self.name, stdin=b"x")
        self.fails(USAGE, "stream", "read", self.name)
        self.fails(USAGE, "stream", "size", self.name)

    def test_json_and_encodings(self):
        self.assertEqual(self.json("stream", "write", self.name, stdin=b"hello")[0]["size"], 5)
        self.assertEqual(self.json("stream", "size", self.name)[0]["size"], 5)
        self.assertEqual(self.json("stream", "read", self.name)[0]["value_b64"], "aGVsbG8=")
        self.write(b"\1\2", "--trim")
        self.assertEqual(
            self.ok("stream", "read", "--encode", "hex", "--newline", "yes", self.name), b"0102\n")

    def test_what_is_no_call_is_said_to_be_none(self):
        for words in (("stream",), ("stream", "write"), ("stream", "burn", self.name),
                      ("stream", "read", "--trim", self.name),
                      ("stream", "write", "--encode", "hex", self.name),
                      ("stream", "size", "--fd", "3", self.name),
                      ("stream", "read", "a/../b")):
            self.fails(USAGE, *words)
        told = self.fails(USAGE, "stream", "write", self.name, "VALUE")
        self.assertNotIn("VALUE", told)
        self.fails(USAGE, "stream", "write", self.name, stdin=b"")

    # -- much of it ------------------------------------------------------------------------------

    def locked(self):
        for line in pathlib.Path(f"/proc/{self.daemon.pid}/status").read_text().splitlines():
            if line.startswith("VmLck:"):
                return int(line.split()[1])
        return -1

    def test_a_gigabyte_passes_and_takes_no_more_locked_memory(self):
        before, most = self.locked(), 0
        reader = self.start("--timeout", "60s", "stream", "read", self.name)
        writer = self.start("--timeout", "60s", "stream", "write", self.name,
                            stdin=subprocess.PIPE)
        digests = [hashlib.sha256(), hashlib.sha256()]

        def feed():
            for _ in range(MUCH // len(BLOCK)):
                digests[0].update(BLOCK)
                writer.stdin.write(BLOCK)
            writer.stdin.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        size = 0
        for block in iter(lambda: reader.stdout.read(1 << 20), b""):
            digests[1].update(block)
            size += len(block)
            if size % (1 << 26) < (1 << 20):
                most = max(most, self.locked())
        feeder.join()
        self.assertEqual((writer.wait(60), reader.wait(60)), (OK, OK))
        self.assertEqual(size, MUCH)
        self.assertEqual(digests[0].digest(), digests[1].digest())
        if not SANITIZED:
            self.assertLessEqual(most, before)
            self.assertGreater(before, 0)

    # -- connections that break ------------------------------------------------------------------

    def proxy(self, seed):
        """Passes bytes on, and cuts each connection after some of them, wherever that is."""
        chance = random.Random(seed)
        path = self.folder / f"proxy-{seed}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        cuts = []

        def carry(here, there):
            left = chance.randrange(150000, 600000)
            ends = {here: there, there: here}
            while left > 0:
                for end in select.select(list(ends), [], [], 30)[0]:
                    data = end.recv(min(left, 8192))
                    if not data:
                        return
                    left -= len(data)
                    ends[end].sendall(data)
            cuts.append(1)

        def serve():
            while True:
                try:
                    here, _ = listener.accept()
                except OSError:
                    return
                with here, socket.socket(socket.AF_UNIX) as there:
                    there.connect(str(self.path))
                    try:
                        carry(here, there)
                    except OSError:
                        pass

        threading.Thread(target=serve, daemon=True).start()

        def end():
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

        self.addCleanup(end)
        return path, cuts

    def test_both_ends_go_on_where_they_were_when_connections_break(self):
        value = os.urandom(6 << 20)
        seed = random.randrange(1 << 30)
        near, near_cuts = self.proxy(seed)
        far, far_cuts = self.proxy(seed + 1)
        reader = self.start("--timeout", "60s", "stream", "read", self.name, path=far)
        writer = self.start("--timeout", "60s", "stream", "write", self.name, path=near,
                            stdin=subprocess.PIPE)
        feeder = threading.Thread(
            target=lambda: (writer.stdin.write(value), writer.stdin.close()))
        feeder.start()
        got = reader.stdout.read()
        words = reader.stderr.read() + writer.stderr.read()
        self.assertEqual((writer.wait(60), reader.wait(60)), (OK, OK), (seed, words))
        feeder.join()
        self.assertEqual(got, value, seed)
        self.assertTrue(len(near_cuts) > 5 and len(far_cuts) > 5, (near_cuts, far_cuts))
