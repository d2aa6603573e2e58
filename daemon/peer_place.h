/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/span.h"

struct peer;

/*
 * Where the service manager runs a process, as its cgroup tells: by the names that systemd gives to
 * cgroups, without asking anybody. Only the unified hierarchy (version 2) counts, and only as far
 * as its names are the system's: what is below a unit is that unit's to name.
 */
#define PEER_UNIT_MAX 256 /* bytes of a name, with its NUL: what a cgroup's can have */

struct peer_place {
	uint64_t now; /* its cgroup's number when it was last checked; 0: the kernel tells none */
	uint64_t cgroup; /* the one that all below is of for good; 0: it is to be looked at anew */
	bool known;      /* else it may be anywhere, and the names are "" */
	bool pinned;     /* who was looked at is who connected, by its pidfd, not by its number */
	char unit[PEER_UNIT_MAX];     /* the first one under system.slice; "": none */
	char slice[PEER_UNIT_MAX];    /* the innermost above any unit; "": none */
	char userunit[PEER_UNIT_MAX]; /* the first one of the service manager of its uid; "": none
				       */
};

/* Whether a unit that has a cgroup, or a slice, can be called so: else nobody ever is in it. */
bool peer_place_is_unit(struct span name);
bool peer_place_is_slice(struct span name);

/*
 * The path of the unified hierarchy in what /proc/PID/cgroup says, empty when it tells none. It is
 * in the last line: in those before, of other hierarchies, older kernels let a name have lines.
 */
struct span peer_place_path(struct span text);

/*
 * Reads such a path, from the root that our service manager
 * has. What lies outside of that is not known. No system call.
 */
void peer_place_read(struct peer_place *place, struct span path, uid_t uid);

/*
 * Finds out where a peer is now, which peer->place then tells; what cannot be found out is not
 * known. A few dozen microseconds at first, and again when its cgroup is another one or its kernel
 * has no number for it; else one ioctl. Takes no memory and little stack. Nothing for an invented
 * peer.
 */
void peer_locate(const struct peer *peer);

/* Another number for another place; 0 for none. */
uint64_t peer_place_digest(const struct peer_place *place);
