/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/owning.h"
#include "client/cli/say.h"
#include "client/cli/terminal.h"

/*
 * With what the library puts around it three pages, so that it fits beside the handle under a limit
 * of 64 KiB. What is not longer goes to the daemon in one call, which may be repeated.
 */
#define ROOM_SIZE 12000

#define QUESTION_MAX 320

static uint8_t *room_of(const struct input *input)
{
	return mg_secret_writable(input->room);
}

static int make_room(struct input *input, size_t size)
{
	int r = mg_secret_new(&input->room, size, MG_MEMORY_PREFER_LOCK);

	return r == MG_OK ? 0 : say_failed(r, NULL);
}

/* -- from a descriptor --------------------------------------------------------------------- */

/* As read(2), for descriptors that do not block, too. */
static ssize_t read_some(int fd, void *buffer, size_t size)
{
	for (;;) {
		ssize_t n = read(fd, buffer, size);

		if (n >= 0)
			return n;
		if (errno == EAGAIN)
			(void)poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1);
		else if (errno != EINTR)
			return -errno;
	}
}

/* Moves what is left to the front and reads behind it. */
static int refill(struct input *input)
{
	size_t left = input->end - input->begin;
	uint8_t *room = room_of(input);
	ssize_t n;

	/* Not onto itself: the bytes would stay in registers for as long as the read waits. */
	if (input->begin > 0)
		memmove(room, room + input->begin, left);
	input->begin = 0;
	input->end = left;
	n = read_some(input->fd, room + left, mg_secret_size(input->room) - left);
	if (n < 0) {
		input->failed = true;
		return say_error(MG_INVALID, "%s: %s", input->label, strerror((int)-n));
	}
	input->end += (size_t)n;
	input->ended = n == 0;
	return 0;
}

/* What may be handed out: with --trim not a newline that may turn out to be the last byte. */
static size_t at_hand(const struct input *input)
{
	size_t size = input->end - input->begin;

	if (input->trim && size > 0 && room_of(input)[input->end - 1] == '\n')
		size--;
	return size;
}

static int read_first(struct input *input)
{
	int r = make_room(input, ROOM_SIZE);

	while (r == 0 && !input->ended && input->end < ROOM_SIZE)
		r = refill(input);
	return r;
}

static int open_file(struct input *input, const char *path)
{
	input->label = path;
	input->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (input->fd < 0)
		return say_error(MG_INVALID, "%s: %s", path, strerror(errno));
	input->opened = true;
	return read_first(input);
}

static int open_descriptor(struct input *input, int fd, const char *label)
{
	input->label = label;
	input->fd = fd;
	return read_first(input);
}

/* -- from a person ------------------------------------------------------------------------- */

static int tell_dialogue(int error)
{
	if (error == -ENODATA)
		return say_error(MG_INVALID, "no value was typed; nothing is stored");
	if (error == -E2BIG)
		return say_error(MG_INVALID,
			"the line is longer than a terminal hands out whole (%d bytes): "
			"use --file or a pipe",
			TERMINAL_LINE_MAX);
	return say_error(MG_INTERNAL, "/dev/tty: %s", strerror(-error));
}

/* The same twice, so that a slip of the finger is no password. */
static int ask_twice(int terminal, struct terminal_line *line)
{
	MG_AUTO_SECRET struct mg_secret *again = NULL;
	struct terminal_line lines[2] = { *line, { .question = "once more: " } };
	int r = mg_secret_new(&again, TERMINAL_LINE_MAX + 1, MG_MEMORY_PREFER_LOCK);
	uint8_t difference = 0;

	if (r != MG_OK)
		return say_failed(r, NULL);
	lines[1].room = mg_secret_writable(again);
	r = terminal_ask(terminal, lines, 2);
	if (r < 0)
		return tell_dialogue(r);
	*line = lines[0];
	if (lines[0].size != lines[1].size)
		return say_error(MG_INVALID, "the two values differ; nothing is stored");
	for (size_t i = 0; i < line->size; i++)
		difference |=
			(uint8_t)(((uint8_t *)lines[0].room)[i] ^ ((uint8_t *)lines[1].room)[i]);
	return difference == 0 ? 0
			       : say_error(MG_INVALID, "the two values differ; nothing is stored");
}

static int ask_once(int terminal, struct terminal_line *line)
{
	int r = terminal_ask(terminal, line, 1);

	return r < 0 ? tell_dialogue(r) : 0;
}

static int ask(struct input *input, const char *name, bool once)
{
	owning(closep) int terminal = terminal_open();
	char question[QUESTION_MAX];
	struct terminal_line line = { .question = question };
	int r;

	if (terminal < 0)
		return say_error(
			MG_INVALID, "there is no terminal to ask at: use --file or a pipe");
	r = make_room(input, TERMINAL_LINE_MAX + 1);
	if (r != 0)
		return r;
	snprintf(question, sizeof(question), "value of %s: ", name);
	say_clean(question);
	line.room = room_of(input);
	r = once ? ask_once(terminal, &line) : ask_twice(terminal, &line);
	input->end = line.size;
	input->ended = true;
	return r;
}

/* -- all of them --------------------------------------------------------------------------- */

static int open_any(struct input *input, const struct arguments *arguments, const char *name)
{
	if (arguments->fd >= 0)
		return open_descriptor(input, arguments->fd, "--fd");
	if (arguments->file && strcmp(arguments->file, "-") != 0)
		return open_file(input, arguments->file);
	if (arguments->file || !isatty(STDIN_FILENO))
		return open_descriptor(input, STDIN_FILENO, "stdin");
	if (arguments->no_input)
		return say_error(MG_INVALID,
			"a value is needed and may not be asked for: use --file or a pipe");
	return ask(input, name, arguments->once);
}

int input_open(struct input *input, const struct arguments *arguments, const char *name)
{
	int r;

	*input = (struct input){ .fd = -1, .trim = arguments->trim };
	r = open_any(input, arguments, name);
	if (r == 0 && input->ended && at_hand(input) == 0)
		r = say_error(MG_INVALID, "the value is empty; nothing is stored");
	if (r != 0)
		input_close(input);
	return r;
}

bool input_is_whole(const struct input *input)
{
	return input->ended;
}

const void *input_bytes(const struct input *input, size_t *sizep)
{
	*sizep = at_hand(input);
	return room_of(input) + input->begin;
}

ssize_t input_read(void *context, void *buffer, size_t capacity)
{
	struct input *input = context;
	size_t size;

	while ((size = at_hand(input)) == 0 && !input->ended)
		if (refill(input) != 0)
			return -1;
	if (size > capacity)
		size = capacity;
	memcpy(buffer, room_of(input) + input->begin, size);
	input->begin += size;
	return (ssize_t)size;
}

void input_close(struct input *input)
{
	mg_secret_free(input->room);
	input->room = NULL;
	if (input->opened)
		close(input->fd);
	input->opened = false;
}
