// What AVX and AVX2 move between lanes: permutations, halves of 128 bits, broadcasts, choices by masks. Ref: SDM 2, the
// instruction of the same name with a V before it.
#pragma once

#include "cpu/flags.h"
#include "cpu/vec/lanes.h"

namespace callgate::vec {

/// PERMILPS, PERMILPD with a register: lanes of the same 128 bits of `a`, by the low bits of each lane's control (PERMILPD:
/// by bit 1).
struct Permilps {
  template <class V>
  V operator()(V a, V control) const {
    V r;
    for (unsigned i = 0; i < kLanes<u32, V>; i++) set<u32>(r, i, get<u32>(a, (i & ~3u) | (get<u32>(control, i) & 3)));
    return r;
  }
};
inline constexpr Permilps permilps;

struct Permilpd {
  template <class V>
  V operator()(V a, V control) const {
    V r;
    for (unsigned i = 0; i < kLanes<u64, V>; i++)
      set<u64>(r, i, get<u64>(a, (i & ~1u) | static_cast<unsigned>(get<u64>(control, i) >> 1 & 1)));
    return r;
  }
};
inline constexpr Permilpd permilpd;

/// PERMILPD with an immediate: a bit for each lane.
struct PermilpdByBits {
  template <class V>
  V operator()(V a, u8 control) const {
    V r;
    for (unsigned i = 0; i < kLanes<u64, V>; i++) set<u64>(r, i, get<u64>(a, (i & ~1u) | (control >> i & 1)));
    return r;
  }
};
inline constexpr PermilpdByBits permilpd_by_bits;

/// PERMD: any lanes of `a`, by the low bits of each lane of `index`.
struct Permd {
  template <class V>
  V operator()(V index, V a) const {
    V r;
    for (unsigned i = 0; i < kLanes<u32, V>; i++) set<u32>(r, i, get<u32>(a, get<u32>(index, i) % kLanes<u32, V>));
    return r;
  }
};
inline constexpr Permd permd;

/// PERMQ: any of the four lanes, by two bits of the immediate each.
struct Permq {
  template <class V>
  V operator()(V a, u8 order) const {
    V r;
    for (unsigned i = 0; i < 4; i++) set<u64>(r, i, get<u64>(a, order >> 2 * i & 3));
    return r;
  }
};
inline constexpr Permq permq;

/// PERM2F128: each half is one of the four halves of `a` and `b`, or 0.
struct Perm2x128 {
  template <class V>
  V operator()(V a, V b, u8 control) const {
    V r{};
    for (unsigned half = 0; half < 2; half++) {
      const unsigned c = control >> 4 * half & 15;
      if (!(c & 8)) set<V128>(r, half, get<V128>(c & 2 ? b : a, c & 1));
    }
    return r;
  }
};
inline constexpr Perm2x128 perm2x128;

struct Insert128 {
  template <class V>
  V operator()(V a, V128 value, u8 half) const {
    set<V128>(a, half & 1, value);
    return a;
  }
};
inline constexpr Insert128 insert128;

struct Extract128 {
  template <class V>
  V128 operator()(V a, u8 half) const {
    return get<V128>(a, half & 1);
  }
};
inline constexpr Extract128 extract128;

/// Every lane of `Dest` is the value.
template <class Dest>
struct Broadcast {
  template <class T>
  Dest operator()(T value) const {
    Dest r;
    for (unsigned i = 0; i < kLanes<T, Dest>; i++) set<T>(r, i, value);
    return r;
  }
};
template <class Dest>
inline constexpr Broadcast<Dest> broadcast;

/// A vector with its lowest lane replaced.
struct WithLowLane {
  template <class V, class T>
  V operator()(V a, T low) const {
    set<T>(a, 0, low);
    return a;
  }
};
inline constexpr WithLowLane with_low_lane;

/// PBLENDD: a bit of the immediate takes a lane from `b`.
struct Pblendd {
  template <class V>
  V operator()(V a, V b, u8 choice) const {
    for (unsigned i = 0; i < kLanes<u32, V>; i++)
      if (choice >> i & 1) set<u32>(a, i, get<u32>(b, i));
    return a;
  }
};
inline constexpr Pblendd pblendd;

/// TESTPS, TESTPD: of the lanes' signs, ZF says that no lane has both set, CF that none has b's alone.
template <class T>
struct TestSigns {
  template <class V>
  void operator()(V a, V b, Flags& f) const {
    T both = 0, second = 0;
    for (unsigned i = 0; i < kLanes<T, V>; i++) {
      both |= get<T>(a, i) & get<T>(b, i);
      second |= static_cast<T>(~get<T>(a, i)) & get<T>(b, i);
    }
    constexpr unsigned kSign = 8 * sizeof(T) - 1;
    f.set_arithmetic((both >> kSign ? 0 : u32{kZF}) | (second >> kSign ? 0 : u32{kCF}));
  }
};
inline constexpr TestSigns<u32> testps;
inline constexpr TestSigns<u64> testpd;

// AVX2's shifts of each lane by a count of its own.
template <class T>
struct ShiftLeftEach {
  template <class V>
  V operator()(V a, V counts) const {
    V r;
    for (unsigned i = 0; i < kLanes<T, V>; i++) {
      const T n = get<T>(counts, i);
      set<T>(r, i, n < 8 * sizeof(T) ? get<T>(a, i) << n : T{0});
    }
    return r;
  }
};
inline constexpr ShiftLeftEach<u32> psllvd;
inline constexpr ShiftLeftEach<u64> psllvq;

template <class T>
struct ShiftRightEach {
  template <class V>
  V operator()(V a, V counts) const {
    V r;
    for (unsigned i = 0; i < kLanes<T, V>; i++) {
      const T n = get<T>(counts, i);
      set<T>(r, i, n < 8 * sizeof(T) ? get<T>(a, i) >> n : T{0});
    }
    return r;
  }
};
inline constexpr ShiftRightEach<u32> psrlvd;
inline constexpr ShiftRightEach<u64> psrlvq;

struct Psravd {
  template <class V>
  V operator()(V a, V counts) const {
    V r;
    for (unsigned i = 0; i < kLanes<i32, V>; i++) {
      const u32 n = get<u32>(counts, i);
      set<i32>(r, i, get<i32>(a, i) >> (n < 32 ? n : 31));
    }
    return r;
  }
};
inline constexpr Psravd psravd;

}  // namespace callgate::vec
