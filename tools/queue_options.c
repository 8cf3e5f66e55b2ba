/*
 * queue_options - the table handed to the config machinery, and what must hold between options.
 */
#include "queue_options.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "net/url.h"

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

spr_config
queue_options_config(queue_options *options)
{
	return ((spr_config){.rows = rows,
			     .n_rows = QUEUE_N_OPTIONS,
			     .prefix = "SPREADER_QUEUE_",
			     .actions = actions,
			     .is_foreign = is_foreign,
			     .values = options,
			     .origins = options->origins});
}

/* Sockets and certificates that do not go together: a bad configuration, whatever the origin. */
static spr_err __attribute__((format(printf, 4, 5)))
refuse(const queue_options *options, const spr_config *config, unsigned row, const char *format,
       ...)
{
	char label[SPR_CONFIG_LABEL_MAX];
	char why[SPR_CONFIG_LABEL_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	spr_config_label(config, row, options->origins[row], label);
	return (spr_fail(SPR_E_CONFIG, "%s: %s", label, why));
}

static bool
is_ws(const char *url)
{
	return (strncmp(url, "ws", 2) == 0);
}

static spr_err
check_list(const queue_options *options, const spr_config *config, unsigned row,
	   const spr_config_list *list)
{
	const spr_url_rules rules = {.is_listening = row != QUEUE_OPTION_to,
				     .is_control = row == QUEUE_OPTION_control_listen,
				     .has_certificate = options->tls_cert != NULL,
				     .has_authority = options->tls_ca != NULL};

	for (unsigned i = 0; i < list->n; i++) {
		if (spr_url_check(list->item[i], &rules) != SPR_OK)
			return (refuse(options, config, row, "%s", spr_error_text(SPR_E_CONFIG)));
		/* ws is served by sockets of nng's own, everything else by ours: one socket is one or the other */
		if (!rules.is_listening && is_ws(list->item[i]))
			return (refuse(options, config, row,
				       "%s: nothing is pushed over ws; use tcp://, tls+tcp://, "
				       "ipc:// or abstract://",
				       list->item[i]));
		if (is_ws(list->item[i]) != is_ws(list->item[0]))
			return (refuse(options, config, row,
				       "ws:// and other schemes cannot share one socket"));
	}
	return (SPR_OK);
}

static spr_err
check_sockets(const queue_options *options, const spr_config *config)
{
	const struct {
		unsigned row;
		const spr_config_list *list;
		bool is_needed;
	} sockets[] = {
	    {QUEUE_OPTION_submit_listen, &options->submit_listen, true},
	    {QUEUE_OPTION_answer_listen, &options->answer_listen, true},
	    {QUEUE_OPTION_control_listen, &options->control_listen, false},
	    {QUEUE_OPTION_to, &options->to, false},
	};
	spr_err rv = SPR_OK;

	for (size_t i = 0; i < sizeof(sockets) / sizeof(sockets[0]) && rv == SPR_OK; i++) {
		unsigned row = sockets[i].row;

		if (sockets[i].is_needed && sockets[i].list->n == 0)
			return (spr_config_refuse(config, row, options->origins[row],
						  "none is not possible; give an address"));
		rv = check_list(options, config, row, sockets[i].list);
	}
	return (rv);
}

static spr_err
check(const queue_options *options, const spr_config *config)
{
	spr_err rv = SPR_OK;

	if (options->tls_cert != NULL && options->tls_key == NULL)
		return (refuse(options, config, QUEUE_OPTION_tls_cert, "needs --tls-key"));
	if (options->tls_key != NULL && options->tls_cert == NULL)
		return (refuse(options, config, QUEUE_OPTION_tls_key, "needs --tls-cert"));
	if ((rv = check_sockets(options, config)) != SPR_OK)
		return (rv);
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
	spr_config config = queue_options_config(&options);
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
	spr_config config = queue_options_config(options);

	spr_config_free_values(&config);
}

void
queue_options_print_help(FILE *out)
{
	queue_options none = {0};
	spr_config config = queue_options_config(&none);

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
	    "empties it. A TERM ends it; what is not acked is pushed again after the next start. A "
	    "HUP reads the\ncertificates again.\n"
	    "Exit: 0 clean, 1 failure, 2 bad command line, 71 cannot bind, 73 cannot create or "
	    "lock a file,\n"
	    "78 bad configuration.\n",
	    out);
}
