# SPDX-License-Identifier: Apache-2.0
"""Secrets that end by themselves, and secrets that cannot be changed: through mgctl."""

import os
import signal
import subprocess
import sys
import time
import unittest

from daemon import descriptors, wait_for
from mgctl_case import (CONFLICT, FROZEN, GONE, MGCTL, NOT_FOUND, OK, USAGE, MgctlTest, StrangerTest)


class Lifetime(MgctlTest):
    def gone(self, within=10, status=NOT_FOUND):
        def look():
            return self.run_mgctl("stat", self.name).returncode == status

        self.assertTrue(wait_for(look, within))

    def stat(self):
        return self.json("stat", self.name)[0]

    def test_a_ttl_ends_it(self):
        self.store(b"short", "--ttl", "400ms")
        left = self.run_mgctl("--json", "stat", self.name)
        self.gone()
        self.assertIn(left.returncode, (OK, NOT_FOUND))
        if left.returncode == OK:
            self.assertIn(b'"ttl_ms":', left.stdout)
        self.assertNotIn(self.name.encode(), self.ok("ls"))
        # The name is free.
        self.store(b"next", "--create-only")
        self.assertNotIn("ttl_ms", self.stat())

    def test_stat_tells_what_is_left(self):
        self.store(b"1", "--ttl", "7d", "--idle-ttl", "12h", "--max-reads", "3",
                   "--bind-pid", str(os.getpid()))
        before = self.stat()
        self.assertEqual(before["reads_left"], 3)
        self.assertEqual(before["bind_pid"], os.getpid())
        self.assertEqual(before["idle_ttl_ms"], 12 * 3600 * 1000)
        self.assertLessEqual(before["idle_left_ms"], before["idle_ttl_ms"])
        self.assertLessEqual(before["ttl_ms"], 7 * 86400 * 1000)
        self.assertGreater(before["ttl_ms"], 6 * 86400 * 1000)
        self.assertFalse(before["frozen"])
        self.assertNotIn("session", before)
        self.ok("get", self.name)
        self.assertEqual(self.stat()["reads_left"], 2)
        words = self.ok("stat", self.name).decode()
        for part in ("ends        in ", "idle        ends in ", "reads       2 left",
                     f"process     ends with process {os.getpid()}"):
            self.assertIn(part, words)
        # The next version brings its own.
        self.store(b"2")
        self.assertEqual({"ttl_ms", "idle_left_ms", "reads_left", "bind_pid"} & set(self.stat()),
                         set())

    def test_an_idle_one_ends_and_fetches_keep_it(self):
        self.store(b"used", "--idle-ttl", "2500ms")
        for _ in range(4):
            time.sleep(1.1)
            result = self.run_mgctl("get", self.name)
            if result.returncode == NOT_FOUND:
                self.skipTest("the machine is too busy to fetch within 2.5 s")
            self.assertEqual(result.stdout, b"used")
        self.gone()

    def test_it_is_fetched_once_and_then_consumed(self):
        for size in (20, 100000):
            value = os.urandom(size)
            self.store(value, "--max-reads", "1")
            self.ok("stat", self.name)
            self.assertEqual(self.ok("get", self.name), value)
            self.assertIn("consumed", self.fails(GONE, "get", self.name))
            for command in (["stat"], ["rm"], ["get", "--wait", "10s"], ["freeze"],
                            ["touch", "--ttl", "1h"]):
                self.fails(GONE, *command, self.name)
            self.ok("rm", "--if-exists", self.name)
            self.assertEqual(self.ok("ls", self.name), b"")

    def test_of_many_who_fetch_at_once_as_many_get_it_as_may(self):
        self.store(b"prize", "--max-reads", "5")
        readers = [subprocess.Popen([MGCTL, "get", self.name], env=self.environment,
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                   for _ in range(20)]
        ends = [(reader.communicate(timeout=60)[0], reader.returncode) for reader in readers]
        self.assertEqual(sorted(ends), [(b"", GONE)] * 15 + [(b"prize", OK)] * 5)

    def test_whoever_waits_gets_it_and_uses_it_up(self):
        waiter = subprocess.Popen([MGCTL, "get", "--wait", "30s", self.name],
                                  env=self.environment, stdout=subprocess.PIPE)
        time.sleep(0.2)
        self.store(b"now", "--max-reads", "1")
        self.assertEqual(waiter.communicate(timeout=60)[0], b"now")
        self.fails(GONE, "get", self.name)

    def test_a_touch_gives_it_more_time(self):
        self.store(b"kept", "--ttl", "1500ms")
        self.ok("touch", "--ttl", "1h", self.name)
        self.assertGreater(self.stat()["ttl_ms"], 3000 * 1000)
        self.fails(CONFLICT, "touch", "--ttl", "1ms", "--cas", "2", self.name)
        time.sleep(1.6)
        self.assertEqual(self.ok("get", self.name), b"kept")
        self.assertEqual(self.json("touch", "--ttl", "1ms", "--cas", "1", self.name),
                         [{"schema": 1, "name": self.name, "touched": True}])
        self.gone()
        self.fails(NOT_FOUND, "touch", "--ttl", "1h", self.name)

    def test_what_is_generated_has_a_lifetime_too(self):
        self.ok("set", "--generate=40", "--max-reads", "1", "--ttl", "1h", self.name)
        self.assertEqual(len(self.ok("get", self.name)), 40)
        self.fails(GONE, "get", self.name)

    def test_what_makes_no_sense_is_refused(self):
        for options in (["--ttl", "0s"], ["--ttl", "5"], ["--ttl", "-5s"], ["--ttl", "40000d"],
                        ["--idle-ttl", "soon"], ["--max-reads", "0"], ["--max-reads", "-1"],
                        ["--max-reads", "4294967296"], ["--bind-pid", "0"],
                        ["--bind-pid", "self"], ["--bind-pid", "2147483648"]):
            self.fails(USAGE, "set", self.name, *options, stdin=b"value")
        self.fails(USAGE, "touch", self.name)
        self.fails(USAGE, "touch", self.name, "--ttl", "0s")
        self.fails(NOT_FOUND, "get", self.name)

    def test_a_purge_of_ones_own_forgets_what_was_consumed(self):
        self.store(b"once", "--max-reads", "1")
        self.ok("get", self.name)
        self.fails(GONE, "get", self.name)
        self.ok("purge", "--mine")
        self.fails(NOT_FOUND, "get", self.name)


class Process(MgctlTest):
    def sleeper(self):
        process = subprocess.Popen(["sleep", "600"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_it_ends_with_its_process_however_that_ends(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            process = self.sleeper()
            self.store(b"bound", "--bind-pid", str(process.pid))
            self.assertEqual(self.ok("get", self.name), b"bound")
            process.send_signal(number)
            # Even while nobody waits for it.
            self.assertTrue(wait_for(
                lambda: self.run_mgctl("get", self.name).returncode == NOT_FOUND))

    def test_many_hang_on_one_process_and_end_with_it_alone(self):
        process, other = self.sleeper(), self.sleeper()
        for i in range(50):
            self.ok("set", f"{self.name}/{i}", "--bind-pid", str(process.pid), stdin=b"x")
        self.ok("set", f"{self.name}/other", "--bind-pid", str(other.pid), stdin=b"x")
        process.kill()
        self.assertTrue(wait_for(
            lambda: self.ok("ls", self.name + "/").split() == [f"{self.name}/other".encode()]))
        self.assertEqual(self.ok("get", f"{self.name}/other"), b"x")

    @unittest.skipIf(os.geteuid() != 0, "needs root, to see the daemon's descriptors")
    def test_a_process_is_watched_once_and_no_longer_than_something_hangs_on_it(self):
        def watched():
            return sum("pidfd" in link for link in descriptors(self.daemon.pid))

        before, process, other = watched(), self.sleeper(), self.sleeper()
        for i in range(5):
            self.ok("set", f"{self.name}/{i}", "--bind-pid", str(process.pid), stdin=b"x")
        self.ok("set", f"{self.name}/other", "--bind-pid", str(other.pid), stdin=b"x")
        # A session that is just ending may still hold its caller.
        self.assertTrue(wait_for(lambda: watched() == before + 2))
        self.ok("rm", f"{self.name}/other")
        self.assertTrue(wait_for(lambda: watched() == before + 1))
        process.kill()
        self.assertTrue(wait_for(lambda: watched() == before))

    def test_a_process_that_is_not_there_is_refused(self):
        process = self.sleeper()
        process.kill()
        process.wait()
        self.assertIn("no such process", self.fails(
            USAGE, "set", self.name, "--bind-pid", str(process.pid), stdin=b"x"))
        self.assertIn("no such process", self.fails(
            USAGE, "set", self.name, "--generate", "--bind-pid", "2147483647"))
        self.fails(NOT_FOUND, "get", self.name)

    def test_a_zombie_is_none_any_more(self):
        process = self.sleeper()
        process.kill()
        self.assertTrue(wait_for(
            lambda: " Z " in open(f"/proc/{process.pid}/stat", encoding="ascii").read()))
        self.assertIn("no such process", self.fails(
            USAGE, "set", self.name, "--bind-pid", str(process.pid), stdin=b"x"))

    @unittest.skipIf(os.geteuid() != 0, "needs root, to make a pid namespace")
    def test_a_caller_that_numbers_processes_otherwise_is_refused(self):
        result = subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", MGCTL, "set", self.name,
             "--bind-pid", "1"], input=b"x", env=self.environment, stderr=subprocess.PIPE,
            check=False)
        if b"unshare" in result.stderr:
            self.skipTest(f"no pid namespace to be had: {result.stderr.decode().strip()}")
        self.assertEqual(result.returncode, USAGE, result.stderr)
        self.assertIn(b"pid namespace", result.stderr)


class Session(MgctlTest):
    def holder(self, *options):
        process = subprocess.Popen([MGCTL, "-v", "set", "--session", *options, self.name],
                                   env=self.environment, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def start(self, *options):
        process = self.holder(*options)
        process.stdin.write(b"mine")
        process.stdin.close()
        process.stdin = None
        self.assertEqual(self.ok("get", "--wait", "10s", self.name), b"mine")
        return process

    def test_it_is_gone_within_a_second_however_the_connection_ends(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            process = self.start()
            self.assertTrue(self.json("stat", self.name)[0]["session"])
            process.send_signal(number)
            process.wait(60)
            ended = time.monotonic()
            # The next look finds nothing, if the daemon has heard of the end by then.
            self.assertTrue(wait_for(
                lambda: self.run_mgctl("get", self.name).returncode == NOT_FOUND, 10))
            self.assertLess(time.monotonic() - ended, 10)

    def test_whoever_holds_it_is_told_that_it_is_gone(self):
        process = self.start()
        self.ok("rm", self.name)
        words = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, NOT_FOUND)
        self.assertIn(b"no such secret", words)
        process = self.start("--json")
        self.ok("set", self.name, stdin=b"another")
        answer, words = process.communicate(timeout=60)
        self.assertEqual(process.returncode, NOT_FOUND)
        self.assertIn(b"version", words)
        self.assertIn(b'"version":1', answer)
        self.assertEqual(self.ok("get", self.name), b"another")


# Stores a secret that ends with its connection, and ends; a child of it has the connection still.
INHERITED = """
import os, sys
from mgwire import Client
client = Client(sys.argv[1])
client.set(sys.argv[2].encode(), b"value", lifetime={"session": True})
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
os._exit(0)
"""


class Inherited(MgctlTest):
    def test_a_child_that_has_the_connection_does_not_keep_the_secret(self):
        if not self.json("status")[0]["pidfd"]:
            self.skipTest("this kernel does not tell of processes by descriptors")
        read, write = os.pipe()
        self.addCleanup(os.close, write)
        process = subprocess.Popen(
            [sys.executable, "-c", INHERITED, str(self.path), self.name], stdin=read,
            cwd=os.path.dirname(os.path.abspath(__file__)))
        os.close(read)
        self.assertEqual(process.wait(60), 0)
        self.assertTrue(wait_for(
            lambda: self.run_mgctl("stat", self.name).returncode == NOT_FOUND, 5))


class Frozen(MgctlTest):
    def test_it_is_not_changed_until_it_is_melted(self):
        self.store(b"kept", "--ttl", "1h")
        self.ok("freeze", self.name)
        self.ok("freeze", self.name)
        self.assertTrue(self.json("stat", self.name)[0]["frozen"])
        self.assertIn("frozen", self.fails(FROZEN, "set", self.name, stdin=b"new"))
        self.fails(FROZEN, "set", self.name, stdin=os.urandom(200000))
        self.fails(FROZEN, "set", self.name, "--generate")
        self.fails(FROZEN, "rm", self.name)
        self.fails(FROZEN, "rm", "--if-exists", self.name)
        self.fails(FROZEN, "touch", "--ttl", "2h", self.name)
        self.assertEqual(self.ok("get", self.name), b"kept")
        self.assertEqual(self.json("melt", self.name),
                         [{"schema": 1, "name": self.name, "melted": True}])
        self.ok("melt", self.name)
        self.store(b"new")
        self.assertEqual(self.ok("get", self.name), b"new")

    def test_it_can_be_frozen_from_the_beginning(self):
        self.store(b"kept", "--freeze")
        self.fails(FROZEN, "set", self.name, stdin=b"new")
        self.fails(CONFLICT, "set", "--create-only", self.name, stdin=b"new")
        self.ok("purge", "--mine")
        self.fails(NOT_FOUND, "get", self.name)

    def test_what_is_not_there_cannot_be_frozen(self):
        self.fails(NOT_FOUND, "freeze", self.name)
        self.fails(NOT_FOUND, "melt", self.name)


class Strangers(StrangerTest):
    def test_nobody_else_touches_freezes_or_melts(self):
        self.store(b"kept")
        for command in (["touch", "--ttl", "1ms"], ["freeze"], ["melt"]):
            for name in (self.name, "not/there"):
                result = self.as_nobody(*command, name)
                self.assertEqual(result.returncode, 4, result.stderr)
        self.assertEqual(self.ok("get", self.name), b"kept")

    def test_one_binds_ones_own_to_any_process(self):
        result = self.as_nobody("set", "~/x", "--bind-pid", str(os.getpid()), input=b"x")
        self.assertEqual(result.returncode, OK, result.stderr)
        result = self.as_nobody("get", "~/x")
        self.assertEqual(result.stdout, b"x")
