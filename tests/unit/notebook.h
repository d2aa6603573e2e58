/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <check.h>
#include <string.h>

#include "common/memory/enclave.h"
#include "common/wire/frame.h"
#include "daemon/request/answers.h"

/* Answers written down instead of sent: what a session would have seen, copied. */
struct note_of_reply {
	uint64_t id;
	int code;
	enum body body;
	uint64_t version;
	uint64_t size;
	uint8_t key[32];
	bool chunked;
	struct chunks chunks;
	char name[300];
	uint64_t info_size;
	char detail[300];
	bool more;
	char next[300];
	uint64_t secrets;
	uint64_t number;
	uint32_t change;
	bool lost;
	struct state state;
	struct caller caller;
	struct verdict verdict; /* its texts are below */
	char file[300];
	char section[300];
	char rule[300];
	struct token_info token; /* its name is in `name` */
	uint8_t bytes[FRAME_CHUNKS_MAX];
	size_t bytes_size;
};

#define NOTEBOOK_MAX 128

struct notebook {
	struct answers answers;
	struct note_of_reply notes[NOTEBOOK_MAX];
	size_t count;
	size_t frames; /* of chunks that may still be taken */
};

static inline void notebook_text(char *out, size_t room, struct span text)
{
	ck_assert_uint_lt(text.size, room);
	if (text.size > 0)
		memcpy(out, text.data, text.size);
	out[text.size] = '\0';
}

static inline void notebook_body(struct note_of_reply *note, const struct reply *reply)
{
	if (reply->body == BODY_STATE)
		note->state = reply->state;
	if (reply->body == BODY_CALLER)
		note->caller = reply->caller;
	if (reply->body == BODY_VERDICT) {
		note->verdict = reply->verdict;
		notebook_text(note->file, sizeof(note->file), reply->verdict.file);
		notebook_text(note->section, sizeof(note->section), reply->verdict.section);
		notebook_text(note->rule, sizeof(note->rule), reply->verdict.rule);
	}
	if (reply->body == BODY_TOKEN || reply->body == BODY_WRAPPED) {
		note->token = reply->token;
		notebook_text(note->name, sizeof(note->name), reply->token.name);
	}
}

static inline int notebook_append(
	struct answers *answers, const struct reply *reply, const struct span *pieces, size_t count)
{
	struct notebook *book = (struct notebook *)answers;
	struct note_of_reply *note = &book->notes[book->count++];

	ck_assert_uint_le(book->count, NOTEBOOK_MAX);
	memset(note, 0, sizeof(*note));
	note->id = reply->id;
	note->code = reply->code;
	note->body = reply->body;
	note->version = reply->version;
	note->size = reply->size;
	if (reply->key)
		memcpy(note->key, reply->key, sizeof(note->key));
	note->chunked = reply->chunked;
	note->chunks = reply->chunks;
	notebook_text(note->name, sizeof(note->name),
		reply->body == BODY_EVENT ? reply->name : reply->info.name);
	note->number = reply->number;
	note->change = reply->change;
	note->lost = reply->lost;
	note->info_size = reply->info.size;
	notebook_text(note->detail, sizeof(note->detail), reply->detail);
	notebook_text(note->next, sizeof(note->next), reply->next);
	note->more = reply->more;
	note->secrets = reply->secrets;
	notebook_body(note, reply);
	for (size_t i = 0; i < count; i++) {
		memcpy(note->bytes + note->bytes_size, pieces[i].data, pieces[i].size);
		note->bytes_size += pieces[i].size;
	}
	if (book->frames > 0 && count > 0)
		book->frames--;
	return 0;
}

static inline bool notebook_ready(struct answers *answers)
{
	return ((struct notebook *)answers)->frames > 0;
}

static inline size_t notebook_room(struct answers *answers)
{
	struct notebook *book = (struct notebook *)answers;

	return NOTEBOOK_MAX - 1 - book->count > 8 ? 4096 : 0;
}

static inline void notebook_init(struct notebook *book)
{
	book->answers = (struct answers){ notebook_append, notebook_ready, notebook_room };
	book->count = 0;
	book->frames = SIZE_MAX;
}

/* The newest note. */
static inline struct note_of_reply *notebook_last(struct notebook *book)
{
	ck_assert_uint_gt(book->count, 0);
	return &book->notes[book->count - 1];
}
