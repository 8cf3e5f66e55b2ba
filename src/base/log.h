/*
 * log - one event a line to stderr: stable id, key=value pairs, the thread's role. Never on the per-message path.
 *
 * text on a terminal, JSON otherwise, unless told. The same id is limited to a burst a second; what was held back is
 * reported with its count. Untrusted bytes in arguments are escaped by the logger. Arguments below the level are not
 * evaluated.
 *
 * Writer      any thread
 * Reader      whoever reads the descriptor
 * Ownership   ids are literals; arguments are copied into the line
 * Ordering    lines of one thread keep their order
 * Progress    never waits for a slow reader: the line is dropped and counted
 * Limits      a line of bounded length; a burst a second for each id
 * Teardown    none
 */
#pragma once

#include <stdbool.h>

/* clang-format off */
#define SPR_LOG_LEVELS(X) X(ERROR, "error") X(WARN, "warn") X(INFO, "info") X(DEBUG, "debug")
/* clang-format on */
typedef enum spr_log_level {
#define X(name, text) SPR_LOG_##name,
	SPR_LOG_LEVELS(X)
#undef X
	    SPR_N_LOG_LEVELS
} spr_log_level;

typedef enum spr_log_format { SPR_LOG_AUTO, SPR_LOG_TEXT, SPR_LOG_JSON } spr_log_format;

/* [main, before threads] Descriptor 2 unless a test gives another. */
void spr_log_init(spr_log_level level, spr_log_format format, int fd);
/* [any] Takes effect at once. */
void spr_log_set_level(spr_log_level level);
/* [any] */
bool spr_log_is_on(spr_log_level level);
/* [any] Use the macros. id is a string literal such as "INTAKE-BADMSG"; format gives "key=value key=value"; a value with
 * a blank of its own is put between double quotes by the caller, an argument may hold anything. Conversions known:
 * d i u x s c f g p, with hh h l ll z j t and a precision; an argument stands in a value, never in a key. */
void spr_log_write(spr_log_level level, const char *id, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define SPR_LOG_AT(level, ...)                             \
	do {                                               \
		if (spr_log_is_on(level))                  \
			spr_log_write(level, __VA_ARGS__); \
	} while (0)
#define spr_error(...) SPR_LOG_AT(SPR_LOG_ERROR, __VA_ARGS__)
#define spr_warn(...)  SPR_LOG_AT(SPR_LOG_WARN, __VA_ARGS__)
#define spr_info(...)  SPR_LOG_AT(SPR_LOG_INFO, __VA_ARGS__)
#define spr_debug(...) SPR_LOG_AT(SPR_LOG_DEBUG, __VA_ARGS__)
