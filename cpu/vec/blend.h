// Operations that choose: blends, INSERTPS, PTEST, and lanes made wider. Ref: SDM 2, the instruction of the same name.
#pragma once

#include "cpu/flags.h"
#include "cpu/vec/lanes.h"

namespace callgate::vec {

/// Lanes of `b` where the immediate has a bit, else of `a`. PBLENDW has eight lanes in each 128 bits, the others no more
/// than eight in all.
template <class T>
struct Blend {
  template <class V>
  V operator()(V a, V b, u8 choice) const {
    for (unsigned i = 0; i < kLanes<T, V>; i++)
      if (choice >> (i & 7) & 1) set<T>(a, i, get<T>(b, i));
    return a;
  }
};
inline constexpr Blend<u32> blend_f32;
inline constexpr Blend<u64> blend_f64;
inline constexpr Blend<u16> pblendw;

/// Lanes of `b` where the lane of `mask` has its sign bit set, else of `a`.
template <class T>
struct BlendBySign {
  template <class V>
  V operator()(V a, V b, V mask) const {
    for (unsigned i = 0; i < kLanes<T, V>; i++)
      if (get<T>(mask, i) < 0) set<T>(a, i, get<T>(b, i));
    return a;
  }
};
inline constexpr BlendBySign<i8> pblendvb;
inline constexpr BlendBySign<i32> blendv_f32;
inline constexpr BlendBySign<i64> blendv_f64;

/// INSERTPS: `value` to the lane that bits 5:4 say, then zeros where bits 3:0 say.
struct InsertSingle {
  template <class V>
  V operator()(V a, u32 value, u8 control) const {
    set<u32>(a, control >> 4 & 3, value);
    for (unsigned i = 0; i < 4; i++)
      if (control >> i & 1) set<u32>(a, i, 0);
    return a;
  }
};
inline constexpr InsertSingle insertps;
/// The lane of a register operand of INSERTPS: bits 7:6.
struct InsertedSingle {
  template <class V>
  u32 operator()(V a, u8 control) const {
    return get<u32>(a, control >> 6);
  }
};
inline constexpr InsertedSingle inserted_single;

/// PTEST: ZF when no bit of both is set, CF when no bit of `b` is missing in `a`. VTESTPS and VTESTPD look at the signs of lanes
/// only.
template <u64 Mask>
struct Test {
  template <class V>
  void operator()(V a, V b, Flags& f) const {
    u64 both = 0, missing = 0;
    for (unsigned i = 0; i < kLanes<u64, V>; i++) {
      both |= get<u64>(a, i) & get<u64>(b, i);
      missing |= ~get<u64>(a, i) & get<u64>(b, i);
    }
    f.set_arithmetic(((both & Mask) == 0 ? u32{kZF} : 0) | ((missing & Mask) == 0 ? u32{kCF} : 0));
  }
};
inline constexpr Test<~u64{0}> ptest;
inline constexpr Test<0x8000000080000000> test_f32;
inline constexpr Test<u64{1} << 63> test_f64;

/// PMOVSXBW and relatives: the lowest lanes From, each made a To.
template <class Dest, class To, class From>
struct ExtendLanes {
  template <class V>
  Dest operator()(V a) const {
    static_assert(kLanes<From, V> >= kLanes<To, Dest>);
    Dest r;
    for (unsigned i = 0; i < kLanes<To, Dest>; i++) set<To>(r, i, get<From>(a, i));
    return r;
  }
};
template <class Dest>
inline constexpr ExtendLanes<Dest, i16, i8> pmovsxbw;
template <class Dest>
inline constexpr ExtendLanes<Dest, i32, i8> pmovsxbd;
template <class Dest>
inline constexpr ExtendLanes<Dest, i64, i8> pmovsxbq;
template <class Dest>
inline constexpr ExtendLanes<Dest, i32, i16> pmovsxwd;
template <class Dest>
inline constexpr ExtendLanes<Dest, i64, i16> pmovsxwq;
template <class Dest>
inline constexpr ExtendLanes<Dest, i64, i32> pmovsxdq;
template <class Dest>
inline constexpr ExtendLanes<Dest, u16, u8> pmovzxbw;
template <class Dest>
inline constexpr ExtendLanes<Dest, u32, u8> pmovzxbd;
template <class Dest>
inline constexpr ExtendLanes<Dest, u64, u8> pmovzxbq;
template <class Dest>
inline constexpr ExtendLanes<Dest, u32, u16> pmovzxwd;
template <class Dest>
inline constexpr ExtendLanes<Dest, u64, u16> pmovzxwq;
template <class Dest>
inline constexpr ExtendLanes<Dest, u64, u32> pmovzxdq;

}  // namespace callgate::vec
