// What SYSCALL and SYSRET load into segment registers and flags: every engine makes the same. Ref: SDM 2, the instructions'
// pages, "Operation".
#pragma once

#include "cpu/state.h"

namespace callgate {

/// CS: a flat code segment, readable and accessed. `size`: kRightsL or kRightsDb.
constexpr u32 flat_code_rights(unsigned dpl, u32 size) {
  return 11 | 1u << 4 | static_cast<u32>(dpl << 5) | kRightsPresent | kRightsG | size;
}
/// SS: a flat data segment, writable and accessed.
constexpr u32 flat_stack_rights(unsigned dpl) {
  return 3 | 1u << 4 | static_cast<u32>(dpl << 5) | kRightsPresent | kRightsG | kRightsDb;
}
/// The flags that SYSRET takes from R11: not RF and VM.
constexpr u32 kSysretFlags = 0x3C7FD7;

}  // namespace callgate
