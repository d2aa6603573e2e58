/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A bundle into a house that is empty: all of it or nothing, whatever is cut or changed, and no
 * deeper than the locked stack. The loader is included as source, so that each visit to the stack
 * is measured.
 */
#include <stddef.h>

#include "common/memory/locked_stack.h"

static void measured_call(struct locked_stack *stack, void (*function)(void *), void *argument);

#define locked_stack_call measured_call
#include "daemon/bundle_load.c"
#undef locked_stack_call

#include <check.h>
#include <sodium.h>

#include "daemon/vault/vault_inside.h"
#include "tests/unit/bundle_rig.h"
#include "tests/unit/claims.h"

#define SPARE 1024

static size_t deepest;
static struct daemon house;
static char folder[256];
static struct bundle_setting setting;
static struct config_fault fault;
static struct bundle_count count;

static void measured_call(struct locked_stack *stack, void (*function)(void *), void *argument)
{
	size_t depth;

	if (stack->busy || !locked_stack_switches()) {
		function(argument);
		return;
	}
	depth = locked_stack_measure(stack, function, argument);
	deepest = depth > deepest ? depth : deepest;
}

static void set_up(void)
{
	struct daemon_options options = { .max_value = WHOLE, .rekey_ms = 500, .own = geteuid() };
	const char *parent = getenv("TMPDIR");

	ck_assert_int_ge(sodium_init(), 0);
	ck_assert_int_eq(daemon_init(&house, &options), 0);
	snprintf(folder, sizeof(folder), "%s/memguardd-load-XXXXXX", parent ? parent : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(setting.file, sizeof(setting.file), "%s/bundle", folder);
	bundle_draw();
	bundle_write();
}

static void tear_down(void)
{
	unlink(setting.file);
	ck_assert_int_eq(rmdir(folder), 0);
	daemon_finish(&house);
}

static void put_file(size_t size)
{
	int fd = open(setting.file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, written, size), (ssize_t)size);
	ck_assert_int_eq(close(fd), 0);
}

static void put_key(const uint8_t *bytes, size_t size)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(write(ends[1], bytes, size), (ssize_t)size);
	ck_assert_int_eq(close(ends[1]), 0);
	setting.fd = ends[0];
}

/* Whether all of the bench is as it was before anything was taken. */
static bool bench_is_clean(void)
{
	return house.bench.used == 0 && sodium_is_zero(house.bench.base, house.bench.size) == 1;
}

static int load(size_t size)
{
	int fd;
	int r;

	put_file(size);
	put_key(private_key, sizeof(private_key));
	fd = setting.fd;
	memset(&fault, 0, sizeof(fault));
	r = bundle_load(&house, &setting, 1000, &count, &fault);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	ck_assert(bench_is_clean());
	ck_assert(!house.coffer.viewing);
	return r;
}

static void is_refused(size_t size, const char *word)
{
	ck_assert_int_eq(load(size), -EBADMSG);
	ck_assert_msg(strstr(fault.text, setting.file) != NULL && strstr(fault.text, word) != NULL,
		"'%s' without '%s'", fault.text, word);
	ck_assert_uint_eq(vault_count(house.vault), 0);
	while (vault_bytes(house.vault) > 0) {
		ck_assert_uint_eq(vault_expiry_ms(house.vault), 0);
		daemon_expire(&house);
	}
}

struct looking {
	const char *name;
	size_t i;
};

/* On the locked stack. */
static void look(void *argument)
{
	static uint8_t plain[ENCLAVE_CHUNK_PLAIN];
	struct looking *looking = argument;
	size_t i = looking->i;
	struct record *record;
	struct span chunk;
	uint8_t key[ENCLAVE_KEY_SIZE];

	ck_assert_int_eq(vault_find(house.vault, span_text(looking->name), &record), 0);
	ck_assert_uint_eq(record_owner(record), i + 7);
	ck_assert_uint_eq(record_size(record), sizes[i]);
	ck_assert_int_eq(record_key(house.vault, record, key), 0);
	ck_assert_mem_eq(key, data_keys[i], sizeof(key));
	for (uint64_t n = 0; n < record_chunks(record); n++) {
		chunk = record_chunk(house.vault, record, n);
		ck_assert_int_eq(enclave_open_chunk(plain, chunk.data, chunk.size, n,
					 n + 1 == record_chunks(record), key),
			0);
		ck_assert_mem_eq(
			plain, values[i] + n * ENCLAVE_CHUNK_PLAIN, chunk.size - ENCLAVE_TAG_SIZE);
	}
}

START_TEST(all_is_there)
{
	static const char *const names[SECRETS] = { "n0", "n1", "n2" };

	ck_assert_msg(load(written_size) == 0, "%s", fault.text);
	ck_assert_uint_eq(count.secrets, SECRETS);
	ck_assert_uint_eq(count.bytes, sizes[0] + sizes[1] + sizes[2]);
	ck_assert_uint_eq(vault_count(house.vault), SECRETS);
	for (size_t i = 0; i < SECRETS; i++) {
		struct looking looking = { names[i], i };

		(locked_stack_call)(&house.stack, look, &looking);
	}
}
END_TEST

START_TEST(what_is_cut_or_changed_leaves_nothing)
{
	for (size_t size = 0; size < written_size; size += size < 400 ? 37 : 9973)
		is_refused(size, "the bundle ends in the midst");
	for (size_t at = 0; at < written_size; at += at < 400 ? 23 : 7919) {
		written[at] ^= 4;
		is_refused(written_size, ": ");
		written[at] ^= 4;
	}
	/* The house is as good as new. */
	ck_assert_int_eq(load(written_size), 0);
}
END_TEST

START_TEST(a_value_has_the_size_that_is_allowed)
{
	house.max_value = WHOLE - 1;
	is_refused(written_size, "secret 3 has 81921 bytes, more than max-value (81920)");
	house.max_value = WHOLE;
	ck_assert_int_eq(load(written_size), 0);
}
END_TEST

START_TEST(the_end_is_heard_in_the_midst)
{
	sigset_t set = signals_set();

	ck_assert(!signals_end_waits());
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGHUP);
	raise(SIGUSR2);
	ck_assert(!signals_end_waits());
	raise(SIGTERM);
	ck_assert(signals_end_waits());
	ck_assert_int_eq(load(written_size), -EINTR);
	ck_assert_uint_eq(vault_count(house.vault), 0);
}
END_TEST

START_TEST(the_largest_outside_leaves_room_on_the_stack)
{
	static char keys[MESSAGE_TAGS_MAX][MESSAGE_TAG_KEY_MAX];
	static char text[MESSAGE_TAG_VALUE_MAX];
	struct tag tags[MESSAGE_TAGS_MAX];

	memset(text, 't', sizeof(text));
	for (size_t i = 0; i < MESSAGE_TAGS_MAX; i++) {
		memset(keys[i], 'a' + (int)i, MESSAGE_TAG_KEY_MAX);
		tags[i] = (struct tag){ span_of(keys[i], MESSAGE_TAG_KEY_MAX),
			span_of(text, MESSAGE_TAG_VALUE_MAX) };
	}
	bundle_tags = (struct tags){ tags, MESSAGE_TAGS_MAX };
	bundle_write();
	deepest = 0;
	ck_assert_msg(load(written_size) == 0, "%s", fault.text);
	printf("%5zu bytes of stack of %zu\n", deepest, locked_stack_size());
	ck_assert(deepest > 0 || !locked_stack_switches());
	ck_assert_uint_le(deepest + SPARE, locked_stack_size());
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, all_is_there);
	tcase_add_test(claims, what_is_cut_or_changed_leaves_nothing);
	tcase_add_test(claims, a_value_has_the_size_that_is_allowed);
	tcase_add_test(claims, the_end_is_heard_in_the_midst);
	tcase_add_test(claims, the_largest_outside_leaves_room_on_the_stack);
	return claims_run(claims, "bundle_load");
}
