/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/memory/enclave.h"
#include "common/status.h"
#include "common/wire/frame.h"
#include "daemon/failpoint.h"
#include "daemon/request/flow.h"
#include "daemon/request/petition.h"
#include "daemon/request/restore.h"
#include "daemon/request/showing.h"
#include "daemon/request/sweep.h"
#include "daemon/request/trial.h"
#include "daemon/request/unlock.h"
#include "daemon/request/upload.h"
#include "daemon/request/waiter.h"
#include "daemon/request/walk.h"
#include "daemon/request/watch.h"

/* A get whose chunks are still leaving. */
struct download {
	struct download *next;
	uint64_t id;
	struct record *record; /* pinned, for the reader */
	struct reader reader;
	uint64_t chunk; /* the next one */
};

/* -- how many ------------------------------------------------------------------------------ */

const char *transfers_full(const struct transfers *transfers)
{
	if (transfers->count >= TRANSFERS_MAX)
		return "64 requests of this session are under way";
	return transfers->user && !user_may_ask(transfers->user)
		? "as many requests of this user are under way as quota-inflight allows"
		: NULL;
}

void transfers_begin(struct transfers *transfers)
{
	transfers->count++;
	if (transfers->user)
		transfers->user->inflight++;
}

void transfers_end(struct transfers *transfers)
{
	transfers->count--;
	if (transfers->user)
		transfers->user->inflight--;
}

/* -- gets ---------------------------------------------------------------------------------- */

static void download_end(
	struct transfers *transfers, struct daemon *daemon, struct download *download)
{
	struct download **at = &transfers->downloads;

	while (*at != download)
		at = &(*at)->next;
	*at = download->next;
	transfers_end(transfers);
	record_unpin_for(daemon->vault, download->record, &download->reader);
	free(download);
}

/* NULL without memory, or when too much is under way. */
static struct download *download_queue(
	struct transfers *transfers, uint64_t id, struct record *record)
{
	struct download **at = &transfers->downloads;
	struct download *download;

	if (transfers_full(transfers))
		return NULL;
	download = calloc(1, sizeof(*download));
	if (!download)
		return NULL;
	download->id = id;
	download->reader.uid = (uint32_t)transfers->peer->uid;
	download->record = record_pin_for(record, &download->reader);
	while (*at)
		at = &(*at)->next;
	*at = download;
	transfers_begin(transfers);
	return download;
}

/* Chunks of a frame: others wait while they are copied. */
static size_t chunks_at_once(const struct daemon *daemon)
{
	return daemon->users.count > 1 ? 1 : FRAME_CHUNKS;
}

/* Announces up to a frame of chunks from `first` on and collects them. */
static size_t gather(const struct daemon *daemon, const struct record *record, uint64_t first,
	struct chunks *chunks, struct span pieces[FRAME_CHUNKS])
{
	uint64_t total = record_chunks(record);
	size_t most = chunks_at_once(daemon);
	size_t count = 0;

	while (count < most && first + count < total) {
		pieces[count] = record_chunk(daemon->vault, record, first + count);
		if (pieces[count].size == 0)
			return 0;
		count++;
	}
	if (count > 0)
		*chunks = (struct chunks){ .first = first,
			.count = (uint32_t)count,
			.last = (uint32_t)pieces[count - 1].size,
			.final = first + count == total };
	return count;
}

/* A value of one chunk leaves with its key. */
static int answer_at_once(
	struct daemon *daemon, struct record *record, struct reply *reply, struct answers *answers)
{
	struct span pieces[FRAME_CHUNKS];
	int r;

	if (gather(daemon, record, 0, &reply->chunks, pieces) != 1)
		return STATUS_INTEGRITY;
	reply->chunked = true;
	if (reply->body == BODY_RECORD || !record_counts(record))
		return answers->append(answers, reply, pieces, 1);
	/* If this fetch is the last, the record lives until the chunk is copied. */
	record = record_pin(record);
	r = record_use(daemon->vault, record);
	failpoint("used");
	if (r == 0)
		r = answers->append(answers, reply, pieces, 1);
	record_unpin(daemon->vault, record);
	return r;
}

/* The key, and then the chunks frame by frame: what can fail comes before the fetch counts. */
static int answer_piecemeal(struct transfers *transfers, struct daemon *daemon,
	struct record *record, struct reply *reply, struct answers *answers)
{
	struct download *download = download_queue(transfers, reply->id, record);
	int r = download ? 0 : STATUS_LIMIT;

	if (r == 0 && reply->body == BODY_VALUE)
		r = record_use(daemon->vault, download->record);
	failpoint("used");
	if (r == 0)
		return answers->append(answers, reply, NULL, 0);
	if (download)
		download_end(transfers, daemon, download);
	return r;
}

/* The answer and its key, with the chunk if it is one. */
static int answer_record(struct transfers *transfers, struct daemon *daemon, struct record *record,
	struct reply *reply, struct answers *answers)
{
	uint8_t *key = workbench_take(&daemon->bench, ENCLAVE_KEY_SIZE);
	int r = key ? record_key(daemon->vault, record, key) : -ENOBUFS;

	if (r != 0)
		return r;
	reply->key = key;
	if (record_chunks(record) == 1 && answers->ready(answers))
		return answer_at_once(daemon, record, reply, answers);
	return answer_piecemeal(transfers, daemon, record, reply, answers);
}

int download_begin(struct transfers *transfers, struct daemon *daemon, const struct wanted *wanted,
	struct answers *answers)
{
	struct reply reply = { .id = wanted->id, .body = BODY_VALUE };
	struct tag tags[MESSAGE_TAGS_MAX];
	struct record *record;
	struct info info;
	int r = vault_find_version(daemon->vault, wanted->name, wanted->version, &record);

	if (r == 0 && record_is_stream(record))
		r = STATUS_INVALID;
	if (r != 0)
		return r;
	record_info(record, &info, tags);
	reply.version = info.version;
	reply.size = info.size;
	return answer_record(transfers, daemon, record, &reply, answers);
}

int download_export(struct transfers *transfers, struct daemon *daemon, uint64_t id,
	struct record *record, struct span name, uint64_t left_out, struct answers *answers)
{
	struct reply reply = {
		.id = id, .body = BODY_RECORD, .owner = record_owner(record), .left_out = left_out
	};
	struct tag tags[MESSAGE_TAGS_MAX];

	record_info(record, &reply.info, tags);
	reply.info.name = name;
	reply.info.idle_left_ms = 0;
	return answer_record(transfers, daemon, record, &reply, answers);
}

/* One frame of chunks of one get; its end is taken off the list. */
static int download_step(struct transfers *transfers, struct daemon *daemon,
	struct download *download, struct answers *answers)
{
	struct reply reply = { .id = download->id, .chunked = true };
	struct span pieces[FRAME_CHUNKS];
	size_t count = gather(daemon, download->record, download->chunk, &reply.chunks, pieces);

	if (count == 0) {
		download_end(transfers, daemon, download);
		return answers_code(answers, reply.id, STATUS_GONE, "purged meanwhile");
	}
	download->chunk += count;
	if (reply.chunks.final) {
		/* The pieces are copied by append; the record must live until then. */
		int r = answers->append(answers, &reply, pieces, count);

		download_end(transfers, daemon, download);
		return r;
	}
	return answers->append(answers, &reply, pieces, count);
}

int downloads_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	bool first = true;
	int r = 0;

	while (r == 0 && transfers->downloads && answers->ready(answers) &&
		(first || daemon_has_time(daemon))) {
		first = false;
		r = download_step(transfers, daemon, transfers->downloads, answers);
	}
	return r;
}

/* -- all of them --------------------------------------------------------------------------- */

static struct download *download_find(const struct transfers *transfers, uint64_t id)
{
	struct download *download = transfers->downloads;

	while (download && download->id != id)
		download = download->next;
	return download;
}

struct holder *transfers_session(struct transfers *transfers)
{
	if (!transfers->session)
		transfers->session = holder_new(NULL, NULL);
	return transfers->session;
}

bool transfers_has(const struct transfers *transfers, uint64_t id)
{
	return upload_find(transfers, id) || download_find(transfers, id) ||
		waiter_find(transfers, id) || sweep_find(transfers, id) ||
		walk_find(transfers, id) || trial_find(transfers, id) ||
		flows_have(transfers, id) || petition_find(transfers, id) ||
		watch_find(transfers, id) || showing_find(transfers, id) ||
		restore_has(transfers, id) || unlock_find(transfers, id);
}

/* Ends what has this id. Whether there was something that has no answer yet. */
static bool end_request(struct transfers *transfers, struct daemon *daemon, uint64_t id)
{
	struct upload *upload = upload_find(transfers, id);
	struct download *download = download_find(transfers, id);
	struct waiter *waiter = waiter_find(transfers, id);
	struct sweep *sweep = sweep_find(transfers, id);
	struct walk *walk = walk_find(transfers, id);
	struct trial *trial = trial_find(transfers, id);
	struct petition *petition = petition_find(transfers, id);
	struct watch *watch = watch_find(transfers, id);
	struct showing *showing = showing_find(transfers, id);
	struct unlock *unlock = unlock_find(transfers, id);
	bool unanswered = !upload || !upload_answered(upload);

	if (upload)
		upload_end(transfers, daemon, upload);
	else if (download)
		download_end(transfers, daemon, download);
	else if (waiter)
		waiter_end(transfers, waiter);
	else if (sweep)
		sweep_end(transfers, sweep);
	else if (walk)
		walk_end(transfers, walk);
	else if (trial)
		trial_end(transfers, daemon, trial);
	else if (flows_have(transfers, id))
		flows_forget(transfers, id);
	else if (petition)
		petition_end(transfers, petition);
	else if (watch)
		watch_end(transfers, watch);
	else if (showing)
		showing_end(transfers, showing);
	else if (unlock)
		unlock_end(transfers, unlock);
	else if (restore_is_open(transfers, id))
		restore_end(transfers);
	else
		return false;
	return unanswered;
}

int transfers_cancel(
	struct transfers *transfers, struct daemon *daemon, uint64_t id, struct answers *answers)
{
	if (!end_request(transfers, daemon, id))
		return 0;
	return answers_code(answers, id, STATUS_TIMEOUT, "cancelled");
}

/* The id of one that cannot go on while the vault is locked; 0: there is none. */
static uint64_t first_that_needs_the_master(const struct transfers *transfers)
{
	const uint64_t firsts[] = { waiter_first(transfers), sweep_first(transfers),
		transfers->walks ? transfers->walks->request.id : 0, trial_first(transfers),
		flows_first(transfers), watch_first(transfers), showing_first(transfers) };

	for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++)
		if (firsts[i] != 0)
			return firsts[i];
	return 0;
}

int transfers_refuse(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	int r = uploads_refuse(transfers, daemon, answers);
	uint64_t id;

	if (r == 0)
		r = restore_refuse(transfers, daemon, answers);
	while (r == 0 && (id = first_that_needs_the_master(transfers)) != 0) {
		(void)end_request(transfers, daemon, id);
		r = answers_code(answers, id, STATUS_LOCKED, IS_LOCKED);
	}
	return r;
}

void transfers_finish(struct transfers *transfers, struct daemon *daemon)
{
	while (transfers->uploads)
		upload_end(transfers, daemon, transfers->uploads);
	while (transfers->downloads)
		download_end(transfers, daemon, transfers->downloads);
	while (transfers->waiters)
		waiter_end(transfers, transfers->waiters);
	while (transfers->sweeps)
		sweep_end(transfers, transfers->sweeps);
	while (transfers->walks)
		walk_end(transfers, transfers->walks);
	while (transfers->trials)
		trial_end(transfers, daemon, transfers->trials);
	while (transfers->petitions)
		petition_end(transfers, transfers->petitions);
	while (transfers->watches)
		watch_end(transfers, transfers->watches);
	while (transfers->showings)
		showing_end(transfers, transfers->showings);
	while (transfers->unlocks)
		unlock_end(transfers, transfers->unlocks);
	session_shows(transfers, daemon, NULL);
	flows_finish(transfers);
	restore_end(transfers);
	wait_party_end(&transfers->party);
	if (transfers->session)
		vault_end_holder(daemon->vault, transfers->session);
	transfers->session = NULL;
}
