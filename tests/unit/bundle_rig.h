/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <check.h>
#include <string.h>

#include "common/bytes.h"
#include "common/memory/enclave.h"
#include "common/wire/bundle.h"

/* A bundle that is sealed to a key, in ordinary memory, with some secrets of all kinds of sizes. */

#define SECRETS 3
#define WHOLE (5 * ENCLAVE_CHUNK_PLAIN + 1) /* more than a frame takes */

static const size_t sizes[SECRETS] = { 1, ENCLAVE_CHUNK_PLAIN, WHOLE };

static uint8_t public_key[BUNDLE_KEY_SIZE], private_key[BUNDLE_KEY_SIZE];
static uint8_t data_keys[SECRETS][ENCLAVE_KEY_SIZE];
static uint8_t values[SECRETS][WHOLE];
static uint8_t written[4 * WHOLE];
static size_t written_size;
static struct tags bundle_tags; /* of all of them */

static struct bundle_head bundle_head;
static struct bundle bundle_writer;

static inline void bundle_draw(void)
{
	crypto_box_keypair(public_key, private_key);
	randombytes_buf(data_keys, sizeof(data_keys));
	randombytes_buf(values, sizeof(values));
}

static inline void bundle_write_head(void)
{
	uint8_t key[BUNDLE_KEY_SIZE];

	ck_assert_int_eq(bundle_head_recipient(&bundle_head, key, public_key), 0);
	bundle_begin(&bundle_writer, &bundle_head, key);
	memcpy(written, bundle_head.bytes, bundle_head.size);
	written_size = bundle_head.size;
}

static inline void bundle_write_message(struct span plain, bool final)
{
	written_size += bundle_push(&bundle_writer, written + written_size, plain, final);
}

static inline void bundle_write_secret(size_t i)
{
	static uint8_t plain[MESSAGE_BUNDLED_MAX];
	char name[] = { 'n', (char)('0' + i), '\0' };
	struct bundled bundled = {
		.info = { .name = span_text(name),
			.version = i + 1,
			.size = sizes[i],
			.tags = bundle_tags,
			.left = { .ttl_ms = 1000000 * i, .idle_ms = 500000 * i } },
		.owner = (uint32_t)i + 7,
		.key = data_keys[i]
	};
	int size = message_write_bundled(plain, sizeof(plain), &bundled);

	ck_assert_int_gt(size, 0);
	bundle_write_message(span_of(plain, (size_t)size), false);
	for (size_t at = 0; at < sizes[i]; at += ENCLAVE_CHUNK_PLAIN) {
		size_t left = sizes[i] - at;
		size_t part = left < ENCLAVE_CHUNK_PLAIN ? left : ENCLAVE_CHUNK_PLAIN;

		enclave_seal_chunk(written + written_size, values[i] + at, part,
			at / ENCLAVE_CHUNK_PLAIN, part == left, data_keys[i]);
		written_size += part + ENCLAVE_TAG_SIZE;
	}
}

static inline void bundle_write_end(uint64_t count)
{
	uint8_t plain[BUNDLE_END_SIZE];

	bytes_put64(plain, count);
	bundle_write_message(span_of(plain, sizeof(plain)), true);
}

static inline void bundle_write(void)
{
	bundle_write_head();
	for (size_t i = 0; i < SECRETS; i++)
		bundle_write_secret(i);
	bundle_write_end(SECRETS);
}
