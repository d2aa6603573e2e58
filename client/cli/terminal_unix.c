/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/select.h>
#include <termios.h>
#include <unistd.h>

/* What would otherwise leave a terminal without echo behind. */
static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGALRM, SIGPIPE };

#define CAUGHT (sizeof(caught) / sizeof(caught[0]))

/* A dialogue: the terminal without echo, and the signals held back but where we wait. */
struct dialogue {
	int terminal;
	struct termios before;
	sigset_t mask; /* the process's own */
	struct sigaction actions[CAUGHT];
};

static volatile sig_atomic_t arrived;

static void on_signal(int number)
{
	arrived = number;
}

/* A signal that was ignored stays ignored: nohup means it. */
static void catch_signals(struct dialogue *dialogue)
{
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t held;

	sigemptyset(&held);
	for (size_t i = 0; i < CAUGHT; i++)
		sigaddset(&held, caught[i]);
	sigemptyset(&action.sa_mask);
	arrived = 0;
	sigprocmask(SIG_BLOCK, &held, &dialogue->mask);
	for (size_t i = 0; i < CAUGHT; i++) {
		sigaction(caught[i], NULL, &dialogue->actions[i]);
		if (dialogue->actions[i].sa_handler != SIG_IGN)
			sigaction(caught[i], &action, NULL);
	}
}

static void release_signals(const struct dialogue *dialogue)
{
	for (size_t i = 0; i < CAUGHT; i++)
		sigaction(caught[i], &dialogue->actions[i], NULL);
	sigprocmask(SIG_SETMASK, &dialogue->mask, NULL);
}

static int set_mode(const struct dialogue *dialogue, const struct termios *mode)
{
	int r;

	do
		r = tcsetattr(dialogue->terminal, TCSAFLUSH, mode);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* What was typed before the question was shown is thrown away. */
static int begin(struct dialogue *dialogue)
{
	struct termios silent;
	int r;

	if (tcgetattr(dialogue->terminal, &dialogue->before) < 0)
		return -errno;
	silent = dialogue->before;
	silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	silent.c_lflag |= ICANON | ISIG;
	catch_signals(dialogue);
	r = set_mode(dialogue, &silent);
	if (r < 0)
		release_signals(dialogue);
	return r;
}

/* So is what nobody read: the rest of a pasted text must not run in the shell. */
static void end(const struct dialogue *dialogue)
{
	(void)set_mode(dialogue, &dialogue->before);
	release_signals(dialogue);
}

static int tell(int terminal, const char *text)
{
	size_t size = strlen(text);

	while (size > 0) {
		ssize_t n = write(terminal, text, size);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

/* Signals come here and nowhere else, so that none falls between a look and the wait. */
static int wait_for_line(const struct dialogue *dialogue)
{
	fd_set ready;

	FD_ZERO(&ready);
	FD_SET(dialogue->terminal, &ready);
	if (pselect(dialogue->terminal + 1, &ready, NULL, NULL, NULL, &dialogue->mask) < 0)
		return -errno;
	return 0;
}

/* The terminal hands out a line at a time, or what was typed before an end of file. */
static int read_line(const struct dialogue *dialogue, struct terminal_line *line)
{
	const char *text = line->room;
	ssize_t n;
	int r = wait_for_line(dialogue);

	if (r < 0)
		return r;
	n = read(dialogue->terminal, line->room, TERMINAL_LINE_MAX + 1);
	if (n <= 0)
		return n < 0 ? -errno : -ENODATA;
	line->size = (size_t)n;
	if (text[n - 1] == '\n')
		line->size--;
	return line->size > TERMINAL_LINE_MAX ? -E2BIG : 0;
}

static int ask(const struct dialogue *dialogue, struct terminal_line *line)
{
	int r = tell(dialogue->terminal, line->question);

	if (r < 0)
		return r;
	r = read_line(dialogue, line);
	(void)tell(dialogue->terminal, "\n");
	return r;
}

/* One stretch without echo: to the last answer, or to a signal. *donep counts the answers. */
static int ask_some(int terminal, struct terminal_line *lines, size_t count, size_t *donep)
{
	struct dialogue dialogue = { .terminal = terminal };
	int r = begin(&dialogue);

	if (r < 0)
		return r;
	while (r == 0 && *donep < count) {
		r = ask(&dialogue, &lines[*donep]);
		*donep += r == 0;
	}
	end(&dialogue);
	return r;
}

int terminal_open(void)
{
	int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (terminal < 0)
		return -errno;
	if (terminal >= FD_SETSIZE) {
		close(terminal);
		return -EMFILE;
	}
	return terminal;
}

int terminal_ask(int terminal, struct terminal_line *lines, size_t count)
{
	size_t done = 0;
	int r;

	/* The signal does now what it would have done; whoever comes back from it goes on. */
	while ((r = ask_some(terminal, lines, count, &done)) == -EINTR)
		if (arrived)
			raise(arrived);
	return r;
}
