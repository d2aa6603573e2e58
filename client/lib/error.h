/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"

/*
 * The words for mg_last_error: one fixed buffer a thread. Each of these returns the status it was
 * given, so that a failure is one line: return error_say(MG_LIMIT, "...").
 */
int error_say(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The words that came from the daemon, or the status' own when there are none. */
int error_quote(int status, struct span words);

/* Puts what it is about in front of the words that were said last, as "name: words". */
int error_about(int status, struct span what);

/* The public status for a negative errno of the inside, with `what` in front of the words. */
int error_errno(int error, const char *what);
