/*
 * One upstream by hand: the test is the ledger, the clock and the REP peer. Nothing here waits for a delay: the time is
 * an argument.
 */
#include "spr_test.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/mem.h"
#include "path/upstream.h"
#include "rep_peer.h"

#define INSTANCE "cafe"
#define MANY     64
#define T0       (1000 * SPR_NS_PER_S)
#define MS       SPR_NS_PER_MS

typedef struct scene {
	spr_stack replies;      /* first: it needs its alignment */
	spr_stack_entry *taken; /* from it */
	spr_upstream upstream;
	atomic_uint n_wakes;
	spr_text text;
	uint64_t now_ns;
	uint64_t wake_at_ns; /* by the last turn */
	rep_peer peer;
	spr_notification notification[MANY];
	unsigned n; /* of them used */
	uint64_t counted[SPR_N_COUNTERS];
} scene;

static void
on_wake(void *arg)
{
	scene *s = arg;

	atomic_fetch_add(&s->n_wakes, 1);
}

static uint64_t
counted(const scene *s, spr_counter counter)
{
	return (spr_counter_sum(counter) - s->counted[counter]);
}

static scene *
scene_open(unsigned window, unsigned batch, unsigned timeout_ms)
{
	scene *s = spr_mem_zalloc_aligned(sizeof(*s));

	assert_non_null(s);
	spr_stack_init(&s->replies);
	s->now_ns = T0;
	s->peer = rep_listen();
	s->upstream.transport = &spr_transport_nng;
	s->upstream.replies = &s->replies;
	s->upstream.wake = on_wake;
	s->upstream.wake_arg = s;
	s->upstream.retry_min_ms = SPR_RETRY_MIN_MS;
	for (unsigned i = 0; i < SPR_N_COUNTERS; i++)
		s->counted[i] = spr_counter_sum((spr_counter)i);
	assert_ok(spr_upstream_init(&s->upstream, "eu", window, batch, timeout_ms));
	return (s);
}

static void
scene_close(scene *s)
{
	spr_upstream_fini(&s->upstream);
	rep_close(&s->peer);
	spr_text_fini(&s->text);
	spr_mem_free(s);
}

/* The peer accepts the connection that the upstream dials. */
static void
accept_peer(scene *s)
{
	unsigned before = atomic_load(&s->n_wakes);

	rep_accept(&s->peer);
	assert_true(wait_until(spr_transport_nng.req_peers(s->upstream.req) == 1, REP_WAIT_MS));
	assert_true(wait_until(atomic_load(&s->n_wakes) > before, REP_WAIT_MS));
}

static void
connect_peer(scene *s)
{
	assert_ok(spr_transport_nng.req_dial(s->upstream.req, s->peer.url));
	accept_peer(s);
}

static scene *
scene_connected(unsigned window, unsigned batch)
{
	scene *s = scene_open(window, batch, REP_WAIT_MS);

	connect_peer(s);
	return (s);
}

/* Notifications "1", "2", ...; returns the first. */
static spr_notification *
add(scene *s, unsigned n)
{
	spr_notification *first = &s->notification[s->n];

	for (unsigned i = 0; i < n; i++) {
		spr_notification *notification = &s->notification[s->n++];

		assert_true(s->n <= MANY);
		notification->entry = SPR_ANSWER_NONE;
		notification->id_len = (uint16_t)snprintf((char *)notification->id,
							  sizeof(notification->id), "%u", s->n);
		spr_upstream_add(&s->upstream, notification);
	}
	return (first);
}

static unsigned
turn_at(scene *s, uint64_t now_ns)
{
	s->now_ns = now_ns;
	return (spr_upstream_send(&s->upstream, INSTANCE, &s->text, now_ns, &s->wake_at_ns));
}

static void
assert_acks(const rep_request *r, const char *list)
{
	char expected[4096];

	snprintf(expected, sizeof(expected), "{\"instance\":\"" INSTANCE "\",\"ack\":[%s]}", list);
	assert_string_equal(r->text, expected);
}

/* Takes the oldest reply in; the accepted chain. */
static spr_notification *
take_reply(scene *s, spr_notification **given_up)
{
	spr_stack_entry *entry = s->taken;
	spr_notification *accepted, *ignored = NULL;

	if (entry == NULL)
		assert_true(
		    wait_until((entry = spr_mailbox_pop_all(&s->replies)) != NULL, REP_WAIT_MS));
	s->taken = spr_stack_next(entry);
	accepted = spr_upstream_replied(SPR_STACK_CONTAINER(entry, spr_answer_slot, replied),
					s->now_ns, given_up != NULL ? given_up : &ignored);
	assert_null(ignored);
	return (accepted);
}

static unsigned
length(const spr_notification *chain)
{
	unsigned n = 0;

	for (; chain != NULL; chain = chain->next)
		n++;
	return (n);
}

/* One request is heard and refused. */
static void
refuse(scene *s, const char *acks, const char *reply)
{
	rep_request r = rep_hear(&s->peer);

	assert_acks(&r, acks);
	rep_say(&s->peer, &r, reply);
	assert_null(take_reply(s, NULL));
}

/* One request is heard and accepted; n notifications are done. */
static void
accept_next(scene *s, const char *acks, unsigned n)
{
	rep_request r = rep_hear(&s->peer);

	assert_acks(&r, acks);
	rep_say(&s->peer, &r, "{\"ok\":true}");
	assert_int_equal(length(take_reply(s, NULL)), n);
}

static void
one_ack_goes_at_once(void **state)
{
	scene *s = scene_connected(8, 256);
	spr_notification *notification = add(s, 1);
	rep_request r;
	(void)state;

	assert_int_equal(turn_at(s, T0), 1);
	assert_int_equal(s->wake_at_ns, 0);
	r = rep_hear(&s->peer);
	assert_acks(&r, "\"1\"");
	rep_say(&s->peer, &r, "{\"ok\":true}");
	assert_ptr_equal(take_reply(s, NULL), notification);
	assert_int_equal(turn_at(s, T0), 0);
	assert_int_equal(counted(s, SPR_C_ANSWER_REQUESTS), 1);
	assert_int_equal(counted(s, SPR_C_ANSWER_RETRIES), 0);
	assert_int_equal(counted(s, SPR_C_PIPES_ADDED_ACK), 1);
	scene_close(s);
}

static void
nothing_to_say(void **state)
{
	scene *s = scene_connected(8, 256);
	(void)state;

	assert_int_equal(turn_at(s, T0), 0);
	assert_int_equal(s->wake_at_ns, 0);
	scene_close(s);
}

/* What fills a batch goes at once, the rest at the pace. */
static void
batches_have_a_limit(void **state)
{
	scene *s = scene_connected(8, 3);
	(void)state;

	add(s, 7);
	assert_int_equal(turn_at(s, T0), 2);
	assert_int_equal(s->wake_at_ns, T0 + SPR_ACK_PACE_NS);
	accept_next(s, "\"1\",\"2\",\"3\"", 3);
	accept_next(s, "\"4\",\"5\",\"6\"", 3);
	assert_int_equal(turn_at(s, T0 + SPR_ACK_PACE_NS), 1);
	accept_next(s, "\"7\"", 1);
	scene_close(s);
}

static void
pace_collects_what_comes_meanwhile(void **state)
{
	scene *s = scene_connected(8, 256);
	(void)state;

	add(s, 1);
	assert_int_equal(turn_at(s, T0), 1);
	add(s, 2);
	assert_int_equal(turn_at(s, T0), 0);
	assert_int_equal(s->wake_at_ns, T0 + SPR_ACK_PACE_NS);
	add(s, 1);
	assert_int_equal(turn_at(s, T0 + SPR_ACK_PACE_NS - 1), 0);
	assert_int_equal(s->wake_at_ns, T0 + SPR_ACK_PACE_NS);
	assert_int_equal(turn_at(s, T0 + SPR_ACK_PACE_NS), 1);
	accept_next(s, "\"1\"", 1);
	accept_next(s, "\"2\",\"3\",\"4\"", 3);
	scene_close(s);
}

static void
window_limits_requests_in_flight(void **state)
{
	scene *s = scene_connected(2, 1);
	rep_request first, second;
	(void)state;

	add(s, 4);
	assert_int_equal(turn_at(s, T0), 2);
	assert_int_equal(s->wake_at_ns, 0); /* a reply wakes, not the time */
	assert_int_equal(turn_at(s, T0 + SPR_NS_PER_S), 0);
	first = rep_hear(&s->peer);
	second = rep_hear(&s->peer);
	assert_acks(&first, "\"1\"");
	assert_acks(&second, "\"2\"");
	rep_say(&s->peer, &second, "{}");
	assert_int_equal(length(take_reply(s, NULL)), 1);
	assert_int_equal(turn_at(s, T0 + SPR_NS_PER_S), 1);
	rep_say(&s->peer, &first, "{}");
	assert_int_equal(length(take_reply(s, NULL)), 1);
	assert_int_equal(turn_at(s, T0 + SPR_NS_PER_S), 1);
	accept_next(s, "\"3\"", 1);
	accept_next(s, "\"4\"", 1);
	scene_close(s);
}

/* 100 ms doubling to 10 s; the tenth refusal of a lone id is the last. */
static void
lone_id_is_given_up_after_ten_refusals(void **state)
{
	static const unsigned delays_ms[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
	scene *s = scene_connected(8, 256);
	spr_notification *given_up = NULL, *notification = add(s, 1);
	uint64_t now_ns = T0;
	rep_request r;
	(void)state;

	assert_int_equal(turn_at(s, now_ns), 1);
	for (unsigned i = 0; i < 9; i++) {
		refuse(s, "\"1\"", "{\"ok\":false}");
		assert_int_equal(turn_at(s, now_ns + delays_ms[i] * MS - 1), 0);
		now_ns += delays_ms[i] * MS;
		assert_int_equal(s->wake_at_ns, now_ns);
		assert_int_equal(turn_at(s, now_ns), 1);
	}
	r = rep_hear(&s->peer);
	rep_say(&s->peer, &r, "{\"ok\":false}");
	assert_null(take_reply(s, &given_up));
	assert_ptr_equal(given_up, notification);
	assert_int_equal(turn_at(s, now_ns + 60 * SPR_NS_PER_S), 0);
	assert_int_equal(s->wake_at_ns, 0);
	assert_int_equal(counted(s, SPR_C_ANSWER_REFUSALS), SPR_REFUSALS_MAX);
	assert_int_equal(counted(s, SPR_C_ANSWER_REQUESTS), SPR_REFUSALS_MAX);
	assert_int_equal(counted(s, SPR_C_ANSWER_RETRIES), SPR_REFUSALS_MAX - 1);
	scene_close(s);
}

static void
garbage_is_a_refusal(void **state)
{
	static const char *const replies[] = {"garbage", "", "[]", "{\"ok\":true}{}"};
	scene *s = scene_connected(8, 256);
	uint64_t now_ns = T0;
	(void)state;

	add(s, 1);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(turn_at(s, now_ns), 1);
		refuse(s, "\"1\"", replies[i]);
		now_ns += 10 * SPR_NS_PER_S;
	}
	assert_int_equal(counted(s, SPR_C_ANSWER_REFUSALS), 4);
	assert_int_equal(turn_at(s, now_ns), 1);
	accept_next(s, "\"1\"", 1);
	scene_close(s);
}

/* Whole after the first refusal, halves from the second on; each half waits its time on its own. */
static void
batch_is_halved_from_its_second_refusal(void **state)
{
	scene *s = scene_connected(8, 256);
	(void)state;

	add(s, 5);
	assert_int_equal(turn_at(s, T0), 1);
	refuse(s, "\"1\",\"2\",\"3\",\"4\",\"5\"", "{\"ok\":false}");
	assert_int_equal(turn_at(s, T0 + 100 * MS), 1);
	refuse(s, "\"1\",\"2\",\"3\",\"4\",\"5\"", "{\"ok\":false}");
	assert_int_equal(turn_at(s, T0 + 300 * MS - 1), 0);
	assert_int_equal(turn_at(s, T0 + 300 * MS), 2);
	accept_next(s, "\"1\",\"2\"", 2);
	refuse(s, "\"3\",\"4\",\"5\"", "{\"ok\":false}");
	assert_int_equal(turn_at(s, T0 + 700 * MS), 2);
	refuse(s, "\"3\"", "{\"ok\":false}");
	accept_next(s, "\"4\",\"5\"", 2);
	assert_int_equal(turn_at(s, T0 + 1500 * MS), 1);
	accept_next(s, "\"3\"", 1);
	scene_close(s);
}

/* Among 16, one id that the upstream never takes: the others are accepted, each once. */
static void
play_bad_id(unsigned bad)
{
	scene *s = scene_connected(4, 16);
	unsigned n_accepted = 0, n_lone = 0, n_out = 0;
	spr_notification *given_up = NULL, *first = add(s, 16);
	char quoted[16], lone[24];

	snprintf(quoted, sizeof(quoted), "\"%u\"", bad);
	snprintf(lone, sizeof(lone), "[%s]", quoted);
	for (uint64_t now_ns = T0; given_up == NULL; now_ns += 10 * SPR_NS_PER_S) {
		for (n_out = turn_at(s, now_ns); n_out > 0; n_out--) {
			rep_request r = rep_hear(&s->peer);

			n_lone += strstr(r.text, lone) != NULL;
			rep_say(&s->peer, &r,
				strstr(r.text, quoted) ? "{\"ok\":false}" : "{\"ok\":true}");
			n_accepted += length(take_reply(s, &given_up));
		}
	}
	assert_ptr_equal(given_up, &first[bad - 1]);
	assert_int_equal(n_lone, SPR_REFUSALS_MAX); /* ten of its own */
	assert_int_equal(n_accepted, 15);
	scene_close(s);
}

static void
one_bad_id_does_not_cost_the_others(void **state)
{
	(void)state;
	play_bad_id(11); /* the last halving leaves it in the first half */
	play_bad_id(12); /* and in the second */
}

/* "1" is due at 300 ms in the list of the second delay, "2" in the list of the first. */
static void
play_order(unsigned second_sent_ms, const char *first, const char *then)
{
	scene *s = scene_connected(1, 1);

	add(s, 1);
	assert_int_equal(turn_at(s, T0), 1);
	refuse(s, "\"1\"", "{\"ok\":false}");
	assert_int_equal(turn_at(s, T0 + 100 * MS), 1);
	refuse(s, "\"1\"", "{\"ok\":false}");
	add(s, 1);
	assert_int_equal(turn_at(s, T0 + second_sent_ms * MS), 1);
	refuse(s, "\"2\"", "{\"ok\":false}");
	assert_int_equal(turn_at(s, T0 + 400 * MS), 1);
	accept_next(s, first, 1);
	assert_int_equal(turn_at(s, T0 + 400 * MS), 1);
	accept_next(s, then, 1);
	scene_close(s);
}

static void
what_is_due_longest_goes_first(void **state)
{
	(void)state;
	play_order(150, "\"2\"", "\"1\"");
	play_order(250, "\"1\"", "\"2\"");
}

/* The upstream takes the connection and says nothing: kept whole, and for ever. */
static void
no_reply_is_never_given_up(void **state)
{
	scene *s = scene_open(8, 256, 1);
	uint64_t now_ns = T0;
	(void)state;

	connect_peer(s);
	add(s, 3);
	for (unsigned i = 0; i < 3 * SPR_REFUSALS_MAX; i++) {
		assert_int_equal(turn_at(s, now_ns), 1);
		assert_null(take_reply(s, NULL));
		if (i > 10) /* the longest delay */
			assert_int_equal(turn_at(s, now_ns + 10 * SPR_NS_PER_S - 1), 0);
		now_ns += 10 * SPR_NS_PER_S;
	}
	assert_int_equal(counted(s, SPR_C_ANSWER_TIMEOUTS), 3 * SPR_REFUSALS_MAX);
	assert_int_equal(counted(s, SPR_C_ANSWER_REFUSALS), 0);
	assert_int_equal(s->upstream.n_retry, 1);
	assert_int_equal(length(s->upstream.retry[SPR_RETRY_LEVELS - 1].head), 3);
	scene_close(s);
}

/* A lost connection is told at once, and the next one makes the answer due although its time has not come. */
static void
lost_connection_is_retried_on_the_next(void **state)
{
	scene *s = scene_connected(8, 256);
	rep_request r;
	(void)state;

	add(s, 2);
	assert_int_equal(turn_at(s, T0), 1);
	r = rep_hear(&s->peer);
	assert_acks(&r, "\"1\",\"2\"");
	rep_hang_up(&s->peer);
	assert_null(take_reply(s, NULL));
	assert_int_equal(counted(s, SPR_C_ANSWER_TIMEOUTS), 1);
	assert_int_equal(turn_at(s, T0), 0);
	accept_peer(s);
	assert_int_equal(turn_at(s, T0), 1);
	accept_next(s, "\"1\",\"2\"", 2);
	assert_int_equal(counted(s, SPR_C_PIPES_REMOVED_ACK), 1);
	scene_close(s);
}

/*
 * More answers wait than the window has room for when the peer comes: all of them go before any time has passed. Not so
 * what was refused: that has nothing to do with the connection.
 */
/* The lost requests end in any order, and so they are sent again: one id of 2 to 7, a new one each time. */
static void
accept_another(scene *s, unsigned *seen)
{
	rep_request r = rep_hear(&s->peer);
	unsigned id = 0;

	assert_int_equal(sscanf(r.text, "{\"instance\":\"cafe\",\"ack\":[\"%u\"]}", &id), 1);
	assert_in_range(id, 2, 7);
	assert_int_equal(*seen & 1u << id, 0);
	*seen |= 1u << id;
	rep_say(&s->peer, &r, "{\"ok\":true}");
	assert_int_equal(length(take_reply(s, NULL)), 1);
}

static void
a_peer_that_comes_gets_all_that_had_no_reply(void **state)
{
	scene *s = scene_connected(8, 1);
	rep_request r[7];
	unsigned seen = 0;
	(void)state;

	add(s, 7);
	assert_int_equal(turn_at(s, T0), 7);
	for (unsigned i = 0; i < 7; i++)
		r[i] = rep_hear(&s->peer);
	rep_say(&s->peer, &r[0], "{\"ok\":false}");
	assert_null(take_reply(s, NULL));
	rep_hang_up(&s->peer);
	for (unsigned i = 0; i < 6; i++)
		assert_null(take_reply(s, NULL));
	assert_int_equal(turn_at(s, T0), 0);
	accept_peer(s);
	s->upstream.window = 2;
	assert_int_equal(turn_at(s, T0), 2);
	for (unsigned i = 2; i <= 7; i++) {
		accept_another(s, &seen);
		assert_int_equal(turn_at(s, T0), i <= 5);
	}
	assert_int_equal(s->wake_at_ns, T0 + 100 * MS);
	assert_int_equal(turn_at(s, T0 + 100 * MS), 1);
	accept_next(s, "\"1\"", 1);
	scene_close(s);
}

/* The request waits for a peer and goes to the first one. */
static void
absent_then_present(void **state)
{
	scene *s = scene_open(8, 256, REP_WAIT_MS);
	(void)state;

	/* connected, but for the handshake */
	assert_ok(spr_transport_nng.req_dial(s->upstream.req, s->peer.url));
	add(s, 1);
	assert_int_equal(turn_at(s, T0), 0);
	assert_int_equal(spr_transport_nng.req_peers(s->upstream.req), 0);
	accept_peer(s);
	assert_true(wait_until(spr_transport_nng.req_peers(s->upstream.req) == 1, REP_WAIT_MS));
	assert_int_equal(turn_at(s, T0), 1);
	accept_next(s, "\"1\"", 1);
	scene_close(s);
}

/* Answers wait for a peer, without a request and without a timer. */
static void
nobody_there(void **state)
{
	scene *s = scene_open(8, 256, 1);
	(void)state;

	add(s, 1);
	assert_int_equal(turn_at(s, T0), 0);
	assert_int_equal(s->wake_at_ns, 0);
	assert_int_equal(s->upstream.fresh.n, 1);
	scene_close(s);
}

/* Retries do not take the last slot while there are fresh answers. */
static void
fresh_answers_pass_retries(void **state)
{
	scene *s = scene_connected(2, 1);
	(void)state;

	add(s, 2);
	assert_int_equal(turn_at(s, T0), 2);
	refuse(s, "\"1\"", "{\"ok\":false}");
	refuse(s, "\"2\"", "{\"ok\":false}");
	add(s, 1);
	assert_int_equal(turn_at(s, T0 + SPR_NS_PER_S), 2);
	accept_next(s, "\"1\"", 1);
	accept_next(s, "\"3\"", 1);
	assert_int_equal(turn_at(s, T0 + SPR_NS_PER_S), 1);
	accept_next(s, "\"2\"", 1);
	scene_close(s);
}

/* Without memory for the text the answer waits as one without a reply does. */
static void
no_memory_for_the_text(void **state)
{
	scene *s = scene_connected(8, 256);
	(void)state;

	add(s, 2);
	spr_mem_fail_at(1);
	(void)turn_at(s, T0);
	spr_mem_fail_at(0);
	assert_int_equal(counted(s, SPR_C_ANSWER_REQUESTS), 0);
	assert_int_equal(s->wake_at_ns, T0 + 100 * MS);
	assert_int_equal(turn_at(s, T0 + 100 * MS), 1);
	accept_next(s, "\"1\",\"2\"", 2);
	scene_close(s);
}

static void
init_without_memory(void **state)
{
	scene *s = scene_open(8, 256, 1);
	unsigned long n;
	(void)state;

	spr_upstream_fini(&s->upstream);
	spr_mem_fail_at(0);
	assert_ok(spr_upstream_init(&s->upstream, "eu", 8, 256, 1));
	n = spr_mem_count();
	assert_true(n >= 4);
	for (unsigned long i = 1; i <= n; i++) {
		spr_upstream_fini(&s->upstream);
		memset(&s->upstream, 0, sizeof(s->upstream));
		s->upstream.transport = &spr_transport_nng;
		spr_mem_fail_at(i);
		assert_fails(spr_upstream_init(&s->upstream, "eu", 8, 256, 1), SPR_E_NOMEM);
	}
	spr_mem_fail_at(0);
	scene_close(s);
}

/* Full requests go at once, the rest when asked; one slot is left for answers, and no reply is ever asked for again. */
static void
working_is_told_once(void **state)
{
	scene *s = scene_connected(2, 2);
	spr_notification *one = add(s, 4);
	rep_request r;
	(void)state;

	s->upstream.fresh = (spr_chain){0}; /* in flight, not complete */
	for (unsigned i = 0; i < 2; i++)
		assert_true(spr_upstream_add_working(&s->upstream, &one[i], INSTANCE, &s->text));
	r = rep_hear(&s->peer);
	assert_string_equal(r.text, "{\"instance\":\"" INSTANCE "\",\"working\":[\"2\",\"1\"]}");
	assert_false(spr_upstream_add_working(&s->upstream, &one[2], INSTANCE, &s->text));
	spr_upstream_send_working(&s->upstream, INSTANCE, &s->text);
	rep_say(&s->peer, &r, "{\"ok\":false}");
	assert_null(take_reply(s, NULL));
	assert_int_equal(counted(s, SPR_C_ANSWER_REFUSALS), 1);
	assert_int_equal(turn_at(s, T0 + 3600 * SPR_NS_PER_S), 0);
	assert_true(spr_upstream_add_working(&s->upstream, &one[2], INSTANCE, &s->text));
	spr_upstream_send_working(&s->upstream, INSTANCE, &s->text);
	r = rep_hear(&s->peer);
	assert_string_equal(r.text, "{\"instance\":\"" INSTANCE "\",\"working\":[\"3\"]}");
	assert_int_equal(counted(s, SPR_C_WORKING), 3);
	assert_int_equal(counted(s, SPR_C_ANSWER_REQUESTS), 2);
	scene_close(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_ack_goes_at_once),
	    cmocka_unit_test(nothing_to_say),
	    cmocka_unit_test(batches_have_a_limit),
	    cmocka_unit_test(pace_collects_what_comes_meanwhile),
	    cmocka_unit_test(window_limits_requests_in_flight),
	    cmocka_unit_test(lone_id_is_given_up_after_ten_refusals),
	    cmocka_unit_test(garbage_is_a_refusal),
	    cmocka_unit_test(batch_is_halved_from_its_second_refusal),
	    cmocka_unit_test(one_bad_id_does_not_cost_the_others),
	    cmocka_unit_test(what_is_due_longest_goes_first),
	    cmocka_unit_test(no_reply_is_never_given_up),
	    cmocka_unit_test(lost_connection_is_retried_on_the_next),
	    cmocka_unit_test(a_peer_that_comes_gets_all_that_had_no_reply),
	    cmocka_unit_test(absent_then_present),
	    cmocka_unit_test(nobody_there),
	    cmocka_unit_test(fresh_answers_pass_retries),
	    cmocka_unit_test(working_is_told_once),
	    cmocka_unit_test(no_memory_for_the_text),
	    cmocka_unit_test(init_without_memory),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
