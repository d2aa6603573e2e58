/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/visitors.h"

#include <check.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/lib/mgclient.h"

/* Microseconds without a call after which none is waited for, and between two looks. */
#define PATIENCE_US 10000000
#define LOOK_US 500

static _Atomic bool over;
static _Atomic unsigned long done[DEEDS];
static _Atomic unsigned long calls, failed, vanished, large;
static _Atomic unsigned long longest_us;

struct visitor {
	pthread_t thread;
	struct mg_client *client;
	const char *path;
	unsigned number;
	uint64_t began_us; /* the call that is under way */

	struct world now;  /* what is there */
	struct world next; /* what is there once the call that is under way is done */
	bool in_doubt;     /* whether it was nobody knows */

	uint8_t room[VALUE_MAX]; /* a value that is sent, or that is to come */
	char fault[240];         /* what it met that nobody may meet */
};

static struct visitor visitors[VISITORS];

#define FAULT(visitor, ...) snprintf((visitor)->fault, sizeof((visitor)->fault), __VA_ARGS__)

/* -- a call -------------------------------------------------------------------------------- */

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void begin(struct visitor *visitor)
{
	visitor->began_us = now_us();
}

/* The daemon was not there for long enough, twice: nobody knows whether it was done. */
static bool is_absence(int r)
{
	return r == MG_UNREACHABLE || r == MG_TIMEOUT;
}

/* Every call is counted, whatever is made of its answer. */
static int heard(const struct visitor *visitor, int r)
{
	unsigned long took = now_us() - visitor->began_us;
	unsigned long most = longest_us;

	while (took > most && !atomic_compare_exchange_weak(&longest_us, &most, took))
		;
	calls++;
	failed += is_absence(r);
	return r;
}

#define CALL(visitor, call) (begin(visitor), heard((visitor), (call)))

/* Tries of a call whose answer somebody must have. */
#define TRIES 100

#define UNTIL_HEARD(r, call) \
	for (int tries_ = 0; tries_ < TRIES; tries_++) { \
		(r) = (call); \
		if (!is_absence(r)) \
			break; \
	}

static void spell(char out[32], const struct visitor *visitor, unsigned i)
{
	snprintf(out, 32, "c%u/%u", visitor->number, i);
}

/*
 * What came of a change that makes `next` of `now`. `expected` is what the daemon has to answer, a
 * refusal where the change cannot be.
 */
static void conclude(struct visitor *visitor, enum deed deed, unsigned i, int r, int expected)
{
	/* What is refused when it is heard is refused when it is not. */
	if (expected != MG_OK)
		visitor->next = visitor->now;
	if (is_absence(r)) {
		visitor->in_doubt = true;
	} else if (r != expected) {
		FAULT(visitor, "%s of c%u/%u: %d (%s), not %d", deed_name(deed), visitor->number, i,
			r, mg_last_error(), expected);
	} else if (r == MG_OK) {
		done[deed]++;
		visitor->now = visitor->next;
	}
}

/* -- looking ------------------------------------------------------------------------------- */

static struct reading reading_in(struct visitor *visitor)
{
	return (struct reading){ .room = visitor->room };
}

static int on_piece(void *context, const struct mg_info *info, const void *bytes, size_t size)
{
	reading_take(context, bytes, size);
	((struct reading *)context)->version = info->version;
	return 0;
}

/* A whole one, in guarded memory. */
static int fetch_whole(struct visitor *visitor, const char *text,
	const struct mg_get_options *options, struct reading *reading)
{
	struct mg_secret *secret = NULL;
	int r = CALL(visitor, mg_get(visitor->client, text, options, &secret));

	if (r == MG_OK)
		reading_take(reading, mg_secret_data(secret), mg_secret_size(secret));
	mg_secret_free(secret);
	return r;
}

/* One way or the other. What is large does not fit guarded memory everywhere. */
static int fetch(struct visitor *visitor, const char *text, uint64_t version, bool whole,
	struct reading *reading)
{
	const struct mg_get_options options = { .version = version };

	*reading = reading_in(visitor);
	if (whole)
		return fetch_whole(visitor, text, &options, reading);
	return CALL(visitor, mg_get_each(visitor->client, text, &options, on_piece, reading));
}

/* Until there is an answer. False: there is a fault. */
static bool must_fetch(struct visitor *visitor, const char *text, uint64_t version, bool whole,
	struct reading *reading)
{
	int r = MG_UNREACHABLE;

	UNTIL_HEARD(r, fetch(visitor, text, version, whole, reading));
	if (r == MG_OK && reading_is_right(reading))
		return true;
	if (r == MG_NOT_FOUND) {
		reading->seed = 0;
		return true;
	}
	FAULT(visitor, "get of %s, version %llu: %d: %s", text, (unsigned long long)version, r,
		r == MG_OK ? "other bytes" : mg_last_error());
	return false;
}

/* What is known to be there is there. */
static void look(struct visitor *visitor, unsigned i)
{
	const struct secret *secret = &visitor->now.secrets[i];
	bool whole = !value_is_large(secret->seed) && randombytes_uniform(2) == 0;
	struct reading reading;
	char text[32];

	spell(text, visitor, i);
	if (!must_fetch(visitor, text, 0, whole, &reading))
		return;
	if (reading.seed != secret->seed)
		FAULT(visitor, "%s: %08x is there, not %08x", text, reading.seed, secret->seed);
	else if (reading.seed != 0 && !whole && reading.version != secret->version)
		FAULT(visitor, "%s is version %llu, not %llu", text,
			(unsigned long long)reading.version, (unsigned long long)secret->version);
	done[DEED_GET] += reading.seed != 0;
}

/* So is one that was rotated, for the time of its grace. */
static void look_back(struct visitor *visitor, unsigned i)
{
	const struct secret *secret = &visitor->now.secrets[i];
	struct reading reading;
	char text[32];

	spell(text, visitor, i);
	for (size_t j = 0; j < secret->former_count; j++) {
		const struct former *former = &secret->formers[j];

		if (!must_fetch(visitor, text, former->version, false, &reading))
			return;
		if (reading.seed != former->seed)
			FAULT(visitor, "%s, version %llu: %08x is there, not %08x", text,
				(unsigned long long)former->version, reading.seed, former->seed);
		done[DEED_FORMER]++;
	}
}

static int take_outside(void *context, const struct mg_info *info)
{
	struct secret *secret = context;

	secret->version = info->version;
	secret->frozen = info->frozen;
	return 0;
}

/* What is there, without what came before. False: there is a fault. */
static bool see(struct visitor *visitor, unsigned i, struct secret *seen)
{
	struct reading reading;
	char text[32];
	int r = MG_UNREACHABLE;

	*seen = (struct secret){ 0 };
	spell(text, visitor, i);
	if (!must_fetch(visitor, text, 0, false, &reading))
		return false;
	seen->seed = reading.seed;
	UNTIL_HEARD(r, CALL(visitor, mg_stat(visitor->client, text, take_outside, seen)));
	if (r == (seen->seed == 0 ? MG_NOT_FOUND : MG_OK))
		return true;
	FAULT(visitor, "stat of %s: %d: %s", text, r, mg_last_error());
	return false;
}

/* What is there is what was before or what was asked for, in all names alike. Then it is known. */
static void settle(struct visitor *visitor)
{
	struct secret seen[NAMES];

	for (unsigned i = 0; i < NAMES; i++)
		if (!see(visitor, i, &seen[i]))
			return;
	if (world_fits(&visitor->next, seen))
		visitor->now = visitor->next;
	else if (!world_fits(&visitor->now, seen))
		FAULT(visitor, "what is there is neither what was nor what was asked for");
	world_learn(&visitor->now, seen);
	visitor->in_doubt = false;
	for (unsigned i = 0; i < NAMES; i++)
		look_back(visitor, i);
}

/* -- changes ------------------------------------------------------------------------------- */

static int send_value(
	struct visitor *visitor, unsigned i, uint32_t seed, const struct mg_set_options *options)
{
	struct secret *next = &visitor->next.secrets[i];
	char text[32];
	int r;

	spell(text, visitor, i);
	next->seed = seed;
	next->version = 0;
	value_compose(visitor->room, seed);
	r = CALL(visitor,
		mg_set(visitor->client, text, visitor->room, value_size(seed), options,
			&next->version));
	large += r == MG_OK && value_is_large(seed);
	return r;
}

static void store(struct visitor *visitor, unsigned i)
{
	int expected = visitor->now.secrets[i].frozen ? MG_FROZEN : MG_OK;

	conclude(visitor, DEED_SET, i, send_value(visitor, i, value_draw(), NULL), expected);
}

static void take_out(struct visitor *visitor, unsigned i)
{
	const struct secret *secret = &visitor->now.secrets[i];
	int expected = secret->seed == 0 ? MG_NOT_FOUND : secret->frozen ? MG_FROZEN : MG_OK;
	char text[32];
	int r;

	spell(text, visitor, i);
	visitor->next.secrets[i] = (struct secret){ 0 };
	r = CALL(visitor, mg_remove(visitor->client, text, NULL));
	conclude(visitor, DEED_REMOVE, i, r, expected);
}

/* One that has been rotated too often is taken out instead. */
static void rotate(struct visitor *visitor, unsigned i)
{
	const struct mg_set_options options = { .rotate = true, .grace_ms = 3600 * 1000 };
	const struct secret *secret = &visitor->now.secrets[i];
	int expected = secret->seed == 0 ? MG_NOT_FOUND : secret->frozen ? MG_FROZEN : MG_OK;

	if (secret->former_count == FORMERS) {
		take_out(visitor, i);
		return;
	}
	secret_retire(&visitor->next.secrets[i]);
	conclude(visitor, DEED_ROTATE, i, send_value(visitor, i, value_draw(), &options), expected);
}

/* To a name that is free, or to one that is not where there is none. */
static void move(struct visitor *visitor, unsigned i)
{
	unsigned to = world_free_name(&visitor->now, (i + 1) % NAMES);
	const struct secret *secret = &visitor->now.secrets[i];
	int expected = MG_OK;
	char text[32], other[32];
	int r;

	if (secret->seed == 0)
		expected = MG_NOT_FOUND;
	else if (secret->frozen)
		expected = MG_FROZEN;
	else if (visitor->now.secrets[to].seed != 0 || to == i)
		expected = MG_CONFLICT;
	spell(text, visitor, i);
	spell(other, visitor, to);
	visitor->next.secrets[to] = *secret;
	visitor->next.secrets[i] = (struct secret){ 0 };
	r = CALL(visitor, mg_move(visitor->client, text, other, NULL, NULL));
	conclude(visitor, DEED_MOVE, i, r, expected);
}

static void freeze(struct visitor *visitor, unsigned i)
{
	const struct secret *secret = &visitor->now.secrets[i];
	enum deed deed = secret->frozen ? DEED_MELT : DEED_FREEZE;
	char text[32];
	int r;

	spell(text, visitor, i);
	visitor->next.secrets[i].frozen = !secret->frozen;
	r = CALL(visitor, (secret->frozen ? mg_melt : mg_freeze)(visitor->client, text, NULL));
	conclude(visitor, deed, i, r, secret->seed == 0 ? MG_NOT_FOUND : MG_OK);
}

/* -- a value for one reader ---------------------------------------------------------------- */

static bool give_once(struct visitor *visitor, const char *text)
{
	const struct mg_set_options options = { .lifetime = { .max_reads = 1 } };
	int r = CALL(visitor, mg_set(visitor->client, text, "once", 4, &options, NULL));

	if (r != MG_OK && !is_absence(r))
		FAULT(visitor, "set %s: %d: %s", text, r, mg_last_error());
	return r == MG_OK;
}

/* Returns how often it came out. */
static unsigned take_once(struct visitor *visitor, const char *text, bool there)
{
	unsigned got = 0;
	int r;

	for (int i = 0; i < 3; i++) {
		struct mg_secret *secret = NULL;

		r = CALL(visitor, mg_get(visitor->client, text, NULL, &secret));
		if (r == MG_OK)
			got++;
		/* One whose storing is in doubt may not be there at all. */
		else if (r != MG_GONE && !is_absence(r) && (there || r != MG_NOT_FOUND))
			FAULT(visitor, "get %s: %d: %s", text, r, mg_last_error());
		mg_secret_free(secret);
	}
	return got;
}

/* It comes out once at most. An answer on its way when the daemon dies reaches nobody. */
static void read_once(struct visitor *visitor, unsigned i)
{
	char text[32];
	unsigned got;
	bool there;

	(void)i;
	snprintf(text, sizeof(text), "c%u/once", visitor->number);
	there = give_once(visitor, text);
	got = take_once(visitor, text, there);
	done[DEED_ONCE] += got;
	vanished += there && got == 0;
	if (got > 1)
		FAULT(visitor, "%s came out %u times", text, got);
}

/* -- a stream ------------------------------------------------------------------------------ */

static void spell_stream(char out[32], const struct visitor *visitor)
{
	snprintf(out, 32, "c%u/stream", visitor->number);
}

/* What became of a segment is not known: the stream begins anew. */
static void drain(struct visitor *visitor, const char *text)
{
	int r = MG_UNREACHABLE;

	visitor->now.waiting_count = 0;
	UNTIL_HEARD(r, CALL(visitor, mg_remove(visitor->client, text, NULL)));
	if (r != MG_OK && r != MG_NOT_FOUND)
		FAULT(visitor, "rm of %s: %d: %s", text, r, mg_last_error());
}

static void send_segment(struct visitor *visitor, const char *text, uint32_t seed)
{
	int r;

	value_compose(visitor->room, seed);
	r = CALL(visitor, mg_send(visitor->client, text, visitor->room, value_size(seed)));
	if (is_absence(r)) {
		drain(visitor, text);
	} else if (r != MG_OK) {
		FAULT(visitor, "stream write to %s: %d: %s", text, r, mg_last_error());
	} else {
		done[DEED_SEND]++;
		world_queue(&visitor->now, seed);
	}
}

/* The segment that was acknowledged first, whole. */
static void receive_segment(struct visitor *visitor, const char *text)
{
	struct reading reading = reading_in(visitor);
	uint32_t seed = world_dequeue(&visitor->now);
	int r = CALL(visitor, mg_receive_each(visitor->client, text, on_piece, &reading));

	if (is_absence(r)) {
		drain(visitor, text);
	} else if (r != MG_OK || !reading_is_right(&reading) || reading.seed != seed) {
		FAULT(visitor, "stream read of %s: %d (%s), %zu bytes of %08x, not %08x", text, r,
			r == MG_OK ? "" : mg_last_error(), reading.at, reading.seed, seed);
	} else {
		done[DEED_RECEIVE]++;
	}
}

static void use_stream(struct visitor *visitor, unsigned i)
{
	uint32_t seed = value_draw();
	char text[32];

	(void)i;
	spell_stream(text, visitor);
	if (world_has_room(&visitor->now, seed) &&
		(visitor->now.waiting_count == 0 || randombytes_uniform(2) == 0))
		send_segment(visitor, text, seed);
	else
		receive_segment(visitor, text);
}

/* -- a handle ------------------------------------------------------------------------------ */

static int open_handle(struct visitor *visitor, struct mg_client **clientp)
{
	const struct mg_options options = { .endpoint = visitor->path };

	return CALL(visitor, mg_open(clientp, &options));
}

static void come_anew(struct visitor *visitor, unsigned i)
{
	struct mg_client *client = NULL;
	int r = open_handle(visitor, &client);

	(void)i;
	if (r == MG_OK)
		r = CALL(visitor, mg_ping(client));
	done[DEED_OPEN] += r == MG_OK;
	if (r != MG_OK && !is_absence(r))
		FAULT(visitor, "a new handle: %d: %s", r, mg_last_error());
	mg_close(client);
}

/* -- a visitor ----------------------------------------------------------------------------- */

/* What it does, and how often of a hundred times. */
static const struct {
	unsigned often;
	void (*act)(struct visitor *visitor, unsigned i);
} acts[] = {
	{ 17, look },
	{ 5, look_back },
	{ 18, store },
	{ 12, take_out },
	{ 13, move },
	{ 9, rotate },
	{ 10, freeze },
	{ 5, read_once },
	{ 8, use_stream },
	{ 3, come_anew },
};

static void step(struct visitor *visitor)
{
	unsigned what = randombytes_uniform(100);
	unsigned i = 0;

	/* One doubt at a time. */
	if (visitor->in_doubt) {
		settle(visitor);
		return;
	}
	while (what >= acts[i].often)
		what -= acts[i++].often;
	visitor->next = visitor->now;
	acts[i].act(visitor, randombytes_uniform(NAMES));
}

static void *visit(void *argument)
{
	struct visitor *visitor = argument;

	while (!over && visitor->fault[0] == '\0')
		step(visitor);
	return NULL;
}

void visitors_come(const char *path)
{
	over = false;
	calls = failed = vanished = large = longest_us = 0;
	for (unsigned i = 0; i < DEEDS; i++)
		done[i] = 0;
	for (unsigned i = 0; i < VISITORS; i++) {
		struct visitor *visitor = &visitors[i];

		*visitor = (struct visitor){ .number = i, .path = path };
		ck_assert_int_eq(open_handle(visitor, &visitor->client), MG_OK);
	}
	for (unsigned i = 0; i < VISITORS; i++)
		ck_assert_int_eq(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
}

void visitors_await(unsigned long more)
{
	unsigned long begun = calls, seen = calls;
	unsigned waited_us = 0;

	while (calls - begun < more && waited_us < PATIENCE_US) {
		usleep(LOOK_US);
		waited_us = calls == seen ? waited_us + LOOK_US : 0;
		seen = calls;
	}
}

/* What is known must be there at the end, too. */
static void look_at_all(struct visitor *visitor)
{
	char text[32];

	if (visitor->in_doubt)
		settle(visitor);
	for (unsigned i = 0; i < NAMES && visitor->fault[0] == '\0'; i++) {
		look(visitor, i);
		look_back(visitor, i);
	}
	spell_stream(text, visitor);
	while (visitor->now.waiting_count > 0 && visitor->fault[0] == '\0')
		receive_segment(visitor, text);
}

struct visits visitors_leave(void)
{
	struct visits visits = { 0 };

	over = true;
	for (unsigned i = 0; i < VISITORS; i++)
		pthread_join(visitors[i].thread, NULL);
	for (unsigned i = 0; i < VISITORS; i++) {
		ck_assert_str_eq(visitors[i].fault, "");
		look_at_all(&visitors[i]);
		ck_assert_str_eq(visitors[i].fault, "");
		mg_close(visitors[i].client);
	}
	for (unsigned i = 0; i < DEEDS; i++)
		visits.done[i] = done[i];
	visits.calls = calls;
	visits.failed = failed;
	visits.vanished = vanished;
	visits.large = large;
	visits.longest_us = longest_us;
	return visits;
}
