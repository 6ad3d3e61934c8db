// Loads of segment registers (segment_form.h): the selector is found here, the rest is a shared routine (segment_thunks.h). What
// isn't usual is the handler's, from the start of the instruction.
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

void Emitter::emit_segment_load(const ir::BlockInsn& b, const SegmentForm& form) {
  const Insn& i = b.insn;
  ColdStub handler{a_.newLabel(), a_.newLabel(), add_handler_site(b), context_.thunks.execute};
  const Gp rsp = gp(kHostOf[RSP], 8);
  static_assert(is_pinned(RSP));
  switch (form.kind) {
    case SegmentForm::None: break;
    case SegmentForm::FromRegister:
      a_.emit(x86::Inst::kIdMovzx, x86::eax, is_pinned(i.rm) ? asmjit::Operand(gp(kHostOf[i.rm], 2)) : asmjit::Operand(home(i.rm, 2)));
      break;
    case SegmentForm::FromMemory:
      effective_address(ir::operand_of(i, (b.rip + i.length) & block_->mode.rip_mask()), kAddress, true);
      look_up_read(2, handler.entry);
      a_.movzx(x86::eax, x86::ptr(x86::rax, 0, 2));
      break;
    case SegmentForm::Pop:
      a_.mov(resize(x86::rax, i.width), resize(rsp, i.width));
      look_up_read(i.width, handler.entry);
      a_.movzx(x86::eax, x86::ptr(x86::rax, 0, 2));
      break;
  }
  a_.call(reinterpret_cast<u64>(context_.workshop.segments.routine(form.seg, form.then)));
  a_.jc(handler.entry);
  if (form.kind == SegmentForm::Pop) a_.lea(resize(rsp, i.width), x86::ptr(rsp, static_cast<i32>(i.width)));
  a_.bind(handler.back);
  cold_.push_back(handler);
  after_handler();
}

}  // namespace callgate::jit::x64
