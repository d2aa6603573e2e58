/* SPDX-License-Identifier: Apache-2.0 */
#include "common/audit/audit_chain.h"

#include <check.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/claims.h"

/* A log of so many records, of which these are signed. */
#define RECORDS 12
#define FIRST_SIGNED 2
#define MIDDLE_SIGNED 7
#define LAST_SIGNED 11

#define LOG_MAX (RECORDS * 1024)

static const uint8_t seed[AUDIT_SEED_SIZE] = { 1, 2, 3 };
static const uint8_t other_seed[AUDIT_SEED_SIZE] = { 4 };
static uint8_t key[AUDIT_KEY_SIZE];
static char text[LOG_MAX];
static size_t used;
static size_t begins[RECORDS + 8]; /* of records, from 1 on; behind the last one the end */
static struct audit_head head;
static struct audit_chain chain;
static unsigned events[8];
static uint64_t counts[8]; /* that came with the last of each */

static void add(const char *type, const char *name, const uint8_t *signer)
{
	struct audit_draft draft;
	uint8_t public[AUDIT_KEY_SIZE];
	int size;

	audit_draft_begin(&draft, text + used, LOG_MAX - used, &head, 1767225600123, type);
	if (strcmp(type, "decision") == 0) {
		audit_draft_text(&draft, "name", span_text(name));
	} else if (strcmp(type, "end") == 0) {
		audit_draft_text(&draft, "why", span_text(name));
		audit_public_key(public, signer);
		audit_draft_hex(&draft, "key", public, sizeof(public));
	} else {
		audit_public_key(public, signer);
		audit_draft_hex(&draft, "key", public, sizeof(public));
	}
	if (strcmp(type, "checkpoint") == 0 || strcmp(type, "end") == 0)
		audit_draft_sign(&draft, &head, signer);
	begins[head.number + 1] = used;
	size = audit_draft_end(&draft, &head);
	ck_assert_int_gt(size, 0);
	used += (size_t)size;
	begins[head.number + 1] = used;
}

static bool is_signed(unsigned record)
{
	return record == FIRST_SIGNED || record == MIDDLE_SIGNED || record == LAST_SIGNED;
}

/* `changed`: the record that is another one than it was when it was signed; 0: none. */
static void write_log(unsigned changed, const uint8_t *signer)
{
	used = 0;
	head = (struct audit_head){ 0 };
	for (unsigned i = 1; i <= RECORDS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "web/%u%s", i, i == changed ? "-changed" : "");
		add(i == 1 ? "start" : is_signed(i) ? "checkpoint" : "decision", name, signer);
	}
}

static void on_event(void *context, enum audit_event event, uint64_t record, uint64_t count)
{
	(void)context;
	(void)record;
	events[event]++;
	counts[event] = count;
}

static void begin(void)
{
	memset(events, 0, sizeof(events));
	audit_chain_init(&chain);
	chain.tell = on_event;
}

static int take(const char *bytes, size_t size)
{
	while (size > 0) {
		const char *end = memchr(bytes, '\n', size);
		size_t line = end ? (size_t)(end - bytes) : size;

		if (audit_chain_take(&chain, span_of(bytes, line), end != NULL) < 0)
			return -EBADMSG;
		size -= end ? line + 1 : line;
		bytes += end ? line + 1 : line;
	}
	return 0;
}

static int verify(void)
{
	int r = take(text, used);

	return r == 0 ? audit_chain_end(&chain) : r;
}

static bool names(unsigned record)
{
	char words[32];

	snprintf(words, sizeof(words), "record %u ", record);
	return strncmp(chain.fault, words, strlen(words)) == 0;
}

static void set_up(void)
{
	ck_assert_int_ge(sodium_init(), 0);
	audit_public_key(key, seed);
	write_log(0, seed);
	begin();
}

START_TEST(a_log_is_what_was_written)
{
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(chain.records, RECORDS);
	ck_assert_uint_eq(chain.first, 1);
	ck_assert_uint_eq(chain.last_signed, LAST_SIGNED);
	begin();
	ck_assert(audit_chain_trust(&chain, key));
	ck_assert_int_eq(verify(), 0);
}
END_TEST

/* Any bit of it, wherever it stands. */
START_TEST(a_flipped_bit_is_found_in_its_record)
{
	for (unsigned record = 1; record <= RECORDS; record++) {
		for (size_t at = begins[record]; at < begins[record + 1] - 1; at++) {
			text[at] ^= (char)(1 << (at % 7));
			begin();
			ck_assert_int_eq(verify(), -EBADMSG);
			ck_assert_msg(names(record), "%u: %s", record, chain.fault);
			text[at] ^= (char)(1 << (at % 7));
		}
	}
}
END_TEST

static void delete_record(unsigned record)
{
	size_t size = begins[record + 1] - begins[record];

	memmove(text + begins[record], text + begins[record + 1], used - begins[record + 1]);
	used -= size;
}

START_TEST(a_deleted_line_is_missed)
{
	for (unsigned record = 2; record < RECORDS; record++) {
		write_log(0, seed);
		delete_record(record);
		begin();
		ck_assert_int_eq(verify(), -EBADMSG);
		ck_assert_msg(
			names(record) && strstr(chain.fault, "is missing"), "%s", chain.fault);
	}
}
END_TEST

START_TEST(the_first_line_is_missed)
{
	delete_record(1);
	ck_assert_int_eq(verify(), -EBADMSG);
	ck_assert_str_eq(
		chain.fault, "record 2 is the first one: the records before it are missing");
}
END_TEST

START_TEST(several_deleted_lines_are_missed)
{
	delete_record(6);
	delete_record(5);
	delete_record(4);
	ck_assert_int_eq(verify(), -EBADMSG);
	ck_assert_str_eq(chain.fault, "records 4 to 6 are missing: line 4 is record 7");
}
END_TEST

START_TEST(two_swapped_lines_are_seen)
{
	for (unsigned record = 2; record < RECORDS; record++) {
		char swapped[4096];
		size_t first, second;

		write_log(0, seed);
		first = begins[record + 1] - begins[record];
		second = begins[record + 2] - begins[record + 1];
		memcpy(swapped, text + begins[record + 1], second);
		memcpy(swapped + second, text + begins[record], first);
		memcpy(text + begins[record], swapped, first + second);
		begin();
		ck_assert_int_eq(verify(), -EBADMSG);
		ck_assert_msg(
			names(record) && strstr(chain.fault, "out of order"), "%s", chain.fault);
	}
}
END_TEST

START_TEST(a_line_that_stands_there_twice_is_seen)
{
	size_t size = begins[6] - begins[5];

	memmove(text + begins[6] + size, text + begins[6], used - begins[6]);
	memcpy(text + begins[6], text + begins[5], size);
	used += size;
	ck_assert_int_eq(verify(), -EBADMSG);
	ck_assert_msg(names(5) && strstr(chain.fault, "or twice"), "%s", chain.fault);
}
END_TEST

/* Whoever has no key can make the hashes anew, and no signature. */
static void make_anew(unsigned changed)
{
	char old[LOG_MAX];
	size_t old_begins[RECORDS + 8];

	memcpy(old, text, used);
	memcpy(old_begins, begins, sizeof(begins));
	used = 0;
	head = (struct audit_head){ 0 };
	for (unsigned i = 1; i <= RECORDS; i++) {
		struct audit_draft draft;
		char name[32];

		if (!is_signed(i)) {
			snprintf(name, sizeof(name), "web/%u%s", i, i == changed ? "-x" : "");
			add(i == 1 ? "start" : "decision", name, seed);
			continue;
		}
		/* The old signature over what is there now. */
		audit_draft_begin(
			&draft, text + used, LOG_MAX - used, &head, 1767225600123, "checkpoint");
		audit_draft_hex(&draft, "key", key, sizeof(key));
		audit_draft_hex(&draft, "prev", head.hash, sizeof(head.hash));
		{
			const char *at = strstr(old + old_begins[i], "\"sig\":\"");
			uint8_t signature[AUDIT_SIGNATURE_SIZE];

			ck_assert_int_eq(sodium_hex2bin(signature, sizeof(signature), at + 7, 128,
						 NULL, NULL, NULL),
				0);
			audit_draft_hex(&draft, "sig", signature, sizeof(signature));
			draft.linked = true;
		}
		begins[i] = used;
		used += (size_t)audit_draft_end(&draft, &head);
		begins[i + 1] = used;
	}
}

START_TEST(a_chain_made_anew_around_old_signatures_is_named)
{
	make_anew(9);
	ck_assert_int_eq(verify(), -EBADMSG);
	ck_assert_msg(names(LAST_SIGNED) && strstr(chain.fault, "the chain made anew"), "%s",
		chain.fault);
	ck_assert_ptr_nonnull(strstr(chain.fault, "one of the 3 records before it"));
	/* Unchanged it is itself. */
	write_log(0, seed);
	make_anew(0);
	begin();
	ck_assert_int_eq(verify(), 0);
}
END_TEST

START_TEST(who_signs_with_a_key_of_their_own_is_not_trusted)
{
	write_log(5, other_seed);
	ck_assert_int_eq(verify(), 0);
	begin();
	ck_assert(audit_chain_trust(&chain, key));
	ck_assert_int_eq(verify(), -EBADMSG);
	ck_assert_msg(names(LAST_SIGNED) && strstr(chain.fault, "not one to be trusted"), "%s",
		chain.fault);
}
END_TEST

START_TEST(without_any_signature_nothing_is_trusted)
{
	used = begins[FIRST_SIGNED];
	ck_assert(audit_chain_trust(&chain, key));
	ck_assert_int_eq(verify(), -EBADMSG);
	ck_assert_str_eq(chain.fault, "record 1 and all before it are not signed");
}
END_TEST

START_TEST(a_cut_tail_is_known_by_what_the_daemon_says)
{
	struct audit_head last = head;

	for (unsigned record = 2; record <= RECORDS; record++) {
		used = begins[record];
		begin();
		chain.expecting = true;
		chain.expected = last;
		ck_assert(audit_chain_trust(&chain, key));
		ck_assert_int_eq(take(text, used), 0);
		ck_assert_int_eq(audit_chain_end(&chain), -EBADMSG);
		if (record > FIRST_SIGNED)
			ck_assert_msg(names(record) && strstr(chain.fault, "was cut behind"), "%s",
				chain.fault);
	}
}
END_TEST

START_TEST(the_unsigned_end_is_what_the_daemon_has_written)
{
	struct audit_head last = head;

	write_log(RECORDS, seed);
	ck_assert_int_eq(verify(), 0);
	begin();
	chain.expecting = true;
	chain.expected = last;
	ck_assert_int_eq(verify(), -EBADMSG);
	ck_assert_msg(names(RECORDS) && strstr(chain.fault, "not the one that the daemon"), "%s",
		chain.fault);
}
END_TEST

START_TEST(half_a_line_is_a_cut_one)
{
	used -= 20;
	ck_assert_int_eq(verify(), -EBADMSG);
	ck_assert_msg(names(RECORDS) && strstr(chain.fault, "is cut"), "%s", chain.fault);
}
END_TEST

START_TEST(nothing_at_all_is_no_log)
{
	used = 0;
	ck_assert_int_eq(verify(), -EBADMSG);
	ck_assert_str_eq(chain.fault, "record 1 is missing: there is no record at all");
}
END_TEST

/* A changed hash that fits its line no longer fits the next one. */
START_TEST(a_line_with_its_hash_made_anew_is_named_by_the_next)
{
	char old[LOG_MAX];
	size_t old_used = used, end = begins[6];

	memcpy(old, text, used);
	write_log(5, seed);
	memcpy(text + begins[6], old + end, old_used - end);
	used = begins[6] + old_used - end;
	ck_assert_int_eq(verify(), -EBADMSG);
	ck_assert_msg(names(5) && strstr(chain.fault, "and its hash with it"), "%s", chain.fault);
}
END_TEST

static const struct {
	const char *name;
	size_t size;
	const char *shown;
} texts[] = {
	{ "plain/name", 10, "plain/name" },
	{ "a\"b\\c", 5, "a\\\"b\\\\c" },
	{ "a\nb\r\t\x7f", 6, "a\\u000ab\\u000d\\u0009\\u007f" },
	{ "\xc3\xa9", 2, "\\u00e9" },
	{ "\xe2\x80\xae", 3, "\\u202e" },
	{ "\xf0\x9f\x94\x91", 4, "\\ud83d\\udd11" },
	{ "\xff\xc3", 2, "\\ufffd\\ufffd" },
	{ "\xed\xa0\x80", 3, "\\ufffd\\ufffd\\ufffd" },
	{ "\xc0\xaf", 2, "\\ufffd\\ufffd" },
	{ "\",\"decision\":\"allow", 19, "\\\",\\\"decision\\\":\\\"allow" },
};

START_TEST(no_text_can_end_its_line_or_look_like_another_member)
{
	struct audit_head before = head;
	struct audit_draft draft;
	struct audit_line line;
	char wanted[128];
	char bytes[AUDIT_LINE_MAX];
	int size;

	audit_draft_begin(&draft, bytes, sizeof(bytes), &head, 0, "decision");
	audit_draft_text(&draft, "name", span_of(texts[_i].name, texts[_i].size));
	size = audit_draft_end(&draft, &head);
	ck_assert_int_gt(size, 0);
	ck_assert_ptr_eq(memchr(bytes, '\n', (size_t)size), bytes + size - 1);
	bytes[size - 1] = '\0';
	snprintf(wanted, sizeof(wanted), ",\"name\":\"%s\",\"prev\":\"", texts[_i].shown);
	ck_assert_ptr_nonnull(strstr(bytes, wanted));
	ck_assert_int_eq(audit_line_read(&line, span_of(bytes, (size_t)size - 1)), 0);
	ck_assert(line.intact);
	ck_assert_uint_eq(line.number, before.number + 1);
}
END_TEST

START_TEST(what_does_not_fit_is_no_line)
{
	struct audit_head before = head;
	struct audit_draft draft;
	char bytes[AUDIT_LINE_MAX];
	int least = 0;

	for (size_t room = 0; room < 400 && least == 0; room++) {
		audit_draft_begin(&draft, bytes, room, &head, 0, "decision");
		audit_draft_text(&draft, "name", span_text("web/name"));
		least = audit_draft_end(&draft, &head);
		if (least == -ENOSPC) {
			ck_assert_mem_eq(&head, &before, sizeof(head));
			least = 0;
		} else {
			ck_assert_uint_eq((size_t)least, room);
		}
	}
	ck_assert_int_gt(least, 0);
}
END_TEST

START_TEST(a_log_in_two_files_is_one)
{
	size_t half = begins[6];

	ck_assert_int_eq(take(text, half), 0);
	audit_chain_begin_file(&chain);
	ck_assert_int_eq(take(text + half, used - half), 0);
	ck_assert_int_eq(audit_chain_end(&chain), 0);
	ck_assert_uint_eq(events[AUDIT_NEW_CHAIN], 0);
}
END_TEST

/* A machine that was booted anew begins one, in a file of its own; never in the midst of one. */
START_TEST(a_new_chain_begins_in_a_file_of_its_own_alone)
{
	ck_assert_int_eq(take(text, used), 0);
	audit_chain_begin_file(&chain);
	ck_assert_int_eq(take(text, used), 0);
	ck_assert_int_eq(audit_chain_end(&chain), 0);
	ck_assert_uint_eq(events[AUDIT_NEW_CHAIN], 1);
	begin();
	ck_assert_int_eq(take(text, used), 0);
	ck_assert_int_eq(take(text, used), -EBADMSG);
	ck_assert_msg(names(1), "%s", chain.fault);
}
END_TEST

/* Who replaces a whole file has no signature behind it, nor one before it that counts. */
START_TEST(each_of_two_chains_needs_a_trusted_signature_of_its_own)
{
	struct audit_head last = head;
	char honest[LOG_MAX];
	size_t honest_used = used;

	memcpy(honest, text, used);
	for (unsigned forged_first = 0; forged_first < 2; forged_first++) {
		write_log(5, other_seed);
		begin();
		ck_assert(audit_chain_trust(&chain, key));
		chain.expecting = true;
		chain.expected = last;
		if (forged_first) {
			ck_assert_int_eq(take(text, used), 0);
			audit_chain_begin_file(&chain);
			ck_assert_int_eq(take(honest, honest_used), -EBADMSG);
		} else {
			/* As far as the daemon's own word for the honest one would reach. */
			ck_assert_int_eq(take(honest, honest_used), 0);
			audit_chain_begin_file(&chain);
			ck_assert_int_eq(take(text, begins[RECORDS]), 0);
			ck_assert_int_eq(audit_chain_end(&chain), -EBADMSG);
		}
		ck_assert_msg(names(LAST_SIGNED) && strstr(chain.fault, "not one to be trusted"),
			"%s", chain.fault);
	}
}
END_TEST

START_TEST(a_chain_without_signature_has_none_of_the_one_before)
{
	size_t begin_only = begins[FIRST_SIGNED];

	ck_assert(audit_chain_trust(&chain, key));
	ck_assert_int_eq(take(text, used), 0);
	audit_chain_begin_file(&chain);
	ck_assert_int_eq(take(text, begin_only), 0);
	ck_assert_int_eq(audit_chain_end(&chain), -EBADMSG);
	ck_assert_str_eq(chain.fault, "record 1 and all before it are not signed");
}
END_TEST

START_TEST(a_key_that_nobody_announced_is_told)
{
	add("start", "", other_seed);
	add("checkpoint", "", other_seed);
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(events[AUDIT_NEW_KEY], 1);
	ck_assert_uint_eq(events[AUDIT_NO_END], 1);
	/* Whoever trusts the new one trusts what stands before it, too. */
	begin();
	audit_public_key(key, other_seed);
	ck_assert(audit_chain_trust(&chain, key));
	ck_assert_int_eq(verify(), 0);
}
END_TEST

/* What was there before the key was lost may be anybody's: who still has that key's word knows. */
START_TEST(a_part_that_somebody_else_signed_is_none_of_several_keys)
{
	static const uint8_t third_seed[AUDIT_SEED_SIZE] = { 5 };
	uint8_t third[AUDIT_KEY_SIZE];

	audit_public_key(third, third_seed);
	for (unsigned forged = 0; forged < 2; forged++) {
		write_log(0, forged ? other_seed : seed);
		add("start", "", third_seed);
		add("decision", "web/later", NULL);
		add("checkpoint", "", third_seed);
		begin();
		ck_assert(audit_chain_trust(&chain, key));
		ck_assert(audit_chain_trust(&chain, third));
		ck_assert_int_eq(verify(), forged ? -EBADMSG : 0);
		ck_assert_uint_eq(events[AUDIT_NEW_KEY], 1);
		ck_assert_uint_eq(counts[AUDIT_NEW_KEY], RECORDS - LAST_SIGNED);
	}
	ck_assert_msg(names(LAST_SIGNED) && strstr(chain.fault, "not one to be trusted"), "%s",
		chain.fault);
}
END_TEST

START_TEST(a_part_that_nobody_signed_is_none_of_several_keys)
{
	uint8_t other[AUDIT_KEY_SIZE];

	audit_public_key(other, other_seed);
	used = begins[FIRST_SIGNED];
	head = (struct audit_head){ 0 };
	for (unsigned i = 1; i < FIRST_SIGNED; i++) {
		struct audit_line line;

		ck_assert_int_eq(audit_line_read(&line,
					 span_of(text + begins[i], begins[i + 1] - 1 - begins[i])),
			0);
		head.number = line.number;
		memcpy(head.hash, line.hash, sizeof(head.hash));
	}
	add("start", "", other_seed);
	add("checkpoint", "", other_seed);
	ck_assert(audit_chain_trust(&chain, key));
	ck_assert(audit_chain_trust(&chain, other));
	ck_assert_int_eq(verify(), -EBADMSG);
	ck_assert_msg(names(FIRST_SIGNED - 1) && strstr(chain.fault, "are not signed"), "%s",
		chain.fault);
	/* One of them alone stands for what it has found. */
	begin();
	ck_assert(audit_chain_trust(&chain, other));
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(counts[AUDIT_NEW_KEY], FIRST_SIGNED - 1);
}
END_TEST

/* Each part has its own: one that was named by another one is as good. */
START_TEST(an_heir_is_no_key_of_several)
{
	static const uint8_t third_seed[AUDIT_SEED_SIZE] = { 5 };
	uint8_t other[AUDIT_KEY_SIZE];
	struct audit_draft draft;

	audit_public_key(other, other_seed);
	write_log(0, seed);
	audit_draft_begin(&draft, text + used, LOG_MAX - used, &head, 1767225600123, "key");
	audit_draft_hex(&draft, "key", key, sizeof(key));
	audit_draft_hex(&draft, "next", other, sizeof(other));
	audit_draft_sign(&draft, &head, seed);
	used += (size_t)audit_draft_end(&draft, &head);
	add("checkpoint", "", other_seed);
	/* The log goes on under a key that nobody named, and one that is trusted is behind it. */
	add("go-on", "", third_seed);
	add("checkpoint", "", third_seed);
	add("go-on", "", other_seed);
	add("checkpoint", "", other_seed);
	ck_assert(audit_chain_trust(&chain, key));
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(events[AUDIT_NEW_KEY], 2);
	begin();
	ck_assert(audit_chain_trust(&chain, key));
	ck_assert(audit_chain_trust(&chain, other));
	ck_assert_int_eq(verify(), -EBADMSG);
	ck_assert_msg(strstr(chain.fault, "not one to be trusted"), "%s", chain.fault);
}
END_TEST

/* A log that is cut where a file of it ended looks as that one did. */
START_TEST(where_a_file_ended_it_is_told_that_it_goes_on)
{
	struct audit_head last;

	add("end", "moved", seed);
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(events[AUDIT_GOES_ON], 1);
	ck_assert_uint_eq(counts[AUDIT_GOES_ON], 0);
	last = head;
	last.number += 7;
	begin();
	chain.expecting = true;
	chain.expected = last;
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(events[AUDIT_GOES_ON], 1);
	ck_assert_uint_eq(counts[AUDIT_GOES_ON], 7);
	begin();
	ck_assert_int_eq(take(text, used), 0);
	audit_chain_begin_file(&chain);
	ck_assert_int_eq(audit_chain_end(&chain), -EBADMSG);
	ck_assert_msg(names(RECORDS + 2) && strstr(chain.fault, "is empty"), "%s", chain.fault);
	/* In the midst of a log there is nothing to tell. */
	add("go-on", "", seed);
	begin();
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(events[AUDIT_GOES_ON], 0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up, NULL);
	/* Each byte of a log takes a look at all before it. */
	tcase_set_timeout(claims, 30);
	tcase_add_test(claims, a_log_is_what_was_written);
	tcase_add_test(claims, a_flipped_bit_is_found_in_its_record);
	tcase_add_test(claims, a_deleted_line_is_missed);
	tcase_add_test(claims, the_first_line_is_missed);
	tcase_add_test(claims, several_deleted_lines_are_missed);
	tcase_add_test(claims, two_swapped_lines_are_seen);
	tcase_add_test(claims, a_line_that_stands_there_twice_is_seen);
	tcase_add_test(claims, a_chain_made_anew_around_old_signatures_is_named);
	tcase_add_test(claims, who_signs_with_a_key_of_their_own_is_not_trusted);
	tcase_add_test(claims, without_any_signature_nothing_is_trusted);
	tcase_add_test(claims, a_cut_tail_is_known_by_what_the_daemon_says);
	tcase_add_test(claims, the_unsigned_end_is_what_the_daemon_has_written);
	tcase_add_test(claims, half_a_line_is_a_cut_one);
	tcase_add_test(claims, nothing_at_all_is_no_log);
	tcase_add_test(claims, a_line_with_its_hash_made_anew_is_named_by_the_next);
	tcase_add_loop_test(claims, no_text_can_end_its_line_or_look_like_another_member, 0,
		sizeof(texts) / sizeof(texts[0]));
	tcase_add_test(claims, what_does_not_fit_is_no_line);
	tcase_add_test(claims, a_log_in_two_files_is_one);
	tcase_add_test(claims, a_new_chain_begins_in_a_file_of_its_own_alone);
	tcase_add_test(claims, each_of_two_chains_needs_a_trusted_signature_of_its_own);
	tcase_add_test(claims, a_chain_without_signature_has_none_of_the_one_before);
	tcase_add_test(claims, a_key_that_nobody_announced_is_told);
	tcase_add_test(claims, a_part_that_somebody_else_signed_is_none_of_several_keys);
	tcase_add_test(claims, a_part_that_nobody_signed_is_none_of_several_keys);
	tcase_add_test(claims, an_heir_is_no_key_of_several);
	tcase_add_test(claims, where_a_file_ended_it_is_told_that_it_goes_on);
	return claims_run(claims, "audit_chain");
}
