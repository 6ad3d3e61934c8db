#include <doctest/doctest.h>

#include "cpu/system/test_machine.h"

using namespace callgate;
using callgate::test::descriptor;
using callgate::test::TestMachine;

namespace {
using M = TestMachine;

/// Pushes slots in order and executes an IRET of the size.
void iret(M& m, std::initializer_list<u64> slots, unsigned size) {
  for (const u64 v : slots) m.push(v, size);
  const bool wide = m.cpu.code_size() != CodeSize::Bits16;
  if (size == 8) m.run({0x48, 0xCF});
  else if ((size == 2) == wide) m.run({0x66, 0xCF});
  else m.run({0xCF});
}
}  // namespace

TEST_CASE("real mode: IRET of 16 bits keeps the upper flags, IRETD keeps VIF and VIP") {
  M m;
  m.real();
  m.cpu.s.flags.set_value(kAC | kID);
  iret(m, {kIF | kCF | kIOPL, 0x0900, 0x0400}, 2);
  CHECK(m.cpu.s.rip == 0x400);
  CHECK(m.cpu.s.seg[CS].base == 0x9000);
  CHECK(m.cpu.s.flags.value() == (kIF | kCF | kIOPL | kAC | kID | 2));
  CHECK(m.cpu.s.gpr[RSP] == 0x7000);
  iret(m, {kVIF | kVIP | kZF, 0x0900, 0x0400}, 4);
  CHECK(m.cpu.s.flags.value() == (kZF | 2));
}

TEST_CASE("IRET to the same ring restores the flags that CPL and IOPL allow") {
  M m;
  m.protected32(0);
  iret(m, {kIF | kIOPL | kCF | kNT, M::kCode0, 0x9400}, 4);
  CHECK(m.cpu.s.rip == 0x9400);
  CHECK(m.cpu.s.flags.value() == (kIF | kIOPL | kCF | kNT | 2));

  M u;
  u.protected32(3);
  iret(u, {kIF | kIOPL | kVIF | kCF | kAC, M::kCode3, 0x9400}, 4);
  CHECK(u.last_fault() == "none");
  CHECK(u.cpu.s.flags.value() == (kCF | kAC | 2));
}

TEST_CASE("IRET to an outer ring takes SS:ESP and clears segments of the inner one") {
  M m;
  m.protected32(0);
  m.set_segment(FS, M::kConforming);
  iret(m, {M::kData3, 0x12345678, kIF, M::kCode3, 0x9400}, 4);
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.s.gpr[RSP] == 0x12345678);
  CHECK(m.cpu.s.seg[SS].selector == M::kData3);
  CHECK(m.cpu.s.seg[DS].unusable());
  CHECK(m.cpu.s.seg[FS].selector == M::kConforming);  // conforming code stays
  CHECK(m.cpu.s.flags.test(kIF));
}

TEST_CASE("IRET to an outer ring takes the RPL off null selectors, and leaves their bases alone") {
  for (const u16 selector : {0, 1, 3}) {
    M m;
    m.long64(0);
    for (const SegReg seg : {ES, DS, FS, GS}) m.cpu.load_segment(seg, selector);
    m.cpu.s.seg[FS].base = 0x1234'5678'9ABC;
    iret(m, {M::kData3, 0x30000, 2, M::kCode64User, 0x9400}, 8);
    CHECK(m.cpu.cpl() == 3);
    for (const SegReg seg : {ES, DS, FS, GS}) CHECK(m.cpu.s.seg[seg].selector == 0);
    CHECK(m.cpu.s.seg[FS].base == 0x1234'5678'9ABC);
  }
}

TEST_CASE("a bad CS or SS faults before RSP, CPL or the flags change") {
  const auto fault = [](u16 cs, u16 ss, u32 eip = 0x9400) {
    M m;
    m.protected32(0);
    for (const u32 v : {u32{ss}, u32{0x30000}, u32{kCF}, u32{cs}, eip}) m.push(v, 4);
    const u64 rsp = m.cpu.s.gpr[RSP];
    m.set_gdt(M::kFree, descriptor(0, 0xFFFFF, 0x7B, 12));
    m.set_gdt(M::kFree + 8, descriptor(0, 0xFFFFF, 0x73, 12));
    m.set_gdt(M::kFree + 16, descriptor(0, 0x0FFF, 0xFB, 4));
    m.run({0xCF});
    if (m.last_fault() != "none") {
      CHECK(m.cpu.cpl() == 0);
      CHECK(m.cpu.s.gpr[RSP] == rsp - 16);
      CHECK(m.stack(1, 4) == M::kCode);
      CHECK(!m.cpu.s.flags.cf());
      CHECK(m.cpu.s.seg[DS].selector == M::kData0);
    }
    return m.last_fault();
  };
  CHECK(fault(M::kCode3, M::kData3) == "none");
  CHECK(fault(0, M::kData3) == "#GP(0x0)");
  CHECK(fault(M::kData3, M::kData3) == "#GP(0x20)");
  CHECK(fault(M::kCode0 | 3, M::kData3) == "#GP(0x8)");
  CHECK(fault(0xF03, M::kData3) == "#GP(0xf00)");
  CHECK(fault(M::kFree | 3, M::kData3) == "#NP(0x70)");
  CHECK(fault(M::kCode3, 0) == "#GP(0x0)");
  CHECK(fault(M::kCode3, M::kData0 | 3) == "#GP(0x10)");
  CHECK(fault(M::kCode3, M::kData3 & ~3) == "#GP(0x20)");
  CHECK(fault(M::kCode3, (M::kFree + 8) | 3) == "#SS(0x78)");
  CHECK(fault((M::kFree + 16) | 3, M::kData3) == "#GP(0x0)");
}

TEST_CASE("IRET to an inner ring is #GP") {
  M m;
  m.protected32(3);
  iret(m, {2, M::kCode0, 0x9400}, 4);
  CHECK(m.last_fault() == "#GP(0x8)");
}

TEST_CASE("IRET to a 16-bit stack loads SP only") {
  M m;
  m.protected32(0);
  m.set_gdt(M::kFree, descriptor(0, 0xFFFF, 0xF3, 0));
  iret(m, {M::kFree | 3, 0xAAAA5678, 2, M::kCode3, 0x9400}, 4);
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.s.gpr[RSP] == ((M::kStack0 & 0xFFFF0000) | 0x5678) - 0x10000 * (M::kStack0 % 0x10000 == 0));
}

TEST_CASE("64-bit mode: IRETQ to a 16-bit stack leaks the kernel's upper RSP, which is what espfix64 hides") {
  M m;
  m.long64(0);
  m.set_gdt(M::kFree, descriptor(0, 0xFFFF, 0xF3, 0));
  m.cpu.s.gpr[RSP] = 0x2F0000;
  iret(m, {M::kFree | 3, 0x5678, 2, M::kCode3, 0x9400}, 8);
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.gpr[RSP] == 0x2E5678);
}

TEST_CASE("64-bit mode: IRETQ pops SS:RSP also for the same ring") {
  M m;
  m.long64(0);
  iret(m, {M::kData0, 0x27000, kIF, M::kCode64, 0x9400}, 8);
  CHECK(m.cpu.s.gpr[RSP] == 0x27000);
  CHECK(m.cpu.s.seg[SS].selector == M::kData0);
  CHECK(m.cpu.cpl() == 0);
}

TEST_CASE("64-bit mode: a null SS is good for 64-bit code at CPL < 3 only") {
  const auto fault = [](u16 cs, u16 ss) {
    M m;
    m.long64(0);
    m.set_gdt(M::kFree, descriptor(0, 0xFFFFF, 0xBB, 10));  // 64-bit code at ring 1
    iret(m, {ss, 0x27000, 2, cs, 0x9400}, 8);
    return m.last_fault();
  };
  CHECK(fault(M::kCode64, 0) == "none");
  CHECK(fault(M::kFree | 1, 1) == "none");
  CHECK(fault(M::kFree | 1, 0) == "#GP(0x0)");
  CHECK(fault(M::kCode0, 0) == "#GP(0x0)");
  CHECK(fault(M::kCode64User, 3) == "#GP(0x0)");
  CHECK(fault(M::kCode64User, M::kData3) == "none");
}

TEST_CASE("64-bit mode: a return to an address that isn't canonical is #GP(0) in the kernel") {
  M m;
  m.long64(0);
  iret(m, {M::kData3, 0x27000, 2, M::kCode64User, 0x800000000000}, 8);
  CHECK(m.last_fault() == "#GP(0x0)");
  CHECK(m.cpu.cpl() == 0);
}

TEST_CASE("long mode: IRET with NT is #GP(0)") {
  M m;
  m.long64(0);
  m.cpu.s.flags.assign(kNT, true);
  iret(m, {M::kData0, 0x27000, 2, M::kCode64, 0x9400}, 8);
  CHECK(m.last_fault() == "#GP(0x0)");
}

TEST_CASE("from compatibility mode IRET pops SS:ESP for an outer ring only") {
  M m;
  m.long64(0, true);
  iret(m, {2, M::kCode64, 0x9400}, 4);
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.bits64());
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0);
}

TEST_CASE("IRET in ring 0 with VM in the image enters a v86 task") {
  M m;
  m.protected32(0);
  iret(m, {0x5555, 0x4444, 0x2222, 0x1111, 0x3000, 0x8000, kVM | kIF | kIOPL, 0x0940, 0x0010}, 4);
  CHECK(m.cpu.v86());
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.s.rip == 0x10);
  CHECK(m.cpu.s.gpr[RSP] == 0x8000);
  CHECK(m.cpu.s.seg[CS].base == 0x9400);
  CHECK(m.cpu.s.seg[SS].base == 0x30000);
  CHECK(m.cpu.s.seg[ES].selector == 0x1111);
  CHECK(m.cpu.s.seg[DS].selector == 0x2222);
  CHECK(m.cpu.s.seg[FS].selector == 0x4444);
  CHECK(m.cpu.s.seg[GS].selector == 0x5555);
  CHECK(m.cpu.code_size() == CodeSize::Bits16);
}

TEST_CASE("VM in the image means nothing outside ring 0") {
  M m;
  m.protected32(3);
  iret(m, {kVM | kCF, M::kCode3, 0x9400}, 4);
  CHECK(m.last_fault() == "none");
  CHECK(!m.cpu.v86());
  CHECK(m.cpu.s.flags.cf());
}

TEST_CASE("v86: IRET with IOPL 3 can't change IOPL; with less it is #GP") {
  M m;
  m.v86(3);
  iret(m, {kIF | kCF, 0x0940, 0x0010}, 2);
  CHECK(m.cpu.v86());
  CHECK(m.cpu.s.seg[CS].base == 0x9400);
  CHECK(m.cpu.s.flags.value() == (kVM | kIOPL | kIF | kCF | 2));
  M n;
  n.v86(2);
  iret(n, {kIF, 0x0940, 0x0010}, 2);
  CHECK(n.last_fault() == "#GP(0x0)");
}

TEST_CASE("v86 with VME: IF of the image goes to VIF, and VIP makes it #GP") {
  M m;
  m.v86(0);
  m.cpu.s.cr4 |= kCr4Vme;
  iret(m, {kIF | kCF | kIOPL, 0x0940, 0x0010}, 2);
  CHECK(m.cpu.s.flags.value() == (kVM | kVIF | kCF | 2));
  M n;
  n.v86(0);
  n.cpu.s.cr4 |= kCr4Vme;
  n.cpu.s.flags.assign(kVIP, true);
  iret(n, {kIF, 0x0940, 0x0010}, 2);
  CHECK(n.last_fault() == "#GP(0x0)");
}

TEST_CASE("even an IRET that faults lets NMIs in") {
  M m;
  m.protected32(3);
  m.cpu.s.nmi_blocked = true;
  iret(m, {2, M::kCode0, 0x9400}, 4);
  CHECK(m.last_fault() == "#GP(0x8)");
  CHECK(!m.cpu.s.nmi_blocked);
}
