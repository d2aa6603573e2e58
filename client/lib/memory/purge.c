/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/lib/error.h"
#include "client/lib/memory/own.h"
#include "client/lib/memory/secret.h"
#include "client/lib/mgclient.h"

/* What a service does with all its secrets at once, when it is time to. */

void mg_purge_local(void)
{
	secret_purge_all(own_self());
}

void mg_exit_local(int status)
{
	mg_purge_local();
	exit(status);
}

void mg_abort_local(const char *text)
{
	mg_purge_local();
	if (text)
		(void)!dprintf(STDERR_FILENO, "%s\n", text);
	abort();
}

void mg_wipe_bytes(void *bytes, size_t size)
{
	if (size > 0)
		sodium_memzero(bytes, size);
}

int mg_scramble_bytes(void *bytes, size_t size)
{
	if (sodium_init() < 0)
		return error_say(MG_INTERNAL, "libsodium does not start");
	if (size > 0)
		randombytes_buf(bytes, size);
	return MG_OK;
}
