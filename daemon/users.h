/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/channel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Who is connected, by uid: what all connections of one user have in common. As long as several
 * users are there, none of them has more than a share of the daemon's time in a round, however many
 * connections he has: what one sends holds up another for one share and one request. Who is alone
 * has all of it.
 */

/* Nanoseconds of one user's share of a round. */
#define USER_SHARE_NS 15000

/* What one user may have at most; 0: as much as there is. */
struct quotas {
	uint64_t count; /* secrets and streams that he has stored first: vault.h */
	uint64_t bytes; /* of those */
	uint64_t sessions;
	uint64_t inflight;   /* requests under way, over all his connections */
	uint64_t handshakes; /* a second; one second's worth at once */
};

struct user {
	struct user *next;
	struct users *all;
	uint32_t uid;
	size_t connections;
	size_t sessions;   /* those that have shaken hands */
	size_t inflight;   /* requests under way */
	uint64_t due_us;   /* when all his handshakes are paid for: after now by a second at most */
	uint64_t round;    /* in which he was served last */
	uint64_t spent_ns; /* of his share in that round */
	uint64_t let_in;   /* the round in which he was let in last */
};

/* All zero at first. Users without a connection are kept as long as something is to be paid for. */
struct users {
	struct user *first;
	size_t count; /* who has a connection */
	uint64_t round;
	uint64_t spent_ns;  /* in this round, while several of them are there */
	uint64_t before_ns; /* the same of the round before */
	struct quotas quotas;
};

/*
 * One connection more of a uid; `now_us` is any clock that nobody sets, in microseconds. Returns
 * NULL without memory.
 */
struct user *user_enter(struct users *users, uint32_t uid, uint64_t now_us);

/* One less. */
void user_leave(struct user *user);

/* Forgets all of them. */
void users_finish(struct users *users);

/*
 * Which quota is in the way of a connection that has just been entered, or 0 and its handshake is
 * paid for, whether it comes to one or not. There may be twice as many as there may be sessions.
 */
enum hello_refusal user_come(struct user *user, uint64_t now_us);

/* The same of a session that it becomes, or 0 and it is counted. */
enum hello_refusal user_begin_session(struct user *user);
void user_end_session(struct user *user);

/* Whether one request more of his may be under way. */
bool user_may_ask(const struct user *user);

/* Everybody has a share again. */
void users_begin_round(struct users *users);

/* Nanoseconds that the user has left in this round; UINT64_MAX for whoever is alone. */
uint64_t user_share(const struct user *user);

/*
 * Whether one more of his that has not shaken hands may have its turn in this round, whatever he
 * has spent: who is busy on some connections comes in with others, too. It is one a round.
 */
bool user_let_in(struct user *user);

/* So much of it was spent. */
void user_spend(struct user *user, uint64_t spent_ns);
