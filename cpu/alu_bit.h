// Single bits, bit scans, byte order, and the flags as values.
#pragma once

#include <bit>
#include <type_traits>

#include "cpu/flags.h"

namespace callgate::alu {

// BT and its relatives: CF is the bit; the other flags stay (undefined but for ZF, which the manual keeps).
struct Bt {
  template <class T>
  void operator()(T a, T index, Flags& f) const {
    f.set_cf(a >> (index & (8 * sizeof(T) - 1)) & 1);
  }
};
inline constexpr Bt bt;

struct Bts {
  template <class T>
  T operator()(T a, T index, Flags& f) const {
    bt(a, index, f);
    return static_cast<T>(a | T{1} << (index & (8 * sizeof(T) - 1)));
  }
};
inline constexpr Bts bts;

struct Btr {
  template <class T>
  T operator()(T a, T index, Flags& f) const {
    bt(a, index, f);
    return static_cast<T>(a & ~(T{1} << (index & (8 * sizeof(T) - 1))));
  }
};
inline constexpr Btr btr;

struct Btc {
  template <class T>
  T operator()(T a, T index, Flags& f) const {
    bt(a, index, f);
    return static_cast<T>(a ^ T{1} << (index & (8 * sizeof(T) - 1)));
  }
};
inline constexpr Btc btc;

/// Where in a bit string in memory the operand with bit `index` begins, in bytes from the string's address. The index is
/// signed.
struct BitStringOffset {
  template <class T>
  u64 operator()(T index) const {
    const i64 signed_index = static_cast<std::make_signed_t<T>>(index);
    return static_cast<u64>(signed_index >> std::countr_zero(8 * sizeof(T))) * sizeof(T);
  }
};
inline constexpr BitStringOffset bit_string_offset;

// Bit scans: ZF says that there was no bit. The other flags are undefined: canonically clear, but PF with ZF, as on Zen.
struct Bsf {
  template <class T>
  T operator()(T a, Flags& f) const {
    f.set_arithmetic(a == 0 ? kZF | kPF : 0);
    return static_cast<T>(std::countr_zero(a));
  }
};
inline constexpr Bsf bsf;

struct Bsr {
  template <class T>
  T operator()(T a, Flags& f) const {
    f.set_arithmetic(a == 0 ? kZF | kPF : 0);
    return static_cast<T>(8 * sizeof(T) - 1 - static_cast<unsigned>(std::countl_zero(a)));
  }
};
inline constexpr Bsr bsr;

/// BSWAP. Of a 16-bit register it is undefined: canonically 0, as processors do.
struct Bswap {
  u16 operator()(u16) const { return 0; }
  u32 operator()(u32 a) const { return __builtin_bswap32(a); }
  u64 operator()(u64 a) const { return __builtin_bswap64(a); }
};
inline constexpr Bswap bswap;

// --- flags as values -----------------------------------------------------------------------------------------------

struct SetCarry {
  void operator()(bool value, Flags& f) const { f.set_cf(value); }
};
inline constexpr SetCarry set_carry;

struct ComplementCarry {
  void operator()(Flags& f) const { f.set_cf(!f.cf()); }
};
inline constexpr ComplementCarry complement_carry;

/// FLAGS' low byte, as LAHF gives it.
struct LowFlags {
  u8 operator()(Flags& f) const { return static_cast<u8>((f.arithmetic() & 0xFF) | kFlagsFixed); }
};
inline constexpr LowFlags low_flags;

/// SAHF: all arithmetic flags but OF.
struct SetLowFlags {
  void operator()(u8 value, Flags& f) const { f.set_arithmetic(value | (f.of() ? u32{kOF} : 0)); }
};
inline constexpr SetLowFlags set_low_flags;

}  // namespace callgate::alu
