/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <check.h>

#include "tests/unit/claims.h"

/*
 * The rows of README.md beside, each as a claim with its test. A row that is told in several parts
 * has several entries, one after the other. `signal` or `exit` is how the test's process must end;
 * both 0: it returns.
 */
struct row {
	int number;
	const char *claim;
	const TTest *const *test; /* as check's macro defines it */
	int signal;
	int exit;
};

/* Each ends with an entry without a test. */
extern const struct row buffer_rows[];
extern const struct row source_rows[];
extern const struct row enclave_rows[];
extern const struct row key_rows[];
extern const struct row purge_rows[];
extern const struct row stream_rows[];
extern const struct row memory_rows[];
