// Square root, by an exact integer square root. Refuses to know: how results are rounded.
#include "cpu/fp/round_pack.h"

namespace callgate::fp {
namespace {

/// A square root and what is left: value = root^2 + rest, rest <= 2 * root.
struct Root {
  u64 root;
  u128 rest;
};

/// Zimmermann, Karatsuba Square Root (INRIA RR-3805): the root of the upper half, then one division.
/// `half` is half the number of bits of the root; value's top quarter must not be zero in its two upper bits.
template <int bits>
inline Root square_root(u128 value) {
  if constexpr (bits <= 8) {
    u64 root = 0;
    for (u64 step = u64{1} << (bits / 2 - 1); step != 0; step >>= 1) {
      if ((root | step) * (root | step) <= static_cast<u64>(value)) root |= step;
    }
    return {root, value - static_cast<u128>(root) * root};
  } else {
    constexpr int quarter = bits / 4;
    constexpr u64 mask = (u64{1} << quarter) - 1;
    const Root upper = square_root<bits / 2>(value >> (2 * quarter));
    const u128 numerator = upper.rest << quarter | (static_cast<u64>(value >> quarter) & mask);
    u64 quotient;
    u128 rest;
    if constexpr (bits <= 64) {  // everything fits a machine word
      quotient = static_cast<u64>(numerator) / (2 * upper.root);
      rest = static_cast<u64>(numerator) % (2 * upper.root);
    } else {
      quotient = static_cast<u64>(numerator / (2 * upper.root));
      rest = numerator - static_cast<u128>(quotient) * (2 * upper.root);
    }
    u128 root = (static_cast<u128>(upper.root) << quarter) + quotient;
    i128 left = static_cast<i128>(rest << quarter | (static_cast<u64>(value) & mask)) -
                static_cast<i128>(static_cast<u128>(quotient) * quotient);
    while (left < 0) {
      left += static_cast<i128>(2 * root - 1);
      root--;
    }
    return {static_cast<u64>(root), static_cast<u128>(left)};
  }
}

}  // namespace

template <class F>
F sqrt(F a, Env& env) {
  const auto x = unpack(a, env.daz);
  if (x.kind >= Kind::QuietNaN) return propagate_nan(a, env);
  if (x.kind == Kind::Zero) return zero<F>(x.sign);
  if (x.sign) return invalid<F>(env);
  if (x.denormal && raise_denormal(env)) return a;
  if (x.kind == Kind::Infinity) return infinity<F>(false);
  // A radicand in [2^126, 2^128) with an even exponent gives a root in [2^63, 2^64).
  const bool odd = x.exponent & 1;
  const u128 radicand = resize_sig<u128>(x.sig) >> (odd ? 0 : 1);
  const i32 exponent = (x.exponent - odd) / 2;
  const Root r = square_root<128>(radicand);
  SigOf<F> sig;
  if constexpr (kIsX87<F>) {
    // The next bit is one when value >= (root + 1/2)^2; the root never lies exactly there.
    sig = static_cast<u128>(r.root) << 64 | static_cast<u128>(r.rest > r.root) << 63 | (r.rest != 0);
  } else {
    sig = r.root | (r.rest != 0);
  }
  return round_pack<F>(false, exponent, sig, env, result_precision<F>(env));
}

template F32 sqrt(F32, Env&);
template F64 sqrt(F64, Env&);
template F80 sqrt(F80, Env&);

}  // namespace callgate::fp
