/*
 * fuzz_subscriptions - four bytes an instruction, run against a naive twin: a list that matches by
 * comparing strings.
 *
 *   operation  depth of the pattern  which of two names each segment has  callback
 *
 * One name is the beginning of the other. Operations: subscribe with one of four leases, the same with an
 * allocation failing, unsubscribe, resolve, reclaim. At the end everything is unsubscribed, and nothing
 * may be left.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "route/subscriptions.h"

#define N_MAX       2048
#define N_CALLBACKS 256
#define NOW         100

#define MUST(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct subscription {
	char pattern[32];
	unsigned callback;
	int64_t expires_s;
} subscription;

static spr_epoch *epoch;
static spr_epoch_record *record;
static spr_subscriptions *subs;
static spr_matches matches;
static subscription twin[N_MAX];
static size_t n_twin;

static size_t
callback_text(char text[16], unsigned callback)
{
	return ((size_t)snprintf(text, 16, "http://%u", callback));
}

static void
pattern_text(char text[32], uint8_t depth, uint8_t names)
{
	*text = '\0';
	for (unsigned i = 0; i < depth % 9u; i++) {
		strcat(text, i > 0 ? "." : "");
		strcat(text, (names >> i & 1) == 0 ? "A" : "AB");
	}
}

static spr_predicate
normalised(const char *text)
{
	spr_predicate p;

	if (*text == '\0')
		text = "*";
	MUST(spr_pattern_normalise(&p, text, strlen(text), true) == SPR_OK);
	return (p);
}

static subscription *
twin_find(const char *pattern, unsigned callback)
{
	for (size_t i = 0; i < n_twin; i++) {
		if (twin[i].callback == callback && strcmp(twin[i].pattern, pattern) == 0)
			return (&twin[i]);
	}
	return (NULL);
}

static void
subscribe(const char *pattern, unsigned callback, int64_t expires_s, unsigned long fail_at)
{
	subscription *known = twin_find(pattern, callback);
	spr_predicate p = normalised(pattern);
	char text[16];
	size_t len = callback_text(text, callback);
	bool created = false;
	spr_err rv;

	if (known == NULL && n_twin == N_MAX)
		return;
	spr_mem_fail_at(fail_at);
	rv = spr_subscriptions_subscribe(subs, &p, text, len, expires_s, &created);
	spr_mem_fail_at(0);
	if (rv == SPR_E_NOMEM && fail_at != 0 && known == NULL)
		return;
	MUST(rv == SPR_OK);
	MUST(created == (known == NULL));
	if (known == NULL) {
		known = &twin[n_twin++];
		strcpy(known->pattern, pattern);
		known->callback = callback;
	}
	known->expires_s = expires_s;
}

static void
unsubscribe(const char *pattern, unsigned callback)
{
	subscription *known = twin_find(pattern, callback);
	spr_predicate p = normalised(pattern);
	char text[16];
	size_t len = callback_text(text, callback);

	MUST(spr_subscriptions_unsubscribe(subs, &p, text, len) ==
	     (known == NULL ? SPR_E_NOT_FOUND : SPR_OK));
	if (known != NULL)
		*known = twin[--n_twin];
}

static bool
is_layer(const char *pattern, const char *predicate)
{
	size_t n = strlen(pattern);

	return (n == 0 || (strncmp(pattern, predicate, n) == 0 &&
			   (predicate[n] == '\0' || predicate[n] == '.')));
}

static void
resolve(const char *predicate)
{
	spr_predicate p = normalised(predicate);
	unsigned n_live[N_CALLBACKS] = {0};
	size_t n_all = 0, n_distinct = 0, n_expired = 0;

	for (size_t i = 0; i < n_twin; i++) {
		if (!is_layer(twin[i].pattern, predicate))
			continue;
		if (twin[i].expires_s < NOW) {
			n_expired++;
			continue;
		}
		n_all++;
		n_distinct += n_live[twin[i].callback]++ == 0;
	}
	MUST(spr_subscriptions_resolve(subs, record, &p, NOW, N_CALLBACKS, &matches) == SPR_OK);
	MUST(matches.n == n_distinct);
	MUST(matches.suppressed_expired == n_expired);
	MUST(matches.suppressed_duplicate == n_all - n_distinct);
	for (size_t i = 0; i < matches.n; i++) {
		unsigned callback = N_CALLBACKS;

		MUST(sscanf(spr_callback_text(matches.callback[i]), "http://%u", &callback) == 1);
		MUST(callback < N_CALLBACKS && n_live[callback] > 0);
		n_live[callback] = 0; /* not twice */
	}
	spr_matches_drop_from(subs, &matches, 0);
}

static void
run(const uint8_t instruction[4])
{
	char pattern[32];
	int64_t expires_s = NOW + 1 - (instruction[0] >> 6);

	pattern_text(pattern, instruction[1], instruction[2]);
	switch (instruction[0] % 8) {
	case 0:
	case 1:
		subscribe(pattern, instruction[3], expires_s, 0);
		break;
	case 2:
		subscribe(pattern, instruction[3], expires_s, 1u + (instruction[0] >> 3 & 3));
		break;
	case 3:
	case 4:
		unsubscribe(pattern, instruction[3]);
		break;
	case 5:
		spr_epoch_barrier(epoch);
		break;
	default:
		resolve(pattern);
	}
}

static void
check_nothing_is_left(void)
{
	spr_subscriptions_stats stats;

	while (n_twin > 0) {
		subscription last = twin[n_twin - 1];

		unsubscribe(last.pattern, last.callback);
	}
	spr_epoch_barrier(epoch);
	spr_subscriptions_get_stats(subs, &stats);
	MUST(stats.subscriptions == 0 && stats.callbacks == 0 && stats.nodes == 0);
	MUST(stats.bytes == 0 && stats.retired_bytes == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	MUST(spr_epoch_new(&epoch) == SPR_OK);
	MUST(spr_epoch_register(epoch, &record) == SPR_OK);
	MUST(spr_subscriptions_new(&subs, epoch) == SPR_OK);
	for (size_t at = 0; at + 4 <= size; at += 4)
		run(data + at);
	check_nothing_is_left();
	spr_matches_fini(&matches);
	spr_subscriptions_free(subs);
	spr_epoch_unregister(record);
	spr_epoch_free(epoch);
	return (0);
}
