#include <doctest/doctest.h>

#include "cpu/system/test_machine.h"

using namespace callgate;
using callgate::test::descriptor;
using callgate::test::gate;
using callgate::test::TestMachine;

namespace {
using M = TestMachine;
}

TEST_CASE("real mode: INT pushes FLAGS, CS and IP and clears IF, TF and AC") {
  M m;
  m.real();
  m.cpu.s.flags.set_value(kIF | kCF | kAC | kIOPL);
  m.run({0xCD, 0x21});
  CHECK(m.handling() == 0x21);
  CHECK(m.cpu.s.gpr[RSP] == 0x7000 - 6);
  CHECK(m.stack(0, 2) == M::kCode + 2);
  CHECK(m.stack(1, 2) == 0);
  CHECK(m.stack(2, 2) == (kIF | kCF | kIOPL | 2));
  CHECK(!m.cpu.s.flags.test(kIF | kAC));
}

TEST_CASE("real mode: the stack wraps at 64 KiB") {
  M m;
  m.real();
  m.cpu.s.gpr[RSP] = 0xABCD0002;
  m.run({0xCC});
  CHECK(m.handling() == 3);
  CHECK(m.cpu.s.gpr[RSP] == 0xABCDFFFC);
  CHECK(m.read<u16>(0) == 2);  // FLAGS
  CHECK(m.read<u16>(0xFFFC) == M::kCode + 1);
}

TEST_CASE("real mode: a vector beyond the table's limit is a fault, without an error code on the stack") {
  M m;
  m.real();
  m.cpu.s.idtr.limit = 0x83;
  m.run({0xCD, 0x21});
  CHECK(m.handling() == 13);
  CHECK(m.cpu.s.gpr[RSP] == 0x7000 - 6);
}

TEST_CASE("an interrupt gate to the same ring pushes three doublewords") {
  M m;
  m.protected32(0);
  m.cpu.s.flags.set_value(kIF | kNT | kCF);
  m.run({0xCD, 0x40});
  CHECK(m.handling() == 0x40);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 12);
  CHECK(m.stack(0, 4) == M::kCode + 2);
  CHECK(m.stack(1, 4) == M::kCode0);
  CHECK(m.stack(2, 4) == (kIF | kNT | kCF | 2));
  CHECK(m.cpu.s.flags.value() == (kCF | 2));
}

TEST_CASE("a trap gate leaves IF alone") {
  M m;
  m.protected32(0);
  m.set_idt(0x40, M::kCode0, M::handler(0x40), 0x8F);
  m.cpu.s.flags.set_value(kIF);
  m.run({0xCD, 0x40});
  CHECK(m.cpu.s.flags.test(kIF));
}

TEST_CASE("a 16-bit gate pushes words") {
  M m;
  m.protected32(0);
  m.set_idt(0x40, M::kCode0, 0xFFFF0000 | M::handler(0x40), 0x86);
  m.run({0xCD, 0x40});
  CHECK(m.handling() == 0x40);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 6);
  CHECK(m.stack(0, 2) == M::kCode + 2);
}

TEST_CASE("from ring 3 the stack of the TSS is used, and SS:ESP are pushed") {
  M m;
  m.protected32(3);
  m.set_idt(0x80, M::kCode0, M::handler(0x80), 0xEE);
  m.run({0xCD, 0x80});
  CHECK(m.handling() == 0x80);
  CHECK(m.cpu.cpl() == 0);
  CHECK(m.cpu.s.seg[SS].selector == M::kData0);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 20);
  CHECK(m.stack(1, 4) == M::kCode3);
  CHECK(m.stack(3, 4) == M::kStack3);
  CHECK(m.stack(4, 4) == M::kData3);
  CHECK(m.cpu.s.seg[DS].selector == M::kData3);  // data segments stay
}

TEST_CASE("INT n, INT3 and INTO look at the gate's DPL; INT1 doesn't") {
  const auto fault = [](std::initializer_list<u8> bytes) {
    M m;
    m.protected32(3);
    m.cpu.s.flags.set_value(kOF);
    m.run(bytes);
    return m.last_fault();
  };
  CHECK(fault({0xCD, 0x80}) == "#GP(0x402)");
  CHECK(fault({0xCD, 0x0E}) == "#GP(0x72)");
  CHECK(fault({0xCC}) == "#GP(0x1a)");
  CHECK(fault({0xCE}) == "#GP(0x22)");
  CHECK(fault({0xF1}) == "none");
}

TEST_CASE("what is wrong with an IDT entry is told by vector * 8 + 2") {
  const auto fault = [](u8 access, u16 selector, u16 limit) {
    M m;
    m.protected32(0);
    m.set_idt(0x40, selector, M::handler(0x40), access);
    m.cpu.s.idtr.limit = limit;
    m.run({0xCD, 0x40});
    return m.last_fault();
  };
  CHECK(fault(0x0E, M::kCode0, 0x7FF) == "#NP(0x202)");
  CHECK(fault(0x8C, M::kCode0, 0x7FF) == "#GP(0x202)");  // a call gate
  CHECK(fault(0x9E, M::kCode0, 0x7FF) == "#GP(0x202)");  // S set
  CHECK(fault(0x8E, M::kCode0, 0x206) == "#GP(0x202)");
  CHECK(fault(0x8E, M::kCode0, 0x207) == "none");
  CHECK(fault(0x8E, 0, 0x7FF) == "#GP(0x0)");
  CHECK(fault(0x8E, M::kData0, 0x7FF) == "#GP(0x10)");
  CHECK(fault(0x8E, M::kCode3, 0x7FF) == "#GP(0x18)");  // handler at an outer ring
  CHECK(fault(0x8E, 0xF00, 0x7FF) == "#GP(0xf00)");
  CHECK(fault(0x8E, M::kConforming, 0x7FF) == "none");
}

TEST_CASE("EXT is set in error codes when a fault or interrupt was being delivered") {
  M m;
  m.protected32(0);
  m.set_idt(6, M::kCode0, 0, 0x0E);  // #UD's gate is not present
  m.run({0x0F, 0x0B});
  CHECK(m.last_fault() == "#NP(0x33)");
  CHECK(m.handling() == 11);

  M i;
  i.protected32(0);
  i.cpu.s.flags.set_value(kIF);
  i.set_idt(0x30, M::kData0, 0, 0x8E);
  i.platform.interrupt = true;
  i.run({0x90});
  CHECK(i.last_fault() == "#GP(0x11)");
}

TEST_CASE("the inner stack: errors are #TS with the selector, absence is #SS") {
  const auto fault = [](u16 ss, u64 raw) {
    M m;
    m.protected32(3);
    m.set_idt(0x80, M::kCode0, M::handler(0x80), 0xEE);
    m.set_idt(10, M::kCode1 & ~3, M::handler(10), 0x8E);  // so that #TS itself can be delivered: ring 1
    m.set_idt(12, M::kCode1 & ~3, M::handler(12), 0x8E);
    m.write<u16>(M::kTss + 8, ss);
    m.set_gdt(M::kFree, raw);
    m.run({0xCD, 0x80});
    return m.last_fault();
  };
  CHECK(fault(0, 0) == "#TS(0x0)");
  CHECK(fault(M::kData0 | 1, 0) == "#TS(0x10)");
  CHECK(fault(M::kData3, 0) == "#TS(0x20)");
  CHECK(fault(M::kFree, descriptor(0, 0xFFFFF, 0x91, 12)) == "#TS(0x70)");
  CHECK(fault(M::kFree, descriptor(0, 0xFFFFF, 0x13, 12)) == "#SS(0x70)");
  CHECK(fault(M::kFree, descriptor(0, 0xFF, 0x93, 4)) == "#SS(0x70)");  // no room
  CHECK(fault(0xF00, 0) == "#TS(0xf00)");
}

TEST_CASE("a TSS too small for the stack is #TS with TR's selector") {
  M m;
  m.protected32(3);
  m.set_idt(0x80, M::kCode0, M::handler(0x80), 0xEE);
  m.set_idt(10, M::kConforming, M::handler(10), 0x8E);
  m.cpu.s.tr.limit = 8;
  m.run({0xCD, 0x80});
  CHECK(m.last_fault() == "#TS(0x50)");
}

TEST_CASE("a handler beyond its segment's limit is #GP with nothing pushed") {
  M m;
  m.protected32(0);
  m.set_gdt(M::kFree, descriptor(0, 0xFFF, 0x9A, 4));
  m.set_idt(0x40, M::kFree, 0x1000, 0x8E);
  m.write<u32>(M::kStack0 - 4, 0x55555555);
  m.set_idt(13, M::kCode0, M::handler(13), 0x8E);
  m.run({0xCD, 0x40});
  CHECK(m.last_fault() == "#GP(0x0)");
  CHECK(m.read<u64>(M::kGdt + M::kFree) == descriptor(0, 0xFFF, 0x9A, 4));  // not accessed
  CHECK(m.stack(2, 4) == M::kCode0);
  CHECK(m.stack(1, 4) == M::kCode);  // the fault's frame is the only one
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 16);
}

TEST_CASE("long mode: the frame is aligned to 16 bytes and always has SS:RSP") {
  M m;
  m.long64(0);
  m.cpu.s.gpr[RSP] = M::kStack0 - 3;
  m.run({0xCD, 0x40});
  CHECK(m.handling() == 0x40);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 16 - 40);
  CHECK(m.stack(0, 8) == M::kCode + 2);
  CHECK(m.stack(1, 8) == M::kCode64);
  CHECK(m.stack(3, 8) == M::kStack0 - 3);
  CHECK(m.stack(4, 8) == M::kData0);
  CHECK(m.cpu.s.seg[SS].selector == M::kData0);  // same ring: SS stays
}

TEST_CASE("long mode: from ring 3 SS becomes null") {
  M m;
  m.long64(3);
  m.set_idt64(0x80, M::kCode64, M::handler(0x80), 0xEE);
  m.run({0xCD, 0x80});
  CHECK(m.handling() == 0x80);
  CHECK(m.cpu.cpl() == 0);
  CHECK(m.cpu.s.seg[SS].selector == 0);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 40);
  CHECK(m.stack(3, 8) == M::kStack3);
  CHECK(m.stack(4, 8) == M::kData3);
}

TEST_CASE("long mode: IST switches the stack also without a change of ring") {
  M m;
  m.long64(0);
  m.set_idt64(0x40, M::kCode64, M::handler(0x40), 0x8E, 3);
  m.run({0xCD, 0x40});
  CHECK(m.handling() == 0x40);
  CHECK(m.cpu.s.gpr[RSP] == M::kIst + 0x400 * 3 - 40);
  CHECK(m.stack(3, 8) == M::kStack0);
}

TEST_CASE("long mode: from compatibility mode the handler runs in 64-bit mode, with tables above 4 GiB") {
  M m;
  m.long64(3, true);
  m.write<u64>(M::kTables + 0x800, m.read<u64>(M::kTables));  // everything again at 0xFFFF800000000000
  constexpr u64 kHigh = 0xFFFF800000000000;
  m.cpu.s.gdtr.base = kHigh + M::kGdt;
  m.cpu.s.idtr.base = kHigh + M::kIdt;
  // The TSS is mapped only there, and RSP0 lies across two pages of it.
  constexpr u64 kTssPages = 0xFFFF808000000000;
  m.write<u64>(M::kTables + 8 * 257, (M::kTables + 0x9000) | 3);
  m.write<u64>(M::kTables + 0x9000, (M::kTables + 0xA000) | 3);
  m.write<u64>(M::kTables + 0xA000, 0x200083);
  m.cpu.s.tr.base = kTssPages + 0xFF8;
  m.write<u64>(0x200FFC, kHigh + M::kStack0 + 8 * 3);
  m.set_idt64(0x80, M::kCode64, kHigh + M::handler(0x80), 0xEE);
  m.run({0xCD, 0x80});
  CHECK(m.cpu.bits64());
  CHECK(m.cpu.s.rip == kHigh + M::handler(0x80));
  CHECK(m.cpu.s.gpr[RSP] == kHigh + M::kStack0 + 16 - 40);
  CHECK(m.read<u64>(M::kStack0 + 16 - 40 + 8) == M::kCode3);
}

TEST_CASE("long mode: gates of other types and code that isn't 64-bit are #GP") {
  const auto fault = [](u16 selector, u8 access) {
    M m;
    m.long64(0);
    m.set_idt64(0x40, selector, M::handler(0x40), access);
    m.run({0xCD, 0x40});
    return m.last_fault();
  };
  CHECK(fault(M::kCode64, 0x85) == "#GP(0x202)");  // a task gate
  CHECK(fault(M::kCode64, 0x86) == "#GP(0x202)");  // a 16-bit gate
  CHECK(fault(M::kCode0, 0x8E) == "#GP(0x8)");
  CHECK(fault(M::kCode64, 0x8F) == "none");
}

TEST_CASE("long mode: a stack pointer that isn't canonical is #SS(0), a handler's address #GP(0)") {
  M m;
  m.long64(3);
  m.set_idt64(0x80, M::kCode64, M::handler(0x80), 0xEE);
  m.set_idt64(12, M::kCode64, M::handler(12), 0x8E, 1);
  m.write<u64>(M::kTss + 4, 0x800000000000);
  m.run({0xCD, 0x80});
  CHECK(m.last_fault() == "#SS(0x0)");
  CHECK(m.handling() == 12);

  M h;
  h.long64(0);
  h.set_idt64(0x40, M::kCode64, 0x800000000000, 0x8E);
  h.run({0xCD, 0x40});
  CHECK(h.last_fault() == "#GP(0x0)");
}

TEST_CASE("a frame across two pages is checked whole before any of it is written") {
  M m;
  m.long64(0);
  constexpr u64 kPt = M::kTables + 0x8000;  // the first 2 MiB in 4 KiB pages; the one below the stack's is missing
  for (u64 n = 0; n < 512; n++) m.write<u64>(kPt + 8 * n, n << 12 | (n == (M::kStack0 >> 12) - 1 ? 0 : 7));
  m.write<u64>(M::kTables + 0x2000, kPt | 7);
  m.cpu.s.gpr[RSP] = M::kStack0 + 16;
  m.write<u64>(M::kStack0 + 8, 0x1111);
  m.write<u64>(M::kStack0, 0x2222);
  m.set_idt64(14, M::kCode64, M::handler(14), 0x8E, 1);
  m.run({0xCD, 0x40});
  CHECK(m.handling() == 14);
  CHECK(m.last_fault() == "#PF(0x2)");
  CHECK(m.read<u64>(M::kStack0 + 8) == 0x1111);
  CHECK(m.read<u64>(M::kStack0) == 0x2222);
  CHECK(m.stack(4, 8) == M::kStack0 + 16);  // RSP in the frame, after the error code
}

TEST_CASE("v86: INT n needs IOPL 3; INT3 doesn't") {
  M m;
  m.v86(0);
  m.set_idt(0x21, M::kCode0, M::handler(0x21), 0xEE);
  m.run({0xCD, 0x21});
  CHECK(m.last_fault() == "#GP(0x0)");
  CHECK(m.last_reason() == "INT 0x21 in v86 mode needs IOPL 3, not 0");
  M n;
  n.v86(0);
  n.set_idt(3, M::kCode0, M::handler(3), 0xEE);
  n.run({0xCC});
  CHECK(n.last_fault() == "none");
  CHECK(n.handling() == 3);
}

TEST_CASE("v86: an event pushes all segment registers and clears them") {
  M m;
  m.v86(3);
  m.cpu.s.seg[GS] = v86_segment(0x1111);
  m.cpu.s.seg[DS] = v86_segment(0x2222);
  m.set_idt(0x21, M::kCode0, M::handler(0x21), 0xEE);
  m.run({0xCD, 0x21});
  CHECK(m.handling() == 0x21);
  CHECK(m.cpu.cpl() == 0);
  CHECK(!m.cpu.v86());
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 36);
  const u64 frame[] = {2, M::kCode >> 4, kVM | kIOPL | 2, 0x8000, 0x3000, 0x3000, 0x2222, 0x3000, 0x1111};
  for (unsigned n = 0; n < 9; n++) CHECK(m.stack(n, 4) == frame[n]);
  for (const SegReg seg : {DS, ES, FS, GS}) CHECK(m.cpu.s.seg[seg].unusable());
}

TEST_CASE("v86: the handler must be at DPL 0") {
  M m;
  m.v86(3);
  m.set_idt(0x21, M::kCode1 & ~3, M::handler(0x21), 0xEE);
  m.run({0xCD, 0x21});
  CHECK(m.last_fault() == "#GP(0x60)");
}

TEST_CASE("v86 with VME: the redirection bitmap sends INT n to the task's own handler") {
  M m;
  m.v86(0);
  m.cpu.s.cr4 |= kCr4Vme;
  m.cpu.s.flags.assign(kVIF, true);
  m.write<u16>(M::kTss + 102, 0x100);
  m.write<u32>(4 * 0x21, 0x0800'0123);
  m.run({0xCD, 0x21});
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.v86());
  CHECK(m.cpu.s.rip == 0x123);
  CHECK(m.cpu.s.gpr[RSP] == 0x8000 - 6);
  CHECK(m.stack(0, 2) == 2);
  CHECK(m.stack(1, 2) == M::kCode >> 4);
  CHECK(m.stack(2, 2) == (kIF | kIOPL | 2));  // IF shows VIF
  CHECK(!m.cpu.s.flags.test(kVIF));

  M gate;
  gate.v86(0);
  gate.cpu.s.cr4 |= kCr4Vme;
  gate.write<u16>(M::kTss + 102, 0x100);
  gate.write<u8>(M::kTss + 0x100 - 32 + 0x21 / 8, 1 << (0x21 % 8));
  gate.run({0xCD, 0x21});
  CHECK(gate.last_fault() == "#GP(0x0)");
}
