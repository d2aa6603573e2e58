/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Names of secrets: 1 to 255 bytes of UTF-8, segments parted by '/', no empty, "." or ".." segment
 * and no control characters. A first segment that begins with '~' is a user's own space: "~/x" is
 * the caller's, filed as "~UID/x"; "~UID/x" names anybody's, and counts as long as "~/x". Other
 * segments may hold any '~'.
 */
#define NAME_MAX_SIZE 255

/* "~4294967295" in place of "~": what filing may add. */
#define NAME_FILED_MAX (NAME_MAX_SIZE + 10)

/* NULL when the name is good, else what is wrong with it, as a sentence part. */
const char *name_fault(struct span name);

/* As name_fault for the beginning of a name: empty, or cut anywhere between two characters. */
const char *name_prefix_fault(struct span prefix);

/*
 * Files a good name or prefix for the user `uid`: "~/x" (and a bare "~") becomes "~UID/x", anything
 * else is copied. Returns the bytes written to `out`.
 */
size_t name_file(char out[static NAME_FILED_MAX], struct span name, uint32_t uid);

/* The reverse, for answers: "~UID/x" becomes "~/x" when the uid is the caller's. Returns bytes. */
size_t name_show(char out[static NAME_FILED_MAX], struct span filed, uint32_t uid);

/* Whether a filed name lies in the space of `uid`. */
bool name_is_of(struct span filed, uint32_t uid);
