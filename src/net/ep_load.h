/*
 * ep_load - how many bytes each connection was given and has not passed on, and so who is given the next. Private to net/.
 *
 *   pick --> give (held +, goes to the back) ... [writer] give_back (held -)
 *     |                                             ^
 *     +--> set_full: not listed any more  ----------+ true: enough is passed on, whoever gets this has it listed again
 *
 * The least burdened of the first few goes next; equals take turns. One that has no room is taken off the list, so a
 * thousand connections that stand still cost the others nothing.
 *
 * Writer      the socket's turn: the list; a connection's writer: give_back
 * Reader      the socket's turn
 * Ownership   a load is embedded in its connection
 * Ordering    E22: the mark of a full one is set, then what it holds is read again; what is held is made less, then the mark
 *             is read: one sees the other, and whoever takes the mark away sees to it that it is listed
 * Progress    wait-free
 * Limits      a connection holds at most `limit` bytes, or one frame that is longer
 * Teardown    none
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define SPR_EP_LOAD_PROBES 16

typedef struct spr_ep_load spr_ep_load;
struct spr_ep_load {
	/* shared */
	atomic_size_t held;
	atomic_size_t wake_below; /* has room again when it holds less; 0: it is not full */

	/* with the socket's turn */
	spr_ep_load *next, *prev;
	bool is_listed;
};

typedef struct spr_ep_loads {
	size_t limit;
	spr_ep_load *head, *tail;
	unsigned n;
} spr_ep_loads;

/* [turn] At the back of the list. */
void spr_ep_loads_add(spr_ep_loads *loads, spr_ep_load *load);
/* [turn] Fine for one that is not listed. */
void spr_ep_loads_remove(spr_ep_loads *loads, spr_ep_load *load);
/* [turn] The one that holds the least, of the first few; NULL: none is listed. */
spr_ep_load *spr_ep_loads_pick(const spr_ep_loads *loads);
/* [turn] It may get that many bytes, beside those that are meant for it already. */
bool spr_ep_loads_has_room(const spr_ep_loads *loads, const spr_ep_load *load, size_t meant,
			   size_t bytes);
/* [turn] It gets them; then it is the others' turn. */
void spr_ep_loads_give(spr_ep_loads *loads, spr_ep_load *load, size_t bytes);
/* [turn] It had no room for a frame of that many bytes: not listed until it has, which it may have at once. */
void spr_ep_loads_set_full(spr_ep_loads *loads, spr_ep_load *load, size_t bytes);
/* [writer] True: it was full and is not any more, and is to be listed again. */
bool spr_ep_load_give_back(spr_ep_load *load, size_t bytes);
