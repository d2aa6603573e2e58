/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/bundle_key.h"

#include <errno.h>
#include <sodium.h>

#include "client/lib/error.h"
#include "client/lib/handle.h"
#include "client/lib/memory/own.h"
#include "client/lib/memory/secret.h"
#include "client/lib/memory/workroom.h"
#include "client/lib/passphrase.h"

_Static_assert(BUNDLE_KEY_SIZE == PASSPHRASE_KEY_SIZE, "a passphrase makes a bundle's key");
_Static_assert(BUNDLE_SALT_SIZE == PASSPHRASE_SALT_SIZE, "with its salt");

/* The work of one call. */
struct making {
	struct bundle *bundle;
	struct bundle_head *head;
	const struct bundle_head *opened;
	const struct mg_backup_options *options;
	int result;
};

/* Whoever opens a bundle is asked for the same cost by its head. */
static int derive(const struct making *making, const struct bundle_head *head, uint8_t *key)
{
	return passphrase_key(key, making->options->passphrase, bundle_head_salt(head),
		head->opslimit, head->memlimit);
}

static void create(void *argument)
{
	struct making *making = argument;
	uint8_t key[BUNDLE_KEY_SIZE];

	if (making->options->passphrase) {
		bundle_head_passphrase(making->head, PASSPHRASE_OPSLIMIT, PASSPHRASE_MEMLIMIT);
		making->result = derive(making, making->head, key);
	} else {
		making->result =
			bundle_head_recipient(making->head, key, making->options->recipient);
	}
	if (making->result == 0)
		bundle_begin(making->bundle, making->head, key);
	sodium_memzero(key, sizeof(key));
}

static void resume(void *argument)
{
	struct making *making = argument;
	uint8_t key[BUNDLE_KEY_SIZE];

	if (making->opened->kind == BUNDLE_PASSPHRASE)
		making->result = derive(making, making->opened, key);
	else
		making->result =
			bundle_head_open(making->opened, key, making->options->private_key->data);
	if (making->result == 0)
		making->result = bundle_resume(making->bundle, making->opened, key);
	sodium_memzero(key, sizeof(key));
}

/* Argon2 takes 7 KiB of stack; the handle has room for it, and is nobody else's meanwhile. */
static int make(struct making *making, void (*function)(void *), struct mg_client *client)
{
	int r = handle_enter(client, connection_now_ms() + client->timeout_ms);

	if (r != MG_OK)
		return r;
	handle_run_deep(client, function, making);
	handle_leave(client);
	switch (making->result) {
	case 0:
		return MG_OK;
	case -ENOMEM:
		return error_say(MG_LIMIT, "not enough memory for Argon2id");
	case -EINVAL:
		return error_say(MG_INVALID, "the recipient's key is none");
	default:
		return error_say(MG_INTEGRITY, "the bundle does not open: another key, or changed");
	}
}

int bundle_key_create(struct bundle *bundle, struct bundle_head *head,
	const struct mg_backup_options *options, struct mg_client *client)
{
	struct making making = { .bundle = bundle, .head = head, .options = options };

	if (!options->passphrase == !options->recipient)
		return error_say(MG_INVALID, "a backup is to a passphrase or to a public key");
	if (options->passphrase && secret_check(options->passphrase) != MG_OK)
		return secret_check(options->passphrase);
	return make(&making, create, client);
}

static int check_private_key(const struct mg_secret *key)
{
	int r = secret_check(key);

	if (r == MG_OK && key->size != BUNDLE_KEY_SIZE)
		r = error_say(MG_INVALID, "a private key has %d bytes", BUNDLE_KEY_SIZE);
	return r;
}

int bundle_key_open(struct bundle *bundle, const struct bundle_head *head,
	const struct mg_backup_options *options, struct mg_client *client)
{
	struct making making = { .bundle = bundle, .opened = head, .options = options };
	int r;

	if (!options->passphrase == !options->private_key)
		return error_say(MG_INVALID, "a restore takes a passphrase or a private key");
	if (options->passphrase)
		r = secret_check(options->passphrase);
	else
		r = check_private_key(options->private_key);
	if (r != MG_OK)
		return r;
	if (head->kind == BUNDLE_PASSPHRASE && !options->passphrase)
		return error_say(
			MG_INTEGRITY, "the bundle is sealed to a passphrase, not to a key");
	if (head->kind == BUNDLE_RECIPIENT && options->passphrase)
		return error_say(
			MG_INTEGRITY, "the bundle is sealed to a key, not to a passphrase");
	return make(&making, resume, client);
}

/* -- pairs --------------------------------------------------------------------------------- */

struct drawing {
	unsigned char *public_key;
	uint8_t *private_key;
	int result;
};

static void draw(void *argument)
{
	struct drawing *drawing = argument;

	randombytes_buf(drawing->private_key, BUNDLE_KEY_SIZE);
	drawing->result = crypto_scalarmult_base(drawing->public_key, drawing->private_key);
}

int mg_backup_keypair(unsigned char public_key[MG_BACKUP_KEY_SIZE], struct mg_secret **private_keyp,
	enum mg_memory memory)
{
	struct mg_secret *room = NULL;
	struct workroom workroom = { 0 };
	struct drawing drawing = { .public_key = public_key };
	int r;

	*private_keyp = NULL;
	if (sodium_init() < 0)
		return error_say(MG_INTERNAL, "libsodium does not start");
	r = secret_new_closed(private_keyp, BUNDLE_KEY_SIZE, memory, own_self());
	if (r == MG_OK)
		r = mg_secret_new(&room, locked_stack_size(), memory);
	if (r == MG_OK) {
		drawing.private_key = (*private_keyp)->data;
		locked_stack_init(&workroom.stack, room->data, room->size);
		workroom_run(&workroom, draw, &drawing);
		r = drawing.result == 0 ? secret_close(*private_keyp)
					: error_say(MG_INTERNAL, "no pair could be drawn");
	}
	mg_secret_free(room);
	if (r != MG_OK)
		mg_secret_cleanup(private_keyp);
	return r;
}
