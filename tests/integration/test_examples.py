# SPDX-License-Identifier: Apache-2.0
"""The examples of libmgclient do what their first lines say, and are built the way those say."""

import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import unittest

from daemon import Daemon

BUILT = pathlib.Path(os.environ["MGCLIENT_EXAMPLES"])
SOURCES = pathlib.Path(__file__).parents[2] / "client" / "lib" / "examples"
SANITIZED = bool(os.environ.get("SANITIZED"))


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()
        cls.addClassCleanup(cls.daemon.end)
        cls.environment = {**os.environ, "MEMGUARD_SOCKET": f"unix:{cls.daemon.path}"}

    def run_program(self, program, *arguments, value=None, **environment):
        given = {"stdin": subprocess.DEVNULL} if value is None else {"input": value}
        return subprocess.run([program, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=30,
                              env={**self.environment, **environment}, **given)

    def example(self, name, *arguments, **options):
        return self.run_program(BUILT / name, *arguments, **options)

    def test_store_and_fetch(self):
        for number, value in enumerate((b"v", os.urandom(4096), os.urandom(1 << 20))):
            name = "example/%d" % number
            stored = self.example("store", name, value=value)
            self.assertEqual((stored.returncode, stored.stdout),
                             (0, f"{name} is at version 1\n".encode()), stored.stderr)
            self.assertEqual(self.example("fetch", name).stdout, value)

    def test_store_does_not_replace(self):
        self.assertEqual(self.example("store", "once", value=b"v").returncode, 0)
        again = self.example("store", "once", value=b"w")
        self.assertEqual(again.returncode, 7)
        self.assertIn(b"exists already", again.stderr)

    def test_fetch_says_what_is_missing(self):
        fetched = self.example("fetch", "absent")
        self.assertEqual((fetched.returncode, fetched.stdout), (3, b""))
        self.assertIn(b"no such secret", fetched.stderr)

    def test_a_service_logs_in_and_wipes(self):
        self.example("store", "password", value=b"correct horse")
        served = self.example("service", "password")
        self.assertEqual((served.returncode, served.stdout),
                         (0, b"logged in; the password is wiped\n"), served.stderr)

    def test_a_service_waits_for_its_password(self):
        with subprocess.Popen([BUILT / "service", "later"], env=self.environment,
                              stdout=subprocess.PIPE) as service:
            self.example("store", "later", value=b"correct horse")
            self.assertEqual(service.wait(20), 0)

    @unittest.skipIf(SANITIZED, "the library needs the sanitizers' own flags")
    def test_pkg_config_is_all_that_a_build_needs(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="memguardd-"))
        self.addCleanup(shutil.rmtree, folder)
        build = BUILT.parents[2]
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "mgclient"], check=True, text=True,
            stdout=subprocess.PIPE,
            env={**os.environ, "PKG_CONFIG_PATH": str(build / "meson-uninstalled")}).stdout
        for source in sorted(SOURCES.glob("*.c")):
            subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-o", folder / source.stem, source,
                            *shlex.split(flags)], check=True)
        ours = {"LD_LIBRARY_PATH": str(build / "client" / "lib")}
        self.assertEqual(
            self.run_program(folder / "store", "built", value=b"v", **ours).returncode, 0)
        self.assertEqual(self.run_program(folder / "fetch", "built", **ours).stdout, b"v")
