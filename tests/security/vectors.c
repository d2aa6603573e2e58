/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/security/vectors.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <string.h>

/*
 * Intel's manual, volume 1, chapter 13: where each part of the registers stands is told by CPUID
 * leaf 0xd, all but the first 16 bytes, which stand where FXSAVE has always put them.
 */
#define LEAF_STATE 0xd
#define LEGACY_VECTORS 160

static const struct part {
	unsigned component; /* 0: the legacy area */
	unsigned first;     /* register */
	unsigned count;
	size_t at; /* byte of the register */
	size_t width;
} parts[] = {
	{ 0, 0, 16, 0, 16 },
	{ 2, 0, 16, 16, 16 },
	{ 6, 0, 16, 32, 32 },
	{ 7, 16, 16, 0, 64 },
};

static size_t place_of(const struct part *part)
{
	unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;

	if (part->component == 0)
		return LEGACY_VECTORS;
	if (!__get_cpuid_count(LEAF_STATE, part->component, &eax, &ebx, &ecx, &edx))
		return 0;
	return ebx;
}

size_t vectors_join(uint8_t out[static VECTORS_SIZE], const uint8_t *state, size_t size)
{
	memset(out, 0, VECTORS_SIZE);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const struct part *part = &parts[i];
		size_t place = place_of(part);

		if (place == 0 || place + part->count * part->width > size)
			continue;
		for (size_t k = 0; k < part->count; k++)
			memcpy(out + (part->first + k) * VECTORS_WIDTH + part->at,
				state + place + k * part->width, part->width);
	}
	return VECTORS_SIZE;
}

#else

size_t vectors_join(uint8_t out[static VECTORS_SIZE], const uint8_t *state, size_t size)
{
	(void)out;
	(void)state;
	(void)size;
	return 0;
}

#endif
