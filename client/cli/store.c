/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/store.h"

#include "client/cli/answer.h"
#include "client/cli/input.h"
#include "client/cli/say.h"

int store_check(const struct arguments *arguments, const char *command)
{
	bool given = arguments->fd >= 0 || arguments->file || arguments->trim || arguments->once;

	if (arguments->generate.given && given)
		return say_error(MG_INVALID,
			"%s: --generate makes the value: --fd, --file, --trim and --once do not go "
			"with it",
			command);
	if (arguments->charset_given && !arguments->generate.given)
		return say_error(MG_INVALID, "%s: --charset needs --generate", command);
	return 0;
}

/* A value that is at hand as a whole can be sent again when the connection breaks. */
static int send_input(struct mg_client *client, const char *name,
	const struct mg_set_options *options, struct input *input, uint64_t *versionp)
{
	const void *bytes;
	size_t size;

	if (!input_is_whole(input))
		return mg_set_from(client, name, input_read, input, options, versionp);
	bytes = input_bytes(input, &size);
	return mg_set(client, name, bytes, size, options, versionp);
}

static int store_input(struct mg_client *client, const char *name,
	const struct arguments *arguments, const struct mg_set_options *options, uint64_t *versionp)
{
	struct input input;
	int r = input_open(&input, arguments, name);

	if (r != 0)
		return r;
	r = send_input(client, name, options, &input, versionp);
	if (r != MG_OK && !input.failed)
		say_failed(r, name);
	input_close(&input);
	return r;
}

static int store_generated(struct mg_client *client, const char *name,
	const struct arguments *arguments, const struct mg_set_options *options, uint64_t *versionp)
{
	int r = mg_generate(client, name, (size_t)arguments->generate.number, arguments->charset,
		options, versionp);

	return r == MG_OK ? 0 : say_failed(r, name);
}

int store_value(struct mg_client *client, const char *name, const struct arguments *arguments,
	const struct mg_set_options *options, uint64_t *versionp)
{
	if (arguments->generate.given)
		return store_generated(client, name, arguments, options, versionp);
	return store_input(client, name, arguments, options, versionp);
}

int store_report(
	const struct arguments *arguments, const char *name, const char *done, uint64_t version)
{
	json_t *answer;

	say_note("%s %s, version %llu", done, name, (unsigned long long)version);
	if (!arguments->json)
		return 0;
	answer = answer_new();
	answer_text(answer, "name", name);
	answer_number(answer, "version", version);
	return answer_print(answer);
}
