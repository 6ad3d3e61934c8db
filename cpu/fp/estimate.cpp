// RCPSS and RSQRTSS. The manual leaves the values open within an error; Callgate has one value for every host.
// Refuses to know: MXCSR. Refs: SDM 2, RCPSS, RSQRTSS.
#include "cpu/fp/round_pack.h"

namespace callgate::fp {
namespace {

constexpr int kEstimateBits = 12;

/// 1 / sig, for a number of one to two with the top bit set: 64 bits (1 itself would be 65), truncated.
u64 reciprocal(u64 sig) {
  constexpr u64 one_half = u64{1} << 63;
  return sig == one_half ? ~u64{0} : static_cast<u64>((static_cast<u128>(one_half) << 64) / sig);
}

F32 estimate(bool sign, i32 exponent, u64 sig) {
  Env env;
  env.ftz = true;
  return round_pack<F32>(sign, exponent, sig, env, kEstimateBits);
}

}  // namespace

F32 reciprocal_estimate(F32 a) {
  const auto x = unpack(a, true);
  if (x.kind >= Kind::QuietNaN) return quieted(a);
  if (x.kind == Kind::Infinity) return zero<F32>(x.sign);
  if (x.kind == Kind::Zero) return infinity<F32>(x.sign);
  return estimate(x.sign, -x.exponent - 1, reciprocal(x.sig));
}

F32 reciprocal_sqrt_estimate(F32 a) {
  const auto x = unpack(a, true);
  if (x.kind >= Kind::QuietNaN) return quieted(a);
  if (x.kind == Kind::Zero) return infinity<F32>(x.sign);
  if (x.sign) return default_nan<F32>();
  if (x.kind == Kind::Infinity) return zero<F32>(false);
  // Twelve bits of the root of a binary64 are enough and more.
  Env env;
  const auto root = unpack(fp::sqrt(f32_to_f64(a, env), env), false);
  return estimate(false, -root.exponent - 1, reciprocal(root.sig));
}

}  // namespace callgate::fp
