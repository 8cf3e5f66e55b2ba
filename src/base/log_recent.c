/*
 * log_recent - a ring of lines. Rate limits are the log's: what it holds back does not come here.
 */
#include "base/log_recent.h"

#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the next two */
static char lines[SPR_RECENT_MAX][SPR_RECENT_TEXT];
static unsigned n_added;

void
spr_log_recent_add(const char *line, size_t len)
{
	char *slot;

	len = len > 0 && line[len - 1] == '\n' ? len - 1 : len;
	if (len > SPR_RECENT_TEXT - 1) {
		len = SPR_RECENT_TEXT - 1;
		while (len > 0 && (line[len] & 0xc0) == 0x80) /* not in the middle of a character */
			len--;
	}
	pthread_mutex_lock(&lock);
	slot = lines[n_added++ % SPR_RECENT_MAX];
	memcpy(slot, line, len);
	slot[len] = '\0';
	pthread_mutex_unlock(&lock);
}

unsigned
spr_log_recent_read(char out[SPR_RECENT_MAX][SPR_RECENT_TEXT])
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = n_added < SPR_RECENT_MAX ? n_added : SPR_RECENT_MAX;
	for (unsigned i = 0; i < n; i++)
		memcpy(out[i], lines[(n_added - 1 - i) % SPR_RECENT_MAX], SPR_RECENT_TEXT);
	pthread_mutex_unlock(&lock);
	return (n);
}
