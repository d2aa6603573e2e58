/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_reason.h"

#include <string.h>

#include "daemon/policy/policy_right.h"

const char *config_read_reasons(uint32_t *reasons, const char *text)
{
	struct span word;

	*reasons = 0;
	if (strcmp(text, "no") == 0)
		return NULL;
	if (rights_read(reasons, span_text(text), &word))
		return "is neither no nor operations, each of them once, such as get,rm, or * for "
		       "all";
	if (*reasons != RIGHTS_OF_NAMES && *reasons & RIGHTS_THAT_SHOW)
		return "names ls or watch, which need no reason";
	*reasons &= ~RIGHTS_THAT_SHOW;
	return NULL;
}
