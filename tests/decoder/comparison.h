// One string of bytes as three readers see it: our decoder, Capstone, and a plain scan for prefixes and opcode that
// both decoders' differences are described with.
#pragma once

#include <functional>
#include <string>

#include "cpu/decoder.h"
#include "tests/decoder/random_code.h"

namespace callgate::decoder_test {

/// Where the opcode is, found without either decoder.
struct Outline {
  bool opsize = false, asize = false, lock = false;
  u8 rep = 0;       ///< the last of F2 and F3
  u8 rex = 0;       ///< only when the opcode follows at once
  u8 prefixes = 0;  ///< how many bytes, REX included
  u8 map = 0;       ///< 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A; behind VEX kVexMaps more
  bool vex = false, vex_w = false, vex_l = false;
  u8 vvvv = 0;      ///< not inverted
  u8 opcode = 0;
  u8 modrm = 0;  ///< the byte after the opcode, whether or not it is a ModRM
  unsigned reg() const { return modrm >> 3 & 7; }
  bool register_form() const { return modrm >= 0xC0; }
};
Outline outline(const CodeBytes& bytes, CodeSize size);

/// What Capstone says.
struct CapstoneView {
  bool valid = false;
  unsigned length = 0;
  std::string mnemonic, operands;
  std::string groups;  ///< names with a space before and after each: " sse41 mode64 "
  bool in_group(const char* name) const { return groups.find(" " + std::string(name) + " ") != std::string::npos; }
};

/// One string of bytes with all that was said about it.
struct Comparison {
  CodeBytes bytes;
  CodeSize size;
  Outline at;
  DecodeStatus status;
  Insn ours;
  CapstoneView theirs;
  std::function<unsigned(const CodeBytes&)> capstone_length;  ///< asks Capstone about other bytes; 0: invalid
  bool valid() const { return status == DecodeStatus::Ok; }
  bool is_row(const char* name) const;
};

/// The bytes with each kind of prefix once, in the order that assemblers write: segment, 67, LOCK, 66, F2 or F3, REX.
/// `removed` is how many bytes shorter that is.
CodeBytes with_tidy_prefixes(const Comparison& c, unsigned& removed);

/// "16-bit", "32-bit", "64-bit".
const char* size_name(CodeSize size);
/// The whole comparison in a line.
std::string describe(const Comparison& c);

}  // namespace callgate::decoder_test
