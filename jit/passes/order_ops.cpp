#include "jit/passes/order_ops.h"

namespace callgate::jit {

namespace {

bool is_ordered(const ir::Block& block) {
  u32 next = 0;
  for (const ir::BlockInsn& b : block.insns) {
    if (b.first != next) return false;
    next += b.count;
  }
  return next == block.ops.size();
}

}  // namespace

void order_ops(ir::Block& block) {
  if (is_ordered(block)) return;
  std::vector<ir::Op> ops;
  ops.reserve(block.ops.size());
  for (ir::BlockInsn& b : block.insns) {
    const u32 first = static_cast<u32>(ops.size());
    const auto moved = [&](ir::ValueId v) { return v == ir::kNoValue ? v : static_cast<ir::ValueId>(v - b.first + first); };
    for (u32 n = b.first; n < b.first + b.count; n++) {
      ir::Op op = block.ops[n];
      for (ir::ValueId& a : op.args) a = moved(a);
      using enum ir::Opcode;
      switch (op.opcode) {
        case Address: case Load: case Modify: case Store: case CheckAligned: {
          ir::ValueId& distance = block.mems[op.mem].moved;  // no other op has this operand
          distance = moved(distance);
          break;
        }
        default: break;
      }
      ops.push_back(op);
    }
    b.first = first;
  }
  block.ops = std::move(ops);
}

}  // namespace callgate::jit
