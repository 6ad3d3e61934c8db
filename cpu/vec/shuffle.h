// Operations that move lanes: interleaving, packing, shuffling, inserting, extracting, masks of signs. On V wider than 16
// bytes they work on each 128 bits for themselves, as AVX2 does. Ref: SDM 2, the instruction of the same name.
#pragma once

#include <algorithm>
#include <limits>

#include "cpu/vec/lanes.h"

namespace callgate::vec {

/// Bytes of the part that a lane-moving operation works on: 8 for MMX, else 16.
template <class V>
constexpr unsigned kPart = sizeof(V) < 16 ? sizeof(V) : 16;

/// Interleaves the lanes of the low (High = 0) or high halves.
template <class T, unsigned High>
struct Unpack {
  template <class V>
  V operator()(V a, V b) const {
    constexpr unsigned n = kPart<V> / sizeof(T);
    V r;
    for (unsigned i = 0; i < kLanes<T, V>; i++) {
      const unsigned from = i / n * n + i % n / 2 + High * n / 2;
      set<T>(r, i, get<T>(i & 1 ? b : a, from));
    }
    return r;
  }
};
inline constexpr Unpack<u8, 0> punpcklbw;
inline constexpr Unpack<u16, 0> punpcklwd;
inline constexpr Unpack<u32, 0> punpckldq;
inline constexpr Unpack<u64, 0> punpcklqdq;
inline constexpr Unpack<u8, 1> punpckhbw;
inline constexpr Unpack<u16, 1> punpckhwd;
inline constexpr Unpack<u32, 1> punpckhdq;
inline constexpr Unpack<u64, 1> punpckhqdq;

/// Narrows signed lanes From to To with saturation: those of `a`, then those of `b`.
template <class To, class From>
struct Pack {
  template <class V>
  V operator()(V a, V b) const {
    constexpr unsigned n = kPart<V> / sizeof(To);
    V r;
    for (unsigned i = 0; i < kLanes<To, V>; i++) {
      const unsigned from = i / n * n / 2 + i % (n / 2);
      const int v = get<From>(i % n < n / 2 ? a : b, from);
      set<To>(r, i, static_cast<To>(std::clamp<int>(v, std::numeric_limits<To>::min(), std::numeric_limits<To>::max())));
    }
    return r;
  }
};
inline constexpr Pack<i8, i16> packsswb;
inline constexpr Pack<i16, i32> packssdw;
inline constexpr Pack<u8, i16> packuswb;
inline constexpr Pack<u16, i32> packusdw;

/// Lanes of `a` chosen by two bits of the immediate each, among the four from lane First on.
template <class T, unsigned First>
struct Shuffle4 {
  template <class V>
  V operator()(V a, u8 order) const {
    V r = a;
    for (unsigned part = 0; part < kLanes<T, V>; part += kPart<V> / sizeof(T))
      for (unsigned i = 0; i < 4; i++) set<T>(r, part + First + i, get<T>(a, part + First + (order >> 2 * i & 3)));
    return r;
  }
};
inline constexpr Shuffle4<u16, 0> pshuflw;  // PSHUFW, too
inline constexpr Shuffle4<u16, 4> pshufhw;
inline constexpr Shuffle4<u32, 0> pshufd;

/// PSHUFB: bytes of `a` chosen by the low bits of each byte of `order`; zero where its top bit is set.
struct ShuffleBytes {
  template <class V>
  V operator()(V a, V order) const {
    V r;
    for (unsigned i = 0; i < sizeof(V); i++) {
      const u8 from = get<u8>(order, i);
      set<u8>(r, i, from & 0x80 ? u8{0} : get<u8>(a, i / kPart<V> * kPart<V> + (from & (kPart<V> - 1))));
    }
    return r;
  }
};
inline constexpr ShuffleBytes pshufb;

/// PALIGNR: `a` above `b`, shifted right by bytes.
struct AlignRight {
  template <class V>
  V operator()(V a, V b, u8 count) const {
    V r{};
    for (unsigned i = 0; i < sizeof(V); i++) {
      const unsigned part = i / kPart<V> * kPart<V>, from = i % kPart<V> + count;
      if (from < kPart<V>) set<u8>(r, i, get<u8>(b, part + from));
      else if (from < 2 * kPart<V>) set<u8>(r, i, get<u8>(a, part + from - kPart<V>));
    }
    return r;
  }
};
inline constexpr AlignRight palignr;

/// MOVDDUP, MOVSLDUP (Odd = 0), MOVSHDUP: every even, or odd, lane twice.
template <class T, unsigned Odd>
struct Duplicate {
  template <class V>
  V operator()(V a) const {
    V r;
    for (unsigned i = 0; i < kLanes<T, V>; i++) set<T>(r, i, get<T>(a, (i & ~1u) + Odd));
    return r;
  }
};
inline constexpr Duplicate<u64, 0> movddup;
inline constexpr Duplicate<u32, 0> movsldup;
inline constexpr Duplicate<u32, 1> movshdup;

/// SHUFPS: two lanes of `a`, then two of `b`.
struct Shufps {
  template <class V>
  V operator()(V a, V b, u8 order) const {
    V r;
    for (unsigned i = 0; i < kLanes<u32, V>; i++)
      set<u32>(r, i, get<u32>(i & 2 ? b : a, (i & ~3u) + (order >> 2 * (i & 3) & 3)));
    return r;
  }
};
inline constexpr Shufps shufps;

/// SHUFPD: one lane of `a`, then one of `b`; an immediate bit for each lane of the result.
struct Shufpd {
  template <class V>
  V operator()(V a, V b, u8 order) const {
    V r;
    for (unsigned i = 0; i < kLanes<u64, V>; i++)
      set<u64>(r, i, get<u64>(i & 1 ? b : a, (i & ~1u) + (order >> i & 1)));
    return r;
  }
};
inline constexpr Shufpd shufpd;

/// PEXTRW, PINSRW and their like: the lane number wraps.
template <class T>
struct ExtractLane {
  template <class V>
  T operator()(V a, u8 n) const {
    return get<T>(a, n & (kLanes<T, V> - 1));
  }
};
inline constexpr ExtractLane<u8> pextrb;
inline constexpr ExtractLane<u16> pextrw;
inline constexpr ExtractLane<u32> pextrd;
inline constexpr ExtractLane<u64> pextrq;

template <class T>
struct InsertLane {
  template <class V>
  V operator()(V a, T value, u8 n) const {
    set<T>(a, n & (kLanes<T, V> - 1), value);
    return a;
  }
};
inline constexpr InsertLane<u8> pinsrb;
inline constexpr InsertLane<u16> pinsrw;
inline constexpr InsertLane<u32> pinsrd;
inline constexpr InsertLane<u64> pinsrq;

/// The signs of all lanes as the bits of a number.
template <class T>
struct SignMask {
  template <class V>
  u32 operator()(V a) const {
    u32 r = 0;
    for (unsigned i = 0; i < kLanes<T, V>; i++) r |= static_cast<u32>(get<T>(a, i) >> (8 * sizeof(T) - 1)) << i;
    return r;
  }
};
inline constexpr SignMask<u8> pmovmskb;
inline constexpr SignMask<u32> movmskps;
inline constexpr SignMask<u64> movmskpd;

/// The upper 64 bits of a 16-byte vector (MOVHLPS, a MOVHPS store).
struct HighHalf {
  template <class V>
  u64 operator()(V a) const {
    return get<u64>(a, 1);
  }
};
inline constexpr HighHalf high_half;

/// A 16-byte vector with its upper 64 bits replaced (MOVLHPS, a MOVHPS load).
struct WithHighHalf {
  template <class V>
  V operator()(V a, u64 high) const {
    set<u64>(a, 1, high);
    return a;
  }
};
inline constexpr WithHighHalf with_high_half;

}  // namespace callgate::vec
