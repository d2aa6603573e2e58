/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/waiter.h"

#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "common/wire/name.h"

/* A get that waits for its name to appear. */
struct waiter {
	struct waiter *next;
	struct wait wait;
	uint64_t id;
	uint64_t version;          /* 0: whichever is current */
	uint64_t deadline_ms;      /* CLOCK_BOOTTIME */
	char name[NAME_FILED_MAX]; /* filed; of wait.name.size bytes */
};

uint64_t waiter_first(const struct transfers *transfers)
{
	return transfers->waiters ? transfers->waiters->id : 0;
}

struct waiter *waiter_find(const struct transfers *transfers, uint64_t id)
{
	struct waiter *waiter = transfers->waiters;

	while (waiter && waiter->id != id)
		waiter = waiter->next;
	return waiter;
}

int waiter_park(struct transfers *transfers, struct daemon *daemon, const struct wanted *wanted,
	uint32_t wait_ms)
{
	struct waiter *waiter;

	if (transfers_full(transfers))
		return STATUS_LIMIT;
	waiter = calloc(1, sizeof(*waiter));
	if (!waiter)
		return STATUS_LIMIT;
	waiter->id = wanted->id;
	waiter->version = wanted->version;
	waiter->deadline_ms = daemon_now_ms() + wait_ms;
	memcpy(waiter->name, wanted->name.data, wanted->name.size);
	wait_queue_enter(&daemon->waits, &waiter->wait, &transfers->party,
		span_of(waiter->name, wanted->name.size));
	waiter->next = transfers->waiters;
	transfers->waiters = waiter;
	transfers_begin(transfers);
	return 0;
}

void waiter_end(struct transfers *transfers, struct waiter *waiter)
{
	struct waiter **at = &transfers->waiters;

	while (*at != waiter)
		at = &(*at)->next;
	*at = waiter->next;
	transfers_end(transfers);
	wait_queue_leave(&waiter->wait);
	free(waiter);
}

static const char *words_for_waiter(int status)
{
	if (status == STATUS_DENIED)
		return NOT_ALLOWED;
	return status == STATUS_TIMEOUT ? "no such secret appeared in time" : NULL;
}

/* Answers one waiting get if there is an answer, and ends it. Returns 0 or a negative errno. */
static int waiter_look(struct transfers *transfers, struct daemon *daemon, struct waiter *waiter,
	uint64_t now_ms, struct answers *answers)
{
	struct wanted wanted = {
		.id = waiter->id, .name = waiter->wait.name, .version = waiter->version
	};
	struct record *record;
	int r = vault_find(daemon->vault, wanted.name, &record);

	/* Whether it is there or not. */
	if (!transfers_may_still(transfers, daemon, RIGHT_GET, wanted.name))
		r = STATUS_DENIED;
	if (r == STATUS_NOT_FOUND && now_ms < waiter->deadline_ms)
		return 0;
	if (r == STATUS_NOT_FOUND)
		r = STATUS_TIMEOUT;
	else if (r == 0) {
		/* Its own place is free for the chunks. */
		transfers_end(transfers);
		r = download_begin(transfers, daemon, &wanted, answers);
		transfers_begin(transfers);
	}
	waiter_end(transfers, waiter);
	return r > 0 ? answers_code(answers, wanted.id, r, words_for_waiter(r)) : r;
}

int waiters_look(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	uint64_t now_ms = transfers->waiters ? daemon_now_ms() : 0;
	struct waiter *next;

	for (struct waiter *waiter = transfers->waiters; waiter; waiter = next) {
		int r;

		next = waiter->next;
		r = waiter_look(transfers, daemon, waiter, now_ms, answers);
		if (r < 0)
			return r;
	}
	return 0;
}

uint64_t waiters_deadline(const struct transfers *transfers)
{
	uint64_t earliest = 0;

	for (const struct waiter *waiter = transfers->waiters; waiter; waiter = waiter->next)
		if (earliest == 0 || waiter->deadline_ms < earliest)
			earliest = waiter->deadline_ms;
	return earliest;
}
