# SPDX-License-Identifier: Apache-2.0
"""Other users, for tests that run as root."""

import os
import pathlib
import shutil

NOBODY = 65534


def as_nobody(*command):
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]


def programs_for_all(folder):
    """memguardd and mgctl where everybody may execute them, in `folder`, which is opened to all: a
    build folder may be its owner's alone. mgctl finds its library beside itself, as it was built."""
    folder = pathlib.Path(folder)
    folder.chmod(0o755)
    mgctl = pathlib.Path(os.environ["MGCTL"])
    for place in ("cli", "lib"):
        (folder / place).mkdir(mode=0o755)
    for source, place in ((os.environ["MEMGUARDD"], "memguardd"), (mgctl, "cli/mgctl"),
                          (mgctl.parent.parent / "lib" / "libmgclient.so.0",
                           "lib/libmgclient.so.0")):
        shutil.copy(source, folder / place)
    return str(folder / "memguardd"), str(folder / "cli" / "mgctl")
