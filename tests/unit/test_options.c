/*
 * options: the table itself (every row has help, a range its default is in, a place in --help),
 * what is derived, the rules between options with their texts, and the reload.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "options_words.h"

static const char *const names[] = {
#define X(type, field, name, standard, range, flag, help) name,
    SPR_OPTIONS(X)
#undef X
};

/* --- the table
 * -------------------------------------------------------------------------------------------------
 */

/* In place: lines that go on behind blanks become one. */
static char *
unfold(char *text)
{
	static const char fold[] = "\n        ";
	char *out = text;

	for (const char *in = text; *in != '\0'; out++) {
		bool is_fold = strncmp(in, fold, sizeof(fold) - 1) == 0;

		*out = is_fold ? ' ' : *in;
		in += is_fold ? sizeof(fold) - 1 : 1;
	}
	*out = '\0';
	return (text);
}

static void
expect_short_lines(const char *text)
{
	for (; *text != '\0'; text += strspn(text, "\n")) {
		size_t len = strcspn(text, "\n");

		if (len > 110)
			fail_msg("%zu columns: %.*s", len, (int)len, text);
		text += len;
	}
}

static void
test_rows(void **state)
{
	static const char *const helps[] = {
#define X(type, field, name, standard, range, flag, help) help,
	    SPR_OPTIONS(X)
#undef X
	};
	char *text = NULL, *markdown = NULL, *unfolded = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	char wanted[128];
	spr_options options;

	(void)state;
	spr_options_print_help(out);
	fclose(out);
	expect_short_lines(text);
	unfolded = unfold(strdup(text));
	out = open_memstream(&markdown, &len);
	spr_options_print_markdown(out);
	fclose(out);
	assert_int_equal(parse(&options, ""), SPR_OK); /* every default is in its row's range */
	for (unsigned i = 0; i < SPR_N_OPTIONS; i++) {
		assert_true(strlen(helps[i]) > 10);
		assert_null(strchr(helps[i], '|')); /* would break the README's table */
		assert_int_not_equal(options.origins[i], SPR_CONFIG_UNSET);
		snprintf(wanted, sizeof(wanted), "\n  --%s", names[i]);
		assert_non_null(strstr(text, wanted));
		assert_non_null(strstr(unfolded, helps[i]));
		snprintf(wanted, sizeof(wanted), "\n| `--%s", names[i]);
		assert_non_null(strstr(markdown, wanted));
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(names[i], names[k]);
	}
	spr_options_free(&options);
	free(unfolded);
	free(text);
	free(markdown);
}

/* Both ends of every numeric range parse, and one row's first and last value are accepted alone or
 * by a rule's no. */
static void
test_range_ends(void **state)
{
	static const char *const ranges[] = {
#define X(type, field, name, standard, range, flag, help) range,
	    SPR_OPTIONS(X)
#undef X
	};
	char words[128];
	spr_options options;

	(void)state;
	for (unsigned i = 0; i < SPR_N_OPTIONS; i++) {
		const char *dots = strstr(ranges[i], "..");
		const char *end[2];
		char low[32] = "";

		if (dots == NULL)
			continue;
		memcpy(low, ranges[i], (size_t)(dots - ranges[i]));
		end[0] = low;
		end[1] = dots + 2;
		for (unsigned k = 0; k < 2; k++) {
			snprintf(words, sizeof(words), "--%s=%s", names[i], end[k]);
			/* SPR_E_USAGE would mean that the row refuses its own end */
			assert_int_not_equal(parse(&options, words), SPR_E_USAGE);
			spr_options_free(&options);
		}
	}
}

static void
test_defaults(void **state)
{
	spr_options o;
	cpu_set_t set;

	(void)state;
	assert_int_equal(parse(&o, ""), SPR_OK);
	assert_int_equal(o.action, SPR_ACTION_RUN);
	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	assert_int_equal(o.dispatchers, CPU_COUNT(&set) > 256 ? 256 : CPU_COUNT(&set));
	assert_int_equal(o.origins[SPR_OPTION_dispatchers], SPR_CONFIG_DERIVED);
	assert_string_equal(o.intake_listen.item[0], "tcp://127.0.0.1:7710");
	assert_string_equal(o.outbox_listen.item[0], "tcp://127.0.0.1:7711");
	assert_string_equal(o.control_listen.item[0], "tcp://127.0.0.1:7713");
	assert_string_equal(o.http_listen.item[0], "127.0.0.1:7714");
	assert_int_equal(o.receipts_listen.n, 0);
	assert_int_equal(o.intake_format, SPR_INTAKE_BARE);
	assert_int_equal(o.receivers, 2);
	assert_int_equal(o.max_inflight, 65536);
	assert_int_equal(o.max_inflight_bytes, 256 << 20);
	assert_int_equal(o.max_message_bytes, 4 << 20);
	assert_int_equal(o.max_notification_bytes, 256 << 10);
	assert_int_equal(o.max_job_bytes, 1 << 20);
	assert_true(o.ack_timeout_ns == 5 * SPR_NS_PER_S);
	assert_true(o.lease_default_ns == 5 * 86400 * SPR_NS_PER_S);
	assert_int_equal(o.log_level, SPR_LOG_INFO);
	assert_int_equal(o.log_format, SPR_LOG_AUTO);
	assert_int_equal(o.confirm, SPR_CONFIRM_PUSH);
	assert_int_equal(o.message_payload, SPR_PAYLOAD_STRING);
	assert_int_equal(o.no_subscribers, SPR_NO_SUBSCRIBERS_ACK);
	assert_string_equal(o.store, "spreader.db");
	assert_null(o.dead_letter);
	assert_null(o.ready_file);
	spr_options_free(&o);
	spr_options_free(&o);
}

/* The words of a CHOICE row and the enum behind it stand in the same order. */
static void
test_words_and_enums(void **state)
{
	spr_options o;

	(void)state;
	assert_int_equal(
	    parse(
		&o,
		"--ack-dial=tcp://h:1 --intake-format envelope --message-payload object "
		"--no-subscribers dead-letter --dead-letter d --log-level error --log-format text"),
	    SPR_OK);
	assert_int_equal(o.intake_format, SPR_INTAKE_ENVELOPE);
	assert_int_equal(o.message_payload, SPR_PAYLOAD_OBJECT);
	assert_int_equal(o.no_subscribers, SPR_NO_SUBSCRIBERS_DEAD_LETTER);
	assert_int_equal(o.log_level, SPR_LOG_ERROR);
	assert_int_equal(o.log_format, SPR_LOG_TEXT);
	spr_options_free(&o);
	assert_int_equal(
	    parse(&o,
		  "--intake-format bare --no-subscribers nack --log-level warn --log-format json"),
	    SPR_OK);
	assert_int_equal(o.intake_format, SPR_INTAKE_BARE);
	assert_int_equal(o.no_subscribers, SPR_NO_SUBSCRIBERS_NACK);
	assert_int_equal(o.log_level, SPR_LOG_WARN);
	assert_int_equal(o.log_format, SPR_LOG_JSON);
	spr_options_free(&o);
	assert_int_equal(parse(&o, "--log-level debug --intake-format auto"), SPR_OK);
	assert_int_equal(o.log_level, SPR_LOG_DEBUG);
	assert_int_equal(o.intake_format, SPR_INTAKE_BARE);
	spr_options_free(&o);
}

/* --- derived
 * ---------------------------------------------------------------------------------------------------
 */

static void
test_dial_replaces_default_listen(void **state)
{
	spr_options o;

	(void)state;
	assert_int_equal(
	    parse(&o, "--intake-dial=tcp://h:1 SPREADER_OUTBOX_DIAL=tcp://h:2,tcp://h:3"), SPR_OK);
	assert_int_equal(o.intake_listen.n, 0);
	assert_int_equal(o.intake_dial.n, 1);
	assert_int_equal(o.outbox_listen.n, 0);
	assert_int_equal(o.outbox_dial.n, 2);
	assert_string_equal(print_line(&o, "intake-listen"), "intake-listen = none  (derived)");
	assert_string_equal(print_line(&o, "outbox-dial"),
			    "outbox-dial = tcp://h:2, tcp://h:3  (environment)");
	spr_options_free(&o);
	assert_int_equal(parse(&o, "--intake-dial=tcp://h:1 --intake-listen=tcp://127.0.0.1:0"),
			 SPR_OK);
	assert_int_equal(o.intake_listen.n, 1);
	spr_options_free(&o);
	assert_int_equal(parse(&o, "--intake-dial=none"), SPR_OK);
	assert_int_equal(o.intake_listen.n, 1); /* nothing is dialled: the default stays */
	spr_options_free(&o);
	assert_int_equal(parse(&o, "--outbox-listen none --control-listen none --http-listen none"),
			 SPR_OK);
	assert_int_equal(o.outbox_listen.n + o.control_listen.n + o.http_listen.n, 0);
	spr_options_free(&o);
}

static void
test_ack_peers(void **state)
{
	static const struct {
		const char *name, *url;
		bool listen;
	} expected[] = {
	    {"a", "tcp://h:1", false},          {"a", "tcp://h:4", false},
	    {"a", "abstract://y", true},        {"", "ws://h:2/x?y=z", false},
	    {"b.c_d-9", "ipc:///tmp/x", false},
	};
	spr_options o;

	(void)state;
	assert_int_equal(
	    parse(
		&o,
		"--ack-dial=a=tcp://h:1 --ack-dial=ws://h:2/x?y=z --ack-dial b.c_d-9=ipc:///tmp/x "
		"--ack-dial=a=tcp://h:4 --ack-listen=a=abstract://y"),
	    SPR_OK);
	assert_int_equal(o.n_ack_peers, 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_string_equal(o.ack_peers[i].name, expected[i].name);
		assert_string_equal(o.ack_peers[i].url, expected[i].url);
		assert_int_equal(o.ack_peers[i].listen, expected[i].listen);
	}
	assert_int_equal(o.intake_format, SPR_INTAKE_ENVELOPE);
	assert_string_equal(print_line(&o, "intake-format"), "intake-format = envelope  (derived)");
	spr_options_free(&o);
}

/* Rules about options that cannot be given in this version hold for the struct all the same. */
static void
test_rules_of_later_options(void **state)
{
	spr_options o;

	(void)state;
	assert_int_equal(parse(&o, ""), SPR_OK);
	o.outbox_batch_bytes = o.max_job_bytes + 1;
	assert_int_equal(spr_options_check(&o), SPR_E_CONFIG);
	assert_string_equal(spr_error_text(SPR_E_CONFIG),
			    "--outbox-batch-bytes: must not be more than --max-job");
	o.outbox_batch_bytes = o.max_job_bytes;
	assert_int_equal(spr_options_check(&o), SPR_OK);
	spr_options_free(&o);
}

/* The default address is there when receipts are awaited, and unless an explicit dial takes its place. */
static void
test_receipts_listen(void **state)
{
	spr_options o;

	(void)state;
	assert_int_equal(parse(&o, "--ack-dial tcp://h:1"), SPR_OK);
	assert_int_equal(o.receipts_listen.n, 0);
	spr_options_free(&o);
	assert_int_equal(parse(&o, "--ack-dial tcp://h:1 --confirm receipt"), SPR_OK);
	assert_int_equal(o.receipts_listen.n, 1);
	assert_string_equal(o.receipts_listen.item[0], SPREADER_RECEIPTS_URL);
	spr_options_free(&o);
	assert_int_equal(
	    parse(&o, "--ack-dial tcp://h:1 --confirm receipt --receipts-dial tcp://h:2"), SPR_OK);
	assert_int_equal(o.receipts_listen.n, 0);
	assert_int_equal(o.receipts_dial.n, 1);
	spr_options_free(&o);
	assert_int_equal(parse(&o, "SPREADER_CONFIRM=receipt --ack-dial tcp://h:1 "
				   "--receipts-listen tcp://h:2 --receipts-dial tcp://h:3"),
			 SPR_OK);
	assert_int_equal(o.receipts_listen.n + o.receipts_dial.n, 2);
	spr_options_free(&o);
}

static void
test_accepted(void **state)
{
	static const char *const good[] = {
	    "--control-listen tcp://127.0.0.1:0",
	    "--control-listen tcp://127.9.9.9:1",
	    "--control-listen tcp://[::1]:1",
	    "--control-listen tcp://localhost:1",
	    "--control-listen ws://localhost/x",
	    "--control-listen ipc:///tmp/x --control-listen abstract://x --control-listen "
	    "unix:///tmp/y",
	    "--intake-listen tcp://0.0.0.0:0 --outbox-listen tcp://:65535",
	    "--tls-cert c --tls-key k --tls-ca a --control-listen tls+tcp://0.0.0.0:1 "
	    "--intake-listen wss://h/x --outbox-dial tls+tcp://h:1",
	    "--tls-ca a --intake-dial wss://h/x",
	    "--intake-format envelope",
	    "--confirm push --no-job-id --job-id=false --tls-ca none --receipts-listen none "
	    "--receipt-timeout 30000ms",
	    "--store :memory: --spin 50us --dedup-window 0",
	    /* what a cluster and spreaderctl leave in the environment */
	    "SPREADER_SERVICE_HOST=10.0.0.1 SPREADER_SERVICE_PORT=7713 "
	    "SPREADER_SERVICE_PORT_CONTROL=7713 "
	    "SPREADER_PORT=tcp://10.0.0.1:7713 SPREADER_PORT_7713_TCP_ADDR=10.0.0.1 "
	    "SPREADER_CONTROL_PORT_7713_TCP=x "
	    "SPREADER_CONTROL_URL=tcp://x:1 SPREADER_CONTROL_TLS_CA=a SPREADER_CONTROL_TLS_CERT=c "
	    "SPREADER_CONTROL_TLS_KEY=k SPREADER_QUEUE_TO=tcp://x:2",
	};
	spr_options o;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		spr_err rv = parse(&o, good[i]);

		if (rv != SPR_OK)
			fail_msg("%s: %s", good[i], spr_error_text(rv));
		spr_options_free(&o);
	}
}

/* --- actions and printing
 * -------------------------------------------------------------------------------------- */

static void
test_actions(void **state)
{
	static const char *const flags[] = {
	    [SPR_ACTION_HELP] =
		"--help SPREADER_RING_SLOTS=bad", /* help must not need a good configuration */
	    [SPR_ACTION_VERSION] = "--version --config /nonexistent",
	    [SPR_ACTION_CHECK_CONFIG] = "--check-config",
	    [SPR_ACTION_PRINT_CONFIG] = "--print-config",
	    [SPR_ACTION_HELP_MARKDOWN] = "--help-markdown",
	    [SPR_ACTION_HELP_TABLE] = "--help-table",
	    [SPR_ACTION_RUN] = "--no-store-must-exist",
	};
	spr_options o;

	(void)state;
	for (unsigned i = 0; i <= SPR_ACTION_RUN; i++) {
		assert_int_equal(parse(&o, flags[i]), SPR_OK);
		assert_int_equal(o.action, i);
		spr_options_free(&o);
	}
}

static void
test_print(void **state)
{
	spr_options o;

	(void)state;
	assert_int_equal(parse(&o, "--ring-slots 2048 SPREADER_LEASE_MIN=90m"), SPR_OK);
	assert_string_equal(print_line(&o, "receivers"),
			    "receivers = 2  (default; nng runs their callbacks on 4 threads)");
	assert_string_equal(print_line(&o, "ring-slots"), "ring-slots = 2048  (flag)");
	assert_string_equal(print_line(&o, "lease-min"), "lease-min = 90m  (environment)");
	assert_string_equal(print_line(&o, "max-inflight-bytes"),
			    "max-inflight-bytes = 256MiB  (default)");
	assert_string_equal(print_line(&o, "confirm"), "confirm = push  (default)");
	assert_string_equal(print_line(&o, "dead-letter"), "dead-letter = none  (default)");
	spr_options_free(&o);
	/* its receivers are threads themselves */
	assert_int_equal(parse(&o, "--transport native"), SPR_OK);
	assert_string_equal(print_line(&o, "receivers"), "receivers = 2  (default)");
	spr_options_free(&o);
}

/* --- file and reload
 * ------------------------------------------------------------------------------------------- */

typedef struct place {
	char folder[32];
	char path[64];
} place;

static void
write_file(const place *at, const char *text)
{
	FILE *file = fopen(at->path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void
place_open(place *at)
{
	strcpy(at->folder, "/tmp/spr-options-XXXXXX");
	assert_non_null(mkdtemp(at->folder));
	snprintf(at->path, sizeof(at->path), "%s/c.json", at->folder);
}

static void
place_close(const place *at)
{
	unlink(at->path);
	rmdir(at->folder);
}

static void
test_file(void **state)
{
	place at;
	spr_options o;
	char words[256], expected[256];

	(void)state;
	place_open(&at);
	write_file(&at, "{\"ring_slots\":64,\"receivers\":3,\"max-fanout\":7,\"ack-dial\":[\"n=tcp:"
			"//h:1\",\"tcp://h:2\"]}");
	snprintf(words, sizeof(words),
		 "--config %s SPREADER_RING_SLOTS=128 SPREADER_RECEIVERS=4 --receivers=5", at.path);
	assert_int_equal(parse(&o, words), SPR_OK);
	assert_string_equal(print_line(&o, "max-fanout"), "max-fanout = 7  (file)");
	assert_string_equal(print_line(&o, "ring-slots"), "ring-slots = 128  (environment)");
	assert_int_equal(o.receivers, 5);
	assert_int_equal(o.n_ack_peers, 2);
	spr_options_free(&o);
	write_file(&at, "{\"lease-max\":\"1h\"}");
	snprintf(words, sizeof(words), "SPREADER_CONFIG=%s", at.path);
	assert_int_equal(parse(&o, words), SPR_E_CONFIG);
	assert_string_equal(spr_error_text(SPR_E_CONFIG),
			    "--lease-default: must be from --lease-min to --lease-max");
	write_file(&at, "{\"lease-default\":\"366d\"}");
	snprintf(expected, sizeof(expected),
		 "%s: lease-default: must be from --lease-min to --lease-max", at.path);
	assert_int_equal(parse(&o, words), SPR_E_CONFIG);
	assert_string_equal(spr_error_text(SPR_E_CONFIG), expected);
	write_file(&at, "{\"config\":\"y\"}");
	snprintf(expected, sizeof(expected),
		 "%s: config: no such option for a file; --help lists them", at.path);
	assert_int_equal(parse(&o, words), SPR_E_CONFIG);
	assert_string_equal(spr_error_text(SPR_E_CONFIG), expected);
	place_close(&at);
}

static void
test_reload(void **state)
{
	place at;
	spr_options o;
	char words[256];

	(void)state;
	place_open(&at);
	write_file(&at, "{\"log-level\":\"debug\",\"lease-min\":\"2h\",\"max-fanout\":7,\"intake-"
			"listen\":\"tcp://127.0.0.1:1\"}");
	snprintf(words, sizeof(words), "--config %s --lease-grace 2d", at.path);
	assert_int_equal(parse(&o, words), SPR_OK);
	write_file(
	    &at,
	    "{\"log-level\":\"warn\",\"max-fanout\":8,\"intake-listen\":\"tcp://127.0.0.1:2\"}");
	assert_int_equal(with_words(words, spr_options_reload, &o), SPR_OK);
	assert_int_equal(o.log_level, SPR_LOG_WARN);
	assert_string_equal(print_line(&o, "lease-min"),
			    "lease-min = 1h  (default)"); /* gone from the file */
	assert_string_equal(print_line(&o, "lease-grace"), "lease-grace = 2d  (flag)");
	assert_int_equal(o.max_fanout, 7); /* needs a restart */
	assert_string_equal(o.intake_listen.item[0], "tcp://127.0.0.1:1");
	write_file(&at, "{\"log-level\":\"error\",\"lease-min\":\"9d\"}");
	assert_int_equal(with_words(words, spr_options_reload, &o), SPR_E_CONFIG);
	assert_string_equal(spr_error_text(SPR_E_CONFIG),
			    "--lease-default: must be from --lease-min to --lease-max");
	assert_int_equal(o.log_level, SPR_LOG_WARN); /* an error changes nothing */
	place_close(&at);
	assert_int_equal(with_words(words, spr_options_reload, &o), SPR_E_CONFIG);
	assert_int_equal(o.log_level, SPR_LOG_WARN);
	spr_options_free(&o);
}

static void
test_no_memory(void **state)
{
	cJSON_Hooks hooks = {spr_mem_alloc, spr_mem_free};
	spr_err rv = SPR_E_NOMEM;
	place at;
	spr_options o;
	char words[256];

	(void)state;
	place_open(&at);
	write_file(&at, "{\"ack-listen\":[\"b=tcp://127.0.0.1:0\"],\"store\":\"x\"}");
	snprintf(words, sizeof(words),
		 "--config %s --ack-dial a=tcp://h:1 SPREADER_ACK_DIAL=tcp://h:1,tcp://h:2",
		 at.path);
	cJSON_InitHooks(&hooks);
	for (unsigned long n = 1; rv != SPR_OK; n++) {
		assert_true(n < 200);
		spr_mem_fail_at(n);
		rv = parse(&o, words);
		spr_mem_fail_at(0);
		if (rv != SPR_OK) /* cJSON does not tell the two apart */
			assert_true(rv == SPR_E_NOMEM ||
				    (rv == SPR_E_CONFIG && strstr(spr_error_text(rv), "not JSON")));
	}
	assert_int_equal(o.n_ack_peers, 2);
	spr_options_free(&o);
	cJSON_InitHooks(NULL);
	place_close(&at);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows),
	    cmocka_unit_test(test_range_ends),
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_words_and_enums),
	    cmocka_unit_test(test_dial_replaces_default_listen),
	    cmocka_unit_test(test_ack_peers),
	    cmocka_unit_test(test_rules_of_later_options),
	    cmocka_unit_test(test_receipts_listen),
	    cmocka_unit_test(test_accepted),
	    cmocka_unit_test(test_actions),
	    cmocka_unit_test(test_print),
	    cmocka_unit_test(test_file),
	    cmocka_unit_test(test_reload),
	    cmocka_unit_test(test_no_memory),
	};

	spr_options_set_root(NO_MACHINE);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
