/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/input.h"
#include "client/cli/name.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"

static int check(const struct arguments *arguments)
{
	bool given = arguments->fd >= 0 || arguments->file || arguments->trim || arguments->once;

	if (arguments->generate.given && given)
		return say_error(MG_INVALID,
			"set: --generate makes the value: --fd, --file, --trim and --once "
			"do not go with it");
	if (arguments->charset_given && !arguments->generate.given)
		return say_error(MG_INVALID, "set: --charset needs --generate");
	if (arguments->create_only && arguments->cas.given)
		return say_error(MG_INVALID, "set: --create-only and --cas do not go together");
	return 0;
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

/* A value that is at hand as a whole can be sent again when the connection breaks. */
static int store(struct mg_client *client, const char *name, const struct mg_set_options *options,
	struct input *input, uint64_t *versionp)
{
	const void *bytes;
	size_t size;

	if (!input_is_whole(input))
		return mg_set_from(client, name, input_read, input, options, versionp);
	bytes = input_bytes(input, &size);
	return mg_set(client, name, bytes, size, options, versionp);
}

static int set_input(struct mg_client *client, const char *name, const struct arguments *arguments,
	uint64_t *versionp)
{
	struct mg_set_options options = options_of(arguments);
	struct input input;
	int r = input_open(&input, arguments, name);

	if (r != 0)
		return r;
	r = store(client, name, &options, &input, versionp);
	if (r != MG_OK && !input.failed)
		say_failed(r, name);
	input_close(&input);
	return r;
}

static int set_generated(struct mg_client *client, const char *name,
	const struct arguments *arguments, uint64_t *versionp)
{
	struct mg_set_options options = options_of(arguments);
	int r = mg_generate(client, name, (size_t)arguments->generate.number, arguments->charset,
		&options, versionp);

	return r == MG_OK ? 0 : say_failed(r, name);
}

static int report(const struct arguments *arguments, const char *name, uint64_t version)
{
	json_t *answer;

	say_note("stored %s, version %llu", name, (unsigned long long)version);
	if (!arguments->json)
		return 0;
	answer = answer_new();
	answer_text(answer, "name", name);
	answer_number(answer, "version", version);
	return answer_print(answer);
}

static int on_version(void *context, const struct mg_info *info)
{
	*(uint64_t *)context = info->version;
	return 0;
}

/* The connection stays as long as the secret does: until we are interrupted, or somebody ends it.
 */
static int hold(struct mg_client *client, const char *name, uint64_t version)
{
	const struct timespec pause = { .tv_sec = 1 };
	uint64_t seen = version;
	int r = MG_OK;

	say_note("%s lives as long as this process", name);
	while (r == MG_OK && seen == version) {
		nanosleep(&pause, NULL);
		r = mg_stat(client, name, on_version, &seen);
	}
	if (r != MG_OK)
		return say_failed(r, name);
	return say_error(
		MG_NOT_FOUND, "%s: replaced by version %llu", name, (unsigned long long)seen);
}

int command_set(const struct arguments *arguments)
{
	owning(freep) char *name = name_from_shell(arguments->operands[0]);
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	uint64_t version = 0;
	int r = name ? check(arguments) : say_error(MG_LIMIT, "out of memory");

	if (r == 0)
		r = connect_daemon(&client, arguments);
	if (r == 0 && arguments->generate.given)
		r = set_generated(client, name, arguments, &version);
	else if (r == 0)
		r = set_input(client, name, arguments, &version);
	if (r == 0)
		r = report(arguments, name, version);
	if (r != 0 || !arguments->session)
		return r;
	r = answer_flush();
	return r == 0 ? hold(client, name, version) : r;
}
