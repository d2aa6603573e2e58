# SPDX-License-Identifier: Apache-2.0
"""What mgctl leaves in a file is its owner's alone from the first byte on, and under its name only
once it is on the disk: a trace of strace has every step in that order."""

import os
import re
import stat
import subprocess

from daemon import Daemon
from disk_case import Traced

MGCTL = os.environ["MGCTL"]
RECIPIENT = "11" * 32
SECONDS = 60

CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")


class Files(Traced):
    def setUp(self):
        super().setUp()
        self.daemon = Daemon()
        self.addCleanup(self.daemon.end)
        subprocess.run([*self.command("set", "a")], input=os.urandom(200000), check=True,
                       timeout=SECONDS)
        self.target = self.empty / "file"

    def command(self, *words):
        return [MGCTL, "--socket", f"unix:{self.daemon.path}", *words]

    def traced(self, *words):
        """Runs mgctl under strace. Gives the calls that succeeded: name, what they were given."""
        command = ["strace", "-f", "-y", "-e", "signal=none", "-s", "256", "-o", str(self.path),
                   *self.command(*words)]
        subprocess.run(command, check=True, timeout=SECONDS, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        calls = [CALL.match(line) for line in self.path.read_text(errors="replace").splitlines()]
        return [match.group(1, 2) for match in calls if match and int(match.group(3)) >= 0]

    def steps(self, calls):
        """What is done with the file and its folder, in its order; the same again is one step."""
        steps = []
        for name, given in calls:
            beside = re.search(re.escape(str(self.empty)) + r"/\.mgctl-\w{6}", given)
            if name in ("openat", "open") and beside and "O_CREAT" in given:
                self.assertIn("O_EXCL", given)
                step = "created" if given.endswith("0600") else "created " + given
            elif name == "fchmod" and beside:
                step = "mode " + given.rpartition(" ")[2]
            elif name in ("write", "writev", "pwrite64") and beside:
                step = "written"
            elif name in ("fsync", "fdatasync") and beside:
                step = "synced"
            elif name.startswith("rename"):
                self.assertTrue(beside and f'"{self.target}"' in given, given)
                step = "renamed"
            elif name == "fsync" and f"<{self.empty}>" in given:
                step = "folder synced"
            elif beside and name.startswith("unlink"):
                step = "taken away"
            elif f'"{self.target}"' in given and "O_CREAT" in given:
                step = "opened by its name"
            else:
                continue
            if steps[-1:] != [step]:
                steps.append(step)
        return steps

    def lies_well(self, *words):
        steps = self.steps(self.traced(*words))
        self.assertEqual(steps, ["created", "mode 0600", "written", "synced", "renamed",
                                 "folder synced"])
        self.assertEqual(stat.S_IMODE(self.target.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.empty), ["file"])

    def test_a_backup(self):
        self.lies_well("backup", "--recipient", RECIPIENT, str(self.target))

    def test_a_backup_over_another_one(self):
        self.target.write_bytes(b"before")
        self.target.chmod(0o644)
        self.lies_well("backup", "--recipient", RECIPIENT, str(self.target))

    def test_a_private_key(self):
        self.lies_well("backup", "--new-key", str(self.target))

    def test_a_value(self):
        self.lies_well("get", "--out", str(self.target), "a")
