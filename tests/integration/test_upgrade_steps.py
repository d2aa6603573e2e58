# SPDX-License-Identifier: Apache-2.0
"""Each step of a hand-over, with a death at it: of the old keeper, of the new one, of the worker
that leaves. What was acknowledged is there afterwards, or, when the keeper itself was killed,
nothing and nobody is. Never do two serve. And the step between a fetch that is the last and its
answer."""

import os
import pathlib
import signal
import subprocess
import threading
import time
import unittest

from daemon import count_bytes, is_secret, take_descriptor, wait_for
from mgwire import Closed, Refused, pb
from upgrade_case import MGCTL, UpgradeTest, children, parent

FAILPOINTS = os.environ["FAILPOINTS"]
DENY = os.environ.get("DENY", "")
ROOT = os.geteuid() == 0
KILL, STOP = int(signal.SIGKILL), int(signal.SIGSTOP)
OLD = ("offered", "accepted", "shared", "handed", "serving", "told")
NEW = ("accepting", "mapped")
OFFER_S = 5  # for a new program to answer


def state(pid):
    """As proc(5) has it; X when it has gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def gone(pid):
    return state(pid) in "ZX"


class StepsTest(UpgradeTest):
    """Both programs die or stand still where $FAILPOINT says; each place is one's alone."""

    origin = FAILPOINTS

    def setUp(self):
        os.environ.pop("FAILPOINT", None)
        self.addCleanup(os.environ.pop, "FAILPOINT", None)

    def begin(self, place, number):
        os.environ["FAILPOINT"] = f"{place}:{number}"
        super().setUp()
        self.replace()
        self.client().set(b"a", b"value")
        self.client().set(b"once", b"once", lifetime={"reads": 1})

    def ask(self):
        """Without waiting for what comes of it."""
        client = self.client()
        client.ask(client.request(upgrade=pb.Upgrade()))

    def look(self):
        """All is there, once."""
        client = self.client()
        self.assertEqual(client.get(b"a"), b"value")
        self.assertEqual(client.get(b"once"), b"once")
        client.set(b"b", b"works")
        self.assertEqual(parent(client.status().pid), self.manager.main)

    def family(self):
        """The keepers and workers of this daemon, by their socket: nobody but root is told which
        program an undumpable process runs."""
        path = os.fsencode(self.manager.path)
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and path in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                pass
        return found


class NewOne(StepsTest):
    def test_it_dies_and_the_old_one_goes_on(self):
        for place in NEW:
            with self.subTest(place=place):
                self.begin(place, KILL)
                self.fails("died (Killed)")
                self.look()
                self.assertEqual(len(self.family()), 2)

    def test_a_worker_that_dies_while_it_leaves_has_left(self):
        for place in ("leaving", "left"):
            with self.subTest(place=place):
                self.begin(place, KILL)
                self.upgrade()
                self.look()

    def test_a_worker_that_does_not_leave_is_ended(self):
        self.begin("leaving", STOP)
        self.upgrade()
        self.look()


class OldOne(StepsTest):
    def test_it_is_killed_and_nothing_is_left(self):
        """As whenever a keeper is killed. The next start is not in the way of anything."""
        for place in OLD:
            with self.subTest(place=place):
                self.begin(place, KILL)
                self.ask()
                self.manager.gone()
                self.assertTrue(wait_for(lambda: self.family() == []), self.family())
                os.environ.pop("FAILPOINT")
                self.manager.start()
                self.assertEqual(self.client().list(), [])

    def test_once_it_has_said_its_last_word_all_is_the_new_ones(self):
        self.begin("committed", KILL)
        self.ask()
        self.manager.gone()
        self.assertTrue(wait_for(lambda: len(self.family()) == 2))
        self.look()

    def test_one_that_stands_still_keeps_nobody_from_anything_but_time(self):
        for place in OLD:
            with self.subTest(place=place):
                self.begin(place, STOP)
                keeper = self.manager.main
                self.ask()
                self.assertTrue(wait_for(lambda: state(keeper) == "T"))
                time.sleep(0.1)
                os.kill(keeper, signal.SIGCONT)
                self.assertTrue(wait_for(lambda: self.manager.main != keeper, 30))
                self.assertTrue(wait_for(lambda: gone(keeper)))
                self.look()

    def test_an_answer_that_lies_there_is_in_time(self):
        """However long the old one has stood still before it looks."""
        self.begin(f"offered:{STOP},accepting", STOP)
        self.ask()
        self.assertTrue(wait_for(
            lambda: [state(pid) for pid in self.family()].count("T") == 2, 60))
        new = next(pid for pid in self.family()
                   if pid != self.keeper and state(pid) == "T")
        time.sleep(OFFER_S + 0.1)
        os.kill(new, signal.SIGCONT)
        # It has answered when it waits for what comes next.
        self.assertTrue(wait_for(lambda: state(new) == "S", 60))
        os.kill(self.keeper, signal.SIGCONT)
        self.assertTrue(wait_for(lambda: self.manager.main == new, 60), self.manager.log())
        self.look()


class Writer(threading.Thread):
    """Stores and fetches for as long as it is told to. What it was told is there it fetches again.
    Cut off, it comes again and repeats what it had asked for, as a library does; any other fault
    ends it."""

    def __init__(self, connect, secret):
        super().__init__(daemon=True)
        self.connect, self.secret = connect, secret
        self.stored, self.cut, self.over, self.fault = 0, 0, False, None
        self.start()

    def turn(self, client):
        value = b"%d" % (self.stored + 1)
        client.set(self.secret, value)
        self.stored += 1
        if client.get(self.secret) != value:
            raise ValueError("other bytes")

    def run(self):
        client = self.connect()
        try:
            while not self.over:
                try:
                    self.turn(client)
                except (Closed, ConnectionError):
                    self.cut += 1
                    client = self.connect()
        except Exception as fault:  # whatever it is, the test is told
            self.fault = fault

    def end(self):
        self.over = True
        self.join(60)


class NewOneUnderLoad(StepsTest):
    def test_it_dies_and_no_call_fails(self):
        """Who was let go once the old worker had left comes again; up to then nobody is."""
        for place in NEW:
            with self.subTest(place=place):
                self.begin(place, KILL)
                writers = [Writer(self.client, b"w%d" % i) for i in range(4)]
                self.fails("died (Killed)")
                before = [writer.stored for writer in writers]
                self.assertTrue(wait_for(lambda: all(
                    writer.fault or writer.stored > then + 1
                    for writer, then in zip(writers, before))))
                for writer in writers:
                    writer.end()
                    self.assertIsNone(writer.fault)
                    self.assertEqual(writer.cut, 0 if place == "accepting" else 1)
                    self.assertEqual(
                        self.client().get(writer.secret), b"%d" % writer.stored)
                self.look()


@unittest.skipUnless(DENY, "there is no helper to refuse memfd_secret with")
class NewOneOnFallback(NewOne):
    """The same where memory is only locked, and its descriptor is another kind of file."""

    wrap = (DENY, "memfd_secret", "--")


@unittest.skipUnless(DENY, "there is no helper to refuse memfd_secret with")
class OldOneOnFallback(OldOne):
    wrap = (DENY, "memfd_secret", "--")


class LastFetch(StepsTest):
    def test_a_worker_dies_before_the_answer_and_nobody_gets_it_again(self):
        """It was counted: that it is lost is told, and it is never given out twice."""
        for size in (4, 40000):
            with self.subTest(size=size):
                self.begin("used", KILL)
                self.client().set(b"large", bytes(size), lifetime={"reads": 1})
                worker = self.client().status().pid
                with self.assertRaises((Closed, ConnectionError)):
                    self.client().get(b"large")
                self.assertTrue(wait_for(lambda: children(self.keeper) not in ([], [worker])))
                client = self.client()
                with self.assertRaises(Refused):
                    client.get(b"large")
                self.assertEqual(client.get(b"a"), b"value")


class CalledOff(StepsTest):
    """An end that is asked for in the middle of it."""

    def begin_stopped(self, place):
        self.begin(place, STOP)
        self.ask()
        self.assertTrue(wait_for(
            lambda: any(state(pid) == "T" for pid in self.family())))

    def test_term_ends_both(self):
        for place in NEW:
            with self.subTest(place=place):
                self.begin_stopped(place)
                self.assertEqual(self.manager.stop(), 0, self.manager.log())
                self.assertTrue(wait_for(lambda: self.family() == []), self.family())
                self.assertIn("it was called off (Terminated)", self.manager.log())
                self.assertEqual(bool(self.manager.store), ROOT)
                os.environ.pop("FAILPOINT")
                self.manager.start()
                if ROOT:
                    self.look()
                else:
                    self.assertEqual(self.client().list(), [])

    def test_a_shutdown_that_was_answered_is_one(self):
        """The worker ends of its own will while the old keeper is about to tell it to leave."""
        self.begin("accepted", STOP)
        asking = self.client()
        self.ask()
        self.assertTrue(wait_for(lambda: state(self.keeper) == "T"))
        asking.ask(asking.request(shutdown=pb.Shutdown()))
        os.kill(self.keeper, signal.SIGCONT)
        self.assertEqual(self.manager.gone(), 0)
        self.assertTrue(wait_for(lambda: self.family() == []), self.family())
        self.assertFalse(self.manager.path.exists())
        self.assertEqual(self.manager.store, [])

    def test_a_worker_that_dies_meanwhile_changes_nothing(self):
        self.begin("accepting", STOP)
        asking = subprocess.Popen(
            [MGCTL, "--socket", f"unix:{self.manager.path}", "upgrade"])
        self.assertTrue(wait_for(
            lambda: any(state(pid) == "T" for pid in self.family())))
        new = next(pid for pid in self.family() if state(pid) == "T")
        worker = self.client().status().pid
        os.kill(worker, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: self.client().status().pid != worker))
        self.assertTrue(self.client().status().upgrading)
        os.kill(new, signal.SIGCONT)
        self.assertEqual(asking.wait(60), 0)
        self.look()

    def test_int_leaves_nothing(self):
        for place in NEW:
            with self.subTest(place=place):
                self.begin_stopped(place)
                self.assertEqual(self.manager.stop(signal.SIGINT), 0, self.manager.log())
                self.assertTrue(wait_for(lambda: self.family() == []), self.family())
                self.assertEqual(self.manager.store, [])
                self.assertFalse(self.manager.path.exists())

    def test_a_purge_is_one_whoever_comes_out_of_it(self):
        for place, number in (("accepting", STOP), ("mapped", STOP), ("handed", STOP)):
            with self.subTest(place=place):
                self.begin_stopped(place)
                stopped = [pid for pid in self.family() if state(pid) == "T"]
                self.manager.send(signal.SIGUSR2)
                for pid in stopped:
                    os.kill(pid, signal.SIGCONT)
                self.assertTrue(wait_for(lambda: self.manager.main != self.keeper, 20))
                self.assertEqual(self.client().list(), [])
                self.client().set(b"b", b"works")


class Announced(StepsTest):
    """The new one serves and the manager knows it; the old one stands still before it says so."""

    def setUp(self):
        super().setUp()
        self.begin("told", STOP)
        self.ask()
        self.assertTrue(wait_for(lambda: state(self.keeper) == "T", 60))
        self.assertNotEqual(self.manager.main, self.keeper)

    def go_on(self):
        os.kill(self.keeper, signal.SIGCONT)

    def test_a_shutdown_is_one(self):
        client = self.client()
        client.ask(client.request(shutdown=pb.Shutdown()))
        self.assertTrue(client.is_closed())
        self.assertTrue(wait_for(lambda: children(self.manager.main) == []))
        self.go_on()
        self.assertTrue(wait_for(lambda: gone(self.manager.main)))
        self.assertEqual(self.manager.gone(), 0)
        self.assertEqual(sorted(self.manager.folder.glob("socket*")), [])
        self.assertEqual(self.manager.store, [])

    def test_another_upgrade_is_begun_once_all_is_its_own(self):
        """It stands still where the first one did, and is let go, too."""
        second = self.manager.main
        self.ask()
        time.sleep(0.1)
        self.go_on()
        self.assertTrue(wait_for(lambda: state(second) == "T", 60), self.manager.log())
        os.kill(second, signal.SIGCONT)
        self.assertTrue(wait_for(lambda: gone(second)))
        self.assertNotEqual(self.manager.main, second)
        self.assertNotIn("came to nothing", self.manager.log())
        self.look()

    def test_a_purge_is_passed_on(self):
        os.kill(self.keeper, signal.SIGUSR2)
        self.go_on()
        self.assertEqual(self.manager.gone(), 0)
        self.assertTrue(wait_for(lambda: self.client().list() == []))

    def test_an_end_is_passed_on(self):
        os.kill(self.keeper, signal.SIGTERM)
        self.go_on()
        self.assertTrue(wait_for(lambda: gone(self.manager.main)))
        self.assertEqual(self.manager.gone(), 0)
        self.assertEqual(bool(self.manager.store), ROOT)

    def test_nothing_is_left_whatever_comes_behind_an_int(self):
        self.manager.send(signal.SIGINT)
        self.manager.send(signal.SIGTERM)
        self.go_on()
        self.assertTrue(wait_for(lambda: gone(self.manager.main)))
        self.assertEqual(self.manager.store, [])
        self.assertFalse(self.manager.path.exists())

    def test_a_new_one_that_dies_takes_nothing_along(self):
        os.kill(self.manager.main, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: gone(self.manager.main)))
        self.go_on()
        self.assertTrue(wait_for(lambda: self.manager.log().count("serves again") == 2, 60))
        self.assertEqual(self.manager.main, self.keeper)
        self.look()


@unittest.skipUnless(ROOT, "needs root: takes a descriptor of another process")
class GivesUp(StepsTest):
    """Somebody has taken the keys' descriptor in the moment in which there was one, and so sees what
    becomes of the pages."""

    def next_worker(self, before):
        self.assertTrue(wait_for(lambda: children(self.manager.main) not in ([], [before])))
        return children(self.manager.main)[0]

    def test_nothing_is_left_of_the_keys_behind_ten_faults(self):
        self.begin("shared", STOP)
        self.ask()
        self.assertTrue(wait_for(lambda: state(self.keeper) == "T"))
        keys = take_descriptor(self.keeper, is_secret)
        self.assertGreaterEqual(keys, 0)
        self.addCleanup(os.close, keys)
        os.kill(self.keeper, signal.SIGCONT)
        self.assertTrue(wait_for(lambda: self.manager.main != self.keeper))
        self.look()
        worker = 0
        for _ in range(10):
            self.assertGreater(count_bytes(keys), 4000)
            worker = self.next_worker(worker)
            os.kill(worker, signal.SIGSEGV)
        self.assertTrue(self.manager.main_gone())
        self.assertIn("everything is purged: too many workers have died", self.manager.log())
        self.assertEqual(count_bytes(keys), 0)


@unittest.skipUnless(ROOT, "only a service manager of root's is trusted with the keys")
class Restart(StepsTest):
    def test_it_is_killed_while_it_pushes(self):
        for place, left in (("pushing", False), ("pushed", True)):
            with self.subTest(place=place):
                self.begin(place, KILL)
                self.manager.send(signal.SIGTERM)
                self.manager.gone()
                os.environ.pop("FAILPOINT")
                self.manager.start()
                self.assertEqual(self.manager.store, [])
                if left:
                    self.look()
                else:
                    self.assertEqual(self.client().list(), [])

    def test_it_is_killed_while_it_takes(self):
        """Taken is taken: what it had is gone, and the next one is a fresh one."""
        self.begin("none", KILL)
        self.manager.stop()
        with self.assertRaises(RuntimeError):
            self.manager.start(FAILPOINT=f"taken:{KILL}")
        self.manager.start()
        self.assertEqual(self.manager.store, [])
        self.assertEqual(self.client().list(), [])


if __name__ == "__main__":
    unittest.main()
