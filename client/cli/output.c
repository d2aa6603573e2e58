/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/outfile.h"
#include "client/cli/say.h"

/* With what the library puts around it two pages: it fits beside the handle under 64 KiB. */
#define ROOM_SIZE 8000

/* The room begins with what base64 keeps for the next piece. */
#define WAITING_MAX 3

void output_end_quietly(void)
{
	sigset_t pipe;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &pipe, NULL);
	raise(SIGPIPE);
	_exit(128 + SIGPIPE);
}

/* A full disk is a limit; whatever else stops the writing is not the caller's mistake. */
static int fail(struct output *output, int error)
{
	bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;

	if (error == EPIPE)
		output_end_quietly();
	output->failed = true;
	return say_error(full ? MG_LIMIT : MG_INTERNAL, "%s: %s", output->label, strerror(error));
}

static int write_all(struct output *output, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t n = write(output->fd, bytes, size);

		if (n >= 0) {
			bytes += n;
			size -= (size_t)n;
		} else if (errno == EAGAIN) {
			(void)poll(&(struct pollfd){ .fd = output->fd, .events = POLLOUT }, 1, -1);
		} else if (errno != EINTR) {
			return fail(output, errno);
		}
	}
	return 0;
}

/* -- the room: what is small waits there for more ------------------------------------------ */

static uint8_t *text_of(struct output *output)
{
	return (uint8_t *)mg_secret_writable(output->room) + WAITING_MAX;
}

static size_t text_room(const struct output *output)
{
	return ROOM_SIZE - WAITING_MAX - output->used;
}

int output_flush(struct output *output)
{
	int r = write_all(output, text_of(output), output->used);

	output->used = 0;
	return r;
}

static int put(struct output *output, const void *bytes, size_t size)
{
	int r = size > text_room(output) ? output_flush(output) : 0;

	if (r != 0)
		return r;
	if (size > text_room(output))
		return write_all(output, bytes, size);
	memcpy(text_of(output) + output->used, bytes, size);
	output->used += size;
	return 0;
}

/* -- encodings ----------------------------------------------------------------------------- */

/* Three bytes, of which `count` are there, as four characters. */
static void base64_four(uint8_t four[static 4], const uint8_t *three, size_t count)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t second = count > 1 ? three[1] : 0;
	uint8_t third = count > 2 ? three[2] : 0;

	four[0] = (uint8_t)digits[three[0] >> 2];
	four[1] = (uint8_t)digits[(three[0] & 3) << 4 | second >> 4];
	four[2] = count > 1 ? (uint8_t)digits[(second & 15) << 2 | third >> 6] : '=';
	four[3] = count > 2 ? (uint8_t)digits[third & 63] : '=';
}

/* What waits goes out as four characters, padded when there is less than three. */
static int end_group(struct output *output)
{
	int r = text_room(output) < 4 ? output_flush(output) : 0;

	if (r != 0 || output->waiting == 0)
		return r;
	base64_four(text_of(output) + output->used, mg_secret_data(output->room), output->waiting);
	output->used += 4;
	output->waiting = 0;
	return 0;
}

static int put_base64(struct output *output, const uint8_t *bytes, size_t size)
{
	uint8_t *waiting = mg_secret_writable(output->room);
	int r = 0;

	for (size_t i = 0; i < size && r == 0; i++) {
		waiting[output->waiting++] = bytes[i];
		if (output->waiting == WAITING_MAX)
			r = end_group(output);
	}
	return r;
}

static int put_hex(struct output *output, const uint8_t *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	int r = 0;

	for (size_t i = 0; i < size && r == 0; i++) {
		uint8_t *out;

		if (text_room(output) < 2)
			r = output_flush(output);
		out = text_of(output) + output->used;
		out[0] = (uint8_t)digits[bytes[i] >> 4];
		out[1] = (uint8_t)digits[bytes[i] & 15];
		output->used += 2;
	}
	return r;
}

/* -- terminals ----------------------------------------------------------------------------- */

/* The bytes that may begin a character of UTF-8, and what must follow each. */
static bool begin_character(struct output *output, uint8_t byte)
{
	output->least = 0x80;
	output->most = 0xbf;
	if (byte < 0x80)
		return (byte >= 0x20 && byte != 0x7f) || byte == '\n' || byte == '\t';
	if (byte < 0xc2 || byte > 0xf4)
		return false;
	output->expecting = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
	if (byte == 0xc2 || byte == 0xe0) /* the C1 controls; what is too long */
		output->least = 0xa0;
	else if (byte == 0xf0)
		output->least = 0x90;
	else if (byte == 0xed)
		output->most = 0x9f;
	else if (byte == 0xf4)
		output->most = 0x8f;
	return true;
}

/* Text that cannot steer a terminal. A terminal may take any byte that is no UTF-8 for a control.
 */
static bool is_harmless(struct output *output, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (output->expecting == 0) {
			if (!begin_character(output, bytes[i]))
				return false;
			continue;
		}
		if (bytes[i] < output->least || bytes[i] > output->most)
			return false;
		output->least = 0x80;
		output->most = 0xbf;
		output->expecting--;
	}
	return true;
}

/* -- the whole ----------------------------------------------------------------------------- */

static int open_place(struct output *output, const struct arguments *arguments)
{
	int fd;

	output->label = arguments->fd >= 0 ? "--fd" : "stdout";
	output->fd = arguments->fd >= 0 ? arguments->fd : STDOUT_FILENO;
	if (!arguments->out && fcntl(output->fd, F_GETFD) < 0)
		return say_error(MG_INVALID, "%s: %s", output->label, strerror(errno));
	if (!arguments->out)
		return 0;
	fd = outfile_open(arguments->out);
	if (fd == -EINVAL)
		return say_error(MG_INVALID, "%s is no regular file: redirect the output instead",
			arguments->out);
	if (fd < 0)
		return say_error(MG_INVALID, "%s: %s", arguments->out, strerror(-fd));
	output->label = arguments->out;
	output->fd = fd;
	output->to_file = true;
	return 0;
}

int output_open(struct output *output, const struct arguments *arguments)
{
	bool elsewhere = arguments->out || arguments->fd >= 0;
	int r;

	*output = (struct output){
		.fd = -1, .encoding = arguments->encoding, .json = arguments->json && !elsewhere
	};
	r = mg_secret_new(&output->room, ROOM_SIZE, MG_MEMORY_PREFER_LOCK);
	if (r != MG_OK)
		return say_failed(r, NULL);
	r = open_place(output, arguments);
	if (r != 0) {
		output_drop(output);
		return r;
	}
	if (output->json)
		output->encoding = ENCODING_BASE64;
	output->newline = arguments->newline == NEWLINE_YES ||
		(arguments->newline == NEWLINE_AUTO && isatty(output->fd));
	output->careful =
		output->encoding == ENCODING_NONE && !arguments->force && isatty(output->fd);
	return 0;
}

bool output_is_json(const struct output *output)
{
	return output->json;
}

int output_json(struct output *output, const char *head)
{
	static const char member[] = ",\"value_b64\":\"";
	int r = put(output, head, strlen(head) - 1);

	return r == 0 ? put(output, member, strlen(member)) : r;
}

int output_write(struct output *output, const void *bytes, size_t size)
{
	if (output->encoding == ENCODING_BASE64)
		return put_base64(output, bytes, size);
	if (output->encoding == ENCODING_HEX)
		return put_hex(output, bytes, size);
	if (!output->careful || is_harmless(output, bytes, size))
		return put(output, bytes, size);
	output->failed = true;
	return say_error(MG_INVALID,
		"the value is no plain text and is not written to a terminal: "
		"use --force, --encode or --out");
}

static int finish(struct output *output)
{
	int r = output->encoding == ENCODING_BASE64 ? end_group(output) : 0;

	if (r == 0 && output->json)
		r = put(output, "\"}\n", 3);
	else if (r == 0 && output->newline)
		r = put(output, "\n", 1);
	return r == 0 ? output_flush(output) : r;
}

int output_keep(struct output *output)
{
	int r = finish(output);
	int error = r == 0 && output->to_file ? outfile_keep() : 0;

	if (error < 0)
		r = fail(output, -error);
	output_drop(output);
	return r;
}

void output_drop(struct output *output)
{
	mg_secret_free(output->room);
	output->room = NULL;
	if (output->to_file)
		outfile_drop();
}
