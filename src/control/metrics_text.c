/*
 * metrics_text - one pass over the table. Rows of one metric stand together there, so HELP and TYPE are written when the
 * metric's name changes.
 *
 * The two formats differ in three things: OpenMetrics names a counter without its _total in HELP and TYPE, ends with EOF,
 * and has another media type.
 */
#include "control/metrics_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/counters.h"
#include "base/mem.h"

#define FIRST_CAPACITY 32768
#define NUMBER_MAX     40

typedef struct page {
	spr_metrics_format format;
	const char *metric; /* whose HELP was written last */
	char *text;
	size_t len;
	size_t capacity;
	bool has_failed; /* for lack of memory */
} page;

static void __attribute__((format(printf, 2, 3))) put(page *p, const char *format, ...)
{
	va_list args;
	char *grown;
	int n;

	while (!p->has_failed) {
		size_t room = p->capacity - p->len;

		va_start(args, format);
		n = vsnprintf(p->text + p->len, room, format, args);
		va_end(args);
		if ((size_t)n < room) {
			p->len += (size_t)n;
			return;
		}
		if ((grown = spr_mem_realloc(p->text, p->capacity * 2)) == NULL) {
			p->has_failed = true;
			return;
		}
		p->text = grown;
		p->capacity *= 2;
	}
}

static void
put_head(page *p, const char *metric, const char *type, const char *help)
{
	size_t len = strlen(metric);

	if (p->metric != NULL && strcmp(p->metric, metric) == 0)
		return;
	p->metric = metric;
	if (p->format == SPR_METRICS_OPEN && strcmp(type, "counter") == 0)
		len -= strlen("_total");
	put(p, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)len, metric, help, (int)len, metric, type);
}

static void
put_counters(page *p)
{
	for (int i = 0; i < SPR_N_COUNTERS; i++) {
		const spr_counter_info *row = &spr_counter_table[i];

		put_head(p, row->metric, "counter", row->help);
		put(p, "%s %" PRIu64 "\n", row->name, spr_counter_sum((spr_counter)i));
	}
}

static void
put_gauges(page *p, const spr_control_env *env)
{
	double gauges[SPR_N_GAUGES];

	spr_control_read_gauges(env, gauges);
	for (int i = 0; i < SPR_N_GAUGES; i++) {
		const spr_gauge_info *row = &spr_gauge_table[i];

		put_head(p, row->metric, row->type == SPR_GAUGE_COUNTER ? "counter" : "gauge",
			 row->help);
		put(p, "%s %.15g\n", row->name, gauges[i]);
	}
}

/* The shortest text that reads back as the same number, with a point as OpenMetrics wants it. */
static const char *
print_bound(double bound, char *out)
{
	int digits = 1;

	do {
		snprintf(out, NUMBER_MAX, "%.*g", digits, bound);
	} while (strtod(out, NULL) != bound && digits++ < 17);
	if (strpbrk(out, ".e") == NULL)
		strcat(out, ".0");
	return (out);
}

static void
put_histogram(page *p, const spr_histogram_info *row, const spr_histogram_sum *sum)
{
	double unit = row->unit == SPR_UNIT_NS ? 1e-9 : 1;
	const char *comma = row->labels[0] != '\0' ? "," : "";
	char braced[64] = "", number[NUMBER_MAX];

	for (unsigned i = 0; i < row->n; i++) {
		unsigned power = row->first + i * row->step;

		put(p, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", row->metric, row->labels, comma,
		    print_bound((double)(UINT64_C(1) << power) * unit, number),
		    spr_histogram_up_to(sum, power));
	}
	if (row->labels[0] != '\0')
		snprintf(braced, sizeof(braced), "{%s}", row->labels);
	put(p, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", row->metric, row->labels, comma, sum->n);
	put(p, "%s_sum%s %.15g\n", row->metric, braced, (double)sum->sum * unit);
	put(p, "%s_count%s %" PRIu64 "\n", row->metric, braced, sum->n);
}

static void
put_histograms(page *p)
{
	for (int i = 0; i < SPR_N_HISTOGRAMS; i++) {
		spr_histogram_sum sum;

		spr_histogram_read((spr_histogram)i, &sum);
		put_head(p, spr_histogram_table[i].metric, "histogram",
			 spr_histogram_table[i].help);
		put_histogram(p, &spr_histogram_table[i], &sum);
	}
}

spr_metrics_format
spr_metrics_accepted(const char *accept)
{
	return (accept != NULL && strstr(accept, "application/openmetrics-text") != NULL
		    ? SPR_METRICS_OPEN
		    : SPR_METRICS_PLAIN);
}

const char *
spr_metrics_type(spr_metrics_format format)
{
	return (format == SPR_METRICS_OPEN
		    ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
		    : "text/plain; version=0.0.4; charset=utf-8");
}

char *
spr_metrics_write(const spr_control_env *env, spr_metrics_format format, size_t *len)
{
	page p = {.format = format, .capacity = FIRST_CAPACITY};

	if ((p.text = spr_mem_alloc(p.capacity)) == NULL)
		return (NULL);
	put_counters(&p);
	put_gauges(&p, env);
	put_histograms(&p);
	if (format == SPR_METRICS_OPEN)
		put(&p, "# EOF\n");
	if (p.has_failed) {
		spr_mem_free(p.text);
		return (NULL);
	}
	*len = p.len;
	return (p.text);
}
