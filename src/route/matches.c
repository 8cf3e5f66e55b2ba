/*
 * matches - see matches.h and subscriptions.h.
 *
 * The set is open addressing over (hash, position in callback[]), at most half full. Each slot
 * carries the number of the run that filled it, so that a new run starts empty without clearing: a
 * dispatcher that once saw a fan-out of 100,000 does not pay for it on each small one after.
 */
#include "route/matches.h"

#include "base/mem.h"
#include "route/callbacks.h"

#include <string.h>

#define MIN_CAPACITY 64

typedef struct seen_slot {
	uint64_t hash;
	uint32_t run; /* 0: never used */
	uint32_t at;
} seen_slot;

typedef struct seen_set {
	uint32_t run;
	seen_slot slot[];
} seen_set;

spr_err
spr_matches_reserve(spr_matches *matches, size_t n)
{
	size_t capacity = matches->capacity * 2;
	spr_callback **larger = NULL;

	if (n <= matches->capacity)
		return (SPR_OK);
	if (capacity < n)
		capacity = n;
	if (capacity < MIN_CAPACITY)
		capacity = MIN_CAPACITY;
	larger = spr_mem_realloc(matches->callback, capacity * sizeof(*larger));
	if (larger == NULL)
		return (SPR_E_NOMEM);
	matches->callback = larger;
	matches->capacity = capacity;
	return (SPR_OK);
}

void
spr_matches_seen_clear(spr_matches *matches)
{
	seen_set *seen = matches->seen;

	if (seen != NULL && ++seen->run == 0) {
		memset(seen->slot, 0, matches->seen_capacity * sizeof(*seen->slot));
		seen->run = 1;
	}
}

/* The slot that holds the text, or the free one where it belongs. */
static seen_slot *
seen_find(const spr_matches *matches, const spr_callback *callback)
{
	seen_set *seen = matches->seen;
	size_t mask = matches->seen_capacity - 1;
	size_t i = callback->hash & mask;

	while (seen->slot[i].run == seen->run &&
	       !(seen->slot[i].hash == callback->hash &&
		 spr_callback_is_same(matches->callback[seen->slot[i].at], callback)))
		i = (i + 1) & mask;
	return (&seen->slot[i]);
}

static void
seen_put(seen_set *seen, seen_slot *slot, const spr_callback *callback, size_t at)
{
	*slot = (seen_slot){callback->hash, seen->run, (uint32_t)at};
}

static spr_err
seen_grow(spr_matches *matches, size_t n)
{
	size_t capacity =
	    matches->seen_capacity < MIN_CAPACITY ? MIN_CAPACITY : matches->seen_capacity;
	seen_set *larger = NULL;

	while (capacity < (n + 1) * 2)
		capacity *= 2;
	larger = spr_mem_zalloc(sizeof(*larger) + capacity * sizeof(larger->slot[0]));
	if (larger == NULL)
		return (SPR_E_NOMEM);
	larger->run = 1;
	spr_mem_free(matches->seen);
	matches->seen = larger;
	matches->seen_capacity = capacity;
	for (size_t i = 0; i < n; i++)
		seen_put(larger, seen_find(matches, matches->callback[i]), matches->callback[i], i);
	return (SPR_OK);
}

spr_err
spr_matches_seen_add(spr_matches *matches, spr_callback *callback, size_t n)
{
	seen_slot *slot = NULL;

	if ((n + 1) * 2 > matches->seen_capacity && seen_grow(matches, n) != SPR_OK)
		return (SPR_E_NOMEM);
	slot = seen_find(matches, callback);
	if (slot->run == ((seen_set *)matches->seen)->run)
		return (SPR_E_EXISTS);
	seen_put(matches->seen, slot, callback, n);
	return (SPR_OK);
}

void
spr_matches_hold(spr_matches *matches, size_t from)
{
	for (size_t i = from; !matches->is_held && i < matches->n; i++)
		spr_callback_hold(matches->callback[i]);
	matches->is_held = true;
}

void
spr_matches_drop_from(spr_subscriptions *subscriptions, spr_matches *matches, size_t from)
{
	for (size_t i = from; matches->is_held && i < matches->n; i++)
		spr_callback_drop(subscriptions, matches->callback[i]);
	if (from < matches->n)
		matches->n = from;
}

void
spr_matches_fini(spr_matches *matches)
{
	spr_mem_free(matches->callback);
	spr_mem_free(matches->seen);
	*matches = (spr_matches){0};
}
