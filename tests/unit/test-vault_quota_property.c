/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/quota_rig.h"

/*
 * Anything that may be done to a vault, in any order: after each step the tally is what a walk
 * through the whole ledger finds, and what whoever adopts the ledger would have.
 */
#define STEPS 4000
#define ROUNDS 12 /* ways through them */
#define NAMES 16
#define VALUES 4
#define PINS 3

static uint64_t clock_ms;
static const int writer, reader;
static struct value *values[VALUES];
static struct kept *kepts[VALUES];
static struct batch *batch;
static bool committed;
static struct record *pins[PINS];
static struct reader readers[PINS];
static bool reads[PINS]; /* it is pinned for a reader */
static struct holder *session;
static bool limits; /* everybody is held to quotas */
static uint64_t refused;
static uint64_t made;

static uint64_t told_time(void)
{
	return clock_ms;
}

static void set_up_property(void)
{
	set_up_in_file();
	clock_ms = boot_ms();
	vault->now = told_time;
	session = holder_new(NULL, NULL);
	ck_assert_ptr_nonnull(session);
}

static unsigned draw_below(unsigned most)
{
	return randombytes_uniform(most);
}

static uint32_t some_uid(void)
{
	return UID_FIRST + draw_below(UIDS - 1);
}

/* Of some length; secrets and streams share them. */
static const char *some_name(void)
{
	static char names[NAMES][40];
	unsigned i = draw_below(NAMES);

	snprintf(names[i], sizeof(names[i]), "n%u%.*s", i, (int)(i * 2),
		"---------------------------------");
	return names[i];
}

static size_t some_size(void)
{
	switch (draw_below(40)) {
	case 0:
		return 17 * ENCLAVE_CHUNK_PLAIN + draw_below(1000);
	case 1:
	case 2:
		return 1 + draw_below(3 * ENCLAVE_CHUNK_PLAIN);
	default:
		return 1 + draw_below(600);
	}
}

/* -- whether what was answered is right ---------------------------------------------------- */

/* What is on its way may have as much beside as what it is to take the place of. */
static struct counted count_stored(void)
{
	struct counted counted = count_all();

	for (const struct value *value = vault->values; value; value = value->next)
		if (value->owned && !value->purged)
			counted.of[value->owner - UID_FIRST].bytes -= value->size;
	return counted;
}

/*
 * Of what was asked for with quotas in force: who was let in has no more than there may be, or no
 * more than before; who was refused would have had more.
 */
static struct vault_refusal judge_answer(int r, const struct counted *before)
{
	struct vault_refusal refusal = vault_refusal(vault);
	struct counted after = count_stored();

	for (uint32_t i = 0; limits && i < UIDS - 1; i++) {
		ck_assert(after.of[i].bytes <= vault->quotas.bytes ||
			after.of[i].bytes <= before->of[i].bytes);
		ck_assert(after.of[i].names <= vault->quotas.names ||
			after.of[i].names <= before->of[i].names);
	}
	ck_assert(limits || refusal.quota == QUOTA_NONE);
	if (refusal.quota == QUOTA_NONE)
		return refusal;
	ck_assert_int_eq(r, STATUS_LIMIT);
	ck_assert_uint_gt(refusal.more, 0);
	ck_assert_uint_gt(refusal.used + refusal.more, refusal.most);
	refused++;
	return refusal;
}

/* -- what may be done ---------------------------------------------------------------------- */

static void fill_put(struct vault_put *put)
{
	static struct tag tags[2];

	put->owner = some_uid();
	put->limited = limits;
	put->frozen = draw_below(20) == 0;
	if (draw_below(4) == 0) {
		put->rotation = (struct rotation){ .asked = true, .grace_ms = draw_below(3) * 500 };
		return;
	}
	tags[0] = (struct tag){ span_text("colour"), span_text("blue") };
	tags[1] = (struct tag){ span_text("k"), span_text("") };
	put->tags = (struct tags){ .tag = tags, .count = draw_below(3) };
	switch (draw_below(8)) {
	case 0:
		put->lifetime.ttl_ms = 1 + draw_below(2000);
		break;
	case 1:
		put->lifetime.reads = 1 + draw_below(2);
		break;
	case 2:
		put->lifetime.session = true;
		put->session = session;
		break;
	case 3:
		put->lifetime.idle_ms = 1 + draw_below(4000);
		break;
	}
}

static int publish_value(struct value **valuep, const struct kept *kept)
{
	struct vault_put put = put_of(some_name(), kept);
	uint64_t version;

	fill_put(&put);
	return vault_put(vault, valuep, &put, &version);
}

static int do_put(void)
{
	struct kept *kept = draw(some_size());
	struct value *value = new_value(kept);
	int r = publish_value(&value, kept);

	value_free(vault, value);
	forget(kept);
	return r;
}

static int do_remove(void)
{
	return remove_name(some_name());
}

static int do_freeze(void)
{
	static const struct conditions none;
	uint64_t version;

	return vault_freeze(vault, span_text(some_name()), draw_below(4) == 0, &none, &version);
}

static int do_touch(void)
{
	static const struct conditions none;
	uint64_t version;

	return vault_touch(vault, span_text(some_name()), 1 + draw_below(5000), &none, &version);
}

static int do_move(void)
{
	struct vault_move move = { .name = span_text(some_name()),
		.to = span_text(some_name()),
		.owner = some_uid(),
		.limited = limits };
	uint64_t version;

	return vault_move(vault, &move, &version);
}

static int do_use(void)
{
	struct record *record;
	int r = vault_find_version(vault, span_text(some_name()), draw_below(4), &record);

	if (r != 0 || record_is_stream(record))
		return r;
	record_pin(record);
	r = record_use(vault, record);
	record_unpin(vault, record);
	return r;
}

static void unpin(unsigned i)
{
	if (pins[i] && reads[i])
		record_unpin_for(vault, pins[i], &readers[i]);
	else if (pins[i])
		record_unpin(vault, pins[i]);
	pins[i] = NULL;
}

/* Who reads what another one replaces has more than there may be without having asked for it. */
static int do_pin(void)
{
	unsigned i = draw_below(PINS);
	struct record *record;

	if (pins[i]) {
		unpin(i);
	} else if (vault_find(vault, span_text(some_name()), &record) == 0) {
		reads[i] = !limits && draw_below(2) == 0;
		readers[i] = (struct reader){ .uid = some_uid() };
		pins[i] = reads[i] ? record_pin_for(record, &readers[i]) : record_pin(record);
	}
	return 0;
}

static int do_sweep(void)
{
	struct record *record;

	if (draw_below(10) != 0 ||
		vault_next(vault, span_text("n"), span_text(some_name()), &record) != 0)
		return 0;
	vault_purge_record(vault, record);
	return 0;
}

static int do_wait(void)
{
	clock_ms += draw_below(300);
	while (vault_expire(vault))
		;
	return 0;
}

static int do_end_session(void)
{
	if (draw_below(10) != 0)
		return 0;
	vault_end_holder(vault, session);
	session = holder_new(NULL, NULL);
	while (vault_expire(vault))
		;
	return 0;
}

static int do_forget_consumed(void)
{
	vault_forget_consumed(vault, some_uid());
	return 0;
}

static int do_compact(void)
{
	for (unsigned i = 0; i < 8; i++)
		(void)vault_compact(vault);
	return 0;
}

/* Of many values one is purged in a thousand steps. */
static int do_purge(void)
{
	if (draw_below(60) != 0)
		return 0;
	vault_purge(vault);
	for (uint32_t i = 0; i < UIDS; i++)
		ck_assert_uint_eq(vault_usage(vault, UID_FIRST + i).names, 0);
	return 0;
}

static void drop_value(unsigned i)
{
	value_free(vault, values[i]);
	forget(kepts[i]);
	values[i] = NULL;
	kepts[i] = NULL;
}

/* A value comes chunk by chunk, and is stored or given up, or ends in a purge. */
static int do_value(void)
{
	unsigned i = draw_below(VALUES);
	uint64_t at;
	int r;

	if (!values[i]) {
		kepts[i] = draw(1 + draw_below(4 * ENCLAVE_CHUNK_PLAIN));
		ck_assert_int_eq(value_new(vault, &values[i]), 0);
		return value_count_for(vault, values[i], some_uid());
	}
	at = value_chunks(values[i]);
	if (at < kepts[i]->chunks && !value_purged(values[i])) {
		struct value_plan plan = { .name = span_text(some_name()),
			.size = value_size(values[i]) + chunk_size(kepts[i], at) - ENCLAVE_TAG_SIZE,
			.stored = draw_below(4) != 0 };

		r = limits ? value_may_have(vault, values[i], &plan) : 0;
		return r != 0 ? r : append_chunks(values[i], kepts[i], at, at + 1);
	}
	r = draw_below(3) != 0 ? publish_value(&values[i], kepts[i]) : 0;
	drop_value(i);
	return r;
}

static void end_batch(void)
{
	batch_free(vault, batch);
	batch = NULL;
	committed = false;
}

/* What was committed is published by others; else it is taken back. */
static void leave_batch(void)
{
	batch_leave(batch);
	batch = NULL;
	committed = false;
}

static int add_to_batch(void)
{
	const struct batch_times times = { .version = 1 + draw_below(5) };
	struct kept *kept = draw(some_size());
	struct value *value = new_value(kept);
	struct vault_put put;
	int r;

	do {
		put = put_of(some_name(), kept);
		fill_put(&put);
	} while (put.rotation.asked || put.session);
	r = batch_add(vault, batch, &value, &put, &times);
	value_free(vault, value);
	forget(kept);
	return r;
}

/* What is staged is committed, left to others, or given up. */
static int do_batch(void)
{
	struct span name;
	int r;

	if (!batch) {
		ck_assert_int_eq(batch_new(vault, &batch), 0);
		return 0;
	}
	if (committed) {
		if (draw_below(3) == 0) {
			leave_batch();
		} else if (batch_publish(vault, batch)) {
			end_batch();
		}
		return 0;
	}
	if (draw_below(4) != 0)
		return add_to_batch();
	r = batch_check(vault, batch, NULL, &name);
	if (r == 1 && draw_below(4) != 0)
		committed = batch_commit(vault, batch) == 0;
	else if (r > 1 || draw_below(12) == 0)
		end_batch();
	else if (draw_below(12) == 0)
		leave_batch();
	return 0;
}

static int fill_stream(const char *name)
{
	uint8_t number[MESSAGE_NUMBER_SIZE];
	struct stream *stream = NULL;
	uint32_t uid = some_uid();
	struct kept *kept;
	int r = stream_find(vault, span_text(name), &stream);

	if (r == 0 && stream_is_writer(stream, &writer)) {
		stream_leave(stream, &writer, draw_below(2) == 0);
		r = stream_find(vault, span_text(name), &stream);
	}
	if (r != 0 && r != STATUS_NOT_FOUND)
		return r;
	if (r != 0)
		stream = NULL;
	if (stream && stream_open_segment(stream))
		return STATUS_CONFLICT;
	r = limits ? stream_may_begin(vault, stream, span_text(name), uid) : 0;
	if (r == 0 && !stream)
		r = stream_make(vault, span_text(name), uid, &stream);
	if (r != 0)
		return r;
	kept = draw(some_size());
	randombytes_buf(number, sizeof(number));
	ck_assert_int_eq(stream_begin(stream, number, kept->key, &writer), 0);
	for (uint64_t i = 0; i < kept->chunks && r == 0; i++) {
		r = limits ? stream_may_take(stream, chunk_size(kept, i) - ENCLAVE_TAG_SIZE) : 0;
		if (r == 0 && draw_below(20) != 0)
			r = stream_append(
				stream, chunk_of(kept, i), i + 1 == kept->chunks, kept->key);
	}
	forget(kept);
	return r;
}

/* The first part of it is read and wiped. */
static int drain_stream(const char *name)
{
	struct stream_place place = { 0 };
	struct stream_part part;
	struct stream *stream;
	int r = stream_find(vault, span_text(name), &stream);

	if (r != 0)
		return r;
	r = stream_next(stream, &place, &part);
	if (r != 0 && r != STATUS_GONE)
		return r;
	place = (struct stream_place){ .stream = part.stream,
		.segment = part.segment + (part.chunks.final || r == STATUS_GONE),
		.next = part.chunks.final ? 0 : part.chunks.first + part.chunks.count };
	(void)stream_attend(stream, &reader);
	stream_acknowledge(stream, &place);
	return 0;
}

/* Whether a chunk comes or not, the key of its segment belongs to who draws: writes in one go. */
static int do_stream(void)
{
	return draw_below(2) == 0 ? fill_stream(some_name()) : drain_stream(some_name());
}

/* A record is overwritten, and somebody takes it out. */
static int do_damage(void)
{
	const char *name = some_name();
	uint64_t suspect;
	uint64_t offset = index_find(vault->index, span_text(name), &suspect);

	if (draw_below(20) != 0 || offset == 0 || vault->batches)
		return 0;
	if (record_header(vault, offset)->flags & RECORD_STREAM)
		return 0;
	record_header(vault, offset)->owner[draw_below(4)] ^= (uint8_t)(1 + draw_below(255));
	ck_assert_int_eq(remove_name(name), 0);
	ck_assert(vault->doubtful);
	return 0;
}

/* -- the next process ---------------------------------------------------------------------- */

static void add_unadopted(void *context, uint64_t offset)
{
	const struct header *header = record_header(vault, offset);

	count_for(context, bytes_get32(header->owner), expected_of(header));
}

static void add_of_session(void *context, uint64_t offset)
{
	if (record_well_formed(vault, offset) &&
		record_header(vault, offset)->flags & RECORD_SESSION)
		add_unadopted(context, offset);
}

/* With a secret go the versions that it had before. */
static int add_former_of_session(void *context, uint64_t offset)
{
	uint64_t secret = get_number(record_header(vault, offset)->secret);
	const struct header *current = record_header(vault, find_family(vault, secret)->current);

	if ((record_header(vault, offset)->flags | current->flags) & RECORD_SESSION)
		add_unadopted(context, offset);
	return 0;
}

/* What is under way ends with this process, and so does what hangs on a connection. */
static struct counted ends_with_us(void)
{
	struct counted lost = { 0 };

	for (unsigned i = 0; i < VALUES; i++)
		if (values[i] && !values[i]->purged)
			count_for(&lost, values[i]->owner, quota_of_coming(values[i]->size));
	count_read(&lost);
	for (struct batch *at = vault->batches; at; at = at->next)
		if (at->commit == 0)
			index_each(at->index, add_unadopted, &lost);
	index_each(vault->index, add_of_session, &lost);
	(void)formers_each(vault, add_former_of_session, &lost);
	return lost;
}

static bool has_committed(void)
{
	const struct batch *at = vault->batches;

	while (at && at->commit == 0)
		at = at->next;
	return at != NULL;
}

/*
 * Whoever adopts has what there is but for what ends with us. What was committed and is still to be
 * published takes the place of what is there at once, and a stream in which nothing was written
 * goes: then both counts are of the next one alone.
 */
static int do_crash(void)
{
	struct counted before = count_all();
	struct counted lost = ends_with_us();
	bool exact = !has_committed();

	if (draw_below(8) != 0)
		return 0;
	for (size_t i = 0; i < COUNT_OF(vault->streams->chain); i++)
		for (const struct stream *at = vault->streams->chain[i]; at; at = at->next)
			exact = exact && at->first;
	crash();
	ck_assert(!vault->doubtful);
	check_tally();
	for (uint32_t i = 0; exact && i < UIDS; i++) {
		ck_assert_uint_eq(tally_of(&vault->tally, UID_FIRST + i).names,
			before.of[i].names - lost.of[i].names);
		ck_assert_uint_eq(tally_of(&vault->tally, UID_FIRST + i).bytes,
			before.of[i].bytes - lost.of[i].bytes);
	}
	made += exact;
	rise();
	return 0;
}

static int (*const deeds[])(void) = { do_put, do_put, do_put, do_put, do_put, do_remove, do_freeze,
	do_freeze, do_touch, do_move, do_move, do_use, do_use, do_pin, do_sweep, do_wait,
	do_end_session, do_forget_consumed, do_compact, do_purge, do_value, do_value, do_value,
	do_value, do_batch, do_batch, do_batch, do_stream, do_stream, do_damage, do_crash };

static void tear_down_property(void)
{
	for (unsigned i = 0; i < PINS; i++)
		unpin(i);
	for (unsigned i = 0; i < VALUES; i++)
		drop_value(i);
	if (batch)
		end_batch();
	vault_purge(vault);
	for (uint32_t i = 0; i < UIDS; i++)
		ck_assert_uint_eq(tally_of(&vault->tally, UID_FIRST + i).bytes, 0);
	holder_free(session);
	tear_down_in_file();
}

static bool all_done(const unsigned done[static COUNT_OF(deeds)])
{
	for (size_t i = 0; i < COUNT_OF(deeds); i++)
		if (done[i] == 0)
			return false;
	return made > 0;
}

/* What hardly ever comes about takes longer. */
static void live(void)
{
	unsigned done[COUNT_OF(deeds)] = { 0 };

	for (unsigned step = 0; step < STEPS || (step < 10 * STEPS && !all_done(done)); step++) {
		unsigned i = draw_below(COUNT_OF(deeds));
		struct counted before = count_stored();
		int r = deeds[i]();

		ck_assert_int_ge(r, 0);
		done[i] += r == 0;
		judge_answer(r, &before);
		check_tally();
	}
	ck_assert(all_done(done));
}

START_TEST(the_tally_is_what_the_ledger_says_whatever_is_done)
{
	live();
	ck_assert_uint_eq(refused, 0);
}
END_TEST

START_TEST(nobody_gets_more_than_there_may_be_and_nobody_is_refused_what_may_be)
{
	const struct vault_quotas quotas = { .names = 4, .bytes = 30000, .own = 77 };

	vault_set_quotas(vault, &quotas);
	limits = true;
	live();
	ck_assert_uint_gt(refused, 10);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up_property, tear_down_property);
	tcase_set_timeout(claims, 60);
	tcase_add_loop_test(
		claims, the_tally_is_what_the_ledger_says_whatever_is_done, 0, ROUNDS / 2);
	tcase_add_loop_test(claims,
		nobody_gets_more_than_there_may_be_and_nobody_is_refused_what_may_be, 0,
		ROUNDS / 2);
	return claims_run(claims, "vault_quota_property");
}
