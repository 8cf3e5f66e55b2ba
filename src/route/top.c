/*
 * top - an unsorted table: the writer looks for a key among a few dozen pointers, the rare reader sorts.
 */
#include "route/top.h"

#include <string.h>

void
spr_top_init(spr_top *top)
{
	pthread_mutex_init(&top->lock, NULL);
	top->n = 0;
}

void
spr_top_fini(spr_top *top)
{
	pthread_mutex_destroy(&top->lock);
}

/* Only the writer changes the table, so it may look without the lock. */
static spr_top_entry *
find(spr_top *top, const void *key)
{
	for (unsigned i = 0; i < top->n; i++) {
		if (top->entry[i].key == key)
			return (&top->entry[i]);
	}
	return (NULL);
}

static spr_top_entry *
least(spr_top *top)
{
	spr_top_entry *found = &top->entry[0];

	for (unsigned i = 1; i < top->n; i++) {
		if (top->entry[i].n < found->n)
			found = &top->entry[i];
	}
	return (found);
}

void
spr_top_note(spr_top *top, const void *key, const char *pattern, size_t len, uint64_t n)
{
	spr_top_entry *entry = find(top, key);
	bool is_new = entry == NULL;

	if (is_new) {
		if (top->n == SPR_TOP_KEPT && (entry = least(top))->n >= n)
			return;
		if (n == 0)
			return;
	}
	pthread_mutex_lock(&top->lock);
	if (entry == NULL)
		entry = &top->entry[top->n++];
	if (n == 0) {
		*entry = top->entry[--top->n];
	} else if (is_new) {
		entry->key = key;
		memcpy(entry->pattern, pattern, len);
		entry->pattern[len] = '\0';
	}
	if (n > 0)
		entry->n = n;
	pthread_mutex_unlock(&top->lock);
}

unsigned
spr_top_read(spr_top *top, spr_top_entry out[SPR_TOP_SHOWN])
{
	bool is_taken[SPR_TOP_KEPT] = {false};
	unsigned n = 0;

	pthread_mutex_lock(&top->lock);
	for (; n < SPR_TOP_SHOWN && n < top->n; n++) {
		unsigned best = SPR_TOP_KEPT;

		for (unsigned i = 0; i < top->n; i++) {
			if (!is_taken[i] &&
			    (best == SPR_TOP_KEPT || top->entry[i].n > top->entry[best].n))
				best = i;
		}
		is_taken[best] = true;
		out[n] = top->entry[best];
	}
	pthread_mutex_unlock(&top->lock);
	return (n);
}
