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

}  // namespace callgate::alu
