/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/memory/enclave.h"
#include "client/lib/mgclient.h"

#include <pthread.h>

/* A part of what was written at one go: at most a chunk, sealed under a key of its own. */
struct segment {
	struct segment *next;
	struct mg_enclave *enclave;
};

struct mg_stream {
	pid_t owner;         /* after a fork nothing opens */
	uint64_t generation; /* another one than the process's: purged */
	pthread_mutex_t lock;
	struct segment *first;
	struct segment **end; /* where the next one is hung */
	size_t taken;         /* bytes of the first one that have been read */
	size_t size;          /* bytes that can be read */
};
