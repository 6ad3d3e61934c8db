// Comparisons, minimum and maximum. Refuses to know: which flags of which register tell the result.
#include "cpu/fp/number.h"

namespace callgate::fp {
namespace {

template <class Sig>
Relation relate(const Number<Sig>& x, const Number<Sig>& y) {
  if (x.kind == Kind::Zero && y.kind == Kind::Zero) return Relation::Equal;
  if (x.sign != y.sign) return x.sign ? Relation::Less : Relation::Greater;
  // Infinity's exponent is above, zero's is below all others.
  const bool equal = x.exponent == y.exponent && x.sig == y.sig;
  const bool smaller = x.exponent < y.exponent || (x.exponent == y.exponent && x.sig < y.sig);
  if (equal) return Relation::Equal;
  return smaller != x.sign ? Relation::Less : Relation::Greater;
}

}  // namespace

template <class F>
Relation compare(F a, F b, bool quiet, Env& env) {
  const auto x = unpack(a, env.daz), y = unpack(b, env.daz);
  if (x.kind >= Kind::QuietNaN || y.kind >= Kind::QuietNaN) {
    const bool signals = x.kind > Kind::QuietNaN || y.kind > Kind::QuietNaN;
    if (!quiet || signals) env.flags |= kInvalid;
    return Relation::Unordered;
  }
  if (x.denormal || y.denormal) env.flags |= kDenormal;
  return relate(x, y);
}

/// What MINSS and MAXSS deliver of an operand: with DAZ, a denormal is a zero here too.
template <class F>
F delivered(F a, const Env& env) {
  const auto n = unpack(a, env.daz);
  return n.kind == Kind::Zero ? zero<F>(n.sign) : a;
}

template <class F>
F min(F a, F b, Env& env) {
  return delivered(compare(a, b, false, env) == Relation::Less ? a : b, env);
}
template <class F>
F max(F a, F b, Env& env) {
  return delivered(compare(a, b, false, env) == Relation::Greater ? a : b, env);
}

template Relation compare(F32, F32, bool, Env&);
template Relation compare(F64, F64, bool, Env&);
template Relation compare(F80, F80, bool, Env&);
template F32 min(F32, F32, Env&);
template F64 min(F64, F64, Env&);
template F32 max(F32, F32, Env&);
template F64 max(F64, F64, Env&);

}  // namespace callgate::fp
