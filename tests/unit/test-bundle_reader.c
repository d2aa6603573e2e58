/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/bundle_reader.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/bundle_rig.h"
#include "tests/unit/claims.h"
#include "tests/unit/rig.h"

/* What a bundle is read by, in the library and in the daemon: all that was written, or nothing. */

static struct rig rig;

static void set_up(void)
{
	rig_init(&rig);
	bundle_draw();
	bundle_write();
}

/* -- reading it ---------------------------------------------------------------------------- */

/* What is given to a reader, and how. */
struct source {
	struct bundle_reader reader;
	struct bundle bundle;
	uint8_t key[ENCLAVE_KEY_SIZE];
	size_t at;
	size_t size;   /* of what there is */
	size_t step;   /* bytes at a time */
	size_t faulty; /* from here on nothing can be read; 0: no such place */
};

static ssize_t give(void *context, uint8_t *out, size_t room)
{
	struct source *source = context;
	size_t size = source->size - source->at;

	if (source->faulty > 0 && source->at >= source->faulty)
		return -EIO;
	size = size < source->step ? size : source->step;
	size = size < room ? size : room;
	memcpy(out, written + source->at, size);
	source->at += size;
	return (ssize_t)size;
}

static void run(void *context, void (*function)(void *), void *argument)
{
	(void)context;
	function(argument);
}

static void source_init(struct source *source, size_t size, size_t step)
{
	*source = (struct source){ .size = size, .step = step };
	source->reader = (struct bundle_reader){ .read = give,
		.run = run,
		.context = source,
		.bundle = &source->bundle,
		.key = source->key,
		.bench = &rig.bench };
}

static int unlock(struct source *source)
{
	struct bundle_reader *reader = &source->reader;
	uint8_t key[BUNDLE_KEY_SIZE];
	int r = bundle_reader_begin(reader);

	if (r == 0)
		r = bundle_head_open(&reader->head, key, private_key);
	return r == 0 ? bundle_resume(reader->bundle, &reader->head, key) : r;
}

/* Reads a value, and looks at it when `i` says which it is. */
static int read_value(struct bundle_reader *reader, size_t i)
{
	static uint8_t plain[ENCLAVE_CHUNK_PLAIN];
	struct chunks chunks;
	struct span bytes;
	size_t read = 0;
	int r;

	while ((r = bundle_reader_chunks(reader, &chunks, &bytes)) == 1) {
		for (uint32_t n = 0; i < SECRETS && n < chunks.count; n++) {
			bool last = n + 1 == chunks.count;
			size_t size = last ? chunks.last : ENCLAVE_CHUNK_SIZE;

			ck_assert_int_eq(
				enclave_open_chunk(plain,
					bytes.data + n * (size_t)ENCLAVE_CHUNK_SIZE, size,
					chunks.first + n, last && chunks.final, reader->key),
				0);
			ck_assert_mem_eq(plain, values[i] + read, size - ENCLAVE_TAG_SIZE);
			read += size - ENCLAVE_TAG_SIZE;
		}
	}
	ck_assert(r < 0 || i >= SECRETS || read == sizes[i]);
	return r;
}

/* All of it. Returns 0 when it is whole. */
static int read_all(struct source *source)
{
	struct bundled bundled;
	int r = unlock(source);

	while (r == 0 && (r = bundle_reader_next(&source->reader, &bundled)) == 1)
		r = read_value(&source->reader, SECRETS);
	bundle_reader_finish(&source->reader);
	ck_assert(r <= 0);
	return r;
}

START_TEST(all_comes_back_however_it_is_given)
{
	static const size_t steps[] = { 1, 13, 4096, sizeof(written) };
	struct source source;
	struct bundled bundled;

	for (size_t step = 0; step < sizeof(steps) / sizeof(steps[0]); step++) {
		source_init(&source, written_size, steps[step]);
		ck_assert_int_eq(unlock(&source), 0);
		for (size_t i = 0; i < SECRETS; i++) {
			ck_assert_int_eq(bundle_reader_next(&source.reader, &bundled), 1);
			ck_assert_uint_eq(bundled.info.version, i + 1);
			ck_assert_uint_eq(bundled.info.left.ttl_ms, 1000000 * i);
			ck_assert_uint_eq(bundled.owner, i + 7);
			ck_assert_ptr_eq(bundled.key, source.key);
			ck_assert_mem_eq(source.key, data_keys[i], ENCLAVE_KEY_SIZE);
			ck_assert_int_eq(read_value(&source.reader, i), 0);
		}
		ck_assert_int_eq(bundle_reader_next(&source.reader, &bundled), 0);
		bundle_reader_finish(&source.reader);
	}
}
END_TEST

START_TEST(what_is_cut_anywhere_is_no_bundle)
{
	struct source source;

	for (size_t size = 0; size < written_size; size += size < 600 ? 1 : 997) {
		source_init(&source, size, sizeof(written));
		ck_assert_int_eq(read_all(&source), -EBADMSG);
		ck_assert_str_eq(source.reader.fault, "the bundle ends in the midst");
	}
	source_init(&source, written_size - 1, sizeof(written));
	ck_assert_int_eq(read_all(&source), -EBADMSG);
	source_init(&source, written_size + 1, sizeof(written));
	ck_assert_int_eq(read_all(&source), -EBADMSG);
	ck_assert_str_eq(source.reader.fault, "there is something behind the bundle's end");
	source_init(&source, written_size, sizeof(written));
	ck_assert_int_eq(read_all(&source), 0);
}
END_TEST

START_TEST(no_byte_of_it_may_be_another)
{
	struct source source;

	for (size_t at = 0; at < written_size; at += at < 600 ? 1 : 503) {
		written[at] ^= 0x10;
		source_init(&source, written_size, sizeof(written));
		ck_assert_int_eq(read_all(&source), -EBADMSG);
		written[at] ^= 0x10;
	}
}
END_TEST

START_TEST(another_number_of_secrets_is_no_bundle)
{
	struct source source;

	bundle_write_head();
	bundle_write_secret(0);
	bundle_write_end(2);
	source_init(&source, written_size, sizeof(written));
	ck_assert_int_eq(read_all(&source), -EBADMSG);
	bundle_write_head();
	bundle_write_end(0);
	source_init(&source, written_size, sizeof(written));
	ck_assert_int_eq(read_all(&source), 0);
}
END_TEST

START_TEST(what_is_told_names_the_fault)
{
	struct source source;

	written[8]++;
	source_init(&source, written_size, sizeof(written));
	ck_assert_int_eq(read_all(&source), -EBADMSG);
	ck_assert_str_eq(source.reader.fault, "it is a bundle of another version");
	written[8]--;
	written[0]++;
	source_init(&source, written_size, sizeof(written));
	ck_assert_int_eq(read_all(&source), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(source.reader.fault, "it is no bundle"));
	written[0]--;
	written[written_size - 1] ^= 1;
	source_init(&source, written_size, sizeof(written));
	ck_assert_int_eq(read_all(&source), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(source.reader.fault, "a message does not open"));
}
END_TEST

START_TEST(a_fault_of_the_source_is_told_as_such)
{
	struct source source;

	source_init(&source, written_size, 1000);
	source.faulty = 2000;
	ck_assert_int_eq(read_all(&source), -EIO);
	ck_assert_ptr_null(source.reader.fault);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up, NULL);
	tcase_add_test(claims, all_comes_back_however_it_is_given);
	tcase_add_test(claims, what_is_cut_anywhere_is_no_bundle);
	tcase_add_test(claims, no_byte_of_it_may_be_another);
	tcase_add_test(claims, another_number_of_secrets_is_no_bundle);
	tcase_add_test(claims, what_is_told_names_the_fault);
	tcase_add_test(claims, a_fault_of_the_source_is_told_as_such);
	return claims_run(claims, "bundle_reader");
}
