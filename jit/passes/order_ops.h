// Ops in the order of their instructions, and none but theirs: a backend that leaves an instruction to its handler, or gives
// it other ops, makes gaps.
#pragma once

#include "cpu/ir/ir.h"

namespace callgate::jit {

/// Drops ops that belong to no instruction and puts the others in order, as ir::verify wants them. Before the passes that
/// look at ops; an instruction's values keep their distances.
void order_ops(ir::Block& block);

}  // namespace callgate::jit
