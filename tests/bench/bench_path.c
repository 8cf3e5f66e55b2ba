/*
 * The path without sockets: how long dispatchers need for what is already in their rings when nothing slows the outbox.
 * TSV, one line a series.
 *
 * usage: bench_path [SERIES [FANOUT [DISPATCHERS]]]
 *
 *   bare      no ids, nobody to answer
 *   envelope  each document claims its id in the answer table, and its record goes to the ledger's mailbox
 *   batched   as envelope, 64 documents a message and batches of 256 KiB
 *
 * Documents are of about 300 bytes with a message to be posted as a string; each has memory of its own, so that it comes
 * cold. Fan-outs of 1, 10 and 100; one dispatcher and two. ns_document and ns_job are processor time of all threads, so they
 * say something on a machine that others use too; documents_s is by the wall clock.
 *
 * Expected: with one dispatcher a document costs well under a microsecond and each further job some 50 ns, so ns_job falls with
 * the fan-out and levels out. Two dispatchers share the answer table and the ledger's mailbox: they need up to a fifth more
 * each, and up to a half where a line of memory is slow to go from one processor to the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "path/dispatch.h"

#define N_DOCUMENTS 51200
#define A_BATCH     64
#define RECEIVERS   2
#define RING_SLOTS  65536
#define ROUNDS      3
#define TEXT_MAX    512

/* A pull whose receives the bench completes itself; the push is the one to nowhere. */
struct spr_pull {
	spr_pull_config config;
};

static struct spr_pull the_pull;
/* As a receiver has them that keeps to one dispatcher: no two share a cache line. */
typedef struct message {
	_Alignas(SPR_CACHELINE) spr_buf buf;
} message;

static message *messages;
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
	unsigned a_message; /* documents */
	size_t batch_bytes;
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

/*
 * Ids that come and go, in all parts of the table: the first touch of each of its pages is a fault, of which other threads' processors
 * are told, and a daemon soon has them behind it.
 */
static void
warm_up(spr_answers *answers)
{
	static uint32_t entry[N_DOCUMENTS];
	spr_answer_stock stock = {0}; /* as one dispatcher more has it */

	for (uint64_t i = 0; i < N_DOCUMENTS; i++)
		(void)spr_answers_claim(answers, &stock, (spr_answer_key){.low = i * 41, .high = i},
					&entry[i]);
	for (unsigned i = 0; i < N_DOCUMENTS; i++)
		(void)spr_answers_forget(answers, entry[i]);
}

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

	must(spr_notifications_init(&p->notifications, N_DOCUMENTS + 64, one->n_dispatchers,
				    &p->waiters));
	/* as when all have been in flight at some time */
	for (unsigned i = 0; i < p->notifications.n_shards; i++)
		atomic_store(&p->notifications.shards[i].n_touched, p->notifications.a_shard);
	if (one->has_upstream)
		must(spr_answers_new(&p->answers, one->n_dispatchers + 1, N_DOCUMENTS + 64, 1048576,
				     0));
	if (p->answers != NULL)
		warm_up(p->answers);
	config.answers = p->answers;
	must(spr_ledger_new(&p->ledger, &config));
	if (one->has_upstream) /* never started: it only collects */
		must(spr_ledger_listen(p->ledger, "", "tcp://127.0.0.1:0", bound));
}

static void
open_ends(path *p, const setting *one)
{
	spr_intake_config intake = {
	    .transport = &p->transport,
	    .receivers = RECEIVERS,
	    .ring_slots = RING_SLOTS,
	    .max_message = TEXT_MAX * A_BATCH,
	    .max_bytes = (size_t)1 << 30,
	    .dispatchers = &p->waiters,
	    .n_dispatchers = p->waiters.n,
	};
	spr_outbox_config outbox = {
	    .transport = &p->transport,
	    .max_bytes = (size_t)1 << 30,
	    .batch_bytes = one->batch_bytes,
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
	    .on_one_line = one->batch_bytes > 0,
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
	open_ends(p, one);
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

/* Documents [i, i + n) behind each other. */
static size_t
write_documents(char *text, unsigned i, unsigned n, bool is_envelope)
{
	size_t len = 0;

	for (unsigned end = i + n; i < end; i++)
		len += (size_t)(is_envelope ? sprintf(text + len,
						      "{\"id\":\"%u\",\"body\":" BODY "}\n", i, i)
					    : sprintf(text + len, BODY "\n", i));
	return (len);
}

/* Nobody reads yet: the rings are filled to the last message. */
static void
fill(const setting *one)
{
	for (unsigned i = 0, m = 0; i < N_DOCUMENTS; i += one->a_message, m++) {
		char *text = texts + (size_t)i * TEXT_MAX;

		spr_buf *buf = &messages[m].buf;

		*buf = (spr_buf){
		    .data = (const uint8_t *)text,
		    .len = write_documents(text, i, one->a_message, one->has_upstream),
		    .release = release_buf,
		};
		atomic_init(&buf->refs, 1);
		if (!the_pull.config.on_receive(the_pull.config.arg, m % RECEIVERS, buf)) {
			fprintf(stderr, "the rings are too small\n");
			exit(1);
		}
	}
}

static uint64_t
cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return ((uint64_t)t.tv_sec * SPR_NS_PER_S + (uint64_t)t.tv_nsec);
}

struct took {
	uint64_t wall_ns, cpu_ns; /* for all documents */
};

static struct took
run_once(const setting *one)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	path *p = path_open(one);
	struct took took;

	fill(one);
	took = (struct took){spr_clock_now_ns(), cpu_ns()};
	must(spr_dispatchers_start(p->dispatchers));
	while (spr_intake_bytes(p->intake) > 0 || !spr_dispatchers_are_idle(p->dispatchers))
		nanosleep(&moment, NULL);
	took = (struct took){spr_clock_now_ns() - took.wall_ns, cpu_ns() - took.cpu_ns};
	path_close(p);
	return (took);
}

/* The best of a few: what disturbs only adds. */
static void
run(const setting *one)
{
	struct took best = {UINT64_MAX, UINT64_MAX};
	double ns;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct took took = run_once(one);

		best.wall_ns = took.wall_ns < best.wall_ns ? took.wall_ns : best.wall_ns;
		best.cpu_ns = took.cpu_ns < best.cpu_ns ? took.cpu_ns : best.cpu_ns;
	}
	ns = (double)best.cpu_ns / N_DOCUMENTS;
	printf("%s\t%u\t%u\t%.0f\t%.0f\t%.0f\n", one->name, one->n_dispatchers, one->fanout,
	       N_DOCUMENTS * 1e9 / (double)best.wall_ns, ns, ns / one->fanout);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	static const setting series[] = {
	    {"bare", false, 1, 0, 1, 1},
	    {"envelope", true, 1, 0, 1, 1},
	    {"batched", true, A_BATCH, 256 << 10, 1, 1},
	};
	const char *only = argc > 1 ? argv[1] : NULL;
	unsigned only_fanout = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	unsigned only_dispatchers = argc > 3 ? (unsigned)atoi(argv[3]) : 0;

	spr_mem_tune();
	spr_log_set_level(SPR_LOG_ERROR);
	messages = spr_mem_zalloc_aligned(N_DOCUMENTS * sizeof(*messages));
	texts = malloc((size_t)N_DOCUMENTS * TEXT_MAX);
	if (messages == NULL || texts == NULL)
		return (1);
	printf("series\tdispatchers\tfanout\tdocuments_s\tns_document\tns_job\n");
	for (unsigned i = 0; i < sizeof(series) / sizeof(series[0]); i++) {
		for (unsigned fanout = 1; fanout <= 100; fanout *= 10) {
			for (unsigned d = 1; d <= 2; d++) {
				setting one = series[i];

				one.n_dispatchers = d;
				one.fanout = fanout;
				if ((only == NULL || strcmp(only, one.name) == 0) &&
				    (only_fanout == 0 || only_fanout == fanout) &&
				    (only_dispatchers == 0 || only_dispatchers == d))
					run(&one);
			}
		}
	}
	free(texts);
	spr_mem_free(messages);
	return (0);
}
