/*
 * ctl_link - the conversation with the daemon: one REQ socket, one request at a time, every wait bounded.
 *
 * The library tells why a connection fails only to a dial that waits, and such a dial has no timeout of its own: so it
 * is made on a thread of its own. The socket is never closed: closing while its pipe reads can hang in nng 1.5, and the
 * process ends right after. A lost connection ends the request instead of repeating it: the user decides.
 */
#include "ctl.h"

#include <errno.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/tls/tls.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/units.h"
#include "net/tls.h"

#define REPLY_MAX ((size_t)1 << 30) /* a lookup of a million callbacks */

/* --- options --- */

spr_err
ctl_read_options(spr_config *config, int argc, char **argv, int *action,
		 const ctl_variable *variables, size_t n)
{
	spr_err rv = spr_config_read_arguments(config, argc, argv, action);

	for (size_t i = 0; i < n && rv == SPR_OK; i++) {
		const char *value = getenv(variables[i].name);

		if (value != NULL)
			rv = spr_config_set(config, variables[i].option, value,
					    SPR_CONFIG_ENVIRONMENT);
	}
	return (rv);
}

/* --- requests ------------------------------------------------------------------------------------ */

static void *
need(void *item)
{
	if (item == NULL) {
		exit(ctl_fail(CTL_NO, "out of memory"));
	}
	return (item);
}

cJSON *
ctl_request(const char *op)
{
	cJSON *request = need(cJSON_CreateObject());

	ctl_add_text(request, "op", op);
	return (request);
}

void
ctl_add_text(cJSON *object, const char *name, const char *text)
{
	need(cJSON_AddStringToObject(object, name, text));
}

void
ctl_add_number(cJSON *object, const char *name, double number)
{
	need(cJSON_AddNumberToObject(object, name, number));
}

/* --- connection ---------------------------------------------------------------------------------- */

/* One dial a process; outlives one that was given up on. */
static struct dialling {
	nng_dialer dialer;    /* constant after start */
	pthread_mutex_t lock; /* guards is_done and result */
	pthread_cond_t done;
	bool is_done;
	int result;
} dialling = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *
dial(void *arg)
{
	struct dialling *d = arg;
	int result = nng_dialer_start(d->dialer, 0);

	pthread_mutex_lock(&d->lock);
	d->result = result;
	d->is_done = true;
	pthread_cond_signal(&d->done);
	pthread_mutex_unlock(&d->lock);
	return (NULL);
}

/* Starts it on a thread that nobody waits for the end of. */
static int
start_dial(void)
{
	pthread_condattr_t attributes;
	pthread_t thread;
	int rv = 0;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&dialling.done, &attributes);
	pthread_condattr_destroy(&attributes);
	if ((rv = pthread_create(&thread, NULL, dial, &dialling)) == 0)
		pthread_detach(thread);
	return (rv);
}

static int
no_answer(const ctl *c)
{
	char timeout[SPR_UNITS_TEXT_MAX];

	spr_units_format_duration(c->options.timeout_ns, timeout);
	return (ctl_fail(CTL_UNREACHABLE, "no answer from %s at %s within %s; raise --timeout, %s",
			 c->peer, c->options.url, timeout, c->remedy));
}

static int
unreachable(const ctl *c, int error)
{
	const char *why = nng_strerror(error);

	/* with TLS whoever does not like a certificate hangs up, and does not say why */
	if (spr_tls_is_url(c->options.url) && error != NNG_ECONNREFUSED)
		return (ctl_fail(CTL_UNREACHABLE,
				 "cannot reach %s at %s: %s; see whether --tls-ca is of its "
				 "authority and --tls-cert of one that it takes, or start it, %s",
				 c->peer, c->options.url, why, c->remedy));
	return (ctl_fail(CTL_UNREACHABLE, "cannot reach %s at %s: %s; start it, %s", c->peer,
			 c->options.url, why, c->remedy));
}

/* Dials, and waits for it at most the timeout. */
static int
dial_in_time(const ctl *c)
{
	struct timespec until;
	uint64_t ns = 0;
	int result = 0;
	int rv = start_dial();

	if (rv != 0)
		return (unreachable(c, NNG_ESYSERR + rv));
	clock_gettime(CLOCK_MONOTONIC, &until);
	ns = (uint64_t)until.tv_nsec + c->options.timeout_ns;
	until.tv_sec += (time_t)(ns / SPR_NS_PER_S);
	until.tv_nsec = (long)(ns % SPR_NS_PER_S);
	pthread_mutex_lock(&dialling.lock);
	while (!dialling.is_done && rv != ETIMEDOUT)
		rv = pthread_cond_timedwait(&dialling.done, &dialling.lock, &until);
	result = dialling.is_done ? dialling.result : NNG_ETIMEDOUT;
	pthread_mutex_unlock(&dialling.lock);
	if (result == NNG_ETIMEDOUT)
		return (no_answer(c));
	return (result == 0 ? CTL_OK : unreachable(c, result));
}

/* Files for a URL without TLS are let be: the environment may name them once for all. */
static int
secure(const ctl *c)
{
	const ctl_options *o = &c->options;
	nng_tls_config *config = NULL;
	spr_err rv = SPR_OK;
	int nrv = 0;

	if (!spr_tls_is_url(o->url))
		return (CTL_OK);
	if ((rv = spr_tls_load(o->tls_cert, o->tls_key, o->tls_ca)) != SPR_OK ||
	    (rv = spr_tls_config(&config, o->url, false, NULL)) != SPR_OK)
		return (ctl_fail(CTL_USAGE, "%s", spr_error_text(rv)));
	nrv = nng_dialer_set_ptr(dialling.dialer, NNG_OPT_TLS_CONFIG, config);
	nng_tls_config_free(config);
	return (nrv == 0 ? CTL_OK : unreachable(c, nrv));
}

static int
connect_once(ctl *c)
{
	nng_duration ms = (nng_duration)(c->options.timeout_ns / SPR_NS_PER_MS);
	int code = CTL_OK;
	int rv = nng_req0_open(&c->socket);

	if (rv == 0)
		rv = nng_socket_set_ms(c->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
	if (rv == 0)
		rv = nng_socket_set_ms(c->socket, NNG_OPT_SENDTIMEO, ms);
	if (rv == 0)
		rv = nng_socket_set_ms(c->socket, NNG_OPT_RECVTIMEO, ms);
	if (rv == 0)
		rv = nng_socket_set_size(c->socket, NNG_OPT_RECVMAXSZ, REPLY_MAX);
	if (rv != 0)
		return (unreachable(c, rv));
	if ((rv = nng_dialer_create(&dialling.dialer, c->socket, c->options.url)) != 0)
		return (ctl_fail(CTL_USAGE, "--url: %s is not an address such as %s: %s",
				 c->options.url, SPREADER_CONTROL_URL, nng_strerror(rv)));
	if ((code = secure(c)) != CTL_OK)
		return (code);
	c->is_open = true;
	return (dial_in_time(c));
}

/* Sends the text, and receives into c->reply. */
static int
transfer(ctl *c, const void *text, size_t len)
{
	nng_msg *msg = NULL;
	int rv = nng_msg_alloc(&msg, 0);

	ctl_fini(c);
	if (rv == 0 && (rv = nng_msg_append(msg, text, len)) == 0)
		rv = nng_sendmsg(c->socket, msg, 0);
	if (rv != 0 && msg != NULL)
		nng_msg_free(msg);
	if (rv == 0)
		rv = nng_recvmsg(c->socket, &c->reply, 0);
	if (rv == NNG_ETIMEDOUT)
		return (no_answer(c));
	return (rv == 0 ? CTL_OK : unreachable(c, rv));
}

int
ctl_bad_reply(const ctl *c, const char *what)
{
	return (ctl_fail(CTL_UNREACHABLE, "%s: the answer is not %s's: %s; check --url",
			 c->options.url, c->peer, what));
}

int
ctl_exchange_text(ctl *c, const void *text, size_t len, cJSON **reply)
{
	cJSON *parsed = NULL;
	int code = CTL_OK;
	spr_err rv = SPR_OK;

	if (!c->is_open)
		code = connect_once(c);
	if (code == CTL_OK)
		code = transfer(c, text, len);
	if (code != CTL_OK)
		return (code);
	if ((rv = spr_json_parse(&parsed, nng_msg_body(c->reply), nng_msg_len(c->reply))) != SPR_OK)
		return (ctl_bad_reply(c, spr_error_text(rv)));
	if (!cJSON_IsBool(cJSON_GetObjectItemCaseSensitive(parsed, "ok"))) {
		cJSON_Delete(parsed);
		return (ctl_bad_reply(c, "no \"ok\" in it"));
	}
	*reply = parsed;
	return (CTL_OK);
}

int
ctl_exchange(ctl *c, cJSON *request, cJSON **reply)
{
	char *text = need(cJSON_PrintUnformatted(request));
	int code = CTL_OK;

	cJSON_Delete(request);
	code = ctl_exchange_text(c, text, strlen(text), reply);
	cJSON_free(text);
	return (code);
}

/* "unsubscribe UN.A http://a": what was asked for. */
static void
name_request(const ctl *c, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "%s", c->verb);

	for (unsigned i = 0; i < CTL_WORDS_MAX && c->words[i] != NULL && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, " %s", c->words[i]);
}

int
ctl_refused(const ctl *c, cJSON *reply)
{
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(reply, "error");
	const char *code = spr_json_text(error, "code"), *detail = spr_json_text(error, "detail");
	char name[512];

	if (c->options.json)
		ctl_print_reply(c);
	name_request(c, name, sizeof(name));
	(void)ctl_fail(CTL_NO, "%s: %s: %s", name, code != NULL ? code : "refused",
		       detail != NULL ? detail : "no reason given");
	cJSON_Delete(reply);
	return (CTL_NO);
}

int
ctl_ask(ctl *c, cJSON *request, cJSON **reply)
{
	int rv = ctl_exchange(c, request, reply);

	if (rv != CTL_OK || cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(*reply, "ok")))
		return (rv);
	rv = ctl_refused(c, *reply);
	*reply = NULL;
	return (rv);
}

void
ctl_print_reply(const ctl *c)
{
	fwrite(nng_msg_body(c->reply), 1, nng_msg_len(c->reply), stdout);
	fputc('\n', stdout);
}

void
ctl_fini(ctl *c)
{
	if (c->reply != NULL)
		nng_msg_free(c->reply);
	c->reply = NULL;
}
