/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/keeper/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/memory/coffer.h"
#include "daemon/failpoint.h"
#include "daemon/ledger/ledger.h"
#include "daemon/line.h"

static int fail(struct config_fault *fault, int r, const char *text)
{
	snprintf(fault->text, sizeof(fault->text), "%s", text);
	return r;
}

/* A socket of packets that one of us, or root, has made. */
static bool is_line(int fd)
{
	struct ucred maker;
	socklen_t size = sizeof(maker);
	int type = 0;
	socklen_t type_size = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) == 0 &&
		type == SOCK_SEQPACKET &&
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &maker, &size) == 0 &&
		(maker.uid == 0 || maker.uid == geteuid());
}

int handover_line(void)
{
	const char *text = getenv(HANDOVER_VARIABLE);
	char *end = NULL;
	long fd = text ? strtol(text, &end, 10) : -1;

	unsetenv(HANDOVER_VARIABLE);
	if (!text || end == text || *end || fd < 3 || fd > INT32_MAX || !is_line((int)fd) ||
		fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0)
		return -1;
	/* It was started by a descriptor, and the kernel names it after that. */
	(void)prctl(PR_SET_NAME, "memguardd", 0, 0, 0);
	return (int)fd;
}

void handover_refuse(int line, const char *text)
{
	if (line >= 0)
		line_say_text(line, LINE_REFUSE, text);
}

/* -- the offer ----------------------------------------------------------------------------- */

struct offer {
	unsigned keys; /* formats */
	unsigned ledger;
	unsigned backend;
	bool own;
	const char *path; /* of the socket */
};

/* A number and the blank behind it. Moves on; false for anything else. */
static bool take_number(char **at, unsigned *number)
{
	char *end;
	unsigned long value = strtoul(*at, &end, 10);

	if (end == *at || *end != ' ' || value > UINT16_MAX)
		return false;
	*number = (unsigned)value;
	*at = end + 1;
	return true;
}

static bool read_offer(struct line_packet *packet, struct offer *offer)
{
	char *at = packet->text;
	unsigned own = 0;

	if (packet->word != LINE_OFFER || packet->number != HANDOVER_VERSION ||
		!take_number(&at, &offer->keys) || !take_number(&at, &offer->ledger) ||
		!take_number(&at, &offer->backend) || !take_number(&at, &own))
		return false;
	offer->own = own != 0;
	offer->path = at;
	return true;
}

static bool is_too_weak(unsigned backend, enum os_memory_need need)
{
	return (need == OS_MEMORY_REQUIRE_SECRET && backend < OS_MEMORY_SECRET) ||
		(need == OS_MEMORY_REQUIRE_LOCK && backend < OS_MEMORY_LOCKED);
}

static int judge(const struct offer *offer, const struct config *config, struct config_fault *fault)
{
	if (offer->keys != COFFER_FORMAT || offer->ledger != LEDGER_FORMAT) {
		snprintf(fault->text, sizeof(fault->text),
			"memguardd " MEMGUARDD_VERSION " does not read keys of format %u and a "
			"ledger of format %u",
			offer->keys, offer->ledger);
		return -EPROTONOSUPPORT;
	}
	if (!config->keep)
		return fail(fault, -EPERM, "the setting `keep` is off now");
	if (is_too_weak(offer->backend, config->memory))
		return fail(fault, -EPERM,
			"memory is not as strong as the setting `memory` requires now");
	if (offer->own && strcmp(offer->path, config->socket.path) != 0) {
		snprintf(fault->text, sizeof(fault->text),
			"the setting `socket` is another path than %s now", offer->path);
		return -EADDRNOTAVAIL;
	}
	return 0;
}

/* -- what comes ---------------------------------------------------------------------------- */

enum { PLACE_KEYS, PLACE_LEDGER, PLACE_LISTENER };

/* Takes one out of the packet; -1 when it is not there. */
static int take(struct line_packet *packet, size_t place)
{
	int fd = place < packet->count ? packet->fds[place] : -1;

	if (fd >= 0)
		packet->fds[place] = -1;
	return fd;
}

/* One that is taken over keeps its descriptors, others stay the packet's to drop. */
static int take_listener(struct listener *listener, struct line_packet *packet, size_t *place,
	bool locked, const struct config *config, struct config_fault *fault)
{
	size_t count = locked ? 2 : 1;
	int r;

	if (packet->count < *place + count)
		return fail(fault, -EBADMSG, "the estate has not come whole");
	r = listener_adopt(listener, packet->fds[*place], locked ? packet->fds[*place + 1] : -1,
		config, fault);
	for (size_t i = 0; i < count && r == 0; i++)
		packet->fds[*place + i] = -1;
	*place += count;
	return r;
}

static int fail_listeners(struct config_fault *fault)
{
	return fail(fault, -EADDRNOTAVAIL,
		"the sections [listener NAME] are others now: that takes a restart");
}

/* Those beside the daemon's own, in the order of the settings, which is to be the same. */
static int take_listeners(struct line_packet *packet, size_t place, const struct config *config,
	struct estate *estate, struct config_fault *fault)
{
	struct listeners *listeners = &estate->listeners;
	char *rest = packet->text, *name;

	(void)strsep(&rest, " ");
	while ((name = strsep(&rest, " "))) {
		size_t i = listeners->count, size = strcspn(name, HANDOVER_WITHOUT_LOCK);
		bool locked = name[size] == '\0';
		struct config as_own;
		int r;

		name[size] = '\0';
		if (i == config->listeners.count ||
			strcmp(name, config->listeners.all[i].name) != 0)
			return fail_listeners(fault);
		as_own = config_of_listener(config, i);
		r = take_listener(&listeners->all[i], packet, &place, locked, &as_own, fault);
		if (r < 0)
			return r;
		strcpy(listeners->all[i].name, name);
		listeners->count++;
		if (strcmp(listeners->all[i].endpoint.path, as_own.socket.path) != 0)
			return fail_listeners(fault);
	}
	return listeners->count == config->listeners.count ? 0 : fail_listeners(fault);
}

static int take_estate(struct line_packet *packet, bool own, const struct config *config,
	struct estate *estate, struct config_fault *fault)
{
	size_t place = PLACE_LISTENER;
	int r;

	if (packet->word != LINE_ESTATE || packet->count <= PLACE_LISTENER)
		return fail(fault, -EBADMSG, "the estate has not come whole");
	r = estate_open_keys(estate, config->memory, take(packet, PLACE_KEYS));
	if (r < 0)
		return fail(fault, r, "the keys cannot be mapped");
	failpoint("mapped");
	estate->ledger = take(packet, PLACE_LEDGER);
	estate->inherited = true;
	if (estate_check(estate) < 0)
		return fail(fault, -EBADMSG, "keys or ledger are of another format");
	r = take_listener(&estate->listener, packet, &place, own, config, fault);
	return r == 0 ? take_listeners(packet, place, config, estate, fault) : r;
}

int handover_take(int line, const struct config *config, struct estate *estate, bool *purgep,
	struct config_fault *fault)
{
	struct line_packet packet;
	struct offer offer = { 0 };
	int r = line_hear(line, &packet);

	if (r == 0)
		line_drop(&packet);
	if (r < 0 || !read_offer(&packet, &offer))
		return fail(fault, -EBADMSG, "this program does not know what is handed over");
	r = judge(&offer, config, fault);
	if (r < 0)
		return r;
	failpoint("accepting");
	r = line_say_word(line, LINE_ACCEPT, 0);
	if (r == 0)
		r = line_hear(line, &packet);
	if (r < 0)
		return fail(fault, r, "the keeper that hands over has ended");
	*purgep = packet.number != 0;
	r = take_estate(&packet, offer.own, config, estate, fault);
	line_drop(&packet);
	return r;
}
