/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/name.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"

/* One change of what a secret is, not of its value. */
struct change {
	int (*make)(struct mg_client *client, const char *name, const struct arguments *arguments,
		const struct mg_set_options *options);
	const char *done; /* "touched" */
};

static int report(const struct arguments *arguments, const char *name, const char *done)
{
	json_t *answer;

	say_note("%s: %s", name, done);
	if (!arguments->json)
		return 0;
	answer = answer_new();
	answer_text(answer, "name", name);
	answer_flag(answer, done, true);
	return answer_print(answer);
}

static int change(const struct arguments *arguments, const struct change *change)
{
	owning(freep) char *name = name_from_shell(arguments->operands[0]);
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	struct mg_set_options options = { .compare = arguments->cas.given,
		.version = arguments->cas.number };
	int r = name ? connect_daemon(&client, arguments) : say_error(MG_LIMIT, "out of memory");

	if (r != 0)
		return r;
	r = change->make(client, name, arguments, &options);
	return r == MG_OK ? report(arguments, name, change->done) : say_failed(r, name);
}

static int make_touch(struct mg_client *client, const char *name, const struct arguments *arguments,
	const struct mg_set_options *options)
{
	return mg_touch(client, name, arguments->ttl.number, options);
}

int command_touch(const struct arguments *arguments)
{
	static const struct change touch = { make_touch, "touched" };

	if (!arguments->ttl.given)
		return say_error(
			MG_INVALID, "touch: --ttl is missing; usage: mgctl touch NAME --ttl D");
	return change(arguments, &touch);
}

static int make_freeze(struct mg_client *client, const char *name,
	const struct arguments *arguments, const struct mg_set_options *options)
{
	(void)arguments;
	return mg_freeze(client, name, options);
}

int command_freeze(const struct arguments *arguments)
{
	static const struct change freeze = { make_freeze, "frozen" };

	return change(arguments, &freeze);
}

static int make_melt(struct mg_client *client, const char *name, const struct arguments *arguments,
	const struct mg_set_options *options)
{
	(void)arguments;
	return mg_melt(client, name, options);
}

int command_melt(const struct arguments *arguments)
{
	static const struct change melt = { make_melt, "melted" };

	return change(arguments, &melt);
}
