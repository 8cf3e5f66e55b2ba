/*
 * bench_talk - SP REQ by hand: a request begins with a number of ours, its reply with the same.
 */
#include "bench_talk.h"

#include <endian.h>
#include <string.h>

#include "base/clock.h"

#define DIAL_NS  (10 * SPR_NS_PER_S)
#define REPLY_NS (60 * SPR_NS_PER_S)
#define TOP_BIT  0x80000000u

spr_err
bench_talk_open(bench_talk *talk, const char *url)
{
	spr_err rv;

	*talk = (bench_talk){.link = BENCH_LINK_CLOSED};
	if ((rv = bench_link_dial(&talk->link, url, BENCH_REQ, DIAL_NS)) == SPR_OK)
		talk->is_open = true;
	return (rv);
}

void
bench_talk_close(bench_talk *talk)
{
	if (talk->is_open)
		bench_link_close(&talk->link);
	talk->is_open = false;
}

spr_err
bench_talk_send(bench_talk *talk, const char *request, size_t len)
{
	uint32_t id = htobe32(++talk->last_id | TOP_BIT);
	char *at = bench_link_room(&talk->link, sizeof(id) + len);
	bench_io io;

	if (at == NULL)
		return (SPR_E_NOMEM);
	memcpy(at, &id, sizeof(id));
	memcpy(at + sizeof(id), request, len);
	bench_link_put(&talk->link, sizeof(id) + len);
	while ((io = bench_link_flush(&talk->link)) == BENCH_IO_AGAIN) {
		if (!bench_link_wait(&talk->link, true, REPLY_NS))
			return (spr_fail(SPR_E_TIMEOUT, "control does not read"));
	}
	return (io == BENCH_IO_DONE ? SPR_OK : spr_fail(SPR_E_CLOSED, "control has hung up"));
}

/* The next reply, with its number in front. */
static spr_err
next_reply(bench_talk *talk, uint64_t ns, char **data, size_t *len)
{
	uint64_t end_ns = spr_clock_now_ns() + ns, now_ns;

	while (!bench_link_next(&talk->link, data, len)) {
		bench_io io = bench_link_read(&talk->link);

		now_ns = spr_clock_now_ns();
		if (io == BENCH_IO_GONE)
			return (spr_fail(SPR_E_CLOSED, "control has hung up"));
		if (io == BENCH_IO_AGAIN &&
		    (now_ns >= end_ns || !bench_link_wait(&talk->link, false, end_ns - now_ns)))
			return (SPR_E_TIMEOUT);
	}
	return (SPR_OK);
}

static bool
says_ok(const char *data, size_t len)
{
	return (memmem(data, len, "\"ok\":true", strlen("\"ok\":true")) != NULL);
}

spr_err
bench_talk_take(bench_talk *talk, uint64_t ns, bool *is_ok)
{
	char *data;
	size_t len;
	spr_err rv = next_reply(talk, ns, &data, &len);

	if (rv == SPR_OK)
		*is_ok = says_ok(data, len);
	return (rv);
}

spr_err
bench_talk_ask(bench_talk *talk, const char *request, size_t len)
{
	char *data;
	size_t n;
	spr_err rv = bench_talk_send(talk, request, len);

	if (rv == SPR_OK)
		rv = next_reply(talk, REPLY_NS, &data, &n);
	if (rv == SPR_OK && !says_ok(data, n))
		rv = spr_fail(SPR_E_PEER, "control says: %.*s", n > 4 ? (int)n - 4 : 0, data + 4);
	return (rv);
}
