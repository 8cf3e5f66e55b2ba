/*
 * batches - many documents a message in, many jobs a message out: nothing is lost or doubled at the seams, a line is a job, and
 * nothing waits for a batch to fill up.
 */
#include "flow_receipts.h"

#define BODY  "{\"predicate\":\"UN.A\"}"
#define BATCH "--outbox-batch-bytes", "64KiB"

/* The messages that have come by now, and their jobs, in any order. */
typedef struct batches {
	size_t n_messages;
	size_t n_jobs, max;
	char **job;
} batches;

static void
take_lines(batches *seen, char *text)
{
	char *line, *rest = text;

	seen->n_messages++;
	while ((line = strsep(&rest, "\n")) != NULL) {
		assert_true(seen->n_jobs < seen->max);
		seen->job[seen->n_jobs++] = strdup(line);
	}
	free(text);
}

/* Waits for n jobs, in however many messages. */
static batches
take_batches(flow *f, size_t n)
{
	batches seen = {.job = calloc(n, sizeof(*seen.job)), .max = n};

	assert_non_null(seen.job);
	while (seen.n_jobs < n) {
		size_t n_texts;
		char **text;

		if (!spr_inbox_wait(f->jobs, 1, spr_test_deadline_ms()))
			fail_msg("%zu jobs come, not %zu", seen.n_jobs, n);
		text = spr_inbox_take_all(f->jobs, &n_texts);
		for (size_t i = 0; i < n_texts; i++)
			take_lines(&seen, text[i]);
		free(text);
	}
	assert_int_equal(seen.n_jobs, n);
	return (seen);
}

static int
compare(const void *a, const void *b)
{
	return (strcmp(*(char *const *)a, *(char *const *)b));
}

/* Each is there once. */
static void
assert_all_differ(batches *seen)
{
	qsort(seen->job, seen->n_jobs, sizeof(*seen->job), compare);
	for (size_t i = 1; i < seen->n_jobs; i++)
		assert_string_not_equal(seen->job[i - 1], seen->job[i]);
}

static void
forget(batches *seen)
{
	for (size_t i = 0; i < seen->n_jobs; i++)
		free(seen->job[i]);
	free(seen->job);
	*seen = (batches){0};
}

/* n envelopes, so many a message; id and body say the number. */
static void
push_batches(flow *f, const char *prefix, unsigned n, unsigned a_message)
{
	for (unsigned i = 0; i < n;) {
		char *text = NULL;
		size_t size = 0;
		FILE *out = open_memstream(&text, &size);

		for (unsigned k = 0; k < a_message && i < n; k++, i++)
			fprintf(out,
				"{\"id\":\"%s%u\",\"body\":{\"predicate\":\"UN.A\",\"n\":%u}}\n",
				prefix, i, i);
		fclose(out);
		push_text(f, text);
		free(text);
	}
}

static void
test_both_ways(void **state)
{
	enum { N = 6400, FAN_OUT = 10 };
	flow *f = *state;
	batches seen;

	start_upstream(f);
	start_daemon(f, FLAGS(BATCH));
	start_worker(f);
	start_worker(f);
	subscribe_many(f, "UN.A", FAN_OUT);
	push_batches(f, "many", N, 64);
	seen = take_batches(f, N * FAN_OUT);
	assert_true(seen.n_messages < N * FAN_OUT / 4);
	assert_all_differ(&seen);
	expect_many_acks(f, "many", N);
	assert_int_equal((int)stat_of(f, "spreader_jobs_posted_total"), N * FAN_OUT);
	assert_int_equal((int)stat_of(f, "spreader_outbox_bytes"), 0);
	forget(&seen);
	finish(f);
}

/* One alone is a message as without batches, and comes at once: nobody fills it up. */
static void
test_a_lone_one_does_not_wait(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, FLAGS(BATCH));
	start_worker(f);
	subscribe(f, "UN.A", "http://a");
	for (unsigned i = 0; i < 20; i++) {
		char id[16];

		snprintf(id, sizeof(id), "%u", i);
		push_envelope(f, id, BODY);
		expect_job(f, "http://a", BODY);
		expect_ack(f, id);
	}
	finish(f);
}

/* A job that is longer than a batch goes alone; the line breaks of a document are no line breaks of a batch. */
static void
test_what_fits_no_batch_and_what_has_lines(void **state)
{
	flow *f = *state;
	char body[8192];

	start_daemon(f, FLAGS("--outbox-batch-bytes", "1KiB", "--message-payload", "object"));
	start_worker(f);
	subscribe(f, "UN.A", "http://a");
	snprintf(body, sizeof(body), "{\"predicate\":\"UN.A\",\"x\":\"%05000d\"}", 1);
	push_text(f, body);
	expect_job(f, "http://a", body);
	push_text(f, "{\n\"predicate\":\r\n\"UN.A\", \"x\": [1,\n2]\n}\n");
	expect_job(f, "http://a", "{ \"predicate\":  \"UN.A\", \"x\": [1, 2] }");
	push_text(f, "{\"predicate\":\"UN.A\", \"message\": {\n\"x\": \"a\\nb\"}}");
	expect_job(f, "http://a", "{ \"x\": \"a\\nb\"}");
	finish(f);
}

/* Receipts of the jobs, all but the last; each is of a batch with others. */
static void
test_receipts(void **state)
{
	enum { N = 640 };
	flow *f = *state;
	batches seen;
	jobs taken;
	spr_sp sp;

	start_upstream(f);
	start_daemon(f, FLAGS(RECEIPTS, BATCH));
	start_worker(f);
	sp = dial_receipts(f);
	subscribe_many(f, "UN.A", 2);
	push_batches(f, "r", N, 64);
	seen = take_batches(f, 2 * N);
	assert_true(seen.n_messages < N);
	assert_all_differ(&seen);
	taken = (jobs){.text = seen.job, .n = seen.n_jobs};
	receipt_some(&sp, &taken, 0, 2 * N - 1, 64);
	expect_stat(f, "spreader_jobs_confirmed_total", 2 * N - 1);
	assert_true(spr_inbox_wait(f->answers, N - 1, spr_test_deadline_ms()));
	assert_int_equal(spr_inbox_count(f->answers), N - 1);
	receipt_some(&sp, &taken, 2 * N - 1, 2 * N, 1);
	expect_many_acks(f, "r", N);
	expect_nothing_open(f);
	forget(&seen);
	spr_sp_close(&sp);
	finish(f);
}

/* Nobody takes the batches: each of their notifications is nacked, once. */
static void
test_time_out(void **state)
{
	enum { N = 640 };
	flow *f = *state;
	char id[16];

	start_upstream(f);
	start_daemon(f, FLAGS(BATCH, "--outbox-timeout", "300ms"));
	subscribe_many(f, "UN.A", 2);
	push_batches(f, "t", N, 64);
	for (unsigned i = 0; i < N; i++) {
		snprintf(id, sizeof(id), "t%u", i);
		expect_nack(f, id, "push_failed");
	}
	assert_int_equal((int)stat_of(f, "spreader_jobs_failed_total"), 2 * N);
	finish(f);
}

/* A drain in the middle of it: what was taken in is sent and answered. */
static void
test_drain(void **state)
{
	enum { N = 3200 };
	flow *f = *state;
	batches seen;

	start_upstream(f);
	start_daemon(f, FLAGS(BATCH));
	start_worker(f);
	subscribe_many(f, "UN.A", 3);
	push_batches(f, "d", N, 64);
	expect_stat(f, "spreader_messages_received_total", N / 64);
	stop_daemon(f, 0);
	seen = take_batches(f, 3 * N);
	assert_all_differ(&seen);
	forget(&seen);
	expect_many_acks(f, "d", N);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_both_ways),
	    flow_test(test_a_lone_one_does_not_wait),
	    flow_test(test_what_fits_no_batch_and_what_has_lines),
	    flow_test(test_receipts),
	    flow_test(test_time_out),
	    flow_test(test_drain),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
