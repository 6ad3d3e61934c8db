// Packed integer arithmetic, comparisons and logic, named after the MMX and SSE instructions that they are.
// Pure: the same on every host. Ref: SDM 2, the instruction of the same name.
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>

#include "cpu/vec/lanes.h"

namespace callgate::vec {

namespace lane {
// One lane of each operation. T's signedness is the operation's.
template <class T>
constexpr T saturate(int v) {
  return static_cast<T>(std::clamp<int>(v, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}
template <class T>
constexpr T add(T a, T b) { return static_cast<T>(a + b); }
template <class T>
constexpr T sub(T a, T b) { return static_cast<T>(a - b); }
template <class T>
constexpr T add_saturate(T a, T b) { return saturate<T>(a + b); }
template <class T>
constexpr T sub_saturate(T a, T b) { return saturate<T>(a - b); }
template <class T>
constexpr T mul_low(T a, T b) {
  using U = std::make_unsigned_t<T>;
  return static_cast<T>(static_cast<u64>(static_cast<U>(a)) * static_cast<U>(b));
}
// Twice as wide and no wider: GCC 12 vectorises the same with i64 for i16 wrongly (it takes high halves from low ones).
template <class T>
constexpr T mul_high(T a, T b) {
  static_assert(sizeof(T) == 2);
  using Wide = std::conditional_t<std::is_signed_v<T>, i32, u32>;
  return static_cast<T>(Wide{a} * Wide{b} >> 8 * sizeof(T));
}
template <class T>
constexpr T average(T a, T b) { return static_cast<T>((unsigned{a} + b + 1) >> 1); }
template <class T>
constexpr T min(T a, T b) { return b < a ? b : a; }
template <class T>
constexpr T max(T a, T b) { return a < b ? b : a; }
template <class T>
constexpr T equal(T a, T b) { return a == b ? static_cast<T>(-1) : T{0}; }
template <class T>
constexpr T greater(T a, T b) { return a > b ? static_cast<T>(-1) : T{0}; }
constexpr u64 and_bits(u64 a, u64 b) { return a & b; }
constexpr u64 andnot_bits(u64 a, u64 b) { return ~a & b; }
constexpr u64 or_bits(u64 a, u64 b) { return a | b; }
constexpr u64 xor_bits(u64 a, u64 b) { return a ^ b; }
/// The product of the low halves: unsigned 32 by 32 bits.
constexpr u64 mul_even(u64 a, u64 b) { return (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF); }
constexpr i64 mul_even_signed(i64 a, i64 b) { return i64{static_cast<i32>(a)} * static_cast<i32>(b); }
/// The sum of the products of the two signed halves; -32768 * -32768 twice wraps to 80000000h.
constexpr u32 mul_add(u32 a, u32 b) {
  const i32 low = i32{static_cast<i16>(a)} * static_cast<i16>(b);
  const i32 high = i32{static_cast<i16>(a >> 16)} * static_cast<i16>(b >> 16);
  return static_cast<u32>(low) + static_cast<u32>(high);
}
/// The same of unsigned bytes by signed bytes, with saturation.
constexpr u16 mul_add_bytes(u16 a, u16 b) {
  const int low = static_cast<u8>(a) * static_cast<i8>(b);
  const int high = static_cast<u8>(a >> 8) * static_cast<i8>(b >> 8);
  return static_cast<u16>(saturate<i16>(low + high));
}
/// The product as a fraction of 15 bits, rounded; -1 by -1 wraps.
constexpr i16 mul_rounded(i16 a, i16 b) { return static_cast<i16>(((i32{a} * b >> 14) + 1) >> 1); }
/// Of the lowest number it is itself.
template <class T>
constexpr T negate(T a) { return static_cast<T>(u32{0} - static_cast<u32>(a)); }
template <class T>
constexpr T magnitude(T a) { return a < 0 ? negate(a) : a; }
/// `a` with the sign of `b` applied: negated, 0 or unchanged.
template <class T>
constexpr T apply_sign(T a, T b) { return b < 0 ? negate(a) : b == 0 ? T{0} : a; }
/// The sum of the eight absolute differences of unsigned bytes.
constexpr u64 sum_differences(u64 a, u64 b) {
  u64 sum = 0;
  for (unsigned i = 0; i < 64; i += 8) {
    const int d = static_cast<int>(a >> i & 0xFF) - static_cast<int>(b >> i & 0xFF);
    sum += static_cast<u64>(d < 0 ? -d : d);
  }
  return sum;
}
}  // namespace lane

inline constexpr Lanewise<u8, lane::add<u8>> paddb;
inline constexpr Lanewise<u16, lane::add<u16>> paddw;
inline constexpr Lanewise<u32, lane::add<u32>> paddd;
inline constexpr Lanewise<u64, lane::add<u64>> paddq;
inline constexpr Lanewise<u8, lane::sub<u8>> psubb;
inline constexpr Lanewise<u16, lane::sub<u16>> psubw;
inline constexpr Lanewise<u32, lane::sub<u32>> psubd;
inline constexpr Lanewise<u64, lane::sub<u64>> psubq;
inline constexpr Lanewise<i8, lane::add_saturate<i8>> paddsb;
inline constexpr Lanewise<i16, lane::add_saturate<i16>> paddsw;
inline constexpr Lanewise<u8, lane::add_saturate<u8>> paddusb;
inline constexpr Lanewise<u16, lane::add_saturate<u16>> paddusw;
inline constexpr Lanewise<i8, lane::sub_saturate<i8>> psubsb;
inline constexpr Lanewise<i16, lane::sub_saturate<i16>> psubsw;
inline constexpr Lanewise<u8, lane::sub_saturate<u8>> psubusb;
inline constexpr Lanewise<u16, lane::sub_saturate<u16>> psubusw;
inline constexpr Lanewise<i16, lane::mul_low<i16>> pmullw;
inline constexpr Lanewise<i32, lane::mul_low<i32>> pmulld;
inline constexpr Lanewise<i16, lane::mul_high<i16>> pmulhw;
inline constexpr Lanewise<u16, lane::mul_high<u16>> pmulhuw;
inline constexpr Lanewise<u64, lane::mul_even> pmuludq;
inline constexpr Lanewise<i64, lane::mul_even_signed> pmuldq;
inline constexpr Lanewise<u32, lane::mul_add> pmaddwd;
inline constexpr Lanewise<u16, lane::mul_add_bytes> pmaddubsw;
inline constexpr Lanewise<i16, lane::mul_rounded> pmulhrsw;
inline constexpr Lanewise<u64, lane::sum_differences> psadbw;
inline constexpr Lanewise<u8, lane::average<u8>> pavgb;
inline constexpr Lanewise<u16, lane::average<u16>> pavgw;
inline constexpr Lanewise<u8, lane::min<u8>> pminub;
inline constexpr Lanewise<u8, lane::max<u8>> pmaxub;
inline constexpr Lanewise<i16, lane::min<i16>> pminsw;
inline constexpr Lanewise<i16, lane::max<i16>> pmaxsw;
inline constexpr Lanewise<i8, lane::min<i8>> pminsb;
inline constexpr Lanewise<u16, lane::min<u16>> pminuw;
inline constexpr Lanewise<i32, lane::min<i32>> pminsd;
inline constexpr Lanewise<u32, lane::min<u32>> pminud;
inline constexpr Lanewise<i8, lane::max<i8>> pmaxsb;
inline constexpr Lanewise<u16, lane::max<u16>> pmaxuw;
inline constexpr Lanewise<i32, lane::max<i32>> pmaxsd;
inline constexpr Lanewise<u32, lane::max<u32>> pmaxud;
inline constexpr Lanewise<u8, lane::equal<u8>> pcmpeqb;
inline constexpr Lanewise<u16, lane::equal<u16>> pcmpeqw;
inline constexpr Lanewise<u32, lane::equal<u32>> pcmpeqd;
inline constexpr Lanewise<u64, lane::equal<u64>> pcmpeqq;
inline constexpr Lanewise<i8, lane::greater<i8>> pcmpgtb;
inline constexpr Lanewise<i16, lane::greater<i16>> pcmpgtw;
inline constexpr Lanewise<i32, lane::greater<i32>> pcmpgtd;
inline constexpr Lanewise<i64, lane::greater<i64>> pcmpgtq;
inline constexpr LanewiseUnary<i8, lane::magnitude<i8>> pabsb;
inline constexpr LanewiseUnary<i16, lane::magnitude<i16>> pabsw;
inline constexpr LanewiseUnary<i32, lane::magnitude<i32>> pabsd;
inline constexpr Lanewise<i8, lane::apply_sign<i8>> psignb;
inline constexpr Lanewise<i16, lane::apply_sign<i16>> psignw;
inline constexpr Lanewise<i32, lane::apply_sign<i32>> psignd;
inline constexpr Lanewise<u64, lane::and_bits> pand;
inline constexpr Lanewise<u64, lane::andnot_bits> pandn;
inline constexpr Lanewise<u64, lane::or_bits> por;
inline constexpr Lanewise<u64, lane::xor_bits> pxor;

}  // namespace callgate::vec
