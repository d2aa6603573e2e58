/* SPDX-License-Identifier: Apache-2.0 */
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <time.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/say.h"
#include "client/cli/token.h"

/* Unlimited, as the kernel counts it. */
#define UNLIMITED UINT64_MAX

static const char *backend_name(enum mg_backend backend)
{
	switch (backend) {
	case MG_BACKEND_SECRET:
		return "memfd_secret";
	case MG_BACKEND_LOCKED:
		return "mlock";
	default:
		return "not locked";
	}
}

/* -- status -------------------------------------------------------------------------------- */

static const char *write_hex(char out[static 65], const unsigned char bytes[static 32])
{
	for (size_t i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	return out;
}

static void status_audit_object(json_t *answer, const struct mg_state *state)
{
	char digits[65];

	if (!state->audit)
		return;
	answer_text(answer, "audit_key", write_hex(digits, state->audit_key));
	if (!state->counts)
		return;
	answer_number(answer, "audit_record", state->audit_record);
	answer_text(answer, "audit_hash", write_hex(digits, state->audit_hash));
	answer_number(answer, "audit_lost", state->audit_lost);
}

static int status_object(const struct mg_state *state, const char *endpoint)
{
	json_t *answer = answer_new();

	answer_text(answer, "version", state->version);
	answer_number(answer, "pid", state->pid);
	answer_number(answer, "uptime_ms", state->uptime_ms);
	answer_text(answer, "memory", backend_name(state->backend));
	answer_text(answer, "advice", state->advice);
	answer_number(answer, "locked", state->locked);
	answer_flag(answer, "locked_stack", state->locked_stack);
	answer_flag(answer, "sealed", state->sealed);
	answer_flag(answer, "dumpable", state->dumpable);
	answer_number(answer, "core_limit", state->core_limit);
	answer_text(answer, "cipher", state->cipher);
	answer_number(answer, "rekey_ms", state->rekey_ms);
	answer_number(answer, "sessions", state->sessions);
	answer_flag(answer, "vault_locked", state->vault_locked);
	/* Of what a locked vault holds not all can be told. */
	if (state->counts && !state->vault_locked) {
		answer_number(answer, "secrets", state->secrets);
		answer_number(answer, "ledger", state->ledger);
	}
	if (state->counts) {
		answer_number(answer, "broken", state->broken);
		answer_number(answer, "broken_formers", state->broken_formers);
		answer_number(answer, "broken_consumed", state->broken_consumed);
		answer_number(answer, "broken_streams", state->broken_streams);
		answer_number(answer, "broken_answers", state->broken_answers);
		answer_number(answer, "broken_tokens", state->broken_tokens);
		answer_number(answer, "tokens", state->tokens);
		answer_number(answer, "failed_upgrades", state->failed_upgrades);
		answer_text(answer, "upgrade_fault", state->upgrade_fault);
	}
	status_audit_object(answer, state);
	answer_number(answer, "max_value", state->max_value);
	answer_flag(answer, "pidfd", state->pidfd);
	answer_number(answer, "keeper", state->keeper);
	answer_flag(answer, "upgrading", state->upgrading);
	answer_text(answer, "endpoint", endpoint);
	return answer_print(answer);
}

static void status_memory(const struct mg_state *state)
{
	char words[ANSWER_WORDS_MAX];

	if (state->backend == MG_BACKEND_PLAIN)
		answer_row("memory", "not locked: keys may reach the swap");
	else
		answer_row("memory", "%s, %s locked", backend_name(state->backend),
			answer_bytes(words, state->locked));
	if (state->advice[0])
		answer_row("", "%s", state->advice);
	answer_row("stack",
		state->locked_stack ? "keys are used on a stack of the same memory"
				    : "keys are used on the ordinary stack, which is wiped");
	answer_row("mappings",
		state->sealed ? "sealed: nobody can unmap or open them"
			      : "not sealed (mseal is missing here, or refused)");
}

static void status_process(const struct mg_state *state)
{
	char words[ANSWER_WORDS_MAX];
	const char *core = state->core_limit == 0 ? "no core file" : "core files up to ";
	const char *limit = "";

	if (state->core_limit == UNLIMITED)
		core = "core files of any size";
	else if (state->core_limit > 0)
		limit = answer_bytes(words, state->core_limit);
	answer_row(
		"process", "%s, %s%s", state->dumpable ? "dumpable" : "not dumpable", core, limit);
	answer_row("callers",
		state->pidfd ? "checked again at every read" : "checked when they connect");
}

/* What was not what was written when the daemon took over. */
static void status_broken(const struct mg_state *state)
{
	const struct {
		uint64_t count;
		const char *one, *many;
	} rows[] = {
		{ state->broken, "secret, which is lost", "secrets, which are lost" },
		{ state->broken_formers, "version in its grace, which is lost",
			"versions in their grace, which are lost" },
		{ state->broken_consumed, "consumed name, which is as if never stored",
			"consumed names, which are as if never stored" },
		{ state->broken_streams, "part of a stream, which is lost",
			"parts of streams, which are lost" },
		{ state->broken_answers, "remembered answer: a repeat is made anew",
			"remembered answers: a repeat is made anew" },
		{ state->broken_tokens, "token, which is lost", "tokens, which are lost" },
	};
	const char *title = "broken";

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].count == 0)
			continue;
		answer_row(title, "%" PRIu64 " %s", rows[i].count,
			rows[i].count == 1 ? rows[i].one : rows[i].many);
		title = "";
	}
}

static void status_counts(const struct mg_state *state)
{
	char words[ANSWER_WORDS_MAX];

	answer_row("sessions", "%" PRIu64, state->sessions);
	if (state->vault_locked)
		answer_row("secrets", "locked, and not counted: mgctl unlock");
	else if (state->counts)
		answer_row("secrets", "%" PRIu64 ", %s sealed", state->secrets,
			answer_bytes(words, state->ledger));
	else
		answer_row("secrets", "their number is told to the daemon's own user");
	if (state->counts && state->tokens > 0)
		answer_row("tokens", "%" PRIu64, state->tokens);
	status_broken(state);
	answer_row("max value", "%s", answer_bytes(words, state->max_value));
}

static void status_keeper(const struct mg_state *state)
{
	if (state->keeper > 0)
		answer_row("keeper", "pid %" PRIu32, state->keeper);
	else
		answer_row("keeper", "none: secrets end with the process");
	if (state->upgrading)
		answer_row("upgrades", "one is under way");
	if (state->failed_upgrades > 0)
		answer_row(state->upgrading ? "" : "upgrades",
			"%" PRIu64 " failed, the last one: %s", state->failed_upgrades,
			state->upgrade_fault);
}

static void status_audit(const struct mg_state *state)
{
	char digits[65];

	if (!state->audit)
		return;
	answer_row("audit", "signed with key %s", write_hex(digits, state->audit_key));
	if (state->counts)
		answer_row("", "%" PRIu64 " record%s", state->audit_record,
			state->audit_record == 1 ? "" : "s");
	if (state->audit_lost > 0)
		answer_row("", "%" PRIu64 " could not be written, and %s lost", state->audit_lost,
			state->audit_lost == 1 ? "is" : "are");
}

static void status_list(const struct mg_state *state, const char *endpoint)
{
	char words[ANSWER_WORDS_MAX];

	answer_row("daemon", "memguardd %s, pid %" PRIu32 ", up %s", state->version, state->pid,
		answer_span(words, state->uptime_ms));
	status_keeper(state);
	answer_row("endpoint", "%s", endpoint);
	status_memory(state);
	status_process(state);
	answer_row("channel", "%s", state->cipher);
	answer_row("masters", "masked anew every %" PRIu32 " ms", state->rekey_ms);
	status_counts(state);
	status_audit(state);
}

int command_status(const struct arguments *arguments)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	struct mg_state state;
	int r = connect_ready(&client, arguments);

	if (r != 0)
		return r;
	r = mg_status_of(client, &state);
	if (r != MG_OK)
		return say_failed(r, NULL);
	if (arguments->json)
		return status_object(&state, mg_endpoint(client));
	status_list(&state, mg_endpoint(client));
	return 0;
}

/* -- ping ---------------------------------------------------------------------------------- */

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int command_ping(const struct arguments *arguments)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	int r = connect_ready(&client, arguments);
	int64_t begin = now_us();
	json_t *answer;

	if (r != 0)
		return r;
	r = mg_ping(client);
	if (r != MG_OK)
		return say_failed(r, NULL);
	if (!arguments->json) {
		printf("%s answers in %.2f ms\n", mg_endpoint(client),
			(double)(now_us() - begin) / 1000.0);
		return 0;
	}
	answer = answer_new();
	answer_text(answer, "endpoint", mg_endpoint(client));
	answer_add(answer, "time_us", json_integer(now_us() - begin));
	return answer_print(answer);
}

/* -- whoami -------------------------------------------------------------------------------- */

/* What it has, and what it may have: "secrets", "quota_count", ... A limit that there is none of is
 * 0. */
static void whoami_counts(json_t *answer, const struct mg_caller *caller)
{
	const struct {
		const char *key;
		uint64_t number;
	} members[] = {
		{ "secrets", caller->secrets },
		{ "bytes", caller->bytes },
		{ "quota_count", caller->quota_count },
		{ "quota_bytes", caller->quota_bytes },
		{ "quota_sessions", caller->quota_sessions },
		{ "quota_inflight", caller->quota_inflight },
		{ "quota_handshakes", caller->quota_handshakes },
	};

	for (size_t i = 0; caller->counts && i < sizeof(members) / sizeof(members[0]); i++)
		answer_number(answer, members[i].key, members[i].number);
}

static int whoami_object(const struct mg_caller *caller)
{
	json_t *answer = answer_new();
	json_t *groups = json_array();

	for (size_t i = 0; i < caller->group_count; i++)
		answer_append(groups, json_integer(caller->groups[i]));
	answer_number(answer, "uid", caller->uid);
	answer_number(answer, "gid", caller->gid);
	answer_number(answer, "pid", caller->pid);
	answer_add(answer, "groups", groups);
	answer_text(answer, "label", caller->label);
	answer_flag(answer, "pidfd", caller->pidfd);
	answer_flag(answer, "privileged", caller->privileged);
	answer_text(answer, "unit", caller->unit);
	answer_text(answer, "slice", caller->slice);
	answer_text(answer, "userunit", caller->userunit);
	answer_flag(answer, "placed", caller->placed);
	answer_text(answer, "listener", caller->listener);
	answer_text(answer, "token", caller->token);
	if (token_fault_word(caller->token_fault))
		answer_text(answer, "token_fault", token_fault_word(caller->token_fault));
	whoami_counts(answer, caller);
	return answer_print(answer);
}

static void print_group(uint32_t gid)
{
	const struct group *group = getgrgid(gid);

	if (group)
		printf("%" PRIu32 " (%s)", gid, group->gr_name);
	else
		printf("%" PRIu32, gid);
}

static void whoami_place(const struct mg_caller *caller)
{
	const struct {
		const char *title, *text;
	} rows[] = {
		{ "unit", caller->unit },
		{ "slice", caller->slice },
		{ "userunit", caller->userunit },
		{ "listener", caller->listener },
		{ "token", caller->token },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].text[0])
			answer_row(rows[i].title, "%s", rows[i].text);
	if (token_fault_words(caller->token_fault))
		answer_row("", "%s", token_fault_words(caller->token_fault));
	if (!caller->placed)
		answer_row("unit", "not known");
}

static void whoami_stored(const struct mg_caller *caller)
{
	char secrets[ANSWER_WORDS_MAX];
	char bytes[ANSWER_WORDS_MAX];
	char most[ANSWER_WORDS_MAX];

	if (!caller->counts)
		return;
	answer_row("stored", "%s, %s", answer_secrets(secrets, caller->secrets),
		answer_bytes(bytes, caller->bytes));
	if (caller->quota_count > 0)
		answer_row(
			"", "at most %s (quota-count)", answer_secrets(most, caller->quota_count));
	if (caller->quota_bytes > 0)
		answer_row("", "at most %s (quota-bytes)", answer_bytes(most, caller->quota_bytes));
}

static void whoami_list(const struct mg_caller *caller)
{
	const struct passwd *user = getpwuid(caller->uid);

	if (user)
		answer_row("user", "%" PRIu32 " (%s)", caller->uid, user->pw_name);
	else
		answer_row("user", "%" PRIu32, caller->uid);
	printf("%-10s  ", "groups");
	print_group(caller->gid);
	for (size_t i = 0; i < caller->group_count; i++) {
		if (caller->groups[i] == caller->gid)
			continue;
		fputs(", ", stdout);
		print_group(caller->groups[i]);
	}
	putchar('\n');
	answer_row("process", "%" PRIu32 ", %s", caller->pid,
		caller->pidfd ? "held by a descriptor" : "known by its number");
	if (caller->label[0])
		answer_row("label", "%s", caller->label);
	whoami_place(caller);
	whoami_stored(caller);
	answer_row("rights",
		caller->privileged
			? "all"
			: "your own space, ~/, and what policy says: mgctl policy explain");
}

int command_whoami(const struct arguments *arguments)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	struct mg_caller caller;
	int r = connect_daemon(&client, arguments);

	if (r != 0)
		return r;
	r = mg_whoami(client, &caller);
	if (r != MG_OK)
		return say_failed(r, NULL);
	if (arguments->json)
		return whoami_object(&caller);
	whoami_list(&caller);
	return 0;
}
