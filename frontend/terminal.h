// The user's terminal in raw mode, given back as it was: on exit, on errors, on signals, after a crash. The one place
// with process-wide state, because a process has one terminal and signal handlers take no arguments.
#pragma once

#include <string>

namespace callgate {

/// While it lives, standard input is raw if it is a terminal. One at a time.
class RawTerminal {
 public:
  RawTerminal();
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  /// True when standard input is a terminal and raw now.
  bool active() const { return active_; }

 private:
  bool active_ = false;
};

/// Gives the terminal back at once. Safe in a signal handler.
void restore_terminal();

}  // namespace callgate
