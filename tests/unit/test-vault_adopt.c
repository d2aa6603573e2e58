/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/crash.h"

/* What the next process finds of a vault whose own process has ended. */

static const size_t sizes[] = { 1, 64, 16383, 16384, 16385, 16 * 16384, 16 * 16384 + 1, 3 * MIB };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

/* Every claim holds of a vault that was adopted once, twice. */
static void check_all(struct kept *const *kept)
{
	char name[] = "app/key-0";

	for (size_t i = 0; i < SIZES; i++, name[8]++)
		check_stored(name, kept[i]);
	ck_assert_uint_eq(vault_count(vault), SIZES);
	ck_assert_uint_eq(vault_broken(vault), 0);
}

START_TEST(every_value_is_there)
{
	struct kept *kept[SIZES];
	char name[] = "app/key-0";
	uint64_t bytes;

	for (size_t i = 0; i < SIZES; i++, name[8]++)
		kept[i] = store_new(name, sizes[i]);
	bytes = vault_bytes(vault);
	crash();
	check_all(kept);
	ck_assert_uint_eq(vault_bytes(vault), bytes);
	/* It is as good as the one before: what is removed makes room for others. */
	ck_assert_int_eq(remove_name("app/key-7"), 0);
	forget(kept[7]);
	kept[7] = store_new("app/key-7", sizes[7]);
	check_all(kept);
	ck_assert_uint_eq(vault_bytes(vault), bytes);
	rise();
	for (size_t i = 0; i < SIZES; i++)
		forget(kept[i]);
}
END_TEST

START_TEST(the_outside_of_a_secret_is_what_it_was)
{
	struct kept *kept = draw(100);
	struct vault_put put = put_of("~1000/x", kept);
	struct tag tag = { .key = span_text("env"), .value = span_text("production") };
	struct tag tags[2][MESSAGE_TAGS_MAX];
	struct info before;
	struct info after;

	put.tags = (struct tags){ .tag = &tag, .count = 1 };
	put.frozen = true;
	ck_assert_int_eq(try_put(&put, kept), 0);
	record_info(find("~1000/x"), &before, tags[0]);
	crash();
	record_info(find("~1000/x"), &after, tags[1]);
	ck_assert_int_eq(after.created_ms, before.created_ms);
	ck_assert_int_eq(after.changed_ms, before.changed_ms);
	ck_assert(after.frozen);
	ck_assert_uint_eq(after.tags.count, 1);
	ck_assert(span_equal(after.tags.tag[0].value, tag.value));
	ck_assert_uint_eq(record_owner(find("~1000/x")), 1000);
	ck_assert_int_eq(remove_name("~1000/x"), STATUS_FROZEN);
	rise();
	forget(kept);
}
END_TEST

/* What another program has said of a record may be what nobody may do with it. */
START_TEST(a_record_with_a_flag_that_is_not_known_is_lost)
{
	struct kept *kept = store_new("a", 100);
	struct kept *other = store_new("b", 100);
	struct header *header = record_header(vault, offset_of("a"));

	header->flags |= 64;
	ck_assert_int_eq(record_seal(vault, header), 0);
	crash();
	ck_assert_int_eq(
		vault_find(vault, span_text("a"), &(struct record *){ NULL }), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_lost(vault, LOSS_SECRET), 1);
	check_stored("b", other);
	rise();
	forget(kept);
	forget(other);
}
END_TEST

START_TEST(the_last_version_counts_and_what_was_removed_is_gone)
{
	struct kept *old = store_new("a", 40000);
	struct kept *gone = store_new("b", 40000);
	struct kept *last = store_new("a", 50000);
	uint64_t sequence = vault->sequence;

	ck_assert_int_eq(remove_name("b"), 0);
	crash();
	check_stored("a", last);
	ck_assert_uint_eq(last->version, 2);
	ck_assert_int_eq(find_status("b"), STATUS_NOT_FOUND);
	ck_assert(!is_value_anywhere(old));
	ck_assert(!is_value_anywhere(gone));
	/* A name that is new does not take the number of one that was. */
	ck_assert_uint_eq(vault->sequence, sequence);
	forget(store_new("b", 10));
	ck_assert_uint_gt(get_number(record_header(vault, offset_of("b"))->secret), sequence);
	rise();
	forget(old);
	forget(gone);
	forget(last);
}
END_TEST

/* Another record of a name, as a process leaves it that ends before the older one is taken out. */
static struct kept *leave_twin(const char *name, size_t size, uint64_t sequence)
{
	struct kept *kept = draw(size);
	struct vault_put put = put_of(name, kept);
	struct value *value = new_value(kept);
	struct header *header;
	uint64_t offset;

	kept->version = 7;
	ck_assert_int_eq(vault_write_apart(vault, &value, &put, kept->version, &offset), 0);
	header = record_header(vault, offset);
	if (sequence > 0) {
		put_number(header->secret, sequence);
		put_number(header->sequence, sequence);
	}
	ck_assert_int_eq(record_seal(vault, header), 0);
	block_set_kind(header, BLOCK_RECORD);
	return kept;
}

/* Whichever comes first in the ledger. */
START_TEST(of_two_records_of_a_name_the_later_one_counts)
{
	struct kept *first = store_new("first", 100);
	struct kept *there = store_new("a", 40000);
	struct kept *twin = leave_twin("a", 50000, _i == 0 ? 1 : 0);
	struct kept *last = store_new("z", 100);

	crash();
	check_stored("a", _i == 0 ? there : twin);
	ck_assert(!is_value_anywhere(_i == 0 ? twin : there));
	check_stored("first", first);
	check_stored("z", last);
	ck_assert_uint_eq(vault_count(vault), 3);
	ck_assert_uint_eq(vault_broken(vault), 0);
	ck_assert_uint_eq(index_next(vault->index, span_text("a"), span_text("")), offset_of("a"));
	ck_assert_int_eq(remove_name("a"), 0);
	ck_assert_uint_eq(index_next(vault->index, span_text("a"), span_text("")), 0);
	rise();
	forget(first);
	forget(there);
	forget(twin);
	forget(last);
}
END_TEST

/* They give way in another order than that in which they lie. */
START_TEST(of_many_records_of_a_name_one_counts)
{
	struct kept *lost[4];
	struct kept *a;
	struct kept *b;

	lost[0] = store_new("a", 100);
	b = store_new("b", 200);
	lost[1] = leave_twin("b", 300, 1);
	lost[2] = leave_twin("a", 40000, 0);
	a = leave_twin("a", 300, 0);
	lost[3] = leave_twin("b", 50000, 1);
	crash();
	check_stored("a", a);
	check_stored("b", b);
	ck_assert_uint_eq(vault_count(vault), 2);
	ck_assert_uint_eq(vault_broken(vault), 0);
	for (size_t i = 0; i < 4; i++) {
		ck_assert(!is_value_anywhere(lost[i]));
		forget(lost[i]);
	}
	rise();
	forget(a);
	forget(b);
}
END_TEST

START_TEST(a_value_under_way_is_wiped)
{
	struct kept *kept = draw(600000);
	struct value *value = new_value(kept);
	struct kept *other = store_new("other", 100);

	ck_assert(is_value_anywhere(kept));
	crash();
	ck_assert(!is_value_anywhere(kept));
	check_stored("other", other);
	ck_assert_uint_eq(vault_broken(vault), 0);
	rise();
	value_free(vault, value);
	forget(kept);
	forget(other);
}
END_TEST

/* -- lifetimes ----------------------------------------------------------------------------- */

static void store_for(const char *name, struct kept *kept, const struct lifetime *lifetime)
{
	struct vault_put put = put_of(name, kept);

	put.lifetime = *lifetime;
	put.process_started = 77;
	ck_assert_int_eq(try_put(&put, kept), 0);
}

static uint64_t later_ms;

static uint64_t later(void)
{
	return later_ms;
}

START_TEST(lives_go_on_where_they_were)
{
	struct kept *kept = draw(100);
	struct tag tags[MESSAGE_TAGS_MAX];
	struct info info;

	store_for("ttl", kept, &(struct lifetime){ .ttl_ms = 50000 });
	store_for("reads", kept, &(struct lifetime){ .reads = 3 });
	store_for("once", kept, &(struct lifetime){ .reads = 1 });
	store_for("session", kept, &(struct lifetime){ .session = true });
	ck_assert_int_eq(record_use(vault, find("reads")), 0);
	ck_assert_int_eq(record_use(vault, find("once")), 0);
	ck_assert_int_eq(find_status("once"), STATUS_GONE);
	crash();
	ck_assert_int_eq(find_status("session"), STATUS_NOT_FOUND);
	ck_assert_int_eq(find_status("once"), STATUS_GONE);
	record_info(find("reads"), &info, tags);
	ck_assert_uint_eq(info.left.reads, 2);
	record_info(find("ttl"), &info, tags);
	ck_assert_uint_gt(info.left.ttl_ms, 0);
	ck_assert_uint_le(info.left.ttl_ms, 50000);
	ck_assert_uint_eq(vault_count(vault), 2);
	later_ms = boot_ms() + 50001;
	vault->now = later;
	ck_assert_int_eq(find_status("ttl"), STATUS_NOT_FOUND);
	later_ms = boot_ms() + TOMBSTONE_MS + 1;
	while (vault_expire(vault))
		;
	ck_assert_int_eq(find_status("once"), STATUS_NOT_FOUND);
	rise();
	forget(kept);
}
END_TEST

START_TEST(the_oldest_of_the_consumed_names_still_gives_way)
{
	struct kept *kept = draw(10);
	char name[16];

	for (int i = 0; i < TOMBSTONES_MAX; i++) {
		snprintf(name, sizeof(name), "n/%d", i);
		store_for(name, kept, &(struct lifetime){ .reads = 1 });
		ck_assert_int_eq(record_use(vault, find(name)), 0);
	}
	crash();
	store_for("n/more", kept, &(struct lifetime){ .reads = 1 });
	ck_assert_int_eq(record_use(vault, find("n/more")), 0);
	ck_assert_int_eq(find_status("n/0"), STATUS_NOT_FOUND);
	ck_assert_int_eq(find_status("n/1"), STATUS_GONE);
	ck_assert_int_eq(find_status("n/more"), STATUS_GONE);
	rise();
	forget(kept);
}
END_TEST

/* Its process ended after the newest was consumed and before the oldest gave way. */
START_TEST(one_consumed_name_too_many_gives_way_at_adoption)
{
	struct kept *kept = draw(10);
	char name[16];
	uint64_t tombstone;

	for (int i = 0; i < TOMBSTONES_MAX; i++) {
		snprintf(name, sizeof(name), "n/%d", i);
		store_for(name, kept, &(struct lifetime){ .reads = 1 });
		ck_assert_int_eq(record_use(vault, find(name)), 0);
	}
	store_for("n/more", kept, &(struct lifetime){ .reads = 1 });
	ck_assert_int_eq(write_tombstone(vault, record_header(vault, offset_of("n/more")),
				 boot_ms() + TOMBSTONE_MS, &tombstone),
		0);
	crash();
	ck_assert_uint_eq(vault->consumed, TOMBSTONES_MAX);
	ck_assert_int_eq(find_status("n/0"), STATUS_NOT_FOUND);
	ck_assert_int_eq(find_status("n/1"), STATUS_GONE);
	ck_assert_int_eq(find_status("n/more"), STATUS_GONE);
	rise();
	forget(kept);
}
END_TEST

/* Process 5 lives, no other does. */
static struct holder *of_five;

static int find_process(void *context, uint32_t pid, uint64_t started, struct holder **holderp)
{
	(void)context;
	ck_assert_uint_eq(started, 77);
	*holderp = pid == 5 ? of_five : NULL;
	return 0;
}

START_TEST(what_hangs_on_a_process_does_so_again_or_ends)
{
	struct kept *kept = draw(10);

	store_for("five", kept, &(struct lifetime){ .pid = 5, .ttl_ms = 100000 });
	store_for("six", kept, &(struct lifetime){ .pid = 6 });
	crash();
	of_five = holder_new(NULL, NULL);
	ck_assert_int_eq(vault_bind(vault, find_process, NULL), 0);
	ck_assert_int_eq(find_status("six"), STATUS_NOT_FOUND);
	check_stored("five", kept);
	vault_end_holder(vault, of_five);
	ck_assert_int_eq(find_status("five"), STATUS_NOT_FOUND);
	rise();
	forget(kept);
}
END_TEST

/* -- streams ------------------------------------------------------------------------------- */

static const uint8_t number[MESSAGE_NUMBER_SIZE] = { 9 };
static const int writer;

static void write_in(struct stream *stream, const struct kept *kept, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		ck_assert_int_eq(
			stream_append(stream, chunk_of(kept, i), i + 1 == kept->chunks, kept->key),
			0);
}

static struct stream *begin_stream(const struct kept *kept)
{
	struct stream *stream = NULL;

	ck_assert_int_eq(stream_make(vault, span_text("s"), 1000, &stream), 0);
	ck_assert_int_eq(stream_begin(stream, number, kept->key, &writer), 0);
	return stream;
}

static struct stream *stream_there(void)
{
	struct stream *stream = NULL;

	ck_assert_int_eq(stream_find(vault, span_text("s"), &stream), 0);
	return stream;
}

static void acknowledge(struct stream *stream, uint64_t next)
{
	stream_acknowledge(
		stream, &(struct stream_place){ .stream = stream->id, .segment = 1, .next = next });
}

static void check_read(struct stream *stream, const struct kept *kept, uint64_t first)
{
	struct stream_place place = { .stream = stream->id, .segment = 1, .next = first };
	struct stream_part part;
	uint8_t key[ENCLAVE_KEY_SIZE];

	for (uint64_t i = first; i < kept->chunks; i += part.chunks.count) {
		place.next = i;
		ck_assert_int_eq(stream_next(stream, &place, &part), 0);
		ck_assert_uint_eq(part.chunks.first, i);
		ck_assert_int_eq(stream_read_key(stream, part.segment, key), 0);
		ck_assert_mem_eq(key, kept->key, sizeof(key));
		for (uint32_t j = 0; j < part.chunks.count; j++)
			ck_assert(span_equal(part.pieces[j], chunk_of(kept, i + j)));
	}
}

/* Its writer and its reader go on with the next process: `_i` chunks were read before. */
START_TEST(a_stream_goes_on)
{
	struct kept *kept = draw(8 * ENCLAVE_CHUNK_PLAIN);
	struct stream *stream = begin_stream(kept);
	uint64_t bytes;

	write_in(stream, kept, 0, 4);
	acknowledge(stream, (uint64_t)_i);
	bytes = vault_bytes(vault);
	crash();
	ck_assert_uint_eq(vault_broken(vault), 0);
	stream = stream_there();
	ck_assert_uint_eq(vault_bytes(vault), bytes);
	ck_assert_uint_eq(stream->size, (4 - (uint64_t)_i) * ENCLAVE_CHUNK_PLAIN);
	ck_assert_int_eq(stream_resume(stream, number, &writer), 0);
	ck_assert_uint_eq(stream_due(stream), 4);
	write_in(stream, kept, 4, 8);
	check_read(stream, kept, (uint64_t)_i);
	acknowledge(stream, 8);
	ck_assert_int_eq(find_status("s"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	rise();
	forget(kept);
}
END_TEST

START_TEST(a_writer_that_does_not_come_back_leaves_its_stream_incomplete)
{
	struct kept *kept = draw(8 * ENCLAVE_CHUNK_PLAIN);
	struct stream_place place = { .segment = 1, .next = 2 };
	struct stream_part part;
	struct stream *stream = begin_stream(kept);

	write_in(stream, kept, 0, 2);
	crash();
	stream = stream_there();
	place.stream = stream->id;
	later_ms = boot_ms() + STREAM_RESUME_MS + 1;
	vault->now = later;
	ck_assert_int_eq(stream_next(stream, &place, &part), STATUS_GONE);
	rise();
	forget(kept);
}
END_TEST

/* -- what is not what was written ---------------------------------------------------------- */

/* One byte of all that was written is another one. */
static bool is_served_rightly(const char *name, const struct kept *kept)
{
	struct record *record;
	uint8_t key[ENCLAVE_KEY_SIZE];
	uint8_t plain[ENCLAVE_CHUNK_PLAIN];
	struct span chunk;

	if (vault_find(vault, span_text(name), &record) != 0)
		return true;
	chunk = record_chunk(vault, record, 0);
	return record_size(record) == kept->size && record_key(vault, record, key) == 0 &&
		(enclave_open_chunk(plain, chunk.data, chunk.size, 0, true, key) != 0 ||
			memcmp(plain, kept->plain, kept->size) == 0);
}

START_TEST(a_ledger_with_another_byte_is_never_served_from_wrongly)
{
	struct kept *a = store_new("a", 100);
	struct kept *b = store_new("bb", 200);
	size_t size = (size_t)vault_bytes(vault) + LEDGER_UNIT;
	uint64_t served = 0;

	for (size_t at = 0; at < size; at++) {
		struct remains *remains = remains_of_now();
		struct vault *adopted = NULL;
		struct vault *before = vault;
		uint8_t byte;
		int r;

		ck_assert_int_eq(pread(remains->fd, &byte, 1, (off_t)at), 1);
		byte ^= (uint8_t)(1u << at % 8);
		ck_assert_int_eq(pwrite(remains->fd, &byte, 1, (off_t)at), 1);
		r = adopt_remains(remains, &adopted);
		vault = adopted;
		if (r == 0) {
			ck_assert(is_served_rightly("a", a) && is_served_rightly("bb", b));
			if (vault_count(vault) + vault_broken(vault) != 2)
				ck_abort_msg("byte %zu: a record is gone without a word", at);
			served += vault_count(vault);
			vault_free(vault);
		} else {
			/* The first unit says whose file it is. */
			ck_assert_int_eq(r, -EBADMSG);
			ck_assert_uint_lt(at, LEDGER_UNIT);
		}
		vault = before;
		forget_remains(remains);
	}
	/* One record at most is lost to a byte. */
	ck_assert_uint_ge(served, size - LEDGER_UNIT);
	forget(a);
	forget(b);
}
END_TEST

/* Whoever stores a value chooses its ciphertext: it may look like a record of somebody else's. */
START_TEST(a_record_in_a_value_is_no_record)
{
	struct kept *kept = draw(16000);
	struct kept *victim = store_new("victim", 100);
	size_t size = record_block_size(record_header(vault, offset_of("victim")));
	uint8_t *lie = malloc(size);
	uint64_t place;

	ck_assert_ptr_nonnull(lie);
	memcpy(lie, record_header(vault, offset_of("victim")), size);
	((struct header *)(void *)lie)->block.tag[0] ^= 1;
	for (size_t at = 0; at + size < kept->size; at += size + LEDGER_UNIT)
		memcpy(kept->sealed + at / LEDGER_UNIT * LEDGER_UNIT, lie, size);
	store("liar", kept);
	place = record_place(record_header(vault, offset_of("liar")));
	ck_assert_int_eq(block_kind(ledger_at(vault->ledger, place, 32)), BLOCK_RECORD);
	crash();
	check_stored("victim", victim);
	check_chunks(find("liar"), kept);
	ck_assert_uint_eq(vault_broken(vault), 0);
	ck_assert_uint_eq(vault_count(vault), 2);
	rise();
	free(lie);
	forget(kept);
	forget(victim);
}
END_TEST

/* A free run leads to the next one by a number, which may look like a kind. */
START_TEST(the_links_of_free_runs_are_no_record)
{
	static const uint64_t links[] = { BLOCK_RECORD, 0x10000 + BLOCK_RECORD };
	struct kept *kept = store_new("a", 100);
	uint64_t at = vault_bytes(vault) + LEDGER_UNIT;

	for (size_t i = 0; i < COUNT_OF(links); i++)
		bytes_put64(
			ledger_at(vault->ledger, at + 4096 * (i + 1), sizeof(uint64_t)), links[i]);
	crash();
	ck_assert_uint_eq(vault_broken(vault), 0);
	check_stored("a", kept);
	rise();
	forget(kept);
}
END_TEST

START_TEST(records_from_the_future_are_not_believed)
{
	struct header *header;

	forget(store_new("a", 100));
	forget(store_new("b", 100));
	/* As if an older state of the keys had come back with a newer ledger. */
	atomic_store(&coffer_notes(&rig.coffer)->number, 0);
	crash();
	ck_assert_uint_eq(vault_count(vault), 1);
	ck_assert_uint_eq(vault_broken(vault), 1);
	ck_assert_int_eq(find_status("a"), 0);
	header = record_header(vault, offset_of("a"));
	ck_assert_uint_eq(get_number(header->sequence), 1);
	rise();
}
END_TEST

START_TEST(after_a_purge_nothing_comes_back)
{
	struct kept *kept = store_new("a", 100000);
	struct kept *fresh;

	vault_purge(vault);
	fresh = store_new("b", 100);
	crash();
	ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	check_stored("b", fresh);
	ck_assert_uint_eq(vault_broken(vault), 0);
	rise();
	forget(kept);
	forget(fresh);
}
END_TEST

/* The new master is there, and nothing is wiped yet. */
START_TEST(a_purge_that_was_interrupted_is_finished)
{
	struct kept *kept = store_new("a", 100000);

	atomic_store(&coffer_notes(&rig.coffer)->purging, 1);
	coffer_replace(&rig.coffer, COFFER_VAULT);
	crash();
	ck_assert_uint_eq(vault_count(vault), 0);
	ck_assert_uint_eq(vault_broken(vault), 0);
	ck_assert(!is_value_anywhere(kept));
	ck_assert_uint_eq(atomic_load(&coffer_notes(&past.remains->coffer)->purging), 0);
	rise();
	/* Without the word of the purge it is a loss that is told. */
	atomic_store(&coffer_notes(&rig.coffer)->purging, 0);
	crash();
	ck_assert_uint_eq(vault_broken(vault), 1);
	rise();
	forget(kept);
}
END_TEST

START_TEST(another_format_is_refused_and_left_alone)
{
	struct remains *remains = remains_of_now();
	struct vault *none = NULL;
	uint8_t format[8] = { 99 };
	uint8_t seen[sizeof(format)];

	ck_assert_int_eq(pwrite(remains->fd, format, sizeof(format), 8), sizeof(format));
	ck_assert_int_eq(adopt_remains(remains, &none), -EBADMSG);
	ck_assert_ptr_null(none);
	ck_assert_int_eq(pread(remains->fd, seen, sizeof(seen), 8), sizeof(seen));
	ck_assert_mem_eq(seen, format, sizeof(seen));
	forget_remains(remains);
}
END_TEST

START_TEST(without_memory_nothing_is_adopted_and_nothing_lost)
{
	struct kept *kept = store_new("a", 100000);
	struct kept *streamed = draw(3 * ENCLAVE_CHUNK_PLAIN);
	struct kept *once = draw(10);
	struct kept *older = store_new("twice", 20);
	struct kept *later = leave_twin("twice", 30, 0);
	struct remains *remains;
	struct vault *before = vault;
	struct vault *adopted = NULL;
	int failed = 0;
	int left;
	int r;

	/* Each allocation alone fails, or all from one on. */
	ration_fails_once = _i == 0;
	store_for("once", once, &(struct lifetime){ .reads = 1 });
	ck_assert_int_eq(record_use(vault, find("once")), 0);
	store_for("ttl", once, &(struct lifetime){ .ttl_ms = 50000, .pid = 5 });
	write_in(begin_stream(streamed), streamed, 0, 3);
	remains = remains_of_now();
	for (int i = 0;; i++) {
		ration = i;
		r = adopt_remains(remains, &adopted);
		left = ration;
		ration = -1;
		if (r == 0)
			break;
		ck_assert_int_eq(r, -ENOMEM);
		failed++;
	}
	/* Room for a lock is looked for once more when it is needed. */
	ck_assert(left >= 0 || adopted->lock_rooms[0] == 0 || adopted->lock_rooms[1] == 0);
	ck_assert_int_gt(failed, 10);
	vault = adopted;
	check_stored("a", kept);
	check_stored("ttl", once);
	check_stored("twice", later);
	ck_assert(!is_value_anywhere(older));
	check_read(stream_there(), streamed, 0);
	ck_assert_int_eq(find_status("once"), STATUS_GONE);
	ck_assert_uint_eq(vault_broken(vault), 0);
	vault_free(vault);
	vault = before;
	forget_remains(remains);
	forget(kept);
	forget(streamed);
	forget(once);
	forget(older);
	forget(later);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("adopt");

	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, set_up_in_file, tear_down_in_file);
	tcase_add_test(claims, every_value_is_there);
	tcase_add_test(claims, the_outside_of_a_secret_is_what_it_was);
	tcase_add_test(claims, a_record_with_a_flag_that_is_not_known_is_lost);
	tcase_add_test(claims, the_last_version_counts_and_what_was_removed_is_gone);
	tcase_add_loop_test(claims, of_two_records_of_a_name_the_later_one_counts, 0, 2);
	tcase_add_test(claims, of_many_records_of_a_name_one_counts);
	tcase_add_test(claims, a_value_under_way_is_wiped);
	tcase_add_test(claims, lives_go_on_where_they_were);
	tcase_add_test(claims, the_oldest_of_the_consumed_names_still_gives_way);
	tcase_add_test(claims, one_consumed_name_too_many_gives_way_at_adoption);
	tcase_add_test(claims, what_hangs_on_a_process_does_so_again_or_ends);
	tcase_add_loop_test(claims, a_stream_goes_on, 0, 5);
	tcase_add_test(claims, a_writer_that_does_not_come_back_leaves_its_stream_incomplete);
	tcase_add_test(claims, a_ledger_with_another_byte_is_never_served_from_wrongly);
	tcase_add_test(claims, a_record_in_a_value_is_no_record);
	tcase_add_test(claims, the_links_of_free_runs_are_no_record);
	tcase_add_test(claims, records_from_the_future_are_not_believed);
	tcase_add_test(claims, after_a_purge_nothing_comes_back);
	tcase_add_test(claims, a_purge_that_was_interrupted_is_finished);
	tcase_add_test(claims, another_format_is_refused_and_left_alone);
	tcase_add_loop_test(claims, without_memory_nothing_is_adopted_and_nothing_lost, 0, 2);
	return claims_run(claims, "a vault that is adopted");
}
