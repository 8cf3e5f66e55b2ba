/*
 * spr_guard - see the header. Sanitizers watch only what the compiler sees; a page that cannot be
 * read also stops vector loads of a release build.
 */
#include "spr_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

uint8_t *
spr_guard_end(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t whole = (size + page - 1) / page * page;
	uint8_t *p =
	    mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + whole, page, PROT_NONE) != 0) {
		perror("spr_guard_end");
		exit(1);
	}
	return (p + whole);
}
