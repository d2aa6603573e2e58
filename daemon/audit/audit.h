/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/coffer.h"
#include "common/span.h"
#include "daemon/audit/audit_file.h"
#include "daemon/config.h"
#include "daemon/peer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The audit log: a line for each decision (common/audit), which waits in memory until the round of
 * the loop is over, and is written before the answers of that round leave. Where it cannot be
 * written it waits on; when there is no more room, lines are lost, and a line tells how many.
 *
 * At most each second, and at the end, a line signs the chain, with a key that is made from the
 * vault's master. How far the chain goes rests beside the masters (coffer_chain), so that it goes
 * on over workers, upgrades and restarts; without that it goes on behind the last line of the file,
 * under a new key, which shows.
 *
 * What signs runs on the locked stack; all else touches no key.
 */
struct audit;

/* `coffer` outlives it. Returns 0 or -ENOMEM. */
int audit_new(struct audit **auditp, struct coffer *coffer);

/* What is not written by then is lost; takes NULL. */
void audit_free(struct audit *audit);

/*
 * Puts settings into force, with what audit_file_open has opened for them, which is the audit's
 * from then on. Signs.
 */
void audit_use(struct audit *audit, const struct config *config, struct audit_file *file);

/* What is open; of no descriptor where nothing is. */
const struct audit_file *audit_file_now(const struct audit *audit);

/* What a decision is about; texts may be empty, and NULL where they are no spans. */
struct audit_entry {
	const struct peer *peer;
	const char *operation;
	struct span name;  /* filed */
	struct span to;    /* the same */
	struct span token; /* the name of the one that decides, or that it is about */
	bool changes;      /* it is about a change */
	bool allowed;
	const char *by;   /* why, in a word */
	const char *file; /* of the line that decides, */
	unsigned line;    /* and its number; 0: none */
	struct span reason;
	const char *alarm; /* somebody is to look at it: why, in a word; NULL: nobody is */
};

/*
 * A decision, before it is acted upon. Returns 0; or a negative errno when its line cannot be
 * written and has to be (audit-required).
 */
int audit_decision(struct audit *audit, const struct audit_entry *entry);

/* Writes what waits, and opens what could not be opened. A failure is told in the log. */
void audit_write(struct audit *audit);

/* Whether there are lines that no signature stands behind, and a key to sign them with. */
bool audit_owes_signature(const struct audit *audit);

/*
 * Looks whether the file was deleted: then another one is opened, in which the log goes on once it
 * is signed; or what is told is lost until there can be one. Needs the ordinary stack.
 */
void audit_look(struct audit *audit);

/* Signs what there is, unless it is signed or there is no key at present. Signs. */
void audit_sign(struct audit *audit);

/* The daemon ends. Signs. */
void audit_end(struct audit *audit);

/*
 * Which key signs it, as long as nobody has it: a log that goes on names it. What is not signed
 * meanwhile is once audit_find_key has found the key again, which signs nothing itself. Both are
 * for a vault that is locked.
 */
void audit_know_key(struct audit *audit, const uint8_t key[static AUDIT_KEY_SIZE]);
void audit_find_key(struct audit *audit);

/* The vault's master was replaced, and nobody has the key before: the break shows. Signs. */
void audit_lose_key(struct audit *audit);

/* The vault's master was replaced: `seed` is what the key before was made from. Signs. */
void audit_change_key(struct audit *audit, const uint8_t seed[static COFFER_SEED_SIZE]);

/* How it stands. */
struct audit_state {
	bool on;
	uint8_t key[AUDIT_KEY_SIZE];
	struct audit_head written;
	uint64_t lost; /* lines, since this process began */
};
struct audit_state audit_state(const struct audit *audit);
