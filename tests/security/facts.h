/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/enclave.h"
#include "common/wire/channel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the test knows of a daemon, because it drew it: values, their data keys, the frame keys of
 * its sessions and frames as they went over the wire. The load writes it to a file, the scan reads
 * it. A text file, a fact a line, bytes in hexadecimal.
 */
#define FACTS_VALUES_MAX 16
#define FACTS_SESSIONS_MAX 32
#define FACTS_FRAMES_MAX 8
#define FACTS_NAME_MAX 64
#define FACTS_FRAME_MAX 512
#define FACTS_MATERIALS_MAX 1024
#define FACTS_MATERIAL_SIZE 32 /* bytes */

/* A value that is stored, fetched and overwritten. */
struct fact_value {
	char name[FACTS_NAME_MAX];
	bool anchor; /* stored once and never overwritten: its wrapped key stays where it is */
	uint8_t key[ENCLAVE_KEY_SIZE];
	uint8_t *plain; /* owned */
	size_t size;    /* bytes */
};

/* A captured frame: header and sealed part. */
struct fact_frame {
	uint64_t number; /* in its direction */
	size_t size;     /* bytes */
	uint8_t bytes[FACTS_FRAME_MAX];
};

/* What is derived from a key and as good as one: a subkey, a tag key, a shared secret. */
struct fact_material {
	char name[FACTS_NAME_MAX];
	uint8_t bytes[FACTS_MATERIAL_SIZE];
};

struct facts {
	struct fact_value values[FACTS_VALUES_MAX];
	size_t value_count;
	struct channel_keys sessions[FACTS_SESSIONS_MAX]; /* as the client has them */
	size_t session_count;
	struct fact_frame frames[FACTS_FRAMES_MAX];
	size_t frame_count;
	struct fact_material materials[FACTS_MATERIALS_MAX];
	size_t material_count;
};

/* Draws a value of `size` bytes and its data key, and notes what its chunks' tags hang on. Returns
 * 0, -ENOMEM or -ENOSPC. */
int facts_draw(struct facts *facts, const char *name, size_t size, bool anchor);

/* Notes something derived. Returns 0 or -ENOSPC. */
int facts_note(struct facts *facts, const char *name, const uint8_t bytes[FACTS_MATERIAL_SIZE]);

/* The value's chunks, one after the other; *sizep is their size. NULL when memory is used up. */
uint8_t *fact_value_seal(const struct fact_value *value, size_t *sizep);

/* Both return 0 or a negative errno. `facts` is zero, or what facts_draw has left, before. */
int facts_write(const struct facts *facts, const char *path);
int facts_read(struct facts *facts, const char *path);

void facts_free(struct facts *facts);
