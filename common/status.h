/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is answered to a caller: on the wire, from libmgclient and as mgctl's exit status. The
 * numbers are the same in all three places and never change. Inside the house these are the
 * positive return values; negative ones are errno numbers and go up, never out.
 */
enum status {
	STATUS_OK = 0,
	STATUS_NO = 1,          /* the answer to a question is no */
	STATUS_INVALID = 2,     /* the request itself is wrong: a bad name, an empty value */
	STATUS_NOT_FOUND = 3,   /* no such secret, or it has expired */
	STATUS_DENIED = 4,      /* policy says no */
	STATUS_LOCKED = 5,      /* the vault is locked */
	STATUS_UNREACHABLE = 6, /* no daemon, or not the one expected */
	STATUS_CONFLICT = 7,    /* exists already, other version, other bytes under the number */
	STATUS_LIMIT = 8,       /* a limit, a quota or memory is used up */
	STATUS_TIMEOUT = 9,     /* not within the time given */
	STATUS_PROTOCOL = 10,   /* the two sides do not speak the same language */
	STATUS_INTEGRITY = 11,  /* sealed bytes that do not open */
	STATUS_GONE = 12,       /* consumed, revoked or purged */
	STATUS_FROZEN = 13,     /* immutable */
	STATUS_INTERNAL = 70,   /* our fault */
};

/* The name of a status as it stands in JSON errors; never NULL. */
static inline const char *status_name(int status)
{
	switch (status) {
	case STATUS_OK:
		return "ok";
	case STATUS_NO:
		return "no";
	case STATUS_INVALID:
		return "invalid";
	case STATUS_NOT_FOUND:
		return "not_found";
	case STATUS_DENIED:
		return "denied";
	case STATUS_LOCKED:
		return "locked";
	case STATUS_UNREACHABLE:
		return "unreachable";
	case STATUS_CONFLICT:
		return "conflict";
	case STATUS_LIMIT:
		return "limit";
	case STATUS_TIMEOUT:
		return "timeout";
	case STATUS_PROTOCOL:
		return "protocol";
	case STATUS_INTEGRITY:
		return "integrity";
	case STATUS_GONE:
		return "gone";
	case STATUS_FROZEN:
		return "frozen";
	default:
		return "internal";
	}
}
