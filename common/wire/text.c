/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/text.h"

/* How many bytes a character takes, by its first one, and the least code point of that length. */
static size_t sequence_size(uint8_t first, uint32_t *bits, uint32_t *least)
{
	static const struct {
		uint8_t mask, lead;
		uint32_t least;
	} forms[] = {
		{ 0x80, 0x00, 0 },
		{ 0xe0, 0xc0, 0x80 },
		{ 0xf0, 0xe0, 0x800 },
		{ 0xf8, 0xf0, 0x10000 },
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if ((first & forms[i].mask) == forms[i].lead) {
			*bits = first & (uint8_t)~forms[i].mask;
			*least = forms[i].least;
			return i + 1;
		}
	}
	return 0;
}

/* Bytes of the character at the beginning of `text`, 0 when it is none. */
static size_t next_character(struct span text, uint32_t *character)
{
	uint32_t least;
	size_t size = sequence_size(text.data[0], character, &least);

	if (size == 0 || size > text.size)
		return 0;
	for (size_t i = 1; i < size; i++) {
		if ((text.data[i] & 0xc0) != 0x80)
			return 0;
		*character = *character << 6 | (text.data[i] & 0x3f);
	}
	if (*character < least || *character > 0x10ffff)
		return 0;
	return *character >= 0xd800 && *character <= 0xdfff ? 0 : size;
}

const char *text_fault(struct span text)
{
	uint32_t c;
	size_t size;

	for (size_t at = 0; at < text.size; at += size) {
		size = next_character(span_of(text.data + at, text.size - at), &c);
		if (size == 0)
			return "is not UTF-8";
		if (c < 0x20 || (c >= 0x7f && c <= 0x9f))
			return "has a control character";
	}
	return NULL;
}
