# SPDX-License-Identifier: Apache-2.0
"""Core files: of a debugger, and of the kernel."""

import os
import shutil
import subprocess

from house import PATIENCE, Skip


def take_core(daemon, name):
    """A core file of the running daemon, by gdb."""
    if not shutil.which("gdb"):
        raise Skip("no gdb here")
    path = daemon.path(name)
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-p", str(daemon.pid),
         "-ex", "gcore " + path],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=dict(os.environ, DEBUGINFOD_URLS=""), timeout=PATIENCE, check=False)
    if not os.path.exists(path):
        words = [line for line in done.stdout.splitlines() if "ptrace" in line or "gcore" in line]
        raise Skip("no core file: " + (words[0] if words else "gdb said nothing"))
    return path
