/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/name.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"

static void print_tags(const struct mg_info *info, const char *before)
{
	for (size_t i = 0; i < info->tag_count; i++)
		printf("%s%s=%s", i == 0 ? before : " ", info->tags[i].key, info->tags[i].value);
}

/* Of a name that the caller may list, but not stat, nothing else is told. */
static bool is_told(const struct mg_info *info)
{
	return info->version != 0 || info->stream;
}

static void print_line(const struct mg_info *info, bool details)
{
	char words[ANSWER_WORDS_MAX];

	if (details && !is_told(info))
		printf("%6s %10s  %-20s  ", "-", "-", "-");
	else if (details)
		printf("%6" PRIu64 " %10" PRIu64 "  %s  ", info->version, info->size,
			answer_time(words, info->changed_ms));
	fputs(info->name, stdout);
	if (details)
		print_tags(info, "  ");
	putchar('\n');
}

/* A listing or a stat under way. */
struct showing {
	const struct arguments *arguments;
	bool failed; /* and has been said */
};

static int print_object(const struct mg_info *info, bool details)
{
	json_t *answer = answer_new();

	if (details)
		answer_info(answer, info);
	else
		answer_text(answer, "name", info->name);
	return answer_print(answer);
}

/* An mg_each. Ends when nobody takes what is printed: answer_flush tells why. */
static int on_name(void *context, const struct mg_info *info)
{
	struct showing *showing = context;
	int r = 0;

	if (showing->arguments->json)
		r = print_object(info, showing->arguments->details && is_told(info));
	else
		print_line(info, showing->arguments->details);
	showing->failed = r != 0;
	return ferror(stdout) ? MG_INTERNAL : r;
}

int command_ls(const struct arguments *arguments)
{
	const char *word = arguments->operand_count > 0 ? arguments->operands[0] : "";
	owning(freep) char *prefix = name_prefix_from_shell(word);
	struct showing showing = { .arguments = arguments };
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	struct mg_list_options options = { .details = arguments->details,
		.tags = arguments->tags,
		.tag_count = arguments->tag_count };
	int r = prefix ? connect_daemon(&client, arguments) : say_error(MG_LIMIT, "out of memory");

	if (r != 0)
		return r;
	r = mg_list(client, prefix, &options, on_name, &showing);
	if (r != MG_OK && !ferror(stdout) && !showing.failed)
		return say_failed(r, prefix[0] ? prefix : NULL);
	return r;
}

static void print_list(const struct mg_info *info)
{
	char words[ANSWER_WORDS_MAX];

	answer_row("name", "%s", info->name);
	if (info->stream)
		answer_row("stream", "what it holds is read once: mgctl stream read");
	else
		answer_row("version", "%" PRIu64, info->version);
	answer_row("size", "%" PRIu64 " %s", info->size, info->size == 1 ? "byte" : "bytes");
	answer_row("created", "%s", answer_time(words, info->created_ms));
	answer_row("changed", "%s", answer_time(words, info->changed_ms));
	for (size_t i = 0; i < info->tag_count; i++)
		answer_row(i == 0 ? "tags" : "", "%s=%s", info->tags[i].key, info->tags[i].value);
}

static void print_life(const struct mg_info *info)
{
	const struct mg_lifetime *left = &info->left;
	char words[ANSWER_WORDS_MAX];
	char whole[ANSWER_WORDS_MAX];

	if (info->frozen)
		answer_row("frozen", "yes");
	if (left->ttl_ms > 0)
		answer_row("ends", "in %s", answer_span(words, left->ttl_ms));
	if (left->idle_ms > 0)
		answer_row("idle", "ends in %s unless fetched (--idle-ttl %s)",
			answer_span(words, info->idle_left_ms), answer_span(whole, left->idle_ms));
	if (left->max_reads > 0)
		answer_row("reads", "%" PRIu32 " left", left->max_reads);
	if (left->session)
		answer_row("session", "ends with the connection that stored it");
	if (left->bind_pid > 0)
		answer_row("process", "ends with process %ld", (long)left->bind_pid);
}

/* An mg_each. */
static int on_stat(void *context, const struct mg_info *info)
{
	struct showing *showing = context;
	int r;

	if (!showing->arguments->json) {
		print_list(info);
		print_life(info);
		return 0;
	}
	r = print_object(info, true);
	showing->failed = r != 0;
	return r;
}

int command_stat(const struct arguments *arguments)
{
	owning(freep) char *name = name_from_shell(arguments->operands[0]);
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	struct showing showing = { .arguments = arguments };
	int r = name ? connect_daemon(&client, arguments) : say_error(MG_LIMIT, "out of memory");

	if (r != 0)
		return r;
	r = mg_stat(client, name, on_stat, &showing);
	return r == MG_OK || showing.failed ? r : say_failed(r, name);
}
