/*
 * spreader-bench - loads a daemon over real sockets, checks that every job and every ack came exactly once, and says how fast.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench_churn.h"
#include "bench_load.h"
#include "bench_options.h"
#include "bench_relay.h"
#include "bench_report.h"
#include "bench_target.h"
#include "bench_usage.h"
#include "daemon.h"

extern char **environ;

/* INT and TERM end the sending; what was sent is still waited for, and told. A second one ends us. */
static volatile sig_atomic_t is_interrupted;

static void
on_signal(int number)
{
	is_interrupted = 1;
	signal(number, SIG_DFL);
}

/* What a run consists of; all of it may be empty. */
typedef struct parts {
	bench_relay *relay;
	bench_target target;
	bench_load *load;
	bench_churn *churn;
} parts;

static spr_err
begin(parts *p, const bench_options *o)
{
	spr_err rv = bench_load_open(&p->load, o);

	if (rv == SPR_OK && o->null)
		rv = bench_relay_start(&p->relay, o->fan_out, p->target.in, p->target.out);
	else if (rv == SPR_OK)
		rv = bench_target_start(&p->target, o, o->is_upstream ? p->load->ack_url : NULL);
	if (rv == SPR_OK && o->control && !o->null && o->is_producer)
		rv = bench_target_subscribe(&p->target, o);
	if (rv == SPR_OK)
		rv = bench_load_connect(p->load, p->target.in, p->target.out, p->target.receipts);
	if (rv == SPR_OK && o->churn > 0 && o->is_producer)
		rv = bench_churn_start(&p->churn, p->target.control, o->depth, o->churn);
	return (rv);
}

static void
measure(parts *p, bench_result *r)
{
	static bench_usage self, target;
	pid_t pid = p->target.pid;

	r->has_target = pid > 0 && bench_usage_read(&target, pid);
	bench_usage_read(&self, getpid());
	bench_load_run(p->load, pid, &is_interrupted);
	r->has_target = r->has_target && bench_usage_read(&r->target, pid);
	bench_usage_read(&r->self, getpid());
	bench_usage_subtract(&r->target, &target);
	bench_usage_subtract(&r->self, &self);
	bench_churn_stop(p->churn, &r->churned, &r->churn_refused);
	p->churn = NULL;
}

/* Ends everything; what still comes out of the target on its way down counts as well. */
static void
end(parts *p, bench_result *r)
{
	static char failure[256];

	bench_load_settle(p->load);
	if (bench_target_stop(&p->target) != SPR_OK) {
		snprintf(failure, sizeof(failure), "%s", spr_error_text(SPR_E_PEER));
		r->target_failure = failure;
	}
	bench_load_settle(p->load);
	bench_load_stop(p->load);
	bench_relay_stop(p->relay);
	p->relay = NULL;
}

static int
run(const bench_options *o)
{
	parts p = {0};
	bench_result *r = spr_mem_zalloc(sizeof(*r));
	spr_err rv = r == NULL ? SPR_E_NOMEM : begin(&p, o);
	int code;

	if (rv == SPR_OK) {
		measure(&p, r);
		end(&p, r);
		bench_result_collect(r, p.load);
		if (o->json)
			bench_result_print_json(r, o, stdout);
		else
			bench_result_print(r, o, stdout);
		code = bench_result_is_good(r, o) ? SPR_EXIT_OK : SPR_EXIT_FAILURE;
	} else {
		fprintf(stderr, "spreader-bench: %s\n", spr_error_text(rv));
		code = spr_exit_code(rv);
		(void)bench_target_stop(&p.target);
	}
	bench_load_close(p.load);
	bench_relay_stop(p.relay);
	spr_mem_free(r);
	return (code);
}

int
main(int argc, char **argv)
{
	bench_options options = {0};
	spr_err rv = bench_options_parse(&options, argc, argv, environ);
	const spr_config config = bench_options_config(&options);
	int code = SPR_EXIT_OK;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	if (rv != SPR_OK) {
		fprintf(stderr, "spreader-bench: %s\n", spr_error_text(rv));
		return (spr_exit_code(rv));
	}
	switch (options.action) {
	case BENCH_ACTION_HELP:
		bench_options_print_help(stdout);
		break;
	case BENCH_ACTION_HELP_MARKDOWN:
		spr_config_print_markdown(&config, stdout);
		break;
	case BENCH_ACTION_HELP_TABLE:
		spr_config_print_table(&config, "option", stdout);
		break;
	case BENCH_ACTION_VERSION:
		printf("spreader-bench %s\n", SPR_VERSION);
		break;
	case BENCH_ACTION_RUN:
		code = run(&options);
		break;
	}
	bench_options_free(&options);
	if (fflush(stdout) != 0 && code == SPR_EXIT_OK)
		code = SPR_EXIT_FAILURE;
	return (code);
}
