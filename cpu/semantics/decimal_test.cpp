// Decimal adjustments: exhaustively against what they are for (arithmetic on digits), and the manual's examples.
#include <doctest/doctest.h>

#include "cpu/semantics/test_cpu.h"

using namespace callgate;
using namespace callgate::test;

namespace {
unsigned to_bcd(unsigned n) { return n / 10 << 4 | n % 10; }
}  // namespace

TEST_CASE("DAA and DAS make packed decimal sums and differences") {
  TestCpu t(Mode::Protected32);
  for (unsigned a = 0; a < 100; a++) {
    for (unsigned b = 0; b < 100; b++) {
      t.s().rip = TestCpu::kCode;
      t.gpr(RAX) = to_bcd(a);
      t.gpr(RBX) = to_bcd(b);
      REQUIRE(!t.run({0x00, 0xD8, 0x27}));  // add al, bl; daa
      CHECK(t.gpr(RAX) == to_bcd((a + b) % 100));
      CHECK(t.s().flags.cf() == (a + b >= 100));
      CHECK(t.s().flags.zf() == ((a + b) % 100 == 0));
      t.s().rip = TestCpu::kCode;
      t.gpr(RAX) = to_bcd(a);
      REQUIRE(!t.run({0x28, 0xD8, 0x2F}));  // sub al, bl; das
      CHECK(t.gpr(RAX) == to_bcd((a + 100 - b) % 100));
      CHECK(t.s().flags.cf() == (a < b));
    }
  }
}

TEST_CASE("the manual's examples of DAA and DAS") {
  TestCpu t(Mode::Protected32);
  t.gpr(RAX) = 0x79;
  t.gpr(RBX) = 0x35;
  REQUIRE(!t.run({0x00, 0xD8}));
  CHECK(t.gpr(RAX) == 0xAE);
  REQUIRE(!t.run({0x27}));
  CHECK(t.gpr(RAX) == 0x14);
  CHECK(t.s().flags.cf());
  CHECK(t.s().flags.af());
  t.gpr(RAX) = 0x35;
  t.gpr(RBX) = 0x47;
  REQUIRE(!t.run({0x28, 0xD8, 0x2F}));
  CHECK(t.gpr(RAX) == 0x88);
  CHECK(t.s().flags.cf());
  CHECK(t.s().flags.af());
}

TEST_CASE("AAA, AAS, AAM and AAD make unpacked decimals") {
  TestCpu t(Mode::Protected32);
  for (unsigned a = 0; a < 10; a++) {
    for (unsigned b = 0; b < 10; b++) {
      t.gpr(RBX) = b;
      t.gpr(RAX) = a;
      REQUIRE(!t.run({0x00, 0xD8, 0x37}));  // add al, bl; aaa
      CHECK(t.gpr(RAX) == ((a + b) / 10 << 8 | (a + b) % 10));
      CHECK(t.s().flags.cf() == (a + b >= 10));
      t.gpr(RAX) = 0x500 | a;
      REQUIRE(!t.run({0x28, 0xD8, 0x3F}));  // sub al, bl; aas
      CHECK(t.gpr(RAX) == (a >= b ? 0x500 | (a - b) : 0x400 | (a + 10 - b)));
      CHECK(t.s().flags.cf() == (a < b));
      t.gpr(RAX) = a * b;
      REQUIRE(!t.run({0xD4, 0x0A}));  // aam
      CHECK(t.gpr(RAX) == (a * b / 10 << 8 | a * b % 10));
      t.gpr(RAX) = a << 8 | b;
      REQUIRE(!t.run({0xD5, 0x0A}));  // aad
      CHECK(t.gpr(RAX) == a * 10 + b);
    }
  }
}

TEST_CASE("AAM with the base 0 is #DE and changes nothing") {
  TestCpu t(Mode::Protected32);
  t.gpr(RAX) = 0x1234;
  const auto fault = t.run({0xD4, 0x00});
  REQUIRE(fault);
  CHECK(fault->vector == Vector::DE);
  CHECK(t.gpr(RAX) == 0x1234);
}

TEST_CASE("IDIV of the smallest dividend by -1 is #DE in every width") {
  TestCpu t(Mode::Long64);
  for (const unsigned width : {1u, 2u, 4u, 8u}) {
    t.gpr(RAX) = width == 1 ? 0xFF80 : u64{1} << (8 * width - 1);
    t.gpr(RDX) = ~u64{0};
    t.gpr(RBX) = ~u64{0};
    std::vector<u8> code;
    if (width == 2) code.push_back(0x66);
    if (width == 8) code.push_back(0x48);
    code.push_back(width == 1 ? 0xF6 : 0xF7);
    code.push_back(0xFB);
    const auto fault = t.run(code);
    REQUIRE(fault);
    CHECK(fault->vector == Vector::DE);
  }
}
