// The x87's status and tag words, put together from the parts that the state keeps. For FSAVE, FXSAVE, a debugger.
// Knows no instruction. Ref: SDM 1, x87 FPU Status Word, x87 FPU Tag Word.
#pragma once

#include "cpu/state.h"

namespace callgate {

constexpr u16 kX87StackFault = 0x40;  // SF
constexpr u16 kX87Summary = 0x80;     // ES: an unmasked exception waits
constexpr u16 kX87C0 = 0x100, kX87C1 = 0x200, kX87C2 = 0x400, kX87C3 = 0x4000;
constexpr u16 kX87Busy = 0x8000;  // B: a copy of ES
constexpr u16 kX87Exceptions = 0x3F;
/// What X87State::status keeps: the exception flags, SF and the condition codes. TOP, ES and B are derived.
constexpr u16 kX87StatusKept = kX87Exceptions | kX87StackFault | kX87C0 | kX87C1 | kX87C2 | kX87C3;

/// An unmasked exception waits for the next waiting instruction. ES follows the flags and the masks, whatever was
/// loaded.
inline bool x87_exception_pending(const X87State& x) { return x.status & ~x.control & kX87Exceptions; }

/// FNSTSW's value.
inline u16 x87_status_word(const X87State& x) {
  const unsigned summary = x87_exception_pending(x) ? kX87Summary | kX87Busy : 0;
  return static_cast<u16>((x.status & kX87StatusKept) | (x.top & 7u) << 11 | summary);
}
inline void set_x87_status_word(X87State& x, u16 value) {
  x.status = value & kX87StatusKept;
  x.top = value >> 11 & 7;
}

/// FLDCW's rule: bit 6 reads as one, the other reserved bits as zeros.
inline u16 x87_control_word(u16 value) { return static_cast<u16>((value & 0x1F7F) | 0x40); }

/// The full tag word: 0 valid, 1 zero, 2 special, 3 empty, for R0 in the low bits to R7.
u16 x87_tag_word(const X87State& x);
/// Only "empty" is taken from a loaded tag word; the other three are found again from the contents.
void set_x87_tag_word(X87State& x, u16 value);

}  // namespace callgate
