/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/peer.h"

#include <errno.h>

const char *peer_words(int error)
{
	switch (error) {
	case -EOVERFLOW:
		return "our user namespace has no uid of its own for it";
	case -ESRCH:
		return "the process that connected has ended";
	case -EACCES:
		return "its rights have changed since it connected";
	case -ENOMEM:
		return "out of memory";
	default:
		return "the kernel does not say who it is";
	}
}
