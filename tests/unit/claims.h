/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>

/*
 * check writes down each assertion that holds, to tell after which one a process has died: a system
 * call, in loops a million of them. Here it does so the first time that one holds.
 */
/* clang-format off */
#define _mark_point(file, line)                        \
	__extension__({                                \
		static _Atomic bool marked_here;       \
		if (!marked_here) {                    \
			marked_here = true;            \
			(_mark_point)((file), (line)); \
		}                                      \
	})
/* clang-format on */

/* A file of claims: one test case, run in processes of their own, one line of result. */
static inline int claims_run(TCase *claims, const char *subject)
{
	Suite *suite = suite_create(subject);
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, claims);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
