/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <unistd.h>

#include "daemon/vault/vault.h"

/* Unlocking what another worker has left is included as source: memory runs out in the midst. */
static int rationed_vault_new(struct vault **vaultp, struct coffer *coffer, int fd);

#define vault_new rationed_vault_new
#include "daemon/daemon_lock.c"
#undef vault_new

#include "daemon/ledger/ledger.h"
#include "daemon/request/flow.h"
#include "daemon/request/trial.h"
#include "daemon/request/unlock.h"
#include "daemon/request/upload.h"
#include "daemon/request/waiter.h"
#include "tests/unit/request_rig.h"

/* A daemon that is locked: what it answers, and to whom; what it has once it is unlocked. */

static const struct peer own = { .uid = 4242, .pidfd = -1 };
static const uint8_t right_key[32] = { 1, 2, 3 };
static const uint8_t wrong_key[32] = { 1, 2, 4 };
static const uint8_t salt[MESSAGE_SALT_SIZE] = { 9, 8 };

static struct os_memory kept_keys;
static int kept_ledger = -1;

static bool out_of_memory; /* once */
static uint32_t feared;    /* of root, while its key was tried */

static int rationed_vault_new(struct vault **vaultp, struct coffer *coffer, int fd)
{
	bool now = out_of_memory;

	feared = coffer_guessers(coffer)->wrong;
	out_of_memory = false;
	return now ? -ENOMEM : vault_new(vaultp, coffer, fd);
}

static void begin_daemon(void)
{
	struct daemon_options options = { .max_value = VALUE_MAX,
		.rekey_ms = 500,
		.own = 4242,
		.keys = &kept_keys,
		.ledger = kept_ledger };

	ck_assert_int_eq(daemon_init(&house, &options), 0);
}

static void set_up_kept(void)
{
	if (sodium_init() < 0)
		abort();
	kept_ledger = ledger_file();
	ck_assert_int_ge(kept_ledger, 0);
	ck_assert_int_ge(daemon_map_keys(&kept_keys, OS_MEMORY_PREFER_LOCK), 0);
	begin_daemon();
	notebook_init(&book);
	randombytes_buf(key, sizeof(key));
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(i * 7 + i / 251);
	next_id = 1;
}

/* The worker ends and the next one goes on. */
static void next_worker(void)
{
	transfers_finish(&transfers, &house);
	daemon_leave(&house);
	begin_daemon();
}

static struct request locking(void)
{
	struct request request = changing(VERB_LOCK, "");

	request.key = right_key;
	request.salt = span_of(salt, sizeof(salt));
	request.opslimit = 3;
	request.memlimit = UINT64_C(256) << 20;
	return request;
}

static struct request unlocking(const uint8_t *with)
{
	struct request request = changing(VERB_UNLOCK, "");

	request.key = with;
	return request;
}

/* What a turn of the session does, of what has to do with locks. */
static void turn(void)
{
	if (vault_is_locked(house.vault))
		ck_assert_int_eq(transfers_refuse(&transfers, &house, &book.answers), 0);
	ck_assert_int_eq(unlocks_go_on(&transfers, &house, &book.answers), 0);
	if (transfers.flows)
		ck_assert_int_eq(flows_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_int_eq(waiters_look(&transfers, &house, &book.answers), 0);
	ck_assert_int_eq(downloads_go_on(&transfers, &house, &book.answers), 0);
	workbench_wipe(&house.bench);
}

/* The code of the answer to a request that is answered in this turn. */
static int code_of(const struct peer *peer, struct request request)
{
	size_t before = book.count;

	if (request.id == 0)
		request.id = next_id++;
	(void)ask(peer, request);
	turn();
	for (size_t i = before; i < book.count; i++)
		if (book.notes[i].id == request.id)
			return book.notes[i].code;
	ck_abort_msg("request %d has no answer", (int)request.id);
	return -1;
}

static void lock_it(void)
{
	ck_assert_int_eq(code_of(&root, locking()), 0);
	ck_assert(vault_is_locked(house.vault));
}

static void unlock_it(void)
{
	ck_assert_int_eq(code_of(&root, unlocking(right_key)), 0);
	ck_assert(!vault_is_locked(house.vault));
}

/* Whether a secret of these bytes is under the name. */
static void check_secret(const char *name, size_t size)
{
	struct note_of_reply *note;

	book.count = 0;
	(void)ask(&root, getting(name));
	turn();
	note = &book.notes[0];
	ck_assert_int_eq(note->code, 0);
	ck_assert_uint_eq(note->size, size);
	ck_assert_mem_eq(note->key, key, sizeof(key));
	seal(size);
	for (size_t i = note->chunked ? 0 : 1, at = 0; i < book.count; i++) {
		ck_assert_mem_eq(book.notes[i].bytes, sealed + at, book.notes[i].bytes_size);
		at += book.notes[i].bytes_size;
		if (i + 1 == book.count)
			ck_assert_uint_eq(at, enclave_sealed_size(size));
	}
	book.count = 0;
}

/* -- what is answered ---------------------------------------------------------------------- */

static struct request well_formed(enum verb verb)
{
	struct request request = changing(verb, "a");

	request.key = right_key;
	request.size = 10;
	request.lifetime.ttl_ms = verb == VERB_TOUCH ? 1000 : 0;
	request.to = verb == VERB_MOVE ? span_text("b") : span_of(NULL, 0);
	request.operation = verb == VERB_EXPLAIN ? span_text("get") : span_of(NULL, 0);
	request.wait_ms = verb == VERB_GET || verb == VERB_STREAM_READ ? 60000 : 0;
	if (verb == VERB_LOCK) {
		request.salt = span_of(salt, sizeof(salt));
		request.opslimit = 3;
		request.memlimit = UINT64_C(256) << 20;
	}
	if (verb == VERB_SET || verb == VERB_VERIFY || verb == VERB_STREAM_WRITE ||
		verb == VERB_STAGE) {
		seal(10);
		request = with_chunks(request, 10, 0, 1);
	}
	return request;
}

START_TEST(all_but_a_few_verbs_answer_that_it_is_locked)
{
	store(&root, "a", 100);
	lock_it();
	for (enum verb verb = VERB_PING; verb < VERBS; verb++) {
		bool served = verb == VERB_PING || verb == VERB_STATUS || verb == VERB_CANCEL;
		int code;

		if (verb == VERB_UNLOCK || verb == VERB_SHUTDOWN || verb == VERB_RELOAD)
			continue;
		book.count = 0;
		code = code_of(&root, well_formed(verb));
		if (verb == VERB_UPGRADE) /* which has no keeper here */
			ck_assert_int_eq(code, STATUS_NO);
		else if (served)
			ck_assert_int_eq(code, 0);
		else if (code != STATUS_LOCKED)
			ck_abort_msg("verb %d answers %d", verb, code);
		ck_assert_uint_eq(transfers.count, 0);
	}
	book.count = 0;
	unlock_it();
	check_secret("a", 100);
}
END_TEST

START_TEST(whoever_is_not_allowed_is_told_so_first)
{
	lock_it();
	ck_assert_int_eq(code_of(&user, getting("a")), STATUS_DENIED);
	ck_assert_int_eq(code_of(&user, getting("~/a")), STATUS_LOCKED);
}
END_TEST

START_TEST(only_who_may_do_everything_locks_and_unlocks)
{
	ck_assert_int_eq(code_of(&user, locking()), STATUS_DENIED);
	ck_assert(!vault_is_locked(house.vault));
	lock_it();
	ck_assert_int_eq(code_of(&user, unlocking(right_key)), STATUS_DENIED);
	ck_assert(vault_is_locked(house.vault));
	ck_assert_int_eq(code_of(&own, unlocking(right_key)), 0);
	ck_assert_int_eq(code_of(&own, locking()), 0);
	unlock_it();
}
END_TEST

START_TEST(everything_is_as_it_was_once_it_is_unlocked)
{
	store(&root, "a", 100);
	store(&root, "b", 100000);
	for (int i = 0; i < 2; i++) {
		lock_it();
		if (_i)
			next_worker();
		ck_assert_int_eq(code_of(&root, getting("a")), STATUS_LOCKED);
		unlock_it();
		check_secret("a", 100);
		check_secret("b", 100000);
		ck_assert_uint_eq(vault_count(house.vault), 2);
		ck_assert_int_eq(store(&root, "c", 5)->code, 0);
		ck_assert_int_eq(code_of(&root, changing(VERB_REMOVE, "c")), 0);
	}
}
END_TEST

START_TEST(a_key_that_is_another_one_is_told_as_such)
{
	store(&root, "a", 100);
	lock_it();
	if (_i)
		next_worker();
	ck_assert_int_eq(code_of(&root, unlocking(wrong_key)), STATUS_INTEGRITY);
	ck_assert_str_eq(notebook_last(&book)->detail, "the passphrase is another one");
	ck_assert_int_eq(code_of(&root, getting("a")), STATUS_LOCKED);
	ck_assert_int_eq(code_of(&own, unlocking(right_key)), 0);
	check_secret("a", 100);
}
END_TEST

/* Twice as long each time, as after a wrong candidate; and nobody else waits. */
START_TEST(a_wrong_try_slows_down_whoever_made_it)
{
	uint64_t wait_ms = PENALTY_FIRST_MS;
	size_t answers;

	lock_it();
	for (int i = 0; i < 2; i++, wait_ms *= 2) {
		uint64_t now_ms = daemon_now_ms();

		ck_assert_int_eq(code_of(&root, unlocking(wrong_key)), STATUS_INTEGRITY);
		answers = book.count;
		ck_assert_ptr_null(ask(&root, unlocking(right_key)));
		turn();
		ck_assert_uint_eq(book.count, answers);
		ck_assert_uint_ge(unlocks_deadline(&transfers), now_ms + wait_ms);
		ck_assert_uint_le(unlocks_deadline(&transfers), daemon_now_ms() + wait_ms);
		/* It rests there sealed. */
		ck_assert_uint_eq(transfers.count, 1);
		ck_assert_int_eq(code_of(&own, unlocking(wrong_key)), STATUS_INTEGRITY);
		usleep((useconds_t)(wait_ms + 5) * 1000);
		turn();
		ck_assert_int_eq(notebook_last(&book)->code, 0);
		ck_assert_uint_eq(transfers.count, 0);
		ck_assert(!vault_is_locked(house.vault));
		usleep((useconds_t)(wait_ms + 5) * 1000);
		lock_it();
	}
}
END_TEST

/* Or an upgrade after each guess would do away with the waiting. */
START_TEST(what_is_held_against_a_guesser_outlives_the_worker)
{
	uint64_t now_ms;

	store(&root, "a", 100);
	lock_it();
	for (int i = 0; i < 3; i++) {
		now_ms = daemon_now_ms();
		ck_assert_int_eq(code_of(&root, unlocking(wrong_key)), STATUS_INTEGRITY);
		next_worker();
		ck_assert_ptr_null(ask(&root, unlocking(right_key)));
		turn();
		ck_assert_uint_ge(unlocks_deadline(&transfers), now_ms + (100u << i));
		ck_assert_uint_le(unlocks_deadline(&transfers), daemon_now_ms() + (100u << i));
		transfers_finish(&transfers, &house);
		/* Nobody else waits. */
		ck_assert_int_eq(code_of(&own, unlocking(right_key)), 0);
		check_secret("a", 100);
		lock_it();
		usleep((100u << i) * 1000 + 5000);
	}
	ck_assert_int_eq(code_of(&root, unlocking(right_key)), 0);
	next_worker();
	lock_it();
	ck_assert_int_eq(code_of(&root, unlocking(right_key)), 0);
}
END_TEST

/* Nobody has to wait for all of a large value, whichever vault it was in. */
START_TEST(a_vault_that_sees_wipes_later_as_the_blind_one_did)
{
	struct request removal = changing(VERB_REMOVE, "large");

	daemon_wipe_later(&house);
	lock_it();
	next_worker();
	daemon_wipe_later(&house);
	unlock_it();
	ck_assert_int_eq(store(&root, "large", VALUE_MAX)->code, 0);
	/* It was adopted: whether to compact it is looked at first. */
	while (daemon_expiry_ms(&house) == 0)
		daemon_expire(&house);
	ck_assert_int_eq(code_of(&root, removal), 0);
	ck_assert_uint_eq(daemon_expiry_ms(&house), 0);
	while (daemon_expiry_ms(&house) == 0)
		daemon_expire(&house);
}
END_TEST

/* It is held against him before the key is tried: whoever kills the worker then gains nothing. */
START_TEST(a_guess_is_noted_before_it_is_tried)
{
	lock_it();
	next_worker();
	ck_assert_uint_eq(coffer_guessers(&house.coffer)->wrong, 0);
	ck_assert_int_eq(code_of(&root, unlocking(right_key)), 0);
	ck_assert_uint_eq(feared, 1);
	ck_assert_uint_eq(coffer_guessers(&house.coffer)->wrong, 0);
}
END_TEST

START_TEST(a_try_that_waits_can_be_called_off)
{
	struct request waiting = unlocking(right_key);

	lock_it();
	ck_assert_int_eq(code_of(&root, unlocking(wrong_key)), STATUS_INTEGRITY);
	ck_assert_ptr_null(ask(&root, waiting));
	turn();
	ck_assert(transfers_has(&transfers, waiting.id));
	(void)ask(&root, (struct request){ .verb = VERB_CANCEL, .target = waiting.id });
	ck_assert_ptr_null(transfers.unlocks);
	ck_assert(vault_is_locked(house.vault));
}
END_TEST

START_TEST(a_repeat_gets_the_first_answer)
{
	struct request lock = locking();
	struct request other = locking();
	struct request unlock = unlocking(right_key);

	ck_assert_int_eq(code_of(&root, lock), 0);
	if (_i)
		next_worker();
	lock.id = next_id++;
	ck_assert_int_eq(code_of(&root, lock), 0);
	/* Another one is told that the passphrase is not this one. */
	ck_assert_int_eq(code_of(&root, other), STATUS_LOCKED);
	lock.id = next_id++;
	lock.opslimit++;
	ck_assert_int_eq(code_of(&root, lock), STATUS_CONFLICT);
	ck_assert_int_eq(code_of(&root, unlock), 0);
	unlock.id = next_id++;
	ck_assert_int_eq(code_of(&root, unlock), 0);
	ck_assert_int_eq(code_of(&root, unlocking(wrong_key)), 0);
}
END_TEST

START_TEST(status_tells_who_may_unlock_how_the_key_is_made)
{
	struct state *state;

	ck_assert_int_eq(code_of(&root, (struct request){ .verb = VERB_STATUS }), 0);
	ck_assert(!notebook_last(&book)->state.vault_locked);
	ck_assert_uint_eq(notebook_last(&book)->state.lock_salt.size, 0);
	lock_it();
	if (_i)
		next_worker();
	ck_assert_int_eq(code_of(&user, (struct request){ .verb = VERB_STATUS }), 0);
	state = &notebook_last(&book)->state;
	ck_assert(state->vault_locked);
	ck_assert_uint_eq(state->lock_salt.size + state->lock_opslimit + state->lock_memlimit, 0);
	ck_assert_int_eq(code_of(&root, (struct request){ .verb = VERB_STATUS }), 0);
	state = &notebook_last(&book)->state;
	ck_assert(state->vault_locked);
	ck_assert_uint_eq(state->lock_salt.size, sizeof(salt));
	ck_assert_mem_eq(state->lock_salt.data, salt, sizeof(salt));
	ck_assert_uint_eq(state->lock_opslimit, 3);
	ck_assert_uint_eq(state->lock_memlimit, UINT64_C(256) << 20);
}
END_TEST

/* -- what is under way --------------------------------------------------------------------- */

START_TEST(a_set_under_way_is_answered_and_what_still_comes_is_dropped)
{
	struct request request = setting("a", 40000);

	seal(40000);
	ck_assert_ptr_null(ask(&root, with_chunks(request, 40000, 0, 1)));
	lock_it();
	ck_assert_uint_eq(book.count, 2);
	ck_assert_uint_eq(notebook_last(&book)->id, request.id);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_LOCKED);
	ck_assert_ptr_null(ask(&root, with_chunks(going_on(request.id), 40000, 1, 2)));
	ck_assert_uint_eq(transfers.count, 0);
	unlock_it();
	ck_assert_int_eq(code_of(&root, getting("a")), STATUS_NOT_FOUND);
}
END_TEST

/* Its chunk comes before its session has had a turn. */
START_TEST(a_chunk_that_comes_for_one_is_not_taken)
{
	struct request request = setting("a", 40000);

	seal(40000);
	ck_assert_ptr_null(ask(&root, with_chunks(request, 40000, 0, 1)));
	(void)ask(&root, locking());
	ck_assert_int_eq(
		ask(&root, with_chunks(going_on(request.id), 40000, 1, 2))->code, STATUS_LOCKED);
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

START_TEST(a_get_under_way_comes_to_its_end)
{
	size_t at = 0;

	store(&root, "a", 200000);
	book.count = 0;
	book.frames = 0;
	(void)ask(&root, getting("a"));
	book.frames = 1;
	turn();
	(void)ask(&root, locking());
	book.frames = SIZE_MAX;
	turn();
	ck_assert_ptr_null(transfers.downloads);
	for (size_t i = 0; i < book.count; i++) {
		ck_assert_mem_eq(book.notes[i].bytes, sealed + at, book.notes[i].bytes_size);
		at += book.notes[i].bytes_size;
	}
	ck_assert_uint_eq(at, enclave_sealed_size(200000));
}
END_TEST

START_TEST(whoever_waits_is_answered)
{
	struct request get = getting("nothing");
	struct request read = { .verb = VERB_STREAM_READ, .name = span_text("none") };

	get.wait_ms = read.wait_ms = 60000;
	read.id = next_id++;
	ck_assert_ptr_null(ask(&root, get));
	ck_assert_ptr_null(ask(&root, read));
	ck_assert_uint_gt(transfers.count, 1);
	lock_it();
	ck_assert_uint_eq(book.count, 3);
	for (size_t i = 1; i < 3; i++)
		ck_assert_int_eq(book.notes[i].code, STATUS_LOCKED);
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

START_TEST(a_stream_is_written_and_read_on_afterwards)
{
	struct request write = changing(VERB_STREAM_WRITE, "s");
	struct request read = { .verb = VERB_STREAM_READ, .name = span_text("s") };

	write.key = key;
	seal(40000);
	ck_assert_int_eq(code_of(&root, with_chunks(write, 40000, 0, 1)), 0);
	read.id = next_id++;
	read.wait_ms = 60000;
	ck_assert_int_eq(code_of(&root, read), 0);
	lock_it();
	write.id = next_id++;
	ck_assert_int_eq(code_of(&root, with_chunks(write, 40000, 1, 2)), STATUS_LOCKED);
	read.id = next_id++;
	ck_assert_int_eq(code_of(&root, read), STATUS_LOCKED);
	unlock_it();
	write.id = next_id++;
	ck_assert_int_eq(code_of(&root, with_chunks(write, 40000, 1, 2)), 0);
	read.id = next_id++;
	ck_assert_int_eq(code_of(&root, read), 0);
	ck_assert_mem_eq(notebook_last(&book)->bytes, sealed + ENCLAVE_CHUNK_SIZE, 100);
}
END_TEST

START_TEST(a_comparison_that_waits_is_answered)
{
	struct request verify = setting("a", 100);

	store(&root, "a", 100);
	verify.verb = VERB_VERIFY;
	verify.numbered = false;
	seal(100);
	ck_assert_ptr_null(ask(&root, with_chunks(verify, 100, 0, 1)));
	ck_assert_ptr_nonnull(transfers.trials);
	lock_it();
	ck_assert_ptr_null(transfers.trials);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_LOCKED);
}
END_TEST

/* -- lives, answers, purges ---------------------------------------------------------------- */

START_TEST(what_ends_while_it_is_locked_is_dead_when_it_is_unlocked)
{
	struct request request = setting("a", 100);

	request.lifetime.ttl_ms = 20;
	ck_assert_int_eq(store_with(&root, request, 100)->code, 0);
	ck_assert_int_eq(store(&root, "b", 100)->code, 0);
	lock_it();
	if (_i)
		next_worker();
	usleep(30000);
	daemon_expire(&house);
	unlock_it();
	ck_assert_int_eq(code_of(&root, getting("a")), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_count(house.vault), 1);
	check_secret("b", 100);
}
END_TEST

/* Others do not wait for all of them to be wiped: nobody finds them, and they go in turns. */
START_TEST(many_that_end_while_it_is_locked_hold_up_nobody)
{
	const unsigned many = 100;
	struct tag tags[MESSAGE_TAGS_MAX];
	struct record *first;
	struct info info;
	char name[16];

	for (unsigned i = 0; i < many; i++) {
		struct request request;

		snprintf(name, sizeof(name), "a/%u", i);
		request = setting(name, 10);
		request.lifetime.ttl_ms = 400;
		ck_assert_int_eq(store_with(&root, request, 10)->code, 0);
	}
	ck_assert_int_eq(store(&root, "b", 100)->code, 0);
	lock_it();
	if (_i)
		next_worker();
	usleep(450000);
	unlock_it();
	ck_assert_uint_eq(vault_count(house.vault), many + 1);
	ck_assert_int_eq(vault_next(house.vault, span_text(""), span_text(""), &first), 0);
	record_info(first, &info, tags);
	ck_assert(span_equal(info.name, span_text("b")));
	ck_assert_int_eq(code_of(&root, getting("a/7")), STATUS_NOT_FOUND);
	/* The loop has them next. */
	ck_assert_uint_le(daemon_expiry_ms(&house), daemon_now_ms());
	while (daemon_expiry_ms(&house) <= daemon_now_ms())
		daemon_expire(&house);
	ck_assert_uint_eq(vault_count(house.vault), 1);
	check_secret("b", 100);
}
END_TEST

START_TEST(what_hangs_on_a_session_lives_as_long_as_that)
{
	struct request request = setting("a", 100);

	request.lifetime.session = true;
	ck_assert_int_eq(store_with(&root, request, 100)->code, 0);
	lock_it();
	if (_i == 1)
		transfers_finish(&transfers, &house);
	if (_i == 2)
		next_worker();
	unlock_it();
	ck_assert_int_eq(code_of(&root, getting("a")), _i == 0 ? 0 : STATUS_NOT_FOUND);
}
END_TEST

START_TEST(answers_from_before_are_given_again)
{
	struct request request = setting("a", 100);

	ck_assert_int_eq(store_with(&root, request, 100)->code, 0);
	ck_assert_int_eq(store(&root, "a", 50)->code, 0);
	lock_it();
	next_worker();
	unlock_it();
	request.id = next_id++;
	ck_assert_int_eq(store_with(&root, request, 100)->code, 0);
	ck_assert_uint_eq(notebook_last(&book)->version, 1);
	check_secret("a", 50);
}
END_TEST

START_TEST(a_purge_of_everything_opens_it_and_nothing_is_left)
{
	struct request purge = changing(VERB_PURGE, "");

	store(&root, "a", 100);
	lock_it();
	if (_i)
		next_worker();
	ck_assert_int_eq(code_of(&user, (struct request){ .verb = VERB_PURGE, .numbered = true }),
		STATUS_LOCKED);
	purge.all = true;
	ck_assert_int_eq(code_of(&user, purge), STATUS_DENIED);
	purge.id = next_id++;
	ck_assert_int_eq(code_of(&root, purge), 0);
	ck_assert(!vault_is_locked(house.vault));
	ck_assert_int_eq(code_of(&root, getting("a")), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
	ck_assert_int_eq(store(&root, "a", 70)->code, 0);
	check_secret("a", 70);
	/* The next one finds that, and no lock. */
	next_worker();
	check_secret("a", 70);
	ck_assert_uint_eq(vault_broken(house.vault), 0);
}
END_TEST

START_TEST(what_there_is_no_memory_for_stays_locked)
{
	store(&root, "a", 100);
	lock_it();
	next_worker();
	out_of_memory = true;
	ck_assert_int_eq(code_of(&root, unlocking(right_key)), STATUS_LIMIT);
	ck_assert_int_eq(code_of(&root, getting("a")), STATUS_LOCKED);
	/* Nor is anything held against who has asked. */
	ck_assert_int_eq(code_of(&root, unlocking(right_key)), 0);
	check_secret("a", 100);
}
END_TEST

/* -- tokens -------------------------------------------------------------------------------- */

static struct transfers bearer;
static const struct peer other = { .uid = 1001, .pidfd = -1, .shown = &bearer.shown };
static uint8_t token_bytes[VAULT_TOKEN_SIZE];

static void issue(const char *name, uint32_t uses, uint64_t ttl_ms)
{
	const struct grant grant = { span_text("get"), span_text("~/a") };
	struct request request = { .verb = VERB_ISSUE_TOKEN,
		.name = span_text(name),
		.grants = { &grant, 1 },
		.uses = uses };
	struct note_of_reply *note;

	request.lifetime.ttl_ms = ttl_ms;
	note = ask(&user, request);
	ck_assert_int_eq(note->code, 0);
	memcpy(token_bytes, note->key, sizeof(token_bytes));
}

static int as_bearer(struct request request)
{
	if (request.id == 0)
		request.id = next_id++;
	ck_assert_int_eq(request_serve(&house, &other, &bearer, &request, &book.answers), 0);
	workbench_wipe(&house.bench);
	return notebook_last(&book)->code;
}

static int show(void)
{
	return as_bearer((struct request){ .verb = VERB_SHOW_TOKEN, .token = token_bytes });
}

/* Its session ends with the worker. */
static void end_bearer(void)
{
	transfers_finish(&bearer, &house);
	bearer = (struct transfers){ 0 };
}

START_TEST(tokens_are_what_they_were_once_it_is_unlocked)
{
	store(&user, "~/a", 100);
	issue("~/t", 2, 0);
	ck_assert_int_eq(show(), 0);
	ck_assert_int_eq(as_bearer(getting("~1000/a")), 0);
	lock_it();
	/* What is not done is no use. */
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(as_bearer(getting("~1000/a")), STATUS_LOCKED);
	ck_assert_int_eq(show(), STATUS_LOCKED);
	if (_i) {
		end_bearer();
		next_worker();
		ck_assert_int_eq(show(), STATUS_LOCKED);
	}
	book.count = 0;
	unlock_it();
	ck_assert_uint_eq(vault_lost(house.vault, LOSS_TOKEN), 0);
	if (_i)
		ck_assert_int_eq(show(), 0);
	ck_assert_int_eq(as_bearer(getting("~1000/a")), 0);
	ck_assert_int_eq(as_bearer(getting("~1000/a")), STATUS_DENIED);
	end_bearer();
}
END_TEST

START_TEST(a_token_that_ends_while_it_is_locked_is_gone_when_it_is_unlocked)
{
	issue("~/t", 0, 20);
	lock_it();
	if (_i)
		next_worker();
	usleep(30000);
	/* Nobody waits for it meanwhile. */
	ck_assert_uint_eq(daemon_expiry_ms(&house), UINT64_MAX);
	daemon_expire(&house);
	unlock_it();
	ck_assert_ptr_null(tokens_first(house.tokens));
	ck_assert_int_eq(show(), STATUS_DENIED);
	end_bearer();
}
END_TEST

START_TEST(a_purge_while_it_is_locked_ends_all_tokens)
{
	issue("~/t", 0, 0);
	ck_assert_int_eq(show(), 0);
	lock_it();
	if (_i) {
		end_bearer();
		next_worker();
	}
	ck_assert_int_eq(
		code_of(&root,
			(struct request){ .verb = VERB_PURGE, .numbered = true, .all = true }),
		0);
	ck_assert_ptr_null(tokens_first(house.tokens));
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
	book.count = 0;
	store(&user, "~/a", 100);
	ck_assert_int_eq(as_bearer(getting("~1000/a")), STATUS_DENIED);
	ck_assert_int_eq(show(), STATUS_DENIED);
	issue("~/t", 0, 0);
	end_bearer();
	ck_assert_uint_eq(tokens_count(house.tokens), 1);
}
END_TEST

/* The next one has nothing to adopt, and nobody finds a byte of it. */
START_TEST(a_locked_daemon_that_ends_leaves_nothing)
{
	store(&root, "a", 100000);
	lock_it();
	if (_i)
		next_worker();
	ck_assert_int_eq(lseek(kept_ledger, 0, SEEK_DATA), 0);
	transfers_finish(&transfers, &house);
	daemon_finish(&house);
	if (_i)
		ck_assert_int_eq(lseek(kept_ledger, 0, SEEK_DATA), -1);
	begin_daemon();
	ck_assert(!vault_is_locked(house.vault));
	ck_assert_uint_eq(vault_count(house.vault), 0);
	ck_assert_uint_eq(vault_broken(house.vault), 0);
	ck_assert_int_eq(code_of(&root, getting("a")), STATUS_NOT_FOUND);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up_kept, tear_down);
	tcase_add_test(claims, all_but_a_few_verbs_answer_that_it_is_locked);
	tcase_add_test(claims, whoever_is_not_allowed_is_told_so_first);
	tcase_add_test(claims, only_who_may_do_everything_locks_and_unlocks);
	tcase_add_loop_test(claims, everything_is_as_it_was_once_it_is_unlocked, 0, 2);
	tcase_add_loop_test(claims, a_key_that_is_another_one_is_told_as_such, 0, 2);
	tcase_add_test(claims, a_wrong_try_slows_down_whoever_made_it);
	tcase_add_test(claims, what_is_held_against_a_guesser_outlives_the_worker);
	tcase_add_test(claims, a_vault_that_sees_wipes_later_as_the_blind_one_did);
	tcase_add_test(claims, a_guess_is_noted_before_it_is_tried);
	tcase_add_test(claims, a_try_that_waits_can_be_called_off);
	tcase_add_loop_test(claims, a_repeat_gets_the_first_answer, 0, 2);
	tcase_add_loop_test(claims, status_tells_who_may_unlock_how_the_key_is_made, 0, 2);
	tcase_add_test(claims, a_set_under_way_is_answered_and_what_still_comes_is_dropped);
	tcase_add_test(claims, a_chunk_that_comes_for_one_is_not_taken);
	tcase_add_test(claims, a_get_under_way_comes_to_its_end);
	tcase_add_test(claims, whoever_waits_is_answered);
	tcase_add_test(claims, a_stream_is_written_and_read_on_afterwards);
	tcase_add_test(claims, a_comparison_that_waits_is_answered);
	tcase_add_loop_test(claims, what_ends_while_it_is_locked_is_dead_when_it_is_unlocked, 0, 2);
	tcase_add_loop_test(claims, many_that_end_while_it_is_locked_hold_up_nobody, 0, 2);
	tcase_add_loop_test(claims, what_hangs_on_a_session_lives_as_long_as_that, 0, 3);
	tcase_add_test(claims, answers_from_before_are_given_again);
	tcase_add_loop_test(claims, a_purge_of_everything_opens_it_and_nothing_is_left, 0, 2);
	tcase_add_test(claims, what_there_is_no_memory_for_stays_locked);
	tcase_add_loop_test(claims, tokens_are_what_they_were_once_it_is_unlocked, 0, 2);
	tcase_add_loop_test(
		claims, a_token_that_ends_while_it_is_locked_is_gone_when_it_is_unlocked, 0, 2);
	tcase_add_loop_test(claims, a_purge_while_it_is_locked_ends_all_tokens, 0, 2);
	tcase_add_loop_test(claims, a_locked_daemon_that_ends_leaves_nothing, 0, 2);
	return claims_run(claims, "request_lock");
}
