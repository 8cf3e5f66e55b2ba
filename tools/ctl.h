/*
 * ctl - what the parts of spreaderctl share: the command line as parsed, one conversation with the
 * daemon, and how things are shown.
 *
 * One thread; every function that returns int returns an exit code, and whoever makes it other than
 * CTL_OK has printed why.
 */
#pragma once

#include <cjson/cJSON.h>
#include <nng/nng.h>
#include <stdio.h>

#include "base/config.h"
#include "spreader/wire.h"

enum {
	CTL_OK = 0,
	CTL_NO = 1,           /* the daemon said no, or not found */
	CTL_USAGE = 2,        /* bad command line */
	CTL_UNREACHABLE = 69, /* no daemon, or no answer */
};

#define CTL_WORDS_MAX 3 /* a verb and its arguments */

/* X(TYPE, field, name, default, range or placeholder, help) */
/* clang-format off */
#define CTL_OPTIONS(X) \
	X(TEXT,     url,        "url",      SPREADER_CONTROL_URL, "URL", "Control address of the daemon; SPREADER_CONTROL_URL in the environment") \
	X(DURATION, timeout_ns, "timeout",  "5s", "1ms..1h", "How long to wait for a connection, and for each answer") \
	X(TEXT,     tls_ca,     "tls-ca",   "none", "FILE", "Take the daemon only with a certificate of this authority, PEM, which tls+tcp:// and wss:// need; SPREADER_CONTROL_TLS_CA in the environment") \
	X(TEXT,     tls_cert,   "tls-cert", "none", "FILE", "Certificate to show it, PEM, which it wants when it has a --tls-ca; SPREADER_CONTROL_TLS_CERT in the environment") \
	X(TEXT,     tls_key,    "tls-key",  "none", "FILE", "Key of that certificate, PEM, without a password; SPREADER_CONTROL_TLS_KEY in the environment") \
	X(BOOL,     json,       "json",     "false", "", "Print the daemon's JSON, one object a line, instead of text") \
	X(DURATION, lease_ns,   "lease",    "0", "0..36500d", "Lease to ask for, in whole seconds; 0: the daemon's default") \
	X(TEXT,     prefix,     "prefix",   "none", "PATTERN", "Only this pattern and what is below it") \
	X(TEXT,     callback,   "callback", "none", "CALLBACK", "Only subscriptions of this callback") \
	X(COUNT,    limit,      "limit",    "0", "0..4294967295", "At most so many; 0: all")
/* clang-format on */

typedef struct ctl_options {
#define X(type, field, name, standard, range, help) spr_config_field_##type field;
	CTL_OPTIONS(X)
#undef X
} ctl_options;

enum {
#define X(type, field, name, standard, range, help) CTL_OPTION_##field,
	CTL_OPTIONS(X)
#undef X
	    CTL_N_OPTIONS
};

typedef struct ctl {
	const char *peer;   /* who is asked: "spreaderd" */
	const char *remedy; /* how to name its address */
	ctl_options options;
	const char *verb;           /* NULL until it is known */
	char *words[CTL_WORDS_MAX]; /* the verb's arguments; NULL behind the last */
	/* the conversation; see ctl_link.c */
	nng_socket socket;
	bool is_open;
	nng_msg *reply; /* the bytes of the last one */
} ctl;

/* A variable in the environment, and the option that it stands for. */
typedef struct ctl_variable {
	const char *name;
	unsigned option;
} ctl_variable;

/* --- the program's own file -------------------------------------------------------------------------------- */

/* Prints "<program>: <format>" to stderr as one safe line and returns code. */
int ctl_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Flags, then the n variables. */
spr_err ctl_read_options(spr_config *config, int argc, char **argv, int *action,
			 const ctl_variable *variables, size_t n);

/* --- ctl_link.c ----------------------------------------------------------------------------------- */

/* Starts a request; NULL never: out of memory ends the program. */
cJSON *ctl_request(const char *op);
void ctl_add_text(cJSON *object, const char *name, const char *text);
void ctl_add_number(cJSON *object, const char *name, double number);
/*
 * Sends the request (deleted in any case) and waits for its reply, an object with "ok". Connects at
 * first use. *reply is set, and the caller's, when CTL_OK is returned, whatever "ok" says.
 */
int ctl_exchange(ctl *c, cJSON *request, cJSON **reply);
/* The same with a request that is text already. */
int ctl_exchange_text(ctl *c, const void *text, size_t len, cJSON **reply);
/* ctl_exchange(), and a reply that is not ok is printed as "<verb> <words>: <code>: <detail>": CTL_NO. */
int ctl_ask(ctl *c, cJSON *request, cJSON **reply);
/* Prints why the reply is not ok, deletes it, and returns CTL_NO. */
int ctl_refused(const ctl *c, cJSON *reply);
/* The last reply is not what the contract says. */
int ctl_bad_reply(const ctl *c, const char *what);
/* Prints the bytes of the last reply and a line's end. */
void ctl_print_reply(const ctl *c);
/* Frees the last reply; the socket ends with the process. */
void ctl_fini(ctl *c);

/* --- ctl_show.c ----------------------------------------------------------------------------------- */

/* Prints text from outside: a control character becomes \xNN, so that none reaches the terminal. */
void ctl_put(FILE *out, const char *text);
/* The same, filled up with blanks to width columns. */
void ctl_put_padded(FILE *out, const char *text, size_t width);
/* Columns that ctl_put() takes, a character outside ASCII counting one. */
size_t ctl_width(const char *text);
/* A JSON object as aligned lines "name  value"; objects and arrays inside are indented below their name. */
void ctl_put_object(FILE *out, const cJSON *object, unsigned indent);

/* --- the verbs: ctl_verbs.c, ctl_list.c, ctl_import.c -------------------------------------------------------- */

int ctl_subscribe(ctl *c);
int ctl_unsubscribe(ctl *c);
int ctl_lookup(ctl *c);
int ctl_stats(ctl *c);
int ctl_health(ctl *c);
int ctl_version(ctl *c);
int ctl_list(ctl *c);
int ctl_export(ctl *c);
int ctl_import(ctl *c);
