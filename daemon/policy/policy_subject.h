/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct policy_token;

/*
 * Who asks, as far as it is known. All is borrowed. A text that is not known is NULL, and matches
 * nothing.
 */
struct policy_subject {
	uid_t uid;
	gid_t gid;
	const uint32_t *groups; /* supplementary, in ascending order */
	size_t group_count;
	bool shares_group;    /* one of its groups has a number that stands for others, too, */
	gid_t shared_group;   /* this one: it is in that group as far as anybody knows */
	const char *label;    /* of a security module */
	const char *unit;     /* the first one under system.slice */
	const char *slice;    /* the one that it is in */
	const char *userunit; /* of the service manager of `uid` */
	const char *listener; /* the name of the one that it came in by */
	const char *token;    /* the name of the one that it has shown */
	const struct policy_token *shown; /* that one; NULL: it counts for nothing by itself */
	const char *cred;                 /* the credential that the service manager asks for */
	bool pinned; /* a pidfd holds the process: its cgroup is no other's meanwhile */
	bool lost;   /* where it runs could not be told: it may be in any unit or slice */
};
