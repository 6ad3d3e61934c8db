#include "frontend/terminal.h"

#include <termios.h>
#include <unistd.h>

#include <csignal>

namespace callgate {

namespace {

termios g_saved;
termios g_ours;
volatile std::sig_atomic_t g_raw = 0;
// A crash may be a stack that overflowed: the handlers need one of their own.
alignas(16) char g_handler_stack[32768];

// Every signal that ends a process unless told otherwise: the terminal is given back, then the signal has its way.
constexpr int kFatal[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,  SIGTRAP, SIGABRT,   SIGBUS,  SIGFPE,  SIGUSR1, SIGSEGV,
                          SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGXCPU, SIGVTALRM, SIGPROF, SIGXFSZ, SIGSYS};

void on_fatal(int signal) {
  restore_terminal();
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

// Stopped by another process (the keys for it go to the guest): the shell gets its terminal, and we take it again
// later. SIGSTOP, not SIGTSTP: the latter does nothing where nobody could continue us from a shell.
void on_stop(int) {
  restore_terminal();
  ::raise(SIGSTOP);
  g_raw = 1;
  tcsetattr(STDIN_FILENO, TCSANOW, &g_ours);
}

void handle(int signal, void (*handler)(int), int flags) {
  struct sigaction action = {};
  // What somebody told us to ignore (nohup) stays ignored.
  if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) return;
  action = {};
  action.sa_handler = handler;
  action.sa_flags = flags | static_cast<int>(SA_ONSTACK);
  sigaction(signal, &action, nullptr);
}

}  // namespace

void restore_terminal() {
  if (g_raw) {
    g_raw = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &g_saved);
  }
}

RawTerminal::RawTerminal() {
  if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &g_saved) != 0) return;
  g_ours = g_saved;
  cfmakeraw(&g_ours);
  g_ours.c_oflag |= OPOST | ONLCR;  // our own messages end in \n
  stack_t stack = {};
  stack.ss_sp = g_handler_stack;
  stack.ss_size = sizeof g_handler_stack;
  sigaltstack(&stack, nullptr);
  for (const int signal : kFatal) handle(signal, on_fatal, SA_NODEFER);
  handle(SIGTSTP, on_stop, SA_RESTART);
  g_raw = 1;
  active_ = tcsetattr(STDIN_FILENO, TCSANOW, &g_ours) == 0;
}

RawTerminal::~RawTerminal() { restore_terminal(); }

}  // namespace callgate
