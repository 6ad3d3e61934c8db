// The operations that semantics are made of, on T = u8 to u64. Each is a function object: its type names the operation for
// an IR builder, its call is the portable reference. Those that take Flags& define all of the arithmetic flags that x86
// defines for them; flags that x86 leaves undefined get one canonical value, the same on every host.
#pragma once

#include "cpu/flags.h"

namespace callgate::alu {

struct Add {
  template <class T>
  T operator()(T a, T b, Flags& f) const {
    const T r = static_cast<T>(a + b);
    f.set<T>(r, static_cast<T>((a & b) | ((a | b) & ~r)));
    return r;
  }
};
inline constexpr Add add;

struct Adc {
  template <class T>
  T operator()(T a, T b, Flags& f) const {
    const T r = static_cast<T>(a + b + f.cf());
    f.set<T>(r, static_cast<T>((a & b) | ((a | b) & ~r)));
    return r;
  }
};
inline constexpr Adc adc;

struct Sub {
  template <class T>
  T operator()(T a, T b, Flags& f) const {
    const T r = static_cast<T>(a - b);
    f.set<T>(r, static_cast<T>((~a & b) | ((~a | b) & r)));
    return r;
  }
};
inline constexpr Sub sub;

struct Sbb {
  template <class T>
  T operator()(T a, T b, Flags& f) const {
    const T r = static_cast<T>(a - b - f.cf());
    f.set<T>(r, static_cast<T>((~a & b) | ((~a | b) & r)));
    return r;
  }
};
inline constexpr Sbb sbb;

// Logic clears CF and OF. AF is undefined: canonically 0.
struct And {
  template <class T>
  T operator()(T a, T b, Flags& f) const {
    const T r = static_cast<T>(a & b);
    f.set<T>(r, T{0});
    return r;
  }
};
inline constexpr And and_;

struct Or {
  template <class T>
  T operator()(T a, T b, Flags& f) const {
    const T r = static_cast<T>(a | b);
    f.set<T>(r, T{0});
    return r;
  }
};
inline constexpr Or or_;

struct Xor {
  template <class T>
  T operator()(T a, T b, Flags& f) const {
    const T r = static_cast<T>(a ^ b);
    f.set<T>(r, T{0});
    return r;
  }
};
inline constexpr Xor xor_;

// INC and DEC leave CF alone.
struct Inc {
  template <class T>
  T operator()(T a, Flags& f) const {
    const T r = static_cast<T>(a + 1);
    f.set<T>(r, f.cf(), r == static_cast<T>(T{1} << (8 * sizeof(T) - 1)), (r & 15) == 0);
    return r;
  }
};
inline constexpr Inc inc;

struct Dec {
  template <class T>
  T operator()(T a, Flags& f) const {
    const T r = static_cast<T>(a - 1);
    f.set<T>(r, f.cf(), a == static_cast<T>(T{1} << (8 * sizeof(T) - 1)), (a & 15) == 0);
    return r;
  }
};
inline constexpr Dec dec;

struct Neg {
  template <class T>
  T operator()(T a, Flags& f) const {
    return sub(T{0}, a, f);
  }
};
inline constexpr Neg neg;

struct Not {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(~a);
  }
};
inline constexpr Not not_;

// Comparisons that a semantic decides by; no flags.
struct Equal {
  template <class T>
  bool operator()(T a, T b) const {
    return a == b;
  }
};
inline constexpr Equal equal;

struct NonZero {
  template <class T>
  bool operator()(T a) const {
    return a != 0;
  }
};
inline constexpr NonZero non_zero;

struct IsZero {
  template <class T>
  bool operator()(T a) const {
    return a == 0;
  }
};
inline constexpr IsZero is_zero;

struct LogicalNot {
  bool operator()(bool a) const { return !a; }
};
inline constexpr LogicalNot logical_not;

/// All bits a copy of the sign: the upper half of the sign-extended value.
struct SignFill {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(T{0} - static_cast<T>(a >> (8 * sizeof(T) - 1)));
  }
};
inline constexpr SignFill sign_fill;

}  // namespace callgate::alu
