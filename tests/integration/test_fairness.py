# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: what waits for a daemon that stood still tells in which order it is served."""

import os
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


@unittest.skipUnless(ROOT, "needs root, to be somebody else")
class Fairness(unittest.TestCase):
    def daemon(self):
        daemon = Daemon("--socket-mode=0666")
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


if __name__ == "__main__":
    unittest.main()
