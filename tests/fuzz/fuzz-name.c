/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "common/wire/name.h"
#include "tests/fuzz/fuzz.h"

/* A good name is also a good prefix, and filing it and showing it again changes nothing. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span name = span_of(data, size);
	char filed[NAME_FILED_MAX], shown[NAME_FILED_MAX], again[NAME_FILED_MAX];
	size_t filed_size, shown_size;

	(void)name_prefix_fault(name);
	if (name_fault(name))
		return 0;
	MUST(size >= 1 && size <= NAME_FILED_MAX && !memchr(data, 0, size));
	MUST(!name_prefix_fault(name));
	filed_size = name_file(filed, name, 1000);
	MUST(filed_size >= size && filed_size <= NAME_FILED_MAX);
	shown_size = name_show(shown, span_of(filed, filed_size), 1000);
	MUST(shown_size <= filed_size);
	MUST(name_file(again, span_of(shown, shown_size), 1000) == filed_size);
	MUST(memcmp(again, filed, filed_size) == 0);
	MUST(data[0] != '~' || filed[1] != '/');
	MUST(!name_is_of(span_of(filed, filed_size), 1000) || memcmp(filed, "~1000/", 6) == 0);
	return 0;
}
