/*
 * vanish - a peer whose host is gone: its end of a tcp connection hears and says nothing any more. Needs no privileges.
 */
#pragma once

#include <linux/filter.h>
#include <sys/socket.h>

/* Nothing that arrives gets as far as TCP. */
static inline void
vanish(int fd)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {.len = 1, .filter = &drop};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)),
			 0);
}
