# SPDX-License-Identifier: Apache-2.0
"""What one user may have at most, and that nobody else notices."""

import json
import os
import pathlib
import select
import signal
import sys
import tempfile
import time
import traceback
import unittest

import mgwire
from daemon import Daemon, wait_for
from mgctl_case import LIMIT, ROOT, StrangerTest
from mgwire import LIMIT as CODE_LIMIT
from mgwire import TIMEOUT, Client, Refused, TurnedAway, Wire, announce, pb, seal_value
from strangers import NOBODY
from upgrade_case import UpgradeTest, children

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


def told(wire):
    """The refusal that is there to be read, and behind it the end; None: neither is."""
    wire.socket.settimeout(1)
    try:
        hello = wire.read_hello()
    except TimeoutError:
        return None
    return hello[12] if wire.is_closed(10) else "open"


def wait_until_closed(wire, seconds=10):
    """The other end has closed; what it has said before is still to be read."""
    poll = select.poll()
    poll.register(wire.socket, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(1000 * seconds))


def has(client):
    """What its user has stored, and may have."""
    caller = client.whoami()
    return [caller.secrets, caller.bytes, caller.quota_count, caller.quota_bytes]


def look(daemon):
    with Client(daemon.path) as client:
        return has(client)


def try_set(client, name, size):
    try:
        client.set(name, bytes(size))
    except Refused as refused:
        return [refused.code, refused.reply.detail.decode()]
    return [0, ""]


def stage(client, name, size):
    key = os.urandom(32)
    info = pb.Info(name=name, version=1, size=size)
    request = client.request(stage=pb.Stage(record=pb.Record(info=info, data_key=key)))
    client.send_value(request, seal_value(bytes(size), key))
    try:
        client.answer(request)
    except Refused as refused:
        return [refused.code, refused.reply.detail.decode()]
    return [0, ""]


def close_all(clients):
    for client in clients:
        client.close()


def knock(path):
    """A connection of somebody else's: who it is tells the uid that is in effect now."""
    os.seteuid(NOBODY)
    try:
        return Wire(path, shake=False)
    finally:
        os.seteuid(0)


def hold_silent(path, count):
    """Some of them; returns what ends them."""
    held = [knock(path) for _ in range(count)]
    return lambda: close_all(held)


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
            return [told(wire) for wire in silent]

        self.assertEqual(as_uid(NOBODY, act), [None] * 4 + [SESSIONS] * 4)
        self.assertIn("twice as many as quota-sessions allows", daemon.log())

    def test_who_knocks_without_a_hello_has_as_many_handshakes(self):
        daemon = self.daemon("--quota-handshakes=5", "--quota-sessions=no")
        begin = time.monotonic()
        silent = [knock(daemon.path) for _ in range(30)]
        self.addCleanup(close_all, silent)
        # Whoever is served now stood behind them.
        with Client(daemon.path) as root:
            root.ping()
        seconds = time.monotonic() - begin
        refused = [told(wire) for wire in silent if wait_until_closed(wire, 0)]
        let_in = len(silent) - len(refused)
        self.assertGreaterEqual(let_in, 5)
        self.assertLessEqual(let_in, 5 + 5 * seconds + 1)
        self.assertEqual(refused, [HANDSHAKES] * len(refused))
        self.assertTrue(as_uid(
            NOBODY, lambda: wait_for(lambda: come(daemon.path, 1)[1] == 0, 30)))
        # A handshake is paid for once, and by nobody else.
        self.assertEqual(as_uid(NOBODY - 1, lambda: come(daemon.path, 5)[1]), 0)

    def test_who_is_not_let_in_is_told_whenever_he_speaks(self):
        daemon = self.daemon("--quota-sessions=1")
        hello = mgwire.hello(os.urandom(32))

        self.addCleanup(hold_silent(daemon.path, 2))
        with self.subTest("never"), knock(daemon.path) as wire:
            self.assertEqual(told(wire), SESSIONS)
        with self.subTest("before it is looked at"):
            os.kill(daemon.pid, signal.SIGSTOP)
            try:
                wire = knock(daemon.path)
                wire.write(hello)
            finally:
                os.kill(daemon.pid, signal.SIGCONT)
            self.assertEqual(told(wire), SESSIONS)
            wire.close()
        with self.subTest("after it was closed"), knock(daemon.path) as wire:
            self.assertTrue(wait_until_closed(wire))
            with self.assertRaises(mgwire.Closed):
                wire.write(hello)
            self.assertEqual(told(wire), SESSIONS)
        with self.subTest("as it comes"):
            self.assertEqual(as_uid(
                NOBODY, lambda: [come(daemon.path, 1)[1] for _ in range(50)]), [SESSIONS] * 50)

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


@unittest.skipUnless(ROOT, "needs root, to be somebody else")
class Stored(unittest.TestCase):
    """Secrets, and bytes of them. Names are filed as ~65534/a: 8 bytes, and 256 go with each."""

    def daemon(self, *options):
        daemon = Daemon("--socket-mode=0666", *options)
        self.addCleanup(daemon.end)
        daemon.folder.chmod(0o755)
        return daemon

    def reloading(self, text, *options):
        """A daemon with that file, and what reads it anew with another text."""
        holder = tempfile.TemporaryDirectory(prefix="memguardd-")
        self.addCleanup(holder.cleanup)
        file = pathlib.Path(holder.name) / "memguardd.conf"
        file.write_text(text)
        daemon = self.daemon("--config", str(file), *options)

        def other(words):
            file.write_text(words)
            with Client(daemon.path) as root:
                root.ask(root.change(reload=pb.Reload()))

        return daemon, other

    def test_each_user_has_as_much_as_the_quotas_say(self):
        daemon = self.daemon("--quota-count=2", "--quota-bytes=1000")

        def act():
            with Client(daemon.path) as client:
                return [has(client), try_set(client, b"~/a", 500), try_set(client, b"~/b", 221),
                        try_set(client, b"~/b", 1), try_set(client, b"~/b", 1),
                        has(client)]

        over = [CODE_LIMIT, "this user has 764 bytes, this would be 485 more, and quota-bytes "
                            "allows 1000"]
        expected = [[0, 0, 2, 1000], [0, ""], over,
                    [CODE_LIMIT, over[1].replace("485", "265")],
                    [CODE_LIMIT, over[1].replace("485", "265")], [1, 764, 2, 1000]]
        self.assertEqual(as_uid(NOBODY, act), expected)
        # Another one has its own, and root has none.
        self.assertEqual(as_uid(NOBODY - 1, act), expected)
        with Client(daemon.path) as root:
            for number in range(5):
                root.set(b"r/%d" % number, bytes(1000))
            self.assertEqual(has(root), [5, 5 * (256 + 3 + 1000), 0, 0])

    def test_what_was_is_left_and_what_goes_makes_room(self):
        daemon = self.daemon("--quota-count=2")

        def act():
            with Client(daemon.path) as client:
                client.set(b"~/a", b"first")
                client.write_segment(b"~/s", b"bytes")
                refused = try_set(client, b"~/b", 10)
                client.set(b"~/a", b"second")
                told = [refused, client.get(b"~/a").decode()]
                client.move(b"~/a", b"~/c")
                client.remove(b"~/c")
                return [*told, try_set(client, b"~/b", 10), try_set(client, b"~/d", 10)]

        over = [CODE_LIMIT, "this user has 2 secrets, and quota-count allows 2"]
        self.assertEqual(as_uid(NOBODY, act), [over, "second", [0, ""], over])

    def test_what_is_under_way_counts_and_goes_with_its_session(self):
        daemon = self.daemon("--quota-bytes=150k")

        def act():
            with Client(daemon.path) as client:
                with Client(daemon.path) as other:
                    key = bytes(range(32))
                    request = other.set_request(b"~/a", bytes(100000), key)
                    chunks = seal_value(bytes(100000), key)[:4]
                    request.chunks.CopyFrom(announce(0, chunks, False))
                    other.send(request, chunks=b"".join(chunks))
                    other.ping()
                    told = [has(client), try_set(client, b"~/b", 100000)]
                # The daemon hears of it a moment later.
                gone = wait_for(lambda: has(client)[1] == 0, 10)
                return [*told, gone, try_set(client, b"~/b", 100000)]

        words = ("this user has 65536 bytes, this would be 100264 more, and quota-bytes allows "
                 "153600")
        self.assertEqual(as_uid(NOBODY, act),
                         [[0, 65536, 0, 153600], [CODE_LIMIT, words], True, [0, ""]])

    def test_what_goes_while_it_is_fetched_counts_until_it_has_left(self):
        daemon = self.daemon("--quota-bytes=3m")
        size = 1 << 20

        def act():
            with Client(daemon.path) as client:
                told = []
                # Each of these fetches more than its socket holds, and reads nothing of it.
                slow = [Client(daemon.path) for _ in range(2)]
                for fetch in slow:
                    client.set(b"~/a", bytes(size))
                    fetch.send(fetch.request(get=pb.Get(name=b"~/a")))
                    fetch.socket.recv(1)
                    client.remove(b"~/a")
                    told.append(has(client)[:2])
                told.append(try_set(client, b"~/a", size))
                close_all(slow)
                told.append(wait_for(lambda: has(client)[1] == 0, 10))
                return [*told, try_set(client, b"~/a", size)]

        beside = 256 + size
        words = ("this user has %d bytes, this would be %d more, and quota-bytes allows %d"
                 % (2 * beside, beside + 8, 3 * size))
        self.assertEqual(as_uid(NOBODY, act), [
            [0, beside], [0, 2 * beside], [CODE_LIMIT, words], True, [0, ""]])

    def test_the_next_worker_counts_the_same(self):
        daemon = self.daemon("--keep", "--quota-count=4", "--quota-bytes=500k")

        def store():
            with Client(daemon.path) as client:
                client.set(b"~/a", bytes(300000), tags=[(b"k", b"value")])
                client.generate(b"~/b", 100)
                client.generate(b"~/b", 50, rotation=3600000)
                client.write_segment(b"~/s", bytes(1000))
                before = has(client)
                client.set(b"~/session", b"x", lifetime={"session": True})
                return before

        def look():
            with Client(daemon.path) as client:
                return has(client)

        def more():
            with Client(daemon.path) as client:
                return [try_set(client, b"~/c", 1), try_set(client, b"~/d", 1),
                        try_set(client, b"~/a", 510000)[0]]

        before = as_uid(NOBODY, store)
        self.assertEqual(before, [
            3, 264 + 9 + 300000 + 264 + 50 + 264 + 100 + 264 + 256 + 1000, 4, 512000])
        for _ in range(2):
            worker = children(daemon.pid)[0]
            os.kill(worker, signal.SIGKILL)
            self.assertTrue(wait_for(lambda: children(daemon.pid) not in ([], [worker])))
            self.assertEqual(as_uid(NOBODY, look), before)
        words = "this user has 4 secrets, and quota-count allows 4"
        self.assertEqual(as_uid(NOBODY, more), [[0, ""], [CODE_LIMIT, words], CODE_LIMIT])

    def test_a_lower_limit_takes_nothing_and_refuses_more(self):
        daemon, other = self.reloading("[daemon]\nquota-count = 3\n", "--keep")

        def store():
            with Client(daemon.path) as client:
                return [try_set(client, b"~/%d" % number, 1000)[0] for number in range(4)]

        def again():
            with Client(daemon.path) as client:
                return [has(client), len(client.get(b"~/2")), try_set(client, b"~/2", 1000)[0],
                        try_set(client, b"~/2", 999)[0], try_set(client, b"~/2", 1000),
                        try_set(client, b"~/3", 1)]

        self.assertEqual(as_uid(NOBODY, store), [0, 0, 0, CODE_LIMIT])
        other("[daemon]\nquota-count = 1\nquota-bytes = 500\n")
        expected = [[3, 3 * 1264, 1, 500], 1000, 0, 0, [
            CODE_LIMIT, "this user has 3791 bytes, this would be 1 more, and quota-bytes "
                        "allows 500"], [
            CODE_LIMIT, "this user has 3 secrets, and quota-count allows 1"]]
        self.assertEqual(as_uid(NOBODY, again), expected)
        # So it stays for the worker that follows.
        worker = children(daemon.pid)[0]
        os.kill(worker, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: children(daemon.pid) not in ([], [worker])))
        self.assertEqual(as_uid(NOBODY, lambda: look(daemon)), [3, 3791, 1, 500])
        other("[daemon]\n")
        self.assertEqual(as_uid(NOBODY, store), [0, 0, 0, 0])

    def test_a_restore_is_all_or_nothing(self):
        daemon = self.daemon("--quota-bytes=1000")

        def act():
            with Client(daemon.path) as client:
                client.set(b"~/a", bytes(100))
                told = [stage(client, b"~/a", 100), stage(client, b"~/b", 100), has(client)]
            with Client(daemon.path) as client:
                gone = wait_for(lambda: has(client)[1] == 364, 10)
                told += [gone, stage(client, b"~/a", 200)]
                client.ask(client.change(commit=pb.Commit(secrets=1)))
                return [*told, has(client)]

        words = "this user has 728 bytes, this would be 364 more, and quota-bytes allows 1000"
        self.assertEqual(as_uid(NOBODY, act), [
            [0, ""], [CODE_LIMIT, words], [2, 728, 0, 1000], True, [0, ""], [1, 464, 0, 1000]])


class Upgraded(UpgradeTest):
    def test_the_next_program_counts_the_same(self):
        client = self.client()
        client.set(b"~/a", bytes(300000))
        client.generate(b"~/b", 100)
        client.generate(b"~/b", 50, rotation=3600000)
        client.write_segment(b"~/s", bytes(1000))
        before = has(client)
        self.assertEqual(before[0], 3)
        self.upgrade()
        self.assertEqual(has(self.client()), before)


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
    daemon_options = ["--socket-mode", "0666", "--quota-sessions=1", "--quota-count=1",
                      "--quota-bytes=4k"]

    def test_mgctl_names_a_quota_of_what_is_stored_and_exits_8(self):
        self.assertEqual(self.as_nobody("set", "~/a", input=b"value").returncode, 0)
        refused = self.as_nobody("set", "~/b", input=b"value")
        self.assertEqual(refused.returncode, LIMIT)
        self.assertIn("this user has 1 secret, and quota-count allows 1", refused.stderr.decode())
        refused = self.as_nobody("set", "~/a", input=bytes(5000))
        self.assertEqual(refused.returncode, LIMIT)
        self.assertIn("quota-bytes allows 4096", refused.stderr.decode())
        self.assertEqual(self.as_nobody("get", "~/a").stdout, b"value")
        answer = json.loads(self.as_nobody("whoami", "--json").stdout)
        self.assertEqual([answer[key] for key in (
            "secrets", "bytes", "quota_count", "quota_bytes", "quota_sessions")],
            [1, 269, 1, 4096, 1])
        words = self.as_nobody("whoami").stdout.decode()
        self.assertRegex(words, r"(?m)^stored +1 secret, 269 bytes\n +at most 1 secret "
                                r"\(quota-count\)\n +at most 4 KiB \(quota-bytes\)$")
        self.assertEqual(self.as_nobody("rm", "~/a").returncode, 0)

    def test_mgctl_names_the_quota_and_exits_8(self):
        self.assertEqual(self.as_nobody("ping").returncode, 0)
        holder = Holder(self.path, NOBODY, 1)
        self.addCleanup(holder.end)
        self.must_be_refused()

    def test_mgctl_names_the_quota_also_when_it_is_not_let_in(self):
        self.addCleanup(hold_silent(self.path, 2))
        for _ in range(20):
            self.must_be_refused()

    def must_be_refused(self):
        refused = self.as_nobody("ping")
        self.assertEqual(refused.returncode, LIMIT)
        self.assertEqual(refused.stderr.decode(), "mgctl: as many connections of this user are "
                         "open as quota-sessions allows\n")


if __name__ == "__main__":
    unittest.main()
