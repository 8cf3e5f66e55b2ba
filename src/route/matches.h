/*
 * matches - the growing array of a fan-out, and its distinct set. The owner's own: no other thread
 * looks at it.
 */
#pragma once

#include "route/subscriptions.h"

/* Room for n callbacks; SPR_E_NOMEM leaves it as it was. Grows by doubling at least. */
spr_err spr_matches_reserve(spr_matches *matches, size_t n);

/* Starts an empty set. */
void spr_matches_seen_clear(spr_matches *matches);
/*
 * Is the text of `callback` among callback[0..n)? If not it is put into the set, as the n-th, and
 * the caller stores it there. The set must hold just the n before. SPR_E_EXISTS when it is,
 * SPR_E_NOMEM.
 */
spr_err spr_matches_seen_add(spr_matches *matches, spr_callback *callback, size_t n);
