// Fused multiply-add: the exact product plus the addend, rounded once. Refuses to know: the operand orders of
// VFMADDxxx. Refs: SDM 1 table 14-17 "Rules for handling NaN, infinity, zero and normal operands" of FMA.
#include "cpu/fp/add_numbers.h"
#include "cpu/fp/round_pack.h"

namespace callgate::fp {
namespace {

template <class F>
F fma_nan(F a, F b, F c, Env& env) {
  const Kind x = unpack(a, false).kind, y = unpack(b, false).kind, z = unpack(c, false).kind;
  if (x == Kind::SignallingNaN || y == Kind::SignallingNaN || z == Kind::SignallingNaN) env.flags |= kInvalid;
  return quieted(x >= Kind::QuietNaN ? a : y >= Kind::QuietNaN ? b : c);
}

}  // namespace

template <class F>
F fma(F a, F b, F c, bool negate_product, bool negate_addend, Env& env) {
  const auto x = unpack(a, env.daz), y = unpack(b, env.daz);
  auto z = unpack(c, env.daz);
  if (x.kind >= Kind::QuietNaN || y.kind >= Kind::QuietNaN || z.kind >= Kind::QuietNaN) return fma_nan(a, b, c, env);
  const bool sign = x.sign ^ y.sign ^ negate_product;
  z.sign ^= negate_addend;
  const bool product_infinite = x.kind == Kind::Infinity || y.kind == Kind::Infinity;
  const bool product_zero = x.kind == Kind::Zero || y.kind == Kind::Zero;
  if (product_infinite && product_zero) return invalid<F>(env);
  if (product_infinite && z.kind == Kind::Infinity && z.sign != sign) return invalid<F>(env);
  if (x.denormal || y.denormal || z.denormal) {
    if (raise_denormal(env)) return a;
  }
  if (product_infinite) return infinity<F>(sign);
  if (z.kind == Kind::Infinity) return infinity<F>(z.sign);

  Number<u128> product;
  product.sign = sign;
  product.sig = static_cast<u128>(x.sig) * y.sig;
  if (product_zero) {
    product.exponent = kZeroExponent;
  } else {
    const int shift = leading_zeros(product.sig);
    product.sig <<= shift;
    product.exponent = x.exponent + y.exponent + 1 - shift;
  }
  Number<u128> addend;
  addend.sign = z.sign;
  addend.sig = resize_sig<u128>(z.sig);
  addend.exponent = z.exponent;
  const Number<u128> sum = add_numbers(product, addend, env.round);
  if (sum.kind == Kind::Zero) return zero<F>(sum.sign);
  return round_pack<F>(sum.sign, sum.exponent, resize_sig<u64>(sum.sig), env);
}

template <class F>
F fma(F a, F b, F c, Env& env) {
  return fma(a, b, c, false, false, env);
}

template F32 fma(F32, F32, F32, Env&);
template F64 fma(F64, F64, F64, Env&);
template F32 fma(F32, F32, F32, bool, bool, Env&);
template F64 fma(F64, F64, F64, bool, bool, Env&);

}  // namespace callgate::fp
