/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/unit/steps_rig.h"

/* A token, and what can become of it. */

static struct vault_token token_known;

static inline void add_token(void)
{
	static const uint8_t bytes[VAULT_TOKEN_SIZE] = { 1, 2, 3 };

	token_known = (struct vault_token){ .left = 2,
		.flags = VAULT_TOKEN_COUNTED,
		.end_ms = 77,
		.text = span_text("who may do what") };
	ck_assert_int_eq(vault_token_hash(vault, bytes, token_known.hash), 0);
	ck_assert_int_eq(vault_token_add(vault, &token_known), 0);
	token_known.text = vault_token_text(vault, token_known.place);
}

static inline void store_one(void)
{
	store_known("b", 100);
}

static inline void store_token(void)
{
	store_one();
	add_token();
}

static inline void use_token(void)
{
	token_known.left--;
	ck_assert_int_eq(vault_token_change(vault, &token_known), 0);
}

static inline void drop_token(void)
{
	vault_token_drop(vault, token_known.place);
}

static inline bool know_token(void *context, uint64_t id, uint64_t from, uint64_t to)
{
	(void)context;
	ck_assert_uint_eq(id, token_known.id);
	ck_assert_uint_lt(to, from);
	token_known.place = to;
	return true;
}

static inline void store_and_issue(void)
{
	store_known("a", 20000);
	store_token();
	vault_watch_tokens(vault, know_token, NULL);
}
