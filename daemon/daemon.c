/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/daemon.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define PAGE 4096

/* The daemon's share of the 16 pages; the locked stack has the other two. */
#define PREKEY_SIZE PAGE
#define VIEW_PAGES 1
#define BENCH_PAGES 10

/* Ten minutes: a set's writer may be a person, but no memory is held for one who has left. */
#define UPLOAD_MS 600000

/* Nanoseconds after which a view is wiped in the middle of work. */
#define VIEW_NS 1000000

/* Nanoseconds that the end of lives may take at a time. */
#define EXPIRE_NS 1000000

enum region { REGION_KEYS, REGION_VIEW, REGION_STACK, REGION_BENCH, REGIONS };

uint64_t daemon_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t daemon_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int map_memory(struct daemon *daemon, enum os_memory_need need)
{
	struct os_memory *memory = &daemon->memory;

	memory->regions[REGION_KEYS].size = coffer_keys_size(PREKEY_SIZE);
	memory->regions[REGION_VIEW].size = VIEW_PAGES * PAGE;
	memory->regions[REGION_STACK].size = locked_stack_size();
	memory->regions[REGION_BENCH].size = BENCH_PAGES * PAGE;
	memory->count = REGIONS;
	return os_memory_map(memory, need);
}

static void init_coffer(void *argument)
{
	struct daemon *daemon = argument;
	uint8_t *view = daemon->memory.regions[REGION_VIEW].data;

	/* The canary value stands on the view page too, in front of the view. */
	coffer_init(&daemon->coffer, daemon->memory.regions[REGION_KEYS].data, PREKEY_SIZE,
		view + sizeof(*daemon->guard), daemon->guard);
}

/* Gives each region its tenant. */
static void furnish(struct daemon *daemon)
{
	struct os_region *regions = daemon->memory.regions;

	daemon->guard = (struct guard *)regions[REGION_VIEW].data;
	guard_init(daemon->guard);
	locked_stack_init(&daemon->stack, regions[REGION_STACK].data, regions[REGION_STACK].size);
	workbench_init(&daemon->bench, regions[REGION_BENCH].data, regions[REGION_BENCH].size,
		daemon->guard);
	workbench_survive(&daemon->bench);
	locked_stack_call(&daemon->stack, init_coffer, daemon);
}

/* Something has happened in a stream: whoever waits for it looks again. */
static void on_change(void *context, struct span name)
{
	struct daemon *daemon = context;

	wait_queue_call(&daemon->waits, name);
}

int daemon_init(struct daemon *daemon, const struct daemon_options *options)
{
	int r;

	memset(daemon, 0, sizeof(*daemon));
	r = map_memory(daemon, options->memory);
	if (r < 0)
		return r;
	furnish(daemon);
	/* The regions never change again; where the kernel can hold them in place, it does. */
	(void)os_memory_seal(&daemon->memory);
	wait_queue_init(&daemon->waits);
	daemon->policy.own = options->own;
	daemon->max_value = options->max_value;
	daemon->rekey_ms = options->rekey_ms;
	daemon->upload_ms = UPLOAD_MS;
	daemon->started_ms = daemon_now_ms();
	r = vault_new(&daemon->vault, &daemon->coffer, -1);
	if (r == 0)
		vault_watch(daemon->vault, on_change, daemon);
	if (r == 0)
		r = repeats_new(&daemon->repeats);
	if (r == 0)
		r = penalties_new(&daemon->penalties);
	if (r == 0)
		r = processes_new(&daemon->processes);
	if (r < 0)
		daemon_finish(daemon);
	return r;
}

static void destroy_coffer(void *argument)
{
	coffer_destroy(argument);
}

void daemon_finish(struct daemon *daemon)
{
	if (!daemon->guard)
		return;
	locked_stack_call(&daemon->stack, destroy_coffer, &daemon->coffer);
	repeats_free(daemon->repeats);
	penalties_free(daemon->penalties);
	vault_free(daemon->vault);
	processes_free(daemon->processes);
	os_memory_unmap(&daemon->memory);
	memset(daemon, 0, sizeof(*daemon));
}

static void remask(void *argument)
{
	coffer_remask(argument);
}

static void purge(void *argument)
{
	vault_purge(argument);
}

uint64_t daemon_purge(struct daemon *daemon)
{
	uint64_t count = vault_count(daemon->vault);

	locked_stack_call(&daemon->stack, purge, daemon->vault);
	daemon->purges++;
	return count;
}

static void expire(void *argument)
{
	struct daemon *daemon = argument;
	uint64_t until_ns = daemon_now_ns() + EXPIRE_NS;

	while (vault_expire(daemon->vault) && daemon_now_ns() < until_ns)
		;
	coffer_forget(&daemon->coffer);
}

void daemon_expire(struct daemon *daemon)
{
	locked_stack_call(&daemon->stack, expire, daemon);
}

static void forget(void *argument)
{
	coffer_forget(argument);
}

void daemon_remask(struct daemon *daemon)
{
	locked_stack_call(&daemon->stack, remask, &daemon->coffer);
}

void daemon_forget(struct daemon *daemon)
{
	if (daemon->coffer.viewing)
		locked_stack_call(&daemon->stack, forget, &daemon->coffer);
}

void daemon_forget_in_time(struct daemon *daemon, uint64_t now_ns)
{
	if (now_ns - daemon->forgotten_ns < VIEW_NS)
		return;
	daemon->forgotten_ns = now_ns;
	coffer_forget(&daemon->coffer);
}
