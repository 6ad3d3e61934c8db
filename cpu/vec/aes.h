// One round of AES on each 128 bits: AESENC and relatives. The S-box is computed from its definition.
// Ref: FIPS 197, Advanced Encryption Standard; SDM 2A, AESENC, AESKEYGENASSIST.
#pragma once

#include <array>
#include <bit>

#include "cpu/vec/lanes.h"

namespace callgate::vec {

namespace aes {

/// The product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
constexpr u8 multiply(u8 a, u8 b) {
  unsigned product = 0, shifted = a;
  for (; b != 0; b >>= 1) {
    if (b & 1) product ^= shifted;
    shifted = shifted << 1 ^ (shifted & 0x80 ? 0x11B : 0);
  }
  return static_cast<u8>(product);
}

struct Tables {
  std::array<u8, 256> box{}, inverse_box{};
  std::array<u8, 256> by9{}, by11{}, by13{}, by14{};
};

/// The multiplicative inverse, then an affine map over GF(2): FIPS 197, 5.1.1.
constexpr Tables make_tables() {
  Tables t;
  for (unsigned x = 0; x < 256; x++) {
    u8 inverse = 1;  // x^254
    const u8 square = multiply(static_cast<u8>(x), static_cast<u8>(x));
    for (u8 power = square, n = 0; n < 7; n++, power = multiply(power, power)) inverse = multiply(inverse, power);
    const u8 y = static_cast<u8>(inverse ^ std::rotl(inverse, 1) ^ std::rotl(inverse, 2) ^ std::rotl(inverse, 3) ^
                                 std::rotl(inverse, 4) ^ 0x63);
    t.box[x] = y;
    t.inverse_box[y] = static_cast<u8>(x);
    t.by9[x] = multiply(static_cast<u8>(x), 9);
    t.by11[x] = multiply(static_cast<u8>(x), 11);
    t.by13[x] = multiply(static_cast<u8>(x), 13);
    t.by14[x] = multiply(static_cast<u8>(x), 14);
  }
  return t;
}
inline constexpr Tables kTables = make_tables();

/// ShiftRows and SubBytes, or their inverses (which commute). Byte i is row i % 4 of column i / 4.
template <bool Inverse, class V>
V substitute_shifted(V a) {
  V r;
  for (unsigned i = 0; i < sizeof(V); i++) {
    const unsigned row = i % 4, column = i / 4 % 4;
    const u8 from = get<u8>(a, i / 16 * 16 + 4 * ((Inverse ? column - row : column + row) & 3) + row);
    set<u8>(r, i, Inverse ? kTables.inverse_box[from] : kTables.box[from]);
  }
  return r;
}

template <class V>
V mix_columns(V a) {
  V r;
  for (unsigned i = 0; i < sizeof(V); i++) {
    const auto cell = [&](unsigned n) { return get<u8>(a, (i & ~3u) + ((i + n) & 3)); };
    const u8 sum = cell(0) ^ cell(1);
    const u8 twice = static_cast<u8>(sum << 1 ^ (sum & 0x80 ? 0x1B : 0));
    set<u8>(r, i, static_cast<u8>(twice ^ cell(1) ^ cell(2) ^ cell(3)));
  }
  return r;
}

template <class V>
V inverse_mix_columns(V a) {
  V r;
  for (unsigned i = 0; i < sizeof(V); i++) {
    const auto cell = [&](unsigned n) { return get<u8>(a, (i & ~3u) + ((i + n) & 3)); };
    set<u8>(r, i, static_cast<u8>(kTables.by14[cell(0)] ^ kTables.by11[cell(1)] ^ kTables.by13[cell(2)] ^ kTables.by9[cell(3)]));
  }
  return r;
}

template <class V>
V add_key(V a, V key) {
  for (unsigned i = 0; i < kLanes<u64, V>; i++) set<u64>(a, i, get<u64>(a, i) ^ get<u64>(key, i));
  return a;
}

}  // namespace aes

struct AesEncrypt {
  template <class V>
  V operator()(V a, V key) const {
    return aes::add_key(aes::mix_columns(aes::substitute_shifted<false>(a)), key);
  }
};
inline constexpr AesEncrypt aesenc;

struct AesEncryptLast {
  template <class V>
  V operator()(V a, V key) const {
    return aes::add_key(aes::substitute_shifted<false>(a), key);
  }
};
inline constexpr AesEncryptLast aesenclast;

struct AesDecrypt {
  template <class V>
  V operator()(V a, V key) const {
    return aes::add_key(aes::inverse_mix_columns(aes::substitute_shifted<true>(a)), key);
  }
};
inline constexpr AesDecrypt aesdec;

struct AesDecryptLast {
  template <class V>
  V operator()(V a, V key) const {
    return aes::add_key(aes::substitute_shifted<true>(a), key);
  }
};
inline constexpr AesDecryptLast aesdeclast;

struct AesInverseMix {
  template <class V>
  V operator()(V a) const {
    return aes::inverse_mix_columns(a);
  }
};
inline constexpr AesInverseMix aesimc;

/// AESKEYGENASSIST: what the key schedule needs of the second and the fourth word.
struct AesKeyAssist {
  template <class V>
  V operator()(V a, u8 round_constant) const {
    V r;
    for (unsigned half = 0; half < kLanes<u64, V>; half++) {
      u32 word = get<u32>(a, 2 * half + 1), substituted = 0;
      for (unsigned i = 0; i < 32; i += 8) substituted |= u32{aes::kTables.box[word >> i & 0xFF]} << i;
      set<u32>(r, 2 * half, substituted);
      set<u32>(r, 2 * half + 1, std::rotr(substituted, 8) ^ round_constant);
    }
    return r;
  }
};
inline constexpr AesKeyAssist aeskeygenassist;

/// PCLMULQDQ: the product of polynomials over GF(2), of one half of each operand's 128 bits by the immediate's bits 0 and 4.
struct CarrylessMultiply {
  template <class V>
  V operator()(V a, V b, u8 halves) const {
    V r;
    for (unsigned part = 0; part < kLanes<u64, V>; part += 2) {
      const u64 x = get<u64>(a, part + (halves & 1)), y = get<u64>(b, part + (halves >> 4 & 1));
      u64 low = 0, high = 0;
      for (unsigned i = 0; i < 64; i++) {
        const u64 mask = u64{0} - (y >> i & 1);
        low ^= x << i & mask;
        high ^= (i != 0 ? x >> (64 - i) : 0) & mask;
      }
      set<u64>(r, part, low);
      set<u64>(r, part + 1, high);
    }
    return r;
  }
};
inline constexpr CarrylessMultiply pclmulqdq;

}  // namespace callgate::vec
