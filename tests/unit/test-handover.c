/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sodium.h>
#include <sys/mman.h>

#include "common/memory/coffer.h"
#include "daemon/keeper/estate.h"
#include "daemon/keeper/handover.h"
#include "daemon/ledger/ledger.h"
#include "daemon/line.h"
#include "tests/unit/listener_rig.h"

/*
 * The new program's side of an upgrade, by a test that says what the old one would: all of it at
 * once, because a line keeps it.
 */

static int old_end, new_end;
static struct estate theirs, ours;
static bool purge;

static void begin(void)
{
	int ends[2];

	set_up();
	config.keep = true;
	ck_assert_int_ge(sodium_init(), 0);
	ck_assert_int_eq(line_open(ends), 0);
	old_end = ends[0];
	new_end = ends[1];
	purge = false;
	estate_init(&theirs);
	estate_init(&ours);
	ck_assert_int_eq(estate_make(&theirs, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert_int_eq(open_listener(&theirs.listener), 0);
	memset(theirs.keys.regions[0].data + 4096, 0x5a, 100);
}

static void end(void)
{
	estate_release(&ours);
	estate_destroy(&theirs);
	close(old_end);
	close(new_end);
	tear_down();
}

static void offer(uint32_t version, const char *text)
{
	struct line_packet packet = { .word = LINE_OFFER, .number = version };

	strcpy(packet.text, text);
	ck_assert_int_eq(line_say(old_end, &packet), 0);
}

/* What main offers, too. */
static const char *good_offer(void)
{
	static char text[LINE_TEXT_MAX];

	snprintf(text, sizeof(text), HANDOVER_OFFER, COFFER_FORMAT, LEDGER_FORMAT,
		(unsigned)theirs.keys.backend, 1u, place);
	return text;
}

static void send_estate(uint32_t number)
{
	struct line_packet packet = { .word = LINE_ESTATE, .number = number, .count = 4 };
	int keys;

	ck_assert_int_eq(estate_share(&theirs, &keys), 0);
	packet.fds[0] = keys;
	packet.fds[1] = theirs.ledger;
	packet.fds[2] = theirs.listener.fd;
	packet.fds[3] = theirs.listener.lock;
	ck_assert_int_eq(line_say(old_end, &packet), 0);
	close(keys);
}

static int take(void)
{
	memset(&fault, 0, sizeof(fault));
	return handover_take(new_end, &config, &ours, &purge, &fault);
}

static void hears(enum line_word word)
{
	struct line_packet packet;

	ck_assert_int_eq(line_look(old_end, &packet), 0);
	ck_assert_int_eq(packet.word, word);
}

/* The number that the next descriptor gets: a way to see that nothing stays open. */
static int next_descriptor(void)
{
	int fd = dup(STDIN_FILENO);

	close(fd);
	return fd;
}

START_TEST(what_is_handed_over_is_the_same)
{
	offer(HANDOVER_VERSION, good_offer());
	send_estate((uint32_t)_i);
	ck_assert_msg(take() == 0, "%s", fault.text);
	hears(LINE_ACCEPT);
	ck_assert(purge == (_i == 1));
	ck_assert(ours.inherited);
	ck_assert_int_eq(ours.keys.backend, theirs.keys.backend);
	ck_assert_uint_eq(ours.keys.regions[0].data[4096 + 99], 0x5a);
	/* The very same pages: the old one can go on with what the new one has done. */
	ours.keys.regions[0].data[5000] = 1;
	ck_assert_uint_eq(theirs.keys.regions[0].data[5000], 1);
	ck_assert_str_eq(ours.listener.endpoint.path, place);
	ck_assert_int_ge(ours.listener.lock, 0);
	/* Letting go of them wipes nothing and removes nothing. */
	estate_release(&ours);
	ck_assert_uint_eq(theirs.keys.regions[0].data[5000], 1);
	ck_assert(is_there(place));
	ck_assert(is_there(lock));
}
END_TEST

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

static const struct {
	uint32_t version;
	const char *text; /* %s: the socket's place */
	const char *words;
} offers[] = {
	{ HANDOVER_VERSION + 1, "1 1 0 1 %s", "does not know what is handed over" },
	{ HANDOVER_VERSION, "", "does not know what is handed over" },
	{ HANDOVER_VERSION, "1 1 0", "does not know what is handed over" },
	{ HANDOVER_VERSION, "1 1 x 1 %s", "does not know what is handed over" },
	{ HANDOVER_VERSION, "99999999999999999999 1 0 1 %s", "does not know what is handed over" },
	{ HANDOVER_VERSION, "2 2 0 1 %s",
		"does not read keys of format 2 and a ledger of format 2" },
	{ HANDOVER_VERSION, "1 1 0 1 %s",
		"does not read keys of format 1 and a ledger of format 1" },
	{ HANDOVER_VERSION, "1 7 0 1 %s",
		"does not read keys of format 1 and a ledger of format 7" },
	{ HANDOVER_VERSION, "1 " TEXT(LEDGER_FORMAT) " 0 1 /elsewhere",
		"another path than /elsewhere" },
};

START_TEST(an_offer_that_cannot_be_taken_is_refused_with_words)
{
	char text[LINE_TEXT_MAX];
	struct line_packet packet;

	snprintf(text, sizeof(text), "%s", offers[_i].text);
	if (strstr(text, "%s"))
		strcpy(strstr(text, "%s"), place);
	offer(offers[_i].version, text);
	ck_assert_int_lt(take(), 0);
	ck_assert_msg(strstr(fault.text, offers[_i].words), "%s", fault.text);
	/* The words are the caller's to pass on. */
	handover_refuse(new_end, fault.text);
	ck_assert_int_eq(line_look(old_end, &packet), 0);
	ck_assert_int_eq(packet.word, LINE_REFUSE);
	ck_assert_str_eq(packet.text, fault.text);
}
END_TEST

START_TEST(what_the_settings_forbid_is_refused)
{
	char text[LINE_TEXT_MAX];

	config.keep = false;
	offer(HANDOVER_VERSION, good_offer());
	ck_assert_int_eq(take(), -EPERM);
	ck_assert_ptr_nonnull(strstr(fault.text, "`keep`"));
	config.keep = true;
	for (int backend = 0; backend < OS_MEMORY_SECRET; backend++) {
		config.memory = backend == OS_MEMORY_PLAIN ? OS_MEMORY_REQUIRE_LOCK
							   : OS_MEMORY_REQUIRE_SECRET;
		snprintf(text, sizeof(text), HANDOVER_OFFER, COFFER_FORMAT, LEDGER_FORMAT,
			(unsigned)backend, 1u, place);
		offer(HANDOVER_VERSION, text);
		ck_assert_int_eq(take(), -EPERM);
		ck_assert_ptr_nonnull(strstr(fault.text, "`memory`"));
	}
}
END_TEST

/* A socket of the service manager's is where that has it, whatever is configured. */
START_TEST(the_path_of_an_inherited_socket_is_not_looked_at)
{
	char text[LINE_TEXT_MAX];

	snprintf(text, sizeof(text), HANDOVER_OFFER, COFFER_FORMAT, LEDGER_FORMAT, 2u, 0u,
		"/elsewhere");
	offer(HANDOVER_VERSION, text);
	send_estate(0);
	ck_assert_msg(take() == 0, "%s", fault.text);
}
END_TEST

START_TEST(without_the_old_one_it_ends)
{
	offer(HANDOVER_VERSION, good_offer());
	close(old_end);
	ck_assert_int_lt(take(), 0);
	old_end = dup(new_end);
}
END_TEST

/* Which of the four is replaced by an ordinary file, and how many come at all. */
static const struct {
	int wrong;
	size_t count;
} broken[] = { { -1, 0 }, { -1, 2 }, { 0, 4 }, { 1, 4 }, { 2, 4 }, { 3, 4 } };

START_TEST(what_is_no_estate_is_refused_and_nothing_stays_open)
{
	struct line_packet packet = { .word = LINE_ESTATE, .count = broken[_i].count };
	int file = memfd_create("wrong", MFD_CLOEXEC);
	int keys;
	int before;

	ck_assert_int_eq(write(file, "wrong", 5), 5);
	ck_assert_int_eq(estate_share(&theirs, &keys), 0);
	packet.fds[0] = keys;
	packet.fds[1] = theirs.ledger;
	packet.fds[2] = theirs.listener.fd;
	packet.fds[3] = theirs.listener.lock;
	if (broken[_i].wrong >= 0)
		packet.fds[broken[_i].wrong] = file;
	offer(HANDOVER_VERSION, good_offer());
	ck_assert_int_eq(line_say(old_end, &packet), 0);
	before = next_descriptor();
	ck_assert_int_lt(take(), 0);
	ck_assert_str_ne(fault.text, "");
	estate_release(&ours);
	ck_assert_int_eq(next_descriptor(), before);
	ck_assert_uint_eq(theirs.keys.regions[0].data[4096 + 99], 0x5a);
	close(keys);
	close(file);
}
END_TEST

START_TEST(the_line_is_a_line_of_ours_and_is_told_once)
{
	char text[16];
	int plain = open("/dev/null", O_RDONLY);

	ck_assert_int_eq(setenv("MEMGUARDD_HANDOVER", "nonsense", 1), 0);
	ck_assert_int_eq(handover_line(), -1);
	ck_assert_ptr_null(getenv("MEMGUARDD_HANDOVER"));
	snprintf(text, sizeof(text), "%d", plain);
	ck_assert_int_eq(setenv("MEMGUARDD_HANDOVER", text, 1), 0);
	ck_assert_int_eq(handover_line(), -1);
	ck_assert_int_eq(setenv("MEMGUARDD_HANDOVER", "999", 1), 0);
	ck_assert_int_eq(handover_line(), -1);
	ck_assert_int_eq(fcntl(new_end, F_SETFD, 0), 0);
	snprintf(text, sizeof(text), "%d", new_end);
	ck_assert_int_eq(setenv("MEMGUARDD_HANDOVER", text, 1), 0);
	ck_assert_int_eq(handover_line(), new_end);
	ck_assert_int_eq(fcntl(new_end, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(handover_line(), -1);
	close(plain);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("handover");

	tcase_add_checked_fixture(claims, begin, end);
	tcase_add_loop_test(claims, what_is_handed_over_is_the_same, 0, 2);
	tcase_add_loop_test(claims, an_offer_that_cannot_be_taken_is_refused_with_words, 0,
		sizeof(offers) / sizeof(offers[0]));
	tcase_add_test(claims, what_the_settings_forbid_is_refused);
	tcase_add_test(claims, the_path_of_an_inherited_socket_is_not_looked_at);
	tcase_add_test(claims, without_the_old_one_it_ends);
	tcase_add_loop_test(claims, what_is_no_estate_is_refused_and_nothing_stays_open, 0,
		sizeof(broken) / sizeof(broken[0]));
	tcase_add_test(claims, the_line_is_a_line_of_ours_and_is_told_once);
	return claims_run(claims, "a hand-over");
}
