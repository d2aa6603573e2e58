/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"
#include "common/wire/message.h"

#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A sealed bundle of secrets, as proto/PROTOCOL.md tells it to other languages: a head, messages
 * under the bundle's key, and behind each message the value's chunks as they rest. Here is what it
 * is made of; how it is read is bundle_reader.h, and files are its users' part. What touches keys
 * (the functions that say so) runs on the locked stack.
 */
#define BUNDLE_VERSION 1
#define BUNDLE_KEY_SIZE 32
#define BUNDLE_START_SIZE 12 /* of the head: what tells how long it is */
#define BUNDLE_SALT_SIZE 16
#define BUNDLE_SEALED_SIZE (BUNDLE_KEY_SIZE + crypto_box_SEALBYTES)
#define BUNDLE_STREAM_SIZE crypto_secretstream_xchacha20poly1305_HEADERBYTES
#define BUNDLE_HEAD_MAX (BUNDLE_START_SIZE + BUNDLE_SEALED_SIZE + BUNDLE_STREAM_SIZE)

/* A message is sealed with 17 bytes of its own, behind its size in 2. */
#define BUNDLE_PREFIX_SIZE 2
#define BUNDLE_MESSAGE_EXTRA crypto_secretstream_xchacha20poly1305_ABYTES
#define BUNDLE_MESSAGE_MAX (MESSAGE_BUNDLED_MAX + BUNDLE_MESSAGE_EXTRA)

/* The last message: how many secrets there are. */
#define BUNDLE_END_SIZE 8

/*
 * What a head may ask of whoever opens it. The largest that libsodium names takes 1 GiB and some
 * seconds; a head that asks for more was made to hurt.
 */
#define BUNDLE_OPSLIMIT_MAX 16
#define BUNDLE_MEMLIMIT_MAX ((size_t)1 << 30) /* bytes */

enum bundle_kind { BUNDLE_PASSPHRASE = 1, BUNDLE_RECIPIENT = 2 };

/* A head as it lies at the beginning of a bundle, and what it says. */
struct bundle_head {
	enum bundle_kind kind;
	uint32_t opslimit; /* of Argon2id, for a passphrase */
	size_t memlimit;   /* the same, bytes */
	size_t size;       /* bytes in all */
	uint8_t bytes[BUNDLE_HEAD_MAX];
};

/* The stream of messages; lies in secret memory. The head outlives the first message. */
struct bundle {
	crypto_secretstream_xchacha20poly1305_state state;
	const struct bundle_head *head; /* NULL once it has gone into a message */
};

/* -- heads --------------------------------------------------------------------------------- */

/*
 * Reads the BUNDLE_START_SIZE bytes in head->bytes and says in head->size how many there must be;
 * then reads all of them. Both return 0, or -EPROTO when it is no head of ours; -EPROTONOSUPPORT
 * when it is one of another version.
 */
int bundle_head_start(struct bundle_head *head);
int bundle_head_read(struct bundle_head *head);

/* BUNDLE_SALT_SIZE bytes, for a passphrase. */
const uint8_t *bundle_head_salt(const struct bundle_head *head);

/* A head for a passphrase, with a fresh salt; memlimit in bytes, whole KiB. */
void bundle_head_passphrase(struct bundle_head *head, uint32_t opslimit, size_t memlimit);

/*
 * A head for whoever has the private key that belongs to `public_key`; the bundle's key is drawn
 * into `key`. Returns 0, or -EINVAL for what is no public key. Touches keys.
 */
int bundle_head_recipient(struct bundle_head *head, uint8_t key[static BUNDLE_KEY_SIZE],
	const uint8_t public_key[static BUNDLE_KEY_SIZE]);

/* The bundle's key, with the private key. Returns 0 or -EBADMSG. Touches keys. */
int bundle_head_open(const struct bundle_head *head, uint8_t key[static BUNDLE_KEY_SIZE],
	const uint8_t private_key[static BUNDLE_KEY_SIZE]);

/* -- messages ------------------------------------------------------------------------------ */

/* Begin the stream, which is the last part of the head. The second returns 0 or -EBADMSG. Both
 * touch keys. */
void bundle_begin(
	struct bundle *bundle, struct bundle_head *head, const uint8_t key[static BUNDLE_KEY_SIZE]);
int bundle_resume(struct bundle *bundle, const struct bundle_head *head,
	const uint8_t key[static BUNDLE_KEY_SIZE]);

/*
 * Seals a message of at most MESSAGE_BUNDLED_MAX bytes. `out` gets it behind its size. Returns the
 * bytes of both. Touches keys.
 */
size_t bundle_push(struct bundle *bundle, uint8_t *out, struct span plain, bool final);

/* Bytes of the message behind a prefix, or -EPROTO. */
int bundle_message_size(const uint8_t prefix[static BUNDLE_PREFIX_SIZE]);

/*
 * Opens a message into `plain`, which takes BUNDLE_MESSAGE_EXTRA bytes less. Returns 0 or -EBADMSG.
 * Touches keys.
 */
int bundle_pull(struct bundle *bundle, uint8_t *plain, struct span message, bool *finalp);
