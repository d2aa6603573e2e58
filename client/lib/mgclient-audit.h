/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MGCLIENT_AUDIT_H
#define MGCLIENT_AUDIT_H

#include <mgclient.h>

/*
 * libmgclient: whether an audit log is all that a daemon has written. No daemon is needed for it;
 * what one says makes it surer. What a log looks like stands in proto/PROTOCOL.md.
 */

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility push(default)
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define MG_AUDIT_KEY_SIZE 32
#define MG_AUDIT_HASH_SIZE 32

/* What is worth telling, and no fault. Daemons to come may have others. */
enum mg_audit_event {
	MG_AUDIT_BEGINS_LATER = 0, /* what is before this record is in another file */
	MG_AUDIT_NEW_CHAIN = 1,    /* it is the first record of another chain, in another file */
	MG_AUDIT_NEW_KEY = 2,      /* the key is another one, and the one before does not say so,
				    * nor has it signed `count` records before this one */
	MG_AUDIT_NO_END = 3,       /* a daemon began, and the one before it had not ended */
	MG_AUDIT_LOST = 4,         /* `count` records could not be written */
	MG_AUDIT_GOES_ON = 5,      /* what is behind this record is in another file; where a daemon
				    * says how much that is, `count` records */
};
typedef void (*mg_audit_tell)(
	void *context, enum mg_audit_event event, uint64_t record, uint64_t count);

/* A log while it is looked at. Not for several threads at once. */
struct mg_audit;

/* `tell` may be NULL. *auditp is the caller's: mg_audit_free. MG_LIMIT without memory. */
int mg_audit_new(struct mg_audit **auditp, mg_audit_tell tell, void *context);

/* Takes NULL. */
void mg_audit_free(struct mg_audit *audit);

/*
 * Before the first line: trusts a key, one of sixteen at most, or MG_LIMIT. Without any each key is
 * taken at the log's own word. With several each part of the log has to be signed with one of them,
 * or one that they name; with a single one, what another has signed before is as it was then.
 */
int mg_audit_trust(struct mg_audit *audit, const unsigned char key[MG_AUDIT_KEY_SIZE]);

/* Before the first line: what a daemon has said that it has written last, as mg_status_of. */
void mg_audit_expect(
	struct mg_audit *audit, uint64_t record, const unsigned char hash[MG_AUDIT_HASH_SIZE]);

/* The next line is the first one of a further file. The oldest file comes first. */
void mg_audit_begin_file(struct mg_audit *audit);

/*
 * Takes the next line, of `size` bytes with its newline. MG_OK; or MG_INTEGRITY when it, or a
 * record before it, is not what was written: mg_last_error names the record then.
 */
int mg_audit_take(struct mg_audit *audit, const char *line, size_t size);

/* What was looked at. */
struct mg_audit_result {
	uint64_t first;       /* number of the first record, */
	uint64_t last;        /* and of the last one */
	uint64_t records;     /* so many are there */
	uint64_t last_signed; /* what is behind this record is not signed; 0: nothing is */
	unsigned char key[MG_AUDIT_KEY_SIZE]; /* that signed it */
};

/* No line follows. Returns as mg_audit_take; `result` is filled in with MG_OK alone. */
int mg_audit_end(struct mg_audit *audit, struct mg_audit_result *result);

#ifdef __cplusplus
}
#endif

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility pop
#endif

#endif
