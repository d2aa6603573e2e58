/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/audit/audit_line.h"
#include "daemon/audit/audit.h"

/* What a line tells of a decision: all but its number, its time and its place in the chain. */
void audit_entry_put(struct audit_draft *draft, const struct audit_entry *entry);
