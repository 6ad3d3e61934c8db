#include "frontend/terminal.h"

#include <csignal>
#include <termios.h>
#include <unistd.h>

namespace callgate {

namespace {

termios g_saved;
volatile std::sig_atomic_t g_raw = 0;

// Signals that end the process: give the terminal back, then let the signal have its way.
constexpr int kFatal[] = {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGTERM, SIGPIPE};

void on_fatal(int signal) {
  restore_terminal();
  ::signal(signal, SIG_DFL);
  ::raise(signal);
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
  for (const int signal : kFatal) {
    struct sigaction action = {};
    action.sa_handler = on_fatal;
    action.sa_flags = static_cast<int>(SA_NODEFER);
    sigaction(signal, &action, nullptr);
  }
  termios raw = g_saved;
  cfmakeraw(&raw);
  raw.c_oflag |= OPOST | ONLCR;  // our own messages end in \n
  g_raw = 1;
  active_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

RawTerminal::~RawTerminal() { restore_terminal(); }

}  // namespace callgate
