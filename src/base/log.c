/*
 * log - one event, one line, one write.
 *
 * The format string is walked here instead of being handed to printf as a whole: only so is it
 * known which bytes are ours (keys, quotes, blanks) and which came in an argument, and nothing that
 * a peer sends can end a value early, start a line or add a key. A value is collected, then written
 * escaped. The line is built on the stack and handed to the kernel in one piece; a pipe or a socket
 * that takes no more loses the line, which is counted: a stuck log collector must not stop the
 * daemon.
 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/log_recent.h"

#define LINE_MAX_BYTES 4096 /* what a pipe takes in one piece */
#define LINE_RESERVE   64   /* for the end of a line: quote, brace, suppressed=N */
#define VALUE_MAX      1024
#define BURST          10 /* events of one id a second */
#define N_LIMITS       128

typedef struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
	size_t max;
	bool is_cut; /* full: no later, shorter piece may follow a missing one */
	bool is_json;
} line;

/* One "key=value" while the format is walked. */
typedef struct field {
	char key[64];
	size_t key_len;
	char value[VALUE_MAX];
	size_t value_len;
	bool in_value;
	bool is_quoted;
} field;

typedef struct limit {
	_Atomic(const char *) id;
	_Atomic uint64_t window; /* second << 8 | events let through in it */
	_Atomic uint64_t n_held_back;
} limit;

enum target { TARGET_FILE, TARGET_PIPE, TARGET_SOCKET };

static atomic_int log_level = SPR_LOG_INFO;
static bool is_json; /* constant after init, as the next two */
static int log_fd = 2;
static enum target log_target = TARGET_FILE;
static limit limits[N_LIMITS];

/* Guards nothing but "poll says yes, then write" on a pipe. Innermost: no other lock is taken under
 * it. */
static pthread_mutex_t pipe_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const level_names[SPR_N_LOG_LEVELS] = {
#define X(name, text) [SPR_LOG_##name] = text,
    SPR_LOG_LEVELS(X)
#undef X
};

void
spr_log_init(spr_log_level level, spr_log_format format, int fd)
{
	struct stat st;

	spr_log_set_level(level);
	log_fd = fd;
	is_json = format == SPR_LOG_JSON || (format == SPR_LOG_AUTO && !isatty(fd));
	log_target = TARGET_FILE;
	if (isatty(fd) || (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode)))
		log_target = TARGET_PIPE; /* a terminal can be held with ^S */
	if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
		log_target = TARGET_SOCKET;
}

void
spr_log_set_level(spr_log_level level)
{
	/* relaxed: a knob, no data goes with it */
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

bool
spr_log_is_on(spr_log_level level)
{
	/* relaxed: a knob, no data goes with it */
	return ((int)level <= atomic_load_explicit(&log_level, memory_order_relaxed));
}

/*
 * The line
 */

static void
put_bytes(line *l, const char *bytes, size_t n)
{
	l->is_cut = l->is_cut || n > l->max - l->len;
	if (l->is_cut)
		return;
	memcpy(l->text + l->len, bytes, n);
	l->len += n;
}

static void
put_text(line *l, const char *text)
{
	put_bytes(l, text, strlen(text));
}

/* The length of the well-formed UTF-8 sequence at p, 0 if there is none. C1 controls steer
 * terminals: not well-formed here. */
static size_t
utf8_length(const unsigned char *p, size_t n)
{
	size_t len = p[0] < 0x80   ? 1
		     : p[0] < 0xc2 ? 0
		     : p[0] < 0xe0 ? 2
		     : p[0] < 0xf0 ? 3
		     : p[0] < 0xf5 ? 4
				   : 0;

	if (len == 0 || len > n)
		return (0);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return (0);
	}
	if ((p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xe0 && p[1] < 0xa0) ||
	    (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return (0);
	return (len);
}

/* Both formats escape alike, but that a JSON string has no \x: its reader sees the backslash. */
static size_t
put_escaped(line *l, const char *value, size_t n)
{
	const unsigned char *p = (const unsigned char *)value;
	size_t len = utf8_length(p, n);
	char escape[8];

	if (*p == '"' || *p == '\\') {
		snprintf(escape, sizeof(escape), "\\%c", *p);
	} else if (*p == '\n' || *p == '\r' || *p == '\t') {
		snprintf(escape, sizeof(escape), "\\%c", *p == '\n' ? 'n' : *p == '\r' ? 'r' : 't');
	} else if (len == 1 && (*p < 0x20 || *p == 0x7f)) {
		snprintf(escape, sizeof(escape), l->is_json ? "\\u%04x" : "\\x%02x", *p);
	} else if (len == 0) {
		snprintf(escape, sizeof(escape), l->is_json ? "\\\\x%02x" : "\\x%02x", *p);
	} else {
		put_bytes(l, value, len);
		return (len);
	}
	put_text(l, escape);
	return (1);
}

static bool
needs_quotes(const char *value, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (value[i] == ' ' || value[i] == '=' || value[i] == '"' || value[i] == '\\' ||
		    (unsigned char)value[i] < 0x20 || (unsigned char)value[i] >= 0x7f)
			return (true);
	}
	return (n == 0);
}

/* Writes key and value; when the line is full the value is cut, but the line stays one. */
static void
put_pair(line *l, const char *key, const char *value, size_t n)
{
	bool has_quotes = l->is_json || needs_quotes(value, n);
	size_t start = l->len;

	put_text(l, l->is_json ? ",\"" : " ");
	put_text(l, key);
	put_text(l, l->is_json ? "\":\"" : has_quotes ? "=\"" : "=");
	if (l->is_cut) { /* not even the key fits: leave it out altogether */
		l->len = start;
		return;
	}
	for (size_t i = 0; i < n;)
		i += put_escaped(l, value + i, n - i);
	if (has_quotes)
		l->text[l->len++] = '"'; /* out of the reserve */
}

static void
put_head(line *l, spr_log_level level, const char *id)
{
	struct timespec now;
	char second[SPR_CLOCK_TEXT_MAX];
	char head[160];

	clock_gettime(CLOCK_REALTIME, &now);
	spr_clock_format((int64_t)now.tv_sec, second);
	second[strlen(second) - 1] = '\0'; /* the Z goes behind the milliseconds */
	snprintf(head, sizeof(head),
		 l->is_json ? "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"event\":\"%s\""
			    : "%s.%03ldZ %s %s",
		 second, now.tv_nsec / 1000000, level_names[level], id);
	put_text(l, head);
	put_pair(l, "role", spr_role_name(spr_role_get()), strlen(spr_role_name(spr_role_get())));
}

/*
 * The format
 */

static void
end_field(line *l, field *f)
{
	if (f->key_len != 0) {
		f->key[f->key_len] = '\0';
		put_pair(l, f->key, f->value, f->value_len);
	}
	f->key_len = f->value_len = 0;
	f->in_value = f->is_quoted = false;
}

static void
add_to_value(field *f, const char *bytes, size_t n)
{
	if (n > sizeof(f->value) - f->value_len)
		n = sizeof(f->value) - f->value_len;
	memcpy(f->value + f->value_len, bytes, n);
	f->value_len += n;
}

/* A byte of the format itself. */
static void
take_literal(line *l, field *f, char c)
{
	if (f->in_value && c == '"') {
		f->is_quoted = !f->is_quoted;
	} else if (c == ' ' && !f->is_quoted) {
		end_field(l, f);
	} else if (f->in_value) {
		add_to_value(f, &c, 1);
	} else if (c == '=') {
		f->in_value = true;
	} else if (f->key_len < sizeof(f->key) - 1) {
		f->key[f->key_len++] = c;
	}
}

/* Reads one argument as wide as the length modifier says; sign extension does what printf would. */
static uintmax_t
take_integer(va_list *args, const char *length, bool is_signed)
{
	if (strcmp(length, "") == 0)
		return (is_signed ? (uintmax_t)(intmax_t)va_arg(*args, int)
				  : va_arg(*args, unsigned));
	if (strcmp(length, "ll") == 0)
		return (is_signed ? (uintmax_t)va_arg(*args, long long)
				  : va_arg(*args, unsigned long long));
	if (strcmp(length, "h") == 0 || strcmp(length, "hh") == 0)
		return (is_signed ? (uintmax_t)(intmax_t)va_arg(*args, int)
				  : va_arg(*args, unsigned));
	/* l, z, j, t: all of one width here */
	return (is_signed ? (uintmax_t)va_arg(*args, long) : va_arg(*args, unsigned long));
}

/* One conversion of the format: of %.3lu precision 3, length "l", kind 'u'; without precision -1. */
typedef struct conversion {
	int precision;
	char length[3];
	char kind;
} conversion;

/* Reads the conversion at p, behind the percent sign. Returns the byte after it. */
static const char *
read_conversion(conversion *c, const char *p, va_list *args)
{
	size_t n;

	c->precision = -1;
	p += strspn(p, "-+ #0123456789"); /* padding is for columns; there are none */
	if (p[0] == '.' && p[1] == '*') {
		c->precision = va_arg(*args, int);
		p += 2;
	} else if (p[0] == '.') {
		for (p++, c->precision = 0; *p >= '0' && *p <= '9'; p++)
			c->precision = c->precision * 10 + (*p - '0');
	}
	n = strspn(p, "hlzjt");
	SPR_ASSERT(n <= 2);
	snprintf(c->length, sizeof(c->length), "%.*s", (int)n, p);
	c->kind = p[n];
	return (p + n + (p[n] != '\0'));
}

/* Formats the conversion's argument and adds it to the value. */
static void
take_argument(field *f, const conversion *c, va_list *args)
{
	char text[64] = "";
	const char *s;

	switch (c->kind) {
	case 's':
		s = va_arg(*args, const char *);
		s = s == NULL ? "(null)" : s;
		add_to_value(f, s, c->precision < 0 ? strlen(s) : strnlen(s, (size_t)c->precision));
		return;
	case 'd':
	case 'i':
		snprintf(text, sizeof(text), "%jd", (intmax_t)take_integer(args, c->length, true));
		break;
	case 'u':
		snprintf(text, sizeof(text), "%ju", take_integer(args, c->length, false));
		break;
	case 'x':
		snprintf(text, sizeof(text), "%jx", take_integer(args, c->length, false));
		break;
	case 'c':
		snprintf(text, sizeof(text), "%c", va_arg(*args, int));
		break;
	case 'f':
	case 'g':
		snprintf(text, sizeof(text), c->kind == 'f' ? "%.*f" : "%.*g",
			 c->precision < 0 ? 6 : c->precision, va_arg(*args, double));
		break;
	case 'p':
		snprintf(text, sizeof(text), "%p", va_arg(*args, void *));
		break;
	default:
		SPR_ASSERT(!"a conversion that the log does not know");
	}
	add_to_value(f, text, strlen(text));
}

static void
put_fields(line *l, const char *format, va_list *args)
{
	conversion c;
	field f;

	f.key_len = f.value_len = 0;
	f.in_value = f.is_quoted = false;
	for (const char *p = format; *p != '\0';) {
		if (p[0] != '%') {
			take_literal(l, &f, *p++);
		} else if (p[1] == '%') {
			take_literal(l, &f, '%');
			p += 2;
		} else {
			SPR_ASSERT(f.in_value); /* a key is never an argument */
			p = read_conversion(&c, p + 1, args);
			take_argument(&f, &c, args);
		}
	}
	end_field(l, &f);
}

/*
 * Rate and write
 */

/* The id's slot; NULL when the table is full, and the id goes unlimited. */
static limit *
limit_find(const char *id)
{
	uint32_t hash = 2166136261U;

	for (const char *p = id; *p != '\0'; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619U;
	for (unsigned i = 0; i < N_LIMITS; i++) {
		limit *slot = &limits[(hash + i) % N_LIMITS];
		const char *found = NULL;

		/* relaxed: ids are string literals; the counts are atomics of their own */
		if (atomic_compare_exchange_strong_explicit(
			&slot->id, &found, id, memory_order_relaxed, memory_order_relaxed) ||
		    strcmp(found, id) == 0)
			return (slot);
	}
	return (NULL);
}

static bool
limit_lets_through(limit *slot)
{
	uint64_t second = spr_clock_now_ns() / SPR_NS_PER_S;
	/* relaxed: the word is the whole state */
	uint64_t old = atomic_load_explicit(&slot->window, memory_order_relaxed);
	uint64_t next;

	do {
		next = old >> 8 == second ? old + 1 : (second << 8 | 1);
		if ((next & 0xff) > BURST)
			return (false);
		/* relaxed: as above */
	} while (!atomic_compare_exchange_weak_explicit(
	    &slot->window, &old, next, memory_order_relaxed, memory_order_relaxed));
	return (true);
}

static void
hold_back(limit *slot, uint64_t n_reported)
{
	spr_count(SPR_C_LOG_SUPPRESSED);
	if (slot != NULL)
		/* relaxed: a count */
		atomic_fetch_add_explicit(&slot->n_held_back, n_reported + 1, memory_order_relaxed);
}

/* False when the line could not be handed over whole and at once. */
static bool
write_line(const char *text, size_t len)
{
	struct pollfd room = {.fd = log_fd, .events = POLLOUT};
	int saved_errno = errno; /* logging is transparent to who logs an errno */
	ssize_t n = -1;

	switch (log_target) {
	case TARGET_FILE:
		n = write(log_fd, text, len);
		break;
	case TARGET_SOCKET:
		n = send(log_fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case TARGET_PIPE:
		/* a pipe with room takes a line of up to PIPE_BUF whole; the lock keeps other
		 * threads from taking it */
		pthread_mutex_lock(&pipe_lock);
		if (poll(&room, 1, 0) == 1)
			n = write(log_fd, text, len);
		pthread_mutex_unlock(&pipe_lock);
		break;
	}
	errno = saved_errno;
	return (n == (ssize_t)len);
}

void
spr_log_write(spr_log_level level, const char *id, const char *format, ...)
{
	line l = {.len = 0, .max = LINE_MAX_BYTES - LINE_RESERVE, .is_json = is_json};
	limit *slot = limit_find(id);
	uint64_t n_held_back = 0;
	char number[24];
	va_list args;

	if (slot != NULL && !limit_lets_through(slot)) {
		hold_back(slot, 0);
		return;
	}
	l.len = 0;
	l.max = LINE_MAX_BYTES - LINE_RESERVE;
	l.is_cut = false;
	l.is_json = is_json;
	put_head(&l, level, id);
	va_start(args, format);
	put_fields(&l, format, &args);
	va_end(args);
	if (slot != NULL) {
		/* relaxed: a count */
		n_held_back = atomic_exchange_explicit(&slot->n_held_back, 0, memory_order_relaxed);
	}
	l.max = LINE_MAX_BYTES; /* what follows may use the reserve */
	l.is_cut = false;
	if (n_held_back != 0) {
		snprintf(number, sizeof(number), "%ju", (uintmax_t)n_held_back);
		put_pair(&l, "suppressed", number, strlen(number));
	}
	put_text(&l, l.is_json ? "}\n" : "\n");
	if (level <= SPR_LOG_WARN)
		spr_log_recent_add(l.text, l.len);
	if (!write_line(l.text, l.len))
		hold_back(slot, n_held_back);
}
