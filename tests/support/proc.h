/*
 * proc - programs that a test starts: output into files, a wait with a deadline, and none of them
 * outlives the test.
 *
 * For the test's main thread only: the kernel kills the children when the thread that started them
 * ends.
 */
#pragma once

#include <sys/types.h>

/* How long a test waits for what must come. Only a failing test waits this long.
 * SPR_TEST_DEADLINE_MS changes it. */
int spr_test_deadline_ms(void);
/* Monotonic. */
long spr_test_now_ms(void);

typedef struct spr_proc spr_proc;

/*
 * argv ends with NULL; argv[0] is looked up in PATH. env: "NAME=value" strings on top of ours, ends
 * with NULL, or is NULL; SPREADER_* of our own environment are not handed on, but SPREADER_TRANSPORT. Output goes to
 * <dir>/<name>.out and .err.
 */
spr_proc *spr_proc_start(const char *dir, const char *name, const char *const argv[],
			 const char *const env[]);
pid_t spr_proc_pid(const spr_proc *proc);
void spr_proc_signal(spr_proc *proc, int signal);
/* What a shell calls the exit status: the code, or 128 + signal. -1: still running after ms. */
int spr_proc_wait(spr_proc *proc, int ms);
/* What it has printed so far; the caller frees it. */
char *spr_proc_out(const spr_proc *proc);
char *spr_proc_err(const spr_proc *proc);
/* Kills what still runs and frees every spr_proc. For teardown. */
void spr_proc_end_all(void);

/* A whole file as text; NULL if there is none. The caller frees it. */
char *spr_read_file(const char *path);
/* Removes a folder with everything in it. */
void spr_remove_tree(const char *path);
