/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/audit/audit.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/audit/audit_entry.h"
#include "daemon/log.h"

/* Lines that wait: some hundreds of them. */
#define QUEUE_SIZE ((size_t)256 * 1024)

/* Milliseconds between two tries to open what cannot be opened. */
#define RETRY_MS 1000

_Static_assert(COFFER_SEED_SIZE == AUDIT_SEED_SIZE, "one makes the other");
_Static_assert(sizeof(((struct coffer_chain *)0)->written_hash) == AUDIT_HASH_SIZE, "one is kept");

struct audit {
	struct coffer *coffer;
	enum audit_level level;
	bool required;
	char path[CONFIG_PATH_MAX];
	struct audit_file file;
	struct audit_file next; /* in whose place it comes when it is signed next, if it is open */
	bool started;           /* this process has told of itself */
	struct audit_head head; /* of what waits, too */
	struct audit_head written;
	uint64_t last_signed; /* number of a line */
	uint8_t key[AUDIT_KEY_SIZE];
	bool failed;          /* the last try to write: it was told */
	uint64_t lost;        /* lines, all in all */
	uint64_t lost_untold; /* of them no line tells */
	bool key_untold;      /* the key is one that no line tells */
	uint64_t retry_ms;    /* of CLOCK_MONOTONIC */
	struct audit_head before_last;
	size_t last_size; /* bytes of the last line */
	size_t used;      /* bytes of the queue */
	size_t sent;      /* of its first line: those that the file has already */
	char queue[QUEUE_SIZE];
};

int audit_new(struct audit **auditp, struct coffer *coffer)
{
	struct audit *audit = calloc(1, sizeof(*audit));

	if (!audit)
		return -ENOMEM;
	audit->coffer = coffer;
	audit->file = audit->next = AUDIT_FILE_NONE;
	*auditp = audit;
	return 0;
}

void audit_free(struct audit *audit)
{
	if (!audit)
		return;
	audit_file_close(&audit->file);
	audit_file_close(&audit->next);
	free(audit);
}

const struct audit_file *audit_file_now(const struct audit *audit)
{
	return &audit->file;
}

static int64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* -- what is kept beside the masters ------------------------------------------------------- */

/* What is about to be written, in front of it; what was written, behind it: a crash in between is
 * seen by what the file ends with. */
static void keep_writing(const struct audit *audit)
{
	struct coffer_chain *chain = coffer_chain(audit->coffer);

	if (!chain)
		return;
	memcpy(chain->writing_hash, audit->head.hash, AUDIT_HASH_SIZE);
	chain->writing = audit->head.number;
}

static void keep_written(const struct audit *audit)
{
	struct coffer_chain *chain = coffer_chain(audit->coffer);

	if (!chain)
		return;
	memcpy(chain->written_hash, audit->written.hash, AUDIT_HASH_SIZE);
	chain->written = audit->written.number;
}

/*
 * Where the chain goes on. What the file ends with decides between the two that may be its end;
 * where it ends with neither, lines are missing, and their numbers will be.
 */
static struct audit_head find_head(const struct audit *audit, const struct audit_file *file)
{
	const struct coffer_chain *chain = coffer_chain(audit->coffer);
	struct audit_head head = { 0 };

	if (!chain || chain->writing == 0)
		return file->has_tail ? file->tail : head;
	head.number = chain->writing;
	memcpy(head.hash, chain->writing_hash, AUDIT_HASH_SIZE);
	if (file->has_tail && file->tail.number == chain->written &&
		memcmp(file->tail.hash, chain->written_hash, AUDIT_HASH_SIZE) == 0)
		head = file->tail;
	return head;
}

/* -- writing ------------------------------------------------------------------------------- */

/* The first of a row of failures is told, and its end. */
static void tell_failure(struct audit *audit, int error)
{
	/* A reader who is slow is no failure. */
	if (error == -EAGAIN)
		return;
	if (!audit->failed)
		log_error("the audit log cannot be written: %s; its lines wait", strerror(-error));
	audit->failed = true;
}

static void tell_success(struct audit *audit)
{
	if (audit->failed)
		log_notice("the audit log is written again");
	audit->failed = false;
}

/* The last line of those that were written now. */
static void note_written(struct audit *audit, size_t size)
{
	const char *end = audit->queue + size - 1;
	const char *begin = memrchr(audit->queue, '\n', size - 1);
	struct audit_line line;

	begin = begin ? begin + 1 : audit->queue;
	if (size == audit->used) {
		audit->written = audit->head;
	} else if (audit_line_read(&line, span_of(begin, (size_t)(end - begin))) == 0) {
		audit->written.number = line.number;
		memcpy(audit->written.hash, line.hash, AUDIT_HASH_SIZE);
	}
	keep_written(audit);
}

/* So many bytes more are in the file. A line waits until all of it is: it may have to go elsewhere.
 */
static void let_go(struct audit *audit, size_t size)
{
	const char *end;
	size_t whole;

	audit->sent += size;
	end = memrchr(audit->queue, '\n', audit->sent);
	if (!end)
		return;
	whole = (size_t)(end - audit->queue) + 1;
	note_written(audit, whole);
	audit->used -= whole;
	audit->sent -= whole;
	memmove(audit->queue, audit->queue + whole, audit->used);
}

/* Half a line is none: a file that is closed now ends with a whole one. */
static void withdraw_half(struct audit *audit)
{
	if (audit->sent > 0 && audit_file_cut(&audit->file, audit->sent) == 0)
		audit->sent = 0;
}

/* Writes what waits: all of it, or as much as goes. Returns 0 or a negative errno. */
static int flush(struct audit *audit)
{
	if (audit->used > 0)
		keep_writing(audit);
	while (audit->used > 0) {
		ssize_t size = audit_file_write(
			&audit->file, audit->queue + audit->sent, audit->used - audit->sent);

		if (size == 0)
			size = -EIO;
		if (size < 0) {
			tell_failure(audit, (int)size);
			withdraw_half(audit);
			return (int)size;
		}
		let_go(audit, (size_t)size);
	}
	tell_success(audit);
	return 0;
}

/* Begins a line at the end of the queue. Returns whether there is room for it. */
static bool begin_line(struct audit *audit, struct audit_draft *draft, const char *type)
{
	if (QUEUE_SIZE - audit->used < AUDIT_LINE_MAX)
		(void)flush(audit);
	if (QUEUE_SIZE - audit->used < AUDIT_LINE_MAX)
		return false;
	audit_draft_begin(draft, audit->queue + audit->used, AUDIT_LINE_MAX, &audit->head,
		clock_ms(CLOCK_REALTIME), type);
	return true;
}

/* Returns 0, or -ENOSPC for a line that is longer than any should be. */
static int end_line(struct audit *audit, struct audit_draft *draft)
{
	const struct audit_head before = audit->head;
	int size = audit_draft_end(draft, &audit->head);

	if (size < 0)
		return size;
	audit->before_last = before;
	audit->last_size = (size_t)size;
	audit->used += (size_t)size;
	return 0;
}

static void lose_lines(struct audit *audit, uint64_t count)
{
	audit->lost += count;
	audit->lost_untold += count;
}

static void lose_line(struct audit *audit)
{
	lose_lines(audit, 1);
}

/* The chain goes on behind what was written: nothing that waits will be. */
static void lose_waiting(struct audit *audit)
{
	uint64_t count = 0;

	for (size_t i = 0; i < audit->used; i++)
		count += audit->queue[i] == '\n';
	lose_lines(audit, count);
	audit->used = 0;
	audit->sent = 0;
	audit->head = audit->written;
	audit->last_signed = 0;
	keep_writing(audit);
}

/* -- signing ------------------------------------------------------------------------------- */

static int take_key(struct audit *audit)
{
	uint8_t seed[COFFER_SEED_SIZE];
	int r = coffer_audit_seed(audit->coffer, seed);

	if (r == 0)
		audit_public_key(audit->key, seed);
	sodium_memzero(seed, sizeof(seed));
	return r;
}

/* A line that tells the key. Returns whether there is room for it. */
static bool tell_key(struct audit *audit, const char *type)
{
	struct audit_draft draft;

	if (!begin_line(audit, &draft, type))
		return false;
	audit_draft_hex(&draft, "key", audit->key, sizeof(audit->key));
	audit_draft_number(&draft, "pid", (uint64_t)getpid());
	audit_draft_text(&draft, "version", span_text(MEMGUARDD_VERSION));
	audit->key_untold = end_line(audit, &draft) < 0;
	return true;
}

static void add_keyed_line(struct audit *audit, const char *type)
{
	if (tell_key(audit, type))
		return;
	lose_line(audit);
	audit->key_untold = true;
}

/*
 * There is room again: how many lines there was none for, and under which key the log goes on.
 * Which one it is, is known of an open file alone.
 */
static void tell_lost(struct audit *audit)
{
	struct audit_draft draft;

	if (audit->file.fd < 0)
		return;
	if (audit->lost_untold > 0 && begin_line(audit, &draft, "lost")) {
		audit_draft_number(&draft, "lost", audit->lost_untold);
		if (end_line(audit, &draft) == 0)
			audit->lost_untold = 0;
	}
	if (audit->key_untold)
		(void)tell_key(audit, "go-on");
}

/* A line that signs; `why` and `next` may be NULL. Returns whether there is room for it. */
static bool add_signed_line(struct audit *audit, const char *type, const char *why,
	const uint8_t *next, const uint8_t seed[static COFFER_SEED_SIZE])
{
	struct audit_draft draft;

	if (!begin_line(audit, &draft, type))
		return false;
	if (why)
		audit_draft_text(&draft, "why", span_text(why));
	audit_draft_hex(&draft, "key", audit->key, sizeof(audit->key));
	if (next)
		audit_draft_hex(&draft, "next", next, AUDIT_KEY_SIZE);
	audit_draft_sign(&draft, &audit->head, seed);
	if (end_line(audit, &draft) == 0)
		audit->last_signed = audit->head.number;
	return true;
}

static void sign(struct audit *audit, const char *type, const char *why)
{
	uint8_t seed[COFFER_SEED_SIZE];

	if (coffer_audit_seed(audit->coffer, seed) == 0)
		(void)add_signed_line(audit, type, why, NULL, seed);
	sodium_memzero(seed, sizeof(seed));
	(void)flush(audit);
}

bool audit_owes_signature(const struct audit *audit)
{
	return audit->file.fd >= 0 && audit->head.number > audit->last_signed &&
		!coffer_is_locked(audit->coffer);
}

void audit_end(struct audit *audit)
{
	if (audit->file.fd >= 0)
		sign(audit, "end", "ended");
}

void audit_change_key(struct audit *audit, const uint8_t seed[static COFFER_SEED_SIZE])
{
	uint8_t next[AUDIT_KEY_SIZE];
	uint8_t fresh[COFFER_SEED_SIZE];

	if (coffer_audit_seed(audit->coffer, fresh) == 0) {
		audit_public_key(next, fresh);
		audit->key_untold =
			audit->file.fd < 0 || !add_signed_line(audit, "key", "purged", next, seed);
		memcpy(audit->key, next, sizeof(next));
	}
	sodium_memzero(fresh, sizeof(fresh));
	(void)flush(audit);
}

void audit_know_key(struct audit *audit, const uint8_t key[static AUDIT_KEY_SIZE])
{
	memcpy(audit->key, key, sizeof(audit->key));
}

void audit_find_key(struct audit *audit)
{
	(void)take_key(audit);
}

/* A log that goes on under a key that the one before does not name: that is what it looks like. */
void audit_lose_key(struct audit *audit)
{
	if (take_key(audit) < 0)
		return;
	audit->key_untold = true;
	tell_lost(audit);
	if (audit->file.fd >= 0)
		sign(audit, "checkpoint", NULL);
}

/* -- files --------------------------------------------------------------------------------- */

/* What the process before us had decided, and did not write, is lost with it. */
static void take_up(struct audit *audit, const struct audit_file *file)
{
	const struct coffer_chain *chain = coffer_chain(audit->coffer);

	audit->head = find_head(audit, file);
	audit->written = audit->head;
	if (chain && chain->writing > audit->head.number)
		lose_lines(audit, chain->writing - audit->head.number);
	keep_writing(audit);
	keep_written(audit);
}

/* The file before says that it ends; the new one goes on with the chain. */
static void change_file(struct audit *audit, struct audit_file *file)
{
	bool fresh = !file->has_tail;

	if (audit->file.fd >= 0) {
		sign(audit, "end", "moved");
		/* It has had its time: what waits still goes into the next one. */
		audit_file_close(&audit->file);
		audit->sent = 0;
	} else {
		take_up(audit, file);
	}
	audit->file = *file;
	*file = AUDIT_FILE_NONE;
	if (fresh && audit->head.number > 0)
		add_keyed_line(audit, "go-on");
}

void audit_use(struct audit *audit, const struct config *config, struct audit_file *file)
{
	bool on = config->audit != AUDIT_OFF;

	audit->level = config->audit;
	audit->required = config->audit_required;
	strcpy(audit->path, config->audit_file);
	(void)take_key(audit);
	if (!on && audit->file.fd >= 0) {
		sign(audit, "end", "off");
		if (audit->used > 0)
			lose_waiting(audit);
		audit_file_close(&audit->file);
		audit->started = false;
	}
	if (!on || file->same || file->fd < 0)
		return;
	change_file(audit, file);
	if (!audit->started)
		add_keyed_line(audit, "start");
	audit->started = true;
	tell_lost(audit);
	sign(audit, "checkpoint", NULL);
}

/* What is open from now on, when it should have been before. */
static void begin_late(struct audit *audit, struct audit_file *file)
{
	change_file(audit, file);
	if (!audit->started)
		add_keyed_line(audit, "start");
	audit->started = true;
	tell_lost(audit);
}

/* What could not be opened when it should have been: lines before that are lost. */
static void try_again(struct audit *audit)
{
	uint64_t now_ms = (uint64_t)clock_ms(CLOCK_MONOTONIC);
	struct config_fault fault;
	struct audit_file file;

	if (now_ms < audit->retry_ms)
		return;
	audit->retry_ms = now_ms + RETRY_MS;
	if (audit_file_open(&file, audit->path, &audit->file, &fault) == 0)
		begin_late(audit, &file);
}

void audit_look(struct audit *audit)
{
	struct config_fault fault;
	int r;

	if (!audit_file_is_deleted(&audit->file))
		return;
	r = audit_file_open(&audit->next, audit->path, &audit->file, &fault);
	/* There are file systems that count no names. */
	if (r == 0 && audit->next.same)
		return;
	log_error("the audit log %s was deleted, with what stood in it", audit->path);
	if (r == 0)
		return;
	log_error("%s; lines are lost until it can be opened", fault.text);
	lose_waiting(audit);
	audit_file_close(&audit->file);
}

void audit_sign(struct audit *audit)
{
	if (audit->next.fd >= 0)
		begin_late(audit, &audit->next);
	tell_lost(audit);
	if (audit_owes_signature(audit))
		sign(audit, "checkpoint", NULL);
}

void audit_write(struct audit *audit)
{
	if (audit->level != AUDIT_OFF && audit->file.fd < 0)
		try_again(audit);
	if (audit->file.fd < 0)
		return;
	tell_lost(audit);
	if (audit->used > 0)
		(void)flush(audit);
}

/* -- decisions ----------------------------------------------------------------------------- */

static bool is_wanted(const struct audit *audit, const struct audit_entry *entry)
{
	switch (audit->level) {
	case AUDIT_ALL:
		return true;
	case AUDIT_WRITES:
		return entry->changes || !entry->allowed;
	case AUDIT_DENIES:
		return !entry->allowed;
	default:
		return false;
	}
}

static int add_decision(struct audit *audit, const struct audit_entry *entry)
{
	struct audit_draft draft;

	tell_lost(audit);
	if (!begin_line(audit, &draft, "decision"))
		return -ENOSPC;
	audit_entry_put(&draft, entry);
	return end_line(audit, &draft);
}

/*
 * Writes a line that has just been added before anything is done. Where that fails, and nothing of
 * it was written, it is taken back: what it allows will not be done.
 */
static int write_at_once(struct audit *audit, bool allowed)
{
	int r;

	/* The masters' view does not wait for a disk. */
	coffer_forget(audit->coffer);
	r = flush(audit);
	if (r < 0 && allowed && audit->used - audit->sent >= audit->last_size) {
		audit->used -= audit->last_size;
		audit->head = audit->before_last;
		keep_writing(audit);
	}
	return r;
}

int audit_decision(struct audit *audit, const struct audit_entry *entry)
{
	int r;

	if (!is_wanted(audit, entry))
		return 0;
	r = audit->file.fd >= 0 ? add_decision(audit, entry) : -EBADF;
	if (r < 0 && !(audit->required && entry->allowed))
		lose_line(audit);
	if (r == 0 && audit->required)
		r = write_at_once(audit, entry->allowed);
	return audit->required ? r : 0;
}

struct audit_state audit_state(const struct audit *audit)
{
	struct audit_state state = {
		.on = audit->level != AUDIT_OFF, .written = audit->written, .lost = audit->lost
	};

	memcpy(state.key, audit->key, sizeof(state.key));
	return state;
}
