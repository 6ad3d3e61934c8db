// Operations between the lanes of one operand: sums and differences of neighbours, alternating sums, dot products, sums of
// differences, the least word. On V wider than 16 bytes they work on each 128 bits for themselves, as AVX does.
// Ref: SDM 2, the instruction of the same name.
#pragma once

#include "cpu/vec/arithmetic.h"
#include "cpu/vec/shuffle.h"

namespace callgate::vec {

/// Function of each pair of neighbours: those of `a`, then those of `b`.
template <class T, T (*Function)(T, T)>
struct Horizontal {
  template <class V>
  V operator()(V a, V b) const {
    constexpr unsigned n = kPart<V> / sizeof(T);
    V r;
    for (unsigned i = 0; i < kLanes<T, V>; i++) {
      const V& from = i % n < n / 2 ? a : b;
      const unsigned pair = i / n * n + 2 * (i % (n / 2));
      set<T>(r, i, Function(get<T>(from, pair), get<T>(from, pair + 1)));
    }
    return r;
  }
};
inline constexpr Horizontal<u16, lane::add<u16>> phaddw;
inline constexpr Horizontal<u32, lane::add<u32>> phaddd;
inline constexpr Horizontal<i16, lane::add_saturate<i16>> phaddsw;
inline constexpr Horizontal<u16, lane::sub<u16>> phsubw;
inline constexpr Horizontal<u32, lane::sub<u32>> phsubd;
inline constexpr Horizontal<i16, lane::sub_saturate<i16>> phsubsw;

template <class F, F (*Function)(F, F, fp::Env&)>
struct FloatHorizontal {
  template <class V>
  V operator()(V a, V b, fp::Env& env) const {
    constexpr unsigned n = kPart<V> / sizeof(F);
    V r;
    for (unsigned i = 0; i < kLanes<F, V>; i++) {
      const V& from = i % n < n / 2 ? a : b;
      const unsigned pair = i / n * n + 2 * (i % (n / 2));
      set<F>(r, i, Function(get<F>(from, pair), get<F>(from, pair + 1), env));
    }
    return r;
  }
};
inline constexpr FloatHorizontal<fp::F32, fp::add<fp::F32>> hadd_f32;
inline constexpr FloatHorizontal<fp::F64, fp::add<fp::F64>> hadd_f64;
inline constexpr FloatHorizontal<fp::F32, fp::sub<fp::F32>> hsub_f32;
inline constexpr FloatHorizontal<fp::F64, fp::sub<fp::F64>> hsub_f64;

/// ADDSUBPS: differences in even lanes, sums in odd ones.
template <class F>
struct AlternateSubAdd {
  template <class V>
  V operator()(V a, V b, fp::Env& env) const {
    V r;
    for (unsigned i = 0; i < kLanes<F, V>; i++)
      set<F>(r, i, i & 1 ? fp::add(get<F>(a, i), get<F>(b, i), env) : fp::sub(get<F>(a, i), get<F>(b, i), env));
    return r;
  }
};
inline constexpr AlternateSubAdd<fp::F32> addsub_f32;
inline constexpr AlternateSubAdd<fp::F64> addsub_f64;

}  // namespace callgate::vec
