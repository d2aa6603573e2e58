/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>

#include "common/bytes.h"
#include "daemon/request/upload.h"

static void digest_span(crypto_generichash_state *state, struct span span)
{
	uint8_t size[8];

	bytes_put64(size, span.size);
	crypto_generichash_update(state, size, sizeof(size));
	crypto_generichash_update(state, span.data, span.size);
}

/*
 * How a lock's key was made, and not the key: whoever knew what the rest is could try passphrases
 * by it.
 */
static void digest_lock(crypto_generichash_state *state, const struct request *request)
{
	uint8_t cost[16];

	bytes_put64(cost, request->opslimit);
	bytes_put64(cost + 8, request->memlimit);
	digest_span(state, request->salt);
	crypto_generichash_update(state, cost, sizeof(cost));
}

void digest_begin(crypto_generichash_state *state, const struct request *request, struct span name)
{
	const struct lifetime *lifetime = &request->lifetime;
	uint8_t fixed[64] = { (uint8_t)request->verb, (uint8_t)request->charset,
		request->conditions.create_only, request->conditions.compare, request->all,
		request->freeze, lifetime->session, request->rotation.asked };
	uint8_t grace[8];

	bytes_put64(grace, request->rotation.grace_ms);
	bytes_put64(fixed + 8, request->conditions.version);
	bytes_put64(fixed + 16, request->size);
	bytes_put64(fixed + 24, request->tags.count);
	bytes_put64(fixed + 32, lifetime->ttl_ms);
	bytes_put64(fixed + 40, lifetime->idle_ms);
	bytes_put32(fixed + 48, lifetime->reads);
	bytes_put32(fixed + 52, lifetime->pid);
	bytes_put64(fixed + 56, request->secrets);
	crypto_generichash_init(state, NULL, 0, REPEAT_DIGEST_SIZE);
	crypto_generichash_update(state, fixed, sizeof(fixed));
	digest_span(state, name);
	if (request->to.size > 0)
		digest_span(state, request->to);
	if (request->rotation.asked)
		crypto_generichash_update(state, grace, sizeof(grace));
	if (request->salt.size > 0)
		digest_lock(state, request);
	for (size_t i = 0; i < request->tags.count; i++) {
		digest_span(state, request->tags.tag[i].key);
		digest_span(state, request->tags.tag[i].value);
	}
}

void request_digest(
	uint8_t digest[static REPEAT_DIGEST_SIZE], const struct request *request, struct span name)
{
	crypto_generichash_state state;

	digest_begin(&state, request, name);
	crypto_generichash_final(&state, digest, REPEAT_DIGEST_SIZE);
}
