/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <check.h>
#include <stdlib.h>

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
