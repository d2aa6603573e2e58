/* SPDX-License-Identifier: Apache-2.0 */
#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/memory/enclave.h"
#include "client/lib/memory/strongroom.h"
#include "client/lib/mgclient.h"
#include "daemon/vault/vault_inside.h"
#include "tests/unit/process.h"
#include "tests/unit/request_rig.h"

/*
 * What does not open, very often: no view of the masters stays behind, nothing is handed out, and
 * nothing grows, neither locked memory nor the heap nor the descriptors.
 */

#define OPENS 100000
#define EVERY 1000 /* opens, after which the daemon looks at its clock, say */

/* -- what must not grow -------------------------------------------------------------------- */

struct holdings {
	char descriptors[4096];
	size_t locked_kb;
	size_t heap; /* bytes in use */
};

/*
 * What a thread has just given back counts as used until it is taken again: so the first few rounds
 * of whatever is done, and of counting, come before. With a sanitizer all this is 0.
 */
static size_t heap_in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void count_holdings(struct holdings *holdings)
{
	list_descriptors(holdings->descriptors, sizeof(holdings->descriptors));
	holdings->locked_kb = status_kb("VmLck:");
	holdings->heap = heap_in_use();
}

static void must_be_as_before(const struct holdings *before)
{
	static struct holdings after;

	count_holdings(&after);
	ck_assert_str_eq(after.descriptors, before->descriptors);
	ck_assert_uint_eq(after.locked_kb, before->locked_kb);
	ck_assert_uint_eq(after.heap, before->heap);
}

/* -- in the daemon ------------------------------------------------------------------------- */

/* A wrapped key, and the many ways in which it is not what it should be. */
struct attempt {
	struct enclave_binding binding;
	enum coffer_master master;
	uint8_t wrapped[ENCLAVE_WRAPPED_KEY];
	uint8_t good[ENCLAVE_WRAPPED_KEY];
	uint8_t out[ENCLAVE_KEY_SIZE];
	size_t number; /* of the first of EVERY */
	size_t opened; /* what should not have been */
};

static struct attempt attempt;

static void wrap(void *argument)
{
	struct attempt *it = argument;

	if (enclave_wrap(it->good, key, sizeof(key), it->binding, &house.coffer, it->master) != 0)
		abort();
}

static void unwrap_good(void *argument)
{
	struct attempt *it = argument;

	if (enclave_unwrap(it->out, it->good, sizeof(it->out), it->binding, &house.coffer,
		    it->master) != 0)
		abort();
}

/* Another bit, another secret, another version, or the other master. */
static int unwrap_wrong(struct attempt *it, size_t number)
{
	struct enclave_binding binding = it->binding;
	enum coffer_master master = it->master;

	memcpy(it->wrapped, it->good, sizeof(it->wrapped));
	switch (number % 4) {
	case 0:
		it->wrapped[number / 32 % sizeof(it->wrapped)] ^= (uint8_t)(1 << number / 4 % 8);
		break;
	case 1:
		binding.secret ^= (uint64_t)1 << number / 4 % 64;
		break;
	case 2:
		binding.version ^= (uint64_t)1 << number / 4 % 64;
		break;
	default:
		master = COFFER_CHANNEL;
	}
	return enclave_unwrap(
		it->out, it->wrapped, sizeof(it->out), binding, &house.coffer, master);
}

static void unwrap_many(void *argument)
{
	struct attempt *it = argument;

	for (size_t i = 0; i < EVERY; i++)
		it->opened += unwrap_wrong(it, it->number + i) != -EBADMSG;
}

/* The view's page without what stands around the view: the canary value and the two canaries. */
static bool view_is_zero(void)
{
	return sodium_is_zero((const uint8_t *)house.coffer.view, sizeof(*house.coffer.view));
}

static void begin_attempts(void)
{
	attempt = (struct attempt){ .binding = { .secret = 7, .version = 3 } };
	locked_stack_call(&house.stack, wrap, &attempt);
	daemon_forget(&house);
}

static void attempt_all(void)
{
	for (attempt.number = 0; attempt.number < OPENS; attempt.number += EVERY) {
		locked_stack_call(&house.stack, unwrap_many, &attempt);
		/* The control: until it is forgotten the view is there. */
		ck_assert(house.coffer.viewing && !view_is_zero());
		daemon_forget(&house);
		ck_assert(!house.coffer.viewing && view_is_zero());
	}
}

START_TEST(a_daemon_keeps_nothing_of_a_hundred_thousand_failed_opens)
{
	static struct holdings before;

	begin_attempts();
	count_holdings(&before);
	attempt_all();
	must_be_as_before(&before);
	ck_assert_uint_eq(attempt.opened, 0);
	ck_assert(sodium_is_zero(attempt.out, sizeof(attempt.out)));
	ck_assert(sodium_is_zero(house.stack.base, house.stack.size) || !locked_stack_switches());
	locked_stack_call(&house.stack, unwrap_good, &attempt);
	ck_assert_mem_eq(attempt.out, key, sizeof(key));
}
END_TEST

struct spoiling {
	const char *name;
	int result;
};

/* Changes a bit of a record where it rests. */
static void spoil(void *argument)
{
	struct spoiling *spoiling = argument;
	struct record *record;

	spoiling->result = vault_find(house.vault, span_text(spoiling->name), &record);
	if (spoiling->result == 0)
		record_header(house.vault, record->offset)->wrapped[0] ^= 1;
}

START_TEST(a_daemon_keeps_nothing_of_a_hundred_thousand_refused_gets)
{
	static struct holdings before;
	struct spoiling spoiling = { .name = "spoilt" };
	struct request get = { .verb = VERB_GET, .name = span_text("spoilt") };
	size_t wrong = 0;

	ck_assert_int_eq(store(&root, "spoilt", 100)->code, 0);
	locked_stack_call(&house.stack, spoil, &spoiling);
	ck_assert_int_eq(spoiling.result, 0);
	for (size_t i = 0; i < OPENS + EVERY; i++) {
		book.count = 0;
		wrong += ask(&root, get)->code != STATUS_INTEGRITY;
		if (i == EVERY) {
			ck_assert(!view_is_zero());
			daemon_forget(&house);
			count_holdings(&before);
		}
	}
	daemon_forget(&house);
	must_be_as_before(&before);
	ck_assert_uint_eq(wrong, 0);
	ck_assert(view_is_zero());
}
END_TEST

/* -- in the library ------------------------------------------------------------------------ */

/* The process's own coffer, as work done in the strongroom sees it. */
static int look(struct coffer *coffer, uint8_t data_key[static ENCLAVE_KEY_SIZE], void *argument)
{
	const struct coffer **seen = argument;

	ck_assert(sodium_is_zero(data_key, ENCLAVE_KEY_SIZE));
	*seen = coffer;
	return 1;
}

static const struct coffer *own_coffer(void)
{
	const struct coffer *coffer = NULL;

	ck_assert_int_eq(strongroom_do(look, &coffer, getpid()), MG_OK);
	ck_assert_ptr_nonnull(coffer);
	return coffer;
}

static struct mg_enclave *enclave_of(size_t size)
{
	struct mg_enclave *enclave = NULL;
	uint8_t *copy = malloc(size);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, value, size);
	ck_assert_int_eq(mg_enclave_new(&enclave, copy, size), MG_OK);
	free(copy);
	return enclave;
}

/* The byte that is changed: of the wrapped key, or of the sealed bytes; or the binding's number. */
static uint8_t *byte_of(struct mg_enclave *enclave, size_t number)
{
	size_t size = (size_t)enclave_sealed_size(enclave->size);
	size_t at = number % (ENCLAVE_WRAPPED_KEY + size + 1);

	if (at < ENCLAVE_WRAPPED_KEY)
		return &enclave->wrapped[at];
	at -= ENCLAVE_WRAPPED_KEY;
	return at < size ? &enclave->sealed[at] : (uint8_t *)&enclave->number;
}

/* Whether one open failed as it should and left nothing. */
static bool fails_cleanly(struct mg_enclave *enclave, const struct coffer *coffer, uint8_t *byte)
{
	struct mg_secret *secret;
	int r;

	*byte ^= 0x10;
	r = mg_enclave_open(enclave, &secret, MG_MEMORY_PREFER_LOCK);
	*byte ^= 0x10;
	return r == MG_INTEGRITY && !secret && !coffer->viewing &&
		sodium_is_zero((const uint8_t *)coffer->view, sizeof(*coffer->view));
}

START_TEST(a_service_keeps_nothing_of_a_hundred_thousand_failed_opens)
{
	static struct holdings before;
	struct mg_enclave *enclave = enclave_of(32);
	const struct coffer *coffer = own_coffer();
	struct mg_secret *secret;
	size_t wrong = 0;

	for (size_t i = 0; i < EVERY; i++) {
		wrong += !fails_cleanly(enclave, coffer, byte_of(enclave, i));
		if (i % 100 == 99)
			count_holdings(&before);
	}
	for (size_t i = 0; i < OPENS; i++)
		wrong += !fails_cleanly(enclave, coffer, byte_of(enclave, i));
	must_be_as_before(&before);
	ck_assert_uint_eq(wrong, 0);
	ck_assert_ptr_eq(own_coffer(), coffer);
	ck_assert_int_eq(mg_enclave_open(enclave, &secret, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert(mg_secret_equal(secret, value, 32));
	mg_secret_free(secret);
	mg_enclave_free(enclave);
}
END_TEST

/* Chunks before the bad one were opened already: they are wiped, and so is the key. */
START_TEST(a_large_enclave_that_fails_in_its_last_chunk_leaves_nothing_either)
{
	static struct holdings before;
	struct mg_enclave *enclave = enclave_of(3 * (size_t)ENCLAVE_CHUNK_PLAIN + 1);
	const struct coffer *coffer = own_coffer();
	uint8_t *last = &enclave->sealed[enclave_sealed_size(enclave->size) - 1];
	size_t wrong = 0;

	for (size_t i = 0; i < 10; i++) {
		wrong += !fails_cleanly(enclave, coffer, last);
		count_holdings(&before);
	}
	for (size_t i = 0; i < EVERY; i++)
		wrong += !fails_cleanly(enclave, coffer, last);
	must_be_as_before(&before);
	ck_assert_uint_eq(wrong, 0);
	mg_enclave_free(enclave);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("failed_opens");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, a_daemon_keeps_nothing_of_a_hundred_thousand_failed_opens);
	tcase_add_test(claims, a_daemon_keeps_nothing_of_a_hundred_thousand_refused_gets);
	tcase_add_test(claims, a_service_keeps_nothing_of_a_hundred_thousand_failed_opens);
	tcase_add_test(claims, a_large_enclave_that_fails_in_its_last_chunk_leaves_nothing_either);
	return claims_run(claims, "what does not open");
}
