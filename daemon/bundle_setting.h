/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/* A bundle that is opened at the start: where it is, and who hands over the key that opens it. */
#define BUNDLE_PATH_MAX 1024
#define BUNDLE_CREDENTIAL_MAX 256

/* The standard ones are for other things. */
#define BUNDLE_KEY_FD_MIN 3

struct bundle_setting {
	char file[BUNDLE_PATH_MAX];             /* an absolute path; "": there is none */
	char credential[BUNDLE_CREDENTIAL_MAX]; /* its name; "": the key is at the descriptor */
	int fd;                                 /* -1 once it is closed */
};

/*
 * Reads "FILE credential:NAME", "FILE fd:N" or "no". Returns NULL, or what is wrong, as a sentence
 * part. No system call.
 */
const char *bundle_setting_parse(struct bundle_setting *setting, const char *text);

/* Whether they say the same. */
bool bundle_setting_equal(const struct bundle_setting *a, const struct bundle_setting *b);

/*
 * Takes the descriptor out of the way: it passes to nobody who is executed, and has a number that
 * nobody else counts on; at the old one, which may be one of the service manager's, is nothing. To
 * be called while nothing was opened that could have the number by chance. Returns 0; -EBADF when
 * there is none; -EINVAL for a socket, which may be the service manager's; or another negative
 * errno.
 */
int bundle_setting_hold(struct bundle_setting *setting);

/* Closes the descriptor, if there is one. */
void bundle_setting_drop(struct bundle_setting *setting);
