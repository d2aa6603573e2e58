/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/token.h"

#include <mgclient-token.h>
#include <stdlib.h>

#include "client/cli/answer.h"
#include "client/cli/output.h"
#include "client/cli/say.h"

/* The text of the token goes where a value would: nothing else holds it. */
int token_print(const struct arguments *arguments, const char *name, const struct mg_secret *token)
{
	struct output output = { 0 };
	int r = output_open(&output, arguments);

	if (r != 0)
		return r;
	if (output_is_json(&output)) {
		json_t *answer = answer_new();
		char *head;

		answer_text(answer, "name", name);
		head = answer_string(answer);
		r = head ? output_json(&output, head) : say_error(MG_LIMIT, "out of memory");
		free(head);
	}
	if (r == 0)
		r = output_write(&output, mg_secret_data(token), mg_secret_size(token));
	if (r == 0)
		return output_keep(&output);
	output_drop(&output);
	return r;
}

int token_read(struct mg_secret **tokenp, int fd, const char *whence)
{
	int r = mg_secret_from_fd_until(tokenp, fd, '\n', MG_TOKEN_SIZE, MG_MEMORY_PREFER_LOCK);

	if (r == MG_LIMIT)
		return say_error(MG_INVALID, "%s: there is more than a token", whence);
	if (r != MG_OK && r != MG_NO)
		return say_error(MG_INVALID, "%s: %s", whence, mg_last_error());
	return *tokenp ? 0 : say_error(MG_INVALID, "%s: there is no token", whence);
}

static const struct {
	const char *word;
	const char *words;
} faults[] = {
	[MG_TOKEN_COUNTS] = { NULL, NULL },
	[MG_TOKEN_ENDED] = { "ended", "it has ended" },
	[MG_TOKEN_REVOKED] = { "revoked", "it was revoked" },
	[MG_TOKEN_USED_UP] = { "used_up", "it was used as often as it might be" },
	[MG_TOKEN_OTHER_UID] = { "other_uid", "it is for another user" },
	[MG_TOKEN_OTHER_UNIT] = { "other_unit", "it is for another unit" },
	[MG_TOKEN_UNKNOWN] = { "unknown", "there is none of that name" },
	[MG_TOKEN_NO_GRANT] = { "no_grant", "it does not allow this" },
	[MG_TOKEN_ISSUER] = { "issuer", "its issuer may not do it" },
};

const char *token_fault_word(enum mg_token_fault fault)
{
	return (size_t)fault < sizeof(faults) / sizeof(faults[0]) ? faults[fault].word : NULL;
}

const char *token_fault_words(enum mg_token_fault fault)
{
	return (size_t)fault < sizeof(faults) / sizeof(faults[0]) ? faults[fault].words : NULL;
}
