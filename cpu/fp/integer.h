// Rounding a number to an integer. Internal to cpu/fp. Refuses to know: widths, indefinites.
#pragma once

#include "cpu/fp/round_pack.h"

namespace callgate::fp {

/// An integral magnitude.
struct Integral {
  u64 magnitude = 0;
  bool too_large = false;  ///< above 2^64 - 1; magnitude is meaningless
  bool inexact = false;
  bool up = false;  ///< rounded away from zero
};

/// Rounds a finite number or zero to an integer.
template <class Sig>
inline Integral round_to_integer(const Number<Sig>& n, Round round) {
  Integral r;
  if (n.kind == Kind::Zero) return r;
  if (n.exponent > 63) {
    r.too_large = true;
    return r;
  }
  // Bits 127..64 the integer, bits 63..0 the fraction.
  const i32 shift = 63 - n.exponent;
  const u128 fixed = shift_right_sticky<u128>(resize_sig<u128>(n.sig), shift);
  const u128 unit = u128{1} << 64;
  r.magnitude = static_cast<u64>(fixed >> 64);
  r.inexact = static_cast<u64>(fixed) != 0;
  r.up = rounds_away(fixed, unit, n.sign, round);
  if (r.up) {
    r.magnitude++;
    r.too_large = r.magnitude == 0;
  }
  return r;
}

/// To a signed integer of `bits` bits, two's complement in the low bits of the result; invalid gives the indefinite.
template <class F>
inline u64 to_signed(F a, int bits, bool truncate, Env& env) {
  const auto n = unpack(a, env.daz);
  const u64 limit = u64{1} << (bits - 1);
  if (n.kind <= Kind::Zero) {
    const Integral r = round_to_integer(n, truncate ? Round::Zero : env.round);
    if (!r.too_large && r.magnitude <= (n.sign ? limit : limit - 1)) {
      if (r.inexact) env.flags |= kPrecision;
      env.rounded_up = r.up;
      return n.sign ? ~r.magnitude + 1 : r.magnitude;
    }
  }
  env.flags |= kInvalid;
  return limit;
}

}  // namespace callgate::fp
