// Multiplication and division. Refuses to know: how results are rounded.
#include "cpu/fp/round_pack.h"

namespace callgate::fp {
namespace {

/// The working significands' upper 64 bits hold every operand of every format.
template <class Sig>
inline u64 top64(Sig sig) {
  return static_cast<u64>(sig >> (sizeof(Sig) * 8 - 64));
}

/// x / y of normalised significands, x < y: 64 bits of quotient, top bit maybe clear, and the remainder.
inline u64 divide(u64 x, u64 y, u64& remainder) {
  const u128 numerator = static_cast<u128>(x) << 64;
  const u64 quotient = static_cast<u64>(numerator / y);
  remainder = static_cast<u64>(numerator) - quotient * y;
  return quotient;
}

}  // namespace

template <class F>
F mul(F a, F b, Env& env) {
  const auto x = unpack(a, env.daz), y = unpack(b, env.daz);
  const bool sign = x.sign ^ y.sign;
  if (x.kind != Kind::Finite || y.kind != Kind::Finite || x.denormal || y.denormal) [[unlikely]] {
    if (x.kind >= Kind::QuietNaN || y.kind >= Kind::QuietNaN) return propagate_nan(a, b, env);
    const bool has_zero = x.kind == Kind::Zero || y.kind == Kind::Zero;
    const bool has_infinity = x.kind == Kind::Infinity || y.kind == Kind::Infinity;
    if (has_zero && has_infinity) return invalid<F>(env);
    if ((x.denormal || y.denormal) && raise_denormal(env)) return a;
    if (has_infinity) return infinity<F>(sign);
    if (has_zero) return zero<F>(sign);
  }
  u128 product = static_cast<u128>(top64(x.sig)) * top64(y.sig);
  i32 exponent = x.exponent + y.exponent + 1;
  if (product >> 127 == 0) {
    product <<= 1;
    exponent--;
  }
  return round_pack<F>(sign, exponent, resize_sig<SigOf<F>>(product), env, result_precision<F>(env));
}

template <class F>
F div(F a, F b, Env& env) {
  const auto x = unpack(a, env.daz), y = unpack(b, env.daz);
  const bool sign = x.sign ^ y.sign;
  if (x.kind != Kind::Finite || y.kind != Kind::Finite || x.denormal || y.denormal) [[unlikely]] {
    if (x.kind >= Kind::QuietNaN || y.kind >= Kind::QuietNaN) return propagate_nan(a, b, env);
    if (x.kind == y.kind && x.kind != Kind::Finite) return invalid<F>(env);  // 0/0, inf/inf
    if (y.kind == Kind::Zero && x.kind == Kind::Finite) {
      // #Z comes before #D: a denormal dividend is not reported.
      env.flags |= kDivZero;
      return infinity<F>(sign);
    }
    if ((x.denormal || y.denormal) && raise_denormal(env)) return a;
    if (x.kind == Kind::Infinity || y.kind == Kind::Zero) return infinity<F>(sign);
    if (x.kind == Kind::Zero || y.kind == Kind::Infinity) return zero<F>(sign);
  }
  u64 dividend = top64(x.sig);
  const u64 divisor = top64(y.sig);
  i32 exponent = x.exponent - y.exponent;
  // Make the quotient exactly 64 bits long with its top bit set: the dividend in [divisor / 2, divisor).
  u64 lost = 0;
  if (dividend >= divisor) {
    lost = dividend & 1;
    dividend >>= 1;
  } else {
    exponent--;
  }
  SigOf<F> quotient;
  if constexpr (kIsX87<F>) {
    // The bit shifted out above is the top bit of the low half of the numerator.
    const u128 numerator = static_cast<u128>(dividend) << 64 | lost << 63;
    const u64 high = static_cast<u64>(numerator / divisor);
    const u64 rest = static_cast<u64>(numerator) - high * divisor;
    u64 remainder;
    const u64 low = divide(rest, divisor, remainder);
    quotient = static_cast<u128>(high) << 64 | low | (remainder != 0);
  } else {
    u64 remainder;  // operands have free low bits, nothing was lost
    quotient = divide(dividend, divisor, remainder);
    quotient |= remainder != 0;
  }
  return round_pack<F>(sign, exponent, quotient, env, result_precision<F>(env));
}

template F32 mul(F32, F32, Env&);
template F64 mul(F64, F64, Env&);
template F80 mul(F80, F80, Env&);
template F32 div(F32, F32, Env&);
template F64 div(F64, F64, Env&);
template F80 div(F80, F80, Env&);

}  // namespace callgate::fp
