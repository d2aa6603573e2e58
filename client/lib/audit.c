/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/mgclient-audit.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/error.h"
#include "common/audit/audit_chain.h"

_Static_assert(MG_AUDIT_KEY_SIZE == AUDIT_KEY_SIZE, "one is the other");
_Static_assert(MG_AUDIT_HASH_SIZE == AUDIT_HASH_SIZE, "one is the other");
_Static_assert((int)MG_AUDIT_BEGINS_LATER == AUDIT_BEGINS_LATER &&
		(int)MG_AUDIT_NEW_CHAIN == AUDIT_NEW_CHAIN &&
		(int)MG_AUDIT_NEW_KEY == AUDIT_NEW_KEY && (int)MG_AUDIT_NO_END == AUDIT_NO_END &&
		(int)MG_AUDIT_LOST == AUDIT_LOST && (int)MG_AUDIT_GOES_ON == AUDIT_GOES_ON,
	"the numbers inside");

struct mg_audit {
	struct audit_chain chain;
	mg_audit_tell tell;
	void *context;
};

static void pass_on(void *context, enum audit_event event, uint64_t record, uint64_t count)
{
	struct mg_audit *audit = context;

	audit->tell(audit->context, (enum mg_audit_event)event, record, count);
}

int mg_audit_new(struct mg_audit **auditp, mg_audit_tell tell, void *context)
{
	struct mg_audit *audit;

	*auditp = NULL;
	if (sodium_init() < 0)
		return error_say(MG_INTERNAL, "libsodium does not start");
	audit = calloc(1, sizeof(*audit));
	if (!audit)
		return error_say(MG_LIMIT, "out of memory");
	audit_chain_init(&audit->chain);
	audit->tell = tell;
	audit->context = context;
	audit->chain.tell = tell ? pass_on : NULL;
	audit->chain.context = audit;
	*auditp = audit;
	return MG_OK;
}

void mg_audit_free(struct mg_audit *audit)
{
	free(audit);
}

int mg_audit_trust(struct mg_audit *audit, const unsigned char key[MG_AUDIT_KEY_SIZE])
{
	return audit_chain_trust(&audit->chain, key)
		? MG_OK
		: error_say(MG_LIMIT, "at most %d keys are trusted", AUDIT_TRUSTED_MAX);
}

void mg_audit_expect(
	struct mg_audit *audit, uint64_t record, const unsigned char hash[MG_AUDIT_HASH_SIZE])
{
	audit->chain.expecting = true;
	audit->chain.expected.number = record;
	memcpy(audit->chain.expected.hash, hash, MG_AUDIT_HASH_SIZE);
}

void mg_audit_begin_file(struct mg_audit *audit)
{
	audit_chain_begin_file(&audit->chain);
}

int mg_audit_take(struct mg_audit *audit, const char *line, size_t size)
{
	bool whole = size > 0 && line[size - 1] == '\n';

	if (audit_chain_take(&audit->chain, span_of(line, whole ? size - 1 : size), whole) == 0)
		return MG_OK;
	return error_say(MG_INTEGRITY, "%s", audit->chain.fault);
}

int mg_audit_end(struct mg_audit *audit, struct mg_audit_result *result)
{
	const struct audit_chain *chain = &audit->chain;

	if (audit_chain_end(&audit->chain) < 0)
		return error_say(MG_INTEGRITY, "%s", chain->fault);
	*result = (struct mg_audit_result){ .first = chain->first,
		.last = chain->head.number,
		.records = chain->records,
		.last_signed = chain->last_signed };
	memcpy(result->key, chain->key, sizeof(result->key));
	return MG_OK;
}
