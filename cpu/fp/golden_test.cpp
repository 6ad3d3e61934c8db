// The same results on every host: digests of results and flags over fixed random operands. They were recorded on an
// x86-64 host where the hardware tests beside this file pass, so that hosts without an SSE unit and an x87 check as
// much.
#include <doctest/doctest.h>

#include <string>

#include "cpu/fp/hard_operands.h"

using namespace callgate;
using namespace callgate::fp;

namespace {

/// FNV-1a over 64-bit words.
class Digest {
 public:
  void add(u64 word) { value_ = (value_ ^ word) * 0x100000001B3; }
  void add(F80 value) {
    add(value.significand);
    add(u64{value.sign_exponent});
  }
  void add(const Env& env) { add(u64{env.flags} << 1 | u64{env.rounded_up}); }
  u64 value() const { return value_; }

 private:
  u64 value_ = 0xCBF29CE484222325;
};

Env random_environment(TestRandom& random) {
  Env env;
  env.round = static_cast<Round>(random.below(4));
  env.daz = random.below(4) == 0;
  env.ftz = random.below(4) == 0;
  constexpr u8 precisions[] = {24, 53, 64, 64};
  env.precision_bits = precisions[random.below(4)];
  if (random.below(8) == 0) env.masks = random.next() & 0x3F;
  return env;
}

/// Digest of `operation(a, b, c, env)` over `cases` operands of format F.
template <class F, class Operation>
u64 digest(int cases, Operation operation) {
  TestRandom random(2024);
  Digest digest;
  for (int i = 0; i < cases; i++) {
    const F a = random_operand<F>(random), b = random_operand<F>(random), c = random_operand<F>(random);
    Env env = random_environment(random);
    const auto result = operation(a, b, c, env);
    // SSE's results with an unmasked exception have no meaning, and the x87's are not delivered after these three.
    if (kIsX87<F> ? writes_register(env) : !unmasked(env)) digest.add(result);
    digest.add(env);
  }
  return digest.value();
}

template <class F>
void check_arithmetic(const u64 (&expected)[10]) {
  constexpr int cases = 20000;
  CHECK(digest<F>(cases, [](F a, F b, F, Env& e) { return add(a, b, e); }) == expected[0]);
  CHECK(digest<F>(cases, [](F a, F b, F, Env& e) { return sub(a, b, e); }) == expected[1]);
  CHECK(digest<F>(cases, [](F a, F b, F, Env& e) { return mul(a, b, e); }) == expected[2]);
  CHECK(digest<F>(cases, [](F a, F b, F, Env& e) { return div(a, b, e); }) == expected[3]);
  CHECK(digest<F>(cases, [](F a, F, F, Env& e) { return fp::sqrt(a, e); }) == expected[4]);
  CHECK(digest<F>(cases, [](F a, F, F, Env& e) { return round_to_integral(a, true, e); }) == expected[5]);
  CHECK(digest<F>(cases, [](F a, F b, F, Env& e) { return static_cast<u64>(compare(a, b, true, e)); }) == expected[6]);
  if constexpr (!kIsX87<F>) {
    CHECK(digest<F>(cases, [](F a, F b, F c, Env& e) { return fp::fma(a, b, c, e); }) == expected[7]);
    CHECK(digest<F>(cases, [](F a, F, F, Env& e) { return static_cast<u64>(to_i64(a, false, e)); }) == expected[8]);
    CHECK(digest<F>(cases, [](F a, F, F, Env& e) { return static_cast<u32>(to_i32(a, true, e)); }) == expected[9]);
  }
}

/// What the x87 has beyond arithmetic.
struct X87Golden {
  const char* name;
  F80 (*operation)(F80 a, F80 b, Env& env);
  u64 expected;
};

const X87Golden kX87[] = {
    {"scale", [](F80 a, F80 b, Env& e) { return scale(a, b, e); }, 0x2E22271987DAE880},
    {"prem", [](F80 a, F80 b, Env& e) { return prem(a, b, e).value; }, 0xF98F094295C9B9DD},
    {"prem1", [](F80 a, F80 b, Env& e) { return prem1(a, b, e).value; }, 0xFC09EB43DE309FAF},
    {"f2xm1", [](F80 a, F80, Env& e) { return f2xm1(a, e); }, 0x02E98B28204E12C4},
    {"fyl2x", [](F80 a, F80 b, Env& e) { return fyl2x(a, b, e); }, 0x88F386B88BF8E09E},
    {"fyl2xp1", [](F80 a, F80 b, Env& e) { return fyl2xp1(a, b, e); }, 0x45CBEDD41B2FC241},
    {"fpatan", [](F80 a, F80 b, Env& e) { return fpatan(a, b, e); }, 0x8C210861A7DF7615},
    {"fsin", [](F80 a, F80, Env& e) { return fsin(a, e).value; }, 0x6D808BD2DD1A7605},
    {"fcos", [](F80 a, F80, Env& e) { return fcos(a, e).value; }, 0x43A5E17ABDF05648},
    {"fptan", [](F80 a, F80, Env& e) { return fptan(a, e).value; }, 0x308525C06FE744C5},
    {"to f64",
     [](F80 a, F80, Env& e) {
       return F80{f80_to_f64(a, e), 0};
     },
     0xD8C46EB02D812A68},
    {"to bcd",
     [](F80 a, F80, Env& e) {
       const PackedBcd bcd = f80_to_bcd(a, e);
       return F80{bcd.low, bcd.high};
     },
     0x7AD29CA574E66672},
};

}  // namespace

TEST_CASE("binary32 arithmetic gives the same results on every host") {
  check_arithmetic<F32>({0x4B26791B9ECCFA97, 0x5D2886BFAE110336, 0x996C760AC6561C6B, 0x0C25C1F3CC28067C,
                         0xD98C6BAFA93DE40A, 0x2A83F2815287AE57, 0x5F20F00F8673FCC3, 0xB2D1E4BB5EEEAF5C,
                         0xFE77E32AC3C5C0ED, 0x687F37EF275C83F2});
}
TEST_CASE("binary64 arithmetic gives the same results on every host") {
  check_arithmetic<F64>({0x022507791B4711EB, 0xF2EB2215E9CC14C8, 0x9F9D5AF97098153B, 0x6991013CBB7E1879,
                         0xB0F30316DD3C7884, 0xE01B688522A5116A, 0x3269CE5894719544, 0xFE252686D581FBFE,
                         0xF08CEB639F0B89B2, 0xBF6B7EFED0EF4394});
}
TEST_CASE("double-extended arithmetic gives the same results on every host") {
  check_arithmetic<F80>({0x16C71883765667A3, 0xE4E1559D75DE32B7, 0xEB54C76C37643FAB, 0x7C4B94BC2A3533E7,
                         0xF681A0D5CDD9C76E, 0x5B44CFAF63500E5D, 0xC8AE9E728307B5B7});
}
TEST_CASE("the x87's own operations give the same results on every host") {
  for (const X87Golden& golden : kX87) {
    INFO(std::string(golden.name));
    CHECK(digest<F80>(4000, [&](F80 a, F80 b, F80, Env& e) { return golden.operation(a, b, e); }) == golden.expected);
  }
}
