/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/peer.h"
#include "tests/unit/claims.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/* Whom root becomes. */
#define STRANGER 65534
#define STRANGERS_GROUP 65533

static struct peer peer;

static void set_up(void)
{
	peer = (struct peer){ .pidfd = -1 };
}

static void tear_down(void)
{
	peer_finish(&peer);
}

static bool needs_root(const char *claim)
{
	if (geteuid() == 0)
		return false;
	printf("SKIP: %s: only root can be another user\n", claim);
	return true;
}

static bool needs_checks(const char *claim)
{
	if (peer_checks())
		return false;
	printf("SKIP: %s: this kernel cannot say who a pidfd is\n", claim);
	return true;
}

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

static int take(struct peer *of, int socket)
{
	int r = peer_name(of, socket);

	return r < 0 ? r : peer_take(of, socket);
}

/* Ourselves, at the other end of a pair. */
static int take_self(void)
{
	int ends[2];
	int r;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	r = take(&peer, ends[0]);
	close(ends[0]);
	close(ends[1]);
	return r;
}

/* -- a visitor: a child that connects, and does what it is told to ------------------------- */

enum order { ORDER_EFFECTIVE, ORDER_REAL, ORDER_BACK, ORDER_THREAD, ORDER_END };

struct visitor {
	pid_t pid;
	int orders; /* to it */
	int socket; /* our end of its connection */
};

static void must(bool holds)
{
	if (!holds)
		_exit(1);
}

static void obey(int orders);

static void *obey_too(void *orders)
{
	obey(*(int *)orders);
	return NULL;
}

/* Goes on in another thread; the first one ends. */
static void hand_over(int orders)
{
	static int kept;
	pthread_t thread;

	kept = orders;
	must(pthread_create(&thread, NULL, obey_too, &kept) == 0);
	pthread_exit(NULL);
}

static void obey(int orders)
{
	uint8_t order;

	while (read(orders, &order, 1) == 1) {
		if (order == ORDER_EFFECTIVE)
			must(seteuid(STRANGER) == 0);
		else if (order == ORDER_REAL)
			must(setresuid(STRANGER, (uid_t)-1, (uid_t)-1) == 0);
		else if (order == ORDER_BACK)
			must(seteuid(0) == 0);
		else if (order != ORDER_THREAD)
			break;
		must(write(orders, &order, 1) == 1);
		if (order == ORDER_THREAD)
			hand_over(orders);
	}
	_exit(0);
}

static void become(uid_t uid)
{
	const gid_t groups[] = { 7, 70000 };

	if (uid == geteuid())
		return;
	must(setgroups(2, groups) == 0);
	must(setresgid(STRANGERS_GROUP, STRANGERS_GROUP, STRANGERS_GROUP) == 0);
	must(setresuid(uid, uid, uid) == 0);
}

/* Listens at a name that the kernel chooses. */
static int listen_anywhere(struct sockaddr_un *place, socklen_t *size)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*place = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*size = sizeof(*place);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)place, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)place, size), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

static struct visitor visitor_start(uid_t uid)
{
	struct visitor visitor;
	struct sockaddr_un place;
	socklen_t size;
	int listener = listen_anywhere(&place, &size);
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	visitor.pid = fork();
	ck_assert_int_ge(visitor.pid, 0);
	if (visitor.pid == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		close(ends[0]);
		become(uid);
		must(connect(fd, (struct sockaddr *)&place, size) == 0);
		obey(ends[1]);
	}
	close(ends[1]);
	visitor.orders = ends[0];
	visitor.socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(visitor.socket, 0);
	close(listener);
	return visitor;
}

static void visitor_must(const struct visitor *visitor, enum order order)
{
	uint8_t byte = (uint8_t)order;

	ck_assert_int_eq(write(visitor->orders, &byte, 1), 1);
	ck_assert_int_eq(read(visitor->orders, &byte, 1), 1);
}

/* It ends; it is waited for later. */
static void visitor_ends(const struct visitor *visitor)
{
	uint8_t byte = ORDER_END;
	siginfo_t info;

	ck_assert_int_eq(write(visitor->orders, &byte, 1), 1);
	ck_assert_int_eq(waitid(P_PID, (id_t)visitor->pid, &info, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(info.si_status, 0);
}

static void visitor_is_gone(const struct visitor *visitor)
{
	int status;

	ck_assert_int_eq(waitpid(visitor->pid, &status, 0), visitor->pid);
	ck_assert_int_eq(status, 0);
	close(visitor->orders);
	close(visitor->socket);
}

/* -- who it is ----------------------------------------------------------------------------- */

START_TEST(a_peer_is_who_the_kernel_says)
{
	ck_assert_int_eq(take_self(), 0);
	ck_assert_uint_eq(peer.uid, geteuid());
	ck_assert_uint_eq(peer.gid, getegid());
	ck_assert_int_eq(peer.pid, getpid());
}
END_TEST

START_TEST(a_peer_has_the_groups_of_its_process)
{
	int count = getgroups(0, NULL);
	gid_t *groups = calloc((size_t)count + 1, sizeof(*groups));

	ck_assert_int_ge(count, 0);
	ck_assert_ptr_nonnull(groups);
	ck_assert_int_eq(getgroups(count, groups), count);
	ck_assert_int_eq(take_self(), 0);
	ck_assert_uint_eq(peer.group_count, (size_t)count);
	for (int i = 0; i < count; i++)
		ck_assert_uint_eq(peer.groups[i], groups[i]);
	free(groups);
}
END_TEST

START_TEST(any_number_of_groups_is_taken)
{
	static const size_t counts[] = { 0, 1, 2, 33, 1000, PEER_GROUPS_MAX };
	static gid_t groups[PEER_GROUPS_MAX];

	if (needs_root("any_number_of_groups_is_taken"))
		return;
	for (size_t i = 0; i < PEER_GROUPS_MAX; i++)
		groups[i] = (gid_t)(3 * i + 100000);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		ck_assert_int_eq(setgroups(counts[i], groups), 0);
		ck_assert_int_eq(take_self(), 0);
		ck_assert_uint_eq(peer.group_count, counts[i]);
		for (size_t j = 0; j < counts[i]; j++)
			ck_assert_uint_eq(peer.groups[j], groups[j]);
		peer_finish(&peer);
	}
}
END_TEST

START_TEST(another_process_is_taken_as_itself)
{
	struct visitor visitor = visitor_start(geteuid());

	ck_assert_int_eq(take(&peer, visitor.socket), 0);
	ck_assert_int_eq(peer.pid, visitor.pid);
	ck_assert_int_ne(peer.pid, getpid());
	ck_assert_uint_eq(peer.uid, geteuid());
	visitor_ends(&visitor);
	visitor_is_gone(&visitor);
}
END_TEST

START_TEST(another_user_is_taken_as_that_user)
{
	struct visitor visitor;

	if (needs_root("another_user_is_taken_as_that_user"))
		return;
	visitor = visitor_start(STRANGER);
	ck_assert_int_eq(take(&peer, visitor.socket), 0);
	ck_assert_uint_eq(peer.uid, STRANGER);
	ck_assert_uint_eq(peer.gid, STRANGERS_GROUP);
	ck_assert_int_eq(peer.pid, visitor.pid);
	ck_assert_uint_eq(peer.group_count, 2);
	ck_assert_uint_eq(peer.groups[0], 7);
	ck_assert_uint_eq(peer.groups[1], 70000);
	ck_assert_int_eq(peer_check(&peer), 0);
	visitor_ends(&visitor);
	visitor_is_gone(&visitor);
}
END_TEST

START_TEST(a_peer_is_who_connected_whatever_it_becomes)
{
	struct visitor visitor;

	if (needs_root("a_peer_is_who_connected_whatever_it_becomes"))
		return;
	visitor = visitor_start(0);
	visitor_must(&visitor, ORDER_EFFECTIVE);
	ck_assert_int_eq(take(&peer, visitor.socket), 0);
	ck_assert_uint_eq(peer.uid, 0);
	ck_assert_int_eq(peer_check(&peer), peer_checks() ? -EACCES : 0);
	visitor_ends(&visitor);
	visitor_is_gone(&visitor);
}
END_TEST

START_TEST(the_label_is_the_kernels_and_has_an_end)
{
	char label[PEER_LABEL_MAX] = "";
	socklen_t size = sizeof(label) - 1;
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	if (getsockopt(ends[0], SOL_SOCKET, SO_PEERSEC, label, &size) < 0)
		size = 0;
	label[size] = '\0';
	memset(&peer, 0x5a, sizeof(peer));
	ck_assert_int_eq(take(&peer, ends[0]), 0);
	ck_assert_ptr_nonnull(memchr(peer.label, '\0', sizeof(peer.label)));
	ck_assert_str_eq(peer.label, label);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

/* Status 2: there are no namespaces here. */
static void take_from_inside(int socket)
{
	pid_t child;
	int status;

	if (unshare(CLONE_NEWPID) < 0)
		_exit(2);
	child = fork();
	must(child >= 0);
	if (child == 0) {
		must(take(&peer, socket) == 0);
		must(peer.pid == 0 && peer.uid == geteuid());
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child && status == 0);
	_exit(0);
}

START_TEST(a_peer_in_a_namespace_that_cannot_be_seen_has_no_number)
{
	int ends[2];
	int status;
	pid_t child;

	if (needs_root("a_peer_in_a_namespace_that_cannot_be_seen_has_no_number"))
		return;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0)
		take_from_inside(ends[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == 2)
		puts("SKIP: a_peer_in_a_namespace_that_cannot_be_seen_has_no_number: no "
		     "namespaces");
	else
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

/* -- what is no peer ----------------------------------------------------------------------- */

static void is_no_peer(int fd, int error)
{
	memset(&peer, 0x5a, sizeof(peer));
	if (error)
		ck_assert_int_eq(take(&peer, fd), error);
	else
		ck_assert_int_lt(take(&peer, fd), 0);
	ck_assert_ptr_null(peer.groups);
	ck_assert_uint_eq(peer.group_count, 0);
	ck_assert_int_eq(peer.pidfd, -1);
}

START_TEST(what_is_no_socket_has_no_peer)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	is_no_peer(ends[0], -ENOTSOCK);
	close(ends[0]);
	close(ends[1]);
	is_no_peer(ends[0], -EBADF);
	is_no_peer(-1, -EBADF);
}
END_TEST

START_TEST(a_socket_that_nobody_connected_has_no_peer)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	is_no_peer(fd, 0);
	close(fd);
}
END_TEST

START_TEST(a_socket_of_the_network_has_no_peer)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		puts("SKIP: a_socket_of_the_network_has_no_peer: there is no network");
		return;
	}
	is_no_peer(fd, 0);
	close(fd);
}
END_TEST

/* -- the pidfd ----------------------------------------------------------------------------- */

/* The process that a pidfd stands for, as the kernel tells everybody. */
static long process_of(int pidfd)
{
	char name[64], line[128];
	long pid = -2;
	FILE *info;

	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", pidfd);
	info = fopen(name, "re");
	ck_assert_ptr_nonnull(info);
	while (fgets(line, sizeof(line), info))
		if (strncmp(line, "Pid:", 4) == 0)
			pid = strtol(line + 4, NULL, 10);
	fclose(info);
	return pid;
}

START_TEST(a_kernel_that_can_say_who_a_pidfd_is_is_found)
{
	struct utsname name;
	int major, minor;
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0);

	ck_assert_int_eq(uname(&name), 0);
	ck_assert_int_eq(sscanf(name.release, "%d.%d", &major, &minor), 2);
	if (self < 0) {
		puts("SKIP: a_kernel_that_can_say_who_a_pidfd_is_is_found: no pidfd_open(2) here");
		return;
	}
	close(self);
	if (major > 6 || (major == 6 && minor >= 13))
		ck_assert(peer_checks());
	if (major < 6 || (major == 6 && minor < 8))
		ck_assert(!peer_checks());
	ck_assert_int_eq(peer_checks(), peer_checks());
}
END_TEST

/* What a process finds out that cannot open anything when it first asks. */
static bool found_after_a_full_table(void)
{
	struct rlimit limit, none;

	must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	must(setrlimit(RLIMIT_NOFILE, &none) == 0 && !peer_checks());
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	return peer_checks();
}

START_TEST(a_full_file_table_is_no_answer_about_the_kernel)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(found_after_a_full_table() ? 2 : 3);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), peer_checks() ? 2 : 3);
	if (!peer_checks())
		puts("SKIP: a_full_file_table_is_no_answer_about_the_kernel: this kernel cannot "
		     "say "
		     "who a pidfd is");
}
END_TEST

START_TEST(a_pidfd_is_kept_where_it_can_be_asked_and_nowhere_else)
{
	struct visitor visitor = visitor_start(geteuid());

	ck_assert_int_eq(take(&peer, visitor.socket), 0);
	if (peer_checks()) {
		ck_assert_int_ge(peer.pidfd, 0);
		ck_assert_int_eq(process_of(peer.pidfd), visitor.pid);
		ck_assert_int_eq(fcntl(peer.pidfd, F_GETFD), FD_CLOEXEC);
	} else {
		ck_assert_int_eq(peer.pidfd, -1);
	}
	ck_assert_int_eq(peer_check(&peer), 0);
	visitor_ends(&visitor);
	visitor_is_gone(&visitor);
}
END_TEST

START_TEST(an_invented_peer_is_not_asked)
{
	ck_assert_int_eq(peer_check(&(struct peer){ .uid = 12345, .pid = 1, .pidfd = -1 }), 0);
}
END_TEST

START_TEST(who_changes_its_user_is_found_out)
{
	struct visitor visitor;

	if (needs_root("who_changes_its_user_is_found_out") ||
		needs_checks("who_changes_its_user_is_found_out"))
		return;
	visitor = visitor_start(0);
	ck_assert_int_eq(take(&peer, visitor.socket), 0);
	ck_assert_int_eq(peer_check(&peer), 0);
	visitor_must(&visitor, ORDER_EFFECTIVE);
	ck_assert_int_eq(peer_check(&peer), -EACCES);
	visitor_must(&visitor, ORDER_BACK);
	ck_assert_int_eq(peer_check(&peer), 0);
	/* The real user has no rights: the effective one has them. */
	visitor_must(&visitor, ORDER_REAL);
	ck_assert_int_eq(peer_check(&peer), 0);
	visitor_ends(&visitor);
	visitor_is_gone(&visitor);
}
END_TEST

START_TEST(a_peer_that_has_ended_is_found_out)
{
	struct visitor visitor;

	if (needs_checks("a_peer_that_has_ended_is_found_out"))
		return;
	visitor = visitor_start(geteuid());
	ck_assert_int_eq(take(&peer, visitor.socket), 0);
	ck_assert_int_eq(peer_check(&peer), 0);
	visitor_ends(&visitor);
	/* Before it is waited for, and behind that. */
	ck_assert_int_eq(peer_check(&peer), -ESRCH);
	visitor_is_gone(&visitor);
	ck_assert_int_eq(peer_check(&peer), -ESRCH);
}
END_TEST

/* Waits until the first thread of a process has ended. */
static void first_thread_must_end(pid_t pid)
{
	char name[64], line[256];
	char state = 0;

	snprintf(name, sizeof(name), "/proc/%ld/stat", (long)pid);
	for (int i = 0; i < 1000 && state != 'Z'; i++) {
		FILE *stat = fopen(name, "re");

		ck_assert_ptr_nonnull(stat);
		ck_assert_ptr_nonnull(fgets(line, sizeof(line), stat));
		fclose(stat);
		ck_assert_ptr_nonnull(strrchr(line, ')'));
		state = strrchr(line, ')')[2];
		usleep(1000);
	}
	ck_assert_int_eq(state, 'Z');
}

START_TEST(a_process_lives_as_long_as_any_of_its_threads)
{
	struct visitor visitor = visitor_start(geteuid());

	ck_assert_int_eq(take(&peer, visitor.socket), 0);
	visitor_must(&visitor, ORDER_THREAD);
	first_thread_must_end(visitor.pid);
	ck_assert_int_eq(peer_check(&peer), 0);
	visitor_ends(&visitor);
	ck_assert_int_eq(peer_check(&peer), peer_checks() ? -ESRCH : 0);
	visitor_is_gone(&visitor);
}
END_TEST

/* Kernels differ in whether such a peer has a pidfd; none may pass for a live one. */
START_TEST(a_peer_that_ended_before_it_was_taken_is_nobody)
{
	struct visitor visitor;
	int r;

	if (needs_checks("a_peer_that_ended_before_it_was_taken_is_nobody"))
		return;
	for (int reaped = 0; reaped < 2; reaped++) {
		int socket;

		visitor = visitor_start(geteuid());
		socket = fcntl(visitor.socket, F_DUPFD_CLOEXEC, 0);
		visitor_ends(&visitor);
		if (reaped)
			visitor_is_gone(&visitor);
		r = take(&peer, socket);
		if (r == 0) {
			ck_assert_int_eq(peer.pid, visitor.pid);
			ck_assert_int_eq(peer_check(&peer), -ESRCH);
		}
		peer_finish(&peer);
		close(socket);
		if (!reaped)
			visitor_is_gone(&visitor);
	}
}
END_TEST

/* -- the end ------------------------------------------------------------------------------- */

START_TEST(a_peer_may_be_finished_twice)
{
	int pidfd;

	ck_assert_int_eq(take_self(), 0);
	pidfd = peer.pidfd;
	peer_finish(&peer);
	ck_assert_ptr_null(peer.groups);
	ck_assert_uint_eq(peer.group_count, 0);
	ck_assert_int_eq(peer.pidfd, -1);
	if (pidfd >= 0)
		ck_assert(fcntl(pidfd, F_GETFD) < 0 && errno == EBADF);
	peer_finish(&peer);
	ck_assert_int_eq(peer.pidfd, -1);
}
END_TEST

START_TEST(taking_and_finishing_leaves_no_descriptor)
{
	size_t before;

	before = count_descriptors();
	for (int i = 0; i < 50; i++) {
		ck_assert_int_eq(take_self(), 0);
		peer_finish(&peer);
		ck_assert_int_lt(take(&peer, -1), 0);
	}
	ck_assert_uint_eq(count_descriptors(), before);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("peer");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, a_peer_is_who_the_kernel_says);
	tcase_add_test(claims, a_peer_has_the_groups_of_its_process);
	tcase_add_test(claims, any_number_of_groups_is_taken);
	tcase_add_test(claims, another_process_is_taken_as_itself);
	tcase_add_test(claims, another_user_is_taken_as_that_user);
	tcase_add_test(claims, a_peer_is_who_connected_whatever_it_becomes);
	tcase_add_test(claims, the_label_is_the_kernels_and_has_an_end);
	tcase_add_test(claims, a_peer_in_a_namespace_that_cannot_be_seen_has_no_number);
	tcase_add_test(claims, what_is_no_socket_has_no_peer);
	tcase_add_test(claims, a_socket_that_nobody_connected_has_no_peer);
	tcase_add_test(claims, a_socket_of_the_network_has_no_peer);
	tcase_add_test(claims, a_kernel_that_can_say_who_a_pidfd_is_is_found);
	tcase_add_test(claims, a_full_file_table_is_no_answer_about_the_kernel);
	tcase_add_test(claims, a_pidfd_is_kept_where_it_can_be_asked_and_nowhere_else);
	tcase_add_test(claims, an_invented_peer_is_not_asked);
	tcase_add_test(claims, who_changes_its_user_is_found_out);
	tcase_add_test(claims, a_peer_that_has_ended_is_found_out);
	tcase_add_test(claims, a_process_lives_as_long_as_any_of_its_threads);
	tcase_add_test(claims, a_peer_that_ended_before_it_was_taken_is_nobody);
	tcase_add_test(claims, a_peer_may_be_finished_twice);
	tcase_add_test(claims, taking_and_finishing_leaves_no_descriptor);
	return claims_run(claims, "peer");
}
