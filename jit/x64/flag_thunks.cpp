#include "jit/x64/flag_thunks.h"

#include "base/verify.h"

namespace callgate::jit::x64 {

bool needs_helper(const FlagRecipe& f) {
  return f.kind == FlagRecipe::Undo || (!is_pinned(f.a) && !f.b_is_imm && !is_pinned(f.b));
}

void follow_recipe(x86::Assembler& as, const FlagRecipe& f, const Gp& helper) {
  const auto guest = [&](unsigned reg) {
    return is_pinned(reg) ? asmjit::Operand(gp(kHostOf[reg], f.size)) : asmjit::Operand(home(reg, f.size));
  };
  const asmjit::Operand b = f.b_is_imm ? asmjit::Operand(asmjit::Imm(f.imm)) : guest(f.b);
  asmjit::Operand a = guest(f.a);
  if (needs_helper(f)) {
    as.emit(x86::Inst::kIdMov, helper, is_pinned(f.a) ? asmjit::Operand(gp(kHostOf[f.a], 8)) : asmjit::Operand(home(f.a)));
    if (f.kind == FlagRecipe::Undo) as.emit(f.undo, resize(helper, f.size), b);
    a = resize(helper, f.size);
  }
  if (f.inst == x86::Inst::kIdTest && b.isMem() && !a.isMem()) as.emit(f.inst, b, a);
  else as.emit(f.inst, a, b);
}

const u8* FlagThunks::routine(const FlagRecipe& recipe) {
  if (const auto it = routines_.find(recipe); it != routines_.end()) return it->second;
  asmjit::CodeHolder code;
  code.init(asmjit::Environment::host());
  x86::Assembler a(&code);
  follow_recipe(a, recipe, x86::rdx);
  a.mov(x86::rcx, x86::rax);
  a.lahf();
  a.seto(x86::al);
  a.mov(slot(kFlagsImage, 2), x86::ax);
  a.mov(x86::rax, x86::rcx);
  a.ret();
  const asmjit::CodeBuffer& buffer = code.sectionById(0)->buffer();
  const u8* at = arena_.append_at_back(buffer.data(), buffer.size());  // it calls nothing: any place will do
  routines_.emplace(recipe, at);
  return at;
}

}  // namespace callgate::jit::x64
