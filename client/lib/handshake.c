/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/handshake.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "client/lib/error.h"
#include "client/lib/trust.h"

static int say_absent(const struct mg_client *client, int error)
{
	if (error == -ENOENT)
		return error_say(MG_UNREACHABLE, "no daemon at %s: there is no such socket",
			client->endpoint.path);
	if (error == -EACCES || error == -EPERM)
		return error_say(MG_UNREACHABLE,
			"no access to %s: %s; socket-mode and socket-group say who may connect, or "
			"a "
			"[listener] of your own does (memguardd.conf(5))",
			client->endpoint.path, strerror(-error));
	return error_say(
		MG_UNREACHABLE, "no daemon at %s: %s", client->endpoint.path, strerror(-error));
}

static int dial(struct mg_client *client, uint64_t deadline_ms)
{
	int r = connection_open(&client->connection, &client->endpoint, deadline_ms);

	switch (r) {
	case 0:
	case -ETIMEDOUT:
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
		return r;
	default:
		return say_absent(client, r);
	}
}

static void draw_pair(void *argument)
{
	channel_draw(argument);
}

/* Reads the daemon's Hello, whose own length says how long it is. */
static int read_hello(struct mg_client *client, struct hello *hello,
	uint8_t bytes[static HELLO_SIZE_MAX], uint64_t deadline_ms)
{
	struct connection *connection = &client->connection;
	int r = connection_read(connection, bytes, HELLO_SIZE_MIN, deadline_ms);
	size_t size;

	if (r < 0)
		return r;
	r = hello_read(hello, span_of(bytes, HELLO_SIZE_MIN));
	if (r != 0)
		return r < 0 ? r : 0;
	size = (size_t)bytes[4] | (size_t)bytes[5] << 8;
	r = connection_read(connection, bytes + HELLO_SIZE_MIN, size - HELLO_SIZE_MIN, deadline_ms);
	if (r < 0)
		return r;
	r = hello_read(hello, span_of(bytes, size));
	return r < 0 ? r : 0;
}

/* NULL for a refusal of a later version. */
static const char *refusal_words(uint8_t refusal)
{
	static const char *const words[] = {
		[HELLO_TOO_MANY_SESSIONS] =
			"as many connections of this user are open as quota-sessions allows",
		[HELLO_TOO_MANY_HANDSHAKES] =
			"this user connects more often in a second than quota-handshakes allows",
	};

	return refusal < sizeof(words) / sizeof(words[0]) ? words[refusal] : NULL;
}

/* The daemon chooses; what it chose must be among what was offered. */
static int judge(const struct hello *hello)
{
	if (hello->refusal != 0 && refusal_words(hello->refusal))
		return error_say(MG_LIMIT, "%s", refusal_words(hello->refusal));
	if (hello->version_low > CHANNEL_VERSION || hello->version_high < CHANNEL_VERSION)
		return error_say(MG_PROTOCOL,
			"the daemon speaks versions %u to %u of the protocol, this library %u to "
			"%u",
			hello->version_low, hello->version_high, CHANNEL_VERSION, CHANNEL_VERSION);
	if (hello->version_low != hello->version_high || hello->ciphers != CHANNEL_CIPHERS ||
		sodium_is_zero(hello->key, sizeof(hello->key)))
		return error_say(MG_PROTOCOL,
			"the daemon and this library have no cipher in common (%#x, %#x)",
			hello->ciphers, CHANNEL_CIPHERS);
	return MG_OK;
}

struct agreement {
	struct mg_client *client;
	struct span ours;
	struct span theirs;
	int result;
};

static void agree(void *argument)
{
	struct agreement *agreement = argument;
	struct mg_client *client = agreement->client;
	size_t mark = workbench_mark(&client->bench);
	struct channel_keys *keys = workbench_take(&client->bench, sizeof(*keys));

	agreement->result = -ENOBUFS;
	if (keys)
		agreement->result = channel_agree(
			keys, &client->keys->pair, false, agreement->ours, agreement->theirs);
	if (agreement->result == 0)
		agreement->result = channel_rest(
			&client->channel, ++client->channels, keys, &client->room.coffer);
	workbench_release(&client->bench, mark);
	sodium_memzero(&client->keys->pair, sizeof(client->keys->pair));
}

/* Both Hellos; the keys of the channel come to rest. */
static int greet(struct mg_client *client, uint64_t deadline_ms)
{
	uint8_t ours[HELLO_SIZE], theirs[HELLO_SIZE_MAX];
	struct agreement agreement = { .client = client, .ours = span_of(ours, sizeof(ours)) };
	struct hello hello;
	int r;

	handle_run(client, draw_pair, &client->keys->pair);
	hello_write(
		ours, CHANNEL_VERSION, CHANNEL_VERSION, CHANNEL_CIPHERS, client->keys->pair.open);
	r = connection_send(&client->connection, agreement.ours, span_of(NULL, 0), deadline_ms);
	/* Whoever is not let in is told why before he has said anything. */
	if (r == 0 || r == -EPIPE || r == -ECONNRESET)
		r = read_hello(client, &hello, theirs, deadline_ms);
	if (r == 0)
		r = judge(&hello);
	if (r != 0)
		return r;
	agreement.theirs = hello.bytes;
	handle_run(client, agree, &agreement);
	return agreement.result;
}

int handshake(struct mg_client *client, uint64_t deadline_ms)
{
	struct mg_options expected = { .expect_uid = client->expect_uid,
		.daemon_uid = client->daemon_uid };
	int r = dial(client, deadline_ms);

	if (r == 0)
		r = trust_check(client->connection.fd, client->endpoint.path, &expected);
	if (r == 0)
		r = greet(client, deadline_ms);
	if (r != 0)
		connection_close(&client->connection);
	return r;
}
