/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "common/bytes.h"
#include "common/memory/enclave.h"
#include "common/status.h"
#include "common/wire/frame.h"
#include "common/wire/message.h"
#include "common/wire/name.h"
#include "daemon/outbox.h"
#include "tests/unit/claims.h"
#include "tests/unit/rig.h"

static struct rig rig;
static uint8_t plain[FRAME_PLAIN_MAX];
static uint8_t chunk_bytes[FRAME_CHUNKS_MAX + 64];
static const uint8_t key[32] = { 1, 2, 3 };

static void set_up(void)
{
	rig_init(&rig);
}

/* The beginning of a good set; tests change one thing. */
static struct request good_set(void)
{
	return (struct request){ .id = 9,
		.numbered = true,
		.number = { 1 },
		.verb = VERB_SET,
		.name = span_text("a/b"),
		.key = key,
		.size = 1 };
}

/* Writes a request and reads it back. */
static int trip(const struct request *request, struct request *back, size_t chunks)
{
	struct messages messages = { .chunks = span_of(chunk_bytes, chunks) };
	size_t used = 0;

	ck_assert_int_eq(message_append_request(plain, &used, sizeof(plain), request), 0);
	messages.plain = span_of(plain, used);
	return message_next_request(back, &messages, &rig.bench);
}

/* Reads raw protobuf bytes as the only message of a frame. */
static int read_raw(const void *bytes, size_t size, size_t chunks, struct request *back)
{
	struct messages messages = { .chunks = span_of(chunk_bytes, chunks) };

	bytes_put16(plain, (uint16_t)size);
	memcpy(plain + 2, bytes, size);
	messages.plain = span_of(plain, size + 2);
	return message_next_request(back, &messages, &rig.bench);
}

static void check_lifetime(const struct lifetime *back, const struct lifetime *before)
{
	ck_assert_uint_eq(back->ttl_ms, before->ttl_ms);
	ck_assert_uint_eq(back->idle_ms, before->idle_ms);
	ck_assert_uint_eq(back->reads, before->reads);
	ck_assert_uint_eq(back->pid, before->pid);
	ck_assert_int_eq(back->session, before->session);
}

START_TEST(a_set_comes_back_as_it_was_written)
{
	struct tag tags[2] = { { span_text("env"), span_text("prod") }, { span_text("k"), { 0 } } };
	struct request request = good_set(), back;

	request.tags = (struct tags){ tags, 2 };
	request.conditions = (struct conditions){ .compare = true, .version = 1ull << 63 };
	request.size = 1ull << 40;
	request.lifetime = (struct lifetime){ 1, 2, 3, 4, true };
	request.freeze = true;
	request.chunked = true;
	request.chunks = (struct chunks){ .first = 3, .count = 2, .last = 17, .final = true };
	ck_assert_int_eq(trip(&request, &back, ENCLAVE_CHUNK_SIZE + 17), 1);
	ck_assert_ptr_null(back.fault);
	ck_assert_int_eq(back.verb, VERB_SET);
	ck_assert(span_equal(back.name, request.name));
	ck_assert_mem_eq(back.key, key, 32);
	ck_assert_mem_eq(back.number, request.number, 16);
	ck_assert_uint_eq(back.size, request.size);
	ck_assert(back.conditions.compare && !back.conditions.create_only);
	ck_assert_uint_eq(back.conditions.version, 1ull << 63);
	ck_assert_uint_eq(back.tags.count, 2);
	check_lifetime(&back.lifetime, &request.lifetime);
	ck_assert(back.freeze);
	ck_assert(span_equal(back.tags.tag[0].value, tags[0].value));
	ck_assert_uint_eq(back.chunks.first, 3);
	ck_assert(back.chunks.final && !back.chunks.abort);
	ck_assert_uint_eq(back.bytes.size, ENCLAVE_CHUNK_SIZE + 17);
	ck_assert_ptr_eq(back.bytes.data, chunk_bytes);
}
END_TEST

START_TEST(every_other_verb_comes_back_as_it_was_written)
{
	struct request requests[] = {
		{ .id = 1, .verb = VERB_PING },
		{ .id = 1, .verb = VERB_STATUS },
		{ .id = 1, .verb = VERB_WHOAMI },
		{ .id = 1, .verb = VERB_STAT, .name = span_text("s") },
		{ .id = 1, .verb = VERB_CANCEL, .target = 77 },
		{ .id = 1, .verb = VERB_GET, .name = span_text("g"), .version = 4, .wait_ms = 5 },
		{ .id = 1, .verb = VERB_REMOVE, .name = span_text("r"), .numbered = true },
		{ .id = 1,
			.verb = VERB_LIST,
			.name = span_text("l"),
			.after = span_text("l/x"),
			.limit = 6,
			.details = true },
		{ .id = 1,
			.verb = VERB_GENERATE,
			.name = span_text("n"),
			.size = 32,
			.charset = CHARSET_BASE64,
			.lifetime = { .reads = 1 },
			.freeze = true,
			.numbered = true },
		{ .id = 1,
			.verb = VERB_TOUCH,
			.name = span_text("t"),
			.lifetime = { .ttl_ms = MESSAGE_SPAN_MAX },
			.numbered = true },
		{ .id = 1, .verb = VERB_FREEZE, .name = span_text("f"), .numbered = true },
		{ .id = 1, .verb = VERB_MELT, .name = span_text("m"), .numbered = true },
		{ .id = 1,
			.verb = VERB_GENERATE,
			.name = span_text("o"),
			.size = 32,
			.rotation = { true, MESSAGE_SPAN_MAX },
			.numbered = true },
		{ .id = 1,
			.verb = VERB_MOVE,
			.name = span_text("x"),
			.to = span_text("y"),
			.conditions = { .compare = true, .version = 5 },
			.numbered = true },
		{ .id = 1, .verb = VERB_PURGE, .all = true, .numbered = true },
		{ .id = 1, .verb = VERB_SHUTDOWN },
		{ .id = 1, .verb = VERB_RELOAD },
		{ .id = 1, .verb = VERB_UPGRADE },
		{ .id = 1, .verb = VERB_VERIFY, .name = span_text("v"), .key = key, .size = 9 },
		{ .id = 1,
			.verb = VERB_STREAM_READ,
			.name = span_text("q"),
			.wait_ms = 5,
			.read = { 6, 7, 8 },
			.acknowledge = true },
		{ .id = 1, .verb = VERB_EXPORT, .name = span_text("e"), .after = span_text("e/x") },
		{ .id = 1,
			.verb = VERB_EXPLAIN,
			.operation = span_text("stream-write"),
			.name = span_text("x/y"),
			.as = (const struct span[]){ span_text("uid:5"), span_text("unit:a") },
			.as_count = 2 },
		{ .id = 1,
			.verb = VERB_EXPLAIN,
			.operation = span_text("get"),
			.name = span_text("x") },
		{ .id = 1, .verb = VERB_WATCH, .name = span_text("w/"), .since = UINT64_MAX },
		{ .id = 1,
			.verb = VERB_LOCK,
			.key = key,
			.salt = span_of(key, MESSAGE_SALT_SIZE),
			.opslimit = MESSAGE_LOCK_OPSLIMIT_MAX,
			.memlimit = MESSAGE_LOCK_MEMLIMIT_MIN,
			.numbered = true },
		{ .id = 1, .verb = VERB_UNLOCK, .key = key, .numbered = true },
		{ .id = 1, .verb = VERB_COMMIT, .secrets = 1ull << 40, .numbered = true },
		{ .id = 1,
			.verb = VERB_STAGE,
			.name = span_text("z"),
			.key = key,
			.size = 9,
			.version = MESSAGE_VERSION_MAX,
			.created_ms = 1,
			.changed_ms = (int64_t)MESSAGE_VERSION_MAX,
			.lifetime = { .ttl_ms = 1, .idle_ms = MESSAGE_SPAN_MAX },
			.freeze = true,
			.owner = 4294967294 },
	};

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		struct request back;

		ck_assert_int_eq(trip(&requests[i], &back, 0), 1);
		ck_assert_ptr_null(back.fault);
		ck_assert_int_eq(back.verb, requests[i].verb);
		ck_assert(span_equal(back.name, requests[i].name));
		ck_assert(span_equal(back.after, requests[i].after));
		ck_assert_uint_eq(back.version, requests[i].version);
		ck_assert_uint_eq(back.wait_ms, requests[i].wait_ms);
		ck_assert_uint_eq(back.target, requests[i].target);
		ck_assert_uint_eq(back.since, requests[i].since);
		ck_assert_uint_eq(back.secrets, requests[i].secrets);
		ck_assert(span_equal(back.salt, requests[i].salt));
		ck_assert_uint_eq(back.opslimit, requests[i].opslimit);
		ck_assert_uint_eq(back.memlimit, requests[i].memlimit);
		ck_assert_int_eq(back.key != NULL, requests[i].key != NULL);
		if (back.key)
			ck_assert_mem_eq(back.key, key, sizeof(key));
		ck_assert_uint_eq(back.owner, requests[i].owner);
		ck_assert_int_eq(back.created_ms, requests[i].created_ms);
		ck_assert_int_eq(back.changed_ms, requests[i].changed_ms);
		ck_assert_uint_eq(back.limit, requests[i].limit);
		ck_assert_uint_eq(back.size, requests[i].size);
		ck_assert_int_eq(back.charset, requests[i].charset);
		ck_assert_int_eq(back.details, requests[i].details);
		ck_assert_int_eq(back.all, requests[i].all);
		ck_assert_int_eq(back.freeze, requests[i].freeze);
		ck_assert_mem_eq(&back.read, &requests[i].read, sizeof(back.read));
		ck_assert_int_eq(back.acknowledge, requests[i].acknowledge);
		ck_assert(span_equal(back.to, requests[i].to));
		ck_assert(span_equal(back.operation, requests[i].operation));
		ck_assert_uint_eq(back.as_count, requests[i].as_count);
		for (size_t at = 0; at < back.as_count; at++)
			ck_assert(span_equal(back.as[at], requests[i].as[at]));
		ck_assert_uint_eq(back.conditions.version, requests[i].conditions.version);
		ck_assert_int_eq(back.rotation.asked, requests[i].rotation.asked);
		ck_assert_uint_eq(back.rotation.grace_ms, requests[i].rotation.grace_ms);
		check_lifetime(&back.lifetime, &requests[i].lifetime);
	}
}
END_TEST

START_TEST(a_lock_without_key_salt_or_cost_is_refused)
{
	struct request lock = { .id = 1,
		.verb = VERB_LOCK,
		.key = key,
		.salt = span_of(key, MESSAGE_SALT_SIZE),
		.opslimit = 3,
		.memlimit = 256u << 20,
		.numbered = true };
	struct request bad[6] = { lock, lock, lock, lock, lock, lock };
	struct request back;

	bad[0].salt.size--;
	bad[1].opslimit--;
	bad[2].memlimit--;
	bad[3].numbered = false;
	bad[4].opslimit = 17;
	bad[5].memlimit = (1u << 30) + 1;
	ck_assert_int_eq(trip(&lock, &back, 0), 1);
	ck_assert_ptr_null(back.fault);
	lock.opslimit = 16;
	lock.memlimit = 1u << 30;
	ck_assert_int_eq(trip(&lock, &back, 0), 1);
	ck_assert_ptr_null(back.fault);
	for (size_t i = 0; i < 6; i++) {
		ck_assert_int_eq(trip(&bad[i], &back, 0), 1);
		ck_assert_int_eq(back.fault_status, STATUS_INVALID);
	}
}
END_TEST

START_TEST(a_write_to_a_stream_brings_its_key_with_the_first_chunk)
{
	struct request write = { .id = 1,
		.verb = VERB_STREAM_WRITE,
		.name = span_text("q"),
		.numbered = true,
		.key = _i == 0 ? key : NULL,
		.chunked = true,
		.chunks = { .first = (uint64_t)_i, .count = 1, .last = 17, .final = true } };
	struct request back;

	ck_assert_int_eq(trip(&write, &back, 17), 1);
	ck_assert_ptr_null(back.fault);
	ck_assert_int_eq(back.verb, VERB_STREAM_WRITE);
	ck_assert_int_eq(back.key != NULL, _i == 0);
	if (back.key)
		ck_assert_mem_eq(back.key, key, sizeof(key));
	ck_assert_uint_eq(back.bytes.size, 17);
	write.chunked = false;
	ck_assert_int_eq(trip(&write, &back, 0), 1);
	ck_assert_int_eq(back.fault_status, STATUS_INVALID);
}
END_TEST

START_TEST(a_part_of_a_stream_comes_back_and_has_a_key_if_it_has_chunks)
{
	struct reply part = { .id = 1,
		.body = BODY_PART,
		.stream = 2,
		.segment = 3,
		.key = key,
		.chunked = true,
		.chunks = { .first = 4, .count = 1, .last = 17 } };
	struct reply incomplete = {
		.id = 1, .code = 11, .body = BODY_PART, .stream = 2, .segment = 3
	};
	struct reply taken = { .id = 1, .body = BODY_TAKEN, .due = 9 };
	struct reply replies[] = { part, incomplete, taken, part, part, incomplete };
	struct reply back;

	replies[3].key = NULL;
	replies[4].stream = 0;
	replies[5].code = 0;
	for (size_t i = 0; i < 6; i++) {
		struct messages messages = { .chunks = span_of(
						     chunk_bytes, i % 3 == 0 || i == 4 ? 17 : 0) };
		size_t used = 0;

		ck_assert_int_eq(message_append_reply(plain, &used, sizeof(plain), &replies[i]), 0);
		messages.plain = span_of(plain, used);
		ck_assert_int_eq(
			message_next_reply(&back, &messages, &rig.bench), i < 3 ? 1 : -EPROTO);
		if (i >= 3)
			continue;
		ck_assert_int_eq(back.body, replies[i].body);
		ck_assert_uint_eq(back.stream, replies[i].stream);
		ck_assert_uint_eq(back.segment, replies[i].segment);
		ck_assert_uint_eq(back.due, replies[i].due);
		ck_assert_int_eq(back.key != NULL, i == 0);
	}
}
END_TEST

static const struct {
	const char *name;
	size_t size;
} bad_names[] = { { "", 0 }, { "a//b", 4 }, { "..", 2 }, { "a/../b", 6 }, { ".", 1 }, { "/a", 2 },
	{ "a/", 2 }, { "a\0b", 3 }, { "a\nb", 3 }, { "\xff", 1 }, { "\xc0\x80", 2 }, { "~x/y", 4 },
	{ "~", 1 } };

START_TEST(a_bad_name_is_answered_not_closed)
{
	struct request request = good_set(), back;

	request.name = span_of(bad_names[_i].name, bad_names[_i].size);
	ck_assert_int_eq(trip(&request, &back, 0), 1);
	ck_assert_ptr_nonnull(back.fault);
	ck_assert_int_eq(back.fault_status, STATUS_INVALID);
}
END_TEST

static const struct lifetime bad_lifetimes[] = { { .ttl_ms = MESSAGE_SPAN_MAX + 1 },
	{ .ttl_ms = UINT64_MAX }, { .idle_ms = MESSAGE_SPAN_MAX + 1 },
	{ .pid = (uint32_t)INT32_MAX + 1 } };

START_TEST(a_lifetime_that_cannot_be_is_answered)
{
	struct request request = good_set(), back;

	request.lifetime = bad_lifetimes[_i];
	ck_assert_int_eq(trip(&request, &back, 0), 1);
	ck_assert_ptr_nonnull(back.fault);
	ck_assert_int_eq(back.fault_status, STATUS_INVALID);
}
END_TEST

/* What a rotation keeps of the version before cannot be asked for anew. */
START_TEST(a_rotation_that_asks_for_more_is_answered)
{
	struct tag tag = { span_text("k"), span_text("v") };
	struct request request = good_set(), back;

	request.rotation = (struct rotation){ .asked = true, .grace_ms = 1 };
	ck_assert_int_eq(trip(&request, &back, 0), 1);
	ck_assert_ptr_null(back.fault);
	request.rotation.grace_ms += _i == 0 ? MESSAGE_SPAN_MAX : 0;
	request.lifetime.reads = _i == 1;
	request.lifetime.session = _i == 2;
	request.freeze = _i == 3;
	request.tags = (struct tags){ &tag, _i == 4 };
	request.conditions.create_only = _i == 5;
	ck_assert_int_eq(trip(&request, &back, 0), 1);
	ck_assert_ptr_nonnull(back.fault);
	ck_assert_int_eq(back.fault_status, STATUS_INVALID);
}
END_TEST

START_TEST(a_move_to_a_bad_name_is_answered)
{
	struct request request = { .id = 1,
		.verb = VERB_MOVE,
		.numbered = true,
		.name = span_text("a"),
		.to = span_of(bad_names[_i].name, bad_names[_i].size) };
	struct request back;

	ck_assert_int_eq(trip(&request, &back, 0), 1);
	ck_assert_ptr_nonnull(back.fault);
	ck_assert_int_eq(back.fault_status, STATUS_INVALID);
}
END_TEST

START_TEST(a_touch_without_a_time_is_answered)
{
	struct request request = {
		.id = 1, .verb = VERB_TOUCH, .numbered = true, .name = span_text("a")
	};
	struct request back;

	ck_assert_int_eq(trip(&request, &back, 0), 1);
	ck_assert_int_eq(back.fault_status, STATUS_INVALID);
}
END_TEST

/* Who does not know the fields would store something that does not end. */
START_TEST(a_request_names_the_level_of_its_fields)
{
	struct request request = good_set();
	size_t sizes[4] = { 0 };
	bool level[4];

	for (int i = 0; i < 4; i++) {
		request.lifetime.reads = i == 1;
		request.freeze = i == 2;
		request.rotation.asked = i == 3;
		ck_assert_int_eq(
			message_append_request(plain, &sizes[i], sizeof(plain), &request), 0);
		level[i] = memmem(plain, sizes[i], i < 3 ? "\x18\x02" : "\x18\x03", 2) != NULL;
	}
	ck_assert(!level[0] && level[1] && level[2] && level[3]);
}
END_TEST

START_TEST(a_change_without_a_number_is_answered)
{
	struct request request = good_set(), back;

	request.numbered = false;
	ck_assert_int_eq(trip(&request, &back, 0), 1);
	ck_assert_int_eq(back.fault_status, STATUS_INVALID);
}
END_TEST

static const struct chunks impossible[] = {
	{ .count = 0 },
	{ .count = 0, .abort = true, .final = true },
	{ .count = 5, .last = 17 },
	{ .count = 1, .last = 16 },
	{ .count = 1, .last = ENCLAVE_CHUNK_SIZE + 1 },
	{ .count = 1, .last = 17, .abort = true },
};

START_TEST(impossible_chunks_are_no_message)
{
	struct request request = good_set(), back;

	request.chunked = true;
	request.chunks = impossible[_i];
	ck_assert_int_eq(trip(&request, &back, sizeof(chunk_bytes)), -EPROTO);
}
END_TEST

START_TEST(chunks_that_are_not_there_are_no_message)
{
	struct request request = good_set(), back;

	request.chunked = true;
	request.chunks = (struct chunks){ .count = 1, .last = 17, .final = true };
	ck_assert_int_eq(trip(&request, &back, 16), -EPROTO);
	ck_assert_int_eq(trip(&request, &back, 17), 1);
}
END_TEST

START_TEST(chunks_that_nobody_claims_end_the_frame_with_an_error)
{
	struct messages messages = { .chunks = span_of(chunk_bytes, 1) };
	struct request request = { .id = 1, .verb = VERB_PING }, back;
	size_t used = 0;

	message_append_request(plain, &used, sizeof(plain), &request);
	messages.plain = span_of(plain, used);
	ck_assert_int_eq(message_next_request(&back, &messages, &rig.bench), 1);
	ck_assert_int_eq(message_next_request(&back, &messages, &rig.bench), -EPROTO);
}
END_TEST

START_TEST(an_unknown_field_is_ignored)
{
	/* id 1; field 1000, varint 5; ping {}. */
	static const uint8_t raw[] = { 0x08, 1, 0xc0, 0x3e, 5, 0x82, 1, 0 };
	struct request back;

	ck_assert_int_eq(read_raw(raw, sizeof(raw), 0, &back), 1);
	ck_assert_int_eq(back.verb, VERB_PING);
	ck_assert_ptr_null(back.fault);
}
END_TEST

START_TEST(an_unknown_verb_is_answered)
{
	/* id 1; field 99, a message. */
	static const uint8_t raw[] = { 0x08, 1, 0x9a, 6, 0 };
	struct request back;

	ck_assert_int_eq(read_raw(raw, sizeof(raw), 0, &back), 1);
	ck_assert_int_eq(back.verb, VERB_UNKNOWN);
	ck_assert_int_eq(back.fault_status, STATUS_PROTOCOL);
}
END_TEST

START_TEST(a_request_of_a_later_level_is_answered)
{
	/* id 1; level 4; ping {}. */
	static const uint8_t raw[] = { 0x08, 1, 0x18, 4, 0x82, 1, 0 };
	struct request back;

	ck_assert_int_eq(read_raw(raw, sizeof(raw), 0, &back), 1);
	ck_assert_int_eq(back.fault_status, STATUS_PROTOCOL);
}
END_TEST

START_TEST(an_id_of_zero_is_no_message)
{
	struct request request = { .verb = VERB_PING }, back;

	ck_assert_int_eq(trip(&request, &back, 0), -EPROTO);
}
END_TEST

START_TEST(a_length_past_the_end_is_no_message)
{
	struct messages messages = { .plain = span_of("\x05\x00\x08\x01", 4) };
	struct request back;

	ck_assert_int_eq(message_next_request(&back, &messages, &rig.bench), -EPROTO);
	messages = (struct messages){ .plain = span_of("\x05", 1) };
	ck_assert_int_eq(message_next_request(&back, &messages, &rig.bench), -EPROTO);
}
END_TEST

START_TEST(more_than_64_requests_in_a_frame_are_refused)
{
	struct request request = { .id = 1, .verb = VERB_PING }, back;
	struct messages messages = { 0 };
	size_t used = 0;

	for (int i = 0; i <= MESSAGE_FRAME_MAX; i++)
		ck_assert_int_eq(message_append_request(plain, &used, sizeof(plain), &request), 0);
	messages.plain = span_of(plain, used);
	for (int i = 0; i < MESSAGE_FRAME_MAX; i++) {
		ck_assert_int_eq(message_next_request(&back, &messages, &rig.bench), 1);
		workbench_wipe(&rig.bench);
	}
	ck_assert_int_eq(message_next_request(&back, &messages, &rig.bench), -EPROTO);
}
END_TEST

START_TEST(a_message_that_unpacks_too_large_is_refused_and_nothing_breaks)
{
	static uint8_t raw[8000];
	struct request back;
	size_t at = 0;

	/* id 1; set { tags: {} many times }: two bytes each, a hundred and more unpacked. */
	memcpy(raw, "\x08\x01\x92\x01", 4);
	raw[4] = 0x80 | (7000 & 0x7f);
	raw[5] = 7000 >> 7;
	for (at = 6; at < 6 + 7000; at += 2) {
		raw[at] = 0x2a;
		raw[at + 1] = 0;
	}
	ck_assert_int_eq(read_raw(raw, at, 0, &back), -ENOBUFS);
	workbench_wipe(&rig.bench);
}
END_TEST

START_TEST(tags_that_cannot_be_are_answered)
{
	static uint8_t longer[MESSAGE_TAG_VALUE_MAX + 1];
	struct tag tags[] = {
		{ { 0 }, span_text("no key") },
		{ span_text("a=b"), { 0 } },
		{ span_text("k"), span_of(longer, sizeof(longer)) },
		{ span_text("k"), span_text("\x1b[31m") },
		{ span_of("\xff", 1), { 0 } },
	};
	struct request back;

	memset(longer, 'x', sizeof(longer));
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		struct request request = good_set();

		request.tags = (struct tags){ &tags[i], 1 };
		ck_assert_int_eq(trip(&request, &back, 0), 1);
		ck_assert_int_eq(back.fault_status, STATUS_INVALID);
	}
}
END_TEST

START_TEST(the_same_tag_twice_is_answered)
{
	struct tag tags[] = { { span_text("k"), span_text("1") },
		{ span_text("k"), span_text("2") } };
	struct request request = good_set(), back;

	request.tags = (struct tags){ tags, 2 };
	ck_assert_int_eq(trip(&request, &back, 0), 1);
	ck_assert_int_eq(back.fault_status, STATUS_INVALID);
}
END_TEST

START_TEST(the_largest_set_leaves_room_for_a_chunk_on_the_bench)
{
	static uint8_t text[MESSAGE_TAG_VALUE_MAX];
	static uint8_t keys[MESSAGE_TAGS_MAX][MESSAGE_TAG_KEY_MAX];
	struct tag tags[MESSAGE_TAGS_MAX];
	static uint8_t name[255];
	struct request request = good_set(), back;

	memset(text, 'v', sizeof(text));
	memset(keys, 'k', sizeof(keys));
	memset(name, 'n', sizeof(name));
	for (size_t i = 0; i < MESSAGE_TAGS_MAX; i++) {
		keys[i][0] = (uint8_t)('a' + i);
		tags[i].key = span_of(keys[i], MESSAGE_TAG_KEY_MAX);
		tags[i].value = span_of(text, sizeof(text));
	}
	request.verb = VERB_GENERATE;
	request.name = span_of(name, sizeof(name));
	request.tags = (struct tags){ tags, MESSAGE_TAGS_MAX };
	/* What the daemon has on the bench by then: keys, the opened frame, the answers. */
	ck_assert_ptr_nonnull(workbench_take(&rig.bench, sizeof(struct channel_keys)));
	ck_assert_ptr_nonnull(workbench_take(&rig.bench, OUTBOX_PLAIN_MAX));
	ck_assert_ptr_nonnull(workbench_take(&rig.bench, FRAME_PLAIN_MAX));
	ck_assert_int_eq(trip(&request, &back, 0), 1);
	ck_assert_ptr_null(back.fault);
	ck_assert_ptr_nonnull(workbench_take(&rig.bench, ENCLAVE_KEY_SIZE));
	ck_assert_ptr_nonnull(workbench_take(&rig.bench, ENCLAVE_CHUNK_SIZE));
	workbench_wipe(&rig.bench);
	/* One that is staged says more, but nothing of it is opened there. */
	ck_assert_ptr_nonnull(workbench_take(&rig.bench, sizeof(struct channel_keys)));
	ck_assert_ptr_nonnull(workbench_take(&rig.bench, OUTBOX_PLAIN_MAX));
	ck_assert_ptr_nonnull(workbench_take(&rig.bench, FRAME_PLAIN_MAX));
	request.verb = VERB_STAGE;
	request.version = MESSAGE_VERSION_MAX;
	request.size = MESSAGE_VALUE_MAX;
	request.created_ms = request.changed_ms = (int64_t)MESSAGE_VERSION_MAX;
	request.lifetime =
		(struct lifetime){ .ttl_ms = MESSAGE_SPAN_MAX, .idle_ms = MESSAGE_SPAN_MAX };
	request.owner = UINT32_MAX;
	ck_assert_int_eq(trip(&request, &back, 0), 1);
	ck_assert_ptr_null(back.fault);
	ck_assert_ptr_nonnull(workbench_take(&rig.bench, ENCLAVE_KEY_SIZE));
	workbench_wipe(&rig.bench);
}
END_TEST

START_TEST(the_largest_answer_fits_a_frame_of_answers)
{
	static uint8_t text[NAME_FILED_MAX];
	static uint8_t keys[MESSAGE_TAGS_MAX][MESSAGE_TAG_KEY_MAX];
	struct tag tags[MESSAGE_TAGS_MAX];
	struct reply reply = { .id = UINT64_MAX,
		.body = BODY_INFO,
		.info = { .name = span_of(text, sizeof(text)),
			.version = UINT64_MAX,
			.size = UINT64_MAX,
			.created_ms = INT64_MIN,
			.changed_ms = INT64_MIN,
			.left = { MESSAGE_SPAN_MAX, MESSAGE_SPAN_MAX, UINT32_MAX, INT32_MAX, true },
			.idle_left_ms = MESSAGE_SPAN_MAX,
			.frozen = true,
			.tags = { tags, MESSAGE_TAGS_MAX } } };
	size_t used = 0;

	for (size_t i = 0; i < MESSAGE_TAGS_MAX; i++) {
		tags[i].key = span_of(keys[i], MESSAGE_TAG_KEY_MAX);
		tags[i].value = span_of(text, MESSAGE_TAG_VALUE_MAX);
	}
	ck_assert_int_eq(message_append_reply(plain, &used, OUTBOX_PLAIN_MAX, &reply), 0);
	/* What goes into a bundle has less of a lifetime, and a key. */
	reply.body = BODY_RECORD;
	reply.info.created_ms = reply.info.changed_ms = (int64_t)MESSAGE_VERSION_MAX;
	reply.info.version = MESSAGE_VERSION_MAX;
	reply.info.size = MESSAGE_VALUE_MAX;
	reply.info.left = (struct lifetime){ MESSAGE_SPAN_MAX, MESSAGE_SPAN_MAX, 0, 0, false };
	reply.info.idle_left_ms = 0;
	reply.chunked = true;
	reply.chunks = (struct chunks){ .count = 1, .last = ENCLAVE_CHUNK_SIZE, .final = true };
	reply.owner = UINT32_MAX;
	reply.key = key;
	used = 0;
	ck_assert_int_eq(message_append_reply(plain, &used, OUTBOX_PLAIN_MAX, &reply), 0);
}
END_TEST

START_TEST(what_is_told_of_changes_comes_back)
{
	struct reply replies[] = {
		{ .id = 1, .body = BODY_MARK, .number = 1ull << 60, .lost = true },
		{ .id = 2, .body = BODY_EVENT, .number = 1, .change = EVENT_PURGE },
		{ .id = 3,
			.body = BODY_EVENT,
			.number = UINT64_MAX,
			.change = EVENT_EXPIRE,
			.name = span_text("~/e"),
			.version = 7 },
		{ .id = 4, .body = BODY_EVENT, .number = 2, .name = span_text("a//b") },
	};
	struct messages messages = { 0 };
	struct reply back;
	size_t used = 0;

	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(message_append_reply(plain, &used, sizeof(plain), &replies[i]), 0);
	messages.plain = span_of(plain, used);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(message_next_reply(&back, &messages, &rig.bench), 1);
		ck_assert_uint_eq(back.id, i + 1);
		ck_assert_int_eq(back.body, replies[i].body);
		ck_assert_uint_eq(back.number, replies[i].number);
		ck_assert_uint_eq(back.change, replies[i].change);
		ck_assert_uint_eq(back.version, replies[i].version);
		ck_assert(back.lost == replies[i].lost);
		ck_assert(span_equal(back.name, replies[i].name));
	}
	/* A name that is none is no message. */
	ck_assert_int_eq(message_next_reply(&back, &messages, &rig.bench), -EPROTO);
}
END_TEST

START_TEST(replies_come_back_as_they_were_written)
{
	static const uint32_t groups[] = { 4, 27 };
	struct tag tag = { span_text("k"), span_text("v") };
	struct reply replies[] = {
		{ .id = 1, .code = 3, .detail = span_text("no such secret") },
		{ .id = 2, .body = BODY_STORED, .version = 9 },
		{ .id = 3, .body = BODY_LISTING, .more = true, .next = span_text("z") },
		{ .id = 4,
			.body = BODY_INFO,
			.info = { .name = span_text("~/x"),
				.version = 1,
				.size = 2,
				.created_ms = -1,
				.changed_ms = 1,
				.left = { 5, 6, 7, 8, true },
				.idle_left_ms = 9,
				.frozen = true,
				.tags = { &tag, 1 } } },
		{ .id = 5,
			.body = BODY_STATE,
			.state = { .locked = 65536,
				.core_limit = 7,
				.keeper = 8,
				.broken = 1ull << 40,
				.broken_formers = 2,
				.broken_consumed = 3,
				.broken_streams = 4,
				.broken_answers = 5,
				.tokens = 12,
				.broken_tokens = 6,
				.failed_upgrades = 9,
				.upgrade_fault = span_text("no such file"),
				.upgrading = true } },
		{ .id = 6,
			.body = BODY_CALLER,
			.caller = { .uid = 1000, .groups = groups, .group_count = 2 } },
	};
	struct messages messages = { 0 };
	struct reply back;
	size_t used = 0;

	for (size_t i = 0; i < 6; i++)
		ck_assert_int_eq(message_append_reply(plain, &used, sizeof(plain), &replies[i]), 0);
	messages.plain = span_of(plain, used);
	for (size_t i = 0; i < 6; i++) {
		ck_assert_int_eq(message_next_reply(&back, &messages, &rig.bench), 1);
		ck_assert_uint_eq(back.id, i + 1);
		ck_assert_int_eq(back.body, replies[i].body);
		ck_assert_int_eq(back.code, replies[i].code);
		ck_assert(span_equal(back.detail, replies[i].detail));
		ck_assert_uint_eq(back.version, replies[i].version);
		check_lifetime(&back.info.left, &replies[i].info.left);
		ck_assert_uint_eq(back.info.idle_left_ms, replies[i].info.idle_left_ms);
		ck_assert_int_eq(back.info.frozen, replies[i].info.frozen);
		ck_assert(span_equal(back.next, replies[i].next));
		ck_assert(span_equal(back.info.name, replies[i].info.name));
		ck_assert_int_eq(back.info.created_ms, replies[i].info.created_ms);
		ck_assert_uint_eq(back.info.tags.count, replies[i].info.tags.count);
		ck_assert_uint_eq(back.state.locked, replies[i].state.locked);
		ck_assert_uint_eq(back.state.keeper, replies[i].state.keeper);
		ck_assert_uint_eq(back.state.broken, replies[i].state.broken);
		ck_assert_uint_eq(back.state.broken_formers, replies[i].state.broken_formers);
		ck_assert_uint_eq(back.state.broken_consumed, replies[i].state.broken_consumed);
		ck_assert_uint_eq(back.state.broken_streams, replies[i].state.broken_streams);
		ck_assert_uint_eq(back.state.broken_answers, replies[i].state.broken_answers);
		ck_assert_uint_eq(back.state.tokens, replies[i].state.tokens);
		ck_assert_uint_eq(back.state.broken_tokens, replies[i].state.broken_tokens);
		ck_assert_uint_eq(back.state.failed_upgrades, replies[i].state.failed_upgrades);
		ck_assert(span_equal(back.state.upgrade_fault, replies[i].state.upgrade_fault));
		ck_assert_int_eq(back.state.upgrading, replies[i].state.upgrading);
		ck_assert_uint_eq(back.caller.uid, replies[i].caller.uid);
		ck_assert_uint_eq(back.caller.group_count, replies[i].caller.group_count);
	}
	ck_assert_uint_eq(back.caller.groups[1], 27);
	ck_assert_int_eq(message_next_reply(&back, &messages, &rig.bench), 0);
}
END_TEST

START_TEST(a_state_whose_words_steer_is_no_message)
{
	static const struct state states[] = { { .version = { (const uint8_t *)"\x1b", 1 } },
		{ .advice = { (const uint8_t *)"\xff", 1 } },
		{ .cipher = { (const uint8_t *)"\n", 1 } },
		{ .upgrade_fault = { (const uint8_t *)"a\0b", 3 } }, { .keeper = 1 } };
	struct reply reply = { .id = 1, .body = BODY_STATE, .state = states[_i] };
	struct messages messages = { 0 };
	struct reply back;
	size_t used = 0;

	ck_assert_int_eq(message_append_reply(plain, &used, sizeof(plain), &reply), 0);
	messages.plain = span_of(plain, used);
	ck_assert_int_eq(
		message_next_reply(&back, &messages, &rig.bench), states[_i].keeper ? 1 : -EPROTO);
}
END_TEST

START_TEST(what_does_not_fit_is_not_written_at_all)
{
	struct reply reply = { .id = 1, .code = 3, .detail = span_text("no such secret") };
	size_t used = 5;

	memset(plain, 0, sizeof(plain));
	ck_assert_int_eq(message_append_reply(plain, &used, 10, &reply), -ENOSPC);
	ck_assert_uint_eq(used, 5);
	for (size_t i = 0; i < 32; i++)
		ck_assert_uint_eq(plain[i], 0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("message");

	tcase_add_checked_fixture(claims, set_up, NULL);
	tcase_add_test(claims, a_set_comes_back_as_it_was_written);
	tcase_add_test(claims, every_other_verb_comes_back_as_it_was_written);
	tcase_add_test(claims, a_lock_without_key_salt_or_cost_is_refused);
	tcase_add_loop_test(claims, a_write_to_a_stream_brings_its_key_with_the_first_chunk, 0, 2);
	tcase_add_test(claims, a_part_of_a_stream_comes_back_and_has_a_key_if_it_has_chunks);
	tcase_add_loop_test(claims, a_bad_name_is_answered_not_closed, 0,
		sizeof(bad_names) / sizeof(bad_names[0]));
	tcase_add_test(claims, a_change_without_a_number_is_answered);
	tcase_add_loop_test(claims, impossible_chunks_are_no_message, 0,
		sizeof(impossible) / sizeof(impossible[0]));
	tcase_add_test(claims, chunks_that_are_not_there_are_no_message);
	tcase_add_test(claims, chunks_that_nobody_claims_end_the_frame_with_an_error);
	tcase_add_test(claims, an_unknown_field_is_ignored);
	tcase_add_test(claims, an_unknown_verb_is_answered);
	tcase_add_test(claims, a_request_of_a_later_level_is_answered);
	tcase_add_loop_test(claims, a_lifetime_that_cannot_be_is_answered, 0,
		sizeof(bad_lifetimes) / sizeof(bad_lifetimes[0]));
	tcase_add_loop_test(claims, a_rotation_that_asks_for_more_is_answered, 0, 6);
	tcase_add_loop_test(claims, a_move_to_a_bad_name_is_answered, 0,
		sizeof(bad_names) / sizeof(bad_names[0]));
	tcase_add_test(claims, a_touch_without_a_time_is_answered);
	tcase_add_test(claims, a_request_names_the_level_of_its_fields);
	tcase_add_test(claims, an_id_of_zero_is_no_message);
	tcase_add_test(claims, a_length_past_the_end_is_no_message);
	tcase_add_test(claims, more_than_64_requests_in_a_frame_are_refused);
	tcase_add_test(claims, a_message_that_unpacks_too_large_is_refused_and_nothing_breaks);
	tcase_add_test(claims, tags_that_cannot_be_are_answered);
	tcase_add_test(claims, the_same_tag_twice_is_answered);
	tcase_add_test(claims, the_largest_set_leaves_room_for_a_chunk_on_the_bench);
	tcase_add_test(claims, the_largest_answer_fits_a_frame_of_answers);
	tcase_add_test(claims, what_is_told_of_changes_comes_back);
	tcase_add_test(claims, replies_come_back_as_they_were_written);
	tcase_add_loop_test(claims, a_state_whose_words_steer_is_no_message, 0, 5);
	tcase_add_test(claims, what_does_not_fit_is_not_written_at_all);
	return claims_run(claims, "message");
}
