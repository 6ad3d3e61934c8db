// RDRAND and RDSEED: a sequence that a run can repeat.
#include <doctest/doctest.h>

#include <set>

#include "cpu/system/random.h"
#include "cpu/system/test_machine.h"

using namespace callgate;

namespace {

struct Machine : test::TestMachine {
  Machine() { long64(3); }
  u64 random(std::initializer_list<u8> code) {
    cpu.s.rip = kCode;
    run(code);
    CHECK(handling() == -1);
    CHECK(cpu.s.flags.arithmetic() == kCF);
    return cpu.s.gpr[RBX];
  }
};

}  // namespace

TEST_CASE("RDRAND and RDSEED take their numbers from one sequence, the same in every run and another on every processor") {
  Machine a, b;
  const std::initializer_list<u8> rdrand = {0x48, 0x0F, 0xC7, 0xF3}, rdseed = {0x48, 0x0F, 0xC7, 0xFB};
  std::set<u64> seen;
  for (unsigned n = 0; n < 100; n++) {
    const u64 number = a.random(n & 1 ? rdrand : rdseed);
    CHECK(number == b.random(rdrand));
    seen.insert(number);
  }
  CHECK(seen.size() == 100);
  CHECK(first_random_place(0) != first_random_place(1));
  CHECK(a.cpu.s.random != first_random_place(0));
  a.cpu.reset();
  CHECK(a.cpu.s.random == b.cpu.s.random);
}

TEST_CASE("RDRAND of 16 and 32 bits: as any write of such a register") {
  Machine m;
  m.cpu.s.gpr[RBX] = ~u64{0};
  CHECK((m.random({0x66, 0x0F, 0xC7, 0xF3}) >> 16) == 0xFFFFFFFFFFFF);
  CHECK((m.random({0x0F, 0xC7, 0xF3}) >> 32) == 0);
  m.cpu.s.gpr[RBX] = 0;
  CHECK((m.random({0x66, 0x48, 0x0F, 0xC7, 0xF3}) >> 32) != 0);  // REX.W before 66
}
