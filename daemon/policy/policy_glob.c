/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy/policy_glob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/name.h"

/* Wildcards of others, which would stand for themselves here and match nothing. */
#define FOREIGN "?[]{}\\"

/* -- reading ------------------------------------------------------------------------------- */

static int digit_of(uint8_t character)
{
	if (character >= '0' && character <= '9')
		return character - '0';
	if (character >= 'a' && character <= 'f')
		return character - 'a' + 10;
	return character >= 'A' && character <= 'F' ? character - 'A' + 10 : -1;
}

/* The byte that `text` begins with the escape of, or negative. */
static int escaped(struct span text)
{
	int high = text.size >= 3 ? digit_of(text.data[1]) : -1;
	int low = text.size >= 3 ? digit_of(text.data[2]) : -1;

	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

#define BAD_ESCAPE "has a '%' without two hexadecimal digits; %25 stands for a '%'"

const char *glob_decode(struct span text, char *out, size_t *sizep)
{
	size_t size = 0;

	for (size_t i = 0; i < text.size; i++) {
		int byte = text.data[i];

		if (byte == '%') {
			byte = escaped(span_of(text.data + i, text.size - i));
			i += 2;
		}
		if (byte < 0)
			return BAD_ESCAPE;
		out[size++] = (char)byte;
	}
	*sizep = size;
	return NULL;
}

/* What is compiled, and a name that it stands for, to see whether there can be one. */
struct compiling {
	char *out;
	char probe[GLOB_MAX];
	size_t size;
};

static void put(struct compiling *compiling, int byte, int likeness)
{
	compiling->out[compiling->size] = (char)byte;
	compiling->probe[compiling->size++] = (char)likeness;
}

/* One character, star or escape. Returns how many bytes of the text it takes, or 0 and why. */
static size_t compile_one(struct compiling *compiling, struct span text, const char **faultp)
{
	size_t stars = 0;
	int byte = text.data[0];

	while (stars < text.size && text.data[stars] == '*')
		stars++;
	if (stars > 2)
		return *faultp = "has more than two stars in a row", 0;
	if (stars > 0) {
		put(compiling, stars == 1 ? GLOB_ANY : GLOB_EVERY, '1');
		return stars;
	}
	if (byte == '%') {
		byte = escaped(text);
		if (byte < 0)
			return *faultp = BAD_ESCAPE, 0;
		put(compiling, byte, byte);
		return 3;
	}
	if (strchr(FOREIGN, byte))
		return *faultp = "has one of " FOREIGN ", which is no wildcard here; %3F stands "
				 "for a '?', and so on",
		       0;
	put(compiling, byte, byte);
	return 1;
}

/* Whether there can be a name like that: filed ones never begin with "~/". */
static const char *probe_fault(struct span probe)
{
	if (probe.size > 0 && probe.data[0] == '~' && (probe.size == 1 || probe.data[1] == '/'))
		return "begins with '~', which is another space for each caller; write ~UID";
	return name_fault(probe);
}

const char *glob_parse(
	struct glob *glob, struct span space, struct span text, char buffer[GLOB_MAX])
{
	struct compiling compiling = { .out = buffer };
	const char *fault = NULL;
	size_t literal;

	if (space.size + text.size > GLOB_MAX)
		return "is too long";
	for (size_t i = 0; i < space.size; i++)
		put(&compiling, space.data[i], space.data[i]);
	for (size_t at = 0, taken; at < text.size; at += taken) {
		taken = compile_one(&compiling, span_of(text.data + at, text.size - at), &fault);
		if (taken == 0)
			return fault;
	}
	fault = probe_fault(span_of(compiling.probe, compiling.size));
	if (fault)
		return fault;
	for (literal = 0; literal < compiling.size; literal++)
		if (buffer[literal] == GLOB_ANY || buffer[literal] == GLOB_EVERY)
			break;
	glob->literal = span_of(buffer, literal);
	glob->tail = span_of(buffer + literal, compiling.size - literal);
	return NULL;
}

/* -- matching ------------------------------------------------------------------------------ */

/*
 * Goes through the glob once and keeps all places of the name that what was passed of it can end
 * at: no way is ever tried twice, as a search that goes back would.
 */
static void pass_star(bool *reached, struct span name, bool slashes)
{
	for (size_t i = 1; i <= name.size; i++)
		reached[i] = reached[i] || (reached[i - 1] && (slashes || name.data[i - 1] != '/'));
}

static void pass_byte(bool *reached, struct span name, uint8_t byte)
{
	for (size_t i = name.size; i > 0; i--)
		reached[i] = reached[i - 1] && name.data[i - 1] == byte;
	reached[0] = false;
}

/* Out of line: what it needs of the stack is not made ready for the globs that do without. */
__attribute__((noinline)) static bool matches_at_length(struct span tail, struct span rest)
{
	bool reached[NAME_FILED_MAX + 1] = { true };

	if (rest.size > NAME_FILED_MAX)
		abort();
	for (size_t i = 0; i < tail.size; i++) {
		if (tail.data[i] == GLOB_ANY || tail.data[i] == GLOB_EVERY)
			pass_star(reached, rest, tail.data[i] == GLOB_EVERY);
		else
			pass_byte(reached, rest, tail.data[i]);
	}
	return reached[rest.size];
}

bool glob_matches(struct span tail, struct span rest)
{
	if (tail.size == 0)
		return rest.size == 0;
	if (tail.size > 1)
		return matches_at_length(tail, rest);
	return tail.data[0] == GLOB_EVERY || rest.size == 0 || !memchr(rest.data, '/', rest.size);
}

/* -- writing ------------------------------------------------------------------------------- */

/* What a line would not be read with: blanks part words, a comment begins with ';'. */
static bool needs_escape(uint8_t byte)
{
	return byte <= ' ' || strchr("*%;#" FOREIGN, byte);
}

void glob_write(char *out, size_t room, struct span name)
{
	size_t used = 0;

	for (size_t i = 0; i < name.size && used + 4 <= room; i++)
		used += (size_t)snprintf(out + used, room - used,
			needs_escape(name.data[i]) ? "%%%02X" : "%c", name.data[i]);
	out[used] = '\0';
}
