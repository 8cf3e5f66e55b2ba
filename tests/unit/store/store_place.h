/*
 * store_place - a store in a folder of the test's own, and rows as text.
 */
#pragma once

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spr_test.h"
#include "store/store.h"

typedef struct place {
	char *dir;
	char path[256];
	spr_store *store;
} place;

static inline int
setup(void **state)
{
	place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->dir = spr_test_tmpdir();
	snprintf(p->path, sizeof(p->path), "%s/s.db", p->dir);
	*state = p;
	return (0);
}

static inline int
teardown(void **state)
{
	place *p = *state;

	spr_store_close(p->store);
	spr_test_cleanup(p->dir);
	free(p);
	return (0);
}

static inline bool
open_store(place *p)
{
	bool was_created = false;

	assert_ok(spr_store_open(&p->store, p->path, false, &was_created));
	return (was_created);
}

static inline void
close_store(place *p)
{
	spr_store_close(p->store);
	p->store = NULL;
}

/* Behind the store's back. */
static inline void
sql(place *p, const char *text)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static inline spr_store_row
row_of(const char *pattern, const char *callback, int64_t expires_s)
{
	return ((spr_store_row){pattern, strlen(pattern), callback, strlen(callback), expires_s});
}

static inline bool
put(place *p, const char *pattern, const char *callback, int64_t expires_s)
{
	spr_store_row row = row_of(pattern, callback, expires_s);
	bool created = false;

	assert_ok(spr_store_put(p->store, &row, &created));
	return (created);
}

static inline void
put_now(place *p, const char *pattern, const char *callback, int64_t expires_s)
{
	assert_ok(spr_store_begin(p->store));
	(void)put(p, pattern, callback, expires_s);
	assert_ok(spr_store_commit(p->store));
}

/* Rows as text: "pattern callback expires;" each. */
typedef struct rows {
	char text[4096];
	unsigned n;
	unsigned fail_at; /* 0: never */
} rows;

static inline spr_err
keep_row(void *arg, const spr_store_row *row)
{
	rows *r = arg;
	size_t len = strlen(r->text);

	if (++r->n == r->fail_at) {
		return (spr_fail(SPR_E_TOO_MANY, "enough"));
	}
	assert_int_equal(strlen(row->pattern), row->pattern_len);
	assert_int_equal(strlen(row->callback), row->callback_len);
	snprintf(r->text + len, sizeof(r->text) - len, "%s %s %lld;", row->pattern, row->callback,
		 (long long)row->expires_s);
	return (SPR_OK);
}

static inline void
expect_load(place *p, const char *text)
{
	rows r = {.n = 0};

	assert_ok(spr_store_load(p->store, keep_row, &r));
	assert_string_equal(r.text, text);
}

static inline void
expect_list(place *p, spr_store_query query, const char *text)
{
	rows r = {.n = 0};

	if (query.limit == 0) {
		query.limit = 100;
	}
	assert_ok(spr_store_list(p->store, &query, keep_row, &r));
	assert_string_equal(r.text, text);
}

#define each(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
