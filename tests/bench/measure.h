/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdlib.h>
#include <time.h>

/* What a call takes, as the benchmarks tell it. */
#define MEASURE_ROUNDS 9

static inline double measure_clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static inline int measure_by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Microseconds a call, the median of some rounds. */
static inline double measure(void (*function)(void), int calls)
{
	double values[MEASURE_ROUNDS];

	for (int i = 0; i < MEASURE_ROUNDS; i++) {
		double begin = measure_clock_us();

		for (int j = 0; j < calls; j++)
			function();
		values[i] = (measure_clock_us() - begin) / calls;
	}
	qsort(values, MEASURE_ROUNDS, sizeof(values[0]), measure_by_value);
	return values[MEASURE_ROUNDS / 2];
}
