// How a block ends, as far as it is a jump to an address that is known.
#pragma once

#include "cpu/ir/ir.h"

namespace callgate::jit {

/// The jump that a block ends with, if it goes to an address that is known.
struct LastJump {
  enum Kind : u8 { None, Always, Conditional } kind = None;
  u64 target = 0;
  u32 when = 0;  ///< op
};

inline LastJump last_jump(const ir::Block& block) {
  const ir::BlockInsn& last = block.insns.back();
  const auto op = [&](u32 from_end) -> const ir::Op& { return block.ops[last.first + last.count - from_end]; };
  using enum ir::Opcode;
  if (last.count == 2 && op(2).opcode == Constant && op(1).opcode == Jump) return {LastJump::Always, op(2).imm, 0};
  if (last.count >= 4 && op(4).opcode == When && op(3).opcode == Constant && op(2).opcode == Jump && op(1).opcode == EndWhen)
    return {LastJump::Conditional, op(3).imm, last.first + last.count - 4};
  return {};
}

}  // namespace callgate::jit
