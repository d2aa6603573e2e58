/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/*
 * Quotas as they are written: a number, or a size in bytes; `no` for as much as there is, which is
 * 0 here. Give NULL, or what would be right.
 */
const char *config_read_quota(uint64_t *quota, const char *text);

/* The same of what is stored, where 0 is written for it, too. */
const char *config_read_quota_count(uint64_t *quota, const char *text);
const char *config_read_quota_bytes(uint64_t *quota, const char *text);
