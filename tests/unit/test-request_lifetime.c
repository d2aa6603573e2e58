/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "daemon/request/upload.h"
#include "daemon/request/waiter.h"
#include "tests/unit/request_rig.h"

/* Lifetimes as requests ask for them: what a fetch uses up, what a repeat gets, what ends when. */

static const struct peer self = { .uid = 0, .pidfd = -1 };

static int code_of(struct request request)
{
	int code;

	request.id = next_id++;
	code = ask(&root, request)->code;
	book.count = 0;
	return code;
}

static int stat_of(const char *name)
{
	return code_of((struct request){ .verb = VERB_STAT, .name = span_text(name) });
}

static struct note_of_reply *store_once(const char *name, size_t size)
{
	struct request request = setting(name, size);

	request.lifetime.reads = 1;
	return store_with(&root, request, size);
}

/* What came back is the value, chunk by chunk. */
static void check_value(size_t from, size_t size)
{
	static uint8_t plain[ENCLAVE_CHUNK_PLAIN];
	uint64_t number = 0;
	size_t at = 0;

	for (size_t i = from; i < book.count; i++) {
		const struct note_of_reply *note = &book.notes[i];

		for (size_t done = 0; done < note->bytes_size;) {
			size_t left = size - at;
			size_t part = left < ENCLAVE_CHUNK_PLAIN ? left : ENCLAVE_CHUNK_PLAIN;

			ck_assert_int_eq(enclave_open_chunk(plain, note->bytes + done,
						 part + ENCLAVE_TAG_SIZE, number++, part == left,
						 book.notes[from].key),
				0);
			ck_assert_mem_eq(plain, value + at, part);
			at += part;
			done += part + ENCLAVE_TAG_SIZE;
		}
	}
	ck_assert_uint_eq(at, size);
}

START_TEST(the_last_fetch_brings_everything_and_ends_the_secret)
{
	size_t sizes[] = { 1, ENCLAVE_CHUNK_PLAIN, ENCLAVE_CHUNK_PLAIN + 1, 200000 };
	size_t size = sizes[_i / 2];

	ck_assert_int_eq(store_once("x", size)->code, 0);
	book.count = 0;
	/* To a reader that takes nothing yet, or takes it at once. */
	book.frames = _i % 2 == 0 ? SIZE_MAX : 0;
	ck_assert_int_eq(ask(&root, getting("x"))->code, 0);
	ck_assert_uint_eq(vault_count(house.vault), 0);
	book.frames = SIZE_MAX;
	ck_assert_int_eq(downloads_go_on(&transfers, &house, &book.answers), 0);
	check_value(0, size);
	ck_assert_ptr_null(transfers.downloads);
	ck_assert_int_eq(stat_of("x"), STATUS_GONE);
}
END_TEST

START_TEST(a_fetch_that_cannot_begin_uses_nothing_up)
{
	struct request waiting = getting("never");

	ck_assert_int_eq(store_once("x", 50000)->code, 0);
	waiting.wait_ms = 100000;
	for (int i = 0; i < TRANSFERS_MAX; i++) {
		waiting.id = next_id++;
		ck_assert_int_eq(serve(&root, &waiting), 0);
	}
	ck_assert_int_eq(code_of(getting("x")), STATUS_LIMIT);
	while (transfers.waiters)
		waiter_end(&transfers, transfers.waiters);
	ck_assert_int_eq(stat_of("x"), 0);
	ck_assert_int_eq(ask(&root, getting("x"))->code, 0);
	ck_assert_int_eq(stat_of("x"), STATUS_GONE);
}
END_TEST

START_TEST(another_version_is_not_fetched_and_uses_nothing_up)
{
	struct request request = getting("x");

	ck_assert_int_eq(store_once("x", 50)->code, 0);
	request.version = 2;
	ck_assert_int_eq(code_of(request), STATUS_NOT_FOUND);
	request.version = 1;
	ck_assert_int_eq(code_of(request), 0);
	ck_assert_int_eq(stat_of("x"), STATUS_GONE);
}
END_TEST

START_TEST(a_repeat_is_the_same_lifetime_or_another_request)
{
	struct request request = setting("x", 100);
	struct request other;

	request.lifetime = (struct lifetime){ .ttl_ms = 100000, .reads = 2 };
	ck_assert_int_eq(store_with(&root, request, 100)->code, 0);
	request.id = next_id++;
	ck_assert_uint_eq(store_with(&root, request, 100)->version, 1);
	for (int i = 0; i < 6; i++) {
		other = request;
		other.id = next_id++;
		other.lifetime.ttl_ms += i == 0;
		other.lifetime.idle_ms += i == 1;
		other.lifetime.reads += i == 2;
		other.lifetime.pid += i == 3 ? (uint32_t)getpid() : 0;
		other.lifetime.session = i == 4;
		other.freeze = i == 5;
		ck_assert_int_eq(
			store_with(&(struct peer){ .pid = getpid(), .pidfd = -1 }, other, 100)
				->code,
			STATUS_CONFLICT);
		book.count = 0;
	}
	ck_assert_int_eq(code_of(getting("x")), 0);
	ck_assert_int_eq(code_of(getting("x")), 0);
	ck_assert_int_eq(stat_of("x"), STATUS_GONE);
	/* The first answer, whatever has become of it since. */
	request.id = next_id++;
	ck_assert_uint_eq(store_with(&root, request, 100)->version, 1);
	ck_assert_int_eq(stat_of("x"), STATUS_GONE);
}
END_TEST

START_TEST(a_repeated_change_is_made_once)
{
	struct request freeze = changing(VERB_FREEZE, "x");
	struct request melt = changing(VERB_MELT, "x");
	struct request touch = changing(VERB_TOUCH, "x");

	touch.lifetime.ttl_ms = 100000;
	ck_assert_int_eq(store(&root, "x", 100)->code, 0);
	ck_assert_int_eq(code_of(freeze), 0);
	ck_assert_int_eq(code_of(touch), STATUS_FROZEN);
	ck_assert_int_eq(code_of(melt), 0);
	/* These two have had their answers. */
	ck_assert_int_eq(code_of(freeze), 0);
	ck_assert_int_eq(code_of(touch), STATUS_FROZEN);
	ck_assert_int_eq(store(&root, "x", 100)->code, 0);
	ck_assert_uint_eq(vault_expiry_ms(house.vault), UINT64_MAX);
	touch.number[0] ^= 1;
	ck_assert_int_eq(code_of(touch), 0);
	ck_assert_uint_ne(vault_expiry_ms(house.vault), UINT64_MAX);
	touch.lifetime.ttl_ms++;
	ck_assert_int_eq(code_of(touch), STATUS_CONFLICT);
}
END_TEST

START_TEST(what_a_session_stored_for_itself_ends_with_it)
{
	static struct transfers others;
	struct request request = setting("mine", 100);
	struct request drawn = changing(VERB_GENERATE, "drawn");
	struct request half = setting("half", 100000);

	request.lifetime.session = drawn.lifetime.session = half.lifetime.session = true;
	drawn.size = 32;
	ck_assert_int_eq(store_with(&root, request, 100)->code, 0);
	ck_assert_int_eq(ask(&root, drawn)->code, 0);
	seal(100000);
	(void)ask(&root, with_chunks(half, 100000, 0, 2));
	ck_assert_int_eq(store(&root, "kept", 100)->code, 0);
	ck_assert_uint_eq(vault_count(house.vault), 3);
	transfers_finish(&transfers, &house);
	transfers = others;
	ck_assert_int_eq(stat_of("mine"), STATUS_NOT_FOUND);
	ck_assert_int_eq(stat_of("drawn"), STATUS_NOT_FOUND);
	ck_assert_int_eq(stat_of("kept"), 0);
	ck_assert_uint_eq(vault_count(house.vault), 1);
	ck_assert_uint_eq(vault_expiry_ms(house.vault), UINT64_MAX);
}
END_TEST

START_TEST(a_process_is_told_by_who_numbers_as_the_daemon_does)
{
	struct peer peer = self;
	struct request request = setting("x", 100);

	request.lifetime.pid = (uint32_t)getpid();
	/* A peer whose own process cannot be seen. */
	ck_assert_int_eq(store_with(&peer, request, 100)->code, STATUS_INVALID);
	peer.pid = getpid();
	request.id = next_id++;
	request.number[0] ^= 1;
	ck_assert_int_eq(store_with(&peer, request, 100)->code, 0);
	request.lifetime.pid = INT32_MAX;
	request.id = next_id++;
	request.number[0] ^= 2;
	ck_assert_int_eq(store_with(&peer, request, 100)->code, STATUS_INVALID);
	ck_assert_uint_eq(ask(&root, getting("x"))->version, 1);
}
END_TEST

/* A step a turn, until nothing is left to do; what was answered stays so. */
START_TEST(what_is_left_is_brought_together_between_requests)
{
	enum { ALL = 2400, STAY = 8 };
	struct request last = { 0 };
	char name[16];
	unsigned turns = 0;

	for (unsigned i = 0; i < ALL; i++) {
		book.count = 0;
		snprintf(name, sizeof(name), "many/%u", i);
		ck_assert_int_eq(store(&root, name, 1500)->code, 0);
	}
	for (unsigned i = 0; i < ALL; i++) {
		book.count = 0;
		snprintf(name, sizeof(name), "many/%u", i);
		if (i % STAY == 0)
			continue;
		last = changing(VERB_REMOVE, name);
		ck_assert_int_eq(code_of(last), 0);
	}
	ck_assert_uint_eq(vault_expiry_ms(house.vault), 0);
	while (vault_expiry_ms(house.vault) == 0 && turns++ < 10000)
		daemon_expire(&house);
	ck_assert_uint_eq(vault_expiry_ms(house.vault), UINT64_MAX);
	ck_assert_uint_gt(turns, 10);
	ck_assert_uint_lt(turns, 10000);
	ck_assert_uint_eq(vault_count(house.vault), ALL / STAY);
	for (unsigned i = 0; i < ALL; i += STAY) {
		book.count = 0;
		snprintf(name, sizeof(name), "many/%u", i);
		ck_assert_int_eq(stat_of(name), 0);
	}
	snprintf(name, sizeof(name), "many/%d", ALL - 1);
	ck_assert_int_eq(code_of(last), 0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_loop_test(claims, the_last_fetch_brings_everything_and_ends_the_secret, 0, 8);
	tcase_add_test(claims, a_fetch_that_cannot_begin_uses_nothing_up);
	tcase_add_test(claims, another_version_is_not_fetched_and_uses_nothing_up);
	tcase_add_test(claims, a_repeat_is_the_same_lifetime_or_another_request);
	tcase_add_test(claims, a_repeated_change_is_made_once);
	tcase_add_test(claims, what_a_session_stored_for_itself_ends_with_it);
	tcase_add_test(claims, a_process_is_told_by_who_numbers_as_the_daemon_does);
	tcase_add_test(claims, what_is_left_is_brought_together_between_requests);
	return claims_run(claims, "request_lifetime");
}
