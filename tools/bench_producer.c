/*
 * bench_producer - numbers are taken from one counter, a buffer's worth at a time, and written with one system call.
 */
#include "base/clock.h"
#include "base/sync.h"
#include "bench_load.h"

#define FILL_BYTES 32768 /* of small messages: a system call's worth */

static unsigned
messages_a_fill(const bench_load *load)
{
	size_t message = load->options->documents * (load->documents.len + 1) + 8;

	return (message >= FILL_BYTES ? 1 : (unsigned)(FILL_BYTES / message));
}

/* How many documents to write now, from *first on; 0: none. Whole messages, but for the last of all. */
static uint64_t
take(bench_load *load, uint64_t most, uint64_t *first)
{
	unsigned a_message = load->options->documents;
	uint64_t taken = atomic_load(&load->n_taken), n;

	do {
		n = bench_load_allowed(load, taken);
		if (n > most)
			n = most;
		if (n >= a_message)
			n -= n % a_message;
		else if (taken + n < atomic_load(&load->limit))
			return (0);
		if (n == 0)
			return (0);
	} while (!atomic_compare_exchange_weak(&load->n_taken, &taken, taken + n));
	*first = taken;
	return (n);
}

/* When a message is due in the open loop: its documents are, together. */
static uint64_t
due_ns(const bench_load *load, uint64_t number)
{
	uint64_t rate = load->options->rate, whole;

	number -= number % load->options->documents;
	whole = number / rate;
	return (whole * SPR_NS_PER_S + number % rate * SPR_NS_PER_S / rate);
}

/* Documents that are due by now and not taken. */
static uint64_t
n_due(const bench_load *load, uint64_t now_ns)
{
	uint64_t rate = load->options->rate, taken = atomic_load(&load->n_taken);
	uint64_t due =
	    now_ns / SPR_NS_PER_S * rate + now_ns % SPR_NS_PER_S * rate / SPR_NS_PER_S + 1;

	due += load->options->documents - 1;
	due -= due % load->options->documents;
	return (due > taken ? due - taken : 0);
}

static bool
write_messages(bench_producer *p, uint64_t first, uint64_t n, uint64_t now_ns)
{
	bench_load *load = p->load;
	unsigned a_message = load->options->documents;
	size_t line = load->documents.len + 1;

	for (uint64_t end = first + n; first < end;) {
		uint64_t in_it = end - first < a_message ? end - first : a_message, at_ns = now_ns;
		char *at = bench_link_room(&p->link, in_it * line);

		if (at == NULL)
			return (false);
		if (load->options->rate > 0) {
			at_ns = due_ns(load, first);
			bench_histogram_add(&p->late, now_ns > at_ns ? now_ns - at_ns : 0, 1);
		}
		for (uint64_t i = 0; i < in_it; i++)
			bench_documents_put(&load->documents, at + i * line, (uint32_t)(first + i),
					    at_ns);
		/* the last line break would be nothing but a byte more in each message */
		bench_link_put(&p->link, in_it * line - 1);
		p->n_messages++;
		p->n_bytes += in_it * line - 1;
		first += in_it;
	}
	return (true);
}

/* Nothing may be sent: when to look again, and what is waited for. */
static uint64_t
rest_until(bench_producer *p)
{
	bench_load *load = p->load;
	uint64_t taken = atomic_load(&load->n_taken), limit = atomic_load(&load->limit), wanted;

	if (taken >= limit) {
		atomic_store(&p->is_finished, true);
		return (UINT64_MAX);
	}
	if (load->options->rate > 0)
		return (due_ns(load, taken - taken % load->options->documents));
	/* a quarter of the window, so that not every job wakes us */
	wanted = load->options->window / 4;
	if (wanted < load->options->documents)
		wanted = load->options->documents;
	if (wanted > limit - taken)
		wanted = limit - taken;
	atomic_store(&p->wanted, wanted);
	SPR_FULL_FENCE(); /* as bench_load.h says */
	if (bench_load_allowed(load, atomic_load(&load->n_taken)) < wanted)
		return (UINT64_MAX);
	atomic_store(&p->wanted, 0);
	return (0);
}

uint64_t
bench_producer_pump(bench_producer *p)
{
	bench_load *load = p->load;
	uint64_t most, first, n, now_ns;
	bench_io io = bench_link_waiting(&p->link) > 0 ? bench_link_flush(&p->link) : BENCH_IO_DONE;

	if (io == BENCH_IO_DONE) {
		now_ns = bench_load_now_ns(load);
		most = (uint64_t)messages_a_fill(load) * load->options->documents;
		if (load->options->rate > 0 && (n = n_due(load, now_ns)) < most)
			most = n;
		atomic_store_explicit(&p->wanted, 0,
				      memory_order_relaxed); /* a stray wake-up does no harm */
		if ((n = take(load, most, &first)) == 0)
			return (rest_until(p));
		io = write_messages(p, first, n, now_ns) ? bench_link_flush(&p->link)
							 : BENCH_IO_GONE;
	}
	if (io == BENCH_IO_GONE)
		bench_load_break(load, "a producer's connection is lost");
	return (io == BENCH_IO_DONE ? 0 : UINT64_MAX);
}

/* The pump comes after every round of the loop. */
void
bench_producer_on_ready(bench_source *source)
{
	(void)source;
}
