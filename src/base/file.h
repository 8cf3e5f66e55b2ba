/*
 * file - small files that others read: whole or not at all.
 */
#pragma once

#include "base/error.h"

/* [any] The file holds the text and a line's end, whatever it held: written beside it and renamed. SPR_E_IO "<path>: <cause>". */
spr_err spr_file_replace(const char *path, const char *text);
