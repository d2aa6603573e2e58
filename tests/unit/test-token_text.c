/* SPDX-License-Identifier: Apache-2.0 */

/* What a token is for, as it lies in the ledger: another program may have written it. */
#include "tests/unit/token_rig.h"

static void issue(void)
{
	const struct grant grant = { span_text("get"), span_text("~/*") };

	ck_assert_int_eq(ask(&user,
				 (struct request){ .verb = VERB_ISSUE_TOKEN,
					 .name = span_text("~/ci"),
					 .grants = { &grant, 1 } })
				 ->code,
		0);
}

/* A text of another program, which says more than this one knows. */
START_TEST(what_is_not_understood_is_no_token)
{
	struct vault_token kept = { .text = span_text("\2 more than is known") };

	ck_assert_int_eq(vault_token_add(house.vault, &kept), 0);
	issue();
	next_process();
	ck_assert_uint_eq(tokens_count(house.tokens), 1);
	ck_assert_uint_eq(vault_broken(house.vault), 0);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
	next_process();
	ck_assert_uint_eq(tokens_count(house.tokens), 1);
}
END_TEST

/* The text of a token of this program, with one byte as another program might have it. */
static void is_not_taken(const char *old, size_t size, size_t at, uint8_t byte, uint8_t flags)
{
	uint8_t text[256];
	struct vault_token kept = { .text = span_of(text, size), .flags = flags, .hash = { 9 } };

	ck_assert_uint_lt(size, sizeof(text));
	memcpy(text, old, size);
	text[at] = byte;
	ck_assert_int_eq(vault_token_add(house.vault, &kept), 0);
	next_process();
	ck_assert_msg(tokens_count(house.tokens) == 1, "byte %zu: %u", at, byte);
}

/* What is not known of a token may be what it is not for: then it is for nothing. */
START_TEST(nothing_unknown_makes_a_token_more)
{
	struct token *token;
	struct span text;
	char old[256];
	size_t get;

	issue();
	token = tokens_first(house.tokens);
	text = vault_token_text(house.vault, token->kept.place);
	ck_assert_uint_lt(text.size, sizeof(old));
	memcpy(old, text.data, text.size);
	for (unsigned bit = 8; bit <= 128; bit *= 2)
		is_not_taken(old, text.size, 1, (uint8_t)((uint8_t)old[1] | bit), 0);
	get = (size_t)((char *)memmem(old, text.size, "get", 3) - old);
	is_not_taken(old, text.size, get, 'w', 0);
	is_not_taken(old, text.size, get + 1, ',', 0);
	is_not_taken(old, text.size + 1, text.size, 0, 0);
	is_not_taken(old, text.size, 0, 2, 0);
	ck_assert_uint_eq(vault_lost(house.vault, LOSS_TOKEN), 0);
	/* Nor what the vault itself says of it. */
	for (unsigned bit = 4; bit <= 128; bit *= 2) {
		is_not_taken(old, text.size, 0, (uint8_t)old[0], (uint8_t)bit);
		ck_assert_uint_eq(vault_lost(house.vault, LOSS_TOKEN), 1);
	}
	/* As it is, it is one. */
	is_not_taken(old, text.size, 0, (uint8_t)old[0], VAULT_TOKEN_REVOKED);
	ck_assert_ptr_nonnull(tokens_first(house.tokens)->next);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("token_text");

	tcase_add_checked_fixture(claims, open_lasting_house, close_house);
	tcase_add_test(claims, what_is_not_understood_is_no_token);
	tcase_add_test(claims, nothing_unknown_makes_a_token_more);
	return claims_run(claims, "token_text");
}
