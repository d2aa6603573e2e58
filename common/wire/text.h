/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"

/*
 * NULL when the bytes are UTF-8 (no overlong form, no surrogate, at most U+10FFFF) without control
 * characters (C0, DEL, C1), else what is wrong, as a sentence part. Source: RFC 3629.
 */
const char *text_fault(struct span text);
