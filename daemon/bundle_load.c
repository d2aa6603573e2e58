/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/bundle_load.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/status.h"
#include "common/wire/bundle_reader.h"
#include "common/wire/name.h"
#include "daemon/admin_file.h"
#include "daemon/signals.h"
#include "daemon/vault/vault_restore.h"

/* Milliseconds between two looks for the end, while whoever has the key does not write it. */
#define LOOK_MS 100

/* What lies on the bench below the messages. One byte more than a private key has tells what is
 * longer. */
struct load_keys {
	struct bundle bundle;
	uint8_t data[ENCLAVE_KEY_SIZE]; /* of the secret at hand */
	uint8_t private_key[BUNDLE_KEY_SIZE + 1];
};

struct load {
	struct daemon *daemon;
	struct bundle_setting *setting;
	struct config_fault *fault;
	const char *shown; /* the file's name for messages */
	uid_t uid;
	int fd; /* of the file */
	struct load_keys *keys;
	struct bundle_reader reader;
	struct batch *batch;
	struct bundle_count count;
	uint64_t remasked_ms;
};

__attribute__((format(printf, 3, 4))) static int fail(
	struct load *load, int error, const char *format, ...)
{
	va_list arguments;
	int used =
		snprintf(load->fault->text, sizeof(load->fault->text), "bundle: %s: ", load->shown);

	va_start(arguments, format);
	vsnprintf(load->fault->text + used, sizeof(load->fault->text) - (size_t)used, format,
		arguments);
	va_end(arguments);
	return error;
}

/* -- the file ------------------------------------------------------------------------------ */

static int open_file(struct load *load)
{
	struct stat status;
	const char *wrong;

	load->fd = open(load->setting->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (load->fd < 0 || fstat(load->fd, &status) < 0)
		return fail(load, -EBADMSG, "%s", strerror(errno));
	/* Whoever has the public key can make a bundle: only those who may write here bring one. */
	wrong = admin_file_fault(&status);
	return wrong ? fail(load, -EBADMSG, "%s", wrong) : 0;
}

/* A disk may keep us waiting: no view lives so long. */
static ssize_t read_file(void *context, uint8_t *out, size_t room)
{
	struct load *load = context;
	ssize_t n;

	daemon_forget(load->daemon);
	do
		n = read(load->fd, out, room);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void run(void *context, void (*function)(void *), void *argument)
{
	const struct load *load = context;

	locked_stack_call(&load->daemon->stack, function, argument);
}

/* The words for what the reader gave. */
static int judge(struct load *load, int r)
{
	if (r >= 0)
		return r;
	if (load->reader.fault)
		return fail(load, -EBADMSG, "%s", load->reader.fault);
	if (r == -ENOMEM)
		return fail(load, -ENOMEM, "out of memory");
	return fail(load, -EBADMSG, "cannot be read: %s", strerror(-r));
}

/* -- the key ------------------------------------------------------------------------------- */

static int open_credential(struct load *load)
{
	const char *name = load->setting->credential;
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	cleanup(freep) char *path = NULL;
	struct stat status;
	int fd;

	if (!folder || folder[0] != '/')
		return fail(load, -EBADMSG,
			"no credential '%s': the service manager hands none over "
			"($CREDENTIALS_DIRECTORY)",
			name);
	if (asprintf(&path, "%s/%s", folder, name) < 0)
		return fail(load, -ENOMEM, "out of memory");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return fail(load, -EBADMSG, "the credential '%s': %s", name, strerror(errno));
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
		return fd;
	close(fd);
	return fail(load, -EBADMSG, "the credential '%s' is no regular file", name);
}

/* Waits until there is something to read, or the end is asked for. */
static int wait_for_key(int fd)
{
	struct pollfd waiting = { .fd = fd, .events = POLLIN };

	for (;;) {
		int r = poll(&waiting, 1, LOOK_MS);

		if (r < 0 && errno != EINTR)
			return -errno;
		if (signals_end_waits())
			return -EINTR;
		if (r > 0)
			return 0;
	}
}

/* All that is there, up to `room` bytes. Returns how many. */
static ssize_t read_all(int fd, uint8_t *out, size_t room)
{
	size_t used = 0;

	while (used < room) {
		int r = wait_for_key(fd);
		ssize_t n = r == 0 ? read(fd, out + used, room - used) : r;

		if (r < 0)
			return r;
		if (n == 0)
			break;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		used += n > 0 ? (size_t)n : 0;
	}
	return (ssize_t)used;
}

static int say_no_key(struct load *load)
{
	const char *name = load->setting->credential;

	if (name[0])
		return fail(load, -EBADMSG, "the credential '%s' holds no private key of %d bytes",
			name, BUNDLE_KEY_SIZE);
	return fail(load, -EBADMSG, "the key's descriptor holds no private key of %d bytes",
		BUNDLE_KEY_SIZE);
}

/* Straight onto the bench, and nowhere else. */
static int read_key(struct load *load)
{
	bool named = load->setting->credential[0] != '\0';
	cleanup(closep) int fd = named ? open_credential(load) : load->setting->fd;
	ssize_t size;

	/* It is closed here, whatever comes of it. */
	load->setting->fd = -1;
	if (fd < 0)
		return named ? fd : fail(load, -EBADMSG, "the key's descriptor is closed");
	size = read_all(fd, load->keys->private_key, sizeof(load->keys->private_key));
	if (size == -EINTR)
		return -EINTR;
	if (size < 0)
		return fail(load, -EBADMSG, "the key cannot be read: %s", strerror((int)-size));
	return size == BUNDLE_KEY_SIZE ? 0 : say_no_key(load);
}

struct unlocking {
	struct load *load;
	int result;
};

/* The private key has done its work with that. */
static void unlock(void *argument)
{
	struct unlocking *unlocking = argument;
	struct load_keys *keys = unlocking->load->keys;
	const struct bundle_head *head = &unlocking->load->reader.head;
	uint8_t key[BUNDLE_KEY_SIZE];

	unlocking->result = bundle_head_open(head, key, keys->private_key);
	if (unlocking->result == 0)
		unlocking->result = bundle_resume(&keys->bundle, head, key);
	sodium_memzero(key, sizeof(key));
	sodium_memzero(keys->private_key, sizeof(keys->private_key));
}

static int take_key(struct load *load)
{
	struct unlocking unlocking = { .load = load };
	int r = read_key(load);

	if (r < 0)
		return r;
	run(load, unlock, &unlocking);
	return unlocking.result == 0
		? 0
		: fail(load, -EBADMSG, "does not open: another key, or changed");
}

/* -- one secret ---------------------------------------------------------------------------- */

/* The masks are drawn anew as often as when we serve. */
static void remask_in_time(struct load *load)
{
	uint64_t now_ms = daemon_now_ms();

	if (now_ms - load->remasked_ms < load->daemon->rekey_ms)
		return;
	load->remasked_ms = now_ms;
	daemon_remask(load->daemon);
}

static int say_refused(struct load *load, int status)
{
	switch (status) {
	case STATUS_CONFLICT:
		return fail(load, -EBADMSG, "two secrets in it have the same name");
	case STATUS_LIMIT:
		return fail(load, -ENOMEM, "out of memory");
	default:
		return fail(load, -EBADMSG, "secret %llu cannot be kept",
			(unsigned long long)load->reader.met);
	}
}

/* Chunks go into the ledger as they are. */
static int append(
	struct load *load, struct value *value, const struct chunks *chunks, struct span left)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < chunks->count; i++) {
		size_t size = i + 1 == chunks->count ? chunks->last : ENCLAVE_CHUNK_SIZE;

		r = value_append(load->daemon->vault, value, span_of(left.data, size));
		left = span_of(left.data + size, left.size - size);
	}
	return r == 0 ? 0 : say_refused(load, r);
}

static int take_value(struct load *load, struct value *value)
{
	struct chunks chunks = { 0 };
	struct span bytes;
	int r = 0;

	while (r == 0 && !chunks.final) {
		r = judge(load, bundle_reader_chunks(&load->reader, &chunks, &bytes));
		if (r == 1)
			r = append(load, value, &chunks, bytes);
		remask_in_time(load);
	}
	return r;
}

struct adding {
	struct load *load;
	const struct bundled *bundled;
	struct value **valuep;
	int result;
};

static void add(void *argument)
{
	struct adding *adding = argument;
	struct daemon *daemon = adding->load->daemon;
	const struct info *info = &adding->bundled->info;
	char filed[NAME_FILED_MAX];
	struct vault_put put = { .name = span_of(filed,
					 name_file(filed, info->name, (uint32_t)adding->load->uid)),
		.owner = adding->bundled->owner,
		.key = adding->bundled->key,
		.tags = info->tags,
		.frozen = info->frozen,
		.lifetime = info->left };
	struct batch_times times = { .version = info->version,
		.created_ms = (uint64_t)info->created_ms,
		.changed_ms = (uint64_t)info->changed_ms };

	adding->result =
		batch_add(daemon->vault, adding->load->batch, adding->valuep, &put, &times);
	daemon_forget_in_time(daemon, daemon_now_ns());
}

static int take_secret(struct load *load, const struct bundled *bundled)
{
	struct vault *vault = load->daemon->vault;
	struct value *value = NULL;
	struct adding adding = { .load = load, .bundled = bundled, .valuep = &value };
	int r;

	if (bundled->info.size > load->daemon->max_value)
		return fail(load, -EBADMSG,
			"secret %llu has %llu bytes, more than max-value (%llu)",
			(unsigned long long)load->reader.met,
			(unsigned long long)bundled->info.size,
			(unsigned long long)load->daemon->max_value);
	if (value_new(vault, &value) != 0)
		return say_refused(load, STATUS_LIMIT);
	r = take_value(load, value);
	if (r == 0)
		run(load, add, &adding);
	value_free(vault, value);
	if (r == 0 && adding.result != 0)
		r = say_refused(load, adding.result);
	load->count.secrets++;
	load->count.bytes += bundled->info.size;
	return r;
}

/* -- all of them --------------------------------------------------------------------------- */

static int take_all(struct load *load)
{
	struct bundled bundled;
	int r;

	while ((r = judge(load, bundle_reader_next(&load->reader, &bundled))) == 1) {
		r = take_secret(load, &bundled);
		if (r == 0 && signals_end_waits())
			r = -EINTR;
		if (r < 0)
			return r;
	}
	return r;
}

struct publishing {
	struct load *load;
	struct span name; /* in the way: in an empty house there is none */
	bool committed;
	int result; /* 1: that was all; 0: there is more */
};

static int publish_step(struct publishing *publishing)
{
	struct vault *vault = publishing->load->daemon->vault;
	struct batch *batch = publishing->load->batch;
	int r;

	if (publishing->committed)
		return batch_publish(vault, batch);
	r = batch_check(vault, batch, NULL, &publishing->name);
	if (r != 1)
		return r;
	r = batch_commit(vault, batch);
	publishing->committed = r == 0;
	return r;
}

static void publish(void *argument)
{
	struct publishing *publishing = argument;

	publishing->result = publish_step(publishing);
	daemon_forget_in_time(publishing->load->daemon, daemon_now_ns());
}

static int publish_all(struct load *load)
{
	struct publishing publishing = { .load = load };

	do {
		run(load, publish, &publishing);
		remask_in_time(load);
	} while (publishing.result == 0);
	return publishing.result == 1 ? 0 : say_refused(load, publishing.result);
}

static void lay_out(void *argument)
{
	struct load *load = argument;

	load->keys = workbench_take(&load->daemon->bench, sizeof(*load->keys));
}

static int prepare(struct load *load)
{
	struct workbench *bench = &load->daemon->bench;

	run(load, lay_out, load);
	if (!load->keys || batch_new(load->daemon->vault, &load->batch) != 0)
		return fail(load, -ENOMEM, "out of memory");
	load->reader = (struct bundle_reader){ .read = read_file,
		.run = run,
		.context = load,
		.bundle = &load->keys->bundle,
		.key = load->keys->data,
		.bench = bench,
		.mark = workbench_mark(bench) };
	return 0;
}

static int load_all(struct load *load)
{
	int r = open_file(load);

	if (r == 0)
		r = prepare(load);
	if (r == 0)
		r = judge(load, bundle_reader_begin(&load->reader));
	/* There is no room for Argon2 here, and nobody to be asked. */
	if (r == 0 && load->reader.head.kind != BUNDLE_RECIPIENT)
		r = fail(load, -EBADMSG, "is sealed to a passphrase, not to a key");
	if (r == 0)
		r = take_key(load);
	if (r == 0)
		r = take_all(load);
	return r == 0 ? publish_all(load) : r;
}

static void wipe_bench(void *argument)
{
	workbench_wipe(argument);
}

int bundle_load(struct daemon *daemon, struct bundle_setting *setting, uid_t uid,
	struct bundle_count *countp, struct config_fault *fault)
{
	struct load load = { .daemon = daemon,
		.setting = setting,
		.fault = fault,
		.shown = admin_file_shown(setting->file),
		.uid = uid,
		.fd = -1,
		.remasked_ms = daemon_now_ms() };
	int r = load_all(&load);

	bundle_reader_finish(&load.reader);
	batch_leave(load.batch);
	locked_stack_call(&daemon->stack, wipe_bench, &daemon->bench);
	daemon_forget(daemon);
	bundle_setting_drop(setting);
	if (load.fd >= 0)
		close(load.fd);
	if (r == 0)
		*countp = load.count;
	return r;
}
