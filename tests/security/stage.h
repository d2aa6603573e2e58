/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/coffer.h"
#include "common/memory/enclave.h"
#include "common/memory/guard.h"
#include "common/wire/channel.h"

#include <stddef.h>
#include <stdint.h>

/*
 * What the residue test and its subject share: pages at one address in both, of memfd_secret where
 * there is such a thing. All keys and plaintext lie here and, if all is well, nowhere else in the
 * subject. The test prepares the stage and knows everything on it; the subject does one thing with
 * it and stops.
 */
#define STAGE_ADDRESS ((void *)0x6d6700000000)

/* Larger than the product's, because lazy binding looks symbols up on it. */
#define STAGE_STACK 65536

#define STAGE_PREKEY 4096 /* bytes, as in the daemon */
#define STAGE_PLAIN ENCLAVE_CHUNK_PLAIN
#define STAGE_MESSAGE 512 /* bytes of plaintext in a frame */

#define STAGE_UNTOUCHED 77

struct stage {
	uint8_t stack[STAGE_STACK]; /* first: below it nothing is mapped */
	uint8_t keys[3 * STAGE_PREKEY] __attribute__((aligned(4096)));
	uint8_t view[256] __attribute__((aligned(64)));
	struct guard guard;
	struct coffer coffer;
	struct enclave_binding binding;
	uint8_t key[ENCLAVE_KEY_SIZE]; /* of the value */
	uint8_t wrapped[ENCLAVE_WRAPPED_KEY];
	uint8_t plain[STAGE_PLAIN];
	uint8_t sealed[ENCLAVE_CHUNK_SIZE];
	struct channel_pair pair; /* the subject's side is the server */
	uint8_t client_hello[HELLO_SIZE];
	uint8_t server_hello[HELLO_SIZE];
	struct channel_keys keys_agreed; /* of the subject's side */
	struct channel channel;          /* their rest */
	struct channel paired;           /* the rest of its pair */
	uint8_t message[STAGE_MESSAGE];
	uint8_t frame[FRAME_HEADER_SIZE + FRAME_TAG_SIZE + STAGE_MESSAGE];
	size_t frame_size;
	/* What the subject makes. */
	uint8_t drawn[ENCLAVE_KEY_SIZE];
	uint8_t out[ENCLAVE_CHUNK_SIZE] __attribute__((aligned(64)));
	struct channel_pair drawn_pair;
	struct channel_keys drawn_keys;
	struct channel rested;
	int result; /* 0: the thing was done as it should be */
};

#define STAGE_SIZE ((sizeof(struct stage) + 4095) & ~(size_t)4095)
