/*
 * The ledger's thread between a test that completes notifications and one that plays the upstreams' REP sides. Retries
 * begin after a millisecond here; what is counted are requests and records, never time.
 */
#include "spr_test.h"

#include <stdlib.h>

#include "base/counters.h"
#include "path/ledger.h"
#include "path/upstream.h"
#include "rep_peer.h"

#define WAIT_MS  REP_WAIT_MS
#define CAPACITY 64

typedef struct scene {
	spr_notifications notifications; /* first: it needs its alignment */
	spr_waiters waiters;             /* nobody */
	spr_answers *answers;
	spr_answer_stock stock;
	spr_dead_letter *dead_letter;
	char *dir;
	char letters[300];
	spr_ledger *ledger;
	rep_peer peer[2]; /* of "" and "eu" */
	uint64_t counted[SPR_N_COUNTERS];
} scene;

static uint64_t
counted(const scene *s, spr_counter counter)
{
	return (spr_counter_sum(counter) - s->counted[counter]);
}

static spr_ledger_config
config_of(scene *s)
{
	return ((spr_ledger_config){
	    .batch = 256,
	    .window = 8,
	    .timeout_ms = WAIT_MS,
	    .retry_min_ms = 1,
	    .instance = "cafe",
	    .notifications = &s->notifications,
	    .answers = s->answers,
	    .dead_letter = s->dead_letter,
	});
}

/* No upstream yet, not started. */
static scene *
scene_open(void)
{
	scene *s = spr_mem_zalloc_aligned(sizeof(*s));

	assert_non_null(s);
	for (unsigned i = 0; i < SPR_N_COUNTERS; i++)
		s->counted[i] = spr_counter_sum((spr_counter)i);
	s->dir = spr_test_tmpdir();
	snprintf(s->letters, sizeof(s->letters), "%s/letters", s->dir);
	assert_ok(spr_notifications_init(&s->notifications, CAPACITY, 2, &s->waiters));
	assert_ok(spr_answers_new(&s->answers, 1, CAPACITY, CAPACITY, 0));
	assert_ok(spr_dead_letter_new(&s->dead_letter, s->letters));
	s->peer[0] = rep_listen();
	s->peer[1] = rep_listen();
	return (s);
}

/* With the unnamed upstream and "eu", dialled and running; the peers have not accepted yet. */
static scene *
scene_dialled(const spr_ledger_config *config)
{
	scene *s = scene_open();
	spr_ledger_config usual = config_of(s);

	if (config != NULL) {
		usual.batch = config->batch;
		usual.window = config->window;
		usual.retry_min_ms = config->retry_min_ms;
	}
	assert_ok(spr_ledger_new(&s->ledger, &usual));
	assert_ok(spr_ledger_dial(s->ledger, "", s->peer[0].url));
	assert_ok(spr_ledger_dial(s->ledger, "eu", s->peer[1].url));
	assert_ok(spr_ledger_start(s->ledger));
	return (s);
}

static scene *
scene_running(void)
{
	scene *s = scene_dialled(NULL);

	rep_accept(&s->peer[0]);
	rep_accept(&s->peer[1]);
	return (s);
}

static void
scene_close(scene *s)
{
	if (s->ledger != NULL)
		spr_ledger_stop(s->ledger);
	spr_ledger_free(s->ledger);
	rep_close(&s->peer[0]);
	rep_close(&s->peer[1]);
	spr_answers_free(s->answers);
	spr_notifications_fini(&s->notifications);
	spr_dead_letter_free(s->dead_letter);
	spr_test_cleanup(s->dir);
	spr_mem_free(s);
}

static spr_answer_key
key_of(uint16_t upstream, const char *id)
{
	return ((spr_answer_key){.low = strtoull(id, NULL, 10), .high = upstream});
}

static spr_claim
claim(scene *s, uint16_t upstream, const char *id, uint32_t *entry)
{
	return (spr_answers_claim(s->answers, &s->stock, key_of(upstream, id), entry));
}

/* A notification as a dispatcher has it: claimed, with one job done or a reason why not. */
static spr_notification *
take(scene *s, uint16_t upstream, const char *id, spreader_reason reason)
{
	spr_notification *notification = spr_notification_take(&s->notifications, 0);

	assert_non_null(notification);
	notification->entry = SPR_ANSWER_NONE;
	notification->upstream = upstream;
	notification->message = NULL;
	notification->n_jobs = 1;
	notification->id_len = (uint16_t)strlen(id);
	memcpy(notification->id, id, notification->id_len);
	atomic_store(&notification->failure, reason);
	if (upstream != SPR_UPSTREAM_NONE)
		assert_int_equal(claim(s, upstream, id, &notification->entry), SPR_CLAIM_NEW);
	return (notification);
}

static void
complete(scene *s, uint16_t upstream, const char *id, spreader_reason reason)
{
	spr_ledger_complete(s->ledger, take(s, upstream, id, reason));
}

static bool
are_all_back(const scene *s)
{
	return (spr_notifications_in_flight(&s->notifications) == 0);
}

static void
expect_all_back(const scene *s)
{
	assert_true(wait_until(are_all_back(s), WAIT_MS));
}

/* The next request of the peer is an ack of this one id. */
static rep_request
expect_ack(rep_peer *peer, const char *id)
{
	rep_request request = rep_hear(peer);
	char expected[128];

	snprintf(expected, sizeof(expected), "{\"instance\":\"cafe\",\"ack\":[\"%s\"]}", id);
	assert_string_equal(request.text, expected);
	return (request);
}

static void
accept_ack(rep_peer *peer, const char *id)
{
	rep_request request = expect_ack(peer, id);

	rep_say(peer, &request, "{\"ok\":true}");
}

static void
an_ack_is_remembered(void **state)
{
	scene *s = scene_running();
	uint32_t entry;
	(void)state;

	complete(s, 0, "1", SPREADER_REASON_NONE);
	accept_ack(&s->peer[0], "1");
	expect_all_back(s);
	assert_int_equal(spr_answers_in_flight(s->answers), 0);
	assert_int_equal(spr_answers_remembered(s->answers), 1);
	assert_int_equal(claim(s, 0, "1", &entry), SPR_CLAIM_ACKED);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 1);
	assert_int_equal(counted(s, SPR_C_ANSWERS_ACCEPTED), 1);
	scene_close(s);
}

static void
a_nack_is_forgotten(void **state)
{
	scene *s = scene_running();
	rep_request request;
	uint32_t entry;
	(void)state;

	complete(s, 0, "1", SPREADER_REASON_OVERLOAD);
	request = rep_hear(&s->peer[0]);
	assert_non_null(strstr(request.text, "\"nack\":[{\"id\":\"1\",\"reason\":\"overload\","
					     "\"retry\":true,"));
	assert_int_equal(claim(s, 0, "1", &entry), SPR_CLAIM_IN_FLIGHT);
	rep_say(&s->peer[0], &request, "{}");
	assert_true(wait_until(counted(s, SPR_C_ANSWERS_ACCEPTED) == 1, WAIT_MS));
	assert_int_equal(spr_answers_remembered(s->answers), 0);
	assert_int_equal(counted(s, SPR_C_NACKED_OVERLOAD), 1);
	/* the copy came behind the answer, so the answer is owed once more */
	request = rep_hear(&s->peer[0]);
	assert_non_null(strstr(request.text, "{\"id\":\"1\",\"reason\":\"overload\""));
	rep_say(&s->peer[0], &request, "{}");
	expect_all_back(s);
	assert_int_equal(spr_answers_in_flight(s->answers), 0);
	assert_int_equal(claim(s, 0, "1", &entry), SPR_CLAIM_NEW);
	scene_close(s);
}

/* The copy of an acked id owns no entry; its ack is an ack. */
static void
a_copy_is_acked_again(void **state)
{
	scene *s = scene_running();
	spr_notification *copy;
	(void)state;

	complete(s, 0, "1", SPREADER_REASON_NONE);
	accept_ack(&s->peer[0], "1");
	expect_all_back(s);
	copy = take(s, SPR_UPSTREAM_NONE, "1", SPREADER_REASON_NONE);
	copy->upstream = 0;
	spr_ledger_complete(s->ledger, copy);
	accept_ack(&s->peer[0], "1");
	expect_all_back(s);
	assert_int_equal(spr_answers_remembered(s->answers), 1);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 1); /* done once */
	assert_int_equal(counted(s, SPR_C_ANSWERS_ACCEPTED), 2);
	scene_close(s);
}

/* Whatever the ledger makes of it: each id once, no batch over the limit. */
static void
many_are_answered_in_batches(void **state)
{
	scene *s = scene_dialled(&(spr_ledger_config){.batch = 5, .window = 2, .retry_min_ms = 1});
	unsigned heard[CAPACITY] = {0}, n_heard = 0, n_requests = 0;
	char id[16];
	(void)state;

	for (unsigned i = 0; i < CAPACITY; i++) {
		snprintf(id, sizeof(id), "%u", i);
		complete(s, 0, id, SPREADER_REASON_NONE);
	}
	rep_accept(&s->peer[0]);
	for (; n_heard < CAPACITY; n_requests++) {
		rep_request request = rep_hear(&s->peer[0]);
		char *at = strchr(request.text, '[');
		unsigned n = 0;

		for (; at != NULL && *at != ']'; at = strpbrk(at + 1, ",]"), n++)
			heard[strtoul(at + 2, NULL, 10)]++;
		assert_in_range(n, 1, 5);
		n_heard += n;
		rep_say(&s->peer[0], &request, "{}");
	}
	expect_all_back(s);
	for (unsigned i = 0; i < CAPACITY; i++)
		assert_int_equal(heard[i], 1);
	assert_in_range(n_requests, CAPACITY / 5, CAPACITY);
	assert_int_equal(counted(s, SPR_C_ANSWER_REQUESTS), n_requests);
	scene_close(s);
}

static void
refused_then_accepted(void **state)
{
	scene *s = scene_running();
	(void)state;

	complete(s, 0, "1", SPREADER_REASON_NONE);
	for (unsigned i = 0; i < 5; i++) {
		rep_request request = expect_ack(&s->peer[0], "1");

		rep_say(&s->peer[0], &request, i % 2 == 0 ? "{\"ok\":false}" : "what?");
	}
	accept_ack(&s->peer[0], "1");
	expect_all_back(s);
	assert_int_equal(counted(s, SPR_C_ANSWER_REFUSALS), 5);
	assert_int_equal(counted(s, SPR_C_ANSWER_RETRIES), 5);
	assert_int_equal(counted(s, SPR_C_DEAD_LETTERS), 0);
	assert_int_equal(spr_answers_remembered(s->answers), 1);
	scene_close(s);
}

static void
refused_ten_times(void **state)
{
	scene *s = scene_running();
	char line[512];
	uint32_t entry;
	FILE *file;
	(void)state;

	complete(s, 1, "7", SPREADER_REASON_NONE);
	for (unsigned i = 0; i < 10; i++) {
		rep_request request = expect_ack(&s->peer[1], "7");

		rep_say(&s->peer[1], &request, "{\"ok\":false}");
	}
	expect_all_back(s);
	assert_int_equal(counted(s, SPR_C_DEAD_LETTERS), 1);
	assert_int_equal(counted(s, SPR_C_ANSWERS_ACCEPTED), 0);
	assert_int_equal(spr_answers_in_flight(s->answers), 0);
	assert_int_equal(claim(s, 1, "7", &entry), SPR_CLAIM_NEW); /* it may come again */
	(void)spr_dead_letter_flush(s->dead_letter);
	assert_non_null(file = fopen(s->letters, "r"));
	assert_non_null(fgets(line, sizeof(line), file));
	fclose(file);
	assert_non_null(strstr(line, "\"reason\":\"refused\",\"from\":\"eu\",\"id\":\"7\"}"));
	scene_close(s);
}

/* Connections lost one after the other are no refusals. */
static void
lost_again_and_again(void **state)
{
	scene *s = scene_running();
	(void)state;

	complete(s, 0, "1", SPREADER_REASON_NONE);
	for (unsigned i = 0; i < SPR_REFUSALS_MAX + 2; i++) {
		(void)expect_ack(&s->peer[0], "1");
		rep_hang_up(&s->peer[0]);
		rep_accept(&s->peer[0]);
	}
	accept_ack(&s->peer[0], "1");
	expect_all_back(s);
	assert_int_equal(counted(s, SPR_C_ANSWER_TIMEOUTS), SPR_REFUSALS_MAX + 2);
	assert_int_equal(counted(s, SPR_C_ANSWER_REFUSALS), 0);
	assert_int_equal(counted(s, SPR_C_DEAD_LETTERS), 0);
	scene_close(s);
}

/* Its own delay would be longer than the test's patience. */
static void
reconnected_upstream_hears_at_once(void **state)
{
	scene *s =
	    scene_dialled(&(spr_ledger_config){.batch = 1, .window = 4, .retry_min_ms = 3600000});
	(void)state;

	rep_accept(&s->peer[0]);
	complete(s, 0, "1", SPREADER_REASON_NONE);
	(void)expect_ack(&s->peer[0], "1");
	rep_hang_up(&s->peer[0]);
	assert_true(wait_until(counted(s, SPR_C_ANSWER_TIMEOUTS) == 1, WAIT_MS));
	rep_accept(&s->peer[0]);
	accept_ack(&s->peer[0], "1");
	expect_all_back(s);
	scene_close(s);
}

static void
absent_then_present(void **state)
{
	scene *s = scene_dialled(NULL);
	rep_request request;
	(void)state;

	complete(s, 0, "1", SPREADER_REASON_NONE);
	complete(s, 0, "2", SPREADER_REASON_NONE);
	assert_int_equal(spr_ledger_peers(s->ledger), 0);
	rep_accept(&s->peer[0]);
	/* they waited together */
	request = rep_hear(&s->peer[0]);
	assert_non_null(strstr(request.text, "\"ack\":[\"1\",\"2\"]"));
	rep_say(&s->peer[0], &request, "{}");
	expect_all_back(s);
	assert_int_equal(counted(s, SPR_C_ANSWER_REQUESTS), 1);
	assert_int_equal(spr_ledger_peers(s->ledger), 1);
	scene_close(s);
}

/* Two upstreams, one id: each is answered by itself, one may be silent. */
static void
upstreams_do_not_share(void **state)
{
	scene *s = scene_running();
	rep_request first, request;
	(void)state;

	assert_true(wait_until(spr_ledger_peers(s->ledger) == 2, WAIT_MS));
	complete(s, 0, "1", SPREADER_REASON_NONE);
	first = expect_ack(&s->peer[0], "1");
	complete(s, 1, "1", SPREADER_REASON_TOO_LARGE);
	request = rep_hear(&s->peer[1]);
	assert_non_null(strstr(request.text, "\"nack\":[{\"id\":\"1\",\"reason\":\"too_large\""));
	rep_say(&s->peer[1], &request, "{}");
	assert_true(wait_until(spr_notifications_in_flight(&s->notifications) == 1, WAIT_MS));
	assert_int_equal(spr_answers_in_flight(s->answers), 1);
	rep_say(&s->peer[0], &first, "{}");
	expect_all_back(s);
	scene_close(s);
}

/* One waits an hour for its retry, the other only for the pace. */
static void
a_long_wait_does_not_hold_up_the_others(void **state)
{
	scene *s =
	    scene_dialled(&(spr_ledger_config){.batch = 64, .window = 8, .retry_min_ms = 3600000});
	rep_request request;
	char id[16];
	(void)state;

	rep_accept(&s->peer[0]);
	rep_accept(&s->peer[1]);
	complete(s, 0, "1", SPREADER_REASON_NONE);
	request = expect_ack(&s->peer[0], "1");
	rep_say(&s->peer[0], &request, "{\"ok\":false}");
	assert_true(wait_until(counted(s, SPR_C_ANSWER_REFUSALS) == 1, WAIT_MS));
	for (unsigned i = 0; i < 8; i++) { /* no reply, which would wake the ledger */
		snprintf(id, sizeof(id), "%u", i);
		complete(s, 1, id, SPREADER_REASON_NONE);
		(void)expect_ack(&s->peer[1], id);
	}
	scene_close(s);
}

static void
nobody_to_answer(void **state)
{
	scene *s = scene_open();
	spr_ledger_config config = config_of(s);
	(void)state;

	assert_ok(spr_ledger_new(&s->ledger, &config));
	assert_false(spr_ledger_has_upstreams(s->ledger));
	assert_ok(spr_ledger_start(s->ledger));
	complete(s, SPR_UPSTREAM_NONE, "", SPREADER_REASON_NONE);
	complete(s, SPR_UPSTREAM_NONE, "", SPREADER_REASON_PUSH_FAILED);
	assert_true(are_all_back(s));
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 1);
	assert_int_equal(counted(s, SPR_C_NACKED_PUSH_FAILED), 1);
	assert_int_equal(spr_ledger_peers(s->ledger), 0);
	scene_close(s);
}

static void
outcomes_are_counted(void **state)
{
	static const struct {
		spreader_reason reason;
		spr_counter counter;
	} rows[] = {
	    {SPREADER_REASON_NONE, SPR_C_ACKED_DISPATCHED},
	    {SPREADER_REASON_NO_PREDICATE, SPR_C_NACKED_NO_PREDICATE},
	    {SPREADER_REASON_BAD_PREDICATE, SPR_C_NACKED_BAD_PREDICATE},
	    {SPREADER_REASON_TOO_LARGE, SPR_C_NACKED_TOO_LARGE},
	    {SPREADER_REASON_OVERLOAD, SPR_C_NACKED_OVERLOAD},
	    {SPREADER_REASON_PUSH_FAILED, SPR_C_NACKED_PUSH_FAILED},
	    {SPREADER_REASON_SHUTTING_DOWN, SPR_C_NACKED_SHUTTING_DOWN},
	    {SPREADER_REASON_NO_SUBSCRIBERS, SPR_C_NACKED_NO_SUBSCRIBERS},
	};
	(void)state;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		scene *s = scene_open();
		spr_ledger_config config = config_of(s);

		assert_ok(spr_ledger_new(&s->ledger, &config));
		complete(s, SPR_UPSTREAM_NONE, "", rows[i].reason);
		assert_int_equal(counted(s, rows[i].counter), 1);
		scene_close(s);
	}
}

static void
names(void **state)
{
	scene *s = scene_open();
	spr_ledger_config config = config_of(s);
	char bound[SPR_URL_MAX], name[16];
	(void)state;

	assert_ok(spr_ledger_new(&s->ledger, &config));
	assert_int_equal(spr_ledger_upstream(s->ledger, "", 0), SPR_UPSTREAM_NONE);
	assert_ok(spr_ledger_listen(s->ledger, "eu", "tcp://127.0.0.1:0", bound));
	assert_true(spr_ledger_has_upstreams(s->ledger));
	assert_int_equal(strncmp(bound, "tcp://127.0.0.1:", 16), 0);
	assert_string_not_equal(bound, "tcp://127.0.0.1:0");
	assert_ok(spr_ledger_dial(s->ledger, "eu", s->peer[0].url)); /* another face of it */
	assert_int_equal(spr_ledger_upstream(s->ledger, "eu", 2), 0);
	assert_int_equal(spr_ledger_upstream(s->ledger, "", 0), SPR_UPSTREAM_NONE);
	assert_int_equal(spr_ledger_upstream(s->ledger, "e", 1), SPR_UPSTREAM_NONE);
	assert_int_equal(spr_ledger_upstream(s->ledger, "eu\0", 3), SPR_UPSTREAM_NONE);
	assert_int_equal(spr_ledger_upstream(s->ledger, "EU", 2), SPR_UPSTREAM_NONE);
	assert_int_equal(spr_ledger_upstream(s->ledger, "eu", SIZE_MAX), SPR_UPSTREAM_NONE);
	assert_fails(spr_ledger_listen(s->ledger, "eu", "nonsense://x", bound), SPR_E_ADDRESS);
	assert_fails(spr_ledger_dial(s->ledger, "eu", "nonsense://x"), SPR_E_ADDRESS);
	for (unsigned i = 1; i < 64; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_ok(spr_ledger_dial(s->ledger, name, s->peer[0].url));
	}
	assert_int_equal(spr_ledger_upstream(s->ledger, "n63", 3), 63);
	assert_fails(spr_ledger_dial(s->ledger, "more", s->peer[0].url), SPR_E_TOO_MANY);
	assert_string_equal(spr_error_text(SPR_E_TOO_MANY), "ack upstream more: at most 64 names");
	scene_close(s);
}

/* Records that are out, waiting and not yet seen when the ledger stops stay in flight; nothing is lost but them. */
static void
stopped_with_work_left(void **state)
{
	scene *s = scene_dialled(&(spr_ledger_config){.batch = 1, .window = 1, .retry_min_ms = 1});
	(void)state;

	rep_accept(&s->peer[0]);
	complete(s, 0, "1", SPREADER_REASON_NONE);
	(void)expect_ack(&s->peer[0], "1");
	complete(s, 0, "2", SPREADER_REASON_NONE);
	complete(s, 1, "3", SPREADER_REASON_OVERLOAD);
	spr_ledger_stop(s->ledger);
	complete(s, 0, "4", SPREADER_REASON_NONE);
	assert_int_equal(spr_notifications_in_flight(&s->notifications), 4);
	assert_int_equal(counted(s, SPR_C_ANSWERS_ACCEPTED), 0);
	scene_close(s);
}

static void
without_memory(void **state)
{
	scene *s = scene_open();
	spr_ledger_config config = config_of(s);
	char bound[SPR_URL_MAX];
	unsigned long n;
	(void)state;

	spr_mem_fail_at(1);
	assert_fails(spr_ledger_new(&s->ledger, &config), SPR_E_NOMEM);
	spr_mem_fail_at(0);
	assert_null(s->ledger);
	spr_ledger_free(NULL);
	for (n = 1;; n++) {
		spr_err rv;

		assert_ok(spr_ledger_new(&s->ledger, &config));
		spr_mem_fail_at(n);
		rv = spr_ledger_listen(s->ledger, "eu", "tcp://127.0.0.1:0", bound);
		spr_mem_fail_at(0);
		if (rv == SPR_OK)
			break;
		assert_int_equal(rv, SPR_E_NOMEM);
		spr_ledger_stop(s->ledger); /* as an unwinding start does */
		spr_ledger_free(s->ledger);
		s->ledger = NULL;
	}
	assert_true(n > 4);
	scene_close(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_ack_is_remembered),
	    cmocka_unit_test(a_nack_is_forgotten),
	    cmocka_unit_test(a_copy_is_acked_again),
	    cmocka_unit_test(many_are_answered_in_batches),
	    cmocka_unit_test(refused_then_accepted),
	    cmocka_unit_test(refused_ten_times),
	    cmocka_unit_test(lost_again_and_again),
	    cmocka_unit_test(reconnected_upstream_hears_at_once),
	    cmocka_unit_test(absent_then_present),
	    cmocka_unit_test(upstreams_do_not_share),
	    cmocka_unit_test(a_long_wait_does_not_hold_up_the_others),
	    cmocka_unit_test(nobody_to_answer),
	    cmocka_unit_test(outcomes_are_counted),
	    cmocka_unit_test(names),
	    cmocka_unit_test(stopped_with_work_left),
	    cmocka_unit_test(without_memory),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
