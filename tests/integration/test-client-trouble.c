/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lib/mgclient-token.h"
#include "client/lib/mgclient.h"
#include "common/bytes.h"
#include "tests/bare.h"
#include "tests/unit/claims.h"

/*
 * libmgclient when the daemon is absent, hostile or cut off: a proxy stands before a real one and
 * spoils what it says, or somebody listens who is no daemon at all.
 */

#define VALUE_SIZE 200000

static struct bare_daemon house;
static char proxy_path[64];
static uint8_t value[VALUE_SIZE];

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, 8) < 0)
		bare_die(path);
	return fd;
}

/* -- the proxy ----------------------------------------------------------------------------- */

/* A frame of the daemon's on its way to the client; `turn` counts connections, `index` frames. */
struct passing {
	unsigned turn;
	unsigned index;
	uint8_t *bytes;
	size_t size;
	size_t sealed; /* bytes of the sealed part */
	size_t chunks;
};

/* Spoils a frame, or not. Returns the bytes to pass on; -1 cuts the connection. */
typedef ssize_t (*spoil_function)(const struct passing *passing);

struct proxy {
	int listener;
	spoil_function spoil;
	unsigned turns;
	pthread_t thread;
};

static struct proxy proxy;

/* What the daemon said so far, as frames behind a Hello. */
struct speech {
	uint8_t bytes[2 * FRAME_SIZE_MAX];
	size_t have;
	bool greeted;
	unsigned frames;
};

static bool pass(int client, const uint8_t *bytes, size_t size)
{
	return send(client, bytes, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static void drop_front(struct speech *speech, size_t size)
{
	speech->have -= size;
	memmove(speech->bytes, speech->bytes + size, speech->have);
}

/* Passes on what is whole. Returns whether the connection goes on. */
static bool pass_frames(struct speech *speech, int client)
{
	if (!speech->greeted && speech->have >= HELLO_SIZE) {
		speech->greeted = true;
		if (!pass(client, speech->bytes, HELLO_SIZE))
			return false;
		drop_front(speech, HELLO_SIZE);
	}
	while (speech->greeted) {
		int64_t size = frame_size(span_of(speech->bytes, speech->have));
		struct passing passing = { .turn = proxy.turns, .index = speech->frames };
		ssize_t kept;

		if (size <= 0 || (size_t)size > speech->have)
			break;
		passing.bytes = speech->bytes;
		passing.size = (size_t)size;
		passing.sealed = bytes_get32(speech->bytes);
		passing.chunks = bytes_get32(speech->bytes + 4);
		kept = proxy.spoil(&passing);
		if (kept < 0 || !pass(client, speech->bytes, (size_t)kept))
			return false;
		drop_front(speech, (size_t)size);
		speech->frames++;
	}
	return true;
}

/* One way or the other, until somebody closes. */
static bool carry(int client, int daemon, struct speech *speech)
{
	struct pollfd both[2] = { { .fd = client, .events = POLLIN },
		{ .fd = daemon, .events = POLLIN } };
	uint8_t said[4096];
	ssize_t r;

	if (poll(both, 2, -1) < 0)
		return false;
	if (both[0].revents) {
		r = read(client, said, sizeof(said));
		if (r <= 0 || !pass(daemon, said, (size_t)r))
			return false;
	}
	if (both[1].revents) {
		r = read(
			daemon, speech->bytes + speech->have, sizeof(speech->bytes) - speech->have);
		if (r <= 0)
			return false;
		speech->have += (size_t)r;
	}
	return pass_frames(speech, client);
}

static void *run_proxy(void *unused)
{
	int client;

	(void)unused;
	while ((client = accept(proxy.listener, NULL, NULL)) >= 0) {
		static struct speech speech;
		int daemon = bare_connect(house.path);

		speech = (struct speech){ 0 };
		while (carry(client, daemon, &speech))
			;
		proxy.turns++;
		close(daemon);
		close(client);
	}
	return NULL;
}

static void start_proxy(spoil_function spoil)
{
	proxy.listener = listen_at(proxy_path);
	proxy.spoil = spoil;
	ck_assert_int_eq(pthread_create(&proxy.thread, NULL, run_proxy, NULL), 0);
}

static struct mg_client *through(const char *path, unsigned timeout_ms)
{
	struct mg_options options = { .endpoint = path, .timeout_ms = timeout_ms };
	struct mg_client *client;

	if (mg_open(&client, &options) != MG_OK)
		ck_abort_msg("%s", mg_last_error());
	return client;
}

static void set_up(void)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;

	bare_start(&house, NULL);
	snprintf(proxy_path, sizeof(proxy_path), "%s/proxy", house.folder);
	randombytes_buf(value, sizeof(value));
	client = through(house.path, 0);
	ck_assert_int_eq(mg_set(client, "v", value, sizeof(value), NULL, NULL), MG_OK);
}

static void tear_down(void)
{
	unlink(proxy_path);
	(void)bare_stop(&house);
}

/* -- the connection breaks ----------------------------------------------------------------- */

static ssize_t cut_first_answer(const struct passing *passing)
{
	return passing->turn == 0 ? -1 : (ssize_t)passing->size;
}

static ssize_t cut_every_answer(const struct passing *passing)
{
	(void)passing;
	return -1;
}

static ssize_t cut_in_the_midst(const struct passing *passing)
{
	return passing->turn == 0 && passing->index == 2 ? -1 : (ssize_t)passing->size;
}

static ssize_t source(void *context, void *buffer, size_t capacity)
{
	size_t *left = context;
	size_t size = *left < capacity ? *left : capacity;

	memset(buffer, 's', size);
	*left -= size;
	return (ssize_t)size;
}

static int count(void *context, const struct mg_info *info, const void *bytes, size_t size)
{
	(void)info;
	(void)bytes;
	*(size_t *)context += size;
	return 0;
}

static int keep_version(void *context, const struct mg_info *info)
{
	*(uint64_t *)context = info->version;
	return 0;
}

START_TEST(a_set_whose_answer_was_lost_is_stored_once)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	uint64_t version = 0, held = 0;

	start_proxy(cut_first_answer);
	client = through(proxy_path, 0);
	ck_assert_int_eq(mg_set(client, "once", value, sizeof(value), NULL, &version), MG_OK);
	ck_assert_uint_eq(version, 1);
	ck_assert_uint_eq(proxy.turns, 1);
	ck_assert_int_eq(mg_stat(client, "once", keep_version, &held), MG_OK);
	ck_assert_uint_eq(held, 1);
}
END_TEST

START_TEST(a_generate_whose_answer_was_lost_draws_once)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	uint64_t version = 0;

	start_proxy(cut_first_answer);
	client = through(proxy_path, 0);
	ck_assert_int_eq(mg_generate(client, "once", 32, MG_HEX, NULL, &version), MG_OK);
	ck_assert_uint_eq(version, 1);
}
END_TEST

START_TEST(a_remove_whose_answer_was_lost_succeeds)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;

	start_proxy(cut_first_answer);
	client = through(proxy_path, 0);
	ck_assert_int_eq(mg_remove(client, "v", NULL), MG_OK);
}
END_TEST

START_TEST(a_rotation_whose_answer_was_lost_is_made_once)
{
	const struct mg_set_options rotation = { .rotate = true, .grace_ms = 3600000 };
	const struct mg_get_options first = { .version = 1 };
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *before = NULL;
	uint64_t version = 0, held = 0;

	start_proxy(cut_first_answer);
	client = through(proxy_path, 0);
	if (_i == 0)
		ck_assert_int_eq(
			mg_set(client, "v", value, sizeof(value), &rotation, &version), MG_OK);
	else
		ck_assert_int_eq(mg_generate(client, "v", 32, MG_HEX, &rotation, &version), MG_OK);
	ck_assert_uint_eq(version, 2);
	ck_assert_uint_eq(proxy.turns, 1);
	ck_assert_int_eq(mg_stat(client, "v", keep_version, &held), MG_OK);
	ck_assert_uint_eq(held, 2);
	ck_assert_int_eq(mg_get(client, "v", &first, &before), MG_OK);
	ck_assert(mg_secret_equal(before, value, sizeof(value)));
}
END_TEST

/* Asked anew it would find nothing under the first name, and the second one taken. */
START_TEST(a_move_whose_answer_was_lost_succeeds)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	uint64_t version = 0, held = 0;

	start_proxy(cut_first_answer);
	client = through(proxy_path, 0);
	ck_assert_int_eq(mg_move(client, "v", "w", NULL, &version), MG_OK);
	ck_assert_uint_eq(version, 1);
	ck_assert_uint_eq(proxy.turns, 1);
	ck_assert_int_eq(mg_stat(client, "w", keep_version, &held), MG_OK);
	ck_assert_uint_eq(held, 1);
	ck_assert_int_eq(mg_move(client, "v", "w", NULL, &version), MG_NOT_FOUND);
}
END_TEST

static int count_token(void *context, const struct mg_token *token)
{
	(void)token;
	++*(unsigned *)context;
	return 0;
}

/* What was handed over is the token that there is. */
START_TEST(a_token_whose_answer_was_lost_is_one)
{
	const struct mg_grant grant = { "get", "~/**" };
	const struct mg_token_options options = { .grants = &grant, .grant_count = 1 };
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *token = NULL;
	unsigned count = 0;

	start_proxy(cut_first_answer);
	client = through(proxy_path, 0);
	ck_assert_int_eq(mg_issue_token(client, "~/lost", &options, &token), MG_OK);
	ck_assert_uint_eq(proxy.turns, 1);
	ck_assert_int_eq(mg_list_tokens(client, count_token, &count), MG_OK);
	ck_assert_uint_eq(count, 1);
	ck_assert_int_eq(
		mg_show_token(client, mg_secret_data(token), mg_secret_size(token)), MG_OK);
}
END_TEST

START_TEST(a_revoke_whose_answer_was_lost_succeeds)
{
	const struct mg_grant grant = { "get", "~/**" };
	const struct mg_token_options options = { .grants = &grant, .grant_count = 1 };
	MG_AUTO_CLIENT struct mg_client *direct = through(house.path, 0);
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *token = NULL;

	ck_assert_int_eq(mg_issue_token(direct, "~/lost", &options, &token), MG_OK);
	start_proxy(cut_first_answer);
	client = through(proxy_path, 0);
	ck_assert_int_eq(mg_revoke_token(client, "~/lost"), MG_OK);
	ck_assert_uint_eq(proxy.turns, 1);
	ck_assert_int_eq(mg_revoke_token(client, "~/lost"), MG_NOT_FOUND);
}
END_TEST

START_TEST(a_wrap_whose_answer_was_lost_is_one)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *wrap = NULL, *first = NULL, *second = NULL;

	start_proxy(cut_first_answer);
	client = through(proxy_path, 0);
	ck_assert_int_eq(mg_wrap(client, "v", NULL, &wrap), MG_OK);
	ck_assert_uint_eq(proxy.turns, 1);
	ck_assert_int_eq(
		mg_unwrap(client, mg_secret_data(wrap), mg_secret_size(wrap), &first), MG_OK);
	ck_assert(mg_secret_equal(first, value, sizeof(value)));
	ck_assert_int_eq(
		mg_unwrap(client, mg_secret_data(wrap), mg_secret_size(wrap), &second), MG_GONE);
}
END_TEST

/* The answer is lost, and before it is asked for again somebody else has destroyed the secret. */
static ssize_t cut_and_remove(const struct passing *passing)
{
	MG_AUTO_CLIENT struct mg_client *other = NULL;

	if (passing->turn > 0)
		return (ssize_t)passing->size;
	other = through(house.path, 0);
	ck_assert_int_eq(mg_melt(other, "v", NULL), MG_OK);
	ck_assert_int_eq(mg_remove(other, "v", NULL), MG_OK);
	return -1;
}

static int freeze_it(struct mg_client *client)
{
	return mg_freeze(client, "v", NULL);
}

static int melt_it(struct mg_client *client)
{
	return mg_melt(client, "v", NULL);
}

static int touch_it(struct mg_client *client)
{
	return mg_touch(client, "v", 3600000, NULL);
}

/* Asked anew each would find nothing. */
START_TEST(a_change_whose_answer_was_lost_gets_its_first_one)
{
	static int (*const changes[])(struct mg_client *) = { freeze_it, melt_it, touch_it };
	MG_AUTO_CLIENT struct mg_client *client = NULL;

	start_proxy(cut_and_remove);
	client = through(proxy_path, 0);
	ck_assert_int_eq(changes[_i](client), MG_OK);
	ck_assert_uint_eq(proxy.turns, 1);
	ck_assert_int_eq(mg_stat(client, "v", NULL, NULL), MG_NOT_FOUND);
	ck_assert_int_eq(changes[_i](client), MG_NOT_FOUND);
}
END_TEST

START_TEST(a_get_that_was_cut_is_fetched_again)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *secret = NULL;

	start_proxy(cut_in_the_midst);
	client = through(proxy_path, 0);
	ck_assert_int_eq(mg_get(client, "v", NULL, &secret), MG_OK);
	ck_assert(mg_secret_equal(secret, value, sizeof(value)));
	ck_assert_uint_eq(proxy.turns, 1);
}
END_TEST

START_TEST(what_was_handed_over_is_not_handed_over_again)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	size_t seen = 0;

	start_proxy(cut_in_the_midst);
	client = through(proxy_path, 0);
	ck_assert_int_eq(mg_get_each(client, "v", NULL, count, &seen), MG_UNREACHABLE);
	ck_assert_uint_gt(seen, 0);
	ck_assert_uint_lt(seen, sizeof(value));
	seen = 0;
	ck_assert_int_eq(mg_get_each(client, "v", NULL, count, &seen), MG_OK);
	ck_assert_uint_eq(seen, sizeof(value));
}
END_TEST

START_TEST(a_source_is_not_asked_twice)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	size_t left = 100;

	start_proxy(cut_first_answer);
	client = through(proxy_path, 0);
	ck_assert_int_eq(mg_set_from(client, "x", source, &left, NULL, NULL), MG_UNREACHABLE);
	ck_assert_int_eq(mg_ping(client), MG_OK);
}
END_TEST

START_TEST(a_call_is_repeated_once_and_no_more)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;

	start_proxy(cut_every_answer);
	client = through(proxy_path, 0);
	ck_assert_int_eq(mg_ping(client), MG_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "closed the connection"));
	ck_assert_uint_eq(proxy.turns, 2);
}
END_TEST

/* -- what comes is spoilt ------------------------------------------------------------------ */

static ssize_t flip_sealed(const struct passing *passing)
{
	passing->bytes[FRAME_HEADER_SIZE + passing->sealed / 2] ^= 1;
	return (ssize_t)passing->size;
}

static ssize_t flip_chunk(const struct passing *passing)
{
	if (passing->chunks > 0)
		passing->bytes[passing->size - 10] ^= 0x80;
	return (ssize_t)passing->size;
}

static ssize_t swap_chunks(const struct passing *passing)
{
	uint8_t *first = passing->bytes + FRAME_HEADER_SIZE + passing->sealed;
	uint8_t kept[ENCLAVE_CHUNK_SIZE];

	if (passing->chunks >= 2 * sizeof(kept)) {
		memcpy(kept, first, sizeof(kept));
		memmove(first, first + sizeof(kept), sizeof(kept));
		memcpy(first + sizeof(kept), kept, sizeof(kept));
	}
	return (ssize_t)passing->size;
}

static ssize_t leave_out(const struct passing *passing)
{
	return passing->index == 1 ? 0 : (ssize_t)passing->size;
}

START_TEST(what_was_spoilt_on_the_way_is_noticed)
{
	static const spoil_function ways[] = { flip_sealed, flip_chunk, swap_chunks, leave_out };
	MG_AUTO_CLIENT struct mg_client *client = NULL;

	start_proxy(flip_sealed);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		MG_AUTO_SECRET struct mg_secret *secret = NULL;
		struct mg_enclave *enclave = NULL;
		size_t seen = 0;

		proxy.spoil = ways[i];
		mg_client_cleanup(&client);
		client = through(proxy_path, 0);
		ck_assert_int_eq(mg_get(client, "v", NULL, &secret), MG_INTEGRITY);
		ck_assert_ptr_null(secret);
		ck_assert_int_eq(mg_get_each(client, "v", NULL, count, &seen), MG_INTEGRITY);
		ck_assert_int_eq(mg_get_enclave(client, "v", NULL, &enclave), MG_INTEGRITY);
		ck_assert_ptr_null(enclave);
	}
}
END_TEST

static ssize_t as_it_is(const struct passing *passing)
{
	return (ssize_t)passing->size;
}

START_TEST(after_what_was_spoilt_the_handle_goes_on)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *secret = NULL;

	start_proxy(flip_chunk);
	client = through(proxy_path, 0);
	ck_assert_int_eq(mg_get(client, "v", NULL, &secret), MG_INTEGRITY);
	proxy.spoil = as_it_is;
	ck_assert_int_eq(mg_get(client, "v", NULL, &secret), MG_OK);
	ck_assert(mg_secret_equal(secret, value, sizeof(value)));
}
END_TEST

static ssize_t hold_back(const struct passing *passing)
{
	(void)passing;
	return 0;
}

START_TEST(an_answer_that_does_not_come_is_a_timeout)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;

	start_proxy(hold_back);
	client = through(proxy_path, 3000);
	ck_assert_int_eq(mg_ping(client), MG_TIMEOUT);
	/* A late answer is not taken for the next call's. */
	proxy.spoil = as_it_is;
	ck_assert_int_eq(mg_stat(client, "absent", NULL, NULL), MG_NOT_FOUND);
}
END_TEST

/* -- no daemon at all ---------------------------------------------------------------------- */

struct impostor {
	int listener;
	const void *words;
	size_t size;
	size_t heard;
	pthread_t thread;
};

/* Says its words to whoever connects, and hears until the other side closes. */
static void *impersonate(void *argument)
{
	struct impostor *impostor = argument;
	int client = accept(impostor->listener, NULL, NULL);
	char heard[256];
	ssize_t r;

	if (impostor->size > 0)
		(void)pass(client, impostor->words, impostor->size);
	while ((r = read(client, heard, sizeof(heard))) > 0)
		impostor->heard += (size_t)r;
	close(client);
	return NULL;
}

static int meet(const void *words, size_t size, size_t *heard)
{
	struct impostor impostor = { .words = words, .size = size };
	struct mg_options options = { .endpoint = proxy_path, .timeout_ms = 300 };
	struct mg_client *client = NULL;
	int status;

	impostor.listener = listen_at(proxy_path);
	ck_assert_int_eq(pthread_create(&impostor.thread, NULL, impersonate, &impostor), 0);
	status = mg_open(&client, &options);
	ck_assert_ptr_null(client);
	pthread_join(impostor.thread, NULL);
	close(impostor.listener);
	unlink(proxy_path);
	*heard = impostor.heard;
	return status;
}

START_TEST(whoever_is_no_daemon_is_not_spoken_to)
{
	uint8_t hello[HELLO_SIZE_MAX] = { 0 };
	uint8_t key[32];
	size_t heard;

	randombytes_buf(key, sizeof(key));
	ck_assert_int_eq(meet("", 0, &heard), MG_TIMEOUT);
	ck_assert_uint_eq(heard, HELLO_SIZE);
	memset(hello, 'x', sizeof(hello));
	ck_assert_int_eq(meet(hello, sizeof(hello), &heard), MG_PROTOCOL);
	hello_write(hello, 2, 3, CHANNEL_CIPHERS, key);
	ck_assert_int_eq(meet(hello, HELLO_SIZE, &heard), MG_PROTOCOL);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "versions 2 to 3"));
	hello_write(hello, 1, 1, 2, key);
	ck_assert_int_eq(meet(hello, HELLO_SIZE, &heard), MG_PROTOCOL);
	hello_write(hello, 1, 1, CHANNEL_CIPHERS | 2, key);
	ck_assert_int_eq(meet(hello, HELLO_SIZE, &heard), MG_PROTOCOL);
	ck_assert_uint_eq(heard, HELLO_SIZE);
}
END_TEST

START_TEST(a_key_of_low_order_is_refused)
{
	uint8_t hello[HELLO_SIZE];
	uint8_t key[32] = { 0 };
	size_t heard;

	hello_write(hello, 1, 1, CHANNEL_CIPHERS, key);
	ck_assert_int_eq(meet(hello, HELLO_SIZE, &heard), MG_PROTOCOL);
	key[0] = 1;
	hello_write(hello, 1, 1, CHANNEL_CIPHERS, key);
	ck_assert_int_eq(meet(hello, HELLO_SIZE, &heard), MG_PROTOCOL);
	ck_assert_uint_eq(heard, HELLO_SIZE);
}
END_TEST

/* Done between connect and whatever is sent, when the library asks who serves it; NULL: nothing. */
static void (*when_connected)(int fd);

/* In place of the C library's, for the library that we are here to see. */
__attribute__((visibility("default"))) int getsockopt(
	int fd, int level, int name, void *out, socklen_t *size)
{
	if (when_connected)
		when_connected(fd);
	return (int)syscall(SYS_getsockopt, fd, level, name, out, size);
}

static void wait_for_its_end(int fd)
{
	struct pollfd entry = { .fd = fd };

	while (poll(&entry, 1, -1) < 0 || !(entry.revents & POLLHUP))
		;
}

/* Says its words to all who come, and closes, whether they have spoken or not. */
static void *turn_away(void *argument)
{
	struct impostor *impostor = argument;
	int client;

	while ((client = accept(impostor->listener, NULL, NULL)) >= 0) {
		if (impostor->size > 0)
			(void)pass(client, impostor->words, impostor->size);
		close(client);
	}
	return NULL;
}

static int be_turned_away(const void *words, size_t size)
{
	struct impostor impostor = { .words = words, .size = size };
	struct mg_options options = { .endpoint = proxy_path, .timeout_ms = 10000 };
	struct mg_client *client = NULL;
	int status;

	impostor.listener = listen_at(proxy_path);
	ck_assert_int_eq(pthread_create(&impostor.thread, NULL, turn_away, &impostor), 0);
	when_connected = wait_for_its_end;
	status = mg_open(&client, &options);
	when_connected = NULL;
	ck_assert_ptr_null(client);
	shutdown(impostor.listener, SHUT_RDWR);
	pthread_join(impostor.thread, NULL);
	close(impostor.listener);
	unlink(proxy_path);
	return status;
}

START_TEST(a_refusal_is_read_also_when_nothing_can_be_sent_any_more)
{
	uint8_t hello[HELLO_SIZE];

	hello_write_refusal(hello, HELLO_TOO_MANY_HANDSHAKES);
	ck_assert_int_eq(be_turned_away(hello, sizeof(hello)), MG_LIMIT);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "quota-handshakes"));
	hello_write_refusal(hello, HELLO_TOO_MANY_SESSIONS);
	ck_assert_int_eq(be_turned_away(hello, sizeof(hello)), MG_LIMIT);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "quota-sessions"));
	/* Whoever says nothing, or not all of it, has only gone. */
	ck_assert_int_eq(be_turned_away(hello, sizeof(hello) - 1), MG_UNREACHABLE);
	ck_assert_int_eq(be_turned_away(hello, 0), MG_UNREACHABLE);
}
END_TEST

START_TEST(a_hello_that_is_longer_is_read_to_its_end)
{
	/* A later version may add fields; what follows it here is no frame. */
	uint8_t hello[HELLO_SIZE + 8 + 4] = { 0 };
	uint8_t key[32];
	struct impostor impostor = { .words = hello, .size = sizeof(hello) };
	struct mg_options options = { .endpoint = proxy_path, .timeout_ms = 300 };
	struct mg_client *client;

	randombytes_buf(key, sizeof(key));
	crypto_scalarmult_base(key, key);
	hello_write(hello, 1, 1, CHANNEL_CIPHERS, key);
	hello[4] = HELLO_SIZE + 8;
	impostor.listener = listen_at(proxy_path);
	ck_assert_int_eq(pthread_create(&impostor.thread, NULL, impersonate, &impostor), 0);
	ck_assert_int_eq(mg_open(&client, &options), MG_OK);
	mg_close(client);
	pthread_join(impostor.thread, NULL);
}
END_TEST

/* A listener of another user in a folder with these rights. Returns what mg_open says of it. */
static int visit_stranger(uid_t owner, mode_t mode, size_t *heard)
{
	struct mg_options options = { .endpoint = proxy_path, .timeout_ms = 300 };
	struct mg_client *client = NULL;
	char folder[] = "/tmp/memguardd-XXXXXX";
	int told[2];
	pid_t child;
	int status;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert(chown(folder, owner, (gid_t)-1) == 0 && chmod(folder, mode) == 0);
	snprintf(proxy_path, sizeof(proxy_path), "%s/socket", folder);
	ck_assert_int_eq(pipe(told), 0);
	child = fork();
	if (child == 0) {
		struct impostor impostor = { .listener = -1 };

		if (setuid(65534) < 0)
			_exit(1);
		impostor.listener = listen_at(proxy_path);
		(void)!write(told[1], "", 1);
		impersonate(&impostor);
		(void)!write(told[1], &impostor.heard, sizeof(impostor.heard));
		_exit(0);
	}
	ck_assert_int_eq(read(told[0], &(char){ 0 }, 1), 1);
	status = mg_open(&client, &options);
	ck_assert_int_eq(read(told[0], heard, sizeof(*heard)), sizeof(*heard));
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	unlink(proxy_path);
	rmdir(folder);
	return status;
}

START_TEST(a_stranger_hears_nothing_unless_the_place_is_his)
{
	size_t heard;

	if (geteuid() != 0) {
		puts("SKIP: a_stranger_hears_nothing_unless_the_place_is_his: only root can be "
		     "two users");
		return;
	}
	ck_assert_int_eq(visit_stranger(0, 0777, &heard), MG_UNREACHABLE);
	ck_assert_uint_eq(heard, 0);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "nothing was sent"));
	ck_assert_int_eq(visit_stranger(65534, 0775, &heard), MG_UNREACHABLE);
	ck_assert_uint_eq(heard, 0);
	ck_assert_int_eq(visit_stranger(65534, 0755, &heard), MG_TIMEOUT);
	ck_assert_uint_eq(heard, HELLO_SIZE);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("client-trouble");

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, a_set_whose_answer_was_lost_is_stored_once);
	tcase_add_test(claims, a_generate_whose_answer_was_lost_draws_once);
	tcase_add_test(claims, a_remove_whose_answer_was_lost_succeeds);
	tcase_add_loop_test(claims, a_rotation_whose_answer_was_lost_is_made_once, 0, 2);
	tcase_add_test(claims, a_move_whose_answer_was_lost_succeeds);
	tcase_add_test(claims, a_token_whose_answer_was_lost_is_one);
	tcase_add_test(claims, a_revoke_whose_answer_was_lost_succeeds);
	tcase_add_test(claims, a_wrap_whose_answer_was_lost_is_one);
	tcase_add_loop_test(claims, a_change_whose_answer_was_lost_gets_its_first_one, 0, 3);
	tcase_add_test(claims, a_get_that_was_cut_is_fetched_again);
	tcase_add_test(claims, what_was_handed_over_is_not_handed_over_again);
	tcase_add_test(claims, a_source_is_not_asked_twice);
	tcase_add_test(claims, a_call_is_repeated_once_and_no_more);
	tcase_add_test(claims, what_was_spoilt_on_the_way_is_noticed);
	tcase_add_test(claims, after_what_was_spoilt_the_handle_goes_on);
	tcase_add_test(claims, an_answer_that_does_not_come_is_a_timeout);
	tcase_add_test(claims, whoever_is_no_daemon_is_not_spoken_to);
	tcase_add_test(claims, a_key_of_low_order_is_refused);
	tcase_add_test(claims, a_refusal_is_read_also_when_nothing_can_be_sent_any_more);
	tcase_add_test(claims, a_hello_that_is_longer_is_read_to_its_end);
	tcase_add_test(claims, a_stranger_hears_nothing_unless_the_place_is_his);
	return claims_run(claims, "client-trouble");
}
