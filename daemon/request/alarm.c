/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/alarm.h"

#define SHARED 0

/* Who has paid for all of his lines gives way, whoever has been silent for longest first. */
static struct alarm_user *place_of(struct alarms *alarms, uint32_t uid, uint64_t now_ms)
{
	struct alarm_user *silent = &alarms->users[SHARED];

	if (alarms->count == 0)
		alarms->count = 1;
	for (size_t i = SHARED + 1; i < alarms->count; i++) {
		struct alarm_user *user = &alarms->users[i];

		if (user->uid == uid)
			return user;
		if (user->due_ms <= now_ms &&
			(silent == &alarms->users[SHARED] || user->due_ms < silent->due_ms))
			silent = user;
	}
	if (alarms->count < ALARM_USERS)
		silent = &alarms->users[alarms->count++];
	if (silent == &alarms->users[SHARED])
		return silent;
	alarms->users[SHARED].left_out += silent->left_out;
	*silent = (struct alarm_user){ .uid = uid };
	return silent;
}

bool alarm_may_tell(struct alarms *alarms, uint32_t uid, uint64_t now_ms, uint64_t *left_outp)
{
	struct alarm_user *user = place_of(alarms, uid, now_ms);

	if (user->due_ms > now_ms + (ALARMS_AT_ONCE - 1) * ALARM_PAUSE_MS) {
		user->left_out++;
		return false;
	}
	user->due_ms = (user->due_ms > now_ms ? user->due_ms : now_ms) + ALARM_PAUSE_MS;
	*left_outp = user->left_out;
	user->left_out = 0;
	return true;
}
