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
  if (recipe_.kind != FlagRecipe::None) {
    if (!flags_in_host_) follow(recipe_);
    flags_in_host_ = flags_dirty_ = true;
    recipe_ = {};
  }
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
  if (recipe_.kind != FlagRecipe::None) {
    follow(recipe_);
  } else {
    with_rax([&] {
      a_.movzx(x86::eax, slot(kFlagsImage, 2));
      a_.add(x86::al, 127);  // OF
      a_.sahf();
    });
  }
  flags_in_host_ = true;
  flags_dirty_ = false;
}

void Emitter::destroy_flags() {
  if (recipe_.kind == FlagRecipe::None) save_flags();
  flags_in_host_ = flags_dirty_ = false;
}

void Emitter::flags_defined(const ir::Op& op, const FlagRecipe& recipe) {
  const u32 others = (insn_->flags_live | insn_->flags_seen) & ~insn_->flags_written;
  flag_definitions_++;
  flags_in_host_ = true;
  flags_dirty_ = (op.flags_wanted() | others) != 0;
  recipe_ = {};
  // Undoing an addition for a reader costs more than saving.
  const bool worth = recipe.kind == FlagRecipe::Compare ||
                     (recipe.kind == FlagRecipe::Undo && (op.flags_needed == 0 || !read_when_gone(op.flags_needed)));
  if (flags_dirty_ && others == 0 && worth && !survives_to_plain_end(op.flags_wanted())) {
    recipe_ = recipe;
    flags_dirty_ = false;
  }
}

// True when an instruction of this block reads some of the flags that the current one defines after EFLAGS have been destroyed.
bool Emitter::read_when_gone(u32 flags) const {
  bool gone = false;
  for (std::size_t n = insn_index_ + 1; n < block_->insns.size() && flags != 0; n++) {
    const ir::BlockInsn& b = block_->insns[n];
    gone |= b.may_leave || destroys_flags(b);
    if (gone && (b.flags_read & flags)) return true;
    flags &= ~b.flags_written;
  }
  return false;
}

// True when the flags will have to be saved anyhow: then the sooner the better.
bool Emitter::survives_to_plain_end(u32 flags) const {
  if (!ends_plain_) return false;
  for (std::size_t n = insn_index_ + 1; n < block_->insns.size(); n++) flags &= ~block_->insns[n].flags_written;
  return flags != 0;
}

void Emitter::need_others(const ir::Op&) {
  if ((insn_->flags_live | insn_->flags_seen) & ~insn_->flags_written) restore_flags();
}

void Emitter::need_carry() {
  if (flags_in_host_) return;
  if (recipe_.kind != FlagRecipe::None) return restore_flags();
  a_.bt(slot(kFlagsImage, 4), 8);
}

// --- recipes ---

FlagRecipe Emitter::compare_recipe(u32 inst, ir::ValueId a, ir::ValueId b, unsigned size) const {
  const Loc &l = loc_[a], &r = loc_[b];
  const auto plain = [&](const Loc& x) { return x.kind == Loc::Guest && !x.high; };
  if (!plain(l) || (!plain(r) && r.kind != Loc::Imm)) return {};
  FlagRecipe f{FlagRecipe::Compare, static_cast<u8>(size), inst, 0, l.reg, r.kind == Loc::Imm, r.reg, 0};
  if (f.b_is_imm) {
    f.imm = sign_extend(r.imm, 8 * size);
    if (f.imm != static_cast<i32>(f.imm)) return {};
  }
  if (writes_inputs_of(f, *insn_)) return {};  // CMPXCHG compares, and then writes what it compared
  return f;
}

FlagRecipe Emitter::result_recipe(ir::OpKind kind, unsigned a, ir::ValueId b, unsigned size) const {
  using enum ir::OpKind;
  FlagRecipe f{FlagRecipe::Compare, static_cast<u8>(size), x86::Inst::kIdTest, 0, static_cast<u8>(a), false,
               static_cast<u8>(a), 0};
  if (kind == and_ || kind == or_ || kind == xor_) return f;
  if (kind != add && kind != sub) return {};
  const Loc& r = loc_[b];
  f.kind = FlagRecipe::Undo;
  f.inst = kind == add ? x86::Inst::kIdAdd : x86::Inst::kIdSub;
  f.undo = kind == add ? x86::Inst::kIdSub : x86::Inst::kIdAdd;
  if (r.kind == Loc::Imm) {
    f.b_is_imm = true;
    f.imm = sign_extend(r.imm, 8 * size);
    return f.imm == static_cast<i32>(f.imm) ? f : FlagRecipe{};
  }
  if (r.kind != Loc::Guest || r.high || r.reg == a) return {};
  f.b = r.reg;
  return f;
}

bool Emitter::writes_inputs_of(const FlagRecipe& f, const ir::BlockInsn& insn) const {
  if (f.kind == FlagRecipe::None) return false;
  for (u32 n = insn.first; n < insn.first + insn.count; n++) {
    const ir::Op& op = block_->ops[n];
    if (op.opcode == ir::Opcode::WriteGpr && (op.reg == f.a || (!f.b_is_imm && op.reg == f.b))) return true;
  }
  return false;
}

// EFLAGS by the recipe.
void Emitter::follow(const FlagRecipe& f) {
  const u32 locked = locked_;
  const Gp t = needs_helper(f) ? scratch(8) : Gp();
  locked_ = locked;
  follow_recipe(a_, f, t);
}

// Conditions by number: SDM 1, Appendix B; asmjit's have other numbers.
static constexpr x86::CondCode kCond[16] = {
    x86::CondCode::kO, x86::CondCode::kNO, x86::CondCode::kC, x86::CondCode::kNC, x86::CondCode::kZ, x86::CondCode::kNZ,
    x86::CondCode::kNA, x86::CondCode::kA, x86::CondCode::kS, x86::CondCode::kNS, x86::CondCode::kP, x86::CondCode::kNP,
    x86::CondCode::kL, x86::CondCode::kNL, x86::CondCode::kNG, x86::CondCode::kG};

x86::CondCode Emitter::need_condition(unsigned cc) {
  if (recipe_.kind != FlagRecipe::None) restore_flags();
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
  recipe_ = {};
}

}  // namespace callgate::jit::x64
