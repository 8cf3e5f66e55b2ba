/*
 * sp_places - how many connections one socket may have, and who goes when there are too many. Private to net/.
 *
 * At the limit a newcomer displaces the oldest connection that has never carried a whole message; when there is none, the
 * newcomer is refused. So idle connections, however many, keep nobody out, and nobody who works is put out.
 *
 * Writer      any thread
 * Reader      any thread
 * Ownership   places are embedded in connections, from enter to leave
 * Ordering    one mutex; cut is called under it, so a place that is left is not cut afterwards
 * Progress    the mutex is held for a few steps of a list
 * Limits      spr_net_set_max_peers() (net.h), as it is when the socket is opened; a quarter of it may be on their way out,
 *             as those of a parked receive are for a while
 * Teardown    after the last place is left
 */
#pragma once

#include <pthread.h>

#include "net/net.h"

typedef struct spr_sp_place spr_sp_place;
struct spr_sp_place {
	/* guarded by the socket's mutex */
	spr_sp_place *newer, *older; /* among the silent */
	bool is_silent, is_going;
	/* [any] Ends the connection soon. Must not wait, nor leave from within. */
	void (*cut)(spr_sp_place *place);
};

typedef struct spr_sp_places {
	/* constant after init */
	unsigned max;
	const char *socket; /* for the log */

	/* guarded by mutex; a reader's is taken inside it */
	pthread_mutex_t mutex;
	unsigned n; /* without those that are going */
	unsigned n_going;
	spr_sp_place *oldest, *newest; /* of the silent */
} spr_sp_places;

/* [main] */
void spr_sp_places_init(spr_sp_places *places, const char *socket);
void spr_sp_places_fini(spr_sp_places *places);
/* [any] False: there is no place. peer is for the log. */
bool spr_sp_places_enter(spr_sp_places *places, spr_sp_place *place,
			 void (*cut)(spr_sp_place *place), const spr_peer *peer);
/* [any] It has carried its first whole message. */
void spr_sp_places_speak(spr_sp_places *places, spr_sp_place *place);
/* [any] Once for each that has entered. */
void spr_sp_places_leave(spr_sp_places *places, spr_sp_place *place);
