/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A house that outlives its process, and others who come, each with a session of its own. */
#include "daemon/vault/vault_inside.h"

#include "tests/unit/policy_rig.h"
#include "tests/unit/request_rig.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/memory/locked_stack.h"
#include "daemon/peer_place.h"
#include "daemon/request/showing.h"
#include "daemon/request/waiter.h"
#include "daemon/request/watch.h"

/* -- the house, and who comes -------------------------------------------------------------- */

static struct os_memory key_pages;
static int ledger = -1;

/* Others, each with a session of its own. */
static struct transfers sessions[3];
static struct peer peers[3];

static inline void open_house(void)
{
	struct daemon_options options = { .max_value = VALUE_MAX,
		.rekey_ms = 500,
		.own = 4242,
		.keys = &key_pages,
		.ledger = ledger };

	ck_assert_int_eq(daemon_init(&house, &options), 0);
}

static inline void open_lasting_house(void)
{
	if (sodium_init() < 0)
		abort();
	ck_assert_int_eq(daemon_map_keys(&key_pages, OS_MEMORY_PREFER_LOCK), 0);
	ledger = ledger_file();
	ck_assert_int_ge(ledger, 0);
	open_house();
	notebook_init(&book);
	randombytes_buf(key, sizeof(key));
	next_id = 1;
	for (size_t i = 0; i < 3; i++)
		peers[i] = (struct peer){
			.uid = (uid_t)(1001 + i), .pidfd = -1, .shown = &sessions[i].shown
		};
}

static inline void close_sessions(void)
{
	for (size_t i = 0; i < 3; i++)
		transfers_finish(&sessions[i], &house);
	transfers_finish(&transfers, &house);
}

static inline void close_house(void)
{
	close_sessions();
	daemon_finish(&house);
	os_memory_unmap(&key_pages);
	close(ledger);
}

/* The process ends, and the next one goes on. */
static inline void next_process(void)
{
	close_sessions();
	daemon_leave(&house);
	open_house();
}

static inline void rule(const char *text)
{
	const char *const texts[] = { text, NULL };

	policy_book_free(house.policy.book);
	house.policy.book = rig_book(texts);
}

static inline struct note_of_reply *ask_of(size_t who, struct request request)
{
	size_t before = book.count;

	if (request.id == 0)
		request.id = next_id++;
	ck_assert_int_eq(
		request_serve(&house, &peers[who], &sessions[who], &request, &book.answers), 0);
	workbench_wipe(&house.bench);
	return book.count > before ? notebook_last(&book) : NULL;
}

static inline int get_of(size_t who, const char *name)
{
	return ask_of(who, getting(name))->code;
}

static inline int take_back_numbered(const char *name, uint8_t number)
{
	struct request request = { .verb = VERB_REVOKE_TOKEN,
		.name = span_text(name),
		.numbered = true,
		.number = { number } };

	return ask(&user, request)->code;
}

/* Others have all of it. Gives back the limit that is to be set again: what is claimed is written
 * to a file. */
static inline struct rlimit use_up_memory(void)
{
	struct rlimit limit, none;
	uint64_t place;

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	none = (struct rlimit){ .rlim_max = limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	for (size_t size = 65536; size >= 64; size /= 2)
		while (ledger_take(house.vault->ledger, size, &place) == 0)
			;
	return limit;
}
