// Memory operands: effective addresses, the probe of the soft TLB, loads and stores. Bits of docs: facts on fast paths.
#include "base/verify.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

// rax, rcx: no others are needed. Doesn't touch EFLAGS unless there is a segment base or something moved.
void Emitter::effective_address(const ir::Mem& mem, const Gp& into, bool with_segment) {
  const bool has_base = mem.base != kGprZero, has_index = mem.index != kGprZero;
  const bool fits = mem.disp == static_cast<i32>(mem.disp);
  VERIFY_BLOCK(fits || (!has_base && !has_index), "a displacement of more than 32 bits with registers");
  const i32 disp = fits ? static_cast<i32>(mem.disp) : 0;
  if (!has_base && !has_index) {
    const u64 value = static_cast<u64>(mem.disp) & low_mask(8u * mem.asize);
    if (value <= 0xFFFFFFFF) a_.mov(resize(into, 4), static_cast<u32>(value));
    else a_.mov(into, value);
  } else {
    Gp base, index;
    if (has_base) {
      base = is_pinned(mem.base) ? gp(kHostOf[mem.base], 8) : into;
      if (!is_pinned(mem.base)) a_.mov(into, home(mem.base));
    }
    if (has_index) {
      const bool into_taken = has_base && !is_pinned(mem.base);
      index = is_pinned(mem.index) ? gp(kHostOf[mem.index], 8) : into_taken ? x86::rcx : into;
      if (!is_pinned(mem.index)) {
        if (into_taken) VERIFY_BLOCK(!((busy_ | locked_) >> 1 & 1), "rcx is taken");
        a_.mov(index, home(mem.index));
      }
    }
    const Gp out = resize(into, mem.asize == 8 ? 8 : 4);
    if (has_base && !has_index && disp == 0) {
      if (base.id() != into.id() || mem.asize != 8) a_.mov(out, resize(base, out.size()));
    } else if (has_base && has_index) {
      a_.lea(out, x86::ptr(base, index, mem.scale, disp));
    } else if (has_base) {
      a_.lea(out, x86::ptr(base, disp));
    } else if (mem.scale == 0) {
      if (disp != 0) a_.lea(out, x86::ptr(index, disp));
      else a_.mov(out, resize(index, out.size()));
    } else {
      a_.lea(out, x86::ptr(static_cast<u64>(static_cast<i64>(disp)), index, mem.scale));
    }
    if (mem.asize == 2) a_.movzx(resize(into, 4), resize(into, 2));
  }
  if (mem.moved != ir::kNoValue) {
    const Gp out = resize(into, mem.asize == 8 ? 8 : 4);
    destroy_flags();
    a_.emit(x86::Inst::kIdAdd, out, rm(mem.moved, out.size()));
    used(mem.moved);
    if (mem.asize == 2) a_.movzx(resize(into, 4), resize(into, 2));
  }
  if (with_segment && !(block_->mode.zero_bases >> mem.seg & 1)) {
    destroy_flags();
    const std::size_t at = offsetof(CpuState, seg) + mem.seg * sizeof(Segment) + offsetof(Segment, base);
    if (block_->mode.long64) a_.add(into, field(at));
    else a_.add(resize(into, 4), field(at, 4));
  }
}

// The address's page in the TLB's arrays, side by side: a tag xor the address is the offset in the page on a hit, so that
// one compare finds misses and page crossings. Behind it rax is the host address.
void Emitter::probe(const ir::Op& op, unsigned alignment) {
  const ir::Mem& mem = block_->mems[op.mem];
  VERIFY_BLOCK(!(locked_ & 1), "the address register is in use");
  if (in_rounds_) return stream_address(op);
  operand_ = x86::ptr(kAddress);
  if (op.group != 0 && !op.probes) {
    const auto in_memory = [](unsigned guest) { return guest != kGprZero && !is_pinned(guest); };
    spill(in_memory(mem.base) || in_memory(mem.index) ? 3 : 1);
    probed_address(op);
    if (alignment > 1) {
      destroy_flags();
      a_.test(x86::al, alignment - 1);
      a_.jnz(bail_label());
    }
    return;
  }
  // A moved operand's distance is looked at before its register is given up.
  if (mem.moved == ir::kNoValue) spill(7);
  else spill(1);
  const bool limited = context_.limited_segments >> mem.seg & 1;
  effective_address(mem, kAddress, !limited);
  spill(6);
  destroy_flags();
  if (limited) check_limit(mem.seg, op.size);
  if (alignment > 1) {
    a_.test(x86::al, alignment - 1);
    a_.jnz(bail_label());
  }
  const ir::ProbeGroup* group = op.group != 0 ? &block_->groups[op.group - 1u] : nullptr;
  const bool own_write = op.opcode != ir::Opcode::Load;
  const bool write = group != nullptr ? group->write : own_write;
  const unsigned size = group != nullptr ? group->span : op.size;
  if (group != nullptr && group->low != 0) a_.add(kAddress, group->low);
  const auto tag = static_cast<i32>(write ? offsetof(TlbTable, write_tag) : offsetof(TlbTable, read_tag));
  a_.rorx(x86::ecx, x86::eax, kPageShift - 3);
  a_.and_(x86::ecx, (TlbTable::kSlots - 1) << 3);
  a_.mov(x86::rdx, x86::ptr(kTlb, x86::rcx, 0, tag));
  a_.xor_(x86::rdx, kAddress);
  a_.cmp(x86::rdx, static_cast<i32>(kPageSize - size));
  ColdStub stub{a_.newLabel(), a_.newLabel(), add_site(*insn_, size),
                write ? context_.thunks.slow_write : context_.thunks.slow_read};
  context_.sites[stub.site].promoted = write != own_write;
  context_.sites[stub.site].grouped = group != nullptr;
  context_.sites[stub.site].single = is_single_access();
  context_.sites[stub.site].beside_groups = !block_->groups.empty();
  context_.sites[stub.site].shifted = group != nullptr && group->low != 0;
  stub.recipe = recipe_;
  stub.x87 = last_x87_;
  stub.group = op.group;
  a_.ja(stub.entry);
  const Mem addend = x86::ptr(kTlb, x86::rcx, 0, static_cast<i32>(offsetof(TlbTable, addend)));
  if (group == nullptr) {
    a_.add(kAddress, addend);
    a_.bind(stub.back);
  } else {
    a_.mov(x86::rdx, addend);
    a_.mov(group_addend(op.group), x86::rdx);
    a_.bind(stub.back);  // rdx: the addend
    if (group->low != 0) a_.lea(kAddress, x86::ptr(kAddress, x86::rdx, 0, -group->low));
    else a_.add(kAddress, x86::rdx);
  }
  cold_.push_back(stub);
}

bool Emitter::is_single_access() const {
  unsigned accesses = 0;
  for (u32 n = insn_->first; n < insn_->first + insn_->count; n++) {
    const ir::Opcode o = block_->ops[n].opcode;
    accesses += o == ir::Opcode::Load || o == ir::Opcode::Store || o == ir::Opcode::Modify || o == ir::Opcode::Resolve;
  }
  return accesses == 1;
}

// eax: an offset; behind it the linear address. What isn't within the limit is the interpreter's. SDM 3A 5.3.
void Emitter::check_limit(unsigned seg, unsigned size) {
  const std::size_t at = offsetof(CpuState, seg) + seg * sizeof(Segment);
  a_.mov(x86::ecx, field(at + offsetof(Segment, limit), 4));
  if (size > 1) {
    a_.sub(x86::ecx, size - 1);
    a_.jb(bail_label());
  }
  a_.cmp(x86::eax, x86::ecx);
  a_.ja(bail_label());
  a_.add(x86::eax, field(at + offsetof(Segment, base), 4));
}

// The operand of an access whose page another one has probed: no EFLAGS are touched.
void Emitter::probed_address(const ir::Op& op) {
  const ir::Mem& mem = block_->mems[op.mem];
  a_.mov(kAddress, group_addend(op.group));
  const i32 disp = static_cast<i32>(mem.disp);
  VERIFY_BLOCK(disp == mem.disp, "a group's displacement of more than 32 bits");
  const auto in_register = [&](unsigned guest) {
    if (is_pinned(guest)) return gp(kHostOf[guest], 8);
    a_.mov(x86::rcx, home(guest));
    return Gp(x86::rcx);
  };
  if (mem.base != kGprZero) a_.lea(kAddress, x86::ptr(kAddress, in_register(mem.base), 0, mem.index == kGprZero ? disp : 0));
  if (mem.index != kGprZero) a_.lea(kAddress, x86::ptr(kAddress, in_register(mem.index), mem.scale, disp));
  if (mem.base == kGprZero && mem.index == kGprZero) a_.lea(kAddress, x86::ptr(kAddress, disp));
}

// Groups keep their addends in the frame of emitted code (thunks.cpp).
Mem Emitter::group_addend(unsigned group) const { return x86::ptr(x86::rsp, static_cast<i32>(8 * (group - 1)), 8); }

void Emitter::lower_load(const ir::Op& op, ir::ValueId id, bool write) {
  probe(op);
  modifying_ = write;
  if (write) {
    busy_ |= 1;
    locked_ |= 1;
  }
  if (op.size > 8 || op.uses == 1) {
    loc_[id] = {Loc::Memory, 0, false, 0};
    if (op.uses != 0) {
      busy_ |= 1;
      in_scratch_[0] = id;
    }
    return;
  }
  if (op.uses == 0) return;
  const Gp r = scratch(8);
  if (op.size >= 4) a_.mov(resize(r, op.size), operand(op.size));
  else a_.movzx(resize(r, 4), operand(op.size));
  set_host(id, r);
}

void Emitter::lower_store(const ir::Op& op) {
  const ir::ValueId v = op.args[0];
  if (loc_[v].kind == Loc::Cond) {  // SETcc: before the probe destroys the flags
    const Gp r = own(v, 4);
    if (live(v)) set_host(v, r);
    locked_ = 0;
  }
  probe(op);
  locked_ |= 1;
  const Mem to = operand(op.size);
  if (loc_[v].kind == Loc::Imm) {
    const i64 s = sign_extend(loc_[v].imm, 8u * op.size);
    if (s == static_cast<i32>(s)) {
      a_.mov(to, asmjit::Imm(op.size == 8 ? s : static_cast<i64>(loc_[v].imm & low_mask(8u * op.size))));
      return;
    }
  }
  a_.mov(to, reg(v, op.size));
}

void Emitter::lower_update(const ir::Op& op) {
  const ir::ValueId v = op.args[0];
  const Mem to = operand(op.size);
  const ir::ValueId old = in_scratch_[kAddress.id()];
  if (old != ir::kNoValue && old != v && live(old)) {  // XCHG: the operand's value is wanted later
    const Gp r = own(old, 8);
    set_host(old, r);
  }
  // What Done says is in memory already; the operand's own value goes back to where it is.
  if (loc_[v].kind != Loc::Done && loc_[v].kind != Loc::Memory) a_.mov(to, reg(v, op.size));
  modifying_ = false;
  busy_ &= ~1u;
  locked_ &= ~1u;
  in_scratch_[kAddress.id()] = ir::kNoValue;
}

void Emitter::lower_address(const ir::Op& op, ir::ValueId id) {
  const ir::Mem& mem = block_->mems[op.mem];
  const int target = target_of(id);
  // LEA into its own register, when no operand needs the address register as a helper.
  const bool simple = (mem.base == kGprZero || is_pinned(mem.base)) && (mem.index == kGprZero || is_pinned(mem.index));
  if (target >= 0 && op.size >= 4 && simple && (mem.asize != 2)) {
    rescue(static_cast<unsigned>(target));
    const Gp r = gp(kHostOf[target], 8);
    effective_address(mem, r, false);
    if (op.size == 4 && mem.asize == 8) a_.mov(resize(r, 4), resize(r, 4));
    loc_[id] = {Loc::Done, 0, false, 0};
    return;
  }
  const Gp r = claim(kAddress.id(), 8);
  if (!simple && mem.base != kGprZero && !is_pinned(mem.base) && mem.index != kGprZero && !is_pinned(mem.index)) spill(2);
  effective_address(mem, r, false);
  set_host(id, r);
}

}  // namespace callgate::jit::x64
