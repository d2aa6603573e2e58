/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/wait_queue.h"

#include <string.h>

static struct wait **chain_of(struct wait_queue *queue, struct span name)
{
	uint8_t hash[crypto_shorthash_BYTES];

	crypto_shorthash(hash, name.data, name.size, queue->key);
	return &queue->chain[hash[0] % WAIT_QUEUE_CHAINS];
}

void wait_queue_init(struct wait_queue *queue)
{
	memset(queue, 0, sizeof(*queue));
	queue->called.next = queue->called.previous = &queue->called;
	crypto_shorthash_keygen(queue->key);
}

void wait_queue_enter(
	struct wait_queue *queue, struct wait *wait, struct wait_party *party, struct span name)
{
	struct wait **chain = chain_of(queue, name);

	*wait = (struct wait){ .next = *chain, .at = chain, .party = party, .name = name };
	if (wait->next)
		wait->next->at = &wait->next;
	*chain = wait;
}

void wait_queue_leave(struct wait *wait)
{
	*wait->at = wait->next;
	if (wait->next)
		wait->next->at = wait->at;
}

void wait_queue_call_party(struct wait_queue *queue, struct wait_party *party)
{
	if (party->next)
		return;
	party->next = &queue->called;
	party->previous = queue->called.previous;
	party->previous->next = party->next->previous = party;
}

void wait_queue_call(struct wait_queue *queue, struct span name)
{
	for (struct wait *wait = *chain_of(queue, name); wait; wait = wait->next)
		if (span_equal(wait->name, name))
			wait_queue_call_party(queue, wait->party);
}

void wait_queue_follow(struct wait_queue *queue, struct follow *follow, struct wait_party *party,
	struct span prefix)
{
	*follow = (struct follow){ .next = queue->follows,
		.at = &queue->follows,
		.party = party,
		.asked = prefix,
		.prefix = prefix,
		.latest = UINT64_MAX };
	if (follow->next)
		follow->next->at = &follow->next;
	queue->follows = follow;
}

void wait_queue_unfollow(struct follow *follow)
{
	*follow->at = follow->next;
	if (follow->next)
		follow->next->at = follow->at;
}

void follow_widen(struct follow *follow)
{
	follow->prefix = follow->asked;
	follow->none = false;
}

void wait_queue_widen(struct wait_queue *queue)
{
	for (struct follow *follow = queue->follows; follow; follow = follow->next) {
		follow_widen(follow);
		wait_queue_call_party(queue, follow->party);
	}
}

/* Whether it is one of the names that somebody follows; all of them are, too. */
static bool is_followed(const struct follow *follow, struct span name)
{
	return name.size == 0 || (!follow->none && span_starts_with(name, follow->prefix));
}

void wait_queue_tell(struct wait_queue *queue, struct span name, uint64_t from, uint64_t to)
{
	for (struct follow *follow = queue->follows; follow; follow = follow->next) {
		bool concerned = is_followed(follow, name);

		if (!concerned && follow->place == from)
			follow->place = to;
		if (concerned || follow->place >= follow->latest)
			wait_queue_call_party(queue, follow->party);
	}
}

void wait_queue_call_all(struct wait_queue *queue)
{
	for (size_t i = 0; i < WAIT_QUEUE_CHAINS; i++)
		for (struct wait *wait = queue->chain[i]; wait; wait = wait->next)
			wait_queue_call_party(queue, wait->party);
}

void wait_party_end(struct wait_party *party)
{
	if (!party->next)
		return;
	party->previous->next = party->next;
	party->next->previous = party->previous;
	*party = (struct wait_party){ 0 };
}

bool wait_queue_has_called(const struct wait_queue *queue)
{
	return queue->called.next != &queue->called;
}

struct wait_party *wait_queue_next(struct wait_queue *queue)
{
	struct wait_party *party = queue->called.next;

	if (!wait_queue_has_called(queue))
		return NULL;
	wait_party_end(party);
	return party;
}
