/*
 * test_queue_store - what is refused at the door, and that a process killed at any instant has lost nothing it was told is on
 * disk.
 */
#include "queue_store.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "spr_test.h"
#include "store/store.h"
#include "sync_count.h"

typedef struct place {
	char *dir;
	char path[256];
} place;

static int
setup(void **state)
{
	place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->dir = spr_test_tmpdir();
	snprintf(p->path, sizeof(p->path), "%s/q.db", p->dir);
	*state = p;
	return (0);
}

static int
teardown(void **state)
{
	place *p = *state;

	spr_test_cleanup(p->dir);
	free(p);
	return (0);
}

static queue_bytes
bytes(const char *text)
{
	return ((queue_bytes){(const uint8_t *)text, strlen(text)});
}

static bool
put(queue_store *store, const char *id, bool is_named)
{
	bool is_new = false;

	assert_ok(queue_store_submit(store, bytes(id), is_named, bytes("{}"), 1000, &is_new));
	return (is_new);
}

static void
expect_refused(const char *path, spr_err err, const char *text)
{
	queue_store *store = NULL;

	assert_fails(queue_store_open(&store, path), err);
	assert_null(store);
	if (strstr(spr_error_text(err), text) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", spr_error_text(err), text);
}

static void
run_sql(const char *path, const char *sql)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void
test_refused(void **state)
{
	place *p = *state;
	queue_store *store = NULL;
	spr_store *subscriptions = NULL;
	char other[300];
	bool was_created;

	assert_ok(queue_store_open(&store, p->path));
	expect_refused(p->path, SPR_E_LOCKED, "another queue (pid ");
	queue_store_close(store);
	/* the daemon's and the queue's are not taken for each other */
	assert_fails(spr_store_open(&subscriptions, p->path, false, &was_created), SPR_E_STORE);
	snprintf(other, sizeof(other), "%s/s.db", p->dir);
	assert_ok(spr_store_open(&subscriptions, other, false, &was_created));
	spr_store_close(subscriptions);
	expect_refused(other, SPR_E_STORE, "a database of another program");
	run_sql(p->path, "PRAGMA user_version = 2");
	expect_refused(p->path, SPR_E_STORE, "its schema version is 2, this program knows 1");
	expect_refused("/nonexistent/q.db", SPR_E_IO, "/nonexistent/q.db.lock");
	assert_ok(queue_store_open(&store, ":memory:"));
	queue_store_close(store);
	queue_store_close(NULL);
}

static void
test_no_memory(void **state)
{
	place *p = *state;
	queue_store *store = NULL;

	spr_mem_fail_at(1);
	assert_fails(queue_store_open(&store, p->path), SPR_E_NOMEM);
	spr_mem_fail_at(0);
}

static void
test_counts_follow_the_transaction(void **state)
{
	place *p = *state;
	queue_store *store = NULL;
	queue_row row;
	unsigned n = 0;
	int64_t oldest = 0;
	uint64_t due = 0, seq = 0;

	assert_ok(queue_store_open(&store, p->path));
	assert_ok(queue_store_commit(store));
	assert_int_equal(queue_store_commits(store), 0);
	assert_true(put(store, "a", true));
	assert_false(put(store, "a", true));
	assert_true(put(store, "b", false));
	assert_true(queue_store_is_changed(store));
	queue_store_rollback(store);
	assert_int_equal(queue_store_counts(store).live, 0);
	assert_fails(queue_store_find(store, bytes("a"), &row), SPR_E_NOT_FOUND);
	put(store, "a", true);
	put(store, "b", false);
	put(store, "c", true);
	assert_ok(queue_store_commit(store));
	assert_ok(queue_store_oldest(store, &oldest));
	assert_int_equal(oldest, 1000);

	assert_ok(queue_store_find(store, bytes("c"), &row));
	assert_ok(queue_store_die(store, row.seq, "why", 7));
	assert_int_equal(queue_store_counts(store).dead, 1);
	queue_store_rollback(store);
	assert_int_equal(queue_store_counts(store).dead, 0);
	assert_ok(queue_store_die(store, row.seq, "why", 7));
	assert_ok(queue_store_find(store, bytes("a"), &row));
	assert_ok(queue_store_ack(store, &row, true, 8));
	assert_ok(queue_store_find(store, bytes("b"), &row));
	assert_ok(queue_store_retry(store, row.seq, 500, true));
	assert_ok(queue_store_commit(store));
	queue_store_close(store);

	/* counted anew; what waited is ready */
	assert_ok(queue_store_open(&store, p->path));
	assert_int_equal(queue_store_counts(store).live, 1);
	assert_int_equal(queue_store_counts(store).dead, 1);
	assert_int_equal(queue_store_counts(store).done, 1);
	assert_ok(queue_store_first_due(store, &due));
	assert_true(due == UINT64_MAX);
	assert_fails(queue_store_take_due(store, UINT64_MAX / 2, &seq), SPR_E_NOT_FOUND);
	assert_ok(queue_store_find(store, bytes("b"), &row));
	assert_int_equal(row.state, QUEUE_READY);
	assert_int_equal(row.attempts, 1);
	assert_int_equal(row.retries, 1);
	assert_ok(queue_store_requeue(store, (queue_bytes){NULL, 0}, 10, &n));
	assert_int_equal(n, 1);
	assert_ok(queue_store_take_due(store, 0, &seq));
	assert_ok(queue_store_forget(store, 0, 10));
	assert_int_equal(queue_store_counts(store).done, 0);
	assert_ok(queue_store_commit(store));
	queue_store_close(store);
}

/* A number is not given twice: the one who reads on behind the last would never see its row. */
static void
test_numbers_grow(void **state)
{
	place *p = *state;
	queue_store *store = NULL;
	queue_row row;
	uint64_t first = 0;

	assert_ok(queue_store_open(&store, p->path));
	put(store, "a", false);
	first = queue_store_last(store);
	assert_ok(queue_store_find(store, bytes("a"), &row));
	assert_ok(queue_store_ack(store, &row, true, 8));
	put(store, "b", false);
	assert_true(queue_store_last(store) > first);
	queue_store_close(store);
}

/* Commits numbers one by one and tells each on the pipe; acks every third. Never returns. */
static void
write_until_killed(const char *path, int out, unsigned from)
{
	queue_store *store = NULL;
	queue_row row;
	char id[24];
	bool is_new;

	if (queue_store_open(&store, path) != SPR_OK)
		_exit(1);
	for (unsigned i = from;; i++) {
		snprintf(id, sizeof(id), "%u", i);
		if (queue_store_submit(store, bytes(id), true, bytes("{}"), 1, &is_new) != SPR_OK ||
		    (i % 3 == 0 && (queue_store_find(store, bytes(id), &row) != SPR_OK ||
				    queue_store_ack(store, &row, true, 1) != SPR_OK)) ||
		    queue_store_commit(store) != SPR_OK ||
		    write(out, &i, sizeof(i)) != (ssize_t)sizeof(i))
			_exit(1);
	}
}

static void
check_after_kill(const char *path, unsigned n_told)
{
	queue_store *store = NULL;
	queue_row row;
	char id[24];

	assert_ok(queue_store_open(&store, path));
	for (unsigned i = 0; i < n_told; i++) {
		snprintf(id, sizeof(id), "%u", i);
		assert_ok(queue_store_find(store, bytes(id), &row));
		assert_int_equal(row.state, i % 3 == 0 ? QUEUE_DONE : QUEUE_READY);
	}
	queue_store_close(store);
}

static void
test_killed(void **state)
{
	place *p = *state;
	uint64_t random = spr_test_seed();
	unsigned n_told = 0, number = 0;

	for (int round = 0; round < 10; round++) {
		unsigned enough = n_told + 1 + (unsigned)spr_test_below(&random, 200);
		int ends[2], status = 0;
		pid_t child;

		assert_int_equal(pipe(ends), 0);
		if ((child = fork()) == 0)
			write_until_killed(p->path, ends[1], n_told);
		assert_true(child > 0);
		close(ends[1]);
		while (n_told < enough && read(ends[0], &number, sizeof(number)) == sizeof(number))
			n_told = number + 1;
		kill(child, SIGKILL);
		while (read(ends[0], &number, sizeof(number)) == sizeof(number))
			n_told = number + 1;
		close(ends[0]);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		check_after_kill(p->path, n_told);
	}
}

/* What was told to be on disk survives a power cut, not only the process. */
static void
test_commit_waits_for_the_disk(void **state)
{
	const place *p = *state;
	const char *const ids[] = {"a", "b", "c"};
	queue_store *store = NULL;
	unsigned long before;

	assert_ok(queue_store_open(&store, p->path));
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		assert_true(put(store, ids[i], true));
		before = n_syncs;
		assert_ok(queue_store_commit(store));
		assert_true(n_syncs > before);
	}
	queue_store_close(store);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_refused),      T(test_no_memory), T(test_counts_follow_the_transaction),
	    T(test_numbers_grow), T(test_killed),    T(test_commit_waits_for_the_disk),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
