// FPREM and FPREM1: exact remainders with the low bits of the quotient. Refuses to know: the condition codes' places.
// Refs: SDM 2, FPREM, FPREM1 (the table of the partial reduction).
#include "cpu/fp/round_pack.h"

namespace callgate::fp {
namespace {

/// One instruction reduces the exponent by less than this, or else partially.
constexpr i32 kFullReduction = 64;

Remainder remainder(F80 a, F80 b, bool nearest, Env& env) {
  const auto x = unpack(a, false), y = unpack(b, false);
  if (x.kind >= Kind::QuietNaN || y.kind >= Kind::QuietNaN) return {propagate_nan(a, b, env)};
  if (x.kind == Kind::Infinity || y.kind == Kind::Zero) return {invalid<F80>(env)};
  if ((x.denormal || y.denormal) && raise_denormal(env)) return {a};
  if (x.kind == Kind::Zero) return {a};
  const i32 distance = x.exponent - y.exponent;
  if (y.kind == Kind::Infinity || distance < -1 || (distance < 0 && !nearest)) {
    return {round_pack<F80>(x.sign, x.exponent, x.sig, env)};  // for an unmasked underflow
  }
  Remainder result;
  result.partial = distance >= kFullReduction;
  // A partial reduction takes off 32 to 63 bits, so that what is left is a multiple of 32 (the manual leaves it open).
  const i32 steps = result.partial ? 32 | (distance & 31) : distance;
  const u64 dividend = static_cast<u64>(x.sig >> 64), divisor = static_cast<u64>(y.sig >> 64);
  u128 quotient = 0, rest = dividend;
  if (steps >= 0) {
    const u128 numerator = static_cast<u128>(dividend) << steps;
    quotient = numerator / divisor;
    rest = numerator - quotient * divisor;
  }
  bool sign = x.sign;
  // `rest` counts in units of the divisor's last place; with one step missing, of half of it.
  const int half = steps < 0 ? 1 : 0;
  const u128 whole = static_cast<u128>(divisor) << half;
  if (nearest && !result.partial && (2 * rest > whole || (2 * rest == whole && (quotient & 1)))) {
    rest = whole - rest;
    sign = !sign;
    quotient++;
  }
  if (!result.partial) result.quotient = static_cast<u8>(quotient & 7);
  if (rest == 0) {
    result.value = zero<F80>(x.sign);
  } else {
    const int shift = leading_zeros(rest);
    const i32 exponent = y.exponent - half + (distance - steps);
    result.value = round_pack<F80>(sign, exponent + 64 - shift, rest << shift, env);
  }
  return result;
}

}  // namespace

Remainder prem(F80 a, F80 b, Env& env) { return remainder(a, b, false, env); }
Remainder prem1(F80 a, F80 b, Env& env) { return remainder(a, b, true, env); }

}  // namespace callgate::fp
