# SPDX-License-Identifier: Apache-2.0
"""mgctl as a person and a script meet it: every command, every flag, every exit status."""

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
import unittest

from daemon import accepts, wait_for
from mgctl_case import (CONFLICT, DENIED, INTERNAL, LIMIT, MEMGUARDD, MGCTL, NOT_FOUND, OK, PROTOCOL, ROOT,
                        TIMEOUT, UNREACHABLE, USAGE, MgctlTest, StrangerTest)

COMMANDS = ["set", "get", "rm", "ls", "stat", "status", "ping", "whoami", "version", "help",
            "completion", "purge", "reload", "upgrade", "shutdown", "touch", "freeze", "melt", "stream",
            "verify", "backup", "restore", "rotate", "mv", "policy", "audit", "watch", "lock",
            "unlock", "token", "wrap", "unwrap"]
MAX_VALUE = 1 << 20
PIECE = 12000  # what mgctl reads at a time


def allow_cores():
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE,
          signal.SIGALRM, signal.SIGXCPU, signal.SIGUSR1, signal.SIGUSR2)


def hear_signals():
    """Whoever starts tests in the background may have them ignore what ends them."""
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))


def is_hardened(pid):
    """No core file, and root's files below /proc: the process is not dumpable."""
    proc = pathlib.Path(f"/proc/{pid}")
    return (re.search(r"Max core file size +0 ", (proc / "limits").read_text()) and
            (proc / "mem").stat().st_uid == 0 and (proc / "comm").read_text() == "mgctl\n")


class ShutOut(StrangerTest):
    daemon_options = ["--socket-mode", "0600"]

    def test_who_may_not_connect_is_told_where_and_what_to_do(self):
        result = self.as_nobody("ping")
        self.assertEqual(result.returncode, UNREACHABLE)
        for words in (str(self.path), "Permission denied", "socket-group", "[listener]"):
            self.assertIn(words, result.stderr.decode())
        self.assertEqual(len(result.stderr.splitlines()), 1)


class CommandLine(MgctlTest):
    def test_what_is_wrong_is_named_in_one_line(self):
        for arguments, named in (
                ([], "no command"),
                (["frobnicate"], "frobnicate"),
                (["--frobnicate", "ping"], "--frobnicate"),
                (["get", "a", "--frobnicate=3"], "--frobnicate"),
                (["ls", "-x"], "-x"),
                (["get"], "NAME"),
                (["rm"], "NAME"),
                (["get", "a", "surplus"], "surplus"),
                (["ping", "surplus"], "usage: mgctl ping\n"),
                (["reload", "surplus"], "usage: mgctl reload\n"),
                (["get", "a", "--fd"], "--fd"),
                (["get", "a", "--fd", "x"], "--fd"),
                (["get", "a", "--version"], "--version"),
                (["get", "a", "--version", "-1"], "--version"),
                (["get", "a", "--force=yes"], "force"),
                (["get", "a", "--encode", "rot13"], "rot13"),
                (["get", "a", "--newline", "perhaps"], "perhaps"),
                (["get", "a", "--field", "b"], "--field"),
                (["get", "a", "--field", "/b~2"], "--field"),
                (["get", "a", "--out", ""], "--out"),
                (["get", "a", "--out", "x", "--fd", "1"], "--fd"),
                (["get", "a", "--json", "--encode", "hex"], "--encode"),
                (["set", "a", "--charset", "latin"], "latin"),
                (["set", "a", "--charset", "hex"], "--generate"),
                (["set", "a", "--generate=0"], "--generate"),
                (["set", "a", "--generate=9x"], "9x"),
                (["set", "a", "--generate", "--file", "f"], "--file"),
                (["set", "a", "--cas", "1", "--create-only"], "--cas"),
                (["set", "a", "--cas", "one"], "one"),
                (["set", "a", "--tag", "novalue"], "novalue"),
                (["set", "a", "--tag", "=v"], "=v"),
                (["set", "a"] + ["--tag", "k=v"] * 17, "16"),
                (["--timeout", "5", "ping"], "--timeout"),
                (["--timeout", "0s", "ping"], "--timeout"),
                (["--timeout", "50d", "ping"], "49 days"),
                (["--timeout", "18446744073709551616s", "ping"], "--timeout"),
                (["--daemon-uid", "me", "ping"], "--daemon-uid"),
                (["help", "frobnicate"], "frobnicate"),
                (["completion", "tcsh"], "tcsh")):
            with self.subTest(arguments=arguments):
                self.assertIn(named, self.fails(USAGE, *arguments))

    def test_flags_of_features_to_come_are_unknown(self):
        for flag in ("--grace=1s", "--bind-unit=x"):
            self.assertIn(flag.split("=")[0], self.fails(USAGE, "set", "a", flag))

    def test_a_value_on_the_command_line_is_refused_and_not_repeated(self):
        words = self.fails(USAGE, "set", "name", "hunter2")
        self.assertIn("| mgctl set NAME", words)
        self.assertNotIn("hunter2", words)
        self.assertNotIn("hunter2", self.fails(USAGE, "set", "hunter2", "name"))

    def test_options_stand_anywhere_and_two_dashes_end_them(self):
        self.store(b"x")
        self.assertEqual(self.ok("--timeout=3s", "get", "--newline=yes", self.name, "-q"), b"x\n")
        self.assertEqual(self.ok("get", "--newline", "no", "--", self.name), b"x")
        self.ok("set", "--", "-q", stdin=b"dash")
        self.assertEqual(self.ok("get", "--", "-q"), b"dash")

    def test_durations_have_units(self):
        for text in ("5000ms", "90s", "15m", "12h", "7d"):
            self.ok("ping", "--timeout", text)

    def test_help_explains_every_command_and_every_option(self):
        everything = self.ok("help").decode()
        self.assertEqual(self.ok("--help").decode(), everything)
        self.assertEqual(self.ok("-h").decode(), everything)
        for command in COMMANDS:
            self.assertRegex(everything, rf"(?m)^  {command}\b")
            page = self.ok("help", command).decode()
            self.assertTrue(page.startswith(f"usage: mgctl {command}"))
            self.assertEqual(self.ok(command, "--help").decode(), page)
            self.assertLessEqual(max(map(len, page.splitlines())), 80)
        for flag in ("--fd", "--file", "--once", "--trim", "--generate", "--charset",
                     "--create-only", "--cas", "--tag"):
            self.assertIn(flag, self.ok("help", "set").decode())

    def test_version_is_said_without_a_daemon(self):
        nowhere = {"MEMGUARD_SOCKET": "unix:/nowhere"}
        words = self.ok("version", env=nowhere)
        self.assertRegex(words.decode(), r"^mgctl \d+\.\d+\.\d+, libmgclient \d+\.\d+\.\d+\n$")
        self.assertEqual(self.ok("--version", env=nowhere), words)
        answer, = self.json("version", env=nowhere)
        self.assertEqual(list(answer), ["schema", "version", "library"])

    def test_quiet_says_nothing_and_verbose_says_what_was_done(self):
        result = self.run_mgctl("get", "-q", "absent")
        self.assertEqual((result.returncode, result.stderr), (NOT_FOUND, b""))
        result = self.run_mgctl("-v", "set", self.name, stdin=b"v")
        self.assertIn(b"version 1", result.stderr)
        self.assertNotIn(b"v\n", result.stdout)

    def test_errors_in_json(self):
        def error(status, name, *arguments, **options):
            answer = json.loads(self.fails(status, *arguments, "--json", **options))
            self.assertEqual(list(answer), ["error", "code", "message"])
            self.assertEqual((answer["error"], answer["code"]), (name, status))
            self.assertTrue(answer["message"])

        error(NOT_FOUND, "not_found", "get", "absent")
        error(USAGE, "invalid", "get", "absent", "--frobnicate")
        error(USAGE, "invalid", "get", b"\xff\xfe")
        error(UNREACHABLE, "unreachable", "ping", env={"MEMGUARD_SOCKET": "unix:/nowhere"})
        error(TIMEOUT, "timeout", "get", "absent", "--wait", "50ms")

    def test_words_on_stderr_cannot_steer_a_terminal(self):
        words = self.fails(USAGE, "get", "--\x1b]0;title\x07")
        self.assertNotRegex(words, "[\x00-\x09\x0b-\x1f\x7f]")

    def test_closed_standard_descriptors_lose_nothing(self):
        self.store(b"x")
        script = f'exec "$0" get {self.name} >&-'
        result = subprocess.run(["sh", "-c", script, MGCTL], env=self.environment,
                                stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, INTERNAL, result.stderr)
        result = subprocess.run(["sh", "-c", 'exec "$0" set closed <&-', MGCTL],
                                env=self.environment, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, USAGE, result.stderr)
        self.fails(NOT_FOUND, "get", "closed")


class Set(MgctlTest):
    def test_bytes_come_back_as_they_were(self):
        for value in (b"x", b"text with a final newline\n", b"\0\0", b"\n", bytes(range(256)),
                      os.urandom(4096), os.urandom(16384), os.urandom(16385),
                      os.urandom(MAX_VALUE)):
            self.store(value)
            self.assertEqual(self.ok("get", self.name), value)

    def test_an_empty_value_is_refused(self):
        self.assertIn("nothing is stored", self.fails(USAGE, "set", self.name))
        self.assertIn("empty", self.fails(USAGE, "set", self.name, "--trim", stdin=b"\n"))
        self.fails(NOT_FOUND, "get", self.name)

    def test_a_value_over_the_limit_is_refused(self):
        self.fails(LIMIT, "set", self.name, stdin=bytes(MAX_VALUE + 1))
        self.fails(LIMIT, "set", self.name, f"--generate={MAX_VALUE + 1}")
        self.fails(NOT_FOUND, "get", self.name)

    def test_trim_drops_one_final_newline_wherever_it_falls(self):
        for size in (1, *range(PIECE - 3, PIECE + 3), 2 * PIECE, 40000):
            for value in (b"x" * size + b"\n", b"\n" * size + b"\n", b"x" * size):
                self.store(value, "--trim")
                self.assertEqual(self.ok("get", self.name), value.removesuffix(b"\n"))

    def test_values_from_a_file_and_a_descriptor_in_this_order(self):
        file = self.folder / "value"
        file.write_bytes(b"from a file")
        self.ok("set", self.name, "--file", str(file), stdin=b"from stdin")
        self.assertEqual(self.ok("get", self.name), b"from a file")
        self.ok("set", self.name, "--file", "-", stdin=b"from stdin")
        self.assertEqual(self.ok("get", self.name), b"from stdin")
        reader, writer = os.pipe()
        os.write(writer, b"from a descriptor")
        os.close(writer)
        self.ok("set", self.name, "--file", str(file), "--fd", str(reader), pass_fds=[reader])
        os.close(reader)
        self.assertEqual(self.ok("get", self.name), b"from a descriptor")

    def test_a_source_that_cannot_be_read_stores_nothing(self):
        self.assertIn("/no/such", self.fails(USAGE, "set", self.name, "--file", "/no/such"))
        self.fails(USAGE, "set", self.name, "--file", str(self.folder))
        self.fails(USAGE, "set", self.name, "--fd", "77")
        self.fails(NOT_FOUND, "get", self.name)

    def test_a_source_that_does_not_block_is_waited_for(self):
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        threading.Timer(0.3, lambda: (os.write(writer, b"late"), os.close(writer))).start()
        self.ok("set", self.name, "--fd", str(reader), pass_fds=[reader])
        os.close(reader)
        self.assertEqual(self.ok("get", self.name), b"late")

    def test_generate_draws_from_the_set_that_was_asked_for(self):
        self.ok("set", self.name, "--generate")
        first = self.ok("get", self.name)
        self.assertRegex(first, rb"^[A-Za-z0-9]{32}$")
        self.ok("set", self.name, "--generate")
        self.assertNotEqual(self.ok("get", self.name), first)
        for charset, form in (("hex", rb"[0-9a-f]"), ("alnum", rb"[A-Za-z0-9]"),
                              ("base64", rb"[A-Za-z0-9+/]"), ("bytes", rb"(?s:.)")):
            self.assertEqual(
                self.ok("set", self.name, "--generate=1k", "--charset", charset), b"")
            self.assertRegex(self.ok("get", self.name), b"^" + form + b"{1024}$")

    def test_create_only_and_cas_refuse_with_a_conflict(self):
        self.ok("set", self.name, "--create-only", stdin=b"1")
        self.fails(CONFLICT, "set", self.name, "--create-only", stdin=b"2")
        self.fails(CONFLICT, "set", self.name, "--cas", "0", stdin=b"2")
        self.fails(CONFLICT, "set", self.name, "--cas", "7", stdin=b"2")
        self.assertEqual(self.ok("get", self.name), b"1")
        self.ok("set", self.name, "--cas", "1", stdin=b"2")
        self.ok("set", self.name + "/new", "--cas", "0", stdin=b"1")
        self.assertEqual(self.ok("get", self.name), b"2")

    def test_the_version_is_told_in_json_alone(self):
        self.assertEqual(self.ok("set", self.name, stdin=b"1"), b"")
        answer, = self.json("set", self.name, stdin=b"2")
        self.assertEqual(answer, {"schema": 1, "name": self.name, "version": 2})

    def test_tags_are_kept_and_replaced(self):
        self.store(b"x", "--tag", "team=web", "--tag", "note=a=b c")
        answer, = self.json("stat", self.name)
        self.assertEqual(answer["tags"], {"team": "web", "note": "a=b c"})
        self.store(b"x", "--tag", "team=db")
        answer, = self.json("stat", self.name)
        self.assertEqual(answer["tags"], {"team": "db"})

    def test_bad_names_are_refused(self):
        for name in ("", "a//b", "/a", "a/", "..", "a/../b", "a/.", "x" * 256, "a\nb", b"\xff",
                     "~frob/x", "~/"):
            with self.subTest(name=name):
                self.fails(USAGE, "set", name, stdin=b"x")
                self.fails(USAGE, "get", name)
        self.ok("set", "x" * 255, stdin=b"x")
        self.ok("set", "gr\u00fc\u00dfe/\u2713", stdin=b"x")

    def test_the_value_is_nowhere_that_others_can_read(self):
        value = b"correct-horse-battery-staple"
        process = subprocess.Popen([MGCTL, "set", self.name], env=self.environment,
                                   stdin=subprocess.PIPE, preexec_fn=allow_cores)
        try:
            process.stdin.write(value)
            process.stdin.flush()
            self.assertTrue(wait_for(lambda: is_hardened(process.pid)))
            time.sleep(0.2)  # it has read the value now
            proc = pathlib.Path(f"/proc/{process.pid}")
            self.assertNotIn(value, (proc / "cmdline").read_bytes())
            with contextlib.suppress(PermissionError):
                self.assertNotIn(value, (proc / "environ").read_bytes())
        finally:
            process.stdin.close()
            self.assertEqual(process.wait(60), OK)
        self.assertEqual(self.ok("get", self.name), value)


class Get(MgctlTest):
    def test_what_is_not_there_is_3(self):
        self.fails(NOT_FOUND, "get", "absent")
        self.store(b"x")
        self.assertEqual(self.ok("get", self.name, "--version", "1"), b"x")
        self.fails(NOT_FOUND, "get", self.name, "--version", "2")

    def test_json_has_the_value_in_base64(self):
        for size in (1, 2, 3, 4, 5, 6000, 16384, 16385, 100000):
            value = os.urandom(size)
            self.store(value)
            answer, = self.json("get", self.name)
            self.assertEqual(list(answer), ["schema", "name", "version", "size", "value_b64"])
            self.assertEqual((answer["name"], answer["size"]), (self.name, size))
            self.assertEqual(base64.b64decode(answer["value_b64"], validate=True), value)

    def test_encodings(self):
        for size in (1, 2, 3, 5998, 16385):
            value = os.urandom(size)
            self.store(value)
            self.assertEqual(
                self.ok("get", self.name, "--encode", "base64"), base64.b64encode(value))
            self.assertEqual(
                self.ok("get", self.name, "--encode=hex"), value.hex().encode())

    def test_newline_is_added_when_it_is_asked_for(self):
        self.store(b"x")
        for option, expected in (("auto", b"x"), ("yes", b"x\n"), ("no", b"x")):
            self.assertEqual(self.ok("get", self.name, "--newline", option), expected)

    def test_a_descriptor_gets_the_bytes(self):
        self.store(b"\0value")
        reader, writer = os.pipe()
        self.assertEqual(self.ok("get", self.name, "--fd", str(writer), pass_fds=[writer]), b"")
        os.close(writer)
        self.assertEqual(os.read(reader, 100), b"\0value")
        os.close(reader)
        self.fails(USAGE, "get", self.name, "--fd", "77")

    def test_out_makes_a_file_of_mode_0600(self):
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        place = folder / "out"
        value = os.urandom(100000)
        self.store(value)
        place.write_text("old")
        place.chmod(0o644)
        self.assertEqual(self.ok("get", self.name, "--out", str(place)), b"")
        self.assertEqual(place.read_bytes(), value)
        self.assertEqual(stat.S_IMODE(place.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(folder), ["out"])
        self.ok("get", self.name, "--out", "relative", cwd=folder)
        self.assertEqual((folder / "relative").read_bytes(), value)
        answer, = self.json("get", self.name, "--out", str(place))
        self.assertEqual(list(answer), ["schema", "name", "version", "size"])

    def test_out_leaves_no_file_when_it_fails(self):
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        place = folder / "out"
        self.fails(NOT_FOUND, "get", "absent", "--out", str(place))
        self.store(b"no json")
        self.fails(USAGE, "get", self.name, "--field", "/a", "--out", str(place))
        self.assertEqual(os.listdir(folder), [])
        place.write_text("old")
        self.fails(NOT_FOUND, "get", "absent", "--out", str(place))
        self.assertEqual(place.read_text(), "old")
        self.assertEqual(os.listdir(folder), ["out"])
        self.fails(USAGE, "get", self.name, "--out", str(folder / "no" / "such"))

    def test_out_leaves_no_file_when_a_signal_ends_it(self):
        for number in ENDING:
            folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
            process = subprocess.Popen(
                [MGCTL, "get", "absent", "--wait", "60s", "--out", str(folder / "out")],
                env=self.environment, stderr=subprocess.DEVNULL, preexec_fn=hear_signals)
            self.assertTrue(wait_for(lambda: os.listdir(folder)))
            time.sleep(0.05)
            process.send_signal(number)
            self.assertEqual(process.wait(60), -number)
            self.assertEqual(os.listdir(folder), [])

    def test_out_leaves_no_file_when_it_may_not_grow(self):
        self.store(os.urandom(100000))
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        self.assertIn("too large", self.fails(LIMIT, "get", self.name, "--out",
                                              str(folder / "out"), preexec_fn=small_files))
        self.assertEqual(os.listdir(folder), [])

    def test_out_replaces_nothing_but_files(self):
        self.store(b"x")
        link = self.folder / "link"
        link.symlink_to(self.folder / "elsewhere")
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        for place in (link, fifo, self.folder):
            self.assertIn("regular", self.fails(USAGE, "get", self.name, "--out", str(place)))

    def test_wait_ends_when_the_name_appears_or_with_9(self):
        begin = time.monotonic()
        self.fails(TIMEOUT, "get", self.name, "--wait", "300ms")
        self.assertGreaterEqual(time.monotonic() - begin, 0.3)
        timer = threading.Timer(0.3, lambda: self.store(b"late"))
        timer.start()
        self.assertEqual(self.ok("get", self.name, "--wait", "30s"), b"late")
        timer.join()

    def test_a_full_disk_is_a_limit(self):
        self.store(b"x" * 20000)
        with open("/dev/full", "wb") as full:
            self.fails(LIMIT, "get", self.name, stdout=full)
            self.fails(LIMIT, "ls", stdout=full)

    def test_nobody_who_reads_on_is_a_quiet_end(self):
        self.store(os.urandom(MAX_VALUE))
        for preparation in (lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL),
                            lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN)):
            process = subprocess.Popen(
                [MGCTL, "get", self.name], env=self.environment, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, preexec_fn=preparation, restore_signals=False)
            process.stdout.read(1)
            process.stdout.close()
            self.assertEqual(process.stderr.read(), b"")
            process.stderr.close()
            self.assertEqual(process.wait(60), -signal.SIGPIPE)


class Field(MgctlTest):
    def field(self, pointer, *options):
        return self.ok("get", self.name, "--field", pointer, *options)

    def test_members_are_found_by_pointer(self):
        self.store(json.dumps({
            "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5,
            'k"l': 6, " ": 7, "m~n": 8}).encode())
        for pointer, expected in (
                ("/foo", b'["bar","baz"]'), ("/foo/0", b"bar"), ("/foo/1", b"baz"), ("/", b"0"),
                ("/a~1b", b"1"), ("/c%d", b"2"), ("/e^f", b"3"), ("/g|h", b"4"), ("/i\\j", b"5"),
                ('/k"l', b"6"), ("/ ", b"7"), ("/m~0n", b"8")):
            self.assertEqual(self.field(pointer), expected, pointer)

    def test_strings_are_printed_raw_and_others_as_compact_json(self):
        self.store(b' { "s" : "a\\n\\"\\u00fc\\ud83d\\ude00\\u0000" , "n" : -1.50E+2 , '
                   b'"l" : [ 1 , true , { "x y" : " z " } ] , "big":123456789012345678901234, '
                   b'"e":"", "same":1, "same":2 } \n')
        self.assertEqual(self.field("/s"), "a\n\"\u00fc\U0001f600\0".encode())
        self.assertEqual(self.field("/n"), b"-1.50E+2")
        self.assertEqual(self.field("/big"), b"123456789012345678901234")
        self.assertEqual(self.field("/l"), b'[1,true,{"x y":" z "}]')
        self.assertEqual(self.field("/l/2/x y"), b" z ")
        self.assertEqual(self.field("/e"), b"")
        self.assertEqual(self.field("/same"), b"2")
        self.assertTrue(self.field("").startswith(b'{"s":"a\\n'))

    def test_encodings_and_json_hold_for_a_field(self):
        self.store(b'{"a":"secret"}')
        self.assertEqual(self.field("/a", "--encode", "hex"), b"secret".hex().encode())
        answer, = self.json("get", self.name, "--field", "/a")
        self.assertEqual(list(answer),
                         ["schema", "name", "version", "field", "size", "value_b64"])
        self.assertEqual((answer["size"], answer["value_b64"]),
                         (6, base64.b64encode(b"secret").decode()))

    def test_no_member_is_3(self):
        self.store(b'{"a":[1,2],"b":{"c":"d"},"t":{"a":1},"t":2}')
        for pointer in ("/x", "/a/2", "/a/01", "/a/-", "/a/-1", "/a/x", "/b/c/d", "/b/", "/aa",
                        "/t/a", "/a/18446744073709551616"):
            self.fails(NOT_FOUND, "get", self.name, "--field", pointer)

    def test_a_value_that_is_no_json_is_2(self):
        for value in (b"text", b"{", b'{"a":1', b'{"a" 1}', b'{"a":1}x', b"[1,]", b"[01]", b"[1.]",
                      b'{"a":1,}', b"[-]", b"[1e]", b'["\\x"]', b'["\\ud800"]', b'["\n"]', b"[,1]",
                      b'{a:1}', b"[tru]", b'["', b"\xff", b"[" * 5000 + b"]" * 5000, b"[1 2]"):
            self.store(value)
            self.assertIn("JSON", self.fails(USAGE, "get", self.name, "--field", "/a"))

    def test_a_large_value_is_searched_whole(self):
        value = {"pad": ["x" * 100] * 5000, "last": "found", "text": "line\n" * 20000}
        self.store(json.dumps(value).encode())
        self.assertEqual(self.field("/last"), b"found")
        self.assertEqual(self.field("/text"), value["text"].encode())


class Others(MgctlTest):
    def test_rm_removes_what_is_there_and_tells_what_is_not(self):
        names = [f"{self.name}/{i}" for i in range(3)]
        for name in names:
            self.ok("set", name, stdin=b"x")
        self.assertIn("absent", self.fails(NOT_FOUND, "rm", names[0], "absent", names[1]))
        for name in names[:2]:
            self.fails(NOT_FOUND, "get", name)
        self.assertEqual(self.ok("rm", "--if-exists", names[0], names[2]), b"")
        self.fails(NOT_FOUND, "get", names[2])

    def test_rm_in_json_is_one_object_a_name(self):
        self.store(b"x")
        self.assertEqual(
            self.json("rm", "--if-exists", self.name, "absent"),
            [{"schema": 1, "name": self.name, "removed": True},
             {"schema": 1, "name": "absent", "removed": False}])

    def test_rm_with_another_version_is_7(self):
        self.store(b"x")
        self.fails(CONFLICT, "rm", self.name, "--cas", "2")
        self.assertEqual(self.ok("get", self.name), b"x")
        self.ok("rm", self.name, "--cas", "1")

    def test_ls_is_sorted_and_knows_prefixes(self):
        for part in ("c", "a", "b/2", "b/1"):
            self.ok("set", f"{self.name}/{part}", stdin=b"x")
        self.assertEqual(
            self.ok("ls", self.name).decode().splitlines(),
            [f"{self.name}/{part}" for part in ("a", "b/1", "b/2", "c")])
        self.assertEqual(self.ok("ls", self.name + "/b").count(b"\n"), 2)
        self.assertEqual(self.ok("ls", "nothing/here"), b"")
        self.fails(USAGE, "ls", "a//")
        self.assertGreaterEqual(self.ok("ls").count(b"\n"), 4)

    def test_ls_in_detail_and_by_tag(self):
        self.ok("set", self.name + "/a", "--tag", "t=1", "--tag", "u=2", stdin=b"xyz")
        self.ok("set", self.name + "/b", "--tag", "t=1", stdin=b"x")
        line = self.ok("ls", "-l", self.name + "/a").decode()
        self.assertRegex(line, r"^ +1 +3  \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  \S+/a  t=1 u=2\n$")
        self.assertEqual(self.ok("ls", "--long", self.name + "/a").decode(), line)
        self.assertEqual(self.ok("ls", "--tag", "t=1", self.name).count(b"\n"), 2)
        self.assertEqual(self.ok("ls", "--tag", "t=1", "--tag", "u=2", self.name).decode(),
                         self.name + "/a\n")
        self.assertEqual(self.ok("ls", "--tag", "t=2", self.name), b"")
        self.assertEqual(self.json("ls", self.name)[0], {"schema": 1, "name": self.name + "/a"})
        detail = self.json("ls", "-l", self.name)[0]
        self.assertEqual(list(detail), ["schema", "name", "version", "size", "created_ms",
                                        "changed_ms", "tags", "frozen"])

    def test_stat_tells_all_but_the_value(self):
        before = time.time()
        self.store(b"first")
        self.store(b"a secret value", "--tag", "k=v")
        words = self.ok("stat", self.name).decode()
        for row in (rf"name +{self.name}", "version +2", "size +14 bytes", "tags +k=v"):
            self.assertRegex(words, rf"(?m)^{row}$")
        self.assertNotIn("secret", words)
        answer, = self.json("stat", self.name)
        self.assertEqual(list(answer), ["schema", "name", "version", "size", "created_ms",
                                        "changed_ms", "tags", "frozen"])
        self.assertLessEqual(before * 1000 - 1000, answer["created_ms"])
        self.assertLessEqual(answer["created_ms"], answer["changed_ms"])
        self.fails(NOT_FOUND, "stat", "absent")

    def test_status_has_all_keys_in_order(self):
        answer, = self.json("status")
        self.assertEqual(list(answer), [
            "schema", "version", "pid", "uptime_ms", "memory", "advice", "locked", "locked_stack",
            "sealed", "dumpable", "core_limit", "cipher", "rekey_ms", "sessions",
            "vault_locked", "secrets",
            "ledger", "broken", "broken_formers", "broken_consumed", "broken_streams",
            "broken_answers", "broken_tokens", "tokens", "failed_upgrades", "upgrade_fault",
            "max_value", "pidfd", "keeper", "upgrading", "endpoint"])
        self.assertEqual(answer["pid"], self.daemon.pid)
        self.assertEqual(answer["endpoint"], f"unix:{self.path}")
        self.assertIn(answer["memory"], ("memfd_secret", "mlock", "not locked"))
        self.assertEqual(answer["max_value"], MAX_VALUE)
        self.assertEqual([answer[key] for key in (
            "broken", "broken_formers", "broken_consumed", "broken_streams", "broken_answers",
            "broken_tokens", "tokens", "failed_upgrades", "upgrade_fault", "keeper",
            "upgrading")],
            [0, 0, 0, 0, 0, 0, 0, 0, "", 0, False])

    def test_status_is_a_list_that_a_person_reads(self):
        answer, = self.json("status")
        words = self.ok("status", "--wait-ready", "1s").decode()
        self.assertIn(f"pid {self.daemon.pid}", words)
        self.assertRegex(words, rf"(?m)^memory +{answer['memory']}")
        self.assertRegex(words, r"(?m)^max value +1 MiB$")
        self.assertRegex(words, r"(?m)^keeper +none")
        self.assertNotRegex(words, r"(?m)^(broken|upgrades)")

    def test_ping_and_whoami(self):
        self.assertIn(str(self.path), self.ok("ping").decode())
        answer, = self.json("ping")
        self.assertEqual(list(answer), ["schema", "endpoint", "time_us"])
        answer, = self.json("whoami")
        self.assertEqual(list(answer), ["schema", "uid", "gid", "pid", "groups", "label", "pidfd",
                                        "privileged", "unit", "slice", "userunit", "placed",
                                        "listener", "token", "secrets", "bytes", "quota_count",
                                        "quota_bytes", "quota_sessions", "quota_inflight",
                                        "quota_handshakes"])
        self.assertEqual((answer["uid"], answer["gid"]), (os.geteuid(), os.getegid()))
        self.assertTrue(answer["privileged"])
        self.assertRegex(self.ok("whoami").decode(), rf"(?m)^user +{os.geteuid()}\b")

    def test_the_home_folder_is_the_callers_own_space(self):
        self.ok("set", f"{self.home}/own", stdin=b"mine")
        self.assertEqual(self.ok("get", "~/own"), b"mine")
        self.assertEqual(self.ok("get", f"{self.home}/own"), b"mine")
        self.assertEqual(self.ok("get", f"~{os.geteuid()}/own"), b"mine")
        for prefix in ("~/", "~", str(self.home), f"{self.home}/", f"{self.home}/o"):
            self.assertEqual(self.ok("ls", prefix), b"~/own\n")
        self.fails(USAGE, "get", f"{self.home}er/own")
        self.assertIn("~/own", self.json("stat", f"{self.home}/own")[0]["name"])
        self.ok("rm", f"{self.home}/own")
        self.fails(NOT_FOUND, "get", "~/own")


class Daemon(MgctlTest):
    """Which daemon is spoken to, and what its silence means."""

    def test_socket_wins_over_the_environment(self):
        nowhere = {"MEMGUARD_SOCKET": "unix:/nowhere"}
        self.fails(UNREACHABLE, "ping", env=nowhere)
        self.ok("ping", "--socket", f"unix:{self.path}", env=nowhere)
        self.fails(UNREACHABLE, "ping", "--socket", "unix:/nowhere")
        self.fails(USAGE, "ping", "--socket", "http://example")

    def test_every_command_tells_that_there_is_no_daemon(self):
        nowhere = {"MEMGUARD_SOCKET": "unix:/nowhere"}
        for arguments in (["set", "a"], ["get", "a"], ["rm", "a", "b"], ["ls"], ["stat", "a"],
                          ["status"], ["ping"], ["whoami"], ["purge"], ["reload"], ["shutdown"], ["upgrade"],
                          ["touch", "a", "--ttl", "1s"], ["freeze", "a"], ["melt", "a"]):
            self.assertIn("/nowhere", self.fails(UNREACHABLE, *arguments, env=nowhere))

    def test_a_daemon_of_another_user_is_not_the_one_expected(self):
        self.ok("ping", "--daemon-uid", str(os.geteuid()))
        self.fails(UNREACHABLE, "ping", "--daemon-uid", str(os.geteuid() + 1))

    def test_wait_ready_waits_or_ends_with_9(self):
        place = pathlib.Path(tempfile.mkdtemp(dir=self.folder)) / "socket"
        begin = time.monotonic()
        self.fails(TIMEOUT, "ping", "--wait-ready", "300ms", "--socket", str(place))
        self.assertGreaterEqual(time.monotonic() - begin, 0.3)
        started = []
        timer = threading.Timer(0.3, lambda: started.append(subprocess.Popen(
            [MEMGUARDD, "--socket", str(place)], stderr=subprocess.DEVNULL)))
        timer.start()
        try:
            self.ok("ping", "--wait-ready", "30s", "--socket", str(place))
            self.ok("status", "--wait-ready", "30s", "--socket", str(place))
        finally:
            timer.join()
            started[0].terminate()
            started[0].wait(60)

    @contextlib.contextmanager
    def listener(self, answer):
        """Something at a socket that is no daemon."""
        place = pathlib.Path(tempfile.mkdtemp(dir=self.folder)) / "socket"
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
            listening.bind(str(place))
            listening.listen()
            listening.settimeout(10)

            def serve():
                with contextlib.suppress(OSError):
                    peer, _ = listening.accept()
                    with contextlib.closing(peer):
                        peer.settimeout(10)
                        if answer:
                            peer.sendall(answer)
                        while peer.recv(4096):
                            pass

            thread = threading.Thread(target=serve)
            thread.start()
            yield f"unix:{place}"
            thread.join()

    def test_a_silent_daemon_is_a_timeout(self):
        with self.listener(b"") as place:
            # Whoever waits longer sees the connection end.
            self.fails(TIMEOUT, "ping", "--timeout", "300ms", "--socket", place)

    def test_another_language_is_a_protocol_error(self):
        with self.listener(b"HTTP/1.1 400 Bad Request\r\n" * 20) as place:
            self.fails(PROTOCOL, "ping", "--socket", place)


class Strangers(StrangerTest):
    """mgctl in the hands of somebody who is neither root nor the daemon's user."""

    def test_a_bare_name_suggests_the_callers_own(self):
        result = self.as_nobody("set", "token", input=b"x")
        self.assertEqual(result.returncode, DENIED)
        self.assertIn(b"'~/token'", result.stderr)
        result = self.as_nobody("get", "~0/token")
        self.assertEqual(result.returncode, DENIED)
        self.assertNotIn(b"'~/", result.stderr)

    def test_counts_are_not_told(self):
        answer = json.loads(self.as_nobody("status", "--json").stdout)
        self.assertEqual([key for key in answer if key.startswith("broken") or key in (
            "secrets", "ledger", "failed_upgrades", "upgrade_fault")], [])
        self.assertFalse(json.loads(self.as_nobody("whoami", "--json").stdout)["privileged"])

    def test_it_is_not_dumpable(self):
        process = subprocess.Popen(self.nobody("set", "~/a"), env=self.environment,
                                   stdin=subprocess.PIPE, preexec_fn=allow_cores)
        with process.stdin:
            self.assertTrue(wait_for(lambda: is_hardened(process.pid)))
            process.stdin.write(b"x")
        self.assertEqual(process.wait(60), OK)


class Large(MgctlTest):
    @classmethod
    def setUpClass(cls):
        cls.config = tempfile.NamedTemporaryFile("w", suffix=".conf")
        cls.config.write("[daemon]\nmax-value = 64m\n")
        cls.config.flush()
        cls.daemon_options = ["--config", cls.config.name]
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.config.close()

    def test_64_mib_go_in_and_out(self):
        file = self.folder / "large"
        block = os.urandom(1 << 20)
        with file.open("wb") as out:
            for i in range(64):
                out.write(block[i:] + block[:i])
        expected = hashlib.sha256(file.read_bytes()).digest()
        self.ok("set", self.name, "--file", str(file))
        copy = self.folder / "copy"
        self.ok("get", self.name, "--out", str(copy))
        self.assertEqual(hashlib.sha256(copy.read_bytes()).digest(), expected)
        self.assertEqual(hashlib.sha256(self.ok("get", self.name)).digest(), expected)
        with file.open("ab") as out:
            out.write(b"x")
        self.fails(LIMIT, "set", self.name, "--file", str(file))


if __name__ == "__main__":
    unittest.main()
