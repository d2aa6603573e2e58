/* SPDX-License-Identifier: Apache-2.0 */
/*
 * structure: reads accounts from standard input, counts each one up, and writes them to standard
 * output. The structures lie over the guarded bytes themselves: no field is copied anywhere.
 * Build: cc structure.c $(pkg-config --cflags --libs mgclient)
 */
#include <errno.h>
#include <inttypes.h>
#include <mgclient.h>
#include <stdio.h>
#include <unistd.h>

#define BYTES_MOST 65536

struct account {
	uint8_t key[32];
	uint64_t number;
	uint32_t uses;
	uint32_t limit;
};

/* Melting gives the secret pages of its own: views from before it are stale. */
static int count_up(struct mg_secret *accounts)
{
	struct account *account;
	size_t count;
	int status = mg_secret_melt(accounts);

	if (status != MG_OK)
		return status;
	account = MG_ITEMS_WRITABLE(struct account, accounts, &count);
	for (size_t i = 0; i < count; i++)
		account[i].uses++;
	return mg_secret_freeze(accounts);
}

/* Tells what is no secret; the keys stay where they are. */
static void tell(const struct mg_secret *accounts)
{
	size_t count;
	const struct account *account = MG_ITEMS(struct account, accounts, &count);

	for (size_t i = 0; i < count; i++)
		fprintf(stderr, "account %" PRIu64 ": %" PRIu32 " of %" PRIu32 "\n",
			account[i].number, account[i].uses, account[i].limit);
}

static int write_all(const struct mg_secret *accounts)
{
	const char *bytes = mg_secret_data(accounts);
	size_t size = mg_secret_size(accounts);

	while (size > 0) {
		ssize_t written = write(STDOUT_FILENO, bytes, size);

		if (written < 0 && errno != EINTR)
			return MG_INTERNAL;
		if (written > 0) {
			bytes += written;
			size -= (size_t)written;
		}
	}
	return MG_OK;
}

int main(void)
{
	MG_AUTO_SECRET struct mg_secret *accounts = NULL;
	int status =
		mg_secret_from_fd_all(&accounts, STDIN_FILENO, BYTES_MOST, MG_MEMORY_PREFER_LOCK);

	/* Without even one account there is no view: not of a byte that is not there. */
	if (status == MG_OK && !MG_VIEW(struct account, accounts))
		return MG_INVALID;
	if (status == MG_OK)
		status = count_up(accounts);
	if (status != MG_OK) {
		fprintf(stderr, "%s: %s\n", mg_status_name(status), mg_last_error());
		return status;
	}
	tell(accounts);
	return write_all(accounts);
}
