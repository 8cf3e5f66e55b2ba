/*
 * test_intake - where messages go, when receivers park, and who un-parks them; on the fake transport.
 */
#include <string.h>

#include "spr_test.h"

#include "base/clock.h"

#include "base/counters.h"
#include "fake_transport.h"
#include "fake_waiters.h"
#include "path/intake.h"

#define MAX_MESSAGE 100

typedef struct scene {
	spr_fake_waiters dispatchers;
	spr_intake *intake;
	unsigned n_sent;
	unsigned rearms[SPR_FAKE_RECEIVES];
} scene;

static spr_intake_config
make_config(scene *s, unsigned receivers, unsigned dispatchers, unsigned slots)
{
	*s = (scene){0};
	spr_fake_waiters_init(&s->dispatchers, dispatchers);
	return ((spr_intake_config){
	    .transport = &spr_transport_fake,
	    .receivers = receivers,
	    .ring_slots = slots,
	    .max_message = MAX_MESSAGE,
	    .max_bytes = 1 << 20,
	    .dispatchers = &s->dispatchers.waiters,
	    .n_dispatchers = dispatchers,
	});
}

static void
open_scene(scene *s, const spr_intake_config *config)
{
	assert_ok(spr_intake_new(&s->intake, config));
	for (unsigned r = 0; r < config->receivers; r++)
		assert_false(spr_fake_is_armed(r));
	spr_intake_start(s->intake);
	for (unsigned r = 0; r < config->receivers; r++)
		assert_true(spr_fake_is_armed(r));
}

static void
close_scene(scene *s)
{
	spr_intake_stop(s->intake);
	spr_intake_free(s->intake);
	assert_int_equal(spr_fake_bufs(), 0);
}

/* A message of len bytes that begins with its number; true when the receive is armed again. */
static bool
receive(scene *s, unsigned receiver, size_t len)
{
	unsigned char bytes[MAX_MESSAGE] = {(unsigned char)s->n_sent++};

	return (spr_fake_deliver(receiver, spr_fake_buf(bytes, len)));
}

/* The number of the next message; -1: there is none. */
static int
pop(scene *s, unsigned d)
{
	spr_buf *buf = spr_intake_pop(s->intake, d);
	int number;

	if (buf == NULL)
		return (-1);
	number = buf->data[0];
	spr_intake_finish(s->intake, buf);
	return (number);
}

static unsigned
new_rearms(scene *s, unsigned receiver)
{
	unsigned before = s->rearms[receiver];

	s->rearms[receiver] = spr_fake_rearms(receiver);
	return (s->rearms[receiver] - before);
}

static void
test_light_traffic_stays_with_one_dispatcher(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 1, 3, 64);

	(void)state;
	open_scene(&s, &config);
	for (int i = 0; i < 20; i++) {
		assert_true(receive(&s, 0, 1));
		assert_int_equal(spr_intake_waiting(s.intake), 1);
		assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 1);
		assert_int_equal(pop(&s, 0), i);
	}
	assert_int_equal(pop(&s, 0), -1);
	for (unsigned d = 1; d < 3; d++) {
		assert_int_equal(spr_fake_wakes(&s.dispatchers, d), 0);
		assert_int_equal(pop(&s, d), -1);
	}
	close_scene(&s);
}

static bool
count_turn(void *state)
{
	++*(unsigned *)state;
	return (false);
}

static void
receive_at(uint64_t received_ns)
{
	spr_buf *buf = spr_fake_buf("x", 1);

	buf->received_ns = received_ns;
	assert_true(spr_fake_deliver(0, buf));
}

/* A lone message is dispatched by the receiver itself; a stream is the dispatcher's own thread's. */
static void
test_a_lone_message_and_a_stream(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 1, 1, 64);
	spr_agent *agent = &s.dispatchers.agent[0];
	unsigned n_turns = 0;

	(void)state;
	agent->do_guest_work = count_turn;
	agent->state = &n_turns;
	(void)spr_turn_give_back(&agent->turn); /* as if its thread ran, and were idle */
	open_scene(&s, &config);
	receive_at(SPR_NS_PER_S);
	assert_int_equal(n_turns, 1);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 0);
	for (unsigned i = 1; i <= 3; i++) {
		receive_at(SPR_NS_PER_S + i * 1000);
		assert_int_equal(n_turns, 1);
		assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 1);
	}
	receive_at(2 * SPR_NS_PER_S);
	assert_int_equal(n_turns, 2);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 0);
	close_scene(&s);
}

/* Work does not wake a dispatcher that waits for something else; it looks when it has got that. */
static void
test_a_blocked_dispatcher_is_not_woken(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 1, 1, 64);

	(void)state;
	open_scene(&s, &config);
	spr_waiter_want(&s.dispatchers.waiter[0], SPR_WANT_SLOT);
	assert_true(receive(&s, 0, 1));
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 0);
	assert_int_equal(pop(&s, 0), 0);
	close_scene(&s);
}

static void
test_heavy_traffic_spills_to_the_emptiest(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 1, 3, 64);

	(void)state;
	open_scene(&s, &config);
	for (unsigned i = 0; i < 16; i++)
		assert_true(receive(&s, 0, 1));
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 16);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 1), 0);
	assert_true(receive(&s, 0, 1)); /* 16 wait there already */
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 0);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 1), 1);
	assert_int_equal(pop(&s, 1), 16);
	assert_true(receive(&s, 0, 1)); /* and there it stays, until 16 wait */
	assert_int_equal(pop(&s, 1), 17);
	for (unsigned i = 0; i < 17; i++)
		assert_true(receive(&s, 0, 1));
	assert_int_equal(pop(&s, 2), 34);
	assert_int_equal(spr_intake_waiting(s.intake), 32);
	for (int i = 0; i < 16; i++) {
		assert_int_equal(pop(&s, 0), i);
		assert_int_equal(pop(&s, 1), 18 + i);
	}
	close_scene(&s);
}

/* A ring that is full before the usual depth must spill too, or its receiver would look for room for ever. */
static void
test_small_rings_spill(void **state)
{
	(void)state;
	for (unsigned slots = 4; slots <= 16; slots *= 2) {
		scene s;
		spr_intake_config config = make_config(&s, 1, 2, slots);
		unsigned capacity = slots - 1, n[2] = {0};

		open_scene(&s, &config);
		for (unsigned i = 0; i < 2 * capacity; i++)
			assert_true(receive(&s, 0, 1));
		assert_int_equal(spr_intake_parked(s.intake), 0);
		assert_false(receive(&s, 0, 1));
		assert_int_equal(spr_intake_parked(s.intake), 1);
		for (unsigned d = 0; d < 2; d++) {
			while (pop(&s, d) >= 0)
				n[d]++;
		}
		assert_int_equal(n[0] + n[1], 2 * capacity + 1);
		assert_in_range(n[0], capacity, capacity + 1);
		assert_int_equal(new_rearms(&s, 0), 1);
		close_scene(&s);
	}
}

static void
test_receivers_take_turns(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 3, 1, 64);

	(void)state;
	open_scene(&s, &config);
	for (unsigned r = 0; r < 3; r++) {
		for (unsigned i = 0; i < 2; i++)
			assert_true(receive(&s, r, 1));
	}
	assert_int_equal(pop(&s, 0), 0);
	assert_int_equal(pop(&s, 0), 2);
	assert_int_equal(pop(&s, 0), 4);
	assert_int_equal(pop(&s, 0), 1);
	assert_int_equal(pop(&s, 0), 3);
	assert_int_equal(pop(&s, 0), 5);
	assert_int_equal(pop(&s, 0), -1);
	close_scene(&s);
}

static void
test_a_full_ring_parks_until_a_quarter_is_free(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 1, 1, 16);
	uint64_t parked = spr_counter_sum(SPR_C_RECEIVERS_PARKED);

	(void)state;
	open_scene(&s, &config);
	for (unsigned i = 0; i < 15; i++)
		assert_true(receive(&s, 0, 1));
	assert_int_equal(spr_intake_parked(s.intake), 0);
	assert_false(receive(&s, 0, 1));
	assert_int_equal(spr_intake_parked(s.intake), 1);
	assert_int_equal(spr_intake_waiting(s.intake), 16); /* the held one counts */
	assert_int_equal(spr_counter_sum(SPR_C_RECEIVERS_PARKED) - parked, 1);
	for (int i = 0; i < 3; i++) { /* 12 left: a quarter is not free yet */
		assert_int_equal(pop(&s, 0), i);
		assert_int_equal(new_rearms(&s, 0), 0);
	}
	assert_int_equal(pop(&s, 0), 3);
	assert_int_equal(new_rearms(&s, 0), 1);
	assert_true(spr_fake_is_armed(0));
	assert_int_equal(spr_intake_parked(s.intake), 0);
	assert_int_equal(spr_intake_waiting(s.intake), 12);
	assert_true(receive(&s, 0, 1));
	for (int i = 4; i < 17; i++) /* in order, the held one in its place */
		assert_int_equal(pop(&s, 0), i);
	assert_int_equal(pop(&s, 0), -1);
	assert_int_equal(new_rearms(&s, 0), 0);
	close_scene(&s);
}

static void
test_a_used_budget_parks_until_bytes_are_finished(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 1, 1, 16);
	spr_buf *buf[2];

	(void)state;
	config.max_bytes = 2 * MAX_MESSAGE + MAX_MESSAGE / 2;
	open_scene(&s, &config);
	assert_true(receive(&s, 0, MAX_MESSAGE / 2));
	assert_true(receive(&s, 0, MAX_MESSAGE));
	assert_int_equal(spr_intake_bytes(s.intake), MAX_MESSAGE + MAX_MESSAGE / 2);
	assert_false(receive(&s, 0, 1)); /* one more of the largest size would be a byte over */
	assert_int_equal(spr_intake_parked(s.intake), 1);
	assert_int_equal(spr_intake_waiting(s.intake), 3); /* it holds nothing itself */
	for (unsigned i = 0; i < 2; i++)
		assert_non_null(buf[i] = spr_intake_pop(s.intake, 0));
	assert_int_equal(new_rearms(&s, 0), 0); /* popping is not finishing */
	spr_buf_hold(buf[0]);
	spr_intake_finish(s.intake, buf[0]);
	assert_int_equal(new_rearms(&s, 0), 0); /* somebody reads it still */
	assert_int_equal(spr_intake_bytes(s.intake), MAX_MESSAGE + MAX_MESSAGE / 2 + 1);
	spr_intake_finish(s.intake, buf[0]);
	assert_int_equal(new_rearms(&s, 0), 1);
	assert_int_equal(spr_intake_parked(s.intake), 0);
	spr_intake_finish(s.intake, buf[1]);
	assert_int_equal(pop(&s, 0), 2);
	assert_int_equal(spr_intake_bytes(s.intake), 0);
	assert_int_equal(new_rearms(&s, 0), 0);
	close_scene(&s);
}

/* Every armed receive may bring a message of the largest size: the budget keeps room for each. */
static void
test_the_budget_reserves_for_every_receive(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 3, 1, 16);

	(void)state;
	config.max_bytes = 4 * MAX_MESSAGE;
	open_scene(&s, &config);
	assert_true(receive(&s, 0, MAX_MESSAGE));
	assert_false(receive(&s, 1, MAX_MESSAGE));
	assert_false(receive(&s, 2, MAX_MESSAGE));
	assert_false(receive(&s, 0, MAX_MESSAGE));
	assert_true(spr_intake_bytes(s.intake) <= config.max_bytes);
	assert_int_equal(spr_intake_parked(s.intake), 3);
	for (unsigned left = 3; left > 1; left--) {
		assert_true(pop(&s, 0) >= 0);
		assert_int_equal(spr_intake_parked(s.intake), 3);
	}
	assert_true(pop(&s, 0) >= 0); /* one left: room for all three */
	assert_int_equal(spr_intake_parked(s.intake), 0);
	for (unsigned r = 0; r < 3; r++)
		assert_int_equal(new_rearms(&s, r), 1);
	assert_true(pop(&s, 0) >= 0);
	close_scene(&s);
}

/* The held message found a ring, but there is no budget for another: parked again, for the other reason. */
static void
test_parked_for_the_ring_and_then_for_the_budget(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 1, 1, 4);
	spr_buf *buf[4];

	(void)state;
	config.max_bytes = 3 * MAX_MESSAGE + MAX_MESSAGE / 2 - 1;
	open_scene(&s, &config);
	for (unsigned i = 0; i < 3; i++)
		assert_true(receive(&s, 0, MAX_MESSAGE / 2));
	assert_false(receive(&s, 0, MAX_MESSAGE));
	assert_non_null(buf[0] = spr_intake_pop(s.intake, 0));
	assert_int_equal(spr_intake_waiting(s.intake), 3);
	assert_int_equal(spr_intake_parked(s.intake), 1);
	for (unsigned i = 1; i < 4; i++)
		assert_non_null(buf[i] = spr_intake_pop(s.intake, 0));
	assert_int_equal(new_rearms(&s, 0), 0);
	spr_intake_finish(s.intake, buf[0]);
	assert_int_equal(new_rearms(&s, 0), 1);
	for (unsigned i = 1; i < 4; i++)
		spr_intake_finish(s.intake, buf[i]);
	assert_int_equal(spr_intake_bytes(s.intake), 0);
	close_scene(&s);
}

/* While a message is held, finished bytes alone un-park nothing: the message still has no ring. */
static void
test_bytes_do_not_help_a_full_ring(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 2, 1, 4);

	(void)state;
	open_scene(&s, &config);
	assert_true(receive(&s, 1, MAX_MESSAGE));
	for (unsigned i = 0; i < 3; i++)
		assert_true(receive(&s, 0, 1));
	assert_false(receive(&s, 0, 1));
	assert_int_equal(pop(&s, 0), 1); /* of receiver 0 */
	assert_int_equal(new_rearms(&s, 0), 1);
	assert_false(receive(&s, 0, 1));
	assert_int_equal(pop(&s, 0), 0); /* of receiver 1: its bytes are free now */
	assert_int_equal(new_rearms(&s, 0), 0);
	assert_int_equal(spr_intake_parked(s.intake), 1);
	for (int i = 2; i <= 5; i++)
		assert_int_equal(pop(&s, 0), i);
	assert_int_equal(new_rearms(&s, 0), 1);
	close_scene(&s);
}

/* One dispatcher makes room; the held message may go to that one's ring although another was preferred. */
static void
test_a_held_message_goes_where_there_is_room(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 1, 2, 4);

	(void)state;
	open_scene(&s, &config);
	for (unsigned i = 0; i < 6; i++)
		assert_true(receive(&s, 0, 1));
	assert_false(receive(&s, 0, 1));
	for (unsigned d = 0; d < 2; d++)
		(void)spr_fake_wakes(&s.dispatchers, d);
	assert_true(pop(&s, 1) >= 0);
	assert_int_equal(new_rearms(&s, 0), 1);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 1), 1);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 0);
	close_scene(&s);
}

static void
test_an_empty_message_is_counted_only(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 1, 1, 4);
	uint64_t received = spr_counter_sum(SPR_C_MESSAGES_RECEIVED);
	uint64_t empty = spr_counter_sum(SPR_C_MESSAGES_EMPTY);
	uint64_t bytes = spr_counter_sum(SPR_C_MESSAGE_BYTES);

	(void)state;
	open_scene(&s, &config);
	for (unsigned i = 0; i < 10; i++)
		assert_true(receive(&s, 0, 0));
	assert_int_equal(spr_fake_bufs(), 0);
	assert_int_equal(spr_intake_waiting(s.intake), 0);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 0);
	assert_true(receive(&s, 0, 7));
	assert_int_equal(spr_counter_sum(SPR_C_MESSAGES_RECEIVED) - received, 11);
	assert_int_equal(spr_counter_sum(SPR_C_MESSAGES_EMPTY) - empty, 10);
	assert_int_equal(spr_counter_sum(SPR_C_MESSAGE_BYTES) - bytes, 7);
	assert_int_equal(pop(&s, 0), 10);
	close_scene(&s);
}

static void
test_the_drain_gets_held_messages_too(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 2, 1, 4);

	(void)state;
	open_scene(&s, &config);
	for (unsigned r = 0; r < 2; r++) {
		for (unsigned i = 0; i < 3; i++)
			assert_true(receive(&s, r, 1));
		assert_false(receive(&s, r, 1));
	}
	spr_intake_stop(s.intake);
	for (unsigned left = 8; left > 0; left--) {
		assert_int_equal(spr_intake_waiting(s.intake), left);
		assert_true(pop(&s, 0) >= 0);
	}
	assert_int_equal(spr_intake_waiting(s.intake), 0);
	assert_int_equal(spr_intake_bytes(s.intake), 0);
	assert_int_equal(pop(&s, 0), -1);
	close_scene(&s);
}

static void
test_free_releases_what_nobody_popped(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 2, 2, 4);

	(void)state;
	open_scene(&s, &config);
	for (unsigned i = 0; i < 6; i++)
		assert_true(receive(&s, 0, 1));
	assert_false(receive(&s, 0, 1)); /* held */
	assert_true(receive(&s, 1, 1));
	assert_int_equal(spr_fake_bufs(), 8);
	close_scene(&s);
	spr_intake_free(NULL);
}

static void
test_endpoints_and_pipes(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 1, 1, 4);
	char bound[SPR_URL_MAX];
	uint64_t added = spr_counter_sum(SPR_C_PIPES_ADDED_INTAKE);
	uint64_t removed = spr_counter_sum(SPR_C_PIPES_REMOVED_INTAKE);

	(void)state;
	open_scene(&s, &config);
	assert_ok(spr_intake_listen(s.intake, "fake://here", bound));
	assert_string_equal(bound, "fake://here");
	assert_ok(spr_intake_dial(s.intake, "fake://there"));
	spr_fake_pull_pipe(1);
	spr_fake_pull_pipe(1);
	spr_fake_pull_pipe(-1);
	assert_int_equal(spr_counter_sum(SPR_C_PIPES_ADDED_INTAKE) - added, 2);
	assert_int_equal(spr_counter_sum(SPR_C_PIPES_REMOVED_INTAKE) - removed, 1);
	close_scene(&s);
}

static void
test_no_memory(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 2, 2, 4);
	unsigned long n = 0;
	spr_err rv;

	(void)state;
	do {
		spr_mem_fail_at(++n);
		rv = spr_intake_new(&s.intake, &config);
		spr_mem_fail_at(0);
		assert_true(rv == SPR_OK || (rv == SPR_E_NOMEM && s.intake == NULL));
	} while (rv != SPR_OK);
	/* itself, receivers, sweeps, two arrays of two rings each, the pull */
	assert_int_equal(n - 1, 1 + 1 + 1 + 2 + 4 + 1);
	spr_intake_free(s.intake);
}

static void
test_a_bad_ring_size(void **state)
{
	scene s;
	spr_intake_config config = make_config(&s, 1, 1, 5);

	(void)state;
	assert_fails(spr_intake_new(&s.intake, &config), SPR_E_INVALID);
	assert_string_equal(spr_error_text(SPR_E_INVALID),
			    "ring of 5 slots: must be a power of two, 4 or more");
	assert_null(s.intake);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_light_traffic_stays_with_one_dispatcher),
	    cmocka_unit_test(test_a_lone_message_and_a_stream),
	    cmocka_unit_test(test_a_blocked_dispatcher_is_not_woken),
	    cmocka_unit_test(test_heavy_traffic_spills_to_the_emptiest),
	    cmocka_unit_test(test_small_rings_spill),
	    cmocka_unit_test(test_receivers_take_turns),
	    cmocka_unit_test(test_a_full_ring_parks_until_a_quarter_is_free),
	    cmocka_unit_test(test_a_used_budget_parks_until_bytes_are_finished),
	    cmocka_unit_test(test_the_budget_reserves_for_every_receive),
	    cmocka_unit_test(test_parked_for_the_ring_and_then_for_the_budget),
	    cmocka_unit_test(test_bytes_do_not_help_a_full_ring),
	    cmocka_unit_test(test_a_held_message_goes_where_there_is_room),
	    cmocka_unit_test(test_an_empty_message_is_counted_only),
	    cmocka_unit_test(test_the_drain_gets_held_messages_too),
	    cmocka_unit_test(test_free_releases_what_nobody_popped),
	    cmocka_unit_test(test_endpoints_and_pipes),
	    cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_a_bad_ring_size),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
