/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/quota.h"

#include <inttypes.h>
#include <stdio.h>

bool quota_holds(const struct transfers *transfers)
{
	return transfers->user != NULL;
}

/* What another one has is not told. */
static void say_of_another(char *words, size_t size, const struct vault_refusal *refusal)
{
	snprintf(words, size, "the name's owner has as much as %s allows: %" PRIu64 "%s",
		refusal->quota == QUOTA_COUNT ? "quota-count" : "quota-bytes", refusal->most,
		refusal->quota == QUOTA_COUNT ? "" : " bytes");
}

static void say(char *words, size_t size, const struct vault_refusal *refusal)
{
	if (refusal->quota == QUOTA_COUNT)
		snprintf(words, size,
			"this user has %" PRIu64 " secret%s, and quota-count allows %" PRIu64,
			refusal->used, refusal->used == 1 ? "" : "s", refusal->most);
	else
		snprintf(words, size,
			"this user has %" PRIu64 " bytes, this would be %" PRIu64
			" more, and quota-bytes allows %" PRIu64,
			refusal->used, refusal->more, refusal->most);
}

const char *quota_words(struct daemon *daemon, uint32_t uid)
{
	struct vault_refusal refusal = vault_refusal(daemon->vault);

	if (refusal.quota == QUOTA_NONE)
		return NULL;
	if (refusal.owner == uid)
		say(daemon->quota_words, sizeof(daemon->quota_words), &refusal);
	else
		say_of_another(daemon->quota_words, sizeof(daemon->quota_words), &refusal);
	return daemon->quota_words;
}
