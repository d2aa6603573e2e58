/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/config.h"
#include "daemon/keeper/estate.h"

#include <stdbool.h>

/*
 * The new program's side of an upgrade: it is started by the keeper that it takes over from, with
 * the end of a line (line.h). The old one says LINE_OFFER and serves on; the new one says
 * LINE_ACCEPT or LINE_REFUSE; the old one's worker leaves, and LINE_ESTATE brings everything; when
 * the new one's worker serves, LINE_COMMIT makes it the new one's own. Up to then the new one wipes
 * nothing, removes nothing and says nothing to the service manager, so that the old one can go on
 * with what it has.
 */
#define HANDOVER_VARIABLE "MEMGUARDD_HANDOVER" /* in its environment: the descriptor */
#define HANDOVER_VERSION 1

/* Formats of keys and ledger, an os_memory_backend, whether the socket is its own; its path. */
#define HANDOVER_OFFER "%u %u %u %u %s"

/* Behind the name of a listener that the service manager has made: no lock follows its socket. */
#define HANDOVER_WITHOUT_LOCK "!"

/* Takes the line out of the environment, once, at start. Returns it, or -1: nobody hands over. */
int handover_line(void);

/*
 * Answers the offer and waits for the estate. *purgep: all of it is to be purged before anybody is
 * served. Returns 0; or a negative errno, with `fault` filled in: then this program is to end, and
 * nothing is lost.
 */
int handover_take(int line, const struct config *config, struct estate *estate, bool *purgep,
	struct config_fault *fault);

/* Says why it comes to nothing; does nothing without a line (-1). */
void handover_refuse(int line, const char *text);
