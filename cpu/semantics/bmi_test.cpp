// What the comparison of BMI with the host's processor can't reach: the modes that have no VEX.
#include <doctest/doctest.h>

#include "cpu/system/test_machine.h"

using namespace callgate;
using test::TestMachine;

TEST_CASE("BMI is #UD in real-address and virtual-8086 mode, and works without CR4.OSXSAVE in protected mode") {
  TestMachine real;
  real.real();
  real.run({0xC4, 0xE2, 0x70, 0xF2, 0xC3});  // andn eax, ecx, ebx
  CHECK(real.cpu.recent_faults().back().fault.vector == Vector::UD);

  TestMachine v86;
  v86.v86(3);
  v86.run({0xC4, 0xE2, 0x70, 0xF2, 0xC3});
  CHECK(v86.cpu.recent_faults().back().fault.vector == Vector::UD);

  TestMachine m;
  m.protected32();
  m.cpu.s.gpr[RCX] = 0xF0;
  m.cpu.s.gpr[RBX] = 0xFF;
  m.run({0xC4, 0xE2, 0xF0, 0xF2, 0xC3});  // VEX.W is ignored
  CHECK(m.cpu.s.gpr[RAX] == 0x0F);
  CHECK(m.cpu.recent_faults().empty());
}
