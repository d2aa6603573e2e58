/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/keeper/keeper.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define EXIT_INTERNAL 70

/* How far an upgrade has come. */
enum upgrade_stage {
	UPGRADE_NONE,
	UPGRADE_OFFERED, /* the new program is started; our worker serves on */
	UPGRADE_LEAVING, /* it takes the offer; our worker was told to leave */
	UPGRADE_HANDED,  /* the estate is over there: no process of ours writes to it */
	UPGRADE_FAILED,  /* the new program is killed; its processes have not all ended yet */
};

struct upgrade {
	enum upgrade_stage stage;
	pid_t pid;            /* the new keeper; 0: none that has not ended */
	pid_t between;        /* its parent, our child; 0: none that has not ended */
	bool whole;           /* that one has ended after all who came from it */
	int line;             /* to it; -1: none */
	uint64_t deadline_ms; /* of now_ms */
	unsigned wait_s;      /* seconds that it was given */
	char reason[512];     /* what it says itself of its end; "": nothing */
};

struct keeper {
	const struct keeper_options *options;
	int signals;      /* descriptor that tells of them, and of dead children */
	int line;         /* to the worker; -1: none */
	pid_t worker;     /* 0: none */
	bool served;      /* some worker has */
	bool left;        /* the worker has said that it leaves everything as it is */
	int unserved;     /* workers in a row that died before they served */
	bool ending;      /* it was asked to */
	bool storing;     /* and everything is for the next start */
	uint64_t kill_ms; /* when the worker has had its time to leave for that; 0: it need not */
	bool purging;     /* asked for, and no worker has said that it is done */
	bool reloading;   /* likewise */
	int settings;     /* what is in force since a worker has reloaded it; -1: as at the start */
	int predecessor;  /* line to it, until all is ours; -1: all is */
	int deferred;     /* a signal that came before; 0: none */
	bool wanted;      /* an upgrade was asked for before */
	uint64_t faults_ms[KEEPER_FAULTS_MAX]; /* when the last ones were; a ring */
	size_t faults;
	enum keeper_fate fate;
	int status; /* -1: goes on */
	struct upgrade upgrade;
};

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t now_ms(void);

/* -- upgrades (keeper_upgrade.c) ------------------------------------------------------------------
 */

/* Somebody asks for one. */
void upgrade_begin(struct keeper *keeper);

/* Calls one off. Our worker serves on, or the next one does once all of theirs have ended. */
void upgrade_fail(struct keeper *keeper, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* What the new program has said. */
void upgrade_hear(struct keeper *keeper);

/* A child that is not our worker has ended. */
void upgrade_reaped(struct keeper *keeper, pid_t pid, int status);

/* Our worker has ended. Whether that was the upgrade's doing. */
bool upgrade_worker_ended(struct keeper *keeper);

/* Milliseconds until it takes too long, for poll; -1: never. And acts when it has. */
int upgrade_timeout(const struct keeper *keeper);
void upgrade_look(struct keeper *keeper);

/* Whether no worker of ours may begin now. */
bool upgrade_holds(const struct keeper *keeper);
