/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/arguments.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What --generate alone makes: 190 bits of letters and digits. */
#define GENERATE_DEFAULT 32

/* The largest uid; the one above it means "none". */
#define UID_LARGEST UINT32_C(4294967294)

void arguments_init(struct arguments *arguments)
{
	memset(arguments, 0, sizeof(*arguments));
	arguments->fd = arguments->passphrase_fd = arguments->key_fd = arguments->token_fd = -1;
	arguments->dashes = SIZE_MAX;
}

void arguments_finish(struct arguments *arguments)
{
	for (size_t i = 0; i < arguments->tag_count; i++)
		free((void *)(uintptr_t)arguments->tags[i].key);
	free(arguments->operands);
	arguments_init(arguments);
}

/* -- numbers ------------------------------------------------------------------------------- */

struct unit {
	const char *name;
	uint64_t factor;
};

/* A decimal number behind which stands one of the units. Nothing else: no sign, no space. */
static bool read_quantity(
	const char *text, const struct unit *units, size_t count, uint64_t *numberp)
{
	unsigned long long number;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(end, units[i].name) != 0 || number > UINT64_MAX / units[i].factor)
			continue;
		*numberp = number * units[i].factor;
		return true;
	}
	return false;
}

static bool read_plain(const char *text, uint64_t *numberp)
{
	static const struct unit none[] = { { "", 1 } };

	return read_quantity(text, none, COUNT(none), numberp);
}

static const char *read_time(const char *text, uint64_t *msp)
{
	static const struct unit units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 },
		{ "h", 3600000 }, { "d", 86400000 } };

	if (!read_quantity(text, units, COUNT(units), msp) || *msp == 0)
		return "is no duration such as 500ms, 90s, 15m, 12h or 7d";
	return NULL;
}

const char *arguments_lifetime(void *target, const char *text)
{
	struct given *given = target;

	given->given = true;
	return read_time(text, &given->number);
}

const char *arguments_duration(void *target, const char *text)
{
	uint64_t time;
	const char *fault = read_time(text, &time);

	if (fault)
		return fault;
	if (time > UINT_MAX)
		return "is longer than 49 days";
	*(unsigned *)target = (unsigned)time;
	return NULL;
}

const char *arguments_number(void *target, const char *text)
{
	struct given *given = target;

	given->given = true;
	return read_plain(text, &given->number) ? NULL : "is no number";
}

/* A number from 1 on. */
static const char *read_count(
	struct given *given, const char *text, uint64_t most, const char *words)
{
	given->given = true;
	if (!read_plain(text, &given->number) || given->number == 0 || given->number > most)
		return words;
	return NULL;
}

const char *arguments_reads(void *target, const char *text)
{
	return read_count(target, text, UINT32_MAX, "is no number of fetches, such as 1");
}

const char *arguments_uses(void *target, const char *text)
{
	return read_count(target, text, UINT32_MAX, "is no number of uses, such as 1");
}

const char *arguments_pid(void *target, const char *text)
{
	return read_count(target, text, INT_MAX, "is no process id (a number)");
}

const char *arguments_size(void *target, const char *text)
{
	static const struct unit units[] = { { "", 1 }, { "k", 1 << 10 }, { "m", 1 << 20 },
		{ "g", 1 << 30 } };
	struct given *given = target;

	given->given = true;
	if (!read_quantity(text, units, COUNT(units), &given->number) || given->number == 0 ||
		given->number > SIZE_MAX)
		return "is no size such as 32, 64k or 1m";
	return NULL;
}

const char *arguments_generate(void *target, const char *text)
{
	struct given *given = target;

	if (text)
		return arguments_size(target, text);
	*given = (struct given){ .given = true, .number = GENERATE_DEFAULT };
	return NULL;
}

const char *arguments_uid(void *target, const char *text)
{
	struct given *given = target;

	given->given = true;
	if (!read_plain(text, &given->number) || given->number > UID_LARGEST)
		return "is no uid (a number)";
	return NULL;
}

const char *arguments_fd(void *target, const char *text)
{
	uint64_t fd;

	if (!read_plain(text, &fd) || fd > INT_MAX)
		return "is no file descriptor (a number)";
	*(int *)target = (int)fd;
	return NULL;
}

/* -- texts and choices --------------------------------------------------------------------- */

const char *arguments_flag(void *target, const char *text)
{
	(void)text;
	*(bool *)target = true;
	return NULL;
}

const char *arguments_text(void *target, const char *text)
{
	if (text[0] == '\0')
		return "is empty";
	*(const char **)target = text;
	return NULL;
}

/* RFC 6901: "" is the whole document; '~' stands only in ~0 and ~1. */
const char *arguments_pointer(void *target, const char *text)
{
	if (text[0] != '\0' && text[0] != '/')
		return "is no JSON pointer such as /db/password";
	for (const char *tilde = strchr(text, '~'); tilde; tilde = strchr(tilde + 1, '~'))
		if (tilde[1] != '0' && tilde[1] != '1')
			return "is no JSON pointer: write ~0 for '~' and ~1 for '/'";
	*(const char **)target = text;
	return NULL;
}

/* The place of a text in a list, or `count`. */
static size_t find(const char *text, const char *const *list, size_t count)
{
	size_t i = 0;

	while (i < count && strcmp(text, list[i]) != 0)
		i++;
	return i;
}

const char *arguments_charset(void *target, const char *text)
{
	static const char *const names[] = {
		[MG_ALNUM] = "alnum", [MG_HEX] = "hex", [MG_BASE64] = "base64", [MG_BYTES] = "bytes"
	};
	struct arguments *arguments = target;
	size_t i = find(text, names, COUNT(names));

	if (i == COUNT(names))
		return "is none of hex, base64, alnum, bytes";
	arguments->charset_given = true;
	arguments->charset = (enum mg_charset)i;
	return NULL;
}

const char *arguments_encoding(void *target, const char *text)
{
	static const char *const names[] = { "base64", "hex" };
	size_t i = find(text, names, COUNT(names));

	if (i == COUNT(names))
		return "is none of base64, hex";
	*(enum encoding *)target = i == 0 ? ENCODING_BASE64 : ENCODING_HEX;
	return NULL;
}

/* Whoever sees it learns nothing: it is the public one. */
static bool read_key(struct recipient *recipient, const char *text)
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(text) != 2 * sizeof(recipient->key) || strspn(text, digits) != strlen(text))
		return false;
	for (size_t i = 0; i < sizeof(recipient->key); i++) {
		ptrdiff_t high = strchr(digits, text[2 * i]) - digits;
		ptrdiff_t low = strchr(digits, text[2 * i + 1]) - digits;

		recipient->key[i] = (unsigned char)(high << 4 | low);
	}
	return recipient->given = true;
}

const char *arguments_recipient(void *target, const char *text)
{
	return read_key(target, text)
		? NULL
		: "is no public key: 64 of 0-9 and a-f, as backup --new-key prints it";
}

const char *arguments_audit_key(void *target, const char *text)
{
	struct arguments *arguments = target;

	if (arguments->audit_key_count == COUNT(arguments->audit_keys))
		return "is one key too many";
	return read_key(&arguments->audit_keys[arguments->audit_key_count++], text)
		? NULL
		: "is no public key: 64 of 0-9 and a-f, as status tells it";
}

const char *arguments_newline(void *target, const char *text)
{
	static const char *const names[] = {
		[NEWLINE_AUTO] = "auto", [NEWLINE_YES] = "yes", [NEWLINE_NO] = "no"
	};
	size_t i = find(text, names, COUNT(names));

	if (i == COUNT(names))
		return "is none of auto, yes, no";
	*(enum newline *)target = (enum newline)i;
	return NULL;
}

const char *arguments_tag(void *target, const char *text)
{
	struct arguments *arguments = target;
	const char *equals = strchr(text, '=');
	char *key;

	if (!equals || equals == text)
		return "is no tag such as team=web";
	if (arguments->tag_count == COUNT(arguments->tags))
		return "is one tag too many: a secret has at most 16";
	key = strndup(text, (size_t)(equals - text));
	if (!key)
		return "finds no memory";
	arguments->tags[arguments->tag_count++] =
		(struct mg_tag){ .key = key, .value = equals + 1 };
	return NULL;
}

const char *arguments_as(void *target, const char *text)
{
	struct arguments *arguments = target;

	if (arguments->as_count == COUNT(arguments->as))
		return "is one selector too many";
	arguments->as[arguments->as_count++] = text;
	return NULL;
}

const char *arguments_allow(void *target, const char *text)
{
	struct arguments *arguments = target;
	const char *colon = strchr(text, ':');

	if (!colon || colon == text || !colon[1])
		return "is nothing that is allowed, such as get:web/prod/* or get,stat:~/ci/*";
	if (arguments->allow_count == COUNT(arguments->allow))
		return "is one too many: a token allows at most 16";
	arguments->allow[arguments->allow_count++] = text;
	return NULL;
}
