// The encoding column of a row, parsed (see cpu/table/row.h for its language), and the rows by opcode.
#pragma once

#include <array>
#include <vector>

#include "cpu/table/row.h"

namespace callgate {

/// What must stand before an opcode.
enum class MandatoryPrefix : u8 { Any, NoRepeat, None, P66, PF3, PF2 };

/// What VEX.L must be.
enum class VexLength : u8 {
  Any,      ///< 128 or 256 bits: the operand size
  Only128,  ///< 0 (the manual's 128, LZ, L0)
  Only256,  ///< 1
  Ignored,  ///< LIG: the operand size is 128 bits
};

/// The immediates that follow.
enum class ImmKind : u8 { None, Byte, Word, Dword, OperandZ, OperandV, RelByte, RelZ, FarPointer, Moffs };

/// An encoding, parsed.
struct Encoding {
  const Row* row = nullptr;
  u8 map = 0;  ///< 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A; behind VEX: kVexMaps + 1 to 3
  u8 opcode = 0;
  MandatoryPrefix prefix = MandatoryPrefix::Any;
  bool rexw_only = false, rexw_never = false;  ///< REX.W or VEX.W
  bool vex = false;
  VexLength vex_length = VexLength::Any;
  bool width_by_w = false;  ///< VEX: an operand's size depends on VEX.W (y), so that is the operand size and not VEX.L
  bool uses_vvvv = false;   ///< an operand is VEX.vvvv; else it must be 1111
  bool register_in_immediate = false;  ///< /is4
  bool vsib = false;        ///< the memory operand has a vector index
  bool register_in_opcode = false;   ///< +r
  bool condition_in_opcode = false;  ///< +cc
  bool has_modrm = false;
  i8 extension = -1;      ///< /0 to /7
  i16 exact_modrm = -1;   ///< =XX
  bool mod_ignored = false;  ///< MOV CR and MOV DR: always the register form
  bool memory_ok = true, register_ok = true;
  ImmKind imm = ImmKind::None, imm2 = ImmKind::None;
};

/// Parses a row's encoding. A malformed row is our own bug: VERIFY.
Encoding parse_encoding(const Row& row);

/// Where the maps of VEX begin among the opcode maps.
constexpr u8 kVexMaps = 4;

/// Candidates for each opcode, most specific first.
using OpcodeMaps = std::array<std::array<std::vector<Encoding>, 256>, kVexMaps + 4>;
const OpcodeMaps& opcode_maps();

}  // namespace callgate
