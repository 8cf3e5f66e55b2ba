/*
 * What the tests of dead letters share: a file in a directory of its own, and its lines read back.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "spr_test.h"

#include "base/counters.h"
#include "base/json.h"
#include "path/dead_letter.h"

#define NOTHING ((spr_range){.at = NULL})

/* A file in a directory of its own, and a dead letter office that writes to it. */
typedef struct scene {
	char *dir;
	char path[256];
	spr_dead_letter *dl;
	uint64_t n_letters, n_errors; /* counters when it began */
} scene;

static inline spr_range
range_of(const char *text)
{
	return ((spr_range){.at = (const uint8_t *)text, .len = strlen(text)});
}

static inline scene
scene_open(const char *content)
{
	scene s = {.dir = spr_test_tmpdir()};
	FILE *file;

	snprintf(s.path, sizeof(s.path), "%s/dead.ndjson", s.dir);
	if (content != NULL) {
		assert_non_null(file = fopen(s.path, "w"));
		fputs(content, file);
		fclose(file);
	}
	assert_ok(spr_dead_letter_new(&s.dl, s.path));
	s.n_letters = spr_counter_sum(SPR_C_DEAD_LETTERS);
	s.n_errors = spr_counter_sum(SPR_C_DEAD_LETTER_ERRORS);
	return (s);
}

static inline void
scene_close(scene *s)
{
	spr_dead_letter_free(s->dl);
	spr_test_cleanup(s->dir);
}

/* The whole file, NUL at its end; the caller frees it. */
static inline char *
read_file(const char *path, size_t *len)
{
	FILE *file = fopen(path, "r");
	struct stat st;
	char *text;

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &st), 0);
	*len = (size_t)st.st_size;
	text = calloc(1, *len + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, *len, file), *len);
	fclose(file);
	return (text);
}

/* The n-th line (0 is the first), which must be a JSON object; the caller deletes it. */
static inline cJSON *
line_of(const char *path, unsigned n)
{
	size_t len;
	char *text = read_file(path, &len), *at = text, *end;
	spr_document document;
	cJSON *object = NULL;

	for (; n > 0; n--) {
		assert_non_null(at = strchr(at, '\n'));
		at++;
	}
	assert_non_null(end = strchr(at, '\n'));
	spr_scan_document((const uint8_t *)at, (size_t)(end - at), SPR_FORMAT_BARE, &document);
	assert_int_not_equal(document.reason, SPREADER_REASON_NOT_JSON);
	assert_int_equal(document.whole.len, end - at);
	object = cJSON_ParseWithLength(at, (size_t)(end - at));
	free(text);
	assert_non_null(object);
	return (object);
}
