/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/request/tokens.h"

/*
 * A token's text, as the vault keeps it: all that was asked for, and who its issuer was. Operations
 * and globs stand there as they were said, so that the next program reads them by its own lists.
 */

/*
 * Writes it; *textp is the caller's to free. Returns its bytes, -EINVAL with what is wrong in
 * *wordsp, -E2BIG likewise, or -ENOMEM.
 */
ssize_t tokens_text_write(
	const struct token_wish *wish, int64_t now_ms, uint8_t **textp, const char **wordsp);

/* How many uses it is issued with; 0: as many as one likes. */
uint32_t tokens_uses(const struct token_wish *wish);

/* Whether a token is what is wished for, and by whom; not how long, nor of which secret. */
bool tokens_text_says(const struct token *token, const struct token_wish *wish);

/* Makes a token of one, which token_free frees. Returns 0, -EBADMSG, or -ENOMEM. */
int tokens_text_read(struct token **tokenp, struct span text);
void token_free(struct token *token);
