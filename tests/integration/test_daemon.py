# SPDX-License-Identifier: Apache-2.0
"""The daemon as a process: how it starts, what it refuses, how it ends."""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

from daemon import accepts, wait_for
from strangers import NOBODY, as_nobody, programs_for_all

MEMGUARDD = os.environ["MEMGUARDD"]
MGCTL = os.environ["MGCTL"]
DENY = os.environ.get("DENY", "")
SANITIZED = bool(os.environ.get("SANITIZED"))
ROOT = os.geteuid() == 0


class DaemonTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.path = self.folder / "socket"
        self.started = []

    def tearDown(self):
        for process in self.started:
            if process.poll() is None:
                process.terminate()
                process.wait(60)
            process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *arguments, wrap=(), ready=True, **options):
        process = subprocess.Popen(
            [*wrap, MEMGUARDD, "--socket", str(self.path), *arguments],
            stderr=subprocess.PIPE, text=True, **options)
        self.started.append(process)
        if ready:
            self.assertTrue(wait_for(lambda: accepts(self.path)), "the daemon does not come up")
        return process

    def run_daemon(self, *arguments, wrap=(), **options):
        """Runs a daemon that is expected to end by itself."""
        return subprocess.run(
            [*wrap, MEMGUARDD, "--socket", str(self.path), *arguments],
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, timeout=60, **options)

    def mgctl(self, *arguments, stdin=b"", path=None, **options):
        return subprocess.run(
            [MGCTL, "--socket", f"unix:{path or self.path}", *arguments],
            input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **options)

    def status(self):
        result = self.mgctl("status", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)


class Start(DaemonTest):
    def test_what_is_stored_is_fetched(self):
        self.start()
        self.assertEqual(self.mgctl("set", "a/b", stdin=b"value\n").returncode, 0)
        self.assertEqual(self.mgctl("get", "a/b").stdout, b"value\n")

    def test_a_second_daemon_says_so_and_ends(self):
        self.start()
        second = self.run_daemon()
        self.assertEqual(second.returncode, 69)
        self.assertIn(str(self.path), second.stderr)
        self.assertEqual(len(second.stderr.splitlines()), 1)
        self.assertEqual(self.mgctl("ping").returncode, 0)

    def test_a_stale_socket_is_replaced(self):
        first = self.start()
        first.kill()
        first.wait()
        self.assertTrue(self.path.exists())
        self.start()
        self.assertEqual(self.mgctl("ping").returncode, 0)

    def test_a_file_that_is_no_socket_is_left_alone(self):
        self.path.write_text("mine")
        result = self.run_daemon()
        self.assertEqual(result.returncode, 78)
        self.assertIn(str(self.path), result.stderr)
        self.assertEqual(self.path.read_text(), "mine")

    def test_a_folder_that_others_may_write_to_is_refused(self):
        self.folder.chmod(0o777)
        result = self.run_daemon()
        self.assertEqual(result.returncode, 78)
        self.assertIn(str(self.folder), result.stderr)
        self.assertFalse(self.path.exists())

    def test_the_socket_is_its_owners_alone(self):
        self.start()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_an_unknown_option_is_a_usage_error(self):
        result = self.run_daemon("--frobnicate")
        self.assertEqual(result.returncode, 2)
        self.assertIn("--frobnicate", result.stderr)

    def test_an_unknown_key_is_named_with_file_and_line(self):
        config = self.folder / "memguardd.conf"
        config.write_text("[daemon]\nmemory = prefer-lock\nmemmory = prefer-lock\n")
        result = self.run_daemon("--config", str(config))
        self.assertEqual(result.returncode, 78)
        self.assertIn(f"{config}:3:", result.stderr)
        self.assertIn("memmory", result.stderr)

    def test_help_and_version_go_to_stdout(self):
        for option in ("--help", "--version"):
            result = self.run_daemon(option)
            self.assertEqual(result.returncode, 0)
            self.assertIn("memguardd", result.stdout)
            self.assertEqual(result.stderr, "")

    def test_no_core_and_not_dumpable(self):
        process = self.start()
        status = self.status()
        self.assertFalse(status["dumpable"])
        self.assertEqual(status["core_limit"], 0)
        self.assertEqual(os.stat(f"/proc/{process.pid}/mem").st_uid, 0)

    def test_without_randomness_it_ends_with_70(self):
        if not ROOT or not DENY:
            self.skipTest("needs root, for a /dev without urandom")
        script = f"mount -t tmpfs none /dev && exec {DENY} getrandom -- {MEMGUARDD} --socket {self.path}"
        result = subprocess.run(["unshare", "--mount", "sh", "-c", script],
                                stderr=subprocess.PIPE, text=True, timeout=60)
        if "unshare" in result.stderr:
            self.skipTest("no mount namespaces here")
        self.assertEqual(result.returncode, 70, result.stderr)
        self.assertIn("randomness", result.stderr)


@unittest.skipIf(SANITIZED, "the sanitizers need memory of their own")
class Memory(DaemonTest):
    """What is really in force, and what is refused."""

    def deny(self, *what):
        if not DENY:
            self.skipTest("the helper program is not built")
        return [DENY, *what, "--"]

    def test_the_mlock_fallback_serves_and_says_so(self):
        self.start(wrap=self.deny("memfd_secret"))
        status = self.status()
        self.assertEqual(status["memory"], "mlock")
        self.assertIn("secretmem.enable=1", status["advice"])
        self.assertEqual(self.mgctl("set", "a", stdin=b"x").returncode, 0)

    def test_a_refused_memfd_secret_is_told_from_a_missing_one(self):
        self.start(wrap=self.deny("memfd_secret=EPERM"))
        self.assertIn("filter", self.status()["advice"])

    def test_unlocked_memory_serves_and_says_so(self):
        self.start(wrap=self.deny("memfd_secret", "mlock=EPERM", "mlock2=EPERM"))
        status = self.status()
        self.assertEqual(status["memory"], "not locked")
        self.assertEqual(status["locked"], 0)
        self.assertIn("not locked", status["advice"])
        self.assertEqual(self.mgctl("set", "a", stdin=b"x").returncode, 0)
        self.assertEqual(self.mgctl("get", "a").stdout, b"x")

    def sealed_mappings(self, process):
        """How many mappings of the process the kernel holds in place."""
        lines = pathlib.Path(f"/proc/{process.pid}/smaps").read_text().splitlines()
        return sum(line.startswith("VmFlags:") and "sl" in line.split() for line in lines)

    def test_the_mappings_are_sealed_where_the_kernel_can(self):
        can = ctypes.CDLL(None).syscall(462, ctypes.c_long(0), ctypes.c_long(0), 0) == 0
        process = self.start()
        self.assertEqual(self.status()["sealed"], can)
        if not can or not ROOT:
            self.skipTest("needs root, and Linux 6.10 with mseal(2), to see it in the mappings")
        # Keys, view, stack and bench, and the holes around them.
        self.assertGreaterEqual(self.sealed_mappings(process), 9)

    def test_without_mseal_it_serves_and_says_so(self):
        process = self.start(wrap=self.deny("mseal"))
        self.assertIs(self.status()["sealed"], False)
        self.assertEqual(self.mgctl("set", "a", stdin=b"x").returncode, 0)
        self.assertEqual(self.mgctl("get", "a").stdout, b"x")
        if ROOT:
            self.assertEqual(self.sealed_mappings(process), 0)

    def test_require_secretmem_ends_with_78_and_one_line(self):
        result = self.run_daemon("--memory", "require-secretmem", wrap=self.deny("memfd_secret"))
        self.assertEqual(result.returncode, 78)
        self.assertEqual(len(result.stderr.splitlines()), 1)
        self.assertIn("memfd_secret", result.stderr)

    def test_require_lock_ends_with_78_and_one_line(self):
        result = self.run_daemon(
            "--memory", "require-lock",
            wrap=self.deny("memfd_secret", "mlock=ENOMEM", "mlock2=ENOMEM"))
        self.assertEqual(result.returncode, 78)
        self.assertEqual(len(result.stderr.splitlines()), 1)

    def test_require_lock_is_content_with_mlock(self):
        self.start("--memory", "require-lock", wrap=self.deny("memfd_secret"))
        self.assertEqual(self.status()["memory"], "mlock")

    def test_everything_works_under_ulimit_l_64(self):
        self.start(wrap=self.deny("--drop-cap-ipc-lock", "--memlock", "65536"))
        limited = self.deny("--drop-cap-ipc-lock", "--memlock", "65536")
        value = os.urandom(1 << 20)
        for arguments, stdin in ((["set", "big"], value), (["get", "big"], b"")):
            result = subprocess.run(
                [*limited, MGCTL, "--socket", f"unix:{self.path}", *arguments],
                input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
            self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, value)
        status = self.status()
        self.assertIn(status["memory"], ("memfd_secret", "mlock"))
        self.assertEqual(status["locked"], 65536)


class End(DaemonTest):
    # What memguardd(8) says of each signal; whoever is in none of these ends it in order.
    IGNORED = {signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD,
               signal.SIGURG, signal.SIGWINCH, signal.SIGCONT}
    FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT,
              signal.SIGSYS, signal.SIGTRAP}
    STOPPING = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGSTOP}
    OTHERS = {signal.SIGKILL, signal.SIGUSR2, signal.SIGHUP}  # HUP: test_reload.py

    def test_every_other_signal_ends_it_in_order(self):
        known = self.IGNORED | self.FAULTS | self.STOPPING | self.OTHERS
        ends = set(signal.valid_signals()) - known
        self.assertLessEqual({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}, ends)
        for number in sorted(ends):
            with self.subTest(signal=number):
                process = self.start()
                process.send_signal(number)
                self.assertEqual(process.wait(60), 0)
                self.assertFalse(self.path.exists())
                self.assertEqual(sorted(self.folder.iterdir()), [])

    def test_a_stray_signal_loses_no_secret(self):
        process = self.start()
        self.mgctl("set", "kept", stdin=b"v")
        for number in sorted(self.IGNORED):
            process.send_signal(number)
        self.assertEqual(self.mgctl("get", "kept").stdout, b"v")

    def test_a_fault_ends_it_by_itself_and_leaves_no_core(self):
        for number in sorted(self.FAULTS):
            with self.subTest(signal=number):
                process = self.start()
                process.send_signal(number)
                _, status = os.waitpid(process.pid, 0)
                process.returncode = -number
                self.assertTrue(os.WIFSIGNALED(status))
                self.assertEqual(os.WTERMSIG(status), number)
                self.assertFalse(os.WCOREDUMP(status))

    def test_what_stops_it_loses_no_secret(self):
        process = self.start()
        self.mgctl("set", "kept", stdin=b"v")
        for number in sorted(self.STOPPING):
            process.send_signal(number)
            # A process group without a parent in the session is not stopped from the terminal.
            process.send_signal(signal.SIGCONT)
        self.assertEqual(self.mgctl("get", "kept").stdout, b"v")

    def test_usr2_purges_and_goes_on(self):
        process = self.start()
        self.mgctl("set", "dead", stdin=b"v")
        process.send_signal(signal.SIGUSR2)
        self.assertTrue(wait_for(lambda: self.mgctl("get", "dead").returncode == 3))
        self.mgctl("set", "new", stdin=b"w")
        self.assertEqual(self.mgctl("get", "new").stdout, b"w")
        process.terminate()
        self.assertEqual(process.wait(60), 0)
        self.assertIn("purged everything, on SIGUSR2", process.stderr.read())

    def test_sessions_do_not_keep_it(self):
        process = self.start()
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as idle:
            idle.connect(str(self.path))
            process.terminate()
            self.assertEqual(process.wait(60), 0)


class Companion(DaemonTest):
    def run_command(self, *command, options=(), **kwargs):
        return subprocess.run([MEMGUARDD, *options, "--", *command], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60, **kwargs)

    def test_a_command_has_a_daemon_of_its_own(self):
        script = f"printf secret | {MGCTL} set a && {MGCTL} get a && echo \" $MEMGUARD_SOCKET\""
        result = self.run_command("sh", "-c", script)
        self.assertEqual(result.returncode, 0, result.stderr)
        value, place = result.stdout.decode().split()
        self.assertEqual(value, "secret")
        folder = os.path.dirname(place.removeprefix("unix:"))
        self.assertTrue(wait_for(lambda: not os.path.exists(folder)), "its folder is still there")

    def test_a_place_in_the_file_is_not_that_of_a_commands_daemon(self):
        config = self.folder / "config"
        config.write_text(f"[daemon]\nsocket = {self.path}\nsocket-mode = 0666\n")
        config.chmod(0o600)
        script = 'stat -c %a "${MEMGUARD_SOCKET#unix:}"; echo "$MEMGUARD_SOCKET"'
        result = self.run_command("sh", "-c", script, options=["--config", str(config)])
        mode, place = result.stdout.decode().split()
        self.assertEqual(mode, "600")
        self.assertNotIn(str(self.path), place)

    def test_a_commands_service_manager_hears_of_the_command_alone(self):
        path = self.folder / "notify"
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notify:
            notify.bind(str(path))
            result = self.run_command(
                "sh", "-c", 'echo "$NOTIFY_SOCKET"', env={**os.environ, "NOTIFY_SOCKET": str(path)})
            self.assertEqual(result.stdout.decode().strip(), str(path))
            notify.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                notify.recv(4096)

    def test_a_command_has_stderr_to_itself(self):
        self.assertEqual(self.run_command("sh", "-c", "echo mine >&2").stderr, b"mine\n")

    def test_a_second_signal_leaves_no_folder_behind(self):
        with subprocess.Popen([MEMGUARDD, "--", "sh", "-c", "echo $MEMGUARD_SOCKET; exec sleep 60"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as command:
            place = pathlib.Path(command.stdout.readline().decode().strip()[len("unix:"):])
            children = pathlib.Path(f"/proc/{command.pid}/task/{command.pid}/children")
            daemon = int(children.read_text().split()[0])
            for _ in range(2):
                os.kill(daemon, signal.SIGTERM)
            gone = wait_for(lambda: not place.parent.exists())
            command.kill()
        self.assertTrue(gone, "its folder is still there")

    def test_its_exit_status_is_the_commands(self):
        self.assertEqual(self.run_command("sh", "-c", "exit 7").returncode, 7)
        self.assertEqual(self.run_command("sh", "-c", "kill -9 $$").returncode, -9)

    def test_a_command_that_is_not_there_is_127_and_one_that_cannot_run_126(self):
        self.assertEqual(self.run_command("/does/not/exist").returncode, 127)
        self.assertEqual(self.run_command(str(self.folder)).returncode, 126)

    def test_the_commands_limits_and_dumpability_are_untouched(self):
        script = "ulimit -c; ulimit -Sn; cat /proc/self/stat > /dev/null && echo readable"
        plain = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE)
        self.assertEqual(self.run_command("sh", "-c", script).stdout, plain.stdout)

    def test_a_signal_to_the_commands_group_does_not_end_the_daemon_first(self):
        script = (f"trap '' INT; printf x | {MGCTL} set a; kill -INT 0; sleep 0.2; {MGCTL} get a")
        result = self.run_command("sh", "-c", script, start_new_session=True)
        self.assertEqual(result.stdout, b"x", result.stderr)

    def test_a_daemon_that_does_not_come_up_keeps_the_command_from_running(self):
        result = self.run_command("echo", "ran", options=["--max-value", "0"])
        self.assertEqual((result.returncode, result.stdout), (2, b""))
        if DENY and not SANITIZED:
            result = subprocess.run(
                [DENY, "memfd_secret", "--", MEMGUARDD, "--memory", "require-secretmem", "--",
                 "echo", "ran"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
            self.assertEqual((result.returncode, result.stdout), (78, b""))


class Activation(DaemonTest):
    """A listener that the service manager made, and readiness."""

    def activate(self, uid=None, program=MEMGUARDD):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        self.path.chmod(0o666)
        listener.listen()
        notify_path = self.folder / "notify"
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(notify_path))
        notify.settimeout(10)
        if uid is not None:
            self.folder.chmod(0o755)
            notify_path.chmod(0o666)
        # A service's account has no home, and no place of its own for a socket.
        environment = {name: value for name, value in os.environ.items()
                       if name not in ("HOME", "XDG_RUNTIME_DIR")}
        script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'

        def lower():
            os.dup2(listener.fileno(), 3)
            os.set_inheritable(3, True)  # also where it was 3 already
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)

        process = subprocess.Popen(
            ["sh", "-c", script, "sh", program], close_fds=False, preexec_fn=lower, stderr=subprocess.PIPE, text=True,
            env={**environment, "NOTIFY_SOCKET": str(notify_path)})
        self.started.append(process)
        with contextlib.closing(listener), contextlib.closing(notify):
            self.assertIn("READY=1", notify.recv(4096).decode())
        return process

    def test_an_inherited_listener_is_served_and_left_in_place(self):
        process = self.activate()
        self.assertEqual(self.mgctl("set", "a", stdin=b"x").returncode, 0)
        process.terminate()
        self.assertEqual(process.wait(60), 0)
        self.assertTrue(self.path.exists())

    def test_a_worker_that_is_not_root_serves_a_listener_that_root_made(self):
        if not ROOT:
            self.skipTest("needs root")
        program, _ = programs_for_all(self.folder)
        process = self.activate(uid=NOBODY, program=program)
        self.assertEqual(os.stat(f"/proc/{process.pid}/mem").st_uid, 0)  # not dumpable
        # Clients see root at the other end: the listener was not restamped.
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            probe.connect(str(self.path))
            peer = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.assertEqual(int.from_bytes(peer[4:8], "little"), 0)
        self.assertEqual(self.mgctl("set", "~/a", stdin=b"x").returncode, 0)
        self.assertEqual(self.mgctl("get", "~/a").stdout, b"x")


class Strangers(DaemonTest):
    """Somebody else's daemon, and a daemon that is somebody else's."""

    def as_nobody(self, *arguments, **options):
        return subprocess.run(as_nobody(self.program, *arguments), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60, **options)

    def setUp(self):
        super().setUp()
        if not ROOT:
            self.skipTest("needs root, to be somebody else")
        _, self.program = programs_for_all(self.folder)

    def test_a_foreign_uid_is_turned_away_from_a_users_own_daemon(self):
        process = self.start()
        self.path.chmod(0o666)  # somebody opened the way: the daemon still says no
        result = self.as_nobody("--socket", f"unix:{self.path}", "ping")
        self.assertEqual(result.returncode, 6)
        self.assertEqual(self.mgctl("ping").returncode, 0)
        process.terminate()
        self.assertIn(f"uid {NOBODY}", process.stderr.read())

    def test_a_shared_daemon_gives_each_user_a_space_of_its_own(self):
        self.start("--socket-mode", "0666")
        place = ["--socket", f"unix:{self.path}"]
        self.assertEqual(self.mgctl("set", "shared", stdin=b"x").returncode, 0)
        self.assertEqual(self.as_nobody(*place, "set", "~/a", input=b"y").returncode, 0)
        self.assertEqual(self.as_nobody(*place, "get", "~/a").stdout, b"y")
        self.assertEqual(self.mgctl("get", f"~{NOBODY}/a").stdout, b"y")
        denied = self.as_nobody(*place, "get", "shared")
        absent = self.as_nobody(*place, "get", "absent")
        self.assertEqual((denied.returncode, absent.returncode), (4, 4))
        self.assertEqual(denied.stderr.replace(b"shared", b"*"), absent.stderr.replace(b"absent", b"*"))
        self.assertEqual(self.as_nobody(*place, "ls").stdout, b"~/a\n")

    def test_a_client_sends_nothing_to_a_daemon_of_a_stranger(self):
        self.folder.chmod(0o777)
        listener = socket.socket(socket.AF_UNIX)
        pid = os.fork()
        if pid == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            listener.bind(str(self.path))
            listener.listen()
            listener.settimeout(10)
            peer, _ = listener.accept()
            peer.settimeout(10)
            os._exit(1 if peer.recv(1) else 0)
        listener.close()
        self.assertTrue(wait_for(self.path.exists))
        time.sleep(0.1)
        result = self.mgctl("set", "a", stdin=b"secret")
        self.assertEqual(result.returncode, 6)
        self.assertIn(str(NOBODY).encode(), result.stderr)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)


if __name__ == "__main__":
    unittest.main()
