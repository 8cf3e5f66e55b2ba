/*
 * bench_upstream - REP by hand: a request begins with four bytes of the asker's, and so does its reply. Ids have no escapes, so
 * a quote ends one.
 */
#include <string.h>

#include "bench_load.h"

#define TRACE_LEN 4

static const char reply[] = "{\"ok\":true}";

static void
take_ack(bench_upstream *u, const char *id, uint64_t now_ns)
{
	bench_load *load = u->load;
	bench_mark mark;

	if (memcmp(id, load->run_text, sizeof(load->run_text)) != 0)
		return; /* of an earlier run; told late */
	mark = bench_mark_get(id);
	if (!bench_tally_add(&u->tally, mark.number, 0))
		return;
	u->acks++;
	bench_histogram_add(&u->latency, now_ns > mark.at_ns ? now_ns - mark.at_ns : 0, 1);
	if (load->options->confirm == BENCH_CONFIRM_RECEIPT &&
	    load->options->verify == BENCH_VERIFY_FULL && load->n_workers > 0 &&
	    bench_documents_is_hit(&load->documents, mark.number) &&
	    !bench_tally_is_whole(load->tallies, load->n_workers, mark.number))
		u->n_early++;
}

/* Behind "name":[, NULL if it is not there. */
static const char *
array_in(const char *text, size_t len, const char *name)
{
	const char *at = memmem(text, len, name, strlen(name));

	return (at != NULL ? at + strlen(name) : NULL);
}

static void
take_acks(bench_upstream *u, const char *text, size_t len, uint64_t now_ns)
{
	const char *at = array_in(text, len, "\"ack\":["), *end = text + len, *id_end;

	while (at != NULL && at < end && *at == '"') {
		id_end = memchr(at + 1, '"', (size_t)(end - at - 1));
		if (id_end == NULL)
			return;
		if (id_end - at - 1 == BENCH_MARK_LEN)
			take_ack(u, at + 1, now_ns);
		at = id_end + 1 + (id_end + 1 < end && id_end[1] == ',');
	}
}

/* A nack of this run: what the daemon was not able to do is a failure of the run. */
static void
take_nacks(bench_upstream *u, const char *text, size_t len)
{
	const char *at = array_in(text, len, "\"nack\":["), *end = text + len;

	while (at != NULL && (at = array_in(at, (size_t)(end - at), "\"reason\":\"")) != NULL) {
		size_t n = strcspn(at, "\"");

		if (u->reason[0] == '\0' && n < sizeof(u->reason))
			memcpy(u->reason, at, n);
		atomic_fetch_add(&u->n_nacks, 1);
	}
}

static bool
answer(bench_peer *peer, char *data, size_t len, uint64_t now_ns)
{
	char *at;

	if (len <= TRACE_LEN)
		return (true);
	if ((at = bench_link_room(&peer->link, TRACE_LEN + strlen(reply))) == NULL)
		return (false);
	memcpy(at, data, TRACE_LEN);
	memcpy(at + TRACE_LEN, reply, strlen(reply));
	bench_link_put(&peer->link, TRACE_LEN + strlen(reply));
	data[len - 1] = '\0'; /* its closing brace */
	take_acks(peer->upstream, data + TRACE_LEN, len - TRACE_LEN, now_ns);
	take_nacks(peer->upstream, data + TRACE_LEN, len - TRACE_LEN);
	return (true);
}

static void
on_peer_ready(bench_source *source)
{
	bench_peer *peer = (bench_peer *)source;
	bench_upstream *u = peer->upstream;
	uint64_t now_ns = bench_load_now_ns(u->load);
	bench_io io;
	bool is_good = true;
	char *data;
	size_t len;

	/* to the end: it is told of once only (EPOLLET) */
	while ((io = bench_link_read(&peer->link)) == BENCH_IO_DONE) {
		while (is_good && bench_link_next(&peer->link, &data, &len))
			is_good = answer(peer, data, len, now_ns);
	}
	if (io == BENCH_IO_GONE || !is_good || bench_link_flush(&peer->link) == BENCH_IO_GONE) {
		bench_link_close(&peer->link);
		atomic_fetch_sub(&u->n_peers, 1);
		return;
	}
	u->last_ns = now_ns;
	atomic_store_explicit(&u->n_acks, u->acks,
			      memory_order_release); /* what has come, for main and producers */
}

/* A newcomer; those over the limit are hung up on. */
void
bench_upstream_on_ready(bench_source *source)
{
	bench_upstream *u = (bench_upstream *)source;
	bench_link link;

	if (bench_link_accept(&link, u->listener, BENCH_REP) != SPR_OK)
		return;
	for (unsigned i = 0; i < BENCH_PEERS_MAX; i++) {
		bench_peer *peer = &u->peers[i];

		if (peer->link.fd >= 0)
			continue;
		*peer = (bench_peer){.source = {on_peer_ready}, .upstream = u, .link = link};
		if (!bench_loop_watch(u->loop, link.fd, EPOLLIN | EPOLLOUT | EPOLLET,
				      &peer->source))
			break;
		atomic_fetch_add(&u->n_peers, 1);
		return;
	}
	bench_link_close(&link);
}
