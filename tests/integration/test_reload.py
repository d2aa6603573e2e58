# SPDX-License-Identifier: Apache-2.0
"""A daemon that runs reads its configuration anew: all of it, or nothing."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

import mgwire
from daemon import Daemon, wait_for
from mgctl_case import DENIED, MEMGUARDD, MGCTL, OK, ROOT, UNREACHABLE, StrangerTest
from mgwire import pb

REFUSED = 1
TAKEN = "took the configuration anew"
STAYS = "the configuration stays as it is"


class ReloadTest(unittest.TestCase):
    """One daemon a case, with a file of its own."""

    options = ()
    text = "[daemon]\nmax-value = 1000\n"

    def setUp(self):
        self.file = None
        self.daemon = self.start()

    def start(self):
        holder = contextlib.ExitStack()
        self.addCleanup(holder.close)
        folder = holder.enter_context(tempfile.TemporaryDirectory(prefix="memguardd-"))
        self.file = pathlib.Path(folder) / "memguardd.conf"
        self.say(self.text)
        return holder.enter_context(Daemon("--config", str(self.file), *self.options))

    def say(self, text):
        self.file.write_text(text)
        self.file.chmod(0o644)

    def mgctl(self, *arguments, stdin=b""):
        environment = {**os.environ, "MEMGUARD_SOCKET": f"unix:{self.daemon.path}"}
        return subprocess.run([MGCTL, *arguments], input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=environment, timeout=60)

    def reloads(self):
        result = self.mgctl("reload")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (OK, b"", b""))

    def refuses(self, words):
        """One line on stderr, which begins with the file, and one in the log."""
        before = self.daemon.log().count(STAYS)
        result = self.mgctl("reload")
        self.assertEqual((result.returncode, result.stdout), (REFUSED, b""))
        self.assertEqual(result.stderr.decode(), f"mgctl: {self.file}{words}\n")
        log = self.daemon.log()
        self.assertEqual(log.count(STAYS), before + 1)
        self.assertEqual(log.splitlines()[-1], f"memguardd: {STAYS}: {self.file}{words}")

    def client(self):
        client = mgwire.Client(self.daemon.path)
        self.addCleanup(client.close)
        return client

    def assertLimit(self, client, limit):
        """The limit that is told is the one in force."""
        self.assertEqual(client.status().max_value, limit)
        client.set(b"at-most", bytes(limit))
        with self.assertRaises(mgwire.Refused) as caught:
            client.set(b"over", bytes(limit + 1))
        self.assertEqual(caught.exception.code, mgwire.LIMIT)


class Taken(ReloadTest):
    def test_an_open_connection_and_a_new_one_have_the_new_limit(self):
        before = self.client()
        self.assertLimit(before, 1000)
        self.say("[daemon]\nmax-value = 100k\n")
        self.assertLimit(before, 1000)
        self.reloads()
        self.assertLimit(before, 102400)
        self.assertLimit(self.client(), 102400)
        self.assertIn(f"{TAKEN}, as uid {os.geteuid()} asks", self.daemon.log())

    def test_what_is_larger_than_a_new_limit_stays(self):
        client = self.client()
        client.set(b"large", b"x" * 1000)
        self.say("[daemon]\nmax-value = 10\n")
        self.reloads()
        self.assertLimit(client, 10)
        self.assertEqual(client.get(b"large"), b"x" * 1000)

    def test_a_key_that_is_left_out_has_its_default(self):
        self.say("")
        self.reloads()
        self.assertLimit(self.client(), 1 << 20)

    def wakes(self, seconds=0.5):
        """How often it does something, asked by nobody."""
        def count():
            status = pathlib.Path(f"/proc/{self.daemon.pid}/status").read_text()
            return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])

        before = count()
        time.sleep(seconds)
        return count() - before

    def test_the_masks_keep_the_new_time_at_once(self):
        client = self.client()
        for words, milliseconds in (("1m", 60000), ("10ms", 10), ("1m", 60000)):
            self.say(f"[daemon]\nrekey-interval = {words}\n")
            self.reloads()
            self.assertEqual(client.status().rekey_ms, milliseconds)
            if milliseconds == 10:
                self.assertGreater(self.wakes(), 10)
            else:
                self.assertLess(self.wakes(), 10)

    def test_json_tells_where(self):
        answer = json.loads(self.mgctl("--json", "reload").stdout)
        self.assertEqual(answer, {"schema": 1, "endpoint": f"unix:{self.daemon.path}"})

    def test_the_answer_comes_among_others(self):
        client = self.client()
        requests = [client.request(reload=pb.Reload()), client.request(ping=pb.Ping()),
                    client.request(reload=pb.Reload())]
        client.send(*requests)
        replies = dict((reply.id, reply.code) for reply, _ in
                       (client.receive() for _ in requests))
        self.assertEqual(replies, {request.id: 0 for request in requests})
        client.ping()

    def test_whoever_asks_at_once_is_answered(self):
        clients = [self.client() for _ in range(20)]
        requests = [client.request(reload=pb.Reload()) for client in clients]
        for client, request in zip(clients, requests):
            client.send(request)
        for client, request in zip(clients, requests):
            client.answer(request)

    def test_a_set_under_way_keeps_its_limit(self):
        self.say("[daemon]\nmax-value = 200k\n")
        self.reloads()
        value = os.urandom(150000)
        client, data_key = self.client(), os.urandom(32)
        chunks = mgwire.seal_value(value, data_key)
        request = client.set_request(b"under-way", value, data_key)
        request.chunks.CopyFrom(mgwire.announce(0, chunks[:4], False))
        client.send(request, chunks=b"".join(chunks[:4]))
        client.ping()
        self.say("[daemon]\nmax-value = 10\n")
        self.reloads()
        for first in range(4, len(chunks), 4):
            some = chunks[first:first + 4]
            client.send(
                pb.Request(id=request.id, chunks=mgwire.announce(
                    first, some, first + len(some) == len(chunks))),
                chunks=b"".join(some))
        reply = client.receive()[0]
        self.assertEqual((reply.id, reply.code), (request.id, 0))
        self.assertEqual(client.get(b"under-way"), value)
        self.assertLimit(client, 10)

    def test_a_stream_that_was_full_goes_on(self):
        source = self.file.with_name("bytes")
        source.write_bytes(bytes(300000))
        writer = subprocess.Popen(
            [MGCTL, "--socket", f"unix:{self.daemon.path}", "--timeout", "30s", "stream", "write",
             "full", "--file", str(source)])
        try:
            self.assertTrue(wait_for(lambda: self.stream_size() > 0))
            time.sleep(0.2)
            self.assertIsNone(writer.poll())
            self.assertLess(self.stream_size(), 300000)
            self.say("[daemon]\nmax-value = 1m\n")
            self.reloads()
            self.assertEqual(writer.wait(60), 0)
        finally:
            writer.kill()
            writer.wait()
        self.assertEqual(self.stream_size(), 300000)

    def stream_size(self):
        result = self.mgctl("stream", "size", "full")
        return int(result.stdout) if result.returncode == 0 else 0

    @unittest.skipUnless(ROOT, "needs root, to look into a process that is not dumpable")
    def test_many_reloads_leak_nothing(self):
        def descriptors():
            return sorted(os.listdir(f"/proc/{self.daemon.pid}/fd"))

        client = self.client()
        client.ping()
        before = descriptors()
        for i in range(300):
            self.say("[daemon]\nmax-value = %d\n" % (i + 1) if i % 2 else "[daemon]\nno = 1\n")
            try:
                client.ask(client.request(reload=pb.Reload()))
                self.assertEqual(i % 2, 1)
            except mgwire.Refused as refused:
                self.assertEqual((refused.code, i % 2), (REFUSED, 0))
        self.assertEqual(client.status().max_value, 300)
        self.assertEqual(descriptors(), before)


class Refused(ReloadTest):
    def test_a_broken_file_is_named_with_its_line_and_the_old_one_stays(self):
        client = self.client()
        for text, words in (
                ("[daemon]\nmax-value = 2000\ncolour = blue\n", ":3: unknown key 'colour'"),
                ("[daemon]\nrekey-interval = 10ms\nmax-value = 0\n",
                 ":3: max-value: '0' is no size from 1 to 1g, such as 64k or 1m"),
                ("[daemon]\nmax-value = 2000\nmax-value = 3000\n",
                 ":3: 'max-value' is set a second time (first in line 2)"),
                ("[daemon]\nmax-value = 2000\n[demon]\n",
                 ":3: unknown section [demon]; there is [daemon] and [listener NAME]"),
                ("[daemon]\nmax-value = 2000\nwords\n",
                 ":3: neither a [section], 'key = value' nor a comment")):
            with self.subTest(words):
                self.say(text)
                self.refuses(words)
                self.assertLimit(client, 1000)
                self.assertLimit(self.client(), 1000)
                self.assertEqual(client.status().rekey_ms, 500)
        # And a file that was mended is taken.
        self.say("[daemon]\nmax-value = 2000\n")
        self.reloads()
        self.assertLimit(client, 2000)

    def test_json_has_the_error_as_an_object(self):
        self.say("[daemon]\ncolour = blue\n")
        result = self.mgctl("--json", "reload")
        self.assertEqual((result.returncode, result.stdout), (REFUSED, b""))
        self.assertEqual(json.loads(result.stderr), {
            "error": "no", "code": 1, "message": f"{self.file}:2: unknown key 'colour'"})

    def test_what_takes_a_restart_is_named(self):
        for line in ("socket-mode = 0660", "socket-group = 0", "memory = require-lock"):
            with self.subTest(line):
                self.say(f"[daemon]\nmax-value = 2000\n\n{line}\n")
                self.refuses(f":4: another value of '{line.split()[0]}' takes a restart")
                self.assertLimit(self.client(), 1000)

    def test_an_option_of_the_command_line_wins_over_the_file(self):
        # The daemon was started with --socket.
        self.say("[daemon]\nsocket = /another/place\nmax-value = 2000\n")
        self.reloads()
        self.assertLimit(self.client(), 2000)

    def test_a_file_that_is_gone_is_named(self):
        self.file.unlink()
        self.refuses(": No such file or directory")
        self.assertLimit(self.client(), 1000)

    def test_a_file_that_others_may_write_is_refused(self):
        self.file.chmod(0o666)
        self.refuses(": others may write to it; let only root or the daemon's user")

    def test_bytes_that_are_no_text_are_told_as_text(self):
        self.file.write_bytes(b"[daemon]\n\xff\xfe\x1b[2J = 1\n")
        result = self.mgctl("reload")
        self.assertEqual(result.returncode, REFUSED)
        self.assertIn(f"{self.file}:2: unknown key '???[2J'", result.stderr.decode())

    def test_a_reload_that_was_cancelled_has_two_answers(self):
        client = self.client()
        reload = client.request(reload=pb.Reload())
        cancel = client.request(cancel=pb.Cancel(id=reload.id))
        client.send(reload, cancel)
        first, second = client.receive()[0], client.receive()[0]
        self.assertEqual((first.id, first.code), (reload.id, mgwire.TIMEOUT))
        self.assertEqual((second.id, second.code), (cancel.id, 0))
        self.assertTrue(wait_for(lambda: TAKEN in self.daemon.log()))


class Hup(ReloadTest):
    def hup(self):
        os.kill(self.daemon.pid, signal.SIGHUP)

    def test_a_signal_does_the_same(self):
        client = self.client()
        client.set(b"kept", b"v")
        self.say("[daemon]\nmax-value = 2000\n")
        self.hup()
        self.assertTrue(wait_for(lambda: f"{TAKEN}, on SIGHUP" in self.daemon.log()))
        self.assertLimit(client, 2000)
        self.assertEqual(client.get(b"kept"), b"v")

    def test_a_broken_file_is_one_line_in_the_log(self):
        client = self.client()
        lines = self.daemon.log().splitlines()
        self.say("[daemon]\ncolour = blue\n")
        self.hup()
        self.assertTrue(wait_for(lambda: STAYS in self.daemon.log()))
        self.assertEqual(self.daemon.log().splitlines()[len(lines):], [
            f"memguardd: {STAYS}: {self.file}:2: unknown key 'colour'"])
        self.assertLimit(client, 1000)

    def test_many_at_once_are_harmless(self):
        client = self.client()
        for i in range(500):
            self.hup()
        client.ping()
        self.assertIn(TAKEN, self.daemon.log())


class WithoutFile(unittest.TestCase):
    """The default file need not be there."""

    @unittest.skipIf(os.path.exists("/etc/memguardd/memguardd.conf"), "this machine has one")
    def test_there_is_nothing_to_read_and_all_is_well(self):
        with Daemon() as daemon:
            with mgwire.Client(daemon.path) as client:
                client.set(b"kept", b"v")
                client.ask(client.request(reload=pb.Reload()))
                os.kill(daemon.pid, signal.SIGHUP)
                self.assertTrue(wait_for(lambda: daemon.log().count(TAKEN) == 2))
                self.assertEqual(client.get(b"kept"), b"v")

    @unittest.skipIf(os.path.exists("/etc/memguardd/memguardd.conf"), "this machine has one")
    def test_a_commands_daemon_keeps_its_place(self):
        script = """
            set -e
            "$MGCTL" set kept
            "$MGCTL" reload
            kill -HUP "$("$MGCTL" --json status | sed 's/.*"pid": *\\([0-9]*\\).*/\\1/')"
            "$MGCTL" get kept
            """
        result = subprocess.run(
            [MEMGUARDD, "--max-value", "10", "--", "sh", "-c", script], input=b"v",
            env={**os.environ, "MGCTL": MGCTL}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=60)
        self.assertEqual((result.returncode, result.stdout), (0, b"v"), result.stderr)
        self.assertNotIn(STAYS.encode(), result.stderr)

    def test_without_a_daemon_it_is_6(self):
        result = subprocess.run([MGCTL, "--socket", "unix:/nowhere/socket", "reload"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, UNREACHABLE)


class Strangers(StrangerTest):
    def test_nobody_else_reloads(self):
        result = self.as_nobody("reload")
        self.assertEqual((result.returncode, result.stdout), (DENIED, b""))
        self.assertNotIn(b"memguardd.conf", result.stderr)


if __name__ == "__main__":
    unittest.main()
