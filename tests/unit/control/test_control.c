/*
 * test_control - the way of a request through the two agents. Most tests turn them by hand, without
 * threads, so that what is in which transaction is theirs to say; the last ones let them run.
 */
#include "control/control.h"

#include <pthread.h>
#include <sqlite3.h>

#include "base/mem.h"
#include "control_desk.h"

static void
test_reads_need_no_writer(void **state)
{
	desk *d = *state;
	slip *version = submit(d, "{'op':'version'}");
	slip *lookup = submit(d, "{'op':'lookup','predicate':'UN.A'}");

	IS_PENDING(version);
	assert_int_equal(spr_control_read_turn(d->control), 2);
	expect_reply(version, "b00t");
	expect_reply(lookup, "\"layers\"");
	assert_int_equal(spr_control_read_turn(d->control), 0);
	assert_int_equal(spr_control_write_turn(d->control), 0);
}

/* What waits is one transaction, and whoever is refused in it costs nobody else. */
static void
test_one_transaction(void **state)
{
	desk *d = *state;
	uint64_t commits = COMMITS();
	slip *first = submit(d, SUBSCRIBE, 1u);
	slip *unknown = submit(d, "{'op':'unsubscribe','pattern':'UN.A','callback':'http://none'}");
	slip *bad = submit(d, "{'op':'subscribe','pattern':'/','callback':'http://a'}");
	slip *no_json = submit(d, "{");
	slip *again = submit(d, SUBSCRIBE, 1u);
	slip *gone = submit(d, "{'op':'unsubscribe','pattern':'UN.A','callback':'http://1'}");
	slip *last =
	    submit(d, "{'op':'import','subscriptions':[{'pattern':'UN.A','callback':'http://2'}]}");

	assert_int_equal(spr_control_read_turn(d->control), 7);
	expect_reply(bad, "bad_pattern");
	expect_reply(no_json, "bad_request");
	IS_PENDING(first);
	IS_PENDING(last);
	assert_int_equal(spr_control_write_turn(d->control), 5);
	assert_int_equal(COMMITS(), commits + 1);
	expect_reply(first, "\"created\":true");
	expect_reply(unknown, "not_found");
	expect_reply(again, "\"renewed\":true");
	expect_reply(gone, OK);
	expect_reply(last, "\"created\":1");
	assert_false(is_told(&d->env, "UN.A", "http://1"));
	assert_true(is_told(&d->env, "UN.A", "http://2"));
}

/* A reply comes when the change is on disk and visible to lookups, not before. */
static void
test_reply_after_publish(void **state)
{
	desk *d = *state;
	slip *s[3];

	for (unsigned i = 0; i < 3; i++) {
		s[i] = submit(d, SUBSCRIBE, i);
		s[i]->must_be_told =
		    "http://2"; /* the group is published before any of it is answered */
	}
	spr_control_read_turn(d->control);
	spr_control_write_turn(d->control);
	for (unsigned i = 0; i < 3; i++) {
		expect_reply(s[i], OK);
		assert_true(s[i]->was_told);
	}
}

static void
test_group_is_bounded(void **state)
{
	desk *d = *state;
	uint64_t commits = COMMITS();

	for (unsigned i = 0; i < 300; i++) {
		submit(d, SUBSCRIBE, i);
	}
	for (unsigned n = 0; n < 300;) {
		unsigned turn = spr_control_read_turn(d->control);

		assert_true(turn > 0 && turn < 300);
		n += turn;
	}
	assert_int_equal(spr_control_write_turn(d->control), SPR_CONTROL_GROUP);
	assert_int_equal(COMMITS(), commits + 1);
	expect_reply(&d->slip[SPR_CONTROL_GROUP - 1], OK);
	IS_PENDING(&d->slip[SPR_CONTROL_GROUP]);
	assert_int_equal(spr_control_write_turn(d->control), 300 - SPR_CONTROL_GROUP);
	assert_int_equal(COMMITS(), commits + 2);
	expect_reply(&d->slip[299], OK);
}

static slip *
submit_import(desk *d, unsigned n)
{
	size_t len = 0, size = 64 + (size_t)n * 64;
	char *text = malloc(size);
	slip *import = &d->slip[d->n++];

	len = (size_t)snprintf(text, size, "{\"op\":\"import\",\"subscriptions\":[");
	for (unsigned i = 0; i < n; i++) {
		len += (size_t)snprintf(text + len, size - len,
					"%s{\"pattern\":\"UN.%u\",\"callback\":\"http://a\"}",
					i > 0 ? "," : "", i);
	}
	snprintf(text + len, size - len, "]}");
	*import = (slip){.desk = d, .text = text};
	spr_control_submit(d->control, (const uint8_t *)text, strlen(text), on_reply, import);
	return (import);
}

/* An import of the full size closes its transaction for others of its kind. */
static void
test_group_of_many_changes(void **state)
{
	desk *d = *state;
	slip *import = submit_import(d, SPR_IMPORT_MAX), *next = submit_import(d, SPR_IMPORT_MAX);

	spr_control_read_turn(d->control);
	assert_int_equal(spr_control_write_turn(d->control), 1);
	expect_reply(import, "\"created\":10000");
	IS_PENDING(next);
	assert_int_equal(spr_control_write_turn(d->control), 1);
	expect_reply(next, "\"renewed\":10000");
}

/* A small change passes imports; an import lets one group pass, and takes small ones with it then. */
static void
test_small_changes_pass_imports(void **state)
{
	desk *d = *state;
	slip *imports[2] = {submit_import(d, SPR_IMPORT_MAX), submit_import(d, SPR_IMPORT_MAX)};
	slip *first = submit(d, SUBSCRIBE, 1u), *second = NULL, *third = NULL;

	spr_control_read_turn(d->control);
	assert_int_equal(spr_control_write_turn(d->control), 1);
	expect_reply(first, OK);
	second = submit(d, SUBSCRIBE, 2u);
	spr_control_read_turn(d->control);
	assert_int_equal(spr_control_write_turn(d->control), 2);
	expect_reply(imports[0], OK);
	expect_reply(second, OK);
	third = submit(d, SUBSCRIBE, 3u);
	spr_control_read_turn(d->control);
	assert_int_equal(spr_control_write_turn(d->control), 1);
	expect_reply(third, OK);
	IS_PENDING(imports[1]);
	assert_int_equal(spr_control_write_turn(d->control), 1);
	expect_reply(imports[1], OK);
}

/* The log of the store is left alone while changes come, and seen to a second after the last. */
static void
test_rest(void **state)
{
	desk *d = *state;
	const spr_agent *writer = spr_control_agent(d->control, SPR_VERB_WRITE);
	slip *first = submit(d, SUBSCRIBE, 1u), *second = NULL;

	spr_control_read_turn(d->control);
	spr_control_write_turn(d->control);
	expect_reply(first, OK);
	assert_int_equal(writer->wake_at_ns, test_now_ns + SPR_NS_PER_S);
	test_now_ns += SPR_NS_PER_S * 9 / 10;
	second = submit(d, SUBSCRIBE, 2u);
	spr_control_read_turn(d->control);
	spr_control_write_turn(d->control);
	expect_reply(second, OK);
	test_now_ns += SPR_NS_PER_S * 9 / 10;
	assert_int_equal(spr_control_write_turn(d->control), 0);
	assert_false(spr_store_is_at_rest(d->env.store));
	test_now_ns += SPR_NS_PER_S / 10;
	assert_int_equal(spr_control_write_turn(d->control), 0);
	assert_true(spr_store_is_at_rest(d->env.store));
	assert_true(writer->wake_at_ns > test_now_ns + SPR_NS_PER_S);
}

/* The store fails: all in the transaction hear it, nothing is visible, and the next one works. */
static void
test_store_error(void **state)
{
	desk *d = *state;
	slip *s[3];

	assert_ok(spr_store_begin(d->env.store)); /* makes the group's own begin fail */
	for (unsigned i = 0; i < 3; i++) {
		s[i] = submit(d, SUBSCRIBE, i);
	}
	spr_control_read_turn(d->control);
	assert_int_equal(spr_control_write_turn(d->control), 3);
	for (unsigned i = 0; i < 3; i++) {
		expect_reply(s[i], "\"code\":\"store\",\"detail\":\"begin: ");
	}
	assert_false(is_told(&d->env, "UN.A", "http://0"));
	spr_store_rollback(d->env.store);
	s[0] = submit(d, SUBSCRIBE, 0u);
	spr_control_read_turn(d->control);
	spr_control_write_turn(d->control);
	expect_reply(s[0], "\"created\":true");
}

/* A failure in the middle of a transaction takes back what the requests before it had stored. */
static void
test_store_error_in_the_middle(void **state)
{
	desk *d = *state;
	sqlite3 *db = NULL;
	slip *good = NULL, *failing = NULL;

	assert_int_equal(sqlite3_open(d->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				      "CREATE TRIGGER fails BEFORE INSERT ON subscriptions WHEN "
				      "NEW.callback = 'http://13'"
				      " BEGIN SELECT RAISE(ABORT, 'thirteen'); END",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	submit(d, SUBSCRIBE, 11u);
	spr_control_read_turn(d->control);
	spr_control_write_turn(d->control);
	assert_false(spr_store_is_at_rest(d->env.store));
	good = submit(d, SUBSCRIBE, 12u);
	failing = submit(d, SUBSCRIBE, 13u);
	spr_control_read_turn(d->control);
	spr_control_write_turn(d->control);
	/* whatever is wrong, a shorter log may help */
	assert_true(spr_store_is_at_rest(d->env.store));
	expect_reply(good, "thirteen");
	expect_reply(failing, "store subscription: thirteen");
	assert_false(is_told(&d->env, "UN.A", "http://12"));
	good = submit(d, SUBSCRIBE, 12u);
	spr_control_read_turn(d->control);
	spr_control_write_turn(d->control);
	expect_reply(good, "\"created\":true");
}

static void
test_drain(void **state)
{
	desk *d = *state;
	slip *before = submit(d, SUBSCRIBE, 1u), *after = NULL, *read = NULL, *bad = NULL;

	spr_control_read_turn(d->control);
	spr_control_drain(d->control);
	after = submit(d, SUBSCRIBE, 2u);
	bad = submit(d, "{'op':'subscribe'}");
	read = submit(d, "{'op':'version'}");
	spr_control_read_turn(d->control);
	expect_reply(after, "\"code\":\"shutting_down\"");
	expect_reply(bad, "bad_request");
	expect_reply(read, OK);
	/* what the writer had already taken over is done */
	spr_control_write_turn(d->control);
	expect_reply(before, OK);
}

static void
test_stop_answers_all(void **state)
{
	desk *d = *state;
	slip *read = submit(d, "{'op':'version'}"), *late = NULL;
	slip *write = submit(d, SUBSCRIBE, 1u);

	spr_control_read_turn(d->control);
	IS_PENDING(write);
	late = submit(d, SUBSCRIBE, 2u);
	spr_control_stop(d->control);
	expect_reply(read, OK);
	expect_reply(write, "shutting_down");
	expect_reply(late, "shutting_down");
	assert_false(is_told(&d->env, "UN.A", "http://1"));
}

static void
test_free_answers_all(void **state)
{
	desk *d = *state;
	slip *late = submit(d, SUBSCRIBE, 2u);

	spr_control_free(d->control);
	expect_reply(late, "shutting_down");
	assert_ok(spr_control_new(&d->control, &d->env));
	spr_control_free(NULL);
}

static void
test_out_of_memory(void **state)
{
	desk *d = *state;
	spr_control *other = NULL;
	slip *s = NULL;
	spr_err rv;

	spr_mem_fail_at(1);
	s = submit(d, "{'op':'version'}");
	spr_mem_fail_at(0);
	expect_reply(s, "out of memory");
	/* no epoch record yet: lookups say so, and the next turn tries again */
	s = submit(d, "{'op':'lookup','predicate':'UN'}");
	spr_mem_fail_at(1);
	spr_control_read_turn(d->control);
	spr_mem_fail_at(0);
	expect_reply(s, "out of memory");
	s = submit(d, "{'op':'lookup','predicate':'UN'}");
	spr_control_read_turn(d->control);
	expect_reply(s, OK);
	spr_mem_fail_at(1);
	rv = spr_control_new(&other, &d->env);
	spr_mem_fail_at(0);
	assert_int_equal(rv, SPR_E_NOMEM);
	assert_null(other);
}

static void
test_agents(void **state)
{
	desk *d = *state;

	assert_string_equal(spr_control_agent(d->control, SPR_VERB_READ)->name, "control-read");
	assert_string_equal(spr_control_agent(d->control, SPR_VERB_WRITE)->name, "control");
	assert_int_equal(spr_control_agent(d->control, SPR_VERB_WRITE)->role, SPR_ROLE_CONTROL);
}

/* ------------------------------------------------------------------------------ with threads */

#define THREADS    4
#define PER_THREAD 60

typedef struct client {
	desk *desk;
	unsigned number;
	slip slip[PER_THREAD];
	char text[PER_THREAD][160];
	atomic_uint n_wrong;
} client;

/* Subscribes, removes every second one again, reads in between; each awaited before the next. */
static void *
client_main(void *arg)
{
	client *c = arg;

	for (unsigned i = 0; i < PER_THREAD; i++) {
		slip *s = &c->slip[i];
		static const char *const ops[6] = {"subscribe", "lookup", "unsubscribe",
						   "subscribe", "list",   "unsubscribe"};

		s->desk = c->desk;
		snprintf(c->text[i], sizeof(c->text[i]),
			 "{\"op\":\"%s\",\"pattern\":\"UN.A\",\"predicate\":\"UN.A\","
			 "\"callback\":\"http://%u/%u\"}",
			 ops[i % 6], c->number, i % 6 == 5 ? i - 2 : i);
		spr_control_submit(c->desk->control, (const uint8_t *)c->text[i],
				   strlen(c->text[i]), on_reply, s);
		if (!wait_until(atomic_load(&s->n_replies) == 1, 60000)) {
			abort();
		}
		/* every second removal is of something that is there */
		if (strstr(s->reply, i % 3 != 2 || i % 6 == 5 ? "\"ok\":true" : "not_found") ==
		    NULL) {
			atomic_fetch_add(&c->n_wrong, 1);
		}
	}
	return (NULL);
}

static void
test_threads(void **state)
{
	desk *d = *state;
	client *c = calloc(THREADS, sizeof(*c));
	pthread_t thread[THREADS];

	assert_ok(spr_control_start(d->control));
	for (unsigned i = 0; i < THREADS; i++) {
		c[i].desk = d;
		c[i].number = i;
		assert_int_equal(pthread_create(&thread[i], NULL, client_main, &c[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_int_equal(atomic_load(&c[i].n_wrong), 0);
		for (unsigned j = 0; j < PER_THREAD; j++) {
			assert_int_equal(atomic_load(&c[i].slip[j].n_replies), 1);
			free(c[i].slip[j].reply);
		}
	}
	spr_control_stop(d->control);
	/* of each six requests one subscription stays */
	assert_int_equal(subscriptions(d), THREADS * PER_THREAD / 6);
	free(c);
}

/* A burst, then a stop: every request is answered once, and what was answered ok is there. */
static void
test_stop_under_load(void **state)
{
	desk *d = *state;
	unsigned n_ok = 0;

	assert_ok(spr_control_start(d->control));
	for (unsigned i = 0; i < MANY; i++) {
		submit(d, SUBSCRIBE, i);
	}
	spr_control_stop(d->control);
	for (unsigned i = 0; i < MANY; i++) {
		char callback[32];
		bool is_ok = strstr(d->slip[i].reply, OK) != NULL;

		snprintf(callback, sizeof(callback), "http://%u", i);
		expect_reply(&d->slip[i], is_ok ? OK : "shutting_down");
		assert_int_equal(is_told(&d->env, "UN.A", callback), is_ok);
		n_ok += is_ok;
	}
	assert_int_equal(subscriptions(d), n_ok);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    each(test_reads_need_no_writer),
	    each(test_one_transaction),
	    each(test_reply_after_publish),
	    each(test_group_is_bounded),
	    each(test_group_of_many_changes),
	    each(test_small_changes_pass_imports),
	    each(test_rest),
	    each(test_store_error),
	    each(test_store_error_in_the_middle),
	    each(test_drain),
	    each(test_stop_answers_all),
	    each(test_free_answers_all),
	    each(test_out_of_memory),
	    each(test_agents),
	    each(test_threads),
	    each(test_stop_under_load),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
