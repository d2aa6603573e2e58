/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/quantity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Where the digits end, or NULL when there are none, or too many. */
static const char *read_digits(const char *text, uint64_t *numberp)
{
	unsigned long long number;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return NULL;
	errno = 0;
	number = strtoull(text, &end, 10);
	*numberp = number;
	return errno == 0 ? end : NULL;
}

uint64_t quantity_read(const char *text, const struct unit *units, size_t count)
{
	uint64_t number;
	const char *unit = read_digits(text, &number);

	for (size_t i = 0; unit && i < count; i++)
		if (strcmp(unit, units[i].name) == 0 && number <= UINT64_MAX / units[i].factor)
			return number * units[i].factor;
	return 0;
}

bool quantity_read_id(const char *text, uint32_t *idp)
{
	uint64_t number;
	const char *end = read_digits(text, &number);

	if (!end || *end != '\0' || number >= UINT32_MAX)
		return false;
	*idp = (uint32_t)number;
	return true;
}
