/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/unit/steps_rig.h"

/* Three that are restored together, "a", "b" and "c", and the ways it can go. */

static struct batch *batch;

static inline void stage_one(const char *name, size_t size, const struct lifetime *lifetime)
{
	static const struct batch_times times = { .version = 2, .created_ms = 1, .changed_ms = 2 };
	struct kept *kept = draw_known(size);
	struct vault_put put = put_of(name, kept);
	struct value *value = new_value(kept);

	put.lifetime = *lifetime;
	ck_assert_int_eq(batch_add(vault, batch, &value, &put, &times), 0);
}

/* One ends, one has a table, one is of a name that is new. */
static inline void stage_all(size_t size)
{
	ck_assert_int_eq(batch_new(vault, &batch), 0);
	stage_one("a", 200, &(struct lifetime){ .ttl_ms = 50000 });
	stage_one("b", size, &(struct lifetime){ 0 });
	stage_one("c", 300, &(struct lifetime){ 0 });
}

static inline void look_at_all(void)
{
	struct span name;

	ck_assert_int_eq(batch_check(vault, batch, NULL, &name), 1);
}

static inline void commit_all(void)
{
	look_at_all();
	ck_assert_int_eq(batch_commit(vault, batch), 0);
}

static inline void publish_all(void)
{
	while (!batch_publish(vault, batch))
		;
	batch_free(vault, batch);
}

static inline void restore_all(void)
{
	commit_all();
	publish_all();
}

/* Nobody waits for it: it goes on as lives end. */
static inline void restore_and_leave(void)
{
	commit_all();
	batch_leave(batch);
	while (vault_expire(vault))
		;
}

static inline void look_and_give_up(void)
{
	look_at_all();
	batch_free(vault, batch);
}

/* It is ready for what was there before. */
static inline void look_and_change(void)
{
	look_at_all();
	batches_disturb(vault, span_text("a"));
	batches_disturb(vault, span_text("c"));
	restore_all();
}
