/* SPDX-License-Identifier: Apache-2.0 */

/* A secret on its way to somebody, once: request_serve with invented peers. */
#include "tests/unit/token_rig.h"

struct wrapped {
	uint8_t bytes[VAULT_TOKEN_SIZE];
};

static struct request wish(const char *name)
{
	return (struct request){ .verb = VERB_WRAP, .name = span_text(name) };
}

static struct wrapped wrap_with(const struct peer *peer, struct request request)
{
	struct note_of_reply *note = ask(peer, request);
	struct wrapped wrapped;

	ck_assert_msg(note->code == 0, "%s", note->detail);
	ck_assert_int_eq(note->body, BODY_ISSUED);
	memcpy(wrapped.bytes, note->key, sizeof(wrapped.bytes));
	return wrapped;
}

static struct wrapped wrap(const char *name)
{
	return wrap_with(&user, wish(name));
}

static struct note_of_reply *unwrap(size_t who, const struct wrapped *wrapped)
{
	return ask_of(who, (struct request){ .verb = VERB_UNWRAP, .token = wrapped->bytes });
}

static struct note_of_reply *look_up(size_t who, const struct wrapped *wrapped)
{
	return ask_of(who,
		(struct request){ .verb = VERB_UNWRAP, .token = wrapped->bytes, .lookup = true });
}

/* What came is the value, under its own key. */
static void check_value(const struct note_of_reply *note, size_t size)
{
	uint8_t plain[ENCLAVE_CHUNK_PLAIN];

	ck_assert_msg(note->code == 0, "%d: %s", note->code, note->detail);
	ck_assert_int_eq(note->body, BODY_VALUE);
	ck_assert_uint_eq(note->size, size);
	ck_assert_int_eq(
		enclave_open_chunk(plain, note->bytes, note->bytes_size, 0, true, note->key), 0);
	ck_assert_mem_eq(plain, value, size);
}

START_TEST(it_is_unwrapped_once_by_whoever_has_it)
{
	struct wrapped wrapped;

	store(&user, "~/a", 100);
	wrapped = wrap("~/a");
	ck_assert_int_eq(get_of(0, "~1000/a"), STATUS_DENIED);
	check_value(unwrap(0, &wrapped), 100);
	ck_assert_int_eq(unwrap(0, &wrapped)->code, STATUS_GONE);
	ck_assert_int_eq(unwrap(1, &wrapped)->code, STATUS_GONE);
	ck_assert_int_eq(look_up(1, &wrapped)->code, STATUS_GONE);
	ck_assert_int_eq(get_of(0, "~1000/a"), STATUS_DENIED);
	next_process();
	ck_assert_int_eq(unwrap(1, &wrapped)->code, STATUS_GONE);
	ck_assert_uint_eq(vault_broken(house.vault), 0);
}
END_TEST

START_TEST(it_outlives_a_process_and_its_uses_do)
{
	struct request request = wish("~/a");
	struct wrapped wrapped;

	store(&user, "~/a", 100);
	request.uses = 3;
	wrapped = wrap_with(&user, request);
	for (uint32_t left = 3; left > 0; left--) {
		struct note_of_reply *note = look_up(1, &wrapped);

		ck_assert_int_eq(note->body, BODY_WRAPPED);
		ck_assert_uint_eq(note->token.left, left);
		ck_assert_uint_eq(note->token.uses, 3);
		ck_assert_uint_eq(note->token.issuer, 1000);
		check_value(unwrap(left % 3, &wrapped), 100);
		next_process();
	}
	ck_assert_int_eq(unwrap(0, &wrapped)->code, STATUS_GONE);
}
END_TEST

START_TEST(a_look_is_no_use)
{
	struct request request = wish("~/a");
	struct wrapped wrapped;

	store(&user, "~/a", 100);
	request.lifetime.ttl_ms = 60000;
	wrapped = wrap_with(&user, request);
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(look_up(0, &wrapped)->code, 0);
		ck_assert_str_eq(notebook_last(&book)->name, "~1000/a");
		ck_assert_uint_le(notebook_last(&book)->token.ttl_ms, 60000);
		ck_assert_uint_gt(notebook_last(&book)->token.ttl_ms, 50000);
	}
	check_value(unwrap(0, &wrapped), 100);
}
END_TEST

/* Another version, another secret of that name, and the same one of another name. */
START_TEST(what_was_changed_since_is_not_what_was_wrapped)
{
	struct wrapped wrapped[4];
	struct request move = changing(VERB_MOVE, "~/c");

	for (int i = 0; i < 4; i++) {
		const char *name = (const char *[]){ "~/a", "~/b", "~/c", "~/d" }[i];

		store(&user, name, 100);
		wrapped[i] = wrap(name);
	}
	store(&user, "~/a", 100);
	ck_assert_int_eq(ask(&user, changing(VERB_REMOVE, "~/b"))->code, 0);
	store(&user, "~/b", 100);
	move.to = span_text("~/e");
	ck_assert_int_eq(ask(&user, move)->code, 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(look_up(0, &wrapped[i])->code, STATUS_GONE);
		ck_assert_int_eq(unwrap(0, &wrapped[i])->code, STATUS_GONE);
	}
	check_value(unwrap(0, &wrapped[3]), 100);
	/* A version in its grace can be had as long as that lasts. */
	wrapped[0] = wrap("~/a");
	{
		struct request rotate = setting("~/a", 100);

		rotate.rotation = (struct rotation){ .asked = true, .grace_ms = 60000 };
		ck_assert_int_eq(store_with(&user, rotate, 100)->code, 0);
	}
	check_value(unwrap(0, &wrapped[0]), 100);
}
END_TEST

START_TEST(it_lets_nobody_have_what_its_issuer_may_not)
{
	struct wrapped wrapped;

	store(&root, "web/a", 100);
	ck_assert_int_eq(ask(&user, wish("web/a"))->code, STATUS_DENIED);
	ck_assert_int_eq(ask(&user, wish("web/none"))->code, STATUS_DENIED);
	rule("[namespace web]\nallow = get * uid:1000\n");
	wrapped = wrap("web/a");
	rule("[namespace web]\n");
	ck_assert_int_eq(unwrap(0, &wrapped)->code, STATUS_DENIED);
	rule("[namespace web]\nallow = get * uid:1000\ndeny = get * uid:1001\n");
	ck_assert_int_eq(unwrap(0, &wrapped)->code, STATUS_DENIED);
	ck_assert_int_eq(look_up(0, &wrapped)->code, STATUS_DENIED);
	rule("[namespace web]\nallow = get * uid:1000\nrequire-reason = get\n");
	ck_assert_int_eq(unwrap(0, &wrapped)->code, STATUS_DENIED);
	ck_assert_ptr_nonnull(strstr(notebook_last(&book)->detail, "reason"));
	/* None of that was a use. */
	check_value(ask_of(0,
			    (struct request){ .verb = VERB_UNWRAP,
				    .token = wrapped.bytes,
				    .reason = span_text("why") }),
		100);
}
END_TEST

START_TEST(what_is_not_there_cannot_be_wrapped)
{
	ck_assert_int_eq(ask(&user, wish("~/none"))->code, STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
}
END_TEST

/* A token is no wrap, and a wrap is no token. */
START_TEST(one_is_not_the_other)
{
	const struct grant grant = { span_text("get"), span_text("~/*") };
	struct request issue = {
		.verb = VERB_ISSUE_TOKEN, .name = span_text("~/ci"), .grants = { &grant, 1 }
	};
	struct wrapped wrapped, token;
	size_t before;

	store(&user, "~/a", 100);
	wrapped = wrap("~/a");
	token = wrap_with(&user, issue);
	ck_assert_int_eq(unwrap(0, &token)->code, STATUS_DENIED);
	ck_assert_int_eq(
		ask_of(1, (struct request){ .verb = VERB_SHOW_TOKEN, .token = wrapped.bytes })
			->code,
		STATUS_DENIED);
	/* And it is in no list of them, nor in the way of their names. */
	before = book.count;
	ask(&user, (struct request){ .verb = VERB_LIST_TOKENS });
	ck_assert_uint_eq(book.count, before + 2);
	ck_assert_uint_eq(tokens_count(house.tokens), 1);
	issue.name = span_text("~/a");
	wrap_with(&user, issue);
}
END_TEST

START_TEST(a_wrong_one_slows_down_its_caller)
{
	struct wrapped wrapped, wrong;

	store(&user, "~/a", 100);
	wrapped = wrong = wrap("~/a");
	wrong.bytes[0] ^= 1;
	ck_assert_int_eq(unwrap(0, &wrong)->code, STATUS_DENIED);
	ck_assert_ptr_null(ask_of(0,
		(struct request){ .verb = VERB_UNWRAP,
			.token = wrapped.bytes,
			.reason = span_text("it waits, too") }));
	ck_assert_uint_eq(sessions[0].count, 1);
	/* In the meantime it is another's. */
	check_value(unwrap(1, &wrapped), 100);
	usleep((PENALTY_FIRST_MS + 10) * 1000);
	ck_assert_int_eq(showings_look(&sessions[0], &house, &book.answers), 0);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_GONE);
	ck_assert_uint_eq(sessions[0].count, 0);
}
END_TEST

/* A fetch is a fetch. */
START_TEST(it_counts_as_a_fetch)
{
	struct request once = setting("~/once", 100);
	struct wrapped wrapped;

	once.lifetime.reads = 1;
	ck_assert_int_eq(store_with(&user, once, 100)->code, 0);
	wrapped = wrap("~/once");
	check_value(unwrap(0, &wrapped), 100);
	ck_assert_int_eq(ask(&user, getting("~/once"))->code, STATUS_GONE);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("wrap");

	tcase_add_checked_fixture(claims, open_lasting_house, close_house);
	tcase_add_test(claims, it_is_unwrapped_once_by_whoever_has_it);
	tcase_add_test(claims, it_outlives_a_process_and_its_uses_do);
	tcase_add_test(claims, a_look_is_no_use);
	tcase_add_test(claims, what_was_changed_since_is_not_what_was_wrapped);
	tcase_add_test(claims, it_lets_nobody_have_what_its_issuer_may_not);
	tcase_add_test(claims, what_is_not_there_cannot_be_wrapped);
	tcase_add_test(claims, one_is_not_the_other);
	tcase_add_test(claims, a_wrong_one_slows_down_its_caller);
	tcase_add_test(claims, it_counts_as_a_fetch);
	return claims_run(claims, "wraps");
}
