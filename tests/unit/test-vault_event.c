/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/crash.h"

/* What is remembered of changes, how it is forgotten, and who finds it again. */

#define FEW 24 /* cells of a small ring */

static void watch_in(uint64_t cells)
{
	ck_assert_int_eq(events_make(vault, cells), 0);
}

/* All that is told behind a place, as a text: kinds, names and versions. */
static const char *told_behind(uint64_t place)
{
	static const char *const kinds[] = { "none", "set", "rm", "expire", "purge" };
	static char text[4096];
	struct vault_event event;
	uint64_t last = 0;
	size_t used = 0;
	int r;

	text[0] = '\0';
	while ((r = vault_event_next(vault, &place, &event)) == 1) {
		ck_assert_uint_gt(event.number, last);
		last = event.number;
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s %.*s %d, ",
			kinds[event.kind], (int)event.name_size, event.name, (int)event.version);
	}
	if (r == STATUS_GONE)
		snprintf(text + used, sizeof(text) - used, "forgotten");
	return text;
}

static const char *told(void)
{
	return told_behind(0);
}

static void put_for(const char *name, const struct lifetime *lifetime)
{
	struct kept *kept = draw(10);
	struct vault_put put = put_of(name, kept);

	put.lifetime = *lifetime;
	ck_assert_int_eq(try_put(&put, kept), 0);
	forget(kept);
}

static void put(const char *name)
{
	put_for(name, &(struct lifetime){ 0 });
}

static void use(const char *name)
{
	ck_assert_int_eq(record_use(vault, find(name)), 0);
}

static void move(const char *from, const char *to, int expected)
{
	struct vault_move move = { .name = span_text(from), .to = span_text(to), .owner = 1000 };
	uint64_t version;

	ck_assert_int_eq(vault_move(vault, &move, &version), expected);
}

static uint64_t clock_ms;

static uint64_t by_hand(void)
{
	return clock_ms;
}

/* -- what is told -------------------------------------------------------------------------- */

START_TEST(nothing_is_remembered_before_somebody_asks)
{
	put("a");
	ck_assert_uint_eq(vault_event_place(vault), 0);
	ck_assert_uint_eq(vault->events.ring, 0);
	watch_in(FEW);
	ck_assert_str_eq(told(), "");
	put("a");
	ck_assert_str_eq(told(), "set a 2, ");
}
END_TEST

START_TEST(every_change_of_a_name_is_told_in_order)
{
	uint64_t version;

	clock_ms = 1000000;
	vault->now = by_hand;
	watch_in(VAULT_EVENTS);
	put("a");
	put("a");
	put_for("b", &(struct lifetime){ .reads = 2 });
	use("b");
	use("b");
	put("b");
	move("a", "c", 0);
	put_for("t", &(struct lifetime){ .ttl_ms = 1000 });
	clock_ms += 2000;
	while (vault_expire(vault))
		;
	ck_assert_int_eq(remove_name("b"), 0);
	vault_purge_record(vault, find("c"));
	/* Neither a name nor a value changes. */
	put("f");
	ck_assert_int_eq(
		vault_freeze(vault, span_text("f"), true, &(struct conditions){ 0 }, &version), 0);
	vault_purge(vault);
	ck_assert_str_eq(told(),
		"set a 1, set a 2, set b 1, expire b 1, set b 1, rm a 2, set c 2, set t 1, "
		"expire t 1, rm b 1, purge c 2, set f 1, purge  0, ");
}
END_TEST

START_TEST(what_was_not_changed_is_not_told)
{
	struct kept *kept = draw(10);
	struct vault_put put_new = put_of("a", kept);

	watch_in(FEW);
	put("a");
	put("b");
	put_new.conditions.create_only = true;
	ck_assert_int_eq(try_put(&put_new, kept), STATUS_CONFLICT);
	ck_assert_int_eq(remove_name("none"), STATUS_NOT_FOUND);
	move("a", "b", STATUS_CONFLICT);
	/* At each of the places at which memory can run out. */
	for (int left = 0; left < 8; left++) {
		struct vault_move to_c = { .name = span_text("a"), .to = span_text("c") };
		uint64_t version;

		put_new = put_of("c", kept);
		ration = left;
		if (vault_move(vault, &to_c, &version) == 0) {
			ration = -1;
			move("c", "a", 0);
			ck_assert_str_eq(
				told(), "set a 1, set b 1, rm a 1, set c 1, rm c 1, set a 1, ");
			break;
		}
		ration = -1;
		ck_assert_str_eq(told(), "set a 1, set b 1, ");
		ck_assert_uint_eq(vault->events.doubt_count, 0);
	}
	forget(kept);
}
END_TEST

START_TEST(a_value_for_which_there_is_no_memory_is_not_told)
{
	struct kept *kept = draw(10);
	struct vault_put one = put_of("a", kept);
	int left = 0;
	int r = STATUS_LIMIT;

	watch_in(FEW);
	for (; r == STATUS_LIMIT; left++) {
		struct value *value = new_value(kept);

		ck_assert_str_eq(told(), "");
		ration = left;
		r = vault_put(vault, &value, &one, &kept->version);
		ration = -1;
		value_free(vault, value);
	}
	ck_assert_int_eq(r, 0);
	ck_assert_int_gt(left, 1);
	ck_assert_str_eq(told(), "set a 1, ");
	forget(kept);
}
END_TEST

START_TEST(without_memory_for_it_nothing_is_remembered)
{
	ration = 0;
	ck_assert_int_eq(vault_remember_events(vault), STATUS_LIMIT);
	ration = -1;
	put("a");
	ck_assert_int_eq(vault_remember_events(vault), 0);
	ck_assert_uint_eq(vault->events.cells, VAULT_EVENTS);
}
END_TEST

/* -- how it is forgotten ------------------------------------------------------------------- */

/* A name of as many bytes as it takes to fill the cells. */
static void put_long(unsigned number)
{
	static const size_t sizes[] = { 1, 27, 28, 91, 92, 200, 265, 3 };
	char name[NAME_FILED_MAX + 1];
	size_t size = sizes[number % COUNT_OF(sizes)];

	memset(name, 'n', sizeof(name));
	name[0] = (char)('a' + number % 26);
	name[size] = '\0';
	put(name);
}

/* Everything that was told, to be held against what is told later. */
#define MANY 200

static struct vault_event all[MANY];

static void store_many(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t place = vault_event_place(vault);

		put_long(i);
		ck_assert_int_eq(vault_event_next(vault, &place, &all[i]), 1);
		ck_assert_uint_eq(place, vault_event_place(vault));
	}
}

/* From each number on, what is told is all of the rest, or it is said that there was more. */
static unsigned check_from_each(unsigned count)
{
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++) {
		struct vault_event event;
		uint64_t place;

		if (!vault_event_find(vault, all[i].number, &place)) {
			ck_assert_uint_eq(found, 0);
			continue;
		}
		found++;
		for (unsigned next = i + 1; next < count; next++) {
			ck_assert_int_eq(vault_event_next(vault, &place, &event), 1);
			ck_assert_uint_eq(event.number, all[next].number);
			ck_assert_uint_eq(event.name_size, all[next].name_size);
			ck_assert_mem_eq(event.name, all[next].name, event.name_size);
		}
		ck_assert_int_eq(vault_event_next(vault, &place, &event), 0);
	}
	return found;
}

START_TEST(a_ring_that_is_full_forgets_the_oldest_and_says_so)
{
	uint64_t first;
	uint64_t place;

	watch_in(FEW + (uint64_t)_i);
	first = vault->events.base;
	ck_assert(vault_event_find(vault, first, &place));
	ck_assert(!vault_event_find(vault, first - 1, &place));
	for (unsigned count = 1; count < 60; count++) {
		uint64_t cells = 0;
		unsigned room = 0;
		unsigned found;

		store_many(count);
		found = check_from_each(count);
		/* As many as there is room for, but for one that is cut. */
		for (unsigned i = count; i-- > 0 && cells <= vault->events.cells; room++)
			cells += cells_of(all[i].name_size);
		ck_assert_uint_ge(found + 2, room);
		ck_assert_uint_le(found, room);
		vault_free(vault);
		ck_assert_int_eq(vault_new(&vault, &rig.coffer, -1), 0);
		watch_in(FEW + (uint64_t)_i);
	}
}
END_TEST

START_TEST(who_is_behind_is_told_so)
{
	struct vault_event event;
	uint64_t place = 0;

	watch_in(FEW);
	put("a");
	for (unsigned i = 0; i < FEW; i++)
		put("b");
	ck_assert_int_eq(vault_event_next(vault, &place, &event), STATUS_GONE);
	ck_assert_uint_eq(place, 0);
	place = vault_event_place(vault);
	ck_assert_int_eq(vault_event_next(vault, &place, &event), 0);
	put("c");
	ck_assert_str_eq(told_behind(place), "set c 1, ");
}
END_TEST

START_TEST(a_number_that_was_never_given_away_is_none)
{
	uint64_t place;
	uint64_t now;

	watch_in(FEW);
	put("a");
	now = vault_event_now(vault);
	ck_assert(vault_event_find(vault, now, &place));
	ck_assert_str_eq(told_behind(place), "");
	put("b");
	ck_assert_str_eq(told_behind(place), "set b 1, ");
	ck_assert(!vault_event_find(vault, now + 3600000000, &place));
	ck_assert(!vault_event_find(vault, 1, &place));
}
END_TEST

/* -- who finds it again -------------------------------------------------------------------- */

START_TEST(it_goes_on_where_it_was_when_a_process_has_ended)
{
	unsigned found;

	watch_in(FEW);
	store_many(1 + (unsigned)_i);
	found = check_from_each(1 + (unsigned)_i);
	crash();
	ck_assert_uint_eq(vault->events.cells, FEW);
	ck_assert_uint_eq(check_from_each(1 + (unsigned)_i), found);
	put("z");
	ck_assert_str_eq(told_behind(past.vault->events.end), "set z 1, ");
	ck_assert_uint_eq(vault->held,
		64 + FEW * EVENT_CELL + ledger_block(vault->ledger, vault->lock_rooms[0]) +
			ledger_block(vault->ledger, vault->lock_rooms[1]));
	rise();
}
END_TEST

/* Behind the first page nobody has written anything, nor behind a short name in its last cell. */
START_TEST(the_last_event_is_found_at_the_end_of_a_page)
{
	unsigned count = 50 + (unsigned)_i;
	uint64_t end;

	watch_in(1000);
	for (unsigned i = 0; i < count; i++)
		put("a");
	end = vault->events.end;
	ck_assert_uint_eq(end, count);
	crash();
	ck_assert_uint_eq(vault->events.end, end);
	rise();
}
END_TEST

/* All that is remembered, as bytes that are the same for the same events. */
static size_t gather_events(struct vault_event *out)
{
	const struct events *events = &vault->events;
	uint64_t first = events->end > events->cells ? events->end - events->cells : 0;
	uint64_t place = first;
	size_t count = 0;

	for (; count == 0 && first < events->end; first++) {
		place = first;
		while (vault_event_next(vault, &place, &out[count]) == 1)
			count++;
	}
	ck_assert_uint_eq(place, events->end);
	return count;
}

START_TEST(whoever_adopts_it_remembers_the_same)
{
	static struct vault_event before[400];
	static struct vault_event after[400];

	watch_in(300 + (uint64_t)_i);
	for (unsigned round = 0; round < 40; round++) {
		size_t count;

		for (unsigned i = randombytes_uniform(30); i < 30; i++)
			put_long(randombytes_uniform(1000));
		count = gather_events(before);
		crash();
		ck_assert_uint_eq(gather_events(after), count);
		for (size_t i = 0; i < count; i++) {
			ck_assert_uint_eq(after[i].number, before[i].number);
			ck_assert_uint_eq(after[i].version, before[i].version);
			ck_assert_uint_eq(after[i].name_size, before[i].name_size);
			ck_assert_mem_eq(after[i].name, before[i].name, before[i].name_size);
		}
		rise();
	}
	/* It went round. */
	ck_assert_uint_gt(vault->events.end, vault->events.cells);
}
END_TEST

START_TEST(what_ended_with_its_connection_is_told_by_the_next_process)
{
	watch_in(FEW);
	put_for("s", &(struct lifetime){ .session = true });
	crash();
	ck_assert_str_eq(told(), "set s 1, expire s 1, ");
	rise();
}
END_TEST

START_TEST(after_a_loss_everything_is_forgotten)
{
	watch_in(FEW);
	put("a");
	put("b");
	record_header(vault, index_find(vault->index, span_text("a"), &(uint64_t){ 0 }))
		->created[0] ^= 1;
	crash();
	ck_assert_uint_eq(vault_lost(vault, LOSS_SECRET), 1);
	ck_assert_str_eq(told(), "set a 1, set b 1, forgotten");
	rise();
}
END_TEST

START_TEST(a_purge_is_told_by_the_next_process_too)
{
	watch_in(FEW);
	put("a");
	vault_purge(vault);
	put("b");
	crash();
	ck_assert_str_eq(told(), "set a 1, purge  0, set b 1, ");
	rise();
}
END_TEST

START_TEST(numbers_grow_when_a_ring_is_made_anew)
{
	uint64_t number;
	uint64_t place;

	watch_in(FEW);
	put("a");
	number = vault_event_now(vault);
	/* As if a byte of it was overwritten. */
	event_ring_at(vault, vault->events.ring)->key[0] ^= 1;
	crash();
	ck_assert_uint_eq(vault->events.ring, 0);
	watch_in(FEW);
	ck_assert(!vault_event_find(vault, number, &place));
	ck_assert_uint_gt(vault->events.base, number);
	rise();
}
END_TEST

/* Whatever byte of it is overwritten, it is the same event, or it is forgotten. */
START_TEST(an_event_that_is_not_what_was_written_is_forgotten)
{
	uint8_t *bytes;

	watch_in(FEW);
	put("a");
	put("name");
	put("c");
	bytes = (uint8_t *)event_entry_at(vault, 2);
	for (size_t i = 0; i < sizeof(struct event_entry) + 4; i++) {
		bytes[i] ^= 0x11;
		if (strcmp(told(), "set a 1, forgotten") != 0)
			ck_assert_uint_eq(i, offsetof(struct event_entry, made));
		crash();
		if (strcmp(told(), "set a 1, forgotten") != 0)
			ck_assert_uint_eq(i, offsetof(struct event_entry, made));
		rise();
		bytes[i] ^= 0x11;
	}
	ck_assert_str_eq(told(), "set a 1, set name 1, set c 1, ");
}
END_TEST

/* The last one is found by no other: without it, it was never told. */
START_TEST(a_last_event_that_is_not_what_was_written_is_no_other)
{
	uint8_t *bytes;

	watch_in(FEW);
	put("a");
	put("name");
	bytes = (uint8_t *)event_entry_at(vault, 2);
	for (size_t i = 0; i < sizeof(struct event_entry) + 4; i++) {
		bytes[i] ^= 0x11;
		crash();
		ck_assert(strcmp(told(), "set a 1, ") == 0 ||
			(i == offsetof(struct event_entry, made) &&
				strcmp(told(), "set a 1, set name 1, ") == 0));
		rise();
		bytes[i] ^= 0x11;
	}
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("vault_event");

	tcase_add_checked_fixture(claims, set_up_in_file, tear_down_in_file);
	tcase_add_test(claims, nothing_is_remembered_before_somebody_asks);
	tcase_add_test(claims, every_change_of_a_name_is_told_in_order);
	tcase_add_test(claims, what_was_not_changed_is_not_told);
	tcase_add_test(claims, a_value_for_which_there_is_no_memory_is_not_told);
	tcase_add_test(claims, without_memory_for_it_nothing_is_remembered);
	tcase_add_loop_test(claims, a_ring_that_is_full_forgets_the_oldest_and_says_so, 0, 6);
	tcase_add_test(claims, who_is_behind_is_told_so);
	tcase_add_test(claims, a_number_that_was_never_given_away_is_none);
	tcase_add_loop_test(claims, it_goes_on_where_it_was_when_a_process_has_ended, 0, 40);
	tcase_add_loop_test(claims, the_last_event_is_found_at_the_end_of_a_page, 0, 40);
	tcase_add_loop_test(claims, whoever_adopts_it_remembers_the_same, 0, 8);
	tcase_add_test(claims, what_ended_with_its_connection_is_told_by_the_next_process);
	tcase_add_test(claims, after_a_loss_everything_is_forgotten);
	tcase_add_test(claims, a_purge_is_told_by_the_next_process_too);
	tcase_add_test(claims, numbers_grow_when_a_ring_is_made_anew);
	tcase_add_test(claims, an_event_that_is_not_what_was_written_is_forgotten);
	tcase_add_test(claims, a_last_event_that_is_not_what_was_written_is_no_other);
	return claims_run(claims, "what is remembered of changes");
}
