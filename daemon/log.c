/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/span.h"
#include "common/wire/text.h"

#define LINE_MAX_SIZE 1024

/*
 * Lines that strangers may cause: so many, and one more after each pause. Each is a system call
 * that the others wait for.
 */
#define STRANGERS_AT_ONCE 100
#define STRANGERS_PAUSE_MS 100

static bool journal;

/* The service manager tells device and inode of the stream that it reads (systemd.exec(5)). */
void log_init(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long device, inode;
	struct stat status;

	journal = stream && sscanf(stream, "%lu:%lu", &device, &inode) == 2 &&
		fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device &&
		status.st_ino == inode;
}

/*
 * A name may hold any UTF-8, but a line is a line. What is none, as a file may hold it, could steer
 * a terminal; and the last character may have been cut.
 */
static void flatten(char *text)
{
	bool foreign;

	for (char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	foreign = text_fault(span_text(text)) != NULL;
	for (char *at = text; *at && foreign; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
}

/* Nobody is served while a line waits for its reader: it is left out. */
static bool is_writable(void)
{
	struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };

	return poll(&out, 1, 0) > 0;
}

__attribute__((format(printf, 2, 0))) static void write_line(
	enum log_level level, const char *format, va_list arguments)
{
	char text[LINE_MAX_SIZE], line[LINE_MAX_SIZE + 32];
	int saved = errno;
	int size;

	vsnprintf(text, sizeof(text), format, arguments);
	flatten(text);
	if (journal)
		size = snprintf(line, sizeof(line), "<%d>%s\n", (int)level, text);
	else
		size = snprintf(line, sizeof(line), "memguardd: %s\n", text);
	/* One write, so that lines of several processes do not mix. Nobody can be told of a
	 * failure. */
	if (size > 0 && is_writable() && write(STDERR_FILENO, line, (size_t)size) < 0)
		errno = saved;
	errno = saved;
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_line(level, format, arguments);
	va_end(arguments);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A bucket of lines that fills up again with time. Returns whether there is one. */
static bool take_line(void)
{
	static uint64_t filled_ms;
	static uint64_t lines = STRANGERS_AT_ONCE;
	uint64_t now = now_ms();
	uint64_t more = (now - filled_ms) / STRANGERS_PAUSE_MS;

	if (more > 0) {
		lines = more < STRANGERS_AT_ONCE - lines ? lines + more : STRANGERS_AT_ONCE;
		filled_ms = now;
	}
	if (lines == 0)
		return false;
	lines--;
	return true;
}

void log_stranger(const char *format, ...)
{
	static unsigned long left_out;
	va_list arguments;

	if (!take_line()) {
		left_out++;
		return;
	}
	if (left_out > 0)
		log_warning("%lu lines about connections were left out", left_out);
	left_out = 0;
	va_start(arguments, format);
	write_line(LOG_LEVEL_WARNING, format, arguments);
	va_end(arguments);
}
