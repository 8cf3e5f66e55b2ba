/*
 * test_store - the store on real files: opening what is there, one owner, changes that last, pages in order, and a disk
 * that is full for a while.
 *
 * What the store must survive but would never write (rows of wrong types, other schemas) is made through a connection
 * of the test's own.
 */
#include "store/store.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/counters.h"
#include "base/mem.h"
#include "spr_test.h"

typedef struct place {
	char *dir;
	char path[256];
	spr_store *store;
} place;

static int
setup(void **state)
{
	place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->dir = spr_test_tmpdir();
	snprintf(p->path, sizeof(p->path), "%s/s.db", p->dir);
	*state = p;
	return (0);
}

static int
teardown(void **state)
{
	place *p = *state;

	spr_store_close(p->store);
	spr_test_cleanup(p->dir);
	free(p);
	return (0);
}

static bool
open_store(place *p)
{
	bool was_created = false;

	assert_ok(spr_store_open(&p->store, p->path, false, &was_created));
	return (was_created);
}

static void
close_store(place *p)
{
	spr_store_close(p->store);
	p->store = NULL;
}

static void
open_must_fail(place *p, bool must_exist, spr_err err, const char *text)
{
	spr_store *untouched = (spr_store *)p, *store = untouched;
	bool was_created = false;

	assert_fails(spr_store_open(&store, p->path, must_exist, &was_created), err);
	assert_ptr_equal(store, untouched);
	if (strstr(spr_error_text(err), text) == NULL) {
		fail_msg("\"%s\" lacks \"%s\"", spr_error_text(err), text);
	}
}

static void
sql(place *p, const char *text)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static spr_store_row
row_of(const char *pattern, const char *callback, int64_t expires_s)
{
	return ((spr_store_row){pattern, strlen(pattern), callback, strlen(callback), expires_s});
}

static bool
put(place *p, const char *pattern, const char *callback, int64_t expires_s)
{
	spr_store_row row = row_of(pattern, callback, expires_s);
	bool created = false;

	assert_ok(spr_store_put(p->store, &row, &created));
	return (created);
}

static void
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

static spr_err
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

static void
expect_load(place *p, const char *text)
{
	rows r = {.n = 0};

	assert_ok(spr_store_load(p->store, keep_row, &r));
	assert_string_equal(r.text, text);
}

static void
expect_list(place *p, spr_store_query query, const char *text)
{
	rows r = {.n = 0};

	if (query.limit == 0) {
		query.limit = 100;
	}
	assert_ok(spr_store_list(p->store, &query, keep_row, &r));
	assert_string_equal(r.text, text);
}

/* ------------------------------------------------------------------------------------------------ opening */

static void
test_created_once(void **state)
{
	place *p = *state;

	assert_true(open_store(p));
	put_now(p, "UN.A", "http://a", 5);
	close_store(p);
	assert_false(open_store(p));
	expect_load(p, "UN.A http://a 5;");
}

static void
test_must_exist(void **state)
{
	place *p = *state;
	char lock[300];
	bool was_created = true;

	snprintf(lock, sizeof(lock), "%s.lock", p->path);
	open_must_fail(p, true, SPR_E_NOT_FOUND, "--store-must-exist");
	assert_int_equal(access(lock, F_OK), -1);
	assert_int_equal(access(p->path, F_OK), -1);

	/* an empty file is what a crash while creating leaves: as good as none */
	close(open(p->path, O_CREAT | O_WRONLY, 0600));
	open_must_fail(p, true, SPR_E_NOT_FOUND, "empty");
	assert_true(open_store(p));
	close_store(p);
	assert_ok(spr_store_open(&p->store, p->path, true, &was_created));
	assert_false(was_created);
}

static void
test_one_owner(void **state)
{
	place *p = *state;
	char lock[300], link[300], pid[32];
	spr_store *other = NULL;
	bool was_created = false;

	open_store(p);
	snprintf(pid, sizeof(pid), "(pid %ld)", (long)getpid());
	open_must_fail(p, false, SPR_E_LOCKED, pid);
	open_must_fail(p, false, SPR_E_LOCKED, "stop it or give this one its own --store");
	snprintf(lock, sizeof(lock), "%s.lock: ", p->path);
	open_must_fail(p, false, SPR_E_LOCKED, lock);

	/* by another name too */
	snprintf(link, sizeof(link), "%s/link.db", p->dir);
	assert_int_equal(symlink(p->path, link), 0);
	assert_fails(spr_store_open(&other, link, false, &was_created), SPR_E_LOCKED);

	close_store(p);
	snprintf(lock, sizeof(lock), "%s.lock", p->path);
	assert_int_equal(access(lock, F_OK), 0);
	assert_ok(spr_store_open(&p->store, link, false, &was_created));
}

static void
test_unreadable(void **state)
{
	place *p = *state;
	FILE *f = fopen(p->path, "w");

	for (int i = 0; i < 1000; i++) {
		fputs("this is no database\n", f);
	}
	fclose(f);
	open_must_fail(p, false, SPR_E_STORE, "file is not a database");
	open_must_fail(p, false, SPR_E_STORE, p->path);
}

static void
test_foreign_and_newer(void **state)
{
	place *p = *state;

	sql(p, "CREATE TABLE other (x)");
	open_must_fail(p, false, SPR_E_STORE, "another program");
	sql(p, "PRAGMA user_version = 2");
	open_must_fail(p, false, SPR_E_STORE, "its schema version is 2, this program knows 1");
	/* the right number over the wrong tables */
	sql(p, "PRAGMA user_version = 1");
	open_must_fail(p, false, SPR_E_STORE, "no such table");
}

static void
test_bad_places(void **state)
{
	place *p = *state;

	snprintf(p->path, sizeof(p->path), "%s/none/s.db", p->dir);
	open_must_fail(p, false, SPR_E_IO, "No such file or directory");
	open_must_fail(p, false, SPR_E_IO, "s.db.lock");
	snprintf(p->path, sizeof(p->path), "%s/folder", p->dir);
	assert_int_equal(mkdir(p->path, 0700), 0);
	open_must_fail(p, false, SPR_E_STORE, "unable to open database file");
}

static void
test_read_only(void **state)
{
	place *p = *state;

	if (geteuid() == 0) {
		skip(); /* root may write anything */
	}
	open_store(p);
	close_store(p);
	assert_int_equal(chmod(p->path, 0400), 0);
	open_must_fail(p, false, SPR_E_STORE, "read-only");
}

static void
test_memory(void **state)
{
	place *p = *state;

	snprintf(p->path, sizeof(p->path), ":memory:");
	assert_true(open_store(p));
	put_now(p, "UN.A", "http://a", 5);
	expect_load(p, "UN.A http://a 5;");
	expect_list(p, (spr_store_query){.limit = 9}, "UN.A http://a 5;");
	assert_ok(spr_store_begin(p->store));
	put(p, "UN.B", "http://b", 5);
	spr_store_rollback(p->store);
	expect_list(p, (spr_store_query){.limit = 9}, "UN.A http://a 5;");
	assert_int_equal(access(":memory:.lock", F_OK), -1);
	close_store(p);
	assert_true(open_store(p));
	expect_load(p, "");
}

static void
test_out_of_memory(void **state)
{
	place *p = *state;
	spr_store_query query = {.limit = 9, .prefix = "UN"};
	spr_store *store = NULL;
	bool was_created = false;
	rows r = {.n = 0};
	spr_err rv;
	unsigned long at = 0;

	do {
		spr_mem_fail_at(++at);
		rv = spr_store_open(&store, p->path, false, &was_created);
		spr_mem_fail_at(0);
		assert_true(rv == SPR_OK || rv == SPR_E_NOMEM);
	} while (rv != SPR_OK);
	assert_true(at > 1);
	p->store = store;
	spr_mem_fail_at(1);
	rv = spr_store_list(p->store, &query, keep_row, &r);
	spr_mem_fail_at(0);
	assert_int_equal(rv, SPR_E_NOMEM);
	assert_ok(spr_store_list(p->store, &query, keep_row, &r));
}

static void
test_close_nothing(void **state)
{
	(void)state;
	spr_store_close(NULL);
}

/* ------------------------------------------------------------------------------------------------ changes */

static void
test_put_and_remove(void **state)
{
	place *p = *state;
	uint64_t commits = spr_counter_sum(SPR_C_STORE_COMMITS);

	open_store(p);
	assert_ok(spr_store_begin(p->store));
	assert_true(put(p, "UN.A", "http://a", 1));
	assert_false(put(p, "UN.A", "http://a", 2));
	assert_false(put(p, "UN.A", "http://a", 2)); /* the same again is a renewal too */
	assert_true(put(p, "UN.A", "http://b", 3));
	assert_true(put(p, "*", "http://a", 4));
	assert_ok(spr_store_commit(p->store));
	assert_int_equal(spr_counter_sum(SPR_C_STORE_COMMITS), commits + 1);
	expect_load(p, "* http://a 4;UN.A http://a 2;UN.A http://b 3;");

	assert_ok(spr_store_begin(p->store));
	assert_ok(spr_store_remove(p->store, "UN.A", "http://a"));
	assert_fails(spr_store_remove(p->store, "UN.A", "http://a"), SPR_E_NOT_FOUND);
	assert_fails(spr_store_remove(p->store, "UN", "http://a"), SPR_E_NOT_FOUND);
	/* the transaction is still open */
	assert_true(put(p, "UN.C", "http://c", 5));
	assert_ok(spr_store_commit(p->store));
	expect_load(p, "* http://a 4;UN.A http://b 3;UN.C http://c 5;");
}

static void
test_rollback(void **state)
{
	place *p = *state;

	open_store(p);
	put_now(p, "UN.A", "http://a", 1);
	assert_ok(spr_store_begin(p->store));
	put(p, "UN.A", "http://a", 9);
	put(p, "UN.B", "http://b", 9);
	assert_ok(spr_store_remove(p->store, "UN.A", "http://a"));
	spr_store_rollback(p->store);
	expect_load(p, "UN.A http://a 1;");
	put_now(p, "UN.B", "http://b", 2);
	expect_load(p, "UN.A http://a 1;UN.B http://b 2;");
}

static void
test_begin_twice(void **state)
{
	place *p = *state;
	uint64_t errors = spr_counter_sum(SPR_C_STORE_ERRORS);

	open_store(p);
	assert_ok(spr_store_begin(p->store));
	assert_fails(spr_store_begin(p->store), SPR_E_STORE);
	assert_int_equal(spr_counter_sum(SPR_C_STORE_ERRORS), errors + 1);
	assert_ok(spr_store_commit(p->store));
	assert_fails(spr_store_commit(p->store), SPR_E_STORE);
}

static void
test_uncommitted_is_gone(void **state)
{
	place *p = *state;

	open_store(p);
	put_now(p, "UN.A", "http://a", 1);
	assert_ok(spr_store_begin(p->store));
	put(p, "UN.B", "http://b", 1);
	close_store(p);
	assert_false(open_store(p));
	expect_load(p, "UN.A http://a 1;");
}

/* The disk "fills up" under the WAL: the change fails, and the same one works when there is room again. */
static void
test_full_disk(void **state)
{
	place *p = *state;
	struct rlimit limit, tight;
	spr_err rv = SPR_OK;
	uint64_t errors = 0;
	char callback[4000];

	memset(callback, 'x', sizeof(callback) - 1);
	callback[sizeof(callback) - 1] = '\0';
	open_store(p);
	put_now(p, "UN.A", "http://a", 1);
	errors = spr_counter_sum(SPR_C_STORE_ERRORS);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	tight = limit;
	tight.rlim_cur = 64 * 1024;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);

	assert_ok(spr_store_begin(p->store));
	for (int i = 0; i < 50 && rv == SPR_OK; i++) {
		spr_store_row row = row_of("UN.B", callback, 2);
		bool created = false;

		snprintf(callback, sizeof(callback), "%04d", i);
		callback[4] = 'x';
		rv = spr_store_put(p->store, &row, &created);
	}
	if (rv == SPR_OK) {
		rv = spr_store_commit(p->store);
	} else {
		spr_store_rollback(p->store);
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(rv, SPR_E_STORE);
	assert_int_equal(spr_counter_sum(SPR_C_STORE_ERRORS), errors + 1);
	expect_load(p, "UN.A http://a 1;");
	put_now(p, "UN.B", "http://b", 2);
	close_store(p);
	open_store(p);
	expect_load(p, "UN.A http://a 1;UN.B http://b 2;");
}

/* ------------------------------------------------------------------------------------------------ reading */

static void
test_broken_rows(void **state)
{
	place *p = *state;
	uint64_t broken = spr_counter_sum(SPR_C_STORE_BROKEN_RECORDS);

	open_store(p);
	close_store(p);
	sql(p, "INSERT INTO subscriptions VALUES ('UN.A', 'http://a', 1), (x'00ff', 'http://b', 1),"
	       " ('UN.C', x'01', 1), ('UN.D', 'http://d', 'soon'), ('UN.E' || char(0) || 'X', "
	       "'http://e', 1),"
	       " ('UN.F', 'http://f', 1.5), ('UN.Z', 'http://z', 2)");
	open_store(p);
	expect_load(p, "UN.A http://a 1;UN.Z http://z 2;");
	assert_int_equal(spr_counter_sum(SPR_C_STORE_BROKEN_RECORDS), broken + 5);
	/* a page is full although rows in between are left out */
	expect_list(p, (spr_store_query){.limit = 2}, "UN.A http://a 1;UN.Z http://z 2;");
}

static void
test_callback_ends_it(void **state)
{
	place *p = *state;
	rows r = {.fail_at = 2};

	open_store(p);
	put_now(p, "UN.A", "http://a", 1);
	put_now(p, "UN.B", "http://a", 1);
	put_now(p, "UN.C", "http://a", 1);
	assert_fails(spr_store_load(p->store, keep_row, &r), SPR_E_TOO_MANY);
	assert_int_equal(r.n, 2);
	assert_string_equal(spr_error_text(SPR_E_TOO_MANY), "enough");
	/* and the statement is fit for another round */
	expect_load(p, "UN.A http://a 1;UN.B http://a 1;UN.C http://a 1;");
}

static void
test_prefix_borders(void **state)
{
	static const char *const patterns[] = {"*",           "UN",          "UN.CEFACT",
					       "UN.CEFACT-X", "UN.CEFACT.A", "UN.CEFACT.Z.B",
					       "UN.CEFACT/B", "UN.CEFACTX",  "UN.CEFACT\xc3\x84",
					       "UO",          NULL};
	place *p = *state;

	open_store(p);
	for (int i = 0; patterns[i] != NULL; i++) {
		put_now(p, patterns[i], "c", i);
	}
	expect_list(p, (spr_store_query){.prefix = "UN.CEFACT"},
		    "UN.CEFACT c 2;UN.CEFACT.A c 4;UN.CEFACT.Z.B c 5;");
	expect_list(p, (spr_store_query){.prefix = "UN.CEFACT.Z"}, "UN.CEFACT.Z.B c 5;");
	expect_list(p, (spr_store_query){.prefix = "UN.CEF"}, "");
	expect_list(p, (spr_store_query){.prefix = "*"},
		    "* c 0;UN c 1;UN.CEFACT c 2;UN.CEFACT-X c 3;UN.CEFACT.A c 4;UN.CEFACT.Z.B c 5;"
		    "UN.CEFACT/B c 6;UN.CEFACTX c 7;UN.CEFACT\xc3\x84 c 8;UO c 9;");
	/* with a cursor before, inside and behind the range */
	expect_list(
	    p,
	    (spr_store_query){.prefix = "UN.CEFACT", .after_pattern = "UN", .after_callback = "c"},
	    "UN.CEFACT c 2;UN.CEFACT.A c 4;UN.CEFACT.Z.B c 5;");
	expect_list(p,
		    (spr_store_query){.prefix = "UN.CEFACT",
				      .after_pattern = "UN.CEFACT.A",
				      .after_callback = "c"},
		    "UN.CEFACT.Z.B c 5;");
	expect_list(
	    p,
	    (spr_store_query){.prefix = "UN.CEFACT", .after_pattern = "UO", .after_callback = "c"},
	    "");
}

static void
test_list_filters(void **state)
{
	place *p = *state;

	open_store(p);
	put_now(p, "UN.A", "http://a", 1);
	put_now(p, "UN.A", "http://b", 2);
	put_now(p, "UN.B", "http://b", 3);
	put_now(p, "UN.C", "http://c", 4);
	expect_list(p, (spr_store_query){.callback = "http://b"},
		    "UN.A http://b 2;UN.B http://b 3;");
	expect_list(p, (spr_store_query){.callback = "http://b", .prefix = "UN.B"},
		    "UN.B http://b 3;");
	expect_list(p, (spr_store_query){.callback = "http"}, "");
	expect_list(
	    p, (spr_store_query){.after_pattern = "UN.A", .after_callback = "http://a", .limit = 2},
	    "UN.A http://b 2;UN.B http://b 3;");
	expect_list(p, (spr_store_query){.after_pattern = "UN.A"},
		    "UN.A http://a 1;UN.A http://b 2;UN.B http://b 3;UN.C http://c 4;");
}

/* What a list sees is what was committed when it started, and it does not wait for the open transaction. */
static void
test_list_beside_a_transaction(void **state)
{
	place *p = *state;

	open_store(p);
	put_now(p, "UN.A", "http://a", 1);
	assert_ok(spr_store_begin(p->store));
	put(p, "UN.A", "http://a", 9);
	put(p, "UN.B", "http://b", 9);
	expect_list(p, (spr_store_query){.limit = 9}, "UN.A http://a 1;");
	assert_ok(spr_store_commit(p->store));
	expect_list(p, (spr_store_query){.limit = 9}, "UN.A http://a 9;UN.B http://b 9;");
}

typedef struct walk {
	char pattern[64], callback[64]; /* of the last row */
	unsigned n;
} walk;

static spr_err
next_in_order(void *arg, const spr_store_row *row)
{
	walk *w = arg;
	int order = strcmp(w->pattern, row->pattern);

	assert_true(order < 0 || (order == 0 && strcmp(w->callback, row->callback) < 0));
	snprintf(w->pattern, sizeof(w->pattern), "%s", row->pattern);
	snprintf(w->callback, sizeof(w->callback), "%s", row->callback);
	w->n++;
	return (SPR_OK);
}

static void
walk_all(place *p, unsigned limit, unsigned n)
{
	walk w = {.n = 0};
	unsigned before = 0;

	do {
		walk at = w;
		spr_store_query query = {.limit = limit,
					 .after_pattern = at.n > 0 ? at.pattern : NULL,
					 .after_callback = at.n > 0 ? at.callback : NULL};

		before = w.n;
		assert_ok(spr_store_list(p->store, &query, next_in_order, &w));
		assert_true(w.n - before == limit || w.n == n);
	} while (w.n != before);
	assert_int_equal(w.n, n);
}

/* Every page size walks every row once, in order. */
static void
test_paging(void **state)
{
	place *p = *state;
	uint64_t random = spr_test_seed();
	unsigned n = 0;

	open_store(p);
	assert_ok(spr_store_begin(p->store));
	for (int i = 0; i < 100; i++) {
		char pattern[32], callback[32];

		snprintf(pattern, sizeof(pattern), "UN.%u", (unsigned)spr_test_below(&random, 8));
		snprintf(callback, sizeof(callback), "http://%u",
			 (unsigned)spr_test_below(&random, 20));
		n += put(p, pattern, callback, 1);
	}
	assert_ok(spr_store_commit(p->store));
	for (unsigned limit = 1; limit <= n + 1; limit += 7) {
		walk_all(p, limit, n);
	}
}

static void
test_expired(void **state)
{
	place *p = *state;
	rows r = {.n = 0}, two = {.n = 0};

	open_store(p);
	put_now(p, "UN.A", "http://a", 30);
	put_now(p, "UN.B", "http://a", 10);
	put_now(p, "UN.C", "http://a", 20);
	put_now(p, "UN.D", "http://a", 29);
	assert_ok(spr_store_expired(p->store, 30, 100, keep_row, &r));
	assert_string_equal(r.text, "UN.B http://a 10;UN.C http://a 20;UN.D http://a 29;");
	assert_ok(spr_store_expired(p->store, 30, 2, keep_row, &two));
	assert_string_equal(two.text, "UN.B http://a 10;UN.C http://a 20;");
	/* read only */
	expect_load(p, "UN.A http://a 30;UN.B http://a 10;UN.C http://a 20;UN.D http://a 29;");
}

#define each(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    each(test_created_once),
	    each(test_must_exist),
	    each(test_one_owner),
	    each(test_unreadable),
	    each(test_foreign_and_newer),
	    each(test_bad_places),
	    each(test_read_only),
	    each(test_memory),
	    each(test_out_of_memory),
	    each(test_close_nothing),
	    each(test_put_and_remove),
	    each(test_rollback),
	    each(test_begin_twice),
	    each(test_uncommitted_is_gone),
	    each(test_full_disk),
	    each(test_broken_rows),
	    each(test_callback_ends_it),
	    each(test_prefix_borders),
	    each(test_list_filters),
	    each(test_list_beside_a_transaction),
	    each(test_paging),
	    each(test_expired),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
