// Near jumps, calls, returns and loops: where they go, what they push, and what is left when they fault.
#include <doctest/doctest.h>

#include "cpu/semantics/test_cpu.h"

using namespace callgate;
using namespace callgate::test;

namespace {

std::optional<Fault> one(TestCpu& t, std::initializer_list<u8> code) {
  t.place(std::span<const u8>(code.begin(), code.size()));
  return t.step();
}

constexpr u64 kCode = TestCpu::kCode;

}  // namespace

TEST_CASE("every condition reads the flags that the manual gives it") {
  // SDM 2, Appendix B: O B Z BE S P L LE and their opposites.
  TestCpu t(Mode::Long64);
  for (u32 bits = 0; bits < 64; bits++) {
    const bool cf = bits & 1, pf = bits & 2, af = bits & 4, zf = bits & 8, sf = bits & 16, of = bits & 32;
    const bool expected[8] = {of, cf, zf, cf || zf, sf, pf, sf != of, zf || sf != of};
    for (unsigned cc = 0; cc < 16; cc++) {
      t.s().rip = kCode;
      t.s().flags.set_arithmetic(u32{cf} | u32{pf} << 2 | u32{af} << 4 | u32{zf} << 6 | u32{sf} << 7 | u32{of} << 11);
      CHECK(!one(t, {static_cast<u8>(0x70 | cc), 0x10}));
      CHECK(t.s().rip == kCode + 2 + (expected[cc / 2] != (cc & 1) ? 0x10 : 0));
    }
  }
}

TEST_CASE("a 16-bit jump in a 32-bit segment cuts the target") {
  TestCpu t(Mode::Protected32);
  CHECK(!one(t, {0x66, 0xE9, 0x00, 0x00}));
  CHECK(t.s().rip == ((kCode + 4) & 0xFFFF));
}

TEST_CASE("in 64-bit mode near branches ignore the operand size prefix") {
  TestCpu t(Mode::Long64);
  CHECK(!one(t, {0x66, 0xE8, 0x00, 0x01, 0x00, 0x00}));
  CHECK(t.s().rip == kCode + 6 + 0x100);
  CHECK(t.gpr(RSP) == 0x8FF8);
  CHECK(t.peek<u64>(0x8FF8) == kCode + 6);
}

TEST_CASE("CALL through a memory operand relative to RSP reads it before the push") {
  TestCpu t(Mode::Long64);
  t.poke<u64>(0x9000, 0x123456);
  CHECK(!one(t, {0xFF, 0x14, 0x24}));
  CHECK(t.s().rip == 0x123456);
  CHECK(t.peek<u64>(0x8FF8) == kCode + 3);
}

TEST_CASE("a CALL to a bad target pushes nothing") {
  TestCpu t(Mode::Long64);
  t.gpr(RAX) = u64{1} << 47;
  const auto fault = one(t, {0xFF, 0xD0});
  REQUIRE(fault);
  CHECK(fault->vector == Vector::GP);
  CHECK(t.gpr(RSP) == 0x9000);
  CHECK(t.peek<u64>(0x8FF8) == 0);
}

TEST_CASE("a RET to a bad target leaves the stack pointer") {
  TestCpu t(Mode::Protected32);
  t.s().seg[CS].limit = 0xFFFFF;
  t.cpu().refresh();
  t.poke<u32>(0x9000, 0x100000);
  const auto fault = one(t, {0xC3});
  REQUIRE(fault);
  CHECK(fault->vector == Vector::GP);
  CHECK(t.gpr(RSP) == 0x9000);
}

TEST_CASE("RET imm16 releases the arguments after the return address") {
  TestCpu t(Mode::Protected32);
  t.poke<u32>(0x9000, 0x4444);
  CHECK(!one(t, {0xC2, 0xF0, 0xFF}));
  CHECK(t.s().rip == 0x4444);
  CHECK(t.gpr(RSP) == 0x9004 + 0xFFF0);
}

TEST_CASE("LOOP counts the register of the address size") {
  TestCpu t(Mode::Protected32);
  t.gpr(RCX) = 0x10001;
  CHECK(!one(t, {0x67, 0xE2, 0x10}));
  CHECK(t.gpr(RCX) == 0x10000);
  CHECK(t.s().rip == kCode + 3);
  CHECK(!one(t, {0xE2, 0x10}));
  CHECK(t.gpr(RCX) == 0xFFFF);
  CHECK(t.s().rip == kCode + 3 + 2 + 0x10);
}

TEST_CASE("a LOOP that faults has not counted") {
  TestCpu t(Mode::Protected32);
  t.s().seg[CS].limit = kCode + 0x10;
  t.cpu().refresh();
  t.gpr(RCX) = 5;
  REQUIRE(one(t, {0xE2, 0x40}));
  CHECK(t.gpr(RCX) == 5);
}

TEST_CASE("LOOPE and LOOPNE also look at ZF") {
  TestCpu t(Mode::Long64);
  t.s().flags.set_zf(true);
  t.gpr(RCX) = 5;
  CHECK(!one(t, {0xE0, 0x10}));
  CHECK(t.s().rip == kCode + 2);
  CHECK(!one(t, {0xE1, 0x10}));
  CHECK(t.s().rip == kCode + 4 + 0x10);
  CHECK(t.gpr(RCX) == 3);
}

TEST_CASE("JECXZ looks at ECX alone") {
  TestCpu t(Mode::Long64);
  t.gpr(RCX) = u64{1} << 32;
  CHECK(!one(t, {0xE3, 0x10}));
  CHECK(t.s().rip == kCode + 2);
  CHECK(!one(t, {0x67, 0xE3, 0x10}));
  CHECK(t.s().rip == kCode + 5 + 0x10);
}
