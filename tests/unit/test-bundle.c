/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/bundle.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "common/memory/locked_stack.h"
#include "tests/unit/claims.h"
#include "tests/unit/rig.h"

/* Bytes in front of the version. */
#define MAGIC_SIZE 8

static struct rig rig;
static uint8_t key[BUNDLE_KEY_SIZE];
static uint8_t message[BUNDLE_PREFIX_SIZE + BUNDLE_MESSAGE_MAX];
static uint8_t plain[MESSAGE_BUNDLED_MAX];

static void set_up(void)
{
	rig_init(&rig);
	randombytes_buf(key, sizeof(key));
}

static struct bundle_head read_back(const struct bundle_head *written)
{
	struct bundle_head head = { 0 };

	memcpy(head.bytes, written->bytes, written->size);
	ck_assert_int_eq(bundle_head_start(&head), 0);
	ck_assert_uint_eq(head.size, written->size);
	ck_assert_int_eq(bundle_head_read(&head), 0);
	return head;
}

START_TEST(a_head_comes_back_as_it_was_written)
{
	struct bundle_head head, back;

	bundle_head_passphrase(&head, 3, (size_t)256 << 20);
	back = read_back(&head);
	ck_assert_int_eq(back.kind, BUNDLE_PASSPHRASE);
	ck_assert_uint_eq(back.opslimit, 3);
	ck_assert_uint_eq(back.memlimit, (size_t)256 << 20);
	ck_assert_mem_eq(bundle_head_salt(&back), bundle_head_salt(&head), BUNDLE_SALT_SIZE);
}
END_TEST

START_TEST(the_private_key_opens_what_the_public_one_has_sealed)
{
	uint8_t public_key[BUNDLE_KEY_SIZE], private_key[BUNDLE_KEY_SIZE];
	uint8_t opened[BUNDLE_KEY_SIZE];
	struct bundle_head head, back;

	crypto_box_keypair(public_key, private_key);
	ck_assert_int_eq(bundle_head_recipient(&head, key, public_key), 0);
	back = read_back(&head);
	ck_assert_int_eq(back.kind, BUNDLE_RECIPIENT);
	ck_assert_int_eq(bundle_head_open(&back, opened, private_key), 0);
	ck_assert_mem_eq(opened, key, sizeof(key));
	private_key[7] ^= 1;
	ck_assert_int_eq(bundle_head_open(&back, opened, private_key), -EBADMSG);
	private_key[7] ^= 1;
	back.bytes[50] ^= 1;
	ck_assert_int_eq(bundle_head_open(&back, opened, private_key), -EBADMSG);
	/* Of low order: whoever sealed to it would tell everybody. */
	memset(public_key, 0, sizeof(public_key));
	ck_assert_int_eq(bundle_head_recipient(&head, key, public_key), -EINVAL);
}
END_TEST

START_TEST(a_head_of_another_kind_is_none)
{
	struct bundle_head head, back;

	bundle_head_passphrase(&head, 3, (size_t)256 << 20);
	for (size_t i = 0; i < BUNDLE_START_SIZE; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			back = head;
			back.bytes[i] ^= (uint8_t)(1 << bit);
			/* Kind 1 and kind 2 differ in two bits. */
			ck_assert_int_eq(bundle_head_start(&back),
				i == MAGIC_SIZE ? -EPROTONOSUPPORT : -EPROTO);
		}
}
END_TEST

START_TEST(a_head_that_asks_for_too_much_or_too_little_is_none)
{
	static const struct {
		uint32_t opslimit;
		size_t memlimit;
		int result;
	} rows[] = { { 0, 8192, -EPROTO }, { 1, 8192, 0 }, { 16, BUNDLE_MEMLIMIT_MAX, 0 },
		{ 17, 8192, -EPROTO }, { UINT32_MAX, 8192, -EPROTO }, { 1, 0, -EPROTO },
		{ 1, 7168, -EPROTO }, { 1, BUNDLE_MEMLIMIT_MAX + 1024, -EPROTO },
		{ 1, (size_t)UINT32_MAX * 1024, -EPROTO } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bundle_head head;

		bundle_head_passphrase(&head, rows[i].opslimit, rows[i].memlimit);
		ck_assert_int_eq(bundle_head_start(&head), 0);
		ck_assert_int_eq(bundle_head_read(&head), rows[i].result);
	}
}
END_TEST

START_TEST(messages_come_back_in_their_order_under_their_head)
{
	struct bundle_head head, back;
	struct bundle writer, reader;
	uint8_t sealed[3][64];
	size_t size[3];
	bool final;

	bundle_head_passphrase(&head, 1, 8192);
	bundle_begin(&writer, &head, key);
	back = read_back(&head);
	for (size_t i = 0; i < 3; i++)
		size[i] = bundle_push(&writer, sealed[i], span_of(&"abc"[i], 1), i == 2);
	ck_assert_int_eq(bundle_resume(&reader, &back, key), 0);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(
			bundle_message_size(sealed[i]), (int)(size[i] - BUNDLE_PREFIX_SIZE));
		ck_assert_int_eq(bundle_pull(&reader, plain,
					 span_of(sealed[i] + BUNDLE_PREFIX_SIZE,
						 size[i] - BUNDLE_PREFIX_SIZE),
					 &final),
			0);
		ck_assert_uint_eq(plain[0], 'a' + i);
		ck_assert_int_eq(final, i == 2);
	}
	/* Another order, and another head. */
	ck_assert_int_eq(bundle_resume(&reader, &back, key), 0);
	ck_assert_int_eq(
		bundle_pull(&reader, plain, span_of(sealed[1] + 2, size[1] - 2), &final), -EBADMSG);
	for (size_t i = 0; i < head.size; i++) {
		struct bundle_head changed = back;

		changed.bytes[i] ^= 1;
		ck_assert_int_eq(bundle_resume(&reader, &changed, key), 0);
		ck_assert_int_eq(
			bundle_pull(&reader, plain, span_of(sealed[0] + 2, size[0] - 2), &final),
			-EBADMSG);
	}
}
END_TEST

START_TEST(a_message_has_a_size_that_can_be)
{
	uint8_t prefix[BUNDLE_PREFIX_SIZE] = { 17, 0 };

	ck_assert_int_eq(bundle_message_size(prefix), -EPROTO);
	prefix[0] = 18;
	ck_assert_int_eq(bundle_message_size(prefix), 18);
	prefix[0] = BUNDLE_MESSAGE_MAX & 0xff;
	prefix[1] = BUNDLE_MESSAGE_MAX >> 8;
	ck_assert_int_eq(bundle_message_size(prefix), BUNDLE_MESSAGE_MAX);
	prefix[0]++;
	ck_assert_int_eq(bundle_message_size(prefix), -EPROTO);
	prefix[0] = prefix[1] = 0xff;
	ck_assert_int_eq(bundle_message_size(prefix), -EPROTO);
}
END_TEST

START_TEST(the_largest_secret_goes_into_a_message)
{
	static char keys[MESSAGE_TAGS_MAX][MESSAGE_TAG_KEY_MAX];
	static char text[MESSAGE_TAG_VALUE_MAX];
	struct tag tags[MESSAGE_TAGS_MAX];
	char name[] = "~4294967294/0123456789";
	struct bundled bundled = { .info = { .name = span_text(name),
					   .version = MESSAGE_VERSION_MAX,
					   .size = MESSAGE_VALUE_MAX,
					   .created_ms = (int64_t)MESSAGE_VERSION_MAX,
					   .changed_ms = 1,
					   .left = { .ttl_ms = MESSAGE_SPAN_MAX, .idle_ms = 1 },
					   .frozen = true,
					   .tags = { tags, MESSAGE_TAGS_MAX } },
		.owner = UINT32_MAX,
		.key = key };
	struct bundled back;
	int size;

	memset(text, 't', sizeof(text));
	for (size_t i = 0; i < MESSAGE_TAGS_MAX; i++) {
		memset(keys[i], 'a' + (int)i, MESSAGE_TAG_KEY_MAX);
		tags[i].key = span_of(keys[i], MESSAGE_TAG_KEY_MAX);
		tags[i].value = span_of(text, MESSAGE_TAG_VALUE_MAX);
	}
	size = message_write_bundled(plain, sizeof(plain), &bundled);
	ck_assert_int_gt(size, 0);
	ck_assert_int_eq(message_write_bundled(plain, (size_t)size - 1, &bundled), -ENOSPC);
	ck_assert_int_eq(message_read_bundled(&back, span_of(plain, (size_t)size), &rig.bench), 0);
	ck_assert(span_equal(back.info.name, bundled.info.name));
	ck_assert_uint_eq(back.info.version, MESSAGE_VERSION_MAX);
	ck_assert_uint_eq(back.info.size, MESSAGE_VALUE_MAX);
	ck_assert_uint_eq(back.info.left.ttl_ms, MESSAGE_SPAN_MAX);
	ck_assert_uint_eq(back.info.tags.count, MESSAGE_TAGS_MAX);
	ck_assert(span_equal(back.info.tags.tag[15].key, tags[15].key));
	ck_assert_uint_eq(back.owner, UINT32_MAX);
	ck_assert_mem_eq(back.key, key, sizeof(key));
	ck_assert_int_eq(message_read_bundled(&back, span_of(plain, 3), &rig.bench), -EPROTO);
	ck_assert_int_eq(message_read_bundled(&back, span_of(NULL, 0), &rig.bench), -EPROTO);
}
END_TEST

/* -- how deep it goes ------------------------------------------------------------------------ */

static void seal_and_open(void *argument)
{
	uint8_t public_key[BUNDLE_KEY_SIZE], private_key[BUNDLE_KEY_SIZE];
	struct bundle_head head;
	struct bundle bundle;
	bool final;

	(void)argument;
	crypto_box_keypair(public_key, private_key);
	(void)bundle_head_recipient(&head, key, public_key);
	(void)bundle_head_open(&head, key, private_key);
	bundle_begin(&bundle, &head, key);
	(void)bundle_push(&bundle, message, span_of(plain, sizeof(plain)), false);
	(void)bundle_resume(&bundle, &head, key);
	(void)bundle_pull(&bundle, plain, span_of(message + 2, BUNDLE_MESSAGE_MAX), &final);
}

static void derive(void *argument)
{
	(void)argument;
	if (crypto_pwhash(key, sizeof(key), "passphrase", 10, plain, 1, 8192,
		    crypto_pwhash_ALG_ARGON2ID13) != 0)
		abort();
}

/* What a handle has on its bench, where the key is made. */
#define BENCH_SIZE ((size_t)7 * 4096)

START_TEST(it_goes_no_deeper_than_the_locked_stack)
{
	size_t wide = 8 * locked_stack_size();
	void *memory = aligned_alloc(4096, wide);
	struct locked_stack stack;

	ck_assert_ptr_nonnull(memory);
	locked_stack_init(&stack, memory, wide);
	ck_assert_uint_lt(
		locked_stack_measure(&stack, seal_and_open, NULL) + 1024, locked_stack_size());
	ck_assert_uint_lt(locked_stack_measure(&stack, derive, NULL) + 8192, BENCH_SIZE);
	free(memory);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("bundle");

	tcase_add_checked_fixture(claims, set_up, NULL);
	tcase_set_timeout(claims, 100);
	tcase_add_test(claims, a_head_comes_back_as_it_was_written);
	tcase_add_test(claims, the_private_key_opens_what_the_public_one_has_sealed);
	tcase_add_test(claims, a_head_of_another_kind_is_none);
	tcase_add_test(claims, a_head_that_asks_for_too_much_or_too_little_is_none);
	tcase_add_test(claims, messages_come_back_in_their_order_under_their_head);
	tcase_add_test(claims, a_message_has_a_size_that_can_be);
	tcase_add_test(claims, the_largest_secret_goes_into_a_message);
	tcase_add_test(claims, it_goes_no_deeper_than_the_locked_stack);
	return claims_run(claims, "bundle");
}
