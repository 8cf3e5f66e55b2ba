/*
 * test_ep_loop - tasks in their order, from many threads; descriptors by level; one that is taken away while it is handed out;
 * what a stop runs and what it does not.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "spr_test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/ep_loop.h"

#define LIMIT_MS  20000
#define N_THREADS 4
#define N_TASKS   20000

static const spr_ep_loop_config plain = {.name = "test"};

/* ---- tasks ---- */

typedef struct numbered {
	spr_ep_task task;
	struct poster *poster;
	unsigned number;
} numbered;

typedef struct poster {
	pthread_t thread;
	spr_ep_loop *loop;
	numbered *tasks;
	unsigned n_run, n_wrong; /* the loop's */
} poster;

static atomic_uint n_run;

static void
run_numbered(spr_ep_task *task)
{
	numbered *t = SPR_STACK_CONTAINER(task, numbered, task);

	t->poster->n_wrong +=
	    t->number != t->poster->n_run++ || !spr_ep_loop_is_mine(t->poster->loop);
	atomic_fetch_add(&n_run, 1);
}

/* Now and then it waits until the loop has done it all, so that it sleeps. */
static void *
post(void *arg)
{
	poster *p = arg;

	for (unsigned i = 0; i < N_TASKS; i++) {
		p->tasks[i] = (numbered){.task.run = run_numbered, .poster = p, .number = i};
		spr_ep_loop_post(p->loop, &p->tasks[i].task);
		if (i % 1000 == 0)
			(void)wait_until(atomic_load(&n_run) > i, LIMIT_MS);
	}
	return (NULL);
}

static void
post_from_threads(uint64_t spin_ns)
{
	const spr_ep_loop_config config = {.name = "test", .spin_ns = spin_ns};
	poster p[N_THREADS];
	spr_ep_loop *loop;

	atomic_store(&n_run, 0);
	assert_ok(spr_ep_loop_start(&loop, &config));
	assert_false(spr_ep_loop_is_mine(loop));
	for (unsigned i = 0; i < N_THREADS; i++) {
		p[i] = (poster){.loop = loop, .tasks = malloc(N_TASKS * sizeof(numbered))};
		assert_non_null(p[i].tasks);
		assert_int_equal(pthread_create(&p[i].thread, NULL, post, &p[i]), 0);
	}
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(p[i].thread, NULL);
	spr_ep_loop_stop(loop); /* what was posted before is run */
	for (unsigned i = 0; i < N_THREADS; i++) {
		assert_int_equal(p[i].n_run, N_TASKS);
		assert_int_equal(p[i].n_wrong, 0);
		free(p[i].tasks);
	}
	spr_ep_loop_stop(loop);
	spr_ep_loop_free(loop);
}

static void
test_tasks(void **state)
{
	(void)state;
	post_from_threads(0);
	post_from_threads(SPR_NS_PER_MS);
}

static char thread_name[16];

static void
read_name(spr_ep_task *task)
{
	(void)task;
	pthread_getname_np(pthread_self(), thread_name, sizeof(thread_name));
}

/* The starter's words are gone when it has started. */
static void
test_its_name(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 50; n++) {
		char name[16] = "fifteen letters";
		const spr_ep_loop_config config = {.name = name};
		spr_ep_task task = {.run = read_name};
		spr_ep_loop *loop;

		assert_ok(spr_ep_loop_start(&loop, &config));
		memset(name, 'x', sizeof(name));
		spr_ep_loop_post(loop, &task);
		spr_ep_loop_stop(loop);
		spr_ep_loop_free(loop);
		assert_string_equal(thread_name, "fifteen letters");
	}
}

typedef struct again {
	spr_ep_task task;
	spr_ep_loop *loop;
	unsigned n;
	atomic_bool is_over;
} again;

static void
run_again(spr_ep_task *task)
{
	again *a = SPR_STACK_CONTAINER(task, again, task);

	if (++a->n < 1000)
		spr_ep_loop_post(a->loop, &a->task);
	else
		atomic_store(&a->is_over, true);
}

static void
test_a_task_posts_itself(void **state)
{
	again a = {.task.run = run_again};

	(void)state;
	assert_ok(spr_ep_loop_start(&a.loop, &plain));
	spr_ep_loop_post(a.loop, &a.task);
	assert_true(wait_until(atomic_load(&a.is_over), LIMIT_MS));
	spr_ep_loop_stop(a.loop);
	spr_ep_loop_post(a.loop, &a.task); /* too late, and no harm */
	assert_int_equal(a.n, 1000);
	spr_ep_loop_free(a.loop);
}

/* ---- descriptors ---- */

typedef struct reader {
	spr_ep_watch watch;
	spr_ep_loop *loop;
	int to;
	spr_ep_watch *other; /* taken away when this one is ready */
	atomic_uint n_ready, n_bytes;
	atomic_bool is_gone;
} reader;

static void
on_bytes(spr_ep_watch *watch, uint32_t events)
{
	reader *r = SPR_STACK_CONTAINER(watch, reader, watch);
	char byte;
	ssize_t n = read(watch->fd, &byte, 1);

	atomic_fetch_add(&r->n_ready, 1);
	if (n > 0)
		atomic_fetch_add(&r->n_bytes, 1);
	if (n == 0 || (events & EPOLLIN) == 0) {
		spr_ep_loop_unwatch(r->loop, watch);
		atomic_store(&r->is_gone, true);
	}
}

static void
open_reader(reader *r, spr_ep_loop *loop, void (*on_ready)(spr_ep_watch *, uint32_t))
{
	int fd[2];

	assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
	*r = (reader){.watch = {.fd = fd[0], .on_ready = on_ready}, .loop = loop, .to = fd[1]};
}

static void
test_descriptors(void **state)
{
	spr_ep_loop *loop;
	reader r;

	(void)state;
	assert_ok(spr_ep_loop_start(&loop, &plain));
	open_reader(&r, loop, on_bytes);
	assert_int_equal(spr_ep_loop_watches(loop), 1); /* its own */
	assert_ok(spr_ep_loop_watch(loop, &r.watch, 0));
	assert_int_equal(spr_ep_loop_watches(loop), 2);
	assert_int_equal(write(r.to, "12345", 5), 5);
	spr_ep_loop_change(loop, &r.watch, EPOLLIN);
	assert_true(wait_until(r.n_bytes == 5, LIMIT_MS)); /* by level: a byte a time */
	assert_int_equal(write(r.to, "6", 1), 1);
	assert_true(wait_until(r.n_bytes == 6, LIMIT_MS));
	spr_ep_loop_change(loop, &r.watch, 0);
	close(r.to);
	assert_true(wait_until(r.is_gone, LIMIT_MS)); /* an end is told to who did not ask */
	assert_int_equal(spr_ep_loop_watches(loop), 1);
	close(r.watch.fd);
	spr_ep_loop_stop(loop);
	spr_ep_loop_free(loop);
}

/* The first one that is ready takes the other away and frees it. */
static void
on_first(spr_ep_watch *watch, uint32_t events)
{
	reader *r = SPR_STACK_CONTAINER(watch, reader, watch);

	(void)events;
	spr_ep_loop_unwatch(r->loop, r->other);
	close(r->other->fd);
	free(SPR_STACK_CONTAINER(r->other, reader, watch));
	spr_ep_loop_unwatch(r->loop, watch);
	atomic_store(&r->is_gone, true);
}

typedef struct setup {
	spr_ep_task task;
	reader *r[2];
	spr_err rv;
} setup;

/* On the loop, so that both are in one batch. */
static void
watch_both(spr_ep_task *task)
{
	setup *s = SPR_STACK_CONTAINER(task, setup, task);

	for (unsigned i = 0; i < 2; i++)
		s->rv |= spr_ep_loop_watch(s->r[i]->loop, &s->r[i]->watch, EPOLLIN);
}

static void
test_one_takes_another_away(void **state)
{
	spr_ep_loop *loop;

	(void)state;
	assert_ok(spr_ep_loop_start(&loop, &plain));
	for (unsigned n = 0; n < 100; n++) {
		setup s = {.task.run = watch_both};

		for (unsigned i = 0; i < 2; i++) {
			s.r[i] = malloc(sizeof(reader));
			assert_non_null(s.r[i]);
			open_reader(s.r[i], loop, on_first);
			assert_int_equal(write(s.r[i]->to, "1", 1), 1);
			close(s.r[i]->to);
		}
		s.r[0]->other = &s.r[1]->watch;
		s.r[1]->other = &s.r[0]->watch;
		spr_ep_loop_post(loop, &s.task);
		/* the first watched is the first handed out */
		assert_true(wait_until(s.r[0]->is_gone, LIMIT_MS));
		assert_ok(s.rv);
		close(s.r[0]->watch.fd);
		free(s.r[0]);
	}
	assert_int_equal(spr_ep_loop_watches(loop), 1);
	spr_ep_loop_stop(loop);
	spr_ep_loop_free(loop);
}

/* ---- the rest ---- */

static uint64_t
cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return ((uint64_t)now.tv_sec * SPR_NS_PER_S + (uint64_t)now.tv_nsec);
}

static void
test_spinning_ends(void **state)
{
	const spr_ep_loop_config config = {.name = "test", .spin_ns = 20 * SPR_NS_PER_MS};
	again a = {.task.run = run_again};
	uint64_t before_ns;
	unsigned quiet = 0;

	(void)state;
	assert_ok(spr_ep_loop_start(&a.loop, &config));
	spr_ep_loop_post(a.loop, &a.task);
	assert_true(wait_until(atomic_load(&a.is_over), LIMIT_MS));
	do { /* a moment in which nobody uses the processor, in the end */
		uint64_t until_ns = spr_clock_now_ns() + 10 * SPR_NS_PER_MS;

		before_ns = cpu_ns();
		(void)wait_until(spr_clock_now_ns() >= until_ns, LIMIT_MS);
		quiet = cpu_ns() - before_ns < 5 * SPR_NS_PER_MS ? quiet + 1 : 0;
	} while (quiet < 3);
	spr_ep_loop_stop(a.loop);
	spr_ep_loop_free(a.loop);
}

static void
test_what_is_refused(void **state)
{
	struct rlimit files, none;
	spr_ep_loop *loop = NULL;

	(void)state;
	spr_mem_fail_at(1);
	assert_fails(spr_ep_loop_start(&loop, &plain), SPR_E_NOMEM);
	spr_mem_fail_at(0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	none = files;
	for (none.rlim_cur = 3; none.rlim_cur < 5; none.rlim_cur++) { /* none, and one */
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
		assert_fails(spr_ep_loop_start(&loop, &plain), SPR_E_SYSTEM);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	assert_string_equal(spr_error_text(SPR_E_SYSTEM),
			    "open epoll for test: Too many open files");
	assert_null(loop);
	spr_ep_loop_stop(NULL);
	spr_ep_loop_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_is_refused), cmocka_unit_test(test_tasks),
	    cmocka_unit_test(test_its_name),        cmocka_unit_test(test_a_task_posts_itself),
	    cmocka_unit_test(test_descriptors),     cmocka_unit_test(test_one_takes_another_away),
	    cmocka_unit_test(test_spinning_ends),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
