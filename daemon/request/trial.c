/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/trial.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "common/wire/name.h"

/* Bytes of each side that are opened at a time: the bench holds two such parts. */
#define PART_SIZE ((size_t)8192)

/* Parts of a step at most, because the masters' view outlives it; and one at least. */
#define STEP_PARTS 8

/* Versions that are tried: whoever stores without end holds up no comparison for ever. */
#define VERSIONS_MAX 4

struct trial {
	struct trial *next;
	uint64_t id;
	uint32_t uid;
	uint64_t look_ms; /* CLOCK_BOOTTIME: not before */
	bool running;     /* it has its uid's turn */
	struct value *value;
	struct enclave_binding binding;
	uint8_t wrapped[ENCLAVE_WRAPPED_KEY];
	struct record *record; /* pinned, once it has begun */
	unsigned versions;     /* begun with */
	uint64_t chunk;        /* the next one, */
	size_t at;             /* and where the next part of it begins */
	int difference;        /* 0: none so far; not to be branched on before the end */
	struct span name;
	char filed[NAME_FILED_MAX];
};

/* -- one pair of chunks -------------------------------------------------------------------- */

/* A sealed chunk and what opens it. */
struct sealed {
	struct span bytes;
	const uint8_t *key;
};

/* The next part of both chunks, which are of one size. Returns 0 or -EBADMSG. */
static int compare_part(struct trial *trial, const struct sealed *one, const struct sealed *other,
	bool final, uint8_t *parts)
{
	size_t left = one->bytes.size - ENCLAVE_TAG_SIZE - trial->at;
	size_t part = left < PART_SIZE ? left : PART_SIZE;
	int r = enclave_open_part(parts, trial->at, part, one->bytes.data, one->bytes.size,
		trial->chunk, final, one->key);

	if (r == 0)
		r = enclave_open_part(parts + PART_SIZE, trial->at, part, other->bytes.data,
			other->bytes.size, trial->chunk, final, other->key);
	if (r < 0)
		return r;
	trial->difference |= sodium_memcmp(parts, parts + PART_SIZE, part);
	trial->at += part;
	if (part < left)
		return 0;
	trial->at = 0;
	trial->chunk++;
	return 0;
}

/* -- a step -------------------------------------------------------------------------------- */

/* Keys and parts lie on the bench for one step. */
struct opened {
	uint8_t *key; /* the candidate's */
	uint8_t *secret_key;
	uint8_t *parts;
};

static int open_keys(const struct trial *trial, struct daemon *daemon, struct opened *opened)
{
	struct workbench *bench = &daemon->bench;

	opened->key = workbench_take(bench, ENCLAVE_KEY_SIZE);
	opened->secret_key = workbench_take(bench, ENCLAVE_KEY_SIZE);
	opened->parts = workbench_take(bench, 2 * PART_SIZE);
	if (!opened->key || !opened->secret_key || !opened->parts)
		return -ENOBUFS;
	if (value_purged(trial->value) || record_purged(trial->record) ||
		enclave_unwrap(opened->key, trial->wrapped, ENCLAVE_KEY_SIZE, trial->binding,
			&daemon->coffer, COFFER_VAULT) != 0)
		return STATUS_GONE;
	return record_key(daemon->vault, trial->record, opened->secret_key);
}

/*
 * A candidate of another size is compared with itself: that takes as long, and tells nobody how
 * long the secret is.
 */
static bool same_size(const struct trial *trial)
{
	return record_size(trial->record) == value_size(trial->value);
}

static bool may_compare(const struct daemon *daemon, int parts)
{
	return parts == 0 || (parts < STEP_PARTS && daemon_has_time(daemon));
}

/* Returns 1 when there is more to compare, 0, a status above 1, or a negative errno. */
static int compare_some(struct trial *trial, struct daemon *daemon, const struct opened *opened)
{
	uint64_t chunks = value_chunks(trial->value);
	bool same = same_size(trial);
	int r = 0;

	for (int i = 0; r == 0 && trial->chunk < chunks && may_compare(daemon, i); i++) {
		struct sealed candidate = { value_chunk(daemon->vault, trial->value, trial->chunk),
			opened->key };
		struct sealed secret = candidate;

		if (same)
			secret = (struct sealed){ record_chunk(daemon->vault, trial->record,
							  trial->chunk),
				opened->secret_key };
		if (secret.bytes.size != candidate.bytes.size)
			return STATUS_INTEGRITY;
		r = compare_part(
			trial, &candidate, &secret, trial->chunk + 1 == chunks, opened->parts);
	}
	if (r == -EBADMSG)
		return STATUS_INTEGRITY;
	return r == 0 && trial->chunk < chunks ? 1 : r;
}

static int step(struct trial *trial, struct daemon *daemon)
{
	size_t mark = workbench_mark(&daemon->bench);
	struct opened opened;
	int r = open_keys(trial, daemon, &opened);

	if (r == 0)
		r = compare_some(trial, daemon, &opened);
	workbench_release(&daemon->bench, mark);
	return workbench_is_broken(&daemon->bench) ? -EFAULT : r;
}

/* -- turns --------------------------------------------------------------------------------- */

static void leave(struct trial *trial, struct daemon *daemon, bool wrong)
{
	if (trial->record)
		record_unpin(daemon->vault, trial->record);
	trial->record = NULL;
	if (trial->running)
		penalty_leave(daemon->penalties, trial->uid, daemon_now_ms(), wrong);
	trial->running = false;
}

static int find_secret(struct trial *trial, struct daemon *daemon)
{
	struct record *record;
	int r = vault_find(daemon->vault, trial->name, &record);

	if (r == 0)
		trial->record = record_pin(record);
	trial->versions++;
	return r;
}

/* Takes the uid's turn and finds the secret. Returns 0, 1 to wait, or a status above 1. */
static int enter(struct trial *trial, struct daemon *daemon)
{
	uint64_t now_ms = daemon_now_ms();
	int r;

	if (now_ms < trial->look_ms)
		return 1;
	r = penalty_enter(daemon->penalties, trial->uid, now_ms, &trial->look_ms);
	if (r != 0)
		return r < 0 ? STATUS_LIMIT : r;
	trial->running = true;
	return trial->record ? 0 : find_secret(trial, daemon);
}

/* The version that it was compared with is no more. Returns 1 if there is another one. */
static int begin_anew(struct trial *trial, struct daemon *daemon)
{
	int r;

	if (trial->versions == VERSIONS_MAX)
		return STATUS_GONE;
	record_unpin(daemon->vault, trial->record);
	trial->record = NULL;
	trial->chunk = 0;
	trial->at = 0;
	trial->difference = 0;
	r = find_secret(trial, daemon);
	return r == 0 ? 1 : r;
}

static const char *words_for(int status)
{
	switch (status) {
	case STATUS_DENIED:
		return NOT_ALLOWED;
	case STATUS_NO:
		return "the secret is another one";
	case STATUS_NOT_FOUND:
		return "no such secret";
	case STATUS_INTEGRITY:
		return "the record is damaged";
	case STATUS_LIMIT:
		return "memory is used up";
	case STATUS_GONE:
		return "consumed, purged or replaced meanwhile";
	default:
		return NULL;
	}
}

/* The one place where the comparison's result is looked at. */
static int judge(const struct trial *trial)
{
	bool equal = trial->difference == 0 && same_size(trial);

	return equal ? 0 : STATUS_NO;
}

static int finish(struct transfers *transfers, struct daemon *daemon, struct trial *trial,
	int status, struct answers *answers)
{
	uint64_t id = trial->id;

	leave(trial, daemon, status == STATUS_NO);
	if (!transfers_may_still(transfers, daemon, RIGHT_VERIFY, trial->name))
		status = STATUS_DENIED;
	trial_end(transfers, daemon, trial);
	return answers_code(answers, id, status, words_for(status));
}

static int go_on(struct transfers *transfers, struct daemon *daemon, struct trial *trial,
	struct answers *answers)
{
	int r = trial->running ? 0 : enter(trial, daemon);

	if (r == 0)
		r = step(trial, daemon);
	if (r == STATUS_GONE && trial->record && !value_purged(trial->value))
		r = begin_anew(trial, daemon);
	if (r == 0)
		return finish(transfers, daemon, trial, judge(trial), answers);
	return r > 1 ? finish(transfers, daemon, trial, r, answers) : r < 0 ? r : 0;
}

int trials_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	bool first = true;
	struct trial *next;
	int r = 0;

	for (struct trial *trial = transfers->trials;
		trial && r == 0 && (first || daemon_has_time(daemon)); trial = next) {
		first = false;
		next = trial->next;
		r = go_on(transfers, daemon, trial, answers);
		daemon_forget_in_time(daemon, daemon_now_ns());
	}
	return r;
}

void trials_pause(struct transfers *transfers, struct daemon *daemon)
{
	for (struct trial *trial = transfers->trials; trial; trial = trial->next) {
		if (!trial->running)
			continue;
		penalty_leave(daemon->penalties, trial->uid, daemon_now_ms(), false);
		trial->running = false;
	}
}

bool trials_running(const struct transfers *transfers)
{
	for (const struct trial *trial = transfers->trials; trial; trial = trial->next)
		if (trial->running)
			return true;
	return false;
}

uint64_t trials_deadline(const struct transfers *transfers)
{
	uint64_t earliest = 0;

	for (const struct trial *trial = transfers->trials; trial; trial = trial->next)
		if (!trial->running && (earliest == 0 || trial->look_ms < earliest))
			earliest = trial->look_ms;
	return earliest;
}

/* -- its life ------------------------------------------------------------------------------ */

int trial_begin(struct transfers *transfers, const struct candidate *candidate)
{
	struct trial **at = &transfers->trials;
	struct trial *trial;

	if (transfers_full(transfers))
		return STATUS_LIMIT;
	trial = calloc(1, sizeof(*trial));
	if (!trial)
		return STATUS_LIMIT;
	trial->id = candidate->id;
	trial->uid = candidate->uid;
	/* Whoever is before it may use up the turn: it has a time before anybody looks at it. */
	trial->look_ms = daemon_now_ms();
	trial->value = candidate->value;
	trial->binding = candidate->binding;
	memcpy(trial->wrapped, candidate->wrapped, sizeof(trial->wrapped));
	memcpy(trial->filed, candidate->name.data, candidate->name.size);
	trial->name = span_of(trial->filed, candidate->name.size);
	/* The first to come is the first to be judged. */
	while (*at)
		at = &(*at)->next;
	*at = trial;
	transfers_begin(transfers);
	return 0;
}

uint64_t trial_first(const struct transfers *transfers)
{
	return transfers->trials ? transfers->trials->id : 0;
}

struct trial *trial_find(const struct transfers *transfers, uint64_t id)
{
	struct trial *trial = transfers->trials;

	while (trial && trial->id != id)
		trial = trial->next;
	return trial;
}

void trial_end(struct transfers *transfers, struct daemon *daemon, struct trial *trial)
{
	struct trial **at = &transfers->trials;

	while (*at != trial)
		at = &(*at)->next;
	*at = trial->next;
	transfers_end(transfers);
	leave(trial, daemon, false);
	value_free(daemon->vault, trial->value);
	sodium_memzero(trial->wrapped, sizeof(trial->wrapped));
	free(trial);
}
