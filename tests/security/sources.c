/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/security/sources.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"

#define PAGE 4096
#define PIECE ((size_t)256 * PAGE)

/* Linux's own number, which the C library does not have everywhere. */
#define SECRETMEM_MAGIC 0x5345434d

/* Larger than all that a daemon under test maps in one piece. */
#define SOURCE_MAX ((size_t)1 << 30)

#define SECRET_NAME "/secretmem (deleted)"
#define STACK_NAME "[stack]"

/* Looks at the ordinary stack: what lies there lies there for microseconds. */
#define STACK_LOOKS 64

/* More than a pipe holds, and than the daemon leaves in a socket. */
#define QUEUE_MAX ((size_t)1 << 18)

static void fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

static void closedirp(DIR **folder)
{
	if (*folder)
		closedir(*folder);
}

/* -- collecting ---------------------------------------------------------------------------- */

struct source *sources_add(struct sources *sources, uint64_t address, size_t size, const char *name)
{
	struct source *source;

	if (sources->count == sources->room) {
		size_t room = sources->room ? 2 * sources->room : 64;
		struct source *items = realloc(sources->items, room * sizeof(*items));

		if (!items)
			return NULL;
		sources->items = items;
		sources->room = room;
	}
	source = &sources->items[sources->count];
	*source = (struct source){ .address = address, .size = size };
	snprintf(source->name, sizeof(source->name), "%s", name);
	source->bytes = calloc(1, size);
	if (!source->bytes)
		return NULL;
	sources->count++;
	return source;
}

static void drop_last(struct sources *sources)
{
	free(sources->items[--sources->count].bytes);
}

uint64_t sources_size(const struct sources *sources)
{
	uint64_t size = 0;

	for (size_t i = 0; i < sources->count; i++)
		size += sources->items[i].size;
	return size;
}

void sources_free(struct sources *sources)
{
	while (sources->count > 0)
		drop_last(sources);
	free(sources->items);
	*sources = (struct sources){ 0 };
}

/* -- mappings ------------------------------------------------------------------------------ */

/* An entry of /proc/PID/smaps. */
struct mapping {
	uint64_t begin;
	uint64_t end;
	uint64_t offset; /* in the file */
	uint64_t inode;
	bool readable;
	bool writable;
	uint64_t present; /* KiB in memory or swapped out */
	char name[128];
};

#define FILES_MAX 16

/* Files of secret memory, by their numbers. */
struct files {
	uint64_t inodes[FILES_MAX];
	size_t count;
};

/* How a route reads, and what it says to secret memory. */
struct reader {
	ssize_t (*read)(const struct reader *reader, void *out, size_t size, uint64_t address);
	int refusal; /* errno */
	int fd;
	pid_t pid;
	struct files *files; /* of a route that gathers these, and no bytes */
};

static ssize_t read_mem(const struct reader *reader, void *out, size_t size, uint64_t address)
{
	return pread(reader->fd, out, size, (off_t)address);
}

static ssize_t read_vm(const struct reader *reader, void *out, size_t size, uint64_t address)
{
	struct iovec here = { .iov_base = out, .iov_len = size };
	struct iovec there = { .iov_base = (void *)(uintptr_t)address, .iov_len = size };

	return process_vm_readv(reader->pid, &here, 1, &there, 1, 0);
}

/* A word at a time, of a process that is stopped under ptrace. */
static ssize_t read_peek(const struct reader *reader, void *out, size_t size, uint64_t address)
{
	for (size_t at = 0; at < size; at += sizeof(long)) {
		long word;

		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, reader->pid, address + at, 0);
		if (word == -1 && errno != 0)
			return -1;
		memcpy((uint8_t *)out + at, &word, sizeof(word));
	}
	return (ssize_t)size;
}

/* The first line of an entry. */
static bool parse_mapping(struct mapping *mapping, const char *line)
{
	unsigned long long begin;
	unsigned long long end;
	unsigned long long offset;
	unsigned long long inode;
	char access[5];
	int at = 0;

	if (sscanf(line, "%llx-%llx %4s %llx %*s %llu %n", &begin, &end, access, &offset, &inode,
		    &at) < 5)
		return false;
	*mapping = (struct mapping){ .begin = begin,
		.end = end,
		.offset = offset,
		.inode = inode,
		.readable = access[0] == 'r',
		.writable = access[1] == 'w' };
	snprintf(mapping->name, sizeof(mapping->name), "%.*s", (int)strcspn(line + at, "\n"),
		line + at);
	return true;
}

/* One of the lines behind it. */
static void parse_detail(struct mapping *mapping, const char *line)
{
	unsigned long long size;

	if (sscanf(line, "Rss: %llu kB", &size) == 1 || sscanf(line, "Swap: %llu kB", &size) == 1)
		mapping->present += size;
}

/*
 * The kernel's own pages are the same in every process. A reservation that nobody may touch and
 * nobody has touched has no pages; it may be larger than the machine's memory.
 */
static bool is_empty(const struct mapping *mapping)
{
	return strncmp(mapping->name, "[vvar", 5) == 0 ||
		strcmp(mapping->name, "[vsyscall]") == 0 ||
		(!mapping->readable && mapping->present == 0);
}

/* Page by page: what can be read of a mapping in which something cannot. */
static void read_pages(struct sources *sources, const struct reader *reader, uint8_t *out,
	size_t size, uint64_t address)
{
	for (size_t at = 0; at < size; at += PAGE)
		if (reader->read(reader, out + at, PAGE, address + at) != PAGE)
			sources->unreadable++;
}

static void read_ordinary(
	struct sources *sources, const struct reader *reader, struct source *source)
{
	for (size_t at = 0; at < source->size; at += PIECE) {
		size_t left = source->size - at;
		size_t size = left < PIECE ? left : PIECE;

		if (reader->read(reader, source->bytes + at, size, source->address + at) !=
			(ssize_t)size)
			read_pages(sources, reader, source->bytes + at, size, source->address + at);
	}
}

/* Every page must be refused, with the error that says why. */
static void read_secret(struct sources *sources, const struct reader *reader, struct source *source)
{
	for (size_t at = 0; at < source->size; at += PAGE) {
		ssize_t got = reader->read(reader, source->bytes + at, PAGE, source->address + at);

		sources->secret_pages++;
		if (got >= 0)
			sources->secret_readable++;
		else if (errno != reader->refusal)
			sources->secret_wrong++;
	}
}

/* Whether the source holds what stands on disk at that place. */
static bool same_as_file(const struct source *source, const struct mapping *mapping)
{
	cleanup(closep) int fd = -1;
	cleanup(freep) uint8_t *bytes = NULL;
	ssize_t size;

	if (mapping->writable || mapping->name[0] != '/')
		return false;
	fd = open(mapping->name, O_RDONLY | O_CLOEXEC);
	bytes = calloc(1, source->size);
	if (fd < 0 || !bytes)
		return false;
	/* Behind the file's end the last page is zeros. */
	size = pread(fd, bytes, source->size, (off_t)mapping->offset);
	return size > 0 && memcmp(bytes, source->bytes, source->size) == 0;
}

static int read_mapping(
	struct sources *sources, const struct reader *reader, const struct mapping *mapping)
{
	size_t size = (size_t)(mapping->end - mapping->begin);
	struct source *source;

	if (is_empty(mapping))
		return 0;
	if (size == 0 || size > SOURCE_MAX)
		return -EFBIG;
	source = sources_add(sources, mapping->begin, size, mapping->name);
	if (!source)
		return -ENOMEM;
	if (strcmp(mapping->name, SECRET_NAME) == 0) {
		read_secret(sources, reader, source);
		return 0;
	}
	read_ordinary(sources, reader, source);
	source->file = same_as_file(source, mapping);
	return 0;
}

/* The ordinary stack, again and again; nothing of the other mappings. */
static int read_stack(
	struct sources *sources, const struct reader *reader, const struct mapping *mapping)
{
	if (strcmp(mapping->name, STACK_NAME) != 0)
		return 0;
	for (int look = 0; look < STACK_LOOKS; look++) {
		struct source *source = sources_add(sources, mapping->begin,
			(size_t)(mapping->end - mapping->begin), mapping->name);

		if (!source)
			return -ENOMEM;
		read_ordinary(sources, reader, source);
	}
	return 0;
}

typedef int (*take_fn)(
	struct sources *sources, const struct reader *reader, const struct mapping *mapping);

static int read_mappings(struct sources *sources, const struct reader *reader, take_fn take)
{
	cleanup(fclosep) FILE *maps = NULL;
	cleanup(freep) char *line = NULL;
	struct mapping mapping = { 0 };
	char path[64];
	size_t room = 0;
	size_t count = 0;
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)reader->pid);
	maps = fopen(path, "re");
	if (!maps)
		return -errno;
	while (r == 0 && getline(&line, &room, maps) > 0) {
		if (parse_mapping(&mapping, line))
			continue;
		parse_detail(&mapping, line);
		/* The last line of each entry. */
		if (strncmp(line, "VmFlags:", 8) != 0)
			continue;
		count++;
		r = take(sources, reader, &mapping);
	}
	return r == 0 && count == 0 ? -ESRCH : r;
}

static int read_through_mem(struct sources *sources, pid_t pid, take_fn take)
{
	cleanup(closep) int fd = -1;
	struct reader reader = { .read = read_mem, .refusal = EIO, .pid = pid };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	reader.fd = fd;
	return read_mappings(sources, &reader, take);
}

int sources_read_mem(struct sources *sources, pid_t pid)
{
	return read_through_mem(sources, pid, read_mapping);
}

int sources_read_stack(struct sources *sources, pid_t pid)
{
	size_t count = sources->count;
	int r = read_through_mem(sources, pid, read_stack);

	return r == 0 && sources->count == count ? -ENODATA : r;
}

int sources_read_vm(struct sources *sources, pid_t pid)
{
	struct reader reader = { .read = read_vm, .refusal = EFAULT, .pid = pid };

	return read_mappings(sources, &reader, read_mapping);
}

#define PAGE_IS_SOMEWHERE ((uint64_t)3 << 62) /* in memory or swapped out */

/* Whether a page was ever touched; if that is not to be learnt, it was. */
static bool is_touched(int pagemap, uint64_t address)
{
	uint64_t entry;

	return pread(pagemap, &entry, sizeof(entry), (off_t)(address / PAGE * sizeof(entry))) !=
		sizeof(entry) ||
		(entry & PAGE_IS_SOMEWHERE) != 0;
}

static void peek_touched(
	struct sources *sources, const struct reader *reader, struct source *source)
{
	cleanup(closep) int pagemap = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)reader->pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	for (size_t at = 0; at < source->size; at += PAGE)
		if (is_touched(pagemap, source->address + at))
			read_pages(sources, reader, source->bytes + at, PAGE, source->address + at);
}

static bool is_file(const struct mapping *mapping)
{
	return mapping->name[0] == '/';
}

/*
 * Word by word is slow: what nobody writes to and what lies in a file is left to the other routes,
 * and so are pages of a process's own that it has never touched.
 */
static int peek_mapping(
	struct sources *sources, const struct reader *reader, const struct mapping *mapping)
{
	struct source *source;

	if (is_file(mapping) && (mapping->writable || strcmp(mapping->name, SECRET_NAME) == 0))
		return read_mapping(sources, reader, mapping);
	if (is_file(mapping) || is_empty(mapping) || mapping->end - mapping->begin > SOURCE_MAX)
		return 0;
	source = sources_add(
		sources, mapping->begin, (size_t)(mapping->end - mapping->begin), mapping->name);
	if (!source)
		return -ENOMEM;
	peek_touched(sources, reader, source);
	return 0;
}

int sources_read_peek(struct sources *sources, pid_t pid)
{
	struct reader reader = { .read = read_peek, .refusal = EIO, .pid = pid };

	return read_mappings(sources, &reader, peek_mapping);
}

/* -- descriptors --------------------------------------------------------------------------- */

/* Maps what was taken, if it lets itself be mapped, and copies it. */
static int map_descriptor(
	struct sources *sources, int fd, size_t size, const char *name, bool secret)
{
	void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	struct source *source;

	if (data == MAP_FAILED)
		return -errno;
	sources->secret_mappable += secret;
	source = sources_add(sources, 0, size, name);
	if (source)
		memcpy(source->bytes, data, size);
	munmap(data, size);
	return source ? 0 : -ENOMEM;
}

/* A file that was opened for writing only is opened again. */
static int reread_descriptor(struct sources *sources, int taken, size_t size, const char *name)
{
	cleanup(closep) int fd = -1;
	struct source *source;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", taken);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	source = sources_add(sources, 0, size, name);
	if (!source)
		return -ENOMEM;
	if (pread(fd, source->bytes, size, 0) < 0)
		drop_last(sources);
	return 0;
}

static int take_file(struct sources *sources, int fd, const struct stat *status, bool secret)
{
	const char *name = secret ? "descriptor of secret memory" : "file of a descriptor";
	size_t size = (size_t)status->st_size;
	int r;

	if (status->st_size <= 0 || size > SOURCE_MAX)
		return 0;
	r = map_descriptor(sources, fd, size, name, secret);
	return r < 0 && !secret ? reread_descriptor(sources, fd, size, name) : 0;
}

/* What waits in it is looked at and stays there. */
static int take_queue(struct sources *sources, int fd)
{
	struct source *source = sources_add(sources, 0, QUEUE_MAX, "queue of a socket");

	if (!source)
		return -ENOMEM;
	if (recv(fd, source->bytes, QUEUE_MAX, MSG_PEEK | MSG_DONTWAIT) <= 0)
		drop_last(sources);
	return 0;
}

static int take_pipe(struct sources *sources, int fd)
{
	struct source *source = sources_add(sources, 0, QUEUE_MAX, "pipe");
	int ends[2];

	if (!source)
		return -ENOMEM;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	if (tee(fd, ends[1], QUEUE_MAX, SPLICE_F_NONBLOCK) <= 0 ||
		read(ends[0], source->bytes, QUEUE_MAX) <= 0)
		drop_last(sources);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static int take_descriptor(struct sources *sources, int process, const char *number)
{
	cleanup(closep) int fd =
		(int)syscall(SYS_pidfd_getfd, process, (int)strtol(number, NULL, 10), 0);
	struct statfs system;
	struct stat status;
	bool secret;

	if (fd < 0)
		return errno == EBADF ? 0 : -errno;
	sources->descriptors++;
	if (fstatfs(fd, &system) < 0 || fstat(fd, &status) < 0)
		return -errno;
	secret = system.f_type == SECRETMEM_MAGIC;
	if (secret || S_ISREG(status.st_mode))
		return take_file(sources, fd, &status, secret);
	if (S_ISSOCK(status.st_mode))
		return take_queue(sources, fd);
	return S_ISFIFO(status.st_mode) ? take_pipe(sources, fd) : 0;
}

typedef int (*take_descriptor_fn)(struct sources *sources, int process, const char *number,
	const char *link, const struct files *files);

/* One after the other, each with what it says it is. */
static int read_descriptors(
	struct sources *sources, pid_t pid, const struct files *files, take_descriptor_fn take)
{
	cleanup(closedirp) DIR *folder = NULL;
	cleanup(closep) int process = (int)syscall(SYS_pidfd_open, pid, 0);
	struct dirent *entry;
	char path[64];
	int r = 0;

	if (process < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	folder = opendir(path);
	if (!folder)
		return -errno;
	while (r == 0 && (entry = readdir(folder))) {
		char link[sizeof(SECRET_NAME)];
		ssize_t size;

		if (entry->d_name[0] == '.')
			continue;
		size = readlinkat(dirfd(folder), entry->d_name, link, sizeof(link) - 1);
		if (size < 0) {
			/* Closed meanwhile. */
			r = errno == ENOENT ? 0 : -errno;
			continue;
		}
		link[size] = '\0';
		r = take(sources, process, entry->d_name, link, files);
	}
	return r;
}

static int take_any(struct sources *sources, int process, const char *number, const char *link,
	const struct files *files)
{
	(void)link;
	(void)files;
	return take_descriptor(sources, process, number);
}

int sources_read_descriptors(struct sources *sources, pid_t pid)
{
	size_t count = sources->descriptors;
	int r = read_descriptors(sources, pid, NULL, take_any);

	return r == 0 && sources->descriptors == count ? -ENODATA : r;
}

/* -- descriptors of all processes ---------------------------------------------------------- */

static int gather_file(
	struct sources *sources, const struct reader *reader, const struct mapping *mapping)
{
	struct files *files = reader->files;

	(void)sources;
	if (strcmp(mapping->name, SECRET_NAME) != 0)
		return 0;
	if (files->count == FILES_MAX)
		return -E2BIG;
	files->inodes[files->count++] = mapping->inode;
	return 0;
}

/* Secret memory of others is their affair: what is mapped and what is opened have one number. */
static int take_if_ours(struct sources *sources, int process, const char *number, const char *link,
	const struct files *files)
{
	cleanup(closep) int fd = -1;
	struct stat status;

	sources->descriptors++;
	if (strcmp(link, SECRET_NAME) != 0)
		return 0;
	fd = (int)syscall(SYS_pidfd_getfd, process, (int)strtol(number, NULL, 10), 0);
	if (fd < 0)
		return errno == EBADF ? 0 : -errno;
	if (fstat(fd, &status) < 0)
		return -errno;
	for (size_t i = 0; i < files->count; i++)
		if (files->inodes[i] == status.st_ino)
			return take_file(sources, fd, &status, true);
	return 0;
}

/* Some end meanwhile; some have more rights than this root, who then gets nothing from them. */
static int read_other(struct sources *sources, pid_t pid, const struct files *files)
{
	int r = read_descriptors(sources, pid, files, take_if_ours);

	if (r == -EACCES || r == -EPERM)
		sources->unreadable++;
	return r == -EACCES || r == -EPERM || r == -ENOENT || r == -ESRCH ? 0 : r;
}

int sources_read_machine(struct sources *sources, pid_t pid)
{
	cleanup(closedirp) DIR *folder = opendir("/proc");
	struct files files = { .count = 0 };
	struct reader reader = { .pid = pid, .files = &files };
	size_t count = sources->descriptors;
	struct dirent *entry;
	int r = folder ? read_mappings(sources, &reader, gather_file) : -errno;

	while (r == 0 && (entry = readdir(folder))) {
		pid_t other = (pid_t)strtol(entry->d_name, NULL, 10);

		if (other > 0)
			r = read_other(sources, other, &files);
	}
	return r == 0 && sources->descriptors == count ? -ENODATA : r;
}

/* -- core files ---------------------------------------------------------------------------- */

static int read_segment(struct sources *sources, int fd, const Elf64_Phdr *header)
{
	bool notes = header->p_type == PT_NOTE;
	struct source *source;

	if ((header->p_type != PT_LOAD && !notes) || header->p_filesz == 0)
		return 0;
	if (header->p_filesz > SOURCE_MAX)
		return -EFBIG;
	source = sources_add(sources, header->p_vaddr, (size_t)header->p_filesz,
		notes ? "registers and notes" : "core segment");
	if (!source)
		return -ENOMEM;
	source->registers = notes;
	return pread(fd, source->bytes, source->size, (off_t)header->p_offset) ==
			(ssize_t)source->size
		? 0
		: -EIO;
}

int sources_read_core(struct sources *sources, const char *path)
{
	cleanup(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr elf;
	Elf64_Phdr header;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (pread(fd, &elf, sizeof(elf), 0) != sizeof(elf) ||
		memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 || elf.e_ident[EI_CLASS] != ELFCLASS64 ||
		elf.e_type != ET_CORE || elf.e_phentsize != sizeof(header))
		return -EBADMSG;
	for (size_t i = 0; r == 0 && i < elf.e_phnum; i++) {
		off_t at = (off_t)(elf.e_phoff + i * sizeof(header));

		r = pread(fd, &header, sizeof(header), at) == sizeof(header)
			? read_segment(sources, fd, &header)
			: -EIO;
	}
	return r;
}
