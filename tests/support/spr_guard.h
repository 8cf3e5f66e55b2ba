/*
 * spr_guard - memory that ends at an unreadable page: a read or write past it crashes in any build.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Returns the end of `size` writable bytes, which stay until the program exits: put len bytes at
 * end - len. Ends the program when there is no memory. */
uint8_t *spr_guard_end(size_t size);
