/*
 * peers - delivery workers and upstreams as threads of the test. A worker is a thread, an upstream
 * is one thread with a poll() over its connections; a stop is a flag and a shut-down descriptor.
 */
#include "peers.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "proc.h"
#include "sp_raw.h"

#define SLOW_REPLY_MS  300
#define UPSTREAM_PIPES 64
#define FOR_EVER_MS    (24 * 3600 * 1000)

static void
check(bool is_good, const char *what)
{
	if (is_good)
		return;
	perror(what);
	abort();
}

static void
init_condition(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
}

static struct timespec
deadline_in(int ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += (ms % 1000) * 1000000L;
	if (at.tv_nsec >= 1000000000L) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000L;
	}
	return (at);
}

/* inbox
 * ------------------------------------------------------------------------------------------------------------
 */

struct spr_inbox {
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	char **texts;
	size_t n;
	size_t room;
};

spr_inbox *
spr_inbox_new(void)
{
	spr_inbox *inbox = calloc(1, sizeof(*inbox));

	check(inbox != NULL, "inbox");
	pthread_mutex_init(&inbox->lock, NULL);
	init_condition(&inbox->changed);
	return (inbox);
}

void
spr_inbox_free(spr_inbox *inbox)
{
	if (inbox == NULL)
		return;
	for (size_t i = 0; i < inbox->n; i++)
		free(inbox->texts[i]);
	free(inbox->texts);
	pthread_cond_destroy(&inbox->changed);
	pthread_mutex_destroy(&inbox->lock);
	free(inbox);
}

void
spr_inbox_put(spr_inbox *inbox, char *text)
{
	pthread_mutex_lock(&inbox->lock);
	if (inbox->n == inbox->room) {
		inbox->room = inbox->room * 2 + 16;
		inbox->texts = realloc(inbox->texts, inbox->room * sizeof(*inbox->texts));
		check(inbox->texts != NULL, "inbox");
	}
	inbox->texts[inbox->n++] = text;
	pthread_cond_broadcast(&inbox->changed);
	pthread_mutex_unlock(&inbox->lock);
}

/* Lock held. False when the deadline has passed. */
static bool
wait_locked(spr_inbox *inbox, const struct timespec *deadline)
{
	return (pthread_cond_timedwait(&inbox->changed, &inbox->lock, deadline) != ETIMEDOUT);
}

bool
spr_inbox_take(spr_inbox *inbox, const char *text, int ms)
{
	struct timespec deadline = deadline_in(ms);
	size_t seen = 0;
	bool is_found = false;
	bool has_time = true;

	pthread_mutex_lock(&inbox->lock);
	while (!is_found) {
		for (; seen < inbox->n && !is_found; seen++)
			is_found = strcmp(inbox->texts[seen], text) == 0;
		if (is_found || !has_time)
			break;
		has_time = wait_locked(inbox, &deadline); /* the last look is after the deadline */
	}
	if (is_found) {
		free(inbox->texts[seen - 1]);
		inbox->texts[seen - 1] = inbox->texts[--inbox->n];
	}
	pthread_mutex_unlock(&inbox->lock);
	return (is_found);
}

bool
spr_inbox_wait(spr_inbox *inbox, size_t n, int ms)
{
	struct timespec deadline = deadline_in(ms);
	bool is_there;

	pthread_mutex_lock(&inbox->lock);
	while (inbox->n < n && wait_locked(inbox, &deadline))
		;
	is_there = inbox->n >= n;
	pthread_mutex_unlock(&inbox->lock);
	return (is_there);
}

size_t
spr_inbox_count(spr_inbox *inbox)
{
	size_t n;

	pthread_mutex_lock(&inbox->lock);
	n = inbox->n;
	pthread_mutex_unlock(&inbox->lock);
	return (n);
}

static int
compare_texts(const void *a, const void *b)
{
	return (strcmp(*(char *const *)a, *(char *const *)b));
}

char **
spr_inbox_take_all(spr_inbox *inbox, size_t *n)
{
	char **texts;

	pthread_mutex_lock(&inbox->lock);
	texts = inbox->texts;
	*n = inbox->n;
	inbox->texts = NULL;
	inbox->n = inbox->room = 0;
	pthread_mutex_unlock(&inbox->lock);
	if (*n > 0)
		qsort(texts, *n, sizeof(*texts), compare_texts);
	return (texts);
}

void
spr_inbox_print(spr_inbox *inbox, const char *title)
{
	pthread_mutex_lock(&inbox->lock);
	fprintf(stderr, "%s: %zu\n", title, inbox->n);
	for (size_t i = 0; i < inbox->n && i < 20; i++)
		fprintf(stderr, "    %.400s\n", inbox->texts[i]);
	pthread_mutex_unlock(&inbox->lock);
}

/* worker
 * -----------------------------------------------------------------------------------------------------------
 */

struct spr_worker {
	pthread_t thread;
	spr_inbox *inbox;
	spr_sp sp;            /* the thread's */
	pthread_mutex_t lock; /* guards limit, is_stopping, is_gone */
	pthread_cond_t changed;
	size_t limit;
	bool is_stopping;
	bool is_gone;
	atomic_size_t count;
};

/* Waits while the worker has taken all it may; false: stop. */
static bool
may_take(spr_worker *worker)
{
	bool may;

	pthread_mutex_lock(&worker->lock);
	while (!worker->is_stopping && atomic_load(&worker->count) >= worker->limit)
		pthread_cond_wait(&worker->changed, &worker->lock);
	may = !worker->is_stopping;
	pthread_mutex_unlock(&worker->lock);
	return (may);
}

static void *
run_worker(void *arg)
{
	spr_worker *worker = arg;
	const uint8_t *data;
	size_t len;

	while (may_take(worker) &&
	       spr_sp_recv(&worker->sp, &data, &len, FOR_EVER_MS) == SPR_SP_OK) {
		atomic_fetch_add(&worker->count, 1);
		spr_inbox_put(worker->inbox, strndup((const char *)data, len));
	}
	pthread_mutex_lock(&worker->lock);
	worker->is_gone = true;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
	return (NULL);
}

spr_worker *
spr_worker_start(const char *url, spr_inbox *inbox, size_t limit)
{
	spr_worker *worker = calloc(1, sizeof(*worker));

	check(worker != NULL, "worker");
	worker->inbox = inbox;
	worker->limit = limit;
	if (!spr_sp_dial(&worker->sp, url, SPR_SP_PULL)) {
		free(worker);
		return (NULL);
	}
	pthread_mutex_init(&worker->lock, NULL);
	init_condition(&worker->changed);
	check(pthread_create(&worker->thread, NULL, run_worker, worker) == 0, "worker thread");
	return (worker);
}

void
spr_worker_allow(spr_worker *worker, size_t limit)
{
	pthread_mutex_lock(&worker->lock);
	worker->limit = limit;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

size_t
spr_worker_count(const spr_worker *worker)
{
	return (atomic_load(&worker->count));
}

bool
spr_worker_wait_gone(spr_worker *worker, int ms)
{
	struct timespec deadline = deadline_in(ms);
	bool is_gone;

	pthread_mutex_lock(&worker->lock);
	while (!worker->is_gone &&
	       pthread_cond_timedwait(&worker->changed, &worker->lock, &deadline) != ETIMEDOUT)
		;
	is_gone = worker->is_gone;
	pthread_mutex_unlock(&worker->lock);
	return (is_gone);
}

void
spr_worker_stop(spr_worker *worker)
{
	if (worker == NULL)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->is_stopping = true;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
	shutdown(worker->sp.fd, SHUT_RDWR);
	pthread_join(worker->thread, NULL);
	spr_sp_close(&worker->sp);
	pthread_cond_destroy(&worker->changed);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
}

/* upstream
 * ---------------------------------------------------------------------------------------------------------
 */

struct spr_upstream {
	pthread_t thread;
	spr_inbox *answers;
	spr_inbox *heard;
	spr_inbox *working;
	int listener;
	int wake; /* eventfd: stop */
	char url[64];
	_Atomic int manner;
	/* the thread's */
	spr_sp pipes[UPSTREAM_PIPES];
	unsigned n_pipes;
};

static void
put_format(spr_inbox *inbox, const char *kind, const cJSON *id, const char *rest)
{
	char *text;

	check(cJSON_IsString(id), "an id in an answer");
	check(asprintf(&text, "%s %s%s", kind, id->valuestring, rest) >= 0, "answer");
	spr_inbox_put(inbox, text);
}

/* The daemon's own format is under test too: an answer that is not as DESIGN says ends the test
 * program. */
static void
note_answers(spr_upstream *upstream, const char *request)
{
	cJSON *object = cJSON_Parse(request);
	const cJSON *item;
	char rest[128];

	check(cJSON_IsString(cJSON_GetObjectItemCaseSensitive(object, "instance")),
	      "an answer request with an instance");
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(object, "ack"))
	    put_format(upstream->answers, "ack", item, "");
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(object, "nack"))
	{
		const cJSON *reason = cJSON_GetObjectItemCaseSensitive(item, "reason");
		const cJSON *retry = cJSON_GetObjectItemCaseSensitive(item, "retry");

		check(cJSON_IsString(reason) && cJSON_IsBool(retry),
		      "a nack with reason and retry");
		snprintf(rest, sizeof(rest), " %s %s", reason->valuestring,
			 cJSON_IsTrue(retry) ? "true" : "false");
		put_format(upstream->answers, "nack", cJSON_GetObjectItemCaseSensitive(item, "id"),
			   rest);
	}
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(object, "working"))
	    put_format(upstream->working, "working", item, "");
	cJSON_Delete(object);
}

static const char *
reply_of(spr_manner manner)
{
	switch (manner) {
	case SPR_MANNER_ACCEPT:
	case SPR_MANNER_SLOW:
		return ("{\"ok\":true}");
	case SPR_MANNER_REFUSE:
		return ("{\"ok\":false}");
	case SPR_MANNER_GARBAGE:
		return ("\x01garbage");
	case SPR_MANNER_SILENT:
	case SPR_MANNER_HANG_UP:
	case SPR_MANNER_PICKY: /* it is one of the others, request by request */
		break;
	}
	return (NULL);
}

/* False: the connection is to be closed. */
static bool
serve_request(spr_upstream *upstream, spr_sp *sp, const uint8_t *data, size_t len)
{
	spr_manner manner = (spr_manner)atomic_load(&upstream->manner);
	const char *reply;
	struct pollfd waiter = {.fd = upstream->wake, .events = POLLIN};
	char *request;

	if (len < 4)
		return (false);
	request = strndup((const char *)data + 4, len - 4);
	if (manner == SPR_MANNER_PICKY)
		manner = strstr(request, "\"bad\"") != NULL ? SPR_MANNER_REFUSE : SPR_MANNER_ACCEPT;
	reply = reply_of(manner);
	if (manner == SPR_MANNER_SLOW)
		(void)poll(&waiter, 1, SLOW_REPLY_MS);
	/* Before the reply: when the daemon has the reply, the test can have the answer. */
	if (manner == SPR_MANNER_ACCEPT || manner == SPR_MANNER_SLOW)
		note_answers(upstream, request);
	spr_inbox_put(upstream->heard, request);
	if (manner == SPR_MANNER_HANG_UP)
		return (false);
	return (reply == NULL || spr_sp_send(sp, data, 4, reply, strlen(reply),
					     spr_test_deadline_ms()) == SPR_SP_OK);
}

static bool
serve_pipe(spr_upstream *upstream, spr_sp *sp)
{
	const uint8_t *data;
	size_t len;
	spr_sp_result result;

	while ((result = spr_sp_recv(sp, &data, &len, 0)) == SPR_SP_OK)
		if (!serve_request(upstream, sp, data, len))
			return (false);
	return (result == SPR_SP_TIMEOUT);
}

static void
accept_pipe(spr_upstream *upstream)
{
	int fd = accept(upstream->listener, NULL, NULL);

	if (fd < 0)
		return;
	check(upstream->n_pipes < UPSTREAM_PIPES, "fewer connections to the upstream");
	if (spr_sp_adopt(&upstream->pipes[upstream->n_pipes], fd, SPR_SP_REP))
		upstream->n_pipes++;
}

static void *
run_upstream(void *arg)
{
	spr_upstream *upstream = arg;
	struct pollfd waiters[UPSTREAM_PIPES + 2];

	for (;;) {
		waiters[0] = (struct pollfd){.fd = upstream->wake, .events = POLLIN};
		waiters[1] = (struct pollfd){.fd = upstream->listener, .events = POLLIN};
		for (unsigned i = 0; i < upstream->n_pipes; i++)
			waiters[i + 2] =
			    (struct pollfd){.fd = upstream->pipes[i].fd, .events = POLLIN};
		(void)poll(waiters, upstream->n_pipes + 2, -1);
		if (waiters[0].revents != 0)
			return (NULL);
		for (unsigned i = upstream->n_pipes; i-- > 0;) {
			if (waiters[i + 2].revents == 0 ||
			    serve_pipe(upstream, &upstream->pipes[i]))
				continue;
			spr_sp_close(&upstream->pipes[i]);
			upstream->pipes[i] = upstream->pipes[--upstream->n_pipes];
		}
		if (waiters[1].revents != 0)
			accept_pipe(upstream);
	}
}

spr_upstream *
spr_upstream_start(const char *url, spr_inbox *answers, spr_inbox *heard)
{
	spr_upstream *upstream = calloc(1, sizeof(*upstream));

	check(upstream != NULL, "upstream");
	upstream->answers = answers;
	upstream->heard = heard;
	upstream->working = spr_inbox_new();
	upstream->listener = spr_sp_listen(url, upstream->url);
	check(upstream->listener >= 0, url);
	upstream->wake = eventfd(0, EFD_CLOEXEC);
	check(pthread_create(&upstream->thread, NULL, run_upstream, upstream) == 0,
	      "upstream thread");
	return (upstream);
}

const char *
spr_upstream_url(const spr_upstream *upstream)
{
	return (upstream->url);
}

spr_inbox *
spr_upstream_working(spr_upstream *upstream)
{
	return (upstream->working);
}

void
spr_upstream_behave(spr_upstream *upstream, spr_manner manner)
{
	atomic_store(&upstream->manner, manner);
}

void
spr_upstream_stop(spr_upstream *upstream)
{
	if (upstream == NULL)
		return;
	check(eventfd_write(upstream->wake, 1) == 0, "eventfd");
	pthread_join(upstream->thread, NULL);
	for (unsigned i = 0; i < upstream->n_pipes; i++)
		spr_sp_close(&upstream->pipes[i]);
	close(upstream->listener);
	close(upstream->wake);
	spr_inbox_free(upstream->working);
	free(upstream);
}
