/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A stranger asks for what is there, for what is not, and for what was, by every verb that names a
 * secret, while memcheck takes all of the vault for memory that nobody may touch: no turn that the
 * daemon takes until it has refused, and so no time that this takes, hangs on what is stored. The
 * vault is reached by one address only; under it are the index, the ledger and all else.
 *
 * With PLANTED_LOOK it looks the name up before it decides.
 */
#include <sodium.h>
#include <valgrind/memcheck.h>

#include "daemon/policy/policy.h"
#include "daemon/vault/vault.h"

#ifdef PLANTED_LOOK
static struct vault *vault_to_look_in;

static struct policy_verdict ask_after_a_look(
	const struct policy *policy, const struct peer *peer, enum right right, struct span name)
{
	struct record *record;

	if (vault_to_look_in)
		(void)vault_find(vault_to_look_in, name, &record);
	return policy_ask(policy, peer, right, name);
}

#define policy_ask ask_after_a_look
#include "daemon/request/request.c"
#undef policy_ask
#endif

#include "daemon/vault/vault_inside.h"
#include "tests/unit/policy_rig.h"
#include "tests/unit/request_rig.h"

static const char *const names[] = { "web/present", "web/absent", "web/frozen", "web/consumed",
	"~0/present", "~0/absent", "open/present", "open/absent" };

/* Each beside what it needs to be well formed. */
static const struct request named[] = {
	{ .verb = VERB_GET },
	{ .verb = VERB_GET, .wait_ms = 1000 },
	{ .verb = VERB_GET, .version = 1 },
	{ .verb = VERB_SET, .numbered = true, .key = key, .size = 1 },
	{ .verb = VERB_SET, .numbered = true, .key = key, .conditions = { .create_only = true } },
	{ .verb = VERB_SET, .numbered = true, .key = key, .rotation = { .asked = true } },
	{ .verb = VERB_GENERATE, .numbered = true, .size = 16 },
	{ .verb = VERB_REMOVE, .numbered = true },
	{ .verb = VERB_STAT },
	{ .verb = VERB_TOUCH, .numbered = true, .lifetime = { .ttl_ms = 1000 } },
	{ .verb = VERB_FREEZE, .numbered = true },
	{ .verb = VERB_MELT, .numbered = true },
	{ .verb = VERB_VERIFY, .key = key, .size = 1 },
	{ .verb = VERB_STREAM_WRITE, .numbered = true, .key = key },
	{ .verb = VERB_STREAM_READ },
	{ .verb = VERB_MOVE, .numbered = true },
	{ .verb = VERB_WRAP },
	{ .verb = VERB_STAGE, .numbered = true, .key = key, .size = 1 },
};

static void fill(void)
{
	struct request frozen = setting("web/frozen", 100);
	struct request consumed = setting("web/consumed", 100);

	frozen.freeze = true;
	consumed.lifetime.reads = 1;
	ck_assert(store(&root, "web/present", 100)->code == 0);
	ck_assert(store_with(&root, frozen, 100)->code == 0);
	ck_assert(store_with(&root, consumed, 100)->code == 0);
	ck_assert(ask(&root, getting("web/consumed"))->code == 0);
	ck_assert(ask(&root, getting("web/consumed"))->code == STATUS_GONE);
	ck_assert(store(&root, "~/present", 100)->code == 0);
	ck_assert(store(&root, "open/present", 100)->code == 0);
}

/* The stranger may do something elsewhere, and is denied something by name: rules are looked at. */
static void write_policy(void)
{
	static const char *const texts[] = { "[namespace open]\nallow = ls public/** uid:1000\n"
					     "deny = get present uid:1000\n",
		NULL };

	house.policy.book = rig_book(texts);
}

static void refused(struct request request, const char *name)
{
	struct note_of_reply *note;

	request.name = span_text(name);
	request.to = span_text("web/elsewhere");
	randombytes_buf(request.number, sizeof(request.number));
	note = ask(&user, request);
	ck_assert(note && note->code == STATUS_DENIED);
	ck_assert(strcmp(note->detail, NOT_ALLOWED) == 0);
}

/* What others have under a prefix: the answer is empty, and nothing was passed over for it. */
static void lists_nothing(const char *prefix)
{
	struct note_of_reply *note = ask(&user,
		(struct request){ .verb = VERB_LIST, .name = span_text(prefix), .details = true });

	ck_assert(note && note->code == 0 && note->body == BODY_LISTING && !note->more);
}

/* Memcheck does not know where the locked stack begins: what it says of other times is nothing. */
static void close_vault(void)
{
	(void)VALGRIND_MAKE_MEM_NOACCESS(house.vault, sizeof(*house.vault));
	VALGRIND_ENABLE_ERROR_REPORTING;
}

static void open_vault(void)
{
	VALGRIND_DISABLE_ERROR_REPORTING;
	(void)VALGRIND_MAKE_MEM_DEFINED(house.vault, sizeof(*house.vault));
}

START_TEST(nothing_is_looked_up_for_a_stranger)
{
	VALGRIND_DISABLE_ERROR_REPORTING;
	set_up();
	fill();
	write_policy();
#ifdef PLANTED_LOOK
	vault_to_look_in = house.vault;
#endif
	close_vault();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (size_t k = 0; k < sizeof(named) / sizeof(named[0]); k++) {
			refused(named[k], names[i]);
			book.count = 0;
		}
	}
	open_vault();
	policy_book_free(house.policy.book);
	house.policy.book = NULL;
	close_vault();
	lists_nothing("web/");
	lists_nothing("~0/present");
	open_vault();
	tear_down();
	VALGRIND_ENABLE_ERROR_REPORTING;
}
END_TEST

/* In this process: another one's errors would not be memcheck's verdict. */
int main(void)
{
	TCase *claims = tcase_create("stranger");

	tcase_add_test(claims, nothing_is_looked_up_for_a_stranger);
	setenv("CK_FORK", "no", 1);
	return claims_run(claims, "stranger");
}
