/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/owning.h"
#include "client/cli/say.h"
#include "client/cli/terminal.h"

/* Longer ones are no passphrases: whoever has a key file uses a key. */
#define PASSPHRASE_MAX 4000

static int say_empty(void)
{
	return say_error(MG_INVALID, "the passphrase is empty");
}

/* The first line, or all there is when it does not end in one. */
static int read_line(struct mg_secret **passphrasep, int fd, const char *label)
{
	int r = mg_secret_from_fd_until(
		passphrasep, fd, '\n', PASSPHRASE_MAX, MG_MEMORY_PREFER_LOCK);

	if (r == MG_LIMIT)
		return say_error(
			MG_INVALID, "%s: the line is longer than %d bytes", label, PASSPHRASE_MAX);
	if (r != MG_OK && r != MG_NO)
		return say_error(MG_INVALID, "%s: %s", label, mg_last_error());
	return *passphrasep ? 0 : say_empty();
}

/* -- from a person ------------------------------------------------------------------------- */

static int tell_dialogue(int error)
{
	if (error == -ENODATA)
		return say_error(MG_INVALID, "no passphrase was typed");
	if (error == -E2BIG)
		return say_error(
			MG_INVALID, "the passphrase is longer than %d bytes", TERMINAL_LINE_MAX);
	return say_error(MG_INTERNAL, "/dev/tty: %s", strerror(-error));
}

static int make_room(struct mg_secret **roomp, struct terminal_line *line)
{
	int r = mg_secret_new(roomp, TERMINAL_LINE_MAX + 1, MG_MEMORY_PREFER_LOCK);

	if (r != MG_OK)
		return say_failed(r, NULL);
	line->room = mg_secret_writable(*roomp);
	return 0;
}

/* What was typed moves to where it is as long as its memory. */
static int keep(struct mg_secret **passphrasep, const struct terminal_line *lines, bool twice)
{
	int r;

	if (lines[0].size == 0)
		return say_empty();
	r = mg_secret_from_bytes(passphrasep, lines[0].room, lines[0].size, MG_MEMORY_PREFER_LOCK);
	if (r != MG_OK)
		return say_failed(r, NULL);
	if (!twice || mg_secret_equal(*passphrasep, lines[1].room, lines[1].size))
		return 0;
	mg_secret_cleanup(passphrasep);
	return say_error(MG_INVALID, "the two passphrases differ; nothing is done");
}

static int ask(
	struct mg_secret **passphrasep, const char *question, const char *instead, bool twice)
{
	owning(closep) int terminal = terminal_open();
	MG_AUTO_SECRET struct mg_secret *first = NULL;
	MG_AUTO_SECRET struct mg_secret *second = NULL;
	struct terminal_line lines[2] = { { .question = question }, { .question = "once more: " } };
	int r;

	if (terminal < 0)
		return say_error(MG_INVALID, "there is no terminal to ask at: use %s", instead);
	r = make_room(&first, &lines[0]);
	if (r == 0 && twice)
		r = make_room(&second, &lines[1]);
	if (r != 0)
		return r;
	r = terminal_ask(terminal, lines, twice ? 2 : 1);
	return r < 0 ? tell_dialogue(r) : keep(passphrasep, lines, twice);
}

int passphrase_take(struct mg_secret **passphrasep, const struct arguments *arguments, bool twice)
{
	*passphrasep = NULL;
	if (arguments->passphrase_fd >= 0)
		return read_line(passphrasep, arguments->passphrase_fd, "--passphrase-fd");
	if (arguments->no_input)
		return say_error(MG_INVALID,
			"a passphrase is needed and may not be asked for: use --passphrase-fd");
	return ask(passphrasep, "passphrase of the bundle: ", "--passphrase-fd", twice);
}

static int read_file(struct mg_secret **passphrasep, const char *path)
{
	owning(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return say_error(MG_INVALID, "%s: %s", path, strerror(errno));
	return read_line(passphrasep, fd, path);
}

int passphrase_take_value(
	struct mg_secret **passphrasep, const struct arguments *arguments, bool twice)
{
	*passphrasep = NULL;
	if (arguments->fd >= 0)
		return read_line(passphrasep, arguments->fd, "--fd");
	if (arguments->file && strcmp(arguments->file, "-") != 0)
		return read_file(passphrasep, arguments->file);
	if (arguments->file || !isatty(STDIN_FILENO))
		return read_line(passphrasep, STDIN_FILENO, "stdin");
	if (arguments->no_input)
		return say_error(MG_INVALID,
			"a passphrase is needed and may not be asked for: use --file or a pipe");
	return ask(passphrasep, "passphrase: ", "--file or a pipe", twice && !arguments->once);
}
