# SPDX-License-Identifier: Apache-2.0
"""mgctl upgrade, in front of a daemon that is made up: whatever becomes of the upgrade, of the
answers and of the connections, what mgctl says is what came of it. And mgctl status of a keeper."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import unittest

from mgwire import Closed, pb
from test_lying_daemon import CONTROLS, MGCTL, Liar

OK, NO, DENIED, UNREACHABLE, TIMEOUT, PROTOCOL = 0, 1, 4, 6, 9, 10
KEEPER, NEXT = 7, 8
FOR_EVER = 10 ** 9
FAULT = b"/usr/bin/memguardd: no such file"


def state(keeper=KEEPER, **fields):
    return pb.State(version=b"0", pid=1, counts=True, **{"keeper": keeper, **fields})


FAILED = state(failed_upgrades=3, upgrade_fault=FAULT)
BEFORE = {"failed_upgrades": 2, "upgrade_fault": b"another one, long ago"}


def tells(told):
    return lambda wire, request: wire.say(pb.Reply(id=request.id, state=told))


class Keeper:
    """Is as it was for `looks` looks behind the request, then as `then` says; for ever, without.
    `upgrades` says what becomes of each request to upgrade, the last one of any further:
    'answered'; 'cut', the connection ends instead; 'unheard', the same, and nothing is done;
    or a reply."""

    def __init__(self, then=None, looks=2, upgrades=("answered",), cuts=0, busy=0):
        self.then, self.looks, self.cuts, self.busy = then, looks, cuts, busy
        self.upgrades = upgrades
        self.asked = 0
        self.under_way = False
        self.done = False
        self.early = False  # asked for while an older one was under way
        self.heard = threading.Event()

    def __call__(self, wire, request):
        if request.HasField("upgrade"):
            self.upgrade(wire, request)
        else:
            self.look(wire, request)

    def upgrade(self, wire, request):
        self.early = self.early or self.busy > 0
        what = self.upgrades[min(self.asked, len(self.upgrades) - 1)]
        self.asked += 1
        self.heard.set()
        if isinstance(what, pb.Reply):
            what.id = request.id
            wire.say(what)
            return
        self.under_way = what != "unheard"
        if what != "answered":
            raise Closed
        wire.say(pb.Reply(id=request.id, state=state(upgrading=True, **BEFORE)))

    def look(self, wire, request):
        if self.busy > 0:
            self.busy -= 1
            wire.say(pb.Reply(id=request.id, state=state(upgrading=True, **BEFORE)))
            return
        if self.under_way and self.then is not None:
            self.looks -= 1
            if self.looks < 0:
                self.under_way, self.done = False, True
        if self.asked and self.cuts > 0:
            self.cuts -= 1
            raise Closed
        now = self.then if self.done else state(upgrading=self.under_way, **BEFORE)
        wire.say(pb.Reply(id=request.id, state=now))


class UpgradeTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = self.folder / "socket"
        self.environment = dict(os.environ, MEMGUARD_SOCKET=str(self.path))

    def mgctl(self, *arguments):
        return subprocess.run([MGCTL, *arguments], env=self.environment, capture_output=True,
                              timeout=120, check=False)

    def upgrade(self, keeper, *options, status=OK):
        with Liar(self.path, keeper):
            done = self.mgctl(*options, "upgrade")
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 0 if status == OK else 1)
        return done


class Upgrades(UpgradeTest):
    def test_another_keeper_is_the_end_of_it(self):
        keeper = Keeper(then=state(NEXT))
        self.assertEqual(self.upgrade(keeper).stdout, b"")
        self.assertEqual(keeper.asked, 1)
        self.assertTrue(keeper.done)

    def test_json_tells_where(self):
        done = self.upgrade(Keeper(then=state(NEXT)), "--json")
        self.assertEqual(json.loads(done.stdout),
                         {"schema": 1, "endpoint": f"unix:{self.path}"})

    def test_an_answer_that_is_lost_changes_nothing(self):
        keeper = Keeper(then=state(NEXT), upgrades=["cut"])
        self.upgrade(keeper)
        self.assertEqual(keeper.asked, 1)
        keeper = Keeper(then=FAILED, upgrades=["cut"])
        self.assertIn(FAULT, self.upgrade(keeper, status=NO).stderr)
        self.assertEqual(keeper.asked, 1)

    def test_connections_that_break_meanwhile_change_nothing(self):
        keeper = Keeper(then=state(NEXT), cuts=9)
        self.upgrade(keeper)
        self.assertEqual((keeper.asked, keeper.cuts), (1, 0))

    def test_one_that_was_not_heard_is_asked_for_again(self):
        keeper = Keeper(then=state(NEXT), upgrades=["unheard", "answered"])
        self.upgrade(keeper)
        self.assertEqual(keeper.asked, 2)

    def test_but_not_again_and_again(self):
        keeper = Keeper(then=state(NEXT), upgrades=["unheard"])
        self.assertIn(b"nothing came of it", self.upgrade(keeper, status=NO).stderr)
        self.assertEqual(keeper.asked, 2)

    def test_a_failure_is_1_and_its_reason(self):
        keeper = Keeper(then=FAILED)
        words = b"the daemon goes on as before: " + FAULT
        self.assertEqual(self.upgrade(keeper, status=NO).stderr, b"mgctl: " + words + b"\n")
        error = json.loads(self.upgrade(Keeper(then=FAILED), "--json", status=NO).stderr)
        self.assertEqual(error, {"error": "no", "code": NO, "message": words.decode()})

    def test_an_older_reason_is_not_taken_for_its_own(self):
        stderr = self.upgrade(Keeper(then=state(**BEFORE)), status=NO).stderr
        self.assertNotIn(BEFORE["upgrade_fault"], stderr)

    def test_one_without_end_ends_with_the_time_limit(self):
        self.upgrade(Keeper(), "--timeout", "1s", status=TIMEOUT)
        # Also where no connection lives long enough to tell.
        with Liar(self.path, Keeper(cuts=FOR_EVER)):
            done = self.mgctl("--timeout", "1s", "upgrade")
        self.assertIn(done.returncode, (UNREACHABLE, TIMEOUT), done.stderr)

    def test_one_that_began_before_is_waited_for_first(self):
        keeper = Keeper(then=state(NEXT), busy=4)
        self.upgrade(keeper)
        self.assertEqual((keeper.asked, keeper.early), (1, False))

    def test_no_keeper_any_more_is_no_success(self):
        refusal = pb.Reply(code=NO, detail=b"there is no keeper")
        keeper = Keeper(then=state(0), upgrades=["answered", refusal])
        self.assertIn(b"no keeper", self.upgrade(keeper, status=NO).stderr)

    def test_a_daemon_that_is_away_is_waited_for(self):
        # Longer than any other call would wait for it.
        keeper = Keeper(upgrades=["cut"], cuts=FOR_EVER)
        with Liar(self.path, keeper):
            process = subprocess.Popen([MGCTL, "upgrade"], env=self.environment,
                                       stderr=subprocess.DEVNULL)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            self.assertTrue(keeper.heard.wait(60))
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(6)
        with Liar(self.path, tells(state(NEXT))):
            self.assertEqual(process.wait(60), OK)


class Refusals(UpgradeTest):
    def refused(self, reply, status):
        keeper = Keeper(upgrades=[reply])
        stderr = self.upgrade(keeper, status=status).stderr
        self.assertEqual(keeper.asked, 1)
        return stderr

    def test_a_refusal_is_told_as_it_is(self):
        for code, words in (NO, b"there is no keeper"), (DENIED, b"no"), (PROTOCOL, b"no such verb"):
            self.assertIn(words, self.refused(pb.Reply(code=code, detail=words), code))

    def test_something_else_than_a_state_is_no_answer(self):
        self.refused(pb.Reply(), PROTOCOL)
        self.refused(pb.Reply(stored=pb.Stored(version=1)), PROTOCOL)

    def test_a_reason_that_steers_is_refused(self):
        keeper = Keeper(then=state(failed_upgrades=3, upgrade_fault=CONTROLS))
        self.assertNotIn(b"\x1b", self.upgrade(keeper, status=PROTOCOL).stderr)

    def test_a_reason_without_end_is_cut(self):
        keeper = Keeper(then=state(failed_upgrades=3, upgrade_fault=b"x" * 3000))
        self.assertIn(b"x" * 400, self.upgrade(keeper, status=NO).stderr)


class Status(UpgradeTest):
    def status(self, told, *options):
        with Liar(self.path, tells(told)):
            done = self.mgctl(*options, "status")
        self.assertEqual((done.returncode, done.stderr), (OK, b""))
        return done.stdout.decode()

    def test_a_keeper_is_told(self):
        self.assertRegex(self.status(state()), r"(?m)^keeper +pid 7$")
        self.assertRegex(self.status(state(0)), r"(?m)^keeper +none")

    def test_what_went_wrong_is_told_and_nothing_when_nothing_did(self):
        words = self.status(state())
        self.assertNotRegex(words, r"(?m)^(broken|upgrades)")
        words = self.status(state(broken=5, failed_upgrades=2, upgrade_fault=FAULT))
        self.assertRegex(words, r"(?m)^broken +5\b")
        self.assertRegex(words, rf"(?m)^upgrades +2 failed, the last one: {FAULT.decode()}$")
        self.assertRegex(self.status(state(upgrading=True)), r"(?m)^upgrades +one is under way$")

    def test_what_was_broken_is_told_by_its_kind(self):
        words = self.status(state(broken=5, broken_consumed=1, broken_answers=2))
        self.assertRegex(words, r"(?m)^broken +5 secrets\b.*\n +1 consumed name,.*\n +2 remem")
        self.assertNotIn("versions in their grace", words)
        words = self.status(state(broken_formers=3, broken_streams=4))
        self.assertRegex(words, r"(?m)^broken +3 versions in their grace\b.*\n +4 parts of stre")
        answer = json.loads(self.status(state(
            broken=5, broken_formers=4, broken_consumed=3, broken_streams=2, broken_answers=1,
            broken_tokens=6, tokens=7), "--json"))
        self.assertEqual([answer[key] for key in (
            "broken", "broken_formers", "broken_consumed", "broken_streams", "broken_answers",
            "broken_tokens", "tokens")], [5, 4, 3, 2, 1, 6, 7])
        self.assertRegex(self.status(state(broken_tokens=1)),
                         r"(?m)^broken +1 token, which is lost$")

    def test_json_tells_the_same(self):
        answer = json.loads(self.status(state(
            broken=5, failed_upgrades=2, upgrade_fault=FAULT, upgrading=True), "--json"))
        self.assertEqual([answer[key] for key in (
            "keeper", "broken", "failed_upgrades", "upgrade_fault", "upgrading")],
            [KEEPER, 5, 2, FAULT.decode(), True])
        strange = pb.State(version=b"0", keeper=KEEPER)
        self.assertEqual([key for key in json.loads(self.status(strange, "--json")) if key in (
            "keeper", "broken", "failed_upgrades", "upgrade_fault", "upgrading")],
            ["keeper", "upgrading"])
