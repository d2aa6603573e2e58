/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service NAME: fetches a password once at its start, uses it, and wipes it before it serves.
 * Build: cc service.c $(pkg-config --cflags --libs mgclient)
 */
#include <mgclient.h>
#include <stdio.h>

/*
 * Where a service would open its database, say. It gets bytes that are not a C string: there is no
 * NUL behind them, and a copy on the heap would undo what the library does.
 */
static int log_in(const void *password, size_t size)
{
	return password && size >= 8 ? 0 : -1;
}

/* The password lives from here to the end of this function, in locked and read-only pages. */
static int open_database(const char *name)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *password = NULL;
	const struct mg_options options = { .memory = MG_MEMORY_REQUIRE_LOCK, .timeout_ms = 2000 };
	const struct mg_get_options patiently = { .wait_ms = 10000 };
	int status = mg_open(&client, &options);

	if (status == MG_OK)
		status = mg_get(client, name, &patiently, &password);
	if (status != MG_OK) {
		fprintf(stderr, "no password: %s: %s\n", mg_status_name(status), mg_last_error());
		return status;
	}
	if (log_in(mg_secret_data(password), mg_secret_size(password)) < 0) {
		fprintf(stderr, "the password under '%s' is too short\n", name);
		return MG_INVALID;
	}
	return MG_OK;
}

int main(int argc, char **argv)
{
	int status;

	if (argc != 2) {
		fprintf(stderr, "usage: %s NAME\n", argv[0]);
		return MG_INVALID;
	}
	status = open_database(argv[1]);
	if (status != MG_OK)
		return status;
	puts("logged in; the password is wiped");
	return 0;
}
