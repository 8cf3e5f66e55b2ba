/*
 * sp_path - the path of a unix socket that is listened at, and its lock. Private to net/.
 *
 * Beside the path stands "<path>.lock", held by flock as long as we listen there, so that a second daemon is told so before
 * it touches the path of the first. The lock file is removed while its lock is held; whoever gets a lock looks whether the
 * file it has locked is still the one at that path, and tries again if not.
 *
 * Threads     one at a time: its listener's owner
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "net/net.h"

typedef struct spr_sp_path {
	char url[SPR_URL_MAX]; /* for messages */
	char path
	    [SPR_URL_MAX]; /* "" for an address that has none: then every call is fine and does nothing */
	char lock_path[SPR_URL_MAX + 8];
	int lock_fd;
	dev_t device; /* of the file that is ours */
	ino_t inode;
} spr_sp_path;

/* [any] SPR_E_ADDRESS with a trail: the URL is too long. */
spr_err spr_sp_path_init(spr_sp_path *self, const char *url);
/* [owner] SPR_E_ADDRESS with a trail, as when another process has it. */
spr_err spr_sp_path_lock(spr_sp_path *self);
void spr_sp_path_unlock(spr_sp_path *self);
/* [owner] SPR_E_ADDRESS with a trail: there is a file that is no socket, which nobody may replace. */
spr_err spr_sp_path_check(const spr_sp_path *self);
/* [owner] The file that is there now is ours. */
void spr_sp_path_note(spr_sp_path *self);
/* [owner] False when the path is gone or is another file than the one noted. */
bool spr_sp_path_is_there(const spr_sp_path *self);
