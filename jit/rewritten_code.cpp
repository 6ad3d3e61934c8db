#include "jit/rewritten_code.h"

#include <algorithm>

#include "cpu/table/operands.h"
#include "cpu/table/row.h"
#include "jit/build_block.h"

namespace callgate::jit {

const ir::OpInfo kCode4As4{ir::OpKind::other, 0, {}, 4, false, false, nullptr};
const ir::OpInfo kCode4As8{ir::OpKind::other, 0, {}, 8, false, false, nullptr};
const ir::OpInfo kCode8As8{ir::OpKind::other, 0, {}, 8, false, false, nullptr};

namespace {

/// The immediate of an instruction that could be read from the code, and the op that is its value.
struct Field {
  u32 op = 0;
  u32 at = 0;         ///< bytes from the block's start
  unsigned bytes = 0; ///< in the code; 0: there is none
};

// Smaller ones are counts and selectors, which are wanted when code is emitted. An immediate comes last in its instruction.
Field field_of(const ir::Block& block, const ir::BlockInsn& b) {
  if (b.count == 0 || b.insn.row == nullptr) return {};
  for (unsigned n = 0; n < 4; n++) {
    const OperandSpec s = parse_operand(b.insn.row->operands, n);
    if (s.kind != 'I' || s.sext || (s.size != 'z' && s.size != 'v') || b.insn.width < 4) continue;
    const unsigned size = b.insn.width, bytes = s.size == 'v' ? size : 4;
    Field f{0, static_cast<u32>(b.rip + b.insn.length - bytes - block.rip), 0};
    for (u32 k = b.first; k < b.first + b.count; k++) {
      const ir::Op& op = block.ops[k];
      if (op.opcode != ir::Opcode::Constant || op.size != size || op.imm != (b.insn.imm & low_mask(8 * size))) continue;
      if (f.bytes != 0) return {};  // another constant that is equal by chance
      f.op = k;
      f.bytes = bytes;
    }
    return f;
  }
  return {};
}

}  // namespace

void read_from_code(ir::Block& block, const std::vector<u8>& rewritten) {
  if (rewritten.empty()) return;
  for (const ir::BlockInsn& b : block.insns) {
    const Field f = field_of(block, b);
    if (f.bytes == 0 || f.at >= rewritten.size() || rewritten[f.at] == 0) continue;
    ir::Op& op = block.ops[f.op];
    op.opcode = ir::Opcode::Compute;
    op.info = op.size == 4 ? &kCode4As4 : f.bytes == 4 ? &kCode4As8 : &kCode8As8;
    op.imm = f.at;
  }
}

bool reads_all_of(const ir::Block& block, const std::vector<u8>& rewritten) {
  for (const ir::BlockInsn& b : block.insns)
    for (u64 at = b.rip - block.rip; b.count == 0 && at < b.rip - block.rip + b.insn.length; at++)
      if (rewritten[at] != 0) return false;
  return true;
}

u32 merge_variants(BlockCache& blocks, u32 head, std::span<const u8> code, const ir::Block& block, std::vector<u8>& rewritten) {
  std::vector<Field> fields;
  for (const ir::BlockInsn& b : block.insns)
    if (const Field f = field_of(block, b); f.bytes != 0) fields.push_back(f);
  const std::vector<u32>& variants = blocks.block(head).checked->variants;
  for (std::size_t n = variants.size(); n-- > 0;) {
    const CheckedCode& old = *blocks.block(variants[n]).checked;
    if (old.bytes.size() != block_bytes(block)) continue;
    rewritten.assign(old.bytes.size(), 0);
    for (const Field& f : fields)
      if (old.rewritten[f.at] != 0 || !std::equal(&code[f.at], &code[f.at] + f.bytes, &old.bytes[f.at]))
        std::fill_n(&rewritten[f.at], f.bytes, u8{1});
    bool same = true;
    for (std::size_t at = 0; at < old.bytes.size(); at++) same &= rewritten[at] != 0 || (old.rewritten[at] == 0 && old.bytes[at] == code[at]);
    if (same) return variants[n];
  }
  rewritten.clear();
  return kNoBlock;
}

}  // namespace callgate::jit
