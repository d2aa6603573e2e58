# SPDX-License-Identifier: Apache-2.0
"""The examples of libmgclient do what their first lines say, and are built the way those say."""

import fcntl
import os
import pathlib
import re
import select
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import termios
import unittest

from daemon import Daemon, wait_for

BUILT = pathlib.Path(os.environ["MGCLIENT_EXAMPLES"])
SOURCES = pathlib.Path(__file__).parents[2] / "client" / "lib" / "examples"
SANITIZED = bool(os.environ.get("SANITIZED"))


def memory_of(pid):
    """What another process can read of a process, mapping by mapping. Secret memory it cannot."""
    maps = pathlib.Path("/proc/%d/maps" % pid).read_text()
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
        for begin, end in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) r", maps, re.MULTILINE):
            begin, end = int(begin, 16), int(end, 16)
            try:
                memory.seek(begin)
                yield memory.read(end - begin)
            except (OSError, OverflowError, ValueError):
                continue


def has_in_memory(pid, needles):
    return any(needle in mapping for mapping in memory_of(pid) for needle in needles)


def waiting_bytes(pipe):
    """Bytes of a pipe that nobody has read."""
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


def locked_kib(pid):
    status = pathlib.Path("/proc/%d/status" % pid).read_text()
    return int(re.search(r"^VmLck:\s+(\d+) kB", status, re.MULTILINE).group(1))


def connect(path):
    """To a socket that is just being made."""
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(20)
    if not wait_for(lambda: peer.connect_ex(str(path)) == 0):
        raise RuntimeError("nobody listens at %s" % path)
    return peer


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()
        cls.addClassCleanup(cls.daemon.end)
        cls.environment = {**os.environ, "MEMGUARD_SOCKET": f"unix:{cls.daemon.path}"}

    def run_program(self, program, *arguments, value=None, **environment):
        given = {"stdin": subprocess.DEVNULL} if value is None else {"input": value}
        return subprocess.run([program, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60,
                              env={**self.environment, **environment}, **given)

    def example(self, name, *arguments, **options):
        return self.run_program(BUILT / name, *arguments, **options)

    def test_store_and_fetch(self):
        for number, value in enumerate((b"v", os.urandom(4096), os.urandom(1 << 20))):
            name = "example/%d" % number
            stored = self.example("store", name, value=value)
            self.assertEqual((stored.returncode, stored.stdout),
                             (0, f"{name} is at version 1\n".encode()), stored.stderr)
            self.assertEqual(self.example("fetch", name).stdout, value)

    def test_store_does_not_replace(self):
        self.assertEqual(self.example("store", "once", value=b"v").returncode, 0)
        again = self.example("store", "once", value=b"w")
        self.assertEqual(again.returncode, 7)
        self.assertIn(b"exists already", again.stderr)

    def test_fetch_says_what_is_missing(self):
        fetched = self.example("fetch", "absent")
        self.assertEqual((fetched.returncode, fetched.stdout), (3, b""))
        self.assertIn(b"no such secret", fetched.stderr)

    def test_a_service_logs_in_and_wipes(self):
        self.example("store", "password", value=b"correct horse")
        served = self.example("service", "password")
        self.assertEqual((served.returncode, served.stdout),
                         (0, b"logged in; the password is wiped\n"), served.stderr)

    def test_a_service_waits_for_its_password(self):
        with subprocess.Popen([BUILT / "service", "later"], env=self.environment,
                              stdout=subprocess.PIPE) as service:
            self.example("store", "later", value=b"correct horse")
            self.assertEqual(service.wait(60), 0)

    def start(self, name, *arguments, **environment):
        program = subprocess.Popen(
            [BUILT / name, *arguments], env={**self.environment, **environment}, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        def end():
            program.kill()
            program.communicate()
        self.addCleanup(end)
        return program

    def folder(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def assert_nowhere(self, program, needles):
        """The scan is no blind one: it finds what stands in the environment."""
        self.assertTrue(has_in_memory(program.pid, [b"control-of-the-scan"]))
        self.assertTrue(wait_for(lambda: not has_in_memory(program.pid, needles)))

    # -- stdin

    def test_a_key_from_standard_input_is_known_again(self):
        key = b"correct\0horse\xff"
        lines = [key, key + b"x", b"", key[:-1], key, b"cut off"]
        answered = self.example("stdin", value=b"\n".join(lines))
        self.assertEqual((answered.returncode, answered.stdout), (0, b"no\nno\nno\nyes\n"),
                         answered.stderr)

    def test_a_key_is_one_line_of_at_most_200_bytes(self):
        for value, status in ((bytes(200) + b"\n", 0), (bytes(201) + b"\n", 8), (b"\n", 2),
                              (b"no newline", 1), (b"", 1)):
            with self.subTest(value=value[:12]):
                answered = self.example("stdin", value=value)
                self.assertEqual((answered.returncode, answered.stdout), (status, b""))

    @unittest.skipIf(SANITIZED, "the sanitizers keep more memory than can be read")
    def test_a_key_at_rest_is_sealed(self):
        key = os.urandom(20).hex().encode()
        program = self.start("stdin", CONTROL="control-of-the-scan")
        program.stdin.write(key + b"\n")
        self.assertTrue(wait_for(lambda: waiting_bytes(program.stdin) == 0))
        self.assert_nowhere(program, [key, key[10:30]])
        self.assertEqual(program.communicate(key + b"\n", 20)[0], b"yes\n")

    # -- socket

    def test_a_key_from_a_socket_comes_in_pieces(self):
        path, key = self.folder() / "socket", os.urandom(32)
        program = self.start("socket", str(path), "from/socket")
        with connect(path) as peer:
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
            peer.sendall(key[:10])
            self.assertEqual(self.example("fetch", "from/socket").returncode, 3)
            peer.sendall(key[10:] + b"and more")
            self.assertEqual(program.wait(60), 0, program.stderr)
        self.assertEqual(self.example("fetch", "from/socket").stdout, key)
        self.assertFalse(path.exists())

    def test_half_a_key_is_not_stored(self):
        path = self.folder() / "socket"
        program = self.start("socket", str(path), "half")
        with connect(path) as peer:
            peer.sendall(bytes(31))
        self.assertEqual(program.wait(60), 1)
        self.assertIn(b"after 31 bytes", program.stderr.read())
        self.assertEqual(self.example("fetch", "half").returncode, 3)

    def test_a_signal_takes_the_socket_away_and_has_its_effect(self):
        path = self.folder() / "socket"
        program = self.start("socket", str(path), "signalled")
        with connect(path) as peer:
            peer.sendall(bytes(31))
            program.send_signal(signal.SIGTERM)
            self.assertEqual(program.wait(60), -signal.SIGTERM)
        self.assertFalse(path.exists())

    # -- stream

    def test_a_stream_gives_back_what_it_took(self):
        for size in (0, 1, 4096, 16385, 3 << 20):
            with self.subTest(size=size):
                value = os.urandom(size)
                passed = self.example("stream", value=value)
                self.assertEqual((passed.returncode, passed.stdout == value), (0, True),
                                 passed.stderr)

    @unittest.skipIf(SANITIZED, "the sanitizers keep more memory than can be read")
    def test_a_stream_rests_sealed_and_unlocked(self):
        value = os.urandom(512 << 10)
        program = self.start("stream", CONTROL="control-of-the-scan")
        program.stdin.write(value)
        self.assertTrue(wait_for(lambda: waiting_bytes(program.stdin) == 0))
        self.assert_nowhere(program, [value[at:at + 16] for at in (0, 5000, 250000, 520000)])
        self.assertLessEqual(locked_kib(program.pid), 64)
        self.assertEqual(select.select([program.stdout], [], [], 0)[0], [])
        passed, _ = program.communicate(b"the end", 20)
        self.assertEqual(passed == value + b"the end", True)

    # -- structure

    def test_structures_lie_over_the_bytes(self):
        account = struct.Struct("@32sQII")
        for count, tail in ((1, b""), (3, b"behind the last one"), (200, bytes(47))):
            with self.subTest(count=count):
                accounts = [[os.urandom(32), 7000000000 + i, i, 100] for i in range(count)]
                before = b"".join(account.pack(*fields) for fields in accounts) + tail
                for fields in accounts:
                    fields[2] += 1
                after = b"".join(account.pack(*fields) for fields in accounts) + tail
                counted = self.example("structure", value=before)
                self.assertEqual((counted.returncode, counted.stdout), (0, after), counted.stderr)
                self.assertEqual(counted.stderr.splitlines()[0],
                                 b"account 7000000000: 1 of 100")

    def test_there_is_no_view_of_half_a_structure(self):
        for size, status in ((0, 2), (47, 2), (48, 0), (65536, 0), (65537, 8)):
            with self.subTest(size=size):
                self.assertEqual(
                    self.example("structure", value=bytes(size)).returncode, status)

    @unittest.skipIf(SANITIZED, "the library needs the sanitizers' own flags")
    def test_pkg_config_is_all_that_a_build_needs(self):
        folder = self.folder()
        build = BUILT.parents[2]
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "mgclient"], check=True, text=True,
            stdout=subprocess.PIPE,
            env={**os.environ, "PKG_CONFIG_PATH": str(build / "meson-uninstalled")}).stdout
        for source in sorted(SOURCES.glob("*.c")):
            subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-o", folder / source.stem, source,
                            *shlex.split(flags)], check=True)
        ours = {"LD_LIBRARY_PATH": str(build / "client" / "lib")}
        self.assertEqual(
            self.run_program(folder / "store", "built", value=b"v", **ours).returncode, 0)
        self.assertEqual(self.run_program(folder / "fetch", "built", **ours).stdout, b"v")
