/*
 * bench_report - figures are told for each notification, since that is what costs are compared by.
 */
#include "bench_report.h"

#include <inttypes.h>
#include <string.h>

#include <cjson/cJSON.h>

static const struct {
	const char *name;
	double share;
} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

#define N_QUANTILES (sizeof(quantiles) / sizeof(quantiles[0]))

/* --- collecting ----------------------------------------------------------------------------------- */

static bool
is_hit(const void *arg, uint32_t number)
{
	return (bench_documents_is_hit(arg, number));
}

static void
collect_workers(bench_result *r, bench_load *load)
{
	for (unsigned i = 0; i < load->n_workers; i++) {
		bench_worker *w = &load->workers[i];

		r->jobs += w->jobs;
		r->messages_taken += w->n_messages;
		r->bytes_taken += w->n_bytes;
		bench_histogram_merge(&r->job_latency, &w->latency);
		if ((double)w->last_ns / 1e9 > r->seconds)
			r->seconds = (double)w->last_ns / 1e9;
	}
	if (load->n_workers == 0)
		return;
	r->jobs_wanted = bench_load_jobs_of(load, r->notifications);
	if (load->options->verify == BENCH_VERIFY_FULL) {
		r->verdict =
		    bench_tally_judge(load->tallies, load->n_workers, (uint32_t)r->notifications,
				      is_hit, &load->documents);
		return;
	}
	for (unsigned i = 0; i < load->n_workers; i++)
		r->verdict.foreign += load->workers[i].tally.foreign;
	if (r->jobs < r->jobs_wanted)
		r->verdict.missing = r->jobs_wanted - r->jobs;
	else
		r->verdict.twice = r->jobs - r->jobs_wanted;
}

void
bench_result_collect(bench_result *r, bench_load *load)
{
	bench_upstream *u = load->upstream;

	r->notifications =
	    load->n_producers > 0 ? atomic_load(&load->n_taken) : load->options->count;
	r->is_broken = atomic_load(&load->is_broken);
	for (unsigned i = 0; i < load->n_producers; i++) {
		r->messages_sent += load->producers[i].n_messages;
		r->bytes_sent += load->producers[i].n_bytes;
		bench_histogram_merge(&r->lateness, &load->producers[i].late);
	}
	collect_workers(r, load);
	if (u == NULL)
		return;
	r->acks = u->acks;
	r->nacks = atomic_load(&u->n_nacks);
	r->acks_missing = r->notifications > u->acks ? r->notifications - u->acks : 0;
	r->acks_repeated = u->tally.twice;
	r->acks_early = u->n_early;
	memcpy(r->reason, u->reason, sizeof(r->reason));
	bench_histogram_merge(&r->ack_latency, &u->latency);
	if ((double)u->last_ns / 1e9 > r->seconds)
		r->seconds = (double)u->last_ns / 1e9;
}

bool
bench_result_is_good(const bench_result *r, const bench_options *options)
{
	(void)options;
	return (!r->is_broken && r->target_failure == NULL && r->notifications > 0 &&
		r->verdict.missing == 0 && r->verdict.twice == 0 && r->verdict.foreign == 0 &&
		r->acks_missing == 0 && r->nacks == 0 && r->acks_early == 0 &&
		r->churn_refused == 0);
}

/* --- the table ------------------------------------------------------------------------------------ */

static double
a_second(const bench_result *r, uint64_t n)
{
	return (r->seconds > 0 ? (double)n / r->seconds : 0);
}

static double
each(const bench_result *r, double n)
{
	return (r->notifications > 0 ? n / (double)r->notifications : 0);
}

static void
print_rate(const bench_result *r, const char *name, uint64_t n, uint64_t messages, uint64_t bytes,
	   FILE *out)
{
	fprintf(out, "%-14s %12" PRIu64 " %12.0f", name, n, a_second(r, n));
	if (messages > 0)
		fprintf(out, " %12.0f %10.1f", a_second(r, messages), a_second(r, bytes) / 1e6);
	fputc('\n', out);
}

static void
print_latency(const bench_histogram *h, const char *name, FILE *out)
{
	if (h->n == 0)
		return;
	fprintf(out, "%-14s %10.1f", name, (double)h->min / 1e3);
	for (size_t q = 0; q < N_QUANTILES; q++)
		fprintf(out, " %10.1f", (double)bench_histogram_at(h, quantiles[q].share) / 1e3);
	fprintf(out, " %10.1f\n", (double)h->max / 1e3);
}

static void
print_thread(const bench_result *r, const bench_thread_usage *t, const char *indent, FILE *out)
{
	fprintf(out, "%s%-*s %10.3f %12.3f %12.4f %12.4f", indent, 18 - (int)strlen(indent),
		t->name, (double)t->cpu_ns / 1e9, each(r, (double)t->cpu_ns / 1e3),
		each(r, (double)t->waits), each(r, (double)t->preempted));
}

static void
print_usage(const bench_result *r, const bench_usage *usage, const char *name, FILE *out)
{
	bench_thread_usage sum = bench_usage_sum(usage);

	snprintf(sum.name, sizeof(sum.name), "%s", name);
	print_thread(r, &sum, "", out);
	fprintf(out, " %12.1f\n", (double)usage->peak_bytes / (1 << 20));
	for (unsigned i = 0; i < usage->n; i++) {
		if (usage->thread[i].cpu_ns == 0)
			continue;
		print_thread(r, &usage->thread[i], "  ", out);
		fputc('\n', out);
	}
}

static void
print_verdict(const bench_result *r, const bench_options *o, FILE *out)
{
	fprintf(out, "\n%s: %s", bench_result_is_good(r, o) ? "good" : "WRONG",
		o->verify == BENCH_VERIFY_FULL ? "each job looked at" : "jobs counted");
	fprintf(out, "; jobs missing %" PRIu64 ", twice %" PRIu64 ", foreign %" PRIu64,
		r->verdict.missing, r->verdict.twice, r->verdict.foreign);
	if (o->is_upstream)
		fprintf(out,
			"; acks missing %" PRIu64 ", early %" PRIu64 ", told again %" PRIu64
			"; nacks %" PRIu64 "%s%s",
			r->acks_missing, r->acks_early, r->acks_repeated, r->nacks,
			r->nacks > 0 ? " " : "", r->reason);
	if (o->churn > 0)
		fprintf(out, "; changes %.0f a second, refused %" PRIu64, a_second(r, r->churned),
			r->churn_refused);
	if (r->target_failure != NULL)
		fprintf(out, "; %s", r->target_failure);
	fputc('\n', out);
}

void
bench_result_print(const bench_result *r, const bench_options *o, FILE *out)
{
	fprintf(out, "%-14s %12s %12s %12s %10s\n", "", "in all", "a second", "messages/s", "MB/s");
	if (o->is_producer)
		print_rate(r, "notifications", r->notifications, r->messages_sent, r->bytes_sent,
			   out);
	if (o->is_worker)
		print_rate(r, "jobs", r->jobs, r->messages_taken, r->bytes_taken, out);
	if (o->is_upstream)
		print_rate(r, "acks", r->acks, 0, 0, out);
	if (o->limit > 0)
		fprintf(out, "%-14s %12s %11.0f%%\n", "of the limit", "",
			a_second(r, r->jobs) / o->limit * 100);
	fprintf(out, "\n%-14s %10s", "latency, us", "min");
	for (size_t q = 0; q < N_QUANTILES; q++)
		fprintf(out, " %10s", quantiles[q].name);
	fprintf(out, " %10s\n", "max");
	print_latency(&r->job_latency, "job", out);
	print_latency(&r->ack_latency, "ack", out);
	print_latency(&r->lateness, "sent late by", out);
	fprintf(out, "\n%-18s %10s %12s %12s %12s %12s\n%-18s %10s %12s %12s %12s %12s\n", "",
		"CPU", "CPU", "waits", "preempted", "peak memory", "", "s", "us/notif.", "/notif.",
		"/notif.", "MiB");
	if (r->has_target)
		print_usage(r, &r->target, "target", out);
	print_usage(r, &r->self, "spreader-bench", out);
	print_verdict(r, o, out);
}

/* --- JSON ----------------------------------------------------------------------------------------- */

static void
add(cJSON *object, const char *name, double number)
{
	cJSON_AddNumberToObject(object, name, number);
}

static void
add_latency(cJSON *root, const char *name, const bench_histogram *h)
{
	cJSON *object = h->n > 0 ? cJSON_AddObjectToObject(root, name) : NULL;

	if (object == NULL)
		return;
	add(object, "n", (double)h->n);
	add(object, "min", (double)h->min / 1e3);
	add(object, "mean", bench_histogram_mean(h) / 1e3);
	for (size_t q = 0; q < N_QUANTILES; q++)
		add(object, quantiles[q].name,
		    (double)bench_histogram_at(h, quantiles[q].share) / 1e3);
	add(object, "max", (double)h->max / 1e3);
}

static void
add_thread(cJSON *object, const bench_thread_usage *t)
{
	add(object, "cpu_seconds", (double)t->cpu_ns / 1e9);
	add(object, "voluntary_switches", (double)t->waits);
	add(object, "involuntary_switches", (double)t->preempted);
}

static void
add_usage(cJSON *root, const char *name, const bench_usage *usage)
{
	cJSON *object = cJSON_AddObjectToObject(root, name), *threads;
	bench_thread_usage sum = bench_usage_sum(usage);

	add_thread(object, &sum);
	add(object, "peak_bytes", (double)usage->peak_bytes);
	threads = cJSON_AddArrayToObject(object, "threads");
	for (unsigned i = 0; i < usage->n; i++) {
		cJSON *thread = cJSON_CreateObject();

		cJSON_AddStringToObject(thread, "name", usage->thread[i].name);
		add_thread(thread, &usage->thread[i]);
		cJSON_AddItemToArray(threads, thread);
	}
}

static void
add_checks(cJSON *root, const bench_result *r, const bench_options *o)
{
	cJSON *object = cJSON_AddObjectToObject(root, "checks");

	cJSON_AddStringToObject(object, "verify",
				o->verify == BENCH_VERIFY_FULL ? "full" : "count");
	add(object, "jobs_missing", (double)r->verdict.missing);
	add(object, "jobs_twice", (double)r->verdict.twice);
	add(object, "jobs_foreign", (double)r->verdict.foreign);
	add(object, "acks_missing", (double)r->acks_missing);
	add(object, "acks_early", (double)r->acks_early);
	add(object, "acks_told_again", (double)r->acks_repeated);
	add(object, "nacks", (double)r->nacks);
	add(object, "churn_refused", (double)r->churn_refused);
}

void
bench_result_print_json(const bench_result *r, const bench_options *o, FILE *out)
{
	cJSON *root = cJSON_CreateObject();
	char *text;

	cJSON_AddBoolToObject(root, "good", bench_result_is_good(r, o));
	add(root, "seconds", r->seconds);
	add(root, "notifications", (double)r->notifications);
	add(root, "jobs", (double)r->jobs);
	add(root, "acks", (double)r->acks);
	add(root, "notifications_per_second", a_second(r, r->notifications));
	add(root, "jobs_per_second", a_second(r, r->jobs));
	add(root, "acks_per_second", a_second(r, r->acks));
	add(root, "messages_sent", (double)r->messages_sent);
	add(root, "bytes_sent", (double)r->bytes_sent);
	add(root, "messages_taken", (double)r->messages_taken);
	add(root, "bytes_taken", (double)r->bytes_taken);
	add(root, "churn_per_second", a_second(r, r->churned));
	if (o->limit > 0)
		add(root, "share_of_limit", a_second(r, r->jobs) / o->limit);
	add_latency(root, "job_latency_us", &r->job_latency);
	add_latency(root, "ack_latency_us", &r->ack_latency);
	add_latency(root, "sent_late_us", &r->lateness);
	if (r->has_target)
		add_usage(root, "target", &r->target);
	add_usage(root, "self", &r->self);
	add_checks(root, r, o);
	if ((text = cJSON_Print(root)) != NULL)
		fprintf(out, "%s\n", text);
	cJSON_free(text);
	cJSON_Delete(root);
}
