# SPDX-License-Identifier: Apache-2.0
"""What came of the cases: TAP as they come, a table at the end."""

import subprocess
import time

from house import Skip


class Report:
    """TAP lines as they come, and the table at the end."""

    def __init__(self, only, looks):
        self.only = only
        self.looks = looks
        self.number = 0
        self.bad = 0
        self.rows = []

    def case(self, name, function, *arguments):
        """Runs one case. It returns what is wrong, as lines; none: all well."""
        if self.only not in name:
            return
        begin = time.monotonic()
        try:
            faults = function(*arguments) or []
            skip = None
        except Skip as reason:
            faults, skip = [], str(reason)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            faults, skip = ["%s: %s" % (type(error).__name__, error)], None
        self.number += 1
        self.bad += bool(faults)
        for fault in faults:
            print("# " + fault)
        print("%sok %d - %s%s" % (
            "not " if faults else "", self.number, name,
            "" if skip is None else " # SKIP " + skip), flush=True)
        self.rows.append(("", "%s: %.1f s" % (name, time.monotonic() - begin), "", "", ""))

    def control(self, name, function, *arguments):
        """Runs one case in which something must be found, unless only looks are asked for."""
        if not self.looks:
            self.case(name, function, *arguments)

    def row(self, what, seen, tries, hits, verdict):
        self.rows.append((what, seen, tries, hits, verdict))

    def scan(self, phase, scan):
        for route, found in scan.routes.items():
            seen = "%.1f MB in %d looks" % (found["bytes"] / 1e6, found["rounds"])
            if found["secret-pages"]:
                seen += ", %d secret pages refused" % found["secret-pages"]
            if found["descriptors"]:
                seen += ", %d descriptors" % found["descriptors"]
            if route == "machine" and found["unreadable"]:
                seen += ", %d processes closed to us" % found["unreadable"]
            hits = str(found["leaks"])
            if found["excused"]:
                hits += " (+%d excused)" % found["excused"]
            self.row("  %s, %s" % (route, phase), seen, "", hits,
                     "clean" if found["leaks"] == 0 else "LEAK")
        tried = scan.tried
        self.row("  keys, %s" % phase,
                 "%.1f MB own ciphertext, %d+%d wrapped keys" % (
                     tried.get("known", 0) / 1e6, tried.get("records", 0),
                     tried.get("channels", 0)),
                 "%d tries, %d pre-keys" % (tried.get("tries", 0), tried.get("prekeys", 0)), "", "")

    def show(self):
        print("#")
        heads = ("route or control", "looked at", "tried", "hits", "verdict")
        widths = [max(len(row[i]) for row in self.rows + [heads]) for i in range(4)]
        for row in [heads] + self.rows:
            print("# " + "  ".join(
                cell.ljust(width) for cell, width in zip(row, widths + [0])).rstrip())
        print("# %s" % self.total())
        print("1..%d" % self.number)

    def total(self):
        """Rows that must be clean, and rows that must not."""
        verdicts = [row[4] for row in self.rows if row[4]]
        found, missed = verdicts.count("found"), verdicts.count("MISSED")
        rest = len(verdicts) - found - missed
        hits = sum(int(row[3].split()[0]) for row in self.rows
                   if row[3] and row[4] not in ("found", "MISSED"))
        return "%d looks, %d hits; %d of %d controls found" % (rest, hits, found, found + missed)
