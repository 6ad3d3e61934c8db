// What the user types, split into the guest's bytes and the emulator's commands behind Ctrl-A (QEMU's habit).
#pragma once

#include <span>
#include <vector>

#include "base/types.h"

namespace callgate {

enum class ConsoleCommand { None, Quit, Help, Where };

/// Takes typed bytes in order. Stateless but for "the last byte was Ctrl-A".
class ConsoleKeys {
 public:
  struct Result {
    std::vector<u8> for_guest;
    std::vector<ConsoleCommand> commands;
  };
  Result feed(std::span<const u8> typed);

 private:
  bool escaped_ = false;
};

constexpr const char* kConsoleHelp =
    "\n"
    "Ctrl-A h   this help\n"
    "Ctrl-A x   end the run\n"
    "Ctrl-A i   where the guest is: instruction count, time, RIP\n"
    "Ctrl-A a   send Ctrl-A to the guest\n";

}  // namespace callgate
