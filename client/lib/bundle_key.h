/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/mgclient-backup.h"
#include "common/wire/bundle.h"

/*
 * The key of a bundle: from a passphrase, for a public key, with a private one. It is made in the
 * handle's guarded memory, between two of its calls, and goes into the stream of messages, which
 * lies in such memory, and nowhere else. Both return a status, with the words said.
 */

/* Makes the head, the stream's part included, and begins the stream. */
int bundle_key_create(struct bundle *bundle, struct bundle_head *head,
	const struct mg_backup_options *options, struct mg_client *client);

/* Begins the stream that follows a head. MG_INTEGRITY when passphrase or key are of another kind,
 * or a private key is another one. */
int bundle_key_open(struct bundle *bundle, const struct bundle_head *head,
	const struct mg_backup_options *options, struct mg_client *client);
