// Debug registers: access rules, breakpoints of all kinds, single step and block step.
#include <doctest/doctest.h>

#include "cpu/system/debug.h"
#include "cpu/system/test_machine.h"

using namespace callgate;
using test::TestMachine;

namespace {
constexpr u64 kCode = TestMachine::kCode;
constexpr int kDb = 1;

/// DR7 with breakpoint 0 enabled.
constexpr u64 dr7(BreakOn kind, unsigned length_field) { return 0x401 | u64(kind) << 16 | u64{length_field} << 18; }

void set_dr7(TestMachine& m, u64 value) {
  m.cpu.s.dr7 = value;
  m.cpu.refresh();
}
}  // namespace

TEST_CASE("MOV DR: fixed bits, reserved upper halves, DR4 and DR5 by CR4.DE") {
  TestMachine m;
  m.long64();
  m.cpu.s.gpr[RAX] = 0xFFFFFFFF;
  m.run({0x0F, 0x23, 0xF0});  // dr6
  CHECK(m.cpu.s.dr6 == 0xFFFFEFFF);
  m.cpu.s.gpr[RAX] = 0;
  m.run({0x0F, 0x23, 0xE0});  // dr4, an alias of dr6
  CHECK(m.cpu.s.dr6 == 0xFFFF0FF0);
  m.run({0x0F, 0x23, 0xF8});
  CHECK(m.cpu.s.dr7 == 0x400);
  m.cpu.s.cr4 |= kCr4De;
  m.run({0x0F, 0x21, 0xE0});
  CHECK(m.last_fault() == "#UD");
  m.long64();
  m.cpu.s.gpr[RAX] = u64{1} << 32;
  m.run({0x0F, 0x23, 0xF8});
  CHECK(m.last_fault() == "#GP(0x0)");
  m.long64(3);
  m.run({0x0F, 0x21, 0xC0});
  CHECK(m.last_fault() == "#GP(0x0)");
}

TEST_CASE("DR7.GD raises #DB before the access, with BD, and is cleared") {
  TestMachine m;
  m.long64();
  set_dr7(m, 0x400 | kDr7Gd);
  m.run({0x0F, 0x23, 0xC0});
  CHECK(m.handling() == kDb);
  CHECK((m.cpu.s.dr6 & kDr6Bd) != 0);
  CHECK((m.cpu.s.dr7 & kDr7Gd) == 0);
  CHECK(m.stack(0, 8) == kCode);
}

TEST_CASE("a code breakpoint is a fault, and RF passes it once") {
  TestMachine m;
  m.long64();
  m.cpu.s.dr[0] = kCode;
  set_dr7(m, dr7(BreakOn::Execute, 0));
  m.run({0x90, 0x90});
  CHECK(m.handling() == kDb);
  CHECK((m.cpu.s.dr6 & 15) == 1);
  CHECK(m.stack(0, 8) == kCode);
  // Unlike other faults it pushes RF clear: the debugger sets it to go on. SDM 3B, Instruction-Breakpoint Exception.
  CHECK((m.stack(2, 8) & kRF) == 0);

  m.long64();
  m.cpu.s.flags.assign(kRF, true);
  m.cpu.s.dr[0] = kCode;
  set_dr7(m, dr7(BreakOn::Execute, 0));
  m.run(1);
  CHECK(m.cpu.s.rip == kCode + 1);
  CHECK_FALSE(m.cpu.s.flags.test(kRF));
}

TEST_CASE("data breakpoints trap after the access, by kind, length and overlap") {
  TestMachine m;
  const auto hits = [&](BreakOn kind, unsigned length_field, u64 address, bool write) {
    m.long64();
    m.cpu.s.dr6 = kDr6Fixed;
    m.cpu.s.dr[0] = 0x50010;
    set_dr7(m, dr7(kind, length_field));
    m.cpu.s.gpr[RBX] = address;
    if (write)
      m.code({0x89, 0x03, 0x90});  // mov [rbx], eax
    else
      m.code({0x8B, 0x03, 0x90});
    m.run(2);
    set_dr7(m, 0x400);
    if (m.handling() == kDb) {
      CHECK(m.stack(0, 8) == kCode + 2);
      CHECK((m.cpu.s.dr6 & 15) == 1);
    }
    return m.handling() == kDb;
  };
  CHECK(hits(BreakOn::Write, 3, 0x50010, true));
  CHECK_FALSE(hits(BreakOn::Write, 3, 0x50010, false));
  CHECK(hits(BreakOn::ReadWrite, 3, 0x50010, false));
  CHECK(hits(BreakOn::Write, 0, 0x5000D, true));
  CHECK_FALSE(hits(BreakOn::Write, 0, 0x5000C, true));
  CHECK(hits(BreakOn::ReadWrite, 1, 0x50011, false));
  CHECK_FALSE(hits(BreakOn::ReadWrite, 1, 0x50012, false));
  CHECK(hits(BreakOn::ReadWrite, 2, 0x50017, false));  // eight bytes
  CHECK_FALSE(hits(BreakOn::ReadWrite, 2, 0x50018, false));
  CHECK_FALSE(hits(BreakOn::Io, 3, 0x50010, true));
}

TEST_CASE("I/O breakpoints need CR4.DE") {
  for (const bool de : {false, true}) {
    TestMachine m;
    m.long64();
    if (de) m.cpu.s.cr4 |= kCr4De;
    m.cpu.s.dr[0] = 0x60;
    set_dr7(m, dr7(BreakOn::Io, 0));
    m.code({0xE4, 0x60, 0x90});
    m.run(2);
    CHECK((m.handling() == kDb) == de);
  }
}

TEST_CASE("TF traps after each instruction; BTF after taken branches only") {
  TestMachine m;
  m.long64();
  m.cpu.s.flags.assign(kTF, true);
  m.code({0x90, 0x90});
  m.run(2);
  CHECK(m.handling() == kDb);
  CHECK(m.stack(0, 8) == kCode + 1);
  CHECK((m.cpu.s.dr6 & kDr6Bs) != 0);

  m.long64();
  m.cpu.s.msr.debugctl = kDebugctlBtf;
  m.cpu.s.flags.set_value(kTF);
  m.code({0x90, 0x74, 0x10, 0xEB, 0x10});  // nop; jz (not taken); jmp
  m.run(4);
  CHECK(m.handling() == kDb);
  CHECK(m.stack(0, 8) == kCode + 0x15);
  CHECK(m.cpu.s.msr.debugctl == 0);
}
