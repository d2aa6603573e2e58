/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/listener_rig.h"

/* A listener of our own; one that is inherited has its claims in test-listener_inherited.c. */

#define NOBODY 65534

static bool needs_root(const char *claim)
{
	if (geteuid() == 0)
		return false;
	printf("SKIP: %s: only root can give files away\n", claim);
	return true;
}

/* -- between two steps of the listener: these stand before the C library's ----------------- */

static mode_t mode_before;     /* of the last file whose rights were changed */
static int locks_to_take_away; /* so often somebody is faster than a lock */

int chmod(const char *path, mode_t mode)
{
	struct stat status;

	if (lstat(path, &status) == 0)
		mode_before = status.st_mode & 07777;
	return fchmodat(AT_FDCWD, path, mode, 0);
}

/* The daemon before us ends, and the next one has its lock file there already. */
int flock(int fd, int operation)
{
	if (locks_to_take_away > 0) {
		locks_to_take_away--;
		unlink(lock);
		close(open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	}
	return (int)syscall(SYS_flock, fd, operation);
}

/* -- looking ------------------------------------------------------------------------------- */

static mode_t mode_of(const char *path)
{
	struct stat status;

	ck_assert_msg(lstat(path, &status) == 0, "%s is missing", path);
	return status.st_mode & 07777;
}

static mode_t kind_of(const char *path)
{
	struct stat status;

	ck_assert_msg(lstat(path, &status) == 0, "%s is missing", path);
	return status.st_mode & S_IFMT;
}

static ino_t inode_of(const char *path)
{
	struct stat status;

	ck_assert_msg(lstat(path, &status) == 0, "%s is missing", path);
	return status.st_ino;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void must_still_say(const char *path, const char *text)
{
	char found[64];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(read(fd, found, sizeof(found)), (ssize_t)strlen(text));
	ck_assert_mem_eq(found, text, strlen(text));
	close(fd);
}

/* -- opening ------------------------------------------------------------------------------- */

static void must_open(void)
{
	ck_assert_msg(open_listener(&listener) == 0, "%s", fault.text);
}

/* Refused with `error` and words about `word`; the listener holds nothing. */
static void must_refuse(int error, const char *word)
{
	struct listener refused = { .fd = -2, .lock = -2, .inode = 1 };
	int r;

	memset(&fault, 0, sizeof(fault));
	r = open_listener(&refused);
	ck_assert_msg(r == error, "%d, not %d: %s", r, error, fault.text);
	ck_assert_msg(strstr(fault.text, word) != NULL, "'%s' without '%s'", fault.text, word);
	ck_assert_int_eq(refused.fd, -1);
	ck_assert_int_eq(refused.lock, -1);
}

START_TEST(a_listener_is_there_for_clients)
{
	int value;
	socklen_t size = sizeof(value);

	must_open();
	ck_assert_int_eq(try_connect(place), 0);
	ck_assert_int_eq(kind_of(place), S_IFSOCK);
	ck_assert_str_eq(listener.endpoint.path, place);
	ck_assert(!listener.inherited);
	ck_assert_int_ge(listener.lock, 0);
	ck_assert_int_eq(fcntl(listener.fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(listener.lock, F_GETFD), FD_CLOEXEC);
	ck_assert_int_ne(fcntl(listener.fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(getsockopt(listener.fd, SOL_SOCKET, SO_TYPE, &value, &size), 0);
	ck_assert_int_eq(value, SOCK_STREAM);
}
END_TEST

START_TEST(the_socket_has_the_rights_asked_for_whatever_the_umask)
{
	static const mode_t modes[] = { 0600, 0660, 0666, 0640, 0777 };
	static const mode_t masks[] = { 0, 0022, 0077, 0777 };

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		for (size_t j = 0; j < sizeof(masks) / sizeof(masks[0]); j++) {
			config.socket_mode = modes[i];
			umask(masks[j]);
			must_open();
			ck_assert_uint_eq(umask(0022), masks[j]);
			ck_assert_uint_eq(mode_of(place), modes[i]);
			ck_assert_uint_eq(mode_of(lock) & 0077, 0);
			ck_assert_int_eq(listener.own_only, modes[i] == 0600);
			listener_close(&listener);
		}
}
END_TEST

START_TEST(the_socket_is_never_wider_than_asked_for)
{
	config.socket_mode = 0600;
	umask(0);
	must_open();
	ck_assert_uint_eq(mode_before & 0177, 0);
	listener_close(&listener);
	/* Nor for all, before it has its group. */
	config.socket_mode = 0660;
	config.socket_group = getegid();
	must_open();
	ck_assert_uint_eq(mode_before & 0177, 0);
}
END_TEST

START_TEST(the_socket_has_the_group_asked_for)
{
	struct stat status;

	config.socket_group = geteuid() == 0 ? 4242 : getegid();
	config.socket_mode = 0660;
	must_open();
	ck_assert_int_eq(stat(place, &status), 0);
	ck_assert_uint_eq(status.st_gid, config.socket_group);
	ck_assert_uint_eq(status.st_uid, geteuid());
	ck_assert_uint_eq(mode_of(place), 0660);
}
END_TEST

START_TEST(a_group_that_cannot_be_given_leaves_no_socket)
{
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(home, NOBODY, NOBODY), 0);
		ck_assert_int_eq(chown(folder, NOBODY, NOBODY), 0);
		ck_assert_int_eq(seteuid(NOBODY), 0);
	}
	config.socket_group = 4242;
	must_refuse(-EPERM, "rights");
	ck_assert(!is_there(place));
	ck_assert(!is_there(lock));
}
END_TEST

START_TEST(the_longest_path_is_served)
{
	size_t used = strlen(folder) + 1;

	memset(config.socket.path + used, 's', sizeof(config.socket.path) - used);
	config.socket.path[sizeof(config.socket.path) - 1] = '\0';
	ck_assert_uint_eq(strlen(config.socket.path), 107);
	must_open();
	ck_assert_int_eq(try_connect(config.socket.path), 0);
	must_refuse(-EADDRINUSE, "another memguardd");
	listener_close(&listener);
	ck_assert(!is_there(config.socket.path));
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(a_user_without_a_place_is_told_what_to_do)
{
	config.socket.path[0] = '\0';
	config.socket_given = false;
	must_refuse(-ENOENT, "use --socket");
}
END_TEST

/* -- the folder ---------------------------------------------------------------------------- */

START_TEST(a_default_places_folder_is_made_for_its_owner_or_for_all)
{
	static const struct {
		mode_t socket, folder;
	} rights[] = { { 0600, 0700 }, { 0666, 0755 }, { 0660, 0755 } };
	static const mode_t masks[] = { 0, 0022, 0027, 0077 };

	config.socket_given = false;
	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++)
		for (size_t j = 0; j < sizeof(masks) / sizeof(masks[0]); j++) {
			config.socket_mode = rights[i].socket;
			ck_assert_int_eq(rmdir(folder), 0);
			umask(masks[j]);
			must_open();
			ck_assert_uint_eq(umask(0022), masks[j]);
			ck_assert_uint_eq(mode_of(folder), rights[i].folder);
			ck_assert_uint_eq(mode_of(place), rights[i].socket);
			listener_close(&listener);
		}
}
END_TEST

START_TEST(a_default_places_folder_that_is_there_is_left_as_it_is)
{
	config.socket_given = false;
	config.socket_mode = 0666;
	must_open();
	ck_assert_uint_eq(mode_of(folder), 0700);
}
END_TEST

START_TEST(only_the_last_folder_of_a_default_place_is_made)
{
	config.socket_given = false;
	ck_assert_int_eq(rmdir(folder), 0);
	snprintf(config.socket.path, sizeof(config.socket.path), "%s/deeper/socket", folder);
	must_refuse(-ENOENT, "folder");
	ck_assert(!is_there(folder));
}
END_TEST

START_TEST(the_folder_of_a_given_place_is_not_made)
{
	ck_assert_int_eq(rmdir(folder), 0);
	must_refuse(-ENOENT, folder);
	ck_assert(!is_there(folder));
}
END_TEST

START_TEST(a_file_is_no_folder)
{
	ck_assert_int_eq(rmdir(folder), 0);
	write_file(folder, "words");
	must_refuse(-ENOTDIR, "no folder");
	must_still_say(folder, "words");
}
END_TEST

START_TEST(a_folder_that_others_may_write_is_refused)
{
	static const mode_t modes[] = { 0777, 0775, 0757, 0720, 0702, 02770 };

	for (int given = 0; given < 2; given++)
		for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
			config.socket_given = given;
			ck_assert_int_eq(chmod(folder, modes[i]), 0);
			must_refuse(-EPERM, "others may write");
			ck_assert(!is_there(place));
			ck_assert(!is_there(lock));
			ck_assert_uint_eq(mode_of(folder) & 0777, modes[i] & 0777);
		}
	ck_assert_int_eq(chmod(folder, 0755), 0);
	must_open();
}
END_TEST

START_TEST(a_sticky_folder_is_good_for_all)
{
	ck_assert_int_eq(chmod(folder, 01777), 0);
	must_open();
	ck_assert_int_eq(try_connect(place), 0);
}
END_TEST

START_TEST(a_folder_of_another_user_is_refused)
{
	static const mode_t modes[] = { 0700, 0755, 01777, 0777 };

	if (needs_root("a_folder_of_another_user_is_refused"))
		return;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		ck_assert_int_eq(chmod(folder, modes[i]), 0);
		ck_assert_int_eq(chown(folder, 1000, 0), 0);
		must_refuse(-EPERM, "belongs to uid 1000");
		ck_assert(!is_there(lock));
	}
}
END_TEST

START_TEST(a_user_may_serve_in_a_sticky_folder_of_roots)
{
	if (needs_root("a_user_may_serve_in_a_sticky_folder_of_roots"))
		return;
	ck_assert_int_eq(chmod(home, 0755), 0);
	ck_assert_int_eq(chmod(folder, 01777), 0);
	ck_assert_int_eq(seteuid(NOBODY), 0);
	must_open();
	ck_assert_int_eq(try_connect(place), 0);
}
END_TEST

/* -- what is there already ----------------------------------------------------------------- */

START_TEST(a_stale_socket_is_replaced)
{
	close(serve_at(place, SOCK_STREAM, 1));
	ck_assert_int_eq(chmod(place, 0777), 0);
	ck_assert_int_eq(try_connect(place), ECONNREFUSED);
	must_open();
	ck_assert_int_eq(try_connect(place), 0);
	ck_assert_uint_eq(mode_of(place), 0600);
}
END_TEST

START_TEST(what_a_killed_daemon_leaves_is_replaced)
{
	pid_t child = fork();
	int status;

	ck_assert_int_ge(child, 0);
	if (child == 0)
		_exit(open_listener(&listener) == 0 ? 0 : 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert(is_there(place) && is_there(lock));
	must_open();
	ck_assert_int_eq(try_connect(place), 0);
	listener_close(&listener);
	ck_assert(!is_there(place) && !is_there(lock));
}
END_TEST

START_TEST(a_second_daemon_is_told_so_and_ends)
{
	ino_t inode;

	must_open();
	inode = inode_of(place);
	for (int i = 0; i < 3; i++)
		must_refuse(-EADDRINUSE, "another memguardd serves unix:");
	ck_assert_ptr_nonnull(strstr(fault.text, place));
	/* The first one has not noticed. */
	ck_assert_uint_eq(inode_of(place), inode);
	ck_assert(is_there(lock));
	ck_assert_int_eq(try_connect(place), 0);
}
END_TEST

START_TEST(a_daemon_whose_socket_was_taken_away_still_holds_its_place)
{
	must_open();
	ck_assert_int_eq(unlink(place), 0);
	must_refuse(-EADDRINUSE, "another memguardd");
	ck_assert(!is_there(place));
	ck_assert(is_there(lock));
}
END_TEST

START_TEST(a_lock_that_is_no_longer_there_is_worth_nothing)
{
	struct stat ours;

	locks_to_take_away = 3;
	must_open();
	ck_assert_int_eq(locks_to_take_away, 0);
	ck_assert_int_eq(fstat(listener.lock, &ours), 0);
	ck_assert_uint_eq(ours.st_ino, inode_of(lock));
	must_refuse(-EADDRINUSE, "another memguardd");
}
END_TEST

START_TEST(a_lock_that_never_stays_is_given_up)
{
	locks_to_take_away = 1000;
	must_refuse(-EAGAIN, "cannot be locked");
	ck_assert_int_gt(locks_to_take_away, 900);
	ck_assert(!is_there(place));
}
END_TEST

START_TEST(another_server_is_left_alone)
{
	int fd = serve_at(place, SOCK_STREAM, 1);

	must_refuse(-EADDRINUSE, "another server listens");
	ck_assert_int_eq(try_connect(place), 0);
	ck_assert(!is_there(lock));
	close(fd);
}
END_TEST

START_TEST(a_busy_server_is_left_alone)
{
	struct sockaddr_un address = address_of(place);
	int fd = serve_at(place, SOCK_STREAM, 0);
	int waiting[8];

	for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
		waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(waiting[i], (struct sockaddr *)&address, sizeof(address));
	}
	ck_assert_int_eq(try_connect(place), EAGAIN);
	must_refuse(-EADDRINUSE, "another server listens");
	ck_assert_int_eq(kind_of(place), S_IFSOCK);
	for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++)
		close(waiting[i]);
	close(fd);
}
END_TEST

START_TEST(a_server_that_speaks_otherwise_is_left_alone)
{
	static const int types[] = { SOCK_DGRAM, SOCK_SEQPACKET };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		int fd = serve_at(place, types[i], 1);

		must_refuse(-EADDRINUSE, "another server listens");
		ck_assert_int_eq(try_connect(place), EPROTOTYPE);
		ck_assert_int_eq(unlink(place), 0);
		close(fd);
	}
}
END_TEST

START_TEST(what_is_no_socket_is_never_deleted)
{
	write_file(place, "words");
	must_refuse(-EEXIST, "no socket");
	must_still_say(place, "words");
	ck_assert_int_eq(unlink(place), 0);
	ck_assert_int_eq(mkdir(place, 0700), 0);
	must_refuse(-EEXIST, "no socket");
	ck_assert_int_eq(rmdir(place), 0);
	ck_assert_int_eq(mkfifo(place, 0600), 0);
	must_refuse(-EEXIST, "no socket");
	ck_assert_int_eq(kind_of(place), S_IFIFO);
	ck_assert(!is_there(lock));
}
END_TEST

START_TEST(a_link_is_never_followed)
{
	write_file(beside, "words");
	ck_assert_int_eq(symlink(beside, place), 0);
	must_refuse(-EEXIST, "no socket");
	ck_assert_int_eq(kind_of(place), S_IFLNK);
	must_still_say(beside, "words");
	ck_assert_int_eq(unlink(beside), 0);
	/* One that leads nowhere, and one that leads to a stale socket. */
	must_refuse(-EEXIST, "no socket");
	ck_assert(!is_there(beside));
	close(serve_at(beside, SOCK_STREAM, 1));
	must_refuse(-EEXIST, "no socket");
	ck_assert_int_eq(kind_of(beside), S_IFSOCK);
}
END_TEST

START_TEST(a_lock_that_is_a_link_is_refused)
{
	write_file(beside, "words");
	ck_assert_int_eq(symlink(beside, lock), 0);
	must_refuse(-ELOOP, "lock file");
	must_still_say(beside, "words");
	ck_assert_int_eq(kind_of(lock), S_IFLNK);
	ck_assert(!is_there(place));
	ck_assert_int_eq(unlink(beside), 0);
	must_refuse(-ELOOP, "lock file");
	ck_assert(!is_there(beside));
}
END_TEST

/* -- the end ------------------------------------------------------------------------------- */

START_TEST(the_end_leaves_nothing)
{
	must_open();
	listener_close(&listener);
	ck_assert_int_eq(listener.fd, -1);
	ck_assert_int_eq(listener.lock, -1);
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(a_listener_may_be_closed_twice)
{
	int fd, other;

	must_open();
	fd = listener.fd;
	listener_close(&listener);
	ck_assert_uint_eq(listener.inode, 0);
	/* The number belongs to somebody else now, and so does the place. */
	other = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_le(other, fd);
	write_file(place, "words");
	write_file(lock, "words");
	listener_close(&listener);
	ck_assert_int_ge(fcntl(other, F_GETFD), 0);
	must_still_say(place, "words");
	must_still_say(lock, "words");
	close(other);
}
END_TEST

START_TEST(a_file_in_our_place_stays)
{
	must_open();
	ck_assert_int_eq(unlink(place), 0);
	write_file(place, "words");
	listener_close(&listener);
	must_still_say(place, "words");
	ck_assert(!is_there(lock));
}
END_TEST

START_TEST(another_daemon_in_our_place_keeps_its_socket_and_its_lock)
{
	struct listener other;

	must_open();
	ck_assert_int_eq(unlink(place), 0);
	ck_assert_int_eq(unlink(lock), 0);
	ck_assert_int_eq(open_listener(&other), 0);
	listener_close(&listener);
	ck_assert_int_eq(try_connect(place), 0);
	ck_assert(is_there(lock));
	must_refuse(-EADDRINUSE, "another memguardd");
	listener_close(&other);
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(a_place_can_be_taken_again_and_again)
{
	for (int i = 0; i < 100; i++) {
		must_open();
		ck_assert_int_lt(listener.fd, 64);
		ck_assert_int_eq(try_connect(place), 0);
		listener_close(&listener);
		ck_assert_int_eq(try_connect(place), ENOENT);
	}
}
END_TEST

/* -- several at once ----------------------------------------------------------------------- */

#define DAEMONS 6
#define ROUNDS 30

/* Takes and leaves the place; whoever has it has it alone. */
static void come_and_go(atomic_int *holders, atomic_int *taken)
{
	for (int i = 0; i < ROUNDS;) {
		int r = open_listener(&listener);

		MUST(r == 0 || r == -EADDRINUSE || r == -EAGAIN);
		if (r < 0) {
			usleep(50);
			continue;
		}
		i++;
		MUST(atomic_fetch_add(holders, 1) == 0);
		MUST(try_connect(place) == 0);
		MUST(is_there(lock));
		atomic_fetch_add(taken, 1);
		MUST(atomic_fetch_sub(holders, 1) == 1);
		listener_close(&listener);
	}
	_exit(0);
}

START_TEST(of_many_daemons_one_serves_at_a_time)
{
	atomic_int *shared =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t children[DAEMONS];

	ck_assert_ptr_ne(shared, MAP_FAILED);
	for (size_t i = 0; i < DAEMONS; i++) {
		children[i] = fork();
		ck_assert_int_ge(children[i], 0);
		if (children[i] == 0)
			come_and_go(&shared[0], &shared[1]);
	}
	for (size_t i = 0; i < DAEMONS; i++) {
		int status;

		ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
		ck_assert_int_eq(status, 0);
	}
	ck_assert_int_eq(shared[1], DAEMONS * ROUNDS);
	ck_assert_int_eq(rmdir(folder), 0);
	munmap(shared, 4096);
}
END_TEST

static void add_places(TCase *claims)
{
	tcase_add_test(claims, a_listener_is_there_for_clients);
	tcase_add_test(claims, the_socket_has_the_rights_asked_for_whatever_the_umask);
	tcase_add_test(claims, the_socket_is_never_wider_than_asked_for);
	tcase_add_test(claims, the_socket_has_the_group_asked_for);
	tcase_add_test(claims, a_group_that_cannot_be_given_leaves_no_socket);
	tcase_add_test(claims, the_longest_path_is_served);
	tcase_add_test(claims, a_user_without_a_place_is_told_what_to_do);
	tcase_add_test(claims, a_default_places_folder_is_made_for_its_owner_or_for_all);
	tcase_add_test(claims, a_default_places_folder_that_is_there_is_left_as_it_is);
	tcase_add_test(claims, only_the_last_folder_of_a_default_place_is_made);
	tcase_add_test(claims, the_folder_of_a_given_place_is_not_made);
	tcase_add_test(claims, a_file_is_no_folder);
	tcase_add_test(claims, a_folder_that_others_may_write_is_refused);
	tcase_add_test(claims, a_sticky_folder_is_good_for_all);
	tcase_add_test(claims, a_folder_of_another_user_is_refused);
	tcase_add_test(claims, a_user_may_serve_in_a_sticky_folder_of_roots);
}

static void add_neighbours(TCase *claims)
{
	tcase_add_test(claims, a_stale_socket_is_replaced);
	tcase_add_test(claims, what_a_killed_daemon_leaves_is_replaced);
	tcase_add_test(claims, a_second_daemon_is_told_so_and_ends);
	tcase_add_test(claims, a_daemon_whose_socket_was_taken_away_still_holds_its_place);
	tcase_add_test(claims, a_lock_that_is_no_longer_there_is_worth_nothing);
	tcase_add_test(claims, a_lock_that_never_stays_is_given_up);
	tcase_add_test(claims, another_server_is_left_alone);
	tcase_add_test(claims, a_busy_server_is_left_alone);
	tcase_add_test(claims, a_server_that_speaks_otherwise_is_left_alone);
	tcase_add_test(claims, what_is_no_socket_is_never_deleted);
	tcase_add_test(claims, a_link_is_never_followed);
	tcase_add_test(claims, a_lock_that_is_a_link_is_refused);
	tcase_add_test(claims, the_end_leaves_nothing);
	tcase_add_test(claims, a_listener_may_be_closed_twice);
	tcase_add_test(claims, a_file_in_our_place_stays);
	tcase_add_test(claims, another_daemon_in_our_place_keeps_its_socket_and_its_lock);
	tcase_add_test(claims, a_place_can_be_taken_again_and_again);
	tcase_add_test(claims, of_many_daemons_one_serves_at_a_time);
}

int main(void)
{
	TCase *claims = tcase_create("listener");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	add_places(claims);
	add_neighbours(claims);
	return claims_run(claims, "listener");
}
