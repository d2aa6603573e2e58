/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/memory/enclave.h"
#include "common/status.h"
#include "common/wire/message.h"
#include "tests/unit/claims.h"
#include "tests/unit/door.h"

/* Frames in, frames out: everything between the socket and the socket, on the real locked stack. */

static struct door door;
static uint8_t wire[2 * FRAME_SIZE_MAX];
static size_t wire_size;
static uint8_t chunk[ENCLAVE_CHUNK_SIZE];
static const uint8_t key[ENCLAVE_KEY_SIZE] = { 3 };
static struct channel answers;

static void set_up(void)
{
	door_open(&door, 0);
	door_shake_hands(&door);
	answers = (struct channel){ 0 };
	wire_size = 0;
}

static void tear_down(void)
{
	door_close(&door);
}

/* Puts a frame with some requests on the wire. */
static void say(const struct request *requests, size_t count, struct span chunks)
{
	static uint8_t plain[FRAME_PLAIN_MAX];
	size_t used = 0;

	for (size_t i = 0; i < count; i++)
		ck_assert_int_eq(
			message_append_request(plain, &used, sizeof(plain), &requests[i]), 0);
	wire_size += channel_seal(
		&door.channel, &door.keys, span_of(plain, used), chunks.size, wire + wire_size);
	if (chunks.size > 0)
		memcpy(wire + wire_size, chunks.data, chunks.size);
	wire_size += chunks.size;
}

/* Lets the daemon serve what is on the wire. */
static int serve(void)
{
	struct span input = span_of(wire, wire_size);
	enum serve_end end;
	int r = serve_frames(&door.served, &input, UINT64_MAX, &end);

	wire_size = input.size;
	return r;
}

/* The codes of all answers, in order; gives how many. */
static size_t codes(int *out, size_t room)
{
	static struct workbench bench;
	static uint8_t memory[65536] __attribute__((aligned(64)));
	static uint8_t plain[FRAME_PLAIN_MAX];
	struct span input = span_of(door.outbox.bytes, door.outbox.used);
	struct frame frame;
	struct reply reply;
	size_t count = 0;

	workbench_init(&bench, memory, sizeof(memory), door.daemon.guard);
	while (frame_next(&frame, &input) > 0) {
		struct messages messages = { .chunks = frame.chunks };
		int size = channel_open(&answers, &door.keys, &frame, plain);

		ck_assert_int_gt(size, 0);
		messages.plain = span_of(plain, (size_t)size);
		while (message_next_reply(&reply, &messages, &bench) > 0) {
			ck_assert_uint_lt(count, room);
			out[count++] = reply.code;
			workbench_wipe(&bench);
		}
	}
	door.outbox.used = 0;
	return count;
}

static struct request setting(const char *name)
{
	return (struct request){ .id = 1,
		.verb = VERB_SET,
		.numbered = true,
		.name = span_text(name),
		.key = key,
		.chunked = true,
		.chunks = { .count = 1, .last = 116, .final = true } };
}

START_TEST(many_requests_in_a_frame_get_their_answers_in_one)
{
	struct request requests[MESSAGE_FRAME_MAX];
	int got[MESSAGE_FRAME_MAX];

	for (size_t i = 0; i < MESSAGE_FRAME_MAX; i++)
		requests[i] = (struct request){ .id = i + 1, .verb = VERB_PING };
	say(requests, MESSAGE_FRAME_MAX, span_of(NULL, 0));
	ck_assert_int_eq(serve(), 0);
	ck_assert_int_eq(frame_size(span_of(door.outbox.bytes, door.outbox.used)),
		(int64_t)door.outbox.used);
	ck_assert_uint_eq(codes(got, MESSAGE_FRAME_MAX), MESSAGE_FRAME_MAX);
}
END_TEST

START_TEST(a_frame_cut_anywhere_is_served_when_it_is_whole)
{
	struct request ping = { .id = 1, .verb = VERB_PING };
	int got[1];
	size_t whole;

	say(&ping, 1, span_of(NULL, 0));
	whole = wire_size;
	for (size_t i = 0; i < whole; i++) {
		wire_size = i;
		ck_assert_int_eq(serve(), 0);
		ck_assert_uint_eq(wire_size, i);
		ck_assert_uint_eq(door.outbox.used, 0);
	}
	wire_size = whole;
	ck_assert_int_eq(serve(), 0);
	ck_assert_uint_eq(codes(got, 1), 1);
}
END_TEST

START_TEST(a_value_that_is_removed_in_the_same_frame_still_leaves_whole)
{
	struct request requests[3] = { setting("x"),
		{ .id = 2, .verb = VERB_GET, .name = span_text("x") },
		{ .id = 3, .verb = VERB_REMOVE, .name = span_text("x"), .numbered = true } };
	static uint8_t plain[FRAME_PLAIN_MAX], value[100];
	struct span input;
	struct frame frame;

	requests[2].number[0] = 9;
	memset(value, 'v', sizeof(value));
	enclave_seal_chunk(chunk, value, sizeof(value), 0, true, key);
	say(requests, 3, span_of(chunk, 116));
	ck_assert_int_eq(serve(), 0);
	input = span_of(door.outbox.bytes, door.outbox.used);
	ck_assert_int_eq(frame_next(&frame, &input), 1);
	ck_assert_int_gt(channel_open(&answers, &door.keys, &frame, plain), 0);
	ck_assert_uint_eq(frame.chunks.size, 116);
	ck_assert_mem_eq(frame.chunks.data, chunk, 116);
}
END_TEST

START_TEST(an_error_takes_back_what_was_answered_before_it)
{
	struct request ping = { .id = 1, .verb = VERB_PING };

	say(&ping, 1, span_of(NULL, 0));
	wire[12] ^= 1;
	ck_assert_int_eq(serve(), -EBADMSG);
	ck_assert_uint_eq(door.outbox.used, 0);
	door_must_be_clean(&door);
}
END_TEST

/* -- turns --------------------------------------------------------------------------------- */

START_TEST(a_turn_that_is_over_time_ends_with_its_frame_and_loses_nothing)
{
	struct span input;
	enum serve_end end;
	int got[4];

	for (uint64_t i = 1; i <= 3; i++) {
		struct request ping = { .id = i, .verb = VERB_PING };

		say(&ping, 1, span_of(NULL, 0));
	}
	input = span_of(wire, wire_size);
	for (size_t i = 1; i <= 3; i++) {
		ck_assert_int_eq(serve_frames(&door.served, &input, 0, &end), 0);
		ck_assert_int_eq(end, SERVE_OVERTIME);
		ck_assert_uint_eq(codes(got, 4), 1);
		ck_assert_uint_eq(input.size, wire_size / 3 * (3 - i));
	}
	ck_assert_int_eq(serve_frames(&door.served, &input, 0, &end), 0);
	ck_assert_int_eq(end, SERVE_DONE);
}
END_TEST

START_TEST(a_turn_that_is_over_time_within_a_frame_leaves_the_rest_of_it)
{
	struct request requests[4] = { { .id = 9, .verb = VERB_PING }, setting("x"),
		{ .id = 2, .verb = VERB_STAT, .name = span_text("x") },
		{ .id = 3, .verb = VERB_STAT, .name = span_text("y") } };
	static uint8_t value[100];
	struct span input;
	enum serve_end end;
	int got[4];

	enclave_seal_chunk(chunk, value, sizeof(value), 0, true, key);
	say(requests, 4, span_of(chunk, 116));
	say(&requests[3], 1, span_of(NULL, 0));
	input = span_of(wire, wire_size);
	for (size_t i = 0; i < 4; i++) {
		/* It is opened anew each time, and its first requests are not served again. */
		ck_assert_uint_eq(input.size, wire_size);
		ck_assert_uint_eq(door.served.begun, i);
		ck_assert_int_eq(serve_frames(&door.served, &input, 0, &end), 0);
		ck_assert_int_eq(end, SERVE_OVERTIME);
		ck_assert_uint_eq(codes(got, 4), 1);
		ck_assert_int_eq(got[0], i < 3 ? 0 : STATUS_NOT_FOUND);
		door_must_be_clean(&door);
	}
	ck_assert_uint_lt(input.size, wire_size);
	ck_assert_int_eq(serve_frames(&door.served, &input, UINT64_MAX, &end), 0);
	ck_assert_uint_eq(codes(got, 4), 1);
	ck_assert_uint_eq(input.size, 0);
	ck_assert_int_eq(end, SERVE_DONE);
}
END_TEST

START_TEST(a_turn_in_time_serves_all_frames)
{
	struct request ping = { .id = 1, .verb = VERB_PING };
	struct span input;
	enum serve_end end;
	int got[2];

	say(&ping, 1, span_of(NULL, 0));
	say(&ping, 1, span_of(NULL, 0));
	input = span_of(wire, wire_size);
	ck_assert_int_eq(serve_frames(&door.served, &input, UINT64_MAX, &end), 0);
	ck_assert_int_eq(end, SERVE_DONE);
	ck_assert_uint_eq(input.size, 0);
	ck_assert_uint_eq(codes(got, 2), 2);
}
END_TEST

/* What comes in one frame is served part by part while there are others, and is one set. */
START_TEST(chunks_of_one_frame_are_served_one_by_one_while_others_wait)
{
	static uint8_t sealed[4 * ENCLAVE_CHUNK_SIZE], plain[ENCLAVE_CHUNK_PLAIN];
	struct request set = setting("x");
	struct span input;
	enum serve_end end;
	int got[4];

	for (uint64_t i = 0; i < 4; i++)
		enclave_seal_chunk(sealed + i * ENCLAVE_CHUNK_SIZE, plain,
			i < 3 ? sizeof(plain) : 9, i, i == 3, key);
	set.chunks = (struct chunks){ .count = 4, .last = 25, .final = true };
	door.daemon.users.count = 2;
	for (int again = 0; again < 3; again++) {
		/* The second is refused at its beginning, the third at its end. */
		set.size = 3 * sizeof(plain) + 9 + (again == 2);
		if (again == 1)
			set.size = door.daemon.max_value + 1;
		set.number[0]++;
		wire_size = 0;
		say(&set, 1, span_of(sealed, 3 * ENCLAVE_CHUNK_SIZE + 25));
		input = span_of(wire, wire_size);
		for (unsigned i = 1; i <= 4; i++) {
			ck_assert_uint_eq(input.size, wire_size);
			ck_assert_int_eq(serve_frames(&door.served, &input, 0, &end), 0);
			ck_assert_int_eq(end, SERVE_OVERTIME);
			ck_assert_uint_eq(codes(got, 4), i == (again == 1 ? 1 : 4));
			ck_assert_uint_eq(door.served.begun, i % 4);
			/* What is under way has its step, and then the next part. */
			if (door.served.owed)
				ck_assert_int_eq(serve_frames(&door.served, &input, 0, &end), 0);
			door_must_be_clean(&door);
		}
		ck_assert_int_eq(got[0],
			again == 0           ? 0
				: again == 1 ? STATUS_LIMIT
					     : STATUS_INTEGRITY);
		ck_assert_uint_eq(input.size, 0);
		ck_assert_uint_eq(door.served.transfers.count, 0);
	}
	ck_assert_uint_eq(vault_count(door.daemon.vault), 1);
}
END_TEST

/* Another session of the same daemon stores something, in time. */
static void store_elsewhere(const char *name)
{
	static struct door other;
	static uint8_t plain[FRAME_PLAIN_MAX], bytes[FRAME_SIZE_MAX];
	struct request set = setting(name);
	size_t used = 0, size;
	enum serve_end end;
	struct span input;

	set.number[0] = 77;
	other.served = (struct served){ .daemon = &door.daemon, .outbox = &other.outbox };
	other.served.peer = (struct peer){ .pidfd = -1, .shown = &other.served.transfers.shown };
	ck_assert_int_eq(outbox_init(&other.outbox), 0);
	door_shake_hands(&other);
	ck_assert_int_eq(message_append_request(plain, &used, sizeof(plain), &set), 0);
	size = channel_seal(&other.channel, &other.keys, span_of(plain, used), 116, bytes);
	memcpy(bytes + size, chunk, 116);
	input = span_of(bytes, size + 116);
	ck_assert_int_eq(serve_frames(&other.served, &input, UINT64_MAX, &end), 0);
	outbox_finish(&other.outbox);
}

/* Whoever is called has a turn; if that is one that is owed to others, he has another one. */
START_TEST(who_is_called_when_others_are_owed_a_turn_is_looked_at)
{
	struct request list = { .id = 9, .verb = VERB_LIST, .name = span_text("") };
	struct request wait = {
		.id = 10, .verb = VERB_GET, .name = span_text("A"), .wait_ms = 60000
	};
	struct request set = setting("a");
	struct served *served = &door.served;
	static uint8_t value[100];
	struct span input;
	enum serve_end end;
	int got[16];

	enclave_seal_chunk(chunk, value, sizeof(value), 0, true, key);
	say(&set, 1, span_of(chunk, 116));
	say(&wait, 1, span_of(NULL, 0));
	ck_assert_int_eq(serve(), 0);
	ck_assert_uint_eq(codes(got, 16), 1);
	say(&list, 1, span_of(NULL, 0));
	input = span_of(wire, wire_size);
	/* Until the list is owed its last step, behind the get that waits. */
	do {
		ck_assert_int_eq(serve_frames(served, &input, 0, &end), 0);
		(void)codes(got, 16);
	} while (!(served->owed && served->next > 1));
	store_elsewhere("A");
	ck_assert_ptr_eq(wait_queue_next(&door.daemon.waits), &served->transfers.party);
	/* It is in line as long as this holds. */
	do {
		ck_assert_int_eq(serve_frames(served, &input, 0, &end), 0);
		(void)codes(got, 16);
	} while (served->owed || served->again || served->transfers.walks);
	ck_assert_ptr_null(served->transfers.waiters);
}
END_TEST

/* However little time there is: each kind of what is under way has its step, and so has input. */
START_TEST(what_is_under_way_and_what_comes_in_take_turns)
{
	struct request requests[] = { { .id = 9, .verb = VERB_LIST, .name = span_text("") },
		{ .id = 10, .verb = VERB_GET, .name = span_text("absent"), .wait_ms = 60000 },
		{ .id = 11, .verb = VERB_PING } };
	static const char *const names[] = { "a", "b", "c", "d", "e" };
	static uint8_t value[100];
	size_t told = 0, turns = 0, served = 0;
	struct span input;
	enum serve_end end;
	int got[16];

	enclave_seal_chunk(chunk, value, sizeof(value), 0, true, key);
	for (size_t i = 0; i < 5; i++) {
		struct request set = setting(names[i]);

		set.number[0] = (uint8_t)(i + 1);
		say(&set, 1, span_of(chunk, 116));
		ck_assert_int_eq(serve(), 0);
		ck_assert_uint_eq(codes(got, 16), 1);
		ck_assert_int_eq(got[0], 0);
	}
	say(&requests[0], 1, span_of(NULL, 0));
	say(&requests[1], 1, span_of(NULL, 0));
	for (size_t i = 0; i < 20; i++)
		say(&requests[2], 1, span_of(NULL, 0));
	input = span_of(wire, wire_size);
	while (door.served.transfers.walks || turns == 0) {
		size_t before = input.size;

		ck_assert_int_eq(serve_frames(&door.served, &input, 0, &end), 0);
		ck_assert_int_eq(end, SERVE_OVERTIME);
		served += input.size < before;
		turns++;
		told += codes(got, 16);
	}
	/* Five names and the end of the list; and for each step of those, and one of the get that
	 * waits, a request. */
	ck_assert_uint_ge(served, 5);
	ck_assert_uint_gt(input.size, 0);
	ck_assert_uint_le(turns, 20);
	ck_assert_uint_eq(told, 6 + served - 2);
	ck_assert_ptr_nonnull(door.served.transfers.waiters);
}
END_TEST

/* 2 MiB drawn, made into letters and sealed: milliseconds on any machine. */
START_TEST(the_masters_are_parted_with_in_the_midst_of_a_long_turn)
{
	enum { COUNT = 8 * MESSAGE_FRAME_MAX };
	static int got[COUNT];
	uint64_t begin;

	for (uint16_t i = 0; i < COUNT; i++) {
		static struct request requests[MESSAGE_FRAME_MAX];
		struct request *request = &requests[i % MESSAGE_FRAME_MAX];

		*request = (struct request){ .id = 1U + i,
			.verb = VERB_GENERATE,
			.name = span_text("g"),
			.size = 4096,
			.numbered = true };
		memcpy(request->number, &i, sizeof(i));
		request->number[15] = 1;
		if (i % MESSAGE_FRAME_MAX + 1 == MESSAGE_FRAME_MAX)
			say(requests, MESSAGE_FRAME_MAX, span_of(NULL, 0));
	}
	begin = daemon_now_ns();
	ck_assert_int_eq(serve(), 0);
	ck_assert_uint_eq(codes(got, COUNT), COUNT);
	for (size_t i = 0; i < COUNT; i++)
		ck_assert_int_eq(got[i], 0);
	ck_assert_uint_ge(door.daemon.forgotten_ns, begin + 1000000);
}
END_TEST

/* -- how deep the locked stack gets -------------------------------------------------------- */

static void serve_once(void *unused)
{
	(void)unused;
	ck_assert_int_eq(serve(), 0);
}

/* The public key in the daemon's Hello, which is still where it lay in the outbox. */
static void note_key(uint8_t public_key[static 32])
{
	memcpy(public_key, door.outbox.bytes + 16, 32);
}

static void draw_once(void *unused)
{
	(void)unused;
	ck_assert_int_eq(serve_draw(&door.served), 0);
}

START_TEST(a_key_pair_is_drawn_ahead_and_used_for_one_handshake)
{
	uint8_t keys[4][32];
	struct channel drawn;

	draw_once(NULL);
	door_must_be_clean(&door);
	ck_assert(door.served.drawn);
	drawn = door.served.channel;
	for (int i = 0; i < 2; i++) {
		door_shake_hands(&door);
		door_must_be_clean(&door);
		ck_assert(!door.served.drawn);
		note_key(keys[i]);
	}
	ck_assert_mem_ne(keys[0], keys[1], 32);
	/* It is the one that was drawn: a copy of it makes the same Hello, */
	door.served.channel = drawn;
	door.served.drawn = true;
	door_shake_hands(&door);
	note_key(keys[2]);
	ck_assert_mem_eq(keys[0], keys[2], 32);
	/* but where its master is no more, another one is drawn. */
	coffer_replace(&door.daemon.coffer, COFFER_CHANNEL);
	door.served.channel = drawn;
	door.served.drawn = true;
	door_shake_hands(&door);
	note_key(keys[3]);
	ck_assert_mem_ne(keys[0], keys[3], 32);
	door_must_be_clean(&door);
}
END_TEST

static void shake_hands_once(void *unused)
{
	(void)unused;
	door_shake_hands(&door);
}

static void depth_leaves_room(const char *what, void (*function)(void *))
{
	size_t depth = locked_stack_measure(&door.daemon.stack, function, NULL);

	printf("# %s takes %zu of %zu bytes of locked stack\n", what, depth,
		door.daemon.stack.size);
	ck_assert_uint_lt(depth + 1024, door.daemon.stack.size);
}

static struct tag *many_tags(void)
{
	static struct tag tags[MESSAGE_TAGS_MAX];
	static uint8_t text[MESSAGE_TAG_VALUE_MAX];
	static uint8_t keys[MESSAGE_TAGS_MAX];

	memset(text, 't', sizeof(text));
	for (size_t i = 0; i < MESSAGE_TAGS_MAX; i++) {
		keys[i] = (uint8_t)('a' + i);
		tags[i] = (struct tag){ span_of(&keys[i], 1), span_of(text, sizeof(text)) };
	}
	return tags;
}

START_TEST(every_verb_leaves_room_on_the_locked_stack)
{
	struct request set = setting("x");
	struct request others[] = {
		{ .verb = VERB_GET, .name = span_text("x") },
		{ .verb = VERB_STAT, .name = span_text("x") },
		{ .verb = VERB_LIST, .details = true },
		{ .verb = VERB_GENERATE, .name = span_text("g"), .size = 40000, .numbered = true },
		{ .verb = VERB_STATUS },
		{ .verb = VERB_WHOAMI },
		{ .verb = VERB_REMOVE, .name = span_text("x"), .numbered = true },
	};

	set.tags = (struct tags){ many_tags(), MESSAGE_TAGS_MAX };
	enclave_seal_chunk(chunk, wire, 100, 0, true, key);
	say(&set, 1, span_of(chunk, 116));
	depth_leaves_room("a set", serve_once);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		char what[32];

		others[i].id = i + 2;
		others[i].number[0] = (uint8_t)(i + 2);
		if (others[i].verb == VERB_GENERATE)
			others[i].tags = set.tags;
		say(&others[i], 1, span_of(NULL, 0));
		snprintf(what, sizeof(what), "verb %d", (int)others[i].verb);
		depth_leaves_room(what, serve_once);
	}
	depth_leaves_room("a handshake", shake_hands_once);
	depth_leaves_room("its first half", draw_once);
	depth_leaves_room("its second half", shake_hands_once);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("serve");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, many_requests_in_a_frame_get_their_answers_in_one);
	tcase_add_test(claims, a_frame_cut_anywhere_is_served_when_it_is_whole);
	tcase_add_test(claims, a_value_that_is_removed_in_the_same_frame_still_leaves_whole);
	tcase_add_test(claims, an_error_takes_back_what_was_answered_before_it);
	tcase_add_test(claims, a_turn_that_is_over_time_ends_with_its_frame_and_loses_nothing);
	tcase_add_test(claims, a_turn_that_is_over_time_within_a_frame_leaves_the_rest_of_it);
	tcase_add_test(claims, a_turn_in_time_serves_all_frames);
	tcase_add_test(claims, chunks_of_one_frame_are_served_one_by_one_while_others_wait);
	tcase_add_test(claims, what_is_under_way_and_what_comes_in_take_turns);
	tcase_add_test(claims, who_is_called_when_others_are_owed_a_turn_is_looked_at);
	tcase_add_test(claims, the_masters_are_parted_with_in_the_midst_of_a_long_turn);
	tcase_add_test(claims, a_key_pair_is_drawn_ahead_and_used_for_one_handshake);
	tcase_add_test(claims, every_verb_leaves_room_on_the_locked_stack);
	return claims_run(claims, "serve");
}
