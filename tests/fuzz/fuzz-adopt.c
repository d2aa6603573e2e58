/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/memory/enclave.h"
#include "common/status.h"
#include "daemon/ledger/ledger_inside.h"
#include "daemon/vault/vault_commit.h"
#include "daemon/vault/vault_inside.h"
#include "daemon/vault/vault_restore.h"
#include "daemon/vault/vault_stream_inside.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/rig.h"

/*
 * What root may have made of a ledger before the next process adopts it, and after that. There is
 * one with blocks of every kind, and an earlier state of it. The input is a byte that says what is
 * done afterwards, and then a row of changes, eight bytes each: bytes are overwritten, blocks are
 * wiped, and blocks of either state are put where others are; in the midst of what is done, single
 * bytes are overwritten. Whatever it is: the process goes on, and a value that opens is one that
 * was put.
 */

#define CHANGE_SIZE 8
#define BLOCKS_MAX 256

/* -- the ledger ---------------------------------------------------------------------------- */

static struct rig rig;
static struct vault *vault;
static uint64_t clock_ms = 1000000;

/* What is left of a state: the bytes, and where blocks begin. */
struct image {
	uint8_t *bytes;
	size_t size;
	uint64_t blocks[BLOCKS_MAX];
	size_t sizes[BLOCKS_MAX];
	size_t count;
};

static struct image earlier;
static struct image last;
static uint8_t last_keys[sizeof(rig.keys)];

static uint64_t fuzz_clock(void)
{
	return clock_ms;
}

static const struct conditions none;
static const uint8_t digest[VAULT_DIGEST_SIZE] = { 3 };
static const int someone;

/* Every value is one byte over and over, and has a key of its own. */
static void key_of(uint8_t key[static ENCLAVE_KEY_SIZE], uint8_t fill)
{
	memset(key, fill, ENCLAVE_KEY_SIZE);
}

static size_t seal(uint8_t *out, uint8_t fill, size_t size, uint64_t i)
{
	static uint8_t plain[ENCLAVE_CHUNK_PLAIN];
	uint64_t chunks = chunks_in(size);
	size_t part = i + 1 < chunks ? ENCLAVE_CHUNK_PLAIN : size - i * ENCLAVE_CHUNK_PLAIN;
	uint8_t key[ENCLAVE_KEY_SIZE];

	key_of(key, fill);
	memset(plain, fill, sizeof(plain));
	enclave_seal_chunk(out, plain, part, i, i + 1 == chunks, key);
	return part + ENCLAVE_TAG_SIZE;
}

static struct value *new_value(uint8_t fill, size_t size)
{
	static uint8_t chunk[ENCLAVE_CHUNK_SIZE];
	struct value *value = NULL;

	MUST(value_new(vault, &value) == 0);
	for (uint64_t i = 0; i < chunks_in(size); i++) {
		size_t sealed = seal(chunk, fill, size, i);

		MUST(value_append(vault, value, span_of(chunk, sealed)) == 0);
	}
	return value;
}

static int put(struct vault_put wanted, uint8_t fill, size_t size)
{
	struct value *value = new_value(fill, size);
	uint8_t key[ENCLAVE_KEY_SIZE];
	uint64_t version;
	int r;

	key_of(key, fill);
	wanted.key = key;
	wanted.owner = 1000;
	r = vault_put(vault, &value, &wanted, &version);
	value_free(vault, value);
	return r;
}

static int put_name(const char *name, uint8_t fill, size_t size)
{
	return put((struct vault_put){ .name = span_text(name) }, fill, size);
}

static int put_for(const char *name, uint8_t fill, struct lifetime lifetime)
{
	return put((struct vault_put){ .name = span_text(name), .lifetime = lifetime }, fill, 100);
}

static int rotate(const char *name, uint8_t fill)
{
	return put((struct vault_put){ .name = span_text(name),
			   .rotation = { .asked = true, .grace_ms = 500000 } },
		fill, 200);
}

static void promise(uint8_t number)
{
	static uint8_t numbers[256][MESSAGE_NUMBER_SIZE];

	numbers[number][0] = number;
	vault_promise(vault, 1000, numbers[number], digest);
}

static int use(const char *name)
{
	struct record *record;
	int r = vault_find(vault, span_text(name), &record);

	return r == 0 ? record_use(vault, record) : r;
}

static int stage_and_commit(struct batch *batch, const char *const *names, size_t count)
{
	static const struct batch_times times = { .version = 3 };
	struct span name;
	int r = 0;

	for (size_t i = 0; i < count; i++) {
		struct value *value = new_value((uint8_t)(0x60 + i), 100);
		uint8_t key[ENCLAVE_KEY_SIZE];
		struct vault_put wanted = { .name = span_text(names[i]), .key = key };

		key_of(key, (uint8_t)(0x60 + i));
		MUST(batch_add(vault, batch, &value, &wanted, &times) == 0);
	}
	for (unsigned i = 0; r == 0; i++) {
		MUST(i < 100);
		r = batch_check(vault, batch, NULL, &name);
	}
	return r == 1 ? batch_commit(vault, batch) : r;
}

static void write_stream_of(const char *name, uint8_t fill, bool ended)
{
	static uint8_t chunk[ENCLAVE_CHUNK_SIZE];
	uint8_t number[MESSAGE_NUMBER_SIZE] = { fill };
	uint8_t key[ENCLAVE_KEY_SIZE];
	struct stream *stream = NULL;
	size_t size = ENCLAVE_CHUNK_PLAIN + 10;

	key_of(key, fill);
	if (stream_find(vault, span_text(name), &stream) != 0)
		MUST(stream_make(vault, span_text(name), 1000, &stream) == 0);
	MUST(stream_begin(stream, number, key, &someone) == 0);
	for (uint64_t i = 0; i < (ended ? 2 : 1); i++) {
		size_t sealed = seal(chunk, fill, size, i);

		MUST(stream_append(stream, span_of(chunk, sealed), i == 1, key) == 0);
	}
}

static void remember(struct image *state, int fd)
{
	struct stat stat;

	MUST(fstat(fd, &stat) == 0);
	state->size = (size_t)stat.st_size;
	state->bytes = malloc(state->size);
	MUST(state->bytes && pread(fd, state->bytes, state->size, 0) == stat.st_size);
	for (uint64_t at = ledger_next(vault->ledger, 0); at != 0;
		at = ledger_next(vault->ledger, at)) {
		MUST(state->count < BLOCKS_MAX);
		state->blocks[state->count] = at;
		state->sizes[state->count++] = ledger_block(vault->ledger, at);
	}
}

static void make_earlier(void)
{
	struct tag tag = { span_text("env"), span_text("production") };

	MUST(put((struct vault_put){ .name = span_text("tagged"),
			 .tags = { .tag = &tag, .count = 1 },
			 .frozen = true },
		     1, 100) == 0);
	MUST(put_name("a", 2, 100) == 0);
	MUST(put_name("b", 3, 100) == 0);
	MUST(put_name("gone", 4, 100) == 0);
	MUST(put_name("several", 5, 40000) == 0);
	MUST(put_name("table", 6, 17 * ENCLAVE_CHUNK_PLAIN) == 0);
	MUST(put_name("from", 7, 100) == 0);
	MUST(put_name("rotated", 8, 100) == 0);
	MUST(put_for("ttl", 9, (struct lifetime){ .ttl_ms = 50000 }) == 0);
	MUST(put_for("once", 10, (struct lifetime){ .reads = 1 }) == 0);
	MUST(put_for("twice", 11, (struct lifetime){ .reads = 2 }) == 0);
	MUST(put_for("session", 12, (struct lifetime){ .session = true }) == 0);
	MUST(put_for("process", 13, (struct lifetime){ .pid = 5 }) == 0);
	write_stream_of("ended", 14, true);
	write_stream_of("open", 15, true);
}

static void make_last(void)
{
	static const char *const names[] = { "staged", "a" };
	struct vault_move move = {
		.name = span_text("from"), .to = span_text("to"), .owner = 1000
	};
	struct batch *batch = NULL;
	struct stream *stream;
	uint64_t version;

	promise(1);
	MUST(put_name("b", 20, 120) == 0);
	MUST(vault_promise_end(vault, true) != 0);
	promise(2);
	MUST(vault_remove(vault, span_text("gone"), &none, &version) == 0);
	MUST(vault_promise_end(vault, true) != 0);
	MUST(put_name("table", 21, 18 * ENCLAVE_CHUNK_PLAIN) == 0);
	MUST(rotate("rotated", 22) == 0);
	MUST(rotate("rotated", 23) == 0);
	MUST(use("once") == 0 && use("twice") == 0);
	write_stream_of("open", 24, false);
	MUST(stream_find(vault, span_text("open"), &stream) == 0);
	stream_acknowledge(stream, &(struct stream_place){ stream->id, 1, 1 });
	MUST(batch_new(vault, &batch) == 0);
	promise(3);
	MUST(stage_and_commit(batch, names, 2) == 0);
	MUST(vault_promise_end(vault, true) != 0);
	promise(4);
	MUST(vault_move(vault, &move, &version) == 0);
	MUST(vault_promise_end(vault, true) != 0);
}

static void make_states(void)
{
	int fd = ledger_file();

	rig_init(&rig);
	MUST(fd >= 0 && vault_new(&vault, &rig.coffer, fd) == 0);
	vault->now = fuzz_clock;
	make_earlier();
	remember(&earlier, fd);
	make_last();
	remember(&last, fd);
	memcpy(last_keys, rig.keys, sizeof(last_keys));
	vault_leave(vault);
	close(fd);
}

/* -- the changes --------------------------------------------------------------------------- */

enum change { OVERWRITE, WIPE, PUT_BACK, PUT_LAST, PUT_EARLIER, CHANGES };

static void copy_to(struct image *ledger, size_t at, const struct image *from, size_t i)
{
	size_t size = from->sizes[i];

	if (at < ledger->size)
		memmove(ledger->bytes + at, from->bytes + from->blocks[i],
			size < ledger->size - at ? size : ledger->size - at);
}

/* Those that come later, while the process serves. */
#define LATER 0x80

struct later {
	unsigned when; /* before which deed */
	uint64_t at;
	uint8_t byte;
};

static struct later laters[4];
static size_t laters_count;

static void change_later(const struct image *ledger, const uint8_t bytes[static CHANGE_SIZE])
{
	size_t mine = bytes[1] % ledger->count;

	if (laters_count < sizeof(laters) / sizeof(laters[0]))
		laters[laters_count++] = (struct later){ .when = bytes[0] >> 4 & 7,
			.at = ledger->blocks[mine] + bytes_get16(bytes + 2) % ledger->sizes[mine],
			.byte = bytes[4] };
}

static void make_later_changes(unsigned when)
{
	for (size_t i = 0; i < laters_count; i++)
		if (laters[i].when == when)
			*(uint8_t *)ledger_at(vault->ledger, laters[i].at, 1) ^= laters[i].byte;
}

/* A kind, a block's number, 16 bits that say where, and four bytes. */
static void change(struct image *ledger, const uint8_t bytes[static CHANGE_SIZE])
{
	size_t mine = bytes[1] % ledger->count;
	size_t from_earlier = bytes[1] % earlier.count;
	uint64_t block = ledger->blocks[mine];
	size_t inside = bytes_get16(bytes + 2) % ledger->sizes[mine];
	size_t unit = bytes_get32(bytes + 4) % (ledger->size / LEDGER_UNIT) * LEDGER_UNIT;

	/* Half of the places are those of other blocks. */
	if (bytes[2] & 1)
		unit = ledger->blocks[bytes[4] % ledger->count];
	switch (bytes[0] % CHANGES) {
	case OVERWRITE:
		for (size_t i = 0; i < 4 && inside + i < ledger->sizes[mine]; i++)
			ledger->bytes[block + inside + i] ^= bytes[4 + i];
		break;
	case WIPE:
		memset(ledger->bytes + block, 0, ledger->sizes[mine]);
		break;
	case PUT_BACK:
		copy_to(ledger, earlier.blocks[from_earlier], &earlier, from_earlier);
		break;
	case PUT_LAST:
		copy_to(ledger, unit, &last, mine);
		break;
	default:
		copy_to(ledger, unit, &earlier, from_earlier);
	}
}

/* -- what is done with it ------------------------------------------------------------------ */

static void check_value(struct record *record)
{
	static uint8_t plain[ENCLAVE_CHUNK_PLAIN];
	uint8_t key[ENCLAVE_KEY_SIZE];
	uint64_t chunks = record_chunks(record);

	if (record_is_stream(record) || record_key(vault, record, key) != 0)
		return;
	for (uint64_t i = 0; i < chunks; i++) {
		struct span chunk = record_chunk(vault, record, i);

		if (chunk.size == 0 ||
			enclave_open_chunk(
				plain, chunk.data, chunk.size, i, i + 1 == chunks, key) != 0)
			return;
		for (size_t at = 0; at < chunk.size - ENCLAVE_TAG_SIZE; at++)
			MUST(plain[at] == key[0]);
	}
}

static const char *const known[] = { "a", "b", "ended", "from", "gone", "new", "once", "open",
	"process", "rotated", "session", "several", "staged", "table", "tagged", "to", "ttl",
	"twice" };

#define KNOWN (sizeof(known) / sizeof(known[0]))

static void look_at_all(void)
{
	struct tag tags[MESSAGE_TAGS_MAX];
	struct span after = { 0 };
	struct record *record;
	struct info info;
	char last_name[NAME_FILED_MAX];

	for (size_t i = 0; i < KNOWN; i++)
		for (uint64_t version = 0; version < 4; version++)
			if (vault_find_version(vault, span_text(known[i]), version, &record) == 0)
				check_value(record);
	for (unsigned i = 0; vault_next(vault, span_of(NULL, 0), after, &record) == 0; i++) {
		MUST(i < 1000);
		record_info(record, &info, tags);
		check_value(record);
		memcpy(last_name, info.name.data, info.name.size);
		after = span_of(last_name, info.name.size);
	}
}

static void read_streams(void)
{
	static const char *const names[] = { "ended", "open" };

	for (size_t i = 0; i < 2; i++) {
		struct stream_place place = { 0 };
		struct stream_part part;
		struct stream *stream;
		uint8_t key[ENCLAVE_KEY_SIZE];

		if (stream_find(vault, span_text(names[i]), &stream) != 0)
			continue;
		place.stream = stream->id;
		for (unsigned step = 0; step < 20 && stream_next(stream, &place, &part) == 0;
			step++) {
			(void)stream_read_key(stream, part.segment, key);
			place.segment = part.segment;
			place.next = part.chunks.first + part.chunks.count;
		}
		stream_pin(stream);
		stream_acknowledge(stream, &place);
		stream_unpin(stream);
	}
}

static int see_answer(void *context, const struct vault_answer *answer)
{
	uint64_t *places = context;

	places[answer->number[0]] = answer->place;
	return 0;
}

static void change_all(void)
{
	struct vault_move move = { .name = span_text("b"), .to = span_text("from") };
	uint64_t version;

	for (size_t i = 0; i < KNOWN; i++)
		switch (i % 5) {
		case 0:
			(void)put_name(known[i], 30, 100);
			break;
		case 1:
			(void)vault_remove(vault, span_text(known[i]), &none, &version);
			break;
		case 2:
			(void)rotate(known[i], 31);
			break;
		case 3:
			(void)use(known[i]);
			break;
		default:
			(void)vault_freeze(vault, span_text(known[i]), true, &none, &version);
			(void)vault_touch(vault, span_text(known[i]), 5000, &none, &version);
		}
	(void)vault_move(vault, &move, &version);
}

static void remove_all(void)
{
	uint64_t version;

	for (size_t i = 0; i < KNOWN; i++) {
		(void)vault_freeze(vault, span_text(known[i]), false, &none, &version);
		(void)vault_remove(vault, span_text(known[i]), &none, &version);
	}
}

static void restore_some(void)
{
	static const char *const names[] = { "a", "new", "rotated" };
	struct batch *batch = NULL;

	MUST(batch_new(vault, &batch) == 0);
	if (stage_and_commit(batch, names, 3) == 0)
		while (!batch_publish(vault, batch))
			;
	batch_leave(batch);
}

static void compact(void)
{
	for (unsigned i = 0; vault_compact(vault); i++)
		MUST(i < 100000);
	/* A pass that is worth it or not: all of it goes before a line that lies far in front. */
	compaction_begin(vault->ledger, 0x1000);
	vault->progress = (struct progress){ 0 };
	for (unsigned i = 0; vault_compact(vault); i++)
		MUST(i < 100000);
}

static void expire(void)
{
	clock_ms += 60000;
	for (unsigned i = 0; vault_expire(vault); i++)
		MUST(i < 100000);
}

/* A bit each, in their order. */
static void (*const deeds[])(
	void) = { read_streams, change_all, compact, expire, restore_some, remove_all, compact };

static void go_through(uint8_t wanted)
{
	struct record *pinned = NULL;
	uint64_t places[256] = { 0 };

	MUST(vault_answers(vault, see_answer, places) == 0);
	look_at_all();
	if (vault_find(vault, span_text("table"), &pinned) == 0)
		pinned = record_pin(pinned);
	else
		pinned = NULL;
	for (unsigned i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++) {
		make_later_changes(i);
		if (wanted >> i & 1) {
			deeds[i]();
			look_at_all();
		}
	}
	if (pinned)
		record_unpin(vault, pinned);
	make_later_changes(7);
	for (size_t i = 0; i < 256; i++)
		if (places[i] != 0)
			vault_drop_answer(vault, places[i]);
	if (wanted & 0x80)
		vault_purge(vault);
	MUST(put_name("fresh", 40, 20000) == 0);
	look_at_all();
}

static void adopt(const struct image *ledger, uint8_t wanted)
{
	int fd = ledger_file();
	struct coffer coffer;

	MUST(fd >= 0 && ftruncate(fd, (off_t)ledger->size) == 0);
	for (size_t at = 0; at < ledger->size; at += 4096)
		if (!sodium_is_zero(ledger->bytes + at, 4096))
			MUST(pwrite(fd, ledger->bytes + at, 4096, (off_t)at) == 4096);
	memcpy(rig.keys, last_keys, sizeof(last_keys));
	MUST(coffer_adopt(&coffer, rig.keys, 512, rig.view, &rig.guard) == 0);
	clock_ms = 1000000;
	if (vault_new(&vault, &coffer, fd) == 0) {
		vault->now = fuzz_clock;
		go_through(wanted);
		vault_free(vault);
	}
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image ledger;

	if (!last.bytes) {
		make_states();
		ledger = last;
		ledger.bytes = malloc(last.size);
		MUST(ledger.bytes);
	}
	if (size < 1)
		return 0;
	memcpy(ledger.bytes, last.bytes, last.size);
	laters_count = 0;
	for (size_t at = 1; at + CHANGE_SIZE <= size && at < 32 * CHANGE_SIZE; at += CHANGE_SIZE)
		if (data[at] & LATER)
			change_later(&ledger, data + at);
		else
			change(&ledger, data + at);
	adopt(&ledger, data[0]);
	return 0;
}
