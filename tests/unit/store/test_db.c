/*
 * test_db - opening whatever may lie where the store should be: nothing, an empty file, a database
 * of another program or version, no database, and a store that another daemon has.
 */
#include "store/db.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "store_place.h"

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
	assert_int_equal(access(lock, F_OK), -1);
	assert_ok(spr_store_open(&p->store, link, false, &was_created));
}

/* The first to open a store by a link to nothing has the same lock as who then comes by its real name. */
static void
test_link_to_nothing(void **state)
{
	place *p = *state;
	spr_store *other = NULL;
	char link[300];
	bool was_created = false;

	snprintf(link, sizeof(link), "%s/link.db", p->dir);
	assert_int_equal(symlink(p->path, link), 0);
	assert_ok(spr_store_open(&p->store, link, false, &was_created));
	assert_true(was_created);
	assert_fails(spr_store_open(&other, p->path, false, &was_created), SPR_E_LOCKED);
}

static const char *removed_before_locking; /* once */

/* Stands before libc's: what happens between the open of a lock's file and its lock. */
int
flock(int fd, int operation)
{
	if (removed_before_locking != NULL) {
		assert_int_equal(unlink(removed_before_locking), 0);
		removed_before_locking = NULL;
	}
	return ((int)syscall(SYS_flock, fd, operation));
}

/* The owner before removed the file between our open and our lock: the lock is on the file of that name all the same. */
static void
test_lock_is_removed_safely(void **state)
{
	place *p = *state;
	char path[300];

	snprintf(path, sizeof(path), "%s.lock", p->path);
	removed_before_locking = path;
	open_store(p);
	assert_null(removed_before_locking);
	assert_int_equal(access(path, F_OK), 0);
	open_must_fail(p, false, SPR_E_LOCKED, path);
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
	unsigned char header[20];
	FILE *f = NULL;

	sql(p, "CREATE TABLE other (x)");
	open_must_fail(p, false, SPR_E_STORE, "another program");
	/* byte 18 of the file is 2 once it was turned to WAL: nothing of it was changed */
	assert_non_null(f = fopen(p->path, "rb"));
	assert_int_equal(fread(header, 1, sizeof(header), f), sizeof(header));
	assert_int_equal(header[18], 1);
	fclose(f);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    each(test_created_once),
	    each(test_must_exist),
	    each(test_one_owner),
	    each(test_link_to_nothing),
	    each(test_lock_is_removed_safely),
	    each(test_unreadable),
	    each(test_foreign_and_newer),
	    each(test_bad_places),
	    each(test_read_only),
	    each(test_memory),
	    each(test_out_of_memory),
	    each(test_close_nothing),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
