/*
 * proc - programs that a test starts.
 *
 * A pipe whose other end only the child holds makes "has it ended, and if not within how long" one
 * poll(), without a signal handler and without sleeping. (A pidfd would do, but valgrind has none.)
 * PR_SET_PDEATHSIG covers the way out that no teardown sees: a test that crashes or is killed by
 * ctest.
 */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct spr_proc {
	spr_proc *next;
	pid_t pid;
	int ended;  /* read end: readable once it has ended */
	int status; /* -1: not ended */
	char *out_path;
	char *err_path;
};

static spr_proc *all_procs;

static void
die(const char *what)
{
	perror(what);
	abort();
}

long
spr_test_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

int
spr_test_deadline_ms(void)
{
	const char *text = getenv("SPR_TEST_DEADLINE_MS");

	return (text != NULL ? atoi(text) : 30000);
}

static int
open_output(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		die(path);
	return (fd);
}

/* Ours without SPREADER_*, but for the transport that all is to be tested on, and env on top. */
static char **
make_environment(const char *const env[])
{
	extern char **environ;
	size_t n = 0, n_extra = 0;
	char **made = NULL;

	while (environ[n] != NULL)
		n++;
	while (env != NULL && env[n_extra] != NULL)
		n_extra++;
	made = calloc(n + n_extra + 1, sizeof(*made));
	if (made == NULL)
		die("environment");
	n = 0;
	for (size_t i = 0; i < n_extra; i++)
		made[n++] = strdup(env[i]);
	for (char **e = environ; *e != NULL; e++)
		if (strncmp(*e, "SPREADER_", 9) != 0 || strncmp(*e, "SPREADER_TRANSPORT=", 19) == 0)
			made[n++] = strdup(*e);
	return (made);
}

static void
free_environment(char **made)
{
	for (char **e = made; *e != NULL; e++)
		free(*e);
	free(made);
}

static void
become(pid_t parent, const char *const argv[], char **env, int out, int err, int ended)
{
	sigset_t none;
	int in = open("/dev/null", O_RDONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it died before the line above */
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	fcntl(ended, F_SETFD, 0); /* kept over exec, closed by the end */
	if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(127);
	execvpe(argv[0], (char *const *)(uintptr_t)argv, env);
	dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

spr_proc *
spr_proc_start(const char *dir, const char *name, const char *const argv[], const char *const env[])
{
	spr_proc *proc = calloc(1, sizeof(*proc));
	char **environment = make_environment(env);
	pid_t parent = getpid();
	int out, err, ended[2];

	if (proc == NULL || asprintf(&proc->out_path, "%s/%s.out", dir, name) < 0 ||
	    asprintf(&proc->err_path, "%s/%s.err", dir, name) < 0)
		die("start a program");
	out = open_output(proc->out_path);
	err = open_output(proc->err_path);
	if (pipe2(ended, O_CLOEXEC) != 0)
		die("pipe");
	proc->status = -1;
	proc->ended = ended[0];
	proc->pid = fork();
	if (proc->pid < 0)
		die("fork");
	if (proc->pid == 0)
		become(parent, argv, environment, out, err, ended[1]);
	close(ended[1]);
	close(out);
	close(err);
	free_environment(environment);
	proc->next = all_procs;
	all_procs = proc;
	return (proc);
}

pid_t
spr_proc_pid(const spr_proc *proc)
{
	return (proc->pid);
}

void
spr_proc_signal(spr_proc *proc, int signal)
{
	if (proc->status == -1)
		kill(proc->pid, signal);
}

int
spr_proc_wait(spr_proc *proc, int ms)
{
	struct pollfd waiter = {.fd = proc->ended, .events = POLLIN};
	int status = 0;

	if (proc->status != -1)
		return (proc->status);
	if (poll(&waiter, 1, ms) != 1 || waitpid(proc->pid, &status, 0) != proc->pid)
		return (-1);
	proc->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return (proc->status);
}

char *
spr_proc_out(const spr_proc *proc)
{
	return (spr_read_file(proc->out_path));
}

char *
spr_proc_err(const spr_proc *proc)
{
	return (spr_read_file(proc->err_path));
}

void
spr_proc_end_all(void)
{
	spr_proc *next = NULL;

	for (spr_proc *proc = all_procs; proc != NULL; proc = proc->next)
		spr_proc_signal(proc, SIGKILL);
	for (spr_proc *proc = all_procs; proc != NULL; proc = next) {
		next = proc->next;
		(void)spr_proc_wait(proc, -1);
		close(proc->ended);
		free(proc->out_path);
		free(proc->err_path);
		free(proc);
	}
	all_procs = NULL;
}

char *
spr_read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	FILE *copy = NULL;
	char part[4096];
	size_t n;

	if (file == NULL)
		return (NULL);
	copy = open_memstream(&text, &size);
	if (copy == NULL)
		die("open_memstream");
	while ((n = fread(part, 1, sizeof(part), file)) > 0)
		fwrite(part, 1, n, copy);
	fclose(copy);
	fclose(file);
	return (text);
}

static int
remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	(void)status;
	(void)kind;
	(void)place;
	return (remove(path));
}

void
spr_remove_tree(const char *path)
{
	(void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
