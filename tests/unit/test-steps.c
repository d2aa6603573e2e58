/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/steps_batch.h"
#include "tests/unit/steps_event.h"
#include "tests/unit/steps_stream.h"
#include "tests/unit/steps_token.h"

/*
 * A process may end at any instruction. At each that changes the ledger or the keys, what the next
 * process would adopt is looked at: it is the state before the operation or the one after it, and
 * never the one before again once it was the one after.
 */

/* -- the operations ------------------------------------------------------------------------ */

static struct value *sent;
static struct record *used;

static void publish_sent(const char *name)
{
	struct vault_put put = put_of(name, going);

	ck_assert_int_eq(vault_put(vault, &sent, &put, &going->version), 0);
}

static void send_to_a(void)
{
	sent = new_value(going);
	publish_sent("a");
}

static void prepare_short(void)
{
	store_known("b", 100);
	going = draw_known(100);
}

static void prepare_long(void)
{
	store_known("b", 100);
	going = draw_known(17 * ENCLAVE_CHUNK_PLAIN);
}

static void prepare_short_over_long(void)
{
	prepare_long();
	send_to_a();
	going = draw_known(300);
}

static void prepare_long_over_short(void)
{
	store_known("a", 100);
	going = draw_known(17 * ENCLAVE_CHUNK_PLAIN);
}

static void use_a(void)
{
	ck_assert_int_eq(record_use(vault, used), 0);
}

static void prepare_reads(uint32_t reads)
{
	store_known("b", 100);
	store_for("a", 20000, &(struct lifetime){ .reads = reads });
	used = find("a");
}

static void prepare_two_reads(void)
{
	prepare_reads(2);
}

static void prepare_last_read(void)
{
	prepare_reads(1);
}

static void prepare_consumed(void)
{
	prepare_last_read();
	use_a();
	going = draw_known(20000);
}

static void prepare_a(void)
{
	store_known("b", 100);
	store_known("a", 20000);
}

static void remove_a(void)
{
	ck_assert_int_eq(remove_name("a"), 0);
}

static void prepare_one_read_pinned(void)
{
	prepare_last_read();
	record_pin(used);
}

/* Its reader goes on with what he has pinned, and is done with it. */
static void use_and_let_go(void)
{
	use_a();
	record_unpin(vault, used);
}

static void prepare_found(void)
{
	prepare_a();
	used = find("a");
}

static void purge_found(void)
{
	vault_purge_record(vault, used);
}

static void send_and_give_up(void)
{
	value_free(vault, new_value(going));
}

static void freeze(bool frozen)
{
	static const struct conditions none;
	uint64_t version;

	ck_assert_int_eq(vault_freeze(vault, span_text("a"), frozen, &none, &version), 0);
}

static void freeze_a(void)
{
	freeze(true);
}

static void melt_a(void)
{
	freeze(false);
}

static void prepare_frozen(void)
{
	prepare_a();
	freeze_a();
}

static void touch_a(void)
{
	static const struct conditions none;
	uint64_t version;

	ck_assert_int_eq(vault_touch(vault, span_text("a"), 5000, &none, &version), 0);
}

/* What is over does not show, whether it is there or not: it is looked at before it was over. */
static void prepare_over(void)
{
	store_known("b", 100);
	store_for("a", 20000, &(struct lifetime){ .ttl_ms = 50000 });
}

static void expire_a(void)
{
	vault->now = an_hour_later;
	ck_assert(vault_expire(vault));
	vault->now = stopped;
}

static void remask(void)
{
	coffer_remask(&rig.coffer);
}

static void replace_channel(void)
{
	coffer_replace(&rig.coffer, COFFER_CHANNEL);
}

static void purge(void)
{
	vault_purge(vault);
}

/* -- of versions that were rotated, and of names */

static void rotate(uint64_t grace_ms)
{
	struct vault_put put = put_of("a", going);

	put.rotation = (struct rotation){ .asked = true, .grace_ms = grace_ms };
	sent = new_value(going);
	ck_assert_int_eq(vault_put(vault, &sent, &put, &going->version), 0);
}

static void rotate_a(void)
{
	rotate(60000);
}

static void rotate_at_once(void)
{
	rotate(0);
}

static void prepare_short_to_rotate(void)
{
	prepare_a();
	going = draw_known(17 * ENCLAVE_CHUNK_PLAIN);
}

static void prepare_long_to_rotate(void)
{
	prepare_long();
	send_to_a();
	going = draw_known(300);
}

static void prepare_limited_to_rotate(void)
{
	store_known("b", 100);
	store_for("a", 100, &(struct lifetime){ .ttl_ms = 50000, .reads = 2 });
	going = draw_known(300);
}

static void prepare_rotated(void)
{
	prepare_limited_to_rotate();
	rotate_a();
	going = draw_known(20000);
}

static void find_rotated(void)
{
	ck_assert_int_eq(vault_find_version(vault, span_text("a"), 1, &used), 0);
}

static void prepare_former(void)
{
	prepare_rotated();
	find_rotated();
}

static void prepare_former_of_one_read(void)
{
	prepare_former();
	use_a();
	find_rotated();
}

/* The grace is over, and of the other name nothing is. */
static void prepare_grace_over(void)
{
	prepare_a();
	going = draw_known(100);
	rotate_a();
}

static void move_a_to_c(void)
{
	struct vault_move move = { .name = span_text("a"), .to = span_text("c"), .owner = 1000 };
	uint64_t version;

	ck_assert_int_eq(vault_move(vault, &move, &version), 0);
}

static void prepare_moved_to_consumed(void)
{
	store_for("c", 100, &(struct lifetime){ .reads = 1 });
	used = find("c");
	use_a();
	prepare_a();
}

/* It is another secret then, whatever was under the name. */
static void restore_a(void)
{
	static const struct batch_times times = { .version = 3, .created_ms = 1, .changed_ms = 2 };
	struct vault_put put = put_of("a", going);
	struct batch *one = NULL;
	struct span name;

	sent = new_value(going);
	ck_assert_int_eq(batch_new(vault, &one), 0);
	ck_assert_int_eq(batch_add(vault, one, &sent, &put, &times), 0);
	ck_assert_int_eq(batch_check(vault, one, NULL, &name), 1);
	ck_assert_int_eq(batch_commit(vault, one), 0);
	while (!batch_publish(vault, one))
		;
	batch_free(vault, one);
}

/* -- of several that come back together */

static void prepare_many(void)
{
	prepare_short_over_long();
	stage_all(100);
}

static void prepare_many_with_a_table(void)
{
	prepare_a();
	stage_all(17 * ENCLAVE_CHUNK_PLAIN);
}

static void prepare_many_over_rotated(void)
{
	prepare_limited_to_rotate();
	rotate_a();
	stage_all(400);
}

static void prepare_many_over_consumed(void)
{
	prepare_last_read();
	use_a();
	stage_all(100);
}

/* What it has followed until then stays. */
static void expire_a_and_restore(void)
{
	expire_a();
	restore_all();
}

static void prepare_looked_at(void)
{
	prepare_a();
	stage_all(100);
	look_at_all();
}

static void prepare_committed(void)
{
	prepare_a();
	stage_all(100);
	going = draw_known(500);
	commit_all();
}

static void remove_c(void)
{
	ck_assert_int_eq(remove_name("c"), 0);
}

/* No room is left: whatever comes makes the file grow. The blocks lead nowhere. */
static void prepare_full(void)
{
	uint64_t mapped = ledger_mapped(vault->ledger);
	uint64_t offset;

	prepare_short();
	ck_assert_int_eq(ledger_take(vault->ledger, mapped - 65536, &offset), 0);
	while (mapped - ledger_used(vault->ledger) > 128)
		ck_assert_int_eq(ledger_take(vault->ledger, 64, &offset), 0);
}

static void put_and_grow(void)
{
	uint64_t mapped = ledger_mapped(vault->ledger);

	send_to_a();
	ck_assert_uint_gt(ledger_mapped(vault->ledger), mapped);
}

/* -- of what is brought together */

static bool know_answer(void *context, uint32_t uid,
	const uint8_t answer[static MESSAGE_NUMBER_SIZE], uint64_t from, uint64_t to)
{
	(void)context;
	(void)uid;
	(void)answer;
	ck_assert_uint_lt(to, from);
	return true;
}

/* Room in front of all that `prepare` has stored. */
static void prepare_behind(void (*prepare)(void), size_t size)
{
	uint64_t room;

	ck_assert_int_eq(ledger_take(vault->ledger, size, &room), 0);
	prepare();
	ledger_give(vault->ledger, room);
	vault_watch_answers(vault, know_answer, NULL);
	compaction_begin(vault->ledger, (room + size) / LEDGER_UNIT);
	vault->progress = (struct progress){ 0 };
}

static void prepare_a_behind(void)
{
	prepare_behind(prepare_a, 32768);
}

static void store_long(void)
{
	prepare_long();
	send_to_a();
}

static void prepare_table_behind(void)
{
	prepare_behind(store_long, 32768);
}

static void prepare_rotated_behind(void)
{
	prepare_behind(prepare_rotated, 32768);
}

static void prepare_consumed_behind(void)
{
	prepare_behind(prepare_consumed, 32768);
}

/* All of it is in front of the line, but for the first extents of what has a table. */
static void compact_all(void)
{
	uint64_t line = ledger_line(vault->ledger);

	ck_assert_uint_ge(offset_of("a"), line);
	ck_assert_uint_ge(offset_of("b"), line);
	while (vault_compact(vault))
		;
	ck_assert_uint_lt(offset_of("a"), line);
	ck_assert_uint_lt(offset_of("b"), line);
	ck_assert_uint_lt(last_extent(vault, record_header(vault, offset_of("a"))), line);
	ck_assert_uint_lt(record_place(record_header(vault, offset_of("a"))), line);
}

/* -- of streams */

static void prepare_consumed_stream_name(void)
{
	store_for("s", 100, &(struct lifetime){ .reads = 1 });
	used = find("s");
	use_a();
	going = draw_known(100);
}

/* -- of processes: 5 lives, 6 does not */

static struct holder *of_five;

static int find_process(void *context, uint32_t pid, uint64_t started, struct holder **holderp)
{
	(void)context;
	ck_assert_uint_eq(started, 77);
	*holderp = pid == 5 ? of_five : NULL;
	return 0;
}

static void prepare_bound(void)
{
	store_for("a", 20000, &(struct lifetime){ .pid = 6 });
	store_for("b", 100, &(struct lifetime){ .pid = 5 });
	of_five = holder_new(NULL, NULL);
	/* As adoption leaves them. */
	ck_assert_int_eq(offsets_add(&vault->bound, offset_of("b")), 0);
	ck_assert_int_eq(offsets_add(&vault->bound, offset_of("a")), 0);
}

static void bind_all(void)
{
	ck_assert_int_eq(vault_bind(vault, find_process, NULL), 0);
}

static void prepare_marked_and_a(void)
{
	prepare_marked_and_more();
	store_known("a", 100);
}

static void prepare_marked_behind(void)
{
	prepare_behind(prepare_marked_and_a, 32768);
}

/* What was answered is where it was, or where it is, or at both places. */
static void store_and_promise(void)
{
	static const uint8_t digest[VAULT_DIGEST_SIZE] = { 3 };

	prepare_a();
	going = draw_known(100);
	vault_promise(vault, 1000, number, digest);
	send_to_a();
	ck_assert_uint_ne(vault_promise_end(vault, true), 0);
}

static void prepare_answer_behind(void)
{
	prepare_behind(store_and_promise, 32768);
}

static void prepare_token_behind(void)
{
	prepare_behind(store_and_issue, 32768);
}

static const struct operation {
	const char *name;
	void (*prepare)(void);
	void (*run)(void);
	bool still; /* nothing of it shows */
} operations[] = {
	{ "a new name", prepare_short, send_to_a, false },
	{ "a new name with a table", prepare_long, send_to_a, false },
	{ "a version of one extent after one of two", prepare_short_over_long, send_to_a, false },
	{ "a version of two extents after one of one", prepare_long_over_short, send_to_a, false },
	{ "a new value under a consumed name", prepare_consumed, send_to_a, false },
	{ "growth", prepare_full, put_and_grow, false },
	{ "remove", prepare_a, remove_a, false },
	{ "remove with a table", prepare_short_over_long, remove_a, false },
	{ "freeze", prepare_a, freeze_a, false },
	{ "melt", prepare_frozen, melt_a, false },
	{ "touch", prepare_a, touch_a, false },
	{ "touch again", prepare_over, touch_a, false },
	{ "a read that is counted", prepare_two_reads, use_a, false },
	{ "the last read", prepare_last_read, use_a, false },
	{ "the last read of what is pinned", prepare_one_read_pinned, use_and_let_go, false },
	{ "a rotation", prepare_short_to_rotate, rotate_a, false },
	{ "a rotation of a table", prepare_long_to_rotate, rotate_a, false },
	{ "a rotation of what ends", prepare_limited_to_rotate, rotate_a, false },
	{ "a rotation without a grace", prepare_limited_to_rotate, rotate_at_once, false },
	{ "a second rotation", prepare_rotated, rotate_a, false },
	{ "a set after a rotation", prepare_rotated, send_to_a, false },
	{ "a counted read of what was rotated", prepare_former, use_a, false },
	{ "the last read of what was rotated", prepare_former_of_one_read, use_a, false },
	{ "the end of a grace", prepare_grace_over, expire_a, false },
	{ "remove of what was rotated", prepare_rotated, remove_a, false },
	{ "purge of what was rotated", prepare_rotated, purge, false },
	{ "another name", prepare_a, move_a_to_c, false },
	{ "another name for a table", prepare_short_over_long, move_a_to_c, false },
	{ "another name that was consumed", prepare_moved_to_consumed, move_a_to_c, false },
	{ "another name for what was rotated", prepare_rotated, move_a_to_c, false },
	{ "a restore", prepare_short, restore_a, false },
	{ "a restore over a table", prepare_short_over_long, restore_a, false },
	{ "a restore under a consumed name", prepare_consumed, restore_a, false },
	{ "a restore over what was rotated", prepare_rotated, restore_a, false },
	{ "a restore of three", prepare_many, restore_all, false },
	{ "a restore of three with a table", prepare_many_with_a_table, restore_all, false },
	{ "a restore of three over what was rotated", prepare_many_over_rotated, restore_all,
		false },
	{ "a restore of three, of which one was consumed", prepare_many_over_consumed, restore_all,
		false },
	{ "a restore that nobody waits for", prepare_many, restore_and_leave, false },
	{ "a restore that is disturbed", prepare_many, look_and_change, false },
	{ "a restore that is given up", prepare_many_over_rotated, look_and_give_up, true },
	{ "a restore without what has ended before", prepare_looked_at, expire_a_and_restore,
		false },
	{ "the end of a life after the commit", prepare_committed, expire_a, false },
	{ "a new value after the commit", prepare_committed, send_to_a, false },
	{ "remove after the commit", prepare_committed, remove_c, false },
	{ "the rest after the commit", prepare_committed, publish_all, true },
	{ "purge after the commit", prepare_committed, purge, false },
	{ "a value that is given up", prepare_short, send_and_give_up, true },
	{ "the end of a life", prepare_over, expire_a, false },
	{ "the processes are looked for", prepare_bound, bind_all, false },
	{ "remask", prepare_a, remask, true },
	{ "another channel master", prepare_a, replace_channel, false },
	{ "purge", prepare_a, purge, false },
	{ "purge of one record", prepare_found, purge_found, false },
	{ "purge of a stream", prepare_marked_and_more, purge, false },
	{ "a stream begins", prepare_stream, make_stream, false },
	{ "a stream under a consumed name", prepare_consumed_stream_name, make_stream_only, false },
	{ "a chunk", prepare_stream_of_2, append_to_stream, false },
	{ "the final chunk", prepare_stream_of_3, append_to_stream, false },
	{ "a chunk after a mark", prepare_marked, append_to_stream, false },
	{ "a chunk is acknowledged", prepare_stream_of_2, acknowledge_next, false },
	{ "a mark after a mark", prepare_marked_and_more, acknowledge_next, false },
	{ "the last chunk is acknowledged", prepare_last_of_stream, acknowledge_next, false },
	{ "all chunks are acknowledged", prepare_whole_stream, acknowledge_all, false },
	{ "a segment is over, another begun", prepare_last_of_first_segment, acknowledge_next,
		false },
	{ "another segment", prepare_second_segment, begin_segment, false },
	{ "a segment without a chunk goes", prepare_empty_second_segment, leave_stream, false },
	{ "a stream is removed", prepare_marked_and_more, remove_stream, false },
	{ "compacting", prepare_a_behind, compact_all, true },
	{ "compacting a table", prepare_table_behind, compact_all, true },
	{ "compacting what was rotated", prepare_rotated_behind, compact_all, true },
	{ "compacting a consumed name", prepare_consumed_behind, compact_all, true },
	{ "compacting beside a stream", prepare_marked_behind, compact_all, true },
	{ "compacting an answer", prepare_answer_behind, compact_all, true },
	{ "a token", store_one, add_token, false },
	{ "a use of a token", store_token, use_token, false },
	{ "the end of a token", store_token, drop_token, false },
	{ "purge of a token", store_token, purge, false },
	{ "compacting a token", prepare_token_behind, compact_all, true },
};

/* -- changes whose answers are remembered --------------------------------------------------- */

static const struct operation *asked;

/*
 * What the next process says to a repeat and what has become of the change are one: the answer is
 * in the picture after and not in the one before.
 */
static void run_asked(void)
{
	static const uint8_t digest[VAULT_DIGEST_SIZE] = { 4 };

	vault_promise(vault, 1000, number, digest);
	asked->run();
	ck_assert_uint_ne(vault_promise_end(vault, true), 0);
}

static uint64_t answer_place;

/* An older answer stands beside the one that is written. */
static void prepare_asked(void)
{
	static const uint8_t older[MESSAGE_NUMBER_SIZE] = { 3 };
	static const uint8_t digest[VAULT_DIGEST_SIZE] = { 5 };

	asked->prepare();
	vault_promise(vault, 1001, older, digest);
	store_known("o", 10);
	answer_place = vault_promise_end(vault, true);
	ck_assert_uint_ne(answer_place, 0);
}

static void drop_older(void)
{
	vault_drop_answer(vault, answer_place);
}

static const struct operation asked_for[] = {
	{ "set", prepare_short, send_to_a, false },
	{ "set over a table", prepare_short_over_long, send_to_a, false },
	{ "set under a consumed name", prepare_consumed, send_to_a, false },
	{ "remove", prepare_a, remove_a, false },
	{ "remove of what was rotated", prepare_rotated, remove_a, false },
	{ "freeze", prepare_a, freeze_a, false },
	{ "melt", prepare_frozen, melt_a, false },
	{ "touch", prepare_a, touch_a, false },
	{ "rotate", prepare_short_to_rotate, rotate_a, false },
	{ "a second rotation", prepare_rotated, rotate_a, false },
	{ "move", prepare_a, move_a_to_c, false },
	{ "move of what was rotated", prepare_rotated, move_a_to_c, false },
	{ "restore", prepare_many, restore_all, false },
	{ "restore over what was rotated", prepare_many_over_rotated, restore_all, false },
	{ "the final chunk of a stream", prepare_stream_of_3, append_to_stream, false },
};

static bool can_step(const char *name)
{
	if (!CAN_STEP)
		printf("SKIP: %s: this build cannot be stopped at each store\n", name);
	return CAN_STEP;
}

/*
 * A batch is published when it is adopted, whatever of it was told; and where everything is purged
 * there is a moment in which nothing of before can be believed.
 */
static bool may_forget(const struct operation *operation)
{
	return operation->run == purge || strstr(operation->name, "restore") ||
		strstr(operation->name, "commit");
}

static void check_steps(const struct operation *operation, void (*prepare)(void), void (*run)(void))
{
	struct account *account;

	if (!can_step(operation->name))
		return;
	prepare();
	account = account_of(run);
	if (account->complaint[0] != '\0')
		ck_abort_msg("%s: %s", operation->name, account->complaint);
	/* It does happen in steps, and changes something. */
	ck_assert_uint_gt(account->steps, 3);
	ck_assert_uint_gt(account->after, 0);
	ck_assert(account->forgetful == 0 || may_forget(operation));
	ck_assert(operation->still == (account->before == account->after + 1));
	if (getenv("STEPS_TELL"))
		fprintf(stderr, "# %s: %llu stores, %llu adopted, %llu before\n", operation->name,
			(unsigned long long)account->steps, (unsigned long long)account->adopted,
			(unsigned long long)account->before);
	free(account);
}

START_TEST(at_each_step_it_is_the_state_before_or_the_one_after)
{
	const struct operation *operation = &operations[_i];

	check_steps(operation, operation->prepare, operation->run);
}
END_TEST

START_TEST(at_each_step_a_repeat_is_answered_when_the_change_was_made)
{
	asked = &asked_for[_i];
	check_steps(asked, prepare_asked, run_asked);
}
END_TEST

START_TEST(an_answer_is_forgotten_in_one_step)
{
	static const struct operation forgotten = { "an answer is forgotten", prepare_short,
		drop_older, false };

	asked = &forgotten;
	check_steps(asked, prepare_asked, drop_older);
}
END_TEST

/* -- the first process, and the next -------------------------------------------------------- */

START_TEST(a_vault_that_is_half_made_is_a_vault)
{
	struct scene *scene;
	struct account *account;

	if (!can_step("a_vault_that_is_half_made_is_a_vault"))
		return;
	scene = calloc(1, sizeof(*scene));
	ck_assert_ptr_nonnull(scene);
	memcpy(scene->keys, keys, KEYS_SIZE);
	account = account_of_opening(scene);
	if (account->complaint[0] != '\0')
		ck_abort_msg("%s", account->complaint);
	ck_assert_uint_gt(account->steps, 3);
	free(account);
	free(scene);
}
END_TEST

static void check_opening(const struct operation *operation, struct scene *scene)
{
	struct account *account = account_of_opening(scene);

	if (account->complaint[0] != '\0')
		ck_abort_msg("after %s: %s", operation->name, account->complaint);
	ck_assert(account->forgetful == 0 || may_forget(operation));
	free(account);
	free(scene);
}

/* The operation has just been done, and then half of what it has to wipe is wiped. */
START_TEST(whoever_adopts_may_end_at_any_step_too)
{
	const struct operation *operation = &operations[_i];
	struct scene *start;
	struct scene *halfway;
	struct scene *done;
	uint64_t turn;

	if (!can_step(operation->name))
		return;
	operation->prepare();
	start = scene_of(ledger_fd, keys);
	watch_vault();
	operation->run();
	watch_end();
	turn = find_turn(start);
	done = scene_after(start, turn);
	halfway = scene_after(start, (turn + watch.count) / 2);
	check_opening(operation, done);
	check_opening(operation, halfway);
	free(start);
}
END_TEST

/* -- the control --------------------------------------------------------------------------- */

/* The record's kind comes before its key and its tag. */
static void put_too_early(void)
{
	struct vault_put put = put_of("a", going);
	struct draft draft = { .put = &put };
	uint64_t version;

	sent = new_value(going);
	ck_assert_int_eq(begin_draft(vault, &draft, &version), 0);
	ck_assert_int_eq(take_blocks(vault, sent, &draft), 0);
	write_header(vault, sent, &draft);
	block_set_kind(record_header(vault, draft.offset), BLOCK_RECORD);
	ck_assert_int_eq(seal_header(vault, &draft), 0);
	ck_assert_int_eq(publish(vault, &draft), 0);
	value_drop(vault, sent);
}

START_TEST(what_is_left_of_what_is_gone_is_seen)
{
	struct scene *scene;
	uint64_t end;
	uint64_t unit;

	prepare_a();
	remove_a();
	scene = scene_of(ledger_fd, keys);
	ck_assert(is_free_clean(vault->ledger, scene));
	for (unit = 1; !run_is_free(vault->ledger, unit); unit = end)
		end = run_end(vault->ledger, unit);
	vault->ledger->base[(unit + 1) * LEDGER_UNIT] = 1;
	scene_mark(scene, unit * LEDGER_UNIT, (unit + 2) * LEDGER_UNIT, true);
	ck_assert(!is_free_clean(vault->ledger, scene));
	free(scene);
}
END_TEST

/* The old version is gone before the new one is there. */
static void put_too_late(void)
{
	remove_a();
	send_to_a();
}

/* No commit lists what is staged: its block has no kind. */
static void restore_unlisted(void)
{
	look_at_all();
	ck_assert_int_eq(index_promise(vault->index, batch_count(batch)), 0);
	ck_assert_int_eq(ledger_take(vault->ledger, COMMIT_SIZE, &batch->commit), 0);
	publish_all();
}

/* It ends before all that it lists is published. */
static void restore_with_an_early_end(void)
{
	commit_all();
	publish_apart(vault, batch, find_in(batch, span_text("b")));
	finish_batch(vault, batch);
	ck_assert_int_eq(ledger_take(vault->ledger, COMMIT_SIZE, &batch->commit), 0);
	publish_all();
}

static const struct fault {
	void (*prepare)(void);
	void (*run)(void);
	const char *complaint;
} faults[] = {
	{ prepare_short, put_too_early, "a record is called broken" },
	{ prepare_short_over_long, put_too_late, "it is neither" },
	{ prepare_many, restore_unlisted, "it is neither" },
	{ prepare_many, restore_with_an_early_end, "it is neither" },
	{ prepare_short, put_and_tell, "it is neither" },
	{ prepare_short, tell_of_nothing, "it is neither" },
};

START_TEST(what_is_done_in_the_wrong_order_is_seen)
{
	struct account *account;

	if (!can_step("what_is_done_in_the_wrong_order_is_seen"))
		return;
	faults[_i].prepare();
	account = account_of(faults[_i].run);
	if (!strstr(account->complaint, faults[_i].complaint))
		ck_abort_msg("it was not seen, but: %s", account->complaint);
	free(account);
}
END_TEST

int main(int count, char **arguments)
{
	TCase *claims = tcase_create("steps");

	(void)count;
	if (CAN_STEP)
		in_plain_stores(arguments);
	tcase_set_timeout(claims, 100);
	tcase_add_checked_fixture(claims, set_up_steps, tear_down_steps);
	tcase_add_loop_test(claims, at_each_step_it_is_the_state_before_or_the_one_after, 0,
		COUNT_OF(operations));
	tcase_add_loop_test(claims, at_each_step_a_repeat_is_answered_when_the_change_was_made, 0,
		COUNT_OF(asked_for));
	tcase_add_test(claims, an_answer_is_forgotten_in_one_step);
	tcase_add_test(claims, a_vault_that_is_half_made_is_a_vault);
	tcase_add_loop_test(
		claims, whoever_adopts_may_end_at_any_step_too, 0, COUNT_OF(operations));
	tcase_add_test(claims, what_is_left_of_what_is_gone_is_seen);
	tcase_add_loop_test(claims, what_is_done_in_the_wrong_order_is_seen, 0, COUNT_OF(faults));
	return claims_run(claims, "a process that ends at any step");
}
