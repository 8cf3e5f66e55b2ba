/*
 * queue_flight - what is handed out and not settled: one fixed slab of small records, found by their number.
 *
 *   free --add()--> to push --pushing()--> pushing --handed_out()--> out --expired--> to push ...
 *          any but free --release()--> free; while it is being pushed, when the push has ended
 *
 * Those that are out stand in the order of their deadlines, because every deadline is the same time after its start.
 *
 * Threads     one at a time
 * Ownership   records belong to the flight
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef enum queue_place {
	QUEUE_FREE,
	QUEUE_TO_PUSH,
	QUEUE_PUSHING,
	QUEUE_OUT,
	QUEUE_GONE, /* settled while it is being pushed */
} queue_place;

/* What becomes of a record with the transaction that its notification's change is in. */
typedef enum queue_fate { QUEUE_KEEP, QUEUE_RELEASE, QUEUE_PUSH_AGAIN } queue_fate;

typedef struct queue_record queue_record;
struct queue_record {
	uint64_t seq;
	uint64_t deadline_ns; /* out */
	uint64_t n_lost;      /* connections lost before it was out */
	queue_record *next_hash;
	queue_record *next, *prev; /* in the list of its place */
	queue_record *next_touched;
	uint8_t place;
	bool is_touched;
	uint8_t on_commit, on_rollback; /* queue_fate */
};

typedef struct queue_list {
	queue_record *first, *last;
} queue_list;

typedef struct queue_flight {
	queue_record *records;
	queue_record **buckets; /* by seq */
	uint64_t mask;
	unsigned n_used, n_most;
	unsigned n_out; /* handed out, and waiting for an answer */
	queue_list free, to_push, out;
} queue_flight;

spr_err queue_flight_init(queue_flight *flight, unsigned most);
void queue_flight_fini(queue_flight *flight);

/* NULL: the slab is full. The caller knows that seq is not in flight. */
queue_record *queue_flight_add(queue_flight *flight, uint64_t seq);
/* NULL: not in flight. */
queue_record *queue_flight_find(const queue_flight *flight, uint64_t seq);
/* From "to push". */
void queue_flight_pushing(queue_flight *flight, queue_record *record);
/* The push ended well: out, or free if it was settled meanwhile. */
void queue_flight_handed_out(queue_flight *flight, queue_record *record, uint64_t deadline_ns);
/* The push failed, or the answer did not come: to push, or free if it was settled meanwhile. first: before the others. */
void queue_flight_push_again(queue_flight *flight, queue_record *record, bool first);
/* One that is out gets a new deadline, not before any other's. */
void queue_flight_extend(queue_flight *flight, queue_record *record, uint64_t deadline_ns);
void queue_flight_release(queue_flight *flight, queue_record *record);
