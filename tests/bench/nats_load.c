/*
 * Load for nats-server, so that the daemon can be put beside it: the same payloads, fan-out and window as the SP load, over
 * the text protocol, from plain sockets, many messages a write. No acks: nats-server has none here.
 *
 * usage: nats_load thr|lat|open PORT [n=N] [fan=F] [size=S] [window=W] [rate=R] [background=X]
 *
 *   thr   messages and copies a second; at most W copies are open
 *   lat   one message at a time: percentiles of the time from its publishing to its last copy
 *   open  R messages a second, whatever comes back: percentiles of the time from when each was due to each copy
 *
 *   n, fan      messages, and subscribers (on one connection) that each is for
 *   size        bytes a message
 *   background  subscriptions to other subjects
 *
 * Prints one JSON object. Exit: 0 done, 1 copies are missing, 2 it could not begin.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SUBJECT      "UN.CEFACT.TRADE.CO.created"
#define PATTERN      "UN.CEFACT.TRADE.>"
#define IN_BYTES     ((size_t)1 << 20)
#define SEND_BYTES   16000 /* a system call's worth of small messages */
#define STANDSTILL_S 8
#define STAMP        24 /* a due time in decimal, at the start of a payload */

static struct {
	long port, n, fan, size, window, rate, background;
} options = {.n = 100000, .fan = 1, .size = 256, .window = 20000, .rate = 20000};

static const struct {
	const char *name;
	long *value;
	long min;
} option_table[] = {
    {"n", &options.n, 1},           {"fan", &options.fan, 1},
    {"size", &options.size, STAMP}, {"window", &options.window, 1},
    {"rate", &options.rate, 1},     {"background", &options.background, 0},
};

typedef struct nats {
	int fd;
	char *in;
	size_t start, end;
} nats;

static atomic_long n_copies;
static uint64_t *took_ns; /* by copy, in `open` and `lat` */
static bool is_open_loop;

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return ((uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec);
}

static void
rest_us(long us)
{
	nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static _Noreturn void
die(const char *what, const char *object)
{
	fprintf(stderr, "nats_load: %s %s\n", what, object);
	exit(2);
}

/* ---------------------------------------------------------------------------------------------
 * the protocol */

static void
send_all(nats *c, const char *bytes, size_t len)
{
	ssize_t n;

	for (; len > 0; bytes += n, len -= (size_t)n) {
		if ((n = send(c->fd, bytes, len, MSG_NOSIGNAL)) <= 0)
			die("the server", "is gone");
	}
}

static bool
read_more(nats *c)
{
	ssize_t n;

	memmove(c->in, c->in + c->start, c->end - c->start);
	c->end -= c->start;
	c->start = 0;
	if ((n = recv(c->fd, c->in + c->end, IN_BYTES - c->end, 0)) <= 0)
		return (false);
	c->end += (size_t)n;
	return (true);
}

/* The next line's start, NUL-terminated, without its end; NULL: it is not whole. */
static char *
next_line(nats *c, char **behind)
{
	char *line = c->in + c->start, *end = memchr(line, '\n', c->end - c->start);

	if (end == NULL)
		return (NULL);
	*behind = end + 1;
	end[-1] = '\0';
	return (line);
}

/* The next message's payload, NULL when nothing more is whole. Answers pings on the way; a pong counts as a message of
 * no bytes, which nothing else here has. */
static const char *
next_message(nats *c, size_t *len)
{
	char *line, *payload;

	while ((line = next_line(c, &payload)) != NULL) {
		if (strncmp(line, "MSG", 3) == 0) {
			*len = (size_t)atol(strrchr(line, ' ') + 1);
			if (payload + *len + 2 > c->in + c->end) {
				payload[-2] = '\r'; /* next time again */
				return (NULL);
			}
			c->start = (size_t)(payload - c->in) + *len + 2;
			return (payload);
		}
		c->start = (size_t)(payload - c->in);
		*len = 0;
		if (strcmp(line, "PONG") == 0)
			return (payload);
		if (strcmp(line, "PING") == 0)
			send_all(c, "PONG\r\n", 6);
		else if (strncmp(line, "-ERR", 4) == 0)
			die("the server says", line);
	}
	return (NULL);
}

static void
ping(nats *c)
{
	size_t len;

	send_all(c, "PING\r\n", 6);
	while (next_message(c, &len) == NULL) {
		if (!read_more(c))
			die("the server", "is gone");
	}
}

static nats
dial(void)
{
	static const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)options.port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	nats c = {.fd = socket(AF_INET, SOCK_STREAM, 0), .in = malloc(IN_BYTES)};
	int on = 1;

	if (c.in == NULL || connect(c.fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		die("cannot connect to", "nats-server");
	setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	send_all(&c, hello, sizeof(hello) - 1);
	ping(&c);
	return (c);
}

static void
subscribe(nats *c)
{
	char text[128 * 64];
	size_t len = 0;

	for (long i = 0; i < options.fan + options.background; i++) {
		if (i < options.fan)
			len += (size_t)sprintf(text + len, "SUB " PATTERN " %ld\r\n", i + 1);
		else
			len += (size_t)sprintf(text + len, "SUB UN.X%ld.Y%ld.> %ld\r\n", i % 1000,
					       i / 1000, i + 1);
		if (len > sizeof(text) - 128 || i + 1 == options.fan + options.background) {
			send_all(c, text, len);
			len = 0;
		}
	}
	ping(c);
}

/* ---------------------------------------------------------------------------------------------
 * the subscribers */

static void *
run_subscribers(void *arg)
{
	nats *c = arg;
	const char *payload;
	size_t len;
	long n = 0;

	do {
		uint64_t now = is_open_loop ? now_ns() : 0;

		while ((payload = next_message(c, &len)) != NULL) {
			if (is_open_loop && n < options.n * options.fan)
				took_ns[n] = now - strtoull(payload, NULL, 10);
			n++;
		}
		atomic_store(&n_copies, n);
	} while (n < options.n * options.fan && read_more(c));
	return (NULL);
}

/* ---------------------------------------------------------------------------------------------
 * the publisher */

static size_t
put_message(char *to, uint64_t due_ns)
{
	size_t len = (size_t)sprintf(to, "PUB " SUBJECT " %ld\r\n", options.size);

	memset(to + len, 'x', (size_t)options.size);
	if (due_ns != 0)
		to[len + (size_t)sprintf(to + len, "%llu", (unsigned long long)due_ns)] = ' ';
	len += (size_t)options.size;
	memcpy(to + len, "\r\n", 2);
	return (len + 2);
}

static char *
message_buffer(void)
{
	char *buffer = malloc(SEND_BYTES + 2 * ((size_t)options.size + 64));

	if (buffer == NULL)
		die("out of memory for", "a message");
	return (buffer);
}

/* False when nothing has come for a while. */
static bool
wait_for_copies(long n)
{
	uint64_t moved_ns = now_ns();
	long last = -1, seen;

	while ((seen = atomic_load(&n_copies)) < n) {
		if (seen != last)
			moved_ns = now_ns();
		else if (now_ns() - moved_ns > STANDSTILL_S * UINT64_C(1000000000))
			return (false);
		last = seen;
		rest_us(20);
	}
	return (true);
}

static bool
publish_all(nats *c)
{
	char *buffer = message_buffer();
	bool is_moving = true;
	long sent = 0;

	while (sent < options.n && is_moving) {
		size_t len = 0;

		is_moving = wait_for_copies(sent * options.fan - options.window);
		for (; len < SEND_BYTES && sent < options.n; sent++)
			len += put_message(buffer + len, 0);
		send_all(c, buffer, len);
	}
	free(buffer);
	return (is_moving && wait_for_copies(options.n * options.fan));
}

/* What is due by now goes in one write; nothing waits for what comes back. */
static bool
publish_at_rate(nats *c)
{
	char *buffer = message_buffer();
	uint64_t start = now_ns(), due;
	long sent = 0;

	prctl(PR_SET_TIMERSLACK, 1);
	while (sent < options.n) {
		size_t len = 0;
		uint64_t now = now_ns();

		for (; len < SEND_BYTES && sent < options.n; sent++) {
			due = start + (uint64_t)sent * 1000000000u / (uint64_t)options.rate;
			if (due > now)
				break;
			len += put_message(buffer + len, due);
		}
		send_all(c, buffer, len);
		if (len == 0)
			nanosleep(&(struct timespec){.tv_nsec = (long)(due - now)}, NULL);
	}
	free(buffer);
	return (wait_for_copies(options.n * options.fan));
}

static bool
publish_one_by_one(nats *c, nats *subscribers)
{
	char *buffer = message_buffer();
	size_t len;

	for (long i = 0; i < options.n; i++) {
		uint64_t start = now_ns();

		send_all(c, buffer, put_message(buffer, 0));
		for (long got = 0; got < options.fan;) {
			if (next_message(subscribers, &len) != NULL)
				got++;
			else if (!read_more(subscribers))
				return (false);
		}
		took_ns[i] = now_ns() - start;
	}
	free(buffer);
	return (true);
}

/* ---------------------------------------------------------------------------------------------
 * what it prints */

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return ((x > y) - (x < y));
}

static void
print_percentiles(size_t n)
{
	qsort(took_ns, n, sizeof(*took_ns), compare);
	printf("{\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f}\n", (double)took_ns[n / 2] / 1e3,
	       (double)took_ns[n * 99 / 100] / 1e3, (double)took_ns[n * 999 / 1000] / 1e3);
}

static bool
run_beside_subscribers(nats *publisher, nats *subscribers)
{
	pthread_t thread;
	uint64_t start;
	double took_s;

	if (pthread_create(&thread, NULL, run_subscribers, subscribers) != 0)
		die("cannot start", "a thread");
	start = now_ns();
	if (!(is_open_loop ? publish_at_rate(publisher) : publish_all(publisher)))
		return (false);
	took_s = (double)(now_ns() - start) / 1e9;
	pthread_join(thread, NULL);
	if (is_open_loop)
		print_percentiles((size_t)(options.n * options.fan));
	else
		printf("{\"notifications_per_s\":%.0f,\"jobs_per_s\":%.0f}\n",
		       (double)options.n / took_s, (double)(options.n * options.fan) / took_s);
	return (true);
}

static void
read_option(const char *text)
{
	const char *value = strchr(text, '=');

	for (size_t i = 0; value != NULL && i < sizeof(option_table) / sizeof(option_table[0]);
	     i++) {
		if (strncmp(option_table[i].name, text, (size_t)(value - text)) != 0 ||
		    option_table[i].name[value - text] != '\0')
			continue;
		if ((*option_table[i].value = atol(value + 1)) < option_table[i].min)
			die("too small:", text);
		return;
	}
	die("no such option:", text);
}

int
main(int argc, char **argv)
{
	bool is_latency = argc > 1 && strcmp(argv[1], "lat") == 0, is_done;
	static nats publisher, subscribers; /* they last as long as the process */

	is_open_loop = argc > 1 && strcmp(argv[1], "open") == 0;
	if (argc < 3 || (!is_latency && !is_open_loop && strcmp(argv[1], "thr") != 0))
		die("usage: nats_load thr|lat|open PORT", "[key=value]...");
	options.port = atol(argv[2]);
	for (int i = 3; i < argc; i++)
		read_option(argv[i]);
	if ((took_ns = calloc((size_t)(options.n * options.fan), sizeof(*took_ns))) == NULL)
		die("out of memory for", "the times");
	subscribers = dial();
	subscribe(&subscribers);
	publisher = dial();
	if (is_latency) {
		if ((is_done = publish_one_by_one(&publisher, &subscribers)))
			print_percentiles((size_t)options.n);
	} else
		is_done = run_beside_subscribers(&publisher, &subscribers);
	return (is_done ? 0 : 1);
}
