/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * What the processes of a daemon say to each other, over a socket of packets: a keeper and its
 * worker, and two keepers of which one takes over from the other. Those two may be of different
 * versions: a word keeps its number for ever.
 */
enum line_word {
	LINE_STATE = 1, /* number: an enum notify_state, for the service manager */

	/* A worker to its keeper. */
	LINE_UPGRADE = 2,  /* somebody who may do so asks for it */
	LINE_LEFT = 3,     /* everything is left as it is */
	LINE_PURGED = 6,   /* what SIGUSR2 asks for is done */
	LINE_SETTINGS = 7, /* a reload is over; a descriptor: what is in force from now on */

	/* A keeper to its worker. */
	LINE_LEAVE = 4,  /* leave everything as it is to the next one, and end */
	LINE_FAILED = 5, /* there is no upgrade after all; text: why */

	/* The old keeper to the new one. */
	LINE_OFFER = 16, /* number: HANDOVER_VERSION; text: of what kind all is */
	/* number: 1 when all is to be purged; keys, ledger, listener, lock. Text: the names of
	 * other listeners, whose descriptors follow, a blank in front of each. */
	LINE_ESTATE = 17,
	LINE_COMMIT = 18, /* it is yours */

	/* The new keeper to the old one. */
	LINE_ACCEPT = 32,
	LINE_REFUSE = 33, /* text: why */
	LINE_ENDED = 34,  /* the worker has ended of its own will */
};

#define LINE_TEXT_MAX 512 /* bytes, with the end */
#define LINE_FDS_MAX 20

struct line_packet {
	enum line_word word;
	uint32_t number;
	char text[LINE_TEXT_MAX];
	int fds[LINE_FDS_MAX]; /* heard: the reader's to close */
	size_t count;
};

/* Two ends, closed on exec. Returns 0 or a negative errno. */
int line_open(int ends[2]);

/* Says it, without waiting. Returns 0 or a negative errno; the descriptors stay the caller's. */
int line_say(int fd, const struct line_packet *packet);

/* The same, a word and a number alone. */
int line_say_word(int fd, enum line_word word, uint32_t number);

/* The same with a text, which is cut where it is too long. */
int line_say_text(int fd, enum line_word word, const char *text);

/*
 * Hears the next one; waits for it unless the descriptor does not. Returns 0, -EAGAIN, -EPIPE when
 * nobody is at the other end, -EBADMSG for what is no packet, or another negative errno.
 */
int line_hear(int fd, struct line_packet *packet);

/* The same, without waiting. */
int line_look(int fd, struct line_packet *packet);

/* Closes the descriptors that came with it, and that nobody took (-1). */
void line_drop(struct line_packet *packet);
