/*
 * spreaderctl - asks a running spreaderd to change or to tell something: one verb a call, from one
 * table that the help text comes from too.
 */
#include "ctl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPTION(field) (1u << CTL_OPTION_##field)
#define EVERYWHERE                                                                                \
	(OPTION(url) | OPTION(timeout_ns) | OPTION(tls_ca) | OPTION(tls_cert) | OPTION(tls_key) | \
	 OPTION(json))

static const struct verb {
	const char *name;
	const char *arguments;
	int n_least, n_most;
	unsigned options; /* besides EVERYWHERE */
	const char *help;
	int (*run)(ctl *c);
} verbs[] = {
    {"subscribe", "PATTERN CALLBACK", 2, 2, OPTION(lease_ns),
     "Subscribe the callback to the pattern, or renew it", ctl_subscribe},
    {"unsubscribe", "PATTERN CALLBACK", 2, 2, 0, "End a subscription", ctl_unsubscribe},
    {"list", "", 0, 0, OPTION(prefix) | OPTION(callback) | OPTION(limit),
     "List the subscriptions in the order of their patterns", ctl_list},
    {"lookup", "PREDICATE", 1, 1, 0,
     "Tell who would be told of the predicate, by which pattern, and who would not and why",
     ctl_lookup},
    {"import", "FILE|-", 1, 1, 0,
     "Subscribe from lines of {\"pattern\", \"callback\", \"expires_at\" or \"lease_seconds\"}",
     ctl_import},
    {"export", "[FILE|-]", 0, 1, 0, "Write every subscription as such a line", ctl_export},
    {"stats", "", 0, 0, 0, "Print the daemon's counters", ctl_stats},
    {"health", "", 0, 0, 0, "Print whether it is ready, and why not; exit 0 when it is",
     ctl_health},
    {"version", "", 0, 0, 0, "Print the daemon's version", ctl_version},
};
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static const spr_config_row rows[] = {
#define X(type, field, name, standard, range, help)                                                \
	{name, SPR_CONFIG_##type, SPR_CONFIG_PLAIN, standard, range, offsetof(ctl_options, field), \
	 help},
    CTL_OPTIONS(X)
#undef X
};

enum { ACTION_HELP, ACTION_VERSION, ACTION_HELP_TABLE, ACTION_NONE };
static const char *const actions[] = {"help", "version", "help-table", NULL};

int
ctl_fail(int code, const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fflush(stdout);
	fputs("spreaderctl: ", stderr);
	ctl_put(stderr, text);
	fputc('\n', stderr);
	return (code);
}

static void
print_options_of(unsigned options)
{
	for (unsigned i = 0; i < CTL_N_OPTIONS; i++) {
		if ((options & (1u << i)) != 0)
			printf(" [--%s]", rows[i].name);
	}
}

static void
print_help(const spr_config *config)
{
	fputs("Usage: spreaderctl [--url URL] [--timeout TIME] [--json] VERB ...\n"
	      "Asks a running spreaderd.\n\nVerbs:\n",
	      stdout);
	for (size_t i = 0; i < N_VERBS; i++) {
		printf("  %s%s%s", verbs[i].name, verbs[i].arguments[0] != '\0' ? " " : "",
		       verbs[i].arguments);
		print_options_of(verbs[i].options);
		fputc('\n', stdout);
		spr_config_print_text(verbs[i].help, stdout);
	}
	fputs("\nOptions [default; range]:\n", stdout);
	spr_config_print_help(config, stdout);
	fputs("  --help, --version\n"
	      "\nTIME is 250ms, 10s, 2m, 5h or 5d.\n"
	      "Exit: 0 done, 1 the daemon said no or found nothing, 2 bad command line,\n"
	      "69 the daemon cannot be reached.\n",
	      stdout);
}

/* spr_config_print_table(), and a line for each verb: verb, NAME, ARGUMENTS, its options with commas between, HELP. */
static void
print_table(const spr_config *config)
{
	spr_config_print_table(config, "option", stdout);
	for (size_t i = 0; i < N_VERBS; i++) {
		printf("verb\t%s\t%s\t", verbs[i].name, verbs[i].arguments);
		for (unsigned k = 0; k < CTL_N_OPTIONS; k++) {
			if (((EVERYWHERE | verbs[i].options) & (1u << k)) != 0)
				printf("%s,", rows[k].name);
		}
		printf("\t%s\n", verbs[i].help);
	}
}

static const struct verb *
find_verb(const char *name)
{
	for (size_t i = 0; i < N_VERBS; i++) {
		if (strcmp(verbs[i].name, name) == 0)
			return (&verbs[i]);
	}
	return (NULL);
}

static int
check_usage(const struct verb *verb, const spr_config *config, int n_arguments)
{
	if (n_arguments < verb->n_least || n_arguments > verb->n_most)
		return (ctl_fail(CTL_USAGE, "%s takes %s; --help tells more", verb->name,
				 verb->arguments[0] != '\0' ? verb->arguments : "no argument"));
	for (unsigned i = 0; i < CTL_N_OPTIONS; i++) {
		if (config->origins[i] == SPR_CONFIG_FLAG &&
		    ((EVERYWHERE | verb->options) & (1u << i)) == 0)
			return (ctl_fail(CTL_USAGE,
					 "--%s: %s has no such option; --help tells more",
					 rows[i].name, verb->name));
	}
	return (CTL_OK);
}

/* Flags, variables, defaults; the words that are left are in config->words. */
static spr_err
read_options(spr_config *config, int argc, char **argv, int *action)
{
	static const ctl_variable variables[] = {
	    {"SPREADER_CONTROL_URL", CTL_OPTION_url},
	    {"SPREADER_CONTROL_TLS_CA", CTL_OPTION_tls_ca},
	    {"SPREADER_CONTROL_TLS_CERT", CTL_OPTION_tls_cert},
	    {"SPREADER_CONTROL_TLS_KEY", CTL_OPTION_tls_key},
	};
	spr_err rv = ctl_read_options(config, argc, argv, action, variables,
				      sizeof(variables) / sizeof(variables[0]));

	if (rv == SPR_OK)
		rv = spr_config_fill_defaults(config);
	return (rv);
}

static int
run(ctl *c, spr_config *config, int argc, char **argv)
{
	const struct verb *verb = NULL;
	int action = ACTION_NONE;
	int code = CTL_OK;
	spr_err rv = read_options(config, argc, argv, &action);

	if (rv != SPR_OK)
		return (ctl_fail(CTL_USAGE, "%s", spr_error_text(rv)));
	if (action == ACTION_VERSION) {
		printf("spreaderctl %s\n", SPR_VERSION);
		return (CTL_OK);
	}
	if (action == ACTION_HELP_TABLE) {
		print_table(config);
		return (CTL_OK);
	}
	if (action == ACTION_HELP ||
	    (config->n_words > 0 && strcmp(config->words[0], "help") == 0)) {
		print_help(config);
		return (CTL_OK);
	}
	if (config->n_words == 0)
		return (ctl_fail(CTL_USAGE, "no verb given; --help lists them"));
	if ((verb = find_verb(config->words[0])) == NULL)
		return (
		    ctl_fail(CTL_USAGE, "%s: no such verb; --help lists them", config->words[0]));
	if ((code = check_usage(verb, config, (int)config->n_words - 1)) != CTL_OK)
		return (code);
	c->verb = verb->name;
	memcpy(c->words, config->words + 1, (config->n_words - 1) * sizeof(c->words[0]));
	code = verb->run(c);
	ctl_fini(c);
	return (code);
}

int
main(int argc, char **argv)
{
	ctl c = {.peer = "spreaderd",
		 .remedy = "or name its control address with --url or SPREADER_CONTROL_URL"};
	spr_config_origin origins[CTL_N_OPTIONS] = {SPR_CONFIG_UNSET};
	char *words[CTL_WORDS_MAX + 1] = {NULL};
	spr_config config = {.rows = rows,
			     .n_rows = CTL_N_OPTIONS,
			     .prefix = "SPREADER_CONTROL_",
			     .actions = actions,
			     .values = &c.options,
			     .origins = origins,
			     .words = words,
			     .max_words = CTL_WORDS_MAX};
	int code = run(&c, &config, argc, argv);

	if ((fflush(stdout) != 0 || ferror(stdout)) && code == CTL_OK)
		code = ctl_fail(CTL_NO, "cannot write to standard output");
	spr_config_free_values(&config);
	/* not exit(): a thread may still be dialling, and the library must not be taken from under it */
	_exit(code);
}
