/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/peer_place.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"

/* -- names that systemd gives -------------------------------------------------------------- */

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			      "0123456789:-_.\\@";

/* What has a cgroup beside slices (systemd.unit(5)). */
static const char *const kinds[] = { ".service", ".scope", ".socket", ".mount", ".swap" };

static bool ends_with(struct span name, const char *text)
{
	size_t size = strlen(text);

	/* Something stands in front of it. */
	return name.size > size && memcmp(name.data + name.size - size, text, size) == 0;
}

static bool is_name(struct span name)
{
	for (size_t i = 0; i < name.size; i++)
		if (name.data[i] == '\0' || !strchr(letters, name.data[i]))
			return false;
	return name.size > 0 && name.size < PEER_UNIT_MAX;
}

bool peer_place_is_unit(struct span name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (ends_with(name, kinds[i]))
			return is_name(name);
	return false;
}

bool peer_place_is_slice(struct span name)
{
	return ends_with(name, ".slice") && is_name(name);
}

static struct span without_end(struct span slice)
{
	return span_of(slice.data, slice.size - strlen(".slice"));
}

/* A slice is called after the one that it lies in, and a dash, which is in no other place. */
static bool is_slice_in(struct span name, struct span parent)
{
	struct span stem;

	if (!peer_place_is_slice(name))
		return false;
	stem = without_end(name);
	if (parent.size > 0) {
		parent = without_end(parent);
		if (stem.size <= parent.size + 1 || !span_starts_with(stem, parent) ||
			stem.data[parent.size] != '-')
			return false;
		stem = span_of(stem.data + parent.size + 1, stem.size - parent.size - 1);
	}
	return stem.size > 0 && !memchr(stem.data, '-', stem.size);
}

/* -- the way down -------------------------------------------------------------------------- */

/* Cuts the next name off a path; an empty one at its end. */
static struct span next_name(struct span *path)
{
	const uint8_t *begin, *end;
	size_t size;

	if (path->size == 0 || path->data[0] != '/')
		return span_of(NULL, 0);
	begin = path->data + 1;
	end = memchr(begin, '/', path->size - 1);
	size = end ? (size_t)(end - begin) : path->size - 1;
	*path = span_of(begin + size, path->size - 1 - size);
	/* What would be a file of the kernel's has a mark in front (systemd's cg_escape). */
	return size > 1 && begin[0] == '_' ? span_of(begin + 1, size - 1) : span_of(begin, size);
}

/* Goes down as long as there are slices. Returns the innermost, and what is behind it in `*next`.
 */
static struct span skip_slices(struct span *path, struct span *next)
{
	struct span slice = span_of(NULL, 0);

	while (is_slice_in(*next = next_name(path), slice))
		slice = *next;
	return slice;
}

static void keep(char out[PEER_UNIT_MAX], struct span name)
{
	if (name.size > 0)
		memcpy(out, name.data, name.size);
	out[name.size] = '\0';
}

/* Whether it is the service manager of that user, in the slice of that user. */
static bool is_manager_of(uid_t uid, struct span slice, struct span unit)
{
	char expected[2][64];

	snprintf(expected[0], sizeof(expected[0]), "user-%lu.slice", (unsigned long)uid);
	snprintf(expected[1], sizeof(expected[1]), "user@%lu.service", (unsigned long)uid);
	return span_equal(slice, span_text(expected[0])) &&
		span_equal(unit, span_text(expected[1]));
}

struct span peer_place_path(struct span text)
{
	const struct span unified = span_text("0::/");
	size_t begin;

	if (text.size == 0 || text.data[text.size - 1] != '\n')
		return span_of(NULL, 0);
	text.size--;
	for (begin = text.size; begin > 0 && text.data[begin - 1] != '\n';)
		begin--;
	text = span_of(text.data + begin, text.size - begin);
	/* The slash is the path's. */
	return span_starts_with(text, unified)
		? span_of(text.data + unified.size - 1, text.size - unified.size + 1)
		: span_of(NULL, 0);
}

void peer_place_read(struct peer_place *place, struct span path, uid_t uid)
{
	bool is_system = span_starts_with(path, span_text("/system.slice/"));
	struct span rest = path, unit, slice;

	place->unit[0] = place->slice[0] = place->userunit[0] = '\0';
	/* From the root of another namespace the kernel tells the way up to ours. */
	place->known = path.size > 0 && path.data[0] == '/' &&
		!span_equal(path, span_text("/..")) && !span_starts_with(path, span_text("/../"));
	if (!place->known)
		return;
	slice = skip_slices(&rest, &unit);
	keep(place->slice, slice);
	if (is_system && peer_place_is_unit(unit))
		keep(place->unit, unit);
	if (!is_manager_of(uid, slice, unit))
		return;
	skip_slices(&rest, &unit);
	if (peer_place_is_unit(unit))
		keep(place->userunit, unit);
}

uint64_t peer_place_digest(const struct peer_place *place)
{
	static const uint8_t key[crypto_shorthash_KEYBYTES];
	uint8_t texts[3 * PEER_UNIT_MAX];
	uint8_t digest[crypto_shorthash_BYTES];
	size_t size;

	if (!place || !place->known)
		return 0;
	size = (size_t)(stpcpy(stpcpy(stpcpy((char *)texts, place->unit) + 1, place->slice) + 1,
				place->userunit) -
		(char *)texts);
	crypto_shorthash(digest, texts, size, key);
	return (bytes_get64(digest) & ~UINT64_C(3)) | (place->pinned ? 1 : 2);
}
