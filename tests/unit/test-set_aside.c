/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_restore.h"
#include "tests/unit/crash.h"

/*
 * A ledger with blocks of every kind, of which one bit after the other is another one. Whatever bit
 * it is, the next process adopts the rest; what is missing is counted as what it was, and what is
 * served is right.
 */

/* Of bulk ciphertext one bit in so many bytes is enough: no tag of ours is over it. */
#define BULK_STEP 4099

/* -- what there is ------------------------------------------------------------------------- */

/* A version that is to be served. */
struct expected {
	const char *name;
	uint64_t version; /* that is asked for; 0: the current one */
	struct kept *kept;
	struct kept *before; /* what is under the name if a restore is lost; may be NULL */
};

static struct expected expected[24];
static size_t expected_count;

static void expect_version(
	const char *name, uint64_t version, struct kept *kept, struct kept *before)
{
	ck_assert_uint_lt(expected_count, COUNT_OF(expected));
	expected[expected_count++] = (struct expected){
		.name = name, .version = version, .kept = kept, .before = before
	};
}

static uint8_t numbers[16][MESSAGE_NUMBER_SIZE];
static const uint8_t digest[VAULT_DIGEST_SIZE] = { 3 };
static unsigned promised;
static unsigned consumed;
static const int writer;

static void promise(void)
{
	numbers[promised][0] = (uint8_t)(promised + 1);
	vault_promise(vault, 1000, numbers[promised], digest);
}

static void promise_kept(void)
{
	promised++;
	ck_assert_uint_ne(vault_promise_end(vault, true), 0);
}

/* What is put with a promise, so that there is an answer. */
static struct kept *put_new(struct vault_put put, size_t size)
{
	struct kept *kept = draw(size);

	put.owner = 1000;
	put.key = kept->key;
	promise();
	ck_assert_int_eq(try_put(&put, kept), 0);
	promise_kept();
	return kept;
}

static struct kept *put_for(const char *name, const struct lifetime *lifetime)
{
	struct kept *kept = draw(40);
	struct vault_put put = put_of(name, kept);

	put.lifetime = *lifetime;
	put.process_started = 77;
	ck_assert_int_eq(try_put(&put, kept), 0);
	return kept;
}

static void make_lifetimes(void)
{
	static const char *const names[] = { "ttl", "idle", "reads", "process" };
	static const struct lifetime lifetimes[] = { { .ttl_ms = 5000000 }, { .idle_ms = 5000000 },
		{ .reads = 3 }, { .pid = 5 } };

	for (size_t i = 0; i < COUNT_OF(names); i++)
		expect_version(names[i], 0, put_for(names[i], &lifetimes[i]), NULL);
	ck_assert_int_eq(record_use(vault, find("reads")), 0);
	forget(put_for("session", &(struct lifetime){ .session = true }));
	forget(put_for("once", &(struct lifetime){ .reads = 1 }));
	ck_assert_int_eq(record_use(vault, find("once")), 0);
	consumed++;
}

static void make_tagged(void)
{
	struct tag tags[] = { { span_text("env"), span_text("production") },
		{ span_text("owner"), span_text("") } };

	expect_version("tagged", 0,
		put_new((struct vault_put){ .name = span_text("tagged"),
				.tags = { .tag = tags, .count = 2 },
				.frozen = true },
			100),
		NULL);
}

static void make_former(void)
{
	struct kept *first = store_new("rotated", 30);

	expect_version("rotated", 0,
		put_new((struct vault_put){ .name = span_text("rotated"),
				.rotation = { .asked = true, .grace_ms = 5000000 } },
			50),
		NULL);
	expect_version("rotated", 1, first, NULL);
}

static void make_moved(void)
{
	struct vault_move move = {
		.name = span_text("from"), .to = span_text("to"), .owner = 1000
	};
	struct kept *kept = store_new("from", 30);
	uint64_t version;

	ck_assert_int_eq(vault_move(vault, &move, &version), 0);
	expect_version("to", 0, kept, NULL);
}

/* A restore that is committed, and of which nothing is published yet. */
static void make_staged(void)
{
	static const char *const names[] = { "staged", "instead" };
	static const struct batch_times times = { .version = 3 };
	struct kept *before = store_new("instead", 20);
	struct batch *batch = NULL;
	struct span name;
	int r;

	ck_assert_int_eq(batch_new(vault, &batch), 0);
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct kept *kept = draw(60);
		struct vault_put put = put_of(names[i], kept);
		struct value *value = new_value(kept);

		ck_assert_int_eq(batch_add(vault, batch, &value, &put, &times), 0);
		kept->version = times.version;
		expect_version(names[i], 0, kept, i == 1 ? before : NULL);
	}
	while ((r = batch_check(vault, batch, NULL, &name)) == 0)
		;
	ck_assert_int_eq(r, 1);
	promise();
	ck_assert_int_eq(batch_commit(vault, batch), 0);
	promise_kept();
}

/* -- streams ------------------------------------------------------------------------------- */

/* What was written into a stream, a segment each; the last one of "open" is not ended. */
struct flow {
	const char *name;
	struct kept *kept[2];
	uint64_t written[2]; /* chunks */
	uint64_t read;       /* of the first segment, which is not held any more */
};

static struct flow flows[3];
static size_t flow_count;

static void write_segment_of(struct stream *stream, struct flow *flow, size_t i)
{
	const struct kept *kept = flow->kept[i];

	promise();
	ck_assert_int_eq(stream_begin(stream, numbers[promised], kept->key, &writer), 0);
	for (uint64_t at = 0; at < flow->written[i]; at++)
		ck_assert_int_eq(stream_append(stream, chunk_of(kept, at), at + 1 == kept->chunks,
					 kept->key),
			0);
	if (flow->written[i] == kept->chunks)
		promise_kept();
	else
		(void)vault_promise_end(vault, false);
}

static void make_flow(const struct flow *flow)
{
	struct stream *stream = NULL;
	struct flow *made = &flows[flow_count++];

	*made = *flow;
	ck_assert_int_eq(stream_make(vault, span_text(flow->name), 1000, &stream), 0);
	for (size_t i = 0; i < 2 && made->kept[i]; i++)
		write_segment_of(stream, made, i);
	stream_acknowledge(stream,
		&(struct stream_place){ .stream = stream->id, .segment = 1, .next = made->read });
}

static void make_streams(void)
{
	make_flow(&(struct flow){
		.name = "two", .kept = { draw(70), draw(80) }, .written = { 1, 1 } });
}

/* Chunks are whole ones here: only the last may be short. */
static void make_large_streams(void)
{
	make_flow(&(struct flow){
		.name = "open", .kept = { draw(3 * ENCLAVE_CHUNK_PLAIN) }, .written = { 2 } });
	make_flow(&(struct flow){ .name = "read",
		.kept = { draw(3 * ENCLAVE_CHUNK_PLAIN) },
		.written = { 1 },
		.read = 1 });
}

/* -- what is served ------------------------------------------------------------------------ */

enum served { RIGHT, MISSING, UNREADABLE };

static enum served opened(
	const struct kept *kept, uint64_t i, struct span chunk, const uint8_t *key)
{
	uint8_t plain[ENCLAVE_CHUNK_PLAIN];

	if (enclave_open_chunk(plain, chunk.data, chunk.size, i, i + 1 == kept->chunks, key) != 0)
		return UNREADABLE;
	ck_assert_mem_eq(
		plain, kept->plain + i * ENCLAVE_CHUNK_PLAIN, chunk.size - ENCLAVE_TAG_SIZE);
	return RIGHT;
}

/* Either all of it is right, or its reader is told that it does not open. */
static enum served read_record(const struct record *record, const struct kept *kept)
{
	struct tag tags[MESSAGE_TAGS_MAX];
	uint8_t key[ENCLAVE_KEY_SIZE];
	struct info info;
	enum served served = RIGHT;

	record_info(record, &info, tags);
	ck_assert_uint_eq(info.version, kept->version);
	ck_assert_uint_eq(info.size, kept->size);
	ck_assert_int_eq(record_key(vault, record, key), 0);
	ck_assert_mem_eq(key, kept->key, sizeof(key));
	for (uint64_t i = 0; i < kept->chunks && served == RIGHT; i++)
		served = opened(kept, i, record_chunk(vault, record, i), key);
	return served;
}

static enum served read_expected(const struct expected *at)
{
	struct record *record = NULL;
	int r = vault_find_version(vault, span_text(at->name), at->version, &record);
	struct tag tags[MESSAGE_TAGS_MAX];
	struct info info;

	if (r != 0) {
		ck_assert(r == STATUS_NOT_FOUND || r == STATUS_INTEGRITY);
		return MISSING;
	}
	record_info(record, &info, tags);
	if (!at->before || info.version == at->kept->version)
		return read_record(record, at->kept);
	ck_assert_int_eq(read_record(record, at->before), RIGHT);
	return MISSING;
}

/* Where a segment begins and ends: nothing is left out in between without a word. */
static enum served read_segment(struct stream *stream, const struct flow *flow, size_t i)
{
	struct stream_place place = { .stream = stream->id, .segment = i + 1 };
	uint8_t key[ENCLAVE_KEY_SIZE];
	struct stream_part part;
	enum served served = RIGHT;

	place.next = i == 0 ? flow->read : 0;
	while (served == RIGHT && place.next < flow->written[i]) {
		if (stream_next(stream, &place, &part) != 0 || part.segment != i + 1 ||
			part.chunks.first != place.next)
			return MISSING;
		if (stream_read_key(stream, part.segment, key) != 0)
			return MISSING;
		ck_assert_mem_eq(key, flow->kept[i]->key, sizeof(key));
		for (uint32_t at = 0; at < part.chunks.count && served == RIGHT; at++)
			served = opened(flow->kept[i], place.next + at, part.pieces[at], key);
		place.next += part.chunks.count;
		if (part.chunks.final != (place.next == flow->kept[i]->chunks))
			return MISSING;
	}
	return served;
}

static enum served read_flow(const struct flow *flow)
{
	struct stream *stream = NULL;
	enum served served = RIGHT;

	if (stream_find(vault, span_text(flow->name), &stream) != 0)
		return MISSING;
	for (size_t i = 0; i < 2 && flow->kept[i] && served == RIGHT; i++)
		served = read_segment(stream, flow, i);
	/* An open segment goes on where it was. */
	if (served == RIGHT && stream->last && !stream->last->ended &&
		stream_due(stream) != flow->written[0])
		return MISSING;
	return served;
}

static int see_answer(void *context, const struct vault_answer *answer)
{
	unsigned i = answer->number[0] - 1u;

	ck_assert_uint_lt(i, promised);
	ck_assert_mem_eq(answer->number, numbers[i], sizeof(numbers[i]));
	ck_assert_mem_eq(answer->digest, digest, sizeof(digest));
	ck_assert_uint_eq(answer->uid, 1000);
	++*(unsigned *)context;
	return 0;
}

static unsigned issued;

static void issue_token(void)
{
	static const uint8_t bytes[VAULT_TOKEN_SIZE] = { 9 };
	struct vault_token token = { .left = 3,
		.flags = VAULT_TOKEN_COUNTED,
		.end_ms = 5000000,
		.text = span_text("what whoever shows it may do") };

	ck_assert_int_eq(vault_token_hash(vault, bytes, token.hash), 0);
	ck_assert_int_eq(vault_token_add(vault, &token), 0);
	token.text = vault_token_text(vault, token.place);
	token.left = 2;
	ck_assert_int_eq(vault_token_change(vault, &token), 0);
	issued++;
}

/* One that is there is what was written. */
static int see_token(void *context, const struct vault_token *token)
{
	static const uint8_t bytes[VAULT_TOKEN_SIZE] = { 9 };
	uint8_t hash[VAULT_TOKEN_HASH_SIZE];

	ck_assert_int_eq(vault_token_hash(vault, bytes, hash), 0);
	ck_assert_mem_eq(token->hash, hash, sizeof(hash));
	ck_assert_uint_eq(token->left, 2);
	ck_assert_uint_eq(token->flags, VAULT_TOKEN_COUNTED);
	ck_assert_uint_eq(token->end_ms, 5000000);
	ck_assert(span_equal(token->text, span_text("what whoever shows it may do")));
	++*(unsigned *)context;
	return 0;
}

/* What is there of all that there was. */
struct account {
	unsigned missing[LOSS_COUNT];
	unsigned unreadable;
};

static void enter(struct account *account, enum vault_loss loss, enum served served)
{
	account->missing[loss] += served == MISSING;
	account->unreadable += served == UNREADABLE;
}

static struct account look_at_all(void)
{
	struct account account = { 0 };
	unsigned answers = 0;
	unsigned tokens = 0;

	for (size_t i = 0; i < expected_count; i++)
		enter(&account, expected[i].version > 0 ? LOSS_FORMER : LOSS_SECRET,
			read_expected(&expected[i]));
	for (size_t i = 0; i < flow_count; i++)
		enter(&account, LOSS_STREAM, read_flow(&flows[i]));
	ck_assert_int_eq(vault_answers(vault, see_answer, &answers), 0);
	account.missing[LOSS_ANSWER] = promised - answers;
	ck_assert_int_eq(vault_tokens(vault, see_token, &tokens), 0);
	account.missing[LOSS_TOKEN] = issued - tokens;
	return account;
}

/* -- what is another ----------------------------------------------------------------------- */

/* Bytes of a block that a tag is over, and what it is counted as. */
static size_t covered(uint64_t offset, enum vault_loss *lossp)
{
	*lossp = LOSS_SECRET;
	switch (block_kind(ledger_at(vault->ledger, offset, sizeof(struct block)))) {
	case BLOCK_RECORD:
	case BLOCK_STAGED:
		*lossp = loss_of(vault, offset);
		return record_end(record_header(vault, offset));
	case BLOCK_SEGMENT:
		*lossp = LOSS_STREAM;
		return sizeof(struct segment_header);
	case BLOCK_CHUNK:
		*lossp = LOSS_STREAM;
		return sizeof(struct chunk_header) + ENCLAVE_TAG_SIZE;
	case BLOCK_ANSWER:
		*lossp = LOSS_ANSWER;
		return sizeof(struct answer_block);
	case BLOCK_TOKEN:
		*lossp = LOSS_TOKEN;
		return token_size(token_at(vault, offset));
	case BLOCK_TABLE:
		return table_size(2);
	case BLOCK_COMMIT:
		return COMMIT_SIZE + 2 * sizeof(struct listed);
	default:
		return 0;
	}
}

static bool is_flags(uint64_t offset, size_t at)
{
	enum block_kind kind = block_kind(ledger_at(vault->ledger, offset, sizeof(struct block)));

	return (kind == BLOCK_RECORD || kind == BLOCK_STAGED) &&
		at == offsetof(struct header, flags);
}

static void adopt_changed(uint64_t at, unsigned bit, struct vault **before, struct remains **leftp)
{
	struct remains *remains = remains_of_now();
	uint8_t byte;

	ck_assert_int_eq(pread(remains->fd, &byte, 1, (off_t)at), 1);
	byte ^= (uint8_t)(1u << bit);
	ck_assert_int_eq(pwrite(remains->fd, &byte, 1, (off_t)at), 1);
	*before = vault;
	*leftp = remains;
	vault = NULL;
	ck_assert_int_eq(adopt_remains(remains, &vault), 0);
}

/* What was consumed, has ended or has another name does not come back. */
static void check_gone(void)
{
	int r = find_status("once");

	ck_assert(r == STATUS_GONE || r == STATUS_NOT_FOUND);
	if (r == STATUS_NOT_FOUND && consumed > 0)
		ck_assert_uint_gt(vault_broken(vault), 0);
	ck_assert_int_eq(find_status("session"), STATUS_NOT_FOUND);
	ck_assert_int_eq(find_status("from"), STATUS_NOT_FOUND);
}

/*
 * A bit under a tag, of a block that counts as `loss` as long as it says so. Returns how many more
 * blocks are told than the one: what lies in it may look like another.
 */
static uint64_t change_covered(uint64_t offset, size_t at, unsigned bit, enum vault_loss loss)
{
	bool untold = is_flags(offset, at);
	struct remains *remains;
	struct vault *before;
	struct account account;
	unsigned missing = 0;
	uint64_t more;

	adopt_changed(offset + at, bit, &before, &remains);
	account = look_at_all();
	check_gone();
	for (unsigned i = 0; i < LOSS_COUNT; i++)
		missing += account.missing[i];
	if (vault_broken(vault) == 0 || (!untold && vault_lost(vault, loss) == 0))
		ck_abort_msg("bit %u of byte %zu of the block at %llu: %u are missing, and nobody "
			     "is told",
			bit, at, (unsigned long long)offset, missing);
	ck_assert_uint_eq(account.unreadable, 0);
	more = vault_broken(vault) - 1;
	vault_free(vault);
	forget_remains(remains);
	vault = before;
	return more;
}

/* A bit that is under no tag of ours: at most one value does not open. */
static void change_other(uint64_t at, unsigned bit, unsigned *unreadable)
{
	struct remains *remains;
	struct vault *before;
	struct account account;

	adopt_changed(at, bit, &before, &remains);
	account = look_at_all();
	check_gone();
	ck_assert_uint_eq(vault_broken(vault), 0);
	for (unsigned i = 0; i < LOSS_COUNT; i++)
		ck_assert_uint_eq(account.missing[i], 0);
	ck_assert_uint_le(account.unreadable, 1);
	*unreadable += account.unreadable;
	vault_free(vault);
	forget_remains(remains);
	vault = before;
}

/* Bit `bit` of every byte under a tag, and of the rest here and there. */
static void change_each(unsigned bit)
{
	unsigned seen[LOSS_COUNT] = { 0 };
	unsigned unreadable = 0;
	unsigned others = 0;
	uint64_t changes = 0;
	uint64_t more = 0;

	for (uint64_t at = ledger_next(vault->ledger, 0); at != 0;
		at = ledger_next(vault->ledger, at)) {
		size_t size = ledger_block(vault->ledger, at);
		enum vault_loss loss;
		size_t under = covered(at, &loss);

		seen[loss] += under > 0;
		for (size_t i = 0; i < under; i++)
			more += change_covered(at, i, bit, loss);
		changes += under;
		/* The ends of small blocks are looked at bit by bit. */
		for (size_t i = under + bit; i < size; i += size < 256 ? 8 : BULK_STEP, others++)
			change_other(at + i, bit, &unreadable);
	}
	for (unsigned loss = 0; loss < LOSS_COUNT; loss++)
		if (seen[loss] == 0 && loss != LOSS_FORMER && loss != LOSS_CONSUMED)
			ck_abort_msg("there is nothing of kind %u", loss);
	ck_assert_uint_lt(more, changes / 4);
	/* Most of it is ciphertext. */
	ck_assert_uint_gt(unreadable, others / 3);
}

static void check_whole(void)
{
	struct account account;
	static const struct account whole;

	account = look_at_all();
	ck_assert_mem_eq(&account, &whole, sizeof(account));
}

static void forget_all(void)
{
	for (size_t i = 0; i < expected_count; i++) {
		forget(expected[i].kept);
		forget(expected[i].before);
	}
	for (size_t i = 0; i < flow_count; i++)
		for (size_t j = 0; j < 2; j++)
			forget(flows[i].kept[j]);
}

START_TEST(a_bit_of_any_small_block)
{
	make_tagged();
	make_lifetimes();
	make_former();
	make_moved();
	make_streams();
	make_staged();
	issue_token();
	crash();
	check_whole();
	ck_assert_uint_eq(vault_broken(vault), 0);
	rise();
	change_each((unsigned)_i);
	forget_all();
}
END_TEST

START_TEST(a_bit_of_what_large_values_lie_in)
{
	expect_version("several", 0,
		put_new((struct vault_put){ .name = span_text("several") }, 40000), NULL);
	expect_version("table", 0,
		put_new((struct vault_put){ .name = span_text("table") }, EXTENT_SIZE), NULL);
	make_large_streams();
	issue_token();
	crash();
	check_whole();
	ck_assert_uint_eq(vault_broken(vault), 0);
	rise();
	change_each((unsigned)_i);
	forget_all();
}
END_TEST

/* What is left after a purge is nobody's, and no loss. */
START_TEST(answers_and_tokens_from_before_a_purge_are_no_loss)
{
	forget(put_new((struct vault_put){ .name = span_text("a") }, 100));
	issue_token();
	vault_purge(vault);
	forget(put_new((struct vault_put){ .name = span_text("b") }, 100));
	crash();
	ck_assert_uint_eq(vault_broken(vault), 0);
	ck_assert_uint_eq(vault->answers.count, 1);
	ck_assert_uint_eq(vault->tokens.count, 0);
	rise();
}
END_TEST

/* In the midst of a page: of one that was never written to nobody looks at the end. */
#define FREE_RUN UINT64_C(0x2800)

/* The links of a free run are numbers, and zeros behind them. */
START_TEST(links_of_free_runs_are_no_block)
{
	static const enum block_kind kinds[] = { BLOCK_RECORD, BLOCK_SEGMENT, BLOCK_CHUNK,
		BLOCK_ANSWER, BLOCK_COMMIT, BLOCK_TOKEN };
	struct ledger *ledger = vault->ledger;
	struct stream *stream = NULL;
	struct kept *kept;
	uint64_t unit;
	uint64_t *links;

	/* Its number is what a link into the second MiB has in its upper half. */
	ck_assert_int_eq(stream_make(vault, span_text("s"), 1000, &stream), 0);
	ck_assert_uint_eq(stream->id, 1);
	kept = store_new("a", 100);
	/* A run that leads to one whose number looks like a kind; both say so. */
	unit = 0x10000 + kinds[_i];
	while (ledger_mapped(ledger) <= (unit + 1) * LEDGER_UNIT) {
		uint64_t offset;

		ck_assert_int_eq(ledger_take(ledger, LEDGER_BLOCK_MAX / 16, &offset), 0);
	}
	links = ledger_at(ledger, FREE_RUN, 2 * sizeof(*links));
	links[0] = unit;
	links[1] = 7;
	links = ledger_at(ledger, unit * LEDGER_UNIT, 2 * sizeof(*links));
	links[1] = FREE_RUN / LEDGER_UNIT;
	crash();
	ck_assert_uint_eq(vault_broken(vault), 0);
	check_stored("a", kept);
	rise();
	forget(kept);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("set-aside");

	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, set_up_in_file, tear_down_in_file);
	tcase_add_loop_test(claims, a_bit_of_any_small_block, 0, 8);
	tcase_add_loop_test(claims, a_bit_of_what_large_values_lie_in, 0, 8);
	tcase_add_test(claims, answers_and_tokens_from_before_a_purge_are_no_loss);
	tcase_add_loop_test(claims, links_of_free_runs_are_no_block, 0, 6);
	return claims_run(claims, "what is set aside when a vault is adopted");
}
