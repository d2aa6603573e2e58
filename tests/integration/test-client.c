/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/bare.h"
#include "tests/unit/claims.h"

/* libmgclient against a real daemon. What a hostile or absent one does: test-client-trouble.c. */

#define LARGE ((size_t)1 << 20)

static struct bare_daemon house;
static struct mg_client *client;
static uint8_t *large;

static void set_up(void)
{
	struct mg_options options = { .endpoint = house.path };

	bare_start(&house, NULL);
	ck_assert_int_eq(mg_open(&client, &options), MG_OK);
	large = malloc(LARGE);
	ck_assert_ptr_nonnull(large);
	randombytes_buf(large, LARGE);
}

static void tear_down(void)
{
	mg_close(client);
	free(large);
	ck_assert_int_eq(bare_stop(&house), 0);
}

static void must(int status)
{
	if (status != MG_OK)
		ck_abort_msg("%s: %s", mg_status_name(status), mg_last_error());
}

static void put(const char *name, const void *value, size_t size)
{
	must(mg_set(client, name, value, size, NULL, NULL));
}

static void holds(const char *name, const void *value, size_t size)
{
	MG_AUTO_SECRET struct mg_secret *secret = NULL;

	must(mg_get(client, name, NULL, &secret));
	ck_assert_uint_eq(mg_secret_size(secret), size);
	ck_assert(mg_secret_equal(secret, value, size));
	ck_assert_ptr_null(mg_secret_writable(secret));
}

/* -- whole and in pieces ------------------------------------------------------------------- */

struct flow {
	const uint8_t *bytes;
	size_t size;
	size_t at;
	size_t step; /* at most so many bytes at once */
	int verdict; /* what the callback answers at byte `fatal` */
	size_t fatal;
	uint64_t version;
};

static ssize_t pour(void *context, void *buffer, size_t capacity)
{
	struct flow *flow = context;
	size_t left = flow->size - flow->at;
	size_t size = left < capacity ? left : capacity;

	if (flow->verdict != 0 && flow->at >= flow->fatal)
		return flow->verdict;
	if (flow->step > 0 && size > flow->step)
		size = flow->step;
	memcpy(buffer, flow->bytes + flow->at, size);
	flow->at += size;
	return (ssize_t)size;
}

static int drink(void *context, const struct mg_info *info, const void *bytes, size_t size)
{
	struct flow *flow = context;

	ck_assert_uint_eq(info->size, flow->size);
	ck_assert_uint_le(size, 16384);
	ck_assert_uint_le(flow->at + size, flow->size);
	ck_assert_mem_eq(flow->bytes + flow->at, bytes, size);
	flow->at += size;
	flow->version = info->version;
	return flow->verdict != 0 && flow->at >= flow->fatal ? flow->verdict : 0;
}

START_TEST(every_size_comes_back_whole_and_in_pieces)
{
	static const size_t sizes[] = { 1, 2, 16383, 16384, 16385, 32768, 65535, 65536, 65537,
		131072, 200000, LARGE };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct flow in = { .bytes = large, .size = sizes[i] };
		struct flow out = in;

		put("whole", large, sizes[i]);
		holds("whole", large, sizes[i]);
		must(mg_set_from(client, "pieces", pour, &in, NULL, NULL));
		holds("pieces", large, sizes[i]);
		must(mg_get_each(client, "whole", NULL, drink, &out));
		ck_assert_uint_eq(out.at, sizes[i]);
		ck_assert_uint_eq(out.version, i + 1);
	}
}
END_TEST

START_TEST(a_source_may_give_single_bytes)
{
	struct flow in = { .bytes = large, .size = 16386, .step = 1 };

	must(mg_set_from(client, "slow", pour, &in, NULL, NULL));
	holds("slow", large, 16386);
}
END_TEST

START_TEST(a_source_that_gives_up_stores_nothing)
{
	static const size_t places[] = { 0, 1, 16384, 70000, 300000 };

	put("kept", "old", 3);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct flow in = { .bytes = large,
			.size = LARGE,
			.step = 1000,
			.verdict = -1,
			.fatal = places[i] };

		ck_assert_int_eq(mg_set_from(client, "kept", pour, &in, NULL, NULL), MG_INVALID);
		holds("kept", "old", 3);
	}
}
END_TEST

static ssize_t overflow(void *context, void *buffer, size_t capacity)
{
	(void)context;
	(void)buffer;
	return (ssize_t)capacity + 1;
}

START_TEST(a_source_that_lies_about_its_bytes_is_refused)
{
	ck_assert_int_eq(mg_set_from(client, "x", overflow, NULL, NULL, NULL), MG_INVALID);
	must(mg_ping(client));
}
END_TEST

START_TEST(nothing_is_no_value)
{
	struct flow in = { .bytes = large };

	ck_assert_int_eq(mg_set(client, "empty", "", 0, NULL, NULL), MG_INVALID);
	ck_assert_int_eq(mg_set(client, "empty", NULL, 5, NULL, NULL), MG_INVALID);
	ck_assert_int_eq(mg_set_from(client, "empty", pour, &in, NULL, NULL), MG_INVALID);
	ck_assert_int_eq(mg_generate(client, "empty", 0, MG_HEX, NULL, NULL), MG_INVALID);
	ck_assert_int_eq(mg_stat(client, "empty", NULL, NULL), MG_NOT_FOUND);
}
END_TEST

START_TEST(a_sink_that_has_enough_ends_the_fetch_with_its_own_word)
{
	struct flow out = { .bytes = large, .size = LARGE, .verdict = 42, .fatal = 100000 };

	put("large", large, LARGE);
	ck_assert_int_eq(mg_get_each(client, "large", NULL, drink, &out), 42);
	ck_assert_uint_lt(out.at, LARGE);
	out.at = 0;
	out.verdict = -5;
	ck_assert_int_eq(mg_get_each(client, "large", NULL, drink, &out), MG_INTERNAL);
	holds("large", large, LARGE);
}
END_TEST

START_TEST(a_value_over_the_limit_is_refused_and_nothing_else)
{
	uint8_t *larger = calloc(5, LARGE);
	struct flow in = { .bytes = larger, .size = 5 * LARGE };

	ck_assert_ptr_nonnull(larger);
	put("fits", large, LARGE);
	ck_assert_int_eq(mg_set(client, "fits", larger, 5 * LARGE, NULL, NULL), MG_LIMIT);
	ck_assert_int_eq(mg_set(client, "fits", larger, LARGE + 1, NULL, NULL), MG_LIMIT);
	ck_assert_int_eq(mg_set_from(client, "fits", pour, &in, NULL, NULL), MG_LIMIT);
	ck_assert_int_eq(mg_generate(client, "fits", 4097, MG_HEX, NULL, NULL), MG_LIMIT);
	/* What no daemon stores is not even sealed. */
	ck_assert_int_eq(mg_set(client, "fits", larger, SIZE_MAX, NULL, NULL), MG_LIMIT);
	holds("fits", large, LARGE);
	free(larger);
}
END_TEST

/* -- conditions ---------------------------------------------------------------------------- */

START_TEST(versions_count_and_conditions_hold)
{
	struct mg_set_options first = { .create_only = true };
	struct mg_set_options third = { .compare = true, .version = 2 };
	struct mg_set_options absent = { .compare = true, .version = 0 };
	uint64_t version = 99;

	must(mg_set(client, "v", "1", 1, &first, &version));
	ck_assert_uint_eq(version, 1);
	ck_assert_int_eq(mg_set(client, "v", "2", 1, &first, &version), MG_CONFLICT);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "exists already: version 1"));
	ck_assert_uint_eq(version, 1);
	must(mg_set(client, "v", "2", 1, NULL, &version));
	ck_assert_uint_eq(version, 2);
	must(mg_set(client, "v", "3", 1, &third, &version));
	ck_assert_uint_eq(version, 3);
	ck_assert_int_eq(mg_set(client, "v", "4", 1, &third, NULL), MG_CONFLICT);
	ck_assert_int_eq(mg_set(client, "v", "4", 1, &absent, NULL), MG_CONFLICT);
	ck_assert_int_eq(mg_remove(client, "v", &third), MG_CONFLICT);
	holds("v", "3", 1);
	third.version = 3;
	must(mg_remove(client, "v", &third));
	ck_assert_int_eq(mg_remove(client, "v", NULL), MG_NOT_FOUND);
	must(mg_set(client, "w", "1", 1, &absent, NULL));
}
END_TEST

START_TEST(a_version_that_is_not_held_is_not_found)
{
	struct mg_get_options second = { .version = 2 };
	MG_AUTO_SECRET struct mg_secret *secret = NULL;

	put("v", "1", 1);
	ck_assert_int_eq(mg_get(client, "v", &second, &secret), MG_NOT_FOUND);
	put("v", "2", 1);
	must(mg_get(client, "v", &second, &secret));
	ck_assert(mg_secret_equal(secret, "2", 1));
}
END_TEST

START_TEST(generated_values_have_their_characters)
{
	static const char *const alphabets[] = {
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
		"0123456789abcdef",
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	};

	for (int set = MG_ALNUM; set <= MG_BYTES; set++) {
		bool seen[256] = { false };
		size_t different = 0;

		for (int part = 0; part < 5; part++) {
			MG_AUTO_SECRET struct mg_secret *secret = NULL;

			must(mg_generate(client, "g", 4096, (enum mg_charset)set, NULL, NULL));
			must(mg_get(client, "g", NULL, &secret));
			ck_assert_uint_eq(mg_secret_size(secret), 4096);
			for (size_t i = 0; i < 4096; i++) {
				uint8_t byte = ((const uint8_t *)mg_secret_data(secret))[i];

				different += !seen[byte];
				seen[byte] = true;
				ck_assert(
					set == MG_BYTES || (byte && strchr(alphabets[set], byte)));
			}
		}
		ck_assert_uint_eq(different, set == MG_BYTES ? 256 : strlen(alphabets[set]));
	}
	ck_assert_int_eq(mg_generate(client, "g", 1, (enum mg_charset)4, NULL, NULL), MG_INVALID);
}
END_TEST

/* -- names, tags, lists -------------------------------------------------------------------- */

START_TEST(bad_names_and_tags_are_named)
{
	char longest[257];
	struct mg_tag tags[17];
	struct mg_set_options options = { .tags = tags, .tag_count = 17 };
	MG_AUTO_SECRET struct mg_secret *secret = NULL;

	memset(longest, 'n', sizeof(longest));
	longest[256] = '\0';
	ck_assert_int_eq(mg_set(client, "", "v", 1, NULL, NULL), MG_INVALID);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "the name is empty"));
	ck_assert_int_eq(mg_set(client, longest, "v", 1, NULL, NULL), MG_INVALID);
	ck_assert_int_eq(mg_get(client, "a//b", NULL, &secret), MG_INVALID);
	ck_assert_int_eq(mg_get(client, "a/../b", NULL, &secret), MG_INVALID);
	ck_assert_int_eq(mg_stat(client, "a\x80", NULL, NULL), MG_INVALID);
	ck_assert_int_eq(mg_remove(client, NULL, NULL), MG_INVALID);
	ck_assert_int_eq(mg_list(client, "a//", NULL, NULL, NULL), MG_INVALID);
	longest[255] = '\0';
	put(longest, "v", 1);
	holds(longest, "v", 1);
	for (size_t i = 0; i < 17; i++)
		tags[i] = (struct mg_tag){ .key = "k", .value = "v" };
	ck_assert_int_eq(mg_set(client, "t", "v", 1, &options, NULL), MG_INVALID);
	options.tag_count = 2;
	ck_assert_int_eq(mg_set(client, "t", "v", 1, &options, NULL), MG_INVALID);
	options.tag_count = 1;
	tags[0].key = "a=b";
	ck_assert_int_eq(mg_set(client, "t", "v", 1, &options, NULL), MG_INVALID);
	tags[0].key = NULL;
	ck_assert_int_eq(mg_set(client, "t", "v", 1, &options, NULL), MG_INVALID);
	ck_assert_int_eq(mg_stat(client, "t", NULL, NULL), MG_NOT_FOUND);
}
END_TEST

struct seen {
	size_t count;
	char last[300];
	const char *tag; /* wanted of the first tag; NULL: none */
	uint64_t version;
	uint64_t size;
	int verdict;
};

static int see(void *context, const struct mg_info *info)
{
	struct seen *seen = context;

	ck_assert_int_lt(strcmp(seen->last, info->name), 0);
	snprintf(seen->last, sizeof(seen->last), "%s", info->name);
	if (seen->tag) {
		ck_assert_uint_eq(info->tag_count, 1);
		ck_assert_str_eq(info->tags[0].key, "k");
		ck_assert_str_eq(info->tags[0].value, seen->tag);
	}
	seen->version = info->version;
	seen->size = info->size;
	seen->count++;
	return seen->verdict;
}

START_TEST(a_stat_tells_all_but_the_value)
{
	struct mg_tag tag = { .key = "k", .value = "" };
	struct mg_set_options options = { .tags = &tag, .tag_count = 1 };
	struct seen seen = { .tag = "" };

	must(mg_set(client, "s", large, 20000, &options, NULL));
	must(mg_stat(client, "s", see, &seen));
	ck_assert_uint_eq(seen.count, 1);
	ck_assert_str_eq(seen.last, "s");
	ck_assert_uint_eq(seen.version, 1);
	ck_assert_uint_eq(seen.size, 20000);
	seen = (struct seen){ .verdict = 42 };
	ck_assert_int_eq(mg_stat(client, "s", see, &seen), 42);
}
END_TEST

START_TEST(a_list_is_whole_sorted_and_filtered)
{
	struct mg_tag tag = { .key = "k", .value = "odd" };
	struct mg_list_options odd = { .details = true, .tags = &tag, .tag_count = 1 };
	struct seen seen = { 0 };
	char name[64];

	for (int i = 0; i < 700; i++) {
		struct mg_set_options options = { .tags = &tag, .tag_count = (size_t)(i % 2) };

		snprintf(name, sizeof(name), "list/a-rather-long-name-%d", i);
		must(mg_set(client, name, "v", 1, &options, NULL));
	}
	put("~/own", "v", 1);
	must(mg_list(client, "list/", NULL, see, &seen));
	ck_assert_uint_eq(seen.count, 700);
	seen = (struct seen){ .tag = "odd" };
	must(mg_list(client, "list/", &odd, see, &seen));
	ck_assert_uint_eq(seen.count, 350);
	seen = (struct seen){ 0 };
	must(mg_list(client, NULL, NULL, see, &seen));
	ck_assert_uint_eq(seen.count, 701);
	ck_assert_str_eq(seen.last, "~/own");
	seen = (struct seen){ 0 };
	must(mg_list(client, "list/a-rather-long-name-12", NULL, see, &seen));
	ck_assert_uint_eq(seen.count, 11);
	seen = (struct seen){ .verdict = 9 };
	ck_assert_int_eq(mg_list(client, "", NULL, see, &seen), 9);
	ck_assert_uint_eq(seen.count, 1);
	seen = (struct seen){ 0 };
	must(mg_list(client, "nothing/", NULL, see, &seen));
	ck_assert_uint_eq(seen.count, 0);
}
END_TEST

/* -- waiting ------------------------------------------------------------------------------- */

static void *store_later(void *argument)
{
	struct mg_options options = { .endpoint = house.path };
	MG_AUTO_CLIENT struct mg_client *other = NULL;

	(void)argument;
	usleep(100000);
	if (mg_open(&other, &options) == MG_OK)
		(void)mg_set(other, "late", "v", 1, NULL, NULL);
	return NULL;
}

START_TEST(a_value_may_be_kept_closed)
{
	static const size_t sizes[] = { 1, 16384, 16385, 5 * 16384 };
	MG_AUTO_ENCLAVE struct mg_enclave *enclave = NULL;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		must(mg_set(client, "closed", large, sizes[i], NULL, NULL));
		must(mg_get_enclave(client, "closed", NULL, &enclave));
		ck_assert_uint_eq(mg_enclave_size(enclave), sizes[i]);
		/* It is the service's own now, whatever becomes of the daemon's. */
		must(mg_remove(client, "closed", NULL));
		for (int twice = 0; twice < 2; twice++) {
			MG_AUTO_SECRET struct mg_secret *secret = NULL;

			must(mg_enclave_open(enclave, &secret, MG_MEMORY_PREFER_LOCK));
			ck_assert(mg_secret_equal(secret, large, sizes[i]));
		}
		mg_enclave_cleanup(&enclave);
	}
	enclave = (struct mg_enclave *)(void *)&enclave;
	ck_assert_int_eq(mg_get_enclave(client, "closed", NULL, &enclave), MG_NOT_FOUND);
	ck_assert_ptr_null(enclave);
	ck_assert_int_eq(mg_get_enclave(client, "a//b", NULL, &enclave), MG_INVALID);
}
END_TEST

START_TEST(a_get_waits_for_a_name_to_appear)
{
	struct mg_get_options briefly = { .wait_ms = 50 };
	struct mg_get_options patiently = { .wait_ms = 20000 };
	MG_AUTO_SECRET struct mg_secret *secret = NULL;
	pthread_t thread;

	ck_assert_int_eq(mg_get(client, "late", &briefly, &secret), MG_TIMEOUT);
	ck_assert_ptr_null(secret);
	ck_assert_int_eq(pthread_create(&thread, NULL, store_later, NULL), 0);
	must(mg_get(client, "late", &patiently, &secret));
	ck_assert(mg_secret_equal(secret, "v", 1));
	pthread_join(thread, NULL);
}
END_TEST

/* -- the host ------------------------------------------------------------------------------ */

static int call_again(void *context, const struct mg_info *info)
{
	(void)info;
	*(int *)context = mg_ping(client);
	return 0;
}

START_TEST(a_callback_that_calls_its_own_handle_is_told)
{
	int status = -1;

	put("x", "v", 1);
	must(mg_stat(client, "x", call_again, &status));
	ck_assert_int_eq(status, MG_INVALID);
	must(mg_ping(client));
}
END_TEST

static void *churn(void *argument)
{
	const char *name = argument;
	size_t failed = 0;

	for (size_t i = 0; i < 150; i++) {
		MG_AUTO_SECRET struct mg_secret *secret = NULL;
		size_t size = 1 + i * 37 % 30000;

		failed += mg_set(client, name, large, size, NULL, NULL) != MG_OK;
		failed += mg_get(client, name, NULL, &secret) != MG_OK;
		failed += !mg_secret_equal(secret, large, size);
		failed += mg_remove(client, name, NULL) != MG_OK;
		failed += mg_get(client, name, NULL, &(struct mg_secret *){ NULL }) != MG_NOT_FOUND;
		failed += strcmp(mg_last_error(), "no such secret") != 0;
	}
	return (void *)failed;
}

START_TEST(threads_share_a_handle)
{
	static char names[6][8];
	pthread_t threads[6];

	for (int i = 0; i < 6; i++) {
		snprintf(names[i], sizeof(names[i]), "t%d", i);
		ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, names[i]), 0);
	}
	for (int i = 0; i < 6; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
}
END_TEST

static void *wait_in_vain(void *argument)
{
	struct mg_get_options options = { .wait_ms = 1500 };
	struct mg_secret *secret;

	(void)argument;
	return mg_get(client, "never", &options, &secret) == MG_TIMEOUT ? NULL : client;
}

START_TEST(a_thread_waits_for_anothers_call_no_longer_than_its_time_limit)
{
	const char *sanitized = getenv("SANITIZED");
	pthread_t thread;
	void *failed;

	if (sanitized && strcmp(sanitized, "thread") == 0) {
		puts("SKIP: a_thread_waits_for_anothers_call_no_longer_than_its_time_limit: "
		     "the sanitizer does not see a timed lock");
		return;
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, wait_in_vain, NULL), 0);
	usleep(300000);
	mg_set_timeout(client, 100);
	ck_assert_int_eq(mg_ping(client), MG_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "another thread"));
	pthread_join(thread, &failed);
	ck_assert_ptr_null(failed);
	mg_set_timeout(client, 0);
	must(mg_ping(client));
}
END_TEST

START_TEST(a_child_cannot_use_its_parents_handle)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		bool told = mg_ping(client) == MG_INVALID && strstr(mg_last_error(), "fork");

		mg_close(client);
		_exit(told ? 7 : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	must(mg_ping(client));
}
END_TEST

static size_t descriptors(void)
{
	size_t count = 0;

	for (int fd = 0; fd < 1000; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static volatile sig_atomic_t alarms;

static void count_alarm(int signal_number)
{
	char deep[4096]; /* more than a locked stack could spare */

	memset(deep, signal_number, sizeof(deep));
	alarms += deep[100] == signal_number;
}

START_TEST(the_host_is_left_as_it_was)
{
	struct mg_options options = { .endpoint = house.path };
	size_t before = descriptors(), locked = bare_locked(getpid()), held;
	struct mg_client *other;
	struct rlimit core, core_after;
	sigset_t mask, mask_after;
	int dumpable = prctl(PR_GET_DUMPABLE);

	getrlimit(RLIMIT_CORE, &core);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	must(mg_open(&other, &options));
	must(mg_set(other, "h", large, 100000, NULL, NULL));
	held = bare_locked(getpid()) - locked;
	if (!(getenv("SANITIZED") && *getenv("SANITIZED")))
		ck_assert_uint_eq(held, 40960);
	mg_close(other);
	ck_assert_uint_eq(descriptors(), before);
	ck_assert_uint_eq(bare_locked(getpid()), locked);
	getrlimit(RLIMIT_CORE, &core_after);
	sigprocmask(SIG_SETMASK, NULL, &mask_after);
	ck_assert_mem_eq(&core, &core_after, sizeof(core));
	ck_assert_mem_eq(&mask, &mask_after, sizeof(mask));
	ck_assert_int_eq(prctl(PR_GET_DUMPABLE), dumpable);
}
END_TEST

START_TEST(signals_of_the_host_do_not_disturb_a_call)
{
	struct sigaction action = { .sa_handler = count_alarm };
	struct itimerval often = { { 0, 200 }, { 0, 200 } };
	struct itimerval never = { { 0, 0 }, { 0, 0 } };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 300; i++) {
		put("s", large, 50000);
		holds("s", large, 50000);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	ck_assert_int_gt(alarms, 0);
}
END_TEST

/* Root with CAP_IPC_LOCK is held to no limit: "nobody" is. */
static void become_limited(void)
{
	struct rlimit little = { 128 * 1024, 128 * 1024 };

	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &little), 0);
	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 0), 0);
}

START_TEST(what_does_not_fit_locked_memory_comes_in_pieces)
{
	static const char *const open_to_all[] = { "--socket-mode", "0666", NULL };
	struct bare_daemon open_house;
	struct mg_options options = { .endpoint = open_house.path,
		.memory = _i == 0 ? MG_MEMORY_PREFER_LOCK : MG_MEMORY_REQUIRE_LOCK };
	struct flow out = { .bytes = large, .size = 500000 };
	MG_AUTO_CLIENT struct mg_client *narrow = NULL;
	MG_AUTO_SECRET struct mg_secret *secret = NULL;
	uid_t before = geteuid();

	if (getenv("SANITIZED") && *getenv("SANITIZED")) {
		puts("SKIP: what_does_not_fit_locked_memory_comes_in_pieces: mlock is not real "
		     "under the sanitizers");
		return;
	}
	bare_start(&open_house, open_to_all);
	ck_assert_int_eq(chmod(open_house.folder, 0755), 0);
	become_limited();
	must(mg_open(&narrow, &options));
	must(mg_set(narrow, "~/large", large, 500000, NULL, NULL));
	ck_assert_int_eq(mg_get(narrow, "~/large", NULL, &secret), MG_LIMIT);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "over the limit of locked memory"));
	ck_assert_ptr_null(secret);
	must(mg_get_each(narrow, "~/large", NULL, drink, &out));
	ck_assert_uint_eq(out.at, 500000);
	ck_assert_int_eq(setresuid(before, before, (uid_t)-1), 0);
	ck_assert_int_eq(bare_stop(&open_house), 0);
}
END_TEST

/* -- the daemon ---------------------------------------------------------------------------- */

START_TEST(status_and_whoami_tell_what_is)
{
	struct mg_state state;
	struct mg_caller caller;

	must(mg_status_of(client, &state));
	ck_assert_str_eq(state.version, mg_version());
	ck_assert_int_eq((pid_t)state.pid, house.pid);
	ck_assert(state.counts && !state.dumpable);
	ck_assert_uint_eq(state.core_limit, 0);
	ck_assert_uint_eq(state.max_value, LARGE);
	ck_assert_uint_gt(strlen(state.cipher), 0);
	must(mg_whoami(client, &caller));
	ck_assert_uint_eq(caller.uid, geteuid());
	ck_assert_uint_eq(caller.gid, getegid());
	ck_assert_int_eq((pid_t)caller.pid, getpid());
	ck_assert(caller.privileged);
}
END_TEST

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

START_TEST(a_reload_takes_all_of_the_file_or_nothing)
{
	char file[] = "/tmp/memguardd-conf-XXXXXX";
	const char *const arguments[] = { "--config", file, NULL };
	struct bare_daemon other;
	struct mg_options options = { .endpoint = other.path };
	MG_AUTO_CLIENT struct mg_client *handle = NULL;
	struct mg_state state;

	close(mkstemp(file));
	write_text(file, "[daemon]\nmax-value = 10\n");
	bare_start(&other, arguments);
	must(mg_open(&handle, &options));
	ck_assert_int_eq(mg_set(handle, "a", large, 20, NULL, NULL), MG_LIMIT);
	write_text(file, "[daemon]\nmax-value = 20\n");
	must(mg_reload(handle));
	must(mg_set(handle, "a", large, 20, NULL, NULL));
	write_text(file, "[daemon]\nmax-value = 30\ncolour = blue\n");
	ck_assert_int_eq(mg_reload(handle), MG_NO);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), file));
	ck_assert_ptr_nonnull(strstr(mg_last_error(), ":3: unknown key 'colour'"));
	must(mg_status_of(handle, &state));
	ck_assert_uint_eq(state.max_value, 20);
	ck_assert_int_eq(mg_reload(NULL), MG_INVALID);
	ck_assert_int_eq(bare_stop(&other), 0);
	ck_assert_int_eq(unlink(file), 0);
}
END_TEST

START_TEST(an_upgrade_takes_a_keeper)
{
	struct mg_state state;

	put("a", "v", 1);
	ck_assert_int_eq(mg_upgrade(client), MG_NO);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "no keeper"));
	ck_assert_int_eq(mg_upgrade(NULL), MG_INVALID);
	must(mg_status_of(client, &state));
	ck_assert_int_eq((pid_t)state.pid, house.pid);
	ck_assert(state.keeper == 0 && !state.upgrading);
	ck_assert_uint_eq(state.failed_upgrades, 0);
	ck_assert_str_eq(state.upgrade_fault, "");
	holds("a", "v", 1);
}
END_TEST

START_TEST(a_restart_is_not_noticed)
{
	struct bare_daemon first = house;
	char path[sizeof(house.path)];
	pid_t second;

	put("gone", "v", 1);
	strcpy(path, house.path);
	kill(first.pid, SIGTERM);
	ck_assert_int_eq(waitpid(first.pid, NULL, 0), first.pid);
	second = fork();
	if (second == 0) {
		execl(getenv("MEMGUARDD"), "memguardd", "--socket", path, (char *)NULL);
		_exit(127);
	}
	house.pid = second;
	close(bare_connect(path));
	/* What it held is gone with it, but the handle goes on. */
	ck_assert_int_eq(mg_stat(client, "gone", NULL, NULL), MG_NOT_FOUND);
	put("new", "v", 1);
	holds("new", "v", 1);
}
END_TEST

START_TEST(no_daemon_is_said_so)
{
	struct mg_options options = { .endpoint = "unix:/nowhere/at/all" };
	struct mg_client *none = client;

	ck_assert_int_eq(mg_open(&none, &options), MG_UNREACHABLE);
	ck_assert_ptr_null(none);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "/nowhere/at/all"));
	options.endpoint = "tcp:1.2.3.4";
	ck_assert_int_eq(mg_open(&none, &options), MG_INVALID);
	options.endpoint = house.path;
	options.memory = (enum mg_memory)3;
	ck_assert_int_eq(mg_open(&none, &options), MG_INVALID);
	ck_assert_int_eq(mg_ping(NULL), MG_INVALID);
	mg_close(NULL);
}
END_TEST

START_TEST(another_daemon_than_expected_is_refused)
{
	struct mg_options options = {
		.endpoint = house.path, .expect_uid = true, .daemon_uid = geteuid() + 1
	};
	MG_AUTO_CLIENT struct mg_client *other = NULL;

	ck_assert_int_eq(mg_open(&other, &options), MG_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "as expected"));
	options.daemon_uid = geteuid();
	must(mg_open(&other, &options));
	ck_assert_str_eq(mg_endpoint(other) + 5, house.path);
}
END_TEST

START_TEST(the_environment_names_the_daemon)
{
	MG_AUTO_CLIENT struct mg_client *other = NULL;
	struct mg_options defaults = { 0 };

	setenv("MEMGUARD_SOCKET", house.path, 1);
	must(mg_open(&other, NULL));
	mg_client_cleanup(&other);
	must(mg_open(&other, &defaults));
	setenv("MEMGUARD_SOCKET", "nonsense", 1);
	ck_assert_int_eq(mg_open(&(struct mg_client *){ NULL }, NULL), MG_INVALID);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("client");

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, every_size_comes_back_whole_and_in_pieces);
	tcase_add_test(claims, a_source_may_give_single_bytes);
	tcase_add_test(claims, a_source_that_gives_up_stores_nothing);
	tcase_add_test(claims, a_source_that_lies_about_its_bytes_is_refused);
	tcase_add_test(claims, nothing_is_no_value);
	tcase_add_test(claims, a_sink_that_has_enough_ends_the_fetch_with_its_own_word);
	tcase_add_test(claims, a_value_over_the_limit_is_refused_and_nothing_else);
	tcase_add_test(claims, versions_count_and_conditions_hold);
	tcase_add_test(claims, a_version_that_is_not_held_is_not_found);
	tcase_add_test(claims, generated_values_have_their_characters);
	tcase_add_test(claims, bad_names_and_tags_are_named);
	tcase_add_test(claims, a_stat_tells_all_but_the_value);
	tcase_add_test(claims, a_list_is_whole_sorted_and_filtered);
	tcase_add_test(claims, a_value_may_be_kept_closed);
	tcase_add_test(claims, a_get_waits_for_a_name_to_appear);
	tcase_add_test(claims, a_callback_that_calls_its_own_handle_is_told);
	tcase_add_test(claims, threads_share_a_handle);
	tcase_add_test(claims, a_thread_waits_for_anothers_call_no_longer_than_its_time_limit);
	tcase_add_test(claims, a_child_cannot_use_its_parents_handle);
	tcase_add_test(claims, the_host_is_left_as_it_was);
	tcase_add_test(claims, signals_of_the_host_do_not_disturb_a_call);
	tcase_add_loop_test(claims, what_does_not_fit_locked_memory_comes_in_pieces, 0, 2);
	tcase_add_test(claims, status_and_whoami_tell_what_is);
	tcase_add_test(claims, a_reload_takes_all_of_the_file_or_nothing);
	tcase_add_test(claims, an_upgrade_takes_a_keeper);
	tcase_add_test(claims, a_restart_is_not_noticed);
	tcase_add_test(claims, no_daemon_is_said_so);
	tcase_add_test(claims, another_daemon_than_expected_is_refused);
	tcase_add_test(claims, the_environment_names_the_daemon);
	return claims_run(claims, "client");
}
