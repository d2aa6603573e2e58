/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/workbench.h"
#include "common/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Messages as the house knows them. Parse, don't validate: a struct request or reply that exists is
 * well-formed; its spans point into the workbench or the read buffer. The generated code of
 * proto/memguard.proto stays behind message.c.
 */
#define MESSAGE_NUMBER_SIZE 16
#define MESSAGE_SALT_SIZE 16
#define MESSAGE_TAGS_MAX 16
#define MESSAGE_TAG_KEY_MAX 64
#define MESSAGE_TAG_VALUE_MAX 256
#define MESSAGE_VALUE_MAX ((uint64_t)1 << 30)         /* bytes; no daemon allows more */
#define MESSAGE_VERSION_MAX ((UINT64_C(1) << 48) - 1) /* of a secret; and of a time in ms */
/* The feature level that knows lifetimes and frozen secrets. */
#define MESSAGE_LEVEL_LIFETIME 2

/* The one that knows rotations, and the other name of a secret. */
#define MESSAGE_LEVEL_ROTATION 3

#define MESSAGE_LEVEL 3 /* the feature level that this build understands */

/* More than a client that pipelines needs, few enough that one frame's answers stay small. */
#define MESSAGE_FRAME_MAX 64 /* messages in a frame */

#define MESSAGE_DETAIL_MAX 256
#define MESSAGE_REASON_MAX 256
#define MESSAGE_GROUPS_MAX 256
#define MESSAGE_AS_MAX 32 /* selectors */
#define MESSAGE_GRANTS_MAX 16
#define MESSAGE_OPERATIONS_MAX 255 /* bytes */
#define MESSAGE_GRANTS_SIZE 4096   /* bytes of all grants of a token as they are asked for */
#define MESSAGE_UNIT_MAX 255       /* bytes of a unit's name */
#define MESSAGE_TOKEN_SIZE 32

struct tag {
	struct span key;
	struct span value;
};

struct tags {
	const struct tag *tag;
	size_t count;
};

/* What a token lets whoever shows it do. */
struct grant {
	struct span operations;
	struct span glob;
};

struct grants {
	const struct grant *grant;
	size_t count;
};

/* Chunks of one value that follow a sealed part. */
struct chunks {
	uint64_t first;
	uint32_t count;
	uint32_t last; /* bytes of the last one, tag included */
	bool final;
	bool abort;
};

struct conditions {
	bool create_only;
	bool compare;
	uint64_t version;
};

/* When a secret ends by itself; all 0: it does not. */
struct lifetime {
	uint64_t ttl_ms;  /* so long after it was stored */
	uint64_t idle_ms; /* so long after it was fetched last */
	uint32_t reads;   /* with that many fetches */
	uint32_t pid;     /* with this process */
	bool session;     /* with the connection that stored it */
};

bool lifetime_is_limited(const struct lifetime *lifetime);

/* A new version in the place of one that is there, which keeps that one's tags and lifetime. */
struct rotation {
	bool asked;
	uint64_t grace_ms; /* so long the one before can be read */
};

/*
 * What the key of a lock costs, in passes of Argon2id and in bytes: for less than that it tells the
 * passphrase cheaply, and whoever asks for more wants to hurt. The daemon is locked with no other
 * one, and no client makes another one to unlock it.
 */
#define MESSAGE_LOCK_OPSLIMIT_MIN 3
#define MESSAGE_LOCK_OPSLIMIT_MAX 16
#define MESSAGE_LOCK_MEMLIMIT_MIN (UINT64_C(256) << 20)
#define MESSAGE_LOCK_MEMLIMIT_MAX (UINT64_C(1) << 30)

#define MESSAGE_SPAN_MAX (UINT64_C(100) * 365 * 86400 * 1000) /* milliseconds: a hundred years */

enum charset { CHARSET_ALNUM, CHARSET_HEX, CHARSET_BASE64, CHARSET_BYTES, CHARSETS };

/*
 * Set, verify and stage come with chunks, in their first frame or later; each write to a stream
 * with its own. The next program knows a repeated request by its verb's number, too: a new one
 * comes last.
 */
enum verb {
	VERB_NONE, /* only chunks, for a set under way */
	VERB_UNKNOWN,
	VERB_PING,
	VERB_GET,
	VERB_SET,
	VERB_REMOVE,
	VERB_LIST,
	VERB_STAT,
	VERB_GENERATE,
	VERB_STATUS,
	VERB_WHOAMI,
	VERB_CANCEL,
	VERB_PURGE,
	VERB_SHUTDOWN,
	VERB_TOUCH,
	VERB_FREEZE,
	VERB_MELT,
	VERB_VERIFY,
	VERB_STREAM_WRITE,
	VERB_STREAM_READ,
	VERB_RELOAD,
	VERB_UPGRADE,
	VERB_EXPORT,
	VERB_STAGE,
	VERB_COMMIT,
	VERB_MOVE,
	VERB_EXPLAIN,
	VERB_WATCH,
	VERB_ISSUE_TOKEN,
	VERB_LIST_TOKENS,
	VERB_REVOKE_TOKEN,
	VERB_SHOW_TOKEN,
	VERB_WRAP,
	VERB_UNWRAP,
	VERB_LOCK,
	VERB_UNLOCK,
	VERBS
};

/* Whether its chunks may come, or go on, in frames of their own. */
bool verb_goes_on(enum verb verb);

/* How far a stream was read: all segments before this one, and of this one what is before `next`.
 */
struct stream_place {
	uint64_t stream; /* 0: nothing was */
	uint64_t segment;
	uint64_t next;
};

struct request {
	uint64_t id;
	bool numbered;
	uint8_t number[MESSAGE_NUMBER_SIZE];
	bool chunked;
	struct chunks chunks;
	struct span bytes; /* of those chunks */
	bool ends;         /* the last ones are not among them, but at hand as well */
	enum verb verb;
	const char *fault; /* why the request is answered with `fault_status`; NULL: well-formed */
	int fault_status;
	struct span reason;           /* of any: why it is asked for; may be empty */
	struct span name;             /* of all that have one; the prefix in list, export, watch */
	uint64_t version;             /* get, stage */
	uint32_t wait_ms;             /* get, stream_read */
	uint64_t size;                /* set, verify: 0 when not known; generate, stage */
	const uint8_t *key;           /* with chunks, lock, unlock: 32 bytes on the workbench */
	struct conditions conditions; /* of all that change one secret */
	struct tags tags;             /* set, generate, stage; the filter in list */
	struct lifetime lifetime;     /* set, generate, stage; its ttl_ms in touch */
	bool freeze;                  /* set, generate, stage */
	struct rotation rotation;     /* set, generate */
	struct span to;               /* move: the new name */
	enum charset charset;         /* generate */
	struct span after;            /* list, export */
	uint32_t limit;               /* list */
	bool details;                 /* list */
	uint64_t target;              /* cancel */
	bool all;                     /* purge */
	struct stream_place read;     /* stream_read */
	bool acknowledge;             /* stream_read: nothing is asked for */
	int64_t created_ms;           /* stage */
	int64_t changed_ms;           /* stage */
	uint32_t owner;               /* stage: a uid */
	uint64_t secrets;             /* commit */
	struct span operation;        /* explain */
	const struct span *as;        /* explain: selectors; none: the caller */
	size_t as_count;
	uint64_t since;       /* watch: an event's number; 0: now */
	struct grants grants; /* issue_token */
	uint32_t uses;        /* issue_token: 0: as many as wanted; wrap: 0: one */
	bool of_uid;          /* issue_token: only `uid` may show it */
	uint32_t uid;
	struct span unit;     /* issue_token: only from there; empty: from anywhere */
	const uint8_t *token; /* show_token, unwrap: 32 bytes on the workbench; NULL: none */
	bool lookup;          /* unwrap */
	struct span salt;     /* lock: MESSAGE_SALT_SIZE bytes */
	uint64_t opslimit;    /* lock */
	uint64_t memlimit;    /* lock: bytes */
};

/* One secret's outside. */
struct info {
	struct span name;
	uint64_t version;
	uint64_t size; /* bytes */
	int64_t created_ms;
	int64_t changed_ms;
	struct tags tags;
	struct lifetime left; /* but idle_ms, which is as it was asked for */
	uint64_t idle_left_ms;
	bool frozen;
	bool stream;
};

struct state {
	struct span version;
	uint32_t pid;
	uint64_t uptime_ms;
	uint32_t backend;
	struct span advice;
	uint64_t locked; /* bytes */
	bool locked_stack;
	bool sealed;
	bool dumpable;
	uint64_t core_limit; /* bytes */
	struct span cipher;
	uint32_t rekey_ms;
	uint64_t sessions;
	bool counts;
	uint64_t secrets;
	uint64_t ledger;    /* bytes */
	uint64_t max_value; /* bytes */
	bool pidfd;
	uint32_t keeper; /* 0: there is none */
	uint64_t broken;
	uint64_t broken_formers;
	uint64_t broken_consumed;
	uint64_t broken_streams;
	uint64_t broken_answers;
	uint64_t tokens;
	uint64_t broken_tokens;
	uint64_t failed_upgrades;
	struct span upgrade_fault;
	bool upgrading;
	struct span audit_key; /* empty: there is no audit log */
	uint64_t audit_record;
	uint64_t audit_lost;
	struct span audit_hash;
	bool vault_locked;
	struct span lock_salt; /* empty: it is not told */
	uint64_t lock_opslimit;
	uint64_t lock_memlimit; /* bytes */
};

struct caller {
	uint32_t uid;
	uint32_t gid;
	uint32_t pid;
	const uint32_t *groups;
	size_t group_count;
	struct span label;
	bool pidfd;
	bool privileged;
	struct span unit;
	struct span slice;
	struct span userunit;
	bool placed; /* those three are known */
	struct span listener;
	struct span token; /* the name of the one that it shows; may be empty */
	uint32_t token_fault;
	bool counts; /* the rest is told */
	uint64_t secrets;
	uint64_t bytes;
	uint64_t quota_count; /* 0: there is no limit; and all below */
	uint64_t quota_bytes;
	uint64_t quota_sessions;
	uint64_t quota_inflight;
	uint64_t quota_handshakes;
};

/* All about a token but the token. */
struct token_info {
	struct span name;
	uint32_t issuer; /* uid */
	int64_t created_ms;
	struct grants grants;
	uint64_t ttl_ms; /* left; 0: no end */
	uint32_t uses;   /* 0: not counted */
	uint32_t left;
	bool of_uid;
	uint32_t uid;
	struct span unit;
};

/* What policy says, and why. */
struct verdict {
	bool allowed;
	uint32_t cause;
	struct span file; /* of the line that decides; empty: it is none */
	uint32_t line;
	struct span section; /* that a file would have to have, and the line in it; may be empty */
	struct span rule;
	uint32_t token_fault; /* why a token does not let anybody do it; 0: that is not said */
};

/* What became of a name; as the wire has it. The last one is no event there. */
enum event_kind {
	EVENT_NONE,
	EVENT_SET,
	EVENT_REMOVE,
	EVENT_EXPIRE,
	EVENT_PURGE,
	EVENT_LOST, /* events are forgotten, or were never told */
};

enum body {
	BODY_NONE,
	BODY_VALUE,
	BODY_STORED,
	BODY_LISTING, /* the last answer to a list; each secret before it is a BODY_INFO */
	BODY_INFO,
	BODY_STATE,
	BODY_CALLER,
	BODY_PURGED,
	BODY_TAKEN,
	BODY_PART,
	BODY_RECORD,
	BODY_RESTORED,
	BODY_VERDICT,
	BODY_EVENT,
	BODY_MARK,
	BODY_ISSUED,
	BODY_TOKEN,
	BODY_WRAPPED,
};

struct reply {
	uint64_t id;
	int code;
	struct span detail;
	bool chunked;
	struct chunks chunks;
	struct span bytes; /* of those chunks; filled in by message_next_reply */
	enum body body;
	uint64_t version;   /* value, stored, event */
	uint64_t size;      /* value */
	const uint8_t *key; /* value, part, record, issued: 32 bytes on the workbench */
	bool more;          /* listing: ask again with `after` = next */
	struct span next;   /* listing */
	uint64_t secrets;   /* purged, restored */
	uint64_t due;       /* taken */
	uint64_t stream;    /* part */
	uint64_t segment;   /* part */
	struct span name;   /* restored: what is in the way; event */
	uint64_t number;    /* event, mark */
	bool lost;          /* mark: there were events that are not remembered any more */
	uint32_t change;    /* event: an enum event_kind, or what we do not know */
	uint32_t owner;     /* record: a uid */
	uint64_t left_out;  /* record, listing of an export: secrets that no bundle takes */
	struct info info;   /* info, record */
	/* By `body`: replies lie on the locked stack, which is small. */
	union {
		struct state state;
		struct caller caller;
		struct verdict verdict;
		struct token_info token; /* token; of it, wrapped has names, times and uses */
	};
};

/* A secret as it lies in a bundle, beside its chunks. */
struct bundled {
	struct info info;   /* of the lifetime only what a clock measures */
	uint32_t owner;     /* uid */
	const uint8_t *key; /* the data key: 32 bytes of secret memory */
};

/* The most that one takes when it is packed: what a frame's sealed part can hold. */
#define MESSAGE_BUNDLED_MAX 8192

/*
 * Packs one into `out`. Returns its bytes, or -ENOSPC. Reads one: 0; -EPROTO when it is none, or
 * says what no bundle does; -ENOBUFS when the bench is full.
 */
int message_write_bundled(uint8_t *out, size_t room, const struct bundled *bundled);
int message_read_bundled(struct bundled *bundled, struct span bytes, struct workbench *bench);

/* Bytes that the announced chunks take on the wire. */
uint64_t chunks_size(const struct chunks *chunks);

/* NULL when the tag may be stored, else what is wrong with it. */
const char *tag_fault(const struct tag *tag);

/* What an opened frame still holds. */
struct messages {
	struct span plain;  /* messages not read yet */
	struct span chunks; /* chunk bytes not claimed yet */
	unsigned read;
};

/*
 * Takes the next request off an opened frame. Returns 1, 0 at the end, or -EPROTO when the bytes
 * are no message, claim chunks that are not there, or leave some over. A request that is a message
 * but asks for something that cannot be carries `fault`. -ENOBUFS when the bench is full.
 */
int message_next_request(
	struct request *request, struct messages *messages, struct workbench *bench);

/* The same for the client's side. */
int message_next_reply(struct reply *reply, struct messages *messages, struct workbench *bench);

/*
 * Appends a message with its length prefix at out[*used], where `room` bytes are in all. Returns 0,
 * or -ENOSPC when it does not fit; nothing is written then.
 */
int message_append_request(uint8_t *out, size_t *used, size_t room, const struct request *request);
int message_append_reply(uint8_t *out, size_t *used, size_t room, const struct reply *reply);
