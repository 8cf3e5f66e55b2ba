/*
 * http_page - the page at / and the numbers it draws. The page is one file, page.html, put into the program by the
 * assembler; it loads nothing from anywhere else.
 *
 * Threads     http; constant after init
 */
#pragma once

#include "control/http_server.h"

typedef struct spr_http_page {
	char *text; /* with this process's nonce in it */
	char policy[320];
	spr_http_header headers[3];
} spr_http_page;

/* [main] */
spr_err spr_http_page_init(spr_http_page *page);
/* [main] A zeroed one is fine. */
void spr_http_page_fini(spr_http_page *page);
