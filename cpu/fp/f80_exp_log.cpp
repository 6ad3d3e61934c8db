// F2XM1, FYL2X, FYL2XP1, correctly rounded. Refuses to know: the stack.
// Refs: SDM 2, F2XM1 table 3-16, FYL2X table 3-54, FYL2XP1 table 3-55. What the manual leaves undefined is what an AMD
// processor of family 1Ah does, on every host.
#include "cpu/fp/wide.h"

namespace callgate::fp {
namespace {

/// 2^x - 1 for 0 < |x| < 1: never exact.
Number<u128> exp2_minus_1(const Number<u128>& x) {
  const Wide argument(x);
  return truncated([&](Wide& result) {
    mpfr_const_log2(result, MPFR_RNDN);
    mpfr_mul(result, result, argument, MPFR_RNDN);
    mpfr_expm1(result, result, MPFR_RNDN);
    return false;
  });
}

/// y * log2(x) for finite x > 0, x != 1.
Number<u128> y_log2(mpfr_srcptr x, const Wide& y) {
  return truncated([&](Wide& result) {
    const bool exact_log = mpfr_log2(result, x, MPFR_RNDN) == 0;
    const bool exact_product = mpfr_mul(result, result, y, MPFR_RNDN) == 0;
    return exact_log && exact_product;
  });
}

/// y * log2(x + 1) for finite x > -1, x != 0.
Number<u128> y_log2_plus_1(const Number<u128>& x, const Number<u128>& y) {
  const Wide wide_x(x), wide_y(y);
  if (x.exponent >= -64 && x.exponent <= 64) {
    // The sum is exact, and may be a power of two, where the logarithm is exact.
    Wide sum(192);
    mpfr_add_ui(sum, wide_x, 1, MPFR_RNDN);
    return y_log2(sum, wide_y);
  }
  return truncated([&](Wide& result) {
    Wide log_of_2(mpfr_get_prec(result));
    mpfr_const_log2(log_of_2, MPFR_RNDN);
    mpfr_log1p(result, wide_x, MPFR_RNDN);
    mpfr_mul(result, result, wide_y, MPFR_RNDN);
    mpfr_div(result, result, log_of_2, MPFR_RNDN);
    return false;
  });
}

}  // namespace

F80 f2xm1(F80 a, Env& env) {
  const auto x = unpack(a, false);
  if (x.kind >= Kind::QuietNaN) return propagate_nan(a, env);
  if (x.kind == Kind::Zero) return a;
  if (x.kind == Kind::Infinity) return x.sign ? one<F80>(true) : a;
  if (x.denormal && raise_denormal(env)) return a;
  if (x.exponent >= 0) {
    // 2^1 - 1 = 1, 2^-1 - 1 = -1/2. Beyond is undefined: the operand comes back.
    env.flags |= kPrecision;
    const bool is_minus_one = x.sign && x.exponent == 0 && x.sig << 1 == 0;
    return is_minus_one ? pack<F80>(true, Format<F80>::kBias - 1, x.sig) : a;
  }
  return computed(exp2_minus_1(x), env);
}

F80 fyl2x(F80 a, F80 b, Env& env) {
  const auto x = unpack(a, false), y = unpack(b, false);
  if (x.kind >= Kind::QuietNaN || y.kind >= Kind::QuietNaN) return propagate_nan(a, b, env);
  if (x.sign && x.kind != Kind::Zero) return invalid<F80>(env);
  const bool x_is_one = x.kind == Kind::Finite && x.exponent == 0 && x.sig << 1 == 0;
  // 0 * inf in all its forms.
  if (y.kind == Kind::Zero && x.kind != Kind::Finite) return invalid<F80>(env);
  if (y.kind == Kind::Infinity && x_is_one) return invalid<F80>(env);
  if (x.kind == Kind::Zero) {
    if (y.kind == Kind::Finite) env.flags |= kDivZero;
    return infinity<F80>(!y.sign);
  }
  if ((x.denormal || y.denormal) && raise_denormal(env)) return a;
  const bool log_is_negative = x.kind == Kind::Finite && x.exponent < 0;
  if (x.kind == Kind::Infinity || y.kind == Kind::Infinity) return infinity<F80>(y.sign ^ log_is_negative);
  if (y.kind == Kind::Zero || x_is_one) return zero<F80>(y.sign ^ log_is_negative);
  return computed(y_log2(Wide(x), Wide(y)), env);
}

F80 fyl2xp1(F80 a, F80 b, Env& env) {
  const auto x = unpack(a, false), y = unpack(b, false);
  if (x.kind >= Kind::QuietNaN || y.kind >= Kind::QuietNaN) return propagate_nan(a, b, env);
  if (x.kind == Kind::Infinity && (x.sign || y.kind == Kind::Zero)) return invalid<F80>(env);
  if (x.kind == Kind::Zero && y.kind == Kind::Infinity) return invalid<F80>(env);
  if ((x.denormal || y.denormal) && raise_denormal(env)) return a;
  const bool sign = x.sign ^ y.sign;
  if (x.kind == Kind::Infinity || y.kind == Kind::Infinity) return infinity<F80>(sign);
  if (x.kind == Kind::Zero || y.kind == Kind::Zero) return zero<F80>(sign);
  if (x.sign && x.exponent >= 0) {  // x <= -1 is undefined: x comes back
    env.flags |= kPrecision;
    return a;
  }
  return computed(y_log2_plus_1(x, y), env);
}

}  // namespace callgate::fp
