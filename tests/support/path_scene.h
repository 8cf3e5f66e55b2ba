/*
 * What the tests of documents, fan-outs and dispatchers share: the whole path on the fake transport, without threads.
 * The test delivers messages, does the dispatchers' turns and ends the sends. The ledger does not run, so what it is given
 * stays where the test can look at it; only with a peer to answer it does.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#include "base/clock.h"
#include "base/counters.h"
#include "fake_transport.h"
#include "path/dispatch.h"
#include "path/document.h"
#include "path/receipts.h"

#define SCENE_INSTANCE "cafe"

/* What a test may want else than usual; 0 is the usual. */
typedef struct scene_wants {
	bool is_bare;      /* and no upstream */
	bool has_upstream; /* the unnamed one and "eu" */
	bool as_value;     /* payload objects */
	spr_if_nobody no_subscribers;
	size_t max_notification, max_job, max_fanout;
	uint64_t outbox_timeout_ns;
	unsigned max_inflight;
	size_t outbox_bytes, batch_bytes, intake_bytes, max_message;
	unsigned n_dispatchers, receivers, ring_slots;
	bool has_threads; /* the dispatchers run by themselves */
	unsigned
	    max_jobs; /* not 0: receipts are awaited, and so many jobs may be open; has_upstream */
	bool has_ids; /* jobs have ids; with max_jobs they have anyway */
	unsigned resume_window;
	uint64_t receipt_timeout_ns, receipt_grace_ns;
	const char *upstream_url; /* has_upstream: the unnamed one is there, and the ledger runs */
} scene_wants;

typedef struct scene {
	spr_notifications notifications; /* first: it needs its alignment */
	spr_waiters waiters;
	spr_answers *answers;
	spr_jobs *jobs;
	spr_receipts *receipts;
	spr_ledger *ledger;
	spr_epoch *epoch;
	spr_subscriptions *subscriptions;
	spr_dead_letter *dead_letter;
	char *dir;
	char letters[300];
	spr_intake *intake;
	spr_outbox *outbox;
	spr_dispatch_config config;
	spr_dispatchers *dispatchers;
	spr_fanout_env fanouts; /* dispatcher 0's */
	bool has_threads, has_ledger;
	uint64_t counted[SPR_N_COUNTERS];
} scene;

static inline size_t
or_else(size_t wanted, size_t usual)
{
	return (wanted != 0 ? wanted : usual);
}

/* Receipts come by spr_receipts_take(): no socket. */
static inline spr_err
scene_no_pull(spr_pull **out, const spr_pull_config *config)
{
	(void)config;
	*out = NULL;
	return (SPR_OK);
}

static inline void
scene_open_receipts(scene *s)
{
	static const spr_transport no_socket = {.pull_open = scene_no_pull};
	spr_receipts_config config = {
	    .transport = &no_socket,
	    .max_message = 1 << 20,
	    .instance = SCENE_INSTANCE,
	    .jobs = s->jobs,
	    .notifications = &s->notifications,
	    .ledger = s->ledger,
	};

	assert_ok(spr_receipts_new(&s->receipts, &config));
}

static inline void
scene_open_ends(scene *s, const scene_wants *wants)
{
	spr_intake_config intake = {
	    .transport = &spr_transport_fake,
	    .receivers = (unsigned)or_else(wants->receivers, 1),
	    .ring_slots = (unsigned)or_else(wants->ring_slots, 64),
	    .max_message = or_else(wants->max_message, 1 << 20),
	    .max_bytes = or_else(wants->intake_bytes, 64 << 20),
	    .dispatchers = &s->waiters,
	    .n_dispatchers = s->waiters.n,
	};
	spr_outbox_config outbox = {
	    .transport = &spr_transport_fake,
	    .max_bytes = or_else(wants->outbox_bytes, 16 << 20),
	    .batch_bytes = wants->batch_bytes,
	    .dispatchers = &s->waiters,
	    .ledger = s->ledger,
	    .instance = s->config.has_job_ids ? SCENE_INSTANCE : NULL,
	    .jobs = s->jobs,
	    .notifications = &s->notifications,
	};

	assert_ok(spr_intake_new(&s->intake, &intake));
	assert_ok(spr_outbox_new(&s->outbox, &outbox));
	assert_ok(spr_dispatchers_connect(s->dispatchers, s->intake, s->outbox));
	s->config.intake = s->intake;
	s->config.outbox = s->outbox;
	s->config.job_id_len = spr_outbox_id_len(s->outbox);
	s->fanouts = (spr_fanout_env){
	    .subscriptions = s->subscriptions,
	    .intake = s->intake,
	    .ledger = s->ledger,
	    .has_ids = s->config.has_job_ids,
	    .jobs = s->jobs,
	    .notifications = &s->notifications,
	    .waiter = &s->waiters.waiter[0],
	};
	if (s->jobs != NULL)
		scene_open_receipts(s);
	spr_intake_start(s->intake);
}

static inline void
scene_open_ledger(scene *s, const scene_wants *wants)
{
	spr_ledger_config ledger = {
	    .batch = 256,
	    .window = 8,
	    .timeout_ms = 5000,
	    .retry_min_ms = wants->upstream_url != NULL ? 1 : 0,
	    .instance = SCENE_INSTANCE,
	    .notifications = &s->notifications,
	    .max_jobs = wants->max_jobs,
	    .receipt_timeout_ns = or_else(wants->receipt_timeout_ns, 3600 * SPR_NS_PER_S),
	    .receipt_grace_ns = or_else(wants->receipt_grace_ns, 3600 * SPR_NS_PER_S),
	    .dead_letter = s->dead_letter,
	};
	char bound[SPR_URL_MAX];

	assert_ok(spr_notifications_init(&s->notifications,
					 (unsigned)or_else(wants->max_inflight, 4096), s->waiters.n,
					 &s->waiters));
	if (wants->has_upstream)
		assert_ok(spr_answers_new(&s->answers, s->waiters.n, s->notifications.capacity, 16,
					  wants->resume_window));
	if (wants->max_jobs > 0)
		assert_ok(spr_jobs_new(&s->jobs, wants->max_jobs));
	ledger.answers = s->answers;
	ledger.jobs = s->jobs;
	assert_ok(spr_ledger_new(&s->ledger, &ledger));
	if (wants->upstream_url != NULL) {
		assert_ok(spr_ledger_dial(s->ledger, "", wants->upstream_url));
	} else if (wants->has_upstream) {
		assert_ok(spr_ledger_listen(s->ledger, "", "tcp://127.0.0.1:0", bound));
		assert_ok(spr_ledger_listen(s->ledger, "eu", "tcp://127.0.0.1:0", bound));
	}
}

static inline scene *
scene_open(scene_wants wants)
{
	scene *s = spr_mem_zalloc_aligned(sizeof(*s));

	assert_non_null(s);
	for (unsigned i = 0; i < SPR_N_COUNTERS; i++)
		s->counted[i] = spr_counter_sum((spr_counter)i);
	s->dir = spr_test_tmpdir();
	snprintf(s->letters, sizeof(s->letters), "%s/letters", s->dir);
	s->waiters.n = (unsigned)or_else(wants.n_dispatchers, 1);
	s->waiters.waiter = spr_mem_zalloc_aligned(s->waiters.n * sizeof(spr_waiter));
	assert_non_null(s->waiters.waiter);
	assert_ok(spr_epoch_new(&s->epoch));
	assert_ok(spr_subscriptions_new(&s->subscriptions, s->epoch));
	assert_ok(spr_dead_letter_new(&s->dead_letter, s->letters));
	scene_open_ledger(s, &wants);
	s->config = (spr_dispatch_config){
	    .n_dispatchers = s->waiters.n,
	    .format = wants.is_bare ? SPR_FORMAT_BARE : SPR_FORMAT_ENVELOPE,
	    .message_as_string = !wants.as_value,
	    .on_one_line = wants.batch_bytes > 0,
	    .no_subscribers = wants.no_subscribers,
	    .max_notification = or_else(wants.max_notification, 256 << 10),
	    .max_job = or_else(wants.max_job, 1 << 20),
	    .max_fanout = or_else(wants.max_fanout, 1000000),
	    .outbox_timeout_ns = wants.outbox_timeout_ns,
	    .key_seed = 42,
	    .has_job_ids = wants.has_ids || wants.max_jobs > 0,
	    .waiters = &s->waiters,
	    .ledger = s->ledger,
	    .answers = s->answers,
	    .jobs = s->jobs,
	    .notifications = &s->notifications,
	    .subscriptions = s->subscriptions,
	    .epoch = s->epoch,
	    .dead_letter = s->dead_letter,
	};
	assert_ok(spr_dispatchers_new(&s->dispatchers, &s->config));
	scene_open_ends(s, &wants);
	if ((s->has_ledger = wants.upstream_url != NULL))
		assert_ok(spr_ledger_start(s->ledger));
	if ((s->has_threads = wants.has_threads))
		assert_ok(spr_dispatchers_start(s->dispatchers));
	for (unsigned d = 0; !s->has_threads && d < s->waiters.n; d++)
		assert_ok(s->waiters.waiter[d].agent->on_start(s->waiters.waiter[d].agent->state));
	return (s);
}

/* Every message and job is gone by then. */
static inline void
scene_close(scene *s)
{
	spr_intake_stop(s->intake);
	spr_dispatchers_stop(s->dispatchers);
	for (unsigned d = 0; !s->has_threads && d < s->waiters.n; d++)
		s->waiters.waiter[d].agent->on_stop(s->waiters.waiter[d].agent->state);
	if (s->has_ledger)
		spr_ledger_stop(s->ledger);
	spr_outbox_free(s->outbox);
	spr_intake_free(s->intake);
	spr_dispatchers_free(s->dispatchers);
	spr_receipts_free(s->receipts);
	spr_ledger_free(s->ledger);
	spr_answers_free(s->answers);
	if (s->jobs != NULL)
		assert_int_equal(spr_credits_waiting(spr_jobs_credits(s->jobs)), 0);
	spr_jobs_free(s->jobs);
	spr_notifications_fini(&s->notifications);
	spr_dead_letter_free(s->dead_letter);
	spr_subscriptions_free(s->subscriptions);
	spr_epoch_free(s->epoch);
	spr_mem_free(s->waiters.waiter);
	spr_test_cleanup(s->dir);
	spr_mem_free(s);
	assert_int_equal(spr_fake_bufs(), 0);
	assert_int_equal(spr_fake_outs(), 0);
}

/* Since the scene was opened. */
static inline uint64_t
counted(const scene *s, spr_counter counter)
{
	return (spr_counter_sum(counter) - s->counted[counter]);
}

static inline void
subscribe(scene *s, const char *pattern, const char *callback)
{
	spr_predicate normalised;
	bool created = false;

	assert_ok(spr_pattern_normalise(&normalised, pattern, strlen(pattern), true));
	assert_ok(spr_subscriptions_subscribe(s->subscriptions, &normalised, callback,
					      strlen(callback), spr_clock_wall_s() + 3600,
					      &created));
	assert_true(created);
}

/* http://many/0 to http://many/<n - 1> */
static inline void
subscribe_many(scene *s, const char *pattern, unsigned n)
{
	char callback[64];

	for (unsigned i = 0; i < n; i++) {
		snprintf(callback, sizeof(callback), "http://many/%u", i);
		subscribe(s, pattern, callback);
	}
}

/* What the dead-letter file holds by now; the caller frees it. */
static inline char *
read_letters(scene *s)
{
	FILE *file;
	char *text = NULL;
	size_t size = 0;
	ssize_t len;

	while (spr_dead_letter_flush(s->dead_letter) > 0)
		continue;
	assert_non_null(file = fopen(s->letters, "r"));
	len = getdelim(&text, &size, EOF, file);
	fclose(file);
	if (len < 0) {
		free(text);
		text = calloc(1, 1);
	}
	assert_non_null(text);
	return (text);
}

/* Nothing was dead-lettered but one letter that has all of these texts (NULL ends). */
static inline void
assert_one_letter(scene *s, const char *const *parts)
{
	char *text = read_letters(s);

	assert_int_equal(counted(s, SPR_C_DEAD_LETTERS), 1);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	for (; *parts != NULL; parts++) {
		if (strstr(text, *parts) == NULL)
			fail_msg("no %s in %s", *parts, text);
	}
	free(text);
}
#define LETTER(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline void
deliver(const char *text)
{
	(void)spr_fake_deliver(0, spr_fake_buf(text, strlen(text)));
}

static inline scene *
scene_bare(void)
{
	return (scene_open((scene_wants){.is_bare = true}));
}

static inline unsigned
in_flight(const scene *s)
{
	return (spr_notifications_in_flight(&s->notifications));
}

static inline bool
are_idle(const scene *s)
{
	return (spr_dispatchers_are_idle(s->dispatchers));
}

static inline void
deliver_envelope(const char *id, const char *body)
{
	char text[1024];

	snprintf(text, sizeof(text), "{\"id\":\"%s\",\"body\":%s}", id, body);
	deliver(text);
}

/* One turn of dispatcher d; units of work done. */
static inline unsigned
turn_of(scene *s, unsigned d)
{
	spr_agent *agent = s->waiters.waiter[d].agent;

	agent->wake_at_ns = 0;
	return (agent->do_work(agent->state));
}

static inline unsigned
turn(scene *s)
{
	return (turn_of(s, 0));
}

/* Turns until there is nothing to do, or nothing that can be done; how many. */
static inline unsigned
turns(scene *s)
{
	unsigned n = 0;

	while (turn(s) > 0)
		n++;
	return (n);
}

/* The oldest send of lane 0 is taken by a pipe; it must be this job. */
static inline void
expect_job(const char *callback, const char *payload)
{
	char expected[4096];
	char *text = spr_fake_end(0, SPR_OK);

	assert_non_null(text);
	snprintf(expected, sizeof(expected), "{\"s\":\"%s\",\"payload\":%s}", callback, payload);
	assert_string_equal(text, expected);
	free(text);
}
