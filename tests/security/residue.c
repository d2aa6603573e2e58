/* SPDX-License-Identifier: Apache-2.0 */

/*
 * residue SUBJECT WAY [NAME...]: has the subject do each of these things (all that it lists, when
 * none is named), and looks when it stops right behind it: where in its readable memory and in its
 * registers is there anything of the keys, the halves, the masks and the plaintext on the stage?
 *
 * A line a thing, and one for each of its first finds. Exit status: 0 when all of them were done
 * and looked at, whatever was found; 2 when not; 77 with words when nothing can be traced here.
 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/memory/locked_stack.h"
#include "tests/security/needles.h"
#include "tests/security/stage.h"
#include "tests/security/tracee.h"

#define EXIT_SKIP 77
#define EXIT_BLIND 2

/* Finds of a thing that are told one by one. */
#define SHOWN_MAX 2

/* More than all that is known about a stage at two moments. */
#define KNOWN_MAX ((size_t)1 << 16)

#define NAMES_MAX 64
#define NAME_SIZE 64

struct look {
	const char *name;
	uint64_t bytes;
	size_t dirty; /* bytes of the locked stack that are not zero */
	uint64_t in_memory;
	uint64_t in_registers;
};

__attribute__((noreturn)) static void fail(const char *what, int error)
{
	fprintf(stderr, "residue: %s: %s\n", what, strerror(error));
	exit(EXIT_BLIND);
}

/* -- the stage ----------------------------------------------------------------------------- */

static int stage_descriptor(void)
{
	int fd = (int)syscall(SYS_memfd_secret, 0);

	/* Without it the pages can be read: they are left out of the look by their address. */
	if (fd < 0)
		fd = memfd_create("stage", 0);
	if (fd < 0 || ftruncate(fd, STAGE_SIZE) < 0)
		fail("no stage", errno);
	return fd;
}

static struct stage *stage_map(int fd)
{
	void *stage = mmap(STAGE_ADDRESS, STAGE_SIZE, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);

	if (stage == MAP_FAILED)
		fail("the stage cannot be mapped", errno);
	return stage;
}

static void prepare_masters(struct stage *stage)
{
	guard_init(&stage->guard);
	coffer_init(&stage->coffer, stage->keys, STAGE_PREKEY, stage->view, &stage->guard);
	stage->binding = (struct enclave_binding){ .secret = 11, .version = 3 };
	enclave_draw_key(stage->key);
	randombytes_buf(stage->plain, sizeof(stage->plain));
	enclave_seal_chunk(stage->sealed, stage->plain, STAGE_PLAIN, 0, true, stage->key);
	if (enclave_wrap(stage->wrapped, stage->key, sizeof(stage->key), stage->binding,
		    &stage->coffer, COFFER_VAULT) != 0)
		fail("the data key cannot be wrapped", EIO);
}

/* Both sides of a channel, and a frame from the client. */
static void prepare_channel(struct stage *stage)
{
	struct channel other = { 0 };
	struct channel_keys keys;
	struct channel_pair pair;
	struct span client = span_of(stage->client_hello, HELLO_SIZE);
	struct span server = span_of(stage->server_hello, HELLO_SIZE);

	channel_draw(&pair);
	channel_draw(&stage->pair);
	hello_write(
		stage->client_hello, CHANNEL_VERSION, CHANNEL_VERSION, CHANNEL_CIPHERS, pair.open);
	hello_write(stage->server_hello, CHANNEL_VERSION, CHANNEL_VERSION, CHANNEL_CIPHERS,
		stage->pair.open);
	randombytes_buf(stage->message, sizeof(stage->message));
	if (channel_agree(&keys, &pair, false, client, server) != 0 ||
		channel_agree(&stage->keys_agreed, &stage->pair, true, client, server) != 0 ||
		channel_rest(&stage->channel, 7, &stage->keys_agreed, &stage->coffer) != 0 ||
		channel_rest_pair(&stage->paired, 9, &stage->pair, &stage->coffer) != 0)
		fail("no channel", EIO);
	stage->frame_size = channel_seal(
		&other, &keys, span_of(stage->message, STAGE_MESSAGE), 0, stage->frame);
}

static void prepare(struct stage *stage)
{
	memset(stage, 0, sizeof(*stage));
	prepare_masters(stage);
	prepare_channel(stage);
	/* The subject joins the masters itself. */
	coffer_forget(&stage->coffer);
}

/* -- what is known about it ---------------------------------------------------------------- */

static void know(struct needles *needles, const char *name, const void *bytes, size_t size)
{
	if (needles_add(needles, (struct needle){ .name = name }, bytes, size) < 0)
		fail("what is known", ENOMEM);
}

/* XSalsa20 makes a key of its own from key and nonce, and from that one the key of the tag. */
static void know_cipher(struct needles *needles, const char *name, const uint8_t *key,
	const uint8_t nonce[static crypto_secretbox_NONCEBYTES])
{
	uint8_t derived[32];

	know(needles, name, key, ENCLAVE_KEY_SIZE);
	crypto_core_hsalsa20(derived, nonce, key, NULL);
	know(needles, "a subkey", derived, sizeof(derived));
	crypto_stream_xsalsa20(derived, sizeof(derived), nonce, key);
	know(needles, "a tag key", derived, sizeof(derived));
}

/* As enclave.c derives it. */
static void know_wrapping(struct needles *needles, const uint8_t *salt,
	struct enclave_binding binding, const uint8_t *master)
{
	static const uint8_t personal[crypto_generichash_blake2b_PERSONALBYTES] = "mg wrapping key";
	uint8_t nonce[crypto_secretbox_NONCEBYTES] = { 0 };
	uint8_t key[ENCLAVE_KEY_SIZE];

	bytes_put64(nonce, binding.secret);
	bytes_put64(nonce + 8, binding.version);
	crypto_generichash_blake2b_salt_personal(
		key, sizeof(key), NULL, 0, master, COFFER_KEY_SIZE, salt, personal);
	know_cipher(needles, "a wrapping key", key, nonce);
}

/* While the coffer is locked the lock secret lies where the vault's master does otherwise. */
static void know_masters(struct needles *needles, struct stage *stage)
{
	const struct coffer_view *view = coffer_view(&stage->coffer);
	const uint8_t *secret = coffer_lock_secret(&stage->coffer);
	uint8_t slots[2 * COFFER_KEY_SIZE] = { 0 };
	uint8_t mask[2 * COFFER_KEY_SIZE];
	uint8_t left[2 * COFFER_KEY_SIZE];

	if (view)
		memcpy(slots, view->master, sizeof(slots));
	if (secret)
		memcpy(slots, secret, COFFER_KEY_SIZE);

	for (size_t i = 1; i <= 2; i++) {
		const uint8_t *right = stage->keys + i * STAGE_PREKEY;

		know(needles, "a pre-key", right, STAGE_PREKEY);
		crypto_generichash(mask, sizeof(mask), right, STAGE_PREKEY, NULL, 0);
		know(needles, "a mask", mask, sizeof(mask));
		for (size_t k = 0; view && k < sizeof(left); k++)
			left[k] = mask[k] ^ slots[k];
		if (view)
			know(needles, "a left half", left, sizeof(left));
	}
	if (!view)
		return;
	know(needles, "the masters", slots, sizeof(slots));
	if (!secret) {
		know(needles, "the ledger key", coffer_ledger_key(&stage->coffer), COFFER_KEY_SIZE);
		know_wrapping(needles, stage->wrapped, stage->binding, view->master[COFFER_VAULT]);
		know_wrapping(needles, stage->out, stage->binding, view->master[COFFER_VAULT]);
	}
	know_wrapping(needles, stage->channel.wrapped, (struct enclave_binding){ .secret = 7 },
		view->master[COFFER_CHANNEL]);
	know_wrapping(needles, stage->rested.wrapped, (struct enclave_binding){ .secret = 8 },
		view->master[COFFER_CHANNEL]);
	know_wrapping(needles, stage->rested.wrapped,
		(struct enclave_binding){ .secret = 8, .version = 2 },
		view->master[COFFER_CHANNEL]);
	know_wrapping(needles, stage->paired.wrapped,
		(struct enclave_binding){ .secret = 9, .version = 2 },
		view->master[COFFER_CHANNEL]);
}

/* ChaCha20's first block is the key of the frame's tag. */
static void know_frame_key(struct needles *needles, const uint8_t *key)
{
	static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES];
	uint8_t derived[32];

	crypto_stream_chacha20_ietf(derived, sizeof(derived), nonce, key);
	know(needles, "a frame's tag key", derived, sizeof(derived));
	know(needles, "a frame key", key, 32);
}

static void know_channel(struct needles *needles, const struct stage *stage)
{
	const uint8_t *other = stage->client_hello + HELLO_SIZE - 32;
	uint8_t shared[crypto_scalarmult_BYTES];
	struct channel_keys keys;

	know(needles, "a secret half", stage->pair.secret, 32);
	know(needles, "a drawn secret half", stage->drawn_pair.secret, 32);
	know(needles, "a message", stage->message, sizeof(stage->message));
	know_frame_key(needles, stage->keys_agreed.receive);
	know_frame_key(needles, stage->keys_agreed.send);
	know_frame_key(needles, stage->drawn_keys.receive);
	know_frame_key(needles, stage->drawn_keys.send);
	if (crypto_scalarmult(shared, stage->pair.secret, other) != 0 ||
		crypto_kx_server_session_keys(
			keys.receive, keys.send, stage->pair.open, stage->pair.secret, other) != 0)
		fail("the agreement", EIO);
	know(needles, "the shared secret", shared, sizeof(shared));
	know(needles, "keys before the transcript", &keys, sizeof(keys));
}

/* The stage as it is now; the look at it is our own copy's business. */
static void know_all(struct needles *needles, const struct stage *stage)
{
	static const uint8_t final_nonce[crypto_secretbox_NONCEBYTES] = { [8] = true };
	struct stage *copy = malloc(sizeof(*copy));

	if (!copy)
		fail("a copy of the stage", ENOMEM);
	memcpy(copy, stage, sizeof(*copy));
	copy->coffer.keys = (struct coffer_keys *)(void *)copy->keys;
	copy->coffer.view = (struct coffer_view *)(void *)(copy->view + GUARD_SIZE);
	copy->coffer.guard = &copy->guard;
	copy->coffer.viewing = copy->coffer.derived = false;
	know_masters(needles, copy);
	know_cipher(needles, "the data key", copy->key, final_nonce);
	know(needles, "the value", copy->plain, sizeof(copy->plain));
	know(needles, "a drawn key", copy->drawn, sizeof(copy->drawn));
	know_channel(needles, copy);
	free(copy);
}

/* -- the look ------------------------------------------------------------------------------ */

static void on_needle(void *context, const struct needle *needle, const struct source *source,
	size_t at, uint32_t offset, const char *how)
{
	struct look *look = context;
	uint64_t *count = source->registers ? &look->in_registers : &look->in_memory;

	if ((*count)++ < SHOWN_MAX)
		printf("find %s %s, byte %u%s, at %#" PRIx64 " in %s\n", look->name, needle->name,
			offset, how, source->address + at,
			source->name[0] ? source->name : "anonymous memory");
}

static bool on_stage(const struct source *source)
{
	uint64_t begin = (uintptr_t)STAGE_ADDRESS;

	return source->address >= begin && source->address < begin + STAGE_SIZE;
}

/* Nobody but us can see it: the stack is shared with the subject. */
static size_t dirty_bytes(const struct stage *stage)
{
	size_t count = 0;

	for (size_t i = 0; i < sizeof(stage->stack); i++)
		count += stage->stack[i] != 0;
	return count;
}

static void look_at(struct look *look, const struct tracee *tracee, const struct needles *needles)
{
	struct sources sources = { 0 };
	int r = tracee_read(&sources, tracee);

	if (r < 0)
		fail(look->name, -r);
	for (size_t i = 0; i < sources.count; i++) {
		if (on_stage(&sources.items[i]))
			continue;
		look->bytes += sources.items[i].size;
		/* What is as on disk was not drawn a moment ago. */
		if (!sources.items[i].file)
			needles_look(needles, &sources.items[i], on_needle, look);
	}
	sources_free(&sources);
}

/* Returns whether the thing was done, and looked at. */
static bool try_thing(
	const char *subject, const char *way, const char *name, struct stage *stage, int fd)
{
	struct look look = { .name = name };
	struct needles needles;
	struct tracee tracee;
	char number[16];
	char *const argv[] = { (char *)(uintptr_t)subject, (char *)(uintptr_t)name,
		(char *)(uintptr_t)way, number, NULL };
	bool done;
	int r;

	prepare(stage);
	if (needles_init(&needles, KNOWN_MAX) < 0)
		fail(name, ENOMEM);
	know_all(&needles, stage);
	snprintf(number, sizeof(number), "%d", fd);
	r = tracee_start(&tracee, argv);
	if (r < 0)
		fail(subject, -r);
	done = tracee_next(&tracee) == TRACEE_BREAK && stage->result == 0;
	if (done) {
		know_all(&needles, stage);
		look.dirty = dirty_bytes(stage);
		look_at(&look, &tracee, &needles);
		printf("thing %s way=%s bytes=%" PRIu64 " memory=%" PRIu64 " registers=%" PRIu64
		       " dirty=%zu\n",
			name, way, look.bytes, look.in_memory, look.in_registers, look.dirty);
	} else {
		printf("blind %s: stop %#x, status %#x, result %d\n", name, (unsigned)tracee.number,
			(unsigned)tracee.status, stage->result);
	}
	tracee_kill(&tracee);
	needles_free(&needles);
	return done;
}

/* -- the names ----------------------------------------------------------------------------- */

static size_t list_things(const char *subject, char names[NAMES_MAX][NAME_SIZE])
{
	char command[512];
	size_t count = 0;
	FILE *list;

	snprintf(command, sizeof(command), "'%s' --list", subject);
	list = popen(command, "re");
	if (!list)
		fail(subject, errno);
	while (count < NAMES_MAX && fgets(names[count], NAME_SIZE, list)) {
		names[count][strcspn(names[count], "\n")] = '\0';
		count++;
	}
	if (pclose(list) != 0 || count == 0 || count == NAMES_MAX)
		fail("the subject's list", EIO);
	return count;
}

static bool try_all(const char *subject, const char *way, struct stage *stage, int fd)
{
	static char names[NAMES_MAX][NAME_SIZE];
	size_t count = list_things(subject, names);
	bool done = true;

	for (size_t i = 0; i < count; i++)
		done &= try_thing(subject, way, names[i], stage, fd);
	return done;
}

static int skip(const char *reason)
{
	printf("skip %s\n", reason);
	return EXIT_SKIP;
}

int main(int argc, char **argv)
{
	struct stage *stage;
	bool done = true;
	int fd;
	int r;

	if (argc < 3 || sodium_init() < 0) {
		fputs("usage: residue SUBJECT WAY [NAME...]\n", stderr);
		return EXIT_BLIND;
	}
	if (!locked_stack_switches())
		return skip("there is no locked stack of ours on this machine");
	r = tracee_allowed();
	if (r < 0)
		return skip(strerror(-r));
	/* Not before: nobody else has to inherit it. */
	fd = stage_descriptor();
	stage = stage_map(fd);
	if (argc == 3)
		done = try_all(argv[1], argv[2], stage, fd);
	for (int i = 3; i < argc; i++)
		done &= try_thing(argv[1], argv[2], argv[i], stage, fd);
	return done ? 0 : EXIT_BLIND;
}
