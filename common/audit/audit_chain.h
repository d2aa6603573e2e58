/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/audit/audit_line.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Whether the lines of an audit log are those that a daemon has written, all of them, in order. A
 * log may be parted into several files, of which the oldest comes first.
 *
 * A chain hangs on its keys. Those that are trusted are told beforehand; where none is, each is
 * taken at the log's own word. Whatever stands before a signature of a trusted key is as it was
 * when that was made: with one key alone, what another has signed is as the owner of that one found
 * it. Who tells several wants each part of the log to be of one of them.
 */
#define AUDIT_TRUSTED_MAX 16
#define AUDIT_FAULT_MAX 256

/* What is worth telling, and no fault. */
enum audit_event {
	AUDIT_BEGINS_LATER, /* what is before this record is in another file */
	AUDIT_NEW_CHAIN,    /* the first record of another chain, in a file of its own */
	AUDIT_NEW_KEY, /* the key is another one, and the one before does not say so, nor has it
			* signed `count` records in front of this one */
	AUDIT_NO_END,  /* the daemon began, and the one before it had not ended in order */
	AUDIT_LOST,    /* lines that could not be written: `count` of them */
	AUDIT_GOES_ON, /* what is behind this record is in another file; if it is known how
			* much, `count` of them */
};

struct audit_chain {
	/* to be set before the first line */
	void (*tell)(void *context, enum audit_event event, uint64_t record, uint64_t count);
	void *context;
	bool expecting; /* the daemon says how far it is */
	struct audit_head expected;

	/* how it stands */
	uint64_t first;              /* record; 0: none was there */
	uint64_t records;            /* so many */
	struct audit_head head;      /* the last one */
	uint64_t last_signed;        /* record; 0: none is */
	uint8_t key[AUDIT_KEY_SIZE]; /* in force, if `keyed` */
	bool keyed;
	char fault[AUDIT_FAULT_MAX]; /* of audit_chain_take or audit_chain_end; "" before */

	/* its own */
	uint8_t trusted[AUDIT_TRUSTED_MAX][AUDIT_KEY_SIZE];
	size_t trusted_count;
	size_t told_count;             /* of them beforehand; the others are heirs */
	bool any_signed;               /* a record of this chain is, */
	bool vouched;                  /* and the last one that is, by a trusted key */
	bool begins;                   /* the next line is the first one of a file */
	bool ended;                    /* the last record says that the daemon has ended, */
	bool moved;                    /* or that the log goes on in another file */
	bool seen;                     /* what is expected */
	uint64_t line;                 /* of the file */
	uint64_t gap;                  /* record: this one and others are missing; 0: none */
	uint64_t gap_record, gap_line; /* what stands in its place */
};

void audit_chain_init(struct audit_chain *chain);

/* Returns false when there are AUDIT_TRUSTED_MAX already. */
bool audit_chain_trust(struct audit_chain *chain, const uint8_t key[static AUDIT_KEY_SIZE]);

/* Another file begins. */
void audit_chain_begin_file(struct audit_chain *chain);

/*
 * Takes the next line, without its newline; `whole`: it had one. Returns 0, or -EBADMSG with the
 * fault said: nothing more is to be taken then.
 */
int audit_chain_take(struct audit_chain *chain, struct span text, bool whole);

/* No line follows. Returns as above. */
int audit_chain_end(struct audit_chain *chain);
