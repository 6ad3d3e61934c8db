// The x87's own operations on double-extended values; add, sub, mul, div, sqrt, compare and round_to_integral of fp.h
// are there for F80 as well. Pure functions: the same result on every host. Refuses to know: the register stack, tags,
// the layout of the control and status words. Refs: SDM 1 ch. 8; SDM 2, F*.
#pragma once

#include "cpu/fp/fp.h"

namespace callgate::fp {

// How to use the result. Give each instruction a fresh Env (flags 0); afterwards OR its flags into the status word, put
// `rounded_up` into C1, and ask one of the functions below whether the destination is written (and the stack
// popped). An unmasked #O or #U still delivers a result to a register: the exponent is then biased by -24576 or +24576.

/// The destination register is written: no unmasked #I, #D or #Z.
inline bool writes_register(const Env& env) {
  return (env.flags & ~env.masks & (kInvalid | kDenormal | kDivZero)) == 0;
}
/// FLD m32 and FLD m64 push: a denormal is loaded even with #D unmasked.
inline bool pushes_load(const Env& env) { return (env.flags & ~env.masks & kInvalid) == 0; }
/// The destination in memory (FST, FIST, FBSTP) is written: nothing unmasked but #P.
inline bool writes_memory(const Env& env) { return (env.flags & ~env.masks & 0x3F & ~kPrecision) == 0; }

/// FXAM's classes; the value is C3:C2:C0 as three bits. (Empty is the register stack's: 0b101.)
enum class Class : u8 { Unsupported = 0, NaN = 1, Normal = 2, Infinity = 3, Zero = 4, Denormal = 6 };
Class classify(F80 a);

constexpr F80 kF80Indefinite = {0xC000000000000000, 0xFFFF};  ///< the real indefinite, the answer to a masked #I
constexpr bool sign_of(F80 a) { return a.sign_exponent >> 15; }
constexpr F80 negated(F80 a) { return {a.significand, static_cast<u16>(a.sign_exponent ^ 0x8000)}; }    ///< FCHS
constexpr F80 magnitude(F80 a) { return {a.significand, static_cast<u16>(a.sign_exponent & 0x7FFF)}; }  ///< FABS

// FLD m32, FLD m64, FILD. (FLD m80 and FSTP m80 copy the bits and raise nothing.)
F80 f32_to_f80(F32 a, Env& env);
F80 f64_to_f80(F64 a, Env& env);
F80 i64_to_f80(i64 a);

// FST m32, FST m64. Not for the precision control: the destination's own precision.
F32 f80_to_f32(F80 a, Env& env);
F64 f80_to_f64(F80 a, Env& env);

// FIST, FISTTP (`truncate`). Invalid: the integer indefinite of the width.
i16 f80_to_i16(F80 a, bool truncate, Env& env);
i32 f80_to_i32(F80 a, bool truncate, Env& env);
i64 f80_to_i64(F80 a, bool truncate, Env& env);

/// The ten bytes of a packed BCD integer in memory: eight, then two (bit 15 of `high` is the sign).
struct PackedBcd {
  u64 low = 0;
  u16 high = 0;
  bool operator==(const PackedBcd&) const = default;
};
PackedBcd f80_to_bcd(F80 a, Env& env);  ///< FBSTP
F80 bcd_to_f80(PackedBcd a);            ///< FBLD; digits above 9 count for what they are

/// FLD1 and the rest, in the order of their opcodes D9 E8 to D9 EE.
enum class Constant : u8 { One, Log2Of10, Log2OfE, Pi, Log10Of2, LnOf2, Zero };
F80 constant(Constant which, Round round);

/// FSCALE: a * 2^trunc(b).
F80 scale(F80 a, F80 b, Env& env);

/// FXTRACT: `exponent` replaces ST(0), then `significand` is pushed.
struct Extracted {
  F80 exponent;
  F80 significand;
};
Extracted extract(F80 a, Env& env);

/// FPREM and FPREM1 of a by b.
struct Remainder {
  F80 value;
  bool partial = false;  ///< C2: the reduction is not complete, do it again
  u8 quotient = 0;       ///< the low three bits of the quotient: bit 0 is C1, bit 1 is C3, bit 2 is C0 (0 when partial)
};
Remainder prem(F80 a, F80 b, Env& env);   ///< truncating quotient
Remainder prem1(F80 a, F80 b, Env& env);  ///< quotient to nearest even (IEEE remainder)

// Transcendentals: correctly rounded to 64 bits in the direction of env.round (the precision control does not apply).
F80 f2xm1(F80 x, Env& env);           ///< 2^x - 1
F80 fyl2x(F80 x, F80 y, Env& env);    ///< y * log2(x); x is ST(0), y is ST(1)
F80 fyl2xp1(F80 x, F80 y, Env& env);  ///< y * log2(x + 1)
F80 fpatan(F80 x, F80 y, Env& env);   ///< atan2(y, x)

/// FSIN, FCOS, FPTAN.
struct Trig {
  F80 value;
  bool out_of_range = false;  ///< C2: |x| >= 2^63, the operand is left alone and nothing is pushed
};
Trig fsin(F80 x, Env& env);
Trig fcos(F80 x, Env& env);
Trig fptan(F80 x, Env& env);  ///< the tangent; the instruction then pushes 1.0 (or, for a NaN, the NaN again)

/// FSINCOS: `sine` replaces ST(0), then `cosine` is pushed.
struct SineCosine {
  F80 sine;
  F80 cosine;
  bool out_of_range = false;
};
SineCosine fsincos(F80 x, Env& env);

}  // namespace callgate::fp
