/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mgclient-audit.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"

/* -- files ---------------------------------------------------------------------------------- */

/* No line of a log is as long. What is longer ends here, whatever its length: it is none. */
#define LINE_SIZE 16384

/* Returns the bytes of the next line with its newline, which the last one may lack; 0: there is
 * none. */
static size_t read_line(FILE *file, char line[static LINE_SIZE])
{
	size_t size = 0;
	int byte = 0;

	while (byte != '\n' && (byte = getc_unlocked(file)) != EOF)
		if (size < LINE_SIZE)
			line[size++] = (char)byte;
	if (size == LINE_SIZE)
		line[size - 1] = '\n';
	return size;
}

/* Calls `each` with every line. Returns an exit status. */
static int read_lines(
	const char *path, int (*each)(void *context, const char *line, size_t size), void *context)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char line[LINE_SIZE];
	size_t size;
	int r = 0;

	if (!file)
		return say_error(MG_INVALID, "%s: %s", path, strerror(errno));
	while (r == 0 && (size = read_line(file, line)) > 0)
		r = each(context, line, size);
	if (r == 0 && ferror(file))
		r = say_error(MG_INTERNAL, "%s: %s", path, strerror(errno));
	if (file != stdin)
		fclose(file);
	return r;
}

/* -- verify --------------------------------------------------------------------------------- */

struct verifying {
	struct mg_audit *audit;
	bool json;
	bool trusted; /* by something else than the log's own word */
	json_t *notes;
	const char *path;
};

static const struct {
	const char *word; /* of JSON */
	const char *words;
	const char *counted; /* the same, and how many records; NULL: it counts none */
} events[] = {
	[MG_AUDIT_BEGINS_LATER] = { "begins_later", "the records before it are in another file",
		NULL },
	[MG_AUDIT_NEW_CHAIN] = { "new_chain", "a new log begins", NULL },
	[MG_AUDIT_NEW_KEY] = { "new_key", "the key is a new one, and the one before was lost",
		"the key is a new one, and the one before was lost; not signed before it: "
		"records" },
	[MG_AUDIT_NO_END] = { "no_end", "the daemon before it did not end in order", NULL },
	[MG_AUDIT_LOST] = { "lost", "some could not be written, and are lost",
		"could not be written, and are lost: records" },
	[MG_AUDIT_GOES_ON] = { "goes_on", "the records behind it are in another file",
		"the records behind it are in another file, of which the daemon has written" },
};

static void on_event(void *context, enum mg_audit_event event, uint64_t record, uint64_t count)
{
	struct verifying *verifying = context;
	json_t *note;

	if ((size_t)event >= sizeof(events) / sizeof(events[0]))
		return;
	if (!verifying->json && count > 0 && events[event].counted)
		answer_row("note", "record %" PRIu64 ": %s: %" PRIu64, record,
			events[event].counted, count);
	else if (!verifying->json)
		answer_row("note", "record %" PRIu64 ": %s", record, events[event].words);
	if (!verifying->json)
		return;
	note = json_object();
	answer_text(note, "event", events[event].word);
	answer_number(note, "record", record);
	if (count > 0)
		answer_number(note, "count", count);
	answer_append(verifying->notes, note);
}

static int take_line(void *context, const char *line, size_t size)
{
	struct verifying *verifying = context;
	int r = mg_audit_take(verifying->audit, line, size);

	return r == MG_OK ? 0 : say_error(r, "%s: %s", verifying->path, mg_last_error());
}

/* What the daemon says, if there is one, and if it tells us. Returns an exit status. */
static int ask_daemon(struct verifying *verifying, const struct arguments *arguments)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	struct mg_state state;
	struct mg_options options = { .endpoint = arguments->socket,
		.timeout_ms = arguments->timeout_ms,
		.memory = MG_MEMORY_PREFER_LOCK,
		.expect_uid = arguments->daemon_uid.given,
		.daemon_uid = (uid_t)arguments->daemon_uid.number };
	int r = mg_open(&client, &options);

	if (r == MG_OK)
		r = mg_status_of(client, &state);
	/* Whoever names it means it. */
	if (r != MG_OK && arguments->socket)
		return say_failed(r, NULL);
	if (r != MG_OK || !state.audit)
		return 0;
	verifying->trusted = true;
	r = mg_audit_trust(verifying->audit, state.audit_key);
	if (r == MG_OK && state.counts && state.audit_record > 0)
		mg_audit_expect(verifying->audit, state.audit_record, state.audit_hash);
	return r == MG_OK ? 0 : say_failed(r, NULL);
}

static int take_keys(struct verifying *verifying, const struct arguments *arguments)
{
	int r = MG_OK;

	if (arguments->audit_key_count == 0)
		return ask_daemon(verifying, arguments);
	verifying->trusted = true;
	for (size_t i = 0; i < arguments->audit_key_count && r == MG_OK; i++)
		r = mg_audit_trust(verifying->audit, arguments->audit_keys[i].key);
	return r == MG_OK ? 0 : say_failed(r, NULL);
}

static const char *write_key(char out[static 65], const unsigned char key[static 32])
{
	for (size_t i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", key[i]);
	return out;
}

static int verify_object(const struct verifying *verifying, const struct mg_audit_result *result)
{
	json_t *answer = answer_new();
	char digits[65];

	answer_number(answer, "first", result->first);
	answer_number(answer, "last", result->last);
	answer_number(answer, "records", result->records);
	answer_number(answer, "signed", result->last_signed);
	answer_text(answer, "key", write_key(digits, result->key));
	answer_flag(answer, "trusted", verifying->trusted);
	answer_add(answer, "notes", json_incref(verifying->notes));
	return answer_print(answer);
}

static void verify_list(const struct verifying *verifying, const struct mg_audit_result *result)
{
	char digits[65];

	answer_row("intact", "records %" PRIu64 " to %" PRIu64, result->first, result->last);
	if (result->last_signed >= result->first)
		answer_row("signed", "up to record %" PRIu64 ", by key %s", result->last_signed,
			write_key(digits, result->key));
	if (result->last_signed < result->last)
		answer_row("unsigned", "%" PRIu64 " at the end",
			result->last -
				(result->last_signed >= result->first ? result->last_signed
								      : result->first - 1));
	if (!verifying->trusted)
		answer_row("key",
			"the log's own word: no daemon vouches for it, and no --key was given");
}

static int verify_files(struct verifying *verifying, const struct arguments *arguments)
{
	struct mg_audit_result result;
	int r = take_keys(verifying, arguments);

	for (size_t i = 1; i < arguments->operand_count && r == 0; i++) {
		mg_audit_begin_file(verifying->audit);
		verifying->path = arguments->operands[i];
		r = read_lines(verifying->path, take_line, verifying);
	}
	if (r != 0)
		return r;
	r = mg_audit_end(verifying->audit, &result);
	if (r != MG_OK)
		return say_error(r, "%s: %s", verifying->path, mg_last_error());
	if (verifying->json)
		return verify_object(verifying, &result);
	verify_list(verifying, &result);
	return 0;
}

static int audit_verify(const struct arguments *arguments)
{
	struct verifying verifying = { .json = arguments->json };
	int r;

	if (arguments->operand_count < 2)
		return say_error(MG_INVALID, "audit verify takes a file, or several: - is stdin");
	if (arguments->since || arguments->name || arguments->denied)
		return say_error(MG_INVALID, "--since, --name and --denied belong to audit show");
	r = mg_audit_new(&verifying.audit, on_event, &verifying);
	if (r != MG_OK)
		return say_failed(r, NULL);
	verifying.notes = json_array();
	r = verify_files(&verifying, arguments);
	json_decref(verifying.notes);
	mg_audit_free(verifying.audit);
	return r;
}

/* -- show ----------------------------------------------------------------------------------- */

/* "2026-01-31T12:00:00Z" and its NUL, with more behind the point. */
#define TIME_MAX 64

struct showing {
	const struct arguments *arguments;
	char since[TIME_MAX]; /* times as the log has them sort as texts do */
};

/* A duration counts back from now; anything else that begins as a time does is one. */
static int take_since(struct showing *showing)
{
	const char *text = showing->arguments->since;
	struct given span = { 0 };
	struct tm moment;
	time_t then;

	if (!text)
		return 0;
	if (!arguments_lifetime(&span, text)) {
		then = time(NULL) - (time_t)(span.number / 1000);
		gmtime_r(&then, &moment);
		strftime(showing->since, sizeof(showing->since), "%Y-%m-%dT%H:%M:%S", &moment);
		return 0;
	}
	if (strlen(text) < 4 || strlen(text) >= sizeof(showing->since) ||
		strspn(text, "0123456789-:.TZ") != strlen(text))
		return say_error(MG_INVALID,
			"--since '%s' is neither a time such as 2026-01-31T12 nor a duration such "
			"as 15m",
			text);
	strcpy(showing->since, text);
	return 0;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool is_asked_for(const struct showing *showing, const json_t *object)
{
	const struct arguments *arguments = showing->arguments;

	if (strcmp(text_of(object, "time"), showing->since) < 0)
		return false;
	if (arguments->denied && strcmp(text_of(object, "decision"), "deny") != 0)
		return false;
	return !arguments->name || fnmatch(arguments->name, text_of(object, "name"), 0) == 0 ||
		(text_of(object, "to")[0] &&
			fnmatch(arguments->name, text_of(object, "to"), 0) == 0);
}

/* A log is another's words: nothing of them steers a terminal. */
static void print_text(const char *before, const char *text)
{
	owning(freep) char *copy = text[0] ? strdup(text) : NULL;

	if (!copy)
		return;
	say_clean(copy);
	printf("%s%s", before, copy);
}

static void show_decision(const json_t *object)
{
	const json_t *line = json_object_get(object, "line");

	printf("%s  uid %" JSON_INTEGER_FORMAT ", pid %" JSON_INTEGER_FORMAT,
		strcmp(text_of(object, "decision"), "deny") == 0 ? "DENIED" : "allowed",
		json_integer_value(json_object_get(object, "uid")),
		json_integer_value(json_object_get(object, "pid")));
	print_text(", ", text_of(object, "unit"));
	print_text(", listener ", text_of(object, "listener"));
	print_text("  ", text_of(object, "op"));
	print_text(" ", text_of(object, "name"));
	print_text(" -> ", text_of(object, "to"));
	print_text("  by ", text_of(object, "by"));
	print_text(" ", text_of(object, "file"));
	if (line)
		printf(":%" JSON_INTEGER_FORMAT, json_integer_value(line));
	print_text("  token ", text_of(object, "token"));
	print_text("  ALARM: ", text_of(object, "alarm"));
	print_text("  reason: ", text_of(object, "reason"));
}

static void show_record(const json_t *object)
{
	const char *type = text_of(object, "type");

	printf("%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(object, "n")));
	print_text("  ", text_of(object, "time"));
	printf("  ");
	if (strcmp(type, "decision") == 0) {
		show_decision(object);
	} else {
		print_text("", type);
		print_text(" ", text_of(object, "why"));
	}
	putchar('\n');
}

/* What is no record is passed over: a journal holds other lines, too. */
static int show_line(void *context, const char *line, size_t size)
{
	struct showing *showing = context;
	json_t *object = json_loadb(line, size, 0, NULL);
	bool record = object && json_is_integer(json_object_get(object, "n")) &&
		text_of(object, "type")[0];
	int r = 0;

	if (record && is_asked_for(showing, object)) {
		if (showing->arguments->json) {
			json_t *answer = answer_new();

			if (answer)
				json_object_update(answer, object);
			r = answer_print(answer);
		} else {
			show_record(object);
		}
	}
	json_decref(object);
	return r;
}

static int audit_show(const struct arguments *arguments)
{
	struct showing showing = { .arguments = arguments };
	int r;

	if (arguments->audit_key_count > 0)
		return say_error(MG_INVALID, "--key belongs to audit verify");
	r = take_since(&showing);
	if (r == 0 && arguments->operand_count < 2)
		return read_lines("-", show_line, &showing);
	for (size_t i = 1; i < arguments->operand_count && r == 0; i++)
		r = read_lines(arguments->operands[i], show_line, &showing);
	return r;
}

int command_audit(const struct arguments *arguments)
{
	const char *deed = arguments->operands[0];

	if (strcmp(deed, "verify") == 0)
		return audit_verify(arguments);
	if (strcmp(deed, "show") == 0)
		return audit_show(arguments);
	return say_error(MG_INVALID, "there is no 'audit %s': verify or show", deed);
}
