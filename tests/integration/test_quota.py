# SPDX-License-Identifier: Apache-2.0
"""What one user may have at most, and that nobody else notices."""

import json
import os
import pathlib
import sys
import tempfile
import time
import traceback
import unittest

from daemon import Daemon, wait_for
from mgctl_case import LIMIT, ROOT, StrangerTest
from mgwire import LIMIT as CODE_LIMIT
from mgwire import TIMEOUT, Client, Refused, TurnedAway, Wire, pb
from strangers import NOBODY

SESSIONS, HANDSHAKES = 1, 2


def as_uid(uid, act):
    """What `act` gives, which must be fit for JSON, in a process of that uid."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(ours)
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            with os.fdopen(theirs, "w") as pipe:
                json.dump(act(), pipe)
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            os._exit(1)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    if status:
        raise AssertionError("the other user's part failed: %d" % status)
    return json.loads(text)


def come(path, most):
    """Connections until one is refused, or there are `most`; and which quota it was (0: none)."""
    clients = []
    try:
        while len(clients) < most:
            clients.append(Client(path))
    except TurnedAway as refused:
        return clients, refused.refusal
    return clients, 0


def close_all(clients):
    for client in clients:
        client.close()


@unittest.skipUnless(ROOT, "needs root, to be somebody else")
class Quotas(unittest.TestCase):
    def daemon(self, *options):
        daemon = Daemon("--socket-mode=0666", *options)
        self.addCleanup(daemon.end)
        daemon.folder.chmod(0o755)
        return daemon

    def test_a_user_has_as_many_sessions_as_the_quota_says(self):
        daemon = self.daemon("--quota-sessions=3")

        def act():
            clients, refusal = come(daemon.path, 10)
            open_now = len(clients)
            clients.pop().close()
            # The daemon hears of it a moment later.
            again = wait_for(lambda: come(daemon.path, 1)[1] == 0, 10)
            for client in clients:
                client.ping()
            return open_now, refusal, again

        self.assertEqual(as_uid(NOBODY, act), [3, SESSIONS, True])
        self.assertIn("as many sessions as quota-sessions allows", daemon.log())

    def test_one_users_sessions_are_nobody_elses(self):
        daemon = self.daemon("--quota-sessions=3")
        held = Holder(daemon.path, NOBODY, 3)
        self.addCleanup(held.end)
        self.assertEqual(as_uid(NOBODY, lambda: come(daemon.path, 1)[1]), SESSIONS)
        self.assertEqual(as_uid(NOBODY - 1, lambda: come(daemon.path, 3)[1]), 0)
        # Root, and the daemon's own user, have no quota.
        clients, refusal = come(daemon.path, 10)
        self.assertEqual((len(clients), refusal), (10, 0))
        close_all(clients)

    def test_connections_without_a_hello_count_too(self):
        daemon = self.daemon("--quota-sessions=2")

        def act():
            silent = [Wire(daemon.path, shake=False) for _ in range(8)]
            closed = [wire.is_closed(1) for wire in silent]
            return closed

        self.assertEqual(as_uid(NOBODY, act), [False] * 4 + [True] * 4)

    def test_handshakes_are_counted_in_time(self):
        daemon = self.daemon("--quota-handshakes=5", "--quota-sessions=no")

        def act():
            begin = time.monotonic()
            clients, refusal = come(daemon.path, 1000)
            seconds = time.monotonic() - begin
            later = wait_for(lambda: come(daemon.path, 1)[1] == 0, 30)
            return len(clients), refusal, seconds, later

        count, refusal, seconds, later = as_uid(NOBODY, act)
        self.assertEqual(refusal, HANDSHAKES)
        self.assertGreaterEqual(count, 5)
        self.assertLessEqual(count, 5 + 5 * seconds + 1)
        self.assertTrue(later)

    def test_requests_under_way_are_counted_over_all_sessions(self):
        daemon = self.daemon("--quota-inflight=4")

        def act():
            clients, _ = come(daemon.path, 3)
            answers = []
            for number in range(6):
                client = clients[number % 3]
                client.send(client.request(get=pb.Get(name=b"~/none", wait_ms=60000)))
                # Those of one connection are served in their order, those of several are not.
                ping = client.request(ping=pb.Ping())
                client.send(ping)
                while (reply := client.receive()[0]).id != ping.id:
                    answers.append((reply.code, reply.detail.decode()))

            def there_is_room():
                clients[1].send(clients[1].request(get=pb.Get(name=b"~/none", wait_ms=1)))
                return clients[1].receive()[0].code == TIMEOUT

            # Whoever goes gives his place to the others, once the daemon has heard of it.
            clients[0].close()
            return [*answers, wait_for(there_is_room, 10)]

        words = "as many requests of this user are under way as quota-inflight allows"
        self.assertEqual(as_uid(NOBODY, act), [[CODE_LIMIT, words], [CODE_LIMIT, words], True])

    def test_a_watch_is_under_way_until_its_connection_ends(self):
        daemon = self.daemon("--quota-inflight=2")

        def act():
            clients, _ = come(daemon.path, 3)

            def may_watch(client):
                try:
                    client.watch(b"~/")
                except Refused as refused:
                    return refused.code
                return 0

            codes = [may_watch(client) for client in clients]
            clients[0].close()
            return [codes, wait_for(lambda: may_watch(clients[2]) == 0, 10)]

        self.assertEqual(as_uid(NOBODY, act), [[0, 0, CODE_LIMIT], True])

    def test_a_reload_brings_other_quotas(self):
        holder = tempfile.TemporaryDirectory(prefix="memguardd-")
        self.addCleanup(holder.cleanup)
        file = pathlib.Path(holder.name) / "memguardd.conf"
        file.write_text("[daemon]\nquota-sessions = 2\n")
        daemon = self.daemon("--config", str(file))
        self.assertEqual(as_uid(NOBODY, lambda: come(daemon.path, 20)[1]), SESSIONS)
        file.write_text("[daemon]\nquota-sessions = no\n")
        with Client(daemon.path) as root:
            root.ask(root.change(reload=pb.Reload()))
        self.assertEqual(as_uid(NOBODY, lambda: come(daemon.path, 20)[1]), 0)


class Holder:
    """Another process that keeps sessions open."""

    def __init__(self, path, uid, count):
        ready, tell = os.pipe()
        stay, self.end_of_it = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.end_of_it)
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            clients, _ = come(path, count)
            os.write(tell, bytes([len(clients)]))
            os.read(stay, 1)
            os._exit(0)
        os.close(tell)
        os.close(stay)
        if os.read(ready, 1) != bytes([count]):
            raise AssertionError("they cannot be held")
        os.close(ready)

    def end(self):
        os.close(self.end_of_it)
        os.waitpid(self.pid, 0)


class Mgctl(StrangerTest):
    daemon_options = ["--socket-mode", "0666", "--quota-sessions=1"]

    def test_mgctl_names_the_quota_and_exits_8(self):
        self.assertEqual(self.as_nobody("ping").returncode, 0)
        holder = Holder(self.path, NOBODY, 1)
        self.addCleanup(holder.end)
        refused = self.as_nobody("ping")
        self.assertEqual(refused.returncode, LIMIT)
        self.assertEqual(refused.stderr.decode(), "mgctl: as many connections of this user are "
                         "open as quota-sessions allows\n")


if __name__ == "__main__":
    unittest.main()
