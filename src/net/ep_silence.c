/*
 * ep_silence - what TCP_INFO says of it.
 *
 * A retransmission counts until something new is acknowledged, a probe until anything is: a peer whose window is shut answers
 * each, however long it does not read. One lost packet is no silence, nor are ten seconds in which nothing was asked.
 */
#include "net/ep_silence.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define UNHEARD_MIN 3
#define SILENT_MS   10000 /* as with keepalive: 5 + 3 * 2 s */

spr_ep_silence
spr_ep_silence_read(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	int n_bytes = 0;

	if (ioctl(fd, SIOCOUTQ, &n_bytes) != 0 || n_bytes <= 0 ||
	    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
		return ((spr_ep_silence){0});
	return ((spr_ep_silence){.is_waiting = true,
				 .n_unheard = info.tcpi_unacked > 0 ? info.tcpi_retransmits
								    : info.tcpi_probes,
				 .silent_ms = info.tcpi_last_ack_recv});
}

bool
spr_ep_silence_is_final(const spr_ep_silence *silence)
{
	return (silence->is_waiting && silence->n_unheard >= UNHEARD_MIN &&
		silence->silent_ms >= SILENT_MS);
}
