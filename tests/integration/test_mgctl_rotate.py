# SPDX-License-Identifier: Apache-2.0
"""mgctl rotate and mgctl mv: another value under a name, and another name for a value."""

import os
import subprocess
import time

from daemon import wait_for
from mgctl_case import (CONFLICT, DENIED, FROZEN, GONE, MGCTL, NOT_FOUND, OK, USAGE, MgctlTest,
                        StrangerTest)
from test_mgctl_terminal import TerminalTest


class Rotate(MgctlTest):
    def stat(self, name=None):
        return self.json("stat", name or self.name)[0]

    def version(self, number):
        return self.ok("get", "--version", str(number), self.name)

    def test_the_value_comes_from_where_that_of_set_does(self):
        file = self.folder / "value"
        file.write_bytes(b"from a file\n")
        self.store(b"first")
        for value in (b"from stdin\n", os.urandom(200000)):
            self.assertEqual(self.ok("rotate", self.name, stdin=value), b"")
            self.assertEqual(self.ok("get", self.name), value)
        self.ok("rotate", self.name, "--file", str(file), "--trim", stdin=b"from stdin")
        self.assertEqual(self.ok("get", self.name), b"from a file")
        reader, writer = os.pipe()
        os.write(writer, b"from a descriptor")
        os.close(writer)
        self.ok("rotate", self.name, "--fd", str(reader), pass_fds=[reader])
        os.close(reader)
        self.assertEqual(self.ok("get", self.name), b"from a descriptor")
        self.ok("rotate", self.name, "--generate=40", "--charset", "hex")
        self.assertRegex(self.ok("get", self.name), rb"^[0-9a-f]{40}$")
        self.assertEqual(self.stat()["version"], 6)

    def test_tags_and_lifetime_are_those_of_the_version_before(self):
        self.store(b"1", "--tag", "team=web", "--ttl", "1h", "--max-reads", "5",
                   "--bind-pid", str(os.getpid()))
        self.ok("get", self.name)
        before = self.stat()
        self.ok("rotate", self.name, stdin=b"2")
        after = self.stat()
        self.assertLessEqual(after.pop("ttl_ms"), before.pop("ttl_ms"))
        for kept in ("tags", "reads_left", "bind_pid", "created_ms", "frozen"):
            self.assertEqual(after[kept], before[kept], kept)
        self.assertEqual((after["version"], after["reads_left"]), (2, 4))

    def test_the_version_before_is_there_for_its_grace(self):
        self.store(b"1")
        self.ok("rotate", "--grace", "1h", self.name, stdin=b"2")
        self.ok("rotate", "--generate", "--grace", "7d", self.name)
        self.assertEqual(self.version(1), b"1")
        self.assertEqual(self.version(2), b"2")
        self.assertEqual(self.version(3), self.ok("get", self.name))
        self.ok("rm", self.name)
        self.fails(NOT_FOUND, "get", "--version", "1", self.name)

    def test_its_grace_ends(self):
        self.store(b"1")
        self.ok("rotate", "--grace", "100ms", self.name, stdin=b"2")
        self.assertTrue(wait_for(lambda: self.run_mgctl(
            "get", "--version", "1", self.name).returncode == NOT_FOUND, 10))
        self.assertEqual(self.ok("get", self.name), b"2")

    def test_without_a_grace_it_is_gone(self):
        self.store(b"1")
        self.ok("rotate", self.name, stdin=b"2")
        self.fails(NOT_FOUND, "get", "--version", "1", self.name)
        self.assertEqual(self.version(2), b"2")

    def test_what_is_not_there_is_3_and_what_was_consumed_12(self):
        self.assertIn("no such secret", self.fails(NOT_FOUND, "rotate", self.name, stdin=b"x"))
        self.fails(NOT_FOUND, "rotate", self.name, stdin=os.urandom(200000))
        self.fails(NOT_FOUND, "rotate", self.name, "--generate")
        self.fails(NOT_FOUND, "get", self.name)
        self.store(b"once", "--max-reads", "1")
        self.ok("get", self.name)
        self.fails(GONE, "rotate", self.name, stdin=b"x")

    def test_what_is_frozen_is_13_and_another_version_7(self):
        self.store(b"1")
        self.assertIn("version 1", self.fails(CONFLICT, "rotate", "--cas", "2", self.name, stdin=b"x"))
        self.ok("freeze", self.name)
        self.fails(FROZEN, "rotate", self.name, stdin=b"x")
        self.ok("melt", self.name)
        self.assertEqual(self.ok("get", self.name), b"1")
        self.ok("rotate", "--cas", "1", self.name, stdin=b"2")
        self.assertEqual(self.ok("get", self.name), b"2")

    def test_the_version_is_told_in_json_alone(self):
        self.store(b"1")
        self.assertEqual(self.json("rotate", self.name, stdin=b"2"),
                         [{"schema": 1, "name": self.name, "version": 2}])
        result = self.run_mgctl("-v", "rotate", self.name, stdin=b"3")
        self.assertIn(f"rotated {self.name}, version 3".encode(), result.stderr)

    def test_a_value_on_the_command_line_is_refused_and_not_repeated(self):
        for words in (["name", "hunter2"], ["hunter2", "name"]):
            words = self.fails(USAGE, "rotate", *words)
            self.assertIn("| mgctl rotate NAME", words)
            self.assertNotIn("hunter2", words)

    def test_what_a_rotation_keeps_cannot_be_given(self):
        self.store(b"1")
        for flag in ("--tag=k=v", "--ttl=1h", "--idle-ttl=1h", "--max-reads=1", "--bind-pid=1",
                     "--session", "--freeze", "--create-only"):
            self.assertIn(flag.split("=")[0], self.fails(USAGE, "rotate", self.name, flag, stdin=b"x"))
        for options, named in ((["--grace", "0s"], "--grace"), (["--grace", "5"], "--grace"),
                               (["--grace", "40000d"], "hundred years"),
                               (["--charset", "hex"], "rotate: --charset"),
                               (["--generate", "--file", "f"], "rotate: --generate"),
                               (["--cas", "one"], "one")):
            self.assertIn(named, self.fails(USAGE, "rotate", self.name, *options, stdin=b"x"))
        self.assertIn("empty", self.fails(USAGE, "rotate", self.name))
        self.assertEqual(self.stat()["version"], 1)


class Session(MgctlTest):
    def holder(self):
        holder = subprocess.Popen([MGCTL, "set", "--session", "--json", self.name],
                                  env=self.environment, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(holder.communicate)
        self.addCleanup(holder.kill)
        holder.stdin.write(b"1")
        holder.stdin.close()
        holder.stdin = None
        self.assertEqual(self.ok("get", "--wait", "10s", self.name), b"1")
        return holder

    def test_whoever_holds_it_holds_what_it_is_rotated_to(self):
        holder = self.holder()
        self.ok("rotate", "--grace", "1h", self.name, stdin=b"2")
        time.sleep(2.5)  # it has looked twice
        self.assertIsNone(holder.poll())
        self.assertEqual(self.ok("get", self.name), b"2")
        holder.terminate()
        holder.wait(60)
        self.assertTrue(wait_for(
            lambda: self.run_mgctl("get", self.name).returncode == NOT_FOUND, 10))
        self.fails(NOT_FOUND, "get", "--version", "1", self.name)

    def test_under_another_name_it_ends_with_whoever_held_it(self):
        holder, other = self.holder(), self.name + "/other"
        self.ok("mv", self.name, other)
        self.assertEqual(holder.wait(60), NOT_FOUND)
        self.assertTrue(wait_for(
            lambda: self.run_mgctl("get", other).returncode == NOT_FOUND, 10))


class Prompt(TerminalTest):
    def test_a_person_is_asked_twice_or_once(self):
        self.store(b"1")
        for options, questions in (([], [b": ", b"once more: "]), (["--once"], [b": "])):
            value = b"hunter%d" % len(questions)
            terminal = self.terminal("rotate", *options, self.name)
            for question in questions:
                terminal.expect(question)
                terminal.type(value + b"\n")
            self.assertEqual(terminal.end(), OK)
            self.assertNotIn(value, terminal.shown)
            self.assertEqual(self.ok("get", self.name), value)


class Move(MgctlTest):
    def test_another_name_is_all_that_changes(self):
        other = self.name + "/other"
        self.store(b"1", "--tag", "team=web", "--max-reads", "9")
        self.ok("rotate", "--grace", "1h", self.name, stdin=b"2")
        before, = self.json("stat", self.name)
        self.assertEqual(self.ok("mv", self.name, other), b"")
        after, = self.json("stat", other)
        self.assertEqual(after, {**before, "name": other})
        self.assertEqual(self.ok("get", other), b"2")
        self.assertEqual(self.ok("get", "--version", "1", other), b"1")
        for command in (["get"], ["get", "--version", "1"], ["stat"]):
            self.fails(NOT_FOUND, *command, self.name)
        self.fails(NOT_FOUND, "mv", self.name, "elsewhere")
        self.assertEqual(self.ok("ls", self.name).decode(), other + "\n")

    def test_the_home_folder_is_the_callers_own_space(self):
        self.ok("set", "~/one", stdin=b"mine")
        self.ok("mv", f"{self.home}/one", f"{self.home}/two")
        self.assertEqual(self.ok("ls", "~/"), b"~/two\n")
        self.assertEqual(self.json("mv", f"{self.home}/two", "~/three"),
                         [{"schema": 1, "name": "~/two", "to": "~/three", "version": 1}])
        self.assertEqual(self.ok("get", f"~{os.geteuid()}/three"), b"mine")

    def test_nothing_is_overwritten(self):
        other = self.name + "/other"
        self.store(b"1")
        self.ok("set", other, stdin=b"2")
        words = self.fails(CONFLICT, "mv", self.name, other)
        self.assertIn(f"'{other}' exists already", words)
        self.fails(CONFLICT, "mv", self.name, self.name)
        self.assertIn("version 1", self.fails(CONFLICT, "mv", "--cas", "2", self.name, "free"))
        self.assertEqual((self.ok("get", self.name), self.ok("get", other)), (b"1", b"2"))
        self.ok("rm", other)
        self.ok("mv", "--cas", "1", self.name, other)
        self.assertEqual(self.ok("get", other), b"1")

    def test_what_cannot_be_moved_says_why(self):
        other = self.name + "/other"
        self.fails(NOT_FOUND, "mv", self.name, other)
        self.store(b"once", "--max-reads", "1")
        self.ok("get", self.name)
        self.fails(GONE, "mv", self.name, other)
        self.store(b"kept", "--freeze")
        self.assertIn("frozen", self.fails(FROZEN, "mv", self.name, other))
        self.ok("stream", "write", self.name + "/stream", stdin=b"x")
        self.fails(USAGE, "mv", self.name + "/stream", other)
        self.fails(NOT_FOUND, "get", other)
        self.assertEqual(self.ok("get", self.name), b"kept")

    def test_what_is_wrong_is_named(self):
        self.store(b"1")
        for words, named in (([], "NAME NEWNAME"), ([self.name], "NAME NEWNAME"),
                             ([self.name, "b", "surplus"], "surplus"),
                             ([self.name, "b//c"], "the new name"),
                             ([self.name, ""], "the new name is empty"),
                             (["a//b", "b"], "the name"),
                             ([self.name, "b", "--cas", "one"], "one"),
                             ([self.name, "b", "--force"], "--force")):
            self.assertIn(named, self.fails(USAGE, "mv", *words))
        self.assertEqual(self.ok("get", self.name), b"1")

    def test_whoever_waits_for_the_new_name_gets_it(self):
        other = self.name + "/other"
        self.store(b"1")
        waiter = subprocess.Popen([MGCTL, "get", "--wait", "60s", other], env=self.environment,
                                  stdout=subprocess.PIPE)
        time.sleep(0.2)
        self.ok("mv", self.name, other)
        self.assertEqual(waiter.communicate(timeout=60)[0], b"1")


class Strangers(StrangerTest):
    def denied(self, *arguments, **options):
        result = self.as_nobody(*arguments, **options)
        self.assertEqual(result.returncode, DENIED, result.stderr)
        return result.stderr.decode()

    def test_one_moves_and_rotates_ones_own_alone(self):
        self.assertEqual(self.as_nobody("set", "~/x", input=b"1").returncode, OK)
        self.assertEqual(self.as_nobody("rotate", "~/x", input=b"2").returncode, OK)
        self.assertEqual(self.as_nobody("mv", "~/x", "~/y").returncode, OK)
        self.assertEqual(self.as_nobody("get", "~/y").stdout, b"2")
        self.store(b"kept")
        for name in (self.name, "not/there"):
            self.assertIn("'~/", self.denied("rotate", name, input=b"x"))
            self.assertIn(f"'~/{name}'", self.denied("mv", name, "~/z"))
        # Of the two names that one is told that is not allowed.
        words = self.denied("mv", "~/y", "web/y")
        self.assertTrue(words.startswith("mgctl: web/y: "), words)
        self.assertIn("'~/web/y'", words)
        self.denied("mv", "~/y", f"~{os.geteuid()}/y")
        self.assertEqual(self.ok("get", self.name), b"kept")
        self.assertEqual(self.as_nobody("get", "~/y").stdout, b"2")
