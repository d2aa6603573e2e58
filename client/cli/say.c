/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/say.h"

#include <jansson.h>
#include <mgclient.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define WORDS_MAX 1024

static struct {
	bool json;
	bool quiet;
	bool verbose;
} manner;

void say_setup(bool json, bool quiet, bool verbose)
{
	manner.json = json;
	manner.quiet = quiet;
	manner.verbose = verbose;
}

/* Bytes of the character at `text` when it is well-formed and no control character, else 0. */
static size_t character_size(const unsigned char *text)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} forms[] = { { 0x80, 0x00, 0x20 }, { 0xe0, 0xc0, 0xa0 }, { 0xf0, 0xe0, 0x800 },
		{ 0xf8, 0xf0, 0x10000 } };
	uint32_t code;

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if ((text[0] & forms[i].mask) != forms[i].lead)
			continue;
		code = text[0] & (unsigned char)~forms[i].mask;
		for (size_t k = 1; k <= i; k++) {
			if ((text[k] & 0xc0) != 0x80)
				return 0;
			code = code << 6 | (text[k] & 0x3f);
		}
		if (code < forms[i].least || code == 0x7f || code > 0x10ffff ||
			(code >= 0xd800 && code <= 0xdfff))
			return 0;
		return i + 1;
	}
	return 0;
}

void say_clean(char *text)
{
	for (unsigned char *at = (unsigned char *)text; *at;) {
		size_t size = character_size(at);

		if (size == 0) {
			*at = '?';
			size = 1;
		}
		at += size;
	}
}

/* Takes the line over; without memory for it there is still the one that needs none. */
static void tell_json(json_t *line, const char *kind, const char *name, int status)
{
	if (!line || json_dumpf(line, stderr, JSON_COMPACT) < 0)
		fprintf(stderr, "{\"%s\":\"%s\",\"code\":%d,\"message\":\"out of memory\"}", kind,
			name, status);
	fputc('\n', stderr);
	json_decref(line);
}

int say_error(int status, const char *format, ...)
{
	char words[WORDS_MAX];
	va_list arguments;

	if (manner.quiet)
		return status;
	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	say_clean(words);
	if (manner.json)
		tell_json(json_pack("{s:s,s:i,s:s}", "error", mg_status_name(status), "code",
				  status, "message", words),
			"error", mg_status_name(status), status);
	else
		fprintf(stderr, "mgctl: %s\n", words);
	return status;
}

int say_failed(int status, const char *name)
{
	const char *words = mg_last_error();

	if (words[0] == '\0')
		words = mg_status_name(status);
	if (!name || name[0] == '\0')
		return say_error(status, "%s", words);
	if (status == MG_DENIED && name[0] != '~')
		return say_error(status, "%s: %s; your own space is '~/%s'", name, words, name);
	return say_error(status, "%s: %s", name, words);
}

void say_done(const char *format, ...)
{
	char words[WORDS_MAX];
	va_list arguments;

	if (manner.quiet || manner.json)
		return;
	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	say_clean(words);
	fprintf(stderr, "mgctl: %s\n", words);
}

void say_note(const char *format, ...)
{
	char words[WORDS_MAX];
	va_list arguments;

	if (!manner.verbose || manner.quiet)
		return;
	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	say_clean(words);
	if (manner.json)
		tell_json(json_pack("{s:s}", "note", words), "note", "out of memory", MG_LIMIT);
	else
		fprintf(stderr, "mgctl: %s\n", words);
}
