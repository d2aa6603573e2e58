/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <signal.h>
#include <sys/wait.h>

#include "common/memory/os_memory.h"
#include "tests/unit/backends.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"

/* Pages that are mapped twice: once to be written, once to be read. */

/* Deaths are expected here: the sanitizer must let the signal through. */
const char *__asan_default_options(void);
__attribute__((visibility("default"), used)) const char *__asan_default_options(void)
{
	return "handle_segv=0:handle_sigbus=0:handle_abort=0:detect_leaks=0";
}

static struct os_memory memory;

/* A mirrored region of two pages between one and another that are not; false: skipped. */
static bool map_on(enum os_memory_backend backend)
{
	if (!force(backend))
		return false;
	memory = (struct os_memory){ .count = 3 };
	memory.regions[0].size = memory.regions[2].size = 1;
	memory.regions[1].size = 2 * os_memory_page();
	memory.regions[1].mirrored = true;
	ck_assert_int_eq(os_memory_map(&memory, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert_int_eq(memory.backend, backend);
	return true;
}

/* How a child ends that does this; 0 when it lives. */
static int ends_with(void (*act)(const volatile uint8_t *), const uint8_t *at)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		act(at);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void load(const volatile uint8_t *at)
{
	(void)*at;
}

START_TEST(what_is_written_is_seen_in_the_mirror_and_nowhere_else)
{
	const struct os_region *region = &memory.regions[1];

	if (!map_on((enum os_memory_backend)_i))
		return;
	ck_assert_ptr_null(memory.regions[0].mirror);
	ck_assert_ptr_nonnull(region->mirror);
	ck_assert(all_are(region->mirror, region->size, 0));
	memset(region->data, 0x5a, region->size);
	ck_assert(all_are(region->mirror, region->size, 0x5a));
	ck_assert(all_are(memory.regions[0].data, memory.regions[0].size, 0));
	ck_assert(all_are(memory.regions[2].data, memory.regions[2].size, 0));
	os_memory_unmap(&memory);
	ck_assert_ptr_null(region->mirror);
}
END_TEST

START_TEST(a_store_to_the_mirror_kills)
{
	if (!map_on((enum os_memory_backend)_i))
		raise(SIGSEGV);
	*(volatile uint8_t *)(uintptr_t)memory.regions[1].mirror = 1;
}
END_TEST

/* One test a backend and end. */
START_TEST(the_mirror_lies_between_holes)
{
	const struct os_region *region = &memory.regions[1];

	if (!map_on((enum os_memory_backend)(_i / 2)))
		raise(SIGSEGV);
	load(region->mirror);
	load(region->mirror + region->size - 1);
	load(_i % 2 ? region->mirror - 1 : region->mirror + region->size);
}
END_TEST

START_TEST(both_views_count_are_hidden_and_unread)
{
	size_t before = status_kb("VmLck:");
	size_t pages = 6 * os_memory_page();
	uint8_t byte = 0;
	char line[256];

	if (!map_on((enum os_memory_backend)_i))
		return;
	ck_assert_uint_eq(memory.locked, _i == OS_MEMORY_PLAIN ? 0 : pages);
	ck_assert_uint_eq(status_kb("VmLck:") - before, memory.locked / 1024);
	smaps_line(memory.regions[1].mirror, "VmFlags:", line, sizeof(line));
	ck_assert_msg(strstr(line, " dd ") != NULL, "dumped: %s", line);
	ck_assert_msg(strstr(line, " dc ") != NULL, "inherited: %s", line);
	memory.regions[1].data[0] = 0x5a;
	ck_assert_int_eq(read_from_outside(memory.regions[1].mirror, &byte),
		_i == OS_MEMORY_SECRET ? EIO : 0);
	ck_assert_uint_eq(byte, _i == OS_MEMORY_SECRET ? 0 : 0x5a);
	ck_assert_int_eq(ends_with(load, memory.regions[1].mirror), SIGSEGV);
	ck_assert_int_eq(ends_with(load, (const uint8_t *)line), 0);
	os_memory_unmap(&memory);
	ck_assert_uint_eq(status_kb("VmLck:"), before);
}
END_TEST

START_TEST(no_descriptor_stays_open)
{
	static char before[4096], after[4096];

	list_descriptors(before, sizeof(before));
	if (!map_on((enum os_memory_backend)_i))
		return;
	list_descriptors(after, sizeof(after));
	ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(where_nothing_can_be_mapped_twice_it_is_said)
{
	deny(SYS_memfd_secret, ENOSYS);
	deny(SYS_memfd_create, ENOSYS);
	memory = (struct os_memory){ .count = 1 };
	memory.regions[0].size = 1;
	memory.regions[0].mirrored = true;
	ck_assert_int_eq(os_memory_map(&memory, OS_MEMORY_PREFER_LOCK), -ENOSYS);
	ck_assert_ptr_null(memory.reservation);
	memory.regions[0].mirrored = false;
	ck_assert_int_eq(os_memory_map(&memory, OS_MEMORY_PREFER_LOCK), 0);
	os_memory_unmap(&memory);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("mirror");

	tcase_add_loop_test(
		claims, what_is_written_is_seen_in_the_mirror_and_nowhere_else, 0, BACKENDS);
	tcase_add_loop_test_raise_signal(claims, a_store_to_the_mirror_kills, SIGSEGV, 0, BACKENDS);
	tcase_add_loop_test_raise_signal(
		claims, the_mirror_lies_between_holes, SIGSEGV, 0, 2 * BACKENDS);
	tcase_add_loop_test(claims, both_views_count_are_hidden_and_unread, 0, BACKENDS);
	tcase_add_loop_test(claims, no_descriptor_stays_open, 0, BACKENDS);
	tcase_add_test(claims, where_nothing_can_be_mapped_twice_it_is_said);
	return claims_run(claims, "os_memory, mirrored");
}
