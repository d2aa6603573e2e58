# SPDX-License-Identifier: Apache-2.0
"""Counts the single cases in meson's testlog.json, shows what failed and why something was skipped.

Usage: tally.py ROUND TESTLOG COUNTS; appends "passed failed skipped" to the file COUNTS. What test
programs say is described at the top of tests/run.
"""

import json
import re
import sys

CASE = re.compile(r"^(not )?ok +\d+ *(?:- *)?(.*?)(?: *# *SKIP\b *(.*))?$", re.IGNORECASE)
PLAN = re.compile(r"^1\.\.(\d+)(?: *# *SKIP\b *(.*))?$", re.IGNORECASE)
SKIP = re.compile(r"^SKIP: *([^:]+): *(.+)$")
SKIP_STATUS = 77


class Program:
    """One test program's run, read from its output."""

    def __init__(self, run):
        # meson says "project:suite / name".
        suite, _, self.name = run["name"].rpartition(" / ")
        self.suite = suite.rpartition(":")[2]
        self.run = run
        self.passed = 0
        self.faults = []
        self.skips = []
        self.read(run.get("stdout") or "")
        self.judge(run)

    def read(self, text):
        """Takes every TAP line; check's cases are skipped by a line in front of their own."""
        self.cases = 0
        self.planned = None
        announced = []
        for line in text.splitlines():
            skip = SKIP.match(line)
            case = CASE.match(line)
            plan = PLAN.match(line)
            if skip:
                announced.append(skip.groups())
            elif case:
                self.take(case, announced.pop() if announced else None)
                announced = []
            elif plan:
                self.planned = (self.planned or 0) + int(plan.group(1))
                if plan.group(2):
                    self.skips.append((self.name, plan.group(2)))
        self.announced = announced

    def take(self, case, announced):
        self.cases += 1
        name = case.group(2)
        if case.group(1):
            self.faults.append(name)
        elif announced:
            self.skips.append(announced)
        elif case.group(3) is not None:
            self.skips.append((name, case.group(3) or "no reason given"))
        else:
            self.passed += 1

    def judge(self, run):
        """What the exit status adds to the cases; a program without cases is one case."""
        result = run["result"]
        good = result in ("OK", "EXPECTEDFAIL")
        if self.planned is None and self.cases == 0:
            if good:
                self.passed = 1
            elif run.get("returncode") == SKIP_STATUS and self.announced:
                self.skips.extend(self.announced)
            else:
                self.faults.append("%s, exit status %s" % (result, run.get("returncode")))
            return
        if self.planned is not None and self.planned != self.cases:
            self.faults.append("%d cases planned, %d reported" % (self.planned, self.cases))
        elif not self.cases and not self.skips:
            self.faults.append("no case at all")
        elif not good and result != "SKIP" and not self.faults:
            self.faults.append("%s, exit status %s" % (result, run.get("returncode")))

    def show(self):
        print("%-11s %-26s %4d passed %3d failed %3d skipped %8.2f s" % (
            self.suite, self.name, self.passed, len(self.faults), len(self.skips),
            self.run.get("duration") or 0))

    def show_fault(self):
        print("-- FAILED %s: %s" % (self.name, " ".join(self.run.get("command") or [])))
        for fault in self.faults:
            print("   " + fault)
        for stream in ("stdout", "stderr"):
            text = (self.run.get(stream) or "").rstrip()
            if text:
                print("-- %s of %s:\n%s" % (stream, self.name, text))


def main(round_name, log, counts):
    with open(log, encoding="utf-8", errors="replace") as lines:
        programs = [Program(json.loads(line)) for line in lines if line.strip()]
    programs.sort(key=lambda program: (program.suite, program.name))
    print("== %s" % round_name)
    for program in programs:
        program.show()
    for program in programs:
        for name, reason in program.skips:
            print("-- skipped %s: %s: %s" % (program.name, name, reason))
    for program in programs:
        if program.faults:
            program.show_fault()
    with open(counts, "a", encoding="ascii") as out:
        print(sum(p.passed for p in programs), sum(len(p.faults) for p in programs),
              sum(len(p.skips) for p in programs), file=out)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")
    main(*sys.argv[1:])
