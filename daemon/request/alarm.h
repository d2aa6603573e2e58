/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How often one user can make the daemon's log tell of something that somebody is to look at: at
 * once for the first few times, then once a second; nobody makes another one's alarm be left out.
 *
 * Times are milliseconds of CLOCK_BOOTTIME.
 */
#define ALARMS_AT_ONCE 10
#define ALARM_PAUSE_MS 1000

/* Users of whom that is known; what there are more at a time share a place. */
#define ALARM_USERS 64

struct alarm_user {
	uint32_t uid;
	uint64_t due_ms;   /* when all of his lines are paid for */
	uint64_t left_out; /* since his last line */
};

/* All zero at first. */
struct alarms {
	struct alarm_user users[ALARM_USERS]; /* the first place is the shared one */
	size_t count;                         /* of those that are taken */
};

/* Whether a line may be told; then *left_outp tells how many were not since the last one. */
bool alarm_may_tell(struct alarms *alarms, uint32_t uid, uint64_t now_ms, uint64_t *left_outp);
