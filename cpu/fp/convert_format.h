// Conversion from one floating-point format to another. Internal to cpu/fp.
// Refuses to know: which instruction converts, and so which of them report denormals.
#pragma once

#include "cpu/fp/round_pack.h"

namespace callgate::fp {

/// A NaN in another format: the payload keeps its top bits, the result is quiet.
template <class To, class From>
inline To convert_nan(const Number<SigOf<From>>& n, Env& env) {
  if (n.kind == Kind::Unsupported) return invalid<To>(env);
  if (n.kind == Kind::SignallingNaN) env.flags |= kInvalid;
  SigOf<To> sig;
  if constexpr (sizeof(SigOf<To>) >= sizeof(SigOf<From>)) {
    sig = resize_sig<SigOf<To>>(n.sig);
  } else {
    sig = static_cast<SigOf<To>>(n.sig >>
                                 (Format<From>::kWidth - Format<To>::kWidth));  // payload, not a value: no sticky bit
  }
  return quieted(pack<To>(n.sign, Format<To>::kFieldMax, sig));
}

/// `reports_denormal`: a denormal operand raises #D.
template <class To, class From>
inline To convert_format(From a, Env& env, bool reports_denormal = true) {
  const auto n = unpack(a, env.daz);
  if (n.kind >= Kind::QuietNaN) return convert_nan<To, From>(n, env);
  if (n.denormal && reports_denormal && raise_denormal(env)) {
    // FLD delivers the value all the same; it is exact, so no flags come after #D.
    if (!kIsX87<To>) return zero<To>(n.sign);
  }
  if (n.kind == Kind::Infinity) return infinity<To>(n.sign);
  if (n.kind == Kind::Zero) return zero<To>(n.sign);
  return round_pack<To>(n.sign, n.exponent, resize_sig<SigOf<To>>(n.sig), env);
}

}  // namespace callgate::fp
