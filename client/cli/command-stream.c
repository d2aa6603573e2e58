/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/input.h"
#include "client/cli/name.h"
#include "client/cli/output.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"

/* The deed at hand, with everything it needs. */
struct streaming {
	const struct arguments *arguments;
	const char *name;
	struct mg_client *client;
};

/* -- write --------------------------------------------------------------------------------- */

/* Counts what it hands on. */
struct counted {
	struct input *input;
	uint64_t size;
};

/* An mg_source. */
static ssize_t take(void *context, void *buffer, size_t capacity)
{
	struct counted *counted = context;
	ssize_t r = input_read(counted->input, buffer, capacity);

	counted->size += r > 0 ? (uint64_t)r : 0;
	return r;
}

static int tell_size(const struct streaming *streaming, uint64_t size)
{
	json_t *answer = answer_new();

	answer_text(answer, "name", streaming->name);
	answer_number(answer, "size", size);
	return answer_print(answer);
}

static int stream_write(const struct streaming *streaming)
{
	struct input input;
	struct counted counted = { .input = &input };
	struct arguments once = *streaming->arguments;
	int r;

	once.once = true;
	r = input_open(&input, &once, streaming->name);
	if (r != 0)
		return r;
	r = mg_send_from(streaming->client, streaming->name, take, &counted);
	if (r != MG_OK && !input.failed)
		say_failed(r, streaming->name);
	input_close(&input);
	if (r != MG_OK)
		return r;
	say_note("%s: wrote %" PRIu64 " bytes", streaming->name, counted.size);
	return streaming->arguments->json ? tell_size(streaming, counted.size) : 0;
}

/* -- read ---------------------------------------------------------------------------------- */

/* A read under way. */
struct reading {
	const struct streaming *streaming;
	struct output output;
	bool begun;
	bool failed; /* and has been said */
};

static int begin_json(struct reading *reading)
{
	owning(freep) char *head = NULL;
	json_t *answer;

	if (reading->begun || !output_is_json(&reading->output))
		return 0;
	reading->begun = true;
	answer = answer_new();
	answer_text(answer, "name", reading->streaming->name);
	head = answer_string(answer);
	if (head)
		return output_json(&reading->output, head);
	reading->failed = true;
	return say_error(MG_LIMIT, "out of memory");
}

/* An mg_sink: what could not be printed stays in the stream, so nothing waits to be. */
static int on_piece(void *context, const struct mg_info *info, const void *bytes, size_t size)
{
	struct reading *reading = context;
	int r = begin_json(reading);

	(void)info;
	if (r == 0)
		r = output_write(&reading->output, bytes, size);
	return r == 0 ? output_flush(&reading->output) : r;
}

static int stream_read(const struct streaming *streaming)
{
	struct reading reading = { .streaming = streaming };
	int r = output_open(&reading.output, streaming->arguments);

	if (r != 0)
		return r;
	r = mg_receive_each(streaming->client, streaming->name, on_piece, &reading);
	if (r == MG_OK)
		return output_keep(&reading.output);
	output_drop(&reading.output);
	if (!reading.failed && !reading.output.failed)
		say_failed(r, streaming->name);
	return r;
}

/* -- size ---------------------------------------------------------------------------------- */

/* An mg_each: keeps what is needed of it. */
static int on_stat(void *context, const struct mg_info *info)
{
	struct mg_info *kept = context;

	kept->size = info->size;
	kept->stream = info->stream;
	return 0;
}

static int stream_size(const struct streaming *streaming)
{
	struct mg_info info = { 0 };
	int r = mg_stat(streaming->client, streaming->name, on_stat, &info);

	if (r != MG_OK)
		return say_failed(r, streaming->name);
	if (!info.stream)
		return say_error(MG_INVALID, "%s: the name is a secret's", streaming->name);
	if (streaming->arguments->json)
		return tell_size(streaming, info.size);
	printf("%" PRIu64 "\n", info.size);
	return 0;
}

/* -- which of them ------------------------------------------------------------------------- */

/* What each deed does, and whether it takes bytes, or gives them. */
static const struct deed {
	const char *name;
	int (*run)(const struct streaming *streaming);
	bool takes;
	bool gives;
} deeds[] = {
	{ "write", stream_write, true, false },
	{ "read", stream_read, false, true },
	{ "size", stream_size, false, false },
};

static const struct deed *find_deed(const char *name)
{
	for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++)
		if (strcmp(deeds[i].name, name) == 0)
			return &deeds[i];
	return NULL;
}

/* An option of one deed is a mistake with another. */
static int check(const struct arguments *arguments, const struct deed *deed)
{
	bool taking = arguments->file || arguments->trim;
	bool giving = arguments->encoding != ENCODING_NONE || arguments->force ||
		arguments->newline != NEWLINE_AUTO;

	if (taking && !deed->takes)
		return say_error(
			MG_INVALID, "stream %s: --file and --trim go with write", deed->name);
	if (giving && !deed->gives)
		return say_error(MG_INVALID,
			"stream %s: --encode, --newline and --force go with read", deed->name);
	if (arguments->fd >= 0 && !deed->takes && !deed->gives)
		return say_error(
			MG_INVALID, "stream %s: --fd goes with write and read", deed->name);
	return 0;
}

int command_stream(const struct arguments *arguments)
{
	owning(freep) char *name = name_from_shell(arguments->operands[1]);
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	struct streaming streaming = { .arguments = arguments, .name = name };
	const struct deed *deed = find_deed(arguments->operands[0]);
	int r = name ? 0 : say_error(MG_LIMIT, "out of memory");

	if (r == 0 && !deed)
		r = say_error(MG_INVALID, "stream: '%s' is none of write, read, size",
			arguments->operands[0]);
	if (r == 0)
		r = check(arguments, deed);
	if (r == 0)
		r = connect_daemon(&client, arguments);
	streaming.client = client;
	return r == 0 ? deed->run(&streaming) : r;
}
