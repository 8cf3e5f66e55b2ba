/*
 * bench_options - the table handed to the config machinery, and what must hold between options.
 */
#include "bench_options.h"

#include <stddef.h>
#include <string.h>

static const spr_config_row rows[] = {
#define X(type, field, name, standard, range, help) \
	{                                           \
	    name,                                   \
	    SPR_CONFIG_##type,                      \
	    SPR_CONFIG_PLAIN,                       \
	    standard,                               \
	    range,                                  \
	    offsetof(bench_options, field),         \
	    help},
    BENCH_OPTIONS(X)
#undef X
};

static const char *const actions[] = {
    [BENCH_ACTION_HELP] = "help",
    [BENCH_ACTION_VERSION] = "version",
    [BENCH_ACTION_HELP_MARKDOWN] = "help-markdown",
    [BENCH_ACTION_HELP_TABLE] = "help-table",
    [BENCH_ACTION_RUN] = NULL,
};

static bool
is_foreign(const char *variable)
{
	return (spr_config_is_service_variable(variable));
}

spr_config
bench_options_config(bench_options *options)
{
	return ((spr_config){.rows = rows,
			     .n_rows = BENCH_N_OPTIONS,
			     .prefix = "SPREADER_BENCH_",
			     .actions = actions,
			     .is_foreign = is_foreign,
			     .values = options,
			     .origins = options->origins});
}

static spr_err
take_roles(bench_options *options, const spr_config *config)
{
	const struct {
		const char *name;
		bool *is_it;
	} roles[] = {{"producer", &options->is_producer},
		     {"worker", &options->is_worker},
		     {"upstream", &options->is_upstream}};

	for (size_t r = 0; r < sizeof(roles) / sizeof(roles[0]); r++)
		*roles[r].is_it = options->role.n == 0;
	for (unsigned i = 0; i < options->role.n; i++) {
		size_t r = 0, n = sizeof(roles) / sizeof(roles[0]);

		while (r < n && strcmp(roles[r].name, options->role.item[i]) != 0)
			r++;
		if (r == n)
			return (spr_config_refuse(config, BENCH_OPTION_role,
						  options->origins[BENCH_OPTION_role],
						  "%.*s is not producer, worker or upstream",
						  SPR_CONFIG_VALUE_SHOWN, options->role.item[i]));
		*roles[r].is_it = true;
	}
	options->is_upstream = options->is_upstream && options->ack != NULL;
	return (SPR_OK);
}

/* Pairs of which the first makes no sense together with the second. */
static spr_err
check(const bench_options *o, const spr_config *config)
{
	bool is_split = o->role.n > 0, is_relay = o->null || !o->control;
	const struct {
		unsigned row;
		bool is_wrong;
		const char *why;
	} rules[] = {
	    {BENCH_OPTION_null, o->null && o->daemon != NULL, "has no target; leave --daemon out"},
	    {BENCH_OPTION_null, o->null && is_split, "needs all roles"},
	    {BENCH_OPTION_null, o->null && (o->producers > 1 || o->workers > 1),
	     "has one producer and one worker"},
	    {BENCH_OPTION_daemon, o->daemon != NULL && is_split, "needs all roles"},
	    {BENCH_OPTION_daemon, o->daemon != NULL && !o->control, "needs --control"},
	    {BENCH_OPTION_daemon_flag, o->daemon_flag.n > 0 && o->daemon == NULL, "needs --daemon"},
	    {BENCH_OPTION_ack, o->ack != NULL && is_relay, "a relay gives no answers"},
	    {BENCH_OPTION_confirm, o->confirm == BENCH_CONFIRM_RECEIPT && o->ack == NULL,
	     "receipt needs --ack"},
	    {BENCH_OPTION_hit_percent, o->hit_percent < 100 && is_relay,
	     "a relay hands on everything"},
	    {BENCH_OPTION_background, o->background > 0 && is_relay, "needs control"},
	    {BENCH_OPTION_churn, o->churn > 0 && is_relay, "needs control"},
	    {BENCH_OPTION_role, is_split && (o->run == 0 || o->count == 0),
	     "needs --run and --count"},
	    {BENCH_OPTION_role, is_split && !o->is_producer && !o->is_worker && !o->is_upstream,
	     "upstream needs --ack"},
	};

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (rules[i].is_wrong)
			return (spr_config_refuse(config, rules[i].row, o->origins[rules[i].row],
						  "%s", rules[i].why));
	}
	return (SPR_OK);
}

spr_err
bench_options_parse(bench_options *out, int argc, char **argv, char **envp)
{
	bench_options options = {0};
	spr_config config = bench_options_config(&options);
	int action = BENCH_ACTION_RUN;
	spr_err rv = spr_config_read_arguments(&config, argc, argv, &action);

	options.action = (bench_action)action;
	if (rv == SPR_OK && action == BENCH_ACTION_RUN) {
		if ((rv = spr_config_read_environment(&config, envp)) == SPR_OK &&
		    (rv = spr_config_fill_defaults(&config)) == SPR_OK &&
		    (rv = take_roles(&options, &config)) == SPR_OK)
			rv = check(&options, &config);
	}
	if (rv != SPR_OK) {
		bench_options_free(&options);
		return (rv);
	}
	*out = options;
	return (SPR_OK);
}

void
bench_options_free(bench_options *options)
{
	spr_config config = bench_options_config(options);

	spr_config_free_values(&config);
}

void
bench_options_print_help(FILE *out)
{
	bench_options none = {0};
	spr_config config = bench_options_config(&none);

	fputs("Usage: spreader-bench [flags]\n\n"
	      "Loads a running spreaderd, or one that it starts (--daemon), as producers, delivery "
	      "workers and upstream,\n"
	      "checks that every job and every ack came exactly once, and says how fast.\n\n"
	      "Options [default; range]:\n",
	      out);
	spr_config_print_help(&config, out);
	fputs("  --help, --version\n"
	      "\n--fan-out is SPREADER_BENCH_FAN_OUT in the environment; a flag wins. TIME is "
	      "250us, 250ms, 10s,\n"
	      "2m, 5h or 5d; SIZE is 256, 64KiB, 1MiB or 1GiB. Its subscriptions end by themselves "
	      "after a day.\n"
	      "Exit: 0 all came, 1 something is missing, came twice or early, 2 bad command line,\n"
	      "71 cannot bind or reach an address, 78 bad configuration.\n",
	      out);
}
