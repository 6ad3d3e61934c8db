// Vectors seen as lanes: how the operations of this folder go over a V (u64 for an MMX register or half an xmm register,
// V128, or any wider plain vector) lane by lane. Refuses to know: instructions, registers, memory.
#pragma once

#include "base/bits.h"
#include "cpu/fp/fp.h"

namespace callgate::vec {

/// Lane `i` of type T.
template <class T, class V>
inline T get(const V& v, unsigned i) {
  return load_as<T>(reinterpret_cast<const u8*>(&v) + i * sizeof(T));
}
template <class T, class V>
inline void set(V& v, unsigned i, T value) {
  store_as<T>(reinterpret_cast<u8*>(&v) + i * sizeof(T), value);
}
/// How many lanes of type T a V has.
template <class T, class V>
constexpr unsigned kLanes = sizeof(V) / sizeof(T);

/// An operation on each pair of lanes.
template <class T, T (*Function)(T, T)>
struct Lanewise {
  template <class V>
  V operator()(V a, V b) const {
    V r;
    for (unsigned i = 0; i < kLanes<T, V>; i++) set<T>(r, i, Function(get<T>(a, i), get<T>(b, i)));
    return r;
  }
};

/// An operation on each lane.
template <class T, T (*Function)(T)>
struct LanewiseUnary {
  template <class V>
  V operator()(V a) const {
    V r;
    for (unsigned i = 0; i < kLanes<T, V>; i++) set<T>(r, i, Function(get<T>(a, i)));
    return r;
  }
};

/// A floating-point operation on each pair of lanes; V = T for the scalar instruction.
template <class T, T (*Function)(T, T, fp::Env&)>
struct FloatLanewise {
  template <class V>
  V operator()(V a, V b, fp::Env& env) const {
    V r;
    for (unsigned i = 0; i < kLanes<T, V>; i++) set<T>(r, i, Function(get<T>(a, i), get<T>(b, i), env));
    return r;
  }
};

template <class T, T (*Function)(T, fp::Env&)>
struct FloatLanewiseUnary {
  template <class V>
  V operator()(V a, fp::Env& env) const {
    V r;
    for (unsigned i = 0; i < kLanes<T, V>; i++) set<T>(r, i, Function(get<T>(a, i), env));
    return r;
  }
};

/// Converts lanes From to lanes To, as many as both the source and `Dest` have; the rest of `Dest` is zero.
template <class Dest, class To, class From, To (*Function)(From, fp::Env&)>
struct ConvertLanes {
  template <class V>
  Dest operator()(V a, fp::Env& env) const {
    constexpr unsigned kCount = kLanes<To, Dest> < kLanes<From, V> ? kLanes<To, Dest> : kLanes<From, V>;
    Dest r{};
    for (unsigned i = 0; i < kCount; i++) set<To>(r, i, Function(get<From>(a, i), env));
    return r;
  }
};

}  // namespace callgate::vec
