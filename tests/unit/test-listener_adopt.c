/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/listener_bound.h"
#include "tests/unit/listener_rig.h"

/* A listener that a process before us made, and that is taken over with its lock. */

#define NOBODY 65534

static struct listener first; /* as the one before us had it */

/* -- a kernel that does not tell what a socket is bound to: this stands before the C library's */

static bool kernel_is_silent;

int socket(int domain, int type, int protocol)
{
	if (domain == AF_NETLINK && kernel_is_silent) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	return (int)syscall(SYS_socket, domain, type, protocol);
}

static bool kernel_tells(const char *claim)
{
	struct stat status;

	ck_assert_int_eq(lstat(place, &status), 0);
	if (listener_bound_to(first.fd, &status) >= 0)
		return true;
	printf("SKIP: %s: this kernel does not tell what a socket is bound to\n", claim);
	return false;
}

/* -- taking over --------------------------------------------------------------------------- */

static void one_is_before_us(void)
{
	ck_assert_msg(open_listener(&first) == 0, "%s", fault.text);
}

static int adopt(int fd, int fd_lock)
{
	memset(&fault, 0, sizeof(fault));
	return listener_adopt(&listener, fd, fd_lock, &config, &fault);
}

static void must_adopt(void)
{
	ck_assert_msg(adopt(first.fd, first.lock) == 0, "%s", fault.text);
	ck_assert_int_eq(listener.fd, first.fd);
	ck_assert_int_eq(listener.lock, first.lock);
}

/* Refused with `error` and words about `word`; the descriptors are still the caller's. */
static void must_refuse_these(int fd, int fd_lock, int error, const char *word)
{
	bool was_open = fcntl(fd, F_GETFD) >= 0, was_locked = fcntl(fd_lock, F_GETFD) >= 0;
	int r;

	listener = (struct listener){ .fd = -2, .lock = -2, .inode = 1 };
	r = adopt(fd, fd_lock);
	ck_assert_msg(r == error, "%d, not %d: %s", r, error, fault.text);
	ck_assert_msg(strstr(fault.text, word) != NULL, "'%s' without '%s'", fault.text, word);
	ck_assert_int_eq(listener.fd, -1);
	ck_assert_int_eq(listener.lock, -1);
	ck_assert_uint_eq(listener.inode, 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD) >= 0, was_open);
	ck_assert_int_eq(fcntl(fd_lock, F_GETFD) >= 0, was_locked);
}

static void must_refuse(int error, const char *word)
{
	must_refuse_these(first.fd, first.lock, error, word);
}

/* Nothing of what was left to us has changed. */
static void must_be_untouched(void)
{
	listener_close(&listener);
	ck_assert(is_there(lock));
	ck_assert_int_eq(try_connect(place), 0);
}

static mode_t mode_of(const char *path)
{
	struct stat status;

	ck_assert_int_eq(lstat(path, &status), 0);
	return status.st_mode & 07777;
}

static void clear_flags(int fd)
{
	ck_assert_int_eq(fcntl(fd, F_SETFD, 0), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
}

/* -- what is ours -------------------------------------------------------------------------- */

START_TEST(a_listener_is_taken_over_as_if_it_was_opened)
{
	one_is_before_us();
	clear_flags(first.fd);
	clear_flags(first.lock);
	must_adopt();
	ck_assert(!listener.inherited && listener.own_only);
	ck_assert_str_eq(listener.endpoint.path, first.endpoint.path);
	ck_assert_uint_ne(listener.inode, 0);
	ck_assert_uint_eq(listener.inode, first.inode);
	ck_assert_uint_eq(listener.device, first.device);
	ck_assert_int_eq(fcntl(listener.fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(listener.lock, F_GETFD), FD_CLOEXEC);
	ck_assert_int_ne(fcntl(listener.fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(try_connect(place), 0);
	/* And so it ends. */
	listener_close(&listener);
	ck_assert(!is_there(place) && !is_there(lock));
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

/* Both descriptors, as they go from one process to the next. */
struct parcel {
	char byte;
	struct iovec part;
	char control[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(sizeof(size_t))));
	struct msghdr message;
};

static void parcel_init(struct parcel *parcel)
{
	*parcel = (struct parcel){ .part = { .iov_base = &parcel->byte, .iov_len = 1 } };
	parcel->message = (struct msghdr){ .msg_iov = &parcel->part,
		.msg_iovlen = 1,
		.msg_control = parcel->control,
		.msg_controllen = sizeof(parcel->control) };
}

/* A process that opens a listener, sends it and ends. Returns its pid. */
static pid_t another_was_before_us(void)
{
	struct parcel parcel;
	struct cmsghdr *header;
	int ends[2], fds[2], status;
	pid_t child;

	parcel_init(&parcel);
	header = CMSG_FIRSTHDR(&parcel.message);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		MUST(open_listener(&first) == 0);
		*header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
			.cmsg_len = CMSG_LEN(sizeof(fds)) };
		fds[0] = first.fd;
		fds[1] = first.lock;
		memcpy(CMSG_DATA(header), fds, sizeof(fds));
		MUST(sendmsg(ends[1], &parcel.message, 0) == 1);
		_exit(0);
	}
	close(ends[1]);
	ck_assert_int_eq(recvmsg(ends[0], &parcel.message, 0), 1);
	ck_assert_uint_eq(header->cmsg_len, CMSG_LEN(sizeof(fds)));
	memcpy(fds, CMSG_DATA(header), sizeof(fds));
	first = (struct listener){ .fd = fds[0], .lock = fds[1] };
	close(ends[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	return child;
}

START_TEST(what_another_process_made_is_taken_over)
{
	struct sockaddr_un address = address_of(place);
	pid_t maker = another_was_before_us();
	int early = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ucred shown;
	socklen_t size = sizeof(shown);
	struct listener other;
	int fd;

	/* Nobody is there, and the place is not free. */
	ck_assert_int_eq(connect(early, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(open_listener(&other), -EADDRINUSE);
	must_adopt();
	ck_assert_int_eq(open_listener(&other), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(fault.text, "another memguardd serves"));
	/* Who has come early is served; clients see who made it. */
	fd = accept(listener.fd, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(getsockopt(early, SOL_SOCKET, SO_PEERCRED, &shown, &size), 0);
	ck_assert_int_eq(shown.pid, maker);
	close(fd);
	close(early);
	early = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(early, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(getsockopt(early, SOL_SOCKET, SO_PEERCRED, &shown, &size), 0);
	ck_assert_int_eq(shown.pid, maker);
	close(early);
	listener_close(&listener);
	ck_assert(!is_there(place) && !is_there(lock));
}
END_TEST

START_TEST(the_rights_are_those_that_are_configured_now)
{
	static const mode_t modes[] = { 0660, 0666, 0600, 0640 };
	struct stat status;

	one_is_before_us();
	config.socket_group = geteuid() == 0 ? 4242 : getegid();
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		config.socket_mode = modes[i];
		must_adopt();
		ck_assert_uint_eq(mode_of(place), modes[i]);
		ck_assert_int_eq(listener.own_only, modes[i] == 0600);
		ck_assert_int_eq(stat(place, &status), 0);
		ck_assert_uint_eq(status.st_gid, config.socket_group);
	}
}
END_TEST

START_TEST(rights_that_cannot_be_given_are_refused)
{
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(home, NOBODY, NOBODY), 0);
		ck_assert_int_eq(chown(folder, NOBODY, NOBODY), 0);
		ck_assert_int_eq(seteuid(NOBODY), 0);
	}
	one_is_before_us();
	config.socket_group = 4242;
	must_refuse(-EPERM, "rights");
	must_be_untouched();
	ck_assert_uint_eq(mode_of(place), 0600);
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

START_TEST(nothing_is_left_open)
{
	size_t before;

	one_is_before_us();
	before = count_descriptors();
	for (int i = 0; i < 5; i++) {
		must_adopt();
		config.socket.path[0] = '\0';
		must_refuse(-EADDRNOTAVAIL, "none");
		strcpy(config.socket.path, place);
	}
	ck_assert_uint_eq(count_descriptors(), before);
}
END_TEST

/* -- the place ----------------------------------------------------------------------------- */

START_TEST(another_place_than_the_configured_one_is_refused)
{
	one_is_before_us();
	strcpy(config.socket.path, beside);
	must_refuse(-EADDRNOTAVAIL, place);
	ck_assert_ptr_nonnull(strstr(fault.text, beside));
	must_be_untouched();
	ck_assert(!is_there(beside));
	config.socket.path[0] = '\0';
	must_refuse(-EADDRNOTAVAIL, "configured is none");
	must_be_untouched();
	/* A longer and a shorter one. */
	snprintf(config.socket.path, sizeof(config.socket.path), "%ss", place);
	must_refuse(-EADDRNOTAVAIL, place);
	strcpy(config.socket.path, place);
	config.socket.path[strlen(place) - 1] = '\0';
	must_refuse(-EADDRNOTAVAIL, place);
	must_be_untouched();
}
END_TEST

START_TEST(a_socket_without_a_path_is_refused)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	one_is_before_us();
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	must_refuse_these(fd, first.lock, -EADDRNOTAVAIL, "no path");
	config.socket.path[0] = '\0';
	must_refuse_these(fd, first.lock, -EADDRNOTAVAIL, "no path");
	close(fd);
	must_be_untouched();
}
END_TEST

START_TEST(a_folder_that_others_may_write_is_refused)
{
	one_is_before_us();
	ck_assert_int_eq(chmod(folder, 0777), 0);
	must_refuse(-EPERM, "others may write");
	must_be_untouched();
	ck_assert_int_eq(chmod(folder, 0700), 0);
	must_adopt();
}
END_TEST

START_TEST(a_place_that_is_gone_is_refused)
{
	one_is_before_us();
	ck_assert_int_eq(unlink(place), 0);
	must_refuse(-ENOENT, place);
	ck_assert(!is_there(place) && is_there(lock));
}
END_TEST

/* Whoever keeps the lock keeps the place. */
START_TEST(what_is_refused_is_closed_before_one_is_made_anew)
{
	one_is_before_us();
	ck_assert_int_eq(unlink(place), 0);
	must_refuse(-ENOENT, place);
	ck_assert_int_eq(open_listener(&listener), -EADDRINUSE);
	close(first.fd);
	close(first.lock);
	ck_assert_msg(open_listener(&listener) == 0, "%s", fault.text);
	ck_assert_int_eq(try_connect(place), 0);
}
END_TEST

START_TEST(another_file_in_its_place_is_refused)
{
	one_is_before_us();
	config.socket_mode = 0666;
	ck_assert_int_eq(rename(place, beside), 0);
	close(open(place, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	must_refuse(-ESTALE, "no longer the socket");
	ck_assert_uint_eq(mode_of(place), 0600);
	ck_assert_int_eq(unlink(place), 0);
	/* A link that leads to it, too: it is not what would be taken away. */
	ck_assert_int_eq(symlink(beside, place), 0);
	must_refuse(-ESTALE, "no longer the socket");
	ck_assert_uint_eq(mode_of(beside), 0600);
	listener_close(&listener);
	ck_assert(is_there(place) && is_there(beside) && is_there(lock));
	ck_assert_int_eq(unlink(place), 0);
	ck_assert_int_eq(rename(beside, place), 0);
	must_adopt();
}
END_TEST

START_TEST(another_servers_socket_in_its_place_is_refused)
{
	int fd;

	one_is_before_us();
	if (!kernel_tells("another_servers_socket_in_its_place_is_refused"))
		return;
	ck_assert_int_eq(rename(place, beside), 0);
	fd = serve_at(place, SOCK_STREAM, 1);
	config.socket_mode = 0666;
	ck_assert_int_eq(chmod(place, 0700), 0);
	must_refuse(-ESTALE, "no longer the socket");
	ck_assert_uint_eq(mode_of(place), 0700);
	listener_close(&listener);
	ck_assert_int_eq(try_connect(place), 0);
	close(fd);
	/* One that nobody serves any more, and one that was gone in between. */
	must_refuse(-ESTALE, "no longer the socket");
	ck_assert_int_eq(unlink(place), 0);
	ck_assert_int_eq(unlink(beside), 0);
	fd = serve_at(place, SOCK_STREAM, 1);
	must_refuse(-ESTALE, "no longer the socket");
	close(fd);
}
END_TEST

/* What makes the difference above is the kernel's word; the lock is what is left without it. */
START_TEST(where_the_kernel_does_not_tell_the_lock_vouches_for_the_place)
{
	int fd;

	one_is_before_us();
	kernel_is_silent = true;
	must_adopt();
	ck_assert_int_eq(unlink(place), 0);
	must_refuse(-ENOENT, place);
	fd = serve_at(place, SOCK_STREAM, 1);
	must_adopt();
	close(fd);
	ck_assert_int_eq(unlink(place), 0);
	close(open(place, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	must_refuse(-ESTALE, "no longer the socket");
	ck_assert_int_eq(unlink(lock), 0);
	must_refuse(-ESTALE, "not the lock");
}
END_TEST

START_TEST(what_is_no_listening_stream_socket_is_refused)
{
	int fds[5];

	one_is_before_us();
	fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fds[2] = serve_at(beside, SOCK_DGRAM, 0);
	ck_assert_int_eq(unlink(beside), 0);
	fds[3] = serve_at(beside, SOCK_SEQPACKET, 1);
	fds[4] = -1;
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		must_refuse_these(fds[i], first.lock, -ENOTSOCK, "no listening Unix stream");
		must_refuse_these(fds[i], -1, -ENOTSOCK, "no listening Unix stream");
	}
	for (size_t i = 0; i < 4; i++)
		close(fds[i]);
	must_be_untouched();
	must_adopt();
}
END_TEST

/* -- the lock ------------------------------------------------------------------------------ */

START_TEST(a_lock_that_another_holds_is_refused)
{
	int fd;

	one_is_before_us();
	fd = open(lock, O_RDWR | O_CLOEXEC);
	must_refuse_these(first.fd, fd, -EADDRINUSE, "another memguardd serves unix:");
	ck_assert_ptr_nonnull(strstr(fault.text, place));
	must_be_untouched();
	close(fd);
}
END_TEST

START_TEST(a_lock_that_nobody_holds_is_taken)
{
	struct listener other;

	one_is_before_us();
	ck_assert_int_eq(flock(first.lock, LOCK_UN), 0);
	must_adopt();
	ck_assert_int_eq(open_listener(&other), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(fault.text, "another memguardd serves"));
}
END_TEST

START_TEST(what_is_not_the_lock_is_refused)
{
	int fd;

	one_is_before_us();
	must_refuse_these(first.fd, 1000, -EBADF, "cannot be locked");
	fd = open(beside, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must_refuse_these(first.fd, fd, -ESTALE, "not the lock");
	must_be_untouched();
	/* Somebody has taken the lock file away, and another one has made his. */
	ck_assert_int_eq(unlink(lock), 0);
	must_refuse(-ESTALE, "not the lock");
	close(open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	must_refuse(-ESTALE, "not the lock");
	must_be_untouched();
	close(fd);
}
END_TEST

/* -- the service manager's ----------------------------------------------------------------- */

static void adopt_managers(int fd)
{
	ck_assert_msg(adopt(fd, -1) == 0, "%s", fault.text);
	ck_assert(listener.inherited);
	ck_assert_int_eq(listener.fd, fd);
	ck_assert_int_eq(listener.lock, -1);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
}

START_TEST(without_a_lock_it_stays_the_service_managers)
{
	int fd = serve_at(beside, SOCK_STREAM, 8);

	ck_assert_int_eq(chmod(beside, 0644), 0);
	clear_flags(fd);
	/* The configured place is nobody's, and its rights are not these. */
	adopt_managers(fd);
	ck_assert_str_eq(listener.endpoint.path, beside);
	ck_assert(!listener.own_only && !is_there(place) && !is_there(lock));
	ck_assert_uint_eq(mode_of(beside), 0644);
	ck_assert_int_eq(chmod(beside, 0600), 0);
	config.socket.path[0] = '\0';
	adopt_managers(fd);
	ck_assert(listener.own_only);
	ck_assert_int_eq(try_connect(beside), 0);
	listener_close(&listener);
	ck_assert(is_there(beside));
	ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
}
END_TEST

START_TEST(the_service_managers_may_have_no_path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	adopt_managers(fd);
	ck_assert_str_eq(listener.endpoint.path, "");
	ck_assert(!listener.own_only);
}
END_TEST

START_TEST(the_service_managers_place_is_looked_at_too)
{
	int fd = serve_at(beside, SOCK_STREAM, 8);

	ck_assert_int_eq(unlink(beside), 0);
	must_refuse_these(fd, -1, -ENOENT, beside);
	close(open(beside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	must_refuse_these(fd, -1, -ESTALE, "no longer the socket");
	listener_close(&listener);
	ck_assert(is_there(beside));
	close(fd);
}
END_TEST

static void add_claims(TCase *claims)
{
	tcase_add_test(claims, a_listener_is_taken_over_as_if_it_was_opened);
	tcase_add_test(claims, what_another_process_made_is_taken_over);
	tcase_add_test(claims, the_rights_are_those_that_are_configured_now);
	tcase_add_test(claims, rights_that_cannot_be_given_are_refused);
	tcase_add_test(claims, nothing_is_left_open);
	tcase_add_test(claims, another_place_than_the_configured_one_is_refused);
	tcase_add_test(claims, a_socket_without_a_path_is_refused);
	tcase_add_test(claims, a_folder_that_others_may_write_is_refused);
	tcase_add_test(claims, a_place_that_is_gone_is_refused);
	tcase_add_test(claims, what_is_refused_is_closed_before_one_is_made_anew);
	tcase_add_test(claims, another_file_in_its_place_is_refused);
	tcase_add_test(claims, another_servers_socket_in_its_place_is_refused);
	tcase_add_test(claims, where_the_kernel_does_not_tell_the_lock_vouches_for_the_place);
	tcase_add_test(claims, what_is_no_listening_stream_socket_is_refused);
	tcase_add_test(claims, a_lock_that_another_holds_is_refused);
	tcase_add_test(claims, a_lock_that_nobody_holds_is_taken);
	tcase_add_test(claims, what_is_not_the_lock_is_refused);
	tcase_add_test(claims, without_a_lock_it_stays_the_service_managers);
	tcase_add_test(claims, the_service_managers_may_have_no_path);
	tcase_add_test(claims, the_service_managers_place_is_looked_at_too);
}

int main(void)
{
	TCase *claims = tcase_create("listener_adopt");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	add_claims(claims);
	return claims_run(claims, "listener_adopt");
}
