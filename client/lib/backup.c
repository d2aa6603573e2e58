/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/mgclient-backup.h"

#include <errno.h>
#include <string.h>

#include "client/lib/bundle_file.h"
#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/exchange.h"
#include "common/bytes.h"
#include "common/wire/name.h"

/* A backup under way. */
struct backup {
	struct call call; /* first: what attempts are given */
	struct request request;
	const struct mg_backup_options *options;
	struct bundle_file file;
	struct mg_backup_count count;
	bool over;
	char after[NAME_FILED_MAX]; /* where it stands: also where a repeat goes on */

	/* The value that is on its way. */
	uint64_t size;  /* bytes */
	uint64_t taken; /* of them */
	uint64_t due;   /* number of the next chunk */
	uint8_t message[BUNDLE_PREFIX_SIZE + BUNDLE_MESSAGE_MAX];
};

static int say_broken(const char *what)
{
	return error_say(MG_INTEGRITY, "a secret is not whole: %s", what);
}

/* -- chunks -------------------------------------------------------------------------------- */

struct checking {
	struct mg_client *client;
	struct span chunk;
	uint64_t number;
	bool final;
	int result;
};

static void check_chunk(void *argument)
{
	struct checking *checking = argument;

	checking->result = enclave_check_chunk(checking->chunk.data, checking->chunk.size,
		checking->number, checking->final, checking->client->keys->value);
}

/* It goes on as it is, if it is what was sealed: what is kept can be opened. */
static int take_chunk(
	struct mg_client *client, struct backup *backup, struct span chunk, bool final)
{
	struct checking checking = {
		.client = client, .chunk = chunk, .number = backup->due, .final = final
	};

	backup->taken += chunk.size - ENCLAVE_TAG_SIZE;
	if (backup->taken > backup->size || final != (backup->taken == backup->size) ||
		(!final && chunk.size != ENCLAVE_CHUNK_SIZE))
		return say_broken("its size is another one");
	handle_run(client, check_chunk, &checking);
	if (checking.result < 0)
		return say_broken("a chunk does not open");
	backup->due++;
	return bundle_file_write(&backup->file, chunk);
}

static int take_chunks(struct mg_client *client, struct backup *backup, const struct chunks *chunks,
	struct span bytes)
{
	size_t at = 0;
	int r = MG_OK;

	if (chunks->count == 0 || chunks->first != backup->due)
		return say_broken("chunks are out of order");
	for (uint32_t i = 0; r == MG_OK && i < chunks->count; i++) {
		bool last = i + 1 == chunks->count;
		size_t size = last ? chunks->last : ENCLAVE_CHUNK_SIZE;

		r = take_chunk(
			client, backup, span_of(bytes.data + at, size), last && chunks->final);
		at += size;
	}
	return r;
}

/* -- messages ------------------------------------------------------------------------------ */

struct pushing {
	struct mg_client *client;
	struct backup *backup;
	const struct bundled *bundled; /* NULL: the last message */
	size_t size;                   /* of what lies in backup->message then */
	int result;
};

/* Packs and seals one message on the bench, above what the reply takes. */
static int push_message(struct pushing *pushing)
{
	struct backup *backup = pushing->backup;
	struct workbench *bench = &pushing->client->bench;
	size_t room = workbench_room(bench);
	uint8_t *plain;
	int size = BUNDLE_END_SIZE;

	if (room > MESSAGE_BUNDLED_MAX)
		room = MESSAGE_BUNDLED_MAX;
	plain = workbench_take(bench, room);
	if (!plain || room < BUNDLE_END_SIZE)
		return -ENOBUFS;
	if (pushing->bundled)
		size = message_write_bundled(plain, room, pushing->bundled);
	else
		bytes_put64(plain, backup->count.secrets);
	if (size < 0)
		return size;
	pushing->size = bundle_push(bundle_file_stream(&backup->file), backup->message,
		span_of(plain, (size_t)size), !pushing->bundled);
	return 0;
}

static void push(void *argument)
{
	struct pushing *pushing = argument;
	struct workbench *bench = &pushing->client->bench;
	size_t mark = workbench_mark(bench);

	pushing->result = push_message(pushing);
	workbench_release(bench, mark);
}

static int write_message(
	struct mg_client *client, struct backup *backup, const struct bundled *bundled)
{
	struct pushing pushing = { .client = client, .backup = backup, .bundled = bundled };

	handle_run(client, push, &pushing);
	if (pushing.result < 0)
		return error_say(MG_PROTOCOL, "a secret's outside is larger than a bundle takes");
	return bundle_file_write(&backup->file, span_of(backup->message, pushing.size));
}

/* -- the answers --------------------------------------------------------------------------- */

static void stand_at(struct backup *backup, struct span name)
{
	size_t size = name.size < sizeof(backup->after) ? name.size : sizeof(backup->after);

	if (size > 0)
		memcpy(backup->after, name.data, size);
	backup->request.after = span_of(backup->after, size);
}

static int begin_record(struct mg_client *client, struct backup *backup, const struct reply *reply)
{
	struct bundled bundled = { .info = reply->info, .owner = reply->owner, .key = reply->key };

	backup->size = reply->info.size;
	backup->taken = backup->due = 0;
	stand_at(backup, reply->info.name);
	return write_message(client, backup, &bundled);
}

/* The rest of a value that takes several answers. */
static int take_rest(struct mg_client *client, struct backup *backup)
{
	struct reply reply;
	int r = exchange_receive(client, &reply, backup->call.deadline_ms);

	if (r < 0)
		return r;
	if (reply.code != 0)
		return call_judge(&reply);
	if (reply.body != BODY_NONE || !reply.chunked)
		return -EPROTO;
	r = take_chunks(client, backup, &reply.chunks, reply.bytes);
	call_progress(client, &backup->call);
	return r;
}

static int take_record(struct mg_client *client, struct backup *backup, const struct reply *reply)
{
	struct chunks chunks = reply->chunks;
	int r = begin_record(client, backup, reply);

	exchange_forget(client);
	if (r == MG_OK && reply->chunked)
		r = take_chunks(client, backup, &chunks, reply->bytes);
	while (r == MG_OK && backup->taken < backup->size)
		r = take_rest(client, backup);
	if (r != MG_OK)
		return r;
	backup->count.secrets++;
	backup->count.bytes += backup->size;
	call_progress(client, &backup->call);
	if (backup->options->progress)
		backup->options->progress(backup->options->context, &backup->count);
	return MG_OK;
}

static int take_answer(struct mg_client *client, struct backup *backup, const struct reply *reply)
{
	if (reply->code != 0)
		return call_judge(reply);
	backup->count.left_out += reply->left_out;
	if (reply->body == BODY_LISTING) {
		backup->over = !reply->more;
		stand_at(backup, reply->next);
		return MG_OK;
	}
	/* The same one again would be a bundle without end. */
	if (reply->body != BODY_RECORD || span_equal(reply->info.name, backup->request.after))
		return -EPROTO;
	/* What is written of a secret cannot be taken back. */
	backup->call.repeatable = false;
	return take_record(client, backup, reply);
}

/* What broke off between two secrets goes on behind the one that came last. */
static int attempt(struct mg_client *client, struct call *call)
{
	struct backup *backup = (struct backup *)(void *)call;
	struct reply reply;
	int r = MG_OK;

	while (r == MG_OK && !backup->over) {
		call->repeatable = true;
		r = call_ask(client, call, &backup->request, &reply);
		if (r == 0)
			r = take_answer(client, backup, &reply);
	}
	/* The rest of a value would come still. */
	if (r > 0)
		connection_close(&client->connection);
	return r == MG_OK ? write_message(client, backup, NULL) : r;
}

static int run(struct mg_client *client, int fd, struct backup *backup)
{
	const char *prefix = backup->options->prefix ? backup->options->prefix : "";
	const char *fault = name_prefix_fault(span_text(prefix));
	int r;

	if (fault)
		return error_say(MG_INVALID, "the prefix %s", fault);
	backup->request = (struct request){ .verb = VERB_EXPORT, .name = span_text(prefix) };
	backup->call.attempt = attempt;
	r = bundle_file_create(&backup->file, fd, backup->options, client);
	if (r == MG_OK)
		r = call_run(client, &backup->call);
	return r == MG_OK ? bundle_file_flush(&backup->file) : r;
}

int mg_backup(struct mg_client *client, int fd, const struct mg_backup_options *options,
	struct mg_backup_count *countp)
{
	static const struct mg_backup_options none;
	struct backup backup = { .options = options ? options : &none };
	int r;

	if (!client)
		return error_say(MG_INVALID, "no handle");
	r = run(client, fd, &backup);
	bundle_file_finish(&backup.file);
	if (r == MG_OK && countp)
		*countp = backup.count;
	return r;
}
