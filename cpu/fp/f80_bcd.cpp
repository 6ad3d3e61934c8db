// Packed BCD, 18 digits and a sign (FBLD, FBSTP). Refuses to know: memory. Ref: SDM 1 ch. 4.7.
#include "cpu/fp/integer.h"

namespace callgate::fp {
namespace {

constexpr u64 kTenTo18 = 1'000'000'000'000'000'000;
constexpr PackedBcd kBcdIndefinite = {0xC000000000000000, 0xFFFF};
constexpr u16 kBcdSign = 0x8000;

}  // namespace

PackedBcd f80_to_bcd(F80 a, Env& env) {
  const auto n = unpack(a, false);
  if (n.kind > Kind::Zero) {
    env.flags |= kInvalid;
    return kBcdIndefinite;
  }
  const Integral integer = round_to_integer(n, env.round);
  if (integer.too_large || integer.magnitude >= kTenTo18) {
    env.flags |= kInvalid;
    return kBcdIndefinite;
  }
  if (integer.inexact) env.flags |= kPrecision;
  env.rounded_up = integer.up;
  PackedBcd bcd;
  u64 rest = integer.magnitude;
  for (int digit = 0; digit < 16; digit++, rest /= 10) bcd.low |= (rest % 10) << (4 * digit);
  bcd.high = static_cast<u16>(rest / 10 << 4 | rest % 10);
  if (n.sign) bcd.high |= kBcdSign;
  return bcd;
}

F80 bcd_to_f80(PackedBcd a) {
  // 18 digits of at most 15 stay below 2^61: no overflow.
  u64 magnitude = (a.high >> 4 & 0xF) * 10 + (a.high & 0xF);
  for (int digit = 15; digit >= 0; digit--) magnitude = magnitude * 10 + (a.low >> (4 * digit) & 0xF);
  const F80 value = i64_to_f80(static_cast<i64>(magnitude));
  return a.high & kBcdSign ? negated(value) : value;
}

}  // namespace callgate::fp
