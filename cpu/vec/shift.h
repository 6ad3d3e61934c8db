// Packed shifts. A count is the low 64 bits of the count operand, or the immediate; large counts give zeros (or signs).
// Ref: SDM 2, PSLLW/PSLLD/PSLLQ and relatives.
#pragma once

#include <type_traits>

#include "cpu/vec/lanes.h"

namespace callgate::vec {

template <class T>
struct ShiftLeft {
  template <class V>
  V operator()(V a, u64 count) const {
    V r{};
    if (count < 8 * sizeof(T))
      for (unsigned i = 0; i < kLanes<T, V>; i++) set<T>(r, i, static_cast<T>(get<T>(a, i) << count));
    return r;
  }
};
inline constexpr ShiftLeft<u16> psllw;
inline constexpr ShiftLeft<u32> pslld;
inline constexpr ShiftLeft<u64> psllq;

template <class T>
struct ShiftRight {
  template <class V>
  V operator()(V a, u64 count) const {
    V r{};
    if (count < 8 * sizeof(T))
      for (unsigned i = 0; i < kLanes<T, V>; i++) set<T>(r, i, static_cast<T>(get<T>(a, i) >> count));
    return r;
  }
};
inline constexpr ShiftRight<u16> psrlw;
inline constexpr ShiftRight<u32> psrld;
inline constexpr ShiftRight<u64> psrlq;

template <class T>
struct ShiftRightSigned {
  template <class V>
  V operator()(V a, u64 count) const {
    const u64 capped = count < 8 * sizeof(T) ? count : 8 * sizeof(T) - 1;
    V r;
    for (unsigned i = 0; i < kLanes<T, V>; i++) set<T>(r, i, static_cast<T>(get<T>(a, i) >> capped));
    return r;
  }
};
inline constexpr ShiftRightSigned<i16> psraw;
inline constexpr ShiftRightSigned<i32> psrad;

/// Shifts each 128 bits by bytes.
struct ShiftLeftBytes {
  template <class V>
  V operator()(V a, u64 count) const {
    V r{};
    for (unsigned i = 0; i < sizeof(V); i++)
      if ((i & 15) >= count) set<u8>(r, i, get<u8>(a, i - static_cast<unsigned>(count)));
    return r;
  }
};
inline constexpr ShiftLeftBytes pslldq;

struct ShiftRightBytes {
  template <class V>
  V operator()(V a, u64 count) const {
    V r{};
    for (unsigned i = 0; i < sizeof(V); i++)
      if ((i & 15) + count < 16) set<u8>(r, i, get<u8>(a, i + static_cast<unsigned>(count)));
    return r;
  }
};
inline constexpr ShiftRightBytes psrldq;

}  // namespace callgate::vec
