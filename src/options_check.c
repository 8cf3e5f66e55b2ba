/*
 * options_check - what must hold between options, and what a URL must look like. A file of its own
 * because this is where the daemon's rules are, while options.c is plumbing.
 */
#include "options.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/host_rules.h"
#include "base/units.h"
#include "net/net.h"
#include "net/url.h"

/* --- one rule's failure
 * ---------------------------------------------------------------------------------------- */

/* Names the key as its origin spells it. Always a bad configuration, whatever the origin: each
 * value alone is fine. */
static spr_err __attribute__((format(printf, 3, 4)))
refuse(const spr_options *options, spr_option row, const char *format, ...)
{
	static const char *const names[] = {
#define X(type, field, name, standard, range, flag, help) name,
	    SPR_OPTIONS(X)
#undef X
	};
	const spr_config_row named = {.name = names[row]};
	const spr_config config = {.rows = &named, .prefix = "SPREADER_", .path = options->config};
	char label[SPR_CONFIG_LABEL_MAX];
	char why[SPR_CONFIG_LABEL_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	spr_config_label(&config, 0, options->origins[row], label);
	return (spr_fail(SPR_E_CONFIG, "%s: %s", label, why));
}

/* --- URLs
 * ------------------------------------------------------------------------------------------------------
 */

static spr_err
check_url(const spr_options *options, spr_option row, const char *url, bool listen)
{
	const spr_url_rules rules = {.is_listening = listen,
				     .is_control = row == SPR_OPTION_control_listen,
				     .has_certificate = options->tls_cert != NULL,
				     .has_authority = options->tls_ca != NULL};

	if (spr_url_check(url, &rules) != SPR_OK)
		return (refuse(options, row, "%s", spr_error_text(SPR_E_CONFIG)));
	return (SPR_OK);
}

/* HOST:PORT, no URL. What is bound beyond this machine must not let everybody list and change subscriptions. */
static spr_err
check_http(const spr_options *options, const char *text)
{
	char url[SPR_URL_MAX];
	spr_url_address a;

	if (strlen(text) > 100)
		return (refuse(options, SPR_OPTION_http_listen, "%.64s... is too long", text));
	snprintf(url, sizeof(url), "http://%s", text);
	if (strchr(text, '/') != NULL || !spr_url_split(url, &a) || a.port < 0)
		return (refuse(options, SPR_OPTION_http_listen, "%s is no HOST:PORT", text));
	if (!spr_url_is_loopback(a.host) && options->admin_token_file == NULL)
		return (refuse(options, SPR_OPTION_http_listen,
			       "%s is not loopback, which needs --admin-token-file", text));
	return (SPR_OK);
}

static spr_err
check_hosts(const spr_options *options, spr_option row, const spr_config_list *list)
{
	for (unsigned i = 0; i < list->n; i++) {
		if (spr_host_rule_check(list->item[i]) != SPR_OK)
			return (refuse(options, row, "%s", spr_error_text(SPR_E_INVALID)));
	}
	return (SPR_OK);
}

static spr_err
check_list(const spr_options *options, spr_option row, const spr_config_list *list, bool listen)
{
	spr_err rv = SPR_OK;

	for (unsigned i = 0; i < list->n && rv == SPR_OK; i++)
		rv = check_url(options, row, list->item[i], listen);
	return (rv);
}

static spr_err
check_native(const spr_options *o)
{
	const struct {
		spr_option row;
		const spr_config_list *urls;
	} lists[] = {
	    {SPR_OPTION_intake_listen, &o->intake_listen},
	    {SPR_OPTION_intake_dial, &o->intake_dial},
	    {SPR_OPTION_outbox_listen, &o->outbox_listen},
	    {SPR_OPTION_outbox_dial, &o->outbox_dial},
	    {SPR_OPTION_receipts_listen, &o->receipts_listen},
	    {SPR_OPTION_receipts_dial, &o->receipts_dial},
	};

	if (o->transport != SPR_TRANSPORT_NATIVE)
		return (SPR_OK);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		for (unsigned k = 0; k < lists[i].urls->n; k++) {
			const char *url = lists[i].urls->item[k];

			if (!spr_transport_native_serves(url))
				return (refuse(o, lists[i].row,
					       "%s is not served by --transport native; use "
					       "tcp://, ipc:// or unix://, or --transport nng",
					       url));
		}
	}
	return (SPR_OK);
}

static spr_err
check_urls(const spr_options *o)
{
	spr_err rv = SPR_OK;

	if ((rv = check_list(o, SPR_OPTION_intake_listen, &o->intake_listen, true)) != SPR_OK ||
	    (rv = check_list(o, SPR_OPTION_intake_dial, &o->intake_dial, false)) != SPR_OK ||
	    (rv = check_list(o, SPR_OPTION_outbox_listen, &o->outbox_listen, true)) != SPR_OK ||
	    (rv = check_list(o, SPR_OPTION_outbox_dial, &o->outbox_dial, false)) != SPR_OK ||
	    (rv = check_list(o, SPR_OPTION_receipts_listen, &o->receipts_listen, true)) != SPR_OK ||
	    (rv = check_list(o, SPR_OPTION_receipts_dial, &o->receipts_dial, false)) != SPR_OK ||
	    (rv = check_list(o, SPR_OPTION_control_listen, &o->control_listen, true)) != SPR_OK)
		return (rv);
	for (unsigned i = 0; i < o->http_listen.n && rv == SPR_OK; i++)
		rv = check_http(o, o->http_listen.item[i]);
	for (unsigned i = 0; i < o->n_ack_peers && rv == SPR_OK; i++) {
		const spr_ack_peer *peer = &o->ack_peers[i];

		rv = check_url(o, peer->listen ? SPR_OPTION_ack_listen : SPR_OPTION_ack_dial,
			       peer->url, peer->listen);
	}
	return (rv);
}

/* --- rules between options
 * ------------------------------------------------------------------------------------- */

static spr_err
check_sockets(const spr_options *o)
{
	if (o->tls_cert != NULL && o->tls_key == NULL)
		return (refuse(o, SPR_OPTION_tls_cert, "needs --tls-key"));
	if (o->tls_key != NULL && o->tls_cert == NULL)
		return (refuse(o, SPR_OPTION_tls_key, "needs --tls-cert"));
	if (o->intake_listen.n + o->intake_dial.n == 0)
		return (refuse(o, SPR_OPTION_intake_listen,
			       "there is no intake; give --intake-listen or --intake-dial"));
	if (o->n_ack_peers > 0 && o->intake_format == SPR_INTAKE_BARE)
		return (refuse(o, SPR_OPTION_intake_format,
			       "bare documents have no id to answer, so --ack-dial and "
			       "--ack-listen need envelope"));
	if (o->no_subscribers == SPR_NO_SUBSCRIBERS_DEAD_LETTER && o->dead_letter == NULL)
		return (
		    refuse(o, SPR_OPTION_no_subscribers, "dead-letter needs --dead-letter FILE"));
	return (SPR_OK);
}

uint64_t
spr_options_least_inflight_bytes(const spr_options *options)
{
	uint64_t messages = 2 * options->receivers * options->max_message_bytes;
	uint64_t jobs = 4 * options->max_job_bytes;

	return (messages > jobs ? messages : jobs);
}

static bool
is_ws(const char *url)
{
	return (strncmp(url, "ws", 2) == 0);
}

/* ws is served by sockets of nng's own, everything else by ours: one socket is one or the other. */
static spr_err
check_mixed(const spr_options *o)
{
	for (unsigned i = 1; i < o->control_listen.n; i++) {
		if (is_ws(o->control_listen.item[i]) != is_ws(o->control_listen.item[0]))
			return (refuse(o, SPR_OPTION_control_listen,
				       "ws:// and other schemes cannot share the control socket"));
	}
	for (unsigned i = 0; i < o->n_ack_peers; i++) {
		for (unsigned k = 0; k < i; k++) {
			if (strcmp(o->ack_peers[i].name, o->ack_peers[k].name) == 0 &&
			    is_ws(o->ack_peers[i].url) != is_ws(o->ack_peers[k].url))
				return (refuse(o,
					       o->ack_peers[i].listen ? SPR_OPTION_ack_listen
								      : SPR_OPTION_ack_dial,
					       "ws:// and other schemes cannot share the socket of "
					       "one upstream"));
		}
	}
	return (SPR_OK);
}

static spr_err
check_receipts(const spr_options *o)
{
	bool is_receipt = o->confirm == SPR_CONFIRM_RECEIPT;

	if (is_receipt && o->n_ack_peers == 0)
		return (refuse(o, SPR_OPTION_confirm, "receipt needs --ack-dial or --ack-listen"));
	if (is_receipt && o->receipts_listen.n + o->receipts_dial.n == 0)
		return (refuse(o, SPR_OPTION_confirm,
			       "receipt needs --receipts-listen or --receipts-dial"));
	if (is_receipt && o->outbox_listen.n + o->outbox_dial.n == 0)
		return (refuse(o, SPR_OPTION_confirm,
			       "receipt needs an outbox: nobody sends receipts without one"));
	if (!is_receipt && o->receipts_listen.n + o->receipts_dial.n > 0)
		return (refuse(o,
			       o->receipts_listen.n > 0 ? SPR_OPTION_receipts_listen
							: SPR_OPTION_receipts_dial,
			       "receipts are taken only with --confirm receipt"));
	if (o->job_id && o->intake_format == SPR_INTAKE_BARE)
		return (refuse(o, SPR_OPTION_job_id,
			       "bare documents have no id that a job's could be made of"));
	if (is_receipt && o->max_open_jobs < o->max_fanout)
		return (refuse(o, SPR_OPTION_max_open_jobs, "must be at least --max-fanout"));
	return (SPR_OK);
}

/* A unix socket has no TCP that could acknowledge anything. */
static spr_err
check_tcp(const spr_options *o)
{
	const spr_config_list *const lists[] = {&o->outbox_listen, &o->outbox_dial};

	if (o->confirm != SPR_CONFIRM_TCP)
		return (SPR_OK);
	if (o->transport != SPR_TRANSPORT_NATIVE)
		return (refuse(o, SPR_OPTION_confirm, "tcp needs --transport native"));
	if (o->outbox_listen.n + o->outbox_dial.n == 0)
		return (refuse(o, SPR_OPTION_confirm, "tcp needs an outbox"));
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		for (unsigned k = 0; k < lists[i]->n; k++) {
			if (strncmp(lists[i]->item[k], "tcp", 3) != 0)
				return (refuse(o, SPR_OPTION_confirm,
					       "tcp needs an outbox of tcp:// alone, and %s is not",
					       lists[i]->item[k]));
		}
	}
	if (o->n_ack_peers == 0)
		return (refuse(o, SPR_OPTION_confirm, "tcp needs --ack-dial or --ack-listen"));
	return (SPR_OK);
}

static spr_err
check_sizes(const spr_options *o)
{
	uint64_t least = 2 * o->receivers * o->max_message_bytes;
	char least_text[SPR_UNITS_TEXT_MAX];

	if (o->max_inflight_bytes < least) {
		spr_units_format_size(least, least_text);
		return (refuse(o, SPR_OPTION_max_inflight_bytes,
			       "must be at least 2 x receivers x max-message, which is %s",
			       least_text));
	}
	if (o->max_job_bytes > o->max_inflight_bytes / 4) {
		spr_units_format_size(4 * o->max_job_bytes, least_text);
		return (refuse(o, SPR_OPTION_max_inflight_bytes,
			       "must be at least 4 x max-job, which is %s", least_text));
	}
	if (o->max_notification_bytes > o->max_message_bytes)
		return (refuse(o, SPR_OPTION_max_notification_bytes,
			       "must not be more than --max-message"));
	if (o->outbox_batch_bytes > o->max_job_bytes)
		return (
		    refuse(o, SPR_OPTION_outbox_batch_bytes, "must not be more than --max-job"));
	return (SPR_OK);
}

static spr_err
check_leases(const spr_options *o)
{
	const struct {
		spr_option row;
		uint64_t ns;
	} leases[] = {
	    {SPR_OPTION_lease_default_ns, o->lease_default_ns},
	    {SPR_OPTION_lease_min_ns, o->lease_min_ns},
	    {SPR_OPTION_lease_max_ns, o->lease_max_ns},
	    {SPR_OPTION_lease_grace_ns, o->lease_grace_ns},
	};

	for (size_t i = 0; i < sizeof(leases) / sizeof(leases[0]); i++) {
		if (leases[i].ns % SPR_NS_PER_S != 0)
			return (refuse(o, leases[i].row, "must be whole seconds"));
	}
	if (o->lease_min_ns > o->lease_max_ns)
		return (refuse(o, SPR_OPTION_lease_min_ns, "must not be more than --lease-max"));
	if (o->lease_default_ns < o->lease_min_ns || o->lease_default_ns > o->lease_max_ns)
		return (refuse(o, SPR_OPTION_lease_default_ns,
			       "must be from --lease-min to --lease-max"));
	return (SPR_OK);
}

spr_err
spr_options_check(const spr_options *options)
{
	spr_err rv = SPR_OK;

	/* what the transport cannot serve before what is missing for it */
	if ((rv = check_native(options)) == SPR_OK && (rv = check_urls(options)) == SPR_OK &&
	    (rv = check_sockets(options)) == SPR_OK && (rv = check_receipts(options)) == SPR_OK &&
	    (rv = check_mixed(options)) == SPR_OK && (rv = check_tcp(options)) == SPR_OK &&
	    (rv = check_hosts(options, SPR_OPTION_callback_allow, &options->callback_allow)) ==
		SPR_OK &&
	    (rv = check_hosts(options, SPR_OPTION_callback_deny, &options->callback_deny)) ==
		SPR_OK &&
	    (rv = check_sizes(options)) == SPR_OK)
		rv = check_leases(options);
	return (rv);
}
