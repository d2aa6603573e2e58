/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/watch.h"

#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "daemon/peer_place.h"
#include "daemon/vault/vault_event.h"

/* Events that all watches of a session look at in one turn, whoever they are for: a fraction of a
 * millisecond. */
#define WATCH_LOOKS 64

/* What it costs to find out what a watch may be told, in such looks. */
#define WATCH_AIM 8

/* A user's own space, filed: ~4294967295/ */
#define SPACE_MAX 12

/* What an answer takes in a frame at most. */
#define WATCH_ANSWER (NAME_FILED_MAX + 64)

/*
 * Who was not told of anything for so long is told how far it was: a number that is forgotten is of
 * no use to come back with.
 */
#define WATCH_SILENCE (VAULT_EVENTS / 2)

struct watch {
	struct watch *next;
	struct follow follow;
	uint64_t id;
	uint64_t token; /* the number of the one that it is a use of; 0: none so far */
	bool due;
	bool aimed; /* it follows no more than it may be told */
	int over;   /* why it cannot go on: a status or a negative errno; 0: it can */
	char prefix[NAME_FILED_MAX]; /* filed; of follow.asked.size bytes */
	char space[SPACE_MAX];       /* the peer's own, where it follows that */
};

/* -- its life ------------------------------------------------------------------------------ */

uint64_t watch_first(const struct transfers *transfers)
{
	return transfers->watches ? transfers->watches->id : 0;
}

struct watch *watch_find(const struct transfers *transfers, uint64_t id)
{
	struct watch *watch = transfers->watches;

	while (watch && watch->id != id)
		watch = watch->next;
	return watch;
}

void watch_end(struct transfers *transfers, struct watch *watch)
{
	struct watch **at = &transfers->watches;

	while (*at != watch)
		at = &(*at)->next;
	*at = watch->next;
	transfers_end(transfers);
	wait_queue_unfollow(&watch->follow);
	free(watch);
}

static void park(
	struct transfers *transfers, struct daemon *daemon, struct watch *watch, struct span prefix)
{
	struct watch **at = &transfers->watches;

	while (*at)
		at = &(*at)->next;
	*at = watch;
	if (prefix.size > 0)
		memcpy(watch->prefix, prefix.data, prefix.size);
	wait_queue_follow(&daemon->waits, &watch->follow, &transfers->party,
		span_of(watch->prefix, prefix.size));
	transfers_begin(transfers);
}

/* -- what it follows ----------------------------------------------------------------------- */

/*
 * Where the peer may be told of nothing there is no look at what happens, whose cost would tell of
 * it: so it is of no use to watch for a name. What is told is decided name by name all the same.
 * Where it could not be found out where the peer is, that is tried again with each name.
 */
static void aim(struct watch *watch, const struct peer *peer, const struct policy *policy)
{
	struct follow *follow = &watch->follow;
	char space[NAME_FILED_MAX];
	struct span own = span_of(space, name_file(space, span_text("~/"), (uint32_t)peer->uid));

	watch->aimed = true;
	if (peer->place && !peer->place->known && policy_asks_where_of(policy, peer))
		return;
	if (policy_reaches_below(policy, peer, RIGHT_WATCH, follow->asked) ||
		span_starts_with(follow->asked, own))
		return;
	follow->none = !span_starts_with(own, follow->asked);
	if (follow->none)
		return;
	memcpy(watch->space, own.data, own.size);
	follow->prefix = span_of(watch->space, own.size);
}

/* What it may be told may be more now, or less: until that is known it follows all it asked for. */
static void look_anew(struct transfers *transfers, const struct daemon *daemon)
{
	uint64_t place = peer_place_digest(transfers->peer->place);

	if (transfers->aimed && transfers->aimed_reload == daemon->reloads.done &&
		transfers->aimed_place == place)
		return;
	for (struct watch *watch = transfers->watches; watch; watch = watch->next) {
		follow_widen(&watch->follow);
		watch->aimed = false;
	}
	transfers->aimed = true;
	transfers->aimed_reload = daemon->reloads.done;
	transfers->aimed_place = place;
}

/* -- what it is told ----------------------------------------------------------------------- */

/* Whoever has a number has one for a while. */
static void note_number(struct watch *watch)
{
	watch->follow.latest = watch->follow.place + WATCH_SILENCE;
}

/* From here on everything is told. */
static int tell_mark(struct watch *watch, uint64_t number, bool lost, struct answers *answers)
{
	struct reply reply = { .id = watch->id, .body = BODY_MARK, .number = number, .lost = lost };

	note_number(watch);
	return answers_append(answers, &reply);
}

static int tell_lost(struct watch *watch, struct vault *vault, struct answers *answers)
{
	watch->follow.place = vault_event_place(vault);
	return tell_mark(watch, vault_event_now(vault), true, answers);
}

/*
 * A watch that hangs on a token is one use of that, however much is told. Where that cannot be
 * written down the watch is over: what it is not told then it can ask for again.
 */
static bool may_be_told(struct watch *watch, const struct transfers *transfers,
	const struct daemon *daemon, struct span name)
{
	struct policy_verdict verdict =
		policy_ask(&daemon->policy, transfers->peer, RIGHT_WATCH, name);
	int r = 0;

	if (verdict.allowed && verdict.token)
		r = tokens_use_once(daemon->tokens, token_of(verdict.token), &watch->token);
	if (r != 0 && r != STATUS_DENIED)
		watch->over = r;
	return verdict.allowed && r == 0;
}

/* Whether it is one for this watch, by the name and by what policy says now. */
static bool is_for(struct watch *watch, const struct transfers *transfers,
	const struct daemon *daemon, const struct vault_event *event)
{
	struct span name = span_of(event->name, event->name_size);

	if (name.size == 0)
		return true;
	return !watch->follow.none && span_starts_with(name, watch->follow.prefix) &&
		may_be_told(watch, transfers, daemon, name);
}

static int tell_event(struct watch *watch, const struct transfers *transfers,
	const struct vault_event *event, struct answers *answers)
{
	char shown[NAME_FILED_MAX];
	struct span name = span_of(event->name, event->name_size);
	struct reply reply = { .id = watch->id,
		.body = BODY_EVENT,
		.number = event->number,
		.change = event->kind,
		.version = event->version };

	if (name.size > 0)
		reply.name = span_of(shown, name_show(shown, name, (uint32_t)transfers->peer->uid));
	note_number(watch);
	return answers_append(answers, &reply);
}

/* Looks at the next event. Returns 1, 0 when there is none, or a negative errno. */
static int tell_next(struct watch *watch, const struct transfers *transfers, struct daemon *daemon,
	struct answers *answers)
{
	struct vault_event event;
	int found = vault_event_next(daemon->vault, &watch->follow.place, &event);
	int r = 0;

	if (found == 0)
		return 0;
	if (found != 1)
		r = tell_lost(watch, daemon->vault, answers);
	else if (is_for(watch, transfers, daemon, &event))
		r = tell_event(watch, transfers, &event, answers);
	if (r == 0 && watch->over < 0)
		r = watch->over;
	return r < 0 ? r : 1;
}

/* It has looked at everything up to now. */
static int tell_silence(struct watch *watch, struct vault *vault, struct answers *answers)
{
	if (watch->follow.place < watch->follow.latest)
		return 0;
	return tell_mark(watch, vault_event_now(vault), false, answers);
}

static int go_on(struct watch *watch, const struct transfers *transfers, struct daemon *daemon,
	unsigned *leftp, struct answers *answers)
{
	int r = 1;

	if (!watch->aimed && *leftp >= WATCH_AIM) {
		aim(watch, transfers->peer, &daemon->policy);
		*leftp -= WATCH_AIM;
	}
	while (r == 1 && watch->aimed && !watch->over && *leftp > 0 &&
		(*leftp == WATCH_LOOKS || daemon_has_time(daemon)) &&
		answers->room(answers) >= WATCH_ANSWER) {
		r = tell_next(watch, transfers, daemon, answers);
		*leftp -= r == 1;
	}
	watch->due = r == 1;
	if (r == 0)
		r = tell_silence(watch, daemon->vault, answers);
	return r < 0 ? r : 0;
}

/* Whoever has to stop in the midst stands behind all others then. */
static void take_turns(struct transfers *transfers)
{
	struct watch *stopped = transfers->watches;
	struct watch **at;

	while (stopped && !stopped->due)
		stopped = stopped->next;
	if (!stopped || !stopped->next)
		return;
	at = &stopped->next;
	while (*at)
		at = &(*at)->next;
	*at = transfers->watches;
	transfers->watches = stopped->next;
	stopped->next = NULL;
}

static int give_up(struct transfers *transfers, struct watch *watch, struct answers *answers)
{
	uint64_t id = watch->id;
	int status = watch->over;

	watch_end(transfers, watch);
	return answers_code(answers, id, status,
		"memory is used up, and that a token is used has to be written down");
}

int watches_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	unsigned left = WATCH_LOOKS;
	struct watch *next;
	int r = 0;

	look_anew(transfers, daemon);
	for (struct watch *watch = transfers->watches; watch && r == 0; watch = next) {
		next = watch->next;
		r = go_on(watch, transfers, daemon, &left, answers);
		if (r == 0 && watch->over)
			r = give_up(transfers, watch, answers);
	}
	take_turns(transfers);
	return r;
}

bool watches_due(const struct transfers *transfers)
{
	const struct watch *watch = transfers->watches;

	while (watch && !watch->due)
		watch = watch->next;
	return watch != NULL;
}

/* -- the beginning ------------------------------------------------------------------------- */

/* The first answer: from where on it is told, which is where it was unless that is forgotten. */
static int begin(struct watch *watch, struct vault *vault, uint64_t since, struct answers *answers)
{
	if (since == 0) {
		watch->follow.place = vault_event_place(vault);
		return tell_mark(watch, vault_event_now(vault), false, answers);
	}
	if (!vault_event_find(vault, since, &watch->follow.place))
		return tell_lost(watch, vault, answers);
	return tell_mark(watch, since, false, answers);
}

int watch_begin(struct transfers *transfers, struct daemon *daemon, const struct request *request,
	struct span prefix, struct answers *answers)
{
	struct watch *watch;
	int r = transfers_full(transfers) ? STATUS_LIMIT : vault_remember_events(daemon->vault);

	if (r != 0)
		return r;
	watch = calloc(1, sizeof(*watch));
	if (!watch)
		return STATUS_LIMIT;
	watch->id = request->id;
	park(transfers, daemon, watch, prefix);
	return begin(watch, daemon->vault, request->since, answers);
}
