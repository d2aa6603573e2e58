/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

/*
 * Owning locals carry their end with them: `cleanup(freep) char *text = NULL;`. A function that
 * is named x_freep takes a pointer to the local; it is made from x_free by DEFINE_CLEANUP.
 */
#define cleanup(function) __attribute__((cleanup(function)))

#define DEFINE_CLEANUP(type, function) \
	static inline void function##p(type *p) \
	{ \
		if (*p) \
			function(*p); \
	} \
	struct cleanup_needs_a_semicolon

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
