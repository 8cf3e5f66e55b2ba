/*
 * queue_scene - a queue on a store of the test's own and a transport without sockets, its turns taken by hand.
 */
#pragma once

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_transport.h"
#include "queue.h"
#include "spr_test.h"

#define WAIT_MS 20000

typedef struct scene {
	char *dir;
	char path[256];
	queue_options options;
	queue_store *store;
	queue *q;
	char *reply;   /* the last one */
	char *message; /* the last one pushed */
} scene;

static inline void
scene_start(scene *s)
{
	assert_ok(queue_store_open(&s->store, s->path));
	assert_ok(queue_new(&s->q, &s->options, s->store, &spr_transport_fake));
}

static inline void
scene_stop(scene *s)
{
	if (s->q != NULL) {
		(void)queue_turn(s->q);
		spr_fake_end_all(0, SPR_E_CANCELLED);
		assert_true(queue_stop(s->q));
		queue_free(s->q);
	}
	queue_store_close(s->store);
	s->q = NULL;
	s->store = NULL;
}

/* flags: NULL at the end. Begins anew with them. */
static inline void
scene_restart(scene *s, const char *const *flags)
{
	char *argv[16] = {s->path}; /* any name */
	char *envp[] = {NULL};
	int argc = 1;

	scene_stop(s);
	queue_options_free(&s->options);
	while (*flags != NULL)
		argv[argc++] = (char *)(uintptr_t)*flags++;
	assert_ok(queue_options_parse(&s->options, argc, argv, envp));
	scene_start(s);
}
#define RESTART(s, ...) scene_restart((s), (const char *const[]){__VA_ARGS__, NULL})

static inline int
scene_setup(void **state)
{
	scene *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->dir = spr_test_tmpdir();
	snprintf(s->path, sizeof(s->path), "%s/q.db", s->dir);
	RESTART(s, "--log-level=error");
	*state = s;
	return (0);
}

static inline int
scene_teardown(void **state)
{
	scene *s = *state;

	scene_stop(s);
	queue_options_free(&s->options);
	free(s->reply);
	free(s->message);
	spr_test_cleanup(s->dir);
	free(s);
	return (spr_fake_outs() == 0 ? 0 : -1);
}

static inline void
scene_on_reply(queue_request *request, const void *text, size_t len)
{
	scene *s = request->arg;

	free(s->reply);
	assert_non_null(s->reply = malloc(len + 1));
	memcpy(s->reply, text, len);
	s->reply[len] = '\0';
}

static inline queue_request
scene_request(scene *s, queue_request_kind kind, const char *text)
{
	return ((queue_request){.kind = kind,
				.data = (const uint8_t *)text,
				.len = strlen(text),
				.reply = scene_on_reply,
				.arg = s});
}

/* Asks, takes a turn, and gives the reply, valid until the next one. */
static inline const char *
scene_ask(scene *s, queue_request_kind kind, const char *text)
{
	queue_request request = scene_request(s, kind, text);

	free(s->reply);
	s->reply = NULL;
	queue_ask(s->q, &request);
	(void)queue_turn(s->q);
	assert_non_null(s->reply);
	return (s->reply);
}
#define submit(s, text) scene_ask((s), QUEUE_REQUEST_SUBMIT, (text))
#define answer(s, text) \
	assert_string_equal(scene_ask((s), QUEUE_REQUEST_ANSWER, (text)), "{\"ok\":true}")
#define control(s, text) scene_ask((s), QUEUE_REQUEST_CONTROL, (text))

/* Takes a turn and ends the oldest push well; its text, valid until the next call, or NULL. */
static inline const char *
pushed(scene *s)
{
	(void)queue_turn(s->q);
	free(s->message);
	s->message = spr_fake_end(0, SPR_OK);
	(void)queue_turn(s->q);
	return (s->message);
}
#define expect_pushed(s, text)                                       \
	do {                                                         \
		assert_true(wait_until(pushed(s) != NULL, WAIT_MS)); \
		assert_string_equal((s)->message, (text));           \
	} while (0)
#define expect_nothing(s) assert_null(pushed(s))

static inline long
stat_of(scene *s, const char *name)
{
	char quoted[64];
	const char *at = NULL;

	snprintf(quoted, sizeof(quoted), "\"%s\":", name);
	at = strstr(control(s, "{\"op\":\"stats\"}"), quoted);
	assert_non_null(at);
	return (strtol(at + strlen(quoted), NULL, 10));
}
