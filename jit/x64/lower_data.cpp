// Moves between registers, extensions, selections.
#include "base/verify.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

void Emitter::lower_write_gpr(const ir::Op& op) {
  const ir::ValueId v = op.args[0];
  const Loc l = loc_[v];
  if (l.kind == Loc::Done) return;
  rescue(op.reg, v);
  const bool same = l.kind == Loc::Guest && l.reg == op.reg && !l.high;
  if (same && !op.high && !last_use(v)) {
    const Gp r = own(v, 8);  // the old value is wanted later
    set_host(v, r);
  }
  const bool pinned = is_pinned(op.reg);
  const Gp host = pinned ? gp(kHostOf[op.reg], 8) : Gp();
  if (op.high) {
    const Gp r = own(v, 8);
    if (pinned) {  // RORX leaves the flags alone
      a_.rorx(host, host, 8);
      a_.mov(resize(host, 1), resize(r, 1));
      a_.rorx(host, host, 56);
    } else {
      a_.mov(home(op.reg, 1, 1), resize(r, 1));
    }
    return;
  }
  if (l.kind == Loc::Cond && op.size == 1) {
    const auto cc = need_condition(l.reg);
    if (pinned) a_.set(cc, resize(host, 1));
    else a_.set(cc, home(op.reg, 1));
    return;
  }
  if (l.kind == Loc::Imm) {
    const i64 s = sign_extend(l.imm, 8u * op.size);
    if (op.size < 4) {
      if (pinned) a_.mov(resize(host, op.size), asmjit::Imm(s));
      else a_.mov(home(op.reg, op.size), asmjit::Imm(s));
      return;
    }
    const u64 value = l.imm & low_mask(8u * op.size);
    if (pinned) {
      if (value <= 0xFFFFFFFF) a_.mov(resize(host, 4), static_cast<u32>(value));
      else a_.mov(host, value);
      return;
    }
    if (static_cast<i64>(value) == static_cast<i32>(value)) {
      a_.mov(home(op.reg), asmjit::Imm(static_cast<i64>(value)));
      return;
    }
    a_.mov(home(op.reg), own(v, 8));
    return;
  }
  if (pinned) {
    a_.emit(x86::Inst::kIdMov, resize(host, op.size), rm(v, op.size));
    return;
  }
  if (op.size == 4) {
    const Gp r = own(v, 4);
    if (l.kind != Loc::Memory) a_.mov(r, r);  // clears the upper half
    a_.mov(home(op.reg), resize(r, 8));
    return;
  }
  a_.mov(home(op.reg, op.size), reg(v, op.size));
}

void Emitter::lower_extend(const ir::Op& op, ir::ValueId id, bool sign) {
  const ir::ValueId v = op.args[0];
  const unsigned from = op_of(v).size;
  const Loc l = loc_[v];
  if (l.kind == Loc::Imm) {
    const u64 value = sign ? static_cast<u64>(sign_extend(l.imm, 8 * from)) : l.imm;
    return set_imm(id, value & low_mask(8u * op.size));
  }
  const int target = op.size >= 4 ? target_of(id) : -1;
  const asmjit::Operand source = rm(v, from);
  Gp d;
  if (target >= 0) {
    rescue(static_cast<unsigned>(target), v);
    d = gp(kHostOf[target], op.size);
  } else {
    d = scratch(op.size < 4 ? 4 : op.size);
  }
  if (sign) a_.emit(from == 4 ? x86::Inst::kIdMovsxd : x86::Inst::kIdMovsx, d, source);
  else if (from == 4) a_.emit(x86::Inst::kIdMov, resize(d, 4), source);
  else a_.emit(x86::Inst::kIdMovzx, resize(d, 4), source);
  if (target >= 0) loc_[id] = {Loc::Done, 0, false, 0};
  else set_host(id, d);
}

void Emitter::lower_truncate(const ir::Op& op, ir::ValueId id) {
  const ir::ValueId v = op.args[0];
  const Loc l = loc_[v];
  switch (l.kind) {
    case Loc::Imm: return set_imm(id, l.imm & low_mask(8u * op.size));
    case Loc::Guest: loc_[id] = l; return;
    case Loc::Memory:
      loc_[id] = l;
      if (in_scratch_[kAddress.id()] == v) in_scratch_[kAddress.id()] = id;
      return;
    default: set_host(id, own(v, 8));
  }
}

void Emitter::lower_select(const ir::Op& op, ir::ValueId id) {
  const ir::ValueId yes = op.args[1], no = op.args[2];
  // CMOV has no byte form; a register's other bytes don't matter in a scratch register.
  const unsigned size = op.size == 1 ? 4 : op.size;
  const Loc n = loc_[no];
  const ir::Op* next = op_index_ + 1 < insn_->first + insn_->count ? &block_->ops[op_index_ + 1] : nullptr;
  const bool to_gpr = op.uses == 1 && next != nullptr && next->opcode == ir::Opcode::WriteGpr && next->args[0] == id &&
                      !next->high && is_pinned(next->reg) && op.size >= 2;
  const asmjit::Operand source = op.size == 1 ? asmjit::Operand(resize(reg(yes, 1), size)) : rm(yes, op.size);
  Gp d;
  const bool in_place = to_gpr && n.kind == Loc::Guest && !n.high && n.reg == next->reg && last_use(no);
  if (in_place) {
    rescue(next->reg, no);
    d = gp(kHostOf[next->reg], size);
  } else {
    d = own(no, size);
  }
  const auto cc = test_bool(op.args[0]);
  a_.emit(x86::Inst::cmovccFromCond(cc), d, source);
  if (in_place) loc_[id] = {Loc::Done, 0, false, 0};
  else set_host(id, d);
}

void Emitter::lower_member(const ir::Op& op, ir::ValueId id) {
  const ir::ValueId v = op.args[0];
  VERIFY_BLOCK(loc_[v].kind == Loc::Pair, "a member of a value that is no pair");
  if (op.imm >= 2u * op.size || (op.size == 1 && op.imm == 2)) return set_imm(id, 0);  // a quotient's error: it would have left
  const Gp r = op.imm == 0 ? x86::rax : x86::rdx;
  set_host(id, r);
}

}  // namespace callgate::jit::x64
