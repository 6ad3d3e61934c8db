// A vector instruction as the host takes it: recognised in an instruction's ops as a whole, since x86's own vector
// instructions come back as one host instruction each. Emits nothing.
#pragma once

#include "cpu/ir/ir.h"
#include "jit/x64/vector_ops.h"

namespace callgate::jit::x64 {

/// An operand of a vector instruction.
struct VectorOperand {
  enum Kind : u8 { None, Vector, Gpr, Memory, Immediate } kind = None;
  u8 reg = 0;
  u8 size = 0;  ///< bytes
  u32 op = 0;   ///< Memory: the op that accesses it
  u64 imm = 0;
};

struct VectorForm {
  enum Kind : u8 {
    None,     ///< no vector instruction that the host can do
    Compute,  ///< `op` with its shape
    Move,     ///< source to destination: registers, memory, extended with zeros if `zeros`
    StoreHigh,///< the upper half of the source to memory
  } kind = None;
  VectorOp op;
  VectorOperand destination, source;
  u8 imm = 0;
  bool zeros = false;      ///< a Move clears the rest of the destination
  u8 alignment = 1;        ///< of the memory operand
  u32 flags_op = 0;        ///< Compare: the op that defines the flags
};

VectorForm vector_form(const ir::Block& block, const ir::BlockInsn& insn);

}  // namespace callgate::jit::x64
