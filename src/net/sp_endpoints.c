/*
 * sp_endpoints - a list of addresses; one that cannot be opened is not in it.
 */
#include "net/sp_endpoints.h"

#include "base/mem.h"

spr_err
spr_sp_endpoints_add(spr_sp_endpoints *self, const spr_sp_endpoint_config *config, const char *url,
		     char *bound)
{
	spr_sp_endpoint **grown = spr_mem_realloc(self->item, (self->n + 1) * sizeof(*grown));
	spr_err rv;

	if (grown == NULL)
		return (SPR_E_NOMEM);
	self->item = grown;
	if ((rv = spr_sp_endpoint_open(&grown[self->n], config, url, bound)) == SPR_OK)
		self->n++;
	return (rv);
}

void
spr_sp_endpoints_stop(spr_sp_endpoints *self)
{
	for (unsigned i = 0; i < self->n; i++)
		spr_sp_endpoint_stop(self->item[i]);
}

void
spr_sp_endpoints_fini(spr_sp_endpoints *self)
{
	for (unsigned i = 0; i < self->n; i++)
		spr_sp_endpoint_free(self->item[i]);
	spr_mem_free(self->item);
	*self = (spr_sp_endpoints){0};
}
