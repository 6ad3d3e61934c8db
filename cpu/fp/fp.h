// Exact IEEE 754 and x87 arithmetic on bit patterns, with x86's rules for NaNs, denormals and flags.
// Pure functions: the same result on every host, whatever its floating-point unit does.
// Refuses to know: registers, control words' layouts, faults. Refs: SDM 1 ch. 4.8, 8.5, 11.5; IEEE 754-2008.
#pragma once

#include "base/types.h"

namespace callgate::fp {

/// Rounding, in the encoding of MXCSR.RC and the x87 control word's RC.
enum class Round : u8 { Nearest = 0, Down = 1, Up = 2, Zero = 3 };

/// Exception flags, in the bit positions of MXCSR and of the x87 status word.
enum Flag : u8 { kInvalid = 1, kDenormal = 2, kDivZero = 4, kOverflow = 8, kUnderflow = 16, kPrecision = 32 };

/// The environment of one operation: what the control register says, and where flags are collected.
struct Env {
  Round round = Round::Nearest;
  u8 masks = 0x3F;          ///< Flag bits that are masked (1 = masked), as in both control registers
  bool daz = false;         ///< SSE: denormal operands are zeros (then no kDenormal)
  bool ftz = false;         ///< SSE: a masked underflow gives zero
  u8 precision_bits = 64;   ///< x87 precision control: F80 results of add, sub, mul, div, sqrt have 24, 53 or 64 bits
  u8 flags = 0;             ///< Flags raised, OR-ed in by each operation
  u8 earlier = 0;           ///< Flags of an instruction's earlier steps (DPPS): reported whatever this step raises
  bool rounded_up = false;  ///< x87 C1: the last inexact result was rounded away from zero (in magnitude)
};

/// True when a raised flag is unmasked: SSE then leaves its destination alone and raises #XM.
inline bool unmasked(const Env& env) { return (env.flags & ~env.masks & 0x3F) != 0; }

using F32 = u32;  ///< the bits of a binary32
using F64 = u64;  ///< the bits of a binary64
/// An x87 double-extended value: explicit integer bit in bit 63 of the significand.
struct F80 {
  u64 significand = 0;
  u16 sign_exponent = 0;  ///< bit 15 sign, bits 14..0 biased exponent
  bool operator==(const F80&) const = default;
};

/// The flags that a packed SSE instruction reports, from the OR of its elements' flags: an unmasked #I, #D or #Z in any
/// element comes before the computation, and #O, #U, #P of the others are then not reported.
inline u8 reported_flags(const Env& env) {
  constexpr u8 before = kInvalid | kDenormal | kDivZero;
  return env.earlier | (env.flags & ~env.masks & before ? env.flags & before : env.flags);
}

// Arithmetic for F = F32, F64 (SSE's rules) and F80 (the x87's, see f80.h for what it does with unmasked exceptions).
// Explicitly instantiated; min, max, fma and the integer conversions for F32 and F64 only. With an unmasked exception
// SSE leaves its destination alone: the returned value has no meaning then.
template <class F>
F add(F a, F b, Env& env);
template <class F>
F sub(F a, F b, Env& env);
template <class F>
F mul(F a, F b, Env& env);
template <class F>
F div(F a, F b, Env& env);
template <class F>
F sqrt(F a, Env& env);
/// MINSS and friends: the second operand for NaNs and for two zeros.
template <class F>
F min(F a, F b, Env& env);
template <class F>
F max(F a, F b, Env& env);
/// a * b + c, rounded once, with the flags of VFMADD. Of several NaNs the first one wins: give the operands in the
/// order multiplicand, multiplier, addend of the manual's formula (132: dest * src3 + src2, 213: src2 * dest + src3,
/// 231: src2 * src3 + dest).
template <class F>
F fma(F a, F b, F c, Env& env);
/// The same with signs turned: of the product (VFNMADD, VFNMSUB) and of the addend (VFMSUB, VFNMSUB); never of a NaN.
template <class F>
F fma(F a, F b, F c, bool negate_product, bool negate_addend, Env& env);
/// ROUNDSS: to an integral value. `inexact` false suppresses kPrecision (imm bit 3).
template <class F>
F round_to_integral(F a, bool inexact, Env& env);

/// The result of a comparison.
enum class Relation : u8 { Less, Equal, Greater, Unordered };
/// COMISS (`quiet` false: kInvalid for any NaN) and UCOMISS (`quiet` true: kInvalid for signalling NaNs only).
template <class F>
Relation compare(F a, F b, bool quiet, Env& env);

// Conversions. Integer results of invalid conversions are the integer indefinite (only the sign bit set).
F64 f32_to_f64(F32 a, Env& env);
F32 f64_to_f32(F64 a, Env& env);
/// To a signed integer of 32 or 64 bits. `truncate` is CVTT..., else env.round.
template <class F>
i32 to_i32(F a, bool truncate, Env& env);
template <class F>
i64 to_i64(F a, bool truncate, Env& env);
template <class F>
F from_i32(i32 a, Env& env);
template <class F>
F from_i64(i64 a, Env& env);

// VCVTPH2PS and VCVTPS2PH, whose `round` comes from the instruction or from MXCSR.
using F16 = u16;  ///< the bits of a binary16
F32 f16_to_f32(F16 a, Env& env);
F16 f32_to_f16(F32 a, Round round, Env& env);

/// RCPSS and RSQRTSS: the manual bounds their error only (1.5 * 2^-12), and every processor has values of its own. Ours
/// are the true value rounded to 12 bits. They raise nothing, and take and deliver zeros for denormals, whatever MXCSR
/// says.
F32 reciprocal_estimate(F32 a);
F32 reciprocal_sqrt_estimate(F32 a);

}  // namespace callgate::fp
