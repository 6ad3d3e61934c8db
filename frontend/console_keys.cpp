#include "frontend/console_keys.h"

namespace callgate {

namespace {
constexpr u8 kCtrlA = 1;
}

ConsoleKeys::Result ConsoleKeys::feed(std::span<const u8> typed) {
  Result out;
  for (const u8 byte : typed) {
    if (!escaped_) {
      if (byte == kCtrlA)
        escaped_ = true;
      else
        out.for_guest.push_back(byte);
      continue;
    }
    escaped_ = false;
    switch (byte) {
      case 'x': out.commands.push_back(ConsoleCommand::Quit); break;
      case 'h':
      case '?': out.commands.push_back(ConsoleCommand::Help); break;
      case 'i': out.commands.push_back(ConsoleCommand::Where); break;
      case 'a':
      case kCtrlA: out.for_guest.push_back(kCtrlA); break;
      default: break;  // as in QEMU, an unknown key after Ctrl-A is dropped
    }
  }
  return out;
}

}  // namespace callgate
