/*
 * cgroup - what the control groups that this process is in allow it: processors and memory. Version 2 and version 1,
 * mounted where every distribution mounts them.
 *
 * Threads     main alone
 */
#pragma once

#include <stdint.h>

typedef struct spr_cgroup_limits {
	uint64_t milli_cpus;   /* thousandths of a processor; 0: no quota */
	uint64_t memory_bytes; /* 0: no limit */
} spr_cgroup_limits;

/*
 * [main] The smallest limit of each kind on the way from our groups up to the root. What cannot be read or
 * understood limits nothing. root: in front of /proc and /sys; "" but for a test.
 */
void spr_cgroup_read(spr_cgroup_limits *out, const char *root);
