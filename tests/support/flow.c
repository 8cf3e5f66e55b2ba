/*
 * flow - the running daemon as a fixture. The daemon is a real process with real sockets; the test
 * sees it only through them, its ready file, its log and its exit status.
 */
#include "flow.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spreader/wire.h"

#define MAX_ARGUMENTS 64
#define POLL_MS       5

/* Written by the test before the thread starts; the thread's until it is joined. */
struct flow_pusher {
	pthread_t thread;
	spr_sp sp;
	const char *prefix;
	const char *body;
	unsigned n;
	unsigned n_pushed;
};

static void *
run_pusher(void *arg)
{
	struct flow_pusher *pusher = arg;
	char *text;
	int len;

	for (; pusher->n_pushed < pusher->n; pusher->n_pushed++) {
		len = asprintf(&text, "{\"id\":\"%s%u\",\"body\":%s}", pusher->prefix,
			       pusher->n_pushed, pusher->body);
		if (len < 0 || spr_sp_send(&pusher->sp, NULL, 0, text, (size_t)len,
					   spr_test_deadline_ms()) != SPR_SP_OK) {
			free(text);
			break;
		}
		free(text);
	}
	return (NULL);
}

/* How many it pushed. */
static unsigned
end_pusher(flow *f)
{
	struct flow_pusher *pusher = f->pusher;
	unsigned n_pushed;

	f->pusher = NULL;
	pthread_join(pusher->thread, NULL);
	n_pushed = pusher->n_pushed;
	spr_sp_close(&pusher->sp);
	free(pusher);
	return (n_pushed);
}

int
flow_setup(void **state)
{
	flow *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return (-1);
	strcpy(f->dir, "/tmp/spreader-test-XXXXXX");
	if (mkdtemp(f->dir) == NULL)
		return (-1);
	f->jobs = spr_inbox_new();
	f->answers = spr_inbox_new();
	f->heard = spr_inbox_new();
	f->producer = f->controller = SPR_SP_CLOSED;
	f->upstream_port = -1;
	*state = f;
	return (0);
}

static void
forget_daemon(flow *f)
{
	spr_sp_close(&f->producer);
	spr_sp_close(&f->controller);
	for (unsigned i = 0; i < f->n_workers; i++)
		spr_worker_stop(f->workers[i]);
	f->n_workers = 0;
	cJSON_Delete(f->ready);
	f->ready = NULL;
	f->daemon = NULL;
}

int
flow_teardown(void **state)
{
	flow *f = *state;

	spr_proc_end_all();
	if (f->pusher != NULL) /* the daemon is gone, so its send fails */
		(void)end_pusher(f);
	forget_daemon(f);
	spr_upstream_stop(f->upstream);
	if (f->upstream_port >= 0)
		close(f->upstream_port);
	spr_inbox_free(f->jobs);
	spr_inbox_free(f->answers);
	spr_inbox_free(f->heard);
	spr_remove_tree(f->dir);
	free(f);
	return (0);
}

/* What a reader of a failed test wants to see before the message. */
static void
print_evidence(flow *f)
{
	char *log = f->daemon != NULL ? spr_proc_err(f->daemon) : NULL;
	size_t len = log != NULL ? strlen(log) : 0;

	spr_inbox_print(f->jobs, "jobs not taken");
	spr_inbox_print(f->answers, "answers not taken");
	spr_inbox_print(f->heard, "answer requests heard");
	if (log != NULL)
		fprintf(stderr, "end of the daemon's log:\n%s\n",
			len > 3000 ? log + len - 3000 : log);
	free(log);
}

#define fail_with(f, ...)              \
	do {                           \
		print_evidence(f);     \
		fail_msg(__VA_ARGS__); \
	} while (0)

/* daemon
 * -----------------------------------------------------------------------------------------------------------
 */

void
start_upstream(flow *f)
{
	if (f->upstream_port < 0)
		f->upstream_port = spr_sp_reserve(f->upstream_url);
	f->upstream = spr_upstream_start(f->upstream_url, f->answers, f->heard);
}

void
stop_upstream(flow *f)
{
	spr_upstream_stop(f->upstream);
	f->upstream = NULL;
}

static spr_proc *
launch(flow *f, const char *const flags[])
{
	/* a checker may be put before it: SPR_TEST_DAEMON_UNDER="valgrind --quiet" */
	const char *argv[MAX_ARGUMENTS] = {"sh", "-c", "exec $SPR_TEST_DAEMON_UNDER \"$@\"", "sh",
					   SPR_TEST_BUILD_DIR "/spreaderd"};
	char store[96], ready[96], name[32];
	size_t n = 5;
	const char *common[] = {"--intake-listen",  "tcp://127.0.0.1:0",
				"--outbox-listen",  "tcp://127.0.0.1:0",
				"--control-listen", "tcp://127.0.0.1:0",
				"--http-listen",    "127.0.0.1:0",
				"--store",          store,
				"--ready-file",     ready};

	snprintf(store, sizeof(store), "%s/s.db", f->dir);
	snprintf(ready, sizeof(ready), "%s/ready.json", f->dir);
	snprintf(name, sizeof(name), "spreaderd-%u", ++f->n_starts);
	unlink(ready);
	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		argv[n++] = common[i];
	if (f->upstream_url[0] != '\0') {
		argv[n++] = "--ack-dial";
		argv[n++] = f->upstream_url;
	}
	for (size_t i = 0; flags != NULL && flags[i] != NULL; i++) {
		assert_true(n < MAX_ARGUMENTS - 1);
		argv[n++] = flags[i];
	}
	return (spr_proc_start(f->dir, name, argv, NULL));
}

const char *
listening(flow *f, const char *socket, int n)
{
	const cJSON *urls = cJSON_GetObjectItemCaseSensitive(
	    cJSON_GetObjectItemCaseSensitive(f->ready, "listening"), socket);
	const cJSON *url = cJSON_GetArrayItem(urls, n);

	if (!cJSON_IsString(url))
		fail_with(f, "the ready file has no listening.%s[%d]", socket, n);
	return (url->valuestring);
}

void
start_daemon(flow *f, const char *const flags[])
{
	char path[96];
	char *text = NULL;
	long deadline = spr_test_now_ms() + spr_test_deadline_ms();

	forget_daemon(f);
	f->daemon = launch(f, flags);
	snprintf(path, sizeof(path), "%s/ready.json", f->dir);
	while ((text = spr_read_file(path)) == NULL) {
		if (spr_proc_wait(f->daemon, POLL_MS) != -1)
			fail_with(f, "the daemon ended with %d instead of becoming ready",
				  spr_proc_wait(f->daemon, 0));
		if (spr_test_now_ms() > deadline)
			fail_with(f, "the daemon does not become ready");
	}
	f->ready = cJSON_Parse(text); /* whole: it is renamed into place */
	free(text);
	f->intake = listening(f, "intake", 0);
	f->outbox = listening(f, "outbox", 0);
	f->control = listening(f, "control", 0);
}

int
run_daemon(flow *f, const char *const flags[])
{
	int status;

	forget_daemon(f);
	f->daemon = launch(f, flags);
	status = spr_proc_wait(f->daemon, spr_test_deadline_ms());
	if (status == -1)
		fail_with(f, "the daemon does not end");
	return (status);
}

void
stop_daemon(flow *f, int expected)
{
	int status;

	spr_proc_signal(f->daemon, SIGTERM);
	status = spr_proc_wait(f->daemon, spr_test_deadline_ms());
	if (status != expected)
		fail_with(f, "after TERM the daemon ended with %d, not %d", status, expected);
}

char *
daemon_log(flow *f)
{
	return (spr_proc_err(f->daemon));
}

spr_worker *
start_limited_worker(flow *f, size_t limit)
{
	spr_worker *worker = spr_worker_start(f->outbox, f->jobs, limit);

	if (worker == NULL)
		fail_with(f, "a worker cannot connect to %s", f->outbox);
	assert_true(f->n_workers < FLOW_WORKERS);
	f->workers[f->n_workers++] = worker;
	return (worker);
}

spr_worker *
start_worker(flow *f)
{
	return (start_limited_worker(f, SIZE_MAX));
}

/* control
 * ----------------------------------------------------------------------------------------------------------
 */

cJSON *
ask(flow *f, const char *request)
{
	char *text = NULL;
	cJSON *reply = NULL;

	if (f->controller.fd < 0 && !spr_sp_dial(&f->controller, f->control, SPR_SP_REQ))
		fail_with(f, "cannot connect to control");
	text = spr_sp_ask(&f->controller, request, strlen(request), spr_test_deadline_ms());
	if (text == NULL)
		fail_with(f, "no reply to %.200s", request);
	reply = cJSON_Parse(text);
	if (!cJSON_IsBool(cJSON_GetObjectItemCaseSensitive(reply, "ok")))
		fail_with(f, "reply to %.200s is %.200s", request, text);
	free(text);
	return (reply);
}

cJSON *
ask_ok(flow *f, const char *request)
{
	cJSON *reply = ask(f, request);
	char *text;

	if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok"))) {
		text = cJSON_PrintUnformatted(reply);
		fail_with(f, "reply to %.200s is %.400s", request, text);
	}
	return (reply);
}

void
expect_refused(flow *f, const char *request, const char *code)
{
	cJSON *reply = ask(f, request);
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(reply, "error");
	const cJSON *got = cJSON_GetObjectItemCaseSensitive(error, "code");

	if (!cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(reply, "ok")) || !cJSON_IsString(got) ||
	    !cJSON_IsString(cJSON_GetObjectItemCaseSensitive(error, "detail")))
		fail_with(f, "%.200s is not refused, or without code and detail", request);
	assert_string_equal(got->valuestring, code);
	cJSON_Delete(reply);
}

static void
change(flow *f, const char *op, const char *pattern, const char *callback)
{
	cJSON *request = cJSON_CreateObject();
	char *text;

	cJSON_AddStringToObject(request, "op", op);
	cJSON_AddStringToObject(request, "pattern", pattern);
	cJSON_AddStringToObject(request, "callback", callback);
	text = cJSON_PrintUnformatted(request);
	cJSON_Delete(ask_ok(f, text));
	cJSON_free(text);
	cJSON_Delete(request);
}

void
subscribe(flow *f, const char *pattern, const char *callback)
{
	change(f, "subscribe", pattern, callback);
}

void
unsubscribe(flow *f, const char *pattern, const char *callback)
{
	change(f, "unsubscribe", pattern, callback);
}

void
subscribe_many(flow *f, const char *pattern, unsigned n)
{
	for (unsigned done = 0; done < n;) {
		char *text = NULL;
		size_t size = 0;
		FILE *request = open_memstream(&text, &size);

		fputs("{\"op\":\"import\",\"subscriptions\":[", request);
		for (unsigned i = 0; i < 10000 && done < n; i++, done++)
			fprintf(request,
				"%s{\"pattern\":\"%s\",\"callback\":\"http://callback/%u\"}",
				i == 0 ? "" : ",", pattern, done);
		fputs("]}", request);
		fclose(request);
		cJSON_Delete(ask_ok(f, text));
		free(text);
	}
}

double
stat_of(flow *f, const char *name)
{
	cJSON *reply = ask_ok(f, "{\"op\":\"stats\"}");
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(reply, name);
	double number;

	/* flat, but whether beside "ok" or in an object of its own is control's business */
	if (value == NULL)
		value = cJSON_GetObjectItemCaseSensitive(
		    cJSON_GetObjectItemCaseSensitive(reply, "stats"), name);
	if (!cJSON_IsNumber(value))
		fail_with(f, "stats has no number %s", name);
	number = value->valuedouble;
	cJSON_Delete(reply);
	return (number);
}

void
expect_stat(flow *f, const char *name, double n)
{
	long deadline = spr_test_now_ms() + spr_test_deadline_ms();
	double value;

	while ((value = stat_of(f, name)) < n) {
		if (spr_test_now_ms() > deadline)
			fail_with(f, "%s is %.0f, not %.0f", name, value, n);
		(void)poll(NULL, 0, POLL_MS);
	}
}

/* notifications, jobs, answers
 * ------------------------------------------------------------------------------------- */

void
push_bytes(flow *f, const void *data, size_t len)
{
	if (f->producer.fd < 0 && !spr_sp_dial(&f->producer, f->intake, SPR_SP_PUSH))
		fail_with(f, "cannot connect to the intake");
	if (spr_sp_send(&f->producer, NULL, 0, data, len, spr_test_deadline_ms()) != SPR_SP_OK)
		fail_with(f, "the intake does not take a message of %zu bytes", len);
}

void
push_text(flow *f, const char *text)
{
	push_bytes(f, text, strlen(text));
}

void
push_envelope(flow *f, const char *id, const char *body)
{
	char *text;

	assert_true(asprintf(&text, "{\"id\":\"%s\",\"body\":%s}", id, body) > 0);
	push_text(f, text);
	free(text);
}

void
push_many_start(flow *f, const char *prefix, unsigned n, const char *body)
{
	struct flow_pusher *pusher = calloc(1, sizeof(*pusher));

	assert_non_null(pusher);
	*pusher = (struct flow_pusher){.prefix = prefix, .body = body, .n = n};
	if (!spr_sp_dial(&pusher->sp, f->intake, SPR_SP_PUSH))
		fail_with(f, "cannot connect to the intake");
	assert_int_equal(pthread_create(&pusher->thread, NULL, run_pusher, pusher), 0);
	f->pusher = pusher;
}

void
push_many_join(flow *f)
{
	unsigned n = f->pusher->n;

	assert_int_equal(end_pusher(f), n);
}

void
expect_job(flow *f, const char *callback, const char *payload)
{
	char *text;

	assert_true(asprintf(&text, "{\"s\":\"%s\",\"payload\":%s}", callback, payload) > 0);
	if (!spr_inbox_take(f->jobs, text, spr_test_deadline_ms()))
		fail_with(f, "this job does not come: %s", text);
	free(text);
}

static int
compare_texts(const void *a, const void *b)
{
	return (strcmp(*(char *const *)a, *(char *const *)b));
}

void
expect_many_jobs(flow *f, unsigned n, const char *payload)
{
	char **expected = calloc(n, sizeof(*expected));
	char **got;
	size_t n_got;

	if (!spr_inbox_wait(f->jobs, n, spr_test_deadline_ms()))
		fail_with(f, "%zu jobs come, not %u", spr_inbox_count(f->jobs), n);
	got = spr_inbox_take_all(f->jobs, &n_got);
	assert_int_equal(n_got, n);
	for (unsigned i = 0; i < n; i++)
		assert_true(asprintf(&expected[i], "{\"s\":\"http://callback/%u\",\"payload\":%s}",
				     i, payload) > 0);
	qsort(expected, n, sizeof(*expected), compare_texts);
	for (unsigned i = 0; i < n; i++) {
		assert_string_equal(got[i], expected[i]);
		free(got[i]);
		free(expected[i]);
	}
	free(got);
	free(expected);
}

static void
expect_answer(flow *f, const char *answer)
{
	if (!spr_inbox_take(f->answers, answer, spr_test_deadline_ms()))
		fail_with(f, "this answer does not come: %s", answer);
}

void
expect_ack(flow *f, const char *id)
{
	char answer[512];

	snprintf(answer, sizeof(answer), "ack %s", id);
	expect_answer(f, answer);
}

void
expect_many_acks(flow *f, const char *prefix, unsigned n)
{
	char id[64];

	for (unsigned i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "%s%u", prefix, i);
		expect_ack(f, id);
	}
}

void
expect_nack(flow *f, const char *id, const char *reason)
{
	static const struct {
		const char *code;
		bool is_retry;
	} reasons[] = {
#define X(name, code, retry, detail) {code, retry},
	    SPREADER_REASONS(X)
#undef X
	};
	char answer[512];
	size_t i = 0;

	while (strcmp(reasons[i].code, reason) != 0)
		i++;
	snprintf(answer, sizeof(answer), "nack %s %s %s", id, reason,
		 reasons[i].is_retry ? "true" : "false");
	expect_answer(f, answer);
}

void
finish(flow *f)
{
	stop_daemon(f, 0);
	for (unsigned i = 0; i < f->n_workers; i++)
		if (!spr_worker_wait_gone(f->workers[i], spr_test_deadline_ms()))
			fail_with(f, "a worker's connection outlives the daemon");
	if (spr_inbox_count(f->jobs) != 0)
		fail_with(f, "%zu jobs came that nobody expected", spr_inbox_count(f->jobs));
	if (spr_inbox_count(f->answers) != 0)
		fail_with(f, "%zu answers came that nobody expected", spr_inbox_count(f->answers));
}
