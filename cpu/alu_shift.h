// Shifts and rotates. A count that is 0 after masking changes no flag. Flags that x86 leaves undefined (AF, OF for counts
// other than 1, CF for a count beyond the width) get the values that AMD's Zen gives: AF is set by shifts, OF follows the
// rule for a count of 1, CF is 0.
#pragma once

#include "cpu/flags.h"

namespace callgate::alu {

/// The count that a shift of T uses: its low 5 bits, or 6 for 64-bit operands.
template <class T>
constexpr unsigned masked_count(u8 count) {
  return count & (sizeof(T) == 8 ? 63 : 31);
}
template <class T>
inline constexpr unsigned kBitsOf = 8 * sizeof(T);
template <class T>
constexpr bool top_bit(T v) {
  return v >> (kBitsOf<T> - 1) & 1;
}
/// The two highest bits differ: OF of a shift or rotate to the right.
template <class T>
constexpr bool top_bits_differ(T v) {
  return top_bit(static_cast<T>(v ^ v << 1));
}

struct Shl {
  template <class T>
  T operator()(T a, u8 count, Flags& f) const {
    const unsigned n = masked_count<T>(count);
    if (n == 0) return a;
    T r = 0;
    bool cf = false;
    if (n <= kBitsOf<T>) {
      const T before = static_cast<T>(a << (n - 1));
      cf = top_bit(before);
      r = static_cast<T>(before << 1);
    }
    f.set<T>(r, cf, top_bit(r) != cf, true);
    return r;
  }
};
inline constexpr Shl shl;

struct Shr {
  template <class T>
  T operator()(T a, u8 count, Flags& f) const {
    const unsigned n = masked_count<T>(count);
    if (n == 0) return a;
    T r = 0;
    bool cf = false;
    if (n <= kBitsOf<T>) {
      const T before = static_cast<T>(a >> (n - 1));
      cf = before & 1;
      r = static_cast<T>(before >> 1);
    }
    f.set<T>(r, cf, top_bits_differ(r), true);
    return r;
  }
};
inline constexpr Shr shr;

struct Sar {
  template <class T>
  T operator()(T a, u8 count, Flags& f) const {
    using Signed = std::make_signed_t<T>;
    const unsigned n = masked_count<T>(count);
    if (n == 0) return a;
    const Signed before = static_cast<Signed>(static_cast<Signed>(a) >> (n <= kBitsOf<T> ? n - 1 : kBitsOf<T> - 1));
    const T r = static_cast<T>(before >> 1);
    f.set<T>(r, before & 1, false, true);
    return r;
  }
};
inline constexpr Sar sar;

struct Rol {
  template <class T>
  T operator()(T a, u8 count, Flags& f) const {
    if (masked_count<T>(count) == 0) return a;
    const T r = std::rotl(a, static_cast<int>(count & (kBitsOf<T> - 1)));
    const bool cf = r & 1;
    f.set_carries(cf, top_bit(r) != cf, f.af());
    return r;
  }
};
inline constexpr Rol rol;

struct Ror {
  template <class T>
  T operator()(T a, u8 count, Flags& f) const {
    if (masked_count<T>(count) == 0) return a;
    const T r = std::rotr(a, static_cast<int>(count & (kBitsOf<T> - 1)));
    f.set_carries(top_bit(r), top_bits_differ(r), f.af());
    return r;
  }
};
inline constexpr Ror ror;

/// Rotates through CF: 9, 17, 33 or 65 bits.
struct Rcl {
  template <class T>
  T operator()(T a, u8 count, Flags& f) const {
    if (masked_count<T>(count) == 0) return a;
    const unsigned n = masked_count<T>(count) % (kBitsOf<T> + 1);
    bool cf = f.cf();
    T r = a;
    if (n != 0) {
      r = static_cast<T>((n < kBitsOf<T> ? static_cast<T>(a << n) : T{0}) | static_cast<T>(T{cf} << (n - 1)));
      if (n > 1) r = static_cast<T>(r | a >> (kBitsOf<T> + 1 - n));
      cf = a >> (kBitsOf<T> - n) & 1;
    }
    f.set_carries(cf, top_bit(r) != cf, f.af());
    return r;
  }
};
inline constexpr Rcl rcl;

struct Rcr {
  template <class T>
  T operator()(T a, u8 count, Flags& f) const {
    if (masked_count<T>(count) == 0) return a;
    const unsigned n = masked_count<T>(count) % (kBitsOf<T> + 1);
    bool cf = f.cf();
    T r = a;
    if (n != 0) {
      r = static_cast<T>((n < kBitsOf<T> ? static_cast<T>(a >> n) : T{0}) | static_cast<T>(T{cf} << (kBitsOf<T> - n)));
      if (n > 1) r = static_cast<T>(r | static_cast<T>(a << (kBitsOf<T> + 1 - n)));
      cf = a >> (n - 1) & 1;
    }
    f.set_carries(cf, top_bits_differ(r), f.af());
    return r;
  }
};
inline constexpr Rcr rcr;

// Double shifts. A 16-bit operand with a count above 16 is undefined: canonically the source comes in again, as Zen does.
struct Shld {
  template <class T>
  T operator()(T a, T b, u8 count, Flags& f) const {
    const unsigned n = masked_count<T>(count);
    if (n == 0) return a;
    T r;
    bool cf = false;
    if (n <= kBitsOf<T>) {
      r = n == kBitsOf<T> ? b : static_cast<T>(a << n | b >> (kBitsOf<T> - n));
      cf = a >> (kBitsOf<T> - n) & 1;
    } else {
      r = std::rotl(b, static_cast<int>(n - kBitsOf<T>));
    }
    f.set<T>(r, cf, top_bit(r) != cf, true);
    return r;
  }
};
inline constexpr Shld shld;

struct Shrd {
  template <class T>
  T operator()(T a, T b, u8 count, Flags& f) const {
    const unsigned n = masked_count<T>(count);
    if (n == 0) return a;
    T r;
    bool cf = false;
    if (n <= kBitsOf<T>) {
      r = n == kBitsOf<T> ? b : static_cast<T>(a >> n | b << (kBitsOf<T> - n));
      cf = a >> (n - 1) & 1;
    } else {
      r = std::rotr(b, static_cast<int>(n - kBitsOf<T>));
    }
    f.set<T>(r, cf, top_bits_differ(r), true);
    return r;
  }
};
inline constexpr Shrd shrd;

}  // namespace callgate::alu
