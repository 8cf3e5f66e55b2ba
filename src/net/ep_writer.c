/*
 * ep_writer - frames become parts, parts one system call.
 *
 * Frames that stand side by side in their chunk are one part: the kernel walks parts, and a job is short. sendmsg, because
 * writev has no MSG_NOSIGNAL.
 */
#include "net/ep_writer.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PARTS      128
#define CALL_BYTES (256 * 1024) /* more in a call gains nothing, and is not in the cache any more */
#define TURN_CALLS 8

void
spr_ep_writer_init(spr_ep_writer *self, int fd, bool is_ipc, bool awaits_tcp)
{
	self->fd = fd;
	self->is_ipc = is_ipc;
	self->awaits_tcp = awaits_tcp;
	spr_stack_init(&self->given);
}

void
spr_ep_writer_give(spr_ep_writer *self, spr_ep_queue *frames)
{
	spr_ep_queue_push(frames, &self->given);
}

/* ---- parts ---- */

typedef struct parts {
	struct iovec iov[PARTS];
	unsigned n;
	size_t skip; /* bytes that are in the kernel already */
	size_t bytes;
} parts;

static void
add_part(parts *p, uint8_t *data, size_t len)
{
	size_t skip = p->skip < len ? p->skip : len;
	struct iovec *last = &p->iov[p->n];

	p->skip -= skip;
	data += skip;
	len -= skip;
	p->bytes += len;
	if (p->n > 0 && (uint8_t *)last[-1].iov_base + last[-1].iov_len == data)
		last[-1].iov_len += len;
	else if (len > 0)
		p->iov[p->n++] = (struct iovec){.iov_base = data, .iov_len = len};
}

static void
add_frame(parts *p, const spr_ep_frame *frame, bool is_ipc)
{
	static uint8_t lead =
	    1; /* for a frame that was made without, as when both kinds of sockets are there */
	uint8_t *head = frame->data - SPR_EP_LENGTH_BYTES;

	if (is_ipc && spr_ep_frame_has_lead(frame)) {
		add_part(p, head - 1, frame->len + SPR_EP_LENGTH_BYTES + 1);
		return;
	}
	if (is_ipc)
		add_part(p, &lead, 1);
	add_part(p, head, frame->len + SPR_EP_LENGTH_BYTES);
}

static ssize_t
send_parts(int fd, parts *p)
{
	struct msghdr message = {.msg_iov = p->iov, .msg_iovlen = p->n};
	ssize_t n;

	do {
		n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return (n);
}

/* ---- what comes out ---- */

static void
put_out(spr_ep_writer *self, spr_ep_queue *to, spr_ep_frame *frame, spr_ep_written *out)
{
	out->bytes += spr_ep_writer_size(self, frame);
	spr_ep_queue_append(to, frame);
}

/* Frames that are in the kernel whole. */
static void
take_sent(spr_ep_writer *self, spr_ep_written *out)
{
	spr_ep_frame *frame;
	size_t size;

	while ((frame = self->queue.head) != NULL &&
	       self->sent >= (size = spr_ep_writer_size(self, frame))) {
		(void)spr_ep_queue_take(&self->queue);
		self->sent -= size;
		if (!self->awaits_tcp) {
			put_out(self, &out->taken, frame, out);
			continue;
		}
		frame->end = self->written - self->sent;
		spr_ep_queue_append(&self->unacked, frame);
	}
}

/* False: broken. The first call of a turn may find nothing to write. */
static spr_ep_write
write_once(spr_ep_writer *self, spr_ep_written *out)
{
	parts p;
	ssize_t n;

	if (self->queue.head == NULL)
		return (SPR_EP_WRITE_IDLE);
	p.n = 0;
	p.bytes = 0;
	p.skip = self->sent;
	for (const spr_ep_frame *frame = self->queue.head;
	     frame != NULL && p.n + 2 <= PARTS && p.bytes < CALL_BYTES; frame = frame->next)
		add_frame(&p, frame, self->is_ipc);
	if ((n = send_parts(self->fd, &p)) < 0)
		return (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ||
				errno == ENOMEM
			    ? SPR_EP_WRITE_BLOCKED
			    : SPR_EP_WRITE_BROKEN);
	self->written += (uint64_t)n;
	self->sent += (size_t)n;
	take_sent(self, out);
	if ((size_t)n < p.bytes)
		return (SPR_EP_WRITE_BLOCKED);
	return (self->queue.head == NULL ? SPR_EP_WRITE_IDLE : SPR_EP_WRITE_MORE);
}

spr_ep_write
spr_ep_writer_write(spr_ep_writer *self, spr_ep_written *out)
{
	spr_ep_write state = SPR_EP_WRITE_MORE;

	spr_ep_queue_pop(&self->queue, &self->given); /* E2 */
	for (unsigned n = 0; n < TURN_CALLS && state == SPR_EP_WRITE_MORE; n++)
		state = write_once(self, out);
	return (state);
}

bool
spr_ep_writer_poll(spr_ep_writer *self, spr_ep_written *out)
{
	int unacked;
	uint64_t acked;

	if (self->unacked.head == NULL)
		return (false);
	if (ioctl(self->fd, SIOCOUTQ, &unacked) != 0 || unacked < 0 ||
	    (uint64_t)unacked > self->written)
		return (true); /* the last of the handshake counts too */
	acked = self->written - (uint64_t)unacked;
	while (self->unacked.head != NULL && self->unacked.head->end <= acked)
		put_out(self, &out->taken, spr_ep_queue_take(&self->unacked), out);
	return (self->unacked.head != NULL);
}

/* Those that were aborted go, the others stay. */
static void
sift(spr_ep_writer *self, spr_ep_queue *queue, spr_ep_written *out)
{
	spr_ep_queue kept = {0};
	spr_ep_frame *frame;

	while ((frame = spr_ep_queue_take(queue)) != NULL) {
		if (spr_ep_frame_is_aborted(frame))
			put_out(self, &out->cancelled, frame, out);
		else
			spr_ep_queue_append(&kept, frame);
	}
	*queue = kept;
}

bool
spr_ep_writer_abort(spr_ep_writer *self, spr_ep_written *out)
{
	bool is_cut;

	spr_ep_queue_pop(&self->queue, &self->given); /* E2 */
	is_cut = self->sent > 0 && spr_ep_frame_is_aborted(self->queue.head);
	sift(self, &self->queue, out);
	sift(self, &self->unacked, out);
	return (!is_cut);
}

void
spr_ep_writer_leave(spr_ep_writer *self, spr_ep_written *out)
{
	spr_ep_queue *const queues[] = {&self->unacked, &self->queue};
	spr_ep_frame *frame;

	spr_ep_queue_pop(&self->queue, &self->given); /* E2 */
	self->sent = 0;
	for (unsigned i = 0; i < 2; i++) {
		while ((frame = spr_ep_queue_take(queues[i])) != NULL)
			put_out(self, spr_ep_frame_is_aborted(frame) ? &out->cancelled : &out->left,
				frame, out);
	}
}
