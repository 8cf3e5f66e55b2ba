/*
 * test_control - the way of a request through the two agents. Most tests turn them by hand, without threads, so that
 * what is in which transaction is theirs to say; the last ones let the threads run.
 */
#include "control/control.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "base/counters.h"
#include "base/mem.h"
#include "control/sweep.h"
#include "control_env.h"

#define MANY 400

typedef struct desk desk;

/* One submitted request and its reply. */
typedef struct slip {
	desk *desk;
	char *text;
	char *reply;
	atomic_uint n_replies;
	const char *must_be_told; /* looked up at the moment of the reply */
	bool was_told;
} slip;

struct desk {
	spr_control_env env;
	spr_control *control;
	char *dir;
	char path[256];
	slip slip[MANY];
	unsigned n;
};

static int
setup(void **state)
{
	desk *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->dir = spr_test_tmpdir();
	snprintf(d->path, sizeof(d->path), "%s/s.db", d->dir);
	env_init(&d->env, d->path);
	assert_ok(spr_control_new(&d->control, &d->env));
	*state = d;
	return (0);
}

static int
teardown(void **state)
{
	desk *d = *state;

	spr_control_stop(d->control);
	spr_control_free(d->control);
	env_fini(&d->env);
	for (unsigned i = 0; i < d->n; i++) {
		free(d->slip[i].text);
		free(d->slip[i].reply);
	}
	spr_test_cleanup(d->dir);
	free(d);
	return (0);
}

static void
on_reply(void *arg, const char *text, size_t len)
{
	slip *s = arg;

	if (strlen(text) != len) {
		abort();
	}
	if (s->must_be_told != NULL) {
		s->was_told = is_told(&s->desk->env, "UN.A", s->must_be_told);
	}
	free(s->reply);
	s->reply = strdup(text);
	atomic_fetch_add(&s->n_replies, 1);
}

/* Single quotes stand for double ones. */
static slip *submit(desk *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
static slip *
submit(desk *d, const char *format, ...)
{
	slip *s = &d->slip[d->n++];
	char text[512];
	va_list args;

	assert_true(d->n <= MANY);
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *p = text; *p != '\0'; p++) {
		*p = *p == '\'' ? '"' : *p;
	}
	s->desk = d;
	s->text = strdup(text);
	spr_control_submit(d->control, (const uint8_t *)s->text, strlen(s->text), on_reply, s);
	return (s);
}

static void
expect_reply(const slip *s, const char *part)
{
	assert_int_equal(atomic_load(&s->n_replies), 1);
	if (strstr(s->reply, part) == NULL) {
		fail_msg("%s: got %s, wanted %s", s->text, s->reply, part);
	}
}

#define OK            "\"ok\":true"
#define SUBSCRIBE     "{'op':'subscribe','pattern':'UN.A','callback':'http://%u'}"
#define IS_PENDING(s) assert_int_equal(atomic_load(&(s)->n_replies), 0)
#define COMMITS()     spr_counter_sum(SPR_C_STORE_COMMITS)

/* ---------------------------------------------------------------------------------------------------- by hand */

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

/* An import of the full size closes its transaction. */
static void
test_group_of_many_changes(void **state)
{
	desk *d = *state;
	size_t len = 0, size = SPR_IMPORT_MAX * 64;
	char *text = malloc(size);
	slip *import = NULL, *next = NULL;

	len = (size_t)snprintf(text, size, "{\"op\":\"import\",\"subscriptions\":[");
	for (unsigned i = 0; i < SPR_IMPORT_MAX; i++) {
		len += (size_t)snprintf(text + len, size - len,
					"%s{\"pattern\":\"UN.%u\",\"callback\":\"http://a\"}",
					i > 0 ? "," : "", i);
	}
	snprintf(text + len, size - len, "]}");
	import = &d->slip[d->n++];
	*import = (slip){.desk = d, .text = text};
	spr_control_submit(d->control, (const uint8_t *)text, strlen(text), on_reply, import);
	next = submit(d, SUBSCRIBE, 1u);
	spr_control_read_turn(d->control);
	assert_int_equal(spr_control_write_turn(d->control), 1);
	expect_reply(import, "\"created\":10000");
	IS_PENDING(next);
	assert_int_equal(spr_control_write_turn(d->control), 1);
	expect_reply(next, OK);
}

/* The store fails: everyone in the transaction hears it, nothing is visible, and the next one works. */
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
	good = submit(d, SUBSCRIBE, 12u);
	failing = submit(d, SUBSCRIBE, 13u);
	spr_control_read_turn(d->control);
	spr_control_write_turn(d->control);
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

/* ---------------------------------------------------------------------------------------------------- sweeping */

static void
advance(int64_t s)
{
	test_wall_s += s;
	test_now_ns += (uint64_t)s * SPR_NS_PER_S;
}

static unsigned
sweep(desk *d)
{
	unsigned n = 0, total = 0;

	while ((n = spr_control_write_turn(d->control)) > 0) {
		total += n;
	}
	return (total);
}

static void
store_rows(desk *d, unsigned n, int64_t expires_s)
{
	assert_ok(spr_store_begin(d->env.store));
	for (unsigned i = 0; i < n; i++) {
		char pattern[32];
		spr_store_row row = {pattern, 0, "http://a", 8, expires_s};
		bool created = false;

		row.pattern_len = (size_t)snprintf(pattern, sizeof(pattern), "UN.%u", i);
		assert_ok(spr_store_put(d->env.store, &row, &created));
	}
	assert_ok(spr_store_commit(d->env.store));
}

static uint64_t
subscriptions(desk *d)
{
	spr_subscriptions_stats stats;

	spr_subscriptions_get_stats(d->env.subscriptions, &stats);
	return (stats.subscriptions);
}

/* Not in the first hour, not within the grace, and then exactly the ones over it. */
static void
test_sweep(void **state)
{
	desk *d = *state;
	uint64_t swept = spr_counter_sum(SPR_C_CHANGES_EXPIRE), n = 0;

	store_rows(d, 3, NOW_S - 86400 - 10);
	assert_ok(spr_control_load(&d->env, &n));
	submit(d, SUBSCRIBE, 1u);
	spr_control_read_turn(d->control);
	assert_int_equal(spr_control_write_turn(d->control), 1);
	assert_int_equal(subscriptions(d), 4);
	advance(3599);
	assert_int_equal(sweep(d), 0);
	assert_int_equal(subscriptions(d), 4);
	advance(10);
	assert_int_equal(sweep(d), 3);
	assert_int_equal(subscriptions(d), 1);
	assert_true(is_told(&d->env, "UN.A", "http://1"));
	assert_int_equal(spr_counter_sum(SPR_C_CHANGES_EXPIRE), swept + 3);
	/* the one left: expired strictly longer than the grace */
	advance(5 * 86400 - 3609 + 86400);
	assert_int_equal(sweep(d), 0);
	advance(10);
	assert_int_equal(subscriptions(d), 1);
	/* the patient clock follows the wall clock when both run alike */
	assert_int_equal(sweep(d), 1);
	assert_int_equal(subscriptions(d), 0);
}

static void
test_sweep_in_batches(void **state)
{
	desk *d = *state;
	uint64_t n = 0, commits = 0;

	store_rows(d, 2 * SPR_SWEEP_BATCH + 5, NOW_S - 2 * 86400);
	assert_ok(spr_control_load(&d->env, &n));
	advance(3600);
	commits = COMMITS();
	assert_int_equal(spr_control_write_turn(d->control), SPR_SWEEP_BATCH);
	/* requests are served in between */
	submit(d, SUBSCRIBE, 1u);
	spr_control_read_turn(d->control);
	assert_int_equal(spr_control_write_turn(d->control), 1 + SPR_SWEEP_BATCH);
	assert_int_equal(spr_control_write_turn(d->control), 5);
	assert_int_equal(spr_control_write_turn(d->control), 0);
	assert_int_equal(COMMITS(), commits + 4);
	assert_int_equal(subscriptions(d), 1);
}

/* A wall clock that jumps ahead deletes nothing, unless it stays there. */
static void
test_sweep_and_a_jumping_clock(void **state)
{
	desk *d = *state;
	uint64_t n = 0;

	store_rows(d, 3, NOW_S + 3 * 86400);
	assert_ok(spr_control_load(&d->env, &n));
	for (int i = 0; i < 3 * 360; i++) {
		advance(10);
		assert_int_equal(sweep(d), 0);
	}
	test_wall_s += 30 * 86400;
	for (int i = 0; i < 359; i++) {
		advance(10);
		assert_int_equal(sweep(d), 0);
	}
	/* back again: nothing happened */
	test_wall_s -= 30 * 86400;
	advance(10);
	assert_int_equal(sweep(d), 0);
	/* ahead for good: after one to two hours it is believed */
	test_wall_s += 30 * 86400;
	for (int i = 0; i < 2 * 360 + 1; i++) {
		advance(10);
		n += sweep(d);
	}
	assert_int_equal(subscriptions(d), 0);
}

static void
test_sweep_store_error(void **state)
{
	desk *d = *state;
	uint64_t n = 0;

	store_rows(d, 3, NOW_S - 2 * 86400);
	assert_ok(spr_control_load(&d->env, &n));
	advance(3600);
	assert_ok(spr_store_begin(d->env.store));
	assert_int_equal(spr_control_write_turn(d->control), 0);
	spr_store_rollback(d->env.store);
	assert_int_equal(subscriptions(d), 3);
	/* not again at once, but soon */
	assert_int_equal(spr_control_write_turn(d->control), 0);
	advance(10);
	assert_int_equal(spr_control_write_turn(d->control), 3);
	assert_int_equal(subscriptions(d), 0);
}

static void
test_sweep_out_of_memory(void **state)
{
	desk *d = *state;
	uint64_t n = 0;

	store_rows(d, 2, NOW_S - 2 * 86400);
	assert_ok(spr_control_load(&d->env, &n));
	advance(3600);
	for (unsigned long at = 1; at <= 5; at++) {
		spr_mem_fail_at(at);
		assert_int_equal(spr_control_write_turn(d->control), 0);
		spr_mem_fail_at(0);
		advance(10);
	}
	assert_int_equal(spr_control_write_turn(d->control), 2);
}

/* A stored row that could never be used goes the same way, without harm. */
static void
test_sweep_of_broken_rows(void **state)
{
	desk *d = *state;
	spr_store_row row = {"/", 1, "http://a", 8, 5};
	bool created = false;

	assert_ok(spr_store_begin(d->env.store));
	assert_ok(spr_store_put(d->env.store, &row, &created));
	assert_ok(spr_store_commit(d->env.store));
	advance(3600);
	assert_int_equal(spr_control_write_turn(d->control), 1);
	advance(10);
	assert_int_equal(spr_control_write_turn(d->control), 0);
}

/* Idle, it sleeps until the next look for expired rows; with something retired, a second. */
static void
test_when_it_wakes(void **state)
{
	desk *d = *state;
	const spr_agent *writer = spr_control_agent(d->control, SPR_VERB_WRITE);
	uint64_t start_ns = test_now_ns;

	assert_int_equal(spr_control_write_turn(d->control), 0);
	assert_int_equal(writer->wake_at_ns, start_ns + SPR_SWEEP_EVERY_NS);
	submit(d, SUBSCRIBE, 1u);
	submit(d, "{'op':'unsubscribe','pattern':'UN.A','callback':'http://1'}");
	spr_control_read_turn(d->control);
	assert_int_equal(spr_control_write_turn(d->control), 2);
	assert_true(spr_epoch_retired_bytes(d->env.epoch) > 0);
	assert_int_equal(writer->wake_at_ns, start_ns + SPR_NS_PER_S);
	spr_epoch_barrier(d->env.epoch);
	assert_int_equal(spr_control_write_turn(d->control), 0);
	assert_int_equal(writer->wake_at_ns, start_ns + SPR_SWEEP_EVERY_NS);
	advance(10);
	assert_int_equal(spr_control_write_turn(d->control), 0);
	assert_int_equal(writer->wake_at_ns, start_ns + 2 * SPR_SWEEP_EVERY_NS);
}

static void
test_agents(void **state)
{
	desk *d = *state;

	assert_string_equal(spr_control_agent(d->control, SPR_VERB_READ)->name, "control-read");
	assert_string_equal(spr_control_agent(d->control, SPR_VERB_WRITE)->name, "control");
	assert_int_equal(spr_control_agent(d->control, SPR_VERB_WRITE)->role, SPR_ROLE_CONTROL);
}

/* ------------------------------------------------------------------------------------------------ with threads */

#define THREADS    4
#define PER_THREAD 60

typedef struct client {
	desk *desk;
	unsigned number;
	slip slip[PER_THREAD];
	char text[PER_THREAD][160];
	atomic_uint n_wrong;
} client;

/* Subscribes, and removes every third again, with reads in between; each awaited before the next. */
static void *
client_main(void *arg)
{
	client *c = arg;

	for (unsigned i = 0; i < PER_THREAD; i++) {
		slip *s = &c->slip[i];
		const char *op = i % 3 == 0 ? "subscribe" : i % 3 == 1 ? "lookup" : "unsubscribe";

		s->desk = c->desk;
		snprintf(c->text[i], sizeof(c->text[i]),
			 "{\"op\":\"%s\",\"pattern\":\"UN.A\",\"predicate\":\"UN.A\","
			 "\"callback\":\"http://%u/%u\"}",
			 op, c->number, i % 6 == 5 ? i - 2 : i);
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

#define each(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    each(test_reads_need_no_writer),
	    each(test_one_transaction),
	    each(test_reply_after_publish),
	    each(test_group_is_bounded),
	    each(test_group_of_many_changes),
	    each(test_store_error),
	    each(test_store_error_in_the_middle),
	    each(test_drain),
	    each(test_stop_answers_all),
	    each(test_free_answers_all),
	    each(test_out_of_memory),
	    each(test_sweep),
	    each(test_sweep_in_batches),
	    each(test_sweep_and_a_jumping_clock),
	    each(test_sweep_store_error),
	    each(test_sweep_out_of_memory),
	    each(test_sweep_of_broken_rows),
	    each(test_when_it_wakes),
	    each(test_agents),
	    each(test_threads),
	    each(test_stop_under_load),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
