/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/unit/steps_rig.h"

/* Changes that are not told of as they are made. */

/* What is told of it comes after it. */
static inline void put_and_tell(void)
{
	struct events events = vault->events;

	vault->events = (struct events){ 0 };
	store_known("a", 100);
	vault->events = events;
	event_write(
		vault, EVENT_SET, span_text("a"), 1, (struct event_cause){ .by = vault->sequence });
	events_count(vault);
}

/* It is told of, and never made; the next one is. */
static inline void tell_of_nothing(void)
{
	event_write(vault, EVENT_REMOVE, span_text("b"), 1, (struct event_cause){ 0 });
	events_count(vault);
	store_known("a", 100);
}
