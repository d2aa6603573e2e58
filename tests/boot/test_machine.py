# SPDX-License-Identifier: Apache-2.0
"""The machine with the daemon in it: how it comes up, the first call, and how it goes down."""

import json
import time

from machine import LISTENER, SERVICE, SOCKET, UNREACHABLE, MachineTest, wait_for


class Boot(MachineTest):
    """A machine where nothing has been called yet."""

    def setUp(self):
        """Nothing is touched: what the start of the machine has made is what is looked at."""

    def test_all_that_is_started_comes_up(self):
        self.assertEqual(self.ok("systemctl", "--failed", "--plain", "--no-legend"), "")
        self.assertEqual(self.machine.state, "running")

    def test_systemd_finds_no_fault_in_the_units(self):
        done = self.machine.run("systemd-analyze", "verify", "--man=no", SERVICE, LISTENER)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))

    def test_systemd_says_how_exposed_the_service_is(self):
        """It is printed, not judged."""
        words = self.ok("systemd-analyze", "security", "--no-pager", SERVICE).strip()
        print("# systemd-analyze security: " + words.splitlines()[-1].rpartition(": ")[2])

    def test_the_first_call_starts_the_daemon(self):
        self.look_at_the_door()
        self.assertEqual(self.property(SERVICE, "ActiveState"), "inactive")
        self.assertEqual(self.property(SERVICE, "ActiveEnterTimestampMonotonic"), "0")
        self.mgctl("ping")
        self.assertEqual(self.property(SERVICE, "ActiveState"), "active")
        for pid in self.main_pid(), self.worker():
            self.look_at_who_runs(pid)
        self.assertEqual(json.loads(self.mgctl("status", "--json"))["pid"], self.worker())
        self.look_at_the_door()
        self.assertIn('\n     Status: "Serving"\n', self.ok("systemctl", "status", SERVICE))

    def look_at_the_door(self):
        """It is root's, whoever serves behind it, and open to all."""
        form = ("stat", "--format=%F %a %U %G")
        self.assertEqual(self.ok(*form, SOCKET), "socket 666 root root\n")
        self.assertEqual(self.ok(*form, SOCKET.rpartition("/")[0]), "directory 755 root root\n")

    def look_at_who_runs(self, pid):
        uid, gid = (self.ok("id", option, "memguardd").strip() for option in ("-u", "-g"))
        self.assertNotEqual(uid, "0")
        facts = self.facts(pid)
        self.assertEqual(facts["Uid"].split(), [uid] * 4)
        self.assertEqual(facts["Gid"].split(), [gid] * 4)
        self.assertLessEqual(set(facts["Groups"].split()), {gid})
        self.assertEqual(int(facts["CapEff"], 16), 0)


class PowerOff(MachineTest):
    """A machine that is switched off while somebody waits for a secret."""

    def test_the_daemon_ends_in_order_when_the_machine_does(self):
        self.mgctl("set", "web/a", stdin=b"x")
        waiting = self.begin("mgctl", "--timeout", "1h", "stream", "read", "~/a",
                                     user="alice")
        self.assertTrue(wait_for(lambda: self.status()["sessions"] == 2))
        begin = time.monotonic()
        self.machine.run("systemctl", "poweroff")
        self.assertEqual(self.machine.container.wait(), 0)
        # systemd would wait for a minute and a half, and then kill.
        self.assertLess(time.monotonic() - begin, 10)
        self.assertEqual(waiting.wait(10), UNREACHABLE)
        words = self.machine.last_journal()
        order = [words.find(line) for line in (
            "ending, on Terminated", f"{SERVICE}: Deactivated successfully.",
            f"{LISTENER}: Deactivated successfully.")]
        self.assertNotIn(-1, order, words)
        self.assertEqual(order, sorted(order), words)
