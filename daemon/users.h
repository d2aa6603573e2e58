/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Who is connected, by uid: what all connections of one user have in common. As long as several
 * users are there, none of them has more than a share of the daemon's time in a round, however many
 * connections he has: what one sends holds up another for one share and one frame. Who is alone has
 * all of it.
 */

/* Nanoseconds of one user's share of a round. */
#define USER_SHARE_NS 50000

struct user {
	struct user *next;
	uint32_t uid;
	size_t sessions;
	uint64_t round;    /* in which he was served last */
	uint64_t spent_ns; /* of his share in that round */
};

/* All zero at first. */
struct users {
	struct user *first;
	size_t count;
	uint64_t round;
};

/* One connection more of a uid. Returns NULL without memory. */
struct user *user_enter(struct users *users, uint32_t uid);

/* One less; with the last one the user goes. */
void user_leave(struct users *users, struct user *user);

/* Everybody has a share again. */
void users_begin_round(struct users *users);

/* Nanoseconds that the user has left in this round; UINT64_MAX for whoever is alone. */
uint64_t user_share(const struct users *users, const struct user *user);

/* So much of it was spent. */
void user_spend(struct users *users, struct user *user, uint64_t spent_ns);
