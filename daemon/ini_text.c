/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ini_text.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <string.h>

struct reading {
	const struct ini_text *reader;
	struct span text; /* not yet read */
	unsigned line;    /* being read */
	bool in_section;
	bool below_key; /* there was a key in this section: an indented line would be its */
	bool indented;  /* this line */
	bool failed;
};

static struct span skip_blanks(struct span line)
{
	while (line.size > 0 && isspace(line.data[0]))
		line = span_of(line.data + 1, line.size - 1);
	return line;
}

/* Without the mark of the byte order, which the first line of a file may begin with. */
static struct span skip_mark(struct span line, unsigned number)
{
	const struct span mark = span_text("\xef\xbb\xbf");

	if (number == 1 && span_starts_with(line, mark))
		return span_of(line.data + mark.size, line.size - mark.size);
	return line;
}

/* -- lines, before inih sees them ---------------------------------------------------------- */

static void fail_section(const struct reading *reading, struct span title)
{
	const struct ini_text *reader = reading->reader;

	/* Whoever knows more of it has said that. */
	if (reader->fault->text[0] == '\0')
		config_fault_say(reader->fault, "%s:%u: unknown section [%.*s; there is %s",
			reader->path, reading->line, (int)title.size, (const char *)title.data,
			reader->sections);
}

/* inih tells of a section only with a key in it, cuts its title, and drops what stands behind. */
static bool look_at_section(struct reading *reading, struct span line)
{
	const struct ini_text *reader = reading->reader;
	const uint8_t *end = memchr(line.data, ']', line.size);
	size_t size = end ? (size_t)(end - line.data) + 1 : line.size;
	struct span behind = skip_blanks(span_of(line.data + size, line.size - size));

	reader->fault->text[0] = '\0';
	if (!end ||
		!reader->section(
			reader->context, span_of(line.data + 1, size - 2), reading->line)) {
		fail_section(reading, span_of(line.data + 1, size - 1));
		return false;
	}
	if (behind.size > 0 && behind.data[0] != ';' && behind.data[0] != '#')
		config_fault_say(reader->fault,
			"%s:%u: words behind %.*s; they belong into a line of their own",
			reader->path, reading->line, (int)size, (const char *)line.data);
	else if (reading->below_key && reading->indented)
		config_fault_say(reader->fault, "%s:%u: %.*s is indented below a key", reader->path,
			reading->line, (int)size, (const char *)line.data);
	else
		return reading->in_section = true;
	return false;
}

static bool look_at_line(struct reading *reading, struct span line)
{
	struct span words;

	line = skip_mark(line, reading->line);
	words = skip_blanks(line);
	reading->indented = words.size < line.size;
	if (words.size == 0 || words.data[0] != '[')
		return true;
	if (!look_at_section(reading, words))
		return false;
	reading->below_key = false;
	return true;
}

/* inih's view of the text, a line at a time like fgets: Debian's build tells no line numbers. */
static char *next_line(char *out, int room, void *stream)
{
	struct reading *reading = stream;
	const char *text = (const char *)reading->text.data;
	const char *end = reading->text.size > 0 ? memchr(text, '\n', reading->text.size) : NULL;
	size_t size = end ? (size_t)(end - text) + 1 : reading->text.size;

	if (size == 0 || reading->failed)
		return NULL;
	reading->line++;
	/* An inih that was built for shorter lines: nothing behind this one would be read. */
	if (size >= (size_t)room) {
		config_fault_say(reading->reader->fault, "%s:%u: the line is too long",
			reading->reader->path, reading->line);
		reading->failed = true;
		return NULL;
	}
	if (!look_at_line(reading, span_of(text, end ? size - 1 : size))) {
		reading->failed = true;
		return NULL;
	}
	memcpy(out, text, size);
	out[size] = '\0';
	reading->text = span_of(text + size, reading->text.size - size);
	return out;
}

/* -- keys and values ----------------------------------------------------------------------- */

static int on_pair(void *user, const char *section, const char *key, const char *value)
{
	struct reading *reading = user;
	const struct ini_text *reader = reading->reader;

	(void)section;
	if (reading->failed)
		return 0;
	if (!reading->in_section)
		config_fault_say(reader->fault,
			"%s:%u: '%s' stands before any section; put %s above it", reader->path,
			reading->line, key, reader->sections);
	else if (reading->below_key && reading->indented)
		config_fault_say(reader->fault,
			"%s:%u: the line is indented, as if it belonged to '%s' above it",
			reader->path, reading->line, key);
	else if (reader->pair(reader->context, key, value, reading->line))
		return reading->below_key = true;
	reading->failed = true;
	return 0;
}

/* What inih would cut, or would not see. */
static int check_lines(const struct ini_text *reader, const char *text, size_t size)
{
	unsigned line = 1;
	size_t begin = 0;

	for (size_t i = 0; i <= size; i++) {
		if (i < size && text[i] == '\0') {
			config_fault_say(reader->fault, "%s:%u: a NUL byte", reader->path, line);
			return -EBADMSG;
		}
		if (i < size && text[i] != '\n')
			continue;
		if (i - begin > INI_LINE_MAX) {
			config_fault_say(reader->fault, "%s:%u: the line is longer than %d bytes",
				reader->path, line, INI_LINE_MAX);
			return -EBADMSG;
		}
		begin = i + 1;
		line++;
	}
	return 0;
}

int ini_text_read(const struct ini_text *reader, const char *text, size_t size)
{
	struct reading reading = { .reader = reader, .text = span_of(text, size) };
	int r = check_lines(reader, text, size);

	if (r < 0)
		return r;
	r = ini_parse_stream(next_line, &reading, on_pair, &reading);
	if (r != 0 && !reading.failed)
		config_fault_say(reader->fault,
			"%s:%d: neither a [section], 'key = value' nor a comment", reader->path,
			r > 0 ? r : 1);
	return r != 0 || reading.failed ? -EBADMSG : 0;
}
