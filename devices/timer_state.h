// Saves an alarm's deadline, and arms it again on restore.
#pragma once

#include "base/seam.h"
#include "base/state_io.h"

namespace callgate {

inline void sync_timer(StateIo& io, Clock& clock, Timer& timer) {
  u64 deadline = timer.deadline;
  io.field(deadline);
  if (!io.loading()) return;
  if (deadline == kNever)
    clock.cancel(timer);
  else
    clock.arm(timer, deadline);
}

}  // namespace callgate
