/*
 * ctl_run - runs the built spreaderctl against a server of the test's own that speaks raw SP, and keeps what it asked, what it
 * printed and how it ended.
 */
#pragma once

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proc.h"
#include "sp_raw.h"
#include "spr_test.h"

#define PROGRAM    SPR_TEST_BUILD_DIR "/spreaderctl"
#define PATIENCE   "--timeout=60s" /* for a loaded machine; a later flag wins over it */
#define REMEDY     "or name its control address with --url or SPREADER_CONTROL_URL\n"
#define MANY       4  /* requests of one run, at most, that a test looks at */
#define SILENCE    "" /* as a reply: take the request and say nothing */
#define HANG_UP    "!"
#define ARGS(...)  ((const char *const[]){__VA_ARGS__, NULL})
#define OK_CREATED "{\"ok\":true,\"created\":true,\"expires_at\":\"2026-11-29T00:00:00Z\"}"

/* --- the server ---------------------------------------------------------------------------------- */

typedef struct server {
	int fd;
	char url[64];
	const char *const *replies;
	pthread_t thread;
	/* written by the thread; read after joining it */
	char *requests[MANY];
	unsigned n;
} server;

/* One connection: answers each request by the next reply. */
static inline void
serve(server *s, spr_sp *sp)
{
	const uint8_t *data = NULL;
	size_t len = 0;

	while (spr_sp_recv(sp, &data, &len, spr_test_deadline_ms()) == SPR_SP_OK && len >= 4 &&
	       s->n < MANY) {
		uint8_t id[4];
		const char *reply = s->replies[s->n];

		memcpy(id, data, sizeof(id));
		s->requests[s->n++] = strndup((const char *)data + 4, len - 4);
		if (reply == NULL || strcmp(reply, HANG_UP) == 0)
			return;
		if (strcmp(reply, SILENCE) != 0)
			spr_sp_send(sp, id, sizeof(id), reply, strlen(reply),
				    spr_test_deadline_ms());
	}
}

static inline void *
server_main(void *arg)
{
	server *s = arg;
	spr_sp sp = SPR_SP_CLOSED;
	int fd = accept(s->fd, NULL, NULL);

	/* the listening socket is shut down when the program has ended without a call */
	if (fd >= 0 && spr_sp_adopt(&sp, fd, SPR_SP_REP))
		serve(s, &sp);
	spr_sp_close(&sp);
	return (NULL);
}

/* --- one run ------------------------------------------------------------------------------------- */

typedef struct run {
	char *dir;
	server server;
	int code;
	char *out, *err;
} run;

static inline void
start_server(run *r, const char *const replies[])
{
	r->dir = spr_test_tmpdir();
	r->server.replies = replies;
	r->server.fd = spr_sp_listen("tcp://127.0.0.1:0", r->server.url);
	assert_true(r->server.fd >= 0);
	assert_int_equal(pthread_create(&r->server.thread, NULL, server_main, &r->server), 0);
}

static inline void
finish(run *r, const char *const argv[], const char *url)
{
	char variable[128], tsan[1024];
	const char *const env[] = {variable, tsan, NULL};
	const char *options = getenv("TSAN_OPTIONS");
	spr_proc *proc = NULL;

	snprintf(variable, sizeof(variable), "SPREADER_CONTROL_URL=%s", url);
	/* by default a program under ThreadSanitizer sleeps a second when it ends */
	snprintf(tsan, sizeof(tsan), "TSAN_OPTIONS=%s:atexit_sleep_ms=0",
		 options != NULL ? options : "");
	proc = spr_proc_start(r->dir, "ctl", argv, env);
	assert_non_null(proc);
	r->code = spr_proc_wait(proc, spr_test_deadline_ms());
	r->out = spr_proc_out(proc);
	r->err = spr_proc_err(proc);
	if (r->server.fd > 0) {
		shutdown(r->server.fd, SHUT_RDWR);
		pthread_join(r->server.thread, NULL);
		close(r->server.fd);
	}
}

/* Runs the program with these arguments against these replies. */
static inline void
call(run *r, const char *const arguments[], const char *const replies[])
{
	const char *argv[16] = {PROGRAM, PATIENCE};
	unsigned n = 2;

	memset(r, 0, sizeof(*r));
	start_server(r, replies);
	for (; arguments[n - 2] != NULL; n++)
		argv[n] = arguments[n - 2];
	finish(r, argv, r->server.url);
}

static inline void
end(run *r)
{
	for (unsigned i = 0; i < r->server.n; i++)
		free(r->server.requests[i]);
	free(r->out);
	free(r->err);
	spr_proc_end_all();
	spr_test_cleanup(r->dir);
}

static inline void
expect(const run *r, int code, const char *out, const char *err)
{
	assert_string_equal(r->err, err);
	assert_string_equal(r->out, out);
	assert_int_equal(r->code, code);
}

/* err with the first @ replaced by the server's URL. */
static inline void
expect_error(const run *r, int code, const char *err)
{
	const char *at = strchr(err, '@');
	char text[512];

	assert_non_null(at);
	snprintf(text, sizeof(text), "spreaderctl: %.*s%s%s", (int)(at - err), err, r->server.url,
		 at + 1);
	expect(r, code, "", text);
}
