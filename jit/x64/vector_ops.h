// Which host instruction does an operation on vectors: the backend's dictionary. An operation that isn't here is executed
// by its instruction's handler.
#pragma once

#include "cpu/ir/ops.h"

namespace callgate::jit::x64 {

/// How the host's instruction takes the operation's operands. D is the destination register, S a register or memory.
enum class VectorShape : u8 {
  None,
  Binary,     ///< D = D op S
  Unary,      ///< D = op S
  BinaryImm,  ///< D = D op S, immediate
  UnaryImm,   ///< D = op S, immediate
  Shift,      ///< D = D shifted by S or by an immediate
  ToGpr,      ///< general register = op S
  ToGprImm,   ///< general register = op S, immediate
  FromGpr,    ///< D = op general register or memory
  InsertGpr,  ///< D = D with general register or memory in it, immediate
  Compare,    ///< EFLAGS from D and S
};

struct VectorOp {
  VectorShape shape = VectorShape::None;
  u32 inst = 0;  ///< asmjit's number
  bool rex_w = false;  ///< the general register has 64 bits
};

/// What does `info`, or a VectorOp of shape None.
const VectorOp& vector_op(const ir::OpInfo* info);

}  // namespace callgate::jit::x64
