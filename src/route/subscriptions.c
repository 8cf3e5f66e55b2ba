/*
 * subscriptions - see subscriptions.h. The parts: trie.c finds the patterns, set.c holds a
 * pattern's subscribers, callbacks.c interns, matches.c makes a fan-out distinct; space.h and
 * table.h carry them.
 *
 *   resolve     enter -> spr_trie_find -> gather each layer: walk its set, hold live callbacks
 *               -> leave -> make_distinct, only when it can matter
 *   subscribe   intern the callback -> spr_set_add to the pattern's node, or to a new one
 *               -> spr_trie_insert if it is new
 *
 * Inside the section nothing is allocated: when the array is too small the section is left, the
 * array grown to what the sets said they hold, and the walk done again. That happens a few times in
 * a dispatcher's life, since the array stays.
 *
 * Distinctness is made after the section, from the callbacks held. Within one layer a callback is
 * met once, unless it was removed and added again during the walk, and the set's count of additions
 * tells (set.c); so a single quiet layer, the common case, needs no distinct set at all. Rejected:
 * asking a set before each hold; it lengthens the section, wants memory inside it, and saves only
 * the two count changes of a duplicate.
 */
#include "route/subscriptions.h"

#include <sys/random.h>

#include "base/assert.h"
#include "base/sync.h"
#include "route/callbacks.h"
#include "route/matches.h"
#include "route/trie.h"

#define WRITER (SPR_ROLE_CONTROL | SPR_ROLE_MAIN)

struct spr_subscriptions {
	spr_trie trie;
	spr_callbacks callbacks;
	spr_space space;
	_Atomic uint64_t n;
	_Atomic uint64_t n_nodes;
	spr_top top;
};

/* What one walk found out besides the callbacks. */
typedef struct walk {
	int64_t now_s;
	size_t max_fanout;
	size_t wanted;      /* room, when there was too little */
	unsigned n_telling; /* layers that gave at least one callback */
	bool is_changed;    /* something was added to a layer meanwhile */
} walk;

static void
count(_Atomic uint64_t *counter, uint64_t more)
{
	/* relaxed: one writer, a statistic for readers */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
			      memory_order_relaxed);
}

spr_err
spr_subscriptions_new(spr_subscriptions **out, spr_epoch *epoch)
{
	uint64_t seed[2];
	spr_subscriptions *s = spr_mem_zalloc_aligned(sizeof(*s));

	if (s == NULL)
		return (SPR_E_NOMEM);
	if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
		spr_mem_free(s);
		return (spr_fail(SPR_E_SYSTEM, "hash seed: no random numbers"));
	}
	s->space.epoch = epoch;
	spr_trie_init(&s->trie, &s->space, seed[0]);
	spr_callbacks_init(&s->callbacks, &s->space, seed[1]);
	spr_top_init(&s->top);
	*out = s;
	return (SPR_OK);
}

static void
release(void *arg, spr_callback *callback)
{
	spr_callbacks_release(arg, callback);
}

void
spr_subscriptions_free(spr_subscriptions *s)
{
	if (s == NULL)
		return;
	spr_trie_fini(&s->trie, release, &s->callbacks);
	spr_callbacks_fini(&s->callbacks);
	spr_top_fini(&s->top);
	spr_mem_free(s);
}

static spr_err
add_with_node(spr_subscriptions *s, const spr_predicate *pattern, spr_callback *callback,
	      int64_t expires_s)
{
	spr_trie_node *node = spr_trie_node_new(&s->trie, pattern);

	if (node == NULL)
		return (SPR_E_NOMEM);
	if (spr_set_add(&node->set, &s->space, callback, expires_s) != SPR_OK ||
	    spr_trie_insert(&s->trie, node) != SPR_OK) {
		spr_set_fini(&node->set, &s->space, NULL, NULL);
		spr_trie_node_free(&s->trie, node);
		return (SPR_E_NOMEM);
	}
	count(&s->n_nodes, 1);
	return (SPR_OK);
}

static void
note_top(spr_subscriptions *s, const spr_trie_node *node)
{
	bool is_catch_all = node->len == 0;

	spr_top_note(&s->top, node, is_catch_all ? "*" : node->text, is_catch_all ? 1 : node->len,
		     spr_set_n(&node->set));
}

unsigned
spr_subscriptions_top(spr_subscriptions *s, spr_top_entry *out)
{
	return (spr_top_read(&s->top, out));
}

spr_err
spr_subscriptions_subscribe(spr_subscriptions *s, const spr_predicate *pattern, const char *text,
			    size_t text_len, int64_t expires_s, bool *created)
{
	spr_trie_node *node = spr_trie_get(&s->trie, pattern);
	spr_callback *callback = spr_callbacks_intern(&s->callbacks, text, text_len);
	spr_place place;
	spr_err rv = SPR_OK;

	SPR_ASSERT_ROLE(WRITER);
	if (callback == NULL)
		return (SPR_E_NOMEM);
	if (node != NULL && spr_set_find(&node->set, callback, &place)) {
		spr_callbacks_release(&s->callbacks, callback); /* never its last */
		spr_set_renew(place, expires_s);
		*created = false;
		return (SPR_OK);
	}
	if (node != NULL)
		rv = spr_set_add(&node->set, &s->space, callback, expires_s);
	else
		rv = add_with_node(s, pattern, callback, expires_s);
	if (rv != SPR_OK) {
		spr_callbacks_release(&s->callbacks, callback);
		return (rv);
	}
	count(&s->n, 1);
	note_top(s, node != NULL ? node : spr_trie_get(&s->trie, pattern));
	*created = true;
	return (SPR_OK);
}

spr_err
spr_subscriptions_unsubscribe(spr_subscriptions *s, const spr_predicate *pattern, const char *text,
			      size_t text_len)
{
	spr_trie_node *node = spr_trie_get(&s->trie, pattern);
	spr_callback *callback = spr_callbacks_find(&s->callbacks, text, text_len);
	spr_place place;

	SPR_ASSERT_ROLE(WRITER);
	if (node == NULL || callback == NULL || !spr_set_find(&node->set, callback, &place))
		return (SPR_E_NOT_FOUND);
	spr_set_remove(&node->set, &s->space, place);
	note_top(s, node);
	if (spr_set_n(&node->set) == 0) {
		spr_trie_remove(&s->trie, node);
		count(&s->n_nodes, UINT64_MAX);
	}
	/* after the entry: a callback is retired only when no entry points at it */
	spr_callbacks_release(&s->callbacks, callback);
	count(&s->n, UINT64_MAX);
	return (SPR_OK);
}

static spr_err
gather_block(const spr_block *block, walk *w, size_t limit, spr_matches *m)
{
	for (unsigned i = 0; i < block->capacity; i++) {
		int64_t expires_s = 0;
		spr_callback *callback = spr_entry_read(&block->entry[i], &expires_s);

		if (callback == NULL)
			continue;
		if (expires_s < w->now_s) {
			m->suppressed_expired++;
			continue;
		}
		if (m->n == limit)
			return (SPR_E_TOO_MANY);
		if (m->n == m->capacity) {
			w->wanted = m->capacity + 1; /* reserve doubles */
			return (SPR_E_FULL);
		}
		m->callback[m->n++] = callback;
		if (m->longest_prefix < callback->prefix_len)
			m->longest_prefix = callback->prefix_len;
	}
	return (SPR_OK);
}

static spr_err
gather_layer(const spr_set *set, walk *w, spr_matches *m)
{
	size_t n = m->n;
	size_t limit = w->max_fanout < SIZE_MAX - n ? n + w->max_fanout : SIZE_MAX;
	uint32_t additions = spr_set_additions(set);
	spr_err rv = SPR_OK;

	for (const spr_block *b = spr_set_first(set); b != NULL && rv == SPR_OK;
	     b = spr_block_next(b))
		rv = gather_block(b, w, limit, m);
	if (m->n > n)
		w->n_telling++;
	if (spr_set_additions(set) != additions)
		w->is_changed = true;
	return (rv);
}

/* [inside epoch] */
static spr_err
gather(const spr_subscriptions *s, const spr_predicate *predicate, walk *w, spr_matches *m)
{
	const spr_trie_node *layer[SPR_TRIE_LAYERS];
	unsigned n = spr_trie_find(&s->trie, predicate, layer);
	spr_err rv = SPR_OK;

	w->wanted = 0;
	w->n_telling = 0;
	w->is_changed = false;
	m->suppressed_expired = 0;
	m->longest_prefix = 0;
	for (unsigned i = 0; i < n; i++) {
		uint32_t subscribers = spr_set_n(&layer[i]->set);

		__builtin_prefetch(spr_set_first(&layer[i]->set));
		w->wanted += subscribers < w->max_fanout ? subscribers : w->max_fanout;
	}
	if (w->wanted > m->capacity)
		return (SPR_E_FULL);
	for (unsigned i = 0; i < n && rv == SPR_OK; i++)
		rv = gather_layer(&layer[i]->set, w, m);
	return (rv);
}

static spr_err
make_distinct(spr_matches *m)
{
	size_t n = 0;
	spr_err rv = SPR_OK;

	spr_matches_seen_clear(m);
	for (size_t i = 0; i < m->n; i++) {
		spr_callback *callback = m->callback[i];

		rv = spr_matches_seen_add(m, callback, n);
		if (rv == SPR_E_EXISTS) {
			m->suppressed_duplicate++;
			continue;
		}
		if (rv != SPR_OK)
			return (rv);
		m->callback[n++] = callback;
	}
	m->n = n;
	return (SPR_OK);
}

/* Memory grows inside the section: malloc never waits for the writer, and a longer section only delays what is retired. */
spr_err
spr_subscriptions_look_up(spr_subscriptions *s, const spr_predicate *predicate, int64_t now_s,
			  size_t max_fanout, spr_matches *m)
{
	walk w = {.now_s = now_s, .max_fanout = max_fanout};
	spr_err rv = SPR_OK;

	m->suppressed_duplicate = 0;
	m->is_held = false;
	do {
		m->n = 0;
		rv = gather(s, predicate, &w, m);
	} while (rv == SPR_E_FULL && (rv = spr_matches_reserve(m, w.wanted)) == SPR_OK);
	if (rv == SPR_OK && (w.n_telling > 1 || w.is_changed))
		rv = make_distinct(m);
	if (rv == SPR_OK && m->n > max_fanout)
		rv = SPR_E_TOO_MANY;
	if (rv != SPR_OK)
		m->n = 0;
	return (rv);
}

spr_err
spr_subscriptions_resolve(spr_subscriptions *s, spr_epoch_record *record,
			  const spr_predicate *predicate, int64_t now_s, size_t max_fanout,
			  spr_matches *m)
{
	spr_err rv = SPR_OK;

	spr_epoch_enter(record);
	rv = spr_subscriptions_look_up(s, predicate, now_s, max_fanout, m);
	SPR_YIELD();
	spr_matches_hold(m, 0);
	spr_epoch_leave(record);
	return (rv);
}

/* Is it told, or was it by a layer before? What is in told is not held: it needs that only after leave. */
static spr_err
judge(spr_callback *callback, spr_matches *told, spr_verdict *verdict)
{
	spr_err rv = spr_matches_reserve(told, told->n + 1);

	if (rv == SPR_OK)
		rv = spr_matches_seen_add(told, callback, told->n);
	if (rv == SPR_E_NOMEM)
		return (rv);
	*verdict = rv == SPR_E_EXISTS ? SPR_VERDICT_DUPLICATE : SPR_VERDICT_TOLD;
	if (*verdict == SPR_VERDICT_TOLD)
		told->callback[told->n++] = callback;
	return (SPR_OK);
}

static spr_err
explain_block(const spr_block *block, unsigned n_segments, int64_t now_s,
	      const spr_explain *explain, spr_matches *told)
{
	for (unsigned i = 0; i < block->capacity; i++) {
		int64_t expires_s = 0;
		spr_callback *callback = spr_entry_read(&block->entry[i], &expires_s);
		spr_verdict verdict = SPR_VERDICT_EXPIRED;

		if (callback == NULL)
			continue;
		if (expires_s >= now_s && judge(callback, told, &verdict) != SPR_OK)
			return (SPR_E_NOMEM);
		explain->on_subscriber(explain->arg, n_segments, spr_callback_text(callback),
				       expires_s, verdict);
	}
	return (SPR_OK);
}

static spr_err
explain_layer(const spr_trie_node *node, int64_t now_s, const spr_explain *explain,
	      spr_matches *told)
{
	spr_err rv = SPR_OK;

	for (const spr_block *b = spr_set_first(&node->set); b != NULL && rv == SPR_OK;
	     b = spr_block_next(b))
		rv = explain_block(b, node->n_segments, now_s, explain, told);
	return (rv);
}

/*
 * A person's question, so its memory may grow inside the section: malloc never waits for the
 * writer, and a longer section only delays what is retired.
 */
spr_err
spr_subscriptions_explain(spr_subscriptions *s, spr_epoch_record *record,
			  const spr_predicate *predicate, int64_t now_s, const spr_explain *explain)
{
	const spr_trie_node *layer[SPR_TRIE_LAYERS];
	spr_matches told = {0};
	unsigned n = 0, at = 0;
	spr_err rv = SPR_OK;

	spr_epoch_enter(record);
	n = spr_trie_find(&s->trie, predicate, layer);
	for (unsigned i = 0; i <= predicate->n_segments && rv == SPR_OK; i++) {
		explain->on_layer(explain->arg, i);
		if (at < n && layer[at]->n_segments == i)
			rv = explain_layer(layer[at++], now_s, explain, &told);
	}
	spr_epoch_leave(record);
	spr_matches_fini(&told);
	return (rv);
}

static uint64_t
figure(const _Atomic uint64_t *counter)
{
	/* relaxed: a statistic, nothing is decided on it */
	return (atomic_load_explicit(counter, memory_order_relaxed));
}

void
spr_subscriptions_get_stats(const spr_subscriptions *s, spr_subscriptions_stats *out)
{
	*out = (spr_subscriptions_stats){
	    .subscriptions = figure(&s->n),
	    .callbacks = figure(&s->callbacks.n),
	    .nodes = figure(&s->n_nodes),
	    .bytes = figure(&s->space.bytes),
	    .retired_bytes = spr_epoch_retired_bytes(s->space.epoch),
	};
}
