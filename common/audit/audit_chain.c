/* SPDX-License-Identifier: Apache-2.0 */
#include "common/audit/audit_chain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Digits of a key that tell it from another one. */
#define KEY_DIGITS (2 * AUDIT_KEY_SIZE + 1)

__attribute__((format(printf, 2, 3))) static int fail(
	struct audit_chain *chain, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(chain->fault, sizeof(chain->fault), format, arguments);
	va_end(arguments);
	return -EBADMSG;
}

static void tell(struct audit_chain *chain, enum audit_event event, uint64_t record, uint64_t count)
{
	if (chain->tell)
		chain->tell(chain->context, event, record, count);
}

void audit_chain_init(struct audit_chain *chain)
{
	*chain = (struct audit_chain){ .begins = true };
}

static bool trust(struct audit_chain *chain, const uint8_t key[static AUDIT_KEY_SIZE])
{
	if (chain->trusted_count == AUDIT_TRUSTED_MAX)
		return false;
	memcpy(chain->trusted[chain->trusted_count++], key, AUDIT_KEY_SIZE);
	return true;
}

bool audit_chain_trust(struct audit_chain *chain, const uint8_t key[static AUDIT_KEY_SIZE])
{
	bool done = trust(chain, key);

	chain->told_count = chain->trusted_count;
	return done;
}

static bool is_trusted(const struct audit_chain *chain, const uint8_t key[static AUDIT_KEY_SIZE])
{
	for (size_t i = 0; i < chain->trusted_count; i++)
		if (memcmp(chain->trusted[i], key, AUDIT_KEY_SIZE) == 0)
			return true;
	return false;
}

void audit_chain_begin_file(struct audit_chain *chain)
{
	chain->begins = true;
	chain->line = 0;
}

static bool is_called(const struct audit_line *line, const char *type)
{
	return span_equal(line->type, span_text(type));
}

static const char *write_key(char out[static KEY_DIGITS], const uint8_t key[static AUDIT_KEY_SIZE])
{
	for (size_t i = 0; i < AUDIT_KEY_SIZE; i++)
		snprintf(out + 2 * i, 3, "%02x", key[i]);
	return out;
}

/* -- keys ---------------------------------------------------------------------------------- */

/* Where the key becomes another one: whether what stands before is of one of several. */
static int check_part(struct audit_chain *chain, const struct audit_line *line)
{
	char digits[KEY_DIGITS];

	/* Of a chain that begins there is nothing before. */
	if (chain->told_count < 2 || chain->vouched || line->number == 1)
		return 0;
	if (!chain->any_signed)
		return fail(chain,
			"record %" PRIu64 " and all before it are not signed, and record %" PRIu64
			" has another key",
			line->number - 1, line->number);
	return fail(chain,
		"record %" PRIu64 " is signed with key %s, which is not one to be trusted",
		chain->last_signed, write_key(digits, chain->key));
}

/* The log tells its key. One that comes without the word of the one before is told. */
static int take_key(struct audit_chain *chain, const struct audit_line *line)
{
	bool same = chain->keyed && memcmp(chain->key, line->key, AUDIT_KEY_SIZE) == 0;
	int r = 0;

	if (chain->keyed && !same) {
		tell(chain, AUDIT_NEW_KEY, line->number, line->number - 1 - chain->last_signed);
		r = check_part(chain, line);
	}
	memcpy(chain->key, line->key, AUDIT_KEY_SIZE);
	chain->keyed = true;
	return r;
}

/* The one that is in force names its heir; who trusts it trusts that one. */
static int hand_on_key(struct audit_chain *chain, const struct audit_line *line)
{
	if (is_trusted(chain, chain->key) && !is_trusted(chain, line->next) &&
		!trust(chain, line->next))
		return fail(chain, "record %" PRIu64 ": more than %d keys follow one another",
			line->number, AUDIT_TRUSTED_MAX);
	memcpy(chain->key, line->next, AUDIT_KEY_SIZE);
	return 0;
}

static int check_signature(struct audit_chain *chain, const struct audit_line *line)
{
	char digits[KEY_DIGITS];

	if (!line->is_signed || !line->keyed)
		return fail(chain, "record %" PRIu64 " (line %" PRIu64 ") has lost its signature",
			line->number, chain->line);
	if (!chain->keyed)
		(void)take_key(chain, line);
	if (memcmp(chain->key, line->key, AUDIT_KEY_SIZE) != 0)
		return fail(chain,
			"record %" PRIu64 " (line %" PRIu64
			") is signed with key %s, which no record before it names",
			line->number, chain->line, write_key(digits, line->key));
	if (!audit_line_signed_by(line, chain->key))
		return fail(chain,
			"record %" PRIu64 " (line %" PRIu64 "): its signature is not that of key "
			"%s: it, or one of the %" PRIu64 " records before it, was changed, and the "
			"chain made anew",
			line->number, chain->line, write_key(digits, chain->key),
			line->number - chain->last_signed - 1);
	chain->last_signed = line->number;
	chain->any_signed = true;
	chain->vouched = is_trusted(chain, chain->key);
	return line->renewed ? hand_on_key(chain, line) : 0;
}

/* Whether who signed last is to be trusted. */
static int check_trust(struct audit_chain *chain)
{
	char digits[KEY_DIGITS];

	if (chain->trusted_count == 0 || chain->vouched)
		return 0;
	/* What the daemon itself says is as good as what it has signed. */
	if (chain->seen && chain->last_signed <= chain->expected.number)
		return 0;
	if (chain->any_signed)
		return fail(chain,
			"record %" PRIu64 " is signed with key %s, which is not one to be trusted",
			chain->last_signed, write_key(digits, chain->key));
	return fail(
		chain, "record %" PRIu64 " and all before it are not signed", chain->head.number);
}

/* -- links --------------------------------------------------------------------------------- */

static bool is_first_of_all(const struct audit_line *line)
{
	static const uint8_t zeros[AUDIT_HASH_SIZE];

	return line->number == 1 && is_called(line, "start") &&
		memcmp(line->previous, zeros, sizeof(zeros)) == 0;
}

/* No signature of the new chain stands behind the one before, and none of that one's before it. */
static int begin_anew(struct audit_chain *chain)
{
	int r = check_trust(chain);

	chain->last_signed = 0;
	chain->any_signed = false;
	chain->vouched = false;
	chain->seen = false;
	return r;
}

/* A record that no other one is in front of. */
static int begin(struct audit_chain *chain, const struct audit_line *line)
{
	if (is_first_of_all(line)) {
		if (chain->first == 0)
			return 0;
		tell(chain, AUDIT_NEW_CHAIN, line->number, 0);
		return begin_anew(chain);
	}
	if (!is_called(line, "go-on"))
		return fail(chain,
			"record %" PRIu64 " is the first one: the records before it are missing",
			line->number);
	chain->last_signed = line->number - 1;
	tell(chain, AUDIT_BEGINS_LATER, line->number, 0);
	return 0;
}

/* Whether what is missing stands further down decides what it is: that is looked for. */
static void open_gap(struct audit_chain *chain, const struct audit_line *line)
{
	chain->gap = chain->head.number + 1;
	chain->gap_record = line->number;
	chain->gap_line = chain->line;
}

static int close_gap(struct audit_chain *chain, bool found)
{
	uint64_t last = chain->gap_record - 1;

	if (found)
		return fail(chain,
			"record %" PRIu64 " (line %" PRIu64
			") stands out of order, behind record %" PRIu64,
			chain->gap, chain->line, chain->gap_record);
	if (chain->gap == last)
		return fail(chain,
			"record %" PRIu64 " is missing: line %" PRIu64 " is record %" PRIu64,
			chain->gap, chain->gap_line, chain->gap_record);
	return fail(chain,
		"records %" PRIu64 " to %" PRIu64 " are missing: line %" PRIu64
		" is record %" PRIu64,
		chain->gap, last, chain->gap_line, chain->gap_record);
}

static int link_up(struct audit_chain *chain, const struct audit_line *line)
{
	uint64_t next = chain->head.number + 1;

	if (chain->first == 0 || (chain->begins && is_first_of_all(line)))
		return begin(chain, line);
	if (line->number > next) {
		open_gap(chain, line);
		return 0;
	}
	if (line->number < next)
		return fail(chain,
			"record %" PRIu64 " (line %" PRIu64
			") stands out of order, or twice: behind record %" PRIu64,
			line->number, chain->line, chain->head.number);
	if (memcmp(line->previous, chain->head.hash, AUDIT_HASH_SIZE) != 0)
		return fail(chain,
			"record %" PRIu64 " (line %" PRIu64 ") was changed, and its hash with it: "
			"record %" PRIu64 " follows another one",
			chain->head.number, chain->line - 1, line->number);
	return 0;
}

/* -- records ------------------------------------------------------------------------------- */

static int take_kind(struct audit_chain *chain, const struct audit_line *line)
{
	bool start = is_called(line, "start");

	if ((start || is_called(line, "go-on")) && !line->keyed)
		return fail(chain, "record %" PRIu64 " (line %" PRIu64 ") names no key",
			line->number, chain->line);
	if (start && chain->first > 0 && !chain->ended && !is_first_of_all(line) &&
		memcmp(chain->key, line->key, AUDIT_KEY_SIZE) != 0)
		tell(chain, AUDIT_NO_END, line->number, 0);
	if ((start || is_called(line, "go-on")) && take_key(chain, line) < 0)
		return -EBADMSG;
	if (is_called(line, "lost"))
		tell(chain, AUDIT_LOST, line->number, line->lost);
	if (is_called(line, "checkpoint") || is_called(line, "key") || is_called(line, "end"))
		return check_signature(chain, line);
	return 0;
}

static int check_expected(struct audit_chain *chain, const struct audit_line *line)
{
	if (!chain->expecting || line->number != chain->expected.number)
		return 0;
	/* The same number may be that of another chain, in a file before. */
	chain->seen = memcmp(line->hash, chain->expected.hash, AUDIT_HASH_SIZE) == 0;
	return 0;
}

static int take(struct audit_chain *chain, const struct audit_line *line)
{
	int r = link_up(chain, line);

	if (r < 0 || chain->gap > 0)
		return r;
	r = take_kind(chain, line);
	if (r == 0)
		r = check_expected(chain, line);
	if (r < 0)
		return r;
	if (chain->first == 0)
		chain->first = line->number;
	chain->records++;
	chain->ended = is_called(line, "end");
	chain->moved = chain->ended && span_equal(line->why, span_text("moved"));
	chain->head.number = line->number;
	memcpy(chain->head.hash, line->hash, AUDIT_HASH_SIZE);
	chain->begins = false;
	return 0;
}

int audit_chain_take(struct audit_chain *chain, struct span text, bool whole)
{
	uint64_t next = chain->head.number + 1;
	struct audit_line line;
	int r = audit_line_read(&line, text);

	if (chain->fault[0])
		return -EBADMSG;
	chain->line++;
	if (chain->gap > 0)
		return r == 0 && line.number == chain->gap ? close_gap(chain, true) : 0;
	if (!whole)
		return fail(chain, "record %" PRIu64 " (line %" PRIu64 ") is cut: nothing follows",
			next, chain->line);
	if (r < 0)
		return fail(chain,
			"record %" PRIu64 " (line %" PRIu64
			") was changed: it is no line of an audit log",
			next, chain->line);
	if (!line.intact)
		return fail(chain,
			"record %" PRIu64 " (line %" PRIu64
			") was changed: its hash is not that of its bytes",
			chain->first > 0 ? next : line.number, chain->line);
	return take(chain, &line);
}

/* -- the end ------------------------------------------------------------------------------- */

/*
 * A file that was moved away ends before what the daemon has written since, which is told: who cuts
 * a log there leaves nothing else behind.
 */
static int check_moved(struct audit_chain *chain)
{
	const struct audit_head *expected = &chain->expected;
	bool known = chain->expecting && expected->number > chain->head.number;

	/* The file where it goes on is here. */
	if (chain->begins)
		return fail(chain,
			"record %" PRIu64 " is missing: the log goes on behind record %" PRIu64
			", and the file behind it is empty",
			chain->head.number + 1, chain->head.number);
	tell(chain, AUDIT_GOES_ON, chain->head.number,
		known ? expected->number - chain->head.number : 0);
	return 0;
}

static int check_seen(struct audit_chain *chain)
{
	const struct audit_head *expected = &chain->expected;

	if (!chain->expecting || chain->seen)
		return 0;
	if (expected->number > chain->head.number)
		return fail(chain,
			"record %" PRIu64 " is missing: the log was cut behind record %" PRIu64
			", the daemon has written %" PRIu64,
			chain->head.number + 1, chain->head.number, expected->number);
	return fail(chain,
		"record %" PRIu64 " is not the one that the daemon has written: its last one has "
		"this number, and another hash",
		expected->number);
}

int audit_chain_end(struct audit_chain *chain)
{
	int r = 0;

	if (chain->fault[0])
		return -EBADMSG;
	if (chain->gap > 0)
		return close_gap(chain, false);
	if (chain->first == 0)
		return fail(chain, "record 1 is missing: there is no record at all");
	r = check_trust(chain);
	if (r < 0)
		return r;
	return chain->moved ? check_moved(chain) : check_seen(chain);
}
