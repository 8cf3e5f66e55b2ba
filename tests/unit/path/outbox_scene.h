/*
 * What the tests of the outbox share: an outbox of two lanes on the fake transport, with a ledger that has no upstream: what is
 * completed is back in the pool at once, and its record can still be read.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#include "base/counters.h"
#include "fake_transport.h"
#include "fake_waiters.h"
#include "path/outbox.h"

#define PREFIX    "{\"s\":\"http://a\",\"payload\":"
#define MAX_BYTES 1000

typedef struct scene {
	spr_fake_waiters dispatchers;
	spr_notifications pool;
	spr_ledger *ledger;
	spr_outbox *outbox;
	spr_outbox_lane *lane[2];
} scene;

static inline void
open_ledger(scene *s)
{
	spr_ledger_config config = {.batch = 1, .window = 1, .notifications = &s->pool};

	*s = (scene){0};
	spr_fake_waiters_init(&s->dispatchers, 2);
	assert_ok(spr_notifications_init(&s->pool, 4, 1, &s->dispatchers.waiters));
	assert_ok(spr_ledger_new(&s->ledger, &config));
}

static inline spr_outbox_config
make_config(scene *s)
{
	return ((spr_outbox_config){
	    .transport = &spr_transport_fake,
	    .max_bytes = MAX_BYTES,
	    .dispatchers = &s->dispatchers.waiters,
	    .ledger = s->ledger,
	});
}

static inline void
open_lanes(scene *s, const spr_outbox_config *config)
{
	assert_ok(spr_outbox_new(&s->outbox, config));
	for (unsigned d = 0; d < 2; d++)
		assert_ok(spr_outbox_lane_open(&s->lane[d], s->outbox, d));
}

static inline void
open_scene(scene *s)
{
	spr_outbox_config config;

	open_ledger(s);
	config = make_config(s);
	open_lanes(s, &config);
}

/* Nothing is left: no job, no byte, no pending count. */
static inline void
close_scene(scene *s)
{
	assert_true(s->outbox == NULL || spr_outbox_is_idle(s->outbox));
	assert_true(s->outbox == NULL || spr_outbox_bytes(s->outbox) == 0);
	assert_int_equal(spr_fake_outs(), 0);
	assert_int_equal(spr_notifications_in_flight(&s->pool), 0);
	spr_outbox_free(s->outbox);
	spr_ledger_free(s->ledger);
	spr_notifications_fini(&s->pool);
}

/* One with n jobs to come, and the dispatcher's own count. */
static inline spr_notification *
take(scene *s, unsigned n)
{
	spr_notification *notification = spr_notification_take(&s->pool, 0);

	assert_non_null(notification);
	notification->entry = SPR_ANSWER_NONE;
	notification->upstream = SPR_UPSTREAM_NONE;
	notification->n_jobs = n;
	atomic_store(&notification->failure, SPREADER_REASON_NONE);
	spr_notification_open(notification, n + 1, 0);
	return (notification);
}

/* As the dispatcher does when it lets go. */
static inline void
release(scene *s, spr_notification *notification, unsigned n)
{
	if (spr_notification_release(notification, n, 0))
		spr_ledger_complete(s->ledger, notification);
}

/* Posts a job of len bytes in all. */
static inline spr_post
post(scene *s, unsigned d, spr_notification *notification, size_t len)
{
	static const char payload[4 * MAX_BYTES];
	spr_job job = {
	    .prefix = PREFIX,
	    .prefix_len = strlen(PREFIX),
	    .payload = (const uint8_t *)payload,
	    .payload_len = len - strlen(PREFIX) - 1,
	};

	return (spr_outbox_post(s->lane[d], &job, notification));
}
