# SPDX-License-Identifier: Apache-2.0
"""An upgrade: a newer program goes on with everything, or the old one does."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

from daemon import Daemon, descriptors, wait_for
from manager import Manager
from upgrade_case import MGCTL, UpgradeTest, children, parent

ROOT = os.geteuid() == 0
OTHER_FORMAT = os.environ["OTHER_FORMAT"]


class Upgrade(UpgradeTest):
    def test_everything_goes_on_in_the_new_program(self):
        client = self.client()
        client.set(b"a", b"value")
        for i in range(3):
            client.set(b"n%d" % i, b"%d" % i)
            self.replace()
            self.upgrade()
            client = self.client()
        self.assertEqual(client.get(b"a"), b"value")
        self.assertEqual([client.get(b"n%d" % i) for i in range(3)], [b"0", b"1", b"2"])
        self.assertEqual(parent(client.status().pid), self.keeper)

    def test_the_old_one_ends_and_the_door_stays(self):
        before = os.stat(self.manager.path).st_ino
        self.replace()
        self.upgrade()
        self.assertEqual(self.manager.gone(), 0)
        self.assertEqual(os.stat(self.manager.path).st_ino, before)
        self.assertEqual(
            pathlib.Path(f"/proc/{self.keeper}/comm").read_text(), "memguardd\n")

    @unittest.skipUnless(ROOT, "needs root: looks at what is not dumpable")
    def test_it_is_the_file_that_was_put_in_place(self):
        """A further one is found by the same path, and not by that of the file it replaces."""
        for _ in range(2):
            self.replace()
            fresh = os.stat(self.program).st_ino
            self.upgrade()
            self.assertEqual(os.readlink(f"/proc/{self.keeper}/exe"), str(self.program))
            self.assertEqual(os.stat(f"/proc/{self.keeper}/exe").st_ino, fresh)

    def test_the_new_one_keeps_as_the_old_one_did(self):
        """A worker that is killed, a restart, and an end in order."""
        self.client().set(b"a", b"value")
        self.replace()
        self.upgrade()
        worker = children(self.keeper)[0]
        os.kill(worker, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: children(self.keeper) not in ([], [worker])))
        self.assertEqual(self.client().get(b"a"), b"value")
        self.manager.send(signal.SIGTERM)
        self.assertTrue(self.manager.main_gone())
        self.assertEqual(bool(self.manager.store), ROOT)

    @unittest.skipUnless(ROOT, "needs root: looks at what is not dumpable")
    def test_no_descriptor_of_the_keys_is_left(self):
        self.replace()
        self.upgrade()
        for pid in [self.keeper, *children(self.keeper)]:
            self.assertEqual(
                [link for link in descriptors(pid) if "secretmem" in link
                 or "memfd:memguard " in link], [])

    def test_a_purge_of_the_old_one_is_none_of_the_new_ones_secrets(self):
        self.client().set(b"a", b"value")
        self.replace()
        self.upgrade()
        os.kill(self.keeper, signal.SIGUSR2)
        self.assertTrue(wait_for(lambda: self.client().list() == []))
        self.client().set(b"b", b"new")
        self.replace()
        self.upgrade()
        self.assertEqual([info.name for info in self.client().list()], [b"b"])

    def test_it_is_no_child_of_the_old_one_when_the_manager_hears_of_it(self):
        """systemd waits for no others: another's child it would kill instead of asking it to end.
        The old one still waits for the manager then."""
        parents = []

        def look(message):
            if "MAINPID" in message:
                parents.append(parent(int(message["MAINPID"])))

        self.manager.seen = look
        for _ in range(2):
            old = self.manager.main
            self.replace()
            self.upgrade()
            self.assertNotIn(old, parents)
            self.assertEqual(children(self.keeper), [self.client().status().pid])
        self.assertEqual(len(parents), 2)

    def test_two_who_ask_get_one_upgrade(self):
        self.replace()
        asking = [subprocess.Popen([MGCTL, "--socket", f"unix:{self.manager.path}", "upgrade"])
                  for _ in range(2)]
        self.assertEqual([process.wait(90) for process in asking], [0, 0])


class Interrupted(UpgradeTest):
    """A program that stands still before it answers."""

    def setUp(self):
        os.environ["FAILPOINT"] = "accepting:19"
        self.addCleanup(os.environ.pop, "FAILPOINT")
        super().setUp()

    def test_whoever_ends_the_one_between_ends_the_upgrade(self):
        self.client().set(b"a", b"value")
        worker = children(self.keeper)[0]
        shutil.copy(os.environ["FAILPOINTS"], self.program.with_name("fresh"))
        self.program.with_name("fresh").rename(self.program)
        asking = subprocess.Popen([MGCTL, "--socket", f"unix:{self.manager.path}", "upgrade"],
                                  stderr=subprocess.DEVNULL)
        wait_for(lambda: len(children(self.keeper)) == 2)
        between = [pid for pid in children(self.keeper) if pid != worker]
        stopped = [pid for middle in between for pid in children(middle)]
        # It may be over by now where all takes long: then it has come to nothing by itself.
        for pid in between:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.assertEqual(asking.wait(90), 1)
        self.assertTrue(wait_for(lambda: children(self.keeper) == [worker]))
        for pid in stopped:
            self.assertFalse(pathlib.Path(f"/proc/{pid}").exists())
        self.replace()
        self.upgrade()
        self.assertEqual(self.client().get(b"a"), b"value")


class Refused(UpgradeTest):
    """A file that nobody may trust, or that is no program."""

    def test_there_is_no_file(self):
        self.client().set(b"a", b"value")
        self.program.unlink()
        worker = self.fails("No such file or directory")
        self.assertEqual(self.client().status().pid, worker)
        self.assertEqual(self.client().get(b"a"), b"value")

    def test_others_may_write_to_it(self):
        for mode in (0o775, 0o757):
            self.replace(mode=mode)
            self.fails("its group or others may write to it")

    @unittest.skipUnless(ROOT, "needs root: makes a file of somebody else's")
    def test_it_is_somebody_elses(self):
        self.replace()
        os.chown(self.program, 65534, 65534)
        self.fails("it belongs to neither root nor us")

    def test_it_is_no_program(self):
        self.replace(b"no program")
        self.fails("Exec format error")

    def test_nobody_keeps(self):
        with Daemon() as daemon:
            result = subprocess.run([MGCTL, "--socket", f"unix:{daemon.path}", "upgrade"],
                                    stderr=subprocess.PIPE, text=True)
            self.assertEqual(result.returncode, 1)
            self.assertIn("keep", result.stderr)


@unittest.skipUnless(ROOT, "needs root: makes a namespace of processes")
class FirstProcess(UpgradeTest):
    """As in a container: the kernel ends all others with it."""

    def setUp(self):
        wrap = [shutil.which("unshare") or "/bin/false", "--pid", "--fork", "--kill-child"]
        if subprocess.run([*wrap, "/bin/true"], stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("unshare(1) cannot make one here")
        self.manager = Manager(wrap=wrap)
        self.addCleanup(self.manager.end)
        self.manager.start()

    def test_it_is_not_left(self):
        self.client().set(b"a", b"value")
        result = self.mgctl("upgrade")
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("the first process of a container", result.stderr)
        self.assertEqual(self.client().get(b"a"), b"value")


class BadConfiguration(UpgradeTest):
    keep = False

    def setUp(self):
        self.file = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-")) / "conf"
        self.addCleanup(shutil.rmtree, self.file.parent, ignore_errors=True)
        self.file.write_text("[daemon]\nkeep = yes\n")
        self.arguments = ["--config", str(self.file)]
        super().setUp()

    def test_what_the_new_one_finds_wrong_is_told(self):
        self.client().set(b"a", b"value")
        for text, words in (("[daemon]\nkeep = yes\nnonsense = 1\n", "nonsense"),
                            ("[daemon]\nkeep = no\n", "`keep`")):
            self.file.write_text(text)
            self.fails(words)
        self.file.write_text("[daemon]\nkeep = yes\n")
        self.upgrade()
        self.assertEqual(self.client().get(b"a"), b"value")

    def test_whatever_bytes_the_reason_has_it_can_be_told(self):
        """By the worker that was there, and by the one after it."""
        self.client().set(b"a", b"value")
        self.file.write_bytes(b"[daemon]\nk\x01\xff\xfe = 1\n")
        worker = self.fails("unknown key 'k?")
        os.kill(worker, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: children(self.keeper) not in ([], [worker])))
        self.assertIn("unknown key 'k???'", self.client().status().upgrade_fault.decode())
        self.assertEqual(self.client().get(b"a"), b"value")


class OtherFormat(UpgradeTest):
    """Another program, to which the ledger is of a format that it does not read."""

    def test_it_is_refused_and_the_old_one_goes_on(self):
        client = self.client()
        client.set(b"a", b"value")
        self.replace(pathlib.Path(OTHER_FORMAT).read_bytes())
        worker = self.fails("does not read keys of format 1 and a ledger of format 4")
        self.assertIn("the daemon goes on as before", self.mgctl("upgrade").stderr)
        # Nothing has moved: the same worker, the same connection.
        self.assertEqual(client.status().pid, worker)
        self.assertEqual(client.get(b"a"), b"value")
        client.set(b"b", b"further")
        self.replace()
        self.upgrade()
        self.assertEqual(self.client().get(b"b"), b"further")


if __name__ == "__main__":
    unittest.main()
