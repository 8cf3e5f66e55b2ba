/*
 * queue_options - the table handed to the config machinery, and what must hold between options.
 */
#include "queue_options.h"

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
	    offsetof(queue_options, field),         \
	    help},
    QUEUE_OPTIONS(X)
#undef X
};

static const char *const actions[] = {
    [QUEUE_ACTION_HELP] = "help",
    [QUEUE_ACTION_VERSION] = "version",
    [QUEUE_ACTION_HELP_MARKDOWN] = "help-markdown",
    [QUEUE_ACTION_HELP_TABLE] = "help-table",
    [QUEUE_ACTION_RUN] = NULL,
};

/* What the verbs read; see queue_verbs.c. */
static bool
is_foreign(const char *variable)
{
	static const char submit[] = "SPREADER_QUEUE_SUBMIT_URL=",
			  control[] = "SPREADER_QUEUE_CONTROL_URL=";

	return (strncmp(variable, submit, sizeof(submit) - 1) == 0 ||
		strncmp(variable, control, sizeof(control) - 1) == 0 ||
		spr_config_is_service_variable(variable));
}

static spr_config
config_of(queue_options *options)
{
	return ((spr_config){.rows = rows,
			     .n_rows = QUEUE_N_OPTIONS,
			     .prefix = "SPREADER_QUEUE_",
			     .actions = actions,
			     .is_foreign = is_foreign,
			     .values = options,
			     .origins = options->origins});
}

/* Control has no password: it is for this machine. */
static bool
is_local(const char *url)
{
	static const char *const local[] = {
	    "tcp://127.", "tcp://localhost:", "tcp://[::1]:", "ipc://", "unix://", "abstract://"};

	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
		if (strncmp(url, local[i], strlen(local[i])) == 0)
			return (true);
	}
	return (false);
}

static spr_err
check(const queue_options *options, const spr_config *config)
{
	static const unsigned needed[] = {QUEUE_OPTION_submit_listen, QUEUE_OPTION_answer_listen};
	const spr_config_list *lists[] = {&options->submit_listen, &options->answer_listen};

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (lists[i]->n == 0)
			return (spr_config_refuse(config, needed[i], options->origins[needed[i]],
						  "none is not possible; give an address"));
	}
	for (unsigned i = 0; i < options->control_listen.n; i++) {
		if (!is_local(options->control_listen.item[i]))
			return (spr_config_refuse(
			    config, QUEUE_OPTION_control_listen,
			    options->origins[QUEUE_OPTION_control_listen],
			    "%.*s is not tcp:// on a loopback address, ipc:// or abstract://",
			    SPR_CONFIG_VALUE_SHOWN, options->control_listen.item[i]));
	}
	if (options->retry_longest_ns < options->retry_first_ns)
		return (spr_config_refuse(config, QUEUE_OPTION_retry_longest_ns,
					  options->origins[QUEUE_OPTION_retry_longest_ns],
					  "shorter than --retry-first"));
	if (options->max_message_bytes < options->max_body_bytes)
		return (spr_config_refuse(config, QUEUE_OPTION_max_message_bytes,
					  options->origins[QUEUE_OPTION_max_message_bytes],
					  "smaller than --max-body"));
	return (SPR_OK);
}

spr_err
queue_options_parse(queue_options *out, int argc, char **argv, char **envp)
{
	queue_options options = {0};
	spr_config config = config_of(&options);
	int action = QUEUE_ACTION_RUN;
	spr_err rv = spr_config_read_arguments(&config, argc, argv, &action);

	options.action = (queue_action)action;
	if (rv == SPR_OK && action == QUEUE_ACTION_RUN) {
		if ((rv = spr_config_read_environment(&config, envp)) == SPR_OK &&
		    (rv = spr_config_fill_defaults(&config)) == SPR_OK)
			rv = check(&options, &config);
	}
	if (rv != SPR_OK) {
		queue_options_free(&options);
		return (rv);
	}
	*out = options;
	return (SPR_OK);
}

void
queue_options_free(queue_options *options)
{
	spr_config config = config_of(options);

	spr_config_free_values(&config);
}

void
queue_options_print_help(FILE *out)
{
	queue_options none = {0};
	spr_config config = config_of(&none);

	fputs("Usage: spreader-queue [flags]               keep a queue and feed dispatchers from "
	      "it\n"
	      "       spreader-queue VERB ... [flags]      ask a running one; spreader-queue help "
	      "lists the verbs\n\n"
	      "Options [default; range]:\n",
	      out);
	spr_config_print_help(&config, out);
	fputs(
	    "  --help, --version\n"
	    "\n--max-attempts is SPREADER_QUEUE_MAX_ATTEMPTS in the environment; a flag wins. TIME "
	    "is 250us, 250ms, 10s,\n"
	    "2m, 5h or 5d; SIZE is 256, 64KiB, 1MiB or 1GiB. Repeatable: the flag again; a,b in "
	    "the environment; none\n"
	    "empties it. A TERM ends it; what is not acked is pushed again after the next start.\n"
	    "Exit: 0 clean, 1 failure, 2 bad command line, 71 cannot bind, 73 cannot create or "
	    "lock a file,\n"
	    "78 bad configuration.\n",
	    out);
}

void
queue_options_print_markdown(FILE *out)
{
	queue_options none = {0};
	spr_config config = config_of(&none);

	spr_config_print_markdown(&config, out);
}

void
queue_options_print_table(FILE *out)
{
	queue_options none = {0};
	spr_config config = config_of(&none);

	spr_config_print_table(&config, "option", out);
}
