/*
 * subscriptions - who is told: the set of (pattern, callback, expires), resolved by predicate without locks.
 *
 * Built on the trie (route/trie.h): one writer changes it while any number of readers resolve.
 *
 * Writer      one control thread: subscribe, unsubscribe, and everything marked [control]
 * Reader      any thread with an epoch record: resolve, explain
 * Ownership   callbacks are interned and counted; a reader that keeps one beyond its epoch section holds it
 * Ordering    E8: a change made before its publish is visible to every resolve that starts afterwards
 * Progress    resolve never waits for the writer; a change costs the same however many subscribers its node has
 * Limits      SPR_E_TOO_MANY when a fan-out is over the caller's limit; memory otherwise
 * Teardown    no reader left; spr_subscriptions_free()
 *
 * may run at once      resolve  explain  subscribe/unsubscribe/expire  stats
 * resolve, explain        -        -               -                    -
 * change                  -        -               X                    -
 */
#pragma once

#include <stdatomic.h>

#include "base/epoch.h"
#include "base/error.h"
#include "route/predicate.h"
#include "route/top.h"

typedef struct spr_subscriptions spr_subscriptions;

/* An interned callback. Its job prefix is made once: {"s":"<callback, JSON-escaped>","payload": */
typedef struct spr_callback {
	spr_epoch_entry retire;
	_Atomic uint32_t refs;    /* one while interned, and one for each time a reader holds it */
	uint32_t n_subscriptions; /* writer only */
	/* constant once published */
	uint64_t hash; /* of the text */
	uint64_t job_hash
	    [2]; /* of the text, the same on every boot: the callback's part of job ids; low, high */
	uint32_t text_len;
	uint32_t prefix_len;
	uint32_t prefix_at; /* offset of the prefix in bytes; the text is at 0, NUL-terminated */
	char bytes[];
} spr_callback;

static inline const char *
spr_callback_text(const spr_callback *callback)
{
	return (callback->bytes);
}
static inline const char *
spr_callback_prefix(const spr_callback *callback)
{
	return (callback->bytes + callback->prefix_at);
}

/* The distinct callbacks of one fan-out, each held if is_held, else good until the section ends that found them. Reused from one resolve to the next; grows, never shrinks below. */
typedef struct spr_matches {
	spr_callback **callback;
	size_t n;
	size_t capacity;
	bool is_held;
	size_t longest_prefix;       /* of all in callback[] */
	size_t suppressed_expired;   /* by the last resolve */
	size_t suppressed_duplicate; /* by the last resolve */
	/* distinct-set scratch, owned by matches.c */
	void *seen;
	size_t seen_capacity;
} spr_matches;

/* [any] */
spr_err spr_subscriptions_new(spr_subscriptions **out, spr_epoch *epoch);
/* [main, no reader left] NULL is fine. */
void spr_subscriptions_free(spr_subscriptions *subscriptions);

/*
 * [control] Adds, or renews an existing (pattern, callback). *created tells which. expires_s is wall-clock seconds.
 * SPR_E_NOMEM leaves everything as it was.
 */
spr_err spr_subscriptions_subscribe(spr_subscriptions *subscriptions, const spr_predicate *pattern,
				    const char *callback, size_t callback_len, int64_t expires_s,
				    bool *created);
/* [control] SPR_E_NOT_FOUND when there is none. Empty nodes are pruned. */
spr_err
spr_subscriptions_unsubscribe(spr_subscriptions *subscriptions, const spr_predicate *pattern,
			      const char *callback, size_t callback_len);

/*
 * [any, own record, not inside a section] One epoch section: the distinct live callbacks of every layer of the
 * predicate, each held for the caller. A lease is dead when expires < now_s. SPR_E_TOO_MANY over max_fanout,
 * SPR_E_NOMEM; then nothing is held and matches->n is 0.
 */
spr_err spr_subscriptions_resolve(spr_subscriptions *subscriptions, spr_epoch_record *record,
				  const spr_predicate *predicate, int64_t now_s, size_t max_fanout,
				  spr_matches *matches);

/* [any, inside a section of its own record] The same, but nothing is held: for what is done with before the section ends. */
spr_err spr_subscriptions_look_up(spr_subscriptions *subscriptions, const spr_predicate *predicate,
				  int64_t now_s, size_t max_fanout, spr_matches *matches);
/* [owner, inside that section] Holds callback[from..n), unless they are held. */
void spr_matches_hold(spr_matches *matches, size_t from);

/* [any] Gives back one held callback. */
void spr_callback_drop(spr_subscriptions *subscriptions, spr_callback *callback);
/* [owner] Gives back callback[from..n), if they are held, and sets n to from. */
void spr_matches_drop_from(spr_subscriptions *subscriptions, spr_matches *matches, size_t from);
/* [owner] Frees the arrays; nothing may be held. */
void spr_matches_fini(spr_matches *matches);

/* Why a subscriber of a layer is or is not told. */
typedef enum spr_verdict {
	SPR_VERDICT_TOLD,
	SPR_VERDICT_EXPIRED,
	SPR_VERDICT_DUPLICATE
} spr_verdict;
typedef struct spr_explain {
	/* called for every layer, shortest first, the catch-all (0 segments) too, empty ones too */
	void (*on_layer)(void *arg, unsigned n_segments);
	/* called for each subscriber of the layer, inside the epoch section: copy what you keep, do not wait */
	void (*on_subscriber)(void *arg, unsigned n_segments, const char *callback,
			      int64_t expires_s, spr_verdict verdict);
	void *arg;
} spr_explain;
/* [any, own record] The same walk as resolve, told layer by layer. */
spr_err spr_subscriptions_explain(spr_subscriptions *subscriptions, spr_epoch_record *record,
				  const spr_predicate *predicate, int64_t now_s,
				  const spr_explain *explain);

typedef struct spr_subscriptions_stats {
	uint64_t subscriptions;
	uint64_t callbacks; /* distinct */
	uint64_t nodes;
	uint64_t bytes; /* of trie, blocks, index and callbacks, without malloc's own overhead */
	uint64_t retired_bytes;
} spr_subscriptions_stats;
/* [any] A snapshot. */
void
spr_subscriptions_get_stats(const spr_subscriptions *subscriptions, spr_subscriptions_stats *out);
/* [any] The patterns with the most subscribers, SPR_TOP_SHOWN at most, the largest first; how many. */
unsigned spr_subscriptions_top(spr_subscriptions *subscriptions, spr_top_entry *out);
