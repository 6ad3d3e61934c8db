// For tests on an x86-64 host: scalar SSE, FMA and F16C instructions run on the real processor under any MXCSR, with
// their flags, and with the trap when an exception is unmasked. Refuses to know: what the answers should be.
#pragma once

#if defined(__x86_64__)

#include <bit>

#include "cpu/fp/fp.h"

namespace callgate::fp::host {

/// MXCSR for an Env (flags clear).
inline u32 mxcsr_of(const Env& env) {
  return static_cast<u32>(env.round) << 13 | static_cast<u32>(env.masks & 0x3F) << 7 | u32{env.ftz} << 15 |
         u32{env.daz} << 6;
}

/// What the processor did.
struct Outcome {
  u64 bits = 0;  ///< the result; with `trapped` what the masked response would be
  u8 flags = 0;
  bool trapped = false;
  i8 relation = 0;  ///< for comparisons: ZF, PF, CF as bits 2, 1, 0
};

/// One instruction: operands as bits (in the low part), and MXCSR going in and out.
using Instruction = u64 (*)(u64 a, u64 b, u64 c, u32& mxcsr);

/// Runs an instruction under env's MXCSR; catches SIGFPE.
Outcome run(Instruction instruction, u64 a, u64 b, u64 c, const Env& env);

}  // namespace callgate::fp::host

#endif
