/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/petition.h"

#include <stdlib.h>

#include "common/status.h"

struct petition {
	struct petition *next;
	struct wait wait; /* for no name: a reload calls everybody */
	uint64_t id;
	uint64_t done; /* as many reloads there had been */
};

int petition_park(struct transfers *transfers, struct daemon *daemon, uid_t uid, uint64_t id)
{
	struct petition *petition;

	if (transfers_full(transfers))
		return STATUS_LIMIT;
	petition = calloc(1, sizeof(*petition));
	if (!petition)
		return STATUS_LIMIT;
	petition->id = id;
	petition->done = daemon->reloads.done;
	wait_queue_enter(&daemon->waits, &petition->wait, &transfers->party, span_text(""));
	petition->next = transfers->petitions;
	transfers->petitions = petition;
	transfers_begin(transfers);
	daemon->reloads.asked = true;
	daemon->reloads.uid = uid;
	return 0;
}

struct petition *petition_find(const struct transfers *transfers, uint64_t id)
{
	struct petition *petition = transfers->petitions;

	while (petition && petition->id != id)
		petition = petition->next;
	return petition;
}

void petition_end(struct transfers *transfers, struct petition *petition)
{
	struct petition **at = &transfers->petitions;

	while (*at != petition)
		at = &(*at)->next;
	*at = petition->next;
	transfers_end(transfers);
	wait_queue_leave(&petition->wait);
	free(petition);
}

static int answer(const struct reloads *reloads, uint64_t id, struct answers *answers)
{
	if (reloads->refused)
		return answers_code(answers, id, STATUS_NO, reloads->fault.text);
	return answers_code(answers, id, STATUS_OK, NULL);
}

int petitions_look(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	const struct reloads *reloads = &daemon->reloads;
	struct petition *next;
	int r = 0;

	for (struct petition *petition = transfers->petitions; petition && r == 0;
		petition = next) {
		uint64_t id = petition->id;

		next = petition->next;
		if (petition->done == reloads->done)
			continue;
		petition_end(transfers, petition);
		r = answer(reloads, id, answers);
	}
	return r;
}
