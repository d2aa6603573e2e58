/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/security/slide.h"

static void slide_in(struct slide *slide, size_t at)
{
	uint16_t *count = &slide->counts[slide->bytes[at]];

	slide->distinct += *count == 0;
	slide->squares += 2u * *count + 1;
	++*count;
	slide->unknown += !slide->known[at];
}

static void slide_out(struct slide *slide, size_t at)
{
	uint16_t *count = &slide->counts[slide->bytes[at]];

	--*count;
	slide->squares -= 2u * *count + 1;
	slide->distinct -= *count == 0;
	slide->unknown -= !slide->known[at];
}

bool slide_init(struct slide *slide, const struct source *source, const uint8_t *known, size_t size)
{
	*slide = (struct slide){
		.bytes = source->bytes, .known = known, .size = size, .end = source->size
	};
	if (source->size < size)
		return false;
	for (size_t at = 0; at < size; at++)
		slide_in(slide, at);
	return true;
}

bool slide_next(struct slide *slide)
{
	if (slide->at + slide->size >= slide->end)
		return false;
	slide_out(slide, slide->at);
	slide_in(slide, slide->at + slide->size);
	slide->at++;
	return true;
}
