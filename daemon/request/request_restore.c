/* SPDX-License-Identifier: Apache-2.0 */
#include "common/status.h"
#include "daemon/request/desk.h"
#include "daemon/request/lifetime.h"
#include "daemon/request/restore.h"
#include "daemon/request/upload.h"
#include "daemon/request/walk.h"

/* Secrets that one export looks at before it answers, whatever it passes over: bounds its time. */
#define EXPORT_LOOKS 256

/* -- into a bundle ------------------------------------------------------------------------- */

/* What hangs on this daemon's own life, or on a count of fetches, would be another secret there. */
static bool outlives_us(const struct record *record)
{
	struct tag tags[MESSAGE_TAGS_MAX];
	struct info info;

	record_info(record, &info, tags);
	return !info.stream && !info.left.session && info.left.pid == 0 && info.left.reads == 0;
}

/* One that may be fetched, if only somebody said why, is left out and counted. */
static struct policy_verdict may_export(const struct desk *desk, const struct record *record)
{
	const struct policy *policy = &desk->daemon->policy;
	struct span name = record_filed_name(record);
	struct policy_verdict verdict = policy_ask(policy, desk->peer, RIGHT_GET, name);

	if (verdict.allowed && desk->request->reason.size == 0)
		(void)policy_wants_reason(policy, RIGHT_GET, name, &verdict);
	return verdict;
}

/* The last answer of all, or of those who looked for too long: there is more then. */
static int answer_end(const struct desk *desk, const struct walk *walk)
{
	struct reply reply = {
		.body = BODY_LISTING, .more = !walk->over, .left_out = walk->left_out
	};
	char shown[NAME_FILED_MAX];

	if (reply.more)
		reply.next = span_of(
			shown, name_show(shown, walk->scope.after, (uint32_t)desk->peer->uid));
	return desk_answer(desk, &reply);
}

static int answer_record(struct desk *desk, const struct walk *walk, struct record *record,
	const struct policy_verdict *verdict)
{
	char shown[NAME_FILED_MAX];
	struct span name = span_of(
		shown, name_show(shown, record_filed_name(record), (uint32_t)desk->peer->uid));

	int r = desk_use_token(desk, verdict);

	if (r != 0)
		return r;
	if (desk_note_name(desk, record_filed_name(record), verdict) < 0)
		return desk_answer_code(desk, STATUS_INTERNAL, NOT_LOGGED);
	return download_export(desk->transfers, desk->daemon, desk->request->id, record, name,
		walk->left_out, desk->answers);
}

/* Until there is one to answer with. */
static int export_step(struct desk *desk, struct walk *walk)
{
	struct record *record;

	for (unsigned i = 0; !walk->over && walk->looks > 0 && walk_may_look(desk->daemon, i);
		i++) {
		int r = vault_next(
			desk->daemon->vault, walk->scope.prefix, walk->scope.after, &record);
		struct policy_verdict verdict = { 0 };

		if (r == 0)
			verdict = may_export(desk, record);
		if (r == STATUS_NOT_FOUND) {
			walk->over = true;
		} else if (r != 0) {
			return r;
		} else if (!verdict.allowed && verdict.cause != POLICY_BY_SILENCE) {
			walk->over = !scope_skip(desk, RIGHT_GET, &walk->scope, record);
		} else if (verdict.allowed && outlives_us(record)) {
			return answer_record(desk, walk, record, &verdict);
		} else {
			scope_pass(&walk->scope, record);
			walk->looks--;
			walk->left_out++;
		}
	}
	if (walk->over || walk->looks == 0)
		return answer_end(desk, walk);
	return WALK_ON;
}

int serve_export(struct desk *desk)
{
	return walk_begin(desk, RIGHT_GET, export_step, EXPORT_LOOKS);
}

/* -- out of one ---------------------------------------------------------------------------- */

/*
 * Whoever may not do everything restores what is its own from then on, and what lives no longer
 * than a set of its own.
 */
int serve_stage(struct desk *desk)
{
	struct daemon *daemon = desk->daemon;
	struct request request = *desk->request;
	struct upload *upload = NULL;
	struct batch *batch;
	int r = 0;

	if (!policy_privileged(&daemon->policy, desk->peer)) {
		request.owner = (uint32_t)desk->peer->uid;
		r = lifetime_limit(daemon, desk->name, &request.lifetime.ttl_ms, &desk->words);
	}
	if (r == 0)
		r = restore_open(desk->transfers, daemon, &batch);
	if (r == STATUS_CONFLICT)
		desk->words = RESTORE_RUNNING;
	if (r == 0)
		r = upload_begin(desk->transfers, daemon, &request, desk->name, NULL, &upload);
	if (r != 0)
		return r;
	return upload_take(desk->transfers, daemon, (uint32_t)desk->peer->uid, upload, &request,
		request.key, desk->answers);
}

static int answer_restored(const struct desk *desk, const struct repeat_answer *first)
{
	struct reply reply = {
		.code = first->code, .body = BODY_RESTORED, .secrets = first->version
	};

	if (first->code != 0)
		reply.detail = span_text("nothing was restored");
	return desk_answer(desk, &reply);
}

static const char *commit_words(int status)
{
	switch (status) {
	case STATUS_NOT_FOUND:
		return "nothing is staged on this connection";
	case STATUS_INTEGRITY:
		return "it is not as many secrets as were staged";
	case STATUS_CONFLICT:
		return RESTORE_RUNNING;
	default:
		return NULL;
	}
}

int serve_commit(struct desk *desk)
{
	const struct request *request = desk->request;
	uint32_t uid = (uint32_t)desk->peer->uid;
	struct repeat_answer first = { 0 };
	uint8_t digest[REPEAT_DIGEST_SIZE];
	int r;

	request_digest(digest, request, desk->name);
	r = repeats_find(desk->daemon->repeats, uid, request->number, digest, &first);
	if (r == 1)
		return answer_restored(desk, &first);
	if (r == STATUS_CONFLICT)
		return desk_answer_code(desk, STATUS_CONFLICT, NUMBER_REUSED);
	r = restore_commit(desk->transfers, request, uid, digest);
	if (r > 0)
		desk->words = commit_words(r);
	return r;
}
