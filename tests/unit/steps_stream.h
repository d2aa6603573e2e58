/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/unit/steps_rig.h"

/* A stream, and what is done to it. */

static struct kept *going; /* the value that is about to go somewhere */
static struct stream *stream;
static const uint8_t number[MESSAGE_NUMBER_SIZE] = { 9 };
static const int writer;

static inline void begin_segment(void)
{
	uint8_t other[MESSAGE_NUMBER_SIZE] = { (uint8_t)(10 + stream->segments) };

	ck_assert_int_eq(
		stream_begin(stream, stream->segments ? other : number, going->key, &writer), 0);
}

static inline void make_stream(void)
{
	ck_assert_int_eq(stream_make(vault, span_text("s"), 1000, &stream), 0);
	begin_segment();
}

static inline void prepare_stream(void)
{
	store_known("b", 100);
	going = draw_known(4 * ENCLAVE_CHUNK_PLAIN - 16000);
}

static inline void append_to_stream(void)
{
	uint64_t chunk = stream_due(stream);

	ck_assert_int_eq(stream_append(stream, chunk_of(going, chunk), chunk + 1 == going->chunks,
				 going->key),
		0);
}

static inline void prepare_stream_of(uint64_t chunks)
{
	prepare_stream();
	make_stream();
	for (uint64_t i = 0; i < chunks; i++)
		append_to_stream();
}

static inline void prepare_stream_of_2(void)
{
	prepare_stream_of(2);
}

static inline void prepare_stream_of_3(void)
{
	prepare_stream_of(3);
}

static inline void acknowledge_next(void)
{
	stream_acknowledge(stream,
		&(struct stream_place){ .stream = stream->id,
			.segment = stream->first->number,
			.next = stream->first->first + 1 });
}

/* The reader has had all there is, and a mark says so. */
static inline void prepare_marked(void)
{
	prepare_stream_of(1);
	acknowledge_next();
}

static inline void prepare_marked_and_more(void)
{
	prepare_marked();
	append_to_stream();
}

static inline void prepare_last_of_stream(void)
{
	prepare_stream_of(4);
	for (int i = 0; i < 3; i++)
		acknowledge_next();
}

static inline void prepare_whole_stream(void)
{
	prepare_stream_of(4);
}

/* Up to the end, that is one step. */
static inline void acknowledge_all(void)
{
	stream_acknowledge(
		stream, &(struct stream_place){ .stream = stream->id, .segment = 1, .next = 4 });
}

static inline void prepare_second_segment(void)
{
	prepare_stream_of(4);
	going = draw_known(2 * ENCLAVE_CHUNK_PLAIN);
}

static inline void prepare_last_of_first_segment(void)
{
	prepare_last_of_stream();
	going = draw_known(2 * ENCLAVE_CHUNK_PLAIN);
	begin_segment();
	append_to_stream();
}

static inline void prepare_empty_second_segment(void)
{
	prepare_second_segment();
	begin_segment();
}

static inline void leave_stream(void)
{
	stream_leave(stream, &writer, true);
}

static inline void remove_stream(void)
{
	ck_assert_int_eq(remove_name("s"), 0);
}

/* One that has not begun is none for the next process, and nothing was consumed any more. */
static inline void make_stream_only(void)
{
	ck_assert_int_eq(stream_make(vault, span_text("s"), 1000, &stream), 0);
}
