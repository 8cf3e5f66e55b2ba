/*
 * trie - see trie.h. A trie whose nodes are reached by the hash of their whole prefix instead of
 * through their parent.
 *
 *   UN.CEFACT.TRADE   hash_1 = H(seed, UN)   hash_2 = H(hash_1, CEFACT)   hash_3 = H(hash_2, TRADE)
 *                             |                        |                            |
 *   one table of nodes:    [ UN ]               [ UN.CEFACT ]             [ UN.CEFACT.TRADE ]
 *
 * Why so. What a linked trie spends its code on is not there: a node exists only for a pattern with
 * subscribers, so there are no empty inner nodes to make, to prune and to argue about, and a prefix with
 * 100,000 followers has no child table that must grow under readers. And the place of each layer is
 * known from the predicate alone, so the processor starts the next layer's probe while the memory of
 * the one before is still on its way; in a linked trie it must wait.
 *
 * The price is a probe for each prefix length even where nothing lies below. "depths" takes most of it
 * back: lengths that no pattern has are not probed, and hashing ends at the longest.
 *
 * The hash is XXH3 with a secret seed, each segment seeded with the hash before it: one pass over
 * the text, and segments do not run into each other. Equal hashes are no harm: the whole text is
 * compared.
 *
 * Ordering. insert sets the length's bit in depths before the node's slot (E8), remove clears it
 * after. A reader that starts after insert sees both; a pattern that is there all the time has its
 * bit set all the time.
 *
 * Rejected, by throw-away prototypes that are not kept, on a noisy machine, so take them as rough: a
 * linked trie with a child table per node (no atomics in it, no epoch around either): 0.7 of this one's
 * time when all is cached, since it compares segments and not whole prefixes; no clear difference for any
 * of 100,000 patterns; about 1.2 for any of 1,000,000, six deep. So speed does not decide, less code
 * does. Asking for all slots, then all nodes, by prefetch before the first probe: about 1.15 cached,
 * unclear otherwise.
 */
#include "route/trie.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/assert.h"
#include "base/sync.h"

typedef struct prefix {
	uint64_t hash;
	const char *text;
	uint16_t len;
} prefix;

static size_t
node_bytes(uint16_t len)
{
	return (sizeof(spr_trie_node) + len);
}

static void
node_destroy(spr_epoch_entry *entry)
{
	spr_space_destroy((char *)entry - offsetof(spr_trie_node, retire));
}

static bool
node_is(const void *item, const void *key)
{
	const spr_trie_node *node = item;
	const prefix *p = key;

	return (node->hash == p->hash && node->len == p->len &&
		memcmp(node->text, p->text, p->len) == 0);
}

/* The segment i of a predicate, added to the hash of the segments before it. */
static inline uint64_t
hash_segment(uint64_t hash, const spr_predicate *predicate, unsigned i)
{
	unsigned start = i == 0 ? 0 : predicate->end[i - 1] + 1u;

	return (XXH3_64bits_withSeed(predicate->text + start, predicate->end[i] - start, hash));
}

static prefix
whole(const spr_trie *trie, const spr_predicate *pattern)
{
	prefix p = {trie->seed, pattern->text, pattern->len};

	for (unsigned i = 0; i < pattern->n_segments; i++)
		p.hash = hash_segment(p.hash, pattern, i);
	return (p);
}

void
spr_trie_init(spr_trie *trie, spr_space *space, uint64_t seed)
{
	atomic_init(&trie->root, NULL);
	atomic_init(&trie->depths, 0);
	trie->seed = seed;
	trie->space = space;
	memset(trie->n_at, 0, sizeof(trie->n_at));
	spr_table_init(&trie->table, space, offsetof(spr_trie_node, hash));
}

typedef struct fini_arg {
	spr_trie *trie;
	void (*each)(void *arg, struct spr_callback *callback);
	void *arg;
} fini_arg;

static void
fini_node(void *arg, void *item)
{
	fini_arg *fini = arg;
	spr_trie_node *node = item;

	spr_set_fini(&node->set, fini->trie->space, fini->each, fini->arg);
	spr_trie_node_free(fini->trie, node);
}

void
spr_trie_fini(spr_trie *trie, void (*each)(void *arg, struct spr_callback *callback), void *arg)
{
	fini_arg fini = {trie, each, arg};

	/* relaxed: no reader is left */
	spr_trie_node *root = atomic_load_explicit(&trie->root, memory_order_relaxed);

	if (root != NULL)
		fini_node(&fini, root);
	spr_table_each(&trie->table, fini_node, &fini);
	spr_table_fini(&trie->table);
	spr_trie_init(trie, trie->space, trie->seed);
}

unsigned
spr_trie_find(const spr_trie *trie, const spr_predicate *predicate,
	      const spr_trie_node *layer[SPR_TRIE_LAYERS])
{
	/* E8 acquire: pairs with the release in depth_set() */
	uint64_t depths = atomic_load_explicit(&trie->depths, memory_order_acquire);
	prefix p = {.hash = trie->seed, .text = predicate->text};
	unsigned n = 0;

	/* E8 acquire: pairs with the release in spr_trie_insert() */
	layer[n] = atomic_load_explicit(&trie->root, memory_order_acquire);
	n += layer[n] != NULL;
	for (unsigned i = 0; i < predicate->n_segments && depths >> i != 0; i++) {
		p.hash = hash_segment(p.hash, predicate, i);
		p.len = predicate->end[i];
		if ((depths >> i & 1) == 0)
			continue;
		layer[n] = spr_table_find(&trie->table, p.hash, node_is, &p);
		n += layer[n] != NULL;
	}
	return (n);
}

spr_trie_node *
spr_trie_get(const spr_trie *trie, const spr_predicate *pattern)
{
	prefix p = whole(trie, pattern);

	if (pattern->n_segments == 0)
		/* relaxed: the writer reads its own store */
		return (atomic_load_explicit(&trie->root, memory_order_relaxed));
	return (spr_table_find(&trie->table, p.hash, node_is, &p));
}

spr_trie_node *
spr_trie_node_new(spr_trie *trie, const spr_predicate *pattern)
{
	spr_trie_node *node = spr_space_alloc(trie->space, node_bytes(pattern->len));

	if (node == NULL)
		return (NULL);
	node->hash = whole(trie, pattern).hash;
	node->len = pattern->len;
	node->n_segments = pattern->n_segments;
	memcpy(node->text, pattern->text, pattern->len);
	return (node);
}

void
spr_trie_node_free(spr_trie *trie, spr_trie_node *node)
{
	spr_space_free(trie->space, node, node_bytes(node->len));
}

static void
depth_set(spr_trie *trie, unsigned n_segments, bool is_used)
{
	/* relaxed: the writer reads its own store */
	uint64_t depths = atomic_load_explicit(&trie->depths, memory_order_relaxed);
	uint64_t bit = UINT64_C(1) << (n_segments - 1);

	/* E8 release: pairs with the acquire in spr_trie_find() */
	atomic_store_explicit(&trie->depths, is_used ? depths | bit : depths & ~bit,
			      memory_order_release);
}

spr_err
spr_trie_insert(spr_trie *trie, spr_trie_node *node)
{
	spr_err rv = SPR_OK;

	if (node->n_segments == 0) {
		SPR_YIELD();
		/* E8 release: pairs with the acquire in spr_trie_find(); the node is complete */
		atomic_store_explicit(&trie->root, node, memory_order_release);
	} else {
		depth_set(trie, node->n_segments, true);
		rv = spr_table_insert(&trie->table, node);
	}
	if (rv == SPR_OK)
		trie->n_at[node->n_segments]++;
	else if (trie->n_at[node->n_segments] == 0)
		depth_set(trie, node->n_segments, false);
	return (rv);
}

void
spr_trie_remove(spr_trie *trie, spr_trie_node *node)
{
	SPR_ASSERT(spr_set_n(&node->set) == 0);
	trie->n_at[node->n_segments]--;
	if (node->n_segments == 0) {
		/* E8 release: pairs with the acquire in spr_trie_find() */
		atomic_store_explicit(&trie->root, NULL, memory_order_release);
	} else {
		spr_table_remove(&trie->table, node);
		if (trie->n_at[node->n_segments] == 0)
			depth_set(trie, node->n_segments, false);
	}
	spr_index_fini(&node->set.index, trie->space);
	spr_space_retire(trie->space, &node->retire, node_destroy, node_bytes(node->len));
}
