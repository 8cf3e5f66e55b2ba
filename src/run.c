/*
 * run - the signal loop and the drain.
 *
 * The drain stops receiving and waits until what was received has been posted and answered; two seconds before its limit
 * it gives up, which nacks the rest.
 */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon.h"
#include "net/tls.h"

#define GIVE_UP_BEFORE_NS (2 * SPR_NS_PER_S)
#define DRAIN_POLL_NS     (2 * SPR_NS_PER_MS)
#define FLUSH_STEP_NS     (250 * SPR_NS_PER_MS)
#define STOP_MARGIN_NS    (5 * SPR_NS_PER_S) /* closing, beside what the options allow */

/* The next signal, or 0 when timeout_ns has passed (UINT64_MAX: never). */
static int
wait_signal(uint64_t timeout_ns)
{
	sigset_t wanted;
	struct timespec timeout = {
	    .tv_sec = (time_t)(timeout_ns / SPR_NS_PER_S),
	    .tv_nsec = (long)(timeout_ns % SPR_NS_PER_S),
	};
	int signal_number;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGHUP);
	sigaddset(&wanted, SIGUSR1);
	do {
		signal_number =
		    sigtimedwait(&wanted, NULL, timeout_ns == UINT64_MAX ? NULL : &timeout);
	} while (signal_number < 0 && errno == EINTR);
	return (signal_number < 0 ? 0 : signal_number);
}

/* --- the service manager --- */

#define TELL_STEP_NS (10 * SPR_NS_PER_S)

/* How long may pass between two words; UINT64_MAX when nobody listens. */
static uint64_t
tell_step_ns(const spr_daemon *daemon)
{
	uint64_t half_ns = daemon->notify.watchdog_ns / 2;

	if (!spr_notify_is_heard(&daemon->notify))
		return (UINT64_MAX);
	return (half_ns != 0 && half_ns < TELL_STEP_NS ? half_ns : TELL_STEP_NS);
}

/* The same notion of life as the HTTP probe's. */
static bool
is_alive(spr_daemon *daemon)
{
	spr_check checks[SPR_CHECKS_MAX];
	unsigned n = spr_report_checks(daemon, SPR_PROBE_LIVE, checks);
	bool is_ok = true;

	for (unsigned i = 0; i < n; i++) {
		if (checks[i].is_ok || !checks[i].is_needed)
			continue;
		spr_error("NOT-ALIVE",
			  "part=%s why=\"it has runnable work that it does not touch\"",
			  checks[i].name);
		is_ok = false;
	}
	return (is_ok);
}

/* A line of state and a sign of life, when they are due. */
static void
tell_how_it_goes(spr_daemon *daemon)
{
	uint64_t now_ns = spr_clock_now_ns();
	spr_subscriptions_stats stats;

	if (!spr_notify_is_heard(&daemon->notify) ||
	    now_ns - daemon->told_ns < tell_step_ns(daemon))
		return;
	daemon->told_ns = now_ns;
	spr_subscriptions_get_stats(daemon->subscriptions, &stats);
	spr_notify_say(&daemon->notify, "%sSTATUS=%s; %u in flight; %llu subscriptions; %u workers",
		       daemon->notify.watchdog_ns != 0 && is_alive(daemon) ? "WATCHDOG=1\n" : "",
		       /* relaxed: main's own */
		       atomic_load_explicit(&daemon->is_ready, memory_order_relaxed) ? "receiving"
										     : "draining",
		       spr_notifications_in_flight(&daemon->notifications),
		       (unsigned long long)stats.subscriptions, spr_outbox_peers(daemon->outbox));
}

/* The limit of the stop follows from the options, whatever the unit says. */
static void
tell_stopping(spr_daemon *daemon)
{
	uint64_t limit_ns =
	    daemon->options->shutdown_delay_ns + daemon->options->drain_timeout_ns + STOP_MARGIN_NS;

	spr_notify_say(&daemon->notify, "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=%llu",
		       (unsigned long long)(limit_ns / 1000));
}

static void
reload(spr_daemon *daemon)
{
	spr_err rv = spr_options_reload(daemon->options, daemon->argc, daemon->argv, daemon->envp);
	bool is_whole =
	    true; /* nobody waits for new certificates behind a line that says otherwise */

	if (rv != SPR_OK) {
		spr_error("RELOAD-FAILED", "why=\"%s\"", spr_error_text(rv));
		return;
	}
	spr_log_set_level((spr_log_level)daemon->options->log_level);
	spr_report_set_leases(daemon);
	spr_dead_letter_reopen(daemon->dead_letter);
	if ((rv = spr_tls_load(daemon->options->tls_cert, daemon->options->tls_key,
			       daemon->options->tls_ca)) != SPR_OK) {
		spr_error("RELOAD-FAILED", "why=\"%s; the certificates before stay\"",
			  spr_error_text(rv));
		is_whole = false;
	}
	if ((rv = spr_http_adapter_reload(daemon->http)) != SPR_OK) {
		spr_error("RELOAD-FAILED", "why=\"%s; the token before stays\"",
			  spr_error_text(rv));
		is_whole = false;
	}
	if (!is_whole)
		return;
	spr_info("RELOADED", "file=\"%s\"",
		 daemon->options->config != NULL ? daemon->options->config : "");
}

static void
handle_signal(spr_daemon *daemon, int signal_number)
{
	if (signal_number == SIGHUP) {
		spr_notify_say(&daemon->notify, "RELOADING=1\nMONOTONIC_USEC=%llu",
			       (unsigned long long)(spr_clock_now_ns() / 1000));
		reload(daemon);
		spr_notify_say(&daemon->notify, "READY=1");
	} else if (signal_number == SIGUSR1)
		spr_report_log_state(daemon);
}

static void
run_until_told(spr_daemon *daemon)
{
	int signal_number = 0;

	do {
		handle_signal(daemon, signal_number);
		tell_how_it_goes(daemon);
		signal_number = wait_signal(tell_step_ns(daemon));
	} while (signal_number != SIGTERM && signal_number != SIGINT);
	spr_info("DRAIN", "signal=%d", signal_number);
}

/* --- the drain --- */

/*
 * Nothing is received any more. A record is taken only while a message is not finished, so when the bytes of messages and
 * then the records are down to none they stay so; a message between two rings, or in a dispatcher's hands, has bytes.
 */
static bool
is_posted_and_answered(const spr_daemon *daemon)
{
	return (spr_intake_bytes(daemon->intake) == 0 &&
		spr_notifications_in_flight(&daemon->notifications) == 0 &&
		spr_outbox_is_idle(daemon->outbox) &&
		spr_dispatchers_are_idle(daemon->dispatchers));
}

static bool
never(const spr_daemon *daemon)
{
	(void)daemon;
	return (false);
}

/* A second TERM ends the process at once. */
static void
handle_signal_in_drain(spr_daemon *daemon, int signal_number)
{
	if (signal_number == SIGTERM || signal_number == SIGINT) {
		spr_warn("DRAIN-CUT", "why=\"a second signal\" in_flight=%u",
			 spr_notifications_in_flight(&daemon->notifications));
		_exit(SPR_EXIT_LEFT_WORK);
	}
	handle_signal(daemon, signal_number);
}

static uint64_t
earlier(uint64_t a_ns, uint64_t b_ns)
{
	return (a_ns < b_ns ? a_ns : b_ns);
}

/* Waits until done, or deadline_ns. True when done. */
static bool
wait_until(spr_daemon *daemon, bool (*is_done)(const spr_daemon *), uint64_t deadline_ns)
{
	while (!is_done(daemon)) {
		uint64_t now_ns = spr_clock_now_ns();

		if (now_ns >= deadline_ns)
			return (false);
		tell_how_it_goes(daemon);
		handle_signal_in_drain(daemon,
				       wait_signal(earlier(deadline_ns - now_ns, DRAIN_POLL_NS)));
	}
	return (true);
}

/* In steps, so that a second signal is seen. True when flushed. */
static bool
flush(spr_daemon *daemon, uint64_t deadline_ns)
{
	for (;;) {
		uint64_t now_ns = spr_clock_now_ns();

		if (spr_outbox_flush(daemon->outbox, earlier(deadline_ns, now_ns + FLUSH_STEP_NS)))
			return (true);
		if (now_ns >= deadline_ns)
			return (false);
		tell_how_it_goes(daemon);
		handle_signal_in_drain(daemon, wait_signal(0));
	}
}

static int
drain(spr_daemon *daemon)
{
	const spr_options *options = daemon->options;
	uint64_t limit_ns;
	bool is_clean;

	atomic_store_explicit(&daemon->is_ready, false,
			      memory_order_relaxed /* health is a snapshot */);
	tell_stopping(daemon);
	(void)wait_until(daemon, never, spr_clock_now_ns() + options->shutdown_delay_ns);
	limit_ns = spr_clock_now_ns() + options->drain_timeout_ns;
	spr_control_drain(daemon->control);
	spr_intake_stop(daemon->intake);
	is_clean =
	    wait_until(daemon, is_posted_and_answered,
		       options->drain_timeout_ns > GIVE_UP_BEFORE_NS ? limit_ns - GIVE_UP_BEFORE_NS
								     : spr_clock_now_ns());
	if (!is_clean) {
		spr_warn("DRAIN-GIVEUP",
			 "in_flight=%u why=\"--drain-timeout is near; what is left is nacked\"",
			 spr_notifications_in_flight(&daemon->notifications));
		spr_dispatchers_give_up(daemon->dispatchers);
		spr_ledger_give_up(daemon->ledger);
		(void)wait_until(daemon, is_posted_and_answered, limit_ns);
	}
	if (!flush(daemon, limit_ns)) {
		spr_warn("DRAIN-UNFLUSHED",
			 "why=\"a worker has not read what its connection took\"");
		is_clean = false;
	}
	spr_info("DRAINED", "clean=%s in_flight=%u", is_clean ? "yes" : "no",
		 spr_notifications_in_flight(&daemon->notifications));
	return (is_clean ? SPR_EXIT_OK : SPR_EXIT_LEFT_WORK);
}

int
spr_run(spr_daemon *daemon)
{
	spr_notify_say(&daemon->notify, "READY=1");
	run_until_told(daemon);
	return (drain(daemon));
}
