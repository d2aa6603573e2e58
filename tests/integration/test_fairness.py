# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: what waits for a daemon that stood still tells in which order it is served."""

import os
import select
import signal
import socket
import unittest

import mgwire
from daemon import Daemon, wait_for
from mgctl_case import ROOT
from mgwire import Client, pb
from strangers import NOBODY


class Crowd:
    """A process of another user: what `begin` gives is done one by one, each at a word from us."""

    def __init__(self, uid, begin):
        self.ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.ours.close()
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                for step in [lambda: 0, *begin()]:
                    theirs.send(b"%3d" % step())
                    theirs.recv(1)
            finally:
                os._exit(0)
        theirs.close()
        self.ours.recv(3)

    def go_on(self):
        self.ours.send(b"g")
        return int(self.ours.recv(3))

    def end(self):
        self.ours.close()
        os.waitpid(self.pid, 0)


def have_answers(clients):
    return len(select.select([client.socket for client in clients], [], [], 0)[0])


@unittest.skipUnless(ROOT, "needs root, to be somebody else")
class Fairness(unittest.TestCase):
    def daemon(self):
        daemon = Daemon("--socket-mode=0666", "--quota-handshakes=no")
        self.addCleanup(daemon.end)
        daemon.folder.chmod(0o755)
        return daemon

    def crowd(self, begin):
        crowd = Crowd(NOBODY, begin)
        self.addCleanup(crowd.end)
        return crowd

    def test_who_is_connected_is_served_before_others_are_let_in(self):
        daemon = self.daemon()

        def begin():
            silent = [mgwire.Wire(daemon.path, shake=False)]

            def come():
                silent.extend(mgwire.Wire(daemon.path, shake=False) for _ in range(100))
                return len(silent)

            return [come]

        crowd = self.crowd(begin)
        with Client(daemon.path) as client:
            self.assertTrue(wait_for(lambda: client.status().sessions == 2))
            os.kill(daemon.pid, signal.SIGSTOP)
            try:
                self.assertEqual(crowd.go_on(), 101)
                client.send(client.request(status=pb.Status()))
            finally:
                os.kill(daemon.pid, signal.SIGCONT)
            self.assertEqual(client.receive()[0].state.sessions, 2)
            self.assertTrue(wait_for(lambda: client.status().sessions == 102))

    def test_one_frame_of_many_requests_holds_others_up_for_one_of_them(self):
        daemon = self.daemon()

        def begin():
            client = Client(daemon.path)

            def ask():
                client.send(*(client.change(generate=pb.Generate(name=b"~/x", size=4096))
                              for _ in range(48)))
                return 48

            def count():
                number = 0
                while have_answers([client]):
                    number += len(client.read_replies())
                return number

            return [ask, count]

        def come():
            with Client(daemon.path) as client:
                yield
                ping = client.request(ping=pb.Ping())
                client.send(ping)
                yield
                client.answer(ping)
                yield

        self.assertLessEqual(self.least_served(daemon, begin, come), 24)

    def give_way(self, daemon):
        """Has the daemon do nothing while anybody of ours does something."""
        processors = os.sched_getaffinity(0)
        self.addCleanup(os.sched_setaffinity, 0, processors)
        for pid in (0, daemon.pid):
            os.sched_setaffinity(pid, {min(processors)})
        os.sched_setscheduler(daemon.pid, os.SCHED_IDLE, os.sched_param(0))

    def least_served(self, daemon, begin, come):
        """How many answers a crowd has when somebody has his, who asked after all of it."""
        self.give_way(daemon)

        def served():
            crowd = Crowd(NOBODY, begin)
            comes = come()
            try:
                next(comes)
                os.kill(daemon.pid, signal.SIGSTOP)
                crowd.go_on()
                next(comes)
                os.kill(daemon.pid, signal.SIGCONT)
                next(comes)
                os.kill(daemon.pid, signal.SIGSTOP)
                return crowd.go_on()
            finally:
                os.kill(daemon.pid, signal.SIGCONT)
                comes.close()
                crowd.end()

        # Others may keep us from looking in time, once in a while.
        return sorted(served() for _ in range(5))[2]


if __name__ == "__main__":
    unittest.main()
