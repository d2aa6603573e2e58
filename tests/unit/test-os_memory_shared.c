/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/backends.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"

/* Pages that one process maps with an open descriptor, and another one by it. */

#define FILL 0x5a

static void want(struct os_memory *memory)
{
	*memory = (struct os_memory){ .count = 2 };
	memory->regions[0].size = 1;
	memory->regions[1].size = 2 * os_memory_page();
}

static int map_open(struct os_memory *memory, enum os_memory_backend backend)
{
	int fd = -1;

	want(memory);
	ck_assert_int_eq(os_memory_map_open(memory, OS_MEMORY_PREFER_LOCK, &fd), 0);
	ck_assert_int_eq(memory->backend, backend);
	ck_assert_int_ge(fd, 0);
	return fd;
}

START_TEST(both_have_the_very_same_pages)
{
	struct os_memory first, second;
	int fd;

	if (!force((enum os_memory_backend)_i))
		return;
	fd = map_open(&first, (enum os_memory_backend)_i);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	for (size_t i = 0; i < first.count; i++) {
		ck_assert(all_are(first.regions[i].data, first.regions[i].size, 0));
		memset(first.regions[i].data, FILL, first.regions[i].size);
	}
	want(&second);
	ck_assert_int_eq(os_memory_open(&second, OS_MEMORY_PREFER_LOCK, fd), 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	ck_assert_int_eq(second.backend, first.backend);
	ck_assert_uint_eq(second.locked, first.locked);
	for (size_t i = 0; i < first.count; i++)
		ck_assert(all_are(second.regions[i].data, second.regions[i].size, FILL));
	/* The first one goes, unwiped; and then the second one wipes. */
	os_memory_release(&first);
	ck_assert(all_are(second.regions[1].data, second.regions[1].size, FILL));
	os_memory_unmap(&second);
}
END_TEST

START_TEST(unmapping_one_wipes_the_other)
{
	struct os_memory first, second;

	if (!force((enum os_memory_backend)_i))
		return;
	want(&second);
	ck_assert_int_eq(os_memory_open(&second, OS_MEMORY_PREFER_LOCK,
				 map_open(&first, (enum os_memory_backend)_i)),
		0);
	memset(first.regions[1].data, FILL, first.regions[1].size);
	os_memory_unmap(&first);
	ck_assert(all_are(second.regions[1].data, second.regions[1].size, 0));
	os_memory_unmap(&second);
}
END_TEST

START_TEST(a_copy_has_the_bytes_and_nothing_of_the_other)
{
	struct os_memory first, second;
	int fd;

	if (!force((enum os_memory_backend)_i))
		return;
	fd = map_open(&first, (enum os_memory_backend)_i);
	close(fd);
	want(&second);
	ck_assert_int_eq(os_memory_map(&second, OS_MEMORY_PREFER_LOCK), 0);
	memset(first.regions[0].data, FILL, first.regions[0].size);
	first.regions[1].data[first.regions[1].size - 1] = FILL;
	os_memory_copy(&second, &first);
	os_memory_unmap(&first);
	ck_assert(all_are(second.regions[0].data, second.regions[0].size, FILL));
	ck_assert_uint_eq(second.regions[1].data[second.regions[1].size - 1], FILL);
	ck_assert(all_are(second.regions[1].data, second.regions[1].size - 1, 0));
	os_memory_unmap(&second);
}
END_TEST

/* Another size; a file that could shrink under us; something else altogether. */
START_TEST(what_is_not_of_that_making_is_refused_and_closed)
{
	struct os_memory memory;
	int fds[] = { map_open(&memory, can_be_secret() ? OS_MEMORY_SECRET : OS_MEMORY_LOCKED),
		memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING),
		open("/dev/zero", O_RDWR | O_CLOEXEC), -1 };

	os_memory_release(&memory);
	ck_assert_int_eq(ftruncate(fds[1], (off_t)(3 * os_memory_page())), 0);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		want(&memory);
		if (i == 0)
			memory.regions[1].size += os_memory_page();
		ck_assert_int_eq(os_memory_open(&memory, OS_MEMORY_PREFER_LOCK, fds[i]), -EBADMSG);
		ck_assert_ptr_null(memory.reservation);
		ck_assert_int_eq(fcntl(fds[i], F_GETFD), -1);
	}
}
END_TEST

START_TEST(what_is_weaker_than_asked_for_is_refused)
{
	struct os_memory first, second;
	enum os_memory_need need =
		_i == OS_MEMORY_PLAIN ? OS_MEMORY_REQUIRE_LOCK : OS_MEMORY_REQUIRE_SECRET;

	if (!force((enum os_memory_backend)_i))
		return;
	want(&second);
	ck_assert_int_eq(
		os_memory_open(&second, need, map_open(&first, (enum os_memory_backend)_i)),
		-EPERM);
	ck_assert_ptr_null(second.reservation);
	os_memory_unmap(&first);
}
END_TEST

/* It cannot be made shorter or longer by whoever has the descriptor. */
START_TEST(its_size_stays)
{
	struct os_memory memory;
	struct stat status;
	int fd;

	if (!force((enum os_memory_backend)_i))
		return;
	fd = map_open(&memory, (enum os_memory_backend)_i);
	ck_assert_int_eq(fstat(fd, &status), 0);
	ck_assert_int_lt(ftruncate(fd, 0), 0);
	ck_assert_int_lt(ftruncate(fd, status.st_size + 4096), 0);
	close(fd);
	os_memory_unmap(&memory);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("shared");

	tcase_add_loop_test(claims, both_have_the_very_same_pages, 0, BACKENDS);
	tcase_add_loop_test(claims, unmapping_one_wipes_the_other, 0, BACKENDS);
	tcase_add_loop_test(claims, a_copy_has_the_bytes_and_nothing_of_the_other, 0, BACKENDS);
	tcase_add_test(claims, what_is_not_of_that_making_is_refused_and_closed);
	tcase_add_loop_test(claims, what_is_weaker_than_asked_for_is_refused, 0, OS_MEMORY_SECRET);
	tcase_add_loop_test(claims, its_size_stays, 0, BACKENDS);
	return claims_run(claims, "pages of two processes");
}
