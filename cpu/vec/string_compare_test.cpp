// PCMPESTRI and its relatives with every immediate, on strings of few letters, against the host's processor.
#include <doctest/doctest.h>

#include "cpu/semantics/host_features.h"
#include "cpu/vec/string_compare.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <array>
#include <cstring>
#include <random>
#include <utility>

using namespace callgate;

namespace {

/// What all six forms of the comparison gave.
struct Answers {
  V128 explicit_mask{}, implicit_mask{};
  u32 explicit_index = 0, implicit_index = 0;
  u32 explicit_flags = 0, implicit_flags = 0;
};
static_assert(sizeof(Answers) == 48, "no padding: answers are compared as bytes");

u32 flags(bool c, bool z, bool s, bool o) { return (c ? u32{kCF} : 0) | (z ? u32{kZF} : 0) | (s ? u32{kSF} : 0) | (o ? u32{kOF} : 0); }

template <u8 Control>
__attribute__((target("sse4.2"))) Answers ask_host(const V128& first, const V128& second, int la, int lb) {
  const __m128i a = _mm_load_si128(reinterpret_cast<const __m128i*>(&first));
  const __m128i b = _mm_load_si128(reinterpret_cast<const __m128i*>(&second));
  Answers r;
  r.explicit_index = static_cast<u32>(_mm_cmpestri(a, la, b, lb, Control));
  r.implicit_index = static_cast<u32>(_mm_cmpistri(a, b, Control));
  _mm_store_si128(reinterpret_cast<__m128i*>(&r.explicit_mask), _mm_cmpestrm(a, la, b, lb, Control));
  _mm_store_si128(reinterpret_cast<__m128i*>(&r.implicit_mask), _mm_cmpistrm(a, b, Control));
  r.explicit_flags = flags(_mm_cmpestrc(a, la, b, lb, Control), _mm_cmpestrz(a, la, b, lb, Control),
                           _mm_cmpestrs(a, la, b, lb, Control), _mm_cmpestro(a, la, b, lb, Control));
  r.implicit_flags = flags(_mm_cmpistrc(a, b, Control), _mm_cmpistrz(a, b, Control), _mm_cmpistrs(a, b, Control),
                           _mm_cmpistro(a, b, Control));
  return r;
}

using Asker = Answers (*)(const V128&, const V128&, int, int);
template <std::size_t... Control>
constexpr std::array<Asker, 256> askers(std::index_sequence<Control...>) {
  return {ask_host<static_cast<u8>(Control)>...};
}

Answers ask_us(const V128& a, const V128& b, i32 la, i32 lb, u8 control) {
  const vec::StringMatch e = vec::string_compare(a, b, vec::explicit_length(static_cast<u32>(la), control),
                                                 vec::explicit_length(static_cast<u32>(lb), control), control);
  const vec::StringMatch i = vec::string_compare(a, b, vec::implicit_length(a, control), vec::implicit_length(b, control), control);
  return {vec::string_mask(e.bits, control),  vec::string_mask(i.bits, control), vec::string_index(e.bits, control),
          vec::string_index(i.bits, control), e.flags,                           i.flags};
}

}  // namespace

TEST_CASE("string comparisons with every immediate equal the host's processor") {
  if (!test::host_has("sse4_2")) {
    MESSAGE("skipped: the host's processor has no SSE4.2");
    return;
  }
  constexpr std::array<Asker, 256> kAskers = askers(std::make_index_sequence<256>{});
  std::mt19937 random(42);
  constexpr u8 kLetters[] = {0, 1, 'a', 'b', 'c', 0x7F, 0x80, 0xFF};
  constexpr i32 kLengths[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, -1, -5, -16, -17, 0x7FFFFFFF, static_cast<i32>(0x80000000)};
  for (unsigned control = 0; control < 256; control++) {
    unsigned wrong = 0;
    for (unsigned n = 0; n < 2000; n++) {
      V128 a, b;
      const unsigned letters = 1 + random() % 8, first = random() % 8, step = control & 1 && random() % 2 ? 2 : 1;
      for (unsigned k = 0; k < 16; k++) {
        a.b[k] = k % step ? 0 : kLetters[(first + random() % letters) % 8];
        b.b[k] = k % step ? 0 : kLetters[(first + random() % letters) % 8];
      }
      const i32 la = kLengths[random() % std::size(kLengths)], lb = kLengths[random() % std::size(kLengths)];
      const Answers host = kAskers[control](a, b, la, lb), ours = ask_us(a, b, la, lb, static_cast<u8>(control));
      wrong += std::memcmp(&host, &ours, sizeof host) != 0;
    }
    CHECK_MESSAGE(wrong == 0, "immediate ", control, ": ", wrong, " of 2000 differ");
  }
}

#endif
