/* Work whose cost is what a guest's kernel does, not its programs: for tests/paravirt/arms.py, which times it, and for the tests that
 * show that a kernel uses what its hypervisor offers.
 *
 * Each prints "BENCH-BEGIN name" and "BENCH-END name" on the serial console, so that the host can time it with its own clock.
 *
 * Usage: workloads SCALE TTY NAME...     TTY: where 1 MiB of output goes, to its last byte.
 * Build: gcc -O2 -static -pthread -o workloads workloads.c
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static double scale = 1;
static const char *tty = "/dev/ttyS0";
static const char *self;

static long rounds(double n) { return n * scale < 1 ? 1 : (long)(n * scale); }

static void must(int good, const char *what) {
  if (good) return;
  printf("workloads: %s failed\n", what);
  exit(1);
}

static int cpus(void) { return (int)sysconf(_SC_NPROCESSORS_ONLN); }

static void stay_on(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu % cpus(), &set);
  must(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

/* --- other threads of this process, one on each other processor but, of more than two, the last: then kernels send their interrupts to
 * some processors, for which they have other ways than for one or for all --- */

static volatile int stop;
static pthread_t other[64];
static int with_threads(void) { return cpus() > 2 ? cpus() - 1 : cpus(); }

static void *spin(void *unused) {
  (void)unused;
  while (!stop) __builtin_ia32_pause();
  return 0;
}

static void start_others(void *(*body)(void *)) {
  stop = 0;
  for (int n = 1; n < with_threads(); n++) {
    pthread_attr_t a;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(n, &set);
    pthread_attr_init(&a);
    pthread_attr_setaffinity_np(&a, sizeof set, &set);
    must(pthread_create(&other[n], &a, body, 0) == 0, "pthread_create");
  }
  stay_on(0);
}

static void stop_others(void) {
  stop = 1;
  for (int n = 1; n < with_threads(); n++) pthread_join(other[n], 0);
}

/* --- the workloads --- */

/* 1 MiB of lines to a terminal in raw mode; with scale 0 a sixteenth */
static void w_console(void) {
  int fd = open(tty, O_RDWR | O_NOCTTY);
  must(fd >= 0, tty);
  struct termios before, raw;
  tcgetattr(fd, &before);
  raw = before;
  cfmakeraw(&raw);
  tcsetattr(fd, TCSADRAIN, &raw);
  static char text[1 << 16];
  for (unsigned n = 0; n < sizeof text; n++) text[n] = n % 64 == 63 ? '\n' : (char)('a' + n % 26);
  for (int n = 0; n < (scale > 0 ? 16 : 1); n++)
    for (size_t done = 0; done < sizeof text;) {
      ssize_t part = write(fd, text + done, sizeof text - done);
      must(part > 0, "write");
      done += (size_t)part;
    }
  tcdrain(fd);
  tcsetattr(fd, TCSADRAIN, &before);
  close(fd);
}

static void change_ldt(long times) {
  struct user_desc d = {.entry_number = 0, .limit = 0xFFFFF, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1};
  for (long n = 0; n < times; n++) {
    d.base_addr = (unsigned)(n & 0xFF) << 12;
    must(syscall(SYS_modify_ldt, 0x11, &d, sizeof d) == 0, "modify_ldt");
  }
}

static void w_ldt(void) {
  stay_on(0);
  change_ldt(rounds(100000));
}

/* the same while other processors run threads of this process: each change has to reach them */
static void w_ldt_threads(void) {
  start_others(spin);
  change_ldt(rounds(30000));
  stop_others();
}

/* two processes, a byte to and fro; on two processors when there are two */
static void w_pipe(void) {
  int to[2], fro[2];
  char c = 0;
  long n = rounds(20000);
  must(pipe(to) == 0 && pipe(fro) == 0, "pipe");
  pid_t child = fork();
  if (child == 0) {
    stay_on(1);
    for (long i = 0; i < n; i++) must(read(to[0], &c, 1) == 1 && write(fro[1], &c, 1) == 1, "the child's pipe");
    _exit(0);
  }
  stay_on(0);
  for (long i = 0; i < n; i++) must(write(to[1], &c, 1) == 1 && read(fro[0], &c, 1) == 1, "a pipe");
  waitpid(child, 0, 0);
}

static void fork_and_exec(const char *path, char *const arguments[]) {
  for (long n = rounds(400); n > 0; n--) {
    pid_t child = fork();
    if (child == 0) {
      execv(path, arguments);
      _exit(127);
    }
    int status = 1;
    waitpid(child, &status, 0);
    must(status == 0, "exec");
  }
}
static void w_forkexec(void) {
  char *arguments[] = {"program", "nothing", 0};
  fork_and_exec("/program", arguments);
}
static void w_forkexec_static(void) {
  char *arguments[] = {(char *)self, "1", "-", "nothing", 0};
  fork_and_exec(self, arguments);
}
static void w_nothing(void) { _exit(0); }

/* first touches of fresh pages; so many that the machine's own memory, which its host gives when it is touched first, weighs little */
static void w_fault(void) {
  const size_t size = 64 << 20;
  for (long n = rounds(36); n > 0; n--) {
    char *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(p != MAP_FAILED, "mmap");
    madvise(p, size, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < size; at += 4096) p[at] = 1;
    munmap(p, size);
  }
}

/* pages that other processors may have in their TLBs */
static void w_flush_threads(void) {
  char *p = mmap(0, 64 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(p != MAP_FAILED, "mmap");
  memset(p, 1, 64 << 12);
  start_others(spin);
  for (long n = rounds(5000); n > 0; n--) {
    must(mprotect(p, 64 << 12, PROT_READ) == 0 && mprotect(p, 64 << 12, PROT_READ | PROT_WRITE) == 0, "mprotect");
    p[n % 64 << 12] = 2;
  }
  stop_others();
}

/* a spin lock of the kernel's that all processors want: that of a futex's queue, with somebody in it who is not meant */
static int word;
static void *sleeper(void *unused) {
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, 0, 0, 1);
  return unused;
}
static void *wake_nobody(void *unused) {
  while (!stop) syscall(SYS_futex, &word, FUTEX_WAKE_BITSET_PRIVATE, 1, 0, 0, 2);
  return unused;
}
static void w_lock_threads(void) {
  pthread_t asleep;
  must(pthread_create(&asleep, 0, sleeper, 0) == 0, "pthread_create");
  usleep(1000);
  start_others(wake_nobody);
  for (long n = rounds(100000); n > 0; n--) syscall(SYS_futex, &word, FUTEX_WAKE_BITSET_PRIVATE, 1, 0, 0, 2);
  stop_others();
  syscall(SYS_futex, &word, FUTEX_WAKE_BITSET_PRIVATE, 1, 0, 0, 1);
  pthread_join(asleep, 0);
}

/* a spin lock that is held for long: a thousand sleepers are moved from one queue to another, and the other processors want it
 * meanwhile. Who knows that it waits in vain had better sleep */
enum { kSleepers = 1000 };
static int elsewhere;
static void w_lock_held_threads(void) {
  static pthread_t asleep[kSleepers];
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 32 << 10);
  for (int n = 0; n < kSleepers; n++) must(pthread_create(&asleep[n], &small, sleeper, 0) == 0, "pthread_create");
  usleep(10000);
  start_others(wake_nobody);
  for (long n = rounds(200); n > 0; n--) {
    syscall(SYS_futex, &word, FUTEX_REQUEUE_PRIVATE, 0, (void *)(long)kSleepers, &elsewhere, 0);
    syscall(SYS_futex, &elsewhere, FUTEX_REQUEUE_PRIVATE, 0, (void *)(long)kSleepers, &word, 0);
  }
  stop_others();
  _exit(0); /* and the sleepers with it */
}

/* --- controls: what no hypervisor's help should make quicker or slower --- */

/* interrupts off and on: the lock around a thread's signals */
static void w_control_irq(void) {
  sigset_t some, none;
  sigemptyset(&none);
  sigemptyset(&some);
  sigaddset(&some, SIGUSR1);
  for (long n = rounds(300000); n > 0; n--) {
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &some, 0, 8);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
  }
}

/* page tables written, by a process that is on one processor only */
static void w_control_pte(void) {
  stay_on(0);
  char *p = mmap(0, 64 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(p != MAP_FAILED, "mmap");
  memset(p, 1, 64 << 12);
  for (long n = rounds(30000); n > 0; n--) must(mprotect(p, 64 << 12, n & 1 ? PROT_READ : PROT_READ | PROT_WRITE) == 0, "mprotect");
  munmap(p, 64 << 12);
}

/* LLDT: two processes with an LDT each take turns on one processor */
static void w_control_lldt(void) {
  stay_on(0);
  pid_t child = fork();
  change_ldt(1);
  for (long n = rounds(40000); n > 0; n--) sched_yield();
  if (child == 0) _exit(0);
  waitpid(child, 0, 0);
}

static void w_idle(void) { usleep((useconds_t)(1000000 * scale)); }

static const struct {
  const char *name;
  void (*run)(void);
} kWork[] = {
    {"console", w_console},     {"ldt", w_ldt},
    {"ldt_threads", w_ldt_threads}, {"pipe", w_pipe},
    {"forkexec", w_forkexec},   {"forkexec_static", w_forkexec_static}, {"nothing", w_nothing},
    {"fault", w_fault},         {"flush_threads", w_flush_threads},
    {"lock_threads", w_lock_threads}, {"lock_held_threads", w_lock_held_threads}, {"control_irq", w_control_irq},
    {"control_pte", w_control_pte}, {"control_lldt", w_control_lldt},
    {"idle", w_idle},
};

/* In a process of its own, so that none inherits another's LDT, place or pages. */
static void one(void (*run)(void)) {
  pid_t child = fork();
  if (child == 0) {
    run();
    _exit(0);
  }
  int status = 1;
  waitpid(child, &status, 0);
  must(status == 0, "a workload");
}

int main(int argc, char **argv) {
  self = argv[0];
  setvbuf(stdout, 0, _IONBF, 0);
  if (argc < 4) return 2;
  scale = atof(argv[1]);
  tty = argv[2];
  for (int a = 3; a < argc; a++)
    for (unsigned n = 0; n < sizeof kWork / sizeof kWork[0]; n++) {
      if (strcmp(argv[a], kWork[n].name) != 0) continue;
      if (kWork[n].run == w_nothing) w_nothing();
      /* Once as little as possible of it, so that what is measured is not how its code is translated. */
      scale = 0;
      if (kWork[n].run != w_idle) one(kWork[n].run);
      scale = atof(argv[1]);
      printf("BENCH-BEGIN %s\n", argv[a]);
      one(kWork[n].run);
      printf("BENCH-END %s\n", argv[a]);
    }
  return 0;
}
