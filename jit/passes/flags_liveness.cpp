#include "jit/passes/flags_liveness.h"

namespace callgate::jit {

void flags_liveness(ir::Block& block, u32 live_out) {
  u32 live = live_out, seen = 0;
  for (std::size_t n = block.insns.size(); n-- > 0;) {
    ir::BlockInsn& b = block.insns[n];
    b.flags_live = live;
    b.flags_seen = seen & ~live;
    for (u32 k = b.first; k < b.first + b.count; k++) {
      ir::Op& op = block.ops[k];
      if (op.opcode != ir::Opcode::Compute || !op.info->flags) continue;
      op.flags_needed = b.flags_live & b.flags_written;
      op.flags_seen = b.flags_seen & b.flags_written;
    }
    live = (live & ~b.flags_written) | b.flags_read;
    seen = b.may_leave || b.exits ? u32{kArithmetic} : seen & ~b.flags_written;
  }
}

void all_flags_live(ir::Block& block) {
  for (ir::BlockInsn& b : block.insns) {
    b.flags_live = kArithmetic;
    for (u32 k = b.first; k < b.first + b.count; k++) {
      ir::Op& op = block.ops[k];
      if (op.opcode == ir::Opcode::Compute && op.info->flags) op.flags_needed = b.flags_written;
    }
  }
}

}  // namespace callgate::jit
