// The guest's arithmetic flags in EFLAGS and in memory.
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

// LAHF and SAHF work on AH alone: whatever is in rax steps aside.
template <class Body>
void Emitter::with_rax(Body body) {
  const bool taken = (busy_ | locked_) & 1;
  if (taken) a_.mov(slot(kTemp3), x86::rax);
  body();
  if (taken) a_.mov(x86::rax, slot(kTemp3));
}

void Emitter::save_flags() {
  if (!flags_dirty_) return;
  with_rax([&] {
    a_.lahf();
    a_.seto(x86::al);
    a_.mov(slot(kFlagsImage, 2), x86::ax);
  });
  flags_dirty_ = false;
}

void Emitter::restore_flags() {
  if (flags_in_host_) return;
  with_rax([&] {
    a_.movzx(x86::eax, slot(kFlagsImage, 2));
    a_.add(x86::al, 127);  // OF
    a_.sahf();
  });
  flags_in_host_ = true;
  flags_dirty_ = false;
}

void Emitter::destroy_flags() {
  save_flags();
  flags_in_host_ = false;
}

void Emitter::flags_defined(const ir::Op& op) {
  const u32 others = insn_->flags_live & ~insn_->flags_written;
  flags_in_host_ = true;
  flags_dirty_ = (op.flags_needed | others) != 0;
}

void Emitter::need_others(const ir::Op&) {
  if (insn_->flags_live & ~insn_->flags_written) restore_flags();
}

void Emitter::need_carry() {
  if (flags_in_host_) return;
  a_.bt(slot(kFlagsImage, 4), 8);
}

// Conditions by number: SDM 1, Appendix B; asmjit's have other numbers.
static constexpr x86::CondCode kCond[16] = {
    x86::CondCode::kO, x86::CondCode::kNO, x86::CondCode::kC, x86::CondCode::kNC, x86::CondCode::kZ, x86::CondCode::kNZ,
    x86::CondCode::kNA, x86::CondCode::kA, x86::CondCode::kS, x86::CondCode::kNS, x86::CondCode::kP, x86::CondCode::kNP,
    x86::CondCode::kL, x86::CondCode::kNL, x86::CondCode::kNG, x86::CondCode::kG};

x86::CondCode Emitter::need_condition(unsigned cc) {
  if (flags_in_host_) return kCond[cc];
  const bool negated = cc & 1;
  const auto by_bits = [&](unsigned byte, u32 mask) {
    a_.test(slot(kFlagsImage, 1, byte), mask);
    return negated ? x86::CondCode::kZ : x86::CondCode::kNZ;
  };
  switch (cc >> 1) {
    case 0: return by_bits(0, 1);
    case 1: return by_bits(1, kCF);
    case 2: return by_bits(1, kZF);
    case 3: return by_bits(1, kCF | kZF);
    case 4: return by_bits(1, kSF);
    case 5: return by_bits(1, kPF);
    default: restore_flags(); return kCond[cc];
  }
}

void Emitter::store_image(const Gp& image16) {
  a_.mov(slot(kFlagsImage, 2), image16);
  flags_in_host_ = false;
  flags_dirty_ = false;
}

}  // namespace callgate::jit::x64
