/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdarg.h>
#include <sys/stat.h>

#include "tests/unit/stepping.h"

/*
 * What can be seen of a vault, as a text; and the account of an operation: what the next process
 * would adopt at each of its steps is the text before or the text after.
 */

/* A long copy or wipe, which goes on at full width, is looked at once in so many stores. */
#define TURNS 64

#define KNOWN_MAX 8

/* Cells of the ring of events: more than an operation has, and its preparation. */
#define STEP_EVENTS 48

static _Alignas(KEYS_ROOM) uint8_t keys[KEYS_ROOM];
static _Alignas(KEYS_ROOM) uint8_t next_keys[KEYS_ROOM]; /* of the process that adopts */

/* Values that were drawn, told apart by their numbers. */
static struct kept *known[KNOWN_MAX];
static size_t known_count;

static uint64_t stopped_ms;

static uint64_t stopped(void)
{
	return stopped_ms;
}

static inline uint64_t an_hour_later(void)
{
	return stopped_ms + 3600000;
}

static inline struct kept *draw_known(size_t size)
{
	ck_assert_uint_lt(known_count, KNOWN_MAX);
	return known[known_count++] = draw(size);
}

static inline struct kept *store_known(const char *name, size_t size)
{
	struct kept *kept = draw_known(size);

	store(name, kept);
	return kept;
}

static inline void store_for(const char *name, size_t size, const struct lifetime *lifetime)
{
	struct kept *kept = draw_known(size);
	struct vault_put put = put_of(name, kept);

	put.lifetime = *lifetime;
	put.process_started = 77;
	ck_assert_int_eq(try_put(&put, kept), 0);
}

/* The rig's masters lie in pages of their own. */
static inline void set_up_steps(void)
{
	rig_init(&rig);
	/* The kernel cannot draw into pages that are shut. */
	randombytes_set_implementation(&randombytes_internal_implementation);
	randombytes_stir();
	coffer_init(&rig.coffer, keys, 512, rig.view, &rig.guard);
	ledger_fd = ledger_file();
	ck_assert_int_ge(ledger_fd, 0);
	ck_assert_int_eq(vault_new(&vault, &rig.coffer, ledger_fd), 0);
	stopped_ms = boot_ms();
	vault->now = stopped;
	ck_assert_int_eq(events_make(vault, STEP_EVENTS), 0);
	known_count = 0;
}

static inline void tear_down_steps(void)
{
	vault_free(vault);
	close(ledger_fd);
	for (size_t i = 0; i < known_count; i++)
		forget(known[i]);
}

/* -- what can be seen of a vault ----------------------------------------------------------- */

struct picture {
	char text[2048];
	char events[512]; /* what is told of the changes; "" when some of it is forgotten */
};

static inline void __attribute__((format(printf, 2, 3)))
say(struct picture *picture, const char *format, ...)
{
	size_t used = strlen(picture->text);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(picture->text + used, sizeof(picture->text) - used, format, arguments);
	va_end(arguments);
}

/* The number of the value under a key, -1 when it is none that was drawn. */
static inline int known_by(const uint8_t *key)
{
	for (size_t i = 0; i < known_count; i++)
		if (memcmp(key, known[i]->key, ENCLAVE_KEY_SIZE) == 0)
			return (int)i;
	return -1;
}

static inline int value_of(const struct record *record)
{
	uint8_t key[ENCLAVE_KEY_SIZE];
	int number = record_key(vault, record, key) == 0 ? known_by(key) : -1;

	if (number < 0 || record_chunks(record) != known[number]->chunks)
		return -1;
	for (uint64_t i = 0; i < known[number]->chunks; i++)
		if (!span_equal(record_chunk(vault, record, i), chunk_of(known[number], i)))
			return -1;
	return number;
}

static inline void say_part(struct picture *picture, const struct stream *stream,
	const struct segment *segment, uint64_t chunk)
{
	struct stream_place place = {
		.stream = stream->id, .segment = segment->number, .next = chunk
	};
	struct stream_part part;
	uint8_t key[ENCLAVE_KEY_SIZE];
	int number = -1;

	if (stream_next((struct stream *)(uintptr_t)stream, &place, &part) == 0 &&
		part.segment == segment->number && part.chunks.first == chunk &&
		stream_read_key(stream, segment->number, key) == 0)
		number = known_by(key);
	if (number < 0 || !span_equal(part.pieces[0], chunk_of(known[number], chunk)))
		say(picture, " damaged");
	else
		say(picture, " %d:%d", number, (int)chunk);
}

static inline void say_stream(struct picture *picture, const char *name)
{
	struct stream *stream = NULL;
	int r = stream_find(vault, span_text(name), &stream);

	if (r != 0) {
		say(picture, " %d", r);
		return;
	}
	for (const struct segment *at = stream->first; at; at = at->next) {
		say(picture, " segment %d%s due %d:", (int)at->number, at->ended ? " ended" : "",
			(int)at->due);
		for (uint64_t i = at->first; i < at->due; i++)
			say_part(picture, stream, at, i);
	}
}

/* Of the version and those that were rotated. */
static inline void say_version(
	struct picture *picture, const struct record *record, const struct info *info)
{
	say(picture, " value %d version %d%s left %d %d %d", value_of(record), (int)info->version,
		info->frozen ? " frozen" : "", (int)info->left.ttl_ms, (int)info->left.idle_ms,
		(int)info->left.reads);
}

static inline void say_formers(struct picture *picture, const char *name, uint64_t version)
{
	struct tag tags[MESSAGE_TAGS_MAX];
	struct record *record;
	struct info info;

	for (uint64_t i = 1; i < version; i++) {
		int r = vault_find_version(vault, span_text(name), i, &record);

		if (r == STATUS_NOT_FOUND)
			continue;
		say(picture, " former");
		if (r != 0) {
			say(picture, " %d", r);
			continue;
		}
		record_info(record, &info, tags);
		say_version(picture, record, &info);
	}
}

static inline void say_name(struct picture *picture, const char *name)
{
	struct tag tags[MESSAGE_TAGS_MAX];
	struct record *record;
	struct info info;
	int r = vault_find(vault, span_text(name), &record);

	say(picture, "\n%s:", name);
	if (r != 0) {
		say(picture, " %d", r);
		return;
	}
	if (record_is_stream(record)) {
		say_stream(picture, name);
		return;
	}
	record_info(record, &info, tags);
	say_version(picture, record, &info);
	say_formers(picture, name, info.version);
}

static inline void say_masters(struct picture *picture)
{
	const struct coffer_view *view = coffer_view(vault->coffer);
	uint8_t hash[16];

	ck_assert_ptr_nonnull(view);
	for (int i = 0; i < COFFER_MASTERS; i++) {
		crypto_generichash(
			hash, sizeof(hash), view->master[i], sizeof(view->master[i]), NULL, 0);
		say(picture, " %02x%02x%02x%02x", hash[0], hash[1], hash[2], hash[3]);
	}
}

static inline int say_answer(void *context, const struct vault_answer *answer)
{
	say(context, "\nanswer %d to %d: version %d", answer->number[0], (int)answer->uid,
		(int)answer->version);
	return 0;
}

static inline void say_events(struct picture *picture)
{
	static const char *const kinds[] = { "none", "set", "rm", "expire", "purge" };
	char *out = picture->events;
	size_t room = sizeof(picture->events);
	struct vault_event event;
	uint64_t place = 0;
	int used = snprintf(out, room, "events:");
	int r;

	while ((r = vault_event_next(vault, &place, &event)) == 1)
		used += snprintf(out + used, room - (size_t)used, " %s %.*s %d", kinds[event.kind],
			(int)event.name_size, event.name, (int)event.version);
	if (r != 0 || vault->events.ring == 0)
		*out = '\0';
}

static inline int say_token(void *context, const struct vault_token *token)
{
	say(context, "\ntoken %d %02x%02x: %d left, flags %d, ends %d, %.*s", (int)token->id,
		token->hash[0], token->hash[1], (int)token->left, token->flags, (int)token->end_ms,
		(int)token->text.size, (const char *)token->text.data);
	return 0;
}

/* Of the vault under test, which has just been adopted. */
static inline struct picture picture_now(void)
{
	static const char *const names[] = { "a", "b", "c", "s" };
	struct picture picture = { .text = "masters" };

	say_masters(&picture);
	for (size_t i = 0; i < COUNT_OF(names); i++)
		say_name(&picture, names[i]);
	ck_assert_int_eq(vault_answers(vault, say_answer, &picture), 0);
	say_events(&picture);
	ck_assert_int_eq(vault_tokens(vault, say_token, &picture), 0);
	say(&picture, "\n%d secrets, %d bytes\n", (int)vault_count(vault), (int)vault_bytes(vault));
	say(&picture, "uid 1000 has %d and %d\n", (int)vault_usage(vault, 1000).names,
		(int)vault_usage(vault, 1000).bytes);
	coffer_forget(vault->coffer);
	return picture;
}

/* -- what the next process finds ----------------------------------------------------------- */

/* Whether nothing is left of what is nobody's, but the links of the free runs. */
static inline bool is_free_clean(const struct ledger *ledger, const struct scene *scene)
{
	uint64_t end;

	for (uint64_t unit = 1; unit < ledger->units; unit = end) {
		end = run_end(ledger, unit);
		if (!run_is_free(ledger, unit))
			continue;
		for (uint64_t at = (unit + 1) * LEDGER_UNIT; at < end * LEDGER_UNIT;) {
			uint64_t next = (at / SCENE_PAGE + 1) * SCENE_PAGE;

			if (next > end * LEDGER_UNIT)
				next = end * LEDGER_UNIT;
			if (scene->written[at / SCENE_PAGE] &&
				!sodium_is_zero(ledger->base + at, next - at))
				return false;
			at = next;
		}
	}
	return true;
}

/* With which a test locks. */
static const uint8_t lock_key[LOCK_KEY_SIZE] = { 7, 7, 7 };

/* What is locked is looked at once it is not any more: what was left of it says that it was. */
static inline int adopt_locked(struct remains *remains, struct vault **vaultp)
{
	ck_assert_uint_eq(vault_count(*vaultp), 0);
	if (vault_unlock(*vaultp, lock_key) != 0)
		return -EKEYREJECTED;
	vault_free(*vaultp);
	*vaultp = NULL;
	return vault_new(vaultp, &remains->coffer, remains->fd);
}

/* What a step leaves, adopted. Returns NULL, or what is wrong with it. */
static inline const char *adopt_scene(const struct scene *scene, struct picture *picture)
{
	static char wrong[64];
	struct remains *remains = remains_of(scene);
	struct vault *before = vault;
	struct vault *adopted = NULL;
	const char *found = NULL;
	int r = adopt_remains(remains, &adopted);
	bool locked = r == 0 && vault_is_locked(adopted);

	if (locked)
		r = adopt_locked(remains, &adopted);
	if (r < 0) {
		snprintf(wrong, sizeof(wrong), "it is not adopted: %d", r);
		forget_remains(remains);
		return wrong;
	}
	vault = adopted;
	vault->now = stopped;
	if (vault_broken(vault) > 0)
		found = "a record is called broken";
	else if (!is_free_clean(vault->ledger, scene))
		found = "something is left of what is gone";
	else if (vault->sequence < atomic_load(&coffer_notes(&remains->coffer)->number))
		found = "numbers are given away twice";
	*picture = picture_now();
	if (locked)
		say(picture, "locked\n");
	vault_free(vault);
	vault = before;
	forget_remains(remains);
	return found;
}

/* What became of the steps of an operation. */
struct account {
	uint64_t steps;
	uint64_t adopted;
	uint64_t before;
	uint64_t after;
	uint64_t forgetful; /* of those that were adopted */
	char complaint[8192];
};

static inline bool complain(struct account *account, uint64_t step, const char *wrong,
	const struct picture *found, const struct picture *before, const struct picture *after)
{
	snprintf(account->complaint, sizeof(account->complaint),
		"step %llu of %llu: %s\n-- found %s%s\n-- before %s%s\n-- after %s%s",
		(unsigned long long)step, (unsigned long long)account->steps, wrong, found->text,
		found->events, before->text, before->events, after->text, after->events);
	return false;
}

/* Whether both are the same, and so is what is told of it; or what is told is that it is forgotten.
 */
static inline bool is_like(const struct picture *found, const struct picture *other)
{
	return strcmp(found->text, other->text) == 0 &&
		(strcmp(found->events, other->events) == 0 || *found->events == '\0' ||
			*other->events == '\0');
}

static inline bool judge_step(struct account *account, uint64_t step, const struct scene *scene,
	const struct picture *before, const struct picture *after)
{
	struct picture found = { 0 };
	const char *wrong = adopt_scene(scene, &found);
	bool is_before = is_like(&found, before);
	bool is_after = is_like(&found, after);

	account->adopted++;
	account->forgetful += *found.events == '\0';
	if (wrong)
		return complain(account, step, wrong, &found, before, after);
	if (!is_before && !is_after)
		return complain(account, step, "it is neither", &found, before, after);
	if (!is_after && account->after > 0)
		return complain(account, step, "it is back", &found, before, after);
	account->before += is_before;
	account->after += is_after;
	return true;
}

/* How far apart two stores into the ledger are; 0 when one of them is another kind of step. */
static inline int64_t stride(const struct step *one, const struct step *two)
{
	if (one->kind != STEP_LEDGER || two->kind != STEP_LEDGER)
		return 0;
	return (int64_t)(two->at - one->at);
}

/* Whether the step is in the midst of a copy or a wipe that goes on at full width. */
static inline bool is_a_turn(uint64_t i)
{
	const struct step *step = &watch.steps[i];
	int64_t before;

	if (i % TURNS == 0 || i == 0 || i + 1 >= watch.count)
		return false;
	before = stride(step - 1, step);
	return (before == 32 || before == 64) && stride(step, step + 1) == before;
}

/* Goes through what was put down; `scene` is what was there before, and then what is there now. */
static inline void judge_steps(
	struct account *account, struct scene *scene, const struct scene *end)
{
	struct picture before = { 0 };
	struct picture after = { 0 };
	const char *wrong = adopt_scene(scene, &before);

	if (!wrong)
		wrong = adopt_scene(end, &after);
	if (wrong) {
		complain(account, 0, wrong, &after, &before, &after);
		return;
	}
	account->before = 1;
	for (uint64_t i = 0; i < watch.count; i++) {
		scene_apply(scene, &watch.steps[i]);
		if (!is_a_turn(i) && !judge_step(account, i, scene, &before, &after))
			return;
	}
}

/* Whether what was put down is all that has happened. */
static inline void check_account(const struct scene *told, const struct scene *end)
{
	ck_assert_uint_eq(told->size, end->size);
	ck_assert_mem_eq(told->keys, end->keys, KEYS_SIZE);
	ck_assert(memcmp(told->ledger, end->ledger, sizeof(end->ledger)) == 0);
}

static inline void watch_vault(void)
{
	watch_begin(ledger_fd, (uint8_t *)ledger_at(vault->ledger, LEDGER_UNIT, 1) - LEDGER_UNIT,
		ledger_mapped(vault->ledger), keys);
}

/* Does something to the vault under test and looks at each of its steps. */
static inline struct account *account_of(void (*run)(void))
{
	struct account *account = calloc(1, sizeof(*account));
	struct scene *scene = scene_of(ledger_fd, keys);
	struct scene *end;

	ck_assert_ptr_nonnull(account);
	watch_vault();
	run();
	watch_end();
	end = scene_of(ledger_fd, keys);
	account->steps = watch.count;
	judge_steps(account, scene, end);
	if (account->complaint[0] == '\0')
		check_account(scene, end);
	free(scene);
	free(end);
	return account;
}

/* -- the next process's own steps ---------------------------------------------------------- */

/* Makes a vault over a file and the next process's keys, and looks at each of its steps. */
static inline struct account *account_of_opening(struct scene *scene)
{
	struct account *account = calloc(1, sizeof(*account));
	struct remains *remains = remains_of(scene);
	struct vault *opened = NULL;
	struct scene *end;

	ck_assert_ptr_nonnull(account);
	memcpy(next_keys, scene->keys, KEYS_SIZE);
	watch_begin(remains->fd, NULL, 0, next_keys);
	ck_assert_int_eq(
		coffer_adopt(&remains->coffer, next_keys, 512, remains->view, &rig.guard), 0);
	ck_assert_int_eq(vault_new(&opened, &remains->coffer, remains->fd), 0);
	watch_end();
	end = scene_of(remains->fd, next_keys);
	account->steps = watch.count;
	judge_steps(account, scene, end);
	if (account->complaint[0] == '\0')
		check_account(scene, end);
	vault_free(opened);
	forget_remains(remains);
	free(end);
	return account;
}

static inline struct scene *scene_after(const struct scene *start, uint64_t steps)
{
	struct scene *scene = malloc(sizeof(*scene));

	ck_assert_ptr_nonnull(scene);
	*scene = *start;
	for (uint64_t i = 0; i < steps; i++)
		scene_apply(scene, &watch.steps[i]);
	return scene;
}

/* How many steps it takes until it is another state. */
static inline uint64_t find_turn(const struct scene *start)
{
	uint64_t low = 0;
	uint64_t high = watch.count;
	struct picture before = { 0 };

	ck_assert_ptr_null(adopt_scene(start, &before));
	while (low + 1 < high) {
		uint64_t middle = (low + high) / 2;
		struct scene *scene = scene_after(start, middle);
		struct picture found = { 0 };

		ck_assert_ptr_null(adopt_scene(scene, &found));
		if (strcmp(found.text, before.text) == 0)
			low = middle;
		else
			high = middle;
		free(scene);
	}
	return high;
}

/* The C library copies and wipes in stores that can be told apart, not in one instruction. */
static inline void in_plain_stores(char **arguments)
{
	if (getenv("GLIBC_TUNABLES"))
		return;
	setenv("GLIBC_TUNABLES",
		"glibc.cpu.x86_rep_movsb_threshold=0x10000000:"
		"glibc.cpu.x86_rep_stosb_threshold=0x10000000",
		1);
	execv("/proc/self/exe", arguments);
}
