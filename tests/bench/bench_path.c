/*
 * The path without sockets: how long dispatchers need for what is already in their rings when nothing slows the outbox.
 * TSV, one line a series.
 *
 *   bare      no ids, nobody to answer
 *   envelope  each document claims its id in the answer table, and its record goes to the ledger's mailbox
 *
 * Every message is one document of about 300 bytes with a message to be posted as a string; each has memory of its own,
 * so that it comes cold. Fan-outs of 1, 10 and 100; one dispatcher and two. ns_document and ns_job are processor time: wall
 * time times dispatchers.
 *
 * Expected: with one dispatcher a document costs well under a microsecond and each further job about 100 ns (allocation
 * and copy), so ns_job falls with the fan-out and levels out. Two dispatchers share the byte count of the outbox and the
 * reference counts of the callbacks, which all of these documents have in common: each then pays up to three times as
 * much a job. A send costs microseconds, so behind sockets this does not show.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "path/dispatch.h"

#define N_MESSAGES 50000
#define RECEIVERS  2
#define RING_SLOTS 65536
#define ROUNDS     3
#define TEXT_MAX   512

/* A pull whose receives the bench completes itself; the push is the one to nowhere. */
struct spr_pull {
	spr_pull_config config;
};

static struct spr_pull the_pull;
static spr_buf *bufs;
static char *texts;

static void
must(spr_err rv)
{
	if (rv == SPR_OK)
		return;
	fprintf(stderr, "%s\n", spr_error_text(rv));
	exit(1);
}

static spr_err
bench_pull_open(spr_pull **out, const spr_pull_config *config)
{
	the_pull.config = *config;
	*out = &the_pull;
	return (SPR_OK);
}

static void
bench_pull_ignore(spr_pull *pull)
{
	(void)pull;
}

static void
bench_pull_rearm(spr_pull *pull, unsigned receive)
{
	(void)pull;
	(void)receive;
}

static void
release_buf(spr_buf *buf)
{
	(void)buf;
}

typedef struct setting {
	const char *name;
	bool has_upstream;
	unsigned n_dispatchers;
	unsigned fanout;
} setting;

typedef struct path {
	spr_notifications notifications; /* first: it needs its alignment */
	spr_waiters waiters;
	spr_answers *answers;
	spr_ledger *ledger;
	spr_epoch *epoch;
	spr_subscriptions *subscriptions;
	spr_dead_letter *dead_letter;
	spr_transport transport;
	spr_intake *intake;
	spr_outbox *outbox;
	spr_dispatchers *dispatchers;
} path;

static void
open_ledger(path *p, const setting *one)
{
	spr_ledger_config config = {
	    .batch = 256,
	    .window = 1,
	    .timeout_ms = 1000,
	    .instance = "cafe",
	    .notifications = &p->notifications,
	    .dead_letter = p->dead_letter,
	};
	char bound[SPR_URL_MAX];

	must(spr_notifications_init(&p->notifications, N_MESSAGES + 64, &p->waiters));
	if (one->has_upstream)
		must(spr_answers_new(&p->answers, N_MESSAGES + 64, 1048576, 0));
	config.answers = p->answers;
	must(spr_ledger_new(&p->ledger, &config));
	if (one->has_upstream) /* never started: it only collects */
		must(spr_ledger_listen(p->ledger, "", "tcp://127.0.0.1:0", bound));
}

static void
open_ends(path *p)
{
	spr_intake_config intake = {
	    .transport = &p->transport,
	    .receivers = RECEIVERS,
	    .ring_slots = RING_SLOTS,
	    .max_message = TEXT_MAX,
	    .max_bytes = (size_t)1 << 30,
	    .dispatchers = &p->waiters,
	    .n_dispatchers = p->waiters.n,
	};
	spr_outbox_config outbox = {
	    .transport = &p->transport,
	    .max_bytes = (size_t)1 << 30,
	    .dispatchers = &p->waiters,
	    .ledger = p->ledger,
	};

	p->transport = spr_transport_none;
	p->transport.pull_open = bench_pull_open;
	p->transport.pull_rearm = bench_pull_rearm;
	p->transport.pull_start = p->transport.pull_stop = p->transport.pull_close =
	    bench_pull_ignore;
	must(spr_intake_new(&p->intake, &intake));
	must(spr_outbox_new(&p->outbox, &outbox));
	must(spr_dispatchers_connect(p->dispatchers, p->intake, p->outbox));
}

static void
subscribe(path *p, unsigned n)
{
	spr_predicate pattern;
	char callback[128];
	bool created;

	must(spr_pattern_normalise(&pattern, "UN.CEFACT.TRADE.CO.*", 20, false));
	for (unsigned i = 0; i < n; i++) {
		size_t len =
		    (size_t)snprintf(callback, sizeof(callback),
				     "https://subscriber-%u.example.org/websub/callback", i);

		must(spr_subscriptions_subscribe(p->subscriptions, &pattern, callback, len,
						 INT64_MAX, &created));
	}
}

static path *
path_open(const setting *one)
{
	path *p = spr_mem_zalloc_aligned(sizeof(*p));
	spr_dispatch_config config = {
	    .n_dispatchers = one->n_dispatchers,
	    .format = one->has_upstream ? SPR_FORMAT_ENVELOPE : SPR_FORMAT_BARE,
	    .message_as_string = true,
	    .max_notification = 256 << 10,
	    .max_job = 1 << 20,
	    .max_fanout = 1000000,
	    .key_seed = 42,
	};

	if (p == NULL)
		exit(1);
	p->waiters.n = one->n_dispatchers;
	if ((p->waiters.waiter = spr_mem_zalloc_aligned(p->waiters.n * sizeof(spr_waiter))) == NULL)
		exit(1);
	must(spr_epoch_new(&p->epoch));
	must(spr_subscriptions_new(&p->subscriptions, p->epoch));
	must(spr_dead_letter_new(&p->dead_letter, NULL));
	open_ledger(p, one);
	config.waiters = &p->waiters;
	config.ledger = p->ledger;
	config.answers = p->answers;
	config.notifications = &p->notifications;
	config.subscriptions = p->subscriptions;
	config.epoch = p->epoch;
	config.dead_letter = p->dead_letter;
	must(spr_dispatchers_new(&p->dispatchers, &config));
	open_ends(p);
	subscribe(p, one->fanout);
	return (p);
}

static void
path_close(path *p)
{
	spr_dispatchers_stop(p->dispatchers);
	spr_outbox_free(p->outbox);
	spr_intake_free(p->intake);
	spr_dispatchers_free(p->dispatchers);
	spr_ledger_free(p->ledger);
	spr_answers_free(p->answers);
	spr_notifications_fini(&p->notifications);
	spr_dead_letter_free(p->dead_letter);
	spr_subscriptions_free(p->subscriptions);
	spr_epoch_free(p->epoch);
	spr_mem_free(p->waiters.waiter);
	spr_mem_free(p);
}

#define BODY                                                                                      \
	"{\"predicate\":\"UN.CEFACT.TRADE.CO.created\",\"message\":"                              \
	"{\"id\":\"urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66\",\"sender\":\"gb.trade.node\"," \
	"\"status\":\"issued\",\"link\":\"https://example.org/documents/%u\",\"amount\":1234.50}}"

/* Nobody reads yet: the rings are filled to the last message. */
static void
fill(bool is_envelope)
{
	for (unsigned i = 0; i < N_MESSAGES; i++) {
		char *text = texts + (size_t)i * TEXT_MAX;
		int len = is_envelope
			      ? snprintf(text, TEXT_MAX, "{\"id\":\"%u\",\"body\":" BODY "}", i, i)
			      : snprintf(text, TEXT_MAX, BODY, i);

		bufs[i] = (spr_buf){
		    .data = (const uint8_t *)text,
		    .len = (size_t)len,
		    .release = release_buf,
		};
		atomic_init(&bufs[i].refs, 1);
		if (!the_pull.config.on_receive(the_pull.config.arg, i % RECEIVERS, &bufs[i])) {
			fprintf(stderr, "the rings are too small\n");
			exit(1);
		}
	}
}

/* Nanoseconds for all of them. */
static uint64_t
run_once(const setting *one)
{
	const struct timespec moment = {.tv_nsec = 100000};
	path *p = path_open(one);
	uint64_t began_ns, took_ns;

	fill(one->has_upstream);
	began_ns = spr_clock_now_ns();
	must(spr_dispatchers_start(p->dispatchers));
	while (spr_intake_bytes(p->intake) > 0)
		nanosleep(&moment, NULL);
	took_ns = spr_clock_now_ns() - began_ns;
	path_close(p);
	return (took_ns);
}

/* The best of a few: what disturbs only adds. */
static void
run(const setting *one)
{
	uint64_t best_ns = UINT64_MAX;
	double cpu_ns;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t took_ns = run_once(one);

		best_ns = took_ns < best_ns ? took_ns : best_ns;
	}
	cpu_ns = (double)best_ns * one->n_dispatchers / N_MESSAGES;
	printf("%s\t%u\t%u\t%.0f\t%.0f\t%.0f\n", one->name, one->n_dispatchers, one->fanout,
	       N_MESSAGES * 1e9 / (double)best_ns, cpu_ns, cpu_ns / one->fanout);
	fflush(stdout);
}

int
main(void)
{
	static const unsigned fanouts[] = {1, 10, 100};

	spr_log_set_level(SPR_LOG_ERROR);
	bufs = calloc(N_MESSAGES, sizeof(*bufs));
	texts = malloc((size_t)N_MESSAGES * TEXT_MAX);
	if (bufs == NULL || texts == NULL)
		return (1);
	printf("series\tdispatchers\tfanout\tdocuments_s\tns_document\tns_job\n");
	for (unsigned upstream = 0; upstream < 2; upstream++) {
		for (unsigned d = 1; d <= 2; d++) {
			for (unsigned i = 0; i < 3; i++) {
				setting one = {upstream ? "envelope" : "bare", upstream, d,
					       fanouts[i]};

				run(&one);
			}
		}
	}
	free(texts);
	free(bufs);
	return (0);
}
