/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/mgclient.h"
#include "common/wire/endpoint.h"

/*
 * Which daemon to speak to, and whether it is the one: asked of the kernel before anything is sent.
 * Both return MG_OK or a status, with the words said.
 */
int trust_find(struct endpoint *endpoint, const struct mg_options *options);

/*
 * Whether the peer of a connected socket may be the daemon at `path`: the uid that the options
 * expect; else root, ourselves, or the owner of the socket's folder where every folder above
 * belongs to root and is writable by root alone (a sticky one counts as safe). A uid that stands
 * for several users is none of these.
 */
int trust_check(int socket, const char *path, const struct mg_options *options);
