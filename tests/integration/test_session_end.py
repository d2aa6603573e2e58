# SPDX-License-Identifier: Apache-2.0
"""What a session stored for itself is gone within a second of its connection's end, however it ends,
and what others stored stays."""

import os
import signal
import socket
import struct
import time
import unittest

import mgwire
from daemon import Daemon, wait_for
from mgwire import Client, Refused, announce, seal_value

NAME, KEPT = b"its/own", b"kept"


def close(client):
    client.close()


def say_no_more(client):
    client.socket.shutdown(socket.SHUT_WR)


def hear_no_more(client):
    """Closes with an answer unread, which is a reset to the other side."""
    client.send(client.request(get=mgwire.pb.Get(name=KEPT)))
    time.sleep(0.05)
    client.close()


def break_the_protocol(client):
    client.write(os.urandom(64))


def forge(client):
    client.write(struct.pack("<II", 64, 0) + os.urandom(64))


def stop_in_a_frame(client):
    client.write(client.frame([client.request(ping=mgwire.pb.Ping())])[:-1])
    client.close()


def stop_in_a_value(client):
    key, value = os.urandom(32), os.urandom(100000)
    request = client.set_request(b"half", value, key)
    request.chunks.CopyFrom(announce(0, seal_value(value, key)[:1], False))
    client.send(request, chunks=seal_value(value, key)[0])
    client.close()


ENDS = (close, say_no_more, hear_no_more, break_the_protocol, forge, stop_in_a_frame,
        stop_in_a_value)
TRIES = 3  # of which a machine that is busy with something else may spoil all but one


class End(unittest.TestCase):
    def setUp(self):
        house = Daemon()
        self.addCleanup(house.end)
        self.path = house.path
        self.observer = Client(self.path)
        self.addCleanup(self.observer.close)
        self.observer.set(KEPT, b"kept")

    def is_gone(self):
        try:
            self.observer.get(NAME)
        except Refused as refusal:
            self.assertEqual(refusal.code, mgwire.NOT_FOUND)
            return True
        return False

    def seconds_until_gone(self, end):
        client = Client(self.path)
        self.addCleanup(client.close)
        client.set(NAME, b"mine", lifetime={"session": True})
        self.assertFalse(self.is_gone())
        begin = time.monotonic()
        end(client)
        self.assertTrue(wait_for(self.is_gone, 20))
        return time.monotonic() - begin

    def test_it_is_gone_within_a_second(self):
        for end in ENDS:
            with self.subTest(end=end.__name__):
                times = [self.seconds_until_gone(end) for _ in range(TRIES)]
                self.assertLess(min(times), 1)
                self.assertEqual(self.observer.get(KEPT), b"kept")

    def crash(self):
        """A process that holds its connection until it is killed."""
        ready, told = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with Client(self.path) as client:
                    client.set(NAME, b"mine", lifetime={"session": True})
                    os.write(told, b"r")
                    time.sleep(60)
            finally:
                os._exit(1)
        try:
            os.close(told)
            self.assertEqual(os.read(ready, 1), b"r")
            self.assertFalse(self.is_gone())
        finally:
            os.close(ready)
            begin = time.monotonic()
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self.assertTrue(wait_for(self.is_gone, 20))
        return time.monotonic() - begin

    def test_it_is_gone_within_a_second_of_a_crash(self):
        self.assertLess(min(self.crash() for _ in range(TRIES)), 1)

    def test_while_the_connection_lasts_it_stays(self):
        with Client(self.path) as client:
            client.set(NAME, b"mine", lifetime={"session": True})
            time.sleep(1.5)
            self.assertFalse(self.is_gone())
