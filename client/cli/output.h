/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/cli/arguments.h"

#include <mgclient.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Where a value goes: stdout, a descriptor or a file; as it is, encoded, or inside a line of JSON.
 * The bytes are only ever in guarded memory: the caller's, or `room`.
 */
struct output {
	int fd;
	bool to_file;
	bool careful; /* no control bytes: it is a terminal */
	bool newline; /* at the end */
	bool json;    /* the value is a member of the line */
	enum encoding encoding;
	struct mg_secret *room;
	size_t used;
	size_t waiting;            /* bytes that base64 has not yet three of */
	unsigned expecting;        /* bytes of a character that are still to come */
	unsigned char least, most; /* what the next of them may be */
	const char *label;
	bool failed; /* and has been said */
};

/* Returns an exit status. After it, output_keep or output_drop must come. */
int output_open(struct output *output, const struct arguments *arguments);

/* Whether the value is part of a JSON line: then output_json begins it, before any byte. */
bool output_is_json(const struct output *output);

/* `head` is a JSON object to which the value is added as its last member. */
int output_json(struct output *output, const char *head);

/* The next bytes of the value. Returns an exit status. */
int output_write(struct output *output, const void *bytes, size_t size);

/*
 * Writes what waits for more, but for one or two bytes that base64 has no third to. Returns an exit
 * status.
 */
int output_flush(struct output *output);

/* Ends the output; a file is put into its place. Returns an exit status. */
int output_keep(struct output *output);

/* Ends it after a failure: a file is taken away. */
void output_drop(struct output *output);

/* As other programs end when nobody reads on: by SIGPIPE, also where that is ignored. */
_Noreturn void output_end_quietly(void);
