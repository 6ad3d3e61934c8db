// PUSHF, CMPXCHG8B and CMPXCHG16B (special_form.h). The flags are in their image.
#include "base/verify.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

void Emitter::emit_special(SpecialForm form) {
  save_flags();
  if (form == SpecialForm::PushFlags) emit_push_flags();
  else emit_compare_swap();
}

void Emitter::emit_push_flags() {
  const unsigned size = insn_->insn.width;
  probe(*access_of_insn());
  const Gp value = x86::edx;
  a_.movzx(x86::ecx, slot(kFlagsImage, 1, 1));
  a_.movzx(value, slot(kFlagsImage, 1));
  a_.and_(value, 1);
  a_.shl(value, 11);  // OF
  a_.or_(value, x86::ecx);
  a_.or_(value, field(offsetof(CpuState, flags) + Flags::other_offset(), 4));
  a_.mov(operand(size), resize(value, size));
  const Gp rsp = gp(kHostOf[RSP], size);
  a_.lea(rsp, x86::ptr(gp(kHostOf[RSP], 8), -static_cast<i32>(size)));
}

// Memory is written in either case; what is there already may as well not be.
void Emitter::emit_compare_swap() {
  const ir::Op& access = *access_of_insn();
  const unsigned half = access.size / 2u;
  probe(access, half == 8 ? 16 : 1);
  const Mem low = operand(half);
  const Mem high = low.cloneAdjusted(half);
  const Gp old_low = resize(x86::rcx, half), old_high = resize(x86::rdx, half);
  const auto guest = [&](unsigned reg) { return gp(kHostOf[reg], half); };
  asmjit::Label differs = a_.newLabel(), done = a_.newLabel();
  const Mem zf = slot(kFlagsImage, 1, 1);
  a_.mov(old_low, low);
  a_.mov(old_high, high);
  a_.cmp(old_low, guest(RAX));
  a_.jne(differs);
  a_.cmp(old_high, guest(RDX));
  a_.jne(differs);
  a_.mov(low, guest(RBX));
  a_.mov(high, guest(RCX));
  a_.or_(zf, kZF);
  a_.jmp(done);
  a_.bind(differs);
  a_.mov(guest(RAX), old_low);
  a_.mov(guest(RDX), old_high);
  a_.and_(zf, ~kZF & 0xFF);
  a_.bind(done);
}
static_assert(is_pinned(RAX) && is_pinned(RBX) && is_pinned(RCX) && is_pinned(RDX) && is_pinned(RSP));

}  // namespace callgate::jit::x64
