// Operations between the lanes of one operand: sums and differences of neighbours, alternating sums, dot products, sums of
// differences, the least word. On V wider than 16 bytes they work on each 128 bits for themselves, as AVX does.
// Ref: SDM 2, the instruction of the same name.
#pragma once

#include <utility>

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

/// DPPS, DPPD: the sum of the products of the lanes that the immediate's upper half names, to those that its lower half
/// names; the others get +0. Neighbours are added first. With an unmasked exception in one step the next isn't made.
template <class F>
struct DotProduct {
  template <class V>
  V operator()(V a, V b, u8 control, fp::Env& env) const {
    constexpr unsigned n = 16 / sizeof(F);
    V r{};
    F sums[sizeof(V) / 16];
    F products[kLanes<F, V>] = {};
    for (unsigned i = 0; i < kLanes<F, V>; i++)
      if (control >> (4 + i % n) & 1) products[i] = fp::mul(get<F>(a, i), get<F>(b, i), env);
    for (unsigned step = 1; step < n; step *= 2) {
      if (fp::unmasked(env)) return r;
      env.earlier |= std::exchange(env.flags, u8{0});
      for (unsigned i = 0; i < kLanes<F, V>; i += 2 * step) products[i] = fp::add(products[i], products[i + step], env);
    }
    for (unsigned part = 0; part < sizeof(V) / 16; part++) sums[part] = products[part * n];
    for (unsigned i = 0; i < kLanes<F, V>; i++)
      if (control >> i % n & 1) set<F>(r, i, sums[i / n]);
    return r;
  }
};
inline constexpr DotProduct<fp::F32> dot_f32;
inline constexpr DotProduct<fp::F64> dot_f64;

/// MPSADBW: sums of four absolute differences, of eight places in `a` against one place in `b`. The immediate says the
/// places, by three bits for each 128 bits.
struct MultipleSumDifferences {
  template <class V>
  V operator()(V a, V b, u8 control) const {
    V r;
    for (unsigned i = 0; i < kLanes<u16, V>; i++) {
      const unsigned part = i / 8 * 16, select = control >> 3 * (i / 8);
      const unsigned from = part + (select & 4) + i % 8, against = part + 4 * (select & 3);
      u16 sum = 0;
      for (unsigned k = 0; k < 4; k++) {
        const int d = get<u8>(a, from + k) - get<u8>(b, against + k);
        sum = static_cast<u16>(sum + (d < 0 ? -d : d));
      }
      set<u16>(r, i, sum);
    }
    return r;
  }
};
inline constexpr MultipleSumDifferences mpsadbw;

/// PHMINPOSUW: the least word, and the first place where it is.
struct LeastWord {
  template <class V>
  V operator()(V a) const {
    unsigned at = 0;
    for (unsigned i = 1; i < 8; i++)
      if (get<u16>(a, i) < get<u16>(a, at)) at = i;
    V r{};
    set<u16>(r, 0, get<u16>(a, at));
    set<u16>(r, 1, static_cast<u16>(at));
    return r;
  }
};
inline constexpr LeastWord phminposuw;

}  // namespace callgate::vec
