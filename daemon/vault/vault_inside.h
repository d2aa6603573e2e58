/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/bytes.h"
#include "daemon/ledger/block.h"
#include "daemon/ledger/ledger.h"
#include "daemon/vault/index.h"
#include "daemon/vault/term.h"
#include "daemon/vault/vault.h"
#include "daemon/vault/vault_event_inside.h"
#include "daemon/vault/vault_lock.h"
#include "daemon/vault/vault_token.h"

/* What the vault's own files share: how a record lies in the ledger, and what hangs on it. */

#define RECORD_TAG_SIZE BLOCK_TAG_SIZE

/*
 * Whoever chooses ciphertext can make it look like headers at every place, each with as many words
 * as there may be. What is adopted is full of it: only where a few bytes of a tag over the header
 * alone are right the words are hashed.
 */
#define RECORD_PROOF_SIZE 4

/* Chunks that lie side by side. A value of more has a table of where its extents begin. */
#define EXTENT_CHUNKS 16
#define EXTENT_SIZE ((size_t)EXTENT_CHUNKS * ENCLAVE_CHUNK_SIZE)

/* Numbers of 48 bits: enough for eight hundred years of ten thousand changes a second. */
#define NUMBER_SIZE 6
#define NUMBER_MAX ((UINT64_C(1) << 48) - 1)

/* Chains of pinned records. Few are pinned at a time: those whose chunks are leaving. */
#define PIN_CHAINS 1024

/*
 * A record's header as it lies in the ledger: numbers little-endian, nothing aligned, so that it
 * means the same on every machine and costs little. Behind it: the lifetime, the name, the tags.
 * The tag in front covers all of that.
 */
struct header {
	struct block block;
	uint8_t wrapped[ENCLAVE_WRAPPED_KEY];
	uint8_t secret[NUMBER_SIZE];         /* the sequence number of the first version */
	uint8_t version[NUMBER_SIZE];        /* 1, 2, 3, ... */
	uint8_t sequence[NUMBER_SIZE];       /* of this version, among all that was stored */
	uint8_t created[NUMBER_SIZE];        /* the first version; ms of CLOCK_REALTIME */
	uint8_t changed[NUMBER_SIZE];        /* this version */
	uint8_t size[NUMBER_SIZE];           /* bytes of plaintext */
	uint8_t place[sizeof(uint32_t)];     /* of the extent or the table, in units */
	uint8_t owner[sizeof(uint32_t)];     /* uid that stored the first version */
	uint8_t name_size[sizeof(uint16_t)]; /* bytes */
	uint8_t tags_size[sizeof(uint16_t)]; /* bytes */
	uint8_t flags;
	uint8_t lifetime_size; /* bytes; 0: until it is deleted, and no reads are counted */
	uint8_t proof[RECORD_PROOF_SIZE];
};

/* Where the extents of a value begin that has more than one: an offset each, behind this. */
struct table {
	struct block block;
	uint8_t secret[NUMBER_SIZE]; /* whose extents they are */
	uint8_t version[NUMBER_SIZE];
	uint8_t reserved[2];
};

_Static_assert(sizeof(struct table) == 32, "the offsets behind a table are aligned");

/* Bytes that a table of so many extents takes. */
static inline uint64_t table_size(uint64_t extents)
{
	return sizeof(struct table) + extents * sizeof(uint64_t);
}

#define RECORD_FROZEN 1   /* it is not changed until it is melted */
#define RECORD_CONSUMED 2 /* a tombstone: a name without a value */
#define RECORD_SESSION 4  /* it ends with a connection, and so with the process that has that */
#define RECORD_STREAM 8   /* the name of a stream, which has no value of its own */
#define RECORD_FORMER 16  /* a version that was rotated: no name leads to it */
#define RECORD_MOVED 32   /* it had another name, under which it may still be as well */
#define RECORD_FLAGS 63   /* all of them */

/* When a record ends by itself, as it lies in the ledger. Times are ms of CLOCK_BOOTTIME. */
struct lifetime_bytes {
	uint8_t end[NUMBER_SIZE];        /* 0: none */
	uint8_t idle[NUMBER_SIZE];       /* ms without a fetch; 0: any */
	uint8_t used[NUMBER_SIZE];       /* the last fetch, to the second */
	uint8_t reads[sizeof(uint32_t)]; /* left; 0: not counted */
	uint8_t pid[sizeof(uint32_t)];   /* 0: none */
	uint8_t started[sizeof(
		uint64_t)]; /* the process; tells it from later ones of that number */
};

static inline struct lifetime_bytes *lifetime_bytes(const struct header *header)
{
	return (struct lifetime_bytes *)(void *)((uint8_t *)(uintptr_t)header + sizeof(*header));
}

/* Of a tag in a record: the sizes of key and value go before them. */
#define TAG_PREFIX 3

#define TAGS_SIZE_MAX \
	(MESSAGE_TAGS_MAX * (TAG_PREFIX + MESSAGE_TAG_KEY_MAX + MESSAGE_TAG_VALUE_MAX))

_Static_assert(sizeof(struct header) == 136, "the header has no holes");
_Static_assert(sizeof(struct lifetime_bytes) == 34, "nor has the lifetime");
_Static_assert(TAGS_SIZE_MAX <= UINT16_MAX, "the size of the tags has 16 bits");
_Static_assert(MESSAGE_TAG_KEY_MAX <= UINT8_MAX, "the size of a tag's key has 8 bits");
_Static_assert(NAME_FILED_MAX <= INDEX_NAME_MAX, "every name has its place in the index");
_Static_assert(EXTENT_SIZE <= LEDGER_BLOCK_MAX, "an extent is one block");

/*
 * A handle to a record in the ledger, with what was read off its header while the tag was known to
 * be right. One that is not pinned serves for the next look-up.
 */
struct record {
	struct record *next; /* in its chain, while pinned */
	struct vault *vault;
	uint64_t offset; /* 0: it stands for nothing */
	uint64_t place;
	uint64_t size; /* bytes of plaintext */
	uint64_t pins;
	struct reader *readers; /* some of those that have it pinned */
	uint64_t counted;       /* bytes, for the first of them when it was retired */
	uint32_t payer;         /* who that was */
	bool retired;           /* superseded or removed: the last pin wipes it */
	bool purged;
};

struct value {
	struct value *next;
	struct value *previous;
	uint64_t size; /* bytes of plaintext */
	uint64_t chunks;
	uint64_t *extents; /* offsets */
	size_t count;
	size_t capacity;
	size_t room; /* chunks that the last extent holds */
	uint32_t owner;
	bool owned;       /* by that uid; else it counts for nobody */
	uint64_t counted; /* bytes */
	bool ended;       /* the last chunk was a short one */
	bool purged;
};

/* Places in the ledger, gathered; all zero is empty, and `at` is to be freed. */
struct offsets {
	uint64_t *at;
	size_t count;
	size_t capacity;
};

/* Whose change is being made, and where its answer is; vault_promise. */
struct promise {
	bool made;
	uint32_t uid;
	const uint8_t *number;
	const uint8_t *digest;
	uint64_t place;
};

/* How far a pass is: through the index first, then through the blocks behind the line. */
struct progress {
	uint64_t at;    /* in the index */
	uint64_t block; /* offset; 0: not yet there */
	bool walked;    /* through the index */
	bool moved;     /* nothing more is to be moved */
};

struct vault {
	struct coffer *coffer;
	struct ledger *ledger;
	struct index *index;
	uint64_t sequence;
	struct record *spare;  /* for the next look-up; NULL when the last one was pinned */
	struct value *values;  /* under way */
	uint64_t pinned_count; /* records */
	struct record *pinned[PIN_CHAINS];
	struct terms *terms;
	struct owner *owners;      /* who has tombstones */
	uint64_t consumed;         /* tombstones */
	uint64_t lost[LOSS_COUNT]; /* blocks that could not be adopted */
	struct promise promise;
	uint64_t answered;      /* answers so far */
	uint64_t held;          /* bytes that those take that are there */
	struct offsets answers; /* adopted, and to be told */
	struct offsets bound;   /* adopted, and to be bound to their processes */
	uint64_t (*now)(void);  /* ms of CLOCK_BOOTTIME */
	struct streams *streams;
	struct family *families; /* of versions that were rotated */
	void *family_tree;       /* the same, by the secrets' numbers */
	struct batch *batches;
	struct progress progress; /* of compacting */
	struct events events;
	struct tally tally; /* what each uid has */
	bool doubtful;      /* it is to be made anew before it is used */
	struct vault_quotas quotas;
	struct vault_refusal refusal; /* until it is told */
	struct lock lock;
	uint64_t lock_rooms[LOCK_COPIES]; /* where its blocks lie, or will; 0: nowhere */
	bool blind; /* what is in the file is for another vault: vault_is_blind */
	vault_moved_fn answer_moved;
	void *keeper;          /* of the answers */
	uint64_t tokens_given; /* so far */
	uint64_t tokens_held;  /* bytes that they take, of `held` */
	struct offsets tokens; /* adopted, and to be told */
	vault_token_moved_fn token_moved;
	void *token_keeper;
	/* In a stream, or by a batch; may be NULL. */
	void (*on_change)(void *context, struct span name);
	void *context;
};

/* -- numbers ------------------------------------------------------------------------------- */

static inline void put_number(uint8_t out[static NUMBER_SIZE], uint64_t number)
{
	bytes_put32(out, (uint32_t)number);
	bytes_put16(out + 4, (uint16_t)(number >> 32));
}

static inline uint64_t get_number(const uint8_t in[static NUMBER_SIZE])
{
	return bytes_get32(in) | (uint64_t)bytes_get16(in + 4) << 32;
}

/* Whether it is one that was given away, `highest` being the last. Ciphertext hardly ever is. */
static inline bool is_given(const uint8_t number[static NUMBER_SIZE], uint64_t highest)
{
	return get_number(number) > 0 && get_number(number) <= highest;
}

/* The same of one that counts something else, of which there are never so many. */
#define NUMBER_LIKELY UINT32_MAX

static inline uint64_t chunks_in(uint64_t size)
{
	return size / ENCLAVE_CHUNK_PLAIN + (size % ENCLAVE_CHUNK_PLAIN != 0);
}

static inline uint64_t extents_in(uint64_t chunks)
{
	return (chunks + EXTENT_CHUNKS - 1) / EXTENT_CHUNKS;
}

/* Bytes that extent `i` of a value holds. */
static inline uint64_t extent_size(uint64_t size, uint64_t i)
{
	uint64_t sealed = enclave_sealed_size(size);
	uint64_t before = i * EXTENT_SIZE;

	return sealed - before < EXTENT_SIZE ? sealed - before : EXTENT_SIZE;
}

/* -- records (vault_record.c) -------------------------------------------------------------- */

struct header *record_header(const struct vault *vault, uint64_t offset);

/* Bytes from the header to the name. */
size_t record_name_start(const struct header *header);
struct span record_name(const struct header *header);

/* The tags as they lie behind the name. */
struct span record_tags(const struct header *header);

/*
 * Whether the sizes in a header fit into the block that it lies in, and it says what it is; or that
 * it will be once it is published.
 */
bool record_fits(const struct vault *vault, uint64_t offset);
bool record_well_formed(const struct vault *vault, uint64_t offset);
bool record_staged(const struct vault *vault, uint64_t offset);

/*
 * The tag of a block of a kind: over the kind and then over one span after the other. Returns 0,
 * or -EKEYEXPIRED without a ledger key, which it touches.
 */
int vault_tag(const struct vault *vault, enum block_kind kind, const struct span *parts,
	size_t count, uint8_t tag[static BLOCK_TAG_SIZE]);

/* The bytes of a block from behind its kind up to `end`. */
static inline struct span block_rest(const void *block, size_t end)
{
	return span_of((const uint8_t *)block + sizeof(struct block), end - sizeof(struct block));
}

/* Wipes a block that means something and gives it back: the kind goes first. */
void vault_give(struct vault *vault, uint64_t offset);

/* What has the next sequence number is published: it is the highest now, whoever comes after us. */
void vault_count_on(struct vault *vault);

/*
 * The tags over a well-formed record, and over a table of so many extents. Return 0, or
 * -EKEYEXPIRED without a ledger key, which they touch.
 */
int record_tag(
	const struct vault *vault, const struct header *header, uint8_t tag[static BLOCK_TAG_SIZE]);
int table_tag(const struct vault *vault, const struct table *table, uint64_t extents,
	uint8_t tag[static BLOCK_TAG_SIZE]);

/* Makes a record whole: proof and tag. Returns 0, or -EKEYEXPIRED. Touches the ledger key. */
int record_seal(const struct vault *vault, struct header *header);

/* Whether the proof in a header is right. Touches the ledger key. */
bool record_likely(const struct vault *vault, const struct header *header);

/* Makes the table of a well-formed header, if there is one, that of its secret and version. */
int table_seal(const struct vault *vault, const struct header *header);

/*
 * Whether a record is what was written, its table included; and whether it would be if its kind
 * said that it is one. Touch the ledger key.
 */
bool record_intact(const struct vault *vault, uint64_t offset);
bool record_proved(const struct vault *vault, uint64_t offset);

/* Bytes of the block that a header lies in, and the place that it names. */
size_t record_block_size(const struct header *header);
uint64_t record_place(const struct header *header);

/*
 * The offsets of a value's extents, 8 bytes each; empty when it has one extent, or when no block
 * is there that could hold them.
 */
struct span record_table(const struct vault *vault, uint64_t place, uint64_t size);

/* What the wrapped key of a record is bound to. */
struct enclave_binding record_binding(const struct header *header);

/* Whether the life of an intact record is over. */
bool record_over(const struct vault *vault, uint64_t offset);

/* A record that is over, or a tombstone, is not one that a list shows. */
bool record_shows(const struct vault *vault, uint64_t offset);

/* Sees to it that the next look-up has a handle to give. Returns 0 or STATUS_LIMIT. */
int record_reserve(struct vault *vault);

/* The handle of a record whose tag has just been found right; record_reserve comes before it. */
struct record *record_handle(struct vault *vault, uint64_t offset);

/*
 * The end of a record that no name leads to any more: wiped, key first; if it is pinned, all but
 * the key with the last pin. The header says where the chunks are only when it is `intact`: else
 * they stay where they are, without a key.
 */
void record_retire(struct vault *vault, uint64_t offset, bool intact);

/*
 * A record that is not what was written keeps its name, but neither key nor term. One that is
 * apart, and what was written, will not be published any more and has no value. Touches the ledger
 * key.
 */
void record_lose(struct vault *vault, uint64_t offset);

/* A purge has reached the record: whoever has it pinned is told. */
void record_doom(struct vault *vault, uint64_t offset);

/* The handle of a record whose chunks somebody reads where they are, or NULL. */
struct record *record_pinned(const struct vault *vault, uint64_t offset);

/* The record is at another place now: handles, terms and its stream go there. */
void record_move(struct vault *vault, uint64_t offset, uint64_t to);

/* -- what the vault's files ask of it (vault.c) -------------------------------------------- */

/*
 * Where a name's record is, its tag checked: 0; STATUS_NOT_FOUND; STATUS_GONE and where its
 * tombstone is; STATUS_INTEGRITY and where what was overwritten is; or -EKEYEXPIRED when there is
 * no key to check with any more. What is over is taken out on the way.
 */
int vault_look_up(struct vault *vault, struct span name, uint64_t *offsetp);

/*
 * Writes and publishes the record of a stream's name, which nothing else has. Returns 0,
 * STATUS_LIMIT, or a negative errno. Touches the ledger key.
 */
int vault_put_stream(
	struct vault *vault, struct span name, uint32_t owner, uint64_t *offsetp, uint64_t *idp);

/*
 * Writes a record to which no name leads: whole, but without a tag, and as a secret of its own. Of
 * the put it takes all but the conditions. Takes the value over, and returns, as vault_put does.
 * record_retire wipes it. Touches keys.
 */
int vault_write_apart(struct vault *vault, struct value **valuep, const struct vault_put *put,
	uint64_t version, uint64_t *offsetp);

/*
 * Takes out a record whose header is right, and its formers, wherever it is found; what is told of
 * it is an event of this kind. Whether it is `intact` is as for record_retire.
 */
void vault_take_out(struct vault *vault, uint64_t offset, bool intact, enum event_kind kind);

/* The same for one whose header was overwritten. */
void vault_take_out_damaged(struct vault *vault, struct span name, uint64_t offset);

/* Takes out a record whose life is over. Touches the ledger key. */
void vault_end_record(struct vault *vault, uint64_t offset);

/*
 * Publishes a record and then ends the tombstone that its name has, if there is one: whoever adopts
 * what is in between takes the later one. The name's place in the index is certain by then. Returns
 * 0 or -ENOMEM.
 */
int vault_make_way(struct vault *vault, uint64_t offset, uint64_t tombstone);

/* 0, or STATUS_CONFLICT and the current version (0: absent). `old` may be NULL. */
int vault_check_conditions(
	const struct conditions *conditions, const struct header *old, uint64_t *versionp);

/* -- a new header before the same chunks (vault_change.c) ---------------------------------- */

/* What is to be another in the copy. */
struct copy {
	struct span name; /* empty: the same */
	bool limited;     /* it has room for a lifetime, whether the record has one or not */
};

/*
 * Copies a record's header, without a tag. The copy is written to and then published, or given
 * back. Returns 0 or STATUS_LIMIT.
 */
int record_copy(struct vault *vault, uint64_t offset, const struct copy *copy, uint64_t *offsetp);

/* The same into a block that is there, and has the size of the record's. */
void record_copy_into(struct vault *vault, uint64_t offset, uint64_t to);

/*
 * The copy is the record from now on; the old header is wiped, its wrapped key first of all.
 * Returns 0 or a negative errno, and the copy is gone then. Touches the ledger key. In the place of
 * another, it is what that was: who is about to follow it need not look again.
 */
int record_put_in_place(struct vault *vault, uint64_t offset, uint64_t copy);
int record_publish_copy(struct vault *vault, uint64_t offset, uint64_t copy);

/*
 * Finds a secret that is to be changed: 0, a status or a negative errno. Touches the ledger key.
 */
int vault_begin_change(struct vault *vault, struct span name, const struct conditions *conditions,
	uint64_t *offsetp, uint64_t *versionp);

/*
 * A version that is about to be followed by another one: a copy of its header that is a former's,
 * and ends after the grace. Returns 0, STATUS_LIMIT or a negative errno. Then the copy is taken
 * back, or, once the next version is published, it takes the place of the record at `offset`.
 * Touches the ledger key.
 */
int rotation_begin(struct vault *vault, uint64_t offset, uint64_t grace_ms, uint64_t *formerp);
void rotation_undo(struct vault *vault, uint64_t former);
void rotation_end(struct vault *vault, uint64_t offset, uint64_t former);

/* -- versions that were rotated (vault_former.c) ------------------------------------------- */

/* A record is one of them from now on. Returns 0 or -ENOMEM. */
int former_add(struct vault *vault, uint64_t offset);

/* So many versions of a secret are in their grace at most. */
#define FORMERS_MAX 16

/* Whether the secret of a record has as many as it may. */
bool formers_are_full(const struct vault *vault, uint64_t offset);

/* The record at `offset` is its secret's current version from now on. */
void formers_follow(struct vault *vault, uint64_t offset);

/* Ends the gets of them that are under way. */
void formers_doom(struct vault *vault, uint64_t secret);

/* It is none any more; it is at another place. It must be there. */
void former_drop(struct vault *vault, uint64_t offset);
void former_move(struct vault *vault, uint64_t offset, uint64_t to);

/* Visits those of a secret; they may be moved meanwhile. Stops at what is not 0; gives that. */
int formers_of(struct vault *vault, uint64_t secret, int (*visit)(void *context, uint64_t offset),
	void *context);

/* A secret's version that was rotated, or 0. */
uint64_t former_find(const struct vault *vault, uint64_t secret, uint64_t version);

/*
 * Wipes all of a secret; all of the secret whose current version was at `offset`, where nothing is
 * to be believed any more; all there are, without a ledger key. The last one only forgets them.
 */
void formers_end(struct vault *vault, uint64_t secret);
void formers_end_behind(struct vault *vault, uint64_t offset);
void formers_purge(struct vault *vault);
void formers_leave(struct vault *vault);

/*
 * Takes over those that are of a secret among the records, and adds to `surplus` what is not, or is
 * there twice. Returns 0 or -ENOMEM.
 */
int formers_adopt(struct vault *vault, const struct offsets *formers, const struct offsets *records,
	struct offsets *surplus);

/* Goes through all of them. Stops at what is not 0; gives that. */
int formers_each(struct vault *vault, int (*visit)(void *context, uint64_t offset), void *context);

/* -- lifetimes (vault_lifetime.c) ---------------------------------------------------------- */

/* What a new record takes for it in bytes; `old` is what it is the rotation of, or NULL. */
size_t lifetime_size(const struct vault_put *put, const struct header *old);

/* Writes it behind the header, and sees to a term's place. Returns 0 or STATUS_LIMIT. */
int lifetime_write(struct vault *vault, struct header *header, const struct vault_put *put,
	const struct header *old);

/* Once the record is found: it has a term, if it needs one. `old` is 0 where it is no rotation. */
void lifetime_begin(
	struct vault *vault, uint64_t offset, const struct vault_put *put, uint64_t old);

/* In a copy that has room for it: it ends `grace_ms` from now on, unless it does so before. */
void lifetime_shorten(struct vault *vault, struct header *header, uint64_t grace_ms);

/* Another deadline for a record that may have had no term before; a place for one is reserved. */
void lifetime_renew(struct vault *vault, uint64_t offset);

/* What is left of it, for record_info. */
void lifetime_tell(const struct vault *vault, const struct header *header, struct info *info);

/* For records that are adopted: their terms, and a consumed name's owner. Return 0 or -ENOMEM. */
int lifetime_adopt(struct vault *vault, uint64_t offset);
int tombstone_adopt(struct vault *vault, uint64_t offset);

/* Once the ledger is settled: whoever ended while there was one too many has left it. */
void tombstones_settle(struct vault *vault);

/* -- answers (vault_answer.c) -------------------------------------------------------------- */

/*
 * Just before a change is made: it will give away a sequence number, or it takes out the record of
 * one. `version` is what is answered. Does nothing when nobody has asked for it.
 */
void promise_write(struct vault *vault, uint64_t version, uint64_t sequence, uint64_t target);

/* If an answer lies there it is nothing any more to who adopts the ledger. Whether one does. */
bool answer_purge(struct vault *vault, uint64_t offset);

/*
 * If what lies there is an answer, and behind the ledger's line, it is moved, and who keeps it is
 * told. Returns 0, or -EAGAIN as ledger_take_before. Touches the ledger key.
 */
int answer_bring_forward(struct vault *vault, uint64_t offset);

/* Claims those whose changes were made; records and streams are there. Returns 0 or -ENOMEM. */
int answers_adopt(struct vault *vault, struct offsets *answers, uint64_t highest);

/* -- adopting (vault_adopt.c) -------------------------------------------------------------- */

/* Returns 0 or -ENOMEM. */
int offsets_add(struct offsets *offsets, uint64_t offset);

/* Takes over what a ledger holds that is not settled. Returns 0 or -ENOMEM. Touches keys. */
int vault_adopt(struct vault *vault);

/* -- batches (vault_restore.c) ------------------------------------------------------------- */

/* A name is asked for: if it is in a committed batch, its turn is now. Touches keys. */
void batches_hurry(struct vault *vault, struct span name);

/* What stands under a name is another now: batches that hold it make its record ready again. */
void batches_disturb(struct vault *vault, struct span name);

/* Wipes all of them: nothing more can be added. */
void batches_purge(struct vault *vault);

/* Frees them; what is committed stays so, for who adopts the file. */
void batches_leave(struct vault *vault);

/* Whether there is one that nobody waits for; and a step of it: false when there is none. */
bool batches_left(const struct vault *vault);
bool batches_go_on(struct vault *vault);

/* -- streams (vault_stream.c) -------------------------------------------------------------- */

/* Returns 0 or -ENOMEM. */
int streams_new(struct vault *vault);
void streams_free(struct vault *vault);

/* The same, but what they have in the ledger stays there. */
void streams_leave(struct vault *vault);

/* The record is gone: if it was a stream's, the stream is too. */
void stream_lose(struct vault *vault, uint64_t offset);

/* The record is at another place. */
void stream_move(struct vault *vault, uint64_t offset, uint64_t to);

/* Whether the record is a stream's, and then how many bytes can be read. */
bool stream_tell(const struct vault *vault, uint64_t offset, uint64_t *sizep);
