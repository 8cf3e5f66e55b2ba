/*
 * options_words - the daemon's options from one line of words, and a line of --print-config.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "options.h"

#define WORDS_MAX  16
#define NO_MACHINE "/nonexistent" /* whatever limits the tests run under are none of theirs */

/* Words are split at blanks; those with an upper-case start and a '=' are environment, the others
 * flags. */
static inline spr_err
with_words(const char *words, spr_err (*call)(spr_options *, int, char **, char **),
	   spr_options *options)
{
	char *copy = strdup(words);
	char *rest = copy, *word = NULL;
	char program[] = "spreaderd";
	char *argv[WORDS_MAX + 2] = {program};
	char *envp[WORDS_MAX + 1] = {NULL};
	int argc = 1, n = 0;
	spr_err rv = SPR_OK;

	while ((word = strsep(&rest, " ")) != NULL) {
		if (word[0] == '\0')
			continue;
		assert_true(argc < WORDS_MAX && n < WORDS_MAX);
		if (word[0] >= 'A' && word[0] <= 'Z')
			envp[n++] = word;
		else
			argv[argc++] = word;
	}
	rv = call(options, argc, argv, envp);
	free(copy);
	return (rv);
}

static inline spr_err
parse(spr_options *options, const char *words)
{
	memset(options, 0, sizeof(*options));
	return (with_words(words, spr_options_parse, options));
}

/* The line of one option in --print-config; valid until the next call. */
static inline const char *
print_line(const spr_options *options, const char *name)
{
	static char line[1024];
	char *text = NULL, *at = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	char start[64];

	spr_options_print(options, 4, out);
	fclose(out);
	snprintf(start, sizeof(start), "\n%s = ", name);
	assert_non_null(at = strstr(text, start));
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(at + 1, "\n"), at + 1);
	free(text);
	return (line);
}
