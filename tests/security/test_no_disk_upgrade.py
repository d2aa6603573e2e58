# SPDX-License-Identifier: Apache-2.0
"""Nothing is on any disk when programs change, either: upgrades in a row, programs that do not come
up, and restarts by a service manager that keeps descriptors, under strace and under a load. No call
of any of those who take part writes to a file but to the log: the old keeper, the new one, the one
between them, the one that is started again, and all their workers. The controls: each of them as
one that does write."""

import os
import pathlib
import re
import signal
import unittest

from daemon import wait_for
from disk_case import PLANTED, SECONDS, Traced, found_in
from upgrade_case import UpgradeTest

DENY = os.environ["DENY"]
FAILPOINTS = pathlib.Path(os.environ["FAILPOINTS"])
KILLS = 3
UPGRADES = 3  # in a row
TRIES = 5

# What an upgrade comes to for want of time, where all takes long.
LATE = re.compile(r"did not (answer|serve) within|the one before has not ended yet")

# A program that does not come up, the place at which it or its worker dies, and what is said of it.
BROKEN = (
    (b"no program", "", "Exec format error"),
    (FAILPOINTS.read_bytes(), "mapped:9", "died (Killed)"),
    (FAILPOINTS.read_bytes(), "opening:9", "did not serve within"),
)


class Change(Traced, UpgradeTest):
    """A daemon under strace whose program changes."""

    environment = {}
    deny = ()  # system calls that it does without

    def setUp(self):
        Traced.setUp(self)
        self.wrap = self.around()
        UpgradeTest.setUp(self)
        self.mains = [self.keeper]
        self.workers = set()
        self.look()

    def around(self, **more):
        without = [DENY, *self.deny, "--"] if self.deny else []
        return super().around(**{**self.environment, **more}) + without

    def look(self):
        """Who serves."""
        self.workers.add(self.client().status().pid)

    def ask(self, words=None):
        """For an upgrade; again when it comes to nothing for want of time, unless in these words."""
        for _ in range(TRIES):
            result = self.mgctl("upgrade")
            if not LATE.search(result.stderr) or (words and words in result.stderr):
                break
        return result

    def upgrade(self):
        before = self.keeper
        result = self.ask()
        self.assertEqual((result.returncode, result.stderr), (0, ""), self.manager.log())
        self.assertTrue(wait_for(lambda: self.manager.main != before))
        self.keeper = self.manager.main
        self.mains.append(self.keeper)
        self.look()

    def fails(self, words):
        result = self.ask(words)
        self.assertEqual(result.returncode, 1, result.stderr + self.manager.log())
        self.assertIn(words, result.stderr)
        self.assertEqual(self.manager.main, self.keeper)
        self.look()

    def restart(self, **environment):
        """All is in the store meanwhile."""
        self.stop()
        self.assertTrue([name for name, _ in self.manager.store if "-keys-" in name])
        self.manager.wrap = self.around(**environment)
        self.manager.start()
        self.keeper = self.manager.main
        self.mains.append(self.keeper)
        self.assertEqual(self.manager.store, [])
        self.look()

    def stop(self, number=signal.SIGTERM):
        self.manager.send(number)
        self.wait_for_end(self.keeper)
        self.assertEqual(self.manager.gone(SECONDS), 0)

    def successors(self):
        """Of each upgrade, those that came to nothing, too."""
        return [int(pid) for pid in re.findall(
            r"an upgrade begins, .* as process (\d+)$", self.manager.log(), re.M)]

    def end(self):
        """Leaves nothing to a next start. Returns the whole trace."""
        self.stop(signal.SIGINT)
        self.assertEqual(sorted(os.listdir(self.manager.folder)), ["log", "notify"])
        return self.trace(self.manager.log_path, self.manager.path)


class Life(Change):
    broken = BROKEN
    value = os.urandom(200)

    def has_all(self):
        self.assertEqual(self.client().get(b"disk-kept"), self.value)

    def one_of_each(self, content, words):
        """In a row, and while workers are killed."""
        self.workers |= self.kill(self.keeper, KILLS)
        for _ in range(UPGRADES):
            self.replace()
            self.upgrade()
            self.has_all()
        self.replace(content)
        self.fails(words)
        self.has_all()
        self.replace()

    def follow(self, trace):
        """Everybody was seen: who was started, who stood between, who served."""
        self.assertLessEqual({*self.mains, *self.workers, *self.successors()}, trace.pids)
        for successor in self.successors():
            between = trace.parents[successor]
            self.assertIn(between, trace.pids)
            self.assertIn(trace.parents[between], self.mains)
        for worker in self.workers:
            self.assertIn(trace.parents[worker], self.mains)

    def test_a_life_with_upgrades_and_restarts(self):
        self.client().set(b"disk-kept", self.value)
        with self.visitors(self.manager.path) as visitors:
            for content, place, words in self.broken:
                self.restart(FAILPOINT=place)
                self.has_all()
                self.one_of_each(content, words)
                self.are_served(visitors)
        trace = self.end()
        log = self.manager.log_path.read_bytes()
        self.judge(trace, log, visitors)
        self.assertEqual(found_in(log, [self.value], [b"disk-kept"]), [])
        self.follow(trace)
        # The lock was opened once, the keys were passed each time, and every answer was seen.
        rounds = len(self.broken)
        self.assertEqual(trace.seen["lock"], 1)
        self.assertGreaterEqual(trace.seen["passing of " + self.keys()], (UPGRADES + 1) * rounds)
        self.assertGreater(trace.seen["mapping of /memfd:memguardd-ledger"],
                           log.count(b"serves again"))
        self.assertGreater(trace.seen["socket"], sum(visitor.done for visitor in visitors))

    def keys(self):
        """The file of them, which is in no file system."""
        secret = "(memory: memfd_secret)" in self.manager.log()
        return "/secretmem" if secret else "/memfd:memguard"


class LockedLife(Life):
    """Where there is no memfd_secret."""

    deny = ("memfd_secret",)
    broken = BROKEN[1:2]

    def test_a_life_with_upgrades_and_restarts(self):
        super().test_a_life_with_upgrades_and_restarts()
        self.assertEqual(self.keys(), "/memfd:memguard")


# -- who does write ------------------------------------------------------------------------------

WRITE = re.compile(r"^(\d+) +write\(\d+<[^>]*/leak(?:-(\w+))?>")


class Leaking(Change):
    leak = ""

    def around(self, **more):
        return super().around(LEAK=self.leak, LEAK_FILE=str(self.empty / "leak"), **more)

    def writers(self):
        """Who has written, by their numbers, and when."""
        found = filter(None, map(WRITE.match, self.end().faults))
        return {(int(match.group(1)), match.group(2)) for match in found}


class LeakingKeepers(Leaking):
    """All of them write the keys down when they have them in their hands."""

    origin = PLANTED
    leak = "keys-disk"

    def test_each_of_them_is_seen(self):
        first = self.keeper
        self.upgrade()
        second = self.keeper
        self.restart()
        third = self.keeper
        writers = self.writers()
        trace = self.trace(self.manager.log_path, self.manager.path)
        between = {trace.parents[pid] for pid in self.successors()}
        self.assertLessEqual(
            {(first, "shared"), (first, "released"), (second, "taken"),
             (second, "shared"), (second, "released"), (third, "taken")}
            | {(pid, "released") for pid in between}, writers)
        self.assertLessEqual({pid for pid, _ in writers},
                             {first, third, *between, *self.successors()})


class LeakingSuccessor(Leaking):
    """A new program that writes the keys down and does not come up."""

    environment = {"FAILPOINT": "mapped:9"}
    leak = "keys-disk"

    def test_it_is_seen(self):
        self.replace(pathlib.Path(PLANTED).read_bytes())
        self.fails("died (Killed)")
        writers = self.writers()
        self.assertTrue(writers)
        self.assertLessEqual(writers, {(pid, "taken") for pid in self.successors()})


class LeakingWorkers(Leaking):
    """A new program whose workers write values down."""

    leak = "disk"

    def get(self):
        self.assertEqual(self.client().get(b"a"), self.value)
        return self.client().status().pid

    def test_each_of_them_is_seen(self):
        self.value = os.urandom(200)
        self.client().set(b"a", self.value)
        self.get()
        self.replace(pathlib.Path(PLANTED).read_bytes())
        self.upgrade()
        upgraded = self.get()
        self.assertEqual(found_in((self.empty / "leak").read_bytes(), [self.value], []),
                         [b"a value"])
        self.restart()
        restarted = self.get()
        self.assertEqual(self.writers(), {(upgraded, None), (restarted, None)})


if __name__ == "__main__":
    unittest.main()
