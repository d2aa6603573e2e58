/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* The fuzzer's entrance, and the replay's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A claim that must hold for every input. */
#define MUST(claim) \
	do { \
		if (!(claim)) \
			abort(); \
	} while (0)
