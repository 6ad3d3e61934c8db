// Flags by their recipes (jit/x64/entry_state.h): in line, and as routines for those who leave. A block has many places that
// may be left and few that are: one routine for each recipe serves all blocks.
#pragma once

#include <unordered_map>

#include "jit/code_arena.h"
#include "jit/x64/entry_state.h"
#include "jit/x64/registers.h"

namespace callgate::jit::x64 {

/// True when follow_recipe works in a register of its own.
bool needs_helper(const FlagRecipe& recipe);
/// Emits the host instructions that make EFLAGS what the recipe says. `helper`: a free register of 8 bytes, if it is needed.
void follow_recipe(x86::Assembler& a, const FlagRecipe& recipe, const Gp& helper);

class FlagThunks {
 public:
  explicit FlagThunks(CodeArena& arena) : arena_(arena) {}
  /// A routine that stores the flags in Slot::kFlagsImage. Keeps all registers but rcx, rdx and EFLAGS.
  const u8* routine(const FlagRecipe& recipe);
  void clear() { routines_.clear(); }

 private:
  CodeArena& arena_;
  std::unordered_map<FlagRecipe, const u8*, FlagRecipe::Hash> routines_;
};

}  // namespace callgate::jit::x64
