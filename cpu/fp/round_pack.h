// Rounding to a format, and everything that can happen then: #P, #O, #U, denormal results, FTZ, and the x87's
// bias-adjusted results. What SSE would deliver with an unmasked exception has no meaning (it delivers nothing).
// Internal to cpu/fp. Refuses to know: which operation made the number. Refs: SDM 1 ch. 4.9.1.4
// to 4.9.1.6, 8.5.4, 8.5.5, 11.5.2.
#pragma once

#include "cpu/fp/number.h"

namespace callgate::fp {

/// Whether `sig`, to be cut to a multiple of `unit` (a power of two), is rounded away from zero.
template <class Sig>
inline bool rounds_away(Sig sig, Sig unit, bool sign, Round round) {
  const Sig rest = sig & (unit - 1);
  switch (round) {
    case Round::Nearest: {
      const Sig half = unit >> 1;
      return rest > half || (rest == half && (sig & unit) != 0);
    }
    case Round::Down:
      return sign && rest != 0;
    case Round::Up:
      return !sign && rest != 0;
    case Round::Zero:
      break;
  }
  return false;
}

/// A significand cut to some precision, exponent unbounded.
template <class Sig>
struct Rounded {
  Sig sig;
  i32 exponent;
  bool inexact;
  bool up;
};

template <class Sig>
inline Rounded<Sig> round_significand(bool sign, i32 exponent, Sig sig, int precision, Round round) {
  const Sig unit = Sig{1} << (sizeof(Sig) * 8 - precision);
  const bool up = rounds_away(sig, unit, sign, round);
  const Sig rest = sig & (unit - 1);
  Sig rounded = sig - rest;
  if (up) rounded += unit;
  if (rounded == 0) {  // carried out of the top: 1.11..1 became 10.00..0
    rounded = Sig{1} << (sizeof(Sig) * 8 - 1);
    exponent++;
  }
  return {rounded, exponent, rest != 0, up};
}

/// The exponent adjustment of an unmasked #O or #U on the x87 (SDM 1 ch. 8.5.4).
constexpr i32 kBiasAdjust = 24576;

/// The rounded result is too large for the format.
template <class F>
[[gnu::noinline]] F overflow(bool sign, const Rounded<SigOf<F>>& r, int precision, Env& env) {
  using T = Format<F>;
  env.flags |= kOverflow;
  if (!(env.masks & kOverflow)) {
    // Unmasked, #P tells of the rounding alone, not of the overflow.
    if (r.inexact) env.flags |= kPrecision;
    if constexpr (kIsX87<F>) {
      env.rounded_up = r.up;
      const i32 exponent = r.exponent - kBiasAdjust;
      if (exponent <= T::kEmax) return pack<F>(sign, exponent + T::kBias, r.sig);
      // Only FSCALE gets further (SDM 2, FSCALE): an infinity, whatever the rounding.
      env.flags |= kPrecision;
      env.rounded_up = true;
    }
    return infinity<F>(sign);
  }
  env.flags |= kPrecision;
  const bool to_infinity =
      env.round == Round::Nearest || (env.round == Round::Up && !sign) || (env.round == Round::Down && sign);
  env.rounded_up = to_infinity;
  if (to_infinity) return infinity<F>(sign);
  const SigOf<F> largest = ~SigOf<F>{0} << (T::kWidth - precision);
  return pack<F>(sign, T::kFieldMax - 1, largest);
}

/// The exponent is below the format's smallest. Tininess is detected after rounding.
template <class F>
[[gnu::noinline]] F round_pack_tiny(bool sign, i32 exponent, SigOf<F> sig, int precision, Env& env) {
  using T = Format<F>;
  const auto unbounded = round_significand(sign, exponent, sig, precision, env.round);
  const bool tiny = unbounded.exponent < T::kEmin;
  if (tiny && !(env.masks & kUnderflow)) {
    // Unmasked, #U tells of any tiny result, and #P of the rounding to an unbounded exponent.
    env.flags |= kUnderflow;
    if (unbounded.inexact) env.flags |= kPrecision;
    if constexpr (kIsX87<F>) {
      const i32 adjusted = unbounded.exponent + kBiasAdjust;
      env.rounded_up = unbounded.up;
      if (adjusted >= T::kEmin) return pack<F>(sign, adjusted + T::kBias, unbounded.sig);
      // Only FSCALE gets further: a zero, whatever the rounding.
      env.flags |= kPrecision;
      env.rounded_up = false;
    }
    return zero<F>(sign);
  }
  if (tiny && env.ftz) {
    env.flags |= kUnderflow | kPrecision;
    return zero<F>(sign);
  }
  // Same unit as for a normal number: the significand moves down instead.
  const SigOf<F> unit = SigOf<F>{1} << (T::kWidth - precision);
  sig = shift_right_sticky(sig, T::kEmin - exponent);
  const bool up = rounds_away(sig, unit, sign, env.round);
  const SigOf<F> rest = sig & (unit - 1);
  sig -= rest;
  if (up) sig += unit;
  if (rest != 0) {
    env.flags |= kPrecision;
    if (tiny) env.flags |= kUnderflow;
  }
  env.rounded_up = up;
  const bool became_normal = sig >> (T::kWidth - 1) != 0;
  return pack<F>(sign, became_normal ? 1 : 0, sig);
}

/// Rounds to F's format (or, for F80, to fewer bits of `precision`) and packs. `sig` has its top bit set and is sticky.
template <class F>
inline F round_pack(bool sign, i32 exponent, SigOf<F> sig, Env& env, int precision = Format<F>::kPrecision) {
  using T = Format<F>;
  if (exponent < T::kEmin) [[unlikely]]
    return round_pack_tiny<F>(sign, exponent, sig, precision, env);
  const auto r = round_significand(sign, exponent, sig, precision, env.round);
  if (r.exponent > T::kEmax) [[unlikely]]
    return overflow<F>(sign, r, precision, env);
  if (r.inexact) env.flags |= kPrecision;
  env.rounded_up = r.up;
  return pack<F>(sign, r.exponent + T::kBias, r.sig);
}

/// The precision that an arithmetic result in format F is rounded to: the x87's is under control.
template <class F>
inline int result_precision(const Env& env) {
  if constexpr (kIsX87<F>) return env.precision_bits;
  return Format<F>::kPrecision;
}

/// Like round_pack, for a number that may be zero.
template <class F>
inline F round_pack(const Number<SigOf<F>>& n, Env& env) {
  if (n.kind == Kind::Zero) return zero<F>(n.sign);
  return round_pack<F>(n.sign, n.exponent, n.sig, env, result_precision<F>(env));
}

}  // namespace callgate::fp
