// Which debug trap comes when, and what RF is: behind loads of SS, with a fault, and between the steps of a REP. Refs:
// SDM 3A 6.8.3 "Masking Exceptions and Interrupts When Switching Stacks"; SDM 3B 17.3.1.
#include <doctest/doctest.h>

#include "cpu/system/debug.h"
#include "cpu/system/test_machine.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

constexpr u64 kWatched = 0x40000;
constexpr u64 kB0 = 1, kBs = 1u << 14;

/// Breakpoint 0 on `address`: execution, or reading and writing of one byte.
void breakpoint(M& m, BreakOn kind, u64 address) {
  m.cpu.s.dr[0] = address;
  m.cpu.s.dr7 = 0x401 | u64(kind) << 16;
  m.cpu.refresh();
}

/// 32-bit code about to load SS.
void watched_ss(M& m) {
  m.protected32(0);
  breakpoint(m, BreakOn::ReadWrite, kWatched);
  m.cpu.s.gpr[RBX] = kWatched;
}

}  // namespace

TEST_CASE("a watchpoint hit by POP SS is told after the next instruction, one hit by LSS at once") {
  M m;
  watched_ss(m);
  m.write<u32>(M::kStack0, M::kData0);
  m.cpu.s.dr[0] = M::kStack0;
  m.code({0x17, 0x90, 0x90});  // pop ss; nop; nop
  m.run(2);
  CHECK(m.cpu.s.rip == M::kCode + 2);
  m.run(1);
  CHECK(m.handling() == 1);
  CHECK(m.stack(0, 4) == M::kCode + 2);
  watched_ss(m);
  m.write<u32>(kWatched, 0x21000);
  m.write<u16>(kWatched + 4, M::kData0);
  m.code({0x0F, 0xB2, 0x23, 0x90});  // lss esp, [ebx]
  m.run(2);
  CHECK(m.handling() == 1);
  CHECK(m.stack(0, 4) == M::kCode + 3);
}

TEST_CASE("a single step over MOV SS traps once, after the next instruction") {
  M m;
  m.protected32(0);
  m.cpu.s.flags.assign(kTF, true);
  m.cpu.s.gpr[RAX] = M::kData0;
  m.code({0x8E, 0xD0, 0x90, 0x90});
  m.run(3);
  CHECK(m.handling() == 1);
  CHECK(m.stack(0, 4) == M::kCode + 3);
  CHECK((m.cpu.s.dr6 & kBs) != 0);
}

TEST_CASE("a code breakpoint behind MOV SS is not hit") {
  M m;
  m.protected32(0);
  breakpoint(m, BreakOn::Execute, M::kCode + 2);
  m.cpu.s.gpr[RAX] = M::kData0;
  m.code({0x8E, 0xD0, 0x90, 0x90});
  m.run(2);
  CHECK(m.cpu.s.rip == M::kCode + 3);
  m.cpu.s.rip = M::kCode + 2;
  m.run(1);
  CHECK(m.handling() == 1);
}

TEST_CASE("an instruction that faults has hit no watchpoint") {
  M m;
  m.protected32(0);
  breakpoint(m, BreakOn::ReadWrite, kWatched);
  m.cpu.s.gpr[RSI] = kWatched;
  m.cpu.s.gpr[RDI] = 0x50000;
  m.set_gdt(M::kFree, test::descriptor(0, 0xF, 0x93, 4));
  m.set_segment(ES, M::kFree);
  m.run({0xA4});  // movsb: the load is watched, the store faults
  CHECK(m.handling() == 13);
  m.run(1);
  CHECK(m.handling() == 13);
  CHECK((m.cpu.s.dr6 & 15) == 0);
}

TEST_CASE("a fault behind MOV SS drops the shadow: the handler can be interrupted at once") {
  M m;
  m.protected32(0);
  m.set_idt(6, M::kCode0, M::handler(6), 0x8F);  // a trap gate leaves IF set
  m.cpu.s.flags.assign(kIF, true);
  m.cpu.s.gpr[RAX] = M::kData0;
  m.code({0x8E, 0xD0, 0x0F, 0x0B});  // mov ss, eax; ud2
  m.run(1);
  m.platform.interrupt = true;
  m.run(1);
  CHECK(m.handling() == 0x30);
  CHECK(m.stack(0, 4) == M::handler(6));
}

TEST_CASE("RF: pushed as 1 by a fault, as it was by a trap, and cleared by the instruction that it protects") {
  M m;
  m.protected32(0);
  m.run({0x0F, 0x0B});
  CHECK((m.stack(2, 4) & kRF) != 0);
  CHECK(!m.cpu.s.flags.test(kRF));  // in the handler
  m.protected32(0);
  m.cpu.s.flags.assign(kTF, true);
  m.code({0x90});
  m.run(2);
  CHECK(m.handling() == 1);
  CHECK((m.stack(2, 4) & kRF) == 0);
  m.protected32(0);
  m.cpu.s.flags.assign(kRF, true);
  m.run({0x90});
  CHECK(!m.cpu.s.flags.test(kRF));
  m.protected32(0);
  breakpoint(m, BreakOn::Execute, M::kCode);
  m.run({0x90});
  CHECK(m.handling() == 1);
  CHECK((m.stack(2, 4) & kRF) == 0);  // the debugger sets it
}

TEST_CASE("an interrupt between the steps of a REP pushes RF, so that a code breakpoint on it is not hit again") {
  M m;
  m.protected32(0);
  m.cpu.s.flags.assign(kIF, true);
  m.cpu.s.gpr[RCX] = 0x1800;
  m.cpu.s.gpr[RDI] = 0x40000;
  breakpoint(m, BreakOn::Execute, M::kCode);
  m.cpu.s.flags.assign(kRF, true);  // the breakpoint was taken once
  m.write<u8>(M::handler(0x30), 0xCF);
  m.code({0xF3, 0xAA, 0x90});  // rep stosb
  m.run(1);
  CHECK(m.cpu.s.rip == M::kCode);
  CHECK(m.cpu.s.gpr[RCX] == 0x800);
  m.platform.interrupt = true;
  m.run(2);  // the handler's IRET, and the second step
  CHECK(m.cpu.faults_delivered() == 0);
  CHECK((m.read<u32>(M::kStack0 - 4) & kRF) != 0);
  CHECK(m.cpu.s.gpr[RCX] == 0);
  CHECK(m.cpu.s.rip == M::kCode + 2);
  CHECK(!m.cpu.s.flags.test(kRF));
}

TEST_CASE("a single-stepped REP traps after each iteration, with RF in the frame but for the last") {
  M m;
  m.protected32(0);
  m.cpu.s.gpr[RCX] = 2;
  m.cpu.s.gpr[RDI] = 0x40000;
  m.cpu.s.flags.assign(kTF, true);
  m.write<u8>(M::handler(1), 0xCF);
  m.code({0xF3, 0xAA, 0x90});
  m.run(2);
  CHECK(m.read<u32>(M::kStack0 - 12) == M::kCode);
  CHECK((m.read<u32>(M::kStack0 - 4) & kRF) != 0);
  m.run(2);
  CHECK(m.read<u32>(M::kStack0 - 12) == M::kCode + 2);
  CHECK((m.read<u32>(M::kStack0 - 4) & kRF) == 0);
  CHECK(m.cpu.s.gpr[RCX] == 0);
}
