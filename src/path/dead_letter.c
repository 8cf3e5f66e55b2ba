/*
 * Dead letters go through a mailbox to a thread of their own, so that neither a dispatcher nor the
 * ledger ever waits for a disk. The data path only copies; checking and escaping, which may make
 * six bytes of one, is the thread's.
 *
 * The file is only ever appended to, and a reader must be able to trust each line. A line that the
 * disk took in part is cut off again; where that is impossible, or a killed process left one, the
 * next letter begins with a line break, so that one broken line never costs its neighbour.
 */
#include "path/dead_letter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/agent.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stack.h"

typedef struct letter {
	spr_stack_entry link;
	int64_t wall_s;
	spreader_reason reason;
	spr_peer peer;
	bool is_truncated;
	size_t from_len, id_len, bytes_len;
	uint8_t text[]; /* from, id, bytes */
} letter;

struct spr_dead_letter {
	/* constant after new */
	char *path; /* NULL: only count */

	/* written by any thread */
	spr_stack mailbox;
	atomic_size_t queued; /* bytes of letters in the mailbox */
	atomic_ulong n_lost;  /* not logged yet */
	atomic_bool must_reopen;

	/* written by the thread */
	int fd;
	bool is_torn; /* the file does not end with a line break */

	spr_agent agent;
};

static const char *const reason_names[SPREADER_N_REASONS] = {[SPREADER_REASON_NONE] = "none",
#define X(name, code, retry, detail) [SPREADER_REASON_##name] = code,
							     SPREADER_REASONS(X)
#undef X
};

/*
 * The data path's side
 */

/* A character is not cut in two, or the text would count as binary. */
static size_t
kept_length(spr_range bytes)
{
	size_t len = SPR_DEAD_LETTER_BYTES_MAX;

	if (bytes.len <= len)
		return (bytes.len);
	while (len > SPR_DEAD_LETTER_BYTES_MAX - 3 && (bytes.at[len] & 0xC0) == 0x80)
		len--;
	return (len);
}

static size_t
letter_size(const letter *l)
{
	return (sizeof(*l) + l->from_len + l->id_len + l->bytes_len);
}

static void
copy_range(uint8_t **at, const uint8_t *from, size_t len)
{
	if (len == 0)
		return;
	memcpy(*at, from, len);
	*at += len;
}

/* Takes its size from the queue's bound; NULL when that or the memory does not allow it. */
static letter *
make_letter(spr_dead_letter *dl, const letter *shape)
{
	size_t size = letter_size(shape);
	letter *l = NULL;

	/* relaxed: a bound, nothing is handed over by it */
	if (atomic_fetch_add_explicit(&dl->queued, size, memory_order_relaxed) + size <=
	    SPR_DEAD_LETTER_QUEUE_MAX)
		l = spr_mem_alloc(size);
	if (l == NULL) {
		/* relaxed: as above */
		atomic_fetch_sub_explicit(&dl->queued, size, memory_order_relaxed);
		return (NULL);
	}
	*l = *shape;
	return (l);
}

void
spr_dead_letter_write(spr_dead_letter *dl, spreader_reason reason, const spr_peer *peer,
		      spr_range from, spr_range id, spr_range bytes)
{
	letter shape = {.reason = reason, .from_len = from.len, .id_len = id.len}, *l;
	uint8_t *at;

	spr_count(SPR_C_DEAD_LETTERS);
	if (dl->path == NULL)
		return;
	shape.wall_s = spr_clock_wall_s();
	if (peer != NULL)
		shape.peer = *peer;
	shape.bytes_len = kept_length(bytes);
	shape.is_truncated = shape.bytes_len < bytes.len;
	if ((l = make_letter(dl, &shape)) == NULL) {
		spr_count(SPR_C_DEAD_LETTER_ERRORS);
		/* relaxed: a count; the thread logs it, so that a log never delays the data path */
		atomic_fetch_add_explicit(&dl->n_lost, 1, memory_order_relaxed);
	} else {
		at = l->text;
		copy_range(&at, from.at, from.len);
		copy_range(&at, id.at, id.len);
		copy_range(&at, bytes.at, l->bytes_len);
		spr_mailbox_push(&dl->mailbox, &l->link); /* E2 */
	}
	spr_agent_wake(&dl->agent);
}

void
spr_dead_letter_reopen(spr_dead_letter *dl)
{
	/* relaxed: a wish; the wake-up makes the thread look (E3) */
	atomic_store_explicit(&dl->must_reopen, true, memory_order_relaxed);
	spr_agent_wake(&dl->agent);
}

/*
 * The line
 */

/* Bytes of the UTF-8 character at p, 0 if it is none; with_surrogates: of the WTF-8 one. */
static size_t
character_length(const uint8_t *p, size_t left, bool with_surrogates)
{
	size_t n = *p < 0x80   ? 1
		   : *p < 0xC2 ? 0
		   : *p < 0xE0 ? 2
		   : *p < 0xF0 ? 3
		   : *p < 0xF5 ? 4
			       : 0;
	uint8_t low = *p == 0xE0 ? 0xA0 : *p == 0xF0 ? 0x90 : 0x80;
	uint8_t high = *p == 0xF4 ? 0x8F : *p == 0xED && !with_surrogates ? 0x9F : 0xBF;

	if (n < 2)
		return (n);
	if (n > left || p[1] < low || p[1] > high)
		return (0);
	for (size_t i = 2; i < n; i++) {
		if ((p[i] & 0xC0) != 0x80)
			return (0);
	}
	return (n);
}

static bool
is_text(const uint8_t *p, size_t len, bool with_surrogates)
{
	size_t n;

	for (size_t i = 0; i < len; i += n) {
		if ((n = character_length(p + i, len - i, with_surrogates)) == 0)
			return (false);
	}
	return (true);
}

static size_t
put(char *out, const char *text)
{
	size_t len = strlen(text);

	memcpy(out, text, len);
	return (len);
}

/* Each byte as the character of its number. */
static size_t
put_binary(char *out, const uint8_t *p, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	char *at = out;

	*at++ = '"';
	for (size_t i = 0; i < len; i++) {
		if (p[i] >= 0x20 && p[i] < 0x7F && p[i] != '"' && p[i] != '\\') {
			*at++ = (char)p[i];
			continue;
		}
		at += put(at, "\\u00");
		*at++ = hex[p[i] >> 4];
		*at++ = hex[p[i] & 15];
	}
	*at++ = '"';
	return ((size_t)(at - out));
}

/* ,"name":"text"; nothing when there is none. *at moves behind the member, *p behind the text. */
static bool
put_member(char **at, const char *name, const uint8_t **p, size_t len, bool with_surrogates)
{
	bool is_binary = !is_text(*p, len, with_surrogates);

	if (len == 0)
		return (false);
	*at += put(*at, name);
	if (is_binary)
		*at += put_binary(*at, *p, len);
	else
		*at += spr_json_quote((uint8_t *)*at, *p, len);
	*p += len;
	return (is_binary);
}

/* A line with a line break at both ends; the caller frees it. */
static char *
format_letter(const letter *l, size_t *len)
{
	char *line = spr_mem_alloc(256 + SPR_PEER_TEXT_MAX +
				   6 * (l->from_len + l->id_len + l->bytes_len)),
	     *at = line;
	char when[SPR_CLOCK_TEXT_MAX], peer[SPR_PEER_TEXT_MAX];
	const uint8_t *p = l->text;

	if (line == NULL)
		return (NULL);
	spr_clock_format(l->wall_s, when);
	at += put(at, "\n{\"time\":\"");
	at += put(at, when);
	at += put(at, "\",\"reason\":\"");
	at += put(at, reason_names[l->reason]);
	at += put(at, "\"");
	if (spr_peer_text(&l->peer, peer)[0] != '\0') {
		at += put(at, ",\"peer\":\"");
		at += put(at, peer);
		at += put(at, "\"");
	}
	put_member(&at, ",\"from\":", &p, l->from_len, true);
	put_member(&at, ",\"id\":", &p, l->id_len, true);
	if (put_member(&at, ",\"bytes\":", &p, l->bytes_len, false))
		at += put(at, ",\"binary\":true");
	if (l->is_truncated)
		at += put(at, ",\"truncated\":true");
	at += put(at, "}\n");
	*len = (size_t)(at - line);
	return (line);
}

/*
 * The file
 */

/* A line that came to a disk in part (or a process that was killed) ends without a line break. */
static bool
ends_torn(int fd)
{
	off_t end = lseek(fd, 0, SEEK_END);
	char last;

	return (end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n');
}

/* Readable for ends_torn(); a pipe opened so needs no reader, and never blocks. */
static spr_err
open_file(const char *path, int *fd)
{
	int opened = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);

	if (opened < 0)
		return (spr_fail(SPR_E_IO, "open dead-letter file %s: %s", path, strerror(errno)));
	*fd = opened;
	return (SPR_OK);
}

static void
reopen_file(spr_dead_letter *dl)
{
	int fd = -1;

	if (open_file(dl->path, &fd) != SPR_OK) {
		spr_error("DEADLETTER-OPEN", "error=\"%s\"", spr_error_text(SPR_E_IO));
		return;
	}
	close(dl->fd);
	dl->fd = fd;
	dl->is_torn = ends_torn(fd);
}

/* Takes back the first `done` bytes of a line that found no room for the rest. */
static void
cut_off(spr_dead_letter *dl, size_t done)
{
	off_t end = lseek(dl->fd, 0, SEEK_END);

	if (done > 0 && (end < (off_t)done || ftruncate(dl->fd, end - (off_t)done) != 0))
		dl->is_torn = true;
}

/* 0, or the errno of what went wrong. */
static int
append(spr_dead_letter *dl, const char *text, size_t len)
{
	size_t done = 0;
	ssize_t n;
	int error;

	while (done < len) {
		n = write(dl->fd, text + done, len - done);
		if (n > 0) {
			done += (size_t)n;
		} else if (n == 0 || errno != EINTR) {
			error = n == 0 ? EIO : errno;
			cut_off(dl, done);
			return (error);
		}
	}
	dl->is_torn = false;
	return (0);
}

static void
write_letter(spr_dead_letter *dl, const letter *l)
{
	size_t len = 0, skip = dl->is_torn ? 0 : 1; /* the line break in front */
	char *line = format_letter(l, &len);
	int error = line == NULL ? ENOMEM : append(dl, line + skip, len - skip);

	if (error != 0) {
		spr_count(SPR_C_DEAD_LETTER_ERRORS);
		spr_error("DEADLETTER-WRITE", "file=\"%s\" error=\"%s\"", dl->path,
			  strerror(error));
	}
	spr_mem_free(line);
}

unsigned
spr_dead_letter_flush(spr_dead_letter *dl)
{
	spr_stack_entry *at = spr_mailbox_pop_all(&dl->mailbox), *next; /* E2 */
	/* relaxed, both: a wish and a count; nothing else was written with them */
	bool must_reopen = atomic_exchange_explicit(&dl->must_reopen, false, memory_order_relaxed);
	unsigned long n_lost = atomic_exchange_explicit(&dl->n_lost, 0, memory_order_relaxed);
	unsigned n = 0;

	SPR_ASSERT_ROLE(SPR_ROLE_CONTROL | SPR_ROLE_MAIN);
	if (must_reopen && dl->path != NULL)
		reopen_file(dl);
	if (n_lost > 0)
		spr_error("DEADLETTER-LOST", "letters=%lu why=\"queue full or no memory\"", n_lost);
	for (; at != NULL; at = next, n++) {
		letter *l = SPR_STACK_CONTAINER(at, letter, link);

		next = spr_stack_next(at);
		write_letter(dl, l);
		/* relaxed: a bound, nothing is handed over by it */
		atomic_fetch_sub_explicit(&dl->queued, letter_size(l), memory_order_relaxed);
		spr_mem_free(l);
	}
	return (n);
}

/*
 * Life
 */

static unsigned
work(void *state)
{
	return (spr_dead_letter_flush(state));
}

spr_err
spr_dead_letter_new(spr_dead_letter **out, const char *path)
{
	spr_dead_letter *dl = spr_mem_zalloc_aligned(sizeof(*dl));
	spr_err rv = SPR_OK;

	if (dl == NULL)
		return (SPR_E_NOMEM);
	dl->fd = -1;
	spr_stack_init(&dl->mailbox);
	dl->agent.name = "dead-letter";
	dl->agent.role = SPR_ROLE_CONTROL; /* a thread that may wait for the disk */
	dl->agent.do_work = work;
	dl->agent.state = dl;
	spr_agent_init(&dl->agent);
	if (path != NULL) {
		dl->path = spr_mem_strdup(path);
		rv = dl->path == NULL ? SPR_E_NOMEM : open_file(path, &dl->fd);
	}
	if (rv != SPR_OK) {
		spr_dead_letter_free(dl);
		return (rv);
	}
	dl->is_torn = dl->fd >= 0 && ends_torn(dl->fd);
	*out = dl;
	return (SPR_OK);
}

spr_err
spr_dead_letter_start(spr_dead_letter *dl)
{
	return (dl->path == NULL ? SPR_OK : spr_agent_start(&dl->agent));
}

void
spr_dead_letter_stop(spr_dead_letter *dl)
{
	spr_agent_stop(&dl->agent);
	while (spr_dead_letter_flush(dl) > 0)
		continue;
}

void
spr_dead_letter_free(spr_dead_letter *dl)
{
	if (dl == NULL)
		return;
	spr_dead_letter_stop(dl);
	if (dl->fd >= 0)
		close(dl->fd);
	spr_mem_free(dl->path);
	spr_mem_free(dl);
}
