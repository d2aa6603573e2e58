/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_fault.h"

#include <stdarg.h>
#include <stdio.h>

void config_fault_say(struct config_fault *fault, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(fault->text, sizeof(fault->text), format, arguments);
	va_end(arguments);
}
