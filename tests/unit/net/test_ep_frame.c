/*
 * test_ep_frame - records and chunks: side by side, used again, and nothing is left.
 */
#include <string.h>

#include "spr_test.h"

#include "net/ep_frame.h"

static unsigned n_done, n_cancelled;
static size_t bytes_done;

static void
on_done(void *lane_arg, void *const *cookies, unsigned n, size_t bytes, spr_err result)
{
	size_t sum = 0;

	assert_ptr_equal(lane_arg, &n_done);
	assert_in_range(n, 1, SPR_DONE_MAX);
	for (unsigned i = 0; i < n; i++)
		sum += (uintptr_t)cookies[i];
	assert_int_equal(sum, bytes);
	n_done += result == SPR_OK ? n : 0;
	n_cancelled += result == SPR_E_CANCELLED ? n : 0;
	bytes_done += bytes;
}

static spr_push_lane *
open_lane(void)
{
	spr_push_lane *lane = spr_ep_lane_new(NULL, 64, &n_done);

	assert_non_null(lane);
	n_done = n_cancelled = 0;
	bytes_done = 0;
	return (lane);
}

static spr_ep_frame *
make(spr_push_lane *lane, size_t made, size_t len)
{
	spr_ep_frame *frame = spr_ep_frame_new(lane, made);

	assert_non_null(frame);
	memset(frame->data, 'j', made);
	spr_ep_frame_seal(frame, len);
	frame->cookie = (void *)(uintptr_t)len;
	return (frame);
}

static void
test_they_stand_side_by_side(void **state)
{
	static const uint8_t head[] = {1, 0, 0, 0, 0, 0, 0, 1, 4};
	spr_push_lane *lane = open_lane();
	spr_ep_queue queue = {0};

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		size_t head_len = 8 + k;
		spr_ep_frame *a, *b, *c;

		lane->has_lead = k == 1;
		a = make(lane, 260, 260);
		b = make(lane, 1000, 260); /* what it does not need is given back */
		c = make(lane, 260, 260);
		assert_ptr_equal(a->data + 260 + head_len, b->data);
		assert_ptr_equal(b->data + 260 + head_len, c->data);
		assert_memory_equal(c->data - head_len, head + 1 - k, head_len);
		assert_int_equal(spr_ep_frame_has_lead(c), k == 1);
		spr_ep_queue_append(&queue, a);
		spr_ep_queue_append(&queue, b);
		spr_ep_queue_append(&queue, c);
		spr_ep_frames_end(&queue, on_done, k == 0 ? SPR_OK : SPR_E_CANCELLED);
		assert_null(queue.head);
	}
	assert_int_equal(n_done, 3);
	assert_int_equal(n_cancelled, 3);
	assert_int_equal(lane->n_freed, 6);
	assert_int_equal(lane->n_done, 6);
	spr_ep_lane_free(lane);
}

/* A lane that runs asks for no memory, whatever the order in which its frames end; but its chunks in use may reach a new high. */
static void
test_they_are_used_again(void **state)
{
	spr_push_lane *lane = open_lane();
	uint64_t random = spr_test_seed();
	spr_ep_frame *out[64] = {0};
	unsigned long n_before = 0;

	(void)state;
	for (unsigned n = 0; n < 20000; n++) {
		unsigned i = (unsigned)spr_test_below(&random, 64);
		spr_ep_queue alone = {0};

		if (n == 15000)
			n_before = spr_mem_count();
		if (out[i] != NULL) {
			spr_ep_queue_append(&alone, out[i]);
			spr_ep_frames_end(&alone, on_done, SPR_OK);
		}
		out[i] = make(lane, 300, 1 + (size_t)spr_test_below(&random, 300));
	}
	assert_in_range(spr_mem_count() - n_before, 0, 5); /* of 5,000 frames */
	for (unsigned i = 0; i < 64; i++)
		spr_ep_frame_free(out[i]);
	spr_ep_lane_free(lane);
}

/* When all have ended it begins at its start again: one at a time stays in one place. */
static void
test_one_at_a_time(void **state)
{
	spr_push_lane *lane = open_lane();
	const uint8_t *first = NULL;

	(void)state;
	for (unsigned n = 0; n < 1000; n++) {
		spr_ep_queue alone = {0};
		spr_ep_frame *frame = make(lane, 300, 300);

		if (first == NULL)
			first = frame->data;
		assert_ptr_equal(frame->data, first);
		spr_ep_queue_append(&alone, frame);
		spr_ep_frames_end(&alone, on_done, SPR_OK);
	}
	assert_int_equal(n_done, 1000);
	spr_ep_lane_free(lane);
}

/* Chunks grow with what they must hold; a job that is longer still has one of its own. */
static void
test_large_jobs(void **state)
{
	static const size_t sizes[] = {0, 64 * 1024, 100000, 500 * 1024, 4000000, 10, 300000};
	spr_push_lane *lane = open_lane();
	spr_ep_queue queue = {0};
	size_t total = 0;

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			total += sizes[i];
			spr_ep_queue_append(&queue, make(lane, sizes[i], sizes[i]));
		}
		spr_ep_frames_end(&queue, on_done, SPR_OK);
	}
	assert_int_equal(bytes_done, total);
	assert_null(spr_ep_frame_new(lane, SIZE_MAX));
	spr_ep_lane_free(lane);
}

static void
test_no_memory(void **state)
{
	spr_push_lane *lane;

	(void)state;
	spr_mem_fail_at(1);
	assert_null(spr_ep_lane_new(NULL, 1, NULL));
	spr_mem_fail_at(0);
	lane = open_lane();
	for (unsigned long n = 1; n <= 2; n++) { /* the record, which is kept, and the chunk */
		spr_mem_fail_at(n);
		assert_null(spr_ep_frame_new(lane, 10));
	}
	spr_mem_fail_at(1);
	assert_null(spr_ep_frame_new(lane, 10));
	spr_mem_fail_at(0);
	spr_ep_frame_free(make(lane, 10, 10));
	spr_mem_fail_at(1);
	assert_null(spr_ep_frame_new(lane, 1000000)); /* no chunk of its own */
	spr_ep_frame_free(make(lane, 10, 10));        /* those that are there do */
	spr_mem_fail_at(0);
	spr_ep_lane_free(lane);
	spr_ep_lane_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_they_stand_side_by_side),
	    cmocka_unit_test(test_they_are_used_again),
	    cmocka_unit_test(test_one_at_a_time),
	    cmocka_unit_test(test_large_jobs),
	    cmocka_unit_test(test_no_memory),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
