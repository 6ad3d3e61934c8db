// Carries a boot plan out: what goes where in memory, and the bootstrap processor's state at the first instruction.
#pragma once

#include "machine/board.h"
#include "machine/boot/boot_plan.h"

namespace callgate {

/// After Board::reset(): places the plan's loads and sets the bootstrap processor.
void apply_plan(Board& board, const boot::BootPlan& plan);

}  // namespace callgate
