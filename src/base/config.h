/*
 * config - fills a struct from flags, environment, a JSON file and defaults, as one table of rows
 * says.
 *
 * A row names one option; its name is the long flag (--ring-slots), the file key (ring-slots or
 * ring_slots) and, in upper case behind a prefix, the environment variable. Sources may be read in
 * any order: a value is kept only if its origin ranks at least as high as what is there. Everything
 * is checked, kept or not.
 *
 *   type      field              written as                       range column
 *   BOOL      bool               --x, --no-x, --x=true|false      ""
 *   COUNT     unsigned           1024                             "1..64"
 *   POWER     unsigned           a power of two                   "4..4096"
 *   SIZE      uint64_t           64KiB 1MiB 256                   "1KiB..1GiB"
 *   DURATION  uint64_t, ns       250ms 10s 2m 5h 5d 0             "10ms..10m"
 *   CHOICE    unsigned, index    one of the words                 "push receipt"
 *   TEXT      char *             any text (1)                     placeholder in --help, "FILE"
 *   LIST      spr_config_list    any text, several times (2)      placeholder in --help, "URL"
 *
 *   (1) "none" is NULL if none is the default
 *   (2) the flag again; a,b in the environment; an array in the file; "none" is the empty list
 *
 * Threads     one at a time
 * Ownership   texts and lists belong to the struct until spr_config_free_values()
 * Limits      a file of SPR_CONFIG_FILE_MAX bytes
 *
 * Errors carry a trail "<key as the origin spells it>: <value> is not <what is allowed>". They are
 * SPR_E_USAGE for flags, SPR_E_CONFIG for everything else, SPR_E_NOMEM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

#define SPR_CONFIG_FILE_MAX    (1u << 20)
#define SPR_CONFIG_LABEL_MAX   512
#define SPR_CONFIG_VALUE_SHOWN 200 /* bytes of a refused value that a message repeats */

typedef struct spr_config_list {
	char **item;
	unsigned n;
} spr_config_list;

/* X(TYPE, C type of the field) */
/* clang-format off */
#define SPR_CONFIG_TYPES(X)        \
	X(BOOL,     bool)          \
	X(COUNT,    unsigned)      \
	X(POWER,    unsigned)      \
	X(SIZE,     uint64_t)      \
	X(DURATION, uint64_t)      \
	X(CHOICE,   unsigned)      \
	X(TEXT,     char *)        \
	X(LIST,     spr_config_list)
/* clang-format on */
typedef enum spr_config_type {
#define X(name, field) SPR_CONFIG_##name,
	SPR_CONFIG_TYPES(X)
#undef X
} spr_config_type;
#define X(name, field) typedef field spr_config_field_##name;
SPR_CONFIG_TYPES(X)
#undef X

/* Lowest rank first. */
typedef enum spr_config_origin {
	SPR_CONFIG_UNSET,
	SPR_CONFIG_DEFAULT,
	SPR_CONFIG_DERIVED, /* computed by the program from other values or from the machine */
	SPR_CONFIG_FILE,
	SPR_CONFIG_ENVIRONMENT,
	SPR_CONFIG_FLAG,
} spr_config_origin;

/* What else is to know about a row. */
enum {
	SPR_CONFIG_PLAIN = 0,
	SPR_CONFIG_RELOAD = 1,      /* taken over by a reload */
	SPR_CONFIG_LATER = 2,       /* declared, not built: only its default value is accepted */
	SPR_CONFIG_NOT_IN_FILE = 4, /* flag and environment only */
};

typedef struct spr_config_row {
	const char *name;
	spr_config_type type;
	unsigned flags;
	const char *standard; /* the default as text; NULL: the program derives it */
	const char *range;
	size_t offset; /* of the field in the struct */
	const char *help;
} spr_config_row;

typedef struct spr_config {
	/* constant */
	const spr_config_row *rows;
	unsigned n_rows;
	const char *prefix;         /* "SPREADER_" */
	const char *const *actions; /* flags without value, such as "help"; NULL at the end */
	/* True for variables with the prefix that are somebody else's; the others must be rows. May
	 * be NULL. */
	bool (*is_foreign)(const char *variable);
	/* the values: a zeroed struct and as many zeroed origins as rows */
	void *values;
	spr_config_origin *origins;
	const char *path; /* of the file last read, for messages */
	/* arguments that are no flags, in their order; with max_words 0 they are refused */
	char **words;
	unsigned max_words, n_words;
} spr_config;

/* *action is left alone, or becomes the index in actions of the last one given. */
spr_err spr_config_read_arguments(spr_config *config, int argc, char **argv, int *action);
spr_err spr_config_read_environment(spr_config *config, char **envp);
/* path is kept in config. */
spr_err spr_config_read_file(spr_config *config, const char *path);
/*
 * Is it one of those, such as SPREADER_SERVICE_HOST or SPREADER_CONTROL_PORT_7713_TCP, that a cluster puts into every
 * container when a service is called spreader or spreader-control?
 */
bool spr_config_is_service_variable(const char *variable);
/* The file's content; config->path names it in messages. */
spr_err spr_config_read_text(spr_config *config, const char *text, size_t len);
/* Every row that is unset and has a default gets it. */
spr_err spr_config_fill_defaults(spr_config *config);
/* One value. A list grows by the item when its origin is the same, and starts anew when it ranks
 * higher. */
spr_err
spr_config_set(spr_config *config, unsigned row, const char *text, spr_config_origin origin);

/* Frees texts and lists and empties them. */
void spr_config_free_values(spr_config *config);
bool spr_config_is_equal(const spr_config *a, const spr_config *b, unsigned row);
/* Exchanges value and origin of one row between two structs of the same table. */
void spr_config_swap(spr_config *a, spr_config *b, unsigned row);

/* How an origin spells the row's key: "--ring-slots", "SPREADER_RING_SLOTS", "x.json: ring-slots".
 */
void spr_config_label(const spr_config *config, unsigned row, spr_config_origin origin,
		      char out[SPR_CONFIG_LABEL_MAX]);
/* Leaves the trail "<label>: <format>"; returns SPR_E_USAGE for a flag, SPR_E_CONFIG otherwise. */
spr_err spr_config_refuse(const spr_config *config, unsigned row, spr_config_origin origin,
			  const char *format, ...) __attribute__((format(printf, 4, 5)));
/* "flag", "environment", ... */
const char *spr_config_origin_name(spr_config_origin origin);
/* Prints the value as it could be written; lists with ", " between items. */
void spr_config_print_value(const spr_config *config, unsigned row, FILE *out);
/* Words in lines of bounded length, each behind eight blanks. */
void spr_config_print_text(const char *text, FILE *out);
/* One block a row. */
void spr_config_print_help(const spr_config *config, FILE *out);
/* A table of all rows for a README. */
void spr_config_print_markdown(const spr_config *config, FILE *out);
/*
 * For what makes man pages and shell completions, with tabs between columns:
 *	action	NAME
 *	KIND	NAME	TYPE	PLACEHOLDER	DEFAULT	RANGE	NOTES	HELP
 * NOTES: each of "reload", "later", "not-in-file" that holds, and a comma.
 */
void spr_config_print_table(const spr_config *config, const char *kind, FILE *out);
