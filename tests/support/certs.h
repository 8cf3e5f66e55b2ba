/*
 * certs - certificates for tests, as PEM files <dir>/<name>.pem with their keys <dir>/<name>.key.
 */
#pragma once

#include <stdbool.h>

/* One that signs others, and itself. */
void spr_certs_authority(const char *dir, const char *name);
/* One for the host localhost, signed by that authority; expired an hour ago, or valid for one more. */
void spr_certs_make(const char *dir, const char *authority, const char *name, bool is_expired);
