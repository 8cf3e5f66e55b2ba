/*
 * notify - what a service manager is told: the datagrams of systemd's notification protocol, without its library.
 *
 * Threads     main alone
 * Ownership   the struct is the caller's; a zeroed one is told to nobody
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct spr_notify {
	int socket;           /* 0: nobody listens */
	uint64_t watchdog_ns; /* a sign of life is wanted at least so often; 0: not at all */
} spr_notify;

/* [main] From NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID in envp. What is missing or senseless means nobody. */
void spr_notify_open(spr_notify *out, char **envp);
/* [main] */
bool spr_notify_is_heard(const spr_notify *notify);
/* [main] "READY=1\nSTATUS=..." and the like. Waits a second at most; what is not taken is lost. */
void spr_notify_say(const spr_notify *notify, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* [main] */
void spr_notify_close(spr_notify *notify);
