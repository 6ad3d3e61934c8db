// What the comparison with Capstone (tests/decoder) can't say: the operands of a decoded instruction.
#include "cpu/decoder.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <vector>

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
