#include "jit/x64/special_form.h"

#include <string_view>

#include "cpu/table/row.h"

namespace callgate::jit::x64 {

SpecialForm special_form(const ir::Mode& mode, const Insn& i) {
  if (i.row == nullptr || mode.real) return SpecialForm::None;
  const std::string_view name = i.row->name;
  if (name == "pushf") {
    const unsigned size = mode.long64 ? 8 : 4;
    const bool plain = mode.stack_size == size && (mode.flat_segments >> SS & 1);
    return plain && i.width == size ? SpecialForm::PushFlags : SpecialForm::None;
  }
  if (name == "cmpxchg8b" || name == "cmpxchg16b")
    return mode.flat_segments >> i.seg & 1 ? SpecialForm::CompareSwap : SpecialForm::None;
  return SpecialForm::None;
}

void note_special(ir::Block& block) {
  for (ir::BlockInsn& b : block.insns) {
    if (b.count != 0) continue;
    const SpecialForm form = special_form(block.mode, b.insn);
    if (form == SpecialForm::None) continue;
    const u32 first = static_cast<u32>(block.ops.size());
    if (first + 8 >= ir::kNoValue) return;
    ir::Emitter emitter(block);
    emitter.insn = &b.insn;
    emitter.next_rip = (b.rip + b.insn.length) & block.mode.rip_mask();
    // Constants stand for whatever is written.
    if (form == SpecialForm::PushFlags) {
      const unsigned size = b.insn.width;
      const ir::Mem top{.base = RSP, .asize = block.mode.stack_size, .seg = SS, .disp = -static_cast<i64>(size), .moved = ir::kNoValue};
      const ir::ValueId value = emitter.constant(0, size);
      emitter.store(top, size, value);
      emitter.write_gpr(RSP, size, value);
    } else {
      const bool wide = std::string_view(b.insn.row->name) == "cmpxchg16b";
      if (wide) emitter.check_aligned(emitter.operand(), 16);
      emitter.modify(emitter.operand(), wide ? 16 : 8);
      const ir::ValueId value = emitter.constant(0, wide ? 8 : 4);
      emitter.write_gpr(RAX, wide ? 8 : 4, value);
      emitter.write_gpr(RDX, wide ? 8 : 4, value);
    }
    b.first = first;
    b.count = static_cast<u32>(block.ops.size()) - first;
    b.may_leave = true;
  }
}

}  // namespace callgate::jit::x64
