/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/vault/vault_inside.h"

/* Tokens are moved and adopted as answers are; but a purge gives their blocks back with the rest.
 */
void tokens_purge(struct vault *vault);
int token_bring_forward(struct vault *vault, uint64_t offset);
int tokens_adopt(struct vault *vault, struct offsets *tokens);
