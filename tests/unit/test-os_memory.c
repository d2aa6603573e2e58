/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/os_memory.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/backends.h"
#include "tests/unit/process.h"
#include "tests/unit/world.h"

#define REGIONS 3
#define FILL 0x5a

/* Deaths are expected here: the sanitizer must let the signal through. */
const char *__asan_default_options(void);
__attribute__((visibility("default"), used)) const char *__asan_default_options(void)
{
	/* The search for leaks needs the calls that tests take away. */
	return "handle_segv=0:handle_sigbus=0:handle_abort=0:detect_leaks=0";
}

/* -- the world as the test wants it -------------------------------------------------------- */

/* Puts the process under a limit that root, too, must keep. */
static void limit_locked(rlim_t bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	ck_assert_int_eq(syscall(SYS_capget, &header, data), 0);
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	data[0].permitted &= ~(1U << CAP_IPC_LOCK);
	ck_assert_int_eq(syscall(SYS_capset, &header, data), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
}

/* Maps regions of one page, three pages less a byte, and one byte, on exactly this backend. */
static void map_on(struct os_memory *memory, enum os_memory_backend backend)
{
	size_t page = os_memory_page();

	*memory = (struct os_memory){ .count = REGIONS };
	memory->regions[0].size = page;
	memory->regions[1].size = 3 * page - 1;
	memory->regions[2].size = 1;
	ck_assert_int_eq(os_memory_map(memory, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert_int_eq(memory->backend, backend);
}

/* Tests of death go on dying where a backend is missing, so that the expected signal comes. */
static void map_or_die_as_expected(struct os_memory *memory, enum os_memory_backend backend)
{
	if (!force(backend)) {
		raise(SIGSEGV);
		_exit(1);
	}
	map_on(memory, backend);
}

/* -- mapping ------------------------------------------------------------------------------- */

START_TEST(every_region_is_whole_pages_of_zeros_that_can_be_written)
{
	struct os_memory memory;

	if (!force((enum os_memory_backend)_i))
		return;
	map_on(&memory, (enum os_memory_backend)_i);
	ck_assert_uint_eq(memory.regions[1].size, 3 * os_memory_page());
	ck_assert_uint_eq(memory.regions[2].size, os_memory_page());
	for (size_t i = 0; i < memory.count; i++) {
		struct os_region *region = &memory.regions[i];

		ck_assert_uint_eq((uintptr_t)region->data % os_memory_page(), 0);
		ck_assert(all_are(region->data, region->size, 0));
		memset(region->data, (int)(FILL + i), region->size);
	}
	for (size_t i = 0; i < memory.count; i++)
		ck_assert(all_are(
			memory.regions[i].data, memory.regions[i].size, (uint8_t)(FILL + i)));
	os_memory_unmap(&memory);
}
END_TEST

/* One test a backend, region, end and direction. */
START_TEST(touching_a_guard_page_kills)
{
	struct os_memory memory;
	size_t region = (size_t)(_i / BACKENDS) % REGIONS;
	bool behind = _i / BACKENDS / REGIONS % 2;
	bool write = _i / BACKENDS / REGIONS / 2;
	volatile uint8_t *edge;

	map_or_die_as_expected(&memory, (enum os_memory_backend)(_i % BACKENDS));
	edge = memory.regions[region].data + (behind ? memory.regions[region].size - 1 : 0);
	*edge = FILL;
	if (*edge != FILL)
		_exit(1);
	edge += behind ? 1 : -1;
	if (write)
		*edge = FILL;
	else
		(void)*edge;
	_exit(1);
}
END_TEST

START_TEST(the_far_end_of_a_guard_page_kills_too)
{
	struct os_memory memory;
	volatile uint8_t *edge;

	map_or_die_as_expected(&memory, (enum os_memory_backend)_i);
	edge = memory.regions[0].data - os_memory_page();
	(void)*edge;
	_exit(1);
}
END_TEST

START_TEST(locked_counts_what_the_kernel_counts)
{
	struct os_memory memory;
	size_t before = status_kb("VmLck:");
	size_t pages = 5 * os_memory_page();

	if (!force((enum os_memory_backend)_i))
		return;
	map_on(&memory, (enum os_memory_backend)_i);
	ck_assert_uint_eq(memory.locked, _i == OS_MEMORY_PLAIN ? 0 : pages);
	ck_assert_uint_eq(status_kb("VmLck:") - before, memory.locked / 1024);
	os_memory_unmap(&memory);
	ck_assert_uint_eq(memory.locked, 0);
	ck_assert_uint_eq(status_kb("VmLck:"), before);
}
END_TEST

START_TEST(locked_pages_are_there_from_the_start)
{
	struct os_memory memory;
	char line[256];

	if (!force((enum os_memory_backend)_i))
		return;
	map_on(&memory, (enum os_memory_backend)_i);
	smaps_line(memory.regions[1].data, "Rss:", line, sizeof(line));
	ck_assert_uint_eq(strtoul(line + 4, NULL, 10), memory.regions[1].size / 1024);
}
END_TEST

START_TEST(no_region_goes_into_a_core_file_or_a_child)
{
	struct os_memory memory;
	char line[256];

	if (!force((enum os_memory_backend)_i))
		return;
	map_on(&memory, (enum os_memory_backend)_i);
	for (size_t i = 0; i < memory.count; i++) {
		smaps_line(memory.regions[i].data, "VmFlags:", line, sizeof(line));
		ck_assert_msg(strstr(line, " dd ") != NULL, "dumped: %s", line);
		ck_assert_msg(strstr(line, " dc ") != NULL, "inherited: %s", line);
		if (_i != OS_MEMORY_SECRET)
			ck_assert_msg(strstr(line, " wf ") != NULL, "not wiped: %s", line);
	}
}
END_TEST

START_TEST(no_descriptor_stays_open)
{
	static char before[4096], after[4096];
	struct os_memory memory;

	if (!force((enum os_memory_backend)_i))
		return;
	list_descriptors(before, sizeof(before));
	map_on(&memory, (enum os_memory_backend)_i);
	list_descriptors(after, sizeof(after));
	ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(root_reads_eio_from_secret_pages_and_bytes_from_others)
{
	struct os_memory memory;
	static const uint8_t ordinary = 1;
	uint8_t byte = 0;

	if (!force((enum os_memory_backend)_i))
		return;
	map_on(&memory, (enum os_memory_backend)_i);
	ck_assert_int_eq(read_from_outside(&ordinary, &byte), 0);
	ck_assert_uint_eq(byte, 1);
	for (size_t i = 0; i < memory.count; i++) {
		memory.regions[i].data[0] = FILL;
		byte = 0;
		ck_assert_int_eq(read_from_outside(memory.regions[i].data, &byte),
			_i == OS_MEMORY_SECRET ? EIO : 0);
		ck_assert_uint_eq(byte, _i == OS_MEMORY_SECRET ? 0 : FILL);
	}
}
END_TEST

/* The child ends with SIGSEGV at the region, and with 0 at an ordinary byte. */
static int child_reads(const volatile uint8_t *address)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)*address;
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

START_TEST(the_child_of_a_fork_cannot_read_the_pages)
{
	struct os_memory memory;
	uint8_t ordinary = FILL;

	if (!force((enum os_memory_backend)_i))
		return;
	map_on(&memory, (enum os_memory_backend)_i);
	ck_assert_int_eq(child_reads(&ordinary), 0);
	for (size_t i = 0; i < memory.count; i++)
		ck_assert_int_eq(child_reads(memory.regions[i].data), SIGSEGV);
	memory.regions[0].data[0] = FILL;
	ck_assert_uint_eq(memory.regions[0].data[0], FILL);
}
END_TEST

/* -- the ladder ---------------------------------------------------------------------------- */

static const int refusals[] = { ENOSYS, EPERM, EACCES };

static int map_page(struct os_memory *memory, enum os_memory_need need)
{
	*memory = (struct os_memory){ .count = 1 };
	memory->regions[0].size = 1;
	return os_memory_map(memory, need);
}

START_TEST(secret_memory_is_the_first_choice_and_needs_no_mlock)
{
	struct os_memory memory;

	if (!can_be_secret())
		return;
	deny(SYS_mlock, EPERM);
	ck_assert_int_eq(map_page(&memory, OS_MEMORY_REQUIRE_SECRET), 0);
	ck_assert_int_eq(memory.backend, OS_MEMORY_SECRET);
	ck_assert_int_eq(memory.secret_error, 0);
	ck_assert_int_eq(memory.lock_error, 0);
	ck_assert_str_eq(os_memory_advice(&memory), "");
	ck_assert_str_eq(os_memory_backend_name(memory.backend), "memfd_secret");
}
END_TEST

START_TEST(require_secretmem_fails_with_eperm_and_tells_why)
{
	struct os_memory memory;
	size_t size;

	deny(SYS_memfd_secret, refusals[_i]);
	size = status_kb("VmSize:");
	ck_assert_int_eq(map_page(&memory, OS_MEMORY_REQUIRE_SECRET), -EPERM);
	ck_assert_uint_eq(status_kb("VmSize:"), size);
	ck_assert_int_eq(memory.secret_error, refusals[_i]);
	ck_assert_int_eq(memory.lock_error, 0);
	ck_assert_ptr_null(memory.reservation);
	ck_assert_ptr_null(memory.regions[0].data);
	ck_assert_uint_eq(memory.locked, 0);
	ck_assert_msg(strstr(os_memory_advice(&memory),
			      _i == 0 ? "memfd_secret is missing" : "memfd_secret is refused"),
		"%s", os_memory_advice(&memory));
	os_memory_unmap(&memory);
}
END_TEST

START_TEST(prefer_and_require_lock_fall_to_mlock_and_tell_what_would_mend_it)
{
	struct os_memory memory;

	if (!can_be_locked())
		return;
	deny(SYS_memfd_secret, refusals[_i % 3]);
	ck_assert_int_eq(
		map_page(&memory, _i < 3 ? OS_MEMORY_PREFER_LOCK : OS_MEMORY_REQUIRE_LOCK), 0);
	ck_assert_int_eq(memory.backend, OS_MEMORY_LOCKED);
	ck_assert_int_eq(memory.secret_error, refusals[_i % 3]);
	ck_assert_int_eq(memory.lock_error, 0);
	ck_assert_ptr_nonnull(strstr(os_memory_advice(&memory),
		_i % 3 == 0 ? "secretmem.enable=1" : "system call filter"));
	ck_assert_str_eq(os_memory_backend_name(memory.backend), "mlock");
}
END_TEST

START_TEST(require_lock_fails_with_eperm_where_mlock_is_refused)
{
	struct os_memory memory;
	size_t size;

	deny(SYS_memfd_secret, ENOSYS);
	deny(SYS_mlock, EPERM);
	size = status_kb("VmSize:");
	ck_assert_int_eq(map_page(&memory, OS_MEMORY_REQUIRE_LOCK), -EPERM);
	ck_assert_uint_eq(status_kb("VmSize:"), size);
	ck_assert_int_eq(memory.secret_error, ENOSYS);
	ck_assert_int_eq(memory.lock_error, EPERM);
	ck_assert_ptr_nonnull(strstr(os_memory_advice(&memory), "memory is not locked"));
}
END_TEST

START_TEST(prefer_lock_goes_on_unlocked_and_says_so)
{
	struct os_memory memory;

	if (!can_be_locked())
		return;
	deny(SYS_memfd_secret, ENOSYS);
	deny(SYS_mlock, refusals[_i]);
	ck_assert_int_eq(map_page(&memory, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert_int_eq(memory.backend, OS_MEMORY_PLAIN);
	ck_assert_int_eq(memory.secret_error, ENOSYS);
	ck_assert_int_eq(memory.lock_error, refusals[_i]);
	ck_assert_uint_eq(memory.locked, 0);
	ck_assert_ptr_nonnull(strstr(os_memory_advice(&memory), "memory is not locked"));
	ck_assert_ptr_nonnull(strstr(os_memory_advice(&memory), "system call filter"));
	ck_assert_str_eq(os_memory_backend_name(memory.backend), "not locked");
}
END_TEST

/* The kernel answers EPERM for a limit of 0, as a filter would: the advice must not mix them up. */
START_TEST(a_limit_of_nothing_is_called_a_limit)
{
	struct os_memory memory;

	limit_locked(0);
	deny(SYS_memfd_secret, ENOSYS);
	ck_assert_int_eq(map_page(&memory, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert_int_eq(memory.backend, OS_MEMORY_PLAIN);
	ck_assert_int_eq(memory.lock_error, EPERM);
	ck_assert_ptr_nonnull(strstr(os_memory_advice(&memory), "ulimit -l"));
}
END_TEST

/* Page-sized regions, as many as fit in a set, the last one taking the rest. */
static int map_pages(struct os_memory *memory, size_t pages, enum os_memory_need need)
{
	*memory = (struct os_memory){ .count = 4 };
	for (size_t i = 0; i < 3; i++)
		memory->regions[i].size = os_memory_page();
	memory->regions[3].size = (pages - 3) * os_memory_page();
	return os_memory_map(memory, need);
}

START_TEST(sixteen_pages_fit_under_a_limit_of_sixteen)
{
	struct os_memory memory;

	if (!force((enum os_memory_backend)_i))
		return;
	limit_locked(16 * os_memory_page());
	ck_assert_uint_eq(status_kb("VmLck:"), 0);
	ck_assert_int_eq(map_pages(&memory, 16, OS_MEMORY_REQUIRE_LOCK), 0);
	ck_assert_int_eq(memory.backend, _i);
	ck_assert_uint_eq(status_kb("VmLck:"), 16 * os_memory_page() / 1024);
}
END_TEST

START_TEST(seventeen_pages_do_not_and_fall_back_whole)
{
	struct os_memory memory;

	if (!force((enum os_memory_backend)_i))
		return;
	limit_locked(16 * os_memory_page());
	ck_assert_int_eq(map_pages(&memory, 17, OS_MEMORY_REQUIRE_LOCK), -EPERM);
	ck_assert_int_eq(map_pages(&memory, 17, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert_int_eq(memory.backend, OS_MEMORY_PLAIN);
	ck_assert_int_eq(memory.secret_error, _i == OS_MEMORY_SECRET ? EAGAIN : ENOSYS);
	ck_assert_int_eq(memory.lock_error, ENOMEM);
	ck_assert_uint_eq(memory.locked, 0);
	ck_assert_uint_eq(status_kb("VmLck:"), 0);
	ck_assert_ptr_nonnull(strstr(os_memory_advice(&memory), "ulimit -l"));
	for (size_t i = 0; i < memory.count; i++) {
		ck_assert(all_are(memory.regions[i].data, memory.regions[i].size, 0));
		memset(memory.regions[i].data, FILL, memory.regions[i].size);
	}
}
END_TEST

/* -- bad sizes ----------------------------------------------------------------------------- */

START_TEST(no_regions_too_many_and_empty_ones_are_refused)
{
	struct os_memory memory = { .count = 0 };
	size_t size = status_kb("VmSize:");

	ck_assert_int_eq(os_memory_map(&memory, OS_MEMORY_PREFER_LOCK), -EINVAL);
	memory = (struct os_memory){ .count = OS_MEMORY_REGIONS_MAX + 1 };
	ck_assert_int_eq(os_memory_map(&memory, OS_MEMORY_PREFER_LOCK), -EINVAL);
	memory = (struct os_memory){ .count = 2, .regions = { { .size = 1 }, { .size = 0 } } };
	ck_assert_int_eq(os_memory_map(&memory, OS_MEMORY_PREFER_LOCK), -EINVAL);
	ck_assert_uint_eq(status_kb("VmSize:"), size);
	memory = (struct os_memory){ .count = OS_MEMORY_REGIONS_MAX };
	for (size_t i = 0; i < memory.count; i++)
		memory.regions[i].size = 1;
	ck_assert_int_eq(os_memory_map(&memory, OS_MEMORY_PREFER_LOCK), 0);
	os_memory_unmap(&memory);
}
END_TEST

/* Sums that wrap to something small must not become a small reservation with large regions. */
static const struct {
	size_t first, second;
	int result;
} hostile[] = {
	{ SIZE_MAX, 1, -EINVAL },
	{ 1, SIZE_MAX, -EINVAL },
	{ SIZE_MAX - 4096, 1, -EINVAL },
	{ SIZE_MAX - 8191, 1, -EINVAL },
	{ 65536, SIZE_MAX - 65535 + 4096, -EINVAL },
	{ 65536, SIZE_MAX - 8191, -EINVAL },
	{ SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 1, -EINVAL },
	{ SIZE_MAX / 2 + 1, 4096, -EINVAL },
	{ SIZE_MAX / 2, 4096, -EINVAL },
	{ SIZE_MAX / 4 + 1, SIZE_MAX / 4 + 1, -EINVAL },
	{ SIZE_MAX / 4 + 1, SIZE_MAX / 4 - 4095, -ENOMEM },
	{ SIZE_MAX / 8, 4096, -ENOMEM },
};

START_TEST(sizes_that_overflow_are_refused)
{
	struct os_memory memory = { .count = 2 };
	size_t size = status_kb("VmSize:");

	for (int need = OS_MEMORY_PREFER_LOCK; need <= OS_MEMORY_REQUIRE_SECRET; need++) {
		memory.regions[0].size = hostile[_i].first;
		memory.regions[1].size = hostile[_i].second;
		ck_assert_int_eq(
			os_memory_map(&memory, (enum os_memory_need)need), hostile[_i].result);
		ck_assert_ptr_null(memory.reservation);
	}
	ck_assert_uint_eq(status_kb("VmSize:"), size);
}
END_TEST

/* -- protecting, wiping, sealing ----------------------------------------------------------- */

START_TEST(a_protected_region_keeps_its_bytes)
{
	struct os_memory memory;
	uint8_t *data;

	if (!force((enum os_memory_backend)_i))
		return;
	map_on(&memory, (enum os_memory_backend)_i);
	data = memory.regions[1].data;
	memset(data, FILL, memory.regions[1].size);
	ck_assert_int_eq(os_memory_protect(&memory, 1, OS_MEMORY_READ), 0);
	ck_assert(all_are(data, memory.regions[1].size, FILL));
	ck_assert_int_eq(os_memory_protect(&memory, 1, OS_MEMORY_NONE), 0);
	memory.regions[0].data[0] = FILL;
	ck_assert_int_eq(os_memory_protect(&memory, 1, OS_MEMORY_WRITE), 0);
	ck_assert(all_are(data, memory.regions[1].size, FILL));
	data[0] = 0;
	ck_assert_int_eq(os_memory_protect(&memory, REGIONS, OS_MEMORY_READ), -EINVAL);
	os_memory_unmap(&memory);
	ck_assert_int_eq(os_memory_protect(&memory, 1, OS_MEMORY_READ), -EINVAL);
}
END_TEST

START_TEST(a_store_to_a_read_only_region_kills)
{
	struct os_memory memory;
	volatile uint8_t *data;

	map_or_die_as_expected(&memory, (enum os_memory_backend)_i);
	data = memory.regions[1].data;
	*data = FILL;
	if (os_memory_protect(&memory, 1, OS_MEMORY_READ) != 0 || *data != FILL)
		_exit(1);
	*data = 0;
	_exit(1);
}
END_TEST

START_TEST(a_load_from_a_closed_region_kills)
{
	struct os_memory memory;
	volatile uint8_t *data;

	map_or_die_as_expected(&memory, (enum os_memory_backend)_i);
	data = memory.regions[1].data;
	*data = FILL;
	if (os_memory_protect(&memory, 1, OS_MEMORY_NONE) != 0)
		_exit(1);
	(void)*data;
	_exit(1);
}
END_TEST

/* With munmap refused, what unmap leaves can be looked at. Never returns: 0 is what it should be.
 */
static _Noreturn void unmap_without_munmap(struct os_memory *memory)
{
	struct os_memory copy = *memory;
	int failed = !all_are(copy.regions[1].data, copy.regions[1].size, FILL);

	deny(SYS_munmap, EPERM);
	os_memory_unmap(memory);
	for (size_t i = 0; i < copy.count; i++)
		failed |= !all_are(copy.regions[i].data, copy.regions[i].size, 0);
	_exit(failed);
}

/* In a child that ends at once: whatever else runs at an exit may need munmap. */
START_TEST(unmapping_wipes_also_what_was_read_only_or_closed)
{
	struct os_memory memory;
	pid_t child = fork();
	int status;

	if (child == 0) {
		if (!force((enum os_memory_backend)_i))
			_exit(0);
		map_on(&memory, (enum os_memory_backend)_i);
		for (size_t i = 0; i < memory.count; i++)
			memset(memory.regions[i].data, FILL, memory.regions[i].size);
		os_memory_protect(&memory, 1, OS_MEMORY_READ);
		os_memory_protect(&memory, 2, OS_MEMORY_NONE);
		unmap_without_munmap(&memory);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

START_TEST(an_unmapped_region_is_gone)
{
	struct os_memory memory;
	volatile uint8_t *data;

	map_or_die_as_expected(&memory, (enum os_memory_backend)_i);
	data = memory.regions[0].data;
	*data = FILL;
	os_memory_unmap(&memory);
	if (memory.reservation || memory.regions[0].data)
		_exit(1);
	(void)*data;
	_exit(1);
}
END_TEST

START_TEST(an_empty_set_and_an_unmapped_one_can_be_unmapped_and_mapped_again)
{
	struct os_memory memory = { 0 };
	size_t size;

	os_memory_unmap(&memory);
	map_on(&memory, map_page(&memory, OS_MEMORY_PREFER_LOCK) == 0 ? memory.backend : 0);
	os_memory_unmap(&memory);
	os_memory_unmap(&memory);
	size = status_kb("VmSize:");
	ck_assert_int_eq(os_memory_map(&memory, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert(all_are(memory.regions[1].data, memory.regions[1].size, 0));
	os_memory_unmap(&memory);
	ck_assert_uint_eq(status_kb("VmSize:"), size);
}
END_TEST

/* Seals, or skips where the kernel has no mseal. */
static bool seal(struct os_memory *memory)
{
	int r = os_memory_seal(memory);

	if (r == 0)
		return true;
	ck_assert(!memory->sealed);
	printf("skipped: mseal: %s\n", strerror(-r));
	return false;
}

START_TEST(a_sealed_set_cannot_be_unmapped_protected_or_mapped_over)
{
	struct os_memory memory;
	uint8_t *data;
	size_t page = os_memory_page();

	if (!force((enum os_memory_backend)_i))
		return;
	map_on(&memory, (enum os_memory_backend)_i);
	if (!seal(&memory))
		return;
	ck_assert(memory.sealed);
	data = memory.regions[0].data;
	ck_assert_int_eq(munmap(data, page), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(munmap(data - page, page), -1);
	ck_assert_int_eq(os_memory_protect(&memory, 0, OS_MEMORY_READ), -EPERM);
	ck_assert_ptr_eq(mmap(data, page, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
		MAP_FAILED);
	memset(data, FILL, page);
	ck_assert(all_are(data, page, FILL));
}
END_TEST

/* The control of the test above: unsealed, the same calls go through. */
START_TEST(an_unsealed_set_can_be_protected_and_unmapped)
{
	struct os_memory memory;

	if (!force((enum os_memory_backend)_i))
		return;
	map_on(&memory, (enum os_memory_backend)_i);
	ck_assert_int_eq(os_memory_protect(&memory, 0, OS_MEMORY_READ), 0);
	ck_assert_int_eq(munmap(memory.regions[0].data, os_memory_page()), 0);
}
END_TEST

START_TEST(unmapping_a_sealed_set_wipes_what_can_be_written_and_lives)
{
	struct os_memory memory;
	struct os_memory copy;

	if (!force((enum os_memory_backend)_i))
		return;
	map_on(&memory, (enum os_memory_backend)_i);
	for (size_t i = 0; i < memory.count; i++)
		memset(memory.regions[i].data, FILL, memory.regions[i].size);
	ck_assert_int_eq(os_memory_protect(&memory, 1, OS_MEMORY_READ), 0);
	ck_assert_int_eq(os_memory_protect(&memory, 2, OS_MEMORY_NONE), 0);
	if (!seal(&memory))
		return;
	copy = memory;
	os_memory_unmap(&memory);
	ck_assert(all_are(copy.regions[0].data, copy.regions[0].size, 0));
	ck_assert(all_are(copy.regions[1].data, copy.regions[1].size, FILL));
	ck_assert_ptr_null(memory.reservation);
}
END_TEST

START_TEST(without_mseal_nothing_is_lost)
{
	struct os_memory memory = { 0 };

	ck_assert_int_eq(os_memory_seal(&memory), -EINVAL);
	deny(SYS_mseal, ENOSYS);
	ck_assert_int_eq(map_page(&memory, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert_int_eq(os_memory_seal(&memory), -ENOSYS);
	ck_assert(!memory.sealed);
	memory.regions[0].data[0] = FILL;
	ck_assert_int_eq(os_memory_protect(&memory, 0, OS_MEMORY_READ), 0);
	os_memory_unmap(&memory);
}
END_TEST

/* -- all together -------------------------------------------------------------------------- */

static TCase *mapping_case(void)
{
	TCase *tc = tcase_create("mapping");

	tcase_add_loop_test(
		tc, every_region_is_whole_pages_of_zeros_that_can_be_written, 0, BACKENDS);
	tcase_add_loop_test_raise_signal(
		tc, touching_a_guard_page_kills, SIGSEGV, 0, BACKENDS * REGIONS * 4);
	tcase_add_loop_test_raise_signal(
		tc, the_far_end_of_a_guard_page_kills_too, SIGSEGV, 0, BACKENDS);
	tcase_add_loop_test(tc, locked_counts_what_the_kernel_counts, 0, BACKENDS);
	tcase_add_loop_test(tc, locked_pages_are_there_from_the_start, OS_MEMORY_LOCKED, BACKENDS);
	tcase_add_loop_test(tc, no_region_goes_into_a_core_file_or_a_child, 0, BACKENDS);
	tcase_add_loop_test(tc, no_descriptor_stays_open, 0, BACKENDS);
	tcase_add_loop_test(
		tc, root_reads_eio_from_secret_pages_and_bytes_from_others, 0, BACKENDS);
	tcase_add_loop_test(tc, the_child_of_a_fork_cannot_read_the_pages, 0, BACKENDS);
	return tc;
}

static TCase *ladder_case(void)
{
	TCase *tc = tcase_create("ladder");

	tcase_add_test(tc, secret_memory_is_the_first_choice_and_needs_no_mlock);
	tcase_add_loop_test(tc, require_secretmem_fails_with_eperm_and_tells_why, 0, 3);
	tcase_add_loop_test(
		tc, prefer_and_require_lock_fall_to_mlock_and_tell_what_would_mend_it, 0, 6);
	tcase_add_test(tc, require_lock_fails_with_eperm_where_mlock_is_refused);
	tcase_add_loop_test(tc, prefer_lock_goes_on_unlocked_and_says_so, 0, 3);
	tcase_add_test(tc, a_limit_of_nothing_is_called_a_limit);
	tcase_add_loop_test(
		tc, sixteen_pages_fit_under_a_limit_of_sixteen, OS_MEMORY_LOCKED, BACKENDS);
	tcase_add_loop_test(
		tc, seventeen_pages_do_not_and_fall_back_whole, OS_MEMORY_LOCKED, BACKENDS);
	tcase_add_test(tc, no_regions_too_many_and_empty_ones_are_refused);
	tcase_add_loop_test(tc, sizes_that_overflow_are_refused, 0,
		(int)(sizeof(hostile) / sizeof(hostile[0])));
	return tc;
}

static TCase *protection_case(void)
{
	TCase *tc = tcase_create("protection");

	tcase_add_loop_test(tc, a_protected_region_keeps_its_bytes, 0, BACKENDS);
	tcase_add_loop_test_raise_signal(
		tc, a_store_to_a_read_only_region_kills, SIGSEGV, 0, BACKENDS);
	tcase_add_loop_test_raise_signal(
		tc, a_load_from_a_closed_region_kills, SIGSEGV, 0, BACKENDS);
	tcase_add_loop_test(tc, unmapping_wipes_also_what_was_read_only_or_closed, 0, BACKENDS);
	tcase_add_loop_test_raise_signal(tc, an_unmapped_region_is_gone, SIGSEGV, 0, BACKENDS);
	tcase_add_test(tc, an_empty_set_and_an_unmapped_one_can_be_unmapped_and_mapped_again);
	tcase_add_loop_test(
		tc, a_sealed_set_cannot_be_unmapped_protected_or_mapped_over, 0, BACKENDS);
	tcase_add_loop_test(tc, an_unsealed_set_can_be_protected_and_unmapped, 0, BACKENDS);
	tcase_add_loop_test(
		tc, unmapping_a_sealed_set_wipes_what_can_be_written_and_lives, 0, BACKENDS);
	tcase_add_test(tc, without_mseal_nothing_is_lost);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("os_memory");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, mapping_case());
	suite_add_tcase(suite, ladder_case());
	suite_add_tcase(suite, protection_case());
	runner = srunner_create(suite);
	/* Tests change limits and system calls for good: each needs a process of its own. */
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
