/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/config.h"
#include "tests/fuzz/fuzz.h"

/* A file is taken whole, or refused with words and nothing changed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config, before;
	struct config_fault fault;

	memset(&config, 0, sizeof(config));
	config.max_value = 1 << 20;
	config.rekey_ms = 500;
	before = config;
	memset(&fault, 0, sizeof(fault));
	if (config_parse(&config, (const char *)data, size, "fuzz.conf", &fault) < 0) {
		MUST(fault.text[0] != '\0');
		MUST(memchr(fault.text, '\0', sizeof(fault.text)));
		MUST(memcmp(&config, &before, sizeof(config)) == 0);
		return 0;
	}
	MUST(config.max_value >= 1 && config.rekey_ms >= 10 && config.rekey_ms <= 60000);
	return 0;
}
