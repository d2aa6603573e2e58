# SPDX-License-Identifier: Apache-2.0
"""mgctl backup and restore: what goes into a bundle, what comes out, and what is refused."""

import json
import os
import pathlib
import select
import stat
import subprocess
import tempfile
import time
import unittest

import mgbundle
import mgwire
import nacl.bindings as sodium
from daemon import Daemon
from mgbundle import Reader, Writer
from mgctl_case import (DENIED, FROZEN, INTEGRITY, LIMIT, MGCTL, NOT_FOUND, OK, ROOT, USAGE,
                        MgctlTest, StrangerTest)
from strangers import NOBODY
from test_mgctl_terminal import TerminalTest

SANITIZED = bool(os.environ.get("SANITIZED"))

# Each place of a bundle is a run of mgctl, and with the sanitizers that takes long: there it is each
# tenth, since they look at how mgctl goes on from a fault, not at whether it sees one.
EACH = 10 if SANITIZED else 1

# .ci/run sets BACKUP_SECRETS=100000, which takes a minute: some seconds each way, the rest to store
# and to fetch them.
MANY = int(os.environ.get("BACKUP_SECRETS", "1000" if SANITIZED else "10000"))

TIMES = ("created_ms", "changed_ms", "ttl_ms", "idle_left_ms")


class BackupTest(MgctlTest):
    """The class's daemon is where backups are made; `other` is where they are restored."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.private_key = os.urandom(32)
        cls.key_file = cls.folder / "key"
        cls.key_file.write_bytes(cls.private_key)
        cls.key_file.chmod(0o600)
        cls.recipient = sodium.crypto_scalarmult_base(cls.private_key)

    def setUp(self):
        super().setUp()
        self.other = Daemon()
        self.addCleanup(self.other.end)
        self.there = {"env": {"MEMGUARD_SOCKET": f"unix:{self.other.path}"}}
        self.bundle = self.folder / f"{self.id()}.bundle"
        self.prefix = self.name + "/"

    def with_passphrase(self, passphrase):
        """Options that hand a passphrase over."""
        reading, writing = os.pipe()
        os.write(writing, passphrase)
        os.close(writing)
        self.addCleanup(os.close, reading)
        return ["--passphrase-fd", str(reading)], {"pass_fds": [reading]}

    def back_up(self, *options):
        return self.json("backup", "--recipient", self.recipient.hex(), "--prefix", self.prefix,
                         *options, str(self.bundle))[0]

    def restore(self, *options):
        return self.json("restore", "--key", str(self.key_file), *options, str(self.bundle),
                         **self.there)[0]

    def refuses(self, status, *options, data=None):
        if data is not None:
            self.bundle.write_bytes(data)
        return self.fails(status, "restore", "--key", str(self.key_file), *options,
                          str(self.bundle), **self.there)

    def listed(self, **options):
        """All about each secret, but times that go on."""
        answers = self.json("ls", "-l", **options)
        return {answer["name"]: answer for answer in answers}

    def names_there(self):
        return [answer["name"] for answer in self.json("ls", **self.there)]


class RoundTrip(BackupTest):
    def test_values_of_all_sizes_come_back(self):
        values = {size: os.urandom(size) for size in (1, 16384, 16385, 65536, 65537, 1 << 20)}
        for size, value in values.items():
            self.ok("set", f"{self.prefix}{size}", stdin=value)
        counts = {"schema": 1, "secrets": len(values), "bytes": sum(values)}
        self.assertEqual(self.back_up(), {**counts, "left_out": 0})
        self.assertEqual(self.restore(), counts)
        for size, value in values.items():
            self.assertEqual(self.ok("get", f"{self.prefix}{size}", **self.there), value)

    def test_all_that_is_told_of_a_secret_comes_back(self):
        tags = [word for i in range(16) for word in ("--tag", f"key{i}={'v' * 200}{i}")]
        for i, options in enumerate((
                [], ["--freeze"], ["--ttl", "1h"], ["--idle-ttl", "2h"], tags,
                ["--freeze", "--ttl", "5m", "--idle-ttl", "4m", "--tag", "a=b"])):
            name = f"{self.prefix}{i}"
            for version in range(3):
                self.ok("set", name, stdin=b"x", *(options if version == 2 else []))
        before = {name: one for name, one in self.listed().items()
                  if name.startswith(self.prefix)}
        self.back_up()
        time.sleep(0.1)
        self.restore()
        after = self.listed(**self.there)
        self.assertEqual(set(after), set(before))
        for name, one in after.items():
            self.assertEqual(one["version"], 3)
            for key in ("name", "version", "size", "created_ms", "changed_ms", "tags", "frozen"):
                self.assertEqual(one[key], before[name][key])
            self.assertEqual(one.get("idle_ttl_ms"), before[name].get("idle_ttl_ms"))
            self.assertEqual("ttl_ms" in one, "ttl_ms" in before[name])
            if "ttl_ms" in one:
                self.assertLess(one["ttl_ms"], before[name]["ttl_ms"])
                self.assertGreater(one["ttl_ms"], before[name]["ttl_ms"] - 60000)

    def test_the_largest_outside_comes_back(self):
        name = self.prefix + "n" * (255 - len(self.prefix))
        tags = [word for i in range(16) for word in ("--tag", f"{i:064}={'v' * 256}")]
        value = os.urandom(16384)
        self.ok("set", name, *tags, stdin=value)
        before = self.json("stat", name)[0]
        self.back_up()
        self.restore()
        self.assertEqual(self.json("stat", name, **self.there)[0], before)
        self.assertEqual(self.ok("get", name, **self.there), value)

    def test_what_ends_with_the_daemon_or_with_fetches_stays(self):
        self.ok("set", self.prefix + "kept", stdin=b"x")
        self.ok("set", self.prefix + "thrice", "--max-reads", "3", stdin=b"x")
        self.ok("set", self.prefix + "bound", "--bind-pid", str(os.getpid()), stdin=b"x")
        self.ok("stream", "write", self.prefix + "stream", stdin=b"x")
        with mgwire.Client(self.path) as client:
            client.set(f"{self.prefix}session".encode(), b"x", lifetime={"session": True})
            told = self.back_up()
            self.assertEqual((told["secrets"], told["left_out"]), (1, 4))
        self.restore()
        self.assertEqual(self.names_there(), [self.prefix + "kept"])

    def test_how_many_were_left_out_is_told_however_many_they_are(self):
        # More than one answer looks at, and in more than one place.
        with mgwire.Client(self.path) as client:
            for i in range(600):
                client.set(b"%s%03d" % (self.prefix.encode(), i), b"x",
                           lifetime=None if i % 299 == 150 else {"reads": 2})
            told = self.back_up()
            self.assertEqual((told["secrets"], told["left_out"]), (2, 598))
            for info in client.list(self.prefix.encode()):
                client.remove(info.name)

    def test_a_version_in_its_grace_stays(self):
        self.ok("set", self.prefix + "a", stdin=b"old")
        self.ok("rotate", "--grace", "1h", self.prefix + "a", stdin=b"new")
        self.assertEqual(self.ok("get", "--version", "1", self.prefix + "a"), b"old")
        told = self.back_up()
        self.assertEqual((told["secrets"], told["left_out"]), (1, 0))
        self.restore()
        self.assertEqual(self.ok("get", self.prefix + "a", **self.there), b"new")
        self.fails(NOT_FOUND, "get", "--version", "1", self.prefix + "a", **self.there)

    def said(self, *words, **options):
        result = self.run_mgctl(*words, **options)
        self.assertEqual(result.returncode, OK, result.stderr)
        return result.stderr.decode()

    def test_what_was_done_is_told_in_a_line(self):
        key = ["--key", str(self.key_file)]
        write = ["backup", "--recipient", self.recipient.hex(), "--prefix", self.prefix]
        self.ok("set", self.prefix + "a", stdin=b"x")
        self.assertEqual(self.said(*write, str(self.bundle)),
                         f"mgctl: backed up 1 secret (1 byte) to {self.bundle}\n")
        self.assertEqual(self.said("restore", *key, str(self.bundle), **self.there),
                         f"mgctl: restored 1 secret (1 byte) from {self.bundle}\n")
        self.ok("set", self.prefix + "b", stdin=b"y" * 2048)
        self.ok("set", self.prefix + "c", "--max-reads", "2", stdin=b"z")
        self.assertEqual(self.said(*write, "-"),
                         "mgctl: backed up 2 secrets (2.001 KiB) to standard output; 1 left out "
                         "(session, process-bound or read-limited, a stream, or policy asks for a "
                         "--reason)\n")
        for quiet in ("--quiet", "--json"):
            self.assertEqual(self.said(quiet, *write, str(self.bundle)), "")
            self.assertEqual(
                self.said(quiet, "restore", *key, str(self.bundle), **self.there), "")

    def test_a_backup_is_no_fetch(self):
        self.ok("set", self.prefix + "idle", "--idle-ttl", "1h", stdin=b"x")
        before = self.json("stat", self.prefix + "idle")[0]
        time.sleep(1.2)
        self.back_up()
        after = self.json("stat", self.prefix + "idle")[0]
        self.assertLess(after["idle_left_ms"], before["idle_left_ms"] - 1000)

    def test_a_passphrase_opens_what_it_has_sealed_and_no_other_does(self):
        self.ok("set", self.prefix + "a", stdin=b"x")
        options, given = self.with_passphrase(b"correct horse\n")
        self.ok("backup", "--prefix", self.prefix, *options, str(self.bundle), **given)
        options, given = self.with_passphrase(b"correct horse")
        wrong, wrongly = self.with_passphrase(b"correct horses")
        line = self.fails(INTEGRITY, "restore", *wrong, str(self.bundle), **self.there, **wrongly)
        self.assertIn("another key", line)
        self.refuses(INTEGRITY)
        self.assertEqual(self.names_there(), [])
        self.ok("restore", *options, str(self.bundle), **self.there, **given)
        self.assertEqual(self.ok("get", self.prefix + "a", **self.there), b"x")
        values = Reader(self.bundle.read_bytes(), passphrase=b"correct horse").values()
        self.assertEqual(values, {f"{self.prefix}a".encode(): b"x"})

    def test_a_pair_is_drawn_by_a_command(self):
        key = self.folder / "new.key"
        self.ok("set", self.prefix + "a", stdin=b"x")
        public = self.ok("backup", "--new-key", str(key)).decode().strip()
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        self.assertEqual(sodium.crypto_scalarmult_base(key.read_bytes()).hex(), public)
        self.ok("backup", "--recipient", public, "--prefix", self.prefix, str(self.bundle))
        self.refuses(INTEGRITY)
        with open(key, "rb") as file:
            self.ok("restore", "--key-fd", str(file.fileno()), str(self.bundle),
                    pass_fds=[file.fileno()], **self.there)
        self.assertEqual(self.names_there(), [self.prefix + "a"])

    def test_a_key_file_that_others_may_open_is_refused(self):
        self.ok("set", self.prefix + "a", stdin=b"x")
        self.back_up()
        key = self.folder / "open.key"
        key.write_bytes(self.private_key)
        words = ["restore", "--key", str(key), str(self.bundle)]
        for mode in (0o640, 0o604, 0o620, 0o666):
            with self.subTest(mode=oct(mode)):
                key.chmod(mode)
                line = self.fails(USAGE, *words, **self.there)
                for part in (str(key), "mode 0%o" % mode, "chmod 0600"):
                    self.assertIn(part, line)
        self.assertEqual(self.names_there(), [])
        key.chmod(0o400)
        self.ok(*words, **self.there)
        # What others have opened for us is not our file.
        key.chmod(0o666)
        with open(key, "rb") as file:
            self.ok("restore", "--key-fd", str(file.fileno()), str(self.bundle),
                    pass_fds=[file.fileno()], **self.there)

    def test_a_bundle_goes_through_pipes(self):
        self.ok("set", self.prefix + "a", stdin=b"x" * 100000)
        data = self.ok("backup", "--recipient", self.recipient.hex(), "--prefix", self.prefix, "-")
        self.ok("restore", "--key", str(self.key_file), "-", stdin=data, **self.there)
        self.assertEqual(self.ok("get", self.prefix + "a", **self.there), b"x" * 100000)

    def test_a_prefix_takes_a_part(self):
        for name in ("a/1", "a/2", "b/1"):
            self.ok("set", self.prefix + name, stdin=name.encode())
        self.back_up()
        self.assertEqual(self.restore("--prefix", self.prefix + "a/")["secrets"], 2)
        self.assertEqual(self.names_there(), [self.prefix + "a/1", self.prefix + "a/2"])

    def test_nothing_is_a_bundle_too(self):
        self.assertEqual(self.back_up()["secrets"], 0)
        self.assertEqual(self.restore()["secrets"], 0)

    def test_the_file_is_its_owners_and_appears_whole(self):
        self.ok("set", self.prefix + "a", stdin=b"x")
        self.bundle.write_bytes(b"before")
        self.bundle.chmod(0o644)
        self.fails(INTEGRITY, "restore", "--key", str(self.key_file), str(self.bundle),
                   **self.there)
        self.back_up()
        self.assertEqual(stat.S_IMODE(self.bundle.stat().st_mode), 0o600)
        self.bundle.write_bytes(b"before")
        result = self.run_mgctl("backup", "--recipient", self.recipient.hex(), str(self.bundle),
                                env={"MEMGUARD_SOCKET": "unix:/nowhere/socket"})
        self.assertNotEqual(result.returncode, OK)
        self.assertEqual(self.bundle.read_bytes(), b"before")
        self.assertEqual([p for p in os.listdir(self.folder) if p.startswith(".mgctl")], [])

    def test_a_full_disk_is_a_limit(self):
        self.ok("set", self.prefix + "a", stdin=os.urandom(1 << 20))
        with open("/dev/full", "wb") as full:
            self.fails(LIMIT, "backup", "--recipient", self.recipient.hex(), "--prefix",
                       self.prefix, "-", stdout=full)

    def test_many_come_back_as_they_were(self):
        with mgwire.Client(self.path) as client:
            fill(client, self.prefix.encode(), MANY)
        began = time.monotonic()
        self.assertEqual(self.back_up()["secrets"], MANY)
        between = time.monotonic()
        self.assertEqual(self.restore()["secrets"], MANY)
        ended = time.monotonic()
        print("# %d secrets: backup %.1f s, restore %.1f s" % (
            MANY, between - began, ended - between), flush=True)
        with mgwire.Client(self.path) as client, mgwire.Client(self.other.path) as other:
            mine = client.list(self.prefix.encode(), details=True)
            self.assertEqual(len(mine), MANY)
            self.assertEqual(mine, other.list(details=True))
            for info in mine:
                number = int(info.name.rsplit(b"/", 1)[1])
                value = other.get(info.name)
                self.assertEqual(value, b"value %d" % number)
                self.assertEqual(value, client.get(info.name))


def fill(client, prefix, count, window=48):
    """Stores many small secrets, several under way at a time."""
    for base in range(0, count, window):
        requests, frame = [], []
        for i in range(base, min(count, base + window)):
            value, data_key = b"value %d" % i, os.urandom(32)
            tags = [(b"n", b"%d" % i)] if i % 3 == 0 else []
            request = client.set_request(
                b"%s%05d/%d" % (prefix, i * 7919 % count, i), value, data_key, tags=tags)
            chunk = mgwire.seal_value(value, data_key)
            request.chunks.CopyFrom(mgwire.announce(0, chunk, True))
            requests.append(request)
            frame.append((request, chunk[0]))
            if len(frame) == 4 or i + 1 == min(count, base + window):
                client.send(*(one for one, _ in frame), chunks=b"".join(c for _, c in frame))
                frame = []
        for request in requests:
            client.answer(request)


class Format(BackupTest):
    """The page and the code say the same, in both directions."""

    def test_what_mgctl_writes_is_read_by_the_page(self):
        value = os.urandom(40000)
        self.ok("set", self.prefix + "a", "--tag", "k=v", "--freeze", stdin=value)
        self.ok("set", self.prefix + "b", "--ttl", "1h", "--idle-ttl", "2h", stdin=b"x")
        self.back_up()
        reader = Reader(self.bundle.read_bytes(), private_key=self.private_key)
        (a, chunks), (b, _) = reader.secrets
        self.assertEqual(len(chunks), 3)
        self.assertEqual((a.info.name.decode(), a.info.version, a.info.size, a.info.frozen),
                         (self.prefix + "a", 1, 40000, True))
        self.assertEqual([(tag.key, tag.value) for tag in a.info.tags], [(b"k", b"v")])
        self.assertEqual(a.owner, os.geteuid())
        self.assertEqual(b.info.left.idle_ms, 7200000)
        self.assertEqual(b.info.idle_left_ms, 0)
        self.assertTrue(3500000 < b.info.left.ttl_ms <= 3600000)
        self.assertEqual(reader.values(), {
            f"{self.prefix}a".encode(): value, f"{self.prefix}b".encode(): b"x"})

    def test_what_the_page_writes_is_read_by_mgctl(self):
        data = Writer(recipient=self.recipient).secret(
            b"web/a", b"one", version=7, created_ms=1000, changed_ms=2000,
            tags=[mgwire.pb.Tag(key=b"k", value=b"v")]).secret(
            b"web/b", b"two" * 20000, frozen=True).end()
        self.bundle.write_bytes(data)
        self.assertEqual(self.restore()["secrets"], 2)
        one = self.json("stat", "web/a", **self.there)[0]
        self.assertEqual((one["version"], one["created_ms"], one["changed_ms"], one["tags"]),
                         (7, 1000, 2000, {"k": "v"}))
        self.assertEqual(self.ok("get", "web/b", **self.there), b"two" * 20000)

    def test_no_value_and_no_name_is_in_a_bundle(self):
        value = b"yellow submarine" * 4
        self.ok("set", self.prefix + "name", "--tag", "tagged=tagged", stdin=value)
        self.back_up()
        data = self.bundle.read_bytes()
        for clear in (value[:16], b"name", b"tagged", self.private_key):
            self.assertNotIn(clear, data)


class Refusals(BackupTest):
    def small(self):
        return Writer(recipient=self.recipient).secret(b"a", b"one").secret(b"b", b"two" * 10).end()

    def test_every_flipped_byte_is_found(self):
        data = self.small()
        places = range(0, len(data), EACH)
        print("# %d of %d bytes" % (len(places), len(data)), flush=True)
        for place in places:
            with self.subTest(place=place):
                changed = bytearray(data)
                changed[place] ^= 1 << place % 8
                self.refuses(INTEGRITY, data=bytes(changed))
        self.assertEqual(self.names_there(), [])

    def test_every_cut_and_every_byte_more_is_found(self):
        data = self.small()
        sizes = range(0, len(data), EACH)
        print("# %d of %d lengths" % (len(sizes), len(data)), flush=True)
        for size in sizes:
            with self.subTest(size=size):
                self.refuses(INTEGRITY, data=data[:size])
        self.refuses(INTEGRITY, data=data + b"\0")
        self.refuses(INTEGRITY, data=data + data)
        self.assertEqual(self.names_there(), [])
        self.bundle.write_bytes(data)
        self.assertEqual(self.restore()["secrets"], 2)

    def test_a_head_for_a_passphrase_is_held_too(self):
        data = Writer(passphrase=b"p").secret(b"a", b"one").end()
        places = range(0, 60, EACH // 2 or 1)
        print("# %d of 60 bytes" % len(places), flush=True)
        for place in places:
            changed = bytearray(data)
            changed[place] ^= 1
            self.bundle.write_bytes(changed)
            options, given = self.with_passphrase(b"p")
            with self.subTest(place=place):
                self.fails(INTEGRITY, "restore", *options, str(self.bundle), **self.there, **given)
        self.assertEqual(self.names_there(), [])

    def test_a_head_that_asks_for_too_much_is_refused_at_once(self):
        data = Writer(passphrase=b"p").secret(b"a", b"one").end()
        for at, number in ((28, 0), (28, 17), (28, 0xffffffff), (32, 0), (32, 7),
                           (32, (1 << 20) + 1), (32, 0xffffffff)):
            changed = data[:at] + number.to_bytes(4, "little") + data[at + 4:]
            self.bundle.write_bytes(changed)
            options, given = self.with_passphrase(b"p")
            began = time.monotonic()
            self.fails(INTEGRITY, "restore", *options, str(self.bundle), **self.there, **given)
            self.assertLess(time.monotonic() - began, 30)

    def test_values_that_changed_places_are_found(self):
        def swapped(first, second):
            keys = [os.urandom(32), os.urandom(32)]
            records = [mgwire.pb.Record(data_key=key, info=mgwire.pb.Info(
                name=name, size=16, version=1)) for name, key in zip((b"a", b"b"), keys)]
            chunks = [mgwire.seal_value(b"0123456789abcdef", key) for key in keys]
            writer = Writer(recipient=self.recipient)
            writer.record(records[0], chunks[first])
            writer.record(records[1], chunks[second])
            return writer.end()
        self.refuses(INTEGRITY, data=swapped(1, 0))
        self.assertEqual(self.names_there(), [])
        self.bundle.write_bytes(swapped(0, 1))
        self.assertEqual(self.restore()["secrets"], 2)

    def test_messages_that_no_backup_writes_are_refused(self):
        def written(**fields):
            fields.setdefault("version", 1)
            return Writer(recipient=self.recipient).secret(b"a", b"x").secret(
                fields.pop("name", b"b"), b"one", **fields).end()
        lifetime = mgwire.pb.Lifetime
        for fields in ({"version": 0}, {"version": 1 << 48}, {"name": b"../b"}, {"name": b""},
                       {"stream": True}, {"left": lifetime(reads=1)}, {"left": lifetime(pid=1)},
                       {"left": lifetime(session=True)}, {"left": lifetime(ttl_ms=1 << 60)},
                       {"created_ms": -1}, {"changed_ms": 1 << 48}):
            with self.subTest(**fields):
                self.refuses(INTEGRITY, data=written(**fields))
        self.refuses(INTEGRITY, data=Writer(recipient=self.recipient).secret(b"a", b"x").end(2))
        self.refuses(INTEGRITY, data=Writer(recipient=self.recipient).secret(b"a", b"x").end(0))
        writer = Writer(recipient=self.recipient)
        writer.message(b"\xff" * 8000)
        self.refuses(INTEGRITY, data=writer.end(1))
        self.assertEqual(self.names_there(), [])

    def test_the_same_name_twice_is_refused(self):
        data = Writer(recipient=self.recipient).secret(b"a", b"x").secret(b"a", b"y").end()
        self.assertIn("staged already", self.refuses(7, data=data))
        self.assertEqual(self.names_there(), [])

    def test_a_frozen_name_refuses_all(self):
        self.bundle.write_bytes(self.small())
        self.ok("set", "b", "--freeze", stdin=b"before", **self.there)
        self.assertIn("b: the secret is frozen", self.refuses(FROZEN))
        self.assertEqual(self.names_there(), ["b"])
        self.assertEqual(self.ok("get", "b", **self.there), b"before")
        self.ok("melt", "b", **self.there)
        self.restore()
        self.assertEqual(self.ok("get", "b", **self.there), b"two" * 10)

    def test_a_streams_name_refuses_all(self):
        self.bundle.write_bytes(self.small())
        self.ok("stream", "write", "b", stdin=b"x", **self.there)
        self.refuses(USAGE)
        self.assertEqual(self.names_there(), ["b"])

    def test_names_that_exist_get_a_new_version(self):
        data = Writer(recipient=self.recipient).secret(b"a", b"one", version=2).secret(
            b"b", b"two", version=9).end()
        self.bundle.write_bytes(data)
        for name in ("a", "a", "a", "b"):
            self.ok("set", name, stdin=b"before", **self.there)
        self.restore()
        self.assertEqual(self.json("stat", "a", **self.there)[0]["version"], 4)
        self.assertEqual(self.json("stat", "b", **self.there)[0]["version"], 9)
        self.assertEqual(self.ok("get", "a", **self.there), b"one")
        self.restore()
        self.assertEqual(self.json("stat", "b", **self.there)[0]["version"], 10)
        self.assertEqual(self.ok("get", "b", **self.there), b"two")

    def test_a_value_over_the_limit_refuses_all(self):
        data = Writer(recipient=self.recipient).secret(b"a", b"x").secret(b"b", bytes(70000)).end()
        self.bundle.write_bytes(data)
        with Daemon("--max-value", "64k") as small:
            there = {"env": {"MEMGUARD_SOCKET": f"unix:{small.path}"}}
            self.assertIn("b: ", self.fails(LIMIT, "restore", "--key", str(self.key_file),
                                            str(self.bundle), **there))
            self.assertEqual(self.ok("ls", **there), b"")

    def test_command_lines_that_make_no_sense(self):
        file, key, public = str(self.bundle), str(self.key_file), self.recipient.hex()
        for words in (["backup"], ["backup", file, file], ["backup", "--recipient", "abc", file],
                      ["backup", "--recipient", public, "--passphrase-fd", "0", file],
                      ["backup", "--no-input", file], ["restore"], ["restore", "--no-input", file],
                      ["backup", "--new-key", key, file], ["restore", "--key", file, file],
                      ["restore", "--key", key, "--key-fd", "0", file],
                      ["restore", "--key", key, "--passphrase-fd", "0", file],
                      ["restore", "--key", key, "/nowhere/bundle"],
                      ["backup", "--recipient", public, "/nowhere/bundle"],
                      ["backup", "--recipient", public, "/dev/null"],
                      ["backup", "--recipient", public, "--prefix", "../", file],
                      ["backup", "--json", "--recipient", public, "-"]):
            with self.subTest(words=words):
                self.fails(USAGE, *words)
        options, given = self.with_passphrase(b"\n")
        self.fails(USAGE, "backup", *options, file, **given)
        self.assertFalse(self.bundle.exists())

    def test_zeros_as_a_public_key_are_refused(self):
        self.fails(USAGE, "backup", "--recipient", "0" * 64, str(self.bundle))


def memory_of(pid):
    """What root can read of a process, region by region."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, \
            open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            begin, end = (int(word, 16) for word in line.split()[0].split("-"))
            if line.split()[1][0] != "r" or line.endswith(("[vvar]\n", "[vsyscall]\n")):
                continue
            try:
                memory.seek(begin)
                yield memory.read(end - begin)
            except (OSError, OverflowError, ValueError):
                pass


@unittest.skipUnless(ROOT, "needs root, to read another process's memory")
@unittest.skipIf(SANITIZED, "the sanitizers map more than can be read")
class Residue(BackupTest):
    """On neither way is a value opened. What is sealed is found, so the look finds what is there."""

    def looks(self, process, value, sealed, *keys):
        found = {"value": 0, "key": 0, "sealed": 0}
        for region in memory_of(process.pid):
            found["value"] += region.count(value[:32]) + region.count(value[-32:])
            found["key"] += sum(region.count(key) for key in keys)
            found["sealed"] += region.count(sealed[:32]) + region.count(sealed[-32:])
        self.assertGreater(found.pop("sealed"), 0)
        if b"memfd_secret" not in self.ok("status"):
            found.pop("key")
        self.assertEqual(set(found.values()), {0}, found)

    def start(self, *words, **options):
        return subprocess.Popen([MGCTL, *words], env={**self.environment, **self.there["env"]},
                                **options)

    def looks_while_writing(self, *words, keys=(), **options):
        value = os.urandom(16000)
        with mgwire.Client(self.other.path) as client:
            for i in range(40):
                client.set(b"%02d" % i, value)
            record = client.request(export=mgwire.pb.Export(after=b"07"))
            client.send(record)
            reply, chunks = client.answer(record)
        # The pipe takes 64 KiB of it, the buffer as much again.
        process = self.start("backup", *words, "-", stdout=subprocess.PIPE, **options)
        try:
            self.assertTrue(select.select([process.stdout], [], [], 30)[0])
            time.sleep(1)
            self.assertIsNone(process.poll())
            self.looks(process, value, chunks[0], reply.record.data_key, *keys)
        finally:
            process.kill()
            process.communicate()

    def test_no_value_is_open_while_a_bundle_is_written(self):
        self.looks_while_writing("--recipient", self.recipient.hex())

    def test_no_passphrase_is_left_while_a_bundle_is_written(self):
        passphrase = os.urandom(20).hex().encode()
        options, given = self.with_passphrase(passphrase + b"\n")
        self.looks_while_writing(*options, keys=[passphrase[:16], passphrase[-16:]], **given)

    def test_no_value_is_open_while_a_bundle_is_read(self):
        value = os.urandom(16000)
        writer = Writer(recipient=self.recipient)
        for i in range(40):
            writer.secret(b"%02d" % i, value)
        data = writer.end()
        record, chunks = Reader(data, private_key=self.private_key).secrets[-1]
        process = self.start("restore", "--key", str(self.key_file), "-", stdin=subprocess.PIPE)
        try:
            # All but the end: it waits for that, and has read the last secret.
            process.stdin.write(data[:-20])
            process.stdin.flush()
            time.sleep(1)
            self.assertIsNone(process.poll())
            self.looks(process, value, chunks[0], record.data_key)
        finally:
            process.kill()
            process.communicate()
        self.assertEqual(self.names_there(), [])


class Terminals(TerminalTest):
    def test_a_passphrase_is_asked_for_twice_and_once(self):
        bundle = str(self.folder / "terminal.bundle")
        self.ok("set", self.name, stdin=b"x")
        for words, count in ((("backup", bundle), 2), (("restore", bundle), 1)):
            terminal = self.terminal(*words)
            terminal.expect(b"passphrase of the bundle: ")
            terminal.type(b"correct horse\n")
            if count == 2:
                terminal.expect(b"once more: ")
                terminal.type(b"correct horse\n")
            self.assertEqual(terminal.end(), OK, terminal.shown)
            self.assertNotIn(b"horse", terminal.shown)
            self.assertRegex(terminal.shown, rb"(backed up|read) [0-9]+ secrets?, ")
            self.assertRegex(terminal.shown, rb"(backed up|restored) [0-9]+ secrets? \(")

    def test_two_that_differ_write_nothing(self):
        bundle = self.folder / "differ.bundle"
        terminal = self.terminal("backup", str(bundle))
        terminal.expect(b": ")
        terminal.type(b"correct horse\n")
        terminal.expect(b": ")
        terminal.type(b"correct house\n")
        self.assertEqual(terminal.end(), USAGE)
        self.assertFalse(bundle.exists())

    def test_quiet_shows_no_progress(self):
        bundle = str(self.folder / "quiet.bundle")
        terminal = self.terminal("-q", "backup", "--recipient", "12" * 32, bundle)
        self.assertEqual(terminal.end(), OK)
        self.assertEqual(terminal.shown, b"")

    def test_no_bundle_goes_to_a_terminal(self):
        for words in (["backup", "--recipient", "12" * 32, "-"], ["restore", "-"]):
            terminal = self.terminal(*words)
            self.assertEqual(terminal.end(), USAGE)
            self.assertIn(b"terminal", terminal.shown)


class Strangers(StrangerTest):
    def test_everybody_backs_up_its_own_and_nothing_else(self):
        self.store(b"shared")
        self.ok("set", f"~{NOBODY}/own", stdin=b"1")
        key = os.urandom(32)
        public = sodium.crypto_scalarmult_base(key)
        result = self.as_nobody("backup", "--recipient", public.hex(), "--prefix", "~/o", "-")
        reader = Reader(result.stdout, private_key=key)
        self.assertEqual(reader.values(), {b"~/own": b"1"})
        self.assertEqual(reader.secrets[0][0].owner, 0)

    def test_an_owner_comes_back_for_root_alone(self):
        key = os.urandom(32)
        public = sodium.crypto_scalarmult_base(key)
        place = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        place.chmod(0o755)
        (place / "key").write_bytes(key)
        # Nobody's own; root may open it all the same.
        (place / "key").chmod(0o600)
        os.chown(place / "key", NOBODY, NOBODY)
        name = b"~%d/x" % NOBODY
        for data, program, status in (
                (Writer(recipient=public).secret(name, b"1", owner=4711).end(), "root", OK),
                (Writer(recipient=public).secret(b"~/x", b"2", owner=4711).end(), "nobody", OK),
                (Writer(recipient=public).secret(b"~/x", b"3").secret(b"y", b"3").end(), "nobody",
                 DENIED)):
            words = ["restore", "--key", str(place / "key"), "-"]
            command = [MGCTL, *words] if program == "root" else self.nobody(*words)
            result = subprocess.run(command, input=data, env=self.environment,
                                    stderr=subprocess.PIPE)
            self.assertEqual(result.returncode, status, result.stderr)
            owner, value = {"root": (4711, b"1"), "nobody": (NOBODY, b"2")}[program]
            with mgwire.Client(self.path) as client:
                reply = client.ask(client.request(export=mgwire.pb.Export(prefix=name)))
                self.assertEqual(reply.record.owner, owner)
                self.assertEqual(client.get(name), value)
        self.fails(NOT_FOUND, "get", "y")
