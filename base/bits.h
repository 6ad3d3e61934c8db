// Small bit operations that the manual's pseudo-code takes for granted.
#pragma once

#include <bit>
#include <cstring>
#include <type_traits>

#include "base/types.h"

// The register file and guest RAM are accessed as the little-endian memory that they are on x86.
static_assert(std::endian::native == std::endian::little, "Callgate needs a little-endian host");

namespace callgate {

/// Bit `n` of `value`, as 0 or 1.
template <class T>
constexpr bool bit(T value, unsigned n) {
  return (value >> n) & 1;
}

/// Bits `hi` down to `lo`, both included, moved to bit 0. hi < 64.
constexpr u64 bits(u64 value, unsigned hi, unsigned lo) {
  return (value >> lo) & (hi - lo == 63 ? ~u64{0} : (u64{1} << (hi - lo + 1)) - 1);
}

/// `value`'s low `width` bits (1 to 64), sign-extended to 64.
constexpr u64 sign_extend(u64 value, unsigned width) {
  const unsigned shift = 64 - width;
  return static_cast<u64>(static_cast<i64>(value << shift) >> shift);
}

/// A mask of the low `width` bits (0 to 64).
constexpr u64 low_mask(unsigned width) { return width >= 64 ? ~u64{0} : (u64{1} << width) - 1; }

/// Reads a T from unaligned memory.
template <class T>
inline T load_as(const void* p) {
  static_assert(std::is_trivially_copyable_v<T>);
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

/// Writes a T to unaligned memory.
template <class T>
inline void store_as(void* p, T v) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(p, &v, sizeof v);
}

}  // namespace callgate
