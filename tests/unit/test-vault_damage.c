/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vault_rig.h"

/* What is not as it was written, what is purged, and everything together. */

/* -- bytes that were overwritten ----------------------------------------------------------- */

/* A secret with every kind of field in its record. */
static struct kept *store_marked(const char *name, size_t size)
{
	struct kept *kept = draw(size);
	struct vault_put put = put_of(name, kept);
	struct tag tag = { .key = span_text("env"), .value = span_text("production") };

	put.tags = (struct tags){ .tag = &tag, .count = 1 };
	ck_assert_int_eq(try_put(&put, kept), 0);
	return kept;
}

static uint8_t *record_bytes(const char *name, size_t *sizep)
{
	uint64_t offset = offset_of(name);

	*sizep = record_end(record_header(vault, offset));
	return ledger_at(vault->ledger, offset, *sizep);
}

START_TEST(a_flipped_bit_in_a_record_is_found_and_nothing_of_it_served)
{
	struct kept *kept = store_marked("app/db/password", _i == 0 ? 64 : 600000);
	struct kept *other = store_new("app/db/user", 10);
	size_t size;
	uint8_t *bytes = record_bytes("app/db/password", &size);

	for (size_t i = 0; i < size * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		ck_assert_int_eq(find_status("app/db/password"), STATUS_INTEGRITY);
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		if (i % 64 == 0)
			check_stored("app/db/user", other);
	}
	check_stored("app/db/password", kept);
	forget(kept);
	forget(other);
}
END_TEST

START_TEST(a_flipped_bit_in_a_table_of_extents_is_found)
{
	struct kept *kept = store_new("x", MIB);
	struct record *record = find("x");
	uint64_t extents = extents_in(chunks_in(record->size));
	size_t size = (size_t)table_size(extents);
	uint8_t *bytes = ledger_at(vault->ledger, record->place, size);

	ck_assert_uint_gt(extents, 1);
	for (size_t i = 0; i < size * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		ck_assert_int_eq(find_status("x"), STATUS_INTEGRITY);
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	check_stored("x", kept);
	forget(kept);
}
END_TEST

/* Every byte of a record in turn. What stands around it must not notice. */
START_TEST(an_overwritten_record_is_passed_over_and_can_be_removed)
{
	struct kept *a = store_new("k", 100);
	struct kept *c = store_new("kkk", 40000);
	struct kept *fresh = NULL;
	static const struct conditions compare = { .compare = true, .version = 1 };
	char out[256];

	for (size_t i = 0;; i++) {
		struct kept *b = store_marked("kk", 70000);
		struct vault_put put = put_of("kk", b);
		uint64_t version = 9;
		size_t size;
		uint8_t *bytes = record_bytes("kk", &size);

		if (i == size) {
			forget(b);
			break;
		}
		bytes[i] ^= (uint8_t)(1 + randombytes_uniform(255));
		ck_assert_int_eq(find_status("kk"), STATUS_INTEGRITY);
		if (i % 2 == 0) {
			list("", out);
			ck_assert_str_eq(out, "k kkk ");
		}
		fresh = store_new("kk/new", 1000);
		ck_assert_int_eq(try_put(&put, b), STATUS_INTEGRITY);
		ck_assert_int_eq(
			vault_remove(vault, span_text("kk"), &compare, &version), STATUS_INTEGRITY);
		check_stored("k", a);
		check_stored("kkk", c);
		check_stored("kk/new", fresh);
		list("k", out);
		ck_assert_str_eq(out, "k kk/new kkk ");
		ck_assert_int_eq(remove_name("kk"), 0);
		ck_assert_int_eq(find_status("kk"), STATUS_NOT_FOUND);
		ck_assert_int_eq(remove_name("kk/new"), 0);
		forget(b);
		forget(fresh);
	}
	check_stored("k", a);
	check_stored("kkk", c);
	forget(a);
	forget(c);
}
END_TEST

START_TEST(a_record_under_another_name_is_not_served)
{
	struct kept *a = store_new("name-a", 50);
	struct kept *b = store_new("name-b", 50);
	size_t size;
	uint8_t *to = record_bytes("name-a", &size);
	const uint8_t *from = record_bytes("name-b", &size);

	memcpy(to, from, size);
	ck_assert_int_eq(find_status("name-a"), STATUS_NOT_FOUND);
	check_stored("name-b", b);
	forget(a);
	forget(b);
}
END_TEST

START_TEST(an_older_version_put_back_does_not_open)
{
	struct kept *old = store_new("x", 50);
	size_t size;
	uint8_t copy[256];
	uint8_t key[ENCLAVE_KEY_SIZE];
	const uint8_t *record = record_bytes("x", &size);

	ck_assert_uint_le(size, sizeof(copy));
	memcpy(copy, record, size);
	vault_purge(vault);
	forget(store_new("x", 50));
	memcpy(record_bytes("x", &size), copy, size);
	/* Nothing written before a purge is sound after it, with or without its tag. */
	ck_assert_int_eq(find_status("x"), STATUS_INTEGRITY);
	ck_assert_int_eq(
		enclave_unwrap(key, ((struct header *)(void *)copy)->wrapped, ENCLAVE_KEY_SIZE,
			record_binding((struct header *)(void *)copy), &rig.coffer, COFFER_VAULT),
		-EBADMSG);
	forget(old);
}
END_TEST

START_TEST(an_overwritten_place_of_a_pinned_record_gives_back_nothing_of_others)
{
	struct kept *a = store_new("a", MIB);
	struct kept *b = store_new("b", MIB);
	struct record *pinned = record_pin(find("a"));
	struct record *other = find("b");
	uint8_t *table = ledger_at(vault->ledger, pinned->place + sizeof(struct table), 16);
	uint8_t *others = ledger_at(vault->ledger, other->place + sizeof(struct table), 8);

	/* The first extent's place becomes the middle of another's, and out of all bounds. */
	bytes_put64(table, bytes_get64(others) + 16);
	bytes_put64(table + 8, UINT64_MAX - 15);
	ck_assert_int_eq(remove_name("a"), 0);
	ck_assert_uint_eq(record_chunk(vault, pinned, 0).size, 0);
	ck_assert_uint_eq(record_chunk(vault, pinned, 16).size, 0);
	record_unpin(vault, pinned);
	check_stored("b", b);
	forget(a);
	forget(b);
}
END_TEST

/* -- purge --------------------------------------------------------------------------------- */

START_TEST(after_a_purge_nothing_is_left)
{
	struct kept *kept[8];
	struct wrapped wrapped[8];
	char name[] = "name-0";
	char out[256];

	for (size_t i = 0; i < 8; i++, name[5]++) {
		kept[i] = store_new(name, wiped_sizes[i % 4]);
		wrapped[i] = wrapped_of(name);
	}
	vault_purge(vault);
	ck_assert_uint_eq(vault_count(vault), 0);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	list("", out);
	ck_assert_str_eq(out, "");
	name[5] = '0';
	for (size_t i = 0; i < 8; i++, name[5]++) {
		ck_assert_int_eq(find_status(name), STATUS_NOT_FOUND);
		ck_assert(!is_value_anywhere(kept[i]));
		ck_assert(!is_wrapped_anywhere(&wrapped[i]));
		forget(kept[i]);
	}
	ck_assert(!is_anywhere("name-", 5));
	kept[0] = store_new("name-0", 50);
	ck_assert_uint_eq(kept[0]->version, 1);
	check_stored("name-0", kept[0]);
	forget(kept[0]);
}
END_TEST

START_TEST(a_pinned_record_keeps_its_memory_over_a_purge_and_gives_nothing)
{
	struct kept *kept = store_new("x", MIB);
	struct kept *gone = store_new("y", MIB);
	struct record *record = record_pin(find("x"));
	struct record *removed = record_pin(find("y"));
	struct span piece = record_chunk(vault, record, 3);
	uint8_t key[ENCLAVE_KEY_SIZE];

	ck_assert_int_eq(remove_name("y"), 0);
	vault_purge(vault);
	ck_assert(record_purged(record));
	ck_assert(record_purged(removed));
	ck_assert_uint_eq(record_chunk(vault, record, 0).size, 0);
	ck_assert_uint_eq(record_chunk(vault, removed, 0).size, 0);
	ck_assert_int_eq(record_key(vault, record, key), STATUS_GONE);
	/* What was handed out before stays where it is until nobody reads it. */
	for (int i = 0; i < 10; i++)
		forget(store_new("z", MIB));
	ck_assert(span_equal(piece, chunk_of(kept, 3)));
	ck_assert(is_value_anywhere(gone));
	record_unpin(vault, record);
	record_unpin(vault, removed);
	ck_assert(!is_value_anywhere(kept));
	ck_assert(!is_value_anywhere(gone));
	ck_assert_int_eq(remove_name("z"), 0);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(kept);
	forget(gone);
}
END_TEST

/* Values whose extents are as large as the headers of their records. */
#define HEADER_LIKE 128

/* Each record in turn says that another's block is its own; one of those is being read. */
START_TEST(after_a_purge_nothing_is_left_whatever_an_overwritten_record_says)
{
	static const char *const names[] = { "a", "b", "c", "d", "e", "f" };
	struct kept *kept[COUNT_OF(names)];
	struct kept *fresh;
	struct record *pinned;
	uint64_t places[2];
	size_t hit = (size_t)_i % COUNT_OF(names);

	for (size_t i = 0; i < COUNT_OF(names); i++)
		kept[i] = store_new(names[i], HEADER_LIKE);
	pinned = record_pin(find("a"));
	places[0] = offset_of(_i < (int)COUNT_OF(names) ? "b" : "a");
	places[1] = _i < (int)COUNT_OF(names) ? pinned->place : offset_of("b");
	for (size_t i = 0; i < COUNT_OF(places); i++, hit = (hit + 1) % COUNT_OF(names)) {
		ck_assert_uint_eq(ledger_block(vault->ledger, places[i]),
			ledger_block(vault->ledger, pinned->place));
		bytes_put32(record_header(vault, offset_of(names[hit]))->place,
			(uint32_t)(places[i] / LEDGER_UNIT));
	}
	vault_purge(vault);
	ck_assert_uint_eq(vault_count(vault), 0);
	/* Whatever is stored from then on is nobody else's. */
	fresh = store_new("x", HEADER_LIKE);
	record_unpin(vault, pinned);
	check_stored("x", fresh);
	ck_assert_int_eq(remove_name("x"), 0);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		ck_assert(!is_value_anywhere(kept[i]));
		forget(kept[i]);
	}
	forget(fresh);
}
END_TEST

/* A purge before each chunk, and behind the last. */
START_TEST(a_purge_ends_a_value_under_way_at_every_chunk)
{
	enum { CHUNKS = 35 };
	struct kept *kept = draw(CHUNKS * ENCLAVE_CHUNK_PLAIN - 3);
	struct vault_put put = put_of("x", kept);

	for (uint64_t at = 0; at <= CHUNKS; at++) {
		struct value *value = NULL;
		uint64_t version;

		ck_assert_int_eq(value_new(vault, &value), 0);
		ck_assert_int_eq(append_chunks(value, kept, 0, at), 0);
		ck_assert(!value_purged(value));
		vault_purge(vault);
		ck_assert(value_purged(value));
		if (at == CHUNKS || at % 8 == 1)
			ck_assert(!is_value_anywhere(kept));
		ck_assert_uint_eq(vault_bytes(vault), 0);
		if (at < CHUNKS)
			ck_assert_int_eq(append_chunks(value, kept, at, at + 1), STATUS_GONE);
		ck_assert_int_eq(vault_put(vault, &value, &put, &version), STATUS_GONE);
		ck_assert_ptr_nonnull(value);
		value_free(vault, value);
		ck_assert_int_eq(find_status("x"), STATUS_NOT_FOUND);
	}
	store("x", kept);
	check_stored("x", kept);
	forget(kept);
}
END_TEST

START_TEST(without_the_masters_nothing_is_served)
{
	struct kept *kept = store_new("x", 10);
	struct record *record = find("x");
	struct record *pinned = record_pin(record);
	struct vault_put put = put_of("x", kept);
	uint8_t key[ENCLAVE_KEY_SIZE];

	coffer_destroy(&rig.coffer);
	ck_assert_int_eq(find_status("x"), -EKEYEXPIRED);
	ck_assert_int_eq(vault_next(vault, span_of("", 0), span_of("", 0), &record), -EKEYEXPIRED);
	ck_assert_int_eq(record_key(vault, pinned, key), STATUS_GONE);
	ck_assert_int_eq(try_put(&put, kept), -EKEYEXPIRED);
	ck_assert_int_eq(remove_name("x"), -EKEYEXPIRED);
	record_unpin(vault, pinned);
	forget(kept);
}
END_TEST

START_TEST(a_remask_changes_nothing)
{
	struct kept *kept = store_new("x", 100);

	for (int i = 0; i < 10; i++) {
		coffer_forget(&rig.coffer);
		coffer_remask(&rig.coffer);
		check_stored("x", kept);
	}
	forget(kept);
}
END_TEST

/* -- everything together ------------------------------------------------------------------- */

#define MODEL_NAMES 40
#define MODEL_PINS 10
#define MODEL_STEPS 20000

/* What ought to be in the vault. */
static struct {
	struct kept *current[MODEL_NAMES];
	struct kept *pinned_kept[MODEL_PINS];
	struct record *pinned[MODEL_PINS];
	bool purged[MODEL_PINS];
} model;

static void model_name(size_t i, char out[16])
{
	snprintf(out, 16, "%zu/%zu", i % 3, i);
}

static bool is_pinned_in_model(const struct kept *kept)
{
	for (size_t i = 0; i < MODEL_PINS; i++)
		if (model.pinned_kept[i] == kept)
			return true;
	return false;
}

static void model_drop(size_t i)
{
	if (model.current[i] && !is_pinned_in_model(model.current[i]))
		forget(model.current[i]);
	model.current[i] = NULL;
}

static void model_put(size_t i, const char *name)
{
	static const size_t sizes[] = { 1, 100, 400, 20000, 50000, 300000 };
	struct kept *kept = draw(1 +
		randombytes_uniform((
			uint32_t)sizes[randombytes_uniform(randombytes_uniform(10) == 0 ? 6 : 3)]));
	uint64_t version = model.current[i] ? model.current[i]->version : 0;

	store(name, kept);
	ck_assert_uint_eq(kept->version, version + 1);
	model_drop(i);
	model.current[i] = kept;
}

static bool is_current_in_model(const struct kept *kept)
{
	for (size_t i = 0; i < MODEL_NAMES; i++)
		if (model.current[i] == kept)
			return true;
	return false;
}

static void model_toggle_pin(size_t i, const char *name, size_t pin)
{
	if (model.pinned[pin]) {
		struct kept *kept = model.pinned_kept[pin];

		if (!model.purged[pin])
			check_chunks(model.pinned[pin], kept);
		ck_assert_int_eq(record_purged(model.pinned[pin]), model.purged[pin]);
		record_unpin(vault, model.pinned[pin]);
		model.pinned[pin] = NULL;
		model.pinned_kept[pin] = NULL;
		if (!is_current_in_model(kept) && !is_pinned_in_model(kept))
			forget(kept);
	} else if (model.current[i]) {
		model.pinned[pin] = record_pin(find(name));
		model.pinned_kept[pin] = model.current[i];
		model.purged[pin] = false;
	}
}

static void model_purge(void)
{
	vault_purge(vault);
	for (size_t i = 0; i < MODEL_NAMES; i++)
		model_drop(i);
	for (size_t i = 0; i < MODEL_PINS; i++)
		model.purged[i] = true;
}

static void model_step(void)
{
	size_t i = randombytes_uniform(MODEL_NAMES);
	char name[16];

	model_name(i, name);
	switch (randombytes_uniform(10)) {
	case 0:
	case 1:
	case 2:
	case 3:
		model_put(i, name);
		break;
	case 4:
		ck_assert_int_eq(remove_name(name), model.current[i] ? 0 : STATUS_NOT_FOUND);
		model_drop(i);
		break;
	case 5:
	case 6:
		model_toggle_pin(i, name, randombytes_uniform(MODEL_PINS));
		break;
	case 7:
		if (randombytes_uniform(200) == 0)
			model_purge();
		break;
	default:
		if (model.current[i])
			check_stored(name, model.current[i]);
		else
			ck_assert_int_eq(find_status(name), STATUS_NOT_FOUND);
	}
}

START_TEST(it_agrees_with_a_naive_model)
{
	for (int i = 0; i < MODEL_STEPS; i++) {
		uint64_t count = 0;

		model_step();
		for (size_t at = 0; at < MODEL_NAMES; at++)
			count += model.current[at] != NULL;
		ck_assert_uint_eq(vault_count(vault), count);
	}
	for (size_t i = 0; i < MODEL_PINS; i++)
		if (model.pinned[i])
			model_toggle_pin(0, "", i);
	model_purge();
	ck_assert_uint_eq(vault_bytes(vault), 0);
}
END_TEST

/* -- what it costs ------------------------------------------------------------------------- */

#define MANY 100000
#define MANY_SIZE 64

static size_t many_name(size_t i, char out[48])
{
	return (size_t)snprintf(
		out, 48, "~%zu/service-%zu/token-%zu", 1000 + i % 50, i / 50 % 100, i);
}

/* Beside `names` bytes of names, and the values. */
static double overhead_of(size_t count, size_t names)
{
	uint64_t all =
		vault_bytes(vault) + index_bytes(vault->index) + ledger_bookkeeping(vault->ledger);

	return (double)(all - names - count * MANY_SIZE) / (double)count;
}

static size_t store_many(struct kept *kept, size_t i)
{
	char name[48];
	size_t size = many_name(i, name);
	struct vault_put put = put_of(name, kept);
	struct value *value = NULL;

	if (value_new(vault, &value) != 0 || value_append(vault, value, chunk_of(kept, 0)) != 0 ||
		vault_put(vault, &value, &put, &kept->version) != 0)
		ck_abort_msg("secret %zu was not stored", i);
	return size;
}

/* What grows by leaps costs most right after one: it is looked at often. */
START_TEST(a_secret_costs_at_most_200_bytes_beside_its_name_and_value)
{
	struct kept *kept = draw(MANY_SIZE);
	size_t names = 0;
	double worst = 0;
	double overhead = 0;

	for (size_t i = 0; i < MANY; i++) {
		names += store_many(kept, i);
		if (i + 1 < 10000 || (i + 1) % 100 != 0)
			continue;
		overhead = overhead_of(i + 1, names);
		worst = overhead > worst ? overhead : worst;
	}
	printf("%d secrets of %d bytes: %.1f bytes of overhead each, at most %.1f from 10000 on "
	       "(with the 16 of the chunk's tag)\n",
		MANY, MANY_SIZE, overhead, worst);
	ck_assert_uint_eq(vault_count(vault), MANY);
	ck_assert(worst <= 200);
	forget(kept);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("vault-damage");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 100);
	tcase_add_loop_test(
		claims, a_flipped_bit_in_a_record_is_found_and_nothing_of_it_served, 0, 2);
	tcase_add_test(claims, a_flipped_bit_in_a_table_of_extents_is_found);
	tcase_add_test(claims, an_overwritten_record_is_passed_over_and_can_be_removed);
	tcase_add_test(claims, a_record_under_another_name_is_not_served);
	tcase_add_test(claims, an_older_version_put_back_does_not_open);
	tcase_add_test(
		claims, an_overwritten_place_of_a_pinned_record_gives_back_nothing_of_others);
	tcase_add_test(claims, after_a_purge_nothing_is_left);
	tcase_add_loop_test(
		claims, after_a_purge_nothing_is_left_whatever_an_overwritten_record_says, 0, 12);
	tcase_add_test(claims, a_pinned_record_keeps_its_memory_over_a_purge_and_gives_nothing);
	tcase_add_test(claims, a_purge_ends_a_value_under_way_at_every_chunk);
	tcase_add_test(claims, without_the_masters_nothing_is_served);
	tcase_add_test(claims, a_remask_changes_nothing);
	tcase_add_test(claims, it_agrees_with_a_naive_model);
	tcase_add_test(claims, a_secret_costs_at_most_200_bytes_beside_its_name_and_value);
	return claims_run(claims, "vault-damage");
}
