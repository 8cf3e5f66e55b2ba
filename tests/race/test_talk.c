/*
 * test_talk - one REQ and two REPs of ours, one of which is closed and opened again all the time: every request ends once,
 * and a reply is the reply to its request. Replies are made inside of the callback and by another thread.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#include "base/clock.h"
#include "net/net.h"

#define WINDOW   8
#define FACES    2
#define RUN_MS   1500
#define LIMIT_MS 20000

static const spr_transport *const transport = &spr_transport_nng;

/* A reply that is owed. */
typedef struct owed {
	unsigned number;
	uint64_t what;
} owed;

typedef struct face {
	spr_rep *rep;
	char url[SPR_URL_MAX];
	pthread_t owner;
	atomic_bool is_over;
	atomic_uint n_requests;
	pthread_mutex_t lock; /* guards what is owed */
	owed owed[WINDOW];
	unsigned n_owed;
} face;

typedef struct scene {
	spr_req *req;
	face face[FACES];
	uint64_t asked[WINDOW]; /* by the sender, before the send; read in on_reply (E6) */
	atomic_bool is_out[WINDOW];
	atomic_uint n_ok, n_closed, n_other, n_bad;
} scene;

static void
on_reply(void *arg, unsigned slot, spr_err result, const uint8_t *data, size_t len)
{
	scene *s = arg;

	if (result == SPR_OK &&
	    (len != sizeof(uint64_t) || memcmp(data, &s->asked[slot], len) != 0))
		atomic_fetch_add(&s->n_bad, 1);
	if (!atomic_exchange(&s->is_out[slot], false))
		atomic_fetch_add(&s->n_bad, 1); /* ended twice */
	atomic_fetch_add(result == SPR_OK         ? &s->n_ok
			 : result == SPR_E_CLOSED ? &s->n_closed
						  : &s->n_other,
			 1);
}

static void
on_request(void *arg, unsigned number, const uint8_t *data, size_t len)
{
	face *f = arg;
	uint64_t what = 0;

	memcpy(&what, data, len < sizeof(what) ? len : sizeof(what));
	atomic_fetch_add(&f->n_requests, 1);
	if (what % 2 == 0) {
		transport->rep_reply(f->rep, number, &what, sizeof(what));
		return;
	}
	pthread_mutex_lock(&f->lock);
	f->owed[f->n_owed++] = (owed){.number = number, .what = what};
	pthread_mutex_unlock(&f->lock);
}

static bool
take_owed(face *f, owed *out)
{
	bool has_any;

	pthread_mutex_lock(&f->lock);
	if ((has_any = f->n_owed > 0))
		*out = f->owed[--f->n_owed];
	pthread_mutex_unlock(&f->lock);
	return (has_any);
}

static void *
play_owner(void *arg)
{
	face *f = arg;
	owed one;

	for (;;) {
		bool is_over = atomic_load(&f->is_over); /* before the last look */

		if (take_owed(f, &one))
			transport->rep_reply(f->rep, one.number, &one.what, sizeof(one.what));
		else if (is_over)
			return (NULL);
		else
			sched_yield();
	}
}

static void
open_face(face *f)
{
	const spr_rep_config config = {
	    .window = WINDOW, .max_request = 100, .on_request = on_request, .arg = f};
	char bound[SPR_URL_MAX];

	atomic_store(&f->is_over, false);
	f->n_owed = 0;
	assert_ok(transport->rep_open(&f->rep, &config));
	assert_ok(transport->rep_listen(f->rep, f->url, bound));
	snprintf(f->url, sizeof(f->url), "%s", bound);
	assert_int_equal(pthread_create(&f->owner, NULL, play_owner, f), 0);
	transport->rep_start(f->rep);
}

/* Requests are owed, and replied behind the stop. */
static void
close_face(face *f)
{
	transport->rep_stop(f->rep);
	atomic_store(&f->is_over, true);
	pthread_join(f->owner, NULL);
	transport->rep_close(f->rep);
}

/* Fills the window again and again. */
static void *
play_sender(void *arg)
{
	scene *s = arg;
	uint64_t deadline_ns = spr_clock_now_ns() + RUN_MS * SPR_NS_PER_MS;

	for (uint64_t n = 0; spr_clock_now_ns() < deadline_ns;) {
		for (unsigned slot = 0; slot < WINDOW; slot++) {
			if (atomic_load(&s->is_out[slot]))
				continue;
			s->asked[slot] = ++n;
			atomic_store(&s->is_out[slot], true);
			if (transport->req_send(s->req, slot, &s->asked[slot],
						sizeof(s->asked[slot])) != SPR_OK)
				atomic_store(&s->is_out[slot], false);
		}
		sched_yield();
	}
	return (NULL);
}

static void
test_a_face_that_comes_and_goes(void **state)
{
	scene *s = calloc(1, sizeof(*s));
	char *dir = spr_test_tmpdir();
	const spr_req_config config = {.window = WINDOW,
				       .timeout_ms = LIMIT_MS,
				       .max_reply = 100,
				       .on_reply = on_reply,
				       .arg = s};
	pthread_t sender;

	(void)state;
	assert_non_null(s);
	assert_ok(transport->req_open(&s->req, &config));
	snprintf(s->face[0].url, SPR_URL_MAX, "tcp://127.0.0.1:0");
	snprintf(s->face[1].url, SPR_URL_MAX, "ipc://%s/s", dir);
	for (unsigned i = 0; i < FACES; i++) {
		pthread_mutex_init(&s->face[i].lock, NULL);
		open_face(&s->face[i]);
		assert_ok(transport->req_dial(s->req, s->face[i].url));
	}
	assert_true(wait_until(transport->req_peers(s->req) == FACES, LIMIT_MS));
	assert_int_equal(pthread_create(&sender, NULL, play_sender, s), 0);
	for (uint64_t end_ns = spr_clock_now_ns() + RUN_MS * SPR_NS_PER_MS;
	     spr_clock_now_ns() < end_ns;) {
		unsigned n_requests = atomic_load(&s->face[1].n_requests);

		(void)wait_until(atomic_load(&s->face[1].n_requests) != n_requests, 100);
		close_face(&s->face[1]);
		open_face(&s->face[1]);
	}
	pthread_join(sender, NULL);
	transport->req_stop(s->req); /* with requests out */
	for (unsigned slot = 0; slot < WINDOW; slot++)
		assert_false(atomic_load(&s->is_out[slot]));
	assert_int_equal(s->n_bad, 0);
	assert_int_equal(s->n_other, 0); /* no time-out */
	assert_true(s->n_ok > 0 && s->n_closed > 0);
	print_message("%u replies, %u lost with their connection\n", s->n_ok, s->n_closed);
	transport->req_close(s->req);
	for (unsigned i = 0; i < FACES; i++)
		close_face(&s->face[i]);
	spr_test_cleanup(dir);
	free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_face_that_comes_and_goes),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
