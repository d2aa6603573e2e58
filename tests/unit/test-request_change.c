/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/upload.h"
#include "daemon/request/waiter.h"
#include "tests/unit/request_rig.h"

/* Rotations and other names as requests ask for them: who may, and what a repeat gets. */

static struct request moving(const char *name, const char *to)
{
	struct request request = changing(VERB_MOVE, name);

	request.to = span_text(to);
	return request;
}

static struct request rotating(const char *name, size_t size, uint64_t grace_ms)
{
	struct request request = setting(name, size);

	request.rotation = (struct rotation){ .asked = true, .grace_ms = grace_ms };
	return request;
}

/* The code, and the version in the answer. */
static int ask_as(const struct peer *peer, struct request request, uint64_t *versionp)
{
	struct note_of_reply *note;

	request.id = next_id++;
	note = request.verb == VERB_SET ? store_with(peer, request, (size_t)request.size)
					: ask(peer, request);
	*versionp = note->version;
	return note->code;
}

static int code_as(const struct peer *peer, struct request request)
{
	uint64_t version;

	return ask_as(peer, request, &version);
}

static int get_version(const char *name, uint64_t version)
{
	struct request request = getting(name);

	request.version = version;
	return code_as(&root, request);
}

/* What a second change of the kind finds is not what the first one was answered with. */
START_TEST(a_repeated_move_gets_its_first_answer)
{
	struct request first = moving("a", "b");
	struct request other = first;
	struct request vain = moving("c", "b");
	uint64_t version;

	store(&root, "a", 100);
	store(&root, "a", 100);
	ck_assert_int_eq(ask_as(&root, first, &version), 0);
	ck_assert_uint_eq(version, 2);
	store(&root, "c", 10);
	ck_assert_int_eq(ask_as(&root, vain, &version), STATUS_CONFLICT);
	ck_assert_uint_eq(version, 0);
	ck_assert_str_eq(notebook_last(&book)->detail, "the new name exists already");
	ck_assert_int_eq(code_as(&root, changing(VERB_REMOVE, "b")), 0);
	ck_assert_int_eq(ask_as(&root, first, &version), 0);
	ck_assert_uint_eq(version, 2);
	ck_assert_int_eq(code_as(&root, vain), STATUS_CONFLICT);
	ck_assert_int_eq(get_version("b", 0), STATUS_NOT_FOUND);
	/* The same number for something else. */
	other.to = span_text("d");
	ck_assert_int_eq(code_as(&root, other), STATUS_CONFLICT);
	ck_assert_int_eq(get_version("d", 0), STATUS_NOT_FOUND);
}
END_TEST

START_TEST(a_repeated_rotation_gets_its_first_answer)
{
	struct request first = rotating("a", 100, 60000);
	struct request other = first;
	struct request plain = first;
	uint64_t version;

	store(&root, "a", 100);
	ck_assert_int_eq(ask_as(&root, first, &version), 0);
	ck_assert_uint_eq(version, 2);
	store(&root, "a", 100);
	ck_assert_int_eq(ask_as(&root, first, &version), 0);
	ck_assert_uint_eq(version, 2);
	other.rotation.grace_ms++;
	plain.rotation = (struct rotation){ 0 };
	ck_assert_int_eq(code_as(&root, other), STATUS_CONFLICT);
	ck_assert_int_eq(code_as(&root, plain), STATUS_CONFLICT);
	ck_assert_int_eq(get_version("a", 1), 0);
	ck_assert_int_eq(get_version("a", 2), STATUS_NOT_FOUND);
	ck_assert_int_eq(get_version("a", 3), 0);
	ck_assert_int_eq(get_version("a", 4), STATUS_NOT_FOUND);
}
END_TEST

/*
 * The answers of one program are the next one's: what it knows a request by never changes. These
 * are BLAKE2b over the fields in upload.c, made without it.
 */
static const struct {
	struct request request;
	const char *name;
	const char *digest;
} known[] = {
	{ { .verb = VERB_REMOVE }, "a", "e1912ae8641b9afb32efd59f958924b9" },
	{ { .verb = VERB_SET,
		  .size = 100,
		  .conditions = { .create_only = true },
		  .lifetime = { .ttl_ms = 5000, .reads = 2 },
		  .tags = { &(const struct tag){
				    { (const uint8_t *)"env", 3 }, { (const uint8_t *)"prod", 4 } },
			  1 } },
		"a", "b0ceb7c0fd00e82c1480e20b6f99bac2" },
	{ { .verb = VERB_COMMIT, .secrets = 3 }, "", "3e4a2f9c429a29e5ae0689a60d261350" },
	{ { .verb = VERB_MOVE,
		  .to = { (const uint8_t *)"b", 1 },
		  .conditions = { .compare = true, .version = 7 } },
		"a", "bb422af5293d3871d2406e5ad7a8bf7a" },
	{ { .verb = VERB_SET, .size = 100, .rotation = { true, 60000 } }, "a",
		"2e16065bee4e7b84cfdc414ff732764e" },
};

START_TEST(the_next_program_knows_a_repeated_request_again)
{
	uint8_t digest[REPEAT_DIGEST_SIZE];
	char text[2 * REPEAT_DIGEST_SIZE + 1];

	request_digest(digest, &known[_i].request, span_text(known[_i].name));
	sodium_bin2hex(text, sizeof(text), digest, sizeof(digest));
	ck_assert_str_eq(text, known[_i].digest);
}
END_TEST

START_TEST(what_is_drawn_can_be_rotated_too)
{
	struct request drawn = changing(VERB_GENERATE, "a");
	uint64_t version;

	drawn.size = 32;
	drawn.rotation = (struct rotation){ .asked = true, .grace_ms = 60000 };
	ck_assert_int_eq(code_as(&root, drawn), STATUS_NOT_FOUND);
	ck_assert_int_eq(code_as(&root, rotating("a", 10, 0)), STATUS_NOT_FOUND);
	ck_assert_str_eq(notebook_last(&book)->detail, "no such secret to rotate");
	store(&root, "a", 100);
	drawn.number[0] ^= 1;
	ck_assert_int_eq(ask_as(&root, drawn, &version), 0);
	ck_assert_uint_eq(version, 2);
	ck_assert_int_eq(ask_as(&root, drawn, &version), 0);
	ck_assert_uint_eq(version, 2);
	ck_assert_int_eq(get_version("a", 1), 0);
	ck_assert_int_eq(get_version("a", 2), 0);
	ck_assert_uint_eq(notebook_last(&book)->size, 32);
}
END_TEST

/* Refused before anything is looked up: whether it is there or not. */
START_TEST(nothing_is_moved_or_rotated_that_is_not_ones_own)
{
	static const char *const names[][2] = { { "shared", "~/mine" }, { "absent", "~/mine" },
		{ "~/x", "shared2" }, { "~/absent", "shared2" }, { "~/x", "~4242/x" },
		{ "~4242/x", "~/mine" } };
	struct record *record = NULL;

	store(&root, "shared", 100);
	store(&user, "~/x", 100);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ck_assert_int_eq(code_as(&user, moving(names[i][0], names[i][1])), STATUS_DENIED);
		ck_assert_str_eq(notebook_last(&book)->detail, "policy does not allow it");
	}
	ck_assert_int_eq(code_as(&user, rotating("shared", 10, 1000)), STATUS_DENIED);
	ck_assert_int_eq(code_as(&user, rotating("absent", 10, 1000)), STATUS_DENIED);
	ck_assert_int_eq(code_as(&user, rotating("~/x", 10, 1000)), 0);
	ck_assert_int_eq(code_as(&user, moving("~/x", "~/y")), 0);
	ck_assert_int_eq(get_version("~1000/y", 1), 0);
	ck_assert_int_eq(get_version("~1000/y", 2), 0);
	ck_assert_int_eq(get_version("shared", 0), 0);
	/* A refusal is no answer to be kept: what changes is the policy. */
	ck_assert_int_eq(code_as(&root, moving("~1000/y", "shared2")), 0);
	ck_assert_int_eq(vault_find(house.vault, span_text("shared2"), &record), 0);
	ck_assert_uint_eq(record_owner(record), 0);
}
END_TEST

START_TEST(a_get_waits_for_a_name_that_is_given)
{
	struct request request = getting("b");

	store(&root, "a", 10);
	request.wait_ms = 60000;
	ck_assert_ptr_null(ask(&root, request));
	ck_assert_int_eq(code_as(&root, moving("a", "b")), 0);
	ck_assert_ptr_eq(wait_queue_next(&house.waits), &transfers.party);
	ck_assert_int_eq(waiters_look(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(notebook_last(&book)->id, request.id);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("request_change");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, a_repeated_move_gets_its_first_answer);
	tcase_add_test(claims, a_repeated_rotation_gets_its_first_answer);
	tcase_add_loop_test(claims, the_next_program_knows_a_repeated_request_again, 0,
		(int)(sizeof(known) / sizeof(known[0])));
	tcase_add_test(claims, what_is_drawn_can_be_rotated_too);
	tcase_add_test(claims, nothing_is_moved_or_rotated_that_is_not_ones_own);
	tcase_add_test(claims, a_get_waits_for_a_name_that_is_given);
	return claims_run(claims, "request_change");
}
