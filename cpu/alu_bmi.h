// The operations of BMI1 and BMI2, on T = u32 and u64. See cpu/alu.h. Flags that the manual leaves undefined (AF, PF) are
// canonically clear. Ref: SDM 2, the instruction of the same name.
#pragma once

#include <bit>

#include "cpu/flags.h"

namespace callgate::alu {

// ZF and SF from a result, CF as given; OF is cleared.
template <class T>
inline void set_bmi_flags(T result, bool carry, Flags& f) {
  constexpr unsigned kSign = 8 * sizeof(T) - 1;
  f.set_arithmetic((result == 0 ? u32{kZF} : 0) | (result >> kSign ? u32{kSF} : 0) | (carry ? u32{kCF} : 0));
}

struct Andn {
  template <class T>
  T operator()(T a, T b, Flags& f) const {
    const T r = ~a & b;
    set_bmi_flags(r, false, f);
    return r;
  }
};
inline constexpr Andn andn;

/// BEXTR: `control` has the first bit in its low byte and the number of bits in the next one.
struct Bextr {
  template <class T>
  T operator()(T a, T control, Flags& f) const {
    constexpr unsigned kBits = 8 * sizeof(T);
    const unsigned start = control & 0xFF, count = control >> 8 & 0xFF;
    T r = start < kBits ? a >> start : T{0};
    if (count < kBits) r &= (T{1} << count) - 1;
    f.set_arithmetic(r == 0 ? u32{kZF} : 0);
    return r;
  }
};
inline constexpr Bextr bextr;

// BLSR, BLSMSK and BLSI: the lowest bit cleared, all up to it, it alone. CF says whether there is none (BLSI: one).
struct Blsr {
  template <class T>
  T operator()(T a, Flags& f) const {
    const T r = a & (a - 1);
    set_bmi_flags(r, a == 0, f);
    return r;
  }
};
inline constexpr Blsr blsr;

struct Blsmsk {
  template <class T>
  T operator()(T a, Flags& f) const {
    const T r = a ^ (a - 1);
    set_bmi_flags(r, a == 0, f);
    return r;
  }
};
inline constexpr Blsmsk blsmsk;

struct Blsi {
  template <class T>
  T operator()(T a, Flags& f) const {
    const T r = a & (T{0} - a);
    set_bmi_flags(r, a != 0, f);
    return r;
  }
};
inline constexpr Blsi blsi;

/// BZHI: clears the bits from `index` on. CF says that the index is none of a bit.
struct Bzhi {
  template <class T>
  T operator()(T a, T index, Flags& f) const {
    constexpr unsigned kBits = 8 * sizeof(T);
    const unsigned n = index & 0xFF;
    const T r = n < kBits ? a & ((T{1} << n) - 1) : a;
    set_bmi_flags(r, n >= kBits, f);
    return r;
  }
};
inline constexpr Bzhi bzhi;

/// PDEP: the low bits of `a` go where the mask has ones.
struct Pdep {
  template <class T>
  T operator()(T a, T mask) const {
    T r = 0;
    for (; mask != 0; mask &= mask - 1, a >>= 1)
      if (a & 1) r |= mask & (T{0} - mask);
    return r;
  }
};
inline constexpr Pdep pdep;

/// PEXT: the bits of `a` where the mask has ones, packed.
struct Pext {
  template <class T>
  T operator()(T a, T mask) const {
    T r = 0;
    for (T to = 1; mask != 0; mask &= mask - 1, to <<= 1)
      if (a & mask & (T{0} - mask)) r |= to;
    return r;
  }
};
inline constexpr Pext pext;

// MULX: the halves of the product.
struct MulxLow {
  template <class T>
  T operator()(T a, T b) const {
    return a * b;
  }
};
inline constexpr MulxLow mulx_low;

struct MulxHigh {
  u32 operator()(u32 a, u32 b) const { return static_cast<u32>(u64{a} * b >> 32); }
  u64 operator()(u64 a, u64 b) const { return static_cast<u64>(u128{a} * b >> 64); }
};
inline constexpr MulxHigh mulx_high;

// Shifts and rotates that leave the flags alone; the count wraps.
struct Shlx {
  template <class T>
  T operator()(T a, T count) const {
    return a << (count & (8 * sizeof(T) - 1));
  }
};
inline constexpr Shlx shlx;

struct Shrx {
  template <class T>
  T operator()(T a, T count) const {
    return a >> (count & (8 * sizeof(T) - 1));
  }
};
inline constexpr Shrx shrx;

struct Sarx {
  template <class T>
  T operator()(T a, T count) const {
    return static_cast<T>(static_cast<std::make_signed_t<T>>(a) >> (count & (8 * sizeof(T) - 1)));
  }
};
inline constexpr Sarx sarx;

struct Rorx {
  template <class T>
  T operator()(T a, u8 count) const {
    return std::rotr(a, count & (8 * sizeof(T) - 1));
  }
};
inline constexpr Rorx rorx;

}  // namespace callgate::alu
