/*
 * queue - a durable upstream: one thread that takes requests, commits what they change as one group, replies, and pushes what
 * is ready.
 *
 * Writer      any thread: queue_request(); the transport's threads: completions
 * Reader      the queue's thread, or main by hand: queue_turn()
 * Ownership   a request and its bytes are the queue's until its reply; the store and the options outlive the queue
 * Ordering    E2 (requests and completions come through mailboxes)
 * Progress    a request waits for the group before it and for its own
 * Limits      --max-outstanding records; 64 messages or 8 MiB given to the transport and not in the kernel
 * Teardown    queue_stop(), then queue_free()
 */
#pragma once

#include "base/stack.h"
#include "net/net.h"
#include "queue_options.h"
#include "queue_store.h"

typedef struct queue queue;

typedef enum queue_request_kind {
	QUEUE_REQUEST_SUBMIT,
	QUEUE_REQUEST_ANSWER,
	QUEUE_REQUEST_CONTROL
} queue_request_kind;

typedef struct queue_request queue_request;
struct queue_request {
	queue_request_kind kind;
	const uint8_t *data;
	size_t len;
	/* [queue] Once; text is valid during the call, and the request is the caller's again. */
	void (*reply)(queue_request *request, const void *text, size_t len);
	void *arg;
	unsigned number;
	/* the queue's */
	spr_stack_entry entry;
	queue_request *next;
	size_t reply_at, reply_len;
};

/* [main] */
spr_err queue_new(queue **out, const queue_options *options, queue_store *store,
		  const spr_transport *transport);
/* [main] Dials every --to and starts the thread. */
spr_err queue_start(queue *q);
/* [any] */
void queue_ask(queue *q, queue_request *request);
/* [any] False: a group has been under way for limit_ns. Having nothing to do, or nobody to push to, is alive. */
bool queue_is_alive(const queue *q, uint64_t now_ns, uint64_t limit_ns);
/* [any] Connected dispatchers. */
unsigned queue_peers(queue *q);
/* [queue, test] One group; returns units of work. */
unsigned queue_turn(queue *q);
/*
 * [main] Ends the thread, commits and answers what had come, and ends the pushes. False: a push has not ended in 2 s; the queue
 * must not be freed then.
 */
bool queue_stop(queue *q);
/* [main] NULL is fine. */
void queue_free(queue *q);
