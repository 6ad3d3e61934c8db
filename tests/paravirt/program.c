/* An ordinary program: position-independent and dynamically linked, as Debian builds all of its own.
 *
 *   program nothing     ends
 *   program many N      executes itself N times, one after the other
 *   program show        "main X libc X stack X cpu N": where it lies, and on which processor it is
 *   program ldt N       writes a descriptor of its LDT N times, alone and with a second thread, and looks at memory through it
 *   program fresh       writes new memory page by page: that it was zero, and whether the kernel's accounts of it agree
 *   program plain       the same without any randomness (personality(2))
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int stop;
static void *wait_for_stop(void *unused) {
  (void)unused;
  while (!stop) sched_yield();
  return 0;
}

/* The sum of what the bytes of `memory` are through GS, whose base goes from byte to byte, and of the limits that LSL finds. */
static unsigned long through_ldt(const unsigned char *memory, long times) {
  unsigned long sum = 0;
  for (long n = 0; n < times; n++) {
    struct user_desc d = {.entry_number = n % 3, .seg_32bit = 1, .useable = 1};
    d.base_addr = (unsigned)(unsigned long)(memory + n % 256);
    d.limit = (unsigned)(n % 1000);
    d.read_exec_only = n % 7 == 0;
    if (syscall(SYS_modify_ldt, n % 10 == 9 ? 1 : 0x11, &d, sizeof d) != 0) return 0;
    const unsigned short selector = (unsigned short)(d.entry_number << 3 | 7);
    unsigned char byte = 0;
    unsigned long limit = 0;
    __asm__ volatile("mov %2, %%gs\n\tmovb %%gs:0, %0\n\tlsl %w2, %k1" : "=&q"(byte), "=&r"(limit) : "r"((unsigned)selector) : "cc");
    sum = sum * 31 + byte + limit;
  }
  struct user_desc wrong = {.entry_number = 8192, .seg_32bit = 1};
  return sum * 2 + (syscall(SYS_modify_ldt, 0x11, &wrong, sizeof wrong) != 0);
}

/* A figure of a file's line "name: 12 kB"; 0: there is none. */
static long kilobytes(const char *path, const char *name) {
  char line[256];
  long found = 0;
  FILE *f = fopen(path, "r");
  while (f && fgets(line, sizeof line, f))
    if (strncmp(line, name, strlen(name)) == 0) found = strtol(line + strlen(name), 0, 10);
  if (f) fclose(f);
  return found;
}

/* The rest of `memory` behind what was written stays there unwritten; `holes` leaves every 50th page out. */
static void fresh(size_t pages, int holes) {
  unsigned char *const memory = mmap(0, 2 * pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(memory, 2 * pages << 12, MADV_NOHUGEPAGE);
  unsigned char *const there = malloc(2 * pages);
  unsigned long sum = 0;
  size_t written = 0, resident = 0;
  for (size_t n = 0; n < pages; n++) {
    if (holes && n % 50 == 49) continue;
    memory[(n << 12) + n % 4096] = (unsigned char)(n + 1);
    written++;
  }
  mincore(memory, 2 * pages << 12, there);
  for (size_t n = 0; n < 2 * pages; n++) resident += there[n] & 1;
  const pid_t child = fork();
  if (child == 0)  // what is written in a copy is nobody else's
    for (size_t n = 0; n < pages; n++) memory[n << 12] ^= 0x55;
  for (size_t n = 0; n < 2 * pages << 12; n += 1 + n % 97) sum = sum * 31 + memory[n];
  if (child == 0) _exit((int)(sum >> 60));
  int status = 1;
  waitpid(child, &status, 0);
  /* One is counted where pages come and go, the other one by walking the page tables; a task keeps a few of the first to itself. */
  const long counted = kilobytes("/proc/self/status", "VmRSS:"), walked = kilobytes("/proc/self/smaps_rollup", "Rss:");
  printf("fresh %lx %d written %zu; accounts %s\n", sum, WIFEXITED(status), written, labs(counted - walked) <= 1024 ? "agree" : "differ");
  printf("resident %zu of %zu\n", resident, 2 * pages);
  munmap(memory, 2 * pages << 12);
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "show") == 0) {
    printf("main %p libc %p stack %p cpu %d\n", (void *)main, (void *)strtol, (void *)&argc, sched_getcpu());
  } else if (strcmp(what, "plain") == 0) {
    personality(ADDR_NO_RANDOMIZE);
    execl(argv[0], argv[0], "show", (char *)0);
    return 127;
  } else if (strcmp(what, "ldt") == 0 && argc > 2) {
    unsigned char *const memory = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    for (unsigned n = 0; n < 4096; n++) memory[n] = (unsigned char)(n * 7 + 1);
    const unsigned long alone = through_ldt(memory, strtol(argv[2], 0, 10));
    pthread_t other;
    pthread_create(&other, 0, wait_for_stop, 0);
    const unsigned long beside = through_ldt(memory, 1000);
    stop = 1;
    pthread_join(other, 0);
    printf("ldt %lx %lx\n", alone, beside);
  } else if (strcmp(what, "fresh") == 0) {
    fresh(1500, 0);
    fresh(1500, 1);
  } else if (strcmp(what, "many") == 0 && argc > 2) {
    for (long n = strtol(argv[2], 0, 10); n > 0; n--) {
      int status = 1;
      const pid_t child = fork();
      if (child == 0) {
        execl(argv[0], argv[0], "nothing", (char *)0);
        _exit(127);
      }
      if (waitpid(child, &status, 0) != child || status != 0) {
        puts("program: a child failed");
        return 1;
      }
    }
  }
  return 0;
}
