/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/*
 * What nobody does without a reason: operations as a rule of policy names them, a bit each (enum
 * right), or `no`, which is 0. NULL, or what would be right.
 */
const char *config_read_reasons(uint32_t *reasons, const char *text);
