/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/field.h"

#include <string.h>

/* Deeper than any sane document; the walk must end before the stack does. */
#define DEPTH_MAX 256

/* What a character takes in UTF-8. */
#define CHARACTER_MAX 4

struct walk {
	const uint8_t *at;
	const uint8_t *end;
	unsigned depth;
	struct field *field;
};

static bool skip_value(struct walk *walk);
static bool find_value(struct walk *walk, const char *pointer);

/* -- bytes --------------------------------------------------------------------------------- */

static bool is_space(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static void skip_space(struct walk *walk)
{
	while (walk->at < walk->end && is_space(*walk->at))
		walk->at++;
}

/* The byte that comes, '\0' at the end: a NUL is nowhere allowed outside a string. */
static uint8_t peek(const struct walk *walk)
{
	return walk->at < walk->end ? *walk->at : '\0';
}

static bool take(struct walk *walk, char byte)
{
	if (walk->at >= walk->end || *walk->at != (uint8_t)byte)
		return false;
	walk->at++;
	return true;
}

static bool take_word(struct walk *walk, const char *word)
{
	while (*word)
		if (!take(walk, *word++))
			return false;
	return true;
}

static bool is_digit(uint8_t byte)
{
	return byte >= '0' && byte <= '9';
}

static bool take_digits(struct walk *walk)
{
	const uint8_t *begin = walk->at;

	while (is_digit(peek(walk)))
		walk->at++;
	return walk->at > begin;
}

/* -- strings ------------------------------------------------------------------------------- */

static bool take_hex4(struct walk *walk, uint32_t *codep)
{
	uint32_t code = 0;

	for (int i = 0; i < 4; i++) {
		uint8_t byte = peek(walk);
		uint8_t small = byte | 0x20;

		if (is_digit(byte))
			code = code << 4 | (uint32_t)(byte - '0');
		else if (small >= 'a' && small <= 'f')
			code = code << 4 | (uint32_t)(small - 'a' + 10);
		else
			return false;
		walk->at++;
	}
	*codep = code;
	return true;
}

/* Behind "\u": one code, or two that stand for one character. Half of a pair is none. */
static bool take_code(struct walk *walk, uint32_t *codep)
{
	uint32_t low;

	if (!take_hex4(walk, codep))
		return false;
	if (*codep < 0xd800 || *codep > 0xdfff)
		return true;
	if (*codep > 0xdbff || !take_word(walk, "\\u") || !take_hex4(walk, &low) || low < 0xdc00 ||
		low > 0xdfff)
		return false;
	*codep = 0x10000 + ((*codep - 0xd800) << 10) + (low - 0xdc00);
	return true;
}

static size_t encode(uint8_t out[static CHARACTER_MAX], uint32_t code)
{
	static const uint8_t leads[] = { 0x00, 0xc0, 0xe0, 0xf0 };
	size_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;

	for (size_t i = more; i > 0; i--) {
		out[i] = (uint8_t)(0x80 | (code & 0x3f));
		code >>= 6;
	}
	out[0] = (uint8_t)(leads[more] | code);
	return more + 1;
}

/* Behind a backslash. */
static bool take_escape(struct walk *walk, uint8_t out[static CHARACTER_MAX], size_t *sizep)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *place;
	uint32_t code;

	if (take(walk, 'u')) {
		if (!take_code(walk, &code))
			return false;
		*sizep = encode(out, code);
		return true;
	}
	place = peek(walk) ? strchr(from, peek(walk)) : NULL;
	if (!place)
		return false;
	walk->at++;
	out[0] = (uint8_t)to[place - from];
	*sizep = 1;
	return true;
}

/*
 * The next stretch of a string: bytes that stand for themselves, or one escape. False at a fault;
 * *sizep is 0 at the closing quote, which is taken.
 */
static bool take_stretch(
	struct walk *walk, const uint8_t **bytesp, size_t *sizep, uint8_t escape[CHARACTER_MAX])
{
	const uint8_t *begin = walk->at;

	while (walk->at < walk->end && *walk->at >= 0x20 && *walk->at != '"' && *walk->at != '\\')
		walk->at++;
	*bytesp = begin;
	*sizep = (size_t)(walk->at - begin);
	if (*sizep > 0 || take(walk, '"'))
		return true;
	*bytesp = escape;
	return take(walk, '\\') && take_escape(walk, escape, sizep);
}

static bool skip_string(struct walk *walk)
{
	uint8_t escape[CHARACTER_MAX];
	const uint8_t *bytes;
	size_t size;

	if (!take(walk, '"'))
		return false;
	do {
		if (!take_stretch(walk, &bytes, &size, escape))
			return false;
	} while (size > 0);
	return true;
}

/* -- pointers ------------------------------------------------------------------------------ */

/* The next byte of a token, -1 at its end. "~0" and "~1" stand for "~" and "/". */
static int next_of_token(const char **tokenp)
{
	const char *token = *tokenp;

	if (*token == '\0' || *token == '/')
		return -1;
	*tokenp += *token == '~' ? 2 : 1;
	if (*token == '~')
		return token[1] == '1' ? '/' : '~';
	return (unsigned char)*token;
}

/* What follows the first token. `pointer` begins with '/'. */
static const char *rest_of(const char *pointer)
{
	return pointer + 1 + strcspn(pointer + 1, "/");
}

/* Takes a name of an object and tells whether it is the token. */
static bool take_name(struct walk *walk, const char *token, bool *samep)
{
	uint8_t escape[CHARACTER_MAX];
	const uint8_t *bytes;
	size_t size;

	*samep = true;
	if (!take(walk, '"'))
		return false;
	for (;;) {
		if (!take_stretch(walk, &bytes, &size, escape))
			return false;
		if (size == 0)
			break;
		for (size_t i = 0; i < size && *samep; i++)
			*samep = next_of_token(&token) == bytes[i];
	}
	*samep = *samep && next_of_token(&token) < 0;
	return true;
}

/* Whether the token is this index: digits without a leading zero. */
static bool is_index(const char *token, size_t index)
{
	size_t size = strcspn(token, "/");
	size_t number = 0;

	if (size == 0 || size > 18 || (size > 1 && token[0] == '0'))
		return false;
	for (size_t i = 0; i < size; i++) {
		if (!is_digit((uint8_t)token[i]))
			return false;
		number = 10 * number + (size_t)(token[i] - '0');
	}
	return number == index;
}

/* -- values: each takes one; with a pointer it looks for what the pointer names ------------- */

static bool skip_number(struct walk *walk)
{
	(void)take(walk, '-');
	if (!take(walk, '0') && !take_digits(walk))
		return false;
	if (take(walk, '.') && !take_digits(walk))
		return false;
	if (take(walk, 'e') || take(walk, 'E')) {
		(void)(take(walk, '+') || take(walk, '-'));
		return take_digits(walk);
	}
	return true;
}

/* `pointer` is NULL where nothing is looked for. */
static bool walk_member(struct walk *walk, const char *pointer, size_t index)
{
	bool same = pointer && is_index(pointer + 1, index);

	if (!same)
		return skip_value(walk);
	walk->field->found = false;
	return find_value(walk, rest_of(pointer));
}

static bool walk_array(struct walk *walk, const char *pointer)
{
	size_t index = 0;

	walk->at++;
	skip_space(walk);
	if (take(walk, ']'))
		return true;
	do {
		if (!walk_member(walk, pointer, index++))
			return false;
	} while (take(walk, ','));
	return take(walk, ']');
}

static bool walk_pair(struct walk *walk, const char *pointer)
{
	bool same;

	skip_space(walk);
	if (!take_name(walk, pointer ? pointer + 1 : "", &same))
		return false;
	skip_space(walk);
	if (!take(walk, ':'))
		return false;
	if (!pointer || !same)
		return skip_value(walk);
	walk->field->found = false;
	return find_value(walk, rest_of(pointer));
}

static bool walk_object(struct walk *walk, const char *pointer)
{
	walk->at++;
	skip_space(walk);
	if (take(walk, '}'))
		return true;
	do {
		if (!walk_pair(walk, pointer))
			return false;
	} while (take(walk, ','));
	return take(walk, '}');
}

static bool walk_plain(struct walk *walk)
{
	switch (peek(walk)) {
	case '"':
		return skip_string(walk);
	case 't':
		return take_word(walk, "true");
	case 'f':
		return take_word(walk, "false");
	case 'n':
		return take_word(walk, "null");
	default:
		return skip_number(walk);
	}
}

/* White space before and behind a value goes with it. */
static bool walk_value(struct walk *walk, const char *pointer)
{
	bool good;

	if (walk->depth++ >= DEPTH_MAX)
		return false;
	skip_space(walk);
	if (peek(walk) == '{')
		good = walk_object(walk, pointer);
	else if (peek(walk) == '[')
		good = walk_array(walk, pointer);
	else
		good = walk_plain(walk);
	skip_space(walk);
	walk->depth--;
	return good;
}

static bool skip_value(struct walk *walk)
{
	return walk_value(walk, NULL);
}

static bool find_value(struct walk *walk, const char *pointer)
{
	if (pointer[0] != '\0')
		return walk_value(walk, pointer);
	skip_space(walk);
	walk->field->begin = walk->at;
	if (!skip_value(walk))
		return false;
	walk->field->end = walk->at;
	while (is_space(walk->field->end[-1]))
		walk->field->end--;
	walk->field->found = true;
	return true;
}

bool field_find(struct field *field, const void *text, size_t size, const char *pointer)
{
	struct walk walk = { .at = text, .end = (const uint8_t *)text + size, .field = field };

	*field = (struct field){ 0 };
	return find_value(&walk, pointer) && walk.at == walk.end;
}

/* -- printing; the text is known to be good ------------------------------------------------ */

static int print_string(struct walk *walk, field_sink sink, void *context)
{
	uint8_t escape[CHARACTER_MAX];
	const uint8_t *bytes;
	size_t size;
	int r = 0;

	walk->at++;
	while (r == 0 && take_stretch(walk, &bytes, &size, escape) && size > 0)
		r = sink(context, bytes, size);
	return r;
}

/* White space stands only between strings, and what is no string holds none. */
static int print_compact(struct walk *walk, field_sink sink, void *context)
{
	int r = 0;

	while (r == 0 && walk->at < walk->end) {
		const uint8_t *begin = walk->at;

		if (peek(walk) == '"')
			(void)skip_string(walk);
		else
			while (walk->at < walk->end && !is_space(*walk->at) && *walk->at != '"')
				walk->at++;
		r = sink(context, begin, (size_t)(walk->at - begin));
		skip_space(walk);
	}
	return r;
}

int field_print(const struct field *field, field_sink sink, void *context)
{
	struct walk walk = { .at = field->begin, .end = field->end };

	if (peek(&walk) == '"')
		return print_string(&walk, sink, context);
	return print_compact(&walk, sink, context);
}
