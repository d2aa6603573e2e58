# SPDX-License-Identifier: Apache-2.0
"""No plaintext is ever on the ordinary heap: of the daemon, of mgctl, of a service. Each runs on a
heap that keeps all that ever lay on it (hoard.c) and is searched, when the program ends, for any
eight bytes in a row of every value; a planted copy of 24 bytes, freed at once, has to be found."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import nacl.bindings as sodium
from daemon import Daemon
from mgbundle import Writer
from mgwire import Client

MGCTL = os.environ["MGCTL"]
TOOLS = pathlib.Path(os.environ["SECURITY_TOOLS"])
OK, NO = 0, 1
PLANTED = 24 - 8 + 1  # places at which eight bytes of the copy begin


class Heap(unittest.TestCase):
    plant = False

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.values = self.folder / "values"
        self.report = self.folder / "report"
        self.house = self.start()

    def preloaded(self, **more):
        environment = {**os.environ, "LD_PRELOAD": str(TOOLS / "hoard.so"),
                       "HOARD_VALUES": str(self.values), "HOARD_REPORT": str(self.report), **more}
        if self.plant:
            environment["HOARD_PLANT"] = "yes"
        return environment

    def start(self, arguments=(), **options):
        house = Daemon(*arguments, **options)
        self.addCleanup(house.end)
        return house

    def to_look_for(self, *values):
        """As they are, and as JSON shows them."""
        self.values.write_bytes(b"".join(
            value + base64.b64encode(value) for value in values))

    def judge(self):
        searched, found, first = map(int, self.report.read_text().split())
        self.report.unlink()
        self.assertGreater(searched, 1000)
        self.assertEqual(found, PLANTED if self.plant else 0, f"at {first} of {searched}")

    def run_hoarding(self, *command, status=OK, **options):
        environment = self.preloaded(MEMGUARD_SOCKET=f"unix:{self.house.path}")
        result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False,
                                stderr=subprocess.PIPE, timeout=120, **options)
        self.assertEqual(result.returncode, status, result.stderr)
        self.judge()
        return result.stdout

    def mgctl(self, *arguments, **options):
        return self.run_hoarding(MGCTL, *arguments, **options)

    def test_of_the_daemon(self):
        hoarding = self.start(env=self.preloaded())
        values = [os.urandom(size) for size in (16, 32, 16385, 100000)]
        with Client(hoarding.path) as client:
            for number, value in enumerate(values):
                name = b"value%d" % number
                client.set(name, value)
                client.set(name, value)
                self.assertEqual(client.get(name), value)
            client.generate(b"drawn", 40)
            client.generate(b"many", 4096)
            values += [client.get(b"drawn"), client.get(b"many")]
            for name, value in ((b"value3", values[3]), (b"many", values[5])):
                self.verify(hoarding, name, value, OK)
            self.verify(hoarding, b"many", values[3], NO)
        self.to_look_for(*values)
        self.assertEqual(hoarding.end(), 0)
        self.judge()

    def test_of_a_daemon_that_opens_a_bundle(self):
        """Nor is the private key there, or a value's own."""
        values = [os.urandom(size) for size in (16, 16385, 100000)]
        keys = [os.urandom(32) for _ in values]
        private_key = os.urandom(32)
        bundle = self.folder / "bundle"
        writer = Writer(recipient=sodium.crypto_scalarmult_base(private_key))
        for number, value in enumerate(values):
            writer.secret(b"value%d" % number, value, data_key=keys[number])
        bundle.write_bytes(writer.end())
        bundle.chmod(0o600)
        (self.folder / "key").write_bytes(private_key)
        hoarding = self.start(
            arguments=["--bundle", f"{bundle} credential:key"],
            env=self.preloaded(CREDENTIALS_DIRECTORY=str(self.folder)))
        with Client(hoarding.path) as client:
            self.assertEqual(client.get(b"value2"), values[2])
        self.to_look_for(*values, *keys, private_key)
        self.assertEqual(hoarding.end(), 0)
        self.judge()

    def test_of_a_daemon_that_leaks(self):
        """The same values by way of a copy that the daemon itself makes on its heap."""
        leaking = self.start(program=str(TOOLS / "memguardd-planted"),
                             env=self.preloaded(LEAK="value"))
        with Client(leaking.path) as client:
            client.generate(b"drawn", 40)
            value = client.get(b"drawn")
            self.verify(leaking, b"drawn", value, OK)
        self.to_look_for(value)
        self.assertEqual(leaking.end(), 0)
        self.assertGreater(int(self.report.read_text().split()[1]), PLANTED)

    def verify(self, house, name, value, status):
        result = subprocess.run([MGCTL, "--timeout", "60s", "verify", name.decode()], input=value,
                                env={**os.environ, "MEMGUARD_SOCKET": f"unix:{house.path}"},
                                stderr=subprocess.DEVNULL, check=False, timeout=120)
        self.assertEqual(result.returncode, status)

    def test_of_mgctl(self):
        for size in (16, 5000, 100000):
            value, other = os.urandom(size), os.urandom(size)
            self.to_look_for(value, other)
            place = self.folder / "place"
            self.mgctl("set", "value", input=value)
            self.mgctl("verify", "value", input=value)
            self.mgctl("verify", "value", status=NO, input=other)
            self.assertEqual(self.mgctl("get", "value"), value)
            self.mgctl("get", "--out", str(place), "value")
            self.assertEqual(place.read_bytes(), value)
            self.assertIn(base64.b64encode(value), self.mgctl("get", "--json", "value"))
            place.write_bytes(other)
            self.mgctl("set", "--file", str(place), "value")
            self.assertEqual(self.mgctl("get", "value"), other)

    def test_of_mgctl_that_takes_a_member_out_of_a_value(self):
        members = [os.urandom(24).hex(), os.urandom(24).hex()]
        value = json.dumps({"user": members[0], "word": members[1]}).encode()
        # Not the members' names, which come as an argument.
        self.to_look_for(*(member.encode() for member in members))
        self.mgctl("set", "value", input=value)
        self.assertEqual(self.mgctl("get", "--field", "/word", "value"), members[1].encode())
        self.assertIn(base64.b64encode(members[1].encode()),
                      self.mgctl("get", "--json", "--field", "/word", "value"))

    def test_of_a_service(self):
        self.mgctl_plain("set", "--generate", "wrong")
        for size in (32, 5000, 100000):
            value = os.urandom(size)
            self.to_look_for(value)
            self.run_hoarding(str(TOOLS / "household"), "value", "wrong", input=value)

    def mgctl_plain(self, *arguments):
        subprocess.run([MGCTL, *arguments], check=True, timeout=60, stdout=subprocess.DEVNULL,
                       env={**os.environ, "MEMGUARD_SOCKET": f"unix:{self.house.path}"})


class HeapWithACopyOnIt(Heap):
    """The control: all of the same finds what is there."""

    plant = True
