// What the comparison of AVX with the host's processor can't reach: who may use it, other modes, and gathers that fault.
#include <doctest/doctest.h>

#include "cpu/system/msr.h"
#include "cpu/system/test_machine.h"

using namespace callgate;
using test::TestMachine;

namespace {

/// 64-bit mode with AVX enabled.
struct Machine : TestMachine {
  explicit Machine(bool compatibility = false) {
    long64(0, compatibility);
    cpu.s.cr4 |= kCr4Osxsave;
    cpu.s.xcr0 = kXcr0X87 | kXcr0Sse | kXcr0Avx;
    for (unsigned n = 0; n < 16; n++) cpu.s.vec[n] = {{{n + 1, n + 2}}, {{n + 3, n + 4}}};
  }
  Vector fault() { return cpu.recent_faults().back().fault.vector; }
};

}  // namespace

TEST_CASE("AVX needs CR4.OSXSAVE and both components in XCR0, and is not available with CR0.TS; CR0.EM means nothing to it") {
  Machine m;
  Vector expected = Vector::UD;
  SUBCASE("OSXSAVE") { m.cpu.s.cr4 &= ~u64{kCr4Osxsave}; }
  SUBCASE("XCR0") { m.cpu.s.xcr0 = kXcr0X87 | kXcr0Sse; }
  SUBCASE("TS") {
    m.cpu.s.cr0 |= kCr0Ts;
    expected = Vector::NM;
  }
  m.run({0xC5, 0xF4, 0x58, 0xC2});  // vaddps ymm0, ymm1, ymm2
  CHECK(m.fault() == expected);

  Machine em;
  em.cpu.s.cr0 |= kCr0Em;
  em.cpu.s.cr4 &= ~u64{kCr4Osfxsr};
  em.run({0xC5, 0xF5, 0xFE, 0xC2});  // vpaddd ymm0, ymm1, ymm2
  CHECK(em.cpu.recent_faults().empty());
  CHECK(em.cpu.s.vec[0].hi.q[1] == 5 + 6);
}

TEST_CASE("AVX is #UD in real-address and virtual-8086 mode") {
  const auto run = [](TestMachine& m) {
    m.cpu.s.cr4 |= kCr4Osxsave;
    m.cpu.s.xcr0 = kXcr0X87 | kXcr0Sse | kXcr0Avx;
    m.run({0xC5, 0xF4, 0x58, 0xC2});
    return m.cpu.recent_faults().back().fault.vector;
  };
  TestMachine real, v86;
  real.real();
  CHECK(run(real) == Vector::UD);
  v86.v86(3);
  CHECK(run(v86) == Vector::UD);
}

TEST_CASE("A write behind VEX clears the register above it, SSE's keeps it") {
  Machine m;
  m.run({0xC5, 0xF1, 0xFE, 0xC2});  // vpaddd xmm0, xmm1, xmm2
  CHECK(m.cpu.s.vec[0].lo.q[0] == 2 + 3);
  CHECK(m.cpu.s.vec[0].hi.q[0] == 0);
  m.run({0x66, 0x0F, 0xFE, 0xDA});  // paddd xmm3, xmm2
  CHECK(m.cpu.s.vec[3].lo.q[0] == 4 + 3);
  CHECK(m.cpu.s.vec[3].hi.q[0] == 6);
}

TEST_CASE("VZEROUPPER and VZEROALL reach the registers that the mode has") {
  Machine m;
  m.run({0xC5, 0xF8, 0x77});
  CHECK(m.cpu.s.vec[15].lo.q[0] == 16);
  CHECK(m.cpu.s.vec[15].hi.q[0] == 0);
  m.run({0xC5, 0xFC, 0x77});
  CHECK(m.cpu.s.vec[15].lo.q[0] == 0);

  Machine compatibility(true);
  compatibility.run({0xC5, 0xFC, 0x77});
  CHECK(compatibility.cpu.s.vec[7].lo.q[0] == 0);
  CHECK(compatibility.cpu.s.vec[8].lo.q[0] == 9);
}

TEST_CASE("Outside 64-bit mode the upper bit of a register in an immediate is ignored, and so is VEX.W of VMOVD") {
  Machine m(true);
  m.cpu.s.vec[3] = {{{~u64{0}, 0}}, {}};
  m.run({0xC4, 0xE3, 0x71, 0x4C, 0xC2, 0xB0});  // vpblendvb xmm0, xmm1, xmm2, [11] is xmm3
  CHECK(m.cpu.s.vec[0].lo.q[0] == 3);
  CHECK(m.cpu.s.vec[0].lo.q[1] == 3);
  m.cpu.s.gpr[RAX] = 0xFFFFFFFF'00000001;
  m.run({0xC4, 0xE1, 0xF9, 0x6E, 0xC0});
  CHECK(m.cpu.s.vec[0].lo.q[0] == 1);
}

TEST_CASE("A gather that faults has done the lanes before, and goes on from there") {
  Machine m;
  constexpr u64 kTable = 0x50000, kHole = 0x60000000000;
  for (u64 n = 0; n < 4; n++) m.write<u64>(kTable + 8 * n, 100 + n);
  m.cpu.s.gpr[RDI] = kTable;
  m.cpu.s.vec[1] = {{{1, 0}}, {{kHole, 3}}};                          // indices in bytes / 8
  m.cpu.s.vec[2] = {{{~u64{0}, 1}}, {{u64{1} << 63, u64{1} << 63}}};  // the second lane is not selected
  const u64 at = m.cpu.s.rip;
  const std::initializer_list<u8> code = {0xC4, 0xE2, 0xED, 0x91, 0x04, 0xCF};  // vpgatherqq ymm0, [rdi + ymm1 * 8], ymm2
  m.run(code);
  CHECK(m.fault() == Vector::PF);
  CHECK(m.cpu.s.vec[0].lo.q[0] == 101);
  CHECK(m.cpu.s.vec[0].lo.q[1] == 2);
  CHECK(m.cpu.s.vec[0].hi.q[0] == 3);
  CHECK(m.cpu.s.vec[2].lo.q[0] == 0);
  CHECK(m.cpu.s.vec[2].hi.q[0] == u64{1} << 63);
  m.cpu.s.vec[1].hi.q[0] = 2;
  m.cpu.s.rip = at;
  m.run(code);
  CHECK(m.cpu.s.vec[0].hi.q[0] == 102);
  CHECK(m.cpu.s.vec[0].hi.q[1] == 103);
  CHECK(m.cpu.s.vec[2].hi.q[1] == 0);
}

TEST_CASE("A gather with two equal registers is #UD") {
  Machine m;
  m.run({0xC4, 0xE2, 0xED, 0x91, 0x14, 0xCF});  // destination and mask
  CHECK(m.fault() == Vector::UD);
}
