/*
 * changes - subscribe and unsubscribe while notifications pass: a subscription that is there all the time gets every job
 * exactly once, one that comes and goes gets each at most once.
 */
#include "flow.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#define N_NOTIFICATIONS 3000
#define N_PASSING       20

typedef struct changer {
	pthread_t thread;
	spr_sp sp;
	atomic_bool is_stopping;
	atomic_uint n_changes;
	atomic_uint n_refused;
} changer;

static void
change_one(changer *c, const char *op, unsigned i)
{
	char request[160];
	char *reply;
	int len;

	len = snprintf(request, sizeof(request),
		       "{\"op\":\"%s\",\"pattern\":\"%s\",\"callback\":\"http://passing/%u\"}", op,
		       i % 2 == 0 ? "UN.A" : "UN.A.*", i);
	reply = spr_sp_ask(&c->sp, request, (size_t)len, spr_test_deadline_ms());
	if (reply == NULL || strstr(reply, "\"ok\":true") == NULL)
		atomic_fetch_add(&c->n_refused, 1);
	atomic_fetch_add(&c->n_changes, 1);
	free(reply);
}

static void *
run_changer(void *arg)
{
	changer *c = arg;

	while (!atomic_load(&c->is_stopping)) {
		for (unsigned i = 0; i < N_PASSING; i++)
			change_one(c, "subscribe", i);
		for (unsigned i = 0; i < N_PASSING; i++)
			change_one(c, "unsubscribe", i);
	}
	return (NULL);
}

static void
push_all(flow *f)
{
	char id[16], body[64];

	for (unsigned i = 0; i < N_NOTIFICATIONS; i++) {
		snprintf(id, sizeof(id), "%u", i);
		snprintf(body, sizeof(body), "{\"predicate\":\"UN.A.b\",\"i\":%u}", i);
		push_envelope(f, id, body);
		if (i % 100 == 99) /* keep pace, so that changes fall between */
			expect_ack(f, id);
	}
	for (unsigned i = 0; i < N_NOTIFICATIONS; i++) {
		snprintf(id, sizeof(id), "%u", i);
		if (i % 100 != 99)
			expect_ack(f, id);
	}
}

/* The text of a job names its callback and its notification: two equal ones are one job made twice. */
static void
check_jobs(flow *f)
{
	size_t n = 0;
	unsigned n_permanent = 0;
	char **jobs = spr_inbox_take_all(f->jobs, &n);

	for (size_t i = 0; i < n; i++) {
		n_permanent += strstr(jobs[i], "\"http://permanent\"") != NULL;
		if (i > 0)
			assert_string_not_equal(jobs[i], jobs[i - 1]);
	}
	assert_int_equal(n_permanent, N_NOTIFICATIONS);
	print_message("%u jobs of the permanent one, %zu of those that came and went\n",
		      n_permanent, n - n_permanent);
	for (size_t i = 0; i < n; i++)
		free(jobs[i]);
	free(jobs);
}

static void
test_under_load(void **state)
{
	flow *f = *state;
	changer c = {.n_changes = 0};

	start_upstream(f);
	start_daemon(f, FLAGS("--dispatchers", "2"));
	start_worker(f);
	subscribe(f, "UN.A.*", "http://permanent");
	subscribe(f, "UN", "http://permanent");
	assert_true(spr_sp_dial(&c.sp, f->control, SPR_SP_REQ));
	assert_int_equal(pthread_create(&c.thread, NULL, run_changer, &c), 0);
	push_all(f);
	atomic_store(&c.is_stopping, true);
	pthread_join(c.thread, NULL);
	spr_sp_close(&c.sp);
	assert_int_equal(atomic_load(&c.n_refused), 0);
	print_message("%u changes\n", atomic_load(&c.n_changes));
	stop_daemon(f, 0);
	assert_true(spr_worker_wait_gone(f->workers[0], spr_test_deadline_ms()));
	check_jobs(f);
}

/* Answered ok: visible to every notification that comes afterwards. */
static void
test_each_change_is_seen(void **state)
{
	flow *f = *state;
	char id[16];

	start_upstream(f);
	start_daemon(f, FLAGS("--dispatchers", "2"));
	start_worker(f);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(id, sizeof(id), "on%u", i);
		subscribe(f, "UN.*", "http://a");
		push_envelope(f, id, "{\"predicate\":\"UN\"}");
		expect_job(f, "http://a", "{\"predicate\":\"UN\"}");
		expect_ack(f, id);
		snprintf(id, sizeof(id), "off%u", i);
		unsubscribe(f, "un", "http://a");
		push_envelope(f, id, "{\"predicate\":\"UN\"}");
		expect_ack(f, id);
	}
	expect_refused(f, "{\"op\":\"unsubscribe\",\"pattern\":\"UN\",\"callback\":\"http://a\"}",
		       "not_found");
	finish(f);
}

static bool
is_nobody_told(flow *f)
{
	cJSON *reply = ask_ok(f, "{\"op\":\"lookup\",\"predicate\":\"UN\"}");
	const cJSON *callbacks = cJSON_GetObjectItemCaseSensitive(reply, "callbacks");
	bool is_nobody = cJSON_IsArray(callbacks) && cJSON_GetArraySize(callbacks) == 0;

	cJSON_Delete(reply);
	return (is_nobody);
}

/* A dead subscription gets nothing, a renewed one does. */
static void
test_lease_runs_out(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, FLAGS("--lease-min", "1s", "--lease-default", "1s"));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	assert_true(wait_until(is_nobody_told(f), (unsigned)spr_test_deadline_ms()));
	push_envelope(f, "1", "{\"predicate\":\"UN\"}");
	expect_ack(f, "1");
	assert_true(stat_of(f, "spreader_suppressed_total{why=\"expired\"}") == 1);
	cJSON_Delete(ask_ok(f, "{\"op\":\"subscribe\",\"pattern\":\"UN\",\"callback\":\"http://"
			       "a\",\"lease_seconds\":3600}"));
	push_envelope(f, "2", "{\"predicate\":\"UN\"}");
	expect_job(f, "http://a", "{\"predicate\":\"UN\"}");
	expect_ack(f, "2");
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_under_load),
	    flow_test(test_each_change_is_seen),
	    flow_test(test_lease_runs_out),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
