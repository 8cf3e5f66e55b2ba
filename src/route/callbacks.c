/*
 * callbacks - see callbacks.h. Interning makes "the same callback" a comparison of two pointers,
 * and the JSON escaping of a job's head a cost of subscribing instead of one of each job.
 *
 * Who frees. Subscriptions are counted by the writer alone (n_subscriptions, no atomics). When the
 * last one goes, the callback leaves the table and is retired; its destructor drops the interned
 * reference. So inside a section that found it refs is never 0, an increment is enough to keep it,
 * and the last drop, a reader's or the destructor's, frees it: by then nobody can find it any more.
 *
 * When the text is subscribed again before that, it gets a second object. A reader whose section
 * spans both changes may meet both; therefore distinctness (matches.c) compares texts when hashes
 * are equal. Rejected: reviving the retired object, which needs a second grace period whenever it
 * was used in between.
 */
#include "route/callbacks.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/assert.h"

static const char prefix_head[] = "{\"s\":\"";
static const char prefix_tail[] = "\",\"payload\":";

typedef struct text_key {
	uint64_t hash;
	const char *text;
	size_t len;
} text_key;

static bool
callback_is(const void *item, const void *key)
{
	const spr_callback *callback = item;
	const text_key *k = key;

	return (callback->hash == k->hash && callback->text_len == k->len &&
		memcmp(callback->bytes, k->text, k->len) == 0);
}

static size_t
callback_bytes(size_t text_len, size_t prefix_len)
{
	return (sizeof(spr_callback) + text_len + 1 + prefix_len + 1);
}

/* Escapes one byte of a JSON string into out; the bytes it takes. Everything above ASCII stays: it
 * is valid UTF-8. */
static size_t
escape(char out[6], unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	if (c >= 0x20 && c != '"' && c != '\\') {
		out[0] = (char)c;
		return (1);
	}
	out[0] = '\\';
	if (c >= 0x20) {
		out[1] = (char)c;
		return (2);
	}
	memcpy(out + 1, "u00", 3);
	out[4] = hex[c >> 4];
	out[5] = hex[c & 0xf];
	return (6);
}

static size_t
escaped_len(const char *text, size_t len)
{
	char scratch[6];
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += escape(scratch, (unsigned char)text[i]);
	return (n);
}

static void
write_prefix(char *out, const char *text, size_t len)
{
	memcpy(out, prefix_head, sizeof(prefix_head) - 1);
	out += sizeof(prefix_head) - 1;
	for (size_t i = 0; i < len; i++)
		out += escape(out, (unsigned char)text[i]);
	memcpy(out, prefix_tail, sizeof(prefix_tail)); /* with the NUL */
}

static spr_callback *
callback_new(spr_callbacks *callbacks, const text_key *key)
{
	size_t prefix_len =
	    sizeof(prefix_head) - 1 + escaped_len(key->text, key->len) + sizeof(prefix_tail) - 1;
	XXH128_hash_t job_hash = XXH3_128bits(key->text, key->len);
	spr_callback *callback =
	    spr_space_alloc(callbacks->space, callback_bytes(key->len, prefix_len));

	if (callback == NULL)
		return (NULL);
	atomic_init(&callback->refs, 1);
	callback->hash = key->hash;
	callback->job_hash[0] = job_hash.low64;
	callback->job_hash[1] = job_hash.high64;
	callback->text_len = (uint32_t)key->len;
	callback->prefix_len = (uint32_t)prefix_len;
	callback->prefix_at = (uint32_t)key->len + 1;
	memcpy(callback->bytes, key->text, key->len);
	write_prefix(callback->bytes + callback->prefix_at, key->text, key->len);
	return (callback);
}

static void
drop(spr_callback *callback)
{
	/* acq_rel: every holder's last look comes before the free */
	if (atomic_fetch_sub_explicit(&callback->refs, 1, memory_order_acq_rel) == 1)
		spr_space_destroy(callback);
}

static void
callback_destroy(spr_epoch_entry *entry)
{
	drop((spr_callback *)(void *)((char *)entry - offsetof(spr_callback, retire)));
}

static text_key
key_of(const spr_callbacks *callbacks, const char *text, size_t len)
{
	return ((text_key){XXH3_64bits_withSeed(text, len, callbacks->seed), text, len});
}

static void
count(spr_callbacks *callbacks, uint64_t more)
{
	/* relaxed: one writer, a statistic for readers */
	atomic_store_explicit(&callbacks->n,
			      atomic_load_explicit(&callbacks->n, memory_order_relaxed) + more,
			      memory_order_relaxed);
}

void
spr_callbacks_init(spr_callbacks *callbacks, spr_space *space, uint64_t seed)
{
	spr_table_init(&callbacks->table, space, offsetof(spr_callback, hash));
	callbacks->seed = seed;
	callbacks->space = space;
	atomic_init(&callbacks->n, 0);
}

void
spr_callbacks_fini(spr_callbacks *callbacks)
{
	spr_table_fini(&callbacks->table);
}

spr_callback *
spr_callbacks_find(const spr_callbacks *callbacks, const char *text, size_t len)
{
	text_key key = key_of(callbacks, text, len);

	return (spr_table_find(&callbacks->table, key.hash, callback_is, &key));
}

spr_callback *
spr_callbacks_intern(spr_callbacks *callbacks, const char *text, size_t len)
{
	text_key key = key_of(callbacks, text, len);
	spr_callback *callback = spr_table_find(&callbacks->table, key.hash, callback_is, &key);

	if (callback == NULL) {
		if ((callback = callback_new(callbacks, &key)) == NULL)
			return (NULL);
		if (spr_table_insert(&callbacks->table, callback) != SPR_OK) {
			spr_space_free(callbacks->space, callback,
				       callback_bytes(len, callback->prefix_len));
			return (NULL);
		}
		count(callbacks, 1);
	}
	callback->n_subscriptions++;
	return (callback);
}

void
spr_callbacks_release(spr_callbacks *callbacks, spr_callback *callback)
{
	SPR_ASSERT(callback->n_subscriptions > 0);
	if (--callback->n_subscriptions > 0)
		return;
	spr_table_remove(&callbacks->table, callback);
	count(callbacks, UINT64_MAX);
	spr_space_retire(callbacks->space, &callback->retire, callback_destroy,
			 callback_bytes(callback->text_len, callback->prefix_len));
}

bool
spr_callback_is_same(const spr_callback *a, const spr_callback *b)
{
	return (a == b || (a->hash == b->hash && a->text_len == b->text_len &&
			   memcmp(a->bytes, b->bytes, a->text_len) == 0));
}

void
spr_callback_drop(spr_subscriptions *subscriptions, spr_callback *callback)
{
	(void)subscriptions; /* the count is the callback's own */
	drop(callback);
}
