/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/name.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"
#include "client/cli/store.h"

int command_rotate(const struct arguments *arguments)
{
	owning(freep) char *name = name_from_shell(arguments->operands[0]);
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	const struct mg_set_options options = { .rotate = true,
		.grace_ms = arguments->grace.number,
		.compare = arguments->cas.given,
		.version = arguments->cas.number };
	uint64_t version = 0;
	int r = name ? store_check(arguments, "rotate") : say_error(MG_LIMIT, "out of memory");

	if (r == 0)
		r = connect_daemon(&client, arguments);
	if (r == 0)
		r = store_value(client, name, arguments, &options, &version);
	return r == 0 ? store_report(arguments, name, "rotated", version) : r;
}
