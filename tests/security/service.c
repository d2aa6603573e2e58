/* SPDX-License-Identifier: Apache-2.0 */

/*
 * service ENDPOINT NAME WAY: what a service does with a value through libmgclient, one way, until
 * it has given the value back. Then it stops with a breakpoint, for lookfor to look, and ends. Some
 * ways keep something: they are what must be found.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/mgclient.h"

#define VALUE_MAX ((size_t)1 << 20)

#if defined(__x86_64__)
#define STOP() __asm__ volatile("int3")
#else
#define STOP() raise(SIGTRAP)
#endif

struct service {
	struct mg_client *client;
	const char *name;
};

static void check(int status)
{
	if (status == MG_OK)
		return;
	fprintf(stderr, "service: %s: %s\n", mg_status_name(status), mg_last_error());
	exit(status);
}

/* Every byte is looked at, one at a time: this leaves one in a register and no more. */
static void use(const void *bytes, size_t size)
{
	const volatile unsigned char *at = bytes;
	unsigned char all = 0;

	for (size_t i = 0; i < size; i++)
		all ^= at[i];
	if (size > 0 && all == at[0] && size == 1)
		puts("one byte");
}

static struct mg_secret *fetch(struct service *service)
{
	struct mg_secret *secret;

	check(mg_get(service->client, service->name, NULL, &secret));
	use(mg_secret_data(secret), mg_secret_size(secret));
	return secret;
}

static struct mg_secret *read_input(void)
{
	struct mg_secret *secret;

	check(mg_secret_from_fd_all(&secret, STDIN_FILENO, VALUE_MAX, MG_MEMORY_PREFER_LOCK));
	return secret;
}

/* -- what must leave nothing --------------------------------------------------------------- */

static void get(struct service *service)
{
	mg_secret_free(fetch(service));
	STOP();
}

static int take_piece(void *context, const struct mg_info *info, const void *bytes, size_t size)
{
	(void)context;
	(void)info;
	use(bytes, size);
	return 0;
}

static void get_each(struct service *service)
{
	check(mg_get_each(service->client, service->name, NULL, take_piece, NULL));
	STOP();
}

static void set(struct service *service)
{
	struct mg_secret *secret = read_input();

	check(mg_set(service->client, service->name, mg_secret_data(secret), mg_secret_size(secret),
		NULL, NULL));
	mg_secret_free(secret);
	STOP();
}

static void verify(struct service *service)
{
	struct mg_secret *secret = read_input();

	check(mg_verify(
		service->client, service->name, mg_secret_data(secret), mg_secret_size(secret)));
	mg_secret_free(secret);
	STOP();
}

/* Fetched, kept closed, opened for a moment. */
static void enclave(struct service *service)
{
	struct mg_enclave *closed;
	struct mg_secret *secret;

	check(mg_get_enclave(service->client, service->name, NULL, &closed));
	check(mg_enclave_open(closed, &secret, MG_MEMORY_PREFER_LOCK));
	use(mg_secret_data(secret), mg_secret_size(secret));
	mg_secret_free(secret);
	STOP();
	mg_enclave_free(closed);
}

/* From one secret into another, through the library's own functions. */
static void copy(struct service *service)
{
	struct mg_secret *from = fetch(service);
	struct mg_secret *to;

	check(mg_secret_new(&to, mg_secret_size(from), MG_MEMORY_PREFER_LOCK));
	check(mg_secret_copy(to, mg_secret_data(from), mg_secret_size(from)));
	check(mg_secret_read_at(from, 0, mg_secret_writable(to), mg_secret_size(to)));
	if (!mg_secret_equal(from, mg_secret_data(to), mg_secret_size(to)))
		abort();
	mg_secret_free(to);
	mg_secret_free(from);
	STOP();
}

static void stream(struct service *service)
{
	struct mg_secret *secret = fetch(service);
	struct mg_stream *sealed;

	check(mg_secret_melt(secret));
	check(mg_stream_new(&sealed));
	check(mg_stream_write(sealed, mg_secret_writable(secret), mg_secret_size(secret)));
	mg_secret_free(secret);
	check(mg_stream_flush(sealed, &secret, MG_MEMORY_PREFER_LOCK));
	use(mg_secret_data(secret), mg_secret_size(secret));
	mg_secret_free(secret);
	STOP();
	mg_stream_free(sealed);
}

/* Sent into a stream of the daemon, and received again. */
static void pass_on(struct service *service)
{
	struct mg_secret *secret = fetch(service);

	check(mg_send(service->client, "~/stream", mg_secret_data(secret), mg_secret_size(secret)));
	mg_secret_free(secret);
	check(mg_receive_each(service->client, "~/stream", take_piece, NULL));
	STOP();
}

/* -- what must be found -------------------------------------------------------------------- */

static void keep_open(struct service *service)
{
	struct mg_secret *secret = fetch(service);

	STOP();
	mg_secret_free(secret);
}

static void keep_copy(struct service *service)
{
	struct mg_secret *secret = fetch(service);
	static unsigned char *volatile kept;

	kept = malloc(mg_secret_size(secret));
	if (!kept)
		abort();
	memcpy(kept, mg_secret_data(secret), mg_secret_size(secret));
	mg_secret_free(secret);
	STOP();
}

static void keep_in_register(struct service *service)
{
	struct mg_secret *secret = fetch(service);
	unsigned char masked[16];

	for (size_t i = 0; i < sizeof(masked); i++)
		masked[i] = ((const volatile unsigned char *)mg_secret_data(secret))[i] ^ 0x5a;
	mg_secret_free(secret);
#if defined(__x86_64__)
	__asm__ volatile("movdqu (%0), %%xmm5\n\t"
			 "mov $0x5a5a5a5a, %%eax\n\t"
			 "movd %%eax, %%xmm6\n\t"
			 "pshufd $0, %%xmm6, %%xmm6\n\t"
			 "pxor %%xmm6, %%xmm5\n\t"
			 "int3" ::"r"(masked)
			 : "eax", "xmm5", "xmm6", "memory");
#else
	STOP();
#endif
}

static const struct way {
	const char *name;
	void (*go)(struct service *service);
} ways[] = {
	{ "get", get },
	{ "get-each", get_each },
	{ "set", set },
	{ "verify", verify },
	{ "enclave", enclave },
	{ "copy", copy },
	{ "stream", stream },
	{ "pass-on", pass_on },
	{ "keep-open", keep_open },
	{ "keep-copy", keep_copy },
	{ "keep-in-register", keep_in_register },
};

int main(int argc, char **argv)
{
	struct mg_options options = { .memory = MG_MEMORY_PREFER_LOCK };
	struct service service = { .client = NULL };

	if (argc != 4)
		return MG_INVALID;
	options.endpoint = argv[1];
	service.name = argv[2];
	check(mg_open(&service.client, &options));
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (strcmp(ways[i].name, argv[3]) == 0)
			ways[i].go(&service);
	mg_close(service.client);
	return 0;
}
