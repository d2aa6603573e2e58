# SPDX-License-Identifier: Apache-2.0
"""What becomes of the secrets and of the callers when the service is ended and comes back.

A transition is a line in SURVIVES, which says what is promised, and a case that goes through it."""

from machine import NOT_FOUND, SERVICE, SOCKET, MachineTest, wait_for

# Whether a secret is still there behind it.
SURVIVES = {
    "a crash": False,
    "a crash of the worker": True,
    "kill": False,
    "restart": False,
    "shutdown": False,
    "stop": False,
}
GATE = "/run/gate"


class Transitions(MachineTest):
    """Each of them begins with a secret of root's and one of a user's."""

    def setUp(self):
        super().setUp()
        self.door = self.ok("stat", "--format=%i", SOCKET)
        self.mgctl("set", "web/a", stdin=b"roots")
        self.mgctl("set", "~/a", user="alice", stdin=b"hers")
        self.before = self.main_pid()

    def look_behind(self, transition):
        """The same door, another process, and of the secrets what was promised. Sets work."""
        for name, user, value in (("web/a", None, "roots"), ("~/a", "alice", "hers")):
            if SURVIVES[transition]:
                self.assertEqual(self.mgctl("get", name, user=user), value)
            else:
                self.mgctl("get", name, user=user, status=NOT_FOUND)
        self.assertEqual(self.ok("stat", "--format=%i", SOCKET), self.door)
        self.assertNotIn(self.main_pid(), (0, self.before))
        self.mgctl("set", "web/b", stdin=b"new")
        self.assertEqual(self.mgctl("get", "web/b"), "new")

    def send(self, signal):
        self.ok("sh", "-c", f"kill -{signal} {self.before}")

    def kill(self, signal):
        """systemd starts it again, once, whether somebody calls or not."""
        self.send(signal)
        self.assertTrue(wait_for(lambda: self.main_pid() not in (0, self.before)))
        self.assertEqual(self.property(SERVICE, "NRestarts"), "1")
        self.assertIn(f"status={signal}", self.journal(f"--unit={SERVICE}"))

    def test_kill(self):
        self.kill("9")
        self.look_behind("kill")

    def test_who_calls_right_behind_a_kill_is_served(self):
        self.send("9")
        self.look_behind("kill")

    def test_a_crash(self):
        self.kill("11")
        self.look_behind("a crash")

    def crash_worker(self, signal):
        worker = self.worker()
        self.ok("sh", "-c", f"kill -{signal} {worker}")
        self.assertTrue(wait_for(lambda: self.worker() not in (0, worker)))
        for name, user, value in (("web/a", None, "roots"), ("~/a", "alice", "hers")):
            self.assertTrue(SURVIVES["a crash of the worker"])
            self.assertEqual(self.mgctl("get", name, user=user), value)
        self.assertEqual(self.main_pid(), self.before)
        self.assertEqual(self.property(SERVICE, "NRestarts"), "0")
        self.assertIn("serves again, with 2 secrets", self.journal(f"--unit={SERVICE}"))

    def test_a_worker_is_killed(self):
        self.crash_worker("9")

    def test_a_worker_crashes(self):
        self.crash_worker("11")

    def test_restart(self):
        self.ok("systemctl", "restart", SERVICE)
        self.assertEqual(self.property(SERVICE, "ActiveState"), "active")
        self.look_behind("restart")

    def test_some_restarts_in_a_row(self):
        """They are no failure that would take the socket away."""
        for _ in range(8):
            self.ok("systemctl", "restart", SERVICE)
        self.look_behind("restart")

    def test_stop(self):
        self.ok("systemctl", "stop", SERVICE)
        self.assertEqual(self.property(SERVICE, "Result"), "success")
        self.assertEqual(self.property(SERVICE, "ActiveState"), "inactive")
        self.look_behind("stop")

    def test_stop_and_start(self):
        self.ok("systemctl", "stop", SERVICE)
        self.ok("systemctl", "start", SERVICE)
        self.look_behind("stop")

    def test_shutdown(self):
        """mgctl's own word for it: it is no failure, so that only the next call starts it again."""
        self.mgctl("shutdown")
        self.assertTrue(wait_for(
            lambda: self.property(SERVICE, "ActiveState") == "inactive"))
        self.assertEqual(self.property(SERVICE, "Result"), "success")
        self.look_behind("shutdown")

    def test_who_comes_during_a_restart_waits_and_is_served(self):
        """The next daemon is held back until the caller is at the door."""
        self.drop_in(f"ExecStartPre=sh -c 'until [ -e {GATE} ]; do sleep 0.02; done'")
        self.addCleanup(self.ok, "rm", "-f", GATE)
        self.ok("systemctl", "--no-block", "restart", SERVICE)
        self.assertTrue(wait_for(
            lambda: self.property(SERVICE, "SubState") == "start-pre"))
        early = self.begin("mgctl", "--timeout", "30s", "get", "~/a", user="alice")
        self.assertTrue(wait_for(self.somebody_waits))
        self.assertIsNone(early.poll())
        self.ok("touch", GATE)
        self.assertEqual(early.wait(20), 0 if SURVIVES["restart"] else NOT_FOUND)
        self.look_behind("restart")

    def somebody_waits(self):
        """In the queue of the listener: a connection that has the listener's name and no owner."""
        lines = self.ok("cat", "/proc/net/unix").splitlines()
        return sum(line.endswith(" " + SOCKET) for line in lines) > 1

    def test_who_waits_for_bytes_waits_on_at_the_next_daemon(self):
        """The daemon that ends does not wait for a reader; its library finds the next one."""
        reader = self.begin("mgctl", "--timeout", "30s", "stream", "read", "~/s", user="alice")
        self.assertTrue(wait_for(lambda: self.status()["sessions"] == 2))
        self.ok("systemctl", "restart", SERVICE, seconds=10)
        self.look_behind("restart")
        self.mgctl("stream", "write", "~/s", user="alice", stdin=b"bytes")
        self.assertEqual(reader.communicate(timeout=20), (b"bytes", b""))
