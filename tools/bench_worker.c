/*
 * bench_worker - reads what there is and looks at fixed places of each job.
 */
#include <string.h>

#include "bench_load.h"

/* Jobs of one notification come in a row: the histogram is touched once for them. */
static void
note_latency(bench_worker *w, uint64_t now_ns)
{
	if (w->n_due > 0)
		bench_histogram_add(&w->latency, now_ns > w->due_ns ? now_ns - w->due_ns : 0,
				    w->n_due);
	w->n_due = 0;
}

static void
note_due(bench_worker *w, const char *mark, uint64_t now_ns)
{
	if (w->n_due == 0 || memcmp(w->due_text, mark + 18, sizeof(w->due_text)) != 0) {
		note_latency(w, now_ns);
		memcpy(w->due_text, mark + 18, sizeof(w->due_text));
		w->due_ns = bench_mark_get(mark).at_ns;
	}
	w->n_due++;
}

static void
put_receipts(bench_worker *w)
{
	char *at;

	if (w->n_receipts == 0)
		return;
	if ((at = bench_link_room(&w->receipts, w->receipts_len)) == NULL) {
		bench_load_break(w->load, "no memory for receipts");
		return;
	}
	memcpy(at, w->receipts_text, w->receipts_len);
	bench_link_put(&w->receipts, w->receipts_len);
	w->n_receipts = 0;
	w->receipts_len = 0;
}

/* {"id":"<id>"} and a line break: the job begins so, too. */
static void
add_receipt(bench_worker *w, const char *job)
{
	size_t len = BENCH_ID_AT + w->layout.id_len;

	if (w->layout.id_len == 0 || len + 3 > BENCH_RECEIPT_MAX)
		return;
	memcpy(w->receipts_text + w->receipts_len, job, len);
	memcpy(w->receipts_text + w->receipts_len + len, "\"}\n", 3);
	w->receipts_len += len + 3;
	if (++w->n_receipts == w->load->options->receipts_a_message)
		put_receipts(w);
}

static void
take_job(bench_worker *w, const char *job, uint64_t now_ns)
{
	const char *mark = job + w->layout.mark_at;

	if (memcmp(mark, w->load->run_text, sizeof(w->load->run_text)) != 0) {
		w->tally.foreign++; /* of another run: a notification that was in flight */
		return;
	}
	w->jobs++;
	if (w->load->options->verify == BENCH_VERIFY_FULL) {
		unsigned callback =
		    w->layout.callback_at > 0 ? bench_hex_get(job + w->layout.callback_at) : 0;

		bench_tally_add(&w->tally, bench_hex_get(mark + 9), callback);
		note_due(w, mark, now_ns);
	}
	if (w->receipts.fd >= 0)
		add_receipt(w, job);
}

/* A message has one job, or several, one a line. */
static void
take_message(bench_worker *w, const char *at, size_t left, uint64_t now_ns)
{
	w->n_messages++;
	w->n_bytes += left;
	while (left > 0) {
		size_t step;

		if (bench_layout_holds(&w->layout, at, left) ||
		    bench_layout_find(&w->layout, at, left)) {
			take_job(w, at, now_ns);
			if (w->load->options->verify == BENCH_VERIFY_COUNT && w->n_due == 0)
				note_due(w, at + w->layout.mark_at, now_ns);
			step = w->layout.len;
		} else {
			const char *end = memchr(at, '\n', left);

			w->tally.foreign++;
			step = end != NULL ? (size_t)(end - at) : left;
		}
		step += step < left;
		at += step;
		left -= step;
	}
}

void
bench_worker_on_receipts_ready(bench_source *source)
{
	bench_worker *w =
	    (bench_worker *)((char *)source - offsetof(bench_worker, receipts_source));

	if (bench_link_flush(&w->receipts) == BENCH_IO_GONE)
		bench_load_break(w->load, "a connection for receipts is lost");
}

void
bench_worker_on_ready(bench_source *source)
{
	bench_worker *w = (bench_worker *)source;
	bench_io io = bench_link_read(&w->link);
	uint64_t now_ns;
	char *data;
	size_t len;

	if (io == BENCH_IO_GONE) {
		bench_load_break(w->load, "a worker's connection is lost");
		bench_link_close(&w->link);
	}
	if (io != BENCH_IO_DONE)
		return;
	now_ns = bench_load_now_ns(w->load);
	while (bench_link_next(&w->link, &data, &len))
		take_message(w, data, len, now_ns);
	note_latency(w, now_ns);
	w->last_ns = now_ns;
	/* tallied before: whoever hears of the receipt, or of the count, finds the job in the tally */
	if (w->receipts.fd >= 0) {
		put_receipts(w);
		bench_worker_on_receipts_ready(&w->receipts_source);
	}
	atomic_store_explicit(&w->n_jobs, w->jobs,
			      memory_order_release); /* what has come, for main and producers */
}
