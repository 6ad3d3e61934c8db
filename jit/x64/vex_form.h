// An instruction behind VEX as the host takes it: recognised by its row, since these rows have no IR. Where the host has the
// feature, its instruction of the same encoding does the same to the same registers: of vector instructions the encoding
// stays as it is but for operands in memory and in general registers. Emits nothing.
#pragma once

#include "cpu/ir/ir.h"
#include "jit/x64/host.h"

namespace callgate::jit::x64 {

struct VexForm {
  enum Kind : u8 {
    None,     ///< the handler's
    Vector,   ///< AVX, AVX2, FMA, F16C, AES and the like
    Integer,  ///< BMI1 and BMI2: operands in general registers and memory
  } kind = None;
  u8 map = 0;     ///< as VEX has it: 1 is 0F, 2 is 0F 38, 3 is 0F 3A
  u8 prefix = 0;  ///< likewise: 1 is 66, 2 is F3, 3 is F2
  bool has_modrm = false, has_imm = false;
  bool w = false;
  // The operand in memory.
  bool is_memory = false, stores = false;
  u8 size = 0;       ///< in bytes
  u8 alignment = 1;
  // Vector: a general register in ModRM.reg or ModRM.rm.
  bool reg_is_gpr = false, rm_is_gpr = false;
  bool writes_gpr = false;  ///< it is the destination
  u8 gpr_size = 4;
  bool writes_flags = false;

  unsigned gpr(const Insn& i) const { return reg_is_gpr ? i.reg : i.rm; }
};

/// The form of an instruction in a mode in which AVX may be used (`avx`) with all SSE exceptions masked.
VexForm vex_form(const ir::Mode& mode, const Insn& insn, const Host& host, bool avx);
/// Gives each of these instructions ops that stand for its access and for the general registers that it writes, so that the
/// passes know what it does and needn't take it for a handler's. They come last in the block.
void note_vex(ir::Block& block, const Host& host, bool avx);

}  // namespace callgate::jit::x64
