/*
 * fuzz_ep_writer - the outgoing queues of two connections against a kernel that takes as many bytes as the input says, cuts
 * and errors included: what is written is the frames in their order, what is called taken is what was taken whole (or
 * acknowledged), and a lost connection gives back exactly the rest, which goes to the other one. Each frame ends once.
 *
 * Two bytes choose kinds of sockets, whether TCP is awaited, and which lanes make frames for unix sockets; then each byte is a
 * step, and what a step needs follows it. sendmsg and ioctl are this program's own.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "net/ep_writer.h"

#define N_LINKS    2
#define N_LANES    2
#define MAX_FRAMES 512
#define MAX_BYTES  ((size_t)4 << 20) /* of all frames */
#define FIRST_FD   1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stays on in every build, unlike an assert. */
static void
check(bool is_so)
{
	if (!is_so)
		abort();
}

/* ---- the model ---- */

typedef struct numbers {
	unsigned number[MAX_FRAMES];
	unsigned n;
} numbers;

/* A connection, and what the model says of it. */
typedef struct link {
	spr_ep_writer *writer;
	bool is_ipc, awaits_tcp;
	numbers queue; /* not in the kernel whole */
	size_t sent;   /* bytes of the first that are */
	numbers unacked;
	size_t end[MAX_FRAMES]; /* in the stream, of those in unacked; by number */
	size_t written;
	/* its kernel */
	size_t room;
	int error, unacked_bytes;
} link;

typedef struct run {
	const uint8_t *at, *end;
	spr_push_lane *lane[N_LANES];
	link links[N_LINKS];
	/* of each frame */
	unsigned n;
	size_t bytes, len[MAX_FRAMES];
	unsigned lane_of[MAX_FRAMES];
	uint32_t aborts[MAX_FRAMES];
	bool is_ended[MAX_FRAMES];
} run;

static run *the_run;

static bool
is_aborted(const run *r, unsigned number)
{
	return (r->aborts[number] != r->lane[r->lane_of[number]]->n_aborts);
}

static size_t
size_of(const run *r, const link *l, unsigned number)
{
	return (r->len[number] + 8 + (l->is_ipc ? 1 : 0));
}

static uint8_t
byte_of(const run *r, const link *l, unsigned number, size_t at)
{
	size_t head = l->is_ipc ? 9 : 8;

	if (l->is_ipc && at == 0)
		return (1);
	if (at < head)
		return ((uint8_t)((uint64_t)r->len[number] >> (8 * (head - 1 - at))));
	return ((uint8_t)(number * 7 + (at - head)));
}

static void
add(numbers *list, unsigned number)
{
	list->number[list->n++] = number;
}

static unsigned
take_first(numbers *list)
{
	unsigned number = list->number[0];

	memmove(list->number, list->number + 1, --list->n * sizeof(list->number[0]));
	return (number);
}

/* ---- the kernel ---- */

/* One byte more is in the stream; it is the one that has to come. */
static void
take_byte(run *r, link *l, uint8_t byte)
{
	check(l->queue.n > 0);
	check(byte == byte_of(r, l, l->queue.number[0], l->sent));
	l->written++;
	if (++l->sent < size_of(r, l, l->queue.number[0]))
		return;
	l->sent = 0;
	l->end[l->queue.number[0]] = l->written;
	add(&l->unacked, take_first(&l->queue));
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
	link *l = &the_run->links[fd - FIRST_FD];
	size_t n = 0;

	check(flags == (MSG_DONTWAIT | MSG_NOSIGNAL) && message->msg_iovlen > 0);
	for (size_t i = 0; i < message->msg_iovlen; i++) {
		const struct iovec *part = &message->msg_iov[i];

		check(part->iov_len > 0);
		for (size_t k = 0; k < part->iov_len && l->room > 0; k++, n++, l->room--)
			take_byte(the_run, l, ((const uint8_t *)part->iov_base)[k]);
	}
	if (n > 0)
		return ((ssize_t)n);
	errno = l->error;
	if (l->error == EINTR)
		l->error = EAGAIN;
	return (-1);
}

int
ioctl(int fd, unsigned long request, ...)
{
	va_list args;

	check(request == SIOCOUTQ);
	va_start(args, request);
	*va_arg(args, int *) = the_run->links[fd - FIRST_FD].unacked_bytes;
	va_end(args);
	return (0);
}

/* ---- what comes out ---- */

static void
on_done(void *lane_arg, void *const *cookies, unsigned n, size_t bytes, spr_err result)
{
	(void)lane_arg;
	for (unsigned i = 0; i < n; i++) {
		unsigned number = (unsigned)(uintptr_t)cookies[i];

		check(!the_run->is_ended[number] && bytes >= the_run->len[number]);
		check(result == SPR_OK || is_aborted(the_run, number));
		the_run->is_ended[number] = true;
		bytes -= the_run->len[number];
	}
	check(bytes == 0);
}

static void
expect(const spr_ep_queue *queue, const numbers *wanted)
{
	const spr_ep_frame *frame = queue->head;

	check(queue->n == wanted->n);
	for (unsigned i = 0; i < wanted->n; i++, frame = frame->next)
		check(frame != NULL && (uintptr_t)frame->cookie == wanted->number[i]);
	check(frame == NULL);
}

static void
end_frames(spr_ep_written *out)
{
	spr_ep_frames_end(&out->taken, on_done, SPR_OK);
	spr_ep_frames_end(&out->cancelled, on_done, SPR_E_CANCELLED);
}

/* What the model's list has of those that end up to the byte `acked`. */
static numbers
take_acked(link *l, size_t acked)
{
	numbers taken = {.n = 0};

	while (l->unacked.n > 0 && l->end[l->unacked.number[0]] <= acked)
		add(&taken, take_first(&l->unacked));
	return (taken);
}

/* ---- steps ---- */

static unsigned
next(run *r)
{
	return (r->at < r->end ? *r->at++ : 0);
}

static void
add_frame(run *r, link *l, unsigned lane, size_t len, spr_ep_queue *chain)
{
	spr_ep_frame *frame;

	if (r->n == MAX_FRAMES || r->bytes + len > MAX_BYTES)
		return;
	r->bytes += len;
	frame = spr_ep_frame_new(r->lane[lane], len + len % 3); /* made smaller when it is sealed */
	check(frame != NULL);
	for (size_t i = 0; i < len; i++)
		frame->data[i] = (uint8_t)(r->n * 7 + i);
	spr_ep_frame_seal(frame, len);
	frame->cookie = (void *)(uintptr_t)r->n;
	frame->aborts = r->aborts[r->n] = r->lane[lane]->n_aborts;
	r->len[r->n] = len;
	r->lane_of[r->n] = lane;
	add(&l->queue, r->n++);
	spr_ep_queue_append(chain, frame);
}

static void
give(run *r, link *l, unsigned how)
{
	unsigned n = 1 + how % 8, x = next(r);
	size_t len = how & 8 ? (size_t)x * x * 3 : x; /* up to 195,075 */
	spr_ep_queue chain = {0};

	for (unsigned i = 0; i < n; i++)
		add_frame(r, l, (x + i) % N_LANES, len + i, &chain);
	if (chain.head != NULL)
		spr_ep_writer_give(l->writer, &chain);
}

static void
write_some(run *r, link *l, size_t room, int error)
{
	spr_ep_written out = {0};
	size_t before = l->written;
	spr_ep_write state;
	numbers taken;

	l->room = room;
	l->error = error;
	state = spr_ep_writer_write(l->writer, &out);
	check(l->written - before <= room);
	check((state == SPR_EP_WRITE_IDLE) == (l->queue.n == 0));
	check(state != SPR_EP_WRITE_BROKEN || error == ECONNRESET);
	check(state != SPR_EP_WRITE_BLOCKED || l->room == 0);
	taken = l->awaits_tcp ? (numbers){.n = 0} : take_acked(l, l->written);
	expect(&out.taken, &taken);
	check(out.cancelled.head == NULL && out.left.head == NULL);
	end_frames(&out);
	(void)r;
}

static void
poll_tcp(link *l, size_t unacked)
{
	spr_ep_written out = {0};
	numbers taken;
	bool waits;

	l->unacked_bytes = (int)unacked;
	waits = spr_ep_writer_poll(l->writer, &out);
	/* more than was written is the handshake's */
	taken = take_acked(l, unacked > l->written || !l->awaits_tcp ? 0 : l->written - unacked);
	expect(&out.taken, &taken);
	check(waits == (l->unacked.n > 0));
	end_frames(&out);
}

static void
take_aborted(const run *r, numbers *list, numbers *cancelled)
{
	numbers kept = {.n = 0};

	for (unsigned i = 0; i < list->n; i++)
		add(is_aborted(r, list->number[i]) ? cancelled : &kept, list->number[i]);
	*list = kept;
}

static void
open_link(link *l, unsigned number)
{
	l->writer = spr_mem_zalloc_aligned(sizeof(*l->writer));
	check(l->writer != NULL);
	spr_ep_writer_init(l->writer, FIRST_FD + (int)number, l->is_ipc, l->awaits_tcp);
	l->queue.n = l->unacked.n = 0;
	l->sent = l->written = 0;
}

/* What it leaves is the other's, in its order; another connection takes its place. */
static void
lose(run *r, link *l, link *other)
{
	spr_ep_written out = {0};
	numbers left = {.n = 0}, cancelled = {.n = 0};

	spr_ep_writer_leave(l->writer, &out);
	for (unsigned i = 0; i < l->unacked.n; i++)
		add(&left, l->unacked.number[i]);
	for (unsigned i = 0; i < l->queue.n; i++)
		add(&left, l->queue.number[i]);
	take_aborted(r, &left, &cancelled);
	expect(&out.left, &left);
	expect(&out.cancelled, &cancelled);
	check(out.taken.head == NULL);
	end_frames(&out);
	for (unsigned i = 0; i < left.n; i++)
		add(&other->queue, left.number[i]);
	if (out.left.head != NULL)
		spr_ep_writer_give(other->writer, &out.left);
	spr_mem_free(l->writer);
	open_link(l, (unsigned)(l - r->links));
}

/* False: a frame was cut, and the connection is lost. */
static bool
take_abort(run *r, link *l)
{
	spr_ep_written out = {0};
	numbers cancelled = {.n = 0};
	bool is_cut = l->sent > 0 && is_aborted(r, l->queue.number[0]);

	check(spr_ep_writer_abort(l->writer, &out) == !is_cut);
	take_aborted(r, &l->queue, &cancelled);
	take_aborted(r, &l->unacked, &cancelled);
	expect(&out.cancelled, &cancelled);
	check(out.taken.head == NULL && out.left.head == NULL);
	end_frames(&out);
	return (!is_cut);
}

static void
abort_lane(run *r, unsigned lane)
{
	r->lane[lane]->n_aborts++;
	for (unsigned i = 0; i < N_LINKS; i++) {
		if (!take_abort(r, &r->links[i]))
			lose(r, &r->links[i], &r->links[N_LINKS - 1 - i]);
	}
}

static void
step(run *r)
{
	static const int errors[] = {EAGAIN, EINTR, ENOBUFS, ECONNRESET};
	unsigned what = next(r), x;
	link *l = &r->links[what >> 3 & 1];

	switch (what & 7) {
	case 0:
	case 1:
		give(r, l, what >> 4);
		break;
	case 2:
		x = next(r);
		write_some(r, l, x, errors[what >> 4 & 3]);
		break;
	case 3:
		x = next(r);
		write_some(r, l, (size_t)x * x * 11, errors[what >> 4 & 3]);
		break;
	case 4:
		poll_tcp(l, (size_t)next(r) * (1 + l->written / 200));
		break;
	case 5:
		abort_lane(r, what >> 4 & 1);
		break;
	case 6:
		lose(r, l, l == r->links ? r->links + 1 : r->links);
		break;
	case 7:
		r->lane[what >> 4 & 1]->has_lead ^= true;
		break;
	}
}

static void
finish(run *r)
{
	for (unsigned i = 0; i < N_LINKS; i++) {
		link *l = &r->links[i];

		while (l->queue.n > 0)
			write_some(r, l, SIZE_MAX, EAGAIN);
		poll_tcp(l, 0);
		check(l->unacked.n == 0 && l->writer->queue.head == NULL);
		spr_mem_free(l->writer);
	}
	for (unsigned i = 0; i < r->n; i++)
		check(r->is_ended[i]);
	for (unsigned i = 0; i < N_LANES; i++)
		spr_ep_lane_free(r->lane[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run *r = calloc(1, sizeof(*r));
	unsigned kinds, lanes;

	check(r != NULL);
	the_run = r;
	r->at = data;
	r->end = data + size;
	kinds = next(r);
	lanes = next(r);
	for (unsigned i = 0; i < N_LANES; i++) {
		r->lane[i] = spr_ep_lane_new(NULL, MAX_FRAMES, NULL);
		check(r->lane[i] != NULL);
		r->lane[i]->has_lead = (lanes >> i & 1) != 0;
	}
	for (unsigned i = 0; i < N_LINKS; i++) {
		r->links[i].is_ipc = (kinds >> i & 1) != 0;
		r->links[i].awaits_tcp = (kinds >> (2 + i) & 1) != 0;
		open_link(&r->links[i], i);
	}
	while (r->at < r->end)
		step(r);
	finish(r);
	free(r);
	return (0);
}
