/*
 * options - the daemon's table handed to the config machinery, and the two things a table cannot
 * say: what is derived from other options, and how a reload differs from a start. What must hold
 * between options is in options_check.c.
 */
#include "options.h"

#include <ctype.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/units.h"

static const spr_config_row rows[] = {
#define X(type, field, name, standard, range, flag, help) \
	{                                                 \
	    name,                                         \
	    SPR_CONFIG_##type,                            \
	    SPR_CONFIG_##flag,                            \
	    standard,                                     \
	    range,                                        \
	    offsetof(spr_options, field),                 \
	    help},
    SPR_OPTIONS(X)
#undef X
};

static const char *const actions[] = {
    [SPR_ACTION_HELP] = "help",
    [SPR_ACTION_VERSION] = "version",
    [SPR_ACTION_CHECK_CONFIG] = "check-config",
    [SPR_ACTION_PRINT_CONFIG] = "print-config",
    [SPR_ACTION_HELP_MARKDOWN] = "help-markdown",
    [SPR_ACTION_HELP_TABLE] = "help-table",
    [SPR_ACTION_RUN] = NULL,
};

/* What spreaderctl reads, and whatever is the queue's. */
static bool
is_foreign(const char *variable)
{
	static const char *const starts[] = {
	    "SPREADER_CONTROL_URL=", "SPREADER_CONTROL_TLS_CA=", "SPREADER_CONTROL_TLS_CERT=",
	    "SPREADER_CONTROL_TLS_KEY=", "SPREADER_QUEUE_"};

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		if (strncmp(variable, starts[i], strlen(starts[i])) == 0)
			return (true);
	}
	return (spr_config_is_service_variable(variable));
}

static spr_config
config_of(spr_options *options)
{
	return ((spr_config){
	    .rows = rows,
	    .n_rows = SPR_N_OPTIONS,
	    .prefix = "SPREADER_",
	    .actions = actions,
	    .is_foreign = is_foreign,
	    .values = options,
	    .origins = options->origins,
	    .path = options->config,
	});
}

/* --- derived values
 * -------------------------------------------------------------------------------------------- */

static const char *machine_root = "";

void
spr_options_set_root(const char *root)
{
	machine_root = root;
}

static void
read_machine(spr_options *options)
{
	cpu_set_t set;

	/* a machine of more than 1,024 CPUs fails the call */
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		options->cpus = (unsigned)CPU_COUNT(&set);
	spr_cgroup_read(&options->cgroup, machine_root);
}

/* A part of a processor is a dispatcher too. */
static spr_err
derive_dispatchers(const spr_options *options, spr_config *config)
{
	uint64_t quota = (options->cgroup.milli_cpus + 999) / 1000;
	uint64_t n = options->cpus;
	char text[16];

	if (config->origins[SPR_OPTION_dispatchers] != SPR_CONFIG_UNSET)
		return (SPR_OK);
	if (quota != 0 && quota < n)
		n = quota;
	snprintf(text, sizeof(text), "%u", n < 1 ? 1 : n > 256 ? 256 : (unsigned)n);
	return (spr_config_set(config, SPR_OPTION_dispatchers, text, SPR_CONFIG_DERIVED));
}

/* Behind the defaults: less than what spr_options_check() asks for would only be refused. */
static spr_err
derive_max_inflight_bytes(const spr_options *options, spr_config *config)
{
	uint64_t quarter = options->cgroup.memory_bytes / 4 / 1024 * 1024;
	uint64_t least = spr_options_least_inflight_bytes(options);
	char text[32];

	quarter = quarter > least ? quarter : least;
	if (config->origins[SPR_OPTION_max_inflight_bytes] != SPR_CONFIG_DEFAULT ||
	    options->cgroup.memory_bytes == 0 || quarter >= options->max_inflight_bytes)
		return (SPR_OK);
	snprintf(text, sizeof(text), "%" PRIu64, quarter);
	return (spr_config_set(config, SPR_OPTION_max_inflight_bytes, text, SPR_CONFIG_DERIVED));
}

/* An explicit dial stands in for the default listen of the same socket. */
static spr_err
derive_listen(spr_config *config, spr_option listen, spr_option dial)
{
	if (config->origins[listen] != SPR_CONFIG_UNSET ||
	    config->origins[dial] == SPR_CONFIG_UNSET)
		return (SPR_OK);
	if (((const spr_config_list *)((const char *)config->values + rows[dial].offset))->n == 0)
		return (SPR_OK);
	return (spr_config_set(config, listen, "none", SPR_CONFIG_DERIVED));
}

/* The default address is listened on only when receipts are awaited. Defaults are not filled in yet: unset is push. */
static spr_err
derive_receipts(const spr_options *options, spr_config *config)
{
	if (config->origins[SPR_OPTION_confirm] == SPR_CONFIG_UNSET ||
	    options->confirm != SPR_CONFIRM_RECEIPT) {
		if (config->origins[SPR_OPTION_receipts_listen] != SPR_CONFIG_UNSET)
			return (SPR_OK);
		return (
		    spr_config_set(config, SPR_OPTION_receipts_listen, "none", SPR_CONFIG_DERIVED));
	}
	return (derive_listen(config, SPR_OPTION_receipts_listen, SPR_OPTION_receipts_dial));
}

static void
derive_format(spr_options *options)
{
	if (options->intake_format != SPR_INTAKE_AUTO)
		return;
	options->intake_format = options->n_ack_peers > 0 ? SPR_INTAKE_ENVELOPE : SPR_INTAKE_BARE;
	options->origins[SPR_OPTION_intake_format] = SPR_CONFIG_DERIVED;
}

/* Cuts "NAME=" off the item; a '=' behind the scheme belongs to the URL. */
static bool
split_ack(const char *item, spr_ack_peer *peer)
{
	const char *equals = strchr(item, '=');
	const char *scheme = strstr(item, "://");
	size_t len = 0;

	peer->url = item;
	if (equals == NULL || (scheme != NULL && scheme < equals))
		return (true);
	for (len = 0; item + len < equals; len++) {
		if (len == SPR_ACK_NAME_MAX ||
		    (!isalnum((unsigned char)item[len]) && strchr("._-", item[len]) == NULL))
			return (false);
		peer->name[len] = item[len];
	}
	peer->url = equals + 1;
	return (len > 0);
}

/* Puts the peer behind the last one of its name. */
static void
insert_ack(spr_options *options, const spr_ack_peer *peer)
{
	unsigned at = options->n_ack_peers;

	for (unsigned i = 0; i < options->n_ack_peers; i++) {
		if (strcmp(options->ack_peers[i].name, peer->name) == 0)
			at = i + 1;
	}
	memmove(&options->ack_peers[at + 1], &options->ack_peers[at],
		(options->n_ack_peers - at) * sizeof(options->ack_peers[0]));
	options->ack_peers[at] = *peer;
	options->n_ack_peers++;
}

static spr_err
add_acks(spr_options *options, const spr_config *config, spr_option row,
	 const spr_config_list *list)
{
	for (unsigned i = 0; i < list->n; i++) {
		spr_ack_peer peer = {.listen = row == SPR_OPTION_ack_listen};

		if (!split_ack(list->item[i], &peer))
			return (spr_config_refuse(
			    config, row, options->origins[row],
			    "the name in %.*s is not 1 to %d letters, digits, '.', '_' or '-'",
			    SPR_CONFIG_VALUE_SHOWN, list->item[i], SPR_ACK_NAME_MAX));
		insert_ack(options, &peer);
	}
	return (SPR_OK);
}

static spr_err
derive_acks(spr_options *options, const spr_config *config)
{
	unsigned n = options->ack_dial.n + options->ack_listen.n;
	spr_err rv = SPR_OK;

	if (n == 0)
		return (SPR_OK);
	if ((options->ack_peers = spr_mem_alloc(n * sizeof(options->ack_peers[0]))) == NULL)
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	if ((rv = add_acks(options, config, SPR_OPTION_ack_dial, &options->ack_dial)) == SPR_OK)
		rv = add_acks(options, config, SPR_OPTION_ack_listen, &options->ack_listen);
	return (rv);
}

/* --- reading
 * ---------------------------------------------------------------------------------------------------
 */

static spr_err
read_rest(spr_options *options, spr_config *config, char **envp)
{
	spr_err rv = SPR_OK;

	if ((rv = spr_config_read_environment(config, envp)) != SPR_OK)
		return (rv);
	if (options->config != NULL &&
	    (rv = spr_config_read_file(config, options->config)) != SPR_OK)
		return (rv);
	read_machine(options);
	if ((rv = derive_dispatchers(options, config)) != SPR_OK ||
	    (rv = derive_listen(config, SPR_OPTION_intake_listen, SPR_OPTION_intake_dial)) !=
		SPR_OK ||
	    (rv = derive_listen(config, SPR_OPTION_outbox_listen, SPR_OPTION_outbox_dial)) !=
		SPR_OK ||
	    (rv = derive_receipts(options, config)) != SPR_OK ||
	    (rv = spr_config_fill_defaults(config)) != SPR_OK ||
	    (rv = derive_max_inflight_bytes(options, config)) != SPR_OK)
		return (rv);
	if ((rv = derive_acks(options, config)) != SPR_OK)
		return (rv);
	derive_format(options);
	return (spr_options_check(options));
}

static bool
is_only_printing(int action)
{
	return (action == SPR_ACTION_HELP || action == SPR_ACTION_VERSION ||
		action == SPR_ACTION_HELP_MARKDOWN || action == SPR_ACTION_HELP_TABLE);
}

static bool
has_argument(char **argv, const char *flag)
{
	for (; *argv != NULL; argv++) {
		if (strcmp(*argv, flag) == 0)
			return (true);
	}
	return (false);
}

spr_err
spr_options_parse(spr_options *out, int argc, char **argv, char **envp)
{
	spr_options options = {0};
	spr_config config = config_of(&options);
	int action = SPR_ACTION_RUN;
	spr_err rv = SPR_OK;

	if ((rv = spr_config_read_arguments(&config, argc, argv, &action)) != SPR_OK)
		goto fail;
	options.action = (spr_options_action)action;
	if (!is_only_printing(action) && (rv = read_rest(&options, &config, envp)) != SPR_OK)
		goto fail;
	*out = options;
	return (SPR_OK);
fail:
	spr_options_free(&options);
	/* whoever asks for a check wants one exit code for "this configuration is bad" */
	if (rv == SPR_E_USAGE && has_argument(argv, "--check-config"))
		return (spr_fail(SPR_E_CONFIG, "%s", spr_error_text(rv)));
	return (rv);
}

spr_err
spr_options_reload(spr_options *current, int argc, char **argv, char **envp)
{
	spr_options fresh = {0};
	spr_config to = config_of(current);
	spr_config from = config_of(&fresh);
	spr_err rv = SPR_OK;

	if ((rv = spr_options_parse(&fresh, argc, argv, envp)) != SPR_OK)
		return (rv);
	for (unsigned i = 0; i < SPR_N_OPTIONS; i++) {
		if ((rows[i].flags & SPR_CONFIG_RELOAD) != 0)
			spr_config_swap(&to, &from, i);
		else if (fresh.origins[i] != SPR_CONFIG_DERIVED &&
			 !spr_config_is_equal(&to, &from, i))
			spr_warn("CONFIG-NEEDS-RESTART", "option=%s", rows[i].name);
	}
	spr_options_free(&fresh);
	return (SPR_OK);
}

void
spr_options_free(spr_options *options)
{
	spr_config config = config_of(options);

	spr_config_free_values(&config);
	spr_mem_free(options->ack_peers);
	options->ack_peers = NULL;
	options->n_ack_peers = 0;
}

/* --- printing
 * --------------------------------------------------------------------------------------------------
 */

void
spr_options_print_help(FILE *out)
{
	spr_options none = {0};
	spr_config config = config_of(&none);

	fputs("Usage: spreaderd [flags]\n"
	      "Fans notifications out to their subscribers.\n\n"
	      "  --help          this text\n"
	      "  --version       version of the daemon and of its libraries\n"
	      "  --check-config  check flags, environment and file; exit 0 or 78\n"
	      "  --print-config  print every option, its value and where it comes from\n\n"
	      "Options [default; range]:\n",
	      out);
	spr_config_print_help(&config, out);
	fputs("\n--ring-slots is SPREADER_RING_SLOTS in the environment and \"ring-slots\" in the "
	      "file; a flag wins over the\n"
	      "environment, the environment over the file. TIME is 250us, 250ms, 10s, 2m, 5h or "
	      "5d; SIZE is 256, 64KiB, 1MiB\n"
	      "or 1GiB. A switch is --x, --no-x or --x=true|false. Repeatable: the flag again; a,b "
	      "in the environment; an\n"
	      "array in the file; none empties it.\n"
	      "Exit: 0 clean, 1 failure, 2 bad command line, 71 cannot bind, 73 cannot create or "
	      "lock a file,\n"
	      "75 drain left work, 78 bad configuration.\n",
	      out);
}

void
spr_options_print_markdown(FILE *out)
{
	spr_options none = {0};
	spr_config config = config_of(&none);

	spr_config_print_markdown(&config, out);
}

/* What the machine said, for a value that was derived from it. */
static void
print_machine(const spr_options *options, unsigned row, FILE *out)
{
	uint64_t quota = options->cgroup.milli_cpus;
	char text[SPR_UNITS_TEXT_MAX];

	if (options->origins[row] != SPR_CONFIG_DERIVED)
		return;
	if (row == SPR_OPTION_dispatchers) {
		fprintf(out, ": %u CPUs by affinity", options->cpus);
		if (quota != 0)
			fprintf(out, ", %" PRIu64 ".%03u by the control group's quota",
				quota / 1000, (unsigned)(quota % 1000));
	} else if (row == SPR_OPTION_max_inflight_bytes) {
		spr_units_format_size(options->cgroup.memory_bytes, text);
		fprintf(out, ": the control group's memory limit is %s", text);
	}
}

void
spr_options_print_table(FILE *out)
{
	spr_options none = {0};
	spr_config config = config_of(&none);

	spr_config_print_table(&config, "option", out);
}

void
spr_options_print(const spr_options *options, unsigned callback_threads, FILE *out)
{
	spr_options view =
	    *options; /* the machinery's view is not const; nothing is changed through it */
	spr_config config = config_of(&view);

	for (unsigned i = 0; i < SPR_N_OPTIONS; i++) {
		fprintf(out, "%s = ", rows[i].name);
		spr_config_print_value(&config, i, out);
		fprintf(out, "  (%s", spr_config_origin_name(options->origins[i]));
		print_machine(options, i, out);
		if (i == SPR_OPTION_receivers && callback_threads > 0 &&
		    options->transport == SPR_TRANSPORT_NNG)
			fprintf(out, "; nng runs their callbacks on %u threads", callback_threads);
		fputs(")\n", out);
	}
}
