/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/heap.h"

void heap_keep(void)
{
}
