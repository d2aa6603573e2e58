/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#define CONFIG_FAULT_MAX 512

/* What went wrong, for people, with the file and line or the option it was in. */
struct config_fault {
	char text[CONFIG_FAULT_MAX];
};

/* Says it, cut where there is no room. */
__attribute__((format(printf, 2, 3))) void config_fault_say(
	struct config_fault *fault, const char *format, ...);
