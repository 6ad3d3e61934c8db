// For tests: operands that floating-point units get wrong, and a fixed sequence of random ones.
// Refuses to know: operations.
#pragma once

#include <vector>

#include "cpu/fp/number.h"

namespace callgate::fp {

/// xorshift64*: the same sequence in every run.
class TestRandom {
 public:
  explicit TestRandom(u64 seed) : state_(seed * 2 + 1) {}
  u64 next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1D;
  }
  u64 below(u64 n) { return next() % n; }

 private:
  u64 state_;
};

/// A significand with long runs of equal bits, so that roundings carry and cancellations are deep.
inline u64 random_significand(TestRandom& random) {
  switch (random.below(6)) {
    case 0:
      return random.next();
    case 1:
      return ~u64{0} << random.below(64);
    case 2:
      return u64{1} << random.below(64) | u64{1} << random.below(64);
    case 3:
      return ~(u64{1} << random.below(64));
    case 4:
      return random.next() << random.below(64);
    default:
      return (u64{1} << 63) + random.below(4);
  }
}

/// A biased exponent: often an extreme one or close to the one of 1.0.
template <class F>
int random_field(TestRandom& random) {
  constexpr int max = Format<F>::kFieldMax, bias = Format<F>::kBias;
  switch (random.below(8)) {
    case 0:
      return static_cast<int>(random.below(3));
    case 1:
      return max - static_cast<int>(random.below(3));
    case 2:
    case 3:
      return static_cast<int>(random.below(max + 1));
    case 4:
      return bias / 2 + static_cast<int>(random.below(bias));
    default:
      return bias - 5 + static_cast<int>(random.below(12));
  }
}

/// Any encoding of F, the unsupported ones of F80 included.
template <class F>
F random_operand(TestRandom& random) {
  const bool sign = random.next() >> 63;
  const int field = random_field<F>(random);
  u64 significand = random_significand(random);
  if constexpr (kIsX87<F>) {
    if (random.below(16) != 0) {
      significand = field == 0 ? significand & ~(u64{1} << 63) : significand | u64{1} << 63;
    }
    if (random.below(16) == 0) significand = u64{1} << 63;
    return {significand, static_cast<u16>(sign << 15 | field)};
  } else {
    if (random.below(16) == 0) significand = 0;
    return pack<F>(sign, field, significand);
  }
}

/// The boundaries of format F, both signs.
template <class F>
std::vector<F> boundary_operands() {
  using T = Format<F>;
  std::vector<F> all;
  const int fields[] = {0,
                        1,
                        2,
                        T::kPrecision,
                        T::kBias - T::kPrecision,
                        T::kBias - 1,
                        T::kBias,
                        T::kBias + 1,
                        T::kBias + T::kPrecision - 1,
                        T::kFieldMax - 1,
                        T::kFieldMax};
  const u64 fractions[] = {0, 1, u64{1} << (T::kPrecision - 2), (u64{1} << (T::kPrecision - 2)) + 1,
                           (u64{1} << (T::kPrecision - 1)) - 1};
  for (const int field : fields) {
    for (const u64 fraction : fractions) {
      for (const bool sign : {false, true}) {
        if constexpr (kIsX87<F>) {
          for (const u64 integer_bit : {0, 1}) {
            if (integer_bit == 0 && field > 1 && field < T::kFieldMax) continue;
            all.push_back({integer_bit << 63 | fraction, static_cast<u16>(sign << 15 | field)});
          }
        } else {
          all.push_back(pack<F>(sign, field, fraction << (64 - T::kPrecision)));
        }
      }
    }
  }
  return all;
}

}  // namespace callgate::fp
