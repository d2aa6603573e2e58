/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/index_inside.h"
#include "tests/unit/vault_rig.h"

/* Secrets that come back together, of which one is not any more what was added. */

/* More steps than a batch of three takes. */
#define STEPS_MOST 16

/* Its extent is as large as the header of "beside": either may be taken for the other. */
#define VALUE_SIZE 128

static const struct batch_times times = { .version = 3, .created_ms = 1000, .changed_ms = 2000 };
static const char *const names[] = { "la", "lb", "lc" };

/* The one in the middle is the one that is overwritten. */
#define HIT 1

static struct batch *batch;
static struct kept *staged[COUNT_OF(names)];
static struct kept *before;
static struct kept *beside;

static void stage_three(void)
{
	before = store_new(names[HIT], VALUE_SIZE);
	beside = store_new("beside", VALUE_SIZE);
	batch = NULL;
	ck_assert_int_eq(batch_new(vault, &batch), 0);
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct vault_put put;
		struct value *value;

		staged[i] = draw(VALUE_SIZE);
		staged[i]->version = times.version;
		put = put_of(names[i], staged[i]);
		put.lifetime = (struct lifetime){ .ttl_ms = 5000000, .reads = 7 };
		value = new_value(staged[i]);
		ck_assert_int_eq(batch_add(vault, batch, &value, &put, &times), 0);
	}
}

static struct header *hit(void)
{
	uint64_t suspect;

	return record_header(vault, index_find(batch->index, span_text(names[HIT]), &suspect));
}

static void forget_three(void)
{
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		(void)remove_name(names[i]);
		forget(staged[i]);
	}
	ck_assert_int_eq(remove_name("beside"), 0);
	ck_assert_uint_eq(vault_count(vault), 0);
	forget(before);
	forget(beside);
}

static int check(struct span *namep)
{
	int r = 0;

	for (unsigned i = 0; i < STEPS_MOST && r == 0; i++)
		r = batch_check(vault, batch, NULL, namep);
	return r;
}

static void publish_whole(void)
{
	unsigned steps = 0;

	while (!batch_publish(vault, batch))
		ck_assert_uint_lt(++steps, STEPS_MOST);
	ck_assert_uint_eq(batch_count(batch), 0);
}

static void overwrite(struct header *header, size_t at)
{
	((uint8_t *)header)[at] ^= (uint8_t)(1 + randombytes_uniform(255));
}

/* Any byte but those of the kind, which says nothing yet. */
static bool counts(size_t at)
{
	return at < offsetof(struct block, kind) || at >= sizeof(struct block);
}

START_TEST(one_that_is_overwritten_before_the_commit_restores_nothing)
{
	for (size_t i = 0, size = 1; i < size; i++) {
		struct span name;
		char out[256];

		stage_three();
		size = record_end(hit());
		overwrite(hit(), i);
		if (counts(i)) {
			ck_assert_int_eq(check(&name), STATUS_INTEGRITY);
			ck_assert_uint_eq(name.size, 0);
		}
		batch_free(vault, batch);
		list("", out);
		ck_assert_str_eq(out, "beside lb ");
		check_stored(names[HIT], before);
		check_stored("beside", beside);
		forget_three();
	}
}
END_TEST

/*
 * Nothing can be called off any more: whoever asks for it is told, unless it was its name. That
 * goes on with what it had then.
 */
START_TEST(one_that_is_overwritten_after_the_commit_is_not_served)
{
	for (size_t i = 0, size = 1; i < size; i++) {
		struct header *header;
		struct span name;
		bool named;
		int r;

		stage_three();
		header = hit();
		size = record_end(header);
		ck_assert_int_eq(check(&name), 1);
		ck_assert_int_eq(batch_commit(vault, batch), 0);
		/* Where it begins and ends is said elsewhere. */
		named = i < offsetof(struct header, name_size) ||
			i >= record_name_start(header) + strlen(names[HIT]);
		overwrite(header, i);
		if (_i == 0) {
			(void)find_status(names[HIT]);
			check_stored("la", staged[0]);
		}
		publish_whole();
		batch_free(vault, batch);
		check_stored("la", staged[0]);
		check_stored("lc", staged[2]);
		check_stored("beside", beside);
		r = find_status(names[HIT]);
		ck_assert(r == STATUS_INTEGRITY || !named || !counts(i));
		if (!counts(i))
			check_stored(names[HIT], staged[HIT]);
		else if (r == 0)
			check_stored(names[HIT], before);
		ck_assert_uint_eq(vault_count(vault), 4);
		ck_assert_uint_eq(vault->index->promised, 0);
		forget_three();
	}
}
END_TEST

/* How a batch ends whose record says that another's block is its own. */
static void end_free(void)
{
	batch_free(vault, batch);
}

static void end_leave(void)
{
	batch_leave(batch);
	while (vault_expire(vault))
		;
}

static void end_check(void)
{
	struct span name;

	ck_assert_int_eq(check(&name), STATUS_INTEGRITY);
	end_leave();
}

static void (*const ends[])(void) = { end_free, end_leave, end_check };

START_TEST(an_overwritten_place_of_a_staged_record_gives_back_nothing_of_others)
{
	uint64_t place;

	stage_three();
	place = offset_of("beside");
	ck_assert_uint_eq(ledger_block(vault->ledger, place),
		ledger_block(vault->ledger, record_place(hit())));
	bytes_put32(hit()->place, (uint32_t)(place / LEDGER_UNIT));
	ends[_i]();
	ck_assert_ptr_null(vault->batches);
	check_stored(names[HIT], before);
	check_stored("beside", beside);
	forget_three();
}
END_TEST

START_TEST(one_that_is_given_up_is_wiped_step_by_step)
{
	enum { SECRETS = 500 };
	uint64_t used = vault_bytes(vault);
	struct kept *kept = draw(100);
	char name[16];

	ck_assert_int_eq(batch_new(vault, &batch), 0);
	for (unsigned i = 0; i < SECRETS; i++) {
		struct vault_put put = put_of(name, kept);
		struct value *value = new_value(kept);

		snprintf(name, sizeof(name), "%u", i);
		put.name = span_text(name);
		ck_assert_int_eq(batch_add(vault, batch, &value, &put, &times), 0);
	}
	batch_leave(batch);
	ck_assert_uint_eq(vault_expiry_ms(vault), 0);
	ck_assert(vault_expire(vault));
	ck_assert_uint_ge(batch_count(batch), SECRETS - STEP_LOOKS);
	/* What comes and goes under its names meanwhile is no business of its. */
	forget(store_new("7", 50));
	ck_assert_int_eq(remove_name("7"), 0);
	while (vault_expire(vault))
		;
	ck_assert_ptr_null(vault->batches);
	ck_assert_uint_eq(vault_bytes(vault), used);
	ck_assert(!is_value_anywhere(kept));
	forget(kept);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("batch-damage");

	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, one_that_is_overwritten_before_the_commit_restores_nothing);
	tcase_add_loop_test(claims, one_that_is_overwritten_after_the_commit_is_not_served, 0, 2);
	tcase_add_loop_test(claims,
		an_overwritten_place_of_a_staged_record_gives_back_nothing_of_others, 0,
		COUNT_OF(ends));
	tcase_add_test(claims, one_that_is_given_up_is_wiped_step_by_step);
	return claims_run(claims, "batches with something overwritten in them");
}
