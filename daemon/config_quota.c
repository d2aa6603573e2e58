/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_quota.h"

#include <stdbool.h>
#include <string.h>

#include "daemon/quantity.h"

#define NUMBER_MOST 1000000000
#define BYTES_MOST (UINT64_C(1) << 40)

static const char *read_number(uint64_t *quota, const char *text, const char *right)
{
	static const struct unit units[] = { { "", 1 }, { "k", 1000 }, { "m", 1000000 } };

	*quota = quantity_read(text, units, sizeof(units) / sizeof(units[0]));
	return *quota > 0 && *quota <= NUMBER_MOST ? NULL : right;
}

static bool is_none(uint64_t *quota, const char *text, const char *other)
{
	*quota = 0;
	return strcmp(text, "no") == 0 || strcmp(text, other) == 0;
}

const char *config_read_quota(uint64_t *quota, const char *text)
{
	return is_none(quota, text, "no")
		? NULL
		: read_number(quota, text, "is neither no nor a number from 1 to 1000m");
}

const char *config_read_quota_count(uint64_t *quota, const char *text)
{
	return is_none(quota, text, "0")
		? NULL
		: read_number(quota, text, "is neither no nor a number from 0 to 1000m");
}

const char *config_read_quota_bytes(uint64_t *quota, const char *text)
{
	static const struct unit sizes[] = { { "", 1 }, { "k", 1 << 10 }, { "m", 1 << 20 },
		{ "g", 1 << 30 } };

	if (is_none(quota, text, "0"))
		return NULL;
	*quota = quantity_read(text, sizes, sizeof(sizes) / sizeof(sizes[0]));
	return *quota > 0 && *quota <= BYTES_MOST ? NULL
						  : "is neither no nor a size from 0 to 1024g";
}
