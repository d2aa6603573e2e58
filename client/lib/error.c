/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/lib/mgclient.h"
#include "common/status.h"

#define WORDS_MAX 512

/* The two lists are one: whoever changes either breaks the build here. */
_Static_assert((int)MG_OK == STATUS_OK && (int)MG_NO == STATUS_NO, "status");
_Static_assert((int)MG_INVALID == STATUS_INVALID && (int)MG_DENIED == STATUS_DENIED, "status");
_Static_assert((int)MG_NOT_FOUND == STATUS_NOT_FOUND && (int)MG_GONE == STATUS_GONE, "status");
_Static_assert((int)MG_LOCKED == STATUS_LOCKED && (int)MG_FROZEN == STATUS_FROZEN, "status");
_Static_assert((int)MG_UNREACHABLE == STATUS_UNREACHABLE, "status");
_Static_assert((int)MG_CONFLICT == STATUS_CONFLICT && (int)MG_LIMIT == STATUS_LIMIT, "status");
_Static_assert((int)MG_TIMEOUT == STATUS_TIMEOUT && (int)MG_PROTOCOL == STATUS_PROTOCOL, "status");
_Static_assert((int)MG_INTEGRITY == STATUS_INTEGRITY && (int)MG_INTERNAL == STATUS_INTERNAL, "s");

static _Thread_local char words[WORDS_MAX];

int error_say(int status, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	return status;
}

int error_quote(int status, struct span text)
{
	if (text.size == 0)
		text = span_text(status_name(status));
	return error_say(status, "%.*s", (int)text.size, (const char *)text.data);
}

int error_about(int status, struct span what)
{
	char said[WORDS_MAX];

	memcpy(said, words, sizeof(said));
	return error_say(status, "%.*s: %s", (int)what.size, (const char *)what.data, said);
}

int error_errno(int error, const char *what)
{
	switch (error) {
	case -ETIMEDOUT:
		return error_say(MG_TIMEOUT, "%s: not within the time limit", what);
	case -EBADMSG:
		return error_say(MG_INTEGRITY, "%s: what came does not open", what);
	case -EPROTO:
		return error_say(MG_PROTOCOL, "%s: the daemon does not speak the protocol", what);
	case -ENOMEM:
	case -ENOBUFS:
	case -EMFILE:
	case -ENFILE:
		return error_say(MG_LIMIT, "%s: %s", what, strerror(-error));
	case -ECONNRESET:
	case -EPIPE:
		return error_say(MG_UNREACHABLE, "%s: the daemon closed the connection", what);
	case -EKEYEXPIRED:
		return error_say(MG_GONE, "%s: the handle's keys are gone", what);
	default:
		return error_say(MG_INTERNAL, "%s: %s", what, strerror(-error));
	}
}

const char *mg_last_error(void)
{
	return words;
}

const char *mg_status_name(int status)
{
	return status_name(status);
}
