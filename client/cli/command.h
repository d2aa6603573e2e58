/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/cli/arguments.h"

/*
 * What each command does. The arguments are those that its table allows; the operands are as many
 * as it asks for. Each returns an exit status and has said what is wrong.
 */
int command_set(const struct arguments *arguments);
int command_get(const struct arguments *arguments);
int command_rotate(const struct arguments *arguments);
int command_mv(const struct arguments *arguments);
int command_audit(const struct arguments *arguments);
int command_policy(const struct arguments *arguments);
int command_rm(const struct arguments *arguments);
int command_ls(const struct arguments *arguments);
int command_stat(const struct arguments *arguments);
int command_verify(const struct arguments *arguments);
int command_touch(const struct arguments *arguments);
int command_freeze(const struct arguments *arguments);
int command_melt(const struct arguments *arguments);
int command_token(const struct arguments *arguments);
int command_wrap(const struct arguments *arguments);
int command_unwrap(const struct arguments *arguments);
int command_stream(const struct arguments *arguments);
int command_watch(const struct arguments *arguments);
int command_status(const struct arguments *arguments);
int command_ping(const struct arguments *arguments);
int command_whoami(const struct arguments *arguments);
int command_backup(const struct arguments *arguments);
int command_restore(const struct arguments *arguments);
int command_lock(const struct arguments *arguments);
int command_unlock(const struct arguments *arguments);
int command_purge(const struct arguments *arguments);
int command_reload(const struct arguments *arguments);
int command_upgrade(const struct arguments *arguments);
int command_shutdown(const struct arguments *arguments);
int command_version(const struct arguments *arguments);
int command_help(const struct arguments *arguments);
int command_completion(const struct arguments *arguments);
