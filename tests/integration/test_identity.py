# SPDX-License-Identifier: Apache-2.0
"""Who somebody is, and from where, with real users, cgroups and namespaces: nobody is ever allowed
what a rule gives to another. Each case has its control: who is what the rule says is allowed."""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

import cgroups
from cgroups import CLONE_NEWCGROUP, CLONE_NEWPID, CLONE_NEWUSER, USER, Visitor, libc, next_pid
from daemon import Daemon, wait_for
from mgwire import Client

ROOT = cgroups.Cgroups(cgroups.enter())

RULES = """
[namespace unit]
allow = get,watch ** unit:nginx.service
[namespace weak]
allow = get ** unit:nginx.service pid-weak
[namespace slice]
allow = get ** slice:ci.slice
[namespace userunit]
allow = get ** userunit:agent.service uid:1000
[namespace uid]
allow = get ** uid:1000
[namespace not]
allow = get ** uid:1000
deny = get ** unit:bad.service
[namespace gid]
allow = get ** gid:65534
"""
NAMES = ("unit", "weak", "slice", "userunit", "uid", "not", "gid")

NGINX = "system.slice/nginx.service"
OTHER = "system.slice/other.service"
MANAGER = "user.slice/user-1000.slice/user@1000.service"
DENY = os.environ["DENY"]
NO_INFO = ("PIDFD_GET_INFO=ENOTTY",)
NO_PIDFD = (*NO_INFO, "SO_PEERPIDFD=ENOPROTOOPT")


def unshare(flags):
    if libc.unshare(flags) < 0:
        raise OSError(ctypes.get_errno(), "unshare")


def checked():
    """Whether this kernel tells of a process what a pidfd holds."""
    with Daemon() as daemon, Client(daemon.path) as client:
        return client.whoami().pidfd


class Identity(unittest.TestCase):
    """One daemon a class, on a kernel that lacks what `lacking` names."""

    lacking = ()
    wrap = ()

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.folder.chmod(0o755)
        rules = cls.folder / "rules.conf"
        rules.write_text(RULES)
        rules.chmod(0o644)
        wrap = [*cls.wrap, *([DENY, *cls.lacking, "--"] if cls.lacking else [])]
        cls.daemon = Daemon("--socket-mode=0666", f"--policy-dir={cls.folder}", wrap=wrap)
        cls.addClassCleanup(cls.daemon.end)
        cls.daemon.folder.chmod(0o755)
        with Client(cls.daemon.path) as client:
            for name in NAMES:
                client.set(f"{name}/x".encode(), b"value")

    def visit(self, cgroup, **options):
        visitor = Visitor(self.daemon.path, ROOT.procs(cgroup), **options)
        self.addCleanup(visitor.end)
        return visitor

    def assertAllowed(self, visitor, *names):
        """These, and no others."""
        found = [name for name in NAMES if visitor.get(f"{name}/x") == "yes"]
        self.assertEqual(found, [name for name in NAMES if name in names])


class Places:
    """What holds wherever a pidfd is to be had."""

    def test_a_unit_is_the_service_managers(self):
        self.assertAllowed(self.visit(NGINX), "unit", "weak", "uid", "not")
        self.assertAllowed(self.visit(NGINX + "/worker"), "unit", "weak", "uid", "not")
        for cgroup in (OTHER, "system.slice/nginx.service.d", "nginx.service", "",
                       "system.slice/nginx.timer", "system.slice/x/nginx.service",
                       "x.slice/system.slice/nginx.service"):
            self.assertAllowed(self.visit(cgroup), "uid", "not")

    def test_who_names_a_cgroup_of_its_own_is_no_system_unit(self):
        """As a user may below its own service manager, and a service to which its own is given."""
        for cgroup in (MANAGER + "/" + NGINX, MANAGER + "/nginx.service",
                       "system.slice/other.service/nginx.service",
                       "system.slice/other.service/system.slice/nginx.service",
                       "user.slice/user-1000.slice/system.slice/nginx.service"):
            self.assertAllowed(self.visit(cgroup), "uid", "not")

    def test_a_slice_is_the_service_managers(self):
        self.assertAllowed(self.visit("ci.slice/build.service"), "slice", "uid", "not")
        self.assertAllowed(self.visit("ci.slice"), "slice", "uid", "not")
        for cgroup in ("ci.slice/ci-a.slice/build.service", MANAGER + "/ci.slice/build.service",
                       "x.slice/ci.slice"):
            self.assertAllowed(self.visit(cgroup), "uid", "not")

    def test_a_unit_of_a_user_is_that_users(self):
        place = MANAGER + "/app.slice/agent.service"
        self.assertAllowed(self.visit(place), "userunit", "uid", "not")
        self.assertAllowed(self.visit(place, uid=1001))
        self.assertAllowed(self.visit(place.replace("1000", "1001"), uid=1001))
        self.assertAllowed(self.visit(place.replace("1000", "1001")), "uid", "not")
        self.assertAllowed(self.visit(OTHER + "/agent.service"), "uid", "not")

    def test_a_deny_finds_its_unit(self):
        self.assertAllowed(self.visit("system.slice/bad.service"), "uid")
        self.assertAllowed(self.visit("system.slice/good.service"), "uid", "not")

    def test_who_is_moved_is_where_it_is_now(self):
        visitor = self.visit(NGINX)
        for cgroup, there in ((OTHER, False), (NGINX, True), (MANAGER, False), (NGINX, True),
                              ("system.slice/bad.service", False), (OTHER, False)):
            ROOT.move(visitor.pid, cgroup)
            self.assertEqual(visitor.get("unit/x"), "yes" if there else "no")
            self.assertEqual(visitor.get("not/x"), "no" if "bad" in cgroup else "yes")

    def test_a_log_tells_no_place_where_somebody_was(self):
        """Where no rule asks for it whoami has found it out, and nobody since."""
        log = self.folder / f"audit-{type(self).__name__}"
        wrap = [DENY, *self.lacking, "--"] if self.lacking else []
        with Daemon("--socket-mode=0666", "--audit=all", f"--audit-file={log}",
                    wrap=wrap) as daemon:
            daemon.folder.chmod(0o755)
            visitor = Visitor(daemon.path, ROOT.procs(NGINX))
            self.addCleanup(visitor.end)
            self.assertIn("nginx.service", visitor.do("where"))
            ROOT.move(visitor.pid, OTHER)
            self.assertEqual(visitor.get("x"), "no")
            last = json.loads(log.read_text().splitlines()[-1])
            self.assertEqual((last["op"], last["pid"]), ("get", visitor.pid))
            self.assertNotEqual(last.get("unit"), "nginx.service")

    def test_who_is_moved_without_its_first_thread_is_nowhere(self):
        """The kernel leaves a thread that has ended in the cgroup where it was."""
        visitor = self.visit(NGINX)
        self.assertEqual(visitor.get("unit/x"), "yes")
        visitor.do("lose_thread")
        state = pathlib.Path(f"/proc/{visitor.pid}/stat")
        self.assertTrue(wait_for(lambda: state.read_text().split()[2] == "Z"))
        ROOT.move(visitor.pid, OTHER)
        self.assertEqual(visitor.get("unit/x"), "no")
        # It may be anywhere: a deny counts.
        self.assertEqual(visitor.get("not/x"), "no")
        self.assertEqual(visitor.get("uid/x"), "yes")

    def test_who_watches_is_told_what_may_be_told_where_it_is(self):
        def told():
            client.set(b"unit/x", b"value")
            return visitor.do("told")

        with Client(self.daemon.path) as client:
            visitor = self.visit(OTHER)
            visitor.do("watch", "unit/")
            self.assertEqual(told(), "nothing")
            ROOT.move(visitor.pid, NGINX)
            # From its next request on.
            self.assertEqual(visitor.do("told"), "nothing")
            self.assertEqual(told(), "unit/x")
            ROOT.move(visitor.pid, OTHER)
            self.assertEqual(told(), "nothing")

    def test_a_descriptor_that_is_passed_is_who_connected(self):
        """A child has it, and its keys, as somebody else, from somewhere else."""
        for mine, childs, got in ((OTHER, NGINX, "no"), (NGINX, OTHER, "yes")):
            visitor = self.visit(mine)
            ROOT.move(int(visitor.do("fork")), childs)
            self.assertEqual(visitor.child.do("get", "unit/x"), got)
            visitor.end()
            self.assertIn(visitor.child.do("get", "unit/x"), ("no", "closed"))

    def test_a_number_that_is_used_again_is_nobody_elses(self):
        """Under load: what connected has ended, others come and go, one of them has its number."""
        visitor = self.visit(OTHER)
        ROOT.move(int(visitor.do("fork")), OTHER)
        self.assertEqual(visitor.child.do("get", "unit/x"), "no")
        visitor.end()
        stop = threading.Event()
        load = [threading.Thread(target=spawn_until, args=(stop,)) for _ in range(2)]
        for thread in load:
            thread.start()
        try:
            heir = take_number(visitor.pid, NGINX)
        finally:
            stop.set()
            for thread in load:
                thread.join()
        self.addCleanup(heir.wait)
        self.addCleanup(heir.kill)
        self.assertEqual(heir.pid, visitor.pid)
        self.assertIn(visitor.child.do("get", "unit/x"), ("no", "closed"))
        # Its own connection is another one.
        self.assertAllowed(self.visit(NGINX), "unit", "weak", "uid", "not")

    def test_a_namespace_of_its_own_makes_nobody_of_somebody(self):
        """Users, processes and cgroups as it sees them itself are nothing to the daemon."""
        for flags in (CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWCGROUP, CLONE_NEWUSER | CLONE_NEWPID):
            def apart(flags=flags):
                unshare(flags)
                if flags & CLONE_NEWPID:
                    go_on_in_child()
            self.assertAllowed(self.visit(OTHER, after=apart), "uid", "not")
            self.assertAllowed(self.visit(NGINX, after=apart), "unit", "weak", "uid", "not")

    def test_who_is_root_in_its_own_namespace_is_not_root(self):
        def apart():
            """Its own user is root there, and it takes the whole of root's rights there."""
            unshare(CLONE_NEWUSER)
            libc.prctl(4, 1)  # PR_SET_DUMPABLE: its files of /proc are its own again
            pathlib.Path("/proc/self/uid_map").write_text(f"0 {USER} 1")
            os.setresuid(0, 0, 0)
        visitor = self.visit(OTHER, after=apart)
        self.assertAllowed(visitor, "uid", "not")
        self.assertEqual(visitor.get("elsewhere"), "no")
        self.assertEqual(self.visit(OTHER, uid=0).get("elsewhere"), "code 3")

    def test_what_is_told_is_what_counts(self):
        for cgroup, told in ((NGINX, "nginx.service system.slice  True"),
                             ("ci.slice", " ci.slice  True"),
                             (MANAGER + "/app.slice/agent.service",
                              " user-1000.slice agent.service True")):
            self.assertEqual(self.visit(cgroup).do("where"), told.strip())


def go_on_in_child():
    """The first process of a new namespace, for whose end its parent waits."""
    child = os.fork()
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def spawn_until(stop):
    while not stop.is_set():
        subprocess.run(["true"], check=True)


def take_number(number, cgroup):
    """A process with that number, in that cgroup."""
    procs = ROOT.procs(cgroup)
    for _ in range(10000):
        next_pid(number)
        process = subprocess.Popen(["sleep", "1000"], preexec_fn=lambda: cgroups.join(procs))
        if process.pid == number:
            return process
        process.kill()
        process.wait()
    raise RuntimeError("the number was never free")


@unittest.skipUnless(checked(), "this kernel does not tell who a pidfd is")
class WithAll(Places, Identity):
    """With all that this kernel has."""

    def test_rights_shrink_with_a_user_that_changes(self):
        visitor = self.visit(OTHER, uid=0)
        self.assertEqual(visitor.get("unit/x"), "yes")
        visitor.do("seteuid", USER)
        self.assertEqual(visitor.get("uid/x"), "closed")

    def program(self, mode):
        """sleep(1), as root's, with that mode."""
        program = self.folder / f"sleep-{mode:o}"
        shutil.copy(shutil.which("sleep"), program)
        program.chmod(mode)
        return program

    def test_a_program_with_more_rights_takes_none_along(self):
        """A child keeps the connection, while what connected becomes root."""
        if os.statvfs(self.folder).f_flag & os.ST_NOSUID:
            self.skipTest("no program gets more rights in this folder")
        for mode, got in ((0o755, "yes"), (0o4755, "closed")):
            visitor = self.visit(NGINX)
            visitor.do("fork")
            self.assertEqual(visitor.child.do("get", "unit/x"), "yes")
            visitor.line.tell("become", self.program(mode), 1000)
            status = pathlib.Path(f"/proc/{visitor.pid}/status")
            self.assertTrue(wait_for(lambda: "Name:\tsleep" in status.read_text()))
            self.assertEqual("Uid:\t1000\t0\t" in status.read_text(), got == "closed")
            self.assertEqual(visitor.child.do("get", "unit/x"), got)

    def test_nothing_is_left_when_who_connected_has_ended(self):
        visitor = self.visit(NGINX)
        visitor.do("fork")
        self.assertEqual(visitor.child.do("get", "uid/x"), "yes")
        visitor.end()
        self.assertEqual(visitor.child.do("get", "uid/x"), "closed")


class WithoutInfo(Places, Identity):
    """Of Linux 6.5 to 6.12: a socket has a pidfd, and it tells nothing."""

    lacking = NO_INFO


class WithoutPidfd(Identity):
    """Of Linux before 6.5: who connected is a number."""

    lacking = NO_PIDFD

    def test_a_unit_counts_where_its_rule_says_so(self):
        self.assertAllowed(self.visit(NGINX), "weak", "uid", "not")
        self.assertAllowed(self.visit(OTHER), "uid", "not")
        self.assertAllowed(self.visit(MANAGER + "/" + NGINX), "uid", "not")
        self.assertAllowed(self.visit("ci.slice/build.service"), "uid", "not")

    def test_a_deny_counts_in_any_case(self):
        self.assertAllowed(self.visit("system.slice/bad.service"), "uid")
        visitor = self.visit(OTHER)
        visitor.do("fork")
        visitor.end()
        # Nobody can tell where it was.
        self.assertEqual(visitor.child.do("get", "not/x"), "no")
        self.assertEqual(visitor.child.do("get", "uid/x"), "yes")


class ApartFromTheManager(Identity):
    """A daemon in a cgroup namespace whose root is a user's: what is called as the system's is not."""

    @classmethod
    def setUpClass(cls):
        procs = ROOT.procs(MANAGER)
        cls.wrap = ["sh", "-c", f'echo $$ >"{procs}" && exec unshare --cgroup "$@"', "sh"]
        super().setUpClass()

    def test_no_name_below_its_root_counts(self):
        self.assertAllowed(self.visit(MANAGER + "/" + NGINX), "uid", "not")
        self.assertAllowed(self.visit(MANAGER + "/ci.slice"), "uid", "not")

    def test_who_is_outside_of_its_root_may_be_anywhere(self):
        self.assertAllowed(self.visit(NGINX), "uid")
        self.assertAllowed(self.visit("system.slice/bad.service"), "uid")


class ApartByNumbers(Identity):
    """A daemon in a pid namespace of its own, with the /proc of the one above."""

    wrap = ["unshare", "--pid", "--fork", "--kill-child"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        pid = cls.daemon.pid
        cls.inside = int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text())
        cls.addClassCleanup(os.kill, cls.inside, signal.SIGTERM)

    def enter(self):
        """Among the daemon's own processes."""
        namespace = os.open(f"/proc/{self.inside}/ns/pid", os.O_RDONLY)
        if libc.setns(namespace, CLONE_NEWPID) < 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(namespace)
        go_on_in_child()

    def test_who_has_no_number_there_may_be_anywhere(self):
        self.assertAllowed(self.visit(NGINX), "uid")
        self.assertAllowed(self.visit(OTHER), "uid")

    def test_a_number_is_that_of_the_proc_that_is_read(self):
        """Whoever has the visitor's number up here is in the unit; the visitor is not."""
        self.assertAllowed(self.visit(NGINX, before=self.enter), "unit", "weak", "uid", "not")
        visitor = self.visit(OTHER, before=self.enter)
        while os.path.exists(f"/proc/{visitor.do('number')}"):
            visitor = self.visit(OTHER, before=self.enter)
        double = take_number(int(visitor.do("number")), NGINX)
        self.addCleanup(double.wait)
        self.addCleanup(double.kill)
        self.assertAllowed(visitor, "uid", "not")


if __name__ == "__main__":
    unittest.main()
