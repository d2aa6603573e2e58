/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/steps_rig.h"

/*
 * A process may end at any instruction while it locks and while it unlocks: the next one finds a
 * vault that is locked, with everything in it, or one that is not. What is found of a locked one is
 * what there is once it is unlocked.
 */

static const struct vault_lock lock = { .salt = { 1 }, .opslimit = 2, .memlimit = 3 };

static void prepare(void)
{
	store_known("a", 20000);
	store_known("b", 17 * ENCLAVE_CHUNK_PLAIN);
	store_for("c", 100, &(struct lifetime){ .reads = 3, .ttl_ms = 100000 });
	ck_assert_int_eq(remove_name("b"), 0);
}

static void lock_it(void)
{
	ck_assert_int_eq(vault_lock(vault, &lock, lock_key), 0);
}

static void prepare_locked(void)
{
	prepare();
	lock_it();
}

/* A second lock has another secret, and its block may lie where the first one's did. */
static void prepare_unlocked(void)
{
	prepare_locked();
	ck_assert_int_eq(vault_unlock(vault, lock_key), 0);
}

/* Of two blocks that say the same one is as good as both. */
static void prepare_overwritten(void)
{
	prepare_locked();
	*(uint8_t *)ledger_at(vault->ledger, vault->lock_rooms[0], 1) ^= 1;
}

static void unlock_it(void)
{
	ck_assert_int_eq(vault_unlock(vault, lock_key), 0);
}

static void purge_it(void)
{
	vault_purge(vault);
}

static const struct operation {
	const char *name;
	void (*prepare)(void);
	void (*run)(void);
} operations[] = {
	{ "lock", prepare, lock_it },
	{ "lock again", prepare_unlocked, lock_it },
	{ "unlock", prepare_locked, unlock_it },
	{ "unlock by the other block", prepare_overwritten, unlock_it },
	{ "purge", prepare_locked, purge_it },
};

static bool can_step_here(const char *test)
{
	if (!CAN_STEP)
		fprintf(stderr, "%s: skipped: this build cannot be stepped through\n", test);
	return CAN_STEP;
}

START_TEST(at_each_step_it_is_locked_or_it_is_not)
{
	const struct operation *operation = &operations[_i];
	struct account *account;

	if (!can_step_here("at_each_step_it_is_locked_or_it_is_not"))
		return;
	operation->prepare();
	account = account_of(operation->run);
	if (account->complaint[0])
		ck_abort_msg("%s: %s", operation->name, account->complaint);
	/* It is looked at on both sides of the one step that counts. */
	ck_assert_uint_gt(account->before, 5);
	ck_assert_uint_gt(account->after, 5);
	ck_assert_uint_eq(account->adopted, account->before + account->after - 1);
	free(account);
}
END_TEST

/* Whether it was locked, and then nothing of the file has changed. */
static bool is_left_alone(const struct scene *scene)
{
	struct remains *remains = remains_of(scene);
	struct vault *opened = NULL;
	struct scene *end;
	bool locked;

	ck_assert_int_eq(adopt_remains(remains, &opened), 0);
	locked = vault_is_locked(opened);
	vault_free(opened);
	end = scene_of(remains->fd, keys);
	if (locked) {
		ck_assert_uint_eq(end->size, scene->size);
		ck_assert(memcmp(end->ledger, scene->ledger, sizeof(end->ledger)) == 0);
	}
	forget_remains(remains);
	free(end);
	return locked;
}

/* What the next process does until it serves: where it is locked, nothing. */
START_TEST(whoever_opens_it_may_end_at_any_step_too)
{
	const struct operation *operation = &operations[_i];
	struct scene *start;
	uint64_t turn;
	int locked = 0;

	if (!can_step_here("whoever_opens_it_may_end_at_any_step_too"))
		return;
	operation->prepare();
	start = scene_of(ledger_fd, keys);
	free(account_of(operation->run));
	turn = find_turn(start);
	for (uint64_t at = turn - 1; at <= turn; at++) {
		struct scene *scene = scene_after(start, at);
		uint64_t count = watch.count;
		struct step *steps = malloc(count * sizeof(*steps));
		struct account *account;

		ck_assert_ptr_nonnull(steps);
		memcpy(steps, watch.steps, count * sizeof(*steps));
		if (is_left_alone(scene)) {
			locked++;
		} else {
			account = account_of_opening(scene);
			if (account->complaint[0])
				ck_abort_msg("%s: %s", operation->name, account->complaint);
			free(account);
		}
		memcpy(watch.steps, steps, count * sizeof(*steps));
		watch.count = count;
		free(steps);
		free(scene);
	}
	/* On one side of the turn it is, on the other it is not. */
	ck_assert_int_eq(locked, 1);
	free(start);
}
END_TEST

/* The block comes too late: a process that ends before it has locked for ever. */
static void lock_without_a_block(void)
{
	coffer_lock(vault->coffer, lock_key);
	vault->lock.known = false;
}

START_TEST(what_is_done_in_the_wrong_order_is_seen)
{
	struct account *account;

	if (!can_step_here("what_is_done_in_the_wrong_order_is_seen"))
		return;
	prepare();
	account = account_of(lock_without_a_block);
	ck_assert_ptr_nonnull(strstr(account->complaint, "it is not adopted"));
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
	tcase_add_loop_test(
		claims, at_each_step_it_is_locked_or_it_is_not, 0, COUNT_OF(operations));
	tcase_add_loop_test(
		claims, whoever_opens_it_may_end_at_any_step_too, 0, COUNT_OF(operations));
	tcase_add_test(claims, what_is_done_in_the_wrong_order_is_seen);
	return claims_run(claims, "a process that ends while it locks");
}
