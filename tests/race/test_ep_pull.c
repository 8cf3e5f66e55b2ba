/*
 * test_ep_pull - producers that come and go against receives that park all the time, and are rearmed by other threads than
 * parked them; messages are held, and dropped by those.
 *
 *   - every message of a producer that took its leave arrives once, and in order
 *   - no receive is in two callbacks at once, nor in one while it is parked
 *   - slabs come back from other threads than they are read into on
 *   - a stop in the middle of it ends the callbacks
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spr_test.h"

#include "base/sync.h"
#include "net/net.h"
#include "sp_raw.h"

#define RECEIVES    3
#define PRODUCERS   4
#define CONNECTIONS 6   /* each, one after the other */
#define MESSAGES    400 /* of each connection */
#define REARMERS    2
#define HELD        64
#define MAX_MESSAGE 5000
#define LIMIT_MS    60000

static const spr_transport *const transport = &spr_transport_native;

typedef struct message {
	uint32_t producer, number, len;
} message;

typedef struct scene {
	spr_pull *pull;
	char url[SPR_URL_MAX];
	char *dir;
	atomic_bool is_over, is_stopped;
	atomic_uint n_wrong, n_received;
	atomic_bool is_inside[RECEIVES], is_parked[RECEIVES];
	uint64_t random[RECEIVES]; /* the receive's own */
	/* one producer's connections are one after the other: whoever receives is the only one */
	uint32_t next[PRODUCERS];
	pthread_mutex_t lock; /* of held */
	spr_buf *held[HELD];
	unsigned n_held;
} scene;

static void
hold_or_drop(scene *s, spr_buf *buf)
{
	bool is_held;

	pthread_mutex_lock(&s->lock);
	if ((is_held = s->n_held < HELD))
		s->held[s->n_held++] = buf;
	pthread_mutex_unlock(&s->lock);
	if (!is_held)
		(void)spr_buf_drop(buf);
}

static bool
is_right(scene *s, const spr_buf *buf)
{
	message m;

	if (buf->len < sizeof(m))
		return (false);
	memcpy(&m, buf->data, sizeof(m));
	if (m.producer >= PRODUCERS || m.len != buf->len || m.number != s->next[m.producer])
		return (false);
	s->next[m.producer]++;
	for (size_t i = sizeof(m); i < buf->len; i++) {
		if (buf->data[i] != (uint8_t)(m.number + i))
			return (false);
	}
	return (true);
}

static bool
on_receive(void *arg, unsigned receive, spr_buf *buf)
{
	scene *s = arg;
	bool parks = spr_test_below(&s->random[receive], 8) == 0;

	if (atomic_exchange(&s->is_inside[receive], true) || atomic_load(&s->is_parked[receive]) ||
	    atomic_load(&s->is_stopped) || !is_right(s, buf))
		atomic_fetch_add(&s->n_wrong, 1);
	hold_or_drop(s, buf);
	SPR_YIELD();
	atomic_store(&s->is_inside[receive], false);
	atomic_fetch_add(&s->n_received, 1);
	if (parks)
		atomic_store(&s->is_parked[receive], true); /* from here on it may be rearmed */
	return (!parks);
}

static void *
rearm(void *arg)
{
	scene *s = arg;
	spr_buf *buf;

	while (!atomic_load(&s->is_over)) {
		for (unsigned i = 0; i < RECEIVES; i++) {
			if (atomic_exchange(&s->is_parked[i], false))
				transport->pull_rearm(s->pull, i);
		}
		pthread_mutex_lock(&s->lock);
		buf = s->n_held > HELD / 2 ? s->held[--s->n_held] : NULL;
		pthread_mutex_unlock(&s->lock);
		if (buf != NULL)
			(void)spr_buf_drop(buf);
		sched_yield();
	}
	return (NULL);
}

typedef struct producer {
	pthread_t thread;
	scene *s;
	uint32_t index;
	unsigned n_sent;
} producer;

static bool
send_one(producer *p, spr_sp *peer, uint64_t *random)
{
	uint8_t bytes[MAX_MESSAGE];
	message m = {.producer = p->index, .number = p->n_sent};

	m.len = (uint32_t)(sizeof(m) + spr_test_below(random, spr_test_below(random, 20) == 0
								  ? MAX_MESSAGE - sizeof(m)
								  : 100));
	memcpy(bytes, &m, sizeof(m));
	for (size_t i = sizeof(m); i < m.len; i++)
		bytes[i] = (uint8_t)(m.number + i);
	if (spr_sp_send(peer, NULL, 0, bytes, m.len, LIMIT_MS) != SPR_SP_OK)
		return (false);
	p->n_sent++;
	return (true);
}

/* The next connection begins when everything of the last one has been received: order is kept within one only. */
static void *
produce(void *arg)
{
	producer *p = arg;
	uint64_t random = spr_test_seed() + p->index;
	spr_sp peer;

	for (unsigned c = 0; c < CONNECTIONS; c++) {
		if (!spr_sp_dial(&peer, p->s->url, SPR_SP_PUSH))
			return (NULL);
		for (unsigned i = 0; i < MESSAGES && send_one(p, &peer, &random); i++)
			continue;
		shutdown(peer.fd, SHUT_WR);
		/* it is closed by the other side when all was taken */
		if (!spr_sp_wait_gone(&peer, LIMIT_MS)) {
			spr_sp_close(&peer);
			return (NULL);
		}
		spr_sp_close(&peer);
	}
	return (NULL);
}

static void
open_scene(scene *s, const char *scheme)
{
	const spr_pull_config config = {.socket = "intake",
					.thread = "receiver",
					.receives = RECEIVES,
					.max_message = MAX_MESSAGE,
					.on_receive = on_receive,
					.arg = s};
	char url[SPR_URL_MAX] = "tcp://127.0.0.1:0";

	memset(s, 0, sizeof(*s));
	s->dir = spr_test_tmpdir();
	pthread_mutex_init(&s->lock, NULL);
	for (unsigned i = 0; i < RECEIVES; i++)
		s->random[i] = spr_test_seed() + 100 + i;
	if (strcmp(scheme, "ipc") == 0)
		snprintf(url, sizeof(url), "ipc://%s/s", s->dir);
	assert_ok(transport->pull_open(&s->pull, &config));
	assert_ok(transport->pull_listen(s->pull, url, s->url));
	transport->pull_start(s->pull);
}

static void
close_scene(scene *s)
{
	transport->pull_close(s->pull);
	while (s->n_held > 0) /* they outlive it */
		(void)spr_buf_drop(s->held[--s->n_held]);
	pthread_mutex_destroy(&s->lock);
	spr_test_cleanup(s->dir);
	assert_int_equal(s->n_wrong, 0);
}

/* stop_at: so many messages, then a stop in the middle of it; 0: to the end. */
static void
run_scene(const char *scheme, unsigned stop_at)
{
	pthread_t rearmer[REARMERS];
	producer p[PRODUCERS];
	scene *s = malloc(sizeof(*s));

	assert_non_null(s);
	open_scene(s, scheme);
	for (unsigned i = 0; i < REARMERS; i++)
		assert_int_equal(pthread_create(&rearmer[i], NULL, rearm, s), 0);
	for (unsigned i = 0; i < PRODUCERS; i++) {
		p[i] = (producer){.s = s, .index = i};
		assert_int_equal(pthread_create(&p[i].thread, NULL, produce, &p[i]), 0);
	}
	if (stop_at > 0) {
		assert_true(wait_until(s->n_received >= stop_at, LIMIT_MS));
		transport->pull_stop(s->pull);
		atomic_store(&s->is_stopped, true);
	} else {
		for (unsigned i = 0; i < PRODUCERS; i++)
			pthread_join(p[i].thread, NULL);
	}
	atomic_store(&s->is_over, true);
	for (unsigned i = 0; i < REARMERS; i++)
		pthread_join(rearmer[i], NULL);
	if (stop_at == 0) {
		transport->pull_stop(s->pull);
		for (unsigned i = 0; i < PRODUCERS; i++) {
			assert_int_equal(p[i].n_sent, CONNECTIONS * MESSAGES);
			assert_int_equal(s->next[i], CONNECTIONS * MESSAGES);
		}
	}
	close_scene(s);
	for (unsigned i = 0; stop_at > 0 && i < PRODUCERS; i++)
		pthread_join(p[i].thread, NULL); /* the close ended their connections */
	free(s);
}

static void
test_parked_and_rearmed(void **state)
{
	(void)state;
	run_scene("tcp", 0);
	run_scene("ipc", 0);
}

static void
test_a_stop_in_the_middle(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 6; i++)
		run_scene(i % 2 == 0 ? "tcp" : "ipc", i * 200);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_parked_and_rearmed),
	    cmocka_unit_test(test_a_stop_in_the_middle),
	};

#if defined(SPR_CHECKED)
	spr_sync_yield_percent(20);
#endif
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
