/*
 * sp_talk - the connections of a socket on which both sides talk (REQ, REP), over the streams of its endpoints. Private
 * to net/.
 *
 *   stream --> on_peer --> [read a message --> on_message --> NEXT, or PARK ... spr_sp_peer_resume] --> on_lost
 *                          [spr_sp_peer_send --> queue --> written, up to 8 messages a system call]
 *
 * Writer      any thread sends and resumes; nng's threads read and write
 * Reader      nng's threads: the callbacks, one at a time for each peer
 * Ownership   on_message moves the buffer out; a peer is valid from on_peer until on_lost returns
 * Ordering    the mutex orders sends and the steps of a connection; it is taken last, and no callback runs under it
 * Progress    nothing waits, but for a mutex that is held for one system call at most
 * Limits      max_message; a peer that owes its kernel more than max_queued bytes is not read until it has taken them,
 *             and is cut when it takes none for stall_ms
 * Teardown    spr_sp_talk_stop(): on_lost for every peer, then nothing runs any more; spr_sp_talk_free()
 */
#pragma once

#include "net/sp_endpoint.h"

typedef struct spr_sp_talk spr_sp_talk;
typedef struct spr_sp_peer spr_sp_peer;
typedef struct spr_sp_message spr_sp_message;

/* What the owner of the socket keeps with a peer: guarded by the owner. */
struct spr_sp_peer {
	spr_sp_peer *next, *prev;
	bool is_listed;
	unsigned n_out;    /* REQ: requests that it has and that wait for a reply */
	unsigned n_silent; /* REQ: time-outs since its last reply */
	spr_buf *held;     /* REP: a request that waits for a slot */
};

typedef enum spr_sp_verdict { SPR_SP_NEXT, SPR_SP_PARK, SPR_SP_CUT } spr_sp_verdict;

typedef struct spr_sp_talk_config {
	uint16_t protocol, peer;
	size_t max_message;
	const char *limit_name; /* of max_message, for the log */
	size_t max_queued;
	unsigned stall_ms;
	spr_pipe_events pipes;
	/* [nng-cb] May be NULL. */
	void (*on_peer)(void *arg, spr_sp_peer *peer);
	/* [nng-cb, whoever resumes] PARK: nothing is read until spr_sp_peer_resume(), which may be before this returns. */
	spr_sp_verdict (*on_message)(void *arg, spr_sp_peer *peer, spr_buf *buf);
	/* [nng-cb, whoever resumes] Never while it is parked. */
	void (*on_lost)(void *arg, spr_sp_peer *peer);
	void *arg;
} spr_sp_talk_config;

/* [main] */
spr_err spr_sp_talk_new(spr_sp_talk **out, const spr_sp_talk_config *config);
/* [main] bound as in net.h; NULL dials. */
spr_err spr_sp_talk_add(spr_sp_talk *talk, const char *url, char *bound);
/* [any] Peers connected now. */
unsigned spr_sp_talk_count(const spr_sp_talk *talk);
/* [main] Cuts every peer and waits until the last is lost: whoever parks peers resumes them before or meanwhile. */
void spr_sp_talk_stop(spr_sp_talk *talk);
/* [main] NULL is fine. */
void spr_sp_talk_free(spr_sp_talk *talk);

/* [any] A message of two parts; NULL without memory. */
spr_sp_message *spr_sp_message_new(const void *head, size_t head_len, const void *data, size_t len);
void spr_sp_message_free(spr_sp_message *message);

/* [any] False: the peer is gone, the message still the caller's. */
bool spr_sp_peer_send(spr_sp_peer *peer, spr_sp_message *message);
/* [any] Reads on, once for each PARK; may call on_message and on_lost. */
void spr_sp_peer_resume(spr_sp_peer *peer);
