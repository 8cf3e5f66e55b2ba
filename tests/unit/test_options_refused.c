/*
 * options: what is refused, each with its line.
 */
#include "base/error.h"
#include "options_words.h"

#define NAME65  "12345678901234567890123456789012345678901234567890123456789012345"
#define SCHEMES "tcp://, tls+tcp://, ipc://, unix://, abstract://, ws:// or wss:// URL"
#define NO_LOOPBACK                                                                 \
	" is not loopback, which needs tls+tcp:// with --tls-ca; or use a loopback" \
	" address, ipc:// or abstract://"
#define NOT_NATIVE \
	" is not served by --transport native; use tcp://, ipc:// or unix://, or --transport nng"

static const struct {
	const char *words;
	spr_err code;
	const char *error;
} refused[] = {
    /* command line */
    {"--ring-slots 1000", SPR_E_USAGE,
     "--ring-slots: 1000 is not a power of two from 4 to 16777216"},
    {"--ring-slots 1000 --check-config", SPR_E_CONFIG,
     "--ring-slots: 1000 is not a power of two from 4 to 16777216"},
    {"--check-config --bogus", SPR_E_CONFIG, "--bogus: no such flag; --help lists them"},
    {"--bogus", SPR_E_USAGE, "--bogus: no such flag; --help lists them"},
    {"bogus", SPR_E_USAGE, "bogus: unexpected argument; flags start with --"},
    {"--dispatchers 0", SPR_E_USAGE, "--dispatchers: 0 is not a whole number from 1 to 256"},
    /* environment */
    {"SPREADER_DISPATCHERS=0", SPR_E_CONFIG,
     "SPREADER_DISPATCHERS: 0 is not a whole number from 1 to 256"},
    {"SPREADER_DISPATCHER=1", SPR_E_CONFIG,
     "SPREADER_DISPATCHER: no such option; --help lists them"},
    {"SPREADER_CONTROL_URLS=1", SPR_E_CONFIG,
     "SPREADER_CONTROL_URLS: no such option; --help lists them"},
    {"--config /nonexistent/x.json", SPR_E_CONFIG,
     "/nonexistent/x.json: cannot read: No such file or directory"},
    /* two kinds of sockets */
    {"--control-listen ipc:///c --control-listen ws://127.0.0.1:0/", SPR_E_CONFIG,
     "--control-listen: ws:// and other schemes cannot share the control socket"},
    {"--transport native --intake-listen ws://127.0.0.1:0/", SPR_E_CONFIG,
     "--intake-listen: ws://127.0.0.1:0/" NOT_NATIVE},
    {"--transport native --outbox-listen tls+tcp://127.0.0.1:0", SPR_E_CONFIG,
     "--outbox-listen: tls+tcp://127.0.0.1:0" NOT_NATIVE},
    {"--transport native --intake-dial abstract://a", SPR_E_CONFIG,
     "--intake-dial: abstract://a" NOT_NATIVE},
    {"--transport native --outbox-dial tcp://h:1 --outbox-dial ws://h:1/", SPR_E_CONFIG,
     "--outbox-dial: ws://h:1/" NOT_NATIVE},
    {"--transport tcp", SPR_E_USAGE, "--transport: tcp is not one of: nng native"},
    {"--ack-dial ws://h:1/ --ack-dial tcp://h:2", SPR_E_CONFIG,
     "--ack-dial: ws:// and other schemes cannot share the socket of one upstream"},
    {"--ack-dial a=tcp://h:1 --ack-dial b=ws://h:2/ --ack-listen a=ws://h:3/", SPR_E_CONFIG,
     "--ack-listen: ws:// and other schemes cannot share the socket of one upstream"},
    /* receipts */
    {"--confirm tcp", SPR_E_CONFIG, "--confirm: tcp needs --transport native"},
    {"--confirm tcp --transport native --outbox-listen none", SPR_E_CONFIG,
     "--confirm: tcp needs an outbox"},
    {"--confirm tcp --transport native --outbox-dial tcp://h:1 --outbox-dial ipc:///s",
     SPR_E_CONFIG, "--confirm: tcp needs an outbox of tcp:// alone, and ipc:///s is not"},
    {"--confirm tcp --transport native", SPR_E_CONFIG,
     "--confirm: tcp needs --ack-dial or --ack-listen"},
    {"--confirm receipt", SPR_E_CONFIG, "--confirm: receipt needs --ack-dial or --ack-listen"},
    {"--confirm receipt --ack-dial tcp://h:1 --receipts-listen none", SPR_E_CONFIG,
     "--confirm: receipt needs --receipts-listen or --receipts-dial"},
    {"--confirm receipt --ack-dial tcp://h:1 --outbox-listen none", SPR_E_CONFIG,
     "--confirm: receipt needs an outbox: nobody sends receipts without one"},
    {"--confirm receipt --ack-dial tcp://h:1 --max-open-jobs 999999", SPR_E_CONFIG,
     "--max-open-jobs: must be at least --max-fanout"},
    {"--receipts-listen tcp://127.0.0.1:0", SPR_E_CONFIG,
     "--receipts-listen: receipts are taken only with --confirm receipt"},
    {"--receipts-dial tcp://h:1", SPR_E_CONFIG,
     "--receipts-dial: receipts are taken only with --confirm receipt"},
    {"--confirm receipt --ack-dial tcp://h:1 --receipts-dial tcp://h", SPR_E_CONFIG,
     "--receipts-dial: tcp://h has no port"},
    {"--job-id", SPR_E_CONFIG, "--job-id: bare documents have no id that a job's could be made of"},
    {"--max-job 1KiB --outbox-batch-bytes 2KiB", SPR_E_CONFIG,
     "--outbox-batch-bytes: must not be more than --max-job"},
    /* TLS */
    {"--tls-cert c.pem", SPR_E_CONFIG, "--tls-cert: needs --tls-key"},
    {"SPREADER_TLS_KEY=c.key", SPR_E_CONFIG, "SPREADER_TLS_KEY: needs --tls-cert"},
    {"--intake-listen tls+tcp://h:1", SPR_E_CONFIG,
     "--intake-listen: tls+tcp://h:1 needs --tls-cert and --tls-key"},
    {"--tls-ca ca.pem --ack-listen wss://h/x", SPR_E_CONFIG,
     "--ack-listen: wss://h/x needs --tls-cert and --tls-key"},
    {"--tls-cert c.pem --tls-key c.key --outbox-dial wss://h:1/x", SPR_E_CONFIG,
     "--outbox-dial: wss://h:1/x needs --tls-ca, to know its server by"},
    {"--tls-cert c.pem --tls-key c.key --control-listen tls+tcp://10.0.0.1:1", SPR_E_CONFIG,
     "--control-listen: tls+tcp://10.0.0.1:1" NO_LOOPBACK},
    {"--tls-cert c.pem --tls-key c.key --tls-ca a.pem --control-listen wss://10.0.0.1:1/",
     SPR_E_CONFIG, "--control-listen: wss://10.0.0.1:1/" NO_LOOPBACK},
    {"--tls-cert c.pem --tls-key c.key --intake-listen tls+tcp://h", SPR_E_CONFIG,
     "--intake-listen: tls+tcp://h has no port"},
    /* hosts of callbacks */
    {"--callback-deny 10.0.0.0/33", SPR_E_CONFIG,
     "--callback-deny: 10.0.0.0/33 is no host, *.host, address, address/bits or the word private"},
    {"--callback-allow http://a", SPR_E_CONFIG,
     "--callback-allow: http://a is no host, *.host, address, address/bits or the word private"},
    /* HTTP addresses */
    {"--http-listen http://127.0.0.1:1", SPR_E_CONFIG,
     "--http-listen: http://127.0.0.1:1 is no HOST:PORT"},
    {"--http-listen 127.0.0.1", SPR_E_CONFIG, "--http-listen: 127.0.0.1 is no HOST:PORT"},
    {"--http-listen [::1:80", SPR_E_CONFIG, "--http-listen: [::1:80 is no HOST:PORT"},
    {"--http-listen 127.0.0.1:65536", SPR_E_CONFIG,
     "--http-listen: 127.0.0.1:65536 is no HOST:PORT"},
    {"--http-listen :7714", SPR_E_CONFIG,
     "--http-listen: :7714 is not loopback, which needs --admin-token-file"},
    {"--http-listen 10.1.2.3:7714", SPR_E_CONFIG,
     "--http-listen: 10.1.2.3:7714 is not loopback, which needs --admin-token-file"},
    {"--http-listen [::]:7714", SPR_E_CONFIG,
     "--http-listen: [::]:7714 is not loopback, which needs --admin-token-file"},
    /* URLs */
    {"--intake-listen inproc://x", SPR_E_CONFIG,
     "--intake-listen: inproc://x: inproc:// is refused, as it reaches no other process and aborts "
     "the daemon when it "
     "closes"},
    {"--intake-listen udp://h:1", SPR_E_CONFIG, "--intake-listen: udp://h:1 is not a " SCHEMES},
    {"--intake-dial h:1", SPR_E_CONFIG, "--intake-dial: h:1 is not a " SCHEMES},
    {"--intake-listen tcp://h", SPR_E_CONFIG, "--intake-listen: tcp://h has no port"},
    {"--intake-listen tcp://h:", SPR_E_CONFIG, "--intake-listen: tcp://h: has no valid HOST:PORT"},
    {"--intake-listen tcp://h:x", SPR_E_CONFIG,
     "--intake-listen: tcp://h:x has no valid HOST:PORT"},
    {"--intake-listen tcp://h:65536", SPR_E_CONFIG,
     "--intake-listen: tcp://h:65536 has no valid HOST:PORT"},
    {"--intake-listen tcp://h:000001", SPR_E_CONFIG,
     "--intake-listen: tcp://h:000001 has no valid HOST:PORT"},
    {"--intake-listen tcp://[::1", SPR_E_CONFIG,
     "--intake-listen: tcp://[::1 has no valid HOST:PORT"},
    {"--intake-listen tcp://[::1]1", SPR_E_CONFIG,
     "--intake-listen: tcp://[::1]1 has no valid HOST:PORT"},
    {"--intake-listen tcp://[::1]", SPR_E_CONFIG, "--intake-listen: tcp://[::1] has no port"},
    {"--intake-dial tcp://h:0", SPR_E_CONFIG,
     "--intake-dial: tcp://h:0 has port 0, which can be listened on but not dialled"},
    {"--intake-dial tcp://:1", SPR_E_CONFIG, "--intake-dial: tcp://:1 has no host to dial"},
    {"--intake-listen ipc://", SPR_E_CONFIG, "--intake-listen: ipc:// has no path"},
    {"--ack-dial a=b", SPR_E_CONFIG, "--ack-dial: b is not a " SCHEMES},
    {"--ack-listen a=tcp://h", SPR_E_CONFIG, "--ack-listen: tcp://h has no port"},
    {"--ack-dial =tcp://h:1", SPR_E_USAGE,
     "--ack-dial: the name in =tcp://h:1 is not 1 to 64 letters, digits, '.', '_' or '-'"},
    {"SPREADER_ACK_DIAL=a:b=tcp://h:1", SPR_E_CONFIG,
     "SPREADER_ACK_DIAL: the name in a:b=tcp://h:1 is not 1 to 64 letters, digits, '.', '_' or "
     "'-'"},
    {"--ack-dial " NAME65 "=tcp://h:1", SPR_E_USAGE,
     "--ack-dial: the name in " NAME65
     "=tcp://h:1 is not 1 to 64 letters, digits, '.', '_' or '-'"},
    {"--control-listen tcp://0.0.0.0:1", SPR_E_CONFIG,
     "--control-listen: tcp://0.0.0.0:1" NO_LOOPBACK},
    {"--control-listen tcp://:1", SPR_E_CONFIG, "--control-listen: tcp://:1" NO_LOOPBACK},
    {"--control-listen tcp://*:1", SPR_E_CONFIG, "--control-listen: tcp://*:1" NO_LOOPBACK},
    {"--control-listen tcp://[::]:1", SPR_E_CONFIG, "--control-listen: tcp://[::]:1" NO_LOOPBACK},
    {"--control-listen tcp://127.evil.example:1", SPR_E_CONFIG,
     "--control-listen: tcp://127.evil.example:1" NO_LOOPBACK},
    {"--control-listen ws://10.0.0.1/x", SPR_E_CONFIG,
     "--control-listen: ws://10.0.0.1/x" NO_LOOPBACK},
    /* between options */
    {"--intake-listen none", SPR_E_CONFIG,
     "--intake-listen: there is no intake; give --intake-listen or --intake-dial"},
    {"--intake-format bare --ack-dial tcp://h:1", SPR_E_CONFIG,
     "--intake-format: bare documents have no id to answer, so --ack-dial and --ack-listen need "
     "envelope"},
    {"SPREADER_NO_SUBSCRIBERS=dead-letter", SPR_E_CONFIG,
     "SPREADER_NO_SUBSCRIBERS: dead-letter needs --dead-letter FILE"},
    {"--max-inflight-bytes 15MiB", SPR_E_CONFIG,
     "--max-inflight-bytes: must be at least 2 x receivers x max-message, which is 16MiB"},
    {"--receivers 64", SPR_E_CONFIG,
     "--max-inflight-bytes: must be at least 2 x receivers x max-message, which is 512MiB"},
    {"--max-job 65MiB", SPR_E_CONFIG,
     "--max-inflight-bytes: must be at least 4 x max-job, which is 260MiB"},
    {"--max-notification 5MiB", SPR_E_CONFIG,
     "--max-notification: must not be more than --max-message"},
    {"--lease-min 1500ms", SPR_E_CONFIG, "--lease-min: must be whole seconds"},
    {"--lease-grace 1ms", SPR_E_CONFIG, "--lease-grace: must be whole seconds"},
    {"--lease-min 6d", SPR_E_CONFIG, "--lease-default: must be from --lease-min to --lease-max"},
    {"--lease-max 4d", SPR_E_CONFIG, "--lease-default: must be from --lease-min to --lease-max"},
    {"--lease-min 6d --lease-max 5d", SPR_E_CONFIG,
     "--lease-min: must not be more than --lease-max"},
};

static void
test_refused(void **state)
{
	spr_options o;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		assert_int_equal(parse(&o, refused[i].words), refused[i].code);
		assert_string_equal(spr_error_text(refused[i].code), refused[i].error);
	}
}

static void
test_long_url(void **state)
{
	spr_options o;
	char words[400] = "--intake-listen=ipc:///";

	(void)state;
	memset(words + 23, 'x', 300);
	assert_int_equal(parse(&o, words), SPR_E_CONFIG);
	assert_non_null(strstr(spr_error_text(SPR_E_CONFIG), "xxx... is longer than 255 bytes"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_long_url),
	};

	spr_options_set_root(NO_MACHINE);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
