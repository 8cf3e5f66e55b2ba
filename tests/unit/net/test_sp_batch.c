/*
 * A batch by hand: whatever the kernel takes of it, and in whatever pieces, the bytes come in order, once, and frames end when their last
 * byte is taken.
 */
#include "net/sp_batch.h"
#include "spr_test.h"

#include "base/mem.h"

#define MOST 64 /* frames, but where a test says otherwise */

static size_t head = LENGTH_BYTES;

static frame *
frame_of(size_t len, unsigned number)
{
	frame *f = spr_mem_alloc(sizeof(*f) + len);

	assert_non_null(f);
	*f = (frame){.result = SPR_E_CANCELLED};
	set_head(f, len);
	for (size_t i = 0; i < len; i++)
		f->data[i] = (uint8_t)(number * 31 + i);
	return (f);
}

/* What a worker would read. */
typedef struct wire {
	uint8_t bytes[2 * SPR_SP_BATCH_BYTES];
	size_t len;
} wire;

static void
give(spr_sp_batch *batch, wire *expected, size_t len, unsigned number)
{
	frame *f = frame_of(len, number);

	assert_true(spr_sp_batch_has_room(batch, MOST, len, head));
	memcpy(expected->bytes + expected->len, f->data - head, len + head);
	expected->len += len + head;
	spr_sp_batch_give(batch, f, head);
}

/* The kernel takes up to `max` bytes of what there is to write; how many parts there were. */
static unsigned
write_some(spr_sp_batch *batch, wire *got, size_t max, frame_queue *written)
{
	nng_iov parts[SPR_SP_PARTS];
	unsigned n = spr_sp_batch_parts(batch, head, parts);
	size_t taken = 0;

	assert_in_range(n, 1, SPR_SP_PARTS);
	for (unsigned i = 0; i < n && taken < max; i++) {
		size_t len = parts[i].iov_len < max - taken ? parts[i].iov_len : max - taken;

		assert_true(parts[i].iov_len > 0);
		memcpy(got->bytes + got->len, parts[i].iov_buf, len);
		got->len += len;
		taken += len;
	}
	spr_sp_batch_written(batch, head, taken, written);
	return (n);
}

static void
assert_nothing_held(const spr_sp_batch *batch)
{
	assert_null(batch->frames.head);
	assert_null(batch->copy);
	assert_int_equal(batch->bytes, 0);
	assert_int_equal(batch->sent, 0);
}

/* Frames have ended that the kernel has whole, and all of those. */
static void
assert_ended(const spr_sp_batch *batch, const wire *got, const frame_queue *written)
{
	size_t end = 0;

	for (const frame *f = written->head; f != NULL; f = f->next) {
		assert_int_equal(f->result, SPR_OK);
		end += f->len + head;
	}
	assert_true(end <= got->len);
	if (batch->frames.head != NULL)
		assert_true(end + batch->frames.head->len + head > got->len);
	if (batch->frames.n <= SPR_SP_PARTS)
		assert_null(batch->copy);
}

/* n frames of some lengths, the kernel takes `step` bytes a call. */
static void
play(unsigned n, size_t step)
{
	static wire expected, got;
	spr_sp_batch batch = {0};
	frame_queue written = {0};

	expected.len = got.len = 0;
	for (unsigned i = 0; i < n; i++)
		give(&batch, &expected, (i * 7) % 23, i);
	while (batch.frames.head != NULL) {
		(void)write_some(&batch, &got, step, &written);
		assert_ended(&batch, &got, &written);
	}
	assert_int_equal(written.n, n);
	assert_int_equal(got.len, expected.len);
	assert_memory_equal(got.bytes, expected.bytes, expected.len);
	assert_nothing_held(&batch);
	spr_sp_frames_free(&written);
}

static void
every_step(void **state)
{
	(void)state;
	for (head = LENGTH_BYTES; head <= LENGTH_BYTES + 1; head++) { /* tcp, unix sockets */
		for (unsigned n = 1; n <= 2 * SPR_SP_PARTS + 1; n++) {
			for (size_t step = 1; step < 64; step++)
				play(n, step);
			play(n, SIZE_MAX);
		}
		play(MOST, 1000);
	}
	head = LENGTH_BYTES;
}

/* Up to so many parts as they are, more as one. */
static void
parts(void **state)
{
	static wire expected, got;
	spr_sp_batch batch = {0};
	frame_queue written = {0};
	(void)state;

	expected.len = got.len = 0;
	for (unsigned i = 0; i < SPR_SP_PARTS; i++)
		give(&batch, &expected, 10, i);
	assert_int_equal(write_some(&batch, &got, SIZE_MAX, &written), SPR_SP_PARTS);
	for (unsigned i = 0; i <= SPR_SP_PARTS; i++)
		give(&batch, &expected, 10, i);
	assert_int_equal(write_some(&batch, &got, 10, &written), 1);
	assert_int_equal(write_some(&batch, &got, 20, &written), 1); /* the same copy */
	assert_int_equal(written.n, SPR_SP_PARTS + 1);
	assert_int_equal(write_some(&batch, &got, SIZE_MAX, &written), SPR_SP_PARTS);
	assert_int_equal(written.n, 2 * SPR_SP_PARTS + 1);
	assert_memory_equal(got.bytes, expected.bytes, expected.len);
	assert_nothing_held(&batch);
	spr_sp_frames_free(&written);
}

/* As many frames as bytes allow; a long one goes alone. */
static void
room(void **state)
{
	static wire expected;
	spr_sp_batch batch = {0};
	frame *f;
	(void)state;

	assert_true(spr_sp_batch_has_room(&batch, MOST, 10 * SPR_SP_BATCH_BYTES, head));
	expected.len = 0;
	give(&batch, &expected, SPR_SP_BATCH_BYTES - 2 * head - 5, 1);
	assert_false(spr_sp_batch_has_room(&batch, MOST, 6, head));
	assert_true(spr_sp_batch_has_room(&batch, MOST, 5, head));
	while ((f = spr_sp_batch_take(&batch)) != NULL)
		spr_mem_free(f);
	expected.len = 0;
	for (unsigned i = 0; i < 20; i++)
		give(&batch, &expected, 1, i);
	assert_true(spr_sp_batch_has_room(&batch, 21, 1, head));
	assert_false(spr_sp_batch_has_room(&batch, 20, 1, head));
	while ((f = spr_sp_batch_take(&batch)) != NULL)
		spr_mem_free(f);
	assert_nothing_held(&batch);
}

/* What breaks half-way: the frames that are not written whole are there for another one, and nothing else is held. */
static void
taken_halfway(void **state)
{
	static wire expected, got;
	spr_sp_batch batch = {0};
	frame_queue written = {0};
	frame *f;
	unsigned n = 0;
	(void)state;

	expected.len = got.len = 0;
	for (unsigned i = 0; i < 20; i++)
		give(&batch, &expected, 10, i);
	(void)write_some(&batch, &got, 3 * (10 + head) + 1, &written);
	assert_int_equal(written.n, 3);
	for (; (f = spr_sp_batch_take(&batch)) != NULL; n++) {
		assert_int_equal(f->data[0], (uint8_t)((n + 3) * 31));
		spr_mem_free(f);
	}
	assert_int_equal(n, 17);
	assert_nothing_held(&batch);
	spr_sp_frames_free(&written);
}

/* Without memory for a copy: the first parts, then the next. */
static void
without_memory(void **state)
{
	static wire expected, got;
	spr_sp_batch batch = {0};
	frame_queue written = {0};
	(void)state;

	expected.len = got.len = 0;
	for (unsigned i = 0; i < SPR_SP_PARTS + 3; i++)
		give(&batch, &expected, 10, i);
	spr_mem_fail_at(1);
	assert_int_equal(write_some(&batch, &got, SIZE_MAX, &written), SPR_SP_PARTS);
	spr_mem_fail_at(0);
	assert_int_equal(written.n, SPR_SP_PARTS);
	assert_int_equal(write_some(&batch, &got, SIZE_MAX, &written), 3);
	assert_memory_equal(got.bytes, expected.bytes, expected.len);
	assert_nothing_held(&batch);
	spr_sp_frames_free(&written);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_step),     cmocka_unit_test(parts),
	    cmocka_unit_test(room),           cmocka_unit_test(taken_halfway),
	    cmocka_unit_test(without_memory),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
