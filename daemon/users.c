/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/users.h"

#include <stdlib.h>

struct user *user_enter(struct users *users, uint32_t uid)
{
	struct user *user = users->first;

	while (user && user->uid != uid)
		user = user->next;
	if (!user) {
		user = calloc(1, sizeof(*user));
		if (!user)
			return NULL;
		user->uid = uid;
		user->next = users->first;
		users->first = user;
		users->count++;
	}
	user->sessions++;
	return user;
}

void user_leave(struct users *users, struct user *user)
{
	struct user **at = &users->first;

	if (--user->sessions > 0)
		return;
	while (*at != user)
		at = &(*at)->next;
	*at = user->next;
	users->count--;
	free(user);
}

void users_begin_round(struct users *users)
{
	users->round++;
}

uint64_t user_share(const struct users *users, const struct user *user)
{
	if (users->count < 2)
		return UINT64_MAX;
	if (user->round != users->round)
		return USER_SHARE_NS;
	return user->spent_ns < USER_SHARE_NS ? USER_SHARE_NS - user->spent_ns : 0;
}

void user_spend(struct users *users, struct user *user, uint64_t spent_ns)
{
	if (user->round != users->round) {
		user->round = users->round;
		user->spent_ns = 0;
	}
	user->spent_ns += spent_ns;
}
