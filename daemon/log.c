/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_SIZE 1024

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

/* A name may hold any UTF-8, but a line is a line. */
static void flatten(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

void log_line(enum log_level level, const char *format, ...)
{
	char text[LINE_MAX_SIZE], line[LINE_MAX_SIZE + 32];
	int saved = errno;
	va_list arguments;
	int size;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	flatten(text);
	if (journal)
		size = snprintf(line, sizeof(line), "<%d>%s\n", (int)level, text);
	else
		size = snprintf(line, sizeof(line), "memguardd: %s\n", text);
	/* One write, so that lines of several processes do not mix. Nobody can be told of a
	 * failure. */
	if (size > 0 && write(STDERR_FILENO, line, (size_t)size) < 0)
		errno = saved;
	errno = saved;
}
