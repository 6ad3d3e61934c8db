#include "jit/hot_path.h"

#include "base/verify.h"
#include "jit/passes/last_jump.h"

namespace callgate::jit {

namespace {

/// A way is usual when it was gone so many times as often as the other one, and often at all.
constexpr u32 kTimesAsOften = 8, kOften = 64;

bool is_usual(std::optional<u32> way, std::optional<u32> other) {
  return way && other && *way >= kOften && *way / kTimesAsOften >= *other;
}

/// Makes the block's last jump one that leaves it in the middle, and goes on at `next`. False: it can't be.
bool go_on_at(ir::Block& block, const LastJump& jump, u64 next) {
  ir::BlockInsn& last = block.insns.back();
  if (jump.kind == LastJump::Always) {
    block.ops[last.first].uses = 0;
    block.ops.pop_back();
    last.count = 1;
    return true;
  }
  if (next == jump.target) {  // so it leaves when its condition doesn't hold
    ir::Op& condition = block.ops[block.ops[jump.when].args[0]];
    if (condition.opcode != ir::Opcode::Condition) return false;
    condition.cc ^= 1;
    block.ops[jump.when + 1].imm = block.next_rip();
  }
  last.exits = true;
  return true;
}

}  // namespace

unsigned follow_hot_path(const BlockCache& blocks, u32 number, std::span<const u8> code, unsigned most, ir::Block& block) {
  unsigned pieces = 0;
  for (; block.insns.size() < most; pieces++) {
    const LastJump jump = last_jump(block);
    if (jump.kind == LastJump::None) break;
    u64 next = jump.target;
    if (jump.kind == LastJump::Conditional) {
      const TranslatedBlock& plain = blocks.block(number);
      const u64 behind = block.next_rip();
      const auto taken = blocks.followed(plain, jump.target), not_taken = blocks.followed(plain, behind);
      if (is_usual(not_taken, taken)) next = behind;
      else if (!is_usual(taken, not_taken)) break;
    }
    const u64 end = block.next_rip(), offset = next - block.rip;
    if (next < end || offset >= code.size()) break;
    BlockKey key = blocks.block(number).key;
    key.rip = next;
    number = blocks.find(key);
    if (number == kNoBlock) break;
    const TranslatedBlock& there = blocks.block(number);
    if (there.entry == nullptr || there.checked != nullptr || there.in_part) break;
    const std::size_t insns = block.insns.size();
    if (!go_on_at(block, jump, next)) break;
    append_block(code.subspan(offset), next, most, block);
    VERIFY(block.insns.size() > insns, "a block that was there before has no instruction");
  }
  return pieces;
}

}  // namespace callgate::jit
