/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/answer.h"

/* As often as an eye follows. */
#define PAUSE_MS 100

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void progress_begin(struct progress *progress, const char *deed, bool wanted)
{
	*progress = (struct progress){
		.deed = deed, .seen = wanted && isatty(STDERR_FILENO), .due_ms = now_ms()
	};
}

void progress_show(struct progress *progress, uint64_t secrets, uint64_t bytes)
{
	char count[ANSWER_WORDS_MAX];
	char words[ANSWER_WORDS_MAX];
	uint64_t now = progress->seen ? now_ms() : 0;

	if (!progress->seen || now < progress->due_ms)
		return;
	progress->due_ms = now + PAUSE_MS;
	progress->shown = true;
	fprintf(stderr, "\r\033[Kmgctl: %s %s, %s", progress->deed, answer_secrets(count, secrets),
		answer_bytes(words, bytes));
	fflush(stderr);
}

void progress_end(struct progress *progress)
{
	if (!progress->shown)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
}
