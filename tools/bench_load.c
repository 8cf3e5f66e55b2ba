/*
 * bench_load - who is on which loop, the window, and main's wait for the end.
 */
#include "bench_load.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench_usage.h"

#define DIAL_NS   (10 * SPR_NS_PER_S)
#define PEER_NS   (30 * SPR_NS_PER_S) /* until the daemon has dialled us */
#define LOOK_NS   (5 * SPR_NS_PER_MS) /* how often main looks */
#define QUIET_NS  (50 * SPR_NS_PER_MS)
#define MOST_A_S  UINT64_C(20000000)  /* notifications that any target might make */
#define MOST_BITS (UINT64_C(1) << 40) /* of a tally */

/* --- what is allowed ------------------------------------------------------------------------------ */

uint64_t
bench_load_now_ns(const bench_load *load)
{
	/* relaxed: it is set once, before anything is sent */
	uint64_t begun_ns = atomic_load_explicit(&load->begun_ns, memory_order_relaxed);

	return (begun_ns == 0 ? 0 : spr_clock_now_ns() - begun_ns);
}

uint64_t
bench_load_jobs_of(const bench_load *load, uint64_t n)
{
	return (bench_documents_hits(&load->documents, n) * load->options->fan_out);
}

static uint64_t
n_jobs(const bench_load *load)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < load->n_workers; i++)
		n += atomic_load_explicit(&load->workers[i].n_jobs,
					  memory_order_acquire); /* a lower bound */
	return (n);
}

static uint64_t
n_acks(const bench_load *load)
{
	if (load->upstream == NULL)
		return (0);
	return (atomic_load_explicit(&load->upstream->n_acks,
				     memory_order_acquire)); /* a lower bound */
}

/* Notifications whose jobs or answer have not all come. */
static uint64_t
n_open(const bench_load *load, uint64_t n_taken)
{
	uint64_t acks = n_acks(load), jobs = n_jobs(load),
		 wanted = bench_load_jobs_of(load, n_taken), open = 0;

	if (load->upstream != NULL && load->options->window_for == BENCH_WINDOW_ALL &&
	    n_taken > acks)
		open = n_taken - acks;
	if (load->n_workers > 0 && wanted > jobs) {
		uint64_t by_jobs =
		    (wanted - jobs + load->options->fan_out - 1) / load->options->fan_out;

		open = by_jobs > open ? by_jobs : open;
	}
	return (open);
}

uint64_t
bench_load_allowed(const bench_load *load, uint64_t n_taken)
{
	uint64_t limit = atomic_load(&load->limit), left = limit > n_taken ? limit - n_taken : 0,
		 open;
	uint64_t window = load->options->window;

	if (load->options->rate > 0)
		return (left);
	if (window < load->options->documents)
		window = load->options->documents;
	open = n_open(load, n_taken);
	if (open >= window)
		return (0);
	return (left < window - open ? left : window - open);
}

void
bench_load_break(bench_load *load, const char *what)
{
	if (atomic_load(&load->is_ending) || atomic_exchange(&load->is_broken, true))
		return;
	fprintf(stderr, "spreader-bench: %s\n", what);
}

/* --- open, connect -------------------------------------------------------------------------------- */

/* The n-th member is on this thread; its letter joins the thread's name. */
static bench_loop *
next_loop(bench_load *load, unsigned n, const char *letter)
{
	bench_loop *loop = &load->loops[n % load->n_loops];
	size_t len = strlen(loop->name);

	if (len + 2 < sizeof(loop->name))
		strcat(loop->name, letter);
	return (loop);
}

static spr_err
open_upstream(bench_load *load)
{
	bench_upstream *u = spr_mem_zalloc_aligned(sizeof(*u));
	spr_err rv;

	if (u == NULL)
		return (SPR_E_NOMEM);
	load->upstream = u;
	u->load = load;
	u->listener = -1;
	u->source.on_ready = bench_upstream_on_ready;
	for (unsigned i = 0; i < BENCH_PEERS_MAX; i++)
		u->peers[i].link = BENCH_LINK_CLOSED;
	if (!bench_tally_init(&u->tally, load->numbers, 1, false))
		return (SPR_E_NOMEM);
	if ((rv = bench_listen(&u->listener, load->options->ack, load->ack_url)) != SPR_OK)
		return (rv);
	u->loop = next_loop(load, load->n_producers + load->n_workers, "u");
	return (bench_loop_watch(u->loop, u->listener, EPOLLIN, &u->source) ? SPR_OK
									    : SPR_E_SYSTEM);
}

static spr_err
open_workers(bench_load *load)
{
	const bench_options *o = load->options;
	bool is_relay = o->null || !o->control;

	for (unsigned i = 0; i < load->n_workers; i++) {
		bench_worker *w = &load->workers[i];

		w->load = load;
		w->source.on_ready = bench_worker_on_ready;
		w->receipts_source.on_ready = bench_worker_on_receipts_ready;
		w->link = w->receipts = BENCH_LINK_CLOSED;
		load->tallies[i] = &w->tally;
		if (!bench_tally_init(&w->tally, load->numbers, o->fan_out, is_relay) ||
		    (w->receipts_text =
			 spr_mem_alloc((size_t)o->receipts_a_message * BENCH_RECEIPT_MAX)) == NULL)
			return (SPR_E_NOMEM);
	}
	return (SPR_OK);
}

/* How many notifications there may be: memory is mapped for them, not used. */
static uint32_t
most_numbers(const bench_options *o)
{
	uint64_t rate = o->rate, n = (o->duration_ns / SPR_NS_PER_S + 1) * MOST_A_S;

	if (o->count > 0)
		n = o->count;
	else if (rate > 0) /* what is due */
		n = o->duration_ns / SPR_NS_PER_S * rate +
		    o->duration_ns % SPR_NS_PER_S * rate / SPR_NS_PER_S;
	if (n > MOST_BITS / o->fan_out)
		n = MOST_BITS / o->fan_out;
	if (n == 0)
		return (1);
	return (n < UINT32_MAX ? (uint32_t)n : UINT32_MAX);
}

static spr_err
open_parts(bench_load *load)
{
	const bench_options *o = load->options;
	spr_err rv;

	load->loops = spr_mem_zalloc(load->n_loops * sizeof(*load->loops));
	load->producers =
	    spr_mem_zalloc_aligned((load->n_producers + 1) * sizeof(*load->producers));
	load->workers = spr_mem_zalloc_aligned((load->n_workers + 1) * sizeof(*load->workers));
	load->tallies = spr_mem_zalloc((load->n_workers + 1) * sizeof(*load->tallies));
	if (load->loops == NULL || load->producers == NULL || load->workers == NULL ||
	    load->tallies == NULL ||
	    !bench_documents_init(&load->documents, o->ack != NULL, o->size, o->depth,
				  o->predicates, o->hit_percent, o->fan_out, load->run))
		return (SPR_E_NOMEM);
	for (unsigned i = 0; i < load->n_producers; i++)
		load->producers[i] = (bench_producer){
		    .source = {bench_producer_on_ready}, .load = load, .link = BENCH_LINK_CLOSED};
	for (unsigned i = 0; i < load->n_loops; i++) {
		if ((rv = bench_loop_open(&load->loops[i], load)) != SPR_OK)
			return (rv);
	}
	if ((rv = open_workers(load)) != SPR_OK)
		return (rv);
	return (o->is_upstream ? open_upstream(load) : SPR_OK);
}

spr_err
bench_load_open(bench_load **out, const bench_options *options)
{
	bench_load *load = spr_mem_zalloc_aligned(sizeof(*load));
	spr_err rv;

	if (load == NULL)
		return (SPR_E_NOMEM);
	load->options = options;
	load->run = options->run != 0
			? options->run
			: (uint32_t)(spr_clock_now_ns() >> 10) ^ (uint32_t)getpid() << 16;
	bench_hex_put(load->run_text, load->run);
	load->numbers = most_numbers(options);
	load->n_loops = options->threads;
	load->n_producers = options->is_producer ? options->producers : 0;
	load->n_workers = options->is_worker ? options->workers : 0;
	atomic_store(&load->limit, load->numbers);
	if ((rv = open_parts(load)) != SPR_OK) {
		bench_load_close(load);
		return (rv);
	}
	*out = load;
	return (SPR_OK);
}

static spr_err
connect_producer(bench_load *load, unsigned i, const char *url)
{
	bench_producer *p = &load->producers[i];
	spr_err rv = bench_link_dial(&p->link, url, BENCH_PUSH, DIAL_NS);

	if (rv != SPR_OK)
		return (rv);
	p->loop = next_loop(load, i, "p");
	p->loop->producers[p->loop->n_producers++] = p;
	return (bench_loop_watch(p->loop, p->link.fd, EPOLLOUT | EPOLLET, &p->source)
		    ? SPR_OK
		    : SPR_E_SYSTEM);
}

static spr_err
connect_worker(bench_load *load, unsigned i, const char *url, const char *receipts_url)
{
	bench_worker *w = &load->workers[i];
	bench_loop *loop = next_loop(load, load->n_producers + i, "w");
	spr_err rv = SPR_OK;

	if (load->options->confirm == BENCH_CONFIRM_RECEIPT) {
		if ((rv = bench_link_dial(&w->receipts, receipts_url, BENCH_PUSH, DIAL_NS)) !=
		    SPR_OK)
			return (rv);
		if (!bench_loop_watch(loop, w->receipts.fd, EPOLLOUT | EPOLLET,
				      &w->receipts_source))
			return (SPR_E_SYSTEM);
	}
	if ((rv = bench_link_dial(&w->link, url, BENCH_PULL, DIAL_NS)) != SPR_OK)
		return (rv);
	return (bench_loop_watch(loop, w->link.fd, EPOLLIN, &w->source) ? SPR_OK : SPR_E_SYSTEM);
}

static void
rest(void)
{
	nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
}

static spr_err
wait_for_peer(bench_load *load)
{
	uint64_t end_ns = spr_clock_now_ns() + PEER_NS;

	while (load->upstream != NULL && atomic_load(&load->upstream->n_peers) == 0) {
		if (spr_clock_now_ns() >= end_ns)
			return (spr_fail(SPR_E_ADDRESS, "no daemon has dialled %s", load->ack_url));
		rest();
	}
	return (SPR_OK);
}

spr_err
bench_load_connect(bench_load *load, const char *in, const char *out, const char *receipts)
{
	spr_err rv = SPR_OK;

	for (unsigned i = 0; rv == SPR_OK && i < load->n_workers; i++)
		rv = connect_worker(load, i, out, receipts);
	for (unsigned i = 0; rv == SPR_OK && i < load->n_producers; i++)
		rv = connect_producer(load, i, in);
	for (unsigned i = 0; rv == SPR_OK && i < load->n_loops; i++)
		rv = bench_loop_start(&load->loops[i]);
	return (rv == SPR_OK ? wait_for_peer(load) : rv);
}

/* --- main ----------------------------------------------------------------------------------------- */

static bool
has_all(const bench_load *load)
{
	uint64_t taken = atomic_load(&load->n_taken);

	for (unsigned i = 0; i < load->n_producers; i++) {
		if (!atomic_load(&load->producers[i].is_finished))
			return (false);
	}
	if (load->n_producers == 0)
		taken = atomic_load(&load->limit); /* another process sends them */
	return ((load->n_workers == 0 || n_jobs(load) >= bench_load_jobs_of(load, taken)) &&
		(load->upstream == NULL ||
		 n_acks(load) + atomic_load(&load->upstream->n_nacks) >= taken));
}

static void
poke_all(bench_load *load)
{
	for (unsigned i = 0; i < load->n_loops; i++)
		bench_loop_poke(&load->loops[i]);
}

/* A line of figures that grow, when it is time for one. */
static void
print_sample(bench_load *load)
{
	uint64_t now_ns = bench_load_now_ns(load);

	if (now_ns < load->sample_due_ns)
		return;
	load->sample_due_ns = now_ns - now_ns % load->options->sample_ns + load->options->sample_ns;
	printf("%llu %llu %llu %llu\n", (unsigned long long)now_ns,
	       (unsigned long long)n_jobs(load), (unsigned long long)bench_usage_cpu_ns(getpid()),
	       (unsigned long long)(load->target > 0 ? bench_usage_cpu_ns(load->target) : 0));
	fflush(stdout);
}

/* Is it time to send no more? */
static bool
is_over(const bench_load *load)
{
	const bench_options *o = load->options;

	return (*load->is_enough ||
		(o->count == 0 && o->rate == 0 && bench_load_now_ns(load) >= o->duration_ns));
}

/* Returns when all has come, nothing has for so long, or the run is broken. */
static void
wait_for_all(bench_load *load, uint64_t patience_ns, bool is_for_all)
{
	uint64_t seen = 0, since_ns = spr_clock_now_ns(), now_ns;
	const bench_options *o = load->options;

	while (!atomic_load(&load->is_broken) && !(is_for_all && has_all(load))) {
		uint64_t sum = n_jobs(load) + n_acks(load) + atomic_load(&load->n_taken);

		now_ns = spr_clock_now_ns();
		if (sum != seen)
			since_ns = now_ns;
		seen = sum;
		if (is_for_all && o->sample_ns > 0)
			print_sample(load);
		if (atomic_load(&load->limit) > 0 && is_over(load)) {
			atomic_store(&load->limit, 0);
			poke_all(load);
		}
		if (now_ns - since_ns >= patience_ns)
			return;
		rest();
	}
}

void
bench_load_run(bench_load *load, pid_t target, const volatile sig_atomic_t *is_enough)
{
	load->is_enough = is_enough;
	load->target = target;
	atomic_store(&load->begun_ns, spr_clock_now_ns());
	poke_all(load);
	wait_for_all(load, load->options->patience_ns, true);
}

void
bench_load_settle(bench_load *load)
{
	atomic_store(&load->is_ending, true);
	wait_for_all(load, QUIET_NS, false);
}

void
bench_load_stop(bench_load *load)
{
	atomic_store(&load->is_stopping, true);
	for (unsigned i = 0; i < load->n_loops; i++)
		bench_loop_stop(&load->loops[i]);
}

static void
close_upstream(bench_upstream *u)
{
	if (u == NULL)
		return;
	for (unsigned i = 0; i < BENCH_PEERS_MAX; i++)
		bench_link_close(&u->peers[i].link);
	if (u->listener >= 0)
		close(u->listener);
	bench_tally_fini(&u->tally);
	spr_mem_free(u);
}

void
bench_load_close(bench_load *load)
{
	if (load == NULL)
		return;
	if (load->loops != NULL)
		bench_load_stop(load);
	for (unsigned i = 0; load->producers != NULL && i < load->n_producers; i++)
		bench_link_close(&load->producers[i].link);
	for (unsigned i = 0; load->workers != NULL && i < load->n_workers; i++) {
		bench_link_close(&load->workers[i].link);
		bench_link_close(&load->workers[i].receipts);
		bench_tally_fini(&load->workers[i].tally);
		spr_mem_free(load->workers[i].receipts_text);
	}
	for (unsigned i = 0; load->loops != NULL && i < load->n_loops; i++)
		bench_loop_close(&load->loops[i]);
	close_upstream(load->upstream);
	bench_documents_fini(&load->documents);
	spr_mem_free(load->loops);
	spr_mem_free(load->producers);
	spr_mem_free(load->workers);
	spr_mem_free(load->tallies);
	spr_mem_free(load);
}
