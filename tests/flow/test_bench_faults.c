/*
 * bench_faults - what spreader-bench says of a daemon that does one thing wrong. The daemon is played here: it takes a
 * subscription, turns each notification into a job, waits for the receipt and acks, and errs once.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench_run.h"
#include "sp_raw.h"

#define COUNT    20
#define FAULTY   7  /* the notification with which it errs */
#define MARK_LEN 34 /* of an id: run, number, time */
#define CALLBACK "http://worker.bench.example/callback/"
#define JOB_ID   "boot-0123456789abcdef0123456789abcdef"

typedef enum fault {
	NONE,
	EARLY, /* the ack goes before the job */
	NACK,
	SILENT,   /* no answer */
	AGAIN,    /* the ack twice, as when its reply was lost */
	STRANGER, /* a job for a callback that nobody has subscribed */
	FOREIGN,  /* an ack of another run */
} fault;

typedef struct fake {
	fault what;
	int control, receipts, out, in;
	char flags[4][96], ack[128], ack_url[96];
	pthread_t thread;
	spr_sp receipts_sp, out_sp, in_sp, ack_sp;
} fake;

static void
adopt(spr_sp *sp, int listener, spr_sp_protocol mine)
{
	int fd = accept(listener, NULL, NULL);

	*sp = SPR_SP_CLOSED;
	if (fd >= 0)
		(void)spr_sp_adopt(sp, fd, mine);
}

/* One request, answered ok: the import. */
static void
serve_control(fake *f)
{
	const uint8_t *data;
	size_t len;
	spr_sp sp;

	adopt(&sp, f->control, SPR_SP_REP);
	if (sp.fd >= 0 && spr_sp_recv(&sp, &data, &len, spr_test_deadline_ms()) == SPR_SP_OK)
		spr_sp_send(&sp, data, 4, "{\"ok\":true}", strlen("{\"ok\":true}"),
			    spr_test_deadline_ms());
	spr_sp_close(&sp);
}

static void
answer(fake *f, const char *before, const char *id, const char *behind)
{
	char text[512];

	snprintf(text, sizeof(text), "{\"instance\":\"boot\",%s%s%s", before, id, behind);
	free(spr_sp_ask(&f->ack_sp, text, strlen(text), spr_test_deadline_ms()));
}

static void
ack(fake *f, const char *id)
{
	answer(f, "\"ack\":[\"", id, "\"]}");
}

/* The job of a document, and its receipt awaited. */
static void
do_job(fake *f, const char *document, const char *callback)
{
	const char *body = strstr(document, "\"body\":") + strlen("\"body\":");
	const uint8_t *data;
	char job[1024];
	size_t len;

	snprintf(job, sizeof(job),
		 "{\"id\":\"" JOB_ID "\",\"s\":\"" CALLBACK "%s\",\"payload\":%.*s}", callback,
		 (int)strlen(body) - 1, body);
	spr_sp_send(&f->out_sp, NULL, 0, job, strlen(job), spr_test_deadline_ms());
	if (spr_sp_recv(&f->receipts_sp, &data, &len, spr_test_deadline_ms()) != SPR_SP_OK ||
	    len != strlen("{\"id\":\"" JOB_ID "\"}\n"))
		printf("no receipt\n");
}

static void
take(fake *f, const char *document, fault what)
{
	char id[MARK_LEN + 1] = "";

	memcpy(id, document + strlen("{\"id\":\""), MARK_LEN);
	if (what == EARLY)
		ack(f, id);
	do_job(f, document, what == STRANGER ? "00000001" : "00000000");
	if (what == NACK)
		answer(f, "\"nack\":[{\"id\":\"", id,
		       "\",\"reason\":\"overload\",\"retry\":true}]}");
	if (what == FOREIGN)
		ack(f, "00000000-00000007-0000000000000000");
	for (int i = what == AGAIN ? -1 : 0;
	     what != EARLY && what != NACK && what != SILENT && i < 1; i++)
		ack(f, id);
}

static void *
run(void *arg)
{
	fake *f = arg;
	const uint8_t *data;
	char document[1024];
	size_t len;

	serve_control(f);
	adopt(&f->receipts_sp, f->receipts, SPR_SP_PULL);
	adopt(&f->out_sp, f->out, SPR_SP_PUSH);
	adopt(&f->in_sp, f->in, SPR_SP_PULL);
	if (!spr_sp_dial(&f->ack_sp, f->ack_url, SPR_SP_REQ))
		return (NULL);
	for (int n = 0; spr_sp_recv(&f->in_sp, &data, &len, spr_test_deadline_ms()) == SPR_SP_OK;
	     n++) {
		snprintf(document, sizeof(document), "%.*s", (int)len, (const char *)data);
		take(f, document, n == FAULTY ? f->what : NONE);
	}
	return (NULL);
}

static int
listen_for(char *flag, const char *name)
{
	char url[64];
	int fd = spr_sp_listen("tcp://127.0.0.1:0", url);

	assert_true(fd >= 0);
	snprintf(flag, 96, "--%s=%s", name, url);
	return (fd);
}

/* What it says of a daemon that errs so. */
static void
against(bench_run *r, fault what)
{
	char *dir = spr_test_tmpdir();
	fake f = {.what = what,
		  .receipts_sp = SPR_SP_CLOSED,
		  .out_sp = SPR_SP_CLOSED,
		  .in_sp = SPR_SP_CLOSED,
		  .ack_sp = SPR_SP_CLOSED};
	bool is_short = what == SILENT || what == NACK || what == STRANGER;

	f.control = listen_for(f.flags[0], "control-url");
	f.receipts = listen_for(f.flags[1], "receipts");
	f.out = listen_for(f.flags[2], "out");
	f.in = listen_for(f.flags[3], "in");
	snprintf(f.ack_url, sizeof(f.ack_url), "ipc://%s/ack", dir);
	snprintf(f.ack, sizeof(f.ack), "--ack=%s", f.ack_url);
	assert_int_equal(pthread_create(&f.thread, NULL, run, &f), 0);
	start(r, ARGS(f.flags[0], f.flags[1], f.flags[2], f.flags[3], f.ack, "--confirm=receipt",
		      "--count=20", is_short ? "--patience=1s" : "--patience=1m"));
	join(r);
	for (int i = 0; i < 4; i++)
		shutdown((int[]){f.control, f.receipts, f.out, f.in}[i], SHUT_RDWR);
	pthread_join(f.thread, NULL);
	spr_sp_close(&f.receipts_sp);
	spr_sp_close(&f.out_sp);
	spr_sp_close(&f.in_sp);
	spr_sp_close(&f.ack_sp);
	for (int i = 0; i < 4; i++)
		close((int[]){f.control, f.receipts, f.out, f.in}[i]);
	spr_test_cleanup(dir);
}

static const char *const checks[] = {"jobs_missing", "jobs_foreign", "acks_missing",
				     "acks_early",   "nacks",        "acks_told_again",
				     "jobs_twice"};

#define N_CHECKS (sizeof(checks) / sizeof(checks[0]))

static void
test_faults(void **state)
{
	/* an ack that should not have come is early: of the job that went to a stranger none came */
	static const struct {
		fault what;
		int code;
		double found[N_CHECKS];
	} rows[] = {
	    {NONE, 0, {0}},         {EARLY, 1, {0, 0, 0, 1}},       {NACK, 1, {0, 0, 1, 0, 1}},
	    {SILENT, 1, {0, 0, 1}}, {AGAIN, 0, {0, 0, 0, 0, 0, 1}}, {STRANGER, 1, {1, 1, 0, 1}},
	    {FOREIGN, 0, {0}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bench_run r;

		against(&r, rows[i].what);
		assert_int_equal(r.code, rows[i].code);
		for (size_t c = 0; c < N_CHECKS; c++) {
			double found = number_of(&r, "checks", checks[c]);

			if (found != rows[i].found[c])
				fail_msg("fault %zu: %s is %g", i, checks[c], found);
		}
		end(&r);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_faults),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
