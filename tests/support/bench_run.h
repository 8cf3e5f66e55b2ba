/*
 * bench_run - runs the built spreader-bench with --json and keeps what it said.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "proc.h"
#include "spr_test.h"

#define BENCH_PROGRAM  SPR_TEST_BUILD_DIR "/spreader-bench"
#define BENCH_ARGS_MAX 24
#define ARGS(...)      ((const char *const[]){__VA_ARGS__, NULL})

typedef struct bench_run {
	char *dir;
	spr_proc *proc;
	int code;
	cJSON *result; /* NULL: it printed none */
	char *err;
} bench_run;

static inline void
start(bench_run *r, const char *const arguments[])
{
	const char *argv[BENCH_ARGS_MAX] = {BENCH_PROGRAM, "--json"};

	memset(r, 0, sizeof(*r));
	r->dir = spr_test_tmpdir();
	for (unsigned i = 0; arguments[i] != NULL; i++)
		argv[i + 2] = arguments[i];
	r->proc = spr_proc_start(r->dir, "bench", argv, NULL);
	assert_non_null(r->proc);
}

static inline void
join(bench_run *r)
{
	char *out, *json;

	r->code = spr_proc_wait(r->proc, spr_test_deadline_ms());
	out = spr_proc_out(r->proc);
	r->err = spr_proc_err(r->proc);
	json = strchr(out, '{');
	r->result = json != NULL ? cJSON_Parse(json) : NULL; /* behind the samples */
	if (r->code != 0)
		printf("exit %d\n%s%s\n", r->code, out, r->err);
	free(out);
}

static inline void
end(bench_run *r)
{
	cJSON_Delete(r->result);
	free(r->err);
	spr_proc_end_all();
	spr_test_cleanup(r->dir);
}

/* group: NULL for the outermost. */
static inline double
number_of(const bench_run *r, const char *group, const char *name)
{
	const cJSON *object =
	    group != NULL ? cJSON_GetObjectItemCaseSensitive(r->result, group) : r->result;
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	if (!cJSON_IsNumber(item))
		fail_msg("no number %s", name);
	return (item->valuedouble);
}
