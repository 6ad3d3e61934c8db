// Multiplication and division, and the decimal adjustments. Flags that x86 leaves undefined are functions of the result, or
// constants: never of the flags before, so that an instruction of this file ends the life of older flags.
#pragma once

#include <type_traits>

#include "cpu/flags.h"

namespace callgate::alu {

template <class T>
struct Wide;
template <> struct Wide<u8> { using type = u16; };
template <> struct Wide<u16> { using type = u32; };
template <> struct Wide<u32> { using type = u64; };
template <> struct Wide<u64> { using type = u128; };
template <class T>
struct WideSigned;
template <> struct WideSigned<u8> { using type = i16; };
template <> struct WideSigned<u16> { using type = i32; };
template <> struct WideSigned<u32> { using type = i64; };
template <> struct WideSigned<u64> { using type = i128; };

/// A product of twice the width.
template <class T>
struct Product {
  T low, high;
};

/// CF and OF say that the upper half matters. SF, ZF, PF (undefined): of the lower half; AF: 0.
struct Mul {
  template <class T>
  Product<T> operator()(T a, T b, Flags& f) const {
    using W = typename Wide<T>::type;
    const W p = static_cast<W>(static_cast<W>(a) * static_cast<W>(b));
    const Product<T> r{static_cast<T>(p), static_cast<T>(p >> 8 * sizeof(T))};
    f.set<T>(r.low, r.high != 0, r.high != 0, false);
    return r;
  }
};
inline constexpr Mul mul;

struct Imul {
  template <class T>
  Product<T> operator()(T a, T b, Flags& f) const {
    using W = typename WideSigned<T>::type;
    using S = std::make_signed_t<T>;
    const W p = static_cast<W>(static_cast<W>(static_cast<S>(a)) * static_cast<W>(static_cast<S>(b)));
    const Product<T> r{static_cast<T>(p), static_cast<T>(p >> 8 * sizeof(T))};
    const bool lost = p != static_cast<W>(static_cast<S>(r.low));
    f.set<T>(r.low, lost, lost, false);
    return r;
  }
};
inline constexpr Imul imul;

/// The forms with two and three operands: only the lower half.
struct ImulLow {
  template <class T>
  T operator()(T a, T b, Flags& f) const {
    return imul(a, b, f).low;
  }
};
inline constexpr ImulLow imul_low;

/// A division's result; `error` is #DE: a zero divisor, or a quotient that doesn't fit (the others mean nothing then).
template <class T>
struct Quotient {
  T quotient, remainder;
  bool error;
};

struct Div {
  template <class T>
  Quotient<T> operator()(T high, T low, T divisor) const {
    if (high >= divisor) return {0, 0, true};  // a zero divisor included
    if (sizeof(T) == 8 && high == 0) return {static_cast<T>(low / divisor), static_cast<T>(low % divisor), false};
    using W = typename Wide<T>::type;
    const W n = static_cast<W>(static_cast<W>(high) << 8 * sizeof(T) | low);
    return {static_cast<T>(n / divisor), static_cast<T>(n % divisor), false};
  }
};
inline constexpr Div div;

/// By magnitudes: no host division can overflow.
struct Idiv {
  template <class T>
  Quotient<T> operator()(T high, T low, T divisor) const {
    using W = typename Wide<T>::type;
    constexpr T kSign = static_cast<T>(T{1} << (8 * sizeof(T) - 1));
    W n = static_cast<W>(static_cast<W>(high) << 8 * sizeof(T) | low);
    const bool n_negative = high & kSign, d_negative = divisor & kSign;
    if (n_negative) n = static_cast<W>(W{0} - n);
    const T d = d_negative ? static_cast<T>(T{0} - divisor) : divisor;
    Quotient<T> q = div(static_cast<T>(n >> 8 * sizeof(T)), static_cast<T>(n), d);
    if (q.error) return q;
    const bool negative = n_negative != d_negative;
    if (q.quotient > (negative ? kSign : static_cast<T>(kSign - 1))) return {0, 0, true};
    if (negative) q.quotient = static_cast<T>(T{0} - q.quotient);
    if (n_negative) q.remainder = static_cast<T>(T{0} - q.remainder);
    return q;
  }
};
inline constexpr Idiv idiv;

/// DIV and IDIV leave all flags undefined: canonically 0.
struct ClearFlags {
  void operator()(Flags& f) const { f.set_arithmetic(0); }
};
inline constexpr ClearFlags clear_flags;

// --- decimal adjustments: SDM 2, DAA to AAS. OF (undefined) is 0 ---------------------------------------------------

struct Daa {
  u8 operator()(u8 al, Flags& f) const {
    const bool low = (al & 15) > 9 || f.af(), high = al > 0x99 || f.cf();
    const u8 r = static_cast<u8>(al + (low ? 6 : 0) + (high ? 0x60 : 0));
    f.set<u8>(r, high, false, low);
    return r;
  }
};
inline constexpr Daa daa;

struct Das {
  u8 operator()(u8 al, Flags& f) const {
    const bool low = (al & 15) > 9 || f.af(), high = al > 0x99 || f.cf();
    const u8 r = static_cast<u8>(al - (low ? 6 : 0) - (high ? 0x60 : 0));
    f.set<u8>(r, high || (low && al < 6), false, low);
    return r;
  }
};
inline constexpr Das das;

struct Aaa {
  u16 operator()(u16 ax, Flags& f) const {
    const bool adjust = (ax & 15) > 9 || f.af();
    const u16 sum = static_cast<u16>(ax + (adjust ? 0x106 : 0));
    const u16 r = static_cast<u16>(sum & 0xFF0F);
    f.set<u8>(static_cast<u8>(r), adjust, false, adjust);
    return r;
  }
};
inline constexpr Aaa aaa;

struct Aas {
  u16 operator()(u16 ax, Flags& f) const {
    const bool adjust = (ax & 15) > 9 || f.af();
    const u16 difference = static_cast<u16>(ax - (adjust ? 0x106 : 0));
    const u16 r = static_cast<u16>(difference & 0xFF0F);
    f.set<u8>(static_cast<u8>(r), adjust, false, adjust);
    return r;
  }
};
inline constexpr Aas aas;

/// AL and the base (not 0) to AX.
struct Aam {
  u16 operator()(u8 al, u8 base, Flags& f) const {
    const u8 low = static_cast<u8>(al % base);
    f.set<u8>(low, false, false, false);
    return static_cast<u16>(low | (al / base) << 8);
  }
};
inline constexpr Aam aam;

/// AX and the base to AX, whose upper half is 0.
struct Aad {
  u16 operator()(u16 ax, u8 base, Flags& f) const {
    const u8 r = static_cast<u8>(ax + (ax >> 8) * base);
    f.set<u8>(r, false, false, false);
    return r;
  }
};
inline constexpr Aad aad;

}  // namespace callgate::alu
