// FXSAVE, XSAVE and relatives: layouts, modes, and what must be refused before anything is loaded.
#include <doctest/doctest.h>

#include "cpu/system/test_machine.h"

using namespace callgate;

namespace {

constexpr u64 kArea = 0x40000;
constexpr u32 kHeader = 512;

/// A machine in 64-bit mode with [rdi] = kArea, XSAVE on, and something in every register.
struct Machine : test::TestMachine {
  explicit Machine(unsigned cpl = 0, bool compatibility = false) {
    long64(cpl, compatibility);
    cpu.s.cr4 |= kCr4Osxsave;
    cpu.s.xcr0 = 3;
    cpu.s.gpr[RDI] = kArea;
    cpu.s.gpr[RAX] = 3;
    cpu.s.gpr[RDX] = 0;
    for (unsigned n = 0; n < 16; n++) cpu.s.vec[n].lo.q[0] = cpu.s.vec[n].lo.q[1] = 0x1111111111111111 * (n & 7) + n;
    X87State& x = cpu.s.x87;
    x.control = 0x37F;
    x.top = 6;
    x.empty = 0x3F;  // R6 and R7 hold something
    for (u16 n = 0; n < 8; n++) x.r[n] = {0x8000000000000000 + n, static_cast<u16>(0x3FFF + n)};
    x.opcode = 0x123;
    x.instruction_pointer = 0x123456789A;
    x.data_pointer = 0xABCDEF0123;
    x.instruction_selector = 0x33;
    x.data_selector = 0x2B;
    for (u64 at = kArea; at < kArea + 1024; at += 8) write<u64>(at, 0xEEEEEEEEEEEEEEEE);
  }
  template <class T>
  T saved(u64 offset) {
    return read<T>(kArea + offset);
  }
};

}  // namespace

TEST_CASE("FXSAVE writes ST registers by TOP, abridged tags, and nothing after the last XMM register") {
  Machine m;
  m.run({0x0F, 0xAE, 0x07});
  CHECK(m.handling() == -1);
  CHECK(m.saved<u16>(0) == 0x37F);
  CHECK(m.saved<u16>(2) == 6 << 11);
  CHECK(m.saved<u8>(4) == 0xC0);
  CHECK(m.saved<u16>(6) == 0x123);
  CHECK(m.saved<u32>(8) == 0x3456789A);
  CHECK(m.saved<u16>(12) == 0x33);
  CHECK(m.saved<u32>(16) == 0xCDEF0123);
  CHECK(m.saved<u16>(20) == 0x2B);
  CHECK(m.saved<u32>(24) == 0x1F80);
  CHECK(m.saved<u32>(28) == 0xFFFF);
  CHECK(m.saved<u64>(32) == 0x8000000000000006);  // ST(0) is R6
  CHECK(m.saved<u16>(40) == 0x4005);
  CHECK(m.saved<u64>(32 + 16 * 2) == 0x8000000000000000);  // ST(2) is R0
  CHECK(m.saved<u64>(160 + 16 * 15) == m.cpu.s.vec[15].lo.q[0]);
  CHECK(m.saved<u64>(416) == 0xEEEEEEEEEEEEEEEE);
}

TEST_CASE("FXSAVE with REX.W writes whole pointers") {
  Machine m;
  m.run({0x48, 0x0F, 0xAE, 0x07});
  CHECK(m.saved<u64>(8) == 0x123456789A);
  CHECK(m.saved<u64>(16) == 0xABCDEF0123);
}

TEST_CASE("FXSAVE outside 64-bit mode leaves the place of XMM8 and up alone, FXRSTOR leaves the registers") {
  Machine m(3, true);
  m.run({0x0F, 0xAE, 0x07});
  CHECK(m.handling() == -1);
  CHECK(m.saved<u64>(160 + 16 * 7) == m.cpu.s.vec[7].lo.q[0]);
  CHECK(m.saved<u64>(160 + 16 * 8) == 0xEEEEEEEEEEEEEEEE);
  const u64 kept = m.cpu.s.vec[8].lo.q[0];
  m.cpu.s.vec[7].lo.q[0] = 0;
  m.run({0x0F, 0xAE, 0x0F});
  CHECK(m.cpu.s.vec[7].lo.q[0] == m.saved<u64>(160 + 16 * 7));
  CHECK(m.cpu.s.vec[8].lo.q[0] == kept);
}

TEST_CASE("FXRSTOR brings back what FXSAVE saved") {
  Machine m;
  m.run({0x48, 0x0F, 0xAE, 0x07});
  const CpuState before = m.cpu.s;
  m.cpu.s.x87 = X87State{};
  for (VectorRegister& v : m.cpu.s.vec) v = {};
  m.cpu.s.mxcsr = 0;
  m.run({0x48, 0x0F, 0xAE, 0x0F});
  CHECK(m.cpu.s.x87.top == before.x87.top);
  CHECK(m.cpu.s.x87.empty == before.x87.empty);
  CHECK(m.cpu.s.x87.data_pointer == before.x87.data_pointer);
  CHECK(m.cpu.s.mxcsr == 0x1F80);
  for (unsigned n = 0; n < 8; n++) CHECK(m.cpu.s.x87.r[n] == before.x87.r[n]);
  for (unsigned n = 0; n < 16; n++) CHECK(m.cpu.s.vec[n].lo.q[1] == before.vec[n].lo.q[1]);
}

TEST_CASE("FXSAVE and FXRSTOR need 16-byte alignment and a clean CR0, but not CR4.OSFXSR") {
  Machine m;
  SUBCASE("alignment") {
    m.cpu.s.gpr[RDI] = kArea + 8;
    m.run({0x0F, 0xAE, 0x07});
    CHECK(m.last_fault() == "#GP(0x0)");
  }
  SUBCASE("TS") {
    m.cpu.s.cr0 |= kCr0Ts;
    m.run({0x0F, 0xAE, 0x0F});
    CHECK(m.last_fault() == "#NM");
  }
  SUBCASE("OSFXSR") {
    m.cpu.s.cr4 &= ~u64{kCr4Osfxsr};
    m.run({0x0F, 0xAE, 0x07});
    CHECK(m.handling() == -1);
  }
}

TEST_CASE("FXRSTOR with a reserved MXCSR bit loads nothing") {
  Machine m;
  m.run({0x0F, 0xAE, 0x07});
  m.write<u32>(kArea + 24, 0x10000);
  m.write<u16>(kArea, 0x27F);
  m.run({0x0F, 0xAE, 0x0F});
  CHECK(m.last_fault() == "#GP(0x0)");
  CHECK(m.cpu.s.x87.control == 0x37F);
}

TEST_CASE("LDMXCSR refuses reserved bits; STMXCSR stores the register") {
  Machine m;
  m.write<u32>(kArea, 0xFFFF);
  m.run({0x0F, 0xAE, 0x17});
  CHECK(m.cpu.s.mxcsr == 0xFFFF);
  m.write<u32>(kArea, 0x1FFFF);
  m.run({0x0F, 0xAE, 0x1F});
  CHECK(m.saved<u32>(0) == 0xFFFF);
  m.write<u32>(kArea, 0x1FFFF);
  m.run({0x0F, 0xAE, 0x17});
  CHECK(m.last_fault() == "#GP(0x0)");
  CHECK(m.cpu.s.mxcsr == 0xFFFF);
}

TEST_CASE("XSAVE writes the requested components and only their bits of XSTATE_BV") {
  Machine m;
  m.write<u64>(kArea + kHeader, 0xF1);
  m.cpu.s.gpr[RAX] = 2;
  m.run({0x0F, 0xAE, 0x27});
  CHECK(m.saved<u64>(kHeader) == 0xF3);
  CHECK(m.saved<u64>(0) == 0xEEEEEEEEEEEEEEEE);  // x87 not asked for
  CHECK(m.saved<u64>(32) == 0xEEEEEEEEEEEEEEEE);
  CHECK(m.saved<u32>(24) == 0x1F80);
  CHECK(m.saved<u64>(160 + 16) == m.cpu.s.vec[1].lo.q[0]);
  CHECK(m.saved<u64>(kHeader + 8) == 0xEEEEEEEEEEEEEEEE);  // the rest of the header is not written
  CHECK(m.saved<u64>(416) == 0xEEEEEEEEEEEEEEEE);
}

TEST_CASE("XSAVE says in XSTATE_BV which components are in their initial state, and writes them all the same") {
  Machine m;
  for (VectorRegister& v : m.cpu.s.vec) v = {};
  m.write<u64>(kArea + kHeader, 0);
  m.run({0x48, 0x0F, 0xAE, 0x27});
  CHECK(m.saved<u64>(kHeader) == 1);
  CHECK(m.saved<u64>(160) == 0);
  m.cpu.s.x87 = X87State{};
  m.run({0x48, 0x0F, 0xAE, 0x27});
  CHECK(m.saved<u64>(kHeader) == 0);
}

TEST_CASE("XRSTOR initialises requested components that XSTATE_BV lacks, and always loads MXCSR with SSE") {
  Machine m;
  for (unsigned n = 0; n < 8; n++) m.write<u64>(kArea + kHeader + 8 * n, 0);
  m.write<u32>(kArea + 24, 0x9FC0);
  m.run({0x0F, 0xAE, 0x2F});
  CHECK(m.handling() == -1);
  CHECK(m.cpu.s.vec[3].lo.q[0] == 0);
  CHECK(m.cpu.s.mxcsr == 0x9FC0);
  CHECK(m.cpu.s.x87.empty == 0xFF);
  CHECK(m.cpu.s.x87.control == 0x37F);
}

TEST_CASE("XRSTOR leaves components alone that were not requested") {
  Machine m;
  for (unsigned n = 0; n < 8; n++) m.write<u64>(kArea + kHeader + 8 * n, 0);
  m.cpu.s.gpr[RAX] = 1;
  m.run({0x0F, 0xAE, 0x2F});
  CHECK(m.cpu.s.vec[3].lo.q[0] != 0);
  CHECK(m.cpu.s.mxcsr == 0x1F80);
  CHECK(m.cpu.s.x87.empty == 0xFF);
}

TEST_CASE("XRSTOR refuses a header of another format, unknown components, bad MXCSR and bad alignment") {
  Machine m;
  for (unsigned n = 0; n < 8; n++) m.write<u64>(kArea + kHeader + 8 * n, 0);
  m.write<u32>(kArea + 24, 0x1F80);
  SUBCASE("component beyond XCR0") { m.write<u64>(kArea + kHeader, 4); }
  SUBCASE("XCOMP_BV of the standard format") { m.write<u64>(kArea + kHeader + 8, 3); }
  SUBCASE("compacted: component beyond XCR0") { m.write<u64>(kArea + kHeader + 8, u64{1} << 63 | 4); }
  SUBCASE("compacted: component that the area has no place for") {
    m.write<u64>(kArea + kHeader, 2);
    m.write<u64>(kArea + kHeader + 8, u64{1} << 63 | 1);
  }
  SUBCASE("compacted: reserved") {
    m.write<u64>(kArea + kHeader + 8, u64{1} << 63 | 3);
    m.write<u64>(kArea + kHeader + 56, 1);
  }
  SUBCASE("reserved") { m.write<u64>(kArea + kHeader + 16, 1); }
  SUBCASE("MXCSR") { m.write<u32>(kArea + 24, 0x80000000); }
  SUBCASE("alignment") { m.cpu.s.gpr[RDI] = kArea + 16; }
  m.run({0x0F, 0xAE, 0x2F});
  CHECK(m.last_fault() == "#GP(0x0)");
  CHECK(m.cpu.s.vec[3].lo.q[0] != 0);
  CHECK(m.cpu.s.x87.empty == 0x3F);
}

TEST_CASE("XSAVEOPT leaves out what is in its initial state, but MXCSR") {
  Machine m;
  for (VectorRegister& v : m.cpu.s.vec) v = {};
  m.write<u64>(kArea + kHeader, 0xF3);
  m.run({0x0F, 0xAE, 0x37});
  CHECK(m.handling() == -1);
  CHECK(m.saved<u64>(kHeader) == 0xF1);
  CHECK(m.saved<u16>(0) == 0x37F);
  CHECK(m.saved<u32>(24) == 0x1F80);
  CHECK(m.saved<u64>(160) == 0xEEEEEEEEEEEEEEEE);
  CHECK(m.saved<u64>(kHeader + 8) == 0xEEEEEEEEEEEEEEEE);
}

TEST_CASE("XSAVEC writes what is in use, and the format to the header; XRSTOR takes it") {
  Machine m;
  m.cpu.s.x87 = X87State{};
  m.cpu.s.mxcsr = 0x1FA0;
  m.run({0x48, 0x0F, 0xC7, 0x27});
  CHECK(m.handling() == -1);
  CHECK(m.saved<u64>(kHeader) == 2);
  CHECK(m.saved<u64>(kHeader + 8) == (u64{1} << 63 | 3));
  CHECK(m.saved<u64>(kHeader + 16) == 0xEEEEEEEEEEEEEEEE);
  CHECK(m.saved<u64>(0) == 0xEEEEEEEEEEEEEEEE);
  CHECK(m.saved<u32>(24) == 0x1FA0);
  CHECK(m.saved<u64>(160 + 16) == m.cpu.s.vec[1].lo.q[0]);
  for (unsigned n = 2; n < 8; n++) m.write<u64>(kArea + kHeader + 8 * n, 0);
  const u64 kept = m.cpu.s.vec[1].lo.q[0];
  for (VectorRegister& v : m.cpu.s.vec) v = {};
  m.cpu.s.mxcsr = 0x1F80;
  m.cpu.s.x87.control = 0x27F;
  m.run({0x0F, 0xAE, 0x2F});
  CHECK(m.handling() == -1);
  CHECK(m.cpu.s.vec[1].lo.q[0] == kept);
  CHECK(m.cpu.s.mxcsr == 0x1FA0);
  CHECK(m.cpu.s.x87.control == 0x37F);
  // Without SSE in XSTATE_BV the compacted format gives MXCSR its initial value, whatever stands in the area.
  m.write<u64>(kArea + kHeader, 0);
  m.run({0x0F, 0xAE, 0x2F});
  CHECK(m.cpu.s.mxcsr == 0x1F80);
  CHECK(m.cpu.s.vec[1].lo.q[0] == 0);
}

TEST_CASE("XGETBV of 1 tells the components in use") {
  Machine m;
  m.cpu.s.gpr[RCX] = 1;
  m.cpu.s.x87 = X87State{};
  m.run({0x0F, 0x01, 0xD0});
  CHECK(m.handling() == -1);
  CHECK(m.cpu.s.gpr[RAX] == 2);
  m.cpu.s.gpr[RCX] = 2;
  m.run({0x0F, 0x01, 0xD0});
  CHECK(m.last_fault() == "#GP(0x0)");
}

TEST_CASE("XSAVE is unknown without CR4.OSXSAVE and not available with CR0.TS") {
  Machine m;
  SUBCASE("OSXSAVE") {
    m.cpu.s.cr4 &= ~u64{kCr4Osxsave};
    m.run({0x0F, 0xAE, 0x27});
    CHECK(m.last_fault() == "#UD");
  }
  SUBCASE("TS") {
    m.cpu.s.cr0 |= kCr0Ts;
    m.run({0x0F, 0xAE, 0x27});
    CHECK(m.last_fault() == "#NM");
  }
}

TEST_CASE("AVX's component lies behind the header, and XRSTOR brings it back from both formats") {
  Machine m;
  m.cpu.s.xcr0 = 7;
  m.cpu.s.gpr[RAX] = 7;
  for (unsigned n = 0; n < 16; n++) m.cpu.s.vec[n].hi.q[0] = 100 + n;
  for (unsigned n = 0; n < 8; n++) m.write<u64>(kArea + kHeader + 8 * n, 0);
  const VectorRegister before = m.cpu.s.vec[9];
  SUBCASE("XSAVE") { m.run({0x0F, 0xAE, 0x27}); }
  SUBCASE("XSAVEC") { m.run({0x0F, 0xC7, 0x27}); }
  CHECK(m.saved<u64>(kHeader) == 7);
  CHECK(m.saved<u64>(576 + 16 * 9) == 109);
  for (VectorRegister& v : m.cpu.s.vec) v = {};
  m.run({0x0F, 0xAE, 0x2F});
  CHECK(m.handling() == -1);
  CHECK(m.cpu.s.vec[9].lo.q[1] == before.lo.q[1]);
  CHECK(m.cpu.s.vec[9].hi.q[0] == 109);
}

TEST_CASE("EMMS empties the registers, every other MMX instruction fills them") {
  Machine m;
  m.run({0x0F, 0x77});
  CHECK(m.cpu.s.x87.empty == 0xFF);
  CHECK(m.cpu.s.x87.top == 0);
  m.cpu.s.x87.top = 5;
  m.run({0x0F, 0x7F, 0x07});  // movq [rdi], mm0
  CHECK(m.cpu.s.x87.empty == 0);
  CHECK(m.cpu.s.x87.top == 0);
  m.run({0x0F, 0x6F, 0x0F});  // movq mm1, [rdi]
  CHECK(m.cpu.s.x87.r[1].sign_exponent == 0xFFFF);
}
