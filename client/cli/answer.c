/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/answer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli/output.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"

/* Counts up with the meaning of the keys, not with new ones. */
#define SCHEMA 1

#define WORD_WIDTH 10

json_t *answer_new(void)
{
	return json_pack("{s:i}", "schema", SCHEMA);
}

/* An answer that lacks a member, for want of memory, is none. */
static bool incomplete;

void answer_add(json_t *answer, const char *key, json_t *value)
{
	if (json_object_set_new(answer, key, value) < 0)
		incomplete = true;
}

void answer_append(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) < 0)
		incomplete = true;
}

/* JSON holds UTF-8 alone; a path may hold anything. */
void answer_text(json_t *answer, const char *key, const char *text)
{
	json_t *string = json_string(text);
	owning(freep) char *clean = string ? NULL : strdup(text);

	if (clean) {
		say_clean(clean);
		string = json_string(clean);
	}
	answer_add(answer, key, string);
}

void answer_number(json_t *answer, const char *key, uint64_t number)
{
	answer_add(answer, key, json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number));
}

void answer_flag(json_t *answer, const char *key, int flag)
{
	answer_add(answer, key, json_boolean(flag));
}

/* Into a buffer of the right size: where jansson makes one grow, it overlooks that it could not. */
static char *write_out(const json_t *answer)
{
	size_t size = json_dumpb(answer, NULL, 0, JSON_COMPACT);
	char *text = size > 0 ? calloc(1, size + 1) : NULL;

	if (!text || json_dumpb(answer, text, size, JSON_COMPACT) == size)
		return text;
	free(text);
	return NULL;
}

char *answer_string(json_t *answer)
{
	char *text = answer && !incomplete ? write_out(answer) : NULL;

	json_decref(answer);
	return text;
}

int answer_print(json_t *answer)
{
	owning(freep) char *text = answer_string(answer);

	if (!text)
		return say_error(MG_LIMIT, "out of memory");
	puts(text);
	return 0;
}

static json_t *tags_of(const struct mg_info *info)
{
	json_t *tags = json_object();

	for (size_t i = 0; i < info->tag_count; i++)
		answer_text(tags, info->tags[i].key, info->tags[i].value);
	return tags;
}

/* What a secret does not have is not told. */
static void answer_life(json_t *answer, const struct mg_info *info)
{
	const struct mg_lifetime *left = &info->left;

	answer_flag(answer, "frozen", info->frozen);
	if (info->stream)
		answer_flag(answer, "stream", true);
	if (left->ttl_ms > 0)
		answer_number(answer, "ttl_ms", left->ttl_ms);
	if (left->idle_ms > 0) {
		answer_number(answer, "idle_ttl_ms", left->idle_ms);
		answer_number(answer, "idle_left_ms", info->idle_left_ms);
	}
	if (left->max_reads > 0)
		answer_number(answer, "reads_left", left->max_reads);
	if (left->session)
		answer_flag(answer, "session", true);
	if (left->bind_pid > 0)
		answer_number(answer, "bind_pid", (uint64_t)left->bind_pid);
}

void answer_info(json_t *answer, const struct mg_info *info)
{
	answer_text(answer, "name", info->name);
	answer_number(answer, "version", info->version);
	answer_number(answer, "size", info->size);
	answer_add(answer, "created_ms", json_integer(info->created_ms));
	answer_add(answer, "changed_ms", json_integer(info->changed_ms));
	answer_add(answer, "tags", tags_of(info));
	answer_life(answer, info);
}

void answer_row(const char *word, const char *format, ...)
{
	va_list arguments;

	printf("%-*s  ", WORD_WIDTH, word);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

const char *answer_secrets(char words[static ANSWER_WORDS_MAX], uint64_t count)
{
	snprintf(words, ANSWER_WORDS_MAX, "%" PRIu64 " secret%s", count, count == 1 ? "" : "s");
	return words;
}

const char *answer_bytes(char words[static ANSWER_WORDS_MAX], uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double number = (double)bytes;
	size_t unit = 0;

	while (number >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		number /= 1024;
		unit++;
	}
	snprintf(words, ANSWER_WORDS_MAX, "%.4g %s", number, bytes == 1 ? "byte" : units[unit]);
	return words;
}

const char *answer_span(char words[static ANSWER_WORDS_MAX], uint64_t ms)
{
	uint64_t s = ms / 1000;

	if (s < 60)
		snprintf(words, ANSWER_WORDS_MAX, "%" PRIu64 " s", s);
	else if (s < 3600)
		snprintf(words, ANSWER_WORDS_MAX, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(words, ANSWER_WORDS_MAX, "%" PRIu64 " h %" PRIu64 " min", s / 3600,
			s / 60 % 60);
	else
		snprintf(words, ANSWER_WORDS_MAX, "%" PRIu64 " d %" PRIu64 " h", s / 86400,
			s / 3600 % 24);
	return words;
}

const char *answer_time(char words[static ANSWER_WORDS_MAX], int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm parts;

	if (!gmtime_r(&seconds, &parts) ||
		strftime(words, ANSWER_WORDS_MAX, "%Y-%m-%d %H:%M:%SZ", &parts) == 0)
		snprintf(words, ANSWER_WORDS_MAX, "%" PRId64 " ms", ms);
	return words;
}

int answer_flush(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	if (errno == EPIPE)
		output_end_quietly();
	return say_error(errno == ENOSPC ? MG_LIMIT : MG_INTERNAL, "stdout: %s", strerror(errno));
}
