/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/restore.h"

#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "common/wire/name.h"

struct restore {
	struct batch *batch;
	uint64_t deadline_ms; /* of CLOCK_BOOTTIME: by then more must come */
	bool running;         /* the commit was asked for */
	bool committed;
	uint64_t id; /* of the commit, and all below */
	uint8_t number[MESSAGE_NUMBER_SIZE];
	uint8_t digest[REPEAT_DIGEST_SIZE];
	uint32_t uid;
	uint64_t count;
};

static struct restore *restore_new(struct daemon *daemon)
{
	struct restore *restore = calloc(1, sizeof(*restore));

	if (restore && batch_new(daemon->vault, &restore->batch) != 0) {
		free(restore);
		return NULL;
	}
	return restore;
}

void restore_end(struct transfers *transfers)
{
	struct restore *restore = transfers->restore;

	transfers->restore = NULL;
	if (!restore)
		return;
	if (restore->running)
		transfers_end(transfers);
	batch_leave(restore->batch);
	free(restore);
}

int restore_open(struct transfers *transfers, struct daemon *daemon, struct batch **batchp)
{
	if (restore_running(transfers))
		return STATUS_CONFLICT;
	if (!transfers->restore)
		transfers->restore = restore_new(daemon);
	if (!transfers->restore)
		return STATUS_LIMIT;
	transfers->restore->deadline_ms = daemon_now_ms() + daemon->upload_ms;
	*batchp = transfers->restore->batch;
	return 0;
}

int restore_commit(struct transfers *transfers, const struct request *request, uint32_t uid,
	const uint8_t digest[static REPEAT_DIGEST_SIZE])
{
	struct restore *restore = transfers->restore;

	if (!restore)
		return STATUS_NOT_FOUND;
	if (restore->running)
		return STATUS_CONFLICT;
	if (batch_count(restore->batch) != request->secrets) {
		restore_end(transfers);
		return STATUS_INTEGRITY;
	}
	if (transfers_full(transfers))
		return STATUS_LIMIT;
	restore->running = true;
	restore->id = request->id;
	restore->uid = uid;
	restore->count = request->secrets;
	memcpy(restore->number, request->number, sizeof(restore->number));
	memcpy(restore->digest, digest, sizeof(restore->digest));
	transfers_begin(transfers);
	return 0;
}

bool restore_running(const struct transfers *transfers)
{
	return transfers->restore && transfers->restore->running;
}

bool restore_has(const struct transfers *transfers, uint64_t id)
{
	return restore_running(transfers) && transfers->restore->id == id;
}

bool restore_is_open(const struct transfers *transfers, uint64_t id)
{
	return restore_has(transfers, id) && !transfers->restore->committed;
}

uint64_t restore_deadline(const struct transfers *transfers)
{
	const struct restore *restore = transfers->restore;

	/* A secret that is on its way has a deadline of its own. */
	return restore && !restore->running && !transfers->uploads ? restore->deadline_ms : 0;
}

/* -- the commit ---------------------------------------------------------------------------- */

static const char *words_for(int status, bool named)
{
	switch (status) {
	case STATUS_DENIED:
		return NOT_ALLOWED "; nothing is restored";
	case STATUS_FROZEN:
		return "the secret is frozen; nothing is restored";
	case STATUS_INVALID:
		return "the name is a stream's; nothing is restored";
	case STATUS_INTEGRITY:
		return named ? "the record there is damaged: remove it; nothing is restored"
			     : "what was staged is damaged; nothing is restored";
	case STATUS_CONFLICT:
		return "what is there was changed again and again; nothing is restored";
	case STATUS_GONE:
		return "purged meanwhile";
	default:
		return "memory is used up; nothing is restored";
	}
}

/* The answer is kept for a repeat; `place` is where the vault has it, too. */
static int keep(struct daemon *daemon, const struct restore *restore, int code, uint64_t place)
{
	struct repeat_answer first = {
		.code = code, .version = code == 0 ? restore->count : 0, .place = place
	};

	return repeats_keep(
		daemon->repeats, restore->uid, restore->number, restore->digest, &first);
}

static int finish(struct transfers *transfers, struct daemon *daemon, int code, struct span name,
	struct answers *answers)
{
	struct restore *restore = transfers->restore;
	char shown[NAME_FILED_MAX];
	struct reply reply = { .id = restore->id, .code = code, .body = BODY_RESTORED };

	if (code == 0)
		reply.secrets = restore->count;
	else
		reply.detail = span_text(words_for(code, name.size > 0));
	if (name.size > 0)
		reply.name = span_of(shown, name_show(shown, name, restore->uid));
	if (code != 0)
		(void)keep(daemon, restore, code, 0);
	restore_end(transfers);
	return answers_append(answers, &reply);
}

/*
 * Everything that can fail comes first: the look at what is there, the memory, the place of the
 * answer. If the session ends after that, or this process, the secrets appear all the same, and the
 * number tells.
 */
static int begin(struct daemon *daemon, struct restore *restore)
{
	struct vault *vault = daemon->vault;
	uint64_t place;
	int r = keep(daemon, restore, 0, 0) < 0 ? STATUS_LIMIT : 0;

	if (r != 0)
		return r;
	vault_promise(vault, restore->uid, restore->number, restore->digest);
	r = batch_commit(vault, restore->batch);
	place = vault_promise_end(vault, r == 0);
	restore->committed = r == 0;
	if (r == 0)
		(void)keep(daemon, restore, 0, place);
	return r;
}

/* What was staged for this session's peer. */
struct judging {
	const struct transfers *transfers;
	const struct daemon *daemon;
};

static bool may_set(const void *context, struct span name, bool frozen)
{
	const struct judging *judging = context;

	return transfers_may_still(judging->transfers, judging->daemon, RIGHT_SET, name) &&
		(!frozen ||
			transfers_may_still(
				judging->transfers, judging->daemon, RIGHT_FREEZE, name));
}

/* Returns 1 when it is done, 0 when there is more to do, another status or a negative errno. */
static int step(const struct transfers *transfers, struct daemon *daemon, struct restore *restore,
	struct span *namep)
{
	const struct judging judging = { transfers, daemon };
	const struct batch_judge judge = { .may = may_set, .context = &judging };
	int r;

	if (restore->committed)
		return batch_publish(daemon->vault, restore->batch) ? 1 : 0;
	r = batch_check(daemon->vault, restore->batch, &judge, namep);
	if (r != 1)
		return r;
	*namep = span_of(NULL, 0);
	return begin(daemon, restore);
}

int restore_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	struct restore *restore = transfers->restore;
	uint64_t deadline_ms = restore_deadline(transfers);
	struct span name = { 0 };
	int r;

	if (deadline_ms > 0 && daemon_now_ms() >= deadline_ms)
		restore_end(transfers);
	if (!restore_running(transfers))
		return 0;
	r = step(transfers, daemon, restore, &name);
	daemon_forget_in_time(daemon, daemon_now_ns());
	if (r <= 0)
		return r;
	/* Only some say which name it is about. */
	if (r == 1 || r == STATUS_GONE || r == STATUS_CONFLICT)
		name = span_of(NULL, 0);
	return finish(transfers, daemon, r == 1 ? 0 : r, name, answers);
}

int restore_refuse(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	const struct restore *restore = transfers->restore;
	uint64_t id;

	if (!restore_running(transfers))
		return 0;
	/* It was made: what has not appeared yet does so when it is unlocked, before all else. */
	if (restore->committed)
		return finish(transfers, daemon, 0, span_of(NULL, 0), answers);
	id = restore->id;
	restore_end(transfers);
	return answers_code(answers, id, STATUS_LOCKED, IS_LOCKED);
}
