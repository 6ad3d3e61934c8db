// The sum of two numbers taken apart, as exact as the sticky bit makes it. Internal to cpu/fp: add, sub and fma use it.
// Refuses to know: formats, flags.
#pragma once

#include <utility>

#include "cpu/fp/number.h"

namespace callgate::fp {

/// x + y for finite numbers and zeros. Both significands need two free bits at the bottom below their last set bit's
/// rounding position (every format leaves ten, a product of two F64 leaves 22). Normalised, or Kind::Zero.
template <class Sig>
inline Number<Sig> add_numbers(Number<Sig> x, Number<Sig> y, Round round) {
  constexpr int width = sizeof(Sig) * 8;
  if (x.exponent < y.exponent || (x.exponent == y.exponent && x.sig < y.sig)) std::swap(x, y);
  const i32 distance = x.exponent - y.exponent;
  Number<Sig> sum;
  sum.sign = x.sign;
  sum.exponent = x.exponent;
  if (x.sign == y.sign) {
    sum.sig = (x.sig >> 1) + shift_right_sticky<Sig>(y.sig >> 1, distance);
    if (sum.sig >> (width - 1) != 0) {
      sum.exponent++;
    } else {
      sum.sig <<= 1;
    }
  } else {
    sum.sig = x.sig - shift_right_sticky(y.sig, distance);
    if (sum.sig == 0) {
      // An exact difference of zero is positive, except when rounding down (IEEE 754 ch. 6.3).
      sum.sign = round == Round::Down;
    } else {
      const int shift = leading_zeros(sum.sig);
      sum.sig <<= shift;
      sum.exponent -= shift;
    }
  }
  if (sum.sig == 0) sum.kind = Kind::Zero;
  return sum;
}

}  // namespace callgate::fp
