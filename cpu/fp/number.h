// Formats and numbers taken apart: the traits of binary16/32/64 and of double-extended, unpacking, packing, NaNs.
// Internal to cpu/fp. Refuses to know: operations and rounding. Refs: SDM 1 ch. 4.2.2, 4.8.3, 8.2.2, 11.5.2.
#pragma once

#include <bit>

#include "cpu/fp/f80.h"

namespace callgate::fp {

/// Layout of a format. `Sig` is the working significand: its top bit is the integer bit, and below the format's
/// precision it has room for at least ten bits, so that one sticky bit at the bottom stands for everything that was
/// shifted out.
template <class F, class S, int precision, int exponent_bits>
struct FormatOf {
  using Sig = S;
  static constexpr int kWidth = sizeof(S) * 8;
  static constexpr int kPrecision = precision;
  static constexpr int kFieldMax = (1 << exponent_bits) - 1;
  static constexpr int kBias = kFieldMax >> 1;
  static constexpr int kEmax = kBias;
  static constexpr int kEmin = 1 - kBias;
};
template <class F>
struct Format;
template <>
struct Format<F16> : FormatOf<F16, u64, 11, 5> {};
template <>
struct Format<F32> : FormatOf<F32, u64, 24, 8> {};
template <>
struct Format<F64> : FormatOf<F64, u64, 53, 11> {};
template <>
struct Format<F80> : FormatOf<F80, u128, 64, 15> {};

template <class F>
using SigOf = typename Format<F>::Sig;
template <class F>
constexpr bool kIsX87 = std::is_same_v<F, F80>;

/// From here on `kind >= Kind::QuietNaN` means that no arithmetic is done.
enum class Kind : u8 { Finite, Zero, Infinity, QuietNaN, SignallingNaN, Unsupported };

/// A value taken apart: sig / 2^(width - 1) * 2^exponent, with the top bit of `sig` set. Zero has sig 0 and an exponent
/// below every other, so that addition needs no special case.
template <class Sig>
struct Number {
  Sig sig = 0;
  i32 exponent = 0;
  bool sign = false;
  Kind kind = Kind::Finite;
  bool denormal = false;  ///< the operand raises #D
};
constexpr i32 kZeroExponent = -(1 << 24);

inline int leading_zeros(u64 v) { return std::countl_zero(v); }
inline int leading_zeros(u128 v) {
  const u64 high = static_cast<u64>(v >> 64);
  return high != 0 ? std::countl_zero(high) : 64 + std::countl_zero(static_cast<u64>(v));
}

/// v >> n, with the lowest bit set when a one was shifted out. Any n >= 0.
template <class Sig>
constexpr Sig shift_right_sticky(Sig v, i32 n) {
  constexpr i32 width = sizeof(Sig) * 8;
  if (n == 0) return v;
  if (n >= width) return v != 0;
  return (v >> n) | static_cast<Sig>((v << (width - n)) != 0);
}

/// Between working significands of different width, the value kept (sticky where it gets narrower).
template <class To, class From>
constexpr To resize_sig(From sig) {
  constexpr int to = sizeof(To) * 8, from = sizeof(From) * 8;
  if constexpr (to == from) return sig;
  if constexpr (to > from) return static_cast<To>(sig) << (to - from);
  if constexpr (to < from) return static_cast<To>(sig >> (from - to)) | static_cast<To>((static_cast<To>(sig)) != 0);
}

/// Takes a value apart. `daz`: a denormal is a zero of its sign.
template <class F>
inline Number<SigOf<F>> unpack(F a, bool daz) {
  using T = Format<F>;
  Number<u64> n;
  constexpr int fraction_bits = T::kPrecision - 1;
  constexpr F fraction_mask = static_cast<F>((F{1} << fraction_bits) - 1);
  const int field = static_cast<int>(a >> fraction_bits) & T::kFieldMax;
  const u64 fraction = a & fraction_mask;
  n.sign = a >> (sizeof(F) * 8 - 1);
  n.sig = (u64{1} << 63) | (fraction << (64 - T::kPrecision));
  n.exponent = field - T::kBias;
  if (field != 0 && field != T::kFieldMax) [[likely]]
    return n;
  if (field == T::kFieldMax) {
    const bool quiet = fraction >> (fraction_bits - 1);
    n.kind = fraction == 0 ? Kind::Infinity : quiet ? Kind::QuietNaN : Kind::SignallingNaN;
  } else if (fraction == 0 || daz) {
    n.kind = Kind::Zero;
    n.sig = 0;
    n.exponent = kZeroExponent;
  } else {
    const int shift = std::countl_zero(fraction);
    n.sig = fraction << shift;
    n.exponent = T::kEmin - (shift - (64 - T::kPrecision));
    n.denormal = true;
  }
  return n;
}

template <>
inline Number<u128> unpack(F80 a, bool) {
  using T = Format<F80>;
  Number<u128> n;
  const int field = a.sign_exponent & T::kFieldMax;
  const bool integer_bit = a.significand >> 63;
  n.sign = a.sign_exponent >> 15;
  n.sig = static_cast<u128>(a.significand) << 64;
  n.exponent = field - T::kBias;
  if (field == 0) {
    // A pseudo-denormal has the integer bit set: the same exponent as a denormal, and #D too.
    n.denormal = a.significand != 0;
    const int shift = std::countl_zero(a.significand);
    n.sig <<= shift & 63;
    n.exponent = T::kEmin - shift;
    if (!n.denormal) {
      n.kind = Kind::Zero;
      n.exponent = kZeroExponent;
    }
  } else if (!integer_bit) {
    n.kind = Kind::Unsupported;  // unnormal, pseudo-infinity or pseudo-NaN
  } else if (field == T::kFieldMax) {
    const bool quiet = (a.significand >> 62) & 1;
    n.kind = a.significand << 1 == 0 ? Kind::Infinity : quiet ? Kind::QuietNaN : Kind::SignallingNaN;
  }
  return n;
}

/// Puts sign, exponent field and working significand together. The integer bit of `sig` is dropped where it is
/// implicit.
template <class F>
inline F pack(bool sign, int field, SigOf<F> sig) {
  using T = Format<F>;
  if constexpr (kIsX87<F>) {
    return {static_cast<u64>(sig >> 64), static_cast<u16>(sign << 15 | field)};
  } else {
    constexpr int fraction_bits = T::kPrecision - 1;
    const F fraction = static_cast<F>(static_cast<F>(sig << 1 >> (64 - fraction_bits)));
    return static_cast<F>(static_cast<F>(sign) << (sizeof(F) * 8 - 1) | static_cast<F>(field) << fraction_bits |
                          fraction);
  }
}

template <class F>
inline F zero(bool sign) {
  return pack<F>(sign, 0, 0);
}
template <class F>
inline F infinity(bool sign) {
  return pack<F>(sign, Format<F>::kFieldMax, SigOf<F>{1} << (Format<F>::kWidth - 1));
}
/// The NaN that answers a masked invalid operation: quiet, negative, no payload.
template <class F>
inline F default_nan() {
  return pack<F>(true, Format<F>::kFieldMax, SigOf<F>{3} << (Format<F>::kWidth - 2));
}
template <class F>
inline F one(bool sign) {
  return pack<F>(sign, Format<F>::kBias, SigOf<F>{1} << (Format<F>::kWidth - 1));
}

/// Sets a NaN's quiet bit.
template <class F>
inline F quieted(F nan) {
  if constexpr (kIsX87<F>) {
    return {nan.significand | u64{1} << 62, nan.sign_exponent};
  } else {
    return nan | static_cast<F>(F{1} << (Format<F>::kPrecision - 2));
  }
}

template <class F>
inline F invalid(Env& env) {
  env.flags |= kInvalid;
  return default_nan<F>();
}

/// Raises #D. True when it is unmasked: the operation ends before it computes anything.
[[nodiscard]] inline bool raise_denormal(Env& env) {
  env.flags |= kDenormal;
  return (env.masks & kDenormal) == 0;
}

/// The result when one of the operands is a NaN or unsupported; raises #I for a signalling one.
template <class F>
F propagate_nan(F a, Env& env) {
  const Kind kind = unpack(a, false).kind;
  if (kind == Kind::Unsupported) return invalid<F>(env);
  if (kind == Kind::SignallingNaN) env.flags |= kInvalid;
  return quieted(a);
}

template <class F>
F propagate_nan(F a, F b, Env& env) {
  const Kind x = unpack(a, false).kind, y = unpack(b, false).kind;
  if (x == Kind::Unsupported || y == Kind::Unsupported) return invalid<F>(env);
  if (x == Kind::SignallingNaN || y == Kind::SignallingNaN) env.flags |= kInvalid;
  if (y < Kind::QuietNaN) return quieted(a);
  if (x < Kind::QuietNaN) return quieted(b);
  if constexpr (kIsX87<F>) {
    // SDM 1 table 4-7: a quiet NaN before a signalling one; of two alike the larger significand, then the positive one.
    if (x != y) return x == Kind::QuietNaN ? a : b;
    if (a.significand != b.significand) return quieted(a.significand > b.significand ? a : b);
    return quieted(sign_of(a) ? b : a);
  } else {
    return quieted(a);  // the first source operand, signalling or not
  }
}

}  // namespace callgate::fp
