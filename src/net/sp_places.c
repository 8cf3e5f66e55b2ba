/*
 * sp_places - places of a socket, and a list of those who have said nothing, oldest first.
 */
#include "net/sp_places.h"

#include "base/counters.h"
#include "base/log.h"

static unsigned max_peers = SPR_MAX_PEERS; /* written by main, before there are sockets */

void
spr_net_set_max_peers(unsigned n)
{
	max_peers = n;
}

unsigned
spr_net_max_peers(void)
{
	return (max_peers);
}

void
spr_sp_places_init(spr_sp_places *places, const char *socket)
{
	*places = (spr_sp_places){.max = max_peers, .socket = socket};
	pthread_mutex_init(&places->mutex, NULL);
}

void
spr_sp_places_fini(spr_sp_places *places)
{
	pthread_mutex_destroy(&places->mutex);
}

/* The mutex is held. */
static void
add_silent(spr_sp_places *places, spr_sp_place *place)
{
	place->is_silent = true;
	place->newer = NULL;
	if ((place->older = places->newest) != NULL)
		place->older->newer = place;
	else
		places->oldest = place;
	places->newest = place;
}

/* The mutex is held. */
static void
remove_silent(spr_sp_places *places, spr_sp_place *place)
{
	place->is_silent = false;
	if (place->older != NULL)
		place->older->newer = place->newer;
	else
		places->oldest = place->newer;
	if (place->newer != NULL)
		place->newer->older = place->older;
	else
		places->newest = place->older;
}

/* The mutex is held. */
static bool
displace_oldest(spr_sp_places *places)
{
	spr_sp_place *oldest = places->oldest;

	if (oldest == NULL || places->n_going > places->max / 4)
		return (false);
	remove_silent(places, oldest);
	oldest->is_going = true;
	oldest->cut(oldest);
	places->n--;
	places->n_going++;
	return (true);
}

bool
spr_sp_places_enter(spr_sp_places *places, spr_sp_place *place, void (*cut)(spr_sp_place *place),
		    const spr_peer *peer)
{
	char text[SPR_PEER_TEXT_MAX];
	bool was_full, has_place;

	*place = (spr_sp_place){.cut = cut};
	pthread_mutex_lock(&places->mutex);
	was_full = places->n >= places->max;
	has_place = !was_full || displace_oldest(places);
	if (has_place) {
		add_silent(places, place);
		places->n++;
	}
	pthread_mutex_unlock(&places->mutex);
	if (was_full) {
		spr_count(SPR_C_PEERS_CUT_LIMIT);
		spr_warn("PEERS-LIMIT",
			 "socket=%s peer=\"%s\" limit=%u why=\"%s; see --max-peers\"",
			 places->socket, spr_peer_text(peer, text), places->max,
			 has_place ? "it took the place of the oldest that had said nothing"
				   : "there is no place for it");
	}
	return (has_place);
}

void
spr_sp_places_speak(spr_sp_places *places, spr_sp_place *place)
{
	pthread_mutex_lock(&places->mutex);
	if (place->is_silent)
		remove_silent(places, place);
	pthread_mutex_unlock(&places->mutex);
}

void
spr_sp_places_leave(spr_sp_places *places, spr_sp_place *place)
{
	pthread_mutex_lock(&places->mutex);
	if (place->is_silent)
		remove_silent(places, place);
	if (place->is_going)
		places->n_going--;
	else
		places->n--;
	pthread_mutex_unlock(&places->mutex);
}
