/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/coffer.h"
#include "common/memory/enclave.h"
#include "common/wire/message.h"
#include "common/wire/name.h"
#include "daemon/vault/tally.h"
#include "daemon/vault/term.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Every secret of the daemon: a ledger of sealed records, and an index over it that is rebuilt from
 * it. Names and metadata are in clear, values never are. A record's header carries a 16-byte keyed
 * BLAKE2b under the ledger key, checked on every read; its data key is wrapped under the vault
 * master and bound to the secret's identity and version.
 *
 * What touches keys (the functions that say so) runs on the locked stack. Positive results are
 * enum status.
 */
struct vault;

/*
 * A published version of a secret. Valid until the vault is asked for the next one, or changed,
 * unless pinned.
 */
struct record;

/* Chunks on their way to become a version: in the ledger, but reachable from no record. */
struct value;

/*
 * `coffer` outlives the vault, and so does `fd`, a ledger_file or -1. What another vault has left
 * in the file is this one's, as long as it was written under the coffer's vault master. Of a coffer
 * that is locked it becomes a vault that is locked, and blind (vault_lock.h). Returns 0, -ENOMEM,
 * or -EBADMSG for a file that is not of our format. Touches the ledger key.
 */
int vault_new(struct vault **vaultp, struct coffer *coffer, int fd);

/* Wipes and frees everything; takes NULL. */
void vault_free(struct vault *vault);

/* The same without wiping, for who adopts the file; what is under way dies with it. Takes NULL. */
void vault_leave(struct vault *vault);

/* Calls `on_change` with the name of every stream in which something happens, and of every secret
 * that a batch publishes (vault_restore.h). */
void vault_watch(
	struct vault *vault, void (*on_change)(void *context, struct span name), void *context);

/*
 * Binds what was adopted and hangs on a process to what stands for that: `find` returns 0 and the
 * holder, NULL when the process has ended, or -ENOMEM. To be called before anything else. Returns 0
 * or -ENOMEM. Touches the ledger key.
 */
int vault_bind(struct vault *vault,
	int (*find)(void *context, uint32_t pid, uint64_t started, struct holder **holderp),
	void *context);

/*
 * What was not what was written when it was to be adopted, by what it was, as far as it says so
 * still. It is wiped: whoever asks for it finds nothing.
 */
enum vault_loss {
	LOSS_SECRET,   /* also those of a restore; one whose list is broken counts once */
	LOSS_FORMER,   /* versions that were in their grace */
	LOSS_CONSUMED, /* names that were consumed: they are as if never stored */
	LOSS_STREAM,   /* streams, segments and chunks of streams, and marks of what was read */
	LOSS_ANSWER,   /* remembered answers: a repeat of such a request is made anew */
	LOSS_TOKEN,    /* tokens: whoever shows such a one shows none */
	LOSS_COUNT
};

/* How many blocks of a kind; how many in all. */
uint64_t vault_lost(const struct vault *vault, enum vault_loss loss);
uint64_t vault_broken(const struct vault *vault);

/* Secrets held, and bytes of ledger that they and the names of consumed ones take. */
uint64_t vault_count(const struct vault *vault);
uint64_t vault_bytes(const struct vault *vault);

/* -- quotas -------------------------------------------------------------------------------- */

/*
 * Whose a secret is, and a stream, that is who stored the name first; each counts as a name. Bytes
 * are those of its name, its tags and its value, of the versions that are in their grace, too, and
 * of what waits in a stream; and so many beside for each version, each stream and each segment of
 * one, which is about what those take by themselves.
 */
#define VAULT_BESIDE 256

/* What one owner may have; 0: as much as there is room for. Root and `own` may have anything. */
struct vault_quotas {
	uint64_t names;
	uint64_t bytes;
	uint32_t own; /* uid */
};

/* From now on; nothing of what is there goes. */
void vault_set_quotas(struct vault *vault, const struct vault_quotas *quotas);

/* What a uid has: with values that are on their way, and what is staged. Touches the ledger key. */
struct tally_sum vault_usage(struct vault *vault, uint32_t uid);

/* Which quota the last STATUS_LIMIT was for, if it was for one; told once. */
enum vault_quota { QUOTA_NONE, QUOTA_COUNT, QUOTA_BYTES };
struct vault_refusal {
	enum vault_quota quota;
	uint32_t owner; /* whose quota */
	uint64_t most;
	uint64_t used;
	uint64_t more; /* that was to come */
};
struct vault_refusal vault_refusal(struct vault *vault);

/* -- reading ------------------------------------------------------------------------------- */

/*
 * The current version under a filed name: 0, STATUS_NOT_FOUND, STATUS_GONE when it was consumed,
 * STATUS_INTEGRITY when its header is not what was written, or STATUS_LIMIT when memory is used up.
 * -EKEYEXPIRED when the coffer is destroyed, and STATUS_LOCKED while it is locked, as from all that
 * touch keys. Touches the ledger key.
 */
int vault_find(struct vault *vault, struct span name, struct record **recordp);

/* The same of one version, which may be one that was rotated and is still in its grace; 0: the
 * current one. */
int vault_find_version(
	struct vault *vault, struct span name, uint64_t version, struct record **recordp);

/* Whether it is a stream's name: it has neither key nor chunks (vault_stream.h). */
bool record_is_stream(const struct record *record);

/* The outside of a record. Its spans, and tags in `tags`, live as long as the record does. */
void record_info(const struct record *record, struct info *info, struct tag tags[MESSAGE_TAGS_MAX]);

/* The filed name; lives as long as the record does. */
struct span record_filed_name(const struct record *record);

/* A number that no other secret has, whatever its name; its versions have it in common. */
uint64_t record_secret(const struct record *record);

/* The uid that first stored the secret. */
uint32_t record_owner(const struct record *record);

/*
 * The data key, unwrapped into `key` (secret memory). Returns 0, STATUS_GONE when the record was
 * purged since, or STATUS_INTEGRITY. Touches keys.
 */
int record_key(struct vault *vault, const struct record *record, uint8_t *key);

/* Whether fetches are to be told to it: record_use. */
bool record_counts(const struct record *record);

/*
 * A fetch, for those records that count or date them; to be said before the key leaves. The last
 * fetch that is allowed ends the record: its key is gone, and a record that was pinned before can
 * still be read. Returns 0, STATUS_LIMIT when memory is used up, and nothing has changed, or a
 * negative errno. Touches the ledger key.
 */
int record_use(struct vault *vault, struct record *record);

/* Chunk `number` as it rests, tag included; empty behind the last one and after a purge. */
struct span record_chunk(const struct vault *vault, const struct record *record, uint64_t number);

/* Bytes of plaintext. */
uint64_t record_size(const struct record *record);

/* How many chunks the value has. */
uint64_t record_chunks(const struct record *record);

/* Whether a purge has reached the record since it was pinned. */
bool record_purged(const struct record *record);

/* Keeps the record's bytes until record_unpin, even if it is superseded or removed meanwhile. */
struct record *record_pin(struct record *record);
void record_unpin(struct vault *vault, struct record *record);

/*
 * The same for who reads it bit by bit, in his own time: bytes that stay for him alone count for
 * him. The reader is embedded in what is under way.
 */
struct reader {
	struct reader *next;
	uint32_t uid;
};

struct record *record_pin_for(struct record *record, struct reader *reader);
void record_unpin_for(struct vault *vault, struct record *record, struct reader *reader);

/*
 * The first name in byte order that begins with `prefix` and sorts after `after` (empty: from the
 * beginning): 0, STATUS_NOT_FOUND or STATUS_LIMIT. Costs what it returns, not what is stored.
 * Touches the ledger key; a record whose header is broken is passed over.
 */
int vault_next(struct vault *vault, struct span prefix, struct span after, struct record **recordp);

/* -- writing ------------------------------------------------------------------------------- */

/* An empty value. Returns 0 or STATUS_LIMIT. */
int value_new(struct vault *vault, struct value **valuep);

/*
 * Appends one chunk of 17 to ENCLAVE_CHUNK_SIZE bytes, copied; only the last one may be shorter
 * than ENCLAVE_CHUNK_SIZE. Returns 0, STATUS_LIMIT when memory is used up, or STATUS_INTEGRITY
 * after a short one.
 */
int value_append(struct vault *vault, struct value *value, struct span chunk);

/*
 * What is appended counts as the uid's until it is published or freed. To be said before anything
 * is. Returns 0 or STATUS_LIMIT.
 */
int value_count_for(struct vault *vault, struct value *value, uint32_t owner);

/*
 * Whether so many bytes in all may come, on a way that began: 0, or STATUS_LIMIT and vault_refusal
 * tells of it. What has the name already, and would go or is only compared with, makes room for as
 * much. Touches the ledger key.
 */
struct value_plan {
	struct span name; /* filed */
	uint64_t size;    /* bytes of plaintext */
	bool stored;      /* under that name; else it is compared with what is there */
};
int value_may_have(struct vault *vault, const struct value *value, const struct value_plan *plan);

/* Bytes of plaintext appended so far, and chunks. */
uint64_t value_size(const struct value *value);
uint64_t value_chunks(const struct value *value);

/* Chunk `number` as it was appended; empty behind the last one. */
struct span value_chunk(const struct vault *vault, const struct value *value, uint64_t number);

/* Whether a purge has reached the value; its chunks are wiped then. */
bool value_purged(const struct value *value);

/* Wipes and frees a value that is not to be published; takes NULL. */
void value_free(struct vault *vault, struct value *value);

/* What a new version is to be. */
struct vault_put {
	struct span name;   /* filed */
	uint32_t owner;     /* uid */
	const uint8_t *key; /* the data key, in secret memory */
	struct conditions conditions;
	struct tags tags;
	bool frozen;
	struct rotation rotation; /* then there are no tags, and no lifetime, but those that were */
	bool limited;             /* its owner's quotas hold */
	uint64_t size;            /* bytes of plaintext, for vault_may_put */
	struct lifetime lifetime;
	struct holder *session; /* with lifetime.session: what stands for the connection */
	struct holder *process; /* with lifetime.pid: what stands for the process */
	uint64_t process_started;
};

/*
 * Whether name, conditions, rotation and quotas of a put hold now: 0, or what vault_put would
 * answer. For what is dear to make. Touches the ledger key.
 */
int vault_may_put(struct vault *vault, const struct vault_put *put, uint64_t *versionp);

/*
 * Publishes *valuep as the next version of the name and takes it over (*valuep becomes NULL); the
 * version before is wiped, key first. Returns 0 and the new version; STATUS_CONFLICT and the
 * current version (0: absent) when a condition does not hold; STATUS_LIMIT; STATUS_GONE when the
 * value was purged; STATUS_INVALID when it is empty or the name or a tag is too long;
 * STATUS_FROZEN; STATUS_INTEGRITY when what is there is not what was written: it has to be removed
 * first. STATUS_INVALID also when the name is a stream's; STATUS_NOT_FOUND or STATUS_GONE when
 * there is nothing to rotate. After anything but 0 the value is still the caller's. Touches keys.
 */
int vault_put(struct vault *vault, struct value **valuep, const struct vault_put *put,
	uint64_t *versionp);

/*
 * Wipes a secret, key first: 0 and the version that was, STATUS_NOT_FOUND, STATUS_GONE,
 * STATUS_FROZEN, or STATUS_CONFLICT and the current version. What is not what was written is wiped
 * too (version 0), unless a version is to be compared with: STATUS_INTEGRITY. Touches the ledger
 * key.
 */
int vault_remove(struct vault *vault, struct span name, const struct conditions *conditions,
	uint64_t *versionp);

/*
 * Another time to live from now on, in milliseconds; and whether put, remove and touch are refused
 * with STATUS_FROZEN. Return what vault_remove does, and STATUS_LIMIT; the version stays. Touch the
 * ledger key.
 */
int vault_touch(struct vault *vault, struct span name, uint64_t ttl_ms,
	const struct conditions *conditions, uint64_t *versionp);
int vault_freeze(struct vault *vault, struct span name, bool frozen,
	const struct conditions *conditions, uint64_t *versionp);

/*
 * Gives a secret another name, and to `owner`; everything else of it stays, versions in their grace
 * included. Returns what vault_freeze does, STATUS_FROZEN, STATUS_LIMIT, and STATUS_CONFLICT with
 * version 0 when there is something under `to`. Touches the ledger key.
 */
struct vault_move {
	struct span name; /* both are filed */
	struct span to;
	uint32_t owner; /* uid */
	bool limited;   /* the owner's quotas hold */
	struct conditions conditions;
};
int vault_move(struct vault *vault, const struct vault_move *move, uint64_t *versionp);

/* -- answers ------------------------------------------------------------------------------- */

/*
 * What a request that changed something was answered with is written down with the change, in the
 * same step for whoever adopts the ledger: a repeat gets its first answer even then.
 */
#define VAULT_DIGEST_SIZE 16

/*
 * The change that is asked for next is the one of this number, and of what was asked (a digest).
 * Both live until vault_promise_end, which says whether it was made, and gives the place of the
 * answer; 0 when there is none. vault_drop_answer forgets one.
 */
void vault_promise(struct vault *vault, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE],
	const uint8_t digest[static VAULT_DIGEST_SIZE]);
uint64_t vault_promise_end(struct vault *vault, bool made);

/*
 * That change is no record's, and is made: from now on whoever adopts the ledger finds its answer.
 * Touches the ledger key.
 */
void vault_promise_made(struct vault *vault);
void vault_drop_answer(struct vault *vault, uint64_t place);

struct vault_answer {
	uint32_t uid;
	const uint8_t *number;
	const uint8_t *digest;
	uint64_t version;
	uint64_t place;
};

/* Tells the answers that were adopted, the oldest first, once. Stops at what is not 0; gives that.
 */
int vault_answers(struct vault *vault,
	int (*visit)(void *context, const struct vault_answer *answer), void *context);

/*
 * Compacting moves answers: `moved` is told whose answer is at another place, while it is at both.
 * It returns whether it has the answer, and knows the new place now; else the answer stays.
 */
typedef bool (*vault_moved_fn)(void *context, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE], uint64_t from, uint64_t to);
void vault_watch_answers(struct vault *vault, vault_moved_fn moved, void *context);

/* -- the end of lives ---------------------------------------------------------------------- */

/*
 * Takes out one record whose life is over: until then it is not found any more, but takes memory.
 * Where there is none, a step of a batch that was left (vault_restore.h); where there is none
 * either, wipes some of what vault_wipe_later left. Returns whether there was something to do.
 * Touches keys.
 */
bool vault_expire(struct vault *vault);

/*
 * A step of bringing together what is left in the ledger when much of it was given back
 * (ledger_begin_compacting); a fraction of a millisecond. A record is copied to a better place,
 * with its table and the chunks that share pages with others; the copy is published, as the same
 * version under the next sequence number, and takes the record's place everywhere; then what it
 * left is wiped. What is pinned stays, because its chunks are read where they are. So do the
 * segments of streams, values under way and batches, which end before long. Returns whether there
 * was something to do. Touches keys.
 */
bool vault_compact(struct vault *vault);

/*
 * When there will be something to do for one of the two, in ms of CLOCK_BOOTTIME: 0 now, UINT64_MAX
 * never. While the vault is locked neither has anything to do, but to wipe.
 */
uint64_t vault_expiry_ms(const struct vault *vault);

/*
 * From now on the chunks of large values that have ended are wiped by vault_expire, 16 KiB at a
 * time, so that nobody has to wait for all of them: their keys go at once, as ever. A purge of
 * everything wipes them, too.
 */
void vault_wipe_later(struct vault *vault);

/* All that hangs on the holder is over; it belongs to the vault from now on. */
void vault_end_holder(struct vault *vault, struct holder *holder);

/* The names that were consumed of what a uid had stored first are as if never stored. */
void vault_forget_consumed(struct vault *vault, uint32_t uid);

/* -- purge --------------------------------------------------------------------------------- */

/* Wipes a secret, key first, and ends the gets of it that are under way. */
void vault_purge_record(struct vault *vault, struct record *record);

/*
 * A new vault master: every record and every value under way is dead at once, then wiped. Records
 * that are pinned keep their memory until unpinned, wiped at that moment. It is not locked any
 * more. Touches keys.
 */
void vault_purge(struct vault *vault);
