/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/heap.h"

#include <malloc.h>

/* Bytes. To set one of the two ends what glibc adapts by itself: so the other one is set, too. */
#define KEPT (2 << 20)
#define MAPPED (512 << 10) /* blocks that are mapped for themselves */

void heap_keep(void)
{
#ifdef M_TRIM_THRESHOLD
	(void)mallopt(M_TRIM_THRESHOLD, KEPT);
	(void)mallopt(M_MMAP_THRESHOLD, MAPPED);
#endif
}
