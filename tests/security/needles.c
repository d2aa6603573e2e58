/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/security/needles.h"

#include <errno.h>
#include <stdlib.h>

int needles_init(struct needles *needles, size_t bytes)
{
	*needles = (struct needles){ 0 };
	return windows_init(&needles->windows, bytes + 1);
}

void needles_free(struct needles *needles)
{
	windows_free(&needles->windows);
	free(needles->items);
	*needles = (struct needles){ 0 };
}

int needles_add(struct needles *needles, struct needle needle, const uint8_t *bytes, size_t size)
{
	if (needles->count == needles->room) {
		size_t room = needles->room ? 2 * needles->room : 64;
		struct needle *items = realloc(needles->items, room * sizeof(*items));

		if (!items)
			return -ENOMEM;
		needles->items = items;
		needles->room = room;
	}
	windows_add(&needles->windows, bytes, size, 1, (uint32_t)needles->count);
	needles->items[needles->count++] = needle;
	return 0;
}

static void look_at(const struct needles *needles, const struct source *source, size_t at,
	needle_fn on_needle, void *context)
{
	static const char *const how[] = { "", ", inverted", ", reversed" };
	uint64_t bytes = window_read(source->bytes + at);
	const uint64_t forms[] = { bytes, ~bytes, __builtin_bswap64(bytes) };

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		const struct window *window = windows_find(&needles->windows, forms[i]);

		if (window)
			on_needle(context, &needles->items[window->owner], source, at,
				window->offset, how[i]);
	}
}

void needles_look(const struct needles *needles, const struct source *source, needle_fn on_needle,
	void *context)
{
	for (size_t at = 0; at + WINDOW_SIZE <= source->size; at++)
		if (window_read(source->bytes + at) != 0)
			look_at(needles, source, at, on_needle, context);
}
