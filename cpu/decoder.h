// The decoder: from instruction bytes to an Insn, by the rows of the instruction table. Knows nothing of memory, faults or
// the processor's state beyond the code segment's size. Ref: SDM 2, chapter 2 "Instruction Format".
#pragma once

#include <span>

#include "cpu/insn.h"

namespace callgate {

/// The longest instruction. A longer one is #GP(0).
constexpr unsigned kMaxInsnLength = 15;

enum class DecodeStatus : u8 {
  Ok,
  Truncated,  ///< the bytes given end inside the instruction: give more (up to kMaxInsnLength)
  TooLong,    ///< more than 15 bytes: #GP(0)
  Invalid,    ///< no such instruction in this mode: #UD
};

/// Decodes the instruction at the start of `bytes`. On Ok `out` is complete. On Invalid and TooLong `out.exec` raises the
/// fault when executed, so that a caller may treat it like any other.
DecodeStatus decode(std::span<const u8> bytes, CodeSize size, Insn& out);

}  // namespace callgate
