/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/security/facts.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"

static void fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

/* -- values -------------------------------------------------------------------------------- */

int facts_note(struct facts *facts, const char *name, const uint8_t bytes[FACTS_MATERIAL_SIZE])
{
	struct fact_material *material = &facts->materials[facts->material_count];

	if (facts->material_count == FACTS_MATERIALS_MAX || strlen(name) >= sizeof(material->name))
		return -ENOSPC;
	memcpy(material->name, name, strlen(name) + 1);
	memcpy(material->bytes, bytes, sizeof(material->bytes));
	facts->material_count++;
	return 0;
}

/* XSalsa20 makes a key of its own from key and nonce, and from that one the key of the tag. */
static int note_chunk(struct facts *facts, const uint8_t *key, uint64_t number, bool final)
{
	uint8_t nonce[crypto_secretbox_NONCEBYTES] = { 0 };
	uint8_t derived[FACTS_MATERIAL_SIZE];
	int r;

	bytes_put64(nonce, number);
	nonce[8] = final;
	crypto_core_hsalsa20(derived, nonce, key, NULL);
	r = facts_note(facts, "subkey", derived);
	if (r < 0)
		return r;
	crypto_stream_xsalsa20(derived, sizeof(derived), nonce, key);
	return facts_note(facts, "tag-key", derived);
}

static int note_chunks(struct facts *facts, const struct fact_value *value)
{
	size_t last = (value->size - 1) / ENCLAVE_CHUNK_PLAIN;
	int r = 0;

	for (size_t i = 0; r == 0 && i <= last; i++)
		r = note_chunk(facts, value->key, i, i == last);
	return r;
}

int facts_draw(struct facts *facts, const char *name, size_t size, bool anchor)
{
	struct fact_value *value = &facts->values[facts->value_count];

	if (facts->value_count == FACTS_VALUES_MAX || strlen(name) >= sizeof(value->name))
		return -ENOSPC;
	value->plain = malloc(size);
	if (!value->plain)
		return -ENOMEM;
	memcpy(value->name, name, strlen(name) + 1);
	value->size = size;
	value->anchor = anchor;
	randombytes_buf(value->plain, size);
	enclave_draw_key(value->key);
	facts->value_count++;
	return note_chunks(facts, value);
}

uint8_t *fact_value_seal(const struct fact_value *value, size_t *sizep)
{
	size_t sealed = (size_t)enclave_sealed_size(value->size);
	uint8_t *chunks = malloc(sealed);
	uint8_t *out = chunks;

	for (size_t at = 0; chunks && at < value->size; at += ENCLAVE_CHUNK_PLAIN) {
		size_t left = value->size - at;
		size_t size = left < ENCLAVE_CHUNK_PLAIN ? left : ENCLAVE_CHUNK_PLAIN;

		enclave_seal_chunk(out, value->plain + at, size, at / ENCLAVE_CHUNK_PLAIN,
			size == left, value->key);
		out += size + ENCLAVE_TAG_SIZE;
	}
	*sizep = sealed;
	return chunks;
}

/* -- writing ------------------------------------------------------------------------------- */

static void write_bytes(FILE *file, const uint8_t *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	putc(' ', file);
	for (size_t i = 0; i < size; i++) {
		putc(digits[bytes[i] >> 4], file);
		putc(digits[bytes[i] & 15], file);
	}
}

static void write_facts(const struct facts *facts, FILE *file)
{
	for (size_t i = 0; i < facts->value_count; i++) {
		const struct fact_value *value = &facts->values[i];

		fprintf(file, "%s %s", value->anchor ? "anchor" : "value", value->name);
		write_bytes(file, value->key, sizeof(value->key));
		write_bytes(file, value->plain, value->size);
		putc('\n', file);
	}
	for (size_t i = 0; i < facts->session_count; i++) {
		fputs("session -", file);
		write_bytes(file, facts->sessions[i].receive, sizeof(facts->sessions[i].receive));
		write_bytes(file, facts->sessions[i].send, sizeof(facts->sessions[i].send));
		putc('\n', file);
	}
	for (size_t i = 0; i < facts->frame_count; i++) {
		const struct fact_frame *frame = &facts->frames[i];

		fprintf(file, "frame %llu", (unsigned long long)frame->number);
		write_bytes(file, frame->bytes, FRAME_HEADER_SIZE);
		write_bytes(
			file, frame->bytes + FRAME_HEADER_SIZE, frame->size - FRAME_HEADER_SIZE);
		putc('\n', file);
	}
	for (size_t i = 0; i < facts->material_count; i++) {
		fprintf(file, "material %s", facts->materials[i].name);
		write_bytes(file, facts->materials[i].bytes, FACTS_MATERIAL_SIZE);
		putc('\n', file);
	}
}

int facts_write(const struct facts *facts, const char *path)
{
	FILE *file = fopen(path, "we");
	int r;

	if (!file)
		return -errno;
	write_facts(facts, file);
	r = ferror(file) ? -EIO : 0;
	return fclose(file) != 0 ? -EIO : r;
}

/* -- reading ------------------------------------------------------------------------------- */

/* The next word's bytes into `out`; returns how many, or -1. */
static ssize_t read_bytes(char **line, uint8_t *out, size_t room)
{
	const char *word = strsep(line, " \n");
	size_t size;

	if (!word || sodium_hex2bin(out, room, word, strlen(word), NULL, &size, NULL) != 0)
		return -1;
	return (ssize_t)size;
}

static int read_value(struct facts *facts, const char *name, char *line, bool anchor)
{
	struct fact_value *value = &facts->values[facts->value_count];
	size_t room = line ? strlen(line) / 2 : 0;
	ssize_t size;

	if (facts->value_count == FACTS_VALUES_MAX || strlen(name) >= sizeof(value->name))
		return -EBADMSG;
	if (read_bytes(&line, value->key, sizeof(value->key)) != sizeof(value->key))
		return -EBADMSG;
	value->plain = malloc(room + 1);
	if (!value->plain)
		return -ENOMEM;
	facts->value_count++;
	size = read_bytes(&line, value->plain, room);
	if (size <= 0)
		return -EBADMSG;
	memcpy(value->name, name, strlen(name) + 1);
	value->size = (size_t)size;
	value->anchor = anchor;
	return 0;
}

static int read_session(struct facts *facts, char *line)
{
	struct channel_keys *keys = &facts->sessions[facts->session_count];

	if (facts->session_count == FACTS_SESSIONS_MAX ||
		read_bytes(&line, keys->receive, sizeof(keys->receive)) != sizeof(keys->receive) ||
		read_bytes(&line, keys->send, sizeof(keys->send)) != sizeof(keys->send))
		return -EBADMSG;
	facts->session_count++;
	return 0;
}

static int read_frame(struct facts *facts, const char *number, char *line)
{
	struct fact_frame *frame = &facts->frames[facts->frame_count];
	ssize_t size;

	if (facts->frame_count == FACTS_FRAMES_MAX ||
		read_bytes(&line, frame->bytes, FRAME_HEADER_SIZE) != FRAME_HEADER_SIZE)
		return -EBADMSG;
	size = read_bytes(
		&line, frame->bytes + FRAME_HEADER_SIZE, sizeof(frame->bytes) - FRAME_HEADER_SIZE);
	if (size <= FRAME_TAG_SIZE)
		return -EBADMSG;
	frame->number = strtoull(number, NULL, 10);
	frame->size = FRAME_HEADER_SIZE + (size_t)size;
	facts->frame_count++;
	return 0;
}

static int read_material(struct facts *facts, const char *name, char *line)
{
	uint8_t bytes[FACTS_MATERIAL_SIZE];

	if (read_bytes(&line, bytes, sizeof(bytes)) != sizeof(bytes))
		return -EBADMSG;
	return facts_note(facts, name, bytes);
}

static int read_fact(struct facts *facts, char *line)
{
	const char *kind = strsep(&line, " ");
	const char *word = strsep(&line, " ");

	if (!kind || !word)
		return -EBADMSG;
	if (strcmp(kind, "anchor") == 0 || strcmp(kind, "value") == 0)
		return read_value(facts, word, line, kind[0] == 'a');
	if (strcmp(kind, "session") == 0)
		return read_session(facts, line);
	if (strcmp(kind, "material") == 0)
		return read_material(facts, word, line);
	return strcmp(kind, "frame") == 0 ? read_frame(facts, word, line) : -EBADMSG;
}

int facts_read(struct facts *facts, const char *path)
{
	cleanup(fclosep) FILE *file = fopen(path, "re");
	cleanup(freep) char *line = NULL;
	size_t room = 0;
	int r = 0;

	if (!file)
		return -errno;
	while (r == 0 && getline(&line, &room, file) > 0)
		r = read_fact(facts, line);
	return r;
}

void facts_free(struct facts *facts)
{
	for (size_t i = 0; i < facts->value_count; i++)
		free(facts->values[i].plain);
	*facts = (struct facts){ 0 };
}
