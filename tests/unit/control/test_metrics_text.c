/*
 * test_metrics_text - both formats hold every row of the table, say it as Prometheus wants it, and stay small.
 */
#include "control/metrics_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/counters.h"
#include "base/mem.h"
#include "control_env.h"

static int
setup(void **state)
{
	spr_control_env *env = calloc(1, sizeof(*env));

	assert_non_null(env);
	env_init(env, ":memory:");
	*state = env;
	return (0);
}

static int
teardown(void **state)
{
	env_fini(*state);
	free(*state);
	return (0);
}

/* A row that begins so, and what stands behind it. */
static const char *
row_of(const char *text, const char *name)
{
	char line[512];
	const char *at;

	snprintf(line, sizeof(line), "\n%s ", name);
	at = strstr(text, line);
	if (at == NULL)
		fail_msg("%s is not there", name);
	return (at + strlen(line));
}

static unsigned
count(const char *text, const char *part)
{
	unsigned n = 0;

	while ((text = strstr(text, part)) != NULL) {
		text++;
		n++;
	}
	return (n);
}

static char *
write_page(spr_control_env *env, spr_metrics_format format)
{
	size_t len = 0;
	char *text = spr_metrics_write(env, format, &len), *whole = NULL;

	assert_non_null(text);
	assert_int_equal(asprintf(&whole, "\n%.*s", (int)len, text), (int)len + 1);
	spr_mem_free(text);
	return (whole);
}

static void
test_every_row(void **state)
{
	for (int format = SPR_METRICS_PLAIN; format <= SPR_METRICS_OPEN; format++) {
		char *text = write_page(*state, (spr_metrics_format)format);
		char name[256];

		for (int i = 0; i < SPR_N_COUNTERS; i++)
			(void)row_of(text, spr_counter_table[i].name);
		for (int i = 0; i < SPR_N_GAUGES; i++)
			(void)row_of(text, spr_gauge_table[i].name);
		for (int i = 0; i < SPR_N_HISTOGRAMS; i++) {
			const spr_histogram_info *row = &spr_histogram_table[i];

			snprintf(name, sizeof(name),
				 row->labels[0] != '\0' ? "%s_count{%s}" : "%s_count%s",
				 row->metric, row->labels);
			(void)row_of(text, name);
			/* what is shown must be inside of what is kept */
			assert_true(UINT64_C(1) << (row->first + (row->n - 1) * row->step) <=
				    spr_histogram_bound(SPR_HISTOGRAM_BUCKETS - 1));
		}
		/* a line a series, and two for each HELP and TYPE */
		assert_true(count(text, "\n") - 2 * count(text, "# TYPE") < 300);
		assert_int_equal(count(text, "# TYPE"), count(text, "# HELP"));
		assert_int_equal(count(text, "# EOF\n"), format == SPR_METRICS_OPEN);
		free(text);
	}
}

/* One HELP a metric; its name without _total in OpenMetrics; no two metrics of one name there. */
static void
test_heads(void **state)
{
	char *plain = write_page(*state, SPR_METRICS_PLAIN),
	     *open = write_page(*state, SPR_METRICS_OPEN);

	assert_int_equal(count(plain, "# TYPE spreader_acked_total counter\n"), 1);
	assert_int_equal(count(open, "# TYPE spreader_acked counter\n"), 1);
	assert_int_equal(count(open, "_total counter\n"), 0);
	assert_int_equal(count(plain, "# TYPE spreader_peers gauge\n"), 1);
	assert_int_equal(count(plain, "# TYPE spreader_stage_seconds histogram\n"), 1);
	assert_int_equal(count(plain, "# TYPE process_cpu_seconds_total counter\n"), 1);
	for (int i = 0; i < SPR_N_COUNTERS; i++) {
		for (int k = 0; k < SPR_N_GAUGES; k++) {
			const char *counter = spr_counter_table[i].metric,
				   *gauge = spr_gauge_table[k].metric;

			assert_false(strlen(counter) == strlen(gauge) + 6 &&
				     strncmp(counter, gauge, strlen(gauge)) == 0);
		}
	}
	free(plain);
	free(open);
}

static void
test_values(void **state)
{
	spr_control_env *env = *state;
	char *before = write_page(env, SPR_METRICS_PLAIN), *after;
	double sum = strtod(row_of(before, "spreader_stage_seconds_sum{stage=\"push\"}"), NULL);

	spr_count_add(SPR_C_JOBS_POSTED, UINT64_C(9007199254740993)); /* not a double's */
	spr_histogram_add(SPR_H_STAGE_PUSH, 1024);
	spr_histogram_add(SPR_H_STAGE_PUSH, 1025);
	spr_histogram_add(SPR_H_STAGE_PUSH, UINT64_MAX / 4);
	after = write_page(env, SPR_METRICS_PLAIN);
	assert_true(strtoull(row_of(after, "spreader_jobs_posted_total"), NULL, 10) -
			strtoull(row_of(before, "spreader_jobs_posted_total"), NULL, 10) ==
		    UINT64_C(9007199254740993));
	assert_int_equal(
	    atoi(row_of(after, "spreader_stage_seconds_bucket{stage=\"push\",le=\"1.024e-06\"}")),
	    1);
	assert_int_equal(
	    atoi(row_of(after, "spreader_stage_seconds_bucket{stage=\"push\",le=\"4.096e-06\"}")),
	    2);
	assert_int_equal(
	    atoi(
		row_of(after, "spreader_stage_seconds_bucket{stage=\"push\",le=\"17.179869184\"}")),
	    2);
	assert_int_equal(
	    atoi(row_of(after, "spreader_stage_seconds_bucket{stage=\"push\",le=\"+Inf\"}")), 3);
	assert_int_equal(atoi(row_of(after, "spreader_stage_seconds_count{stage=\"push\"}")), 3);
	assert_true(strtod(row_of(after, "spreader_stage_seconds_sum{stage=\"push\"}"), NULL) >
		    sum + 4e9);
	assert_true(strtod(row_of(after, "process_resident_memory_bytes"), NULL) ==
		    0); /* the daemon's to read */
	free(before);
	free(after);
}

static void
test_accepted(void **state)
{
	(void)state;
	assert_int_equal(spr_metrics_accepted(NULL), SPR_METRICS_PLAIN);
	assert_int_equal(spr_metrics_accepted("text/plain;version=0.0.4"), SPR_METRICS_PLAIN);
	assert_int_equal(
	    spr_metrics_accepted("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"),
	    SPR_METRICS_OPEN);
	assert_non_null(strstr(spr_metrics_type(SPR_METRICS_PLAIN), "0.0.4"));
	assert_non_null(strstr(spr_metrics_type(SPR_METRICS_OPEN), "application/openmetrics-text"));
}

static void
test_no_memory(void **state)
{
	size_t len = 0;
	char *text = NULL;

	for (unsigned long n = 1; text == NULL; n++) {
		spr_mem_fail_at(n);
		text = spr_metrics_write(*state, SPR_METRICS_OPEN, &len);
		spr_mem_fail_at(0);
		assert_true(n < 10);
	}
	assert_int_equal(strncmp(text + len - 6, "# EOF\n", 6), 0);
	spr_mem_free(text);
}

/* Prometheus' own reading of it, which knows the naming rules too. */
static void
test_promtool(void **state)
{
	char *text = write_page(*state, SPR_METRICS_PLAIN);
	FILE *tool;

	if (system("command -v promtool >/dev/null 2>&1") != 0) {
		free(text);
		print_message("promtool is not there: tools/install-deps tests installs it\n");
		skip();
	}
	assert_non_null(tool = popen("promtool check metrics >&2", "w"));
	assert_true(fputs(text + 1, tool) >= 0);
	assert_int_equal(pclose(tool), 0);
	free(text);
}

#define each(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    each(test_every_row), each(test_heads),     each(test_values),
	    each(test_accepted),  each(test_no_memory), each(test_promtool),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
