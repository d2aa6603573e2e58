/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "common/status.h"
#include "common/wire/frame.h"
#include "common/wire/message.h"
#include "common/wire/name.h"
#include "daemon/outbox.h"
#include "tests/unit/claims.h"
#include "tests/unit/rig.h"

/* What is asked and told of tokens. */

static struct rig rig;
static uint8_t plain[FRAME_PLAIN_MAX];
static const uint8_t bytes[MESSAGE_TOKEN_SIZE] = { 1, 2, 3 };
static char text[NAME_FILED_MAX];

static void set_up(void)
{
	rig_init(&rig);
	memset(text, 'x', sizeof(text));
}

static int trip(const struct request *request, struct request *back)
{
	struct messages messages = { 0 };
	size_t used = 0;

	ck_assert_int_eq(message_append_request(plain, &used, sizeof(plain), request), 0);
	messages.plain = span_of(plain, used);
	return message_next_request(back, &messages, &rig.bench);
}

static void check_grants(const struct grants *a, const struct grants *b)
{
	ck_assert_uint_eq(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		ck_assert(span_equal(a->grant[i].operations, b->grant[i].operations));
		ck_assert(span_equal(a->grant[i].glob, b->grant[i].glob));
	}
}

static const struct grant two[] = {
	{ { (const uint8_t *)"get,stat", 8 }, { (const uint8_t *)"web/*", 5 } },
	{ { (const uint8_t *)"*", 1 }, { (const uint8_t *)"~/**", 4 } },
};

START_TEST(requests_come_back_as_they_were_written)
{
	const struct request issue = { .id = 1,
		.verb = VERB_ISSUE_TOKEN,
		.name = span_text("~/ci"),
		.grants = { two, 2 },
		.lifetime.ttl_ms = 99,
		.uses = 7,
		.of_uid = true,
		.uid = 33,
		.unit = span_text("nginx.service") };
	struct request back;

	ck_assert_int_eq(trip(&issue, &back), 1);
	ck_assert_ptr_null(back.fault);
	ck_assert_int_eq(back.verb, VERB_ISSUE_TOKEN);
	ck_assert(span_equal(back.name, issue.name));
	check_grants(&back.grants, &issue.grants);
	ck_assert_uint_eq(back.lifetime.ttl_ms, 99);
	ck_assert_uint_eq(back.uses, 7);
	ck_assert(back.of_uid);
	ck_assert_uint_eq(back.uid, 33);
	ck_assert(span_equal(back.unit, issue.unit));
	ck_assert_int_eq(trip(&(struct request){ .id = 1,
				      .verb = VERB_REVOKE_TOKEN,
				      .name = span_text("~/ci") },
				 &back),
		1);
	ck_assert(span_equal(back.name, issue.name));
	ck_assert_int_eq(trip(&(struct request){ .id = 1,
				      .verb = VERB_LIST_TOKENS,
				      .after = span_text("~/ci") },
				 &back),
		1);
	ck_assert(span_equal(back.after, issue.name));
	ck_assert_int_eq(
		trip(&(struct request){ .id = 1, .verb = VERB_SHOW_TOKEN, .token = bytes }, &back),
		1);
	ck_assert_mem_eq(back.token, bytes, sizeof(bytes));
	ck_assert_int_eq(trip(&(struct request){ .id = 1,
				      .verb = VERB_WRAP,
				      .name = span_text("~/ci"),
				      .lifetime.ttl_ms = 5,
				      .uses = 6 },
				 &back),
		1);
	ck_assert(span_equal(back.name, issue.name));
	ck_assert_uint_eq(back.lifetime.ttl_ms, 5);
	ck_assert_uint_eq(back.uses, 6);
	ck_assert_ptr_null(back.fault);
	ck_assert_int_eq(
		trip(
			&(struct request){
				.id = 1, .verb = VERB_UNWRAP, .token = bytes, .lookup = true },
			&back),
		1);
	ck_assert_mem_eq(back.token, bytes, sizeof(bytes));
	ck_assert(back.lookup);
	ck_assert_ptr_null(back.fault);
	ck_assert_int_eq(trip(&(struct request){ .id = 1, .verb = VERB_UNWRAP }, &back), 1);
	ck_assert_int_eq(back.fault_status, STATUS_INVALID);
	ck_assert_int_eq(trip(&(struct request){ .id = 1, .verb = VERB_SHOW_TOKEN }, &back), 1);
	ck_assert_ptr_null(back.token);
	ck_assert_ptr_null(back.fault);
}
END_TEST

static struct request issue_of(const struct grant *grants, size_t count)
{
	return (struct request){ .id = 1,
		.verb = VERB_ISSUE_TOKEN,
		.name = span_text("~/ci"),
		.grants = { grants, count } };
}

START_TEST(what_cannot_be_granted_is_answered)
{
	const struct grant bad[] = { { span_text(""), span_text("a") },
		{ span_text("get"), span_text("") }, { span_text("get"), span_text("a\n") },
		{ span_text("\xff"), span_text("a") }, { span_of(text, 256), span_text("a") } };
	struct grant many[MESSAGE_GRANTS_MAX];
	struct request request = issue_of(NULL, 0);
	struct request back;

	ck_assert_int_eq(trip(&request, &back), 1);
	ck_assert_int_eq(back.fault_status, STATUS_INVALID);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		request = issue_of(&bad[i], 1);
		ck_assert_int_eq(trip(&request, &back), 1);
		ck_assert_int_eq(back.fault_status, STATUS_INVALID);
	}
	for (size_t i = 0; i < MESSAGE_GRANTS_MAX; i++)
		many[i] = (struct grant){ span_text("get"), span_of(text, 253) };
	request = issue_of(many, MESSAGE_GRANTS_MAX);
	ck_assert_int_eq(trip(&request, &back), 1);
	ck_assert_ptr_null(back.fault);
	many[0].glob.size++;
	ck_assert_int_eq(trip(&request, &back), 1);
	ck_assert_int_eq(back.fault_status, STATUS_INVALID);
}
END_TEST

START_TEST(a_token_has_32_bytes)
{
	/* id 1, show_token with a token of two bytes. */
	static const uint8_t two_bytes[] = { 9, 0, 0x08, 1, 0xfa, 0x02, 4, 0x0a, 2, 1, 2 };
	struct messages messages = { .plain = span_of(two_bytes, sizeof(two_bytes)) };
	struct request back;

	ck_assert_int_eq(message_next_request(&back, &messages, &rig.bench), 1);
	ck_assert_int_eq(back.verb, VERB_SHOW_TOKEN);
	ck_assert_int_eq(back.fault_status, STATUS_INVALID);
}
END_TEST

START_TEST(answers_come_back_as_they_were_written)
{
	const struct reply replies[] = { { .id = 1, .body = BODY_ISSUED, .key = bytes },
		{ .id = 2,
			.body = BODY_TOKEN,
			.token = { .name = span_text("~/ci"),
				.issuer = 1000,
				.created_ms = 5,
				.grants = { two, 2 },
				.ttl_ms = 6,
				.uses = 7,
				.left = 3,
				.of_uid = true,
				.uid = 33,
				.unit = span_text("a.service") } },
		{ .id = 3,
			.body = BODY_WRAPPED,
			.token = { .name = span_text("~/x"),
				.issuer = 1001,
				.created_ms = 8,
				.ttl_ms = 9,
				.uses = 10,
				.left = 11 } } };
	struct messages messages = { 0 };
	struct reply back;
	size_t used = 0;

	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(message_append_reply(plain, &used, sizeof(plain), &replies[i]), 0);
	messages.plain = span_of(plain, used);
	ck_assert_int_eq(message_next_reply(&back, &messages, &rig.bench), 1);
	ck_assert_int_eq(back.body, BODY_ISSUED);
	ck_assert_mem_eq(back.key, bytes, sizeof(bytes));
	ck_assert_int_eq(message_next_reply(&back, &messages, &rig.bench), 1);
	ck_assert_int_eq(back.body, BODY_TOKEN);
	ck_assert(span_equal(back.token.name, replies[1].token.name));
	check_grants(&back.token.grants, &replies[1].token.grants);
	ck_assert_uint_eq(back.token.issuer, 1000);
	ck_assert_int_eq(back.token.created_ms, 5);
	ck_assert_uint_eq(back.token.ttl_ms, 6);
	ck_assert_uint_eq(back.token.uses, 7);
	ck_assert_uint_eq(back.token.left, 3);
	ck_assert(back.token.of_uid);
	ck_assert_uint_eq(back.token.uid, 33);
	ck_assert(span_equal(back.token.unit, replies[1].token.unit));
	ck_assert_int_eq(message_next_reply(&back, &messages, &rig.bench), 1);
	ck_assert_int_eq(back.body, BODY_WRAPPED);
	ck_assert(span_equal(back.token.name, replies[2].token.name));
	ck_assert_uint_eq(back.token.issuer, 1001);
	ck_assert_int_eq(back.token.created_ms, 8);
	ck_assert_uint_eq(back.token.ttl_ms, 9);
	ck_assert_uint_eq(back.token.uses, 10);
	ck_assert_uint_eq(back.token.left, 11);
}
END_TEST

/* Filed globs are longer than what was asked for. */
START_TEST(the_largest_token_fits_a_frame_of_answers)
{
	struct grant many[MESSAGE_GRANTS_MAX];
	struct reply reply = { .id = UINT64_MAX,
		.body = BODY_TOKEN,
		.token = { .name = span_of(text, NAME_MAX_SIZE),
			.issuer = UINT32_MAX,
			.created_ms = INT64_MIN,
			.grants = { many, MESSAGE_GRANTS_MAX },
			.ttl_ms = UINT64_MAX,
			.uses = UINT32_MAX,
			.left = UINT32_MAX,
			.of_uid = true,
			.uid = UINT32_MAX,
			.unit = span_of(text, MESSAGE_UNIT_MAX) } };
	struct messages messages = { 0 };
	struct reply back;
	size_t used = 0;

	for (size_t i = 0; i < MESSAGE_GRANTS_MAX; i++)
		many[i] = (struct grant){ span_text("get"), span_of(text, 253 + 10) };
	ck_assert_int_eq(message_append_reply(plain, &used, OUTBOX_PLAIN_MAX, &reply), 0);
	messages.plain = span_of(plain, used);
	ck_assert_int_eq(message_next_reply(&back, &messages, &rig.bench), 1);
	check_grants(&back.token.grants, &reply.token.grants);
}
END_TEST

START_TEST(words_that_steer_are_no_message)
{
	const struct grant bad = { span_text("get"), span_text("\x1b[2J") };
	struct reply replies[] = {
		{ .id = 1,
			.body = BODY_TOKEN,
			.token = { .name = span_text("a\n"), .grants = { two, 1 } } },
		{ .id = 1,
			.body = BODY_TOKEN,
			.token = { .name = span_text("a"), .grants = { &bad, 1 } } },
		{ .id = 1,
			.body = BODY_TOKEN,
			.token = { .name = span_text("a"),
				.grants = { two, 1 },
				.unit = span_text("\x1b") } },
		{ .id = 1, .body = BODY_CALLER, .caller = { .token = span_text("\x1b") } },
		{ .id = 1,
			.body = BODY_TOKEN,
			.token = { .name = span_text("a"), .grants = { two, 1 } } },
	};
	struct messages messages = { 0 };
	struct reply back;
	size_t used = 0;

	ck_assert_int_eq(message_append_reply(plain, &used, sizeof(plain), &replies[_i]), 0);
	messages.plain = span_of(plain, used);
	ck_assert_int_eq(message_next_reply(&back, &messages, &rig.bench), _i == 4 ? 1 : -EPROTO);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("message_token");

	tcase_add_checked_fixture(claims, set_up, NULL);
	tcase_add_test(claims, requests_come_back_as_they_were_written);
	tcase_add_test(claims, what_cannot_be_granted_is_answered);
	tcase_add_test(claims, a_token_has_32_bytes);
	tcase_add_test(claims, answers_come_back_as_they_were_written);
	tcase_add_test(claims, the_largest_token_fits_a_frame_of_answers);
	tcase_add_loop_test(claims, words_that_steer_are_no_message, 0, 5);
	return claims_run(claims, "what is said of tokens");
}
