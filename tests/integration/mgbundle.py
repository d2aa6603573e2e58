# SPDX-License-Identifier: Apache-2.0
"""A reader and a writer of bundles, from proto/PROTOCOL.md and memguard.proto alone.

Needs what mgwire.py needs. Everything is read into ordinary memory: a proof of the format.
"""

import os
import struct

import nacl.bindings as sodium
import nacl.exceptions

import mgwire
from mgwire import pb

MAGIC = b"MGBUNDLE"
VERSION = 1
PASSPHRASE, RECIPIENT = 1, 2
# The least that Argon2id can do: fast enough for a test that opens a bundle a hundred times.
OPSLIMIT, MEMLIMIT_KIB = 1, 8
MESSAGE_MAX = 8192 + 17

FINAL = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
MESSAGE = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE


class Broken(Exception):
    """It is no bundle, or another key."""


def key_from_passphrase(passphrase, salt, opslimit, memlimit_kib):
    return sodium.crypto_pwhash_alg(32, passphrase, salt, opslimit, memlimit_kib * 1024,
                                    sodium.crypto_pwhash_ALG_ARGON2ID13)


def sealed_sizes(size):
    """The sizes of a value's chunks, tags included."""
    whole, rest = divmod(size, mgwire.CHUNK_PLAIN)
    return [mgwire.CHUNK_SIZE] * whole + ([rest + 16] if rest else [])


class Reader:
    """Takes a bundle apart; `secrets` are (record, chunks)."""

    def __init__(self, data, passphrase=None, private_key=None):
        self.data = data
        self.at = 0
        start = self.take(12)
        if start[:8] != MAGIC or start[8] != VERSION or start[10:12] != b"\0\0":
            raise Broken("no head")
        self.kind = start[9]
        key = self.read_key(passphrase, private_key)
        header = self.take(sodium.crypto_secretstream_xchacha20poly1305_HEADERBYTES)
        self.head = data[:self.at]
        self.state = sodium.crypto_secretstream_xchacha20poly1305_state()
        sodium.crypto_secretstream_xchacha20poly1305_init_pull(self.state, header, key)
        self.secrets = self.read_secrets()

    def take(self, size):
        if len(self.data) - self.at < size:
            raise Broken("cut")
        self.at += size
        return self.data[self.at - size:self.at]

    def read_key(self, passphrase, private_key):
        if self.kind == PASSPHRASE:
            salt, opslimit, memlimit = struct.unpack("<16sII", self.take(24))
            return key_from_passphrase(passphrase, salt, opslimit, memlimit)
        if self.kind != RECIPIENT:
            raise Broken("an unknown kind")
        try:
            return sodium.crypto_box_seal_open(
                self.take(80), sodium.crypto_scalarmult_base(private_key), private_key)
        except nacl.exceptions.CryptoError:
            raise Broken("another key") from None

    def read_message(self):
        size = struct.unpack("<H", self.take(2))[0]
        if not 17 < size <= MESSAGE_MAX:
            raise Broken("a size that there is not")
        try:
            plain, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(
                self.state, self.take(size), self.head)
        except (RuntimeError, nacl.exceptions.CryptoError):
            raise Broken("a message does not open") from None
        self.head = None
        return plain, tag

    def read_secrets(self):
        secrets = []
        while True:
            plain, tag = self.read_message()
            if tag == FINAL:
                break
            record = pb.Record.FromString(plain)
            secrets.append((record, [self.take(n) for n in sealed_sizes(record.info.size)]))
        if struct.unpack("<Q", plain)[0] != len(secrets) or self.at != len(self.data):
            raise Broken("another number of secrets, or something behind them")
        return secrets

    def values(self):
        """Names, and the values behind them."""
        return {record.info.name: b"".join(
            mgwire.open_chunk(chunk, number, number + 1 == len(chunks), record.data_key)
            for number, chunk in enumerate(chunks)) for record, chunks in self.secrets}


class Writer:
    """Puts one together, also as nobody should."""

    def __init__(self, passphrase=None, recipient=None, opslimit=OPSLIMIT,
                 memlimit_kib=MEMLIMIT_KIB):
        salt = os.urandom(16)
        self.kind = PASSPHRASE if recipient is None else RECIPIENT
        self.data = struct.pack("<8sBBH", MAGIC, VERSION, self.kind, 0)
        if recipient is None:
            key = key_from_passphrase(passphrase, salt, opslimit, memlimit_kib)
            self.data += struct.pack("<16sII", salt, opslimit, memlimit_kib)
        else:
            key = os.urandom(32)
            self.data += sodium.crypto_box_seal(key, recipient)
        self.state = sodium.crypto_secretstream_xchacha20poly1305_state()
        self.data += sodium.crypto_secretstream_xchacha20poly1305_init_push(self.state, key)
        self.head = self.data
        self.count = 0

    def message(self, plain, tag=MESSAGE):
        sealed = sodium.crypto_secretstream_xchacha20poly1305_push(
            self.state, plain, self.head, tag)
        self.head = None
        self.data += struct.pack("<H", len(sealed)) + sealed

    def record(self, record, chunks):
        self.message(record.SerializeToString())
        self.data += b"".join(chunks)
        self.count += 1

    def secret(self, name, value, owner=0, data_key=None, **fields):
        data_key = data_key or os.urandom(32)
        fields.setdefault("version", 1)
        self.record(pb.Record(owner=owner, data_key=data_key, info=pb.Info(
            name=name, size=len(value), **fields)), mgwire.seal_value(value, data_key))
        return self

    def end(self, count=None):
        self.message(struct.pack("<Q", self.count if count is None else count), FINAL)
        return self.data
