/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdio.h>

/* Writes what teaches a shell our commands and options; it asks mgctl itself for names. */
typedef void completion_writer(FILE *stream);

/* NULL for a shell that we do not know. */
completion_writer *completion_find(const char *shell);
