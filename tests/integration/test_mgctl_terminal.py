# SPDX-License-Identifier: Apache-2.0
"""mgctl at a terminal: how it asks for a value, how it shows one, how a shell completes it."""

import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import termios
import time
import unittest

import test_mgctl
from test_mgctl import COMMANDS, MGCTL, NOT_FOUND, OK, USAGE


def has_echo(terminal):
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


class Terminal:
    """mgctl with a terminal of its own, and what a person sees there."""

    def __init__(self, command, environment):
        self.shown = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                test_mgctl.hear_signals()
                os.execvpe(command[0], command, environment)
            finally:
                os._exit(127)

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return b""
        try:
            return os.read(self.fd, 4096)
        except OSError:
            return b""

    def expect(self, text, seconds=15):
        """Waits for a text; what stood before it is gone."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            if time.monotonic() > deadline:
                raise AssertionError(f"{text!r} is not shown, but {self.shown!r}")
            self.shown += self.read(0.1)
        self.shown = self.shown.split(text, 1)[1]

    def type(self, text):
        os.write(self.fd, text)

    def end(self):
        """The exit status, negative for a signal; then all that was shown last."""
        deadline = time.monotonic() + 20
        pid = 0
        while not pid:
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not end, but shows {self.shown!r}")
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.shown += self.read(0.02)
        self.pid = 0
        while more := self.read(0.02):
            self.shown += more
        return os.waitstatus_to_exitcode(status)

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def has_terminals():
    try:
        for fd in pty.openpty():
            os.close(fd)
    except OSError:
        return False
    return True


@unittest.skipUnless(has_terminals(), "no pseudo-terminals here (/dev/pts is not mounted)")
class TerminalTest(test_mgctl.MgctlTest):
    def terminal(self, *arguments, command=None, **env):
        terminal = Terminal(command or [MGCTL, *arguments], {**self.environment, **env})
        self.addCleanup(terminal.close)
        return terminal


class Prompt(TerminalTest):
    def test_it_asks_twice_without_echo(self):
        terminal = self.terminal("set", self.name)
        terminal.expect(f"value of {self.name}: ".encode())
        self.assertFalse(has_echo(terminal.fd))
        terminal.type(b"hunter2\n")
        terminal.expect(b"once more: ")
        terminal.type(b"hunter2\n")
        self.assertEqual(terminal.end(), OK)
        self.assertNotIn(b"hunter2", terminal.shown)
        self.assertTrue(has_echo(terminal.fd))
        self.assertEqual(self.ok("get", self.name), b"hunter2")

    def test_two_different_values_are_refused(self):
        for second in (b"hunter3\n", b"hunter22\n", b"\n"):
            terminal = self.terminal("set", self.name)
            terminal.expect(b": ")
            terminal.type(b"hunter2\n")
            terminal.expect(b"once more: ")
            terminal.type(second)
            self.assertEqual(terminal.end(), USAGE)
            self.assertIn(b"differ", terminal.shown)
        self.fails(NOT_FOUND, "get", self.name)

    def test_once_asks_once(self):
        terminal = self.terminal("set", "--once", self.name)
        terminal.expect(b": ")
        terminal.type(b"hunter2\n")
        self.assertEqual(terminal.end(), OK)
        self.assertNotIn(b"once more", terminal.shown)
        self.assertEqual(self.ok("get", self.name), b"hunter2")

    def test_nothing_typed_stores_nothing(self):
        for typed in (b"\n", b"\x04"):
            terminal = self.terminal("set", "--once", self.name)
            terminal.expect(b": ")
            terminal.type(typed)
            self.assertEqual(terminal.end(), USAGE)
            self.assertTrue(has_echo(terminal.fd))
        self.fails(NOT_FOUND, "get", self.name)

    def test_a_line_that_a_terminal_would_cut_is_refused(self):
        terminal = self.terminal("set", "--once", self.name)
        terminal.expect(b": ")
        terminal.type(b"x" * 4080 + b"\n")
        self.assertEqual(terminal.end(), USAGE)
        self.assertIn(b"--file", terminal.shown)
        terminal = self.terminal("set", "--once", self.name)
        terminal.expect(b": ")
        terminal.type(b"x" * 4000 + b"\n")
        self.assertEqual(terminal.end(), OK)
        self.assertEqual(self.ok("get", self.name), b"x" * 4000)

    def test_signals_find_the_echo_restored(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            terminal = self.terminal("set", self.name)
            terminal.expect(b": ")
            self.assertFalse(has_echo(terminal.fd))
            os.kill(terminal.pid, number)
            self.assertEqual(terminal.end(), -number)
            self.assertTrue(has_echo(terminal.fd))

    def test_the_interrupt_key_ends_it(self):
        terminal = self.terminal("set", self.name)
        terminal.expect(b": ")
        terminal.type(b"half\x03")
        self.assertEqual(terminal.end(), -signal.SIGINT)
        self.assertTrue(has_echo(terminal.fd))
        self.fails(NOT_FOUND, "get", self.name)

    def test_the_stop_key_gives_the_echo_back_and_asks_again(self):
        script = f"set -m; '{MGCTL}' set --once {self.name}; stty -a; echo stopped; fg"
        terminal = self.terminal(command=["bash", "-c", script])
        terminal.expect(b": ")
        terminal.type(b"\x1a")
        terminal.expect(b"stopped")
        terminal.expect(f"value of {self.name}: ".encode())
        self.assertFalse(has_echo(terminal.fd))
        terminal.type(b"hunter2\n")
        self.assertEqual(terminal.end(), OK)
        self.assertEqual(self.ok("get", self.name), b"hunter2")

    def test_the_terminal_has_echo_while_it_is_stopped(self):
        script = f"set -m; '{MGCTL}' set --once {self.name}; stty -a; echo stopped; kill -9 %1"
        terminal = self.terminal(command=["bash", "-c", script])
        terminal.expect(b": ")
        terminal.type(b"\x1a")
        terminal.end()
        self.assertRegex(terminal.shown, rb"(?s)\s[^-]?echo\s.*stopped")

    def test_no_input_never_asks(self):
        for arguments, env in ((["--no-input"], {}), ([], {"MGCTL_NO_INPUT": "1"})):
            terminal = self.terminal("set", self.name, *arguments, **env)
            self.assertEqual(terminal.end(), USAGE)
            self.assertNotIn(b"value of", terminal.shown)
        terminal = self.terminal("set", self.name, "--once", MGCTL_NO_INPUT="0")
        terminal.expect(b"value of")

    def test_a_terminal_that_is_not_ours_is_not_asked(self):
        master, slave = pty.openpty()
        try:
            self.assertIn("terminal", self.fails(USAGE, "set", self.name, stdin=slave,
                                                 start_new_session=True))
        finally:
            os.close(master)
            os.close(slave)


class Screen(TerminalTest):
    """Values on a terminal."""

    def show(self, *options):
        terminal = self.terminal("get", self.name, *options)
        status = terminal.end()
        return status, terminal.shown

    def test_a_newline_is_added(self):
        self.store(b"value")
        self.assertEqual(self.show(), (OK, b"value\r\n"))
        self.assertEqual(self.show("--newline", "no"), (OK, b"value"))
        self.assertEqual(self.show("--encode", "hex"), (OK, b"value".hex().encode() + b"\r\n"))

    def test_control_bytes_are_refused(self):
        for value in (b"\x1b[2J", b"a\x07", b"a\0b", b"\x7f", b"\x9b2J", "\u009b2J".encode(),
                      b"\xff", b"x\r", b"\xc0\x80", b"\xed\xa0\x80", b"a" * 20000 + b"\x1b"):
            self.store(value)
            status, shown = self.show()
            self.assertEqual(status, USAGE, value[:20])
            self.assertIn(b"--force", shown)
            self.assertNotIn(value, shown)
        self.store(b"\x1b[2J")
        self.assertEqual(self.show("--force"), (OK, b"\x1b[2J\r\n"))
        self.assertEqual(self.show("--encode", "base64"), (OK, b"G1sySg==\r\n"))

    def test_text_of_any_language_is_shown(self):
        text = "tab\t\u00fc\u2713\U0001f600 \u65e5\u672c"
        self.store(text.encode())
        self.assertEqual(self.show("--newline=no"), (OK, text.encode()))


class Completion(test_mgctl.MgctlTest):
    def complete(self, *words):
        script = ('source <("$0" completion bash); COMP_WORDS=("$@"); '
                  'COMP_CWORD=$(($# - 1)); _mgctl; printf "%s\\n" "${COMPREPLY[@]}"')
        place = os.path.dirname(MGCTL) + ":" + os.environ["PATH"]
        result = subprocess.run(
            ["bash", "-c", script, MGCTL, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**self.environment, "PATH": place}, timeout=60)
        self.assertEqual(result.stderr, b"")
        return result.stdout.decode().split("\n")[:-1]

    def test_bash_completes_commands_options_choices_and_names(self):
        self.store(b"x")
        self.ok("set", "~/own token", stdin=b"x")
        self.assertEqual(self.complete("mgctl", "st"), ["stat", "stream", "status"])
        self.assertEqual(self.complete("mgctl", "stream", ""), ["write", "read", "size"])
        self.assertEqual(set(self.complete("mgctl", "")), set(COMMANDS))
        self.assertEqual(self.complete("mgctl", "--timeout", "1s", "wh"), ["whoami"])
        self.assertEqual(self.complete("mgctl", "get", "--enc"), ["--encode"])
        self.assertEqual(self.complete("mgctl", "get", "--encode", ""), ["base64", "hex"])
        self.assertEqual(self.complete("mgctl", "get", "test/"), [self.name])
        self.assertEqual(self.complete("mgctl", "rm", "-q", "'~/o"), ["\\~/own\\ token"])
        self.assertEqual(self.complete("mgctl", "completion", ""), ["bash", "zsh", "fish"])
        self.assertEqual(self.complete("mgctl", "help", "comp"), ["completion"])

    def test_bash_completes_what_stands_behind_a_deed(self):
        self.store(b"x")
        for name in ("~/ci", "~/of two words", "deploy"):
            self.ok("token", "issue", name, "--allow", "get:a")
        deeds = ["issue", "ls", "revoke"]
        for words, wanted in (
                (("token", ""), deeds),
                (("-q", "token", "--ttl", "1h", ""), deeds),
                (("token", "--ttl", "=", "1h", "is"), ["issue"]),
                (("token", "revoke", ""), ["deploy", "~/ci", "\\~/of\\ two\\ words"]),
                (("token", "--timeout", "1s", "revoke", "de"), ["deploy"]),
                (("token", "revoke", "'~/of"), ["\\~/of\\ two\\ words"]),
                (("token", "revoke", "deploy", ""), []),
                (("token", "issue", "test/"), []),
                (("token", "issue", ""), []),
                (("token", "ls", ""), []),
                (("stream", "write", self.name[:-1]), [self.name]),
                (("stream", "write", "x", "test/"), []),
                (("policy", "explain", "stream-"), ["stream-write", "stream-read"]),
                (("policy", "explain", "get", self.name[:-1]), [self.name]),
                (("policy", "check", str(self.folder)[:-1]), [str(self.folder)]),
                (("audit", "verify", str(self.folder)[:-1]), [str(self.folder)])):
            with self.subTest(words):
                self.assertEqual([word for word in self.complete("mgctl", *words) if word],
                                 wanted)

    def test_a_summary_is_one_word_for_zsh(self):
        script = self.ok("completion", "zsh").decode()
        lines = script.split("known=(\n")[1].split("\t\t)\n")[0].splitlines()
        self.assertEqual(len(lines), len(COMMANDS))
        for line in lines:
            word, = shlex.split(line)
            self.assertIn(word.split(":")[0], COMMANDS)

    def test_every_shell_takes_its_script(self):
        for shell in ("bash", "zsh", "fish"):
            script = self.ok("completion", shell)
            for command in COMMANDS:
                self.assertIn(command.encode(), script)
            self.assertIn(b"create-only", script)
            if shutil.which(shell):
                result = subprocess.run([shell, "-n"], input=script, stderr=subprocess.PIPE)
                self.assertEqual((result.returncode, result.stderr), (0, b""))
        answer, = self.json("completion", "fish")
        self.assertEqual(answer["text"].encode(), self.ok("completion", "fish"))
        answer, = self.json("help", "get")
        self.assertEqual(answer["text"].encode(), self.ok("help", "get"))


if __name__ == "__main__":
    unittest.main()
