/*
 * ep_deal - which frame goes to which connection. Private to net/ep_push.
 *
 *   hub.posted ------------------------+
 *                                      +--> [turn] pending x loads --> runs of frames --> spr_ep_connection_look
 *   hub.returned, hub.died ------------+
 *
 * Writer      any thread
 * Reader      any thread
 * Ownership   frames are the deal's from hub.posted until they are given; connections as in ep_connection.h
 * Ordering    E2 (mailboxes), E15 (the turn), E22 (loads)
 * Progress    nobody waits: whoever finds the turn taken leaves what it has to the holder
 * Limits      a turn gives to 32 connections, and there is another one for the others
 * Teardown    fini, when no loop runs and nothing is being sent
 */
#pragma once

#include "net/ep_connection.h"

typedef struct spr_ep_deal {
	spr_ep_hub hub; /* first: it is aligned */

	_Alignas(SPR_CACHELINE) spr_turn turn;
	atomic_bool
	    wants_visit; /* every connection is to look: some lane was aborted, or TCP is to be asked */

	/* with the turn */
	_Alignas(SPR_CACHELINE) spr_ep_queue pending;
	spr_ep_loads loads;
	spr_ep_connection *known;
	spr_ep_connection *visited; /* the next to be visited */
} spr_ep_deal;

/* [main] self is zeroed. */
void spr_ep_deal_init(spr_ep_deal *self, const spr_push_config *config,
		      void (*wants_poll)(spr_ep_hub *hub, bool has_progressed));
/* [main] Ends all connections; frames that nobody took are freed. */
void spr_ep_deal_fini(spr_ep_deal *self);
/* [any, holding nothing] Something was put into the hub: deals and writes it here and now, or leaves it to who does. */
void spr_ep_deal_look(spr_ep_deal *self);
/* [any, holding nothing] Every connection looks. */
void spr_ep_deal_visit(spr_ep_deal *self);
/* [any, holding nothing] The peers' TCP has all that the kernel was given; false, too, while somebody deals. */
bool spr_ep_deal_is_passed_on(spr_ep_deal *self);
