/*
 * bench_talk - control requests of the load tool: several may be open at once on one connection.
 *
 * Threads     one at a time
 */
#pragma once

#include "base/error.h"
#include "bench_link.h"

typedef struct bench_talk {
	bench_link link;
	bool is_open;
	uint32_t last_id;
} bench_talk;

spr_err bench_talk_open(bench_talk *talk, const char *url);
/* A zeroed one is fine. */
void bench_talk_close(bench_talk *talk);
/* Sends and does not wait. */
spr_err bench_talk_send(bench_talk *talk, const char *request, size_t len);
/* Waits at most so long for a reply to any of them: SPR_E_TIMEOUT, SPR_E_CLOSED; *is_ok: it was answered ok. */
spr_err bench_talk_take(bench_talk *talk, uint64_t ns, bool *is_ok);
/* Sends and waits for a reply that is ok: SPR_E_PEER with a trail if it is not. Nothing else may be open. */
spr_err bench_talk_ask(bench_talk *talk, const char *request, size_t len);
