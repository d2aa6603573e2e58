/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <mgclient.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Answers that are no secrets, on stdout: lines of JSON, and lists that a person reads. A function
 * that returns an int gives an exit status and has said what is wrong.
 */

/* A new object that begins with "schema"; NULL without memory. */
json_t *answer_new(void);

/*
 * Adds a member; the object may be NULL, as it is without memory. What cannot be added is told when
 * the answer is printed: there is none then. Numbers of more than 63 bits are told as the largest
 * that JSON readers take.
 */
void answer_text(json_t *answer, const char *key, const char *text);
void answer_number(json_t *answer, const char *key, uint64_t number);
void answer_flag(json_t *answer, const char *key, int flag);
void answer_add(json_t *answer, const char *key, json_t *value);

/* Adds to an array that becomes a member. */
void answer_append(json_t *array, json_t *value);

/* Prints the object as one line and takes it over. */
int answer_print(json_t *answer);

/* The object as a text that the caller frees; takes it over. NULL without memory. */
char *answer_string(json_t *answer);

/* What a listing or a stat tells of a secret, all of it. */
void answer_info(json_t *answer, const struct mg_info *info);

/* One row: a word and what there is to it, aligned with the others. */
__attribute__((format(printf, 2, 3))) void answer_row(const char *word, const char *format, ...);

/* "64 KiB", "1,000 bytes" as a person reads it; "1 secret"; "2 h 5 min"; a time in UTC. */
#define ANSWER_WORDS_MAX 64
const char *answer_secrets(char words[static ANSWER_WORDS_MAX], uint64_t count);
const char *answer_bytes(char words[static ANSWER_WORDS_MAX], uint64_t bytes);
const char *answer_span(char words[static ANSWER_WORDS_MAX], uint64_t ms);
const char *answer_time(char words[static ANSWER_WORDS_MAX], int64_t ms);

/* Everything is out; what stdout refused is told. */
int answer_flush(void);
