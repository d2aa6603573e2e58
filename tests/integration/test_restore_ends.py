# SPDX-License-Identifier: Apache-2.0
"""A restore whose worker ends in the midst of it: the next one has all of it or nothing, and a
commit that is repeated there gets its first answer."""

import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

import mgwire
import nacl.bindings as sodium
import test_restore
import upgrade_case
from daemon import Daemon, wait_for
from mgbundle import Writer

MANY = 600 if os.environ.get("SANITIZED") else 1500
ROUNDS = 5
PREFIX = b"many/"


class Whole:
    """What a round restores has a size of its own, so that a listing shows whose each name is."""

    def seed(self, client):
        """Every second name is there, some have been rotated, and all are of one size."""
        for i in range(0, MANY, 2):
            client.set(PREFIX + b"%d" % i, b".")
        for i in range(0, MANY, 50):
            client.set(PREFIX + b"%d" % i, b"/", rotation=3600000)

    def stage_round(self, client, number, count=MANY):
        """Several a frame, and several frames before an answer is read."""
        value = b"." * (number + 2)
        for base in range(0, count, 48):
            sent = []
            for i in range(base, min(count, base + 48)):
                request, chunks = test_restore.RestoreTest.stage_request(
                    self, client, PREFIX + b"%d" % i, value)
                request.chunks.CopyFrom(mgwire.announce(0, chunks, True))
                sent.append((request, chunks[0]))
            for at in range(0, len(sent), 4):
                part = sent[at:at + 4]
                client.send(*(one for one, _ in part), chunks=b"".join(c for _, c in part))
            for request, _ in sent:
                client.answer(request)

    def sizes(self, client):
        found = {}
        for info in client.list(PREFIX, details=True):
            found[info.size] = found.get(info.size, 0) + 1
        return found

    def await_commit(self, client, number):
        """By name it is there as soon as it is committed, and hardly anything is published then."""
        end = time.monotonic() + 60
        while client.stat(PREFIX + b"0").size != number + 2:
            self.assertLess(time.monotonic(), end)

    def repeat(self, client, key):
        """How many secrets were restored: 0, all, or it is an error."""
        try:
            return client.ask(client.change(
                number=key, commit=mgwire.pb.Commit(secrets=MANY))).restored.secrets
        except mgwire.Refused as refused:
            self.assertEqual(refused.code, mgwire.NOT_FOUND)
            return 0

    def judge(self, client, before, number, key):
        """Gives what is there now."""
        after = {number + 2: MANY}
        done = self.repeat(client, key)
        self.assertIn(done, (0, MANY))
        found = self.sizes(client)
        self.assertEqual(found, after if done else before)
        # Once more: it is still the first answer.
        self.assertEqual(self.repeat(client, key), done)
        if done:
            for i in 0, 1, MANY - 1:
                self.assertEqual(client.get(PREFIX + b"%d" % i), b"." * (number + 2))
        return found


class Killed(Whole, test_restore.RestoreTest):
    def setUp(self):
        self.daemon = Daemon("--keep")
        self.addCleanup(self.daemon.end)
        self.client = self.connect()

    def worker(self):
        """0 between two of them."""
        text = pathlib.Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children").read_text()
        return int((text.split() or ["0"])[0])

    def kill(self):
        before = self.worker()
        os.kill(before, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: self.worker() not in (0, before)))

    def round(self, number, before, moment):
        """Stages, asks for the commit, and kills when `moment` says so."""
        client, other = self.connect(), self.connect()
        key = os.urandom(16)
        self.stage_round(client, number)
        client.send(client.change(number=key, commit=mgwire.pb.Commit(secrets=MANY)))
        moment(other, number)
        self.kill()
        return self.judge(self.connect(), before, number, key)

    def test_it_is_whole_whenever_the_worker_is_killed(self):
        self.seed(self.client)
        self.assertEqual(self.sizes(self.client), {1: MANY // 2})
        self.stage_round(self.client, ROUNDS)
        began = time.monotonic()
        self.assertEqual(self.repeat(self.client, os.urandom(16)), MANY)
        took = time.monotonic() - began
        found = self.sizes(self.client)
        self.assertEqual(found, {ROUNDS + 2: MANY})
        done = 0
        for number in range(ROUNDS):
            # Most of it is the look; from somewhere near the end on all of it is there.
            pause = took * (0.4 + 0.8 * number / (ROUNDS - 1))
            before, found = found, self.round(
                number, found, lambda *_: time.sleep(pause))  # noqa: B023
            done += before != found
        print("# %d of %d were restored" % (done, ROUNDS), flush=True)
        self.assertNotIn("damaged", self.daemon.log())

    def test_it_is_whole_when_only_some_of_it_is_published(self):
        """Whoever sees one of them sees all of them in the end."""
        self.seed(self.client)
        found = self.sizes(self.client)
        for number in range(ROUNDS // 2):
            found = self.round(number, found, self.await_commit)
            self.assertEqual(found, {number + 2: MANY})
        self.assertNotIn("damaged", self.daemon.log())

    def test_what_is_only_staged_is_gone(self):
        self.seed(self.client)
        before = self.sizes(self.client)
        ledger = self.client.status().ledger
        self.stage_round(self.client, 0)
        self.assertGreater(self.client.status().ledger, ledger)
        self.kill()
        client = self.connect()
        self.assertEqual(self.sizes(client), before)
        self.assertEqual(self.repeat(client, os.urandom(16)), 0)
        self.assertTrue(wait_for(lambda: client.status().ledger == ledger))

    def test_a_restore_by_mgctl_says_what_it_did(self):
        """The tool asks the next worker, and what it says is so."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.daemon.folder))
        private = os.urandom(32)
        (folder / "key").write_bytes(private)
        (folder / "key").chmod(0o600)
        self.seed(self.client)
        for number in range(4):
            writer = Writer(recipient=sodium.crypto_scalarmult_base(private))
            for i in range(MANY):
                writer.secret(PREFIX + b"%d" % i, b"." * (number + 2))
            (folder / "bundle").write_bytes(writer.end())
            before = self.sizes(self.connect())
            ledger = self.connect().status().ledger
            tool = subprocess.Popen(
                [upgrade_case.MGCTL, "--socket", f"unix:{self.daemon.path}", "restore", "--key",
                 str(folder / "key"), str(folder / "bundle")],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            other = self.connect()
            # Half of them while it stages, half once something of it is there.
            if number % 2:
                wait_for(lambda: other.status().ledger > ledger)  # noqa: B023
            else:
                self.await_commit(other, number)
            self.kill()
            _, words = tool.communicate(timeout=90)
            after = {number + 2: MANY}
            found = self.sizes(self.connect())
            self.assertIn(tool.returncode, (0, 6), words)
            self.assertEqual(found, after if tool.returncode == 0 else before, words)
            if not number % 2:
                self.assertEqual(tool.returncode, 0, words)


class Upgraded(Whole, upgrade_case.UpgradeTest):
    def test_an_upgrade_in_the_midst_goes_unnoticed(self):
        self.seed(self.client())
        found = self.sizes(self.client())
        for number in range(3):
            client, key = self.client(), os.urandom(16)
            self.stage_round(client, number)
            upgrade = threading.Thread(target=self.mgctl, args=("upgrade",))
            before = self.manager.main
            client.send(client.change(number=key, commit=mgwire.pb.Commit(secrets=MANY)))
            if number > 0:
                self.await_commit(self.client(), number)
            upgrade.start()
            upgrade.join()
            self.assertTrue(wait_for(lambda: self.manager.main != before))  # noqa: B023
            found = self.judge(self.client(), found, number, key)
            if number > 0:
                self.assertEqual(found, {number + 2: MANY})
