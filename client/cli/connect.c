/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/connect.h"

#include <fcntl.h>
#include <mgclient-token.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/say.h"
#include "client/cli/token.h"

/* Between two tries: soon at first, since a daemon is up within milliseconds. */
#define PAUSE_LEAST_MS 5
#define PAUSE_MOST_MS 200

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void pause_ms(uint64_t ms)
{
	nanosleep(&(struct timespec){ .tv_sec = (time_t)(ms / 1000),
			  .tv_nsec = (long)(ms % 1000) * 1000000 },
		NULL);
}

static struct mg_options options_of(const struct arguments *arguments)
{
	return (struct mg_options){
		.endpoint = arguments->socket,
		.timeout_ms = arguments->timeout_ms,
		.memory = MG_MEMORY_PREFER_LOCK,
		.expect_uid = arguments->daemon_uid.given,
		.daemon_uid = (uid_t)arguments->daemon_uid.number,
	};
}

/* -- a token ------------------------------------------------------------------------------- */

/* The descriptor that --token-fd or the environment names; -1: none. */
static int find_token_fd(const struct arguments *arguments, int *fdp)
{
	const char *text = getenv("MEMGUARD_TOKEN_FD");
	const char *fault;

	*fdp = arguments->token_fd;
	if (*fdp >= 0 || !text || !text[0])
		return 0;
	fault = arguments_fd(fdp, text);
	return fault ? say_error(MG_INVALID, "MEMGUARD_TOKEN_FD '%s' %s", text, fault) : 0;
}

/* A command that is run later on has no token by us: a file could be read once more. */
static void keep_token(int fd)
{
	if (fd > STDERR_FILENO)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	unsetenv("MEMGUARD_TOKEN_FD");
}

static int show_token(struct mg_client *client, const struct arguments *arguments)
{
	MG_AUTO_SECRET struct mg_secret *token = NULL;
	int fd;
	int r = find_token_fd(arguments, &fd);

	if (r != 0 || fd < 0)
		return r;
	r = token_read(&token, fd, "the token");
	keep_token(fd);
	if (r != 0)
		return r;
	r = mg_show_token(client, mg_secret_data(token), mg_secret_size(token));
	return r == MG_OK ? 0 : say_failed(r, NULL);
}

/* -- the connection ------------------------------------------------------------------------ */

int connect_daemon(struct mg_client **clientp, const struct arguments *arguments)
{
	struct mg_options options = options_of(arguments);
	int r = mg_open(clientp, &options);

	if (r == MG_OK)
		r = mg_set_reason(*clientp, arguments->reason);
	r = r == MG_OK ? show_token(*clientp, arguments) : say_failed(r, NULL);
	if (r != 0) {
		mg_close(*clientp);
		*clientp = NULL;
		return r;
	}
	say_note("connected to %s", mg_endpoint(*clientp));
	return 0;
}

/* A try with no more time than is left. */
static int try_once(struct mg_client **clientp, const struct arguments *arguments, uint64_t left_ms)
{
	struct mg_options options = options_of(arguments);
	int r;

	if (left_ms < UINT32_MAX && (options.timeout_ms == 0 || options.timeout_ms > left_ms))
		options.timeout_ms = left_ms > 0 ? (unsigned)left_ms : 1;
	r = mg_open(clientp, &options);
	if (r == MG_OK)
		r = mg_ping(*clientp);
	if (r != MG_OK) {
		mg_close(*clientp);
		*clientp = NULL;
	}
	return r;
}

/* A daemon that starts is first not there, then slow. */
static bool may_pass(int r)
{
	return r == MG_UNREACHABLE || r == MG_TIMEOUT;
}

/* What waiting cannot mend is told as it is. */
static int give_up(int r, unsigned waited_ms)
{
	if (r != MG_UNREACHABLE && r != MG_TIMEOUT)
		return say_failed(r, NULL);
	return say_error(
		MG_TIMEOUT, "not ready within %g s: %s", waited_ms / 1000.0, mg_last_error());
}

int connect_ready(struct mg_client **clientp, const struct arguments *arguments)
{
	uint64_t end = now_ms() + arguments->wait_ready_ms;
	uint64_t pause = PAUSE_LEAST_MS;

	if (arguments->wait_ready_ms == 0)
		return connect_daemon(clientp, arguments);
	for (;;) {
		uint64_t now = now_ms();
		int r = try_once(clientp, arguments, end > now ? end - now : 0);

		if (r == MG_OK)
			break;
		now = now_ms();
		if (!may_pass(r) || now >= end)
			return give_up(r, arguments->wait_ready_ms);
		pause_ms(pause < end - now ? pause : end - now);
		pause = pause * 2 < PAUSE_MOST_MS ? pause * 2 : PAUSE_MOST_MS;
	}
	mg_set_timeout(*clientp, arguments->timeout_ms);
	if (mg_set_reason(*clientp, arguments->reason) != MG_OK)
		return say_failed(MG_INVALID, NULL);
	say_note("connected to %s", mg_endpoint(*clientp));
	return 0;
}
