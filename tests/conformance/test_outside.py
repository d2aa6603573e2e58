# SPDX-License-Identifier: Apache-2.0
"""The rows of README.md that can be asked of a running daemon: by mgctl, or on the wire."""

import os
import signal
import subprocess
import threading
import unittest

import mgwire
from bystander import BystanderTest
from mgctl_case import FROZEN, LIMIT, MEMGUARDD, NOT_FOUND, USAGE, MgctlTest


class Mgctl(MgctlTest):
    def test_row_04_what_is_frozen_is_read_and_not_written(self):
        self.store(b"yellow submarine")
        for _ in range(2):
            self.ok("freeze", self.name)
            self.assertEqual(self.ok("get", self.name), b"yellow submarine")
            self.fails(FROZEN, "set", self.name, stdin=b"x")
            self.fails(FROZEN, "rm", self.name)

    def test_row_05_what_is_melted_is_written_again(self):
        self.ok("set", self.name, "--freeze", stdin=b"yellow submarine")
        for _ in range(2):
            self.ok("melt", self.name)
            self.assertEqual(self.ok("get", self.name), b"yellow submarine")
        self.store(b"x")
        self.assertEqual(self.ok("get", self.name), b"x")

    def test_row_08_what_is_stored_is_fetched(self):
        self.store(b"yellow submarine")
        self.assertEqual(self.ok("get", self.name), b"yellow submarine")

    def test_row_13_a_random_value_has_bytes(self):
        self.ok("set", self.name, "--generate=32", "--charset", "bytes")
        first = self.ok("get", self.name)
        self.assertEqual(len(first), 32)
        self.assertNotEqual(first, bytes(32))
        self.fails(USAGE, "set", self.name, "--generate=0")
        self.assertEqual(self.ok("get", self.name), first)

    def test_row_18_no_value_is_refused(self):
        self.fails(USAGE, "set", self.name, stdin=b"")
        self.fails(NOT_FOUND, "get", self.name)

    def test_row_20_a_final_newline_goes_when_that_is_asked_for(self):
        self.ok("set", self.name, "--trim", stdin=bytes(4999) + b"\n")
        self.assertEqual(self.ok("get", self.name), bytes(4999))

    def test_row_21_everything_is_read_to_the_end(self):
        for size in (16, 4999, 16000, 1 << 20):
            value = os.urandom(size)
            self.store(value)
            self.assertEqual(self.ok("get", self.name), value)
        self.ok("set", self.name, "--file", "/bin/sh")
        with open("/bin/sh", "rb") as file:
            self.assertEqual(self.ok("get", self.name), file.read())

    def test_row_22_a_secret_opens_as_often_as_wanted(self):
        self.store(b"yellow submarine")
        for _ in range(3):
            self.assertEqual(self.ok("get", self.name), b"yellow submarine")

    def test_row_26_a_secret_has_the_size_of_its_value(self):
        for size in (1, 16, 16384, 16385):
            self.store(bytes(size))
            self.assertEqual(self.json("stat", self.name)[0]["size"], size)
            self.ok("get", self.name)
            self.assertEqual(self.json("stat", self.name)[0]["size"], size)

    def test_row_27_no_secret_is_an_error(self):
        self.fails(NOT_FOUND, "get", "never/stored")
        self.fails(NOT_FOUND, "stat", "never/stored")

    def test_row_36_after_a_purge_old_secrets_are_dead_and_new_ones_live(self):
        self.store(b"old")
        self.ok("purge", "--all")
        self.fails(NOT_FOUND, "get", self.name)
        state = self.json("status")[0]
        self.assertEqual((state["secrets"], state["ledger"]), (0, 0))
        self.store(b"new")
        self.assertEqual(self.ok("get", self.name), b"new")

    def test_row_36_locked_memory_is_the_same_before_and_after(self):
        before = self.json("status")[0]["locked"]
        for i in range(50):
            self.ok("set", "%s/%d" % (self.name, i), stdin=os.urandom(1000))
        self.ok("purge", "--all")
        self.assertEqual(self.json("status")[0]["locked"], before)

    def stream(self, value):
        self.ok("stream", "write", self.name, stdin=value)

    def test_row_39_a_stream_gives_chunks_and_then_the_rest(self):
        value = os.urandom(2 * 16384 + 1024)
        with mgwire.Client(self.path) as client:
            client.write_segment(self.name.encode(), value)
            pieces, _, final = client.read_part(self.name.encode())
        self.assertEqual([len(piece) for piece in pieces], [16384, 16384, 1024])
        self.assertEqual((b"".join(pieces), final), (value, True))

    def test_row_40_what_was_written_is_read_and_then_there_is_no_more(self):
        value = os.urandom(1024)
        self.stream(value)
        self.assertEqual(self.ok("stream", "read", self.name), value)
        self.fails(NOT_FOUND, "stream", "size", self.name)

    def test_row_41_a_chunk_and_a_text_come_out_as_they_went_in(self):
        value = os.urandom(16384) + b"yellow submarine"
        self.stream(value)
        self.assertEqual(self.ok("stream", "read", self.name), value)

    def test_row_42_two_writes_come_out_one_after_the_other(self):
        self.stream(b"yellow submarine")
        self.stream(bytes(16))
        self.assertEqual(self.ok("stream", "read", self.name), b"yellow submarine")
        self.assertEqual(self.ok("stream", "read", self.name), bytes(16))

    def test_row_43_a_stream_has_the_size_that_went_in(self):
        self.stream(os.urandom(2 * 4096 + 1024))
        self.assertEqual(self.ok("stream", "size", self.name), b"9216\n")
        self.assertEqual(len(self.ok("stream", "read", self.name)), 9216)

    def test_row_47_a_value_over_the_limit_is_an_error(self):
        words = self.fails(LIMIT, "set", self.name, stdin=bytes((1 << 20) + 1))
        self.assertIn("limit", words)
        self.fails(NOT_FOUND, "get", self.name)


class Wire(BystanderTest):
    def test_row_28_a_data_key_of_another_length_is_refused(self):
        for size in (0, 16, 31, 33):
            key = os.urandom(32)
            request = self.healthy.set_request(self.name, b"value", key)
            request.set.data_key = os.urandom(size)
            self.healthy.send_value(request, mgwire.seal_value(b"value", key))
            self.assertRefused(mgwire.INVALID, self.healthy.answer, request)
            self.assertAbsent()

    def test_row_28_another_data_key_stores_nothing(self):
        request = self.healthy.set_request(self.name, b"value", os.urandom(32))
        self.healthy.send_value(request, mgwire.seal_value(b"value", os.urandom(32)))
        self.assertRefused(mgwire.INTEGRITY, self.healthy.answer, request)
        self.assertAbsent()

    def test_row_35_twenty_clients_open_ten_secrets(self):
        values = {b"n/%d" % i: os.urandom(20000) for i in range(10)}
        for name, value in values.items():
            self.healthy.set(name, value)
        wrong = []

        def fetch(client):
            for _ in range(3):
                for name, value in values.items():
                    if client.get(name) != value:
                        wrong.append(name)

        threads = [threading.Thread(target=fetch, args=(self.client(),)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertFalse(any(thread.is_alive() for thread in threads))
        self.assertEqual(wrong, [])


class Signals(MgctlTest):
    def other_daemon(self, place):
        other = subprocess.Popen([MEMGUARDD, "--socket", str(place)], stderr=subprocess.DEVNULL)
        self.addCleanup(other.kill)
        self.ok("ping", "--wait-ready", "10s", "--socket", str(place))
        return other

    @unittest.skipIf(os.environ.get("SANITIZED") == "thread",
                     "the thread sanitizer holds back a fault's signal that another process sent")
    def test_row_37_a_fault_ends_the_daemon_by_its_signal(self):
        other = self.other_daemon(self.folder / "other")
        other.send_signal(signal.SIGABRT)
        self.assertEqual(other.wait(60), -signal.SIGABRT)

    def test_row_38_an_interrupt_ends_it_in_order_and_a_stray_signal_does_not(self):
        place = self.folder / "other"
        other = self.other_daemon(place)
        for number in (signal.SIGWINCH, signal.SIGCHLD):
            other.send_signal(number)
        self.ok("ping", "--socket", str(place))
        other.send_signal(signal.SIGINT)
        self.assertEqual(other.wait(60), 0)
        self.assertFalse(place.exists())
