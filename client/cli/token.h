/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/cli/arguments.h"

#include <mgclient.h>

/* The texts of tokens and wraps, which lie in guarded memory alone. Both return an exit status. */

/* Why one does not count: a word of JSON, and words; NULL: it does, or a newer daemon knows why. */
const char *token_fault_word(enum mg_token_fault fault);
const char *token_fault_words(enum mg_token_fault fault);

/* Prints one where a value would go; `name` is for JSON. */
int token_print(const struct arguments *arguments, const char *name, const struct mg_secret *token);

/* Reads one: the first line of a descriptor, or all there is. `whence` is for messages. */
int token_read(struct mg_secret **tokenp, int fd, const char *whence);
