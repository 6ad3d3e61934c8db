// Integer operations that came after the 386: counts of bits, carry chains of their own, CRC32, byte order.
#pragma once

#include <array>
#include <bit>

#include "cpu/flags.h"

namespace callgate::alu {

/// POPCNT: ZF says that there is no bit; the other flags are cleared.
struct Popcnt {
  template <class T>
  T operator()(T a, Flags& f) const {
    f.set_arithmetic(a == 0 ? u32{kZF} : 0);
    return static_cast<T>(std::popcount(a));
  }
};
inline constexpr Popcnt popcnt;

// TZCNT, LZCNT: CF says that there is no bit (then the result is the operand's width), ZF that the result is 0. The other
// flags are undefined: canonically clear.
struct Tzcnt {
  template <class T>
  T operator()(T a, Flags& f) const {
    f.set_arithmetic((a == 0 ? u32{kCF} : 0) | (a & 1 ? u32{kZF} : 0));
    return static_cast<T>(std::countr_zero(a));
  }
};
inline constexpr Tzcnt tzcnt;

struct Lzcnt {
  template <class T>
  T operator()(T a, Flags& f) const {
    f.set_arithmetic((a == 0 ? u32{kCF} : 0) | (a >> (8 * sizeof(T) - 1) ? u32{kZF} : 0));
    return static_cast<T>(std::countl_zero(a));
  }
};
inline constexpr Lzcnt lzcnt;

/// ADCX: an addition with carry that changes no flag but CF.
struct Adcx {
  template <class T>
  T operator()(T a, T b, Flags& f) const {
    const bool carry = f.cf();
    const T sum = static_cast<T>(a + b + carry);
    f.set_cf(carry ? sum <= a : sum < a);
    return sum;
  }
};
inline constexpr Adcx adcx;

/// ADOX: the same with OF for a carry.
struct Adox {
  template <class T>
  T operator()(T a, T b, Flags& f) const {
    const bool carry = f.of();
    const T sum = static_cast<T>(a + b + carry);
    f.set_of(carry ? sum <= a : sum < a);
    return sum;
  }
};
inline constexpr Adox adox;

/// CRC32: the polynomial 11EDC6F41h, bits reflected, nothing inverted.
struct Crc32 {
  template <class T>
  u32 operator()(u32 crc, T data) const {
    for (unsigned i = 0; i < sizeof(T); i++) crc = kTable[(crc ^ static_cast<u8>(data >> 8 * i)) & 0xFF] ^ crc >> 8;
    return crc;
  }

 private:
  static constexpr std::array<u32, 256> kTable = [] {
    std::array<u32, 256> t{};
    for (u32 n = 0; n < 256; n++) {
      u32 crc = n;
      for (unsigned bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
      t[n] = crc;
    }
    return t;
  }();
};
inline constexpr Crc32 crc32;

/// MOVBE: bytes in the other order. Unlike BSWAP it is defined for 16 bits.
struct ReverseBytes {
  u16 operator()(u16 a) const { return __builtin_bswap16(a); }
  u32 operator()(u32 a) const { return __builtin_bswap32(a); }
  u64 operator()(u64 a) const { return __builtin_bswap64(a); }
};
inline constexpr ReverseBytes reverse_bytes;

}  // namespace callgate::alu
