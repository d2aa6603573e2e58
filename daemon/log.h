/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One line at a time to stderr, names but never values. Under the journal (JOURNAL_STREAM names our
 * stderr) each line begins with its <priority>; elsewhere with "memguardd: ".
 */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6
};

/* Looks once at where stderr leads. */
void log_init(void);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * A warning about what whoever may connect can cause as often as they like: a thousand of them at
 * once, ten a second for good; how many were left out is told with the next one.
 */
void log_stranger(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
