/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/name.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"
#include "client/cli/store.h"

static int check(const struct arguments *arguments)
{
	if (arguments->create_only && arguments->cas.given)
		return say_error(MG_INVALID, "set: --create-only and --cas do not go together");
	return store_check(arguments, "set");
}

static struct mg_set_options options_of(const struct arguments *arguments)
{
	return (struct mg_set_options){
		.create_only = arguments->create_only,
		.compare = arguments->cas.given,
		.version = arguments->cas.number,
		.tags = arguments->tags,
		.tag_count = arguments->tag_count,
		.lifetime = { .ttl_ms = arguments->ttl.number,
			.idle_ms = arguments->idle_ttl.number,
			.max_reads = (uint32_t)arguments->max_reads.number,
			.bind_pid = (pid_t)arguments->bind_pid.number,
			.session = arguments->session },
		.freeze = arguments->freeze,
	};
}

/* What stands under the name now. */
struct held {
	uint64_t version;
	bool session;
};

static int on_info(void *context, const struct mg_info *info)
{
	*(struct held *)context =
		(struct held){ .version = info->version, .session = info->left.session };
	return 0;
}

/*
 * The connection stays as long as the secret does: until we are interrupted, or somebody ends it. A
 * version that was rotated ends with the same connection: nothing tells it from one that ends with
 * somebody else's.
 */
static int hold(struct mg_client *client, const char *name, uint64_t version)
{
	const struct timespec pause = { .tv_sec = 1 };
	struct held seen = { .version = version };
	int r = MG_OK;

	say_note("%s lives as long as this process", name);
	while (r == MG_OK && (seen.version == version || seen.session)) {
		nanosleep(&pause, NULL);
		r = mg_stat(client, name, on_info, &seen);
	}
	if (r != MG_OK)
		return say_failed(r, name);
	return say_error(MG_NOT_FOUND, "%s: replaced by version %llu", name,
		(unsigned long long)seen.version);
}

int command_set(const struct arguments *arguments)
{
	owning(freep) char *name = name_from_shell(arguments->operands[0]);
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	struct mg_set_options options = options_of(arguments);
	uint64_t version = 0;
	int r = name ? check(arguments) : say_error(MG_LIMIT, "out of memory");

	if (r == 0)
		r = connect_daemon(&client, arguments);
	if (r == 0)
		r = store_value(client, name, arguments, &options, &version);
	if (r == 0)
		r = store_report(arguments, name, "stored", version);
	if (r != 0 || !arguments->session)
		return r;
	r = answer_flush();
	return r == 0 ? hold(client, name, version) : r;
}
