/*
 * sync_count - how often this program has waited for its disk: these functions stand before those of libc, for its libraries
 * too.
 */
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

static unsigned long n_syncs;

int
fdatasync(int fd)
{
	n_syncs++;
	return ((int)syscall(SYS_fdatasync, fd));
}

int
fsync(int fd)
{
	n_syncs++;
	return ((int)syscall(SYS_fsync, fd));
}
