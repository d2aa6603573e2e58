# SPDX-License-Identifier: Apache-2.0
"""What the tests of upgrades have in common: a service under a manager whose program is a file that
can be replaced."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from daemon import MEMGUARDD, wait_for
from manager import Manager
from mgwire import Client

MGCTL = os.environ["MGCTL"]


def children(pid):
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(number) for number in text.split()]


def parent(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class UpgradeTest(unittest.TestCase):
    """The program is a copy, so that another file can be put in its place."""

    arguments = []
    keep = True
    origin = MEMGUARDD
    wrap = ()  # goes before the program's name

    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, self.place, ignore_errors=True)
        self.program = self.place / "memguardd"
        shutil.copy(self.origin, self.program)
        self.manager = Manager(
            *self.arguments, program=self.program, keep=self.keep, wrap=self.wrap)
        self.addCleanup(self.manager.end)
        self.manager.start()
        self.keeper = self.manager.main

    def replace(self, content=None, mode=0o755):
        """As a package manager does: the new file beside it, then over it."""
        fresh = self.place / "fresh"
        if content is None:
            shutil.copy(self.origin, fresh)
        else:
            fresh.write_bytes(content)
        fresh.chmod(mode)
        fresh.rename(self.program)

    def client(self):
        client = Client(self.manager.path)
        self.addCleanup(client.close)
        return client

    def mgctl(self, *arguments, **options):
        return subprocess.run(
            [MGCTL, "--socket", f"unix:{self.manager.path}", *arguments], timeout=90,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    def upgrade(self):
        before = self.manager.main
        result = self.mgctl("upgrade")
        self.assertEqual((result.returncode, result.stderr), (0, ""), self.manager.log())
        self.assertTrue(wait_for(lambda: self.manager.main != before))
        self.keeper = self.manager.main

    def fails(self, words):
        """The old one goes on, and everybody is told why."""
        worker = self.client().status().pid
        result = self.mgctl("upgrade")
        self.assertEqual(result.returncode, 1, result.stderr + self.manager.log())
        self.assertIn(words, result.stderr)
        self.assertIn(words, self.manager.log())
        self.assertEqual(self.manager.main, self.keeper)
        self.assertEqual(parent(self.client().status().pid), self.keeper)
        self.assertIn(words, self.mgctl("status").stdout)
        return worker
