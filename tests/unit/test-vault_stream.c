/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vault_rig.h"

/* Streams in the vault: what is written there, what becomes of it, and what if it is overwritten.
 */

static uint64_t clock_ms;
static const int writers[2], readers[2]; /* only their addresses count */
static const uint8_t numbers[2][MESSAGE_NUMBER_SIZE] = { { 1 }, { 2 } };

static uint64_t told_time(void)
{
	return clock_ms;
}

static void set_up_clock(void)
{
	set_up();
	clock_ms = 1000000;
	vault->now = told_time;
}

static struct stream *make(const char *name)
{
	struct stream *stream = NULL;

	ck_assert_int_eq(stream_make(vault, span_text(name), 1000, &stream), 0);
	return stream;
}

static int find_stream(const char *name, struct stream **streamp)
{
	return stream_find(vault, span_text(name), streamp);
}

static void write_in(struct stream *stream, const struct kept *kept, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		ck_assert_int_eq(
			stream_append(stream, chunk_of(kept, i), i + 1 == kept->chunks, kept->key),
			0);
}

/* A segment of a new stream, with its first chunks written. */
static struct stream *begin(const char *name, const struct kept *kept, uint64_t chunks)
{
	struct stream *stream = make(name);

	ck_assert_int_eq(stream_begin(stream, numbers[0], kept->key, &writers[0]), 0);
	write_in(stream, kept, 0, chunks);
	return stream;
}

static struct stream_place behind(const struct stream_part *part)
{
	return (struct stream_place){ .stream = part->stream,
		.segment = part->segment + part->chunks.final,
		.next = part->chunks.final ? 0 : part->chunks.first + part->chunks.count };
}

/* Reads a segment to its end as its reader does, acknowledging part by part if asked to. */
static void read_all(struct stream *stream, const struct kept *kept, bool acknowledge)
{
	struct stream_place place = { 0 };
	struct stream_part part;
	uint8_t key[ENCLAVE_KEY_SIZE];
	uint64_t due = 0;

	stream_pin(stream);
	do {
		ck_assert_int_eq(stream_next(stream, &place, &part), 0);
		ck_assert_uint_eq(part.chunks.first, due);
		ck_assert_int_eq(stream_read_key(stream, part.segment, key), 0);
		ck_assert_mem_eq(key, kept->key, sizeof(key));
		for (uint32_t i = 0; i < part.chunks.count; i++)
			ck_assert(span_equal(part.pieces[i], chunk_of(kept, due++)));
		place = behind(&part);
		if (acknowledge)
			stream_acknowledge(stream, &place);
	} while (!part.chunks.final);
	ck_assert_uint_eq(due, kept->chunks);
	if (!acknowledge)
		stream_acknowledge(stream, &place);
	stream_unpin(stream);
}

START_TEST(what_was_written_is_read_and_is_wiped_then)
{
	struct kept *kept = draw(wiped_sizes[_i]);
	struct stream *stream = begin("s", kept, kept->chunks);
	struct segment_header header = *(struct segment_header *)ledger_at(
		vault->ledger, stream->first->offset, sizeof(header));

	ck_assert(is_value_anywhere(kept));
	ck_assert(is_anywhere(header.wrapped, sizeof(header.wrapped)));
	read_all(stream, kept, _i % 2 == 0);
	ck_assert(!is_value_anywhere(kept));
	for (size_t at = 0; at < sizeof(header.wrapped); at += 8)
		ck_assert(!is_anywhere(header.wrapped + at, 8));
	ck_assert_int_eq(find_stream("s", &stream), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	ck_assert_uint_eq(vault_count(vault), 0);
	forget(kept);
}
END_TEST

START_TEST(a_long_stream_takes_no_more_than_what_waits_in_it)
{
	struct kept *kept = draw(400 * ENCLAVE_CHUNK_PLAIN);
	struct stream *stream = begin("s", kept, 4);
	struct stream_place place = { 0 };
	struct stream_part part;
	/* And a word of how far it was read. */
	uint64_t most =
		vault_bytes(vault) + block_size(sizeof(struct chunk_header) + ENCLAVE_TAG_SIZE);
	size_t capacity = stream->first->capacity;

	for (uint64_t i = 4; i < kept->chunks; i += 4) {
		ck_assert_int_eq(stream_next(stream, &place, &part), 0);
		place = behind(&part);
		stream_acknowledge(stream, &place);
		write_in(stream, kept, i, i + 4);
		ck_assert_uint_le(vault_bytes(vault), most);
	}
	ck_assert_uint_le(stream->first->capacity, 4 * capacity + 16);
	forget(kept);
}
END_TEST

START_TEST(a_purge_leaves_nothing_of_it)
{
	struct kept *kept = draw(300000);
	struct stream *stream = stream_pin(begin("s", kept, 10));
	struct record *record = NULL;
	uint8_t key[ENCLAVE_KEY_SIZE];

	if (_i == 0) {
		vault_purge(vault);
	} else if (_i == 1) {
		ck_assert_int_eq(vault_next(vault, span_text(""), span_text(""), &record), 0);
		vault_purge_record(vault, record);
	} else {
		ck_assert_int_eq(remove_name("s"), 0);
	}
	ck_assert_int_eq(stream_fate(stream), STREAM_DESTROYED);
	ck_assert(!is_value_anywhere(kept));
	ck_assert(!stream_is_writer(stream, &writers[0]));
	ck_assert_int_eq(stream_read_key(stream, 1, key), STATUS_GONE);
	ck_assert_int_eq(stream_append(stream, chunk_of(kept, 10), false, kept->key), STATUS_GONE);
	stream_leave(stream, &writers[0], true);
	stream_depart(stream, &readers[0]);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	stream_unpin(stream);
	forget(kept);
}
END_TEST

START_TEST(a_writer_that_is_away_for_two_seconds_is_gone)
{
	struct kept *kept = draw(300000);
	struct stream *stream = begin("s", kept, 4);
	struct stream_place place = { .stream = stream->id, .segment = 1, .next = 4 };
	struct stream_part part;

	stream_leave(stream, &writers[0], false);
	clock_ms += STREAM_RESUME_MS - 1;
	ck_assert_uint_eq(stream_resume_ms(stream), clock_ms + 1);
	ck_assert_int_eq(stream_next(stream, &place, &part), STATUS_NOT_FOUND);
	ck_assert_int_eq(stream_resume(stream, numbers[1], &writers[1]), STATUS_CONFLICT);
	ck_assert_int_eq(stream_resume(stream, numbers[0], &writers[1]), 0);
	write_in(stream, kept, 4, 5);
	/* The one before it is nobody any more. */
	stream_leave(stream, &writers[0], true);
	ck_assert(stream_is_writer(stream, &writers[1]));
	stream_leave(stream, &writers[1], false);
	clock_ms += STREAM_RESUME_MS;
	ck_assert_int_eq(stream_resume(stream, numbers[0], &writers[0]), STATUS_GONE);
	ck_assert_int_eq(stream_resume(stream, numbers[1], &writers[1]), STATUS_NOT_FOUND);
	place.next = 5;
	ck_assert_int_eq(stream_next(stream, &place, &part), STATUS_GONE);
	ck_assert_uint_eq(part.segment, 1);
	/* What was read is wiped; that it is incomplete is told until somebody has heard it. */
	stream_acknowledge(stream, &place);
	ck_assert(!is_value_anywhere(kept));
	ck_assert_int_eq(stream_next(stream, &place, &part), STATUS_GONE);
	place = (struct stream_place){ .stream = stream->id, .segment = 2 };
	stream_acknowledge(stream, &place);
	ck_assert_int_eq(find_stream("s", &stream), STATUS_NOT_FOUND);
	forget(kept);
}
END_TEST

START_TEST(a_segment_without_a_chunk_leaves_nothing_behind)
{
	struct kept *kept = draw(100);
	struct stream *stream = begin("s", kept, 0);

	stream_leave(stream, &writers[0], false);
	ck_assert_uint_eq(vault_count(vault), 0);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	stream = begin("s", kept, 1);
	ck_assert_int_eq(stream_begin(stream, numbers[1], kept->key, &writers[1]), 0);
	stream_leave(stream, &writers[1], true);
	/* Nor does it take a number. */
	ck_assert_int_eq(stream_begin(stream, numbers[1], kept->key, &writers[1]), 0);
	ck_assert_uint_eq(stream->last->number, 2);
	stream_leave(stream, &writers[1], true);
	read_all(stream, kept, true);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(kept);
}
END_TEST

/* -- bytes that were overwritten ----------------------------------------------------------- */

START_TEST(a_flipped_bit_in_a_chunk_s_place_is_found_and_the_chunk_stays)
{
	struct kept *kept = draw(3 * ENCLAVE_CHUNK_PLAIN);
	struct stream *stream = begin("s", kept, 3);
	uint8_t *bytes = ledger_at(vault->ledger, stream->first->chunks[1].offset,
		sizeof(struct chunk_header) + ENCLAVE_TAG_SIZE);
	struct stream_place place = { .stream = stream->id, .segment = 1, .next = 1 };
	struct stream_part part;

	for (size_t i = 0; i < (sizeof(struct chunk_header) + ENCLAVE_TAG_SIZE) * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		ck_assert_int_eq(stream_next(stream, &place, &part), STATUS_INTEGRITY);
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	ck_assert_int_eq(stream_next(stream, &place, &part), 0);
	ck_assert_uint_eq(part.chunks.count, 2);
	/* Those before it come out all the same. */
	bytes[20] ^= 1;
	place.next = 0;
	ck_assert_int_eq(stream_next(stream, &place, &part), 0);
	ck_assert_uint_eq(part.chunks.count, 1);
	bytes[20] ^= 1;
	read_all(stream, kept, true);
	forget(kept);
}
END_TEST

START_TEST(a_flipped_bit_in_a_segment_s_header_is_found)
{
	struct kept *kept = draw(100);
	struct stream *stream = begin("s", kept, 1);
	uint8_t *bytes =
		ledger_at(vault->ledger, stream->first->offset, sizeof(struct segment_header));
	uint8_t key[ENCLAVE_KEY_SIZE];

	for (size_t i = 0; i < sizeof(struct segment_header) * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		ck_assert_int_eq(stream_read_key(stream, 1, key), STATUS_INTEGRITY);
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	read_all(stream, kept, true);
	forget(kept);
}
END_TEST

START_TEST(chunks_that_changed_places_are_found)
{
	struct kept *kept = draw(3 * ENCLAVE_CHUNK_PLAIN);
	struct stream *stream = begin("s", kept, 2);
	struct held_chunk *chunks = stream->first->chunks;
	struct held_chunk first = chunks[0];
	struct stream_place place = { 0 };
	struct stream_part part;

	chunks[0] = chunks[1];
	chunks[1] = first;
	ck_assert_int_eq(stream_next(stream, &place, &part), STATUS_INTEGRITY);
	forget(kept);
}
END_TEST

START_TEST(a_stream_whose_record_was_overwritten_can_be_removed)
{
	struct kept *kept = draw(300000);
	struct stream *stream = stream_pin(begin("s", kept, 5));
	struct stream *found;

	((uint8_t *)record_header(vault, stream->offset))[20] ^= 1;
	ck_assert_int_eq(find_stream("s", &found), STATUS_INTEGRITY);
	ck_assert_int_eq(remove_name("s"), 0);
	ck_assert_int_eq(stream_fate(stream), STREAM_DESTROYED);
	ck_assert(!is_value_anywhere(kept));
	stream_unpin(stream);
	forget(kept);
}
END_TEST

START_TEST(an_overwritten_record_takes_nobody_else_along)
{
	struct kept *kept = draw(100);
	struct kept *secret = store_new("secret", 100);
	const struct header *other = record_header(vault, find("secret")->offset);
	struct stream *stream = begin("s", kept, 1);
	struct header *header = record_header(vault, stream->offset);

	memcpy(header->place, other->place, sizeof(header->place));
	memcpy(header->size, other->size, sizeof(header->size));
	((uint8_t *)header)[record_name_start(header)] ^= 1;
	read_all(stream, kept, true);
	check_stored("secret", secret);
	ck_assert_uint_eq(vault_count(vault), 1);
	forget(kept);
	forget(secret);
}
END_TEST

/* -- memory that runs out ------------------------------------------------------------------ */

START_TEST(without_memory_a_step_changes_nothing_and_succeeds_later)
{
	struct kept *kept = draw(20 * ENCLAVE_CHUNK_PLAIN);
	struct stream *stream = NULL;
	size_t refused = 0;

	for (uint64_t step = 0; step < kept->chunks + 2; step++)
		for (int allowed = 0;; allowed++) {
			uint64_t used = vault_bytes(vault);
			int r;

			ration = allowed;
			if (step == 0)
				r = stream_make(vault, span_text("s"), 1000, &stream);
			else if (step == 1)
				r = stream_begin(stream, numbers[0], kept->key, &writers[0]);
			else
				r = stream_append(stream, chunk_of(kept, step - 2),
					step - 1 == kept->chunks, kept->key);
			ration = -1;
			if (r == 0)
				break;
			ck_assert_int_eq(r, STATUS_LIMIT);
			ck_assert_uint_eq(vault_bytes(vault), used);
			refused++;
		}
	ck_assert_uint_gt(refused, kept->chunks);
	read_all(stream, kept, true);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(kept);
}
END_TEST

/* -- beside secrets ------------------------------------------------------------------------ */

START_TEST(a_name_is_one_or_the_other)
{
	struct kept *kept = draw(10);
	struct kept *secret = store_new("secret", 10);
	struct vault_put put = put_of("s", kept);
	static const struct conditions none;
	struct stream *stream = begin("s", kept, 1);
	uint64_t version;

	ck_assert(record_is_stream(find("s")));
	ck_assert_int_eq(try_put(&put, kept), STATUS_INVALID);
	ck_assert_int_eq(vault_may_put(vault, &put, &version), STATUS_INVALID);
	ck_assert_int_eq(vault_freeze(vault, put.name, true, &none, &version), STATUS_INVALID);
	ck_assert_int_eq(vault_touch(vault, put.name, 1000, &none, &version), STATUS_INVALID);
	ck_assert_int_eq(find_stream("secret", &stream), STATUS_INVALID);
	check_stored("secret", secret);
	forget(kept);
	forget(secret);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("vault_stream");

	tcase_add_checked_fixture(claims, set_up_clock, tear_down);
	tcase_set_timeout(claims, 100);
	tcase_add_loop_test(
		claims, what_was_written_is_read_and_is_wiped_then, 0, COUNT_OF(wiped_sizes));
	tcase_add_test(claims, a_long_stream_takes_no_more_than_what_waits_in_it);
	tcase_add_loop_test(claims, a_purge_leaves_nothing_of_it, 0, 3);
	tcase_add_test(claims, a_writer_that_is_away_for_two_seconds_is_gone);
	tcase_add_test(claims, a_segment_without_a_chunk_leaves_nothing_behind);
	tcase_add_test(claims, a_flipped_bit_in_a_chunk_s_place_is_found_and_the_chunk_stays);
	tcase_add_test(claims, a_flipped_bit_in_a_segment_s_header_is_found);
	tcase_add_test(claims, chunks_that_changed_places_are_found);
	tcase_add_test(claims, a_stream_whose_record_was_overwritten_can_be_removed);
	tcase_add_test(claims, an_overwritten_record_takes_nobody_else_along);
	tcase_add_test(claims, without_memory_a_step_changes_nothing_and_succeeds_later);
	tcase_add_test(claims, a_name_is_one_or_the_other);
	return claims_run(claims, "vault_stream");
}
