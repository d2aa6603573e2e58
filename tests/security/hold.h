/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#define HOLD_SIZE 32 /* bytes */

/*
 * From now on these bytes are in vector registers whenever the daemon waits for something to do,
 * and nowhere else: in memory they lie under a mask. Does nothing on a machine whose registers are
 * not known here.
 */
void hold(const uint8_t bytes[static HOLD_SIZE]);
