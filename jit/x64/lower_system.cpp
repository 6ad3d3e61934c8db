// The usual case of system instructions (system_form.h) in 64-bit mode. Each looks first whether it is the usual case, changes
// nothing before it knows, and else calls the instruction's handler, which is the reference. While emitted code runs no
// debug register and no TF is on, no shadow holds, and the caches of views (FarSlot) are those of the current address space.
#include "cpu/system/syscall.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

namespace {

Mem msr_field(std::size_t offset, unsigned size = 8) { return field(offsetof(CpuState, msr) + offset, size); }
Mem other_flags() { return field(offsetof(CpuState, flags) + Flags::other_offset(), 4); }
Mem current_level() { return field(offsetof(CpuState, cpl), 1); }

// The limit and the rights of a segment are written as one word.
static_assert(offsetof(Segment, rights) == offsetof(Segment, limit) + 4);
static_assert(offsetof(EngineSlots, access_context) == offsetof(EngineSlots, data_context) + 1 && sizeof(AccessContext) == 1);

constexpr u32 kShownInAh = kArithmetic & 0xFF;  ///< what LAHF's image has of the flags

}  // namespace

void Emitter::require_ring0(const asmjit::Label& slow) {
  a_.cmp(current_level(), 0);
  a_.jne(slow);
}

// Data accesses and jumps from now on are those of `context`. rcx is overwritten.
void Emitter::enter_context(AccessContext context) {
  const unsigned number = static_cast<unsigned>(context);
  a_.mov(kTlb, far_slot(static_cast<FarSlot>(kUserTlb + number)));
  a_.mov(slot(kTlbView), kTlb);
  a_.mov(engine_field(offsetof(EngineSlots, data_context), 2), number << 8 | number);
  a_.mov(x86::rcx, far_slot(context == AccessContext::User ? kUserJumps : kSupervisorJumps));
  a_.mov(slot(kJumpCache), x86::rcx);
}

// eax: RFLAGS' new value. eax, ecx and edx are overwritten.
void Emitter::write_flags_from_eax() {
  a_.mov(x86::ecx, x86::eax);
  a_.shr(x86::ecx, 11);
  a_.and_(x86::ecx, 1);
  a_.movzx(x86::edx, x86::al);
  a_.and_(x86::edx, kShownInAh);
  a_.or_(x86::edx, kFlagsFixed);
  a_.shl(x86::edx, 8);
  a_.or_(x86::edx, x86::ecx);
  a_.mov(slot(kFlagsImage, 2), x86::dx);
  a_.and_(x86::eax, ~(u32{kArithmetic} | kFlagsFixed));
  a_.mov(other_flags(), x86::eax);
}

// eax: the selector of CS; that of SS is in edx. Both are overwritten.
void Emitter::load_flat_segments(unsigned dpl) {
  const auto load = [&](SegReg seg, const Gp& selector, u32 rights) {
    a_.mov(segment_field(seg, offsetof(Segment, selector), 2), selector);
    a_.mov(segment_field(seg, offsetof(Segment, base), 8), 0);
    a_.mov(x86::rcx, u64{rights} << 32 | 0xFFFFFFFF);
    a_.mov(segment_field(seg, offsetof(Segment, limit), 8), x86::rcx);
  };
  load(CS, x86::ax, flat_code_rights(dpl, kRightsL));
  load(SS, x86::dx, flat_stack_rights(dpl));
  a_.mov(current_level(), dpl);
}

// From ring 3; with AC set nothing is usual.
void Emitter::emit_syscall(u64 return_rip, const asmjit::Label& slow) {
  a_.cmp(current_level(), 3);
  a_.jne(slow);
  a_.test(msr_field(offsetof(Msrs, efer), 1), kEferSce);
  a_.jz(slow);
  a_.mov(x86::eax, other_flags());
  a_.test(x86::eax, kAC);
  a_.jnz(slow);
  a_.movzx(x86::ecx, slot(kFlagsImage, 1, 1));
  a_.and_(x86::ecx, kShownInAh | kFlagsFixed);
  a_.or_(x86::eax, x86::ecx);
  a_.movzx(x86::ecx, slot(kFlagsImage, 1));
  a_.and_(x86::ecx, 1);
  a_.shl(x86::ecx, 11);
  a_.or_(x86::eax, x86::ecx);
  a_.mov(home(R11), x86::rax);
  a_.mov(gp(kHostOf[RCX], 8), return_rip);
  a_.mov(x86::ecx, msr_field(offsetof(Msrs, sfmask), 4));
  a_.not_(x86::ecx);
  a_.and_(x86::eax, x86::ecx);
  write_flags_from_eax();
  a_.movzx(x86::eax, msr_field(offsetof(Msrs, star) + 4, 2));
  a_.lea(x86::edx, x86::ptr(x86::rax, 8));
  a_.and_(x86::eax, 0xFFFC);
  load_flat_segments(0);
  enter_context(AccessContext::Supervisor);
  a_.mov(x86::rax, msr_field(offsetof(Msrs, lstar)));
  a_.jmp(reinterpret_cast<u64>(context_.thunks.transfer));
}
static_assert(!is_pinned(R11) && is_pinned(RCX));

void Emitter::emit_sysret(const asmjit::Label& slow) {
  const Gp target = gp(kHostOf[RCX], 8);
  require_ring0(slow);
  a_.test(msr_field(offsetof(Msrs, efer), 1), kEferSce);
  a_.jz(slow);
  a_.mov(x86::rax, target);
  a_.shl(x86::rax, 64 - kLinearBits);
  a_.sar(x86::rax, 64 - kLinearBits);
  a_.cmp(x86::rax, target);
  a_.jne(slow);
  a_.mov(x86::eax, home(R11, 4));
  a_.and_(x86::eax, kSysretFlags);
  a_.test(x86::eax, kTF | kAC);
  a_.jnz(slow);
  // Whatever waits could be taken now.
  a_.cmp(far_slot(kEventsWait, 1), 0);
  a_.jne(slow);
  write_flags_from_eax();
  a_.movzx(x86::eax, msr_field(offsetof(Msrs, star) + 6, 2));
  a_.lea(x86::edx, x86::ptr(x86::rax, 8));
  a_.add(x86::eax, 16);
  a_.or_(x86::eax, 3);
  a_.or_(x86::edx, 3);
  load_flat_segments(3);
  enter_context(AccessContext::User);
  a_.mov(x86::rax, target);
  a_.jmp(reinterpret_cast<u64>(context_.thunks.transfer));
}

void Emitter::emit_read_time(const ir::BlockInsn& b, bool processor_too, const asmjit::Label& slow) {
  a_.cmp(far_slot(kTimeIsCount, 1), 0);
  a_.je(slow);
  a_.mov(x86::rax, far_slot(kTimeBase));
  a_.sub(x86::rax, slot(kBudget));
  a_.sub(x86::rax, static_cast<u32>(block_->insns.size()) - insn_index_);
  a_.mov(gp(kHostOf[RAX], 4), x86::eax);
  a_.shr(x86::rax, 32);
  a_.mov(gp(kHostOf[RDX], 4), x86::eax);
  if (processor_too) a_.mov(gp(kHostOf[RCX], 4), msr_field(offsetof(Msrs, tsc_aux), 4));
  static_cast<void>(b);
}
static_assert(is_pinned(RAX) && is_pinned(RDX));

void Emitter::emit_system(const ir::BlockInsn& b, SystemForm form) {
  // The flags are in their image: what follows overwrites the host's.
  ColdStub handler{a_.newLabel(), a_.newLabel(), add_handler_site(b), context_.thunks.execute};
  const asmjit::Label slow = handler.entry;
  switch (form) {
    case SystemForm::None: break;
    case SystemForm::Syscall: emit_syscall((b.rip + b.insn.length) & block_->mode.rip_mask(), slow); break;
    case SystemForm::Sysret: emit_sysret(slow); break;
    case SystemForm::Iretq: emit_iretq(slow); break;
    case SystemForm::Swapgs:
      require_ring0(slow);
      a_.mov(x86::rax, segment_field(GS, offsetof(Segment, base), 8));
      a_.mov(x86::rcx, msr_field(offsetof(Msrs, kernel_gs_base)));
      a_.mov(msr_field(offsetof(Msrs, kernel_gs_base)), x86::rax);
      a_.mov(segment_field(GS, offsetof(Segment, base), 8), x86::rcx);
      a_.mov(engine_field(offsetof(EngineSlots, fast_base) + GS * 8), x86::rcx);
      break;
    case SystemForm::Cli:
      require_ring0(slow);
      a_.and_(other_flags(), ~u32{kIF});
      break;
    case SystemForm::Sti:
      // Nothing waits, so nobody sees its shadow: unless the run ends inside it.
      require_ring0(slow);
      a_.cmp(far_slot(kEventsWait, 1), 0);
      a_.jne(slow);
      a_.cmp(slot(kBudget), 0);
      a_.je(slow);
      a_.or_(other_flags(), kIF);
      break;
    case SystemForm::Clac:
      require_ring0(slow);
      a_.and_(other_flags(), ~u32{kAC});
      enter_context(AccessContext::Supervisor);
      break;
    case SystemForm::Stac:
      require_ring0(slow);
      a_.or_(other_flags(), kAC);
      enter_context(AccessContext::SupervisorAc);
      break;
    case SystemForm::Rdtsc: emit_read_time(b, false, slow); break;
    case SystemForm::Rdtscp: emit_read_time(b, true, slow); break;
    case SystemForm::PortCall:
      require_ring0(slow);
      a_.mov(x86::ecx, handler.site);
      a_.call(reinterpret_cast<u64>(context_.thunks.port_call));
      break;
    case SystemForm::ReadSelector: {
      const Mem selector = segment_field(static_cast<SegReg>(b.insn.reg), offsetof(Segment, selector), 2);
      if (b.insn.width == 2) {
        const bool pinned = is_pinned(b.insn.rm);
        a_.mov(gp(pinned ? kHostOf[b.insn.rm] : 0, 2), selector);
        if (!pinned) a_.mov(home(b.insn.rm, 2), x86::ax);
      } else if (is_pinned(b.insn.rm)) {
        a_.movzx(gp(kHostOf[b.insn.rm], 4), selector);
      } else {
        a_.movzx(x86::eax, selector);
        a_.mov(home(b.insn.rm), x86::rax);
      }
      break;
    }
  }
  a_.bind(handler.back);
  cold_.push_back(handler);
  after_handler();
}

}  // namespace callgate::jit::x64
