/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "daemon/notify.h"
#include "tests/unit/claims.h"

/* What a path in the kernel's address may have: 107 bytes and a NUL, or 108 without. */
#define PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)

static char folder[PATH_SIZE];
static char path[PATH_SIZE];
static int manager = -1;

static void set_up(void)
{
	ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
	strcpy(folder, "/tmp/memguardd-notify-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_lt(snprintf(path, sizeof(path), "%s/notify", folder), sizeof(path));
}

static void tear_down(void)
{
	if (manager >= 0)
		close(manager);
	unlink(path);
	ck_assert_int_eq(rmdir(folder), 0);
}

/* -- the service manager ------------------------------------------------------------------- */

/* Listens at an address of `size` bytes, without waiting. */
static void listen_at(const char *address, size_t size, int type)
{
	struct sockaddr_un place = { .sun_family = AF_UNIX };

	ck_assert_uint_le(size, sizeof(place.sun_path));
	memcpy(place.sun_path, address, size);
	manager = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_ge(manager, 0);
	ck_assert_int_eq(bind(manager, (struct sockaddr *)&place,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)),
		0);
}

static void begin(const char *environment)
{
	if (environment)
		ck_assert_int_eq(setenv("NOTIFY_SOCKET", environment, 1), 0);
	notify_init();
	ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
}

/* The next datagram is exactly this. */
static void hears(const char *expected)
{
	char text[1024];
	ssize_t size = recv(manager, text, sizeof(text), 0);

	ck_assert_int_eq(size, (ssize_t)strlen(expected));
	ck_assert_mem_eq(text, expected, strlen(expected));
}

static void hears_nothing(void)
{
	char byte;

	ck_assert_int_eq(recv(manager, &byte, 1, 0), -1);
	ck_assert_int_eq(errno, EAGAIN);
}

/* The messages that the daemon sends, in its order. */
static void says_all(void)
{
	ck_assert_int_eq(notify_send(NOTIFY_READY), 0);
	hears("READY=1\nSTATUS=Serving");
	ck_assert_int_eq(notify_send(NOTIFY_STOPPING), 0);
	hears("STOPPING=1");
	hears_nothing();
}

/* -- claims -------------------------------------------------------------------------------- */

START_TEST(messages_arrive_at_a_path)
{
	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	says_all();
}
END_TEST

START_TEST(a_reload_is_told_with_its_time)
{
	static const char words[] = "RELOADING=1\nMONOTONIC_USEC=";
	struct timespec now;
	char text[128] = "";
	long long told, latest;

	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	ck_assert_int_eq(notify_send(NOTIFY_RELOADING), 0);
	clock_gettime(CLOCK_MONOTONIC, &now);
	latest = now.tv_sec * 1000000LL + now.tv_nsec / 1000;
	ck_assert_int_gt(recv(manager, text, sizeof(text) - 1, 0), 0);
	ck_assert_int_eq(strncmp(text, words, strlen(words)), 0);
	told = atoll(text + strlen(words));
	ck_assert(told <= latest && told > latest - 10000000);
	hears_nothing();
}
END_TEST

START_TEST(messages_arrive_at_an_abstract_name)
{
	char name[64];

	snprintf(name, sizeof(name), "@memguardd-test-%ld", (long)getpid());
	name[0] = '\0';
	listen_at(name, 1 + strlen(name + 1), SOCK_DGRAM);
	name[0] = '@';
	begin(name);
	says_all();
}
END_TEST

START_TEST(an_abstract_name_ends_where_it_ends)
{
	char name[64];

	/* A final NUL would be part of the name, and another address. */
	snprintf(name, sizeof(name), "@memguardd-test-%ld", (long)getpid());
	name[0] = '\0';
	listen_at(name, 2 + strlen(name + 1), SOCK_DGRAM);
	name[0] = '@';
	begin(name);
	ck_assert_int_eq(notify_send(NOTIFY_RELOADED), -ECONNREFUSED);
	hears_nothing();
}
END_TEST

START_TEST(the_longest_path_is_reached)
{
	size_t used = strlen(path);

	memset(path + used, 'n', sizeof(path) - used);
	path[sizeof(path) - 1] = '\0';
	ck_assert_uint_eq(strlen(path), 107);
	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	says_all();
}
END_TEST

START_TEST(the_longest_abstract_name_is_reached)
{
	char name[PATH_SIZE];

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	snprintf(name + 1, 32, "memguardd-test-%ld", (long)getpid());
	name[1 + strlen(name + 1)] = '-';
	name[0] = '\0';
	listen_at(name, sizeof(name) - 1, SOCK_DGRAM);
	name[0] = '@';
	begin(name);
	says_all();
}
END_TEST

START_TEST(an_address_that_is_too_long_is_nobodys_and_never_cut)
{
	char text[4096];
	char cut[PATH_SIZE];

	/* Somebody listens at what would be left of it. */
	memset(text, 'n', sizeof(text));
	memcpy(text, path, strlen(path));
	memcpy(cut, text, sizeof(cut));
	listen_at(cut, sizeof(cut) - 1, SOCK_DGRAM);
	for (size_t size = sizeof(cut); size < sizeof(text); size = size * 2 + 1) {
		text[size] = '\0';
		begin(text);
		ck_assert_int_eq(notify_send(NOTIFY_RELOADED), 0);
		text[size] = 'n';
	}
	hears_nothing();
	cut[sizeof(cut) - 1] = '\0';
	ck_assert_int_eq(unlink(cut), 0);
}
END_TEST

START_TEST(without_a_manager_nothing_is_sent)
{
	static const char *const none[] = { NULL, "", "/", "@", "notify", "./notify",
		"vsock:2:1234", "unix:/run/notify" };

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		begin(none[i]);
		ck_assert_int_eq(notify_send(NOTIFY_RELOADED), 0);
	}
}
END_TEST

START_TEST(a_relative_address_is_none_even_if_somebody_is_there)
{
	ck_assert_int_eq(chdir(folder), 0);
	listen_at("notify", strlen("notify"), SOCK_DGRAM);
	begin("notify");
	ck_assert_int_eq(notify_send(NOTIFY_RELOADED), 0);
	hears_nothing();
}
END_TEST

START_TEST(a_second_start_forgets_the_first_ones_manager)
{
	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	ck_assert_int_eq(notify_send(NOTIFY_RELOADED), 0);
	hears("READY=1");
	begin(NULL);
	ck_assert_int_eq(notify_send(NOTIFY_STOPPING), 0);
	hears_nothing();
}
END_TEST

START_TEST(a_shorter_address_keeps_nothing_of_a_longer_one)
{
	char longer[PATH_SIZE];

	ck_assert_int_lt(snprintf(longer, sizeof(longer), "%s-and-more", path), sizeof(longer));
	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(longer);
	ck_assert_int_eq(notify_send(NOTIFY_RELOADED), -ENOENT);
	begin(path);
	says_all();
}
END_TEST

START_TEST(nobody_there_is_an_error_and_no_more)
{
	begin(path);
	ck_assert_int_eq(notify_send(NOTIFY_RELOADED), -ENOENT);
	/* The file that a manager leaves behind. */
	listen_at(path, strlen(path), SOCK_DGRAM);
	ck_assert_int_eq(close(manager), 0);
	manager = -1;
	ck_assert_int_eq(notify_send(NOTIFY_RELOADED), -ECONNREFUSED);
	/* One that is back is found again. */
	ck_assert_int_eq(unlink(path), 0);
	listen_at(path, strlen(path), SOCK_DGRAM);
	says_all();
}
END_TEST

START_TEST(a_stream_socket_is_no_manager)
{
	listen_at(path, strlen(path), SOCK_STREAM);
	begin(path);
	ck_assert_int_eq(notify_send(NOTIFY_RELOADED), -EPROTOTYPE);
}
END_TEST

/* The manager hears it from us, when we are told by the one that may not speak. */
START_TEST(a_state_goes_over_another_process)
{
	int ends[2];
	char byte = 99;

	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	notify_relay(ends[1]);
	for (int state = 0; state < NOTIFY_STATES; state++) {
		ck_assert_int_eq(notify_send((enum notify_state)state), 0);
		ck_assert_int_eq(notify_take(ends[0]), state);
	}
	hears_nothing();
	ck_assert_int_eq(notify_take(ends[0]), -EAGAIN);
	ck_assert_int_eq(send(ends[1], &byte, 1, 0), 1);
	ck_assert_int_eq(notify_take(ends[0]), -EBADMSG);
	ck_assert_int_eq(send(ends[1], "\0\0\0", 3, 0), 3);
	ck_assert_int_eq(notify_take(ends[0]), -EBADMSG);
	close(ends[1]);
	ck_assert_int_eq(notify_take(ends[0]), -EPIPE);
	close(ends[0]);
	notify_relay(-1);
}
END_TEST

static size_t count_descriptors(void)
{
	DIR *list = opendir("/proc/self/fd");
	size_t count = 0;

	ck_assert_ptr_nonnull(list);
	while (readdir(list))
		count++;
	closedir(list);
	return count;
}

START_TEST(no_descriptor_stays_open)
{
	size_t before;

	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	before = count_descriptors();
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(notify_send(NOTIFY_STOPPING), 0);
		hears("STOPPING=1");
	}
	ck_assert_int_eq(unlink(path), 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(notify_send(NOTIFY_STOPPING), -ENOENT);
	ck_assert_uint_eq(count_descriptors(), before);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("notify");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, messages_arrive_at_a_path);
	tcase_add_test(claims, a_reload_is_told_with_its_time);
	tcase_add_test(claims, messages_arrive_at_an_abstract_name);
	tcase_add_test(claims, an_abstract_name_ends_where_it_ends);
	tcase_add_test(claims, the_longest_path_is_reached);
	tcase_add_test(claims, the_longest_abstract_name_is_reached);
	tcase_add_test(claims, an_address_that_is_too_long_is_nobodys_and_never_cut);
	tcase_add_test(claims, without_a_manager_nothing_is_sent);
	tcase_add_test(claims, a_relative_address_is_none_even_if_somebody_is_there);
	tcase_add_test(claims, a_second_start_forgets_the_first_ones_manager);
	tcase_add_test(claims, a_shorter_address_keeps_nothing_of_a_longer_one);
	tcase_add_test(claims, nobody_there_is_an_error_and_no_more);
	tcase_add_test(claims, a_stream_socket_is_no_manager);
	tcase_add_test(claims, a_state_goes_over_another_process);
	tcase_add_test(claims, no_descriptor_stays_open);
	return claims_run(claims, "notify");
}
