/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/users.h"

#include <stdlib.h>

#define SECOND_US 1000000

/* -- coming and going ---------------------------------------------------------------------- */

/* Whoever is gone and owes nothing is forgotten. Gives back `uid`, if he is known. */
static struct user *tidy(struct users *users, uint32_t uid, uint64_t now_us)
{
	struct user **at = &users->first;
	struct user *found = NULL;

	while (*at) {
		struct user *user = *at;

		if (user->uid == uid) {
			found = user;
		} else if (user->connections == 0 && user->due_us <= now_us) {
			*at = user->next;
			free(user);
			continue;
		}
		at = &user->next;
	}
	return found;
}

struct user *user_enter(struct users *users, uint32_t uid, uint64_t now_us)
{
	struct user *user = tidy(users, uid, now_us);

	if (!user) {
		user = calloc(1, sizeof(*user));
		if (!user)
			return NULL;
		user->all = users;
		user->uid = uid;
		user->next = users->first;
		users->first = user;
	}
	users->count += user->connections == 0;
	user->connections++;
	return user;
}

void user_leave(struct user *user)
{
	if (--user->connections == 0)
		user->all->count--;
}

void users_finish(struct users *users)
{
	while (users->first) {
		struct user *user = users->first;

		users->first = user->next;
		free(user);
	}
	users->count = 0;
}

/* -- quotas -------------------------------------------------------------------------------- */

/* A handshake is paid for with a second's part; who pays in advance does so for a second at most.
 */
static bool pay_handshake(struct user *user, uint64_t now_us)
{
	uint64_t most = user->all->quotas.handshakes;
	uint64_t due_us = user->due_us > now_us ? user->due_us : now_us;

	if (most == 0)
		return true;
	due_us += SECOND_US / most;
	if (due_us > now_us + SECOND_US)
		return false;
	user->due_us = due_us;
	return true;
}

enum hello_refusal user_come(struct user *user, uint64_t now_us)
{
	uint64_t most = user->all->quotas.sessions;

	if (most > 0 && user->connections > 2 * most)
		return HELLO_TOO_MANY_SESSIONS;
	return pay_handshake(user, now_us) ? HELLO_NOT_REFUSED : HELLO_TOO_MANY_HANDSHAKES;
}

enum hello_refusal user_begin_session(struct user *user)
{
	uint64_t most = user->all->quotas.sessions;

	if (most > 0 && user->sessions >= most)
		return HELLO_TOO_MANY_SESSIONS;
	user->sessions++;
	return HELLO_NOT_REFUSED;
}

void user_end_session(struct user *user)
{
	user->sessions--;
}

bool user_may_ask(const struct user *user)
{
	uint64_t most = user->all->quotas.inflight;

	return most == 0 || user->inflight < most;
}

/* -- shares -------------------------------------------------------------------------------- */

void users_begin_round(struct users *users)
{
	users->round++;
	users->before_ns = users->spent_ns;
	users->spent_ns = 0;
}

uint64_t user_share(const struct user *user)
{
	if (user->all->count < 2)
		return UINT64_MAX;
	if (user->round != user->all->round)
		return USER_SHARE_NS;
	return user->spent_ns < USER_SHARE_NS ? USER_SHARE_NS - user->spent_ns : 0;
}

bool user_let_in(struct user *user)
{
	bool first = user->let_in != user->all->round;

	user->let_in = user->all->round;
	return first;
}

void user_spend(struct user *user, uint64_t spent_ns)
{
	if (user->round != user->all->round) {
		user->round = user->all->round;
		user->spent_ns = 0;
	}
	user->spent_ns += spent_ns;
	user->all->spent_ns += spent_ns;
}
