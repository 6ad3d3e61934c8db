// Multiplication, division, single bits: what needs certain registers or flags of its own making.
#include <bit>

#include "base/verify.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

using ir::OpKind;
namespace Inst = x86::Inst;

// CF and OF as the host has them in EFLAGS, SF, ZF and PF of `low`, AF 0: the flags of a product.
void Emitter::product_flags(const ir::Op& op, const Gp& low, const Gp& helper) {
  flags_in_host_ = flags_dirty_ = false;
  recipe_ = {};
  flag_definitions_++;
  if ((op.flags_wanted() & ~u32{kCF | kOF}) == 0) {
    if (op.flags_wanted() != 0) flags_in_host_ = flags_dirty_ = true;
    return;
  }
  a_.seto(helper.r8());
  a_.test(low, low);
  a_.mov(slot(kTemp3), x86::rax);
  a_.lahf();
  a_.and_(x86::ah, ~u32{kAF} & 0xFF);
  a_.mov(x86::al, helper.r8());
  a_.or_(x86::ah, x86::al);
  a_.mov(slot(kFlagsImage, 2), x86::ax);
  a_.mov(x86::rax, slot(kTemp3));
}

void Emitter::lower_multiply(const ir::Op& op, ir::ValueId id) {
  const ir::ValueId a = op.args[0], b = op.args[1];
  const unsigned size = op.info->arg_size[0];
  if (op.info->kind == OpKind::imul_low) {
    if (op.uses == 0 && op.flags_wanted() == 0) return;
    const bool flags = (op.flags_wanted() & ~u32{kCF | kOF}) != 0;
    const int target = size >= 4 && !flags ? target_of(id) : -1;
    Gp d;
    const asmjit::Operand right = rmi(b, size);
    if (right.isImm()) {
      const asmjit::Operand left = loc_[a].kind == Loc::Imm ? asmjit::Operand(reg(a, size)) : rm(a, size);
      if (target >= 0) rescue(static_cast<unsigned>(target), a);
      d = target >= 0 ? gp(kHostOf[target], size) : scratch(size);
      a_.emit(Inst::kIdImul, d, left, right);
    } else {
      const bool in_place = target >= 0 && loc_[a].kind == Loc::Guest && !loc_[a].high && loc_[a].reg == target &&
                            last_use(a) && !(loc_[b].kind == Loc::Guest && loc_[b].reg == target && !last_use(b));
      if (in_place) {
        d = gp(kHostOf[target], size);
      } else {
        d = own(a, size);
      }
      a_.emit(Inst::kIdImul, d, right);
      if (!in_place) {
        if (flags) product_flags(op, d, scratch(1));
        else product_flags(op, d, Gp());
        set_host(id, d);
        return;
      }
    }
    product_flags(op, d, flags ? scratch(1) : Gp());
    if (target >= 0) loc_[id] = {Loc::Done, 0, false, 0};
    else set_host(id, d);
    return;
  }
  const Gp factor = operand_in_rcx(b, size);
  const Gp low = claim(x86::Gp::kIdAx, size);
  load_into(low, a);
  const Gp high = claim(x86::Gp::kIdDx, size);
  a_.emit(op.info->kind == OpKind::mul ? Inst::kIdMul : Inst::kIdImul, factor);
  product_flags(op, low, x86::cl);
  if (size == 1) a_.rorx(high.r32(), x86::eax, 8);
  set_pair(id);
}

Gp Emitter::operand_in_rcx(ir::ValueId v, unsigned size) {
  const Loc l = loc_[v];
  if (l.kind == Loc::Host && l.reg == x86::Gp::kIdCx) {
    locked_ |= 1u << x86::Gp::kIdCx;
    return gp(x86::Gp::kIdCx, size);
  }
  const Gp r = claim(x86::Gp::kIdCx, size);
  load_into(r, v);
  if (l.kind == Loc::Memory) free_scratch(x86::Gp::kIdAx, v);
  if (l.kind == Loc::Host && last_use(v)) free_scratch(l.reg, v);
  return r;
}

void Emitter::set_pair(ir::ValueId id) {
  loc_[id] = {Loc::Pair, 0, false, 0};
  for (const unsigned host : {0u, 2u}) {
    busy_ |= 1u << host;
    in_scratch_[host] = id;
  }
}

// Leaves where the host's own division would fault, or might: IDIV with a dividend that is not just a sign-extended number.
void Emitter::lower_divide(const ir::Op& op, ir::ValueId id) {
  const ir::ValueId high = op.args[0], low = op.args[1], divisor = op.args[2];
  const unsigned size = op.info->arg_size[0];
  destroy_flags();
  const Gp d = operand_in_rcx(divisor, size);
  const Gp rdx = claim(x86::Gp::kIdDx, size);
  load_into(rdx, high);
  const Gp rax = claim(x86::Gp::kIdAx, size);
  load_into(rax, low);
  if (op.info->kind == OpKind::div) {
    a_.cmp(rdx, d);
    a_.jae(bail_label());
  } else {
    // -1 and 0 as divisors, and a high half that isn't the sign of the low one.
    const Gp wide = gp(x86::Gp::kIdCx, 4);
    a_.mov(slot(kTemp3), x86::rcx);
    a_.emit(Inst::kIdInc, d);
    a_.cmp(d, 1);
    a_.jbe(bail_label());
    a_.emit(Inst::kIdMov, d, rax);
    a_.sar(d, 8 * size - 1);
    a_.cmp(d, rdx);
    a_.jne(bail_label());
    a_.mov(x86::rcx, slot(kTemp3));
    (void)wide;
  }
  if (size == 1) {  // AH:AL
    a_.shl(x86::edx, 8);
    a_.movzx(x86::eax, x86::al);
    a_.or_(x86::eax, x86::edx);
  }
  a_.emit(op.info->kind == OpKind::div ? Inst::kIdDiv : Inst::kIdIdiv, d);
  if (size == 1) {
    a_.mov(x86::edx, x86::eax);
    a_.shr(x86::edx, 8);
  }
  set_pair(id);
}

void Emitter::lower_bit(const ir::Op& op, ir::ValueId id) {
  const ir::ValueId a = op.args[0];
  const unsigned size = op.info->arg_size[0];
  if (op.info->kind == OpKind::bswap) {
    if (size == 2) return set_imm(id, 0);
    const Gp r = own(a, size);
    a_.bswap(r);
    return set_host(id, r);
  }
  if (op.info->kind == OpKind::bit_string_offset) {
    destroy_flags();
    const Gp r = own(a, 8);
    if (size == 2) a_.movsx(r, resize(r, 2));
    else if (size == 4) a_.movsxd(r, resize(r, 4));
    a_.sar(r, std::countr_zero(8 * size));
    if (size != 1) a_.shl(r, std::countr_zero(size));
    return set_host(id, r);
  }
  const ir::ValueId index = op.args[1];
  if (op.uses == 0 && op.flags_wanted() == 0) return;
  need_others(op);
  const bool constant = loc_[index].kind == Loc::Imm;
  const asmjit::Operand n = constant ? asmjit::Operand(asmjit::Imm(loc_[index].imm & (8 * size - 1)))
                                     : asmjit::Operand(reg(index, size));
  if (op.info->kind == OpKind::bt) {
    // With a register index a memory form would address a bit string.
    const asmjit::Operand left = constant ? rm(a, size) : asmjit::Operand(reg(a, size));
    a_.emit(Inst::kIdBt, left, n);
    return flags_defined(op);
  }
  const u32 inst = op.info->kind == OpKind::bts   ? u32{Inst::kIdBts}
                   : op.info->kind == OpKind::btr ? u32{Inst::kIdBtr}
                                                  : u32{Inst::kIdBtc};
  const Place place = place_of(op, id);
  if (!place.where.isNone() && (constant || !place.memory)) {
    a_.emit(inst, place.where, n);
    loc_[id] = {Loc::Done, 0, false, 0};
  } else {
    const Gp r = own(a, size);
    a_.emit(inst, r, n);
    set_host(id, r);
  }
  flags_defined(op);
}

// What a scan of 0 gives is not written (cpu/semantics/bit.h), so it may be anything.
void Emitter::lower_bit_scan(const ir::Op& op, ir::ValueId id) {
  const unsigned size = op.info->arg_size[0];
  const Gp source = reg(op.args[0], size);
  const Gp d = scratch(size);
  flags_dirty_ = false;
  recipe_ = {};
  a_.emit(op.info->kind == OpKind::bsf ? Inst::kIdBsf : Inst::kIdBsr, d, source);
  flags_in_host_ = false;
  if (op.flags_wanted() != 0) {
    const Gp f = scratch(4);
    a_.setz(f.r8());
    a_.movzx(f, f.r8());
    a_.imul(f, f, (kZF | kPF) << 8);
    a_.or_(f, u32{kFlagsFixed} << 8);
    store_image(f.r16());
  }
  set_host(id, d);
}

// POPCNT defines all flags; what TZCNT and LZCNT leave open is canonically clear.
void Emitter::lower_bit_count(const ir::Op& op, ir::ValueId id) {
  const unsigned size = op.info->arg_size[0];
  const asmjit::Operand source = rm(op.args[0], size);
  const Gp d = scratch(size);
  flags_dirty_ = false;
  recipe_ = {};
  a_.emit(op.info->kind == OpKind::popcnt  ? u32{Inst::kIdPopcnt}
          : op.info->kind == OpKind::tzcnt ? u32{Inst::kIdTzcnt}
                                           : u32{Inst::kIdLzcnt},
          d, source);
  if (op.info->kind == OpKind::popcnt) {
    flags_defined(op);
  } else {
    flags_in_host_ = false;
    flag_definitions_++;
    if (op.flags_wanted() != 0) {
      const Gp f = scratch(4);
      a_.setz(f.r8());
      a_.mov(slot(kTemp3, 1), f.r8());
      a_.setc(f.r8());
      a_.mov(slot(kTemp3, 1, 1), f.r8());
      a_.movzx(f, slot(kTemp3, 1, 1));  // CF
      a_.shl(f, 8);
      a_.cmp(slot(kTemp3, 1), 0);
      asmjit::Label no_zero = a_.newLabel();
      a_.je(no_zero);
      a_.or_(f, kZF << 8);
      a_.bind(no_zero);
      a_.or_(f, u32{kFlagsFixed} << 8);
      store_image(f.r16());
    }
  }
  set_host(id, d);
}

}  // namespace callgate::jit::x64
