// Loops of one block whose rounds can't leave (jit/passes/loop_streams.h): in front of a number of rounds everything that a
// round would ask is asked for all of them. What isn't so is done by the ordinary block behind, one round, which then comes
// back here. The loop's slow twin is that block; jit/loop_test.cpp holds them equal.
#include "base/verify.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

namespace {
/// The fewest rounds that any stream has room for, while they are asked (in the frame of emitted code, thunks.cpp).
Mem fewest_rounds() { return x86::ptr(x86::rsp, static_cast<i32>(8 * ir::kMostGroups), 4); }
/// Steps in registers that are worth it.
constexpr u32 kLongestStep = 1024;
}  // namespace

// Leaves the address in rax and, for a stream that hits, its word: what its operands' moving register is added to.
void Emitter::probe_stream(const LoopStream& s, unsigned number, asmjit::Label otherwise) {
  const bool by_register = s.step_register != kGprZero;
  const i64 travel = by_register ? 0 : s.step * (static_cast<i64>(loop_->plan.rounds) - 1);
  const i64 first = s.low + std::min<i64>(travel, 0);
  const u32 bytes = s.span + static_cast<u32>(std::abs(travel));
  ir::Mem mem;
  mem.base = s.base;
  mem.index = s.index;
  mem.scale = s.scale;
  mem.disp = first;
  effective_address(mem, kAddress, false);
  if (s.alignment > 1) {
    // Steps are multiples of the alignment: one byte tells of all.
    const i64 off = (s.aligned_at - first) & (s.alignment - 1);
    a_.lea(x86::ecx, x86::ptr(kAddress, static_cast<i32>(off)));
    a_.test(x86::cl, s.alignment - 1);
    a_.jnz(otherwise);
  }
  const auto tag = static_cast<i32>(s.write ? offsetof(TlbTable, write_tag) : offsetof(TlbTable, read_tag));
  a_.rorx(x86::ecx, x86::eax, kPageShift - 3);
  a_.and_(x86::ecx, (TlbTable::kSlots - 1) << 3);
  a_.mov(x86::rdx, x86::ptr(kTlb, x86::rcx, 0, tag));
  a_.xor_(x86::rdx, kAddress);
  a_.cmp(x86::rdx, static_cast<i32>(kPageSize - bytes));
  a_.ja(otherwise);
  a_.mov(kAddress, x86::ptr(kTlb, x86::rcx, 0, static_cast<i32>(offsetof(TlbTable, addend))));
  // The register that stays is added once.
  const auto in_register = [&](unsigned guest) {
    if (is_pinned(guest)) return gp(kHostOf[guest], 8);
    a_.mov(x86::rcx, home(guest));
    return Gp(x86::rcx);
  };
  if (s.base != kGprZero && !s.base_moves) a_.add(kAddress, in_register(s.base));
  if (s.index != kGprZero && !s.index_moves) a_.lea(kAddress, x86::ptr(kAddress, in_register(s.index), s.scale));
  a_.mov(group_addend(number), kAddress);
  if (by_register) limit_rounds(s, bytes, otherwise);
}

// rdx: the offset of the first byte of `bytes` in its page.
void Emitter::limit_rounds(const LoopStream& s, u32 bytes, asmjit::Label otherwise) {
  if (is_pinned(s.step_register)) a_.mov(x86::rcx, gp(kHostOf[s.step_register], 8));
  else a_.mov(x86::rcx, home(s.step_register));
  a_.lea(x86::rax, x86::ptr(x86::rcx, -1));
  a_.cmp(x86::rax, kLongestStep - 1);
  a_.ja(otherwise);
  if (s.step_scale != 0) a_.shl(x86::ecx, s.step_scale);
  // The room behind the last byte of the first round.
  a_.neg(x86::edx);
  a_.add(x86::edx, static_cast<u32>(kPageSize) - bytes);
  if (s.steps_before != 0) {
    a_.imul(x86::eax, x86::ecx, s.steps_before);
    a_.sub(x86::edx, x86::eax);
    a_.js(otherwise);
  }
  if (s.steps != 1) a_.imul(x86::ecx, x86::ecx, s.steps);
  a_.mov(x86::eax, x86::edx);
  a_.xor_(x86::edx, x86::edx);
  a_.div(x86::ecx);
  a_.inc(x86::eax);
  asmjit::Label enough = a_.newLabel();
  a_.cmp(x86::eax, fewest_rounds());
  a_.jae(enough);
  a_.mov(fewest_rounds(), x86::eax);
  a_.bind(enough);
}

void Emitter::stream_address(const ir::Op& op) {
  const ir::Mem& mem = block_->mems[op.mem];
  const LoopStream& s = loop_->plan.streams[op.group - 1u];
  const bool base = mem.base != kGprZero && s.base_moves, index = mem.index != kGprZero && s.index_moves;
  const auto in_memory = [](unsigned guest) { return !is_pinned(guest); };
  spill((base && in_memory(mem.base)) || (index && in_memory(mem.index)) ? 3 : 1);
  const auto in_register = [&](unsigned guest) {
    if (is_pinned(guest)) return gp(kHostOf[guest], 8);
    a_.mov(x86::rcx, home(guest));
    return Gp(x86::rcx);
  };
  // An operand of one moving register needs no address of its own, unless that register changes before it is used.
  bool changes = op.opcode == ir::Opcode::Modify;
  const u32 last = insn_->first + insn_->count - 1;
  for (u32 n = insn_->first; n < last; n++) {
    const ir::Op& other = block_->ops[n];
    changes |= other.opcode == ir::Opcode::WriteGpr && (other.reg == mem.base || other.reg == mem.index);
  }
  a_.mov(kAddress, group_addend(op.group));
  const i32 disp = static_cast<i32>(mem.disp);
  if (base && index) a_.lea(kAddress, x86::ptr(kAddress, in_register(mem.base)));
  const unsigned moving = index ? mem.index : mem.base;
  if (!base && !index) {
    operand_ = x86::ptr(kAddress, disp);
    return;
  }
  const Mem place = x86::ptr(kAddress, in_register(moving), index ? mem.scale : 0, disp);
  operand_ = place;
  if (!changes && is_pinned(moving)) return;
  a_.lea(kAddress, place);
  operand_ = x86::ptr(kAddress);
}

// EFLAGS and the flags' state are those of the conditional jump at the round's end.
void Emitter::end_round(x86::CondCode again) {
  const EntryState& entry = context_.states[context_.entry_state];
  rounds_failed_ = recipe_.kind == FlagRecipe::None || !(recipe_ == entry.flags);
  asmjit::Label over = a_.newLabel();
  a_.j(x86::negateCond(again), over);
  a_.sub(kRoundsLeft, 1);
  a_.jnz(round_);
  a_.mov(kTlb, slot(kTlbView));
  a_.jmp(rounds_over_);
  // The loop ends: the rounds that were paid for and didn't happen are given back.
  a_.bind(over);
  const u32 insns = static_cast<u32>(block_->insns.size());
  a_.imul(x86::ecx, kRoundsLeft, insns);
  a_.mov(kTlb, slot(kTlbView));
  a_.sub(x86::ecx, insns);
  a_.add(slot(kBudget), x86::rcx);
  flags_in_host_ = flags_dirty_ = false;
  jump_to(block_->next_rip());
  ended_ = true;
}

// False: the block has to do without.
bool Emitter::emit_rounds() {
  begin(loop_->body);
  const EntryState& entry = context_.states[context_.entry_state];
  for (const ir::BlockInsn& insn : block_->insns) {
    if (vector_form(*block_, insn).kind != VectorForm::None && !entry.vectors) return false;
    if (vex_form(block_->mode, insn.insn, context_.host, true).kind == VexForm::Vector && !entry.wide_vectors) return false;
    if (special_form(block_->mode, insn.insn) != SpecialForm::None) return false;
    if (x87_form(block_->mode, insn.insn).kind != X87Form::None) return false;  // it tells where the last one was
  }
  const LoopPlan& plan = loop_->plan;
  const u32 insns = static_cast<u32>(block_->insns.size());
  asmjit::Label otherwise = a_.newLabel(), unpaid = a_.newLabel();
  round_ = a_.newLabel();
  rounds_over_ = a_.newLabel();
  a_.bind(rounds_over_);
  if (plan.steps_by_registers) a_.mov(fewest_rounds(), plan.rounds);
  for (std::size_t n = 0; n < plan.streams.size(); n++) probe_stream(plan.streams[n], static_cast<unsigned>(n + 1), otherwise);
  if (plan.steps_by_registers) {
    a_.mov(x86::ecx, fewest_rounds());
    a_.imul(x86::edx, x86::ecx, insns);
  } else {
    a_.mov(x86::ecx, plan.rounds);
    a_.mov(x86::edx, plan.rounds * insns);
  }
  a_.sub(slot(kBudget), x86::rdx);
  a_.js(unpaid);
  a_.mov(kRoundsLeft, x86::ecx);
  a_.bind(round_);
  in_rounds_ = true;
  ends_plain_ = false;
  recipe_ = {};
  for (insn_index_ = 0; insn_index_ < block_->insns.size(); insn_index_++) emit_insn(block_->insns[insn_index_]);
  in_rounds_ = false;
  VERIFY_BLOCK(cold_.empty() && bails_.empty(), "a round that may leave");
  a_.bind(unpaid);
  a_.add(slot(kBudget), x86::rdx);
  a_.bind(otherwise);
  return !rounds_failed_;
}

}  // namespace callgate::jit::x64
