/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/conformance.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Runs every row in a process of its own, and prints a table: row, verdict, claim. */

static const struct row *const chapters[] = { buffer_rows, source_rows, enclave_rows, key_rows,
	purge_rows, stream_rows, memory_rows };

#define CHAPTERS (sizeof(chapters) / sizeof(chapters[0]))
#define ROW_MAX 48

static bool told[ROW_MAX + 1];

static void start(void)
{
	if (sodium_init() < 0)
		abort();
}

static Suite *suite_of(const struct row *row)
{
	Suite *suite = suite_create("conformance");
	TCase *claims = tcase_create("row");

	tcase_add_checked_fixture(claims, start, NULL);
	tcase_set_timeout(claims, 100);
	if (row->signal != 0)
		tcase_add_test_raise_signal(claims, *row->test, row->signal);
	else if (row->exit != 0)
		tcase_add_exit_test(claims, *row->test, row->exit);
	else
		tcase_add_test(claims, *row->test);
	suite_add_tcase(suite, claims);
	return suite;
}

/* Returns whether it passed. */
static bool run(const struct row *row)
{
	SRunner *runner = srunner_create(suite_of(row));
	bool passed;

	srunner_set_tap(runner, NULL);
	srunner_run_all(runner, CK_SILENT);
	passed = srunner_ntests_failed(runner) == 0;
	printf("%sok %2d - %s\n", passed ? "" : "not ", row->number, row->claim);
	if (!passed) {
		TestResult **results = srunner_failures(runner);

		printf("#      %s\n", tr_msg(results[0]));
		free(results);
	}
	fflush(stdout);
	srunner_free(runner);
	return passed;
}

int main(void)
{
	int missing = 0, failed = 0, run_count = 0;

	/* The table speaks the language of tests by itself. */
	unsetenv("CK_TAP_LOG_FILE_NAME");
	for (size_t i = 0; i < CHAPTERS; i++) {
		for (const struct row *row = chapters[i]; row->test; row++) {
			failed += !run(row);
			run_count++;
			told[row->number] = true;
		}
	}
	for (int number = 1; number <= ROW_MAX; number++) {
		if (told[number])
			continue;
		printf("not ok %2d - nobody asks\n", number);
		missing++;
	}
	printf("1..%d\n", run_count + missing);
	return failed + missing > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
