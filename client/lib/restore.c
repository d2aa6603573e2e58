/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <string.h>

#include "client/lib/bundle_file.h"
#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/exchange.h"
#include "common/wire/name.h"

/* So many the daemon brings back in a millisecond, however slow it is. */
#define SECRETS_PER_MS 10

/* A restore under way. */
struct restore {
	struct call call; /* first: what attempts are given */
	const struct mg_backup_options *options;
	struct span prefix;
	struct bundle_file file;
	struct mg_backup_count count;
	bool asked; /* the commit has been sent */
	struct request commit;

	/* The secret at hand. */
	struct request request;
	char name[NAME_FILED_MAX + 1];
};

/* -- one secret ---------------------------------------------------------------------------- */

static int take_staged(struct mg_client *client, struct restore *restore)
{
	struct reply reply;
	int r = exchange_receive(client, &reply, restore->call.deadline_ms);

	if (r < 0)
		return r;
	r = call_judge(&reply);
	return r == MG_OK ? MG_OK : error_about(r, span_text(restore->name));
}

/* The request that brings it; its words lie on the bench. */
static void request_it(struct restore *restore, const struct bundled *bundled)
{
	const struct info *info = &bundled->info;

	restore->request = (struct request){ .verb = VERB_STAGE,
		.name = info->name,
		.version = info->version,
		.size = info->size,
		.created_ms = info->created_ms,
		.changed_ms = info->changed_ms,
		.tags = info->tags,
		.lifetime = info->left,
		.freeze = info->frozen,
		.owner = bundled->owner,
		.key = bundled->key,
		.chunked = true };
	memcpy(restore->name, info->name.data, info->name.size);
	restore->name[info->name.size] = '\0';
}

/* The first frame carries the verb, the others only chunks. */
static int send_chunks(struct mg_client *client, struct restore *restore,
	const struct chunks *chunks, struct span bytes)
{
	struct request next = { .id = client->last_id, .chunked = true, .chunks = *chunks };

	if (chunks->first > 0)
		return exchange_send(client, &next, bytes, restore->call.deadline_ms);
	restore->request.chunks = *chunks;
	return call_send(client, &restore->call, &restore->request, bytes);
}

/* What does not open is not sent. The daemon answers early only to refuse. */
static int stage(struct mg_client *client, struct restore *restore)
{
	struct chunks chunks = { 0 };
	int r = MG_OK;

	while (r == MG_OK && !chunks.final) {
		uint64_t since_ms = connection_now_ms();
		struct span bytes;

		if (chunks.count > 0 && exchange_has_news(client)) {
			r = take_staged(client, restore);
			return r == MG_OK ? -EPROTO : r;
		}
		r = bundle_file_chunks(&restore->file, &chunks, &bytes);
		call_excuse(&restore->call, since_ms);
		if (r == MG_OK)
			r = send_chunks(client, restore, &chunks, bytes);
	}
	return r == MG_OK ? take_staged(client, restore) : r;
}

/* Read and checked all the same: a bundle is whole or it is none. */
static int pass_over(struct restore *restore)
{
	struct chunks chunks = { 0 };
	struct span bytes;
	int r = MG_OK;

	while (r == MG_OK && !chunks.final)
		r = bundle_file_chunks(&restore->file, &chunks, &bytes);
	return r;
}

static int take_secret(
	struct mg_client *client, struct restore *restore, const struct bundled *bundled)
{
	int r;

	request_it(restore, bundled);
	if (!span_starts_with(restore->request.name, restore->prefix))
		return pass_over(restore);
	r = stage(client, restore);
	if (r != MG_OK)
		return r;
	restore->count.secrets++;
	restore->count.bytes += bundled->info.size;
	if (restore->options->progress)
		restore->options->progress(restore->options->context, &restore->count);
	return MG_OK;
}

static int stage_all(struct mg_client *client, struct restore *restore)
{
	struct bundled bundled;
	bool over = false;
	int r = MG_OK;

	while (r == MG_OK && !over) {
		r = bundle_file_next(&restore->file, &bundled, &over);
		call_progress(client, &restore->call);
		if (r == MG_OK && !over)
			r = take_secret(client, restore, &bundled);
	}
	return r;
}

/* -- all of them --------------------------------------------------------------------------- */

static int say_in_the_way(const struct reply *reply)
{
	int r = call_judge(reply);

	if (r == MG_OK || reply->name.size == 0)
		return r;
	return error_about(r, reply->name);
}

/* One that was sent on a connection that broke may have been made, and its number tells. */
static int commit(struct mg_client *client, struct restore *restore)
{
	bool again = restore->asked;
	struct reply reply;
	int r;

	/* However many there are, the daemon takes them in steps, between which others are served.
	 */
	restore->call.wait_ms = restore->count.secrets < UINT_MAX
		? (unsigned)(restore->count.secrets / SECRETS_PER_MS)
		: UINT_MAX / SECRETS_PER_MS;
	call_progress(client, &restore->call);
	restore->asked = true;
	restore->call.repeatable = !again;
	r = call_ask(client, &restore->call, &restore->commit, &reply);
	if (r < 0)
		return r;
	/* Had it been made, the next daemon would know: what was staged went with the first one. */
	if (again && reply.code == MG_NOT_FOUND)
		return error_say(MG_UNREACHABLE,
			"the daemon ended before it restored anything: restore again");
	if (reply.code == 0 && reply.body != BODY_RESTORED)
		return -EPROTO;
	return say_in_the_way(&reply);
}

/* Once the commit was asked for, an attempt only asks again. */
static int attempt(struct mg_client *client, struct call *call)
{
	struct restore *restore = (struct restore *)(void *)call;
	int r = restore->asked ? MG_OK : stage_all(client, restore);

	restore->commit.secrets = restore->count.secrets;
	if (r == MG_OK && restore->count.secrets > 0)
		r = commit(client, restore);
	/* With the connection goes what was staged on it. */
	if (r > 0)
		connection_close(&client->connection);
	return r;
}

static int run(struct mg_client *client, int fd, struct restore *restore)
{
	const char *prefix = restore->options->prefix ? restore->options->prefix : "";
	const char *fault = name_prefix_fault(span_text(prefix));
	int r;

	if (fault)
		return error_say(MG_INVALID, "the prefix %s", fault);
	restore->prefix = span_text(prefix);
	restore->call.attempt = attempt;
	restore->commit = (struct request){ .verb = VERB_COMMIT, .numbered = true };
	r = bundle_file_open(&restore->file, fd, restore->options, client);
	if (r != MG_OK)
		return r;
	randombytes_buf(restore->commit.number, sizeof(restore->commit.number));
	return call_run(client, &restore->call);
}

int mg_restore(struct mg_client *client, int fd, const struct mg_backup_options *options,
	struct mg_backup_count *countp)
{
	static const struct mg_backup_options none;
	struct restore restore = { .options = options ? options : &none };
	int r;

	if (!client)
		return error_say(MG_INVALID, "no handle");
	r = run(client, fd, &restore);
	bundle_file_finish(&restore.file);
	if (r == MG_OK && countp)
		*countp = restore.count;
	return r;
}
