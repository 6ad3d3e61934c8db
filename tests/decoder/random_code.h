// Random instruction bytes for the decoder's tests: half of them uniform, half shaped like instructions. The same seed
// gives the same bytes on every host. Knows the outline of an instruction (prefixes, map, opcode, the rest) and no
// table.
#pragma once

#include <array>

#include "base/types.h"

namespace callgate::decoder_test {

/// A 64-bit generator with one word of state (splitmix64, Steele, Lea and Flood 2014).
class Random {
 public:
  explicit Random(u64 seed) : state_(seed) {}
  u64 next() {
    u64 z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  }
  /// A number below `bound`.
  u32 below(u32 bound) { return static_cast<u32>((next() >> 32) * bound >> 32); }
  u8 byte() { return static_cast<u8>(next() >> 56); }
  bool chance(u32 in) { return below(in) == 0; }

 private:
  u64 state_;
};

/// More than the longest instruction.
using CodeBytes = std::array<u8, 16>;

/// The next random string.
CodeBytes random_code(Random& random);

}  // namespace callgate::decoder_test
