// What the host's processor can't show a 64-bit user program: other modes and privilege levels. The expectations are the
// manual's (SDM 2, the instruction's own pages).
#include <doctest/doctest.h>

#include "cpu/semantics/test_cpu.h"

using namespace callgate;
using namespace callgate::test;

namespace {

void expect_fault(const std::optional<Fault>& fault, Vector vector) {
  REQUIRE(fault);
  CHECK(fault->vector == vector);
}

/// Protected mode at CPL 3 with an IOPL.
void to_user(TestCpu& t, unsigned iopl, u64 cr4 = 0) {
  CpuState& s = t.s();
  s.cpl = 3;
  s.cr4 = cr4;
  s.flags.set_value((s.flags.value() & ~u32{kIOPL}) | iopl << 12);
  t.cpu().refresh();
}

}  // namespace

TEST_CASE("XCHG eAX,eAX keeps the upper half as 90 and clears it as 87 C0") {
  TestCpu t(Mode::Long64);
  t.gpr(RAX) = ~u64{0};
  CHECK(!t.run({0x90}));
  CHECK(t.gpr(RAX) == ~u64{0});
  CHECK(!t.run({0x87, 0xC0}));
  CHECK(t.gpr(RAX) == 0xFFFFFFFF);
}

TEST_CASE("POP computes its memory operand's address after the pop") {
  TestCpu t(Mode::Protected32);
  t.poke<u32>(0x9000, 0x11223344);
  CHECK(!t.run({0x8F, 0x44, 0x24, 0x08}));  // pop dword [esp+8]
  CHECK(t.gpr(RSP) == 0x9004);
  CHECK(t.peek<u32>(0x900C) == 0x11223344);
}

TEST_CASE("a POP to memory that faults leaves the stack pointer") {
  TestCpu t(Mode::Protected32);
  t.s().seg[DS].limit = 0xFFF;
  t.cpu().refresh();
  t.gpr(RBX) = 0x2000;
  expect_fault(t.run({0x8F, 0x03}), Vector::GP);
  CHECK(t.gpr(RSP) == 0x9000);
}

TEST_CASE("PUSH and POP of the stack pointer use the value before and the value popped") {
  TestCpu t(Mode::Protected32);
  CHECK(!t.run({0x54}));
  CHECK(t.peek<u32>(0x8FFC) == 0x9000);
  t.poke<u32>(0x8FFC, 0x4000);
  CHECK(!t.run({0x5C}));
  CHECK(t.gpr(RSP) == 0x4000);
}

TEST_CASE("a 16-bit stack keeps the upper part of ESP") {
  TestCpu t(Mode::Real);
  t.gpr(RSP) = 0xABCD0000;
  t.gpr(RAX) = 0x5678;
  CHECK(!t.run({0x50}));
  CHECK(t.gpr(RSP) == 0xABCDFFFE);
  CHECK(t.peek<u16>(0xFFFE) == 0x5678);
}

TEST_CASE("PUSHA stores the old stack pointer and POPA skips it") {
  TestCpu t(Mode::Protected32);
  for (unsigned r = 0; r < 8; r++)
    if (r != RSP) t.gpr(r) = 0x100 + r;
  CHECK(!t.run({0x60}));
  CHECK(t.gpr(RSP) == 0x9000 - 32);
  CHECK(t.peek<u32>(0x8FFC) == 0x100 + RAX);
  CHECK(t.peek<u32>(0x8FEC) == 0x9000);
  CHECK(t.peek<u32>(0x8FE0) == 0x100 + RDI);
  for (unsigned r = 0; r < 8; r++)
    if (r != RSP) t.gpr(r) = 0;
  CHECK(!t.run({0x61}));
  CHECK(t.gpr(RSP) == 0x9000);
  CHECK(t.gpr(RDI) == 0x100 + RDI);
  CHECK(t.gpr(RAX) == 0x100 + RAX);
}

TEST_CASE("PUSHA writes nothing when one of its places faults") {
  TestCpu t(Mode::Protected32);
  t.s().seg[SS].rights |= 4;  // expand-down
  t.s().seg[SS].limit = 0x8FEF;
  t.cpu().refresh();
  t.gpr(RAX) = 0x77;
  expect_fault(t.run({0x60}), Vector::SS);
  CHECK(t.gpr(RSP) == 0x9000);
  CHECK(t.peek<u32>(0x8FFC) == 0);
}

TEST_CASE("ENTER copies the display of outer frames and LEAVE drops the frame") {
  TestCpu t(Mode::Protected32);
  t.gpr(RBP) = 0x9100;
  t.poke<u32>(0x90FC, 0xAAAA);
  t.poke<u32>(0x90F8, 0xBBBB);
  CHECK(!t.run({0xC8, 0x20, 0x00, 0x03}));
  CHECK(t.peek<u32>(0x8FFC) == 0x9100);
  CHECK(t.peek<u32>(0x8FF8) == 0xAAAA);
  CHECK(t.peek<u32>(0x8FF4) == 0xBBBB);
  CHECK(t.peek<u32>(0x8FF0) == 0x8FFC);
  CHECK(t.gpr(RBP) == 0x8FFC);
  CHECK(t.gpr(RSP) == 0x8FF0 - 0x20);
  CHECK(!t.run({0xC9}));
  CHECK(t.gpr(RBP) == 0x9100);
  CHECK(t.gpr(RSP) == 0x9000);
}

TEST_CASE("ENTER uses its level modulo 32") {
  TestCpu t(Mode::Protected32);
  CHECK(!t.run({0xC8, 0x10, 0x00, 0x20}));
  CHECK(t.gpr(RSP) == 0x9000 - 4 - 0x10);
}

TEST_CASE("BOUND raises #BR outside of signed bounds") {
  TestCpu t(Mode::Protected32);
  t.poke<u32>(0x4000, static_cast<u32>(-5));
  t.poke<u32>(0x4004, 10);
  t.gpr(RBX) = 0x4000;
  for (const i32 good : {-5, 0, 10}) {
    t.gpr(RAX) = static_cast<u32>(good);
    CHECK(!t.run({0x62, 0x03}));
  }
  for (const i32 bad : {-6, 11}) {
    t.gpr(RAX) = static_cast<u32>(bad);
    expect_fault(t.run({0x62, 0x03}), Vector::BR);
  }
}

TEST_CASE("CLI and STI follow IOPL, PVI and VME") {
  for (const Mode mode : {Mode::Protected32, Mode::V86}) {
    const u64 extension = mode == Mode::V86 ? kCr4Vme : kCr4Pvi;
    TestCpu t(mode);
    to_user(t, 3);
    CHECK(!t.run({0xFB}));
    CHECK(t.s().flags.test(kIF));
    CHECK(t.s().sti_shadow);
    CHECK(!t.run({0xFA}));
    CHECK_FALSE(t.s().flags.test(kIF));
    to_user(t, 2);
    expect_fault(t.run({0xFA}), Vector::GP);
    expect_fault(t.run({0xFB}), Vector::GP);
    to_user(t, 2, extension);
    CHECK(!t.run({0xFB}));
    CHECK(t.s().flags.test(kVIF));
    CHECK_FALSE(t.s().flags.test(kIF));
    CHECK(!t.run({0xFA}));
    CHECK_FALSE(t.s().flags.test(kVIF));
    t.s().flags.assign(kVIP, true);
    expect_fault(t.run({0xFB}), Vector::GP);
  }
}

TEST_CASE("STI has a shadow only when it sets IF") {
  TestCpu t(Mode::Protected32);
  CHECK(!t.run({0xFB}));
  CHECK(t.s().sti_shadow);
  t.s().sti_shadow = false;
  CHECK(!t.run({0xFB}));
  CHECK_FALSE(t.s().sti_shadow);
}

TEST_CASE("POPF changes what the privilege level may change") {
  const u32 all = 0xFFFFFFFF & ~u32{kTF};
  const auto popf = [&](unsigned cpl, unsigned iopl) {
    TestCpu t(Mode::Protected32);
    t.s().cpl = static_cast<u8>(cpl);
    t.s().flags.set_value(kFlagsFixed | iopl << 12);
    t.cpu().refresh();
    t.poke<u32>(0x9000, all);
    CHECK(!t.run({0x9D}));
    return t.s().flags.value();
  };
  const u32 common = kFlagsFixed | kArithmetic | kDF | kNT | kAC | kID;
  CHECK(popf(0, 0) == (common | kIF | kIOPL));
  CHECK(popf(3, 0) == common);
  CHECK(popf(3, 3) == (common | kIF | kIOPL));
  CHECK(popf(1, 0) == common);
}

TEST_CASE("a 16-bit POPF leaves the upper flags") {
  TestCpu t(Mode::Protected32);
  t.s().flags.set_value(kFlagsFixed | kID | kAC);
  t.poke<u16>(0x9000, kCF);
  CHECK(!t.run({0x66, 0x9D}));
  CHECK(t.s().flags.value() == (kFlagsFixed | kID | kAC | kCF));
}

TEST_CASE("PUSHF and POPF in virtual-8086 mode") {
  TestCpu t(Mode::V86);
  to_user(t, 0);
  expect_fault(t.run({0x9C}), Vector::GP);
  expect_fault(t.run({0x9D}), Vector::GP);
  SUBCASE("with VME show and set VIF in IF's place") {
    to_user(t, 0, kCr4Vme);
    t.s().flags.assign(kVIF, true);
    CHECK(!t.run({0x9C}));
    CHECK(t.peek<u16>(0x8FFE) == (kFlagsFixed | kIF | kIOPL));
    t.poke<u16>(0x8FFE, kCF);
    CHECK(!t.run({0x9D}));
    CHECK_FALSE(t.s().flags.test(kVIF));
    CHECK(t.s().flags.cf());
    CHECK(t.s().flags.iopl() == 0);
    expect_fault(t.run({0x66, 0x9C}), Vector::GP);
  }
  SUBCASE("with VME refuse to set TF, and VIF while VIP waits") {
    to_user(t, 0, kCr4Vme);
    t.poke<u16>(0x9000, kTF);
    expect_fault(t.run({0x9D}), Vector::GP);
    t.poke<u16>(0x9000, kIF);
    t.s().flags.assign(kVIP, true);
    expect_fault(t.run({0x9D}), Vector::GP);
    CHECK(t.gpr(RSP) == 0x9000);
  }
  SUBCASE("with IOPL 3 are like any other") {
    to_user(t, 3);
    t.poke<u16>(0x9000, kIF);
    CHECK(!t.run({0x9D}));
    CHECK(t.s().flags.test(kIF));
    CHECK(t.s().flags.iopl() == 3);
    CHECK(!t.run({0x66, 0x9C}));
    CHECK(t.peek<u32>(0x8FFE) == (kFlagsFixed | kIF | kIOPL));  // VM is not shown
  }
}

TEST_CASE("CMPXCHG16B needs an aligned operand; CMPXCHG8B does not") {
  TestCpu t(Mode::Long64);
  t.gpr(RSI) = 0x4008;
  expect_fault(t.run({0x48, 0x0F, 0xC7, 0x0E}), Vector::GP);
  t.gpr(RAX) = t.gpr(RDX) = 0;
  t.gpr(RBX) = 1;
  CHECK(!t.run({0x0F, 0xC7, 0x0E}));
  CHECK(t.peek<u64>(0x4008) == 1);
}

TEST_CASE("a bit string reaches below its address, in any address size") {
  TestCpu t(Mode::Protected32);
  t.gpr(RBX) = 0x4000;
  t.gpr(RCX) = static_cast<u32>(-1);
  CHECK(!t.run({0x0F, 0xAB, 0x0B}));  // bts [ebx], ecx
  CHECK(t.peek<u32>(0x3FFC) == 0x80000000);
  TestCpu r(Mode::Real);
  r.gpr(RBX) = 0;
  r.gpr(RCX) = 0xFFFF;
  CHECK(!r.run({0x0F, 0xAB, 0x0F}));  // bts [bx], cx: wraps to FFFE
  CHECK(r.peek<u16>(0xFFFE) == 0x8000);
}

TEST_CASE("LEA and XLAT cut their address to the address size") {
  TestCpu t(Mode::Long64);
  t.gpr(RBX) = 0xFFFFFFFF;
  CHECK(!t.run({0x67, 0x48, 0x8D, 0x43, 0x02}));  // lea rax, [ebx+2]
  CHECK(t.gpr(RAX) == 1);
  t.poke<u8>(0x4005, 0x42);
  t.gpr(RBX) = 0xABC'0000'4000;
  t.gpr(RAX) = 0x1105;
  CHECK(!t.run({0x67, 0xD7}));
  CHECK(t.gpr(RAX) == 0x1142);
}

TEST_CASE("SALC gives AL from CF") {
  TestCpu t(Mode::Protected32);
  CHECK(!t.run({0xF9, 0xD6}));
  CHECK(t.gpr(RAX) == 0xFF);
  CHECK(!t.run({0xF8, 0xD6}));
  CHECK(t.gpr(RAX) == 0);
}

TEST_CASE("UD2 and an unlockable LOCK are #UD") {
  TestCpu t(Mode::Long64);
  expect_fault(t.run({0x0F, 0x0B}), Vector::UD);
  expect_fault(t.run({0xF0, 0x01, 0xC0}), Vector::UD);        // lock add eax, eax
  expect_fault(t.run({0xF0, 0x39, 0x04, 0x24}), Vector::UD);  // lock cmp [rsp], eax
  CHECK(!t.run({0xF0, 0x01, 0x04, 0x24}));
}
