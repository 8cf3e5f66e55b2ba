/*
 * test_ep_reader - frames out of bytes, wherever they are cut; slices and copies; what ends a connection; no memory.
 */
#include <endian.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#include "base/counters.h"
#include "base/mem.h"
#include "net/ep_reader.h"

#define MAX_MESSAGE ((size_t)1 << 20)
#define MAX_FRAMES  64
#define MAX_HELD    8192

/* What a peer sends: frames whose bytes tell their number. */
typedef struct stream {
	uint8_t *bytes;
	size_t len;
	size_t sent;
	size_t lengths[MAX_FRAMES];
	unsigned n_frames, n_found;
	bool is_ipc;
} stream;

typedef struct scene {
	spr_ep_slabs *slabs;
	spr_ep_reader reader[2];
	spr_buf *held[MAX_HELD];
	unsigned n_held;
	bool holds;
} scene;

static const spr_peer nobody = {.kind = SPR_PEER_UNKNOWN};

static uint8_t
byte_of(unsigned frame, size_t i)
{
	return ((uint8_t)(frame * 31 + i * 7));
}

static void
put_head(stream *s, uint64_t len)
{
	uint64_t length = htobe64(len);

	if (s->is_ipc)
		s->bytes[s->len++] = 1;
	memcpy(s->bytes + s->len, &length, sizeof(length));
	s->len += sizeof(length);
}

static void
make_stream(stream *s, bool is_ipc, const size_t *lengths, unsigned n)
{
	size_t total = 0;

	for (unsigned i = 0; i < n; i++)
		total += lengths[i] + SPR_EP_HEAD_MAX;
	*s = (stream){.bytes = malloc(total), .n_frames = n, .is_ipc = is_ipc};
	assert_non_null(s->bytes);
	assert_true(n <= MAX_FRAMES);
	for (unsigned i = 0; i < n; i++) {
		s->lengths[i] = lengths[i];
		put_head(s, lengths[i]);
		for (size_t k = 0; k < lengths[i]; k++)
			s->bytes[s->len++] = byte_of(i, k);
	}
}

static void
open_scene(scene *s, unsigned max_slabs, bool is_ipc)
{
	memset(s, 0, sizeof(*s));
	assert_ok(spr_ep_slabs_new(&s->slabs, max_slabs));
	for (unsigned i = 0; i < 2; i++)
		spr_ep_reader_init(&s->reader[i], s->slabs, &nobody, is_ipc, MAX_MESSAGE,
				   "the limit");
}

static void
drop_held(scene *s)
{
	while (s->n_held > 0)
		assert_true(spr_buf_drop(s->held[--s->n_held]));
}

static void
close_scene(scene *s)
{
	for (unsigned i = 0; i < 2; i++)
		spr_ep_reader_fini(&s->reader[i]);
	spr_ep_slabs_free(s->slabs);
	drop_held(s); /* they live on */
}

static void
expect_message(const stream *st, unsigned frame, const spr_buf *buf)
{
	assert_int_equal(buf->len, st->lengths[frame]);
	assert_int_equal(buf->received_ns, 7);
	for (size_t k = 0; k < buf->len; k++) {
		if (buf->data[k] != byte_of(frame, k))
			fail_msg("byte %zu of message %u is wrong", k, frame);
	}
}

/* Takes what is there; false: no memory. */
static bool
take(scene *s, spr_ep_reader *reader, stream *st)
{
	spr_ep_found found;
	spr_buf *buf;

	while ((found = spr_ep_reader_next(reader, 7, &buf)) == SPR_EP_FOUND_MESSAGE) {
		assert_true(st->n_found < st->n_frames);
		expect_message(st, st->n_found++, buf);
		if (s->holds)
			s->held[s->n_held++] = buf;
		else
			assert_true(spr_buf_drop(buf));
	}
	assert_true(found == SPR_EP_FOUND_NOTHING || found == SPR_EP_FOUND_STARVED);
	return (found == SPR_EP_FOUND_NOTHING);
}

/* At most n more bytes come, in one read; false: no memory, nothing was read. */
static bool
feed(spr_ep_reader *reader, stream *st, size_t n)
{
	struct iovec iov[2];
	unsigned n_parts = spr_ep_reader_room(reader, iov);
	size_t left = st->len - st->sent < n ? st->len - st->sent : n, before = st->sent;

	for (unsigned i = 0; i < n_parts; i++) {
		size_t k = left < iov[i].iov_len ? left : iov[i].iov_len;

		assert_true(iov[i].iov_len > 0);
		memcpy(iov[i].iov_base, st->bytes + st->sent, k);
		st->sent += k;
		left -= k;
	}
	if (n_parts > 0)
		spr_ep_reader_took(reader, st->sent - before);
	return (n_parts > 0);
}

static void
run_stream(scene *s, stream *st, size_t first, size_t piece)
{
	assert_true(feed(&s->reader[0], st, first));
	assert_true(take(s, &s->reader[0], st));
	while (st->sent < st->len) {
		assert_true(feed(&s->reader[0], st, piece));
		assert_true(take(s, &s->reader[0], st));
	}
	assert_int_equal(st->n_found, st->n_frames);
}

/* ---- wherever a stream is cut ---- */

static const size_t mixed[] = {0, 1, 7, 300, 0, 0, 255, 256, 2000, 8, 9, 5000, 3};

#define N_MIXED (sizeof(mixed) / sizeof(mixed[0]))

static void
test_a_stream_cut_at_every_byte(void **state)
{
	scene s;
	stream st;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		make_stream(&st, k, mixed, N_MIXED);
		for (size_t cut = 0; cut <= st.len; cut++) {
			open_scene(&s, 4, k);
			s.holds = cut % 2;
			st.sent = st.n_found = 0;
			run_stream(&s, &st, cut, st.len);
			close_scene(&s);
		}
		free(st.bytes);
	}
}

static void
test_a_stream_in_pieces(void **state)
{
	scene s;
	stream st;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		make_stream(&st, k, mixed, N_MIXED);
		for (size_t piece = 1; piece <= 600; piece++) {
			open_scene(&s, 4, k);
			s.holds = piece % 2;
			st.sent = st.n_found = 0;
			run_stream(&s, &st, piece, piece);
			close_scene(&s);
		}
		free(st.bytes);
	}
}

/* Long messages among short ones, held and let go at random, two connections in one slab, few slabs. */
static void
test_two_connections_share_slabs(void **state)
{
	uint64_t random = spr_test_seed();
	size_t lengths[2][MAX_FRAMES];
	stream st[2];
	scene s;

	(void)state;
	for (unsigned round = 0; round < 30; round++) {
		open_scene(&s, 1 + (unsigned)spr_test_below(&random, 3), false);
		for (unsigned i = 0; i < 2; i++) {
			for (unsigned n = 0; n < MAX_FRAMES; n++)
				lengths[i][n] = spr_test_below(
				    &random, spr_test_below(&random, 8) == 0 ? 200000 : 2000);
			make_stream(&st[i], false, lengths[i], MAX_FRAMES);
		}
		while (st[0].sent < st[0].len || st[1].sent < st[1].len) {
			unsigned i = (unsigned)spr_test_below(&random, 2);

			s.holds = spr_test_below(&random, 2);
			assert_true(
			    feed(&s.reader[i], &st[i], 1 + spr_test_below(&random, 300000)));
			assert_true(take(&s, &s.reader[i], &st[i]));
			if (spr_test_below(&random, 8) == 0)
				drop_held(&s);
		}
		assert_int_equal(st[0].n_found + st[1].n_found, 2 * MAX_FRAMES);
		close_scene(&s);
		free(st[0].bytes);
		free(st[1].bytes);
	}
}

/* ---- memory ---- */

/* n messages of 100 bytes come in one read; how many of them were copied. */
static unsigned
count_copies(scene *s, unsigned n)
{
	size_t lengths[MAX_FRAMES];
	stream st;
	unsigned long before;

	for (unsigned i = 0; i < n; i++)
		lengths[i] = 100;
	make_stream(&st, false, lengths, n);
	(void)feed(&s->reader[0], &st, 0); /* the slab is there before it counts */
	spr_mem_fail_at(0);
	before = spr_mem_count();
	run_stream(s, &st, st.len, st.len);
	free(st.bytes);
	return ((unsigned)(spr_mem_count() - before));
}

/* Nothing is copied while there are slabs, everything when all are held, nothing when they are back. */
static void
test_held_slabs(void **state)
{
	size_t held = 0;
	scene s;

	(void)state;
	open_scene(&s, 2, false);
	s.holds = true;
	while (held + 50 * 108 <= 2 * (SPR_EP_SLAB_BYTES - SPR_EP_SLAB_ROOM)) {
		assert_int_equal(count_copies(&s, 50), 0);
		held += 50 * 108;
	}
	while (count_copies(&s, 50) == 0) { /* what is left of the room */
		held += 50 * 108;
		assert_true(held <= 2 * SPR_EP_SLAB_BYTES);
	}
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(count_copies(&s, 50), 50);
	drop_held(&s);
	assert_int_equal(count_copies(&s, 50), 0);
	close_scene(&s);
}

/* What comes and goes stays in the same lines of one slab. */
static void
test_a_slab_that_nobody_holds(void **state)
{
	scene s;

	(void)state;
	open_scene(&s, 2, false);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(count_copies(&s, 50), 0);
	close_scene(&s);
}

/* So many that there are no slices left: the rest is copied. */
static void
test_tiny_messages(void **state)
{
	enum { N = SPR_EP_SLAB_SLICES + 1000 };
	struct iovec iov[2];
	spr_buf *buf;
	scene s;

	(void)state;
	open_scene(&s, 2, false);
	assert_int_equal(spr_ep_reader_room(&s.reader[0], iov), 1);
	assert_true(iov[0].iov_len >= N * 8);
	memset(iov[0].iov_base, 0, N * 8);
	spr_ep_reader_took(&s.reader[0], N * 8);
	spr_mem_fail_at(0);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(spr_ep_reader_next(&s.reader[0], 7, &buf), SPR_EP_FOUND_MESSAGE);
		assert_int_equal(buf->len, 0);
		s.held[s.n_held++] = buf;
	}
	assert_int_equal(spr_ep_reader_next(&s.reader[0], 7, &buf), SPR_EP_FOUND_NOTHING);
	assert_int_equal(spr_mem_count(), 1000);
	close_scene(&s);
}

/* A message that was announced and does not come takes little. */
static void
test_memory_grows_with_what_came(void **state)
{
	const size_t length = MAX_MESSAGE;
	stream st;
	scene s;

	(void)state;
	open_scene(&s, 2, false);
	make_stream(&st, false, &length, 1);
	while (st.sent < st.len) {
		assert_true(feed(&s.reader[0], &st, 3000));
		assert_true(take(&s, &s.reader[0], &st));
		if (s.reader[0].own != NULL)
			assert_in_range(s.reader[0].own_capacity, s.reader[0].own_have,
					2 * s.reader[0].own_have + 4096);
	}
	assert_int_equal(st.n_found, 1);
	close_scene(&s);
	free(st.bytes);
}

static void *
drop_in_thread(void *arg)
{
	drop_held(arg);
	return (NULL);
}

static void
test_messages_outlive_their_slabs(void **state)
{
	pthread_t thread;
	scene s;

	(void)state;
	open_scene(&s, 2, false);
	s.holds = true;
	for (unsigned i = 0; i < 100; i++)
		(void)count_copies(&s, 50);
	spr_ep_slabs_free(s.slabs);
	s.slabs = NULL;
	assert_int_equal(pthread_create(&thread, NULL, drop_in_thread, &s), 0);
	pthread_join(thread, NULL);
	close_scene(&s);
}

/* Each allocation fails in turn; asked again, nothing is lost. */
static void
test_no_memory(void **state)
{
	static const size_t lengths[] = {10, 100000, 300, 70000, 300000, 5, 200};
	unsigned n_failed = 0;
	unsigned long n = 0;
	spr_ep_slabs *slabs = NULL;
	stream st;
	scene s;
	bool failed;

	(void)state;
	for (n = 1; n <= 2; n++) {
		spr_mem_fail_at(n);
		assert_fails(spr_ep_slabs_new(&slabs, 1), SPR_E_NOMEM);
	}
	spr_mem_fail_at(0);
	make_stream(&st, true, lengths, 7);
	do {
		open_scene(&s, 1, true);
		s.holds = true;
		st.sent = st.n_found = 0;
		failed = false;
		spr_mem_fail_at(n++ - 2);
		while (st.n_found < st.n_frames) {
			if (feed(&s.reader[0], &st, 50000) && take(&s, &s.reader[0], &st))
				continue;
			spr_mem_fail_at(0);
			failed = true;
			n_failed++;
			assert_true(take(&s, &s.reader[0], &st));
		}
		spr_mem_fail_at(0);
		close_scene(&s);
	} while (failed || n < 12);
	assert_in_range(n_failed, 5, 100);
	free(st.bytes);
}

/* ---- what ends a connection ---- */

static void
expect_end(bool is_ipc, const char *bytes, size_t len, spr_counter counter)
{
	uint64_t n = spr_counter_sum(counter);
	stream st = {.bytes = malloc(len + 32), .is_ipc = is_ipc};
	spr_buf *buf;
	scene s;

	put_head(&st, 0); /* one that is right */
	memcpy(st.bytes + st.len, bytes, len);
	st.len += len;
	open_scene(&s, 2, is_ipc);
	assert_true(feed(&s.reader[0], &st, st.len));
	assert_int_equal(spr_ep_reader_next(&s.reader[0], 7, &buf), SPR_EP_FOUND_MESSAGE);
	assert_true(spr_buf_drop(buf));
	assert_int_equal(spr_ep_reader_next(&s.reader[0], 7, &buf), SPR_EP_FOUND_END);
	assert_int_equal(spr_counter_sum(counter), n + 1);
	close_scene(&s);
	free(st.bytes);
}

static void
test_bad_frames(void **state)
{
	(void)state;
	expect_end(false, "\x80\0\0\0\0\0\0\0", 8, SPR_C_PEERS_CUT_MALFORMED);
	expect_end(false, "\0\0\0\0\0\x10\0\1", 8, SPR_C_PEERS_CUT_TOO_LARGE);
	expect_end(false, "\x7f\xff\xff\xff\xff\xff\xff\xff", 8, SPR_C_PEERS_CUT_TOO_LARGE);
	expect_end(true, "\0", 1, SPR_C_PEERS_CUT_MALFORMED);
	expect_end(true, "\2\0\0\0\0\0\0\0\1", 9, SPR_C_PEERS_CUT_MALFORMED);
	expect_end(true, "\1\0\0\0\0\0\x10\0\1", 9, SPR_C_PEERS_CUT_TOO_LARGE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_stream_cut_at_every_byte),
	    cmocka_unit_test(test_a_stream_in_pieces),
	    cmocka_unit_test(test_two_connections_share_slabs),
	    cmocka_unit_test(test_held_slabs),
	    cmocka_unit_test(test_a_slab_that_nobody_holds),
	    cmocka_unit_test(test_tiny_messages),
	    cmocka_unit_test(test_memory_grows_with_what_came),
	    cmocka_unit_test(test_messages_outlive_their_slabs),
	    cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_bad_frames),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
