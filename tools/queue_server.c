/*
 * queue_server - start steps, the wait for a signal with a word to the service manager now and then, the stop.
 *
 * The stop commits and answers what has come, closes the store, and ends the process: nng can hang in a close, and a socket
 * has nothing left that a close would do. Whoever asked and heard nothing asks again.
 */
#include "queue_server.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/notify.h"
#include "daemon.h"
#include "net/net.h"
#include "net/tls.h"
#include "queue.h"
#include "queue_input.h"

#define ANSWER_BYTES_MAX  ((size_t)16 << 20) /* 10,000 nacks with the longest ids */
#define CONTROL_BYTES_MAX ((size_t)64 << 10)
#define DEAD_AFTER_NS     (10 * SPR_NS_PER_S) /* as the daemon's parts */
#define TELL_STEP_NS      (10 * SPR_NS_PER_S)

typedef struct endpoint {
	const char *name;
	queue_request_kind kind;
	unsigned window;
	queue *q;
	const spr_transport *transport;
	spr_rep *rep;
	queue_request *requests; /* by number */
	cJSON *bound;
} endpoint;

enum { SUBMIT, ANSWER, CONTROL, N_ENDPOINTS };

typedef struct server {
	const queue_options *options;
	queue_store *store;
	queue *q;
	endpoint endpoints[N_ENDPOINTS];
	spr_notify notify;
	/* standard input */
	pthread_t input_thread;
	bool has_input;
	int input_stop;
	sem_t input_done;
	spr_err input_result;
} server;

/* --- sockets --- */

/* [nng-cb] */
static void
on_request(void *arg, unsigned number, const uint8_t *data, size_t len)
{
	endpoint *e = arg;
	queue_request *request = &e->requests[number];

	request->data = data;
	request->len = len;
	queue_ask(e->q, request);
}

/* [queue] */
static void
on_reply(queue_request *request, const void *text, size_t len)
{
	endpoint *e = request->arg;

	e->transport->rep_reply(e->rep, request->number, text, len);
}

static spr_err
open_endpoint(server *s, endpoint *e, const spr_config_list *urls, size_t max_request)
{
	spr_rep_config config = {.window = e->window,
				 .max_request = max_request,
				 .limit_name = "the limit of a request",
				 .on_request = on_request,
				 .arg = e};
	char bound[SPR_URL_MAX];
	spr_err rv = SPR_OK;

	e->q = s->q;
	e->bound = cJSON_CreateArray();
	e->requests = spr_mem_zalloc(e->window * sizeof(e->requests[0]));
	if (e->requests == NULL || e->bound == NULL)
		return (spr_fail(SPR_E_NOMEM, "out of memory"));
	for (unsigned i = 0; i < e->window; i++)
		e->requests[i] =
		    (queue_request){.kind = e->kind, .reply = on_reply, .arg = e, .number = i};
	e->transport = spr_transport_for(urls->n > 0 ? urls->item[0] : "");
	if ((rv = e->transport->rep_open(&e->rep, &config)) != SPR_OK)
		return (rv);
	for (unsigned i = 0; i < urls->n; i++) {
		if ((rv = e->transport->rep_listen(e->rep, urls->item[i], bound)) != SPR_OK) {
			spr_wrap("--%s-listen %s", e->name, urls->item[i]);
			return (rv);
		}
		cJSON_AddItemToArray(e->bound, cJSON_CreateString(bound));
	}
	return (SPR_OK);
}

static spr_err
open_endpoints(server *s)
{
	const queue_options *options = s->options;
	spr_err rv = SPR_OK;

	if ((rv = open_endpoint(s, &s->endpoints[SUBMIT], &options->submit_listen,
				options->max_message_bytes)) != SPR_OK ||
	    (rv = open_endpoint(s, &s->endpoints[ANSWER], &options->answer_listen,
				ANSWER_BYTES_MAX)) != SPR_OK)
		return (rv);
	return (
	    open_endpoint(s, &s->endpoints[CONTROL], &options->control_listen, CONTROL_BYTES_MAX));
}

/* --- standard input --- */

/* [queue] */
static void
on_input_reply(queue_request *request, const void *text, size_t len)
{
	static const char ok[] = "{\"ok\":true";
	server *s = request->arg;

	s->input_result =
	    len >= sizeof(ok) - 1 && memcmp(text, ok, sizeof(ok) - 1) == 0 ? SPR_OK : SPR_E_STORE;
	sem_post(&s->input_done);
}

static spr_err
take_input(void *arg, const uint8_t *documents, size_t len)
{
	server *s = arg;
	queue_request request = {.kind = QUEUE_REQUEST_SUBMIT,
				 .data = documents,
				 .len = len,
				 .reply = on_input_reply,
				 .arg = s};

	queue_ask(s->q, &request);
	while (sem_wait(&s->input_done) != 0)
		continue;
	if (s->input_result != SPR_OK)
		return (spr_fail(s->input_result, "the store failed; its cause is in the log"));
	return (SPR_OK);
}

static void *
read_input(void *arg)
{
	server *s = arg;
	queue_input input = {.fd = STDIN_FILENO,
			     .stop_fd = s->input_stop,
			     .max_body = s->options->max_body_bytes,
			     .take = take_input,
			     .arg = s,
			     .complaints = stderr};
	spr_err rv = queue_input_run(&input);

	if (rv != SPR_OK && rv != SPR_E_CANCELLED)
		spr_error("INPUT-FAILED", "why=\"%s\"", spr_error_text(rv));
	printf("{\"taken\":%llu,\"refused\":%llu}\n", (unsigned long long)input.n_taken,
	       (unsigned long long)input.n_refused);
	fflush(stdout);
	return (NULL);
}

static spr_err
start_input(server *s)
{
	int error = 0;

	if (!s->options->stdin_)
		return (SPR_OK);
	sem_init(&s->input_done, 0, 0);
	if ((s->input_stop = eventfd(0, EFD_CLOEXEC)) < 0)
		return (spr_fail(SPR_E_SYSTEM, "eventfd: %s", strerror(errno)));
	if ((error = pthread_create(&s->input_thread, NULL, read_input, s)) != 0)
		return (spr_fail(SPR_E_SYSTEM, "start a thread: %s", strerror(error)));
	s->has_input = true;
	return (SPR_OK);
}

/* Before the queue stops: the thread may be waiting for a reply of it. */
static void
stop_input(server *s)
{
	if (!s->has_input)
		return;
	(void)eventfd_write(s->input_stop, 1);
	pthread_join(s->input_thread, NULL);
}

/* --- start --- */

static void
raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max; /* one descriptor a peer */
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

static spr_err
write_ready_file(server *s)
{
	cJSON *root = cJSON_CreateObject(), *listening = NULL;
	char *text = NULL;
	spr_err rv = SPR_OK;

	cJSON_AddNumberToObject(root, "pid", (double)getpid());
	listening = cJSON_AddObjectToObject(root, "listening");
	for (int i = 0; i < N_ENDPOINTS; i++)
		cJSON_AddItemReferenceToObject(listening, s->endpoints[i].name,
					       s->endpoints[i].bound);
	text = cJSON_PrintUnformatted(root);
	rv = text == NULL ? spr_fail(SPR_E_NOMEM, "ready file: out of memory")
			  : spr_file_replace(s->options->ready_file, text);
	cJSON_free(text);
	cJSON_Delete(root);
	return (rv);
}

static spr_err
load_certificates(const server *s)
{
	return (spr_tls_load(s->options->tls_cert, s->options->tls_key, s->options->tls_ca));
}

static spr_err
start(server *s)
{
	queue_counts counts;
	spr_err rv = SPR_OK;

	raise_files();
	if ((rv = load_certificates(s)) != SPR_OK ||
	    (rv = queue_store_open(&s->store, s->options->store)) != SPR_OK ||
	    (rv = queue_new(&s->q, s->options, s->store, &spr_transport_nng)) != SPR_OK ||
	    (rv = open_endpoints(s)) != SPR_OK)
		return (rv);
	counts = queue_store_counts(s->store);
	if ((rv = queue_start(s->q)) != SPR_OK)
		return (rv);
	for (int i = 0; i < N_ENDPOINTS; i++)
		s->endpoints[i].transport->rep_start(s->endpoints[i].rep);
	if ((rv = start_input(s)) != SPR_OK)
		return (rv);
	if (s->options->to.n == 0)
		spr_warn("NO-DISPATCHERS", "why=\"no --to: notifications are only kept\"");
	spr_info("READY", "version=%s depth=%llu dead=%llu", SPR_VERSION,
		 (unsigned long long)counts.live, (unsigned long long)counts.dead);
	return (s->options->ready_file != NULL ? write_ready_file(s) : SPR_OK);
}

/* --- the end --- */

static void
reload(const server *s)
{
	spr_err rv = SPR_OK;

	spr_notify_say(&s->notify, "RELOADING=1\nMONOTONIC_USEC=%llu",
		       (unsigned long long)(spr_clock_now_ns() / 1000));
	if ((rv = load_certificates(s)) != SPR_OK)
		spr_error("RELOAD-FAILED", "why=\"%s; the certificates before stay\"",
			  spr_error_text(rv));
	else
		spr_info("RELOADED", "signal=%d", SIGHUP);
	spr_notify_say(&s->notify, "READY=1");
}

/* How long may pass between two words; UINT64_MAX when nobody listens. */
static uint64_t
tell_step_ns(const server *s)
{
	uint64_t half_ns = s->notify.watchdog_ns / 2;

	if (!spr_notify_is_heard(&s->notify))
		return (UINT64_MAX);
	return (half_ns != 0 && half_ns < TELL_STEP_NS ? half_ns : TELL_STEP_NS);
}

static void
tell_how_it_goes(server *s)
{
	bool is_alive = queue_is_alive(s->q, spr_clock_now_ns(), DEAD_AFTER_NS);

	if (!is_alive)
		spr_error("NOT-ALIVE", "part=queue why=\"one group takes too long\"");
	spr_notify_say(&s->notify, "%sSTATUS=%u dispatchers",
		       s->notify.watchdog_ns != 0 && is_alive ? "WATCHDOG=1\n" : "",
		       queue_peers(s->q));
}

/* The next signal; 0 when timeout_ns has passed. */
static int
wait_signal(const sigset_t *wanted, uint64_t timeout_ns)
{
	struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / SPR_NS_PER_S),
				   .tv_nsec = (long)(timeout_ns % SPR_NS_PER_S)};
	int number = 0;

	do {
		number = sigtimedwait(wanted, NULL, timeout_ns == UINT64_MAX ? NULL : &timeout);
	} while (number < 0 && errno == EINTR);
	return (number < 0 ? 0 : number);
}

static int
wait_for_end(server *s)
{
	sigset_t wanted;
	int number = 0;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGHUP);
	while ((number = wait_signal(&wanted, tell_step_ns(s))) == 0 || number == SIGHUP) {
		if (number == SIGHUP)
			reload(s);
		else
			tell_how_it_goes(s);
	}
	return (number);
}

int
queue_serve(const queue_options *options, char **envp)
{
	static server s = {
	    .endpoints =
		{[SUBMIT] = {.name = "submit", .kind = QUEUE_REQUEST_SUBMIT, .window = 256},
		 [ANSWER] = {.name = "answer", .kind = QUEUE_REQUEST_ANSWER, .window = 64},
		 [CONTROL] = {.name = "control", .kind = QUEUE_REQUEST_CONTROL, .window = 8}},
	};
	spr_err rv = SPR_OK;

	s.options = options;
	spr_notify_open(&s.notify, envp);
	if ((rv = start(&s)) != SPR_OK) {
		spr_error("START-FAILED", "why=\"%s\"", spr_error_text(rv));
	} else {
		spr_notify_say(&s.notify, "READY=1");
		spr_info("STOP", "signal=%d", wait_for_end(&s));
		spr_notify_say(&s.notify, "STOPPING=1");
		stop_input(&s);
	}
	if (s.options->ready_file != NULL && rv == SPR_OK)
		(void)unlink(s.options->ready_file);
	if (s.q != NULL)
		(void)queue_stop(s.q);
	queue_store_close(s.store);
	return (spr_exit_code(rv));
}
