/*
 * The ledger: answers a second, from a notification's completion to its record being free again, with an upstream on loopback that
 * accepts everything. TSV, one line a series: ids a request at most, answers a second, requests, processor ns an answer (of the
 * whole process, the upstream's thread too).
 *
 * Expected: with one id a request each costs a round trip's system calls and wake-ups; from 16 on requests are shared, the
 * cost of an answer falls to a few hundred ns and levels out.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "path/ledger.h"
#include "sp_raw.h"

#define CAPACITY 65536
#define WINDOW   8
#define ANSWERS  1000000
#define ALONE    50000 /* as many, one a request */
#define ROUNDS   3

static spr_notifications notifications;
static spr_waiters waiters; /* nobody */
static spr_answers *answers;
static spr_dead_letter *dead_letter;
static atomic_ulong n_requests;

static void
must(spr_err rv)
{
	if (rv == SPR_OK)
		return;
	fprintf(stderr, "bench_ledger: %s\n", spr_error_text(rv));
	exit(1);
}

static void *
run_upstream(void *arg)
{
	static const char reply[] = "{\"ok\":true}";
	int listener = *(int *)arg;
	const uint8_t *data;
	size_t len;
	spr_sp sp;

	/* for as many connections as there are runs */
	for (;;) {
		if (!spr_sp_adopt(&sp, accept(listener, NULL, NULL), SPR_SP_REP))
			continue;
		while (spr_sp_recv(&sp, &data, &len, 86400000) == SPR_SP_OK && len >= 4) {
			uint8_t id[4];

			memcpy(id, data, sizeof(id));
			atomic_fetch_add(&n_requests, 1);
			if (spr_sp_send(&sp, id, sizeof(id), reply, sizeof(reply) - 1, 10000) !=
			    SPR_SP_OK)
				break;
		}
		spr_sp_close(&sp);
	}
	return (NULL);
}

static uint64_t
processor_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return ((uint64_t)t.tv_sec * SPR_NS_PER_S + (uint64_t)t.tv_nsec);
}

static spr_answer_stock stock; /* of the table that there is */

/* As a dispatcher has it when its last job is done. */
static bool
complete_one(spr_ledger *ledger, uint64_t number)
{
	spr_notification *n = spr_notification_take(&notifications, 0);
	spr_answer_key key = {.low = number * UINT64_C(0x9e3779b97f4a7c15), .high = number};

	if (n == NULL)
		return (false);
	n->message = NULL;
	n->upstream = 0;
	n->n_jobs = 1;
	n->id_len = (uint16_t)snprintf((char *)n->id, sizeof(n->id), "urn:uuid:%024llx",
				       (unsigned long long)number);
	atomic_store(&n->failure, SPREADER_REASON_NONE);
	spr_notification_begin(n, spr_clock_now_ns());
	if (spr_answers_claim(answers, &stock, key, &n->entry) != SPR_CLAIM_NEW)
		exit(1);
	spr_ledger_complete(ledger, n);
	return (true);
}

static void
rest(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

static void
run_once(spr_ledger *ledger, unsigned batch, uint64_t n)
{
	static uint64_t number;
	uint64_t began_ns = spr_clock_now_ns(), cpu_ns = processor_ns(), end = number + n;
	unsigned long requests = atomic_load(&n_requests);
	double took_s;

	while (number < end) {
		if (complete_one(ledger, number + 1))
			number++;
		else
			rest();
	}
	while (spr_notifications_in_flight(&notifications) > 0)
		rest();
	took_s = (double)(spr_clock_now_ns() - began_ns) / 1e9;
	printf("%u\t%.0f\t%lu\t%.0f\n", batch, (double)n / took_s,
	       atomic_load(&n_requests) - requests, (double)(processor_ns() - cpu_ns) / (double)n);
	fflush(stdout);
}

static void
run(const char *url, unsigned batch)
{
	spr_ledger_config config = {
	    .batch = batch,
	    .window = WINDOW,
	    .timeout_ms = 10000,
	    .instance = "cafe",
	    .notifications = &notifications,
	    .answers = answers,
	    .dead_letter = dead_letter,
	};
	spr_ledger *ledger = NULL;

	must(spr_ledger_new(&ledger, &config));
	must(spr_ledger_dial(ledger, "", url));
	must(spr_ledger_start(ledger));
	while (spr_ledger_peers(ledger) == 0)
		rest();
	for (int i = 0; i < ROUNDS; i++)
		run_once(ledger, batch, batch == 1 ? ALONE : ANSWERS);
	spr_ledger_stop(ledger);
	spr_ledger_free(ledger);
}

int
main(void)
{
	static const unsigned batches[] = {1, 16, 256, 1024};
	pthread_t upstream;
	char url[64];
	int listener;

	spr_log_set_level(SPR_LOG_ERROR);
	must(spr_notifications_init(&notifications, CAPACITY, 1, &waiters));
	stock = (spr_answer_stock){0};
	must(spr_answers_new(&answers, 1, CAPACITY, 1048576, 0));
	must(spr_dead_letter_new(&dead_letter, NULL));
	if ((listener = spr_sp_listen("tcp://127.0.0.1:0", url)) < 0 ||
	    pthread_create(&upstream, NULL, run_upstream, &listener) != 0)
		return (1);
	printf("ids\tanswers_s\trequests\tcpu_ns\n");
	for (unsigned i = 0; i < sizeof(batches) / sizeof(batches[0]); i++)
		run(url, batches[i]);
	/* the upstream's thread goes with the process */
	spr_answers_free(answers);
	spr_notifications_fini(&notifications);
	spr_dead_letter_free(dead_letter);
	return (0);
}
