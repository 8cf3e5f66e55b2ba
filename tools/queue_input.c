/*
 * queue_input - a batch goes when it is large, or when there is nothing more to read at once: a slow writer waits for nobody,
 * a fast one gets one commit for a thousand lines.
 */
#include "queue_input.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "queue_text.h"

#define BATCH_BYTES ((size_t)256 * 1024)
#define LINE_EXTRA  8192 /* an envelope around the body, its id written in escapes, and blanks */
#define READ_BYTES  ((size_t)64 * 1024)

typedef struct reader {
	queue_input *input;
	queue_text line; /* the beginning of a line whose end was not read yet */
	queue_text batch;
	uint64_t n_lines, n_batch, first_line;
	bool is_skipping; /* a line that is too long */
} reader;

static void
refuse_line(reader *r, const char *why)
{
	r->input->n_refused++;
	fprintf(r->input->complaints, "line %llu: %s\n", (unsigned long long)r->n_lines, why);
}

static void
flush(reader *r)
{
	queue_input *input = r->input;
	spr_err rv = SPR_OK;

	if (r->n_batch == 0)
		return;
	rv = r->batch.has_failed ? spr_fail(SPR_E_NOMEM, "out of memory")
				 : input->take(input->arg, r->batch.data, r->batch.len);
	if (rv == SPR_OK) {
		input->n_taken += r->n_batch;
	} else {
		input->n_refused += r->n_batch;
		fprintf(input->complaints, "%llu documents of lines %llu to %llu: %s\n",
			(unsigned long long)r->n_batch, (unsigned long long)r->first_line,
			(unsigned long long)r->n_lines, spr_error_text(rv));
	}
	r->batch.len = 0;
	r->batch.has_failed = false;
	r->n_batch = 0;
}

/* A whole line, without its end. */
static void
take_line(reader *r, const uint8_t *at, size_t len)
{
	spr_range id;
	queue_bytes body;
	size_t used = 0;
	spr_err rv = queue_read_submit(at, len, r->input->max_body, &used, &id, &body);

	if (rv == SPR_E_NOT_FOUND)
		return; /* an empty line */
	if (rv == SPR_OK && used != len)
		rv = spr_fail(SPR_E_INVALID, "more than one document");
	if (rv != SPR_OK) {
		refuse_line(r, spr_error_text(rv));
		return;
	}
	if (r->batch.len + len > BATCH_BYTES)
		flush(r);
	if (r->n_batch++ == 0)
		r->first_line = r->n_lines;
	queue_text_add(&r->batch, at, len);
	queue_text_put(&r->batch, "\n");
}

static void
end_line(reader *r, const uint8_t *at, size_t len)
{
	r->n_lines++;
	if (r->is_skipping || r->line.len + len > r->input->max_body + LINE_EXTRA) {
		refuse_line(r, "too long");
	} else if (r->line.len == 0) {
		take_line(r, at, len);
	} else {
		queue_text_add(&r->line, at, len);
		if (r->line.has_failed)
			refuse_line(r, "out of memory");
		else
			take_line(r, r->line.data, r->line.len);
	}
	r->is_skipping = false;
	r->line.len = 0;
	r->line.has_failed = false;
}

static void
take_bytes(reader *r, const uint8_t *at, size_t len)
{
	const uint8_t *end = at + len, *newline = NULL;

	while ((newline = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		end_line(r, at, (size_t)(newline - at));
		at = newline + 1;
	}
	r->is_skipping |= r->line.len + (size_t)(end - at) > r->input->max_body + LINE_EXTRA;
	if (r->is_skipping)
		r->line.len = 0;
	else
		queue_text_add(&r->line, at, (size_t)(end - at));
}

/* Waits for input; what is there goes on before that. SPR_E_CANCELLED: stopped. */
static spr_err
wait_input(reader *r)
{
	struct pollfd fds[] = {{.fd = r->input->fd, .events = POLLIN},
			       {.fd = r->input->stop_fd, .events = POLLIN}};

	if (poll(fds, 2, 0) == 0)
		flush(r);
	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		continue;
	return (fds[1].revents != 0 ? SPR_E_CANCELLED : SPR_OK);
}

static spr_err
read_all(reader *r)
{
	uint8_t bytes[READ_BYTES];
	ssize_t n = 0;
	spr_err rv = SPR_OK;

	for (;;) {
		if ((rv = wait_input(r)) != SPR_OK)
			return (rv);
		n = read(r->input->fd, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return (spr_fail(SPR_E_IO, "read: %s", strerror(errno)));
		if (n == 0)
			break;
		take_bytes(r, bytes, (size_t)n);
	}
	if (r->line.len > 0 || r->is_skipping)
		end_line(r, bytes, 0);
	return (SPR_OK);
}

spr_err
queue_input_run(queue_input *input)
{
	reader r = {.input = input};
	spr_err rv = read_all(&r);

	flush(&r);
	queue_text_fini(&r.line);
	queue_text_fini(&r.batch);
	return (rv);
}
