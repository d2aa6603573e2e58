# SPDX-License-Identifier: Apache-2.0
"""Tokens that are bound to a unit, with real cgroups; there is no policy that asks for any."""

import unittest

import cgroups
from cgroups import USER, Visitor
from daemon import Daemon
from mgwire import Client

ROOT = cgroups.Cgroups(cgroups.enter())

NGINX = "system.slice/nginx.service"
OTHER = "system.slice/other.service"


class Bound(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--socket-mode=0666")
        self.addCleanup(self.daemon.end)
        self.daemon.folder.chmod(0o755)
        self.client = Client(self.daemon.path)
        self.addCleanup(self.client.close)
        if not self.client.whoami().pidfd:
            self.skipTest("this kernel holds nobody by a pidfd")
        self.client.set(b"a", b"value")

    def issue(self, name, **fields):
        return self.client.issue_token(name, (b"get", b"a"), **fields).hex()

    def visit(self, cgroup):
        visitor = Visitor(self.daemon.path, ROOT.procs(cgroup))
        self.addCleanup(visitor.end)
        return visitor

    def test_only_a_process_of_the_unit_may_show_it(self):
        token = self.issue(b"unit", unit=b"nginx.service")
        for cgroup, answer, right in ((NGINX, "yes", "yes"), (NGINX + "/worker", "yes", "yes"),
                                      (OTHER, "4", "no"), ("nginx.service", "4", "no")):
            visitor = self.visit(cgroup)
            self.assertEqual(visitor.do("show", token), answer, cgroup)
            self.assertEqual(visitor.get("a"), right, cgroup)

    def test_who_is_moved_out_of_the_unit_has_nothing_of_it(self):
        visitor = self.visit(NGINX)
        self.assertEqual(visitor.do("show", self.issue(b"unit", unit=b"nginx.service")), "yes")
        self.assertEqual(visitor.get("a"), "yes")
        ROOT.move(visitor.pid, OTHER)
        self.assertEqual(visitor.get("a"), "no")
        ROOT.move(visitor.pid, NGINX)
        self.assertEqual(visitor.get("a"), "yes")

    def test_both_have_to_match(self):
        visitor = self.visit(NGINX)
        for name, uid, answer in ((b"his", USER, "yes"), (b"not", USER + 1, "4")):
            token = self.issue(name, unit=b"nginx.service", of_uid=True, uid=uid)
            self.assertEqual(visitor.do("show", token), answer)


if __name__ == "__main__":
    unittest.main()
