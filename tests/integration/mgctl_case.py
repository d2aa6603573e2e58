# SPDX-License-Identifier: Apache-2.0
"""What the tests of mgctl have in common: a daemon, and commands that succeed or fail."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from daemon import accepts, wait_for
from strangers import as_nobody, programs_for_all

MEMGUARDD = os.environ["MEMGUARDD"]
MGCTL = os.environ["MGCTL"]
ROOT = os.geteuid() == 0
OK, USAGE, NOT_FOUND, DENIED, UNREACHABLE, CONFLICT, LIMIT, TIMEOUT, PROTOCOL, INTERNAL = (
    0, 2, 3, 4, 6, 7, 8, 9, 10, 70)
NO, INTEGRITY, GONE, FROZEN = 1, 11, 12, 13


class MgctlTest(unittest.TestCase):
    """One daemon a class, with names of its own for each case."""

    daemon_options = []

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="mgctl-"))
        cls.home = cls.folder / "home"
        cls.home.mkdir()
        cls.path = cls.folder / "socket"
        cls.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MEMGUARD", "MGCTL_"))},
            "MEMGUARD_SOCKET": f"unix:{cls.path}", "HOME": str(cls.home)}
        cls.daemon = subprocess.Popen(
            [MEMGUARDD, "--socket", str(cls.path), *cls.daemon_options],
            stderr=subprocess.DEVNULL)
        if not wait_for(lambda: accepts(cls.path)):
            raise RuntimeError("the daemon does not come up")

    @classmethod
    def tearDownClass(cls):
        cls.daemon.terminate()
        cls.daemon.wait(60)
        shutil.rmtree(cls.folder, ignore_errors=True)

    def setUp(self):
        self.name = "test/" + self.id().rsplit(".", 1)[1]

    def run_mgctl(self, *arguments, stdin=b"", env=None, **options):
        given = {"stdin": stdin} if isinstance(stdin, int) else {"input": stdin}
        options.setdefault("stdout", subprocess.PIPE)
        return subprocess.run([MGCTL, *arguments], stderr=subprocess.PIPE, timeout=60,
                              env={**self.environment, **(env or {})}, **given, **options)

    def ok(self, *arguments, **options):
        result = self.run_mgctl(*arguments, **options)
        self.assertEqual(result.returncode, OK, result.stderr)
        return result.stdout

    def fails(self, status, *arguments, lines=1, **options):
        """Runs what must fail, with one line on stderr and nothing on stdout; gives that line."""
        result = self.run_mgctl(*arguments, **options)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), lines, result.stderr)
        self.assertIn(result.stdout, (b"", None))
        return result.stderr.decode()

    def store(self, value, *options):
        self.ok("set", self.name, *options, stdin=value)

    def json(self, *arguments, **options):
        lines = self.ok("--json", *arguments, **options).decode().splitlines()
        answers = [json.loads(line) for line in lines]
        for answer in answers:
            self.assertEqual(list(answer)[0], "schema")
            self.assertEqual(answer["schema"], 1)
        return answers


class StrangerTest(MgctlTest):
    """A daemon that all may reach, and commands of somebody who is not its user."""

    daemon_options = ["--socket-mode", "0666"]

    def setUp(self):
        super().setUp()
        if not ROOT:
            self.skipTest("needs root, to be somebody else")
        self.folder.chmod(0o755)
        place = tempfile.mkdtemp(dir=self.folder)
        _, self.program = programs_for_all(place)

    def nobody(self, *arguments):
        return as_nobody(self.program, *arguments)

    def as_nobody(self, *arguments, **options):
        return subprocess.run(self.nobody(*arguments), stderr=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=self.environment, **options)
