// What the comparison with Capstone (tests/decoder) can't say: the operands of a decoded instruction.
#include "cpu/decoder.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "cpu/table/row.h"

using namespace callgate;

namespace {

Insn decoded(std::initializer_list<u8> bytes, CodeSize size) {
  Insn insn;
  const std::vector<u8> code(bytes);
  CHECK(decode(code, size, insn) == DecodeStatus::Ok);
  CHECK(insn.length == code.size());
  return insn;
}

}  // namespace

TEST_CASE("In 64-bit mode an ignored segment override does not undo FS or GS before it") {
  // Seen on a processor: 64 2E 48 8B 01 loads from FS.
  CHECK(decoded({0x64, 0x2E, 0x48, 0x8B, 0x01}, CodeSize::Bits64).seg == FS);
  CHECK(decoded({0x65, 0x36, 0x8B, 0x01}, CodeSize::Bits64).seg == GS);
  CHECK(decoded({0x65, 0x64, 0x8B, 0x01}, CodeSize::Bits64).seg == FS);
  CHECK(decoded({0x2E, 0x8B, 0x01}, CodeSize::Bits64).seg == DS);
}

TEST_CASE("Outside 64-bit mode the last segment override counts") {
  CHECK(decoded({0x64, 0x2E, 0x8B, 0x01}, CodeSize::Bits32).seg == CS);
  CHECK(decoded({0x2E, 0x64, 0x8B, 0x01}, CodeSize::Bits16).seg == FS);
}

TEST_CASE("66 is the operand size of MOVBE, CRC32 and POPCNT, beside F2 and F3 that select them") {
  CHECK(decoded({0x0F, 0x38, 0xF0, 0x07}, CodeSize::Bits16).width == 2);
  CHECK(decoded({0x66, 0x0F, 0x38, 0xF0, 0x07}, CodeSize::Bits16).width == 4);
  CHECK(decoded({0x66, 0x0F, 0x38, 0xF0, 0x07}, CodeSize::Bits32).width == 2);
  CHECK(decoded({0x66, 0x48, 0x0F, 0x38, 0xF0, 0x07}, CodeSize::Bits64).width == 8);
  CHECK(decoded({0xF3, 0x66, 0x0F, 0xB8, 0xC0}, CodeSize::Bits64).width == 2);
  CHECK(decoded({0x66, 0xF2, 0x0F, 0x38, 0xF1, 0xC0}, CodeSize::Bits16).width == 4);
  Insn insn;
  const std::vector<u8> repeated{0xF3, 0x0F, 0x38, 0xF0, 0x07};
  CHECK(decode(repeated, CodeSize::Bits64, insn) == DecodeStatus::Invalid);
}

TEST_CASE("REX counts only directly before the opcode") {
  CHECK(decoded({0x48, 0x8B, 0x01}, CodeSize::Bits64).width == 8);
  CHECK(decoded({0x48, 0x66, 0x8B, 0x01}, CodeSize::Bits64).width == 2);
  CHECK_FALSE(decoded({0x41, 0x3E, 0x8B, 0x01}, CodeSize::Bits64).has_rex);
}

TEST_CASE("An instruction of more than 15 bytes is too long only when 15 bytes are there") {
  // Seen on a processor: with an inaccessible page after 13 of the bytes it is a page fault.
  const std::vector<u8> code{0x2E, 0x2E, 0x2E, 0x2E, 0x2E, 0x2E, 0x65, 0x45, 0x0F, 0xAE, 0x24, 0x85, 0xF4, 0x09, 0, 0};
  Insn insn;
  CHECK(decode(code, CodeSize::Bits64, insn) == DecodeStatus::TooLong);
  CHECK(decode({code.data(), 15}, CodeSize::Bits64, insn) == DecodeStatus::TooLong);
  CHECK(decode({code.data(), 14}, CodeSize::Bits64, insn) == DecodeStatus::Truncated);
  CHECK(decode({code.data(), 13}, CodeSize::Bits64, insn) == DecodeStatus::Truncated);
}

TEST_CASE("VEX: registers, length and opcode map from both forms") {
  const Insn andn = decoded({0xC4, 0x42, 0xB0, 0xF2, 0xC3}, CodeSize::Bits64);  // andn r8, r9, r11
  CHECK(andn.reg == 8);
  CHECK(andn.vvvv == 9);
  CHECK(andn.rm == 11);
  CHECK(andn.width == 8);
  CHECK(decoded({0xC4, 0xE2, 0x30, 0xF2, 0xC3}, CodeSize::Bits64).width == 4);
  CHECK(decoded({0xC4, 0xE2, 0xB0, 0xF2, 0xC3}, CodeSize::Bits32).width == 4);  // VEX.W is ignored
  CHECK(decoded({0xC4, 0xE3, 0xFB, 0xF0, 0x04, 0x24, 7}, CodeSize::Bits64).imm == 7);
}

TEST_CASE("Outside 64-bit mode C4 and C5 are VEX only where LES and LDS would have a register") {
  CHECK(decoded({0xC4, 0x42, 0x10}, CodeSize::Bits32).row->name == std::string("les"));
  CHECK(decoded({0xC5, 0x06, 0x34, 0x12}, CodeSize::Bits16).row->name == std::string("lds"));
  // B and the top bit of vvvv are ignored.
  const Insn andn = decoded({0xC4, 0xC2, 0x30, 0xF2, 0xC3}, CodeSize::Bits32);
  CHECK(andn.rm == RBX);
  CHECK(andn.vvvv == 1);
}

TEST_CASE("VEX does not stand behind 66, F2, F3, LOCK or REX, and wants its unused fields as the manual says") {
  Insn insn;
  const auto status = [&](std::vector<u8> code) {
    code.resize(15, 0);
    return decode(code, CodeSize::Bits64, insn);
  };
  CHECK(status({0xC4, 0xE2, 0x30, 0xF2, 0xC3}) == DecodeStatus::Ok);
  for (const u8 prefix : {0x66, 0xF2, 0xF3, 0xF0, 0x40, 0x48}) CHECK(status({prefix, 0xC4, 0xE2, 0x30, 0xF2, 0xC3}) == DecodeStatus::Invalid);
  CHECK(status({0x48, 0x2E, 0xC4, 0xE2, 0x30, 0xF2, 0xC3}) == DecodeStatus::Ok);  // this REX doesn't count
  CHECK(status({0xC4, 0xE2, 0x34, 0xF2, 0xC3}) == DecodeStatus::Invalid);         // ANDN with VEX.L
  CHECK(status({0xC4, 0xE3, 0x7B, 0xF0, 0xC3}) == DecodeStatus::Ok);              // RORX uses no vvvv
  CHECK(status({0xC4, 0xE3, 0x73, 0xF0, 0xC3}) == DecodeStatus::Invalid);
  CHECK(status({0xC4, 0xE0, 0x30, 0xF2, 0xC3}) == DecodeStatus::Invalid);  // there is no opcode map 0
  CHECK(status({0xC4, 0xE4, 0x30, 0xF2, 0xC3}) == DecodeStatus::Invalid);
}
