/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/security/hunt.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/cleanup.h"

/*
 * Of 96 random bytes 80.2 different values are to be expected: this is more than five standard
 * deviations below.
 */
#define CHANNEL_DISTINCT 56

/*
 * Where things stand in a record's header (daemon/vault/vault_inside.h), which ends where the name
 * begins. Should it change, the scan finds no record any more and fails as blind.
 */
enum {
	RECORD_KIND = 16,
	RECORD_WRAPPED = 18,
	RECORD_SECRET = 82,
	RECORD_VERSION = 88,
	RECORD_SIZE = 112,
	RECORD_NAME_SIZE = 126,
	RECORD_TAGS_SIZE = 128,
	RECORD_LIFETIME_SIZE = 131,
};
#define RECORD_NUMBER_BYTES 6
#define RECORD_KIND_KNOWN 0xe1c9

/* Numbers that count something in the daemon under test are smaller than this. */
#define COUNTER_MAX 100000

static unsigned distinct(const uint8_t *bytes, size_t size)
{
	bool seen[256] = { false };
	unsigned count = 0;

	for (size_t i = 0; i < size; i++) {
		count += !seen[bytes[i]];
		seen[bytes[i]] = true;
	}
	return count;
}

static void add_target(struct hunt *hunt, const struct target *target)
{
	size_t count = 0;

	for (size_t master = 0; master < COFFER_MASTERS; master++)
		count += hunt->target_count[master];
	for (size_t i = 0; i < count; i++)
		if (memcmp(hunt->targets[i].wrapped, target->wrapped, sizeof(target->wrapped)) == 0)
			return;
	if (count == HUNT_TARGETS_MAX || hunt->target_count[target->master] == HUNT_TARGETS_MAX / 2)
		return;
	hunt->targets[count] = *target;
	hunt->target_count[target->master]++;
}

/* The anchor session has had one frame each way and no more. */
static void look_for_channel(struct hunt *hunt, const uint8_t *bytes)
{
	struct channel channel;
	struct target target = { .size = sizeof(struct channel_keys), .master = COFFER_CHANNEL };

	memcpy(&channel, bytes, sizeof(channel));
	if (channel.received != 1 || channel.sent != 1 || channel.number > COUNTER_MAX ||
		distinct(channel.wrapped, sizeof(channel.wrapped)) < CHANNEL_DISTINCT)
		return;
	memcpy(target.wrapped, channel.wrapped, sizeof(channel.wrapped));
	target.binding.secret = channel.number;
	add_target(hunt, &target);
}

static uint64_t read_number(const uint8_t *bytes, size_t size)
{
	uint64_t number = 0;

	while (size-- > 0)
		number = number << 8 | bytes[size];
	return number;
}

/* The anchor's header, if this is it: `bytes` holds header and name. */
static void look_for_record(struct hunt *hunt, const uint8_t *bytes)
{
	size_t name_size = strlen(hunt->anchor->name);
	struct target target = { .size = ENCLAVE_KEY_SIZE, .master = COFFER_VAULT };

	if (read_number(bytes + RECORD_KIND, 2) != RECORD_KIND_KNOWN ||
		bytes[RECORD_LIFETIME_SIZE] != 0 ||
		read_number(bytes + RECORD_NAME_SIZE, 2) != name_size ||
		read_number(bytes + RECORD_TAGS_SIZE, 2) != 0 ||
		read_number(bytes + RECORD_SIZE, RECORD_NUMBER_BYTES) != hunt->anchor->size)
		return;
	memcpy(target.wrapped, bytes + RECORD_WRAPPED, ENCLAVE_WRAPPED_KEY);
	target.binding.secret = read_number(bytes + RECORD_SECRET, RECORD_NUMBER_BYTES);
	target.binding.version = read_number(bytes + RECORD_VERSION, RECORD_NUMBER_BYTES);
	add_target(hunt, &target);
	hunt->record_size = HUNT_HEADER_SIZE + name_size;
	memcpy(hunt->record, bytes, hunt->record_size);
}

static void look_for_records(struct hunt *hunt, const struct source *source)
{
	const char *name = hunt->anchor->name;
	size_t size = strlen(name);
	const uint8_t *at = source->bytes;
	const uint8_t *end = source->bytes + source->size;

	while ((at = memmem(at, (size_t)(end - at), name, size))) {
		if (at - source->bytes >= HUNT_HEADER_SIZE)
			look_for_record(hunt, at - HUNT_HEADER_SIZE);
		at += size;
	}
}

void hunt_gather_targets(struct hunt *hunt, const struct source *source)
{
	for (size_t at = 0; at + sizeof(struct channel) <= source->size; at += 8)
		look_for_channel(hunt, source->bytes + at);
	look_for_records(hunt, source);
}

/* -- in a file ----------------------------------------------------------------------------- */

#define PARTS 4

/* Returns the bytes of all of them. */
static ssize_t list_parts(const struct hunt *hunt, struct iovec parts[PARTS])
{
	ssize_t size = 0;

	parts[0] = (struct iovec){ (void *)hunt->targets, sizeof(hunt->targets) };
	parts[1] = (struct iovec){ (void *)hunt->target_count, sizeof(hunt->target_count) };
	parts[2] = (struct iovec){ (void *)hunt->record, sizeof(hunt->record) };
	parts[3] = (struct iovec){ (void *)&hunt->record_size, sizeof(hunt->record_size) };
	for (size_t i = 0; i < PARTS; i++)
		size += (ssize_t)parts[i].iov_len;
	return size;
}

int hunt_write_targets(const struct hunt *hunt, const char *path)
{
	cleanup(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct iovec parts[PARTS];
	ssize_t size = list_parts(hunt, parts);

	if (fd < 0)
		return -errno;
	return writev(fd, parts, PARTS) == size ? 0 : -EIO;
}

int hunt_read_targets(struct hunt *hunt, const char *path)
{
	cleanup(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct iovec parts[PARTS];
	ssize_t size = list_parts(hunt, parts);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return readv(fd, parts, PARTS) == size ? 0 : -EBADMSG;
}
