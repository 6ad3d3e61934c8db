// Loops of one block whose accesses all move by constants, or by a register that stays as it is (a sieve): a round of such a
// loop can't leave emitted code, once all the bytes that some rounds will touch are known to be in the TLB. So the probes,
// the tests of alignment and the budget are asked once for a number of rounds, in front of them.
#pragma once

#include <optional>
#include <vector>

#include "cpu/ir/ir.h"

namespace callgate::jit {

/// Accesses at constant distances from the same registers.
struct LoopStream {
  u8 base = 0, index = 0, scale = 0;
  bool base_moves = false, index_moves = false;
  bool write = false;
  u32 span = 0;  ///< bytes from the lowest to the highest of one round
  i64 low = 0;   ///< of the lowest byte, from base + (index << scale) at a round's start
  i64 step = 0;  ///< bytes from a round's accesses to the next one's
  /// Or the register, kGprZero if none, that holds the step, which is `step_register << step_scale`. Upwards only.
  u8 step_register = kGprZero, step_scale = 0;
  unsigned steps = 0;         ///< that many of them in a round
  unsigned steps_before = 0;  ///< those before the last access
  unsigned alignment = 1;  ///< of the byte at `aligned_at`, which is counted as `low` is
  i64 aligned_at = 0;
};

struct LoopPlan {
  unsigned rounds = 0;  ///< that are asked for together; the most of them if a step is in a register
  bool steps_by_registers = false;
  std::vector<LoopStream> streams;
};

/// True when the block ends with a conditional jump to its start.
bool jumps_to_itself(const ir::Block& block);

/// Makes `block`, which jumps back to its own start, the body of such a loop, if it can be: each memory op's group is its
/// stream's index + 1, nothing may leave, and the flags are what is read in a round or after it.
std::optional<LoopPlan> plan_loop(ir::Block& block);

}  // namespace callgate::jit
