// Memory operands of the arithmetic and comparing instructions: m32, m64, m16int, m32int as double-extended values.
#pragma once

#include "cpu/x87/unit.h"

namespace callgate {

/// A denormal double-extended number. A denormal m32 or m64 becomes a normal F80: whether the instruction reports #D is
/// found by asking what it would do for this one.
constexpr fp::F80 kDenormalF80 = {1, 0};

struct X87Operand {
  fp::F80 value;
  bool denormal = false;  ///< it was one in its own format
};

/// Widens without raising anything: a signalling NaN stays one.
template <unsigned FractionBits, class T>
X87Operand widen(T bits) {
  constexpr unsigned kExponentBits = 8 * sizeof(T) - 1 - FractionBits;
  constexpr unsigned kMax = (1u << kExponentBits) - 1;
  const unsigned exponent = static_cast<unsigned>(bits >> FractionBits) & kMax;
  const u64 fraction = u64{bits} & low_mask(FractionBits);
  const u16 sign = static_cast<u16>((bits >> (8 * sizeof(T) - 1)) << 15);
  const u64 integer_bit = u64{1} << 63;
  if (exponent == kMax) return {{integer_bit | fraction << (63 - FractionBits), static_cast<u16>(sign | 0x7FFF)}};
  if (exponent != 0) {
    const unsigned e = exponent + 16383 - (kMax >> 1);
    return {{integer_bit | fraction << (63 - FractionBits), static_cast<u16>(sign | e)}};
  }
  if (fraction == 0) return {{0, sign}};
  const unsigned shift = static_cast<unsigned>(std::countl_zero(fraction));
  const unsigned e = 16383 - (kMax >> 1) + 1 + (63 - FractionBits) - shift;
  return {{fraction << shift, static_cast<u16>(sign | e)}, true};
}
inline X87Operand widen_f32(u32 bits) { return widen<23>(bits); }
inline X87Operand widen_f64(u64 bits) { return widen<52>(bits); }

/// By opcode: D8 m32, DA m32int, DC m64, DE m16int.
inline X87Operand load_operand(X87Unit& u) {
  switch (u.i.opcode) {
    case 0xD8:
      return widen_f32(u.load<u32>());
    case 0xDC:
      return widen_f64(u.load<u64>());
    case 0xDA:
      return {fp::i64_to_f80(static_cast<i32>(u.load<u32>()))};
    default:
      return {fp::i64_to_f80(static_cast<i16>(u.load<u16>()))};
  }
}

}  // namespace callgate
