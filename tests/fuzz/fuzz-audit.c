/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <string.h>

#include "common/audit/audit_chain.h"
#include "tests/fuzz/fuzz.h"

/*
 * A log is anybody's bytes. Whatever they are, what is found intact was not made without the hash
 * of each line; and a text in a line of ours never makes two lines of it, or another one.
 */
static void look_at_log(const uint8_t *data, size_t size)
{
	struct audit_chain chain;

	audit_chain_init(&chain);
	while (size > 0) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t line = end ? (size_t)(end - data) : size;
		int r = audit_chain_take(&chain, span_of(data, line), end != NULL);

		MUST((r == 0) == (chain.fault[0] == '\0'));
		data += end ? line + 1 : line;
		size -= end ? line + 1 : line;
	}
	if (audit_chain_end(&chain) == 0)
		MUST(chain.records > 0 && chain.head.number >= chain.first);
	else
		MUST(chain.fault[0] != '\0');
}

static void write_text(const uint8_t *data, size_t size)
{
	static char bytes[AUDIT_LINE_MAX];
	struct audit_head head = { .number = 41 };
	struct audit_draft draft;
	struct audit_line line;
	int used;

	audit_draft_begin(&draft, bytes, sizeof(bytes), &head, 0, "decision");
	audit_draft_text(&draft, "name", span_of(data, size));
	used = audit_draft_end(&draft, &head);
	if (used < 0)
		return;
	MUST(memchr(bytes, '\n', (size_t)used) == bytes + used - 1);
	MUST(audit_line_read(&line, span_of(bytes, (size_t)used - 1)) == 0);
	MUST(line.intact && line.number == 42 && !line.is_signed && !line.keyed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	MUST(sodium_init() >= 0);
	look_at_log(data, size);
	write_text(data, size);
	return 0;
}
