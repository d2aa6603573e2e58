/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Everything that is told on stderr. No value ever comes here. In a program's words nothing reaches
 * the terminal that could steer it.
 */
void say_setup(bool json, bool quiet, bool verbose);

/* Tells why the program fails, as a line of text or of JSON; returns `status`. */
__attribute__((format(printf, 2, 3))) int say_error(int status, const char *format, ...);

/* The same for a call of the library that returned `status`; `name` is the secret's, or NULL. */
int say_failed(int status, const char *name);

/* What a long command has done, for whoever did not ask for quiet or for JSON. */
__attribute__((format(printf, 1, 2))) void say_done(const char *format, ...);

/* What only somebody who asked with -v wants to know. */
__attribute__((format(printf, 1, 2))) void say_note(const char *format, ...);

/* Makes a text safe to print, in place: what is no UTF-8 or a control byte becomes '?'. */
void say_clean(char *text);
