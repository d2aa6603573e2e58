/* SPDX-License-Identifier: Apache-2.0 */

/*
 * deny [--drop-cap-ipc-lock] [--memlock BYTES] [CALL[=ERRNO]]... -- CMD ARGS
 *
 * Becomes CMD in a world where the named system calls fail with ERRNO (a name or a number; ENOSYS
 * when none is given), or one thing that a call does (PIDFD_GET_INFO, SO_PEERPIDFD). That is how
 * tests see what a program does on a kernel without memfd_secret, in a container that refuses
 * mlock, or under a small limit of locked memory. Needs no privilege; sets no_new_privs. Exit
 * status: CMD's; 125 when the world cannot be made so, 126 or 127 when CMD cannot be run.
 */
#include <ctype.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_AARCH64
#else
#error "name this machine's AUDIT_ARCH here"
#endif

/* The C library's headers may be older than the kernel. */
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif

#define EXIT_SETUP 125
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND 127
#define RULES_MAX 16

struct named {
	const char *name;
	long number;
};

static const struct named calls[] = {
	{ "getrandom", SYS_getrandom },
	{ "madvise", SYS_madvise },
	{ "memfd_create", SYS_memfd_create },
	{ "memfd_secret", SYS_memfd_secret },
	{ "mlock", SYS_mlock },
	{ "mlock2", SYS_mlock2 },
	{ "mseal", SYS_mseal },
	{ "munmap", SYS_munmap },
	{ "pidfd_open", SYS_pidfd_open },
	{ "ptrace", SYS_ptrace },
	{ NULL, 0 },
};

/* Of a call that does many things one: told by an argument, counted from 0. */
static const struct part {
	const char *name;
	uint32_t call;
	uint32_t argument;
	uint32_t value;
} parts[] = {
	{ "PIDFD_GET_INFO", SYS_ioctl, 1, 0xc040ff0b },
	{ "SO_PEERPIDFD", SYS_getsockopt, 2, 77 },
};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

static const struct named errors[] = {
	{ "EACCES", EACCES },
	{ "EAGAIN", EAGAIN },
	{ "EINVAL", EINVAL },
	{ "EMFILE", EMFILE },
	{ "ENOMEM", ENOMEM },
	{ "ENOPROTOOPT", ENOPROTOOPT },
	{ "ENOSYS", ENOSYS },
	{ "ENOTTY", ENOTTY },
	{ "EPERM", EPERM },
	{ NULL, 0 },
};

struct rule {
	uint32_t call;
	uint32_t error;
	const struct part *part; /* NULL: whatever its arguments are */
};

/* What the command line asks for. */
struct order {
	struct rule rules[RULES_MAX];
	size_t count;
	bool drop_cap;
	bool limit;
	rlim_t memlock; /* bytes */
	char **command;
};

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("deny: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(EXIT_SETUP);
}

/* The number behind a name of the table, or a number written as such; -1 for neither. */
static long number_of(const struct named *table, const char *text)
{
	char *end;
	long number;

	for (; table->name; table++)
		if (strcmp(table->name, text) == 0)
			return table->number;
	if (!isdigit((unsigned char)*text))
		return -1;
	errno = 0;
	number = strtol(text, &end, 10);
	return *end == '\0' && errno == 0 ? number : -1;
}

static const struct part *find_part(const char *text)
{
	for (size_t i = 0; i < PARTS; i++)
		if (strcmp(parts[i].name, text) == 0)
			return &parts[i];
	return NULL;
}

static void parse_rule(struct order *order, char *text)
{
	char *error = strchr(text, '=');
	const struct part *part;
	long call;
	long number = ENOSYS;

	if (order->count == RULES_MAX)
		fail("more than %d calls", RULES_MAX);
	if (error) {
		*error = '\0';
		number = number_of(errors, error + 1);
		/* The kernel carries an errno of a filter in 12 bits. */
		if (number < 1 || number > 4095)
			fail("unknown errno: %s", error + 1);
	}
	part = find_part(text);
	call = part ? (long)part->call : number_of(calls, text);
	if (call < 0 || call > INT32_MAX)
		fail("unknown system call: %s", text);
	order->rules[order->count].call = (uint32_t)call;
	order->rules[order->count].error = (uint32_t)number;
	order->rules[order->count].part = part;
	order->count++;
}

static void parse_limit(struct order *order, const char *text)
{
	char *end;

	if (!text || !isdigit((unsigned char)*text))
		fail("--memlock takes a number of bytes");
	errno = 0;
	order->memlock = strtoull(text, &end, 10);
	if (*end != '\0' || errno != 0)
		fail("not a number of bytes: %s", text);
	order->limit = true;
}

static void parse(struct order *order, char **word)
{
	for (; *word && strcmp(*word, "--") != 0; word++) {
		if (strcmp(*word, "--drop-cap-ipc-lock") == 0)
			order->drop_cap = true;
		else if (strcmp(*word, "--memlock") == 0)
			parse_limit(order, *++word);
		else if (**word == '-')
			fail("unknown option: %s", *word);
		else
			parse_rule(order, *word);
	}
	if (!*word || !word[1])
		fail("usage: deny [--drop-cap-ipc-lock] [--memlock BYTES] [CALL[=ERRNO]]... -- CMD "
		     "ARGS");
	order->command = word + 1;
}

/* Takes the capability out of the three sets that capset(2) keeps. */
static void drop_from_sets(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	struct __user_cap_data_struct *word = &data[CAP_TO_INDEX(CAP_IPC_LOCK)];
	uint32_t bit = CAP_TO_MASK(CAP_IPC_LOCK);

	if (syscall(SYS_capget, &header, data) < 0)
		fail("capget: %s", strerror(errno));
	word->effective &= ~bit;
	word->permitted &= ~bit;
	word->inheritable &= ~bit;
	if (syscall(SYS_capset, &header, data) < 0)
		fail("capset: %s", strerror(errno));
}

/*
 * The bounding set goes first, while there is the right to change it. An ordinary user has no such
 * right and needs none: under no_new_privs an exec cannot give what the caller has not.
 */
static void drop_capability(void)
{
	if (prctl(PR_CAPBSET_READ, CAP_IPC_LOCK) == 1 &&
		prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0) < 0 && geteuid() == 0)
		fail("bounding set: %s", strerror(errno));
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_IPC_LOCK, 0, 0) < 0 && errno != EINVAL)
		fail("ambient set: %s", strerror(errno));
	drop_from_sets();
}

static void set_limit(rlim_t bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		fail("limit of locked memory: %s", strerror(errno));
}

/* Each of them goes on behind itself when it does not match. Returns how many instructions it is.
 */
static size_t write_rule(struct sock_filter *filter, const struct rule *rule)
{
	const struct sock_filter load_number =
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	const struct sock_filter end = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | rule->error);
	size_t at = 0;

	filter[at++] = load_number;
	filter[at++] = (struct sock_filter)BPF_JUMP(
		BPF_JMP | BPF_JEQ | BPF_K, rule->call, 0, rule->part ? 3 : 1);
	if (rule->part) {
		/* The lower half comes first on the machines of this test. */
		filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			offsetof(struct seccomp_data, args) + 8 * rule->part->argument);
		filter[at++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, rule->part->value, 0, 1);
	}
	filter[at++] = end;
	return at;
}

/* At most five instructions a rule, behind three that end calls of a foreign architecture. */
static void install(const struct rule *rules, size_t count)
{
	struct sock_filter filter[4 + 5 * RULES_MAX] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_HERE, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { .filter = filter };
	size_t at = 3;

	for (size_t i = 0; i < count; i++)
		at += write_rule(filter + at, &rules[i]);
	filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = (unsigned short)at;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
		fail("system call filter: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct order order = { 0 };

	if (argc < 1)
		return EXIT_SETUP;
	parse(&order, argv + 1);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail("no_new_privs: %s", strerror(errno));
	if (order.limit)
		set_limit(order.memlock);
	if (order.drop_cap)
		drop_capability();
	if (order.count > 0)
		install(order.rules, order.count);
	execvp(order.command[0], order.command);
	fprintf(stderr, "deny: %s: %s\n", order.command[0], strerror(errno));
	return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}
