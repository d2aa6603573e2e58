/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <string.h>

#include "client/lib/error.h"
#include "client/lib/memory/own.h"
#include "client/lib/memory/secret.h"
#include "common/memory/guard.h"
#include "common/memory/locked_stack.h"

/* What callers see of a secret's bytes, and do with them. */

const void *mg_secret_data(const struct mg_secret *secret)
{
	return secret_alive(secret) ? secret->view : NULL;
}

void *mg_secret_writable(struct mg_secret *secret)
{
	return mg_secret_mutable(secret) ? secret->data : NULL;
}

/* How many items the secret holds; none where their addresses would not be aligned. */
static size_t count_items(const struct mg_secret *secret, size_t item_size, size_t alignment)
{
	if (item_size == 0 || alignment == 0 || GUARD_SIZE % alignment != 0)
		return 0;
	return mg_secret_size(secret) / item_size;
}

const void *mg_secret_items(
	const struct mg_secret *secret, size_t item_size, size_t alignment, size_t *countp)
{
	size_t count = count_items(secret, item_size, alignment);

	if (countp)
		*countp = count;
	return count > 0 ? secret->view : NULL;
}

void *mg_secret_items_writable(
	struct mg_secret *secret, size_t item_size, size_t alignment, size_t *countp)
{
	size_t count = mg_secret_mutable(secret) ? count_items(secret, item_size, alignment) : 0;

	if (countp)
		*countp = count;
	return count > 0 ? secret->data : NULL;
}

size_t mg_secret_size(const struct mg_secret *secret)
{
	return secret_alive(secret) ? secret->size : 0;
}

bool mg_secret_alive(const struct mg_secret *secret)
{
	return secret_alive(secret) && secret->owner == own_self();
}

bool mg_secret_mutable(const struct mg_secret *secret)
{
	return mg_secret_alive(secret) && !secret->frozen;
}

bool mg_secret_equal(const struct mg_secret *secret, const void *bytes, size_t size)
{
	bool equal = mg_secret_alive(secret) && secret->size == size &&
		sodium_memcmp(secret->view, bytes, size) == 0;

	locked_stack_scrub();
	return equal;
}

/* Whether the bytes lie within; never cut to what fits. */
static int check_range(const struct mg_secret *secret, size_t offset, size_t size)
{
	if (offset <= secret->size && size <= secret->size - offset)
		return MG_OK;
	return error_say(MG_INVALID, "%zu bytes at %zu are not within the secret's %zu", size,
		offset, secret->size);
}

int mg_secret_read_at(const struct mg_secret *secret, size_t offset, void *out, size_t size)
{
	int r = secret_check(secret);

	if (r == MG_OK)
		r = check_range(secret, offset, size);
	if (r == MG_OK && size > 0)
		memcpy(out, secret->view + offset, size);
	locked_stack_scrub();
	return r;
}

int mg_secret_copy_at(struct mg_secret *secret, size_t offset, const void *bytes, size_t size)
{
	int r = secret_check_writable(secret);

	if (r == MG_OK)
		r = check_range(secret, offset, size);
	if (r != MG_OK || size == 0)
		return r;
	memmove(secret->data + offset, bytes, size);
	return secret_settle(secret);
}

static int check_length(const struct mg_secret *secret, size_t size)
{
	if (size == secret->size)
		return MG_OK;
	return error_say(
		MG_INVALID, "%zu bytes do not fill the secret's %zu exactly", size, secret->size);
}

int mg_secret_copy(struct mg_secret *secret, const void *bytes, size_t size)
{
	int r = secret_check_writable(secret);

	if (r == MG_OK)
		r = check_length(secret, size);
	return r == MG_OK ? mg_secret_copy_at(secret, 0, bytes, size) : r;
}

int mg_secret_move_at(struct mg_secret *secret, size_t offset, void *bytes, size_t size)
{
	int r = mg_secret_copy_at(secret, offset, bytes, size);

	if (r == MG_OK)
		sodium_memzero(bytes, size);
	return r;
}

int mg_secret_move(struct mg_secret *secret, void *bytes, size_t size)
{
	int r = mg_secret_copy(secret, bytes, size);

	if (r == MG_OK)
		sodium_memzero(bytes, size);
	return r;
}

int mg_secret_scramble(struct mg_secret *secret)
{
	int r = secret_check_writable(secret);

	if (r != MG_OK)
		return r;
	randombytes_buf(secret->data, secret->size);
	return secret_settle(secret);
}

int mg_secret_wipe(struct mg_secret *secret)
{
	int r = secret_check_writable(secret);

	if (r == MG_OK)
		sodium_memzero(secret->data, secret->size);
	return r;
}
