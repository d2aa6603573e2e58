/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/channel.h"
#include "common/wire/message.h"
#include "tests/unit/claims.h"
#include "tests/unit/rig.h"

static struct rig rig;
static struct channel_pair client_pair, server_pair;
static uint8_t client_hello[HELLO_SIZE], server_hello[HELLO_SIZE];
static struct channel_keys client_keys, server_keys;
static struct channel client, server;

static void draw_fixed(struct channel_pair *pair, uint8_t first)
{
	uint8_t seed[32];

	for (size_t i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)(first + i);
	crypto_kx_seed_keypair(pair->open, pair->secret, seed);
}

static void shake_hands(void)
{
	rig_init(&rig);
	draw_fixed(&client_pair, 0x00);
	draw_fixed(&server_pair, 0x20);
	hello_write(client_hello, 1, 1, CHANNEL_CIPHERS, client_pair.open);
	hello_write(server_hello, 1, 1, CHANNEL_CIPHERS, server_pair.open);
	ck_assert_int_eq(
		channel_agree(&client_keys, &client_pair, false, span_of(client_hello, HELLO_SIZE),
			span_of(server_hello, HELLO_SIZE)),
		0);
	ck_assert_int_eq(
		channel_agree(&server_keys, &server_pair, true, span_of(client_hello, HELLO_SIZE),
			span_of(server_hello, HELLO_SIZE)),
		0);
	client = (struct channel){ 0 };
	server = (struct channel){ 0 };
}

static uint8_t wire[FRAME_SIZE_MAX];

/* The client seals `text`; gives the frame as it went over the wire. */
static struct span say(const char *text)
{
	return span_of(
		wire, channel_seal(&client, &client_keys, span_of(text, strlen(text)), 0, wire));
}

/* The server's view of it: bytes of plaintext, or a negative errno. */
static int hear(struct span bytes, uint8_t *plain)
{
	struct frame frame;
	int r = frame_next(&frame, &bytes);

	return r == 1 ? channel_open(&server, &server_keys, &frame, plain) : -EPROTO;
}

START_TEST(both_sides_get_the_same_keys_crosswise)
{
	ck_assert_mem_eq(client_keys.send, server_keys.receive, 32);
	ck_assert_mem_eq(client_keys.receive, server_keys.send, 32);
	ck_assert_mem_ne(client_keys.send, client_keys.receive, 32);
}
END_TEST

START_TEST(a_frame_opens_on_the_other_side)
{
	uint8_t plain[FRAME_PLAIN_MAX];

	ck_assert_int_eq(hear(say("one"), plain), 3);
	ck_assert_mem_eq(plain, "one", 3);
	ck_assert_int_eq(hear(say("two"), plain), 3);
	ck_assert_mem_eq(plain, "two", 3);
}
END_TEST

START_TEST(a_changed_bit_anywhere_in_a_frame_is_found)
{
	uint8_t plain[FRAME_PLAIN_MAX];
	uint8_t copy[256];
	struct span bytes = say("yellow submarine");

	memcpy(copy, bytes.data, bytes.size);
	for (size_t bit = 0; bit < 8 * bytes.size; bit++) {
		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
		ck_assert_int_lt(hear(span_of(copy, bytes.size), plain), 0);
		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ck_assert_int_eq(hear(span_of(copy, bytes.size), plain), 16);
}
END_TEST

START_TEST(a_changed_chunk_length_is_found_by_the_frame)
{
	uint8_t plain[FRAME_PLAIN_MAX];
	struct span bytes = say("yellow submarine");
	struct frame frame;

	wire[4] = 5;
	bytes.size += 5;
	ck_assert_int_eq(frame_next(&frame, &bytes), 1);
	ck_assert_int_eq(channel_open(&server, &server_keys, &frame, plain), -EBADMSG);
}
END_TEST

START_TEST(a_replayed_frame_does_not_open_again)
{
	uint8_t plain[FRAME_PLAIN_MAX];
	struct span bytes = say("once");

	ck_assert_int_eq(hear(bytes, plain), 4);
	ck_assert_int_eq(hear(bytes, plain), -EBADMSG);
}
END_TEST

START_TEST(a_frame_left_out_is_noticed)
{
	uint8_t plain[FRAME_PLAIN_MAX];

	say("lost");
	ck_assert_int_eq(hear(say("next"), plain), -EBADMSG);
}
END_TEST

START_TEST(a_frame_reflected_to_its_sender_does_not_open)
{
	uint8_t plain[FRAME_PLAIN_MAX];
	struct span bytes = say("mirror");
	struct frame frame;

	ck_assert_int_eq(frame_next(&frame, &bytes), 1);
	ck_assert_int_eq(channel_open(&client, &client_keys, &frame, plain), -EBADMSG);
}
END_TEST

START_TEST(a_changed_hello_gives_other_keys)
{
	struct channel_keys other;

	for (size_t i = 0; i < 16; i++) {
		client_hello[i] ^= 1;
		ck_assert_int_eq(
			channel_agree(&other, &server_pair, true, span_of(client_hello, HELLO_SIZE),
				span_of(server_hello, HELLO_SIZE)),
			0);
		ck_assert_mem_ne(other.send, server_keys.send, 32);
		ck_assert_mem_ne(other.receive, server_keys.receive, 32);
		client_hello[i] ^= 1;
	}
}
END_TEST

START_TEST(a_key_of_low_order_is_refused)
{
	static const uint8_t low[3][32] = {
		{ 0 },
		{ 1 },
		{ 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1,
			0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86,
			0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 },
	};
	struct channel_keys keys;

	for (size_t i = 0; i < 3; i++) {
		hello_write(client_hello, 1, 1, CHANNEL_CIPHERS, low[i]);
		ck_assert_int_eq(
			channel_agree(&keys, &server_pair, true, span_of(client_hello, HELLO_SIZE),
				span_of(server_hello, HELLO_SIZE)),
			-EPROTO);
	}
}
END_TEST

START_TEST(garbage_is_no_hello_from_its_first_byte_on)
{
	struct hello hello;

	ck_assert_int_eq(hello_read(&hello, span_text("G")), -EPROTO);
	ck_assert_int_eq(hello_read(&hello, span_text("GET / HTTP/1.0")), -EPROTO);
	for (size_t i = 0; i < HELLO_SIZE; i++)
		ck_assert_int_eq(hello_read(&hello, span_of(client_hello, i)), 0);
	ck_assert_int_eq(hello_read(&hello, span_of(client_hello, HELLO_SIZE)), HELLO_SIZE);
}
END_TEST

START_TEST(a_hello_has_48_to_128_bytes)
{
	uint8_t bytes[256] = { 0 };
	struct hello hello;

	memcpy(bytes, client_hello, HELLO_SIZE);
	bytes[4] = 47;
	ck_assert_int_eq(hello_read(&hello, span_of(bytes, sizeof(bytes))), -EPROTO);
	bytes[4] = 128;
	ck_assert_int_eq(hello_read(&hello, span_of(bytes, sizeof(bytes))), 128);
	bytes[4] = 129;
	ck_assert_int_eq(hello_read(&hello, span_of(bytes, sizeof(bytes))), -EPROTO);
}
END_TEST

START_TEST(only_a_common_version_and_cipher_agree)
{
	struct hello hello = { .version_low = 1, .version_high = 3, .ciphers = 3 };

	ck_assert_int_eq(hello_agree(&hello), 0);
	hello.version_low = 2;
	ck_assert_int_eq(hello_agree(&hello), -EPROTONOSUPPORT);
	hello = (struct hello){ .version_low = 1, .version_high = 1, .ciphers = 2 };
	ck_assert_int_eq(hello_agree(&hello), -EPROTONOSUPPORT);
	hello = (struct hello){ .version_low = 0, .version_high = 0, .ciphers = 1 };
	ck_assert_int_eq(hello_agree(&hello), -EPROTONOSUPPORT);
}
END_TEST

START_TEST(keys_at_rest_come_back_and_only_to_their_channel)
{
	struct channel_keys back;

	ck_assert_int_eq(channel_rest(&server, 7, &server_keys, &rig.coffer), 0);
	ck_assert_ptr_null(memmem(&server, sizeof(server), server_keys.send, 8));
	ck_assert_int_eq(channel_take(&server, &back, &rig.coffer), 0);
	ck_assert_mem_eq(&back, &server_keys, sizeof(back));
	server.number = 8;
	ck_assert_int_lt(channel_take(&server, &back, &rig.coffer), 0);
	server.number = 7;
	coffer_replace(&rig.coffer, COFFER_VAULT);
	ck_assert_int_eq(channel_take(&server, &back, &rig.coffer), 0);
	coffer_replace(&rig.coffer, COFFER_CHANNEL);
	ck_assert_int_lt(channel_take(&server, &back, &rig.coffer), 0);
}
END_TEST

START_TEST(a_key_pair_at_rest_comes_back_once_and_is_nothing_else)
{
	struct channel_pair back;
	struct channel_keys keys;
	struct channel kept;

	ck_assert_int_eq(channel_rest_pair(&server, 7, &server_pair, &rig.coffer), 0);
	ck_assert_ptr_null(memmem(&server, sizeof(server), server_pair.secret, 8));
	kept = server;
	ck_assert_int_lt(channel_take(&server, &keys, &rig.coffer), 0);
	ck_assert_int_eq(channel_take_pair(&server, &back, &rig.coffer), 0);
	ck_assert_mem_eq(&back, &server_pair, sizeof(back));
	/* Nothing of it is left, neither when it was taken nor when it could not be. */
	ck_assert(sodium_is_zero((const uint8_t *)&server, sizeof(server)));
	ck_assert_int_eq(channel_take_pair(&server, &back, &rig.coffer), -EBADMSG);
	server = kept;
	server.number = 8;
	ck_assert_int_eq(channel_take_pair(&server, &back, &rig.coffer), -EBADMSG);
	server = kept;
	coffer_replace(&rig.coffer, COFFER_CHANNEL);
	ck_assert_int_eq(channel_take_pair(&server, &back, &rig.coffer), -EBADMSG);
	ck_assert(sodium_is_zero((const uint8_t *)&server, sizeof(server)));
	/* Frame keys are no pair. */
	ck_assert_int_eq(channel_rest(&server, 7, &server_keys, &rig.coffer), 0);
	ck_assert_int_eq(channel_take_pair(&server, &back, &rig.coffer), -EBADMSG);
}
END_TEST

static char page[65536];

static void read_page(void)
{
	FILE *file = fopen(PROTOCOL_PAGE, "r");
	size_t size;

	ck_assert_ptr_nonnull(file);
	size = fread(page, 1, sizeof(page) - 1, file);
	page[size] = '\0';
	fclose(file);
}

/* The page gives `label` with exactly these bytes. */
static void is_on_page(const char *label, const void *bytes, size_t size)
{
	char hex[1024];
	char line[1100];

	ck_assert_uint_lt(2 * size, sizeof(hex));
	sodium_bin2hex(hex, sizeof(hex), bytes, size);
	snprintf(line, sizeof(line), "%-16s %s\n", label, hex);
	ck_assert_msg(strstr(page, line) != NULL, "PROTOCOL.md lacks: %s", line);
}

START_TEST(the_protocol_page_gives_the_vectors_that_this_code_makes)
{
	static const uint8_t yellow[] = "yellow submarine";
	uint8_t key[32], chunk[32], plain[512];
	struct request ping = { .id = 1, .verb = VERB_PING };
	struct request set = { .id = 2,
		.numbered = true,
		.verb = VERB_SET,
		.name = span_text("web/db"),
		.key = key,
		.size = 16,
		.chunked = true,
		.chunks = { .count = 1, .last = 32, .final = true } };
	struct reply stored = { .id = 2, .body = BODY_STORED, .version = 1 };
	size_t used = 0, size;

	read_page();
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(0x80 + i);
	for (size_t i = 0; i < sizeof(set.number); i++)
		set.number[i] = (uint8_t)(0x40 + i);
	is_on_page("client secret", client_pair.secret, 32);
	is_on_page("daemon public", server_pair.open, 32);
	is_on_page("client hello", client_hello, HELLO_SIZE);
	is_on_page("daemon hello", server_hello, HELLO_SIZE);
	is_on_page("client to daemon", client_keys.send, 32);
	is_on_page("daemon to client", client_keys.receive, 32);
	enclave_seal_chunk(chunk, yellow, 16, 0, true, key);
	is_on_page("data key", key, 32);
	is_on_page("chunk", chunk, 32);
	ck_assert_int_eq(message_append_request(plain, &used, sizeof(plain), &ping), 0);
	is_on_page("ping plaintext", plain, used);
	size = channel_seal(&client, &client_keys, span_of(plain, used), 0, wire);
	is_on_page("ping frame", wire, size);
	used = 0;
	ck_assert_int_eq(message_append_request(plain, &used, sizeof(plain), &set), 0);
	is_on_page("set plaintext", plain, used);
	size = channel_seal(&client, &client_keys, span_of(plain, used), 32, wire);
	is_on_page("set frame", wire, size);
	used = 0;
	ck_assert_int_eq(message_append_reply(plain, &used, sizeof(plain), &stored), 0);
	is_on_page("stored plaintext", plain, used);
	size = channel_seal(&server, &server_keys, span_of(plain, used), 0, wire);
	is_on_page("stored frame", wire, size);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("channel");

	tcase_add_checked_fixture(claims, shake_hands, NULL);
	tcase_add_test(claims, both_sides_get_the_same_keys_crosswise);
	tcase_add_test(claims, a_frame_opens_on_the_other_side);
	tcase_add_test(claims, a_changed_bit_anywhere_in_a_frame_is_found);
	tcase_add_test(claims, a_changed_chunk_length_is_found_by_the_frame);
	tcase_add_test(claims, a_replayed_frame_does_not_open_again);
	tcase_add_test(claims, a_frame_left_out_is_noticed);
	tcase_add_test(claims, a_frame_reflected_to_its_sender_does_not_open);
	tcase_add_test(claims, a_changed_hello_gives_other_keys);
	tcase_add_test(claims, a_key_of_low_order_is_refused);
	tcase_add_test(claims, garbage_is_no_hello_from_its_first_byte_on);
	tcase_add_test(claims, a_hello_has_48_to_128_bytes);
	tcase_add_test(claims, only_a_common_version_and_cipher_agree);
	tcase_add_test(claims, keys_at_rest_come_back_and_only_to_their_channel);
	tcase_add_test(claims, a_key_pair_at_rest_comes_back_once_and_is_nothing_else);
	tcase_add_test(claims, the_protocol_page_gives_the_vectors_that_this_code_makes);
	return claims_run(claims, "channel");
}
