// Jumps, conditional parts, and leaving.
#include "base/verify.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

x86::CondCode Emitter::test_bool(ir::ValueId v) {
  if (loc_[v].kind == Loc::Cond) return need_condition(loc_[v].reg);
  destroy_flags();
  if (loc_[v].kind == Loc::Spilled) {
    a_.cmp(slot(static_cast<Slot>(kTemp0 + loc_[v].reg), 1), 0);
  } else {
    const Gp r = reg(v, 1);
    a_.test(r, r);
  }
  return x86::CondCode::kNZ;
}

bool Emitter::can_link(u64 target) const {
  return context_.chaining && (((target + context_.code_base) ^ (block_->rip + context_.code_base)) & ~kPageMask) == 0;
}

// Units count as ready only behind instructions that work with them: others have no use for a version of their own.
EntryState Emitter::state_here() const {
  return {recipe_, vectors_ready_ && uses_vectors_, wide_vectors_ready_ && uses_wide_vectors_, x87_ready_ && uses_x87_};
}

void Emitter::add_link(u64 target, x86::CondCode cc, bool conditional) {
  PendingLink link{a_.newLabel(), 0, target, state_here()};
  if (conditional) a_.long_().j(cc, link.stub);
  else a_.long_().jmp(link.stub);
  link.displacement = a_.offset() - 4;
  links_.push_back(link);
}

void Emitter::jump_to(u64 rip) {
  if (can_link(rip)) {
    if (recipe_.kind == FlagRecipe::None) save_flags();
    return add_link(rip, {}, false);
  }
  save_flags();
  jump_through_cache(rip);
}

void Emitter::emit_link_stubs() {
  u32 number = context_.first_link;
  for (PendingLink& link : links_) {
    a_.bind(link.stub);
    asmjit::Label exit = a_.newLabel();
    // Without a number for the state the jump stays as it is: through this stub.
    if (!(link.state == EntryState{})) {
      save_by(link.state.flags);
      a_.mov(x86::rcx, reinterpret_cast<u64>(context_.new_counter()));
      a_.sub(x86::ptr(x86::rcx, 0, 4), 1);
      a_.jz(exit);
      a_.long_().jmp(exit);
      link.plain_displacement = a_.offset() - 4;
      link.plain_stub = a_.offset();
    }
    a_.bind(exit);
    a_.mov(x86::ecx, number++);
    a_.jmp(reinterpret_cast<u64>(context_.thunks.exit_link));
  }
}

// Where the block is left in the middle: what it hasn't done is given back.
void Emitter::emit_side_exits() {
  const u32 insns = static_cast<u32>(block_->insns.size());
  for (const SideExit& exit : side_exits_) {
    a_.bind(exit.label);
    const bool linked = can_link(exit.target);
    if (!linked) save_by(exit.state.flags);
    if (exit.in_rounds) {
      a_.imul(x86::ecx, kRoundsLeft, insns);
      a_.sub(x86::ecx, exit.done);
      a_.add(slot(kBudget), x86::rcx);
      a_.mov(kTlb, slot(kTlbView));
    } else {
      a_.add(slot(kBudget), insns - exit.done);
    }
    if (!linked) {
      jump_through_cache(exit.target);
      continue;
    }
    PendingLink link{a_.newLabel(), 0, exit.target, exit.state};
    a_.long_().jmp(link.stub);
    link.displacement = a_.offset() - 4;
    links_.push_back(link);
  }
}

// The jump cache forgets a page whose mapping changes: so its entry is also the guard of a jump to another page.
void Emitter::jump_through_cache(u64 rip) {
  PendingLink link{a_.newLabel(), 0, rip};
  const i32 at = static_cast<i32>(JumpCache::index_of(rip) * sizeof(JumpCache::Entry));
  a_.mov(x86::rcx, slot(kJumpCache));
  if (static_cast<i64>(rip) == static_cast<i32>(rip)) {
    a_.cmp(x86::ptr(x86::rcx, at, 8), static_cast<i32>(rip));
  } else {
    a_.mov(x86::rax, rip);
    a_.cmp(x86::ptr(x86::rcx, at, 8), x86::rax);
  }
  a_.jne(link.stub);
  a_.jmp(x86::ptr(x86::rcx, at + 8, 8));
  links_.push_back(link);
}

void Emitter::lower_when(const ir::Op& op) {
  // The branch form: nothing but a jump to a constant in it.
  const u32 last = insn_->first + insn_->count;
  u32 end = op_index_ + 1;
  while (end < last && block_->ops[end].opcode != ir::Opcode::EndWhen) {
    if (block_->ops[end].opcode == ir::Opcode::WriteGpr) rescue(block_->ops[end].reg);
    end++;
  }
  VERIFY_BLOCK(end < last && !when_open_, "an IR block with an open condition");
  const ir::Op& inner = block_->ops[end - 1];
  if (inner.opcode == ir::Opcode::Jump) {
    VERIFY_BLOCK(op_of(inner.args[0]).opcode == ir::Opcode::Constant, "a conditional jump to a computed address");
    const u64 target = op_of(inner.args[0]).imm;
    if (insn_->exits) {
      if (recipe_.kind == FlagRecipe::None) save_flags();
      const auto cc = test_bool(op.args[0]);
      side_exits_.push_back({a_.newLabel(), target, state_here(), insn_index_ + 1, in_rounds_});
      a_.long_().j(cc, side_exits_.back().label);
      skip_to_ = end + 1;
      return;
    }
    if (in_rounds_) {
      end_round(test_bool(op.args[0]));
      skip_to_ = end + 1;
      return;
    }
    if (recipe_.kind == FlagRecipe::None) save_flags();
    const auto cc = test_bool(op.args[0]);
    if (can_link(target)) {
      add_link(target, cc, true);
    } else {
      asmjit::Label past = a_.newLabel();
      a_.j(x86::negateCond(cc), past);
      // Not jumping, everything is as it was before.
      const FlagRecipe recipe = recipe_;
      const bool in_host = flags_in_host_, dirty = flags_dirty_;
      save_flags();
      jump_through_cache(target);
      a_.bind(past);
      recipe_ = recipe;
      flags_in_host_ = in_host;
      flags_dirty_ = dirty;
    }
    skip_to_ = end + 1;
    return;
  }
  when_end_ = a_.newLabel();
  when_open_ = true;
  // Results of this instruction that the body computes from are ready; what it would load first comes before the branch.
  for (u32 n = op_index_ + 1; n < end; n++)
    for (const ir::ValueId v : block_->ops[n].args)
      if (v != ir::kNoValue && v < op_index_ && (loc_[v].kind == Loc::Cond || loc_[v].kind == Loc::Memory)) {
        const Gp r = own(v, 8);
        set_host(v, r);
      }
  const auto cc = test_bool(op.args[0]);
  a_.j(x86::negateCond(cc), when_end_);
}

void Emitter::lower_end_when() {
  a_.bind(when_end_);
  when_open_ = false;
}

void Emitter::lower_leave_if(const ir::Op& op) {
  if (loc_[op.args[0]].kind == Loc::Imm) {
    VERIFY_BLOCK(loc_[op.args[0]].imm == 0, "an instruction that always leaves");
    return;
  }
  const auto cc = test_bool(op.args[0]);
  a_.j(cc, bail_label());
}

void Emitter::lower_resolve(const ir::Op& op) {
  destroy_flags();
  const ir::ValueId v = op.args[0];
  // The target in a register that stays, and two to find its entry; rax is for what is found.
  Gp target;
  if (loc_[v].kind == Loc::Guest && is_pinned(loc_[v].reg)) {
    target = reg(v, 8);
    claim(x86::Gp::kIdAx, 8);
  } else {
    const Loc from = loc_[v];
    if (from.kind == Loc::Memory) free_scratch(x86::Gp::kIdAx, v);
    if (from.kind == Loc::Host) free_scratch(from.reg, v);
    target = claim(x86::Gp::kIdAx, 8);
    load_into(target, v);
  }
  const Gp at = claim(x86::Gp::kIdCx, 8), code = claim(x86::Gp::kIdDx, 8);
  static_assert(sizeof(JumpCache::Entry) == 16 && JumpCache::kOffsetShift < 4);
  a_.lea(at.r32(), x86::ptr(0, target, 4 - JumpCache::kOffsetShift));
  a_.and_(at.r32(), (JumpCache::kEntries - 1) << 4);
  a_.add(at, slot(kJumpCache));
  a_.cmp(x86::ptr(at, 0, 8), target);
  ColdStub stub{a_.newLabel(), a_.newLabel(), add_site(*insn_, 0), context_.thunks.slow_resolve};
  if (target.id() != x86::Gp::kIdAx) stub.address = target;
  stub.result = code;
  a_.jne(stub.entry);
  a_.mov(code, x86::ptr(at, 8, 8));
  a_.bind(stub.back);
  stub.recipe = recipe_;
  stub.x87 = last_x87_;
  cold_.push_back(stub);
  // From now on the value is the host's address.
  locked_ = 0;
  set_host(v, code);
}

void Emitter::lower_jump(const ir::Op& op) {
  const ir::Op& target = op_of(op.args[0]);
  if (target.opcode == ir::Opcode::Constant) {
    jump_to(target.imm);
  } else {
    save_flags();
    a_.emit(x86::Inst::kIdJmp, rm(op.args[0], 8));
  }
  ended_ = true;
}

}  // namespace callgate::jit::x64
