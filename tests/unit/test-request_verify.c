/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/trial.h"
#include "daemon/request/upload.h"
#include "tests/unit/request_rig.h"

/* Comparisons: right and wrong answers, whoever waits for its turn, and what ends in the midst. */

static const size_t sizes[] = { 1, 8192, 8193, ENCLAVE_CHUNK_PLAIN, ENCLAVE_CHUNK_PLAIN + 1, 100000,
	VALUE_MAX };

static struct request verifying(const char *name, size_t size)
{
	return (struct request){ .id = next_id++,
		.verb = VERB_VERIFY,
		.name = span_text(name),
		.key = key,
		.size = size };
}

/* Turns at which all had to wait for a caller's time to come. */
static size_t waits;

/* Turns until all is judged; waits as long as it has to. */
static size_t go_on(void)
{
	size_t turns = 0;

	for (; transfers.trials; turns++) {
		uint64_t look_ms = trials_deadline(&transfers);

		waits += !trials_running(&transfers) && daemon_now_ms() < look_ms;
		while (!trials_running(&transfers) && daemon_now_ms() < look_ms)
			;
		ck_assert_int_eq(trials_go_on(&transfers, &house, &book.answers), 0);
		workbench_wipe(&house.bench);
	}
	return turns;
}

/* Compares with what `value` holds, and gives the answer's code. */
static int verify_as(const struct peer *peer, const char *name, size_t size)
{
	struct request request = verifying(name, size);
	int code;

	book.count = 0;
	(void)store_with(peer, request, size);
	go_on();
	ck_assert_uint_eq(book.count, 1);
	ck_assert_uint_eq(notebook_last(&book)->id, request.id);
	code = notebook_last(&book)->code;
	book.count = 0;
	return code;
}

static int verify(const char *name, size_t size)
{
	return verify_as(&root, name, size);
}

/* What was held against a caller is forgotten. */
static void forgive(void)
{
	penalties_free(house.penalties);
	ck_assert_int_eq(penalties_new(&house.penalties), 0);
}

START_TEST(the_same_bytes_are_equal_and_others_are_not)
{
	size_t size = sizes[_i];
	size_t places[] = { 0, size / 2, size - 1 };

	ck_assert_int_eq(store(&root, "x", size)->code, 0);
	ck_assert_int_eq(verify("x", size), 0);
	for (size_t i = 0; i < 3; i++)
		for (int bit = 0; bit < 8; bit += 7) {
			value[places[i]] ^= (uint8_t)(1 << bit);
			ck_assert_int_eq(verify("x", size), STATUS_NO);
			value[places[i]] ^= (uint8_t)(1 << bit);
			forgive();
		}
	ck_assert_int_eq(verify("x", size), 0);
	ck_assert_uint_eq(vault_count(house.vault), 1);
}
END_TEST

START_TEST(another_size_is_another_value)
{
	size_t size = sizes[_i];

	ck_assert_int_eq(store(&root, "x", size)->code, 0);
	if (size < VALUE_MAX)
		ck_assert_int_eq(verify("x", size + 1), STATUS_NO);
	forgive();
	if (size > 1)
		ck_assert_int_eq(verify("x", size - 1), STATUS_NO);
	forgive();
	ck_assert_int_eq(verify("x", 5), STATUS_NO);
	forgive();
	ck_assert_int_eq(verify("x", size), 0);
}
END_TEST

START_TEST(a_large_one_is_compared_in_steps)
{
	ck_assert_int_eq(store(&root, "x", 200000)->code, 0);
	book.count = 0;
	seal(VALUE_MAX);
	/* 17 chunks. */
	ck_assert_int_eq(store(&root, "large", VALUE_MAX)->code, 0);
	book.count = 0;
	(void)store_with(&root, verifying("large", VALUE_MAX), VALUE_MAX);
	ck_assert_uint_eq(book.count, 0);
	ck_assert_uint_ge(go_on(), 4);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
}
END_TEST

/* The masters are in one piece for 2 ms at most, however much is compared. */
START_TEST(no_view_outlives_a_step)
{
	ck_assert_int_eq(store(&root, "x", 20000)->code, 0);
	(void)store_with(&root, verifying("x", 20000), 20000);
	ck_assert(house.coffer.viewing);
	house.forgotten_ns = 0;
	ck_assert_int_eq(trials_go_on(&transfers, &house, &book.answers), 0);
	ck_assert(!house.coffer.viewing);
	ck_assert_uint_gt(house.forgotten_ns, 0);
}
END_TEST

START_TEST(a_wrong_answer_slows_its_caller_down_and_nobody_else)
{
	uint64_t begin = daemon_now_ms();

	ck_assert_int_eq(store(&root, "x", 10)->code, 0);
	ck_assert_int_eq(store(&user, "~/x", 10)->code, 0);
	value[0] ^= 1;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(verify("x", 10), STATUS_NO);
	value[0] ^= 1;
	/* The second and the third have waited, or came late enough. */
	ck_assert(waits > 0 || daemon_now_ms() - begin >= (1 + 2) * PENALTY_FIRST_MS);
	waits = 0;
	ck_assert_int_eq(verify_as(&user, "~/x", 10), 0);
	ck_assert_uint_eq(waits, 0);
	(void)verify("x", 10);
	/* Each wrong answer doubles it. */
	ck_assert_uint_ge(daemon_now_ms() - begin, (1 + 2 + 4) * PENALTY_FIRST_MS);
}
END_TEST

/* Guesses that are sent at once are judged one after the other: none gains by coming together. */
START_TEST(guesses_that_wait_together_do_not_leave_together)
{
	ck_assert_int_eq(store(&root, "x", 10)->code, 0);
	value[0] ^= 1;
	book.count = 0;
	for (int i = 0; i < 4; i++)
		(void)store_with(&root, verifying("x", 10), 10);
	ck_assert_int_eq(trials_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 1);
	for (size_t answered = 1; transfers.trials; answered++) {
		while (daemon_now_ms() < trials_deadline(&transfers))
			;
		ck_assert_int_eq(trials_go_on(&transfers, &house, &book.answers), 0);
		ck_assert_uint_le(book.count, answered + 1);
		answered = book.count - 1;
	}
	ck_assert_uint_eq(book.count, 4);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(book.notes[i].code, STATUS_NO);
}
END_TEST

/* Whoever does not read his answers holds up nobody, and is answered when he does. */
START_TEST(one_that_pauses_gives_its_turn_back_and_goes_on_later)
{
	struct transfers reader = { 0 };
	struct request small = with_chunks(verifying("small", 10), 10, 0, 1);

	ck_assert_int_eq(store(&root, "x", VALUE_MAX)->code, 0);
	ck_assert_int_eq(store(&root, "small", 10)->code, 0);
	book.count = 0;
	(void)store_with(&root, verifying("x", VALUE_MAX), VALUE_MAX);
	ck_assert_int_eq(trials_go_on(&transfers, &house, &book.answers), 0);
	ck_assert(trials_running(&transfers));
	seal(10);
	ck_assert_int_eq(request_serve(&house, &root, &reader, &small, &book.answers), 0);
	workbench_wipe(&house.bench);
	ck_assert_int_eq(trials_go_on(&reader, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 0);
	trials_pause(&transfers, &house);
	ck_assert(!trials_running(&transfers));
	while (daemon_now_ms() < trials_deadline(&reader))
		;
	ck_assert_int_eq(trials_go_on(&reader, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 1);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	ck_assert_uint_le(go_on(), 4);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	transfers_finish(&reader, &house);
}
END_TEST

/* The turn may be over with whoever is before it. */
START_TEST(one_that_nobody_has_looked_at_yet_is_not_forgotten)
{
	ck_assert_int_eq(store(&root, "x", 10)->code, 0);
	(void)store_with(&root, verifying("x", 10), 10);
	ck_assert_uint_gt(trials_deadline(&transfers), 0);
	ck_assert_uint_le(trials_deadline(&transfers), daemon_now_ms());
}
END_TEST

START_TEST(what_is_not_there_cannot_be_compared_with)
{
	struct request request = verifying("never", 100000);

	ck_assert_int_eq(store(&user, "~/mine", 10)->code, 0);
	ck_assert_int_eq(verify("never", 10), STATUS_NOT_FOUND);
	seal(100000);
	ck_assert_int_eq(ask(&root, with_chunks(request, 100000, 0, 2))->code, STATUS_NOT_FOUND);
	/* What still comes is dropped. */
	book.count = 0;
	ck_assert_ptr_null(ask(&root, with_chunks(going_on(request.id), 100000, 2, 4)));
	ck_assert_ptr_null(ask(&root, with_chunks(going_on(request.id), 100000, 6, 1)));
	ck_assert_uint_eq(transfers.count, 0);
	ck_assert_int_eq(verify_as(&user, "never", 10), STATUS_DENIED);
	ck_assert_int_eq(verify_as(&user, "~0/never", 10), STATUS_DENIED);
}
END_TEST

START_TEST(a_candidate_that_was_changed_on_its_way_is_no_answer)
{
	ck_assert_int_eq(store(&root, "x", 50000)->code, 0);
	seal(50000);
	for (size_t i = 0; i < 2; i++) {
		struct request request = verifying("x", 50000);

		sealed[i * 40000] ^= 1;
		ck_assert_int_eq(
			ask(&root, with_chunks(request, 50000, 0, 4))->code, STATUS_INTEGRITY);
		sealed[i * 40000] ^= 1;
		ck_assert_ptr_null(transfers.trials);
	}
	/* And it is not held against the caller. */
	ck_assert_int_eq(verify("x", 50000), 0);
}
END_TEST

START_TEST(a_comparison_is_no_fetch)
{
	struct request request = setting("x", 100);

	request.lifetime.reads = 1;
	ck_assert_int_eq(store_with(&root, request, 100)->code, 0);
	ck_assert_int_eq(verify("x", 100), 0);
	ck_assert_int_eq(verify("x", 100), 0);
	ck_assert_int_eq(
		ask(&root, (struct request){ .verb = VERB_GET, .name = span_text("x") })->code, 0);
	ck_assert_int_eq(verify("x", 100), STATUS_GONE);
}
END_TEST

static void park(size_t size)
{
	forgive();
	value[0] ^= 1;
	ck_assert_int_eq(verify("x", size), STATUS_NO);
	value[0] ^= 1;
	(void)store_with(&root, verifying("x", size), size);
	ck_assert_int_eq(trials_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 0);
	ck_assert(!trials_running(&transfers));
}

static void purge_all(void)
{
	daemon_purge(&house);
}

static void remove_it(void)
{
	struct request request = { .verb = VERB_REMOVE, .numbered = true, .name = span_text("x") };

	ck_assert_int_eq(ask(&root, request)->code, 0);
	book.count = 0;
}

static void (*const ends[])(void) = { purge_all, remove_it };
static const int codes[] = { STATUS_GONE, STATUS_NOT_FOUND };

START_TEST(a_secret_that_ends_while_it_is_waited_for_is_told)
{
	ck_assert_int_eq(store(&root, "x", 60000)->code, 0);
	park(60000);
	ends[_i]();
	go_on();
	ck_assert_uint_eq(book.count, 1);
	if (_i == 0 && notebook_last(&book)->code == STATUS_NOT_FOUND)
		return;
	ck_assert_int_eq(notebook_last(&book)->code, codes[_i]);
}
END_TEST

START_TEST(a_secret_that_is_replaced_meanwhile_is_compared_as_it_is_then)
{
	static const int answers[] = { 0, STATUS_NO };

	ck_assert_int_eq(store(&root, "x", VALUE_MAX)->code, 0);
	book.count = 0;
	(void)store_with(&root, verifying("x", VALUE_MAX), VALUE_MAX);
	ck_assert_int_eq(trials_go_on(&transfers, &house, &book.answers), 0);
	ck_assert(trials_running(&transfers));
	value[VALUE_MAX - 1] ^= (uint8_t)_i;
	ck_assert_int_eq(store(&root, "x", VALUE_MAX)->code, 0);
	book.count = 0;
	go_on();
	ck_assert_uint_eq(book.count, 1);
	ck_assert_int_eq(notebook_last(&book)->code, answers[_i]);
	remove_it();
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
}
END_TEST

START_TEST(whoever_stores_without_end_holds_up_no_comparison)
{
	ck_assert_int_eq(store(&root, "x", VALUE_MAX)->code, 0);
	book.count = 0;
	(void)store_with(&root, verifying("x", VALUE_MAX), VALUE_MAX);
	for (int i = 0; transfers.trials; i++) {
		ck_assert_int_lt(i, 20);
		ck_assert_int_eq(trials_go_on(&transfers, &house, &book.answers), 0);
		if (transfers.trials)
			ck_assert_int_eq(store(&root, "x", 10)->code, 0);
	}
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_GONE);
}
END_TEST

START_TEST(a_secret_that_ends_while_it_is_compared_is_told)
{
	ck_assert_int_eq(store(&root, "x", VALUE_MAX)->code, 0);
	(void)store_with(&root, verifying("x", VALUE_MAX), VALUE_MAX);
	ck_assert_int_eq(trials_go_on(&transfers, &house, &book.answers), 0);
	ck_assert(trials_running(&transfers));
	ends[_i]();
	book.count = 0;
	go_on();
	ck_assert_uint_eq(book.count, 1);
	ck_assert_int_eq(notebook_last(&book)->code, codes[_i]);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
}
END_TEST

START_TEST(one_that_waits_can_be_cancelled_and_ends_with_its_session)
{
	uint64_t id;

	ck_assert_int_eq(store(&root, "x", 60000)->code, 0);
	park(60000);
	id = next_id - 1;
	ck_assert(transfers_has(&transfers, id));
	(void)ask(&root, (struct request){ .verb = VERB_CANCEL, .target = id });
	ck_assert_uint_eq(book.count, 2);
	ck_assert_int_eq(book.notes[0].code, STATUS_TIMEOUT);
	ck_assert_ptr_null(transfers.trials);
	book.count = 0;
	park(60000);
	transfers_finish(&transfers, &house);
	ck_assert_uint_eq(transfers.count, 0);
	transfers = (struct transfers){ 0 };
	remove_it();
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
}
END_TEST

START_TEST(there_are_no_more_of_them_than_may_be_under_way)
{
	ck_assert_int_eq(store(&root, "x", 10)->code, 0);
	park(10);
	for (size_t i = 1; i < TRANSFERS_MAX; i++)
		(void)store_with(&root, verifying("x", 10), 10);
	ck_assert_uint_eq(transfers.count, TRANSFERS_MAX);
	ck_assert_int_eq(store_with(&root, verifying("x", 10), 10)->code, STATUS_LIMIT);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 30);
	tcase_add_loop_test(claims, the_same_bytes_are_equal_and_others_are_not, 0,
		sizeof(sizes) / sizeof(sizes[0]));
	tcase_add_loop_test(
		claims, another_size_is_another_value, 0, sizeof(sizes) / sizeof(sizes[0]));
	tcase_add_loop_test(claims, a_secret_that_ends_while_it_is_waited_for_is_told, 0, 2);
	tcase_add_loop_test(claims, a_secret_that_ends_while_it_is_compared_is_told, 0, 2);
	tcase_add_loop_test(
		claims, a_secret_that_is_replaced_meanwhile_is_compared_as_it_is_then, 0, 2);
	tcase_add_test(claims, whoever_stores_without_end_holds_up_no_comparison);
	tcase_add_test(claims, a_large_one_is_compared_in_steps);
	tcase_add_test(claims, no_view_outlives_a_step);
	tcase_add_test(claims, a_wrong_answer_slows_its_caller_down_and_nobody_else);
	tcase_add_test(claims, guesses_that_wait_together_do_not_leave_together);
	tcase_add_test(claims, one_that_pauses_gives_its_turn_back_and_goes_on_later);
	tcase_add_test(claims, one_that_nobody_has_looked_at_yet_is_not_forgotten);
	tcase_add_test(claims, what_is_not_there_cannot_be_compared_with);
	tcase_add_test(claims, a_candidate_that_was_changed_on_its_way_is_no_answer);
	tcase_add_test(claims, a_comparison_is_no_fetch);
	tcase_add_test(claims, one_that_waits_can_be_cancelled_and_ends_with_its_session);
	tcase_add_test(claims, there_are_no_more_of_them_than_may_be_under_way);
	return claims_run(claims, "request_verify");
}
