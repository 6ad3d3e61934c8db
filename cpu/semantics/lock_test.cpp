// LOCK: allowed for the manual's instructions with a memory destination, #UD for everything else, and then before
// anything that the operand would raise. Ref: SDM 2, "LOCK - Assert LOCK# Signal Prefix".
#include <doctest/doctest.h>

#include <string>

#include "cpu/decoder.h"
#include "cpu/semantics/test_cpu.h"

using namespace callgate;
using test::Mode;
using test::TestCpu;

namespace {

/// The manual's list, by opcode and ModRM.reg, for a memory operand.
bool lockable(bool two_byte, u8 opcode, unsigned reg) {
  if (!two_byte) {
    // ADD, OR, ADC, SBB, AND, SUB, XOR of a register; not CMP, and not with memory as the source.
    if (opcode < 0x38 && (opcode & 7) < 2) return true;
    switch (opcode) {
      case 0x80:
      case 0x81:
      case 0x82:
      case 0x83: return reg != 7;                   // the same with an immediate
      case 0x86:
      case 0x87: return true;                       // XCHG
      case 0xF6:
      case 0xF7: return reg == 2 || reg == 3;       // NOT, NEG
      case 0xFE:
      case 0xFF: return reg < 2;                    // INC, DEC
      default: return false;
    }
  }
  switch (opcode) {
    case 0xAB:
    case 0xB3:
    case 0xBB: return true;                         // BTS, BTR, BTC
    case 0xBA: return reg >= 5;                     // the same with an immediate
    case 0xB0:
    case 0xB1: return true;                         // CMPXCHG
    case 0xC0:
    case 0xC1: return true;                         // XADD
    case 0xC7: return reg == 1;                     // CMPXCHG8B, CMPXCHG16B
    default: return false;
  }
}

bool is_prefix(u8 b) {
  constexpr u8 kPrefixes[] = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3};
  return std::find(std::begin(kPrefixes), std::end(kPrefixes), b) != std::end(kPrefixes);
}

void check_all(CodeSize size) {
  for (const bool two_byte : {false, true})
    for (unsigned opcode = 0; opcode < 256; opcode++) {
      if (!two_byte && (opcode == 0x0F || is_prefix(static_cast<u8>(opcode)))) continue;
      if (!two_byte && size == CodeSize::Bits64 && (opcode & 0xF0) == 0x40) continue;  // REX
      if (two_byte && (opcode == 0x38 || opcode == 0x3A)) continue;                    // further maps
      for (unsigned reg = 0; reg < 8; reg++)
        for (const bool memory : {false, true}) {
          const u8 modrm = static_cast<u8>((memory ? 0x00 : 0xC0) | reg << 3 | 3);
          u8 code[16] = {0xF0};
          u8* at = code + 1;
          if (two_byte) *at++ = 0x0F;
          *at++ = static_cast<u8>(opcode);
          *at = modrm;
          Insn insn;
          decode(code, size, insn);
          const bool expected = memory && lockable(two_byte, static_cast<u8>(opcode), reg) &&
                                !(opcode == 0x82 && !two_byte && size == CodeSize::Bits64);
          CHECK_MESSAGE((insn.row != nullptr) == expected, std::string(two_byte ? "0F " : ""), opcode, " /", reg,
                        std::string(memory ? " memory" : " register"));
        }
    }
}

}  // namespace

TEST_CASE("LOCK goes with the manual's list and a memory destination, and with nothing else") {
  check_all(CodeSize::Bits16);
  check_all(CodeSize::Bits32);
  check_all(CodeSize::Bits64);
}

TEST_CASE("LOCK on three-byte maps, strings, x87 and SSE is #UD") {
  TestCpu t(Mode::Long64);
  t.cpu().s.cr4 |= kCr4Osfxsr;
  t.gpr(RBX) = 0x8000;
  const std::initializer_list<u8> kCodes[] = {
      {0xF0, 0xA4}, {0xF0, 0xF3, 0xA4}, {0xF0, 0x90}, {0xF0, 0xD9, 0x03}, {0xF0, 0x0F, 0x58, 0x03},
      {0xF0, 0x0F, 0x38, 0xF0, 0x03},
      {0xF0, 0x0F, 0xC7, 0xCB}, {0xF0, 0x48, 0x0F, 0xB1, 0xCB}};
  for (const auto& code : kCodes) {
    const auto fault = t.run(code);
    REQUIRE(fault);
    CHECK(fault->vector == Vector::UD);
  }
}
