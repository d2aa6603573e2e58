/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/crash.h"

/*
 * Many secrets come and most of them go; what is left is brought together, and memory goes back.
 * What is stored is held against what was put there, and so is what the next process would find.
 */
#define SECRETS 3000
#define STAY 10 /* one of so many stays */

static struct kept *model[SECRETS];

static void name_of_secret(char name[static 16], unsigned i)
{
	snprintf(name, 16, "s/%u", i);
}

static uint64_t in_use(void)
{
	struct stat stat;

	ck_assert_int_eq(fstat(ledger_fd, &stat), 0);
	return (uint64_t)stat.st_blocks * 512;
}

/* Now and then one of several chunks, or with a table whose last extent is small. */
static size_t some_value(void)
{
	switch (randombytes_uniform(100)) {
	case 0:
		return 17 * ENCLAVE_CHUNK_PLAIN - randombytes_uniform(16000);
	case 1:
		return 1 + randombytes_uniform(2 * ENCLAVE_CHUNK_PLAIN);
	default:
		return 1 + randombytes_uniform(2000);
	}
}

static void put_secret(unsigned i)
{
	char name[16];
	struct kept *kept = draw(some_value());

	name_of_secret(name, i);
	store(name, kept);
	if (model[i])
		forget(model[i]);
	model[i] = kept;
}

static void remove_secret(unsigned i)
{
	char name[16];

	if (!model[i])
		return;
	name_of_secret(name, i);
	ck_assert_int_eq(remove_name(name), 0);
	forget(model[i]);
	model[i] = NULL;
}

static void check_all(void)
{
	uint64_t count = 0;
	char name[16];

	for (unsigned i = 0; i < SECRETS; i++) {
		struct record *record;

		name_of_secret(name, i);
		if (model[i])
			check_stored(name, model[i]);
		else
			ck_assert_int_eq(
				vault_find(vault, span_text(name), &record), STATUS_NOT_FOUND);
		count += model[i] != NULL;
	}
	ck_assert_uint_eq(vault_count(vault), count);
	coffer_forget(vault->coffer);
}

static void fill_and_thin_out(void)
{
	for (unsigned i = 0; i < SECRETS; i++)
		put_secret(i);
	for (unsigned i = 0; i < SECRETS; i++)
		if (randombytes_uniform(STAY) != 0)
			remove_secret(i);
}

static void forget_all(void)
{
	for (unsigned i = 0; i < SECRETS; i++)
		if (model[i])
			forget(model[i]);
	memset(model, 0, sizeof(model));
}

START_TEST(memory_goes_back_when_most_is_removed)
{
	uint64_t before;
	uint64_t taken;

	fill_and_thin_out();
	before = in_use();
	taken = vault_bytes(vault);
	ck_assert_uint_eq(vault_expiry_ms(vault), 0);
	while (vault_compact(vault))
		coffer_forget(vault->coffer);
	ck_assert_uint_eq(vault_expiry_ms(vault), UINT64_MAX);
	ck_assert_uint_eq(vault_bytes(vault), taken);
	ck_assert_uint_lt(in_use(), taken + taken / 2);
	ck_assert_uint_lt(in_use(), before / 2);
	check_all();
	forget_all();
}
END_TEST

/* Each step is followed by changes, and by an end now and then: the next one has all of it. */
START_TEST(what_is_moved_is_there_whoever_ends_and_whatever_changes)
{
	unsigned steps = 0;

	fill_and_thin_out();
	while (vault_compact(vault)) {
		unsigned i = randombytes_uniform(SECRETS);

		coffer_forget(vault->coffer);
		if (model[i] && randombytes_uniform(2) != 0)
			remove_secret(i);
		else if (randombytes_uniform(4) == 0)
			put_secret(i);
		if (++steps % 10 != 1)
			continue;
		crash();
		ck_assert_uint_eq(vault_broken(vault), 0);
		check_all();
		rise();
	}
	ck_assert_uint_gt(steps, 10);
	check_all();
	forget_all();
}
END_TEST

START_TEST(what_is_read_stays_where_it_is)
{
	struct record *records[SECRETS] = { NULL };
	char name[16];

	fill_and_thin_out();
	for (unsigned i = 0; i < SECRETS; i++) {
		name_of_secret(name, i);
		if (model[i])
			records[i] = record_pin(find(name));
	}
	while (vault_compact(vault))
		for (unsigned i = 0; i < SECRETS; i += 97)
			if (records[i])
				check_chunks(records[i], model[i]);
	for (unsigned i = 0; i < SECRETS; i++) {
		if (!records[i])
			continue;
		name_of_secret(name, i);
		ck_assert_uint_eq(offset_of(name), records[i]->offset);
		check_chunks(records[i], model[i]);
		record_unpin(vault, records[i]);
	}
	check_all();
	forget_all();
}
END_TEST

/* -- answers ------------------------------------------------------------------------------- */

static uint64_t answer_place;

static bool know_answer(void *context, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE], uint64_t from, uint64_t to)
{
	(void)context;
	ck_assert_uint_eq(uid, 1000);
	ck_assert_uint_eq(number[0], 9);
	if (from != answer_place)
		return false;
	answer_place = to;
	return true;
}

static int see_answer(void *context, const struct vault_answer *answer)
{
	*(uint64_t *)context += 1;
	ck_assert_uint_eq(answer->number[0], 9);
	return 0;
}

static void promise_behind(void)
{
	static const uint8_t number[MESSAGE_NUMBER_SIZE] = { 9 };
	static const uint8_t digest[VAULT_DIGEST_SIZE] = { 3 };

	for (unsigned i = 0; i + 1 < SECRETS; i++)
		put_secret(i);
	vault_promise(vault, 1000, number, digest);
	put_secret(SECRETS - 1);
	answer_place = vault_promise_end(vault, true);
	ck_assert_uint_ne(answer_place, 0);
	for (unsigned i = 0; i < SECRETS; i++)
		if (i % STAY != 0)
			remove_secret(i);
}

START_TEST(an_answer_that_is_kept_moves_and_is_given_once)
{
	uint64_t told = 0;
	uint64_t before;

	promise_behind();
	before = answer_place;
	vault_watch_answers(vault, know_answer, NULL);
	while (vault_compact(vault))
		;
	ck_assert_uint_lt(answer_place, before);
	crash();
	ck_assert_int_eq(vault_answers(vault, see_answer, &told), 0);
	ck_assert_uint_eq(told, 1);
	rise();
	vault_drop_answer(vault, answer_place);
	forget_all();
}
END_TEST

/* There are two of it for a moment. */
static bool end_meanwhile(void *context, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE], uint64_t from, uint64_t to)
{
	uint64_t told = 0;

	(void)uid;
	(void)number;
	(void)from;
	(void)to;
	*(unsigned *)context += 1;
	crash();
	ck_assert_int_eq(vault_answers(vault, see_answer, &told), 0);
	ck_assert_uint_eq(told, 1);
	rise();
	return false;
}

START_TEST(of_an_answer_at_two_places_one_is_given_and_what_nobody_keeps_stays)
{
	uint64_t before;
	unsigned asked = 0;

	promise_behind();
	before = answer_place;
	vault_watch_answers(vault, end_meanwhile, &asked);
	while (vault_compact(vault))
		;
	ck_assert_uint_ge(asked, 1);
	ck_assert_uint_gt(ledger_block(vault->ledger, before), 0);
	vault_drop_answer(vault, before);
	forget_all();
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("compacting");

	tcase_set_timeout(claims, 100);
	tcase_add_checked_fixture(claims, set_up_in_file, tear_down_in_file);
	tcase_add_test(claims, memory_goes_back_when_most_is_removed);
	tcase_add_test(claims, what_is_moved_is_there_whoever_ends_and_whatever_changes);
	tcase_add_test(claims, what_is_read_stays_where_it_is);
	tcase_add_test(claims, an_answer_that_is_kept_moves_and_is_given_once);
	tcase_add_test(claims, of_an_answer_at_two_places_one_is_given_and_what_nobody_keeps_stays);
	return claims_run(claims, "a ledger that is compacted");
}
