/*
 * queue - spreader-queue as a process: with real dispatchers, with one that the test plays itself, killed at any instant, and
 * as a command.
 */
#include "flow.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spr_test.h"

#define QUEUE SPR_TEST_BUILD_DIR "/spreader-queue"
#define BODY  "{\"predicate\":\"UN.A\"}"

/* The queue that was started last. */
typedef struct running {
	flow *f;
	spr_proc *proc;
	cJSON *ready;
	unsigned n_starts;
	spr_sp submitter, answerer;
} running;

static running
queue_of(flow *f)
{
	return ((running){.f = f, .submitter = SPR_SP_CLOSED, .answerer = SPR_SP_CLOSED});
}

static const char *
address(running *r, const char *socket)
{
	return (
	    cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(
				   cJSON_GetObjectItemCaseSensitive(r->ready, "listening"), socket),
			       0)
		->valuestring);
}

static void
forget(running *r)
{
	spr_sp_close(&r->submitter);
	spr_sp_close(&r->answerer);
	cJSON_Delete(r->ready);
	r->ready = NULL;
}

/* On <dir>/q.db, answers at ipc://<dir>/answers, where a daemon may dial before it is there. */
static void
start(running *r, const char *const flags[])
{
	char store[96], ready[96], answers[96], name[32];
	const char *argv[32] = {QUEUE,
				"--store",
				store,
				"--ready-file",
				ready,
				"--submit-listen",
				"tcp://127.0.0.1:0",
				"--answer-listen",
				answers,
				"--control-listen",
				"tcp://127.0.0.1:0"};
	size_t n = 11;
	char *text = NULL;

	forget(r);
	snprintf(store, sizeof(store), "%s/q.db", r->f->dir);
	snprintf(ready, sizeof(ready), "%s/queue.json", r->f->dir);
	snprintf(answers, sizeof(answers), "ipc://%s/answers", r->f->dir);
	snprintf(name, sizeof(name), "queue-%u", ++r->n_starts);
	(void)unlink(ready);
	for (size_t i = 0; flags != NULL && flags[i] != NULL; i++)
		argv[n++] = flags[i];
	r->proc = spr_proc_start(r->f->dir, name, argv, NULL);
	if (!wait_until(access(ready, R_OK) == 0 || spr_proc_wait(r->proc, 0) != -1,
			(unsigned)spr_test_deadline_ms()) ||
	    access(ready, R_OK) != 0)
		fail_msg("the queue does not become ready: %s", spr_proc_err(r->proc));
	text = spr_read_file(ready); /* whole: it is renamed into place */
	r->ready = cJSON_Parse(text);
	free(text);
}

static void
end(running *r, int signal_number)
{
	spr_proc_signal(r->proc, signal_number);
	assert_int_equal(spr_proc_wait(r->proc, spr_test_deadline_ms()),
			 signal_number == SIGKILL ? 128 + SIGKILL : 0);
	forget(r);
}

static char *
ask_at(spr_sp *sp, const char *url, const char *text)
{
	char *reply = NULL;

	if (sp->fd < 0 && !spr_sp_dial(sp, url, SPR_SP_REQ))
		return (NULL);
	if ((reply = spr_sp_ask(sp, text, strlen(text), spr_test_deadline_ms())) == NULL)
		spr_sp_close(sp);
	return (reply);
}

static void
submit_as(running *r, const char *text, const char *expected)
{
	char *reply = ask_at(&r->submitter, address(r, "submit"), text);

	assert_non_null(reply);
	assert_string_equal(reply, expected);
	free(reply);
}

static void
answer(running *r, const char *text)
{
	char *reply = ask_at(&r->answerer, address(r, "answer"), text);

	assert_non_null(reply);
	assert_string_equal(reply, "{\"ok\":true}");
	free(reply);
}

static double
number(running *r, const char *name)
{
	spr_sp sp = SPR_SP_CLOSED;
	char *text = ask_at(&sp, address(r, "control"), "{\"op\":\"stats\"}");
	cJSON *stats = cJSON_Parse(text);
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(stats, name);
	double value = 0;

	if (!cJSON_IsNumber(item))
		fail_msg("no %s in %s", name, text != NULL ? text : "no stats");
	value = item->valuedouble;
	cJSON_Delete(stats);
	free(text);
	spr_sp_close(&sp);
	return (value);
}
#define expect_number(r, name, value) \
	assert_true(wait_until(number((r), (name)) == (value), (unsigned)spr_test_deadline_ms()))

/* Runs the queue's command to its end; its output is the caller's. */
static char *
command(running *r, int expected, const char *const argv[])
{
	char name[32];
	spr_proc *proc = NULL;
	int status = 0;

	snprintf(name, sizeof(name), "command-%u", ++r->n_starts);
	proc = spr_proc_start(r->f->dir, name, argv, NULL);
	status = spr_proc_wait(proc, spr_test_deadline_ms());
	if (status != expected)
		fail_msg("%s ended with %d: %s", argv[1], status, spr_proc_err(proc));
	return (spr_proc_out(proc));
}

static void
expect_output(running *r, const char *const argv[], int status, const char *text)
{
	char *out = command(r, status, argv);

	if (strstr(out, text) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", out, text);
	free(out);
}

/* --- with real dispatchers --- */

static void
start_dispatcher(flow *f, const char *const flags[])
{
	snprintf(f->upstream_url, sizeof(f->upstream_url), "ipc://%.40s/answers", f->dir);
	start_daemon(f, flags);
}

static void
test_end_to_end(void **state)
{
	enum { N = 2000 };
	flow *f = *state;
	running r = queue_of(f);
	char *text = NULL;
	size_t len = 0;
	FILE *documents = open_memstream(&text, &len);

	start_dispatcher(f, NULL);
	start(&r, FLAGS("--to", f->intake));
	subscribe(f, "UN.A", "http://a");
	start_worker(f);
	for (int i = 0; i < N; i++)
		fprintf(documents, "{\"body\":" BODY "}\n");
	fclose(documents);
	free(ask_at(&r.submitter, address(&r, "submit"), text));
	free(text);
	for (int i = 0; i < N; i++)
		expect_job(f, "http://a", BODY);
	expect_number(&r, "depth", 0);
	assert_true(number(&r, "acked_total") == N);

	/* what the daemon refuses for good is dead, with its reason; it can be tried again, or deleted */
	submit_as(&r, "{\"id\":\"bad\",\"body\":{\"x\":1}}", "{\"ok\":true,\"ids\":[\"bad\"]}");
	expect_number(&r, "dead", 1);
	expect_output(&r, FLAGS(QUEUE, "dead", "list", "--url", address(&r, "control")), 0,
		      "no_predicate: ");
	expect_output(&r, FLAGS(QUEUE, "dead", "requeue", "bad", "--url", address(&r, "control")),
		      0, "requeued 1\n");
	assert_true(wait_until(number(&r, "dead") == 1 && number(&r, "nacked_final_total") == 2,
			       (unsigned)spr_test_deadline_ms()));
	expect_output(&r, FLAGS(QUEUE, "dead", "purge", "all", "--url", address(&r, "control")), 0,
		      "purged 1\n");
	finish(f); /* while the queue is there to hear what copies are answered */
	end(&r, SIGTERM);
}

/* The queue is killed with everything in flight; the next one pushes it again, and the daemon knows the copies. */
static void
test_killed_in_flight(void **state)
{
	enum { N = 50 };
	flow *f = *state;
	running r = queue_of(f);
	char text[64];

	start_dispatcher(f, NULL);
	subscribe(f, "UN.A", "http://a");
	start(&r, FLAGS("--to", f->intake));
	for (int i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "{\"id\":\"%d\",\"body\":" BODY "}", i);
		free(ask_at(&r.submitter, address(&r, "submit"), text));
	}
	expect_stat(f, "spreader_notifications_received_total",
		    N); /* no worker: nothing is acked */
	end(&r, SIGKILL);
	start(&r, FLAGS("--to", f->intake));
	assert_true(number(&r, "depth") == N);
	start_worker(f);
	for (int i = 0; i < N; i++)
		expect_job(f, "http://a", BODY);
	expect_number(&r, "depth", 0);
	finish(f); /* while the queue is there to hear what copies are answered */
	end(&r, SIGTERM);
}

/* --- with a dispatcher that the test plays --- */

typedef struct dispatcher {
	int listener;
	char url[64];
	spr_sp sp;
} dispatcher;

static dispatcher
listen_as_dispatcher(void)
{
	dispatcher d = {.sp = SPR_SP_CLOSED};

	assert_true((d.listener = spr_sp_listen("tcp://127.0.0.1:0", d.url)) >= 0);
	return (d);
}

static void
accept_queue(dispatcher *d)
{
	struct pollfd fd = {.fd = d->listener, .events = POLLIN};

	spr_sp_close(&d->sp);
	assert_int_equal(poll(&fd, 1, spr_test_deadline_ms()), 1);
	assert_true(spr_sp_adopt(&d->sp, accept(d->listener, NULL, NULL), SPR_SP_PULL));
}

static void
hang_up(dispatcher *d)
{
	spr_sp_close(&d->sp);
	close(d->listener);
}

/* The next message, which the caller frees. */
static char *
pulled(dispatcher *d)
{
	const uint8_t *data;
	size_t len;

	assert_int_equal(spr_sp_recv(&d->sp, &data, &len, spr_test_deadline_ms()), SPR_SP_OK);
	return (strndup((const char *)data, len));
}

static void
expect_pulled(dispatcher *d, const char *text)
{
	char *got = pulled(d);

	assert_string_equal(got, text);
	free(got);
}

#define DOC(id) "{\"id\":\"" id "\",\"body\":{}}"

/* An answer that was accepted is on disk: a kill right after the reply changes nothing. */
static void
test_answers_are_on_disk(void **state)
{
	flow *f = *state;
	running r = queue_of(f);
	dispatcher d = listen_as_dispatcher();

	start(&r, FLAGS("--to", d.url));
	accept_queue(&d);
	submit_as(&r, DOC("a") DOC("b") DOC("c"), "{\"ok\":true,\"ids\":[\"a\",\"b\",\"c\"]}");
	expect_pulled(&d, DOC("a") "\n" DOC("b") "\n" DOC("c") "\n");
	answer(&r, "{\"ack\":[\"a\"],\"nack\":[{\"id\":\"b\",\"reason\":\"no_predicate\",\"retry\":"
		   "false}]}");
	end(&r, SIGKILL);
	start(&r, FLAGS("--to", d.url));
	accept_queue(&d);
	expect_pulled(&d, DOC("c") "\n"); /* and neither a nor b before it */
	assert_true(number(&r, "dead") == 1);
	assert_true(number(&r, "depth") == 1);
	submit_as(&r, DOC("a"), "{\"ok\":true,\"ids\":[\"a\"]}");
	assert_true(number(&r, "depth") == 1);
	end(&r, SIGTERM);
	hang_up(&d);
}

/* Whoever is not there, or does not answer: its notifications go to the other one. */
static void
test_two_dispatchers(void **state)
{
	flow *f = *state;
	running r = queue_of(f);
	dispatcher d[2] = {listen_as_dispatcher(), listen_as_dispatcher()};

	start(&r, FLAGS("--to", d[0].url, "--to", d[1].url, "--visibility-timeout", "100ms"));
	accept_queue(&d[0]);
	submit_as(&r, DOC("a"), "{\"ok\":true,\"ids\":[\"a\"]}");
	expect_pulled(&d[0], DOC("a") "\n");
	hang_up(&d[0]);
	accept_queue(&d[1]);
	expect_pulled(&d[1], DOC("a") "\n");
	expect_pulled(&d[1], DOC("a") "\n"); /* again and again */
	answer(&r, "{\"ack\":[\"a\"]}");
	expect_number(&r, "depth", 0);
	end(&r, SIGTERM);
	hang_up(&d[1]);
}

/* A thousand submits that come together cost a few commits. */
static void
test_group_commit(void **state)
{
	enum { N = 1000 };
	flow *f = *state;
	running r = queue_of(f);
	spr_sp sp = SPR_SP_CLOSED;
	const uint8_t *data;
	size_t len;
	uint8_t id[4] = {0x80};

	start(&r, NULL);
	assert_true(spr_sp_dial(&sp, address(&r, "submit"), SPR_SP_REQ));
	for (unsigned i = 0; i < N; i++) {
		id[2] = (uint8_t)(i >> 8);
		id[3] = (uint8_t)i;
		assert_int_equal(
		    spr_sp_send(&sp, id, 4, "{\"body\":{}}", 11, spr_test_deadline_ms()),
		    SPR_SP_OK);
	}
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(spr_sp_recv(&sp, &data, &len, spr_test_deadline_ms()), SPR_SP_OK);
		assert_true(len > 16 && memcmp(data + 4, "{\"ok\":true,", 11) == 0);
	}
	assert_true(number(&r, "depth") == N);
	assert_true(number(&r, "commits_total") <= N / 4);
	spr_sp_close(&sp);
	end(&r, SIGTERM);
}

/* --- killed at any instant --- */

enum { N_PRODUCERS = 4, ROUNDS = 6, IDS_MAX = 200000 };

typedef struct producer {
	pthread_t thread;
	const char *url;
	unsigned number;
	_Atomic unsigned n_ok; /* ids <number>-0 ... were answered ok */
	atomic_bool stop;
} producer;

static void *
produce(void *arg)
{
	producer *p = arg;
	spr_sp sp = SPR_SP_CLOSED;
	char text[64], *reply = NULL;

	while (!atomic_load(&p->stop)) {
		snprintf(text, sizeof(text), "{\"id\":\"%u-%u\",\"body\":{}}", p->number,
			 atomic_load(&p->n_ok));
		if ((reply = ask_at(&sp, p->url, text)) == NULL)
			break; /* killed: this one is submitted again in the next round */
		if (strncmp(reply, "{\"ok\":true", 10) == 0)
			atomic_fetch_add(&p->n_ok, 1);
		free(reply);
	}
	spr_sp_close(&sp);
	return (NULL);
}

/* Marks the ids of the message's envelopes. */
static void
mark(const char *message, bool *seen[N_PRODUCERS])
{
	static const char begin[] = "{\"id\":\"";
	unsigned p = 0, n = 0;

	for (const char *at = message; (at = strstr(at, begin)) != NULL; at += sizeof(begin) - 1) {
		assert_int_equal(sscanf(at + sizeof(begin) - 1, "%u-%u", &p, &n), 2);
		assert_true(p < N_PRODUCERS && n < IDS_MAX);
		seen[p][n] = true;
	}
}

static bool
has_all(bool *const seen[N_PRODUCERS], const producer producers[N_PRODUCERS])
{
	for (unsigned p = 0; p < N_PRODUCERS; p++) {
		for (unsigned n = 0; n < atomic_load(&producers[p].n_ok); n++) {
			if (!seen[p][n])
				return (false);
		}
	}
	return (true);
}

static void
test_killed_under_load(void **state)
{
	flow *f = *state;
	running r = queue_of(f);
	uint64_t random = spr_test_seed();
	producer producers[N_PRODUCERS] = {{.number = 0}};
	bool *seen[N_PRODUCERS];
	dispatcher d = listen_as_dispatcher();
	unsigned n_all = 0;
	char url[64];

	for (int round = 0; round < ROUNDS; round++) {
		unsigned enough = n_all + 1 + (unsigned)spr_test_below(&random, 400);

		start(&r, NULL);
		snprintf(url, sizeof(url), "%s", address(&r, "submit"));
		for (unsigned i = 0; i < N_PRODUCERS; i++) {
			producers[i].number = i;
			producers[i].url = url;
			assert_int_equal(
			    pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
		}
		do {
			n_all = 0;
			for (unsigned i = 0; i < N_PRODUCERS; i++)
				n_all += atomic_load(&producers[i].n_ok);
		} while (n_all < enough && spr_test_pause(spr_test_deadline_ns(60000)));
		end(&r, SIGKILL);
		for (unsigned i = 0; i < N_PRODUCERS; i++)
			pthread_join(producers[i].thread, NULL);
	}
	for (unsigned i = 0; i < N_PRODUCERS; i++)
		assert_non_null(seen[i] = calloc(IDS_MAX, 1));
	start(&r, FLAGS("--to", d.url));
	accept_queue(&d);
	while (!has_all(seen, producers)) {
		char *message = pulled(&d);

		mark(message, seen);
		free(message);
	}
	end(&r, SIGTERM);
	for (unsigned i = 0; i < N_PRODUCERS; i++)
		free(seen[i]);
	hang_up(&d);
}

/* --- the process --- */

static void
test_input(void **state)
{
	flow *f = *state;
	running r = queue_of(f);
	char path[96], shell[400], *text = NULL;
	FILE *file = NULL;

	snprintf(path, sizeof(path), "%s/in.ndjson", f->dir);
	assert_non_null(file = fopen(path, "w"));
	fputs(DOC("a") "\n\n[]\n" DOC("b") DOC("c") "\n" DOC("d") "\r\n{\"body\":", file);
	for (int i = 0; i < 300000; i++)
		fputc('x', file);
	fputs("\n" DOC("e"), file); /* no line's end */
	fclose(file);

	start(&r, NULL);
	text =
	    command(&r, 1, FLAGS(QUEUE, "submit", path, "--url", address(&r, "submit"), "--json"));
	assert_string_equal(text, "{\"taken\":3,\"refused\":3}\n");
	free(text);
	assert_true(number(&r, "depth") == 3);
	expect_output(&r, FLAGS(QUEUE, "submit", "/nonexistent", "--url", address(&r, "submit")), 1,
		      "");
	end(&r, SIGTERM);

	/* the queue's own standard input: it goes on when that has ended */
	snprintf(shell, sizeof(shell), "exec \"$@\" < %s", path);
	snprintf(path, sizeof(path), "%s/q2.db", f->dir);
	r.proc = spr_proc_start(f->dir, "input",
				FLAGS("sh", "-c", shell, "sh", QUEUE, "--stdin", "--store", path,
				      "--submit-listen", "tcp://127.0.0.1:0", "--answer-listen",
				      "tcp://127.0.0.1:0", "--control-listen", "none"),
				NULL);
	assert_true(wait_until(*(text = spr_proc_out(r.proc)) != '\0' || (free(text), false),
			       (unsigned)spr_test_deadline_ms()));
	assert_string_equal(text, "{\"taken\":3,\"refused\":3}\n");
	free(text);
	text = spr_proc_err(r.proc);
	assert_non_null(strstr(text, "line 3: no object\n"));
	assert_non_null(strstr(text, "line 4: more than one document\n"));
	assert_non_null(strstr(text, "line 6: "));
	free(text);
	end(&r, SIGTERM);
}

static void
test_starts(void **state)
{
	flow *f = *state;
	running r = queue_of(f);
	char store[96];

	start(&r, NULL);
	snprintf(store, sizeof(store), "%s/q.db", f->dir);
	free(command(&r, 73, FLAGS(QUEUE, "--store", store)));
	free(command(&r, 71,
		     FLAGS(QUEUE, "--store", ":memory:", "--submit-listen", address(&r, "submit"),
			   "--answer-listen", "tcp://127.0.0.1:0", "--control-listen", "none")));
	free(command(&r, 2, FLAGS(QUEUE, "--max-outstanding", "0")));
	free(command(&r, 78, FLAGS(QUEUE, "--control-listen", "tcp://0.0.0.0:0")));
	free(command(&r, 2, FLAGS(QUEUE, "--submit-listen", "none")));
	free(command(&r, 2, FLAGS(QUEUE, "--retry-longest", "10ms")));
	free(command(&r, 2, FLAGS(QUEUE, "--max-message", "1KiB")));
	free(command(&r, 2, FLAGS(QUEUE, "nonsense")));
	free(command(&r, 2, FLAGS(QUEUE, "dead", "list", "x")));
	free(command(&r, 2, FLAGS(QUEUE, "stats", "x")));
	free(command(&r, 69, FLAGS(QUEUE, "stats", "--url", "tcp://127.0.0.1:1")));
	free(command(&r, 1, FLAGS(QUEUE, "dead", "purge", "x", "--url", address(&r, "control"))));
	expect_output(&r, FLAGS(QUEUE, "stats", "--url", address(&r, "control")), 0,
		      "oldest_age_seconds  ");
	expect_output(&r, FLAGS(QUEUE, "version", "--url", address(&r, "control"), "--json"), 0,
		      "\"ok\":true");
	expect_output(&r, FLAGS(QUEUE, "help"), 0, "dead list | requeue ID|all | purge ID|all");
	expect_output(&r, FLAGS(QUEUE, "--help"), 0, "--visibility-timeout");
	expect_output(&r, FLAGS(QUEUE, "--version"), 0, "spreader-queue ");
	end(&r, SIGTERM);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_end_to_end),
	    flow_test(test_killed_in_flight),
	    flow_test(test_answers_are_on_disk),
	    flow_test(test_two_dispatchers),
	    flow_test(test_group_commit),
	    flow_test(test_killed_under_load),
	    flow_test(test_input),
	    flow_test(test_starts),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
