# SPDX-License-Identifier: Apache-2.0
"""A bundle that is opened at the start: all of it before anybody is served, once, or no start."""

import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import mgwire
import nacl.bindings as sodium
from daemon import Daemon, MEMGUARDD, accepts, descriptors, wait_for
from manager import Manager
from mgbundle import Writer
from mgwire import pb
from strangers import NOBODY, programs_for_all

MGCTL = os.environ["MGCTL"]
ROOT = os.geteuid() == 0
WRONG_OPTION, INTERNAL, WRONG_CONFIGURATION = 2, 70, 78
MANY = 5000


class BundleTest(unittest.TestCase):
    options = ()

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.bundle = self.folder / "a bundle"
        self.private_key = os.urandom(32)
        self.recipient = sodium.crypto_scalarmult_base(self.private_key)
        self.credentials = self.folder / "credentials"
        self.credentials.mkdir()
        (self.credentials / "key").write_bytes(self.private_key)
        self.environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(self.credentials)}
        self.told = []
        self.listen()
        self.values = {b"a": b"x", b"b/c": os.urandom(16384), b"large": os.urandom(300000)}

    def listen(self):
        """What the service manager is told so far; descriptors that come with it are let go."""
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(str(self.folder / "notify"))
        self.environment["NOTIFY_SOCKET"] = str(self.folder / "notify")

        def take():
            with manager:
                while (words := manager.recv(4096)) != b"END":
                    self.told.extend(words.split(b"\n"))

        def end():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
                mouth.sendto(b"END", str(self.folder / "notify"))
            thread.join()

        thread = threading.Thread(target=take)
        thread.start()
        self.addCleanup(end)

    def write(self, data=None):
        if data is None:
            writer = Writer(recipient=self.recipient)
            for name, value in self.values.items():
                writer.secret(name, value)
            data = writer.end()
        self.bundle.write_bytes(data)
        self.bundle.chmod(0o600)
        return data

    def words(self, key="credential:key"):
        return ["--bundle", f"{self.bundle} {key}", *self.options]

    def start(self, *options, key="credential:key", **more):
        more.setdefault("env", self.environment)
        daemon = Daemon(*self.words(key), *options, **more)
        self.addCleanup(daemon.end)
        return daemon

    def key_at_descriptor(self, key=None):
        """A pipe that has been written and closed."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        os.write(writing, self.private_key if key is None else key)
        os.close(writing)
        return reading

    def client(self, daemon):
        client = mgwire.Client(daemon.path)
        self.addCleanup(client.close)
        return client

    def holds(self, client, values=None):
        values = self.values if values is None else values
        self.assertEqual({info.name: client.get(info.name) for info in client.list()}, values)

    def becomes_ready(self):
        self.assertTrue(wait_for(lambda: b"READY=1" in self.told, 30))

    def refuses(self, reason, key="credential:key", status=WRONG_CONFIGURATION, **more):
        """One line with the file and the reason, and nobody is served."""
        more.setdefault("env", self.environment)
        path = self.folder / "socket"
        done = subprocess.run([MEMGUARDD, "--socket", str(path), *self.words(key)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False,
                              stderr=subprocess.PIPE, text=True, timeout=60, **more)
        self.assertEqual(done.returncode, status, done.stderr)
        lines = [line for line in done.stderr.splitlines() if "bundle" in line]
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertIn(reason, lines[0])
        self.assertIn(str(self.bundle), lines[0])
        self.assertNotIn("serves", done.stderr)
        self.assertNotIn(b"READY=1", self.told)
        self.assertFalse(path.exists())


class Opens(BundleTest):
    def test_with_a_credential(self):
        self.write()
        daemon = self.start()
        self.becomes_ready()
        self.holds(self.client(daemon))
        size = sum(map(len, self.values.values()))
        self.assertIn(f"opened the bundle {self.bundle}: 3 secrets, {size} bytes", daemon.log())

    def test_with_a_descriptor(self):
        self.write()
        reading = self.key_at_descriptor()
        self.holds(self.client(self.start(key=f"fd:{reading}", pass_fds=[reading])))

    def test_with_a_file_at_a_descriptor(self):
        self.write()
        with open(self.credentials / "key", "rb") as file:
            daemon = self.start(key=f"fd:{file.fileno()}", pass_fds=[file.fileno()])
        self.holds(self.client(daemon))

    def test_nobody_is_served_before_all_is_there(self):
        self.write()
        reading, writing = os.pipe()
        daemon = self.start(key=f"fd:{reading}", pass_fds=[reading])
        os.close(reading)
        with socket.socket(socket.AF_UNIX) as early:
            early.connect(str(daemon.path))
            early.sendall(mgwire.hello(bytes(range(32))))
            early.settimeout(0.5)
            self.assertRaises(TimeoutError, early.recv, 1)
            self.assertEqual(self.told, [])
            os.write(writing, self.private_key[:7])
            self.assertRaises(TimeoutError, early.recv, 1)
            os.write(writing, self.private_key[7:])
            os.close(writing)
            early.settimeout(30)
            self.assertTrue(early.recv(1))
        self.becomes_ready()
        self.holds(self.client(daemon))

    def test_all_that_is_said_of_a_secret_is_kept(self):
        writer = Writer(recipient=self.recipient)
        writer.secret(b"all", b"x", owner=4711, version=7, created_ms=1000, changed_ms=2000,
                      frozen=True, left=pb.Lifetime(ttl_ms=500000, idle_ms=400000),
                      tags=[pb.Tag(key=b"k", value=b"v")])
        self.write(writer.end())
        client = self.client(self.start())
        reply = client.ask(client.request(export=pb.Export()))
        info = reply.record.info
        self.assertEqual(reply.record.owner, 4711)
        self.assertEqual((info.version, info.created_ms, info.changed_ms, info.frozen),
                         (7, 1000, 2000, True))
        self.assertEqual([(tag.key, tag.value) for tag in info.tags], [(b"k", b"v")])
        self.assertEqual(info.left.idle_ms, 400000)
        self.assertTrue(300000 < info.left.ttl_ms <= 500000)
        with self.assertRaises(mgwire.Refused) as caught:
            client.set(b"all", b"y")
        self.assertEqual(caught.exception.code, mgwire.FROZEN)

    def test_a_life_ends_though_nobody_ever_connects(self):
        writer = Writer(recipient=self.recipient)
        writer.secret(b"short", b"x", left=pb.Lifetime(ttl_ms=50)).secret(b"long", b"x")
        self.write(writer.end())
        daemon = self.start()
        self.becomes_ready()
        time.sleep(0.1)
        self.holds(self.client(daemon), {b"long": b"x"})

    def test_the_space_of_whoever_made_it_is_the_daemons_users(self):
        writer = Writer(recipient=self.recipient)
        writer.secret(b"~/mine", b"x").secret(b"~4711/theirs", b"y", owner=4711)
        self.write(writer.end())
        client = self.client(self.start())
        self.holds(client, {b"~/mine": b"x", b"~4711/theirs": b"y"})

    def test_many_of_them_and_none(self):
        self.values = {b"%d" % i: b"%d" % i for i in range(MANY)}
        self.write()
        client = self.client(self.start())
        self.assertEqual(client.status().secrets, MANY)
        self.assertEqual(client.get(b"%d" % (MANY - 1)), b"%d" % (MANY - 1))
        self.values = {}
        self.write()
        self.holds(self.client(self.start()))

    def test_what_mgctl_has_backed_up(self):
        with Daemon() as source:
            client = self.client(source)
            for name, value in self.values.items():
                client.set(name, value)
            subprocess.run([MGCTL, "--socket", f"unix:{source.path}", "backup", "--recipient",
                            self.recipient.hex(), str(self.bundle)], check=True, timeout=60,
                           stderr=subprocess.DEVNULL)
        self.holds(self.client(self.start()))

    def test_it_is_written_to_as_any_other(self):
        self.write()
        client = self.client(self.start())
        client.set(b"a", b"anew")
        self.assertEqual(client.stat(b"a").version, 2)
        client.remove(b"large")
        self.holds(client, {b"a": b"anew", b"b/c": self.values[b"b/c"]})

    def test_the_masks_are_drawn_anew_though_nobody_ever_connects(self):
        def woken():
            pid = next(iter(children(daemon.pid)), daemon.pid)
            text = pathlib.Path(f"/proc/{pid}/status").read_text()
            return int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])
        self.write()
        daemon = self.start("--rekey-interval", "10ms")
        self.becomes_ready()
        before = woken()
        self.assertTrue(wait_for(lambda: woken() >= before + 20))

    def test_the_keys_descriptor_is_closed(self):
        if not ROOT:
            self.skipTest("only root may look at the descriptors of a process like ours")
        self.write()
        with open(self.credentials / "key", "rb") as file:
            daemon = self.start(key=f"fd:{file.fileno()}", pass_fds=[file.fileno()])
        self.becomes_ready()
        for pid in [daemon.pid, *children(daemon.pid)]:
            self.assertTrue(wait_for(lambda: not [
                link for link in descriptors(pid)  # noqa: B023
                if str(self.folder / "credentials") in link or str(self.bundle) in link]))

    def test_the_end_may_come_while_the_key_does_not(self):
        self.write()
        for number in signal.SIGTERM, signal.SIGINT:
            reading, writing = os.pipe()
            daemon = self.start(key=f"fd:{reading}", pass_fds=[reading])
            os.close(reading)
            daemon.process.send_signal(number)
            self.assertEqual(daemon.process.wait(20), 0)
            os.close(writing)
            self.assertFalse(daemon.path.exists())
            self.assertIn("ending before it has served", daemon.log())


class OpensWithAKeeper(Opens):
    options = ("--keep",)


def children(pid):
    return [int(word) for word in
            pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Kept(BundleTest):
    options = ("--keep",)

    def worker(self, daemon):
        found = children(daemon.pid)
        return found[0] if found else 0

    def kill_worker(self, daemon):
        before = self.worker(daemon)
        served = daemon.log().count("serves again")
        os.kill(before, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: daemon.log().count("serves again") > served))

    def test_it_is_opened_once_however_many_workers_there_are(self):
        self.write()
        for key in "credential:key", "fd":
            more = {}
            if key == "fd":
                reading = self.key_at_descriptor()
                key, more = f"fd:{reading}", {"pass_fds": [reading]}
            daemon = self.start(key=key, **more)
            client = self.client(daemon)
            client.remove(b"a")
            client.set(b"b/c", b"anew")
            for _ in range(3):
                self.kill_worker(daemon)
                self.holds(self.client(daemon),
                           {b"b/c": b"anew", b"large": self.values[b"large"]})
            self.assertEqual(daemon.log().count("opened the bundle"), 1)

    def test_a_house_that_was_emptied_stays_empty(self):
        self.write()
        daemon = self.start()
        client = self.client(daemon)
        client.ask(client.change(purge=pb.Purge(all=True)))
        self.kill_worker(daemon)
        self.holds(self.client(daemon), {})

    def test_a_worker_that_dies_before_it_has_opened_it_is_the_end(self):
        self.write()
        for number in signal.SIGKILL, signal.SIGSEGV:
            reading, writing = os.pipe()
            daemon = self.start(key=f"fd:{reading}", pass_fds=[reading])
            os.close(reading)
            self.assertTrue(wait_for(lambda: self.worker(daemon)))  # noqa: B023
            os.kill(self.worker(daemon), number)
            self.assertEqual(daemon.process.wait(20), INTERNAL)
            os.close(writing)
            self.assertFalse(accepts(daemon.path))
            self.assertNotIn("serves", daemon.log())


class TakenOver(BundleTest):
    """By a newer program, and by the next start of a manager that keeps descriptors."""

    # The key is at a descriptor for the program that is started, and for none that it starts.
    wrap = ("/bin/sh", "-c", 'exec "$0" "$@" 9<"$KEY"')

    def manage(self, wrap=wrap):
        manager = Manager(*self.words("fd:9"), wrap=wrap)
        self.addCleanup(manager.end)
        return manager

    def test_it_has_what_there_was_and_opens_nothing(self):
        self.write()
        manager = self.manage()
        manager.start(KEY=str(self.credentials / "key"))
        client = self.client(manager)
        client.remove(b"a")
        client.set(b"b/c", b"anew")
        left = {b"b/c": b"anew", b"large": self.values[b"large"]}
        for _ in range(2):
            before = manager.main
            subprocess.run([MGCTL, "--socket", f"unix:{manager.path}", "upgrade"], check=True,
                           timeout=90)
            self.assertTrue(wait_for(lambda: manager.main != before))  # noqa: B023
            self.holds(self.client(manager), left)
        if ROOT:
            manager.stop()
            manager.start(KEY=str(self.credentials / "key"))
            self.holds(self.client(manager), left)
        self.assertEqual(manager.log().count("opened the bundle"), 1)

    @unittest.skipUnless(ROOT, "only a service manager of root's is trusted with the keys")
    def test_a_start_that_is_called_off_leaves_nothing_to_the_next_one(self):
        self.write()
        os.mkfifo(self.folder / "fifo")
        manager = self.manage(("/bin/sh", "-c", 'exec "$0" "$@" 9<>"$KEY"'))
        started = []

        def start():
            try:
                manager.start(KEY=str(self.folder / "fifo"))
            except RuntimeError as error:
                started.append(str(error))

        thread = threading.Thread(target=start)
        thread.start()
        self.assertTrue(wait_for(manager.serves))
        self.assertTrue(wait_for(lambda: manager.process and children(manager.process.pid)))
        manager.send(signal.SIGTERM)
        thread.join()
        self.assertEqual(manager.gone(), 0)
        self.assertIn("ending before it has served", started[0])
        self.assertEqual(manager.store, [])


class Refuses(BundleTest):
    def test_what_is_not_there(self):
        self.refuses("No such file or directory")

    def test_what_is_no_file(self):
        self.bundle.mkdir()
        self.refuses("is no regular file")
        self.bundle.rmdir()
        os.mkfifo(self.bundle)
        self.refuses("is no regular file")

    def test_what_others_may_write_to(self):
        self.write()
        self.bundle.chmod(0o620)
        self.refuses("others may write to it")

    @unittest.skipUnless(ROOT, "needs root, to give a file to somebody else")
    def test_what_belongs_to_somebody_else(self):
        self.write()
        os.chown(self.bundle, NOBODY, NOBODY)
        self.refuses("others may write to it")

    def test_another_key(self):
        self.write()
        (self.credentials / "key").write_bytes(os.urandom(32))
        self.refuses("does not open: another key, or changed")

    def test_what_is_no_key(self):
        self.write()
        for key in b"", b"k" * 31, b"k" * 33, self.private_key.hex().encode():
            (self.credentials / "key").write_bytes(key)
            self.refuses("the credential 'key' holds no private key of 32 bytes")
            reading = self.key_at_descriptor(key)
            self.refuses("the key's descriptor holds no private key of 32 bytes",
                         key=f"fd:{reading}", pass_fds=[reading])

    def test_a_credential_that_is_not_there(self):
        self.write()
        self.refuses("the credential 'other': No such file", key="credential:other")
        (self.credentials / "folder").mkdir()
        self.refuses("the credential 'folder' is no regular file", key="credential:folder")
        for folder in None, "credentials":
            environment = {**self.environment, "CREDENTIALS_DIRECTORY": folder}
            self.refuses("no credential 'key': the service manager hands none over",
                         env={k: v for k, v in environment.items() if v})

    def test_a_descriptor_that_is_not_there(self):
        """Nor is it one of the daemon's own that has the number by chance."""
        self.write()
        for number in 3, 4, 5, 6, 7, 8, 9, 1000000:
            self.refuses(f"the key's descriptor {number}: Bad file descriptor",
                         key=f"fd:{number}")

    def test_a_descriptor_that_cannot_be_read(self):
        self.write()
        number = os.open(self.folder, os.O_RDONLY)
        self.addCleanup(os.close, number)
        self.refuses("the key cannot be read: Is a directory", key=f"fd:{number}",
                     pass_fds=[number])

    def test_a_descriptor_that_is_a_socket(self):
        self.write()
        one, other = socket.socketpair()
        with one, other:
            self.refuses(f"the key's descriptor {one.fileno()}: is a socket",
                         key=f"fd:{one.fileno()}", pass_fds=[one.fileno()])

    def test_one_that_is_sealed_to_a_passphrase(self):
        writer = Writer(passphrase=b"passphrase")
        self.write(writer.secret(b"a", b"x").end())
        self.refuses("is sealed to a passphrase, not to a key")

    def test_one_that_was_changed(self):
        data = self.write()
        places = {0: "it is no bundle", 9: "it is no bundle", 8: "of another version",
                  10: "it is no bundle", 20: "does not open: another key", 95: "does not open",
                  116: "a size that there is not", 118: "a message does not open",
                  len(data) // 2: "a value does not open",
                  len(data) - 1: "a message does not open"}
        for place, reason in places.items():
            with self.subTest(place=place):
                changed = bytearray(data)
                changed[place] ^= 0x40 if place != 117 else 0x80
                if place == 116:
                    changed[place:place + 2] = b"\xff\xff"
                self.write(bytes(changed))
                self.refuses(reason)

    def test_one_that_was_cut_or_goes_on(self):
        data = self.write()
        for size in 0, 5, 60, 115, 130, 400, len(data) // 2, len(data) - 1:
            with self.subTest(size=size):
                self.write(data[:size])
                self.refuses("the bundle ends in the midst")
        self.write(data + b"x")
        self.refuses("there is something behind the bundle's end")

    def test_one_that_counts_wrongly(self):
        writer = Writer(recipient=self.recipient)
        self.write(writer.secret(b"a", b"x").end(2))
        self.refuses("what a message says is none of ours")

    def test_one_with_a_name_twice(self):
        writer = Writer(recipient=self.recipient)
        self.write(writer.secret(b"a", b"x").secret(b"a", b"y").end())
        self.refuses("two secrets in it have the same name")

    def test_one_with_a_name_that_is_none(self):
        for name in b"", b"/", b"~x", b"a\n":
            writer = Writer(recipient=self.recipient)
            self.write(writer.secret(name, b"x").end())
            self.refuses("what a message says is none of ours")

    def test_a_value_that_is_too_large(self):
        self.write()
        self.options = (*self.options, "--max-value", "299999")
        self.refuses("secret 3 has 300000 bytes, more than max-value (299999)")
        self.options = (*self.options[:-1], "300000")
        self.holds(self.client(self.start()))

    @unittest.skipIf(os.environ.get("SANITIZED"), "the sanitizers take address space of their own")
    def test_more_than_there_is_memory_for(self):
        self.values = {b"a": bytes(100 << 20)}
        self.write()
        done = subprocess.run(
            ["prlimit", "--as=100000000", MEMGUARDD, "--socket", str(self.folder / "socket"),
             *self.words(), "--max-value", "1g"], env=self.environment, stderr=subprocess.PIPE, check=False,
            timeout=60, text=True)
        self.assertEqual(done.returncode, INTERNAL, done.stderr)
        self.assertIn(f"{self.bundle}: out of memory", done.stderr)
        self.assertNotIn(b"READY=1", self.told)


class RefusesWithAKeeper(Refuses):
    options = ("--keep",)


class Settings(BundleTest):
    def config(self, text):
        path = self.folder / "memguardd.conf"
        path.write_text("[daemon]\n" + text)
        path.chmod(0o644)
        return str(path)

    def test_in_the_file_and_on_the_command_line(self):
        self.write()
        config = self.config(f"bundle = {self.bundle}   credential:key\n")
        with Daemon("--config", config, env=self.environment) as daemon:
            self.holds(self.client(daemon))
            with self.client(daemon) as client, self.assertRaises(mgwire.Refused) as caught:
                self.config(f"bundle = {self.bundle} credential:other\n")
                client.ask(client.request(reload=pb.Reload()))
            self.assertIn(b"'bundle' takes a restart", caught.exception.reply.detail)
        self.config(f"bundle = {self.folder}/other credential:key\n")
        with Daemon("--config", config, "--bundle", "no", env=self.environment) as daemon:
            self.holds(self.client(daemon), {})

    def test_what_makes_no_sense(self):
        for text, reason in (
                (str(self.bundle), "does not end in credential:NAME or fd:N"),
                ("", "does not end in"), ("yes", "does not end in"),
                ("credential:key", "names no file by an absolute path"),
                ("bundle credential:key", "names no file by an absolute path"),
                ("/b credential:", "names no credential"),
                ("/b credential:..", "names no credential"),
                ("/b credential:a/b", "names no credential"),
                ("/b credential:" + "n" * 256, "names no credential"),
                ("/" + "b" * 1024 + " fd:3", "has a path that is too long"),
                ("/b fd:", "names no descriptor from 3 on"),
                ("/b fd:2", "names no descriptor from 3 on"),
                ("/b fd:-3", "names no descriptor from 3 on"),
                ("/b fd:3x", "names no descriptor from 3 on"),
                ("/b fd:4294967299", "names no descriptor from 3 on")):
            with self.subTest(text=text):
                done = subprocess.run([MEMGUARDD, "--bundle", text], stderr=subprocess.PIPE,
                                      check=False, timeout=60, text=True)
                self.assertEqual(done.returncode, WRONG_OPTION)
                self.assertIn(f"--bundle: '{text[:100]}", done.stderr)
                if len(text) < 300:
                    self.assertIn(reason, done.stderr)
                    if not text or len(text) > 180:
                        continue
                    config = self.config(f"bundle = {text}\n")
                    done = subprocess.run([MEMGUARDD, "--config", config], stderr=subprocess.PIPE,
                                          check=False, timeout=60, text=True)
                    self.assertEqual(done.returncode, WRONG_CONFIGURATION)
                    self.assertIn(f"{config}:2: bundle: '{text}' {reason}", done.stderr)

    def test_the_daemon_of_a_command_opens_its_own_and_hides_the_key_from_it(self):
        self.write()
        with open(self.credentials / "key", "rb") as file:
            number = file.fileno()
            for options in [], ["--keep"]:
                file.seek(0)
                done = subprocess.run(
                    [MEMGUARDD, "--bundle", f"{self.bundle} fd:{number}", *options, "--", "sh",
                     "-c", f"readlink /proc/$$/fd/{number}; exec {MGCTL} get a"],
                    pass_fds=[number], stdin=subprocess.DEVNULL, capture_output=True,
                    check=False, timeout=60)
                self.assertEqual((done.returncode, done.stdout), (0, b"x"), done.stderr)
                self.assertEqual(done.stderr, b"")

    def test_the_daemon_of_a_command_does_not_open_the_systems(self):
        config = self.config(f"bundle = {self.folder}/none credential:key\n")
        done = subprocess.run([MEMGUARDD, "--config", config, "--", MGCTL, "ls"],
                              stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)


# Becomes memguardd as somebody else, with a socket of root's and the key behind it, as a service
# manager hands them over.
HAND_OVER = """
import os, sys
listener, key, uid = map(int, sys.argv[1:4])
os.dup2(listener, 3)
os.dup2(key, 4)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2")
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
os.execv(sys.argv[4], sys.argv[4:])
"""


@unittest.skipUnless(ROOT, "needs root, to be somebody else")
class OfTheSystem(BundleTest):
    def test_a_service_files_roots_names_for_root_and_takes_a_key_beside_its_socket(self):
        program, _ = programs_for_all(self.folder)
        writer = Writer(recipient=self.recipient)
        writer.secret(b"~/roots", b"x").secret(b"~%d/own" % NOBODY, b"y", owner=NOBODY)
        self.write(writer.end())
        os.chown(self.bundle, NOBODY, NOBODY)
        path = self.folder / "handed over"
        log = self.folder / "log"
        for options in (), ("--keep",):
            path.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as listener, open(log, "wb") as words:
                listener.bind(str(path))
                path.chmod(0o666)
                listener.listen()
                reading = self.key_at_descriptor()
                # High, so that neither takes the other's place.
                numbers = [os.dup2(listener.fileno(), 50), os.dup2(reading, 51)]
                process = subprocess.Popen(
                    [sys.executable, "-c", HAND_OVER, *map(str, numbers), str(NOBODY), program,
                     *options, "--bundle", f"{self.bundle} fd:4"], pass_fds=numbers,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words)
                for number in numbers:
                    os.close(number)
            self.addCleanup(process.kill)
            with mgwire.Client(path) as client:
                self.assertEqual(sorted(info.name for info in client.list()),
                                 [b"~/roots", b"~%d/own" % NOBODY])
                self.assertEqual(client.get(b"~/roots"), b"x")
            process.terminate()
            self.assertEqual(process.wait(20), 0, log.read_text())
