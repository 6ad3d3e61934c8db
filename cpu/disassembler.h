// Guest code as text, by Capstone: for reports, traces and the debugger. Never for execution.
#pragma once

#include <span>
#include <string>

#include "cpu/insn.h"

namespace callgate {

/// One instruction's text ("mov eax, dword ptr [rbx]"), Intel syntax, and its length; "(bad)" and 1 for none.
struct Disassembly {
  std::string text;
  unsigned length = 1;
};
Disassembly disassemble(std::span<const u8> bytes, u64 address, CodeSize size);

}  // namespace callgate
