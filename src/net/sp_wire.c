/*
 * sp_wire - the log lines about peers, the same for every transport.
 */
#include "net/sp_wire.h"

#include "base/counters.h"
#include "base/log.h"

void
spr_sp_blame_malformed(const spr_peer *peer, const char *why)
{
	char text[SPR_PEER_TEXT_MAX];

	spr_count(SPR_C_PEERS_CUT_MALFORMED);
	spr_warn("PEER-MALFORMED", "peer=\"%s\" why=\"%s; its connection is cut\"",
		 spr_peer_text(peer, text), why);
}

void
spr_sp_blame_too_large(const spr_peer *peer, uint64_t len, size_t limit, const char *what,
		       const char *limit_name)
{
	char text[SPR_PEER_TEXT_MAX];

	spr_count(SPR_C_PEERS_CUT_TOO_LARGE);
	spr_warn("PEER-TOO-LARGE",
		 "peer=\"%s\" bytes=%llu limit=%zu why=\"%s %s; its connection is cut\"",
		 spr_peer_text(peer, text), (unsigned long long)len, limit, what, limit_name);
}
