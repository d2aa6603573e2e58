/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/workroom.h"

#include <signal.h>

#include "client/lib/connection.h"

/* MemGuard's 512 bytes: enough to defeat an image of memory with bit errors. */
#define PREKEY_SIZE 512

/* Milliseconds between two re-masks, as far as calls come by: a library starts no timer. */
#define REMASK_MS 500

static size_t aligned(size_t size)
{
	return (size + 63) & ~(size_t)63;
}

size_t workroom_keys_size(size_t beside)
{
	return aligned(beside) + aligned(coffer_view_size()) + coffer_keys_size(PREKEY_SIZE);
}

struct drawing {
	struct workroom *room;
	uint8_t *view;
	struct guard *guard;
};

static void draw_masters(void *argument)
{
	struct drawing *drawing = argument;

	guard_init(drawing->guard);
	coffer_init(&drawing->room->coffer, drawing->view + aligned(coffer_view_size()),
		PREKEY_SIZE, drawing->view, drawing->guard);
}

void workroom_init(struct workroom *room, const struct os_region *keys, size_t beside,
	struct guard *guard, const struct os_region *stack)
{
	struct drawing drawing = {
		.room = room, .view = keys->data + aligned(beside), .guard = guard
	};

	locked_stack_init(&room->stack, stack->data, stack->size);
	workroom_run(room, draw_masters, &drawing);
	room->remasked_ms = connection_now_ms();
}

/* All but what says that this thread itself went wrong. */
static void block_signals(sigset_t *before)
{
	static const int faults[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP };
	sigset_t set;

	sigfillset(&set);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&set, faults[i]);
	pthread_sigmask(SIG_BLOCK, &set, before);
}

void workroom_run(struct workroom *room, void (*function)(void *), void *argument)
{
	sigset_t before;

	block_signals(&before);
	locked_stack_call(&room->stack, function, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void workroom_rest(struct workroom *room)
{
	uint64_t now = connection_now_ms();

	coffer_forget(&room->coffer);
	if (now - room->remasked_ms < REMASK_MS)
		return;
	coffer_remask(&room->coffer);
	room->remasked_ms = now;
}
