/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/os_memory.h"

#include <errno.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/memory/os_memory_platform.h"

size_t os_memory_page(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* `size` in whole pages; 0 when that is 0 or does not fit. */
static size_t round_up(size_t size)
{
	size_t page = os_memory_page();

	return size > SIZE_MAX - page ? 0 : (size + page - 1) / page * page;
}

/*
 * Bytes of all regions together, 0 when a size is bad or the sum leaves no address space: a sum
 * that wrapped would make a reservation that the regions run out of.
 */
static size_t total_size(struct os_memory *memory)
{
	size_t total = 0;

	for (size_t i = 0; i < memory->count; i++) {
		size_t size = round_up(memory->regions[i].size);
		size_t mapped = memory->regions[i].mirrored ? 2 : 1;

		if (size == 0 || size > SIZE_MAX / 2 / mapped ||
			total > SIZE_MAX / 2 - mapped * size)
			return 0;
		memory->regions[i].size = size;
		total += mapped * size;
	}
	return total;
}

/* Bytes of the pages themselves, however often they are mapped. */
static size_t file_size(const struct os_memory *memory)
{
	size_t size = 0;

	for (size_t i = 0; i < memory->count; i++)
		size += memory->regions[i].size;
	return size;
}

static size_t count_mirrors(const struct os_memory *memory)
{
	size_t count = 0;

	for (size_t i = 0; i < memory->count; i++)
		count += memory->regions[i].mirrored;
	return count;
}

/*
 * Address space for everything, with a hole before each region and behind the last: a hole takes
 * no memory and counts against no limit, and whoever runs into it gets SIGSEGV.
 */
static int reserve(struct os_memory *memory, size_t total)
{
	size_t holes = memory->count + count_mirrors(memory) + 1;
	size_t size = total + holes * os_memory_page();
	uint8_t *base;

	base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -ENOMEM;
	memory->reservation = base;
	memory->reserved = size;
	for (size_t i = 0; i < memory->count; i++) {
		struct os_region *region = &memory->regions[i];

		region->data = base + os_memory_page();
		base = region->data + region->size;
		if (!region->mirrored)
			continue;
		region->mirror = base + os_memory_page();
		base += os_memory_page() + region->size;
	}
	return 0;
}

/* Puts holes back over everything, so that the next backend starts afresh. */
static int clear(struct os_memory *memory)
{
	void *base = mmap(memory->reservation, memory->reserved, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	return base == MAP_FAILED ? -ENOMEM : 0;
}

static void hide(void *address, const struct os_region *region, bool shared)
{
	os_platform_hide(address, region->size);
	if (!region->inherited)
		os_platform_keep_from_children(address, region->size, shared);
}

/* A region, or the mirror of one, at its place in a file. */
static int map_part(
	const struct os_region *region, const uint8_t *at, int protection, int fd, off_t offset)
{
	void *address = (void *)(uintptr_t)at;

	if (mmap(address, region->size, protection, MAP_SHARED | MAP_FIXED, fd, offset) ==
		MAP_FAILED)
		return -errno;
	hide(address, region, true);
	return 0;
}

static int map_parts(const struct os_memory *memory, int fd)
{
	off_t offset = 0;
	int r = 0;

	for (size_t i = 0; i < memory->count && r == 0; i++) {
		const struct os_region *region = &memory->regions[i];

		r = map_part(region, region->data, PROT_READ | PROT_WRITE, fd, offset);
		if (r == 0 && region->mirrored)
			r = map_part(region, region->mirror, PROT_READ, fd, offset);
		offset += (off_t)region->size;
	}
	return r;
}

/*
 * Pages of a file without a name. The descriptor is closed before anything is written, because root
 * takes an open one with pidfd_getfd and maps it; unless it is wanted (`fdp`).
 */
static int map_file(const struct os_memory *memory, int fd, int *fdp)
{
	int r;

	if (fd < 0)
		return fd;
	r = map_parts(memory, fd);
	if (fdp && r == 0)
		*fdp = fd;
	else
		close(fd);
	return r;
}

/*
 * memfd_secret pages. No mlock: these pages are locked by nature, and mlock fails. Nor does
 * MAP_POPULATE reach them, so the caller touches them.
 */
static int map_secret(struct os_memory *memory, int *fdp)
{
	return map_file(memory, os_platform_secret(file_size(memory)), fdp);
}

static int lock_file(const struct os_memory *memory)
{
	int r = 0;

	for (size_t i = 0; i < memory->count && r == 0; i++) {
		const struct os_region *region = &memory->regions[i];

		r = os_platform_lock(region->data, region->size);
		if (r == 0 && region->mirrored)
			r = os_platform_lock((void *)(uintptr_t)region->mirror, region->size);
	}
	return r;
}

static int map_anonymous(struct os_memory *memory, bool lock)
{
	int r = 0;

	for (size_t i = 0; i < memory->count && r == 0; i++) {
		struct os_region *region = &memory->regions[i];
		/* A copy of a key in a child would outlive the key. */
		int sharing = region->inherited ? MAP_SHARED : MAP_PRIVATE;

		if (mmap(region->data, region->size, PROT_READ | PROT_WRITE,
			    sharing | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			return -errno;
		hide(region->data, region, region->inherited);
		if (lock)
			r = os_platform_lock(region->data, region->size);
	}
	return r;
}

/* Pages that are mapped twice belong to a file; what is mapped once has no need of one. */
static bool needs_file(const struct os_memory *memory, const int *fdp)
{
	return fdp || count_mirrors(memory) > 0;
}

static int map_ordinary(struct os_memory *memory, bool lock, int *fdp)
{
	int r;

	if (!needs_file(memory, fdp))
		return map_anonymous(memory, lock);
	r = map_file(memory, os_platform_shared(file_size(memory)), fdp);
	if (r == 0 && lock)
		r = lock_file(memory);
	if (r < 0 && fdp && *fdp >= 0) {
		close(*fdp);
		*fdp = -1;
	}
	return r;
}

/* Every page is taken at once: a lack of memory shows at start and not under a request. */
static void touch(struct os_memory *memory)
{
	for (size_t i = 0; i < memory->count; i++)
		sodium_memzero(memory->regions[i].data, memory->regions[i].size);
}

/* Tries the backends from the strongest down to the weakest that `need` allows. */
static int map_best(struct os_memory *memory, enum os_memory_need need, int *fdp)
{
	memory->secret_error = -map_secret(memory, fdp);
	if (memory->secret_error == 0) {
		memory->backend = OS_MEMORY_SECRET;
		touch(memory);
		return 0;
	}
	if (need == OS_MEMORY_REQUIRE_SECRET)
		return -EPERM;
	if (clear(memory) < 0)
		return -ENOMEM;
	memory->lock_error = -map_ordinary(memory, true, fdp);
	if (memory->lock_error == 0) {
		memory->backend = OS_MEMORY_LOCKED;
		return 0;
	}
	if (memory->lock_error == ENOSYS && needs_file(memory, fdp))
		return -ENOSYS;
	if (need == OS_MEMORY_REQUIRE_LOCK)
		return -EPERM;
	memory->backend = OS_MEMORY_PLAIN;
	return clear(memory) < 0 || map_ordinary(memory, false, fdp) < 0 ? -ENOMEM : 0;
}

/* Forgets where the regions were: nothing of ours is behind these addresses any more. */
static void forget_addresses(struct os_memory *memory)
{
	memory->reservation = NULL;
	memory->reserved = 0;
	memory->locked = 0;
	for (size_t i = 0; i < OS_MEMORY_REGIONS_MAX; i++) {
		memory->regions[i].data = NULL;
		memory->regions[i].mirror = NULL;
	}
}

static void unmap_reservation(struct os_memory *memory)
{
	if (memory->reservation)
		munmap(memory->reservation, memory->reserved);
	forget_addresses(memory);
}

/* Takes address space for the regions that the caller wants. Their sizes become whole pages. */
static int begin_map(struct os_memory *memory, size_t *totalp)
{
	forget_addresses(memory);
	memory->backend = OS_MEMORY_PLAIN;
	memory->secret_error = memory->lock_error = 0;
	memory->sealed = false;
	if (memory->count == 0 || memory->count > OS_MEMORY_REGIONS_MAX)
		return -EINVAL;
	*totalp = total_size(memory);
	return *totalp == 0 ? -EINVAL : reserve(memory, *totalp);
}

/* Ends as `r` has it. */
static int end_map(struct os_memory *memory, size_t total, int r)
{
	if (r < 0) {
		unmap_reservation(memory);
		return r;
	}
	for (size_t i = 0; i < memory->count; i++)
		memory->regions[i].access = OS_MEMORY_WRITE;
	memory->locked = memory->backend == OS_MEMORY_PLAIN ? 0 : total;
	return 0;
}

static int map(struct os_memory *memory, enum os_memory_need need, int *fdp)
{
	size_t total = 0;
	int r = begin_map(memory, &total);

	if (r == 0)
		r = map_best(memory, need, fdp);
	return end_map(memory, total, r);
}

int os_memory_map(struct os_memory *memory, enum os_memory_need need)
{
	return map(memory, need, NULL);
}

int os_memory_map_open(struct os_memory *memory, enum os_memory_need need, int *fdp)
{
	*fdp = -1;
	return map(memory, need, fdp);
}

/* What another process has mapped, as strong as `need` asks for. */
static int map_theirs(struct os_memory *memory, enum os_memory_need need, int fd)
{
	bool secret = false;
	int r = os_platform_check(fd, file_size(memory), &secret);

	if (r == 0)
		r = map_parts(memory, fd);
	if (r < 0)
		return r;
	if (secret) {
		memory->backend = OS_MEMORY_SECRET;
		return 0;
	}
	/* Its maker knew why; here it was not tried. */
	memory->secret_error = ENODATA;
	if (need == OS_MEMORY_REQUIRE_SECRET)
		return -EPERM;
	memory->lock_error = -lock_file(memory);
	if (memory->lock_error == 0)
		memory->backend = OS_MEMORY_LOCKED;
	return memory->lock_error != 0 && need == OS_MEMORY_REQUIRE_LOCK ? -EPERM : 0;
}

int os_memory_open(struct os_memory *memory, enum os_memory_need need, int fd)
{
	size_t total = 0;
	int r = begin_map(memory, &total);

	if (r == 0)
		r = map_theirs(memory, need, fd);
	close(fd);
	return end_map(memory, total, r);
}

/* Whole pages: there is no rest. */
static void copy_words(uint8_t *to, const uint8_t *from, size_t size)
{
	volatile uint64_t *out = (volatile uint64_t *)(void *)to;
	const volatile uint64_t *in = (const volatile uint64_t *)(const void *)from;

	for (size_t i = 0; i < size / sizeof(*out); i++)
		out[i] = in[i];
}

void os_memory_copy(struct os_memory *to, const struct os_memory *from)
{
	for (size_t i = 0; i < from->count; i++)
		copy_words(to->regions[i].data, from->regions[i].data, from->regions[i].size);
}

void os_memory_release(struct os_memory *memory)
{
	unmap_reservation(memory);
}

/* The kernel locks secret pages by their nature, others for each process that asks. */
int os_memory_take_over(struct os_memory *memory, enum os_memory_need need)
{
	for (size_t i = 0; i < memory->count; i++) {
		struct os_region *region = &memory->regions[i];

		os_platform_keep_from_children(region->data, region->size, true);
		if (memory->backend != OS_MEMORY_LOCKED)
			continue;
		memory->lock_error = -os_platform_lock(region->data, region->size);
		if (memory->lock_error != 0 && need != OS_MEMORY_PREFER_LOCK)
			return -EPERM;
	}
	return 0;
}

int os_memory_protect(struct os_memory *memory, size_t region, enum os_memory_access access)
{
	static const int protections[] = {
		[OS_MEMORY_NONE] = PROT_NONE,
		[OS_MEMORY_READ] = PROT_READ,
		[OS_MEMORY_WRITE] = PROT_READ | PROT_WRITE,
	};
	struct os_region *r;

	if (!memory->reservation || region >= memory->count)
		return -EINVAL;
	r = &memory->regions[region];
	if (mprotect(r->data, r->size, protections[access]) < 0)
		return -errno;
	r->access = access;
	return 0;
}

int os_memory_seal(struct os_memory *memory)
{
	int r;

	if (!memory->reservation)
		return -EINVAL;
	r = os_platform_seal(memory->reservation, memory->reserved);
	memory->sealed = r == 0;
	return r;
}

void os_memory_unmap(struct os_memory *memory)
{
	if (!memory->reservation)
		return;
	for (size_t i = 0; i < memory->count; i++) {
		struct os_region *region = &memory->regions[i];

		if (region->access != OS_MEMORY_WRITE)
			(void)os_memory_protect(memory, i, OS_MEMORY_WRITE);
		/* What was protected before it was sealed stays so: a write would be fatal. */
		if (region->access == OS_MEMORY_WRITE)
			sodium_memzero(region->data, region->size);
	}
	if (memory->sealed)
		forget_addresses(memory);
	else
		unmap_reservation(memory);
}

void *os_memory_map_zeroing(void)
{
	void *page = mmap(
		NULL, os_memory_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (os_platform_zero_in_child(page, os_memory_page()) == 0)
		return page;
	os_memory_unmap_zeroing(page);
	return NULL;
}

void os_memory_unmap_zeroing(void *page)
{
	munmap(page, os_memory_page());
}

const char *os_memory_backend_name(enum os_memory_backend backend)
{
	static const char *const names[] = {
		[OS_MEMORY_PLAIN] = "not locked",
		[OS_MEMORY_LOCKED] = "mlock",
		[OS_MEMORY_SECRET] = "memfd_secret",
	};

	return names[backend];
}

/* A limit of 0 gives EPERM, as a filter does; any other limit gives ENOMEM, on the BSDs EAGAIN. */
static bool is_limit(int error)
{
	struct rlimit limit;

	if (error == EPERM)
		return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == 0;
	return error == ENOMEM || error == EAGAIN;
}

static const char *advice_unlocked(int error)
{
	if (is_limit(error))
		return "memory is not locked: raise the limit of locked memory (ulimit -l, "
		       "LimitMEMLOCK=) to 64 KiB or more";
	return "memory is not locked: mlock is refused; allow it in the container's or "
	       "service's system call filter";
}

static const char *advice_readable(int error)
{
	switch (error) {
	case ENOSYS:
		return "memfd_secret is missing: root can read this memory; boot Linux 5.14 or "
		       "later with secretmem.enable=1 (6.5 and later have it on)";
	case EPERM:
	case EACCES:
		return "memfd_secret is refused: root can read this memory; allow it in the "
		       "container's or service's system call filter";
	case EAGAIN:
	case ENOMEM:
		return "memfd_secret is over the limit: root can read this memory; raise the limit "
		       "of locked memory (ulimit -l, LimitMEMLOCK=) to 64 KiB or more";
	default:
		return "memfd_secret failed: root can read this memory";
	}
}

/* The errors decide, not the backend: after a failure to map they tell why there is none. */
const char *os_memory_advice(const struct os_memory *memory)
{
	if (memory->lock_error != 0)
		return advice_unlocked(memory->lock_error);
	return memory->secret_error != 0 ? advice_readable(memory->secret_error) : "";
}
