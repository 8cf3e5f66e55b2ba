/*
 * fuzz_frames - any bytes as the stream of a peer, cut into any pieces: the readers of both transports find the messages
 * that a plain model of frames finds, and end where it ends.
 *
 * The first byte chooses the kind of socket and how the rest is meant: bytes as they are, or three a frame that give the
 * lengths of whole ones, so that long messages need no long input. The second is the size of the pieces.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "net/ep_reader.h"
#include "net/sp_reader.h"

#define MAX_MESSAGE 150000
#define MAX_STREAM  ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static nng_stream_listener *listener;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

typedef struct run {
	uint8_t *bytes;
	size_t len;
	bool is_ipc;
	/* the model's: where it stands in bytes, and whether it has ended */
	size_t at;
	bool is_over;
	/* the reader's */
	spr_sp_reader *reader;
	sem_t n_read;
	int fd;
} run;

/* Stays on in every build, unlike an assert. */
static void
check(bool is_so)
{
	if (!is_so)
		abort();
}

static void
remove_socket(void)
{
	nng_stream_listener_close(listener); /* removes the path */
}

static void
listen_once(void)
{
	char url[SPR_URL_MAX];

	if (listener != NULL)
		return;
	spr_log_init(SPR_LOG_ERROR, SPR_LOG_TEXT, 2);
	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/spr-fuzz-frames-%d",
		 (int)getpid());
	snprintf(url, sizeof(url), "ipc://%s", address.sun_path);
	check(nng_stream_listener_alloc(&listener, url) == 0 &&
	      nng_stream_listener_listen(listener) == 0);
	(void)atexit(remove_socket);
}

static void
on_read(void *arg)
{
	run *r = arg;

	sem_post(&r->n_read);
}

/* The next message of the model: its length and place; false when there is none. */
static bool
model_next(run *r, size_t *at, uint64_t *len)
{
	size_t head = r->is_ipc ? 9 : 8;

	if (r->is_over || r->len == r->at)
		return (false);
	if ((r->is_over = r->is_ipc && r->bytes[r->at] != 1) || r->len - r->at < head)
		return (false);
	memcpy(len, r->bytes + r->at + head - 8, 8);
	*len = be64toh(*len);
	if ((r->is_over = *len > MAX_MESSAGE) || r->len - r->at - head < *len)
		return (false);
	*at = r->at + head;
	r->at = *at + *len;
	return (true);
}

/* Everything that was read is what the model says; true: it ended. */
static bool
take_messages(run *r)
{
	spr_sp_found found;
	spr_buf *buf;
	size_t at;
	uint64_t len;

	while ((found = spr_sp_reader_next(r->reader, 1, &buf)) == SPR_SP_FOUND_MESSAGE) {
		check(model_next(r, &at, &len));
		check(buf->len == len && memcmp(buf->data, r->bytes + at, len) == 0);
		check(spr_buf_drop(buf));
	}
	return (found == SPR_SP_FOUND_END || !spr_sp_reader_read(r->reader));
}

/* One read; true: it ended. */
static bool
wait_and_take(run *r)
{
	while (sem_wait(&r->n_read) != 0)
		check(errno == EINTR);
	return (take_messages(r));
}

static void
feed(run *r, size_t piece)
{
	bool is_over = take_messages(r);

	for (size_t sent = 0; !is_over && sent < r->len;) {
		size_t n = r->len - sent < piece ? r->len - sent : piece;
		ssize_t rv = send(r->fd, r->bytes + sent, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		check(rv > 0 || errno == EAGAIN);
		sent += rv > 0 ? (size_t)rv : 0;
		is_over = wait_and_take(r);
	}
	close(r->fd);
	while (!is_over)
		is_over = wait_and_take(r);
}

static void
run_stream(run *r, size_t piece)
{
	spr_sp_reader_config config = {.is_ipc = r->is_ipc,
				       .max_message = MAX_MESSAGE,
				       .limit_name = "the limit",
				       .on_read = on_read,
				       .arg = r};
	uint64_t len;
	size_t at;
	nng_aio *aio = NULL;

	check(sem_init(&r->n_read, 0, 0) == 0);
	check(nng_aio_alloc(&aio, NULL, NULL) == 0);
	r->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	check(connect(r->fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	nng_stream_listener_accept(listener, aio);
	nng_aio_wait(aio);
	check(nng_aio_result(aio) == 0);
	config.stream = nng_aio_get_output(aio, 0);
	nng_aio_free(aio);
	check(spr_sp_reader_new(&r->reader, &config) == SPR_OK);
	feed(r, piece);
	check(!model_next(r, &at, &len)); /* none is missing */
	spr_sp_reader_free(r->reader);
	nng_stream_close(config.stream);
	nng_stream_free(config.stream);
	sem_destroy(&r->n_read);
}

/* One read of the native transport's; true: it ended. */
static bool
feed_native(run *r, spr_ep_reader *reader, size_t *sent, size_t piece)
{
	struct iovec iov[2];
	unsigned n_parts = spr_ep_reader_room(reader, iov);
	size_t left = r->len - *sent < piece ? r->len - *sent : piece, n = 0, at;
	spr_ep_found found;
	spr_buf *buf;
	uint64_t len;

	for (unsigned i = 0; i < n_parts; i++) {
		size_t k = left - n < iov[i].iov_len ? left - n : iov[i].iov_len;

		memcpy(iov[i].iov_base, r->bytes + *sent + n, k);
		n += k;
	}
	*sent += n;
	spr_ep_reader_took(reader, n);
	while ((found = spr_ep_reader_next(reader, 1, &buf)) == SPR_EP_FOUND_MESSAGE) {
		check(model_next(r, &at, &len));
		check(buf->len == len && memcmp(buf->data, r->bytes + at, len) == 0);
		check(spr_buf_drop(buf));
	}
	check(found != SPR_EP_FOUND_STARVED);
	return (found == SPR_EP_FOUND_END);
}

static void
run_native(run *r, size_t piece)
{
	const spr_peer peer = {0};
	spr_ep_reader reader;
	spr_ep_slabs *slabs;
	size_t sent = 0, at;
	uint64_t len;
	bool is_over = false;

	r->at = 0;
	r->is_over = false;
	check(spr_ep_slabs_new(&slabs, 2) == SPR_OK);
	spr_ep_reader_init(&reader, slabs, &peer, r->is_ipc, MAX_MESSAGE, "the limit");
	while (!is_over && sent < r->len)
		is_over = feed_native(r, &reader, &sent, piece);
	check(!model_next(r, &at, &len)); /* none is missing */
	check(is_over == r->is_over);
	spr_ep_reader_fini(&reader);
	spr_ep_slabs_free(slabs);
}

/* Three bytes of the input are the length of a frame. */
static void
make_frames(run *r, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i + 3 <= size; i += 3) {
		uint32_t len =
		    ((uint32_t)data[i] << 16 | (uint32_t)data[i + 1] << 8 | data[i + 2]) %
		    (MAX_MESSAGE + 2);
		uint64_t length = htobe64(len);

		if (r->len + 9 + len > MAX_STREAM)
			return;
		if (r->is_ipc)
			r->bytes[r->len++] = 1;
		memcpy(r->bytes + r->len, &length, 8);
		memset(r->bytes + r->len + 8, data[i + 2], len);
		r->len += 8 + len;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run r = {0};
	size_t piece;

	if (size < 2 || size > MAX_STREAM)
		return (0);
	listen_once();
	r.is_ipc = data[0] & 1;
	r.bytes = malloc(MAX_STREAM);
	check(r.bytes != NULL);
	piece = 1 + data[1] % 64u;
	if (data[0] & 2) {
		make_frames(&r, data + 2, size - 2);
		piece *= 1021;
	} else {
		memcpy(r.bytes, data + 2, size - 2);
		r.len = size - 2;
	}
	run_stream(&r, piece);
	run_native(&r, piece);
	free(r.bytes);
	return (0);
}
