// FMA3 and the half-precision conversions of F16C, by lanes. On V = F32 or F64 the scalar instruction.
// Ref: SDM 2, VFMADD132PS and relatives, VCVTPH2PS, VCVTPS2PH.
#pragma once

#include "cpu/vec/lanes.h"

namespace callgate::vec {

using fp::F16;
using fp::F32;
using fp::F64;

/// What the sign of a product's addend depends on.
enum class Addend : u8 { Plus, Minus, MinusInEven, MinusInOdd };

/// +-(a * b) +- c, rounded once. The order of the operands is the manual's formula's: of several NaNs the first one counts.
template <class T, bool NegateProduct, Addend How>
struct FusedMultiply {
  template <class V>
  V operator()(V a, V b, V c, fp::Env& env) const {
    V r;
    for (unsigned i = 0; i < kLanes<T, V>; i++) {
      const bool minus = How == Addend::Minus || (How == Addend::MinusInEven && i % 2 == 0) || (How == Addend::MinusInOdd && i % 2 == 1);
      set<T>(r, i, fp::fma(get<T>(a, i), get<T>(b, i), get<T>(c, i), NegateProduct, minus, env));
    }
    return r;
  }
};
template <class T>
inline constexpr FusedMultiply<T, false, Addend::Plus> fmadd;
template <class T>
inline constexpr FusedMultiply<T, false, Addend::Minus> fmsub;
template <class T>
inline constexpr FusedMultiply<T, true, Addend::Plus> fnmadd;
template <class T>
inline constexpr FusedMultiply<T, true, Addend::Minus> fnmsub;
template <class T>
inline constexpr FusedMultiply<T, false, Addend::MinusInEven> fmaddsub;
template <class T>
inline constexpr FusedMultiply<T, false, Addend::MinusInOdd> fmsubadd;

/// VCVTPH2PS. Denormal halves are taken as they are, whatever DAZ says.
template <class Dest>
inline constexpr ConvertLanes<Dest, F32, F16, fp::f16_to_f32> f16_to_f32;

/// VCVTPS2PH: rounded as the immediate says, or MXCSR with its bit 2. FTZ means nothing here.
template <class Dest>
struct ToHalf {
  template <class V>
  Dest operator()(V a, u8 control, fp::Env& env) const {
    const fp::Round round = control & 4 ? env.round : static_cast<fp::Round>(control & 3);
    Dest r{};
    for (unsigned i = 0; i < kLanes<F32, V>; i++) set<F16>(r, i, fp::f32_to_f16(get<F32>(a, i), round, env));
    return r;
  }
};
template <class Dest>
inline constexpr ToHalf<Dest> f32_to_f16;

}  // namespace callgate::vec
