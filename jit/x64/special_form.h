// Integer instructions whose rows are helpers, and which emitted code does all the same: what they do has no op in the IR.
// Recognised by their rows; emits nothing.
#pragma once

#include "cpu/ir/ir.h"

namespace callgate::jit::x64 {

enum class SpecialForm : u8 {
  None,        ///< the handler's
  PushFlags,   ///< PUSHF of the mode's own size
  CompareSwap, ///< CMPXCHG8B, CMPXCHG16B
};

SpecialForm special_form(const ir::Mode& mode, const Insn& insn);
/// Gives each of these instructions ops that stand for its access and for the registers that it writes, so that the passes
/// know what it does. They come last in the block.
void note_special(ir::Block& block);

}  // namespace callgate::jit::x64
