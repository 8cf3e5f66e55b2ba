/*
 * test_queue - what is taken, pushed, pushed again, given up and forgotten, turn by turn.
 */
#include "queue.h"

#include <signal.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/mem.h"
#include "queue_scene.h"

#define DOC(id)  "{\"id\":\"" id "\",\"body\":{\"n\":\"" id "\"}}"
#define SENT(id) DOC(id) "\n"

static void
test_submit_and_ack(void **state)
{
	scene *s = *state;

	assert_string_equal(submit(s, DOC("a") "\n" DOC("b")),
			    "{\"ok\":true,\"ids\":[\"a\",\"b\"]}");
	assert_int_equal(stat_of(s, "commits_total"), 1);
	expect_pushed(s, SENT("a") SENT("b"));
	assert_int_equal(stat_of(s, "awaiting_answer"), 2);
	answer(s, "{\"instance\":\"x\",\"ack\":[\"a\"]}");
	assert_int_equal(stat_of(s, "depth"), 1);
	answer(s, "{\"ack\":[\"b\",\"b\",\"unknown\"]}");
	assert_int_equal(stat_of(s, "depth"), 0);
	assert_int_equal(stat_of(s, "in_flight"), 0);
	assert_int_equal(stat_of(s, "acked_total"), 2);
	assert_int_equal(stat_of(s, "answers_unknown_total"), 1);
	expect_nothing(s);
}

/* Whatever the bytes of body and id, they come out as they went in. */
static void
test_verbatim(void **state)
{
	scene *s = *state;

	submit(s, " {\"other\":1, \"body\" : { \"x\" :\t1.00000000000000000001e5,\"x\":[ ] } "
		  ",\"id\":\"\\u00e9\\\"\\n\"}");
	assert_string_equal(s->reply, "{\"ok\":true,\"ids\":[\"\xc3\xa9\\\"\\n\"]}");
	expect_pushed(s, "{\"id\":\"\xc3\xa9\\\"\\n\",\"body\":{ \"x\" "
			 ":\t1.00000000000000000001e5,\"x\":[ ] }}\n");
	answer(s, "{\"ack\":[\"\\u00E9\\u0022\\u000a\"]}");
	assert_int_equal(stat_of(s, "depth"), 0);
}

static void
test_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
	    {"", "no document"},
	    {"  \n", "no document"},
	    {"{", "document 1: not JSON"},
	    {"[1]", "document 1: no object"},
	    {"{\"id\":\"a\"}", "document 1: \\\"body\\\" is no object"},
	    {"{\"body\":[]}", "document 1: \\\"body\\\" is no object"},
	    {DOC("a") "{\"body\":{},\"id\":5}",
	     "document 2: \\\"id\\\" is no string of 1 to 256 bytes"},
	    {"{\"body\":{},\"id\":\"\"}", "document 1: \\\"id\\\" is no string of 1 to 256 bytes"},
	    {DOC("a") DOC("b") "\xff", "document 3: not JSON"},
	};
	scene *s = *state;
	char large[600];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		submit(s, bad[i].text);
		assert_non_null(
		    strstr(s->reply, "{\"ok\":false,\"error\":{\"code\":\"bad_request\""));
		assert_non_null(strstr(s->reply, bad[i].why));
	}
	snprintf(large, sizeof(large), "{\"body\":{},\"id\":\"%0257d\"}", 1);
	assert_non_null(strstr(submit(s, large), "1 to 256 bytes"));
	snprintf(large, sizeof(large), "{\"body\":{},\"id\":\"%0256d\"}", 1);
	assert_non_null(strstr(submit(s, large), "\"ok\":true"));
	RESTART(s, "--max-body=256", "--max-message=4KiB");
	snprintf(large, sizeof(large), "{\"body\":{\"a\":\"%0249d\"}}", 1);
	assert_non_null(strstr(
	    submit(s, large),
	    "\"too_large\",\"detail\":\"document 1: \\\"body\\\" has 257 bytes, at most 256"));
	snprintf(large, sizeof(large), "{\"body\":{\"a\":\"%0248d\"}}", 1);
	assert_non_null(strstr(submit(s, large), "\"ok\":true"));
	assert_int_equal(stat_of(s, "depth"), 2); /* nothing of a refused message is taken */
}

static void
test_bad_answers(void **state)
{
	static const char *const bad[] = {
	    "",
	    "[]",
	    "{\"ack\":[}",
	    "{} {}",
	    "{\"ack\":\"a\"}",
	    "{\"ack\":[1]}",
	    "{\"nack\":[\"a\"]}",
	    "{\"nack\":[{\"reason\":\"x\"}]}",
	    "{\"working\":[{}]}",
	};
	scene *s = *state;

	submit(s, DOC("a"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		scene_ask(s, QUEUE_REQUEST_ANSWER, bad[i]);
		assert_non_null(
		    strstr(s->reply, "{\"ok\":false,\"error\":{\"code\":\"bad_request\""));
	}
	answer(s, "{}");
	answer(s, "{\"ack\":[\"\"],\"other\":[{\"ack\":[\"a\"]}]}");
	assert_int_equal(stat_of(s, "depth"), 1);
}

static void
test_idempotent(void **state)
{
	scene *s = *state;
	long commits = 0;

	submit(s, DOC("a"));
	assert_string_equal(submit(s, DOC("a") DOC("a")), "{\"ok\":true,\"ids\":[\"a\",\"a\"]}");
	expect_pushed(s, SENT("a"));
	submit(s, DOC("a"));
	answer(s, "{\"ack\":[\"a\"]}");
	submit(s, DOC("a")); /* acked long since */
	assert_int_equal(stat_of(s, "duplicates_total"), 4);
	assert_int_equal(stat_of(s, "remembered"), 1);
	expect_nothing(s);

	/* the queue's own ids are not remembered, and never the same, nor after a restart */
	assert_null(strstr(submit(s, "{\"body\":{}}{\"body\":{}}"), "[]"));
	expect_pushed(s, s->message);
	assert_int_equal(stat_of(s, "in_flight"), 2);
	RESTART(s, "--remember=2");
	assert_int_equal(stat_of(s, "depth"), 2);
	submit(s, "{\"body\":{}}");
	assert_int_equal(stat_of(s, "depth"), 3);
	submit(s, DOC("a"));
	assert_int_equal(stat_of(s, "depth"), 3);

	/* only so many are */
	submit(s, DOC("b") DOC("c"));
	answer(s, "{\"ack\":[\"b\",\"c\"]}");
	assert_int_equal(stat_of(s, "remembered"), 2);
	RESTART(s, "--remember=0");
	submit(s, DOC("d"));
	answer(s, "{\"ack\":[\"d\"]}");
	assert_int_equal(stat_of(s, "remembered"), 0);
	commits = stat_of(s, "commits_total");
	answer(s, "{\"ack\":[\"d\"]}"); /* changes nothing: no fsync */
	assert_int_equal(stat_of(s, "commits_total"), commits);
}

/* What was handed out before a stop comes again, in order. */
static void
test_restart(void **state)
{
	scene *s = *state;

	submit(s, DOC("a") DOC("b") DOC("c"));
	expect_pushed(s, SENT("a") SENT("b") SENT("c"));
	answer(
	    s,
	    "{\"ack\":[\"b\"],\"nack\":[{\"id\":\"c\",\"reason\":\"overload\",\"retry\":true}]}");
	RESTART(s, "--name=up");
	expect_pushed(s, "{\"id\":\"a\",\"body\":{\"n\":\"a\"},\"from\":\"up\"}\n"
			 "{\"id\":\"c\",\"body\":{\"n\":\"c\"},\"from\":\"up\"}\n");
}

static void
test_nack_retry(void **state)
{
	scene *s = *state;
	uint64_t began = 0, first = 0;

	RESTART(s, "--retry-first=40ms", "--retry-longest=80ms");
	submit(s, DOC("a"));
	expect_pushed(s, SENT("a"));
	for (int i = 0; i < 4; i++) {
		began = spr_clock_now_ns();
		answer(s, "{\"nack\":[{\"id\":\"a\",\"reason\":\"push_failed\",\"retry\":true,"
			  "\"detail\":\"x\"}]}");
		assert_int_equal(stat_of(s, "in_flight"), 0);
		expect_pushed(s, SENT("a"));
		first = spr_clock_now_ns() - began;
		assert_true(first >= (i == 0 ? 40 : 80) * SPR_NS_PER_MS);
	}
	assert_int_equal(stat_of(s, "nacked_retry_total"), 4);
	/* one that waits already, and one that was not handed out, come anyway */
	answer(s, "{\"nack\":[{\"id\":\"a\",\"retry\":true},{\"id\":\"a\",\"retry\":true}]}");
	assert_int_equal(stat_of(s, "nacked_retry_total"), 5);
	answer(s, "{\"ack\":[\"a\"]}"); /* while it waits */
	assert_int_equal(stat_of(s, "depth"), 0);
}

/* Each has a time of its own: the one that waits longer does not come along with the other. */
static void
test_nack_times(void **state)
{
	scene *s = *state;
	uint64_t began = 0;

	RESTART(s, "--retry-first=20ms", "--retry-longest=1s");
	submit(s, DOC("a"));
	expect_pushed(s, SENT("a"));
	for (int i = 0; i < 3; i++) {
		answer(s, "{\"nack\":[{\"id\":\"a\",\"retry\":true}]}");
		expect_pushed(s, SENT("a"));
	}
	submit(s, DOC("b"));
	expect_pushed(s, SENT("b"));
	began = spr_clock_now_ns();
	answer(s, "{\"nack\":[{\"id\":\"a\",\"retry\":true},{\"id\":\"b\",\"retry\":true}]}");
	assert_true(wait_until(pushed(s) != NULL, WAIT_MS));
	assert_int_equal(strncmp(s->message, SENT("b"), strlen(SENT("b"))), 0);
	if (strcmp(s->message, SENT("b")) == 0)
		expect_pushed(s, SENT("a"));
	assert_true(spr_clock_now_ns() - began >= 160 * SPR_NS_PER_MS);
}

static void
test_dead_at_once(void **state)
{
	scene *s = *state;

	submit(s, DOC("a") DOC("b"));
	expect_pushed(s, SENT("a") SENT("b"));
	answer(s, "{\"nack\":[{\"id\":\"a\",\"reason\":\"no_predicate\",\"retry\":false,\"detail\":"
		  "\"none \\\"there\\\"\"},"
		  "{\"id\":\"b\",\"retry\":false}]}");
	control(s, "{\"op\":\"dead_list\"}");
	assert_non_null(strstr(
	    s->reply,
	    "[{\"id\":\"a\",\"reason\":\"no_predicate: none \\\"there\\\"\",\"attempts\":0,"));
	assert_non_null(
	    strstr(s->reply, "\"body\":{\"n\":\"a\"}},{\"id\":\"b\",\"reason\":\"no_reason\""));
	assert_null(strstr(s->reply, "next"));
	assert_int_equal(stat_of(s, "dead"), 2);
	assert_int_equal(stat_of(s, "depth"), 0);
	/* a copy does not wake it, a nack does not either, an ack ends it */
	submit(s, DOC("a"));
	answer(s, "{\"nack\":[{\"id\":\"a\",\"retry\":true}]}");
	expect_nothing(s);
	answer(s, "{\"ack\":[\"a\"]}");
	assert_int_equal(stat_of(s, "dead"), 1);
	/* an ack beats the nack of its own request */
	submit(s, DOC("c"));
	expect_pushed(s, SENT("c"));
	answer(s, "{\"ack\":[\"c\"],\"nack\":[{\"id\":\"c\",\"retry\":false}]}");
	assert_int_equal(stat_of(s, "dead"), 1);
	assert_int_equal(stat_of(s, "depth"), 0);
	/* and a nack after it changes nothing */
	answer(s, "{\"nack\":[{\"id\":\"c\",\"retry\":false}]}");
	assert_int_equal(stat_of(s, "dead"), 1);
}

static void
test_max_attempts(void **state)
{
	static const char *const error = "{\"nack\":[{\"id\":\"a\",\"reason\":\"receipt_error\","
					 "\"retry\":true,\"detail\":\"HTTP 500\"}]}";
	scene *s = *state;

	RESTART(s, "--retry-first=1ms", "--max-attempts=3", "--visibility-timeout=30ms");
	submit(s, DOC("a"));
	expect_pushed(s, SENT("a"));
	answer(s, error);
	expect_pushed(s, SENT("a"));
	/* these do not count */
	answer(s, "{\"nack\":[{\"id\":\"a\",\"reason\":\"shutting_down\",\"retry\":true}]}");
	expect_pushed(s, SENT("a"));
	spr_fake_push_pipe(+1);
	spr_fake_push_pipe(-1);
	expect_pushed(s, SENT("a")); /* timed out, but a connection was lost */
	assert_int_equal(stat_of(s, "timeouts_total"), 1);
	/* this does, and makes the next one the last */
	expect_pushed(s, SENT("a"));
	answer(s, "{\"nack\":[{\"id\":\"a\",\"reason\":\"overload\",\"retry\":true}]}");
	expect_pushed(s, SENT("a"));
	answer(s, error);
	assert_int_equal(stat_of(s, "dead"), 1);
	assert_non_null(strstr(control(s, "{\"op\":\"dead_list\"}"), "receipt_error: HTTP 500"));

	/* a time-out may be the last one too */
	submit(s, DOC("b"));
	for (int i = 0; i < 3; i++)
		expect_pushed(s, SENT("b"));
	assert_true(wait_until(stat_of(s, "dead") == 2, WAIT_MS));
	assert_non_null(strstr(control(s, "{\"op\":\"dead_list\"}"), "\"reason\":\"timeout: "));
}

static void
test_working(void **state)
{
	scene *s = *state;
	uint64_t began = 0;

	RESTART(s, "--visibility-timeout=200ms");
	submit(s, DOC("a"));
	submit(s, DOC("b"));
	expect_pushed(s, SENT("a"));
	expect_pushed(s, SENT("b"));
	began = spr_clock_now_ns();
	answer(s, "{\"working\":[\"a\",\"nobody\"]}");
	assert_int_equal(stat_of(s, "extended_total"), 1);
	/* b is due first, and a soon enough to share its message */
	assert_true(wait_until(pushed(s) != NULL, WAIT_MS));
	assert_int_equal(strncmp(s->message, SENT("b"), strlen(SENT("b"))), 0);
	if (strcmp(s->message, SENT("b")) == 0)
		expect_pushed(s, SENT("a"));
	else
		assert_string_equal(s->message, SENT("b") SENT("a"));
	assert_true(spr_clock_now_ns() - began >= 200 * SPR_NS_PER_MS);
}

static void
test_max_outstanding(void **state)
{
	scene *s = *state;

	RESTART(s, "--max-outstanding=2", "--retry-first=1ms");
	submit(s, DOC("a") DOC("b") DOC("c"));
	expect_pushed(s, SENT("a") SENT("b"));
	expect_nothing(s);
	assert_int_equal(stat_of(s, "in_flight"), 2);
	answer(s, "{\"nack\":[{\"id\":\"a\",\"retry\":true}]}");
	expect_pushed(s, SENT("c"));
	expect_nothing(s); /* a is due, and has to wait for room */
	answer(s, "{\"ack\":[\"c\"]}");
	expect_pushed(s, SENT("a"));
}

/* An answer may be faster than the end of the push, and a push may fail. */
static void
test_pushes(void **state)
{
	scene *s = *state;

	submit(s, DOC("a") DOC("b"));
	answer(s, "{\"ack\":[\"a\"]}");
	assert_int_equal(spr_fake_busy(0), 1);
	free(spr_fake_end(0, SPR_E_CLOSED));
	expect_pushed(s, SENT("b"));
	spr_fake_refuse_outs(true);
	submit(s, DOC("c"));
	expect_nothing(s);
	spr_fake_refuse_outs(false);
	expect_pushed(s, SENT("c")); /* after a pause */
	answer(s, "{\"ack\":[\"b\",\"c\"]}");
	assert_int_equal(stat_of(s, "in_flight"), 0);

	/* without a dispatcher that takes anything: all is taken, and only so much is in memory */
	for (int i = 0; i < 100; i++)
		submit(s, "{\"body\":{}}");
	assert_int_equal(spr_fake_busy(0), 64);
	assert_int_equal(stat_of(s, "depth"), 100);
}

static void
test_control(void **state)
{
	static const char *const bad[][2] = {
	    {"x", "bad_request"},
	    {"{}", "bad_request"},
	    {"{\"op\":\"list\"}", "unknown_op"},
	    {"{\"op\":\"dead_list\",\"limit\":0}", "bad_request"},
	    {"{\"op\":\"dead_list\",\"limit\":1.5}", "bad_request"},
	    {"{\"op\":\"dead_list\",\"after\":\"x\"}", "bad_request"},
	    {"{\"op\":\"dead_requeue\"}", "bad_request"},
	    {"{\"op\":\"dead_purge\",\"id\":\"a\",\"all\":true}", "bad_request"},
	    {"{\"op\":\"dead_purge\",\"id\":\"a\"}", "not_found"},
	};
	scene *s = *state;
	const char *next = NULL;
	char request[96];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_non_null(strstr(control(s, bad[i][0]), bad[i][1]));
	assert_non_null(
	    strstr(control(s, "{\"op\":\"version\"}"), "\"version\":\"" SPR_VERSION "\""));
	submit(s, DOC("a") DOC("b") DOC("c"));
	expect_pushed(s, SENT("a") SENT("b") SENT("c"));
	answer(s, "{\"nack\":[{\"id\":\"a\",\"retry\":false},{\"id\":\"b\",\"retry\":false},{"
		  "\"id\":\"c\",\"retry\":false}]}");
	control(s, "{\"op\":\"dead_list\",\"limit\":2}");
	assert_null(strstr(s->reply, "\"id\":\"c\""));
	assert_non_null(next = strstr(s->reply, "\"next\":"));
	snprintf(request, sizeof(request), "{\"op\":\"dead_list\",\"after\":%ld}",
		 strtol(next + 7, NULL, 10));
	control(s, request);
	assert_null(strstr(s->reply, "\"id\":\"b\""));
	assert_non_null(strstr(s->reply, "\"id\":\"c\""));
	assert_string_equal(control(s, "{\"op\":\"dead_requeue\",\"id\":\"b\"}"),
			    "{\"ok\":true,\"requeued\":1,\"left\":0}");
	expect_pushed(s, SENT("b"));
	assert_string_equal(control(s, "{\"op\":\"dead_purge\",\"id\":\"a\"}"),
			    "{\"ok\":true,\"purged\":1,\"left\":0}");
	assert_string_equal(control(s, "{\"op\":\"dead_requeue\",\"all\":true}"),
			    "{\"ok\":true,\"requeued\":1,\"left\":0}");
	expect_pushed(s, SENT("c"));
	answer(s, "{\"nack\":[{\"id\":\"b\",\"retry\":false},{\"id\":\"c\",\"retry\":false}]}");
	assert_string_equal(control(s, "{\"op\":\"dead_purge\",\"all\":true}"),
			    "{\"ok\":true,\"purged\":2,\"left\":0}");
	/* requeued before the first reading after a start has come to it: pushed once all the same */
	submit(s, DOC("d"));
	expect_pushed(s, SENT("d"));
	answer(s, "{\"nack\":[{\"id\":\"d\",\"retry\":false}]}");
	RESTART(s, "--max-outstanding=8");
	control(s, "{\"op\":\"dead_requeue\",\"id\":\"d\"}");
	expect_pushed(s, SENT("d"));
	expect_nothing(s);
	answer(s, "{\"ack\":[\"d\"]}");
	assert_int_equal(stat_of(s, "dead") + stat_of(s, "depth"), 0);
}

/* A group is one commit; a full disk fails it as a whole, and nothing of it has happened. */
static void
test_groups_and_full_disk(void **state)
{
	scene *s = *state;
	queue_request requests[3];
	struct rlimit before, none = {.rlim_cur = 0};
	long commits = stat_of(s, "commits_total");

	submit(s, DOC("a"));
	expect_pushed(s, SENT("a"));
	requests[0] = scene_request(s, QUEUE_REQUEST_SUBMIT, DOC("b"));
	requests[1] = scene_request(s, QUEUE_REQUEST_SUBMIT, DOC("c"));
	requests[2] = scene_request(s, QUEUE_REQUEST_ANSWER, "{\"ack\":[\"a\"]}");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	none.rlim_max = before.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	for (int i = 0; i < 3; i++)
		queue_ask(s->q, &requests[i]);
	(void)queue_turn(s->q);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_non_null(
	    strstr(s->reply, "{\"ok\":false,\"error\":{\"code\":\"store\",\"detail\":\"commit: "));
	assert_int_equal(stat_of(s, "depth"), 1);
	assert_int_equal(stat_of(s, "in_flight"), 1);
	assert_int_equal(stat_of(s, "store_errors_total"), 1);
	expect_nothing(s);

	for (int i = 0; i < 3; i++)
		queue_ask(s->q, &requests[i]);
	(void)queue_turn(s->q);
	assert_int_equal(stat_of(s, "commits_total"), commits + 2);
	expect_pushed(s, SENT("b") SENT("c"));
}

/* What had waited long enough when the disk was full is not forgotten: it comes when there is room. */
static void
test_due_on_a_full_disk(void **state)
{
	scene *s = *state;
	struct rlimit before, none = {.rlim_cur = 0};
	uint64_t due_ns;

	RESTART(s, "--retry-first=1ms", "--retry-longest=1ms");
	submit(s, DOC("a"));
	expect_pushed(s, SENT("a"));
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	none.rlim_max = before.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	answer(s, "{\"nack\":[{\"id\":\"a\",\"retry\":true}]}");
	due_ns = spr_clock_now_ns() + 2 * SPR_NS_PER_MS; /* at the latest */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	while (spr_clock_now_ns() < due_ns)
		(void)queue_turn(s->q);
	(void)queue_turn(s->q);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(stat_of(s, "store_errors_total"), 1);
	expect_pushed(s, SENT("a"));
}

static void
test_no_memory(void **state)
{
	scene *s = *state;
	queue *q = NULL;

	scene_stop(s);
	assert_ok(queue_store_open(&s->store, s->path));
	for (unsigned long n = 1;; n++) {
		spr_err rv;

		spr_mem_fail_at(n);
		rv = queue_new(&q, &s->options, s->store, &spr_transport_fake);
		spr_mem_fail_at(0);
		if (rv == SPR_OK)
			break;
		assert_int_equal(rv, SPR_E_NOMEM);
	}
	queue_free(q);
	queue_store_close(s->store);
	scene_start(s);
	/* the reply's buffer, the message's, the job's */
	for (unsigned long n = 1; n < 4; n++) {
		spr_mem_fail_at(n);
		submit(s, DOC("a"));
		spr_mem_fail_at(0);
	}
	submit(s, DOC("a"));
	expect_pushed(s, SENT("a"));
	assert_int_equal(stat_of(s, "depth"), 1);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, scene_setup, scene_teardown)
	const struct CMUnitTest tests[] = {
	    T(test_submit_and_ack),
	    T(test_verbatim),
	    T(test_refused),
	    T(test_bad_answers),
	    T(test_idempotent),
	    T(test_restart),
	    T(test_nack_retry),
	    T(test_nack_times),
	    T(test_dead_at_once),
	    T(test_max_attempts),
	    T(test_working),
	    T(test_max_outstanding),
	    T(test_pushes),
	    T(test_control),
	    T(test_groups_and_full_disk),
	    T(test_due_on_a_full_disk),
	    T(test_no_memory),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
