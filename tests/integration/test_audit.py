# SPDX-License-Identifier: Apache-2.0
"""The audit log: who asked for what, and what was decided; and that it cannot be changed unseen."""

import base64
import contextlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import tempfile
import time
import unittest

import mgwire
from daemon import Daemon, wait_for
from mgctl_case import (DENIED, INTEGRITY, INTERNAL, MEMGUARDD, MGCTL, NOT_FOUND, OK,
                        ROOT, USAGE)
from strangers import as_nobody, programs_for_all

CONFIGURATION = 78


class AuditTest(unittest.TestCase):
    """One daemon a case, with a file of its own, and a log."""

    level = "all"
    options = ()
    policy = ""

    def setUp(self):
        holder = contextlib.ExitStack()
        self.addCleanup(holder.close)
        self.folder = pathlib.Path(holder.enter_context(
            tempfile.TemporaryDirectory(prefix="memguardd-")))
        self.folder.chmod(0o755)
        self.log = self.folder / "audit.log"
        self.file = self.folder / "memguardd.conf"
        self.policies = self.folder / "policy.d"
        self.policies.mkdir(mode=0o755)
        self.say_policy(self.policy)
        self.say(f"audit = {self.level}\naudit-file = {self.log}\n"
                 f"policy-dir = {self.policies}\n")
        self.holder = holder
        self.daemon = self.start()
        # With a keeper there is a socket before there is who serves it.
        self.assertTrue(wait_for(self.log.exists))

    def start(self, *options):
        return self.holder.enter_context(
            Daemon("--config", str(self.file), *self.options, *options))

    def cannot_start(self, *options):
        result = subprocess.run(
            [MEMGUARDD, "--socket", str(self.folder / "second"), "--config", str(self.file),
             *options], stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(result.returncode, CONFIGURATION)
        return result.stderr.decode()

    def say(self, text):
        self.file.write_text("[daemon]\n" + text)
        self.file.chmod(0o644)

    def say_policy(self, text):
        path = self.policies / "a.conf"
        path.write_text(text)
        path.chmod(0o644)

    def mgctl(self, *arguments, stdin=b"", socket=None):
        environment = {**os.environ,
                       "MEMGUARD_SOCKET": f"unix:{socket or self.daemon.path}"}
        return subprocess.run([MGCTL, *arguments], input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=environment, timeout=60)

    def ok(self, *arguments, **options):
        result = self.mgctl(*arguments, **options)
        self.assertEqual(result.returncode, OK, result.stderr)
        return result.stdout.decode()

    def fails(self, status, *arguments, **options):
        result = self.mgctl(*arguments, **options)
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stderr.decode()

    def records(self, path=None):
        return [json.loads(line) for line in (path or self.log).read_text().splitlines()]

    def decisions(self, path=None):
        return [record for record in self.records(path) if record["type"] == "decision"]

    def lines(self):
        return self.log.read_bytes().splitlines(keepends=True)

    def key(self):
        return json.loads(self.ok("--json", "status"))["audit_key"]

    def verify(self, *options):
        """What a daemon vouches for."""
        return json.loads(self.ok("--json", "audit", "verify", *options, str(self.log)))

    def finds(self, words, *options):
        self.assertIn(words, self.fails(INTEGRITY, "audit", "verify", *options, str(self.log)))

    def wait_for_signature(self):
        self.assertTrue(wait_for(
            lambda: any("sig" in record for record in self.records()[-1:])))

    def some_records(self):
        """Some decisions, all of them signed. Returns the number of the first one."""
        self.wait_for_signature()  # of the start
        first = len(self.records()) + 1
        for i in range(4):
            self.ok("set", f"web/{i}", stdin=b"value")
        self.wait_for_signature()
        return first


class Told(AuditTest):
    options = ("--socket-mode", "0666")
    policy = ("[namespace web]\nallow = get * uid:65534\n"
              "[namespace vault]\nrequire-reason = get,rm\n"
              "[namespace vault/deep]\nmax-ttl = 7d\n")

    def test_a_decision_is_told_with_who_what_and_why(self):
        self.ok("set", "web/a", stdin=b"the value of it")
        record = self.decisions()[-1]
        self.assertEqual(
            {key: record[key] for key in ("uid", "gid", "op", "name", "decision", "by")},
            {"uid": os.geteuid(), "gid": os.getegid(), "op": "set", "name": "web/a",
             "decision": "allow", "by": "privilege"})
        self.assertGreater(record["pid"], 1)
        self.assertNotIn("the value of it", self.log.read_text())

    def test_every_command_has_its_word(self):
        self.ok("set", "a", stdin=b"1")
        for words, op in ((["get", "a"], "get"), (["stat", "a"], "stat"), (["ls"], "ls"),
                          (["touch", "--ttl", "1h", "a"], "touch"), (["freeze", "a"], "freeze"),
                          (["melt", "a"], "melt"), (["mv", "a", "b"], "mv"),
                          (["rm", "b"], "rm"), (["set", "--generate", "c"], "set"),
                          (["rotate", "--generate", "c"], "rotate"), (["purge"], "purge"),
                          (["purge", "--all"], "purge-all"), (["reload"], "reload")):
            self.ok(*words)
            self.assertEqual(self.decisions()[-1]["op"], op)
        self.assertEqual([r for r in self.decisions() if r["op"] == "mv"][0]["to"], "b")

    def test_what_decides_nothing_is_not_told(self):
        before = len(self.decisions())
        for words in (["ping"], ["status"], ["whoami"]):
            self.ok(*words)
        self.assertEqual(len(self.decisions()), before)

    def test_a_backup_tells_every_secret_that_it_takes(self):
        self.ok("set", "web/a", stdin=b"1")
        self.ok("set", "vault/b", stdin=b"1")
        keys = self.folder / "key"
        public = self.ok("backup", "--new-key", str(keys)).strip()
        result = self.mgctl("backup", "--recipient", public, str(self.folder / "one"))
        self.assertIn(b"backed up 1 secret (1 byte)", result.stderr)
        self.assertIn(b"; 1 left out (", result.stderr)
        self.assertEqual([r["name"] for r in self.decisions() if r["op"] == "export"],
                         ["web/a"])
        self.ok("--reason", "weekly", "backup", "--recipient", public,
                str(self.folder / "two"))
        self.assertEqual([(r["name"], r.get("reason")) for r in self.decisions()
                          if r["op"] == "export"],
                         [("web/a", None), ("vault/b", "weekly"), ("web/a", "weekly")])

    def test_a_watch_is_one_line_whatever_is_told(self):
        with mgwire.Client(self.daemon.path) as watcher:
            request, _ = watcher.watch(b"web/")
            for _ in range(3):
                self.ok("set", "web/a", stdin=b"1")
                self.assertEqual(watcher.told(request).name, b"web/a")
        self.assertEqual([(told["name"], told["decision"], told["by"])
                          for told in self.decisions() if told["op"] == "watch"],
                         [("web/", "allow", "nature")])

    def test_a_name_cannot_forge_a_line(self):
        for name in ('x","decision":"deny', "back\\slash", "über/\u202etxt"):
            self.ok("--reason", 'why","n":1', "set", name, stdin=b"1")
            record = self.decisions()[-1]
            self.assertEqual((record["name"], record["decision"], record["reason"]),
                             (name, "allow", 'why","n":1'))
        self.assertTrue(self.log.read_text().isascii())
        self.wait_for_signature()
        self.assertEqual(self.verify()["records"], len(self.records()))

    def test_a_reason_is_a_line_of_text(self):
        self.assertIn("control", self.fails(USAGE, "--reason", "a\nb", "ls"))
        self.assertIn("256", self.fails(USAGE, "--reason", "x" * 257, "ls"))
        self.ok("--reason", "x" * 256, "ls")
        self.assertEqual(self.decisions()[-1]["reason"], "x" * 256)

    def test_a_client_without_our_library_cannot_forge_one_either(self):
        client = mgwire.Client(self.daemon.path)
        self.addCleanup(client.close)
        request = client.request(stat=mgwire.pb.Stat(name=b"x"), reason=b"two\nlines")
        with self.assertRaises(mgwire.Refused) as caught:
            client.ask(request)
        self.assertEqual((caught.exception.code, caught.exception.reply.detail),
                         (2, b"a reason is UTF-8 without control characters"))

    def test_where_policy_wants_a_reason_nothing_is_done_without(self):
        self.ok("set", "vault/deep/a", stdin=b"1")
        self.assertIn("asks for a reason", self.fails(DENIED, "get", "vault/deep/a"))
        record = self.decisions()[-1]
        self.assertEqual((record["decision"], record["by"], record["file"], record["line"]),
                         ("deny", "no_reason", str(self.policies / "a.conf"), 4))
        self.assertEqual(self.ok("--reason", "on call", "get", "vault/deep/a"), "1")
        self.assertIn("asks for a reason",
                      self.fails(DENIED, "mv", "vault/deep/a", "elsewhere"))
        self.ok("purge")
        self.assertEqual(self.ok("ls", "vault/"), "vault/deep/a\n")
        self.ok("--reason", "done", "purge")
        self.assertEqual(self.ok("ls", "vault/"), "")

    def test_where_the_daemon_wants_a_reason_the_line_of_its_file_is_told(self):
        def told():
            record = self.decisions()[-1]
            return [record.get(key) for key in ("decision", "by", "file", "line")]

        self.ok("set", "web/a", stdin=b"1")
        text = self.file.read_text().removeprefix("[daemon]\n")
        self.say(text + "require-reason = get,stream-read\n")
        self.ok("reload")
        self.assertIn("asks for a reason", self.fails(DENIED, "get", "web/a"))
        self.assertEqual(told(), ["deny", "no_reason", str(self.file), 5])
        self.ok("stat", "web/a")
        self.assertEqual(self.ok("--reason", "on call", "get", "web/a"), "1")
        self.assertIn(f"{self.file}:5: require-reason: 'get,steal' is neither",
                      self.refuses(text + "require-reason = get,steal\n"))
        self.assertIn(f"{self.file}:5: require-reason: 'get,ls' names ls or watch",
                      self.refuses(text + "require-reason = get,ls\n"))
        # A namespace's own line is nearer.
        self.assertIn("asks for a reason", self.fails(DENIED, "get", "vault/deep/a"))
        self.assertEqual(told(), ["deny", "no_reason", str(self.policies / "a.conf"), 4])

    def refuses(self, text):
        """What a reload and a check say to settings like these; they are not in force then."""
        self.say(text)
        said = self.fails(1, "reload")
        check = subprocess.run([MEMGUARDD, "--config", str(self.file), "--check-policy"],
                               stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(check.returncode, CONFIGURATION)
        self.assertIn(check.stderr.decode().removeprefix("memguardd: ").strip(), said)
        self.assertIn("asks for a reason", self.fails(DENIED, "get", "web/a"))
        return said

    @unittest.skipUnless(ROOT, "needs root, to be somebody else")
    def test_a_refusal_is_told_with_its_rule(self):
        self.say_policy("[namespace web]\nallow = get * uid:65534\ndeny = get b uid:65534\n")
        self.ok("reload")
        self.ok("set", "web/a", stdin=b"1")
        self.daemon.folder.chmod(0o755)
        socket = self.daemon.path
        _, program = programs_for_all(tempfile.mkdtemp(dir=self.folder))
        for name, decision, by, line in (("web/a", "allow", "allow", 2),
                                         ("web/b", "deny", "deny", 3),
                                         ("other", "deny", "nothing", None)):
            subprocess.run(as_nobody(program, "--socket", f"unix:{socket}", "get", name),
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
            record = self.decisions()[-1]
            self.assertEqual(
                (record["uid"], record["name"], record["decision"], record["by"],
                 record.get("line")), (65534, name, decision, by, line))

    def test_what_waits_and_is_refused_in_the_end_is_told_so(self):
        client = mgwire.Client(self.daemon.path)
        self.addCleanup(client.close)
        request = client.request(get=mgwire.pb.Get(name=b"web/later", wait_ms=60000))
        client.send(request)
        self.assertTrue(wait_for(lambda: self.decisions()[-1:] and
                                 self.decisions()[-1]["name"] == "web/later"))
        self.say_policy("[namespace web]\ndeny = get later anybody\n")
        self.ok("reload")
        with self.assertRaises(mgwire.Refused) as caught:
            client.answer(request)
        self.assertEqual(caught.exception.code, DENIED)
        told = [(r["decision"], r["by"], r.get("line")) for r in self.decisions()
                if r.get("name") == "web/later"]
        self.assertEqual(told, [("allow", "privilege", None), ("deny", "deny", 2)])

    def test_show_prints_what_is_asked_for(self):
        self.ok("set", "web/a", stdin=b"1")
        self.fails(DENIED, "get", "vault/x")
        shown = self.ok("audit", "show", str(self.log))
        self.assertEqual(len(shown.splitlines()), len(self.records()))
        shown = self.ok("audit", "show", "--denied", str(self.log)).splitlines()
        self.assertEqual(len(shown), 1)
        self.assertRegex(shown[0], r"DENIED  uid \d+, pid \d+  get vault/x  by no_reason .*:4$")
        shown = self.ok("audit", "show", "--name", "web/*", str(self.log)).splitlines()
        self.assertEqual(len(shown), 1)
        self.assertEqual(self.ok("audit", "show", "--since", "2999-01", str(self.log)), "")
        self.assertEqual(len(self.ok("audit", "show", "--since", "1h", str(self.log))
                             .splitlines()), len(self.records()))
        answers = [json.loads(line) for line in self.ok(
            "--json", "audit", "show", "--denied", "-",
            stdin=b"no record\n" + self.log.read_bytes()).splitlines()]
        self.assertEqual([(a["schema"], a["name"]) for a in answers], [(1, "vault/x")])


class Levels(AuditTest):
    level = "denies"
    policy = "[namespace vault]\nrequire-reason = get\n"

    def test_each_level_tells_what_it_says(self):
        def told():
            before = len(self.decisions())
            self.ok("set", "a", stdin=b"1")
            self.ok("get", "a")
            self.fails(DENIED, "get", "vault/a")
            return [r["op"] for r in self.decisions()[before:] if r["op"] != "reload"]

        self.assertEqual(told(), ["get"])
        for level, wanted in (("writes", ["set", "get"]), ("all", ["set", "get", "get"])):
            self.say(f"audit = {level}\naudit-file = {self.log}\n"
                     f"policy-dir = {self.policies}\n")
            self.ok("reload")
            self.assertEqual(told(), wanted)
        self.say(f"policy-dir = {self.policies}\n")
        self.ok("reload")
        self.assertEqual(told(), [])
        self.assertEqual((self.records()[-1]["type"], self.records()[-1]["why"]),
                         ("end", "off"))
        self.assertNotIn("audit_key", json.loads(self.ok("--json", "status")))

    def test_settings_that_contradict_each_other_are_refused(self):
        self.say("audit-required = yes\n")
        self.assertIn("audit-required: 'audit' is off", self.fails(1, "reload"))
        self.say("audit = some\n")
        self.assertIn("is none of off, denies, writes, all", self.fails(1, "reload"))
        self.say("audit = all\naudit-file = relative\n")
        self.assertIn("is neither stderr nor an absolute path", self.fails(1, "reload"))

    def test_a_file_that_is_no_log_is_left_alone(self):
        other = self.folder / "other"
        other.write_text("something else\n")
        self.say(f"audit = all\naudit-file = {other}\n")
        self.assertIn("none of an audit log", self.fails(1, "reload"))
        other.write_text("")
        other.chmod(0o666)
        self.assertIn("others may write to it", self.fails(1, "reload"))
        other.unlink()
        other.symlink_to(self.folder / "elsewhere")
        self.fails(1, "reload")
        self.assertFalse((self.folder / "elsewhere").exists())

    def test_a_second_daemon_does_not_write_to_the_same_log(self):
        self.assertIn("another daemon writes to it", self.cannot_start())


class Changed(AuditTest):
    def test_a_log_is_intact(self):
        self.some_records()
        answer = self.verify()
        self.assertEqual((answer["first"], answer["records"], answer["signed"]),
                         (1, len(self.records()), len(self.records())))
        self.assertTrue(answer["trusted"])
        self.assertEqual(answer["key"], self.key())
        self.assertEqual(self.verify("--key", self.key())["notes"], [])
        self.assertEqual(self.log.stat().st_mode & 0o777, 0o600)

    def test_lines_wait_a_second_at_most_for_their_signature(self):
        self.some_records()
        begin = time.monotonic()
        self.ok("set", "a", stdin=b"1")
        self.wait_for_signature()
        self.assertLess(time.monotonic() - begin, 10)

    def test_one_flipped_byte(self):
        first = self.some_records()
        bytes_ = bytearray(self.log.read_bytes())
        bytes_[bytes_.index(b"web/1") + 4] ^= 4
        self.log.write_bytes(bytes_)
        self.finds(f"record {first + 1} (line {first + 1}) was changed")
        self.finds(f"record {first + 1} (line {first + 1}) was changed", "--key", "0" * 64)

    def test_one_deleted_line(self):
        first = self.some_records()
        lines = self.lines()
        del lines[first]
        self.log.write_bytes(b"".join(lines))
        self.finds(f"record {first + 1} is missing: line {first + 1} is record {first + 2}")

    def test_two_swapped_lines(self):
        first = self.some_records()
        lines = self.lines()
        lines[first], lines[first + 1] = lines[first + 1], lines[first]
        self.log.write_bytes(b"".join(lines))
        self.finds(f"record {first + 1} (line {first + 2}) stands out of order")

    def test_a_cut_tail(self):
        first = self.some_records()
        lines = self.lines()
        for count in (len(lines) - 1, first, 2):
            self.log.write_bytes(b"".join(lines[:count]))
            self.finds(f"record {count + 1} is missing: the log was cut behind record {count}")
        self.log.write_bytes(b"".join(lines)[:-5])
        self.finds(f"record {len(lines)} (line {len(lines)}) is cut")

    def test_a_chain_that_was_made_anew_after_a_change(self):
        """As somebody does who knows all of this, and has no key."""
        self.some_records()
        key = self.key()
        other = self.folder / "other"
        with Daemon("--audit", "all", "--audit-file", str(other)) as forger:
            for i in range(4):
                self.ok("set", f"web/{i}x", stdin=b"1", socket=forger.path)
            self.assertTrue(wait_for(
                lambda: self.records(other)[-1]["type"] == "checkpoint"))
            forged = other.read_text()
            foreign = self.records(other)[0]["key"]
        honest = self.log.read_text()
        self.log.write_text(forged)
        self.finds(f"is signed with key {foreign}, which is not one to be trusted",
                   "--key", key)
        self.finds("record ")
        self.log.write_text(forged.replace(foreign, key))
        self.finds("record 1 (line 1) was changed")
        # Without anybody's word for the key it is a log as good as any, which is said.
        self.daemon.end()
        self.log.write_text(forged)
        result = self.mgctl("audit", "verify", str(self.log))
        self.assertEqual(result.returncode, OK)
        self.assertIn(b"the log's own word", result.stdout)
        self.log.write_text(honest)
        self.assertEqual(self.mgctl("audit", "verify", "--key", key,
                                    str(self.log)).returncode, OK)

    def test_nothing_but_the_log_is_taken_for_one(self):
        self.log.write_text("nothing\n")
        self.finds("is no line of an audit log")
        self.fails(USAGE, "audit", "verify")
        self.fails(USAGE, "audit", "verify", str(self.folder / "absent"))
        self.fails(USAGE, "audit", "verify", "--key", "abc", str(self.log))
        self.fails(USAGE, "audit", "read", str(self.log))


    def test_a_line_of_any_length_is_none_and_takes_no_memory(self):
        self.some_records()

        def verify():
            process = subprocess.Popen(
                [MGCTL, "audit", "verify", "--key", "0" * 64, str(self.log)],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            words = process.stderr.read().decode()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            process.stderr.close()
            self.assertEqual(process.returncode, INTEGRITY)
            return words, usage.ru_maxrss

        self.assertIn("not one to be trusted", (before := verify())[0])
        count = len(self.lines())
        os.truncate(self.log, self.log.stat().st_size + (128 << 20))
        words, most = verify()
        self.assertIn(f"record {count + 1} (line {count + 1}) was changed: it is no line", words)
        self.assertLess(most, before[1] + (32 << 10))  # KiB


class GoesOn(AuditTest):
    options = ("--keep",)

    def worker(self):
        return json.loads(self.ok("--json", "status"))["pid"]

    def test_the_chain_goes_on_when_a_worker_dies(self):
        self.some_records()
        key, before = self.key(), self.worker()
        os.kill(before, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: self.worker() != before))
        self.some_records()
        answer = self.verify()
        self.assertEqual((answer["first"], answer["last"], answer["notes"]),
                         (1, len(self.records()), []))
        self.assertEqual(self.key(), key)
        self.assertEqual(sum(r["type"] == "start" for r in self.records()), 2)

    def test_what_was_cut_off_while_no_worker_was_there_is_missed(self):
        first = self.some_records()
        before = self.worker()
        os.kill(self.daemon.pid, signal.SIGSTOP)
        os.kill(before, signal.SIGKILL)
        self.log.write_bytes(b"".join(self.lines()[:first]))
        os.kill(self.daemon.pid, signal.SIGCONT)
        self.assertTrue(wait_for(lambda: self.worker() != before))
        self.finds(f"records {first + 1} to ")

    def test_a_line_that_was_half_written_is_cut_off(self):
        self.some_records()
        before = self.worker()
        os.kill(self.daemon.pid, signal.SIGSTOP)
        os.kill(before, signal.SIGKILL)
        with self.log.open("ab") as log:
            log.write(b'{"n":9,"time":"2026')
        os.kill(self.daemon.pid, signal.SIGCONT)
        self.assertTrue(wait_for(lambda: self.worker() != before))
        self.assertEqual(self.verify()["records"], len(self.records()))

    def test_the_chain_goes_on_over_an_upgrade(self):
        self.some_records()
        key, before = self.key(), self.worker()
        # Its keeper is another one then, which nobody here has started.
        self.addCleanup(self.mgctl, "shutdown")
        self.ok("--timeout", "60s", "upgrade")
        self.assertTrue(wait_for(lambda: self.worker() != before))
        self.some_records()
        self.assertEqual(self.verify()["notes"], [])
        self.assertEqual(self.key(), key)

    def test_a_purge_hands_the_key_on(self):
        self.some_records()
        key = self.key()
        self.ok("purge", "--all")
        self.some_records()
        self.assertNotEqual(self.key(), key)
        self.assertEqual(self.verify()["notes"], [])
        self.assertEqual(self.verify("--key", key)["last"], len(self.records()))
        record = [r for r in self.records() if r["type"] == "key"][0]
        self.assertEqual((record["key"], record["next"]), (key, self.key()))
        self.assertIn(f"signed with key {self.key()}", self.daemon.log())

    def test_a_file_that_was_moved_away_ends_and_another_goes_on(self):
        self.some_records()
        old = self.folder / "audit.log.1"
        self.log.rename(old)
        os.kill(self.worker(), signal.SIGHUP)
        self.assertTrue(wait_for(self.log.exists))
        self.some_records()
        last = self.records(old)[-1]
        self.assertEqual((last["type"], last["why"]), ("end", "moved"))
        self.assertEqual(self.verify()["notes"],
                         [{"event": "begins_later", "record": last["n"] + 1}])
        self.assertEqual(json.loads(self.ok("--json", "audit", "verify", str(old)))["notes"],
                         [{"event": "goes_on", "record": last["n"],
                           "count": len(self.records())}])
        self.assertRegex(self.ok("audit", "verify", str(old)),
                         r"in another file, of which the daemon has written: \d+")
        empty = self.folder / "empty"
        empty.write_bytes(b"")
        self.assertIn(f"record {last['n'] + 1} is missing: ",
                      self.fails(INTEGRITY, "audit", "verify", str(old), str(empty)))
        answer = json.loads(self.ok("--json", "audit", "verify", str(old), str(self.log)))
        self.assertEqual((answer["first"], answer["notes"]), (1, []))
        # The other way round they are two chains, which is told.
        answer = json.loads(self.ok("--json", "audit", "verify", str(self.log), str(old)))
        self.assertEqual([n["event"] for n in answer["notes"]],
                         ["begins_later", "new_chain", "goes_on"])

    def test_a_file_that_was_moved_away_is_left_though_the_settings_are_broken(self):
        self.some_records()
        old = self.folder / "audit.log.1"
        self.log.rename(old)
        self.say("nonsense = 3\n")
        self.assertIn("unknown key 'nonsense'", self.fails(1, "reload"))
        self.some_records()
        last = self.records(old)[-1]
        self.assertEqual((last["type"], last["why"]), ("end", "moved"))
        self.ok("audit", "verify", str(old), str(self.log))
        # And nothing happens where it was not moved.
        self.fails(1, "reload")
        self.some_records()
        self.assertEqual(self.verify()["notes"][1:], [])

    def test_a_file_that_was_deleted_is_missed_and_another_goes_on(self):
        self.some_records()
        count = len(self.records())
        self.log.unlink()
        self.ok("set", "a", stdin=b"1")
        self.assertTrue(wait_for(self.log.exists))
        self.ok("set", "b", stdin=b"1")
        self.wait_for_signature()
        self.assertEqual([r["name"] for r in self.decisions()], ["b"])
        self.assertEqual(self.records()[0]["type"], "go-on")
        self.assertEqual([n["event"] for n in self.verify()["notes"]], ["begins_later"])
        self.assertGreater(self.records()[0]["n"], count)
        self.assertIn(f"{self.log} was deleted", self.daemon.log())

    def test_where_no_other_file_can_be_made_what_is_lost_is_counted(self):
        self.some_records()
        self.log.unlink()
        self.log.mkdir()
        self.ok("set", "a", stdin=b"1")
        self.assertTrue(wait_for(lambda: "lines are lost" in self.daemon.log()))
        self.ok("set", "b", stdin=b"1")
        self.log.rmdir()
        self.assertTrue(wait_for(lambda: self.ok("get", "b") and self.log.exists()))
        self.wait_for_signature()
        self.assertEqual(self.verify()["notes"][1]["event"], "lost")
        self.assertEqual(self.daemon.log().count("was deleted"), 1)

    def test_a_reload_without_a_move_changes_nothing(self):
        self.some_records()
        self.ok("reload")
        self.assertEqual({r["type"] for r in self.records()[2:]}, {"decision", "checkpoint"})
        self.assertEqual(self.verify()["notes"], [])

    def test_the_end_is_told_and_another_daemon_goes_on_under_a_new_key(self):
        self.some_records()
        first_key = self.key()
        self.daemon.end()
        last = self.records()[-1]
        self.assertEqual((last["type"], last["why"]), ("end", "ended"))
        self.daemon = self.start()
        self.some_records()
        answer = self.verify()
        self.assertEqual(answer["first"], 1)
        self.assertEqual(answer["notes"], [{"event": "new_key", "record": last["n"] + 1}])
        self.finds(f"key {self.key()}, which is not one to be trusted", "--key", first_key)
        self.verify("--key", first_key, "--key", self.key())

    def test_who_has_the_keys_of_both_daemons_knows_what_was_changed_between_them(self):
        """As somebody does who may write to the log while nobody else does."""
        self.some_records()
        first_key = self.key()
        self.daemon.end()
        other = self.folder / "other"
        with Daemon("--audit", "all", "--audit-file", str(other)) as forger:
            for i in range(4):
                self.ok("set", f"web/{i}x", stdin=b"1", socket=forger.path)
        self.log.write_bytes(other.read_bytes())
        forged = self.records()
        self.daemon = self.start()
        self.some_records()
        keys = ("--key", first_key, "--key", self.key())
        # The daemon goes on behind what it has found, and knows no better.
        self.assertEqual(self.verify()["notes"],
                         [{"event": "new_key", "record": len(forged) + 1}])
        self.finds(f"record {len(forged)} is signed with key {forged[0]['key']}, which is not",
                   *keys)

    def test_a_daemon_that_was_killed_has_not_ended_in_order(self):
        self.some_records()
        os.kill(self.daemon.pid, signal.SIGKILL)
        self.daemon.process.wait()
        self.daemon = self.start()
        self.some_records()
        self.assertEqual([n["event"] for n in self.verify()["notes"]], ["no_end", "new_key"])


class Failing(AuditTest):
    """A disk that is full: a limit of the size of files does it for anybody."""

    def limit(self, size):
        resource.prlimit(self.daemon.pid, resource.RLIMIT_FSIZE,
                         (size, resource.RLIM_INFINITY))

    def require(self):
        self.say(f"audit = all\naudit-file = {self.log}\naudit-required = yes\n")
        self.ok("reload")

    def test_lines_wait_until_there_is_room(self):
        self.some_records()
        before = len(self.records())
        self.limit(self.log.stat().st_size + 100)
        for i in range(5):
            self.ok("set", f"late/{i}", stdin=b"1")
        self.assertIn("the audit log cannot be written: File too large",
                      self.daemon.log())
        self.assertEqual(self.daemon.log().count("cannot be written"), 1)
        self.limit(resource.RLIM_INFINITY)
        self.ok("get", "late/1")
        self.wait_for_signature()
        self.assertEqual(self.verify()["records"], len(self.records()))
        self.assertEqual([r["name"] for r in self.decisions() if r["n"] > before],
                         [f"late/{i}" for i in range(5)] + ["late/1"])

    def test_a_line_that_goes_half_and_is_not_done_leaves_nothing(self):
        self.require()
        size = self.log.stat().st_size
        self.limit(size + 100)
        self.fails(INTERNAL, "set", "a", stdin=b"1")
        self.assertEqual(self.log.stat().st_size, size)
        self.limit(resource.RLIM_INFINITY)
        self.fails(NOT_FOUND, "get", "a")
        self.assertEqual([r["op"] for r in self.decisions()], ["reload", "get"])
        self.wait_for_signature()
        self.assertEqual(self.verify()["records"], len(self.records()))

    def test_half_a_line_goes_whole_into_the_next_file(self):
        self.some_records()
        size = self.log.stat().st_size
        self.limit(size + 100)
        for i in range(3):
            self.ok("set", f"late/{i}", stdin=b"1")
        self.assertEqual(self.log.stat().st_size, size)
        old = self.folder / "audit.log.1"
        self.log.rename(old)
        os.kill(self.daemon.pid, signal.SIGHUP)
        self.assertTrue(wait_for(self.log.exists))
        self.wait_for_signature()
        self.assertEqual([r["name"] for r in self.decisions()],
                         [f"late/{i}" for i in range(3)])
        answer = json.loads(self.ok("--json", "audit", "verify", str(old), str(self.log)))
        self.assertEqual((answer["first"], answer["last"]), (1, self.records()[-1]["n"]))

    def test_what_waits_when_the_log_is_turned_off_is_lost_and_told(self):
        self.some_records()
        self.limit(self.log.stat().st_size + 100)
        for i in range(3):
            self.ok("set", f"late/{i}", stdin=b"1")
        self.say(f"policy-dir = {self.policies}\n")
        self.ok("reload")
        self.limit(resource.RLIM_INFINITY)
        self.say(f"audit = all\naudit-file = {self.log}\n")
        self.ok("reload")
        self.ok("set", "web/later", stdin=b"1")
        self.wait_for_signature()
        answer = self.verify()
        self.assertEqual([(n["event"], n.get("count")) for n in answer["notes"]
                          if n["event"] == "lost"], [("lost", 5)])
        self.assertEqual(answer["records"], len(self.records()))

    def test_what_there_is_no_room_for_is_counted(self):
        self.some_records()
        self.limit(self.log.stat().st_size)
        client = mgwire.Client(self.daemon.path)
        self.addCleanup(client.close)
        for _ in range(1500):
            with self.assertRaises(mgwire.Refused):
                client.stat(b"nothing")
        lost = json.loads(self.ok("--json", "status"))["audit_lost"]
        self.assertGreater(lost, 0)
        self.limit(resource.RLIM_INFINITY)
        self.ok("ls")
        self.wait_for_signature()
        answer = self.verify()
        self.assertEqual([n["event"] for n in answer["notes"]], ["lost"])
        self.assertEqual(answer["notes"][0]["count"], lost)

    def test_a_purge_that_cannot_be_told_is_told_when_there_is_room(self):
        """By a signal it happens whatever can be written."""
        self.some_records()
        before = self.key()
        self.limit(self.log.stat().st_size)
        client = mgwire.Client(self.daemon.path)
        self.addCleanup(client.close)
        for _ in range(1500):
            with self.assertRaises(mgwire.Refused):
                client.stat(b"nothing")
        os.kill(self.daemon.pid, signal.SIGUSR2)
        self.assertTrue(wait_for(lambda: self.key() != before))
        self.limit(resource.RLIM_INFINITY)
        self.ok("ls")
        self.wait_for_signature()
        answer = self.verify()
        self.assertEqual([n["event"] for n in answer["notes"]], ["lost", "new_key"])
        self.assertEqual(answer["records"], len(self.records()))

    def test_what_has_to_be_told_and_cannot_be_is_not_done(self):
        self.require()
        self.ok("set", "a", stdin=b"before")
        size = self.log.stat().st_size
        self.limit(size)
        for words in (["set", "a"], ["get", "a"], ["rm", "a"], ["purge", "--all"],
                      ["shutdown"], ["ls"], ["mv", "a", "b"], ["set", "--generate", "a"]):
            self.assertIn("the audit log cannot be written, and has to be",
                          self.fails(INTERNAL, *words, stdin=b"after"))
        self.ok("ping")
        self.ok("status")
        self.limit(resource.RLIM_INFINITY)
        self.assertEqual(self.ok("get", "a"), "before")
        # Of what was not done there is no line.
        self.assertEqual([r["op"] for r in self.decisions()][-2:], ["set", "get"])
        self.wait_for_signature()
        self.assertEqual(self.verify()["records"], len(self.records()))

    def test_no_command_at_all_does_what_cannot_be_told(self):
        self.require()
        key, bundle = self.folder / "key", self.folder / "bundle"
        public = self.ok("backup", "--new-key", str(key)).strip()
        self.ok("set", "a", stdin=b"before")
        self.ok("set", "frozen", stdin=b"before")
        self.ok("freeze", "frozen")
        self.ok("stream", "write", "s", stdin=b"before")
        self.ok("backup", "--recipient", public, str(bundle))
        token = self.ok("token", "issue", "ci", "--allow", "get:**")
        wrapped = self.ok("wrap", "a")
        self.ok("token", "issue", "old", "--allow", "get:**")
        size = self.log.stat().st_size
        self.limit(size)
        for words, stdin in (
                (["stat", "a"], ""), (["touch", "--ttl", "1s", "a"], ""), (["freeze", "a"], ""),
                (["melt", "frozen"], ""), (["verify", "a"], "before"),
                (["rotate", "a"], "after"), (["stream", "write", "s"], "after"),
                (["stream", "read", "s"], ""), (["purge"], ""), (["watch", "--once"], ""),
                (["backup", "--recipient", public, str(self.folder / "second")], ""),
                (["restore", "--key", str(key), str(bundle)], ""),
                (["token", "issue", "new", "--allow", "get:**"], ""), (["token", "ls"], ""),
                (["token", "revoke", "old"], ""), (["wrap", "a"], ""), (["unwrap"], wrapped),
                (["unwrap", "--lookup"], wrapped), (["reload"], ""), (["lock"], "secret")):
            with self.subTest(words=words):
                self.fails(INTERNAL, *words, stdin=stdin.encode())
        client = mgwire.Client(self.daemon.path)
        self.addCleanup(client.close)
        with self.assertRaises(mgwire.Refused) as caught:
            client.show_token(base64.urlsafe_b64decode(token.strip()[len("mgt_"):] + "="))
        self.assertEqual(caught.exception.code, INTERNAL)
        self.assertEqual(self.log.stat().st_size, size)
        self.limit(resource.RLIM_INFINITY)
        for words, answer in ((["get", "a"], "before"), (["get", "frozen"], "before"),
                              (["stream", "read", "s"], "before")):
            self.assertEqual(self.ok(*words), answer)
        self.assertEqual(self.ok("unwrap", stdin=wrapped.encode()), "before")
        self.fails(13, "rm", "frozen")
        self.ok("freeze", "a")
        self.assertEqual(self.ok("token", "ls"), "ci\nold\n")
        self.assertFalse((self.folder / "second").exists())
        self.wait_for_signature()
        self.assertEqual(self.verify()["records"], len(self.records()))

    def test_a_line_is_there_before_its_answer(self):
        self.require()
        for i in range(20):
            self.ok("set", f"n/{i}", stdin=b"1")
            self.assertEqual(self.decisions()[-1]["name"], f"n/{i}")

    def test_without_a_place_for_its_log_no_daemon_begins(self):
        self.assertIn("audit-file: /nowhere/log: No such file",
                      self.cannot_start("--audit-file", "/nowhere/log"))


class FailingWorker(AuditTest):
    """What a worker could not write, when another one follows it."""

    options = ("--keep",)

    def worker(self):
        return json.loads(self.ok("--json", "status"))["pid"]

    def kill(self, worker):
        os.kill(worker, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: self.worker() != worker))

    def lost(self):
        return [n["count"] for n in self.verify()["notes"] if n["event"] == "lost"]

    def test_lines_that_waited_when_a_worker_died_are_told_as_lost(self):
        self.some_records()
        worker = self.worker()
        resource.prlimit(worker, resource.RLIMIT_FSIZE,
                         (self.log.stat().st_size, resource.RLIM_INFINITY))
        for i in range(5):
            self.ok("set", f"late/{i}", stdin=b"1")
        self.kill(worker)
        self.assertEqual(self.ok("get", "late/4"), "1")
        self.wait_for_signature()
        self.assertEqual(self.lost(), [5])

    def test_a_log_that_cannot_be_opened_for_a_while_goes_on(self):
        self.some_records()
        worker = self.worker()
        os.kill(self.daemon.pid, signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)
        self.log.chmod(0o666)
        os.kill(self.daemon.pid, signal.SIGCONT)
        self.assertTrue(wait_for(lambda: self.worker() != worker))
        self.assertIn("others may write to it", self.daemon.log())
        for i in range(3):
            self.ok("set", f"late/{i}", stdin=b"1")
        time.sleep(1.2)  # it tries again meanwhile
        self.ok("set", "late/3", stdin=b"1")
        self.log.chmod(0o600)
        self.assertTrue(wait_for(lambda: self.ok("ls") and
                                 self.records()[-1]["type"] == "decision"))
        self.wait_for_signature()
        answer = self.verify()
        self.assertEqual(answer["records"], len(self.records()))
        self.assertGreaterEqual(sum(self.lost()), 4)


class Stderr(unittest.TestCase):
    def test_lines_go_to_stderr_where_no_file_is_named(self):
        with Daemon("--audit", "writes") as daemon:
            environment = {**os.environ, "MEMGUARD_SOCKET": f"unix:{daemon.path}"}

            def run(*arguments, stdin=b""):
                return subprocess.run([MGCTL, *arguments], input=stdin, env=environment,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      timeout=60)

            self.assertEqual(run("set", "a", stdin=b"1").returncode, OK)
            self.assertEqual(run("get", "a").returncode, OK)
            lines = [line for line in daemon.log().splitlines() if line.startswith("{")]
            self.assertEqual([json.loads(line).get("op") for line in lines],
                             [None, None, "set"])
            text = "".join(line + "\n" for line in lines).encode()
            self.assertEqual(run("audit", "verify", "-", stdin=text).returncode, OK)
            self.assertIn(b"set a", run("audit", "show", stdin=daemon.log().encode()).stdout)


if __name__ == "__main__":
    unittest.main()
