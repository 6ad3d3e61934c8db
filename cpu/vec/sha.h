// The SHA extensions: four rounds of SHA-1, two of SHA-256, and their message schedules. The first element of what FIPS 180
// counts up is in the highest lane for SHA-1 and in the lowest for SHA-256's messages.
// Ref: SDM 2B, SHA1RNDS4 and following; FIPS 180-4, Secure Hash Standard.
#pragma once

#include <bit>

#include "cpu/state.h"

namespace callgate::vec {

struct Sha1Rounds {
  V128 operator()(V128 state, V128 words, u8 round) const {
    constexpr u32 kConstants[4] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
    const u32 constant = kConstants[round & 3];
    u32 a = state.d[3], b = state.d[2], c = state.d[1], d = state.d[0], e = 0;  // E is in the first word already
    for (unsigned i = 0; i < 4; i++) {
      u32 f = b ^ c ^ d;
      if ((round & 3) == 0) f = (b & c) ^ (~b & d);
      if ((round & 3) == 2) f = (b & c) ^ (b & d) ^ (c & d);
      const u32 next = f + std::rotl(a, 5) + words.d[3 - i] + e + constant;
      e = d;
      d = c;
      c = std::rotl(b, 30);
      b = a;
      a = next;
    }
    return {.d = {d, c, b, a}};
  }
};
inline constexpr Sha1Rounds sha1rnds4;

struct Sha1NextE {
  V128 operator()(V128 state, V128 words) const {
    words.d[3] += std::rotl(state.d[3], 30);
    return words;
  }
};
inline constexpr Sha1NextE sha1nexte;

struct Sha1Message1 {
  V128 operator()(V128 a, V128 b) const {
    return {.d = {b.d[2] ^ a.d[0], b.d[3] ^ a.d[1], a.d[0] ^ a.d[2], a.d[1] ^ a.d[3]}};
  }
};
inline constexpr Sha1Message1 sha1msg1;

struct Sha1Message2 {
  V128 operator()(V128 a, V128 b) const {
    const u32 w16 = std::rotl(a.d[3] ^ b.d[2], 1), w17 = std::rotl(a.d[2] ^ b.d[1], 1);
    const u32 w18 = std::rotl(a.d[1] ^ b.d[0], 1), w19 = std::rotl(a.d[0] ^ w16, 1);
    return {.d = {w19, w18, w17, w16}};
  }
};
inline constexpr Sha1Message2 sha1msg2;

struct Sha256Rounds {
  V128 operator()(V128 cdgh, V128 abef, V128 words) const {
    u32 a = abef.d[3], b = abef.d[2], c = cdgh.d[3], d = cdgh.d[2];
    u32 e = abef.d[1], f = abef.d[0], g = cdgh.d[1], h = cdgh.d[0];
    for (unsigned i = 0; i < 2; i++) {
      const u32 choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
      const u32 sum1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
      const u32 sum0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
      const u32 t = choice + sum1 + words.d[i] + h;
      h = g;
      g = f;
      f = e;
      e = t + d;
      d = c;
      c = b;
      b = a;
      a = t + majority + sum0;
    }
    return {.d = {f, e, b, a}};
  }
};
inline constexpr Sha256Rounds sha256rnds2;

struct Sha256Message1 {
  V128 operator()(V128 a, V128 b) const {
    const auto sigma = [](u32 w) { return std::rotr(w, 7) ^ std::rotr(w, 18) ^ w >> 3; };
    return {.d = {a.d[0] + sigma(a.d[1]), a.d[1] + sigma(a.d[2]), a.d[2] + sigma(a.d[3]), a.d[3] + sigma(b.d[0])}};
  }
};
inline constexpr Sha256Message1 sha256msg1;

struct Sha256Message2 {
  V128 operator()(V128 a, V128 b) const {
    const auto sigma = [](u32 w) { return std::rotr(w, 17) ^ std::rotr(w, 19) ^ w >> 10; };
    const u32 w16 = a.d[0] + sigma(b.d[2]), w17 = a.d[1] + sigma(b.d[3]);
    return {.d = {w16, w17, a.d[2] + sigma(w16), a.d[3] + sigma(w17)}};
  }
};
inline constexpr Sha256Message2 sha256msg2;

}  // namespace callgate::vec
