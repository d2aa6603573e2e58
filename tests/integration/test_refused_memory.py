# SPDX-License-Identifier: Apache-2.0
"""Every call that gets, locks or guards memory refused, each in its turn and then all at once: the
daemon serves, or ends with a status and a line; mgctl and a service do their work, or say why not.
Nobody is purged, hangs or dies of a signal, and what is stored stays."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from daemon import Daemon, accepts, has_secretmem, wait_for
from mgwire import Client, Refused, pb

MEMGUARDD = os.environ["MEMGUARDD"]
MGCTL = os.environ["MGCTL"]
SHORTAGE = os.environ.get("SHORTAGE")
REFUSE = os.environ.get("REFUSE")
OK, NOT_FOUND, LIMIT, INTERNAL, CONFIGURATION = 0, 3, 8, 70, 78
CALLS = ("mmap", "mprotect", "memfd_secret", "ftruncate", "madvise", "munmap", "mseal", "mlock")
SEVERAL = 2  # that are also the first of many
SMALL, LARGE = b"value", os.urandom(1 << 20)


# What a daemon says of a life in which it was asked to purge, once, and to end.
USUAL = (" serves unix:", "purged everything, as uid", "ending, on Terminated")


def lines(text):
    return [line for line in text.splitlines() if line]


@unittest.skipUnless(REFUSE, "a sanitizer comes before whatever is preloaded")
class RefusedTest(unittest.TestCase):
    """`always` is what the machine does not have at all."""

    always = None
    calls = CALLS

    def setUp(self):
        if not self.always and not has_secretmem():
            self.skipTest("this machine has no memfd_secret, and the others below stand for it")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.path = self.folder / "socket"
        self.record = self.folder / "record"
        self.seen = set()  # which ends there were

    def environment(self, call, number, on=False):
        environment = {**os.environ, "LD_PRELOAD": REFUSE, "REFUSE_CALL": call,
                       "REFUSE_AT": str(number), "REFUSE_RECORD": str(self.record),
                       "MEMGUARD_SOCKET": f"unix:{self.path}"}
        if on:
            environment["REFUSE_ON"] = "1"
        if self.always:
            environment["REFUSE_ALWAYS"] = self.always
        return environment

    def once(self, run, call, number):
        """Whether there was a call of that number to refuse."""
        self.record.unlink(missing_ok=True)
        with self.subTest(call=call, number=number):
            run(self.environment(call, number))
        if self.record.exists():
            self.assertEqual(self.record.read_text(), f"{call} {number}\n")
        return self.record.exists()

    def each(self, run, calls=None):
        """Runs with the first, the second, ... call refused, until none is left to refuse; and
        with all of them from the first, the second, ... on. Returns how many there are of each."""
        counts = {}
        for call in calls or self.calls:
            number = 1
            while self.once(run, call, number):
                if number <= SEVERAL:
                    with self.subTest(call=call, number=number, on=True):
                        run(self.environment(call, number, on=True))
                number += 1
            counts[call] = number - 1
        return counts

    def mgctl(self, *arguments, env=None, **options):
        return subprocess.run(
            [MGCTL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
            env=env or {**os.environ, "MEMGUARD_SOCKET": f"unix:{self.path}"}, check=False,
            **options)

    def ok(self, *arguments, **options):
        result = self.mgctl(*arguments, **options)
        self.assertEqual(result.returncode, OK, result.stderr)
        return result.stdout

    def at_least(self, counts, **least):
        for call, number in least.items():
            self.assertGreaterEqual(counts[call], number, counts)


class Daemons(RefusedTest):
    options = ()

    def store(self, client, held, name, value):
        """Stores; after a refusal, what was there before is there still."""
        try:
            client.set(name, value)
            held[name] = value
        except Refused as refusal:
            self.assertEqual(refusal.code, LIMIT)
            self.seen.add(LIMIT)
        self.holds(client, name, held.get(name))

    def holds(self, client, name, value):
        if value is not None:
            self.assertEqual(client.get(name), value)
            return
        with self.assertRaises(Refused) as refusal:
            client.get(name)
        self.assertEqual(refusal.exception.code, NOT_FOUND)

    def use(self):
        held = {}
        with Client(self.path) as client:
            for name, value in ((b"a", SMALL), (b"b", LARGE), (b"a", b"other"), (b"b", LARGE[1:])):
                self.store(client, held, name, value)
            client.status()
            for name, value in held.items():
                self.holds(client, name, value)
            client.ask(client.change(purge=pb.Purge(all=True)))
            for name in held:
                self.holds(client, name, None)
            self.store(client, {}, b"new", SMALL)

    def serve(self, environment):
        words = self.folder / "stderr"
        with open(words, "wb") as file:
            process = subprocess.Popen(
                [MEMGUARDD, "--socket", str(self.path), *self.options], env=environment,
                stdin=subprocess.DEVNULL, stderr=file)
        try:
            self.assertTrue(wait_for(
                lambda: process.poll() is not None or accepts(self.path)), "it hangs")
            started = process.poll() is None
            if started:
                self.use()
                self.assertIsNone(process.poll(), "it ended by itself")
                process.terminate()
            status = process.wait(60)
        finally:
            process.kill()
            process.wait()
        self.judge(status, started, lines(words.read_text()))

    def judge(self, status, started, told):
        if not started:
            self.assertIn(status, (INTERNAL, CONFIGURATION), told)
            self.assertEqual(len(told), 1, told)
            self.seen.add(status)
            return
        self.assertEqual(status, OK, told)
        usual = [line for line in told if any(words in line for words in USUAL)]
        self.assertEqual(len(usual), len(USUAL), told)
        self.assertLessEqual(len(told), len(USUAL) + 1, told)  # why memory is not stronger

    def test_the_daemon_serves_or_says_why_not(self):
        counts = self.each(self.serve)
        self.at_least(counts, mmap=6, mprotect=2, memfd_secret=1, ftruncate=1, madvise=9, munmap=1,
                      mseal=1)
        self.assertEqual(self.seen, {INTERNAL, LIMIT})


class Starts(RefusedTest):
    def test_a_daemon_without_memory_for_its_start_says_so(self):
        number = silent = 0
        refused = True
        while refused:
            number += 1
            with self.subTest(number=number):
                status, told = self.start_and_end(self.environment("malloc", number))
                told = [line for line in told if USUAL[0] not in line]
                # libuv itself aborts, without a word, where its table of descriptors cannot grow.
                if status == -signal.SIGABRT and not told:
                    silent += 1
                elif status != OK:
                    self.seen.add(status)
                    self.assertEqual(len(told), 1, told)
            refused = self.record.exists()
            self.record.unlink(missing_ok=True)
        self.assertGreater(number, 10)
        self.assertEqual(self.seen, {INTERNAL})
        self.assertLessEqual(silent, 2)

    def test_a_connection_without_memory_ends_no_daemon(self):
        number = 1
        while self.start_and_end(self.environment("malloc", number)) and self.record.exists():
            self.record.unlink()
            number += 1
        for more in range(60):
            with self.subTest(more=more):
                status, _ = self.start_and_end(
                    self.environment("malloc", number + more), connections=15)
                self.assertEqual(status, OK)

    def start_and_end(self, environment, connections=0):
        words = self.folder / "stderr"
        with open(words, "wb") as file:
            process = subprocess.Popen([MEMGUARDD, "--socket", str(self.path)], env=environment,
                                       stdin=subprocess.DEVNULL, stderr=file)
        try:
            wait_for(lambda: process.poll() is not None or accepts(self.path))
            with contextlib.ExitStack() as sockets:
                for _ in range(connections):
                    sockets.enter_context(socket.socket(socket.AF_UNIX)).connect(str(self.path))
                time.sleep(0.05 if connections else 0)
                process.terminate()
                return process.wait(60), lines(words.read_text())
        finally:
            process.kill()
            process.wait()
            self.path.unlink(missing_ok=True)


class DaemonsThatLock(Daemons):
    """Without memfd_secret, where mlock takes its place."""

    always = "memfd_secret"
    calls = ("mmap", "mlock", "madvise", "munmap")

    def test_the_daemon_serves_or_says_why_not(self):
        self.at_least(self.each(self.serve), mmap=6, mlock=4, madvise=12, munmap=1)
        self.assertEqual(self.seen, {INTERNAL})


class DaemonsThatMust(Daemons):
    """Told to take nothing weaker than memfd_secret."""

    calls = ("mmap", "memfd_secret", "ftruncate")
    options = ("--memory", "require-secretmem")

    def test_the_daemon_serves_or_says_why_not(self):
        self.at_least(self.each(self.serve), mmap=6, memfd_secret=1, ftruncate=1)
        self.assertEqual(self.seen, {INTERNAL, CONFIGURATION})


class Tools(RefusedTest):
    """mgctl, beside a daemon that lacks nothing."""

    def setUp(self):
        super().setUp()
        house = Daemon()
        self.addCleanup(house.end)
        self.path = house.path
        self.ok("set", "fetched", input=LARGE)
        self.ok("set", "stored", input=SMALL)
        self.ok("set", "json", input=b'{"user": "me"}')

    def judge(self, result):
        """Whether it did its work."""
        self.assertIn(result.returncode, (OK, LIMIT), result.stderr)
        self.assertEqual(len(lines(result.stderr)), result.returncode != OK, result.stderr)
        self.seen.add(result.returncode)
        return result.returncode == OK

    def fetch(self, environment):
        result = self.mgctl("get", "fetched", env=environment)
        if self.judge(result):
            self.assertEqual(result.stdout, LARGE)
        else:
            self.assertTrue(LARGE.startswith(result.stdout))

    def fetch_field(self, environment):
        result = self.mgctl("get", "--field", "/user", "json", env=environment)
        self.assertEqual(result.stdout, b"me" if self.judge(result) else b"")

    def store(self, environment):
        value = os.urandom(100000)
        before = self.ok("get", "stored")
        result = self.mgctl("set", "stored", env=environment, input=value)
        self.assertEqual(self.ok("get", "stored"), value if self.judge(result) else before)

    def least(self, counts):
        self.assertEqual(self.seen, {OK, LIMIT})
        self.at_least(counts, mmap=3, memfd_secret=1, ftruncate=1, madvise=4, munmap=1)

    def test_an_answer_in_json_is_whole_or_there_is_none(self):
        for command in ("get stored", "ls --long", "whoami"):
            arguments = ["--json", *command.split()]
            members = [list(json.loads(line)) for line in self.ok(*arguments).splitlines()]

            def ask(environment):
                result = self.mgctl(*arguments, env=environment)
                if self.judge(result):
                    self.assertEqual(
                        [list(json.loads(line)) for line in result.stdout.splitlines()], members)

            self.assertGreater(self.each(ask, ["malloc"])["malloc"], 10)
        self.assertEqual(self.seen, {OK, LIMIT})

    def test_get_prints_it_all_or_says_why_not(self):
        self.least(self.each(self.fetch))

    def test_a_field_is_printed_or_it_says_why_not(self):
        self.least(self.each(self.fetch_field))

    def test_set_stores_it_all_or_nothing(self):
        self.least(self.each(self.store))


class ToolsThatLock(Tools):
    # What is no matter of locking, or the same as above.
    test_an_answer_in_json_is_whole_or_there_is_none = None
    test_a_field_is_printed_or_it_says_why_not = None
    always = "memfd_secret"
    calls = ("mmap", "mlock", "madvise", "munmap")

    def least(self, counts):
        self.assertEqual(self.seen, {OK, LIMIT})
        self.at_least(counts, mmap=3, mlock=2, madvise=6, munmap=1)


class Services(RefusedTest):
    """shortage.c: the library without a daemon."""

    def serve(self, environment):
        result = subprocess.run([SHORTAGE], env=environment, stdin=subprocess.DEVNULL, timeout=60,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        once = "REFUSE_ON" not in environment
        # One that is refused for ever may be unable to go on, but says so and does not die of it.
        self.assertIn(result.returncode, (0,) if once else (0, 1), result.stderr)
        self.assertEqual(len(lines(result.stderr)), result.returncode, result.stderr)
        if once:
            self.assertLessEqual(len(lines(result.stdout)), 1, result.stdout)

    def test_a_service_goes_on_and_loses_nothing(self):
        self.at_least(self.each(self.serve), mmap=10, mprotect=6, memfd_secret=4, ftruncate=4,
                      madvise=8, munmap=4)


class ServicesThatLock(Services):
    always = "memfd_secret"
    calls = ("mmap", "mlock", "mprotect", "memfd_create", "ftruncate", "madvise", "munmap")

    def test_a_service_goes_on_and_loses_nothing(self):
        self.at_least(self.each(self.serve), mmap=10, mlock=6, mprotect=6, memfd_create=1,
                      ftruncate=1, madvise=8, munmap=4)
