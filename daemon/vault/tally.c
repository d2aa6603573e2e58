/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/tally.h"

#include <errno.h>
#include <stdlib.h>

/* Rows of the smallest table: few machines have more users who store something. */
#define ROWS_MIN 16

struct tally_row {
	uint32_t uid;
	bool taken;
	struct tally_sum sum;
};

/* Where a uid's row is, or the free one that it would have. One in four is free. */
static struct tally_row *find(const struct tally *tally, uint32_t uid)
{
	size_t mask = tally->capacity - 1;
	/* Knuth's multiplicative hash: neither neighbours nor multiples meet. */
	size_t at = (uid * UINT32_C(2654435761) >> 16) & mask;

	while (tally->rows[at].taken && tally->rows[at].uid != uid)
		at = (at + 1) & mask;
	return &tally->rows[at];
}

static bool is_empty(const struct tally_row *row)
{
	return row->sum.names == 0 && row->sum.bytes == 0 && row->sum.coming == 0;
}

/* A table for those who have something, and as many again. Returns 0 or -ENOMEM. */
static int widen(struct tally *tally)
{
	struct tally more = { .capacity = ROWS_MIN };
	size_t used = 0;

	for (size_t i = 0; i < tally->capacity; i++)
		used += tally->rows[i].taken && !is_empty(&tally->rows[i]);
	while (more.capacity / 2 <= used)
		more.capacity *= 2;
	more.rows = calloc(more.capacity, sizeof(*more.rows));
	if (!more.rows)
		return -ENOMEM;
	for (size_t i = 0; i < tally->capacity; i++)
		if (tally->rows[i].taken && !is_empty(&tally->rows[i])) {
			*find(&more, tally->rows[i].uid) = tally->rows[i];
			more.count++;
		}
	free(tally->rows);
	*tally = more;
	return 0;
}

int tally_reserve(struct tally *tally, uint32_t uid)
{
	struct tally_row *row = tally->capacity > 0 ? find(tally, uid) : NULL;

	if (row && row->taken)
		return 0;
	if (tally->count >= tally->capacity / 4 * 3) {
		if (widen(tally) < 0)
			return -ENOMEM;
		row = find(tally, uid);
	}
	*row = (struct tally_row){ .uid = uid, .taken = true };
	tally->count++;
	return 0;
}

void tally_add(struct tally *tally, uint32_t uid, struct tally_sum more)
{
	struct tally_row *row = find(tally, uid);

	if (!row->taken)
		abort();
	row->sum.names += more.names;
	row->sum.bytes += more.bytes;
	row->sum.coming += more.coming;
}

/* Takes away what is there, up to a number. */
static bool take(uint64_t *from, uint64_t less)
{
	bool enough = *from >= less;

	*from = enough ? *from - less : 0;
	return enough;
}

bool tally_drop(struct tally *tally, uint32_t uid, struct tally_sum less)
{
	struct tally_row *row = tally->capacity > 0 ? find(tally, uid) : NULL;
	bool enough;

	if (!row || !row->taken)
		return less.names == 0 && less.bytes == 0 && less.coming == 0;
	enough = take(&row->sum.names, less.names);
	enough = take(&row->sum.bytes, less.bytes) && enough;
	return take(&row->sum.coming, less.coming) && enough;
}

struct tally_sum tally_of(const struct tally *tally, uint32_t uid)
{
	const struct tally_row *row = tally->capacity > 0 ? find(tally, uid) : NULL;

	return row && row->taken ? row->sum : (struct tally_sum){ 0 };
}

void tally_clear(struct tally *tally)
{
	for (size_t i = 0; i < tally->capacity; i++)
		tally->rows[i].sum = (struct tally_sum){ 0 };
}

void tally_finish(struct tally *tally)
{
	free(tally->rows);
	*tally = (struct tally){ 0 };
}
