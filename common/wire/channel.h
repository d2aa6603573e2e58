/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/coffer.h"
#include "common/wire/frame.h"

#include <stddef.h>
#include <stdint.h>

/*
 * The sealed channel: one Hello each way, X25519 (crypto_kx), then frames under
 * ChaCha20-Poly1305-IETF with a counter per direction. Who is at the other end is vouched for by
 * the kernel, not by this exchange; what the channel gives is that no key is ever in a kernel
 * buffer, and that a leaked descriptor is useless. Between requests the two frame keys rest
 * wrapped under the channel master.
 *
 * Every function that takes keys runs on the locked stack.
 */
#define CHANNEL_VERSION 1 /* of the frames */
#define CHANNEL_CHACHA20_POLY1305 1u
#define CHANNEL_CIPHERS CHANNEL_CHACHA20_POLY1305

#define HELLO_SIZE 48     /* bytes that this version sends */
#define HELLO_SIZE_MIN 48 /* the fields that every version has */
#define HELLO_SIZE_MAX 128

/* Which quota keeps a daemon from answering a Hello with one that can be gone on with. */
enum hello_refusal {
	HELLO_NOT_REFUSED,
	HELLO_TOO_MANY_SESSIONS,   /* of this uid are open */
	HELLO_TOO_MANY_HANDSHAKES, /* of this uid came within a second */
};

/* A Hello that has been read: what the other side can do. */
struct hello {
	uint8_t version_low;
	uint8_t version_high;
	uint8_t refusal; /* an enum hello_refusal, or one of a later version */
	uint32_t ciphers;
	uint8_t key[32];   /* ephemeral X25519 public key */
	struct span bytes; /* as it came: both Hellos are bound into the frame keys */
};

/* The two frame keys in use. Lies on the workbench only. */
struct channel_keys {
	uint8_t receive[32];
	uint8_t send[32];
};

/* An ephemeral key pair. The secret half lies in secret memory only. */
struct channel_pair {
	uint8_t open[32];
	uint8_t secret[32];
};

/* One side of a channel at rest: ciphertext and counters, in ordinary memory. */
struct channel {
	uint8_t wrapped[ENCLAVE_WRAP_SIZE(sizeof(struct channel_keys))];
	uint64_t number;   /* binds the wrapped keys to this channel */
	uint64_t received; /* frames */
	uint64_t sent;
};

/* Draws an ephemeral key pair. */
void channel_draw(struct channel_pair *pair);

/* Writes a Hello of HELLO_SIZE bytes. */
void hello_write(uint8_t out[static HELLO_SIZE], uint8_t version_low, uint8_t version_high,
	uint32_t ciphers, const uint8_t key[static 32]);

/* Writes a daemon's Hello that cannot be gone on with, and why. */
void hello_write_refusal(uint8_t out[static HELLO_SIZE], enum hello_refusal refusal);

/*
 * Reads a Hello from the beginning of `bytes`. Returns its size in bytes, 0 when it is not whole
 * yet, or -EPROTO when it is none.
 */
int hello_read(struct hello *hello, struct span bytes);

/* Whether this side can speak with that Hello: 0, or -EPROTONOSUPPORT. */
int hello_agree(const struct hello *hello);

/*
 * The frame keys of one side. `client` and `server` are both Hellos as they went over the wire.
 * Returns 0, or -EPROTO for a key of low order.
 */
int channel_agree(struct channel_keys *keys, const struct channel_pair *pair, bool is_server,
	struct span client, struct span server);

/* Puts the keys to rest under the channel master; `number` is unique in the process. */
int channel_rest(struct channel *channel, uint64_t number, const struct channel_keys *keys,
	struct coffer *coffer);

/* The keys for one batch. Returns 0 or a negative errno. */
int channel_take(const struct channel *channel, struct channel_keys *keys, struct coffer *coffer);

/*
 * The same for a key pair that was drawn ahead: it rests where the frame keys will, and is taken
 * once, for nothing of it rests there any more. Where the master was replaced meanwhile it is lost,
 * and taking it gives -EBADMSG.
 */
int channel_rest_pair(struct channel *channel, uint64_t number, const struct channel_pair *pair,
	struct coffer *coffer);
int channel_take_pair(struct channel *channel, struct channel_pair *pair, struct coffer *coffer);

/*
 * Opens the sealed part of a frame into `plain`, which has room for FRAME_PLAIN_MAX bytes. Returns
 * the number of bytes, or -EBADMSG: forged, replayed, reordered or under another key.
 */
int channel_open(struct channel *channel, const struct channel_keys *keys,
	const struct frame *frame, uint8_t *plain);

/*
 * Seals `plain` (1 to FRAME_PLAIN_MAX bytes) into a frame header and sealed part at `out`, which
 * has room for FRAME_HEADER_SIZE + FRAME_TAG_SIZE bytes more than `plain`; `chunks_size` bytes of
 * chunks follow on the wire. Returns the bytes written.
 */
size_t channel_seal(struct channel *channel, const struct channel_keys *keys, struct span plain,
	size_t chunks_size, uint8_t *out);
