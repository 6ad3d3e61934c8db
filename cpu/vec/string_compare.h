// PCMPESTRI and its relatives: every element of one string against every element of another.
// Ref: SDM 1, 14.5.8 "String and Text Processing Instructions"; SDM 2B, Imm8 Control Byte Operation for PCMPESTRI...
#pragma once

#include <algorithm>
#include <bit>

#include "cpu/flags.h"
#include "cpu/state.h"
#include "cpu/vec/lanes.h"

namespace callgate::vec {

/// The immediate.
struct StringControl {
  u8 bits;
  bool words() const { return bits & 1; }
  bool is_signed() const { return bits & 2; }
  enum Aggregation : u8 { EqualAny, Ranges, EqualEach, EqualOrdered };
  Aggregation aggregation() const { return static_cast<Aggregation>(bits >> 2 & 3); }
  bool negated() const { return bits & 0x10; }
  bool valid_only() const { return bits & 0x20; }  ///< negation leaves bits beyond the string's end alone
  bool last() const { return bits & 0x40; }        ///< the index of the last bit; a mask of elements, not of bits
  unsigned elements() const { return words() ? 8 : 16; }
};

/// A string's length in elements, no more than a register has: by its first zero...
struct ImplicitLength {
  u32 operator()(V128 a, u8 control) const {
    const StringControl k{control};
    u32 n = 0;
    while (n < k.elements() && (k.words() ? a.w[n] : a.b[n]) != 0) n++;
    return n;
  }
};
inline constexpr ImplicitLength implicit_length;

/// ...or by the magnitude of the number in a general register.
struct ExplicitLength {
  template <class T>
  u32 operator()(T length, u8 control) const {
    const u64 v = sign_extend(length, 8 * sizeof(T));
    return static_cast<u32>(std::min<u64>(static_cast<i64>(v) < 0 ? u64{0} - v : v, StringControl{control}.elements()));
  }
};
inline constexpr ExplicitLength explicit_length;

/// What a comparison found: a bit for each element of the second string, and the flags.
struct StringMatch {
  u32 bits;
  u32 flags;
};

struct StringCompare {
  StringMatch operator()(V128 a, V128 b, u32 a_length, u32 b_length, u8 control) const {
    const StringControl k{control};
    const unsigned n = k.elements();
    const auto element = [&](const V128& v, unsigned i) -> i32 {
      if (k.words()) return k.is_signed() ? static_cast<i16>(v.w[i]) : i32{v.w[i]};
      return k.is_signed() ? static_cast<i8>(v.b[i]) : i32{v.b[i]};
    };
    const auto equal = [&](unsigned i, unsigned j) { return element(a, i) == element(b, j); };
    u32 bits = 0;
    for (unsigned j = 0; j < n; j++) {
      bool found = false;
      switch (k.aggregation()) {
        case StringControl::EqualAny:
          for (unsigned i = 0; i < a_length && j < b_length; i++) found |= equal(i, j);
          break;
        case StringControl::Ranges:  // pairs of bounds; one without its partner counts for nothing
          for (unsigned i = 0; i + 1 < a_length && j < b_length; i += 2)
            found |= element(a, i) <= element(b, j) && element(b, j) <= element(a, i + 1);
          break;
        case StringControl::EqualEach:
          found = j < a_length && j < b_length ? equal(j, j) : j >= a_length && j >= b_length;
          break;
        case StringControl::EqualOrdered:  // the first string at this place of the second, as far as the register goes
          found = true;
          for (unsigned i = 0; i < a_length && i + j < n; i++) found &= i + j < b_length && equal(i, i + j);
          break;
      }
      bits |= u32{found} << j;
    }
    if (k.negated()) bits ^= k.valid_only() ? (1u << b_length) - 1 : (1u << n) - 1;
    const u32 flags = (bits != 0 ? u32{kCF} : 0) | (b_length < n ? u32{kZF} : 0) | (a_length < n ? u32{kSF} : 0) |
                      (bits & 1 ? u32{kOF} : 0);
    return {bits, flags};
  }
};
inline constexpr StringCompare string_compare;

/// PCMPESTRI's result: the place of the first or last bit, or the number of elements when there is none.
struct StringIndex {
  u32 operator()(u32 bits, u8 control) const {
    const StringControl k{control};
    if (bits == 0) return k.elements();
    return static_cast<u32>(k.last() ? std::bit_width(bits) - 1 : std::countr_zero(bits));
  }
};
inline constexpr StringIndex string_index;

/// PCMPESTRM's result: the bits themselves, or all bits of each element.
struct StringMask {
  V128 operator()(u32 bits, u8 control) const {
    const StringControl k{control};
    V128 r{};
    if (!k.last()) {
      r.d[0] = bits;
    } else {
      for (unsigned i = 0; i < k.elements(); i++) {
        if (!(bits >> i & 1)) continue;
        if (k.words()) r.w[i] = 0xFFFF;
        else r.b[i] = 0xFF;
      }
    }
    return r;
  }
};
inline constexpr StringMask string_mask;

struct SetStringFlags {
  void operator()(u32 flags, Flags& f) const { f.set_arithmetic(flags); }
};
inline constexpr SetStringFlags set_string_flags;

}  // namespace callgate::vec
