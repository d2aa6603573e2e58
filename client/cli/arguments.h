/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <mgclient.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As many tags as a secret may have. */
#define ARGUMENTS_TAGS_MAX 16

/* As much as a token may allow. */
#define ARGUMENTS_ALLOW_MAX 16

enum encoding { ENCODING_NONE, ENCODING_BASE64, ENCODING_HEX };
enum newline { NEWLINE_AUTO, NEWLINE_YES, NEWLINE_NO };

/* A number that may be left out. */
struct given {
	bool given;
	uint64_t number;
};

/* A public key that may be left out. */
#define ARGUMENTS_KEY_SIZE 32
struct recipient {
	bool given;
	unsigned char key[ARGUMENTS_KEY_SIZE];
};

/* As many keys as an audit log may be held against. */
#define ARGUMENTS_AUDIT_KEYS_MAX 16

/*
 * Everything that a person can say on the command line. Which of it a command knows stands in its
 * table in commands.c. Texts belong to the caller of main, keys of tags to this struct.
 */
struct arguments {
	/* all commands */
	const char *socket;  /* NULL: what the library takes by itself */
	unsigned timeout_ms; /* 0: the library's own */
	struct given daemon_uid;
	int token_fd; /* where the token is read from that is shown; -1: not given */
	bool json;
	bool no_input;
	bool quiet;
	bool verbose;
	bool help;
	bool version;

	/* where a value comes from or goes to */
	int fd; /* -1: not given */
	const char *file;
	const char *out;
	bool once;
	bool trim;
	bool force;
	enum encoding encoding;
	enum newline newline;
	const char *field; /* a JSON pointer, NULL: the whole value */

	/* what is done with it */
	struct given generate; /* bytes */
	bool charset_given;
	enum mg_charset charset;
	bool create_only;
	struct given cas;
	struct given ttl;      /* milliseconds */
	struct given idle_ttl; /* the same */
	struct given max_reads;
	struct given bind_pid;
	bool session;
	bool freeze;
	struct given grace;     /* milliseconds */
	struct given wanted;    /* version of a get */
	unsigned wait_ms;       /* for a name to appear */
	unsigned wait_ready_ms; /* for the daemon to answer */
	bool if_exists;
	bool details;
	bool mine; /* of a purge: what is the caller's own */
	bool all;  /* the same: what is anybody's */
	struct mg_tag tags[ARGUMENTS_TAGS_MAX];
	size_t tag_count;

	/* backup and restore */
	struct recipient recipient;
	int passphrase_fd;   /* -1: not given */
	const char *key;     /* a file */
	int key_fd;          /* -1: not given */
	const char *new_key; /* a file to be made */
	const char *prefix;

	/* whom policy is asked about: selectors, one or several in each */
	const char *as[MG_AS_MAX];
	size_t as_count;

	/* a token that is issued */
	const char *allow[ARGUMENTS_ALLOW_MAX]; /* each with a colon */
	size_t allow_count;
	struct given uses;
	struct given bind_uid;
	const char *bind_unit;
	bool lookup; /* of a wrap: what it is, and no use of it */

	const char *reason; /* NULL: none is said */

	/* the audit log */
	struct recipient audit_keys[ARGUMENTS_AUDIT_KEYS_MAX];
	size_t audit_key_count;
	const char *since; /* a time as the log has it, or its beginning; or a duration */
	const char *name;  /* a pattern */
	bool denied;

	struct given since_number; /* of an event */

	/* what is neither an option nor the command */
	const char **operands;
	size_t operand_count;
	size_t dashes; /* so many of them stand before "--"; SIZE_MAX: it was not there */
};

void arguments_init(struct arguments *arguments);
void arguments_finish(struct arguments *arguments);

/*
 * Readers of one option each: `text` goes into the field that `target` points to, as its comment
 * says. They return NULL, or what is wrong with the text as a sentence part.
 */
typedef const char *arguments_reader(void *target, const char *text);

arguments_reader arguments_flag;      /* bool; no text */
arguments_reader arguments_text;      /* const char * */
arguments_reader arguments_duration;  /* unsigned, milliseconds */
arguments_reader arguments_lifetime;  /* struct given, milliseconds */
arguments_reader arguments_number;    /* struct given */
arguments_reader arguments_reads;     /* struct given */
arguments_reader arguments_pid;       /* struct given */
arguments_reader arguments_size;      /* struct given, bytes */
arguments_reader arguments_generate;  /* struct given, bytes; the text may be NULL */
arguments_reader arguments_uid;       /* struct given */
arguments_reader arguments_fd;        /* int */
arguments_reader arguments_pointer;   /* const char * */
arguments_reader arguments_charset;   /* struct arguments as a whole */
arguments_reader arguments_tag;       /* struct arguments as a whole */
arguments_reader arguments_as;        /* struct arguments as a whole */
arguments_reader arguments_allow;     /* struct arguments as a whole */
arguments_reader arguments_uses;      /* struct given */
arguments_reader arguments_encoding;  /* enum encoding */
arguments_reader arguments_newline;   /* enum newline */
arguments_reader arguments_recipient; /* struct recipient */
arguments_reader arguments_audit_key; /* struct arguments as a whole */
