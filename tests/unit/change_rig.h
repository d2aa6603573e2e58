/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/unit/crash.h"

/* Secrets that get another name, or are rotated, under a clock that the test sets. */

static const struct conditions none;
static uint64_t clock_ms;

static inline uint64_t our_clock(void)
{
	return clock_ms;
}

static inline void set_up_clock(void)
{
	set_up_in_file();
	clock_ms = boot_ms();
	vault->now = our_clock;
}

/* The next process, under the same clock. */
static inline void crash_on_time(void)
{
	crash();
	vault->now = our_clock;
}

static inline void expire_all(void)
{
	while (vault_expire(vault))
		;
}

static inline int move(const char *name, const char *to, uint64_t *versionp)
{
	struct vault_move move = { .name = span_text(name), .to = span_text(to), .owner = 1001 };

	return vault_move(vault, &move, versionp);
}

static inline int move_name(const char *name, const char *to)
{
	uint64_t version;

	return move(name, to, &version);
}

static inline int rotate_from(const char *name, struct kept *kept, uint64_t grace_ms)
{
	struct vault_put put = put_of(name, kept);

	put.rotation = (struct rotation){ .asked = true, .grace_ms = grace_ms };
	return try_put(&put, kept);
}

static inline struct kept *rotate(const char *name, size_t size, uint64_t grace_ms)
{
	struct kept *kept = draw(size);

	ck_assert_int_eq(rotate_from(name, kept, grace_ms), 0);
	return kept;
}

static inline int version_status(const char *name, uint64_t version)
{
	struct record *record;

	return vault_find_version(vault, span_text(name), version, &record);
}

static inline void check_version(const char *name, const struct kept *kept)
{
	struct tag tags[MESSAGE_TAGS_MAX];
	struct record *record = NULL;
	struct info info;

	ck_assert_int_eq(vault_find_version(vault, span_text(name), kept->version, &record), 0);
	record_info(record, &info, tags);
	ck_assert_uint_eq(info.version, kept->version);
	ck_assert_uint_eq(info.size, kept->size);
	check_chunks(record, kept);
	check_opens(record, kept);
}

static inline struct info info_of(const char *name, struct tag tags[MESSAGE_TAGS_MAX])
{
	struct info info;

	record_info(find(name), &info, tags);
	return info;
}

static inline struct kept *store_tagged(const char *name, const struct lifetime *lifetime)
{
	static const struct tag tag = { { (const uint8_t *)"env", 3 },
		{ (const uint8_t *)"prod", 4 } };
	struct kept *kept = draw(20000);
	struct vault_put put = put_of(name, kept);

	put.tags = (struct tags){ .tag = &tag, .count = 1 };
	put.lifetime = *lifetime;
	ck_assert_int_eq(try_put(&put, kept), 0);
	return kept;
}

static inline void check_tagged(const struct info *info)
{
	ck_assert_uint_eq(info->tags.count, 1);
	ck_assert(span_equal(info->tags.tag[0].value, span_text("prod")));
}
