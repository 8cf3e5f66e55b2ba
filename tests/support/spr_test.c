/*
 * spr_test - see spr_test.h. Linked into every test program.
 */
#include "spr_test.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

void
spr_test_expect(spr_err got, spr_err wanted, const char *text, const char *file, int line)
{
	if (got == wanted)
		return;
	print_error("%s:%d: %s: got %s, wanted %s (%s)\n", file, line, text, spr_err_name(got),
		    spr_err_name(wanted), spr_error_text(got));
	_fail(file, line);
}

uint64_t
spr_test_deadline_ns(unsigned ms)
{
	return (spr_clock_now_ns() + ms * SPR_NS_PER_MS);
}

bool
spr_test_pause(uint64_t deadline_ns)
{
	const struct timespec moment = {.tv_nsec = 200000};

	nanosleep(&moment, NULL);
	return (spr_clock_now_ns() < deadline_ns);
}

uint64_t
spr_test_seed(void)
{
	static uint64_t seed; /* the main thread asks first, and then starts the others */
	const char *given = getenv("SPR_TEST_SEED");

	if (seed == 0) {
		seed = given != NULL ? strtoull(given, NULL, 0)
				     : spr_clock_now_ns() ^ ((uint64_t)getpid() << 32);
		seed |= seed == 0;
		print_message("SPR_TEST_SEED=%llu\n", (unsigned long long)seed);
	}
	return (seed);
}

uint64_t
spr_test_random(uint64_t *state)
{
	/* splitmix64: any state is a good one, so seed plus a small number gives each thread its
	 * own stream */
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (z ^ (z >> 31));
}

uint64_t
spr_test_below(uint64_t *state, uint64_t n)
{
	return (spr_test_random(state) % n);
}

char *
spr_test_tmpdir(void)
{
	const char *base = getenv("TMPDIR");
	char path[512];

	snprintf(path, sizeof(path), "%s/spr-test-XXXXXX", base != NULL ? base : "/tmp");
	if (mkdtemp(path) == NULL)
		fail_msg("mkdtemp %s", path);
	return (strdup(path));
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return (remove(path));
}

void
spr_test_cleanup(char *dir)
{
	if (dir == NULL)
		return;
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(dir);
}
