/*
 * receipts - one message at a time, from bytes to pending counts.
 *
 * Receipts of one notification tend to come together, so their counts are gathered and given back at once: while they are
 * held the record stays. Counters are gathered a message, and the clock is read once.
 */
#include "path/receipts.h"

#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "path/job_id.h"
#include "path/json_value.h"

struct spr_receipts {
	/* constant after new */
	spr_receipts_config config;
	size_t instance_len;
	spr_pull *pull;
};

typedef enum result { TAKEN, ERROR, LATE, AGAIN, STALE, MISROUTED, BAD, N_RESULTS } result;

static const spr_counter counters[N_RESULTS] = {
    [TAKEN] = SPR_C_RECEIPTS_TAKEN, [ERROR] = SPR_C_RECEIPTS_ERROR,
    [LATE] = SPR_C_RECEIPTS_LATE,   [AGAIN] = SPR_C_RECEIPTS_AGAIN,
    [STALE] = SPR_C_RECEIPTS_STALE, [MISROUTED] = SPR_C_RECEIPTS_MISROUTED,
    [BAD] = SPR_C_RECEIPTS_BAD,
};

/* A message being read. */
typedef struct message {
	spr_receipts *receipts;
	uint64_t now_ns;
	unsigned n[N_RESULTS];
	spr_notification *owner; /* holds n_held receipt counts of it */
	unsigned n_held;
} message;

static void
give_back(message *self)
{
	spr_ledger *ledger = self->receipts->config.ledger;

	if (self->n_held == 0)
		return;
	spr_ledger_touch(ledger, self->owner, self->now_ns);
	if (spr_notification_release(self->owner, 0, self->n_held)) /* E12 */
		spr_ledger_complete(ledger, self->owner);
	self->n_held = 0;
}

static result
take_key(message *self, spr_job_key key, bool is_error)
{
	const spr_receipts_config *config = &self->receipts->config;
	spr_notification *notification;
	uint32_t owner;

	switch (spr_jobs_receipt(config->jobs, key, is_error, &owner)) {
	case SPR_RECEIPT_TAKEN:
		notification = &config->notifications->slab[owner];
		if (notification != self->owner)
			give_back(self);
		self->owner = notification;
		self->n_held++;
		if (is_error)
			spr_notification_fail(notification, SPREADER_REASON_RECEIPT_ERROR);
		return (is_error ? ERROR : TAKEN);
	case SPR_RECEIPT_LATE:
		return (LATE);
	case SPR_RECEIPT_AGAIN:
		return (AGAIN);
	default:
		return (STALE);
	}
}

/* An id as sent: its text between the quotes. */
static result
take_id(message *self, spr_range id, bool is_escaped, bool is_error)
{
	const spr_receipts *receipts = self->receipts;
	uint8_t text[SPREADER_JOB_ID_MAX];
	size_t instance_len = receipts->instance_len;
	bool ignored;
	spr_job_key key;

	if (is_escaped) {
		id.len = spr_scan_decode(id, text, sizeof(text), &ignored);
		id.at = text;
	}
	if (id.len == 0 || id.len > sizeof(text)) /* SIZE_MAX: decoded, it is too long */
		return (BAD);
	if (id.len <= instance_len || memcmp(id.at, receipts->config.instance, instance_len) != 0 ||
	    id.at[instance_len] != '-')
		return (MISROUTED);
	if (id.len != instance_len + 1 + SPREADER_JOB_HEX ||
	    !spr_job_key_read(id.at + instance_len + 1, &key))
		return (BAD);
	return (take_key(self, key, is_error));
}

/* What a document said, as far as it matters. */
typedef struct receipt {
	spr_range id; /* between the quotes; at NULL: there is none that is a string */
	bool id_is_escaped;
	bool is_error;
	bool is_bad; /* an error that is neither string nor null */
} receipt;

/* Is the text between the quotes this name, however it is written? */
static bool
is_name(spr_range text, bool is_escaped, const char *name)
{
	uint8_t decoded[8];
	bool ignored;

	if (is_escaped) {
		text.len = spr_scan_decode(text, decoded, sizeof(decoded), &ignored);
		text.at = decoded;
	}
	return (text.len == strlen(name) && memcmp(text.at, name, text.len) == 0);
}

static const uint8_t *
read_member(const uint8_t *p, const uint8_t *end, receipt *out)
{
	const uint8_t *at, *value;
	bool is_escaped, value_is_escaped = false;
	spr_range name;

	if (p == end || *p != '"' || (at = spr_json_string(p + 1, end, &is_escaped)) == NULL)
		return (NULL);
	name = (spr_range){p + 1, (size_t)(at - p) - 2};
	if ((value = spr_json_colon(at, end)) == NULL || value == end)
		return (NULL);
	p = *value == '"' ? spr_json_string(value + 1, end, &value_is_escaped)
			  : spr_json_value(value, end, 1);
	if (p == NULL)
		return (NULL);
	if (is_name(name, is_escaped, "id")) {
		out->id = (spr_range){NULL, 0};
		if (*value == '"')
			out->id = (spr_range){value + 1, (size_t)(p - value) - 2};
		out->id_is_escaped = value_is_escaped;
	} else if (is_name(name, is_escaped, "error")) {
		out->is_error = *value == '"';
		out->is_bad = *value != '"' && *value != 'n';
	}
	return (p);
}

/* p is behind the brace; returns behind the closing one, NULL: not well formed. */
static const uint8_t *
read_object(const uint8_t *p, const uint8_t *end, receipt *out)
{
	p = spr_json_space(p, end);
	if (p < end && *p == '}')
		return (p + 1);
	for (;;) {
		if ((p = read_member(p, end, out)) == NULL)
			return (NULL);
		p = spr_json_space(p, end);
		if (p == end || (*p != ',' && *p != '}'))
			return (NULL);
		if (*p++ == '}')
			return (p);
		p = spr_json_space(p, end);
	}
}

/* Takes the document at p in; where the next one may start. */
static const uint8_t *
take_document(message *self, const uint8_t *p, const uint8_t *end)
{
	const uint8_t *newline;
	receipt one = {0};
	const uint8_t *behind =
	    *p == '{' ? read_object(p + 1, end, &one) : spr_json_value(p, end, 0);

	if (behind == NULL) {
		self->n[BAD]++;
		newline = memchr(p, '\n', (size_t)(end - p));
		return (newline != NULL ? newline + 1 : end);
	}
	if (one.id.at == NULL || one.is_bad)
		self->n[BAD]++;
	else
		self->n[take_id(self, one.id, one.id_is_escaped, one.is_error)]++;
	return (behind);
}

void
spr_receipts_take(spr_receipts *receipts, const uint8_t *data, size_t len)
{
	message self = {.receipts = receipts, .now_ns = spr_clock_coarse_ns()};
	const uint8_t *end = data + len;

	for (const uint8_t *p = spr_json_space(data, end); p < end; p = spr_json_space(p, end))
		p = take_document(&self, p, end);
	/* before the last count: who sees the answer may ask for the counters */
	for (unsigned i = 0; i < N_RESULTS; i++) {
		if (self.n[i] > 0)
			spr_count_add(counters[i], self.n[i]);
	}
	spr_count_add(SPR_C_JOBS_CONFIRMED, self.n[TAKEN] + self.n[LATE]);
	give_back(&self);
}

static bool
on_receive(void *arg, unsigned receive, spr_buf *buf)
{
	spr_receipts *receipts = arg;

	(void)receive;
	spr_receipts_take(receipts, buf->data, buf->len);
	(void)spr_buf_drop(buf);
	return (true);
}

static void
on_receipts_pipe(void *arg, int change)
{
	(void)arg;
	spr_count(change > 0 ? SPR_C_PIPES_ADDED_RECEIPTS : SPR_C_PIPES_REMOVED_RECEIPTS);
}

spr_err
spr_receipts_new(spr_receipts **out, const spr_receipts_config *config)
{
	spr_err rv;
	spr_receipts *receipts = spr_mem_zalloc(sizeof(*receipts));
	spr_pull_config pull = {
	    .socket = "receipts",
	    .thread = "receipts",
	    .receives = SPR_RECEIPTS_RECEIVES,
	    .max_message = config->max_message,
	    .pipes = {.on_pipe = on_receipts_pipe},
	    .on_receive = on_receive,
	    .arg = receipts,
	};

	if (receipts == NULL)
		return (SPR_E_NOMEM);
	receipts->config = *config;
	receipts->instance_len = strlen(config->instance);
	if ((rv = config->transport->pull_open(&receipts->pull, &pull)) != SPR_OK) {
		spr_receipts_free(receipts);
		return (rv);
	}
	*out = receipts;
	return (SPR_OK);
}

spr_err
spr_receipts_listen(spr_receipts *receipts, const char *url, char *bound)
{
	return (receipts->config.transport->pull_listen(receipts->pull, url, bound));
}

spr_err
spr_receipts_dial(spr_receipts *receipts, const char *url)
{
	return (receipts->config.transport->pull_dial(receipts->pull, url));
}

void
spr_receipts_start(spr_receipts *receipts)
{
	receipts->config.transport->pull_start(receipts->pull);
}

void
spr_receipts_stop(spr_receipts *receipts)
{
	receipts->config.transport->pull_stop(receipts->pull);
}

void
spr_receipts_free(spr_receipts *receipts)
{
	if (receipts == NULL)
		return;
	if (receipts->pull != NULL)
		receipts->config.transport->pull_close(receipts->pull);
	spr_mem_free(receipts);
}
