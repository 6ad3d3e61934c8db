// `callgate run`: a machine on this terminal.
#pragma once

#include "frontend/options.h"
#include "machine/replay.h"

namespace callgate {

/// Makes the machine, runs it to its end, reports. Returns the process's exit status. `from`: a replay whose machine goes
/// on instead of a new one.
int run_command(const RunOptions& options, Replay* from = nullptr);

/// `callgate info`.
int info_command();

}  // namespace callgate
