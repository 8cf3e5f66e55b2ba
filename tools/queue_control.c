/*
 * queue_control - what the queue tells about itself, and what can be done about the dead: one table of operations.
 *
 * They run between submits and answers, on the one connection; what could be long is cut into pages.
 */
#include "queue_inside.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"

#define PAGE_STANDARD 100
#define PAGE_MOST     1000
#define PAGE_BYTES    (1024 * 1024)
#define CHANGE_MOST   10000

static void
put_member(queue *q, const char *name, long long number)
{
	queue_text_put(&q->replies, ",\"");
	queue_text_put(&q->replies, name);
	queue_text_put(&q->replies, "\":");
	queue_text_number(&q->replies, number);
}

static void
put_time(queue *q, const char *name, int64_t wall_s)
{
	char text[SPR_CLOCK_TEXT_MAX];

	spr_clock_format(wall_s, text);
	queue_text_put(&q->replies, ",\"");
	queue_text_put(&q->replies, name);
	queue_text_put(&q->replies, "\":\"");
	queue_text_put(&q->replies, text);
	queue_text_put(&q->replies, "\"");
}

static spr_err
tell_stats(queue *q, const cJSON *request)
{
	queue_counts counts = queue_store_counts(q->store);
	int64_t oldest_s = 0;
	spr_err rv = queue_store_oldest(q->store, &oldest_s);

	(void)request;
	if (rv != SPR_OK)
		return (rv);
	queue_text_put(&q->replies, "{\"ok\":true");
	put_member(q, "depth", (long long)counts.live);
	put_member(q, "oldest_age_seconds",
		   oldest_s != 0 && oldest_s < q->now_s ? q->now_s - oldest_s : 0);
	put_member(q, "in_flight", q->flight.n_used);
	put_member(q, "awaiting_answer", q->flight.n_out);
	put_member(q, "dead", (long long)counts.dead);
	put_member(q, "remembered", (long long)counts.done);
	/* relaxed: a snapshot */
	put_member(q, "dispatchers", atomic_load_explicit(&q->n_peers, memory_order_relaxed));
	put_member(q, "commits_total", (long long)queue_store_commits(q->store));
#define X(field, name) put_member(q, name, (long long)q->totals.field);
	QUEUE_TOTALS(X)
#undef X
	queue_text_put(&q->replies, "}");
	return (SPR_OK);
}

static spr_err
tell_version(queue *q, const cJSON *request)
{
	(void)request;
	queue_text_put(&q->replies, "{\"ok\":true,\"version\":\"" SPR_VERSION "\",\"nng\":\"");
	queue_text_put(&q->replies, spr_net_version());
	queue_text_put(&q->replies, "\"}");
	return (SPR_OK);
}

/* A whole number from `least` to `most`; absent: standard. False: refused. */
static bool
get_number(queue *q, const cJSON *request, const char *name, double least, double most,
	   double standard, uint64_t *out)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(request, name);
	double number = item == NULL ? standard : item->valuedouble;

	if (item != NULL && (!cJSON_IsNumber(item) || number < least || number > most ||
			     number != (double)(uint64_t)number)) {
		queue_refuse(q, "bad_request",
			     "\"limit\" is 1 to 1000, \"after\" a number that a page gave");
		return (false);
	}
	*out = (uint64_t)number;
	return (true);
}

static void
put_dead(queue *q, const queue_dead *dead)
{
	queue_text_put(&q->replies, "{\"id\":");
	queue_text_quote(&q->replies, dead->id);
	queue_text_put(&q->replies, ",\"reason\":");
	queue_text_quote(&q->replies, dead->reason);
	put_member(q, "attempts", dead->attempts);
	put_time(q, "submitted_at", dead->submitted_s);
	put_time(q, "died_at", dead->died_s);
	queue_text_put(&q->replies, ",\"body\":");
	queue_text_add(&q->replies, dead->body.at, dead->body.len);
	queue_text_put(&q->replies, "}");
}

static spr_err
list_dead(queue *q, const cJSON *request)
{
	size_t begin = q->replies.len;
	uint64_t limit = 0, after = 0, n = 0;
	queue_dead dead;
	spr_err rv = SPR_OK;

	if (!get_number(q, request, "limit", 1, PAGE_MOST, PAGE_STANDARD, &limit) ||
	    !get_number(q, request, "after", 0, 9e15, 0, &after))
		return (SPR_OK);
	queue_text_put(&q->replies, "{\"ok\":true,\"dead\":[");
	while ((rv = queue_store_next_dead(q->store, after, &dead)) == SPR_OK && n < limit &&
	       q->replies.len - begin < PAGE_BYTES) {
		if (n++ > 0)
			queue_text_put(&q->replies, ",");
		put_dead(q, &dead);
		after = dead.seq;
	}
	queue_store_end_read(q->store);
	queue_text_put(&q->replies, "]");
	if (rv == SPR_OK)
		put_member(q, "next", (long long)after);
	queue_text_put(&q->replies, "}");
	return (rv == SPR_E_NOT_FOUND ? SPR_OK : rv);
}

static spr_err
change_dead(queue *q, const cJSON *request, const char *done,
	    spr_err (*change)(queue_store *, queue_bytes, unsigned, unsigned *))
{
	const char *id = spr_json_text(request, "id");
	bool all = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "all"));
	queue_bytes bytes = {(const uint8_t *)id, id != NULL ? strlen(id) : 0};
	unsigned n = 0;
	spr_err rv = SPR_OK;

	if ((id != NULL) == all) {
		queue_refuse(q, "bad_request", "give either \"id\" or \"all\":true");
		return (SPR_OK);
	}
	if ((rv = change(q->store, bytes, CHANGE_MOST, &n)) != SPR_OK)
		return (rv);
	if (id != NULL && n == 0) {
		queue_refuse(q, "not_found", "no dead notification has this id");
		return (SPR_OK);
	}
	queue_text_put(&q->replies, "{\"ok\":true");
	put_member(q, done, n);
	put_member(q, "left", all ? (long long)queue_store_counts(q->store).dead : 0);
	queue_text_put(&q->replies, "}");
	return (SPR_OK);
}

static spr_err
requeue_dead(queue *q, const cJSON *request)
{
	q->next_due_ns = 0;
	return (change_dead(q, request, "requeued", queue_store_requeue));
}

static spr_err
purge_dead(queue *q, const cJSON *request)
{
	return (change_dead(q, request, "purged", queue_store_purge));
}

static const struct op {
	const char *name;
	spr_err (*run)(queue *q, const cJSON *request);
} ops[] = {
    {"stats", tell_stats},          {"version", tell_version},  {"dead_list", list_dead},
    {"dead_requeue", requeue_dead}, {"dead_purge", purge_dead},
};

spr_err
queue_control_request(queue *q, const uint8_t *data, size_t len)
{
	cJSON *request = NULL;
	const char *name = NULL;
	spr_err rv = spr_json_parse(&request, (const char *)data, len);

	if (rv != SPR_OK) {
		queue_refuse(q, "bad_request", spr_error_text(rv));
		return (SPR_OK);
	}
	name = spr_json_text(request, "op");
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]) && name != NULL; i++) {
		if (strcmp(name, ops[i].name) == 0) {
			rv = ops[i].run(q, request);
			goto out;
		}
	}
	queue_refuse(q, name == NULL ? "bad_request" : "unknown_op",
		     "\"op\" is stats, version, dead_list, dead_requeue or dead_purge");
out:
	cJSON_Delete(request);
	return (rv);
}
