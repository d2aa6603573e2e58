# SPDX-License-Identifier: Apache-2.0
"""The keeper, and the workers that come and go: what stays, what ends, and who is told."""

import os
import pathlib
import signal
import subprocess
import time
import unittest

from daemon import Daemon, MEMGUARDD, descriptors, has_secretmem, wait_for
from mgwire import Client, Refused, pb, seal_value

DENY = os.environ.get("DENY", "")
GONE, NOT_FOUND = 12, 3
PLAIN, LOCKED, SECRET = range(3)  # kinds of memory, as Status tells them

# Deaths that a guess of an address may come to.
FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGABRT, signal.SIGFPE,
          signal.SIGSYS, signal.SIGTRAP)


def children(pid):
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


class KeeperTest(unittest.TestCase):
    wrap = ()

    def setUp(self):
        self.daemon = self.start()

    def start(self, *arguments, **options):
        daemon = Daemon("--keep", *arguments, wrap=self.wrap, **options)
        self.addCleanup(daemon.end)
        # The door is the keeper's: it is there before anybody serves.
        self.client(daemon).ping()
        return daemon

    def worker(self, daemon=None):
        """0 between two of them."""
        numbers = children((daemon or self.daemon).pid)
        return int(numbers[0]) if numbers else 0

    def next_worker(self, number=signal.SIGKILL, daemon=None):
        """Ends the worker; the next one serves when this returns."""
        before = self.worker(daemon)
        served = (daemon or self.daemon).log().count("serves again")
        os.kill(before, number)
        self.assertTrue(wait_for(lambda: self.worker(daemon) not in (0, before)))
        self.assertTrue(wait_for(
            lambda: (daemon or self.daemon).log().count("serves again") > served))

    def client(self, daemon=None):
        client = Client((daemon or self.daemon).path)
        self.addCleanup(client.close)
        return client

    def assertRefused(self, code, call, *arguments):
        with self.assertRaises(Refused) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.code, code)


class Crashes(KeeperTest):
    def test_who_keeps_is_told(self):
        state = self.client().status()
        self.assertEqual(state.keeper, self.daemon.pid)
        self.assertEqual(state.pid, self.worker())

    def test_everything_is_there_after_each_kind_of_death(self):
        value = os.urandom(300000)
        client = self.client()
        client.set(b"a/large", value)
        client.set(b"a/small", b"x")
        for number in signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL:
            self.next_worker(number)
            client = self.client()
            self.assertEqual(client.get(b"a/large"), value)
            self.assertEqual(client.get(b"a/small"), b"x")
        self.assertIn("serves again, with 2 secrets", self.daemon.log())

    def test_a_repeat_gets_its_first_answer_from_the_next_worker(self):
        client = self.client()
        client.set(b"a", b"1")
        removal = client.change(remove=pb.Remove(name=b"a"))
        first = client.ask(removal)
        self.next_worker()
        client = self.client()
        removal.id = client.request().id
        self.assertEqual(client.ask(removal).stored.version, first.stored.version)
        # With another number it is another request.
        self.assertRefused(
            NOT_FOUND, client.ask, client.change(remove=pb.Remove(name=b"a")))

    def test_a_repeated_set_is_stored_once_whoever_has_written_since(self):
        client = self.client()
        number = os.urandom(16)
        client.set(b"a", b"first", number=number)
        self.client().set(b"a", b"second")
        self.next_worker()
        client = self.client()
        # The same bytes under the same number would be the same request; another is told.
        self.assertRefused(7, lambda: client.set(b"a", b"first", number=number))
        self.assertEqual(client.get(b"a"), b"second")

    def test_every_change_that_is_repeated_gets_its_first_answer(self):
        key, hour_ms = bytes(32), 3600000

        def put(name, rotation=None):
            def change(client, number):
                request = client.set_request(name, b"2", key, number=number, rotation=rotation)
                client.send_value(request, seal_value(b"2", key))
                return client.answer(request)[0].stored.version
            return change

        def ask(**fields):
            return lambda client, number: client.ask(
                client.change(number=number, level=2, **fields)).stored.version

        def write(client, number):
            return client.write_chunks(b"q", number, key, 0, seal_value(b"1", key), True)

        changes = {
            "set": put(b"set"),
            "rotate": put(b"rotate", hour_ms),
            "generate": lambda client, number: client.generate(b"drawn", 9, number=number),
            "mv": lambda client, number: client.move(b"mv", b"mv/to", number=number),
            "rm": ask(remove=pb.Remove(name=b"rm")),
            "touch": ask(touch=pb.Touch(name=b"touch", ttl_ms=hour_ms)),
            "freeze": ask(freeze=pb.Freeze(name=b"freeze")),
            "melt": ask(melt=pb.Melt(name=b"freeze")),
            "stream write": write}
        numbers = {change: os.urandom(16) for change in changes}
        client = self.client()
        for name in b"set", b"rotate", b"drawn", b"mv", b"rm", b"touch", b"freeze":
            client.set(name, b"1")
        first = {name: change(client, numbers[name]) for name, change in changes.items()}
        # Whoever came in between has changed what a second change of the kind would meet.
        for name in b"set", b"rotate", b"drawn", b"mv", b"rm", b"touch", b"freeze":
            client.set(name, b"3")
        for _ in range(2):
            self.next_worker()
            client = self.client()
            for name, change in changes.items():
                with self.subTest(change=name):
                    self.assertEqual(change(client, numbers[name]), first[name])
            for name in b"set", b"rotate", b"drawn", b"mv", b"rm", b"touch", b"freeze":
                self.assertEqual(client.get(name), b"3")
            self.assertEqual(client.get(b"mv/to"), b"1")
            self.assertEqual(client.get(b"rotate", version=1), b"1")
            pieces, _, final = client.read_part(b"q")
            self.assertEqual((b"".join(pieces), final), (b"1", True))

    def test_what_was_to_be_read_once_is_not_read_again(self):
        client = self.client()
        client.set(b"a", b"x", lifetime={"reads": 1})
        self.assertEqual(client.get(b"a"), b"x")
        self.next_worker()
        self.assertRefused(GONE, self.client().get, b"a")

    def test_secrets_of_a_connection_end_with_it(self):
        client = self.client()
        client.set(b"a", b"x", lifetime={"session": True})
        client.set(b"b", b"x")
        self.next_worker()
        client = self.client()
        self.assertRefused(NOT_FOUND, client.get, b"a")
        self.assertEqual(client.get(b"b"), b"x")

    def test_a_secret_of_a_process_hangs_on_it_still(self):
        with subprocess.Popen(["sleep", "20"]) as process:
            self.client().set(b"a", b"x", lifetime={"pid": process.pid})
            self.next_worker()
            client = self.client()
            self.assertEqual(client.get(b"a"), b"x")
            process.kill()
            process.wait()
            self.assertTrue(wait_for(lambda: client.status().secrets == 0))

    def test_who_waits_at_the_door_is_served_by_the_next(self):
        os.kill(self.worker(), signal.SIGKILL)
        self.client().ping()

    def test_a_reload_stays_in_force(self):
        config = self.daemon.folder / "conf"
        config.write_text("[daemon]\nmax-value = 64k\n")
        daemon = self.start("--config", str(config))
        config.write_text("[daemon]\nmax-value = 32k\n")
        daemon.process.send_signal(signal.SIGHUP)
        client = self.client(daemon)
        self.assertTrue(wait_for(lambda: client.status().max_value == 32768))
        self.next_worker(daemon=daemon)
        self.assertEqual(self.client(daemon).status().max_value, 32768)

    def test_the_keeper_gives_up_behind_ten_faults(self):
        """Of whatever kind: each of them is one of the ten."""
        faults = (FAULTS * 2)[:10]
        self.client().set(b"a", b"x")
        for number in faults[:-1]:
            self.next_worker(number)
        self.assertEqual(self.client().get(b"a"), b"x")
        os.kill(self.worker(), faults[-1])
        self.assertEqual(self.daemon.process.wait(60), 70)
        self.assertIn("too many workers have died", self.daemon.log())
        self.assertFalse(self.daemon.path.exists())

    def test_other_deaths_are_not_counted(self):
        self.client().set(b"a", b"x")
        for _ in range(15):
            self.next_worker()
        self.assertEqual(self.client().get(b"a"), b"x")


class Purges(KeeperTest):
    backends = (SECRET,)

    def setUp(self):
        if not self.wrap and not has_secretmem():
            self.skipTest("this machine has no memfd_secret, and the fallback stands for it")
        super().setUp()
        self.assertIn(self.client().status().backend, self.backends)

    def test_what_was_purged_stays_dead(self):
        client = self.client()
        client.set(b"old", b"x")
        client.ask(client.change(purge=pb.Purge(all=True)))
        client.set(b"new", b"y")
        self.next_worker()
        client = self.client()
        self.assertRefused(NOT_FOUND, client.get, b"old")
        self.assertEqual(client.get(b"new"), b"y")
        self.assertNotIn("were not what was written", self.daemon.log())

    def test_usr2_is_passed_on(self):
        client = self.client()
        client.set(b"a", b"x")
        self.daemon.process.send_signal(signal.SIGUSR2)
        self.assertTrue(wait_for(lambda: client.status().secrets == 0))
        self.next_worker()
        self.assertRefused(NOT_FOUND, self.client().get, b"a")

    def test_a_worker_that_dies_before_it_has_leaves_it_to_the_next(self):
        self.client().set(b"a", b"value")
        worker = self.worker()
        os.kill(worker, signal.SIGSTOP)
        self.daemon.process.send_signal(signal.SIGUSR2)
        self.next_worker()
        self.assertEqual(self.client().list(), [])
        # And that once.
        self.client().set(b"b", b"value")
        self.next_worker()
        self.assertEqual([info.name for info in self.client().list()], [b"b"])


@unittest.skipUnless(DENY, "there is no helper to refuse memfd_secret with")
class PurgesOnTheFallback(Purges):
    wrap = (DENY, "memfd_secret", "--")
    backends = (PLAIN, LOCKED)


class Ends(KeeperTest):
    def ends(self):
        """Both processes, the socket, and all."""
        worker = self.worker()
        status = self.daemon.process.wait(60)
        self.assertTrue(wait_for(lambda: not os.path.exists(f"/proc/{worker}")))
        return status

    def test_in_order(self):
        self.client().set(b"a", b"x")
        self.daemon.process.terminate()
        self.assertEqual(self.ends(), 0)
        self.assertFalse(self.daemon.path.exists())

    def test_by_shutdown(self):
        client = self.client()
        client.ask(client.change(shutdown=pb.Shutdown()))
        self.assertEqual(self.ends(), 0)
        self.assertFalse(self.daemon.path.exists())

    def test_a_worker_that_is_told_to_end_is_the_end(self):
        os.kill(self.worker(), signal.SIGTERM)
        self.assertEqual(self.ends(), 0)

    def test_the_worker_ends_with_its_keeper(self):
        self.daemon.process.kill()
        self.assertEqual(self.ends(), -signal.SIGKILL)

    def test_a_ctrl_c_is_one_end(self):
        """The terminal tells all of the foreground group: the worker is not in it."""
        self.daemon.end()
        self.daemon = self.start(start_new_session=True)
        os.killpg(self.daemon.pid, signal.SIGINT)
        self.assertEqual(self.ends(), 0)
        self.assertNotIn("second signal", self.daemon.log())

    def test_with_a_command(self):
        script = ("import os,subprocess,sys;"
                  "sys.exit(subprocess.call(['sh', '-c', 'test -S ${MEMGUARD_SOCKET#unix:}']))")
        done = subprocess.run([MEMGUARDD, "--keep", "--", "/usr/bin/env", "python3", "-c", script],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                              check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_a_start_that_fails_ends_both(self):
        done = subprocess.run([MEMGUARDD, "--keep", "--socket", str(self.daemon.path)],
                              capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 69)
        self.client().ping()


class Processes(KeeperTest):
    def test_no_descriptor_opens_the_keys(self):
        self.client().set(b"a", b"x")
        self.next_worker()
        for pid in self.daemon.pid, self.worker():
            try:
                links = descriptors(pid)
            except PermissionError:
                self.skipTest("only root may look at the descriptors of a process like ours")
            self.assertFalse([link for link in links if "secretmem" in link])
            self.assertEqual(sum("memguardd-ledger" in link for link in links), 1)

    def test_nobody_gathers_descriptors_or_memory(self):
        def count():
            return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))
        if os.getuid() != 0:
            self.skipTest("only root may look at the descriptors of a process like ours")
        self.next_worker()
        before = count()
        for _ in range(10):
            self.next_worker()
        self.assertEqual(count(), before)

    def test_a_worker_masks_anew_what_it_took_over_before_anybody_connects(self):
        """It wakes for nothing else then; a daemon that holds nothing does not wake at all."""
        def woken(daemon):
            text = pathlib.Path(f"/proc/{self.worker(daemon)}/status").read_text()
            return int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])
        daemon = self.start("--rekey-interval", "10ms")
        with Client(daemon.path) as client:
            client.set(b"a", b"x")
        self.next_worker(daemon=daemon)
        before = woken(daemon)
        self.assertTrue(wait_for(lambda: woken(daemon) >= before + 20))

    def test_a_keeper_waits_without_work(self):
        def used():
            fields = pathlib.Path(f"/proc/{self.daemon.pid}/stat").read_text().rpartition(")")[2]
            return sum(int(field) for field in fields.split()[11:13])
        before = used()
        time.sleep(0.5)
        self.assertLessEqual(used() - before, 5)
