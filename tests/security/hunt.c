/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/security/hunt.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "tests/security/slide.h"

/*
 * Random bytes look random: a run of them has many different values in it. The bounds are more
 * than five standard deviations below what is to be expected of 32, 64 and 4,096 random bytes
 * (30.1, 56.7 and 256 different values), so that no key falls through, and most of a process's
 * memory does.
 */
#define KEY_DISTINCT 20
#define LEFT_DISTINCT 40
#define PREKEY_DISTINCT 250

/* Sum of the squared counts of 256 values among 4,096: 69,632 to be expected, 361 one deviation. */
#define PREKEY_SQUARES 73300

#define LEFT_SIZE ((size_t)COFFER_MASTERS * COFFER_KEY_SIZE)
#define PREKEY_SIZE 4096
#define PREKEY_STRIDE 16
#define LEFT_STRIDE 8
#define QUICK_STRIDE 8

/* Pairs of halves that are tried at most; more of them means that the filters do not filter. */
#define PAIRS_MAX UINT64_C(200000000)

static const char *const find_names[FINDS] = {
	[FIND_VALUE] = "value",
	[FIND_KNOWN_KEY] = "known-key",
	[FIND_DATA_KEY] = "data-key",
	[FIND_FRAME_KEY] = "frame-key",
	[FIND_WRAPPING_KEY] = "wrapping-key",
	[FIND_VAULT_MASTER] = "vault-master",
	[FIND_CHANNEL_MASTER] = "channel-master",
	[FIND_LEDGER_KEY] = "ledger-key",
	[FIND_SPLIT_KEY] = "split-key",
};

const char *find_name(enum find what)
{
	return find_names[what];
}

static void found(struct hunt *hunt, enum find what, const struct source *source, size_t offset,
	const char *words)
{
	hunt->on_find(hunt, what, source, offset, words);
}

/* -- what is looked for -------------------------------------------------------------------- */

static int need(struct hunt *hunt, enum find what, const char *name, const char *part,
	const uint8_t *bytes, size_t size)
{
	return needles_add(&hunt->needles, (struct needle){ (int)what, name, part }, bytes, size);
}

static int need_value(struct hunt *hunt, const struct fact_value *value)
{
	int r = need(hunt, FIND_KNOWN_KEY, value->name, "data key", value->key, sizeof(value->key));

	return r < 0 ? r : need(hunt, FIND_VALUE, value->name, "value", value->plain, value->size);
}

static int need_session(struct hunt *hunt, const struct channel_keys *keys)
{
	int r = need(hunt, FIND_KNOWN_KEY, "session", "frame key to the client", keys->receive,
		sizeof(keys->receive));

	return r < 0 ? r
		     : need(hunt, FIND_KNOWN_KEY, "session", "frame key to the daemon", keys->send,
			       sizeof(keys->send));
}

static int need_all(struct hunt *hunt)
{
	const struct facts *facts = hunt->facts;
	int r = 0;

	for (size_t i = 0; r == 0 && i < facts->value_count; i++)
		r = need_value(hunt, &facts->values[i]);
	for (size_t i = 0; r == 0 && i < facts->session_count; i++)
		r = need_session(hunt, &facts->sessions[i]);
	for (size_t i = 0; r == 0 && i < facts->material_count; i++)
		r = need(hunt, FIND_KNOWN_KEY, "derived", facts->materials[i].name,
			facts->materials[i].bytes, sizeof(facts->materials[i].bytes));
	return r;
}

static size_t needles_size(const struct facts *facts)
{
	size_t size = (facts->session_count * 2 + facts->material_count) * 32;

	for (size_t i = 0; i < facts->value_count; i++)
		size += facts->values[i].size + sizeof(facts->values[i].key);
	return size;
}

static int seal_all(struct hunt *hunt)
{
	const struct facts *facts = hunt->facts;
	size_t size = 0;
	int r;

	for (size_t i = 0; i < facts->value_count; i++) {
		hunt->sealed[i] = fact_value_seal(&facts->values[i], &hunt->sealed_size[i]);
		if (!hunt->sealed[i])
			return -ENOMEM;
		size += hunt->sealed_size[i];
		if (facts->values[i].anchor) {
			hunt->anchor = &facts->values[i];
			hunt->anchor_chunk = hunt->sealed[i];
			hunt->anchor_size = hunt->sealed_size[i];
		}
	}
	r = windows_init(&hunt->chunks, size / WINDOW_SIZE + 1);
	for (size_t i = 0; r == 0 && i < facts->value_count; i++)
		windows_add(&hunt->chunks, hunt->sealed[i], hunt->sealed_size[i], WINDOW_SIZE,
			(uint32_t)i);
	return r;
}

static void init_stand_in(struct stand_in *stand_in)
{
	if (coffer_view_size() > sizeof(stand_in->view))
		abort();
	guard_init(&stand_in->guard);
	coffer_init(&stand_in->coffer, stand_in->keys, 512, stand_in->view, &stand_in->guard);
	/* From now on the view stays, and holds what is written into it. */
	coffer_view(&stand_in->coffer);
}

int hunt_init(struct hunt *hunt, const struct facts *facts)
{
	int r;

	*hunt = (struct hunt){ .facts = facts };
	r = needles_init(&hunt->needles, needles_size(facts));
	if (r == 0)
		r = seal_all(hunt);
	if (r == 0 && !hunt->anchor)
		r = -EINVAL;
	if (r == 0)
		r = need_all(hunt);
	if (r < 0) {
		hunt_free(hunt);
		return r;
	}
	init_stand_in(&hunt->stand_in);
	return 0;
}

void hunt_free(struct hunt *hunt)
{
	for (size_t i = 0; i < FACTS_VALUES_MAX; i++)
		free(hunt->sealed[i]);
	needles_free(&hunt->needles);
	windows_free(&hunt->chunks);
}

/* -- windows ------------------------------------------------------------------------------- */

static void on_needle(void *context, const struct needle *needle, const struct source *source,
	size_t at, uint32_t offset, const char *how)
{
	char words[160];

	snprintf(words, sizeof(words), "%s of %s, byte %u%s", needle->part, needle->name, offset,
		how);
	found(context, (enum find)needle->kind, source, at, words);
}

/* -- what is our own ciphertext ------------------------------------------------------------ */

/* Marks the bytes around a match that are one chunk's; returns where they end. */
static size_t mark(const struct hunt *hunt, const struct source *source, size_t at,
	const struct window *window, uint8_t *known)
{
	const uint8_t *sealed = hunt->sealed[window->owner];
	size_t size = hunt->sealed_size[window->owner];
	size_t begin = at;
	size_t from = window->offset;
	size_t end = at + WINDOW_SIZE;
	size_t to = from + WINDOW_SIZE;

	while (begin > 0 && from > 0 && source->bytes[begin - 1] == sealed[from - 1]) {
		begin--;
		from--;
	}
	while (end < source->size && to < size && source->bytes[end] == sealed[to]) {
		end++;
		to++;
	}
	memset(known + begin, 1, end - begin);
	return end;
}

/* A key is drawn independently: where eight bytes of ciphertext are recognised, there is none. */
static void recognise(struct hunt *hunt, const struct source *source, uint8_t *known)
{
	size_t at = 0;

	while (at + WINDOW_SIZE <= source->size) {
		const struct window *window =
			windows_find(&hunt->chunks, window_read(source->bytes + at));

		at = window ? mark(hunt, source, at, window, known) : at + 1;
	}
	for (at = 0; at < source->size; at++)
		hunt->known += known[at];
}

/* -- trying -------------------------------------------------------------------------------- */

/* A wrapped key is a box under the wrapping key, with what it is bound to as its nonce. */
static bool unwraps(const struct target *target, const uint8_t *key)
{
	uint8_t nonce[crypto_secretbox_NONCEBYTES] = { 0 };
	uint8_t inside[sizeof(struct channel_keys)];

	bytes_put64(nonce, target->binding.secret);
	bytes_put64(nonce + 8, target->binding.version);
	return crypto_secretbox_open_easy(inside, target->wrapped + ENCLAVE_SALT_SIZE,
		       target->size + ENCLAVE_TAG_SIZE, nonce, key) == 0;
}

static bool opens_frame(const struct fact_frame *frame, const uint8_t *key)
{
	const uint8_t *sealed = frame->bytes + FRAME_HEADER_SIZE;
	size_t size = frame->size - FRAME_HEADER_SIZE - FRAME_TAG_SIZE;
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES] = { 0 };

	for (size_t i = 0; i < 8; i++)
		nonce[4 + i] = (uint8_t)(frame->number >> 8 * i);
	/* Without a place for the plaintext only the tag is checked. */
	return crypto_aead_chacha20poly1305_ietf_decrypt_detached(NULL, NULL, sealed, size,
		       sealed + size, frame->bytes, FRAME_HEADER_SIZE, nonce, key) == 0;
}

/* What comes out must open the anchor's chunk, or a captured frame. */
static bool proves(const struct hunt *hunt, const struct target *target, const uint8_t *inside)
{
	if (target->master == COFFER_VAULT)
		return enclave_check_chunk(
			       hunt->anchor_chunk, hunt->anchor_size, 0, true, inside) == 0;
	for (size_t i = 0; i < hunt->facts->frame_count; i++)
		if (opens_frame(&hunt->facts->frames[i], inside) ||
			opens_frame(&hunt->facts->frames[i], inside + 32))
			return true;
	return false;
}

static bool is_master(struct hunt *hunt, const struct target *target, const uint8_t *key)
{
	struct coffer *coffer = &hunt->stand_in.coffer;
	uint8_t inside[sizeof(struct channel_keys)];

	hunt->tries++;
	memcpy(coffer->view->master[target->master], key, COFFER_KEY_SIZE);
	return enclave_unwrap(inside, target->wrapped, target->size, target->binding, coffer,
		       target->master) == 0 &&
		proves(hunt, target, inside);
}

static bool is_ledger_key(const struct hunt *hunt, const uint8_t *key)
{
	uint8_t tag[HUNT_TAG_SIZE];

	crypto_generichash(tag, sizeof(tag), hunt->record + HUNT_TAG_SIZE,
		hunt->record_size - HUNT_TAG_SIZE, key, COFFER_KEY_SIZE);
	return memcmp(tag, hunt->record, sizeof(tag)) == 0;
}

static size_t target_count(const struct hunt *hunt)
{
	return hunt->target_count[COFFER_VAULT] + hunt->target_count[COFFER_CHANNEL];
}

static enum find master_find(enum coffer_master master)
{
	return master == COFFER_VAULT ? FIND_VAULT_MASTER : FIND_CHANNEL_MASTER;
}

static void try_on_targets(
	struct hunt *hunt, const struct source *source, size_t at, const uint8_t *key)
{
	for (size_t i = 0; i < target_count(hunt); i++) {
		const struct target *target = &hunt->targets[i];

		hunt->tries++;
		if (unwraps(target, key))
			found(hunt, FIND_WRAPPING_KEY, source, at, "opens a wrapped key");
		if (is_master(hunt, target, key))
			found(hunt, master_find(target->master), source, at,
				"unwraps what opens what was captured");
	}
}

static void try_key(struct hunt *hunt, const struct source *source, size_t at)
{
	const uint8_t *key = source->bytes + at;

	hunt->tries += 1 + hunt->facts->frame_count;
	if (enclave_check_chunk(hunt->anchor_chunk, hunt->anchor_size, 0, true, key) == 0)
		found(hunt, FIND_DATA_KEY, source, at, "opens the anchor's chunk");
	for (size_t i = 0; i < hunt->facts->frame_count; i++)
		if (opens_frame(&hunt->facts->frames[i], key))
			found(hunt, FIND_FRAME_KEY, source, at, "opens a captured frame");
	if (hunt->record_size > 0) {
		hunt->tries++;
		if (is_ledger_key(hunt, key))
			found(hunt, FIND_LEDGER_KEY, source, at, "makes a record's tag");
	}
	try_on_targets(hunt, source, at, key);
}

static void try_keys(struct hunt *hunt, const struct source *source, const uint8_t *known)
{
	size_t stride = hunt->thorough ? 1 : QUICK_STRIDE;
	struct slide slide;

	if (!slide_init(&slide, source, known, 32))
		return;
	do {
		if (slide.distinct >= KEY_DISTINCT && slide.unknown == 32 && slide.at % stride == 0)
			try_key(hunt, source, slide.at);
	} while (slide_next(&slide));
}

/* -- split keys ---------------------------------------------------------------------------- */

/* Half a key: where it is, and for a pre-key the mask that comes of it. */
struct half {
	const struct source *source;
	size_t at;
	uint8_t mask[LEFT_SIZE];
};

struct halves {
	struct half *items;
	size_t count;
	size_t room;
};

static struct half *add_half(struct halves *halves, const struct source *source, size_t at)
{
	struct half *half;

	if (halves->count == halves->room) {
		size_t room = halves->room ? 2 * halves->room : 256;
		struct half *items = realloc(halves->items, room * sizeof(*items));

		if (!items)
			return NULL;
		halves->items = items;
		halves->room = room;
	}
	half = &halves->items[halves->count++];
	half->source = source;
	half->at = at;
	return half;
}

static int gather_prekeys(struct hunt *hunt, struct halves *prekeys, const struct source *source,
	const uint8_t *known)
{
	struct slide slide;

	if (!slide_init(&slide, source, known, PREKEY_SIZE))
		return 0;
	do {
		struct half *half;

		if (slide.distinct < PREKEY_DISTINCT || slide.squares > PREKEY_SQUARES ||
			slide.unknown < PREKEY_SIZE || slide.at % PREKEY_STRIDE != 0)
			continue;
		half = add_half(prekeys, source, slide.at);
		if (!half)
			return -ENOMEM;
		hunt->prekeys++;
		crypto_generichash(half->mask, sizeof(half->mask), source->bytes + slide.at,
			PREKEY_SIZE, NULL, 0);
	} while (slide_next(&slide));
	return 0;
}

static int gather_lefts(struct halves *lefts, const struct source *source, const uint8_t *known)
{
	struct slide slide;

	if (!slide_init(&slide, source, known, LEFT_SIZE))
		return 0;
	do {
		if (slide.distinct >= LEFT_DISTINCT && slide.unknown == LEFT_SIZE &&
			slide.at % LEFT_STRIDE == 0 && !add_half(lefts, source, slide.at))
			return -ENOMEM;
	} while (slide_next(&slide));
	return 0;
}

/* Of pages as they are on disk no run is a half that was drawn: those would be all pairs of code.
 */
static int gather_halves(struct hunt *hunt, const struct source *source, struct halves *prekeys,
	struct halves *lefts, const uint8_t *known)
{
	int r;

	if (source->file)
		return 0;
	r = gather_prekeys(hunt, prekeys, source, known);
	return r < 0 ? r : gather_lefts(lefts, source, known);
}

/* Joins two halves and tries one master of the result on what it would have wrapped. */
static bool joins(struct hunt *hunt, const struct half *prekey, const struct half *left,
	enum coffer_master master)
{
	const uint8_t *bytes = left->source->bytes + left->at;
	uint8_t masters[LEFT_SIZE];

	for (size_t i = 0; i < LEFT_SIZE; i++)
		masters[i] = bytes[i] ^ prekey->mask[i];
	for (size_t i = 0; i < target_count(hunt); i++) {
		const struct target *target = &hunt->targets[i];

		if (target->master == master &&
			is_master(hunt, target, masters + (size_t)master * COFFER_KEY_SIZE))
			return true;
	}
	return false;
}

/* Of a daemon that is locked the vault's master is not among them: the find says whose it is. */
static void join_master(struct hunt *hunt, const struct half *prekey, const struct halves *lefts,
	enum coffer_master master)
{
	for (size_t i = 0; i < lefts->count; i++) {
		char words[256];

		if (!joins(hunt, prekey, &lefts->items[i], master))
			continue;
		snprintf(words, sizeof(words), "the %s's, a pre-key, and its left in %s at %#zx",
			master == COFFER_VAULT ? "vault" : "channel", lefts->items[i].source->name,
			lefts->items[i].at);
		found(hunt, FIND_SPLIT_KEY, prekey->source, prekey->at, words);
		return;
	}
}

static void join_with(struct hunt *hunt, const struct half *prekey, const struct halves *lefts)
{
	join_master(hunt, prekey, lefts, COFFER_VAULT);
	join_master(hunt, prekey, lefts, COFFER_CHANNEL);
}

/* Every page that could be a pre-key with every run that could be a left, wherever they are. */
static int join_halves(struct hunt *hunt, const struct halves *prekeys, const struct halves *lefts)
{
	if ((uint64_t)prekeys->count * lefts->count > PAIRS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < prekeys->count; i++)
		join_with(hunt, &prekeys->items[i], lefts);
	return 0;
}

/* -- all of it ----------------------------------------------------------------------------- */

/* What is as on disk was not drawn a moment ago; the thorough run does not take that for granted.
 */
static bool worth_looking(const struct hunt *hunt, const struct source *source)
{
	return hunt->thorough || !source->file;
}

static int hunt_source(struct hunt *hunt, const struct source *source, struct halves *prekeys,
	struct halves *lefts)
{
	uint8_t *known;
	int r;

	if (!worth_looking(hunt, source))
		return 0;
	known = calloc(1, source->size);
	if (!known)
		return -ENOMEM;
	needles_look(&hunt->needles, source, on_needle, hunt);
	recognise(hunt, source, known);
	try_keys(hunt, source, known);
	r = gather_halves(hunt, source, prekeys, lefts, known);
	free(known);
	return r;
}

int hunt_run(struct hunt *hunt, const struct sources *sources)
{
	struct halves prekeys = { 0 };
	struct halves lefts = { 0 };
	int r = 0;

	/* What masters are tried on may lie anywhere: it is looked for first. */
	for (size_t i = 0; i < sources->count; i++)
		hunt_gather_targets(hunt, &sources->items[i]);
	for (size_t i = 0; r == 0 && i < sources->count; i++)
		r = hunt_source(hunt, &sources->items[i], &prekeys, &lefts);
	if (r == 0)
		r = join_halves(hunt, &prekeys, &lefts);
	free(prekeys.items);
	free(lefts.items);
	return r;
}
