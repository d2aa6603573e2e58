/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/bundle.h"

#include <errno.h>
#include <string.h>

#include "common/bytes.h"

#define MAGIC "MGBUNDLE"
#define MAGIC_SIZE 8

/* Places in the head. */
#define VERSION_AT 8
#define KIND_AT 9
#define RESERVED_AT 10
#define SALT_AT BUNDLE_START_SIZE
#define OPSLIMIT_AT (SALT_AT + BUNDLE_SALT_SIZE)
#define MEMLIMIT_AT (OPSLIMIT_AT + 4)
#define SEALED_AT BUNDLE_START_SIZE

#define KIB 1024

_Static_assert(crypto_pwhash_argon2id_SALTBYTES == BUNDLE_SALT_SIZE, "the salt");
_Static_assert(crypto_box_PUBLICKEYBYTES == BUNDLE_KEY_SIZE, "a public key");
_Static_assert(crypto_box_SECRETKEYBYTES == BUNDLE_KEY_SIZE, "a private key");
_Static_assert(crypto_secretstream_xchacha20poly1305_KEYBYTES == BUNDLE_KEY_SIZE, "the key");
_Static_assert(BUNDLE_MESSAGE_MAX <= UINT16_MAX, "a message's size has 16 bits");

/* -- heads --------------------------------------------------------------------------------- */

/* Bytes of a head up to the stream's; 0 for a kind that we do not know. */
static size_t size_before_stream(enum bundle_kind kind)
{
	switch (kind) {
	case BUNDLE_PASSPHRASE:
		return MEMLIMIT_AT + 4;
	case BUNDLE_RECIPIENT:
		return SEALED_AT + BUNDLE_SEALED_SIZE;
	}
	return 0;
}

int bundle_head_start(struct bundle_head *head)
{
	const uint8_t *bytes = head->bytes;
	size_t size;

	if (memcmp(bytes, MAGIC, MAGIC_SIZE) != 0)
		return -EPROTO;
	if (bytes[VERSION_AT] != BUNDLE_VERSION)
		return -EPROTONOSUPPORT;
	if (bytes_get16(bytes + RESERVED_AT) != 0)
		return -EPROTO;
	head->kind = (enum bundle_kind)bytes[KIND_AT];
	size = size_before_stream(head->kind);
	head->size = size + BUNDLE_STREAM_SIZE;
	return size > 0 ? 0 : -EPROTO;
}

int bundle_head_read(struct bundle_head *head)
{
	uint32_t memory;

	if (head->kind != BUNDLE_PASSPHRASE)
		return 0;
	head->opslimit = bytes_get32(head->bytes + OPSLIMIT_AT);
	memory = bytes_get32(head->bytes + MEMLIMIT_AT);
	if (head->opslimit < crypto_pwhash_argon2id_OPSLIMIT_MIN ||
		head->opslimit > BUNDLE_OPSLIMIT_MAX ||
		memory < crypto_pwhash_argon2id_MEMLIMIT_MIN / KIB ||
		memory > BUNDLE_MEMLIMIT_MAX / KIB)
		return -EPROTO;
	head->memlimit = (size_t)memory * KIB;
	return 0;
}

const uint8_t *bundle_head_salt(const struct bundle_head *head)
{
	return head->bytes + SALT_AT;
}

static void head_init(struct bundle_head *head, enum bundle_kind kind)
{
	*head = (struct bundle_head){ .kind = kind,
		.size = size_before_stream(kind) + BUNDLE_STREAM_SIZE };
	memcpy(head->bytes, MAGIC, MAGIC_SIZE);
	head->bytes[VERSION_AT] = BUNDLE_VERSION;
	head->bytes[KIND_AT] = (uint8_t)kind;
}

void bundle_head_passphrase(struct bundle_head *head, uint32_t opslimit, size_t memlimit)
{
	head_init(head, BUNDLE_PASSPHRASE);
	head->opslimit = opslimit;
	head->memlimit = memlimit;
	randombytes_buf(head->bytes + SALT_AT, BUNDLE_SALT_SIZE);
	bytes_put32(head->bytes + OPSLIMIT_AT, opslimit);
	bytes_put32(head->bytes + MEMLIMIT_AT, (uint32_t)(memlimit / KIB));
}

int bundle_head_recipient(struct bundle_head *head, uint8_t key[static BUNDLE_KEY_SIZE],
	const uint8_t public_key[static BUNDLE_KEY_SIZE])
{
	head_init(head, BUNDLE_RECIPIENT);
	crypto_secretstream_xchacha20poly1305_keygen(key);
	return crypto_box_seal(head->bytes + SEALED_AT, key, BUNDLE_KEY_SIZE, public_key) == 0
		? 0
		: -EINVAL;
}

int bundle_head_open(const struct bundle_head *head, uint8_t key[static BUNDLE_KEY_SIZE],
	const uint8_t private_key[static BUNDLE_KEY_SIZE])
{
	uint8_t public_key[BUNDLE_KEY_SIZE];

	if (crypto_scalarmult_base(public_key, private_key) != 0)
		return -EBADMSG;
	return crypto_box_seal_open(key, head->bytes + SEALED_AT, BUNDLE_SEALED_SIZE, public_key,
		       private_key) == 0
		? 0
		: -EBADMSG;
}

/* -- messages ------------------------------------------------------------------------------ */

static size_t stream_at(const struct bundle_head *head)
{
	return head->size - BUNDLE_STREAM_SIZE;
}

void bundle_begin(
	struct bundle *bundle, struct bundle_head *head, const uint8_t key[static BUNDLE_KEY_SIZE])
{
	crypto_secretstream_xchacha20poly1305_init_push(
		&bundle->state, head->bytes + stream_at(head), key);
	bundle->head = head;
}

int bundle_resume(struct bundle *bundle, const struct bundle_head *head,
	const uint8_t key[static BUNDLE_KEY_SIZE])
{
	bundle->head = head;
	return crypto_secretstream_xchacha20poly1305_init_pull(
		       &bundle->state, head->bytes + stream_at(head), key) == 0
		? 0
		: -EBADMSG;
}

/* The whole head goes with the first message: no byte of it can be another one. */
static struct span take_head(struct bundle *bundle)
{
	const struct bundle_head *head = bundle->head;

	bundle->head = NULL;
	return head ? span_of(head->bytes, head->size) : span_of(NULL, 0);
}

size_t bundle_push(struct bundle *bundle, uint8_t *out, struct span plain, bool final)
{
	struct span head = take_head(bundle);
	uint8_t tag = final ? crypto_secretstream_xchacha20poly1305_TAG_FINAL
			    : crypto_secretstream_xchacha20poly1305_TAG_MESSAGE;
	size_t size = plain.size + BUNDLE_MESSAGE_EXTRA;

	bytes_put16(out, (uint16_t)size);
	crypto_secretstream_xchacha20poly1305_push(&bundle->state, out + BUNDLE_PREFIX_SIZE, NULL,
		plain.data, plain.size, head.data, head.size, tag);
	return BUNDLE_PREFIX_SIZE + size;
}

int bundle_message_size(const uint8_t prefix[static BUNDLE_PREFIX_SIZE])
{
	int size = bytes_get16(prefix);

	return size > (int)BUNDLE_MESSAGE_EXTRA && size <= (int)BUNDLE_MESSAGE_MAX ? size : -EPROTO;
}

int bundle_pull(struct bundle *bundle, uint8_t *plain, struct span message, bool *finalp)
{
	struct span head = take_head(bundle);
	unsigned char tag;

	if (crypto_secretstream_xchacha20poly1305_pull(&bundle->state, plain, NULL, &tag,
		    message.data, message.size, head.data, head.size) != 0)
		return -EBADMSG;
	*finalp = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
	return *finalp || tag == crypto_secretstream_xchacha20poly1305_TAG_MESSAGE ? 0 : -EBADMSG;
}
