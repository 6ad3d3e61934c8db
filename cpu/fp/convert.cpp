// Conversions between binary32, binary64 and integers, and rounding to an integral value (F80's too).
// Refuses to know: the x87's conversions (f80_convert.cpp).
#include "cpu/fp/convert_format.h"
#include "cpu/fp/integer.h"

namespace callgate::fp {
namespace {

template <class F>
F from_signed(i64 a, Env& env) {
  if (a == 0) return zero<F>(false);
  const bool sign = a < 0;
  const u64 magnitude = sign ? ~static_cast<u64>(a) + 1 : static_cast<u64>(a);
  const int shift = std::countl_zero(magnitude);
  return round_pack<F>(sign, 63 - shift, magnitude << shift, env);
}

}  // namespace

F64 f32_to_f64(F32 a, Env& env) { return convert_format<F64>(a, env); }
F32 f64_to_f32(F64 a, Env& env) { return convert_format<F32>(a, env); }

F32 f16_to_f32(F16 a, Env& env) {
  // A denormal binary16 is exact in binary32: DAZ does not apply, and nothing is reported.
  Env own;
  const F32 result = convert_format<F32>(a, own, false);
  env.flags |= own.flags;
  return result;
}
F16 f32_to_f16(F32 a, Round round, Env& env) {
  Env own = env;
  own.round = round;
  own.ftz = false;
  const F16 result = convert_format<F16>(a, own);
  env.flags = own.flags;
  return result;
}

template <class F>
i32 to_i32(F a, bool truncate, Env& env) {
  return static_cast<i32>(to_signed(a, 32, truncate, env));
}
template <class F>
i64 to_i64(F a, bool truncate, Env& env) {
  return static_cast<i64>(to_signed(a, 64, truncate, env));
}
template <class F>
F from_i32(i32 a, Env& env) {
  return from_signed<F>(a, env);
}
template <class F>
F from_i64(i64 a, Env& env) {
  return from_signed<F>(a, env);
}

template <class F>
F round_to_integral(F a, bool inexact, Env& env) {
  const auto n = unpack(a, env.daz);
  if (n.kind >= Kind::QuietNaN) return propagate_nan(a, env);
  if (kIsX87<F> && n.denormal && raise_denormal(env)) return a;
  if (n.kind == Kind::Zero) return zero<F>(n.sign);
  if (n.kind == Kind::Infinity || n.exponent >= Format<F>::kPrecision - 1) return a;
  const Integral r = round_to_integer(n, env.round);
  if (r.inexact && inexact) env.flags |= kPrecision;
  env.rounded_up = r.up;
  if (r.magnitude == 0) return zero<F>(n.sign);
  const int shift = std::countl_zero(r.magnitude);
  return pack<F>(n.sign, 63 - shift + Format<F>::kBias, resize_sig<SigOf<F>>(r.magnitude << shift));
}

template i32 to_i32(F32, bool, Env&);
template i32 to_i32(F64, bool, Env&);
template i64 to_i64(F32, bool, Env&);
template i64 to_i64(F64, bool, Env&);
template F32 from_i32(i32, Env&);
template F64 from_i32(i32, Env&);
template F32 from_i64(i64, Env&);
template F64 from_i64(i64, Env&);
template F32 round_to_integral(F32, bool, Env&);
template F64 round_to_integral(F64, bool, Env&);
template F80 round_to_integral(F80, bool, Env&);

}  // namespace callgate::fp
