/* SPDX-License-Identifier: Apache-2.0 */

/*
 * subject NAME WAY FD: maps the stage that FD is (stage.h), does the one thing of that name the one
 * way, and stops with a breakpoint at once. For the residue test, which looks at all that is left.
 *
 *   locked    through locked_stack_call, as the product does
 *   ordinary  on the ordinary stack
 *   bare      on the locked stack, but nobody wipes registers afterwards
 *
 * subject --list names the things, a line each.
 */
#include <signal.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/memory/locked_stack.h"
#include "daemon/vault/vault.h"
#include "daemon/vault/vault_lock.h"
#include "tests/security/stage.h"

#define EXIT_SETUP 3

static struct locked_stack stack;
static struct vault *vault;
static struct value *value;
static struct record *record;

static const char stored_name[] = "a/name";

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "subject: %s\n", what);
	exit(EXIT_SETUP);
}

/* -- the masters --------------------------------------------------------------------------- */

static void do_coffer_init(void *argument)
{
	struct stage *stage = argument;

	coffer_init(&stage->coffer, stage->keys, STAGE_PREKEY, stage->view, &stage->guard);
	stage->result = 0;
}

static void do_coffer_view(void *argument)
{
	struct stage *stage = argument;

	stage->result = coffer_view(&stage->coffer) ? 0 : -1;
}

static void begin_view(struct stage *stage)
{
	locked_stack_call(&stack, do_coffer_view, stage);
}

static void do_coffer_forget(void *argument)
{
	struct stage *stage = argument;

	coffer_forget(&stage->coffer);
	stage->result = 0;
}

static void do_coffer_remask(void *argument)
{
	struct stage *stage = argument;

	coffer_remask(&stage->coffer);
	stage->result = 0;
}

static void do_coffer_replace(void *argument)
{
	struct stage *stage = argument;

	coffer_replace(&stage->coffer, COFFER_VAULT);
	stage->result = 0;
}

static void do_coffer_destroy(void *argument)
{
	struct stage *stage = argument;

	coffer_destroy(&stage->coffer);
	stage->result = 0;
}

/* -- values and their keys ----------------------------------------------------------------- */

static void do_draw_key(void *argument)
{
	struct stage *stage = argument;

	enclave_draw_key(stage->drawn);
	stage->result = 0;
}

static void do_wrap(void *argument)
{
	struct stage *stage = argument;

	stage->result = enclave_wrap(stage->out, stage->key, sizeof(stage->key), stage->binding,
		&stage->coffer, COFFER_VAULT);
}

static void do_unwrap(void *argument)
{
	struct stage *stage = argument;

	stage->result = enclave_unwrap(stage->drawn, stage->wrapped, ENCLAVE_KEY_SIZE,
		stage->binding, &stage->coffer, COFFER_VAULT);
}

static void do_seal_chunk(void *argument)
{
	struct stage *stage = argument;

	enclave_seal_chunk(stage->out, stage->plain, STAGE_PLAIN, 0, true, stage->key);
	stage->result = 0;
}

static void do_open_chunk(void *argument)
{
	struct stage *stage = argument;

	stage->result = enclave_open_chunk(
		stage->out, stage->sealed, ENCLAVE_CHUNK_SIZE, 0, true, stage->key);
}

static void do_open_part(void *argument)
{
	struct stage *stage = argument;

	stage->result = enclave_open_part(
		stage->out, 1000, 5000, stage->sealed, ENCLAVE_CHUNK_SIZE, 0, true, stage->key);
}

static void do_check_chunk(void *argument)
{
	struct stage *stage = argument;

	stage->result = enclave_check_chunk(stage->sealed, ENCLAVE_CHUNK_SIZE, 0, true, stage->key);
}

/* What a verify does with the parts of both values. */
static void do_compare(void *argument)
{
	struct stage *stage = argument;

	do_open_part(argument);
	if (stage->result == 0)
		stage->result = sodium_memcmp(stage->out, stage->plain + 1000, 5000);
}

/* What a generate does. */
static void do_draw_value(void *argument)
{
	struct stage *stage = argument;

	randombytes_buf(stage->plain, STAGE_PLAIN);
	enclave_seal_chunk(
		stage->plain, stage->plain, STAGE_PLAIN - ENCLAVE_TAG_SIZE, 0, true, stage->key);
	stage->result =
		enclave_open_chunk(stage->plain, stage->plain, STAGE_PLAIN, 0, true, stage->key);
}

/* -- the channel --------------------------------------------------------------------------- */

static void do_channel_draw(void *argument)
{
	struct stage *stage = argument;

	channel_draw(&stage->drawn_pair);
	stage->result = 0;
}

static struct span hello_of(const uint8_t *bytes)
{
	return span_of(bytes, HELLO_SIZE);
}

static void do_channel_agree(void *argument)
{
	struct stage *stage = argument;

	stage->result = channel_agree(&stage->drawn_keys, &stage->pair, true,
		hello_of(stage->client_hello), hello_of(stage->server_hello));
}

static void do_channel_rest(void *argument)
{
	struct stage *stage = argument;

	stage->result = channel_rest(&stage->rested, 8, &stage->keys_agreed, &stage->coffer);
}

static void do_channel_take(void *argument)
{
	struct stage *stage = argument;

	stage->result = channel_take(&stage->channel, &stage->drawn_keys, &stage->coffer);
}

/* A pair that is drawn ahead of the Hello that it answers. */
static void do_channel_rest_pair(void *argument)
{
	struct stage *stage = argument;

	stage->result = channel_rest_pair(&stage->rested, 8, &stage->pair, &stage->coffer);
}

static void do_channel_take_pair(void *argument)
{
	struct stage *stage = argument;
	struct channel once = stage->paired;

	stage->result = channel_take_pair(&once, &stage->drawn_pair, &stage->coffer);
}

static void do_channel_open(void *argument)
{
	struct stage *stage = argument;
	struct span bytes = span_of(stage->frame, stage->frame_size);
	struct frame frame;

	stage->result = -1;
	if (frame_next(&frame, &bytes) > 0 &&
		channel_open(&stage->channel, &stage->keys_agreed, &frame, stage->out) ==
			STAGE_MESSAGE)
		stage->result = 0;
}

static void do_channel_seal(void *argument)
{
	struct stage *stage = argument;

	channel_seal(&stage->channel, &stage->keys_agreed, span_of(stage->message, STAGE_MESSAGE),
		0, stage->out);
	stage->result = 0;
}

/* -- the vault: a record's tag under the ledger key, and its wrapped key ------------------- */

static void begin_vault(struct stage *stage)
{
	if (vault_new(&vault, &stage->coffer, -1) != 0 || value_new(vault, &value) != 0 ||
		value_append(vault, value, span_of(stage->sealed, ENCLAVE_CHUNK_SIZE)) != 0)
		fail("no vault");
}

static void do_put(void *argument)
{
	struct stage *stage = argument;
	struct vault_put put = { .name = span_text(stored_name), .key = stage->key };
	uint64_t version;

	stage->result = vault_put(vault, &value, &put, &version);
}

static void begin_record(struct stage *stage)
{
	begin_vault(stage);
	locked_stack_call(&stack, do_put, stage);
}

static void do_find(void *argument)
{
	struct stage *stage = argument;

	stage->result = vault_find(vault, span_text(stored_name), &record);
}

static void do_record_key(void *argument)
{
	struct stage *stage = argument;

	do_find(argument);
	if (stage->result == 0)
		stage->result = record_key(vault, record, stage->drawn);
}

static void do_remove(void *argument)
{
	struct conditions conditions = { 0 };
	struct stage *stage = argument;
	uint64_t version;

	stage->result = vault_remove(vault, span_text(stored_name), &conditions, &version);
}

/* -- a vault that is locked: its master must be nowhere, nor what it is wrapped with ------- */

/* What is looked for is told: the coffer has it no more behind a lock. */
static void do_tell_master(void *argument)
{
	struct stage *stage = argument;

	memcpy(stage->drawn, coffer_master(&stage->coffer, COFFER_VAULT), sizeof(stage->drawn));
	coffer_forget(&stage->coffer);
}

static void begin_lock(struct stage *stage)
{
	begin_vault(stage);
	locked_stack_call(&stack, do_tell_master, stage);
}

static void do_lock(void *argument)
{
	static const struct vault_lock lock;
	struct stage *stage = argument;

	stage->result = vault_lock(vault, &lock, stage->key);
}

/* And so is the lock secret, which a lock that is opened has no more. */
static void do_tell_secret(void *argument)
{
	struct stage *stage = argument;

	memcpy(stage->drawn, coffer_lock_secret(&stage->coffer), sizeof(stage->drawn));
	coffer_forget(&stage->coffer);
}

static void begin_unlock(struct stage *stage)
{
	begin_vault(stage);
	locked_stack_call(&stack, do_lock, stage);
	locked_stack_call(&stack, do_tell_secret, stage);
}

static void do_unlock(void *argument)
{
	struct stage *stage = argument;

	stage->result = vault_unlock(vault, stage->key);
}

/* -- what must be found -------------------------------------------------------------------- */

static void do_nothing(void *argument)
{
	struct stage *stage = argument;

	stage->result = 0;
}

static void do_copy_to_heap(void *argument)
{
	struct stage *stage = argument;
	static uint8_t *volatile kept;

	kept = malloc(sizeof(stage->key));
	if (kept)
		memcpy(kept, stage->key, sizeof(stage->key));
	stage->result = kept ? 0 : -1;
}

/* A page of it, or what comes after would lie upon it. */
static void leave_on_stack(struct stage *stage)
{
	volatile uint8_t copy[4096];

	for (size_t i = 0; i < sizeof(copy); i++)
		copy[i] = stage->plain[i];
}

static void leave_in_vector(struct stage *stage)
{
#if defined(__x86_64__)
	__asm__ volatile("movdqu (%0), %%xmm7" ::"r"(stage->key) : "xmm7");
#else
	(void)stage;
#endif
}

/* The halves of the registers that older instructions do not reach. */
static void leave_in_wide_vector(struct stage *stage)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f"))
		__asm__ volatile("vmovdqu64 (%0), %%zmm20" ::"r"(stage->plain));
	else if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vmovdqu (%0), %%ymm7" ::"r"(stage->plain) : "xmm7");
	else
		leave_in_vector(stage);
#else
	(void)stage;
#endif
}

/* It stops by itself: the compiler's return clears such a register. */
static void leave_in_general(struct stage *stage)
{
#if defined(__x86_64__)
	__asm__ volatile("mov (%0), %%r11\n\tint3" ::"r"(stage->key) : "r11");
#else
	(void)stage;
#endif
}

/* -- the table ----------------------------------------------------------------------------- */

/*
 * `begin` comes before, `act` is what is looked at; `leave` comes behind it, on the ordinary stack,
 * with the breakpoint as the next instruction.
 */
static const struct thing {
	const char *name;
	void (*act)(void *);
	void (*begin)(struct stage *stage);
	void (*leave)(struct stage *stage);
} things[] = {
	{ "coffer-init", do_coffer_init, NULL, NULL },
	{ "coffer-view", do_coffer_view, NULL, NULL },
	{ "coffer-forget", do_coffer_forget, begin_view, NULL },
	{ "coffer-remask", do_coffer_remask, NULL, NULL },
	{ "coffer-replace", do_coffer_replace, NULL, NULL },
	{ "coffer-destroy", do_coffer_destroy, NULL, NULL },
	{ "enclave-draw-key", do_draw_key, NULL, NULL },
	{ "enclave-wrap", do_wrap, NULL, NULL },
	{ "enclave-unwrap", do_unwrap, NULL, NULL },
	{ "enclave-seal-chunk", do_seal_chunk, NULL, NULL },
	{ "enclave-open-chunk", do_open_chunk, NULL, NULL },
	{ "enclave-open-part", do_open_part, NULL, NULL },
	{ "enclave-check-chunk", do_check_chunk, NULL, NULL },
	{ "value-compare", do_compare, NULL, NULL },
	{ "value-draw", do_draw_value, NULL, NULL },
	{ "channel-draw", do_channel_draw, NULL, NULL },
	{ "channel-agree", do_channel_agree, NULL, NULL },
	{ "channel-rest", do_channel_rest, NULL, NULL },
	{ "channel-take", do_channel_take, NULL, NULL },
	{ "channel-rest-pair", do_channel_rest_pair, NULL, NULL },
	{ "channel-take-pair", do_channel_take_pair, NULL, NULL },
	{ "channel-open", do_channel_open, NULL, NULL },
	{ "channel-seal", do_channel_seal, NULL, NULL },
	{ "vault-put", do_put, begin_vault, NULL },
	{ "vault-find", do_find, begin_record, NULL },
	{ "vault-key", do_record_key, begin_record, NULL },
	{ "vault-remove", do_remove, begin_record, NULL },
	{ "vault-lock", do_lock, begin_lock, NULL },
	{ "vault-unlock", do_unlock, begin_unlock, NULL },
	{ "planted-nothing", do_nothing, NULL, NULL },
	{ "planted-heap", do_copy_to_heap, NULL, NULL },
	{ "planted-stack", do_nothing, NULL, leave_on_stack },
	{ "planted-vector", do_nothing, NULL, leave_in_vector },
	{ "planted-wide-vector", do_nothing, NULL, leave_in_wide_vector },
	{ "planted-general", do_nothing, NULL, leave_in_general },
};

#define THINGS (sizeof(things) / sizeof(things[0]))

/* -- the ways ------------------------------------------------------------------------------ */

#if defined(__x86_64__)
/* The next instruction: not even a return lies between. */
#define STOP() __asm__ volatile("int3")

/* The switch of locked_stack.c without what it does afterwards. */
__attribute__((naked, noinline)) static void switch_only(__attribute__((unused)) void *argument,
	__attribute__((unused)) void (*function)(void *), __attribute__((unused)) void *top)
{
	__asm__("push %rbp\n\t"
		"mov %rsp, %rbp\n\t"
		"mov %rdx, %rsp\n\t"
		"call *%rsi\n\t"
		"mov %rbp, %rsp\n\t"
		"pop %rbp\n\t"
		"ret");
}

#else
#define STOP() raise(SIGTRAP)

static void switch_only(void *argument, void (*function)(void *), void *top)
{
	(void)top;
	function(argument);
}

#endif

static void go_locked(const struct thing *thing, struct stage *stage)
{
	locked_stack_call(&stack, thing->act, stage);
	STOP();
}

static void go_locked_and_leave(const struct thing *thing, struct stage *stage)
{
	locked_stack_call(&stack, thing->act, stage);
	thing->leave(stage);
	STOP();
}

static void go_ordinary(const struct thing *thing, struct stage *stage)
{
	thing->act(stage);
	STOP();
}

static void go_bare(const struct thing *thing, struct stage *stage)
{
	switch_only(stage, thing->act, stage->stack + STAGE_STACK);
	STOP();
}

static void go(const struct thing *thing, const char *way, struct stage *stage)
{
	if (thing->begin)
		thing->begin(stage);
	stage->result = STAGE_UNTOUCHED;
	if (strcmp(way, "ordinary") == 0)
		go_ordinary(thing, stage);
	else if (strcmp(way, "bare") == 0)
		go_bare(thing, stage);
	else if (thing->leave)
		go_locked_and_leave(thing, stage);
	else
		go_locked(thing, stage);
}

static struct stage *map_stage(int fd)
{
	void *stage = mmap(STAGE_ADDRESS, STAGE_SIZE, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);

	if (stage == MAP_FAILED)
		fail("the stage cannot be mapped");
	close(fd);
	return stage;
}

int main(int argc, char **argv)
{
	struct stage *stage;

	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (size_t i = 0; i < THINGS; i++)
			puts(things[i].name);
		return 0;
	}
	if (argc != 4 || sodium_init() < 0)
		fail("usage: subject NAME WAY FD");
	stage = map_stage((int)strtol(argv[3], NULL, 10));
	locked_stack_init(&stack, stage->stack, STAGE_STACK);
	for (size_t i = 0; i < THINGS; i++)
		if (strcmp(things[i].name, argv[1]) == 0)
			go(&things[i], argv[2], stage);
	/* The tracer has had its look, or the name is unknown and there was no stop. */
	return stage->result == 0 ? 0 : EXIT_SETUP;
}
