/*
 * To be preloaded: the wall clock of a process, moved by as many seconds as the file $MOVED_CLOCK begins with (a long in
 * the machine's order), at once and at next to no cost, where libfaketime reads a file for each look at the clock.
 * Monotonic clocks, and so time-outs, are left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static int (*read_clock)(clockid_t, struct timespec *);
static const volatile long *moved;

static void begin(void)
{
	int fd = open(getenv("MOVED_CLOCK"), O_RDONLY);

	read_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	moved = mmap(NULL, sizeof *moved, PROT_READ, MAP_SHARED, fd, 0);
	if (read_clock == NULL || moved == MAP_FAILED) abort();
}

int clock_gettime(clockid_t id, struct timespec *at)
{
	int failed;

	if (moved == NULL) begin(); /* no constructor: those of other libraries look at the clock, too */
	failed = read_clock(id, at);
	if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += *moved;
	return failed;
}

int gettimeofday(struct timeval *at, void *zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	at->tv_sec = now.tv_sec;
	at->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *at)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (at != NULL) *at = now.tv_sec;
	return now.tv_sec;
}
