/*
 * test_ep_writer - one connection's writer against a kernel that takes as many bytes as the test says: what it calls taken
 * is exactly what was taken whole, what it gives up is exactly the rest, and the stream is the frames in their order, cut
 * wherever it may be. sendmsg and ioctl are this program's own.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "spr_test.h"

#include "net/ep_writer.h"

#define MAX_FRAMES 64
#define N_LANES    2
#define MAX_STREAM (1u << 20)

/* ---- the kernel ---- */

static struct {
	uint8_t stream[MAX_STREAM];
	size_t len;
	size_t room;    /* it takes so much more */
	bool is_broken; /* after that */
	int unacked;
	unsigned n_calls;
} kernel;

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
	size_t n = 0;

	assert_int_equal(fd, -7);
	assert_int_equal(flags, MSG_DONTWAIT | MSG_NOSIGNAL);
	kernel.n_calls++;
	for (size_t i = 0; i < message->msg_iovlen; i++) {
		size_t part = message->msg_iov[i].iov_len;

		assert_true(part > 0);
		part = part < kernel.room ? part : kernel.room;
		memcpy(kernel.stream + kernel.len, message->msg_iov[i].iov_base, part);
		kernel.len += part;
		kernel.room -= part;
		n += part;
	}
	if (n > 0)
		return ((ssize_t)n);
	errno = kernel.is_broken ? ECONNRESET : EAGAIN;
	return (-1);
}

int
ioctl(int fd, unsigned long request, ...)
{
	va_list args;

	assert_int_equal(fd, -7);
	assert_int_equal(request, SIOCOUTQ);
	va_start(args, request);
	*va_arg(args, int *) = kernel.unacked;
	va_end(args);
	return (0);
}

/* ---- the twin ---- */

typedef struct scene {
	spr_push_lane *lane[N_LANES];
	spr_ep_writer *writer;
	spr_ep_written out;
	unsigned n;
	size_t end[MAX_FRAMES]; /* of each frame in the stream */
	unsigned lane_of[MAX_FRAMES];
	uint8_t stream[MAX_STREAM]; /* as it should be */
	size_t len;
	bool is_ipc;
} scene;

static unsigned n_ended;

static void
on_done(void *lane_arg, void *const *cookies, unsigned n, size_t bytes, spr_err result)
{
	(void)lane_arg;
	(void)cookies;
	(void)bytes;
	(void)result;
	n_ended += n;
}

/* 0: tcp, 1: unix sockets, 2: tcp with frames made for unix sockets, 3: the other way round */
static void
begin(scene *s, unsigned kind, bool awaits_tcp)
{
	memset(&kernel, 0, sizeof(kernel));
	memset(s, 0, sizeof(*s));
	s->is_ipc = kind == 1 || kind == 3;
	for (unsigned i = 0; i < N_LANES; i++) {
		s->lane[i] = spr_ep_lane_new(NULL, MAX_FRAMES, NULL);
		s->lane[i]->has_lead = kind == 1 || kind == 2;
	}
	s->writer = spr_mem_zalloc_aligned(sizeof(*s->writer));
	spr_ep_writer_init(s->writer, -7, s->is_ipc, awaits_tcp);
}

static void
end(scene *s)
{
	spr_ep_queue *const queues[] = {&s->out.taken, &s->out.cancelled, &s->out.left};

	spr_ep_writer_leave(s->writer, &s->out);
	n_ended = 0;
	for (unsigned i = 0; i < 3; i++)
		spr_ep_frames_end(queues[i], on_done, SPR_OK);
	assert_int_equal(n_ended, s->n); /* each of them once */
	assert_int_equal(s->out.bytes, s->len);
	for (unsigned i = 0; i < N_LANES; i++)
		spr_ep_lane_free(s->lane[i]);
	spr_mem_free(s->writer);
}

static void
put(scene *s, const void *bytes, size_t len)
{
	memcpy(s->stream + s->len, bytes, len);
	s->len += len;
}

/* Each frame's bytes are its number. */
static void
give(scene *s, unsigned lane, size_t len, spr_ep_queue *chain)
{
	const uint8_t one = 1;
	uint8_t head[8];
	spr_ep_frame *frame = spr_ep_frame_new(s->lane[lane], len);

	assert_non_null(frame);
	memset(frame->data, (int)s->n, len);
	spr_ep_frame_seal(frame, len);
	frame->cookie = (void *)(uintptr_t)s->n;
	frame->aborts = s->lane[lane]->n_aborts;
	spr_ep_queue_append(chain, frame);
	if (s->is_ipc)
		put(s, &one, 1);
	for (unsigned i = 0; i < 8; i++)
		head[i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
	put(s, head, 8);
	put(s, frame->data, len);
	s->lane_of[s->n] = lane;
	s->end[s->n++] = s->len;
}

/* Few, of lengths about which mistakes are made; in two chains. */
static void
give_some(scene *s)
{
	static const size_t lens[] = {3, 0, 1, 20, 0, 7};
	spr_ep_queue chain = {0};

	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		give(s, i % 3 == 2, lens[i], &chain);
		if (i == 2)
			spr_ep_writer_give(s->writer, &chain);
	}
	spr_ep_writer_give(s->writer, &chain);
}

static void
expect_frame(const spr_ep_frame *frame, unsigned number)
{
	assert_non_null(frame);
	assert_int_equal((uintptr_t)frame->cookie, number);
}

/* Those frames that end up to the cut, or those behind it, in their order. */
static void
expect_queue(const scene *s, const spr_ep_queue *queue, size_t cut, bool is_before)
{
	const spr_ep_frame *frame = queue->head;
	unsigned n = 0;

	for (unsigned i = 0; i < s->n; i++) {
		if ((s->end[i] <= cut) != is_before)
			continue;
		expect_frame(frame, i);
		frame = frame->next;
		n++;
	}
	assert_null(frame);
	assert_int_equal(queue->n, n);
}

static void
expect_stream(const scene *s, size_t len)
{
	assert_int_equal(kernel.len, len);
	assert_memory_equal(kernel.stream, s->stream, len);
}

#define FOR_EACH_CUT(s, kind, cut)                \
	for (unsigned kind = 0; kind < 4; kind++) \
		for (size_t cut = 0, last_ = 1; cut <= last_; last_ = (s)->len, cut++)

/* It goes on where it stopped. */
static void
test_cut_and_go_on(void **state)
{
	static scene s;

	(void)state;
	FOR_EACH_CUT(&s, kind, cut)
	{
		begin(&s, kind, false);
		give_some(&s);
		kernel.room = cut;
		assert_int_equal(spr_ep_writer_write(s.writer, &s.out),
				 cut == s.len ? SPR_EP_WRITE_IDLE : SPR_EP_WRITE_BLOCKED);
		expect_stream(&s, cut);
		expect_queue(&s, &s.out.taken, cut, true);
		kernel.room = s.len;
		assert_int_equal(spr_ep_writer_write(s.writer, &s.out), SPR_EP_WRITE_IDLE);
		expect_stream(&s, s.len);
		expect_queue(&s, &s.out.taken, s.len, true);
		end(&s);
	}
}

/* The connection is lost there: the others get the rest, the cut frame too. */
static void
test_cut_and_lost(void **state)
{
	static scene s;

	(void)state;
	FOR_EACH_CUT(&s, kind, cut)
	{
		begin(&s, kind, false);
		give_some(&s);
		kernel.room = cut;
		(void)spr_ep_writer_write(s.writer, &s.out);
		kernel.is_broken = true;
		assert_int_equal(spr_ep_writer_write(s.writer, &s.out),
				 cut == s.len ? SPR_EP_WRITE_IDLE : SPR_EP_WRITE_BROKEN);
		spr_ep_writer_leave(s.writer, &s.out);
		expect_queue(&s, &s.out.taken, cut, true);
		expect_queue(&s, &s.out.left, cut, false);
		assert_null(s.out.cancelled.head);
		end(&s);
	}
}

/* A lane is aborted there: its frames that are not taken are cancelled, and a cut one costs the connection. */
static void
test_cut_and_aborted(void **state)
{
	static scene s;

	(void)state;
	FOR_EACH_CUT(&s, kind, cut)
	{
		for (unsigned lane = 0; lane < N_LANES; lane++) {
			bool is_cut = false;
			unsigned n_cancelled = 0, n_taken = 0;
			size_t before = 0;

			begin(&s, kind, false);
			give_some(&s);
			kernel.room = cut;
			(void)spr_ep_writer_write(s.writer, &s.out);
			for (unsigned i = 0; i < s.n; before = s.end[i++]) {
				n_taken += s.end[i] <= cut;
				n_cancelled += s.end[i] > cut && s.lane_of[i] == lane;
				is_cut |= before < cut && cut < s.end[i] && s.lane_of[i] == lane;
			}
			s.lane[lane]->n_aborts++;
			assert_int_equal(spr_ep_writer_abort(s.writer, &s.out), !is_cut);
			assert_int_equal(s.out.cancelled.n, n_cancelled);
			assert_int_equal(s.out.taken.n, n_taken);
			if (!is_cut) { /* the others' go on */
				kernel.room = s.len;
				assert_int_equal(spr_ep_writer_write(s.writer, &s.out),
						 SPR_EP_WRITE_IDLE);
				assert_int_equal(s.out.taken.n, s.n - n_cancelled);
			}
			end(&s);
		}
	}
}

/* Taken is what TCP has acknowledged, to the byte; the rest is everybody else's when the connection is lost. */
static void
test_acknowledged_there(void **state)
{
	static scene s;

	(void)state;
	FOR_EACH_CUT(&s, kind, cut)
	{
		begin(&s, kind, true);
		give_some(&s);
		kernel.room = s.len;
		assert_int_equal(spr_ep_writer_write(s.writer, &s.out), SPR_EP_WRITE_IDLE);
		assert_null(s.out.taken.head);
		kernel.unacked = (int)s.len + 8; /* the handshake, too */
		assert_true(spr_ep_writer_poll(s.writer, &s.out));
		assert_null(s.out.taken.head);
		kernel.unacked = (int)(s.len - cut);
		assert_int_equal(spr_ep_writer_poll(s.writer, &s.out), cut < s.len);
		expect_queue(&s, &s.out.taken, cut, true);
		spr_ep_writer_leave(s.writer, &s.out);
		expect_queue(&s, &s.out.left, cut, false);
		end(&s);
	}
}

/* Many frames of all lengths, given and taken in random pieces. */
static void
test_random(void **state)
{
	static scene s;
	uint64_t random = spr_test_seed();

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		bool awaits_tcp = round % 3 == 0;

		begin(&s, round % 4, awaits_tcp);
		while (s.n < MAX_FRAMES) {
			spr_ep_queue chain = {0};
			unsigned n = 1 + (unsigned)spr_test_below(&random, MAX_FRAMES - s.n);

			while (n-- > 0)
				give(&s, (unsigned)spr_test_below(&random, N_LANES),
				     (size_t)spr_test_below(&random, n % 5 == 0 ? 5000 : 50),
				     &chain);
			spr_ep_writer_give(s.writer, &chain);
			kernel.room = (size_t)spr_test_below(&random, s.len - kernel.len + 1);
			(void)spr_ep_writer_write(s.writer, &s.out);
			kernel.unacked = (int)spr_test_below(&random, kernel.len + 1);
			(void)spr_ep_writer_poll(s.writer, &s.out);
			if (!awaits_tcp)
				expect_queue(&s, &s.out.taken, kernel.len, true);
		}
		kernel.room = s.len;
		while (spr_ep_writer_write(s.writer, &s.out) == SPR_EP_WRITE_MORE)
			continue;
		kernel.unacked = 0;
		(void)spr_ep_writer_poll(s.writer, &s.out);
		expect_stream(&s, s.len);
		expect_queue(&s, &s.out.taken, s.len, true);
		end(&s);
	}
}

/* What comes together goes together. */
static void
test_one_call(void **state)
{
	static scene s;
	spr_ep_queue chain = {0};

	(void)state;
	begin(&s, 0, false);
	for (unsigned i = 0; i < MAX_FRAMES; i++)
		give(&s, 0, 256, &chain);
	spr_ep_writer_give(s.writer, &chain);
	kernel.room = s.len;
	assert_int_equal(spr_ep_writer_write(s.writer, &s.out), SPR_EP_WRITE_IDLE);
	assert_int_equal(kernel.n_calls, 1);
	assert_int_equal(spr_ep_writer_write(s.writer, &s.out), SPR_EP_WRITE_IDLE);
	assert_int_equal(kernel.n_calls, 1);
	end(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cut_and_go_on),   cmocka_unit_test(test_cut_and_lost),
	    cmocka_unit_test(test_cut_and_aborted), cmocka_unit_test(test_acknowledged_there),
	    cmocka_unit_test(test_random),          cmocka_unit_test(test_one_call),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
