# SPDX-License-Identifier: Apache-2.0
"""A client for memguardd, from proto/PROTOCOL.md and memguard.proto alone.

`Client` does what a client does; `Wire` below it lets a test say anything. Needs $PROTO_DIR (where
memguard_pb2.py lies), python3-protobuf and python3-nacl. Values are ordinary bytes here: this is a
proof of the protocol, not a place to keep secrets in.
"""

import hashlib
import os
import socket
import struct
import sys

sys.path.insert(0, os.environ["PROTO_DIR"])

import memguard_pb2 as pb  # noqa: E402
import nacl.bindings as sodium  # noqa: E402
import nacl.exceptions  # noqa: E402

MAGIC = b"MGRD"
HELLO_SIZE = 48
CHACHA20_POLY1305_IETF = 1
SEALED_MAX = 8192
CHUNKS_MAX = 65600
CHUNK_PLAIN = 16384
CHUNK_SIZE = CHUNK_PLAIN + 16
FRAME_CHUNKS = 4

(OK, INVALID, NOT_FOUND, DENIED, CONFLICT, LIMIT, TIMEOUT, PROTOCOL, INTEGRITY, GONE, FROZEN,
 INTERNAL) = (0, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13, 70)


class Refused(Exception):
    """An answer with a code other than 0."""

    def __init__(self, reply):
        super().__init__("%d: %s" % (reply.code, reply.detail.decode()))
        self.code = reply.code
        self.reply = reply


class Broken(Exception):
    """What came is not what the page allows."""


class Closed(Exception):
    """The daemon has closed the connection."""


class TurnedAway(Exception):
    """A Hello that tells which quota is in the way."""

    def __init__(self, refusal):
        super().__init__("refusal %d" % refusal)
        self.refusal = refusal


# -- pieces that have test vectors ---------------------------------------------------------------

def hello(public_key, low=1, high=1, ciphers=CHACHA20_POLY1305_IETF, size=HELLO_SIZE,
          magic=MAGIC, reserved=0):
    return struct.pack("<4sHBBII", magic, size, low, high, ciphers, reserved) + public_key


def bind(key, transcript):
    return hashlib.blake2b(transcript, key=key, digest_size=32).digest()


def frame_keys(public_key, secret_key, client_hello, daemon_hello):
    """The client's keys, to receive and to send with."""
    transcript = hashlib.blake2b(client_hello + daemon_hello, digest_size=32).digest()
    rx, tx = sodium.crypto_kx_client_session_keys(public_key, secret_key, daemon_hello[16:48])
    return bind(rx, transcript), bind(tx, transcript)


def frame_nonce(number):
    return bytes(4) + struct.pack("<Q", number)


def seal_frame(plain, chunks_size, number, key):
    header = struct.pack("<II", len(plain) + 16, chunks_size)
    return header + sodium.crypto_aead_chacha20poly1305_ietf_encrypt(
        plain, header, frame_nonce(number), key)


def chunk_nonce(number, final):
    return struct.pack("<QB", number, int(final)) + bytes(15)


def seal_chunk(piece, number, final, data_key):
    return sodium.crypto_secretbox(piece, chunk_nonce(number, final), data_key)


def open_chunk(chunk, number, final, data_key):
    try:
        return sodium.crypto_secretbox_open(chunk, chunk_nonce(number, final), data_key)
    except nacl.exceptions.CryptoError:
        raise Broken("a chunk does not open") from None


def seal_value(value, data_key):
    pieces = [value[at:at + CHUNK_PLAIN] for at in range(0, len(value), CHUNK_PLAIN)]
    return [seal_chunk(piece, number, number + 1 == len(pieces), data_key)
            for number, piece in enumerate(pieces)]


def pack(messages):
    """The plaintext of a sealed part."""
    encoded = [message if isinstance(message, bytes) else message.SerializeToString()
               for message in messages]
    return b"".join(struct.pack("<H", len(message)) + message for message in encoded)


def announce(first, chunks, final, **fields):
    """The Chunks that go before some of a value's chunks."""
    return pb.Chunks(first=first, count=len(chunks), last=len(chunks[-1]) if chunks else 0,
                     final=final, **fields)


def rotated(grace_ms):
    """The Rotation with that grace; for None there is none."""
    return None if grace_ms is None else pb.Rotation(grace_ms=grace_ms)


def level(grace_ms, limited=False):
    """The lowest that knows a rotation with that grace, or what limits a lifetime."""
    if grace_ms is not None:
        return {"level": 3}
    return {"level": 2} if limited else {}


# -- the connection ------------------------------------------------------------------------------

class Wire:
    """A connection: frames, sealed and opened, and nothing that must be so."""

    def __init__(self, path, shake=True, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.sent = 0
        self.received = 0
        self.waiting = []  # replies that came in one frame with others
        if shake:
            self.shake_hands()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def write(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def read(self, size):
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed
            data += more
        return data

    def read_hello(self):
        head = self.read(6)
        size = struct.unpack("<H", head[4:])[0]
        if head[:4] != MAGIC or not 48 <= size <= 128:
            raise Broken("no Hello")
        return head + self.read(size - 6)

    def shake_hands(self, **fields):
        public_key, secret_key = sodium.crypto_kx_keypair()
        ours = hello(public_key, **fields)
        try:
            self.write(ours)
        except Closed:
            pass  # whoever is not let in is told why before he has said anything
        theirs = self.read_hello()
        low, high, ciphers, refusal = struct.unpack("<BBIB", theirs[6:13])
        if refusal and (ciphers, theirs[16:48]) == (0, bytes(32)):
            raise TurnedAway(refusal)
        if (low, high, ciphers) != (1, 1, CHACHA20_POLY1305_IETF):
            raise Broken("the daemon chose what was not offered")
        self.receive_key, self.send_key = frame_keys(public_key, secret_key, ours, theirs)

    def frame(self, messages, chunks=b""):
        """Seals the next frame."""
        number, self.sent = self.sent, self.sent + 1
        return seal_frame(pack(messages), len(chunks), number, self.send_key) + chunks

    def send(self, *messages, chunks=b""):
        self.write(self.frame(messages, chunks))

    def read_frame(self):
        header = self.read(8)
        sealed_size, chunks_size = struct.unpack("<II", header)
        if not 19 <= sealed_size <= SEALED_MAX or chunks_size > CHUNKS_MAX:
            raise Broken("a frame of a size that is not allowed")
        sealed = self.read(sealed_size)
        chunks = self.read(chunks_size)
        try:
            plain = sodium.crypto_aead_chacha20poly1305_ietf_decrypt(
                sealed, header, frame_nonce(self.received), self.receive_key)
        except nacl.exceptions.CryptoError:
            raise Broken("a frame does not open") from None
        self.received += 1
        return plain, chunks

    def read_replies(self):
        """All replies of the next frame, each with its chunks."""
        plain, chunks = self.read_frame()
        replies = []
        while plain:
            size = struct.unpack("<H", plain[:2])[0]
            reply = pb.Reply.FromString(plain[2:2 + size])
            plain = plain[2 + size:]
            mine = []
            for i in range(reply.chunks.count):
                last = i + 1 == reply.chunks.count
                length = reply.chunks.last if last else CHUNK_SIZE
                mine.append(chunks[:length])
                chunks = chunks[length:]
            replies.append((reply, mine))
        if chunks:
            raise Broken("chunks that no message claims")
        return replies

    def receive(self):
        while not self.waiting:
            self.waiting = self.read_replies()
        return self.waiting.pop(0)

    def is_closed(self, seconds=15):
        """Whether the daemon closes within that time, saying nothing more."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


class Client(Wire):
    """What a well-behaved client does, one call at a time."""

    last_id = 0

    def request(self, **fields):
        self.last_id += 1
        return pb.Request(id=self.last_id, **fields)

    def change(self, number=None, **fields):
        return self.request(number=number or os.urandom(16), **fields)

    def answer(self, request):
        reply, chunks = self.receive()
        if reply.id != request.id:
            raise Broken("an answer to something else")
        if reply.code:
            raise Refused(reply)
        return reply, chunks

    def ask(self, request):
        self.send(request)
        return self.answer(request)[0]

    def ping(self):
        self.ask(self.request(ping=pb.Ping()))

    def status(self):
        return self.ask(self.request(status=pb.Status())).state

    def whoami(self):
        return self.ask(self.request(whoami=pb.Whoami())).caller

    def explain(self, operation, name, *selectors):
        return self.ask(self.request(explain=pb.Explain(
            operation=operation, name=name, **{"as": selectors}))).verdict

    def lock(self, key, number=None, salt=bytes(16), opslimit=3, memlimit=1 << 28):
        """Whatever the key was made of."""
        self.ask(self.change(number=number, lock=pb.Lock(
            key=key, salt=salt, opslimit=opslimit, memlimit=memlimit)))

    def unlock(self, key, number=None):
        self.ask(self.change(number=number, unlock=pb.Unlock(key=key)))

    def stat(self, name):
        return self.ask(self.request(stat=pb.Stat(name=name))).info

    def remove(self, name, **conditions):
        self.ask(self.change(remove=pb.Remove(
            name=name, conditions=pb.Conditions(**conditions))))

    def touch(self, name, ttl_ms, **conditions):
        return self.ask(self.change(level=2, touch=pb.Touch(
            name=name, ttl_ms=ttl_ms, conditions=pb.Conditions(**conditions)))).stored.version

    def freeze(self, name, **conditions):
        return self.ask(self.change(freeze=pb.Freeze(
            name=name, conditions=pb.Conditions(**conditions)))).stored.version

    def melt(self, name, **conditions):
        return self.ask(self.change(melt=pb.Melt(
            name=name, conditions=pb.Conditions(**conditions)))).stored.version

    def move(self, name, to, number=None, **conditions):
        return self.ask(self.change(number=number, level=3, move=pb.Move(
            name=name, to=to, conditions=pb.Conditions(**conditions)))).stored.version

    def issue_token(self, name, *grants, number=None, **fields):
        """`grants` are pairs of operations and a glob. Gives the 32 bytes."""
        return self.ask(self.change(number=number, issue_token=pb.IssueToken(
            name=name, grants=[pb.Grant(operations=operations, glob=glob)
                               for operations, glob in grants], **fields))).issued.token

    def list_tokens(self):
        found, after = [], b""
        while True:
            request = self.request(list_tokens=pb.ListTokens(after=after))
            self.send(request)
            reply = self.answer(request)[0]
            while reply.HasField("token"):
                found.append(reply.token)
                reply = self.answer(request)[0]
            if not reply.listing.more:
                return found
            after = reply.listing.next

    def revoke_token(self, name, number=None):
        self.ask(self.change(number=number, revoke_token=pb.RevokeToken(name=name)))

    def show_token(self, token):
        """Empty: none any more."""
        self.ask(self.request(show_token=pb.ShowToken(token=token)))

    def wrap(self, name, number=None, **fields):
        return self.ask(self.change(number=number, wrap=pb.Wrap(name=name, **fields))).issued.token

    def look_up_wrap(self, token):
        return self.ask(self.request(unwrap=pb.Unwrap(token=token, lookup=True))).wrapped

    def unwrap(self, token):
        request = self.request(unwrap=pb.Unwrap(token=token))
        self.send(request)
        return self.take_value(request)

    def generate(self, name, size, charset=pb.ALNUM, number=None, rotation=None, **conditions):
        return self.ask(self.change(number=number, **level(rotation), generate=pb.Generate(
            name=name, size=size, charset=charset, rotation=rotated(rotation),
            conditions=pb.Conditions(**conditions)))).stored.version

    def list(self, prefix=b"", limit=0, **fields):
        found, after = [], b""
        while True:
            request = self.request(list=pb.List(prefix=prefix, after=after, limit=limit, **fields))
            self.send(request)
            reply = self.answer(request)[0]
            while reply.HasField("info"):
                found.append(reply.info)
                reply = self.answer(request)[0]
            if not reply.listing.more:
                return found
            after = reply.listing.next

    def watch(self, prefix=b"", since=0):
        """Begins to be told what changes. Gives the request and the first mark."""
        request = self.request(watch=pb.Watch(prefix=prefix, since=since))
        mark = self.ask(request)
        if not mark.HasField("mark"):
            raise Broken("a watch that does not begin with a mark")
        return request, mark.mark

    def told(self, request):
        """The next event or mark."""
        reply = self.answer(request)[0]
        if reply.HasField("event"):
            return reply.event
        if not reply.HasField("mark"):
            raise Broken("an answer to a watch that is none")
        return reply.mark

    def set_request(self, name, value, data_key, number=None, tags=(), size=None, lifetime=None,
                    freeze=False, rotation=None, **conditions):
        return self.change(number=number, **level(rotation, lifetime or freeze), set=pb.Set(
            name=name, data_key=data_key, size=len(value) if size is None else size,
            conditions=pb.Conditions(**conditions), freeze=freeze,
            lifetime=pb.Lifetime(**lifetime) if lifetime else None, rotation=rotated(rotation),
            tags=[pb.Tag(key=key, value=text) for key, text in tags]))

    def send_value(self, request, chunks):
        """The set's first frame carries the verb; the others only chunks."""
        for first in range(0, len(chunks), FRAME_CHUNKS):
            some = chunks[first:first + FRAME_CHUNKS]
            request.chunks.CopyFrom(announce(first, some, first + len(some) == len(chunks)))
            self.send(request, chunks=b"".join(some))
            request = pb.Request(id=request.id)

    def set(self, name, value, **fields):
        data_key = os.urandom(32)
        request = self.set_request(name, value, data_key, **fields)
        self.send_value(request, seal_value(value, data_key))
        return self.answer(request)[0].stored.version

    def get(self, name, **fields):
        request = self.request(get=pb.Get(name=name, **fields))
        self.send(request)
        return self.take_value(request)

    def take_value(self, request):
        reply, chunks = self.answer(request)
        value, size, data_key = b"", reply.value.size, reply.value.data_key
        due, final = 0, False
        while not final:
            if chunks and reply.chunks.first != due:
                raise Broken("chunks out of order")
            for i, chunk in enumerate(chunks):
                final = reply.chunks.final and i + 1 == len(chunks)
                value += open_chunk(chunk, due, final, data_key)
                due += 1
            if not final:
                reply, chunks = self.answer(request)
        if len(value) != size:
            raise Broken("a value of another size than announced")
        return value

    # -- streams ---------------------------------------------------------------------------------

    def write_request(self, name, number, data_key, first, chunks, final):
        """One of a segment's requests; the key goes with the first."""
        return self.request(
            number=number, chunks=announce(first, chunks, final),
            stream_write=pb.StreamWrite(name=name, data_key=data_key if first == 0 else b""))

    def write_chunks(self, name, number, data_key, first, chunks, final):
        """Returns the number of the chunk that is due then."""
        request = self.write_request(name, number, data_key, first, chunks, final)
        self.send(request, chunks=b"".join(chunks))
        return self.answer(request)[0].taken.next

    def write_segment(self, name, value):
        number, data_key = os.urandom(16), os.urandom(32)
        chunks = seal_value(value, data_key)
        for first in range(0, len(chunks), FRAME_CHUNKS):
            some = chunks[first:first + FRAME_CHUNKS]
            final = first + len(some) == len(chunks)
            if self.write_chunks(name, number, data_key, first, some, final) != first + len(some):
                raise Broken("another chunk is due")

    def read_request(self, name, place=None, **fields):
        stream, segment, due = place or (0, 0, 0)
        return self.request(stream_read=pb.StreamRead(
            name=name, stream=stream, segment=segment, next=due, **fields))

    def acknowledge(self, name, place):
        self.ask(self.read_request(name, place, acknowledge=True))

    def read_part(self, name, place=None, **fields):
        """Pieces of plaintext, the place behind them, and whether the segment is at its end."""
        request = self.read_request(name, place, **fields)
        self.send(request)
        return self.take_part(request)

    def take_part(self, request):
        reply, chunks = self.answer(request)
        part, first, pieces = reply.part, reply.chunks.first, []
        for i, chunk in enumerate(chunks):
            final = reply.chunks.final and i + 1 == len(chunks)
            pieces.append(open_chunk(chunk, first + i, final, part.data_key))
        if reply.chunks.final:
            return pieces, (part.stream, part.segment + 1, 0), True
        return pieces, (part.stream, part.segment, first + len(chunks)), False

    def read_segment(self, name, **fields):
        value, place, final = b"", None, False
        while not final:
            pieces, place, final = self.read_part(name, place, **fields)
            value += b"".join(pieces)
        self.acknowledge(name, place)
        return value
