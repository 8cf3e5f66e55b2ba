/*
 * test_sp_reader - frames out of a stream, however it is cut into reads; what ends one; a paused reader; no memory.
 */
#include <endian.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "spr_test.h"

#include "base/counters.h"
#include "base/mem.h"
#include "net/sp_reader.h"
#include "net/timer.h"

#define LIMIT_MS    20000
#define MAX_MESSAGE ((size_t)1 << 20)

typedef struct scene {
	nng_stream_listener *listener;
	nng_stream *stream;
	spr_sp_reader *reader;
	atomic_uint n_read; /* calls of on_read */
	int fd;             /* the peer's */
	bool is_ipc;
	char *dir;
} scene;

static void
on_read(void *arg)
{
	scene *s = arg;

	atomic_fetch_add(&s->n_read, 1);
}

static int
connect_to(scene *s, const char *path)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	struct sockaddr_in inet = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int port = 0, fd = socket(s->is_ipc ? AF_UNIX : AF_INET, SOCK_STREAM, 0);

	if (s->is_ipc) {
		assert_true(strlen(path) < sizeof(local.sun_path));
		strcpy(local.sun_path, path);
		assert_int_equal(connect(fd, (struct sockaddr *)&local, sizeof(local)), 0);
		return (fd);
	}
	assert_int_equal(nng_stream_listener_get_int(s->listener, NNG_OPT_TCP_BOUND_PORT, &port),
			 0);
	inet.sin_port = htons((uint16_t)port);
	assert_int_equal(connect(fd, (struct sockaddr *)&inet, sizeof(inet)), 0);
	return (fd);
}

static void
open_scene(scene *s, bool is_ipc)
{
	char url[SPR_URL_MAX] = "tcp://127.0.0.1:0";
	spr_sp_reader_config config = {.is_ipc = is_ipc,
				       .max_message = MAX_MESSAGE,
				       .limit_name = "--max-message",
				       .on_read = on_read,
				       .arg = s};
	nng_aio *aio;

	*s = (scene){.is_ipc = is_ipc, .dir = spr_test_tmpdir()};
	if (is_ipc)
		snprintf(url, sizeof(url), "ipc://%s/s", s->dir);
	assert_int_equal(nng_stream_listener_alloc(&s->listener, url), 0);
	assert_int_equal(nng_stream_listener_listen(s->listener), 0);
	assert_int_equal(nng_aio_alloc(&aio, NULL, NULL), 0);
	s->fd = connect_to(s, url + strlen("ipc://"));
	nng_stream_listener_accept(s->listener, aio);
	nng_aio_wait(aio);
	assert_int_equal(nng_aio_result(aio), 0);
	s->stream = config.stream = nng_aio_get_output(aio, 0);
	nng_aio_free(aio);
	assert_ok(spr_sp_reader_new(&s->reader, &config));
}

static void
close_scene(scene *s)
{
	spr_sp_reader_free(s->reader);
	nng_stream_close(s->stream);
	nng_stream_free(s->stream);
	nng_stream_listener_close(s->listener);
	nng_stream_listener_free(s->listener);
	if (s->fd >= 0)
		close(s->fd);
	spr_test_cleanup(s->dir);
}

/* Bytes of the kind that only their place in the message tells. */
static uint8_t
byte_at(size_t i)
{
	return ((uint8_t)(i * 7 + i / 256));
}

static size_t
put_frame(const scene *s, uint8_t *out, size_t len)
{
	uint64_t length = htobe64(len);
	size_t n = 0;

	if (s->is_ipc)
		out[n++] = 1;
	memcpy(out + n, &length, sizeof(length));
	n += sizeof(length);
	for (size_t i = 0; i < len; i++)
		out[n++] = byte_at(i);
	return (n);
}

static void
write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		assert_true(n > 0);
		bytes += n;
		len -= (size_t)n;
	}
}

/* What next says once it is no longer NOTHING; reads as often as it takes. */
static spr_sp_found
look(scene *s, spr_buf **buf)
{
	spr_sp_found found;

	while ((found = spr_sp_reader_next(s->reader, 5, buf)) == SPR_SP_FOUND_NOTHING) {
		unsigned n_read = s->n_read;

		if (spr_sp_reader_read(s->reader))
			assert_true(wait_until(s->n_read == n_read + 1, LIMIT_MS));
	}
	return (found);
}

static void
expect(scene *s, size_t len)
{
	spr_buf *buf = NULL;

	assert_int_equal(look(s, &buf), SPR_SP_FOUND_MESSAGE);
	assert_int_equal(buf->len, len);
	assert_int_equal(buf->received_ns, 5);
	for (size_t i = 0; i < len; i++) {
		if (buf->data[i] != byte_at(i))
			fail_msg("byte %zu of %zu", i, len);
	}
	assert_true(spr_buf_drop(buf));
}

static void
expect_end(scene *s)
{
	spr_buf *buf = NULL;

	assert_int_equal(look(s, &buf), SPR_SP_FOUND_END);
	assert_null(buf);
	assert_int_equal(spr_sp_reader_next(s->reader, 5, &buf), SPR_SP_FOUND_END);
}

static void
test_cut_at_every_byte(void **state)
{
	static const size_t lens[] = {0, 1, 7, 0, 0, 12};
	uint8_t bytes[256];
	scene s;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		size_t n = 0;

		open_scene(&s, k == 1);
		for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
			n += put_frame(&s, bytes + n, lens[i]);
		for (size_t cut = 0; cut <= n; cut++) {
			unsigned i = 0;
			size_t whole = 0;

			write_all(s.fd, bytes, cut);
			for (; i < 6 && (whole += 8 + k + lens[i]) <= cut; i++)
				expect(&s, lens[i]);
			/* the half frame is read and waits for its rest */
			if (cut < n) {
				spr_buf *buf;

				assert_int_equal(spr_sp_reader_next(s.reader, 5, &buf),
						 SPR_SP_FOUND_NOTHING);
			}
			write_all(s.fd, bytes + cut, n - cut);
			for (; i < 6; i++)
				expect(&s, lens[i]);
		}
		assert_int_equal(spr_sp_reader_count(s.reader), (n + 1) * 6);
		close_scene(&s);
	}
}

/* Many in one read, and single ones longer than any buffer. */
static void
test_all_sizes(void **state)
{
	static const size_t lens[] = {4000,  4096,  8192,  65518, 65527,       65528,
				      65529, 65536, 70000, 1000,  MAX_MESSAGE, 256};
	enum { N_SMALL = 300 };
	uint8_t *bytes = malloc(2 * MAX_MESSAGE);
	scene s;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		size_t n = 0;

		open_scene(&s, k == 1);
		for (unsigned i = 0; i < N_SMALL; i++)
			n += put_frame(&s, bytes + n, i);
		write_all(s.fd, bytes, n);
		for (unsigned i = 0; i < N_SMALL; i++)
			expect(&s, i);
		assert_in_range(s.n_read, 1, N_SMALL / 3);
		for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			size_t sent = 0;

			n = put_frame(&s, bytes, lens[i]);
			while (sent < n) { /* in pieces that the socket's buffers take */
				size_t part = n - sent < 50000 ? n - sent : 50000;
				spr_buf *buf = NULL;
				unsigned n_read = s.n_read;

				write_all(s.fd, bytes + sent, part);
				sent += part;
				if (sent == n)
					break;
				assert_int_equal(spr_sp_reader_next(s.reader, 5, &buf),
						 SPR_SP_FOUND_NOTHING);
				assert_true(spr_sp_reader_read(s.reader));
				assert_true(wait_until(s.n_read == n_read + 1, LIMIT_MS));
			}
			expect(&s, lens[i]);
		}
		close_scene(&s);
	}
	free(bytes);
}

static void
send_length(scene *s, uint64_t length)
{
	uint8_t head[9] = {1};

	length = htobe64(length);
	memcpy(head + 1, &length, sizeof(length));
	write_all(s->fd, head + !s->is_ipc, sizeof(head) - !s->is_ipc);
}

static void
test_what_ends_a_stream(void **state)
{
	static const uint64_t too_large[] = {MAX_MESSAGE + 1, INT64_MAX};
	static const uint64_t malformed[] = {(uint64_t)INT64_MAX + 1, UINT64_MAX};
	uint8_t bytes[64];
	scene s;

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		uint64_t n_large = spr_counter_sum(SPR_C_PEERS_CUT_TOO_LARGE);
		uint64_t n_malformed = spr_counter_sum(SPR_C_PEERS_CUT_MALFORMED);

		open_scene(&s, k % 2 == 1);
		write_all(s.fd, bytes, put_frame(&s, bytes, 10)); /* what came before is not lost */
		send_length(&s, too_large[k / 2]);
		expect(&s, 10);
		expect_end(&s);
		assert_int_equal(spr_counter_sum(SPR_C_PEERS_CUT_TOO_LARGE), n_large + 1);
		close_scene(&s);
		open_scene(&s, k % 2 == 1);
		send_length(&s, malformed[k / 2]);
		expect_end(&s);
		assert_int_equal(spr_counter_sum(SPR_C_PEERS_CUT_MALFORMED), n_malformed + 1);
		close_scene(&s);
	}
	open_scene(&s, true);
	write_all(s.fd, (const uint8_t *)"\2", 1); /* its first byte is enough */
	expect_end(&s);
	close_scene(&s);
}

/* A peer that says all it has and hangs up at once is heard to the end. */
static void
test_the_last_words(void **state)
{
	enum { N_MAX = 150 };
	uint8_t bytes[N_MAX * 512];
	scene s;

	(void)state;
	for (unsigned k = 0; k < 200; k++) {
		unsigned n_frames = k % 8 < 4 ? 1 : N_MAX;
		size_t n = 0;

		open_scene(&s, k % 2 == 1);
		for (unsigned i = 0; i < n_frames; i++)
			n += put_frame(&s, bytes + n, 500);
		if (k % 4 >= 2) /* the hang-up finds a read waiting */
			assert_true(spr_sp_reader_read(s.reader));
		write_all(s.fd, bytes, n);
		write_all(s.fd, bytes, 5); /* and a half frame */
		close(s.fd);
		s.fd = -1;
		if (k % 4 >= 2)
			assert_true(wait_until(s.n_read == 1, LIMIT_MS));
		for (unsigned i = 0; i < n_frames; i++)
			expect(&s, 500);
		expect_end(&s);
		close_scene(&s);
	}
}

static void
test_a_cut(void **state)
{
	uint8_t bytes[64];
	spr_buf *buf;
	scene s;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, k == 1); /* while it reads */
		assert_true(spr_sp_reader_read(s.reader));
		assert_true(spr_sp_reader_cut(s.reader));
		assert_true(wait_until(s.n_read == 1, LIMIT_MS));
		expect_end(&s);
		close_scene(&s);
		open_scene(&s, k == 1); /* while it is paused: what was read is still there */
		write_all(s.fd, bytes, put_frame(&s, bytes, 10));
		assert_true(spr_sp_reader_read(s.reader));
		assert_true(wait_until(s.n_read == 1, LIMIT_MS));
		assert_false(spr_sp_reader_cut(s.reader));
		expect(&s, 10);
		assert_int_equal(spr_sp_reader_next(s.reader, 5, &buf), SPR_SP_FOUND_NOTHING);
		assert_false(spr_sp_reader_read(s.reader));
		expect_end(&s);
		assert_int_equal(s.n_read, 1);
		close_scene(&s);
	}
}

/* Nobody asks: nothing is read, and the peer's kernel fills. */
static void
test_a_pause(void **state)
{
	uint8_t *bytes = calloc(1, (1 << 20) + 2048);
	size_t sent = 0;
	scene s;

	(void)state;
	open_scene(&s, true);
	for (size_t n = 0; n < 1 << 20;)
		n += put_frame(&s, bytes + n, 1000);
	for (ssize_t n = 0; n >= 0 && sent<1 << 20; sent += n> 0 ? (size_t)n : 0)
		n = send(s.fd, bytes + sent, 1009, MSG_NOSIGNAL | MSG_DONTWAIT);
	assert_in_range(sent, 1009, (1 << 20) - 1);
	assert_int_equal(s.n_read, 0);
	for (unsigned i = 0; i < sent / 1009; i++)
		expect(&s, 1000);
	close_scene(&s);
	free(bytes);
}

static void
test_an_announced_length_costs_nothing(void **state)
{
	size_t before;
	scene s;

	(void)state;
	open_scene(&s, false);
	before = mallinfo2().uordblks + mallinfo2().hblkhd;
	send_length(&s, MAX_MESSAGE);
	assert_true(spr_sp_reader_read(s.reader));
	assert_true(wait_until(s.n_read == 1, LIMIT_MS));
	for (unsigned i = 0; i < 2; i++) {
		spr_buf *buf;

		assert_int_equal(spr_sp_reader_next(s.reader, 5, &buf), SPR_SP_FOUND_NOTHING);
		assert_true(spr_sp_reader_read(s.reader));
		write_all(s.fd, (const uint8_t *)"x", 1);
		assert_true(wait_until(s.n_read == i + 2, LIMIT_MS));
	}
	assert_true(mallinfo2().uordblks + mallinfo2().hblkhd < before + MAX_MESSAGE / 4);
	close_scene(&s);
}

/* A look without memory, then a read without: later, but nothing is lost. */
static void
test_no_memory(void **state)
{
	static const size_t lens[] = {100, 50000, 200000};
	uint8_t *bytes = malloc(MAX_MESSAGE);
	spr_sp_reader_config config = {.on_read = on_read};
	spr_sp_reader *reader = NULL;
	unsigned n_read;
	spr_buf *buf = NULL;
	scene s;

	(void)state;
	open_scene(&s, false);
	config.stream = s.stream;
	for (unsigned long n = 1; n <= 2; n++) {
		spr_mem_fail_at(n);
		assert_fails(spr_sp_reader_new(&reader, &config), SPR_E_NOMEM);
		assert_null(reader);
	}
	spr_mem_fail_at(0);
	for (unsigned i = 0; i < 3; i++) {
		write_all(s.fd, bytes, put_frame(&s, bytes, lens[i]));
		n_read = s.n_read;
		assert_true(spr_sp_reader_read(s.reader));
		for (unsigned k = 0; k < 8; k++) {
			n_read++;
			assert_true(wait_until(s.n_read == n_read, LIMIT_MS));
			spr_mem_fail_at(1); /* of this thread */
			assert_int_equal(spr_sp_reader_next(s.reader, 5, &buf),
					 SPR_SP_FOUND_NOTHING);
			assert_true(spr_sp_reader_read(s.reader));
			spr_mem_fail_at(0);
		}
		n_read++;
		assert_true(wait_until(s.n_read == n_read, LIMIT_MS));
		expect(&s, lens[i]);
	}
	/* nor what came before the end */
	write_all(s.fd, bytes, put_frame(&s, bytes, 10));
	close(s.fd);
	s.fd = -1;
	n_read = s.n_read;
	assert_true(spr_sp_reader_read(s.reader));
	assert_true(wait_until(s.n_read == n_read + 1, LIMIT_MS));
	spr_mem_fail_at(1);
	assert_int_equal(spr_sp_reader_next(s.reader, 5, &buf), SPR_SP_FOUND_NOTHING);
	spr_mem_fail_at(0);
	expect(&s, 10);
	expect_end(&s);
	close_scene(&s);
	free(bytes);
}

static int
hold_timers(void **state)
{
	(void)state;
	assert_ok(spr_timers_hold());
	return (0);
}

static int
drop_timers(void **state)
{
	(void)state;
	spr_timers_drop();
	return (0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cut_at_every_byte),
	    cmocka_unit_test(test_all_sizes),
	    cmocka_unit_test(test_what_ends_a_stream),
	    cmocka_unit_test(test_the_last_words),
	    cmocka_unit_test(test_a_cut),
	    cmocka_unit_test(test_a_pause),
	    cmocka_unit_test(test_an_announced_length_costs_nothing),
	    cmocka_unit_test(test_no_memory),
	};
	return (cmocka_run_group_tests(tests, hold_timers, drop_timers));
}
