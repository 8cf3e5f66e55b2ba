/*
 * trie - the patterns that have subscribers; finds every one that is a prefix of a predicate.
 *
 * Writer      one control thread: init, fini, get, node_new, node_free, insert, remove
 * Reader      any thread inside an epoch section: find
 * Ownership   insert takes the node; remove unpublishes and retires it, its set must be empty then
 * Ordering    E8: a node and its set are complete before find can see them
 * Progress    find wait-free, one probe for each prefix length in use; changes amortised O(1),
 *             whatever the size
 * Limits      memory; insert fails with SPR_E_NOMEM and leaves the trie as it was
 * Teardown    no reader left
 */
#pragma once

#include "route/predicate.h"
#include "route/set.h"
#include "route/table.h"

#define SPR_TRIE_LAYERS (SPR_PREDICATE_SEGMENTS + 1) /* the catch-all is layer 0 */

typedef struct spr_trie_node {
	spr_set set;
	uint64_t hash;
	uint16_t len;
	uint16_t n_segments;
	spr_epoch_entry retire;
	char text[]; /* the normalised pattern, not terminated */
} spr_trie_node;

typedef struct spr_trie {
	_Atomic(spr_trie_node *) root; /* the catch-all's node */
	_Atomic uint64_t depths;       /* bit d: there are nodes of d + 1 segments */
	uint64_t seed;
	spr_table table; /* all other nodes */
	/* writer only */
	spr_space *space;
	uint32_t n_at[SPR_TRIE_LAYERS];
} spr_trie;

/* [control] seed is secret: who knows it can make a reader probe longer. */
void spr_trie_init(spr_trie *trie, spr_space *space, uint64_t seed);
/* [control, no reader left] Each callback of each subscription is told. */
void
spr_trie_fini(spr_trie *trie, void (*each)(void *arg, struct spr_callback *callback), void *arg);

/* [any, inside epoch] The nodes whose pattern is a prefix of the predicate, shortest first; returns
 * how many. */
unsigned spr_trie_find(const spr_trie *trie, const spr_predicate *predicate,
		       const spr_trie_node *layer[SPR_TRIE_LAYERS]);

/* [control] The node of exactly this pattern, or NULL. */
spr_trie_node *spr_trie_get(const spr_trie *trie, const spr_predicate *pattern);
/* [control] A node with an empty set, not published; NULL when out of memory. */
spr_trie_node *spr_trie_node_new(spr_trie *trie, const spr_predicate *pattern);
/* [control] Of what was never published; the set must be empty. */
void spr_trie_node_free(spr_trie *trie, spr_trie_node *node);
/* [control] There must be no node of its pattern. */
spr_err spr_trie_insert(spr_trie *trie, spr_trie_node *node);
/* [control] */
void spr_trie_remove(spr_trie *trie, spr_trie_node *node);
