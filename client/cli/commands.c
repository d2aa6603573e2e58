/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/commands.h"

#include <limits.h>
#include <string.h>

#include "client/cli/command.h"

#define FIELD(name) offsetof(struct arguments, name)

const struct option commands_globals[] = {
	{ "socket", 0, "URI", arguments_text, FIELD(socket),
		"the daemon's socket, unix:/path; else\n"
		"$MEMGUARD_SOCKET, else your own daemon's\n"
		"if it runs, else the system's" },
	{ "timeout", 0, "D", arguments_duration, FIELD(timeout_ms),
		"how long a call may take (5s): 500ms, 90s, 15m" },
	{ "daemon-uid", 0, "UID", arguments_uid, FIELD(daemon_uid),
		"talk only to a daemon of this user" },
	{ "token-fd", 0, "N", arguments_fd, FIELD(token_fd),
		"show the token that is read from this file\n"
		"descriptor (else: $MEMGUARD_TOKEN_FD)" },
	{ "reason", 0, "TEXT", arguments_text, FIELD(reason),
		"why: for the audit log, and where policy wants it" },
	{ "json", 0, NULL, arguments_flag, FIELD(json),
		"answers and errors as JSON, one object a line" },
	{ "no-input", 0, NULL, arguments_flag, FIELD(no_input),
		"never ask at the terminal (also: MGCTL_NO_INPUT=1)" },
	{ "quiet", 'q', NULL, arguments_flag, FIELD(quiet), "no messages: the exit status tells" },
	{ "verbose", 'v', NULL, arguments_flag, FIELD(verbose), "tell what is done" },
	{ "help", 'h', NULL, arguments_flag, FIELD(help), "explain the command" },
	{ "version", 0, NULL, arguments_flag, FIELD(version), "say the version" },
	{ 0 },
};

static const struct option verify_options[] = {
	{ "fd", 0, "N", arguments_fd, FIELD(fd), "read the value from this file descriptor" },
	{ "file", 0, "PATH", arguments_text, FIELD(file), "read it from this file, - is stdin" },
	{ "trim", 0, NULL, arguments_flag, FIELD(trim), "drop one final newline" },
	{ 0 },
};

/* Where a value that is stored comes from. */
/* clang-format off */
#define VALUE_OPTIONS \
	{ "fd", 0, "N", arguments_fd, FIELD(fd), "read the value from this file descriptor" }, \
	{ "file", 0, "PATH", arguments_text, FIELD(file), "read it from this file, - is stdin" }, \
	{ "once", 0, NULL, arguments_flag, FIELD(once), "at the prompt: do not ask twice" }, \
	{ "trim", 0, NULL, arguments_flag, FIELD(trim), "drop one final newline" }, \
	{ "generate", 0, "[=LEN]", arguments_generate, FIELD(generate), \
		"let the daemon draw a value of LEN bytes (32)" }, \
	{ "charset", 0, "hex|base64|alnum|bytes", arguments_charset, 0, \
		"what it is drawn from (alnum)" }
/* clang-format on */

static const struct option set_options[] = {
	VALUE_OPTIONS,
	{ "create-only", 0, NULL, arguments_flag, FIELD(create_only),
		"fail with 7 when the name exists" },
	{ "cas", 0, "V", arguments_number, FIELD(cas),
		"fail with 7 unless V is the version now (0: none)" },
	{ "tag", 0, "K=V", arguments_tag, 0, "a tag; may be given 16 times" },
	{ "ttl", 0, "D", arguments_lifetime, FIELD(ttl),
		"it ends so long after now: 90s, 15m, 7d" },
	{ "idle-ttl", 0, "D", arguments_lifetime, FIELD(idle_ttl),
		"it ends so long after it was fetched last" },
	{ "max-reads", 0, "N", arguments_reads, FIELD(max_reads),
		"it ends with that many fetches" },
	{ "session", 0, NULL, arguments_flag, FIELD(session),
		"it ends with this mgctl, which goes on running" },
	{ "bind-pid", 0, "PID", arguments_pid, FIELD(bind_pid), "it ends with this process" },
	{ "freeze", 0, NULL, arguments_flag, FIELD(freeze), "it cannot be changed: see freeze" },
	{ 0 },
};

static const struct option rotate_options[] = {
	VALUE_OPTIONS,
	{ "grace", 0, "D", arguments_lifetime, FIELD(grace),
		"so long the version before can still be fetched" },
	{ "cas", 0, "V", arguments_number, FIELD(cas), "fail with 7 unless V is the version now" },
	{ 0 },
};

static const struct option get_options[] = {
	{ "version", 0, "N", arguments_number, FIELD(wanted),
		"this version: the current one, or one in its grace" },
	{ "field", 0, "PTR", arguments_pointer, FIELD(field),
		"one member of a JSON value, such as /db/password" },
	{ "encode", 0, "base64|hex", arguments_encoding, FIELD(encoding), "print it encoded" },
	{ "newline", 0, "auto|yes|no", arguments_newline, FIELD(newline),
		"add a newline; auto: when it goes to a terminal" },
	{ "out", 0, "FILE", arguments_text, FIELD(out),
		"into a file of mode 0600, all of it or nothing" },
	{ "fd", 0, "N", arguments_fd, FIELD(fd), "to this file descriptor" },
	{ "wait", 0, "D", arguments_duration, FIELD(wait_ms), "wait for the name to appear" },
	{ "force", 0, NULL, arguments_flag, FIELD(force), "control bytes to a terminal, too" },
	{ 0 },
};

static const struct option rm_options[] = {
	{ "if-exists", 0, NULL, arguments_flag, FIELD(if_exists),
		"a name that does not exist is no failure" },
	{ "cas", 0, "V", arguments_number, FIELD(cas), "fail with 7 unless V is the version now" },
	{ 0 },
};

static const struct option mv_options[] = {
	{ "cas", 0, "V", arguments_number, FIELD(cas), "fail with 7 unless V is the version now" },
	{ 0 },
};

static const struct option ls_options[] = {
	{ "long", 'l', NULL, arguments_flag, FIELD(details),
		"version, bytes, time of the change, and tags" },
	{ "tag", 0, "K=V", arguments_tag, 0, "only what carries all the tags that are given" },
	{ 0 },
};

static const struct option watch_options[] = {
	{ "since", 0, "V", arguments_number, FIELD(since_number),
		"begin after the event of this number; 0: now" },
	{ "once", 0, NULL, arguments_flag, FIELD(once), "end with the first event" },
	{ 0 },
};

static const struct option touch_options[] = {
	{ "ttl", 0, "D", arguments_lifetime, FIELD(ttl),
		"it ends so long after now: 90s, 15m, 7d" },
	{ "cas", 0, "V", arguments_number, FIELD(cas), "fail with 7 unless V is the version now" },
	{ 0 },
};

static const struct option stream_options[] = {
	{ "fd", 0, "N", arguments_fd, FIELD(fd), "write from, or read to, this file descriptor" },
	{ "file", 0, "PATH", arguments_text, FIELD(file), "write from this file, - is stdin" },
	{ "trim", 0, NULL, arguments_flag, FIELD(trim), "write: drop one final newline" },
	{ "encode", 0, "base64|hex", arguments_encoding, FIELD(encoding),
		"read: print it encoded" },
	{ "newline", 0, "auto|yes|no", arguments_newline, FIELD(newline),
		"read: add a newline; auto: when it goes to a\nterminal" },
	{ "force", 0, NULL, arguments_flag, FIELD(force),
		"read: control bytes to a terminal, too" },
	{ 0 },
};

static const struct option token_options[] = {
	{ "allow", 0, "OP:GLOB", arguments_allow, 0,
		"issue: what its bearer may do, get:web/prod/*\nor get,stat:~/ci/**; may be given "
		"16 times" },
	{ "ttl", 0, "D", arguments_lifetime, FIELD(ttl),
		"issue: it ends so long after now: 90s, 15m, 7d" },
	{ "uses", 0, "N", arguments_uses, FIELD(uses), "issue: it ends with that many requests" },
	{ "bind-uid", 0, "UID", arguments_uid, FIELD(bind_uid),
		"issue: only this user may show it" },
	{ "bind-unit", 0, "UNIT", arguments_text, FIELD(bind_unit),
		"issue: only processes of this unit, such as\nnginx.service, may" },
	{ "out", 0, "FILE", arguments_text, FIELD(out),
		"issue: into a file of mode 0600, all of it or\nnothing" },
	{ "fd", 0, "N", arguments_fd, FIELD(fd), "issue: to this file descriptor" },
	{ "newline", 0, "auto|yes|no", arguments_newline, FIELD(newline),
		"issue: add a newline; auto: when it goes to a\nterminal" },
	{ "long", 'l', NULL, arguments_flag, FIELD(details),
		"ls: who has issued it, what is left, and what for" },
	{ 0 },
};

static const struct option wrap_options[] = {
	{ "ttl", 0, "D", arguments_lifetime, FIELD(ttl), "it ends so long after now (1h)" },
	{ "uses", 0, "N", arguments_uses, FIELD(uses), "how often it can be unwrapped (once)" },
	{ "out", 0, "FILE", arguments_text, FIELD(out),
		"into a file of mode 0600, all of it or nothing" },
	{ "fd", 0, "N", arguments_fd, FIELD(fd), "to this file descriptor" },
	{ "newline", 0, "auto|yes|no", arguments_newline, FIELD(newline),
		"add a newline; auto: when it goes to a terminal" },
	{ 0 },
};

static const struct option unwrap_options[] = {
	{ "lookup", 0, NULL, arguments_flag, FIELD(lookup),
		"only tell what is wrapped, and what is left" },
	{ "encode", 0, "base64|hex", arguments_encoding, FIELD(encoding), "print it encoded" },
	{ "newline", 0, "auto|yes|no", arguments_newline, FIELD(newline),
		"add a newline; auto: when it goes to a terminal" },
	{ "out", 0, "FILE", arguments_text, FIELD(out),
		"into a file of mode 0600, all of it or nothing" },
	{ "fd", 0, "N", arguments_fd, FIELD(fd), "to this file descriptor" },
	{ "force", 0, NULL, arguments_flag, FIELD(force), "control bytes to a terminal, too" },
	{ 0 },
};

static const struct option lock_options[] = {
	{ "fd", 0, "N", arguments_fd, FIELD(fd), "read the passphrase from this file descriptor" },
	{ "file", 0, "PATH", arguments_text, FIELD(file), "read it from this file, - is stdin" },
	{ "once", 0, NULL, arguments_flag, FIELD(once), "at the prompt: do not ask twice" },
	{ 0 },
};

static const struct option unlock_options[] = {
	{ "fd", 0, "N", arguments_fd, FIELD(fd), "read the passphrase from this file descriptor" },
	{ "file", 0, "PATH", arguments_text, FIELD(file), "read it from this file, - is stdin" },
	{ 0 },
};

static const struct option backup_options[] = {
	{ "recipient", 0, "KEY", arguments_recipient, FIELD(recipient),
		"seal it to this public key, not to a passphrase" },
	{ "passphrase-fd", 0, "N", arguments_fd, FIELD(passphrase_fd),
		"read the passphrase from this file descriptor" },
	{ "prefix", 0, "P", arguments_text, FIELD(prefix), "only names that begin with P" },
	{ "new-key", 0, "FILE", arguments_text, FIELD(new_key),
		"no backup: draw a pair of keys, the private one\ninto this file, and print the "
		"public one" },
	{ 0 },
};

static const struct option restore_options[] = {
	{ "passphrase-fd", 0, "N", arguments_fd, FIELD(passphrase_fd),
		"read the passphrase from this file descriptor" },
	{ "key", 0, "FILE", arguments_text, FIELD(key),
		"the private key, for a bundle sealed to one;\nno file that others may open" },
	{ "key-fd", 0, "N", arguments_fd, FIELD(key_fd), "the same from this file descriptor" },
	{ "prefix", 0, "P", arguments_text, FIELD(prefix), "only names that begin with P" },
	{ 0 },
};

static const struct option purge_options[] = {
	{ "mine", 0, NULL, arguments_flag, FIELD(mine),
		"what is your own; taken for granted without --all" },
	{ "all", 0, NULL, arguments_flag, FIELD(all), "what is anybody's, copies included" },
	{ 0 },
};

static const struct option policy_options[] = {
	{ "as", 0, "SELECTOR", arguments_as, 0,
		"explain: for whom, not for you: 'user:alice',\n'uid:33 unit:nginx.service'; may "
		"be "
		"given again" },
	{ 0 },
};

static const struct option audit_options[] = {
	{ "key", 0, "KEY", arguments_audit_key, 0,
		"verify: trust this public key, and do not ask the\ndaemon; may be given again" },
	{ "since", 0, "TIME", arguments_text, FIELD(since),
		"show: from then on: 2026-01-31T12, 90s, 15m, 7d" },
	{ "name", 0, "PATTERN", arguments_text, FIELD(name),
		"show: of names like this: web/*, with * and ?" },
	{ "denied", 0, NULL, arguments_flag, FIELD(denied), "show: only what was refused" },
	{ 0 },
};

static const struct option ready_options[] = {
	{ "wait-ready", 0, "D", arguments_duration, FIELD(wait_ready_ms),
		"wait until the daemon answers" },
	{ 0 },
};

static const struct option no_options[] = { { 0 } };

/*
 * A second operand of set is a value, for all we know: it is not repeated on stderr, and neither is
 * the first, because the two may have changed places.
 */
#define NEVER_AN_ARGUMENT(command) \
	"a value is never an argument, where everybody can read it: pipe it, '... | " \
	"mgctl " command " NAME', or let 'mgctl " command " NAME' ask for it"

const struct command commands[] = {
	{ "set", "NAME", OPERAND_NAME, 1, 1, set_options, "store a secret",
		"The value comes from --fd, else --file, else stdin, else you are asked for it.\n"
		"It is never an argument. Its bytes are kept as they are, final newline included.\n"
		"\n"
		"  printf %s \"$TOKEN\" | mgctl set '~/token'\n"
		"  mgctl set --file key.pem --tag team=web web/key\n"
		"  mgctl set --generate --create-only db/password\n",
		NEVER_AN_ARGUMENT("set"), command_set },
	{ "get", "NAME", OPERAND_NAME, 1, 1, get_options, "print a secret",
		"The bytes as they were stored.\n"
		"\n"
		"  mgctl get db/password | program --password-stdin\n"
		"  mgctl get --field /password db/login\n"
		"  mgctl get --out key.pem --wait 30s web/key\n",
		NULL, command_get },
	{ "rotate", "NAME", OPERAND_NAME, 1, 1, rotate_options,
		"store a new version of a secret there is",
		"The value comes as for set. The new version has the tags of the one before, and\n"
		"what is left of its lifetime. The one before is destroyed at once, unless\n"
		"--grace leaves it to those who ask for its number. Status 3: there is none.\n"
		"\n"
		"  mgctl rotate --generate=40 db/password\n"
		"  mgctl rotate --grace 5m --file key.pem web/key\n"
		"  mgctl get --version 7 web/key\n",
		NEVER_AN_ARGUMENT("rotate"), command_rotate },
	{ "rm", "NAME...", OPERAND_NAME, 1, SIZE_MAX, rm_options, "destroy secrets",
		"Each secret and its key are destroyed at once.\n", NULL, command_rm },
	{ "ls", "[PREFIX]", OPERAND_NAME, 0, 1, ls_options, "list names",
		"The names that begin with PREFIX and that you may list, one a line, sorted.\n"
		"\n"
		"  mgctl ls '~/'\n"
		"  mgctl ls -l --tag team=web\n",
		NULL, command_ls },
	{ "mv", "NAME NEWNAME", OPERAND_NAME, 2, 2, mv_options, "give a secret another name",
		"All else of it stays: version, times, tags and lifetime. Status 7 when there is\n"
		"something under the new name already.\n"
		"\n"
		"  mgctl mv '~/token' '~/token.old'\n",
		NULL, command_mv },
	{ "stat", "NAME", OPERAND_NAME, 1, 1, no_options, "tell all about a secret but its value",
		"", NULL, command_stat },
	{ "verify", "NAME", OPERAND_NAME, 1, 1, verify_options, "compare a secret with a value",
		"The value comes as for set, and is asked for once. Status 0: the secret is that\n"
		"value; 1: it is another one. The daemon compares, in constant time, and lets you\n"
		"wait after each wrong answer, twice as long each time: --timeout must allow it.\n"
		"\n"
		"  mgctl verify '~/token' && echo right\n",
		NEVER_AN_ARGUMENT("verify"), command_verify },
	{ "touch", "NAME", OPERAND_NAME, 1, 1, touch_options, "give a secret another time to live",
		"Whatever is left of the one before.\n"
		"\n"
		"  mgctl touch --ttl 15m web/session\n",
		NULL, command_touch },
	{ "freeze", "NAME", OPERAND_NAME, 1, 1, no_options, "let nobody change a secret",
		"set, rotate, rm, mv and touch fail with status 13 then, until it is melted. Its\n"
		"lifetime goes on, and purge destroys it.\n",
		NULL, command_freeze },
	{ "melt", "NAME", OPERAND_NAME, 1, 1, no_options, "let a frozen secret be changed again",
		"", NULL, command_melt },
	{ "stream", "write|read|size NAME", OPERAND_DEED, 2, 2, stream_options,
		"pass bytes from one program to another",
		"write takes bytes as set does, and sends them on while they come; read waits for\n"
		"the first writer, prints what one write has sent, in order, and ends with it.\n"
		"What was printed is gone. When a writer has not come to its end, read ends with\n"
		"status 11. The daemon keeps as much as a secret may have: then write waits, each\n"
		"time as long as --timeout allows. size prints how many bytes wait.\n"
		"\n"
		"  pg_dump prod | mgctl stream write '~/dump'\n"
		"  mgctl --timeout 1h stream read '~/dump' | pg_restore -d test\n",
		"a value is never an argument, where everybody can read it: pipe it, "
		"'... | mgctl stream write NAME'",
		command_stream },
	{ "watch", "[PREFIX] [-- CMD...]", OPERAND_NAME, 0, SIZE_MAX, watch_options,
		"tell what changes",
		"One line for each change of a name that begins with PREFIX and that you may\n"
		"watch: what it was (set, rm, expire, purge), its number, the version and the\n"
		"name. A move is an rm and a set. lost: there was more than the daemon\n"
		"remembers; list anew. It goes on when the daemon was away; a later watch goes\n"
		"on with --since. A --timeout that is given ends it with status 9 when nothing\n"
		"happens for so long.\n"
		"With CMD, that runs for each of them instead of a line, one after the other,\n"
		"with MG_EVENT, MG_NUMBER, MG_VERSION and MG_NAME in its environment.\n"
		"\n"
		"  mgctl watch 'web/'\n"
		"  mgctl watch web/key -- systemctl reload nginx\n"
		"  mgctl --timeout 1h watch --once '~/ready'\n",
		NULL, command_watch },
	{ "token", "issue|ls|revoke [NAME]", OPERAND_DEED, 1, 2, token_options,
		"let others do what you may do yourself",
		"issue prints a token, this once. Whoever shows it (--token-fd) may do what it\n"
		"allows, as far as you may do it yourself at that moment, beside what is allowed\n"
		"anyway. Names outside ~/ are for root and the daemon's user; rules of a policy\n"
		"can name a token. ls lists those that you may revoke. Status 12, when one is\n"
		"shown: it was revoked, or used as often as it might be.\n"
		"\n"
		"  mgctl token issue '~/ci' --allow 'get:~/ci/*' --ttl 1h --uses 3 --out ci.token\n"
		"  mgctl --token-fd 3 get '~1000/ci/key' 3<ci.token\n"
		"  mgctl token revoke '~/ci'\n",
		"a token is never an argument, where everybody can read it: --token-fd N, or "
		"$MEMGUARD_TOKEN_FD",
		command_token },
	{ "wrap", "NAME", OPERAND_NAME, 1, 1, wrap_options, "send a secret to somebody, once",
		"Prints a text with which one fetches the secret as it is now, once, whoever one\n"
		"is, as long as you may get it. When somebody else was there before, unwrap fails\n"
		"with status 12, and the daemon says so in its logs.\n"
		"\n"
		"  mgctl wrap --ttl 10m --out key.wrap '~/key'\n"
		"  mgctl unwrap <key.wrap | program --password-stdin\n",
		NULL, command_wrap },
	{ "unwrap", "", OPERAND_NONE, 0, 0, unwrap_options, "fetch what was wrapped",
		"The text that wrap has printed comes on stdin. Status 12: it was unwrapped as\n"
		"often as it might be, by somebody who had it before you; or the secret was\n"
		"changed, removed or renamed since.\n"
		"\n"
		"  mgctl unwrap --lookup <key.wrap\n"
		"  mgctl unwrap --out key.pem <key.wrap\n",
		"a wrap is never an argument, where everybody can read it: mgctl unwrap <FILE",
		command_unwrap },
	{ "backup", "[FILE]", OPERAND_FILE, 0, 1, backup_options, "write secrets to a sealed file",
		"All secrets that you may get, but those that end with a process, a connection or\n"
		"a number of fetches, as they rest: FILE can be read with the passphrase alone,\n"
		"which is asked for twice, or with the private key. - is stdout.\n"
		"\n"
		"  mgctl backup secrets.bundle\n"
		"  mgctl backup --new-key /media/stick/backup.key\n"
		"  mgctl backup --recipient 6f1c... - | ssh vault 'cat >secrets.bundle'\n",
		NULL, command_backup },
	{ "restore", "FILE", OPERAND_FILE, 1, 1, restore_options, "bring a backup's secrets back",
		"All of them or none: status 11 when the bundle was changed or cut, or when it is\n"
		"another passphrase or key; 13 when one of the names is frozen. Names that exist\n"
		"get a new version. - is stdin.\n"
		"\n"
		"  mgctl restore secrets.bundle\n"
		"  mgctl restore --key /media/stick/backup.key --prefix web/ secrets.bundle\n",
		NULL, command_restore },
	{ "status", "", OPERAND_NONE, 0, 0, ready_options, "tell what protects the secrets",
		"What is really in force in the daemon, not what was asked for.\n", NULL,
		command_status },
	{ "ping", "", OPERAND_NONE, 0, 0, ready_options, "see whether the daemon answers", "", NULL,
		command_ping },
	{ "whoami", "", OPERAND_NONE, 0, 0, no_options, "tell how the daemon sees you", "", NULL,
		command_whoami },
	{ "policy", "check|explain ...", OPERAND_DEED, 1, 3, policy_options,
		"see whether a policy is right, and what it says",
		"check [FILE] reads a file, or a folder of them, as the daemon would, which need\n"
		"not run; without FILE what the daemon's configuration names. Status 1: there is\n"
		"a fault, with file and line.\n"
		"explain OPERATION NAME asks the daemon what the policy in force says, which line\n"
		"decides, and which one would be missing. Status 4: no. --as is for root and the\n"
		"daemon's own user.\n"
		"\n"
		"  mgctl policy check ./policy.d\n"
		"  mgctl policy explain get web/prod/db-1 --as user:www-data\n",
		NULL, command_policy },
	{ "audit", "verify|show [FILE...]", OPERAND_DEED_FILE, 1, SIZE_MAX, audit_options,
		"look at an audit log, and whether it is all there",
		"verify goes through the files, the oldest first, and asks the daemon for its key\n"
		"and how far it has written, or trusts the --key that is given. Status 11: a\n"
		"record was changed, is missing, or stands elsewhere; the first one is named.\n"
		"show prints who asked for what, and what was decided. - is stdin.\n"
		"\n"
		"  mgctl audit verify /var/log/memguardd/audit.log.1 /var/log/memguardd/audit.log\n"
		"  journalctl -u memguardd -o cat | mgctl audit show --denied --since 1h -\n",
		NULL, command_audit },
	{ "lock", "", OPERAND_NONE, 0, 0, lock_options,
		"take the key to all secrets out of the daemon",
		"Until it is unlocked with the same passphrase, all but unlock, status, ping,\n"
		"purge --all, reload, upgrade and shutdown is status 5. Nothing is lost\n"
		"meanwhile, but lives go on. The passphrase is one line: from --fd, --file, or\n"
		"stdin, else you are asked. For root and the daemon's own user.\n"
		"\n"
		"  mgctl lock\n"
		"  mgctl lock --file /media/stick/passphrase\n",
		NULL, command_lock },
	{ "unlock", "", OPERAND_NONE, 0, 0, unlock_options, "put it back, and all is as it was",
		"Status 11: the passphrase is another one. Each wrong one makes you wait longer\n"
		"for the next, and nobody else. Without the passphrase there is no way back:\n"
		"purge --all begins anew.\n",
		NULL, command_unlock },
	{ "purge", "", OPERAND_NONE, 0, 0, purge_options,
		"destroy all that is yours, or all there is",
		"Your own is what is in your space ~/, and what you have stored first elsewhere\n"
		"and may still remove or set. Only root and the daemon's user may purge --all:\n"
		"then everything that was ever sealed is dead, whoever has a copy. Gets under\n"
		"way end with status 12.\n",
		NULL, command_purge },
	{ "reload", "", OPERAND_NONE, 0, 0, no_options,
		"let the daemon read its configuration anew",
		"All of it is in force then, or nothing is: status 1, and the file and the line\n"
		"that is wrong, or that changes what takes a restart.\n",
		NULL, command_reload },
	{ "upgrade", "", OPERAND_NONE, 0, 0, no_options, "let the program on disk take over",
		"The daemon's keeper starts it and hands everything on; connections end, secrets\n"
		"stay. Takes up to a minute, or as long as --timeout allows. Status 1: it cannot,\n"
		"and the daemon goes on as before. There is a keeper with the setting keep.\n",
		NULL, command_upgrade },
	{ "shutdown", "", OPERAND_NONE, 0, 0, no_options, "end the daemon, and all that it holds",
		"Returns once the daemon has closed the connection.\n", NULL, command_shutdown },
	{ "version", "", OPERAND_NONE, 0, 0, no_options, "say the version", "", NULL,
		command_version },
	{ "help", "[COMMAND]", OPERAND_COMMAND, 0, 1, no_options, "explain a command", "", NULL,
		command_help },
	{ "completion", "bash|zsh|fish", OPERAND_SHELL, 1, 1, no_options,
		"print completions for a shell",
		"They know commands, options and names.\n"
		"\n"
		"  bash: source <(mgctl completion bash)\n"
		"  zsh:  mgctl completion zsh >~/.zfunc/_mgctl\n"
		"  fish: mgctl completion fish | source\n",
		NULL, command_completion },
	{ 0 },
};

const struct command *commands_find(const char *name)
{
	for (const struct command *command = commands; command->name; command++)
		if (strcmp(command->name, name) == 0)
			return command;
	return NULL;
}
