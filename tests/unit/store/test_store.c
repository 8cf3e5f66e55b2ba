/*
 * test_store - the store on real files: changes that last through rollbacks, kills and a disk that
 * is full for a while; pages in order; rows that are broken.
 */
#include "store/store.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/counters.h"
#include "base/mem.h"
#include "store_place.h"
#include "sync_count.h"

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

/* A commit that has returned survives a power cut, not only the process. */
static void
test_commit_waits_for_the_disk(void **state)
{
	place *p = *state;
	unsigned long before;

	open_store(p);
	for (unsigned i = 0; i < 3; i++) {
		assert_ok(spr_store_begin(p->store));
		(void)put(p, "UN.A", "http://a", i);
		before = n_syncs;
		assert_ok(spr_store_commit(p->store));
		assert_true(n_syncs > before);
	}
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

/* Stores one row after the other and reports each once it is committed. Never returns. */
static void
store_for_ever(place *p, int report)
{
	spr_store *store = NULL;
	bool was_created = false;

	if (spr_store_open(&store, p->path, false, &was_created) != SPR_OK) {
		_exit(1);
	}
	for (unsigned i = 0;; i++) {
		char pattern[32];
		spr_store_row row = {pattern, 0, "c", 1, 1};
		bool created = false;

		row.pattern_len = (size_t)snprintf(pattern, sizeof(pattern), "UN.%u", i);
		if (spr_store_begin(store) != SPR_OK ||
		    spr_store_put(store, &row, &created) != SPR_OK ||
		    spr_store_commit(store) != SPR_OK || write(report, "x", 1) != 1) {
			_exit(1);
		}
	}
}

static spr_err
count_row(void *arg, const spr_store_row *row)
{
	unsigned *n = arg;

	(void)row;
	(*n)++;
	return (SPR_OK);
}

/* Killed at any moment, what was committed is there, and the lock is free. */
static void
test_kill(void **state)
{
	place *p = *state;
	uint64_t random = spr_test_seed();
	unsigned wanted = 1 + (unsigned)spr_test_below(&random, 200), n_reported = 0, n_stored = 0;
	int report[2], status = 0;
	pid_t child;
	char x[64];
	ssize_t got;

	assert_int_equal(pipe(report), 0);
	if ((child = fork()) == 0) {
		close(report[0]);
		store_for_ever(p, report[1]);
	}
	assert_true(child > 0);
	close(report[1]);
	while (n_reported < wanted && (got = read(report[0], x, 1)) == 1) {
		n_reported++;
	}
	assert_int_equal(kill(child, SIGKILL), 0);
	while ((got = read(report[0], x, sizeof(x))) > 0) {
		n_reported += (unsigned)got;
	}
	close(report[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_false(open_store(p));
	assert_ok(spr_store_load(p->store, count_row, &n_stored));
	/* the last one may have been committed without the report */
	assert_true(n_stored == n_reported || n_stored == n_reported + 1);
}

/* The disk is full under the WAL: the change fails, and the same one works when there is room. */
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

/* ----------------------------------------------------------------------------------- reading */

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
	expect_list(p, (spr_store_query){.prefix = "UN.B"}, "UN.B http://b 3;");
	expect_list(
	    p, (spr_store_query){.after_pattern = "UN.A", .after_callback = "http://a", .limit = 2},
	    "UN.A http://b 2;UN.B http://b 3;");
	expect_list(p, (spr_store_query){.after_pattern = "UN.A"},
		    "UN.A http://a 1;UN.A http://b 2;UN.B http://b 3;UN.C http://c 4;");
}

/* A list sees what was committed when it started, and does not wait for the open transaction. */
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
expect_expired(place *p, unsigned max, const char *text)
{
	rows r = {.n = 0};

	assert_ok(spr_store_expired(p->store, 30, max, keep_row, &r));
	assert_string_equal(r.text, text);
}

/* It goes on behind what it has found, and round again. */
static void
test_expired(void **state)
{
	place *p = *state;
	rows r = {.fail_at = 1};

	open_store(p);
	expect_expired(p, 100, "");
	put_now(p, "UN.A", "http://a", 30);
	put_now(p, "UN.B", "http://a", 10);
	put_now(p, "UN.C", "http://a", 20);
	put_now(p, "UN.D", "http://a", 29);
	expect_expired(p, 100, "UN.B http://a 10;UN.C http://a 20;UN.D http://a 29;");
	expect_expired(p, 2, "UN.B http://a 10;UN.C http://a 20;");
	/* what ended it is found again */
	assert_fails(spr_store_expired(p->store, 30, 2, keep_row, &r), SPR_E_TOO_MANY);
	expect_expired(p, 2, "UN.D http://a 29;");
	expect_expired(p, 1, "UN.B http://a 10;");
	/* without memory for where it was, from the start */
	spr_mem_fail_at(1);
	expect_expired(p, 1, "UN.C http://a 20;");
	spr_mem_fail_at(0);
	expect_expired(p, 1, "UN.B http://a 10;");
	/* read only */
	expect_load(p, "UN.A http://a 30;UN.B http://a 10;UN.C http://a 20;UN.D http://a 29;");
}

/* No look is longer than SPR_STORE_SCAN rows. */
static void
test_expired_behind_many(void **state)
{
	place *p = *state;

	open_store(p);
	assert_ok(spr_store_begin(p->store));
	for (unsigned i = 0; i < SPR_STORE_SCAN; i++) {
		char pattern[32];

		snprintf(pattern, sizeof(pattern), "UN.A%u", i);
		(void)put(p, pattern, "http://a", 30);
	}
	(void)put(p, "UN.B", "http://a", 29);
	assert_ok(spr_store_commit(p->store));
	expect_expired(p, 100, "");
	expect_expired(p, 100, "UN.B http://a 29;");
	expect_expired(p, 100, "");
}

/* A store of a version that kept an index by expiry goes on without it. */
static void
test_old_index(void **state)
{
	place *p = *state;

	open_store(p);
	put_now(p, "UN.A", "http://a", 1);
	close_store(p);
	sql(p, "CREATE INDEX subscriptions_by_expires ON subscriptions (expires)");
	assert_false(open_store(p));
	expect_load(p, "UN.A http://a 1;");
	sql(p,
	    "CREATE INDEX subscriptions_by_expires ON subscriptions (expires)"); /* it can be made, so there is none */
}

static off_t
size_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (st.st_size);
}

/* A commit leaves its pages in the log; an idle store moves them into the database. */
static void
test_rest(void **state)
{
	place *p = *state;
	char pattern[32];
	off_t before;

	open_store(p);
	assert_true(spr_store_is_at_rest(p->store));
	assert_ok(spr_store_begin(p->store));
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(pattern, sizeof(pattern), "UN.%u", i);
		(void)put(p, pattern, "http://a", 1);
	}
	assert_true(spr_store_is_at_rest(p->store));
	assert_ok(spr_store_commit(p->store));
	assert_false(spr_store_is_at_rest(p->store));
	before = size_of(p->path);
	spr_store_rest(p->store, false); /* the log is not long */
	assert_false(spr_store_is_at_rest(p->store));
	assert_int_equal(size_of(p->path), before);
	spr_store_rest(p->store, true);
	assert_true(spr_store_is_at_rest(p->store));
	assert_true(size_of(p->path) > before + 10000);
	put_now(p, "UN.A", "http://a", 1);
	assert_false(spr_store_is_at_rest(p->store));
}

/* A reader that stands in the way costs the rest, not the store. */
static void
test_rest_beside_a_reader(void **state)
{
	place *p = *state;
	sqlite3 *db = NULL;

	open_store(p);
	put_now(p, "UN.A", "http://a", 1);
	assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN; SELECT * FROM subscriptions", NULL, NULL, NULL),
			 SQLITE_OK);
	put_now(p, "UN.B", "http://b", 2);
	spr_store_rest(p->store, true);
	put_now(p, "UN.C", "http://c", 3);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	spr_store_rest(p->store, true);
	assert_true(spr_store_is_at_rest(p->store));
	expect_load(p, "UN.A http://a 1;UN.B http://b 2;UN.C http://c 3;");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    each(test_put_and_remove),
	    each(test_commit_waits_for_the_disk),
	    each(test_rollback),
	    each(test_begin_twice),
	    each(test_uncommitted_is_gone),
	    each(test_kill),
	    each(test_full_disk),
	    each(test_broken_rows),
	    each(test_callback_ends_it),
	    each(test_prefix_borders),
	    each(test_list_filters),
	    each(test_list_beside_a_transaction),
	    each(test_paging),
	    each(test_expired),
	    each(test_expired_behind_many),
	    each(test_old_index),
	    each(test_rest),
	    each(test_rest_beside_a_reader),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
