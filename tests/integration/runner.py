# SPDX-License-Identifier: Apache-2.0
"""Runs the unittest classes of one file and speaks TAP. Usage: runner.py FILE [unittest names...]"""

import importlib.util
import os
import sys
import unittest


class TapResult(unittest.TestResult):
    """Each case becomes one line; what went wrong stands above it."""

    def __init__(self):
        super().__init__()
        self.number = 0
        self.bad = 0
        self.said = False

    def startTest(self, test):
        super().startTest(test)
        self.said = False

    def say(self, good, test, skip=None):
        self.said = True
        self.number += 1
        self.bad += not good
        name = test.id().replace("#", " ")
        print("%sok %d - %s%s" % (
            "" if good else "not ", self.number, name,
            "" if skip is None else " # SKIP " + " ".join(skip.split())), flush=True)

    def explain(self, test, err):
        for line in self._exc_info_to_string(err, test).splitlines():
            print("# " + line)

    def addSuccess(self, test):
        if not self.said:
            self.say(True, test)

    def addFailure(self, test, err):
        self.explain(test, err)
        self.say(False, test)

    addError = addFailure

    def addSubTest(self, test, subtest, err):
        if err is not None:
            print("# in %s" % subtest.id())
            self.explain(test, err)
            if not self.said:
                self.say(False, test)

    def addSkip(self, test, reason):
        self.say(True, test, reason)

    def addExpectedFailure(self, test, err):
        self.say(True, test)

    def addUnexpectedSuccess(self, test):
        print("# was expected to fail")
        self.say(False, test)


def load(path):
    path = os.path.abspath(path)
    sys.path.insert(0, os.path.dirname(path))
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(path, *names):
    sys.stdout.reconfigure(errors="backslashreplace")
    loader = unittest.TestLoader()
    try:
        module = load(path)
    except unittest.SkipTest as reason:
        print("1..0 # SKIP %s" % reason)
        return 0
    suite = loader.loadTestsFromNames(names, module) if names else (
        loader.loadTestsFromModule(module))
    result = TapResult()
    suite.run(result)
    print("1..%d" % result.number)
    return 1 if result.bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
