/* SPDX-License-Identifier: Apache-2.0 */
#include "common/audit/audit_line.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

_Static_assert(AUDIT_KEY_SIZE == crypto_sign_PUBLICKEYBYTES, "Ed25519");
_Static_assert(AUDIT_SEED_SIZE == crypto_sign_SEEDBYTES, "Ed25519");
_Static_assert(AUDIT_SIGNATURE_SIZE == crypto_sign_BYTES, "Ed25519");

/* Sixteen bytes, as BLAKE2b's personalisation wants them: what is hashed is never what is signed.
 */
static const uint8_t line_personal[crypto_generichash_blake2b_PERSONALBYTES] = "mg audit line 1";
static const uint8_t sign_personal[crypto_generichash_blake2b_PERSONALBYTES] = "mg audit sign 1";

static void digest(uint8_t out[static AUDIT_HASH_SIZE], struct span text,
	const uint8_t personal[static crypto_generichash_blake2b_PERSONALBYTES])
{
	static const uint8_t salt[crypto_generichash_blake2b_SALTBYTES];

	crypto_generichash_blake2b_salt_personal(
		out, AUDIT_HASH_SIZE, text.data, text.size, NULL, 0, salt, personal);
}

/* -- writing ------------------------------------------------------------------------------- */

static void put(struct audit_draft *draft, const char *text, size_t size)
{
	if (draft->full || size > draft->room - draft->used) {
		draft->full = true;
		return;
	}
	memcpy(draft->bytes + draft->used, text, size);
	draft->used += size;
}

static void put_text(struct audit_draft *draft, const char *text)
{
	put(draft, text, strlen(text));
}

static void put_number(struct audit_draft *draft, uint64_t number, size_t least)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0 || sizeof(digits) - at < least);
	put(draft, digits + at, sizeof(digits) - at);
}

static void put_hex(struct audit_draft *draft, const uint8_t *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		const char pair[] = { digits[bytes[i] >> 4], digits[bytes[i] & 15] };

		put(draft, pair, sizeof(pair));
	}
}

static void put_unit(struct audit_draft *draft, uint32_t unit)
{
	const uint8_t bytes[] = { (uint8_t)(unit >> 8), (uint8_t)unit };

	put_text(draft, "\\u");
	put_hex(draft, bytes, sizeof(bytes));
}

/* Beyond 16 bits it takes two. */
static void put_character(struct audit_draft *draft, uint32_t character)
{
	if (character >= 0x10000) {
		put_unit(draft, 0xd800 + ((character - 0x10000) >> 10));
		character = 0xdc00 + ((character - 0x10000) & 0x3ff);
	}
	put_unit(draft, character);
}

/*
 * The character at the beginning of a text that is not empty. Returns its bytes; what is no UTF-8
 * is one byte, and U+FFFD. Source: RFC 3629.
 */
static size_t take_character(struct span text, uint32_t *characterp)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t first = text.data[0];
	size_t size = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t character = size <= 1 ? first : first & (0xffu >> (size + 1));

	*characterp = 0xfffd;
	if (size == 0 || first >= 0xf8 || size > text.size)
		return 1;
	for (size_t i = 1; i < size; i++) {
		if ((text.data[i] & 0xc0) != 0x80)
			return 1;
		character = character << 6 | (text.data[i] & 0x3fu);
	}
	if (character < least[size] || character > 0x10ffff ||
		(character >= 0xd800 && character < 0xe000))
		return 1;
	*characterp = character;
	return size;
}

static void put_string(struct audit_draft *draft, struct span text)
{
	put_text(draft, "\"");
	for (size_t at = 0; at < text.size;) {
		uint32_t character;
		size_t size = take_character(span_of(text.data + at, text.size - at), &character);

		if (character < 0x20 || character > 0x7e)
			put_character(draft, character);
		else if (character == '"' || character == '\\')
			put(draft, character == '"' ? "\\\"" : "\\\\", 2);
		else
			put(draft, (const char *)text.data + at, 1);
		at += size;
	}
	put_text(draft, "\"");
}

static void put_key(struct audit_draft *draft, const char *key)
{
	put_text(draft, ",\"");
	put_text(draft, key);
	put_text(draft, "\":");
}

/* 2026-01-31T12:00:00.000Z */
static void put_time(struct audit_draft *draft, int64_t time_ms)
{
	time_t seconds = (time_t)(time_ms / 1000);
	struct tm moment = { 0 };

	gmtime_r(&seconds, &moment);
	put_number(draft, (uint64_t)moment.tm_year + 1900, 4);
	put_text(draft, "-");
	put_number(draft, (uint64_t)moment.tm_mon + 1, 2);
	put_text(draft, "-");
	put_number(draft, (uint64_t)moment.tm_mday, 2);
	put_text(draft, "T");
	put_number(draft, (uint64_t)moment.tm_hour, 2);
	put_text(draft, ":");
	put_number(draft, (uint64_t)moment.tm_min, 2);
	put_text(draft, ":");
	put_number(draft, (uint64_t)moment.tm_sec, 2);
	put_text(draft, ".");
	put_number(draft, (uint64_t)(time_ms % 1000), 3);
	put_text(draft, "Z");
}

void audit_draft_begin(struct audit_draft *draft, char *bytes, size_t room,
	const struct audit_head *head, int64_t time_ms, const char *type)
{
	*draft = (struct audit_draft){ .bytes = bytes, .room = room };
	put_text(draft, "{\"n\":");
	put_number(draft, head->number + 1, 1);
	put_text(draft, ",\"time\":\"");
	put_time(draft, time_ms > 0 ? time_ms : 0);
	put_text(draft, "\",\"type\":\"");
	put_text(draft, type);
	put_text(draft, "\"");
}

void audit_draft_text(struct audit_draft *draft, const char *key, struct span text)
{
	put_key(draft, key);
	put_string(draft, text);
}

void audit_draft_number(struct audit_draft *draft, const char *key, uint64_t number)
{
	put_key(draft, key);
	put_number(draft, number, 1);
}

void audit_draft_hex(struct audit_draft *draft, const char *key, const uint8_t *bytes, size_t size)
{
	put_key(draft, key);
	put_text(draft, "\"");
	put_hex(draft, bytes, size);
	put_text(draft, "\"");
}

void audit_draft_sign(struct audit_draft *draft, const struct audit_head *head,
	const uint8_t seed[static AUDIT_SEED_SIZE])
{
	uint8_t public[crypto_sign_PUBLICKEYBYTES];
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	uint8_t signature[AUDIT_SIGNATURE_SIZE];
	uint8_t hash[AUDIT_HASH_SIZE];

	audit_draft_hex(draft, "prev", head->hash, sizeof(head->hash));
	digest(hash, span_of(draft->bytes, draft->used), sign_personal);
	crypto_sign_seed_keypair(public, secret, seed);
	crypto_sign_detached(signature, NULL, hash, sizeof(hash), secret);
	sodium_memzero(secret, sizeof(secret));
	audit_draft_hex(draft, "sig", signature, sizeof(signature));
	draft->linked = true;
}

int audit_draft_end(struct audit_draft *draft, struct audit_head *head)
{
	struct audit_head next = { .number = head->number + 1 };

	if (!draft->linked)
		audit_draft_hex(draft, "prev", head->hash, sizeof(head->hash));
	digest(next.hash, span_of(draft->bytes, draft->used), line_personal);
	audit_draft_hex(draft, "hash", next.hash, sizeof(next.hash));
	put_text(draft, "}\n");
	if (draft->full)
		return -ENOSPC;
	*head = next;
	return (int)draft->used;
}

void audit_public_key(
	uint8_t key[static AUDIT_KEY_SIZE], const uint8_t seed[static AUDIT_SEED_SIZE])
{
	uint8_t secret[crypto_sign_SECRETKEYBYTES];

	crypto_sign_seed_keypair(key, secret, seed);
	sodium_memzero(secret, sizeof(secret));
}

/* -- reading ------------------------------------------------------------------------------- */

/* A line while it is taken apart. */
struct parsing {
	struct span text;
	size_t at;
};

/* One member: its name, and its value without quotes. */
struct member {
	struct span key;
	struct span value;
	size_t begin; /* where it begins in the line, the comma in front included */
	bool number;
};

static bool eat(struct parsing *parsing, char byte)
{
	if (parsing->at >= parsing->text.size || parsing->text.data[parsing->at] != byte)
		return false;
	parsing->at++;
	return true;
}

static bool is_hex(uint8_t byte)
{
	return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
}

/* Behind a backslash. */
static bool eat_escape(struct parsing *parsing)
{
	if (eat(parsing, '"') || eat(parsing, '\\'))
		return true;
	if (!eat(parsing, 'u'))
		return false;
	for (int i = 0; i < 4; i++, parsing->at++)
		if (parsing->at >= parsing->text.size || !is_hex(parsing->text.data[parsing->at]))
			return false;
	return true;
}

static bool read_string(struct parsing *parsing, struct span *out)
{
	size_t begin;

	if (!eat(parsing, '"'))
		return false;
	begin = parsing->at;
	while (parsing->at < parsing->text.size && parsing->text.data[parsing->at] != '"') {
		uint8_t byte = parsing->text.data[parsing->at++];

		if (byte < 0x20 || byte > 0x7e)
			return false;
		if (byte == '\\' && !eat_escape(parsing))
			return false;
	}
	*out = span_of(parsing->text.data + begin, parsing->at - begin);
	return eat(parsing, '"');
}

static bool read_digits(struct parsing *parsing, struct span *out)
{
	size_t begin = parsing->at;

	while (parsing->at < parsing->text.size && parsing->text.data[parsing->at] >= '0' &&
		parsing->text.data[parsing->at] <= '9')
		parsing->at++;
	*out = span_of(parsing->text.data + begin, parsing->at - begin);
	return out->size > 0;
}

static bool read_member(struct parsing *parsing, struct member *member)
{
	member->begin = parsing->at;
	if (!eat(parsing, member->begin == 0 ? '{' : ',') || !read_string(parsing, &member->key) ||
		!eat(parsing, ':'))
		return false;
	member->number = parsing->at < parsing->text.size && parsing->text.data[parsing->at] != '"';
	return member->number ? read_digits(parsing, &member->value)
			      : read_string(parsing, &member->value);
}

static bool is_called(const struct member *member, const char *key)
{
	return span_equal(member->key, span_text(key));
}

/* At most 19 digits, of which the first one is not 0 for nothing. */
static bool to_number(const struct member *member, uint64_t *numberp)
{
	*numberp = 0;
	if (!member->number || member->value.size > 19 ||
		(member->value.size > 1 && member->value.data[0] == '0'))
		return false;
	for (size_t i = 0; i < member->value.size; i++)
		*numberp = *numberp * 10 + member->value.data[i] - '0';
	return true;
}

static uint8_t digit(uint8_t byte)
{
	return (uint8_t)(byte <= '9' ? byte - '0' : byte - 'a' + 10);
}

static bool to_bytes(const struct member *member, uint8_t *out, size_t size)
{
	if (member->number || member->value.size != 2 * size)
		return false;
	for (size_t i = 0; i < 2 * size; i++)
		if (!is_hex(member->value.data[i]))
			return false;
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(digit(member->value.data[2 * i]) << 4 |
			digit(member->value.data[2 * i + 1]));
	return true;
}

/* What stands between the first three members and the last ones. */
static bool take_member(struct audit_line *line, const struct member *member)
{
	if (is_called(member, "key")) {
		if (line->keyed)
			return false;
		return line->keyed = to_bytes(member, line->key, sizeof(line->key));
	}
	if (is_called(member, "next")) {
		if (line->renewed)
			return false;
		return line->renewed = to_bytes(member, line->next, sizeof(line->next));
	}
	if (is_called(member, "lost"))
		return to_number(member, &line->lost);
	if (is_called(member, "why")) {
		line->why = member->value;
		return !member->number;
	}
	return !is_called(member, "n") && !is_called(member, "time") && !is_called(member, "type");
}

static bool read_beginning(struct parsing *parsing, struct audit_line *line)
{
	struct member member;

	if (!read_member(parsing, &member) || !is_called(&member, "n") ||
		!to_number(&member, &line->number) || line->number == 0)
		return false;
	if (!read_member(parsing, &member) || !is_called(&member, "time") || member.number)
		return false;
	if (!read_member(parsing, &member) || !is_called(&member, "type") || member.number)
		return false;
	line->type = member.value;
	return true;
}

/* From "prev" on, which has been read. */
static bool read_end(struct parsing *parsing, struct audit_line *line, struct member *member)
{
	uint8_t hash[AUDIT_HASH_SIZE];

	if (!to_bytes(member, line->previous, sizeof(line->previous)) ||
		!read_member(parsing, member))
		return false;
	line->is_signed = is_called(member, "sig");
	if (line->is_signed) {
		line->text = span_of(parsing->text.data, member->begin);
		if (!to_bytes(member, line->signature, sizeof(line->signature)) ||
			!read_member(parsing, member))
			return false;
	}
	if (!is_called(member, "hash") || !to_bytes(member, line->hash, sizeof(line->hash)) ||
		!eat(parsing, '}') || parsing->at != parsing->text.size)
		return false;
	digest(hash, span_of(parsing->text.data, member->begin), line_personal);
	line->intact = memcmp(hash, line->hash, sizeof(hash)) == 0;
	return true;
}

int audit_line_read(struct audit_line *line, struct span text)
{
	struct parsing parsing = { .text = text };
	struct member member;

	*line = (struct audit_line){ 0 };
	if (text.size >= AUDIT_LINE_MAX || !read_beginning(&parsing, line))
		return -EBADMSG;
	while (read_member(&parsing, &member)) {
		if (is_called(&member, "prev"))
			return read_end(&parsing, line, &member) ? 0 : -EBADMSG;
		if (!take_member(line, &member))
			break;
	}
	return -EBADMSG;
}

bool audit_line_signed_by(const struct audit_line *line, const uint8_t key[static AUDIT_KEY_SIZE])
{
	uint8_t hash[AUDIT_HASH_SIZE];

	if (!line->is_signed)
		return false;
	digest(hash, line->text, sign_personal);
	return crypto_sign_verify_detached(line->signature, hash, sizeof(hash), key) == 0;
}
