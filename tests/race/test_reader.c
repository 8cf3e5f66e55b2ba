/*
 * test_reader - a reader whose driver changes between nng's thread and another one, its peer in the middle of a frame, and a
 * cut at any moment: every reader ends, once, and has found its messages in their order.
 *
 * What the driver knows is written without protection: read hands it on to on_read, or ThreadSanitizer complains.
 */
#include <endian.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spr_test.h"

#include "base/sync.h"
#include "net/sp_reader.h"

#define N_LINKS  1500
#define LIMIT_MS 30000
#define MOST     20 /* messages of a peer, the longest in memory of its own */
#define LONGEST  80000

typedef struct scene {
	nng_stream_listener *listener;
	nng_aio *aio;
	_Atomic(struct connection *) paused; /* for whoever goes on with it */
	atomic_bool is_done;
	atomic_uint n_bad, n_ends;
} scene;

/* One connection and its reader. */
typedef struct connection {
	scene *s;
	nng_stream *stream;
	/* the driver's */
	uint32_t n_found;
	unsigned n_reads;
	/* guards the reader's existence */
	pthread_mutex_t lock;
	spr_sp_reader *reader; /* NULL: freed */
	atomic_bool is_over;   /* the last thing that its driver does with it */
} connection;

static void
end(connection *c)
{
	pthread_mutex_lock(&c->lock);
	spr_sp_reader_free(c->reader);
	c->reader = NULL;
	pthread_mutex_unlock(&c->lock);
	nng_stream_close(c->stream);
	nng_stream_free(c->stream);
	atomic_fetch_add(&c->s->n_ends, 1);
	atomic_store(&c->is_over, true);
}

static void
check_message(connection *c, spr_buf *buf)
{
	uint32_t number = UINT32_MAX;

	memcpy(&number, buf->data, buf->len < sizeof(number) ? buf->len : sizeof(number));
	if (number != c->n_found++)
		atomic_fetch_add(&c->s->n_bad, 1);
	spr_buf_drop(buf);
}

/* True: every third read is left to the other thread. Nothing of the connection is the caller's then. */
static bool
leave(connection *c)
{
	connection *nobody = NULL;

	return (++c->n_reads % 3 == 0 && atomic_compare_exchange_strong(&c->s->paused, &nobody, c));
}

/* [the driver] may_leave: not from where it was left to. */
static void
drive(connection *c, bool may_leave)
{
	spr_buf *buf;

	for (;;) {
		switch (spr_sp_reader_next(c->reader, 1, &buf)) {
		case SPR_SP_FOUND_MESSAGE:
			check_message(c, buf);
			break;
		case SPR_SP_FOUND_NOTHING:
			if (may_leave && leave(c))
				return;
			may_leave = true;
			if (spr_sp_reader_read(c->reader))
				return;
			break; /* it was cut */
		case SPR_SP_FOUND_END:
			end(c);
			return;
		}
	}
}

static void
on_read(void *arg)
{
	drive(arg, true);
}

static void *
play_driver(void *arg)
{
	scene *s = arg;
	connection *c;

	while (!atomic_load(&s->is_done)) {
		if ((c = atomic_exchange(&s->paused, NULL)) != NULL)
			drive(c, false);
		else
			sched_yield();
	}
	return (NULL);
}

static int
open_link(scene *s, connection *c)
{
	spr_sp_reader_config config = {
	    .max_message = 2 * LONGEST, .limit_name = "the limit", .on_read = on_read, .arg = c};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int port = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*c = (connection){.s = s};
	pthread_mutex_init(&c->lock, NULL);
	assert_int_equal(nng_stream_listener_get_int(s->listener, NNG_OPT_TCP_BOUND_PORT, &port),
			 0);
	to.sin_port = htons((uint16_t)port);
	nng_stream_listener_accept(s->listener, s->aio);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	nng_aio_wait(s->aio);
	assert_int_equal(nng_aio_result(s->aio), 0);
	c->stream = config.stream = nng_aio_get_output(s->aio, 0);
	assert_ok(spr_sp_reader_new(&c->reader, &config));
	return (fd);
}

static void
send_message(int fd, uint32_t number, size_t len)
{
	static uint8_t frame[8 + sizeof(number) + LONGEST];
	uint64_t length = htobe64(sizeof(number) + len);

	memcpy(frame, &length, 8);
	memcpy(frame + 8, &number, sizeof(number));
	/* not whole once it is cut, or when nobody reads because the cut is still to come */
	(void)send(fd, frame, 8 + sizeof(number) + len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

typedef struct cutter {
	connection *connection;
	unsigned turns;
} cutter;

static void *
play_cutter(void *arg)
{
	const cutter *self = arg;

	for (unsigned i = 0; i < self->turns; i++)
		atomic_signal_fence(memory_order_seq_cst); /* a moment, not one of the compiler's */
	pthread_mutex_lock(&self->connection->lock);
	if (self->connection->reader != NULL)
		(void)spr_sp_reader_cut(self->connection->reader);
	pthread_mutex_unlock(&self->connection->lock);
	return (NULL);
}

/* The peer stays: only the cut can end it. */
static void
cut_one(scene *s, uint64_t *random)
{
	connection c;
	int fd = open_link(s, &c);
	cutter cut = {&c, (unsigned)spr_test_below(random, 1000) * 20};
	uint32_t n = (uint32_t)spr_test_below(random, MOST);
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, play_cutter, &cut), 0);
	if (!spr_sp_reader_read(c.reader))
		drive(&c, true);
	for (uint32_t i = 0; i < n; i++)
		send_message(
		    fd, i, spr_test_below(random, 32) == 0 ? LONGEST : spr_test_below(random, 500));
	pthread_join(thread, NULL);
	if (!wait_until(atomic_load(&c.is_over), LIMIT_MS))
		fail_msg("a cut that nobody met");
	close(fd);
	pthread_mutex_destroy(&c.lock);
}

static void
test_cut(void **state)
{
	uint64_t random = spr_test_seed();
	pthread_t driver;
	scene s = {0};

	(void)state;
	assert_int_equal(nng_stream_listener_alloc(&s.listener, "tcp://127.0.0.1:0"), 0);
	assert_int_equal(nng_stream_listener_listen(s.listener), 0);
	assert_int_equal(nng_aio_alloc(&s.aio, NULL, NULL), 0);
	assert_int_equal(pthread_create(&driver, NULL, play_driver, &s), 0);
	for (unsigned i = 0; i < N_LINKS; i++)
		cut_one(&s, &random);
	atomic_store(&s.is_done, true);
	pthread_join(driver, NULL);
	assert_int_equal(atomic_load(&s.n_bad), 0);
	assert_int_equal(atomic_load(&s.n_ends), N_LINKS);
	nng_aio_free(s.aio);
	nng_stream_listener_close(s.listener);
	nng_stream_listener_free(s.listener);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cut),
	};

	spr_sync_yield_percent(5);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
