/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/keeper/estate.h"

#include <errno.h>
#include <unistd.h>

#include "common/memory/coffer.h"
#include "daemon/daemon.h"
#include "daemon/ledger/ledger.h"

void estate_init(struct estate *estate)
{
	*estate = (struct estate){ .ledger = -1, .listener = { .fd = -1, .lock = -1 } };
}

int estate_make(struct estate *estate, enum os_memory_need need)
{
	int r = daemon_map_keys(&estate->keys, need);

	if (r < 0)
		return r;
	estate->ledger = ledger_file();
	return estate->ledger < 0 ? estate->ledger : 0;
}

/* Never weaker than it is. */
static enum os_memory_need need_of(const struct os_memory *keys)
{
	static const enum os_memory_need needs[] = {
		[OS_MEMORY_PLAIN] = OS_MEMORY_PREFER_LOCK,
		[OS_MEMORY_LOCKED] = OS_MEMORY_REQUIRE_LOCK,
		[OS_MEMORY_SECRET] = OS_MEMORY_REQUIRE_SECRET,
	};

	return needs[keys->backend];
}

static void move(struct estate *estate, struct os_memory *fresh)
{
	os_memory_copy(fresh, &estate->keys);
	os_memory_unmap(&estate->keys);
	estate->keys = *fresh;
}

int estate_share(struct estate *estate, int *fdp)
{
	struct os_memory fresh;
	int r = daemon_share_keys(&fresh, need_of(&estate->keys), fdp);

	if (r == 0)
		move(estate, &fresh);
	return r;
}

int estate_open_keys(struct estate *estate, enum os_memory_need need, int fd)
{
	return daemon_open_keys(&estate->keys, need, fd);
}

int estate_settle(struct estate *estate, enum os_memory_need need)
{
	struct os_memory fresh;
	int r = daemon_map_keys(&fresh, need);

	if (r == 0)
		move(estate, &fresh);
	return r;
}

int estate_check(const struct estate *estate)
{
	int r = coffer_check(estate->keys.regions[0].data);

	/* Nobody has drawn masters yet: there is nothing that could be unreadable. */
	if (r < 0 && r != -ENODATA)
		return r;
	return ledger_check(estate->ledger);
}

static void close_ledger(struct estate *estate)
{
	if (estate->ledger >= 0)
		close(estate->ledger);
	estate->ledger = -1;
}

void estate_release(struct estate *estate)
{
	os_memory_release(&estate->keys);
	close_ledger(estate);
	listener_leave(&estate->listener);
	listeners_leave(&estate->listeners);
}

void estate_destroy(struct estate *estate)
{
	os_memory_unmap(&estate->keys);
	close_ledger(estate);
	listener_close(&estate->listener);
	listeners_close(&estate->listeners);
}
