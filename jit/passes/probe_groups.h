// Accesses of a block that lie close together, at constant distances from the same registers, share one probe of the TLB:
// the first one probes for all of their bytes, the others use what it found.
//
// It stays exact because nothing between them can change a translation: what could (a handler, a slow path that finds
// something changed) ends the group or leaves the block. Where the shared probe fails, the first instruction is left to the
// interpreter, which does what it alone does: no accessed or dirty bit is set early.
#pragma once

#include "cpu/ir/ir.h"

namespace callgate::jit {

/// Fills the group fields of the memory ops and Block::groups, and may_leave of the instructions that no longer probe.
void probe_groups(ir::Block& block);

}  // namespace callgate::jit
