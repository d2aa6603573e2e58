/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/name.h"
#include "daemon/request/request.h"

/*
 * One request on the desk, and everybody who may serve it. All serve_* return 0 when the request
 * has its answer or is parked, an enum status that is still to be answered, or a negative errno.
 */

/* Everything one request is served with. */
struct desk {
	struct daemon *daemon;
	const struct peer *peer;
	struct transfers *transfers;
	const struct request *request;
	struct answers *answers;
	struct span name;    /* filed */
	const char *words;   /* why a status is answered, where it does not say that itself */
	uint64_t token_used; /* the number of the one that is counted; 0: none so far */
	char filed[NAME_FILED_MAX];
};

/* The answer to the request: a reply, or a code and words. Return 0 or a negative errno. */
int desk_answer(const struct desk *desk, struct reply *reply);
int desk_answer_code(const struct desk *desk, int code, const char *words);

/* The new name that a move asks for, filed into `filed`. */
struct span desk_file_new_name(const struct desk *desk, char filed[static NAME_FILED_MAX]);

/*
 * request_audit.c: tells the audit log what was decided, of this request, or of one name that it
 * has come to. Returns 0, or a negative errno when it has to be told and cannot be.
 */
int desk_note(const struct desk *desk, const struct policy_verdict *verdict);
int desk_note_name(const struct desk *desk, struct span name, const struct policy_verdict *verdict);

/*
 * The token that the session shows decides this request: that is a use of it, once a request.
 * Returns 0; STATUS_DENIED when none is left; another status or a negative errno.
 */
int desk_use_token(struct desk *desk, const struct policy_verdict *verdict);

#define TOKEN_USED_UP "the token was used as often as it might be"
#define NOT_LOGGED "the audit log cannot be written, and has to be"
#define NO_REASON "policy asks for a reason: mgctl --reason TEXT"

/* request_change.c: a request that changes something has its first answer kept. */

/*
 * Makes a change, unless the request's number tells that it has been made; *first is what it was
 * answered with, then. Returns 0; STATUS_CONFLICT where that number was for something else; or a
 * negative errno.
 */
int desk_change_once(struct desk *desk, int (*change)(struct desk *desk, uint64_t *versionp),
	struct repeat_answer *first);

int serve_set(struct desk *desk);
int serve_remove(struct desk *desk);
int serve_move(struct desk *desk);
int serve_generate(struct desk *desk);
int serve_purge(struct desk *desk);
int serve_touch(struct desk *desk);
int serve_freeze(struct desk *desk);
int serve_melt(struct desk *desk);

/* request_look.c: what only looks. */
int serve_get(struct desk *desk);
int serve_stat(struct desk *desk);
int serve_list(struct desk *desk);
int serve_verify(struct desk *desk);

/* request_restore.c: what goes into a bundle, and comes out of one. */
int serve_export(struct desk *desk);
int serve_stage(struct desk *desk);
int serve_commit(struct desk *desk);

/* What the caller may list of what it asks for, and where it stands in that; all filed. */
struct scope {
	struct span prefix;
	struct span after; /* in `buffer`, or empty */
	char own[NAME_FILED_MAX];
	char buffer[NAME_FILED_MAX];
};

/* Begins at what a list or an export asks for, which needs `right`. Returns whether there may be
 * anything. */
bool scope_begin(const struct desk *desk, enum right right, struct scope *scope);

/* Stands at a record now. */
void scope_pass(struct scope *scope, const struct record *record);

/*
 * Stands where something begins that the caller may be allowed, behind a record that it is not.
 * Returns whether there may be anything.
 */
bool scope_skip(const struct desk *desk, enum right right, struct scope *scope,
	const struct record *record);

/* request_stream.c: what goes into streams, and out of them. */
int serve_stream_write(struct desk *desk);
int serve_stream_read(struct desk *desk);

/* request_watch.c: what changes. */
int serve_watch(struct desk *desk);

/* request_token.c: what one lets others do. */
int serve_issue_token(struct desk *desk);
int serve_list_tokens(struct desk *desk);
int serve_revoke_token(struct desk *desk);
int serve_show_token(struct desk *desk);
int serve_wrap(struct desk *desk);
bool desk_has_wrapped(const struct desk *desk); /* a wrap that is asked for once more */
int serve_unwrap(struct desk *desk);

/* request_self.c: the daemon itself, and the caller. */
int serve_ping(struct desk *desk);
int serve_status(struct desk *desk);
int serve_whoami(struct desk *desk);
int serve_explain(struct desk *desk); /* request_explain.c */
int serve_cancel(struct desk *desk);
int serve_shutdown(struct desk *desk);
int serve_reload(struct desk *desk);
int serve_upgrade(struct desk *desk);

/* request_lock.c: the vault as a whole. */
int serve_lock(struct desk *desk);
int serve_unlock(struct desk *desk);
