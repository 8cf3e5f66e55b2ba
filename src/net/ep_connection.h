/*
 * ep_connection - one worker's connection: its socket on a loop, its writer, and what it tells the outbox. Private to
 * net/ep_push.
 *
 *   [loop] spr_ep_connection_new --> hub.returned
 *   [any]  spr_ep_connection_look -- writes --> on_done       full before, has room --> hub.returned
 *                |                                            what it could not write --> hub.posted
 *                +-- EAGAIN: EPOLLOUT --> [loop] look         broken, or the peer hung up --> hub.died
 *
 * Whoever has something for a connection, or wants it to look, asks for its turn and does it here and now; nobody waits.
 *
 * Writer      any thread
 * Reader      any thread
 * Ownership   references: one is the outbox's, until it has handled the death; one the watch's, until the loop has taken it
 *             away; one each of those who look, and of an entry in hub.returned. The last one closes the descriptor
 * Ordering    E2 (mailboxes), E15 (its turn), E5 (references)
 * Progress    no call waits
 * Limits      a turn writes at most a few system calls' worth, then the loop goes on
 * Teardown    loops stopped: spr_ep_connection_end()
 */
#pragma once

#include "base/turn.h"
#include "net/ep_endpoint.h"
#include "net/ep_load.h"
#include "net/ep_writer.h"
#include "net/sp_places.h"

typedef struct spr_ep_hub spr_ep_hub;
typedef struct spr_ep_connection spr_ep_connection;

/* What connections share with their outbox. */
struct spr_ep_hub {
	/* constant after open */
	spr_push_config config;
	/* [any] Something is in a mailbox. Called with nothing held. */
	void (*look)(spr_ep_hub *hub);
	/* [any] Some frames wait for TCP. */
	void (*wants_poll)(spr_ep_hub *hub, bool has_progressed);
	/* [any] Bytes are on their way: in a while it is to be looked whether anybody is there. */
	void (*wants_watch)(spr_ep_hub *hub);
	spr_sp_places places;

	spr_stack posted, returned, died;
	atomic_uint n_aborts;      /* calls of abort so far */
	atomic_uint n_watches;     /* rounds of looks for peers that are gone */
	atomic_bool is_watching;   /* the next round is coming */
	atomic_uint n_connections; /* not closed yet */
};

struct spr_ep_connection {
	spr_ep_writer writer; /* first: it is aligned */

	/* constant after new */
	spr_ep_hub *hub;
	spr_ep_endpoint *endpoint;
	spr_ep_loop *loop;

	spr_ep_watch watch;
	spr_sp_place place;
	spr_stack_entry returned, died;

	_Alignas(SPR_CACHELINE) spr_turn turn;
	atomic_uint refs;
	atomic_bool is_writable;    /* the loop saw it */
	atomic_bool has_hung_up;    /* the loop saw it: nothing more is written */
	atomic_bool is_death_known; /* it went into hub.died */

	/* with its turn */
	unsigned seen_aborts, seen_watches;
	bool is_blocked, is_armed, is_broken, has_carried;

	/* with the outbox's turn */
	_Alignas(SPR_CACHELINE) spr_ep_load load;
	bool is_known, is_dead;
	spr_ep_connection *next_known, *prev_known;
	spr_ep_connection *next_died;
};

/* [loop] Takes fd over, also when it fails. Tells the hub, which is to be looked at. */
void spr_ep_connection_new(spr_ep_hub *hub, spr_ep_endpoint *endpoint, spr_ep_loop *loop, int fd,
			   const spr_peer *peer);
/* [any, holding a reference] Writes what there is. True: the hub is to be looked at. */
bool spr_ep_connection_look(spr_ep_connection *c);
/* [any] */
void spr_ep_connection_hold(spr_ep_connection *c);
void spr_ep_connection_drop(spr_ep_connection *c);
/* [main, its loop has stopped, nothing is sent] Takes the references of the watch and of the outbox. */
void spr_ep_connection_end(spr_ep_connection *c);
