/*
 * flow_receipts - verbs for flow tests of a daemon that awaits receipts: jobs with ids, and receipts for them.
 */
#pragma once

#include "flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#define ID_LEN    49 /* instance, dash, hex */
#define ID_OFFSET 7  /* {"id":" */
#define RECEIPTS  "--confirm", "receipt", "--receipts-listen", "tcp://127.0.0.1:0"

/* Jobs as they were taken, ordered by their ids. */
typedef struct jobs {
	char **text;
	size_t n;
} jobs;

/* Takes n jobs out of the inbox; there must not be more. */
static inline jobs
take_jobs(flow *f, size_t n)
{
	jobs taken;

	if (!spr_inbox_wait(f->jobs, n, spr_test_deadline_ms())) {
		spr_inbox_print(f->answers, "answers");
		fail_msg("%zu jobs come, not %zu", spr_inbox_count(f->jobs), n);
	}
	taken.text = spr_inbox_take_all(f->jobs, &taken.n);
	assert_int_equal(taken.n, n);
	for (size_t i = 0; i < n; i++) {
		assert_memory_equal(taken.text[i], "{\"id\":\"", ID_OFFSET);
		assert_memory_equal(taken.text[i] + ID_OFFSET + ID_LEN, "\",\"s\":\"", 7);
	}
	return (taken);
}

static inline void
free_jobs(jobs *taken)
{
	for (size_t i = 0; i < taken->n; i++)
		free(taken->text[i]);
	free(taken->text);
	*taken = (jobs){0};
}

static inline const char *
id_of(const jobs *taken, size_t i)
{
	return (taken->text[i] + ID_OFFSET);
}

/* The receipts' connection; the caller closes it. */
static inline spr_sp
dial_receipts(flow *f)
{
	spr_sp sp = SPR_SP_CLOSED;

	assert_true(spr_sp_dial(&sp, listening(f, "receipts", 0), SPR_SP_PUSH));
	return (sp);
}

static inline void
send_text(spr_sp *sp, const char *text)
{
	assert_int_equal(spr_sp_send(sp, NULL, 0, text, strlen(text), spr_test_deadline_ms()),
			 SPR_SP_OK);
}

/* Receipts of jobs [from, to), so many a message. */
static inline void
receipt_some(spr_sp *sp, const jobs *taken, size_t from, size_t to, size_t a_message)
{
	while (from < to) {
		char *text = NULL;
		size_t size = 0;
		FILE *out = open_memstream(&text, &size);

		for (size_t i = 0; i < a_message && from < to; i++, from++)
			fprintf(out, "{\"id\":\"%.*s\"}\n", ID_LEN, id_of(taken, from));
		fclose(out);
		send_text(sp, text);
		free(text);
	}
}

/* Pushes an id again once its nack is accepted; before that it would be a copy that shares the nack. */
static inline void
push_again(flow *f, const char *id, const char *body)
{
	assert_true(
	    wait_until(stat_of(f, "spreader_in_flight") == 0, (unsigned)spr_test_deadline_ms()));
	push_envelope(f, id, body);
}

/* Waits until nothing is open: the last answer is accepted, and its jobs are forgotten. */
static inline void
expect_nothing_open(flow *f)
{
	assert_true(wait_until(stat_of(f, "spreader_open_jobs_reserved") == 0,
			       (unsigned)spr_test_deadline_ms()));
	assert_int_equal((int)stat_of(f, "spreader_open_jobs"), 0);
}

static inline void
receipt_error(spr_sp *sp, const jobs *taken, size_t i, const char *error)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"id\":\"%.*s\",\"error\":\"%s\"}", ID_LEN, id_of(taken, i),
		 error);
	send_text(sp, text);
}
