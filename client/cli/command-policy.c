/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/name.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"
#include "client/cli/token.h"

/* -- check --------------------------------------------------------------------------------- */

/* What memguardd says is a line. */
#define SAID_MAX 1024

/* The daemon's program reads policies, so that both read them alike; none has to run. */
static const char *program(void)
{
	const char *named = getenv("MGCTL_MEMGUARDD");

	return named && named[0] ? named : MEMGUARDD_PROGRAM;
}

/* Starts it with both of its outputs at `end`. Returns 0 or an errno. */
static int start(const char *option, int end, pid_t *child)
{
	char *const arguments[] = { (char[]){ "memguardd" }, (char *)(uintptr_t)option, NULL };
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return r;
	r = posix_spawn_file_actions_adddup2(&actions, end, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, end, STDERR_FILENO);
	if (r == 0)
		r = posix_spawn(child, program(), &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

/* All that comes; what does not fit is read and dropped. */
static void hear(int fd, char said[static SAID_MAX])
{
	char rest[256];
	size_t used = 0;
	ssize_t got;

	do {
		bool full = used == SAID_MAX - 1;

		got = read(
			fd, full ? rest : said + used, full ? sizeof(rest) : SAID_MAX - 1 - used);
		if (got > 0 && !full)
			used += (size_t)got;
	} while (got > 0 || (got < 0 && errno == EINTR));
	said[used] = '\0';
	said[strcspn(said, "\n")] = '\0';
}

/* Returns its wait status, or a negative errno. */
static int run(const char *option, char said[static SAID_MAX])
{
	int ends[2], status, r;
	pid_t child;

	said[0] = '\0';
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	r = start(option, ends[1], &child);
	close(ends[1]);
	if (r == 0)
		hear(ends[0], said);
	close(ends[0]);
	if (r != 0)
		return -r;
	while ((r = waitpid(child, &status, 0)) < 0 && errno == EINTR)
		;
	return r < 0 ? -errno : status;
}

/* "PATH: 12 rules", or that there are none. */
static int report_check(const struct arguments *arguments, char *said)
{
	char *colon = strrchr(said, ':');
	json_t *answer;

	if (!arguments->json) {
		printf("%s\n", said);
		return 0;
	}
	answer = answer_new();
	if (colon) {
		*colon = '\0';
		answer_text(answer, "path", said);
	}
	answer_number(answer, "rules", colon ? strtoull(colon + 1, NULL, 10) : 0);
	return answer_print(answer);
}

/* As sysexits.h has it: something is wrong with what was read. */
#define WRONG 78

static int policy_check(const struct arguments *arguments)
{
	static const char prefix[] = "memguardd: ";
	const char *file = arguments->operand_count > 1 ? arguments->operands[1] : NULL;
	owning(freep) char *option = NULL;
	char said[SAID_MAX];
	char *words = said;
	int r;

	if (asprintf(&option, "--check-policy%s%s", file ? "=" : "", file ? file : "") < 0) {
		option = NULL;
		return say_error(MG_LIMIT, "out of memory");
	}
	r = run(option, said);
	if (r < 0)
		return say_error(MG_INTERNAL, "%s: %s", program(), strerror(-r));
	say_clean(said);
	if (strncmp(said, prefix, strlen(prefix)) == 0)
		words += strlen(prefix);
	if (WIFEXITED(r) && WEXITSTATUS(r) == 0)
		return report_check(arguments, words);
	if (WIFEXITED(r) && WEXITSTATUS(r) == WRONG)
		return say_error(MG_NO, "%s", words);
	return say_error(MG_INTERNAL, "%s: %s", program(), words[0] ? words : "it failed");
}

/* -- explain ------------------------------------------------------------------------------- */

/* Selectors as the daemon takes them: users and groups by number. */
struct wanted {
	char *words[MG_AS_MAX]; /* owned */
	size_t count;
};

static void wanted_finish(struct wanted *wanted)
{
	for (size_t i = 0; i < wanted->count; i++)
		free(wanted->words[i]);
}

static int add(struct wanted *wanted, char *word)
{
	if (!word)
		return say_error(MG_LIMIT, "out of memory");
	if (wanted->count == MG_AS_MAX) {
		free(word);
		return say_error(MG_INVALID, "--as: more than %d selectors", MG_AS_MAX);
	}
	wanted->words[wanted->count++] = word;
	return 0;
}

static int add_id(struct wanted *wanted, const char *kind, unsigned long id)
{
	char *word;

	return add(wanted, asprintf(&word, "%s:%lu", kind, id) < 0 ? NULL : word);
}

static bool is_number(const char *text)
{
	return text[0] && text[strspn(text, "0123456789")] == '\0';
}

/* With the groups that a login would give it. */
static int add_account(struct wanted *wanted, const char *name)
{
	const struct passwd *user = getpwnam(name);
	gid_t groups[MG_AS_MAX];
	int count = MG_AS_MAX, r;

	if (!user)
		return say_error(MG_INVALID, "--as: there is no user '%s'", name);
	r = add_id(wanted, "uid", (unsigned long)user->pw_uid);
	if (getgrouplist(name, user->pw_gid, groups, &count) < 0)
		return say_error(
			MG_INVALID, "--as: '%s' is in more than %d groups", name, MG_AS_MAX - 1);
	for (int i = 0; i < count && r == 0; i++)
		r = add_id(wanted, "gid", (unsigned long)groups[i]);
	return r;
}

static int add_group(struct wanted *wanted, const char *name)
{
	const struct group *group = getgrnam(name);

	if (!group)
		return say_error(MG_INVALID, "--as: there is no group '%s'", name);
	return add_id(wanted, "gid", (unsigned long)group->gr_gid);
}

static int add_selector(struct wanted *wanted, const char *word)
{
	const char *colon = strchr(word, ':');
	size_t size = colon ? (size_t)(colon - word) : 0;
	bool user = strncmp(word, "user:", 5) == 0 || (size == 3 && strncmp(word, "uid", 3) == 0);
	bool group = strncmp(word, "group:", 6) == 0 || (size == 3 && strncmp(word, "gid", 3) == 0);

	if (user && !is_number(colon + 1))
		return add_account(wanted, colon + 1);
	if (group && !is_number(colon + 1))
		return add_group(wanted, colon + 1);
	return add(wanted, strdup(word));
}

/* Each --as holds one or several, as a line of a policy does. */
static int take_as(struct wanted *wanted, const struct arguments *arguments)
{
	int r = 0;

	for (size_t i = 0; i < arguments->as_count && r == 0; i++) {
		owning(freep) char *text = strdup(arguments->as[i]);
		char *rest, *word = text ? strtok_r(text, " ", &rest) : NULL;

		if (!text)
			return say_error(MG_LIMIT, "out of memory");
		if (!word)
			return say_error(MG_INVALID, "--as: says nobody");
		for (; word && r == 0; word = strtok_r(NULL, " ", &rest))
			r = add_selector(wanted, word);
	}
	return r;
}

static const struct {
	const char *word; /* of JSON */
	const char *words;
} causes[] = {
	[MG_BY_NOTHING] = { "nothing", "no rule allows it" },
	[MG_BY_DENY] = { "deny", "a rule denies it" },
	[MG_BY_PRIVILEGE] = { "privilege", "root and the daemon's own user may do everything" },
	[MG_BY_ALLOW] = { "allow", "a rule allows it" },
	[MG_BY_OWNER] = { "owner", "the namespace's owner may do everything in it" },
	[MG_BY_TOKEN] = { "token", "the token that is shown allows it, and its issuer may do it" },
	[MG_BY_SILENCE] = { "no_reason", "it may be done with a reason only (--reason)" },
	[MG_BY_OWN_SPACE] = { "own_space", "everybody may do everything in a space of one's own" },
};

static bool is_known(enum mg_cause cause)
{
	return (size_t)cause < sizeof(causes) / sizeof(causes[0]) && causes[cause].word;
}

static int explain_object(const struct arguments *arguments, const struct mg_verdict *verdict)
{
	json_t *answer = answer_new();

	answer_text(answer, "operation", arguments->operands[1]);
	answer_text(answer, "name", arguments->operands[2]);
	answer_flag(answer, "allowed", verdict->allowed);
	if (is_known(verdict->cause))
		answer_text(answer, "cause", causes[verdict->cause].word);
	if (verdict->file[0]) {
		answer_text(answer, "file", verdict->file);
		answer_number(answer, "line", verdict->line);
	}
	if (token_fault_word(verdict->token_fault))
		answer_text(answer, "token_fault", token_fault_word(verdict->token_fault));
	if (verdict->rule[0]) {
		answer_text(answer, "section", verdict->section);
		answer_text(answer, "rule", verdict->rule);
	}
	return answer_print(answer);
}

static void explain_list(const struct mg_verdict *verdict)
{
	answer_row("verdict", "%s", verdict->allowed ? "allowed" : "denied");
	if (is_known(verdict->cause))
		answer_row("why", "%s", causes[verdict->cause].words);
	if (verdict->file[0])
		answer_row("line", "%s:%u", verdict->file, (unsigned)verdict->line);
	if (token_fault_words(verdict->token_fault))
		answer_row("token", "%s", token_fault_words(verdict->token_fault));
	if (verdict->rule[0]) {
		answer_row("missing", "%s", verdict->section);
		answer_row("", "%s", verdict->rule);
	}
}

static int explain(const struct arguments *arguments, const struct wanted *wanted)
{
	owning(freep) char *name = name_from_shell(arguments->operands[2]);
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	struct mg_verdict verdict;
	int r = name ? connect_daemon(&client, arguments) : say_error(MG_LIMIT, "out of memory");

	if (r != 0)
		return r;
	r = mg_explain(client, arguments->operands[1], name, (const char *const *)wanted->words,
		wanted->count, &verdict);
	if (r != MG_OK)
		return say_failed(r, NULL);
	if (arguments->json)
		r = explain_object(arguments, &verdict);
	else
		explain_list(&verdict);
	return r == 0 && !verdict.allowed ? MG_DENIED : r;
}

static int policy_explain(const struct arguments *arguments)
{
	struct wanted wanted = { 0 };
	int r = take_as(&wanted, arguments);

	if (r == 0)
		r = explain(arguments, &wanted);
	wanted_finish(&wanted);
	return r;
}

/* -- both ---------------------------------------------------------------------------------- */

int command_policy(const struct arguments *arguments)
{
	const char *deed = arguments->operands[0];

	if (strcmp(deed, "check") == 0) {
		if (arguments->operand_count > 2)
			return say_error(MG_INVALID, "policy check takes one file or folder");
		if (arguments->as_count > 0)
			return say_error(MG_INVALID, "--as belongs to policy explain");
		return policy_check(arguments);
	}
	if (strcmp(deed, "explain") != 0)
		return say_error(MG_INVALID, "there is no 'policy %s': check or explain", deed);
	if (arguments->operand_count != 3)
		return say_error(MG_INVALID, "policy explain takes an operation and a name");
	return policy_explain(arguments);
}
