/*
 * peers - the daemon's surroundings as threads of the test: delivery workers that take jobs, and an
 * upstream that is given answers. Both put what they get into inboxes that the test waits on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A list of texts with a wait. [any] */
typedef struct spr_inbox spr_inbox;
spr_inbox *spr_inbox_new(void);
void spr_inbox_free(spr_inbox *inbox);
/* Takes over malloc memory. */
void spr_inbox_put(spr_inbox *inbox, char *text);
/* Waits for a text equal to this one and removes it; false: it did not come. */
bool spr_inbox_take(spr_inbox *inbox, const char *text, int ms);
/* Waits until n texts are there. */
bool spr_inbox_wait(spr_inbox *inbox, size_t n, int ms);
size_t spr_inbox_count(spr_inbox *inbox);
/* All texts, sorted bytewise; the inbox is empty then. Free each, and the array. */
char **spr_inbox_take_all(spr_inbox *inbox, size_t *n);
/* To stderr, at most 20 of them. */
void spr_inbox_print(spr_inbox *inbox, const char *title);

/* A delivery worker: dials the outbox as PULL and puts each message into the inbox. */
typedef struct spr_worker spr_worker;
/* NULL: cannot connect. limit: how many messages it takes before it stops reading; SIZE_MAX: no
 * end. */
spr_worker *spr_worker_start(const char *url, spr_inbox *inbox, size_t limit);
/* It may take this many from its start. */
void spr_worker_allow(spr_worker *worker, size_t limit);
size_t spr_worker_count(const spr_worker *worker);
/* Waits until the daemon closes the connection. */
bool spr_worker_wait_gone(spr_worker *worker, int ms);
/* Drops the connection. NULL is fine. */
void spr_worker_stop(spr_worker *worker);

typedef enum spr_manner {
	SPR_MANNER_ACCEPT,  /* {"ok":true} */
	SPR_MANNER_REFUSE,  /* {"ok":false} */
	SPR_MANNER_GARBAGE, /* no JSON */
	SPR_MANNER_SILENT,  /* no reply */
	SPR_MANNER_SLOW,    /* {"ok":true} after a while */
	SPR_MANNER_HANG_UP, /* closes the connection */
	SPR_MANNER_PICKY,   /* refuses every request that names the id "bad" */
} spr_manner;

/* An upstream's REP server. */
typedef struct spr_upstream spr_upstream;
/*
 * url with port 0: any port. Accepted answers go to `answers` as "ack ID" and "nack ID REASON RETRY";
 * every request goes to `heard` as it came, whatever is replied. Fails the test when it cannot
 * listen.
 */
spr_upstream *spr_upstream_start(const char *url, spr_inbox *answers, spr_inbox *heard);
const char *spr_upstream_url(const spr_upstream *upstream);
/* What is said to be "working ID": no answer, and on a slow machine it may come at any time. */
spr_inbox *spr_upstream_working(spr_upstream *upstream);
void spr_upstream_behave(spr_upstream *upstream, spr_manner manner);
/* Closes everything. NULL is fine. */
void spr_upstream_stop(spr_upstream *upstream);
