/* A host whose clocks jump, for the program that this is loaded into (LD_PRELOAD): the time of day forwards and backwards, as
   somebody sets it, the others only forwards, as after a sleep. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static uint64_t state = 88172645463325252u;
static unsigned long calls;

static int64_t jump(void) { /* nanoseconds, up to an hour either way, seldom 0 */
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (int64_t)(state % 7200000000000u) - 3600000000000;
}

int clock_gettime(clockid_t clock, struct timespec* out) {
  const long failed = syscall(SYS_clock_gettime, clock, out);
  if (failed) return -1;
  calls++;
  static int64_t slept;
  if (clock != CLOCK_REALTIME && calls % 8 == 0) slept += llabs(jump());
  int64_t now = out->tv_sec * 1000000000 + out->tv_nsec + (clock == CLOCK_REALTIME ? jump() : slept);
  out->tv_sec = now / 1000000000;
  out->tv_nsec = now % 1000000000;
  return 0;
}

int gettimeofday(struct timeval* restrict out, void* restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

/* That the program asked at all, for the test to see. */
__attribute__((destructor)) static void tell(void) {
  static const char kAsked[] = "clocks were asked\n";
  if (calls != 0 && write(STDERR_FILENO, kAsked, sizeof kAsked - 1) < 0) _exit(99);
}
