/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A shell turns ~/x into the path of the caller's home folder. No name begins with '/': what does,
 * and lies below that folder, is turned back into ~/x. Gives NULL without memory; the caller frees.
 */
char *name_from_shell(const char *word);

/* The same for the beginning of names, where ~ alone is all that is the caller's own. */
char *name_prefix_from_shell(const char *word);
