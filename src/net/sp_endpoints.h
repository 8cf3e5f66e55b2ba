/*
 * sp_endpoints - the addresses of one socket, in a list that grows. Private to net/.
 *
 * Threads     main alone
 */
#pragma once

#include "net/sp_endpoint.h"

typedef struct spr_sp_endpoints {
	spr_sp_endpoint **item;
	unsigned n;
} spr_sp_endpoints;

/* [main] As spr_sp_endpoint_open(). */
spr_err spr_sp_endpoints_add(spr_sp_endpoints *self, const spr_sp_endpoint_config *config,
			     const char *url, char *bound);
/* [main] No more streams come. */
void spr_sp_endpoints_stop(spr_sp_endpoints *self);
/* [main] After stop, when every stream given out is told lost. */
void spr_sp_endpoints_fini(spr_sp_endpoints *self);
