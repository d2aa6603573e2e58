/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What the kernel tells of a process that a pidfd holds. For the files of peer alone. */
struct peer_process {
	uid_t euid;
	uint64_t cgroup; /* its number in the unified hierarchy, never another's; 0: not told */
};

/* The process that connected, or one by its number. The caller's descriptor, or a negative errno.
 */
int peer_process_connected(int socket);
int peer_process_open(pid_t pid);

/* Returns 0, -ESRCH when it has been waited for, or another negative errno: not this kernel. */
int peer_process_ask(int pidfd, struct peer_process *process);

/* Waited for or not. */
bool peer_process_has_ended(int pidfd);

/*
 * Whether its first thread lives, which what else is told is of: one that has ended stays as it
 * was, in the cgroup where it was, whatever becomes of the process. Only where peer_process_ask
 * answers.
 */
bool peer_process_is_led(int pidfd);
