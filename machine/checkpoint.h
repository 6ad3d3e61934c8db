// A machine's state at one moment, kept in memory: what Timeline goes back to. Opaque: Machine makes and takes it.
#pragma once

#include <vector>

#include "base/types.h"

namespace callgate {

class Checkpoint {
 public:
  Checkpoint(u64 count_, std::size_t taken_, std::vector<u8> state_)
      : count(count_), taken(taken_), state(std::move(state_)) {}

  const u64 count;                ///< retired instructions
  const std::size_t taken;        ///< records of the journal taken
  const std::vector<u8> state;
  /// Host memory that goes when this checkpoint goes (pages that others share are not counted).
  u64 own_bytes() const { return state.size(); }
};

}  // namespace callgate
