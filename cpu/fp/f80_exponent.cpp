// Classification, and the x87's operations on the exponent: FXAM, FXTRACT, FSCALE. Refuses to know: the stack.
#include "cpu/fp/integer.h"

namespace callgate::fp {

Class classify(F80 a) {
  const auto n = unpack(a, false);
  switch (n.kind) {
    case Kind::Finite:
      return n.denormal ? Class::Denormal : Class::Normal;
    case Kind::Zero:
      return Class::Zero;
    case Kind::Infinity:
      return Class::Infinity;
    case Kind::QuietNaN:
    case Kind::SignallingNaN:
      return Class::NaN;
    case Kind::Unsupported:
      break;
  }
  return Class::Unsupported;
}

Extracted extract(F80 a, Env& env) {
  const auto n = unpack(a, false);
  if (n.kind >= Kind::QuietNaN) {
    const F80 nan = propagate_nan(a, env);
    return {nan, nan};
  }
  if (n.kind == Kind::Zero) {
    env.flags |= kDivZero;
    return {infinity<F80>(true), a};
  }
  if (n.kind == Kind::Infinity) return {infinity<F80>(false), a};
  if (n.denormal && raise_denormal(env)) return {a, a};
  return {i64_to_f80(n.exponent), pack<F80>(n.sign, Format<F80>::kBias, n.sig)};
}

F80 scale(F80 a, F80 b, Env& env) {
  const auto x = unpack(a, false), y = unpack(b, false);
  if (x.kind >= Kind::QuietNaN || y.kind >= Kind::QuietNaN) return propagate_nan(a, b, env);
  if (y.kind == Kind::Infinity && x.kind == (y.sign ? Kind::Infinity : Kind::Zero)) return invalid<F80>(env);
  if ((x.denormal || y.denormal) && raise_denormal(env)) return a;
  if (x.kind != Kind::Finite) return a;
  if (y.kind == Kind::Infinity) return y.sign ? zero<F80>(x.sign) : infinity<F80>(x.sign);
  // Further than from the smallest denormal to infinity, with the bias adjustment on top, all distances are the same.
  constexpr u64 far = 0x10000;
  const Integral distance = round_to_integer(y, Round::Zero);
  const i32 magnitude = distance.too_large || distance.magnitude > far ? far : static_cast<i32>(distance.magnitude);
  return round_pack<F80>(x.sign, x.exponent + (y.sign ? -magnitude : magnitude), x.sig, env);
}

}  // namespace callgate::fp
