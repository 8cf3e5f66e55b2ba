/*
 * bench_churn - a thread that keeps the pace: what is due goes out, as long as not too many are open. The end of a subscription
 * follows its beginning by more requests than can be open at once, so it never overtakes it.
 */
#include "bench_churn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bench_mark.h"
#include "bench_talk.h"

#define OPEN_MAX 16
#define LAG      64 /* new subscriptions until the end of one; more than OPEN_MAX */
#define REPLY_NS (60 * SPR_NS_PER_S)
#define BESIDE   9000000 /* numbers of background patterns that no background has */
#define PATTERNS 1000

struct bench_churn {
	/* constant after start */
	bench_talk talk;
	pthread_t thread;
	unsigned depth, a_second;

	atomic_bool is_stopping;
	/* the thread's; read after joining it */
	uint64_t n_sent, n_done, n_refused;
};

/* Change i: a new subscription and, in turn, the end of the one that was made LAG before. */
static size_t
put_change(const bench_churn *churn, char *out, size_t size, uint64_t i)
{
	char pattern[BENCH_PATTERN_MAX];
	bool is_new = i < LAG || (i - LAG) % 2 == 0;
	uint64_t nth = i < LAG ? i : is_new ? LAG + (i - LAG) / 2 : (i - LAG) / 2;

	bench_background_pattern(pattern, churn->depth, BESIDE + (unsigned)(nth % PATTERNS));
	return ((size_t)snprintf(
	    out, size,
	    "{\"op\":\"%s\",\"pattern\":\"%s\",\"callback\":\"http://churn.bench.example/%llu\"}",
	    is_new ? "subscribe" : "unsubscribe", pattern, (unsigned long long)nth));
}

static bool
send_due(bench_churn *churn, uint64_t due)
{
	char request[BENCH_PATTERN_MAX + 128];

	while (churn->n_sent < due && churn->n_sent - churn->n_done - churn->n_refused < OPEN_MAX) {
		size_t len = put_change(churn, request, sizeof(request), churn->n_sent);

		if (bench_talk_send(&churn->talk, request, len) != SPR_OK)
			return (false);
		churn->n_sent++;
	}
	return (true);
}

static spr_err
take_one(bench_churn *churn, uint64_t ns)
{
	bool is_ok = false;
	spr_err rv = bench_talk_take(&churn->talk, ns, &is_ok);

	if (rv == SPR_OK) {
		churn->n_done += is_ok;
		churn->n_refused += !is_ok;
	}
	return (rv);
}

static void *
run(void *arg)
{
	bench_churn *churn = arg;
	uint64_t step_ns = SPR_NS_PER_S / churn->a_second, begun_ns = spr_clock_now_ns();
	spr_err rv = SPR_OK;

	pthread_setname_np(pthread_self(), "churn");
	while (!atomic_load(&churn->is_stopping) && (rv == SPR_OK || rv == SPR_E_TIMEOUT)) {
		uint64_t gone_ns = spr_clock_now_ns() - begun_ns;

		if (!send_due(churn, gone_ns / SPR_NS_PER_S * churn->a_second +
					 gone_ns % SPR_NS_PER_S * churn->a_second / SPR_NS_PER_S))
			break;
		rv = take_one(churn, step_ns);
	}
	while (churn->n_done + churn->n_refused < churn->n_sent &&
	       take_one(churn, REPLY_NS) == SPR_OK)
		;
	churn->n_refused = churn->n_sent - churn->n_done;
	return (NULL);
}

spr_err
bench_churn_start(bench_churn **out, const char *control_url, unsigned depth, unsigned a_second)
{
	bench_churn *churn = spr_mem_zalloc(sizeof(*churn));
	spr_err rv;

	if (churn == NULL)
		return (SPR_E_NOMEM);
	churn->depth = depth;
	churn->a_second = a_second;
	if ((rv = bench_talk_open(&churn->talk, control_url)) == SPR_OK &&
	    pthread_create(&churn->thread, NULL, run, churn) != 0)
		rv = spr_fail(SPR_E_SYSTEM, "cannot start a thread");
	if (rv != SPR_OK) {
		spr_wrap("churn");
		bench_talk_close(&churn->talk);
		spr_mem_free(churn);
		return (rv);
	}
	*out = churn;
	return (SPR_OK);
}

void
bench_churn_stop(bench_churn *churn, uint64_t *n_done, uint64_t *n_refused)
{
	if (churn == NULL)
		return;
	atomic_store(&churn->is_stopping, true);
	pthread_join(churn->thread, NULL);
	*n_done = churn->n_done;
	*n_refused = churn->n_refused;
	bench_talk_close(&churn->talk);
	spr_mem_free(churn);
}
