/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/arena.h"

#include <check.h>
#include <signal.h>

#include "tests/unit/backends.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"

#define FILL 0x5a
#define MANY 1000

/* Deaths are expected here: the sanitizer must let the signal through. */
const char *__asan_default_options(void);
__attribute__((visibility("default"), used)) const char *__asan_default_options(void)
{
	return "handle_segv=0:handle_sigbus=0:handle_abort=0:detect_leaks=0";
}

static struct arena arena;
static struct arena_object objects[MANY];

static struct arena_object take(size_t size)
{
	struct arena_object object;

	ck_assert_int_eq(arena_take(&arena, &object, size, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert_uint_eq(object.size, size);
	return object;
}

static void take_many(size_t size)
{
	for (size_t i = 0; i < MANY; i++) {
		objects[i] = take(size);
		memset(objects[i].data, (int)i, size);
	}
}

START_TEST(what_is_written_is_seen_and_kept_apart)
{
	if (!force((enum os_memory_backend)_i))
		return;
	take_many(100);
	for (size_t i = 0; i < MANY; i++) {
		ck_assert(all_are(objects[i].view, 100, (uint8_t)i));
		ck_assert(arena_intact(&objects[i]));
	}
	/* Every other one goes; the rest is as it was, and what comes in its place is zeroed. */
	for (size_t i = 0; i < MANY; i += 2)
		arena_give(&arena, &objects[i]);
	for (size_t i = 0; i < MANY; i += 2) {
		objects[i] = take(100);
		ck_assert(all_are(objects[i].view, 100, 0));
	}
	for (size_t i = 1; i < MANY; i += 2)
		ck_assert(all_are(objects[i].view, 100, (uint8_t)i));
	for (size_t i = 0; i < MANY; i++)
		arena_give(&arena, &objects[i]);
	ck_assert_ptr_null(objects[0].slab);
}
END_TEST

START_TEST(an_object_has_any_size_up_to_the_largest)
{
	struct arena_object object;

	for (size_t size = 1; size <= ARENA_OBJECT_MAX; size++) {
		object = take(size);
		memset(object.data, FILL, size);
		ck_assert(all_are(object.view, size, FILL));
		ck_assert(arena_intact(&object));
		ck_assert_uint_eq((uintptr_t)object.view % 16, 0);
		arena_give(&arena, &object);
	}
	ck_assert_int_eq(arena_take(&arena, &object, 0, OS_MEMORY_PREFER_LOCK), -EINVAL);
	ck_assert_int_eq(
		arena_take(&arena, &object, ARENA_OBJECT_MAX + 1, OS_MEMORY_PREFER_LOCK), -EINVAL);
	ck_assert_int_eq(arena_take(&arena, &object, SIZE_MAX, OS_MEMORY_PREFER_LOCK), -EINVAL);
}
END_TEST

START_TEST(a_store_to_what_others_see_kills)
{
	if (!force((enum os_memory_backend)_i))
		raise(SIGSEGV);
	*(volatile uint8_t *)(uintptr_t)take(32).view = 1;
}
END_TEST

START_TEST(a_byte_beyond_either_end_is_found)
{
	static const size_t sizes[] = { 1, 15, 16, 17, 32, 1000, ARENA_OBJECT_MAX };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct arena_object object = take(sizes[i]);
		uint8_t *ends[] = { object.data - 1, object.data + sizes[i] };

		for (int end = 0; end < 2; end++) {
			*ends[end] ^= 1;
			ck_assert(!arena_intact(&object));
			*ends[end] ^= 1;
			ck_assert(arena_intact(&object));
		}
	}
}
END_TEST

START_TEST(a_thousand_small_objects_charge_at_most_40_pages)
{
	size_t before = status_kb("VmLck:");
	size_t page = os_memory_page() / 1024;

	if (!can_be_secret() && !can_be_locked())
		return;
	take_many(32);
	ck_assert_uint_gt(status_kb("VmLck:"), before);
	ck_assert_uint_le(status_kb("VmLck:") - before, 40 * page);
	for (size_t i = 0; i < MANY; i++)
		arena_give(&arena, &objects[i]);
	/* One slab stays, and takes objects of another size, too. */
	ck_assert_uint_le(status_kb("VmLck:") - before, 4 * page);
	objects[0] = take(1000);
	ck_assert_uint_le(status_kb("VmLck:") - before, 4 * page);
}
END_TEST

START_TEST(what_was_given_back_is_zero)
{
	struct arena_object object = take(200), other = take(200);
	const uint8_t *view = object.view;

	memset(object.data, FILL, 200);
	memset(other.data, FILL, 200);
	ck_assert(all_are(view, 200, FILL));
	arena_give(&arena, &object);
	ck_assert(all_are(view - 16, 232, 0));
	ck_assert(all_are(other.view, 200, FILL));
}
END_TEST

START_TEST(a_wipe_leaves_objects_and_canaries_and_no_byte)
{
	struct arena_object larger = take(1000);

	take_many(100);
	memset(larger.data, FILL, 1000);
	arena_give(&arena, &objects[5]);
	arena_wipe(&arena);
	ck_assert(all_are(larger.view, 1000, 0));
	ck_assert(arena_intact(&larger));
	objects[5] = take(100);
	for (size_t i = 0; i < MANY; i++) {
		ck_assert(all_are(objects[i].view, 100, 0));
		ck_assert(arena_intact(&objects[i]));
		memset(objects[i].data, FILL, 100);
		arena_give(&arena, &objects[i]);
	}
	arena_give(&arena, &larger);
	arena_wipe(&arena);
}
END_TEST

START_TEST(without_room_only_the_one_who_asks_is_told)
{
	size_t count = 0;

	if (!can_be_secret() && !can_be_locked())
		return;
	for (; count < 20; count++)
		objects[count] = take(1000);
	memset(objects[0].data, FILL, 1000);
	deny(SYS_memfd_secret, EAGAIN);
	deny(SYS_mlock, ENOMEM);
	while (count < MANY &&
		arena_take(&arena, &objects[count], 1000, OS_MEMORY_REQUIRE_LOCK) == 0)
		count++;
	ck_assert_uint_lt(count, 40);
	ck_assert_int_eq(arena_take(&arena, &objects[count], 1000, OS_MEMORY_REQUIRE_LOCK), -EPERM);
	ck_assert(all_are(objects[0].view, 1000, FILL));
	arena_give(&arena, &objects[1]);
	ck_assert_int_eq(arena_take(&arena, &objects[1], 1000, OS_MEMORY_REQUIRE_LOCK), 0);
}
END_TEST

START_TEST(memory_that_is_too_weak_is_not_given)
{
	struct arena_object object;

	deny(SYS_memfd_secret, ENOSYS);
	object = take(32);
	ck_assert_int_eq(arena_take(&arena, &object, 32, OS_MEMORY_REQUIRE_SECRET), -EPERM);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("arena");

	tcase_add_loop_test(claims, what_is_written_is_seen_and_kept_apart, 0, BACKENDS);
	tcase_add_test(claims, an_object_has_any_size_up_to_the_largest);
	tcase_add_loop_test_raise_signal(
		claims, a_store_to_what_others_see_kills, SIGSEGV, 0, BACKENDS);
	tcase_add_test(claims, a_byte_beyond_either_end_is_found);
	tcase_add_test(claims, a_thousand_small_objects_charge_at_most_40_pages);
	tcase_add_test(claims, what_was_given_back_is_zero);
	tcase_add_test(claims, a_wipe_leaves_objects_and_canaries_and_no_byte);
	tcase_add_test(claims, without_room_only_the_one_who_asks_is_told);
	tcase_add_test(claims, memory_that_is_too_weak_is_not_given);
	return claims_run(claims, "arenas");
}
