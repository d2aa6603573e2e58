/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/daemon.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/status.h"

#include "common/wire/text.h"
#include "daemon/ledger/ledger.h"
#include "daemon/log.h"
#include "daemon/vault/vault_event.h"

#define PAGE 4096

/* The daemon's share of the 16 pages; the locked stack has the other two. */
#define PREKEY_SIZE PAGE
#define VIEW_PAGES 1
#define BENCH_PAGES 10

/* Ten minutes: a set's writer may be a person, but no memory is held for one who has left. */
#define UPLOAD_MS 600000

/* Nanoseconds after which a view is wiped in the middle of work. */
#define VIEW_NS 1000000

/* Nanoseconds that the end of lives may take at a time; and those while several users are there. */
#define EXPIRE_NS 1000000
#define EXPIRE_SHARED_NS 5000

/* The keys come last: they may be elsewhere. */
enum region { REGION_VIEW, REGION_STACK, REGION_BENCH, REGION_KEYS, REGIONS };

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

bool daemon_has_time(const struct daemon *daemon)
{
	return daemon_now_ns() < daemon->turn_ns;
}

static void want_keys(struct os_memory *keys)
{
	*keys = (struct os_memory){ .count = 1 };
	keys->regions[0].size = coffer_keys_size(PREKEY_SIZE);
	keys->regions[0].inherited = true;
}

int daemon_map_keys(struct os_memory *keys, enum os_memory_need need)
{
	want_keys(keys);
	return os_memory_map(keys, need);
}

int daemon_share_keys(struct os_memory *keys, enum os_memory_need need, int *fdp)
{
	want_keys(keys);
	return os_memory_map_open(keys, need, fdp);
}

int daemon_open_keys(struct os_memory *keys, enum os_memory_need need, int fd)
{
	want_keys(keys);
	return os_memory_open(keys, need, fd);
}

static int map_memory(struct daemon *daemon, enum os_memory_need need)
{
	struct os_memory *memory = &daemon->memory;

	memory->regions[REGION_KEYS].size = coffer_keys_size(PREKEY_SIZE);
	memory->regions[REGION_VIEW].size = VIEW_PAGES * PAGE;
	memory->regions[REGION_STACK].size = locked_stack_size();
	memory->regions[REGION_BENCH].size = BENCH_PAGES * PAGE;
	memory->count = daemon->keys ? REGION_KEYS : REGIONS;
	return os_memory_map(memory, need);
}

/* What runs on the locked stack, and how it ends. */
struct opening {
	struct daemon *daemon;
	struct process *process; /* that something has just been bound to */
	int result;
};

/* What another process has left is adopted; under the channel master nothing of it is needed. */
static int open_coffer(struct daemon *daemon)
{
	uint8_t *view = daemon->memory.regions[REGION_VIEW].data + sizeof(*daemon->guard);
	uint8_t *keys = daemon->keys ? daemon->keys->regions[0].data
				     : daemon->memory.regions[REGION_KEYS].data;
	int r = coffer_adopt(&daemon->coffer, keys, PREKEY_SIZE, view, daemon->guard);

	daemon->adopted = r == 0;
	if (r == 0)
		coffer_replace(&daemon->coffer, COFFER_CHANNEL);
	if (r != -ENODATA)
		return r;
	/* The canary value stands on the view page too, in front of the view. */
	coffer_init(&daemon->coffer, keys, PREKEY_SIZE, view, daemon->guard);
	return 0;
}

static void open_vault(void *argument)
{
	struct opening *opening = argument;
	struct daemon *daemon = opening->daemon;

	opening->result = open_coffer(daemon);
	if (opening->result == 0)
		opening->result = vault_new(&daemon->vault, &daemon->coffer, daemon->ledger);
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
}

/* Something has happened in a stream: whoever waits for it looks again. */
static void on_change(void *context, struct span name)
{
	struct daemon *daemon = context;

	wait_queue_call(&daemon->waits, name);
}

/* All locked memory is mapped here, and holds still from then on where the kernel can do that. */
static int take_memory(struct daemon *daemon, const struct daemon_options *options)
{
	int r;

	daemon->keys = options->keys;
	r = daemon->keys ? os_memory_take_over(daemon->keys, options->memory) : 0;
	if (r == 0)
		r = map_memory(daemon, options->memory);
	if (r < 0)
		return r;
	furnish(daemon);
	(void)os_memory_seal(&daemon->memory);
	if (daemon->keys)
		(void)os_memory_seal(daemon->keys);
	return 0;
}

void daemon_tell_watches(struct daemon *daemon)
{
	uint64_t from = daemon->told;
	struct vault_event event;
	int r;

	if (!daemon->waits.follows) {
		daemon->told = vault_event_place(daemon->vault);
		return;
	}
	while ((r = vault_event_next(daemon->vault, &daemon->told, &event)) == 1) {
		wait_queue_tell(
			&daemon->waits, span_of(event.name, event.name_size), from, daemon->told);
		from = daemon->told;
	}
	if (r == 0)
		return;
	/* What is forgotten concerns everybody. */
	daemon->told = vault_event_place(daemon->vault);
	wait_queue_tell(&daemon->waits, span_of(NULL, 0), from, daemon->told);
}

static void drop_answer(void *context, uint64_t place)
{
	struct daemon *daemon = context;

	vault_drop_answer(daemon->vault, place);
}

static bool move_answer(void *context, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE], uint64_t from, uint64_t to)
{
	const struct daemon *daemon = context;

	return repeats_moved(daemon->repeats, uid, number, from, to);
}

/* What was answered before us is answered again. */
static int on_answer(void *context, const struct vault_answer *answer)
{
	struct daemon *daemon = context;
	const struct repeat_answer first = { .version = answer->version, .place = answer->place };

	return repeats_keep(daemon->repeats, answer->uid, answer->number, answer->digest, &first);
}

/* The process that a secret was bound to before us, if it lives. */
static int find_process(void *context, uint32_t pid, uint64_t started, struct holder **holderp)
{
	struct opening *opening = context;
	struct processes *processes = opening->daemon->processes;
	const char *words;
	int r;

	/* What was asked for before has its record by now, and lives as long as that. */
	process_release(processes, opening->process);
	opening->process = NULL;
	r = process_take(processes, getpid(), (pid_t)pid, &opening->process, &words);
	if (r == STATUS_LIMIT)
		return -ENOMEM;
	*holderp = r == 0 && process_started(opening->process) == started
		? process_holder(opening->process)
		: NULL;
	return 0;
}

void daemon_wipe_later(struct daemon *daemon)
{
	daemon->wipes_later = true;
	vault_wipe_later(daemon->vault);
}

int daemon_take_up(struct daemon *daemon)
{
	struct opening opening = { .daemon = daemon };
	int r;

	if (daemon->wipes_later)
		vault_wipe_later(daemon->vault);
	daemon_set_quotas(daemon, &daemon->users.quotas);
	/* What was told of it was told by another one. */
	daemon->told = vault_event_place(daemon->vault);
	vault_watch(daemon->vault, on_change, daemon);
	r = vault_answers(daemon->vault, on_answer, daemon);
	if (r < 0)
		return r;
	vault_watch_answers(daemon->vault, move_answer, daemon);
	r = daemon->tokens ? tokens_take_up(daemon->tokens, daemon->vault)
			   : tokens_new(&daemon->tokens, daemon->vault);
	if (r < 0)
		return r;
	r = vault_bind(daemon->vault, find_process, &opening);
	process_release(daemon->processes, opening.process);
	return r;
}

static void take_up(void *argument)
{
	struct opening *opening = argument;

	opening->result = daemon_take_up(opening->daemon);
}

/* What signs the log is not known of a vault that is locked; which key it is, the lock tells. */
static int make_audit(struct daemon *daemon)
{
	const struct vault_lock *lock = vault_lock_of(daemon->vault);
	int r = audit_new(&daemon->audit, &daemon->coffer);

	if (r == 0 && lock)
		audit_know_key(daemon->audit, lock->note);
	return r;
}

void daemon_set_quotas(struct daemon *daemon, const struct quotas *quotas)
{
	const struct vault_quotas stored = {
		.names = quotas->count, .bytes = quotas->bytes, .own = (uint32_t)daemon->policy.own
	};

	daemon->users.quotas = *quotas;
	/* Settings alone have none. */
	if (daemon->vault)
		vault_set_quotas(daemon->vault, &stored);
}

/* What the process before us held against whoever guessed. */
static int take_up_guesses(struct daemon *daemon)
{
	const struct coffer_guesser *guessers = coffer_guessers(&daemon->coffer);
	int r = 0;

	for (size_t i = 0; guessers && i < COFFER_GUESSERS && r == 0; i++)
		r = penalty_take_up(daemon->penalties, &guessers[i], daemon_now_ms());
	return r;
}

int daemon_init(struct daemon *daemon, const struct daemon_options *options)
{
	struct opening opening = { .daemon = daemon };
	int r;

	memset(daemon, 0, sizeof(*daemon));
	r = take_memory(daemon, options);
	if (r < 0)
		return r;
	wait_queue_init(&daemon->waits);
	daemon->ledger = options->keys ? options->ledger : -1;
	daemon->policy.own = options->own;
	daemon->policy.book = options->policy;
	daemon->policy.reasons = options->reasons;
	daemon->max_value = options->max_value;
	daemon->rekey_ms = options->rekey_ms;
	daemon->upload_ms = UPLOAD_MS;
	daemon->started_ms = daemon_now_ms();
	daemon->turn_ns = UINT64_MAX;
	locked_stack_call(&daemon->stack, open_vault, &opening);
	r = opening.result;
	if (r == 0)
		daemon_set_quotas(daemon, &options->quotas);
	if (r == 0)
		r = make_audit(daemon);
	if (r == 0)
		r = repeats_new(&daemon->repeats, drop_answer, daemon);
	if (r == 0)
		r = penalties_new(&daemon->penalties);
	if (r == 0)
		r = take_up_guesses(daemon);
	if (r == 0)
		r = processes_new(&daemon->processes);
	if (r == 0) {
		locked_stack_call(&daemon->stack, take_up, &opening);
		r = opening.result;
	}
	if (r < 0 && daemon->keys)
		daemon_leave(daemon);
	else if (r < 0)
		daemon_finish(daemon);
	return r;
}

/* Everything on the heap and in pages of our own. */
static void discard(struct daemon *daemon)
{
	repeats_free(daemon->repeats);
	tokens_free(daemon->tokens);
	penalties_free(daemon->penalties);
	audit_free(daemon->audit);
	users_finish(&daemon->users);
	processes_free(daemon->processes);
	policy_book_free(daemon->policy.book);
	os_memory_unmap(&daemon->memory);
	memset(daemon, 0, sizeof(*daemon));
}

static void sign_audit(void *argument)
{
	audit_sign(argument);
}

void daemon_sign_audit(struct daemon *daemon)
{
	if (daemon->audit) {
		audit_look(daemon->audit);
		locked_stack_call(&daemon->stack, sign_audit, daemon->audit);
	}
	daemon_forget(daemon);
}

static void end_audit(void *argument)
{
	audit_end(argument);
}

void daemon_leave(struct daemon *daemon)
{
	if (!daemon->guard)
		return;
	daemon_sign_audit(daemon);
	daemon_forget(daemon);
	vault_leave(daemon->vault);
	discard(daemon);
}

static void destroy_coffer(void *argument)
{
	coffer_destroy(argument);
}

void daemon_finish(struct daemon *daemon)
{
	if (!daemon->guard)
		return;
	if (daemon->audit)
		locked_stack_call(&daemon->stack, end_audit, daemon->audit);
	locked_stack_call(&daemon->stack, destroy_coffer, &daemon->coffer);
	/* What another process has left, and nobody will unlock any more. */
	if (daemon->vault && vault_is_blind(daemon->vault))
		ledger_empty(daemon->ledger);
	vault_free(daemon->vault);
	discard(daemon);
}

const struct os_memory *daemon_memory(const struct daemon *daemon)
{
	const struct os_memory *keys = daemon->keys;

	return keys && keys->backend < daemon->memory.backend ? keys : &daemon->memory;
}

size_t daemon_locked(const struct daemon *daemon)
{
	return daemon->memory.locked + (daemon->keys ? daemon->keys->locked : 0);
}

static void remask(void *argument)
{
	coffer_remask(argument);
}

/*
 * The key before it signs which one the audit log has from now on: then it is gone, too. Of a
 * locked vault nobody has it.
 */
static void purge(void *argument)
{
	struct daemon *daemon = argument;
	uint8_t seed[COFFER_SEED_SIZE];
	int r = coffer_audit_seed(&daemon->coffer, seed);

	daemon_purge_vault(daemon);
	if (r == 0)
		audit_change_key(daemon->audit, seed);
	else
		audit_lose_key(daemon->audit);
	sodium_memzero(seed, sizeof(seed));
}

/* What runs on the locked stack, once more. */
struct auditing {
	struct audit *audit;
	const struct config *config;
	struct audit_file *file;
};

static void use_audit(void *argument)
{
	struct auditing *auditing = argument;

	audit_use(auditing->audit, auditing->config, auditing->file);
}

void daemon_audit(struct daemon *daemon, const struct config *config, struct audit_file *file)
{
	struct auditing auditing = { .audit = daemon->audit, .config = config, .file = file };

	/* Settings alone have none. */
	if (!daemon->audit)
		return;
	locked_stack_call(&daemon->stack, use_audit, &auditing);
	daemon_forget(daemon);
}

void daemon_tell_audit_key(const struct daemon *daemon)
{
	struct audit_state state = audit_state(daemon->audit);
	char digits[2 * AUDIT_KEY_SIZE + 1];

	if (!state.on)
		return;
	sodium_bin2hex(digits, sizeof(digits), state.key, sizeof(state.key));
	log_notice("the audit log is signed with key %s", digits);
}

uint64_t daemon_purge(struct daemon *daemon)
{
	uint64_t count = vault_count(daemon->vault);

	locked_stack_call(&daemon->stack, purge, daemon);
	daemon->purges++;
	daemon_tell_audit_key(daemon);
	return count;
}

/* A file may hold any bytes, an answer may not; and its last character may have been cut. */
static void clean(char *text)
{
	bool foreign = text_fault(span_text(text)) != NULL;

	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f ||
			(foreign && (unsigned char)*text >= 0x80))
			*text = '?';
}

void daemon_reloaded(struct daemon *daemon, const struct config_fault *fault)
{
	struct reloads *reloads = &daemon->reloads;

	reloads->asked = false;
	reloads->done++;
	reloads->refused = fault != NULL;
	if (fault) {
		reloads->fault = *fault;
		clean(reloads->fault.text);
	}
	wait_queue_call_all(&daemon->waits);
	wait_queue_widen(&daemon->waits);
}

void daemon_kept(struct daemon *daemon, const struct upgrades *upgrades)
{
	daemon->upgrades = *upgrades;
	clean(daemon->upgrades.fault.text);
}

void daemon_upgrade_failed(struct daemon *daemon, const struct config_fault *fault)
{
	struct upgrades *upgrades = &daemon->upgrades;

	upgrades->under_way = false;
	upgrades->failed++;
	upgrades->fault = *fault;
	clean(upgrades->fault.text);
}

static void expire(void *argument)
{
	struct daemon *daemon = argument;
	uint64_t share_ns = daemon->users.count > 1 ? EXPIRE_SHARED_NS : EXPIRE_NS;
	uint64_t until_ns = daemon_now_ns() + share_ns;
	bool more;

	/* What a locked vault has stays as it is. */
	if (!vault_is_locked(daemon->vault))
		tokens_expire(daemon->tokens);
	do
		more = vault_expire(daemon->vault);
	while (more && daemon_now_ns() < until_ns);
	/* Lives that end go first. One step a turn: whoever asks meanwhile waits no longer. */
	if (!more)
		(void)vault_compact(daemon->vault);
	coffer_forget(&daemon->coffer);
}

void daemon_expire(struct daemon *daemon)
{
	locked_stack_call(&daemon->stack, expire, daemon);
}

uint64_t daemon_expiry_ms(const struct daemon *daemon)
{
	uint64_t vault_ms = vault_expiry_ms(daemon->vault);
	uint64_t tokens_ms =
		vault_is_locked(daemon->vault) ? UINT64_MAX : tokens_expiry_ms(daemon->tokens);

	return vault_ms < tokens_ms ? vault_ms : tokens_ms;
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
