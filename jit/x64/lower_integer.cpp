// Integer arithmetic and logic, shifts, and the operations on flags.
#include "base/verify.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

using ir::OpKind;
namespace Inst = x86::Inst;

namespace {

u32 instruction_of(OpKind kind) {
  switch (kind) {
    case OpKind::add: return Inst::kIdAdd;
    case OpKind::adc: return Inst::kIdAdc;
    case OpKind::sub: return Inst::kIdSub;
    case OpKind::sbb: return Inst::kIdSbb;
    case OpKind::and_: return Inst::kIdAnd;
    case OpKind::or_: return Inst::kIdOr;
    case OpKind::xor_: return Inst::kIdXor;
    case OpKind::inc: return Inst::kIdInc;
    case OpKind::dec: return Inst::kIdDec;
    case OpKind::neg: return Inst::kIdNeg;
    case OpKind::not_: return Inst::kIdNot;
    case OpKind::shl: return Inst::kIdShl;
    case OpKind::shr: return Inst::kIdShr;
    case OpKind::sar: return Inst::kIdSar;
    case OpKind::rol: return Inst::kIdRol;
    case OpKind::ror: return Inst::kIdRor;
    case OpKind::rcl: return Inst::kIdRcl;
    case OpKind::rcr: return Inst::kIdRcr;
    case OpKind::shld: return Inst::kIdShld;
    case OpKind::shrd: return Inst::kIdShrd;
    case OpKind::bt: return Inst::kIdBt;
    case OpKind::bts: return Inst::kIdBts;
    case OpKind::btr: return Inst::kIdBtr;
    case OpKind::btc: return Inst::kIdBtc;
    default: VERIFY(false, "an operation without an instruction of its own");
  }
}

}  // namespace

void Emitter::lower_compute(const ir::Op& op, ir::ValueId id) {
  switch (op.info->kind) {
    case OpKind::add: case OpKind::adc: case OpKind::sub: case OpKind::sbb: case OpKind::and_: case OpKind::or_:
    case OpKind::xor_:
      return lower_binary(op, id);
    case OpKind::inc: case OpKind::dec: case OpKind::neg: case OpKind::not_: return lower_unary(op, id);
    case OpKind::shl: case OpKind::shr: case OpKind::sar: case OpKind::rol: case OpKind::ror: case OpKind::rcl:
    case OpKind::rcr:
      return lower_shift(op, id);
    case OpKind::shld: case OpKind::shrd: return lower_double_shift(op, id);
    case OpKind::bt: case OpKind::bts: case OpKind::btr: case OpKind::btc: case OpKind::bit_string_offset:
    case OpKind::bswap:
      return lower_bit(op, id);
    case OpKind::bsf: case OpKind::bsr: return lower_bit_scan(op, id);
    case OpKind::popcnt: case OpKind::tzcnt: case OpKind::lzcnt: return lower_bit_count(op, id);
    case OpKind::shlx: case OpKind::shrx: case OpKind::sarx: case OpKind::rorx: return lower_flagless_shift(op, id);
    case OpKind::mul: case OpKind::imul: case OpKind::imul_low: return lower_multiply(op, id);
    case OpKind::div: case OpKind::idiv: return lower_divide(op, id);
    case OpKind::clear_flags: case OpKind::low_flags: case OpKind::set_low_flags: case OpKind::set_carry:
    case OpKind::complement_carry:
      return lower_flag_op(op, id);
    case OpKind::equal: case OpKind::non_zero: case OpKind::is_zero: case OpKind::logical_not: case OpKind::sign_fill:
      return lower_predicate(op, id);
    default:
      if (is_code_bytes(op.info)) return lower_code_bytes(op, id);
      return lower_extension(op, id);
  }
}

// Where a result can be computed in place: in the guest register or memory operand that it comes from and goes to.
Emitter::Place Emitter::place_of(const ir::Op& op, ir::ValueId id) {
  const ir::ValueId a = op.args[0];
  const Loc& l = loc_[a];
  const u32 next = op_index_ + 1;
  if (uses_[id] != 1 || next >= insn_->first + insn_->count || !last_use(a)) return {};
  const ir::Op& w = block_->ops[next];
  if (w.args[0] != id) return {};
  if (w.opcode == ir::Opcode::Update && modifying_ && l.kind == Loc::Memory)
    return {operand(w.size), true};
  if (w.opcode != ir::Opcode::WriteGpr || w.high || l.kind != Loc::Guest || l.high || l.reg != w.reg) return {};
  // Other operands may be the same register (ADD EAX, EAX), but nobody may want its old value later.
  for (ir::ValueId v = static_cast<ir::ValueId>(insn_->first); v < op_index_; v++) {
    if (v == a || !live(v) || loc_[v].kind != Loc::Guest || loc_[v].reg != w.reg) continue;
    bool here = false;
    for (const ir::ValueId arg : op.args) here |= arg == v;
    if (!here || !last_use(v) || !is_pinned(w.reg)) return {};
  }
  if (is_pinned(w.reg)) return {gp(kHostOf[w.reg], w.size), false};
  if (w.size == 4) return {};  // the upper half must be cleared, too
  return {home(w.reg, w.size), true};
}

void Emitter::lower_binary(const ir::Op& op, ir::ValueId id) {
  const ir::ValueId a = op.args[0], b = op.args[1];
  const unsigned size = op.info->arg_size[0];
  const OpKind kind = op.info->kind;
  if (op.uses == 0 && op.flags_wanted() == 0) return;
  const bool carry = kind == OpKind::adc || kind == OpKind::sbb;
  if (op.uses == 0 && (kind == OpKind::sub || kind == OpKind::and_)) {
    asmjit::Operand left = rm(a, size), right = rmi(b, size);
    if (left.isMem() && right.isMem()) {
      if (loc_[a].kind == Loc::Memory) right = reg(b, size);
      else left = reg(a, size);
    }
    if (kind == OpKind::and_ && right.isMem()) std::swap(left, right);
    const u32 inst = kind == OpKind::sub ? u32{Inst::kIdCmp} : u32{Inst::kIdTest};
    const FlagRecipe recipe = compare_recipe(inst, a, b, size);
    a_.emit(inst, left, right);
    return flags_defined(op, recipe);
  }
  // XOR and SUB of a register with itself, which is in memory: as always, 0 and its flags.
  const ir::Op* next = op_index_ + 1 < insn_->first + insn_->count ? &block_->ops[op_index_ + 1] : nullptr;
  if ((kind == OpKind::xor_ || kind == OpKind::sub) && size >= 4 && op.uses == 1 && loc_[a].kind == Loc::Guest &&
      loc_[b].kind == Loc::Guest && loc_[a].reg == loc_[b].reg && !is_pinned(loc_[a].reg) && next != nullptr &&
      next->opcode == ir::Opcode::WriteGpr && next->reg == loc_[a].reg) {
    const FlagRecipe recipe = result_recipe(OpKind::xor_, loc_[a].reg, b, size);
    const Gp d = scratch(8);
    a_.xor_(d.r32(), d.r32());
    set_host(id, d);
    return flags_defined(op, recipe);
  }
  const Place place = place_of(op, id);
  if (carry) need_carry();
  if (!place.where.isNone()) {
    const FlagRecipe recipe = loc_[a].kind == Loc::Guest ? result_recipe(kind, loc_[a].reg, b, size) : FlagRecipe{};
    a_.emit(instruction_of(kind), place.where, place.memory ? ri(b, size) : rmi(b, size));
    loc_[id] = {Loc::Done, 0, false, 0};
    return flags_defined(op, recipe);
  }
  // In the register that the result goes to, when the second operand isn't there.
  const int target = size >= 4 ? target_of(id) : -1;
  if (target >= 0 && !(loc_[b].kind == Loc::Guest && loc_[b].reg == target)) {
    const asmjit::Operand right = rmi(b, size), left = loc_[a].kind == Loc::Imm ? asmjit::Operand(reg(a, size)) : rm(a, size);
    rescue(static_cast<unsigned>(target), a);
    if (loc_[a].kind == Loc::Guest && loc_[a].reg == target && !last_use(a)) {
      const Gp old = own(a, 8);
      set_host(a, old);
    }
    const Gp d = gp(kHostOf[target], size);
    const FlagRecipe recipe = result_recipe(kind, static_cast<unsigned>(target), b, size);
    a_.emit(Inst::kIdMov, d, left);
    a_.emit(instruction_of(kind), d, right);
    loc_[id] = {Loc::Done, 0, false, 0};
    return flags_defined(op, recipe);
  }
  const Gp d = own(a, size);
  a_.emit(instruction_of(kind), d, rmi(b, size));
  set_host(id, d);
  flags_defined(op);
}

asmjit::Operand Emitter::ri(ir::ValueId v, unsigned size) {
  if (loc_[v].kind == Loc::Imm) {
    const asmjit::Operand o = rmi(v, size);
    if (o.isImm()) return o;
  }
  return reg(v, size);
}

void Emitter::lower_unary(const ir::Op& op, ir::ValueId id) {
  const ir::ValueId a = op.args[0];
  const unsigned size = op.info->arg_size[0];
  const OpKind kind = op.info->kind;
  // INC and DEC leave CF alone: it must be there when somebody reads it later.
  if ((kind == OpKind::inc || kind == OpKind::dec) && ((insn_->flags_live | insn_->flags_seen) & kCF)) need_carry();
  const Place place = place_of(op, id);
  if (!place.where.isNone()) {
    a_.emit(instruction_of(kind), place.where);
    loc_[id] = {Loc::Done, 0, false, 0};
  } else {
    const Gp d = own(a, size);
    a_.emit(instruction_of(kind), d);
    set_host(id, d);
  }
  if (kind != OpKind::not_) flags_defined(op);
}

void Emitter::lower_shift(const ir::Op& op, ir::ValueId id) {
  const ir::ValueId a = op.args[0], b = op.args[1];
  const unsigned size = op.info->arg_size[0];
  const OpKind kind = op.info->kind;
  const bool by_constant = loc_[b].kind == Loc::Imm;
  const u32 count = static_cast<u32>(loc_[b].imm) & (size == 8 ? 63 : 31);
  if (by_constant && count == 0) {  // no flag changes; a 32-bit register still loses its upper half
    save_flags();  // the row says that they are written: what they could be made from again goes
    set_host(id, own(a, size));
    return;
  }
  const bool plain = kind == OpKind::shl || kind == OpKind::shr || kind == OpKind::sar;
  if (!by_constant && plain && size >= 4 && op.flags_wanted() == 0) {  // SHLX and relatives have no flags
    const Gp n = reg(b, size);
    const int target = target_of(id);
    const asmjit::Operand source = rm(a, size);
    Gp d;
    if (target >= 0) {
      rescue(static_cast<unsigned>(target), a);
      d = gp(kHostOf[target], size);
    } else {
      d = scratch(size);
    }
    if (target >= 0 && loc_[a].kind == Loc::Guest && loc_[a].reg == target && !last_use(a)) set_host(a, own(a, 8));
    a_.emit(kind == OpKind::shl ? Inst::kIdShlx : kind == OpKind::shr ? Inst::kIdShrx : Inst::kIdSarx, d, source, n);
    if (target >= 0) loc_[id] = {Loc::Done, 0, false, 0};
    else set_host(id, d);
    return;
  }
  if (kind == OpKind::rcl || kind == OpKind::rcr) need_carry();
  // A count of 0 keeps all flags, a rotate always keeps some.
  if (!by_constant) {
    if ((insn_->flags_live | insn_->flags_seen) != 0) restore_flags();
  } else {
    need_others(op);
  }
  if (!by_constant) {
    if (!(loc_[b].kind == Loc::Host && loc_[b].reg == x86::Gp::kIdCx)) {
      const Gp cl = claim(x86::Gp::kIdCx, 8);
      load_into(cl, b);
    } else {
      locked_ |= 1u << x86::Gp::kIdCx;
    }
  }
  const asmjit::Operand n = by_constant ? asmjit::Operand(asmjit::Imm(count)) : asmjit::Operand(x86::cl);
  const Place place = place_of(op, id);
  if (!place.where.isNone()) {
    a_.emit(instruction_of(kind), place.where, n);
    loc_[id] = {Loc::Done, 0, false, 0};
  } else {
    const Gp d = own(a, size);
    a_.emit(instruction_of(kind), d, n);
    // A 32-bit shift by CL of 0 clears the upper half on the host as well.
    set_host(id, d);
  }
  flags_defined(op);
}

// SHLX and relatives, RORX.
void Emitter::lower_flagless_shift(const ir::Op& op, ir::ValueId id) {
  const unsigned size = op.info->arg_size[0];
  const OpKind kind = op.info->kind;
  const asmjit::Operand n = kind == OpKind::rorx ? asmjit::Operand(asmjit::Imm(loc_[op.args[1]].imm & (8 * size - 1)))
                                                 : asmjit::Operand(reg(op.args[1], size));
  const asmjit::Operand source = rm(op.args[0], size);
  const Gp d = scratch(size);
  a_.emit(kind == OpKind::shlx   ? u32{Inst::kIdShlx}
          : kind == OpKind::shrx ? u32{Inst::kIdShrx}
          : kind == OpKind::sarx ? u32{Inst::kIdSarx}
                                 : u32{Inst::kIdRorx},
          d, source, n);
  set_host(id, d);
}

void Emitter::lower_double_shift(const ir::Op& op, ir::ValueId id) {
  const ir::ValueId a = op.args[0], b = op.args[1], n = op.args[2];
  const unsigned size = op.info->arg_size[0];
  const bool by_constant = loc_[n].kind == Loc::Imm;
  const u32 count = static_cast<u32>(loc_[n].imm) & (size == 8 ? 63 : 31);
  if (by_constant && count == 0) {
    save_flags();
    set_host(id, own(a, size));
    return;
  }
  if (!by_constant) {
    if ((insn_->flags_live | insn_->flags_seen) != 0) restore_flags();
    if (!(loc_[n].kind == Loc::Host && loc_[n].reg == x86::Gp::kIdCx)) load_into(claim(x86::Gp::kIdCx, 8), n);
    else locked_ |= 1u << x86::Gp::kIdCx;
  }
  const asmjit::Operand c = by_constant ? asmjit::Operand(asmjit::Imm(count)) : asmjit::Operand(x86::cl);
  const Place place = place_of(op, id);
  const Gp source = reg(b, size);
  if (!place.where.isNone()) {
    a_.emit(instruction_of(op.info->kind), place.where, source, c);
    loc_[id] = {Loc::Done, 0, false, 0};
  } else {
    const Gp d = own(a, size);
    a_.emit(instruction_of(op.info->kind), d, source, c);
    set_host(id, d);
  }
  flags_defined(op);
}

void Emitter::lower_flag_op(const ir::Op& op, ir::ValueId id) {
  switch (op.info->kind) {
    case OpKind::clear_flags:
      flags_dirty_ = flags_in_host_ = false;
      recipe_ = {};
      if (op.flags_wanted() != 0) a_.mov(slot(kFlagsImage, 2), 0x0200);
      break;
    case OpKind::low_flags: {
      save_flags();
      const Gp r = scratch(4);
      a_.movzx(r, slot(kFlagsImage, 1, 1));
      set_host(id, r);
      break;
    }
    case OpKind::set_low_flags: {
      save_flags();  // OF stays
      destroy_flags();
      const Gp r = own(op.args[0], 4);
      a_.and_(r, kArithmetic & 0xFF);
      a_.or_(r, kFlagsFixed);
      a_.mov(slot(kFlagsImage, 1, 1), r.r8());
      break;
    }
    case OpKind::set_carry:
      need_others(op);
      if (loc_[op.args[0]].imm) a_.stc();
      else a_.clc();
      flags_defined(op);
      break;
    default:
      need_others(op);
      need_carry();
      a_.cmc();
      flags_defined(op);
  }
}

void Emitter::lower_predicate(const ir::Op& op, ir::ValueId id) {
  const unsigned size = op.info->arg_size[0];
  const ir::ValueId a = op.args[0];
  if (op.info->kind == OpKind::sign_fill) {  // CWD and relatives: no flags
    load_into(claim(x86::Gp::kIdAx, 8), a);
    const Gp d = claim(x86::Gp::kIdDx, size);
    if (size == 8) a_.cqo();
    else if (size == 4) a_.cdq();
    else a_.cwd();
    set_host(id, d);
    return;
  }
  destroy_flags();
  x86::CondCode cc = x86::CondCode::kZ;
  switch (op.info->kind) {
    case OpKind::equal: a_.emit(Inst::kIdCmp, reg(a, size), rm(op.args[1], size)); break;
    case OpKind::non_zero: cc = x86::CondCode::kNZ; [[fallthrough]];
    case OpKind::is_zero: {
      const Gp r = reg(a, size);
      a_.test(r, r);
      break;
    }
    default: {  // logical_not
      const Gp r = own(a, 4);
      a_.xor_(r, 1);
      set_host(id, r);
      return;
    }
  }
  const Gp r = scratch(1);
  a_.set(cc, r);
  set_host(id, r);
}

}  // namespace callgate::jit::x64
