/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How deep the daemon's own paths go on the locked stack, which has two pages and ends the process
 * at its end: every verb, with the largest names, tags and lists that there are. The daemon's doors
 * are included as source, so that each visit is measured.
 */
#include <stddef.h>

#include "common/memory/locked_stack.h"

static void measured_call(struct locked_stack *stack, void (*function)(void *), void *argument);

#define locked_stack_call measured_call
#include "daemon/daemon.c"
#include "daemon/serve.c"
#undef locked_stack_call

#include <check.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/vault/vault_inside.h"
#include "tests/unit/claims.h"
#include "tests/unit/door.h"

/* What must be left below the deepest path: for a libsodium, a libc or a compiler of another mood.
 */
#define SPARE 1024

static size_t deepest;

static void measured_call(struct locked_stack *stack, void (*function)(void *), void *argument)
{
	size_t depth;

	if (stack->busy || !locked_stack_switches()) {
		function(argument);
		return;
	}
	depth = locked_stack_measure(stack, function, argument);
	deepest = depth > deepest ? depth : deepest;
}

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static struct door door;
static uint8_t wire[2 * FRAME_SIZE_MAX];
static uint8_t chunk[ENCLAVE_CHUNK_SIZE];
static const uint8_t key[ENCLAVE_KEY_SIZE] = { 3 };
static char names[2][NAME_MAX_SIZE + 1];
static char keys[MESSAGE_TAGS_MAX][MESSAGE_TAG_KEY_MAX];
static char text[MESSAGE_TAG_VALUE_MAX];
static struct tag tags[MESSAGE_TAGS_MAX];
static uint64_t next_id = 1;

/* Every decision is told in a line that has to be written at once. */
static void keep_audit(void)
{
	static struct config config = { .audit = AUDIT_ALL, .audit_required = true };
	struct audit_file file = AUDIT_FILE_NONE;

	file.fd = memfd_create("audit", MFD_CLOEXEC);
	ck_assert_int_ge(file.fd, 0);
	daemon_audit(&door.daemon, &config, &file);
}

static void set_up(void)
{
	memset(text, 'v', sizeof(text));
	for (size_t i = 0; i < MESSAGE_TAGS_MAX; i++) {
		memset(keys[i], 'a' + (char)i, sizeof(keys[i]));
		tags[i] = (struct tag){ span_of(keys[i], sizeof(keys[i])),
			span_of(text, sizeof(text)) };
	}
	for (size_t i = 0; i < 2; i++) {
		memset(names[i], 'n', NAME_MAX_SIZE);
		memcpy(names[i], "~/", 2);
		names[i][NAME_MAX_SIZE - 1] = (char)('0' + i);
	}
	door_open(&door, 4000000000u);
	/* Somebody whose uid is long, and who may do everything. */
	door.daemon.policy.own = 4000000000u;
	door.served.peer.pid = getpid();
	keep_audit();
	door_shake_hands(&door);
}

static void tear_down(void)
{
	door_close(&door);
}

/* Seals one frame with one request, serves it, and throws the answers away. */
static void serve_one(struct request request, struct span chunks)
{
	static uint8_t plain[FRAME_PLAIN_MAX];
	size_t used = 0;
	size_t size;
	struct span input;
	enum serve_end end;

	request.id = next_id++;
	request.reason = span_of(text, sizeof(text));
	randombytes_buf(request.number, sizeof(request.number));
	ck_assert_int_eq(message_append_request(plain, &used, sizeof(plain), &request), 0);
	size = channel_seal(&door.channel, &door.keys, span_of(plain, used), chunks.size, wire);
	if (chunks.size > 0)
		memcpy(wire + size, chunks.data, chunks.size);
	input = span_of(wire, size + chunks.size);
	ck_assert_int_eq(serve_frames(&door.served, &input, UINT64_MAX, &end), 0);
	door.outbox.used = 0;
}

static struct request asking(enum verb verb, size_t name)
{
	return (struct request){ .verb = verb,
		.numbered = verb != VERB_GET,
		.name = span_of(names[name], NAME_MAX_SIZE) };
}

static struct request with_value(enum verb verb, size_t name)
{
	struct request request = asking(verb, name);

	request.key = key;
	request.size = ENCLAVE_CHUNK_PLAIN;
	request.chunked = true;
	request.chunks = (struct chunks){ .count = 1, .last = ENCLAVE_CHUNK_SIZE, .final = true };
	return request;
}

static void store(size_t name, struct lifetime lifetime)
{
	struct request request = with_value(VERB_SET, name);

	request.tags = (struct tags){ tags, MESSAGE_TAGS_MAX };
	request.lifetime = lifetime;
	serve_one(request, span_of(chunk, sizeof(chunk)));
}

static const struct lifetime limited = {
	.ttl_ms = 1000000, .idle_ms = 1000000, .reads = 3, .session = true
};

static void run_store(void)
{
	struct lifetime lifetime = limited;

	lifetime.pid = (uint32_t)getpid();
	store(0, lifetime);
	store(0, limited);
	store(1, limited);
	ck_assert_uint_eq(vault_count(door.daemon.vault), 2);
}

/* What is behind it is told of from here on, in the midst of whatever it is. */
static void run_watch(void)
{
	struct request request = { .verb = VERB_WATCH };

	serve_one(request, span_of(NULL, 0));
	store(0, limited);
	request.since = vault_event_now(door.daemon.vault);
	store(0, limited);
	serve_one(request, span_of(NULL, 0));
	ck_assert(!watches_due(&door.served.transfers));
	ck_assert_ptr_nonnull(door.served.transfers.watches);
}

static void run_get(void)
{
	for (int i = 0; i < 4; i++)
		serve_one(asking(VERB_GET, 0), span_of(NULL, 0));
	ck_assert_uint_eq(vault_count(door.daemon.vault), 1);
}

static void run_list(void)
{
	struct request request = { .verb = VERB_LIST, .details = true };

	serve_one(request, span_of(NULL, 0));
	request.tags = (struct tags){ tags, MESSAGE_TAGS_MAX };
	request.name = span_of(names[1], 200);
	request.after = span_of(names[1], 220);
	serve_one(request, span_of(NULL, 0));
}

/* Of a process that has a cgroup, so that this is looked for. */
static void run_whoami(void)
{
	static struct peer_place place;
	struct peer *peer = &door.served.peer;

	peer->place = &place;
	peer->pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	(void)peer_check(peer);
	serve_one((struct request){ .verb = VERB_WHOAMI }, span_of(NULL, 0));
	peer->place = NULL;
	if (peer->pidfd >= 0)
		close(peer->pidfd);
	peer->pidfd = -1;
}

static void run_look(void)
{
	struct request waiting = asking(VERB_GET, 0);

	waiting.wait_ms = 1;
	serve_one(asking(VERB_STAT, 1), span_of(NULL, 0));
	serve_one(waiting, span_of(NULL, 0));
	serve_one((struct request){ .verb = VERB_STATUS }, span_of(NULL, 0));
	run_whoami();
	waiting = asking(VERB_EXPLAIN, 1);
	waiting.operation = span_text("stream-write");
	waiting.numbered = false;
	serve_one(waiting, span_of(NULL, 0));
	waiting.as = (const struct span[]){ span_text("uid:7"), span_text("unit:a.service") };
	waiting.as_count = 2;
	serve_one(waiting, span_of(NULL, 0));
}

static void run_change(void)
{
	struct request touch = asking(VERB_TOUCH, 1);

	touch.lifetime.ttl_ms = 1000000;
	serve_one(touch, span_of(NULL, 0));
	serve_one(asking(VERB_FREEZE, 1), span_of(NULL, 0));
	serve_one(asking(VERB_MELT, 1), span_of(NULL, 0));
	ck_assert_uint_eq(vault_count(door.daemon.vault), 1);
}

static void run_generate(void)
{
	struct request request = asking(VERB_GENERATE, 0);

	request.size = 4096;
	request.tags = (struct tags){ tags, MESSAGE_TAGS_MAX };
	request.lifetime = limited;
	serve_one(request, span_of(NULL, 0));
	ck_assert_uint_eq(vault_count(door.daemon.vault), 2);
	serve_one(asking(VERB_GET, 0), span_of(NULL, 0));
}

static void run_verify(void)
{
	struct request request = with_value(VERB_VERIFY, 1);

	request.numbered = false;
	serve_one(request, span_of(chunk, sizeof(chunk)));
	ck_assert_ptr_null(door.served.transfers.trials);
}

/* Over a name that is there, whose version goes on: another wrap. */
static void run_restore(void)
{
	struct request request = with_value(VERB_STAGE, 0);

	serve_one((struct request){ .verb = VERB_EXPORT }, span_of(NULL, 0));
	request.numbered = false;
	request.version = 1;
	request.tags = (struct tags){ tags, MESSAGE_TAGS_MAX };
	request.lifetime.ttl_ms = request.lifetime.idle_ms = 1000000;
	serve_one(request, span_of(chunk, sizeof(chunk)));
	ck_assert_ptr_nonnull(door.served.transfers.restore);
	serve_one((struct request){ .verb = VERB_COMMIT, .numbered = true, .secrets = 1 },
		span_of(NULL, 0));
	serve_one((struct request){ .verb = VERB_STATUS }, span_of(NULL, 0));
	ck_assert_ptr_null(door.served.transfers.restore);
	ck_assert_uint_eq(vault_count(door.daemon.vault), 2);
}

/* A stream begins, is read while it goes on, and to its end. */
static void run_stream(void)
{
	struct request write = with_value(VERB_STREAM_WRITE, 0);
	struct request read = asking(VERB_STREAM_READ, 0);

	serve_one(asking(VERB_REMOVE, 0), span_of(NULL, 0));
	serve_one(write, span_of(chunk, sizeof(chunk)));
	ck_assert_uint_eq(vault_count(door.daemon.vault), 2);
	read.numbered = false;
	serve_one(read, span_of(NULL, 0));
	ck_assert_ptr_nonnull(door.served.transfers.flows);
	serve_one(asking(VERB_STAT, 0), span_of(NULL, 0));
	read.acknowledge = true;
	/* Its end has a number, too. */
	read.read =
		(struct stream_place){ .stream = door.daemon.vault->sequence - 1, .segment = 2 };
	serve_one(read, span_of(NULL, 0));
	ck_assert_ptr_null(door.served.transfers.flows);
	ck_assert_uint_eq(vault_count(door.daemon.vault), 1);
	store(0, limited);
}

static void run_move(void)
{
	struct request request = asking(VERB_MOVE, 0);

	request.to = span_of(names[1], NAME_MAX_SIZE);
	serve_one(request, span_of(NULL, 0));
	request = asking(VERB_MOVE, 1);
	request.to = span_of(names[0], NAME_MAX_SIZE);
	serve_one(request, span_of(NULL, 0));
}

static void run_remove(void)
{
	serve_one(asking(VERB_REMOVE, 0), span_of(NULL, 0));
	ck_assert_uint_eq(vault_count(door.daemon.vault), 1);
}

static void run_purge(void)
{
	serve_one((struct request){ .verb = VERB_PURGE, .numbered = true }, span_of(NULL, 0));
	ck_assert_uint_eq(vault_count(door.daemon.vault), 0);
	store(0, limited);
	serve_one((struct request){ .verb = VERB_PURGE, .numbered = true, .all = true },
		span_of(NULL, 0));
	ck_assert_uint_eq(vault_count(door.daemon.vault), 0);
}

/* The largest token there is; then its name, told to whoever shows it. */
static void run_token(void)
{
	static struct grant grants[MESSAGE_GRANTS_MAX];
	static char globs[MESSAGE_GRANTS_MAX][NAME_MAX_SIZE];
	struct request issue = { .verb = VERB_ISSUE_TOKEN,
		.name = span_of(names[0], NAME_MAX_SIZE),
		.grants = { grants, MESSAGE_GRANTS_MAX },
		.uses = 2 };
	char others[NAME_FILED_MAX + 1] = "~4000000000/";
	struct token *token;
	uint8_t shown[VAULT_TOKEN_SIZE] = { 1 };

	for (size_t i = 0; i < MESSAGE_GRANTS_MAX; i++) {
		memset(globs[i], 'g', sizeof(globs[i]));
		memcpy(globs[i], "~/*", 3);
		grants[i] = (struct grant){ span_text("get"), span_of(globs[i], 250) };
	}
	memset(others + strlen(others), 'g', 248);
	serve_one(issue, span_of(NULL, 0));
	serve_one((struct request){ .verb = VERB_LIST_TOKENS }, span_of(NULL, 0));
	ck_assert_uint_eq(tokens_count(door.daemon.tokens), 1);
	/* One that is wrong, and one that is right. */
	serve_one((struct request){ .verb = VERB_SHOW_TOKEN, .token = shown }, span_of(NULL, 0));
	token = tokens_first(door.daemon.tokens);
	session_shows(&door.served.transfers, &door.daemon, token);
	serve_one((struct request){ .verb = VERB_WHOAMI }, span_of(NULL, 0));
	/* What it alone lets do. */
	door.daemon.policy.own = 1;
	door.served.peer.uid = 77;
	serve_one((struct request){ .verb = VERB_LIST }, span_of(NULL, 0));
	serve_one(
		(struct request){ .verb = VERB_GET, .name = span_text(others) }, span_of(NULL, 0));
	ck_assert_uint_eq(token->kept.left, 1);
	door.served.peer.uid = 4000000000u;
	door.daemon.policy.own = 4000000000u;
	serve_one((struct request){ .verb = VERB_REVOKE_TOKEN,
			  .name = span_of(names[0], NAME_MAX_SIZE) },
		span_of(NULL, 0));
	ck_assert_uint_eq(tokens_count(door.daemon.tokens), 0);
}

/* What the daemon draws is known here: the bytes behind the number of the request. */
static void run_wrap(void)
{
	struct request request = asking(VERB_WRAP, 1);
	uint8_t bytes[MESSAGE_NUMBER_SIZE + VAULT_TOKEN_SIZE];
	uint64_t state = door_random_state;

	/* The wrong one before it is still held against us. */
	usleep((PENALTY_FIRST_MS + 20) * 1000);
	request.numbered = false;
	request.uses = 2;
	door_random_bytes(bytes, sizeof(bytes));
	door_random_state = state;
	serve_one(request, span_of(NULL, 0));
	request = (struct request){ .verb = VERB_UNWRAP, .token = bytes + MESSAGE_NUMBER_SIZE };
	serve_one(request, span_of(NULL, 0));
	ck_assert_uint_eq(tokens_first(door.daemon.tokens)->kept.left, 1);
	request.lookup = true;
	serve_one(request, span_of(NULL, 0));
	request.lookup = false;
	serve_one(request, span_of(NULL, 0));
	serve_one(request, span_of(NULL, 0));
	ck_assert_uint_eq(tokens_first(door.daemon.tokens)->kept.left, 0);
}

static void lock_and_unlock(bool next)
{
	struct request request = { .verb = VERB_LOCK,
		.numbered = true,
		.key = key,
		.salt = span_of(text, MESSAGE_SALT_SIZE),
		.opslimit = MESSAGE_LOCK_OPSLIMIT_MIN,
		.memlimit = MESSAGE_LOCK_MEMLIMIT_MIN };

	serve_one(request, span_of(NULL, 0));
	ck_assert(vault_is_locked(door.daemon.vault));
	if (next) {
		vault_leave(door.daemon.vault);
		ck_assert_int_eq(
			vault_new(&door.daemon.vault, &door.daemon.coffer, door.daemon.ledger), 0);
		ck_assert(vault_is_blind(door.daemon.vault));
	}
	request.verb = VERB_UNLOCK;
	serve_one(request, span_of(NULL, 0));
	ck_assert(!vault_is_locked(door.daemon.vault));
	ck_assert(!vault_is_blind(door.daemon.vault));
}

/* In a file, so that there is something to be adopted behind it. */
static void run_lock(void)
{
	struct request rotation = with_value(VERB_SET, 1);

	vault_free(door.daemon.vault);
	door.daemon.ledger = ledger_file();
	ck_assert_int_ge(door.daemon.ledger, 0);
	ck_assert_int_eq(vault_new(&door.daemon.vault, &door.daemon.coffer, door.daemon.ledger), 0);
	store(0, (struct lifetime){ .reads = 1, .pid = (uint32_t)getpid() });
	store(1, (struct lifetime){ .ttl_ms = 1000000, .pid = (uint32_t)getpid() });
	rotation.rotation = (struct rotation){ .asked = true, .grace_ms = 1000000 };
	serve_one(rotation, span_of(chunk, sizeof(chunk)));
	serve_one(asking(VERB_GET, 0), span_of(NULL, 0));
	ck_assert_uint_eq(vault_count(door.daemon.vault), 1);
	lock_and_unlock(false);
	lock_and_unlock(true);
	ck_assert_uint_eq(vault_count(door.daemon.vault), 1);
}

static void run_house(void)
{
	store(0, (struct lifetime){ .ttl_ms = 1 });
	usleep(2000);
	daemon_expire(&door.daemon);
	ck_assert_uint_eq(vault_count(door.daemon.vault), 0);
	daemon_remask(&door.daemon);
	daemon_purge(&door.daemon);
	store(0, limited);
	daemon_sign_audit(&door.daemon);
	ck_assert(!audit_owes_signature(door.daemon.audit));
}

static const struct path {
	const char *name;
	void (*run)(void);
} paths[] = {
	{ "set", run_store },
	{ "watch, and set", run_watch },
	{ "get", run_get },
	{ "list", run_list },
	{ "stat, wait, status, whoami, explain", run_look },
	{ "touch, freeze, melt", run_change },
	{ "generate", run_generate },
	{ "verify", run_verify },
	{ "export, stage, commit", run_restore },
	{ "stream write, read", run_stream },
	{ "move", run_move },
	{ "remove", run_remove },
	{ "tokens", run_token },
	{ "wrap, unwrap", run_wrap },
	{ "purge", run_purge },
	{ "expire, remask", run_house },
	{ "lock, unlock", run_lock },
};

START_TEST(the_deepest_path_leaves_room_on_the_stack)
{
	size_t most = deepest;

	enclave_seal_chunk(chunk, wire, ENCLAVE_CHUNK_PLAIN, 0, true, key);
	printf("%5zu bytes of stack: hello\n", deepest);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		deepest = 0;
		paths[i].run();
		printf("%5zu bytes of stack: %s\n", deepest, paths[i].name);
		ck_assert(deepest > 0 || !locked_stack_switches());
		most = deepest > most ? deepest : most;
	}
	printf("%5zu is the deepest of %zu\n", most, locked_stack_size());
	ck_assert_uint_le(most + SPARE, locked_stack_size());
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, the_deepest_path_leaves_room_on_the_stack);
	return claims_run(claims, "depth");
}
