// A bridge to MPFR: double-extended values in, numbers truncated to 128 bits with a sticky bit out, which then round
// correctly to 64. Internal to cpu/fp. Refuses to know: functions and their special cases.
#pragma once

#include <mpfr.h>

#include <utility>

#include "cpu/fp/round_pack.h"

namespace callgate::fp {

constexpr mpfr_prec_t kWideBits = 128;

/// An mpfr_t with an owner.
class Wide {
 public:
  explicit Wide(mpfr_prec_t bits = kWideBits) { mpfr_init2(value_, bits); }
  /// A finite, non-zero number, exactly.
  explicit Wide(const Number<u128>& n) : Wide(64) {
    static_assert(sizeof(unsigned long) == 8, "a significand must fit MPFR's unsigned long");
    mpfr_set_ui_2exp(value_, static_cast<unsigned long>(n.sig >> 64), n.exponent - 63, MPFR_RNDZ);
    if (n.sign) mpfr_neg(value_, value_, MPFR_RNDZ);
  }
  Wide(const Wide&) = delete;
  Wide& operator=(const Wide&) = delete;
  ~Wide() { mpfr_clear(value_); }

  operator mpfr_ptr() { return value_; }
  operator mpfr_srcptr() const { return value_; }

  /// Taken apart. Of kWideBits bits, not zero. `inexact`: something was cut off (a ternary value of MPFR_RNDZ).
  Number<u128> number(bool inexact) const {
    static_assert(GMP_NUMB_BITS == 64);
    const auto* limbs = static_cast<const mp_limb_t*>(mpfr_custom_get_significand(value_));
    Number<u128> n;
    n.sign = mpfr_signbit(value_) != 0;
    n.exponent = static_cast<i32>(mpfr_get_exp(value_)) - 1;  // MPFR's significands are in [1/2, 1)
    n.sig = static_cast<u128>(limbs[1]) << 64 | limbs[0] | static_cast<u128>(inexact);
    return n;
  }

 private:
  mpfr_t value_;
};

/// Ziv's loop: calls `approximate(Wide& result)` at growing precision until the first 128 bits of the true value are
/// known. `approximate` computes with a relative error below 2^(5 - precision) and returns true when the result is
/// exact.
template <class Approximate>
Number<u128> truncated(Approximate approximate) {
  constexpr int kErrorBits = 5;
  for (mpfr_prec_t bits = 192;; bits *= 2) {
    Wide result(bits);
    const bool exact = approximate(result);
    if (!exact && !mpfr_can_round(result, bits - kErrorBits, MPFR_RNDN, MPFR_RNDZ, kWideBits)) continue;
    mpfr_prec_round(result, kWideBits, MPFR_RNDZ);
    return result.number(!exact);
  }
}

/// The result of a transcendental instruction. The processor raises #P for everything it computes, exact or not, and so
/// #U for everything tiny.
inline F80 computed(const Number<u128>& n, Env& env) {
  const F80 result = round_pack<F80>(n.sign, n.exponent, n.sig, env);
  if (!(env.flags & kPrecision)) {
    env.flags |= kPrecision;
    if ((result.sign_exponent & 0x7FFF) == 0) env.flags |= kUnderflow;
  }
  return result;
}

}  // namespace callgate::fp
