// Which arithmetic flags somebody may read after each instruction, and so which of an operation's flags are needed at all.
#pragma once

#include "cpu/ir/ir.h"

namespace callgate::jit {

/// Fills flags_live and flags_seen of each instruction, flags_needed and flags_seen of each operation. `live_out` are the
/// flags that are read behind the block. Whoever may leave in the middle of the block shows all flags.
void flags_liveness(ir::Block& block, u32 live_out = kArithmetic);

/// The same without looking: all flags are live everywhere. What the pass may take away, and no more, is there.
void all_flags_live(ir::Block& block);

}  // namespace callgate::jit
