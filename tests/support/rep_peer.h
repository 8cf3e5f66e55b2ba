/*
 * An upstream's REP side by hand, on the test's own thread: it hears a request when the test asks for it, and says what
 * the test wants.
 */
#pragma once

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spr_test.h"

#include "sp_raw.h"

#define REP_WAIT_MS 20000

typedef struct rep_peer {
	int listener;
	char url[64];
	spr_sp sp;
} rep_peer;

/* A request as it came. */
typedef struct rep_request {
	uint8_t id[4];
	char text[8192];
} rep_request;

/* Connections are taken by the kernel from here on, but get no handshake. */
static inline rep_peer
rep_listen(void)
{
	rep_peer peer = {.sp = SPR_SP_CLOSED};

	assert_true((peer.listener = spr_sp_listen("tcp://127.0.0.1:0", peer.url)) >= 0);
	return (peer);
}

static inline void
rep_accept(rep_peer *peer)
{
	int fd = accept(peer->listener, NULL, NULL);

	assert_true(fd >= 0);
	assert_true(spr_sp_adopt(&peer->sp, fd, SPR_SP_REP));
}

static inline void
rep_hang_up(rep_peer *peer)
{
	spr_sp_close(&peer->sp);
}

static inline void
rep_close(rep_peer *peer)
{
	rep_hang_up(peer);
	if (peer->listener >= 0)
		close(peer->listener);
	peer->listener = -1;
}

static inline rep_request
rep_hear(rep_peer *peer)
{
	rep_request request = {0};
	const uint8_t *data;
	size_t len;

	assert_int_equal(spr_sp_recv(&peer->sp, &data, &len, REP_WAIT_MS), SPR_SP_OK);
	assert_in_range(len, 4, sizeof(request.text));
	memcpy(request.id, data, 4);
	memcpy(request.text, data + 4, len - 4);
	return (request);
}

static inline void
rep_say(rep_peer *peer, const rep_request *request, const char *reply)
{
	assert_int_equal(spr_sp_send(&peer->sp, request->id, sizeof(request->id), reply,
				     strlen(reply), REP_WAIT_MS),
			 SPR_SP_OK);
}
