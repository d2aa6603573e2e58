/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/peer_place.h"

/*
 * Who is at the other end of a socket, as the kernel vouches for it, taken once at accept. A plain
 * value but for one descriptor and what is owned: tests invent peers.
 */
#define PEER_GROUPS_MAX 65536 /* NGROUPS_MAX of Linux */
#define PEER_LABEL_MAX 256

struct policy_token;

struct peer {
	uid_t uid;
	gid_t gid;        /* (gid_t)-1 when it stands for several groups */
	pid_t pid;        /* 0 when it lies in a pid namespace that we cannot see */
	uint32_t *groups; /* supplementary, in ascending order; owned */
	size_t group_count;
	bool shares_group; /* one of its groups has this number, as groups of others have */
	gid_t shared_group;
	char label[PEER_LABEL_MAX]; /* of a security module; "" without one */
	int pidfd;                  /* -1 when not kept */
	int socket;                 /* that it is at the other end of; borrowed */
	const char *listener; /* the name of the one that it came in by; borrowed; NULL: ours */
	const struct policy_token *const *shown; /* the token that its session shows; borrowed */
	struct peer_place *place; /* owned; NULL: it has none, invented or on another system */
};

/*
 * Begins with uid, gid and pid, which is all that it takes to turn somebody away: one question to
 * the kernel, and nothing to finish. Returns 0 or a negative errno; so is a uid that stands for
 * several users (-EOVERFLOW).
 */
int peer_name(struct peer *peer, int socket);

/*
 * Fills in the rest of a peer that has its name. Returns 0 or a negative errno; anything but "this
 * kernel lacks it" is an error. A group that stands for several is none of its groups, and told
 * beside them. The pidfd is kept only where peer_check can use it. Where the peer is tells
 * peer_locate alone; the socket is to stay open for that.
 */
int peer_take(struct peer *peer, int socket);

/*
 * Whether the process that connected still has the rights it connected with: 0; -EACCES when its
 * effective uid has changed; -ESRCH when it has ended, waited for or not. One ioctl and one poll,
 * which tell peer->place of its cgroup, too: what that tells of another one is forgotten. 0 where
 * the kernel has none.
 */
int peer_check(const struct peer *peer);

/* What either of them found, for the log. */
const char *peer_words(int error);

/* Closes and frees what the peer holds; the struct may be finished twice. */
void peer_finish(struct peer *peer);

/* Whether this kernel can say who a pidfd is (PIDFD_GET_INFO, Linux 6.13). Asked once. */
bool peer_checks(void);
