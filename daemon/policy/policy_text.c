/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/wire/name.h"
#include "daemon/ini_text.h"
#include "daemon/policy/policy_inside.h"
#include "daemon/policy/policy_right.h"
#include "daemon/quantity.h"

/*
 * The language, line by line:
 *
 *	[namespace NAME]
 *	owner = SELECTOR...
 *	max-ttl = DURATION
 *	require-reason = OPERATION[,OPERATION]...
 *	allow = OPERATION[,OPERATION]... GLOB SELECTOR... [until=DATE] [pid-weak]
 *	deny = likewise
 */

/* More than a line has room for. */
#define SELECTORS_MAX 64

struct parsing {
	struct policy_book *book;
	const struct policy_names *names;
	struct config_fault *fault;
	const char *path; /* in the book */
	unsigned line;    /* at hand */
	bool broke;       /* no memory */
};

__attribute__((format(printf, 2, 3))) static bool fail(
	struct parsing *parsing, const char *format, ...)
{
	char text[CONFIG_FAULT_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	config_fault_say(parsing->fault, "%s:%u: %s", parsing->path, parsing->line, text);
	return false;
}

static bool fail_memory(struct parsing *parsing)
{
	parsing->broke = true;
	return fail(parsing, "out of memory");
}

static struct source here(const struct parsing *parsing)
{
	return (struct source){ .file = parsing->path, .line = parsing->line };
}

/* Cuts the next word off; an empty one at the end. */
static struct span next_word(struct span *text)
{
	size_t begin = 0, end;

	while (begin < text->size && isblank(text->data[begin]))
		begin++;
	for (end = begin; end < text->size && !isblank(text->data[end]);)
		end++;
	*text = span_of(text->data + end, text->size - end);
	return span_of(text->data - (end - begin), end - begin);
}

#define WORD(word) (int)(word).size, (const char *)(word).data

/* -- who ----------------------------------------------------------------------------------- */

/* What a line has said so far of whom it is about. */
struct saying {
	struct selector selectors[SELECTORS_MAX];
	size_t count;
	bool weak;
	int64_t until;
	bool expires;
};

static bool has_kind(const struct saying *saying, enum selector_kind kind)
{
	for (size_t i = 0; i < saying->count; i++)
		if (saying->selectors[i].kind == kind)
			return true;
	return false;
}

static bool has_unit(const struct saying *saying)
{
	return has_kind(saying, SELECT_UNIT) || has_kind(saying, SELECT_USERUNIT) ||
		has_kind(saying, SELECT_SLICE);
}

static bool take_selector(
	struct parsing *parsing, struct saying *saying, struct span word, const char *key)
{
	struct selector *selector = &saying->selectors[saying->count];
	const char *wrong = saying->count < SELECTORS_MAX
		? selector_parse(parsing->book, selector, word, parsing->names)
		: "is one selector too many";

	if (wrong)
		return fail(parsing, "%s: '%.*s' %s", key, WORD(word), wrong);
	if (!selector->text)
		return fail_memory(parsing);
	/* Nobody has two of a kind, but of groups. */
	if (selector->kind != SELECT_GID && has_kind(saying, selector->kind))
		return fail(parsing, "%s: '%.*s' is a second '%s': the line would match nobody",
			key, WORD(word), selector_kind_name(selector->kind));
	saying->count++;
	return true;
}

static bool check_saying(struct parsing *parsing, const struct saying *saying, const char *key)
{
	if (saying->count == 0)
		return fail(parsing,
			"%s: no selector says for whom; 'anybody' stands for everybody", key);
	if (has_kind(saying, SELECT_ANYBODY) && saying->count > 1)
		return fail(parsing, "%s: 'anybody' stands beside another selector", key);
	if (has_kind(saying, SELECT_USERUNIT) && !has_kind(saying, SELECT_UID))
		return fail(parsing,
			"%s: a 'userunit' needs a 'uid' or 'user' beside it: each user names "
			"its own",
			key);
	if (saying->weak && !has_unit(saying))
		return fail(parsing, "%s: 'pid-weak' stands without unit, slice or userunit", key);
	return true;
}

static int by_kind(const void *a, const void *b)
{
	const struct selector *x = a, *y = b;

	return x->kind != y->kind ? (x->kind > y->kind) - (x->kind < y->kind)
				  : selector_compare(x, y);
}

/* Into the book, in an order that is not the line's. */
static bool keep_who(struct parsing *parsing, struct saying *saying, struct who *who)
{
	size_t size = saying->count * sizeof(saying->selectors[0]);
	struct selector *selectors = policy_book_take(parsing->book, size);

	if (!selectors)
		return fail_memory(parsing);
	qsort(saying->selectors, saying->count, sizeof(saying->selectors[0]), by_kind);
	memcpy(selectors, saying->selectors, size);
	*who = (struct who){ .selectors = selectors, .count = saying->count, .weak = saying->weak };
	parsing->book->asks_where = parsing->book->asks_where || has_unit(saying);
	return true;
}

/* -- dates --------------------------------------------------------------------------------- */

/* `count` digits; -1 for anything else. */
static int digits(const char *text, int count)
{
	int number = 0;

	for (int i = 0; i < count; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		number = 10 * number + text[i] - '0';
	}
	return number;
}

/* A day, whose last second it is then, or a second: 2027-01-31, 2027-01-31T18:00:00Z. UTC. */
static bool read_date(struct span word, int64_t *untilp)
{
	char text[] = "YYYY-MM-DDT23:59:59Z", said[sizeof(text)];
	struct tm moment = { 0 }, same;
	time_t seconds;

	if (word.size != 10 && word.size != sizeof(text) - 1)
		return false;
	memcpy(text, word.data, word.size);
	moment.tm_year = digits(text, 4) - 1900;
	moment.tm_mon = digits(text + 5, 2) - 1;
	moment.tm_mday = digits(text + 8, 2);
	moment.tm_hour = digits(text + 11, 2);
	moment.tm_min = digits(text + 14, 2);
	moment.tm_sec = digits(text + 17, 2);
	if (moment.tm_year < 70 || moment.tm_mday < 1 || moment.tm_hour < 0 || moment.tm_min < 0 ||
		moment.tm_sec < 0)
		return false;
	/* What is no date comes back as another one. */
	seconds = timegm(&moment);
	if (!gmtime_r(&seconds, &same) ||
		strftime(said, sizeof(said), "%Y-%m-%dT%H:%M:%SZ", &same) != sizeof(said) - 1 ||
		strcmp(said, text) != 0)
		return false;
	*untilp = (int64_t)seconds;
	return true;
}

static bool take_until(
	struct parsing *parsing, struct saying *saying, struct span date, const char *key)
{
	if (saying->expires)
		return fail(parsing, "%s: a second 'until='", key);
	if (!read_date(date, &saying->until))
		return fail(parsing,
			"%s: until: '%.*s' is no date such as 2027-01-31 or 2027-01-31T18:00:00Z",
			key, WORD(date));
	return saying->expires = true;
}

/* -- rules --------------------------------------------------------------------------------- */

static bool take_operations(
	struct parsing *parsing, uint32_t *rights, struct span words, const char *key)
{
	struct span word;
	const char *wrong;

	if (words.size == 0)
		return fail(parsing, "%s: nothing says what: OPERATIONS GLOB SELECTOR...", key);
	wrong = rights_read(rights, words, &word);
	return !wrong || fail(parsing, "%s: '%.*s' %s", key, WORD(word), wrong);
}

static bool take_glob(struct parsing *parsing, struct rule *rule, struct span word, const char *key)
{
	const struct policy_book *book = parsing->book;
	struct span literal = book->spaces[book->space_count - 1].literal;
	char buffer[GLOB_MAX];
	const char *wrong, *kept;
	struct glob glob;

	if (word.size == 0)
		return fail(parsing, "%s: nothing says where: OPERATIONS GLOB SELECTOR...", key);
	wrong = glob_parse(&glob, literal, word, buffer);
	if (wrong)
		return fail(parsing, "%s: '%.*s' %s", key, WORD(word), wrong);
	kept = policy_book_text(parsing->book, span_of(buffer, glob.literal.size + glob.tail.size));
	if (!kept)
		return fail_memory(parsing);
	rule->glob.literal = span_of(kept, glob.literal.size);
	rule->glob.tail = span_of(kept + glob.literal.size, glob.tail.size);
	return true;
}

/* What stands behind the glob. */
static bool take_words(
	struct parsing *parsing, struct saying *saying, struct span text, const char *key)
{
	const struct span until = span_text("until=");
	struct span word;

	while ((word = next_word(&text)).size > 0) {
		if (span_equal(word, span_text("pid-weak")) && !saying->weak)
			saying->weak = true;
		else if (span_starts_with(word, until)) {
			if (!take_until(parsing, saying,
				    span_of(word.data + until.size, word.size - until.size), key))
				return false;
		} else if (!take_selector(parsing, saying, word, key))
			return false;
	}
	return check_saying(parsing, saying, key);
}

static bool read_rule(struct parsing *parsing, const char *key, const char *value)
{
	struct rule rule = { .deny = strcmp(key, "deny") == 0, .source = here(parsing) };
	struct saying saying = { .until = INT64_MAX };
	struct span text = span_text(value);
	struct rule *place;

	if (!take_operations(parsing, &rule.rights, next_word(&text), key) ||
		!take_glob(parsing, &rule, next_word(&text), key) ||
		!take_words(parsing, &saying, text, key) || !keep_who(parsing, &saying, &rule.who))
		return false;
	/* What may not be taken away may not be taken away under another name either. */
	if (rule.deny && rule.rights & RIGHT_BIT(RIGHT_REMOVE))
		rule.rights |= RIGHT_BIT(RIGHT_MOVE);
	rule.until = saying.until;
	parsing->book->expires = parsing->book->expires || saying.expires;
	place = policy_book_rule(parsing->book);
	if (!place)
		return fail_memory(parsing);
	*place = rule;
	return true;
}

/* -- namespaces ---------------------------------------------------------------------------- */

/* Whether the last two of the same section say the same thing twice is seen with all others. */
static struct space *this_space(struct parsing *parsing)
{
	return &parsing->book->spaces[parsing->book->space_count - 1];
}

static bool read_owner(struct parsing *parsing, const char *key, const char *value)
{
	struct space *space = this_space(parsing);
	struct saying saying = { 0 };
	struct span text = span_text(value), word;

	if (space->owner_source.line > 0)
		return fail(parsing, "'%s' is set a second time (first in line %u)", key,
			space->owner_source.line);
	if (space->literal.size > 0 && space->literal.data[0] == '~')
		return fail(parsing, "%s: the space of a user belongs to that user", key);
	while ((word = next_word(&text)).size > 0) {
		if (span_equal(word, span_text("pid-weak")) && !saying.weak)
			saying.weak = true;
		else if (!take_selector(parsing, &saying, word, key))
			return false;
	}
	space->owner_source = here(parsing);
	return check_saying(parsing, &saying, key) && keep_who(parsing, &saying, &space->owner);
}

/* A year of ten of them is as long as anybody means. */
#define DAYS_MOST 36500

static uint64_t read_duration(const char *text)
{
	static const struct unit units[] = { { "s", 1000 }, { "m", 60000 }, { "h", 3600000 },
		{ "d", 86400000 } };
	uint64_t ms = quantity_read(text, units, sizeof(units) / sizeof(units[0]));

	return ms <= DAYS_MOST * UINT64_C(86400000) ? ms : 0;
}

static bool read_max_ttl(struct parsing *parsing, const char *key, const char *value)
{
	struct space *space = this_space(parsing);

	if (space->max_ttl_source.line > 0)
		return fail(parsing, "'%s' is set a second time (first in line %u)", key,
			space->max_ttl_source.line);
	space->max_ttl_ms = read_duration(value);
	if (space->max_ttl_ms == 0)
		return fail(parsing, "%s: '%s' is no time from 1s to 36500d, such as 15m or 7d",
			key, value);
	space->max_ttl_source = here(parsing);
	return true;
}

static bool read_require_reason(struct parsing *parsing, const char *key, const char *value)
{
	struct space *space = this_space(parsing);
	struct span text = span_text(value), words = next_word(&text);

	if (space->reasons_source.line > 0)
		return fail(parsing, "'%s' is set a second time (first in line %u)", key,
			space->reasons_source.line);
	if (words.size == 0)
		return fail(parsing, "%s: nothing says what: get,set, or * for all", key);
	if (next_word(&text).size > 0)
		return fail(parsing, "%s: '%s' has a blank: operations are parted by commas", key,
			value);
	space->reasons_source = here(parsing);
	if (!take_operations(parsing, &space->reasons, words, key))
		return false;
	if (space->reasons != RIGHTS_OF_NAMES && space->reasons & RIGHTS_THAT_SHOW)
		return fail(parsing, "%s: ls and watch need no reason", key);
	space->reasons &= ~RIGHTS_THAT_SHOW;
	return true;
}

/* The name with its slash, or "" for the one for all names; NULL, or what is wrong. */
static const char *read_title(struct span title, char out[GLOB_MAX], size_t *sizep)
{
	const char *fault;

	*sizep = 0;
	if (span_equal(title, span_text("/")))
		return NULL;
	if (title.size + 2 > GLOB_MAX)
		return "is too long";
	if (memchr(title.data, ' ', title.size))
		return "has a blank; %20 stands for one";
	fault = glob_decode(title, out, sizep);
	if (fault)
		return fault;
	if (*sizep > 0 && out[0] == '~' && (*sizep == 1 || out[1] == '/'))
		return "begins with '~', which is another space for each caller; write ~UID";
	if (*sizep == 0)
		return "is empty; [namespace /] is for all names";
	if (memchr(out, '*', *sizep))
		return "has a star; globs are for the lines below it";
	/* A name has to fit behind it. */
	memcpy(out + *sizep, "/x", 2);
	fault = name_fault(span_of(out, *sizep + 2));
	(*sizep)++;
	return fault;
}

static bool on_section(void *context, struct span title, unsigned line)
{
	const struct span word = span_text("namespace ");
	struct parsing *parsing = context;
	char buffer[GLOB_MAX];
	struct space *space;
	const char *text, *wrong;
	size_t size;

	if (!span_starts_with(title, word))
		return false;
	parsing->line = line;
	title = span_of(title.data + word.size, title.size - word.size);
	wrong = read_title(title, buffer, &size);
	if (wrong)
		return fail(parsing, "[namespace %.*s]: the name %s", WORD(title), wrong);
	text = policy_book_text(parsing->book, span_of(buffer, size));
	space = policy_book_space(parsing->book);
	if (!text || !space)
		return fail_memory(parsing);
	*space = (struct space){ .literal = span_of(text, size) };
	return true;
}

static const struct {
	const char *key;
	bool (*read)(struct parsing *, const char *, const char *);
} keys[] = {
	{ "owner", read_owner },
	{ "max-ttl", read_max_ttl },
	{ "require-reason", read_require_reason },
	{ "allow", read_rule },
	{ "deny", read_rule },
};

static bool on_pair(void *context, const char *key, const char *value, unsigned line)
{
	struct parsing *parsing = context;

	parsing->line = line;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(keys[i].key, key) == 0)
			return keys[i].read(parsing, key, value);
	return fail(parsing,
		"unknown key '%s'; there are owner, max-ttl, require-reason, allow and deny", key);
}

int policy_book_read(struct policy_book *book, const char *text, size_t size, const char *path,
	const struct policy_names *names, struct config_fault *fault)
{
	struct parsing parsing = { .book = book,
		.names = names,
		.fault = fault,
		.path = policy_book_text(book, span_text(path)) };
	struct ini_text reader = { .path = path,
		.fault = fault,
		.sections = "[namespace NAME]",
		.context = &parsing,
		.section = on_section,
		.pair = on_pair };
	int r;

	if (!parsing.path)
		return -ENOMEM;
	r = ini_text_read(&reader, text, size);
	return parsing.broke ? -ENOMEM : r;
}
