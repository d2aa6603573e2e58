/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/cli/arguments.h"

#include <mgclient.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Where a value comes from: a descriptor, a file, stdin, or a person. It lies in guarded memory
 * from the first byte on, and no more of it than `room` holds at a time.
 */
struct input {
	struct mg_secret *room;
	size_t begin, end; /* what lies in it and was not handed out */
	int fd;            /* -1: nothing more comes */
	bool opened;       /* the descriptor is ours */
	bool ended;
	bool trim;
	const char *label; /* what an error names */
	bool failed;       /* and has been said */
};

/* Opens it and reads the first piece. `name` is for the prompt. Returns an exit status. */
int input_open(struct input *input, const struct arguments *arguments, const char *name);

/* Whether the first piece is all there is; then input_bytes are the value. */
bool input_is_whole(const struct input *input);
const void *input_bytes(const struct input *input, size_t *sizep);

/* An mg_source: hands out the rest. */
ssize_t input_read(void *input, void *buffer, size_t capacity);

void input_close(struct input *input);
