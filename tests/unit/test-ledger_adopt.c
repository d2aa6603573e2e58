/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/claims.h"
#include "tests/unit/ledger_rig.h"

/* What a ledger's file keeps, and what the next process makes of it. */

START_TEST(a_file_grows_and_never_shrinks)
{
	struct ledger *ledger = new_ledger();
	struct stat stat;

	take(ledger, 3 * MIB);
	ck_assert_int_eq(fstat(ledger_fd, &stat), 0);
	ck_assert_uint_eq((uint64_t)stat.st_size, ledger_mapped(ledger));
	ck_assert_int_eq(ftruncate(ledger_fd, 0), -1);
	ck_assert_int_eq(errno, EPERM);
	/* Nor does anybody add to the seals. */
	ck_assert_int_eq(fcntl(ledger_fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_SEAL);
	ck_assert_int_eq(fcntl(ledger_fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	ledger_free(ledger);
}
END_TEST

/* As after a step that failed when the file was longer already. */
START_TEST(a_file_that_is_longer_than_it_need_be_is_grown_into)
{
	struct ledger *ledger = new_ledger();

	ck_assert_int_eq(ftruncate(ledger_fd, 64 * MIB), 0);
	take_filled(ledger, 3 * MIB);
	ck_assert_uint_lt(ledger_mapped(ledger), 64 * MIB);
	ledger_free(ledger);
}
END_TEST

/* Ledgers whose processes have ended, as it were: who frees a ledger wipes it. */
static struct ledger *ended[4];
static size_t ended_count;

/* The next one's ledger over the same file. */
static struct ledger *next_after(struct ledger *ledger)
{
	ended[ended_count++] = ledger;
	return new_ledger();
}

/* Blocks of a ledger whose process has ended, and the next one's ledger over its file. */
static struct ledger *adopted_after(struct block *blocks, size_t count)
{
	struct ledger *ledger = new_ledger();

	for (size_t i = 0; i < count; i++) {
		blocks[i].size = some_size();
		blocks[i].offset = take(ledger, blocks[i].size);
		fill(ledger, &blocks[i]);
	}
	ck_assert(!ledger_is_adopted(ledger));
	ledger = next_after(ledger);
	ck_assert(ledger_is_adopted(ledger));
	return ledger;
}

static void settle(struct ledger *ledger)
{
	ck_assert_int_eq(ledger_let_write(ledger), 0);
	ledger_settle(ledger);
}

static void claim(struct ledger *ledger, const struct block *block)
{
	ck_assert(!ledger_is_claimed(ledger, block->offset));
	ck_assert_int_eq(ledger_claim(ledger, block->offset, block->size), 0);
	ck_assert(ledger_is_claimed(ledger, block->offset));
	ck_assert(ledger_is_claimed(ledger, block->offset + rounded(block->size) - LEDGER_UNIT));
}

START_TEST(what_is_claimed_stays_and_the_rest_is_wiped_and_free)
{
	struct block blocks[BLOCKS] = { { 0 } };
	struct ledger *ledger = adopted_after(blocks, BLOCKS);
	uint64_t used = 0;

	for (size_t i = 0; i < BLOCKS; i++)
		if (randombytes_uniform(2) == 0) {
			claim(ledger, &blocks[i]);
			used += rounded(blocks[i].size);
		} else {
			blocks[i].fill = 0;
		}
	settle(ledger);
	ck_assert(!ledger_is_adopted(ledger));
	ck_assert_uint_eq(ledger_used(ledger), used);
	for (size_t i = 0; i < BLOCKS; i++) {
		const uint8_t *bytes = ledger_at(ledger, blocks[i].offset, blocks[i].size);

		if (blocks[i].fill == 0) {
			/* A free run's links are in its first unit. */
			ck_assert_uint_eq(ledger_block(ledger, blocks[i].offset), 0);
			ck_assert(blocks[i].size <= LEDGER_UNIT ||
				sodium_is_zero(bytes + LEDGER_UNIT, blocks[i].size - LEDGER_UNIT));
			blocks[i] = (struct block){ 0 };
			continue;
		}
		ck_assert(is_filled(ledger, &blocks[i]));
		ck_assert_uint_eq(ledger_block(ledger, blocks[i].offset), rounded(blocks[i].size));
	}
	/* It is a ledger like any other: what is free is handed out once, and all of it. */
	for (int i = 0; i < STEPS / 4; i++)
		step(ledger, &blocks[randombytes_uniform(BLOCKS)], &used);
	ck_assert_uint_eq(ledger_used(ledger), used);
	for (size_t i = 0; i < BLOCKS; i++)
		if (blocks[i].offset != 0)
			ledger_give(ledger, blocks[i].offset);
	ck_assert_uint_eq(ledger_used(ledger), 0);
	ledger_free(ledger);
}
END_TEST

START_TEST(a_claim_that_cannot_be_changes_nothing)
{
	struct block block;
	struct ledger *ledger = adopted_after(&block, 1);
	uint64_t mapped = ledger_mapped(ledger);
	const struct {
		uint64_t offset;
		uint64_t size;
	} bad[] = { { 0, 16 }, { 8, 16 }, { 16, 0 }, { 16, LEDGER_BLOCK_MAX + 1 }, { mapped, 16 },
		{ mapped - 16, 17 }, { UINT64_MAX - 15, 16 }, { 16, UINT64_MAX }, { 4096, 16 },
		{ 4096 - 16, 32 }, { 4096 + 48, 16 }, { 16, 8192 } };

	/* The last four run into this one. */
	ck_assert_int_eq(ledger_claim(ledger, 4096, 64), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(ledger_claim(ledger, bad[i].offset, bad[i].size), -EINVAL);
	for (uint64_t at = LEDGER_UNIT; at < mapped; at += LEDGER_UNIT)
		ck_assert_int_eq(ledger_is_claimed(ledger, at), at >= 4096 && at < 4096 + 64);
	settle(ledger);
	ck_assert_uint_eq(ledger_used(ledger), 64);
	ledger_free(ledger);
}
END_TEST

static uint64_t bytes_on_file(void)
{
	struct stat stat;

	ck_assert_int_eq(fstat(ledger_fd, &stat), 0);
	return (uint64_t)stat.st_blocks * 512;
}

START_TEST(holes_stay_holes)
{
	struct ledger *ledger = new_ledger();
	struct block first = { .size = 10000 };
	struct block last = { .size = 10000 };
	uint64_t begin;
	uint64_t end = 0;
	uint64_t written = 0;

	first.offset = take(ledger, first.size);
	fill(ledger, &first);
	while (ledger_mapped(ledger) < 128 * MIB)
		take(ledger, 8 * MIB);
	last.offset = take(ledger, last.size);
	fill(ledger, &last);
	ck_assert_uint_lt(bytes_on_file(), MIB);
	ledger = next_after(ledger);
	while (ledger_written(ledger, end, &begin, &end)) {
		ck_assert_uint_lt(begin, end);
		written += end - begin;
	}
	ck_assert_uint_le(written, bytes_on_file());
	claim(ledger, &first);
	claim(ledger, &last);
	settle(ledger);
	ck_assert(is_filled(ledger, &first));
	ck_assert(is_filled(ledger, &last));
	ck_assert_uint_lt(bytes_on_file(), MIB);
	ledger_free(ledger);
}
END_TEST

START_TEST(what_nobody_claimed_gives_its_pages_back)
{
	struct ledger *ledger = new_ledger();

	for (int i = 0; i < 12; i++)
		take_filled(ledger, 4 * MIB);
	ck_assert_uint_ge(bytes_on_file(), 48 * MIB);
	ledger = next_after(ledger);
	settle(ledger);
	ck_assert_uint_lt(bytes_on_file(), MIB);
	ck_assert_uint_eq(ledger_used(ledger), 0);
	ledger_free(ledger);
}
END_TEST

START_TEST(a_ledger_that_was_not_settled_is_left_for_the_next)
{
	struct block block;
	struct ledger *ledger = adopted_after(&block, 1);

	claim(ledger, &block);
	ledger_free(ledger);
	ledger = new_ledger();
	ck_assert_int_eq(ledger_let_write(ledger), 0);
	claim(ledger, &block);
	ledger_free(ledger);
	ledger = new_ledger();
	claim(ledger, &block);
	settle(ledger);
	ck_assert(is_filled(ledger, &block));
	ledger_free(ledger);
}
END_TEST

START_TEST(what_is_not_adopted_yet_cannot_be_written)
{
	struct block block;
	struct ledger *ledger = adopted_after(&block, 1);

	*(volatile uint8_t *)ledger_at(ledger, block.offset, 1) = 1;
}
END_TEST

START_TEST(what_is_adopted_can_be_written)
{
	struct block block;
	struct ledger *ledger = adopted_after(&block, 1);

	claim(ledger, &block);
	settle(ledger);
	fill(ledger, &block);
	ck_assert(is_filled(ledger, &block));
	ledger_free(ledger);
}
END_TEST

static void write_at(off_t offset, const void *bytes, size_t size)
{
	ck_assert_int_eq(pwrite(ledger_fd, bytes, size, offset), (ssize_t)size);
}

static void refused(void)
{
	struct ledger *ledger = NULL;
	uint8_t before[8192];
	uint8_t after[8192];
	ssize_t size = pread(ledger_fd, before, sizeof(before), 0);

	ck_assert_int_eq(ledger_new(&ledger, ledger_fd), -EBADMSG);
	ck_assert_ptr_null(ledger);
	ck_assert_int_eq(pread(ledger_fd, after, sizeof(after), 0), size);
	ck_assert_mem_eq(before, after, (size_t)size);
}

START_TEST(a_file_that_is_no_ledger_is_refused_and_left_alone)
{
	static const char text[4096] = "a text of a page";
	uint8_t head[16] = "mgledger";
	uint8_t other[16];

	head[8] = LEDGER_FORMAT;
	head[12] = LEDGER_FORMAT ^ 0xff;
	head[13] = LEDGER_FORMAT ^ 0x5a;
	head[14] = LEDGER_FORMAT ^ 0xa5;
	head[15] = LEDGER_FORMAT ^ 0x3c;
	write_at(0, text, sizeof(text));
	refused();
	/* The head has been overwritten, and not what is behind it. */
	memset(other, 0, sizeof(other));
	write_at(0, other, sizeof(other));
	write_at(4000, "x", 1);
	refused();
	for (size_t i = 0; i < sizeof(head); i++) {
		memcpy(other, head, sizeof(other));
		other[i] ^= 4;
		other[(i + 5) % sizeof(head)] ^= 4;
		write_at(0, other, sizeof(other));
		refused();
	}
	write_at(0, head, sizeof(head));
	ledger_free(new_ledger());
	/* Half a page. */
	ck_assert_int_eq(ftruncate(ledger_fd, 4096 + 2048), 0);
	refused();
}
END_TEST

static void change_head(size_t at, uint8_t change)
{
	uint8_t byte;

	ck_assert_int_eq(pread(ledger_fd, &byte, 1, (off_t)at), 1);
	byte ^= change;
	write_at((off_t)at, &byte, 1);
}

START_TEST(a_head_of_which_one_byte_was_overwritten_is_taken_and_made_whole)
{
	uint8_t before[16];
	uint8_t after[16];
	struct ledger *ledger;

	ledger_leave(new_ledger());
	ck_assert_int_eq(pread(ledger_fd, before, sizeof(before), 0), sizeof(before));
	for (size_t i = 0; i < sizeof(before); i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			change_head(i, (uint8_t)(1u << bit));
			ck_assert_int_eq(ledger_check(ledger_fd), 0);
			change_head(i, (uint8_t)(1u << bit));
		}
		change_head(i, 0xff);
		ledger = new_ledger();
		settle(ledger);
		ledger_leave(ledger);
		ck_assert_int_eq(pread(ledger_fd, after, sizeof(after), 0), sizeof(after));
		ck_assert_mem_eq(before, after, sizeof(after));
		change_head(i, 1);
		change_head((i + 1) % sizeof(before), 1);
		ck_assert_int_eq(ledger_check(ledger_fd), -EBADMSG);
		refused();
		change_head(i, 1);
		change_head((i + 1) % sizeof(before), 1);
	}
}
END_TEST

/* Not even when one byte of it was overwritten. */
START_TEST(a_head_of_another_format_is_refused)
{
	ledger_leave(new_ledger());
	for (size_t i = 8; i < 16; i++)
		if (i == 8 || i >= 12)
			change_head(i, 1);
	for (size_t i = 0; i < 16; i++) {
		change_head(i, 1);
		ck_assert_int_eq(ledger_check(ledger_fd), -EBADMSG);
		change_head(i, 1);
	}
	refused();
}
END_TEST

/* Whoever made it has ended before its head was written. */
START_TEST(a_file_of_zeros_is_an_empty_ledger)
{
	static const uint8_t format = LEDGER_FORMAT;
	struct block block = { .size = 100 };
	struct ledger *ledger;

	ck_assert_int_eq(ftruncate(ledger_fd, (off_t)MIB), 0);
	if (_i > 0)
		write_at(8, &format, 1);
	ledger = new_ledger();
	settle(ledger);
	ck_assert_uint_eq(ledger_used(ledger), 0);
	block.offset = take(ledger, block.size);
	fill(ledger, &block);
	ledger = next_after(ledger);
	claim(ledger, &block);
	settle(ledger);
	ck_assert(is_filled(ledger, &block));
	ledger_free(ledger);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("adopt");

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, in_a_file, NULL);
	tcase_add_test(claims, a_file_grows_and_never_shrinks);
	tcase_add_test(claims, a_file_that_is_longer_than_it_need_be_is_grown_into);
	tcase_add_test(claims, what_is_claimed_stays_and_the_rest_is_wiped_and_free);
	tcase_add_test(claims, a_claim_that_cannot_be_changes_nothing);
	tcase_add_test(claims, holes_stay_holes);
	tcase_add_test(claims, what_nobody_claimed_gives_its_pages_back);
	tcase_add_test(claims, a_ledger_that_was_not_settled_is_left_for_the_next);
	tcase_add_test_raise_signal(claims, what_is_not_adopted_yet_cannot_be_written, SIGSEGV);
	tcase_add_test(claims, what_is_adopted_can_be_written);
	tcase_add_test(claims, a_file_that_is_no_ledger_is_refused_and_left_alone);
	tcase_add_test(claims, a_head_of_which_one_byte_was_overwritten_is_taken_and_made_whole);
	tcase_add_test(claims, a_head_of_another_format_is_refused);
	tcase_add_loop_test(claims, a_file_of_zeros_is_an_empty_ledger, 0, 2);
	return claims_run(claims, "a ledger in a file");
}
