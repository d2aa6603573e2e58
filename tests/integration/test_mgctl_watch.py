# SPDX-License-Identifier: Apache-2.0
"""mgctl watch: its lines, its objects, the command that it runs, and how it ends."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time

from mgctl_case import MGCTL, MgctlTest, OK, StrangerTest, TIMEOUT, UNREACHABLE, USAGE


class Watching:
    @contextlib.contextmanager
    def watching(self, *arguments, options=(), program=(MGCTL,)):
        """A watch that is on, and whose process ends with the block."""
        with tempfile.TemporaryFile("w+") as words:
            process = subprocess.Popen(
                [*program, "-v", *options, "watch", *arguments], env=self.environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words, text=True)
            try:
                deadline = time.monotonic() + 60
                while "watching from" not in self.words(words):
                    self.assertIsNone(process.poll(), self.words(words))
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.01)
                process.words = words
                yield process
            finally:
                process.kill()
                process.wait()
                process.stdout.close()

    def words(self, file):
        # Not where the other process writes.
        return os.pread(file.fileno(), 65536, 0).decode()


class Watch(Watching, MgctlTest):
    def test_a_line_is_out_at_once_with_all_that_there_is_to_tell(self):
        with self.watching(self.name) as watch:
            self.store(b"1")
            word, number, rest = watch.stdout.readline().split(" ", 2)
            self.assertEqual((word, rest), ("set", f"1 {self.name}\n"))
            self.assertLess(abs(int(number) / 1e6 - time.time()), 60)
            self.ok("mv", self.name, self.name + " of old")
            self.assertEqual(watch.stdout.readline().split(" ", 2)[::2], ["rm", f"1 {self.name}\n"])
            self.assertEqual(watch.stdout.readline().split(" ", 2)[::2],
                             ["set", f"1 {self.name} of old\n"])

    def test_objects(self):
        with self.watching(self.name, options=["--json"]) as watch:
            self.store(b"1", "--max-reads", "1")
            self.ok("get", self.name)
            for word in "set", "expire":
                told = json.loads(watch.stdout.readline())
                self.assertEqual(list(told), ["schema", "event", "number", "version", "name"])
                self.assertEqual((told["event"], told["version"], told["name"]),
                                 (word, 1, self.name))

    def test_it_ends_with_the_first_one(self):
        with self.watching("--once", self.name) as watch:
            self.store(b"1")
            self.assertEqual(watch.wait(60), OK)
            self.assertEqual(len(watch.stdout.read().splitlines()), 1)

    def test_a_later_one_goes_on_with_a_number(self):
        with self.watching("--once", self.name) as watch:
            self.store(b"1")
            number = watch.stdout.readline().split()[1]
        self.store(b"2")
        line = self.ok("watch", "--once", "--since", number, self.name)
        self.assertEqual(line.split()[2:], [b"2", self.name.encode()])

    def test_what_is_forgotten_is_told_to_be_lost(self):
        self.assertRegex(self.ok("watch", "--once", "--since", "1"), rb"^lost [0-9]+\n$")
        told = json.loads(self.ok("--json", "watch", "--once", "--since", "1"))
        self.assertEqual(list(told), ["schema", "event", "number"])
        self.assertEqual(told["event"], "lost")

    def test_a_command_runs_for_each_and_has_its_variables(self):
        script = 'echo "$MG_EVENT $MG_VERSION $MG_NAME $MG_NUMBER" && cat && exit $MG_VERSION'
        with self.watching(self.name, "--", "sh", "-c", script) as watch:
            self.store(b"1")
            line = watch.stdout.readline().split()
            self.assertEqual(line[:3], ["set", "1", self.name])
            self.assertGreater(int(line[3]), 10**15)
            self.ok("rm", self.name)
            self.assertEqual(watch.stdout.readline().split()[:3], ["rm", "1", self.name])
            watch.send_signal(signal.SIGINT)
            self.assertEqual(watch.wait(60), -signal.SIGINT)
            # It was told, and it went on.
            self.assertIn("mgctl: sh: ended with status 1\n", self.words(watch.words))

    def test_a_command_that_cannot_be_run_is_told_of_and_does_not_end_it(self):
        with self.watching("--since", "0", self.name, "--", "/no/such/program") as watch:
            self.store(b"1")
            self.store(b"2")
            deadline = time.monotonic() + 60
            while self.words(watch.words).count("cannot be run: No such file") < 2:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            self.assertIsNone(watch.poll())

    def test_a_signal_that_ends_the_command_is_told(self):
        with self.watching("--once", self.name, "--", "sh", "-c", "kill -9 $$") as watch:
            self.store(b"1")
            self.assertEqual(watch.wait(60), OK)
            self.assertIn("sh: killed by signal 9", self.words(watch.words))

    def test_it_ends_in_time_when_nothing_happens(self):
        self.assertIn("nothing has changed",
                      self.fails(TIMEOUT, "--timeout", "50ms", "watch", self.name))

    def test_who_does_not_read_on_ends_it(self):
        with self.watching(self.name) as watch:
            watch.stdout.close()
            self.store(b"1")
            self.assertEqual(watch.wait(60), -signal.SIGPIPE)
            watch.stdout = open(os.devnull)

    def test_mistakes(self):
        self.assertIn("surplus argument 'b'", self.fails(USAGE, "watch", "a", "b"))
        self.assertIn("a command is missing", self.fails(USAGE, "watch", "a", "--"))
        self.assertIn("--since 'x' is no number", self.fails(USAGE, "watch", "--since", "x"))
        self.fails(USAGE, "watch", "a//b")

    def test_without_a_daemon(self):
        self.fails(UNREACHABLE, "--socket", "unix:/nowhere", "watch")


class Strangers(Watching, StrangerTest):
    def test_names_of_others_are_not_told(self):
        with self.watching(program=self.nobody()) as watch, self.watching() as mine:
            self.ok("set", "shared", stdin=b"1")
            self.ok("set", "~/own", stdin=b"1")
            self.as_nobody("set", "~/theirs", input=b"1")
            self.ok("rm", "shared")
            self.ok("set", "~65534/given", stdin=b"1")
            told = [watch.stdout.readline().split()[3] for _ in range(2)]
            self.assertEqual(told, ["~/theirs", "~/given"])
            # What they were not told, there was.
            told = [mine.stdout.readline().split()[3] for _ in range(5)]
            self.assertEqual(told, ["shared", "~/own", "~65534/theirs", "shared", "~65534/given"])
