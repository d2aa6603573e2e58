/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A file that appears under its name when it is complete, and not before: mode 0600, written beside
 * its place. A process has one at a time; INT, TERM, HUP and QUIT take it away before they end the
 * process. What stands in its place is replaced when it is a regular file, and refused otherwise.
 */

/* A descriptor to write to, or a negative errno: -EINVAL for a place that is no regular file. */
int outfile_open(const char *path);

/* Puts the file into its place, on the disk. Returns 0 or a negative errno: then it is gone. */
int outfile_keep(void);

/* Takes it away, if there is one. */
void outfile_drop(void);
