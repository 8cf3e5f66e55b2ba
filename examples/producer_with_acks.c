/*
 * producer_with_acks - sends notifications and takes the answers: what is not acked is sent again.
 *
 *   spreaderd --ack-listen tcp://127.0.0.1:7720
 *   example_producer_with_acks tcp://127.0.0.1:7710 tcp://127.0.0.1:7720 100
 *
 * PUSH carries the notifications, REP takes the answers: a request names ids as "ack" or "nack", {"ok":true} accepts them
 * all. An upstream must know its ids again after a restart; here they are numbers of one run. Ends when all are answered;
 * exit 1 if any was nacked for good.
 */
#include <nng/nng.h>
#include <nng/protocol/pipeline0/push.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/supplemental/util/platform.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPEN, ACKED, NACKED };

static void
check(int rv, const char *what)
{
	if (rv != 0) {
		fprintf(stderr, "%s: %s\n", what, nng_strerror(rv));
		exit(2);
	}
}

static void
send_open(nng_socket push, const char *state, long n)
{
	char text[128];

	for (long i = 0; i < n; i++) {
		if (state[i] != OPEN)
			continue;
		snprintf(
		    text, sizeof(text),
		    "{\"id\":\"%d-%ld\",\"body\":{\"predicate\":\"UN.EXAMPLE.created\",\"n\":%ld}}",
		    (int)getpid(), i, i);
		check(nng_send(push, text, strlen(text), 0), "send");
	}
}

/* Marks our ids between from and to. An ack beats a nack, whichever comes first. */
static void
mark(char *state, long n, const char *from, const char *to, char as)
{
	char ours[32];
	size_t len = (size_t)snprintf(ours, sizeof(ours), "\"%d-", (int)getpid());

	while (from != NULL && (from = strstr(from, ours)) != NULL && (to == NULL || from < to)) {
		long i = strtol(from += len, NULL, 10);

		if (i >= 0 && i < n && state[i] != ACKED)
			state[i] = as;
	}
}

/* A program with a JSON library reads the members "ack" and "nack"; these come in this order or alone. */
static void
take_answers(char *state, long n, const char *request)
{
	const char *acks = strstr(request, "\"ack\":[");
	const char *nacks = strstr(request, "\"nack\":[");

	mark(state, n, acks, nacks, ACKED);
	if (nacks != NULL && strstr(nacks, "\"retry\":false") != NULL)
		mark(state, n, nacks, NULL,
		     NACKED); /* for good; the others are simply sent again */
}

int
main(int argc, char **argv)
{
	long n = argc > 3 ? atol(argv[3]) : 0;
	char *state = calloc((size_t)n + 1, 1), *request;
	nng_socket push, rep;
	nng_msg *msg;

	if (n <= 0 || state == NULL) {
		fprintf(stderr, "usage: %s INTAKE-URL ACK-URL COUNT\n", argv[0]);
		return (2);
	}
	check(nng_push0_open(&push), "push");
	check(nng_rep0_open(&rep), "rep");
	check(nng_socket_set_ms(rep, NNG_OPT_RECVTIMEO, 5000), "time-out");
	check(nng_dial(push, argv[1], NULL, 0), argv[1]);
	check(nng_dial(rep, argv[2], NULL, 0), argv[2]);
	for (send_open(push, state, n); memchr(state, OPEN, (size_t)n) != NULL;) {
		if (nng_recvmsg(rep, &msg, 0) != 0) { /* no answer for a while */
			send_open(push, state, n);
			continue;
		}
		request = strndup(nng_msg_body(msg), nng_msg_len(msg));
		take_answers(state, n, request);
		free(request);
		nng_msg_clear(msg);
		check(nng_msg_append(msg, "{\"ok\":true}", 11), "reply");
		check(nng_sendmsg(rep, msg, 0), "reply");
	}
	nng_msleep(100); /* nng does not linger: let the last reply go out */
	printf("%ld notifications answered\n", n);
	return (memchr(state, NACKED, (size_t)n) != NULL);
}
