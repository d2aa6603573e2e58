# SPDX-License-Identifier: Apache-2.0
"""User namespaces give everybody whom they do not map the same uid: whoever has it is nobody that
the daemon, or a client, could know."""

import ctypes
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from daemon import MEMGUARDD, Daemon
from mgwire import Client, Closed, Refused
from strangers import NOBODY

MGCTL = os.environ["MGCTL"]
CLONE_NEWUSER = 0x10000000
libc = ctypes.CDLL(None)


def maps_everybody():
    return pathlib.Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def namespaces():
    return subprocess.run(["unshare", "--user", "--map-root-user", "true"], stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


def write_maps(pid, text):
    for kind in ("uid", "gid"):
        pathlib.Path(f"/proc/{pid}/{kind}_map").write_text(text)


def enter_namespace():
    """In a user namespace where root is root, 100000 is 1, and the rest of the first 65,535 follow."""
    here, there = os.pipe()
    pid = os.getpid()
    child = os.fork()
    if child == 0:
        os.read(here, 1)
        write_maps(pid, "0 0 1\n1 100000 65535\n")
        os._exit(0)
    if libc.unshare(CLONE_NEWUSER) < 0:
        raise OSError("unshare failed")
    os.write(there, b"1")
    if os.waitpid(child, 0)[1] != 0:
        raise OSError("the maps were not taken")


def as_user(path, uid, act, gid=None, groups=()):
    """What `act` says to a client of this uid; "closed" when the daemon closes at once."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            gid = uid if gid is None else gid
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            try:
                with Client(path) as client:
                    os.write(there, str(act(client)).encode())
            except Closed:
                os.write(there, b"closed")
        finally:
            os._exit(0)
    os.close(there)
    os.waitpid(child, 0)
    with os.fdopen(here) as answer:
        return answer.read()


def seen_as(path, uid):
    """The uid that the daemon knows this uid by; None when it closes at once."""
    text = as_user(path, uid, lambda client: client.whoami().uid)
    return None if text == "closed" else int(text)


def fetched(client):
    """The names of those that it may get."""
    found = []
    for name in ("anybody/x", "group/x"):
        try:
            client.get(name.encode())
            found.append(name)
        except Refused:
            pass
    return " ".join(found)


@unittest.skipUnless(namespaces(), "nobody can make a user namespace here")
class UserNamespace(unittest.TestCase):
    def test_a_daemon_without_a_uid_of_its_own_does_not_start(self):
        done = subprocess.run(
            ["unshare", "--user", MEMGUARDD, "--socket", "/nowhere/socket"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertIn("user namespace", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_a_daemon_with_one_serves_whom_it_maps(self):
        with Daemon(wrap=["unshare", "--user", "--map-root-user"]) as daemon:
            with Client(daemon.path) as client:
                client.set(b"~/mine", b"value")
                self.assertEqual(client.get(b"~/mine"), b"value")
                self.assertEqual(client.whoami().uid, 0)

    def test_a_client_that_cannot_know_its_daemon_sends_nothing(self):
        with Daemon() as daemon:
            environment = dict(os.environ, MEMGUARD_SOCKET=str(daemon.path))
            for wrap, status in ((["unshare", "--user"], 6), ([], 0)):
                done = subprocess.run([*wrap, MGCTL, "ping"], env=environment, capture_output=True,
                                      text=True, timeout=60, check=False)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertEqual("user namespace" in done.stderr, status != 0, done.stderr)


@unittest.skipUnless(os.geteuid() == 0, "needs root, to be several users")
@unittest.skipUnless(maps_everybody(), "runs in a user namespace itself")
class Users(unittest.TestCase):
    @unittest.skipUnless(namespaces(), "nobody can make a user namespace here")
    def test_users_that_share_a_number_are_turned_away(self):
        with Daemon("--socket-mode", "0666", preexec_fn=enter_namespace) as daemon:
            daemon.folder.chmod(0o755)
            self.assertEqual(seen_as(daemon.path, 100999), 1000)
            self.assertEqual(seen_as(daemon.path, 0), 0)
            for uid in (1001, 1002, NOBODY):
                self.assertIsNone(seen_as(daemon.path, uid))
            lines = [line for line in daemon.closings() if "user namespace" in line]
            self.assertEqual(len(lines), 3, daemon.log())

    @unittest.skipUnless(namespaces(), "nobody can make a user namespace here")
    def test_groups_that_share_a_number_are_denied_and_not_allowed(self):
        """In the namespace 100999 is 1000, 165533 is 65534 as groups that it leaves out are."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, folder)
        rules = folder / "rules.conf"
        rules.write_text("[namespace anybody]\nallow = get * uid:1000\n"
                         "deny = get * gid:65534\n"
                         "[namespace group]\nallow = get * gid:65534\n")
        for place, mode in ((folder, 0o755), (rules, 0o644)):
            place.chmod(mode)
        with Daemon("--socket-mode", "0666", f"--policy-dir={folder}",
                    preexec_fn=enter_namespace) as daemon:
            daemon.folder.chmod(0o755)
            with Client(daemon.path) as client:
                for name in (b"anybody/x", b"group/x"):
                    client.set(name, b"value")
            for gid, groups, names in ((100999, (), "anybody/x"), (165533, (), ""),
                                       (100999, (165533,), ""), (100999, (77,), "")):
                self.assertEqual(as_user(daemon.path, 100999, fetched, gid, groups), names)

    def test_outside_of_namespaces_that_number_is_a_user_like_others(self):
        with Daemon("--socket-mode", "0666") as daemon:
            daemon.folder.chmod(0o755)
            self.assertEqual(seen_as(daemon.path, NOBODY), NOBODY)
