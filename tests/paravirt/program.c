/* An ordinary program: position-independent and dynamically linked, as Debian builds all of its own.
 *
 *   program nothing     ends
 *   program many N      executes itself N times, one after the other
 *   program show        "main X libc X stack X cpu N": where it lies, and on which processor it is
 *   program plain       the same without any randomness (personality(2))
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "show") == 0) {
    printf("main %p libc %p stack %p cpu %d\n", (void *)main, (void *)strtol, (void *)&argc, sched_getcpu());
  } else if (strcmp(what, "plain") == 0) {
    personality(ADDR_NO_RANDOMIZE);
    execl(argv[0], argv[0], "show", (char *)0);
    return 127;
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
    puts("all ended");
  }
  return 0;
}
