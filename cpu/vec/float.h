// Packed and scalar floating point by lanes: cpu/fp's exact operations. On V = F32 or F64 an operation is the scalar
// instruction (ADDSS), on a vector the packed one (ADDPS). Ref: SDM 2, the instruction of the same name.
#pragma once

#include "cpu/flags.h"
#include "cpu/vec/lanes.h"

namespace callgate::vec {

using fp::F32;
using fp::F64;

inline constexpr FloatLanewise<F32, fp::add<F32>> add_f32;
inline constexpr FloatLanewise<F64, fp::add<F64>> add_f64;
inline constexpr FloatLanewise<F32, fp::sub<F32>> sub_f32;
inline constexpr FloatLanewise<F64, fp::sub<F64>> sub_f64;
inline constexpr FloatLanewise<F32, fp::mul<F32>> mul_f32;
inline constexpr FloatLanewise<F64, fp::mul<F64>> mul_f64;
inline constexpr FloatLanewise<F32, fp::div<F32>> div_f32;
inline constexpr FloatLanewise<F64, fp::div<F64>> div_f64;
inline constexpr FloatLanewise<F32, fp::min<F32>> min_f32;
inline constexpr FloatLanewise<F64, fp::min<F64>> min_f64;
inline constexpr FloatLanewise<F32, fp::max<F32>> max_f32;
inline constexpr FloatLanewise<F64, fp::max<F64>> max_f64;
inline constexpr FloatLanewiseUnary<F32, fp::sqrt<F32>> sqrt_f32;
inline constexpr FloatLanewiseUnary<F64, fp::sqrt<F64>> sqrt_f64;
inline constexpr LanewiseUnary<F32, fp::reciprocal_estimate> reciprocal_f32;
inline constexpr LanewiseUnary<F32, fp::reciprocal_sqrt_estimate> reciprocal_sqrt_f32;

/// CMPPS and relatives: a predicate of VCMPPS's 32 (SSE has the first eight). Which relations satisfy each, by number:
/// SDM 2, Comparison Predicate for CMPPD and CMPPS Instructions.
inline bool satisfies(fp::Relation relation, u8 predicate) {
  constexpr u8 kLess = 1, kEqual = 2, kGreater = 4, kUnordered = 8;  // 1 << Relation
  constexpr u8 kTrueFor[16] = {
      kEqual,                             // EQ
      kLess,                              // LT
      kLess | kEqual,                     // LE
      kUnordered,                         // UNORD
      kLess | kGreater | kUnordered,      // NEQ
      kEqual | kGreater | kUnordered,     // NLT
      kGreater | kUnordered,              // NLE
      kLess | kEqual | kGreater,          // ORD
      kEqual | kUnordered,                // EQ_UQ
      kLess | kUnordered,                 // NGE
      kLess | kEqual | kUnordered,        // NGT
      0,                                  // FALSE
      kLess | kGreater,                   // NEQ_OQ
      kEqual | kGreater,                  // GE
      kGreater,                           // GT
      kLess | kEqual | kGreater | kUnordered,  // TRUE
  };
  return kTrueFor[predicate & 15] >> static_cast<unsigned>(relation) & 1;
}
/// LT, LE, NLT, NLE and their like signal #I for a quiet NaN; from 16 on it is the other way round.
inline bool signals(u8 predicate) { return ((predicate & 3) == 1 || (predicate & 3) == 2) != ((predicate & 16) != 0); }

/// The bits of the immediate that are the predicate; the others mean nothing.
template <u8 Mask>
struct Predicate {
  u8 operator()(u8 immediate) const { return immediate & Mask; }
};
inline constexpr Predicate<7> sse_predicate;
inline constexpr Predicate<31> avx_predicate;

template <class F>
struct CompareLanes {
  template <class V>
  V operator()(V a, V b, u8 predicate, fp::Env& env) const {
    V r;
    for (unsigned i = 0; i < kLanes<F, V>; i++) {
      const fp::Relation relation = fp::compare(get<F>(a, i), get<F>(b, i), !signals(predicate), env);
      set<F>(r, i, satisfies(relation, predicate) ? static_cast<F>(-1) : F{0});
    }
    return r;
  }
};
inline constexpr CompareLanes<F32> compare_f32;
inline constexpr CompareLanes<F64> compare_f64;

/// COMISS (Quiet = false), UCOMISS: the relation of two scalars.
template <bool Quiet>
struct Relate {
  template <class F>
  fp::Relation operator()(F a, F b, fp::Env& env) const {
    return fp::compare(a, b, Quiet, env);
  }
};
inline constexpr Relate<false> comis;
inline constexpr Relate<true> ucomis;

/// A relation as COMISS shows it: ZF, PF, CF; OF, SF and AF are cleared.
struct SetRelationFlags {
  void operator()(fp::Relation relation, Flags& f) const {
    constexpr u32 kShown[4] = {kCF, kZF, 0, kZF | kPF | kCF};
    f.set_arithmetic(kShown[static_cast<unsigned>(relation)]);
  }
};
inline constexpr SetRelationFlags set_relation_flags;

// Conversions. `Dest` is the destination: a vector, half of one, or a scalar.
namespace lane {
template <class F, bool Truncate>
i32 to_i32(F a, fp::Env& env) {
  return fp::to_i32(a, Truncate, env);
}
}  // namespace lane

template <class Dest>
inline constexpr ConvertLanes<Dest, F64, F32, fp::f32_to_f64> f32_to_f64;
template <class Dest>
inline constexpr ConvertLanes<Dest, F32, F64, fp::f64_to_f32> f64_to_f32;
template <class Dest>
inline constexpr ConvertLanes<Dest, F32, i32, fp::from_i32<F32>> i32_to_f32;
template <class Dest>
inline constexpr ConvertLanes<Dest, F64, i32, fp::from_i32<F64>> i32_to_f64;
template <class Dest>
inline constexpr ConvertLanes<Dest, F32, i64, fp::from_i64<F32>> i64_to_f32;
template <class Dest>
inline constexpr ConvertLanes<Dest, F64, i64, fp::from_i64<F64>> i64_to_f64;
/// To 32-bit integers by MXCSR's rounding (Truncate = false) or by truncation, from lanes of F.
template <class Dest, class F, bool Truncate>
inline constexpr ConvertLanes<Dest, i32, F, lane::to_i32<F, Truncate>> to_i32;

/// CVTSS2SI and relatives: a scalar to a general register of 32 or 64 bits.
template <class Dest, bool Truncate>
struct ToInteger {
  template <class F>
  Dest operator()(F a, fp::Env& env) const {
    if constexpr (sizeof(Dest) == 8) return static_cast<Dest>(fp::to_i64(a, Truncate, env));
    else return static_cast<Dest>(fp::to_i32(a, Truncate, env));
  }
};
template <class Dest, bool Truncate>
inline constexpr ToInteger<Dest, Truncate> to_integer;

/// ROUNDPS and relatives: to integral values, by MXCSR's rounding or by the immediate's. SDM 2, Rounding Modes and Encoding
/// of Immediate.
template <class F>
struct RoundLanes {
  template <class V>
  V operator()(V a, u8 control, fp::Env& env) const {
    constexpr u8 kUseMxcsr = 4, kNoPrecision = 8;
    fp::Env rounding = env;
    if (!(control & kUseMxcsr)) rounding.round = static_cast<fp::Round>(control & 3);
    V r;
    for (unsigned i = 0; i < kLanes<F, V>; i++)
      set<F>(r, i, fp::round_to_integral(get<F>(a, i), !(control & kNoPrecision), rounding));
    env.flags = rounding.flags;
    return r;
  }
};
inline constexpr RoundLanes<F32> round_f32;
inline constexpr RoundLanes<F64> round_f64;

}  // namespace callgate::vec
