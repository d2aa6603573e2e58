/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/call.h"
#include "common/wire/name.h"

#include <stdbool.h>

/*
 * A question whose answers are entries in the order of their names, a page of them at a time, each
 * page ending with BODY_LISTING. What broke off goes on behind the last entry that was handed over.
 */
struct listing {
	struct call call; /* first: what attempts are given */
	struct request request;
	enum body entry; /* what an entry's body is */
	/* Hands one to the caller of the library. Returns a status, with the words said. Whose it
	 * is has the listing as its first member. */
	int (*hand_over)(const struct listing *listing, const struct reply *entry);
	char after[NAME_FILED_MAX]; /* where it stands: also where a repeat goes on */
	bool more;
};

/* Returns a status, as call_run does. */
int listing_run(struct mg_client *client, struct listing *listing);
