/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <mgclient-backup.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/name.h"
#include "client/cli/outfile.h"
#include "client/cli/owning.h"
#include "client/cli/passphrase.h"
#include "client/cli/progress.h"
#include "client/cli/say.h"

/* Either way under way, with everything it needs. */
struct bundling {
	const struct arguments *arguments;
	const char *file; /* "-": stdout, stdin */
	struct mg_client *client;
	struct mg_backup_options options;
	struct progress progress;
	struct mg_backup_count count;
};

static bool is_standard(const char *file)
{
	return strcmp(file, "-") == 0;
}

static int say_file(const char *file, int error)
{
	bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;

	return say_error(full ? MG_LIMIT : MG_INVALID, "%s: %s", file, strerror(error));
}

static void on_progress(void *context, const struct mg_backup_count *so_far)
{
	progress_show(context, so_far->secrets, so_far->bytes);
}

/* What the library is told beside the key. */
static void begin(struct bundling *bundling, const char *deed, const char *prefix)
{
	const struct arguments *arguments = bundling->arguments;

	bundling->options.prefix = prefix;
	bundling->options.progress = on_progress;
	bundling->options.context = &bundling->progress;
	progress_begin(&bundling->progress, deed, !arguments->quiet && !arguments->json);
}

/* The library's words, about the file. */
static int say_bundle(const struct bundling *bundling, int status)
{
	return say_error(status, "%s: %s", bundling->file, mg_last_error());
}

/* The line for a person. A restore leaves nothing out. */
static void tell_person(
	const struct bundling *bundling, const char *deed, const char *way, const char *file)
{
	const struct mg_backup_count *count = &bundling->count;
	char secrets[ANSWER_WORDS_MAX];
	char bytes[ANSWER_WORDS_MAX];
	char left_out[200] = "";

	answer_secrets(secrets, count->secrets);
	answer_bytes(bytes, count->bytes);
	if (count->left_out > 0)
		snprintf(left_out, sizeof(left_out),
			"; %" PRIu64 " left out (session, process-bound or read-limited, a stream, "
			"or policy asks for a --reason)",
			count->left_out);
	say_done("%s %s (%s) %s %s%s", deed, secrets, bytes, way, file, left_out);
}

/* What went into a bundle, or came out of one. */
static json_t *answer_count(const struct bundling *bundling)
{
	json_t *answer = answer_new();

	answer_number(answer, "secrets", bundling->count.secrets);
	answer_number(answer, "bytes", bundling->count.bytes);
	return answer;
}

static int tell_backup(const struct bundling *bundling)
{
	bool standard = is_standard(bundling->file);
	json_t *answer;

	tell_person(bundling, "backed up", "to", standard ? "standard output" : bundling->file);
	if (!bundling->arguments->json)
		return 0;
	answer = answer_count(bundling);
	answer_number(answer, "left_out", bundling->count.left_out);
	return answer_print(answer);
}

static int tell_restore(const struct bundling *bundling)
{
	bool standard = is_standard(bundling->file);

	tell_person(bundling, "restored", "from", standard ? "standard input" : bundling->file);
	return bundling->arguments->json ? answer_print(answer_count(bundling)) : 0;
}

/* -- pairs --------------------------------------------------------------------------------- */

/* The public key is what a backup is given as --recipient. */
static int print_public_key(const struct arguments *arguments, const unsigned char *key)
{
	char text[2 * MG_BACKUP_KEY_SIZE + 1];
	json_t *answer;

	for (size_t i = 0; i < MG_BACKUP_KEY_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", key[i]);
	if (!arguments->json) {
		puts(text);
		return 0;
	}
	answer = answer_new();
	answer_text(answer, "recipient", text);
	return answer_print(answer);
}

/* Straight from guarded memory to the file. */
static int write_private_key(const char *path, const struct mg_secret *key)
{
	int fd = outfile_open(path);
	ssize_t n;
	int r;

	if (fd == -EINVAL)
		return say_error(MG_INVALID, "%s is no regular file", path);
	if (fd < 0)
		return say_file(path, -fd);
	n = write(fd, mg_secret_data(key), MG_BACKUP_KEY_SIZE);
	r = n == MG_BACKUP_KEY_SIZE ? outfile_keep() : n < 0 ? -errno : -ENOSPC;
	if (r == 0)
		return 0;
	outfile_drop();
	return say_file(path, -r);
}

static int make_pair(const struct arguments *arguments)
{
	MG_AUTO_SECRET struct mg_secret *private_key = NULL;
	unsigned char public_key[MG_BACKUP_KEY_SIZE];
	int r;

	if (arguments->operand_count > 0 || arguments->recipient.given ||
		arguments->passphrase_fd >= 0 || arguments->prefix)
		return say_error(MG_INVALID, "backup: --new-key goes with nothing else");
	r = mg_backup_keypair(public_key, &private_key, MG_MEMORY_PREFER_LOCK);
	if (r != MG_OK)
		return say_failed(r, NULL);
	r = write_private_key(arguments->new_key, private_key);
	return r == 0 ? print_public_key(arguments, public_key) : r;
}

/* -- backup -------------------------------------------------------------------------------- */

static int check_backup(const struct arguments *arguments)
{
	bool standard;

	if (arguments->operand_count == 0)
		return say_error(MG_INVALID, "backup: FILE is missing; usage: mgctl backup FILE");
	if (arguments->recipient.given && arguments->passphrase_fd >= 0)
		return say_error(
			MG_INVALID, "backup: --recipient and --passphrase-fd do not go together");
	standard = is_standard(arguments->operands[0]);
	if (standard && arguments->json)
		return say_error(MG_INVALID, "backup: --json does not go with a bundle on stdout");
	if (standard && isatty(STDOUT_FILENO))
		return say_error(
			MG_INVALID, "a bundle is not written to a terminal: name a file, or pipe");
	return 0;
}

static int open_target(const struct bundling *bundling, int *fdp)
{
	*fdp = is_standard(bundling->file) ? STDOUT_FILENO : outfile_open(bundling->file);
	if (*fdp == -EINVAL)
		return say_error(
			MG_INVALID, "%s is no regular file: redirect '-' instead", bundling->file);
	return *fdp < 0 ? say_file(bundling->file, -*fdp) : 0;
}

static int write_bundle(struct bundling *bundling)
{
	int fd;
	int r = open_target(bundling, &fd);

	if (r != 0)
		return r;
	r = mg_backup(bundling->client, fd, &bundling->options, &bundling->count);
	progress_end(&bundling->progress);
	if (r != MG_OK)
		r = say_bundle(bundling, r);
	else if (!is_standard(bundling->file) && (r = outfile_keep()) < 0)
		r = say_file(bundling->file, -r);
	outfile_drop();
	return r;
}

/* The passphrase is asked for before anything is begun. */
static int run_backup(struct bundling *bundling)
{
	const struct arguments *arguments = bundling->arguments;
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *passphrase = NULL;
	owning(freep) char *prefix =
		name_prefix_from_shell(arguments->prefix ? arguments->prefix : "");
	int r = prefix ? 0 : say_error(MG_LIMIT, "out of memory");

	if (r == 0 && arguments->recipient.given)
		bundling->options.recipient = arguments->recipient.key;
	else if (r == 0)
		r = passphrase_take(&passphrase, arguments, true);
	if (r == 0)
		r = connect_daemon(&client, arguments);
	if (r != 0)
		return r;
	bundling->client = client;
	bundling->options.passphrase = passphrase;
	begin(bundling, "backed up", prefix);
	return write_bundle(bundling);
}

int command_backup(const struct arguments *arguments)
{
	struct bundling bundling = { .arguments = arguments };
	int r;

	if (arguments->new_key)
		return make_pair(arguments);
	r = check_backup(arguments);
	if (r == 0) {
		bundling.file = arguments->operands[0];
		r = run_backup(&bundling);
	}
	return r == 0 ? tell_backup(&bundling) : r;
}

/* -- restore ------------------------------------------------------------------------------- */

static int check_restore(const struct arguments *arguments)
{
	bool key = arguments->key || arguments->key_fd >= 0;

	if (arguments->key && arguments->key_fd >= 0)
		return say_error(MG_INVALID, "restore: --key and --key-fd do not go together");
	if (key && arguments->passphrase_fd >= 0)
		return say_error(MG_INVALID, "restore: a key and a passphrase do not go together");
	if (is_standard(arguments->operands[0]) && isatty(STDIN_FILENO))
		return say_error(
			MG_INVALID, "a bundle is not read from a terminal: name a file, or pipe");
	return 0;
}

/* All of a descriptor: as many bytes as a key has, and no more. */
static int read_key(struct mg_secret **keyp, int fd, const char *label)
{
	int r = mg_secret_from_fd_all(keyp, fd, MG_BACKUP_KEY_SIZE, MG_MEMORY_PREFER_LOCK);

	if (r != MG_OK && r != MG_LIMIT)
		return say_error(MG_INVALID, "%s: %s", label, mg_last_error());
	if (r == MG_OK && mg_secret_size(*keyp) == MG_BACKUP_KEY_SIZE)
		return 0;
	return say_error(
		MG_INVALID, "%s holds no private key of %d bytes", label, MG_BACKUP_KEY_SIZE);
}

/* A file of one's own that others can open: as ssh says of its keys, it is no secret any more. */
static int check_key_file(int fd, const char *path)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return say_file(path, errno);
	if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) == 0)
		return 0;
	return say_error(MG_INVALID,
		"%s has mode %04o: a private key is its owner's alone; mend it with chmod 0600, "
		"and draw a new pair if somebody may have read it",
		path, (unsigned)status.st_mode & 07777);
}

static int take_key(struct mg_secret **keyp, const struct arguments *arguments)
{
	owning(closep) int fd = -1;
	int r;

	if (arguments->key_fd >= 0)
		return read_key(keyp, arguments->key_fd, "--key-fd");
	fd = open(arguments->key, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return say_file(arguments->key, errno);
	r = check_key_file(fd, arguments->key);
	return r == 0 ? read_key(keyp, fd, arguments->key) : r;
}

static int read_bundle(struct bundling *bundling)
{
	owning(closep) int opened = -1;
	int fd = STDIN_FILENO;
	int r;

	if (!is_standard(bundling->file)) {
		fd = opened = open(bundling->file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return say_file(bundling->file, errno);
	}
	r = mg_restore(bundling->client, fd, &bundling->options, &bundling->count);
	progress_end(&bundling->progress);
	return r == MG_OK ? 0 : say_bundle(bundling, r);
}

static int run_restore(struct bundling *bundling)
{
	const struct arguments *arguments = bundling->arguments;
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *secret = NULL;
	owning(freep) char *prefix =
		name_prefix_from_shell(arguments->prefix ? arguments->prefix : "");
	bool key = arguments->key || arguments->key_fd >= 0;
	int r = prefix ? 0 : say_error(MG_LIMIT, "out of memory");

	if (r == 0)
		r = key ? take_key(&secret, arguments) : passphrase_take(&secret, arguments, false);
	if (r == 0)
		r = connect_daemon(&client, arguments);
	if (r != 0)
		return r;
	bundling->client = client;
	bundling->options.passphrase = key ? NULL : secret;
	bundling->options.private_key = key ? secret : NULL;
	begin(bundling, "read", prefix);
	return read_bundle(bundling);
}

int command_restore(const struct arguments *arguments)
{
	struct bundling bundling = { .arguments = arguments, .file = arguments->operands[0] };
	int r = check_restore(arguments);

	if (r == 0)
		r = run_restore(&bundling);
	return r == 0 ? tell_restore(&bundling) : r;
}
