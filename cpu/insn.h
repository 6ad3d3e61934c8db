// A decoded instruction: what the decoder found out once, so that executing it looks nothing up.
#pragma once

#include "base/types.h"
#include "cpu/state.h"

namespace callgate {

class Cpu;
struct Insn;
struct Row;

/// Executes one instruction: commits its effects, sets the next RIP, or raises a fault with nothing committed.
using ExecFn = void (*)(Cpu&, const Insn&);

/// Code size of the current code segment: the only part of the processor's mode that decoding depends on.
enum class CodeSize : u8 { Bits16, Bits32, Bits64 };

/// REP prefixes as the string instructions see them.
enum class Rep : u8 { None, RepE, RepNe };  // F3, F2

/// One decoded instruction.
struct Insn {
  ExecFn exec = nullptr;
  const Row* row = nullptr;  ///< nullptr for an invalid encoding: exec raises #UD
  u64 imm = 0;               ///< the immediate, sign-extended from its encoded size; moffs; far pointer: offset
  i32 disp = 0;              ///< displacement of the memory operand
  u16 imm2 = 0;              ///< far pointer: selector; ENTER: the nesting level
  u16 page_offset = 0;       ///< place in its page (decode cache)
  u8 length = 0;             ///< 1 to 15 bytes
  u8 width = 4;              ///< effective operand size in bytes: 2, 4 or 8; of vectors behind VEX: 16 or 32
  u8 asize = 8;              ///< effective address size in bytes: 2, 4 or 8
  u8 ea_shift = 0;           ///< 64 - 8 * asize: cuts an effective address by two shifts
  u8 base = kGprZero;        ///< register slot of the memory operand's base (kGprRip: the next instruction's address)
  u8 index = kGprZero;       ///< register slot of the index; of a gather: the number of a vector register
  u8 scale = 0;              ///< shift of the index
  u8 seg = DS;               ///< effective segment of the memory operand, override applied
  u8 reg = 0;                ///< ModRM.reg with REX.R: a register number
  u8 rm = 0;                 ///< ModRM.rm with REX.B when the operand is a register; the low 3 opcode bits with REX.B for +r
  u8 vvvv = 0;               ///< VEX.vvvv: a register number
  u8 reg_byte = 0;           ///< byte offset in the register file of `reg` as a byte register (AH to BH included)
  u8 rm_byte = 0;            ///< the same for `rm`
  u8 opcode = 0;             ///< the last opcode byte; its low 4 bits are the condition of Jcc, SETcc, CMOVcc
  u8 modrm = 0;            ///< as encoded; 0 when there is none
  bool is_memory : 1 = false;    ///< the r/m operand is in memory
  bool lock : 1 = false;         ///< LOCK was there (and is allowed)
  bool rex_w : 1 = false;
  bool has_rex : 1 = false;
  bool opsize_prefix : 1 = false;  ///< 66 was there
  bool vex_l : 1 = false;
  bool has_seg_override : 1 = false;
  bool ends_block : 1 = false;   ///< control may go elsewhere after it
  Rep rep = Rep::None;
  CodeSize code_size = CodeSize::Bits64;
};

}  // namespace callgate
