# SPDX-License-Identifier: Apache-2.0
"""A daemon that lies, in front of mgctl: right keys, wrong answers. What it announces is neither
believed nor allocated, it keeps nobody longer than the time limit, and nothing of it steers a
terminal."""

import hashlib
import itertools
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import mgwire
from mgwire import HELLO_SIZE, Closed, Wire, bind, frame_nonce, pb, seal_chunk, sodium

MGCTL = os.environ["MGCTL"]
KEY = bytes(32)
VALUE = b"v" * 100
WHOLE = mgwire.seal_value(VALUE, KEY)
LONG = mgwire.seal_value(bytes(40000), KEY)
OK, UNREACHABLE, LIMIT, TIMEOUT, PROTOCOL, INTEGRITY, INTERNAL = 0, 6, 8, 9, 10, 11, 70
CONTROLS = b"\x1b[31m\x07\n"


class LyingWire(Wire):
    """The daemon's end of a connection."""

    def __init__(self, connection):
        self.socket = connection
        self.sent = self.received = 0
        theirs = self.read(HELLO_SIZE)
        public_key, secret_key = sodium.crypto_kx_keypair()
        ours = mgwire.hello(public_key)
        transcript = hashlib.blake2b(theirs + ours, digest_size=32).digest()
        keys = sodium.crypto_kx_server_session_keys(public_key, secret_key, theirs[16:48])
        self.rx, self.tx = (bind(key, transcript) for key in keys)
        self.write(ours)

    def sealed(self, replies, chunks=()):
        data = b"".join(chunks)
        frame = mgwire.seal_frame(mgwire.pack(replies), len(data), self.sent, self.tx) + data
        self.sent += 1
        return frame

    def say(self, *replies, chunks=()):
        self.write(self.sealed(replies, chunks))

    def requests(self):
        header = self.read(8)
        size, chunks = struct.unpack("<II", header)
        plain = sodium.crypto_aead_chacha20poly1305_ietf_decrypt(
            self.read(size), header, frame_nonce(self.received), self.rx)
        self.received += 1
        self.read(chunks)
        while plain:
            size = struct.unpack("<H", plain[:2])[0]
            yield pb.Request.FromString(plain[2:2 + size])
            plain = plain[2 + size:]


# -- lies: each is given the wire and the request ------------------------------------------------

def value(size=100, chunks=WHOLE, key=KEY, shift=0, **announced):
    """Answers with a value; `announced` replaces what is true of the chunks."""
    truth = {"first": 0, "count": len(chunks), "last": len(chunks[-1]) if chunks else 0,
             "final": True}

    def lie(wire, request):
        wire.say(pb.Reply(id=request.id + shift,
                          value=pb.Value(version=1, size=size, data_key=key),
                          chunks=pb.Chunks(**{**truth, **announced})), chunks=chunks)
    return lie


def answer(**fields):
    return lambda wire, request: wire.say(pb.Reply(id=request.id, **fields))


def info(name=b"n", **fields):
    return pb.Info(name=name, version=1, size=1, **fields)


def entry(told):
    return lambda wire, request: wire.say(pb.Reply(id=request.id, info=told),
                                          pb.Reply(id=request.id, listing=pb.Listing()))


def endless_names(wire, request):
    while True:
        wire.say(*[pb.Reply(id=request.id, info=info(b"n%d" % i)) for i in range(20)])


def endless_pages(wire, request):
    wire.say(pb.Reply(id=request.id, listing=pb.Listing(more=True, next=b"n")))


def endless_marks(wire, request):
    """Answers a watch again and again, and never with a change."""
    for number in itertools.count(1):
        wire.say(pb.Reply(id=request.id, mark=pb.Mark(number=number)))
        time.sleep(0.1)


def dripped(wire, request):
    for byte in wire.sealed([pb.Reply(id=request.id)]):
        wire.write(bytes([byte]))
        time.sleep(0.2)


def nothing(wire, request):
    pass


def part(code=0, stream=5, segment=1, key=KEY, chunks=WHOLE, **announced):
    """Answers a read of a stream, each time the same; what is acknowledged is acknowledged."""
    truth = {"first": 0, "count": len(chunks or ()), "last": len(chunks[-1]) if chunks else 0,
             "final": True}

    def lie(wire, request):
        reply = pb.Reply(id=request.id)
        if request.stream_read.acknowledge:
            wire.say(reply)
            return
        reply.code = code
        reply.part.CopyFrom(pb.Part(stream=stream, segment=segment, data_key=key))
        if chunks is not None:
            reply.chunks.CopyFrom(pb.Chunks(**{**truth, **announced}))
        wire.say(reply, chunks=chunks or ())
    return lie


def record(size=100, chunks=WHOLE, key=KEY, name=b"n", again=False, left=None):
    """Answers an export, and the next one with the end."""
    def lie(wire, request):
        if request.export.after and not again:
            wire.say(pb.Reply(id=request.id, listing=pb.Listing()))
            return
        wire.say(pb.Reply(
            id=request.id,
            record=pb.Record(data_key=key, info=pb.Info(
                name=name, version=1, size=size, left=left)),
            chunks=pb.Chunks(count=len(chunks), last=len(chunks[-1]), final=True)), chunks=chunks)
    return lie


def told(*said):
    """Answers a watch."""
    return lambda wire, request: wire.say(*[
        pb.Reply(id=request.id, event=one) if isinstance(one, pb.Event) else
        pb.Reply(id=request.id, mark=one) for one in said])


def event(number, name=b"n", change=1):
    return pb.Event(number=number, name=name, change=change, version=1)


MIB = 1 << 20
UNLOCK = "--timeout 20s unlock"


def locked(passes, memory):
    """Tells how the key was made, and takes any."""
    def lie(wire, request):
        wire.say(pb.Reply(id=request.id) if request.HasField("unlock") else
                 pb.Reply(id=request.id, state=pb.State(
                     vault_locked=True, lock_salt=bytes(16), lock_opslimit=passes,
                     lock_memlimit=memory)))
    return lie


MARK = pb.Mark(number=1)
BACKUP = "backup --recipient %s -" % sodium.crypto_scalarmult_base(b"k" * 32).hex()
STORED = pb.Stored(version=1)
TAGS = [pb.Tag(key=b"k%d" % i, value=b"v") for i in range(17)]

LIES = [
    ("a value as it is", "get x", value(), OK),
    ("more than there is memory", "get x", value(size=2 ** 64 - 1), PROTOCOL),
    ("more than there is memory, for one field", "get x --field /a",
     value(size=2 ** 40, chunks=LONG[:2], final=False), PROTOCOL),
    ("a value of no bytes", "get x", value(size=0, chunks=[]), PROTOCOL),
    ("an empty chunk", "get x", value(chunks=[seal_chunk(b"", 0, True, KEY)]), PROTOCOL),
    ("an answer to something else", "get x", value(shift=1), PROTOCOL),
    ("a short key", "get x", value(key=bytes(31)), PROTOCOL),
    ("no key", "get x", value(key=b""), PROTOCOL),
    ("another key", "get x", value(key=bytes(31) + b"\1"), INTEGRITY),
    ("more than announced", "get x", value(size=50), INTEGRITY),
    ("less than announced", "get x", value(size=150), INTEGRITY),
    ("no end", "get x", value(final=False), INTEGRITY),
    ("chunks beyond number", "get x", value(count=2 ** 32 - 1), PROTOCOL),
    ("a chunk beyond size", "get x", value(last=2 ** 32 - 1), PROTOCOL),
    ("a chunk of size 0", "get x", value(last=0), PROTOCOL),
    ("a count of 0", "get x", value(chunks=[], count=0), PROTOCOL),
    ("a chunk out of order", "get x", value(first=5), INTEGRITY),
    ("bytes that no message claims", "get x", value(chunks=[*WHOLE, b"more"], count=1, last=116),
     PROTOCOL),
    ("something else than a value", "get x", answer(info=info()), PROTOCOL),
    ("nothing but success", "get x", answer(), PROTOCOL),
    ("a value for a set", "set x", value(), PROTOCOL),
    ("nothing but success for a set", "set x", answer(), PROTOCOL),
    ("a status that is none yet", "ping", answer(code=77, detail=b"words"), INTERNAL),
    ("a status out of range", "ping", answer(code=2 ** 32 - 1, detail=b"words"), PROTOCOL),
    ("words that steer", "ping", answer(code=8, detail=CONTROLS), PROTOCOL),
    ("words without end", "ping", answer(code=8, detail=b"x" * 3000), LIMIT),
    ("a name that steers", "ls", entry(info(CONTROLS)), PROTOCOL),
    ("a name without end", "ls", entry(info(b"n" * 3000)), PROTOCOL),
    ("too many tags", "ls", entry(info(tags=TAGS)), PROTOCOL),
    ("a tag that steers", "stat x", answer(info=info(tags=[pb.Tag(key=b"k", value=CONTROLS)])),
     PROTOCOL),
    ("a version that steers", "status", answer(state=pb.State(version=CONTROLS)), PROTOCOL),
    ("a lock whose key is cheap to guess by", UNLOCK, locked(2, 256 * MIB), INTEGRITY),
    ("another one", UNLOCK, locked(3, 256 * MIB - 1), INTEGRITY),
    ("a lock whose key takes too long", UNLOCK, locked(17, 256 * MIB), LIMIT),
    ("a lock whose key takes too much", UNLOCK, locked(3, 1024 * MIB + 1), LIMIT),
    ("a lock that it opens", UNLOCK, locked(3, 256 * MIB), OK),
    ("times out of range", "stat x", answer(info=info(created_ms=2 ** 63 - 1,
                                                      changed_ms=-2 ** 63)), OK),
    ("names without end", "--timeout 1s ls", endless_names, TIMEOUT),
    ("pages without end", "--timeout 1s ls", endless_pages, TIMEOUT),
    ("byte by byte", "--timeout 1s ping", dripped, TIMEOUT),
    ("silence", "--timeout 1s ping", nothing, TIMEOUT),
    ("silence after a set", "--timeout 1s set x", nothing, TIMEOUT),
    ("a stored version", "set x", answer(stored=STORED), OK),
    ("a version of what was rotated", "rotate x", answer(stored=STORED), OK),
    ("a value for a rotation", "rotate x", value(), PROTOCOL),
    ("nothing but success for a rotation", "rotate x", answer(), PROTOCOL),
    ("a version of what was moved", "mv x y", answer(stored=STORED), OK),
    ("a value for a move", "mv x y", value(), PROTOCOL),
    ("nothing but success for a move", "mv x y", answer(), PROTOCOL),
    ("words that steer for a move", "mv x y",
     answer(code=7, detail=CONTROLS, stored=pb.Stored()), PROTOCOL),
    ("silence after a move", "--timeout 1s mv x y", nothing, TIMEOUT),
    ("a part as it is", "stream read x", part(), OK),
    ("a part of no chunks", "stream read x",
     part(chunks=[], count=0, final=False, abort=True), PROTOCOL),
    ("a part of nothing", "stream read x", part(chunks=None, key=b""), PROTOCOL),
    ("a part without its key", "stream read x", part(key=b""), PROTOCOL),
    ("a part under another key", "stream read x", part(key=bytes(31) + b"\1"), INTEGRITY),
    ("a part of no stream", "stream read x", part(stream=0), PROTOCOL),
    ("the same part again and again", "stream read x", part(chunks=LONG[:2], final=False),
     INTEGRITY),
    ("a short chunk in the midst", "stream read x", part(final=False), INTEGRITY),
    ("an end that is none", "stream read x", part(chunks=LONG[:1]), INTEGRITY),
    ("chunks that follow the last number", "stream read x",
     part(chunks=LONG[:2], first=2 ** 64 - 1), INTEGRITY),
    ("chunks of what is incomplete", "stream read x", part(code=11), PROTOCOL),
    ("an incomplete segment", "stream read x", part(code=11, key=b"", chunks=None), INTEGRITY),
    ("something else than a part", "stream read x", value(), PROTOCOL),
    ("nothing but success for a read", "stream read x", answer(), PROTOCOL),
    ("a chunk that was taken", "stream write x", answer(taken=pb.Taken(next=1)), OK),
    ("more taken than was sent", "stream write x", answer(taken=pb.Taken(next=2)), PROTOCOL),
    ("a part for a write", "stream write x", part(), PROTOCOL),
    ("nothing but success for a write", "stream write x", answer(), PROTOCOL),
    ("silence after a write", "--timeout 1s stream write x", nothing, TIMEOUT),
    ("a change", "watch --once", told(MARK, event(2)), OK),
    ("a change that is none yet", "watch --once", told(MARK, event(2, change=77)), OK),
    ("a change of a name that steers", "watch --once", told(MARK, event(2, CONTROLS)), PROTOCOL),
    ("a change of a name without end", "watch --once", told(MARK, event(2, b"n" * 3000)),
     PROTOCOL),
    ("a change before anything is watched", "watch --once", told(event(2)), PROTOCOL),
    ("a change once more", "--timeout 1s watch none",
     told(MARK, pb.Mark(number=5), event(5)), PROTOCOL),
    ("a change for a name", "get x", told(event(2)), PROTOCOL),
    ("a value for a change", "watch --once", value(), PROTOCOL),
    ("nothing but success for a watch", "watch --once", answer(), PROTOCOL),
    ("silence for a watch", "--timeout 1s watch", nothing, TIMEOUT),
    ("silence once it is on", "--timeout 1s watch", told(MARK), TIMEOUT),
    ("nothing new once it is on, again and again", "--timeout 1s watch", endless_marks, TIMEOUT),
    ("a record as it is", BACKUP, record(), OK),
    ("a record under another key", BACKUP, record(key=bytes(31) + b"\1"), INTEGRITY),
    ("a record with a short key", BACKUP, record(key=bytes(31)), PROTOCOL),
    ("more of a record than announced", BACKUP, record(size=50), INTEGRITY),
    ("less of a record than announced", BACKUP, record(size=150), INTEGRITY),
    ("a record of no bytes", BACKUP, record(size=0), PROTOCOL),
    ("a record that steers", BACKUP, record(name=CONTROLS), PROTOCOL),
    ("a record that ends with us", BACKUP, record(left=pb.Lifetime(session=True)), PROTOCOL),
    ("a record without an outside", BACKUP, answer(record=pb.Record(data_key=KEY)), PROTOCOL),
    ("the same record again and again", BACKUP, record(again=True), PROTOCOL),
    ("a value for a record", BACKUP, value(), PROTOCOL),
    ("nothing but success for a record", BACKUP, answer(), PROTOCOL),
    ("silence for a record", "--timeout 1s " + BACKUP, nothing, TIMEOUT),
    ("pages of no records without end", "--timeout 1s " + BACKUP, endless_pages, TIMEOUT),
]


class Liar:
    """Serves connections with one lie."""

    def __init__(self, path, lie):
        path.unlink(missing_ok=True)
        self.lie = lie
        self.threads = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.begin(self.accept)

    def begin(self, function, *args):
        thread = threading.Thread(target=function, args=args, daemon=True)
        thread.start()
        self.threads.append(thread)

    def accept(self):
        try:
            while True:
                self.begin(self.serve, self.listener.accept()[0])
        except OSError:
            pass

    def serve(self, connection):
        try:
            with LyingWire(connection) as wire:
                while True:
                    for request in wire.requests():
                        self.lie(wire, request)
        except (Closed, OSError):
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Waits for the threads: one that is still at a message when the interpreter ends would
        take it down with it."""
        self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)
        self.listener.close()


class Leaver(Liar):
    """Says nothing but the truth, and closes the first connections before it greets anybody."""

    def __init__(self, path, times):
        self.left = times
        super().__init__(path, value())

    def serve(self, connection):
        if self.left > 0:
            self.left -= 1
            connection.recv(HELLO_SIZE)
            connection.close()
        else:
            super().serve(connection)


class LyingDaemon(unittest.TestCase):
    def test_who_is_cut_off_at_the_greeting_comes_once_more(self):
        """As a daemon does that leaves everything to the next one."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, folder)
        for times, status in ((1, OK), (2, UNREACHABLE)):
            with self.subTest(times), Leaver(folder / "socket", times):
                done = subprocess.run(
                    [MGCTL, "--socket", f"unix:{folder}/socket", "get", "x"], timeout=60,
                    capture_output=True, check=False)
                self.assertEqual(done.returncode, status, done.stderr)

    def test_what_is_not_true_is_found_out(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, folder)
        for what, line, lie, status in LIES:
            with self.subTest(what), Liar(folder / "socket", lie):
                done = subprocess.run(
                    [MGCTL, *line.split()],
                    input=b"a value" if re.search("set|write|rotate|unlock", line) else b"",
                    env=dict(os.environ, MEMGUARD_SOCKET=str(folder / "socket")),
                    capture_output=True, timeout=60, check=False)
                self.assertEqual(done.returncode, status, done.stderr)
                # A backup tells what it has done, too.
                self.assertEqual(
                    len(done.stderr.splitlines()), int(status != OK or BACKUP in line))
                for control in (b"\x1b", b"\x07"):
                    self.assertNotIn(control, done.stderr)
                    if BACKUP not in line:  # what is sealed may have any byte
                        self.assertNotIn(control, done.stdout)
                if line == "get x" or what.startswith("a part"):
                    self.assertEqual(done.stdout, VALUE if status == OK else b"")
