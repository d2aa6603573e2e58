/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/name.h"

#include <stdio.h>
#include <string.h>

#include "common/wire/text.h"

/* The first segment of a name or of what is left of one. */
static struct span first_segment(struct span name)
{
	const uint8_t *slash = name.size > 0 ? memchr(name.data, '/', name.size) : NULL;

	return span_of(name.data, slash ? (size_t)(slash - name.data) : name.size);
}

static const char *segment_fault(struct span segment)
{
	if (segment.size == 0)
		return "has an empty segment";
	if (span_equal(segment, span_text(".")) || span_equal(segment, span_text("..")))
		return "has a segment \".\" or \"..\"";
	return NULL;
}

/* The largest uid; the one above it means "none". */
#define UID_LARGEST UINT32_C(4294967294)

/* Whether the bytes are a uid in decimal, without leading zeros. */
static bool is_uid(struct span digits)
{
	uint64_t uid = 0;

	if (digits.size == 0 || digits.size > 10 || (digits.size > 1 && digits.data[0] == '0'))
		return false;
	for (size_t i = 0; i < digits.size; i++) {
		if (digits.data[i] < '0' || digits.data[i] > '9')
			return false;
		uid = 10 * uid + (uint64_t)(digits.data[i] - '0');
	}
	return uid <= UID_LARGEST;
}

/* A first segment with '~' is a user's space, and nothing else may look like one. */
static const char *space_fault(struct span segment)
{
	if (segment.size <= 1 || segment.data[0] != '~')
		return NULL;
	if (is_uid(span_of(segment.data + 1, segment.size - 1)))
		return NULL;
	return "begins with '~' but is neither ~/... nor ~UID/...";
}

/*
 * The size as its owner says the name, "~" for "~UID": otherwise a long name of somebody's own
 * space could be stored, but not be named by anybody else.
 */
static size_t said_size(struct span name)
{
	struct span first = first_segment(name);

	if (first.size <= 1 || first.data[0] != '~' || space_fault(first))
		return name.size;
	return name.size - (first.size - 1);
}

/* Goes through all segments but, when asked, the last. */
static const char *segments_fault(struct span name, bool last_too)
{
	size_t at = 0;

	for (;;) {
		struct span segment = first_segment(span_of(name.data + at, name.size - at));
		bool last = at + segment.size == name.size;
		const char *fault = last && !last_too ? NULL : segment_fault(segment);

		if (fault || last)
			return fault;
		at += segment.size + 1;
	}
}

const char *name_fault(struct span name)
{
	struct span first = first_segment(name);
	const char *fault;

	if (name.size == 0)
		return "is empty";
	if (said_size(name) > NAME_MAX_SIZE)
		return "is longer than 255 bytes";
	fault = text_fault(name);
	if (!fault)
		fault = space_fault(first);
	if (!fault && first.size == name.size && name.data[0] == '~')
		fault = "names nothing inside the space";
	return fault ? fault : segments_fault(name, true);
}

const char *name_prefix_fault(struct span prefix)
{
	struct span first = first_segment(prefix);
	const char *fault;

	if (prefix.size == 0)
		return NULL;
	if (said_size(prefix) > NAME_MAX_SIZE)
		return "is longer than 255 bytes";
	fault = text_fault(prefix);
	if (!fault)
		fault = space_fault(first);
	/* A last segment that is "." or ".." may still grow into a good one. */
	return fault ? fault : segments_fault(prefix, false);
}

/* "~UID/", without a final NUL; gives its size. */
static size_t write_space(char out[static 16], uint32_t uid)
{
	return (size_t)snprintf(out, 16, "~%u/", uid);
}

size_t name_file(char out[static NAME_FILED_MAX], struct span name, uint32_t uid)
{
	bool own = name.size > 0 && name.data[0] == '~' && (name.size == 1 || name.data[1] == '/');
	char space[16];
	size_t size = 0;

	if (own) {
		size = write_space(space, uid) - 1;
		memcpy(out, space, size);
		name = span_of(name.data + 1, name.size - 1);
	}
	if (name.size > 0)
		memcpy(out + size, name.data, name.size);
	return size + name.size;
}

bool name_is_of(struct span filed, uint32_t uid)
{
	char space[16];

	return span_starts_with(filed, span_of(space, write_space(space, uid)));
}

size_t name_show(char out[static NAME_FILED_MAX], struct span filed, uint32_t uid)
{
	size_t skipped = 0;

	if (name_is_of(filed, uid)) {
		skipped = first_segment(filed).size;
		*out++ = '~';
	}
	if (filed.size > skipped)
		memcpy(out, filed.data + skipped, filed.size - skipped);
	return filed.size - skipped + (skipped > 0);
}
