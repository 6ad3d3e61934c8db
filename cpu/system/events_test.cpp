#include <doctest/doctest.h>

#include "cpu/system/debug.h"
#include "cpu/system/test_machine.h"

using namespace callgate;
using callgate::test::TestMachine;

namespace {
using M = TestMachine;
}

TEST_CASE("an interrupt waits for IF") {
  M m;
  m.protected32(0);
  m.platform.interrupt = true;
  m.run({0x90});
  CHECK(m.cpu.s.rip == M::kCode + 1);
  m.cpu.s.flags.assign(kIF, true);
  m.run();
  CHECK(m.handling() == 0x30);
  CHECK(m.stack(0, 4) == M::kCode + 1);
  CHECK(!m.platform.interrupt);
}

TEST_CASE("STI keeps interrupts away for one more instruction") {
  M m;
  m.protected32(0);
  m.platform.interrupt = true;
  m.code({0xFB, 0x90, 0x90});  // sti; nop; nop
  m.run(2);
  CHECK(m.cpu.s.rip == M::kCode + 2);
  m.run(1);
  CHECK(m.handling() == 0x30);
  CHECK(m.stack(0, 4) == M::kCode + 2);
}

TEST_CASE("MOV SS keeps interrupts, NMI and debug traps away for one instruction") {
  M m;
  m.protected32(0);
  m.cpu.s.flags.assign(kIF, true);
  m.cpu.s.gpr[RAX] = M::kData0;
  m.code({0x8E, 0xD0, 0x90, 0x90});  // mov ss, ax; nop; nop
  m.run(1);
  m.platform.interrupt = true;
  m.cpu.s.nmi_pending = true;
  m.cpu.s.pending_db = 1;
  m.run(1);
  CHECK(m.cpu.s.rip == M::kCode + 3);
  m.run(1);
  // The trap enters first, then the NMI interrupts its handler; the interrupt waits for IF.
  CHECK(m.handling() == 2);
  CHECK(m.stack(0, 4) == M::handler(1));
  CHECK(m.stack(3, 4) == M::kCode + 3);
  CHECK(m.cpu.s.nmi_blocked);
  CHECK((m.cpu.s.dr6 & 15) == 1);
  CHECK(m.platform.interrupt);
}

TEST_CASE("a second NMI waits for IRET") {
  M m;
  m.protected32(0);
  m.set_idt(2, M::kCode0, M::handler(2), 0x8E);
  m.write<u8>(M::handler(2), 0xCF);  // iret
  m.cpu.s.nmi_pending = true;
  m.code({0x90, 0x90});
  m.run(1);  // the NMI and its IRET
  CHECK(m.cpu.s.rip == M::kCode);
  CHECK(!m.cpu.s.nmi_blocked);
  m.cpu.s.nmi_blocked = true;
  m.cpu.s.nmi_pending = true;
  m.run(1);
  CHECK(m.cpu.s.rip == M::kCode + 1);
  CHECK(m.cpu.s.nmi_pending);
}

TEST_CASE("single-step: a trap after each instruction that began with TF set") {
  M m;
  m.protected32(0);
  m.cpu.s.flags.assign(kTF, true);
  m.code({0x90, 0x90});
  m.run(2);  // the NOP, and the handler's jump
  CHECK(m.handling() == 1);
  CHECK(m.stack(0, 4) == M::kCode + 1);
  CHECK((m.stack(2, 4) & kTF) != 0);
  CHECK((m.cpu.s.dr6 & kDr6Bs) != 0);
  CHECK(!m.cpu.s.flags.test(kTF));
}

TEST_CASE("single-step: INT n enters its handler without a trap") {
  M m;
  m.protected32(0);
  m.cpu.s.flags.assign(kTF, true);
  m.code({0xCD, 0x40, 0x90});
  m.run(3);
  CHECK(m.handling() == 0x40);
  CHECK((m.stack(2, 4) & kTF) != 0);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 12);
}

TEST_CASE("a start-up IPI starts a processor that waits for it, at vector * 4 KiB") {
  M m;
  m.real();
  m.cpu.s.activity = Activity::WaitForSipi;
  m.run(1);
  CHECK(m.cpu.s.retired == 0);
  m.write<u16>(0x12000, 0xFEEB);
  m.cpu.s.sipi_pending = true;
  m.cpu.s.sipi_vector = 0x12;
  m.run(1);
  CHECK(m.cpu.s.activity == Activity::Running);
  CHECK(m.cpu.s.seg[CS].selector == 0x1200);
  CHECK(m.cpu.s.seg[CS].base == 0x12000);
  CHECK(m.cpu.s.rip == 0);
}

TEST_CASE("a running processor ignores a start-up IPI") {
  M m;
  m.protected32(0);
  m.cpu.s.sipi_pending = true;
  m.cpu.service_events();
  CHECK(!m.cpu.s.sipi_pending);
  CHECK(m.cpu.s.rip == M::kCode);
}

TEST_CASE("INIT resets the processor; an IPI that came meanwhile is kept for one that waits") {
  M m;
  m.protected32(0);
  m.cpu.s.init_pending = true;
  m.cpu.service_events();
  CHECK(m.cpu.s.rip == 0xFFF0);
  CHECK(m.cpu.s.seg[CS].base == 0xFFFF0000);
  CHECK(!m.cpu.protected_mode());
  CHECK(m.cpu.s.activity == Activity::Running);

  M other;
  Cpu second(1, other.ram_map, other.platform, other.log, other.model);
  second.s.init_pending = second.s.sipi_pending = true;
  second.s.sipi_vector = 0x9F;
  CHECK(second.service_events());
  CHECK(second.s.activity == Activity::Running);
  CHECK(second.s.seg[CS].base == 0x9F000);
}

TEST_CASE("HLT waits for an interrupt and continues after it") {
  M m;
  m.protected32(0);
  m.cpu.s.flags.assign(kIF, true);
  m.code({0xF4, 0x90});
  m.run(5);
  CHECK(m.cpu.s.activity == Activity::Halted);
  CHECK(m.cpu.s.retired == 1);
  CHECK(!m.cpu.event_ready());
  m.platform.interrupt = true;
  CHECK(m.cpu.event_ready());
  m.run(1);
  CHECK(m.handling() == 0x30);
  CHECK(m.stack(0, 4) == M::kCode + 1);
}

TEST_CASE("a watchpoint hit by MOV SS is told after the next instruction; an INT n enters its handler first") {
  for (const bool software_interrupt : {false, true}) {
    M m;
    m.protected32(0);
    m.write<u16>(0x7000, M::kData0);
    m.cpu.s.dr[0] = 0x7000;
    m.cpu.s.dr7 = 0x400 | 1 | 0x30000 | 0x40000;  // reads and writes of two bytes
    m.cpu.refresh();
    if (software_interrupt)
      m.code({0x8E, 0x15, 0x00, 0x70, 0, 0, 0xCD, 0x40});  // mov ss, [0x7000]; int 0x40
    else
      m.code({0x8E, 0x15, 0x00, 0x70, 0, 0, 0x90});
    m.run(1);
    CHECK(m.handling() == -1);
    m.run(2);
    CHECK(m.handling() == 1);
    CHECK(m.stack(0, 4) == (software_interrupt ? M::handler(0x40) : M::kCode + 7));
    CHECK((m.cpu.s.dr6 & 15) == 1);
  }
}

// Linux's selftest mov_ss_trap tells what processors do here; the second #DB would enter a handler that runs on the same
// stack of the IST, and never come out again.
TEST_CASE("a watchpoint hit by MOV SS is forgotten when the next instruction faults or is an INT1") {
  for (const bool faults : {false, true}) {
    M m;
    m.protected32(0);
    m.write<u16>(0x7000, M::kData0);
    m.cpu.s.dr[0] = 0x7000;
    m.cpu.s.dr7 = 0x400 | 1 | 0x30000 | 0x40000;
    m.cpu.refresh();
    if (faults)
      m.code({0x8E, 0x15, 0x00, 0x70, 0, 0, 0x0F, 0x0B});  // mov ss, [0x7000]; ud2
    else
      m.code({0x8E, 0x15, 0x00, 0x70, 0, 0, 0xF1});
    m.run(2);
    CHECK(m.handling() == (faults ? 6 : 1));
    CHECK(m.cpu.s.pending_db == 0);
    CHECK(m.stack(0, 4) == (faults ? M::kCode + 6 : M::kCode + 7));
  }
}

TEST_CASE("a code breakpoint's #DB is a fault with RF clear in its image; an IRET with RF set goes past it") {
  M m;
  m.protected32(0);
  m.cpu.s.dr[0] = M::kCode;
  m.cpu.s.dr7 = 0x400 | 1;
  m.cpu.refresh();
  m.code({0x90, 0x90});
  m.run(1);
  CHECK(m.handling() == 1);
  CHECK(m.stack(0, 4) == M::kCode);
  CHECK((m.stack(2, 4) & kRF) == 0);
  m.cpu.s.gpr[RSP] = M::kStack0;
  for (const u32 v : {u32{kRF | 2}, u32{M::kCode0}, static_cast<u32>(M::kCode)}) m.push(v, 4);
  m.run({0xCF});
  CHECK(m.cpu.s.flags.test(kRF));
  m.run(1);
  CHECK(m.cpu.s.rip == M::kCode + 1);
  CHECK(!m.cpu.s.flags.test(kRF));
}
