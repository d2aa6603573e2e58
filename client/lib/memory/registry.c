/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/registry.h"

#include "client/lib/memory/own.h"

static struct own own = OWN_INIT;
static struct mg_secret *first;

static void renew(void)
{
	first = NULL;
}

void registry_enter(pid_t self)
{
	own_enter(&own, self, renew);
}

void registry_leave(void)
{
	own_leave(&own);
}

void registry_add(struct mg_secret *secret)
{
	secret->next = first;
	secret->previous = NULL;
	if (first)
		first->previous = secret;
	first = secret;
}

void registry_remove(struct mg_secret *secret)
{
	if (secret->next)
		secret->next->previous = secret->previous;
	if (secret->previous)
		secret->previous->next = secret->next;
	else
		first = secret->next;
}

struct mg_secret *registry_next(const struct mg_secret *secret)
{
	return secret ? secret->next : first;
}
