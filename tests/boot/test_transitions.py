# SPDX-License-Identifier: Apache-2.0
"""What becomes of the secrets and of the callers when the service is ended and comes back.

A transition is a line in SURVIVES, which says what is promised, and a case that goes through it."""

import pathlib

from machine import BUILD, NOT_FOUND, SERVICE, SOCKET, MachineTest, wait_for

# Whether a secret is still there behind it.
SURVIVES = {
    "a crash": False,
    "a crash of the worker": True,
    "a crash of ten workers": False,
    "a kill after an upgrade": False,
    "a restart after an upgrade": True,
    "a restart behind a program that was replaced": True,
    "a restart into a wrong configuration": False,
    "a restart on memory that has to be locked": False,
    "a restart on memory that is only locked": True,
    "a restart without a keeper": False,
    "a stop after an upgrade": False,
    "an upgrade": True,
    "an upgrade after a restart": True,
    "an upgrade on memory that has to be locked": True,
    "an upgrade that fails": True,
    "interrupt": False,
    "kill": False,
    "restart": True,
    "shutdown": False,
    "stop": False,
}
GATE = "/run/gate"
CONFIGURATION = "/etc/memguardd/memguardd.conf"
REFUSED = 1  # an exit status of mgctl
# The daemon that stands still where $FAILPOINT says.
FAILPOINTS = pathlib.Path(BUILD, "tests", "integration", "memguardd-failpoints")


class TransitionTest(MachineTest):
    """Each of them begins with a secret of root's and one of a user's."""

    def setUp(self):
        super().setUp()
        self.fill()

    def fill(self):
        self.door = self.ok("stat", "--format=%i", SOCKET)
        self.mgctl("set", "web/a", stdin=b"roots")
        self.mgctl("set", "~/a", user="alice", stdin=b"hers")
        self.before = self.main_pid()

    def look_behind(self, transition):
        """The same door, another process, and of the secrets what was promised. Sets work, and
        systemd holds nothing any more."""
        self.look_at_secrets(transition)
        self.assertNotIn(self.main_pid(), (0, self.before))

    def look_at_secrets(self, transition):
        for name, user, value in (("web/a", None, "roots"), ("~/a", "alice", "hers")):
            if SURVIVES[transition]:
                self.assertEqual(self.mgctl("get", name, user=user), value)
            else:
                self.mgctl("get", name, user=user, status=NOT_FOUND)
        self.assertEqual(self.ok("stat", "--format=%i", SOCKET), self.door)
        self.mgctl("set", "web/b", stdin=b"new")
        self.assertEqual(self.mgctl("get", "web/b"), "new")
        self.assertEqual(self.stored(), 0)

    def stored(self):
        """How many descriptors systemd holds for the service."""
        return int(self.property(SERVICE, "NFileDescriptorStore"))

    def daemons(self):
        """All of them, by their numbers in there."""
        done = self.machine.run("sh", "-c", "grep -lsx memguardd /proc/[0-9]*/comm")
        return {int(path.split("/")[2]) for path in done.stdout.decode().split()}

    def stop(self):
        """Nothing is left of it, and systemd holds nothing."""
        self.ok("systemctl", "stop", SERVICE)
        self.assertEqual(self.property(SERVICE, "Result"), "success")
        self.assertEqual(self.property(SERVICE, "ActiveState"), "inactive")
        self.assertEqual(self.stored(), 0)
        self.assertEqual(self.daemons(), set())

    def restart(self):
        self.ok("systemctl", "restart", SERVICE)
        self.assertEqual(self.property(SERVICE, "ActiveState"), "active")

    def program(self):
        """The one that is installed."""
        return self.ok("sh", "-c", "command -v memguardd").strip()

    def send(self, signal):
        self.ok("sh", "-c", f"kill -{signal} {self.before}")

    def kill(self, signal):
        """systemd starts it again, once, whether somebody calls or not."""
        self.send(signal)
        self.assertTrue(wait_for(lambda: self.main_pid() not in (0, self.before)))
        self.assertEqual(self.property(SERVICE, "NRestarts"), "1")
        self.assertIn(f"status={signal}", self.journal(f"--unit={SERVICE}"))

    def reads_on(self, change):
        """The daemon that ends does not wait for a reader; its library finds the next one."""
        reader = self.begin("mgctl", "--timeout", "30s", "stream", "read", "~/s", user="alice")
        self.assertTrue(wait_for(lambda: self.status()["sessions"] == 2))
        change()
        self.mgctl("stream", "write", "~/s", user="alice", stdin=b"bytes")
        self.assertEqual(reader.communicate(timeout=20), (b"bytes", b""))


class Transitions(TransitionTest):
    """What systemd, a crash or mgctl does to it."""

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

    def test_ten_workers_crash(self):
        """The keeper gives up, tells why, and is started anew with nothing."""
        for _ in range(10):
            worker = self.worker()
            self.ok("sh", "-c", f"kill -11 {worker}")
            self.assertTrue(wait_for(
                lambda: self.main_pid() != self.before or self.worker() not in (0, worker)))
        self.assertTrue(wait_for(lambda: self.main_pid() not in (0, self.before)))
        self.assertEqual(self.property(SERVICE, "NRestarts"), "1")
        written = self.journal(f"--unit={SERVICE}")
        self.assertIn("everything is purged: too many workers have died", written)
        self.assertIn("status=70", written)
        self.look_behind("a crash of ten workers")

    def test_restart(self):
        self.restart()
        self.look_behind("restart")

    def test_some_restarts_in_a_row(self):
        """They are no failure that would take the socket away."""
        for _ in range(8):
            self.ok("systemctl", "restart", SERVICE)
        self.look_behind("restart")

    def test_a_restart_into_a_wrong_configuration(self):
        """systemd drops what it holds for a service that does not come up."""
        self.write(CONFIGURATION, "[daemon]", "max-valu = 3")
        self.ok("systemctl", "restart", SERVICE, status=1)
        self.assertEqual(self.stored(), 0)
        self.write(CONFIGURATION, "[daemon]", "max-value = 3k")
        self.ok("systemctl", "start", SERVICE)
        self.look_behind("a restart into a wrong configuration")

    def test_stop(self):
        self.stop()
        self.look_behind("stop")

    def test_stop_and_start(self):
        self.stop()
        self.ok("systemctl", "start", SERVICE)
        self.look_behind("stop")

    def test_interrupt(self):
        """A word for an end that nothing is to outlive; nor is it a failure."""
        self.send("INT")
        self.assertTrue(wait_for(
            lambda: self.property(SERVICE, "ActiveState") == "inactive"))
        self.assertEqual(self.property(SERVICE, "Result"), "success")
        self.look_behind("interrupt")

    def test_a_restart_without_a_keeper(self):
        """What is there is not wanted, and not kept."""
        self.drop_in("ExecStart=", f"ExecStart={self.program()} --keep=no")
        self.restart()
        self.look_behind("a restart without a keeper")
        self.assertIn("what the daemon before us has left is dropped: the setting `keep` is off",
                      self.journal(f"--unit={SERVICE}"))

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
        # The one moment where systemd holds them: the keys, and what they are for.
        self.assertEqual(self.stored(), 2 if SURVIVES["restart"] else 0)
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
        self.reads_on(lambda: self.ok("systemctl", "restart", SERVICE, seconds=10))
        self.look_behind("restart")


class Upgrades(TransitionTest):
    """Another program is put in its place, and takes over, or does not."""

    def setUp(self):
        super().setUp()
        self.path = self.program()
        self.ok("cp", "--preserve", self.path, self.path + ".kept")
        self.addCleanup(self.ok, "mv", self.path + ".kept", self.path)

    def replace(self, program=None):
        """As dpkg does: the new file beside the old one, then over it."""
        self.ok("cp", "--preserve", program or self.path + ".kept", self.path + ".dpkg-new")
        self.ok("mv", self.path + ".dpkg-new", self.path)

    def running(self):
        """What the main process runs; whose file was replaced has a word behind it."""
        return self.ok("readlink", f"/proc/{self.main_pid()}/exe").strip()

    def upgrade(self):
        """systemd takes the new one for the service's own from then on, without a complaint."""
        old = self.main_pid()
        self.replace()
        self.assertEqual(self.running(), f"{self.path} (deleted)")
        self.mgctl("upgrade")
        self.assertTrue(wait_for(lambda: self.main_pid() not in (0, old)))
        self.assertEqual(self.running(), self.path)
        self.assertTrue(wait_for(lambda: self.daemons() == {self.main_pid(), self.worker()}))
        self.assertEqual(self.property(SERVICE, "ActiveState"), "active")
        self.assertEqual(self.property(SERVICE, "NRestarts"), "0")
        self.assertNotIn("not our child", self.journal(f"--unit={SERVICE}"))

    def test_upgrade(self):
        self.upgrade()
        self.look_behind("an upgrade")

    def test_some_upgrades_in_a_row(self):
        for _ in range(5):
            self.upgrade()
        self.look_behind("an upgrade")

    def test_a_restart_after_an_upgrade(self):
        self.upgrade()
        self.restart()
        self.look_behind("a restart after an upgrade")

    def test_an_upgrade_after_a_restart(self):
        self.restart()
        self.upgrade()
        self.look_behind("an upgrade after a restart")

    def test_a_stop_after_an_upgrade(self):
        self.upgrade()
        self.stop()
        self.look_behind("a stop after an upgrade")

    def test_a_kill_after_an_upgrade(self):
        """systemd sees it, and starts it again as any other."""
        self.upgrade()
        self.before = self.main_pid()
        self.kill("9")
        self.look_behind("a kill after an upgrade")

    def test_a_restart_behind_a_program_that_was_replaced(self):
        """A package that was upgraded, and whose administrator restarts the service."""
        self.replace()
        self.restart()
        self.assertEqual(self.running(), self.path)
        self.look_behind("a restart behind a program that was replaced")

    def fails(self, words):
        """The old one serves on, and everybody is told why."""
        done = self.machine.run("mgctl", "upgrade")
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        for told in done.stderr.decode(), self.mgctl("status"), self.journal(f"--unit={SERVICE}"):
            self.assertIn(words, told)
        self.assertEqual(self.main_pid(), self.before)
        self.assertTrue(wait_for(lambda: self.daemons() == {self.before, self.worker()}))
        self.look_at_secrets("an upgrade that fails")

    def test_an_upgrade_that_fails(self):
        self.replace("/bin/false")
        self.fails("the new program ended with status 1")
        self.replace()
        self.ok("chmod", "g+w", self.path)
        self.fails(f"{self.path}: its group or others may write to it")
        self.upgrade()
        self.look_behind("an upgrade")

    def test_a_restart_after_an_upgrade_that_fails(self):
        self.replace("/bin/false")
        self.fails("the new program ended with status 1")
        self.replace()
        self.restart()
        self.look_behind("restart")

    def test_who_calls_while_one_program_follows_another_is_served(self):
        self.addCleanup(self.ok, "rm", "-f", GATE)
        calls = (f"n=0; until [ -e {GATE} ]; do mgctl --timeout 30s get '~/a' >&2 || exit; "
                 "n=$((n + 1)); done; echo $n")
        callers = [self.begin("sh", "-c", calls, user="alice") for _ in range(2)]
        for _ in range(5):
            self.upgrade()
        self.ok("touch", GATE)
        for caller in callers:
            count, got = caller.communicate(timeout=60)
            self.assertEqual(caller.returncode, 0, got[-200:])
            self.assertGreater(int(count), 0)
            self.assertEqual(got, b"hers" * int(count))

    def test_who_comes_while_nobody_serves_waits_and_is_served(self):
        """The new program stands still once all is its own, until somebody is at the door. Should
        that take it too long, the old one serves him."""
        if not FAILPOINTS.exists():
            self.skipTest(f"{FAILPOINTS} is not built")
        self.drop_in("Environment=FAILPOINT=mapped:19")
        self.restart()
        self.ok("install", "-m", "0755", "/dev/stdin", self.path + ".dpkg-new",
                stdin=FAILPOINTS.read_bytes())
        self.ok("mv", self.path + ".dpkg-new", self.path)
        asking = self.begin("mgctl", "upgrade")
        # The listener, and in its queue whoever asks for the upgrade and this one.
        self.assertEqual(self.ok("sh", "-c", f"""
            until new=$(grep -ls '^State:.T' /proc/[0-9]*/status); do sleep 0.02; done
            mgctl --timeout 50s get web/a & caller=$!
            while kill -0 $caller && [ $(grep -c ' {SOCKET}$' /proc/net/unix) -lt 3 ]; do
                sleep 0.02
            done
            new=${{new#/proc/}}
            kill -CONT ${{new%/status}}
            wait $caller"""), "roots")
        self.assertIn(asking.wait(60), (0, REFUSED))
        self.look_at_secrets("an upgrade")

    def test_who_waits_for_bytes_waits_on_at_the_next_program(self):
        self.reads_on(self.upgrade)
        self.look_behind("an upgrade")


class LockedMemory(TransitionTest):
    """Where memfd_secret(2) is refused: what systemd holds may be swapped out then."""

    offered = ("@memlock",)

    def setUp(self):
        super().setUp()
        self.assertEqual(self.status()["memory"], "mlock")

    def demand(self):
        """From the next start on, with new secrets."""
        self.write(CONFIGURATION, "[daemon]", "memory = require-lock")
        self.restart()
        self.fill()

    def test_a_restart(self):
        self.restart()
        self.look_behind("a restart on memory that is only locked")

    def test_a_restart_where_it_has_to_be_locked(self):
        self.demand()
        self.restart()
        self.look_behind("a restart on memory that has to be locked")
        self.assertIn("nothing is left for the next start: these pages would not be locked",
                      self.journal(f"--unit={SERVICE}"))

    def test_an_upgrade_where_it_has_to_be_locked(self):
        self.demand()
        self.mgctl("upgrade")
        self.look_behind("an upgrade on memory that has to be locked")
