/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/field.h"
#include "client/cli/name.h"
#include "client/cli/output.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"

/* A get under way. */
struct getting {
	const struct arguments *arguments;
	const char *name;
	struct output output;
	bool begun;
	uint64_t version;
	uint64_t size; /* of the whole value */

	struct mg_secret *whole; /* for --field */
	size_t filled;
	bool failed; /* and has been said */
};

/* What is told of the value beside its bytes; `size` is that of what is printed. */
static json_t *describe(const struct getting *getting, uint64_t size)
{
	json_t *answer = answer_new();

	answer_text(answer, "name", getting->name);
	answer_number(answer, "version", getting->version);
	if (getting->arguments->field)
		answer_text(answer, "field", getting->arguments->field);
	answer_number(answer, "size", size);
	return answer;
}

static int begin_json(struct getting *getting, uint64_t size)
{
	owning(freep) char *head = NULL;

	if (!output_is_json(&getting->output))
		return 0;
	head = answer_string(describe(getting, size));
	if (head)
		return output_json(&getting->output, head);
	getting->failed = true;
	return say_error(MG_LIMIT, "out of memory");
}

static int begin(struct getting *getting, const struct mg_info *info)
{
	if (getting->begun)
		return 0;
	getting->begun = true;
	getting->version = info->version;
	getting->size = info->size;
	return getting->arguments->field ? 0 : begin_json(getting, info->size);
}

/* An mg_sink: piece by piece from guarded memory to where it goes. */
static int on_piece(void *context, const struct mg_info *info, const void *bytes, size_t size)
{
	struct getting *getting = context;
	int r = begin(getting, info);

	return r == 0 ? output_write(&getting->output, bytes, size) : r;
}

/* -- one member of the value: it must be there as a whole ---------------------------------- */

static int make_room(struct getting *getting)
{
	int r = getting->size > SIZE_MAX
		? MG_LIMIT
		: mg_secret_new(&getting->whole, (size_t)getting->size, MG_MEMORY_PREFER_LOCK);

	if (r == MG_OK)
		return 0;
	getting->failed = true;
	return say_failed(r, getting->name);
}

/* An mg_sink: puts the pieces together. */
static int on_part(void *context, const struct mg_info *info, const void *bytes, size_t size)
{
	struct getting *getting = context;
	int r = begin(getting, info);

	if (r == 0 && !getting->whole)
		r = make_room(getting);
	if (r != 0)
		return r;
	if (size > mg_secret_size(getting->whole) - getting->filled)
		return MG_INTEGRITY;
	memcpy((uint8_t *)mg_secret_writable(getting->whole) + getting->filled, bytes, size);
	getting->filled += size;
	return 0;
}

static int count_bytes(void *context, const void *bytes, size_t size)
{
	(void)bytes;
	*(uint64_t *)context += size;
	return 0;
}

static int write_bytes(void *context, const void *bytes, size_t size)
{
	return output_write(context, bytes, size);
}

static int print_field(struct getting *getting)
{
	const char *pointer = getting->arguments->field;
	struct field field;
	uint64_t size = 0;
	int r;

	getting->failed = true;
	if (!field_find(&field, mg_secret_data(getting->whole), getting->filled, pointer))
		return say_error(
			MG_INVALID, "%s: the value is no JSON: --field needs JSON", getting->name);
	if (!field.found)
		return say_error(
			MG_NOT_FOUND, "%s: the value has no member '%s'", getting->name, pointer);
	(void)field_print(&field, count_bytes, &size);
	r = begin_json(getting, size);
	if (r == 0)
		r = field_print(&field, write_bytes, &getting->output);
	getting->size = size;
	return r;
}

/* -- the whole ----------------------------------------------------------------------------- */

static int check(const struct arguments *arguments)
{
	bool elsewhere = arguments->out || arguments->fd >= 0;

	if (arguments->out && arguments->fd >= 0)
		return say_error(MG_INVALID, "get: --out and --fd do not go together");
	if (arguments->json && arguments->encoding != ENCODING_NONE && !elsewhere)
		return say_error(
			MG_INVALID, "get: --encode does not go with --json, which gives value_b64");
	return 0;
}

static int fetch(struct mg_client *client, struct getting *getting)
{
	struct mg_get_options options = { .version = getting->arguments->wanted.number,
		.wait_ms = getting->arguments->wait_ms };
	bool field = getting->arguments->field;
	int r = mg_get_each(client, getting->name, &options, field ? on_part : on_piece, getting);

	if (r != MG_OK && !getting->failed && !getting->output.failed)
		say_failed(r, getting->name);
	if (r == MG_OK && field)
		r = print_field(getting);
	return r;
}

/* With --json the line is told on stdout also when the value went elsewhere. */
static int finish(struct getting *getting)
{
	bool told = output_is_json(&getting->output);
	int r = output_keep(&getting->output);

	if (r != 0)
		return r;
	say_note("fetched %s, version %llu, %llu bytes", getting->name,
		(unsigned long long)getting->version, (unsigned long long)getting->size);
	if (told || !getting->arguments->json)
		return 0;
	return answer_print(describe(getting, getting->size));
}

int command_get(const struct arguments *arguments)
{
	owning(freep) char *name = name_from_shell(arguments->operands[0]);
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	struct getting getting = { .arguments = arguments, .name = name };
	int r = name ? check(arguments) : say_error(MG_LIMIT, "out of memory");

	if (r == 0)
		r = connect_daemon(&client, arguments);
	if (r == 0)
		r = output_open(&getting.output, arguments);
	if (r != 0)
		return r;
	r = fetch(client, &getting);
	if (r == 0)
		r = finish(&getting);
	else
		output_drop(&getting.output);
	mg_secret_free(getting.whole);
	return r;
}
