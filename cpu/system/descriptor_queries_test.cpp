// LAR, LSL, VERR and VERW against the manual's tables, for every descriptor type. Refs: SDM 2, LAR, "Segment and Gate
// Types"; LSL, "Segment and Gate Descriptor Types"; VERR/VERW.
#include <doctest/doctest.h>

#include <string>

#include "cpu/system/test_machine.h"

using namespace callgate;
using test::descriptor;
using M = test::TestMachine;

namespace {

// One character a system type, 0 to F: Y where the manual's table says that the instruction accepts it.
constexpr const char* kLarLegacy = "-YYYYY---Y-YY---";
constexpr const char* kLarLong = "--Y------Y-YY---";
constexpr const char* kLslLegacy = "-YYY-----Y-Y----";
constexpr const char* kLslLong = "--Y------Y-Y----";
constexpr u16 kSelector = M::kFree;

/// Executes `0F opcode /r` on the descriptor with the access byte; true when it set ZF.
bool accepts(M& m, std::initializer_list<u8> code, u8 access, u16 selector = kSelector) {
  m.set_gdt(kSelector, descriptor(0x12345678, 0x9ABCD, access, 5));
  m.set_gdt(kSelector + 8, 0);
  m.cpu.s.gpr[RAX] = selector;
  m.cpu.s.gpr[RCX] = 0x5555;
  m.run(code);
  CHECK(m.last_fault() == "none");
  return m.cpu.s.flags.zf();
}

constexpr std::initializer_list<u8> kLar = {0x0F, 0x02, 0xC8}, kLsl = {0x0F, 0x03, 0xC8}, kVerr = {0x0F, 0x00, 0xE0},
                                    kVerw = {0x0F, 0x00, 0xE8};

}  // namespace

TEST_CASE("LAR and LSL accept the system descriptors of the manual's tables, outside and in long mode") {
  for (const bool long_mode : {false, true}) {
    M m;
    if (long_mode) m.long64(0);
    else m.protected32(0);
    for (u8 type = 0; type < 16; type++) {
      CAPTURE(int{type});
      const u8 access = static_cast<u8>(0x80 | type);
      const bool lar = accepts(m, kLar, access);
      CHECK(lar == ((long_mode ? kLarLong : kLarLegacy)[type] == 'Y'));
      CHECK(m.cpu.s.gpr[RCX] == (lar ? 0x00590000u | u32{access} << 8 : 0x5555u));
      const bool lsl = accepts(m, kLsl, access);
      CHECK(lsl == ((long_mode ? kLslLong : kLslLegacy)[type] == 'Y'));
      CHECK(m.cpu.s.gpr[RCX] == (lsl ? 0x9ABCDu : 0x5555u));
      CHECK(!accepts(m, kVerr, access));
      CHECK(!accepts(m, kVerw, access));
    }
  }
}

TEST_CASE("LAR and LSL accept all code and data segments, VERR the readable, VERW the writable ones; absent ones too") {
  M m;
  m.protected32(0);
  for (const u8 present : {0x80, 0x00})
    for (u8 type = 0; type < 16; type++) {
      CAPTURE(int{type});
      const u8 access = static_cast<u8>(present | 0x10 | type);
      CHECK(accepts(m, kLar, access));
      CHECK(accepts(m, kLsl, access));
      CHECK(accepts(m, kVerr, access) == (type < 8 || (type & 2)));
      CHECK(accepts(m, kVerw, access) == (type < 8 && (type & 2)));
    }
}

TEST_CASE("CPL and RPL must reach the descriptor's DPL, but for conforming code") {
  for (unsigned cpl = 0; cpl < 4; cpl += 3)
    for (unsigned rpl = 0; rpl < 4; rpl++)
      for (unsigned dpl = 0; dpl < 4; dpl++) {
        M m;
        m.protected32(cpl);
        const bool reached = dpl >= cpl && dpl >= rpl;
        const u16 selector = static_cast<u16>(kSelector | rpl);
        for (const u8 type : {0x13, 0x1B, 0x1F, 0x0B}) {
          const bool conforming = type == 0x1F;
          const u8 access = static_cast<u8>(0x80 | dpl << 5 | type);
          CHECK(accepts(m, kLar, access, selector) == (reached || conforming));
          CHECK(accepts(m, kLsl, access, selector) == (reached || conforming));
          if (type & 0x10) CHECK(accepts(m, kVerr, access, selector) == (reached || conforming));
        }
      }
}

TEST_CASE("LSL gives the limit in bytes, and LAR and LSL cut to the operand size") {
  M m;
  m.protected32(0);
  m.set_gdt(kSelector, descriptor(0, 0x12345, 0x93, 12));
  m.cpu.s.gpr[RAX] = kSelector;
  m.cpu.s.gpr[RCX] = 0x55555555;
  m.run({0x0F, 0x03, 0xC8});
  CHECK(m.cpu.s.gpr[RCX] == 0x12345FFF);
  m.run({0x66, 0x0F, 0x03, 0xC8});
  CHECK(m.cpu.s.gpr[RCX] == 0x12345FFF);
  m.cpu.s.gpr[RCX] = 0x55555555;
  m.run({0x66, 0x0F, 0x02, 0xC8});
  CHECK(m.cpu.s.gpr[RCX] == 0x55559300);
}
