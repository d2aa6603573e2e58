/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MGCLIENT_TOKEN_H
#define MGCLIENT_TOKEN_H

#include <mgclient.h>

/*
 * libmgclient: tokens. Whoever shows one may do what it grants, as far as the user who has issued
 * it may do that himself at that moment.
 */

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility push(default)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* "mgt_" and 43 characters: 32 random bytes. */
#define MG_TOKEN_SIZE 47

struct mg_grant {
	const char *operations; /* as a rule of policy names them: "get,stat", "*" */
	const char *glob; /* of names, as in a rule: "web/prod/x-*"; "~/" is the issuer's own */
};

#define MG_GRANTS_MAX 16

struct mg_token_options {
	const struct mg_grant *grants; /* at least one */
	size_t grant_count;
	uint64_t ttl_ms; /* milliseconds, suspend included; 0: no end */
	uint32_t uses;   /* requests that it decides; 0: as many as wanted */
	bool bind_uid;   /* only this user may show it: */
	uint32_t uid;
	const char *unit; /* only a process of this unit of the system's; NULL: any */
};

/*
 * Makes a token, and tells it this once: *tokenp holds its text, MG_TOKEN_SIZE bytes, and is the
 * caller's: mg_secret_free. A name is as a secret's; only root and the daemon's own user have names
 * outside ~/. MG_CONFLICT when there is a token of that name.
 */
int mg_issue_token(struct mg_client *client, const char *name,
	const struct mg_token_options *options, struct mg_secret **tokenp);

/* All about a token but the token. Belongs to the library; valid only where it is handed over. */
struct mg_token {
	const char *name;
	uint32_t issuer;    /* uid */
	int64_t created_ms; /* milliseconds since 1970 UTC */
	const struct mg_grant *grants;
	size_t grant_count;
	uint64_t ttl_ms; /* what is left of it; 0: no end */
	uint32_t uses;   /* that it was issued with; 0: they are not counted */
	uint32_t left;   /* uses */
	bool bind_uid;
	uint32_t uid;
	const char *unit; /* "": any */
};

/* The tokens that the caller may revoke, sorted by name. As mg_each. */
typedef int (*mg_each_token)(void *context, const struct mg_token *token);
int mg_list_tokens(struct mg_client *client, mg_each_token each, void *context);

/* Nobody may do anything by it any more. MG_NOT_FOUND. */
int mg_revoke_token(struct mg_client *client, const char *name);

/*
 * From now on the handle shows this token, also when it connects anew; a final newline of `text` is
 * passed over. NULL: none any more. The handle keeps it in its guarded memory. MG_DENIED when there
 * is no such token or it is not for the caller, who then waits as after mg_verify; MG_GONE when it
 * was revoked or used as often as it might be. Later calls that connect anew may say the same.
 */
int mg_show_token(struct mg_client *client, const void *text, size_t size);

/* -- wraps: a secret on its way to somebody, once ------------------------------------------- */

/* All zero: once, without an end. */
struct mg_wrap_options {
	uint64_t ttl_ms; /* milliseconds, suspend included; 0: no end */
	uint32_t uses;   /* how often it can be unwrapped; 0: once */
};

/*
 * Wraps a secret that the caller may fetch: whoever has the text in *wrapp, MG_TOKEN_SIZE bytes
 * that begin with "mgw_", fetches that version of it, whatever it may do otherwise; as long as the
 * caller may, and no rule denies it. *wrapp is the caller's: mg_secret_free. `options` may be NULL.
 */
int mg_wrap(struct mg_client *client, const char *name, const struct mg_wrap_options *options,
	struct mg_secret **wrapp);

/*
 * Fetches what is wrapped, as mg_get and mg_get_each do; a final newline of `text` is passed over.
 * MG_GONE when it was unwrapped as often as it might be: somebody else has it then, and the daemon
 * tells whoever keeps its logs; and when the secret was changed, removed or renamed since.
 * MG_DENIED for what is no wrap, or has ended. Never repeated.
 */
int mg_unwrap(struct mg_client *client, const void *text, size_t size, struct mg_secret **secretp);
int mg_unwrap_each(
	struct mg_client *client, const void *text, size_t size, mg_sink sink, void *context);

/* Owned by the caller; no pointers. */
struct mg_wrapped {
	char name[272];     /* the secret's, as the caller says it */
	uint32_t issuer;    /* uid */
	int64_t created_ms; /* milliseconds since 1970 UTC: when it was wrapped */
	uint64_t ttl_ms;    /* what is left of it; 0: no end */
	uint32_t uses;
	uint32_t left; /* of them */
};

/* Tells what a wrap is, without a use of it. Errors as mg_unwrap. */
int mg_look_up_wrap(
	struct mg_client *client, const void *text, size_t size, struct mg_wrapped *wrapped);

#ifdef __cplusplus
}
#endif

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility pop
#endif

#endif
