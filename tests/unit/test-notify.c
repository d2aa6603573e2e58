/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/line.h"
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

/* The manager hears it from the other end, which is told by the one that may not speak. */
START_TEST(a_state_goes_over_another_process)
{
	struct line_packet packet;
	int ends[2];

	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	ck_assert_int_eq(line_open(ends), 0);
	notify_relay(ends[1]);
	for (uint32_t state = 0; state < NOTIFY_STATES; state++) {
		ck_assert_int_eq(notify_send((enum notify_state)state), 0);
		ck_assert_int_eq(line_look(ends[0], &packet), 0);
		ck_assert_int_eq(packet.word, LINE_STATE);
		ck_assert_uint_eq(packet.number, state);
	}
	hears_nothing();
	close(ends[0]);
	ck_assert_int_eq(notify_send(NOTIFY_READY), -EPIPE);
	close(ends[1]);
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

/* -- the store, the main process, the queue ------------------------------------------------ */

/* The next datagram is exactly this, with one descriptor beside it, which is the caller's now. */
static int hears_with_one(const char *expected)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control;
	char text[1024];
	struct iovec part = { .iov_base = text, .iov_len = sizeof(text) };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room) };
	ssize_t size = recvmsg(manager, &message, MSG_CMSG_CLOEXEC);
	int fd;

	ck_assert_int_eq(size, (ssize_t)strlen(expected));
	ck_assert_mem_eq(text, expected, strlen(expected));
	ck_assert_int_eq(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC), 0);
	ck_assert_uint_ge(message.msg_controllen, sizeof(struct cmsghdr));
	ck_assert_int_eq(control.header.cmsg_level, SOL_SOCKET);
	ck_assert_int_eq(control.header.cmsg_type, SCM_RIGHTS);
	ck_assert_uint_eq(control.header.cmsg_len, CMSG_LEN(sizeof(int)));
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

static void must_be_the_same(int a, int b)
{
	struct stat one, other;

	ck_assert_int_ne(a, b);
	ck_assert_int_eq(fstat(a, &one), 0);
	ck_assert_int_eq(fstat(b, &other), 0);
	ck_assert_uint_eq(one.st_dev, other.st_dev);
	ck_assert_uint_eq(one.st_ino, other.st_ino);
}

/* A file without a name, which no other descriptor of ours leads to. */
static int some_file(void)
{
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) {
		char name[PATH_SIZE + 16];

		snprintf(name, sizeof(name), "%s.file", path);
		fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
		unlink(name);
	}
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* Everything that is said with a descriptor or a name, in the order of a restart. */
static void stores_all(void)
{
	int fd = some_file(), other = some_file();
	int got;

	ck_assert_int_eq(notify_drop("memguardd-ledger-7"), 0);
	hears("FDSTOREREMOVE=1\nFDNAME=memguardd-ledger-7");
	ck_assert_int_eq(notify_push("memguardd-ledger-8", fd), 0);
	got = hears_with_one("FDSTORE=1\nFDNAME=memguardd-ledger-8\nFDPOLL=0");
	must_be_the_same(fd, got);
	close(got);
	ck_assert_int_eq(notify_push("k", other), 0);
	got = hears_with_one("FDSTORE=1\nFDNAME=k\nFDPOLL=0");
	must_be_the_same(other, got);
	close(got);
	/* What was given is still ours. */
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	ck_assert_int_eq(notify_main(4321), 0);
	hears("MAINPID=4321");
	ck_assert_int_eq(notify_main(1), 0);
	hears("MAINPID=1");
	hears_nothing();
	close(fd);
	close(other);
}

START_TEST(the_store_is_reached_by_a_path)
{
	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	stores_all();
}
END_TEST

START_TEST(the_store_is_reached_by_an_abstract_name)
{
	char name[64];

	snprintf(name, sizeof(name), "@memguardd-store-%ld", (long)getpid());
	name[0] = '\0';
	listen_at(name, 1 + strlen(name + 1), SOCK_DGRAM);
	name[0] = '@';
	begin(name);
	stores_all();
}
END_TEST

START_TEST(a_name_that_cannot_be_one_is_never_sent)
{
	static const char *const wrong[] = { "", ":", "a:b", "a\nREADY=1", "a\n", "\t", "a\x7f",
		"a\x1f", "a\x80", "\xc3\xa4" };
	char longest[NOTIFY_NAME_MAX + 2], said[512];
	int fd = some_file();

	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_assert_int_eq(notify_push(wrong[i], fd), -EINVAL);
		ck_assert_int_eq(notify_drop(wrong[i]), -EINVAL);
	}
	memset(longest, 'n', sizeof(longest));
	longest[256] = '\0';
	ck_assert_int_eq(notify_push(longest, fd), -EINVAL);
	ck_assert_int_eq(notify_drop(longest), -EINVAL);
	hears_nothing();
	longest[255] = '\0';
	ck_assert_int_eq(notify_push(longest, fd), 0);
	snprintf(said, sizeof(said), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", longest);
	close(hears_with_one(said));
	ck_assert_int_eq(notify_drop(longest), 0);
	snprintf(said, sizeof(said), "FDSTOREREMOVE=1\nFDNAME=%s", longest);
	hears(said);
	/* All that may be in one. */
	ck_assert_int_eq(notify_drop(" !\"=-./09;AZ~"), 0);
	hears("FDSTOREREMOVE=1\nFDNAME= !\"=-./09;AZ~");
	close(fd);
}
END_TEST

START_TEST(what_is_no_descriptor_or_no_process_is_never_sent)
{
	int fd = some_file();

	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	close(fd);
	ck_assert_int_eq(notify_push("a", fd), -EBADF);
	ck_assert_int_eq(notify_push("a", -1), -EBADF);
	ck_assert_int_eq(notify_main(0), -EINVAL);
	ck_assert_int_eq(notify_main(-1), -EINVAL);
	hears_nothing();
}
END_TEST

START_TEST(without_a_manager_nothing_is_stored)
{
	static const char *const none[] = { NULL, "", "/", "@", "notify", "vsock:2:1234" };
	int fd = some_file();

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		begin(none[i]);
		ck_assert_int_eq(notify_push("a", fd), 0);
		ck_assert_int_eq(notify_drop("a"), 0);
		ck_assert_int_eq(notify_main(getpid()), 0);
		/* Nobody is waited for. */
		ck_assert_int_eq(notify_barrier(600000), 0);
		ck_assert_ptr_null(notify_socket());
		ck_assert(!notify_store_is_private());
		ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
	}
	close(fd);
}
END_TEST

START_TEST(a_manager_that_is_gone_is_an_error)
{
	int fd = some_file();

	begin(path);
	ck_assert_int_eq(notify_push("a", fd), -ENOENT);
	ck_assert_int_eq(notify_drop("a"), -ENOENT);
	ck_assert_int_eq(notify_main(getpid()), -ENOENT);
	ck_assert_int_eq(notify_barrier(600000), -ENOENT);
	close(fd);
}
END_TEST

START_TEST(the_address_is_given_back_as_it_was)
{
	char longest[PATH_SIZE];

	begin(path);
	ck_assert_str_eq(notify_socket(), path);
	begin("@some-name");
	ck_assert_str_eq(notify_socket(), "@some-name");
	memset(longest, 'n', sizeof(longest));
	longest[0] = '@';
	longest[sizeof(longest) - 1] = '\0';
	begin(longest);
	ck_assert_str_eq(notify_socket(), longest);
	begin(NULL);
	ck_assert_ptr_null(notify_socket());
}
END_TEST

/* -- a barrier ----------------------------------------------------------------------------- */

static void on_alarm(int number)
{
	(void)number;
}

/* Signals come all the time while it waits. */
static void be_disturbed(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval often = { .it_interval = { .tv_usec = 2000 },
		.it_value = { .tv_usec = 2000 } };

	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
}

/* Another process is the manager, and takes its time. It leaves a byte before it answers. */
static pid_t answer_late(int told)
{
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		struct pollfd there = { .fd = manager, .events = POLLIN };
		int fd;

		poll(&there, 1, -1);
		fd = hears_with_one("BARRIER=1");
		usleep(50000);
		if (write(told, "x", 1) != 1)
			_exit(1);
		close(fd);
		_exit(0);
	}
	return child;
}

static void waits_for_a_late_answer(void)
{
	struct itimerval never = { 0 };
	int told[2];
	char byte;
	int status;
	pid_t child;

	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	ck_assert_int_eq(pipe2(told, O_CLOEXEC | O_NONBLOCK), 0);
	child = answer_late(told[1]);
	ck_assert_int_eq(notify_barrier(600000), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	/* It was answered before we went on. */
	ck_assert_int_eq(read(told[0], &byte, 1), 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	close(told[0]);
	close(told[1]);
}

START_TEST(a_barrier_waits_for_its_answer)
{
	waits_for_a_late_answer();
}
END_TEST

START_TEST(a_barrier_waits_although_signals_come)
{
	be_disturbed();
	waits_for_a_late_answer();
}
END_TEST

START_TEST(a_barrier_is_not_waited_for_without_end)
{
	struct itimerval never = { 0 };
	struct timespec before, behind;
	int fd;

	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	ck_assert_int_eq(notify_barrier(0), -ETIMEDOUT);
	fd = hears_with_one("BARRIER=1");
	/* A manager that has read it and never comes to its end. */
	be_disturbed();
	clock_gettime(CLOCK_MONOTONIC, &before);
	ck_assert_int_eq(notify_barrier(60), -ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &behind);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	ck_assert_int_ge((behind.tv_sec - before.tv_sec) * 1000 +
			(behind.tv_nsec - before.tv_nsec) / 1000000,
		59);
	close(hears_with_one("BARRIER=1"));
	close(fd);
	hears_nothing();
}
END_TEST

START_TEST(a_manager_that_goes_away_ends_a_barrier)
{
	pid_t child;

	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		struct pollfd there = { .fd = manager, .events = POLLIN };

		poll(&there, 1, -1);
		_exit(0);
	}
	close(manager);
	manager = -1;
	ck_assert_int_eq(notify_barrier(600000), 0);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

START_TEST(the_store_leaves_no_descriptor_open)
{
	int fd = some_file();
	size_t before;

	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	before = count_descriptors();
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(notify_push("a", fd), 0);
		close(hears_with_one("FDSTORE=1\nFDNAME=a\nFDPOLL=0"));
		ck_assert_int_eq(notify_barrier(0), -ETIMEDOUT);
		close(hears_with_one("BARRIER=1"));
	}
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(notify_push("a", fd), -ENOENT);
	ck_assert_int_eq(notify_barrier(0), -ENOENT);
	ck_assert_uint_eq(count_descriptors(), before);
	close(fd);
}
END_TEST

/* -- whose store it is --------------------------------------------------------------------- */

START_TEST(a_store_is_private_when_its_socket_is_roots_file)
{
	if (geteuid() != 0) {
		puts("SKIP: a_store_is_private_when_its_socket_is_roots_file: only root can make "
		     "such a socket");
		return;
	}
	listen_at(path, strlen(path), SOCK_DGRAM);
	begin(path);
	ck_assert(notify_store_is_private());
	/* It is looked at each time. */
	ck_assert_int_eq(chown(path, 65534, 0), 0);
	ck_assert(!notify_store_is_private());
	ck_assert_int_eq(chown(path, 0, 65534), 0);
	ck_assert(notify_store_is_private());
	ck_assert_int_eq(unlink(path), 0);
	ck_assert(!notify_store_is_private());
	/* Nobody listens at a file of root's that is none. */
	close(open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
	ck_assert(!notify_store_is_private());
}
END_TEST

START_TEST(a_store_of_a_user_is_not_private)
{
	listen_at(path, strlen(path), SOCK_DGRAM);
	if (geteuid() == 0)
		ck_assert_int_eq(chown(path, 65534, 65534), 0);
	begin(path);
	ck_assert(!notify_store_is_private());
}
END_TEST

START_TEST(a_store_behind_an_abstract_name_is_not_private)
{
	char name[64];
	int at_name;

	snprintf(name, sizeof(name), "@memguardd-private-%ld", (long)getpid());
	name[0] = '\0';
	listen_at(name, 1 + strlen(name + 1), SOCK_DGRAM);
	name[0] = '@';
	begin(name);
	ck_assert(!notify_store_is_private());
	/* Whatever file is called so. */
	ck_assert_int_eq(chdir(folder), 0);
	at_name = manager;
	listen_at(name, strlen(name), SOCK_DGRAM);
	close(manager);
	manager = at_name;
	ck_assert(!notify_store_is_private());
	ck_assert_int_eq(unlink(name), 0);
	ck_assert_int_eq(notify_drop("a"), 0);
	hears("FDSTOREREMOVE=1\nFDNAME=a");
}
END_TEST

static void add_store(TCase *claims)
{
	tcase_add_test(claims, the_store_is_reached_by_a_path);
	tcase_add_test(claims, the_store_is_reached_by_an_abstract_name);
	tcase_add_test(claims, a_name_that_cannot_be_one_is_never_sent);
	tcase_add_test(claims, what_is_no_descriptor_or_no_process_is_never_sent);
	tcase_add_test(claims, without_a_manager_nothing_is_stored);
	tcase_add_test(claims, a_manager_that_is_gone_is_an_error);
	tcase_add_test(claims, the_address_is_given_back_as_it_was);
	tcase_add_test(claims, a_barrier_waits_for_its_answer);
	tcase_add_test(claims, a_barrier_waits_although_signals_come);
	tcase_add_test(claims, a_barrier_is_not_waited_for_without_end);
	tcase_add_test(claims, a_manager_that_goes_away_ends_a_barrier);
	tcase_add_test(claims, the_store_leaves_no_descriptor_open);
	tcase_add_test(claims, a_store_is_private_when_its_socket_is_roots_file);
	tcase_add_test(claims, a_store_of_a_user_is_not_private);
	tcase_add_test(claims, a_store_behind_an_abstract_name_is_not_private);
}

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
	add_store(claims);
	return claims_run(claims, "notify");
}
