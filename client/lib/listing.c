/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/listing.h"

#include <errno.h>
#include <string.h>

#include "client/lib/exchange.h"

static void stand_at(struct listing *listing, struct span name)
{
	size_t size = name.size < sizeof(listing->after) ? name.size : sizeof(listing->after);

	if (size > 0)
		memcpy(listing->after, name.data, size);
	listing->request.after = span_of(listing->after, size);
}

static struct span name_of(const struct reply *entry)
{
	return entry->body == BODY_TOKEN ? entry->token.name : entry->info.name;
}

/* One answer to a page: an entry, or the end. Returns -EINPROGRESS when there is more to come. */
static int take_entry(struct listing *listing, const struct reply *reply)
{
	uint64_t since_ms = connection_now_ms();
	int r;

	if (reply->code != 0)
		return call_judge(reply);
	if (reply->body == BODY_LISTING) {
		listing->more = reply->more;
		stand_at(listing, reply->next);
		return MG_OK;
	}
	if (reply->body != listing->entry)
		return -EPROTO;
	stand_at(listing, name_of(reply));
	r = listing->hand_over(listing, reply);
	call_excuse(&listing->call, since_ms);
	return r == MG_OK ? -EINPROGRESS : r;
}

static int take_page(struct mg_client *client, struct listing *listing)
{
	struct reply reply;
	int r = call_ask(client, &listing->call, &listing->request, &reply);

	if (r == 0)
		r = take_entry(listing, &reply);
	while (r == -EINPROGRESS) {
		r = exchange_receive(client, &reply, listing->call.deadline_ms);
		if (r == 0)
			r = take_entry(listing, &reply);
	}
	return r;
}

static int attempt(struct mg_client *client, struct call *call)
{
	struct listing *listing = (struct listing *)(void *)call;
	int r;

	do {
		r = take_page(client, listing);
	} while (r == MG_OK && listing->more);
	return r;
}

int listing_run(struct mg_client *client, struct listing *listing)
{
	listing->call = (struct call){ .attempt = attempt, .repeatable = true };
	return call_run(client, &listing->call);
}
