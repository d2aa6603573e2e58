/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/flow.h"
#include "tests/unit/request_rig.h"

/* Requests of streams that wait, as a session looks at them again. */

#define PARKED 60
#define CHUNKS (4 * (PARKED + 1))

static uint8_t *chunks;

static void seal_chunks(void)
{
	chunks = malloc(CHUNKS * ENCLAVE_CHUNK_SIZE);
	ck_assert_ptr_nonnull(chunks);
	for (size_t i = 0; i < CHUNKS; i++)
		enclave_seal_chunk(chunks + i * ENCLAVE_CHUNK_SIZE, value, ENCLAVE_CHUNK_PLAIN, i,
			i + 1 == CHUNKS, key);
}

/* Four chunks of the one segment. */
static struct request writing(uint64_t first)
{
	return (struct request){ .verb = VERB_STREAM_WRITE,
		.numbered = true,
		.name = span_text("~/s"),
		.key = key,
		.chunked = true,
		.chunks = { .first = first,
			.count = 4,
			.last = ENCLAVE_CHUNK_SIZE,
			.final = first + 4 == CHUNKS },
		.bytes = span_of(
			chunks + first * ENCLAVE_CHUNK_SIZE, (size_t)4 * ENCLAVE_CHUNK_SIZE) };
}

START_TEST(writes_that_waited_are_served_in_turns)
{
	size_t turns = 0;

	seal_chunks();
	house.max_value = ENCLAVE_CHUNK_SIZE;
	for (uint64_t first = 0; first < CHUNKS; first += 4)
		ask(&user, writing(first));
	ck_assert_uint_eq(book.count, 1);
	ck_assert(!flows_due(&transfers));
	house.max_value = MESSAGE_VALUE_MAX;
	house.turn_ns = 0;
	do {
		ck_assert_int_eq(flows_go_on(&transfers, &house, &book.answers), 0);
		/* What a turn's time does not suffice for is due, not forgotten. */
		ck_assert_int_eq(flows_due(&transfers), book.count <= PARKED);
		turns++;
	} while (flows_due(&transfers));
	ck_assert_uint_gt(turns, 1);
	for (size_t i = 0; i < book.count; i++) {
		ck_assert_int_eq(book.notes[i].code, 0);
		ck_assert_uint_eq(book.notes[i].id, i + 1);
	}
	ck_assert_ptr_null(transfers.flows);
	free(chunks);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("request_stream");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, writes_that_waited_are_served_in_turns);
	return claims_run(claims, "streams that are waited for");
}
