// The REP rule (string_work.h), faults in the middle, segments and modes. What an iteration does is string_hardware_test's.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "cpu/semantics/test_cpu.h"

using namespace callgate;
using namespace callgate::test;

namespace {

/// Runs the instruction at RIP until it is done; returns the steps.
unsigned steps(TestCpu& t, std::span<const u8> code) {
  const u64 before = t.s().retired;
  REQUIRE(!t.run(code));
  return static_cast<unsigned>(t.s().retired - before);
}
unsigned steps(TestCpu& t, std::initializer_list<u8> code) { return steps(t, std::span<const u8>(code.begin(), code.size())); }

constexpr u64 kPage = 0x200000;  // an address with room on all sides

}  // namespace

TEST_CASE("a REP step ends at the page boundary of its destination") {
  TestCpu t(Mode::Long64);
  t.gpr(RDI) = kPage + 0xF00;
  t.gpr(RCX) = 0x2200;
  t.place(std::array<u8, 2>{0xF3, 0xAA});
  CHECK(!t.step());
  CHECK(t.gpr(RCX) == 0x2100);
  CHECK(t.gpr(RDI) == kPage + 0x1000);
  CHECK(t.s().rip == TestCpu::kCode);
  CHECK(!t.step());
  CHECK(t.gpr(RCX) == 0x1100);
  CHECK(!t.step());
  CHECK(t.s().rip == TestCpu::kCode);
  CHECK(!t.step());
  CHECK(t.gpr(RCX) == 0);
  CHECK(t.s().rip == TestCpu::kCode + 2);
  CHECK(t.s().retired == 4);
}

TEST_CASE("a REP step ends at the nearer page boundary of source and destination") {
  TestCpu t(Mode::Long64);
  t.gpr(RSI) = kPage + 0xFF0;
  t.gpr(RDI) = kPage + 0x10FE0;
  t.gpr(RCX) = 0x40;
  CHECK(steps(t, {0xF3, 0xA4}) == 3);  // 0x10 to the source's, 0x10 to the destination's, the rest
}

TEST_CASE("going down, a REP step ends below the page's first element") {
  TestCpu t(Mode::Long64);
  t.s().flags.assign(kDF, true);
  t.gpr(RDI) = kPage + 8;
  t.gpr(RCX) = 4;
  t.gpr(RAX) = ~u64{0};
  t.place(std::array<u8, 3>{0xF3, 0x48, 0xAB});
  CHECK(!t.step());
  CHECK(t.gpr(RCX) == 2);
  CHECK(t.gpr(RDI) == kPage - 8);
}

TEST_CASE("an element across a page boundary is a step of its own") {
  TestCpu t(Mode::Long64);
  t.gpr(RDI) = kPage + 0xFFC - 16;
  t.gpr(RCX) = 4;
  CHECK(steps(t, {0xF3, 0x48, 0xAB}) == 3);  // two before, the one across, the one after
}

TEST_CASE("REP with rCX = 0 retires one instruction and does nothing else") {
  TestCpu t(Mode::Long64);
  t.gpr(RCX) = u64{1} << 32;  // ECX is 0
  t.gpr(RDI) = 1;
  CHECK(steps(t, {0x67, 0xF3, 0xAB}) == 1);
  CHECK(t.gpr(RCX) == u64{1} << 32);
  CHECK(t.gpr(RDI) == 1);
}

TEST_CASE("with TF set a step is one iteration") {
  TestCpu t(Mode::Long64);
  t.s().flags.assign(kTF, true);
  t.gpr(RDI) = kPage;
  t.gpr(RCX) = 5;
  CHECK(steps(t, {0xF3, 0xAA}) == 5);
}

TEST_CASE("a step into a page with decoded code or page tables is as long as any other") {
  TestCpu t(Mode::Long64);
  t.memory().mark_code(kPage >> kPageShift);
  t.gpr(RDI) = kPage;
  t.gpr(RSI) = kPage + 0x10000;
  t.gpr(RCX) = 100;
  CHECK(steps(t, {0xF3, 0xA4}) == 1);
  t.s().rip = TestCpu::kCode;
  t.gpr(RCX) = 100;
  t.gpr(RAX) = 0x55;
  CHECK(steps(t, {0xF3, 0xAA}) == 1);
  CHECK(t.peek<u8>(kPage + 199) == 0x55);
}

TEST_CASE("REP MOVS and STOS leave the same in a page with decoded code as in any other, down and over their source, too") {
  std::mt19937_64 random(5);
  for (unsigned n = 0; n < 400; n++) {
    const unsigned size = 1 << random() % 4;
    const bool down = random() % 2 != 0, stos = random() % 3 == 0;
    const u64 to = random() % (kPageSize - 8), from = random() % 2 ? to + random() % 64 : random() % (3 * kPageSize);
    std::vector<u8> code = {0xF3};
    if (size == 2) code.insert(code.begin(), 0x66);
    if (size == 8) code.push_back(0x48);
    code.push_back(static_cast<u8>((stos ? 0xAA : 0xA4) | (size != 1)));
    std::vector<u8> left[2];
    unsigned took[2];
    for (const bool decoded : {false, true}) {
      TestCpu t(Mode::Long64);
      for (u64 k = 0; k < 3 * kPageSize; k += 8) t.poke<u64>(kPage + k, k * 0x9E3779B97F4A7C15);
      if (decoded) t.memory().mark_code((kPage + kPageSize) >> kPageShift);
      t.s().flags.assign(kDF, down);
      t.gpr(RDI) = kPage + kPageSize + to;
      t.gpr(RSI) = kPage + from;
      t.gpr(RAX) = 0x1122334455667788;
      t.gpr(RCX) = 1 + (down ? to : kPageSize - to) / size * (n % 4 + 1) / 4;
      took[decoded] = steps(t, code);
      for (u64 k = 0; k < 3 * kPageSize; k++) left[decoded].push_back(t.peek<u8>(kPage + k));
      CHECK(t.gpr(RCX) == 0);
    }
    CHECK_MESSAGE(left[0] == left[1], "case ", n);
    CHECK(took[0] == took[1]);
  }
}

TEST_CASE("outside of RAM a step is one iteration") {
  TestCpu t(Mode::Long64);
  t.gpr(RDI) = TestCpu::kRamSize + 0x1000;
  t.gpr(RCX) = 7;
  CHECK(steps(t, {0xF3, 0xAA}) == 7);
}

TEST_CASE("SCAS and CMPS end a step when they are done") {
  TestCpu t(Mode::Long64);
  t.poke<u8>(kPage + 9, 1);
  t.gpr(RDI) = kPage;
  t.gpr(RCX) = ~u64{0};
  t.gpr(RAX) = 1;
  CHECK(steps(t, {0xF2, 0xAE}) == 1);
  CHECK(t.gpr(RDI) == kPage + 10);
  CHECK(t.gpr(RCX) == ~u64{10});
  CHECK(t.s().flags.zf());
}

TEST_CASE("a fault in a REP leaves the iterations before it done") {
  TestCpu t(Mode::Protected32);
  t.s().seg[ES].limit = kPage + 0x9FF;
  t.cpu().refresh();
  t.gpr(RAX) = 0x77;
  t.gpr(RDI) = kPage + 0x900;
  t.gpr(RCX) = 0x1000;
  t.place(std::array<u8, 2>{0xF3, 0xAA});
  CHECK(!t.step());
  CHECK(t.gpr(RCX) == 0xF00);
  const auto fault = t.step();
  REQUIRE(fault);
  CHECK(fault->vector == Vector::GP);
  CHECK(t.gpr(RDI) == kPage + 0xA00);
  CHECK(t.gpr(RCX) == 0xF00);
  CHECK(t.s().rip == TestCpu::kCode);
  CHECK(t.peek<u8>(kPage + 0x9FF) == 0x77);
  CHECK(t.peek<u8>(kPage + 0xA00) == 0);
}

TEST_CASE("a 16-bit index wraps in the middle of a page") {
  TestCpu t(Mode::Real);
  t.s().seg[ES].base = 0x20010;
  t.gpr(RDI) = 0x12340000 | 0xFFFE;
  t.gpr(RCX) = 0xABCD0004;
  t.gpr(RAX) = 0x99;
  CHECK(steps(t, {0xF3, 0xAA}) == 2);
  CHECK(t.gpr(RDI) == (0x12340000 | 2));
  CHECK(t.gpr(RCX) == 0xABCD0000);
  CHECK(t.peek<u8>(0x20010 + 0xFFFF) == 0x99);
  CHECK(t.peek<u8>(0x20010 + 1) == 0x99);
  CHECK(t.peek<u8>(0x20010 + 2) == 0);
}

TEST_CASE("the source takes a segment override, the destination does not") {
  TestCpu t(Mode::Protected32);
  t.s().seg[FS].base = 0x1000;
  t.s().seg[DS].base = 0x2000;
  t.cpu().refresh();
  t.poke<u8>(kPage + 0x1000, 5);
  t.gpr(RSI) = kPage;
  t.gpr(RDI) = kPage + 0x100;
  CHECK(steps(t, {0x64, 0xA4}) == 1);
  CHECK(t.peek<u8>(kPage + 0x100) == 5);
}

TEST_CASE("INS and OUTS are one port access a step") {
  TestCpu t(Mode::Real);
  t.gpr(RDX) = 0x1F0;
  t.gpr(RDI) = 0x500;
  t.gpr(RCX) = 3;
  t.platform.next_read = 0x1234;
  CHECK(steps(t, {0xF3, 0x6D}) == 3);
  CHECK(t.peek<u16>(0x500) == 0x1234);
  CHECK(t.peek<u16>(0x504) == 0x1236);
  t.gpr(RSI) = 0x502;
  t.gpr(RCX) = 2;
  CHECK(steps(t, {0xF3, 0x6E}) == 2);
  REQUIRE(t.platform.written.size() == 2);
  CHECK(t.platform.written[0].port == 0x1F0);
  CHECK(t.platform.written[0].size == 1);
  CHECK(t.platform.written[0].value == 0x35);
  CHECK(t.platform.written[1].value == 0x12);
}

TEST_CASE("INS does not read the port when the destination faults") {
  TestCpu t(Mode::Protected32);
  t.s().seg[ES].limit = 0xFFF;
  t.cpu().refresh();
  t.gpr(RDI) = 0x1000;
  t.place(std::array<u8, 1>{0x6C});
  REQUIRE(t.step());
  CHECK(t.platform.next_read == 0);
}
