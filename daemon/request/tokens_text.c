/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/tokens_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/wire/name.h"
#include "daemon/policy/policy.h"

#define TEXT_VERSION 1

#define TEXT_PINNED 1
#define TEXT_LOST 2
#define TEXT_OF_UID 4
#define TEXT_WRAP 8    /* two numbers follow */
#define TEXT_SHARES 16 /* a group of the issuer's follows that others have, too */
#define TEXT_FLAGS 31  /* all of them */

/* -- writing ------------------------------------------------------------------------------- */

struct writing {
	uint8_t *bytes;
	size_t used;
	bool full;
};

static uint8_t *take(struct writing *writing, size_t size)
{
	uint8_t *at = writing->bytes + writing->used;

	if (writing->full || VAULT_TOKEN_TEXT_MAX - writing->used < size) {
		writing->full = true;
		return NULL;
	}
	writing->used += size;
	return at;
}

static void put_8(struct writing *writing, uint8_t value)
{
	uint8_t *at = take(writing, 1);

	if (at)
		*at = value;
}

static void put_32(struct writing *writing, uint32_t value)
{
	uint8_t *at = take(writing, sizeof(value));

	if (at)
		bytes_put32(at, value);
}

static void put_64(struct writing *writing, uint64_t value)
{
	uint8_t *at = take(writing, sizeof(value));

	if (at)
		bytes_put64(at, value);
}

static void put_text(struct writing *writing, struct span text)
{
	uint8_t *at = text.size <= UINT16_MAX ? take(writing, sizeof(uint16_t) + text.size) : NULL;

	if (!at) {
		writing->full = true;
		return;
	}
	bytes_put16(at, (uint16_t)text.size);
	if (text.size > 0)
		memcpy(at + sizeof(uint16_t), text.data, text.size);
}

static void put_string(struct writing *writing, const char *text)
{
	put_text(writing, span_text(text ? text : ""));
}

/* What is wrong with which grant; lives until the next one that is. */
static const char *say_fault(const struct grant *grant, const char *fault)
{
	static char words[2 * (NAME_FILED_MAX + MESSAGE_OPERATIONS_MAX)];
	const struct span parts[] = { span_text("'"), grant->operations, span_text(":"),
		grant->glob, span_text("' "), span_text(fault) };
	size_t used = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		size_t room = sizeof(words) - 1 - used;
		size_t size = parts[i].size < room ? parts[i].size : room;

		memcpy(words + used, parts[i].data, size);
		used += size;
	}
	words[used] = '\0';
	return words;
}

static struct span file_glob(char filed[static NAME_FILED_MAX], struct span glob, uint32_t uid)
{
	if (glob.size > NAME_MAX_SIZE || !span_starts_with(glob, span_text("~/")))
		return glob;
	return span_of(filed, name_file(filed, glob, uid));
}

/* "~/" in a glob is the issuer's own space. What is wrong with the grant, or NULL. */
static const char *put_grant(struct writing *writing, const struct grant *grant, uint32_t uid)
{
	char filed[NAME_FILED_MAX], buffer[GLOB_MAX];
	struct policy_grant compiled;
	struct span glob = file_glob(filed, grant->glob, uid);
	const char *fault;

	if (grant->glob.size > NAME_MAX_SIZE)
		return "a glob has at most 255 bytes";
	fault = policy_grant_read(&compiled, grant->operations, glob, buffer);
	put_text(writing, grant->operations);
	put_text(writing, glob);
	return fault ? say_fault(grant, fault) : NULL;
}

static void put_issuer(struct writing *writing, const struct policy_subject *issuer)
{
	put_string(writing, issuer->label);
	put_string(writing, issuer->unit);
	put_string(writing, issuer->slice);
	put_string(writing, issuer->userunit);
	put_string(writing, issuer->listener);
	put_32(writing, (uint32_t)issuer->group_count);
	for (size_t i = 0; i < issuer->group_count; i++)
		put_32(writing, issuer->groups[i]);
}

static const char *put_all(struct writing *writing, const struct token_wish *wish, int64_t now_ms)
{
	const struct policy_subject issuer = policy_subject_of(wish->issuer);
	const struct request *request = wish->request;
	const char *fault = NULL;

	put_8(writing, TEXT_VERSION);
	put_8(writing,
		(uint8_t)((issuer.pinned ? TEXT_PINNED : 0) | (issuer.lost ? TEXT_LOST : 0) |
			(request->of_uid ? TEXT_OF_UID : 0) | (wish->secret != 0 ? TEXT_WRAP : 0) |
			(issuer.shares_group ? TEXT_SHARES : 0)));
	put_32(writing, (uint32_t)issuer.uid);
	put_32(writing, (uint32_t)issuer.gid);
	put_32(writing, request->uid);
	put_64(writing, (uint64_t)now_ms);
	put_32(writing, tokens_uses(wish));
	if (wish->secret != 0) {
		put_64(writing, wish->secret);
		put_64(writing, wish->version);
	}
	if (issuer.shares_group)
		put_32(writing, (uint32_t)issuer.shared_group);
	put_text(writing, wish->name);
	put_text(writing, request->unit);
	put_issuer(writing, &issuer);
	put_32(writing, (uint32_t)request->grants.count);
	for (size_t i = 0; i < request->grants.count && !fault; i++)
		fault = put_grant(writing, &request->grants.grant[i], (uint32_t)issuer.uid);
	return fault;
}

ssize_t tokens_text_write(
	const struct token_wish *wish, int64_t now_ms, uint8_t **textp, const char **wordsp)
{
	struct writing writing = { .bytes = malloc(VAULT_TOKEN_TEXT_MAX) };

	if (!writing.bytes)
		return -ENOMEM;
	*wordsp = put_all(&writing, wish, now_ms);
	*textp = writing.bytes;
	if (*wordsp || writing.full) {
		free(writing.bytes);
		*textp = NULL;
	}
	if (*wordsp)
		return -EINVAL;
	if (writing.full)
		*wordsp = "a token can say no more than 16 KiB";
	return writing.full ? -E2BIG : (ssize_t)writing.used;
}

/* -- reading ------------------------------------------------------------------------------- */

struct reading {
	struct span rest;
	char *at; /* where the next text goes */
	bool bad;
};

/* NULL where there is less. */
static const uint8_t *next(struct reading *reading, size_t size)
{
	const uint8_t *at = reading->rest.data;

	if (reading->bad || reading->rest.size < size) {
		reading->bad = true;
		return NULL;
	}
	reading->rest = span_of(at + size, reading->rest.size - size);
	return at;
}

static uint8_t get_8(struct reading *reading)
{
	const uint8_t *at = next(reading, 1);

	return at ? *at : 0;
}

static uint32_t get_32(struct reading *reading)
{
	const uint8_t *at = next(reading, sizeof(uint32_t));

	return at ? bytes_get32(at) : 0;
}

static uint64_t get_64(struct reading *reading)
{
	const uint8_t *at = next(reading, sizeof(uint64_t));

	return at ? bytes_get64(at) : 0;
}

/* Its NUL has the place of what tells its size. */
static struct span get_text(struct reading *reading)
{
	const uint8_t *size = next(reading, sizeof(uint16_t));
	const uint8_t *bytes = size ? next(reading, bytes_get16(size)) : NULL;
	char *text = reading->at;

	if (!bytes)
		return span_text("");
	memcpy(text, bytes, bytes_get16(size));
	text[bytes_get16(size)] = '\0';
	reading->at += bytes_get16(size) + 1;
	return span_of(text, bytes_get16(size));
}

static const char *get_string(struct reading *reading)
{
	struct span text = get_text(reading);

	return text.size > 0 ? (const char *)text.data : NULL;
}

/* An array of as many as come next, each of which takes `least` bytes at least. */
static void *get_array(struct reading *reading, size_t least, size_t size, size_t *countp)
{
	uint32_t count = get_32(reading);
	void *array;

	*countp = 0;
	if (reading->bad || count > reading->rest.size / least) {
		reading->bad = true;
		return NULL;
	}
	array = calloc((size_t)count + 1, size);
	*countp = array ? count : 0;
	return array;
}

static int get_issuer(struct reading *reading, struct token *token)
{
	struct policy_subject *issuer = &token->policy.issuer;

	issuer->label = get_string(reading);
	issuer->unit = get_string(reading);
	issuer->slice = get_string(reading);
	issuer->userunit = get_string(reading);
	issuer->listener = get_string(reading);
	token->groups =
		get_array(reading, sizeof(uint32_t), sizeof(*token->groups), &issuer->group_count);
	if (!token->groups)
		return reading->bad ? -EBADMSG : -ENOMEM;
	for (size_t i = 0; i < issuer->group_count; i++)
		token->groups[i] = get_32(reading);
	issuer->groups = token->groups;
	return 0;
}

/* The compiled glob is no longer than its text. */
static int compile(struct policy_grant *compiled, const struct grant *grant, char **at)
{
	char buffer[GLOB_MAX];
	size_t size;

	if (policy_grant_read(compiled, grant->operations, grant->glob, buffer))
		return -EBADMSG;
	size = compiled->glob.literal.size + compiled->glob.tail.size;
	memcpy(*at, buffer, size);
	compiled->glob.literal.data = (const uint8_t *)*at;
	compiled->glob.tail.data = (const uint8_t *)*at + compiled->glob.literal.size;
	*at += size;
	return 0;
}

static int get_grants(struct reading *reading, struct token *token)
{
	size_t count;
	int r = 0;

	token->grant = get_array(reading, 2 * sizeof(uint16_t), sizeof(*token->grant), &count);
	if (!token->grant)
		return reading->bad ? -EBADMSG : -ENOMEM;
	token->compiled = calloc(count + 1, sizeof(*token->compiled));
	if (!token->compiled)
		return -ENOMEM;
	for (size_t i = 0; i < count && r == 0; i++) {
		token->grant[i].operations = get_text(reading);
		token->grant[i].glob = get_text(reading);
		r = reading->bad ? -EBADMSG
				 : compile(&token->compiled[i], &token->grant[i], &reading->at);
	}
	token->grants = (struct grants){ .grant = token->grant, .count = count };
	token->policy.grants = token->compiled;
	token->policy.grant_count = count;
	return r;
}

static int get_all(struct reading *reading, struct token *token)
{
	struct policy_token *policy = &token->policy;
	uint8_t version = get_8(reading);
	uint8_t flags = get_8(reading);
	int r;

	/* A flag of another program's may be what a token is not for, or for whom. */
	if (version != TEXT_VERSION || (flags & ~TEXT_FLAGS) != 0)
		return -EBADMSG;
	policy->issuer.pinned = flags & TEXT_PINNED;
	policy->issuer.lost = flags & TEXT_LOST;
	policy->issuer.shares_group = flags & TEXT_SHARES;
	policy->of_uid = flags & TEXT_OF_UID;
	policy->issuer.uid = (uid_t)get_32(reading);
	policy->issuer.gid = (gid_t)get_32(reading);
	policy->uid = (uid_t)get_32(reading);
	token->created_ms = (int64_t)get_64(reading);
	token->uses = get_32(reading);
	if (flags & TEXT_WRAP) {
		token->secret = get_64(reading);
		token->version = get_64(reading);
	}
	if (policy->issuer.shares_group)
		policy->issuer.shared_group = (gid_t)get_32(reading);
	policy->name = get_string(reading);
	policy->unit = get_string(reading);
	r = get_issuer(reading, token);
	if (r == 0)
		r = get_grants(reading, token);
	if (r == 0 && (reading->bad || reading->rest.size > 0 || !policy->name))
		r = -EBADMSG;
	/* A wrap of nothing would be a token. */
	if (r == 0 && flags & TEXT_WRAP && token->secret == 0)
		r = -EBADMSG;
	return r;
}

int tokens_text_read(struct token **tokenp, struct span text)
{
	struct token *token = calloc(1, sizeof(*token));
	struct reading reading = { .rest = text };
	int r = -ENOMEM;

	if (!token)
		return r;
	/* Each text, and of each glob what it is compiled to. */
	token->texts = malloc(2 * text.size + 1);
	reading.at = token->texts;
	if (token->texts)
		r = get_all(&reading, token);
	if (r == 0)
		*tokenp = token;
	else
		token_free(token);
	return r;
}

/* -- comparing ----------------------------------------------------------------------------- */

static bool grants_the_same(const struct grant *kept, const struct grant *asked, uint32_t uid)
{
	char filed[NAME_FILED_MAX];

	return span_equal(kept->operations, asked->operations) &&
		span_equal(kept->glob, file_glob(filed, asked->glob, uid));
}

bool tokens_text_says(const struct token *token, const struct token_wish *wish)
{
	const struct request *request = wish->request;
	const struct policy_token *policy = &token->policy;
	uint32_t uid = (uint32_t)wish->issuer->uid;

	if (policy->issuer.uid != wish->issuer->uid || (token->secret != 0) != (wish->secret != 0))
		return false;
	if (!span_equal(span_text(policy->name), wish->name) || token->uses != tokens_uses(wish))
		return false;
	if (policy->of_uid != request->of_uid || (policy->of_uid && policy->uid != request->uid))
		return false;
	if (!span_equal(span_text(policy->unit ? policy->unit : ""), request->unit) ||
		token->grants.count != request->grants.count)
		return false;
	for (size_t i = 0; i < token->grants.count; i++)
		if (!grants_the_same(&token->grants.grant[i], &request->grants.grant[i], uid))
			return false;
	return true;
}

void token_free(struct token *token)
{
	if (!token)
		return;
	free(token->groups);
	free(token->grant);
	free(token->compiled);
	free(token->texts);
	free(token);
}
