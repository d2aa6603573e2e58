/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/keeper/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/failpoint.h"
#include "daemon/log.h"
#include "daemon/notify.h"

/* Milliseconds for the service manager to take what was pushed. */
#define BARRIER_MS 5000

/* What is pushed; each name ends with a generation, because the store keeps what a name had before.
 */
enum part { PART_KEYS, PART_LEDGER, PART_LISTENER, PART_LOCK, PARTS };

static const char *const prefixes[PARTS] = {
	[PART_KEYS] = INHERITED_STORED "keys-",
	[PART_LEDGER] = INHERITED_STORED "ledger-",
	[PART_LISTENER] = INHERITED_STORED "listener-",
	[PART_LOCK] = INHERITED_STORED "lock-",
};

/* In hexadecimal digits, so that names sort as generations do. */
#define GENERATION_DIGITS 16
#define NAME_SIZE 48

static void name_of(char *name, enum part part, const char *generation)
{
	snprintf(name, NAME_SIZE, "%s%s", prefixes[part], generation);
}

bool store_is_there(void)
{
	return notify_store_is_private();
}

/* -- giving -------------------------------------------------------------------------------- */

static void new_generation(char generation[GENERATION_DIGITS + 1])
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	snprintf(generation, GENERATION_DIGITS + 1, "%0*" PRIx64, GENERATION_DIGITS,
		(uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
}

static int push(enum part part, const char *generation, int fd)
{
	char name[NAME_SIZE];

	name_of(name, part, generation);
	return notify_push(name, fd);
}

/* A socket that the manager made is with it already. */
static int push_all(const struct estate *estate, const char *generation, int keys)
{
	int r = push(PART_LEDGER, generation, estate->ledger);

	if (r == 0 && estate->listener.lock >= 0)
		r = push(PART_LISTENER, generation, estate->listener.fd);
	if (r == 0 && estate->listener.lock >= 0)
		r = push(PART_LOCK, generation, estate->listener.lock);
	failpoint("pushing");
	return r == 0 ? push(PART_KEYS, generation, keys) : r;
}

static void drop_all(const char *generation)
{
	char name[NAME_SIZE];

	for (enum part part = 0; part < PARTS; part++) {
		name_of(name, part, generation);
		(void)notify_drop(name);
	}
}

int store_push(struct estate *estate, enum os_memory_need need)
{
	char generation[GENERATION_DIGITS + 1];
	int keys = -1;
	int r;

	/* Secret pages are locked wherever they are, others only where somebody has mapped them. */
	if (estate->keys.backend != OS_MEMORY_SECRET && need != OS_MEMORY_PREFER_LOCK) {
		log_error("nothing is left for the next start: these pages would not be locked in "
			  "the service manager's store");
		return -EPERM;
	}
	new_generation(generation);
	r = estate_share(estate, &keys);
	if (r == 0) {
		r = push_all(estate, generation, keys);
		close(keys);
	}
	if (r < 0) {
		drop_all(generation);
		log_error("nothing is left for the next start: %s", strerror(-r));
		return r;
	}
	failpoint("pushed");
	/* They are made anew: nobody else has them. */
	listeners_close(&estate->listeners);
	/* One that is slow has all of it in its queue. */
	(void)notify_barrier(BARRIER_MS);
	log_notice("the service manager has everything, should it start us again at once");
	return 0;
}

/* -- taking -------------------------------------------------------------------------------- */

static bool has(const struct inherited *inherited, enum part part, const char *generation)
{
	char wanted[NAME_SIZE];
	const char *name;
	size_t place = 0;

	name_of(wanted, part, generation);
	while ((name = inherited_next(inherited, wanted, &place)))
		if (strcmp(name, wanted) == 0)
			return true;
	return false;
}

/* The latest one that has come whole; or "". */
static void find_latest(const struct inherited *inherited, char generation[GENERATION_DIGITS + 1])
{
	const char *name;
	size_t place = 0;

	generation[0] = '\0';
	while ((name = inherited_next(inherited, prefixes[PART_KEYS], &place))) {
		const char *digits = name + strlen(prefixes[PART_KEYS]);

		if (strlen(digits) == GENERATION_DIGITS && strcmp(digits, generation) > 0 &&
			has(inherited, PART_LEDGER, digits))
			memcpy(generation, digits, GENERATION_DIGITS + 1);
	}
}

static int take(struct inherited *inherited, enum part part, const char *generation)
{
	char name[NAME_SIZE];
	int fd;

	name_of(name, part, generation);
	fd = inherited_take(inherited, name);
	if (fd >= 0)
		(void)notify_drop(name);
	return fd < 0 ? -1 : fd;
}

/* Whatever else is there is older, or not whole. And the store is empty when this returns. */
static void drop_rest(struct inherited *inherited, bool any)
{
	const char *name;
	size_t place = 0;

	while ((name = inherited_next(inherited, INHERITED_STORED, &place))) {
		int fd = inherited_take(inherited, name);

		(void)notify_drop(name);
		if (fd >= 0)
			close(fd);
		any = true;
	}
	if (any)
		(void)notify_barrier(BARRIER_MS);
}

/* The keys go where no descriptor leads; whoever had one finds zeros. */
static int take_secrets(struct estate *estate, struct inherited *inherited,
	const struct config *config, const char *generation)
{
	int r = estate_open_keys(
		estate, OS_MEMORY_PREFER_LOCK, take(inherited, PART_KEYS, generation));

	estate->ledger = take(inherited, PART_LEDGER, generation);
	failpoint("taken");
	if (r == 0)
		r = estate_check(estate);
	return r == 0 ? estate_settle(estate, config->memory) : r;
}

/* The next daemon's own place may be another, or be somebody else's by now: then it makes its own.
 */
static void take_listener(struct estate *estate, struct inherited *inherited,
	const struct config *config, const char *generation)
{
	struct config_fault fault;
	int fd = take(inherited, PART_LISTENER, generation);
	int lock = take(inherited, PART_LOCK, generation);

	if (fd >= 0 && lock >= 0) {
		if (listener_adopt(&estate->listener, fd, lock, config, &fault) == 0)
			return;
		log_notice("the socket is made anew: %s", fault.text);
	}
	if (fd >= 0)
		close(fd);
	if (lock >= 0)
		close(lock);
}

static void destroy(struct estate *estate)
{
	estate_destroy(estate);
	estate_init(estate);
}

bool store_take(struct estate *estate, struct inherited *inherited, const struct config *config)
{
	char generation[GENERATION_DIGITS + 1];
	int r;

	find_latest(inherited, generation);
	if (generation[0]) {
		r = take_secrets(estate, inherited, config, generation);
		take_listener(estate, inherited, config, generation);
		estate->inherited = true;
		if (!config->keep)
			log_notice("what the daemon before us has left is dropped: the setting "
				   "`keep` is off");
		else if (r == -EBADMSG)
			log_error("what the daemon before us has left is of another version, or "
				  "was overwritten: it is dropped");
		else if (r < 0)
			log_error("what the daemon before us has left cannot be taken: %s",
				strerror(-r));
		if (!config->keep || r < 0)
			destroy(estate);
	}
	drop_rest(inherited, generation[0] != '\0');
	return estate->inherited;
}
