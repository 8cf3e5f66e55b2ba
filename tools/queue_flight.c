/*
 * queue_flight - the records stand in one list a place, and in a hash by number that needs no hash function: numbers are
 * given out one after the other.
 */
#include "queue_flight.h"

#include "base/assert.h"
#include "base/mem.h"

static queue_list *
list_of(queue_flight *flight, queue_place place)
{
	switch (place) {
	case QUEUE_FREE:
		return (&flight->free);
	case QUEUE_TO_PUSH:
		return (&flight->to_push);
	case QUEUE_OUT:
		return (&flight->out);
	default:
		return (NULL);
	}
}

static void
take_off(queue_flight *flight, queue_record *record)
{
	queue_list *list = list_of(flight, record->place);

	flight->n_out -= record->place == QUEUE_OUT;
	if (list == NULL)
		return;
	*(record->prev != NULL ? &record->prev->next : &list->first) = record->next;
	*(record->next != NULL ? &record->next->prev : &list->last) = record->prev;
}

static void
put_on(queue_flight *flight, queue_record *record, queue_place place, bool first)
{
	queue_list *list = list_of(flight, place);

	record->place = (uint8_t)place;
	flight->n_out += place == QUEUE_OUT;
	if (list == NULL)
		return;
	record->prev = first ? NULL : list->last;
	record->next = first ? list->first : NULL;
	*(record->prev != NULL ? &record->prev->next : &list->first) = record;
	*(record->next != NULL ? &record->next->prev : &list->last) = record;
}

static void
move(queue_flight *flight, queue_record *record, queue_place place, bool first)
{
	take_off(flight, record);
	put_on(flight, record, place, first);
}

spr_err
queue_flight_init(queue_flight *flight, unsigned most)
{
	uint64_t n_buckets = 1;

	*flight = (queue_flight){.n_most = most};
	while (n_buckets < most)
		n_buckets *= 2;
	flight->mask = n_buckets - 1;
	flight->records = spr_mem_zalloc(most * sizeof(flight->records[0]));
	flight->buckets = spr_mem_zalloc(n_buckets * sizeof(flight->buckets[0]));
	if (flight->records == NULL || flight->buckets == NULL) {
		queue_flight_fini(flight);
		return (
		    spr_fail(SPR_E_NOMEM, "%u records of --max-outstanding: out of memory", most));
	}
	for (unsigned i = 0; i < most; i++)
		put_on(flight, &flight->records[i], QUEUE_FREE, false);
	return (SPR_OK);
}

void
queue_flight_fini(queue_flight *flight)
{
	spr_mem_free(flight->records);
	spr_mem_free(flight->buckets);
	*flight = (queue_flight){.n_most = 0};
}

queue_record *
queue_flight_add(queue_flight *flight, uint64_t seq)
{
	queue_record *record = flight->free.first;
	queue_record **bucket = &flight->buckets[seq & flight->mask];

	if (record == NULL)
		return (NULL);
	record->seq = seq;
	record->next_hash = *bucket;
	*bucket = record;
	flight->n_used++;
	move(flight, record, QUEUE_TO_PUSH, false);
	return (record);
}

queue_record *
queue_flight_find(const queue_flight *flight, uint64_t seq)
{
	queue_record *record = flight->buckets[seq & flight->mask];

	while (record != NULL && record->seq != seq)
		record = record->next_hash;
	return (record);
}

void
queue_flight_pushing(queue_flight *flight, queue_record *record)
{
	SPR_ASSERT(record->place == QUEUE_TO_PUSH);
	move(flight, record, QUEUE_PUSHING, false);
}

void
queue_flight_handed_out(queue_flight *flight, queue_record *record, uint64_t deadline_ns)
{
	if (record->place == QUEUE_GONE) {
		flight->n_used--;
		move(flight, record, QUEUE_FREE, true);
		return;
	}
	SPR_ASSERT(record->place == QUEUE_PUSHING);
	record->deadline_ns = deadline_ns;
	move(flight, record, QUEUE_OUT, false);
}

void
queue_flight_push_again(queue_flight *flight, queue_record *record, bool first)
{
	if (record->place == QUEUE_GONE) {
		flight->n_used--;
		move(flight, record, QUEUE_FREE, true);
		return;
	}
	SPR_ASSERT(record->place != QUEUE_FREE);
	move(flight, record, QUEUE_TO_PUSH, first);
}

void
queue_flight_extend(queue_flight *flight, queue_record *record, uint64_t deadline_ns)
{
	if (record->place != QUEUE_OUT)
		return; /* its time begins when it is out */
	record->deadline_ns = deadline_ns;
	move(flight, record, QUEUE_OUT, false);
}

void
queue_flight_release(queue_flight *flight, queue_record *record)
{
	queue_record **at = &flight->buckets[record->seq & flight->mask];

	while (*at != record)
		at = &(*at)->next_hash;
	*at = record->next_hash;
	if (record->place == QUEUE_PUSHING) {
		move(flight, record, QUEUE_GONE, false); /* the push still has it */
		return;
	}
	flight->n_used--;
	move(flight, record, QUEUE_FREE, true);
}
