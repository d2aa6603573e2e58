/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/channel.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "common/bytes.h"

_Static_assert(FRAME_TAG_SIZE == crypto_aead_chacha20poly1305_ietf_ABYTES, "a frame's tag");
_Static_assert(sizeof(struct channel_keys) == 2 * crypto_kx_SESSIONKEYBYTES, "one key a direction");
_Static_assert(sizeof(struct channel_pair) == sizeof(struct channel_keys),
	"one rests in the place of the other");

/* Where things stand in a Hello. */
enum {
	HELLO_MAGIC = 0,
	HELLO_LENGTH = 4,
	HELLO_VERSION_LOW = 6,
	HELLO_VERSION_HIGH = 7,
	HELLO_CIPHERS = 8,
	HELLO_REFUSAL = 12,
	HELLO_KEY = 16,
};

static const uint8_t hello_magic[4] = { 'M', 'G', 'R', 'D' };

void channel_draw(struct channel_pair *pair)
{
	crypto_kx_keypair(pair->open, pair->secret);
}

void hello_write(uint8_t out[static HELLO_SIZE], uint8_t version_low, uint8_t version_high,
	uint32_t ciphers, const uint8_t key[static 32])
{
	memset(out, 0, HELLO_SIZE);
	memcpy(out + HELLO_MAGIC, hello_magic, sizeof(hello_magic));
	bytes_put16(out + HELLO_LENGTH, HELLO_SIZE);
	out[HELLO_VERSION_LOW] = version_low;
	out[HELLO_VERSION_HIGH] = version_high;
	bytes_put32(out + HELLO_CIPHERS, ciphers);
	memcpy(out + HELLO_KEY, key, 32);
}

void hello_write_refusal(uint8_t out[static HELLO_SIZE], enum hello_refusal refusal)
{
	static const uint8_t no_key[32];

	hello_write(out, CHANNEL_VERSION, CHANNEL_VERSION, 0, no_key);
	out[HELLO_REFUSAL] = (uint8_t)refusal;
}

int hello_read(struct hello *hello, struct span bytes)
{
	size_t known = bytes.size < sizeof(hello_magic) ? bytes.size : sizeof(hello_magic);
	size_t size;

	/* Garbage is turned away at its first byte, not after a wait for more. */
	if (known > 0 && memcmp(bytes.data, hello_magic, known) != 0)
		return -EPROTO;
	if (bytes.size < HELLO_VERSION_LOW)
		return 0;
	size = bytes_get16(bytes.data + HELLO_LENGTH);
	if (size < HELLO_SIZE_MIN || size > HELLO_SIZE_MAX)
		return -EPROTO;
	if (bytes.size < size)
		return 0;
	hello->bytes = span_of(bytes.data, size);
	hello->version_low = bytes.data[HELLO_VERSION_LOW];
	hello->version_high = bytes.data[HELLO_VERSION_HIGH];
	hello->refusal = bytes.data[HELLO_REFUSAL];
	hello->ciphers = bytes_get32(bytes.data + HELLO_CIPHERS);
	memcpy(hello->key, bytes.data + HELLO_KEY, sizeof(hello->key));
	return (int)size;
}

int hello_agree(const struct hello *hello)
{
	if (hello->version_low > CHANNEL_VERSION || hello->version_high < CHANNEL_VERSION)
		return -EPROTONOSUPPORT;
	return hello->ciphers & CHANNEL_CIPHERS ? 0 : -EPROTONOSUPPORT;
}

/* Both Hellos go into both keys: whoever changed a byte of either has another key. */
static void bind_transcript(uint8_t key[32], const uint8_t transcript[32])
{
	uint8_t bound[32];

	crypto_generichash(bound, sizeof(bound), transcript, 32, key, 32);
	memcpy(key, bound, sizeof(bound));
	sodium_memzero(bound, sizeof(bound));
}

static void hash_transcript(uint8_t transcript[32], struct span client, struct span server)
{
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, 32);
	crypto_generichash_update(&state, client.data, client.size);
	crypto_generichash_update(&state, server.data, server.size);
	crypto_generichash_final(&state, transcript, 32);
}

int channel_agree(struct channel_keys *keys, const struct channel_pair *pair, bool is_server,
	struct span client, struct span server)
{
	const uint8_t *other = (is_server ? client : server).data + HELLO_KEY;
	uint8_t transcript[32];
	int r;

	if (is_server)
		r = crypto_kx_server_session_keys(
			keys->receive, keys->send, pair->open, pair->secret, other);
	else
		r = crypto_kx_client_session_keys(
			keys->receive, keys->send, pair->open, pair->secret, other);
	if (r != 0)
		return -EPROTO;
	hash_transcript(transcript, client, server);
	bind_transcript(keys->receive, transcript);
	bind_transcript(keys->send, transcript);
	return 0;
}

/* A channel's keys are wrapped once: version 0 of secret number `number`. */
static struct enclave_binding binding_of(const struct channel *channel)
{
	return (struct enclave_binding){ .secret = channel->number };
}

int channel_rest(struct channel *channel, uint64_t number, const struct channel_keys *keys,
	struct coffer *coffer)
{
	*channel = (struct channel){ .number = number };
	return enclave_wrap(channel->wrapped, (const uint8_t *)keys, sizeof(*keys),
		binding_of(channel), coffer, COFFER_CHANNEL);
}

int channel_take(const struct channel *channel, struct channel_keys *keys, struct coffer *coffer)
{
	return enclave_unwrap((uint8_t *)keys, channel->wrapped, sizeof(*keys), binding_of(channel),
		coffer, COFFER_CHANNEL);
}

/* Nothing else under this master has version 2: a pair is taken for nothing else. */
static struct enclave_binding pair_binding_of(const struct channel *channel)
{
	return (struct enclave_binding){ .secret = channel->number, .version = 2 };
}

int channel_rest_pair(struct channel *channel, uint64_t number, const struct channel_pair *pair,
	struct coffer *coffer)
{
	*channel = (struct channel){ .number = number };
	return enclave_wrap(channel->wrapped, (const uint8_t *)pair, sizeof(*pair),
		pair_binding_of(channel), coffer, COFFER_CHANNEL);
}

int channel_take_pair(struct channel *channel, struct channel_pair *pair, struct coffer *coffer)
{
	int r = enclave_unwrap((uint8_t *)pair, channel->wrapped, sizeof(*pair),
		pair_binding_of(channel), coffer, COFFER_CHANNEL);

	sodium_memzero(channel, sizeof(*channel));
	return r;
}

/* Four zero bytes and the frame's number in its direction: never sent, never used twice. */
static void frame_nonce(uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES], uint64_t number)
{
	memset(nonce, 0, 4);
	bytes_put64(nonce + 4, number);
}

int channel_open(struct channel *channel, const struct channel_keys *keys,
	const struct frame *frame, uint8_t *plain)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

	if (frame->sealed.size <= FRAME_TAG_SIZE || frame->sealed.size > FRAME_SEALED_MAX)
		return -EBADMSG;
	frame_nonce(nonce, channel->received);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, frame->sealed.data,
		    frame->sealed.size, frame->header.data, frame->header.size, nonce,
		    keys->receive) != 0)
		return -EBADMSG;
	channel->received++;
	return (int)(frame->sealed.size - FRAME_TAG_SIZE);
}

size_t channel_seal(struct channel *channel, const struct channel_keys *keys, struct span plain,
	size_t chunks_size, uint8_t *out)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	size_t sealed = plain.size + FRAME_TAG_SIZE;

	frame_header_write(out, sealed, chunks_size);
	frame_nonce(nonce, channel->sent++);
	crypto_aead_chacha20poly1305_ietf_encrypt(out + FRAME_HEADER_SIZE, NULL, plain.data,
		plain.size, out, FRAME_HEADER_SIZE, NULL, nonce, keys->send);
	return FRAME_HEADER_SIZE + sealed;
}
