// Where the values of an instruction are, and how a lowering gets at them.
#include <bit>

#include "base/verify.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

namespace {
constexpr u32 kScratchMask = 7;  // rax, rcx, rdx
constexpr unsigned kAddressId = 0;
}  // namespace

void Emitter::used(ir::ValueId v) {
  VERIFY_BLOCK(uses_[v] != 0, "a value is used more often than it was counted");
  if (--uses_[v] != 0) return;
  const Loc& l = loc_[v];
  if (l.kind == Loc::Host) free_scratch(l.reg, v);
  if (l.kind == Loc::Pair) {
    free_scratch(0, v);
    free_scratch(2, v);
  }
  if (l.kind == Loc::Spilled) temp_busy_ &= ~(1u << l.reg);
  if (l.kind == Loc::Memory && !modifying_) free_scratch(kAddressId, v);
}

void Emitter::free_scratch(unsigned host, ir::ValueId v) {
  if (in_scratch_[host] != v) return;  // somebody else has it by now
  busy_ &= ~(1u << host);
  in_scratch_[host] = ir::kNoValue;
}

Gp Emitter::scratch(unsigned size) {
  constexpr unsigned kOrder[3] = {2, 1, 0};  // rdx, rcx, and rax last: addresses are there
  for (const unsigned host : kOrder)
    if (!((busy_ | locked_) >> host & 1)) return claim(host, size);
  for (const unsigned host : kOrder)
    if (!(locked_ >> host & 1) && in_scratch_[host] != ir::kNoValue) return claim(host, size);
  VERIFY_BLOCK(false, "no scratch register is left");
}

Gp Emitter::claim(unsigned host, unsigned size) {
  VERIFY_BLOCK(!(locked_ >> host & 1), "a scratch register is wanted twice");
  spill(1u << host);
  locked_ |= 1u << host;
  return gp(static_cast<int>(host), size);
}

void Emitter::spill(u32 mask) {
  for (unsigned host = 0; host < 3; host++) {
    if (!((mask & busy_) >> host & 1)) continue;
    const ir::ValueId v = in_scratch_[host];
    VERIFY_BLOCK(v != ir::kNoValue && !(host == kAddressId && modifying_), "a scratch register can't be given up");
    if (loc_[v].kind == Loc::Memory) {  // its value instead of its address
      const unsigned size = op_of(v).size;
      VERIFY_BLOCK(size <= 8, "a wide memory operand is in the way");
      a_.mov(gp(0, size), operand(size));
    }
    const unsigned temp = static_cast<unsigned>(std::countr_one(temp_busy_));
    VERIFY_BLOCK(temp < 3, "no temp slot is left");
    temp_busy_ |= 1u << temp;
    a_.mov(slot(static_cast<Slot>(kTemp0 + temp)), gp(static_cast<int>(host), 8));
    loc_[v] = {Loc::Spilled, static_cast<u8>(temp), false, 0};
    free_scratch(host, v);
  }
}

void Emitter::set_host(ir::ValueId v, const Gp& r) {
  if (!live(v)) return;
  loc_[v] = {Loc::Host, static_cast<u8>(r.id()), false, 0};
  busy_ |= 1u << r.id();
  in_scratch_[r.id()] = v;
}

void Emitter::set_imm(ir::ValueId v, u64 imm) { loc_[v] = {Loc::Imm, 0, false, imm}; }

Gp Emitter::reg(ir::ValueId v, unsigned size) {
  const Loc l = loc_[v];
  if (l.kind == Loc::Host) {
    locked_ |= 1u << l.reg;
    return gp(l.reg, size);
  }
  if (l.kind == Loc::Guest && !l.high && is_pinned(l.reg)) return gp(kHostOf[l.reg], size);
  const Gp r = own(v, size);
  if (!last_use(v) && !when_open_) set_host(v, r);  // others will want it too
  return r;
}

Gp Emitter::own(ir::ValueId v, unsigned size) {
  const Loc l = loc_[v];
  if (l.kind == Loc::Host) {
    const u32 locked = locked_;
    locked_ |= 1u << l.reg;
    if (last_use(v)) return gp(l.reg, size);
    const Gp r = scratch(8);
    a_.mov(r, gp(l.reg, 8));
    locked_ = locked | 1u << r.id();  // the lowering has the copy; v may go to a temp slot
    return resize(r, size);
  }
  if (l.kind == Loc::Memory) {
    const bool in_place = !modifying_ && ((busy_ | locked_) & kScratchMask) == kScratchMask;
    const Gp r = in_place ? kAddress : scratch(8);
    if (in_place) locked_ |= 1u << kAddressId;
    load_into(r, v);
    return resize(r, size);
  }
  const Gp r = scratch(8);
  load_into(r, v);
  return resize(r, size);
}

void Emitter::load_into(const Gp& into, ir::ValueId v) {
  const Gp r = resize(into, 8);
  const Loc l = loc_[v];
  switch (l.kind) {
    case Loc::Host:
      if (l.reg != r.id()) a_.mov(r, gp(l.reg, 8));
      break;
    case Loc::Memory:
      if (op_of(v).size >= 4) a_.mov(resize(r, op_of(v).size), operand(op_of(v).size));
      else a_.movzx(resize(r, 4), operand(op_of(v).size));
      break;
    case Loc::Imm:
      if (l.imm <= 0xFFFFFFFF) a_.mov(resize(r, 4), static_cast<u32>(l.imm));
      else a_.mov(r, l.imm);
      break;
    case Loc::Guest:
      if (!l.high) {
        if (is_pinned(l.reg)) a_.mov(r, gp(kHostOf[l.reg], 8));
        else a_.mov(r, home(l.reg));
      } else if (is_pinned(l.reg)) {
        a_.rorx(r, gp(kHostOf[l.reg], 8), 8);  // keeps the flags
        a_.movzx(resize(r, 4), resize(r, 1));
      } else {
        a_.movzx(resize(r, 4), home(l.reg, 1, 1));
      }
      break;
    case Loc::Spilled: a_.mov(r, slot(static_cast<Slot>(kTemp0 + l.reg))); break;
    case Loc::Cond: {
      const auto cc = need_condition(l.reg);
      a_.set(cc, resize(r, 1));
      a_.movzx(resize(r, 4), resize(r, 1));
      break;
    }
    default: VERIFY_BLOCK(false, "a value has no place");
  }
}

asmjit::Operand Emitter::rm(ir::ValueId v, unsigned size) {
  const Loc& l = loc_[v];
  if (l.kind == Loc::Memory) return operand(size);
  if (l.kind == Loc::Guest && !is_pinned(l.reg)) return home(l.reg, size, l.high ? 1 : 0);
  if (l.kind == Loc::Spilled) return slot(static_cast<Slot>(kTemp0 + l.reg), size);
  return reg(v, size);
}

asmjit::Operand Emitter::rmi(ir::ValueId v, unsigned size) {
  const Loc& l = loc_[v];
  if (l.kind == Loc::Imm) {
    const i64 s = sign_extend(l.imm, 8 * size);
    if (s == static_cast<i32>(s)) return asmjit::Imm(s);
  }
  return rm(v, size);
}

void Emitter::rescue(unsigned guest, ir::ValueId except) {
  for (ir::ValueId v = static_cast<ir::ValueId>(insn_->first); v < op_index_; v++) {
    if (!live(v) || v == except || loc_[v].kind != Loc::Guest || loc_[v].reg != guest) continue;
    const Gp r = own(v, 8);
    set_host(v, r);
    locked_ &= ~(1u << r.id());
  }
}

int Emitter::target_of(ir::ValueId v) const {
  const u32 next = v + 1u;
  if (uses_[v] != 1 || next >= insn_->first + insn_->count) return -1;
  const ir::Op& w = block_->ops[next];
  if (w.opcode != ir::Opcode::WriteGpr || w.args[0] != v || w.high || !is_pinned(w.reg)) return -1;
  return w.reg;
}

}  // namespace callgate::jit::x64
