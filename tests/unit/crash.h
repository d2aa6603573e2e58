/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/vault_rig.h"

/*
 * A process that ends in the midst of what it does leaves two things: the pages of the keys and the
 * ledger's file. Here both are copied at a moment, and the copy is adopted: that is what the next
 * process would find.
 */
struct remains {
	struct coffer coffer;
	uint8_t keys[3 * 512] __attribute__((aligned(64)));
	uint8_t view[256] __attribute__((aligned(64)));
	int fd;
};

/* The file that the vault under test lies in. */
static int ledger_fd = -1;

static inline void set_up_in_file(void)
{
	rig_init(&rig);
	ledger_fd = ledger_file();
	ck_assert_int_ge(ledger_fd, 0);
	ck_assert_int_eq(vault_new(&vault, &rig.coffer, ledger_fd), 0);
}

static inline void tear_down_in_file(void)
{
	vault_free(vault);
	close(ledger_fd);
}

/* Only what was written: a hole stays a hole. */
static inline void copy_file(int from, int to)
{
	static uint8_t buffer[65536];
	struct stat stat;
	off_t begin = 0;

	ck_assert_int_eq(fstat(from, &stat), 0);
	ck_assert_int_eq(ftruncate(to, stat.st_size), 0);
	while ((begin = lseek(from, begin, SEEK_DATA)) >= 0) {
		off_t end = lseek(from, begin, SEEK_HOLE);

		while (begin < end) {
			size_t size = (size_t)(end - begin) < sizeof(buffer) ? (size_t)(end - begin)
									     : sizeof(buffer);

			ck_assert_int_eq(pread(from, buffer, size, begin), (ssize_t)size);
			ck_assert_int_eq(pwrite(to, buffer, size, begin), (ssize_t)size);
			begin += (off_t)size;
		}
	}
}

/* What would be left if the process ended now. */
static inline struct remains *remains_of_now(void)
{
	struct remains *remains = calloc(1, sizeof(*remains));

	ck_assert_ptr_nonnull(remains);
	memcpy(remains->keys, rig.keys, sizeof(remains->keys));
	remains->fd = ledger_file();
	copy_file(ledger_fd, remains->fd);
	return remains;
}

/* A vault over what is left. */
static inline int adopt_remains(struct remains *remains, struct vault **vaultp)
{
	int r = coffer_adopt(&remains->coffer, remains->keys, 512, remains->view, &rig.guard);

	return r < 0 ? r : vault_new(vaultp, &remains->coffer, remains->fd);
}

static inline void forget_remains(struct remains *remains)
{
	close(remains->fd);
	free(remains);
}

/* The process ends now and the next one goes on: `vault` is that one's. */
static struct {
	struct vault *vault; /* of the one that ended */
	struct remains *remains;
} past;

static inline void crash(void)
{
	ck_assert_ptr_null(past.remains);
	past.remains = remains_of_now();
	past.vault = vault;
	vault = NULL;
	ck_assert_int_eq(adopt_remains(past.remains, &vault), 0);
	ck_assert(!past.remains->coffer.viewing);
}

/* The vault that ended is under test again. */
static inline void rise(void)
{
	vault_free(vault);
	forget_remains(past.remains);
	vault = past.vault;
	past.vault = NULL;
	past.remains = NULL;
}
