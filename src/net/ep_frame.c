/*
 * ep_frame - records and chunks, and their way back.
 *
 * A chunk begins with as many references as it can never have frames. Its owner counts the frames that it makes for itself and
 * takes the difference off when it goes on to another chunk, so making a frame costs no locked instruction, and ending a
 * run of them one. One allocation a job, and one part of the system call for each, were the first version.
 */
#include "net/ep_frame.h"

#include <endian.h>

#include "base/sync.h"

#define CHUNK_BYTES     (64 * 1024)
#define CHUNK_BYTES_MAX (512 * 1024) /* a longer job has one of its own, which is not kept */
#define MANY            (1u << 30)
#define LEAD_BYTES      (SPR_EP_LENGTH_BYTES + 1)

struct spr_ep_chunk {
	spr_stack_entry back;
	spr_ep_chunk *next; /* among the spare */
	spr_push_lane *lane;
	atomic_uint refs;
	/* the owner's */
	unsigned n_made;
	size_t used;
	/* constant */
	size_t size;
	bool has_lead, is_kept;
	uint8_t bytes[];
};

/* ---- chunks ---- */

static void
drop_chunk(spr_ep_chunk *chunk, unsigned n)
{
	/* E21 release: what I did with the bytes; acquire: what others did, before they are filled again */
	if (atomic_fetch_sub_explicit(&chunk->refs, n, memory_order_acq_rel) != n)
		return;
	if (chunk->is_kept)
		spr_mailbox_push(&chunk->lane->chunks_back, &chunk->back); /* E2 */
	else
		spr_mem_free(chunk);
}

/* Nobody else has it. */
static void
begin_chunk(spr_ep_chunk *chunk, bool has_lead)
{
	chunk->n_made = 0;
	chunk->used = 0;
	chunk->has_lead = has_lead;
	/* relaxed: the frames that are handed on publish it */
	atomic_store_explicit(&chunk->refs, MANY, memory_order_relaxed);
}

static spr_ep_chunk *
new_chunk(spr_push_lane *lane, size_t size, bool has_lead, bool is_kept)
{
	spr_ep_chunk *chunk = spr_mem_alloc(sizeof(*chunk) + size);

	if (chunk == NULL)
		return (NULL);
	chunk->lane = lane;
	chunk->size = size;
	chunk->is_kept = is_kept;
	begin_chunk(chunk, has_lead);
	return (chunk);
}

/* One of the lane's size that nobody uses, or NULL; smaller ones are from before it grew. */
static spr_ep_chunk *
take_spare(spr_push_lane *lane, bool has_lead)
{
	spr_stack_entry *entry, *next;

	for (entry = spr_mailbox_pop_all(&lane->chunks_back); entry != NULL; entry = next) {
		spr_ep_chunk *chunk = SPR_STACK_CONTAINER(entry, spr_ep_chunk, back);

		next = spr_stack_next(entry);
		chunk->next = lane->spare;
		lane->spare = chunk;
	}
	while (lane->spare != NULL) {
		spr_ep_chunk *chunk = lane->spare;

		lane->spare = chunk->next;
		if (chunk->size == lane->chunk_bytes) {
			begin_chunk(chunk, has_lead);
			return (chunk);
		}
		spr_mem_free(chunk);
	}
	return (NULL);
}

static bool
has_room(spr_ep_chunk *chunk, bool has_lead, size_t need)
{
	if (chunk == NULL)
		return (false);
	/* E21 acquire: every frame in it has ended, so it begins again while it is in the processor's cache */
	if (chunk->used > 0 &&
	    atomic_load_explicit(&chunk->refs, memory_order_acquire) == MANY - chunk->n_made)
		begin_chunk(chunk, has_lead);
	return (chunk->has_lead == has_lead && chunk->size - chunk->used >= need);
}

static void
leave_chunk(spr_push_lane *lane)
{
	spr_ep_chunk *chunk = lane->chunk;

	lane->chunk = NULL;
	if (chunk != NULL)
		drop_chunk(chunk, MANY - chunk->n_made);
}

/* The lane's chunk with that much room; one that is as long as a job for a job that is longer than a chunk. */
static spr_ep_chunk *
find_chunk(spr_push_lane *lane, bool has_lead, size_t need)
{
	spr_ep_chunk *chunk;

	if (has_room(lane->chunk, has_lead, need))
		return (lane->chunk);
	if (need > CHUNK_BYTES_MAX)
		return (new_chunk(lane, need, has_lead, false));
	while (lane->chunk_bytes < need)
		lane->chunk_bytes *= 2;
	if ((chunk = take_spare(lane, has_lead)) == NULL &&
	    (chunk = new_chunk(lane, lane->chunk_bytes, has_lead, true)) == NULL)
		return (NULL);
	leave_chunk(lane);
	lane->chunk = chunk;
	return (chunk);
}

/* ---- frames ---- */

static spr_ep_frame *
take_record(spr_push_lane *lane)
{
	spr_ep_queue back = {0};
	spr_ep_frame *frame;

	if (lane->free == NULL) {
		spr_ep_queue_pop(&back, &lane->frames_back); /* E2 */
		lane->free = back.head;
	}
	if ((frame = lane->free) != NULL)
		lane->free = frame->next;
	else
		frame = spr_mem_alloc(sizeof(*frame));
	return (frame);
}

spr_ep_frame *
spr_ep_frame_new(spr_push_lane *lane, size_t len)
{
	/* relaxed: either will do, it only spares a part; once, so that frame and chunk agree */
	bool has_lead = atomic_load_explicit(&lane->has_lead, memory_order_relaxed);
	size_t head = has_lead ? LEAD_BYTES : SPR_EP_LENGTH_BYTES;
	spr_ep_frame *frame;
	spr_ep_chunk *chunk;

	if (len > SIZE_MAX / 2 || (frame = take_record(lane)) == NULL)
		return (NULL);
	if ((chunk = find_chunk(lane, has_lead, head + len)) == NULL) {
		frame->next = lane->free;
		lane->free = frame;
		return (NULL);
	}
	frame->lane = lane;
	frame->chunk = chunk;
	frame->len = len;
	frame->data = chunk->bytes + chunk->used + head;
	chunk->used += head + len;
	chunk->n_made++;
	if (!chunk->is_kept) /* its one frame is all that holds it */
		atomic_store_explicit(&chunk->refs, 1,
				      memory_order_relaxed /* as in begin_chunk */);
	return (frame);
}

void
spr_ep_frame_seal(spr_ep_frame *frame, size_t len)
{
	spr_ep_chunk *chunk = frame->chunk;
	uint64_t length = htobe64(len);

	if (frame->data + frame->len == chunk->bytes + chunk->used)
		chunk->used -= frame->len - len;
	frame->len = len;
	memcpy(frame->data - SPR_EP_LENGTH_BYTES, &length, SPR_EP_LENGTH_BYTES);
	if (chunk->has_lead)
		frame->data[-LEAD_BYTES] = 1;
}

bool
spr_ep_frame_has_lead(const spr_ep_frame *frame)
{
	return (frame->chunk->has_lead);
}

void
spr_ep_frame_free(spr_ep_frame *frame)
{
	spr_push_lane *lane = frame->lane;
	spr_ep_queue alone = {0};

	drop_chunk(frame->chunk, 1);
	spr_ep_queue_append(&alone, frame);
	spr_ep_queue_push(&alone, &lane->frames_back);
}

/* The first of the queue and those behind it that are of its lane. */
static spr_ep_queue
take_run(spr_ep_queue *queue)
{
	spr_ep_queue run = {0};

	do {
		spr_ep_queue_append(&run, spr_ep_queue_take(queue));
	} while (queue->head != NULL && queue->head->lane == run.head->lane);
	return (run);
}

static void
drop_chunks(const spr_ep_queue *run)
{
	spr_ep_chunk *chunk = run->head->chunk;
	unsigned n = 0;

	for (const spr_ep_frame *frame = run->head; frame != NULL; frame = frame->next, n++) {
		if (frame->chunk == chunk)
			continue;
		drop_chunk(chunk, n);
		chunk = frame->chunk;
		n = 0;
	}
	drop_chunk(chunk, n);
}

static void
tell_owner(const spr_ep_queue *run, spr_on_done on_done, spr_err result)
{
	void *cookies[SPR_DONE_MAX];
	unsigned n = 0;
	size_t bytes = 0;

	for (const spr_ep_frame *frame = run->head; frame != NULL; frame = frame->next) {
		cookies[n++] = frame->cookie;
		bytes += frame->len;
		if (n < SPR_DONE_MAX && frame->next != NULL)
			continue;
		on_done(frame->lane->arg, cookies, n, bytes, result);
		n = 0;
		bytes = 0;
	}
}

void
spr_ep_frames_end(spr_ep_queue *queue, spr_on_done on_done, spr_err result)
{
	while (queue->head != NULL) {
		spr_ep_queue run = take_run(queue);
		spr_push_lane *lane = run.head->lane;
		unsigned n = run.n;

		drop_chunks(&run);
		/* relaxed: a free slot is a hint to its owner; on_done orders what follows from it */
		atomic_fetch_add_explicit(&lane->n_freed, n, memory_order_relaxed);
		tell_owner(&run, on_done, result);
		spr_ep_queue_push(&run, &lane->frames_back);
		/* E10 release: whoever reads that all are done sees everything that on_done did */
		atomic_fetch_add_explicit(&lane->n_done, n, memory_order_release);
	}
}

/* ---- the lane ---- */

spr_push_lane *
spr_ep_lane_new(spr_push *push, unsigned slots, void *arg)
{
	spr_push_lane *lane = spr_mem_zalloc_aligned(sizeof(*lane));

	if (lane == NULL)
		return (NULL);
	lane->push = push;
	lane->arg = arg;
	lane->slots = slots;
	lane->chunk_bytes = CHUNK_BYTES;
	spr_stack_init(&lane->frames_back);
	spr_stack_init(&lane->chunks_back);
	return (lane);
}

void
spr_ep_lane_free(spr_push_lane *lane)
{
	spr_ep_queue records = {0};
	spr_ep_frame *frame;

	if (lane == NULL)
		return;
	leave_chunk(lane);
	lane->chunk_bytes = 0; /* none is of that size: all go */
	(void)take_spare(lane, false);
	while ((frame = lane->free) != NULL) {
		lane->free = frame->next;
		spr_mem_free(frame);
	}
	spr_ep_queue_pop(&records, &lane->frames_back); /* E2 */
	while ((frame = spr_ep_queue_take(&records)) != NULL)
		spr_mem_free(frame);
	spr_mem_free(lane);
}
